package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"postern/idp"
)

// parameters are those of an authorization request that are understood, with the most bytes that
// each may have. All others are ignored (RFC 6749 §3.1).
var parameters = map[string]int{
	"client_id":             128,
	"redirect_uri":          2048,
	"response_type":         128,
	"response_mode":         32,
	"scope":                 4096,
	"state":                 4096,
	"nonce":                 1024,
	"code_challenge":        128,
	"code_challenge_method": 16,
	"prompt":                128,
	"max_age":               16,
	"acr_values":            1024,
	"login_hint":            256,
	"id_token_hint":         maxParameter,
	"ui_locales":            256,
	"claims":                8 << 10,
	// Known in order to be refused by name.
	"request":      maxParameter,
	"request_uri":  2048,
	"registration": maxParameter,
}

// impliedRedirect marks a canonical form whose redirect URI is the only one of its client, not sent
// by it, so that the code's redemption need not name it either (RFC 6749 §4.1.3). It is none of
// the parameters, so nobody can send it.
const impliedRedirect = "redirect_uri implied"

// An authorization is an authorization request whose client and redirect URI are good, so that
// its outcome may be told there.
type authorization struct {
	client      *idp.Client
	redirectURI string
	state       string      // "" for none
	form        url.Values  // the canonical request: every parameter once, none without effect
	request     idp.Request // the form as the step table judges it
}

// A problem is what may be told on a page of our own only, since nobody knows that the address in
// the request is the client's.
type problem struct{ idp.Problem }

func (p *problem) Error() string { return p.Code }

// resolve makes the one canonical form of an authorization request and judges it. Its error is a
// *problem where the client or its redirect URI is wrong; otherwise it is a *failure for the
// client, and the authorization says where to send it. Later kinds of requests, by reference or
// signed, end in the same form.
func (s *Server) resolve(ctx context.Context, sent url.Values, malformed bool) (*authorization, error) {
	a, err := s.identify(ctx, sent)
	if err != nil {
		return nil, err
	}
	if malformed {
		return a, refuse("invalid_request", "The request is not properly form-encoded.")
	}
	if f := checkParameters(sent); f != nil {
		return a, f
	}
	a.form = canonical(sent)
	if !a.form.Has("redirect_uri") {
		a.form.Set("redirect_uri", a.redirectURI)
		a.form.Set(impliedRedirect, "true")
	}
	for _, check := range []func(*authorization) *failure{checkUnsupported, checkResponse, checkProof, checkScope} {
		if f := check(a); f != nil {
			return a, f
		}
	}
	hint, f := s.readHint(a)
	if f != nil {
		return a, f
	}
	addDefaults(a)
	if a.request, err = idp.ParseRequest(a.form); err != nil {
		return a, failureOf(err)
	}
	a.request.Subject = hint
	if f := limitClaims(a); f != nil {
		return a, f
	}
	addACRValues(a)
	return a, nil
}

// addDefaults writes what the client registered once for all its requests into the form: the pages
// of the steps know nothing else, and must come to the same step.
func addDefaults(a *authorization) {
	if age := a.client.Metadata.DefaultMaxAge; age != nil && !a.form.Has("max_age") {
		const longest = math.MaxInt32 // seconds: more is never reached, and a request may not ask for it
		a.form.Set("max_age", strconv.FormatInt(min(*age, longest), 10))
	}
}

// addACRValues is addDefaults for what only the parsed request tells: acr_values, and acr asked for by
// its value in claims, go before what the client registered (OpenID Connect Dynamic Client Registration
// 1.0 §2).
func addACRValues(a *authorization) {
	values := a.client.Metadata.DefaultACRValues
	if len(values) == 0 || len(a.request.ACRValues) > 0 || a.request.Claims.AsksForACR() {
		return
	}
	a.request.ACRValues = values
	a.form["acr_values"] = []string{strings.Join(values, " ")}
}

// limitClaims leaves in the claims parameter only what can come of it. All else is ignored (OpenID
// Connect Core 1.0 §5.5.1), so that nobody is asked for consent to what is never told, and no words
// of a request's author stand among ours.
func limitClaims(a *authorization) *failure {
	asked := a.request.Claims
	if asked == nil {
		return nil
	}
	maps.DeleteFunc(asked.IDToken, func(name string, _ *idp.ClaimRequest) bool {
		return !isJudged(name) && !mayLearn(a.client, name)
	})
	maps.DeleteFunc(asked.UserInfo, func(name string, _ *idp.ClaimRequest) bool { return !mayLearn(a.client, name) })
	if len(asked.IDToken)+len(asked.UserInfo) == 0 {
		a.request.Claims = nil
		delete(a.form, "claims")
		return nil
	}
	text, err := json.Marshal(asked)
	if err != nil {
		panic("write claims: " + err.Error()) // they were JSON
	}
	if len(text) > parameters["claims"] {
		return refuse("invalid_request", "The parameter claims is too long.")
	}
	a.form["claims"] = []string{string(text)}
	return nil
}

