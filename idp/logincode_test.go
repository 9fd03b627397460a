package idp_test

import (
	"crypto/sha256"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

func codesOn(cfg *config.Config) { cfg.Login.Code.Enabled = true }

// askForCode asks for a code to sign in with, in browser n, and returns it.
func (h *house) askForCode(t testing.TB, m *postman, n byte, name string) (*idp.Interaction, string) {
	t.Helper()
	in := h.BeginOwn("/")
	if err := h.RequestLogInCode(atBrowser(t, n), in, name); err != nil {
		t.Fatalf("ask for a code: %v", err)
	}
	return in, h.latest(t, m, "login_code", "alice@example.com", "code")
}

func TestS0_70_ACodeByMailSignsIn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		for _, name := range []string{"alice", "Alice@EXAMPLE.com"} {
			in, code := h.askForCode(t, m, 1, name)
			s, err := h.LogInByCode(atBrowser(t, 1), in, code, true)
			if err != nil || !h.alive(t, s.Token) || !reflect.DeepEqual(s.Session.AMR(), []string{"otp"}) || !s.Session.Remembered ||
				in.Authenticated != s.Session.Authentication || !in.Ticket.IsZero() {
				t.Errorf("%s: got %+v and %v", name, s, err)
			}
			_, err = h.LogInByCode(atBrowser(t, 1), in, code, true)
			wantError(t, err, idp.Denied, "code_over", "code")
		}
	}, codesOn)
}

func TestS0_70_CodesAreOffByDefault(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		wantError(t, h.RequestLogInCode(atBrowser(t, 1), h.BeginOwn("/"), "alice"), idp.Missing, "login_code_off", "")
		_, err := h.LogInByCode(atBrowser(t, 1), h.BeginOwn("/"), "123456", false)
		wantError(t, err, idp.Missing, "login_code_off", "")
	})
}

func TestI19_ACodeOfWhoOwesAStepMakesAPendingSession(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		u := h.addUser(t, "alice")
		if err := h.LendPassword(t.Context(), u.ID, formPassword); err != nil {
			t.Fatal(err)
		}
		in, code := h.askForCode(t, m, 1, "alice")
		if s, err := h.LogInByCode(atBrowser(t, 1), in, code, false); err != nil || s.Session.State != idp.Pending || h.alive(t, s.Token) {
			t.Errorf("got %+v and %v, want it pending", s, err)
		}
	}, codesOn)
}

func TestS0_71_ThreeWrongCodesEndTheFlow(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		in, code := h.askForCode(t, m, 1, "alice")
		done, codes := atOnce(50, func(int) error {
			tab := *in
			_, err := h.LogInByCode(atBrowser(t, 1), &tab, wrongCode(code), false)
			return err
		})
		if done != 0 || codes["code_wrong"] != 2 || codes["code_over"] != 48 {
			t.Errorf("%d were right, %v", done, codes)
		}
		_, err := h.LogInByCode(atBrowser(t, 1), in, code, false)
		wantError(t, err, idp.Denied, "code_over", "code")
	}, codesOn, noLimits)
}

func TestS0_72_ACodeWorksForThreeMinutesOnceAndTheNewestAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		in, code := h.askForCode(t, m, 1, "alice")
		done, codes := atOnce(20, func(int) error {
			tab := *in
			_, err := h.LogInByCode(atBrowser(t, 1), &tab, code, false)
			return err
		})
		if done != 1 || codes["code_over"] != 19 || h.count(t, "user.signed_in") != 1 {
			t.Errorf("%d were right, %v, events %s", done, codes, h.kinds(t))
		}
		in, code = h.askForCode(t, m, 1, "alice")
		h.clock.turn(3 * time.Minute)
		_, err := h.LogInByCode(atBrowser(t, 1), in, code, false)
		wantError(t, err, idp.Denied, "code_wrong", "code")

		older, oldCode := h.askForCode(t, m, 1, "alice")
		newer, newCode := h.askForCode(t, m, 1, "alice")
		_, err = h.LogInByCode(atBrowser(t, 1), older, oldCode, false)
		wantError(t, err, idp.Denied, "code_over", "code")
		if _, err := h.LogInByCode(atBrowser(t, 1), newer, newCode, false); err != nil {
			t.Errorf("the newest: %v", err)
		}
	}, codesOn, noLimits, func(cfg *config.Config) { cfg.Login.Code.MaxAttempts = 20 })
}

