package idp_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// newPassword is one that nothing speaks against.
const newPassword = "violet anchor ninety teapot"

// by is a context of the visitor of a browser, each of which has a cookie of its own.
func by(t testing.TB, browser byte, token idp.SessionToken) context.Context {
	t.Helper()
	return idp.WithVisitor(t.Context(), &idp.Visitor{
		Address: netip.AddrFrom4([4]byte{192, 0, 2, browser}), UserAgent: fmt.Sprintf("Browser/%d", browser),
		RequestID: "req-1", Browser: [32]byte{browser}, Session: token,
	})
}

// enter signs a user in with a password, in a browser.
func (h *house) enter(t testing.TB, browser byte, name, password string) idp.SignedIn {
	t.Helper()
	s, err := h.LogIn(by(t, browser, idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: name, Password: password})
	if err != nil {
		t.Fatalf("log in as %s: %v", name, err)
	}
	return s
}

func (h *house) visitOf(t testing.TB, s idp.SignedIn) *idp.Visit {
	t.Helper()
	v, err := h.Visit(t.Context(), s.Token, "")
	if err != nil {
		t.Fatalf("visit: %v", err)
	}
	return v
}

// sent are the mails of a kind that were sent, after doing all jobs.
func (h *house) sent(t testing.TB, m *postman, kind string) []idp.Mail {
	t.Helper()
	h.doJobs(t)
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.mails), func(mail idp.Mail) bool { return mail.Kind != kind })
}

// only is the one mail of a kind that was sent.
func (h *house) only(t testing.TB, m *postman, kind string) idp.Mail {
	t.Helper()
	list := h.sent(t, m, kind)
	if len(list) != 1 {
		t.Fatalf("%d mails of the kind %s were sent, want one (%s)", len(list), kind, m.kinds())
	}
	return list[0]
}

// tokenOf is the token of a link.
func tokenOf(link string) string { return link[strings.LastIndexAny(link, "=/")+1:] }

// recipients are those of mails, sorted.
func recipients(mails []idp.Mail) string {
	var list []string
	for _, m := range mails {
		list = append(list, m.To)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// add adds a second address that the user of s proved.
func (h *house) addAddress(t testing.TB, m *postman, browser byte, s idp.SignedIn, address string) idp.Email {
	t.Helper()
	in, ctx := &idp.Interaction{}, by(t, browser, s.Token)
	if err := h.AddEmail(ctx, h.visitOf(t, s), in, address); err != nil {
		t.Fatalf("add %s: %v", address, err)
	}
	var code string
	for _, mail := range h.sent(t, m, "verify_code") {
		if mail.To == address {
			code = mail.Args["code"]
		}
	}
	if err := h.VerifyOwnEmail(ctx, h.visitOf(t, s), in, code); err != nil {
		t.Fatalf("verify %s: %v", address, err)
	}
	list, err := h.Emails(ctx, h.visitOf(t, s))
	at := slices.IndexFunc(list, func(e idp.Email) bool { return e.Address == address && e.VerifiedAt != nil })
	if err != nil || at < 0 {
		t.Fatalf("the addresses are %+v, %v, want %s verified among them", list, err, address)
	}
	return list[at]
}

func TestS0_23_S0_77_AResetByCodeEndsWhatThereIsSignsNobodyInAndTellsTheUser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		f := newFamily(t, h)
		in := &idp.Interaction{}
		if err := h.RequestReset(by(t, 2, idp.SessionToken{}), in, " Alice "); err != nil {
			t.Fatal(err)
		}
		mail := h.only(t, m, "reset")
		if mail.To != "alice@example.com" || len(mail.Args["code"]) != 8 || !strings.HasPrefix(mail.Args["link"], "https://id.example/reset/link?ticket=") ||
			mail.Args["address"] != "192.0.2.2" || mail.Args["user_agent"] != "Browser/2" || mail.Args["expires"] == "" {
			t.Errorf("sent %+v", mail)
		}
		wantError(t, h.ResetPassword(by(t, 2, idp.SessionToken{}), in, "", newPassword), idp.Denied, "code_over", "code")
		wantError(t, h.ProveReset(by(t, 3, idp.SessionToken{}), in, mail.Args["code"]), idp.Denied, "code_wrong", "code")
		if err := h.ProveReset(by(t, 2, idp.SessionToken{}), in, mail.Args["code"]); err != nil || !in.Proved {
			t.Fatalf("got %v, and proved %v", err, in.Proved)
		}
		wantError(t, h.ResetPassword(by(t, 2, idp.SessionToken{}), in, "", "short"), idp.Invalid, "password_too_short", "password")
		if err := h.ResetPassword(by(t, 2, idp.SessionToken{}), in, "", newPassword); err != nil {
			t.Fatal(err)
		}
		if in.Proved || !in.Ticket.IsZero() || !in.Authenticated.IsZero() {
			t.Errorf("the interaction is %+v, want nobody signed in and nothing left to do", in)
		}
		if h.alive(t, f.session.Token) {
			t.Error("a session from before lives")
		}
		if _, _, err := f.show(t, 1, 1); idp.CodeOf(err) != "invalid_grant" {
			t.Errorf("a refresh token from before: got %v, want invalid_grant", err)
		}
		h.wantRight(t, "198.51.100.1", "alice", "invalid_credentials")
		h.enter(t, 2, "alice", newPassword)
		if told := h.only(t, m, "password_reset"); told.To != "alice@example.com" || !strings.HasPrefix(told.Args["not_me"], "https://id.example/secure/") {
			t.Errorf("told %+v", told)
		}
		wantError(t, h.ResetPassword(by(t, 2, idp.SessionToken{}), in, tokenOf(mail.Args["link"]), newPassword), idp.Denied, "link_over", "")
	})
}

