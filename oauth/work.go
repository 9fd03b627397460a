package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/token/jwt"

	"postern/idp"
)

// A work is the unit of work of one request: what fosite stores only sets its fields, and one
// conditional statement at the end writes them. It belongs to one goroutine.
type work struct {
	client *idp.Client
	form   url.Values
	now    time.Time

	token   idp.Token       // the code or refresh token that was shown, as its bytes say
	loaded  bool            // whether its grant was looked for
	visit   idp.GrantVisit  // its grant, and what it rests on
	request *fosite.Request // the grant as fosite reads it, nil where the client has no such grant
	session session         // as fosite wants one

	generation int64 // of the refresh token that the access token is issued with, 0 for none
	access     string
	expires    time.Time // of the access token
	redeemed   bool      // whether the code is to be marked as used
}

type workKey struct{}

func withWork(ctx context.Context, w *work) context.Context {
	return context.WithValue(ctx, workKey{}, w)
}

// workFrom returns the work of ctx, which every path into fosite puts there.
func workFrom(ctx context.Context) *work { return ctx.Value(workKey{}).(*work) }

// grant is the grant that the work is about.
func (w *work) grant() *idp.Grant { return &w.visit.Grant }

// A session is the place where fosite's handlers leave what they think of the tokens' lives and of
// the ID token. What we mint goes by the provider's clock and the grant instead.
type session struct {
	claims  jwt.IDTokenClaims
	headers jwt.Headers
	subject string
}

func (s *session) SetExpiresAt(fosite.TokenType, time.Time)        {}
func (s *session) GetExpiresAt(fosite.TokenType) (never time.Time) { return never }
func (s *session) GetUsername() string                             { return "" }
func (s *session) GetSubject() string                              { return s.subject }
func (s *session) IDTokenClaims() *jwt.IDTokenClaims               { return &s.claims }
func (s *session) IDTokenHeaders() *jwt.Headers                    { return &s.headers }

// Clone returns s itself: it lives for one request, so nobody else reads it.
func (s *session) Clone() fosite.Session { return s }

// grantStore is what fosite takes for its database.
type grantStore struct{ s *Server }

// GetClient implements fosite.ClientManager.
func (st *grantStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	w := workFrom(ctx)
	if w.client.ID != id {
		return nil, fosite.ErrNotFound
	}
	return (*client)(w.client), nil
}

// ClientAssertionJWTValid implements fosite.ClientManager.
func (st *grantStore) ClientAssertionJWTValid(context.Context, string) error { return errUnused }

// SetClientAssertionJWT implements fosite.ClientManager.
func (st *grantStore) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return errUnused
}

// load finds the grant of the token that was shown, once; garbage costs no statement. It answers
// not found to everybody but the client that the grant was given to, so that no other can do
// anything with it (I-12).
func (st *grantStore) load(ctx context.Context, w *work, kind idp.TokenKind, shown string) error {
	if !w.loaded {
		w.loaded = true
		var genuine bool
		if w.token, genuine = st.s.tokens.Parse(kind, shown); !genuine {
			return fosite.ErrNotFound
		}
		visit, err := st.s.p.Grant(ctx, w.token, shown, false)
		if err != nil && !errors.Is(err, idp.ErrNotFound) {
			return failureOf(err)
		}
		if err == nil && visit.Grant.ClientID == w.client.ID {
			w.visit = *visit
			w.request = w.requestOf()
		}
	}
	if w.request == nil {
		return fosite.ErrNotFound
	}
	return nil
}

// requestOf is the grant as the authorization request that fosite thinks was stored. Scopes that
// the client has lost since are left out, or every refresh of it would fail.
func (w *work) requestOf() *fosite.Request {
	g := w.grant()
	form := url.Values{}
	if g.Facts.RedirectSent {
		form.Set("redirect_uri", g.Facts.RedirectURI)
	}
	if g.Facts.Challenge != "" {
		form.Set("code_challenge", g.Facts.Challenge)
		form.Set("code_challenge_method", "S256")
	}
	w.session.subject = g.UserID.String()
	w.session.claims.Subject = w.session.subject
	scopes := fosite.Arguments(common(g.Scopes, w.client.Metadata.Scopes))
	return &fosite.Request{
		ID: g.ID.String(), RequestedAt: g.CreatedAt, Client: (*client)(w.client),
		RequestedScope: scopes, GrantedScope: scopes,
		RequestedAudience: fosite.Arguments(g.Audience), GrantedAudience: fosite.Arguments(g.Audience),
		Form: form, Session: &w.session,
	}
}

// GetAuthorizeCodeSession implements oauth2.AuthorizeCodeStorage.
func (st *grantStore) GetAuthorizeCodeSession(ctx context.Context, _ string, _ fosite.Session) (fosite.Requester, error) {
	w := workFrom(ctx)
	code := w.form.Get("code")
	if err := st.load(ctx, w, idp.CodeToken, code); err != nil {
		return nil, err
	}
	g := w.grant()
	hash := sha256.Sum256([]byte(code))
	if subtle.ConstantTimeCompare(g.CodeHash, hash[:]) != 1 {
		return nil, fosite.ErrNotFound
	}
	if g.CodeUsedAt != nil {
		return nil, st.s.reused(ctx, w)
	}
	if !w.visit.Alive(w.now) {
		return nil, refuse("invalid_grant", "The authorization was revoked, or its session has ended.")
	}
	if may(w.client, "refresh_token") {
		w.generation = 1
	}
	return w.request, nil
}

