package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// The addresses of the demo's relying party.
const (
	callbackPath = "/callback"
	inboxPath    = "/inbox"
)

// demoScopes are what the demo's relying party asks for.
var demoScopes = []string{"openid", "profile", "email", "address", "phone"}

const (
	partyCookie   = "demo_rp"
	maxPartyUsers = 1000 // sign-ins that the relying party remembers
	partyTimeout  = 10 * time.Second
)

//go:embed demo/*.html demo/style.css
var demoFiles embed.FS

// A relyingParty is an application as its author would write one, with ordinary libraries: go-oidc
// and x/oauth2. It keeps its sign-ins in memory.
type relyingParty struct {
	issuer, address, secret string
	mail                    string // a folder of .eml files
	client                  *http.Client
	pages                   *template.Template
	app                     atomic.Pointer[phone] // bob's, nil for none

	mu       sync.Mutex // holds what follows
	provider *oidc.Provider
	signIns  map[string]*signIn // by the cookie's value
}

// A signIn is one browser at the relying party.
type signIn struct {
	mu                     sync.Mutex // holds all of it
	state, nonce, verifier string     // of a request that is under way
	asked                  string     // its acr_values
	token                  *oauth2.Token
	idToken                string
	claims                 map[string]any
	userinfo               map[string]any
	refreshed              int // how often
	failure                string
}

// newRelyingParty returns a relying party at address. dial is where the issuer's host is served:
// on a machine that cannot resolve localhost the demo works still.
func newRelyingParty(issuer, dial, address string, secret []byte, mail string) (*relyingParty, error) {
	pages, err := template.New("").Funcs(template.FuncMap{"json": prettyJSON}).ParseFS(demoFiles, "demo/*.html")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	return &relyingParty{
		issuer: issuer, address: address, secret: clientSecret(secret), mail: mail, pages: pages,
		client:  &http.Client{Transport: dialling(u.Host, dial), Timeout: partyTimeout},
		signIns: map[string]*signIn{},
	}, nil
}

// dialling is a transport that connects to dial for host.
func dialling(host, dial string) *http.Transport {
	var d net.Dialer
	return &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == host {
			addr = dial
		}
		return d.DialContext(ctx, network, addr)
	}}
}

func prettyJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.String(), err
}

func (rp *relyingParty) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", rp.showHome)
	mux.HandleFunc("GET /login", rp.startSignIn)
	mux.HandleFunc("GET "+callbackPath, rp.finishSignIn)
	mux.HandleFunc("POST /refresh", rp.refresh)
	mux.HandleFunc("POST /userinfo", rp.askUserInfo)
	mux.HandleFunc("POST /logout", rp.signOut)
	mux.HandleFunc("GET "+inboxPath, rp.showInbox)
	mux.HandleFunc("GET "+phonePath, rp.showPhone)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, demoFiles, "demo/style.css")
	})
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		mux.ServeHTTP(w, r)
	}))
}

// homeView is what the relying party's page shows.
type homeView struct {
	Issuer, Inbox, Failure string
	SignedIn               bool
	Name                   any
	Claims, UserInfo       map[string]any
	Token                  *oauth2.Token
	IDToken                string
	Refreshed              int
	Asked                  string // acr_values of the request, "" for none
	ACR                    any    // what came
}

// Outcome is a sentence on why the acr is what it is, for those who try step-up.
func (v homeView) Outcome() string {
	asked := strings.Fields(v.Asked)
	switch i := slices.IndexFunc(asked, func(value string) bool { return value == v.ACR }); {
	case i < 0:
		return "Nothing that this account has set up reaches that, and acr_values only wishes: the provider went on with less."
	case i > 0:
		return "That is one of them, and one that holds already, or is all that the account can reach, is as good as the first."
	}
	return "That is what the request would like best."
}

func (rp *relyingParty) showHome(w http.ResponseWriter, r *http.Request) {
	view := homeView{Issuer: rp.issuer, Inbox: inboxPath}
	if s := rp.signIn(r); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		view.Failure, s.failure = s.failure, ""
		if s.token != nil {
			view.SignedIn, view.Token, view.IDToken, view.Refreshed = true, s.token, s.idToken, s.refreshed
			view.Claims, view.UserInfo = s.claims, s.userinfo
			view.Asked, view.ACR = s.asked, s.claims["acr"]
			if view.Name = s.userinfo["name"]; view.Name == nil {
				view.Name = s.claims["sub"]
			}
		}
	}
	rp.show(w, "home.html", view)
}

func (rp *relyingParty) show(w http.ResponseWriter, name string, view any) {
	var b bytes.Buffer
	if err := rp.pages.ExecuteTemplate(&b, name, view); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes())
}

// signIn is that of the browser, nil where it has none.
func (rp *relyingParty) signIn(r *http.Request) *signIn {
	cookie, err := r.Cookie(partyCookie)
	if err != nil {
		return nil
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	return rp.signIns[cookie.Value]
}

// oauth returns what the libraries need. The provider is discovered once.
func (rp *relyingParty) oauth(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	if rp.provider == nil {
		// The provider keeps the context for its keys, so it is none of a request.
		p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), rp.client), rp.issuer)
		if err != nil {
			return nil, nil, err
		}
		rp.provider = p
	}
	return rp.provider, &oauth2.Config{
		ClientID: demoClient, ClientSecret: rp.secret, Endpoint: rp.provider.Endpoint(),
		RedirectURL: rp.address + callbackPath, Scopes: demoScopes,
	}, nil
}

