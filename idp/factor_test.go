package idp_test

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"

	"postern/config"
	"postern/idp"
)

// An app is an authenticator app as its user has it.
type app struct {
	h   *house
	key []byte
}

// code is what the app shows `steps` time steps from now.
func (a app) code(t testing.TB, steps int64) string {
	t.Helper()
	code, err := idp.TOTPCode(a.key, otp.AlgorithmSHA1, 6, a.h.Now().Unix()/30+steps)
	if err != nil {
		t.Fatalf("make a code: %v", err)
	}
	return code
}

// setUpApp begins with an app for the user of v and reads its secret.
func (h *house) setUpApp(t testing.TB, ctx context.Context, v *idp.Visit) app {
	t.Helper()
	if err := h.BeginTOTP(ctx, v); err != nil {
		t.Fatalf("begin with an app: %v", err)
	}
	return h.shownApp(t, ctx, v)
}

func (h *house) shownApp(t testing.TB, ctx context.Context, v *idp.Visit) app {
	t.Helper()
	setup, err := h.TOTPSetup(ctx, v)
	if err != nil {
		t.Fatalf("show an app its secret: %v", err)
	}
	key, err := base32.StdEncoding.DecodeString(strings.ReplaceAll(setup.Secret, " ", ""))
	if err != nil {
		t.Fatalf("read the secret %q: %v", setup.Secret, err)
	}
	return app{h, key}
}

// addApp gives the user of s an app, and then half a minute to pass, so that its next code is another one.
func (h *house) addApp(t testing.TB, browser byte, s idp.SignedIn) (app, idp.Enrolled) {
	t.Helper()
	ctx, v := by(t, browser, s.Token), h.visitOf(t, s)
	a := h.setUpApp(t, ctx, v)
	made, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, 0))
	if err != nil {
		t.Fatalf("confirm an app: %v", err)
	}
	h.clock.turn(30 * time.Second)
	return a, made
}

// enterPending signs a user in who owes a second factor, in a browser.
func (h *house) enterPending(t testing.TB, browser byte, name string) (context.Context, *idp.Interaction, *idp.Visit) {
	t.Helper()
	in := h.BeginOwn("/")
	s, err := h.LogIn(by(t, browser, idp.SessionToken{}), in, idp.LogIn{Identifier: name, Password: alicePassword})
	if err != nil || s.Session.State != idp.Pending || h.alive(t, s.Token) {
		t.Fatalf("log in as %s: got %+v and %v, want a pending session", name, s.Session, err)
	}
	visitor := *idp.VisitorFrom(by(t, browser, idp.SessionToken{}))
	visitor.Pending = s.Token
	ctx := idp.WithVisitor(t.Context(), &visitor)
	v, err := h.PendingVisit(ctx, "")
	if err != nil {
		t.Fatalf("find the pending session: %v", err)
	}
	return ctx, in, v
}

// bob adds bob, who has an app and recovery codes.
func (h *house) bob(t testing.TB) (app, idp.Enrolled) {
	t.Helper()
	h.addUser(t, "bob")
	return h.addApp(t, 1, h.enter(t, 1, "bob", alicePassword))
}

func (h *house) ownFactors(t testing.TB, s idp.SignedIn) idp.OwnFactors {
	t.Helper()
	own, err := h.OwnFactors(t.Context(), h.visitOf(t, s))
	if err != nil {
		t.Fatalf("list factors: %v", err)
	}
	return own
}

// asRequired asks a second factor of everybody.
func asRequired(cfg *config.Config) { cfg.MFA.Policy = "required" }

func TestS3_02_ADeletedUserLeavesNoFactorsAndNoCodes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, made := h.bob(t)
		if err := h.DeleteUser(t.Context(), made.User.ID); err != nil {
			t.Fatal(err)
		}
		list, err := h.store.Factors(t.Context(), made.User.ID)
		codes, err2 := h.store.RecoveryCodes(t.Context(), made.User.ID)
		if err != nil || err2 != nil || len(list) != 0 || len(codes) != 0 || h.alive(t, made.Token) {
			t.Errorf("left %d factors (%v) and %d codes (%v)", len(list), err, len(codes), err2)
		}
	})
}

