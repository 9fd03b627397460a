package oauth

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"

	"postern/idp"
)

const (
	acrPassword = "urn:postern:acr:pwd"
	acrTwo      = "urn:postern:acr:mfa"
)

// visitOf is the session of b, the one that owes a step included.
func (h *house) visitOf(b *browser) *idp.Visit {
	h.t.Helper()
	v, err := h.p.Visit(b.context(), b.visitor.Session, "")
	if b.visitor.Session.IsZero() {
		v, err = h.p.PendingVisit(b.context(), "")
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// addApp gives the user of b an authenticator app, and returns what it shows.
func (h *house) addApp(b *browser) (code func() string) {
	h.t.Helper()
	v := h.visitOf(b)
	if err := h.p.BeginTOTP(b.context(), v); err != nil {
		h.t.Fatal(err)
	}
	setup, err := h.p.TOTPSetup(b.context(), v)
	if err != nil {
		h.t.Fatal(err)
	}
	code = func() string {
		shown, err := totp.GenerateCode(strings.ReplaceAll(setup.Secret, " ", ""), h.now.read())
		if err != nil {
			h.t.Fatal(err)
		}
		return shown
	}
	done, err := h.p.ConfirmTOTP(b.context(), &idp.Interaction{}, v, code())
	if err != nil {
		h.t.Fatal(err)
	}
	b.enter(done.SignedIn)
	h.now.turn(time.Minute) // another code
	return code
}

// proveByApp adds the app's code to the session of b.
func (h *house) proveByApp(b *browser, in *idp.Interaction, code func() string) {
	h.t.Helper()
	done, err := h.p.ProveByCode(b.context(), in, h.visitOf(b), code(), false)
	if err != nil {
		h.t.Fatal(err)
	}
	b.enter(done)
}

// addKey gives the user of b a security key, and returns how it is shown.
func (h *house) addKey(b *browser) (show func(b *browser, in *idp.Interaction)) {
	h.t.Helper()
	site := virtualwebauthn.RelyingParty{ID: "id.example", Origin: testIssuer}
	// RSA, since the library writes one of 128 P-256 keys a byte too short.
	device, key := virtualwebauthn.NewAuthenticator(), virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA)
	c, err := h.p.BeginPasskey(b.context(), h.visitOf(b))
	if err != nil {
		h.t.Fatal(err)
	}
	options, err := virtualwebauthn.ParseAttestationOptions(string(c.Options))
	if err != nil {
		h.t.Fatal(err)
	}
	device.Options.UserHandle = []byte(options.UserID)
	answer := virtualwebauthn.CreateAttestationResponse(site, device, key, *options)
	done, err := h.p.AddPasskey(b.context(), &idp.Interaction{}, h.visitOf(b), c.State, answer, "")
	if err != nil {
		h.t.Fatal(err)
	}
	b.enter(done.SignedIn)
	return func(b *browser, in *idp.Interaction) {
		h.t.Helper()
		c, err := h.p.BeginKeyProof(b.context(), h.visitOf(b), false)
		if err != nil {
			h.t.Fatal(err)
		}
		options, err := virtualwebauthn.ParseAssertionOptions(string(c.Options))
		if err != nil {
			h.t.Fatal(err)
		}
		key.Counter++
		done, err := h.p.ProveByKey(b.context(), in, h.visitOf(b), c.State, virtualwebauthn.CreateAssertionResponse(site, device, key, *options), false)
		if err != nil {
			h.t.Fatal(err)
		}
		b.enter(done)
	}
}

// told are the claims of the ID token that a code is redeemed for.
func (h *house) told(client, code string) map[string]any {
	h.t.Helper()
	got := h.call(h.Token, client, redeem(client, code))
	h.want(got, http.StatusOK, "")
	return h.verifyIDToken(got.text("id_token"))
}

func acrClaim(request string) string { return `{"id_token":{"acr":` + request + `}}` }

func TestAnACRThatIsAskedForIsReachedOrRefusedByName(t *testing.T) {
	h := oneHouse(t)
	alice := h.signedIn("alice")
	// bob has an app; carol has an app and a key, and signed in with the app.
	h.addUser("carol")
	bob, carol := h.signedIn("bob"), h.signedIn("carol")
	h.addApp(bob)
	appOfCarol := h.addApp(carol)
	h.addKey(carol)
	carol = h.signedIn("carol")
	h.proveByApp(carol, h.p.BeginOwn("/"), appOfCarol)
	half := h.signedIn("carol")
	const essential = `{"essential":true,`
	for _, c := range []struct {
		name, values, claims string
		browser              *browser
		silent               string // the answer with prompt=none: an error, or the acr
		page                 string // without it, "" for a code
	}{
		{"nothing", "", "", alice, acrPassword, ""},
		{"nothing, of who has two", "", "", bob, acrTwo, ""},
		{"nothing, of nobody", "", "", newBrowser("nobody"), "login_required", "/login"},
		{"nothing, of who owes a factor", "", "", half, "interaction_required", "/login/factor"},
		{"acr in the default manner", "", acrClaim(`null`), alice, acrPassword, ""},
		{"essential without a value", "", acrClaim(`{"essential":true}`), alice, acrPassword, ""},

		{"acr_values beyond reach", "phr", "", alice, acrPassword, ""},
		{"acr_values that nobody knows", "1 2", "", alice, acrPassword, ""},
		{"acr_values, the second holds", "phr " + acrPassword, "", alice, acrPassword, ""},
		{"acr_values below what there is", acrPassword, "", bob, acrPassword, ""},
		{"acr_values within reach", "phr", "", carol, acrTwo, "/login/factor"},
		{"acr_values, the better first", "phr " + acrTwo, "", carol, acrTwo, ""},
		{"acr_values of nobody", acrTwo, "", newBrowser("nobody"), "login_required", "/login"},

		{"voluntary value beyond reach", "", acrClaim(`{"value":"phr"}`), bob, acrTwo, ""},
		{"voluntary values, one holds", "", acrClaim(`{"values":["phr","` + acrTwo + `"]}`), bob, acrTwo, ""},
		{"voluntary value within reach", "", acrClaim(`{"value":"phr"}`), carol, acrTwo, "/login/factor"},
		{"voluntary value within reach, of who owes a factor", "", acrClaim(`{"value":"phr"}`), half, "interaction_required", "/login/factor"},
		{"voluntary value that is no text", "", acrClaim(`{"value":7}`), alice, acrPassword, ""},

		{"essential value that holds", "", acrClaim(essential + `"value":"` + acrTwo + `"}`), bob, acrTwo, ""},
		{"essential values, one holds", "", acrClaim(essential + `"values":["phr","` + acrTwo + `"]}`), bob, acrTwo, ""},
		{"essential value within reach", "", acrClaim(essential + `"value":"phr"}`), carol, "interaction_required", "/login/factor"},
		{"essential value after a factor is set up", "", acrClaim(essential + `"value":"` + acrTwo + `"}`), alice, "interaction_required", "/login/enrol"},
		{"essential value beyond reach", "", acrClaim(essential + `"value":"phr"}`), bob, "unmet_authentication_requirements", "unmet_authentication_requirements"},
		{"essential value that nobody knows", "", acrClaim(essential + `"value":"gold"}`), bob, "unmet_authentication_requirements", "unmet_authentication_requirements"},
		{"essential value that nobody knows, of nobody", "", acrClaim(essential + `"value":"gold"}`), newBrowser("nobody"), "unmet_authentication_requirements", "unmet_authentication_requirements"},
		{"essential value that is no text", "", acrClaim(essential + `"value":7}`), bob, "unmet_authentication_requirements", "unmet_authentication_requirements"},
		{"essential without any value", "", acrClaim(essential + `"values":[]}`), bob, "unmet_authentication_requirements", "unmet_authentication_requirements"},
		{"essential value of nobody", "", acrClaim(essential + `"value":"` + acrTwo + `"}`), newBrowser("nobody"), "login_required", "/login"},
		{"essential, and another in acr_values", acrPassword, acrClaim(essential + `"value":"phr"}`), bob, "unmet_authentication_requirements", "unmet_authentication_requirements"},
		{"acr at userinfo, where none is", "", `{"userinfo":{"acr":{"essential":true,"value":"phr"}}}`, alice, acrPassword, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			form := h.request("first")
			if c.values != "" {
				form.Set("acr_values", c.values)
			}
			if c.claims != "" {
				form.Set("claims", c.claims)
			}
			at, query := outcome(h, h.authorize(c.browser, form))
			switch {
			case c.page == "" && query.Get("code") == "", strings.HasPrefix(c.page, "/") && at != c.page,
				c.page == "unmet_authentication_requirements" && (query.Get("error") != c.page || query.Get("state") == ""):
				t.Errorf("got %s with %v, want %q", at, query, c.page)
			}
			form.Set("prompt", "none")
			_, query = outcome(h, h.authorize(c.browser, form))
			got := query.Get("error")
			if code := query.Get("code"); code != "" {
				got, _ = h.told("first", code)["acr"].(string)
			}
			if got != c.silent {
				t.Errorf("prompt=none: got %q, want %q", got, c.silent)
			}
		})
	}
}

