package loginui

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

const (
	alicesPassword = "quiet harbour violin 73"
	bobsPassword   = "copper walnut thunder 19"
	davesPassword  = "saffron bridge oyster 62" // his address is not proved
	redirectURI    = "https://rp.example.com/cb"
)

// A house is a whole provider with its pages, and a clock that tests turn.
type house struct {
	*idp.Provider
	t          *testing.T
	ui         *UI
	cfg        *config.Config
	store      *storage.Store
	ring       *secret.Keyring
	clock      time.Time
	statements atomic.Int64
	file       string // of the database
	mux        *http.ServeMux
}

func newHouse(t *testing.T, change ...func(*config.Config)) *house {
	t.Helper()
	h := &house{t: t, clock: time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC), cfg: config.Default()}
	h.cfg.Issuer = "https://id.example.com"
	h.cfg.Password.Argon2 = config.Argon2{MemoryKiB: 64, Time: 1, Parallelism: 1}
	for _, c := range change {
		c(h.cfg)
	}
	address := storagetest.SQLite(t)
	h.file = strings.TrimPrefix(address, "sqlite:")
	h.store = storagetest.Open(t, address, storage.Options{OnStatement: func(string) { h.statements.Add(1) }})
	var err error
	if h.ring, err = secret.NewKeyring([]secret.RootKey{secret.NewRootKey(1)}); err != nil {
		t.Fatal(err)
	}
	h.open(silent{})
	h.people()
	return h
}

// open makes the provider, and the pages, over what is stored. A nil mailer sends nothing.
func (h *house) open(mailer idp.Mailer) {
	h.t.Helper()
	var err error
	h.Provider, err = idp.New(h.t.Context(), h.store, h.cfg, h.ring, idp.Options{
		Now: func() time.Time { return h.clock }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Wait: func(context.Context, time.Duration) {}, Mailer: mailer,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.ui, err = New(h.Provider, h.cfg); err != nil {
		h.t.Fatal(err)
	}
	h.route()
}

func (h *house) people() {
	h.t.Helper()
	for _, n := range []idp.NewUser{
		{Username: "alice", Email: "alice@example.com", EmailVerified: true, Password: alicesPassword, Profile: idp.Profile{Name: "Alice Liddell"}},
		{Username: "bob", Email: "bob@example.com", EmailVerified: true, Password: bobsPassword},
		{Username: "dave", Email: "dave@example.com", Password: davesPassword},
	} {
		if _, err := h.AddUser(h.t.Context(), n); err != nil {
			h.t.Fatal(err)
		}
	}
	client := idp.Client{ID: "rp", Metadata: idp.Metadata{
		Name: "Grafana", RedirectURIs: idp.List{redirectURI}, Scopes: idp.List{"openid", "profile", "email"},
	}}
	if _, _, err := h.AddClient(h.t.Context(), client, ""); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) route() {
	h.mux = http.NewServeMux()
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /login": h.ui.ShowLogin, "POST /login": h.ui.SubmitLogin,
		"GET /login/continue": h.ui.ShowContinue, "POST /login/continue": h.ui.SubmitContinue,
		"GET /consent": h.ui.ShowConsent, "POST /consent": h.ui.SubmitConsent,
		"GET /logout": h.ui.ShowLogOut, "POST /logout": h.ui.SubmitLogOut,
		"GET /admin/": h.ui.ShowHoneypot, "POST /admin/": h.ui.SubmitHoneypot, "GET /admin": h.ui.ShowHoneypot,
		"GET /account": h.ui.ShowAccount, "GET /account/password": h.ui.ShowPassword, "POST /account/password": h.ui.SubmitPassword,
		"GET /account/profile": h.ui.ShowProfile, "POST /account/profile": h.ui.SubmitProfile,
		"GET /account/emails": h.ui.ShowEmails, "POST /account/emails": h.ui.SubmitEmails,
		"GET /account/emails/add": h.ui.ShowAddEmail, "POST /account/emails/add": h.ui.SubmitAddEmail,
		"GET /account/emails/code": h.ui.ShowEmailCode, "POST /account/emails/code": h.ui.SubmitEmailCode,
		"GET /account/sessions": h.ui.ShowSessions, "POST /account/sessions": h.ui.SubmitSessions,
		"GET /account/apps": h.ui.ShowApps, "POST /account/apps": h.ui.SubmitApps, "GET /account/activity": h.ui.ShowActivity,
		"GET /account/appearance": h.ui.ShowAppearance, "POST /account/appearance": h.ui.SubmitAppearance,
		"GET /account/data": h.ui.ShowData, "POST /account/data": h.ui.SubmitData,
		"GET /account/delete": h.ui.ShowDelete, "POST /account/delete": h.ui.SubmitDelete, "GET /account/deleted": h.ui.ShowDeleted,
		"GET /account/reauthenticate": h.ui.ShowReauthenticate, "POST /account/reauthenticate": h.ui.SubmitReauthenticate,
	} {
		h.mux.HandleFunc(pattern, handler)
	}
	h.routeJoining()
	h.routeFactors()
	h.routeTwoStep()
}

// A tab is a browser with its cookies; tabs of one browser share them.
type tab struct {
	h       *house
	cookies map[string]string
	address string
	header  http.Header // of every request
	agent   string      // User-Agent
}

func (h *house) browser() *tab {
	return &tab{h, map[string]string{}, "192.0.2.7", http.Header{}, "test"}
}

// send sends a request with the browser's cookies and keeps those that come back. A nil form is a
// GET.
func (b *tab) send(method, target string, body io.Reader, contentType string) *httptest.ResponseRecorder {
	b.h.t.Helper()
	r := httptest.NewRequest(method, target, body)
	r.Header = b.header.Clone()
	r.Header.Set("Content-Type", contentType)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	v := &idp.Visitor{Address: netip.MustParseAddr(b.address), UserAgent: b.agent, RequestID: "7Q2M-K4TD", Path: r.URL.Path[:min(len(r.URL.Path), 255)]}
	w := httptest.NewRecorder()
	b.h.ui.Visitor(b.h.mux).ServeHTTP(w, r.WithContext(idp.WithVisitor(r.Context(), v)))
	if w.Code == http.StatusInternalServerError {
		b.h.t.Errorf("%s %s: 500", method, target)
	}
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *tab) get(target string) *httptest.ResponseRecorder { return b.send("GET", target, nil, "") }

func (b *tab) post(target string, form url.Values) *httptest.ResponseRecorder {
	return b.send("POST", target, strings.NewReader(form.Encode()), "application/x-www-form-urlencoded")
}

// fields are a form's, in pairs.
func fields(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

// context is the context of a request of the browser.
func (b *tab) context() context.Context {
	r := httptest.NewRequest("POST", "/", nil)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	var ctx context.Context
	b.h.ui.Visitor(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })).ServeHTTP(httptest.NewRecorder(), r)
	return ctx
}

