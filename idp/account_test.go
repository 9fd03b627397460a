package idp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// grantIn gives rp a grant in a session, whose refresh token is at generation 1.
func (h *house) grantIn(t testing.TB, s idp.SignedIn) *family {
	t.Helper()
	f := &family{house: h, session: s}
	f.grant = f.newGrant()
	f.grant.Facts.Nonce = s.Session.ID.String()
	if err := h.AddGrant(t.Context(), f.grant, &idp.Interaction{}); err != nil {
		t.Fatal(err)
	}
	v := f.visit(t)
	h.StartRefresh(v)
	if done, err := h.RedeemCode(t.Context(), v.Grant); err != nil || !done {
		t.Fatalf("redeem the code: %v, %v", done, err)
	}
	return f
}

// refreshes tells what becomes of the refresh token of f: "" where it gives another.
func (f *family) refreshes(t testing.TB) string {
	t.Helper()
	_, _, err := f.show(t, f.visit(t).Grant.RefreshGen, 1)
	if err != nil && idp.CodeOf(err) == "" {
		t.Fatal(err)
	}
	return idp.CodeOf(err)
}

func TestS0_38_S0_77_S1_21_APasswordChangeEndsEveryOtherSessionAndRefreshTokenAtTheirNextUse(t *testing.T) {
	for name, ends := range map[string]bool{"by default": true, "kept by the settings": false} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				m := h.withPostman(t)
				h.addUser(t, "alice")
				h.addClientNamed(t, "rp")
				a, b, c := h.enter(t, 1, "alice", alicePassword), h.enter(t, 2, "alice", alicePassword), h.enter(t, 3, "alice", alicePassword)
				work := h.addAddress(t, m, 1, a, "alice@work.example")
				if err := h.RequestReset(by(t, 9, idp.SessionToken{}), &idp.Interaction{}, "alice"); err != nil {
					t.Fatal(err)
				}
				reset := tokenOf(h.only(t, m, "reset").Args["link"])
				bound, other := h.grantIn(t, b), h.grantIn(t, c)

				_, err := h.ChangePassword(by(t, 1, a.Token), h.visitOf(t, a), "", newPassword)
				wantError(t, err, idp.Denied, "invalid_credentials", "password")
				changed, err := h.ChangePassword(by(t, 1, a.Token), h.visitOf(t, a), alicePassword, newPassword)
				if err != nil {
					t.Fatal(err)
				}
				if h.alive(t, a.Token) || !h.alive(t, changed.Token) || changed.Session.ID != a.Session.ID {
					t.Error("the present session is not the same one with another secret")
				}
				if h.alive(t, b.Token) == ends || h.alive(t, c.Token) == ends {
					t.Errorf("the others live: %v, %v", h.alive(t, b.Token), h.alive(t, c.Token))
				}
				want := map[bool]string{true: "invalid_grant"}[ends]
				if got, got2 := bound.refreshes(t), other.refreshes(t); got != want || got2 != want {
					t.Errorf("their refresh tokens: %q and %q, want %q", got, got2, want)
				}
				if got := recipients(h.sent(t, m, "password_changed")); got != "alice@example.com "+work.Address {
					t.Errorf("told %s, want all verified addresses", got)
				}
				wantError(t, h.ResetPassword(by(t, 9, idp.SessionToken{}), &idp.Interaction{}, reset, "yet another long one"), idp.Denied, "link_over", "")
				h.enter(t, 4, "alice", newPassword)
			}, func(cfg *config.Config) { cfg.Sessions.EndOnPasswordChange = ends })
		})
	}
}

