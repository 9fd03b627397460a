package main

import (
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/idp"
	"postern/oauth"
	"postern/storage/storagetest"
)

// A wiretap keeps what passes between browsers and the server.
type wiretap struct {
	http.RoundTripper
	mu      sync.Mutex // holds what follows
	cookies []*http.Cookie
	sent    []*http.Request
}

func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := w.RoundTripper.RoundTrip(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, r)
	if err == nil {
		w.cookies = append(w.cookies, answer.Cookies()...)
	}
	return answer, err
}

// tapped is a browser at an address whose wire is tapped.
func (h *house) tapped() (*rp.Browser, *wiretap) {
	b := h.browser()
	w := &wiretap{RoundTripper: b.Transport}
	b.Transport = w
	return b, w
}

// S0-48, S0-49, S0-50: every cookie of the site is for this host alone, over https, for no script,
// and not sent with what another site's page sends.
func TestS0_48_S0_49_S0_50_EveryCookieIsOurOwnAlone(t *testing.T) {
	h := open(t, storagetest.SQLite(t), inviting)
	h.addUser(t, "alice")
	party := h.party(t)
	b, wire := h.tapped()
	// A sign-in that is remembered, by way of a relying party, with whatever a page of ours sets.
	page := fillIn(t, openPage(t, b, "/login"), map[string]string{"username": "alice", "password": "wrong"})
	page = fillIn(t, page, map[string]string{"username": "alice", "password": testPassword, "remember": "1"})
	if page.URL.Path != "/account" {
		t.Fatalf("at %s: %s", page.URL, page.Text())
	}
	if _, err := party.SignIn(t.Context(), b, rp.Person{Username: "alice", Password: testPassword}, party.NewRequest("scope", "openid")); err != nil {
		t.Fatal(err)
	}
	for _, rt := range tableOf(h) {
		if rt.Method == http.MethodGet && rt.Auth != forToken && rt.Path != "/{$}" {
			openPage(t, b, strings.NewReplacer("{path...}", "style.css", "{token}", "x").Replace(rt.Path))
		}
	}
	fillIn(t, openPage(t, b, "/account/profile"), map[string]string{"nickname": "Al"})
	fillIn(t, openPage(t, b, "/account/appearance"), nil)
	fillIn(t, openPage(t, b, "/account/password"), map[string]string{"password": testPassword, "new_password": "quite another one"})
	fillIn(t, openPage(t, b, "/logout"), nil)
	// Whoever signs up has a session that owes a step, and asks for mails.
	stranger, tapped := h.tapped()
	fillIn(t, openPage(t, stranger, "/reset"), map[string]string{"username": "alice"})
	fillIn(t, openPage(t, stranger, "/login/code"), map[string]string{"username": "alice"})
	fillIn(t, openPage(t, stranger, "/signup"), map[string]string{"username": "walter", "email": "walter@example.com", "password": "seven bridges of Prague"})
	h.addUnverified(t, "dave")
	page = h.signIn(t, stranger, "dave", testPassword)
	if page.URL.Path != "/verify" {
		t.Errorf("who must prove an address is at %s", page.URL)
	}

	seen := map[string]bool{}
	for _, c := range slices.Concat(wire.cookies, tapped.cookies) {
		seen[c.Name] = true
		// What language somebody reads opens nothing.
		ours := strings.HasPrefix(c.Name, "__Host-postern_") || c.Name == "postern_language"
		if !ours || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("Set-Cookie: %s", c.Raw)
		}
	}
	for _, name := range []string{"session", "login", "browser", "notice", "device"} {
		if !seen["__Host-postern_"+name] {
			t.Errorf("no cookie %s was seen, only %v", name, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// S0-50, S0-53: what another site's page sends to a form of ours comes without a cookie, is refused
// with a page, and changes nothing.
func TestS0_50_S0_53_FormsOfOtherSitesDoNothing(t *testing.T) {
	h := open(t, storagetest.SQLite(t), inviting)
	h.addUser(t, "alice")
	b, wire := h.tapped()
	h.signIn(t, b, "alice", testPassword)
	before := b.Cookie(testIssuer, "__Host-postern_session")
	form := url.Values{
		"username": {"alice"}, "password": {testPassword}, "new_password": {"quite another one"}, "email": {"eve@example.com"}, "session": {"others"},
		"confirm": {"alice"}, "code": {"000000"}, "allow": {"1"},
	}
	forms := 0
	for _, rt := range tableOf(h) {
		if !rt.form() {
			continue
		}
		forms++
		wire.sent = nil
		page, err := b.PostFrom(t.Context(), "https://evil.example/", testIssuer+rt.Path, form)
		if err != nil {
			t.Fatal(err)
		}
		if page.Status != http.StatusForbidden || !slices.Contains(page.ErrorCodes(), "cross_site_request") {
			t.Errorf("%s: %d %v", rt.Path, page.Status, page.ErrorCodes())
		}
		if cookies := wire.sent[0].Cookies(); len(cookies) > 0 {
			t.Errorf("%s: the browser sends %v", rt.Path, cookies)
		}
		// A browser that would send its cookies all the same, as old ones do.
		for _, header := range []http.Header{
			{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}}, {},
		} {
			header.Set("Cookie", "__Host-postern_session="+before)
			header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer := h.send(t, rt.Method, rt.Path, header, strings.NewReader(form.Encode()))
			if answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) > 0 {
				t.Errorf("%s, %v: %d, cookies %v", rt.Path, header, answer.StatusCode, answer.Cookies())
			}
		}
	}
	if forms < 25 {
		t.Errorf("there are %d forms", forms)
	}
	if page := openPage(t, b, "/account"); page.URL.Path != "/account" || b.Cookie(testIssuer, "__Host-postern_session") != before {
		t.Errorf("alice is at %s", page.URL)
	}
	if page := h.signIn(t, h.browser(), "alice", testPassword); page.URL.Path != "/account" {
		t.Errorf("alice's password leads to %s", page.URL)
	}
}

// S0-52: no cookie stands against forgery, since the origin of a request decides, so that there is
// none to be stolen or set by a neighbour.
func TestS0_52_NoCookieStandsAgainstForgery(t *testing.T) {
	h := open(t, storagetest.SQLite(t), inviting)
	h.addUser(t, "alice")
	stranger, tapped := h.tapped()
	alice, wire := h.tapped()
	h.signIn(t, alice, "alice", testPassword)
	for _, rt := range tableOf(h) {
		if rt.Method == http.MethodGet && !rt.forProgram() && !rt.document() {
			path := strings.NewReplacer("{path...}", "style.css", "{token}", "x", "{$}", "").Replace(rt.Path)
			openPage(t, stranger, path)
			openPage(t, alice, path)
		}
	}
	known := []string{"__Host-postern_session", "__Host-postern_login", "__Host-postern_browser", "__Host-postern_notice", "__Host-postern_device", "postern_language"}
	held := map[string]string{}
	for _, c := range slices.Concat(tapped.cookies, wire.cookies) {
		if !slices.Contains(known, c.Name) {
			t.Errorf("Set-Cookie: %s", c.Raw)
		}
		held[c.Name] = c.Value
	}
	if held["__Host-postern_session"] == "" {
		t.Fatalf("alice has the cookies %v", held)
	}
	var all []string
	for name, value := range held {
		all = append(all, name+"="+value)
	}
	// Another site's form is refused with all that alice's browser holds; ours needs nothing beside.
	answer := h.send(t, http.MethodPost, "/logout", http.Header{
		"Cookie": {strings.Join(all, "; ")}, "Origin": {"https://evil.example"}, "Content-Type": {"application/x-www-form-urlencoded"},
	}, strings.NewReader(""))
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("another site's form: %d", answer.StatusCode)
	}
	if page := openPage(t, alice, "/account"); page.URL.Path != "/account" {
		t.Errorf("alice is at %s", page.URL)
	}
	fillIn(t, openPage(t, alice, "/logout"), nil)
	if page := openPage(t, alice, "/account"); page.URL.Path != "/login" {
		t.Errorf("after a form of ours alice is at %s", page.URL)
	}
}

