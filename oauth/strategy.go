package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/ory/fosite"

	"postern/idp"
)

// strategy mints what fosite asks for. A token's "signature", by which fosite would find it in its
// storage, is the token itself: storage reads the grant out of its bytes.
type strategy struct{ s *Server }

// AuthorizeCodeSignature implements oauth2.AuthorizeCodeStrategy.
func (m *strategy) AuthorizeCodeSignature(_ context.Context, code string) string { return code }

// AccessTokenSignature implements oauth2.AccessTokenStrategy.
func (m *strategy) AccessTokenSignature(_ context.Context, token string) string { return token }

// RefreshTokenSignature implements oauth2.RefreshTokenStrategy.
func (m *strategy) RefreshTokenSignature(_ context.Context, token string) string { return token }

// GenerateAuthorizeCode implements oauth2.AuthorizeCodeStrategy.
func (m *strategy) GenerateAuthorizeCode(ctx context.Context, _ fosite.Requester) (code, signature string, err error) {
	g := workFrom(ctx).grant()
	code = m.s.tokens.Mint(idp.Token{Kind: idp.CodeToken, Grant: g.ID, Expiry: g.CodeExpiresAt})
	hash := sha256.Sum256([]byte(code))
	g.CodeHash = hash[:]
	return code, code, nil
}

// ValidateAuthorizeCode implements oauth2.AuthorizeCodeStrategy.
func (m *strategy) ValidateAuthorizeCode(ctx context.Context, _ fosite.Requester, _ string) error {
	w := workFrom(ctx)
	if !w.now.Before(w.token.Expiry) {
		return refuse("invalid_grant", "The authorization code has expired.")
	}
	return nil
}

// GenerateAccessToken implements oauth2.AccessTokenStrategy.
func (m *strategy) GenerateAccessToken(ctx context.Context, r fosite.Requester) (token, signature string, err error) {
	w := workFrom(ctx)
	w.expires = w.now.Add(m.s.cfg.Tokens.AccessTTL).Truncate(time.Second)
	if w.request == nil {
		w.access = m.s.tokens.MintClient(idp.ClientToken{
			ID: idp.RandomID(), ClientID: w.client.ID, Scopes: r.GetGrantedScopes(),
			Expiry: w.expires, IssuedAt: w.now, SecurityVersion: w.client.SecurityVersion,
		})
		return w.access, w.access, nil
	}
	g := w.grant()
	scopes, ok := g.Scopes.Narrow(r.GetGrantedScopes())
	audience, known := g.Audience.Narrow(r.GetGrantedAudience())
	if !ok || !known {
		return "", "", errors.New("mint an access token: it is wider than its grant")
	}
	w.access = m.s.tokens.Mint(idp.Token{
		Kind: idp.AccessToken, Grant: g.ID, Expiry: w.expires, Generation: w.generation,
		Scopes: scopes, Audience: uint32(audience),
	})
	return w.access, w.access, nil
}

// ValidateAccessToken implements oauth2.AccessTokenStrategy.
func (m *strategy) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return errUnused
}

// GenerateRefreshToken implements oauth2.RefreshTokenStrategy. It mints the grant's head, whose
// bytes follow from the row (I-3); a code begins the family with generation 1.
func (m *strategy) GenerateRefreshToken(ctx context.Context, _ fosite.Requester) (token, signature string, err error) {
	w := workFrom(ctx)
	if w.token.Kind == idp.CodeToken {
		m.s.p.StartRefresh(&w.visit)
	}
	token = m.s.tokens.MintSuccessor(w.grant().Head())
	return token, token, nil
}

// ValidateRefreshToken implements oauth2.RefreshTokenStrategy.
func (m *strategy) ValidateRefreshToken(ctx context.Context, _ fosite.Requester, _ string) error {
	w := workFrom(ctx)
	if !w.now.Before(w.token.Expiry) {
		return refuse("invalid_grant", "The refresh token has expired.")
	}
	return nil
}
