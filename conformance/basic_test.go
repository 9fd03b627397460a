package conformance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/conformance/rp"
)

// A module is one test of the OpenID Foundation's suite, begun with a browser of its own in which
// nobody is signed in. What the suite only warns of fails here too.
type module struct {
	*testing.T
	target
	browser *rp.Browser
}

// basicOP are the modules of the plan oidcc-basic-certification-test-plan, each with the prefix
// "oidcc-". The slowest comes first, so that its wait is beside the others' work.
var basicOP = []struct {
	name string
	run  func(m *module)
}{
	{"codereuse-30seconds", (*module).codeReuseAfter30Seconds},
	{"server", (*module).server},
	{"response-type-missing", (*module).responseTypeMissing},
	{"idtoken-signature", (*module).idTokenSignature},
	{"idtoken-unsigned", (*module).idTokenUnsigned},
	{"userinfo-get", (*module).userInfoGet},
	{"userinfo-post-header", (*module).userInfoPostHeader},
	{"userinfo-post-body", (*module).userInfoPostBody},
	{"ensure-request-without-nonce-succeeds-for-code-flow", (*module).withoutNonce},
	{"scope-profile", scope("profile")},
	{"scope-email", scope("email")},
	{"scope-address", scope("address")},
	{"scope-phone", scope("phone")},
	{"scope-all", scope("profile", "email", "address", "phone")},
	{"alternate-happy-flow", (*module).alternateHappyFlow},
	{"display-page", parameter("display", "page")},
	{"display-popup", parameter("display", "popup")},
	{"prompt-login", (*module).promptLogin},
	{"prompt-none-not-logged-in", (*module).promptNoneNotLoggedIn},
	{"prompt-none-logged-in", (*module).promptNoneLoggedIn},
	{"max-age-1", (*module).maxAge1},
	{"max-age-10000", (*module).maxAge10000},
	{"ensure-request-with-unknown-parameter-succeeds", parameter("extra", "foobar")},
	{"id-token-hint", (*module).idTokenHint},
	{"login-hint", (*module).loginHint},
	{"ui-locales", parameter("ui_locales", "se")},
	{"claims-locales", parameter("claims_locales", "se")},
	{"ensure-request-with-acr-values-succeeds", (*module).acrValues},
	{"codereuse", (*module).codeReuse},
	{"ensure-registered-redirect-uri", (*module).registeredRedirectURI},
	{"ensure-post-request-succeeds", (*module).postRequest},
	{"server-client-secret-post", (*module).serverClientSecretPost},
	{"request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", (*module).requestURIUnsigned},
	{"unsigned-request-object-supported-correctly-or-rejected-as-unsupported", (*module).unsignedRequestObject},
	{"claims-essential", (*module).claimsEssential},
	{"ensure-request-object-with-redirect-uri", (*module).requestObjectWithRedirectURI},
	{"refresh-token", (*module).refreshToken},
	{"ensure-request-with-valid-pkce-succeeds", (*module).validPKCE},
}

func TestBasicOP(t *testing.T) {
	t.Parallel()
	if got, want := len(basicOP), 38; got != want {
		t.Fatalf("%d modules, want the plan's %d", got, want)
	}
	found := theTarget(t)
	for _, test := range basicOP {
		t.Run("oidcc-"+test.name, func(t *testing.T) {
			t.Parallel()
			test.run(&module{T: t, target: found, browser: newBrowser(found.basic.RedirectURI)})
		})
	}
}

// newBrowser is a browser that stops at redirectURI and what is below it.
func newBrowser(redirectURI string) *rp.Browser {
	return &rp.Browser{StopAt: func(u *url.URL) bool {
		return strings.HasPrefix(u.String(), redirectURI)
	}}
}

// request is the suite's: with state and nonce, and without PKCE but where a module asks for it.
func (m *module) request(params ...string) *rp.Request {
	return m.basic.NewRequest(append([]string{"code_challenge", ""}, params...)...)
}

// signIn goes the whole way, as the client party, and fails where anything is not as it must be.
func (m *module) signIn(request *rp.Request) rp.SignedIn {
	m.Helper()
	return m.signInAt(m.basic, request)
}

