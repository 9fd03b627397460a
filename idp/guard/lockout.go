package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Parameter is something about an attempt that lockout counts by.
type Parameter string

// The parameters, named as in the settings.
const (
	Username     Parameter = "username"
	IPAddress    Parameter = "ip_address"
	UserAgent    Parameter = "user_agent"
	ClientID     Parameter = "client_id"
	DeviceCookie Parameter = "device_cookie"
	ASN          Parameter = "asn" // the autonomous system of the address
)

// A Group is what lockout counts together, with its rule.
type Group struct {
	Parameters []Parameter
	Rule       Rule
}

// has tells whether g counts by a parameter.
func (g *Group) has(p Parameter) bool { return slices.Contains(g.Parameters, p) }

// A Policy has groups of its own for those whom it matches: everything in it that is not empty must
// be as the request is.
type Policy struct {
	Group   string // of the user
	Admin   bool
	Client  string
	Path    string // of the request; with a slash at the end, everything below as well
	Network netip.Prefix
	Groups  []Group
}

func (p *Policy) matches(r *Request) bool {
	return (p.Group == "" || slices.Contains(r.Groups, p.Group)) &&
		(!p.Admin || r.Admin) &&
		(p.Client == "" || p.Client == r.Client) &&
		(p.Path == "" || p.Path == r.Path || strings.HasSuffix(p.Path, "/") && strings.HasPrefix(r.Path, p.Path)) &&
		(!p.Network.IsValid() || p.Network.Contains(plain(r.Address)))
}

// Lockout is what a Guard follows beside its limits. The zero Lockout locks nobody.
type Lockout struct {
	Enabled   bool
	AdminOnly bool
	Groups    []Group
	Policies  []Policy // the first that matches holds in place of Groups
	// KnownDevice is the rule of the bucket that a known device has to itself (I-20). It holds where
	// lockout is not Enabled, too, since limits of scope key make way for it; where its Limit is 0,
	// no device is known. It ages by Inactivity and never monitors only.
	KnownDevice    Rule
	ResetOnSuccess bool
	NeverLockGet   bool
	NeverAllowed   bool // lock nobody out whose address is in Allow
	OnlyAllowed    bool
	Allow, Deny    []netip.Prefix
}

// A verdict is what the lists say of an address.
type verdict uint8

const (
	refuse verdict = iota // before anything else
	spare                 // lockout does not ask
	ask
)

// judge is the precedence of the lists: Deny, then Allow, then NeverLockGet, then locks. Of a
// refusal it returns the network that is denied, the zero Prefix where an address is not allowed.
func (l *Lockout) judge(a netip.Addr, get bool) (verdict, netip.Prefix) {
	a = plain(a)
	if denied, in := within(l.Deny, a); in {
		return refuse, denied
	}
	_, allowed := within(l.Allow, a)
	switch {
	case l.OnlyAllowed && !allowed:
		return refuse, netip.Prefix{}
	case l.NeverAllowed && allowed, get && l.NeverLockGet, !l.Enabled:
		return spare, netip.Prefix{}
	}
	return ask, netip.Prefix{}
}

// groups are those that hold for r, in the order of the settings.
func (l *Lockout) groups(r *Request) []Group {
	if l.AdminOnly && !r.Admin {
		return nil
	}
	for i := range l.Policies {
		if l.Policies[i].matches(r) {
			return l.Policies[i].Groups
		}
	}
	return l.Groups
}

// LockedOut is the error of an attempt that lockout refuses, or of the failure that locks.
type LockedOut struct {
	Parameters []Parameter
	Limit      int
	Cooloff    time.Duration // 0 for none
	Until      time.Time     // Forever for a lock that somebody has to clear
	RetryAfter time.Duration // 0 where it has no end
}

func (l *LockedOut) Error() string {
	until := "until somebody clears it"
	if l.RetryAfter > 0 {
		until = "until " + l.Until.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("locked out by %s after %d failures, %s", joined(l.Parameters), l.Limit, until)
}

// ByUsername tells whether the username was part of what was counted, by which a stranger's
// failures lock somebody else.
func (l *LockedOut) ByUsername() bool { return slices.Contains(l.Parameters, Username) }

// joined is the text of parameters: "username+ip_address".
func joined(list []Parameter) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = string(p)
	}
	return strings.Join(texts, "+")
}

// Denied is the error of an address that is refused before anything else. Network is the one that is
// denied; the zero Prefix means that the address is not in one that is allowed.
type Denied struct{ Network netip.Prefix }

