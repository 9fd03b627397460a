package guard

import (
	"context"
	"slices"
	"time"
)

// An Aging says how a counter forgets.
type Aging uint8

const (
	// Window forgets everything at the end of its window: a rate limit.
	Window Aging = iota
	// Sliding forgets each failure by itself, a period after it.
	Sliding
	// Inactivity forgets everything once nothing was counted for a period.
	Inactivity
)

// A Tier is for how long to lock from a number of failures on.
type Tier struct {
	Limit  int
	Period time.Duration // 0: until somebody clears it
}

// A Rule says when a counter refuses. It is pure: Take and Give are all that it knows, and every
// store answers as they do.
type Rule struct {
	Aging Aging
	Limit int // the place that locks; a Window has as many, the others refuse from then on
	// Period is how long something counts, and for how long the last place locks. 0: until somebody
	// clears it. A Window ends at Counter.Ends instead.
	Period time.Duration
	// Tiers are the locks of a rule that ages by Inactivity, whatever Aging says, from the lowest
	// on, in place of Limit and Period; from the first one on each further failure locks anew. They
	// are forgotten after the longest period without a failure.
	Tiers []Tier
	// Prolong begins a lock anew at each attempt during it.
	Prolong bool
	// Monitor never refuses.
	Monitor bool
}

// A Count is what a store has of a counter. Its zero value is one that was never taken.
type Count struct {
	Used int // places of a Window
	// Times are the places of the others, in the order in which they were taken, at most as many as
	// the rule can count. Where there is a lock, the last one made it.
	Times  []time.Time
	Locked time.Time // until when; zero for not, Forever until somebody clears it
}

// Forever is the end of a lock that has none.
var Forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// A Counter is a place where something is counted.
type Counter struct {
	Key  [16]byte // hash of what is counted
	Rule Rule
	Ends time.Time // of a Window
	Tag  Tag
	// Clear makes ReleaseCounters forget the counter, in place of one place of it.
	Clear bool
}

// A Tag is what lists show of a counter and what ForgetCounters finds it by.
type Tag struct {
	Kind    string // "login_failed 5/5m/key" or "username+ip_address"
	Lock    bool   // whether it is lockout's, not a limit's
	Account string // "user " and the ID, or "name " and a keyed hash where it is nobody's; "" for neither
	Network string // CIDR, "" for none
}

// An Outcome is what became of one counter of a reservation.
type Outcome struct {
	Refused bool
	Locks   bool // whether this reservation took the last place, so that a failure locks
	Used    int  // places that are taken, this one with them where it is not Refused
	// Until is when it has a place again, of one that is Refused or Locks, or that would be Refused
	// if it did not Monitor.
	Until time.Time
}

// A Filter says which counters. Where both are set, both must be as they say.
type Filter struct {
	Account string
	Network string
	Locks   bool // those of lockout alone
}

// A Record is a counter as it is in a store.
type Record struct {
	Key   [16]byte
	Tag   Tag
	Limit int // Rule.Limit
	Count Count
}

// Store keeps the counters that every node shares. now is the moment that all counters of a call
// are judged at, in whole microseconds; that of one node may be a little before another's. The keys
// of a call differ from each other.
type Store interface {
	// ReserveCounters takes a place in every one of the counters, or in none of them where one refuses; one
	// that refuses and prolongs is prolonged. The outcomes are in the order of the counters, each as
	// Take tells it.
	ReserveCounters(ctx context.Context, counters []Counter, now time.Time) ([]Outcome, error)
	// ReleaseCounters gives back the places that were taken at `at`, and forgets the counters that say
	// Clear. It ignores what is gone.
	ReleaseCounters(ctx context.Context, counters []Counter, at time.Time) error
	// LookAtCounters tells what ReserveCounters would, and changes nothing.
	LookAtCounters(ctx context.Context, counters []Counter, now time.Time) ([]Outcome, error)
	// CounterRecords lists counters that hold something at now, in the order of their keys, those after
	// the key `after`, at most limit.
	CounterRecords(ctx context.Context, f Filter, now time.Time, after [16]byte, limit int) ([]Record, error)
	// ForgetCounters removes counters and tells how many held something at now.
	ForgetCounters(ctx context.Context, f Filter, now time.Time) (int, error)
}

// Matches tells whether a counter is one of those that f means.
func (f Filter) Matches(t Tag) bool {
	return (f.Account == "" || f.Account == t.Account) &&
		(f.Network == "" || f.Network == t.Network) &&
		(!f.Locks || t.Lock)
}

