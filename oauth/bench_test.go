package oauth

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"postern/idp"
	"postern/storage/storagetest"
)

// eachBench runs a benchmark on every database at hand.
func eachBench(b *testing.B, fn func(b *testing.B, h *house)) {
	for name, open := range map[string]func(testing.TB) string{"SQLite": storagetest.SQLite, "PostgreSQL": storagetest.Postgres} {
		b.Run(name, func(b *testing.B) { fn(b, newHouse(b, open(b))) })
	}
}

// eachAlg runs it with both algorithms that ID tokens are signed with most.
func eachAlg(b *testing.B, fn func(b *testing.B, h *house, client string)) {
	eachBench(b, func(b *testing.B, h *house) {
		for alg, client := range map[string]string{"RS256": "first", "ES256": "es256", "EdDSA": "eddsa"} {
			b.Run(alg, func(b *testing.B) { fn(b, h, client) })
		}
	})
}

// posted is a request that costs nothing to make again: what a benchmark measures is its handler.
func (h *house) posted(client, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	r.SetBasicAuth(client, url.QueryEscape(h.secrets[client]))
	return r
}

func (h *house) serveOrFail(b *testing.B, endpoint http.HandlerFunc, r *http.Request, status int) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	endpoint(w, r)
	if w.Code != status {
		b.Fatalf("got %d %s, want %d", w.Code, w.Body, status)
	}
	return w
}

func BenchmarkClientCredentials(b *testing.B) {
	eachBench(b, func(b *testing.B, h *house) {
		b.ReportAllocs()
		for b.Loop() {
			h.serveOrFail(b, h.Token, h.posted("machine", "grant_type=client_credentials&scope=api"), http.StatusOK)
		}
	})
}

func BenchmarkCodeExchange(b *testing.B) {
	eachAlg(b, func(b *testing.B, h *house, client string) {
		browser := h.signedIn("alice")
		target := AuthorizePath + "?" + h.request(client).Encode()
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			at, err := url.Parse(h.get(browser, target).Header().Get("Location"))
			if err != nil {
				b.Fatal(err)
			}
			form := redeem(client, at.Query().Get("code")).Encode()
			b.StartTimer()
			h.serveOrFail(b, h.Token, h.posted(client, form), http.StatusOK)
		}
	})
}

func BenchmarkRefresh(b *testing.B) {
	eachAlg(b, func(b *testing.B, h *house, client string) {
		h.t = b
		token := h.tokensFor(client, "openid profile email offline_access").text("refresh_token")
		b.ReportAllocs()
		for b.Loop() {
			got := h.serveOrFail(b, h.Token, h.posted(client, "grant_type=refresh_token&refresh_token="+token), http.StatusOK)
			_, rest, _ := strings.Cut(got.Body.String(), `"refresh_token":"`)
			token, _, _ = strings.Cut(rest, `"`)
		}
	})
}

func BenchmarkIntrospection(b *testing.B) {
	eachBench(b, func(b *testing.B, h *house) {
		form := url.Values{"token": {h.tokensFor("first", "openid profile email").text("access_token")}}.Encode()
		b.ReportAllocs()
		for b.Loop() {
			h.serveOrFail(b, h.Introspect, h.posted("first", form), http.StatusOK)
		}
	})
}

func BenchmarkUserInfo(b *testing.B) {
	eachBench(b, func(b *testing.B, h *house) {
		token := "Bearer " + h.tokensFor("first", "openid profile email").text("access_token")
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, UserInfoPath, nil)
			r.Header.Set("Authorization", token)
			h.serveOrFail(b, h.UserInfo, r, http.StatusOK)
		}
	})
}

// BenchmarkAuthorize is the SSO round's first half: a session is there and consent is remembered.
func BenchmarkAuthorize(b *testing.B) {
	eachBench(b, func(b *testing.B, h *house) {
		browser := h.signedIn("alice")
		h.code(browser, h.request("web"))
		target, ctx := AuthorizePath+"?"+h.request("web").Encode(), browser.context()
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, target, nil).WithContext(ctx)
			h.serveOrFail(b, h.Authorize, r, http.StatusSeeOther)
		}
	})
}

// BenchmarkSSORound is an authorization request with session and consent, and the exchange.
func BenchmarkSSORound(b *testing.B) {
	eachAlg(b, func(b *testing.B, h *house, client string) {
		browser := h.signedIn("alice")
		target, ctx := AuthorizePath+"?"+h.request(client).Encode(), browser.context()
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, target, nil).WithContext(ctx)
			location := h.serveOrFail(b, h.Authorize, r, http.StatusSeeOther).Header().Get("Location")
			at, err := url.Parse(location)
			if err != nil {
				b.Fatal(err)
			}
			form := redeem(client, at.Query().Get("code")).Encode()
			h.serveOrFail(b, h.Token, h.posted(client, form), http.StatusOK)
		}
	})
}

// BenchmarkPasswordLogIn is the deed without its page, at the cheapest hash, so that what it costs
// beside the hash is seen.
func BenchmarkPasswordLogIn(b *testing.B) {
	eachBench(b, func(b *testing.B, h *house) {
		visitor := newBrowser("alice")
		b.ReportAllocs()
		for b.Loop() {
			_, err := h.p.LogIn(visitor.context(), h.p.BeginOwn("/"), idp.LogIn{Identifier: "alice", Password: testPassword})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
