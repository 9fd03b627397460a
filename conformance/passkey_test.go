package conformance

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"postern/conformance/rp"
)

// A device is an authenticator that Chromium plays: it is built in, keeps passkeys and verifies its
// user, who touches it at once.
type device struct {
	*tab
	id webauthn.AuthenticatorID
}

// device gives the window one.
func (b *tab) device() *device {
	b.Helper()
	d := &device{tab: b}
	b.run(webauthn.Enable(), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		d.id, err = webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21,
			Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true, HasUserVerification: true,
			IsUserVerified: true, AutomaticPresenceSimulation: true,
		}).Do(ctx)
		return err
	}))
	return d
}

// knows says whether it knows its user.
func (d *device) knows(user bool) {
	d.Helper()
	d.run(webauthn.SetUserVerified(d.id, user))
}

// keys are what it keeps.
func (d *device) keys() (list []*webauthn.Credential) {
	d.Helper()
	d.run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		list, err = webauthn.GetCredentials(d.id).Do(ctx)
		return err
	}))
	return list
}

// keep replaces what it keeps.
func (d *device) keep(list ...*webauthn.Credential) {
	d.Helper()
	d.run(webauthn.ClearCredentials(d.id))
	for _, key := range list {
		d.run(webauthn.AddCredential(d.id, key))
	}
}

// listless makes the window one of a browser that offers no passkeys in fields, so that nothing happens
// before a button is pressed.
func (d *device) listless() {
	d.Helper()
	d.run(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(
			"if (window.PublicKeyCredential) PublicKeyCredential.isConditionalMediationAvailable = async () => false").Do(ctx)
		return err
	}))
}

const useKey = "#use-passkey"

// reach waits until the tab shows an address, whatever its query is.
func (b *tab) reach(want string) {
	b.Helper()
	for deadline := time.Now().Add(pageTimeout); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if got, _, _ := strings.Cut(b.address(), "?"); got == want {
			b.settle()
			return
		}
	}
	b.Fatalf("at %s, want %s: %s", b.address(), want, b.text("body"))
}

// later declines the offer of a passkey, where there is one.
func (b *tab) later() {
	b.Helper()
	if b.has("#not-now") {
		b.press("#not-now")
	}
}

// passwordOnly signs alice in by password, before whatever else is asked.
func (b *tab) passwordOnly(d demo) {
	b.Helper()
	b.open(d.Issuer + "/login")
	b.signIn("alice", firstPassword)
	b.later()
}

// makePasskey registers a passkey of the device on the account page, as whoever has just signed in.
func (d *device) makePasskey(at demo) {
	d.Helper()
	d.open(at.Issuer + "/account/passkeys/add")
	d.press(useKey)
	if got := len(d.keys()); got == 0 {
		d.Fatalf("no passkey was made: %s", d.text("body"))
	}
	d.open(at.Issuer + "/account/passkeys")
	d.at(at.Issuer + "/account/passkeys")
}

func (b *tab) signOut(d demo) {
	b.Helper()
	b.open(d.Issuer + "/logout")
	b.press("#confirm-logout")
}

// withPasskey is a server, and a window whose device has a passkey of alice, who is signed out.
func withPasskey(t *testing.T, settings ...string) (demo, func(input string, args ...string), *device) {
	t.Helper()
	needs(t, "Chromium", chromiumPath)
	d, run := startServer(t, settings...)
	key := newTab(t, true).device()
	key.open(d.Issuer + "/login")
	key.signIn("alice", firstPassword)
	key.at(d.Issuer + "/login/passkey/offer")
	key.press(useKey)
	if len(key.keys()) != 1 {
		t.Fatalf("no passkey was made: %s", key.text("body"))
	}
	key.open(d.Issuer + "/account")
	key.at(d.Issuer + "/account")
	key.signOut(d)
	return d, run, key
}

func TestS3_16_S3_42_APersonMakesAPasskeyAndSignsInByItAlone(t *testing.T) {
	t.Parallel()
	d, _, key := withPasskey(t)
	made := key.keys()
	if len(made) != 1 || !made[0].IsResidentCredential || made[0].RpID != "localhost" || made[0].UserName != "alice" {
		t.Fatalf("the device keeps %+v", made)
	}
	key.listless()
	key.open(d.Issuer + "/login")
	key.press(useKey)
	key.reach(d.Issuer + "/account")
	if now := key.keys(); now[0].SignCount <= made[0].SignCount {
		t.Errorf("the counter is %d after %d", now[0].SignCount, made[0].SignCount)
	}
}

