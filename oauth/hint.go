package oauth

import (
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"postern/idp"
)

// readHint verifies id_token_hint and returns whom it names. The hint may have expired
// (OpenID Connect Core 1.0 §3.1.2.1), and any key that is still published may have signed it.
// What it says goes on sealed beside the form, which loses it.
func (s *Server) readHint(a *authorization) (idp.ID, *failure) {
	hint := a.form.Get("id_token_hint")
	if hint == "" {
		return idp.ID{}, nil
	}
	subject, ok := s.verifyHint(a.client, hint)
	if !ok {
		return idp.ID{}, refuse("invalid_request", "The parameter id_token_hint is not an ID token that was issued to this client.")
	}
	delete(a.form, "id_token_hint")
	return subject, nil
}

func (s *Server) verifyHint(c *idp.Client, hint string) (idp.ID, bool) {
	signed, err := jose.ParseSignedCompact(hint, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil {
		return idp.ID{}, false
	}
	header := signed.Signatures[0].Header
	alg, key, ok := s.p.PublicKey(header.KeyID)
	if !ok || alg != header.Algorithm {
		return idp.ID{}, false
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return idp.ID{}, false
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"` // as we write it
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Issuer != s.cfg.Issuer || claims.Audience != c.ID {
		return idp.ID{}, false
	}
	subject, err := idp.ParseID(claims.Subject)
	return subject, err == nil
}