func (m *module) signInAt(party rp.RelyingParty, request *rp.Request) rp.SignedIn {
	m.Helper()
	signedIn, err := party.SignIn(m.Context(), m.browser, m.person, request)
	if err != nil {
		m.Fatal(err)
	}
	return signedIn
}

// silently goes the whole way and fails where a page was shown.
func (m *module) silently(request *rp.Request) rp.SignedIn {
	m.Helper()
	before := len(m.browser.Hops)
	signedIn := m.signIn(request)
	m.judgeNoPage(before)
	return signedIn
}

func (m *module) judgeNoPage(before int) {
	m.Helper()
	for _, hop := range m.browser.Hops[before:] {
		if hop.Status != 0 && (hop.Status < 300 || hop.Status > 399) {
			m.Errorf("a page was shown: %s %s with %d", hop.Method, hop.URL, hop.Status)
		}
	}
}

// visit sends the browser to request and returns where it ends up without the person's doing.
func (m *module) visit(address string) *rp.Page {
	m.Helper()
	page, err := m.browser.OpenFrom(m.Context(), m.basic.RedirectURI, address)
	if err != nil {
		m.Fatal(err)
	}
	return page
}

// userInfo asks with GET and judges the form of the answer.
func (m *module) userInfo(s rp.SignedIn) rp.Claims {
	m.Helper()
	answer, err := m.provider.UserInfo(m.Context(), s.Tokens.AccessToken)
	if err != nil {
		m.Fatal(err)
	}
	return m.judgeUserInfo(answer, s)
}

func (m *module) judgeUserInfo(answer *rp.Answer, s rp.SignedIn) rp.Claims {
	m.Helper()
	claims, err := answer.Claims()
	if err != nil {
		m.Fatal(err)
	}
	if err := rp.JudgeUserInfo(claims, s.Claims.Text("sub")); err != nil {
		m.Error(err)
	}
	return claims
}

// judgeSameAuthentication holds that both speak of the same sign-in of the same person.
func (m *module) judgeSameAuthentication(first, second rp.Claims) {
	m.Helper()
	for _, name := range []string{"sub", "auth_time"} {
		if first[name] != second[name] {
			m.Errorf("%s: first %v, then %v", name, first[name], second[name])
		}
	}
}

// judgeAnew holds that the person signed in again, later.
func (m *module) judgeAnew(first, second rp.SignedIn) {
	m.Helper()
	if second.SignIns != 1 {
		m.Errorf("%d pages asked for the password, want 1", second.SignIns)
	}
	if got, want := second.Claims.Text("sub"), first.Claims.Text("sub"); got != want {
		m.Errorf("sub: got %q, want %q", got, want)
	}
	before, after := first.Claims.Number("auth_time"), second.Claims.Number("auth_time")
	if after != 0 && after <= before {
		m.Errorf("auth_time: first %v, then %v", before, after)
	}
}

// wait is one that a module prescribes.
func (m *module) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-m.Context().Done():
	}
}

// errorAt reads the error that arrived at the redirect URI.
func (m *module) errorAt(request *rp.Request, page *rp.Page) rp.AuthorizationResponse {
	m.Helper()
	if !page.Stopped {
		m.Fatalf("want an error at the redirect URI, got %s", page)
	}
	response, err := m.basic.ReadResponse(request, page.URL)
	if err != nil {
		m.Fatal(err)
	}
	return response
}

// judgeErrorPage holds that page is the provider's own, and tells of a problem.
func (m *module) judgeErrorPage(page *rp.Page) {
	m.Helper()
	if page.Stopped {
		m.Fatalf("the browser was sent to %s", page.URL)
	}
	if page.Status < 400 || page.Status > 499 || page.Text() == "" {
		m.Errorf("want an error page, got %s", page)
	}
}

func (m *module) server() {
	signedIn := m.signIn(m.request())
	m.userInfo(signedIn)
	if !m.provider.Supports("token_endpoint_auth_methods_supported", rp.SecretBasic) {
		m.Error("client_secret_basic works and is not advertised")
	}
}