func (d *Denied) Error() string {
	if !d.Network.IsValid() {
		return "the address is in no network that is allowed"
	}
	return fmt.Sprintf("the network %s is denied", d.Network)
}

const (
	maxFailures = 1000
	maxCooloff  = 3650 * 24 * time.Hour
)

// ParseGroup reads PARAMETER[+PARAMETER…][:LIMIT/COOLOFF]. Without the last part it has the rule
// `or`; with it, the limit and the period are its own and there are no tiers. Its errors are
// predicates about the text.
func ParseGroup(text string, or Rule) (Group, error) {
	text = strings.TrimSpace(text)
	names, own, hasOwn := strings.Cut(text, ":")
	g := Group{Rule: or}
	for name := range strings.SplitSeq(names, "+") {
		p := Parameter(strings.TrimSpace(name))
		switch p {
		case Username, IPAddress, UserAgent, ClientID, DeviceCookie, ASN:
		default:
			return Group{}, fmt.Errorf("has the parameter %q, which is no parameter: write username, ip_address, asn, user_agent, client_id or device_cookie, several joined with +", p)
		}
		if g.has(p) {
			return Group{}, fmt.Errorf("has the parameter %s twice in %q: write it once", p, text)
		}
		g.Parameters = append(g.Parameters, p)
	}
	if !hasOwn {
		return g, nil
	}
	limit, cooloff, ok := strings.Cut(own, "/")
	if !ok {
		return Group{}, fmt.Errorf("has no cool-off in %q: write LIMIT/COOLOFF behind the colon, such as %s:5/15m", text, names)
	}
	var err error
	if g.Rule.Limit, err = parseFailures(limit); err != nil {
		return Group{}, err
	}
	if g.Rule.Period, err = ParseCooloff(cooloff); err != nil {
		return Group{}, err
	}
	g.Rule.Tiers = nil
	return g, nil
}

func parseFailures(text string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil || n < 1 || n > maxFailures {
		return 0, fmt.Errorf("has the limit %q: write a whole number of failures from 1 to %d", text, maxFailures)
	}
	return int(n), nil
}

// ParsePolicy reads MATCH[ MATCH…] => GROUP[, GROUP…], where MATCH is group=NAME, role=admin,
// client=ID, path=PATH or cidr=NETWORK. Its errors are predicates about the text.
func ParsePolicy(text string, or Rule) (Policy, error) {
	matches, groups, ok := strings.Cut(text, "=>")
	if !ok {
		return Policy{}, fmt.Errorf("has no => in %q: write MATCH => PARAMETERS, such as role=admin => username+ip_address:5/1h", text)
	}
	fields := strings.Fields(matches)
	if len(fields) == 0 {
		return Policy{}, fmt.Errorf("matches nobody in %q: write group=NAME, role=admin, client=ID, path=PATH or cidr=NETWORK before =>", text)
	}
	var p Policy
	for i, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		if slices.ContainsFunc(fields[:i], func(former string) bool { return strings.HasPrefix(former, name+"=") }) {
			return Policy{}, fmt.Errorf("matches by %s twice in %q: write it once", name, text)
		}
		if err := p.match(name, value); err != nil {
			return Policy{}, err
		}
	}
	for part := range strings.SplitSeq(groups, ",") {
		g, err := ParseGroup(part, or)
		if err != nil {
			return Policy{}, err
		}
		p.Groups = append(p.Groups, g)
	}
	return p, nil
}

func (p *Policy) match(name, value string) (err error) {
	switch {
	case name == "group" && value != "":
		p.Group = value
	case name == "client" && value != "":
		p.Client = value
	case name == "role":
		if value != "admin" {
			return fmt.Errorf("matches the role %q: there is admin alone", value)
		}
		p.Admin = true
	case name == "path":
		if !strings.HasPrefix(value, "/") {
			return fmt.Errorf("matches the path %q: write one that begins with a slash", value)
		}
		p.Path = value
	case name == "cidr":
		p.Network, err = netip.ParsePrefix(value)
		if err != nil || p.Network != p.Network.Masked() || p.Network.Addr().Is4In6() { // addresses are plain
			return fmt.Errorf("matches the network %q: write one such as 192.0.2.0/24 or 2001:db8::/32", value)
		}
	default:
		return fmt.Errorf("matches by %q: write group=NAME, role=admin, client=ID, path=PATH or cidr=NETWORK", name+"="+value)
	}
	return nil
}

