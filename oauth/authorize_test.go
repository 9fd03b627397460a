package oauth

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/idp"
)

// outcome is what a test sees of the authorization endpoint: where it sent the browser, or the
// page that it showed.
func outcome(h *house, w *httptest.ResponseRecorder) (address string, query url.Values) {
	if w.Code != http.StatusSeeOther {
		return "page " + h.pages.last.Code, nil
	}
	at, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		h.t.Fatal(err)
	}
	query = at.Query()
	if at.IsAbs() {
		return at.Scheme + "://" + at.Host + at.Path, query
	}
	return at.Path, query
}

func TestCodeFlowEndsWithTokensThatWork(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		b := newBrowser("alice")
		form := h.request("web")
		form.Set("scope", "openid profile email offline_access")
		answer := h.walk(b, h.authorize(b, form), "alice")
		if answer.Get("state") != "a state-._~" || answer.Get("iss") != testIssuer || answer.Get("tenant") != "1" {
			t.Fatalf("got %v, want state, iss and the redirect URI's own query", answer)
		}
		got := h.call(h.Token, "web", redeem("web", answer.Get("code")))
		h.want(got, http.StatusOK, "")
		if got.text("token_type") != "Bearer" || got.body["expires_in"] != 300.0 ||
			got.text("scope") != "openid profile email offline_access" || got.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("got %s with %v", got.Body, got.Header())
		}
		info := h.userInfoWith(got.text("access_token"))
		h.want(info, http.StatusOK, "")
		if info.text("sub") != h.alice.ID.String() || info.text("email") != "alice@example.org" {
			t.Errorf("userinfo got %s", info.Body)
		}
		again := h.call(h.Token, "web", refresh(got.text("refresh_token")))
		h.want(again, http.StatusOK, "")
		if again.text("refresh_token") == got.text("refresh_token") {
			t.Error("the refresh token did not rotate")
		}
	})
}

func TestWrongClientOrRedirectURIIsAPageAndNeverARedirect(t *testing.T) {
	h := oneHouse(t)
	if err := h.disable("post"); err != nil {
		t.Fatal(err)
	}
	set := func(name, value string) func(url.Values) { return func(f url.Values) { f.Set(name, value) } }
	cases := []struct {
		name   string
		change func(url.Values)
		code   string
		hint   string
	}{
		{"no client_id", func(f url.Values) { f.Del("client_id") }, "client_missing", ""},
		{"unknown client", set("client_id", "nobody"), "client_unknown", ""},
		{"client_id of another shape", set("client_id", "' OR 1=1 --"), "client_unknown", ""},
		{"disabled client", set("client_id", "post"), "client_disabled", ""},
		{"client_id twice", func(f url.Values) { f.Add("client_id", "web") }, "request_malformed", ""},
		{"client_id with NUL", set("client_id", "web\x00"), "request_malformed", ""},
		{"client_id not UTF-8", set("client_id", "web\xff"), "request_malformed", ""},
		{"no redirect_uri", func(f url.Values) { f.Del("redirect_uri") }, "redirect_uri_missing", ""},
		{"redirect_uri twice", func(f url.Values) { f.Add("redirect_uri", webRedirect) }, "request_malformed", ""},
		{"redirect_uri too long", set("redirect_uri", "https://rp.example/"+strings.Repeat("a", 2048)), "request_malformed", ""},
		{"other scheme", set("redirect_uri", "http://rp.example/cb?tenant=1"), "redirect_uri_unregistered", "redirect_uri_scheme"},
		{"other host", set("redirect_uri", "https://evil.example/cb?tenant=1"), "redirect_uri_unregistered", "redirect_uri_host"},
		{"other port", set("redirect_uri", "https://rp.example:8443/cb?tenant=1"), "redirect_uri_unregistered", "redirect_uri_port"},
		{"other path", set("redirect_uri", "https://rp.example/cb2?tenant=1"), "redirect_uri_unregistered", "redirect_uri_path"},
		{"trailing slash", set("redirect_uri", "https://rp.example/cb/?tenant=1"), "redirect_uri_unregistered", "redirect_uri_trailing_slash"},
		{"other case", set("redirect_uri", "https://rp.example/CB?tenant=1"), "redirect_uri_unregistered", "redirect_uri_case"},
		{"other case of the host", set("redirect_uri", "https://RP.example/cb?tenant=1"), "redirect_uri_unregistered", "redirect_uri_case"},
		{"query missing", set("redirect_uri", "https://rp.example/cb"), "redirect_uri_unregistered", "redirect_uri_query"},
		{"query added", set("redirect_uri", webRedirect+"&x=1"), "redirect_uri_unregistered", "redirect_uri_query"},
		{"fragment", set("redirect_uri", webRedirect+"#x"), "redirect_uri_unregistered", ""},
		{"user information", set("redirect_uri", "https://user@rp.example/cb?tenant=1"), "redirect_uri_unregistered", ""},
		{"nothing alike", set("redirect_uri", "javascript:alert(1)"), "redirect_uri_unregistered", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			form := h.request("web")
			c.change(form)
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				w := h.arriveBy(method, h.signedIn("alice"), form)
				if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" || h.pages.last.Code != c.code || h.pages.last.Hint != c.hint {
					t.Errorf("%s: got %d to %q and problem %+v, want 400, %s with hint %q",
						method, w.Code, w.Header().Get("Location"), h.pages.last, c.code, c.hint)
				}
			}
		})
	}
}

