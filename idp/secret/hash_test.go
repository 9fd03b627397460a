package secret

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/idp/guard"
)

// cheap are the smallest parameters: what they cost is not what is tested.
var cheap = Argon2{MemoryKiB: 64, Time: 1, Parallelism: 1}

func permit(t *testing.T) *guard.Permit {
	t.Helper()
	g := guard.New(nil, guard.Settings{Now: time.Now}) // without limits it asks no store
	p, err := g.Reserve(t.Context(), guard.Request{Address: netip.MustParseAddr("192.0.2.1")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func verify(t *testing.T, h *Hasher, password, hash string) bool {
	t.Helper()
	right, err := h.Verify(t.Context(), permit(t), password, hash)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return right
}

func TestAPasswordIsVerifiedAgainstItsHash(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	hash, err := h.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("got %s, want a PHC string", hash)
	}
	if !verify(t, h, "correct horse", hash) {
		t.Error("the right password is refused")
	}
	if verify(t, h, "correct horsf", hash) {
		t.Error("another password is taken")
	}
	again, _ := h.Hash(t.Context(), "correct horse")
	if again == hash {
		t.Error("two hashes of a password are the same")
	}
}

func TestAHashOfAnotherProgramIsVerified(t *testing.T) {
	// From the tests of the reference implementation, phc-winner-argon2.
	const hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	h := NewHasher(cheap, 1<<20)
	if !verify(t, h, "password", hash) {
		t.Error("the right password is refused")
	}
	if !h.Outdated(hash) {
		t.Error("other parameters do not count as outdated")
	}
}

func TestOnlyTodaysParametersAreUpToDate(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	hash, _ := h.Hash(t.Context(), "correct horse")
	if h.Outdated(hash) {
		t.Error("a new hash is outdated")
	}
	if other := NewHasher(Argon2{64, 2, 1}, 1<<20); !other.Outdated(hash) {
		t.Error("a hash of other parameters is not outdated")
	}
	if other := NewHasher(Argon2{64, 1, 12}, 1<<20); !other.Outdated(hash) {
		t.Error("a hash whose parameters begin alike is not outdated")
	}
}

func TestADecoyIsNobodysPassword(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	for _, scheme := range []string{h.Scheme(), "$argon2id$v=19$m=128,t=2,p=1", "garbage"} {
		decoy := h.Decoy(scheme)
		if scheme != "garbage" && !strings.HasPrefix(decoy, scheme+"$") {
			t.Errorf("got %s, want the scheme %s", decoy, scheme)
		}
		if verify(t, h, "", decoy) {
			t.Errorf("%s is the hash of an empty password", decoy)
		}
	}
}

func TestWhatIsNoPHCStringIsAnError(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	good, _ := h.Hash(t.Context(), "x")
	for _, hash := range []string{
		"", "$", "plain", "$2b$12$abcdefghijklmnopqrstuv", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$YWJj",
		"$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=999999999,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=064,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=64,t=1,p=1,x=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		good + "=", good + "$", good[:len(good)-30], strings.Replace(good, "$", "", 1),
	} {
		if right, err := h.Verify(t.Context(), permit(t), "x", hash); right || err == nil {
			t.Errorf("%q: got %v and no error", hash, right)
		}
	}
}

func TestHashesShareTheirMemoryAndNobodyWaitsForLong(t *testing.T) {
	h := NewHasher(cheap, 64<<10)
	h.queue = time.Millisecond
	if err := h.places.Acquire(t.Context(), 64<<10); err != nil { // one hash is running
		t.Fatal(err)
	}
	_, err := h.Hash(t.Context(), "x")
	busy, ok := errors.AsType[*Busy](err)
	if !ok || busy.RetryAfter != h.queue {
		t.Errorf("got %v, want Busy", err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := h.Hash(gone, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("of one who left: got %v, want that of the context", err)
	}
	h.places.Release(64 << 10)
	if _, err := h.Hash(t.Context(), "x"); err != nil {
		t.Errorf("when memory is there again: %v", err)
	}
}

func TestNoMoreHashesRunThanThereAreProcessors(t *testing.T) {
	h := NewHasher(cheap, 1<<30) // memory for 16384 of them
	h.queue = time.Millisecond
	all := int64(runtime.GOMAXPROCS(0))
	if err := h.cores.Acquire(t.Context(), all); err != nil { // so many are running
		t.Fatal(err)
	}
	_, err := h.Hash(t.Context(), "x")
	if busy, ok := errors.AsType[*Busy](err); !ok || busy.RetryAfter != h.queue {
		t.Errorf("with every processor taken: got %v, want Busy", err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := h.Hash(gone, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("of one who left: got %v, want that of the context", err)
	}
	h.cores.Release(1)
	h.queue = maxQueue
	if _, err := h.Hash(t.Context(), "x"); err != nil {
		t.Errorf("with one processor free: %v", err)
	}
	if !h.cores.TryAcquire(1) {
		t.Error("a hash that is done keeps its processor")
	}
}

func TestTheMemoryOfHashesIsBoundedByProcessorsAndSettings(t *testing.T) {
	each := Argon2{MemoryKiB: 19 << 10, Time: 2, Parallelism: 1}
	if got, want := MaxMemory(each, 1<<50), int64(runtime.GOMAXPROCS(0))*19<<20; got != want {
		t.Errorf("with memory for all: got %d bytes, want %d", got, want)
	}
	if got := MaxMemory(each, 1<<20); got != 1<<20 {
		t.Errorf("with less: got %d bytes, want what there is", got)
	}
}

func TestAHashLargerThanAllMemoryRunsAlone(t *testing.T) {
	h := NewHasher(Argon2{128, 1, 1}, 64<<10)
	var hashes sync.WaitGroup
	for range 3 {
		hashes.Go(func() {
			if _, err := h.Hash(context.Background(), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	hashes.Wait()
}

func TestNothingIsVerifiedWithoutAPermit(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	hash, _ := h.Hash(t.Context(), "x")
	for name, check := range map[string]func(){
		"a password":         func() { h.Verify(t.Context(), nil, "x", hash) },
		"a password, zero":   func() { h.Verify(t.Context(), &guard.Permit{}, "x", hash) },
		"a generated secret": func() { VerifyGenerated(nil, "x", HashGenerated("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			check()
		})
	}
}
