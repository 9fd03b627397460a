package idp_test

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func TestAUserIsFoundByIDUsernameAndEMailHoweverTheyAreWritten(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		want, err := h.AddUser(t.Context(), idp.NewUser{
			Username: "Alice_1", Email: "Alice@BÜCHER.example", EmailVerified: true, Password: alicePassword, Admin: true,
			Profile: idp.Profile{Name: "Alice Ångström", Birthdate: "0000-02-29", Website: "https://alice.example/"},
			Groups:  idp.List{"staff"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range []string{want.ID.String(), "Alice_1", " alice_1", "ＡLICE_1", "alice@bücher.example", "ALICE@xn--bcher-kva.example"} {
			got, err := h.FindUser(t.Context(), ref)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: got %+v and %v, want %+v", ref, got, err, want)
			}
		}
		for _, ref := range []string{"", "bob", "alice", idp.RandomID().String(), "\xff"} {
			if got, err := h.FindUser(t.Context(), ref); !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("%q: got %+v and %v, want ErrNotFound", ref, got, err)
			}
		}
	})
}

func TestATakenNameIsAConflictOfItsField(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "ALICE", Email: "other@example.com"})
		wantError(t, err, idp.Conflict, "username_taken", "username")
		_, err = h.AddUser(t.Context(), idp.NewUser{Username: "alice2", Email: "Alice@EXAMPLE.com"})
		wantError(t, err, idp.Conflict, "email_taken", "email")
		for _, name := range []string{"bob", "carol"} { // no address is nobody's
			if _, err := h.AddUser(t.Context(), idp.NewUser{Username: name}); err != nil {
				t.Errorf("%s without e-mail: %v", name, err)
			}
		}
		list, err := h.Users(t.Context(), "alice", 10)
		if err != nil || len(list) != 2 || list[0].Username != "bob" || list[1].Username != "carol" {
			t.Errorf("got %+v and %v, want bob and carol", list, err)
		}
	})
}