// arriveBy sends an authorization request by GET, or by a form of another site, which comes
// without cookies.
func (h *house) arriveBy(method string, b *browser, form url.Values) *httptest.ResponseRecorder {
	if method == http.MethodGet {
		return h.authorize(b, form)
	}
	bare := &browser{idp.Visitor{Address: b.visitor.Address, RequestID: "r-2"}}
	r := httptest.NewRequest(http.MethodPost, AuthorizePath, strings.NewReader(form.Encode())).WithContext(bare.context())
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	h.Authorize(w, r)
	return w
}

func (h *house) disable(clientID string) error {
	clients, err := h.store.Clients(context.Background())
	if err != nil {
		return err
	}
	for _, c := range clients {
		if c.ID == clientID {
			at := h.now.read()
			c.DisabledAt = &at
			c.SecurityVersion++
			if err := h.store.ChangeClient(context.Background(), c); err != nil {
				return err
			}
		}
	}
	if err := h.store.RaiseVersion(context.Background(), idp.VersionClients); err != nil {
		return err
	}
	h.now.turn(6 * time.Second) // the cache polls
	return nil
}

func TestProblemPageTellsWhatWasSentAndNothingThatIsRegistered(t *testing.T) {
	h := oneHouse(t)
	form := h.request("web")
	form.Set("redirect_uri", "http://rp.example/cb?tenant=1")
	h.authorize(newBrowser("x"), form)
	got := h.pages.last
	want := idp.Problem{
		Status: 400, Code: "redirect_uri_unregistered", Client: "The web client", Reference: "r-1", Hint: "redirect_uri_scheme",
		Facts: []idp.Fact{{Name: "client_id", Value: "web"}, {Name: "redirect_uri", Value: "http://rp.example/cb?tenant=1"}},
	}
	if len(got.Facts) != 2 || got.Facts[0] != want.Facts[0] || got.Facts[1] != want.Facts[1] ||
		got.Status != want.Status || got.Code != want.Code || got.Client != want.Client || got.Reference != want.Reference || got.Hint != want.Hint {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFS14_LoopbackPortIsFreeForNativeClientsAlone(t *testing.T) {
	native := &idp.Client{Metadata: idp.Metadata{ApplicationType: "native", RedirectURIs: idp.List{
		"http://127.0.0.1/cb", "http://[::1]:7000/cb", "https://127.0.0.1/tls", "com.example.app:/cb", "http://127.0.0.1/q?a=b",
	}}}
	web := &idp.Client{Metadata: idp.Metadata{ApplicationType: "web", RedirectURIs: native.Metadata.RedirectURIs}}
	cases := []struct {
		uri         string
		native, web bool
	}{
		{"http://127.0.0.1/cb", true, true},
		{"http://127.0.0.1:5555/cb", true, false},
		{"http://[::1]:5555/cb", true, false},
		{"http://[::1]/cb", true, false},
		{"com.example.app:/cb", true, true},
		{"http://127.0.0.1:5555/q?a=b", true, false},
		{"http://127.0.0.1:5555/q", false, false},
		{"http://127.0.0.1:5555/cb?x=y", false, false},
		{"http://127.0.0.1:5555/cb#x", false, false},
		{"http://127.0.0.1:5555/CB", false, false},
		{"http://user@127.0.0.1:5555/cb", false, false},
		{"http://127.0.0.1:80@evil.example/cb", false, false},
		{"http://127.0.0.1:@evil.example/cb", false, false},
		{"http://127.0.0.1:/cb", false, false},
		{"http://127.0.0.1:0/cb", false, false},
		{"http://127.0.0.1:65536/cb", false, false},
		{"http://127.0.0.1.evil.example/cb", false, false},
		{"http://127.0.0.2:5555/cb", false, false},
		{"http://localhost:5555/cb", false, false},
		{"https://127.0.0.1:5555/tls", false, false},
		{"http://127.0.0.1:5555/tls", false, false},
		{"HTTP://127.0.0.1:5555/cb", false, false},
		{"http://127.0.0.1:5555\\@evil.example/cb", false, false},
		{"", false, false},
	}
	for _, c := range cases {
		if got := isRegistered(native, c.uri); got != c.native {
			t.Errorf("native, %q: got %v, want %v", c.uri, got, c.native)
		}
		if got := isRegistered(web, c.uri); got != c.web {
			t.Errorf("web, %q: got %v, want %v", c.uri, got, c.web)
		}
	}
}

func TestEveryRegistrableRedirectURIGetsItsCode(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	registered := idp.List{
		"https://rp.example", "https://rp.example/", "https://rp.example/a/b?x=%2Fy&z", "https://rp.example/q?",
		"https://rp.example:8443/cb", "https://[2001:db8::1]/cb", "https://bücher.example/köln", "http://localhost:3000/cb",
		"com.example.app:/signed-in", "com.example.app:signed-in", "com.example.app://host/signed-in", nativeRedirect,
	}
	h.change("native", func(c *idp.Client) { c.Metadata.RedirectURIs, c.Metadata.FirstParty = registered, true })
	for _, uri := range append(registered, "http://127.0.0.1:61234/cb") {
		form := h.request("native")
		form.Set("redirect_uri", uri)
		w := h.authorize(b, form)
		location := w.Header().Get("Location")
		rest, ok := strings.CutPrefix(location, ascii(uri))
		if !ok || strings.Trim(location, asciiLetters) != "" || !strings.Contains(rest, "code=ac_") {
			t.Errorf("%s: got %d to %q", uri, w.Code, location)
			continue
		}
		answer, err := url.ParseQuery(rest[1:])
		if err != nil {
			t.Fatal(err)
		}
		sent := redeem("native", answer.Get("code"))
		sent.Set("redirect_uri", uri)
		h.want(h.call(h.Token, "native", sent), http.StatusOK, "")
	}
}

// asciiLetters are all that a header field may have.
var asciiLetters = func() string {
	var all []byte
	for b := byte(0x21); b < 0x7f; b++ {
		all = append(all, b)
	}
	return string(all)
}()

func TestWrongRequestsAreAnsweredAtTheClient(t *testing.T) {
	h := oneHouse(t)
	set := func(pairs ...string) func(url.Values) {
		return func(f url.Values) {
			for i := 0; i < len(pairs); i += 2 {
				f.Set(pairs[i], pairs[i+1])
			}
		}
	}
	cases := []struct {
		name   string
		client string
		change func(url.Values)
		code   string
	}{
		{"no response_type", "web", func(f url.Values) { f.Del("response_type") }, "invalid_request"},
		{"response_type token", "web", set("response_type", "token"), "unsupported_response_type"},
		{"response_type code id_token", "web", set("response_type", "code id_token"), "unsupported_response_type"},
		{"response_type twice", "web", func(f url.Values) { f.Add("response_type", "code") }, "invalid_request"},
		{"response_mode fragment", "web", set("response_mode", "fragment"), "invalid_request"},
		{"FS9 FA unsigned request object", "web", set("request", "eyJhbGciOiJub25lIn0.e30."), "request_not_supported"},
		{"FS9 FB FC request object without openid in the query", "web", set("request", "garbage", "scope", "api"), "request_not_supported"},
		{"FS10 request_uri", "web", set("request_uri", "http://169.254.169.254/latest"), "request_uri_not_supported"},
		{"registration", "web", set("registration", "{}"), "registration_not_supported"},
		{"no PKCE of a confidential client", "web", func(f url.Values) { f.Del("code_challenge"); f.Del("code_challenge_method") }, "invalid_request"},
		{"no PKCE of a public client", "native", func(f url.Values) { f.Del("code_challenge"); f.Del("code_challenge_method") }, "invalid_request"},
		{"PKCE method plain", "web", set("code_challenge_method", "plain"), "invalid_request"},
		{"PKCE without a method means plain", "web", func(f url.Values) { f.Del("code_challenge_method") }, "invalid_request"},
		{"PKCE method without a challenge", "lax", func(f url.Values) { f.Del("code_challenge") }, "invalid_request"},
		{"PKCE challenge too short", "web", set("code_challenge", testChallenge[:42]), "invalid_request"},
		{"PKCE challenge too long", "web", set("code_challenge", testChallenge+"a"), "invalid_request"},
		{"PKCE challenge with a wrong character", "web", set("code_challenge", testChallenge[:42]+"="), "invalid_request"},
		{"no scope", "web", func(f url.Values) { f.Del("scope") }, "invalid_scope"},
		{"scope of spaces", "web", set("scope", "   "), "invalid_scope"},
		{"scope that is not the client's", "web", set("scope", "openid admin"), "invalid_scope"},
		{"scope with a quote", "web", set("scope", `openid "a"`), "invalid_scope"},
		{"scope twice", "web", func(f url.Values) { f.Add("scope", "openid") }, "invalid_request"},
		{"state twice", "web", func(f url.Values) { f.Add("state", "b") }, "invalid_request"},
		{"prompt=create", "web", set("prompt", "create"), "invalid_request"},
		{"unknown prompt", "web", set("prompt", "magic"), "invalid_request"},
		{"prompt=none with another", "web", set("prompt", "none login"), "invalid_request"},
		{"max_age not a number", "web", set("max_age", "soon"), "invalid_request"},
		{"max_age below zero", "web", set("max_age", "-1"), "invalid_request"},
		{"claims not JSON", "web", set("claims", "{"), "invalid_request"},
		{"claims not an object", "web", set("claims", "[]"), "invalid_request"},
		{"id_token_hint garbage", "web", set("id_token_hint", "a.b.c"), "invalid_request"},
		{"nonce not UTF-8", "web", set("nonce", "\xff\xfe"), "invalid_request"},
		{"login_hint with NUL", "web", set("login_hint", "a\x00b"), "invalid_request"},
		{"nonce too long", "web", set("nonce", strings.Repeat("n", 1025)), "invalid_request"},
		{"not registered for codes", "nocode", func(url.Values) {}, "unauthorized_client"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			form := h.request(c.client)
			c.change(form)
			b := h.signedIn("alice")
			h.sent.take()
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				at, query := outcome(h, h.arriveBy(method, b, form))
				wantState := "a state-._~"
				if c.name == "state twice" {
					wantState = ""
				}
				if query.Get("error") != c.code || query.Get("iss") != testIssuer || query.Get("state") != wantState || query.Has("code") {
					t.Errorf("%s: got %s with %v, want %s", method, at, query, c.code)
				}
				if d := query.Get("error_description"); d == "" || d != printable(d) {
					t.Errorf("%s: got the description %q", method, d)
				}
			}
			if sent := h.sent.take(); len(sent) != 0 {
				t.Errorf("sent %v, want no statement", sent)
			}
		})
	}
}

