// Package guardtest is the contract of guard.Store as tests, and its benchmark: every store passes
// them.
//
// It opens no store; that is for the tests of each.
package guardtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/idp/guard"
)

// TestStore tests a store. open returns one that is empty and the test's own, and closes it when the
// test ends.
func TestStore(t *testing.T, open func(t *testing.T) guard.Store) {
	for name, test := range map[string]func(*bench){
		"S4-15: a reservation takes all places or none":             testAllOrNone,
		"S4-15: outcomes are in the order of the counters":          testOrder,
		"S4-15: whoever left has no reservation":                    testCancelled,
		"S4-15, S4-65: a hundred racers take exactly the limit":     testRacers,
		"S4-15, S4-65: a hundred racers lock once":                  testRacersForALock,
		"S4-15, S4-65: racers who succeed leave no trace":           testRacersWhoSucceed,
		"S4-15: places in any order block nobody":                   testOppositeOrders,
		"S4-15: a place is given back once":                         testRelease,
		"S4-15: who took the last place takes the lock back":        testUnlock,
		"S4-15: a counter that is cleared is new":                   testClear,
		"S4-15: timelines":                                          testTimelines,
		"S4-15: a refused attempt prolongs its own lock alone":      testProlongAlone,
		"S4-15: looking changes nothing":                            testLook,
		"S4-15, S4-59: records are in pages":                        testPages,
		"S4-15, S4-59: records are those of a filter":               testFilters,
		"S4-15, S4-59: what is forgotten is counted and new":        testForget,
		"S4-15, S4-52: what is over counts without being swept":     testOver,
		"S4-15: the store answers as the rule does, whatever comes": testRandom,
	} {
		t.Run(name, func(t *testing.T) {
			// Of the real time, since a store may expire what it keeps by a clock of its own.
			test(&bench{T: t, store: open(t), now: time.Now().UTC().Truncate(time.Microsecond)})
		})
	}
}

// TestDummy tests that a store counts nothing.
func TestDummy(t *testing.T, store guard.Store) {
	b := &bench{T: t, store: store, now: time.Now().UTC().Truncate(time.Microsecond)}
	counters := []guard.Counter{b.window(1, 1), b.counter(2, guard.Rule{Aging: guard.Sliding, Limit: 1})}
	for range 10 {
		b.passes(counters...)
	}
	for _, o := range b.look(counters...) {
		if o.Refused {
			t.Errorf("got %+v, want no refusal", o)
		}
	}
	b.release(b.now, counters...)
	if n := len(b.records(guard.Filter{}, [16]byte{}, 10)); n != 0 {
		t.Errorf("got %d records, want none", n)
	}
	if n := b.forget(guard.Filter{}); n != 0 {
		t.Errorf("forgot %d, want none", n)
	}
}

// bench is a store on a bench, with a clock that is turned by hand.
type bench struct {
	*testing.T
	store guard.Store
	now   time.Time
}

func (b *bench) turn(d time.Duration) { b.now = b.now.Add(d) }

// window is a rate limit, in a window that is longer than any test.
func (b *bench) window(n byte, limit int) guard.Counter {
	c := b.counter(n, guard.Rule{Aging: guard.Window, Limit: limit, Period: 48 * time.Hour})
	c.Ends = b.now.Truncate(48 * time.Hour).Add(96 * time.Hour)
	c.Tag = guard.Tag{Kind: "login 1/172800s/ip", Network: "192.0.2.1/32"}
	return c
}

func (b *bench) counter(n byte, rule guard.Rule) guard.Counter {
	return guard.Counter{
		Key: [16]byte{n, 0xff, 15: n}, Rule: rule,
		Tag: guard.Tag{Kind: "username+ip_address", Lock: true, Account: fmt.Sprintf("user %d", n), Network: "2001:db8::/64"},
	}
}

