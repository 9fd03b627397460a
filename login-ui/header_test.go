package loginui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/idp"
)

func TestContentPolicyLetsFormsReachTheRedirectURIAlone(t *testing.T) {
	for _, c := range []struct{ name, redirectURI, want string }{
		{"none", "", ""},
		{"https", "https://rp.example.com/cb?x=1#f", "https://rp.example.com"},
		{"a port", "http://127.0.0.1:39231/cb", "http://127.0.0.1:39231"},
		{"an application's scheme", "com.example.app:/cb", "com.example.app:"},
		{"loopback of IPv6", "http://[::1]:39231/cb", "http:"},
		{"another host of IPv6", "https://[2001:db8::1]/cb", ""},
		{"a policy in the host", "https://a.example;script-src/", ""},
		{"a source in the host", "https://a.example,https:/", ""},
		{"user information", "https://a.example@evil.example/cb", "https://evil.example"},
		{"no address", "://", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := formTarget(c.redirectURI); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPagesKeepToThemselves(t *testing.T) {
	ui := sampleUI(t)
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
	for _, c := range []struct {
		name           string
		redirect       string
		isolated       bool
		policy, opener string
	}{
		{"a page of the authorization flow", "https://rp.example.com/cb", false, policy + " https://rp.example.com", ""},
		{"a page of our own", "", false, policy, ""},
		{"an account page", "", true, policy, "same-origin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/logout", nil)
			f := ui.frame(r)
			f.redirectURI, f.isolated = c.redirect, c.isolated
			ui.show(w, r, http.StatusOK, &signedOutPage{f})
			for name, want := range map[string]string{
				"Content-Security-Policy": c.policy, "Cross-Origin-Opener-Policy": c.opener,
				"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
				"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin", "Content-Language": "en", "Content-Type": "text/html; charset=utf-8",
				"Permissions-Policy": "publickey-credentials-get=(self), publickey-credentials-create=(self), " +
					"camera=(), microphone=(), geolocation=(), payment=(), usb=()",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s:\n got %q\nwant %q", name, got, want)
				}
			}
		})
	}
}

func TestStaticFilesAreKeptUntilTheyChange(t *testing.T) {
	ui := sampleUI(t)
	get := func(address, etag string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", address, nil)
		w.Header().Set("Set-Cookie", "of=another")
		r.Header.Set("If-None-Match", etag)
		ui.Static(w, r)
		return w
	}
	address := ui.assets.address("style.css")
	w := get(address, "")
	etag := w.Header().Get("ETag")
	if w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || etag == "" || w.Body.Len() == 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w.Header().Get("Set-Cookie") != "" {
		t.Error("a cookie in what everybody may keep")
	}
	if w := get(address, etag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("known ETag: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := get("/static/former/style.css", ""); w.Code != 200 || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("of another release: %d %q", w.Code, w.Header().Get("Cache-Control"))
	}
	if w := get("/static/../go.mod", ""); w.Code != http.StatusNotFound {
		t.Errorf("no static file: %d", w.Code)
	}
}

func TestProblemsAreJSONForWhomeverPrefersIt(t *testing.T) {
	const page = "text/html; charset=utf-8"
	for _, c := range []struct{ accept, want string }{
		{"", page},
		{"*/*", page},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", page},
		{"text/html, application/json", page},
		{"application/json", "application/problem+json"},
		{"application/json, text/html;q=0.5", "application/problem+json"},
		{"application/json;q=0", page},
		{"application/problem+json", "application/problem+json"},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/nowhere", nil)
		r.Header.Set("Accept", c.accept)
		sampleUI(t).NotFound(w, r)
		if got := w.Header().Get("Content-Type"); got != c.want || w.Code != http.StatusNotFound {
			t.Errorf("Accept %q: %d %q, want %q", c.accept, w.Code, got, c.want)
		}
	}
}

func TestDevelopersSeeTheDetailsOfWhatAClientDidWrong(t *testing.T) {
	for code, want := range map[string]bool{
		"client_missing": true, "client_unknown": true, "client_disabled": true, "redirect_uri_missing": true,
		"redirect_uri_unregistered": true, "request_malformed": true,
		"interaction_expired": false, "interaction_unreadable": false, "cookies_blocked": false, "unavailable": false,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/oauth2/authorize", nil)
		sampleUI(t).ShowProblem(w, r, idp.Problem{Status: 400, Code: code})
		page := w.Body.String()
		if got := len(named(elements(t, page), "dl")) == 1; got != want || want && !strings.Contains(page, `<dd dir="ltr">`+code) {
			t.Errorf("%s: details %v, want %v", code, got, want)
		}
	}
}

func TestProblemShowsWhatWasSentAsTextOnly(t *testing.T) {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/oauth2/authorize?redirect_uri=x", nil)
	sampleUI(t).ShowProblem(w, r, idp.Problem{
		Status: 400, Code: "redirect_uri_unregistered", Client: "<b>Grafana</b>", Hint: "redirect_uri_host",
		Facts: []idp.Fact{{Name: "redirect_uri", Value: "javascript:alert(1)"}}, Back: "https://evil.example/",
	})
	for _, n := range elements(t, w.Body.String()) {
		if href := attribute(n, "href"); n.Data == "b" || n.Data == "a" && href != "#main" && href != "/account" && href != "mailto:help@example.com" {
			t.Errorf("<%s href=%q> came from the request", n.Data, href)
		}
	}
}
