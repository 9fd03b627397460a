package idp_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// linkToken is what a mailed link carries.
func linkToken(link string) string {
	_, token, _ := strings.Cut(link, "ticket=")
	return token
}

// addUnverified adds dave, who has alicePassword and proved nothing.
func (h *house) addUnverified(t testing.TB) idp.User {
	t.Helper()
	u, err := h.AddUser(t.Context(), idp.NewUser{Username: "dave", Email: "dave@example.com", Password: alicePassword})
	if err != nil {
		t.Fatalf("add dave: %v", err)
	}
	return u
}

// logInPending signs dave in, who owes a step, in browser n.
func (h *house) logInPending(t testing.TB, n byte) (context.Context, *idp.Interaction, *idp.Visit) {
	t.Helper()
	in := h.BeginOwn("/")
	s, err := h.LogIn(atBrowser(t, n), in, idp.LogIn{Identifier: "dave", Password: alicePassword})
	if err != nil || s.Session.State != idp.Pending || s.Device != nil {
		t.Fatalf("log in as dave: got %+v and %v, want a pending session", s, err)
	}
	ctx := atBrowser(t, n, withPending(s))
	v, err := h.PendingVisit(ctx, "")
	if err != nil {
		t.Fatalf("find the pending session: %v", err)
	}
	return ctx, in, v
}

func TestS0_39_I19_AnUnverifiedUserHasAPendingSessionGoodForNothingElse(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUnverified(t)
		ctx, in, v := h.logInPending(t, 1)
		token := idp.VisitorFrom(ctx).Pending
		if h.alive(t, token) {
			t.Error("the pending token opens a live session")
		}
		if _, err := h.PendingVisit(atBrowser(t, 1, func(v *idp.Visitor) { v.Pending = idp.SessionToken{ID: token.ID} }), ""); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("without its secret: %v", err)
		}
		if need := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); need.Step != idp.StepVerify || need.Error != "interaction_required" {
			t.Errorf("owes %+v", need)
		}
		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		made, err := h.VerifyCode(ctx, in, v, h.latest(t, m, "verify_code", "dave@example.com", "code"))
		if err != nil || made.Session.State != idp.Live || made.Session.ID != v.Session.ID || made.Token.Secret == token.Secret ||
			made.Session.Authentication == v.Session.Authentication || in.Authenticated != made.Session.Authentication || made.Device == nil {
			t.Fatalf("got %+v and %v, want the same session, live and renewed", made, err)
		}
		live, err := h.Visit(t.Context(), made.Token, "")
		if err != nil || !live.User.EmailVerified || !live.Session.EndsAt.Equal(h.Now().Add(24*time.Hour)) {
			t.Errorf("got %+v and %v", live, err)
		}
		if need := idp.NextStep(in, live, h.PolicyFor(nil), h.Now()); need.Step != idp.NoStep {
			t.Errorf("still owes %+v", need)
		}
		if _, err := h.PendingVisit(ctx, ""); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("the pending token lives on: %v", err)
		}
		if h.count(t, "user.sign_in_pending") != 1 || h.count(t, "user.signed_in") != 1 || h.count(t, "user.email_verified") != 1 {
			t.Errorf("events: %s", h.kinds(t))
		}
	})
}

func TestS0_73_APendingSignInDiesAfterTheFlowTimeout(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUnverified(t)
		ctx, in, v := h.logInPending(t, 1)
		h.clock.turn(10 * time.Minute)
		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		code := h.latest(t, m, "verify_code", "dave@example.com", "code")
		h.clock.turn(5*time.Minute - time.Microsecond)
		if _, err := h.PendingVisit(ctx, ""); err != nil {
			t.Errorf("just before: %v", err)
		}
		h.clock.turn(time.Microsecond)
		if _, err := h.PendingVisit(ctx, ""); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("after the timeout: %v, want none", err)
		}
		_, err := h.VerifyCode(ctx, in, v, code)
		wantError(t, err, idp.Stale, "session_changed", "")
	})
}

