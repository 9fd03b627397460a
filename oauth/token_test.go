package oauth

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/idp"
	"postern/storage/storagetest"
)

// grantOf is the grant of a token, as the store has it.
func (h *house) grantOf(kind idp.TokenKind, token string) idp.Grant {
	h.t.Helper()
	parsed, ok := h.tokens.Parse(kind, token)
	if !ok {
		h.t.Fatalf("%.10s… is not genuine", token)
	}
	visit, err := h.store.Grant(context.Background(), parsed.Grant, false)
	if err != nil {
		h.t.Fatal(err)
	}
	return visit.Grant
}

func TestFS1_PKCEIsNotBypassedAfterAWrongVerifier(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		for _, client := range []string{"web", "lax", "native"} {
			code := h.code(h.signedIn("alice"), h.request(client))
			form := redeem(client, code)
			form.Set("code_verifier", strings.Repeat("x", 50))
			h.want(h.call(h.Token, client, form), http.StatusBadRequest, "invalid_grant")
			form.Del("code_verifier")
			h.want(h.call(h.Token, client, form), http.StatusBadRequest, "invalid_grant")
			h.want(h.call(h.Token, client, redeem(client, code)), http.StatusOK, "")
		}
	})
}

func TestPKCEDowngradeIsRefused(t *testing.T) {
	// RFC 9700 §4.8.2: a verifier for a code that was asked for without a challenge.
	h := oneHouse(t)
	form := h.request("lax")
	form.Del("code_challenge")
	form.Del("code_challenge_method")
	code := h.code(h.signedIn("alice"), form)
	h.want(h.call(h.Token, "lax", redeem("lax", code)), http.StatusBadRequest, "invalid_grant")
	plain := redeem("lax", code)
	plain.Del("code_verifier")
	h.want(h.call(h.Token, "lax", plain), http.StatusOK, "")
}

// TestFS2StolenCodeCannotBeBurnedOrUsed is also I-12.
func TestFS2_I12_StolenCodeCannotBeBurnedOrUsed(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		code := h.code(h.signedIn("alice"), h.request("web"))
		attacks := []struct {
			name   string
			client string
			change func(url.Values)
			status int
			code   string
		}{
			{"another client", "other", func(url.Values) {}, 400, "invalid_grant"},
			{"a public client", "native", func(url.Values) {}, 400, "invalid_grant"},
			{"nobody", "", func(url.Values) {}, 401, "invalid_client"},
			{"its client without a secret", "", func(f url.Values) { f.Set("client_id", "web") }, 401, "invalid_client"},
			{"a wrong redirect URI", "web", func(f url.Values) { f.Set("redirect_uri", "https://rp.example/other") }, 400, "invalid_grant"},
			{"no redirect URI", "web", func(f url.Values) { f.Del("redirect_uri") }, 400, "invalid_grant"},
			{"a wrong verifier", "web", func(f url.Values) { f.Set("code_verifier", strings.Repeat("y", 43)) }, 400, "invalid_grant"},
			{"no verifier", "web", func(f url.Values) { f.Del("code_verifier") }, 400, "invalid_grant"},
			{"a short verifier", "web", func(f url.Values) { f.Set("code_verifier", "short") }, 400, "invalid_grant"},
		}
		attack := func(when string) {
			for _, a := range attacks {
				form := redeem("web", code)
				a.change(form)
				got := h.call(h.Token, a.client, form)
				if got.Code != a.status || got.text("error") != a.code {
					t.Errorf("%s, %s: got %d %s, want %d %s", when, a.name, got.Code, got.Body, a.status, a.code)
				}
			}
		}
		attack("unused")
		got := h.call(h.Token, "web", redeem("web", code))
		h.want(got, http.StatusOK, "")
		attack("used")
		if g := h.grantOf(idp.CodeToken, code); g.RevokedAt != nil {
			t.Fatalf("the family was revoked by a stranger: %s", g.RevokedWhy)
		}
		h.want(h.userInfoWith(got.text("access_token")), http.StatusOK, "")

		// Its owner shows it again.
		h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusBadRequest, "invalid_grant")
		if g := h.grantOf(idp.CodeToken, code); g.RevokedAt == nil {
			t.Error("the owner's replay did not revoke the family")
		}
		h.want(h.userInfoWith(got.text("access_token")), http.StatusUnauthorized, "invalid_token")
		h.want(h.call(h.Token, "web", refresh(got.text("refresh_token"))), http.StatusBadRequest, "invalid_grant")
	})
}

