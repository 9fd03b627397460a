package oauth

import (
	"context"
	"net/http"
	"strings"

	"postern/idp"
)

// Revoke is the revocation endpoint (RFC 7009).
func (s *Server) Revoke(w http.ResponseWriter, r *http.Request) {
	c, form, f := s.aboutToken(w, r)
	if f != nil {
		writeFailure(w, r, form, f)
		return
	}
	if err := s.revoke(r.Context(), c, form.Get("token")); err != nil {
		// The token lives; the client must know and try again (RFC 7009 §2.2.1).
		writeFailure(w, r, form, failureOf(err))
		return
	}
	noStore(w.Header())
	w.WriteHeader(http.StatusOK)
}

// revoke revokes what c shows where it is c's. What is no token, or another client's, is no error
// (RFC 7009 §2.2), nor does token_type_hint change anything: the bytes say what they are.
func (s *Server) revoke(ctx context.Context, c *idp.Client, shown string) error {
	switch {
	case strings.HasPrefix(shown, string(idp.RefreshToken)):
		return s.revokeRefresh(ctx, c, shown)
	case strings.HasPrefix(shown, string(idp.AccessToken)):
		return s.revokeAccess(ctx, c, shown)
	case strings.HasPrefix(shown, string(idp.ClientAccessToken)):
		token, genuine := s.tokens.ParseClient(shown)
		if !genuine || token.ClientID != c.ID || !s.p.Now().Before(token.Expiry) {
			return nil
		}
		return s.p.DenyToken(ctx, token.ID[:], token.Expiry)
	}
	return nil
}

// revokeRefresh ends the whole authorization (RFC 7009 §2.1), whatever generation is shown.
func (s *Server) revokeRefresh(ctx context.Context, c *idp.Client, shown string) error {
	token, genuine := s.tokens.Parse(idp.RefreshToken, shown)
	if !genuine {
		return nil
	}
	visit, err := s.p.Grant(ctx, token, shown, false)
	if idp.KindOf(err) == idp.Missing {
		return nil
	}
	if err != nil {
		return err
	}
	if visit.Grant.ClientID != c.ID || visit.Grant.RevokedAt != nil {
		return nil
	}
	return s.p.RevokeGrant(ctx, &visit.Grant, idp.WhyRevoked)
}

// revokeAccess ends one access token and leaves the refresh token alone (RFC 7009 §2.1 lets us).
func (s *Server) revokeAccess(ctx context.Context, c *idp.Client, shown string) error {
	token, genuine := s.tokens.Parse(idp.AccessToken, shown)
	if !genuine || !s.p.Now().Before(token.Expiry) {
		return nil
	}
	visit, err := s.p.Grant(ctx, token, shown, false)
	if idp.KindOf(err) == idp.Missing {
		return nil
	}
	if err != nil {
		return err
	}
	if visit.Grant.ClientID != c.ID || visit.Denied {
		return nil
	}
	return s.p.DenyToken(ctx, token.DenyKeys(shown)[0], token.Expiry)
}
