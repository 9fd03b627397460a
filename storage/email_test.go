package storage_test

import (
	"context"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newEmail(userID idp.ID, key string) idp.Email {
	return idp.Email{ID: idp.NewID(now), UserID: userID, Address: "A" + key, Key: key, CreatedAt: at(time.Minute)}
}

func verified(e idp.Email) idp.Email {
	e.VerifiedAt = ptr(at(2 * time.Minute))
	return e
}

// addClaimant adds a user without an address, who claims one.
func addClaimant(t *testing.T, s *storage.Store, name, key string) (idp.User, idp.Email) {
	t.Helper()
	u := newUser(name)
	u.Email, u.EmailKey, u.EmailVerified = "", "", false
	must(t, s.AddUser(t.Context(), u))
	e := newEmail(u.ID, key)
	e.Primary = true
	must(t, s.AddEmail(t.Context(), e))
	u.Email, u.EmailKey = e.Address, e.Key
	return u, e
}

// emailsOf lists what a user has by key, after it judged that users and emails agree.
func emailsOf(t *testing.T, s *storage.Store, id idp.ID) (keys []string) {
	t.Helper()
	list, err := s.Emails(t.Context(), id)
	must(t, err)
	u, err := s.User(t.Context(), id)
	must(t, err)
	primary := idp.Email{}
	for _, e := range list {
		if e.Primary {
			primary = e
		}
		keys = append(keys, e.Key)
	}
	same(t, "the address of the user", []any{u.Email, u.EmailKey, u.EmailVerified},
		[]any{primary.Address, primary.Key, primary.VerifiedAt != nil})
	return keys
}

// owner is the name of whom an address finds, by both statements that look.
func owner(t *testing.T, s *storage.Store, key string) string {
	t.Helper()
	u, err := s.UserByKey(t.Context(), key)
	if err := ignore(err, idp.ErrNotFound); err != nil {
		t.Fatal(err)
	}
	by, _, err := s.Credentials(t.Context(), key)
	if err := ignore(err, idp.ErrNotFound); err != nil {
		t.Fatal(err)
	}
	same(t, "by its credentials", by, u)
	return u.Username
}

func TestAddressesAreKeptWholeAndListed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		later, earlier := newEmail(u.ID, "later@x"), verified(newEmail(u.ID, "earlier@x"))
		later.CreatedAt = at(time.Hour)
		must(t, s.AddEmail(ctx, later))
		must(t, s.AddEmail(ctx, earlier))
		list, err := s.Emails(ctx, u.ID)
		must(t, err)
		same(t, "addresses", list, []idp.Email{
			{ID: list[0].ID, UserID: u.ID, Address: u.Email, Key: u.EmailKey, Primary: true, VerifiedAt: ptr(at(0)), CreatedAt: at(0)},
			earlier, later,
		})
		wantErr(t, s.AddEmail(ctx, newEmail(u.ID, "later@x")), idp.ErrConflict)
		wantErr(t, s.AddEmail(ctx, newEmail(idp.RandomID(), "nobody@x")), idp.ErrNotFound)
		wantErr(t, s.RemoveEmail(ctx, addUser(t, s, "bob").ID, later.ID), idp.ErrNotFound)
		must(t, s.RemoveEmail(ctx, u.ID, later.ID))
		wantErr(t, s.RemoveEmail(ctx, u.ID, later.ID), idp.ErrNotFound)
		same(t, "left", emailsOf(t, s, u.ID), []string{"ada@example.org", "earlier@x"})
		must(t, s.RemoveEmail(ctx, u.ID, list[0].ID))
		same(t, "without a primary one", emailsOf(t, s, u.ID), []string{"earlier@x"})
	})
}

