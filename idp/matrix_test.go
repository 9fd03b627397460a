package idp_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// The matrix: every path that makes a session, under every policy. What is expected of a cell is
// "STEPS; AMR; ACR; MINUTE": the steps that were owed on the way, what tokens tell, and the minute of
// auth_time, where each deed of the path is a minute after the one before and the first is minute 1.

// A walk is one cell of the matrix.
type walk struct {
	*house
	t      *testing.T
	mail   *postman
	in     *idp.Interaction
	name   string
	kind   string // of the user: what they have
	join   func(*idp.NewUser)
	began  time.Time
	device [32]byte     // the browser's cookie
	has    idp.SignedIn // the browser's session
	secret string       // the password
	app    app
	key    *device
	codes  []string
	steps  []string
}

// A policyOf is one policy of the matrix.
type policyOf struct {
	name     string
	settings func(*config.Config)
	required bool // of the users of the walk
	off      bool
	join     func(*idp.NewUser)
}

var policies = []policyOf{
	{name: "off", settings: func(cfg *config.Config) { cfg.MFA.Policy = "off" }, off: true},
	{name: "optional", settings: func(cfg *config.Config) { cfg.MFA.Policy = "optional" }},
	{name: "required", settings: func(cfg *config.Config) { cfg.MFA.Policy = "required" }, required: true},
	{name: "required of their group", required: true,
		settings: func(cfg *config.Config) {
			cfg.MFA.Policy, cfg.MFA.Policies = "off", []string{"group=staff => required"}
		},
		join: func(n *idp.NewUser) { n.Groups = idp.List{"staff"} }},
	{name: "required of another group",
		settings: func(cfg *config.Config) { cfg.MFA.Policies = []string{"group=staff => required"} },
		join:     func(n *idp.NewUser) { n.Groups = idp.List{"guests"} }},
	{name: "required of administrators, who they are", required: true, settings: func(*config.Config) {},
		join: func(n *idp.NewUser) { n.Admin = true }},
	{name: "nobody is verified", settings: func(cfg *config.Config) { cfg.Email.Verification = "none" }},
}

// A path makes a session of a user of that kind.
type path struct {
	name string
	kind string
	// free is what becomes of it where nothing is required, and required where a second factor is.
	free, required string
	// off and admin are what becomes of it in their place under the policy off, and for
	// administrators; "" for the same.
	off, admin string
	settings   func(*config.Config)
	// strangers are nobody's colleagues: they sign up.
	strangers bool
	first     func(w *walk) idp.SignedIn // the deeds before what is owed
}

const (
	byPassword = "pwd; pwd; 1"
	thenApp    = "second_factor; pwd otp mfa; mfa; 1"
	thenKey    = "second_factor; pwd hwk user mfa; phrh; 2" // the key verified its user
	enrolled   = "enrol; pwd otp mfa; mfa; 1"
	steppedUp  = "second_factor second_factor; pwd otp hwk user mfa; phr; 3"
)

