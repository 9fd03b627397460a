package storage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"postern/idp"
	"postern/idp/guard"
	"postern/storage"
	"postern/storage/storagetest"
)

func count(t *testing.T, s *storage.Store, table string) int {
	t.Helper()
	n, err := s.Int(t.Context(), `SELECT COUNT(*) FROM `+table)
	must(t, err)
	return n
}

func sweep(t *testing.T, s *storage.Store, when time.Time) int {
	t.Helper()
	n, err := s.Sweep(t.Context(), when)
	must(t, err)
	return n
}

func TestI11_OnlyDeadRowsAreSwept(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		live, dead := addSession(t, s, u.ID), newSession(u.ID)
		dead.DeadAt = at(time.Minute)
		must(t, s.AddSession(ctx, dead))
		raised, unused := addGrant(t, s, u.ID, live.ID), addGrant(t, s, u.ID, live.ID)
		_, err := s.RedeemCode(ctx, redeemed(raised, 1)) // dead in an hour instead of a minute
		must(t, err)
		must(t, s.Deny(ctx, []byte("dead"), at(time.Minute)))
		must(t, s.Deny(ctx, []byte("live"), at(time.Minute)))
		must(t, s.Deny(ctx, []byte("live"), at(time.Hour)))
		must(t, s.Deny(ctx, []byte("live"), at(time.Minute))) // never lowered
		_, err = s.ReserveCounters(ctx, []guard.Counter{window("c", 1)}, at(0))
		must(t, err)
		device := newDevice(u.ID, 1)
		device.DeadAt = at(time.Minute)
		must(t, s.PutDevice(ctx, device, 20))
		must(t, s.PutDevice(ctx, newDevice(u.ID, 2), 20))
		job := newJob("")
		job.DeadAt = at(time.Minute)
		_, err = s.AddJob(ctx, job)
		must(t, err)
		ticket, invite := newTicket(idp.ForReset, idp.ID{}), newInvite(0)
		ticket.DeadAt, invite.DeadAt = at(time.Minute), at(time.Minute)
		must(t, s.AddTicket(ctx, ticket))
		must(t, s.AddInvite(ctx, invite))
		for range 2 {
			ticket, invite := newTicket(idp.ForReset, idp.ID{}), newInvite(0)
			ticket.DeadAt, invite.DeadAt = at(48*time.Hour), at(48*time.Hour)
			must(t, s.AddTicket(ctx, ticket))
			must(t, s.AddInvite(ctx, invite))
		}
		must(t, s.PutBlock(ctx, newBlock("192.0.2.0/24", time.Minute)))
		must(t, s.AddPushed(ctx, newPushed()))

		same(t, "swept too early", sweep(t, s, at(time.Minute)), 0)
		same(t, "swept while the walk rests", sweep(t, s, at(2*time.Minute)), 1) // the block
		same(t, "blocks", count(t, s, "blocks"), 0)
		must(t, s.Exec(ctx, `DELETE FROM sweeps`))
		same(t, "swept", sweep(t, s, at(2*time.Minute)), 8)
		same(t, "counters", count(t, s, "counters"), 0)
		same(t, "devices", count(t, s, "devices"), 1)
		same(t, "jobs", count(t, s, "jobs"), 0)
		same(t, "tickets", count(t, s, "tickets"), 2)
		same(t, "invites", count(t, s, "invites"), 2)
		_, err = s.Visit(ctx, live.ID, "")
		must(t, err)
		_, err = s.Grant(ctx, raised.ID, false)
		must(t, err)
		_, err = s.Visit(ctx, dead.ID, "")
		wantErr(t, err, idp.ErrNotFound)
		_, err = s.Grant(ctx, unused.ID, false)
		wantErr(t, err, idp.ErrNotFound)
		denied, err := s.DeniedToken(ctx, []byte("live"))
		must(t, err)
		same(t, "live deny row", denied, true)

		// A rotation raises it further; an hour later the walk starts over.
		_, err = s.RotateRefresh(ctx, rotated(redeemed(raised, 1), 2), 1)
		must(t, err)
		same(t, "swept after an hour", sweep(t, s, at(63*time.Minute)), 1) // the deny row
		same(t, "swept after three", sweep(t, s, at(3*time.Hour)), 1)      // the grant
		same(t, "pushed requests", count(t, s, "pushed"), 1)
		same(t, "swept after a day", sweep(t, s, at(25*time.Hour)), 2) // with the other device
		same(t, "pushed requests", count(t, s, "pushed"), 0)
	})
}

func TestI11_TheWalkGoesOnWhereItStopped(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		const more, chunk = 20, 65
		for from := 0; from < storage.SweepBatch+more; from += chunk {
			must(t, s.Tx(t.Context(), func(ctx context.Context) error {
				for i := range chunk {
					if err := s.Deny(ctx, fmt.Appendf(nil, "%06d", from+i), at(0)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		must(t, s.Deny(t.Context(), []byte("000100 lives"), at(24*time.Hour)))
		same(t, "first batch", sweep(t, s, at(time.Minute)), storage.SweepBatch)
		// What dies behind the cursor waits for the next walk.
		must(t, s.Deny(t.Context(), []byte("000001"), at(0)))
		same(t, "second batch", sweep(t, s, at(2*time.Minute)), more)
		same(t, "resting", sweep(t, s, at(3*time.Minute)), 0)
		same(t, "resting, still", sweep(t, s, at(60*time.Minute)), 0)
		same(t, "next walk", sweep(t, s, at(62*time.Minute)), 1)
		same(t, "left", count(t, s, "denied"), 1)
	})
}

func TestI11_TheWalkPassesOverThoseThatLive(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		s.LimitWindow(10)
		must(t, s.Tx(t.Context(), func(ctx context.Context) error {
			for i := range 35 {
				dead := at(24 * time.Hour)
				if i == 3 || i == 24 || i == 33 {
					dead = at(0)
				}
				if err := s.Deny(ctx, fmt.Appendf(nil, "%06d", i), dead); err != nil {
					return err
				}
			}
			return nil
		}))
		for _, want := range []int{1, 1, 1, 0} { // a window with dead rows ends a call
			same(t, "swept", sweep(t, s, at(time.Minute)), want)
		}
		same(t, "left", count(t, s, "denied"), 32)
	})
}
