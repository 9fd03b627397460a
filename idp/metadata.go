package idp

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/idp/secret"
)

// What a client may register (RFC 7591 §2).
var (
	knownAuthMethods   = []string{AuthBasic, AuthPost, AuthNone}
	knownGrantTypes    = []string{"authorization_code", "refresh_token", "client_credentials"}
	knownResponseTypes = []string{"code"}
	// defaultScopes are those of OpenID Connect Core 1.0 §5.4 and §11.
	defaultScopes = List{"openid", "profile", "email", "address", "phone", "offline_access"}
)

// Limits of a client's metadata, so that no row grows without end.
const (
	maxRedirectURIs = 50
	maxURI          = 2048 // bytes
	maxListed       = 100
	maxClientName   = 128 // code points
	minChosenSecret = 12  // characters; a shorter one falls to guessing, stretched or not
	maxChosenSecret = 256
)

var (
	clientIDPattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)          // RFC 3986 §2.3
	scopePattern    = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,128}$`) // RFC 6749 §3.3
	secretPattern   = regexp.MustCompile(`^[\x20-\x7E]+$`)                    // RFC 6749 §A.2
	schemePattern   = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
)

// complete fills in what was left out. Unlike RFC 7591 §2, a client may refresh unless it says
// which grant types it wants, since the refresh token needs the scope offline_access or a live
// session anyway.
func (m *Metadata) complete() {
	if m.TokenEndpointAuthMethod == "" {
		m.TokenEndpointAuthMethod = AuthBasic
	}
	if m.ApplicationType == "" {
		m.ApplicationType = "web"
	}
	if len(m.GrantTypes) == 0 {
		m.GrantTypes = List{"authorization_code", "refresh_token"}
	}
	if m.redirects() && len(m.ResponseTypes) == 0 {
		m.ResponseTypes = List{"code"}
	}
	if m.redirects() && len(m.Scopes) == 0 {
		m.Scopes = slices.Clone(defaultScopes)
	}
}

// redirects tells whether the client sends End-Users to the authorization endpoint.
func (m *Metadata) redirects() bool { return slices.Contains(m.GrantTypes, "authorization_code") }

// A flaw is an Invalid with the code of RFC 7591 §3.2.2.
func flaw(field, why string) *Error {
	code := "invalid_client_metadata"
	if field == "redirect_uris" {
		code = "invalid_redirect_uri"
	}
	return invalid(code, field, map[string]any{"why": why})
}

// check judges a client and the secret that somebody chose for it.
func (c *Client) check(chosenSecret string) error {
	switch {
	case !clientIDPattern.MatchString(c.ID):
		return flaw("client_id", "must be 1 to 128 of the letters, digits and - . _ ~")
	case chosenSecret == "":
	case c.Public():
		return flaw("client_secret", "a public client has none")
	case len(chosenSecret) < minChosenSecret || len(chosenSecret) > maxChosenSecret || !secretPattern.MatchString(chosenSecret):
		return flaw("client_secret", "must be 12 to 256 printable ASCII characters; leave it out to have one generated")
	}
	return c.Metadata.check()
}

func (m *Metadata) check() error {
	switch {
	case !plainText(m.Name) || utf8.RuneCountInString(m.Name) > maxClientName:
		return flaw("client_name", "must be one line of at most 128 characters")
	case !slices.Contains(knownAuthMethods, m.TokenEndpointAuthMethod):
		return flaw("token_endpoint_auth_method", "must be one of "+strings.Join(knownAuthMethods, ", "))
	case m.ApplicationType != "web" && m.ApplicationType != "native":
		return flaw("application_type", "must be web or native")
	case m.IDTokenAlg != "" && !slices.Contains(SigningAlgs, m.IDTokenAlg):
		return flaw("id_token_signed_response_alg", "must be one of "+strings.Join(SigningAlgs, ", "))
	case m.DefaultMaxAge != nil && *m.DefaultMaxAge < 0:
		return flaw("default_max_age", "must not be negative")
	case m.PKCEOptional && m.TokenEndpointAuthMethod == AuthNone:
		return flaw("pkce_optional", "a public client needs PKCE (RFC 9700 §2.1.1)")
	}
	for field, uri := range map[string]string{"client_uri": m.URI, "logo_uri": m.LogoURI, "policy_uri": m.PolicyURI, "tos_uri": m.TOSURI} {
		if uri != "" && (len(uri) > maxURI || !webAddress(uri)) {
			return flaw(field, "must be a URL of https or http")
		}
	}
	if err := m.checkLists(); err != nil {
		return err
	}
	return m.checkRedirectURIs()
}

func (m *Metadata) checkLists() error {
	for _, g := range m.GrantTypes {
		if !slices.Contains(knownGrantTypes, g) {
			return flaw("grant_types", "must be among "+strings.Join(knownGrantTypes, ", "))
		}
	}
	for _, r := range m.ResponseTypes {
		if !slices.Contains(knownResponseTypes, r) {
			return flaw("response_types", "must be among "+strings.Join(knownResponseTypes, ", "))
		}
	}
	for _, s := range slices.Concat(m.Scopes, m.Audience) {
		if !scopePattern.MatchString(s) {
			return flaw("scope", "has the value "+s+", which RFC 6749 §3.3 does not allow")
		}
	}
	public := m.TokenEndpointAuthMethod == AuthNone
	switch {
	case len(m.Scopes) > maxListed || len(m.Audience) > maxListed:
		return flaw("scope", "has more than 100 values")
	case m.redirects() != slices.Contains(m.ResponseTypes, "code"): // RFC 7591 §2.1
		return flaw("response_types", "code and the grant type authorization_code belong together")
	case slices.Contains(m.GrantTypes, "refresh_token") && !m.redirects():
		return flaw("grant_types", "refresh_token needs authorization_code beside it")
	case slices.Contains(m.GrantTypes, "client_credentials") && public: // RFC 6749 §4.4
		return flaw("grant_types", "client_credentials needs a client with a secret")
	}
	return nil
}

func (m *Metadata) checkRedirectURIs() error {
	switch {
	case m.redirects() && len(m.RedirectURIs) == 0:
		return flaw("redirect_uris", "at least one is needed")
	case len(m.RedirectURIs) > maxRedirectURIs:
		return flaw("redirect_uris", "are more than 50")
	}
	for i, uri := range m.RedirectURIs {
		if slices.Contains(m.RedirectURIs[:i], uri) {
			return flaw("redirect_uris", uri+" is there twice")
		}
		if why := m.refuseRedirectURI(uri); why != "" {
			return flaw("redirect_uris", uri+" "+why)
		}
	}
	return nil
}

// refuseRedirectURI says why uri may not be registered, "" where it may (RFC 6749 §3.1.2,
// RFC 9700 §4.1, RFC 8252 §7).
func (m *Metadata) refuseRedirectURI(uri string) string {
	u, err := url.Parse(uri)
	scheme, _, absolute := strings.Cut(uri, ":")
	switch {
	case len(uri) > maxURI:
		return "is longer than 2048 bytes"
	case err != nil || !utf8.ValidString(uri) || strings.ContainsAny(uri, " \\\"<>^`{|}") || !plainText(uri) || strings.Contains(uri, "*"):
		return "is not a URL with a host; a wildcard is not allowed"
	case !absolute || !schemePattern.MatchString(scheme):
		return "is not absolute: begin it with https:// in small letters"
	case strings.ContainsFunc(uri, func(r rune) bool { return r > unicode.MaxASCII }):
		// RFC 3986 §2, and consent shows the host: a letter of another alphabet passes for ours.
		return "is not ASCII: write a host's xn-- form, and % escapes elsewhere"
	case strings.Contains(uri, "#"):
		return "has a fragment"
	case u.User != nil:
		return "has a user name before its host"
	}
	return m.refuseScheme(u)
}

func (m *Metadata) refuseScheme(u *url.URL) string {
	native := m.ApplicationType == "native"
	switch u.Scheme {
	case "https":
		if u.Hostname() == "" {
			return "has no host"
		}
		return ""
	case "http":
		if !loopback(u.Hostname()) {
			return "has no https, which every host but localhost, 127.0.0.1 and [::1] needs"
		}
		return ""
	}
	switch {
	case !native:
		return "has a scheme of its own, which is for clients of the application type native"
	case !strings.Contains(u.Scheme, "."): // RFC 8252 §7.1; it also keeps javascript: and data: out
		return "has a scheme without a dot: write a domain of yours backwards, such as com.example.app:/signed-in"
	}
	return ""
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Stretched tells whether one of the secrets was chosen too short to be hashed once: it is slower
// to check, and can be guessed (I-14).
func (s Secrets) Stretched() bool {
	return slices.ContainsFunc(s, func(one ClientSecret) bool { return !secret.Generated(one.Hash) })
}
