package guard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// A place is a counter that a request falls into, and why.
type place struct {
	counter Counter
	action  Action // of a limit, "" for the others
	limit   Limit
	group   *Group // of lockout, nil for the others
	device  bool   // whether it is the known device's bucket
	refunds bool   // whether a success gives it back
}

func countersOf(places []place) []Counter {
	counters := make([]Counter, len(places))
	for i := range places {
		counters[i] = places[i].counter
	}
	return counters
}

// lockedOut is the error of a place of lockout that refuses, or that a failure locks.
func (p *place) lockedOut(o Outcome, now time.Time) *LockedOut {
	rule := &p.counter.Rule
	l := &LockedOut{Parameters: p.group.Parameters, Limit: rule.Limit, Until: o.Until}
	l.Cooloff, _ = rule.lock(o.Used)
	for _, t := range rule.Tiers {
		if o.Used >= t.Limit {
			l.Limit = t.Limit
		}
	}
	if o.Until.Before(Forever) {
		l.RetryAfter = wait(o.Until, now)
	}
	return l
}

// A measure is a limit as it is counted: once, or for wider networks of IPv6 as well.
type measure struct {
	Limit
	action Action
	kind   string // "login_failed 5/5m/key"
	bits   int    // of an IPv6 address
	wider  bool   // whether it is of IPv6 alone
}

// escalations are the wider networks of IPv6 that are counted, too: a customer of some providers
// has a /56 or a /48, and so 256 or 65,536 networks.
var escalations = []struct{ bits, times int }{{56, 4}, {48, 16}}

func measuresOf(s *Settings) map[Action][]measure {
	all := make(map[Action][]measure, len(s.Limits))
	for action, limits := range s.Limits {
		for _, l := range limits {
			all[action] = append(all[action], measure{Limit: l, action: action, bits: s.IPv6Prefix})
			for _, e := range escalations {
				if s.Escalation && l.Scope.byAddress() && e.bits < s.IPv6Prefix {
					wide := Limit{Amount: min(l.Amount*e.times, maxAmount), Period: l.Period, Scope: l.Scope}
					all[action] = append(all[action], measure{Limit: wide, action: action, bits: e.bits, wider: true})
				}
			}
		}
		for i := range all[action] {
			all[action][i].kind = string(action) + " " + all[action][i].String()
		}
	}
	return all
}

// knows tells whether r comes from a known device.
func (g *Guard) knows(r *Request) bool {
	return r.Device != "" && r.Account != "" && g.set.Lockout.KnownDevice.Limit > 0
}

// placesOfDevice are those of a request from a known device: limits by key and lockout make way for
// its bucket (I-20).
func (g *Guard) placesOfDevice(r *Request, now time.Time) []place {
	if g.exempt(r.Address) {
		return nil
	}
	places := slices.DeleteFunc(g.placesOfActions(r, now), func(p place) bool { return p.limit.Scope == ByKey })
	return append(places, g.placeOfDevice(r))
}

// placesOfStranger are those of a request from a device that is not known.
func (g *Guard) placesOfStranger(r *Request, now time.Time) []place {
	places := g.placesOfActions(r, now)
	if v, _ := g.set.Lockout.judge(r.Address, false); !r.Lockout || v != ask || g.exempt(r.Address) {
		return places
	}
	stranger := *r
	stranger.Device = ""
	return append(places, g.placesOfLockout(&stranger)...)
}

// placesOfActions are those of the limits of both actions of r.
func (g *Guard) placesOfActions(r *Request, now time.Time) []place {
	places := g.placesOfLimits(r.Attempt, r, now)
	if r.Failure == r.Attempt {
		return places
	}
	for _, p := range g.placesOfLimits(r.Failure, r, now) {
		p.refunds = true
		places = append(places, p)
	}
	return places
}

// placesOfLimits are those of the limits of an action: a fixed window for each, aligned to the
// calendar so that every node sees the same.
func (g *Guard) placesOfLimits(action Action, r *Request, now time.Time) []place {
	if g.exempt(r.Address) {
		return nil
	}
	measures := g.measures[action]
	places := make([]place, 0, len(measures))
	for i := range measures {
		m := &measures[i]
		tag, other, counts := g.counted(m, r)
		if !counts {
			continue
		}
		starts := now.Truncate(m.Period)
		c := Counter{
			Tag: tag, Ends: starts.Add(m.Period), Rule: Rule{Aging: Window, Limit: m.Amount, Period: m.Period},
			Key: keyOf(tag, func(h *hashed) { h.text(other); h.number(starts.Unix()) }),
		}
		same := func(p place) bool { return p.counter.Key == c.Key }
		if !slices.ContainsFunc(places, same) { // the same limit twice
			places = append(places, place{counter: c, action: action, limit: m.Limit})
		}
	}
	return places
}

// counted is what m counts of r, `other` for what no tag shows. It counts nothing where r lacks it.
func (g *Guard) counted(m *measure, r *Request) (tag Tag, other string, counts bool) {
	tag.Kind = m.kind
	switch m.Scope {
	case ByAddress, ByAddressAndClient:
		if m.wider && !plain(r.Address).Is6() {
			return tag, "", false
		}
		tag.Network = networkText(r.Address, m.bits)
		if m.Scope == ByAddress {
			return tag, "", true
		}
		return tag, r.Client, r.Client != ""
	case ByKey:
		tag.Account = g.account(r)
		if r.Exempt { // at each address by itself, so that nobody is refused for what a stranger did
			tag.Network = networkText(r.Address, m.bits)
		}
		return tag, "", tag.Account != ""
	case ByUser:
		if r.User == "" {
			return tag, "", false
		}
		tag.Account = AccountTag(r.User)
		return tag, "", true
	case Global:
		return tag, "", true
	}
	panic("guard: no such scope: " + string(m.Scope))
}

