package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern/idp"
)

// UserInfo is the UserInfo endpoint (OpenID Connect Core 1.0 §5.3).
func (s *Server) UserInfo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		f := refuse("invalid_request", "The method must be GET or POST.")
		f.status = http.StatusMethodNotAllowed
		writeFailure(w, r, nil, f)
		return
	}
	shown, f := readBearer(w, r)
	if f != nil {
		writeBearerFailure(r.Context(), w, f)
		return
	}
	claims, err := s.userInfo(r.Context(), shown)
	if err != nil {
		writeBearerFailure(r.Context(), w, failureOf(err))
		return
	}
	writeJSON(w, http.StatusOK, claims)
}

// userInfo are the claims that the access token allows.
func (s *Server) userInfo(ctx context.Context, shown string) (map[string]any, error) {
	token, visit, err := s.accessGrant(ctx, shown, true)
	if err != nil {
		return nil, err
	}
	if visit == nil {
		return nil, errInvalidToken
	}
	scopes := visit.Grant.Scopes.Narrowed(token.Scopes)
	if !slices.Contains(scopes, scopeOpenID) {
		return nil, &failure{
			status: http.StatusForbidden, code: "insufficient_scope", description: "The access token lacks the scope openid.",
		}
	}
	if err := s.demand(ctx, visit); err != nil {
		return nil, err
	}
	claims := make(map[string]any, 12)
	claims["sub"] = visit.User.ID.String()
	for _, scope := range scopes {
		for _, name := range idp.ScopeClaims(scope) {
			putClaim(claims, visit.User, name)
		}
	}
	if visit.Grant.Facts.Claims != "" {
		if err := s.putAsked(ctx, claims, visit); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

// demand refuses a token of an authentication that is less than its client asks of every sign-in: it was
// issued when the client asked for less, or when the settings told another acr.
func (s *Server) demand(ctx context.Context, visit *idp.GrantVisit) error {
	c, err := s.p.Client(ctx, visit.Grant.ClientID)
	if err != nil {
		return err
	}
	if minimum := c.Metadata.MinimumACR; !s.p.ACRMeets(visit.Grant.Facts.ACR, minimum) {
		return insufficient(StepUp{ACRValues: []string{minimum}})
	}
	return nil
}

// putAsked adds what the userinfo member of the claims parameter asks for (OpenID Connect Core 1.0
// §5.5), as far as the client may still ask for it.
func (s *Server) putAsked(ctx context.Context, claims map[string]any, visit *idp.GrantVisit) error {
	asked, err := idp.ParseClaims(visit.Grant.Facts.Claims)
	if err != nil {
		return err
	}
	c, err := s.p.Client(ctx, visit.Grant.ClientID)
	if err != nil {
		return err
	}
	for name := range asked.UserInfo {
		if mayLearn(c, name) {
			putClaim(claims, visit.User, name)
		}
	}
	return nil
}

// accessGrant finds the grant of an access token in one statement, none for garbage. A nil visit
// says that the token is worth nothing, for whatever reason.
func (s *Server) accessGrant(ctx context.Context, shown string, withUser bool) (idp.Token, *idp.GrantVisit, error) {
	token, genuine := s.tokens.Parse(idp.AccessToken, shown)
	now := s.p.Now()
	if !genuine || !now.Before(token.Expiry) {
		return token, nil, nil
	}
	visit, err := s.p.Grant(ctx, token, shown, withUser)
	if errors.Is(err, idp.ErrNotFound) {
		return token, nil, nil
	}
	if err != nil {
		return token, nil, err
	}
	live, err := s.isLive(ctx, visit.Grant.ClientID)
	if err != nil || !live || visit.Denied || !visit.Alive(now) {
		return token, nil, err
	}
	return token, visit, nil
}

// isLive tells whether a client exists and is not disabled. It asks the cache.
func (s *Server) isLive(ctx context.Context, clientID string) (bool, error) {
	c, err := s.p.Client(ctx, clientID)
	if errors.Is(err, idp.ErrNotFound) {
		return false, nil
	}
	return err == nil && c.Live(), err
}

// Failures of RFC 6750 §3.1. No code is told to whom showed no token at all.
var (
	errNoToken = &failure{status: http.StatusUnauthorized}

	errInvalidToken = &failure{
		status: http.StatusUnauthorized, code: "invalid_token", description: "The access token is not valid, has expired or was revoked.",
	}
)

// readBearer reads an access token from the Authorization header or from the form of a POST, and
// from nowhere else (RFC 6750 §2; RFC 9700 §4.3.2 forbids the query).
func readBearer(w http.ResponseWriter, r *http.Request) (string, *failure) {
	if r.URL.RawQuery != "" && r.URL.Query().Has("access_token") {
		return "", refuse("invalid_request", "An access token must not be sent in the address.")
	}
	form := url.Values{}
	if r.Method == http.MethodPost && isForm(r.Header.Get("Content-Type")) {
		var f *failure
		if form, f = readForm(w, r); f != nil {
			return "", f
		}
		if f := checkForm(form); f != nil {
			return "", f
		}
	}
	headers, inBody := r.Header["Authorization"], form.Get("access_token")
	if len(headers) > 1 || len(headers) == 1 && inBody != "" {
		return "", refuse("invalid_request", "The access token must be sent in one way only.")
	}
	if inBody != "" {
		return inBody, nil
	}
	const scheme = "Bearer "
	if len(headers) == 0 || len(headers[0]) <= len(scheme) || !strings.EqualFold(headers[0][:len(scheme)], scheme) {
		return "", errNoToken
	}
	return headers[0][len(scheme):], nil
}

// writeBearerFailure answers as RFC 6750 §3 says.
func writeBearerFailure(ctx context.Context, w http.ResponseWriter, f *failure) {
	challenge := `Bearer realm="postern"`
	if f.code != "" {
		challenge += `, error="` + f.code + `", error_description="` + printable(f.description) + `"`
	}
	if f.stepUp != nil {
		challenge += f.stepUp.parameters()
	}
	h := w.Header()
	if f.status < http.StatusInternalServerError {
		h.Set("WWW-Authenticate", challenge)
	}
	if f.status < http.StatusInternalServerError {
		// An expired access token is the common way to learn that it is time for another.
		slog.LogAttrs(ctx, slog.LevelDebug, "access token refused", append(visitorAttrs(ctx), slog.Int("status", f.status), slog.String("error", f.code))...)
	}
	writeRetry(ctx, w, f)
	if f.code == "" {
		noStore(h)
		w.WriteHeader(f.status)
		return
	}
	writeError(w, f)
}