func TestI19_APendingSessionIsNoLongerThanItsStep(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUnverified(t)
		_, in, v := h.logInPending(t, 1)
		v.User.EmailVerified = true // an operator did it meanwhile
		if need := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); need.Step != idp.StepLogIn {
			t.Errorf("a pending session goes on to %+v", need)
		}
		v.User = u
		v.User.EmailVerified, v.User.MustChangePassword = true, true
		if need := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); need.Step != idp.StepChange {
			t.Errorf("a lent password leads to %+v", need)
		}
		v.Session.State = idp.Live
		if need := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); need.Step != idp.StepChange {
			t.Errorf("a live session that owes a step goes on to %+v", need)
		}
	})
}

func TestS0_39_WhoHasNoAddressHasNothingToProve(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUnverified(t)
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "robot", Password: alicePassword}); err != nil {
			t.Fatal(err)
		}
		enter := func(name string) idp.SignedIn {
			t.Helper()
			s, err := h.LogIn(atBrowser(t, 1), h.BeginOwn("/"), idp.LogIn{Identifier: name, Password: alicePassword})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := enter("dave"); s.Session.State != idp.Pending {
			t.Errorf("dave, who has an address: got %+v", s.Session)
		}
		s := enter("robot")
		if need := idp.NextStep(h.BeginOwn("/"), h.visitOf(t, s), h.PolicyFor(nil), h.Now()); need.Step != idp.NoStep {
			t.Errorf("who has none owes %+v", need)
		}
		// Somebody else proved the address that dave claimed, who tells relying parties of none any more.
		alice := h.addUser(t, "alice")
		now := h.Now()
		claim := idp.Email{ID: idp.NewID(now), UserID: alice.ID, Address: "dave@example.com", Key: "dave@example.com", CreatedAt: now}
		if err := h.store.AddEmail(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ConfirmEmail(t.Context(), alice.ID, "dave@example.com"); err != nil {
			t.Fatal(err)
		}
		if s := enter("dave"); s.Session.State != idp.Live || s.User.Email != "" {
			t.Errorf("dave, who lost it: got %+v", s)
		}
	})
}

func TestI19_APendingSignInEndsTheSessionOfAnotherInThisBrowser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addUnverified(t)
		alices := h.logIn(t, "alice", idp.SessionToken{})
		ctx := atBrowser(t, 1, func(v *idp.Visitor) { v.Session = alices.Token })
		s, err := h.LogIn(ctx, h.BeginOwn("/"), idp.LogIn{Identifier: "dave", Password: alicePassword})
		if err != nil || s.Session.State != idp.Pending || h.alive(t, alices.Token) {
			t.Errorf("got %+v and %v; alice's session must end", s, err)
		}
	})
}

