package storage_test

import (
	"testing"
	"time"

	"postern/idp/guard"
	"postern/storage"
	"postern/storage/storagetest"
)

func slot(key string, limit int) guard.Slot {
	return guard.Slot{Key: []byte(key), Limit: limit, Ends: at(time.Minute)}
}

func TestSlotsAreReservedAllOrNone(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		used := func(key string) int {
			t.Helper()
			n, err := s.Int(ctx, `SELECT COALESCE(SUM(used), 0) FROM counters WHERE key = ?`, []byte(key))
			must(t, err)
			return n
		}
		reserve := func(want int, slots ...guard.Slot) {
			t.Helper()
			full, err := s.ReserveSlots(ctx, slots)
			must(t, err)
			same(t, "full", full, want)
		}
		reserve(-1)
		reserve(-1, slot("b", 2), slot("a", 3))
		reserve(-1, slot("b", 2), slot("a", 3))
		reserve(0, slot("b", 2), slot("a", 3))
		reserve(1, slot("a", 3), slot("b", 2), slot("c", 0))
		reserve(0, slot("c", 0), slot("a", 3))
		same(t, "a, b, c", []int{used("a"), used("b"), used("c")}, []int{2, 2, 0})

		must(t, s.ReleaseSlots(ctx, []guard.Slot{slot("b", 2), slot("gone", 1)}))
		reserve(-1, slot("b", 2))
		must(t, s.ReleaseSlots(ctx, nil))
		reserve(-1, slot("d", 1))
		reserve(0, slot("d", 1))
		for range 2 { // never below none
			must(t, s.ReleaseSlots(ctx, []guard.Slot{slot("d", 1)}))
		}
		same(t, "b, d, gone", []int{used("b"), used("d"), used("gone")}, []int{2, 0, 0})
	})
}

func TestRacersTakeNoMoreSlotsThanThereAre(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		a, b := slot("a", 5), slot("b", 100)
		won := race(t, 16, func(i int) (bool, error) {
			slots := []guard.Slot{a, b}
			if i%2 == 0 { // the other order must not make two wait for each other
				slots = []guard.Slot{b, a}
			}
			full, err := s.ReserveSlots(t.Context(), slots)
			return full < 0, err
		})
		same(t, "reserved", won, 5)
		n, err := s.Int(t.Context(), `SELECT used FROM counters WHERE key = ?`, []byte("b"))
		must(t, err)
		same(t, "b is given back by those whom a refused", n, 5)
	})
}