func (m *module) serverClientSecretPost() {
	request := m.post.NewRequest("code_challenge", "")
	m.userInfo(m.signInAt(m.post, request))
	if !m.provider.Supports("token_endpoint_auth_methods_supported", rp.SecretPost) {
		m.Error("client_secret_post works and is not advertised")
	}
}

func (m *module) responseTypeMissing() {
	request := m.request("response_type", "")
	page := m.visit(request.URL())
	if !page.Stopped {
		m.judgeErrorPage(page)
		return
	}
	response := m.errorAt(request, page)
	if want := []string{"unsupported_response_type", "invalid_request"}; !slices.Contains(want, response.Error) {
		m.Errorf("error: got %q, want one of %q", response.Error, want)
	}
}

func (m *module) idTokenSignature() {
	// SignIn verifies it, RS256 by a kid of the published keys: the client registered no algorithm.
	m.signIn(m.request())
}

func (m *module) idTokenUnsigned() {
	if !slices.Contains(m.provider.IDTokenAlgs, "none") {
		m.Skip("none is not among the algorithms for ID tokens; the suite skips this then")
	}
	m.Error("ID tokens without a signature are advertised")
}

func (m *module) userInfoGet() { m.userInfo(m.signIn(m.request())) }

func (m *module) userInfoPostHeader() {
	signedIn := m.signIn(m.request())
	answer, err := m.provider.UserInfoByPost(m.Context(), signedIn.Tokens.AccessToken)
	if err != nil {
		m.Fatal(err)
	}
	m.judgeUserInfo(answer, signedIn)
}

func (m *module) userInfoPostBody() {
	signedIn := m.signIn(m.request())
	answer, err := m.provider.UserInfoByForm(m.Context(), signedIn.Tokens.AccessToken)
	if err != nil {
		m.Fatal(err)
	}
	m.judgeUserInfo(answer, signedIn)
}

func (m *module) withoutNonce() {
	// SignIn holds that the ID token has none either.
	m.userInfo(m.signIn(m.request("nonce", "")))
}

// scope is a module that asks for scopes and wants every claim of them, and of no other.
func scope(scopes ...string) func(m *module) {
	return func(m *module) {
		for _, s := range scopes {
			if !slices.Contains(m.provider.Scopes, s) {
				m.Skipf("the scope %s is not advertised; the suite skips this then", s)
			}
		}
		signedIn := m.signIn(m.request("scope", "openid "+strings.Join(scopes, " ")))
		var got []string
		standard := rp.ScopeClaims("profile", "email", "address", "phone")
		for _, name := range m.userInfo(signedIn).Names() {
			if slices.Contains(standard, name) {
				got = append(got, name)
			}
		}
		if want := rp.ScopeClaims(scopes...); !slices.Equal(got, want) {
			m.Errorf("claims: got %q, want %q", got, want)
		}
	}
}

func (m *module) alternateHappyFlow() {
	request := m.request()
	page := m.visit(request.ReversedURL())
	journey, err := m.person.Answer(m.Context(), page)
	if err != nil {
		m.Fatal(err)
	}
	signedIn := rp.SignedIn{Journey: journey}
	if err := m.basic.Finish(m.Context(), &signedIn, request); err != nil {
		m.Fatal(err)
	}
	m.userInfo(signedIn)
}

// parameter is a module in which one more parameter changes nothing.
func parameter(name, value string) func(m *module) {
	return func(m *module) { m.userInfo(m.signIn(m.request(name, value))) }
}

func (m *module) loginHint() {
	// Nobody of that name needs to exist; the person may sign in by another one.
	issuer, err := url.Parse(m.provider.Issuer)
	if err != nil {
		m.Fatal(err)
	}
	m.signIn(m.request("login_hint", "buffy@"+issuer.Hostname()))
}

func (m *module) promptLogin() {
	first := m.signIn(m.request())
	m.wait(time.Second) // auth_time is in whole seconds
	second := m.signIn(m.request("prompt", "login"))
	m.judgeAnew(first, second)
}

func (m *module) promptNoneNotLoggedIn() {
	request := m.request("prompt", "none")
	page := m.visit(request.URL())
	response := m.errorAt(request, page)
	want := []string{"login_required", "interaction_required", "account_selection_required", "consent_required"}
	if !slices.Contains(want, response.Error) {
		m.Errorf("error: got %q, want one of %q", response.Error, want)
	}
	m.judgeNoPage(0)
}