func TestSteppingUpIsToldAndAskedForOnce(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		b := h.signedIn("alice")
		app := h.addApp(b)
		show := h.addKey(b)
		h.prove["alice"] = func(b *browser, in *idp.Interaction) { h.proveByApp(b, in, app) }
		h.now.turn(time.Hour)
		first := h.now.read().Unix()
		// A whole sign-in, by password and app.
		b = newBrowser("alice")
		form := h.request("first")
		form.Set("max_age", "7200")
		got := h.told("first", h.code(b, form))
		want := map[string]any{"acr": acrTwo, "amr": []any{"pwd", "otp", "mfa"}, "auth_time": float64(first)}
		wantMembers(t, "signed in", got, want)

		h.now.turn(10 * time.Minute)
		form = h.request("first")
		form.Set("acr_values", "phr")
		form.Set("max_age", "7200")
		shown := 0
		h.prove["alice"] = func(b *browser, in *idp.Interaction) { shown++; show(b, in) }
		got = h.told("first", h.code(b, form))
		want = map[string]any{"acr": "phr", "amr": []any{"pwd", "otp", "hwk", "user", "mfa"}}
		wantMembers(t, "stepped up", got, want)
		if shown != 1 {
			t.Errorf("the key was asked for %d times, want once", shown)
		}
		// It is what the session is from now on.
		form.Set("prompt", "none")
		got = h.told("first", h.code(b, form))
		wantMembers(t, "again", got, want)
		// Below max_age's reach it is asked for anew.
		h.now.turn(10 * time.Minute)
		form.Del("prompt")
		form.Set("max_age", "60")
		got = h.told("first", h.code(b, form))
		if shown != 2 || got["acr"] != "phr" || got["auth_time"] != float64(h.now.read().Unix()) {
			t.Errorf("after max_age: the key was asked for %d times, and the token tells %v", shown, got)
		}
	})
}