func TestUsersAndTheirAddressesAgree(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		change := func(what string, fn func(*idp.User), want ...string) {
			t.Helper()
			u, err := s.User(ctx, u.ID)
			must(t, err)
			fn(&u)
			must(t, s.ChangeUser(ctx, u, u.Epoch))
			got, err := s.User(ctx, u.ID)
			must(t, err)
			same(t, what, got, u)
			same(t, what+", addresses", emailsOf(t, s, u.ID), want)
		}
		same(t, "added", emailsOf(t, s, u.ID), []string{"ada@example.org"})
		change("another name", func(u *idp.User) { u.Username, u.UpdatedAt = "Ada", at(time.Hour) }, "ada@example.org")
		verifiedAt, err := s.Emails(ctx, u.ID)
		must(t, err)
		same(t, "verified at", verifiedAt[0].VerifiedAt, ptr(at(0)))
		change("written in another way", func(u *idp.User) { u.Email = "ada@example.ORG" }, "ada@example.org")
		change("unverified", func(u *idp.User) { u.EmailVerified = false }, "ada@example.org")
		change("verified", func(u *idp.User) { u.EmailVerified = true }, "ada@example.org")
		change("another", func(u *idp.User) { u.Email, u.EmailKey = "B@x", "b@x" }, "b@x", "ada@example.org")
		change("the first again", func(u *idp.User) { u.Email, u.EmailKey = "ada@example.org", "ada@example.org" }, "ada@example.org", "b@x")
		change("none", func(u *idp.User) { u.Email, u.EmailKey, u.EmailVerified = "", "", false }, "b@x")

		list, err := s.Emails(ctx, u.ID)
		must(t, err)
		list[0].Primary = true
		must(t, s.ChangeEmail(ctx, list[0]))
		same(t, "made primary", emailsOf(t, s, u.ID), []string{"b@x"})
		third := newEmail(u.ID, "c@x")
		must(t, s.AddEmail(ctx, third))
		third.Primary = true
		must(t, s.ChangeEmail(ctx, verified(third)))
		same(t, "taken by a third", emailsOf(t, s, u.ID), []string{"c@x", "b@x"})
		third.Primary = false
		must(t, s.ChangeEmail(ctx, third))
		n, err := s.Int(ctx, `SELECT COUNT(*) FROM emails WHERE is_primary`)
		must(t, err)
		same(t, "primary ones", n, 0)
		emailsOf(t, s, u.ID)
	})
}

func TestS0_25_AnAddressFindsItsVerifiedOwnerElseItsOnlyClaimant(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		const key = "shared@x"
		same(t, "unclaimed", owner(t, s, key), "")
		_, first := addClaimant(t, s, "first", key)
		same(t, "one claims it", owner(t, s, key), "first")
		second := addUser(t, s, "second")
		claim := newEmail(second.ID, key) // not their primary one
		must(t, s.AddEmail(ctx, claim))
		same(t, "two claim it", owner(t, s, key), "")
		must(t, s.ChangeEmail(ctx, verified(claim)))
		same(t, "the second proved it", owner(t, s, key), "second")
		same(t, "by the other address", owner(t, s, "second@example.org"), "second")
		wantErr(t, s.ChangeEmail(ctx, verified(first)), idp.ErrConflict)
		third := addUser(t, s, "third")
		wantErr(t, s.AddEmail(ctx, newEmail(third.ID, key)), idp.ErrConflict)
		third.Email, third.EmailKey = key, key
		for _, third.EmailVerified = range []bool{true, false} {
			wantErr(t, s.ChangeUser(ctx, third, third.Epoch), idp.ErrConflict)
		}
		same(t, "after those", owner(t, s, key), "second")
	})
}

func TestS0_25_ClaimsAreListedWhoProvedItFirst(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		var claims [3]idp.Email
		for i := range claims {
			claims[i] = newEmail(addUser(t, s, string(rune('a'+i))).ID, "shared@x")
			claims[i].CreatedAt = at(time.Duration(i) * time.Second)
			must(t, s.AddEmail(ctx, claims[i]))
		}
		list, err := s.Claims(ctx, "shared@x")
		must(t, err)
		same(t, "unproved", list, claims[:2])
		claims[2] = verified(claims[2])
		must(t, s.ChangeEmail(ctx, claims[2]))
		list, err = s.Claims(ctx, "shared@x")
		must(t, err)
		same(t, "proved", list, []idp.Email{claims[2], claims[0]})
		list, err = s.Claims(ctx, "nobody@x")
		must(t, err)
		same(t, "of nobody", len(list), 0)
	})
}

