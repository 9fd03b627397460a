package oauth

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// verifyIDToken verifies an ID token by its kid in the published keys, as a relying party would.
func (h *house) verifyIDToken(token string) map[string]any {
	h.t.Helper()
	document, err := h.PublicKeys()
	if err != nil {
		h.t.Fatal(err)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(document, &keys); err != nil {
		h.t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil {
		h.t.Fatal(err)
	}
	found := keys.Key(signed.Signatures[0].Header.KeyID)
	if len(found) != 1 {
		h.t.Fatalf("%d keys have the kid %q, want 1", len(found), signed.Signatures[0].Header.KeyID)
	}
	payload, err := signed.Verify(found[0].Key)
	if err != nil {
		h.t.Fatal(err)
	}
	claims := map[string]any{"alg": signed.Signatures[0].Header.Algorithm}
	if err := json.Unmarshal(payload, &claims); err != nil {
		h.t.Fatal(err)
	}
	return claims
}

func TestIDTokenIsSignedByTheClientsAlgorithmWithItsHash(t *testing.T) {
	h := oneHouse(t)
	for client, alg := range map[string]string{"first": "RS256", "es256": "ES256", "eddsa": "EdDSA"} {
		got := h.tokensFor(client, "openid profile email")
		claims := h.verifyIDToken(got.text("id_token"))
		sum := sha256.Sum256([]byte(got.text("access_token")))
		half := sum[:16]
		if alg == "EdDSA" {
			sum := sha512.Sum512([]byte(got.text("access_token")))
			half = sum[:32]
		}
		want := map[string]any{
			"alg": alg, "iss": testIssuer, "sub": h.alice.ID.String(), "aud": client, "nonce": "n-0S6",
			"acr": "urn:postern:acr:pwd", "amr": "pwd", "at_hash": base64.RawURLEncoding.EncodeToString(half),
			"iat": float64(h.now.read().Unix()), "exp": float64(h.now.read().Add(time.Hour).Unix()),
			"sid": h.grantOf("at_", got.text("access_token")).SessionID.String(),
		}
		if amr, ok := claims["amr"].([]any); ok && len(amr) == 1 {
			claims["amr"] = amr[0]
		}
		if !maps.Equal(claims, want) {
			t.Errorf("%s: got %v, want %v", alg, claims, want)
		}
	}
}

func TestIDTokenHasAuthTimeWhereItIsAskedFor(t *testing.T) {
	h := oneHouse(t)
	b := h.signedIn("alice")
	signedIn := float64(h.now.read().Unix())
	h.now.turn(30 * time.Second)
	cases := []struct {
		name, parameter, value string
		asked                  bool
	}{
		{"not asked for", "", "", false},
		{"max_age", "max_age", "1000", true},
		{"claims", "claims", `{"id_token":{"auth_time":{"essential":true}}}`, true},
		{"claims at userinfo", "claims", `{"userinfo":{"name":null}}`, false},
	}
	for _, c := range cases {
		form := h.request("first")
		if c.parameter != "" {
			form.Set(c.parameter, c.value)
		}
		got := h.call(h.Token, "first", redeem("first", h.code(b, form)))
		h.want(got, http.StatusOK, "")
		want := any(nil)
		if c.asked {
			want = signedIn
		}
		if claims := h.verifyIDToken(got.text("id_token")); claims["auth_time"] != want {
			t.Errorf("%s: got auth_time %v, want %v", c.name, claims["auth_time"], want)
		}
	}
}

func TestIDTokenHasNoNonceThatWasNotSentAndNoneAtARefresh(t *testing.T) {
	h := oneHouse(t)
	form := h.request("first")
	form.Del("nonce")
	form.Set("max_age", "100")
	got := h.call(h.Token, "first", redeem("first", h.code(h.signedIn("alice"), form)))
	first := h.verifyIDToken(got.text("id_token"))
	if _, ok := first["nonce"]; ok {
		t.Errorf("got %v, want no nonce", first)
	}
	h.now.turn(time.Minute)
	again := h.call(h.Token, "first", refresh(h.tokensFor("first", "openid offline_access").text("refresh_token")))
	if claims := h.verifyIDToken(again.text("id_token")); claims["nonce"] != nil {
		t.Errorf("refresh got %v, want no nonce (OpenID Connect Core 1.0 §12.2)", claims)
	}
	renewed := h.verifyIDToken(h.call(h.Token, "first", refresh(got.text("refresh_token"))).text("id_token"))
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "acr", "sid"} {
		if renewed[name] != first[name] {
			t.Errorf("%s changed from %v to %v", name, first[name], renewed[name])
		}
	}
	if renewed["iat"] != first["iat"].(float64)+60 {
		t.Errorf("iat: got %v, want that of the refresh", renewed["iat"])
	}
}

func TestIDTokenHasClaimsAboutTheUserOnlyWhereTheyAreAskedForThere(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		form := h.request("first")
		form.Set("scope", "openid profile email phone address")
		form.Set("claims", `{"id_token":{"email":{"essential":true},"name":null,"no such":null,"nickname":{"value":"al"}},"userinfo":{"picture":null}}`)
		got := h.call(h.Token, "first", redeem("first", h.code(h.signedIn("alice"), form)))
		h.want(got, http.StatusOK, "")
		for _, token := range []string{
			got.text("id_token"),
			h.call(h.Token, "first", refresh(got.text("refresh_token"))).text("id_token"),
		} {
			claims := h.verifyIDToken(token)
			if claims["email"] != "alice@example.org" || claims["name"] != "Name of alice" || claims["nickname"] != "al" {
				t.Errorf("got %v, want email, name and nickname", claims)
			}
			for _, name := range []string{"picture", "email_verified", "phone_number", "preferred_username", "no such"} {
				if _, ok := claims[name]; ok {
					t.Errorf("got the claim %s, which was not asked for here", name)
				}
			}
		}
		plain := h.verifyIDToken(h.tokensFor("first", "openid profile email").text("id_token"))
		names := slices.Sorted(maps.Keys(plain))
		want := []string{"acr", "alg", "amr", "at_hash", "aud", "exp", "iat", "iss", "nonce", "sid", "sub"}
		if !slices.Equal(names, want) {
			t.Errorf("got the claims %v, want %v", names, want)
		}
	})
}