// S0-74: signing out takes the button of a page of ours; no address that another page loads does it.
func TestS0_74_SigningOutTakesAPost(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	h.addUser(t, "alice")
	b := h.browser()
	h.signIn(t, b, "alice", testPassword)
	before := b.Cookie(testIssuer, "__Host-postern_session")
	signedIn := func(when string) {
		t.Helper()
		if page := openPage(t, b, "/account"); page.URL.Path != "/account" || b.Cookie(testIssuer, "__Host-postern_session") != before {
			t.Errorf("%s alice is at %s", when, page.URL)
		}
	}
	page := openPage(t, b, "/logout")
	if page.Status != http.StatusOK || page.URL.Path != "/logout" || !page.Has("confirm-logout") {
		t.Errorf("GET shows %d at %s: %s", page.Status, page.URL, page.Text())
	}
	signedIn("after the page was shown")
	// As an image of another site, of a neighbour or of ours, with the cookie that an old browser sends.
	for _, site := range []string{"cross-site", "same-site", "same-origin", ""} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, path := range []string{"/logout", "/logout?confirm=1", "/logout?session=" + before} {
				header := http.Header{"Cookie": {"__Host-postern_session=" + before}, "Accept": {"image/avif,image/webp,*/*;q=0.8"}}
				if site != "" {
					header.Set("Sec-Fetch-Site", site)
					header.Set("Sec-Fetch-Mode", "no-cors")
					header.Set("Sec-Fetch-Dest", "image")
				}
				answer := h.send(t, method, path, header, nil)
				if slices.ContainsFunc(answer.Cookies(), func(c *http.Cookie) bool { return c.Name == "__Host-postern_session" }) {
					t.Errorf("%s %s, %s: sets %v", method, path, site, answer.Cookies())
				}
			}
		}
	}
	signedIn("after images")
	if page, err := b.PostFrom(t.Context(), "https://evil.example/", testIssuer+"/logout", nil); err != nil || page.Status != http.StatusForbidden {
		t.Errorf("a form of another site: %v, %v", page, err)
	}
	signedIn("after a form of another site")
	fillIn(t, openPage(t, b, "/logout"), nil)
	if page := openPage(t, b, "/account"); page.URL.Path != "/login" {
		t.Errorf("after the button alice is at %s", page.URL)
	}
	answer := h.send(t, http.MethodGet, "/account", http.Header{"Cookie": {"__Host-postern_session=" + before}}, nil)
	if answer.StatusCode != http.StatusSeeOther {
		t.Errorf("the former cookie still opens the account: %d", answer.StatusCode)
	}
}

