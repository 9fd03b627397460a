package storage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/idp/guard"
	"postern/idp/guard/guardtest"
	"postern/storage"
	"postern/storage/storagetest"
)

// window is a rate limit of a minute.
func window(key string, limit int) guard.Counter {
	c := guard.Counter{Rule: guard.Rule{Limit: limit}, Ends: at(time.Minute), Tag: guard.Tag{Kind: "login 5/m/ip"}}
	copy(c.Key[:], key)
	return c
}

// lockout is a counter that locks for a minute.
func lockout(key string, limit int) guard.Counter {
	c := window(key, limit)
	c.Rule = guard.Rule{Aging: guard.Sliding, Limit: limit, Period: time.Minute}
	c.Ends, c.Tag = time.Time{}, guard.Tag{Kind: "username", Lock: true, Account: "user " + key}
	return c
}

func reserve(t *testing.T, s *storage.Store, when time.Time, counters ...guard.Counter) []guard.Outcome {
	t.Helper()
	outcomes, err := s.ReserveCounters(t.Context(), counters, when)
	must(t, err)
	return outcomes
}

// used is how many places of c are taken.
func used(t *testing.T, s *storage.Store, c guard.Counter) int {
	t.Helper()
	for _, r := range rows(t, s) {
		if r.Key == c.Key {
			return r.Count.Used + len(r.Count.Times)
		}
	}
	return 0
}

func rows(t *testing.T, s *storage.Store) []guard.Record {
	t.Helper()
	list, err := s.CounterRecords(t.Context(), guard.Filter{}, at(0), [16]byte{}, 1000)
	must(t, err)
	return list
}

func twoStores(t *testing.T, test func(t *testing.T, a, b *storage.Store)) {
	t.Helper()
	storagetest.EachURL(t, func(t *testing.T, url string) {
		test(t, storagetest.Open(t, url, storage.Options{}), storagetest.Open(t, url, storage.Options{}))
	})
}

func refusedAny(outcomes []guard.Outcome) bool {
	for _, o := range outcomes {
		if o.Refused {
			return true
		}
	}
	return false
}

// nodes are several stores over one database, which take turns.
type nodes struct {
	stores []guard.Store
	turn   *atomic.Int64
}

func (n nodes) next() guard.Store { return n.stores[int(n.turn.Add(1))%len(n.stores)] }

func (n nodes) ReserveCounters(ctx context.Context, counters []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	return n.next().ReserveCounters(ctx, counters, now)
}

func (n nodes) ReleaseCounters(ctx context.Context, counters []guard.Counter, at time.Time) error {
	return n.next().ReleaseCounters(ctx, counters, at)
}

func (n nodes) LookAtCounters(ctx context.Context, counters []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	return n.next().LookAtCounters(ctx, counters, now)
}

func (n nodes) CounterRecords(ctx context.Context, f guard.Filter, now time.Time, after [16]byte, limit int) ([]guard.Record, error) {
	return n.next().CounterRecords(ctx, f, now, after, limit)
}

func (n nodes) ForgetCounters(ctx context.Context, f guard.Filter, now time.Time) (int, error) {
	return n.next().ForgetCounters(ctx, f, now)
}

func TestS4_15_TwoNodesKeepTheContractTogether(t *testing.T) {
	for name, address := range map[string]func(testing.TB) string{"SQLite": storagetest.SQLite, "PostgreSQL": storagetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			guardtest.TestStore(t, func(t *testing.T) guard.Store {
				url := address(t)
				a, b := storagetest.Open(t, url, storage.Options{}), storagetest.Open(t, url, storage.Options{})
				return nodes{[]guard.Store{a, b}, new(atomic.Int64)}
			})
		})
	}
}

func TestS0_02_RacersOnTwoNodesTakeNoMorePlacesThanThereAre(t *testing.T) {
	for name, few := range map[string]guard.Counter{"limit": window("a", 5), "lockout": lockout("a", 5)} {
		t.Run(name, func(t *testing.T) {
			twoStores(t, func(t *testing.T, a, b *storage.Store) {
				many := window("b", 1000)
				won := race(t, 100, func(i int) (bool, error) {
					s, counters := a, []guard.Counter{few, many}
					if i%2 == 0 {
						s = b
					}
					if i%4 < 2 { // the other order must not make two wait for each other
						counters = []guard.Counter{many, few}
					}
					outcomes, err := s.ReserveCounters(t.Context(), counters, at(time.Duration(i)*time.Microsecond))
					return !refusedAny(outcomes), err
				})
				same(t, "reserved", won, 5)
				same(t, "places of the other counter", used(t, a, many), 5)
			})
		})
	}
}

func TestS4_65_RacersForOneCounterTakeNoMorePlacesThanThereAre(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		locks := make(chan bool, 100)
		won := race(t, 100, func(i int) (bool, error) {
			s := a
			if i%2 == 0 {
				s = b
			}
			outcomes, err := s.ReserveCounters(t.Context(), []guard.Counter{lockout("a", 5)}, at(0))
			if err != nil {
				return false, err
			}
			if outcomes[0].Locks {
				locks <- true
			}
			return !outcomes[0].Refused, nil
		})
		same(t, "reserved", won, 5)
		same(t, "told that it locks", len(locks), 1)
	})
}