// ownsCode tells whether the request shows what the code was bound to beside its client: the
// redirect URI and the PKCE verifier.
func (w *work) ownsCode() bool {
	facts := &w.grant().Facts
	if facts.RedirectSent && w.form.Get("redirect_uri") != facts.RedirectURI {
		return false
	}
	verifier := w.form.Get("code_verifier")
	if facts.Challenge == "" {
		return verifier == ""
	}
	hash := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(hash[:]) == facts.Challenge
}

// InvalidateAuthorizeCodeSession implements oauth2.AuthorizeCodeStorage. Server.redeem writes it.
func (st *grantStore) InvalidateAuthorizeCodeSession(ctx context.Context, _ string) error {
	workFrom(ctx).redeemed = true
	return nil
}

// CreateAuthorizeCodeSession implements oauth2.AuthorizeCodeStorage: what is stored of the code
// was set when it was minted.
func (st *grantStore) CreateAuthorizeCodeSession(context.Context, string, fosite.Requester) error {
	return nil
}

// GetPKCERequestSession implements pkce.PKCERequestStorage.
func (st *grantStore) GetPKCERequestSession(ctx context.Context, _ string, _ fosite.Session) (fosite.Requester, error) {
	w := workFrom(ctx)
	if w.request == nil || w.grant().Facts.Challenge == "" {
		return nil, fosite.ErrNotFound
	}
	return w.request, nil
}

// CreatePKCERequestSession implements pkce.PKCERequestStorage: the challenge is in the grant.
func (st *grantStore) CreatePKCERequestSession(context.Context, string, fosite.Requester) error {
	return nil
}

// DeletePKCERequestSession implements pkce.PKCERequestStorage. Nothing is deleted, so that a wrong
// verifier burns nothing.
func (st *grantStore) DeletePKCERequestSession(context.Context, string) error { return nil }

// GetOpenIDConnectSession implements openid.OpenIDConnectRequestStorage.
func (st *grantStore) GetOpenIDConnectSession(ctx context.Context, _ string, r fosite.Requester) (fosite.Requester, error) {
	if !r.GetGrantedScopes().Has(scopeOpenID) {
		return nil, fosite.ErrNotFound
	}
	return r, nil
}

// CreateOpenIDConnectSession implements openid.OpenIDConnectRequestStorage.
func (st *grantStore) CreateOpenIDConnectSession(context.Context, string, fosite.Requester) error {
	return nil
}

// DeleteOpenIDConnectSession implements openid.OpenIDConnectRequestStorage.
func (st *grantStore) DeleteOpenIDConnectSession(context.Context, string) error { return nil }

// CreateAccessTokenSession implements oauth2.AccessTokenStorage: access tokens are not stored.
func (st *grantStore) CreateAccessTokenSession(context.Context, string, fosite.Requester) error {
	return nil
}

// GetAccessTokenSession implements oauth2.AccessTokenStorage.
func (st *grantStore) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, errUnused
}

// DeleteAccessTokenSession implements oauth2.AccessTokenStorage.
func (st *grantStore) DeleteAccessTokenSession(context.Context, string) error { return errUnused }

// GetRefreshTokenSession implements oauth2.RefreshTokenStorage. Whether its generation is worth
// anything is judged when everything else was.
func (st *grantStore) GetRefreshTokenSession(ctx context.Context, _ string, _ fosite.Session) (fosite.Requester, error) {
	w := workFrom(ctx)
	if err := st.load(ctx, w, idp.RefreshToken, w.form.Get("refresh_token")); err != nil {
		return nil, err
	}
	if !w.visit.Alive(w.now) {
		return nil, refuse("invalid_grant", "The authorization was revoked, or its session has ended.")
	}
	return w.request, nil
}

// CreateRefreshTokenSession implements oauth2.RefreshTokenStorage: the generation is in the grant.
func (st *grantStore) CreateRefreshTokenSession(context.Context, string, string, fosite.Requester) error {
	return nil
}

// DeleteRefreshTokenSession implements oauth2.RefreshTokenStorage.
func (st *grantStore) DeleteRefreshTokenSession(context.Context, string) error { return errUnused }

// RotateRefreshToken implements oauth2.RefreshTokenStorage. Server.rotate has done it.
func (st *grantStore) RotateRefreshToken(context.Context, string, string) error { return nil }

// RevokeRefreshToken implements oauth2.TokenRevocationStorage. It is never called: what revokes a
// family does so where it is found, so that a failure to revoke is not lost.
func (st *grantStore) RevokeRefreshToken(context.Context, string) error { return errUnused }

// RevokeAccessToken implements oauth2.TokenRevocationStorage, and is never called either.
func (st *grantStore) RevokeAccessToken(context.Context, string) error { return errUnused }