func (m *module) promptNoneLoggedIn() {
	first := m.signIn(m.request())
	second := m.silently(m.request("prompt", "none"))
	m.judgeSameAuthentication(first.Claims, second.Claims)
}

func (m *module) idTokenHint() {
	first := m.signIn(m.request())
	second := m.silently(m.request("prompt", "none", "id_token_hint", first.Tokens.IDToken))
	m.judgeSameAuthentication(first.Claims, second.Claims)
}

func (m *module) maxAge1() {
	first := m.signIn(m.request())
	m.wait(2 * time.Second)
	second := m.signIn(m.request("max_age", "1"))
	m.judgeAnew(first, second)
	if second.Claims["auth_time"] == nil {
		m.Error("max_age was asked for, and there is no auth_time")
	}
}

func (m *module) maxAge10000() {
	first := m.signIn(m.request("max_age", "15000"))
	second := m.signIn(m.request("max_age", "10000"))
	if second.SignIns != 0 {
		m.Error("a sign-in of a moment ago was not recent enough")
	}
	if first.Claims["auth_time"] == nil {
		m.Error("max_age was asked for, and there is no auth_time")
	}
	m.judgeSameAuthentication(first.Claims, second.Claims)
}

func (m *module) acrValues() {
	asked := m.provider.ACRValues
	if len(asked) == 0 {
		asked = []string{"1", "2"}
	}
	signedIn := m.signIn(m.request("acr_values", strings.Join(asked, " ")))
	if got := signedIn.Claims.Text("acr"); !slices.Contains(asked, got) {
		m.Errorf("acr: got %q, want one of %q", got, asked)
	}
}

// reuse redeems the code of s once more and wants to be refused.
func (m *module) reuse(request *rp.Request, s rp.SignedIn) {
	m.Helper()
	answer, err := m.basic.Redeem(m.Context(), request, s.Response.Code)
	if err != nil {
		m.Fatal(err)
	}
	code, err := answer.ErrorCode()
	if err != nil || code != "invalid_grant" {
		m.Errorf("a code that was used: got %q (%v), want invalid_grant", code, err)
	}
}

func (m *module) codeReuse() {
	request := m.request()
	m.reuse(request, m.signIn(request))
}

func (m *module) codeReuseAfter30Seconds() {
	request := m.request()
	signedIn := m.signIn(request)
	m.userInfo(signedIn)
	m.wait(30 * time.Second)
	m.reuse(request, signedIn)
	answer, err := m.provider.UserInfo(m.Context(), signedIn.Tokens.AccessToken)
	if err != nil {
		m.Fatal(err)
	}
	if answer.Status != http.StatusUnauthorized {
		m.Errorf("the access token of a code that was used twice: got %s, want 401", answer)
	}
}

func (m *module) registeredRedirectURI() {
	request := m.request("redirect_uri", m.basic.RedirectURI+"/4XB3qVwZ")
	m.judgeErrorPage(m.visit(request.URL()))
}

func (m *module) postRequest() {
	request := m.request()
	address, err := url.Parse(request.URL())
	if err != nil {
		m.Fatal(err)
	}
	address.RawQuery = ""
	page, err := m.browser.PostFrom(m.Context(), m.basic.RedirectURI, address.String(), request.Params)
	if err != nil {
		m.Fatal(err)
	}
	signedIn := rp.SignedIn{}
	if signedIn.Journey, err = m.person.Answer(m.Context(), page); err != nil {
		m.Fatal(err)
	}
	if err := m.basic.Finish(m.Context(), &signedIn, request); err != nil {
		m.Fatal(err)
	}
	m.userInfo(signedIn)
}

func (m *module) validPKCE() { m.userInfo(m.signIn(m.basic.NewRequest())) }

func (m *module) claimsEssential() {
	claims := `{"userinfo":{"name":{"essential":true}}}`
	// SignIn holds that the ID token has no claim of the person.
	signedIn := m.signIn(m.request("claims", claims))
	if got := m.userInfo(signedIn).Text("name"); got == "" {
		m.Error("name is essential, and userinfo lacks it")
	}
}