// S1-18, S1-19: no script of another origin reads a page of ours, with credentials or without.
func TestS1_18_S1_19_PagesAreForNoOtherOrigin(t *testing.T) {
	h := open(t, storagetest.SQLite(t), inviting)
	h.party(t)
	origins := []string{
		"https://rp.example.com", "https://evil.example", "null", "https://id.example.com.evil.example", "https://id.example.com:444", "http://id.example.com", testIssuer,
	}
	for _, rt := range tableOf(h) {
		for _, origin := range origins {
			for _, method := range []string{rt.Method, http.MethodOptions} {
				answer := h.send(t, method, rt.Path, http.Header{
					"Origin": {origin}, "Access-Control-Request-Method": {rt.Method}, "Access-Control-Request-Headers": {"authorization"},
				}, nil)
				for name, values := range answer.Header {
					public := rt.forProgram() || rt.document()
					if strings.HasPrefix(name, "Access-Control-") && (!public || name == "Access-Control-Allow-Credentials") {
						t.Errorf("%s %s for %s: %s: %v", method, rt.Path, origin, name, values)
					}
				}
			}
		}
	}
}

// S1-01: security.txt has what the settings say, and is not there where they name no contact.
func TestS1_01_SecurityTextSaysWhereToReport(t *testing.T) {
	whole := func(c *config.Config) {
		c.Security = config.Security{
			Contacts: []string{"mailto:security@example.com", "https://example.com/report"}, Expires: "2099-01-31T00:00:00Z",
			Policy: "https://example.com/policy", Languages: []string{"en", "de"}, Encryption: "https://example.com/pgp.asc",
		}
	}
	h := open(t, storagetest.SQLite(t), whole)
	answer := h.send(t, http.MethodGet, securityTextPath, nil, nil)
	want := "Contact: mailto:security@example.com\nContact: https://example.com/report\nExpires: 2099-01-31T00:00:00Z\n" +
		"Encryption: https://example.com/pgp.asc\nPreferred-Languages: en, de\n" +
		"Canonical: https://id.example.com/.well-known/security.txt\nPolicy: https://example.com/policy\n"
	if got := text(t, answer); got != want || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %s\n%s", answer.StatusCode, answer.Header.Get("Content-Type"), got)
	}
	if answer := h.send(t, http.MethodHead, securityTextPath, nil, nil); answer.StatusCode != http.StatusOK {
		t.Errorf("HEAD: %d", answer.StatusCode)
	}

	h = open(t, storagetest.SQLite(t), func(c *config.Config) { c.Security.Contacts = []string{"tel:+1-201-555-0123"} })
	_, line, _ := strings.Cut(text(t, h.send(t, http.MethodGet, securityTextPath, nil, nil)), "Expires: ")
	line, _, _ = strings.Cut(line, "\n")
	if expires, err := time.Parse(time.RFC3339, line); err != nil || !expires.After(h.now.AddDate(0, 11, 0)) || !expires.Before(h.now.AddDate(1, 0, 0)) {
		t.Errorf("by default it expires at %q", line)
	}

	h = open(t, storagetest.SQLite(t), nil)
	answer = h.send(t, http.MethodGet, securityTextPath, nil, nil)
	if body := text(t, answer); answer.StatusCode != http.StatusNotFound || !strings.Contains(body, `data-error-code="not_found"`) {
		t.Errorf("without a contact: %d", answer.StatusCode)
	}
}

