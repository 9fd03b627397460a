package loginui

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"postern/config"
	"postern/idp"
)

func TestS4_66_BrowserIsKnownByACookieOnceSomebodySignedIn(t *testing.T) {
	h := newHouse(t, known)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	b.post(form, fields("username", "alice", "password", "wrong"))
	if b.cookies[deviceCookie] != "" {
		t.Fatal("a browser is known in which nobody signed in")
	}
	w := b.post(form, fields("username", "alice", "password", alicesPassword))
	got := cookieOf(t, w, deviceCookie)
	got.Value, got.Raw = "", ""
	want := http.Cookie{Name: deviceCookie, Path: "/", MaxAge: 400 * 24 * 3600, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if got.String() != want.String() {
		t.Errorf("got %v, want %v", got, want)
	}
	first := b.cookies[deviceCookie]
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: deviceCookie, Value: first})
	secret := h.ui.cookies.read(r, deviceCookie)
	if got := idp.VisitorFrom(b.context()).Device; len(secret) != 32 || got != sha256.Sum256(secret) {
		t.Errorf("the visitor's device is %x", got)
	}

	b.post(b.formOf("/logout"), fields())
	w = b.post(b.formOf("/login?tx="+b.asked()), fields("username", "bob", "password", bobsPassword))
	if got := cookieOf(t, w, deviceCookie).MaxAge; got != want.MaxAge {
		t.Errorf("the cookie is kept for %d s more, want %d", got, want.MaxAge)
	}
	b.post(b.formOf("/account/password"), fields("password", bobsPassword, "new_password", "another good password"))
	if again := h.ui.cookies; again.device(withCookie(b.cookies[deviceCookie])) != sha256.Sum256(secret) {
		t.Error("the browser is another one after a sign-out, a sign-in of another user and a new password")
	}
}

func withCookie(value string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: deviceCookie, Value: value})
	return r
}

func TestS4_66_ForgedDeviceCookieIsNone(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	genuine := b.cookies[deviceCookie]
	for name, value := range map[string]string{
		"altered": genuine[:len(genuine)-2] + "xx", "of another name": b.cookies[browserCookie], "empty": "", "garbage": strings.Repeat("A", 4000),
	} {
		if got := h.ui.cookies.device(withCookie(value)); got != [32]byte{} {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func TestS4_66_StrangerDoesNotLockTheOwnersBrowserOut(t *testing.T) {
	h := newHouse(t)
	owner, stranger, other := h.browser(), h.browser(), h.browser()
	owner.signIn("alice", alicesPassword)
	owner.post(owner.formOf("/logout"), fields())
	stranger.address, other.address = "198.51.100.9", "203.0.113.4"
	form := stranger.formOf("/login?tx=" + stranger.asked())
	for range 8 {
		stranger.post(form, fields("username", "alice", "password", "wrong"))
	}
	right := fields("username", "alice", "password", alicesPassword)
	expect(t, other.post(other.formOf("/login?tx="+other.asked()), right), http.StatusTooManyRequests, "throttled")
	if owner.post(owner.formOf("/login?tx="+owner.asked()), right); owner.visit() == nil {
		t.Error("the owner is locked out of the browser in which they signed in before")
	}
}

const hidden = "********************"

func otherNames(cfg *config.Config) {
	cfg.Login.UsernameField, cfg.Login.PasswordField = "who", "key"
}

func TestS4_22_NameOfTheUsernameFieldIsASetting(t *testing.T) {
	h := newHouse(t, otherNames)
	b := h.browser()
	page := b.get("/login?tx=" + b.asked())
	want := "input#username[who] text username webauthn required · input#password[key] password current-password required"
	if got := controls(elements(t, page.Body.String())); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	expect(t, b.post(action(t, page), fields("username", "alice", "password", alicesPassword)), http.StatusBadRequest, "username_missing password_missing")
	expect(t, b.post(action(t, page), fields("who", "a", "who", "b", "key", "c")), http.StatusBadRequest, "field_doubled")
	b.afterwards(b.post(action(t, page), fields("who", "alice", "key", alicesPassword)))
}

func TestS4_26_PasswordIsInNoRecordWhateverItsFieldIsCalled(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		form   url.Values
		want   string
	}{
		{"the default", func(*config.Config) {}, fields("username", "alice", "password", "s3cret", "remember", "1"),
			"password=" + hidden + "&remember=1&username=" + hidden},
		{"names of the settings", otherNames, fields("who", "alice", "key", "s3cret"), "key=" + hidden + "&who=" + hidden},
		{"names that are not sensitive", func(cfg *config.Config) { otherNames(cfg); cfg.Lockout.SensitiveParameters = nil },
			fields("who", "alice", "key", "s3cret", "csrf_token", "s3cret", "OTP", "s3cret"),
			"OTP=" + hidden + "&csrf_token=" + hidden + "&key=" + hidden + "&who=alice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, c.change)
			b := h.browser()
			expect(t, b.post(b.formOf("/login?tx="+b.asked()), c.form), http.StatusBadRequest, "invalid_credentials")
			list, err := h.Attempts(t.Context(), idp.AttemptFilter{}, idp.ID{}, 10)
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %v", list, err)
			}
			if list[0].Parameters != c.want || list[0].Path != "/login" || strings.Contains(fmt.Sprintf("%+v", list[0]), "s3cret") {
				t.Errorf("%s %q, want %q", list[0].Path, list[0].Parameters, c.want)
			}
		})
	}
}