func TestFS7_FE_CodeIsRedeemedOnceBySixteenAtOnce(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		code := h.code(h.signedIn("alice"), h.request("web"))
		got := h.race(16, "web", redeem("web", code))
		var good []answer
		for _, a := range got {
			if a.Code == http.StatusOK {
				good = append(good, a)
				continue
			}
			if a.Code != http.StatusBadRequest || a.text("error") != "invalid_grant" {
				t.Errorf("a loser got %d %s, want 400 invalid_grant", a.Code, a.Body)
			}
		}
		if len(good) != 1 {
			t.Fatalf("%d of 16 got tokens, want 1", len(good))
		}
		if g := h.grantOf(idp.CodeToken, code); g.RevokedAt == nil {
			t.Error("the family is not revoked")
		}
		h.want(h.userInfoWith(good[0].text("access_token")), http.StatusUnauthorized, "invalid_token")
	})
}

func TestFS7_I3_SixteenRefreshesAtOnceHaveOneSuccessor(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		for _, client := range []string{"web", "native"} {
			first := h.tokensFor(client, "openid offline_access")
			successors := map[string]int{}
			for _, a := range h.race(16, client, refresh(first.text("refresh_token"))) {
				h.want(a, http.StatusOK, "")
				successors[a.text("refresh_token")]++
				h.want(h.userInfoWith(a.text("access_token")), http.StatusOK, "")
			}
			if len(successors) != 1 {
				t.Fatalf("%s: got %d successors, want 1: %v", client, len(successors), successors)
			}
			if g := h.grantOf(idp.RefreshToken, first.text("refresh_token")); g.RefreshGen != 2 || g.RevokedAt != nil {
				t.Errorf("%s: got generation %d, revoked at %v; want 2 and a living family", client, g.RefreshGen, g.RevokedAt)
			}
		}
	})
}

// race sends the same form n times at once: all have read the grant before the first one writes.
func (h *house) race(n int, client string, form url.Values) []answer {
	got := make([]answer, n)
	h.store.gather(n)
	var ready, done sync.WaitGroup
	ready.Add(1)
	for i := range n {
		done.Go(func() {
			ready.Wait()
			got[i] = h.call(h.Token, client, form)
		})
	}
	ready.Done()
	done.Wait()
	return got
}

func TestI3_RefreshOutsideTheWindowIsJudgedByTheRow(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		first := h.tokensFor("web", "openid offline_access").text("refresh_token")
		second := h.call(h.Token, "web", refresh(first))
		h.want(second, http.StatusOK, "")
		h.now.turn(11 * time.Second)
		// Skip: the answer was lost, so the parent goes on and its first successor is void.
		recovered := h.call(h.Token, "web", refresh(first))
		h.want(recovered, http.StatusOK, "")
		if recovered.text("refresh_token") == second.text("refresh_token") {
			t.Error("a skip gave the successor again")
		}
		h.want(h.userInfoWith(second.text("access_token")), http.StatusUnauthorized, "invalid_token")
		h.want(h.userInfoWith(recovered.text("access_token")), http.StatusOK, "")
		// Reuse: the void successor is shown, and the family dies.
		h.want(h.call(h.Token, "web", refresh(second.text("refresh_token"))), http.StatusBadRequest, "invalid_grant")
		h.want(h.call(h.Token, "web", refresh(recovered.text("refresh_token"))), http.StatusBadRequest, "invalid_grant")
		h.want(h.userInfoWith(recovered.text("access_token")), http.StatusUnauthorized, "invalid_token")
	})
}