func TestS3_03_EachUseOfAFactorIsDated(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		before := h.ownFactors(t, made.SignedIn).App.LastUsedAt
		h.clock.turn(time.Hour)
		ctx, in, v := h.enterPending(t, 2, "bob")
		if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil {
			t.Fatal(err)
		}
		after := h.ownFactors(t, made.SignedIn).App.LastUsedAt
		if before == nil || after == nil || !after.Equal(h.Now()) || !before.Before(*after) {
			t.Errorf("used at %v and then at %v, want the second at %v", before, after, h.Now())
		}
	})
}

func TestS3_20_S3_29_TheFirstFactorComesWithRecoveryCodesAndEndsWhatRestsOnLess(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "bob")
		elsewhere := h.enter(t, 2, "bob", alicePassword)
		s := h.enter(t, 1, "bob", alicePassword)
		other, own := h.addGrant(t, elsewhere, true), h.addGrant(t, s, false)
		if h.visitOf(t, s).User.HasFactor() {
			t.Fatal("there is a factor before the first")
		}
		_, made := h.addApp(t, 1, s)
		u := h.visitOf(t, made.SignedIn).User
		if !u.HasFactor() || !slices.Equal(u.Factors, idp.List{"totp"}) || len(made.RecoveryCodes) != 10 {
			t.Errorf("got %v with %d recovery codes, want totp with 10", u.Factors, len(made.RecoveryCodes))
		}
		if h.alive(t, elsewhere.Token) || h.alive(t, s.Token) || h.grantAlive(t, other) || h.grantAlive(t, own) {
			t.Error("what rested on the password alone goes on")
		}
		if made.Session.ID != s.Session.ID || !slices.Equal(made.Session.AMR(), []string{"pwd", "otp", "mfa"}) {
			t.Errorf("the present session is %s with %v", made.Session.ID, made.Session.AMR())
		}
		mail := h.only(t, m, "factor_added")
		if mail.To != "bob@example.com" || mail.Args["factor"] != "app" || mail.Args["not_me"] == "" {
			t.Errorf("mailed %+v", mail)
		}
		if got := h.event(t, "user.factor_added").Details; got["factor"] != "app" || got["sessions_ended"] != float64(1) {
			t.Errorf("the event tells %v", got)
		}
		h.event(t, "user.recovery_codes_made")
	})
}

func TestS0_63_S0_65_AFactorIsAddedWithAProofOfTheLastMinutesAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		a := h.setUpApp(t, ctx, v)
		h.clock.turn(6 * time.Minute)
		v = h.visitOf(t, s)
		wantError(t, h.BeginTOTP(ctx, v), idp.Denied, "reauthenticate", "")
		_, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, 0))
		wantError(t, err, idp.Denied, "reauthenticate", "")
		if h.visitOf(t, s).User.HasFactor() {
			t.Error("it was added all the same")
		}
		// With one, the password alone is no proof for more.
		s = h.enter(t, 1, "bob", alicePassword)
		_, made := h.addApp(t, 1, s)
		h.clock.turn(6 * time.Minute)
		again, err := h.Reauthenticate(by(t, 1, made.Token), h.visitOf(t, made.SignedIn), alicePassword)
		if err != nil {
			t.Fatal(err)
		}
		v = h.visitOf(t, again)
		wantError(t, h.BeginTOTP(ctx, v), idp.Denied, "reauthenticate", "")
		_, err = h.RemoveFactor(ctx, v, h.ownFactors(t, again).App.ID)
		wantError(t, err, idp.Denied, "reauthenticate", "")
		_, err = h.NewRecoveryCodes(ctx, v, h.ownFactors(t, again).Recovery.ID)
		wantError(t, err, idp.Denied, "reauthenticate", "")
		wantError(t, h.RenameFactor(ctx, v, h.ownFactors(t, again).App.ID, "Phone"), idp.Denied, "reauthenticate", "")
	})
}

