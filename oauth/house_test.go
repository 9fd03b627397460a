package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

const (
	testIssuer   = "https://id.example"
	testVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	testPassword = "correct horse battery staple"
)

var testChallenge = challengeOf(testVerifier)

func challengeOf(verifier string) string {
	hash := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// A house is a whole server on an empty database, with a clock that tests turn.
type house struct {
	*Server
	t     testing.TB
	store *faulty
	now   *clock
	sent  *statements
	alice idp.User
	bob   idp.User
	// The clients by their names, with their secrets.
	secrets map[string]string
	pages   *recordedPages
	// prove shows a user's second factor, by their name.
	prove map[string]func(b *browser, in *idp.Interaction)
}

// clock is turned by tests and read by every request.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// statements are what was sent to the database since the last reset.
type statements struct {
	mu   sync.Mutex
	list []string
}

func (s *statements) add(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, sql)
}

// take returns the first words of what was sent, and forgets it.
func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	verbs := make([]string, 0, len(s.list))
	for _, sql := range s.list {
		verb, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
		verbs = append(verbs, strings.ToUpper(strings.TrimSpace(verb)))
	}
	s.list = nil
	return verbs
}

var errDisk = errors.New("the disk is gone")

// faulty is the real store whose grants can be made to fail, or to be read by many before anyone
// writes.
type faulty struct {
	idp.Store
	mu      sync.Mutex
	reads   bool
	writes  bool
	waiting int // how many readers are still awaited
	all     chan struct{}
}

// gather makes the next n readers of a grant wait for each other, so that all of them see the same.
func (f *faulty) gather(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting, f.all = n, make(chan struct{})
}

func (f *faulty) arrive() {
	f.mu.Lock()
	all, awaited := f.all, f.waiting > 0
	f.waiting--
	if f.waiting == 0 {
		close(all)
	}
	f.mu.Unlock()
	if awaited {
		<-all
	}
}

func (f *faulty) fail(reads, writes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads, f.writes = reads, writes
}

func (f *faulty) failing(read bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if read && f.reads || !read && f.writes {
		return errDisk
	}
	return nil
}

func (f *faulty) Grant(ctx context.Context, id idp.ID, withUser bool) (idp.GrantVisit, error) {
	if err := f.failing(true); err != nil {
		return idp.GrantVisit{}, err
	}
	visit, err := f.Store.Grant(ctx, id, withUser)
	f.arrive()
	return visit, err
}

func (f *faulty) AccessGrant(ctx context.Context, id idp.ID, deny [][]byte, withUser bool) (idp.GrantVisit, error) {
	if err := f.failing(true); err != nil {
		return idp.GrantVisit{}, err
	}
	return f.Store.AccessGrant(ctx, id, deny, withUser)
}

func (f *faulty) DeniedToken(ctx context.Context, key []byte) (bool, error) {
	if err := f.failing(true); err != nil {
		return false, err
	}
	return f.Store.DeniedToken(ctx, key)
}

func (f *faulty) Visit(ctx context.Context, id idp.ID, clientID string) (idp.Visit, error) {
	if err := f.failing(true); err != nil {
		return idp.Visit{}, err
	}
	return f.Store.Visit(ctx, id, clientID)
}

func (f *faulty) AddGrant(ctx context.Context, g idp.Grant) error {
	if err := f.failing(false); err != nil {
		return err
	}
	return f.Store.AddGrant(ctx, g)
}

func (f *faulty) RedeemCode(ctx context.Context, g idp.Grant) (bool, error) {
	if err := f.failing(false); err != nil {
		return false, err
	}
	return f.Store.RedeemCode(ctx, g)
}

func (f *faulty) RotateRefresh(ctx context.Context, g idp.Grant, shown int64) (bool, error) {
	if err := f.failing(false); err != nil {
		return false, err
	}
	return f.Store.RotateRefresh(ctx, g, shown)
}

func (f *faulty) RevokeGrant(ctx context.Context, id idp.ID, why string, now time.Time) (bool, error) {
	if err := f.failing(false); err != nil {
		return false, err
	}
	return f.Store.RevokeGrant(ctx, id, why, now)
}

func (f *faulty) Deny(ctx context.Context, key []byte, dead time.Time) error {
	if err := f.failing(false); err != nil {
		return err
	}
	return f.Store.Deny(ctx, key, dead)
}

// recordedPages keeps the problems that were shown.
type recordedPages struct {
	mu   sync.Mutex
	last idp.Problem
}