func TestS3_42_APasskeyIsOfferedInTheFieldOfTheUsername(t *testing.T) {
	t.Parallel()
	d, _, key := withPasskey(t)
	if !evaluate[bool](key.tab, "PublicKeyCredential.isConditionalMediationAvailable?.() ?? false") {
		t.Fatal("this Chromium offers no passkeys in fields")
	}
	// Who chooses the passkey in the list has pressed nothing: the device answers by itself.
	key.run(chromedp.Navigate(d.Issuer + "/login"))
	key.reach(d.Issuer + "/account")
}

func TestS3_17_AKeyThatDoesNotKnowItsUserSignsNobodyIn(t *testing.T) {
	t.Parallel()
	d, _, key := withPasskey(t)
	key.listless()
	key.knows(false)
	key.open(d.Issuer + "/login")
	key.run(chromedp.Click(useKey, chromedp.ByQuery))
	const said = "passkey-button [aria-live]"
	for deadline := time.Now().Add(pageTimeout); key.text(said) == "" && time.Now().Before(deadline); time.Sleep(pollInterval) {
	}
	if key.text(said) == "" {
		t.Error("the page does not say that it came to nothing")
	}
	key.at(d.Issuer + "/login")

	// Where a page is made to ask for a touch alone the server refuses what comes of it.
	evaluate[any](key.tab, `{
		const { dataset } = document.querySelector("passkey-button");
		dataset.options = JSON.stringify({ ...JSON.parse(dataset.options), userVerification: "discouraged" });
		null
	}`)
	key.press(useKey)
	key.wantError("passkey_refused")
	key.signIn("alice", firstPassword) // the page is as good as before
	key.at(d.Issuer + "/login/factor")
}

func TestS3_42_S3_05_APasskeyIsTheSecondFactorOfAPassword(t *testing.T) {
	t.Parallel()
	d, _, key := withPasskey(t)
	key.listless()
	key.passwordOnly(d)
	key.at(d.Issuer + "/login/factor")
	key.inspect("factor-key")
	key.open(d.Issuer + "/account")
	if key.address() == d.Issuer+"/account" {
		t.Fatal("the password alone leads to the account")
	}
	key.open(d.Issuer + "/login")
	key.press(useKey)
	key.reach(d.Issuer + "/account")
}

func TestS3_17_APasskeyThatWasCopiedEndsEverything(t *testing.T) {
	t.Parallel()
	d, _, key := withPasskey(t)
	stolen := *key.keys()[0]
	key.listless()
	key.open(d.Issuer + "/login")
	key.press(useKey) // by its owner: the counter rises
	key.reach(d.Issuer + "/account")
	thief := newTab(t, true).device()
	thief.keep(&stolen)
	thief.listless()
	thief.open(d.Issuer + "/login")
	thief.press(useKey)
	thief.wantError("passkey_refused")
	key.open(d.Issuer + "/account")
	if key.address() == d.Issuer+"/account" {
		t.Error("the session that the key began goes on")
	}
}

func TestS3_18_AnotherHostChangesNothingOfAPasskey(t *testing.T) {
	t.Parallel()
	d, _ := startServer(t)
	r, err := http.NewRequest(http.MethodGet, d.Issuer+"/login/passkey/options", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text := make([]byte, 4096)
	n, _ := answer.Body.Read(text)
	if answer.StatusCode == http.StatusOK && !strings.Contains(string(text[:n]), `"rpId":"localhost"`) || strings.Contains(string(text[:n]), "evil") {
		t.Errorf("got %s: %s", answer.Status, text[:n])
	}
}

// party registers a relying party at the server of d, at a redirect URI where something answers.
func party(t *testing.T, d demo, run func(input string, args ...string)) rp.RelyingParty {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "<!doctype html><html lang=en><title>Back</title><link rel=icon href=data:,>")
	}))
	t.Cleanup(site.Close)
	redirectURI := site.URL + "/callback"
	run("", "client", "add", "--name", "Shop", "--client-id", "shop", "--redirect-uri", redirectURI,
		"--token-endpoint-auth-method", "none", "--first-party", "--scope", "openid")
	provider, err := rp.Discover(t.Context(), nil, d.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	shop := rp.RelyingParty{Provider: provider, ClientID: "shop", AuthMethod: rp.NoSecret, RedirectURI: redirectURI}
	// The server learns of it within a second.
	for deadline := time.Now().Add(pageTimeout); !known(t, shop) && time.Now().Before(deadline); time.Sleep(pollInterval) {
	}
	return shop
}

// known tells whether the provider takes requests of shop.
func known(t *testing.T, shop rp.RelyingParty) bool {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, shop.NewRequest().URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(r) // which follows nothing
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode < http.StatusBadRequest
}