func TestS3_38_AnUnprovedAddressComesBeforeAFactor(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUnverified(t)
		s := h.enter(t, 1, "dave", alicePassword)
		wantError(t, h.BeginTOTP(by(t, 1, s.Token), h.visitOf(t, s)), idp.Denied, "email_unverified", "")
	}, func(cfg *config.Config) { cfg.Email.Verification = "optional" })
}

func TestWhereThePolicyIsOffNobodyAddsAFactor(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		wantError(t, h.BeginTOTP(by(t, 1, s.Token), h.visitOf(t, s)), idp.Denied, "factors_off", "")
	}, func(cfg *config.Config) { cfg.MFA.Policy = "off" })
}

func TestI19_APendingSessionEnrolsWhereThatIsItsStepAndThenGoesOn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		ctx, in, v := h.enterPending(t, 1, "bob")
		a := h.setUpApp(t, ctx, v)
		made, err := h.ConfirmTOTP(ctx, in, v, a.code(t, 0))
		if err != nil || made.Session.State != idp.Live || !h.alive(t, made.Token) || len(made.RecoveryCodes) != 10 || made.Device == nil {
			t.Fatalf("got %+v and %v, want it live", made, err)
		}
		if in.Authenticated != made.Session.Authentication {
			t.Error("the interaction does not know of it")
		}
		// Whoever has one owes it, and adds no other with the password alone.
		h.clock.turn(time.Minute)
		ctx, in, v = h.enterPending(t, 2, "bob")
		wantError(t, h.BeginTOTP(ctx, v), idp.Stale, "session_changed", "")
		_, err = h.ConfirmTOTP(ctx, in, v, a.code(t, 0))
		wantError(t, err, idp.Stale, "session_changed", "")
	}, asRequired)
}

func TestI19_APendingSessionThatOwesSomethingElseAddsNoFactor(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "bob")
		if err := h.LendPassword(t.Context(), u.ID, alicePassword+"!"); err != nil {
			t.Fatal(err)
		}
		in := h.BeginOwn("/")
		s, err := h.LogIn(by(t, 1, idp.SessionToken{}), in, idp.LogIn{Identifier: "bob", Password: alicePassword + "!"})
		if err != nil || s.Session.State != idp.Pending {
			t.Fatalf("got %+v and %v", s, err)
		}
		visitor := *idp.VisitorFrom(by(t, 1, idp.SessionToken{}))
		visitor.Pending = s.Token
		ctx := idp.WithVisitor(t.Context(), &visitor)
		v, err := h.PendingVisit(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		a := h.setUpApp(t, ctx, v)
		_, err = h.ConfirmTOTP(ctx, in, v, a.code(t, 0))
		wantError(t, err, idp.Stale, "session_changed", "")
	})
}

func TestI19_ADeedOfTheAccountMakesNoPendingSessionLive(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		for name, deed := range map[string]func(context.Context, *idp.Interaction, *idp.Visit) error{
			"a proof of the password": func(ctx context.Context, _ *idp.Interaction, v *idp.Visit) error {
				_, err := h.Reauthenticate(ctx, v, alicePassword)
				return err
			},
			"another password": func(ctx context.Context, _ *idp.Interaction, v *idp.Visit) error {
				_, err := h.ChangePassword(ctx, v, alicePassword, newPassword)
				return err
			},
			"a factor removed": func(ctx context.Context, in *idp.Interaction, v *idp.Visit) error {
				// It has proved both, and owes another password still.
				v.Session.Methods = append(v.Session.Methods, made.Session.Methods[len(made.Session.Methods)-1])
				_, err := h.RemoveFactor(ctx, v, own0(made))
				return err
			},
		} {
			ctx, in, v := h.enterPending(t, 2, "bob")
			wantError(t, deed(ctx, in, v), idp.Stale, "session_changed", "")
			if still, err := h.PendingVisit(ctx, ""); err != nil || still.Session.Authentication != v.Session.Authentication {
				t.Errorf("%s: got %v, want the session as it was", name, err)
			}
		}
		if ctx, in, v := h.enterPending(t, 3, "bob"); true {
			if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil {
				t.Errorf("its own step: %v", err)
			}
		}
	})
}

