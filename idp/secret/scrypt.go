package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// Bounds of scrypt. N × r × p is the time: the bound is some 6 s of a processor. Memory is bounded
// beside it, since N may be large where r and p are small.
const (
	maxScryptWork = 1 << 24
	maxScryptLogN = 24
	maxScryptRP   = 64 // each of r and p
)

// scryptCosts are the parameters of scrypt.
type scryptCosts struct{ logN, r, p int }

func (c scryptCosts) String() string { return fmt.Sprintf("ln=%d,r=%d,p=%d", c.logN, c.r, c.p) }

// memory is that of the table, of the blocks that go through it, and of the one that is mixed.
func (c scryptCosts) memory() int64 { return 128 * int64(c.r) * (1<<c.logN + int64(c.p) + 2) }

func (c scryptCosts) key(password string, salt []byte, length int) ([]byte, error) {
	return scrypt.Key([]byte(password), salt, 1<<c.logN, c.r, c.p, length)
}

func (c scryptCosts) check() error {
	if c.logN < 1 || c.logN > maxScryptLogN || c.r < 1 || c.r > maxScryptRP || c.p < 1 || c.p > maxScryptRP || int64(c.r*c.p)<<c.logN > maxScryptWork {
		return fmt.Errorf("the parameters of scrypt are out of bounds: N is 2 to 2^%d, r and p are 1 to %d, N × r × p is at most %d", maxScryptLogN, maxScryptRP, maxScryptWork)
	}
	return nil
}

// A scryptHash is one of scrypt.
type scryptHash struct {
	scryptCosts
	salt, sum []byte
}

func (s scryptHash) scheme() string { return "$scrypt$" + s.String() }

func (s scryptHash) matches(password string) bool {
	sum, err := s.key(password, s.salt, len(s.sum))
	return err == nil && subtle.ConstantTimeCompare(sum, s.sum) == 1
}

var errScrypt = errors.New("this is no hash of scrypt: “$scrypt$ln=…,r=…,p=…$salt$hash”, or “scrypt$N$salt$r$p$hash” of Django")

// parseScrypt reads the PHC string "$scrypt$ln=16,r=8,p=1$salt$hash"; ln is the binary logarithm of
// N.
func parseScrypt(text string) (stored, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return nil, errScrypt
	}
	var s scryptHash
	if _, err := fmt.Sscanf(parts[2], "ln=%d,r=%d,p=%d", &s.logN, &s.r, &s.p); err != nil || s.String() != parts[2] {
		return nil, errScrypt
	}
	var ok bool
	if s.salt, ok = unphc(parts[3], 1, 128); !ok {
		return nil, errScrypt
	}
	if s.sum, ok = unphc(parts[4], 16, 128); !ok {
		return nil, errScrypt
	}
	return s, s.check()
}

// parseDjangoScrypt reads "scrypt$16384$salt$8$1$hash", whose salt is text.
func parseDjangoScrypt(text string) (stored, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[2] == "" || len(parts[2]) > 128 {
		return nil, errScrypt
	}
	n, okN := number(parts[1], 1<<maxScryptLogN)
	r, okR := number(parts[3], maxScryptRP)
	p, okP := number(parts[4], maxScryptRP)
	sum, ok := unbase64(parts[5], 16, 128)
	if !ok {
		return nil, errScrypt
	}
	s := scryptHash{scryptCosts{bits.Len(uint(n)) - 1, r, p}, []byte(parts[2]), sum}
	if !okN || !okR || !okP || bits.OnesCount(uint(n)) != 1 {
		s.logN = 0 // out of bounds
	}
	return s, s.check()
}

func decoyScrypt(scheme string) string {
	return scheme + "$" + random64(saltLength) + "$" + random64(sumLength)
}

// firebasePrefix begins the text form of Firebase's hashes.
const firebasePrefix = "$firebase-scrypt$"

// A firebaseHash is one of Firebase Authentication: scrypt makes a key that enciphers the signer key
// of the project, and the result is the hash. Its text form is ours:
//
//	$firebase-scrypt$ss=SEPARATOR,sk=KEY,r=8,m=14$SALT$HASH
//
// with salt separator, signer key, rounds and memory cost of the project's password hash parameters,
// and salt and hash of the exported user, all in base64 as Firebase writes it. Whoever reads the
// row has the signer key, without which the other users' hashes, if leaked elsewhere, are of no use.
type firebaseHash struct {
	scryptCosts
	salt      []byte // with the separator behind it
	signerKey []byte
	sum       []byte
}

func (f firebaseHash) scheme() string { return fmt.Sprintf(firebasePrefix+"r=%d,m=%d", f.r, f.logN) }

func (f firebaseHash) matches(password string) bool {
	const keyLength = 32 // AES-256
	key, err := f.key(password, f.salt, keyLength)
	if err != nil {
		return false
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return false
	}
	sum := make([]byte, len(f.signerKey))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(sum, f.signerKey)
	return subtle.ConstantTimeCompare(sum, f.sum) == 1
}

var errFirebase = errors.New("this is no hash of Firebase: “$firebase-scrypt$ss=…,sk=…,r=8,m=14$salt$hash”")

func parseFirebase(text string) (stored, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return nil, errFirebase
	}
	var values [4]string // of the parameters, in their order
	parameters := strings.Split(parts[2], ",")
	if len(parameters) != len(values) {
		return nil, errFirebase
	}
	for i, name := range []string{"ss=", "sk=", "r=", "m="} {
		value, ok := strings.CutPrefix(parameters[i], name)
		if !ok {
			return nil, errFirebase
		}
		values[i] = value
	}
	separator, okSeparator := unfirebase(values[0], 0, 32)
	signerKey, okKey := unfirebase(values[1], 16, 128)
	salt, okSalt := unfirebase(parts[3], 1, 64)
	sum, okSum := unfirebase(parts[4], len(signerKey), len(signerKey))
	r, okR := number(values[2], maxScryptRP)
	m, okM := number(values[3], maxScryptLogN)
	if !okSeparator || !okKey || !okSalt || !okSum {
		return nil, errFirebase
	}
	f := firebaseHash{scryptCosts{m, r, 1}, append(salt, separator...), signerKey, sum}
	if !okR || !okM {
		f.logN = 0 // out of bounds
	}
	return f, f.check()
}

// unfirebase decodes base64 with either alphabet: Firebase's own tools write both.
func unfirebase(text string, least, most int) ([]byte, bool) {
	return unbase64(strings.NewReplacer("-", "+", "_", "/").Replace(text), least, most)
}

func decoyFirebase(scheme string) string {
	const signerKeyLength = 64 // every project's
	costs := strings.TrimPrefix(scheme, firebasePrefix)
	return firebasePrefix + "ss=Bw,sk=" + random64(signerKeyLength) + "," + costs + "$" + random64(saltLength) + "$" + random64(signerKeyLength)
}
