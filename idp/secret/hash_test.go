package secret

import (
	"context"
	"net/netip"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// slow makes a hash of h wait until done is closed; began counts those that wait there.
func slow(h *Hasher) (began *atomic.Int32, done chan struct{}) {
	began, done = new(atomic.Int32), make(chan struct{})
	h.stretch = func(work func()) {
		began.Add(1)
		<-done
		work()
	}
	return began, done
}

func TestNoMoreHashesRunThanThereAreProcessorsAndMemory(t *testing.T) {
	all := runtime.GOMAXPROCS(0)
	for name, tc := range map[string]struct {
		memory int64
		want   int
	}{
		"memory for thousands": {1 << 30, all},
		"memory for one":       {64<<10 + 1, 1},
		"memory for none":      {0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHasher(cheap, tc.memory)
				began, done := slow(h)
				for range all + 3 {
					go h.Hash(t.Context(), "x")
				}
				synctest.Wait()
				if got := int(began.Load()); got != tc.want || h.Queued() != all+3-tc.want {
					t.Errorf("%d run and %d wait, want %d to run", got, h.Queued(), tc.want)
				}
				close(done)
				synctest.Wait()
				if got := int(began.Load()); got != all+3 || h.Queued() != 0 {
					t.Errorf("in the end %d ran and %d wait, want all to have run", got, h.Queued())
				}
			})
		})
	}
}

func TestAHashIsObservedWithItsLaneAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(cheap, 1<<20)
		h.stretch = func(work func()) {
			time.Sleep(40 * time.Millisecond) // of the bubble
			work()
		}
		type observation struct {
			lane string
			took time.Duration
		}
		var got []observation
		h.Observe = func(lane string, took time.Duration) { got = append(got, observation{lane, took}) }
		for _, known := range []bool{false, true} {
			if _, err := h.hash(t.Context(), sender{known: known}, "x"); err != nil {
				t.Fatal(err)
			}
		}
		want := []observation{{"other", 40 * time.Millisecond}, {"known_device", 40 * time.Millisecond}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestI16_AKnownDeviceIsVerifiedInALaneOfItsOwn(t *testing.T) {
	g := guard.New(guard.NewMemory(), guard.Settings{
		Now: time.Now, Lockout: guard.Lockout{KnownDevice: guard.Rule{Aging: guard.Inactivity, Limit: 5}},
	})
	h := NewHasher(cheap, 1<<20)
	hash, _ := h.Hash(t.Context(), "x")
	var lane string
	h.Observe = func(l string, _ time.Duration) { lane = l }
	for device, want := range map[string]string{"laptop": "known_device", "": "other"} {
		p, err := g.Reserve(t.Context(), guard.Request{
			Failure: "login_failed", Address: netip.MustParseAddr("192.0.2.1"), Account: "1", Device: device,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Verify(t.Context(), p, "x", hash); err != nil || lane != want {
			t.Errorf("device %q verified: got the lane %q and %v, want %q", device, lane, err, want)
		}
		lane = ""
		if _, err := h.Rehash(t.Context(), p, "x"); err != nil || lane != want {
			t.Errorf("device %q hashed: got the lane %q and %v, want %q", device, lane, err, want)
		}
	}
}

func TestI16_AFloodOfPasswordsFromOneNetworkDelaysNobodyElseByMoreThanOneHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard.New(nil, guard.Settings{Now: time.Now})
		h := NewHasher(cheap, 1)
		began, done := slow(h)
		decoy := h.Decoy(h.Scheme())
		verify := func(address string) *atomic.Bool {
			p, err := g.Reserve(t.Context(), guard.Request{Address: netip.MustParseAddr(address)})
			if err != nil {
				t.Fatal(err)
			}
			verified := new(atomic.Bool)
			go func() {
				if _, err := h.Verify(t.Context(), p, "x", decoy); err != nil {
					t.Error(err)
				}
				verified.Store(true)
			}()
			synctest.Wait()
			return verified
		}
		for i := range 50 {
			verify("203.0.113." + strconv.Itoa(i)) // one /24
		}
		neighbour := verify("198.51.100.7")
		for range 3 { // the one that runs, one of the flood whose turn it was, and the neighbour's
			done <- struct{}{}
			synctest.Wait()
		}
		if !neighbour.Load() || began.Load() != 4 {
			t.Errorf("after 3 hashes: the neighbour's is done: %v, %d began", neighbour.Load(), began.Load())
		}
		close(done)
		synctest.Wait()
	})
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
