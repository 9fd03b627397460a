package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/idp"
	"postern/idp/guard"
	"postern/idp/secret"
	loginui "postern/login-ui"
	"postern/storage"
	"postern/storage/storagetest"
)

const (
	testIssuer   = "https://id.example.com"
	testPassword = "correct horse battery"
)

// testRoot is the root key of all tests here, so that commands open what a server sealed.
var testRoot = sync.OnceValue(func() string { return secret.NewRootKey(1).String() })

// A house is the whole server in process, with a clock that the test turns.
type house struct {
	*site
	url   string
	p     *idp.Provider
	store *storage.Store
	now   time.Time
}

// open builds a server on the database of url. change may alter the settings.
func open(t testing.TB, url string, change func(*config.Config)) *house {
	t.Helper()
	return openCounting(t, url, nil, change)
}

// openCounting is open with the gate's counters elsewhere than in the database.
func openCounting(t testing.TB, url string, gate guard.Store, change func(*config.Config)) *house {
	t.Helper()
	cfg := config.Default()
	cfg.Issuer = testIssuer
	cfg.Database.URL = url
	cfg.Secrets.Keys = []string{testRoot()}
	cfg.Password.Argon2 = config.Argon2{MemoryKiB: 64, Time: 1, Parallelism: 1}
	cfg.RateLimits.Off = true
	cfg.Metrics.Listen = noListener
	cfg.Mail = config.Mail{Transport: "dir:" + t.TempDir(), From: "no-reply@id.example.com"} // jobs wait: nobody does them here
	if change != nil {
		change(cfg)
	}
	h := &house{url: url, now: time.Now().UTC().Truncate(time.Second), store: storagetest.Open(t, url, storage.Options{})}
	log := slog.New(slog.DiscardHandler)
	mailer, err := loginui.NewMailer(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.p, err = newProvider(t.Context(), cfg, h.store, idp.Options{
		Now: func() time.Time { return h.now }, Log: log, Wait: func(context.Context, time.Duration) {}, Gate: gate, Mailer: mailer,
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.site, err = newSite(h.p, cfg, log); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) transport() rp.InProcess { return rp.InProcess{Handler: h} }

// addUser adds a user with testPassword.
func (h *house) addUser(t *testing.T, name string) idp.User {
	t.Helper()
	u, err := h.p.AddUser(t.Context(), idp.NewUser{Username: name, Email: name + "@example.com", EmailVerified: true, Password: testPassword})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// addUnverified adds a user who did not prove their address, with testPassword.
func (h *house) addUnverified(t *testing.T, name string) {
	t.Helper()
	if _, err := h.p.AddUser(t.Context(), idp.NewUser{Username: name, Email: name + "@example.com", Password: testPassword}); err != nil {
		t.Fatal(err)
	}
}

// party adds a client and returns its relying party.
func (h *house) party(t *testing.T) *rp.RelyingParty {
	t.Helper()
	const redirectURI = "https://rp.example.com/callback"
	c, secret, err := h.p.AddClient(t.Context(), idp.Client{Metadata: idp.Metadata{
		Name: "Shop", RedirectURIs: idp.List{redirectURI}, GrantTypes: idp.List{"authorization_code", "refresh_token"},
		ResponseTypes: idp.List{"code"}, Scopes: idp.List{"openid", "profile", "email"}, TokenEndpointAuthMethod: idp.AuthBasic,
	}}, "")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := rp.Discover(t.Context(), h.transport(), testIssuer)
	if err != nil {
		t.Fatal(err)
	}
	provider.Now = func() time.Time { return h.now }
	return &rp.RelyingParty{Provider: provider, ClientID: c.ID, Secret: secret, RedirectURI: redirectURI}
}

// browser stops at the relying party.
func (h *house) browser() *rp.Browser {
	return &rp.Browser{
		Transport: h.transport(), Now: func() time.Time { return h.now },
		StopAt: func(u *url.URL) bool { return u.Host != "id.example.com" },
	}
}

// send sends one request without a browser.
func (h *house) send(t *testing.T, method, address string, header http.Header, body io.Reader) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, testIssuer+address, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := h.transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func text(t *testing.T, answer *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRelyingPartySignsSomeoneIn(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, nil)
		alice, party, b := h.addUser(t, "alice"), h.party(t), h.browser()
		person := rp.Person{Username: "alice", Password: testPassword}

		first, err := party.SignIn(t.Context(), b, person, party.NewRequest("scope", "openid email"))
		if err != nil {
			t.Fatal(err)
		}
		if first.SignIns != 1 || first.Consents != 1 || first.Claims.Text("sub") != alice.ID.String() {
			t.Errorf("signed in %d times, consented %d times, as %s", first.SignIns, first.Consents, first.Claims.Text("sub"))
		}
		answer, err := party.UserInfo(t.Context(), first.Tokens.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := answer.Claims(); err != nil || info.Text("email") != "alice@example.com" {
			t.Errorf("userinfo: %v, %v", info, err)
		}
		answer, err = party.Refresh(t.Context(), first.Tokens.RefreshToken, "")
		if err != nil {
			t.Fatal(err)
		}
		if next, err := answer.Tokens(); err != nil || next.RefreshToken == "" || next.RefreshToken == first.Tokens.RefreshToken {
			t.Errorf("refresh: %+v, %v", next, err)
		}
		again, err := party.SignIn(t.Context(), b, person, party.NewRequest("scope", "openid email"))
		if err != nil {
			t.Fatal(err)
		}
		if again.SignIns+again.Consents+again.Other != 0 {
			t.Errorf("the second sign-in showed %+v, want no page", again.Journey)
		}
	})
}

// I-24: a POST of a form route must say that it comes from us.
func TestI24_FormsAreRefusedWhereNoHeaderSpeaks(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	for name, c := range map[string]struct {
		site, origin string
		refused      bool
	}{
		"neither header":                    {"", "", true},
		"Origin: null alone":                {"", "null", true},
		"Origin: null, cross-site":          {"cross-site", "null", true},
		"Origin: null, none":                {"none", "null", true},
		"Origin: null, same-origin":         {"same-origin", "null", false},
		"cross-site":                        {"cross-site", "https://evil.example", true},
		"same-site":                         {"same-site", "https://other.example.com", true},
		"another origin, old browser":       {"", "https://evil.example", true},
		"our host by http, old browser":     {"", "http://evil.example", true},
		"same-origin":                       {"same-origin", testIssuer, false},
		"our origin, old browser":           {"", testIssuer, false},
		"typed by a person, without Origin": {"none", "", false},
	} {
		for _, rt := range tableOf(h) {
			if rt.CSRF != csrfOrigin {
				continue
			}
			header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
			if c.site != "" {
				header.Set("Sec-Fetch-Site", c.site)
			}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			answer := h.send(t, rt.Method, rt.Path, header, strings.NewReader("username=alice"))
			body := text(t, answer)
			refused := answer.StatusCode == http.StatusForbidden && strings.Contains(body, `data-error-code="cross_site_request"`)
			if refused != c.refused {
				t.Errorf("%s, %s %s: %d, refused %t, want %t", name, rt.Method, rt.Path, answer.StatusCode, refused, c.refused)
			}
			if refused && len(answer.Cookies()) > 0 {
				t.Errorf("%s, %s: a refusal sets the cookies %v", name, rt.Path, answer.Cookies())
			}
		}
	}
}

// I-25: a POST from another site is sealed before a cookie counts, and the address stays short.
func TestI25_PostedRequestBecomesAShortAddressOfOurs(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, nil)
		h.addUser(t, "alice")
		party := h.party(t)
		for name, length := range map[string]int{"short": 20, "long": 4000} {
			t.Run(name, func(t *testing.T) {
				b := h.browser()
				request := party.NewRequest("scope", "openid",
					"state", incompressible(length), "claims", `{"userinfo":{"name":{"value":"`+incompressible(length)+`"}}}`)
				page, err := b.PostFrom(t.Context(), "https://rp.example.com/", party.AuthorizationEndpoint, request.Params)
				if err != nil {
					t.Fatal(err)
				}
				first := b.Hops[0]
				location := first.Header.Get("Location")
				if first.Status != http.StatusSeeOther || !strings.HasPrefix(location, testIssuer+"/oauth2/authorize?tx=") && !strings.HasPrefix(location, "/oauth2/authorize?tx=") {
					t.Fatalf("the POST is answered %d to %.80q", first.Status, location)
				}
				for _, hop := range b.Hops[1:] {
					if len(hop.URL) > 6<<10 {
						t.Errorf("%s has an address of %d bytes", hop.Method, len(hop.URL))
					}
				}
				journey, err := rp.Person{Username: "alice", Password: testPassword}.Answer(t.Context(), page)
				if err != nil {
					t.Fatal(err)
				}
				signedIn := rp.SignedIn{Journey: journey}
				if err := party.Finish(t.Context(), &signedIn, request); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// incompressible is a text of n random letters: what is sealed is compressed first.
func incompressible(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(newRequestID())
	}
	return b.String()[:n]
}

func TestHealthIsPublicAndSaysNothing(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	answer := h.send(t, http.MethodGet, healthPath, nil, nil)
	if answer.StatusCode != http.StatusNoContent || text(t, answer) != "" {
		t.Errorf("got %d", answer.StatusCode)
	}
}

func TestEveryAnswerHasARequestIDOfOurs(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	seen := map[string]bool{}
	for _, address := range []string{healthPath, "/login", "/nowhere", "/oauth2/token", "/.well-known/openid-configuration", "/oauth2/authorize"} {
		answer := h.send(t, http.MethodGet, address, http.Header{"X-Request-Id": {"mine"}}, nil)
		id := answer.Header.Get("X-Request-Id")
		if len(id) != 14 || id == "mine" || seen[id] {
			t.Errorf("%s: the request ID is %q", address, id)
		}
		seen[id] = true
		body := text(t, answer)
		if answer.StatusCode >= 400 && strings.Contains(body, "<html") && !strings.Contains(body, id) {
			t.Errorf("%s: the error page lacks the request ID", address)
		}
	}
}

func TestWhatIsKeptOfAVisitorHasNoControlCharacters(t *testing.T) {
	for sent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64)": "Mozilla/5.0 (X11; Linux x86_64)",
		"a\u009b31mb\u0085c\td":           "a31mbcd", // U+009B begins an escape sequence
		"a\xffb":                          "ab",
		"a\x00b":                          "ab",
		strings.Repeat("é", 300):          strings.Repeat("é", 256),
		"x" + strings.Repeat("é", 300):    "x" + strings.Repeat("é", 255),
	} {
		if got := printable(sent, maxUserAgent); got != want {
			t.Errorf("%.40q: got %q, want %q", sent, got, want)
		}
	}
}

func TestBodiesAreLimited(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	large := "a=" + strings.Repeat("x", maxBody)
	for _, rt := range tableOf(h) {
		if rt.Method != http.MethodPost {
			continue
		}
		header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}
		answer := h.send(t, rt.Method, rt.Path, header, strings.NewReader(large))
		if answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: a body of %d bytes is answered %d, want 413", rt.Path, len(large), answer.StatusCode)
		}
		wantWordsFor(t, rt, answer)
	}
}

func TestHandlerThatPanicsIsAPageAndALogLine(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	var logged strings.Builder
	h.log = slog.New(slog.NewJSONHandler(&logged, nil))
	h.mux.HandleFunc("GET /broken", func(http.ResponseWriter, *http.Request) { panic("broken on purpose") })
	answer := h.send(t, http.MethodGet, "/broken?code=secret", nil, nil)
	body := text(t, answer)
	if answer.StatusCode != http.StatusInternalServerError || !strings.Contains(body, `data-error-code="internal_error"`) || strings.Contains(body, "on purpose") {
		t.Errorf("got %d: %s", answer.StatusCode, body)
	}
	if line := logged.String(); !strings.Contains(line, "broken on purpose") || !strings.Contains(line, answer.Header.Get("X-Request-Id")) || strings.Contains(line, "secret") {
		t.Errorf("logged %s", line)
	}
}

func TestLogHasNoQueryStringsAndCookies(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	var logged strings.Builder
	h.log = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.send(t, http.MethodGet, "/login?tx=sealed&code=ac_1", http.Header{"Cookie": {"__Host-postern_session=biscuit"}, "Authorization": {"Bearer at_1"}}, nil)
	for _, secret := range []string{"sealed", "ac_1", "biscuit", "at_1"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the log has %q: %s", secret, logged.String())
		}
	}
	if !strings.Contains(logged.String(), `"path":"/login"`) {
		t.Errorf("logged %s", logged.String())
	}
}

