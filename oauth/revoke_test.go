package oauth

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"postern/idp"
)

func (h *house) revokeAs(client, token string) answer {
	return h.call(h.Revoke, client, url.Values{"token": {token}, "token_type_hint": {"whatever"}})
}

func TestRevocationOfARefreshTokenEndsTheFamily(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		for _, client := range []string{"web", "native"} {
			got := h.tokensFor(client, "openid offline_access")
			again := h.call(h.Token, client, refresh(got.text("refresh_token")))
			a := h.revokeAs(client, got.text("refresh_token")) // any generation will do
			if a.Code != http.StatusOK || a.Body.Len() != 0 || a.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("got %d %s", a.Code, a.Body)
			}
			h.want(h.call(h.Token, client, refresh(again.text("refresh_token"))), http.StatusBadRequest, "invalid_grant")
			h.want(h.userInfoWith(again.text("access_token")), http.StatusUnauthorized, "invalid_token")
			if a := h.revokeAs(client, got.text("refresh_token")); a.Code != http.StatusOK {
				t.Errorf("a second time: got %d %s", a.Code, a.Body)
			}
		}
	})
}

func TestRevocationOfAnAccessTokenEndsThatOneAlone(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("web", "openid offline_access")
		token := got.text("access_token")
		again := h.call(h.Token, "web", refresh(got.text("refresh_token")))
		if a := h.revokeAs("web", token); a.Code != http.StatusOK {
			t.Fatalf("got %d %s", a.Code, a.Body)
		}
		h.want(h.userInfoWith(token), http.StatusUnauthorized, "invalid_token")
		if a := h.introspectAs("web", token); a.body["active"] != false {
			t.Errorf("got %s, want inactive", a.Body)
		}
		h.want(h.userInfoWith(again.text("access_token")), http.StatusOK, "")
		h.want(h.call(h.Token, "web", refresh(again.text("refresh_token"))), http.StatusOK, "")

		machine := h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		other := h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		if a := h.revokeAs("machine", machine); a.Code != http.StatusOK {
			t.Fatalf("got %d %s", a.Code, a.Body)
		}
		if a := h.introspectAs("machine", machine); a.body["active"] != false {
			t.Errorf("client token: got %s, want inactive", a.Body)
		}
		if a := h.introspectAs("machine", other); a.body["active"] != true {
			t.Errorf("another client token: got %s, want active", a.Body)
		}
	})
}

func TestRevocationByAnotherClientDoesNothing(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("web", "openid offline_access")
		machine := h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		for _, token := range []string{got.text("access_token"), got.text("refresh_token"), machine} {
			for _, client := range []string{"other", "native"} {
				if a := h.revokeAs(client, token); a.Code != http.StatusOK {
					t.Errorf("%s: got %d %s, want 200", client, a.Code, a.Body)
				}
			}
			h.want(h.revokeAs("", token), http.StatusUnauthorized, "invalid_client")
		}
		h.want(h.userInfoWith(got.text("access_token")), http.StatusOK, "")
		if a := h.introspectAs("machine", machine); a.body["active"] != true {
			t.Errorf("got %s, want active", a.Body)
		}
		h.want(h.call(h.Token, "web", refresh(got.text("refresh_token"))), http.StatusOK, "")
	})
}

func TestRevocationOfGarbageIsNoError(t *testing.T) {
	h := oneHouse(t)
	code := h.code(h.signedIn("alice"), h.request("web"))
	expired := h.tokensFor("web", "openid").text("access_token")
	h.now.turn(6 * time.Minute)
	h.call(h.Introspect, "web", url.Values{"token": {"x"}}) // the cache polls
	h.sent.take()
	for _, token := range []string{"x", "at_", "rt_AAAA", "ct_AAAA", code, expired, "\u2028"} {
		if a := h.revokeAs("web", token); a.Code != http.StatusOK {
			t.Errorf("%.10q: got %d %s, want 200", token, a.Code, a.Body)
		}
	}
	if sent := h.sent.take(); len(sent) != 0 {
		t.Errorf("sent %v, want no statement", sent)
	}
	h.want(h.revokeAs("web", ""), http.StatusBadRequest, "invalid_request")
}

func TestFF_RevocationThatFailsIsNoSuccess(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("web", "openid offline_access")
		machine := h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		for name, fail := range map[string][2]bool{"reading": {true, false}, "writing": {false, true}} {
			for client, tokens := range map[string][]string{
				"web": {got.text("access_token"), got.text("refresh_token")}, "machine": {machine},
			} {
				for _, token := range tokens {
					if client == "machine" && name == "reading" {
						continue // it reads nothing
					}
					h.store.fail(fail[0], fail[1])
					a := h.revokeAs(client, token)
					h.want(a, http.StatusServiceUnavailable, "temporarily_unavailable")
					if a.Header().Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
					h.store.fail(false, false)
				}
			}
		}
		h.want(h.userInfoWith(got.text("access_token")), http.StatusOK, "")
		if g := h.grantOf(idp.RefreshToken, got.text("refresh_token")); g.RevokedAt != nil {
			t.Error("the family was revoked")
		}
	})
}
