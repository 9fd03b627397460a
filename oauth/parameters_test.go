package oauth

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// spoilings are what no parameter of any endpoint may be.
var spoilings = map[string]func(form url.Values, name string){
	"doubled":      func(f url.Values, name string) { f[name] = []string{"a", "a"} },
	"oversized":    func(f url.Values, name string) { f.Set(name, strings.Repeat("a", maxParameter+1)) },
	"not UTF-8":    func(f url.Values, name string) { f.Set(name, "a\xc3\x28") },
	"with NUL":     func(f url.Values, name string) { f.Set(name, "a\x00b") },
	"UTF-16":       func(f url.Values, name string) { f.Set(name, "\xff\xfea\x00") },
	"a surrogate":  func(f url.Values, name string) { f.Set(name, "\xed\xa0\x80") },
	"doubled void": func(f url.Values, name string) { f[name] = []string{"", ""} },
}

func TestEveryParameterOfTheAuthorizationEndpointSpoilt(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	for name := range parameters {
		for how, spoil := range spoilings {
			t.Run(name+" "+how, func(t *testing.T) {
				form := h.request("first")
				spoil(form, name)
				h.sent.take()
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					at, query := outcome(h, h.arriveBy(method, b, form))
					switch name {
					case "client_id", "redirect_uri":
						if at != "page request_malformed" {
							t.Errorf("%s: got %s %v, want the page request_malformed", method, at, query)
						}
					default:
						if query.Get("error") != "invalid_request" || query.Has("code") || !strings.HasPrefix(at, "https://rp.example/") {
							t.Errorf("%s: got %s %v, want invalid_request at the client", method, at, query)
						}
					}
				}
				if sent := h.sent.take(); len(sent) != 0 {
					t.Errorf("sent %v, want no statement", sent)
				}
			})
		}
	}
}

func TestEveryParameterOfTheJSONEndpointsSpoilt(t *testing.T) {
	h := oneHouse(t)
	tokens := h.tokensFor("web", "openid offline_access")
	code := h.code(h.signedIn("alice"), h.request("web"))
	endpoints := map[string]struct {
		serve http.HandlerFunc
		form  url.Values
		more  []string
	}{
		"code":        {h.Token, redeem("web", code), []string{"client_id", "client_secret", "scope", "unknown"}},
		"refresh":     {h.Token, refresh(tokens.text("refresh_token")), []string{"client_id", "client_secret", "scope"}},
		"credentials": {h.Token, url.Values{"grant_type": {"client_credentials"}, "scope": {"api"}}, []string{"client_assertion"}},
		"introspect":  {h.Introspect, url.Values{"token": {tokens.text("access_token")}, "token_type_hint": {"access_token"}}, nil},
		"revoke":      {h.Revoke, url.Values{"token": {tokens.text("access_token")}, "token_type_hint": {"access_token"}}, nil},
	}
	for endpoint, e := range endpoints {
		for _, name := range slices.Concat(slices.Sorted(maps.Keys(e.form)), e.more) {
			for how, spoil := range spoilings {
				t.Run(endpoint+" "+name+" "+how, func(t *testing.T) {
					form := maps.Clone(e.form)
					spoil(form, name)
					h.sent.take()
					h.want(h.call(e.serve, "web", form), http.StatusBadRequest, "invalid_request")
					if sent := h.sent.take(); len(sent) != 0 {
						t.Errorf("sent %v, want no statement", sent)
					}
				})
			}
		}
	}
	// Nothing was changed by any of it.
	h.want(h.userInfoWith(tokens.text("access_token")), http.StatusOK, "")
	h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusOK, "")
	h.want(h.call(h.Token, "web", refresh(tokens.text("refresh_token"))), http.StatusOK, "")
}

// TestNamesOfParametersAreCutInErrors: some of them stand in a header.
func TestNamesOfParametersAreCutInErrors(t *testing.T) {
	h := oneHouse(t)
	form := url.Values{strings.Repeat("n", 20<<10): {"a", "a"}}
	r := httptest.NewRequest(http.MethodPost, UserInfoPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	got := h.serve(h.UserInfo, r)
	h.want(got, http.StatusBadRequest, "invalid_request")
	if n := len(got.Header().Get("WWW-Authenticate")); n > 256 {
		t.Errorf("WWW-Authenticate has %d bytes, want 256 at most", n)
	}
}

func TestEveryParameterOfTheTokenEndpointMissing(t *testing.T) {
	h := oneHouse(t)
	tokens := h.tokensFor("web", "openid offline_access")
	code := h.code(h.signedIn("alice"), h.request("web"))
	for _, c := range []struct {
		form    url.Values
		missing string
		code    string
	}{
		{redeem("web", code), "grant_type", "invalid_request"},
		{redeem("web", code), "code", "invalid_request"},
		{redeem("web", code), "redirect_uri", "invalid_grant"},
		{redeem("web", code), "code_verifier", "invalid_grant"},
		{refresh(tokens.text("refresh_token")), "grant_type", "invalid_request"},
		{refresh(tokens.text("refresh_token")), "refresh_token", "invalid_request"},
	} {
		for _, void := range []bool{true, false} { // RFC 6749 §3.2: without a value means omitted
			form := maps.Clone(c.form)
			if form.Del(c.missing); void {
				form.Set(c.missing, "")
			}
			if got := h.call(h.Token, "web", form); got.Code != http.StatusBadRequest || got.text("error") != c.code {
				t.Errorf("without %s: got %d %s, want %s", c.missing, got.Code, got.Body, c.code)
			}
		}
	}
	h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusOK, "")
}

