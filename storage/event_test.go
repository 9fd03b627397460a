package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func TestEventsAreKeptWholeInTheirOrder(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		first := idp.Event{ID: idp.NewID(now), At: at(0), Kind: "user.signed_in", Actor: "cli", UserID: idp.RandomID(), ClientID: "rp",
			SessionID: idp.NewID(now), Address: "192.0.2.1", RequestID: "r", Details: idp.Details{"method": "pwd"}}
		second := idp.Event{ID: idp.NewID(now.Add(time.Second)), At: at(time.Second), Kind: "key.made"}
		must(t, s.AddEvent(ctx, second))
		must(t, s.AddEvent(ctx, first))
		all, err := s.Events(ctx, idp.ID{}, 10)
		must(t, err)
		same(t, "all", all, []idp.Event{first, second})
		one, err := s.Events(ctx, idp.ID{}, 1)
		must(t, err)
		same(t, "one", one, []idp.Event{first})
		rest, err := s.Events(ctx, first.ID, 10)
		must(t, err)
		same(t, "rest", rest, []idp.Event{second})
		n, err := s.Int(ctx, `SELECT COUNT(*) FROM events WHERE sequence IS NULL AND hash IS NULL`)
		must(t, err)
		same(t, "unchained (I-17)", n, 2)
	})
}

func TestEventsArePrunedByTheirTime(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		for i := range 4 {
			when := at(time.Duration(i) * time.Hour)
			must(t, s.AddEvent(ctx, idp.Event{ID: idp.NewID(when), At: when, Kind: "key.made"}))
		}
		for _, want := range []int{2, 0} {
			n, err := s.PruneEvents(ctx, at(2*time.Hour))
			must(t, err)
			same(t, "pruned", n, want)
		}
		left, err := s.Events(ctx, idp.ID{}, 10)
		must(t, err)
		same(t, "the oldest that is left", left[0].At, at(2*time.Hour))
		same(t, "left", len(left), 2)
	})
}

func TestEventsOfAUserAreListedNewestFirst(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada := idp.RandomID()
		var own []idp.Event
		for i := range 6 {
			when := at(time.Duration(i) * time.Second)
			e := idp.Event{ID: idp.NewID(when), At: when, Kind: "user.signed_in"}
			switch {
			case i%2 == 0:
				e.UserID = ada
				own = append([]idp.Event{e}, own...)
			case i == 3:
				e.UserID = idp.RandomID()
			}
			must(t, s.AddEvent(ctx, e))
		}
		for _, c := range []struct {
			before idp.ID
			limit  int
			want   []idp.Event
		}{{idp.ID{}, 10, own}, {idp.ID{}, 2, own[:2]}, {own[0].ID, 10, own[1:]}, {own[2].ID, 10, nil}} {
			got, err := s.EventsOf(ctx, ada, c.before, c.limit)
			must(t, err)
			same(t, "events", got, c.want)
		}
	})
}
