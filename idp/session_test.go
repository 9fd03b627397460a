package idp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func TestAVisitNeedsTheWholeToken(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		good := h.logIn(t, "alice", idp.SessionToken{}).Token
		other := h.logIn(t, "alice", idp.SessionToken{}).Token
		for name, token := range map[string]idp.SessionToken{
			"none":                         {},
			"no secret":                    {ID: good.ID},
			"no ID":                        {Secret: good.Secret},
			"another ID":                   {ID: idp.NewID(noon), Secret: good.Secret},
			"the secret of another":        {ID: good.ID, Secret: other.Secret},
			"the hash in place of the key": {ID: good.ID, Secret: [32]byte(secretHash(t, h, good))},
		} {
			if v, err := h.Visit(t.Context(), token, ""); !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("%s: got %+v and %v, want ErrNotFound", name, v, err)
			}
		}
		if !h.alive(t, good) {
			t.Error("the right token finds nothing")
		}
	})
}

func secretHash(t *testing.T, h *house, token idp.SessionToken) []byte {
	t.Helper()
	v, err := h.store.Visit(t.Context(), token.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	return v.Session.SecretHash
}

func TestASessionEndsForWantOfUseAndInAnyCase(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		idle := h.logIn(t, "alice", idp.SessionToken{}).Token
		used := h.logIn(t, "alice", idp.SessionToken{}).Token
		for range 3 {
			h.clock.turn(7 * time.Hour)
			if !h.alive(t, used) {
				t.Fatal("a session that is used has ended")
			}
		}
		if h.alive(t, idle) {
			t.Error("a session without use is alive after 21 hours")
		}
		h.clock.turn(3 * time.Hour)
		if h.alive(t, used) {
			t.Error("a session that is not remembered is alive after 24 hours")
		}
	})
}

func TestS0_51_EverySessionHasAnAbsoluteEndAndThoseThatAreNotRememberedAnIdleOne(t *testing.T) {
	const day = 24 * time.Hour
	for what, c := range map[string]struct {
		remember bool
		every    time.Duration // it is used; 0 for never
		ends     time.Duration // after the sign-in
	}{
		"not remembered, not used":      {false, 0, 8 * time.Hour},
		"not remembered, used all day":  {false, time.Hour, day},
		"not remembered, used too late": {false, 8 * time.Hour, 8 * time.Hour},
		"remembered, not used":          {true, 0, 14 * day},
		"remembered, used every day":    {true, day, 14 * day},
	} {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				h.addUser(t, "alice")
				s, err := h.LogIn(from(t, "192.0.2.1", idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{
					Identifier: "alice", Password: alicePassword, Remember: c.remember,
				})
				if err != nil {
					t.Fatal(err)
				}
				if end := noon.Add(14 * day); c.remember && !s.Session.EndsAt.Equal(end) { // that of its cookie
					t.Errorf("its row ends at %s, want %s", s.Session.EndsAt, end)
				}
				bound := h.addGrant(t, s, true)
				passed := time.Duration(0)
				for c.every > 0 && passed+c.every < c.ends {
					h.clock.turn(c.every)
					passed += c.every
					if !h.alive(t, s.Token) {
						t.Fatalf("it ended after %s", passed)
					}
				}
				h.clock.turn(c.ends - time.Microsecond - passed)
				before, err := h.store.Visit(t.Context(), s.Token.ID, "") // as a visit would, without being one
				if err != nil || !before.Session.Alive(&before.User, h.Now()) {
					t.Errorf("just before: %+v and %v", before.Session, err)
				}
				h.clock.turn(time.Microsecond)
				for range 2 { // whoever shows the cookie again changes nothing
					if h.alive(t, s.Token) {
						t.Error("its cookie works after its end")
					}
				}
				if v, err := h.VisitOf(from(t, "192.0.2.1", s.Token), &idp.Interaction{}); v != nil || err != nil {
					t.Errorf("in an interaction: got %+v and %v", v, err)
				}
				if list, err := h.Sessions(t.Context(), s.User.ID, idp.ID{}, 10); err != nil || len(list) != 0 {
					t.Errorf("listed %+v, %v", list, err)
				}
				if h.grantAlive(t, bound) {
					t.Error("a grant that is bound to it lives on")
				}
			})
		})
	}
}

