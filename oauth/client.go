package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"postern/idp"
)

// client is an idp.Client as fosite sees it. It is no fosite.OpenIDConnectClient, so that fosite
// never looks at request objects, which it does not judge properly.
type client idp.Client

func (c *client) GetID() string             { return c.ID }
func (c *client) GetHashedSecret() []byte   { return nil }
func (c *client) GetRedirectURIs() []string { return c.Metadata.RedirectURIs }
func (c *client) GetGrantTypes() fosite.Arguments {
	return fosite.Arguments(grantTypes((*idp.Client)(c)))
}
func (c *client) GetScopes() fosite.Arguments   { return fosite.Arguments(c.Metadata.Scopes) }
func (c *client) IsPublic() bool                { return (*idp.Client)(c).Public() }
func (c *client) GetAudience() fosite.Arguments { return fosite.Arguments(c.Metadata.Audience) }

func (c *client) GetResponseTypes() fosite.Arguments {
	return fosite.Arguments(responseTypes((*idp.Client)(c)))
}

// GetResponseModes implements fosite.ResponseModeClient.
func (c *client) GetResponseModes() []fosite.ResponseModeType { return responseModes }

var (
	responseModes        = []fosite.ResponseModeType{fosite.ResponseModeQuery}
	defaultGrantTypes    = []string{"authorization_code"} // RFC 7591 §2
	defaultResponseTypes = []string{"code"}               // RFC 7591 §2
)

func grantTypes(c *idp.Client) []string {
	if len(c.Metadata.GrantTypes) == 0 {
		return defaultGrantTypes
	}
	return c.Metadata.GrantTypes
}

func responseTypes(c *idp.Client) []string {
	if len(c.Metadata.ResponseTypes) == 0 {
		return defaultResponseTypes
	}
	return c.Metadata.ResponseTypes
}

// credentials are what a client shows to authenticate itself.
type credentials struct {
	id, secret string
	method     string
}

// authenticate tells which client sends a request to the token, introspection or revocation
// endpoint (RFC 6749 §2.3). A client must use the method that it is registered for, and no other
// beside it.
func (s *Server) authenticate(ctx context.Context, r *http.Request, form url.Values) (*idp.Client, *failure) {
	shown, f := readCredentials(r, form)
	if f != nil {
		return nil, f
	}
	c, err := s.p.Client(ctx, shown.id)
	if err != nil && !errors.Is(err, idp.ErrNotFound) {
		return nil, failureOf(err)
	}
	// An unknown client fails like a wrong secret, and counts as one.
	if err == nil && !c.Live() {
		return nil, invalidClient("the client is disabled")
	}
	if err == nil && c.Metadata.TokenEndpointAuthMethod != shown.method {
		return nil, invalidClient("the client is registered for " + c.Metadata.TokenEndpointAuthMethod + " and used " + shown.method)
	}
	if err == nil && shown.method == idp.AuthNone {
		return c, nil
	}
	err = s.p.AuthenticateClient(ctx, c, shown.secret)
	switch {
	case err == nil:
		return c, nil
	case idp.KindOf(err) != idp.Denied:
		return nil, failureOf(err)
	case c == nil:
		return nil, invalidClient("the client is unknown")
	}
	return nil, invalidClient("the secret is wrong")
}

func readCredentials(r *http.Request, form url.Values) (credentials, *failure) {
	headers := r.Header["Authorization"]
	id, secret := form.Get("client_id"), form.Get("client_secret")
	switch {
	case form.Get("client_assertion") != "" || form.Get("client_assertion_type") != "":
		return credentials{}, invalidClient("no client is registered for a client_assertion")
	case len(headers) > 1 || len(headers) == 1 && secret != "":
		return credentials{}, refuse("invalid_request", "Only one client authentication method may be used.")
	case len(headers) == 1:
		shown, ok := readBasic(headers[0])
		if !ok {
			return credentials{}, invalidClient("the Authorization header has no Basic credentials")
		}
		if id != "" && id != shown.id {
			return credentials{}, refuse("invalid_request", "The parameter client_id names another client than the Authorization header.")
		}
		return shown, nil
	case id == "":
		return credentials{}, invalidClient("the request names no client")
	case secret != "":
		return credentials{id: id, secret: secret, method: idp.AuthPost}, nil
	}
	return credentials{id: id, method: idp.AuthNone}, nil
}

// readBasic reads HTTP Basic credentials, both parts of which are form-encoded (RFC 6749 §2.3.1).
func readBasic(header string) (credentials, bool) {
	const scheme = "Basic "
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return credentials{}, false
	}
	plain, err := base64.StdEncoding.DecodeString(header[len(scheme):])
	if err != nil {
		return credentials{}, false
	}
	encodedID, encodedSecret, ok := strings.Cut(string(plain), ":")
	if !ok {
		return credentials{}, false
	}
	id, err := url.QueryUnescape(encodedID)
	if err != nil {
		return credentials{}, false
	}
	secret, err := url.QueryUnescape(encodedSecret)
	if err != nil || id == "" || secret == "" || !isText(id) || !isText(secret) {
		return credentials{}, false
	}
	return credentials{id: id, secret: secret, method: idp.AuthBasic}, true
}

// may tells whether c is registered for a grant type.
func may(c *idp.Client, grantType string) bool { return slices.Contains(grantTypes(c), grantType) }
