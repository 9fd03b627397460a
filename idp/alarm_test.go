package idp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/idp"
)

// notMe presses "It wasn't me" in the newest mail of a kind to an address.
func (h *house) notMe(t testing.TB, m *postman, kind, to string) {
	t.Helper()
	if err := h.WasNotMe(by(t, 2, idp.SessionToken{}), tokenOf(h.latest(t, m, kind, to, "not_me"))); err != nil {
		t.Fatalf("press the link of %s: %v", kind, err)
	}
}

// wantFactors compares what a user is said to have, and the kinds of their rows.
func (h *house) wantFactors(t testing.TB, name, factors, rows string) {
	t.Helper()
	u, err := h.FindUser(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, a := range h.factorsOf(t, u.ID) {
		kinds = append(kinds, string(a.Kind))
	}
	slices.Sort(kinds)
	if got := strings.Join(u.Factors, " "); got != factors || strings.Join(kinds, " ") != rows {
		t.Errorf("%s has %q by the rows %q, want %q by %q", name, got, kinds, factors, rows)
	}
}

// chooses resets the password by the mail about an alarm, which tells what was removed.
func (h *house) chooses(t testing.TB, m *postman, removed string) {
	t.Helper()
	mail := h.only(t, m, "secured")
	if mail.Args["removed"] != removed || mail.Args["code"] != "" || mail.Args["expires"] == "" || mail.Args["password"] != "void" {
		t.Errorf("told %v, want %q removed and a link alone", mail.Args, removed)
	}
	if err := h.ResetPassword(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, tokenOf(mail.Args["link"]), newPassword); err != nil {
		t.Fatalf("reset the password: %v", err)
	}
}

func TestS0_61_ThisWasNotMeTakesOffThePasskeyThatAThiefAdded(t *testing.T) {
	for _, kind := range []string{"factor_added", "new_sign_in"} {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				m := h.withPostman(t)
				h.addUser(t, "carol")
				h.enter(t, 1, "carol", alicePassword)
				h.clock.turn(time.Hour)
				key := newDevice()
				h.addKey(t, 66, h.enter(t, 66, "carol", alicePassword), key)
				h.clock.turn(time.Minute)
				h.notMe(t, m, kind, "carol@example.com")

				h.wantFactors(t, "carol", "", "")
				if s, err := h.enterByKey(t, by(t, 66, idp.SessionToken{}), key); err == nil {
					t.Errorf("the thief is in: %+v", s.Session)
				}
				if got := h.event(t, "user.factor_removed").Details; got["factor"] != "passkey" || got["why"] != "not_me" {
					t.Errorf("recorded %v", got)
				}
				h.chooses(t, m, "passkey,recovery_codes")
				if s := h.enter(t, 1, "carol", newPassword); s.Session.State != idp.Live {
					t.Errorf("the owner's session is %s", s.Session.State)
				}
			})
		})
	}
}

func TestS0_61_ThisWasNotMeTakesOffTheAppThatAThiefAdded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "carol")
		_, made := h.addApp(t, 66, h.enter(t, 66, "carol", alicePassword))
		set := h.ownFactors(t, made.SignedIn).Recovery.ID
		if _, err := h.NewRecoveryCodes(by(t, 66, made.Token), h.visitOf(t, made.SignedIn), set); err != nil {
			t.Fatal(err)
		}
		h.notMe(t, m, "recovery_codes_made", "carol@example.com") // which was mailed later
		h.wantFactors(t, "carol", "", "")
		h.chooses(t, m, "app,recovery_codes")
		if s := h.enter(t, 1, "carol", newPassword); s.Session.State != idp.Live {
			t.Errorf("the owner is asked for the thief's code: the session is %s", s.Session.State)
		}
	})
}

func TestS0_61_WhatTheOwnerHadBeforeStays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		a, _ := h.bob(t)
		h.clock.turn(time.Hour)
		ctx, in, v := h.enterPending(t, 66, "bob") // with a code that bob was asked for on another page
		thief, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		if err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Second)
		thief = h.addKey(t, 66, thief, newDevice())
		set := h.ownFactors(t, thief).Recovery.ID
		h.clock.turn(time.Second)
		if _, err := h.NewRecoveryCodes(by(t, 66, thief.Token), h.visitOf(t, thief), set); err != nil {
			t.Fatal(err)
		}
		h.wantFactors(t, "bob", "hardware totp webauthn", "recovery_codes totp webauthn")
		h.notMe(t, m, "recovery_codes_made", "bob@example.com")

		h.wantFactors(t, "bob", "totp", "totp")
		h.chooses(t, m, "passkey,recovery_codes")
		h.clock.turn(time.Minute)
		s, err := h.LogIn(by(t, 1, idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: "bob", Password: newPassword})
		if err != nil || s.Session.State != idp.Pending {
			t.Errorf("got %+v and %v, want the app to be asked for", s.Session, err)
		}
	})
}

