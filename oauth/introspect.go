package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern/idp"
)

// An introspection is the answer of the introspection endpoint (RFC 7662 §2.2, RFC 9470 §6.2).
type introspection struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Expires   int64    `json:"exp,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
}

// inactive is all that is told of a token that is worth nothing, or is none of the caller's
// business (RFC 7662 §2.2).
var inactive = &introspection{}

// Introspect is the introspection endpoint (RFC 7662).
func (s *Server) Introspect(w http.ResponseWriter, r *http.Request) {
	c, form, f := s.aboutToken(w, r)
	if f == nil && c.Public() {
		f = invalidClient("a public client may not introspect") // RFC 7662 §2.1: the endpoint is for those who can prove who they are
	}
	if f != nil {
		writeFailure(w, r, form, f)
		return
	}
	answer, err := s.introspect(r.Context(), c, form.Get("token"))
	if err != nil {
		// An outage must not tell an API that valid tokens are dead.
		writeFailure(w, r, form, failureOf(err))
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// aboutToken reads a request to tell of a token or to end it: which client sends it, and the form
// whose parameter token is there (RFC 7662 §2.1, RFC 7009 §2.1).
func (s *Server) aboutToken(w http.ResponseWriter, r *http.Request) (*idp.Client, url.Values, *failure) {
	form, f := readTokenForm(w, r)
	if f != nil {
		return nil, form, f
	}
	c, f := s.authenticate(r.Context(), r, form)
	if f == nil && form.Get("token") == "" {
		f = refuse("invalid_request", "The parameter token is missing.")
	}
	return c, form, f
}

// introspect tells c what shown is worth. Its bytes say what kind of token it is, so that
// token_type_hint changes nothing (RFC 7662 §2.1).
func (s *Server) introspect(ctx context.Context, c *idp.Client, shown string) (*introspection, error) {
	switch {
	case strings.HasPrefix(shown, string(idp.AccessToken)):
		return s.introspectAccess(ctx, c, shown)
	case strings.HasPrefix(shown, string(idp.RefreshToken)):
		return s.introspectRefresh(ctx, c, shown)
	case strings.HasPrefix(shown, string(idp.ClientAccessToken)):
		return s.introspectClient(ctx, c, shown)
	}
	return inactive, nil
}

func (s *Server) introspectAccess(ctx context.Context, c *idp.Client, shown string) (*introspection, error) {
	token, visit, err := s.accessGrant(ctx, shown, false)
	if err != nil || visit == nil {
		return inactive, err
	}
	g := &visit.Grant
	audience := g.Audience.Narrowed(uint64(token.Audience))
	if g.ClientID != c.ID && !meets(c.Metadata.Audience, audience) {
		return inactive, nil
	}
	return &introspection{
		Active: true, Scope: strings.Join(g.Scopes.Narrowed(token.Scopes), " "), ClientID: g.ClientID,
		TokenType: "Bearer", Expires: token.Expiry.Unix(), Subject: g.UserID.String(), Audience: audience,
		Issuer: s.cfg.Issuer, ACR: g.Facts.ACR, AMR: g.Facts.AMR, AuthTime: g.Facts.AuthTime,
	}, nil
}

// introspectRefresh speaks of a refresh token to its own client alone.
func (s *Server) introspectRefresh(ctx context.Context, c *idp.Client, shown string) (*introspection, error) {
	token, genuine := s.tokens.Parse(idp.RefreshToken, shown)
	now := s.p.Now()
	if !genuine || !now.Before(token.Expiry) {
		return inactive, nil
	}
	visit, err := s.p.Grant(ctx, token, shown, false)
	if idp.KindOf(err) == idp.Missing {
		return inactive, nil
	}
	if err != nil {
		return nil, err
	}
	g := &visit.Grant
	if g.ClientID != c.ID || token.Generation != g.RefreshGen || !visit.Alive(now) {
		return inactive, nil
	}
	return &introspection{
		Active: true, Scope: strings.Join(common(g.Scopes, c.Metadata.Scopes), " "), ClientID: g.ClientID,
		Expires: token.Expiry.Unix(), Subject: g.UserID.String(), Issuer: s.cfg.Issuer,
	}, nil
}

func (s *Server) introspectClient(ctx context.Context, c *idp.Client, shown string) (*introspection, error) {
	token, genuine := s.tokens.ParseClient(shown)
	if !genuine || !s.p.Now().Before(token.Expiry) || token.ClientID != c.ID && !meets(c.Metadata.Audience, token.Audience) {
		return inactive, nil
	}
	owner, err := s.p.Client(ctx, token.ClientID)
	if idp.KindOf(err) == idp.Missing {
		return inactive, nil
	}
	if err != nil {
		return nil, err
	}
	if !owner.Live() || owner.SecurityVersion != token.SecurityVersion {
		return inactive, nil
	}
	denied, err := s.p.DeniedToken(ctx, token.ID[:])
	if err != nil || denied {
		return inactive, err
	}
	return &introspection{
		Active: true, Scope: strings.Join(token.Scopes, " "), ClientID: token.ClientID, TokenType: "Bearer",
		Expires: token.Expiry.Unix(), IssuedAt: token.IssuedAt.Unix(), Subject: token.ClientID,
		Audience: token.Audience, Issuer: s.cfg.Issuer,
	}, nil
}

// meets tells whether two lists have something in common.
func meets(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
