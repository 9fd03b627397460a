package idp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// sensitive are the deeds that want a fresh proof, on the account of s.
func (h *house) sensitive(t testing.TB, s idp.SignedIn) map[string]func() error {
	ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
	return map[string]func() error{
		"add an address":       func() error { return h.AddEmail(ctx, v, &idp.Interaction{}, "new@example.com") },
		"make one primary":     func() error { return h.MakePrimary(ctx, v, idp.ID{1}) },
		"remove an address":    func() error { return h.RemoveEmail(ctx, v, idp.ID{1}) },
		"change the telephone": func() error { return h.ChangeProfile(ctx, v, idp.Profile{PhoneNumber: "+1 604 555 1234"}) },
		"export data":          func() error { _, err := h.Personal(ctx, v); return err },
		"delete the account":   func() error { _, err := h.DeleteOwn(ctx, v); return err },
	}
}

func TestS0_63_S0_64_WhatIsSensitiveWantsAProofOfTheLastMinutes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(5 * time.Minute)
		if !h.Fresh(h.visitOf(t, s)) {
			t.Error("five minutes are too old")
		}
		for range 3 { // whose use renews nothing
			h.clock.turn(time.Minute)
			h.visitOf(t, s)
		}
		before := h.kinds(t)
		for name, deed := range h.sensitive(t, s) {
			if err := deed(); idp.KindOf(err) != idp.Denied || idp.CodeOf(err) != "reauthenticate" {
				t.Errorf("%s: got %v, want reauthenticate", name, err)
			}
		}
		if after := h.kinds(t); after != before {
			t.Errorf("the events became %s", after)
		}
		again, err := h.Reauthenticate(by(t, 1, s.Token), h.visitOf(t, s), alicePassword)
		if err != nil {
			t.Fatal(err)
		}
		for name, deed := range h.sensitive(t, again) {
			if err := deed(); idp.CodeOf(err) == "reauthenticate" {
				t.Errorf("%s: asked again right after the proof", name)
			}
		}
	})
}

func TestS0_63_WithoutSudoNothingIsAsked(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Hour)
		if !h.Fresh(h.visitOf(t, s)) {
			t.Error("asked all the same")
		}
	}, func(cfg *config.Config) { cfg.Sudo.Required = false })
}

func TestS0_62_AProofRenewsTheSessionsSecretAndKeepsItsRow(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Hour)
		v := h.visitOf(t, s)
		again, err := h.Reauthenticate(by(t, 1, s.Token), v, alicePassword)
		if err != nil {
			t.Fatal(err)
		}
		if h.alive(t, s.Token) || !h.alive(t, again.Token) || again.Session.ID != s.Session.ID ||
			again.Session.Authentication == s.Session.Authentication || !again.Session.EndsAt.Equal(s.Session.EndsAt) {
			t.Errorf("got %+v of %+v, want the same row with another secret and no longer life", again.Session, s.Session)
		}
		if _, err := h.Reauthenticate(by(t, 1, s.Token), v, alicePassword); idp.KindOf(err) != idp.Stale {
			t.Errorf("with a page from before: got %v, want Stale", err)
		}
	})
}

func TestS0_64_AWrongPasswordProvesNothingAndCountsAsAtASignIn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Hour)
		for i := range 5 {
			_, err := h.Reauthenticate(by(t, 1, s.Token), h.visitOf(t, s), "wrong password")
			if idp.KindOf(err) != idp.Denied {
				t.Errorf("guess %d: got %v", i+1, err)
			}
		}
		if h.Fresh(h.visitOf(t, s)) {
			t.Error("the session is fresh")
		}
		if _, err := h.Reauthenticate(by(t, 1, s.Token), h.visitOf(t, s), alicePassword); err == nil {
			t.Error("after five wrong ones the right one is taken")
		}
	})
}

