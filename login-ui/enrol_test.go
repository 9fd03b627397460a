package loginui

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/config"
	"postern/idp"
)

// required is a house in which everybody must have a second factor.
func required(cfg *config.Config) { cfg.MFA.Policy = "required" }

// setUp is the app whose secret a page shows.
func (h *house) setUp(page string) *appOf {
	h.t.Helper()
	for _, n := range elements(h.t, page) {
		if attribute(n, "id") == "app-key" {
			return &appOf{h: h, secret: strings.ReplaceAll(words(n), " ", "")}
		}
	}
	h.t.Fatalf("no secret in %s", page)
	return nil
}

func TestSignInOfWhoMustHaveAFactorEndsWithOne(t *testing.T) {
	h := newHouse(t, required)
	b := h.browser()
	page := b.onto(enrolPath, b.enterPassword("alice", alicesPassword))
	if text := read(t, page); !strings.Contains(text, "Postern asks for a second step") || !strings.Contains(text, "alice@example.com") || strings.Index(text, "Passkey or security key") > strings.Index(text, "Authenticator app") {
		t.Errorf("got %s", text)
	}
	if b.visit() != nil {
		t.Error("signed in before there is a factor")
	}
	setup := b.get(onto(t, b.post(action(t, page), fields()), enrolPath+"/app"))
	expect(t, setup, http.StatusOK, "")
	app := h.setUp(setup.Body.String())
	// Shown again it is the same, and its codes are not recovery codes.
	if again := h.setUp(b.get(enrolPath + "/app?" + strings.SplitN(action(t, setup), "?", 2)[1]).Body.String()); again.secret != app.secret {
		t.Error("another secret when the page is shown again")
	}
	expect(t, b.post(action(t, setup), fields("code", "")), http.StatusBadRequest, "code_missing")
	expect(t, b.post(action(t, setup), fields("code", "000000")), http.StatusBadRequest, "code_wrong")
	early, err := totp.GenerateCode(app.secret, h.clock.Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	w := b.post(action(t, setup), fields("code", early))
	expect(t, w, http.StatusBadRequest, "clock_off")
	if text := read(t, w); !strings.Contains(text, "seconds off") {
		t.Errorf("got %s", text)
	}
	done := b.post(action(t, setup), fields("code", app.code()))
	expect(t, done, http.StatusOK, "")
	text := read(t, done)
	if !strings.Contains(text, "Save your recovery codes") || done.Header().Get("Cache-Control") != "no-store" || strings.Contains(done.Body.String(), app.secret) {
		t.Errorf("got %v, %s", done.Header(), text)
	}
	on := ""
	for _, n := range named(elements(t, done.Body.String()), "input") {
		if attribute(n, "name") == "tx" {
			on = attribute(n, "value")
		}
	}
	if strings.Contains(done.Body.String(), `name="lang"`) {
		t.Error("whoever chooses a language loses the codes")
	}
	in, err := h.Open(b.context(), on)
	v := b.visit()
	if err != nil || v == nil || in.Request.ClientID != "rp" || in.Authenticated != v.Session.Authentication {
		t.Fatalf("%v: interaction %+v, visit %+v", err, in, v)
	}
	if got := b.methods(); got != "pwd totp" {
		t.Errorf("got %s", got)
	}
	// What was shown once is nowhere any more.
	again := b.opened(b.post(action(t, setup), fields("code", app.code())))
	if again.Request.ClientID != "rp" {
		t.Errorf("got %+v", again.Request)
	}
}

func TestS3_09_TheSecretIsShownWhileTheAppIsSetUpAlone(t *testing.T) {
	h := newHouse(t, required)
	b := h.browser()
	setup := b.get(onto(t, b.post(action(t, b.onto(enrolPath, b.enterPassword("alice", alicesPassword))), fields()), enrolPath+"/app"))
	app := h.setUp(setup.Body.String())
	grouped := strings.ReplaceAll(read(t, setup), app.secret, "")
	if setup.Header().Get("Cache-Control") != "no-store" || !strings.Contains(grouped, app.secret[:4]+" "+app.secret[4:8]) {
		t.Errorf("got %v, %s", setup.Header(), grouped)
	}
	form := action(t, setup)
	b.post(form, fields("code", app.code()))
	for _, target := range []string{form, enrolPath + "?tx=" + b.asked(), "/account"} {
		if w := b.get(target); strings.Contains(strings.ReplaceAll(w.Body.String(), " ", ""), app.secret) {
			t.Errorf("%s shows it still", target)
		}
	}
	// An abandoned setup is over after a while, and begins anew.
	other := h.browser()
	setup = other.get(onto(t, other.post(action(t, other.onto(enrolPath, other.enterPassword("bob", bobsPassword))), fields()), enrolPath+"/app"))
	late := h.setUp(setup.Body.String())
	h.later(16 * time.Minute)
	w := other.post(action(t, setup), fields("code", late.code()))
	if w.Code != http.StatusSeeOther {
		t.Errorf("got %d: %s", w.Code, read(t, w))
	}
	if u, err := h.FindUser(t.Context(), "bob"); err != nil || u.HasFactor() {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestSignInOfWhoMustHaveAFactorEndsWithAKey(t *testing.T) {
	h := newHouse(t, required)
	b := h.browser()
	tx := b.afterwards(b.enterPassword("alice", alicesPassword))
	page := b.get(enrolPath + "/key?tx=" + tx)
	expect(t, page, http.StatusOK, "")
	key := newVirtualKey()
	done := b.make(page, key)
	expect(t, done, http.StatusOK, "")
	if got := b.methods(); got != "pwd webauthn" || !strings.Contains(read(t, done), "Save your recovery codes") {
		t.Errorf("got %s: %s", got, read(t, done))
	}
	other := h.browser()
	other.opened(other.prove(other.onto(factorPath, other.enterPassword("alice", alicesPassword)), key))
}

func TestAppWithoutAFactorIsSetUpForARelyingPartyThatInsists(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.opened(b.enterPassword("alice", alicesPassword))
	h.later(2 * h.cfg.Sudo.Timeout)
	tx := b.asked("claims", twoFactors)
	page := b.get(enrolPath + "?tx=" + tx)
	if text := read(t, page); !strings.Contains(text, "Grafana needs a second step") {
		t.Errorf("got %s", text)
	}
	// Whoever found the browser open adds nothing: the password comes first, and then it goes on.
	ask := b.get(onto(t, b.post(action(t, page), fields()), sudoPath))
	if text := read(t, ask); !strings.Contains(text, "You're about to set up two-step verification") || ask.Header().Get("Cross-Origin-Opener-Policy") != "" {
		t.Errorf("got %s", text)
	}
	expect(t, b.post(action(t, ask), fields("password", "wrong")), http.StatusBadRequest, "invalid_credentials")
	page = b.onto(enrolPath, b.post(action(t, ask), fields("password", alicesPassword)))
	setup := b.get(onto(t, b.post(action(t, page), fields()), enrolPath+"/app"))
	app := h.setUp(setup.Body.String())
	expect(t, b.post(action(t, setup), fields("code", app.code())), http.StatusOK, "")
	if got := b.methods(); got != "pwd totp" {
		t.Errorf("got %s", got)
	}

	// A key is asked for where codes will not do.
	other := h.browser()
	other.opened(other.enterPassword("bob", bobsPassword))
	page = other.get(enrolPath + "?tx=" + other.asked("claims", phr))
	if text := read(t, page); strings.Contains(text, "Authenticator app") || !strings.Contains(text, "Grafana needs a passkey or security key") {
		t.Errorf("got %s", text)
	}
	if in := other.opened(other.post(action(t, page), fields("cancel", "cancel"))); !in.Denied {
		t.Errorf("got %+v", in)
	}
}

func TestGraceShowsItsDay(t *testing.T) {
	h := newHouse(t, required, func(cfg *config.Config) {
		cfg.MFA.EnrolGrace, cfg.MFA.RequiredFrom = 7*24*time.Hour, "2026-11-20T12:00:00Z"
	})
	b := h.browser()
	w := b.enterPassword("alice", alicesPassword)
	page := b.get(onto(t, w, enrolPath))
	text := read(t, page)
	u, err := h.FindUser(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	_, grace := h.FactorPolicyOf(&u)
	if !strings.Contains(text, grace.Format("2006-01-02 15:04")) || !strings.Contains(text, "will soon ask") || !strings.Contains(text, "Not now") {
		t.Errorf("got %s", text)
	}
	if v := b.visit(); v == nil {
		t.Error("nobody is signed in meanwhile")
	}
	h.clock = grace
	late := h.browser()
	text = read(t, late.onto(enrolPath, late.enterPassword("alice", alicesPassword)))
	if strings.Contains(text, "Not now") || late.visit() != nil {
		t.Errorf("got %s", text)
	}
}

func TestEnrolmentIsForWhoMustHaveAFactorAlone(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.opened(b.enterPassword("alice", alicesPassword))
	for _, path := range []string{enrolPath, enrolPath + "/app", enrolPath + "/key"} {
		if in := b.opened(b.get(path + "?tx=" + b.asked())); in.Request.ClientID != "rp" {
			t.Errorf("%s: %+v", path, in.Request)
		}
		nobody := h.browser()
		if in := nobody.opened(nobody.post(path+"?tx="+nobody.asked(), fields("code", "000000"))); in.Request.ClientID != "rp" {
			t.Errorf("%s: %+v", path, in.Request)
		}
	}
}

func TestS0_65_AProofIsAsStrongAsTheSignIn(t *testing.T) {
	h := newOpenHouse(t)
	bob := h.withApp("bob", bobsPassword)
	b := h.browser()
	b.opened(b.post(action(t, b.onto(factorPath, b.enterPassword("bob", bobsPassword))), fields("code", bob.code())))
	h.later(2 * h.cfg.Sudo.Timeout)

	// The form waits until both are proved, and goes on then (S0-66).
	w := b.post(b.formOf(addEmailPath), fields("email", "new@example.net"))
	ask := b.get(onto(t, w, sudoPath))
	if text := read(t, ask); !strings.Contains(text, "Password") || strings.Contains(ask.Body.String(), `id="code"`) {
		t.Errorf("got %s", text)
	}
	w = b.post(action(t, ask), fields("password", bobsPassword))
	if n := h.recorded("user.email_asked"); n != 0 {
		t.Error("the password was enough")
	}
	ask = b.get(onto(t, w, sudoPath))
	expect(t, ask, http.StatusOK, "")
	if text := read(t, ask); !strings.Contains(text, "6-digit code") || strings.Contains(ask.Body.String(), `id="password"`) {
		t.Errorf("got %s", text)
	}
	expect(t, b.post(action(t, ask), fields("code", "")), http.StatusBadRequest, "code_missing")
	expect(t, b.post(action(t, ask), fields("code", "000000")), http.StatusBadRequest, "code_wrong")
	other := b.get(action(t, ask) + "&way=recovery")
	if !strings.Contains(other.Body.String(), `value="recovery"`) {
		t.Errorf("got %s", read(t, other))
	}
	w = b.post(action(t, ask), fields("code", bob.code()))
	if text := read(t, b.get(onto(t, w, emailCodePath))); !strings.Contains(text, "new@example.net") {
		t.Errorf("got %s", text)
	}

	// What does not go on by itself is not told to be proved by half either.
	h.later(2 * h.cfg.Sudo.Timeout)
	ask = b.get(onto(t, b.post(b.formOf(dataPath), fields()), sudoPath))
	onto(t, b.post(action(t, ask), fields("password", bobsPassword)), sudoPath)
}

func TestS0_65_AKeyAloneProvesAnew(t *testing.T) {
	h := newOpenHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	b.opened(b.prove(b.get("/login?tx="+b.asked()), key))
	h.later(2 * h.cfg.Sudo.Timeout)
	former := b.cookies[sessionCookie]
	ask := b.get(onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.net")), sudoPath))
	_, options, _ := keyIn(t, ask)
	if !strings.Contains(options, `"userVerification":"required"`) {
		t.Errorf("a touch is enough: %s", options)
	}
	expect(t, b.post(action(t, ask), fields("state", "AAAA", "credential", "{}")), http.StatusBadRequest, "ceremony_over")
	w := b.prove(ask, key)
	onto(t, w, emailCodePath)
	if b.cookies[sessionCookie] == former {
		t.Error("the session kept its secret")
	}
	// Whoever goes back to the page is told that nothing is missing, and nothing is done again.
	n := h.recorded("user.email_asked")
	back := b.get(onto(t, b.get(action(t, ask)), addEmailPath))
	if text := read(t, back); strings.Contains(text, "no password") || h.recorded("user.email_asked") != n {
		t.Errorf("got %s", text)
	}
}

func TestS0_64_AProofIsAskedForAfterItsTimeWhateverHappensMeanwhile(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	b.opened(b.enterPassword("alice", alicesPassword))
	h.later(h.cfg.Sudo.Timeout - time.Second)
	onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.net")), emailCodePath)
	h.later(2 * time.Second)
	onto(t, b.post(b.formOf(addEmailPath), fields("email", "newer@example.net")), sudoPath)
}

func TestS0_66_AFormThatWaitsIsNotSwapped(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	b.opened(b.enterPassword("alice", alicesPassword))
	h.later(2 * h.cfg.Sudo.Timeout)
	target := onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.net")), sudoPath)
	for name, to := range map[string]string{
		"another tx": sudoPath + "?tx=" + b.asked(), "none": sudoPath, "a broken one": target + "x", "two": target + "&tx=x",
	} {
		w := b.post(to, fields("password", alicesPassword))
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != accountPath {
			t.Errorf("%s: %d to %q", name, w.Code, w.Header().Get("Location"))
		}
	}
	stranger := h.browser()
	stranger.opened(stranger.enterPassword("bob", bobsPassword))
	stranger.post(target, fields("password", bobsPassword))
	if n := h.recorded("user.email_asked"); n != 0 {
		t.Error("it was sent all the same")
	}
}

func TestS0_70_ACodeToSignInWithOwesTheSecondFactor(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	bob := h.withApp("bob", bobsPassword)
	b := h.browser()
	page := b.get(onto(t, b.post(b.formOf("/login/code?tx="+b.asked()), fields("username", "bob")), "/login/code/enter"))
	w := b.post(action(t, page), fields("code", h.mail("login_code", "bob@example.com").Args["code"]))
	if b.visit() != nil {
		t.Error("signed in by a mail alone")
	}
	page = b.onto(factorPath, w)
	in := b.opened(b.post(action(t, page), fields("code", bob.code())))
	if a := h.Assurance(in, b.visit(), nil); b.methods() != "mail totp" || a.ACR != idp.ACRTwoFactors {
		t.Errorf("got %s, %+v", b.methods(), a)
	}
}