func TestI2_AFactorIsNotAddedToASessionThatEndedMeanwhile(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		a := h.setUpApp(t, ctx, v)
		for name, end := range map[string]func() error{
			"the password was set": func() error { return h.SetPassword(t.Context(), u.ID, newPassword) },
			"the session ended":    func() error { _, err := h.EndSessions(t.Context(), u.ID); return err },
		} {
			if err := end(); err != nil {
				t.Fatal(err)
			}
			_, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, 0))
			if idp.KindOf(err) != idp.Stale || idp.CodeOf(err) != "session_changed" {
				t.Errorf("%s: got %v, want session_changed", name, err)
			}
		}
		if u, err := h.store.User(t.Context(), u.ID); err != nil || u.HasFactor() {
			t.Errorf("got %v and %v, want no factor", u.Factors, err)
		}
	})
}

func TestAnotherAppReplacesTheFormerAndEndsWhatRestsOnIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		former, made := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		elsewhere, err := h.ProveByCode(ctx, in, v, former.code(t, 0), false)
		if err != nil {
			t.Fatal(err)
		}
		h.clock.turn(30 * time.Second)
		present, again := h.addApp(t, 1, made.SignedIn)
		if again.RecoveryCodes != nil || h.alive(t, elsewhere.Token) || !h.alive(t, again.Token) {
			t.Errorf("got %d more recovery codes; the other session lives: %v", len(again.RecoveryCodes), h.alive(t, elsewhere.Token))
		}
		ctx, in, v = h.enterPending(t, 2, "bob")
		_, err = h.ProveByCode(ctx, in, v, former.code(t, 0), false)
		wantError(t, err, idp.Denied, "code_wrong", "code")
		if _, err := h.ProveByCode(ctx, in, v, present.code(t, 0), false); err != nil {
			t.Errorf("the new one: %v", err)
		}
	})
}

func TestS3_25_AUserRemovesTheirOwnFactorsAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		_, alices := h.addApp(t, 3, h.enter(t, 3, "alice", alicePassword))
		a, made := h.bob(t)
		ctx, v := by(t, 1, made.Token), h.visitOf(t, made.SignedIn)
		_, err := h.RemoveFactor(ctx, v, h.ownFactors(t, alices.SignedIn).App.ID)
		if !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("alice's: got %v, want not found", err)
		}
		if err := h.RenameFactor(ctx, v, h.ownFactors(t, alices.SignedIn).App.ID, "mine"); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("rename alice's: got %v, want not found", err)
		}
		if _, err := h.RemoveFactor(ctx, v, h.ownFactors(t, made.SignedIn).Recovery.ID); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("the recovery codes: got %v, want not found", err)
		}
		ctx2, in, v2 := h.enterPending(t, 2, "bob")
		elsewhere, err := h.ProveByCode(ctx2, in, v2, a.code(t, 0), false)
		if err != nil {
			t.Fatal(err)
		}
		left, err := h.RemoveFactor(ctx, v, h.ownFactors(t, made.SignedIn).App.ID)
		if err != nil {
			t.Fatal(err)
		}
		own := h.ownFactors(t, left)
		if own.App != nil || own.Recovery != nil || left.User.HasFactor() || h.alive(t, elsewhere.Token) || h.alive(t, made.Token) {
			t.Errorf("left %+v; other sessions live: %v", own, h.alive(t, elsewhere.Token))
		}
		if mail := h.only(t, m, "factor_removed"); mail.To != "bob@example.com" || mail.Args["factor"] != "app" || mail.Args["not_me"] == "" {
			t.Errorf("mailed %+v", mail)
		}
		h.event(t, "user.factor_removed")
		if _, err := h.RemoveFactor(by(t, 1, left.Token), h.visitOf(t, left), own0(made)); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("again: got %v, want not found", err)
		}
		// The page of another tab, whose session is another by now.
		_, err = h.RemoveFactor(ctx, v, idp.ID{1})
		wantError(t, err, idp.Stale, "session_changed", "")
	})
}