var paths = []path{
	{name: "password", kind: "plain", free: "; " + byPassword, required: enrolled, first: (*walk).password},
	{name: "password and app", kind: "app", free: thenApp, required: thenApp, first: (*walk).password},
	{name: "password and key", kind: "key", free: thenKey, required: thenKey, first: (*walk).password},
	{name: "password and recovery code", kind: "codes", free: thenApp, required: thenApp, first: (*walk).password},
	{name: "mailed code", kind: "plain", free: "; otp; pwd; 2", required: "enrol; otp mfa; mfa; 2", settings: codesOn, first: (*walk).mailed},
	{name: "mailed code and app", kind: "app", free: "second_factor; otp mfa; mfa; 2", required: "second_factor; otp mfa; mfa; 2", settings: codesOn, first: (*walk).mailed},
	{name: "mailed code and key", kind: "key", free: "second_factor; otp hwk user mfa; phrh; 3", required: "second_factor; otp hwk user mfa; phrh; 3", settings: codesOn, first: (*walk).mailed},
	{name: "passkey alone", kind: "key", free: "; hwk user mfa; phrh; 1", required: "; hwk user mfa; phrh; 1", first: (*walk).passkey},
	{name: "trusted browser", kind: "app", free: "; " + byPassword, required: "; " + byPassword, admin: thenApp, settings: trustOn,
		first: func(w *walk) idp.SignedIn { w.trustThis(); return w.password() }},
	{name: "trusted browser, asked for two factors", kind: "app", free: thenApp, required: thenApp, settings: trustOn,
		first: func(w *walk) idp.SignedIn { w.trustThis(); w.ask("essential=mfa"); return w.password() }},

	{name: "sign-up by code", kind: "new", free: "; pwd; pwd; 2", required: "enrol; pwd otp mfa; mfa; 2", strangers: true,
		settings: together(signUpOpen, verification("mandatory")), first: (*walk).signUpByCode},
	{name: "sign-up by link", kind: "new", free: "; pwd; pwd; 2", required: "enrol; pwd otp mfa; mfa; 2", strangers: true,
		settings: together(signUpOpen, verification("mandatory"), byLink), first: (*walk).signUpByLink},
	{name: "sign-up by link, prompt=login", kind: "new", free: "; pwd; pwd; 2", required: "enrol; pwd otp mfa; mfa; 2", strangers: true,
		settings: together(signUpOpen, verification("mandatory"), byLink),
		first:    func(w *walk) idp.SignedIn { w.ask("login"); return w.signUpByLink() }},
	{name: "sign-up without verification", kind: "new", free: "; " + byPassword, required: "verify_email enrol; pwd otp mfa; mfa; 1", strangers: true,
		settings: together(signUpOpen, verification("none")), first: (*walk).signUpAtOnce},
	{name: "sign-up, verification is optional", kind: "new", free: "; " + byPassword, required: "verify_email enrol; pwd otp mfa; mfa; 1", strangers: true,
		settings: together(signUpOpen, verification("optional"), enumeration("true")), first: (*walk).signUpAtOnce},
	{name: "invite", kind: "new", free: "; " + byPassword, required: "verify_email enrol; pwd otp mfa; mfa; 1",
		settings: together(func(cfg *config.Config) { cfg.Signup.Mode = "invite" }, verification("none")), first: (*walk).invited},
	{name: "an address to prove, by code", kind: "unverified", free: "verify_email; " + byPassword, required: "verify_email enrol; pwd otp mfa; mfa; 1",
		settings: verification("mandatory"), first: (*walk).password},
	{name: "an address to prove, by link", kind: "unverified", free: "; " + byPassword, required: enrolled,
		settings: together(verification("mandatory"), byLink), first: (*walk).passwordThenLink},
	{name: "lent password", kind: "plain", free: "change_password; " + byPassword, required: "enrol change_password; pwd otp mfa; mfa; 1",
		first: func(w *walk) idp.SignedIn { w.lend(); return w.password() }},
	{name: "lent password and app", kind: "app", free: "second_factor change_password; pwd otp mfa; mfa; 1", required: "second_factor change_password; pwd otp mfa; mfa; 1",
		first: func(w *walk) idp.SignedIn { w.lend(); return w.password() }},
	{name: "reset", kind: "plain", free: "; " + byPassword, required: enrolled, first: func(w *walk) idp.SignedIn { w.reset(); return w.password() }},
	{name: "reset of who has an app", kind: "app", free: thenApp, required: thenApp, first: func(w *walk) idp.SignedIn { w.reset(); return w.password() }},
	{name: "reset in a trusted browser", kind: "app", free: thenApp, required: thenApp, settings: trustOn,
		first: func(w *walk) idp.SignedIn { w.trustThis(); w.reset(); return w.password() }},
	{name: "coming back", kind: "app", free: thenApp, required: thenApp, first: func(w *walk) idp.SignedIn { w.leaveAndReturn(); return w.password() }},

	{name: "password again in a live session", kind: "plain", free: "; pwd; pwd; 2", required: "enrol; otp pwd mfa; mfa; 2",
		first: func(w *walk) idp.SignedIn { w.goOn(w.password()); return w.password() }},
	{name: "password again after password and app", kind: "app", free: "second_factor; otp pwd mfa; mfa; 2", required: "second_factor; otp pwd mfa; mfa; 2",
		first: func(w *walk) idp.SignedIn { w.goOn(w.password()); return w.password() }},
	{name: "passkey after password and key", kind: "key", free: "second_factor; pwd hwk user mfa; phrh; 3", required: "second_factor; pwd hwk user mfa; phrh; 3",
		first: func(w *walk) idp.SignedIn { w.goOn(w.password()); return w.passkey() }},
	{name: "in somebody else's browser", kind: "app", free: "second_factor; pwd otp mfa; mfa; 2", required: "second_factor; pwd otp mfa; mfa; 2",
		first: func(w *walk) idp.SignedIn { w.somebodyElse(); return w.password() }},
	{name: "after another pending sign-in", kind: "app", free: "second_factor; pwd otp mfa; mfa; 2", required: "second_factor; pwd otp mfa; mfa; 2",
		first: func(w *walk) idp.SignedIn { w.password(); return w.password() }},
	{name: "prompt=login in a live session", kind: "app", free: "second_factor second_factor; pwd otp mfa; mfa; 3", required: "second_factor second_factor; pwd otp mfa; mfa; 3",
		first: func(w *walk) idp.SignedIn { w.goOn(w.password()); w.ask("login"); return w.password() }},

	{name: "step-up by a key", kind: "both", free: steppedUp, required: steppedUp, first: (*walk).stepUp},
	{name: "step-up, asked again within max_age", kind: "both", free: steppedUp, required: steppedUp,
		first: func(w *walk) idp.SignedIn { s := w.goOn(w.stepUp()); w.ask("essential=phr max_age=600"); return s }},
	{name: "step-up that is wished for and not done", kind: "both", free: "second_factor; pwd otp mfa; mfa; 1", required: "second_factor; pwd otp mfa; mfa; 1",
		first: func(w *walk) idp.SignedIn { w.ask("acr_values=phr"); return w.password() }},
	{name: "step-up of who has no factor", kind: "plain", free: "enrol; pwd otp mfa; mfa; 1", required: enrolled, off: "denied; pwd; pwd; 1",
		first: func(w *walk) idp.SignedIn { s := w.goOn(w.password()); w.ask("essential=mfa"); return s }},
	{name: "step-up that is wished for", kind: "plain", free: "; " + byPassword, required: enrolled,
		first: func(w *walk) idp.SignedIn { s := w.goOn(w.password()); w.ask("acr_values=mfa"); return s }},
	{name: "a key that is asked for", kind: "app", free: "second_factor denied; pwd otp mfa; mfa; 1", required: "second_factor denied; pwd otp mfa; mfa; 1",
		first: func(w *walk) idp.SignedIn { w.ask("essential=phr"); return w.password() }},
}