func TestI16_PlacesThatWereGivenBackByRacersAreFree(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		counters := []guard.Counter{lockout("b", 50), window("a", 50), lockout("c", 50)}
		race(t, 40, func(i int) (bool, error) {
			s, when := a, at(time.Duration(i)*time.Microsecond)
			if i%2 == 0 {
				s = b
			}
			outcomes, err := s.ReserveCounters(t.Context(), counters, when)
			if err != nil || refusedAny(outcomes) {
				return false, fmt.Errorf("reserve: %v %w", outcomes, err)
			}
			if i%4 == 0 { // a failure
				return true, nil
			}
			return true, s.ReleaseCounters(t.Context(), counters, when)
		})
		for _, c := range counters {
			same(t, "places that stay", used(t, a, c), 10)
		}
	})
}

func TestARefusalIsOneReadAndLeavesNothing(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		full, other := lockout("a", 1), window("b", 3)
		sent.Take()
		statements := func(what string, want int) {
			t.Helper()
			if got := sent.Take(); len(got) != want {
				t.Errorf("%s: sent %q, want %d statements", what, got, want)
			}
		}
		same(t, "first", reserve(t, s, now, full), []guard.Outcome{{Locks: true, Used: 1, Until: at(time.Minute)}})
		statements("a reservation of one", 2)
		same(t, "second", reserve(t, s, now, full, other), []guard.Outcome{{Refused: true, Used: 1, Until: at(time.Minute)}, {Used: 1}})
		statements("a refusal", 1)
		same(t, "rows", len(rows(t, s)), 1)
		sent.Take()
		reserve(t, s, now, other, window("c", 3), lockout("d", 3))
		statements("a reservation of three", 2)
		must(t, s.ReleaseCounters(t.Context(), []guard.Counter{other, window("c", 3), lockout("d", 3)}, now))
		statements("a release", 2)
		must(t, s.ReleaseCounters(t.Context(), []guard.Counter{other, window("e", 3)}, now))
		statements("a release of what is gone", 1)
		same(t, "rows", len(rows(t, s)), 1)
		must(t, s.ReleaseCounters(t.Context(), nil, now))
		reserve(t, s, now)
	})
}

func TestALockIsProlongedWithoutAnythingElse(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		locked := lockout("a", 1)
		locked.Rule.Prolong = true
		reserve(t, s, now, locked)
		sent.Take()
		reserve(t, s, at(time.Second), window("b", 3), locked, lockout("c", 3))
		same(t, "statements", len(sent.Take()), 2)
		list := rows(t, s)
		same(t, "rows", len(list), 1)
		same(t, "locked until", list[0].Count.Locked, at(61*time.Second))
	})
}

func TestAReservationIsJudgedByWhatChangedSinceItWasRead(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		between := func(counters []guard.Counter, do func()) []guard.Outcome {
			t.Helper()
			outcomes, err := s.ReserveBetween(ctx, counters, now, do)
			must(t, err)
			return outcomes
		}
		a, b, c := lockout("a", 3), window("b", 2), window("c", 9)

		// Another took the first place meanwhile.
		same(t, "one counter", between([]guard.Counter{a}, func() { reserve(t, s, now, a) }), []guard.Outcome{{Used: 2}})
		// Another took the last place of one, which was not there when it was read.
		all := []guard.Counter{a, b, c}
		got := between(all, func() { reserve(t, s, now, b); reserve(t, s, now, b) })
		same(t, "refused", got[1].Refused, true)
		same(t, "places", []int{used(t, s, a), used(t, s, b), used(t, s, c)}, []int{2, 2, 0})
		// Another gave one back.
		got = between(all[:1:1], func() { must(t, s.ReleaseCounters(ctx, all[:2], now)) })
		same(t, "after a success", got, []guard.Outcome{{Used: 2}})
		got = between(all, func() { reserve(t, s, now, c) })
		same(t, "all", got, []guard.Outcome{{Locks: true, Used: 3, Until: at(time.Minute)}, {Used: 2}, {Used: 2}})
	})
}