func TestI4_AnotherSenderInTheWindowIsGivenTheSkip(t *testing.T) {
	h := oneHouse(t)
	first := h.tokensFor("native", "openid offline_access").text("refresh_token")
	here, there := newBrowser("here"), newBrowser("there")
	there.visitor.UserAgent = "somebody else's"
	second := h.callFrom(here, h.Token, "native", refresh(first))
	h.want(second, http.StatusOK, "")
	stolen := h.callFrom(there, h.Token, "native", refresh(first))
	h.want(stolen, http.StatusOK, "")
	if stolen.text("refresh_token") == second.text("refresh_token") {
		t.Fatal("another sender was given the same successor")
	}
	// The other holder trips reuse with the void one.
	h.want(h.callFrom(here, h.Token, "native", refresh(second.text("refresh_token"))), http.StatusBadRequest, "invalid_grant")
	h.want(h.callFrom(there, h.Token, "native", refresh(stolen.text("refresh_token"))), http.StatusBadRequest, "invalid_grant")
}

func TestFS8_ForgedRefreshTokenRevokesNothing(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		first := h.tokensFor("web", "openid offline_access").text("refresh_token")
		second := h.call(h.Token, "web", refresh(first))
		h.want(second, http.StatusOK, "")
		h.now.turn(25 * time.Hour / 2)
		forged := first[:len(first)-6] + "AAAAAA"
		h.sent.take()
		h.want(h.call(h.Token, "other", refresh(forged)), http.StatusBadRequest, "invalid_grant")
		if sent := h.sent.take(); len(sent) > 1 || len(sent) == 1 && sent[0] != "SELECT" {
			t.Errorf("garbage sent %v, want no statement beyond the cache's poll", sent)
		}
		// The genuine, used one, shown by another client.
		h.want(h.call(h.Token, "other", refresh(first)), http.StatusBadRequest, "invalid_grant")
		h.want(h.call(h.Token, "native", refresh(first)), http.StatusBadRequest, "invalid_grant")
		if g := h.grantOf(idp.RefreshToken, first); g.RevokedAt != nil {
			t.Fatalf("revoked: %s", g.RevokedWhy)
		}
		h.want(h.call(h.Token, "web", refresh(second.text("refresh_token"))), http.StatusOK, "")
	})
}

func TestFJ_RefreshNarrowsScope(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		first := h.tokensFor("web", "openid profile email offline_access")
		form := refresh(first.text("refresh_token"))
		form.Set("scope", "email openid")
		narrowed := h.call(h.Token, "web", form)
		h.want(narrowed, http.StatusOK, "")
		if narrowed.text("scope") != "email openid" {
			t.Errorf("got scope %q", narrowed.text("scope"))
		}
		info := h.userInfoWith(narrowed.text("access_token"))
		h.want(info, http.StatusOK, "")
		if info.body["name"] != nil || info.text("email") == "" {
			t.Errorf("userinfo got %s, want e-mail and no name", info.Body)
		}
		// Without openid there is no ID token, and userinfo refuses.
		form = refresh(narrowed.text("refresh_token"))
		form.Set("scope", "profile")
		without := h.call(h.Token, "web", form)
		h.want(without, http.StatusOK, "")
		if without.text("id_token") != "" {
			t.Error("an ID token without openid")
		}
		h.want(h.userInfoWith(without.text("access_token")), http.StatusForbidden, "insufficient_scope")
		// The grant is as wide as ever.
		whole := h.call(h.Token, "web", refresh(without.text("refresh_token")))
		if whole.text("scope") != "openid profile email offline_access" {
			t.Errorf("got scope %q, want all that was granted", whole.text("scope"))
		}
		// More than was granted is refused and changes nothing.
		form = refresh(whole.text("refresh_token"))
		form.Set("scope", "openid phone")
		h.want(h.call(h.Token, "web", form), http.StatusBadRequest, "invalid_scope")
		h.want(h.call(h.Token, "web", refresh(whole.text("refresh_token"))), http.StatusOK, "")
	})
}

func TestRefreshGoesOnWithLessWhereTheClientLostAScope(t *testing.T) {
	h := oneHouse(t)
	first := h.tokensFor("web", "openid email offline_access")
	h.change("web", func(c *idp.Client) { c.Metadata.Scopes = idp.List{"openid", "offline_access"} })
	got := h.call(h.Token, "web", refresh(first.text("refresh_token")))
	h.want(got, http.StatusOK, "")
	if got.text("scope") != "openid offline_access" {
		t.Errorf("got scope %q", got.text("scope"))
	}
}