// ParseTiers reads FAILURES:COOLOFF each, from the lowest on: each has more failures than the one
// before, and a longer cool-off. Its errors are predicates about the texts.
func ParseTiers(texts []string) ([]Tier, error) {
	var tiers []Tier
	for _, text := range texts {
		failures, cooloff, ok := strings.Cut(strings.TrimSpace(text), ":")
		if !ok {
			return nil, fmt.Errorf("has the tier %q: write FAILURES:COOLOFF, such as 3:1m", text)
		}
		limit, err := parseFailures(failures)
		if err != nil {
			return nil, err
		}
		period, err := ParseCooloff(cooloff)
		if err != nil {
			return nil, err
		}
		if len(tiers) > 0 {
			former := tiers[len(tiers)-1]
			if limit <= former.Limit {
				return nil, fmt.Errorf("has the tier %q behind one of %d failures: write each number once, the lowest first", text, former.Limit)
			}
			if former.Period == 0 || period != 0 && period <= former.Period {
				return nil, fmt.Errorf("has the tier %q behind one that locks as long: write a longer cool-off for more failures", text)
			}
		}
		tiers = append(tiers, Tier{Limit: limit, Period: period})
	}
	return tiers, nil
}

// ParseCooloff reads a duration in whole seconds: in the words of Go with d for days (15m, 1d12h),
// of ISO 8601 (PT15M, P1D), as a number of hours (0.5), or none, which is 0. Its errors are
// predicates about the text.
func ParseCooloff(text string) (time.Duration, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "none" {
		return 0, nil
	}
	d, err := parseDuration(trimmed)
	if err != nil {
		return 0, fmt.Errorf("has the cool-off %q, which is no cool-off: write a duration such as 15m, 1d or PT15M, a number of hours such as 0.5, or none", text)
	}
	if d < time.Second || d > maxCooloff {
		return 0, fmt.Errorf("has the cool-off %q: it must be from 1s to 3650d, or none", text)
	}
	return d.Round(time.Second), nil
}

var errDuration = errors.New("no duration")

func parseDuration(text string) (time.Duration, error) {
	if strings.HasPrefix(text, "P") {
		return parseISODuration(text[1:])
	}
	if hours, err := parseNumber(text); err == nil {
		return times(hours, time.Hour), nil
	}
	return sumUnits(text, "dhms")
}

// parseISODuration reads what follows the P of a duration of ISO 8601, without years and months,
// which differ in length.
func parseISODuration(text string) (time.Duration, error) {
	days, clock, timed := strings.Cut(text, "T")
	if days == "" && !timed || timed && clock == "" || strings.ToUpper(text) != text {
		return 0, errDuration
	}
	var sum time.Duration
	for _, part := range []struct{ text, units string }{{days, "wd"}, {clock, "hms"}} {
		if part.text == "" {
			continue
		}
		d, err := sumUnits(strings.ToLower(part.text), part.units)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// sumUnits adds numbers, each with a unit behind it, in the order of allowed, each unit once.
func sumUnits(text, allowed string) (sum time.Duration, err error) {
	if text == "" {
		return 0, errDuration
	}
	for text != "" {
		end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if end < 1 {
			return 0, errDuration
		}
		at := strings.IndexByte(allowed, text[end])
		number, err := parseNumber(text[:end])
		if at < 0 || err != nil {
			return 0, errDuration
		}
		unit := units[text[end]]
		if text[end] == 'w' {
			unit = 7 * units['d']
		}
		sum, text, allowed = sum+times(number, unit), text[end+1:], allowed[at+1:]
	}
	return sum, nil
}

// parseNumber reads digits with a point among them; ParseFloat also takes 1e9, Inf and 0x1p3.
func parseNumber(text string) (float64, error) {
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, errDuration
	}
	return strconv.ParseFloat(text, 64)
}

// times is a number of units. What is longer than any cool-off is twice the longest, so that sums do
// not overflow.
func times(number float64, unit time.Duration) time.Duration {
	if number*unit.Hours() > maxCooloff.Hours() {
		return 2 * maxCooloff
	}
	return time.Duration(number * float64(unit))
}

// ParseAlarm reads AMOUNT/PERIOD, the period as in a limit; amount 0 is none, and so is the empty
// text. Its errors are predicates about the text.
func ParseAlarm(text string) (amount int, period time.Duration, err error) {
	if strings.TrimSpace(text) == "" {
		return 0, 0, nil
	}
	first, second, ok := strings.Cut(strings.TrimSpace(text), "/")
	if !ok {
		return 0, 0, fmt.Errorf("has no period in %q: write AMOUNT/PERIOD, such as 1000/1h", text)
	}
	if amount, err = parseAmount(first); err != nil {
		return 0, 0, err
	}
	if period, err = parsePeriod(second); err != nil {
		return 0, 0, err
	}
	return amount, period, nil
}