func TestANewUserIsChecked(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	good := func(change func(*idp.NewUser)) idp.NewUser {
		n := idp.NewUser{Username: "alice", Email: "alice@example.com", Password: alicePassword}
		change(&n)
		return n
	}
	for name, tc := range map[string]struct {
		change      func(*idp.NewUser)
		code, field string
	}{
		"no username":                      {func(n *idp.NewUser) { n.Username = "" }, "username_too_short", "username"},
		"a username with an @":             {func(n *idp.NewUser) { n.Username = "alice@example.com" }, "username_characters", "username"},
		"a username of another alphabet":   {func(n *idp.NewUser) { n.Username = "аlice" }, "username_characters", "username"},
		"a username like an ID":            {func(n *idp.NewUser) { n.Username = "0190b6a0-0000-4000-8000-00000000000A" }, "username_characters", "username"},
		"a username with a line feed":      {func(n *idp.NewUser) { n.Username = "alice\n" }, "username_characters", "username"},
		"a short username":                 {func(n *idp.NewUser) { n.Username = "al" }, "username_too_short", "username"},
		"a long username":                  {func(n *idp.NewUser) { n.Username = strings.Repeat("a", 65) }, "username_too_long", "username"},
		"an e-mail address with a name":    {func(n *idp.NewUser) { n.Email = "Alice <alice@example.com>" }, "email_invalid", "email"},
		"an e-mail address without @":      {func(n *idp.NewUser) { n.Email = "alice" }, "email_invalid", "email"},
		"an e-mail address with CRLF":      {func(n *idp.NewUser) { n.Email = "alice@example.com\r\nBcc: x@example.com" }, "email_invalid", "email"},
		"an e-mail address in half quotes": {func(n *idp.NewUser) { n.Email = `"a b@example.com` }, "email_invalid", "email"},
		"an e-mail domain literal":         {func(n *idp.NewUser) { n.Email = "alice@[127.0.0.1]" }, "email_invalid", "email"},
		"an e-mail domain with a gap":      {func(n *idp.NewUser) { n.Email = "alice@example..com" }, "email_invalid", "email"},
		"a long local part":                {func(n *idp.NewUser) { n.Email = strings.Repeat("a", 65) + "@example.com" }, "email_too_long", "email"},
		"verified without an address":      {func(n *idp.NewUser) { n.Email, n.EmailVerified = "", true }, "email_missing", "email"},
		"a short password":                 {func(n *idp.NewUser) { n.Password = "elevenchars" }, "password_too_short", "password"},
		"a long password":                  {func(n *idp.NewUser) { n.Password = strings.Repeat("a", 257) }, "password_too_long", "password"},
		"a password that is no text":       {func(n *idp.NewUser) { n.Password = "correct horse\xff" }, "password_invalid", "password"},
		"a bad group":                      {func(n *idp.NewUser) { n.Groups = idp.List{"staff", "a b"} }, "group_invalid", "groups"},
		"too many groups":                  {func(n *idp.NewUser) { n.Groups = make(idp.List, 101) }, "groups_too_many", "groups"},
		"a birthdate that is no day":       {func(n *idp.NewUser) { n.Profile.Birthdate = "2001-02-29" }, "date_invalid", "birthdate"},
		"a birthdate of another form":      {func(n *idp.NewUser) { n.Profile.Birthdate = "1.2.2001" }, "date_invalid", "birthdate"},
		"a picture of script":              {func(n *idp.NewUser) { n.Profile.Picture = "javascript:alert(1)" }, "url_invalid", "picture"},
		"a website without a host":         {func(n *idp.NewUser) { n.Profile.Website = "https://" }, "url_invalid", "website"},
		"a name with a line feed":          {func(n *idp.NewUser) { n.Profile.Name = "Alice\nX" }, "claim_invalid", "name"},
		"a name without end":               {func(n *idp.NewUser) { n.Profile.Name = strings.Repeat("a", 513) }, "claim_too_long", "name"},
		"a phone number of letters":        {func(n *idp.NewUser) { n.Profile.PhoneNumber = "call me" }, "phone_invalid", "phone_number"},
		"a verified phone, no number":      {func(n *idp.NewUser) { n.Profile.PhoneVerified = true }, "claim_invalid", "phone_number_verified"},
		"a zone that climbs":               {func(n *idp.NewUser) { n.Profile.Zoneinfo = "../../etc/passwd" }, "zone_invalid", "zoneinfo"},
		"a locale that is none":            {func(n *idp.NewUser) { n.Profile.Locale = "not a locale" }, "locale_invalid", "locale"},
		"an address with NUL":              {func(n *idp.NewUser) { n.Profile.Address = &idp.Address{Country: "X\x00"} }, "claim_invalid", "address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.AddUser(t.Context(), good(tc.change))
			wantError(t, err, idp.Invalid, tc.code, tc.field)
		})
	}
	full := good(func(n *idp.NewUser) {
		n.Profile = idp.Profile{
			Name: "Alice", Birthdate: "1970", Zoneinfo: "America/Argentina/Buenos_Aires", Locale: "en_US", PhoneNumber: "+1 (604) 555-1234;ext=5678",
			Picture: "http://example.com/a.png", Address: &idp.Address{Formatted: "1 Main St\r\nTown", StreetAddress: "1 Main St\nBack"},
		}
		n.Email = "alice@пример.example"
	})
	if _, err := h.AddUser(t.Context(), full); err != nil {
		t.Errorf("a full profile: %v", err)
	}
}

func TestI2_WhateverRaisesTheEpochKillsSessionsAndGrants(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for name, deed := range map[string]func(id idp.ID) error{
			"disable":      func(id idp.ID) error { return h.DisableUser(t.Context(), id) },
			"set password": func(id idp.ID) error { return h.SetPassword(t.Context(), id, "another horse battery") },
		} {
			t.Run(name, func(t *testing.T) {
				u := h.addUser(t, "user-"+strings.ReplaceAll(name, " ", "-"))
				one, two := h.logIn(t, u.Username, idp.SessionToken{}), h.logIn(t, u.Username, idp.SessionToken{})
				bound, offline := h.addGrant(t, one, true), h.addGrant(t, two, false)
				if err := deed(u.ID); err != nil {
					t.Fatal(err)
				}
				if h.grantAlive(t, bound) || h.grantAlive(t, offline) || h.grantAlive(t, h.addGrant(t, two, false)) {
					t.Error("a grant is alive")
				}
				after, err := h.FindUser(t.Context(), u.ID.String())
				if err != nil || after.Epoch != u.Epoch+1 {
					t.Errorf("got epoch %d and %v, want %d", after.Epoch, err, u.Epoch+1)
				}
				if h.alive(t, one.Token) || h.alive(t, two.Token) {
					t.Error("a session is alive")
				}
				if list, err := h.Sessions(t.Context(), u.ID, idp.ID{}, 0); err != nil || len(list) != 0 {
					t.Errorf("got %d sessions and %v, want none", len(list), err)
				}
			})
		}
	})
}