func wantMembers(t *testing.T, name string, got, want map[string]any) {
	t.Helper()
	for member, value := range want {
		if !reflect.DeepEqual(got[member], value) {
			t.Errorf("%s: %s is %v, want %v", name, member, got[member], value)
		}
	}
}

func TestWhatIsToldOfASignInStaysOverARefreshAndAtIntrospection(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		b := h.signedIn("alice")
		h.addApp(b)
		form := h.request("first")
		form.Set("scope", "openid offline_access")
		form.Set("max_age", "3600")
		got := h.call(h.Token, "first", redeem("first", h.code(b, form)))
		h.want(got, http.StatusOK, "")
		first := h.verifyIDToken(got.text("id_token"))
		want := map[string]any{"acr": acrTwo, "amr": []any{"pwd", "otp", "mfa"}, "auth_time": first["auth_time"]}
		wantMembers(t, "ID token", first, want)
		// Another sign-in, with less, changes nothing for what was issued.
		h.signedIn("alice")
		h.now.turn(2 * time.Minute)
		again := h.call(h.Token, "first", refresh(got.text("refresh_token")))
		h.want(again, http.StatusOK, "")
		wantMembers(t, "refreshed ID token", h.verifyIDToken(again.text("id_token")), want)
		wantMembers(t, "introspection", h.introspectAs("first", again.text("access_token")).body, want)
	})
}