// FuzzAuthorize holds what is true of every request: no panic, no 5xx, no statement without a
// session, a redirect only to a registered redirect URI, and an error that the standards allow.
func FuzzAuthorize(f *testing.F) {
	h := oneHouse(f)
	f.Add(h.request("web").Encode())
	f.Add(h.request("native").Encode())
	f.Add("client_id=lax&response_type=code&scope=api")
	f.Add("tx=AAAA&client_id=web")
	f.Add(h.request("first").Encode() + "&claims=%7B%22id_token%22%3A%7B%22sub%22%3Anull%7D%7D&prompt=none&max_age=0")
	f.Add(h.request("first").Encode() + "&claims=%7B%22userinfo%22%3A%7B%22x%22%3Anull%2C%22name%22%3A%7B%22values%22%3A%5B1e20%5D%7D%7D%7D")
	f.Add(h.request("web").Encode() + "&request=e30.e30.&id_token_hint=a.b.c")
	f.Add("client_id=native&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%40evil%2Fcb&state=%00&a=%zz;")
	f.Fuzz(func(t *testing.T, query string) {
		h.sent.take()
		r := httptest.NewRequest(http.MethodGet, AuthorizePath, nil).WithContext(newBrowser("fuzz").context())
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.Authorize(w, r)
		if verbs := h.sent.take(); len(verbs) > 0 && !slices.Contains(verbs, "INSERT") {
			t.Errorf("sent %v", verbs) // an INSERT keeps a request that is too long for a URL
		}
		switch {
		case w.Code == http.StatusSeeOther:
			checkFuzzedRedirect(t, w.Header().Get("Location"))
		case w.Code < 400 || w.Code >= 500 || h.pages.last.Code == "":
			t.Errorf("got %d %+v", w.Code, h.pages.last)
		}
		for _, fact := range h.pages.last.Facts {
			if !utf8.ValidString(fact.Value) || strings.Contains(fact.Value, "\x00") || len(fact.Value) > 2048 {
				t.Errorf("the page would show %q", fact.Value)
			}
		}
	})
}

func checkFuzzedRedirect(t *testing.T, location string) {
	t.Helper()
	at, err := url.Parse(location)
	if err != nil {
		t.Fatalf("location %q: %v", location, err)
	}
	if at.Path == "/login" && !at.IsAbs() && at.Query().Has("tx") {
		return
	}
	registered := strings.HasPrefix(location, "https://rp.example/cb?tenant=1&") || strings.HasPrefix(location, "https://rp.example/other?") ||
		at.Scheme == "http" && at.Path == "/cb" && at.User == nil && (at.Hostname() == "127.0.0.1" || at.Hostname() == "::1")
	if !registered {
		t.Fatalf("redirects to %q", location)
	}
	answer := at.Query()
	if answer.Get("iss") != testIssuer || answer.Has("code") || !slices.Contains([]string{
		"invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope",
		"login_required", "unmet_authentication_requirements",
		"request_not_supported", "request_uri_not_supported", "registration_not_supported",
	}, answer.Get("error")) {
		t.Errorf("answers %v", answer)
	}
}

// FuzzToken holds that no body of a request makes the token endpoint fail or issue anything.
func FuzzToken(f *testing.F) {
	h := oneHouse(f)
	f.Add("grant_type=authorization_code&code=ac_x&client_id=native&code_verifier=x", "")
	f.Add("grant_type=refresh_token&refresh_token=rt_x&client_id=native&scope=%22", "")
	f.Add("grant_type=client_credentials", "Basic d2ViOng=")
	f.Add("grant_type=client_credentials&client_id=post&client_secret=x", "Bearer x")
	f.Fuzz(func(t *testing.T, body, header string) {
		r := httptest.NewRequest(http.MethodPost, TokenPath, strings.NewReader(body))
		r.Header.Set("Content-Type", formType)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		got := h.serve(h.Token, r)
		if got.Code < 400 || got.Code >= 500 || got.text("error") == "" || got.text("error_description") != printable(got.text("error_description")) {
			t.Errorf("got %d %s", got.Code, got.Body)
		}
	})
}