// own0 is the ID of the method that somebody enrolled with.
func own0(e idp.Enrolled) idp.ID { return e.Session.Methods[len(e.Session.Methods)-1].Authenticator }

func TestS3_25_TheLastFactorStaysWhereOneIsRequired(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		ctx, in, v := h.enterPending(t, 1, "bob")
		a := h.setUpApp(t, ctx, v)
		made, err := h.ConfirmTOTP(ctx, in, v, a.code(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.RemoveFactor(by(t, 1, made.Token), h.visitOf(t, made.SignedIn), own0(made))
		wantError(t, err, idp.Denied, "factor_required", "")
		if own := h.ownFactors(t, made.SignedIn); own.App == nil || own.Recovery == nil {
			t.Errorf("left %+v", own)
		}
	}, asRequired)
}

func TestAFactorHasTheNameThatItsUserGivesIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, made := h.bob(t)
		ctx, v := by(t, 1, made.Token), h.visitOf(t, made.SignedIn)
		for typed, want := range map[string]string{
			"  My phone ":            "My phone",
			"a\x00b\nc":              "abc",
			"\xff<b>":                "<b>",
			strings.Repeat("ü", 100): strings.Repeat("ü", 100),
		} {
			if err := h.RenameFactor(ctx, v, own0(made), typed); err != nil {
				t.Errorf("%q: %v", typed, err)
			}
			if got := h.ownFactors(t, made.SignedIn).App.Name; got != want {
				t.Errorf("%q: got %q, want %q", typed, got, want)
			}
		}
		wantError(t, h.RenameFactor(ctx, v, own0(made), strings.Repeat("ü", 101)), idp.Invalid, "factor_name_too_long", "name")
		if n := h.count(t, "user.factor_renamed"); n != 4 {
			t.Errorf("%d events tell of it, want 4", n)
		}
	})
}

func TestS3_39_AResetOfThePasswordRemovesNoFactor(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, made := h.bob(t)
		if err := h.SetPassword(t.Context(), made.User.ID, alicePassword); err != nil {
			t.Fatal(err)
		}
		h.enterPending(t, 2, "bob")
		own, err := h.UserFactors(t.Context(), made.User.ID)
		if err != nil || own.App == nil || own.Recovery == nil || own.Recovery.Left != 10 {
			t.Errorf("left %+v and %v", own, err)
		}
	})
}

func TestS0_80_AnOperatorResetsTheFactorsOfAUserWhoIsTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		_, made := h.bob(t)
		if err := h.ResetFactors(t.Context(), made.User.ID); err != nil {
			t.Fatal(err)
		}
		own, err := h.UserFactors(t.Context(), made.User.ID)
		if err != nil || own.App != nil || own.Recovery != nil || h.alive(t, made.Token) {
			t.Errorf("left %+v and %v; the session lives: %v", own, err, h.alive(t, made.Token))
		}
		if mail := h.only(t, m, "factors_reset"); mail.To != "bob@example.com" || mail.Args["address"] != "" {
			t.Errorf("mailed %+v", mail)
		}
		if e := h.event(t, "user.factors_reset"); e.Actor != "cli" || e.UserID != made.User.ID || e.Details["sessions_ended"] != float64(1) {
			t.Errorf("the event is %+v", e)
		}
		if s := h.enter(t, 1, "bob", alicePassword); s.Session.State != idp.Live {
			t.Errorf("the next session is %s", s.Session.State)
		}
		if err := h.ResetFactors(t.Context(), idp.ID{1}); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("of nobody: got %v, want not found", err)
		}
	})
}