func TestI2_ALoginThatWasHashingWhileThePasswordChangedIsDeadWhereOthersAreKept(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		a, b := h.enter(t, 1, "alice", alicePassword), h.enter(t, 2, "alice", alicePassword)
		stale := h.visitOf(t, b)
		if _, err := h.ChangePassword(by(t, 1, a.Token), h.visitOf(t, a), alicePassword, newPassword); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ChangePassword(by(t, 2, b.Token), stale, newPassword, "yet another long one"); idp.KindOf(err) != idp.Stale {
			t.Errorf("with a page from before: got %v, want Stale", err)
		}
	}, func(cfg *config.Config) { cfg.Sessions.EndOnPasswordChange = false })
}

func TestS0_77_TheFirstPasswordWantsAFreshProofAndIsTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u, err := h.AddUser(t.Context(), idp.NewUser{Username: "paul", Email: "paul@example.com", EmailVerified: true})
		if err != nil {
			t.Fatal(err)
		}
		s := h.liveSession(t, u)
		h.clock.turn(time.Hour)
		_, err = h.ChangePassword(by(t, 1, s.Token), h.visitOf(t, s), "", newPassword)
		wantError(t, err, idp.Denied, "reauthenticate", "")
		h.clock.turn(-time.Hour)
		if _, err := h.ChangePassword(by(t, 1, s.Token), h.visitOf(t, s), "", newPassword); err != nil {
			t.Fatal(err)
		}
		h.only(t, m, "password_set")
		if list := h.sent(t, m, "password_changed"); len(list) != 0 {
			t.Errorf("told as well %+v", list)
		}
		h.enter(t, 2, "paul", newPassword)
	})
}

// liveSession is one of a user who may have no password.
func (h *house) liveSession(t testing.TB, u idp.User) idp.SignedIn {
	t.Helper()
	if err := h.SetPassword(t.Context(), h.addUser(t, "lender").ID, alicePassword); err != nil {
		t.Fatal(err)
	}
	lent := h.enter(t, 1, "lender", alicePassword)
	s := lent.Session
	s.ID, s.UserID, s.Epoch = idp.NewID(h.Now()), u.ID, u.Epoch
	if err := h.store.AddSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	lent.Session, lent.User, lent.Token.ID = s, u, s.ID
	return lent
}

func TestS0_58_S0_60_OwnSessionsAreListedAndEndedAndNobodyElses(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		h.addClientNamed(t, "rp")
		a := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Minute)
		b := h.enter(t, 2, "alice", alicePassword)
		h.clock.turn(time.Minute)
		c := h.enter(t, 3, "alice", alicePassword)
		bob := h.enter(t, 4, "bob", alicePassword)
		f := h.grantIn(t, b)
		own, err := h.OwnSessions(t.Context(), h.visitOf(t, a))
		if err != nil || len(own) != 3 || own[0].ID != c.Session.ID || !own[2].Current || own[0].Current ||
			own[1].Address != "192.0.2.2" || !reflect.DeepEqual(own[1].AMR(), []string{"pwd"}) {
			t.Fatalf("got %+v, %v, want three, the last one current", own, err)
		}
		if len(own[1].Apps) != 1 || own[1].Apps[0].ID != "rp" || len(own[0].Apps) != 0 {
			t.Errorf("the apps are %+v", own[1].Apps)
		}
		if _, err := h.EndOwnSession(by(t, 4, bob.Token), h.visitOf(t, bob), b.Session.ID); !errors.Is(err, idp.ErrNotFound) || !h.alive(t, b.Token) {
			t.Errorf("bob ends alice's: got %v, want ErrNotFound and no effect", err)
		}
		if _, err := h.EndOwnSession(by(t, 1, a.Token), h.visitOf(t, a), idp.NewID(noon)); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("nobody's: got %v, want ErrNotFound", err)
		}
		if n, err := h.EndOwnSession(by(t, 1, a.Token), h.visitOf(t, a), b.Session.ID); n != 1 || err != nil {
			t.Fatalf("ended %d, %v", n, err)
		}
		if h.alive(t, b.Token) || !h.alive(t, c.Token) || f.refreshes(t) != "invalid_grant" {
			t.Error("the session or its refresh token lives, or another one does not")
		}
		if n, err := h.EndOwnSession(by(t, 1, a.Token), h.visitOf(t, a), idp.ID{}); n != 1 || err != nil || h.alive(t, c.Token) || !h.alive(t, a.Token) || !h.alive(t, bob.Token) {
			t.Errorf("all others: ended %d, %v", n, err)
		}
	})
}