func TestS0_25_WhoeverProvesAnAddressFirstHasIt(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		stores := [2]*storage.Store{a, b}
		const racers, key = 20, "shared@x"
		var claims [racers]idp.Email
		for i := range claims {
			_, claims[i] = addClaimant(t, stores[0], string(rune('a'+i)), key)
		}
		won := race(t, racers, func(i int) (bool, error) {
			err := stores[i%2].ChangeEmail(t.Context(), verified(claims[i]))
			return err == nil, ignore(err, idp.ErrConflict)
		})
		same(t, "won", won, 1)
		u, err := stores[0].UserByKey(t.Context(), key)
		must(t, err)
		same(t, "verified", u.EmailVerified, true)
		lost, err := stores[1].DropClaims(t.Context(), key, u.ID)
		must(t, err)
		same(t, "lost", len(lost), racers-1)
		for _, id := range lost {
			same(t, "addresses of who lost", emailsOf(t, stores[0], id), []string(nil))
		}
		same(t, "addresses of who won", emailsOf(t, stores[0], u.ID), []string{key})
	})
}

func TestS0_25_ClaimsOfOthersAreDropped(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		const key = "shared@x"
		winner := addUser(t, s, "winner")
		loser, claim := addClaimant(t, s, "loser", key)
		other := newEmail(loser.ID, "other@x")
		must(t, s.AddEmail(ctx, other))
		aside := addUser(t, s, "aside")
		must(t, s.AddEmail(ctx, newEmail(aside.ID, key)))
		must(t, s.AddEmail(ctx, verified(newEmail(winner.ID, key))))
		lost, err := s.DropClaims(ctx, key, winner.ID)
		must(t, err)
		same(t, "lost", map[idp.ID]bool{lost[0]: true, lost[1]: true}, map[idp.ID]bool{loser.ID: true, aside.ID: true})
		same(t, "of who lost a primary one", emailsOf(t, s, loser.ID), []string{"other@x"})
		same(t, "of who lost another", emailsOf(t, s, aside.ID), []string{"aside@example.org"})
		same(t, "of who has it", emailsOf(t, s, winner.ID), []string{"winner@example.org", key})
		wantErr(t, s.ChangeEmail(ctx, verified(claim)), idp.ErrConflict)
		again, err := s.DropClaims(ctx, key, winner.ID)
		must(t, err)
		same(t, "nothing left", len(again), 0)
		kept, err := s.DropClaims(ctx, "winner@example.org", idp.ID{})
		must(t, err)
		same(t, "of whose it is", len(kept), 0)
		same(t, "still theirs", emailsOf(t, s, winner.ID), []string{"winner@example.org", key})
		all, err := s.DropClaims(ctx, "other@x", idp.ID{})
		must(t, err)
		same(t, "of everybody", all, []idp.ID{loser.ID})
	})
}

func TestS0_25_AUserIsAddedOnlyWithAnAddressThatNobodyHas(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		addClaimant(t, s, "bob", "claimed@x")
		must(t, s.AddEmail(ctx, verified(newEmail(u.ID, "verified@x"))))
		must(t, s.AddEmail(ctx, newEmail(u.ID, "aside@x")))
		for key, want := range map[string]error{
			"ada@example.org": idp.ErrConflict, "claimed@x": idp.ErrConflict, "verified@x": idp.ErrConflict,
			"aside@x": nil, "": nil,
		} {
			another := newUser("another of " + key)
			another.Email, another.EmailKey, another.EmailVerified = key, key, false
			if err := s.AddUser(ctx, another); want == nil {
				must(t, err)
			} else {
				wantErr(t, err, want)
			}
		}
	})
}

func TestS0_25_AClaimThatLostKeepsNobodyFromChangingAUser(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u, _ := addClaimant(t, s, "loser", "shared@x")
		must(t, s.AddEmail(ctx, verified(newEmail(addUser(t, s, "winner").ID, "shared@x"))))
		u.Status, u.Epoch = idp.Disabled, u.Epoch+1
		must(t, s.ChangeUser(ctx, u, u.Epoch-1))
		u.EmailVerified = true
		wantErr(t, s.ChangeUser(ctx, u, u.Epoch), idp.ErrConflict)
		got, err := s.User(ctx, u.ID)
		must(t, err)
		same(t, "verified", got.EmailVerified, false)
		emailsOf(t, s, u.ID)
	})
}

func TestAnAddressThatIsTakenDoomsNoTx(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		u, other := addUser(t, s, "ada"), addUser(t, s, "bob")
		must(t, s.Tx(t.Context(), func(ctx context.Context) error {
			wantErr(t, s.AddEmail(ctx, newEmail(u.ID, other.EmailKey)), idp.ErrConflict)
			return s.AddEmail(ctx, newEmail(u.ID, "mine@x"))
		}))
		same(t, "addresses", emailsOf(t, s, u.ID), []string{"ada@example.org", "mine@x"})
	})
}