func together(list ...func(*config.Config)) func(*config.Config) {
	return func(cfg *config.Config) {
		for _, change := range list {
			change(cfg)
		}
	}
}

func TestS3_40_I19_EveryPathIsToldAsItWasAndSkipsNoFactor(t *testing.T) {
	for _, c := range paths {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range policies {
				if c.strangers && p.join != nil {
					continue
				}
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					want := c.free
					switch {
					case p.off && c.off != "":
						want = c.off
					case p.name == policies[5].name && c.admin != "":
						want = c.admin
					case p.required:
						want = c.required
					}
					if got := walked(t, &c, &p); got != want {
						t.Errorf("got  %q,\nwant %q", got, want)
					}
				})
			}
		})
	}
}

// walked goes the path under the policy.
func walked(t *testing.T, c *path, p *policyOf) string {
	t.Helper()
	// People get what they have while they may, and then the policy begins.
	h := openSQLite(t, noLimits, func(cfg *config.Config) { cfg.Lockout.Enabled = false })
	w := &walk{house: h, t: t, kind: c.kind, name: "ada", secret: alicePassword, join: p.join, in: h.BeginOwn("/")}
	w.mail = h.withPostman(t)
	w.equip()
	h.cfg.MFA.Policies = slices.Clone(h.cfg.MFA.Policies)
	p.settings(h.cfg)
	if c.settings != nil {
		c.settings(h.cfg)
	}
	w.mail = h.withPostman(t)
	w.clock.turn(time.Hour)
	w.begin()
	s := w.goOn(c.first(w))
	a := h.Assurance(w.in, &idp.Visit{Session: s.Session, User: s.User}, nil)
	return fmt.Sprintf("%s; %s; %s; %d", strings.Join(w.steps, " "), strings.Join(a.AMR, " "),
		strings.TrimPrefix(a.ACR, "urn:postern:acr:"), a.AuthTime.Sub(w.began)/time.Minute)
}

