// Package guard is the one gate before every secret: canonical identifiers, client addresses,
// limits and lockout. No password, code or client secret is checked without a permit of its making.
//
// It keeps nothing that nodes share: those counters are its Store's.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// An Action is something that has limits of its own, named as in the settings: "login_failed".
type Action string

// Settings are what a Guard follows. Nil Limits limit nothing.
type Settings struct {
	Limits  map[Action][]Limit
	Exempt  []netip.Prefix // networks that no limit and no lockout holds for
	Lockout Lockout
	// IPv6Prefix is how many bits of an IPv6 address are counted as one, 0 for 64; Escalation counts
	// its /56 with four times the amount, too, and its /48 with sixteen times.
	IPv6Prefix int
	Escalation bool
	// Key keys the hashes of names that are nobody's, so that no store shows what people typed.
	Key []byte
	Now func() time.Time // required
	// Observe is told what became of each reservation, for metrics: nil for nobody.
	Observe func(Observation)
}

// An Observation is what became of a reservation.
type Observation struct {
	Action Action // that of the limit where the Result is Limited
	Result Result
}

// A Result is a word for metrics.
type Result string

// The results.
const (
	Reserved   Result = "reserved"
	Limited    Result = "limited"     // *Throttled
	Locked     Result = "locked"      // *LockedOut
	WouldBlock Result = "would_block" // lockout in a dry run, beside Reserved
	Refunded   Result = "refunded"
	Unserved   Result = "unavailable" // the store did not answer
)

// A Guard gives permits. Its methods may be called at the same time.
type Guard struct {
	store    Store
	set      Settings
	measures map[Action][]measure
	here     Store     // of SpendHere
	blocked  blockList // by Failure, to the ends of windows
	full     blockList // by the store, for a moment
}

// New returns a guard that counts in store.
func New(store Store, s Settings) *Guard {
	if s.IPv6Prefix == 0 {
		s.IPv6Prefix = subscriber
	}
	s.Lockout.Groups = lockable(s.Lockout.Groups)
	s.Lockout.Policies = slices.Clone(s.Lockout.Policies)
	for i := range s.Lockout.Policies {
		s.Lockout.Policies[i].Groups = lockable(s.Lockout.Policies[i].Groups)
	}
	device := &s.Lockout.KnownDevice
	device.Aging, device.Monitor = Inactivity, false
	return &Guard{store: store, set: s, measures: measuresOf(&s), here: newMemory(maxHere)}
}

// lockable are groups with rules that lock: those of a Window have no end of one, and are Sliding.
// Limit and Period are those of the first tier where there are tiers.
func lockable(groups []Group) []Group {
	groups = slices.Clone(groups)
	for i := range groups {
		r := &groups[i].Rule
		if r.Aging == Window {
			r.Aging = Sliding
		}
		if len(r.Tiers) > 0 {
			r.Limit, r.Period = r.Tiers[0].Limit, r.Tiers[0].Period
		}
	}
	return groups
}

// A Request is one attempt to show a secret. Whoever checks a secret needs to fill it in: without
// it there is no permit.
type Request struct {
	// Attempt is the action of which every attempt counts, "" for none.
	Attempt Action
	// Failure is the action of which only failures count, "" for none.
	Failure Action
	// Lockout says whether lockout counts its failures, too: of secrets that people choose.
	Lockout bool

	Address netip.Addr // the client's; the zero Addr is a network of its own
	// Account is the ID of the user whose secret it is, "" where the name is nobody's; Name is the
	// canonical identifier then. Where both are empty nothing is counted by them.
	Account string
	Name    string
	User    string // the ID of the user who is signed in already, "" for none
	Client  string // the relying party's ID, "" for none
	System  uint32 // the number of Address's autonomous system, 0 where nobody knows
	// Browser is what the browser calls itself.
	Browser string
	Path    string
	// Device names the known device of Account that sends it, "" for none: it has a bucket of its
	// own, in place of what strangers fill (I-20).
	Device string
	Groups []string // of the user, by which policies choose
	Admin  bool     // whether the user is an administrator
	Exempt bool     // whether the account cannot be locked by its name
}