// change changes a client behind the provider's back and lets its cache see it.
func (h *house) change(clientID string, fn func(*idp.Client)) {
	h.t.Helper()
	ctx := context.Background()
	clients, err := h.store.Clients(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, c := range clients {
		if c.ID == clientID {
			fn(&c)
			if err := h.store.ChangeClient(ctx, c); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	if err := h.store.RaiseVersion(ctx, idp.VersionClients); err != nil {
		h.t.Fatal(err)
	}
	h.now.turn(6 * time.Second)
}

func TestCodeExpires(t *testing.T) {
	h := oneHouse(t)
	code := h.code(h.signedIn("alice"), h.request("web"))
	h.now.turn(time.Minute)
	h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusBadRequest, "invalid_grant")
	if g := h.grantOf(idp.CodeToken, code); g.CodeUsedAt != nil || g.RevokedAt != nil {
		t.Errorf("got %+v, want it as it was", g)
	}
}

func TestRefreshTokenEndsWithItsSessionUnlessOffline(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		for scope, lives := range map[string]bool{"openid": false, "openid offline_access": true} {
			b := h.signedIn("alice")
			form := h.request("first")
			form.Set("scope", scope)
			got := h.call(h.Token, "first", redeem("first", h.code(b, form)))
			h.want(got, http.StatusOK, "")
			visit, err := h.p.Visit(b.context(), b.visitor.Session, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := h.p.SignOut(b.context(), visit); err != nil {
				t.Fatal(err)
			}
			again := h.call(h.Token, "first", refresh(got.text("refresh_token")))
			info := h.userInfoWith(got.text("access_token"))
			if (again.Code == http.StatusOK) != lives || (info.Code == http.StatusOK) != lives {
				t.Errorf("%s after sign-out: refresh %d, userinfo %d; want them to live: %v", scope, again.Code, info.Code, lives)
			}
		}
	})
}

func TestI2_DisabledUserHasNoTokens(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("first", "openid offline_access")
		code := h.code(h.signedIn("alice"), h.request("first"))
		if err := h.p.DisableUser(context.Background(), h.alice.ID); err != nil {
			t.Fatal(err)
		}
		h.want(h.call(h.Token, "first", refresh(got.text("refresh_token"))), http.StatusBadRequest, "invalid_grant")
		h.want(h.call(h.Token, "first", redeem("first", code)), http.StatusBadRequest, "invalid_grant")
		h.want(h.userInfoWith(got.text("access_token")), http.StatusUnauthorized, "invalid_token")
		if a := h.call(h.Introspect, "first", url.Values{"token": {got.text("access_token")}}); a.body["active"] != false {
			t.Errorf("introspection got %s", a.Body)
		}
	})
}

func TestRefreshTokensAreForClientsThatAreRegisteredForThem(t *testing.T) {
	h := oneHouse(t)
	got := h.tokensFor("codeonly", "openid offline_access")
	if got.text("refresh_token") != "" {
		t.Error("a refresh token for a client without the grant type")
	}
	h.want(h.call(h.Token, "codeonly", refresh("rt_x")), http.StatusBadRequest, "unauthorized_client")
	if h.tokensFor("web", "openid").text("refresh_token") == "" {
		t.Error("no refresh token for a client with the grant type")
	}
}

func TestClientCredentials(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		ask := func(client, scope string) answer {
			form := url.Values{"grant_type": {"client_credentials"}}
			if scope != "" {
				form.Set("scope", scope)
			}
			return h.call(h.Token, client, form)
		}
		got := ask("machine", "")
		h.want(got, http.StatusOK, "")
		if got.text("scope") != "api admin" || got.text("refresh_token") != "" || got.text("id_token") != "" || got.body["expires_in"] != 300.0 {
			t.Errorf("got %s, want the scopes api and admin alone", got.Body)
		}
		if got := ask("machine", "api"); got.text("scope") != "api" {
			t.Errorf("got %s, want the scope api", got.Body)
		}
		h.want(ask("machine", "openid"), http.StatusBadRequest, "invalid_scope")
		h.want(ask("web", "offline_access"), http.StatusBadRequest, "invalid_scope")
		h.want(ask("machine", "root"), http.StatusBadRequest, "invalid_scope")
		h.want(ask("machine", `"`), http.StatusBadRequest, "invalid_scope")
		h.want(ask("native", ""), http.StatusBadRequest, "unauthorized_client")
		h.want(ask("codeonly", ""), http.StatusBadRequest, "unauthorized_client")
		h.want(h.userInfoWith(got.text("access_token")), http.StatusUnauthorized, "invalid_token")
	})
}

