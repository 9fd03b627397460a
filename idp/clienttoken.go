package idp

import (
	"crypto/rand"
	"encoding/binary"
	"strings"

	"postern/idp/secret"
)

// maxClientToken bounds what is decoded: MaxScopes and MaxAudience entries of the lengths that a
// client may register stay below it, and net/http lets no longer header in.
const maxClientToken = 64 << 10

// clientTokenVersion is the first byte of the sealed payload:
//
//	version ‖ ID (16) ‖ expiry (5) ‖ issued at (5) ‖ security version ‖ client ID ‖ confirmation
//	‖ scopes ‖ audience
//
// A number is a uvarint; a text its length and its bytes; a list its length and its texts.
const clientTokenVersion = 1

// MintClient seals t.
func (ts *Tokens) MintClient(t ClientToken) string {
	if t.ID == [16]byte{} {
		rand.Read(t.ID[:])
	}
	b := make([]byte, 0, 256)
	b = append(b, clientTokenVersion)
	b = append(b, t.ID[:]...)
	b = appendSeconds(b, t.Expiry)
	b = appendSeconds(b, t.IssuedAt)
	b = binary.AppendUvarint(b, uint64(t.SecurityVersion))
	b = appendText(b, t.ClientID)
	b = appendText(b, string(t.Confirmation))
	b = appendTexts(b, t.Scopes)
	b = appendTexts(b, t.Audience)
	box := ts.ring.Seal(secret.ForClientToken, b, []byte(ClientAccessToken))
	text := append(make([]byte, 0, prefixSize+strict64.EncodedLen(len(box))), ClientAccessToken...)
	return string(strict64.AppendEncode(text, box))
}

// ParseClient opens what MintClient made, and tells whether it is genuine. Expiry is not judged.
func (ts *Tokens) ParseClient(s string) (ClientToken, bool) {
	text, ok := strings.CutPrefix(s, string(ClientAccessToken))
	if !ok || len(text) > maxClientToken {
		return ClientToken{}, false
	}
	box, err := strict64.DecodeString(text)
	if err != nil || strict64.EncodedLen(len(box)) != len(text) {
		return ClientToken{}, false
	}
	plain, err := ts.ring.Open(secret.ForClientToken, box, []byte(ClientAccessToken))
	if err != nil {
		return ClientToken{}, false
	}
	t, err := readClientToken(plain)
	return t, err == nil
}

func readClientToken(plain []byte) (ClientToken, error) {
	r := reader{rest: plain}
	if r.byte() != clientTokenVersion {
		return ClientToken{}, errCutShort
	}
	var t ClientToken
	copy(t.ID[:], r.bytes(len(t.ID)))
	t.Expiry = r.seconds()
	t.IssuedAt = r.seconds()
	t.SecurityVersion = int64(r.uvarint())
	t.ClientID = r.text()
	if confirmation := r.text(); confirmation != "" {
		t.Confirmation = []byte(confirmation)
	}
	t.Scopes = r.texts()
	t.Audience = r.texts()
	return t, r.end()
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, s := range texts {
		b = appendText(b, s)
	}
	return b
}
