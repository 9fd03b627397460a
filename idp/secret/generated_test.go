package secret

import (
	"regexp"
	"strings"
	"testing"
)

func TestGeneratedSecretsNeedNoEscaping(t *testing.T) {
	pattern := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{42}$`)
	seen := make(map[string]bool)
	for range 1000 {
		s := New()
		if !pattern.MatchString(s) || seen[s] || !LooksGenerated(s) {
			t.Fatalf("got %q", s)
		}
		seen[s] = true
	}
}

func TestAGeneratedSecretIsVerifiedAgainstItsHash(t *testing.T) {
	const hash = "sha256$LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ" // of "hello"
	if got := HashGenerated("hello"); got != hash {
		t.Errorf("got %s, want %s", got, hash)
	}
	if !Generated(hash) || Generated("$argon2id$v=19$…") {
		t.Error("the forms of hashes are mixed up")
	}
	if !VerifyGenerated(permit(t), "hello", hash) || VerifyGenerated(permit(t), "hallo", hash) || VerifyGenerated(permit(t), "hello", "") {
		t.Error("the wrong secrets are right")
	}
}

func TestI14_AShortOrReadableSecretDoesNotCountAsGenerated(t *testing.T) {
	for text, want := range map[string]bool{
		strings.Repeat("aB3-_", 9):     true,
		strings.Repeat("0123abcd", 8):  true, // hex
		strings.Repeat("a", 42):        false,
		strings.Repeat("a b", 20):      false,
		strings.Repeat("a", 42) + "é":  false,
		strings.Repeat("a", 43) + "\n": false,
		strings.Repeat("ab+/", 12):     false, // base64, whose signs need escaping in a URL
		"":                             false,
	} {
		if got := LooksGenerated(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