func TestMalformedEncodingIsAnsweredAtTheClient(t *testing.T) {
	h := oneHouse(t)
	for _, extra := range []string{"&x=%zz", "&scope=%", ";a=b"} {
		w := h.get(newBrowser("x"), AuthorizePath+"?"+h.request("web").Encode()+extra)
		if _, query := outcome(h, w); query.Get("error") != "invalid_request" {
			t.Errorf("%s: got %v, want invalid_request", extra, query)
		}
	}
}

func TestStateIsOptionalAndNeverEmpty(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	for _, change := range []func(url.Values){
		func(f url.Values) { f.Del("state") },
		func(f url.Values) { f.Set("state", "") },
	} {
		form := h.request("first")
		change(form)
		w := h.authorize(b, form)
		if location := w.Header().Get("Location"); strings.Contains(location, "state=") || !strings.Contains(location, "code=") {
			t.Errorf("success: got %s, want a code and no state", location)
		}
		form.Set("scope", "nothing")
		w = h.authorize(b, form)
		if location := w.Header().Get("Location"); strings.Contains(location, "state=") || !strings.Contains(location, "error=invalid_scope") {
			t.Errorf("error: got %s, want invalid_scope and no state", location)
		}
	}
}

func TestOneCharacterOfStateAndNonceIsEnough(t *testing.T) {
	h := oneHouse(t)
	form := h.request("first")
	form.Set("state", "x")
	form.Set("nonce", "y")
	b := h.signedIn("alice")
	answer := h.walk(b, h.authorize(b, form), "alice")
	if answer.Get("state") != "x" {
		t.Fatalf("got %v", answer)
	}
	got := h.call(h.Token, "first", redeem("first", answer.Get("code")))
	h.want(got, http.StatusOK, "")
	if claims := h.verifyIDToken(got.text("id_token")); claims["nonce"] != "y" {
		t.Errorf("got nonce %v, want y", claims["nonce"])
	}
}

