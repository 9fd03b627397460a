package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// bcryptSHA256Prefix is before the bcrypt of Django's BCryptSHA256PasswordHasher.
const bcryptSHA256Prefix = "bcrypt_sha256$"

// maxBcryptCost is 16 times what others take today; it is some 5 s of a processor, and each one more
// doubles that.
const maxBcryptCost = 16

// A bcryptHash is one of bcrypt: "$2b$12$" with 22 digits of salt and 31 of the hash. 2a, 2b and 2y
// are the same for what is valid UTF-8 without NUL.
type bcryptHash struct {
	text   string
	sha256 bool // bcrypt of the hexadecimal SHA-256 of the password, as Django has it
}

func (b bcryptHash) scheme() string {
	if b.sha256 {
		return bcryptSHA256Prefix + b.text[:6]
	}
	return b.text[:6]
}

func (b bcryptHash) memory() int64 { return 0 }

// matches reads the first 72 bytes of a password alone: bcrypt does, and the program that made the
// hash did not look further. The hash that replaces this one is of all of it.
func (b bcryptHash) matches(password string) bool {
	if b.sha256 {
		sum := sha256.Sum256([]byte(password))
		password = hex.EncodeToString(sum[:])
	}
	return bcrypt.CompareHashAndPassword([]byte(b.text), []byte(password)) == nil
}

func parseBcrypt(text string) (stored, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 4 || len(parts[2]) != 2 || !isCrypt(parts[3], 22+31) {
		return nil, errors.New("this is no hash of bcrypt: “$2b$12$” and 53 characters")
	}
	switch parts[1] {
	case "2a", "2b", "2y":
	default:
		return nil, errors.New("bcrypt of version “" + parts[1] + "” is not verified: only 2a, 2b and 2y are")
	}
	cost, ok := number(strings.TrimPrefix(parts[2], "0"), maxBcryptCost)
	if !ok || cost < bcrypt.MinCost {
		return nil, errors.New("the cost of bcrypt is out of bounds: it is 04 to 16")
	}
	return bcryptHash{text: text}, nil
}

func parseBcryptSHA256(text string) (stored, error) {
	s, err := parseBcrypt(strings.TrimPrefix(text, bcryptSHA256Prefix))
	if err != nil {
		return nil, err
	}
	b := s.(bcryptHash)
	b.sha256 = true
	return b, nil
}

func decoyBcrypt(scheme string) string { return scheme + "$" + randomCrypt(22+31) }