func TestClientAuthentication(t *testing.T) {
	h := oneHouse(t)
	grant := "grant_type=client_credentials"
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
	}
	header := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	none := func(*http.Request) {}
	web, post := h.secrets["web"], h.secrets["post"]
	cases := []struct {
		name   string
		body   string
		header func(*http.Request)
		status int
		code   string
	}{
		{"basic", grant, basic("web", web), 200, ""},
		{"basic, lower-case scheme", grant, func(r *http.Request) {
			basic("web", web)(r)
			r.Header.Set("Authorization", "basic"+strings.TrimPrefix(r.Header.Get("Authorization"), "Basic"))
		}, 200, ""},
		{"basic with the same client_id in the body", grant + "&client_id=web", basic("web", web), 200, ""},
		{"basic with another client_id in the body", grant + "&client_id=other", basic("web", web), 400, "invalid_request"},
		{"post", grant + "&client_id=post&client_secret=" + url.QueryEscape(post), none, 200, ""},
		{"none", "grant_type=refresh_token&refresh_token=x&client_id=native", none, 400, "invalid_grant"},
		{"two methods", grant + "&client_id=web&client_secret=" + url.QueryEscape(web), basic("web", web), 400, "invalid_request"},
		{"two headers", grant, func(r *http.Request) { basic("web", web)(r); r.Header.Add("Authorization", "Basic eDp5") }, 400, "invalid_request"},
		{"post by a client of basic", grant + "&client_id=web&client_secret=" + url.QueryEscape(web), none, 401, "invalid_client"},
		{"basic by a client of post", grant, basic("post", post), 401, "invalid_client"},
		{"nothing by a client of basic", grant + "&client_id=web", none, 401, "invalid_client"},
		{"basic by a public client", grant, basic("native", "x"), 401, "invalid_client"},
		{"a wrong secret", grant, basic("web", "wrong"), 401, "invalid_client"},
		{"an empty secret", grant, basic("web", ""), 401, "invalid_client"},
		{"another client's secret", grant, basic("web", h.secrets["other"]), 401, "invalid_client"},
		{"an unknown client", grant, basic("nobody", "x"), 401, "invalid_client"},
		{"no client at all", grant, none, 401, "invalid_client"},
		{"a broken header", grant, header("Basic !!!"), 401, "invalid_client"},
		{"a header without a colon", grant, header("Basic d2Vi"), 401, "invalid_client"},
		{"a header with broken form-encoding", grant, header("Basic JXp6Ong="), 401, "invalid_client"},
		{"FH a bearer header", grant, header("Bearer " + web), 401, "invalid_client"},
		{"an assertion", grant + "&client_id=web&client_assertion=x&client_assertion_type=y", none, 401, "invalid_client"},
		{"a secret in the address", grant + "&client_id=web", func(r *http.Request) { r.URL.RawQuery = "client_secret=" + web }, 401, "invalid_client"},
		{"client_id with NUL", grant + "&client_id=web%00", none, 400, "invalid_request"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, TokenPath, strings.NewReader(c.body))
			r.Header.Set("Content-Type", formType)
			c.header(r)
			got := h.serve(h.Token, r)
			if got.Code != c.status || got.text("error") != c.code {
				t.Fatalf("got %d %s, want %d %s", got.Code, got.Body, c.status, c.code)
			}
			if challenged := got.Header().Get("WWW-Authenticate") == `Basic realm="postern"`; challenged != (c.status == 401) {
				t.Errorf("got %v for %d", got.Header(), c.status)
			}
			if got.Header().Get("Cache-Control") != "no-store" || got.Header().Get("Pragma") != "no-cache" {
				t.Errorf("got %v, want no-store", got.Header())
			}
		})
	}
}