func TestS0_61_RecoveryCodesGoWithTheAppThatReplacedTheOwners(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		a, _ := h.bob(t)
		h.clock.turn(time.Hour)
		ctx, in, v := h.enterPending(t, 66, "bob")
		thief, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		if err != nil {
			t.Fatal(err)
		}
		h.addApp(t, 66, thief)
		h.notMe(t, m, "factor_added", "bob@example.com")
		h.wantFactors(t, "bob", "", "")
		h.chooses(t, m, "app,recovery_codes")
	})
}

func TestS0_61_APasskeyByWhichTheThiefCameBackGoesWithTheNextOne(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "carol")
		first := newDevice()
		h.addKey(t, 66, h.enter(t, 66, "carol", alicePassword), first)
		h.clock.turn(time.Hour)
		again, err := h.enterByKey(t, by(t, 66, idp.SessionToken{}), first)
		if err != nil {
			t.Fatal(err)
		}
		h.addKey(t, 66, again, newDevice())
		h.notMe(t, m, "factor_added", "carol@example.com")
		h.wantFactors(t, "carol", "", "")
	})
}

func TestS0_61_AVoidedPasswordIsReplacedByAResetAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		key, _ := h.withKey(t, "carol")
		h.clock.turn(8 * 24 * time.Hour)
		s, err := h.enterByKey(t, by(t, 1, idp.SessionToken{}), key)
		if err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Second)
		h.addKey(t, 1, s, newDevice())
		if err := h.LendPassword(t.Context(), s.User.ID, newPassword); err != nil { // it may be the lent one that leaked
			t.Fatal(err)
		}
		h.notMe(t, m, "factor_added", "carol@example.com")
		h.wantFactors(t, "carol", "hardware webauthn", "recovery_codes webauthn")
		in := &idp.Interaction{}
		s, err = h.enterByKey(t, by(t, 1, idp.SessionToken{}), key)
		if err != nil || s.Session.State != idp.Live {
			t.Fatalf("got %+v and %v, want the older passkey to sign in", s.Session, err)
		}
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		if need := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); need.Step != "" {
			t.Errorf("the next step is %+v, want none", need)
		}
		if _, err := h.ChooseNewPassword(ctx, in, v, "another one altogether"); idp.KindOf(err) != idp.Stale {
			t.Errorf("choose: got %v, want it refused", err)
		}
		for _, current := range []string{"", alicePassword, newPassword} {
			if _, err := h.ChangePassword(ctx, v, current, "another one altogether"); idp.KindOf(err) != idp.Denied {
				t.Errorf("change from %q: got %v, want it denied", current, err)
			}
		}
	})
}

func TestS0_61_AThiefsAddressIsMailedNoLinkThatTakesOffTheOwnersFactors(t *testing.T) {
	for name, c := range map[string]struct {
		after   time.Duration
		factors string
	}{
		"an address of this week":     {time.Hour, "hardware webauthn"},
		"one that nobody took off":    {8 * 24 * time.Hour, ""},
		"one of which it is the last": {7*24*time.Hour - time.Minute, "hardware webauthn"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				m := h.withPostman(t)
				h.addUser(t, "carol")
				h.addAddress(t, m, 66, h.enter(t, 66, "carol", alicePassword), "evil@example.net")
				h.clock.turn(c.after)
				owner := h.addKey(t, 1, h.enter(t, 1, "carol", alicePassword), newDevice())
				h.notMe(t, m, "factor_added", "evil@example.net")
				if h.alive(t, owner.Token) {
					t.Error("the session lives")
				}
				u, err := h.FindUser(t.Context(), "carol")
				if err != nil || strings.Join(u.Factors, " ") != c.factors {
					t.Errorf("has %v, %v, want %q", u.Factors, err, c.factors)
				}
				if c.factors == "" {
					return
				}
				h.notMe(t, m, "factor_added", "carol@example.com") // the owner's does
				h.wantFactors(t, "carol", "", "")
			})
		})
	}
}

func TestS0_78_WhoTakesAnAddressOffTakesOffWhatTheThiefSignsInWith(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		key, _ := h.withKey(t, "carol")
		h.clock.turn(8 * 24 * time.Hour)
		s, err := h.enterByKey(t, by(t, 66, idp.SessionToken{}), key) // an open session, say
		if err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Second)
		s = h.addKey(t, 66, s, newDevice()) // before the address
		h.clock.turn(time.Second)
		evil := h.addAddress(t, m, 66, s, "evil@example.net")
		if err := h.MakePrimary(by(t, 66, s.Token), h.visitOf(t, s), evil.ID); err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Second)
		s = h.addKey(t, 66, s, newDevice()) // and after it
		link := h.latest(t, m, "email_revert", "carol@example.com", "link")
		if err := h.RevertEmail(by(t, 1, idp.SessionToken{}), tokenOf(link)); err != nil {
			t.Fatal(err)
		}
		h.wantFactors(t, "carol", "hardware webauthn", "recovery_codes webauthn")
		if _, err := h.enterByKey(t, by(t, 1, idp.SessionToken{}), key); err != nil {
			t.Errorf("the owner's: %v", err)
		}
		h.chooses(t, m, "passkey")
		if got := h.event(t, "user.email_reverted").Details; got["removed"] == nil {
			t.Errorf("recorded %v", got)
		}
	})
}