// proofWords are the ways that lead on.
func proofWords(p idp.Proofs) string {
	var list []string
	for name, is := range map[string]bool{"password": p.Password, "key": p.Key && !p.Alone, "key alone": p.Key && p.Alone, "app": p.App, "recovery": p.Recovery} {
		if is {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func TestS0_65_TheProofsThatLeadOnAreAsStrongAsWhatSomebodyHas(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		wants := func(name string, proved string, want string, fresh, over bool) {
			t.Helper()
			v := h.visitOf(t, s)
			v.Session.Methods = proofs(t, &idp.Interaction{}, proved)
			for i := range v.Session.Methods { // ages are counted from noon
				v.Session.Methods[i].At = v.Session.Methods[i].At.Add(h.Now().Sub(noon))
			}
			got, err := h.ProofsFor(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			if got.Enough != over {
				t.Errorf("%s, %q: enough is %t", name, proved, got.Enough)
			}
			if words := proofWords(got); words != want {
				t.Errorf("%s, %q: lead on %q, want %q", name, proved, words, want)
			}
			if h.Fresh(v) != fresh || (idp.SudoOver(h.Provider, v) == nil) != over {
				t.Errorf("%s, %q: fresh %v, over factors %v, want %v, %v", name, proved, h.Fresh(v), !over, fresh, over)
			}
		}
		wants("no factor", "pwd@6", "password", false, false)
		wants("no factor", "pwd@4", "", true, true)
		wants("no factor", "mail@1", "password", true, false)
		wants("no factor", "lent@1", "password", false, false)

		_, made := h.addApp(t, 1, s)
		s = made.SignedIn
		wants("an app", "pwd@6 totp@6", "password", false, false)
		wants("an app", "pwd@4", "app, recovery", false, false)
		wants("an app", "pwd@6 totp@4", "password", false, false)
		wants("an app", "mail@4", "app, recovery", false, false)
		wants("an app", "lent@4 totp@4", "password", false, false)
		wants("an app", "pwd@4 totp@4", "", true, true)
		wants("an app", "pwd@4 recovery@4", "", true, true)
		wants("an app", "mail@4 totp@4", "", true, true)

		d := newDevice()
		s = h.addKey(t, 1, s, d)
		wants("a key", "pwd@6", "key alone, password", false, false)
		wants("a key", "key@4", "key alone, password", false, false)
		wants("a key", "pwd@4", "app, key, recovery", false, false)
		wants("a key", "passkey@4", "", true, true)
		wants("a key", "passkey@6 pwd@4", "app, key, recovery", false, false)
	})
}

func TestS0_65_WhoHasNothingButAnAddressMustSetAPasswordFirst(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "alice", Email: "alice@example.com", EmailVerified: true})
		if err != nil {
			t.Fatal(err)
		}
		in, code := h.askForCode(t, m, 1, "alice")
		s, err := h.LogInByCode(atBrowser(t, 1), in, code, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx := by(t, 1, s.Token)
		wantError(t, h.BeginTOTP(ctx, h.visitOf(t, s)), idp.Denied, "reauthenticate", "")
		if got, err := h.ProofsFor(ctx, h.visitOf(t, s)); err != nil || got != (idp.Proofs{}) {
			t.Errorf("lead on %+v, %v", got, err)
		}
		if s, err = h.ChangePassword(ctx, h.visitOf(t, s), "", newPassword); err != nil {
			t.Fatal(err)
		}
		if err := h.BeginTOTP(by(t, 1, s.Token), h.visitOf(t, s)); err != nil {
			t.Errorf("with the password: %v", err)
		}
	}, codesOn)
}