func TestRequestForAnotherHost(t *testing.T) {
	ask := func(h *house, path string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8080"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := h.transport().RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	t.Run("development shows the right address", func(t *testing.T) {
		h := open(t, storagetest.SQLite(t), func(c *config.Config) { c.Profile, c.Issuer = "development", "http://localhost:8080" })
		answer := ask(h, "/account?x=1")
		body := text(t, answer)
		if answer.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(body, `href="http://localhost:8080/account"`) {
			t.Errorf("got %d: %s", answer.StatusCode, body)
		}
		_, style, _ := strings.Cut(body, `<link rel="stylesheet" href="`)
		style, _, _ = strings.Cut(style, `"`)
		if sheet := ask(h, style); !strings.HasPrefix(style, "/static/") || sheet.StatusCode != http.StatusOK {
			t.Errorf("the style sheet %q of the page: %s", style, sheet.Status)
		}
	})
	t.Run("the port that the scheme implies is the same host", func(t *testing.T) {
		h := open(t, storagetest.SQLite(t), nil)
		var logged strings.Builder
		h.log = slog.New(slog.NewJSONHandler(&logged, nil))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://ID.example.com:443/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.transport().RoundTrip(r); err != nil || logged.Len() > 0 {
			t.Errorf("%v, logged %s", err, logged.String())
		}
	})
	t.Run("production logs it once with what differs", func(t *testing.T) {
		h := open(t, storagetest.SQLite(t), nil)
		var logged strings.Builder
		h.log = slog.New(slog.NewJSONHandler(&logged, nil))
		ask(h, "/account")
		ask(h, "/account")
		lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
		if len(lines) != 1 || !strings.Contains(lines[0], `"host":"127.0.0.1:8080"`) || !strings.Contains(lines[0], `"issuer":"`+testIssuer+`"`) {
			t.Errorf("logged %q", lines)
		}
	})
}

