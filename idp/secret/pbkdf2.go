package secret

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// maxIterations bounds the iterations of PBKDF2 × the blocks that the hash has: some 4 s of a
// processor.
const maxIterations = 10_000_000

// A pbkdf2Hash is one of PBKDF2. Its scheme has the length of the hash, since each block of the
// digest's size costs all iterations anew.
type pbkdf2Hash struct {
	digest     string // "sha1", "sha256" or "sha512"
	iterations int
	salt, sum  []byte
}

// digests are those of PBKDF2.
var digests = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

func (p pbkdf2Hash) scheme() string {
	return fmt.Sprintf("$pbkdf2-%s$i=%d,l=%d", p.digest, p.iterations, len(p.sum))
}

func (p pbkdf2Hash) memory() int64 { return 0 }

func (p pbkdf2Hash) matches(password string) bool {
	sum, err := pbkdf2.Key(digests[p.digest], password, p.salt, p.iterations, len(p.sum))
	return err == nil && subtle.ConstantTimeCompare(sum, p.sum) == 1
}

var errPBKDF2 = errors.New("this is no hash of PBKDF2: “$pbkdf2-sha256$i=…$salt$hash”, or “pbkdf2_sha256$…$salt$hash” of Django")

// parsePBKDF2 reads the PHC string "$pbkdf2-sha256$i=600000,l=32$salt$hash", whose length may be
// missing, and passlib's "$pbkdf2-sha256$600000$salt$hash", where "." stands for "+" and SHA-1 has
// no name.
func parsePBKDF2(text string) (stored, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return nil, errPBKDF2
	}
	digest, named := strings.CutPrefix(parts[1], "pbkdf2-")
	if !named && digest == "pbkdf2" {
		digest = "sha1"
	}
	costs, length, hasLength := strings.Cut(strings.TrimPrefix(parts[2], "i="), ",")
	salt, ok := unphc(strings.ReplaceAll(parts[3], ".", "+"), 1, 128)
	if !ok {
		return nil, errPBKDF2
	}
	sum, ok := unphc(strings.ReplaceAll(parts[4], ".", "+"), 16, 128)
	if !ok || hasLength && length != "l="+strconv.Itoa(len(sum)) {
		return nil, errPBKDF2
	}
	return boundPBKDF2(digest, costs, salt, sum)
}

// parseDjangoPBKDF2 reads "pbkdf2_sha256$600000$salt$hash", whose salt is text.
func parseDjangoPBKDF2(text string) (stored, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 4 || parts[2] == "" || len(parts[2]) > 128 {
		return nil, errPBKDF2
	}
	sum, ok := unbase64(parts[3], 16, 128)
	if !ok {
		return nil, errPBKDF2
	}
	return boundPBKDF2(strings.TrimPrefix(parts[0], "pbkdf2_"), parts[1], []byte(parts[2]), sum)
}

func boundPBKDF2(digest, costs string, salt, sum []byte) (stored, error) {
	newDigest, ok := digests[digest]
	if !ok {
		return nil, errors.New("PBKDF2 is verified with SHA-1, SHA-256 and SHA-512 alone")
	}
	size := newDigest().Size()
	blocks := (len(sum) + size - 1) / size
	iterations, ok := number(costs, maxIterations/blocks)
	if !ok || iterations < 1 {
		return nil, fmt.Errorf("the iterations of PBKDF2 are out of bounds: they are 1 to %d", maxIterations/blocks)
	}
	return pbkdf2Hash{digest, iterations, salt, sum}, nil
}

func decoyPBKDF2(scheme string) string {
	_, text, _ := strings.Cut(scheme, ",l=")
	length, ok := number(text, 128)
	if !ok {
		return ""
	}
	return scheme + "$" + random64(saltLength) + "$" + random64(length)
}
