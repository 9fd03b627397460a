package loginui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
)

func TestSignInLeadsThroughTheDispatcher(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	page := b.get("/login?tx=" + b.asked())
	expect(t, page, http.StatusOK, "")
	if text := read(t, page); !strings.Contains(text, "Grafana") || !strings.Contains(text, "rp.example.com") {
		t.Errorf("the page does not say for whom: %s", text)
	}
	if got := page.Header().Get("Content-Security-Policy"); !strings.HasSuffix(got, "form-action 'self' https://rp.example.com") {
		t.Errorf("policy %q", got)
	}
	w := b.post(action(t, page), fields("username", " Alice@example.com ", "password", alicesPassword))
	in, v := b.opened(w), b.visit()
	if v == nil || v.User.Username != "alice" || in.Authenticated != v.Session.Authentication || in.Request.ClientID != "rp" {
		t.Errorf("visit %v, interaction %+v", v, in)
	}
}

func TestSignInWithoutARelyingPartyHasNoCancel(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	page := b.get("/login?tx=" + b.afterwards(b.get("/login")))
	if strings.Contains(page.Body.String(), `id="cancel"`) || strings.Contains(read(t, page), "to continue to") {
		t.Error("the page speaks of a relying party")
	}
	w := b.post(action(t, page), fields("username", "alice", "password", alicesPassword, "cancel", "cancel"))
	if in := b.opened(w); in.Denied || in.Request.Return != "/account" {
		t.Errorf("%+v", in)
	}
}

