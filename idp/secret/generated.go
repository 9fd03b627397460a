package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"postern/idp/guard"
)

// New returns 256 random bits as 43 characters, all of them unreserved in URLs (RFC 3986 §2.3).
// The first one is a letter or a digit, so that no command takes it for a flag.
func New() string {
	for {
		var b [32]byte
		rand.Read(b[:])
		if s := base64.RawURLEncoding.EncodeToString(b[:]); s[0] != '-' && s[0] != '_' {
			return s
		}
	}
}

// generatedPrefix marks the hash of a secret that has enough entropy to be hashed once.
const generatedPrefix = "sha256$"

// HashGenerated returns the hash of a secret that New made, or of one that is as long: "sha256$"
// and base64url without padding.
func HashGenerated(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return generatedPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Generated tells whether hash is one of HashGenerated; the others are PHC strings.
func Generated(hash string) bool { return strings.HasPrefix(hash, generatedPrefix) }

// VerifyGenerated tells whether hash is that of secret, in a time that tells nothing else.
func VerifyGenerated(permit *guard.Permit, secret, hash string) bool {
	permit.Must()
	return subtle.ConstantTimeCompare([]byte(HashGenerated(secret)), []byte(hash)) == 1
}

// minChosen is how many characters of base64url or hex a secret of somebody else's making needs to
// count as generated (I-14).
const minChosen = 43

// LooksGenerated tells whether a secret that somebody else made is as long as one of ours.
func LooksGenerated(secret string) bool {
	if len(secret) < minChosen {
		return false
	}
	for _, c := range []byte(secret) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