func TestAVisitIsOneStatementAndTouchesOnceAMinute(t *testing.T) {
	counter := &storagetest.Counter{}
	storagetest.EachOptions(t, storage.Options{OnStatement: counter.Note}, func(t *testing.T, s *storage.Store) {
		h := open(t, s)
		h.addUser(t, "alice")
		token := h.logIn(t, "alice", idp.SessionToken{}).Token
		counter.Take()
		var verbs []string
		for range 4 {
			if _, err := h.Visit(t.Context(), token, "shop"); err != nil {
				t.Fatal(err)
			}
			var sent []string
			for _, sql := range counter.Take() {
				verb, _, _ := strings.Cut(sql, " ")
				sent = append(sent, verb)
			}
			verbs = append(verbs, strings.Join(sent, "+"))
			h.clock.turn(30 * time.Second)
		}
		if want := []string{"SELECT", "SELECT", "SELECT+UPDATE", "SELECT"}; !reflect.DeepEqual(verbs, want) {
			t.Errorf("got %v, want %v", verbs, want)
		}
		v, err := h.Visit(t.Context(), token, "")
		if want := noon.Add(2 * time.Minute); err != nil || v.Session.LastSeenAt != want || v.Session.IdleAt != want.Add(8*time.Hour) {
			t.Errorf("got last seen %s, idle %s and %v, want %s", v.Session.LastSeenAt, v.Session.IdleAt, err, want)
		}
	})
}

func TestS0_57_WithoutTrackingNothingIsKeptOfASessionsUse(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		untracked := func(what string, token idp.SessionToken) {
			t.Helper()
			v, err := h.Visit(by(t, 2, token), token, "")
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if got := v.Session; !got.LastSeenAt.Equal(noon) || got.Address != "192.0.2.1" || got.UserAgent != "Browser/1" || !got.IdleAt.Equal(noon.Add(24*time.Hour)) {
				t.Errorf("%s: got %+v, want it as at its start, and no end for want of use", what, got)
			}
		}
		h.clock.turn(23 * time.Hour) // no use that is noted, and no end for want of it
		untracked("visited", s.Token)
		again, err := h.Reauthenticate(by(t, 2, s.Token), h.visitOf(t, s), alicePassword)
		if err != nil {
			t.Fatal(err)
		}
		untracked("proved anew", again.Token)
		if !h.Fresh(h.visitOf(t, again)) {
			t.Error("a proof of now is old")
		}
		changed, err := h.ChangePassword(by(t, 2, again.Token), h.visitOf(t, again), alicePassword, newPassword)
		if err != nil {
			t.Fatal(err)
		}
		untracked("with another password", changed.Token)
		h.clock.turn(time.Hour)
		if h.alive(t, changed.Token) {
			t.Error("it has no end")
		}
	}, func(cfg *config.Config) { cfg.Sessions.TrackActivity = false })
}

func TestAnOperatorWhoEndsSessionsTellsTheUser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		alice := h.addUser(t, "alice")
		h.enter(t, 1, "alice", alicePassword)
		for range 2 { // the second time there is none
			if _, err := h.EndSessions(t.Context(), alice.ID); err != nil {
				t.Fatal(err)
			}
		}
		if mail := h.only(t, m, "admin_changed"); mail.To != "alice@example.com" || mail.Args["changes"] != "sessions" || mail.Args["address"] != "" {
			t.Errorf("sent %+v", mail)
		}
	})
}