func TestI5_I19_APendingSignInCountsInItsOwnInteractionWhoeverElseIsSignedIn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		alice := h.addUser(t, "alice")
		dave := h.addUnverified(t)
		alices := h.logIn(t, "alice", idp.SessionToken{})
		browser := func(live, pending idp.SessionToken) context.Context {
			return atBrowser(t, 1, func(v *idp.Visitor) { v.Session, v.Pending = live, pending })
		}
		wantUser := func(what string, ctx context.Context, in *idp.Interaction, want idp.ID, step idp.Step) *idp.Visit {
			t.Helper()
			v, err := h.VisitOf(ctx, in)
			if err != nil || v == nil || v.User.ID != want {
				t.Fatalf("%s: got %+v and %v", what, v, err)
			}
			if need := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); need.Step != step {
				t.Errorf("%s: the next step is %+v, want %q", what, need, step)
			}
			return v
		}
		// dave uses another account in alice's browser, and alice signs in again in another tab.
		in := h.BeginOwn("/account")
		daves, err := h.LogIn(browser(alices.Token, idp.SessionToken{}), in, idp.LogIn{Identifier: "dave", Password: alicePassword})
		if err != nil {
			t.Fatal(err)
		}
		wantUser("before alice is back", browser(alices.Token, daves.Token), in, dave.ID, idp.StepVerify)
		other := h.BeginOwn("/account")
		again, err := h.LogIn(browser(alices.Token, daves.Token), other, idp.LogIn{Identifier: "alice", Password: alicePassword})
		if err != nil {
			t.Fatal(err)
		}
		ctx := browser(again.Token, daves.Token)
		wantUser("in alice's tab", ctx, other, alice.ID, idp.NoStep)
		wantUser("in a new one", ctx, h.BeginOwn("/"), alice.ID, idp.NoStep)
		v := wantUser("in dave's tab", ctx, in, dave.ID, idp.StepVerify)
		if v.Session.State != idp.Pending || h.alive(t, daves.Token) {
			t.Errorf("dave is signed in by %+v", v.Session)
		}
		// Who has not the cookie of the pending one sees nothing of it, whatever the interaction names.
		wantUser("without its cookie", browser(again.Token, idp.SessionToken{}), in, alice.ID, idp.StepSelect)
		stolen := browser(again.Token, idp.SessionToken{ID: daves.Token.ID})
		wantUser("without its secret", stolen, in, alice.ID, idp.StepSelect)
		if v, err := h.VisitOf(browser(idp.SessionToken{}, idp.SessionToken{}), in); v != nil || err != nil {
			t.Errorf("nobody: got %+v and %v", v, err)
		}

		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		made, err := h.VerifyCode(ctx, in, v, h.latest(t, m, "verify_code", "dave@example.com", "code"))
		if err != nil || made.Session.State != idp.Live || h.alive(t, again.Token) || len(made.Session.Methods) != 1 {
			t.Fatalf("got %+v and %v, want dave live by his own proof and alice's session ended", made, err)
		}
		wantUser("after the step", browser(made.Token, daves.Token), in, dave.ID, idp.NoStep)
	})
}

func TestS0_42_ACodeWorksInTheBrowserThatAskedAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		in, _ := h.signUp(t, atBrowser(t, 1), formOf("dave"))
		code := h.latest(t, m, "verify_code", "dave@example.com", "code")
		_, err := h.VerifyCode(atBrowser(t, 2), in, nil, code)
		wantError(t, err, idp.Denied, "code_wrong", "code")
		_, err = h.VerifyCode(t.Context(), in, nil, code)
		wantError(t, err, idp.Denied, "code_wrong", "code")
		tx, err := h.Seal(atBrowser(t, 1), in)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Open(atBrowser(t, 2), tx)
		wantError(t, err, idp.Stale, "interaction_foreign", "")
		opened, err := h.Open(atBrowser(t, 1), tx)
		if err != nil || opened.Ticket != in.Ticket {
			t.Fatalf("got %+v and %v", opened, err)
		}
		if _, err := h.VerifyCode(atBrowser(t, 1), opened, nil, code); err != nil {
			t.Error(err)
		}
	}, signUpOpen)
}

func TestTheTicketOfAnInteractionIsSealedWithIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for _, proved := range []bool{false, true} {
			in := h.BeginOwn("/account")
			in.Ticket, in.Proved, in.Mailed = idp.NewID(h.Now()), proved, "dave@example.com"
			if _, err := h.Seal(t.Context(), in); idp.CodeOf(err) != "interaction_foreign" {
				t.Errorf("for no browser: %v", err)
			}
			tx, err := h.Seal(atBrowser(t, 1), in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := h.Open(atBrowser(t, 1), tx)
			if err != nil || !reflect.DeepEqual(got, in) {
				t.Errorf("got %+v and %v, want %+v", got, err, in)
			}
		}
	})
}

