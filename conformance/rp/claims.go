package rp

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // for the hashes of at_hash and c_hash
	_ "crypto/sha512" // for the hashes of at_hash and c_hash
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Claims are those of an ID token, of userinfo or of introspection, as JSON has them.
type Claims map[string]any

// Text is a claim that is a string; empty where it is none.
func (c Claims) Text(name string) string {
	s, _ := c[name].(string)
	return s
}

// Number is a claim that is a number; 0 where it is none.
func (c Claims) Number(name string) float64 {
	n, _ := c[name].(float64)
	return n
}

// Names are the claims' names, sorted.
func (c Claims) Names() []string { return slices.Sorted(maps.Keys(c)) }

func readClaims(text []byte) (Claims, error) {
	var c Claims
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&c); err != nil {
		return nil, fmt.Errorf("read claims: %w", err)
	}
	if c == nil {
		return nil, errors.New("read claims: null")
	}
	return c, nil
}

// scopeClaims are the claims of each scope (OpenID Connect Core 1.0 §5.4).
var scopeClaims = map[string][]string{
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

// ScopeClaims are the claims that scope asks for, sorted; sub goes without saying.
func ScopeClaims(scopes ...string) []string {
	var names []string
	for _, scope := range scopes {
		names = append(names, scopeClaims[scope]...)
	}
	slices.Sort(names)
	return names
}

// allowedInIDToken are the claims of an ID token that comes with an access token: what concerns
// the authentication, and nothing of the person but sub.
var allowedInIDToken = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "auth_time", "nonce", "acr", "amr", "azp",
	"at_hash", "c_hash", "s_hash", "sid", "txn",
}

// An Expectation is what an ID token is judged by, beside the client and the clock.
type Expectation struct {
	Nonce       string // empty: there must be none
	Refreshed   bool   // the nonce may be absent (OpenID Connect Core 1.0 §12.2)
	AccessToken string // for at_hash, which may be absent
	Alg         string // RS256 where it is empty
}

const (
	maxSkew    = 5 * time.Minute
	maxSubject = 255 // ASCII characters, OpenID Connect Core 1.0 §2
)

// Verify verifies an ID token of the token endpoint (OpenID Connect Core 1.0 §3.1.3.7).
func (r *RelyingParty) Verify(idToken string, want Expectation) (Claims, error) {
	alg := want.Alg
	if alg == "" {
		alg = string(jose.RS256)
	}
	token, err := jose.ParseSignedCompact(idToken, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		return nil, fmt.Errorf("ID token: %w", err)
	}
	payload, err := r.verifySignature(token)
	if err != nil {
		return nil, fmt.Errorf("ID token: %w", err)
	}
	claims, err := readClaims(payload)
	if err != nil {
		return nil, fmt.Errorf("ID token: %w", err)
	}
	if err := errors.Join(r.judgeIdentity(claims), r.judgeTimes(claims), judgeAuthentication(claims, want, alg)); err != nil {
		return nil, fmt.Errorf("ID token: %w", err)
	}
	return claims, nil
}

func (p *Provider) verifySignature(token *jose.JSONWebSignature) ([]byte, error) {
	header := token.Signatures[0].Header
	keys := p.Keys.Key(header.KeyID)
	if header.KeyID == "" || len(keys) != 1 {
		return nil, fmt.Errorf("%d keys for kid %q", len(keys), header.KeyID)
	}
	// A key that names an algorithm is for no other one (RFC 7517 §4.4).
	if keys[0].Algorithm != "" && keys[0].Algorithm != header.Algorithm {
		return nil, fmt.Errorf("key %s is for %s, the token has %s", header.KeyID, keys[0].Algorithm, header.Algorithm)
	}
	if keys[0].Use != "" && keys[0].Use != "sig" {
		return nil, fmt.Errorf("key %s is for %s", header.KeyID, keys[0].Use)
	}
	return token.Verify(keys[0])
}