func TestRedirectURIMayBeOmittedWithoutOpenIDWhereThereIsOne(t *testing.T) {
	h := oneHouse(t)
	form := h.request("lax")
	form.Del("redirect_uri")
	form.Set("scope", "api")
	code := h.code(h.signedIn("alice"), form)
	sent := redeem("lax", code)
	sent.Del("redirect_uri")
	h.want(h.call(h.Token, "lax", sent), http.StatusOK, "")
}

func TestUnknownParametersAreIgnored(t *testing.T) {
	h := oneHouse(t)
	form := h.request("first")
	form.Set("extra", "foobar")
	form.Add("extra", "twice")
	form.Set("display", "popup")
	form.Set("claims_locales", "se")
	form.Set("resource", "https://api.example")
	if at, query := outcome(h, h.authorize(h.signedIn("alice"), form)); query.Get("code") == "" {
		t.Errorf("got %s with %v, want a code", at, query)
	}
}

func TestI25_CrossSitePostIsSealedBeforeASessionIsLookedAt(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		b := h.signedIn("alice")
		form := h.request("first")
		h.sent.take()
		w := h.arriveBy(http.MethodPost, b, form)
		at, query := outcome(h, w)
		if at != AuthorizePath || query.Get("tx") == "" || len(query) != 1 {
			t.Fatalf("got %s with %v, want %s with tx alone", at, query, AuthorizePath)
		}
		if sent := h.sent.take(); len(sent) != 0 {
			t.Errorf("sent %v, want no statement", sent)
		}
		// The browser follows with its cookies.
		answer := h.walk(b, w, "alice")
		h.want(h.call(h.Token, "first", redeem("first", answer.Get("code"))), http.StatusOK, "")
	})
}