// startSignIn sends the browser to the provider, with state, nonce and PKCE (RFC 7636).
func (rp *relyingParty) startSignIn(w http.ResponseWriter, r *http.Request) {
	_, cfg, err := rp.oauth(r.Context())
	if err != nil {
		http.Error(w, "the provider does not answer: "+err.Error(), http.StatusBadGateway)
		return
	}
	s := &signIn{
		state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier(), asked: r.URL.Query().Get("acr_values"),
	}
	id := rand.Text()
	rp.mu.Lock()
	if len(rp.signIns) >= maxPartyUsers {
		clear(rp.signIns)
	}
	rp.signIns[id] = s
	rp.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: partyCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	options := []oauth2.AuthCodeOption{oidc.Nonce(s.nonce), oauth2.S256ChallengeOption(s.verifier)}
	for _, name := range []string{"prompt", "max_age", "login_hint", "ui_locales", "acr_values", "claims"} { // to try them out
		if value := r.URL.Query().Get(name); value != "" {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	http.Redirect(w, r, cfg.AuthCodeURL(s.state, options...), http.StatusSeeOther)
}

// finishSignIn takes the provider's answer and redeems the code.
func (rp *relyingParty) finishSignIn(w http.ResponseWriter, r *http.Request) {
	s := rp.signIn(r)
	if s == nil {
		http.Error(w, "this browser did not start a sign-in here", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := rp.redeem(r.Context(), s, r.URL.Query()); err != nil {
		s.failure = err.Error()
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (rp *relyingParty) redeem(ctx context.Context, s *signIn, answer url.Values) error {
	p, cfg, err := rp.oauth(ctx)
	if err != nil {
		return err
	}
	state := s.state
	s.state = "" // an answer counts once
	switch {
	case state == "" || subtle.ConstantTimeCompare([]byte(state), []byte(answer.Get("state"))) != 1:
		return errors.New("the answer's state is not the one that was sent")
	case answer.Get("iss") != rp.issuer: // RFC 9207 §2.4
		return errors.New("the answer comes from another issuer")
	case answer.Get("error") != "":
		return fmt.Errorf("the provider answered %s: %s", answer.Get("error"), answer.Get("error_description"))
	}
	ctx = oidc.ClientContext(ctx, rp.client)
	token, err := cfg.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(s.verifier))
	if err != nil {
		return fmt.Errorf("redeem the code: %w", err)
	}
	if err := rp.verify(ctx, p, s, token, s.nonce); err != nil {
		return err
	}
	return rp.readUserInfo(ctx, p, cfg, s)
}

// verify checks the ID token of an answer and keeps both. nonce is empty after a refresh, whose
// ID token need not have one (OpenID Connect Core 1.0 §12.2).
func (rp *relyingParty) verify(ctx context.Context, p *oidc.Provider, s *signIn, token *oauth2.Token, nonce string) error {
	raw, _ := token.Extra("id_token").(string)
	verified, err := p.VerifierContext(ctx, &oidc.Config{ClientID: demoClient, SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256, oidc.EdDSA}}).Verify(ctx, raw)
	if err != nil {
		return fmt.Errorf("verify the ID token: %w", err)
	}
	if nonce != "" && subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(nonce)) != 1 {
		return errors.New("the ID token's nonce is not the one that was sent")
	}
	if s.claims != nil && verified.Subject != s.claims["sub"] {
		return errors.New("the ID token is another user's")
	}
	if verified.AccessTokenHash != "" {
		if err := verified.VerifyAccessToken(token.AccessToken); err != nil {
			return fmt.Errorf("verify the ID token: %w", err)
		}
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return fmt.Errorf("read the ID token: %w", err)
	}
	s.token, s.idToken, s.claims = token, raw, claims
	return nil
}

func (rp *relyingParty) readUserInfo(ctx context.Context, p *oidc.Provider, cfg *oauth2.Config, s *signIn) error {
	// The token as it is: the library would refresh it by itself.
	info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(s.token))
	if err != nil {
		return fmt.Errorf("ask for userinfo: %w", err)
	}
	if info.Subject != s.claims["sub"] { // OpenID Connect Core 1.0 §5.3.2
		return errors.New("userinfo is another user's")
	}
	s.userinfo = map[string]any{}
	return info.Claims(&s.userinfo)
}

// act runs a deed for a browser that is signed in, and shows the page with what came of it.
func (rp *relyingParty) act(w http.ResponseWriter, r *http.Request, deed func(ctx context.Context, p *oidc.Provider, cfg *oauth2.Config, s *signIn) error) {
	if s := rp.signIn(r); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		p, cfg, err := rp.oauth(r.Context())
		if err == nil && s.token != nil {
			err = deed(oidc.ClientContext(r.Context(), rp.client), p, cfg, s)
		}
		if err != nil {
			s.failure = err.Error()
		}
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (rp *relyingParty) askUserInfo(w http.ResponseWriter, r *http.Request) {
	rp.act(w, r, rp.readUserInfo)
}

func (rp *relyingParty) refresh(w http.ResponseWriter, r *http.Request) {
	rp.act(w, r, func(ctx context.Context, p *oidc.Provider, cfg *oauth2.Config, s *signIn) error {
		if s.token.RefreshToken == "" {
			return errors.New("there is no refresh token")
		}
		// A token without an access token is refreshed at once.
		token, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: s.token.RefreshToken}).Token()
		if err != nil {
			return fmt.Errorf("refresh: %w", err)
		}
		if err := rp.verify(ctx, p, s, token, ""); err != nil {
			return err
		}
		s.refreshed++
		return nil
	})
}

// signOut forgets the sign-in here. The provider's own session goes on.
func (rp *relyingParty) signOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(partyCookie); err == nil {
		rp.mu.Lock()
		delete(rp.signIns, cookie.Value)
		rp.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: partyCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
