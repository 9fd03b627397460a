package guardtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"postern/idp/guard"
)

// model is a store as its contract has it: the rules and nothing else.
type model map[[16]byte]guard.Count

func (m model) reserve(counters []guard.Counter, now time.Time, keep bool) []guard.Outcome {
	counts, outcomes := make([]guard.Count, len(counters)), make([]guard.Outcome, len(counters))
	refused := false
	for i, c := range counters {
		counts[i], outcomes[i] = c.Rule.Take(m[c.Key], c.Ends, now)
		refused = refused || outcomes[i].Refused
	}
	for i, c := range counters {
		if keep && (!refused || outcomes[i].Refused) {
			m[c.Key] = counts[i]
		}
	}
	return outcomes
}

func (m model) release(counters []guard.Counter, at time.Time) {
	for _, c := range counters {
		m[c.Key] = c.Rule.Give(m[c.Key], at)
		if c.Clear {
			delete(m, c.Key)
		}
	}
}

// held are the counters that hold something, in the order of their keys.
func (m model) held(all []guard.Counter, f guard.Filter, now time.Time) (list []guard.Counter) {
	for _, c := range all {
		if now.Before(c.Rule.Dead(m[c.Key], c.Ends)) && f.Matches(c.Tag) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b guard.Counter) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return list
}

const (
	seeds = 4
	turns = 200
)

func testRandom(b *bench) {
	for seed := range uint64(seeds) {
		b.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			part := &bench{T: t, store: b.store, now: b.now}
			part.forget(guard.Filter{})
			r := &randomTest{bench: part, random: rand.New(rand.NewPCG(seed, 1)), model: model{}, all: part.manyCounters()}
			for turn := range turns {
				r.turn()
				if t.Failed() {
					t.Fatalf("in turn %d", turn)
				}
			}
		})
	}
}

// manyCounters are of every rule, with periods of seconds.
func (b *bench) manyCounters() (all []guard.Counter) {
	all = append(all, b.window(1, 3), b.window(2, 12))
	for i, rule := range []guard.Rule{
		{Aging: guard.Sliding, Limit: 3, Period: 15 * s},
		{Aging: guard.Sliding, Limit: 5, Period: 40 * s, Prolong: true},
		{Aging: guard.Inactivity, Limit: 4, Period: 20 * s},
		{Aging: guard.Inactivity, Limit: 2, Period: 10 * s, Monitor: true},
		{Aging: guard.Inactivity, Limit: 9},
		{Aging: guard.Sliding, Limit: 2, Period: 5 * s, Prolong: true, Monitor: true},
		{Limit: 2, Period: 3 * s, Tiers: []guard.Tier{{Limit: 2, Period: 3 * s}, {Limit: 4, Period: 9 * s}, {Limit: 6, Period: 30 * s}}},
		{Limit: 1, Period: 2 * s, Tiers: []guard.Tier{{Limit: 1, Period: 2 * s}, {Limit: 3}}, Prolong: true},
	} {
		all = append(all, b.counter(byte(10+i), rule))
	}
	return all
}

type randomTest struct {
	*bench
	random *rand.Rand
	model  model
	all    []guard.Counter
	taken  []reservation
}

type reservation struct {
	counters []guard.Counter
	at       time.Time
}

func (r *randomTest) turn() {
	switch n := r.random.IntN(20); {
	case n < 9:
		r.reserveSome()
	case n < 12 && len(r.taken) > 0:
		r.releaseSome()
	case n < 15:
		r.bench.turn(time.Duration(r.random.IntN(8_000_000)) * time.Microsecond)
	case n < 17:
		counters := r.some()
		r.compare("look", r.look(counters...), r.model.reserve(counters, r.now, false))
	case n == 17:
		r.forgetSome()
	default:
		r.listAll()
	}
}

func (r *randomTest) some() []guard.Counter {
	list := slices.Clone(r.all)
	r.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:1+r.random.IntN(4)]
}

// reserveSome reserves by the clock of one of several nodes, which differ a little.
func (r *randomTest) reserveSome() {
	r.Helper()
	counters, former := r.some(), r.now
	r.now = r.now.Add(-time.Duration(r.random.IntN(3)) * time.Millisecond)
	got, want := r.reserve(counters...), r.model.reserve(counters, r.now, true)
	if !slices.ContainsFunc(want, func(o guard.Outcome) bool { return o.Refused }) {
		r.taken = append(r.taken, reservation{counters, r.now})
	}
	r.now = former
	r.compare("reserve", got, want)
}

func (r *randomTest) compare(doing string, got, want []guard.Outcome) {
	r.Helper()
	for i := range want {
		if !same(got[i], want[i]) {
			r.Errorf("%s, counter %d: got %+v, want %+v", doing, i, got[i], want[i])
		}
	}
}

func (r *randomTest) releaseSome() {
	r.Helper()
	i := r.random.IntN(len(r.taken))
	counters := slices.Clone(r.taken[i].counters)
	counters[0].Clear = r.random.IntN(8) == 0
	r.release(r.taken[i].at, counters...)
	r.model.release(counters, r.taken[i].at)
	r.taken = slices.Delete(r.taken, i, i+1)
}

func (r *randomTest) forgetSome() {
	r.Helper()
	f := guard.Filter{Account: r.all[r.random.IntN(len(r.all))].Tag.Account, Locks: r.random.IntN(2) == 0}
	held := r.model.held(r.all, f, r.now)
	if got := r.forget(f); got != len(held) {
		r.Errorf("forget %+v: got %d, want %d", f, got, len(held))
	}
	for _, c := range r.all {
		if f.Matches(c.Tag) {
			delete(r.model, c.Key)
		}
	}
}

func (r *randomTest) listAll() {
	r.Helper()
	want := r.model.held(r.all, guard.Filter{}, r.now)
	got := r.records(guard.Filter{}, [16]byte{}, len(r.all)+1)
	if len(got) != len(want) {
		r.Errorf("records: got %d, want %d", len(got), len(want))
		return
	}
	for i, c := range want {
		count := r.model[c.Key]
		if got[i].Key != c.Key || got[i].Tag != c.Tag || got[i].Limit != c.Rule.Limit || got[i].Count.Used != count.Used ||
			len(got[i].Count.Times) != len(count.Times) || !got[i].Count.Locked.Equal(count.Locked) {
			r.Errorf("records: got %+v, want %+v of %+v", got[i], count, c)
		}
	}
}