func TestS3_30_WhatIsToldOfFactorsHasNoSecrets(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		a, made := h.bob(t)
		own, err := h.UserFactors(t.Context(), made.User.ID)
		if err != nil {
			t.Fatal(err)
		}
		all, err := h.Personal(t.Context(), h.visitOf(t, made.SignedIn))
		if err != nil {
			t.Fatal(err)
		}
		events, err := h.Events(t.Context(), idp.ID{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		told, err := json.Marshal(map[string]any{"own": own, "all": all, "mails": h.sent(t, m, "factor_added"), "events": events})
		if err != nil {
			t.Fatal(err)
		}
		secrets := append(slices.Clone(made.RecoveryCodes), base32.StdEncoding.EncodeToString(a.key), fmt.Sprintf("%x", a.key))
		for _, secret := range secrets {
			if strings.Contains(strings.ToLower(string(told)), strings.ToLower(secret)) {
				t.Errorf("a secret is in what is told")
			}
		}
		if !strings.Contains(string(told), `"kind":"totp"`) {
			t.Errorf("the download tells nothing of the app: %s", told)
		}
	})
}

func TestS3_01_NothingInTheDatabaseOpensTheSecretOfAnApp(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice := h.addUser(t, "alice")
		h.addApp(t, 3, h.enter(t, 3, "alice", alicePassword))
		a, made := h.bob(t)
		rows := h.factorsOf(t, made.User.ID)
		for _, row := range rows {
			for _, secret := range append(slices.Clone(made.RecoveryCodes), string(a.key), base32.StdEncoding.EncodeToString(a.key)) {
				if strings.Contains(fmt.Sprintf("%+v %s", row, row.Sealed), secret) {
					t.Errorf("the row of the kind %s has a secret", row.Kind)
				}
			}
		}
		own, other := rows[0], h.factorsOf(t, alice.ID)[0]
		if err := idp.OpenFactor(h.Provider, own); err != nil {
			t.Fatalf("its own: %v", err)
		}
		moved := map[string]idp.Authenticator{"of another user": own, "of another row": own, "of another kind": own, "changed": own}
		for name, row := range moved {
			switch name {
			case "of another user":
				row.UserID, row.ID = other.UserID, other.ID
			case "of another row":
				row.ID = other.ID
			case "of another kind":
				row.Kind = idp.RecoveryKind
			case "changed":
				row.Sealed = slices.Clone(row.Sealed)
				row.Sealed[len(row.Sealed)-1] ^= 1
			}
			if err := idp.OpenFactor(h.Provider, row); err == nil {
				t.Errorf("%s: it opens", name)
			}
		}
	})
}

func (h *house) factorsOf(t testing.TB, id idp.ID) []idp.Authenticator {
	t.Helper()
	list, err := h.store.Factors(t.Context(), id)
	if err != nil {
		t.Fatalf("list rows: %v", err)
	}
	return list
}

