package secret

import (
	"crypto/md5"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// Bounds of the crypt schemes. Each round hashes the password once or twice more, so that a password
// of 256 characters takes some 3 s at the bound.
const (
	minRounds     = 1000 // the scheme's own: fewer were raised to it
	defaultRounds = 5000 // the scheme's own, where none are written
	maxRounds     = 2_000_000

	minPhpassLog = 7 // the scheme's own
	maxPhpassLog = 22

	maxCryptSalt = 16 // the scheme's own: more was cut
)

// A shaCryptHash is one of SHA-crypt, "$6$rounds=656000$salt$hash" of SHA-512 or "$5$" of SHA-256. The
// rounds may be missing. Its scheme has the length of the salt where that is not the usual one, since
// each round hashes the salt.
type shaCryptHash struct {
	digest     algorithm.Digest
	id         string // "5" or "6"
	rounds     int
	saltLength int
}

func (s shaCryptHash) scheme() string {
	scheme := fmt.Sprintf("$%s$rounds=%d", s.id, s.rounds)
	if s.saltLength != maxCryptSalt {
		scheme += fmt.Sprintf(",salt=%d", s.saltLength)
	}
	return scheme
}

func (s shaCryptHash) memory() int64 { return 0 }

func (s shaCryptHash) matches(password string) bool { return s.digest.Match(password) }

var errSHACrypt = errors.New("this is no hash of SHA-crypt: “$6$rounds=…$salt$hash” or “$5$…”")

// shaCryptLength is how many digits a hash has, by id.
func shaCryptLength(id string) int {
	if id == shacrypt.AlgIdentifierSHA256 {
		return 43
	}
	return 86
}

func parseSHACrypt(text string) (stored, error) {
	parts := strings.Split(text, "$")
	s := shaCryptHash{id: parts[1], rounds: defaultRounds}
	if len(parts) == 5 {
		rounds, ok := strings.CutPrefix(parts[2], "rounds=")
		if !ok {
			return nil, errSHACrypt
		}
		if s.rounds, ok = number(rounds, maxRounds); !ok || s.rounds < minRounds {
			return nil, fmt.Errorf("the rounds of SHA-crypt are out of bounds: they are %d to %d", minRounds, maxRounds)
		}
		parts = append(parts[:2], parts[3:]...)
	}
	if len(parts) != 4 || len(parts[2]) > maxCryptSalt || !isCrypt(parts[3], shaCryptLength(s.id)) {
		return nil, errSHACrypt
	}
	s.saltLength = len(parts[2])
	digest, err := shacrypt.Decode(text)
	if err != nil {
		return nil, errSHACrypt
	}
	s.digest = digest
	return s, nil
}

func decoySHACrypt(scheme string) string {
	length := maxCryptSalt
	costs, text, has := strings.Cut(scheme, ",salt=")
	if has {
		length, _ = number(text, maxCryptSalt)
	}
	id := scheme[1:2]
	return costs + "$" + randomCrypt(max(length, 0)) + "$" + randomCrypt(shaCryptLength(id))
}

// A phpassHash is one of phpass, of WordPress before 6.8 and others: "$P$", one digit that is the
// binary logarithm of the rounds, 8 digits of salt and 22 of the hash; phpBB writes "$H$".
type phpassHash struct {
	log       int
	salt, sum string
}

func (p phpassHash) scheme() string { return "$P$" + cryptAlphabet[p.log:p.log+1] }

func (p phpassHash) memory() int64 { return 0 }

func (p phpassHash) matches(password string) bool {
	sum := md5.Sum([]byte(p.salt + password))
	next := append(sum[:], password...)
	for range 1 << p.log {
		sum = md5.Sum(next)
		copy(next, sum[:])
	}
	return subtle.ConstantTimeCompare([]byte(encodeCrypt(sum[:])), []byte(p.sum)) == 1
}

// encodeCrypt writes bytes in crypt's base64: groups of three, their lowest six bits first.
func encodeCrypt(b []byte) string {
	var text strings.Builder
	for len(b) > 0 {
		n := min(len(b), 3)
		group := 0
		for i := range n {
			group |= int(b[i]) << (8 * i)
		}
		for range n + 1 {
			text.WriteByte(cryptAlphabet[group&63])
			group >>= 6
		}
		b = b[n:]
	}
	return text.String()
}

func parsePhpass(text string) (stored, error) {
	rest := text[len("$P$"):]
	if !isCrypt(rest, 1+8+22) {
		return nil, errors.New("this is no hash of phpass: “$P$” and 31 characters")
	}
	log := strings.IndexByte(cryptAlphabet, rest[0])
	if log < minPhpassLog || log > maxPhpassLog {
		return nil, errors.New("the rounds of phpass are out of bounds: they are 2^" + strconv.Itoa(minPhpassLog) + " to 2^" + strconv.Itoa(maxPhpassLog))
	}
	return phpassHash{log, rest[1:9], rest[9:]}, nil
}

func decoyPhpass(scheme string) string { return scheme + randomCrypt(8+22) }
