package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

const (
	login       = Action("login")
	loginFailed = Action("login_failed")
	clientAuth  = Action("token_endpoint_auth_failed")
)

// spy is a store that counts how often it is asked, and fails where it is told to and where it is
// asked what no store has to answer.
type spy struct {
	Store
	mu    sync.Mutex
	calls int
	err   error
}

func (s *spy) asked() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return s.err
}

func (s *spy) ReserveCounters(ctx context.Context, c []Counter, now time.Time) ([]Outcome, error) {
	if err := s.asked(); err != nil {
		return nil, err
	}
	keys := map[[16]byte]bool{}
	for i := range c {
		keys[c[i].Key] = true
	}
	if len(keys) != len(c) || !now.Equal(now.Truncate(time.Microsecond)) {
		return nil, fmt.Errorf("%d counters have %d keys, at %s", len(c), len(keys), now)
	}
	return s.Store.ReserveCounters(ctx, c, now)
}

func (s *spy) ReleaseCounters(ctx context.Context, c []Counter, at time.Time) error {
	if err := s.asked(); err != nil {
		return err
	}
	return s.Store.ReleaseCounters(ctx, c, at)
}

func (s *spy) LookAtCounters(ctx context.Context, c []Counter, now time.Time) ([]Outcome, error) {
	if err := s.asked(); err != nil {
		return nil, err
	}
	return s.Store.LookAtCounters(ctx, c, now)
}

// rig is a guard in a test, with the gate's defaults unless it is told otherwise.
type rig struct {
	*Guard
	*testing.T
	store *spy
	clock *clock
	mu    sync.Mutex
	seen  map[Observation]int
}

func defaultLimits() map[Action]string {
	return map[Action]string{login: "30/m/ip", loginFailed: "10/m/ip,5/5m/key", clientAuth: "20/m/ip,4/m/ip+client"}
}

func newRig(t *testing.T, limits map[Action]string, lockout Lockout, edits ...func(*Settings)) *rig {
	t.Helper()
	r := &rig{T: t, store: &spy{Store: NewMemory()}, clock: &clock{noon.Add(time.Nanosecond)}, seen: map[Observation]int{}}
	s := Settings{
		Limits: map[Action][]Limit{}, Lockout: lockout, Key: []byte("key"),
		Now: func() time.Time { return r.clock.now },
		Observe: func(o Observation) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen[o]++
		},
	}
	for action, text := range limits {
		var err error
		if s.Limits[action], err = ParseLimits(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, edit := range edits {
		edit(&s)
	}
	r.Guard = New(r.store, s)
	return r
}

// locks are groups in the grammar of the settings. Those without a limit have five in fifteen
// minutes.
func locks(t *testing.T, texts ...string) Lockout {
	t.Helper()
	l := Lockout{Enabled: true, ResetOnSuccess: true, KnownDevice: Rule{Aging: Inactivity, Limit: 5}}
	for _, text := range texts {
		g, err := ParseGroup(text, Rule{Aging: Sliding, Limit: 5, Period: 15 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		l.Groups = append(l.Groups, g)
	}
	return l
}

func defaultLocks(t *testing.T) Lockout {
	return locks(t, "username+ip_address:5/15m", "ip_address:30/15m", "username:50/1h")
}

// attempt is somebody's attempt to sign in with a password.
func attempt(address, account string) Request {
	return Request{Attempt: login, Failure: loginFailed, Lockout: true, Address: netip.MustParseAddr(address), Account: account, Client: "shop"}
}

func (r *rig) reserve(request Request) *Permit {
	r.Helper()
	p, err := r.Reserve(r.Context(), request)
	if err != nil {
		r.Fatalf("reserve: %v", err)
	}
	return p
}

// fail makes n attempts that fail.
func (r *rig) fail(n int, request Request) {
	r.Helper()
	for range n {
		r.reserve(request)
	}
}

// succeed makes an attempt that succeeds, whole.
func (r *rig) succeed(request Request) {
	r.Helper()
	if err := r.reserve(request).Cleared(r.Context()); err != nil {
		r.Fatalf("give back: %v", err)
	}
}

func (r *rig) throttled(request Request, action Action, after time.Duration) {
	r.Helper()
	_, err := r.Reserve(r.Context(), request)
	if got, ok := errors.AsType[*Throttled](err); !ok || got.Action != action || got.RetryAfter != after {
		r.Fatalf("got %v, want Throttled by %s for %s", err, action, after)
	}
}

func (r *rig) locked(request Request, parameters string) *LockedOut {
	r.Helper()
	_, err := r.Reserve(r.Context(), request)
	got, ok := errors.AsType[*LockedOut](err)
	if !ok || joined(got.Parameters) != parameters {
		r.Fatalf("got %v, want LockedOut by %s", err, parameters)
	}
	return got
}

// onset is how many failures pass before one is refused.
func (r *rig) onset(request func(n int) Request) int {
	r.Helper()
	for n := range 1000 {
		if _, err := r.Reserve(r.Context(), request(n)); err != nil {
			return n
		}
	}
	r.Fatal("nothing is ever refused")
	return 0
}

func (r *rig) counters() []Record {
	r.Helper()
	list, err := r.store.CounterRecords(r.Context(), Filter{}, r.clock.now, [16]byte{}, 1000)
	if err != nil {
		r.Fatal(err)
	}
	return list
}

// address is one of 254 at a network.
func address(n int) string { return fmt.Sprintf("192.0.2.%d", n+1) }