func TestI14_FailuresAreLimitedAndARightSecretPasses(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		cfg := testConfig()
		cfg.RateLimits.Off = false
		cfg.RateLimits.TokenEndpointAuthFailed = "3/m/ip"
		h.open(h.store.Store, cfg)
		here, there := newBrowser("here"), newBrowser("there")
		there.visitor.Address = netip.MustParseAddr("198.51.100.7")
		form := url.Values{"grant_type": {"client_credentials"}}
		right := h.secrets["machine"]
		h.secrets["machine"] = "wrong"
		for range 3 {
			h.want(h.callFrom(here, h.Token, "machine", form), http.StatusUnauthorized, "invalid_client")
		}
		got := h.callFrom(here, h.Token, "machine", form)
		h.want(got, http.StatusTooManyRequests, "temporarily_unavailable")
		if got.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		h.want(h.callFrom(there, h.Token, "machine", form), http.StatusUnauthorized, "invalid_client")
		h.secrets["machine"] = right
		h.want(h.callFrom(there, h.Token, "machine", form), http.StatusOK, "")
	})
}

func TestFlowsHoldWhereEveryTransactionRunsTwice(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.open(storagetest.Twice(h.store.Store), testConfig())
		b := newBrowser("alice")
		form := h.request("web")
		form.Set("prompt", "login consent")
		form.Set("scope", "openid offline_access")
		code := h.code(b, form)
		got := h.call(h.Token, "web", redeem("web", code))
		h.want(got, http.StatusOK, "")
		first := got.text("refresh_token")
		h.want(h.call(h.Token, "web", refresh(first)), http.StatusOK, "")
		h.now.turn(11 * time.Second)
		again := h.call(h.Token, "web", refresh(first))
		h.want(again, http.StatusOK, "")
		h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusBadRequest, "invalid_grant")
		h.want(h.userInfoWith(again.text("access_token")), http.StatusUnauthorized, "invalid_token")
	})
}