func TestS0_60_TheRefreshTokensOfAnEndedSessionDieWithOfflineAccessToo(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addClientNamed(t, "rp")
		a, b := h.enter(t, 1, "alice", alicePassword), h.enter(t, 2, "alice", alicePassword)
		f := &family{house: h, session: b}
		f.grant = f.newGrant()
		f.grant.SessionBound = false
		if err := h.AddGrant(t.Context(), f.grant, &idp.Interaction{}); err != nil {
			t.Fatal(err)
		}
		v := f.visit(t)
		h.StartRefresh(v)
		if done, err := h.RedeemCode(t.Context(), v.Grant); err != nil || !done {
			t.Fatal(done, err)
		}
		if _, err := h.EndOwnSession(by(t, 1, a.Token), h.visitOf(t, a), b.Session.ID); err != nil {
			t.Fatal(err)
		}
		if got := f.refreshes(t); got != "invalid_grant" {
			t.Errorf("got %q, want invalid_grant", got)
		}
	})
}

func TestS1_22_SigningOutKillsSessionAndRefreshTokenOnTheServer(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addClientNamed(t, "rp")
		s := h.enter(t, 1, "alice", alicePassword)
		f := h.grantIn(t, s)
		if err := h.SignOut(by(t, 1, s.Token), h.visitOf(t, s)); err != nil {
			t.Fatal(err)
		}
		if h.alive(t, s.Token) || f.refreshes(t) != "invalid_grant" {
			t.Error("a replay of either works")
		}
	})
}

func TestAppsAreThoseThatWereAllowedOrHaveTokensUntilTheyAreRevoked(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addClientNamed(t, "rp")
		s := h.enter(t, 1, "alice", alicePassword)
		v := h.visitOf(t, s)
		if apps, err := h.Apps(t.Context(), v); err != nil || len(apps) != 0 {
			t.Errorf("got %+v, %v, want none", apps, err)
		}
		in := &idp.Interaction{Request: idp.Request{ClientID: "rp", Scopes: idp.List{"openid", "email"}}}
		if err := h.GiveConsent(by(t, 1, s.Token), in, v); err != nil {
			t.Fatal(err)
		}
		f := &family{house: h, session: s}
		f.grant = f.newGrant()
		f.grant.ConsentVersion = in.Consented
		if err := h.AddGrant(t.Context(), f.grant, &idp.Interaction{}); err != nil {
			t.Fatal(err)
		}
		gv := f.visit(t)
		h.StartRefresh(gv)
		if done, err := h.RedeemCode(t.Context(), gv.Grant); err != nil || !done {
			t.Fatal(done, err)
		}
		apps, err := h.Apps(t.Context(), v)
		if err != nil || len(apps) != 1 || apps[0].Client.ID != "rp" || apps[0].Tokens != 1 || !slices.Contains(apps[0].Consent.Scopes, "email") {
			t.Fatalf("got %+v, %v", apps, err)
		}
		if err := h.RevokeApp(by(t, 1, s.Token), v, "rp"); err != nil {
			t.Fatal(err)
		}
		if apps, err := h.Apps(t.Context(), v); err != nil || len(apps) != 0 || f.refreshes(t) != "invalid_grant" {
			t.Errorf("got %+v, %v, want none, and no token", apps, err)
		}
		if err := h.RevokeApp(by(t, 1, s.Token), v, "nobody"); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("nobody's: got %v, want ErrNotFound", err)
		}
	})
}

func TestAProfileIsChangedAndNothingBesideIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u, err := h.AddUser(t.Context(), idp.NewUser{
			Username: "alice", Email: "alice@example.com", EmailVerified: true, Password: alicePassword, Groups: idp.List{"staff"},
			Profile: idp.Profile{PreferredUsername: "alice", PhoneNumber: "+1 604 555 1234", PhoneVerified: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := h.enter(t, 1, "alice", alicePassword)
		wantError(t, h.ChangeProfile(by(t, 1, s.Token), h.visitOf(t, s), idp.Profile{Birthdate: "yesterday"}), idp.Invalid, "date_invalid", "birthdate")
		change := idp.Profile{Name: "Alice", PreferredUsername: "root", PhoneNumber: "+1 604 555 1234"}
		if err := h.ChangeProfile(by(t, 1, s.Token), h.visitOf(t, s), change); err != nil {
			t.Fatal(err)
		}
		if err := h.ChooseLocale(by(t, 1, s.Token), h.visitOf(t, s), "de"); err != nil {
			t.Fatal(err)
		}
		wantError(t, h.ChooseLocale(by(t, 1, s.Token), h.visitOf(t, s), "no language"), idp.Invalid, "locale_invalid", "locale")
		got, err := h.FindUser(t.Context(), "alice")
		want := u
		want.Profile = idp.Profile{Name: "Alice", PreferredUsername: "alice", PhoneNumber: "+1 604 555 1234", PhoneVerified: true}
		want.Locale, want.UpdatedAt = "de", got.UpdatedAt
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		change.PhoneNumber = "+1 604 555 9999"
		if err := h.ChangeProfile(by(t, 1, s.Token), h.visitOf(t, s), change); err != nil {
			t.Fatal(err)
		}
		if got, err := h.FindUser(t.Context(), "alice"); err != nil || got.Profile.PhoneVerified {
			t.Errorf("another number is verified: %+v, %v", got.Profile, err)
		}
		events, err := h.Activity(t.Context(), h.visitOf(t, s), idp.ID{}, 10)
		if err != nil || len(events) == 0 || !slices.ContainsFunc(events, func(e idp.Event) bool { return e.Kind == "user.profile_changed" }) {
			t.Errorf("the activity is %+v, %v", events, err)
		}
	})
}

func TestADownloadHasEverythingOfAUserAndNoSecretAndNothingOfOthers(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		h.addUser(t, "bob")
		h.enter(t, 2, "bob", alicePassword)
		h.failLogIn(t, "alice", "not her password")
		s := h.enter(t, 1, "alice", alicePassword)
		all, err := h.Personal(by(t, 1, s.Token), h.visitOf(t, s))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{u.ID.String(), "alice@example.com", "192.0.2.1", "wrong_password", "user.signed_in"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("there is no %s", want)
			}
		}
		for _, secret := range []string{"argon2", "bob", "secret_hash", "SecretHash", fmt.Sprintf("%x", s.Session.SecretHash)} {
			if strings.Contains(string(text), secret) {
				t.Errorf("there is %s", secret)
			}
		}
	})
}