func TestS0_74_WhatIsLookedAtSignsNobodyOut(t *testing.T) {
	eachWatched(t, func(t *testing.T, h *house, sent func() string) {
		h.addUser(t, "alice")
		s := h.logIn(t, "alice", idp.SessionToken{})
		bound := h.addGrant(t, s, true)
		ctx := from(t, "192.0.2.1", s.Token)
		sent()
		for _, prompt := range []string{"login", "select_account", "create", "none", "logout"} {
			in := h.BeginOwn("/logout")
			in.Request.Prompts = idp.List{prompt}
			v, err := h.VisitOf(ctx, in)
			if err != nil || v == nil {
				t.Fatalf("got %+v and %v", v, err)
			}
			idp.NextStep(in, v, h.PolicyFor(nil), h.Now())
		}
		if seen := sent(); strings.Contains(seen, "UPDATE") || strings.Contains(seen, "INSERT") || strings.Contains(seen, "DELETE") {
			t.Errorf("looking wrote:\n%s", seen)
		}
		if !h.alive(t, s.Token) || !h.grantAlive(t, bound) {
			t.Fatal("the session ended")
		}
		if err := h.SignOut(ctx, h.visitOf(t, s)); err != nil {
			t.Fatal(err)
		}
		if h.alive(t, s.Token) || h.grantAlive(t, bound) || h.count(t, "user.signed_out") != 1 {
			t.Error("the deed did not end it")
		}
	})
}

func TestSigningOutEndsTheSessionOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		here, there := h.logIn(t, "alice", idp.SessionToken{}), h.logIn(t, "alice", idp.SessionToken{})
		bound, offline, elsewhere := h.addGrant(t, here, true), h.addGrant(t, here, false), h.addGrant(t, there, true)
		v, err := h.Visit(t.Context(), here.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.SignOut(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		if h.alive(t, here.Token) || !h.alive(t, there.Token) {
			t.Error("the wrong session ended")
		}
		if h.grantAlive(t, bound) || !h.grantAlive(t, offline) || !h.grantAlive(t, elsewhere) {
			t.Error("the wrong grants ended")
		}
		const want = "user.added user.signed_in user.signed_in user.signed_out"
		if got := h.kinds(t); got != want {
			t.Errorf("got events %s, want %s", got, want)
		}
	})
}

func TestAnOperatorListsAndEndsSessions(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob := h.addUser(t, "alice"), h.addUser(t, "bob")
		one := h.logIn(t, "alice", idp.SessionToken{})
		h.clock.turn(time.Second)
		two := h.logIn(t, "alice", idp.SessionToken{})
		h.clock.turn(time.Second)
		three := h.logIn(t, "bob", idp.SessionToken{})
		ids := func(list []idp.Session, err error) (ids []idp.ID) {
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				ids = append(ids, s.ID)
			}
			return ids
		}
		if got, want := ids(h.Sessions(t.Context(), idp.ID{}, idp.ID{}, 0)), []idp.ID{three.Session.ID, two.Session.ID, one.Session.ID}; !reflect.DeepEqual(got, want) {
			t.Errorf("all: got %v, want %v", got, want)
		}
		if got, want := ids(h.Sessions(t.Context(), alice.ID, two.Session.ID, 5)), []idp.ID{one.Session.ID}; !reflect.DeepEqual(got, want) {
			t.Errorf("alice's before the second: got %v, want %v", got, want)
		}
		if err := h.EndSession(t.Context(), three.Session.ID); err != nil || h.alive(t, three.Token) {
			t.Errorf("end one: %v", err)
		}
		former := h.logIn(t, "bob", idp.SessionToken{})
		h.clock.turn(h.cfg.Sessions.IdleTimeout)
		one, two = h.logIn(t, "alice", idp.SessionToken{}), h.logIn(t, "alice", idp.SessionToken{})
		for _, id := range []idp.ID{three.Session.ID, former.Session.ID, idp.NewID(noon)} {
			if err := h.EndSession(t.Context(), id); !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("end one that is not there: got %v, want ErrNotFound", err)
			}
		}
		if n, err := h.EndSessions(t.Context(), alice.ID); err != nil || n != 2 || h.alive(t, one.Token) || h.alive(t, two.Token) {
			t.Errorf("end alice's: got %d and %v, want 2", n, err)
		}
		if n, err := h.EndSessions(t.Context(), bob.ID); err != nil || n != 0 {
			t.Errorf("end bob's: got %d and %v, want 0", n, err)
		}
		if _, err := h.EndSessions(t.Context(), idp.RandomID()); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("of nobody: got %v, want ErrNotFound", err)
		}
	})
}

