package secret

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
)

// A saltedSHA is what LDAP directories call {SSHA}, {SSHA256} and {SSHA512}: base64 of the digest of
// password and salt, and of the salt behind it. One digest is no stretching at all; it is taken
// because it goes at the next sign-in.
type saltedSHA struct {
	name      string // "{SSHA}"
	salt, sum []byte
}

// saltedDigests are those of saltedSHA by name.
var saltedDigests = map[string]func() hash.Hash{"{SSHA}": sha1.New, "{SSHA256}": sha256.New, "{SSHA512}": sha512.New}

func (s saltedSHA) scheme() string { return s.name }

func (s saltedSHA) memory() int64 { return 0 }

func (s saltedSHA) matches(password string) bool {
	digest := saltedDigests[s.name]()
	digest.Write([]byte(password))
	digest.Write(s.salt)
	return subtle.ConstantTimeCompare(digest.Sum(nil), s.sum) == 1
}

func parseSaltedSHA(text string) (stored, error) {
	end := strings.IndexByte(text, '}') + 1
	s := saltedSHA{name: text[:end]}
	size := saltedDigests[s.name]().Size()
	b, ok := unbase64(text[end:], size, size+64)
	if !ok {
		return nil, errors.New("this is no hash of " + s.name + ": base64 of a digest and a salt of at most 64 bytes")
	}
	if len(b) == size {
		return nil, errors.New(unsalted)
	}
	s.sum, s.salt = b[:size], b[size:]
	return s, nil
}

func decoySaltedSHA(scheme string) string {
	newDigest, ok := saltedDigests[scheme]
	if !ok {
		return ""
	}
	const saltLength = 8 // the usual one
	b, _ := base64.RawStdEncoding.DecodeString(random64(newDigest().Size() + saltLength))
	return scheme + base64.StdEncoding.EncodeToString(b)
}