func (p *recordedPages) ShowProblem(w http.ResponseWriter, _ *http.Request, problem idp.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = problem
	w.Header().Set("Data-Error-Code", problem.Code)
	w.WriteHeader(problem.Status)
}

// The same root key and signing keys serve every house, since making an RSA key takes longer than
// most tests.
var testRing = sync.OnceValue(func() *secret.Keyring {
	ring, err := secret.NewKeyring([]secret.RootKey{secret.NewRootKey(1)})
	if err != nil {
		panic(err)
	}
	return ring
})

var (
	testKeysMu sync.Mutex
	testKeys   []idp.Key
)

// eachHouse runs fn on every database at hand.
func eachHouse(t *testing.T, fn func(t *testing.T, h *house)) {
	t.Helper()
	storagetest.EachURL(t, func(t *testing.T, url string) { fn(t, newHouse(t, url)) })
}

// oneHouse is a house on SQLite, for what no database changes.
func oneHouse(t testing.TB) *house {
	t.Helper()
	return newHouse(t, "sqlite:"+t.TempDir()+"/postern.db")
}

func newHouse(t testing.TB, url string) *house {
	t.Helper()
	h := &house{
		t: t, now: &clock{at: time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)}, sent: &statements{},
		secrets: map[string]string{}, pages: &recordedPages{}, prove: map[string]func(*browser, *idp.Interaction){},
	}
	store := storagetest.Open(t, url, storage.Options{OnStatement: h.sent.add})
	h.store = &faulty{Store: store}
	h.open(store, testConfig())
	h.alice, h.bob = h.addUser("alice"), h.addUser("bob")
	h.addClients()
	return h
}

// open starts a server over store, as another node or with other settings.
func (h *house) open(store idp.Store, cfg *config.Config) {
	h.t.Helper()
	h.store.Store = store
	server, err := New(newProvider(h.t, h, cfg), cfg, h.pages)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Server = server
}

func testConfig() *config.Config {
	cfg := config.Default()
	cfg.Issuer = testIssuer
	cfg.Password.Argon2 = config.Argon2{MemoryKiB: 64, Time: 1, Parallelism: 1}
	cfg.RateLimits.Off = true
	return cfg
}

