package storage_test

import (
	"errors"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newInvite(after time.Duration) idp.Invite {
	id := idp.NewID(now.Add(after))
	return idp.Invite{
		ID: id, Hash: append([]byte{0}, id[:]...), Email: "Ada@Example.org", EmailKey: "ada@example.org",
		Groups: idp.List{"staff"}, Admin: true, By: "cli", CreatedAt: at(after),
		ExpiresAt: at(time.Hour), DeadAt: at(2 * time.Hour),
	}
}

func addInvite(t *testing.T, s *storage.Store, after time.Duration) idp.Invite {
	t.Helper()
	i := newInvite(after)
	must(t, s.AddInvite(t.Context(), i))
	return i
}

func TestInvitesAreKeptWholeAndListed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		oldest, middle := addInvite(t, s, 0), addInvite(t, s, time.Second)
		newest := idp.Invite{
			ID: idp.NewID(now.Add(2 * time.Second)), Hash: []byte{1}, By: idp.RandomID().String(), CreatedAt: at(0),
			ExpiresAt: at(0), RevokedAt: ptr(at(time.Second)), RedeemedAt: ptr(at(2 * time.Second)), RedeemedBy: []byte{2},
			UserID: idp.RandomID(), DeadAt: at(0),
		}
		must(t, s.AddInvite(ctx, newest))
		again := newInvite(0)
		again.Hash = oldest.Hash
		wantErr(t, s.AddInvite(ctx, again), idp.ErrConflict)
		for _, c := range []struct {
			before idp.ID
			limit  int
			want   []idp.Invite
		}{
			{idp.ID{}, 10, []idp.Invite{newest, middle, oldest}},
			{idp.ID{}, 1, []idp.Invite{newest}},
			{newest.ID, 1, []idp.Invite{middle}},
			{oldest.ID, 10, nil},
		} {
			got, err := s.Invites(ctx, c.before, c.limit)
			must(t, err)
			same(t, "invites", got, c.want)
		}
	})
}

func TestS0_91_AnInviteIsOpenUntilItIsNot(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		for _, c := range []struct {
			what string
			now  time.Time
			end  func(i idp.Invite) error
			want bool
		}{
			{"new", at(0), nil, true},
			{"in its last moment", at(time.Hour - time.Microsecond), nil, true},
			{"expired", at(time.Hour), nil, false},
			{"revoked", at(0), func(i idp.Invite) error { return s.RevokeInvite(ctx, i.ID, at(0)) }, false},
			{"redeemed", at(0), func(i idp.Invite) error {
				_, err := s.RedeemInvite(ctx, i.ID, idp.RandomID(), []byte("another"), at(0))
				return err
			}, false},
		} {
			i := addInvite(t, s, 0)
			if c.end != nil {
				must(t, c.end(i))
			}
			got, err := s.InviteByHash(ctx, i.Hash, c.now)
			if c.want {
				same(t, c.what, got, i)
			}
			found, err := is(err)
			must(t, err)
			same(t, c.what+", found", found, c.want)
			redeemed, err := s.RedeemInvite(ctx, i.ID, idp.RandomID(), []byte("by"), c.now)
			must(t, err)
			same(t, c.what+", redeemed", redeemed, c.want)
			wantErr(t, s.RevokeInvite(ctx, i.ID, c.now), idp.ErrNotFound)
		}
		_, err := s.InviteByHash(ctx, []byte("nobody's"), at(0))
		wantErr(t, err, idp.ErrNotFound)
		wantErr(t, s.RevokeInvite(ctx, idp.NewID(now), at(0)), idp.ErrNotFound)
	})
}

func TestS0_91_OfTwentyWhoRedeemAnInviteOneWins(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		stores := [2]*storage.Store{a, b}
		i := addInvite(t, stores[0], 0)
		const racers = 20
		users := [racers]idp.ID{}
		for n := range users {
			users[n] = idp.RandomID()
		}
		won := race(t, racers, func(n int) (bool, error) {
			return stores[n%2].RedeemInvite(t.Context(), i.ID, users[n], users[n][:], at(0))
		})
		same(t, "won", won, 1)
		list, err := stores[1].Invites(t.Context(), idp.ID{}, 1)
		must(t, err)
		same(t, "whose it is", list[0].UserID[:], list[0].RedeemedBy)
		for _, u := range users { // the same request again (I-9), and nobody else
			again, err := stores[0].RedeemInvite(t.Context(), i.ID, u, u[:], at(2*time.Hour))
			must(t, err)
			same(t, "again", again, u == list[0].UserID)
		}
	})
}

func TestS0_91_AnInviteIsRevokedOrRedeemedAndNeverBoth(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		stores := [2]*storage.Store{a, b}
		for range 10 {
			i := addInvite(t, stores[0], 0)
			won := race(t, 2, func(n int) (bool, error) {
				if n == 0 {
					return stores[0].RedeemInvite(t.Context(), i.ID, idp.RandomID(), []byte("by"), at(0))
				}
				err := stores[1].RevokeInvite(t.Context(), i.ID, at(0))
				return err == nil, ignore(err, idp.ErrNotFound)
			})
			same(t, "won", won, 1)
		}
	})
}

// ignore is nil where err is the one that is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
