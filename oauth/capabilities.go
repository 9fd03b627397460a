package oauth

import (
	"maps"
	"slices"

	"postern/idp"
)

// Capabilities are what the server can do, under the names of RFC 8414 §2 and OpenID Connect
// Discovery 1.0 §3. Nothing is listed that does not work; lists that would be empty are left out
// (RFC 8414 §3.2).
type Capabilities struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	UserInfoEndpoint      string `json:"userinfo_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	JWKSURI               string `json:"jwks_uri"`

	Scopes                     []string `json:"scopes_supported"`
	ResponseTypes              []string `json:"response_types_supported"`
	ResponseModes              []string `json:"response_modes_supported"`
	GrantTypes                 []string `json:"grant_types_supported"`
	SubjectTypes               []string `json:"subject_types_supported"`
	IDTokenAlgs                []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionAuthMethods   []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationAuthMethods      []string `json:"revocation_endpoint_auth_methods_supported"`
	CodeChallengeMethods       []string `json:"code_challenge_methods_supported"`
	ACRValues                  []string `json:"acr_values_supported"`
	Prompts                    []string `json:"prompt_values_supported"`
	ClaimTypes                 []string `json:"claim_types_supported"`
	Claims                     []string `json:"claims_supported"`
	UILocales                  []string `json:"ui_locales_supported"`
	ClaimsParameter            bool     `json:"claims_parameter_supported"`
	RequestParameter           bool     `json:"request_parameter_supported"`
	RequestURIParameter        bool     `json:"request_uri_parameter_supported"`
	AuthorizationResponseIssue bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
}

// Capabilities are what s can do. The grant types are those that it has a handler for.
func (s *Server) Capabilities() Capabilities {
	confidential := []string{idp.AuthBasic, idp.AuthPost}
	claims := []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid"}
	return Capabilities{
		Issuer:                s.cfg.Issuer,
		AuthorizationEndpoint: s.cfg.Issuer + AuthorizePath,
		TokenEndpoint:         s.cfg.Issuer + TokenPath,
		UserInfoEndpoint:      s.cfg.Issuer + UserInfoPath,
		IntrospectionEndpoint: s.cfg.Issuer + IntrospectPath,
		RevocationEndpoint:    s.cfg.Issuer + RevokePath,
		JWKSURI:               s.cfg.Issuer + KeysPath,

		Scopes:                     ofPeople,
		ResponseTypes:              defaultResponseTypes,
		ResponseModes:              []string{"query"},
		GrantTypes:                 slices.Sorted(maps.Keys(s.grants)),
		SubjectTypes:               []string{"public"},
		IDTokenAlgs:                []string{"RS256", "ES256", "EdDSA"},
		TokenAuthMethods:           append(confidential, idp.AuthNone),
		IntrospectionAuthMethods:   confidential,
		RevocationAuthMethods:      append(confidential, idp.AuthNone),
		CodeChallengeMethods:       []string{"S256"},
		ACRValues:                  s.p.ACRValues(),
		Prompts:                    []string{"none", "login", "consent", "select_account"},
		ClaimTypes:                 []string{"normal"},
		Claims:                     append(claims, slices.Sorted(maps.Keys(userClaims))...),
		UILocales:                  []string{"en", "de"},
		ClaimsParameter:            true,
		AuthorizationResponseIssue: true,
	}
}