// claims are those of the ID token that the tab, back at the relying party, brings for a request.
func (b *tab) claims(shop rp.RelyingParty, request *rp.Request) rp.Claims {
	b.Helper()
	arrived, err := url.Parse(b.address())
	if err != nil {
		b.Fatal(err)
	}
	response, err := shop.ReadResponse(request, arrived)
	if err != nil || response.Code == "" {
		b.Fatalf("got %+v, %v: %s", response, err, b.text("body"))
	}
	answer, err := shop.Redeem(b.Context(), request, response.Code)
	if err != nil {
		b.Fatal(err)
	}
	tokens, err := answer.Tokens()
	if err != nil {
		b.Fatal(err)
	}
	claims, err := shop.Verify(tokens.IDToken, rp.Expectation{Nonce: request.Params.Get("nonce"), AccessToken: tokens.AccessToken})
	if err != nil {
		b.Fatal(err)
	}
	return claims
}

func TestAPersonStepsUpToAPasskeyForARelyingParty(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	d, run := startServer(t)
	shop := party(t, d, run)
	key := newTab(t, true).device()
	key.listless()
	// Signed in by password, before she has any passkey.
	request := shop.NewRequest()
	key.open(request.URL())
	key.signIn("alice", firstPassword)
	key.later()
	key.reach(shop.RedirectURI)
	first := key.claims(shop, request)
	if first.Text("acr") != "urn:postern:acr:pwd" || !slices.Equal(texts(first["amr"]), []string{"pwd"}) {
		t.Errorf("by password: got acr %v and amr %v", first["acr"], first["amr"])
	}
	key.makePasskey(d)
	key.signOut(d)

	// In a browser where the password is what she has shown, and the passkey what she owes.
	request = shop.NewRequest()
	key.open(request.URL())
	key.signIn("alice", firstPassword)
	key.later()
	key.at(d.Issuer + "/login/factor")
	key.press(useKey)
	key.reach(shop.RedirectURI)
	key.claims(shop, request)

	// Asked for what she has: no prompt.
	request = shop.NewRequest("claims", `{"id_token":{"acr":{"essential":true,"values":["phr"]}}}`, "max_age", "600")
	key.open(request.URL())
	key.reach(shop.RedirectURI)
	second := key.claims(shop, request)
	if second.Text("acr") != "phr" || !slices.Contains(texts(second["amr"]), "mfa") {
		t.Errorf("asked for phr: got acr %v and amr %v", second["acr"], second["amr"])
	}
}

// Signed in by password where a passkey is there but not asked for, as a browser is
// that was trusted, a request for phr asks for the passkey, and the next one does not.
func TestATrustedBrowserStepsUpToAPasskey(t *testing.T) {
	t.Parallel()
	d, run, key := withPasskey(t, "POSTERN_MFA__TRUSTED_BROWSER__ENABLED=true")
	shop := party(t, d, run)
	key.listless()
	key.passwordOnly(d)
	key.at(d.Issuer + "/login/factor")
	key.run(chromedp.Click("[name=trust]", chromedp.ByQuery))
	key.press(useKey)
	key.reach(d.Issuer + "/account")
	key.signOut(d)

	request := shop.NewRequest()
	key.open(request.URL())
	key.signIn("alice", firstPassword)
	key.later()
	key.reach(shop.RedirectURI)
	if c := key.claims(shop, request); c.Text("acr") != "urn:postern:acr:pwd" {
		t.Errorf("in the trusted browser: got acr %v", c["acr"])
	}
	stepUp := func() *rp.Request { return shop.NewRequest("acr_values", "phr", "max_age", "600") }
	request = stepUp()
	key.open(request.URL())
	key.at(d.Issuer + "/login/factor")
	key.press(useKey)
	key.reach(shop.RedirectURI)
	first := key.claims(shop, request)
	if amr := texts(first["amr"]); first.Text("acr") != "phr" || !slices.Contains(amr, "pwd") || !slices.Contains(amr, "mfa") {
		t.Errorf("stepped up: got acr %v and amr %v", first["acr"], amr)
	}
	request = stepUp()
	key.open(request.URL())
	key.reach(shop.RedirectURI)
	if c := key.claims(shop, request); c.Text("acr") != "phr" || c.Number("auth_time") != first.Number("auth_time") {
		t.Errorf("again: got acr %v and auth_time %v, want phr and %v", c["acr"], c["auth_time"], first["auth_time"])
	}
}

// texts are a claim that is a list of texts.
func texts(claim any) []string {
	var list []string
	all, _ := claim.([]any)
	for _, one := range all {
		text, _ := one.(string)
		list = append(list, text)
	}
	return list
}