func TestI25_LongRequestsBecomeARowAndTheURLStaysShort(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		b := h.signedIn("alice")
		form := h.request("first")
		form.Set("prompt", "login")
		var state strings.Builder // that does not deflate
		for i := range 60 {
			state.WriteString(challengeOf(strings.Repeat("s", i)))
		}
		form.Set("state", state.String())
		form.Set("login_hint", "alice")
		form.Set("claims", `{"userinfo":{"`+strings.Repeat("x", 100)+`":null,"`+state.String()[:120]+`":null}}`)
		form.Set("nonce", state.String()[:1000])
		form.Set("acr_values", state.String()[:500])
		w := h.authorize(b, form)
		if location := w.Header().Get("Location"); len(testIssuer+location) > 6<<10 {
			t.Fatalf("the URL has %d bytes", len(testIssuer+location))
		}
		if answer := h.walk(b, w, "alice"); answer.Get("state") != state.String() || answer.Get("code") == "" {
			t.Errorf("got %v", answer)
		}
	})
}

func TestPostOfSomethingElseThanAFormIsAPage(t *testing.T) {
	h := oneHouse(t)
	for _, c := range []struct {
		contentType, body, code string
		status                  int
	}{
		{"application/json", "{}", "request_malformed", 400},
		{"", "", "request_malformed", 400},
		{formType, "client_id=" + strings.Repeat("a", maxBody), "request_too_large", 413},
		{formType, "%zz", "client_missing", 400},
	} {
		r := httptest.NewRequest(http.MethodPost, AuthorizePath+"?"+h.request("web").Encode(), strings.NewReader(c.body))
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		w := httptest.NewRecorder()
		h.Authorize(w, r)
		if w.Code != c.status || h.pages.last.Code != c.code {
			t.Errorf("%s %.20q: got %d %s, want %d %s", c.contentType, c.body, w.Code, h.pages.last.Code, c.status, c.code)
		}
	}
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		h.Authorize(w, httptest.NewRequest(method, AuthorizePath+"?"+h.request("web").Encode(), nil))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, POST" {
			t.Errorf("%s: got %d, want 405", method, w.Code)
		}
	}
}

func TestPromptNoneIsAnsweredWithTheErrorOfTheStep(t *testing.T) {
	h := oneHouse(t)
	alice := h.signedIn("alice")
	cases := []struct {
		name    string
		browser *browser
		client  string
		change  func(url.Values)
		code    string
	}{
		{"not signed in", newBrowser("nobody"), "web", func(url.Values) {}, "login_required"},
		{"no consent", alice, "web", func(url.Values) {}, "consent_required"},
		{"max_age=0", alice, "first", func(f url.Values) { f.Set("max_age", "0") }, "login_required"},
		{"another user hinted", alice, "first", func(f url.Values) { f.Set("claims", `{"id_token":{"sub":{"value":"`+h.bob.ID.String()+`"}}}`) }, "login_required"},
		{"an essential acr that nobody reaches", alice, "first", func(f url.Values) {
			f.Set("claims", `{"id_token":{"acr":{"essential":true,"values":["gold"]}}}`)
		}, "unmet_authentication_requirements"},
		{"nothing missing", alice, "first", func(url.Values) {}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			form := h.request(c.client)
			form.Set("prompt", "none")
			c.change(form)
			at, query := outcome(h, h.authorize(c.browser, form))
			if at != "https://rp.example/cb" || query.Get("error") != c.code || query.Has("code") != (c.code == "") || query.Get("state") != "a state-._~" {
				t.Errorf("got %s with %v, want %q at the client", at, query, c.code)
			}
		})
	}
}