func TestS0_43_ThreeWrongGuessesEndTheTicketAlsoAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		ctx := atBrowser(t, 1)
		in, _ := h.signUp(t, ctx, formOf("dave"))
		code := h.latest(t, m, "verify_code", "dave@example.com", "code")
		for _, want := range []string{"code_wrong", "code_wrong", "code_over", "code_over"} {
			_, err := h.VerifyCode(ctx, in, nil, wrongCode(code))
			wantError(t, err, idp.Denied, want, "code")
		}
		_, err := h.VerifyCode(ctx, in, nil, code)
		wantError(t, err, idp.Denied, "code_over", "code")

		in, _ = h.signUp(t, ctx, formOf("erin"))
		code = h.latest(t, m, "verify_code", "erin@example.com", "code")
		done, codes := atOnce(50, func(int) error {
			tab := *in
			_, err := h.VerifyCode(ctx, &tab, nil, wrongCode(code))
			return err
		})
		if ticket, err := h.store.Ticket(t.Context(), in.Ticket); done != 0 || codes["code_wrong"] != 2 || codes["code_over"] != 48 || err != nil || ticket.Tries != 3 {
			t.Errorf("%d were right, %v, %d tries, want 3 that were looked at", done, codes, ticket.Tries)
		}
		_, err = h.VerifyCode(ctx, in, nil, code)
		wantError(t, err, idp.Denied, "code_over", "code")
	}, signUpOpen, noLimits)
}

func TestI15_WrongCodesAreCountedByOwnerAcrossTickets(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		h.addUser(t, "alice")
		for _, name := range []string{"alice", "zoe"} { // a decoy counts alike
			var codes []string
			for i := range 3 {
				in := h.BeginOwn("/")
				ctx := atBrowser(t, byte(i+1))
				if err := h.RequestLogInCode(ctx, in, name); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					_, err := h.LogInByCode(ctx, in, "none", false)
					codes = append(codes, idp.CodeOf(err))
				}
			}
			if got, want := strings.Join(codes, " "), "code_wrong code_wrong code_wrong code_wrong code_wrong throttled"; got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
	}, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
}

func TestTwentyRedemptionsOfOneCodeMakeOneAccount(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		ctx := atBrowser(t, 1)
		in, _ := h.signUp(t, ctx, formOf("dave"))
		code := h.latest(t, m, "verify_code", "dave@example.com", "code")
		done, codes := atOnce(20, func(int) error {
			tab := *in
			_, err := h.VerifyCode(ctx, &tab, nil, code)
			return err
		})
		if done != 1 || codes["code_over"] != 19 || h.userCount(t) != 1 || h.count(t, "user.signed_in") != 1 {
			t.Errorf("%d were right, %v, %d users, events %s", done, codes, h.userCount(t), h.kinds(t))
		}
	}, signUpOpen, noLimits, func(cfg *config.Config) { cfg.Email.MaxAttempts = 20 })
}

func TestS0_44_ACodeOutOfDateIsAWrongOne(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		ctx := atBrowser(t, 1)
		in, _ := h.signUp(t, ctx, formOf("dave"))
		code := h.latest(t, m, "verify_code", "dave@example.com", "code")
		h.clock.turn(10 * time.Minute)
		if _, err := h.store.Sweep(t.Context(), h.Now()); err != nil { // the ticket lasts as long as its page
			t.Fatal(err)
		}
		for i, want := range []string{"code_wrong", "code_wrong", "code_over", "code_over"} {
			shown := []string{wrongCode(code), code}[i%2] // right and wrong are answered alike
			_, err := h.VerifyCode(ctx, in, nil, shown)
			wantError(t, err, idp.Denied, want, "code")
		}
		h.clock.turn(time.Minute)
		if err := h.SendCode(ctx, in, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := h.VerifyCode(ctx, in, nil, h.latest(t, m, "verify_code", "dave@example.com", "code")); err != nil {
			t.Errorf("with a new code: %v", err)
		}
	}, signUpOpen, func(cfg *config.Config) { cfg.Email.Timeout = 5 * time.Minute })
}