// A pageRule is what headers of a page must be.
type pageRule struct {
	form     string // what its forms may lead to beside us, "" for nothing
	isolated bool   // whether no window that opened it can reach it
	secret   bool   // whether its address opens something
}

// ruleOf is the rule of the page at an address, within a request that leads back to form.
func (h *house) ruleOf(u *url.URL, form string) pageRule {
	query := u.Query()
	r := pageRule{form: form, secret: query.Has("ticket") || query.Has("invite") || strings.HasPrefix(u.Path, "/secure/")}
	for _, own := range append([]string{"/account", "/logout", "/secure/", "/verify/link", "/reset/link"}, h.cfg.Honeypot.Paths...) {
		r.isolated = r.isolated || strings.HasPrefix(u.Path, own)
	}
	if r.isolated {
		r.form = "" // it belongs to no request
	}
	return r
}

// judge holds a page to its rule.
func (r pageRule) judge(t *testing.T, page *rp.Page) {
	t.Helper()
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
			"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
		"Permissions-Policy": "publickey-credentials-get=(self), publickey-credentials-create=(self), " +
			"camera=(), microphone=(), geolocation=(), payment=(), usb=()",
		"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "",
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
	}
	if r.form != "" {
		want["Content-Security-Policy"] += " " + r.form
	}
	if r.secret {
		want["Referrer-Policy"] = "no-referrer"
	}
	if r.isolated {
		want["Cross-Origin-Opener-Policy"] = "same-origin"
	}
	for name, value := range want {
		if got := strings.Join(page.Header.Values(name), ", "); got != value {
			t.Errorf("%s: %s\n got %q\nwant %q", page.URL, name, got, value)
		}
	}
	for name := range page.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: %s", page.URL, name)
		}
	}
}

// S0-101, S0-102: every page keeps to itself, whoever opens it, and its forms lead to us and to the
// relying party whose request it answers.
func TestS0_101_S0_102_EveryPageKeepsToItself(t *testing.T) {
	h := open(t, storagetest.SQLite(t), inviting)
	h.addUser(t, "alice")
	h.addUnverified(t, "dave")
	_, invite, err := h.p.AddInvite(t.Context(), idp.NewInvite{})
	if err != nil {
		t.Fatal(err)
	}
	party := h.party(t)
	const leadsTo = "https://rp.example.com"
	stranger, asked, alice := h.browser(), h.browser(), h.browser()
	h.signIn(t, alice, "alice", testPassword)
	begun, err := asked.OpenFrom(t.Context(), party.RedirectURI, party.NewRequest().URL())
	if err != nil {
		t.Fatal(err)
	}
	tx := "?tx=" + url.QueryEscape(begun.URL.Query().Get("tx"))
	seen := map[string]bool{}
	judge := func(b *rp.Browser, path, form string) {
		page := openPage(t, b, path)
		seen[page.URL.Path] = true
		h.ruleOf(page.URL, form).judge(t, page)
	}
	for _, rt := range tableOf(h) {
		if rt.Method != http.MethodGet || rt.forProgram() || rt.document() || rt.Path == changePasswordPath || rt.Path == oauth.AuthorizePath ||
			rt.Path == "/login/passkey/options" { // which is read by a script of ours
			continue
		}
		path := strings.NewReplacer("{token}", invite, "{$}", "").Replace(rt.Path)
		for _, b := range []*rp.Browser{stranger, alice} {
			judge(b, path, "")
			judge(b, path+"?ticket="+invite, "")
		}
		if u := (&url.URL{Path: path}); path != "/" && !h.ruleOf(u, "").isolated {
			judge(asked, path+tx, leadsTo)
		}
	}
	judge(stranger, "/signup?invite="+invite, "")
	judge(stranger, "/signup?invite=over", "")
	judge(stranger, "/nowhere", "")
	judge(asked, "/oauth2/authorize?client_id=nobody", "")

	// What forms answer with, and the pages behind them.
	for _, c := range []struct {
		path string
		form map[string]string
	}{
		{"/login" + tx, map[string]string{"username": "alice", "password": "wrong"}},
		{"/signup" + tx, map[string]string{"username": "walter", "email": "walter@example.com", "password": "short"}},
		{"/signup" + tx, map[string]string{"username": "walter", "email": "walter@example.com", "password": "seven bridges of Prague"}},
		{"/reset" + tx, map[string]string{"username": "alice"}},
		{"/login/code" + tx, map[string]string{"username": "alice"}},
		{"/login" + tx, map[string]string{"username": "dave", "password": testPassword}},
		{"/login" + tx, map[string]string{"username": "alice", "password": testPassword}},
	} {
		page := fillIn(t, openPage(t, asked, c.path), c.form)
		seen[page.URL.Path] = true
		h.ruleOf(page.URL, leadsTo).judge(t, page)
	}
	h.now = h.now.Add(h.cfg.Sudo.Timeout + time.Minute)
	page := fillIn(t, openPage(t, alice, "/account/data"), nil)
	seen[page.URL.Path] = true
	h.ruleOf(page.URL, "").judge(t, page)
	for _, path := range []string{
		"/login", "/signup", "/verify", "/reset", "/reset/code", "/login/code", "/login/code/enter", "/consent", "/account", "/account/delete",
		"/account/reauthenticate", "/logout", "/secure/" + invite, "/reset/link", "/verify/link", "/account/undelete", "/account/revert",
	} {
		if !seen[path] {
			t.Errorf("%s was not seen", path)
		}
	}
}