// setACR changes what a client demands.
func (h *house) setACR(client, minimum string, values ...string) {
	h.t.Helper()
	_, err := h.p.UpdateClient(context.Background(), client, func(m *idp.Metadata) {
		m.MinimumACR, m.DefaultACRValues = minimum, values
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestAClientsDefaultACRValuesStandWhereTheRequestHasNone(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	app := h.addApp(b)
	h.addKey(b)
	b = h.signedIn("alice")
	h.proveByApp(b, h.p.BeginOwn("/"), app)
	h.setACR("first", "", "phr")
	for _, c := range []struct{ name, parameter, value, page string }{
		{"none", "", "", "/login/factor"},
		{"acr_values", "acr_values", acrTwo, ""},
		{"claims with a value", "claims", acrClaim(`{"value":"` + acrTwo + `"}`), ""},
		{"claims without one", "claims", acrClaim(`null`), "/login/factor"},
		{"claims of another kind", "claims", `{"id_token":{"auth_time":null}}`, "/login/factor"},
	} {
		form := h.request("first")
		if c.parameter != "" {
			form.Set(c.parameter, c.value)
		}
		at, query := outcome(h, h.authorize(b, form))
		if c.page == "" && !query.Has("code") || c.page != "" && at != c.page {
			t.Errorf("%s: got %s with %v, want %q", c.name, at, query, c.page)
		}
		silent := maps.Clone(form)
		silent.Set("prompt", "none")
		if _, query := outcome(h, h.authorize(b, silent)); !query.Has("code") {
			t.Errorf("%s, prompt=none: got %v", c.name, query)
		}
		if c.page == "" {
			continue
		}
		// The pages know it, too.
		if in, err := h.p.Open(b.context(), query.Get("tx")); err != nil || !reflect.DeepEqual(in.Request.ACRValues, idp.List{"phr"}) {
			t.Errorf("%s: got %+v and %v, want the client's acr_values in the request", c.name, in, err)
		}
	}
	_, err := h.p.UpdateClient(t.Context(), "first", func(m *idp.Metadata) { m.DefaultACRValues = idp.List{"gold"} })
	if idp.KindOf(err) != idp.Invalid {
		t.Errorf("a value that nobody knows: got %v", err)
	}
}

func TestAClientsMinimumIsOwedByEverySignIn(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.setACR("first", acrTwo)
		alice := h.signedIn("alice")
		form := h.request("first")
		form.Set("acr_values", acrPassword)
		if at, _ := outcome(h, h.authorize(alice, form)); at != "/login/enrol" {
			t.Errorf("without a factor: got %s", at)
		}
		silent := h.request("first")
		silent.Set("prompt", "none")
		if _, query := outcome(h, h.authorize(alice, silent)); query.Get("error") != "interaction_required" {
			t.Errorf("without a factor, prompt=none: got %v", query)
		}
		h.addApp(alice)
		if got := h.told("first", h.code(alice, form)); got["acr"] != acrTwo {
			t.Errorf("got acr %v, want no less than the client's minimum", got["acr"])
		}
		h.setACR("first", "phr")
		if _, query := outcome(h, h.authorize(alice, h.request("first"))); query.Get("error") != "unmet_authentication_requirements" {
			t.Errorf("beyond reach: got %v", query)
		}
		cfg := testConfig()
		cfg.MFA.Policy = "off"
		h.open(h.store.Store, cfg)
		if _, query := outcome(h, h.authorize(h.signedIn("bob"), h.request("first"))); query.Get("error") != "unmet_authentication_requirements" {
			t.Errorf("where nobody may set up a factor: got %v", query)
		}
	})
}

func TestUserInfoAsksForTheClientsMinimum(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		token := h.tokensFor("first", "openid email").text("access_token")
		h.want(h.userInfoWith(token), http.StatusOK, "")
		h.setACR("first", acrTwo)
		got := h.userInfoWith(token)
		h.want(got, http.StatusUnauthorized, "insufficient_user_authentication")
		want := `Bearer realm="postern", error="insufficient_user_authentication", ` +
			`error_description="A stronger or more recent authentication is needed.", acr_values="` + acrTwo + `"`
		if challenge := got.Header().Get("WWW-Authenticate"); challenge != want {
			t.Errorf("got  %s\nwant %s", challenge, want)
		}
		if got.body["email"] != nil || got.body["sub"] != nil {
			t.Errorf("got %s, want no claim", got.Body)
		}
		b := h.signedIn("alice")
		h.addApp(b)
		stronger := h.call(h.Token, "first", redeem("first", h.code(b, h.request("first"))))
		h.want(h.userInfoWith(stronger.text("access_token")), http.StatusOK, "")
		// What the settings tell no more is still demanded.
		cfg := testConfig()
		cfg.MFA.ACR = []string{acrPassword + " => pwd"}
		h.open(h.store.Store, cfg)
		h.want(h.userInfoWith(stronger.text("access_token")), http.StatusUnauthorized, "insufficient_user_authentication")
	})
}