// metric is the action by which a reservation is observed.
func (r *Request) metric() Action {
	if r.Failure != "" {
		return r.Failure
	}
	return r.Attempt
}

// Throttled is the error of a request that a limit refuses.
type Throttled struct {
	Action     Action
	Limit      Limit
	RetryAfter time.Duration // at least a second
}

func (t *Throttled) Error() string {
	return fmt.Sprintf("the limit %s of %s is reached, retry after %s", t.Limit, t.Action, t.RetryAfter)
}

// Admit is the judgement of an address before anything else: *Denied where it is on the deny list
// or, where only the allow list may come, is not on that one; nil otherwise.
func (g *Guard) Admit(a netip.Addr) error {
	if v, network := g.set.Lockout.judge(a, false); v == refuse {
		return &Denied{Network: network}
	}
	return nil
}

// Reserve takes a place for r in every counter that it falls into, before anything is verified. Its
// error is *Throttled or *LockedOut where it is refused, *Denied where Admit refuses the address of
// a request with Lockout, and the store's otherwise. What was reserved for failures stays counted
// unless Success or Cleared gives it back; so a crash counts as a failure.
//
// Where a limit and lockout both refuse, the limit answers, of several the one that refuses longest;
// of lockout's groups, the first in the order of the settings.
func (g *Guard) Reserve(ctx context.Context, r Request) (*Permit, error) {
	if r.Lockout {
		if err := g.Admit(r.Address); err != nil {
			return nil, err
		}
	}
	now := g.now()
	if g.knows(&r) && r.Failure != "" {
		p, emptied, err := g.reserve(ctx, r, g.placesOfDevice(&r, now), now)
		if !emptied {
			return p, err
		}
	}
	p, _, err := g.reserve(ctx, r, g.placesOfStranger(&r, now), now)
	if p != nil {
		p.known = false
	}
	if lock, ok := errors.AsType[*LockedOut](err); ok && lock.ByUsername() {
		return nil, g.countByKey(ctx, &r, lock, now)
	}
	return p, err
}

// countByKey counts an attempt that a lock by username refused, by the limits of scope key. The lock
// may be one that nobody is told of, and some may have longer ones: by where the limit begins to
// answer nobody shall know who they are. The address is not counted, so that a program with an old
// password keeps nobody else from signing in there.
func (g *Guard) countByKey(ctx context.Context, r *Request, lock *LockedOut, now time.Time) error {
	places := slices.DeleteFunc(g.placesOfLimits(r.Failure, r, now), func(p place) bool { return p.limit.Scope != ByKey })
	outcomes, err := g.take(ctx, places, now)
	if err != nil {
		g.observe(r.metric(), Unserved)
		return fmt.Errorf("count an attempt during a lock: %w", err)
	}
	if t := throttled(places, outcomes, now); t != nil {
		g.observe(t.Action, Limited)
		return t
	}
	return lock
}

// now is in whole microseconds, which every store can keep.
func (g *Guard) now() time.Time { return g.set.Now().Truncate(time.Microsecond) }

// reserve takes places, or tells why not. emptied tells that the bucket of the known device has
// none left, which is no refusal.
func (g *Guard) reserve(ctx context.Context, r Request, places []place, now time.Time) (p *Permit, emptied bool, err error) {
	outcomes, err := g.take(ctx, places, now)
	if err != nil {
		g.observe(r.metric(), Unserved)
		return nil, false, fmt.Errorf("reserve places of %s: %w", r.metric(), err)
	}
	for i := range places {
		if places[i].device && outcomes[i].Refused {
			return nil, true, nil
		}
	}
	if err := g.refusal(&r, places, outcomes, now); err != nil {
		return nil, false, err
	}
	g.observe(r.metric(), Reserved)
	p = &Permit{guard: g, request: r, at: now, known: r.Device != ""}
	for i, o := range outcomes {
		switch {
		case places[i].group == nil:
		case o.Locks && places[i].counter.Rule.Monitor:
			p.wouldLock = append(p.wouldLock, places[i].lockedOut(o, now))
		case o.Locks:
			p.locks = append(p.locks, places[i].lockedOut(o, now))
		case !o.Until.IsZero():
			g.observe(r.metric(), WouldBlock)
			continue // it took no place
		}
		if places[i].refunds {
			p.taken = append(p.taken, places[i].counter)
		}
	}
	return p, false, nil
}