func TestStepsHaveTheirPages(t *testing.T) {
	h := oneHouse(t)
	alice := h.signedIn("alice")
	h.now.turn(10 * time.Second)
	cases := []struct {
		name    string
		browser *browser
		client  string
		change  func(url.Values)
		page    string
	}{
		{"not signed in", newBrowser("nobody"), "web", func(url.Values) {}, "/login"},
		{"prompt=login", alice, "first", func(f url.Values) { f.Set("prompt", "login") }, "/login"},
		{"max_age is over", alice, "first", func(f url.Values) { f.Set("max_age", "9") }, "/login"},
		{"prompt=select_account", alice, "first", func(f url.Values) { f.Set("prompt", "select_account") }, "/login/continue"},
		{"no consent", alice, "web", func(url.Values) {}, "/consent"},
		{"max_age holds", alice, "first", func(f url.Values) { f.Set("max_age", "10") }, "https://rp.example/cb"},
		{"default_max_age of the client", alice, "aged", func(url.Values) {}, "https://rp.example/cb"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			form := h.request(c.client)
			c.change(form)
			if at, query := outcome(h, h.authorize(c.browser, form)); at != c.page {
				t.Errorf("got %s with %v, want %s", at, query, c.page)
			}
		})
	}
	h.now.turn(time.Minute)
	if at, _ := outcome(h, h.authorize(alice, h.request("aged"))); at != "/login" {
		t.Errorf("default_max_age is over: got %s, want /login", at)
	}
}

func TestPromptLoginIsMetInTheSecondOfTheRequest(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		for _, parameter := range [][2]string{{"prompt", "login"}, {"max_age", "0"}} {
			b := h.signedIn("alice")
			form := h.request("first")
			form.Set(parameter[0], parameter[1])
			w := h.authorize(b, form)
			if at, _ := outcome(h, w); at != "/login" {
				t.Fatalf("%v: got %s, want /login", parameter, at)
			}
			if answer := h.walk(b, w, "alice"); answer.Get("code") == "" {
				t.Errorf("%v: got %v, want a code", parameter, answer)
			}
		}
	})
}

func TestHintsForThePagesSurviveTheSeal(t *testing.T) {
	h := oneHouse(t)
	b := newBrowser("alice")
	form := h.request("web")
	form.Set("login_hint", "nobody@example.org")
	form.Set("ui_locales", "se de")
	form.Set("acr_values", "1 2")
	form.Set("claims", `{"userinfo":{"name":{"essential":true}}}`)
	_, query := outcome(h, h.authorize(b, form))
	in, err := h.p.Open(b.context(), query.Get("tx"))
	if err != nil {
		t.Fatal(err)
	}
	got := in.Request
	if got.LoginHint != "nobody@example.org" || !slices.Equal(got.UILocales, idp.List{"se", "de"}) ||
		!slices.Equal(got.ACRValues, idp.List{"1", "2"}) || !slices.Equal(got.Claims.Names(), []string{"name"}) || got.RedirectURI != webRedirect {
		t.Errorf("got %+v", got)
	}
	// What nobody reaches is not an error where it is not essential, and the acr is the one reached.
	answer := h.walk(b, h.authorize(b, form), "alice")
	tokens := h.call(h.Token, "web", redeem("web", answer.Get("code")))
	if claims := h.verifyIDToken(tokens.text("id_token")); claims["acr"] != idp.ACRPassword {
		t.Errorf("got acr %v, want %s", claims["acr"], idp.ACRPassword)
	}
}

// TestPagesSeeTheAgeThatTheClientRegistered: they know nothing but the sealed form, and would send
// the browser back to the dispatcher, and the dispatcher to them, without end.
func TestPagesSeeTheAgeThatTheClientRegistered(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	h.now.turn(2 * time.Minute)
	asked := h.request("aged")
	asked.Set("max_age", "90")
	huge := int64(1) << 40
	h.change("lax", func(c *idp.Client) { c.Metadata.DefaultMaxAge = &huge })
	for _, c := range []struct {
		name, client string
		form         url.Values
		want         int64
	}{
		{"default_max_age", "aged", h.request("aged"), 60},
		{"max_age in its place", "aged", asked, 90},
		{"one beyond what a request may ask", "lax", h.request("lax"), math.MaxInt32},
	} {
		_, query := outcome(h, h.authorize(b, c.form))
		in, err := h.p.Open(b.context(), query.Get("tx"))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if age := in.Request.MaxAge; age == nil || *age != c.want {
			t.Errorf("%s: the pages see the max_age %v, want %d", c.name, age, c.want)
		}
	}
	if answer := h.walk(b, h.authorize(b, h.request("aged")), "alice"); answer.Get("code") == "" {
		t.Errorf("got %v, want a code after signing in again", answer)
	}
}