func (w *walk) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// equip adds the user with what their kind has.
func (w *walk) equip() {
	w.t.Helper()
	if w.kind == "new" {
		return
	}
	n := idp.NewUser{Username: w.name, Email: w.name + "@example.com", EmailVerified: w.kind != "unverified", Password: alicePassword}
	_, err := w.AddUser(w.t.Context(), n)
	w.must(err)
	switch w.kind {
	case "app", "codes", "both":
		a, made := w.addApp(w.t, 1, w.enter(w.t, 1, w.name, alicePassword))
		w.app, w.codes = a, made.RecoveryCodes
		if w.kind == "both" {
			w.key = newDevice()
			w.addKey(w.t, 1, made.SignedIn, w.key)
		}
	case "key":
		w.key = newDevice()
		w.addKey(w.t, 1, w.enter(w.t, 1, w.name, alicePassword), w.key)
	}
	if w.join != nil {
		w.join(&n)
		u, err := w.FindUser(w.t.Context(), w.name)
		w.must(err)
		u.Groups, u.Admin = n.Groups, n.Admin
		w.must(w.store.ChangeUser(w.t.Context(), u, u.Epoch))
	}
}

// begin starts the count of minutes and steps in a browser without a session.
func (w *walk) begin() {
	w.began, w.steps, w.has, w.in = w.Now(), nil, idp.SignedIn{}, w.BeginOwn("/")
}

// tick is a minute.
func (w *walk) tick() { w.clock.turn(time.Minute) }

// ask lets what follows be for another request.
func (w *walk) ask(words string) {
	w.in = w.BeginOwn("/")
	w.in.Request = requestOf(w.t, words).Request
}

// ctx is that of the browser as it is.
func (w *walk) ctx() context.Context {
	v := &idp.Visitor{
		Address: netip.AddrFrom4([4]byte{192, 0, 2, 7}), UserAgent: "Browser/1.0", Browser: [32]byte{7}, Device: w.device, Locale: "en",
	}
	if w.has.Session.State == idp.Pending {
		v.Pending = w.has.Token
	} else {
		v.Session = w.has.Token
	}
	return idp.WithVisitor(w.t.Context(), v)
}

// keep is what the browser keeps of an answer.
func (w *walk) keep(s idp.SignedIn, err error) idp.SignedIn {
	w.t.Helper()
	w.must(err)
	if w.has = s; s.Device != nil {
		w.device = sha256.Sum256(s.Device[:])
	}
	return s
}