func (b *bench) reserve(counters ...guard.Counter) []guard.Outcome {
	b.Helper()
	outcomes, err := b.store.ReserveCounters(b.Context(), counters, b.now)
	if err != nil || len(outcomes) != len(counters) {
		b.Fatalf("reserve: %d outcomes and %v, want %d", len(outcomes), err, len(counters))
	}
	return outcomes
}

func (b *bench) passes(counters ...guard.Counter) {
	b.Helper()
	for i, o := range b.reserve(counters...) {
		if o.Refused {
			b.Fatalf("counter %d: got %+v, want a place", i, o)
		}
	}
}

func (b *bench) look(counters ...guard.Counter) []guard.Outcome {
	b.Helper()
	outcomes, err := b.store.LookAtCounters(b.Context(), counters, b.now)
	if err != nil || len(outcomes) != len(counters) {
		b.Fatalf("look: %d outcomes and %v, want %d", len(outcomes), err, len(counters))
	}
	return outcomes
}

func (b *bench) release(at time.Time, counters ...guard.Counter) {
	b.Helper()
	if err := b.store.ReleaseCounters(b.Context(), counters, at); err != nil {
		b.Fatalf("release: %v", err)
	}
}

func (b *bench) records(f guard.Filter, after [16]byte, limit int) []guard.Record {
	b.Helper()
	list, err := b.store.CounterRecords(b.Context(), f, b.now, after, limit)
	if err != nil {
		b.Fatalf("records: %v", err)
	}
	return list
}

func (b *bench) forget(f guard.Filter) int {
	b.Helper()
	n, err := b.store.ForgetCounters(b.Context(), f, b.now)
	if err != nil {
		b.Fatalf("forget: %v", err)
	}
	return n
}

