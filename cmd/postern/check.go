package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/conformance/rp"
	"postern/idp"
)

const checkTimeout = 30 * time.Second // of the whole job; it takes about one

// A checker drives the main job once, as a person's browser would.
type checker struct {
	d       *demo
	browser *rp.Browser
	client  *http.Client
	page    *rp.Page // where the browser is

	refreshToken string // the first one
}

// A checkStep is one line of what is told.
type checkStep struct {
	name string
	do   func(context.Context) error
}

// check signs alice in at the relying party and plays with what it got.
func (d *demo) check(ctx context.Context, tell teller) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	transport := dialling(strings.TrimPrefix(d.cfg.Issuer, "http://"), d.op.Addr().String())
	defer transport.CloseIdleConnections()
	c := &checker{
		d: d, client: &http.Client{Transport: transport, Timeout: partyTimeout},
		browser: &rp.Browser{Transport: transport, UserAgent: "postern demo --check"},
	}
	for _, step := range c.steps() {
		began := time.Now()
		err := step.do(ctx)
		if telling := tell(step.name, time.Since(began), err); telling != nil {
			return telling
		}
		if err != nil {
			return errSaid
		}
	}
	return nil
}

// A teller tells how a step went, with the error of one that failed.
type teller func(step string, took time.Duration, err error) error

// A stepView is a step as --json tells it, one a line.
type stepView struct {
	Step   string  `json:"step"`
	OK     bool    `json:"ok"`
	TookMS float64 `json:"took_ms"`
	Error  string  `json:"error,omitempty"`
}

// tellStep is a teller for a person, or with --json for a tool.
func (a *app) tellStep(step string, took time.Duration, err error) error {
	if !a.json && err != nil {
		_, err = fmt.Fprintf(a.out, "FAIL  %s: %s\n", step, err)
		return err
	}
	if !a.json {
		_, err = fmt.Fprintf(a.out, "ok    %s (%d ms)\n", step, took.Milliseconds())
		return err
	}
	view := stepView{Step: step, OK: err == nil, TookMS: milliseconds(took)}
	if err != nil {
		view.Error = err.Error()
	}
	return json.NewEncoder(a.out).Encode(view)
}

func (c *checker) steps() []checkStep {
	alice := c.d.users[0]
	return []checkStep{
		{"the provider describes itself", c.discover},
		{"the relying party sends the browser to the sign-in page", func(ctx context.Context) (err error) {
			if c.page, err = c.browser.Open(ctx, c.d.party.address); err != nil {
				return err
			}
			c.page, err = c.page.Click(ctx, "sign-in")
			return c.at(err, c.d.cfg.Issuer+"/login")
		}},
		{"a wrong password is refused", func(ctx context.Context) error {
			if err := c.logIn(ctx, alice.Username, "not "+alice.Password); err != nil {
				return err
			}
			if codes := c.page.ErrorCodes(); !slices.Contains(codes, "invalid_credentials") {
				return fmt.Errorf("the page shows the errors %q", codes)
			}
			return nil
		}},
		{"the right one leads to consent", func(ctx context.Context) error {
			return c.at(c.logIn(ctx, alice.Username, alice.Password), c.d.cfg.Issuer+"/consent")
		}},
		{"consent leads back, and the relying party verifies the ID token", c.allow},
		{"userinfo has what the ID token's subject allowed", c.readUserInfo},
		{"the refresh token rotates", c.refresh},
		{"the old one, shown again at once by its client, leads to the same successor", c.repeatRefresh},
		{"the next sign-in needs no page", func(ctx context.Context) (err error) {
			c.page, err = c.browser.Open(ctx, c.d.party.address+"/login?prompt=none")
			return c.at(err, c.d.party.address+"/")
		}},
		{"signing out ends what was issued", c.signOut},
		{"the password alone does not let in who has an authenticator app", c.halfIn},
		{"with a code of the app the ID token tells both", c.wholeIn},
	}
}

// halfIn signs bob in by his password, for a request for two steps.
func (c *checker) halfIn(ctx context.Context) (err error) {
	c.browser = &rp.Browser{Transport: c.client.Transport, UserAgent: c.browser.UserAgent}
	if c.page, err = c.browser.Open(ctx, c.d.party.address); err != nil {
		return err
	}
	if c.page, err = c.page.Click(ctx, "step-up"); err != nil {
		return err
	}
	u := c.d.users[bob]
	return c.at(c.logIn(ctx, u.Username, u.Password), c.d.cfg.Issuer+"/login/factor")
}

func (c *checker) wholeIn(ctx context.Context) (err error) {
	app := c.d.users[bob].App
	if app == nil {
		return errors.New("bob's app was set up by a demo in another folder")
	}
	form := c.page.Form()
	if form == nil {
		return errors.New("the page has no form")
	}
	if err := form.Fill("code", app.code(c.d.idp.Now())); err != nil {
		return err
	}
	if c.page, err = form.Press(ctx, "confirm"); err != nil {
		return err
	}
	if codes := c.page.ErrorCodes(); len(codes) > 0 {
		return fmt.Errorf("the page shows the errors %q", codes)
	}
	if c.page.Has("allow") { // of a folder that was kept he has consented before
		if c.page, err = c.page.Form().Press(ctx, "allow"); err != nil {
			return err
		}
	}
	if err := c.at(nil, c.d.party.address+"/"); err != nil {
		return err
	}
	var claims struct {
		ACR string   `json:"acr"`
		AMR []string `json:"amr"`
	}
	if err := json.Unmarshal([]byte(c.page.TextOf("claims")), &claims); err != nil {
		return fmt.Errorf("the relying party shows no claims: %w", err)
	}
	if asked, got := c.page.TextOf("asked-acr"), c.page.TextOf("got-acr"); asked != idp.ACRTwoFactors || got != asked {
		return fmt.Errorf("the relying party says that it asked for %q and got %q", asked, got)
	}
	if claims.ACR != idp.ACRTwoFactors || !slices.Contains(claims.AMR, "pwd") || !slices.Contains(claims.AMR, "otp") {
		return fmt.Errorf("the ID token tells acr %q and amr %q", claims.ACR, claims.AMR)
	}
	return nil
}