func TestS0_23_AResetByLinkVerifiesTheAddressThatItWasMailedTo(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u, err := h.AddUser(t.Context(), idp.NewUser{Username: "ursula", Email: "ursula@example.com", Password: alicePassword})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.RequestReset(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, "ursula@example.com"); err != nil {
			t.Fatal(err)
		}
		link := tokenOf(h.only(t, m, "reset").Args["link"])
		// Whoever opens it elsewhere may use it: it was mailed, and not typed.
		if err := h.ResetPassword(by(t, 9, idp.SessionToken{}), &idp.Interaction{}, link, newPassword); err != nil {
			t.Fatal(err)
		}
		if u, err = h.FindUser(t.Context(), "ursula"); err != nil || !u.EmailVerified {
			t.Errorf("got %+v, %v, want the address verified", u, err)
		}
		wantError(t, h.ResetPassword(by(t, 9, idp.SessionToken{}), &idp.Interaction{}, link, newPassword), idp.Denied, "link_over", "")
	})
}

// castOfResets are accounts in every state, and a name that is nobody's.
func castOfResets(t testing.TB, h *house) []string {
	t.Helper()
	h.addUser(t, "alice")
	h.addUser(t, "locked")
	for range 5 {
		h.tryLogIn(t, "192.0.2.250", "locked", "wrong password")
	}
	if err := h.DisableUser(t.Context(), h.addUser(t, "erin").ID); err != nil {
		t.Fatal(err)
	}
	for _, u := range []idp.NewUser{
		{Username: "unverified", Email: "unverified@example.com", Password: alicePassword},
		{Username: "passwordless", Email: "passwordless@example.com", EmailVerified: true},
	} {
		if _, err := h.AddUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"alice@example.com", "zoe@example.com", "erin@example.com", "unverified@example.com", "passwordless@example.com", "locked@example.com"}
}

func TestS0_23_S1_16_AResetTellsNobodyWhoseAccountThereIs(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		for i, name := range castOfResets(t, h) {
			h.doJobs(t)
			h.waits.list = nil
			in, ctx := &idp.Interaction{}, by(t, byte(10+i), idp.SessionToken{})
			if err := h.RequestReset(ctx, in, name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if waiting, _ := h.jobs(t); waiting != 1 || in.Ticket.IsZero() {
				t.Errorf("%s: %d jobs wait and the ticket is %v, want one of each", name, waiting, in.Ticket)
			}
			for _, want := range []string{"code_wrong", "code_wrong", "code_over", "code_over"} {
				wantError(t, h.ProveReset(ctx, in, "000"), idp.Denied, want, "code")
			}
			wantError(t, h.ResetPassword(ctx, in, "", newPassword), idp.Denied, "code_over", "code")
			for _, w := range h.waits.list {
				if w%(100*time.Millisecond) != 0 {
					t.Errorf("%s: an answer waits for %s", name, w)
				}
			}
		}
	})
}