// fullFor is how long a process remembers that a counter refuses. A place that is given back on
// another node is found no later than whoever was refused may come back; a lock that attempts
// prolong is prolonged once in that time.
const fullFor = time.Second

// take is the store's ReserveCounters. Whoever goes on all the same, with other names, must not make
// the store write each time: what is known to refuse is not asked. Then the outcomes of the others
// are zero.
func (g *Guard) take(ctx context.Context, places []place, now time.Time) ([]Outcome, error) {
	outcomes, refused := g.remembered(places, now)
	if refused || len(places) == 0 {
		return outcomes, nil
	}
	outcomes, err := g.store.ReserveCounters(ctx, countersOf(places), now)
	if err != nil {
		return nil, err
	}
	g.remember(places, outcomes, now)
	return outcomes, nil
}

// remembered are the outcomes of places that are known to refuse.
func (g *Guard) remembered(places []place, now time.Time) (outcomes []Outcome, refused bool) {
	outcomes = make([]Outcome, len(places))
	for i := range places {
		c := &places[i].counter
		outcomes[i] = g.full.has(c.Key, now)
		if c.Rule.isWindow() && c.Rule.Limit == 0 {
			outcomes[i] = Outcome{Refused: true, Until: c.Ends}
		}
		refused = refused || outcomes[i].Refused
	}
	return outcomes, refused
}

func (g *Guard) remember(places []place, outcomes []Outcome, now time.Time) {
	for i, o := range outcomes {
		if o.Refused {
			g.full.add(places[i].counter.Key, o, earlier(now.Add(fullFor), o.Until), now)
		}
	}
}

// refusal is the error of outcomes, nil where none refuses.
func (g *Guard) refusal(r *Request, places []place, outcomes []Outcome, now time.Time) error {
	if t := throttled(places, outcomes, now); t != nil {
		g.observe(t.Action, Limited)
		return t
	}
	for i, o := range outcomes {
		if o.Refused {
			g.observe(r.metric(), Locked)
			return places[i].lockedOut(o, now)
		}
	}
	return nil
}

// throttled is the limit that refuses longest, nil where none does.
func throttled(places []place, outcomes []Outcome, now time.Time) *Throttled {
	var until time.Time
	var t *Throttled
	for i, o := range outcomes {
		if o.Refused && places[i].action != "" && o.Until.After(until) {
			until = o.Until
			t = &Throttled{Action: places[i].action, Limit: places[i].limit, RetryAfter: wait(until, now)}
		}
	}
	return t
}

// wait is in whole seconds, up, so that nobody comes back too early, and at least one.
func wait(until, now time.Time) time.Duration {
	seconds := (until.Sub(now) + time.Second - 1) / time.Second
	return max(1, seconds) * time.Second
}

func (g *Guard) observe(a Action, r Result) {
	if g.set.Observe != nil {
		g.set.Observe(Observation{Action: a, Result: r})
	}
}

// Budget is what is left of an action's limit of the least left; the zero Budget is of an action
// without limits.
type Budget struct {
	Limit     int
	Remaining int
	Reset     time.Duration
}

// Spend is Reserve for an action that checks no secret, r.Attempt, with what is left of it. Its
// error is *Throttled or the store's.
func (g *Guard) Spend(ctx context.Context, r Request) (Budget, error) {
	now := g.now()
	places := g.placesOfLimits(r.Attempt, &r, now)
	outcomes, err := g.take(ctx, places, now)
	if err != nil {
		g.observe(r.Attempt, Unserved)
		return Budget{}, fmt.Errorf("spend a place of %s: %w", r.Attempt, err)
	}
	if t := throttled(places, outcomes, now); t != nil {
		g.observe(r.Attempt, Limited)
		return Budget{Limit: t.Limit.Amount, Reset: t.RetryAfter}, t
	}
	g.observe(r.Attempt, Reserved)
	return leastLeft(places, outcomes, now), nil
}