func TestWrongTokenRequestsAreToldInJSON(t *testing.T) {
	h := oneHouse(t)
	cases := []struct {
		name        string
		method      string
		contentType string
		body        string
		status      int
		code        string
	}{
		{"GET", "GET", formType, "", 405, "invalid_request"},
		{"JSON", "POST", "application/json", "{}", 400, "invalid_request"},
		{"multipart", "POST", "multipart/form-data; boundary=x", "--x--", 400, "invalid_request"},
		{"no content type", "POST", "", "grant_type=client_credentials", 400, "invalid_request"},
		{"with a charset", "POST", formType + "; charset=utf-8", "grant_type=x", 400, "unsupported_grant_type"},
		{"empty", "POST", formType, "", 400, "invalid_request"},
		{"no grant_type", "POST", formType, "client_id=web", 400, "invalid_request"},
		{"password", "POST", formType, "grant_type=password&username=alice&password=x", 400, "unsupported_grant_type"},
		{"unknown grant_type", "POST", formType, `grant_type="\`, 400, "unsupported_grant_type"},
		{"grant_type twice", "POST", formType, "grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"},
		{"unknown parameter twice", "POST", formType, "grant_type=client_credentials&x=1&x=2", 400, "invalid_request"},
		{"broken encoding", "POST", formType, "grant_type=%zz", 400, "invalid_request"},
		{"not UTF-8", "POST", formType, "grant_type=%ff", 400, "invalid_request"},
		{"too long a body", "POST", formType, "grant_type=" + strings.Repeat("a", maxBody), 413, "invalid_request"},
		{"too long a parameter", "POST", formType, "grant_type=" + strings.Repeat("a", maxParameter+1), 400, "invalid_request"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, TokenPath, strings.NewReader(c.body))
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			got := h.serve(h.Token, r)
			h.want(got, c.status, c.code)
			if d := got.text("error_description"); d == "" || d != printable(d) {
				t.Errorf("got the description %q", d)
			}
		})
	}
}

func TestCodeAndRefreshTokenMustBeThere(t *testing.T) {
	h := oneHouse(t)
	for _, form := range []url.Values{redeem("web", ""), refresh("")} {
		h.want(h.call(h.Token, "web", form), http.StatusBadRequest, "invalid_request")
	}
	for _, garbage := range []string{"x", "ac_", "ac_AAAA", strings.Repeat("a", 4000), "ct_x", "\u2028"} {
		h.want(h.call(h.Token, "web", redeem("web", garbage)), http.StatusBadRequest, "invalid_grant")
		h.want(h.call(h.Token, "web", refresh(garbage)), http.StatusBadRequest, "invalid_grant")
	}
}

func TestTokensOfOneKindAreNoTokensOfAnother(t *testing.T) {
	h := oneHouse(t)
	got := h.tokensFor("web", "openid offline_access")
	code := h.code(h.signedIn("alice"), h.request("web"))
	for _, token := range []string{got.text("access_token"), got.text("refresh_token"), got.text("id_token")} {
		h.want(h.call(h.Token, "web", redeem("web", token)), http.StatusBadRequest, "invalid_grant")
	}
	for _, token := range []string{got.text("access_token"), code, got.text("id_token")} {
		h.want(h.call(h.Token, "web", refresh(token)), http.StatusBadRequest, "invalid_grant")
	}
	h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusOK, "")
}

func TestStoreFailureAtTheTokenEndpointIs503AndLosesNothing(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		code := h.code(h.signedIn("alice"), h.request("web"))
		var token string
		for _, step := range []struct {
			name string
			form func() url.Values
		}{
			{"code", func() url.Values { return redeem("web", code) }},
			{"refresh", func() url.Values { return refresh(token) }},
		} {
			for _, fail := range [][2]bool{{true, false}, {false, true}} {
				h.store.fail(fail[0], fail[1])
				got := h.call(h.Token, "web", step.form())
				h.want(got, http.StatusServiceUnavailable, "temporarily_unavailable")
				if got.Header().Get("Retry-After") == "" {
					t.Errorf("%s: no Retry-After", step.name)
				}
			}
			h.store.fail(false, false)
			got := h.call(h.Token, "web", step.form())
			h.want(got, http.StatusOK, "")
			token = got.text("refresh_token")
		}
		// A replay whose revocation fails must not pass for done.
		h.store.fail(false, true)
		h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusServiceUnavailable, "temporarily_unavailable")
		h.store.fail(false, false)
		h.want(h.call(h.Token, "web", redeem("web", code)), http.StatusBadRequest, "invalid_grant")
		if g := h.grantOf(idp.CodeToken, code); g.RevokedAt == nil {
			t.Error("the family is not revoked")
		}
	})
}

func TestI1_AccessTokenSaysItsGenerationAndScopes(t *testing.T) {
	h := oneHouse(t)
	first := h.tokensFor("web", "openid email offline_access")
	form := refresh(first.text("refresh_token"))
	form.Set("scope", "email")
	second := h.call(h.Token, "web", form)
	for i, c := range []struct {
		token      string
		scopes     uint64
		generation int64
	}{{first.text("access_token"), 0b111, 1}, {second.text("access_token"), 0b010, 2}} {
		got, ok := h.tokens.Parse(idp.AccessToken, c.token)
		if !ok || got.Scopes != c.scopes || got.Generation != c.generation || !got.Expiry.Equal(h.now.read().Add(5*time.Minute)) {
			t.Errorf("token %d: got %+v, want scopes %b and generation %d", i, got, c.scopes, c.generation)
		}
	}
}

func TestDescriptionsHaveNoForbiddenCharacter(t *testing.T) {
	for in, want := range map[string]string{
		`a "quoted" \ word`: `a 'quoted' ? word`,
		"tab\tline\n":       "tab?line?",
		"naïve":             "na?ve",
		"plain":             "plain",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestFS15_ManyFlowsAtOnce(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		var done sync.WaitGroup
		for i := range 8 {
			done.Go(func() {
				username := []string{"alice", "bob"}[i%2]
				b := newBrowser(fmt.Sprint("browser ", i))
				answer := h.walk(b, h.authorize(b, h.request("first")), username)
				got := h.call(h.Token, "first", redeem("first", answer.Get("code")))
				if info := h.userInfoWith(got.text("access_token")); info.text("preferred_username") != username {
					t.Errorf("got %s, want %s's claims", info.Body, username)
				}
			})
		}
		done.Wait()
	})
}