func TestSessionCookieLastsAsLongAsItShould(t *testing.T) {
	for _, c := range []struct {
		remember, box string
		want          int
	}{
		{"ask", "", 0}, {"ask", "1", 14 * 24 * 3600}, {"always", "", 14 * 24 * 3600}, {"never", "1", 0},
	} {
		t.Run(c.remember+" "+c.box, func(t *testing.T) {
			h := newHouse(t, func(cfg *config.Config) { cfg.Sessions.Remember = c.remember })
			b := h.browser()
			page := b.get("/login?tx=" + b.asked())
			if shown := strings.Contains(page.Body.String(), `name="remember"`); shown != (c.remember == "ask") {
				t.Errorf("the box is shown: %v", shown)
			}
			w := b.post(action(t, page), fields("username", "alice", "password", alicesPassword, "remember", c.box))
			got := cookieOf(t, w, sessionCookie)
			got.Value, got.Raw = "", ""
			want := http.Cookie{Name: sessionCookie, Path: "/", MaxAge: c.want, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
			if got.String() != want.String() || got.MaxAge != want.MaxAge {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func cookieOf(t *testing.T, w *httptest.ResponseRecorder, name string) http.Cookie {
	t.Helper()
	for _, c := range w.Result().Cookies() {
		if c.Name == name {
			return *c
		}
	}
	t.Fatalf("no cookie %s", name)
	return http.Cookie{}
}

func TestWrongCredentialsAreOneAnswer(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	pages := map[string]string{}
	for _, username := range []string{"alice", "nobody"} {
		w := b.post(b.formOf("/login?tx="+b.asked()), fields("username", username, "password", "wrong horse", "remember", "1"))
		expect(t, w, http.StatusBadRequest, "invalid_credentials")
		if value(t, w, "username") != username || !strings.Contains(w.Body.String(), "checked") {
			t.Error("what was typed is lost")
		}
		if strings.Contains(w.Body.String(), "wrong horse") {
			t.Error("the password came back")
		}
		pages[username] = strings.ReplaceAll(read(t, w), username, "")
		if w := b.post(action(t, w), fields("username", "alice", "password", "")); w.Code != http.StatusBadRequest {
			t.Errorf("the form of the failed page: %d", w.Code)
		}
	}
	if pages["alice"] != pages["nobody"] {
		t.Errorf("it can be told who has an account:\n%s\n%s", pages["alice"], pages["nobody"])
	}
	if b.visit() != nil {
		t.Error("somebody is signed in")
	}
}

func TestEveryRefusalOfASignInIsAPage(t *testing.T) {
	h := newHouse(t)
	bob, err := h.FindUser(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DisableUser(t.Context(), bob.ID); err != nil {
		t.Fatal(err)
	}
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	expect(t, b.post(form, fields()), http.StatusBadRequest, "username_missing password_missing")
	expect(t, b.post(form, fields("username", "  ", "password", "x")), http.StatusBadRequest, "username_missing")
	expect(t, b.post(form, fields("username", "bob", "password", bobsPassword)), http.StatusForbidden, "account_disabled")
	for range 5 {
		expect(t, b.post(form, fields("username", "alice", "password", "wrong")), http.StatusBadRequest, "invalid_credentials")
	}
	w := b.post(form, fields("username", "alice", "password", alicesPassword))
	expect(t, w, http.StatusTooManyRequests, "throttled")
	if text := read(t, w); w.Header().Get("Retry-After") == "" || !strings.Contains(text, "UTC (in ") || !strings.Contains(text, "for this account") || !strings.Contains(text, "Reference 7Q2M-K4TD") {
		t.Errorf("Retry-After %q, page %s", w.Header().Get("Retry-After"), text)
	}
	if value(t, w, "username") != "alice" {
		t.Error("the username is lost")
	}
}

func TestPagesAreLoggedOnceAndWithoutWhatWasTyped(t *testing.T) {
	var log bytes.Buffer
	former := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(former) })
	h := newHouse(t)
	b := h.browser()
	asked := b.asked("login_hint", "hinted@example.com")
	form := b.formOf("/login?tx=" + asked)
	log.Reset()
	expect(t, b.post(form, fields("username", "typed@example.com", "password", "s3cret")), http.StatusBadRequest, "invalid_credentials")
	for range 5 {
		expect(t, b.post(form, fields("username", "alice", "password", "s3cret")), http.StatusBadRequest, "invalid_credentials")
	}
	expect(t, b.post(form, fields("username", "alice", "password", alicesPassword)), http.StatusTooManyRequests, "throttled")
	b.get("/consent?tx=s3cret")
	var got []string
	for line := range strings.Lines(log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m["level"], " ", m["msg"], " ", m["path"], " ", m["status"], " ", m["code"], " ", m["address"], " ", m["request_id"]))
	}
	// Who was refused is in the security log, which tells more.
	want := []string{"INFO problem page /consent 400 interaction_unreadable 192.0.2.7 7Q2M-K4TD"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, text := range []string{"typed@", "hinted@", "alice", "s3cret", alicesPassword, asked} {
		if strings.Contains(log.String(), text) {
			t.Errorf("%s is in the log: %s", text, &log)
		}
	}
}

func TestBrokenFormsAreAnsweredWithAPage(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	const encoded = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, target, contentType, body string
		status                          int
		code                            string
	}{
		{"doubled", form, encoded, "username=a&username=b&password=c", 400, "field_doubled"},
		{"not UTF-8", form, encoded, "username=%ff&password=c", 400, "field_unreadable"},
		{"NUL", form, encoded, "username=a%00&password=c", 400, "field_unreadable"},
		{"not encoded", form, encoded, "username=%zz", 400, "form_unreadable"},
		{"an oversized field", form, encoded, "username=" + strings.Repeat("a", maxFieldBytes+1), 400, "field_too_long"},
		{"an oversized body", form, encoded, strings.Repeat("a", maxFormBytes+1), 413, "body_too_large"},
		{"another type", form, "application/json", `{"username":"a"}`, 400, "form_unreadable"},
		{"no type", form, "", "username=a", 400, "form_unreadable"},
		{"no tx", "/login", encoded, "username=a&password=b", 400, "interaction_unreadable"},
		{"two tx", form + "&tx=x", encoded, "username=a&password=b", 400, "interaction_unreadable"},
		{"a damaged tx", form + "x", encoded, "username=a&password=b", 400, "interaction_unreadable"},
		{"unknown fields", form, encoded, "username=a&password=wrong&x=1&x=2", 400, "invalid_credentials"},
	} {
		for _, path := range []string{"/login", "/login/continue", "/consent", "/logout", "/account/password"} {
			if path != "/login" && (c.status != 413 && c.code != "form_unreadable") {
				continue // what their own fields are is up to them
			}
			t.Run(c.name+" to "+path, func(t *testing.T) {
				target := path + strings.TrimPrefix(c.target, "/login")
				expect(t, b.send("POST", target, strings.NewReader(c.body), c.contentType), c.status, c.code)
			})
		}
	}
	for _, path := range []string{"/login?tx=x", "/login?tx=", "/login?tx=a&tx=b", "/login/continue", "/consent", "/consent?tx=%ff"} {
		expect(t, b.get(path), http.StatusBadRequest, "interaction_unreadable")
	}
}

func TestBrowserWithoutCookiesIsTold(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	b.cookies = map[string]string{}
	w := b.post(form, fields("username", "alice", "password", alicesPassword))
	expect(t, w, http.StatusBadRequest, "cookies_blocked")
	if !strings.Contains(read(t, w), "id.example.com") {
		t.Error("the page does not say for which site")
	}
	if len(w.Result().Cookies()) != 0 {
		t.Error("a POST made a binding cookie")
	}
}

func TestForgedSessionCookieCostsNoQuery(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	genuine := b.cookies[sessionCookie]
	count := func(cookie string) int64 {
		b.cookies[sessionCookie] = cookie
		before := h.statements.Load()
		b.get("/logout")
		return h.statements.Load() - before
	}
	if got := count(genuine); got != 1 {
		t.Errorf("a genuine cookie: %d statements, want 1", got)
	}
	for name, cookie := range map[string]string{
		"damaged": genuine[:len(genuine)-2] + "xx", "garbage": "garbage", "empty": "", "of another name": b.cookies[browserCookie],
	} {
		if got := count(cookie); got != 0 {
			t.Errorf("%s: %d statements, want none", name, got)
		}
	}
}

func TestCookiesOfARetiredKeyAreRead(t *testing.T) {
	former, current := make([]byte, 32), make([]byte, 32)
	current[0] = 1
	w := httptest.NewRecorder()
	newJar([][]byte{former}).write(w, browserCookie, make([]byte, 32), 0)
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	for name, c := range map[string]struct {
		keys [][]byte
		want bool
	}{
		"rotated": {[][]byte{current, former}, true}, "gone": {[][]byte{current}, false},
	} {
		if got := newJar(c.keys).read(r, browserCookie) != nil; got != c.want {
			t.Errorf("%s: read %v, want %v", name, got, c.want)
		}
	}
}

func TestI6_FormThatWasShownToSomebodyElseRecordsNothing(t *testing.T) {
	h := newHouse(t, known)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	tx := b.asked()
	form := b.formOf("/consent?tx=" + tx)
	b.signIn("bob", bobsPassword) // in another tab
	w := b.post(form, fields("decision", "allow"))
	expect(t, w, http.StatusBadRequest, "page_outdated")
	if text := read(t, w); !strings.Contains(text, "bob@example.com") || strings.Contains(text, "alice@example.com") {
		t.Errorf("the page was not shown anew: %s", text)
	}
	if v := b.visit(); v.Consent != nil {
		t.Errorf("bob consented to what alice was shown: %+v", v.Consent)
	}
	if in := b.opened(b.post(action(t, w), fields("decision", "allow"))); in.Consented != b.visit().Consent.Version {
		t.Errorf("the page that was shown anew: %+v", in)
	}
}

func TestI6_FormOfAnotherPageRecordsNothing(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	unseen := "/consent?tx=" + b.asked()
	w := b.post(unseen, fields("decision", "allow"))
	expect(t, w, http.StatusBadRequest, "page_outdated")
	other := strings.Replace(b.formOf("/login/continue?tx="+b.asked()), "/login/continue", "/consent", 1)
	expect(t, b.post(other, fields("decision", "allow")), http.StatusBadRequest, "page_outdated")
	if v := b.visit(); v.Consent != nil {
		t.Errorf("consented: %+v", v.Consent)
	}
}

func TestI6_LoginFormOfATabThatIsBehindSignsNobodyElseIn(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	b.signIn("bob", bobsPassword) // in another tab
	w := b.post(form, fields("username", "alice", "password", alicesPassword))
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/login/continue?tx=") {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	page := b.get(w.Header().Get("Location"))
	expect(t, page, http.StatusOK, "")
	if !strings.Contains(read(t, page), "bob@example.com") {
		t.Error("the page does not say who is signed in")
	}
	// A double click is no reason to ask.
	b.afterwards(b.post(form, fields("username", "BOB@example.com", "password", bobsPassword)))
	if v := b.visit(); v.User.Username != "bob" {
		t.Errorf("%s is signed in", v.User.Username)
	}
	// Under prompt=login the page is shown anew.
	again := b.formOf("/login?tx=" + b.asked("prompt", "login"))
	b.signIn("alice", alicesPassword)
	shown := b.post(again, fields("username", "bob", "password", bobsPassword))
	expect(t, shown, http.StatusBadRequest, "page_outdated")
	if in := b.opened(b.post(action(t, shown), fields("username", "bob", "password", bobsPassword))); in.Authenticated.IsZero() {
		t.Error("the page that was shown anew does not sign in")
	}
}

func TestI6_FormInAnotherBrowserIsRefused(t *testing.T) {
	h := newHouse(t)
	b, other := h.browser(), h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	other.get("/logout")
	expect(t, other.post(form, fields("username", "alice", "password", alicesPassword)), http.StatusBadRequest, "interaction_foreign")
	expect(t, other.get(form), http.StatusBadRequest, "interaction_foreign")
	if other.visit() != nil {
		t.Error("signed in")
	}
}

func TestExpiredSignInPageIsRenewedWithWhatWasTyped(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	tx := b.asked("login_hint", "somebody")
	form := b.formOf("/login?tx=" + tx)
	h.clock = h.clock.Add(h.cfg.Login.FlowTimeout)
	w := b.post(form, fields("username", "alice", "password", alicesPassword))
	expect(t, w, http.StatusBadRequest, "interaction_expired")
	if value(t, w, "username") != "alice" || b.visit() != nil {
		t.Error("the username is lost, or somebody is signed in")
	}
	if in := b.opened(b.post(action(t, w), fields("username", "alice", "password", alicesPassword))); in.Request.ClientID != "rp" {
		t.Errorf("the request is lost: %+v", in)
	}
	page := b.get("/login?tx=" + tx)
	expect(t, page, http.StatusBadRequest, "interaction_expired")
	if !strings.Contains(page.Body.String(), `href="`+dispatcher+`?tx=`) || !strings.Contains(read(t, page), "Continue to Grafana") {
		t.Error("the page does not lead on")
	}
}

func TestSignInInOneTabLetsTheOthersGoOn(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	tx := b.asked()
	b.get("/login?tx=" + tx)
	b.signIn("alice", alicesPassword)
	// The back button, or a reload, meets a page that is not needed any more.
	if got := b.afterwards(b.get("/login?tx=" + tx)); got != tx {
		t.Error("the interaction is another one")
	}
	expect(t, b.get("/login?tx="+tx+"&another=1"), http.StatusOK, "")
	expect(t, b.get("/consent?tx="+tx), http.StatusOK, "")
}

func TestEachPageOfAnInteractionCanBeCancelled(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	login := b.formOf("/login?tx=" + b.asked())
	if in := b.opened(b.post(login, fields("cancel", "cancel"))); !in.Denied {
		t.Error("the sign-in page does not cancel")
	}
	b.signIn("alice", alicesPassword)
	choose := b.formOf("/login/continue?tx=" + b.asked("prompt", "select_account"))
	if in := b.opened(b.post(choose, fields("cancel", "cancel"))); !in.Denied {
		t.Error("the page of who is signed in does not cancel")
	}
	consent := b.formOf("/consent?tx=" + b.asked())
	if in := b.opened(b.post(consent, fields("decision", "deny"))); !in.Denied || in.Consented != 0 {
		t.Errorf("the consent page does not deny: %+v", in)
	}
	expect(t, b.post(consent, fields("decision", "perhaps")), http.StatusBadRequest, "decision_missing")
}

func TestContinueChoosesTheSessionThatWasShown(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	page := b.get("/login/continue?tx=" + b.asked("prompt", "select_account"))
	if text := read(t, page); !strings.Contains(text, "Continue as Alice Liddell") {
		t.Error(text)
	}
	if in := b.opened(b.post(action(t, page), fields())); in.Chosen != b.visit().Session.ID {
		t.Errorf("%+v", in)
	}
	b.signIn("bob", bobsPassword)
	expect(t, b.post(action(t, page), fields()), http.StatusBadRequest, "page_outdated")
}

func TestSignOutAsksFirstAndCutsOffWhatWasOpen(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	open := b.asked()
	page := b.get("/logout")
	expect(t, page, http.StatusOK, "")
	if b.visit() == nil {
		t.Fatal("a GET signed out")
	}
	w := b.post("/logout", fields())
	expect(t, w, http.StatusBadRequest, "page_outdated")
	if b.visit() == nil {
		t.Fatal("a form without a seal signed out")
	}
	token, binding := b.cookies[sessionCookie], b.cookies[browserCookie]
	w = b.post(action(t, page), fields())
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/logout" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	if b.cookies[sessionCookie] != "" || b.cookies[browserCookie] == binding {
		t.Error("the cookies are as they were")
	}
	if text := read(t, b.get("/logout")); !strings.Contains(text, "You're signed out") {
		t.Error(text)
	}
	expect(t, b.get("/login?tx="+open), http.StatusBadRequest, "interaction_foreign")
	b.cookies[sessionCookie] = token
	if b.visit() != nil {
		t.Error("the session lives")
	}
}

func TestPagesOfAnInteractionFollowUILocales(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	tx := b.asked("ui_locales", "fr de")
	if text := read(t, b.get("/login?tx="+tx)); !strings.Contains(text, "weiter zu") {
		t.Error(text)
	}
	page := b.get("/login?tx=" + tx + "&lang=en")
	if text := read(t, page); !strings.Contains(text, "to continue to") || !strings.HasPrefix(b.cookies[languageCookie], "en.") {
		t.Error("the person's choice does not count")
	}
	if text := read(t, b.post(action(t, page), fields())); !strings.Contains(text, "Enter your password.") {
		t.Error("the choice is forgotten with the next form")
	}
}

func TestStoreThatFailsIsAPageThatSaysSo(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	b.signIn("alice", alicesPassword)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*httptest.ResponseRecorder{b.get("/account"), b.get("/logout"), b.post(form, fields("username", "alice", "password", alicesPassword))} {
		expect(t, w, http.StatusServiceUnavailable, "unavailable")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	delete(b.cookies, sessionCookie)
	w := b.post(b.formOf("/login?tx="+b.asked()), fields("username", "alice", "password", alicesPassword))
	expect(t, w, http.StatusServiceUnavailable, "unavailable")
	if value(t, w, "username") != "alice" {
		t.Error("the username is lost")
	}
}

func TestPasswordIsChangedByWhoKnowsIt(t *testing.T) {
	h := newHouse(t)
	b, elsewhere := h.browser(), h.browser()
	if in := b.opened(b.get("/account/password")); in.Request.Return != "/account/password" {
		t.Errorf("nobody is signed in, and the way back is %q", in.Request.Return)
	}
	elsewhere.signIn("alice", alicesPassword)
	b.signIn("alice", alicesPassword)
	form := b.formOf("/account/password")
	const fresh = "three uncommon words"
	expect(t, b.post("/account/password", fields("password", alicesPassword, "new_password", fresh)), http.StatusBadRequest, "page_outdated")
	expect(t, b.post(form, fields()), http.StatusBadRequest, "password_missing new_password_missing")
	expect(t, b.post(form, fields("password", "wrong", "new_password", fresh)), http.StatusBadRequest, "invalid_credentials")
	w := b.post(form, fields("password", alicesPassword, "new_password", "short"))
	expect(t, w, http.StatusBadRequest, "password_too_short password_too_common password_too_weak")
	if text := read(t, w); !strings.Contains(text, "Use at least 12 characters. This has 5.") {
		t.Error(text)
	}
	former := b.cookies[sessionCookie]
	if w := b.post(form, fields("password", alicesPassword, "new_password", fresh)); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/account" {
		t.Fatalf("%d to %q\n%s", w.Code, w.Header().Get("Location"), w.Body)
	}
	if b.cookies[sessionCookie] == former || b.visit() == nil || elsewhere.visit() != nil {
		t.Error("the session was not renewed, or another one lives")
	}
	expect(t, b.get("/account"), http.StatusOK, "password_changed")
	expect(t, b.get("/account"), http.StatusOK, "")
}

func TestConsentSaysWhatIsAskedAndWhatIsNew(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	ask := func(pairs ...string) string { return read(t, b.get("/consent?tx="+b.asked(pairs...))) }
	if text := ask("scope", "openid"); !strings.Contains(text, "will only learn that you have an account") || strings.Contains(text, "Who you are") {
		t.Errorf("openid alone: %s", text)
	}
	first := ask()
	for _, part := range []string{"Grafana will be able to: Who you are See your name", "alice@example.com", "You'll be sent to rp.example.com."} {
		if !strings.Contains(first, part) {
			t.Errorf("%q is not said: %s", part, first)
		}
	}
	b.post(b.formOf("/consent?tx="+b.asked()), fields("decision", "allow"))
	more := ask("scope", "openid profile email", "claims", url.QueryEscape("")+`{"userinfo":{"name":null,"phone_number":null}}`)
	for _, part := range []string{"now also wants to: Who you are See your e-mail address See your phone number", "Grafana already can: Who you are See your name"} {
		if !strings.Contains(more, part) {
			t.Errorf("%q is not said: %s", part, more)
		}
	}
}

func TestWaitIsInMinutesAndSeconds(t *testing.T) {
	h := newHouse(t)
	for d, want := range map[time.Duration]string{
		95 * time.Second: "95 1 35", 0: "1 0 1", 2*time.Minute + 4e8: "121 2 1", 59*time.Second + 6e8: "60 1 0", -1 * time.Millisecond: "1 0 1",
	} {
		w := h.ui.waitOf(d)
		if got := fmt.Sprint(w.Left(), w.Minutes(), w.Seconds()); got != want || w.Until != h.clock.Add(w.Rest()) {
			t.Errorf("%v: got %s until %v, want %s", d, got, w.Until, want)
		}
	}
}

func TestFormThatIsSentTwiceLeadsOnTwice(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	login := b.formOf("/login?tx=" + b.asked())
	credentials := fields("username", "alice", "password", alicesPassword)
	before := b.cookies[sessionCookie]
	b.opened(b.post(login, credentials))
	b.cookies[sessionCookie] = before // the second click was on its way before the first answer
	b.opened(b.post(login, credentials))
	b.opened(b.post(login, credentials)) // and the back button after it
	consent := b.formOf("/consent?tx=" + b.asked())
	b.opened(b.post(consent, fields("decision", "allow")))
	b.opened(b.post(consent, fields("decision", "allow")))
	b.opened(b.get(consent)) // back, to a page that is not needed any more
	if v := b.visit(); v == nil || !v.Consent.Covers([]string{"openid", "profile"}, nil) {
		t.Errorf("%+v", v)
	}
}