func TestChangingThePasswordKeepsTheSessionAndEndsTheOthers(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		here, there := h.logIn(t, "alice", idp.SessionToken{}), h.logIn(t, "alice", idp.SessionToken{})
		bound, offline := h.addGrant(t, here, true), h.addGrant(t, there, false)
		h.clock.turn(time.Hour)
		v, err := h.Visit(t.Context(), here.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		changed, err := h.ChangePassword(from(t, "192.0.2.1", here.Token), v, alicePassword, "another horse battery")
		if err != nil {
			t.Fatal(err)
		}
		if changed.Session.ID != here.Session.ID || !h.alive(t, changed.Token) {
			t.Error("the present session ended")
		}
		if h.alive(t, here.Token) || h.alive(t, there.Token) {
			t.Error("a former token is alive")
		}
		if h.grantAlive(t, bound) || h.grantAlive(t, offline) {
			t.Error("a former grant is alive")
		}
		if got, want := changed.Session.EndsAt, here.Session.EndsAt; got != want {
			t.Errorf("the session ends at %s, want %s", got, want)
		}
		if _, err := h.tryLogIn(t, "192.0.2.1", "alice", alicePassword); idp.CodeOf(err) != "invalid_credentials" {
			t.Errorf("the former password: got %v", err)
		}
		if _, err := h.tryLogIn(t, "192.0.2.1", "alice", "another horse battery"); err != nil {
			t.Errorf("the new password: %v", err)
		}
	})
}

func TestChangingThePasswordNeedsTheCurrentOne(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		here := h.logIn(t, "alice", idp.SessionToken{})
		v, err := h.Visit(t.Context(), here.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		change := func(current, new string) error {
			_, err := h.ChangePassword(from(t, "192.0.2.1", here.Token), v, current, new)
			return err
		}
		wantError(t, change(alicePassword, "short"), idp.Invalid, "password_too_short", "new_password")
		h.clock.turn(time.Minute)
		for range 5 {
			wantError(t, change("wrong password", "another horse battery"), idp.Denied, "invalid_credentials", "password")
		}
		wantError(t, change(alicePassword, "another horse battery"), idp.Throttled, "throttled", "")
		_, err = h.tryLogIn(t, "192.0.2.9", "alice", alicePassword)
		wantError(t, err, idp.Throttled, "throttled", "") // one budget, wherever the password is shown
		if !h.alive(t, here.Token) {
			t.Error("a failed change ended the session")
		}
	})
}

func TestS0_08_ChangesOfAPasswordAreLimitedByUserWhateverComesOfThem(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		here := h.logIn(t, "alice", idp.SessionToken{})
		v, err := h.Visit(t.Context(), here.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		change := func(address string) error { // each one costs a hash
			_, err := h.ChangePassword(from(t, address, here.Token), v, alicePassword, "short")
			return err
		}
		for i := range 5 {
			wantError(t, change(fmt.Sprint("192.0.2.", i)), idp.Invalid, "password_too_short", "new_password")
		}
		wantError(t, change("203.0.113.7"), idp.Throttled, "throttled", "") // from another session, too
		h.clock.turn(time.Minute)
		wantError(t, change("203.0.113.7"), idp.Invalid, "password_too_short", "new_password")
	})
}

func TestI2_AStaleVisitChangesNoPassword(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		here := h.logIn(t, "alice", idp.SessionToken{})
		v, err := h.Visit(t.Context(), here.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.SetPassword(t.Context(), u.ID, alicePassword); err != nil { // the same words, another epoch
			t.Fatal(err)
		}
		_, err = h.ChangePassword(from(t, "192.0.2.1", here.Token), v, alicePassword, "the attacker's own")
		wantError(t, err, idp.Stale, "session_changed", "")
		h.logIn(t, "alice", idp.SessionToken{})
	})
}

