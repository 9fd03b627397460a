package idp_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/guard"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

func (h *house) tryLogIn(t testing.TB, address, identifier, password string) (idp.SignedIn, error) {
	t.Helper()
	return h.LogIn(from(t, address, idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: identifier, Password: password})
}

func TestALoginMakesALiveSession(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		h.clock.turn(time.Minute + 300*time.Millisecond)
		in := &idp.Interaction{Request: idp.Request{ClientID: "shop"}}
		got, err := h.LogIn(from(t, "192.0.2.1", idp.SessionToken{}), in, idp.LogIn{Identifier: " ALICE@example.com", Password: alicePassword})
		if err != nil {
			t.Fatal(err)
		}
		if in.Authenticated != got.Session.Authentication || in.Authenticated.IsZero() {
			t.Errorf("the interaction names %v, want %v", in.Authenticated, got.Session.Authentication)
		}
		visit, err := h.Visit(t.Context(), got.Token, "")
		if err != nil || !reflect.DeepEqual(visit.Session, got.Session) || !reflect.DeepEqual(visit.User, u) {
			t.Errorf("got %+v and %v, want the session %+v of %+v", visit, err, got.Session, u)
		}
		now := h.Now()
		s := got.Session
		s.ID, s.SecretHash, s.Authentication, s.Methods[0].Authenticator = idp.ID{}, nil, idp.ID{}, idp.ID{}
		want := idp.Session{
			UserID: u.ID, Epoch: u.Epoch, State: idp.Live, ClientID: "shop", Methods: idp.Methods{{Name: "pwd", At: now.Truncate(time.Second)}},
			Address: "192.0.2.1", UserAgent: "Browser/1.0", CreatedAt: now, LastSeenAt: now,
			IdleAt: now.Add(8 * time.Hour), EndsAt: now.Add(24 * time.Hour), DeadAt: now.Add(8*time.Hour + 90*24*time.Hour),
		}
		if !reflect.DeepEqual(s, want) {
			t.Errorf("got  %+v\nwant %+v", s, want)
		}
		events, _ := h.Events(t.Context(), idp.ID{}, 100)
		e := events[len(events)-1]
		e.ID = idp.ID{}
		wantEvent := idp.Event{
			At: now, Kind: "user.signed_in", Actor: u.ID.String(), UserID: u.ID, ClientID: "shop", SessionID: got.Session.ID,
			Address: "192.0.2.1", RequestID: "req-1", Details: idp.Details{"methods": []any{"pwd"}, "remembered": false},
		}
		if !reflect.DeepEqual(e, wantEvent) {
			t.Errorf("got  %+v\nwant %+v", e, wantEvent)
		}
	})
}

func TestSessionsAreRememberedAsTheSettingsAndThePersonSay(t *testing.T) {
	for setting, want := range map[string][2]bool{"ask": {false, true}, "always": {true, true}, "never": {false, false}} {
		h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), func(c *config.Config) { c.Sessions.Remember = setting })
		h.addUser(t, "alice")
		for i, wished := range []bool{false, true} {
			s, err := h.LogIn(from(t, "192.0.2.1", idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: alicePassword, Remember: wished})
			if err != nil || s.Session.Remembered != want[i] {
				t.Errorf("%s, wished %v: got %v and %v, want %v", setting, wished, s.Session.Remembered, err, want[i])
			}
			if end := h.Now().Add(14 * 24 * time.Hour); s.Session.Remembered && (s.Session.EndsAt != end || s.Session.IdleAt != end) {
				t.Errorf("a remembered session ends at %s and %s, want %s", s.Session.EndsAt, s.Session.IdleAt, end)
			}
		}
	}
}