func newProvider(t testing.TB, h *house, cfg *config.Config) *idp.Provider {
	t.Helper()
	ctx := context.Background()
	testKeysMu.Lock()
	defer testKeysMu.Unlock()
	for _, key := range testKeys {
		if err := h.store.AddKey(ctx, key); err != nil && !errors.Is(err, idp.ErrConflict) {
			t.Fatal(err)
		}
	}
	p, err := idp.New(ctx, h.store, cfg, testRing(), idp.Options{
		Now: h.now.read, Wait: func(context.Context, time.Duration) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if testKeys == nil {
		if testKeys, err = h.store.Keys(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (h *house) addUser(name string) idp.User {
	h.t.Helper()
	u, err := h.p.AddUser(context.Background(), idp.NewUser{
		Username: name, Email: name + "@example.org", EmailVerified: true, Password: testPassword,
		Profile: idp.Profile{
			Name: "Name of " + name, GivenName: name, FamilyName: "Liddell", MiddleName: "P.", Nickname: "al",
			Profile: "https://people.example/" + name, Picture: "https://people.example/p.png",
			Website: "https://people.example", Gender: "female", Birthdate: "1852-05-04",
			Zoneinfo: "Europe/London", Locale: "en-GB", PhoneNumber: "+44 1 234", PhoneVerified: true,
			Address: &idp.Address{Locality: "Oxford", Country: "UK"},
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

const (
	webRedirect    = "https://rp.example/cb?tenant=1"
	nativeRedirect = "http://127.0.0.1/cb"
)

// addClients makes one client of each kind. Their IDs say what they are.
func (h *house) addClients() {
	h.t.Helper()
	all := idp.List{"openid", "profile", "email", "address", "phone", "offline_access", "api"}
	code := idp.List{"authorization_code", "refresh_token"}
	web := idp.Metadata{
		RedirectURIs: idp.List{webRedirect, "https://rp.example/other"}, GrantTypes: append(code, "client_credentials"),
		ResponseTypes: idp.List{"code"}, Scopes: all, TokenEndpointAuthMethod: idp.AuthBasic, ApplicationType: "web",
	}
	kinds := map[string]func(*idp.Metadata){
		"web":      func(*idp.Metadata) {},
		"other":    func(*idp.Metadata) {},
		"post":     func(m *idp.Metadata) { m.TokenEndpointAuthMethod = idp.AuthPost },
		"lax":      func(m *idp.Metadata) { m.PKCEOptional = true; m.RedirectURIs = m.RedirectURIs[:1] },
		"first":    func(m *idp.Metadata) { m.FirstParty = true },
		"es256":    func(m *idp.Metadata) { m.IDTokenAlg = "ES256"; m.FirstParty = true },
		"eddsa":    func(m *idp.Metadata) { m.IDTokenAlg = "EdDSA"; m.FirstParty = true },
		"codeonly": func(m *idp.Metadata) { m.GrantTypes = idp.List{"authorization_code"}; m.FirstParty = true },
		"machine": func(m *idp.Metadata) {
			m.GrantTypes, m.ResponseTypes, m.RedirectURIs = idp.List{"client_credentials"}, nil, nil
			m.Scopes = idp.List{"api", "admin", "openid"}
		},
		"native": func(m *idp.Metadata) {
			m.TokenEndpointAuthMethod, m.ApplicationType = idp.AuthNone, "native"
			m.RedirectURIs, m.GrantTypes = idp.List{nativeRedirect, "http://[::1]/cb"}, code
		},
		"nocode": func(m *idp.Metadata) { m.GrantTypes, m.ResponseTypes = idp.List{"client_credentials"}, nil },
		"api": func(m *idp.Metadata) { // a resource server
			m.GrantTypes, m.ResponseTypes, m.RedirectURIs = idp.List{"client_credentials"}, nil, nil
			m.Audience = idp.List{"https://api.example"}
		},
		"aged": func(m *idp.Metadata) { age := int64(60); m.DefaultMaxAge = &age; m.FirstParty = true },
	}
	for name, change := range kinds {
		m := web
		m.Name = "The " + name + " client"
		change(&m)
		_, secret, err := h.p.AddClient(context.Background(), idp.Client{ID: name, Metadata: m}, "")
		if err != nil {
			h.t.Fatalf("add client %s: %v", name, err)
		}
		h.secrets[name] = secret
	}
	h.sent.take()
}

// A browser is somebody's, with its cookies.
type browser struct{ visitor idp.Visitor }

func newBrowser(name string) *browser {
	return &browser{idp.Visitor{
		Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "test", RequestID: "r-1", Locale: "en",
		Browser: sha256.Sum256([]byte(name)),
	}}
}

func (b *browser) context() context.Context {
	v := b.visitor
	return idp.WithVisitor(context.Background(), &v)
}

// signedIn is a browser with a session of the user.
func (h *house) signedIn(username string) *browser {
	h.t.Helper()
	b := newBrowser(username)
	h.logIn(b, h.p.BeginOwn("/"), username)
	return b
}

func (h *house) logIn(b *browser, in *idp.Interaction, username string) {
	h.t.Helper()
	done, err := h.p.LogIn(b.context(), in, idp.LogIn{Identifier: username, Password: testPassword})
	if err != nil {
		h.t.Fatalf("log in %s: %v", username, err)
	}
	b.enter(done)
}

// enter keeps the cookie of a sign-in: another one where a step is owed.
func (b *browser) enter(s idp.SignedIn) {
	b.visitor.Session, b.visitor.Pending = s.Token, idp.SessionToken{}
	if s.Session.State == idp.Pending {
		b.visitor.Session, b.visitor.Pending = idp.SessionToken{}, s.Token
	}
}

// request is an authorization request of the client as it should be.
func (h *house) request(clientID string) url.Values {
	uri := webRedirect
	if clientID == "native" {
		uri = "http://127.0.0.1:5555/cb"
	}
	return url.Values{
		"client_id": {clientID}, "redirect_uri": {uri}, "response_type": {"code"}, "scope": {"openid profile email"},
		"state": {"a state-._~"}, "nonce": {"n-0S6"}, "code_challenge": {testChallenge}, "code_challenge_method": {"S256"},
	}
}

func (h *house) get(b *browser, address string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, address, nil).WithContext(b.context())
	w := httptest.NewRecorder()
	h.Authorize(w, r)
	return w
}

func (h *house) authorize(b *browser, form url.Values) *httptest.ResponseRecorder {
	return h.get(b, AuthorizePath+"?"+form.Encode())
}

// walk follows an answer of the authorization endpoint through the pages, on which username signs
// in and consents, until it leaves for the client, and returns the parameters there.
func (h *house) walk(b *browser, w *httptest.ResponseRecorder, username string) url.Values {
	h.t.Helper()
	for range 8 {
		if w.Code != http.StatusSeeOther {
			h.t.Fatalf("got status %d and problem %+v, want 303", w.Code, h.pages.last)
		}
		at, err := url.Parse(w.Header().Get("Location"))
		if err != nil {
			h.t.Fatal(err)
		}
		if at.IsAbs() {
			return at.Query()
		}
		if at.Path == AuthorizePath {
			w = h.get(b, at.String())
			continue
		}
		in, err := h.p.Open(b.context(), at.Query().Get("tx"))
		if err != nil {
			h.t.Fatalf("open tx on %s: %v", at.Path, err)
		}
		h.doStep(b, at.Path, in, username)
		tx, err := h.p.Seal(b.context(), in)
		if err != nil {
			h.t.Fatal(err)
		}
		w = h.get(b, AuthorizePath+"?tx="+tx)
	}
	h.t.Fatal("the walk does not end")
	return nil
}

func (h *house) doStep(b *browser, page string, in *idp.Interaction, username string) {
	h.t.Helper()
	switch page {
	case "/login":
		h.logIn(b, in, username)
	case "/login/factor":
		h.prove[username](b, in)
	case "/login/continue":
		in.Chosen = b.visitor.Session.ID
	case "/consent":
		visit, err := h.p.Visit(b.context(), b.visitor.Session, in.Request.ClientID)
		if err != nil {
			h.t.Fatal(err)
		}
		if err := h.p.GiveConsent(b.context(), in, visit); err != nil {
			h.t.Fatal(err)
		}
	default:
		h.t.Fatalf("no step has the page %s", page)
	}
}

// code gets a code for the request by way of every page.
func (h *house) code(b *browser, form url.Values) string {
	h.t.Helper()
	answer := h.walk(b, h.authorize(b, form), "alice")
	if answer.Get("code") == "" {
		h.t.Fatalf("got no code but %v", answer)
	}
	return answer.Get("code")
}

// An answer is what a JSON endpoint said.
type answer struct {
	*httptest.ResponseRecorder
	body map[string]any
}

// text is a member of the answer, "" where it is absent.
func (a answer) text(name string) string {
	s, _ := a.body[name].(string)
	return s
}

// call posts a form to an endpoint as the client: by the method that it is registered for.
func (h *house) call(endpoint http.HandlerFunc, clientID string, form url.Values) answer {
	return h.callFrom(newBrowser("backend of "+clientID), endpoint, clientID, form)
}

func (h *house) callFrom(b *browser, endpoint http.HandlerFunc, clientID string, form url.Values) answer {
	sent := url.Values{}
	for name, values := range form {
		sent[name] = values
	}
	var basic bool
	switch secret := h.secrets[clientID]; {
	case clientID == "native":
		sent.Set("client_id", clientID)
	case clientID == "post":
		sent.Set("client_id", clientID)
		sent.Set("client_secret", secret)
	default:
		basic = clientID != ""
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(sent.Encode())).WithContext(b.context())
	r.Header.Set("Content-Type", formType)
	if basic {
		r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(h.secrets[clientID]))
	}
	return h.serve(endpoint, r)
}

func (h *house) serve(endpoint http.HandlerFunc, r *http.Request) answer {
	w := httptest.NewRecorder()
	endpoint(w, r)
	got := answer{ResponseRecorder: w}
	if w.Header().Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(w.Body.Bytes(), &got.body); err != nil {
			h.t.Errorf("the body is not JSON: %v", err)
		}
	}
	return got
}

// redeem is the form of a code's redemption.
func redeem(clientID, code string) url.Values {
	uri := webRedirect
	if clientID == "native" {
		uri = "http://127.0.0.1:5555/cb"
	}
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {uri}, "code_verifier": {testVerifier},
	}
}

func refresh(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// tokens goes the whole way for a client and alice.
func (h *house) tokensFor(clientID, scope string) answer {
	h.t.Helper()
	form := h.request(clientID)
	form.Set("scope", scope)
	got := h.call(h.Token, clientID, redeem(clientID, h.code(h.signedIn("alice"), form)))
	h.want(got, http.StatusOK, "")
	return got
}

// want checks status and error code of a JSON answer.
func (h *house) want(got answer, status int, code string) {
	h.t.Helper()
	if got.Code != status || got.text("error") != code {
		h.t.Fatalf("got status %d, body %s; want status %d and error %q", got.Code, got.Body, status, code)
	}
}

// userInfo asks the UserInfo endpoint with a token in the header.
func (h *house) userInfoWith(token string) answer {
	r := httptest.NewRequest(http.MethodGet, UserInfoPath, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return h.serve(h.UserInfo, r)
}
