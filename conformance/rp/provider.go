package rp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxAnswerBytes = 1 << 20
	answerTimeout  = time.Minute
)

// A Provider is an OpenID provider as its own documents describe it.
type Provider struct {
	Metadata
	Raw  map[string]json.RawMessage // every member of the document
	Keys jose.JSONWebKeySet

	// Now is the clock that judges times in tokens; time.Now where it is nil.
	Now func() time.Time

	client *http.Client
}

// Metadata is what a relying party reads in a discovery document (OpenID Connect Discovery 1.0 §3,
// RFC 8414 §2, RFC 9207 §3).
type Metadata struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	UserInfoEndpoint      string `json:"userinfo_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	EndSessionEndpoint    string `json:"end_session_endpoint"`
	JWKSURI               string `json:"jwks_uri"`

	Scopes               []string `json:"scopes_supported"`
	ResponseTypes        []string `json:"response_types_supported"`
	ResponseModes        []string `json:"response_modes_supported"`
	GrantTypes           []string `json:"grant_types_supported"`
	ACRValues            []string `json:"acr_values_supported"`
	SubjectTypes         []string `json:"subject_types_supported"`
	IDTokenAlgs          []string `json:"id_token_signing_alg_values_supported"`
	RequestObjectAlgs    []string `json:"request_object_signing_alg_values_supported"`
	TokenAuthMethods     []string `json:"token_endpoint_auth_methods_supported"`
	Claims               []string `json:"claims_supported"`
	UILocales            []string `json:"ui_locales_supported"`
	ClaimsLocales        []string `json:"claims_locales_supported"`
	CodeChallengeMethods []string `json:"code_challenge_methods_supported"`
	IssInResponse        bool     `json:"authorization_response_iss_parameter_supported"`
}

// Discover reads the documents of the provider at issuer. Transport may be nil for the network.
func Discover(ctx context.Context, transport http.RoundTripper, issuer string) (*Provider, error) {
	p := &Provider{client: &http.Client{
		Transport: transport,
		Timeout:   answerTimeout,
		// What a relying party asks for is never elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	answer, err := p.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	if err := answer.isJSON(http.StatusOK); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	if err := errors.Join(json.Unmarshal(answer.Body, &p.Metadata), json.Unmarshal(answer.Body, &p.Raw)); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	// OpenID Connect Discovery 1.0 §4.3: exactly the same.
	if p.Issuer != issuer {
		return nil, fmt.Errorf("discovery document: issuer %q, asked for %q", p.Issuer, issuer)
	}
	return p, p.ReadKeys(ctx)
}

// ReadKeys reads the provider's keys, again where they were read before, and judges them.
func (p *Provider) ReadKeys(ctx context.Context) error {
	answer, err := p.get(ctx, p.JWKSURI)
	if err != nil {
		return err
	}
	if err := answer.isJSON(http.StatusOK); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	var raw struct {
		Keys []map[string]any `json:"keys"`
	}
	var keys jose.JSONWebKeySet
	if err := errors.Join(json.Unmarshal(answer.Body, &raw), json.Unmarshal(answer.Body, &keys)); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if len(raw.Keys) == 0 {
		return errors.New("keys: there are none")
	}
	seen := map[string]bool{}
	for i, key := range raw.Keys {
		kid, _ := key["kid"].(string)
		if kid == "" || seen[kid] {
			return fmt.Errorf("keys: key %d has no kid of its own: %q", i, kid)
		}
		seen[kid] = true
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, ok := key[private]; ok {
				return fmt.Errorf("keys: %s publishes the private member %s", kid, private)
			}
		}
	}
	if len(keys.Keys) != len(raw.Keys) {
		return fmt.Errorf("keys: %d of %d can be read", len(keys.Keys), len(raw.Keys))
	}
	for _, key := range keys.Keys {
		if !key.Valid() || !key.IsPublic() {
			return fmt.Errorf("keys: %s is no valid public key", key.KeyID)
		}
	}
	p.Keys = keys
	return nil
}

// Supports tells whether the discovery document lists value in a member.
func (p *Provider) Supports(member, value string) bool {
	var values []string
	if err := json.Unmarshal(p.Raw[member], &values); err != nil {
		return false
	}
	return slices.Contains(values, value)
}

func (p *Provider) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

func (p *Provider) get(ctx context.Context, address string) (*Answer, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the provider: %w", err)
	}
	return p.send(r)
}

// post sends a form; header may be nil.
func (p *Provider) post(ctx context.Context, address string, form url.Values, header http.Header) (*Answer, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("ask the provider: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, values := range header {
		r.Header[name] = values
	}
	return p.send(r)
}

func (p *Provider) send(r *http.Request) (*Answer, error) {
	r.Header.Set("Accept", "application/json")
	response, err := p.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the provider: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("read the provider's answer: %w", err)
	}
	return &Answer{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}

// An Answer is what an endpoint said to a relying party or a resource server.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// String shows an answer in a test's message, without the tokens of a success.
func (a *Answer) String() string {
	if a.Status == http.StatusOK {
		return fmt.Sprintf("200 %s, %d bytes", a.Header.Get("Content-Type"), len(a.Body))
	}
	return fmt.Sprintf("%d %s %s %s", a.Status, a.Header.Get("Content-Type"), a.Body, a.Header.Get("Www-Authenticate"))
}

// Claims reads an answer of status 200 that is a JSON object.
func (a *Answer) Claims() (Claims, error) {
	if err := a.isJSON(http.StatusOK); err != nil {
		return nil, err
	}
	return readClaims(a.Body)
}

// ErrorCode reads an error of RFC 6749 §5.2 and judges its form. It is an error where the answer
// is not one.
func (a *Answer) ErrorCode() (string, error) {
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if a.Status < 400 || a.Status > 499 {
		return "", fmt.Errorf("want an error of the client's, got %s", a)
	}
	if err := a.isJSON(a.Status); err != nil {
		return "", err
	}
	if err := json.Unmarshal(a.Body, &body); err != nil {
		return "", fmt.Errorf("read an error: %w", err)
	}
	// RFC 6749 §5.2: 401 is for invalid_client alone.
	if a.Status != http.StatusBadRequest && (body.Error != "invalid_client" || a.Status != http.StatusUnauthorized) {
		return "", fmt.Errorf("status %d does not go with %q", a.Status, body.Error)
	}
	if err := errors.Join(judgeErrorText("error", body.Error, true), judgeErrorText("error_description", body.Description, false)); err != nil {
		return "", err
	}
	return body.Error, a.isNotStored()
}

// judgeErrorText holds the character set of RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
func judgeErrorText(name, text string, required bool) error {
	if required && text == "" {
		return fmt.Errorf("%s is missing", name)
	}
	for _, r := range text {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return fmt.Errorf("%s has a character that is not allowed: %q", name, text)
		}
	}
	return nil
}

func (a *Answer) isJSON(status int) error {
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.Status != status || err != nil || kind != "application/json" {
		return fmt.Errorf("want %d and application/json, got %s", status, a)
	}
	return nil
}

// isNotStored holds RFC 6749 §5.1: no cache may keep the answer.
func (a *Answer) isNotStored() error {
	if !strings.Contains(a.Header.Get("Cache-Control"), "no-store") {
		return fmt.Errorf("Cache-Control is %q, want no-store", a.Header.Get("Cache-Control"))
	}
	return nil
}