// visit is the browser's session. One that is pending is good for nothing else.
func (w *walk) visit() *idp.Visit {
	w.t.Helper()
	if w.has.Session.State == idp.Pending {
		if _, err := w.Visit(w.t.Context(), w.has.Token, ""); !errors.Is(err, idp.ErrNotFound) {
			w.t.Fatalf("a pending session is live: %v", err)
		}
	}
	v, err := w.VisitOf(w.ctx(), w.in)
	if err != nil || v == nil {
		w.t.Fatalf("find the session: %v", err)
	}
	return v
}

// goOn does what s owes, step by step, and returns the session that is left where it owes nothing more.
func (w *walk) goOn(s idp.SignedIn) idp.SignedIn {
	w.t.Helper()
	w.has = s
	for range 6 {
		v := w.visit()
		need := idp.NextStep(w.in, v, w.PolicyFor(nil), w.Now())
		if need.Step == idp.NoStep && v.Session.State != idp.Live {
			w.t.Fatalf("nothing is owed, and the session is %s", v.Session.State)
		}
		if need.Step == idp.NoStep {
			return w.has
		}
		w.steps = append(w.steps, string(need.Step))
		if need.Step == idp.StepDenied {
			return w.has
		}
		w.tick()
		w.step(need.Step, v)
	}
	w.t.Fatalf("it goes on and on: %q", w.steps)
	return idp.SignedIn{}
}

func (w *walk) step(step idp.Step, v *idp.Visit) {
	w.t.Helper()
	ctx := w.ctx()
	switch step {
	case idp.StepFactor:
		w.prove(ctx, v)
	case idp.StepEnrol:
		w.must(w.BeginTOTP(ctx, v))
		w.app = w.shownApp(w.t, ctx, v)
		made, err := w.ConfirmTOTP(ctx, w.in, v, w.app.code(w.t, 0))
		w.keep(made.SignedIn, err)
	case idp.StepVerify:
		w.must(w.SendCode(ctx, w.in, v))
		w.keep(w.VerifyCode(ctx, w.in, v, w.latest(w.t, w.mail, "verify_code", v.User.Email, "code")))
	case idp.StepChange:
		w.keep(w.ChooseNewPassword(ctx, w.in, v, "a better one than before"))
	default:
		w.t.Fatalf("the step is %s", step)
	}
}

// prove shows the second factor: the key of who has no other, or where another will not do.
func (w *walk) prove(ctx context.Context, v *idp.Visit) {
	w.t.Helper()
	code := ""
	switch {
	case w.kind == "key" || w.Insists(w.in, v, nil) && w.Asked(w.in, v, nil) >= idp.NotPhishable && w.key != nil:
		c, err := w.BeginKeyProof(ctx, v, false)
		w.must(err)
		w.keep(w.ProveByKey(ctx, w.in, v, c.State, w.key.get(w.t, c.Options), false))
		return
	case w.kind == "codes":
		code, w.codes = w.codes[0], w.codes[1:]
	default:
		code = w.app.code(w.t, 0)
	}
	w.keep(w.ProveByCode(ctx, w.in, v, code, false))
}

func (w *walk) password() idp.SignedIn {
	w.t.Helper()
	w.tick()
	return w.keep(w.LogIn(w.ctx(), w.in, idp.LogIn{Identifier: w.name, Password: w.secret}))
}

func (w *walk) mailed() idp.SignedIn {
	w.t.Helper()
	w.tick()
	w.must(w.RequestLogInCode(w.ctx(), w.in, w.name))
	w.tick()
	code := w.latest(w.t, w.mail, "login_code", w.name+"@example.com", "code")
	return w.keep(w.LogInByCode(w.ctx(), w.in, code, false))
}

func (w *walk) passkey() idp.SignedIn {
	w.t.Helper()
	w.tick()
	c, err := w.BeginPasskeyLogIn(w.ctx())
	w.must(err)
	return w.keep(w.LogInByPasskey(w.ctx(), w.in, c.State, w.key.get(w.t, c.Options), false))
}

