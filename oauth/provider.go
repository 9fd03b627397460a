package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
)

// compose builds fosite by hand: one instance for each grant type, so that no request asks the
// handlers of another.
func (s *Server) compose() {
	base := s.fositeConfig()
	keep, mint := &grantStore{s}, &strategy{s}
	idTokens := &openid.IDTokenHandleHelper{IDTokenStrategy: mint}

	explicit := &oauth2.AuthorizeExplicitGrantHandler{
		AccessTokenStrategy: mint, RefreshTokenStrategy: mint, AuthorizeCodeStrategy: mint,
		CoreStorage: keep, TokenRevocationStorage: keep, Config: base,
	}
	connect := &openid.OpenIDConnectExplicitHandler{
		OpenIDConnectRequestStorage:   keep,
		OpenIDConnectRequestValidator: openid.NewOpenIDConnectRequestValidator(nil, base),
		IDTokenHandleHelper:           idTokens, Config: base,
	}
	proof := &pkce.Handler{AuthorizeCodeStrategy: mint, Storage: keep, Config: base}
	refresh := &refreshGrant{s: s, RefreshTokenGrantHandler: oauth2.RefreshTokenGrantHandler{
		AccessTokenStrategy: mint, RefreshTokenStrategy: mint, TokenRevocationStorage: keep, Config: base,
	}}
	connectRefresh := &openid.OpenIDConnectRefreshHandler{IDTokenHandleHelper: idTokens, Config: base}
	credentials := &clientCredentialsGrant{ClientCredentialsGrantHandler: oauth2.ClientCredentialsGrantHandler{
		HandleHelper: &oauth2.HandleHelper{AccessTokenStrategy: mint, AccessTokenStorage: keep, Config: base},
		Config:       base,
	}}

	// The code's handler stands before those that read the code which it issues.
	codes := *base
	codes.AuthorizeEndpointHandlers = fosite.AuthorizeEndpointHandlers{explicit, connect, proof}
	s.codes = &fosite.Fosite{Store: keep, Config: &codes}

	grant := func(handlers ...fosite.TokenEndpointHandler) *fosite.Fosite {
		c := *base
		c.TokenEndpointHandlers = handlers
		return &fosite.Fosite{Store: keep, Config: &c}
	}
	s.grants = map[string]*fosite.Fosite{
		"authorization_code": grant(explicit, connect, proof),
		"refresh_token":      grant(refresh, connectRefresh),
		"client_credentials": grant(credentials),
	}
}

// fositeConfig sets every field whose getter would fill it at the first request, which is a data
// race.
func (s *Server) fositeConfig() *fosite.Config {
	return &fosite.Config{
		AccessTokenLifespan:   s.cfg.Tokens.AccessTTL,
		AuthorizeCodeLifespan: s.cfg.Tokens.CodeTTL,
		IDTokenLifespan:       s.cfg.Tokens.IDTokenTTL,
		RefreshTokenLifespan:  s.cfg.Tokens.RefreshTTL,
		RefreshTokenScopes:    []string{}, // the grant type decides, not a scope
		IDTokenIssuer:         s.cfg.Issuer,
		TokenURL:              s.cfg.Issuer + TokenPath,

		ScopeStrategy:                fosite.ExactScopeStrategy,
		AudienceMatchingStrategy:     anyAudience,
		AllowedPromptValues:          []string{"none", "login", "consent", "select_account"},
		MinParameterEntropy:          1,
		EnforcePKCEForPublicClients:  true,
		OmitRedirectScopeParam:       true,
		RedirectSecureChecker:        func(context.Context, *url.URL) bool { return true }, // judged at registration
		ClientAuthenticationStrategy: authenticated,
		ClientSecretsHasher:          noSecrets{},
		JWKSFetcherStrategy:          noFetches{},
	}
}

// authenticated answers with the client that Server.authenticate found.
func authenticated(ctx context.Context, _ *http.Request, _ url.Values) (fosite.Client, error) {
	return (*client)(workFrom(ctx).client), nil
}

// anyAudience leaves audiences alone: those of a grant were judged when it was given, and no
// request names any to fosite.
func anyAudience([]string, []string) error { return nil }

var errUnused = errors.New("fosite asked for what it has no part in")

// noSecrets keeps fosite from comparing client secrets, which the gate does.
type noSecrets struct{}

func (noSecrets) Compare(context.Context, []byte, []byte) error         { return errUnused }
func (noSecrets) Hash(context.Context, []byte) (hash []byte, err error) { return nil, errUnused }

// noFetches keeps fosite from fetching addresses that clients name.
type noFetches struct{}

func (noFetches) Resolve(context.Context, string, bool) (*jose.JSONWebKeySet, error) {
	return nil, errUnused
}

// refreshGrant adds to fosite's handler the narrowing of scopes (RFC 6749 §6) and the refresh
// machine (I-3).
type refreshGrant struct {
	oauth2.RefreshTokenGrantHandler
	s *Server
}

// HandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (h *refreshGrant) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	if err := h.RefreshTokenGrantHandler.HandleTokenEndpointRequest(ctx, r); err != nil {
		return err
	}
	asked := splitScope(workFrom(ctx).form.Get("scope"))
	if len(asked) == 0 {
		return nil
	}
	granted := r.GetGrantedScopes()
	for _, scope := range asked {
		if !granted.Has(scope) {
			return refuse("invalid_scope", "The scope "+scope+" is not among those that were granted.")
		}
	}
	r.(*fosite.AccessRequest).GrantedScope = asked
	return nil
}

// PopulateTokenEndpointResponse rotates before anything is minted, since what is minted names the
// generation that the rotation ended at. Every Handle has judged the request by now.
func (h *refreshGrant) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, answer fosite.AccessResponder) error {
	if err := h.s.rotate(ctx, workFrom(ctx), r); err != nil {
		return err
	}
	return h.RefreshTokenGrantHandler.PopulateTokenEndpointResponse(ctx, r, answer)
}

// clientCredentialsGrant adds to fosite's handler which scopes a client gets for itself.
type clientCredentialsGrant struct {
	oauth2.ClientCredentialsGrantHandler
}

// HandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (h *clientCredentialsGrant) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	if err := h.ClientCredentialsGrantHandler.HandleTokenEndpointRequest(ctx, r); err != nil {
		return err
	}
	asked := r.GetRequestedScopes()
	if len(asked) == 0 {
		// RFC 6749 §3.3: the default is all that the client may have.
		for _, scope := range r.GetClient().GetScopes() {
			if !slices.Contains(ofPeople, scope) {
				r.GrantScope(scope)
			}
		}
		return nil
	}
	for _, scope := range asked {
		if scope == scopeOpenID || scope == scopeOffline {
			return refuse("invalid_scope", "The scope "+scope+" needs an End-User, whom this grant type does not have.")
		}
		r.GrantScope(scope)
	}
	return nil
}