func TestS4_59_WhatWasForgottenStaysForgotten(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		forget := func(f guard.Filter, want int) {
			t.Helper()
			n, err := s.ForgetCounters(ctx, f, now)
			must(t, err)
			same(t, "forgotten", n, want)
		}
		network := func(key string) guard.Counter {
			c := lockout(key, 3)
			c.Tag.Account, c.Tag.Network = "", "192.0.2.1/32"
			return c
		}
		pair := network("p")
		pair.Tag.Account = "user a"
		limit := window("l", 5)
		limit.Tag.Account = "user a"
		fill := func() { reserve(t, s, now, lockout("a", 3), lockout("b", 3), network("n"), pair, limit) }
		fill()
		forget(guard.Filter{Account: "user a", Network: "192.0.2.1/32"}, 1)
		fill()
		forget(guard.Filter{Account: "user a", Locks: true}, 2)
		same(t, "the limit stays", used(t, s, limit), 2)
		forget(guard.Filter{Account: "user a"}, 1)
		forget(guard.Filter{Network: "192.0.2.1/32"}, 1)
		forget(guard.Filter{Network: "192.0.2.1/32"}, 0)
		same(t, "somebody else's stays", used(t, s, lockout("b", 3)), 2)
		fill()
		outcomes, err := s.ReserveBetween(ctx, []guard.Counter{lockout("b", 3), pair}, now, func() { forget(guard.Filter{}, 5) })
		must(t, err)
		same(t, "who had read what was forgotten", outcomes, []guard.Outcome{{Used: 1}, {Used: 1}})
		same(t, "rows", len(rows(t, s)), 2)
	})
}

func TestS4_59_ForgettingHoldsTheWriterForAWindowAtMost(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		s.LimitWindow(3)
		all := "abcdefghij"
		for _, key := range all {
			reserve(t, s, now, lockout(string(key), 3))
		}
		forget := func(f guard.Filter, want, writes int) {
			t.Helper()
			sent.Take()
			n, err := s.ForgetCounters(t.Context(), f, now)
			must(t, err)
			same(t, "forgotten", n, want)
			got := 0
			for _, statement := range sent.Take() {
				if strings.HasPrefix(strings.TrimSpace(statement), "UPDATE") {
					got++
				}
			}
			same(t, "writes", got, writes)
		}
		forget(guard.Filter{Account: "user nobody"}, 0, 0)
		forget(guard.Filter{Account: "user f"}, 1, 1)
		same(t, "places of it", used(t, s, lockout("f", 3)), 0)
		same(t, "those that are left", len(rows(t, s)), 9)
		forget(guard.Filter{}, 9, 4)
		same(t, "all gone", len(rows(t, s)), 0)
	})
}

func TestS4_52_CountersThatAreOverCountWithoutASweep(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		counters := []guard.Counter{lockout("a", 2), lockout("b", 3)}
		counters[1].Rule.Aging = guard.Inactivity
		var answers [2][]guard.Outcome
		for i := range answers {
			reserve(t, s, now, counters...)
			reserve(t, s, now, counters...)
			must(t, s.Exec(t.Context(), `DELETE FROM sweeps`))
			if i == 1 { // the first time nothing sweeps
				same(t, "swept", sweep(t, s, at(time.Hour)), 2)
			}
			for range 3 {
				answers[i] = append(answers[i], reserve(t, s, at(time.Minute), counters...)...)
			}
			list, err := s.CounterRecords(t.Context(), guard.Filter{}, at(time.Hour), [16]byte{}, 10)
			must(t, err)
			same(t, "records of what is over", len(list), 0)
			_, err = s.ForgetCounters(t.Context(), guard.Filter{}, at(0))
			must(t, err)
		}
		same(t, "answers after a sweep", answers[1], answers[0])
		same(t, "the first has a place, the third none", []bool{answers[0][0].Refused, answers[0][4].Refused}, []bool{false, true})
	})
}

func TestManyCountersAreReservedAtOnce(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		var counters []guard.Counter
		for i := range 40 {
			counters = append(counters, lockout(fmt.Sprintf("%02d", (i*7)%40), 2))
		}
		reserve(t, s, now, counters...)
		same(t, "rows", len(rows(t, s)), 40)
		must(t, s.ReleaseCounters(t.Context(), counters, now))
		same(t, "rows", len(rows(t, s)), 0)
	})
}

func TestCountersAreListedInPages(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		for range 2 {
			reserve(t, s, now, lockout("a", 3), window("b", 3), lockout("c", 3))
		}
		var got []guard.Record
		var after [16]byte
		for {
			list, err := s.CounterRecords(t.Context(), guard.Filter{}, now, after, 2)
			must(t, err)
			if len(list) == 0 {
				break
			}
			got = append(got, list...)
			after = list[len(list)-1].Key
		}
		record := func(c guard.Counter, count guard.Count) guard.Record {
			return guard.Record{Key: c.Key, Tag: c.Tag, Limit: 3, Count: count}
		}
		times := guard.Count{Times: []time.Time{at(0), at(0)}}
		same(t, "records", got, []guard.Record{
			record(lockout("a", 3), times), record(window("b", 3), guard.Count{Used: 2}), record(lockout("c", 3), times),
		})
	})
}

func TestAReservationInATxIsUndoneWithIt(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		c := []guard.Counter{lockout("a", 3), window("b", 3)}
		errStop := errors.New("stop")
		wantErr(t, s.Tx(t.Context(), func(ctx context.Context) error {
			if _, err := s.ReserveCounters(ctx, c, now); err != nil {
				return err
			}
			return errStop
		}), errStop)
		same(t, "rows", len(rows(t, s)), 0)
	})
}
