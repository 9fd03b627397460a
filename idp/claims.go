package idp

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A ClaimsRequest is the claims parameter (OpenID Connect Core 1.0 §5.5).
type ClaimsRequest struct {
	IDToken  map[string]*ClaimRequest `json:"id_token,omitempty"`
	UserInfo map[string]*ClaimRequest `json:"userinfo,omitempty"`
}

// A ClaimRequest is how one claim is asked for; nil means "in the default manner".
type ClaimRequest struct {
	Essential bool  `json:"essential,omitempty"`
	Value     any   `json:"value,omitempty"`
	Values    []any `json:"values,omitzero"` // an empty list allows none, nil allows any
}

// Limits of the claims parameter. Real ones ask for a dozen claims; the standard names twenty.
const (
	maxClaimsSize = 8 << 10 // bytes
	maxClaims     = 64      // in each of id_token and userinfo
	maxClaimName  = 128     // bytes
	maxValues     = 64      // of one claim
)

// ParseClaims reads the claims parameter. What is not of the right shape is an error, whose words
// quote nothing; unknown members are ignored, as OpenID Connect Core 1.0 §5.5 and §5.5.1 ask.
func ParseClaims(text string) (*ClaimsRequest, error) {
	if len(text) > maxClaimsSize {
		return nil, fmt.Errorf("claims: it has more than %d bytes", maxClaimsSize)
	}
	top, err := jsonObject([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("claims: it is %w", err)
	}
	c := &ClaimsRequest{}
	if c.IDToken, err = parseClaimsOf("id_token", top); err != nil {
		return nil, err
	}
	if c.UserInfo, err = parseClaimsOf("userinfo", top); err != nil {
		return nil, err
	}
	return c, nil
}

func parseClaimsOf(member string, top map[string]json.RawMessage) (map[string]*ClaimRequest, error) {
	raw, ok := top[member]
	if !ok {
		return nil, nil
	}
	object, err := jsonObject(raw)
	if err != nil {
		return nil, fmt.Errorf("claims: %s is %w", member, err)
	}
	if len(object) > maxClaims {
		return nil, fmt.Errorf("claims: %s asks for more than %d claims", member, maxClaims)
	}
	claims := make(map[string]*ClaimRequest, len(object))
	for name, raw := range object {
		if name == "" || len(name) > maxClaimName {
			return nil, fmt.Errorf("claims: a claim's name in %s has %d bytes, want 1 to %d", member, len(name), maxClaimName)
		}
		if claims[name], err = parseClaim(raw); err != nil {
			return nil, fmt.Errorf("claims: a claim of %s: %w", member, err)
		}
	}
	return claims, nil
}

func parseClaim(raw json.RawMessage) (*ClaimRequest, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	object, err := jsonObject(raw)
	if err != nil {
		return nil, errors.New("it is neither null nor an object")
	}
	c := &ClaimRequest{}
	if raw, ok := object["essential"]; ok {
		if s := string(raw); s != "true" && s != "false" {
			return nil, errors.New("essential is neither true nor false")
		}
		c.Essential = string(raw) == "true"
	}
	if raw, ok := object["value"]; ok {
		if err := json.Unmarshal(raw, &c.Value); err != nil {
			return nil, errors.New("value has a number that is out of range") // all else was parsed before
		}
	}
	if raw, ok := object["values"]; ok {
		if len(raw) == 0 || raw[0] != '[' {
			return nil, errors.New("values is not an array")
		}
		if err := json.Unmarshal(raw, &c.Values); err != nil {
			return nil, errors.New("values have a number that is out of range")
		}
		if len(c.Values) > maxValues {
			return nil, fmt.Errorf("values has more than %d entries", maxValues)
		}
	}
	return c, nil
}

var errNoObject = errors.New("not a JSON object")

// jsonObject reads one object and nothing else: json.Unmarshal takes null for any map.
func jsonObject(raw []byte) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return nil, errNoObject
	}
	return object, nil
}

// ofTheProtocol are claims that speak of the token or of the authentication, not of the user.
var ofTheProtocol = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "auth_time", "nonce", "acr", "amr", "azp", "sid",
	"at_hash", "c_hash", "s_hash",
}

// Names are the claims asked for that tell something about the user, sorted, each once; those of
// the authentication itself (acr, auth_time, amr, sub …) are left out.
func (c *ClaimsRequest) Names() []string {
	if c == nil {
		return nil
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(c.IDToken)), maps.Keys(c.UserInfo))
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return slices.Contains(ofTheProtocol, name)
	})
}

// subjects are the values of sub that the ID token may have (OpenID Connect Core 1.0 §5.5.1); nil
// where any will do.
func (c *ClaimsRequest) subjects() []any {
	if c == nil {
		return nil
	}
	return c.IDToken["sub"].allowed()
}

// acr is how the ID token's acr is asked for (OpenID Connect Core 1.0 §5.5.1.1), nil for not at all.
func (c *ClaimsRequest) acr() *ClaimRequest {
	if c == nil {
		return nil
	}
	return c.IDToken["acr"]
}

// AsksForACR tells whether acr is asked for by one or several values.
func (c *ClaimsRequest) AsksForACR() bool { return c.acr().allowed() != nil }

// allowed are the values that the claim may have, nil for any.
func (c *ClaimRequest) allowed() []any {
	switch {
	case c == nil:
		return nil
	case c.Value != nil:
		return []any{c.Value}
	}
	return c.Values
}

// ScopeClaims are the claims that a scope asks for (OpenID Connect Core 1.0 §5.4), nil for a scope
// that asks for none. Nobody changes the list.
func ScopeClaims(scope string) []string { return scopeClaims[scope] }

var scopeClaims = map[string][]string{
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}
