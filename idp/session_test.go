package idp_test

import (
	"errors"
	"reflect"
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
		for _, id := range []idp.ID{three.Session.ID, idp.NewID(noon)} {
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
		changed, err := h.ChangePassword(from(t, "192.0.2.1", here.Token), v, alicePassword, "another password")
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
		if _, err := h.tryLogIn(t, "192.0.2.1", "alice", "another password"); err != nil {
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
		for range 5 {
			wantError(t, change("wrong password", "another password"), idp.Denied, "invalid_credentials", "password")
		}
		wantError(t, change(alicePassword, "another password"), idp.Throttled, "throttled", "")
		_, err = h.tryLogIn(t, "192.0.2.9", "alice", alicePassword)
		wantError(t, err, idp.Throttled, "throttled", "") // one budget, wherever the password is shown
		if !h.alive(t, here.Token) {
			t.Error("a failed change ended the session")
		}
	})
}

func TestChangesOfAPasswordAreLimitedByAddressWhateverComesOfThem(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		here := h.logIn(t, "alice", idp.SessionToken{})
		v, err := h.Visit(t.Context(), here.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		change := func(current string) error { // each one costs a hash
			_, err := h.ChangePassword(from(t, "203.0.113.7", here.Token), v, current, "short")
			return err
		}
		for range 3 {
			wantError(t, change(alicePassword), idp.Invalid, "password_too_short", "new_password")
		}
		wantError(t, change(alicePassword), idp.Throttled, "throttled", "")
	}, func(c *config.Config) { c.RateLimits.Login = "3/m/ip" })
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