func TestANewCodeIsSentOnceInAWhileAndEndsTheFormer(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		for _, name := range []string{"dave", "alice2"} { // an address that is taken is answered alike
			f := formOf(name)
			if name == "alice2" {
				f.Email = "alice@example.com"
			}
			ctx := atBrowser(t, 1)
			in, _ := h.signUp(t, ctx, f)
			former := *in
			old := h.latest(t, m, "verify_code", f.Email, "code")
			if err := h.SendCode(ctx, in, nil); err != nil || in.Ticket == former.Ticket {
				t.Fatalf("%s: %v, ticket %v", name, err, in.Ticket)
			}
			wantError(t, h.SendCode(ctx, in, nil), idp.Throttled, "sent_recently", "")
			_, err := h.VerifyCode(ctx, &former, nil, old)
			wantError(t, err, idp.Denied, "code_over", "code")
			wantError(t, h.SendCode(ctx, &former, nil), idp.Denied, "code_over", "code")
			h.clock.turn(time.Minute)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "account_exists account_exists verify_code verify_code" {
			t.Errorf("sent %s", got)
		}
	}, signUpOpen)
}

func TestS0_45_ALinkDiesAfterThreeDays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		in, _ := h.signUp(t, atBrowser(t, 1), formOf("dave"))
		token := linkToken(h.latest(t, m, "verify_link", "dave@example.com", "link"))
		_, err := h.VerifyCode(atBrowser(t, 1), in, nil, "")
		wantError(t, err, idp.Denied, "code_over", "code")
		h.clock.turn(72*time.Hour - time.Microsecond)
		if _, err := h.OpenLink(t.Context(), idp.ForAddress, token); err != nil {
			t.Errorf("just before: %v", err)
		}
		h.clock.turn(time.Microsecond)
		_, err = h.OpenLink(t.Context(), idp.ForAddress, token)
		wantError(t, err, idp.Denied, "link_over", "")
		_, err = h.VerifyLink(atBrowser(t, 1), token)
		wantError(t, err, idp.Denied, "link_over", "")
	}, signUpOpen, byLink)
}

func TestS0_46_ALinkIsForItsPurposeAndAddressAndWorksOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		dave := h.addUnverified(t)
		ctx, in, v := h.logInPending(t, 1)
		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		token := linkToken(h.latest(t, m, "verify_link", "dave@example.com", "link"))
		for _, purpose := range []idp.Purpose{idp.ForReset, idp.ForLogIn, idp.ForRevert, idp.ForAlarm, idp.ForUndelete} {
			_, err := h.OpenLink(ctx, purpose, token)
			wantError(t, err, idp.Denied, "link_over", "")
		}
		for _, bad := range []string{"", "x", token[:63], token + "A", strings.Repeat("A", 64), "B" + token[1:], token[:63] + "!"} {
			_, err := h.VerifyLink(ctx, bad)
			wantError(t, err, idp.Denied, "link_over", "")
		}
		list, err := h.store.Emails(t.Context(), dave.ID)
		if err != nil || len(list) != 1 {
			t.Fatalf("got %+v and %v", list, err)
		}
		if err := h.store.RemoveEmail(t.Context(), dave.ID, list[0].ID); err != nil {
			t.Fatal(err)
		}
		_, err = h.VerifyLink(atBrowser(t, 7), token)
		wantError(t, err, idp.Denied, "link_over", "")
		if u, _ := h.FindUser(t.Context(), "dave"); u.EmailVerified {
			t.Error("an address that was removed is verified")
		}
	}, byLink)
}