func TestTheChecklistTellsWhatAnAccountLacks(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Second)
		h.enter(t, 2, "alice", alicePassword)
		got, err := h.Checklist(t.Context(), h.visitOf(t, s))
		if want := (idp.Checklist{HasPassword: true, EmailVerified: true, OtherSessions: 1, UnknownDevices: 1}); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestS0_80_AnAccountIsOffAtOnceComesBackByTheLinkAndIsGoneAfterTheGrace(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		at, err := h.DeleteOwn(by(t, 1, s.Token), h.visitOf(t, s))
		if err != nil || !at.Equal(noon.Add(30*24*time.Hour)) {
			t.Fatalf("got %v, %v", at, err)
		}
		mail := h.only(t, m, "account_deletion")
		if mail.To != "alice@example.com" || mail.Args["until"] != at.Format(time.RFC3339) {
			t.Errorf("told %+v", mail)
		}
		if h.alive(t, s.Token) {
			t.Error("the session lives")
		}
		if _, err := h.tryLogIn(t, "192.0.2.1", "alice", alicePassword); idp.CodeOf(err) != "account_disabled" {
			t.Errorf("signing in: got %v, want account_disabled", err)
		}
		link := tokenOf(mail.Args["link"])
		if err := h.Undelete(by(t, 1, idp.SessionToken{}), link); err != nil {
			t.Fatal(err)
		}
		wantError(t, h.Undelete(by(t, 1, idp.SessionToken{}), link), idp.Denied, "link_over", "")
		s = h.enter(t, 1, "alice", alicePassword)
		if _, err := h.DeleteOwn(by(t, 1, s.Token), h.visitOf(t, s)); err != nil {
			t.Fatal(err)
		}
		h.clock.turn(30*24*time.Hour - time.Second)
		if err := idp.DeleteDue(h.Provider, t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.FindUser(t.Context(), u.ID.String()); err != nil {
			t.Errorf("a second too early: %v", err)
		}
		h.clock.turn(time.Second)
		if err := idp.DeleteDue(h.Provider, t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.FindUser(t.Context(), u.ID.String()); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("after the grace: got %v, want ErrNotFound", err)
		}
		h.only(t, m, "account_deleted")
	})
}

func TestWhoIsDisabledWhileTheyWaitToBeDeletedDoesNotComeBackByTheLink(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		if _, err := h.DeleteOwn(by(t, 1, s.Token), h.visitOf(t, s)); err != nil {
			t.Fatal(err)
		}
		link := tokenOf(h.only(t, m, "account_deletion").Args["link"])
		if err := h.DisableUser(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		wantError(t, h.Undelete(by(t, 1, idp.SessionToken{}), link), idp.Denied, "link_over", "")
		if err := h.EnableUser(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		if got, err := h.FindUser(t.Context(), "alice"); err != nil || got.DeleteAt != nil || got.Status != idp.Active {
			t.Errorf("got %+v, %v, want her there to stay", got, err)
		}
	})
}

func TestS0_80_WithoutAGraceAnAccountIsGoneAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		if _, err := h.DeleteOwn(by(t, 1, s.Token), h.visitOf(t, s)); err != nil {
			t.Fatal(err)
		}
		if _, err := h.FindUser(t.Context(), u.ID.String()); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		h.only(t, m, "account_deleted")
	}, func(cfg *config.Config) { cfg.Account.DeleteGrace = 0 })
}

func TestS0_80_AUserIsToldWhatAnOperatorChangesAndNothingOfTheOperator(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		ctx := by(t, 200, idp.SessionToken{})
		if err := h.SetPassword(ctx, u.ID, newPassword); err != nil {
			t.Fatal(err)
		}
		if mail := h.only(t, m, "admin_changed"); mail.Args["changes"] != "password" || mail.Args["address"] != "" || mail.Args["user_agent"] != "" {
			t.Errorf("told %+v", mail)
		}
		if err := h.DisableUser(ctx, u.ID); err != nil {
			t.Fatal(err)
		}
		h.only(t, m, "account_disabled")
		if err := h.EnableUser(ctx, u.ID); err != nil {
			t.Fatal(err)
		}
		if list := h.sent(t, m, "admin_changed"); len(list) != 2 || list[1].Args["changes"] != "status" {
			t.Errorf("told %+v", list)
		}
	})
}

