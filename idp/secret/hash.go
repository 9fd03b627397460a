package secret

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"postern/idp/guard"
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

// The lanes of the queue, as Observe is told.
const (
	laneKnown = "known_device"
	laneOther = "other"
)

// A Hasher hashes passwords, as many at a time as there are processors and as its memory allows.
// Who waits is served in two lanes, so that a flood of strangers delays no known device (I-16), and
// within a lane the networks in turn. Its methods may be called at the same time.
type Hasher struct {
	// Observe is told of each hash that ran its lane, "known_device" or "other", and how long it
	// took without the waiting. It is set before the first hash; nil for nobody.
	Observe func(lane string, took time.Duration)

	current Argon2
	memory  int64 // bytes
	queue   *queue
	stretch func(work func()) // runs a hash that has its place; tests let it wait there
}

// NewHasher returns a hasher of new passwords with a, whose hashes share memory bytes. One that
// needs more than all of it runs alone. More hashes than processors would take as long, with the
// memory of all of them, and leave nothing for other requests.
func NewHasher(a Argon2, memory int64) *Hasher {
	memory = max(memory, 1)
	fit := memory / max(int64(a.MemoryKiB)<<10, 1)
	places := int(max(min(int64(runtime.GOMAXPROCS(0)), fit), 1))
	return &Hasher{current: a, memory: memory, queue: newQueue(places, memory), stretch: func(work func()) { work() }}
}

// MaxMemory is how many bytes the hashes with today's parameters take at most, all that run at a
// time together.
func MaxMemory(a Argon2, memory int64) int64 {
	return min(int64(runtime.GOMAXPROCS(0))*int64(a.MemoryKiB)<<10, memory)
}

// Queued is how many hashes wait for their turn.
func (h *Hasher) Queued() int { return h.queue.waiting() }

// Hash returns the PHC string of a password, in the turn of the program itself. Its error is *Busy,
// or that of ctx.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	return h.hash(ctx, sender{}, password)
}

// Rehash is Hash in the turn of whom permit was given to: of one whose password was just verified.
func (h *Hasher) Rehash(ctx context.Context, permit *guard.Permit, password string) (string, error) {
	permit.Must()
	return h.hash(ctx, senderOf(permit), password)
}

func (h *Hasher) hash(ctx context.Context, s sender, password string) (string, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	made := argon2Hash{variant: argon2id, Argon2: h.current, salt: salt}
	err := h.run(ctx, s, made.memory(), func() { made.sum = made.key(password, sumLength) })
	if err != nil {
		return "", err
	}
	return made.String(), nil
}

// A Shown is a password that somebody shows, and that Prepare took.
type Shown struct {
	Prepared string // by Prepare
	Raw      string // as it was typed; "" where that is not known
}

// VerifyShown tells whether s is the password of a stored hash, in the turn of whom permit was given
// to. Its error is *Busy, that of ctx, or one for a hash that Recognize refuses for its form.
//
// Our own hashes are of the prepared password. Another program hashed what was typed there, as the
// keyboard made it: most of them "é" as one character, some of them as two, or with a wide space.
// Beside a hash of other parameters than today's both forms are tried, therefore, and the hash that
// follows is of the prepared one, which is the same from every keyboard. An imported argon2id hash
// with exactly today's parameters cannot be told from ours and is verified against the prepared form
// alone. Whether the two forms differ is the typed password's matter and not the user's, so that
// the second one tells nothing (I-21).
func (h *Hasher) VerifyShown(ctx context.Context, permit *guard.Permit, s Shown, hash string) (bool, error) {
	permit.Must()
	want, err := parseStored(hash)
	if err != nil {
		return false, fmt.Errorf("read the stored hash: %w", err)
	}
	var right bool
	err = h.run(ctx, senderOf(permit), want.memory(), func() {
		right = want.matches(s.Prepared)
		if !right && s.Raw != "" && s.Raw != s.Prepared && want.scheme() != h.Scheme() {
			right = want.matches(s.Raw)
		}
	})
	if err != nil {
		return false, err
	}
	return right, nil
}

// Verify is VerifyShown for a password that has one form only.
func (h *Hasher) Verify(ctx context.Context, permit *guard.Permit, password, hash string) (bool, error) {
	return h.VerifyShown(ctx, permit, Shown{Prepared: password}, hash)
}

func senderOf(p *guard.Permit) sender { return sender{p.Known(), p.Network()} }

// Decoy returns a stored hash of a scheme that no password has: verifying one costs what verifying
// a user's costs, for names that are nobody's (I-21). The scheme is one of SchemeOf.
func (h *Hasher) Decoy(scheme string) string {
	if decoy, ok := decoyOf(scheme); ok {
		return decoy
	}
	decoy, _ := decoyOf(h.Scheme()) // a bad row costs what a good one does
	return decoy
}

// Scheme is that of the hashes that Hash makes now, as SchemeOf tells it.
func (h *Hasher) Scheme() string { return h.current.String() }

// Outdated tells whether a stored hash has another scheme than those of Hash.
func (h *Hasher) Outdated(hash string) bool { return SchemeOf(hash) != h.Scheme() }

// Recognize names the scheme of a hash that another program made, as SchemeOf does, or says in words
// for a person why users cannot be imported with it. Neither tells anything of salt and hash. It
// refuses what Verify cannot read, and what would hold a processor or the memory for too long. What
// is weaker than today's parameters is taken, since it is replaced at the next sign-in.
func (h *Hasher) Recognize(hash string) (scheme string, err error) {
	s, err := parseStored(hash)
	if err != nil {
		return "", err
	}
	if s.memory() > h.memory {
		return "", fmt.Errorf("the hash needs %d MiB of memory, and password.hash_memory_mib allows %d", mebibytes(s.memory()), mebibytes(h.memory))
	}
	if a, ok := s.(argon2Hash); ok && uint64(a.MemoryKiB)*uint64(a.Time) > maxArgon2Work {
		return "", fmt.Errorf("argon2 with m=%d and t=%d takes too long: m × t is at most %d", a.MemoryKiB, a.Time, maxArgon2Work)
	}
	return s.scheme(), nil
}

// mebibytes rounds up.
func mebibytes(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

// run does work in its turn, which takes weight bytes of memory. Its error is *Busy or that of ctx;
// nothing was done then.
func (h *Hasher) run(ctx context.Context, s sender, weight int64, work func()) error {
	j, err := h.queue.enter(ctx, s, min(weight, h.memory))
	if err != nil {
		return err
	}
	defer h.queue.leave(j)
	if h.Observe != nil {
		defer h.observe(s, time.Now())
	}
	h.stretch(work)
	return nil
}

func (h *Hasher) observe(s sender, began time.Time) {
	lane := laneOther
	if s.known {
		lane = laneKnown
	}
	h.Observe(lane, time.Since(began))
}
