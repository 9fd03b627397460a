package oauth

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/ory/fosite"

	"postern/config"
	"postern/idp"
)

// Pages show a person what cannot be answered with a redirect.
type Pages interface {
	ShowProblem(w http.ResponseWriter, r *http.Request, p idp.Problem)
}

// The addresses of the endpoints.
const (
	AuthorizePath  = "/oauth2/authorize"
	TokenPath      = "/oauth2/token"
	UserInfoPath   = "/oauth2/userinfo"
	IntrospectPath = "/oauth2/introspect"
	RevokePath     = "/oauth2/revoke"
	KeysPath       = "/oauth2/jwks"
)

// A Server is the authorization server. Its handlers may be called at the same time.
type Server struct {
	p      *idp.Provider
	cfg    *config.Config
	pages  Pages
	tokens *idp.Tokens

	codes  *fosite.Fosite            // of the authorization endpoint
	grants map[string]*fosite.Fosite // of the token endpoint, by grant type

	headers sync.Map // a signing key's kid → the encoded header of what it signs
}

// New returns a server over p. Its error tells which setting it cannot serve.
func New(p *idp.Provider, cfg *config.Config, pages Pages) (*Server, error) {
	switch cfg.OAuth.IDTokenAlg {
	case "RS256", "ES256", "EdDSA":
	default:
		return nil, fmt.Errorf("oauth.id_token_alg: %q is not RS256, ES256 or EdDSA", cfg.OAuth.IDTokenAlg)
	}
	s := &Server{p: p, cfg: cfg, pages: pages, tokens: p.Tokens()}
	s.compose()
	return s, nil
}

// PublicKeys returns the JWKS document (RFC 7517 §5).
func (s *Server) PublicKeys() ([]byte, error) { return s.p.PublicKeys() }
