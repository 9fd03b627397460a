package oauth

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/ory/fosite"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"postern/idp"
)

// idToken are the claims of an ID token (OpenID Connect Core 1.0 §2) that need no asking for.
type idToken struct {
	Issuer     string   `json:"iss"`
	Subject    string   `json:"sub"`
	Audience   string   `json:"aud"`
	Expires    int64    `json:"exp"`
	IssuedAt   int64    `json:"iat"`
	AuthTime   int64    `json:"auth_time,omitempty"`
	Nonce      string   `json:"nonce,omitempty"`
	ACR        string   `json:"acr,omitempty"`
	AMR        []string `json:"amr,omitempty"`
	AccessHash string   `json:"at_hash,omitempty"`
	SessionID  string   `json:"sid,omitempty"` // OpenID Connect Front-Channel Logout 1.0 §3
}

// GenerateIDToken implements openid.OpenIDConnectTokenStrategy. Claims about the End-User belong
// to userinfo (OpenID Connect Core 1.0 §5.4) and are here only where the claims parameter asks for
// them here.
func (m *strategy) GenerateIDToken(ctx context.Context, _ time.Duration, _ fosite.Requester) (string, error) {
	w := workFrom(ctx)
	g, s := w.grant(), m.s
	key, err := s.p.SigningKey(s.idTokenAlg(w.client))
	if err != nil {
		return "", err
	}
	claims := idToken{
		Issuer: s.cfg.Issuer, Subject: g.UserID.String(), Audience: g.ClientID,
		Expires: w.now.Add(s.cfg.Tokens.IDTokenTTL).Unix(), IssuedAt: w.now.Unix(),
		ACR: g.Facts.ACR, AMR: g.Facts.AMR, AccessHash: leftHalf(key.Alg, w.access),
	}
	if !g.SessionID.IsZero() {
		claims.SessionID = g.SessionID.String()
	}
	if g.Facts.AuthTimeAsked {
		claims.AuthTime = g.Facts.AuthTime
	}
	if w.token.Kind == idp.CodeToken {
		claims.Nonce = g.Facts.Nonce // not at a refresh: OpenID Connect Core 1.0 §12.2
	}
	payload, err := json.Marshal(&claims)
	if err != nil {
		return "", fmt.Errorf("encode id token: %w", err)
	}
	if g.Facts.Claims != "" {
		if payload, err = s.addAsked(ctx, w, payload); err != nil {
			return "", err
		}
	}
	return s.sign(key, payload)
}

// addAsked adds to the ID token's JSON the claims about the End-User that the id_token member of
// the claims parameter asks for (OpenID Connect Core 1.0 §5.5). It costs another SELECT.
func (s *Server) addAsked(ctx context.Context, w *work, payload []byte) ([]byte, error) {
	asked, err := idp.ParseClaims(w.grant().Facts.Claims)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range asked.IDToken {
		if mayLearn(w.client, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return payload, nil
	}
	shown := w.form.Get("code")
	if w.token.Kind == idp.RefreshToken {
		shown = w.form.Get("refresh_token")
	}
	visit, err := s.p.Grant(ctx, w.token, shown, true)
	if err != nil {
		return nil, err
	}
	extra := map[string]any{}
	for _, name := range names {
		putClaim(extra, visit.User, name)
	}
	if len(extra) == 0 {
		return payload, nil
	}
	more, err := json.Marshal(extra)
	if err != nil {
		return nil, fmt.Errorf("encode claims: %w", err)
	}
	payload[len(payload)-1] = ','
	return append(payload, more[1:]...), nil
}

func (s *Server) idTokenAlg(c *idp.Client) string {
	if c.Metadata.IDTokenAlg != "" {
		return c.Metadata.IDTokenAlg
	}
	return s.cfg.OAuth.IDTokenAlg
}

// leftHalf is at_hash (OpenID Connect Core 1.0 §3.1.3.6): the left half of the hash that goes with
// the signature's algorithm, SHA-512 for Ed25519.
func leftHalf(alg, token string) string {
	if alg == "EdDSA" {
		hash := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.EncodeToString(hash[:32])
	}
	hash := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(hash[:16])
}

// sign writes the compact form of RFC 7515 §7.1. A signer is asked directly, since its header is
// the same for every token of a key.
func (s *Server) sign(key *idp.SigningKey, payload []byte) (string, error) {
	header := s.header(key)
	const longest = 512 // bytes of an encoded signature: RSA-3072
	token := make([]byte, 0, len(header)+base64.RawURLEncoding.EncodedLen(len(payload))+1+longest)
	token = append(token, header...)
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	signature, err := signature(key, token)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", key.ID, err)
	}
	token = append(token, '.')
	token = base64.RawURLEncoding.AppendEncode(token, signature)
	return string(token), nil
}

func (s *Server) header(key *idp.SigningKey) string {
	if known, ok := s.headers.Load(key.ID); ok {
		return known.(string)
	}
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+key.Alg+`","kid":"`+key.ID+`","typ":"JWT"}`)) + "."
	s.headers.Store(key.ID, header)
	return header
}

// signature signs as RFC 7518 §3.3 (RS256) and §3.4 (ES256) and RFC 8037 §3.1 (EdDSA) say.
func signature(key *idp.SigningKey, input []byte) ([]byte, error) {
	if key.Alg == "EdDSA" {
		return key.Signer.Sign(rand.Reader, input, crypto.Hash(0))
	}
	digest := sha256.Sum256(input)
	signed, err := key.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || key.Alg != "ES256" {
		return signed, err
	}
	return fixedLength(signed)
}

// fixedLength turns an ASN.1 signature over P-256 into the two 32-byte numbers of RFC 7518 §3.4.
func fixedLength(der []byte) ([]byte, error) {
	input := cryptobyte.String(der)
	var both cryptobyte.String
	var r, s big.Int
	if !input.ReadASN1(&both, asn1.SEQUENCE) || !both.ReadASN1Integer(&r) || !both.ReadASN1Integer(&s) || !both.Empty() ||
		r.BitLen() > 256 || s.BitLen() > 256 {
		return nil, fmt.Errorf("not an ECDSA signature over P-256")
	}
	fixed := make([]byte, 64)
	r.FillBytes(fixed[:32])
	s.FillBytes(fixed[32:])
	return fixed, nil
}