func failOnly(cfg *config.Config) {
	cfg.RateLimits.LoginFailed = "1000/m/ip"
	cfg.Lockout.Parameters, cfg.Lockout.Policies = []string{"username+ip_address:3/15m"}, nil
}

// blank takes away of a page what differs each time.
func blank(body string) string {
	return regexp.MustCompile(`(tx=|"state" value="|challenge&#34;:&#34;)[^"&]*`).ReplaceAllString(body, "$1")
}

func TestS4_20_SilentLockoutIsTheAnswerOfAWrongPassword(t *testing.T) {
	h := newHouse(t, failOnly)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	wrong := b.post(form, fields("username", "alice", "password", "wrong"))
	for range 3 {
		b.post(form, fields("username", "alice", "password", "wrong"))
	}
	locked := b.post(form, fields("username", "alice", "password", alicesPassword))
	expect(t, locked, http.StatusBadRequest, "invalid_credentials")
	if b.visit() != nil {
		t.Fatal("somebody is signed in who is locked out")
	}
	if got, want := blank(locked.Body.String()), blank(wrong.Body.String()); got != want {
		t.Errorf("the page tells:\n%s\nwant\n%s", got, want)
	}
	// Content-Length follows the sealed interaction, which has the time in it.
	for _, w := range []*httptest.ResponseRecorder{locked, wrong} {
		w.Header().Del("Content-Length")
	}
	if got, want := fmt.Sprint(locked.Header()), fmt.Sprint(wrong.Header()); got != want {
		t.Errorf("the headers tell: %s, want %s", got, want)
	}
}

func TestS4_20_LockoutAnswersAsTheSettingsHaveIt(t *testing.T) {
	for _, c := range []struct {
		response string
		status   int
		to       string
	}{
		{"page", http.StatusTooManyRequests, ""}, {"json", http.StatusTooManyRequests, ""}, {"redirect", http.StatusSeeOther, "/help"},
	} {
		h := newHouse(t, failOnly, func(cfg *config.Config) { cfg.Lockout.Response, cfg.Lockout.RedirectURL = c.response, "/help" })
		b := h.browser()
		form := b.formOf("/login?tx=" + b.asked())
		var w *httptest.ResponseRecorder
		for range 3 {
			w = b.post(form, fields("username", "alice", "password", "wrong"))
		}
		if w.Code != c.status || w.Header().Get("Location") != c.to {
			t.Errorf("%s, the failure that locks: %d to %q, want %d to %q", c.response, w.Code, w.Header().Get("Location"), c.status, c.to)
		}
		w = b.post(form, fields("username", "alice", "password", alicesPassword))
		if w.Code != c.status || w.Header().Get("Location") != c.to || b.visit() != nil {
			t.Errorf("%s, the right password: %d to %q, want %d to %q", c.response, w.Code, w.Header().Get("Location"), c.status, c.to)
		}
		if got := w.Header().Get("Content-Type") == "application/problem+json"; got != (c.response == "json") {
			t.Errorf("%s: JSON %v", c.response, got)
		}
	}
}

