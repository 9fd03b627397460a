package storage_test

import (
	"context"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

var testContext = context.Background()

func newUser(name string) idp.User {
	return idp.User{
		ID: idp.RandomID(), Username: name, UsernameKey: name,
		Email: name + "@Example.org", EmailKey: name + "@example.org", EmailVerified: true,
		Profile: idp.Profile{GivenName: "Ada", Address: &idp.Address{Country: "UK"}},
		Groups:  idp.List{"staff", "ops"}, Admin: true, Status: idp.Active, Epoch: 3,
		MustChangePassword: true, Factors: idp.List{"totp"}, Locale: "en-GB", DeleteAt: ptr(at(72 * time.Hour)),
		CreatedAt: at(0), UpdatedAt: at(time.Second),
	}
}

func addUser(t testing.TB, s *storage.Store, name string) idp.User {
	t.Helper()
	u := newUser(name)
	must(t, s.AddUser(t.Context(), u))
	return u
}

func TestUserIsKeptWhole(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		in := newUser("ada")
		in.CreatedAt = now // cut and turned to UTC
		must(t, s.AddUser(ctx, in))
		want := in
		want.CreatedAt = at(0)
		got, err := s.User(ctx, in.ID)
		must(t, err)
		same(t, "by id", got, want)
		for _, key := range []string{"ada", "ada@example.org"} {
			got, err := s.UserByKey(ctx, key)
			must(t, err)
			same(t, key, got, want)
		}
		_, err = s.User(ctx, idp.RandomID())
		wantErr(t, err, idp.ErrNotFound)
		_, err = s.UserByKey(ctx, "nobody\x00\xff")
		wantErr(t, err, idp.ErrNotFound)
		_, err = s.UserByKey(ctx, "nobody@")
		wantErr(t, err, idp.ErrNotFound)
	})
}

func TestUserNamesAreTakenOnce(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		addUser(t, s, "ada")
		other := newUser("ada")
		other.EmailKey = "other@example.org"
		wantErr(t, s.AddUser(ctx, other), idp.ErrConflict)
		other.UsernameKey, other.EmailKey = "other", "ada@example.org"
		wantErr(t, s.AddUser(ctx, other), idp.ErrConflict)
		other.EmailKey = ""
		must(t, s.AddUser(ctx, other))
		third := newUser("third")
		third.Email, third.EmailKey = "", ""
		must(t, s.AddUser(ctx, third)) // many have no address
		third.UsernameKey = "other"
		wantErr(t, s.ChangeUser(ctx, third, third.Epoch), idp.ErrConflict)
	})
}

func TestUsersAreListedInTheOrderOfTheirNamesBytes(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		for _, name := range []string{"é", "b", "a-b", "ab", "B"} {
			addUser(t, s, name)
		}
		var names []string
		for after := ""; ; {
			us, err := s.Users(t.Context(), after, 2)
			must(t, err)
			if len(us) == 0 {
				break
			}
			for _, u := range us {
				names = append(names, u.UsernameKey)
				after = u.UsernameKey
			}
		}
		same(t, "names", names, []string{"B", "a-b", "ab", "b", "é"})
	})
}

func TestI2_UserIsChangedOnlyFromTheEpochThatWasRead(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		u.Epoch, u.Username, u.UsernameKey, u.Email, u.EmailKey = 4, "Lady", "lady", "", ""
		u.EmailVerified, u.Admin, u.Status, u.Profile, u.Groups = false, false, idp.Disabled, idp.Profile{}, nil
		u.MustChangePassword, u.Factors, u.Locale, u.DeleteAt = false, nil, "", nil
		u.UpdatedAt = at(time.Hour)
		must(t, s.ChangeUser(ctx, u, 3))
		got, err := s.User(ctx, u.ID)
		must(t, err)
		same(t, "changed", got, u)
		wantErr(t, s.ChangeUser(ctx, u, 3), idp.ErrConflict)
	})
}

func TestDeletingAUserDeletesEverythingThatIsTheirs(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		addClient(t, s, "rp")
		var kept idp.Grant
		for _, name := range []string{"ada", "bob"} {
			u := addUser(t, s, name)
			must(t, s.PutPassword(ctx, newPassword(u.ID)))
			session := newSession(u.ID)
			must(t, s.AddSession(ctx, session))
			_, err := s.PutConsent(ctx, idp.Consent{UserID: u.ID, ClientID: "rp", Scopes: idp.List{"openid"}, UpdatedAt: at(0)})
			must(t, err)
			addTicket(t, s, idp.ForReset, u.ID)
			kept = newGrant(u.ID, session.ID)
			must(t, s.AddGrant(ctx, kept))
			must(t, s.PutDevice(ctx, newDevice(u.ID, 1), 20))
			must(t, s.AddFactor(ctx, newApp(u.ID)))
			must(t, s.PutRecoveryCodes(ctx, newSet(u.ID), newCodes(1)))
		}
		ada, err := s.UserByKey(ctx, "ada")
		must(t, err)
		must(t, s.DeleteUser(ctx, ada.ID))
		for _, table := range []string{"users", "sessions", "consents", "grants", "emails", "tickets", "devices", "recovery_codes"} {
			same(t, table, count(t, s, table), 1)
		}
		same(t, "authenticators", count(t, s, "authenticators"), 3)
		_, err = s.Grant(ctx, kept.ID, true)
		must(t, err)
		wantErr(t, s.DeleteUser(ctx, ada.ID), idp.ErrNotFound)
		wantErr(t, s.AddSession(ctx, newSession(ada.ID)), idp.ErrNotFound)
	})
}

func TestAdminsAreTheActiveAdministrators(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		add := func(name string, change func(*idp.User)) idp.User {
			t.Helper()
			u := newUser(name)
			change(&u)
			must(t, s.AddUser(t.Context(), u))
			return u
		}
		admin := add("ada", func(u *idp.User) {})
		add("bob", func(u *idp.User) { u.Admin = false })
		add("cy", func(u *idp.User) { u.Status = idp.Disabled })
		got, err := s.Admins(t.Context())
		must(t, err)
		same(t, "administrators", got, []idp.User{admin})
	})
}

func TestUsersAreListedWhoAreToBeDeleted(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		add := func(name string, deleteAt *time.Time) idp.User {
			t.Helper()
			u := newUser(name)
			u.DeleteAt = deleteAt
			must(t, s.AddUser(t.Context(), u))
			return u
		}
		second, first := add("second", ptr(at(time.Hour))), add("first", ptr(at(0)))
		add("later", ptr(at(time.Hour+time.Microsecond)))
		add("never", nil)
		for limit, want := range map[int][]idp.User{10: {first, second}, 1: {first}} {
			got, err := s.UsersToDelete(t.Context(), at(time.Hour), limit)
			must(t, err)
			same(t, "to be deleted", got, want)
		}
	})
}
