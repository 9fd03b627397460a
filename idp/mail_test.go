package idp_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/config"
	"postern/idp"
)

// addAdmin adds an administrator with alicePassword.
func (h *house) addAdmin(t testing.TB, name string, verified bool) idp.User {
	t.Helper()
	u, err := h.AddUser(t.Context(), idp.NewUser{
		Username: name, Email: name + "@example.com", EmailVerified: verified, Password: alicePassword, Admin: true,
	})
	if err != nil {
		t.Fatalf("add %s: %v", name, err)
	}
	return u
}

func TestAMailToAdministratorsReachesThoseWhoCanBeTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addAdmin(t, "ruth", true)
		h.addAdmin(t, "unverified", false)
		h.addUser(t, "alice")
		gone := h.addAdmin(t, "gone", true)
		if err := h.DisableUser(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		err := h.store.Tx(t.Context(), func(ctx context.Context) error {
			return idp.MailAdmins(h.Provider, ctx, idp.Mail{Kind: "honeypot"})
		})
		if err != nil {
			t.Fatal(err)
		}
		h.doJobs(t)
		// Who was disabled was told so.
		m.mails = slices.DeleteFunc(m.mails, func(m idp.Mail) bool { return m.Kind == "account_disabled" })
		if len(m.mails) != 1 || m.mails[0].To != "ruth@example.com" || !m.mails[0].At.Equal(h.Now()) {
			t.Errorf("sent %+v, want one to ruth", m.mails)
		}
	})
}

func TestWithoutAMailerNothingIsEnqueued(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addAdmin(t, "ruth", true)
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		err := h.store.Tx(t.Context(), func(ctx context.Context) error {
			return idp.MailAdmins(h.Provider, ctx, idp.Mail{Kind: "honeypot"})
		})
		if waiting, _ := h.jobs(t); err != nil || waiting != 0 {
			t.Errorf("%d jobs wait, %v, want none", waiting, err)
		}
	})
}

func TestAMailWhoseCodeExpiredIsNotSent(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		for kind, expires := range map[string]time.Time{"reset": h.Now().Add(time.Minute), "login_code": h.Now().Add(time.Minute + time.Second)} {
			h.enqueue(t, idp.Mail{Kind: kind, To: "alice@example.com", Args: map[string]string{"expires": expires.Format(time.RFC3339)}}, "", h.Now())
		}
		h.clock.turn(time.Minute)
		h.doJobs(t)
		if waiting, failing := h.jobs(t); m.kinds() != "login_code" || waiting != 0 || failing != 0 {
			t.Errorf("sent %s, %d wait, %d fail; want the one that works still, and nothing left", m.kinds(), waiting, failing)
		}
	})
}

func TestARecipientOfManyMailsIsSentTheRestLater(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		for i := range 15 {
			h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com", Args: map[string]string{"n": fmt.Sprint(i)}}, "", h.Now())
		}
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "bob@example.com"}, "", h.Now())
		h.doJobs(t)
		if len(m.mails) != 11 {
			t.Errorf("sent %d mails at once, want 10 to alice and one to bob", len(m.mails))
		}
		h.clock.turn(10 * time.Minute)
		h.doJobs(t)
		if len(m.mails) != 16 {
			t.Errorf("sent %d mails in ten minutes more, want all 16", len(m.mails))
		}
	})
}

// lure sends n attempts to the honeypot, each from an address of its own.
func (h *house) lure(t *testing.T, n int, c idp.Catch) {
	t.Helper()
	for i := range n {
		ctx := idp.WithVisitor(t.Context(), &idp.Visitor{
			Address: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), UserAgent: "Mozilla <b>", RequestID: "req-1",
		})
		wantError(t, h.Spring(ctx, c), idp.Denied, "invalid_credentials", "")
	}
}

func TestS2_06_AHundredAttemptsInTheHoneypotAreOneMailAndADigest(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addAdmin(t, "ruth", true)
		h.lure(t, 100, idp.Catch{Username: "ruth", Path: "/admin/"})
		h.doJobs(t)
		if got := m.kinds(); got != "honeypot" {
			t.Errorf("sent %q at once, want one mail", got)
		}
		h.clock.turn(2 * time.Hour)
		h.doJobs(t)
		h.doJobs(t)
		if got := m.kinds(); got != "honeypot honeypot_digest" {
			t.Errorf("sent %q, want one mail and one digest", got)
		}
	}, func(cfg *config.Config) { cfg.RateLimits.Off = true })
}

func TestS2_07_TheMailSaysWhoItWasAndNothingKeepsThePassword(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addAdmin(t, "ruth", true)
		h.lure(t, 1, idp.Catch{Username: "ruth\r\nBcc: eve@example.com", Path: "/admin/login?next=/", Parameters: "username=********************&password=********************"})
		h.doJobs(t)
		if len(m.mails) != 1 {
			t.Fatalf("sent %d mails, want one", len(m.mails))
		}
		mail := m.mails[0]
		for arg, want := range map[string]string{"address": "198.51.100.0", "user_agent": "Mozilla <b>", "path": "/admin/login?next=/"} {
			if got := mail.Args[arg]; got != want {
				t.Errorf("%s is %q, want %q", arg, got, want)
			}
		}
		if got := mail.Args["username"]; !strings.HasPrefix(got, "ruth") || strings.ContainsAny(got, "\r\n") {
			t.Errorf("username is %q, want it in one line", got)
		}
		if !mail.At.Equal(h.Now()) {
			t.Errorf("at %v, want %v", mail.At, h.Now())
		}
	})
}

