package conformance

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/language"
)

// registeredMetadata are the members that the suite knows, those of the IANA registry "OAuth
// Authorization Server Metadata" (RFC 8414 §7.1) that general providers have.
var registeredMetadata = strings.Fields(`
	issuer authorization_endpoint token_endpoint userinfo_endpoint jwks_uri registration_endpoint
	scopes_supported response_types_supported response_modes_supported grant_types_supported
	acr_values_supported subject_types_supported claims_supported claim_types_supported
	id_token_signing_alg_values_supported id_token_encryption_alg_values_supported
	id_token_encryption_enc_values_supported userinfo_signing_alg_values_supported
	userinfo_encryption_alg_values_supported userinfo_encryption_enc_values_supported
	request_object_signing_alg_values_supported request_object_encryption_alg_values_supported
	request_object_encryption_enc_values_supported token_endpoint_auth_methods_supported
	token_endpoint_auth_signing_alg_values_supported display_values_supported service_documentation
	claims_locales_supported ui_locales_supported claims_parameter_supported
	request_parameter_supported request_uri_parameter_supported require_request_uri_registration
	op_policy_uri op_tos_uri prompt_values_supported
	revocation_endpoint revocation_endpoint_auth_methods_supported
	revocation_endpoint_auth_signing_alg_values_supported introspection_endpoint
	introspection_endpoint_auth_methods_supported introspection_endpoint_auth_signing_alg_values_supported
	code_challenge_methods_supported signed_metadata device_authorization_endpoint
	pushed_authorization_request_endpoint require_pushed_authorization_requests
	require_signed_request_object authorization_response_iss_parameter_supported
	dpop_signing_alg_values_supported tls_client_certificate_bound_access_tokens mtls_endpoint_aliases
	end_session_endpoint check_session_iframe frontchannel_logout_supported
	frontchannel_logout_session_supported backchannel_logout_supported
	backchannel_logout_session_supported`)

// TestDiscovery is oidcc-discovery-endpoint-verification, the plan for Config OP.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	p := theTarget(t).provider

	t.Run("every member is registered", func(t *testing.T) {
		for name := range p.Raw {
			if !slices.Contains(registeredMetadata, name) {
				t.Errorf("%s is not", name)
			}
		}
	})
	t.Run("endpoints are https, or on this machine", func(t *testing.T) {
		for name, raw := range p.Raw {
			if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" && name != "issuer" {
				continue
			}
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			u, err := url.Parse(text)
			if err != nil || u.Host == "" || u.Fragment != "" || (u.Scheme != "https" && u.Hostname() != "localhost") {
				t.Errorf("%s is %q", name, text)
			}
		}
	})
	t.Run("what must be there is there", func(t *testing.T) {
		for _, name := range []string{
			"issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri",
			"response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported",
			"scopes_supported", "claims_supported", "grant_types_supported",
			// Where it is absent, a reader must take client_secret_basic for the only one.
			"token_endpoint_auth_methods_supported",
		} {
			if _, ok := p.Raw[name]; !ok {
				t.Errorf("%s is missing", name)
			}
		}
	})
	t.Run("the lists have what they must, and nothing that they must not", func(t *testing.T) {
		for _, want := range [][2]string{
			{"response_types_supported", "code"}, {"grant_types_supported", "authorization_code"},
			{"id_token_signing_alg_values_supported", "RS256"}, {"scopes_supported", "openid"},
			{"code_challenge_methods_supported", "S256"},
		} {
			if !p.Supports(want[0], want[1]) {
				t.Errorf("%s lacks %s: %s", want[0], want[1], p.Raw[want[0]])
			}
		}
		if len(p.SubjectTypes) == 0 {
			t.Error("subject_types_supported is empty")
		}
		for _, member := range []string{"id_token_signing_alg_values_supported", "request_object_signing_alg_values_supported"} {
			if p.Supports(member, "none") {
				t.Errorf("%s has none", member)
			}
		}
		if p.Supports("code_challenge_methods_supported", "plain") {
			t.Error("code_challenge_methods_supported has plain")
		}
	})
	t.Run("request objects are refused by name, or their algorithms are listed", func(t *testing.T) {
		// Who finds no list may take "none" for supported. An empty list is left out (RFC 8414 §3.2).
		if len(p.RequestObjectAlgs) > 0 {
			return
		}
		if got := string(p.Raw["request_parameter_supported"]); got == "true" {
			t.Error("request_parameter_supported is true, and there are no algorithms")
		}
		// OpenID Connect Discovery 1.0 §3: where it is absent it means true.
		if got := string(p.Raw["request_uri_parameter_supported"]); got != "false" {
			t.Errorf("request_uri_parameter_supported is %q", got)
		}
	})
	t.Run("languages are BCP 47 in their canonical form", func(t *testing.T) {
		for _, text := range slices.Concat(p.UILocales, p.ClaimsLocales) {
			tag, err := language.Parse(text)
			if err != nil || tag.String() != text {
				t.Errorf("%q is not: %v", text, err)
			}
		}
	})
	t.Run("the issuer in responses is advertised", func(t *testing.T) {
		if !p.IssInResponse {
			t.Error("authorization_response_iss_parameter_supported is not true")
		}
	})
}