func TestEveryFailedLoginIsTheSame(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		erin := h.addUser(t, "erin")
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "carol"}); err != nil {
			t.Fatal(err)
		}
		if err := h.DisableUser(t.Context(), erin.ID); err != nil {
			t.Fatal(err)
		}
		for name, l := range map[string][2]string{
			"a wrong password":              {"alice", "wrong password"},
			"an unknown user":               {"zoe", alicePassword},
			"an unknown address":            {"zoe@example.com", alicePassword},
			"a user without a password":     {"carol", alicePassword},
			"the same, no password":         {"carol", ""},
			"a disabled user, wrong":        {"erin", "wrong password"},
			"no name":                       {"", alicePassword},
			"no password":                   {"alice", ""},
			"a name that is no text":        {"alice\xff", alicePassword},
			"a password that is no text":    {"alice", alicePassword + "\x00"},
			"a password without end":        {"alice", strings.Repeat("a", 1<<20)},
			"a name without end":            {strings.Repeat("a", 1<<20), alicePassword},
			"the hash in place of password": {"alice", "$argon2id$v=19$m=64,t=1,p=1$"},
		} {
			t.Run(name, func(t *testing.T) {
				in := &idp.Interaction{}
				s, err := h.LogIn(from(t, "192.0.2."+fmt.Sprint(len(name)), idp.SessionToken{}), in, idp.LogIn{Identifier: l[0], Password: l[1]})
				wantError(t, err, idp.Denied, "invalid_credentials", "")
				if !reflect.DeepEqual(s, idp.SignedIn{}) || !in.Authenticated.IsZero() {
					t.Errorf("got %+v and %v, want nothing", s, in.Authenticated)
				}
			})
			h.clock.turn(5 * time.Minute)
		}
		_, err := h.tryLogIn(t, "192.0.2.1", "erin", alicePassword)
		wantError(t, err, idp.Denied, "account_disabled", "")
	})
}

func TestALoginRenewsTheSessionOfTheSameUser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		one := h.logIn(t, "alice", idp.SessionToken{})
		h.clock.turn(time.Hour)
		two := h.logIn(t, "alice", one.Token)
		if two.Session.ID != one.Session.ID || two.Session.Authentication == one.Session.Authentication || two.Token.Secret == one.Token.Secret {
			t.Errorf("got session %v, want %v with another secret and authentication", two.Session.ID, one.Session.ID)
		}
		if h.alive(t, one.Token) {
			t.Error("the former token is alive: whoever planted it is signed in")
		}
		if got := two.Session.AuthTime(); got != h.Now().Truncate(time.Second) || len(two.Session.Methods) != 1 {
			t.Errorf("got auth_time %s, want now", got)
		}
		visit, err := h.Visit(t.Context(), two.Token, "")
		if err != nil || !reflect.DeepEqual(visit.Session, two.Session) {
			t.Errorf("got %+v and %v, want %+v", visit, err, two.Session)
		}
	})
}

func TestI7_ALoginOfAnotherUserEndsTheSessionAndStartsFromNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		bob := h.addUser(t, "bob")
		one := h.logIn(t, "alice", idp.SessionToken{})
		two := h.logIn(t, "bob", one.Token)
		if two.Session.ID == one.Session.ID || two.Session.UserID != bob.ID || h.alive(t, one.Token) {
			t.Errorf("the session of alice was taken over by bob")
		}
		const want = "session.ended user.added user.added user.signed_in user.signed_in"
		if got := h.kinds(t); got != want {
			t.Errorf("got events %s, want %s", got, want)
		}
	})
}

func TestTwoLoginsInOneBrowserLeaveOneSession(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		start := h.logIn(t, "alice", idp.SessionToken{})
		var won []idp.SignedIn
		var mu sync.Mutex
		var tabs sync.WaitGroup
		for range 2 {
			tabs.Go(func() {
				s, err := h.LogIn(from(t, "192.0.2.1", start.Token), &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: alicePassword})
				if err == nil {
					mu.Lock()
					won = append(won, s)
					mu.Unlock()
				} else if idp.KindOf(err) != idp.Stale {
					t.Errorf("got %v, want Stale", err)
				}
			})
		}
		tabs.Wait()
		alive := 0
		for _, s := range won {
			if h.alive(t, s.Token) {
				alive++
			}
		}
		if list, _ := h.Sessions(t.Context(), start.User.ID, idp.ID{}, 0); alive == 0 || len(list) != alive {
			t.Errorf("%d logins, %d tokens alive, %d sessions", len(won), alive, len(list))
		}
	})
}

