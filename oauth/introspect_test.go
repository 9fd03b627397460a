package oauth

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"postern/idp"
)

func (h *house) introspectAs(client, token string) answer {
	return h.call(h.Introspect, client, url.Values{"token": {token}})
}

var dead = map[string]any{"active": false}

func TestIntrospectionTellsTheOwner(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("web", "openid email offline_access")
		now := float64(h.now.read().Unix())
		grant := h.grantOf(idp.AccessToken, got.text("access_token"))
		want := map[string]any{
			"active": true, "scope": "openid email offline_access", "client_id": "web", "token_type": "Bearer",
			"exp": now + 300, "sub": h.alice.ID.String(), "iss": testIssuer,
			"acr": "urn:postern:acr:pwd", "amr": []any{"pwd"}, "auth_time": float64(grant.Facts.AuthTime),
		}
		if a := h.introspectAs("web", got.text("access_token")); !reflect.DeepEqual(a.body, want) || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("access token: got %v, want %v", a.body, want)
		}
		want = map[string]any{
			"active": true, "scope": "openid email offline_access", "client_id": "web", "exp": now + 86400,
			"sub": h.alice.ID.String(), "iss": testIssuer,
		}
		if a := h.introspectAs("web", got.text("refresh_token")); !reflect.DeepEqual(a.body, want) {
			t.Errorf("refresh token: got %v, want %v", a.body, want)
		}
		// What the token says, not what the grant could.
		form := refresh(got.text("refresh_token"))
		form.Set("scope", "email")
		narrowed := h.call(h.Token, "web", form)
		if a := h.introspectAs("web", narrowed.text("access_token")); a.text("scope") != "email" {
			t.Errorf("I-1: got scope %q, want email", a.text("scope"))
		}
		if a := h.introspectAs("web", got.text("refresh_token")); !reflect.DeepEqual(a.body, dead) {
			t.Errorf("a redeemed refresh token: got %v", a.body)
		}
	})
}

func TestFS11_FH_OtherClientsLearnNothing(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("web", "openid offline_access")
		machine := h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}})
		code := h.code(h.signedIn("alice"), h.request("web"))
		for name, token := range map[string]string{
			"access token": got.text("access_token"), "refresh token": got.text("refresh_token"),
			"client token": machine.text("access_token"), "ID token": got.text("id_token"), "code": code,
			"garbage": "x", "prefix": "at_", "other prefix": "rt_x", "sealed garbage": "ct_AAAA",
		} {
			for _, client := range []string{"other", "post", "api"} {
				if a := h.introspectAs(client, token); a.Code != http.StatusOK || !reflect.DeepEqual(a.body, dead) {
					t.Errorf("%s asked by %s: got %d %s, want inactive", name, client, a.Code, a.Body)
				}
			}
		}
		for _, client := range []string{"native", ""} {
			h.want(h.introspectAs(client, got.text("access_token")), http.StatusUnauthorized, "invalid_client")
		}
		h.want(h.introspectAs("web", ""), http.StatusBadRequest, "invalid_request")
		if a := h.introspectAs("web", code); !reflect.DeepEqual(a.body, dead) {
			t.Errorf("a code: got %v", a.body)
		}
	})
}

func TestIntrospectionOfClientTokens(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		issue := func() string {
			return h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}, "scope": {"api"}}).text("access_token")
		}
		token := issue()
		now := float64(h.now.read().Unix())
		want := map[string]any{
			"active": true, "scope": "api", "client_id": "machine", "sub": "machine", "token_type": "Bearer",
			"exp": now + 300, "iat": now, "iss": testIssuer,
		}
		if a := h.introspectAs("machine", token); !reflect.DeepEqual(a.body, want) {
			t.Errorf("got %v, want %v", a.body, want)
		}
		h.now.turn(5 * time.Minute)
		if a := h.introspectAs("machine", token); !reflect.DeepEqual(a.body, dead) {
			t.Errorf("expired: got %v", a.body)
		}
		token = issue()
		// I-13: a secret that is revoked raises the security version.
		secret, err := h.p.RotateSecret(t.Context(), "machine", true)
		if err != nil {
			t.Fatal(err)
		}
		h.secrets["machine"] = secret
		if a := h.introspectAs("machine", token); !reflect.DeepEqual(a.body, dead) {
			t.Errorf("secret revoked: got %v", a.body)
		}
	})
}

func TestAudienceOfAResourceServerMayIntrospect(t *testing.T) {
	h := oneHouse(t)
	now := h.now.read()
	client := h.tokens.MintClient(idp.ClientToken{
		ClientID: "machine", Scopes: []string{"api"}, Audience: []string{"https://api.example"},
		Expiry: now.Add(time.Minute), IssuedAt: now, SecurityVersion: h.securityVersion("machine"),
	})
	if a := h.introspectAs("api", client); a.body["active"] != true {
		t.Errorf("client token: got %s, want active", a.Body)
	}
	if a := h.introspectAs("other", client); a.body["active"] != false {
		t.Errorf("another: got %s, want inactive", a.Body)
	}
	grant := h.grantOf(idp.AccessToken, h.tokensFor("first", "openid").text("access_token"))
	grant.ID = idp.NewID(now)
	grant.Audience = idp.List{"https://elsewhere.example", "https://api.example"}
	grant.CodeHash, grant.DeedNonce = nil, nil
	if err := h.store.AddGrant(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	for audience, active := range map[uint32]bool{0b10: true, 0b11: true, 0b01: false, 0: false} {
		token := h.tokens.Mint(idp.Token{
			Kind: idp.AccessToken, Grant: grant.ID, Expiry: now.Add(time.Minute), Scopes: 1, Audience: audience,
		})
		if a := h.introspectAs("api", token); a.body["active"] != active {
			t.Errorf("audience %b: got %s, want active %v", audience, a.Body, active)
		}
	}
}

func (h *house) securityVersion(clientID string) int64 {
	h.t.Helper()
	c, err := h.p.Client(context.Background(), clientID)
	if err != nil {
		h.t.Fatal(err)
	}
	return c.SecurityVersion
}

func TestFI_OutageDoesNotTellThatTokensAreDead(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("web", "openid offline_access")
		machine := h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}})
		h.store.fail(true, false)
		for client, token := range map[string]string{"web": got.text("access_token"), "machine": machine.text("access_token")} {
			a := h.introspectAs(client, token)
			h.want(a, http.StatusServiceUnavailable, "temporarily_unavailable")
			if a.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		h.want(h.introspectAs("web", got.text("refresh_token")), http.StatusServiceUnavailable, "temporarily_unavailable")
	})
}