func TestS0_80_EachOfWhatElseConcernsSecurityIsOneMail(t *testing.T) {
	t.Parallel()
	operator := func(deed func(h *house, id idp.ID) error) func(*testing.T, *house, *family) error {
		return func(_ *testing.T, h *house, f *family) error { return deed(h, f.session.User.ID) }
	}
	for what, c := range map[string]struct {
		does func(t *testing.T, h *house, f *family) error
		kind string
		arg  string // of the mail that names what it was, NAME=VALUE
	}{
		"an app that is new": {func(t *testing.T, h *house, f *family) error {
			f.allow(t, asking(idp.List{"openid"}))
			return nil
		}, "consent_given", "app=Relying Party"},
		"a refresh token that was used twice": {func(t *testing.T, h *house, f *family) error {
			f.want(t, 1, honest, idp.Rotate, 2)
			f.want(t, 2, honest, idp.Rotate, 3)
			h.clock.turn(11 * time.Second)
			f.wantRefused(t, 1, other, true)
			return nil
		}, "refresh_reuse", "app=Relying Party"},
		"a lock": {func(t *testing.T, h *house, f *family) error {
			h.codes(t, 4, "192.0.2.1", "alice", "wrong password")
			return nil
		}, "lockout", "username=alice"},
		"a deletion that was asked for": {func(t *testing.T, h *house, f *family) error {
			_, err := h.DeleteOwn(by(t, 1, f.session.Token), h.visitOf(t, f.session))
			return err
		}, "account_deletion", "until=2026-03-31T12:00:00Z"},
		"a password that an operator assigned": {operator(func(h *house, id idp.ID) error {
			return h.SetPassword(context.Background(), id, newPassword)
		}), "admin_changed", "changes=password"},
		"sessions that an operator ended": {operator(func(h *house, id idp.ID) error {
			_, err := h.EndSessions(context.Background(), id)
			return err
		}), "admin_changed", "changes=sessions"},
		"an address that an operator confirmed": {operator(func(h *house, id idp.ID) error {
			now := h.Now()
			e := idp.Email{ID: idp.NewID(now), UserID: id, Address: "a@x.example", Key: "a@x.example", CreatedAt: now}
			if err := h.store.AddEmail(context.Background(), e); err != nil {
				return err
			}
			if _, err := h.ConfirmEmail(context.Background(), id, ""); err != nil { // it is: nothing to tell
				return err
			}
			_, err := h.ConfirmEmail(context.Background(), id, "a@x.example")
			return err
		}), "admin_changed admin_changed", "changes=email"}, // one to each address
		"an account that was disabled": {operator(func(h *house, id idp.ID) error {
			return h.DisableUser(context.Background(), id)
		}), "account_disabled", "name=alice"},
		"an account that was deleted": {operator(func(h *house, id idp.ID) error {
			return h.DeleteUser(context.Background(), id)
		}), "account_deleted", "name=alice"},
	} {
		t.Run(what, func(t *testing.T) {
			h := small(t, lockoutAlone("username:3/1h"))
			m := h.withPostman(t)
			f := newFamily(t, h)
			if err := c.does(t, h, f); err != nil {
				t.Fatal(err)
			}
			h.doJobs(t)
			name, want, _ := strings.Cut(c.arg, "=")
			if got := m.kinds(); got != c.kind {
				t.Fatalf("sent %q, want %s", got, c.kind)
			}
			to := slices.IndexFunc(m.mails, func(m idp.Mail) bool { return m.To == "alice@example.com" })
			if to < 0 || m.mails[to].Args[name] != want {
				t.Errorf("sent %+v, want %s to alice", m.mails, c.arg)
			}
		})
	}
}

func TestS0_76_WhileNoMailCanBeSentEverythingWorksAndItIsSentLater(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		m.fails = errors.New("421 closing")
		s := h.enter(t, 1, "alice", alicePassword)
		if _, err := h.ChangePassword(by(t, 1, s.Token), h.visitOf(t, s), alicePassword, newPassword); err != nil {
			t.Fatal(err)
		}
		h.doJobs(t)
		h.enter(t, 1, "alice", newPassword)
		m.fails = nil
		h.clock.turn(5 * time.Minute)
		mail := h.only(t, m, "password_changed")
		if !mail.At.Equal(noon) || mail.Args["address"] != "192.0.2.1" || mail.Args["user_agent"] != "Browser/1" {
			t.Errorf("sent %+v, want when and from where it was", mail)
		}
	})
}