// Network is what is counted as one with an address, the zero Prefix for the zero Addr.
func (g *Guard) Network(a netip.Addr) netip.Prefix { return NetworkOf(a, g.set.IPv6Prefix) }

// Networks are all that an address is counted by, the narrowest first: the Tag.Network of a counter
// is the text of one of them. There is none for the zero Addr.
func (g *Guard) Networks(a netip.Addr) []netip.Prefix {
	if !a.IsValid() {
		return nil
	}
	list := []netip.Prefix{g.Network(a)}
	for _, e := range escalations {
		if g.set.Escalation && plain(a).Is6() && e.bits < g.set.IPv6Prefix {
			list = append(list, NetworkOf(a, e.bits))
		}
	}
	return list
}

// networkText is "" for the zero Addr, which is a network of its own.
func networkText(a netip.Addr, bits6 int) string {
	if !a.IsValid() {
		return ""
	}
	return NetworkOf(a, bits6).String()
}

// placeOfDevice is the bucket that a known device has to itself. Its account is that of r.
func (g *Guard) placeOfDevice(r *Request) place {
	tag := Tag{Kind: string(DeviceCookie), Lock: true, Account: g.account(r)}
	rule := g.set.Lockout.KnownDevice
	return place{
		counter: Counter{Tag: tag, Rule: rule, Key: keyOf(tag, func(h *hashed) { h.rule(&rule); h.text(r.Device) })},
		device:  true, refunds: true,
	}
}

// placesOfLockout are those of the groups that hold for r. Groups with the username are left out
// where there is none, or where nobody can be locked by it.
func (g *Guard) placesOfLockout(r *Request) []place {
	account := g.account(r)
	groups := g.set.Lockout.groups(r)
	places := make([]place, 0, len(groups))
	for i := range groups {
		group := &groups[i]
		if group.has(Username) && (account == "" || r.Exempt) {
			continue
		}
		c := g.counterOf(group, r, account)
		if !slices.ContainsFunc(places, func(p place) bool { return p.counter.Key == c.Key }) {
			places = append(places, place{counter: c, group: group, refunds: true})
		}
	}
	return places
}

// counterOf is what a group counts of r. A parameter that r lacks has a value of its own.
func (g *Guard) counterOf(group *Group, r *Request, account string) Counter {
	tag := Tag{Kind: joined(group.Parameters), Lock: true}
	if group.has(Username) {
		tag.Account = account
	}
	if group.has(IPAddress) {
		tag.Network = networkText(r.Address, g.set.IPv6Prefix)
	}
	rule := group.Rule
	key := keyOf(tag, func(h *hashed) {
		h.rule(&rule)
		for _, p := range group.Parameters {
			switch p {
			case UserAgent:
				h.text(r.Browser)
			case ClientID:
				h.text(r.Client)
			case DeviceCookie:
				h.text(r.Device)
			case ASN:
				h.text(strconv.FormatUint(uint64(r.System), 10))
			}
		}
	})
	return Counter{Key: key, Tag: tag, Rule: rule}
}

// clearedBy are the counters that a login of r which owes no step clears: those of lockout of the
// account at the address, and the bucket of the device.
func (g *Guard) clearedBy(r *Request) []Counter {
	if r.Account == "" || g.exempt(r.Address) {
		return nil
	}
	var list []Counter
	if g.set.Lockout.ResetOnSuccess && g.set.Lockout.Enabled {
		stranger := *r
		stranger.Device, stranger.Exempt = "", false
		for _, p := range g.placesOfLockout(&stranger) {
			if p.group.has(Username) && p.group.has(IPAddress) {
				list = append(list, p.counter)
			}
		}
	}
	if g.knows(r) {
		list = append(list, g.placeOfDevice(r).counter)
	}
	for i := range list {
		list[i].Clear = true
	}
	return list
}

func (g *Guard) exempt(a netip.Addr) bool {
	_, in := within(g.set.Exempt, plain(a))
	return in
}

// account is the Tag.Account of whoever r is about, "" for nobody.
func (g *Guard) account(r *Request) string {
	switch {
	case r.Account != "":
		return AccountTag(r.Account)
	case r.Name != "":
		return g.NameTag(r.Name)
	}
	return ""
}

// NameTag is the Tag.Account of a name that is nobody's. It tells the name to nobody without the
// key.
func (g *Guard) NameTag(name string) string {
	mac := hmac.New(sha256.New, g.set.Key)
	mac.Write([]byte(name))
	return "name " + hex.EncodeToString(mac.Sum(nil)[:16])
}

// AccountTag is the Tag.Account of a user.
func AccountTag(id string) string { return "user " + id }

// keyOf hashes what is counted: what the tag shows, and what more adds.
func keyOf(tag Tag, more func(h *hashed)) (key [16]byte) {
	h := make(hashed, 0, 256)
	h.text(tag.Kind)
	h.text(tag.Account)
	h.text(tag.Network)
	more(&h)
	sum := sha256.Sum256(h)
	copy(key[:], sum[:])
	return key
}

// hashed collects what is hashed, so that no two lists of parts are the same text.
type hashed []byte

func (h *hashed) text(s string) {
	h.number(int64(len(s)))
	*h = append(*h, s...)
}

func (h *hashed) number(n int64) { *h = binary.BigEndian.AppendUint64(*h, uint64(n)) }

// rule keeps counters of different rules apart: one does not judge what the other counted.
func (h *hashed) rule(r *Rule) {
	h.number(int64(r.Aging))
	h.number(int64(r.Limit))
	h.number(int64(r.Period))
	h.number(int64(len(r.Tiers)))
	for _, t := range r.Tiers {
		h.number(int64(t.Limit))
		h.number(int64(t.Period))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