func leastLeft(places []place, outcomes []Outcome, now time.Time) (least Budget) {
	for i, o := range outcomes {
		limit := places[i].limit.Amount
		b := Budget{Limit: limit, Remaining: limit - o.Used, Reset: wait(places[i].counter.Ends, now)}
		if i == 0 || b.Remaining < least.Remaining || b.Remaining == least.Remaining && b.Reset > least.Reset {
			least = b
		}
	}
	return least
}

// maxHere bounds the memory of SpendHere.
const maxHere = 100_000

// SpendHere is Spend counted in the memory of this process alone, for what may be frequent. Its
// error is *Throttled.
func (g *Guard) SpendHere(r Request) error {
	now := g.now()
	places := g.placesOfLimits(r.Attempt, &r, now)
	if len(places) == 0 {
		return nil
	}
	outcomes, err := g.here.ReserveCounters(context.Background(), countersOf(places), now)
	if err != nil {
		return fmt.Errorf("spend a place of %s: %w", r.Attempt, err)
	}
	if t := throttled(places, outcomes, now); t != nil {
		g.observe(r.Attempt, Limited)
		return t
	}
	return nil
}

// Look tells without counting whether somebody may see the sign-in form: nil, *Denied or
// *LockedOut, or the store's error. Where r names nobody, only what is counted without the username
// is looked at.
func (g *Guard) Look(ctx context.Context, r Request) error {
	verdict, network := g.set.Lockout.judge(r.Address, true)
	switch {
	case verdict == refuse:
		return &Denied{Network: network}
	case verdict == spare, g.exempt(r.Address):
		return nil
	}
	now := g.now()
	if g.knows(&r) {
		outcomes, err := g.look(ctx, []place{g.placeOfDevice(&r)}, now)
		if err != nil || !outcomes[0].Refused {
			return err
		}
	}
	r.Device = ""
	places := g.placesOfLockout(&r)
	outcomes, err := g.look(ctx, places, now)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if o.Refused {
			return places[i].lockedOut(o, now)
		}
	}
	return nil
}

// look is take without counting, so that it prolongs nothing either.
func (g *Guard) look(ctx context.Context, places []place, now time.Time) ([]Outcome, error) {
	outcomes, refused := g.remembered(places, now)
	if refused || len(places) == 0 {
		return outcomes, nil
	}
	counters := countersOf(places)
	for i := range counters {
		counters[i].Rule.Prolong = false
	}
	outcomes, err := g.store.LookAtCounters(ctx, counters, now)
	if err != nil {
		return nil, fmt.Errorf("look at counters: %w", err)
	}
	g.remember(places, outcomes, now)
	return outcomes, nil
}

// Check is the gate of secrets that we generated with 256 bits, which need no reservation: it
// reads this process's memory only, and Failure counts afterwards, by limits of a scope with the
// address alone (I-14). Its error is *Throttled.
func (g *Guard) Check(r Request) (*Permit, error) {
	now := g.now()
	places := slices.DeleteFunc(g.placesOfLimits(r.Failure, &r, now), func(p place) bool { return !p.limit.Scope.byAddress() })
	outcomes := make([]Outcome, len(places))
	for i := range places {
		outcomes[i] = g.blocked.has(places[i].counter.Key, now)
	}
	if t := throttled(places, outcomes, now); t != nil {
		g.observe(r.Failure, Limited)
		return nil, t
	}
	return &Permit{guard: g, request: r, at: now, failures: places}, nil
}

// ForgetHere empties what this process remembers beside the store, after somebody cleared counters
// there.
func (g *Guard) ForgetHere() {
	g.full.clear()
	g.blocked.clear()
	// A process's own memory does not fail.
	_, _ = g.here.ForgetCounters(context.Background(), Filter{}, g.now())
}