// addGrant adds a grant that was given in a session.
func (h *house) addGrant(t testing.TB, s idp.SignedIn, bound bool) idp.ID {
	t.Helper()
	g := idp.Grant{
		ID: idp.NewID(h.Now()), ClientID: "shop", UserID: s.User.ID, SessionID: s.Session.ID, SessionBound: bound, Epoch: s.Session.Epoch,
		CodeHash: []byte("hash"), CodeExpiresAt: h.Now(), CreatedAt: h.Now(), DeadAt: s.Session.EndsAt,
	}
	if err := h.store.AddGrant(t.Context(), g); err != nil {
		t.Fatalf("add grant: %v", err)
	}
	return g.ID
}

func (h *house) grantAlive(t testing.TB, id idp.ID) bool {
	t.Helper()
	v, err := h.store.Grant(t.Context(), id, false)
	if err != nil {
		t.Fatalf("find grant: %v", err)
	}
	return v.Alive(h.Now())
}

func TestADisabledUserIsEnabledAgainWithoutWhatWasEnded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "erin")
		before := h.logIn(t, "erin", idp.SessionToken{})
		for range 2 { // the second time changes nothing
			if err := h.DisableUser(t.Context(), u.ID); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := h.EnableUser(t.Context(), u.ID); err != nil {
				t.Fatal(err)
			}
		}
		if h.alive(t, before.Token) {
			t.Error("a session from before is alive")
		}
		if now := h.logIn(t, "erin", idp.SessionToken{}); !h.alive(t, now.Token) {
			t.Error("a session from after is not alive")
		}
		const want = "user.added user.disabled user.enabled user.signed_in user.signed_in"
		if got := h.kinds(t); got != want {
			t.Errorf("got events %s, want %s", got, want)
		}
	})
}

func TestADeletedUserIsGone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		s := h.logIn(t, "alice", idp.SessionToken{})
		if err := h.DeleteUser(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		if h.alive(t, s.Token) {
			t.Error("a session is alive")
		}
		for name, err := range map[string]error{
			"delete":       h.DeleteUser(t.Context(), u.ID),
			"disable":      h.DisableUser(t.Context(), u.ID),
			"enable":       h.EnableUser(t.Context(), u.ID),
			"set password": h.SetPassword(t.Context(), u.ID, alicePassword),
		} {
			if !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("%s: got %v, want ErrNotFound", name, err)
			}
		}
	})
}

func TestDeedsOnOneUserAtATimeAllHappen(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		var racers sync.WaitGroup
		for range 4 {
			racers.Go(func() {
				if err := h.SetPassword(t.Context(), u.ID, "another horse battery"); err != nil {
					t.Errorf("set password: %v", err)
				}
			})
		}
		racers.Wait()
		if after, err := h.FindUser(t.Context(), "alice"); err != nil || after.Epoch != u.Epoch+4 {
			t.Errorf("got epoch %d and %v, want %d", after.Epoch, err, u.Epoch+4)
		}
	})
}

func TestDeedsStandAFunctionThatRunsTwice(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		h := open(t, storagetest.Twice(s))
		u := h.addUser(t, "alice")
		in := h.logIn(t, "alice", idp.SessionToken{})
		again := h.logIn(t, "alice", in.Token)
		visit, err := h.Visit(t.Context(), again.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		changed, err := h.ChangePassword(from(t, "192.0.2.1", again.Token), visit, alicePassword, "another horse battery")
		if err != nil || !h.alive(t, changed.Token) {
			t.Fatalf("change password: %v", err)
		}
		if err := h.DisableUser(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		c, _ := h.addClient(t, idp.Client{})
		if _, err := h.RotateSecret(t.Context(), c.ID, true); err != nil {
			t.Fatal(err)
		}
		if _, err := h.RotateKey(t.Context(), "ES256", true); err != nil {
			t.Fatal(err)
		}
		const want = "client.added client.secret_rotated user.added user.disabled user.password_changed user.signed_in user.signed_in"
		if got := h.kinds(t); got != want {
			t.Errorf("got events %s, want %s", got, want)
		}
	})
}