func TestS0_46_AUsedLinkDoesNothingWhileItsAddressIsVerified(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		dave := h.addUnverified(t)
		ctx, in, v := h.logInPending(t, 1)
		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		token := linkToken(h.latest(t, m, "verify_link", "dave@example.com", "link"))
		if made, err := h.VerifyLink(ctx, token); err != nil || made.Token.IsZero() {
			t.Fatalf("got %+v and %v", made, err)
		}
		before := h.kinds(t)
		for _, again := range []context.Context{ctx, atBrowser(t, 2)} {
			same := idp.VisitorFrom(again).Browser == idp.VisitorFrom(ctx).Browser
			want := idp.Link{Purpose: idp.ForAddress, Address: "dave@example.com", SameBrowser: same, Confirmed: true}
			if l, err := h.OpenLink(again, idp.ForAddress, token); err != nil || l != want {
				t.Errorf("opened again: got %+v and %v, want %+v", l, err, want)
			}
			for _, purpose := range []idp.Purpose{idp.ForReset, idp.ForSignUp, idp.ForRevert} {
				_, err := h.OpenLink(again, purpose, token)
				wantError(t, err, idp.Denied, "link_over", "")
			}
			if made, err := h.VerifyLink(again, token); err != nil || !reflect.DeepEqual(made, idp.SignedIn{}) {
				t.Errorf("used again: got %+v and %v, want nothing", made, err)
			}
		}
		if after := h.kinds(t); after != before {
			t.Errorf("the events became %s", after)
		}
		list, err := h.store.Emails(t.Context(), dave.ID)
		if err != nil || len(list) != 1 {
			t.Fatalf("got %+v and %v", list, err)
		}
		if err := h.store.RemoveEmail(t.Context(), dave.ID, list[0].ID); err != nil {
			t.Fatal(err)
		}
		_, err = h.VerifyLink(ctx, token)
		wantError(t, err, idp.Denied, "link_over", "")
		_, err = h.OpenLink(ctx, idp.ForAddress, token)
		wantError(t, err, idp.Denied, "link_over", "")
	}, byLink)
}

func TestS0_46_TheLinkOfASignUpIsConfirmedOnceAndNoOtherSecretLearnsIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.signUp(t, atBrowser(t, 1), formOf("dave"))
		token := linkToken(h.latest(t, m, "verify_link", "dave@example.com", "link"))
		if l, err := h.OpenLink(atBrowser(t, 2), idp.ForAddress, token); err != nil || l.Confirmed {
			t.Errorf("before: got %+v and %v", l, err)
		}
		if _, err := h.VerifyLink(atBrowser(t, 1), token); err != nil {
			t.Fatal(err)
		}
		want := idp.Link{Purpose: idp.ForSignUp, Address: "dave@example.com", Confirmed: true}
		if l, err := h.OpenLink(atBrowser(t, 2), idp.ForAddress, token); err != nil || l != want {
			t.Errorf("after: got %+v and %v, want %+v", l, err, want)
		}
		// Its ID without its secret is nothing.
		_, err := h.OpenLink(atBrowser(t, 1), idp.ForAddress, token[:22]+strings.Repeat("A", 42))
		wantError(t, err, idp.Denied, "link_over", "")
		h.clock.turn(72 * time.Hour)
		_, err = h.OpenLink(atBrowser(t, 2), idp.ForAddress, token)
		wantError(t, err, idp.Denied, "link_over", "")
	}, signUpOpen, byLink)
}

func TestI2_ATicketDiesWithItsUsersEpoch(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		dave := h.addUnverified(t)
		ctx, in, v := h.logInPending(t, 1)
		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		code := h.latest(t, m, "verify_code", "dave@example.com", "code")
		if err := h.SetPassword(t.Context(), dave.ID, formPassword); err != nil {
			t.Fatal(err)
		}
		_, err := h.VerifyCode(ctx, in, v, code)
		wantError(t, err, idp.Denied, "code_over", "code")
	})
}

