package conformance

import (
	"slices"

	"postern/conformance/rp"
)

func (m *module) refreshToken() {
	if !m.provider.Supports("grant_types_supported", "refresh_token") {
		m.Error("grant_types_supported lacks refresh_token")
	}
	first, request := m.offline(m.basic)
	if first.Tokens.RefreshToken == "" {
		m.Skip("there is no refresh token; the suite skips this then")
	}
	fresh := m.refresh(m.basic, first, request.Params.Get("nonce"))
	m.userInfo(rp.SignedIn{Tokens: fresh, Claims: first.Claims})

	// Another client's refresh token is refused, and goes on working for its own client.
	second, secondRequest := m.offline(m.second)
	answer, err := m.basic.Refresh(m.Context(), second.Tokens.RefreshToken, "")
	if err != nil {
		m.Fatal(err)
	}
	if code, err := answer.ErrorCode(); err != nil || code != "invalid_grant" {
		m.Errorf("another client's refresh token: got %q (%v), want invalid_grant", code, err)
	}
	m.refresh(m.second, second, secondRequest.Params.Get("nonce"))
}

// offline signs in for access that lasts, and is asked whether that may be.
func (m *module) offline(party rp.RelyingParty) (rp.SignedIn, *rp.Request) {
	m.Helper()
	request := party.NewRequest("code_challenge", "", "prompt", "consent")
	if slices.Contains(m.provider.Scopes, "offline_access") {
		request.Params.Set("scope", "openid offline_access")
	}
	signedIn := m.signInAt(party, request)
	if signedIn.Consents != 1 {
		m.Errorf("prompt=consent: the person was asked %d times, want 1", signedIn.Consents)
	}
	return signedIn, request
}

// refresh uses the refresh token of s and holds what the new ID token says to what the first one
// said (OpenID Connect Core 1.0 §12.2).
func (m *module) refresh(party rp.RelyingParty, s rp.SignedIn, nonce string) rp.Tokens {
	m.Helper()
	answer, err := party.Refresh(m.Context(), s.Tokens.RefreshToken, "")
	if err != nil {
		m.Fatal(err)
	}
	tokens, err := answer.Tokens()
	if err != nil {
		m.Fatal(err)
	}
	if tokens.AccessToken == s.Tokens.AccessToken {
		m.Error("the access token is the same as before")
	}
	if tokens.IDToken == "" {
		return tokens
	}
	claims, err := party.Verify(tokens.IDToken, rp.Expectation{Nonce: nonce, AccessToken: tokens.AccessToken, Refreshed: true})
	if err != nil {
		m.Fatal(err)
	}
	for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time"} {
		if claims[name] != s.Claims[name] {
			m.Errorf("%s: first %v, then %v", name, s.Claims[name], claims[name])
		}
	}
	return tokens
}