// during runs something between the reading of the credentials and the writing of the session.
type during struct {
	idp.Store
	then func()
}

func (d *during) Credentials(ctx context.Context, key string) (idp.User, idp.Authenticator, error) {
	u, a, err := d.Store.Credentials(ctx, key)
	if then := d.then; then != nil {
		d.then = nil
		then()
	}
	return u, a, err
}

func TestI2_ALoginThatWasHashingWhileThePasswordChangedIsDeadOnArrival(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		for name, deed := range map[string]func(h *house, id idp.ID) error{
			"set password": func(h *house, id idp.ID) error {
				return h.SetPassword(context.Background(), id, "another horse battery")
			},
			"disable": func(h *house, id idp.ID) error { return h.DisableUser(context.Background(), id) },
			"disable and enable": func(h *house, id idp.ID) error {
				return errors.Join(h.DisableUser(context.Background(), id), h.EnableUser(context.Background(), id))
			},
		} {
			for _, renewed := range []bool{false, true} {
				t.Run(fmt.Sprint(name, ", renewed ", renewed), func(t *testing.T) {
					slow := &during{Store: s}
					h := open(t, slow)
					u := h.addUser(t, "user-"+fmt.Sprint(renewed)+"-"+strings.ReplaceAll(name, " ", "-"))
					var token idp.SessionToken
					if renewed {
						token = h.logIn(t, u.Username, idp.SessionToken{}).Token
					}
					slow.then = func() {
						if err := deed(h, u.ID); err != nil {
							t.Errorf("%s: %v", name, err)
						}
					}
					in, err := h.LogIn(from(t, "192.0.2.1", token), &idp.Interaction{}, idp.LogIn{Identifier: u.Username, Password: alicePassword})
					if err == nil && h.alive(t, in.Token) {
						t.Error("the attacker's session is alive after its owner acted")
					}
				})
			}
		}
	})
}

func TestS0_04_FailedLoginsAreLimitedByAccountHoweverItIsNamed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		names := []string{"alice", "ALICE", "alice@example.com", " alice ", "a\u200blice"}
		for i, name := range names {
			_, err := h.tryLogIn(t, fmt.Sprintf("192.0.2.%d", i), name, "wrong password")
			wantError(t, err, idp.Denied, "invalid_credentials", "")
		}
		_, err := h.tryLogIn(t, "192.0.2.9", "alice", alicePassword)
		wantError(t, err, idp.Throttled, "throttled", "")
		if e, _ := errors.AsType[*idp.Error](err); e.RetryAfter != 5*time.Minute {
			t.Errorf("got RetryAfter %s, want 5m", e.RetryAfter)
		}
		h.clock.turn(5 * time.Minute)
		if _, err := h.tryLogIn(t, "192.0.2.9", "alice", alicePassword); err != nil {
			t.Errorf("after the window: %v", err)
		}
	})
}

func TestS0_17_UnknownNamesAreLimitedLikeKnownOnes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		for _, name := range []string{"alice", "zoe", "zoe@example.com"} {
			var codes []string
			for i := range 7 {
				_, err := h.tryLogIn(t, fmt.Sprintf("192.0.2.%d", i), name, "wrong password")
				codes = append(codes, idp.CodeOf(err))
			}
			want := strings.Repeat("invalid_credentials ", 5) + "throttled throttled"
			if got := strings.Join(codes, " "); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
			h.clock.turn(time.Minute)
		}
	})
}

func TestI15_ASuccessfulLoginClearsNothingButItsOwnReservation(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "mallory")
		for i := range 10 {
			if _, err := h.tryLogIn(t, "203.0.113.66", fmt.Sprint("victim", i), "wrong password"); idp.CodeOf(err) != "invalid_credentials" {
				t.Fatalf("attempt %d: %v", i, err)
			}
			if i < 9 {
				if _, err := h.tryLogIn(t, "203.0.113.66", "mallory", alicePassword); err != nil {
					t.Fatalf("own login %d: %v", i, err)
				}
			}
		}
		_, err := h.tryLogIn(t, "203.0.113.66", "victim10", "wrong password")
		wantError(t, err, idp.Throttled, "throttled", "")
	})
}