// Take takes a place of c at now, or tells that there is none: then c changes only where the rule
// prolongs. ends is Counter.Ends. Whatever was over at now counts no more: what was taken at t is
// over at t plus the period, not a moment later.
func (r *Rule) Take(c Count, ends, now time.Time) (Count, Outcome) {
	if r.isWindow() {
		return r.takeOfWindow(c, ends, now)
	}
	if now.Before(c.Locked) {
		return r.takeWhileLocked(c, now)
	}
	times := append(r.remembered(c, now), now)
	times = times[max(0, len(times)-r.most()):]
	taken, o := Count{Times: times}, Outcome{Used: len(times)}
	if period, locks := r.lock(len(times)); locks {
		taken.Locked = after(now, period)
		o.Locks, o.Until = true, taken.Locked
	}
	return taken, o
}

func (r *Rule) isWindow() bool { return r.Aging == Window && len(r.Tiers) == 0 }

func (r *Rule) takeOfWindow(c Count, ends, now time.Time) (Count, Outcome) {
	if !now.Before(ends) {
		c.Used = 0
	}
	if c.Used >= r.Limit {
		return c, Outcome{Refused: true, Used: c.Used, Until: ends}
	}
	c.Used++
	return c, Outcome{Used: c.Used}
}

func (r *Rule) takeWhileLocked(c Count, now time.Time) (Count, Outcome) {
	if r.Prolong {
		period, _ := r.lock(len(c.Times))
		c.Locked = later(c.Locked, after(now, period))
	}
	return c, Outcome{Refused: !r.Monitor, Used: len(c.Times), Until: c.Locked}
}

// remembered are the times that count at now, when a lock is over, in a new slice.
func (r *Rule) remembered(c Count, now time.Time) []time.Time {
	if !c.Locked.IsZero() && len(r.Tiers) == 0 {
		return nil
	}
	counts := func(t time.Time) bool { return now.Before(after(t, r.longest())) }
	if r.Aging == Sliding && len(r.Tiers) == 0 {
		return slices.DeleteFunc(slices.Clone(c.Times), func(t time.Time) bool { return !counts(t) })
	}
	if !counts(latest(c.Times)) {
		return nil
	}
	return slices.Clone(c.Times)
}

// lock tells whether the place that makes it n locks, and for how long.
func (r *Rule) lock(n int) (period time.Duration, locks bool) {
	if len(r.Tiers) == 0 {
		return r.Period, n >= r.Limit
	}
	for _, t := range r.Tiers {
		if n >= t.Limit {
			period, locks = t.Period, true
		}
	}
	return period, locks
}

// most is how many places the rule can tell apart.
func (r *Rule) most() int {
	if len(r.Tiers) > 0 {
		return r.Tiers[len(r.Tiers)-1].Limit
	}
	return max(1, r.Limit)
}

// longest is how long something may count, 0 for until somebody clears it.
func (r *Rule) longest() time.Duration {
	longest := r.Period
	for i, t := range r.Tiers {
		switch {
		case t.Period == 0:
			return 0
		case i == 0 || t.Period > longest:
			longest = t.Period
		}
	}
	return longest
}

// Give gives back the place that Take took at `at`, and the lock with it where that place made it.
func (r *Rule) Give(c Count, at time.Time) Count {
	if r.isWindow() {
		c.Used = max(0, c.Used-1)
		return c
	}
	i := len(c.Times) - 1
	for i >= 0 && !c.Times[i].Equal(at) {
		i--
	}
	if i < 0 {
		return c
	}
	if i == len(c.Times)-1 {
		c.Locked = time.Time{}
	}
	c.Times = slices.Delete(slices.Clone(c.Times), i, i+1)
	return c
}

// Dead is from when on c is as if it had never been, for stores that sweep: the zero time where it
// holds nothing.
func (r *Rule) Dead(c Count, ends time.Time) time.Time {
	if r.isWindow() {
		if c.Used == 0 {
			return time.Time{}
		}
		return ends
	}
	if len(c.Times) == 0 {
		return c.Locked
	}
	return later(c.Locked, after(latest(c.Times), r.longest()))
}

// after is a period after t, Forever for the period 0.
func after(t time.Time, period time.Duration) time.Time {
	if period == 0 {
		return Forever
	}
	return t.Add(period)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// latest is the zero time where there is none.
func latest(times []time.Time) (t time.Time) {
	for _, other := range times {
		t = later(t, other)
	}
	return t
}