func TestChallengeOfStepUpIsWellFormed(t *testing.T) {
	minute := time.Minute
	for name, c := range map[string]struct {
		stepUp StepUp
		want   string
	}{
		"nothing":    {StepUp{}, ""},
		"acr_values": {StepUp{ACRValues: []string{"phr", "phrh"}}, `, acr_values="phr phrh"`},
		"max_age":    {StepUp{MaxAge: &minute}, `, max_age="60"`},
		"both":       {StepUp{ACRValues: []string{"phr"}, MaxAge: &minute}, `, acr_values="phr", max_age="60"`},
		"quotes":     {StepUp{ACRValues: []string{`a"b\`}}, `, acr_values="a'b?"`},
	} {
		w := httptest.NewRecorder()
		ChallengeStepUp(w, httptest.NewRequest(http.MethodGet, "/", nil), c.stepUp)
		challenge := w.Header().Get("WWW-Authenticate")
		_, after, ok := strings.Cut(challenge, `error_description="A stronger or more recent authentication is needed."`)
		if !ok || after != c.want || w.Code != http.StatusUnauthorized || !strings.HasPrefix(challenge, `Bearer realm="postern", error="insufficient_user_authentication", `) {
			t.Errorf("%s: got %d %s, want %s", name, w.Code, challenge, c.want)
		}
	}
}

func TestDiscoveryTellsTheValuesOfTheSettings(t *testing.T) {
	h := oneHouse(t)
	cfg := testConfig()
	cfg.MFA.ACR = []string{"gold => phr", "silver => mfa"}
	h.open(h.store.Store, cfg)
	if got := h.Capabilities().ACRValues; !reflect.DeepEqual(got, []string{"gold", "silver"}) {
		t.Errorf("got %v", got)
	}
	b := h.signedIn("alice")
	form := h.request("first")
	form.Set("acr_values", "gold silver")
	// One factor has no name here, and none is told.
	if claims := h.told("first", h.code(b, form)); claims["acr"] != nil || !reflect.DeepEqual(claims["amr"], []any{"pwd"}) {
		t.Errorf("got %v", claims)
	}
	h.addApp(b)
	if claims := h.told("first", h.code(b, form)); claims["acr"] != "silver" {
		t.Errorf("got %v", claims)
	}
}