func TestS0_23_S0_72_ANewerRequestReplacesTheOlderWhoeverIsNamed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		signUp := func(ctx context.Context, in *idp.Interaction, name string) error {
			_, err := h.SignUp(ctx, in, idp.SignUp{Username: "newcomer", Email: name, Password: formPassword})
			return err
		}
		reset := h.ProveReset
		logIn := func(ctx context.Context, in *idp.Interaction, code string) error {
			_, err := h.LogInByCode(ctx, in, code, false)
			return err
		}
		verify := func(ctx context.Context, in *idp.Interaction, code string) error {
			_, err := h.VerifyCode(ctx, in, nil, code)
			return err
		}
		for what, way := range map[string]struct {
			ask, show func(context.Context, *idp.Interaction, string) error
		}{
			"a reset": {h.RequestReset, reset}, "a code to sign in": {h.RequestLogInCode, logIn}, "a sign-up": {signUp, verify},
		} {
			for _, name := range []string{"alice@example.com", "zoe@example.com"} {
				first, second := by(t, 1, idp.SessionToken{}), by(t, 2, idp.SessionToken{})
				inFirst, inSecond := h.BeginOwn("/"), h.BeginOwn("/")
				if err := way.ask(first, inFirst, name); err != nil {
					t.Fatalf("%s for %s: %v", what, name, err)
				}
				wantError(t, way.show(first, inFirst, "000"), idp.Denied, "code_wrong", "code")
				if err := way.ask(second, inSecond, strings.ToUpper(name)); err != nil {
					t.Fatalf("%s for %s: %v", what, name, err)
				}
				wantError(t, way.show(first, inFirst, "000"), idp.Denied, "code_over", "code")
				wantError(t, way.show(second, inSecond, "000"), idp.Denied, "code_wrong", "code")
				h.doJobs(t)
			}
		}
		if len(m.kinds()) == 0 {
			t.Error("nothing was sent")
		}
	}, codesOn, signUpOpen, noLimits)
}

func TestS0_25_AResetLeavesNoWayInToWhoeverClaimedTheAddress(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "mallory", Email: "victim@example.com", Password: formPassword})
		if err != nil {
			t.Fatal(err)
		}
		mallory := h.enter(t, 1, "mallory", formPassword)
		ctx, in := by(t, 3, idp.SessionToken{}), &idp.Interaction{}
		if err := h.RequestReset(ctx, in, "victim@example.com"); err != nil {
			t.Fatal(err)
		}
		code := h.only(t, m, "reset").Args["code"]
		// Meanwhile mallory adds an address of their own, by which a reset would be theirs for ever.
		h.addAddress(t, m, 1, mallory, "mallory@example.com")
		if err := h.ProveReset(ctx, in, code); err != nil {
			t.Fatal(err)
		}
		wantError(t, h.ResetPassword(ctx, in, "", newPassword), idp.Denied, "code_over", "code")
		if err := h.RequestReset(ctx, in, "victim@example.com"); err != nil || in.Ticket.IsZero() {
			t.Fatalf("got %v and the ticket %v, want it answered alike", err, in.Ticket)
		}
		if n := len(h.sent(t, m, "reset")); n != 1 {
			t.Errorf("%d resets were sent, want none of an account that has another's address", n)
		}
		// Whoever has the address makes an account of their own instead.
		_, owner := h.signUp(t, by(t, 1, idp.SessionToken{}), idp.SignUp{Username: "victim", Email: "victim@example.com", Password: formPassword})
		link := h.latest(t, m, "verify_link", "victim@example.com", "link")
		if _, err := h.VerifyLink(ctx, linkToken(link)); err != nil {
			t.Fatal(err)
		}
		if u, err := h.FindUser(t.Context(), "victim@example.com"); err != nil || u.ID != owner.User.ID {
			t.Errorf("the address finds %+v and %v, want its owner", u, err)
		}
		if got := h.count(t, "user.email_claim_lost"); got != 1 {
			t.Errorf("%d claims were lost, want mallory's", got)
		}
		if _, err := h.tryLogIn(t, "192.0.2.9", "victim@example.com", formPassword); err != nil {
			t.Errorf("the owner: %v", err)
		}
	}, signUpOpen, verification("optional"), enumeration("strict"))
}

