package rp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestVerifyRefusesWhatAnIDTokenMustNotSay(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	party := RelyingParty{ClientID: "client", Provider: &Provider{
		Metadata: Metadata{Issuer: "https://op.example"},
		Now:      func() time.Time { return now },
		Keys:     jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}},
	}}
	sign := func(kid string, claims Claims) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := token.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := Claims{
		"iss": "https://op.example", "sub": "alice", "aud": "client", "nonce": "n",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "auth_time": now.Unix(), "acr": "1",
		"at_hash": leftHalf("ES256", "token"),
	}
	want := Expectation{Nonce: "n", AccessToken: "token", Alg: "ES256"}
	if _, err := party.Verify(sign("1", good), want); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	if _, err := party.Verify(sign("2", good), want); err == nil {
		t.Error("an unknown kid was taken")
	}
	if _, err := party.Verify(sign("1", good), Expectation{Nonce: "n", Alg: "RS256"}); err == nil {
		t.Error("another algorithm was taken")
	}
	for name, change := range map[string]Claims{
		"another issuer": {"iss": "https://op.example/"}, "another audience": {"aud": []string{"other"}},
		"two audiences without azp": {"aud": []string{"client", "other"}}, "another azp": {"azp": "other"},
		"no subject": {"sub": ""}, "another nonce": {"nonce": "m"}, "expired": {"exp": now.Unix()},
		"issued long ago": {"iat": now.Add(-time.Hour).Unix()}, "an e-mail": {"email": "a@example.com"},
		"an empty acr": {"acr": ""}, "auth_time as text": {"auth_time": "1"}, "another at_hash": {"at_hash": "x"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := maps.Clone(good)
			maps.Copy(claims, change)
			if _, err := party.Verify(sign("1", claims), want); err == nil {
				t.Error("it was taken")
			}
		})
	}
	if _, err := party.Verify(sign("1", good), Expectation{Alg: "ES256"}); err == nil {
		t.Error("a nonce that was not sent was taken")
	}
}

func TestJudgeUserInfoHoldsTypes(t *testing.T) {
	good := Claims{
		"sub": "alice", "name": "Alice", "email": "a@example.com", "email_verified": true, "updated_at": 1.0,
		"birthdate": "0000-12-24", "address": map[string]any{"formatted": "1 Road"},
	}
	if err := JudgeUserInfo(good, "alice"); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]Claims{
		"another subject": {"sub": "bob"}, "an empty name": {"name": ""}, "null": {"name": nil}, "the word null": {"name": "null"},
		"verified as text": {"email_verified": "true"}, "a time as text": {"updated_at": "1"}, "a birthdate of another form": {"birthdate": "24.12.1999"},
		"an empty address": {"address": map[string]any{}}, "an address as text": {"address": "1 Road"}, "a name as a number": {"name": 1.0},
	} {
		t.Run(name, func(t *testing.T) {
			claims := maps.Clone(good)
			maps.Copy(claims, change)
			if JudgeUserInfo(claims, "alice") == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestReadResponseRefusesWhatMustNotArrive(t *testing.T) {
	party := RelyingParty{
		RedirectURI: "https://rp.example/callback?own=1",
		Provider:    &Provider{Metadata: Metadata{Issuer: "https://op.example", IssInResponse: true}},
	}
	request := &Request{Params: url.Values{"state": {"s"}}}
	const code = "J4rJ9w0fH2Lq8mXzT5vB1nKc7YdPeGaU"
	good := url.Values{"own": {"1"}, "code": {code}, "state": {"s"}, "iss": {"https://op.example"}}
	arrive := func(base string, query url.Values, fragment string) error {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery, u.Fragment = query.Encode(), fragment
		_, err = party.ReadResponse(request, u)
		return err
	}
	if err := arrive("https://rp.example/callback", good, ""); err != nil {
		t.Fatal(err)
	}
	if arrive("https://rp.example/other", good, "") == nil {
		t.Error("another address was taken")
	}
	if arrive("https://rp.example/callback", good, "code=1") == nil {
		t.Error("a fragment was taken")
	}
	for name, change := range map[string]url.Values{
		"another state": {"state": {"t"}}, "another issuer": {"iss": {"https://other.example"}}, "no issuer": {"iss": nil},
		"two codes": {"code": {code, code}}, "a code that can be guessed": {"code": {"11111111111111111111111111111111"}},
		"an unknown parameter": {"id_token": {"x"}}, "without its own query": {"own": nil}, "an error beside the code": {"error": {"access_denied"}},
	} {
		t.Run(name, func(t *testing.T) {
			query := maps.Clone(good)
			maps.Copy(query, change)
			if arrive("https://rp.example/callback", query, "") == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestErrorCodeHoldsRFC6749(t *testing.T) {
	answer := func(status int, kind, body string) *Answer {
		return &Answer{Status: status, Body: []byte(body), Header: http.Header{"Content-Type": {kind}, "Cache-Control": {"no-store"}}}
	}
	if code, err := answer(400, "application/json", `{"error":"invalid_grant","error_description":"It is used."}`).ErrorCode(); code != "invalid_grant" || err != nil {
		t.Errorf("got %q, %v", code, err)
	}
	if code, err := answer(401, "application/json", `{"error":"invalid_client"}`).ErrorCode(); code != "invalid_client" || err != nil {
		t.Errorf("got %q, %v", code, err)
	}
	for name, bad := range map[string]*Answer{
		"a success": answer(200, "application/json", `{"error":"invalid_grant"}`), "a page": answer(400, "text/html", "no"),
		"401 for a grant": answer(401, "application/json", `{"error":"invalid_grant"}`), "no error": answer(400, "application/json", `{}`),
		"a line break": answer(400, "application/json", `{"error":"invalid_grant","error_description":"a\nb"}`),
		"a server's":   answer(500, "application/json", `{"error":"server_error"}`),
	} {
		t.Run(name, func(t *testing.T) {
			if code, err := bad.ErrorCode(); err == nil {
				t.Errorf("got %q without an error", code)
			}
		})
	}
}
