package conformance

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/storage/storagetest"
)

// A demo is `postern demo`, with what it said of itself.
type demo struct {
	Issuer       string `json:"issuer"`
	RelyingParty string `json:"relying_party"`
	Users        []struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"users"`
}

// startDemo runs a demo on the database of that URL, or on one of its own where it is empty, until
// the test ends.
func startDemo(t *testing.T, database string) demo {
	t.Helper()
	folder := t.TempDir()
	provider, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	party, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"demo", "--listen", provider, "--rp-listen", party, "--dir", folder, "--json"}
	if database != "" {
		args = append(args, "--database", database)
	}
	// The demo says where it is as soon as both answer.
	said := &announcement{whole: make(chan struct{})}
	process, err := running.start(folder, os.Environ(), said, "http://"+party+"/", args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.stop(); err != nil {
			t.Error(err)
		}
	})
	<-said.whole
	var d demo
	if err := json.Unmarshal(said.text.Bytes(), &d); err != nil {
		t.Fatalf("demo --json: %v: %s", err, said.text.Bytes())
	}
	if d.Issuer == "" || d.RelyingParty == "" || len(d.Users) == 0 {
		t.Fatalf("demo --json lacks issuer, relying_party or users: %s", said.text.Bytes())
	}
	return d
}

// An announcement is what a process prints until it is a whole JSON value.
type announcement struct {
	text  bytes.Buffer
	whole chan struct{}
}

func (a *announcement) Write(b []byte) (int, error) {
	if json.Valid(a.text.Bytes()) {
		return len(b), nil
	}
	a.text.Write(b)
	if json.Valid(a.text.Bytes()) {
		close(a.whole)
	}
	return len(b), nil
}

// TestAPersonSignsInThroughChromium is the main job: from the relying party over the pages of the
// provider and back, refreshed and signed out, with and without JavaScript, on both databases.
func TestAPersonSignsInThroughChromium(t *testing.T) {
	t.Parallel()
	storagetest.EachURL(t, func(t *testing.T, database string) {
		needs(t, "Chromium", chromiumPath)
		d := startDemo(t, database)
		t.Run("with JavaScript", func(t *testing.T) { wholeJob(newTab(t, true), d, 0) })
		t.Run("without JavaScript", func(t *testing.T) { wholeJob(newTab(t, false), d, 2) })
	})
}

// S1-17: after a sign-in nothing is where a script could read it, on no page that people see.
func TestS1_17_ScriptsFindNothingInTheBrowser(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	d := startDemo(t, "")
	b := newTab(t, true)
	empty := func() {
		b.Helper()
		found := evaluate[string](b, `JSON.stringify({local: {...localStorage}, session: {...sessionStorage}, cookie: document.cookie})`)
		if want := `{"local":{},"session":{},"cookie":""}`; found != want {
			b.Errorf("%s: scripts read %s", b.address(), found)
		}
	}
	b.open(d.RelyingParty)
	b.press("#sign-in")
	b.at(d.Issuer + "/login")
	empty()
	b.signIn(d.Users[0].Username, d.Users[0].Password)
	b.at(d.Issuer + "/consent")
	empty()
	b.press("#allow")
	b.at(d.RelyingParty + "/")
	for _, path := range []string{"/account", "/account/password", "/account/sessions", "/account/emails", "/account/profile", "/logout"} {
		b.open(d.Issuer + path)
		b.at(d.Issuer + path)
		empty()
	}
	if b.cookie(d.Issuer, "postern_session") == "" {
		b.Error("there is no session's cookie to hide")
	}
}

func wholeJob(b *tab, d demo, user int) {
	someone := d.Users[user]
	b.open(d.RelyingParty)
	b.press("#sign-in")
	b.at(d.Issuer + "/login")
	b.signIn(someone.Username, someone.Password)
	b.at(d.Issuer + "/consent")
	// The provider's form leads to another origin: without the right form-action nothing happens.
	b.press("#allow")
	b.at(d.RelyingParty + "/")
	first := claimsShown(b)
	if first["preferred_username"] != nil || first["iss"] != d.Issuer {
		b.Errorf("ID token: got %v, want it from %s, with nothing of the person", first, d.Issuer)
	}
	if got := shown(b, "#userinfo")["preferred_username"]; got != someone.Username {
		b.Errorf("userinfo: preferred_username is %v, want %s", got, someone.Username)
	}

	token := b.text("#refresh-token")
	b.press("#refresh")
	if again := b.text("#refresh-token"); again == token || again == "" || b.text("#refreshed") != "1" {
		b.Errorf("refreshed %s times: the refresh token was %q and is %q", b.text("#refreshed"), token, again)
	}
	if got := claimsShown(b)["sub"]; got != first["sub"] {
		b.Errorf("after the refresh: sub is %v, want %v", got, first["sub"])
	}

	// Signed in and consented: the way back needs no page.
	b.press("#sign-out")
	b.press("#sign-in")
	b.at(d.RelyingParty + "/")
	if got := claimsShown(b)["auth_time"]; got != first["auth_time"] {
		b.Errorf("auth_time: first %v, then %v", first["auth_time"], got)
	}

	b.press("#provider-sign-out")
	b.press("#confirm-logout")
	b.open(d.RelyingParty)
	b.press("#sign-out")
	b.press("#sign-in")
	b.at(d.Issuer + "/login")
}

func claimsShown(b *tab) map[string]any {
	b.Helper()
	return shown(b, "#claims")
}

// shown reads JSON that stands on the page.
func shown(b *tab, selector string) map[string]any {
	b.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(b.text(selector)), &value); err != nil {
		b.Fatalf("%s shows no JSON in %s: %v: %s", b.address(), selector, err, b.text("body"))
	}
	return value
}

func (b *tab) signIn(username, password string) {
	b.Helper()
	b.fill("#username", username)
	b.fill("#password", password)
	b.press("#sign-in")
}

// at holds that the tab shows an address, whatever its query is.
func (b *tab) at(want string) {
	b.Helper()
	got, _, _ := strings.Cut(b.address(), "?")
	if got != want {
		b.Fatalf("at %s, want %s: %s", b.address(), want, b.text("body"))
	}
}

// TestPagesAreAccessible walks over every page in its states and lets axe-core judge each.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	needs(t, "axe-core", axePath)
	d := startDemo(t, "")
	alice, carol := d.Users[0], d.Users[2]
	b := newTab(t, true)

	b.open(d.RelyingParty)
	b.inspect("relying-party")
	b.press("#sign-in")
	b.inspect("login")
	b.signIn(alice.Username, "this is not the password")
	b.wantError("invalid_credentials")
	b.inspect("login-error")
	b.signIn(alice.Username, alice.Password)
	b.at(d.Issuer + "/consent")
	b.inspect("consent")
	b.press("#allow")
	b.inspect("relying-party-signed-in")

	b.open(d.RelyingParty + "/login?prompt=select_account")
	b.at(d.Issuer + "/login/continue")
	b.inspect("continue")

	b.open(d.Issuer + "/account")
	b.inspect("account")
	b.open(d.Issuer + "/account/password")
	b.inspect("password")
	b.fill("#password", alice.Password)
	b.fill("#new_password", "short")
	b.press("#change-password")
	b.wantError("")
	b.inspect("password-error")

	b.open(d.Issuer + "/oauth2/authorize?client_id=nobody&response_type=code")
	b.wantError("client_unknown")
	b.inspect("problem-client")
	b.open(d.Issuer + "/oauth2/authorize?client_id=demo&response_type=code&redirect_uri=" + url.QueryEscape(d.RelyingParty+"/callback2"))
	b.wantError("redirect_uri_unregistered")
	b.inspect("problem-redirect-uri")
	b.open(d.Issuer + "/login?tx=nonsense")
	b.wantError("interaction_unreadable")
	b.inspect("stale")
	b.open(d.Issuer + "/nowhere")
	b.wantError("not_found")
	b.inspect("not-found")

	b.open(d.Issuer + "/logout")
	b.inspect("logout")
	b.press("#confirm-logout")
	b.inspect("logged-out")

	// Its language follows the request, and German words are longer.
	b.open(d.RelyingParty + "/login?ui_locales=de")
	if got := evaluate[string](b, "document.documentElement.lang"); got != "de" {
		b.Errorf("ui_locales=de: the page is in %q", got)
	}
	b.inspect("login-de")
	b.signIn(carol.Username, carol.Password)
	b.inspect("consent-de")
}

// wantError holds that the page tells of that error; of any where code is empty.
func (b *tab) wantError(code string) {
	b.Helper()
	codes := b.errorCodes()
	if len(codes) == 0 || (code != "" && !slices.Contains(codes, code)) {
		b.Errorf("%s: error codes are %q, want %q: %s", b.address(), codes, code, b.text("body"))
	}
}

// TestAPopUpKeepsItsOpener: relying parties that sign in through a pop-up hear of its end by
// window.opener, which a Cross-Origin-Opener-Policy on any page on the way would take away.
func TestAPopUpKeepsItsOpener(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	d := startDemo(t, "")
	b := newTab(t, true)
	b.open(d.RelyingParty)
	popup := b.popUp(d.RelyingParty + "/login")
	popup.at(d.Issuer + "/login")
	popup.signIn(d.Users[0].Username, d.Users[0].Password)
	popup.press("#allow")
	popup.at(d.RelyingParty + "/")
	if !evaluate[bool](popup, "window.opener !== null && window.opener.location.href === '"+d.RelyingParty+"/'") {
		t.Error("window.opener is gone")
	}
}