func TestS0_62_S0_65_APasswordThenACodeOfTheAppProveAnew(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		s := made.SignedIn
		h.clock.turn(time.Hour)
		for name, deed := range h.sensitive(t, s) {
			if err := deed(); idp.CodeOf(err) != "reauthenticate" {
				t.Errorf("%s after an hour: got %v, want reauthenticate", name, err)
			}
		}
		first, err := h.Reauthenticate(by(t, 1, s.Token), h.visitOf(t, s), alicePassword)
		if err != nil {
			t.Fatal(err)
		}
		for name, deed := range h.sensitive(t, first) {
			if err := deed(); idp.CodeOf(err) != "reauthenticate" {
				t.Errorf("%s by a password alone: got %v, want reauthenticate", name, err)
			}
		}
		second, err := h.ProveByCode(by(t, 1, first.Token), &idp.Interaction{}, h.visitOf(t, first), a.code(t, 0), false)
		if err != nil {
			t.Fatal(err)
		}
		if h.alive(t, s.Token) || h.alive(t, first.Token) || second.Session.ID != s.Session.ID || !second.Session.EndsAt.Equal(s.Session.EndsAt) {
			t.Errorf("got %+v, want the same row with another secret at each proof, and no longer life", second.Session)
		}
		h.clock.turn(5 * time.Minute)
		if !h.Fresh(h.visitOf(t, second)) {
			t.Error("five minutes are too old")
		}
		h.clock.turn(time.Second)
		if h.Fresh(h.visitOf(t, second)) {
			t.Error("a second more is not")
		}
	})
}

func TestS0_65_AProofByAKeyAloneMustVerifyItsUser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, s := h.withKey(t, "alice")
		h.clock.turn(time.Hour)
		ctx := by(t, 1, s.Token)
		c, err := h.BeginKeyProof(ctx, h.visitOf(t, s), true)
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.ProveByKey(ctx, &idp.Interaction{}, h.visitOf(t, s), c.State, d.get(t, c.Options), false)
		if err != nil {
			t.Fatal(err)
		}
		for name, deed := range h.sensitive(t, again) {
			if err := deed(); idp.CodeOf(err) == "reauthenticate" {
				t.Errorf("%s: asked again right after the proof", name)
			}
		}
	})
}

func TestS0_65_WhatAnOperatorLentProvesNothingSensitive(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		if err := h.LendPassword(t.Context(), u.ID, "lent by an operator"); err != nil {
			t.Fatal(err)
		}
		in := h.BeginOwn("/")
		pending, err := h.LogIn(by(t, 1, idp.SessionToken{}), in, idp.LogIn{Identifier: "alice", Password: "lent by an operator"})
		if err != nil {
			t.Fatal(err)
		}
		ctx := atBrowser(t, 1, withPending(pending))
		v, err := h.PendingVisit(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := h.ChooseNewPassword(ctx, in, v, newPassword)
		if err != nil || s.Session.State != idp.Live {
			t.Fatalf("got %+v and %v", s, err)
		}
		for name, deed := range h.sensitive(t, s) {
			if err := deed(); idp.CodeOf(err) != "reauthenticate" {
				t.Errorf("%s: got %v, want reauthenticate", name, err)
			}
		}
		wantError(t, h.BeginTOTP(ctx, h.visitOf(t, s)), idp.Denied, "reauthenticate", "")
		if s, err = h.Reauthenticate(by(t, 1, s.Token), h.visitOf(t, s), newPassword); err != nil {
			t.Fatal(err)
		}
		if err := h.BeginTOTP(by(t, 1, s.Token), h.visitOf(t, s)); err != nil {
			t.Errorf("with their own: %v", err)
		}
	})
}

func TestS0_65_WithoutSudoFactorsStillWantMoreThanAMailedCode(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		in, code := h.askForCode(t, m, 1, "alice")
		s, err := h.LogInByCode(atBrowser(t, 1), in, code, false)
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, h.BeginTOTP(by(t, 1, s.Token), h.visitOf(t, s)), idp.Denied, "reauthenticate", "")
		old := h.enter(t, 2, "alice", alicePassword)
		h.clock.turn(time.Hour)
		if err := h.BeginTOTP(by(t, 2, old.Token), h.visitOf(t, old)); err != nil {
			t.Errorf("after a password, an hour ago: %v", err)
		}
		lent := h.visitOf(t, old)
		lent.Session.Methods = proofs(t, &idp.Interaction{}, "lent")
		wantError(t, h.BeginTOTP(by(t, 2, old.Token), lent), idp.Denied, "reauthenticate", "")
	}, codesOn, func(cfg *config.Config) { cfg.Sudo.Required = false })
}
