package oauth

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"postern/idp"
)

func TestCapabilitiesAreWhatTheStandardsCallThem(t *testing.T) {
	h := oneHouse(t)
	text, err := json.Marshal(h.Capabilities())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"issuer":                                         testIssuer,
		"authorization_endpoint":                         testIssuer + "/oauth2/authorize",
		"token_endpoint":                                 testIssuer + "/oauth2/token",
		"userinfo_endpoint":                              testIssuer + "/oauth2/userinfo",
		"introspection_endpoint":                         testIssuer + "/oauth2/introspect",
		"revocation_endpoint":                            testIssuer + "/oauth2/revoke",
		"jwks_uri":                                       testIssuer + "/oauth2/jwks",
		"scopes_supported":                               list("openid", "offline_access", "profile", "email", "address", "phone"),
		"response_types_supported":                       list("code"),
		"response_modes_supported":                       list("query"),
		"grant_types_supported":                          list("authorization_code", "client_credentials", "refresh_token"),
		"subject_types_supported":                        list("public"),
		"id_token_signing_alg_values_supported":          list("RS256", "ES256", "EdDSA"),
		"token_endpoint_auth_methods_supported":          list("client_secret_basic", "client_secret_post", "none"),
		"introspection_endpoint_auth_methods_supported":  list("client_secret_basic", "client_secret_post"),
		"revocation_endpoint_auth_methods_supported":     list("client_secret_basic", "client_secret_post", "none"),
		"code_challenge_methods_supported":               list("S256"),
		"acr_values_supported":                           list("urn:postern:acr:pwd", "urn:postern:acr:mfa", "phr", "phrh"),
		"prompt_values_supported":                        list("none", "login", "consent", "select_account"),
		"claim_types_supported":                          list("normal"),
		"ui_locales_supported":                           list("en", "de"),
		"claims_parameter_supported":                     true,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"authorization_response_iss_parameter_supported": true,
		"claims_supported": list(
			"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid",
			"address", "birthdate", "email", "email_verified", "family_name", "gender", "given_name", "locale", "middle_name",
			"name", "nickname", "phone_number", "phone_number_verified", "picture", "preferred_username", "profile",
			"updated_at", "website", "zoneinfo",
		),
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !equalJSON(got[name], want[name]) {
			t.Errorf("%s: got %v, want %v", name, got[name], want[name])
		}
		delete(got, name)
	}
	if len(got) != 0 {
		t.Errorf("also got %v", got)
	}
}

func list(values ...string) []any {
	all := make([]any, 0, len(values))
	for _, v := range values {
		all = append(all, v)
	}
	return all
}

func equalJSON(a, b any) bool {
	one, err := json.Marshal(a)
	if err != nil {
		return false
	}
	other, err := json.Marshal(b)
	return err == nil && string(one) == string(other)
}

func TestEveryScopeThatIsListedHasItsClaims(t *testing.T) {
	for _, scope := range ofPeople {
		if scope == scopeOpenID || scope == scopeOffline {
			continue
		}
		for _, name := range idp.ScopeClaims(scope) {
			if userClaims[name] == nil {
				t.Errorf("the claim %s of the scope %s is not read from anywhere", name, scope)
			}
		}
		if len(idp.ScopeClaims(scope)) == 0 {
			t.Errorf("the scope %s has no claims", scope)
		}
	}
}