func TestS0_10_RequestsForCodesAreLimitedByName(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		h.addUser(t, "alice")
		for _, name := range []string{"alice", "zoe"} {
			for i := range 4 {
				err := h.RequestLogInCode(atBrowser(t, byte(i+1)), h.BeginOwn("/"), name)
				if i < 3 && err != nil || i == 3 && idp.KindOf(err) != idp.Throttled {
					t.Errorf("%s, request %d: %v", name, i+1, err)
				}
			}
		}
	}, codesOn)
}

func TestS0_23_AskingForACodeTellsNothingOfTheAccount(t *testing.T) {
	eachWatched(t, func(t *testing.T, h *house, sent func() string) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUnverified(t)
		disabled := h.addUser(t, "erin")
		if err := h.DisableUser(t.Context(), disabled.ID); err != nil {
			t.Fatal(err)
		}
		for _, n := range []idp.NewUser{{Username: "carol"}, {Username: "frank", Email: "frank@example.com", EmailVerified: true}} {
			if _, err := h.AddUser(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[string]dump{}
		for i, name := range []string{"alice", "dave", "erin", "carol", "frank", "zoe", "zoe@example.com"} {
			in, ctx := h.BeginOwn("/"), atBrowser(t, byte(i+1))
			h.waits.list = nil
			sent()
			d := dump{code: idp.CodeOf(h.RequestLogInCode(ctx, in, name)), hasTicket: !in.Ticket.IsZero(), statements: sent()}
			for range 4 {
				var err error
				d.made, err = h.LogInByCode(ctx, in, "none", false)
				d.code += " " + idp.CodeOf(err)
			}
			d.statements += sent()
			d.waits = h.waits.list
			seen[name] = d
		}
		for name, d := range seen {
			if !reflect.DeepEqual(d, seen["alice"]) {
				t.Errorf("%s %+v\nalice %+v", name, d, seen["alice"])
			}
		}
		if d := seen["alice"]; !d.hasTicket || d.code != " code_wrong code_wrong code_over code_over" {
			t.Errorf("got %+v", d)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "account_disabled login_code login_code" { // the codes to alice and frank
			t.Errorf("sent %q", got)
		}
	}, codesOn)
}

func TestS0_79_ASignInByAnUnknownBrowserIsMailed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		first := h.know(t, "192.0.2.1", "alice")
		if h.doJobs(t); len(m.mails) != 0 {
			t.Errorf("the first ever sign-in is told: %s", m.kinds())
		}
		if err := h.tryAt(t, "192.0.2.1", first, "alice", alicePassword); err != nil {
			t.Fatal(err)
		}
		if h.doJobs(t); len(m.mails) != 0 {
			t.Errorf("a known browser is told: %s", m.kinds())
		}
		second := h.know(t, "192.0.2.2", "alice")
		link := h.latest(t, m, "new_sign_in", "alice@example.com", "not_me")
		if !strings.HasPrefix(link, "https://id.example/secure/") || len(m.mails) != 1 {
			t.Fatalf("got the link %q, sent %s", link, m.kinds())
		}
		if _, err := h.OpenLink(t.Context(), idp.ForAlarm, strings.TrimPrefix(link, "https://id.example/secure/")); err != nil {
			t.Errorf("its link: %v", err)
		}
		if err := h.tryAt(t, "192.0.2.2", second, "alice", alicePassword); err != nil {
			t.Fatal(err)
		}
		h.know(t, "192.0.2.3", "bob")
		if err := h.tryAt(t, "192.0.2.2", second, "bob", alicePassword); err != nil { // alice's cookie is none of bob's
			t.Fatal(err)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "new_sign_in new_sign_in" || m.mails[1].To != "bob@example.com" {
			t.Errorf("sent %s, want one more to bob", got)
		}
		if err := h.tryAt(t, "192.0.2.9", sha256.Sum256([]byte("forged")), "alice", alicePassword); err != nil {
			t.Fatal(err)
		}
		if h.doJobs(t); len(m.mails) != 3 {
			t.Errorf("a forged cookie hides a sign-in: %s", m.kinds())
		}
	})
}