// A token in a path is one in an address that logs and records keep.
func TestLogHasNoTokenOfAPath(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	var logged strings.Builder
	log := slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.log = log
	former := slog.Default()
	slog.SetDefault(log)
	defer slog.SetDefault(former)
	h.send(t, http.MethodGet, "/secure/opensomething", nil, nil)
	h.send(t, http.MethodGet, "//secure/opensomething", nil, nil)
	h.send(t, http.MethodPost, "/secure/opensomething", http.Header{"Sec-Fetch-Site": {"same-origin"}}, nil)
	if line := logged.String(); strings.Contains(line, "opensomething") || !strings.Contains(line, `"path":"/secure/{token}"`) {
		t.Errorf("logged %s", line)
	}
}

// S0-38: a change of the password ends the sessions of all other browsers, and what every relying
// party was given, at their next use; where the settings keep them, nothing of it ends.
func TestS0_38_APasswordChangeEndsWhatOtherBrowsersGaveToEveryRelyingParty(t *testing.T) {
	for _, ends := range []bool{true, false} {
		t.Run("ends "+strconv.FormatBool(ends), func(t *testing.T) {
			h := open(t, storagetest.SQLite(t), func(c *config.Config) { c.Sessions.EndOnPasswordChange = ends })
			h.addUser(t, "alice")
			person := rp.Person{Username: "alice", Password: testPassword}
			here, there, elsewhere := h.browser(), h.browser(), h.browser()
			shop, forum := h.party(t), h.party(t)
			signIn := func(party *rp.RelyingParty, b *rp.Browser) rp.SignedIn {
				s, err := party.SignIn(t.Context(), b, person, party.NewRequest())
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			inShop, inForum, both := signIn(shop, there), signIn(forum, elsewhere), signIn(forum, there)
			h.signIn(t, here, "alice", testPassword)
			before := here.Cookie(testIssuer, "__Host-postern_session")
			fillIn(t, openPage(t, here, "/account/password"), map[string]string{"password": testPassword, "new_password": "eleven ferries to Oslo"})
			page := openPage(t, here, "/account")
			if after := here.Cookie(testIssuer, "__Host-postern_session"); page.URL.Path != "/account" || after == before {
				t.Errorf("who changed it is at %s, with the former cookie: %v", page.URL, after == before)
			}
			for name, b := range map[string]*rp.Browser{"there": there, "elsewhere": elsewhere} {
				if page := openPage(t, b, "/account"); (page.URL.Path == "/login") != ends {
					t.Errorf("%s alice is at %s", name, page.URL)
				}
			}
			for name, s := range map[string]struct {
				party *rp.RelyingParty
				rp.SignedIn
			}{"the shop": {shop, inShop}, "the forum": {forum, inForum}, "the forum of both": {forum, both}} {
				info, err := s.party.UserInfo(t.Context(), s.Tokens.AccessToken)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := s.party.Refresh(t.Context(), s.Tokens.RefreshToken, "")
				if err != nil {
					t.Fatal(err)
				}
				if code, _ := answer.ErrorCode(); (code == "invalid_grant") != ends || (info.Status == http.StatusUnauthorized) != ends {
					t.Errorf("%s: userinfo %s, refreshed: %s", name, info, answer)
				}
			}
		})
	}
}