func TestS0_23_AnUnknownAddressIsToldWhereTheSettingsSaySo(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		castOfResets(t, h)
		for _, name := range []string{"zoe@example.com", "zoe", "erin@example.com"} {
			if err := h.RequestReset(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, name); err != nil {
				t.Fatal(err)
			}
		}
		if mail := h.only(t, m, "reset_unknown"); mail.To != "zoe@example.com" || mail.Args["name"] != "" {
			t.Errorf("sent %+v, want it to zoe alone, and without a name", mail)
		}
	}, func(cfg *config.Config) { cfg.Login.UnknownAccountMail = true })
}

func TestS0_23_ResetsAreLimitedByNameAndByAddressWhoeverIsNamed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		h.addUser(t, "alice")
		for _, name := range []string{"alice", "zoe"} {
			for i := range 6 {
				err := h.RequestReset(by(t, byte(i), idp.SessionToken{}), &idp.Interaction{}, name)
				if i < 5 && err != nil || i == 5 && idp.KindOf(err) != idp.Throttled {
					t.Errorf("%s, request %d: %v", name, i+1, err)
				}
			}
		}
		for i := range 21 {
			err := h.ResetPassword(by(t, 200, idp.SessionToken{}), &idp.Interaction{}, "nothing", newPassword)
			if want := map[bool]idp.Kind{true: idp.Denied, false: idp.Throttled}[i < 20]; idp.KindOf(err) != want {
				t.Errorf("redemption %d: got %v", i+1, err)
			}
		}
	})
}

func TestI2_TwentyRedemptionsOfOneLinkAtATimeResetOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		if err := h.RequestReset(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, "alice"); err != nil {
			t.Fatal(err)
		}
		link := tokenOf(h.only(t, m, "reset").Args["link"])
		var racers sync.WaitGroup
		errs := make([]error, 20)
		for i := range errs {
			racers.Go(func() {
				errs[i] = h.ResetPassword(by(t, byte(i), idp.SessionToken{}), &idp.Interaction{}, link, fmt.Sprint(newPassword, i))
			})
		}
		racers.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Errorf("%d and %d won", winner, i)
			default:
				wantError(t, err, idp.Denied, "link_over", "")
			}
		}
		if winner < 0 {
			t.Fatal("nobody won")
		}
		h.enter(t, 50, "alice", fmt.Sprint(newPassword, winner))
		if told := h.sent(t, m, "password_reset"); len(told) != 1 {
			t.Errorf("told %d times", len(told))
		}
	})
}

func TestI2_ALinkFromBeforeAPasswordChangeIsOver(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		if err := h.RequestReset(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, "alice"); err != nil {
			t.Fatal(err)
		}
		link := tokenOf(h.only(t, m, "reset").Args["link"])
		if err := h.SetPassword(t.Context(), u.ID, newPassword); err != nil {
			t.Fatal(err)
		}
		wantError(t, h.ResetPassword(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, link, alicePassword), idp.Denied, "link_over", "")
		h.enter(t, 2, "alice", newPassword)
	})
}

func TestS0_61_ThisWasNotMeEndsTheSessionVoidsThePasswordAndLetsNobodyIn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Second)
		thief := h.enter(t, 66, "alice", alicePassword)
		mail := h.only(t, m, "new_sign_in")
		if mail.To != "alice@example.com" || mail.Args["address"] != "192.0.2.66" {
			t.Errorf("told %+v", mail)
		}
		own, err := h.OwnSessions(t.Context(), h.visitOf(t, thief))
		if err != nil || len(own) != 2 || !own[0].New || own[1].New {
			t.Errorf("the sessions are %+v, %v, want the second one flagged", own, err)
		}
		// A thief who changes the password voids no alarm.
		thief, err = h.ChangePassword(by(t, 66, thief.Token), h.visitOf(t, thief), alicePassword, newPassword)
		if err != nil {
			t.Fatal(err)
		}
		link := tokenOf(mail.Args["not_me"])
		wantError(t, h.ResetPassword(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, link, "the link is no reset"), idp.Denied, "link_over", "")
		if err := h.WasNotMe(by(t, 2, idp.SessionToken{}), link); err != nil {
			t.Fatal(err)
		}
		if h.alive(t, thief.Token) {
			t.Error("the session lives")
		}
		for _, password := range []string{alicePassword, newPassword} {
			if _, err := h.tryLogIn(t, "198.51.100.1", "alice", password); idp.CodeOf(err) != "invalid_credentials" {
				t.Errorf("%s: got %v, want it void", password, err)
			}
		}
		wantError(t, h.WasNotMe(by(t, 2, idp.SessionToken{}), link), idp.Denied, "link_over", "")
		reset := h.only(t, m, "secured")
		if err := h.ResetPassword(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, tokenOf(reset.Args["link"]), "a better one than before"); err != nil {
			t.Fatal(err)
		}
		if s := h.enter(t, 1, "alice", "a better one than before"); s.Session.State != idp.Live {
			t.Errorf("the session is %s", s.Session.State)
		}
	})
}