func TestS0_03_LoginsAreLimitedByAddressWhateverComesOfThem(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		for range 30 {
			h.logIn(t, "alice", idp.SessionToken{})
		}
		_, err := h.tryLogIn(t, "192.0.2.1", "alice", alicePassword)
		wantError(t, err, idp.Throttled, "throttled", "")
		if _, err := h.tryLogIn(t, "192.0.2.2", "alice", alicePassword); err != nil {
			t.Errorf("another address: %v", err)
		}
	})
}

func TestS0_01_LimitsCanBeSwitchedOff(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), func(c *config.Config) { c.RateLimits.Off = true })
	for range 40 {
		_, err := h.tryLogIn(t, "192.0.2.1", "zoe", "wrong password")
		wantError(t, err, idp.Denied, "invalid_credentials", "")
	}
}

func TestS0_16_AThrottledLoginHashesNothing(t *testing.T) {
	counter := &storagetest.Counter{}
	storagetest.EachOptions(t, storage.Options{OnStatement: counter.Note}, func(t *testing.T, s *storage.Store) {
		h := open(t, s, func(c *config.Config) { c.RateLimits.Login = "0/m/ip" })
		h.addUser(t, "alice")
		counter.Take()
		_, err := h.tryLogIn(t, "192.0.2.1", "alice", alicePassword)
		wantError(t, err, idp.Throttled, "throttled", "")
		if sent := counter.Take(); len(sent) != 1 { // to find the account
			t.Errorf("got %d statements, want 1: %q", len(sent), sent)
		}
	})
}

func TestI21_FailuresAnswerAtTheNextMultipleOf100Milliseconds(t *testing.T) {
	s := storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
	slow := &during{Store: s}
	h := open(t, slow)
	h.addUser(t, "alice")
	for _, took := range []time.Duration{0, 1, 30 * time.Millisecond, 100 * time.Millisecond, 130 * time.Millisecond} {
		slow.then = func() { h.clock.turn(took) }
		if _, err := h.tryLogIn(t, "192.0.2.1", fmt.Sprint("zoe", took), "wrong"); idp.CodeOf(err) != "invalid_credentials" {
			t.Fatal(err)
		}
	}
	want := []time.Duration{100*time.Millisecond - 1, 70 * time.Millisecond, 70 * time.Millisecond}
	if !reflect.DeepEqual(h.waits.list, want) {
		t.Errorf("got waits %v, want %v", h.waits.list, want)
	}
	slow.then = func() { h.clock.turn(30 * time.Millisecond) }
	h.logIn(t, "alice", idp.SessionToken{})
	if len(h.waits.list) != len(want) {
		t.Error("a success waits")
	}
}

// arming is a store that lets a hurried visitor count once the gate is passed, which takes a while.
type arming struct {
	idp.Store
	visitor *hurried
	clock   *clock
}

func (a *arming) ReserveCounters(ctx context.Context, c []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	outcomes, err := a.Store.ReserveCounters(ctx, c, now)
	a.visitor.waits.Store(0)
	a.clock.turn(30 * time.Millisecond)
	return outcomes, err
}

// A hurried visitor is a request whose sender leaves as the second hash begins to wait, which asks
// whether its sender is there still.
type hurried struct {
	context.Context
	leave context.CancelFunc
	waits atomic.Int32
}

func (v *hurried) Err() error {
	if v.waits.Add(1) == 2 {
		v.leave()
	}
	return v.Context.Err()
}