// asked seals an authorization request of the relying party, as the dispatcher does.
func (b *tab) asked(pairs ...string) string {
	b.h.t.Helper()
	if b.cookies[browserCookie] == "" {
		b.get("/logout")
	}
	form := fields("client_id", "rp", "redirect_uri", redirectURI, "response_type", "code", "scope", "openid profile")
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	request, err := idp.ParseRequest(form)
	if err != nil {
		b.h.t.Fatal(err)
	}
	tx, err := b.h.Seal(b.context(), b.h.Begin(form, request))
	if err != nil {
		b.h.t.Fatal(err)
	}
	return tx
}

// signIn signs somebody in for themselves, whoever is signed in.
func (b *tab) signIn(username, password string) {
	b.h.t.Helper()
	action := b.formOf("/login?another=1&tx=" + b.afterwards(b.get("/login")))
	b.afterwards(b.post(action, fields("username", username, "password", password)))
}

// formOf is the action of the form of a page.
func (b *tab) formOf(target string) string {
	b.h.t.Helper()
	w := b.get(target)
	if w.Code != http.StatusOK {
		b.h.t.Fatalf("GET %s: %d to %q\n%s", target, w.Code, w.Header().Get("Location"), w.Body)
	}
	return action(b.h.t, w)
}

// action is where the form of a page posts to.
func action(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	for _, form := range named(elements(t, w.Body.String()), "form") {
		if attribute(form, "method") == "post" {
			return attribute(form, "action")
		}
	}
	t.Fatalf("%d, and no form that posts:\n%s", w.Code, w.Body)
	return ""
}

// afterwards is the tx that an answer leads to the dispatcher with.
func (b *tab) afterwards(w *httptest.ResponseRecorder) string {
	b.h.t.Helper()
	tx, ok := strings.CutPrefix(w.Header().Get("Location"), dispatcher+"?tx=")
	if w.Code != http.StatusSeeOther || !ok {
		b.h.t.Fatalf("%d to %q, want 303 to the dispatcher\n%s", w.Code, w.Header().Get("Location"), w.Body)
	}
	return tx
}

// opened is the interaction that an answer leads to the dispatcher with.
func (b *tab) opened(w *httptest.ResponseRecorder) *idp.Interaction {
	b.h.t.Helper()
	in, err := b.h.Open(b.context(), b.afterwards(w))
	if err != nil {
		b.h.t.Fatal(err)
	}
	return in
}

// visit is the browser's session, nil for none.
func (b *tab) visit() *idp.Visit {
	b.h.t.Helper()
	ctx := b.context()
	v, err := b.h.Visit(ctx, idp.VisitorFrom(ctx).Session, "rp")
	if err != nil && idp.KindOf(err) != idp.Missing {
		b.h.t.Fatal(err)
	}
	return v
}

// codes are the data-error-codes of a page, each once.
func codes(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var list []string
	seen := map[string]bool{}
	for _, n := range elements(t, w.Body.String()) {
		if code := attribute(n, "data-error-code"); code != "" && !seen[code] {
			seen[code] = true
			list = append(list, code)
		}
	}
	return strings.Join(list, " ")
}

// expect fails where an answer has another status or other codes.
func expect(t *testing.T, w *httptest.ResponseRecorder, status int, want string) {
	t.Helper()
	if got := codes(t, w); w.Code != status || got != want {
		t.Errorf("%d %q, want %d %q", w.Code, got, status, want)
	}
}

// value is what the field of a page holds.
func value(t *testing.T, w *httptest.ResponseRecorder, id string) string {
	t.Helper()
	for _, n := range elements(t, w.Body.String()) {
		if attribute(n, "id") == id {
			return attribute(n, "value")
		}
	}
	t.Errorf("no field %s", id)
	return ""
}

// page is what a person reads.
func read(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	return words(root)
}