func (r *RelyingParty) judgeIdentity(c Claims) error {
	var problems []error
	if c.Text("iss") != r.Issuer {
		problems = append(problems, fmt.Errorf("iss is %q, want %q", c.Text("iss"), r.Issuer))
	}
	audience := []any{c["aud"]}
	if list, ok := c["aud"].([]any); ok {
		audience = list
	}
	if !slices.Contains(audience, any(r.ClientID)) || (len(audience) > 1 && c["azp"] == nil) {
		problems = append(problems, fmt.Errorf("aud is %v with azp %v, want %q", c["aud"], c["azp"], r.ClientID))
	}
	if azp, ok := c["azp"]; ok && azp != r.ClientID {
		problems = append(problems, fmt.Errorf("azp is %v, want %q", azp, r.ClientID))
	}
	sub := c.Text("sub")
	ascii := strings.IndexFunc(sub, func(r rune) bool { return r < 0x20 || r > 0x7e }) < 0
	if sub == "" || len(sub) > maxSubject || !ascii {
		problems = append(problems, fmt.Errorf("sub is %q", sub))
	}
	for _, name := range c.Names() {
		if !slices.Contains(allowedInIDToken, name) {
			problems = append(problems, fmt.Errorf("%s was not asked for", name))
		}
	}
	return errors.Join(problems...)
}

func (p *Provider) judgeTimes(c Claims) error {
	now := p.now()
	issued, expires := time.Unix(int64(c.Number("iat")), 0), time.Unix(int64(c.Number("exp")), 0)
	var problems []error
	if issued.Before(now.Add(-maxSkew)) || issued.After(now.Add(maxSkew)) {
		problems = append(problems, fmt.Errorf("iat is %v, and it is %v", c["iat"], now.Unix()))
	}
	if !expires.After(now) {
		problems = append(problems, fmt.Errorf("exp is %v, and it is %v", c["exp"], now.Unix()))
	}
	if at, ok := c["auth_time"]; ok {
		n, number := at.(float64)
		if !number || n != float64(int64(n)) || n <= 0 || n > float64(now.Add(maxSkew).Unix()) {
			problems = append(problems, fmt.Errorf("auth_time is %v, and it is %v", at, now.Unix()))
		}
	}
	return errors.Join(problems...)
}

func judgeAuthentication(c Claims, want Expectation, alg string) error {
	var problems []error
	nonce, sent := c["nonce"]
	if (sent || !want.Refreshed) && (sent != (want.Nonce != "") || (sent && nonce != want.Nonce)) {
		problems = append(problems, fmt.Errorf("nonce is %v, want %q", nonce, want.Nonce))
	}
	if acr, ok := c["acr"]; ok && c.Text("acr") == "" {
		problems = append(problems, fmt.Errorf("acr is %v", acr))
	}
	if got, ok := c["at_hash"]; ok && want.AccessToken != "" {
		if hash := leftHalf(alg, want.AccessToken); got != hash {
			problems = append(problems, fmt.Errorf("at_hash is %v, want %s", got, hash))
		}
	}
	return errors.Join(problems...)
}

// leftHalf is the hash of OpenID Connect Core 1.0 §3.1.3.6. Ed25519 goes with SHA-512.
func leftHalf(alg, token string) string {
	hash := crypto.SHA256
	switch {
	case strings.HasSuffix(alg, "384"):
		hash = crypto.SHA384
	case strings.HasSuffix(alg, "512"), alg == "EdDSA", alg == "Ed25519":
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write([]byte(token))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

var birthdate = regexp.MustCompile(`^([0-9]{4}|[0-9]{4}-[0-9]{2}-[0-9]{2})$`)

// JudgeUserInfo holds the types of the standard claims (OpenID Connect Core 1.0 §5.1).
func JudgeUserInfo(c Claims, subject string) error {
	var problems []error
	if subject == "" || c.Text("sub") != subject {
		problems = append(problems, fmt.Errorf("sub is %v, want %q", c["sub"], subject))
	}
	for _, name := range c.Names() {
		if err := judgeClaim(name, c[name]); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func judgeClaim(name string, value any) error {
	good := true
	switch name {
	case "email_verified", "phone_number_verified":
		_, good = value.(bool)
	case "updated_at":
		_, good = value.(float64)
	case "address":
		address, ok := value.(map[string]any)
		good = ok && len(address) > 0
		for _, part := range address {
			text, ok := part.(string)
			good = good && ok && text != ""
		}
	case "birthdate":
		text, _ := value.(string)
		good = birthdate.MatchString(text)
	default:
		if text, ok := value.(string); ok {
			good = text != "" && text != "null"
		} else {
			good = value != nil && !slices.Contains(ScopeClaims("profile", "email", "phone"), name)
		}
	}
	if !good {
		return fmt.Errorf("%s is %#v", name, value)
	}
	return nil
}
