package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"

	"postern/idp"
	"postern/storage/storagetest"
)

// visitorOf is somebody whose browser has the name of a user, with the cookie of s.
func visitorOf(t *testing.T, name string, s idp.SignedIn) context.Context {
	v := &idp.Visitor{Address: netip.MustParseAddr("192.0.2.7"), UserAgent: "test", Browser: sha256.Sum256([]byte(name)), Session: s.Token}
	return idp.WithVisitor(t.Context(), v)
}

// inside signs a user in, by what the provider does without its pages.
func (h *house) inside(t *testing.T, name string) (context.Context, *idp.Visit) {
	t.Helper()
	s, err := h.p.LogIn(visitorOf(t, name, idp.SignedIn{}), h.p.BeginOwn("/account"), idp.LogIn{Identifier: name, Password: testPassword})
	if err != nil {
		t.Fatal(err)
	}
	return h.on(t, name, s)
}

// on is the session of s.
func (h *house) on(t *testing.T, name string, s idp.SignedIn) (context.Context, *idp.Visit) {
	t.Helper()
	ctx := visitorOf(t, name, s)
	v, err := h.p.Visit(ctx, s.Token, "")
	if err != nil {
		t.Fatal(err)
	}
	return ctx, v
}

// An authenticator app is what somebody has on their phone.
type authenticatorApp struct {
	h        *house
	Secret   string // base32
	Recovery []string
	Enrolled idp.SignedIn
}

// code is the next one: the clock goes on, since each is taken once.
func (a *authenticatorApp) code(t *testing.T) string {
	t.Helper()
	a.h.now = a.h.now.Add(30 * time.Second)
	shown, err := totp.GenerateCode(a.Secret, a.h.now)
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

// giveApp gives a user an authenticator app.
func (h *house) giveApp(t *testing.T, name string) *authenticatorApp {
	t.Helper()
	ctx, v := h.inside(t, name)
	if err := h.p.BeginTOTP(ctx, v); err != nil {
		t.Fatal(err)
	}
	setup, err := h.p.TOTPSetup(ctx, v)
	if err != nil {
		t.Fatal(err)
	}
	a := &authenticatorApp{h: h, Secret: strings.ReplaceAll(setup.Secret, " ", "")}
	done, err := h.p.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t))
	if err != nil {
		t.Fatal(err)
	}
	a.Recovery, a.Enrolled = done.RecoveryCodes, done.SignedIn
	return a
}

// giveKey gives the user of a session a security key, and returns how.
func (h *house) giveKey(t *testing.T, name string, s idp.SignedIn) idp.Ceremony {
	t.Helper()
	ctx, v := h.on(t, name, s)
	c, err := h.p.BeginPasskey(ctx, v)
	if err != nil {
		t.Fatal(err)
	}
	options, err := virtualwebauthn.ParseAttestationOptions(string(c.Options))
	if err != nil {
		t.Fatal(err)
	}
	site := virtualwebauthn.RelyingParty{ID: "id.example.com", Origin: testIssuer}
	// RSA, since the library writes one of 128 P-256 keys a byte too short.
	key := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA)
	answer := virtualwebauthn.CreateAttestationResponse(site, virtualwebauthn.NewAuthenticator(), key, *options)
	if _, err := h.p.AddPasskey(ctx, &idp.Interaction{}, v, c.State, answer, "Blue key"); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestS3_30_AUsersFactorsAreListedWithoutSecrets(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, nil)
		h.addUser(t, "bob")
		app := h.giveApp(t, "bob")
		h.giveKey(t, "bob", app.Enrolled)
		code, told, errs := command(t, url, "", "user", "show", "bob")
		if code != exitOK || !strings.Contains(told, "authenticator app") || !strings.Contains(told, "Blue key, added ") ||
			!strings.Contains(told, "10 of 10 left") || !strings.Contains(told, "factor policy ") {
			t.Errorf("exit %d: %s%s", code, told, errs)
		}
		var shown factorsView
		succeed(t, &shown, url, "", "user", "show", "bob")
		kinds := []string{}
		for _, f := range shown.Factors {
			kinds = append(kinds, f.Kind+" "+f.Name)
		}
		if strings.Join(kinds, ", ") != "totp , webauthn Blue key" || shown.RecoveryCodes.Left != 10 || shown.Username != "bob" || shown.Policy != "optional" {
			t.Errorf("got %+v", shown)
		}
		_, raw, _ := command(t, url, "", "user", "show", "bob", "--json")
		var members map[string]any
		if err := json.Unmarshal([]byte(raw), &members); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{told, raw} {
			for _, secret := range append(app.Recovery, app.Secret, "sealed", "credential", "public_key", "data\"") {
				if strings.Contains(text, secret) {
					t.Errorf("%s is told:\n%s", secret, text)
				}
			}
		}
	})
}

