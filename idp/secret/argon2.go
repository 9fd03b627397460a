package secret

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	foreign "github.com/go-crypt/crypt/algorithm/argon2"
	"golang.org/x/crypto/argon2"
)

// Argon2 are the parameters of argon2id (RFC 9106 §3.1).
type Argon2 struct {
	MemoryKiB   uint32
	Time        uint32
	Parallelism uint8
}

// String is the part of a PHC string before the salt: "$argon2id$v=19$m=65536,t=3,p=2".
func (a Argon2) String() string { return a.scheme(argon2id) }

func (a Argon2) scheme(variant string) string {
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d", variant, argon2.Version, a.MemoryKiB, a.Time, a.Parallelism)
}

// The variants (RFC 9106 §3.1): our own, and what others chose.
const (
	argon2id = "argon2id"
	argon2i  = "argon2i"
	argon2d  = "argon2d"
)

// Lengths of what a PHC string carries, in bytes (RFC 9106 §4).
const (
	saltLength = 16
	sumLength  = 32
)

// Bounds of what a stored string may ask for, so that a bad row takes no node down: those of our own
// settings, which are verified whatever they cost.
const (
	maxMemoryKiB = 4 << 20
	maxTime      = 100
)

// maxArgon2Work bounds memory in KiB × passes of what is imported: some 6 s of a processor, and no
// less than any library's strongest preset.
const maxArgon2Work = 4 << 20

// An argon2Hash is what a PHC string of argon2 says:
// https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
type argon2Hash struct {
	variant string
	Argon2
	salt, sum []byte
}

func (a argon2Hash) String() string {
	b64 := base64.RawStdEncoding
	return a.scheme() + "$" + b64.EncodeToString(a.salt) + "$" + b64.EncodeToString(a.sum)
}

func (a argon2Hash) scheme() string { return a.Argon2.scheme(a.variant) }

func (a argon2Hash) memory() int64 { return int64(a.MemoryKiB) << 10 }

func (a argon2Hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(a.key(password, len(a.sum)), a.sum) == 1
}

func (a argon2Hash) key(password string, length int) []byte {
	if a.variant == argon2d { // x/crypto has no argon2d
		return foreign.VariantD.KeyFunc()([]byte(password), a.salt, a.Time, a.MemoryKiB, uint32(a.Parallelism), uint32(length))
	}
	key := argon2.IDKey
	if a.variant == argon2i {
		key = argon2.Key
	}
	return key([]byte(password), a.salt, a.Time, a.MemoryKiB, a.Parallelism, uint32(length))
}

var errArgon2 = errors.New("this is no PHC string of argon2: “$argon2id$v=19$m=…,t=…,p=…$salt$hash”")

func parseArgon2(text string) (stored, error) {
	parts := strings.Split(text, "$")
	if len(parts) == 5 || len(parts) == 6 && parts[2] == "v=16" {
		return nil, errors.New("argon2 of version 16 is too old: only version 19 is verified")
	}
	if len(parts) != 6 {
		return nil, errArgon2
	}
	a := argon2Hash{variant: parts[1]}
	if a.variant != argon2id && a.variant != argon2i && a.variant != argon2d {
		return nil, errArgon2
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &a.MemoryKiB, &a.Time, &a.Parallelism); err != nil {
		return nil, errArgon2
	}
	if a.scheme() != strings.Join(parts[:4], "$") {
		return nil, errArgon2
	}
	if a.Time < 1 || a.Time > maxTime || a.Parallelism < 1 || a.MemoryKiB < 8*uint32(a.Parallelism) || a.MemoryKiB > maxMemoryKiB {
		return nil, errors.New("the parameters of argon2 are out of bounds: m is 8 × p to " + strconv.Itoa(maxMemoryKiB) + ", t is 1 to " + strconv.Itoa(maxTime) + ", p is 1 to 255")
	}
	var ok bool
	if a.salt, ok = unphc(parts[4], 8, 64); !ok {
		return nil, errArgon2
	}
	if a.sum, ok = unphc(parts[5], 16, 64); !ok {
		return nil, errArgon2
	}
	return a, nil
}

func decoyArgon2(scheme string) string {
	return scheme + "$" + random64(saltLength) + "$" + random64(sumLength)
}