func TestSomebodyWhosePasswordWasLentChoosesAnother(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		if err := h.LendPassword(t.Context(), u.ID, newPassword); err != nil {
			t.Fatal(err)
		}
		in := &idp.Interaction{}
		lent, err := h.LogIn(by(t, 1, idp.SessionToken{}), in, idp.LogIn{Identifier: "alice", Password: newPassword})
		if err != nil || lent.Session.State != idp.Pending || h.alive(t, lent.Token) {
			t.Fatalf("got %+v, %v, want a pending session", lent.Session, err)
		}
		ctx := idp.WithVisitor(t.Context(), &idp.Visitor{Browser: [32]byte{1}, Pending: lent.Token})
		v, err := h.PendingVisit(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.ChooseNewPassword(ctx, in, v, newPassword)
		wantError(t, err, idp.Invalid, "password_unchanged", "new_password")
		_, err = h.ChooseNewPassword(ctx, in, v, "short")
		wantError(t, err, idp.Invalid, "password_too_short", "new_password")
		chosen, err := h.ChooseNewPassword(ctx, in, v, "a better one than before")
		if err != nil || chosen.Session.State != idp.Live || !h.alive(t, chosen.Token) || chosen.Device == nil {
			t.Fatalf("got %+v, %v, want a live session in a known browser", chosen, err)
		}
		if in.Authenticated != chosen.Session.Authentication {
			t.Error("the interaction does not name the session's authentication")
		}
		if _, err := h.ChooseNewPassword(ctx, in, v, "once more, another one"); idp.KindOf(err) != idp.Stale {
			t.Errorf("a second time: got %v, want Stale", err)
		}
		h.only(t, m, "password_changed")
		if s := h.enter(t, 3, "alice", "a better one than before"); s.Session.State != idp.Live {
			t.Errorf("the next session is %s", s.Session.State)
		}
	})
}

// waysOfCodes are the deeds that mail a code to whoever is named, and those that take it.
func (h *house) waysOfCodes() map[string]struct {
	ask, show func(context.Context, *idp.Interaction, string) error
} {
	logIn := func(ctx context.Context, in *idp.Interaction, code string) error {
		_, err := h.LogInByCode(ctx, in, code, false)
		return err
	}
	return map[string]struct {
		ask, show func(context.Context, *idp.Interaction, string) error
	}{"a reset": {h.RequestReset, h.ProveReset}, "a code to sign in": {h.RequestLogInCode, logIn}}
}

func TestS0_23_TwoNamesOfOneAccountAreAnsweredAsTwoOfNobody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		h.addUser(t, "alice")
		for what, way := range h.waysOfCodes() {
			h.clock.turn(time.Hour)
			seen := map[string]string{}
			for _, name := range []string{"alice", "zoe"} {
				first, second, ctx := h.BeginOwn("/"), h.BeginOwn("/"), by(t, 1, idp.SessionToken{})
				answers := []error{way.ask(ctx, first, name), way.ask(ctx, second, name+"@example.com")}
				for range 2 {
					answers = append(answers, way.show(ctx, first, "000"), way.show(ctx, second, "000"))
				}
				for i := range 8 { // no more of one than of the other
					answers = append(answers, way.ask(by(t, byte(i+2), idp.SessionToken{}), h.BeginOwn("/"), name+[]string{"", "@example.com"}[i%2]))
				}
				for _, err := range answers {
					seen[name] += " " + idp.CodeOf(err)
				}
			}
			if seen["alice"] != seen["zoe"] || !strings.HasPrefix(seen["zoe"], "   code_wrong code_wrong code_wrong code_wrong") {
				t.Errorf("%s: somebody %s\nnobody   %s", what, seen["alice"], seen["zoe"])
			}
		}
	}, codesOn)
}