// identify finds the client and checks the redirect URI, before anything else is looked at
// (RFC 6749 §4.1.2.1).
func (s *Server) identify(ctx context.Context, sent url.Values) (*authorization, error) {
	if !isSingle(sent, "client_id") || !isSingle(sent, "redirect_uri") {
		return nil, misconfigured("request_malformed", nil, sent)
	}
	id, uri := sent.Get("client_id"), sent.Get("redirect_uri")
	if id == "" {
		return nil, misconfigured("client_missing", nil, sent)
	}
	c, err := s.p.Client(ctx, id)
	if errors.Is(err, idp.ErrNotFound) {
		return nil, misconfigured("client_unknown", nil, sent)
	}
	if err != nil {
		return nil, err
	}
	if !c.Live() {
		return nil, misconfigured("client_disabled", c, sent)
	}
	a := &authorization{client: c, redirectURI: uri}
	if uri == "" {
		// RFC 6749 §3.1.2.3; OpenID Connect Core 1.0 §3.1.2.1 requires it always.
		if len(c.Metadata.RedirectURIs) != 1 || slices.Contains(splitScope(sent.Get("scope")), scopeOpenID) {
			return nil, misconfigured("redirect_uri_missing", c, sent)
		}
		a.redirectURI = c.Metadata.RedirectURIs[0]
	} else if !isRegistered(c, uri) {
		wrong := misconfigured("redirect_uri_unregistered", c, sent)
		wrong.Hint = nearest(c, uri)
		return nil, wrong
	}
	if isSingle(sent, "state") {
		a.state = sent.Get("state")
	}
	return a, nil
}

// isSingle tells whether a parameter can be read: not doubled, not too long, and text.
func isSingle(sent url.Values, name string) bool {
	values := sent[name]
	return len(values) == 0 || len(values) == 1 && len(values[0]) <= parameters[name] && isText(values[0])
}

func misconfigured(code string, c *idp.Client, sent url.Values) *problem {
	p := &problem{idp.Problem{Status: http.StatusBadRequest, Code: code}}
	if c != nil {
		p.Client = c.DisplayName()
	}
	for _, name := range []string{"client_id", "redirect_uri"} {
		if value := sent.Get(name); value != "" {
			p.Facts = append(p.Facts, idp.Fact{Name: name, Value: shorten(value)})
		}
	}
	return p
}

// shorten cuts what a page shows of a parameter: valid UTF-8, at most some hundred characters.
func shorten(value string) string {
	const longest = 512
	value = strings.ToValidUTF8(value[:min(len(value), longest)], "�")
	return strings.ReplaceAll(value, "\x00", "�")
}

// checkParameters refuses a parameter that is doubled (RFC 6749 §3.1), too long or not text.
func checkParameters(sent url.Values) *failure {
	for name, longest := range parameters {
		values := sent[name]
		switch {
		case len(values) > 1:
			return refuse("invalid_request", "The parameter "+name+" was sent more than once.")
		case len(values) == 1 && len(values[0]) > longest:
			return refuse("invalid_request", "The parameter "+name+" is too long.")
		case len(values) == 1 && !isText(values[0]):
			return refuse("invalid_request", "The parameter "+name+" is not valid UTF-8 text.")
		}
	}
	return nil
}

// canonical keeps what is understood. A parameter without a value counts as omitted
// (RFC 6749 §3.1).
func canonical(sent url.Values) url.Values {
	form := make(url.Values, len(sent))
	for name, values := range sent {
		if _, known := parameters[name]; known && len(values) == 1 && values[0] != "" {
			form[name] = values
		}
	}
	return form
}

// checkUnsupported names what is not served here in the words of OpenID Connect Core 1.0 §3.1.2.6.
func checkUnsupported(a *authorization) *failure {
	switch {
	case a.form.Has("request"):
		return refuse("request_not_supported", "Request objects are not supported.")
	case a.form.Has("request_uri"):
		return refuse("request_uri_not_supported", "The parameter request_uri is not supported.")
	case a.form.Has("registration"):
		return refuse("registration_not_supported", "The parameter registration is not supported.")
	}
	return nil
}

func checkResponse(a *authorization) *failure {
	asked := a.form.Get("response_type")
	if asked == "" {
		return refuse("invalid_request", "The parameter response_type is missing.")
	}
	if asked != "code" {
		return refuse("unsupported_response_type", "The only response_type is code.")
	}
	if !slices.Contains(responseTypes(a.client), asked) || !may(a.client, "authorization_code") {
		return refuse("unauthorized_client", "The client is not registered for response_type code.")
	}
	if mode := a.form.Get("response_mode"); mode != "" && mode != "query" {
		return refuse("invalid_request", "The only response_mode is query.")
	}
	return nil
}

// checkProof judges PKCE. It is required of every client that is not exempt, and only S256 proves
// anything (RFC 9700 §2.1.1).
func checkProof(a *authorization) *failure {
	challenge, method := a.form.Get("code_challenge"), a.form.Get("code_challenge_method")
	switch {
	case challenge == "" && method != "":
		return refuse("invalid_request", "The parameter code_challenge is missing.")
	case challenge == "" && (a.client.Public() || !a.client.Metadata.PKCEOptional):
		return refuse("invalid_request", "PKCE is required: the parameter code_challenge is missing.")
	case challenge == "":
		return nil
	case method != "S256":
		// RFC 7636 §4.3: none means plain.
		return refuse("invalid_request", "The code_challenge_method must be S256.")
	case !isChallenge(challenge):
		return refuse("invalid_request", "The parameter code_challenge is not the base64url of a SHA-256 hash.")
	}
	return nil
}

// isChallenge tells whether s can be base64url of 32 bytes (RFC 7636 §4.2).
func isChallenge(s string) bool {
	if len(s) != 43 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

func checkScope(a *authorization) *failure {
	scopes := splitScope(a.form.Get("scope"))
	if len(scopes) == 0 {
		return refuse("invalid_scope", "The parameter scope is missing.") // RFC 6749 §3.3: there is no default
	}
	for _, scope := range scopes {
		if !slices.Contains(a.client.Metadata.Scopes, scope) {
			return refuse("invalid_scope", "The client is not registered for the scope "+cutName(scope)+".")
		}
	}
	a.form["scope"] = []string{strings.Join(scopes, " ")}
	return nil
}
