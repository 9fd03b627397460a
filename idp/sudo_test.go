package idp_test

import (
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