func TestDeadSessionsAreSwept(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		h.logIn(t, "alice", idp.SessionToken{})
		h.clock.turn(9 * time.Hour)
		live := h.logIn(t, "alice", idp.SessionToken{})
		if n, err := h.store.Sweep(t.Context(), h.Now()); err != nil || n == 0 {
			t.Errorf("swept %d and %v", n, err)
		}
		if list, err := h.Sessions(t.Context(), u.ID, idp.ID{}, 0); err != nil || len(list) != 1 || list[0].ID != live.Session.ID {
			t.Errorf("got %d sessions and %v, want the live one", len(list), err)
		}
	})
}

func (h *house) accesses(t testing.TB, f idp.AccessFilter) []idp.Access {
	t.Helper()
	list, err := h.Accesses(t.Context(), f, idp.ID{}, 1000)
	if err != nil {
		t.Fatalf("list the access log: %v", err)
	}
	return list
}

func TestS4_53_TheAccessLogTellsWhoSignedInAndHowItEnded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		in := func() idp.SignedIn {
			h.clock.turn(time.Second)
			s, err := h.LogIn(from(t, "192.0.2.1", idp.SessionToken{}), &idp.Interaction{Request: idp.Request{ClientID: "shop"}},
				idp.LogIn{Identifier: "alice", Password: alicePassword})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		signedOut, byAdmin, byPassword, present := in(), in(), in(), in()
		v, err := h.Visit(t.Context(), signedOut.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.SignOut(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if err := h.EndSession(t.Context(), byAdmin.Session.ID); err != nil {
			t.Fatal(err)
		}
		if v, err = h.Visit(t.Context(), present.Token, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ChangePassword(from(t, "192.0.2.1", present.Token), v, alicePassword, "another long horse battery"); err != nil {
			t.Fatal(err)
		}
		want := map[idp.ID]string{signedOut.Session.ID: "sign_out", byAdmin.Session.ID: "admin", byPassword.Session.ID: "password_change", present.Session.ID: ""}
		list := h.accesses(t, idp.AccessFilter{UserID: u.ID})
		if len(list) != len(want) {
			t.Fatalf("got %d lines, want %d", len(list), len(want))
		}
		for _, a := range list {
			sum := sha256.Sum256(a.ID[:])
			if a.EndedWhy != want[a.ID] || (a.EndedAt == nil) != (want[a.ID] == "") || a.UserID != u.ID || a.Address != "192.0.2.1" ||
				a.UserAgent != "Browser/1.0" || a.ClientID != "shop" || !slices.Equal(a.Methods, []string{"pwd"}) ||
				a.SessionHash != base64.RawURLEncoding.EncodeToString(sum[:]) {
				t.Errorf("got %+v, want the end %q", a, want[a.ID])
			}
		}
		h.clock.turn(9 * time.Hour)
		last := h.accesses(t, idp.AccessFilter{})[0]
		if ended := present.Session.IdleAt; last.EndedWhy != "expired" || last.EndedAt == nil || last.EndedAt.Before(ended) {
			t.Errorf("the last one ended %v for %q, want expired", last.EndedAt, last.EndedWhy)
		}
		if next, err := h.Accesses(t.Context(), idp.AccessFilter{}, last.ID, 2); err != nil || len(next) != 2 || next[0].ID != byPassword.Session.ID {
			t.Errorf("after the newest: got %+v and %v, want the next two", next, err)
		}
		if list, err := h.Sessions(t.Context(), u.ID, idp.ID{}, 10); err != nil || len(list) != 0 {
			t.Errorf("%d sessions are live, %v, want none", len(list), err)
		}
	})
}

func TestS4_33_WithoutLoginsInTheAuditNothingIsKeptOfThem(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		token := h.logIn(t, "alice", idp.SessionToken{}).Token
		v, err := h.Visit(t.Context(), token, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.SignOut(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if list := h.accesses(t, idp.AccessFilter{}); len(list) != 0 {
			t.Errorf("the access log has %+v", list)
		}
		if got := h.kinds(t); got != "user.added" {
			t.Errorf("the events are %q, want none of logins", got)
		}
		h.clock.turn(9 * time.Hour)
		if _, err := h.store.Sweep(t.Context(), h.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Visit(t.Context(), token.ID, ""); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("the row is there still: %v", err)
		}
	}, func(cfg *config.Config) { cfg.Audit.Logins = false })
}