func TestS0_23_WhatTheOwnerDoesWithACodeIsNotToldToWhoeverAskedForIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		h.enter(t, 1, "alice", alicePassword)
		for what, way := range h.waysOfCodes() {
			for deed, react := range map[string]func(){
				"uses the link": func() {
					if link := h.latest(t, m, "reset", "alice@example.com", "link"); what == "a reset" {
						if err := h.ResetPassword(by(t, 1, idp.SessionToken{}), &idp.Interaction{}, tokenOf(link), newPassword); err != nil {
							t.Fatal(err)
						}
					}
				},
				"has another password": func() {
					if err := h.SetPassword(t.Context(), u.ID, alicePassword); err != nil {
						t.Fatal(err)
					}
				},
				"says it was not her": func() {
					h.clock.turn(time.Second)
					if err := h.SetPassword(t.Context(), u.ID, alicePassword); err != nil {
						t.Fatal(err)
					}
					s := h.enter(t, 77, "alice", alicePassword)
					if _, err := h.ChangePassword(by(t, 77, s.Token), h.visitOf(t, s), alicePassword, newPassword); err != nil {
						t.Fatal(err)
					}
					if err := h.WasNotMe(by(t, 1, idp.SessionToken{}), tokenOf(h.latest(t, m, "password_changed", "alice@example.com", "not_me"))); err != nil {
						t.Fatal(err)
					}
				},
			} {
				h.clock.turn(time.Hour)
				in, decoy, ctx := h.BeginOwn("/"), h.BeginOwn("/"), by(t, 66, idp.SessionToken{})
				for name, in := range map[string]*idp.Interaction{"alice@example.com": in, "zoe@example.com": decoy} {
					if err := way.ask(ctx, in, name); err != nil {
						t.Fatalf("%s for %s: %v", what, name, err)
					}
				}
				react()
				for i, want := range []string{"code_wrong", "code_wrong", "code_over", "code_over"} {
					got, nobodys := idp.CodeOf(way.show(ctx, in, "000")), idp.CodeOf(way.show(ctx, decoy, "000"))
					if got != want || nobodys != want {
						t.Errorf("%s, and she %s, guess %d: somebody's %s, nobody's %s, want %s", what, deed, i+1, got, nobodys, want)
					}
				}
			}
		}
	}, codesOn, noLimits)
}

func TestI2_TheRightCodeOfATicketThatIsOverLetsNobodyIn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		ctx := by(t, 1, idp.SessionToken{})
		for what, way := range h.waysOfCodes() {
			kind := map[string]string{"a reset": "reset", "a code to sign in": "login_code"}[what]
			for deed, end := range map[string]func(in idp.Interaction, code string){
				"was used": func(in idp.Interaction, code string) {
					if err := way.show(ctx, &in, code); err != nil {
						t.Fatal(err)
					}
					if what == "a reset" {
						if err := h.ResetPassword(ctx, &in, "", newPassword); err != nil {
							t.Fatal(err)
						}
					}
				},
				"is of a former password": func(idp.Interaction, string) {
					if err := h.SetPassword(t.Context(), u.ID, alicePassword); err != nil {
						t.Fatal(err)
					}
				},
				"is of a former epoch": func(idp.Interaction, string) {
					now, err := h.store.User(t.Context(), u.ID)
					if err != nil {
						t.Fatal(err)
					}
					now.Epoch++
					if err := h.store.ChangeUser(t.Context(), now, now.Epoch-1); err != nil {
						t.Fatal(err)
					}
				},
			} {
				h.clock.turn(time.Hour)
				in := h.BeginOwn("/")
				if err := way.ask(ctx, in, "alice"); err != nil {
					t.Fatal(err)
				}
				code := h.latest(t, m, kind, "alice@example.com", "code")
				end(*in, code)
				if err := way.show(ctx, in, code); idp.KindOf(err) != idp.Denied || in.Proved || !in.Authenticated.IsZero() {
					t.Errorf("%s that %s: got %v and %+v", what, deed, err, in)
				}
				in.Proved = true // as if the proof had come before
				if err := h.ResetPassword(ctx, in, "", "a better one than before"); idp.KindOf(err) != idp.Denied {
					t.Errorf("%s that %s: the password was set: %v", what, deed, err)
				}
			}
		}
	}, codesOn, noLimits)
}
