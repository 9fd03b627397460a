package rp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The ways of client authentication (OpenID Connect Core 1.0 §9).
const (
	SecretBasic = "client_secret_basic"
	SecretPost  = "client_secret_post"
	NoSecret    = "none"
)

// A RelyingParty is one client of a provider.
type RelyingParty struct {
	*Provider
	ClientID    string
	Secret      string
	AuthMethod  string // SecretBasic where it is empty
	RedirectURI string
}

// A Request is an authorization request with what its answer is judged by. Params may be changed
// before it is sent; a parameter that is deleted is not sent and not expected back.
type Request struct {
	Params   url.Values
	Verifier string // RFC 7636 §4.1; empty where Params has no challenge

	endpoint string
}

// NewRequest makes a request for a code with state, nonce and PKCE. Each further parameter is a
// pair of name and value; an empty value takes the parameter out.
func (r *RelyingParty) NewRequest(params ...string) *Request {
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	request := &Request{
		Verifier: verifier,
		endpoint: r.AuthorizationEndpoint,
		Params: url.Values{
			"response_type":         {"code"},
			"client_id":             {r.ClientID},
			"redirect_uri":          {r.RedirectURI},
			"scope":                 {"openid"},
			"state":                 {rand.Text()},
			"nonce":                 {rand.Text()},
			"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
			"code_challenge_method": {"S256"},
		},
	}
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "" {
			request.Params.Del(params[i])
		} else {
			request.Params.Set(params[i], params[i+1])
		}
	}
	if !request.Params.Has("code_challenge") {
		request.Verifier = ""
		request.Params.Del("code_challenge_method")
	}
	return request
}

// URL is the address that the browser is sent to.
func (q *Request) URL() string { return q.join(q.Params.Encode()) }

// ReversedURL is URL with the parameters in reverse alphabetical order.
func (q *Request) ReversedURL() string {
	pairs := strings.Split(q.Params.Encode(), "&")
	slices.Reverse(pairs)
	return q.join(strings.Join(pairs, "&"))
}

func (q *Request) join(query string) string {
	if strings.Contains(q.endpoint, "?") {
		return q.endpoint + "&" + query
	}
	return q.endpoint + "?" + query
}

// An AuthorizationResponse is what a browser brings back (RFC 6749 §4.1.2).
type AuthorizationResponse struct {
	Code        string
	Error       string
	Description string
	Issuer      string
}

// ReadResponse reads and judges what arrived at the redirect URI for request.
func (r *RelyingParty) ReadResponse(request *Request, arrived *url.URL) (AuthorizationResponse, error) {
	var response AuthorizationResponse
	want, err := url.Parse(r.RedirectURI)
	if err != nil {
		return response, fmt.Errorf("redirect URI: %w", err)
	}
	bare := *arrived
	bare.RawQuery, bare.Fragment = "", ""
	wantBare := *want
	wantBare.RawQuery = ""
	if bare.String() != wantBare.String() {
		return response, fmt.Errorf("arrived at %s, want %s", bare.Redacted(), r.RedirectURI)
	}
	if arrived.Fragment != "" {
		return response, fmt.Errorf("the answer has the fragment %q", arrived.Fragment)
	}
	got, err := url.ParseQuery(arrived.RawQuery)
	if err != nil {
		return response, fmt.Errorf("authorization response: %w", err)
	}
	response = AuthorizationResponse{
		Code: got.Get("code"), Error: got.Get("error"), Description: got.Get("error_description"), Issuer: got.Get("iss"),
	}
	return response, r.judgeResponse(request, got, want.Query())
}

func (r *RelyingParty) judgeResponse(request *Request, got, own url.Values) error {
	allowed := []string{"code", "state", "iss", "session_state", "scope"}
	if got.Has("error") {
		allowed = []string{"error", "error_description", "error_uri", "state", "iss", "session_state"}
	}
	var problems []error
	for name, values := range got {
		if len(values) != 1 {
			problems = append(problems, fmt.Errorf("%s comes %d times", name, len(values)))
		}
		if !slices.Contains(allowed, name) && !slices.Equal(own[name], values) {
			problems = append(problems, fmt.Errorf("%s is not expected in %s", name, got.Encode()))
		}
	}
	for name, values := range own {
		if !slices.Equal(got[name], values) {
			problems = append(problems, fmt.Errorf("the redirect URI's own %s is %q, want %q", name, got[name], values))
		}
	}
	if !slices.Equal(got["state"], request.Params["state"]) {
		problems = append(problems, fmt.Errorf("state is %q, want %q", got["state"], request.Params["state"]))
	}
	// RFC 9207 §2.4.
	if (r.IssInResponse || got.Has("iss")) && got.Get("iss") != r.Issuer {
		problems = append(problems, fmt.Errorf("iss is %q, want %q", got.Get("iss"), r.Issuer))
	}
	if got.Has("error") {
		problems = append(problems, judgeErrorText("error", got.Get("error"), true),
			judgeErrorText("error_description", got.Get("error_description"), false))
	} else {
		problems = append(problems, judgeEntropy("code", got.Get("code")))
	}
	return errors.Join(problems...)
}

