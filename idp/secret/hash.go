package secret

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"postern/idp/guard"
)

// Argon2 are the parameters of argon2id (RFC 9106 §3.1).
type Argon2 struct {
	MemoryKiB   uint32
	Time        uint32
	Parallelism uint8
}

// String is the part of a PHC string before the salt: "$argon2id$v=19$m=65536,t=3,p=2".
func (a Argon2) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d", argon2.Version, a.MemoryKiB, a.Time, a.Parallelism)
}

// Lengths of what a PHC string carries, in bytes (RFC 9106 §4).
const (
	saltLength = 16
	sumLength  = 32
)

// Busy is the error of a hash that waited for its turn too long. Nothing was checked.
type Busy struct {
	RetryAfter time.Duration
}

func (b *Busy) Error() string {
	return fmt.Sprintf("too many passwords are being hashed, retry after %s", b.RetryAfter)
}

// maxQueue is how long a hash may wait for its turn. A person waits that long; a longer queue would
// only serve those who have left.
const maxQueue = 2 * time.Second

// A Hasher hashes passwords, as many at a time as there are processors and as its memory allows.
// Its methods may be called at the same time.
type Hasher struct {
	current Argon2
	memory  int64               // bytes
	cores   *semaphore.Weighted // of the processors, taken before memory
	places  *semaphore.Weighted // of memory
	queue   time.Duration
}

// NewHasher returns a hasher of new passwords with a, whose hashes share memory bytes. One that
// needs more than all of it runs alone. More hashes than processors would take as long, with the
// memory of all of them, and leave nothing for other requests.
func NewHasher(a Argon2, memory int64) *Hasher {
	memory = max(memory, 1)
	return &Hasher{
		current: a, memory: memory, queue: maxQueue,
		cores: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), places: semaphore.NewWeighted(memory),
	}
}

// MaxMemory is how many bytes the hashes with today's parameters take at most, all that run at a
// time together.
func MaxMemory(a Argon2, memory int64) int64 {
	return min(int64(runtime.GOMAXPROCS(0))*int64(a.MemoryKiB)<<10, memory)
}

// Hash returns the PHC string of a password. Its error is *Busy, or that of ctx.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	sum, err := h.sum(ctx, h.current, password, salt, sumLength)
	if err != nil {
		return "", err
	}
	return phc{h.current, salt, sum}.String(), nil
}

// Verify tells whether password is that of the PHC string. Its error is *Busy, that of ctx, or one
// for a string that is none.
func (h *Hasher) Verify(ctx context.Context, permit *guard.Permit, password, hash string) (bool, error) {
	permit.Must()
	want, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	sum, err := h.sum(ctx, want.Argon2, password, want.salt, uint32(len(want.sum)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, want.sum) == 1, nil
}

// Decoy returns a PHC string of a scheme that no password has: verifying one costs what verifying
// a user's costs, for names that are nobody's (I-21). The scheme is the part of a PHC string before
// the salt.
func (h *Hasher) Decoy(scheme string) string {
	a, err := parseScheme(scheme)
	if err != nil {
		a = h.current // a bad row costs what a good one does
	}
	sum := make([]byte, sumLength)
	rand.Read(sum)
	return phc{a, sum[:saltLength], sum}.String()
}

// Scheme is the part of a PHC string before the salt that Hash makes now.
func (h *Hasher) Scheme() string { return h.current.String() }

// Outdated tells whether a PHC string has other parameters than those of Hash.
func (h *Hasher) Outdated(hash string) bool {
	return !strings.HasPrefix(hash, h.current.String()+"$")
}

func (h *Hasher) sum(ctx context.Context, a Argon2, password string, salt []byte, length uint32) ([]byte, error) {
	waiting, cancel := context.WithTimeout(ctx, h.queue)
	defer cancel()
	if err := h.cores.Acquire(waiting, 1); err != nil {
		return nil, h.gaveUp(ctx)
	}
	defer h.cores.Release(1)
	weight := min(int64(a.MemoryKiB)<<10, h.memory)
	if err := h.places.Acquire(waiting, weight); err != nil {
		return nil, h.gaveUp(ctx)
	}
	defer h.places.Release(weight)
	return argon2.IDKey([]byte(password), salt, a.Time, a.MemoryKiB, a.Parallelism, length), nil
}

// gaveUp says why a hash does not wait any longer: its caller left, or the queue is too long.
func (h *Hasher) gaveUp(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("wait to hash: %w", ctx.Err())
	}
	return &Busy{RetryAfter: h.queue}
}

// A phc is what a PHC string says:
// https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
type phc struct {
	Argon2
	salt, sum []byte
}

func (p phc) String() string {
	b64 := base64.RawStdEncoding
	return p.Argon2.String() + "$" + b64.EncodeToString(p.salt) + "$" + b64.EncodeToString(p.sum)
}

var errPHC = errors.New("the stored hash is no PHC string of argon2id")

func parsePHC(text string) (p phc, err error) {
	scheme, sum, ok := cutLast(text)
	if !ok {
		return p, errPHC
	}
	scheme, salt, ok := cutLast(scheme)
	if !ok {
		return p, errPHC
	}
	if p.Argon2, err = parseScheme(scheme); err != nil {
		return p, err
	}
	b64 := base64.RawStdEncoding.Strict()
	if p.salt, err = b64.DecodeString(salt); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return p, errPHC
	}
	if p.sum, err = b64.DecodeString(sum); err != nil || len(p.sum) < 16 || len(p.sum) > 64 {
		return p, errPHC
	}
	return p, nil
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '$')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// Bounds of what a stored string may ask for, so that a bad row takes no node down.
const (
	maxMemoryKiB = 4 << 20
	maxTime      = 1000
)

func parseScheme(scheme string) (a Argon2, err error) {
	costs, ok := strings.CutPrefix(scheme, "$argon2id$v="+strconv.Itoa(argon2.Version)+"$")
	if !ok {
		return a, errPHC
	}
	if _, err := fmt.Sscanf(costs, "m=%d,t=%d,p=%d", &a.MemoryKiB, &a.Time, &a.Parallelism); err != nil || a.String() != scheme {
		return a, errPHC
	}
	if a.Time < 1 || a.Time > maxTime || a.Parallelism < 1 || a.MemoryKiB < 8*uint32(a.Parallelism) || a.MemoryKiB > maxMemoryKiB {
		return a, errPHC
	}
	return a, nil
}