// stepUp is a session of a password and an app that is asked for a key.
func (w *walk) stepUp() idp.SignedIn {
	w.t.Helper()
	s := w.goOn(w.password())
	w.ask("essential=phr")
	return s
}

func (w *walk) fillIn() idp.SignUp {
	return idp.SignUp{Username: w.name, Email: w.name + "@example.com", Password: formPassword}
}

func (w *walk) signUpAtOnce() idp.SignedIn {
	w.t.Helper()
	w.tick()
	return w.keep(w.SignUp(w.ctx(), w.in, w.fillIn()))
}

func (w *walk) signUpByCode() idp.SignedIn {
	w.t.Helper()
	w.signUpAtOnce()
	w.tick()
	return w.keep(w.VerifyCode(w.ctx(), w.in, nil, w.latest(w.t, w.mail, "verify_code", w.name+"@example.com", "code")))
}

func (w *walk) signUpByLink() idp.SignedIn {
	w.t.Helper()
	w.signUpAtOnce()
	w.tick()
	made := w.keep(w.VerifyLink(w.ctx(), linkToken(w.latest(w.t, w.mail, "verify_link", w.name+"@example.com", "link"))))
	w.in.SignedIn(&made.Session) // as the tx of the link's page says
	return made
}

func (w *walk) invited() idp.SignedIn {
	w.t.Helper()
	var n idp.NewUser
	if w.join != nil {
		w.join(&n)
	}
	f := w.fillIn()
	_, token, err := w.AddInvite(w.t.Context(), idp.NewInvite{Email: f.Email, Groups: n.Groups, Admin: n.Admin})
	w.must(err)
	f.Invite = token
	w.tick()
	return w.keep(w.SignUp(w.ctx(), w.in, f))
}

func (w *walk) passwordThenLink() idp.SignedIn {
	w.t.Helper()
	w.password()
	w.must(w.SendCode(w.ctx(), w.in, w.visit()))
	return w.keep(w.VerifyLink(w.ctx(), linkToken(w.latest(w.t, w.mail, "verify_link", w.name+"@example.com", "link"))))
}

// trustThis signs in in the browser, lets it be trusted, and leaves it.
func (w *walk) trustThis() {
	w.t.Helper()
	w.password()
	w.keep(w.ProveByCode(w.ctx(), w.in, w.visit(), w.app.code(w.t, 0), true))
	w.must(w.SignOut(w.ctx(), w.visit()))
	w.clock.turn(time.Hour)
	w.begin()
}

// lend lets an operator lend the user a password.
func (w *walk) lend() {
	w.t.Helper()
	u, err := w.FindUser(w.t.Context(), w.name)
	w.must(err)
	w.secret = "lent by an operator"
	w.must(w.LendPassword(w.t.Context(), u.ID, w.secret))
}

// reset lets the user set another password by mail, which signs nobody in.
func (w *walk) reset() {
	w.t.Helper()
	w.secret = newPassword
	w.must(w.RequestReset(w.ctx(), w.in, w.name))
	w.must(w.ResetPassword(w.ctx(), w.in, tokenOf(w.latest(w.t, w.mail, "reset", w.name+"@example.com", "link")), w.secret))
}

// leaveAndReturn lets the user delete the account and take that back.
func (w *walk) leaveAndReturn() {
	w.t.Helper()
	w.goOn(w.password())
	_, err := w.DeleteOwn(w.ctx(), w.visit())
	w.must(err)
	w.begin()
	w.must(w.Undelete(w.ctx(), tokenOf(w.latest(w.t, w.mail, "account_deletion", w.name+"@example.com", "link"))))
}

// somebodyElse signs in in the browser.
func (w *walk) somebodyElse() {
	w.t.Helper()
	w.addUser(w.t, "eve")
	w.tick()
	w.keep(w.LogIn(w.ctx(), w.in, idp.LogIn{Identifier: "eve", Password: alicePassword}))
}