func TestS4_28_SignInFormIsShownToThoseWhoAreLockedOutOrNot(t *testing.T) {
	for _, never := range []bool{true, false} {
		h := newHouse(t, failOnly, func(cfg *config.Config) {
			cfg.Lockout.Parameters, cfg.Lockout.NeverLockGet = []string{"ip_address:3/15m"}, never
		})
		b := h.browser()
		tx := b.asked()
		form := b.formOf("/login?tx=" + tx)
		for range 3 {
			b.post(form, fields("username", "alice", "password", "wrong"))
		}
		w := b.get("/login?tx=" + tx)
		if never {
			expect(t, w, http.StatusOK, "")
			continue
		}
		expect(t, w, http.StatusTooManyRequests, "locked_out")
		if text := read(t, w); strings.Contains(text, "You entered") {
			t.Errorf("nobody typed anything: %s", text)
		}
		elsewhere := h.browser()
		elsewhere.address = "203.0.113.4"
		expect(t, elsewhere.get("/login?tx="+elsewhere.asked()), http.StatusOK, "")
	}
}

func TestLockoutPageOfAnInteractionFollowsUILocales(t *testing.T) {
	h := newHouse(t, failOnly, func(cfg *config.Config) { cfg.Lockout.Response = "page" })
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked("ui_locales", "de"))
	var w *httptest.ResponseRecorder
	for range 3 {
		w = b.post(form, fields("username", "alice", "password", "wrong"))
	}
	if text := read(t, w); !strings.Contains(text, "Nach 3 Fehlversuchen") {
		t.Errorf("%d: %s", w.Code, text)
	}
}

func TestS1_13_WhoAsksForJSONIsToldByTwoHeaders(t *testing.T) {
	for _, c := range []struct {
		accept, with string
		want         bool
	}{
		{"application/json", "", true}, {"*/*", "XMLHttpRequest", true}, {"text/html", "xmlhttprequest", true},
		{"text/html,*/*;q=0.8", "", false}, {"", "", false}, {"*/*", "com.example.app", false},
	} {
		r := httptest.NewRequest("POST", "/login", nil)
		r.Header.Set("Accept", c.accept)
		r.Header.Set("X-Requested-With", c.with)
		if got := PrefersJSON(r); got != c.want {
			t.Errorf("Accept %q, X-Requested-With %q: %v, want %v", c.accept, c.with, got, c.want)
		}
	}
}

func TestS1_13_FormsAnswerProgramsInJSON(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	login := b.formOf("/login?tx=" + b.asked())
	b.header.Set("Accept", "application/json")
	post := func(target string, status int, code string, pairs ...string) {
		t.Helper()
		w := b.post(target, fields(pairs...))
		if d := document(t, w); w.Code != status || d["code"] != code || d["status"] != float64(status) || d["detail"] == "" {
			t.Errorf("%s: %d %v, want %d %s", target, w.Code, d, status, code)
		}
	}
	post(login, 400, "username_missing")
	post(login, 400, "password_missing", "username", "alice")
	post(login, 400, "invalid_credentials", "username", "alice", "password", "wrong")
	post("/login?tx=x", 400, "interaction_unreadable", "username", "alice", "password", "x")
	post(login, 400, "field_doubled", "username", "a", "username", "b")
	w := b.post(login, fields("username", "alice", "password", alicesPassword))
	b.afterwards(w) // 303, as everybody

	b.header.Del("Accept")
	password := b.formOf("/account/password")
	consent := b.formOf("/consent?tx=" + b.asked())
	b.header.Set("X-Requested-With", "XMLHttpRequest")
	post(password, 400, "invalid_credentials", "password", "wrong", "new_password", "another good password")
	post(password, 400, "password_too_short", "password", alicesPassword, "new_password", "x")
	post(consent, 400, "decision_missing")
	post(password+"x", 400, "page_outdated", "password", "a", "new_password", "b")

	stranger := h.browser()
	login = stranger.formOf("/login?tx=" + stranger.asked())
	stranger.header.Set("Accept", "application/json")
	for range 4 {
		stranger.post(login, fields("username", "alice", "password", "wrong"))
	}
	w = stranger.post(login, fields("username", "alice", "password", alicesPassword))
	if d := document(t, w); d["code"] != "throttled" || w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, d)
	}
}

func TestS0_10_AnswersToARequestForConsentAreLimited(t *testing.T) {
	for _, decision := range []string{"allow", "deny"} {
		h := newHouse(t, func(cfg *config.Config) { cfg.RateLimits.Consent = "1/m/user" })
		b := h.browser()
		b.signIn("alice", alicesPassword)
		form := b.formOf("/consent?tx=" + b.asked("prompt", "consent"))
		b.afterwards(b.post(form, fields("decision", "deny")))
		w := b.post(form, fields("decision", decision))
		expect(t, w, http.StatusTooManyRequests, "throttled")
		if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `href="/consent?tx=`) {
			t.Errorf("%s: %v\n%s", decision, w.Header(), w.Body)
		}
	}
}