// at says where the browser should be by now.
func (c *checker) at(err error, prefix string) error {
	if err != nil {
		return err
	}
	if got := c.page.URL.String(); !strings.HasPrefix(got, prefix) {
		return fmt.Errorf("the browser is at %s: %s", c.page.URL.Redacted(), c.page.Heading())
	}
	if failure := c.page.TextOf("failure"); failure != "" {
		return errors.New(failure)
	}
	return nil
}

func (c *checker) discover(ctx context.Context) error {
	var metadata struct {
		Issuer  string `json:"issuer"`
		KeysURI string `json:"jwks_uri"`
	}
	if err := c.get(ctx, c.d.cfg.Issuer+"/.well-known/openid-configuration", "", &metadata); err != nil {
		return err
	}
	if metadata.Issuer != c.d.cfg.Issuer {
		return fmt.Errorf("the issuer is %q", metadata.Issuer)
	}
	var keys struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := c.get(ctx, metadata.KeysURI, "", &keys); err != nil {
		return err
	}
	if len(keys.Keys) == 0 {
		return errors.New("there are no keys")
	}
	return nil
}

// get reads JSON from an address, with an access token where it is not empty.
func (c *checker) get(ctx context.Context, address, token string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return c.send(r, v)
}

func (c *checker) send(r *http.Request, v any) error {
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s answers %s: %s", r.Method, r.URL.Path, answer.Status, body)
	}
	return json.Unmarshal(body, v)
}

func (c *checker) logIn(ctx context.Context, username, password string) (err error) {
	form := c.page.Form()
	if form == nil {
		return errors.New("the page has no form")
	}
	if err := form.Fill("username", username); err != nil {
		return err
	}
	if err := form.Fill("password", password); err != nil {
		return err
	}
	c.page, err = form.Press(ctx, "sign-in")
	return err
}

func (c *checker) allow(ctx context.Context) (err error) {
	c.page, err = c.page.Form().Press(ctx, "allow")
	if err := c.at(err, c.d.party.address+"/"); err != nil {
		return err
	}
	var claims map[string]any
	if err := json.Unmarshal([]byte(c.page.TextOf("claims")), &claims); err != nil {
		return fmt.Errorf("the relying party shows no claims: %w", err)
	}
	if claims["iss"] != c.d.cfg.Issuer || claims["sub"] != c.page.TextOf("subject") {
		return fmt.Errorf("the ID token has the issuer %v and the subject %v", claims["iss"], claims["sub"])
	}
	if c.refreshToken = c.page.TextOf("refresh-token"); c.refreshToken == "" {
		return errors.New("there is no refresh token")
	}
	return nil
}

func (c *checker) readUserInfo(ctx context.Context) error {
	var info map[string]any
	if err := c.get(ctx, c.d.cfg.Issuer+"/oauth2/userinfo", c.page.TextOf("access-token"), &info); err != nil {
		return err
	}
	alice := c.d.users[0]
	for name, want := range map[string]any{
		"sub": c.page.TextOf("subject"), "email": alice.Email, "name": alice.new.Profile.Name, "phone_number": alice.new.Profile.PhoneNumber,
	} {
		if info[name] != want {
			return fmt.Errorf("%s is %v, want %v", name, info[name], want)
		}
	}
	return nil
}

func (c *checker) refresh(ctx context.Context) (err error) {
	c.page, err = c.page.Click(ctx, "refresh")
	if err := c.at(err, c.d.party.address+"/"); err != nil {
		return err
	}
	if c.page.TextOf("refreshed") != "1" || c.page.TextOf("refresh-token") == c.refreshToken {
		return errors.New("the relying party has the same refresh token still")
	}
	var info map[string]any
	return c.get(ctx, c.d.cfg.Issuer+"/oauth2/userinfo", c.page.TextOf("access-token"), &info)
}

func (c *checker) repeatRefresh(ctx context.Context) error {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.refreshToken}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.d.cfg.Issuer+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(demoClient, c.d.party.secret)
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := c.send(r, &answer); err != nil {
		return err
	}
	if answer.RefreshToken != c.page.TextOf("refresh-token") {
		return errors.New("the successor is another")
	}
	return nil
}

func (c *checker) signOut(ctx context.Context) (err error) {
	token := c.page.TextOf("access-token")
	if c.page, err = c.page.Click(ctx, "provider-sign-out"); err != nil {
		return err
	}
	if c.page, err = c.page.Form().Press(ctx, "confirm-logout"); err != nil {
		return err
	}
	var info map[string]any
	if err := c.get(ctx, c.d.cfg.Issuer+"/oauth2/userinfo", token, &info); err == nil {
		return errors.New("the access token lives on")
	}
	c.page, err = c.browser.Open(ctx, c.d.party.address+"/login")
	return c.at(err, c.d.cfg.Issuer+"/login")
}