// judgeEntropy holds the measure of the OpenID Foundation's suite: at least 128 bits long, and at
// least 96 bits of Shannon entropy.
func judgeEntropy(name, secret string) error {
	counts := map[rune]int{}
	for _, r := range secret {
		counts[r]++
	}
	bits := 0.0
	for _, n := range counts {
		bits -= float64(n) * math.Log2(float64(n)/float64(len(secret)))
	}
	if len(secret)*8 < 128 || bits < 96 {
		return fmt.Errorf("%s has %d bytes and %.0f bits of entropy, want 16 and 96", name, len(secret), bits)
	}
	return nil
}

// Tokens is a token endpoint's success (RFC 6749 §5.1, OpenID Connect Core 1.0 §3.1.3.3).
type Tokens struct {
	AccessToken  string   `json:"access_token"`
	TokenType    string   `json:"token_type"`
	ExpiresIn    *float64 `json:"expires_in"` // seconds
	RefreshToken string   `json:"refresh_token"`
	IDToken      string   `json:"id_token"`
	Scope        string   `json:"scope"`
}

// Token asks the token endpoint, authenticated as the client is registered.
func (r *RelyingParty) Token(ctx context.Context, form url.Values) (*Answer, error) {
	return r.asClient(ctx, r.TokenEndpoint, form)
}

// Redeem exchanges a code for request.
func (r *RelyingParty) Redeem(ctx context.Context, request *Request, code string) (*Answer, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}}
	if uri := request.Params.Get("redirect_uri"); uri != "" {
		form.Set("redirect_uri", uri)
	}
	if request.Verifier != "" {
		form.Set("code_verifier", request.Verifier)
	}
	return r.Token(ctx, form)
}

// Refresh uses a refresh token; an empty scope asks for the same again.
func (r *RelyingParty) Refresh(ctx context.Context, refreshToken, scope string) (*Answer, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	if scope != "" {
		form.Set("scope", scope)
	}
	return r.Token(ctx, form)
}

// Introspect asks what a token is worth (RFC 7662 §2.1).
func (r *RelyingParty) Introspect(ctx context.Context, token string) (*Answer, error) {
	return r.asClient(ctx, r.IntrospectionEndpoint, url.Values{"token": {token}})
}

// Revoke takes a token back (RFC 7009 §2.1).
func (r *RelyingParty) Revoke(ctx context.Context, token string) (*Answer, error) {
	return r.asClient(ctx, r.RevocationEndpoint, url.Values{"token": {token}})
}

func (r *RelyingParty) asClient(ctx context.Context, endpoint string, form url.Values) (*Answer, error) {
	header := http.Header{}
	switch r.AuthMethod {
	case SecretBasic, "":
		// RFC 6749 §2.3.1: both are form-encoded before they are joined.
		pair := url.QueryEscape(r.ClientID) + ":" + url.QueryEscape(r.Secret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case SecretPost:
		form.Set("client_id", r.ClientID)
		form.Set("client_secret", r.Secret)
	case NoSecret:
		form.Set("client_id", r.ClientID)
	default:
		return nil, fmt.Errorf("client authentication %q is not known", r.AuthMethod)
	}
	return r.post(ctx, endpoint, form, header)
}

// Tokens reads a token endpoint's success and judges its form.
func (a *Answer) Tokens() (Tokens, error) {
	var t Tokens
	if err := a.isJSON(http.StatusOK); err != nil {
		return t, err
	}
	if err := json.Unmarshal(a.Body, &t); err != nil {
		return t, fmt.Errorf("token response: %w", err)
	}
	problems := []error{a.isNotStored(), judgeEntropy("access_token", t.AccessToken)}
	if !strings.EqualFold(t.TokenType, "Bearer") {
		problems = append(problems, fmt.Errorf("token_type is %q, want Bearer", t.TokenType))
	}
	const year = 366 * 24 * 60 * 60 // seconds
	if t.ExpiresIn == nil || *t.ExpiresIn <= 0 || *t.ExpiresIn > year {
		problems = append(problems, errors.New("expires_in is missing or no sane number of seconds"))
	}
	if t.RefreshToken != "" {
		problems = append(problems, judgeEntropy("refresh_token", t.RefreshToken))
	}
	return t, errors.Join(problems...)
}

// UserInfo asks with GET and the Authorization header (RFC 6750 §2.1).
func (p *Provider) UserInfo(ctx context.Context, accessToken string) (*Answer, error) {
	return p.withBearer(ctx, "GET", accessToken)
}

// UserInfoByPost asks with POST and the Authorization header.
func (p *Provider) UserInfoByPost(ctx context.Context, accessToken string) (*Answer, error) {
	return p.withBearer(ctx, "POST", accessToken)
}

// UserInfoByForm asks with POST and the token in the form (RFC 6750 §2.2).
func (p *Provider) UserInfoByForm(ctx context.Context, accessToken string) (*Answer, error) {
	return p.post(ctx, p.UserInfoEndpoint, url.Values{"access_token": {accessToken}}, nil)
}

func (p *Provider) withBearer(ctx context.Context, method, accessToken string) (*Answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, p.UserInfoEndpoint, nil)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+accessToken)
	return p.send(request)
}