func TestAnOperatorLetsInWhoLostEveryFactor(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, nil)
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		app := h.giveApp(t, "bob")
		h.giveKey(t, "bob", app.Enrolled)
		b := h.browser()
		if page := h.signIn(t, b, "bob", testPassword); page.URL.Path != "/login/factor" {
			t.Fatalf("bob is at %s", page.URL)
		}
		if code, out, errs := command(t, url, "", "user", "reset-mfa", "bob"); code != exitUsage || !strings.Contains(errs, "Say so with --yes") {
			t.Errorf("unconfirmed: exit %d: %s%s", code, out, errs)
		}
		var still factorsView
		if succeed(t, &still, url, "", "user", "show", "bob"); len(still.Factors) != 2 || still.RecoveryCodes == nil {
			t.Errorf("unconfirmed, bob has %+v", still)
		}
		var left userView
		succeed(t, &left, url, "", "user", "reset-mfa", "bob@example.com", "--yes")
		if left.Username != "bob" {
			t.Errorf("got %+v", left)
		}
		// What had begun with the old factors ends, too.
		if page := openPage(t, b, "/account"); page.URL.Path != "/login" {
			t.Errorf("bob's former sign-in is at %s", page.URL)
		}
		if _, err := h.p.Visit(visitorOf(t, "bob", app.Enrolled), app.Enrolled.Token, ""); idp.KindOf(err) != idp.Missing {
			t.Errorf("the former session is alive: %v", err)
		}
		if page := h.signIn(t, h.browser(), "bob", testPassword); page.URL.Path != "/account" && page.URL.Path != "/login/passkey/offer" {
			t.Errorf("afterwards bob is at %s", page.URL)
		}
		if code, out, _ := command(t, url, "", "audit", "tail"); code != exitOK || !strings.Contains(out, "user.factors_reset actor=cli") {
			t.Errorf("exit %d: %s", code, out)
		}
		if waiting, _, err := h.store.CountJobs(t.Context(), h.p.Now()); err != nil || waiting == 0 {
			t.Errorf("%d mails wait, %v; want one to bob", waiting, err)
		}
		for _, c := range []struct{ user, want string }{
			{"bob", "bob has no second factor"}, {"alice", "alice has no second factor"}, {"nobody", "there is no user \"nobody\""},
		} {
			if code, _, errs := command(t, url, "", "user", "reset-mfa", c.user); code != exitFailure || !strings.Contains(errs, c.want) {
				t.Errorf("%s: exit %d: %s", c.user, code, errs)
			}
		}
	})
}

// S2-11: whoever administers has a second factor, or sets one up before anything else.
func TestS2_11_AdministratorsSetUpASecondFactorFirst(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	h.addUser(t, "alice")
	if _, err := h.p.AddUser(t.Context(), idp.NewUser{
		Username: "ruth", Email: "ruth@example.com", EmailVerified: true, Password: "seven bridges of Prague", Admin: true,
	}); err != nil {
		t.Fatal(err)
	}
	b := h.browser()
	if page := h.signIn(t, b, "ruth", "seven bridges of Prague"); page.URL.Path != "/login/enrol" {
		t.Errorf("ruth is at %s", page.URL)
	}
	if page := openPage(t, b, "/account"); page.URL.Path == "/account" {
		t.Error("ruth is in without a second factor")
	}
	if page := h.signIn(t, h.browser(), "alice", testPassword); page.URL.Path != "/account" {
		t.Errorf("alice is at %s", page.URL)
	}
}