// want compares outcomes with times of the same moment.
func (b *bench) want(got []guard.Outcome, want ...guard.Outcome) {
	b.Helper()
	for i := range want {
		if !same(got[i], want[i]) {
			b.Errorf("counter %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func same(a, b guard.Outcome) bool {
	at := a.Until.Equal(b.Until)
	a.Until, b.Until = time.Time{}, time.Time{}
	return at && reflect.DeepEqual(a, b)
}

const minutes15 = 15 * time.Minute

func lockAt(limit int) guard.Rule {
	return guard.Rule{Aging: guard.Sliding, Limit: limit, Period: minutes15}
}

func testAllOrNone(b *bench) {
	full, other, lock := b.window(1, 1), b.window(2, 5), b.counter(3, lockAt(5))
	b.passes(full)
	for range 10 {
		b.want(b.reserve(lock, full, other), guard.Outcome{Used: 1}, guard.Outcome{Refused: true, Used: 1, Until: full.Ends}, guard.Outcome{Used: 1})
	}
	b.want(b.reserve(other, lock), guard.Outcome{Used: 1}, guard.Outcome{Used: 1})
	b.want(b.look(full), guard.Outcome{Refused: true, Used: 1, Until: full.Ends})
}

func testOrder(b *bench) {
	var counters []guard.Counter
	for _, n := range []byte{7, 3, 9, 1, 5} {
		c := b.window(n, int(n))
		for range n - 1 {
			b.passes(c)
		}
		counters = append(counters, c)
	}
	for i, o := range b.reserve(counters...) {
		if o.Used != counters[i].Rule.Limit || o.Refused {
			b.Errorf("counter %d: got %+v, want the place %d", i, o, counters[i].Rule.Limit)
		}
	}
}

func testCancelled(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	c := b.window(1, 1)
	if _, err := b.store.ReserveCounters(ctx, []guard.Counter{c}, b.now); !errors.Is(err, context.Canceled) {
		b.Errorf("reserve: got %v, want that it was cancelled", err)
	}
	b.passes(c)
}

// race lets a hundred reserve at a time, and tells how many had places and how many locked.
func (b *bench) race(counters func(i int) []guard.Counter) (passed, locked int64) {
	b.Helper()
	var p, l atomic.Int64
	var racers sync.WaitGroup
	for i := range 100 {
		racers.Go(func() {
			outcomes, err := b.store.ReserveCounters(b.Context(), counters(i), b.now.Add(time.Duration(i)*time.Microsecond))
			if err != nil {
				b.Errorf("racer %d: %v", i, err)
				return
			}
			refused, locks := false, false
			for _, o := range outcomes {
				refused, locks = refused || o.Refused, locks || o.Locks
			}
			if !refused {
				p.Add(1)
				if locks {
					l.Add(1)
				}
			}
		})
	}
	racers.Wait()
	return p.Load(), l.Load()
}

func testRacers(b *bench) {
	c := b.window(1, 7)
	if passed, _ := b.race(func(int) []guard.Counter { return []guard.Counter{c} }); passed != 7 {
		b.Errorf("got %d through, want 7", passed)
	}
}

func testRacersForALock(b *bench) {
	c, wide := b.counter(1, lockAt(5)), b.window(2, 1000)
	passed, locked := b.race(func(int) []guard.Counter { return []guard.Counter{wide, c} })
	if passed != 5 || locked != 1 {
		b.Errorf("got %d through and %d locks, want 5 and 1", passed, locked)
	}
	b.want(b.look(wide), guard.Outcome{Used: 6})
}

func testRacersWhoSucceed(b *bench) {
	lock, window := b.counter(1, lockAt(5)), b.window(2, 5)
	var inFlight, passed atomic.Int64
	var racers sync.WaitGroup
	for i := range 60 {
		racers.Go(func() {
			at := b.now.Add(time.Duration(i) * time.Microsecond)
			outcomes, err := b.store.ReserveCounters(b.Context(), []guard.Counter{lock, window}, at)
			if err != nil {
				b.Errorf("racer %d: %v", i, err)
				return
			}
			if outcomes[0].Refused || outcomes[1].Refused {
				return
			}
			passed.Add(1)
			if n := inFlight.Add(1); n > 5 {
				b.Errorf("%d at a time, want at most 5", n)
			}
			inFlight.Add(-1)
			if err := b.store.ReleaseCounters(b.Context(), []guard.Counter{window, lock}, at); err != nil {
				b.Errorf("racer %d gives back: %v", i, err)
			}
		})
	}
	racers.Wait()
	if passed.Load() < 5 {
		b.Errorf("got %d through, want 5 at least", passed.Load())
	}
	b.want(b.look(lock, window), guard.Outcome{Used: 1}, guard.Outcome{Used: 1})
}

func testOppositeOrders(b *bench) {
	one, two := b.window(1, 60), b.window(2, 60)
	passed, _ := b.race(func(i int) []guard.Counter {
		if i%2 == 0 {
			return []guard.Counter{one, two}
		}
		return []guard.Counter{two, one}
	})
	if passed != 60 {
		b.Errorf("got %d through, want 60", passed)
	}
}

func testRelease(b *bench) {
	window, lock := b.window(1, 2), b.counter(2, lockAt(3))
	b.release(b.now, window, lock) // there is nothing yet
	b.passes(window, lock)
	first := b.now
	b.turn(time.Second)
	b.passes(window, lock)
	b.release(first, window, lock)
	b.want(b.look(window, lock), guard.Outcome{Used: 2}, guard.Outcome{Used: 2})
	b.release(first, lock) // again: that place is gone
	b.want(b.look(lock), guard.Outcome{Used: 2})
	b.release(b.now, window, lock)
	b.want(b.look(window, lock), guard.Outcome{Used: 1}, guard.Outcome{Used: 1})
	b.release(b.now, window, lock)
	b.want(b.look(window, lock), guard.Outcome{Used: 1}, guard.Outcome{Used: 1})
}

func testUnlock(b *bench) {
	c := b.counter(1, lockAt(2))
	first := b.now
	b.want(b.reserve(c), guard.Outcome{Used: 1})
	b.turn(time.Second)
	locks := guard.Outcome{Locks: true, Used: 2, Until: b.now.Add(minutes15)}
	b.want(b.reserve(c), locks)
	refused := guard.Outcome{Refused: true, Used: 2, Until: b.now.Add(minutes15)}
	b.want(b.reserve(c), refused)
	b.release(b.now, c) // it was no failure
	b.want(b.reserve(c), locks)
	b.release(first, c) // another's place does not open the lock
	refused.Used = 1
	b.want(b.reserve(c), refused)
}

func testClear(b *bench) {
	c, other := b.counter(1, guard.Rule{Aging: guard.Inactivity, Limit: 1}), b.window(2, 1)
	b.want(b.reserve(c, other), guard.Outcome{Locks: true, Used: 1, Until: guard.Forever}, guard.Outcome{Used: 1})
	c.Clear = true
	b.release(b.now.Add(time.Second), c)
	b.want(b.look(c, other), guard.Outcome{Locks: true, Used: 1, Until: guard.Forever}, guard.Outcome{Refused: true, Used: 1, Until: other.Ends})
}

func testProlongAlone(b *bench) {
	prolonged, other, free := b.counter(1, lockAt(1)), b.counter(2, lockAt(1)), b.counter(3, lockAt(2))
	prolonged.Rule.Prolong = true
	until := b.now.Add(minutes15)
	b.passes(prolonged, other)
	b.turn(5 * time.Minute)
	b.want(b.reserve(free, other, prolonged),
		guard.Outcome{Used: 1},
		guard.Outcome{Refused: true, Used: 1, Until: until},
		guard.Outcome{Refused: true, Used: 1, Until: until.Add(5 * time.Minute)})
	b.turn(10 * time.Minute)
	b.want(b.look(free, other, prolonged),
		guard.Outcome{Used: 1},
		guard.Outcome{Locks: true, Used: 1, Until: b.now.Add(minutes15)},
		guard.Outcome{Refused: true, Used: 1, Until: b.now.Add(minutes15)}) // as an attempt would prolong it
	prolonged.Rule.Prolong = false
	b.want(b.look(prolonged), guard.Outcome{Refused: true, Used: 1, Until: until.Add(5 * time.Minute)})
}

func testLook(b *bench) {
	window, lock := b.window(1, 1), b.counter(2, lockAt(1))
	locks := guard.Outcome{Locks: true, Used: 1, Until: b.now.Add(minutes15)}
	for range 3 {
		b.want(b.look(window, lock), guard.Outcome{Used: 1}, locks)
	}
	if n := len(b.records(guard.Filter{}, [16]byte{}, 10)); n != 0 {
		b.Errorf("got %d records, want none", n)
	}
	b.want(b.reserve(window, lock), guard.Outcome{Used: 1}, locks)
}

func testPages(b *bench) {
	var want []byte
	for n := byte(1); n <= 7; n++ {
		b.passes(b.window(n, 3), b.counter(n+100, lockAt(3)))
		want = append(want, n)
	}
	for n := byte(1); n <= 7; n++ {
		want = append(want, n+100)
	}
	var got []byte
	var after [16]byte
	for {
		page := b.records(guard.Filter{}, after, 3)
		if len(page) > 3 {
			b.Fatalf("got a page of %d, want at most 3", len(page))
		}
		for _, r := range page {
			got = append(got, r.Key[0])
			after = r.Key
		}
		if len(page) == 0 {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		b.Errorf("got %v, want %v", got, want)
	}
}

func testFilters(b *bench) {
	pair, window, name := b.counter(1, lockAt(2)), b.window(2, 9), b.counter(3, guard.Rule{Aging: guard.Inactivity, Limit: 1})
	name.Tag = guard.Tag{Kind: "username", Lock: true, Account: "user 1"}
	limit := b.window(4, 5)
	limit.Tag = guard.Tag{Kind: "login_failed 5/300s/key", Account: "user 1"}
	b.passes(pair, window, name, limit)
	b.turn(time.Second)
	b.passes(pair, window)
	for text, tc := range map[string]struct {
		filter guard.Filter
		want   []guard.Counter
	}{
		"everything":               {guard.Filter{}, []guard.Counter{pair, window, name, limit}},
		"locks":                    {guard.Filter{Locks: true}, []guard.Counter{pair, name}},
		"an account":               {guard.Filter{Account: "user 1"}, []guard.Counter{pair, name, limit}},
		"a network":                {guard.Filter{Network: "192.0.2.1/32"}, []guard.Counter{window}},
		"an account at a network":  {guard.Filter{Account: "user 1", Network: "2001:db8::/64"}, []guard.Counter{pair}},
		"part of an account":       {guard.Filter{Account: "user"}, nil},
		"locks of an account":      {guard.Filter{Account: "user 1", Locks: true}, []guard.Counter{pair, name}},
		"a network as a wider one": {guard.Filter{Network: "192.0.2.0/24"}, nil},
	} {
		got := b.records(tc.filter, [16]byte{}, 10)
		if len(got) != len(tc.want) {
			b.Errorf("%s: got %d records, want %d", text, len(got), len(tc.want))
			continue
		}
		for i, r := range got {
			if w := tc.want[i]; r.Key != w.Key || r.Tag != w.Tag || r.Limit != w.Rule.Limit {
				b.Errorf("%s: got %+v, want %+v", text, r, w)
			}
		}
	}
	list := b.records(guard.Filter{}, [16]byte{}, 10)
	if c := list[0].Count; len(c.Times) != 2 || !c.Locked.Equal(b.now.Add(minutes15)) || !c.Times[1].Equal(b.now) {
		b.Errorf("got %+v, want two times and a lock", c)
	}
	if list[1].Count.Used != 2 || !list[2].Count.Locked.Equal(guard.Forever) {
		b.Errorf("got %+v, want two used and a lock without an end", list[1:3])
	}
}

func testForget(b *bench) {
	pair, elsewhere, window := b.counter(1, lockAt(1)), b.counter(2, lockAt(1)), b.window(3, 1)
	elsewhere.Tag = guard.Tag{Kind: pair.Tag.Kind, Lock: true, Account: "user 1", Network: "198.51.100.7/32"}
	window.Tag = guard.Tag{Kind: "login_failed 5/300s/key", Account: "user 1"}
	b.passes(pair, elsewhere, window)
	for _, step := range []struct {
		filter guard.Filter
		want   int
	}{
		{guard.Filter{Account: "user 2"}, 0},
		{guard.Filter{Account: "user 1", Network: "2001:db8::/64"}, 1},
		{guard.Filter{Account: "user 1", Network: "2001:db8::/64"}, 0},
		{guard.Filter{Account: "user 1", Locks: true}, 1},
		{guard.Filter{}, 1},
		{guard.Filter{}, 0},
	} {
		if got := b.forget(step.filter); got != step.want {
			b.Errorf("%+v: forgot %d, want %d", step.filter, got, step.want)
		}
	}
	b.passes(pair, elsewhere, window)
}

func testOver(b *bench) {
	lock, sliding := b.counter(1, lockAt(1)), b.counter(2, lockAt(5))
	window := b.window(3, 1)
	window.Ends = b.now.Add(minutes15)
	b.passes(lock, sliding, window)
	b.turn(minutes15 - time.Microsecond)
	if n := len(b.records(guard.Filter{}, [16]byte{}, 10)); n != 3 {
		b.Errorf("before the end: got %d records, want 3", n)
	}
	b.turn(time.Microsecond)
	if n := len(b.records(guard.Filter{}, [16]byte{}, 10)); n != 0 {
		b.Errorf("at the end: got %d records, want none", n)
	}
	b.want(b.reserve(lock, sliding), guard.Outcome{Locks: true, Used: 1, Until: b.now.Add(minutes15)}, guard.Outcome{Used: 1})
	if n := b.forget(guard.Filter{}); n != 2 {
		b.Errorf("forgot %d, want 2: what is over is not counted", n)
	}
}