func TestResponseModeQueryMayBeNamed(t *testing.T) {
	h := oneHouse(t)
	form := h.request("first")
	form.Set("response_mode", "query")
	if _, query := outcome(h, h.authorize(h.signedIn("alice"), form)); query.Get("code") == "" {
		t.Errorf("got %v, want a code", query)
	}
}

func TestRefusalOfTheEndUserGoesToTheClient(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	_, query := outcome(h, h.authorize(b, h.request("web")))
	in, err := h.p.Open(b.context(), query.Get("tx"))
	if err != nil {
		t.Fatal(err)
	}
	in.Denied = true
	tx, err := h.p.Seal(b.context(), in)
	if err != nil {
		t.Fatal(err)
	}
	at, query := outcome(h, h.get(b, AuthorizePath+"?tx="+tx))
	if at != "https://rp.example/cb" || query.Get("error") != "access_denied" || query.Get("iss") != testIssuer {
		t.Errorf("got %s with %v, want access_denied at the client", at, query)
	}
}

func TestExpiredInteractionStartsAnewWithoutItsDeeds(t *testing.T) {
	h := oneHouse(t)
	b := newBrowser("alice")
	form := h.request("first")
	form.Set("prompt", "login")
	_, query := outcome(h, h.authorize(b, form))
	in, err := h.p.Open(b.context(), query.Get("tx"))
	if err != nil {
		t.Fatal(err)
	}
	h.logIn(b, in, "alice")
	tx, err := h.p.Seal(b.context(), in)
	if err != nil {
		t.Fatal(err)
	}
	h.now.turn(16 * time.Minute)
	w := h.get(b, AuthorizePath+"?tx="+tx)
	if at, _ := outcome(h, w); at != "/login" {
		t.Fatalf("got %s, want the sign-in page: the deed is over", at)
	}
	if answer := h.walk(b, w, "alice"); answer.Get("code") == "" || answer.Get("state") != "a state-._~" {
		t.Errorf("got %v, want the request's code", answer)
	}
}

func TestForeignAndUnreadableInteractionsArePages(t *testing.T) {
	h := oneHouse(t)
	_, query := outcome(h, h.authorize(newBrowser("alice"), h.request("web")))
	tx := query.Get("tx")
	for _, c := range []struct{ name, query, code string }{
		{"another browser's", "tx=" + tx, "interaction_foreign"},
		{"damaged", "tx=" + tx[:len(tx)-4] + "AAAA", "interaction_unreadable"},
		{"garbage", "tx=%00", "interaction_unreadable"},
		{"empty", "tx=", "interaction_unreadable"},
		{"twice", "tx=" + tx + "&tx=" + tx, "interaction_unreadable"},
	} {
		at, _ := outcome(h, h.get(newBrowser("mallory"), AuthorizePath+"?"+c.query))
		if at != "page "+c.code || h.pages.last.Status != http.StatusBadRequest {
			t.Errorf("%s: got %s, want page %s", c.name, at, c.code)
		}
	}
}

func TestSealedRequestIsJudgedAnew(t *testing.T) {
	h := oneHouse(t)
	b := newBrowser("alice")
	_, query := outcome(h, h.authorize(b, h.request("web")))
	if err := h.disable("web"); err != nil {
		t.Fatal(err)
	}
	if at, _ := outcome(h, h.get(b, AuthorizePath+"?"+query.Encode())); at != "page client_disabled" {
		t.Errorf("got %s, want page client_disabled", at)
	}
}

func TestI18_DeedForAPromptCompletesOnce(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		b := newBrowser("alice")
		form := h.request("first")
		form.Set("prompt", "login")
		_, query := outcome(h, h.authorize(b, form))
		in, err := h.p.Open(b.context(), query.Get("tx"))
		if err != nil {
			t.Fatal(err)
		}
		h.logIn(b, in, "alice")
		tx, err := h.p.Seal(b.context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if _, query := outcome(h, h.get(b, AuthorizePath+"?tx="+tx)); query.Get("code") == "" {
			t.Fatalf("got %v, want a code", query)
		}
		if at, _ := outcome(h, h.get(b, AuthorizePath+"?tx="+tx)); at != "page interaction_completed" {
			t.Errorf("second time: got %s, want page interaction_completed", at)
		}
	})
}

func TestI18_RequestWithoutDeedsMayCompleteAgain(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	_, query := outcome(h, h.arriveBy(http.MethodPost, b, h.request("first")))
	first := h.get(b, AuthorizePath+"?"+query.Encode())
	second := h.get(b, AuthorizePath+"?"+query.Encode())
	_, one := outcome(h, first)
	_, two := outcome(h, second)
	if one.Get("code") == "" || two.Get("code") == "" || one.Get("code") == two.Get("code") {
		t.Errorf("got %v and %v, want two codes", one, two)
	}
}