func TestI15_WhoLeavesOnceThePasswordWasVerifiedHasFailed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		h := open(t, s)
		h.addUser(t, "alice")
		h.cfg.Password.Argon2.Time = 2
		for range 5 {
			ctx, leave := context.WithCancel(from(t, "192.0.2.1", idp.SessionToken{}))
			visitor := &hurried{Context: ctx, leave: leave}
			visitor.waits.Store(-1000) // the store asks, too, before the gate
			h.store = &arming{s, visitor, h.clock}
			h.reopen(t)
			if _, err := h.LogIn(visitor, &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: "wrong password"}); err == nil || ctx.Err() == nil {
				t.Fatalf("got %v, and the visitor left: %v", err, ctx.Err())
			}
		}
		events, err := h.Events(t.Context(), idp.ID{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := h.waits.list, slices.Repeat([]time.Duration{70 * time.Millisecond}, 5); !slices.Equal(got, want) {
			t.Errorf("the answers waited %v, want %v", got, want)
		}
		failures := slices.DeleteFunc(events, func(e idp.Event) bool { return e.Kind != "user.sign_in_failed" })
		if len(failures) != 5 {
			t.Errorf("got %d events of failures, want 5", len(failures))
		}
		_, err = h.tryLogIn(t, "192.0.2.9", "alice", alicePassword)
		wantError(t, err, idp.Throttled, "throttled", "")
	})
}

func TestAPasswordOfOldParametersIsHashedAnewAtLogin(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		h.cfg.Password.Argon2.Time = 2
		h.reopen(t)
		if _, err := h.tryLogIn(t, "192.0.2.1", "alice", "wrong password"); idp.CodeOf(err) != "invalid_credentials" {
			t.Fatal(err)
		}
		if a, _ := h.store.Password(t.Context(), u.ID); !strings.Contains(a.Secret, "t=1") {
			t.Errorf("a failed login changed the hash to %s", a.Secret)
		}
		before := h.logIn(t, "alice", idp.SessionToken{})
		a, err := h.store.Password(t.Context(), u.ID)
		if err != nil || !strings.HasPrefix(a.Secret, "$argon2id$v=19$m=64,t=2,p=1$") {
			t.Errorf("got %s and %v, want today's parameters", a.Secret, err)
		}
		if !h.alive(t, before.Token) {
			t.Error("the session died of the new hash")
		}
		h.logIn(t, "alice", idp.SessionToken{})
	})
}

// leaver cancels its visitor's request once the gate is passed.
type leaver struct {
	idp.Store
	leave func()
}

func (l *leaver) ReserveCounters(ctx context.Context, c []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	outcomes, err := l.Store.ReserveCounters(ctx, c, now)
	if l.leave != nil {
		l.leave()
	}
	return outcomes, err
}

func TestI16_OneWhoLeavesTheHashQueueHasNotFailed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		store := &leaver{Store: s}
		h := open(t, store)
		h.addUser(t, "alice")
		for range 8 { // more than the account's budget of 5
			ctx, leave := context.WithCancel(from(t, "192.0.2.1", idp.SessionToken{}))
			store.leave = leave
			_, err := h.LogIn(ctx, &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: "wrong password"})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want the error of one who left", err)
			}
		}
		store.leave = nil
		h.logIn(t, "alice", idp.SessionToken{})
	})
}

func TestAFullHashQueueIsUnavailableForAMoment(t *testing.T) {
	err := idp.Hashing("verify a password", &secret.Busy{RetryAfter: 2 * time.Second})
	wantError(t, err, idp.Unavailable, "busy", "")
	if e, _ := errors.AsType[*idp.Error](err); e.RetryAfter != 2*time.Second {
		t.Errorf("got RetryAfter %s, want 2s", e.RetryAfter)
	}
}

func TestALoginThatCannotCountOrRecordIsRefused(t *testing.T) {
	s := storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
	h := open(t, broken{s})
	h.addUser(t, "alice")
	for name, password := range map[string]string{"right": alicePassword, "wrong": "wrong password"} {
		_, err := h.tryLogIn(t, "192.0.2.1", "alice", password)
		if idp.KindOf(err) != idp.Unavailable {
			t.Errorf("%s: got %v, want Unavailable", name, err)
		}
	}
}

// broken is a store that counts nothing.
type broken struct{ idp.Store }

func (broken) ReserveCounters(context.Context, []guard.Counter, time.Time) ([]guard.Outcome, error) {
	return nil, errAway
}