// S0-98: a request for another host than the issuer's is refused before anything reads it.
func TestS0_98_OtherHostsAreMisdirected(t *testing.T) {
	h := open(t, storagetest.SQLite(t), func(c *config.Config) { c.Security.Contacts = []string{"mailto:security@example.com"} })
	ask := func(method, host, path string, header http.Header) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, testIssuer+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host, r.Header = host, header
		answer, err := h.transport().RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for _, host := range []string{
		"evil.example", "id.example.com.evil.example", "id.example.com:444", "id.example.com:80", "id.example.com.", "203.0.113.7", "127.0.0.1:8080",
	} {
		for _, rt := range tableOf(h) {
			answer := ask(rt.Method, host, rt.Path, http.Header{"X-Forwarded-Host": {"id.example.com"}, "Forwarded": {"host=id.example.com"}})
			body := text(t, answer)
			if rt.Path == healthPath {
				if answer.StatusCode != http.StatusNoContent {
					t.Errorf("%q: health is answered %d", host, answer.StatusCode)
				}
				continue
			}
			if answer.StatusCode != http.StatusMisdirectedRequest || len(answer.Cookies()) > 0 || answer.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%q, %s %s: got %d, Cache-Control %q, cookies %v", host, rt.Method, rt.Path, answer.StatusCode, answer.Header.Get("Cache-Control"), answer.Cookies())
			}
			if strings.Contains(body, "evil") {
				t.Errorf("%s %s repeats the host", rt.Method, rt.Path)
			}
			if rt.document() {
				rt.Auth = forClient // which is told in JSON as well
			}
			wantWordsFor(t, rt, answer)
		}
		if answer := ask(http.MethodGet, host, "/nowhere", http.Header{"Accept": {"application/json"}}); answer.StatusCode != http.StatusMisdirectedRequest || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/problem+json") {
			t.Errorf("%q, JSON: got %d %s", host, answer.StatusCode, answer.Header.Get("Content-Type"))
		}
	}
	for _, host := range []string{"id.example.com", "ID.Example.COM", "id.example.com:443"} {
		answer := ask(http.MethodGet, host, "/login", http.Header{"X-Forwarded-Host": {"evil.example"}, "Forwarded": {"host=evil.example"}})
		if answer.StatusCode != http.StatusSeeOther || strings.Contains(answer.Header.Get("Location"), "evil") {
			t.Errorf("%q: got %d to %s", host, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
}

func TestHSTSIsForHTTPSInProduction(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	if got := h.send(t, http.MethodGet, healthPath, nil, nil).Header.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains; preload" {
		t.Errorf("got %q", got)
	}
	h = open(t, storagetest.SQLite(t), func(c *config.Config) { c.TLS.HSTS = config.HSTS{MaxAge: 24 * time.Hour} })
	if got := h.send(t, http.MethodGet, healthPath, nil, nil).Header.Get("Strict-Transport-Security"); got != "max-age=86400" {
		t.Errorf("a day without subdomains: got %q", got)
	}
	h = open(t, storagetest.SQLite(t), func(c *config.Config) { c.Profile, c.Issuer = "development", "http://localhost:8080" })
	if got := h.send(t, http.MethodGet, healthPath, nil, nil).Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("development: got %q", got)
	}
}

// wantWordsFor expects a refusal in the words of who asked: JSON for a program, a page for a person.
func wantWordsFor(t *testing.T, rt route, answer *http.Response) {
	t.Helper()
	want := "text/html"
	if rt.forProgram() {
		want = "application/json"
	}
	if got, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); got != want {
		t.Errorf("%s %s: %d is told in %q, want %q", rt.Method, rt.Path, answer.StatusCode, got, want)
	}
}
