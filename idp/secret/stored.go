package secret

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A stored is a password hash as it is kept: with its parameters and its salt.
type stored interface {
	// scheme is how the hash was made, with the parameters on which its cost depends, in one form for
	// all spellings, and without the salt.
	scheme() string
	// memory is how many bytes it takes to verify one, 0 where that does not count.
	memory() int64
	// matches stretches a password and compares, in a time that tells nothing of the stored hash.
	matches(password string) bool
}

// A format is how stored hashes of some scheme are written.
type format struct {
	prefix string
	parse  func(text string) (stored, error)
	// decoy writes one that no password has; what it makes of a string that is no scheme of the
	// format does not parse.
	decoy func(scheme string) string
}

// formats are those that are verified, ours first. Each is documented where it is parsed.
var formats = []format{
	{"$argon2", parseArgon2, decoyArgon2},
	{"$2", parseBcrypt, decoyBcrypt},
	{bcryptSHA256Prefix, parseBcryptSHA256, decoyBcrypt},
	{"$pbkdf2", parsePBKDF2, decoyPBKDF2},
	{"pbkdf2_", parseDjangoPBKDF2, nil},
	{"$scrypt$", parseScrypt, decoyScrypt},
	{"scrypt$", parseDjangoScrypt, nil},
	{firebasePrefix, parseFirebase, decoyFirebase},
	{"$5$", parseSHACrypt, decoySHACrypt},
	{"$6$", parseSHACrypt, decoySHACrypt},
	{"$P$", parsePhpass, decoyPhpass},
	{"$H$", parsePhpass, nil},
	{"{SSHA}", parseSaltedSHA, decoySaltedSHA},
	{"{SSHA256}", parseSaltedSHA, decoySaltedSHA},
	{"{SSHA512}", parseSaltedSHA, decoySaltedSHA},
}

const unsalted = "the hash has no salt, so that tables of common passwords open it at once: the user has to choose a new password"

// refusals say what is wrong with formats that other programs have and that are not verified.
var refusals = []struct{ prefix, reason string }{
	{"{SHA}", unsalted},
	{"{SHA256}", unsalted},
	{"{SHA512}", unsalted},
	{"{MD5}", "the hash is MD5 without a salt: the user has to choose a new password"},
	{"{SMD5}", "the hash is one round of MD5: the user has to choose a new password"},
	{"md5$", "the hash is one round of MD5: the user has to choose a new password"},
	{"sha1$", "the hash is one round of SHA-1 in a form that is not verified: the user has to choose a new password"},
	{"$1$", "md5-crypt is not verified: the user has to choose a new password"},
	{"$apr1$", "md5-crypt is not verified: the user has to choose a new password"},
	{"$y$", "yescrypt is not verified: the user has to choose a new password"},
	{"$gy$", "yescrypt is not verified: the user has to choose a new password"},
	{"$7$", "scrypt of this form is not verified: the user has to choose a new password"},
	{generatedPrefix, "the hash is that of a generated secret, not of a password"},
	{"!", "the hash says that the user has no usable password: leave it empty"},
	{"*", "the hash says that the user has no usable password: leave it empty"},
}

// maxStored is how many bytes a stored hash has at most; the longest that is known has some 350.
const maxStored = 1024

func parseStored(text string) (stored, error) {
	if text == "" {
		return nil, errors.New("there is no hash")
	}
	if len(text) > maxStored {
		return nil, errors.New("the hash is longer than " + strconv.Itoa(maxStored) + " bytes")
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return nil, errors.New("the hash has characters that cannot be printed")
	}
	text = unwrap(text)
	for _, f := range formats {
		if strings.HasPrefix(text, f.prefix) {
			return f.parse(text)
		}
	}
	for _, r := range refusals {
		if strings.HasPrefix(text, r.prefix) {
			return nil, errors.New(r.reason)
		}
	}
	return nil, errors.New("the hash has no form that is known")
}

// unwrap takes off the name that Django and LDAP directories put before a hash that says by itself
// what it is. LDAP's names are written in either case.
func unwrap(text string) string {
	if rest, ok := strings.CutPrefix(text, "argon2$argon2"); ok {
		return "$argon2" + rest
	}
	if rest, ok := strings.CutPrefix(text, "bcrypt$$2"); ok {
		return "$2" + rest
	}
	name, rest, ok := strings.Cut(text, "}")
	if !ok || !strings.HasPrefix(name, "{") {
		return text
	}
	name = strings.ToUpper(name)
	switch {
	case strings.HasPrefix(rest, "$") && (name == "{CRYPT" || name == "{ARGON2" || name == "{BCRYPT"):
		return rest
	case name == "{PBKDF2" || strings.HasPrefix(name, "{PBKDF2-"):
		return "$" + strings.ToLower(name[1:]) + "$" + rest
	}
	return name + "}" + rest
}

// SchemeOf is how a stored hash was made: the name and those parameters on which its cost depends,
// never the salt, in one form for all spellings, such as "$argon2id$v=19$m=65536,t=3,p=2", "$2b$12"
// or "$pbkdf2-sha256$i=600000,l=32". It is "" for what is no stored hash. Passwords are counted by it
// (I-21).
func SchemeOf(hash string) string {
	s, err := parseStored(hash)
	if err != nil {
		return ""
	}
	return s.scheme()
}

// decoyOf makes a decoy of a scheme; ok is false for what is none.
func decoyOf(scheme string) (decoy string, ok bool) {
	if len(scheme) > maxStored {
		return "", false
	}
	for _, f := range formats {
		if f.decoy == nil || !strings.HasPrefix(scheme, f.prefix) {
			continue
		}
		decoy = f.decoy(scheme)
		_, err := parseStored(decoy)
		return decoy, err == nil
	}
	return "", false
}

// unphc decodes the base64 of PHC strings, which has no padding. ok is false unless text is in its one
// form and has least to most bytes.
func unphc(text string, least, most int) (b []byte, ok bool) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return b, err == nil && len(b) >= least && len(b) <= most
}

// unbase64 is unphc for base64 that may have its padding.
func unbase64(text string, least, most int) (b []byte, ok bool) {
	if len(text)%4 == 0 {
		text = strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
	}
	return unphc(text, least, most)
}

// number reads a decimal number from 0 to most in its one form: without sign and leading zeros.
func number(text string, most int) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= most && strconv.Itoa(n) == text
}

// random64 is n random bytes in base64 without padding.
func random64(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawStdEncoding.EncodeToString(b)
}

// cryptAlphabet are the digits of crypt's base64, and of bcrypt's in another order.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomCrypt is n random digits of cryptAlphabet.
func randomCrypt(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = cryptAlphabet[b[i]%64]
	}
	return string(b)
}

// isCrypt tells whether text is n digits of cryptAlphabet.
func isCrypt(text string, n int) bool {
	return len(text) == n && strings.Trim(text, cryptAlphabet) == ""
}