func TestAMailThatIsRefusedForGoodIsNotTriedAgain(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m, registry := &postman{fails: fmt.Errorf("nobody of that name: %w", idp.ErrMailRefused)}, prometheus.NewRegistry()
		h.reopenWith(t, func(o *idp.Options) { o.Mailer, o.Metrics = m, registry })
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		h.doJobs(t)
		if waiting, _ := h.jobs(t); waiting != 0 || m.asked != 1 {
			t.Errorf("%d jobs wait after %d tries, want none after one", waiting, m.asked)
		}
		if got := measure(t, registry, "postern_mail_sent_total lockout refused"); got != 1 {
			t.Errorf("%v mails are counted as refused, want 1", got)
		}
	})
}

func TestS0_23_S0_24_WithoutMailWhatNeedsOneIsRefusedWhoeverIsNamed(t *testing.T) {
	eachWatched(t, func(t *testing.T, h *house, sent func() string) {
		h.addUser(t, "alice")
		h.addUnverified(t)
		ctx, _, pending := h.logInPending(t, 1)
		alice := h.enter(t, 2, "alice", alicePassword)
		if h.CanMail() || h.SignUpOpen() {
			t.Errorf("can mail: %v, sign-up is open: %v, want neither", h.CanMail(), h.SignUpOpen())
		}
		if s, err := h.SignUpState(ctx, ""); err != nil || s.Open {
			t.Errorf("got %+v and %v, want nobody sent to a form that leads nowhere", s, err)
		}
		deeds := map[string]func(in *idp.Interaction, name string) error{
			"reset": func(in *idp.Interaction, name string) error { return h.RequestReset(ctx, in, name) },
			"code":  func(in *idp.Interaction, name string) error { return h.RequestLogInCode(ctx, in, name) },
			"sign up": func(in *idp.Interaction, name string) error {
				f := formOf("newcomer")
				f.Email = name
				_, err := h.SignUp(ctx, in, f)
				return err
			},
			"add an address": func(in *idp.Interaction, name string) error {
				return h.AddEmail(by(t, 2, alice.Token), h.visitOf(t, alice), in, name)
			},
			"send a code": func(in *idp.Interaction, name string) error { return h.SendCode(ctx, in, pending) },
		}
		for what, do := range deeds {
			seen := map[string]bool{}
			for _, name := range []string{"alice@example.com", "dave@example.com", "zoe@example.com"} {
				in := h.BeginOwn("/")
				sent()
				wantError(t, do(in, name), idp.Denied, "mail_off", "")
				if !in.Ticket.IsZero() {
					t.Errorf("%s of %s: got a ticket that nobody is mailed", what, name)
				}
				seen[sent()] = true
			}
			if len(seen) != 1 {
				t.Errorf("%s: the statements tell who has an account: %v", what, seen)
			}
		}
		if waiting, _ := h.jobs(t); waiting != 0 || h.userCount(t) != 2 {
			t.Errorf("%d mails wait, there are %d users", waiting, h.userCount(t))
		}
		// An operator lets in whom no mail reaches.
		if _, err := h.ConfirmEmail(t.Context(), pending.User.ID, ""); err != nil {
			t.Fatal(err)
		}
		if s, err := h.LogIn(ctx, h.BeginOwn("/"), idp.LogIn{Identifier: "dave", Password: alicePassword}); err != nil || s.Session.State != idp.Live {
			t.Errorf("got %+v and %v", s, err)
		}
	}, signUpOpen, noLimits, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
}

func TestS0_40_WithoutMailPeopleSignUpWhereNothingNeedsOne(t *testing.T) {
	for _, c := range []struct {
		verification, enumeration string
		open                      bool
	}{
		{"mandatory", "true", false}, {"optional", "true", true}, {"none", "true", true},
		{"mandatory", "strict", false}, {"optional", "strict", false}, {"none", "strict", true},
	} {
		t.Run(c.verification+", "+c.enumeration, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				_, err := h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), formOf("ursula"))
				if (err == nil) != c.open || h.SignUpOpen() != c.open || !c.open && idp.CodeOf(err) != "mail_off" {
					t.Errorf("got %v, open: %v, want %v", err, h.SignUpOpen(), c.open)
				}
			}, signUpOpen, verification(c.verification), enumeration(c.enumeration))
		})
	}
}

func TestS0_24_SignUpsWithSomebodysAddressDelayNoMailAboutTheirAccount(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.enter(t, 1, "alice", alicePassword)
		bomb := func(n int) {
			for i := range n {
				f := formOf(fmt.Sprintf("bomb%03d", i))
				f.Email = "Alice@example.com"
				if _, err := h.SignUp(atBrowser(t, byte(i+2)), h.BeginOwn("/"), f); err != nil {
					t.Fatal(err)
				}
			}
		}
		bomb(50)
		if waiting, _ := h.jobs(t); waiting != 1 {
			t.Errorf("%d mails wait for alice, want one", waiting)
		}
		if n := len(h.sent(t, m, "account_exists")); n != 1 {
			t.Errorf("%d mails were sent, want one", n)
		}
		for range 12 { // as soon as one is sent
			bomb(1)
			h.doJobs(t)
		}
		if n := len(h.sent(t, m, "account_exists")); n != 10 {
			t.Errorf("%d mails were sent, want as many as the limit allows", n)
		}
		h.enter(t, 200, "alice", alicePassword)
		h.only(t, m, "new_sign_in")
	}, signUpOpen)
}

func TestS0_24_OneMailAtATimeTellsThatAnAddressWasUsedForAnotherAccount(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		s := h.enter(t, 1, "alice", alicePassword)
		for range 5 {
			if err := h.AddEmail(by(t, 1, s.Token), h.visitOf(t, s), &idp.Interaction{}, "bob@example.com"); err != nil {
				t.Fatal(err)
			}
		}
		h.only(t, m, "account_exists")
	})
}