func TestSignInOfOurOwnEndsAtItsPath(t *testing.T) {
	h := oneHouse(t)
	b := newBrowser("alice")
	in := h.p.BeginOwn("/account")
	tx, err := h.p.Seal(b.context(), in)
	if err != nil {
		t.Fatal(err)
	}
	w := h.get(b, AuthorizePath+"?tx="+tx)
	at, query := outcome(h, w)
	if at != "/login" {
		t.Fatalf("got %s, want /login", at)
	}
	in, err = h.p.Open(b.context(), query.Get("tx"))
	if err != nil {
		t.Fatal(err)
	}
	h.logIn(b, in, "alice")
	if tx, err = h.p.Seal(b.context(), in); err != nil {
		t.Fatal(err)
	}
	if at, _ := outcome(h, h.get(b, AuthorizePath+"?tx="+tx)); at != "/account" {
		t.Errorf("got %s, want /account", at)
	}
	h.now.turn(16 * time.Minute)
	if at, _ := outcome(h, h.get(b, AuthorizePath+"?tx="+tx)); at != "/account" {
		t.Errorf("expired: got %s, want /account", at)
	}
}

func TestFD_IDTokenHintNamesWhoMustBeSignedIn(t *testing.T) {
	h := oneHouse(t)
	got := h.tokensFor("first", "openid")
	hint := got.text("id_token")
	h.now.turn(2 * time.Hour) // it has expired, which does not matter
	ask := func(username, client, hint string) url.Values {
		form := h.request(client)
		form.Set("prompt", "none")
		form.Set("id_token_hint", hint)
		_, query := outcome(h, h.authorize(h.signedIn(username), form))
		return query
	}
	if query := ask("alice", "first", hint); query.Get("code") == "" {
		t.Errorf("her own hint: got %v, want a code", query)
	}
	eddsa := h.tokensFor("eddsa", "openid").text("id_token")
	if query := ask("alice", "eddsa", eddsa); query.Get("code") == "" {
		t.Errorf("FD, a hint that Ed25519 signed: got %v, want a code", query)
	}
	if query := ask("bob", "first", hint); query.Get("error") != "login_required" {
		t.Errorf("bob with alice's hint: got %v, want login_required", query)
	}
	if query := ask("alice", "es256", hint); query.Get("error") != "invalid_request" {
		t.Errorf("a hint of another client: got %v, want invalid_request", query)
	}
	if query := ask("alice", "first", hint[:len(hint)-6]+"AAAAAA"); query.Get("error") != "invalid_request" {
		t.Errorf("a hint with a wrong signature: got %v, want invalid_request", query)
	}
	// The key is retired, and still published.
	if _, err := h.p.RotateKey(t.Context(), "RS256", true); err != nil {
		t.Fatal(err)
	}
	if query := ask("alice", "first", hint); query.Get("code") == "" {
		t.Errorf("a hint of a retired key: got %v, want a code", query)
	}
	form := h.request("first")
	form.Set("id_token_hint", hint)
	b := h.signedIn("bob")
	w := h.authorize(b, form)
	at, query := outcome(h, w)
	if at != "/login" {
		t.Fatalf("got %s, want /login", at)
	}
	in, err := h.p.Open(b.context(), query.Get("tx"))
	if err != nil || in.Request.Subject != h.alice.ID {
		t.Errorf("the sealed request names %v (%v), want alice", in.Request.Subject, err)
	}
	if at, _ := outcome(h, h.get(b, AuthorizePath+"?"+query.Encode())); at != "/login" {
		t.Errorf("bob comes back without signing in: got %s, want /login", at)
	}
	if answer := h.walk(b, w, "alice"); answer.Get("code") == "" {
		t.Errorf("got %v, want a code for alice", answer)
	}
}

func TestStoreFailureIsAPageAndTheRequestIsNotLost(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	for _, c := range []struct {
		name          string
		reads, writes bool
	}{{"reading", true, false}, {"writing", false, true}} {
		h.store.fail(c.reads, c.writes)
		w := h.authorize(b, h.request("first"))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || h.pages.last.Code != "unavailable" {
			t.Errorf("%s: got %d and %+v, want 503", c.name, w.Code, h.pages.last)
		}
		h.store.fail(false, false)
		if _, query := outcome(h, h.authorize(b, h.request("first"))); query.Get("code") == "" {
			t.Errorf("%s, afterwards: got %v, want a code", c.name, query)
		}
	}
}

func TestAnswersOfTheAuthorizationEndpointAreNotStored(t *testing.T) {
	h := oneHouse(t)
	w := h.authorize(h.signedIn("alice"), h.request("first"))
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("got %v", w.Header())
	}
}