func TestAFurtherFactorLiftsWhatRestsOnTheFormer(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		elsewhere, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		if err != nil {
			t.Fatal(err)
		}
		bound, offline := h.addGrant(t, elsewhere, true), h.addGrant(t, made.SignedIn, false)
		v = h.visitOf(t, made.SignedIn)
		c, err := h.BeginPasskey(by(t, 1, made.Token), v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.AddPasskey(by(t, 1, made.Token), &idp.Interaction{}, v, c.State, newDevice().create(t, c.Options), "Key")
		if err != nil {
			t.Fatal(err)
		}
		if again.RecoveryCodes != nil || h.alive(t, made.Token) || !h.alive(t, again.Token) || !h.alive(t, elsewhere.Token) ||
			!h.grantAlive(t, bound) || !h.grantAlive(t, offline) {
			t.Errorf("got %d more recovery codes; the other session lives: %v", len(again.RecoveryCodes), h.alive(t, elsewhere.Token))
		}
		if before, after := made.User.Epoch, h.visitOf(t, again.SignedIn).User.Epoch; after != before+1 {
			t.Errorf("the epoch became %d of %d", after, before)
		}
		// With another one left, the recovery codes stay when one goes.
		left, err := h.RemoveFactor(by(t, 1, again.Token), h.visitOf(t, again.SignedIn), h.ownFactors(t, again.SignedIn).App.ID)
		if err != nil {
			t.Fatal(err)
		}
		if own := h.ownFactors(t, left); own.App != nil || own.Recovery == nil || len(own.Passkeys) != 1 || own.Passkeys[0].Name != "Key" ||
			len(own.Accepted) != 1 || len(own.Handle) != 64 {
			t.Errorf("left %+v", own)
		}
		if h.alive(t, elsewhere.Token) || h.grantAlive(t, bound) || h.grantAlive(t, offline) {
			t.Error("what rests on the one that went goes on")
		}
	})
}

func TestTheLastWayInStays(t *testing.T) {
	type situation struct {
		name string
		code bool // whether codes are mailed to sign in with
		keys int
		weak bool // whether the last of them cannot verify its user
		want string
	}
	for _, tc := range []situation{
		{"one key", false, 1, false, "last_way_in"},
		{"two keys", false, 2, false, ""},
		{"a key, and one that nobody signs in with alone", false, 2, true, "last_way_in"},
		{"one key, and codes by mail", true, 1, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				u, err := h.AddUser(t.Context(), idp.NewUser{Username: "carol", Email: "carol@example.com", EmailVerified: true})
				if err != nil {
					t.Fatal(err)
				}
				s := h.liveSession(t, u)
				for i := range tc.keys {
					d := newDevice()
					d.Options.UserNotVerified = tc.weak && i > 0
					s = h.addKey(t, 1, s, d)
					h.clock.turn(time.Second) // they are listed in order
				}
				_, err = h.RemoveFactor(by(t, 1, s.Token), h.visitOf(t, s), h.ownFactors(t, s).Passkeys[0].ID)
				if idp.CodeOf(err) != tc.want || tc.want == "" && err != nil {
					t.Errorf("got %v, want %q", err, tc.want)
				}
			}, func(cfg *config.Config) { cfg.Login.Code.Enabled = tc.code })
		})
	}
}

func TestOfTwoFactorsRemovedAtATimeOneStaysWhereOneIsRequired(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		ctx, in, v := h.enterPending(t, 1, "bob")
		a := h.setUpApp(t, ctx, v)
		made, err := h.ConfirmTOTP(ctx, in, v, a.code(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		s := h.addKey(t, 1, made.SignedIn, newDevice())
		v, own := h.visitOf(t, s), h.ownFactors(t, s)
		var answers [2]error
		var wg sync.WaitGroup
		for i, id := range []idp.ID{own.App.ID, own.Passkeys[0].ID} {
			wg.Go(func() { _, answers[i] = h.RemoveFactor(by(t, 1, s.Token), v, id) })
		}
		wg.Wait()
		if (answers[0] == nil) == (answers[1] == nil) {
			t.Errorf("got %v and %v, want one to be refused", answers[0], answers[1])
		}
		if got, err := h.store.User(t.Context(), s.User.ID); err != nil || len(h.factorsOf(t, s.User.ID)) != 2 || !got.HasFactor() {
			t.Errorf("left %d rows and %v", len(h.factorsOf(t, s.User.ID)), err)
		}
	}, asRequired)
}