func TestS0_47_OpeningALinkChangesNothingAndOnlyTheBrowserThatAskedIsSignedIn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		sign := func(name string) (context.Context, string) {
			in := h.Begin(url.Values{"client_id": {"rp"}}, idp.Request{ClientID: "rp", Prompts: idp.List{"create"}})
			if _, err := h.SignUp(atBrowser(t, 1), in, formOf(name)); err != nil {
				t.Fatal(err)
			}
			return atBrowser(t, 1), linkToken(h.latest(t, m, "verify_link", name+"@example.com", "link"))
		}
		ctx, token := sign("dave")
		for range 3 { // a scanner, a prefetch, a person
			for n, same := range map[byte]bool{1: true, 2: false} {
				l, err := h.OpenLink(atBrowser(t, n), idp.ForAddress, token)
				if err != nil || l.SameBrowser != same || l.Address != "dave@example.com" || l.Username != "dave" || (l.Return != "") != same || l.Purpose != idp.ForSignUp {
					t.Errorf("browser %d: got %+v and %v", n, l, err)
				}
			}
		}
		if h.userCount(t) != 0 {
			t.Fatal("opening the link made an account")
		}
		l, _ := h.OpenLink(ctx, idp.ForAddress, token)
		made, err := h.VerifyLink(ctx, token)
		if err != nil || !h.alive(t, made.Token) {
			t.Fatalf("got %+v and %v, want a session", made, err)
		}
		in, err := h.Open(ctx, strings.TrimPrefix(l.Return, "/oauth2/authorize?tx="))
		if err != nil || in.Authenticated != made.Session.Authentication {
			t.Errorf("leads on to %+v and %v, want what names the session", in, err)
		}
		if again, err := h.VerifyLink(ctx, token); err != nil || !reflect.DeepEqual(again, idp.SignedIn{}) {
			t.Errorf("a second time: got %+v and %v, want nothing", again, err)
		}
		_, token = sign("erin")
		if made, err = h.VerifyLink(atBrowser(t, 2), token); err != nil || !reflect.DeepEqual(made, idp.SignedIn{}) {
			t.Errorf("in another browser: got %+v and %v, want no session", made, err)
		}
		if u, err := h.FindUser(t.Context(), "erin"); err != nil || !u.EmailVerified {
			t.Errorf("got %+v and %v", u, err)
		}
	}, signUpOpen, byLink)
}

func TestS0_47_ALinkMakesThePendingSignInOfItsBrowserLive(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUnverified(t)
		ctx, in, v := h.logInPending(t, 1)
		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		token := linkToken(h.latest(t, m, "verify_link", "dave@example.com", "link"))
		stolen := atBrowser(t, 2, func(other *idp.Visitor) { other.Pending = idp.VisitorFrom(ctx).Pending })
		if l, err := h.OpenLink(stolen, idp.ForAddress, token); err != nil || l.SameBrowser {
			t.Errorf("got %+v and %v", l, err)
		}
		made, err := h.VerifyLink(ctx, token)
		if err != nil || !h.alive(t, made.Token) || made.Session.ID != v.Session.ID {
			t.Errorf("got %+v and %v, want the pending session live", made, err)
		}
	}, byLink)
}

func TestAUsernameThatIsTakenMeanwhileKeepsTheTicket(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		ctx := atBrowser(t, 1)
		in, _ := h.signUp(t, ctx, formOf("dave"))
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "dave"}); err != nil {
			t.Fatal(err)
		}
		_, err := h.VerifyCode(ctx, in, nil, h.latest(t, m, "verify_code", "dave@example.com", "code"))
		wantError(t, err, idp.Conflict, "username_taken", "username")
		if ticket, err := h.store.Ticket(t.Context(), in.Ticket); err != nil || ticket.RedeemedAt != nil {
			t.Errorf("got %+v and %v", ticket, err)
		}
	}, signUpOpen)
}

func TestI5_PromptCreateIsMetByASignUpOfThisInteraction(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		create := idp.Request{ClientID: "rp", Prompts: idp.List{"create"}}
		open := idp.Policy{SignUp: true, NoConsent: true}
		alices := visitOf(alice, aliceSession, loginOfAlice, time.Minute, nil)
		for name, tc := range map[string]struct {
			in   idp.Interaction
			v    *idp.Visit
			p    idp.Policy
			step idp.Step
		}{
			"nobody is here":             {idp.Interaction{Request: create}, nil, open, idp.StepSignUp},
			"somebody is signed in":      {idp.Interaction{Request: create}, alices, open, idp.StepSignUp},
			"nobody may sign up":         {idp.Interaction{Request: create}, nil, idp.Policy{}, idp.StepLogIn},
			"it waits for a code":        {idp.Interaction{Request: create, Ticket: alice}, nil, open, idp.StepSignUp},
			"signed up in another tab":   {idp.Interaction{Request: create, Ticket: alice}, alices, open, idp.NoStep},
			"signed up here":             {idp.Interaction{Request: create, Authenticated: loginOfAlice, Doer: alice}, alices, open, idp.NoStep},
			"refused":                    {idp.Interaction{Request: create, Denied: true}, nil, open, idp.StepDenied},
			"sign up, then verification": {idp.Interaction{Request: create, Authenticated: loginOfAlice, Doer: alice}, alices, idp.Policy{SignUp: true, NoConsent: true, Verified: true}, idp.NoStep},
		} {
			if need := idp.NextStep(&tc.in, tc.v, tc.p, noon); need.Step != tc.step {
				t.Errorf("%s: got %q, want %q", name, need.Step, tc.step)
			}
		}
	})
}

func TestS0_26_AWrongPasswordIsAnsweredAlikeForEveryAccount(t *testing.T) {
	eachWatched(t, func(t *testing.T, h *house, sent func() string) {
		h.addUser(t, "alice")
		h.addUnverified(t)
		disabled := h.addUser(t, "erin")
		if err := h.DisableUser(t.Context(), disabled.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "carol"}); err != nil {
			t.Fatal(err)
		}
		answers := map[string]string{}
		for i, name := range []string{"alice", "dave", "erin", "carol", "zoe"} {
			in := h.BeginOwn("/")
			h.waits.list = nil
			sent()
			s, err := h.LogIn(atBrowser(t, byte(i+1)), in, idp.LogIn{Identifier: name, Password: "not the password"})
			answers[name] = fmt.Sprint(s, idp.CodeOf(err), idp.KindOf(err), in.Authenticated, in.Ticket, len(h.waits.list), strings.Count(sent(), "\n"))
		}
		for name, answer := range answers {
			if answer != answers["alice"] {
				t.Errorf("%s: got %s\nwant %s", name, answer, answers["alice"])
			}
		}
	})
}

func TestS0_25_ASignUpsLinkAddsNothingToAnAccountThatHasAnAddress(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		f := formOf("ursula")
		f.Email = "ursuls@example.com" // mistyped, and a stranger's
		_, made := h.signUp(t, atBrowser(t, 1), f)
		token := linkToken(h.latest(t, m, "verify_link", "ursuls@example.com", "link"))
		h.addAddress(t, m, 1, made, "ursula@example.com")
		_, err := h.VerifyLink(atBrowser(t, 9), token)
		wantError(t, err, idp.Denied, "link_over", "")
		list, err := h.store.Emails(t.Context(), made.User.ID)
		if err != nil || len(list) != 1 || list[0].Address != "ursula@example.com" {
			t.Errorf("the addresses are %+v, %v", list, err)
		}
		if err := h.RequestReset(atBrowser(t, 9), h.BeginOwn("/"), "ursuls@example.com"); err != nil {
			t.Fatal(err)
		}
		if resets := h.sent(t, m, "reset"); len(resets) != 0 {
			t.Errorf("a stranger was sent %+v", resets)
		}
	}, signUpOpen, verification("optional"), enumeration("strict"))
}

func TestS0_47_ALinkThatProvesAnAddressNamesTheAccount(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUnverified(t)
		ctx, in, v := h.logInPending(t, 1)
		if err := h.SendCode(ctx, in, v); err != nil {
			t.Fatal(err)
		}
		token := linkToken(h.latest(t, m, "verify_link", "dave@example.com", "link"))
		want := idp.Link{Purpose: idp.ForAddress, Address: "dave@example.com", Username: "dave"}
		if l, err := h.OpenLink(atBrowser(t, 2), idp.ForAddress, token); err != nil || l != want {
			t.Errorf("got %+v and %v, want %+v", l, err, want)
		}
	}, byLink)
}
