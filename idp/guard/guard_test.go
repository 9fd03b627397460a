package guard

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// memory is a Store for the tests of this package; those of storage.Store are beside it.
type memory struct {
	mu     sync.Mutex
	counts map[string]int
	calls  int
	err    error
}

func (m *memory) ReserveSlots(ctx context.Context, slots []Slot) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if err := errors.Join(m.err, ctx.Err()); err != nil {
		return 0, err
	}
	for i, s := range slots {
		if m.counts[string(s.Key)] >= s.Limit {
			return i, nil
		}
	}
	for _, s := range slots {
		m.counts[string(s.Key)]++
	}
	return -1, nil
}

func (m *memory) ReleaseSlots(ctx context.Context, slots []Slot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if err := errors.Join(m.err, ctx.Err()); err != nil {
		return err
	}
	for _, s := range slots {
		m.counts[string(s.Key)]--
	}
	return nil
}

const (
	login       = Action("login")
	loginFailed = Action("login_failed")
	clientAuth  = Action("token_endpoint_auth_failed")
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type clock struct{ now time.Time }

func (c *clock) turn(d time.Duration) { c.now = c.now.Add(d) }

func newGuard(t *testing.T, exempt ...netip.Prefix) (*Guard, *memory, *clock) {
	t.Helper()
	m, c := &memory{counts: make(map[string]int)}, &clock{noon}
	limits := make(map[Action][]Limit)
	for action, text := range map[Action]string{
		login: "30/m/ip", loginFailed: "10/m/ip,5/5m/key", clientAuth: "20/m/ip,4/m/ip+client",
	} {
		var err error
		if limits[action], err = ParseLimits(text); err != nil {
			t.Fatal(err)
		}
	}
	return New(m, Settings{Limits: limits, Exempt: exempt, Key: []byte("key"), Now: func() time.Time { return c.now }}), m, c
}

func attempt(address, key string) Request {
	return Request{Attempt: login, Failure: loginFailed, Address: netip.MustParseAddr(address), Key: key}
}

func reserve(t *testing.T, g *Guard, r Request) *Permit {
	t.Helper()
	p, err := g.Reserve(t.Context(), r)
	if err != nil {
		t.Fatalf("reserve: %v", err)
	}
	return p
}

func refused(t *testing.T, g *Guard, r Request, want Throttled) {
	t.Helper()
	_, err := g.Reserve(t.Context(), r)
	got, ok := errors.AsType[*Throttled](err)
	if !ok || *got != want {
		t.Fatalf("got %v, want %+v", err, want)
	}
}

func TestFailuresOfAnAccountAreLimitedFromAllAddressesTogether(t *testing.T) {
	g, _, c := newGuard(t)
	for i := range 5 {
		reserve(t, g, attempt("192.0.2."+string(rune('1'+i)), "alice"))
	}
	c.turn(time.Second)
	refused(t, g, attempt("192.0.2.9", "alice"), Throttled{loginFailed, 299 * time.Second})
	reserve(t, g, attempt("192.0.2.9", "bob"))
	c.turn(299 * time.Second)
	reserve(t, g, attempt("192.0.2.9", "alice"))
}

func TestFailuresOfAnAddressAreLimitedOverAllAccounts(t *testing.T) {
	g, _, _ := newGuard(t)
	for i := range 10 {
		reserve(t, g, attempt("192.0.2.1", "user"+string(rune('0'+i))))
	}
	refused(t, g, attempt("192.0.2.1", "zoe"), Throttled{loginFailed, time.Minute})
	reserve(t, g, attempt("192.0.2.2", "zoe"))
}

func TestAnIPv6NetworkIsOneAddress(t *testing.T) {
	g, _, _ := newGuard(t)
	for i := range 10 {
		reserve(t, g, attempt("2001:db8:0:1::"+string(rune('0'+i)), "user"+string(rune('0'+i))))
	}
	refused(t, g, attempt("2001:db8:0:1:ffff::1", "zoe"), Throttled{loginFailed, time.Minute})
	reserve(t, g, attempt("2001:db8:0:2::1", "zoe"))
}

func TestI15_ASuccessClearsNothingButItsOwnReservation(t *testing.T) {
	g, _, _ := newGuard(t)
	for range 4 {
		reserve(t, g, attempt("192.0.2.1", "alice"))
	}
	if err := reserve(t, g, attempt("192.0.2.1", "alice")).Success(t.Context()); err != nil {
		t.Fatal(err)
	}
	reserve(t, g, attempt("192.0.2.1", "alice"))
	refused(t, g, attempt("192.0.2.1", "alice"), Throttled{loginFailed, 5 * time.Minute})
}

func TestEveryAttemptCountsAsAnAttemptWhateverComesOfIt(t *testing.T) {
	g, _, _ := newGuard(t)
	for range 30 {
		if err := reserve(t, g, attempt("192.0.2.1", "alice")).Success(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, g, attempt("192.0.2.1", "alice"), Throttled{login, time.Minute})
}

func TestARefundIgnoresThatTheCallerLeft(t *testing.T) {
	g, _, _ := newGuard(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 9 {
		if err := reserve(t, g, attempt("192.0.2.1", "alice")).Success(gone); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASecondRefundGivesNothingBack(t *testing.T) {
	g, _, _ := newGuard(t)
	p := reserve(t, g, attempt("192.0.2.1", "alice"))
	for range 5 {
		if err := p.Success(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		reserve(t, g, attempt("192.0.2.1", "alice"))
	}
	refused(t, g, attempt("192.0.2.1", "alice"), Throttled{loginFailed, 5 * time.Minute})
}

func TestAGuardThatCannotCountRefuses(t *testing.T) {
	g, m, _ := newGuard(t)
	m.err = errors.New("disk on fire")
	if _, err := g.Reserve(t.Context(), attempt("192.0.2.1", "alice")); !errors.Is(err, m.err) {
		t.Errorf("got %v, want the store's error", err)
	}
}

func TestExemptNetworksAndMissingLimitsAskNoStore(t *testing.T) {
	g, m, _ := newGuard(t, netip.MustParsePrefix("192.0.2.0/24"))
	off := New(m, Settings{Now: time.Now})
	for range 50 {
		reserve(t, g, attempt("192.0.2.1", "alice"))
		reserve(t, g, attempt("::ffff:192.0.2.1", "alice"))
		reserve(t, off, attempt("203.0.113.1", "alice"))
	}
	if m.calls != 0 {
		t.Errorf("got %d calls of the store, want 0", m.calls)
	}
}

func TestALimitOfZeroRefusesAlways(t *testing.T) {
	m := &memory{counts: make(map[string]int)}
	g := New(m, Settings{Limits: map[Action][]Limit{login: {{0, time.Minute, ByAddress}}}, Now: func() time.Time { return noon }})
	refused(t, g, attempt("192.0.2.1", "alice"), Throttled{login, time.Minute})
}

func TestNoIdentifierIsReadableInACounter(t *testing.T) {
	g, m, _ := newGuard(t)
	reserve(t, g, attempt("192.0.2.1", "alice@example.com"))
	other := New(m, Settings{Limits: g.set.Limits, Key: []byte("another key"), Now: g.set.Now})
	reserve(t, other, attempt("192.0.2.1", "alice@example.com"))
	if len(m.counts) != 6 {
		t.Errorf("got %d counters, want 3 for each key", len(m.counts))
	}
	for key := range m.counts {
		if len(key) != 16 {
			t.Errorf("got a key of %d bytes, want 16", len(key))
		}
	}
}

func clientRequest(address, client string) Request {
	return Request{Failure: clientAuth, Address: netip.MustParseAddr(address), Client: client}
}

func failClient(t *testing.T, g *Guard, r Request) error {
	t.Helper()
	p, err := g.Check(r)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return p.Failure(t.Context())
}

func TestI14_AStrangerCannotTurnAClientOff(t *testing.T) {
	g, m, c := newGuard(t)
	for range 4 {
		if err := failClient(t, g, clientRequest("203.0.113.66", "shop")); err != nil {
			t.Fatal(err)
		}
	}
	err := failClient(t, g, clientRequest("203.0.113.66", "shop"))
	if got, ok := errors.AsType[*Throttled](err); !ok || *got != (Throttled{clientAuth, time.Minute}) {
		t.Fatalf("the fifth failure: got %v, want Throttled", err)
	}
	calls := m.calls
	if _, err := g.Check(clientRequest("203.0.113.66", "shop")); err == nil {
		t.Error("the stranger passes after too many failures")
	}
	for _, r := range []Request{clientRequest("192.0.2.7", "shop"), clientRequest("203.0.113.66", "blog")} {
		if _, err := g.Check(r); err != nil {
			t.Errorf("%s from %s: got %v, want a permit", r.Client, r.Address, err)
		}
	}
	if m.calls != calls {
		t.Errorf("checks asked the store %d times, want none", m.calls-calls)
	}
	c.turn(time.Minute)
	if _, err := g.Check(clientRequest("203.0.113.66", "shop")); err != nil {
		t.Errorf("in the next window: got %v, want a permit", err)
	}
}

func TestI14_AnAddressThatFailsAtManyClientsIsBlockedForAll(t *testing.T) {
	g, _, _ := newGuard(t)
	for i := range 20 {
		if err := failClient(t, g, clientRequest("203.0.113.66", "client"+string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := failClient(t, g, clientRequest("203.0.113.66", "client-z")); err == nil {
		t.Error("the 21st failure: got none, want Throttled")
	}
	if _, err := g.Check(clientRequest("203.0.113.66", "blog")); err == nil {
		t.Error("another client from that address: got a permit, want Throttled")
	}
}

func TestNodesShareTheBudgetOfFailures(t *testing.T) {
	one, m, c := newGuard(t)
	two := New(m, Settings{Limits: one.set.Limits, Key: one.set.Key, Now: func() time.Time { return c.now }})
	passed := 0
	var mu sync.Mutex
	var nodes sync.WaitGroup
	for i := range 40 {
		nodes.Go(func() {
			g := one
			if i%2 == 1 {
				g = two
			}
			if _, err := g.Reserve(context.Background(), attempt("192.0.2.1", "alice")); err == nil {
				mu.Lock()
				passed++
				mu.Unlock()
			}
		})
	}
	nodes.Wait()
	if passed != 5 {
		t.Errorf("got %d attempts through, want 5", passed)
	}
}

func TestNobodyButAGuardMakesAPermit(t *testing.T) {
	for name, p := range map[string]*Permit{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			p.Must()
		})
	}
}

func TestTheBlockListForgetsWhatIsOver(t *testing.T) {
	b := blockList{until: make(map[[16]byte]time.Time)}
	for i := range maxBlocked {
		b.add([16]byte{byte(i), byte(i >> 8), byte(i >> 16)}, noon.Add(time.Minute), noon)
	}
	extra := [16]byte{15: 1}
	b.add(extra, noon.Add(time.Minute), noon)
	if b.has(extra, noon) || len(b.until) != maxBlocked {
		t.Errorf("a full list took another entry: %d", len(b.until))
	}
	later := noon.Add(time.Minute)
	b.add(extra, later.Add(time.Minute), later)
	if !b.has(extra, later) || len(b.until) != 1 {
		t.Errorf("got %d entries, want the new one alone", len(b.until))
	}
}

func TestAFullWindowMakesTheStoreWriteOnceAMoment(t *testing.T) {
	g, m, c := newGuard(t)
	name := func(i int) string { return "user" + string(rune('0'+i)) }
	var last *Permit
	for i := range 10 {
		last = reserve(t, g, attempt("192.0.2.1", name(i)))
	}
	before := m.calls
	for i := range 100 { // the names differ, the address does not
		refused(t, g, attempt("192.0.2.1", name(10+i)), Throttled{loginFailed, time.Minute})
	}
	if got := m.calls - before; got != 1 {
		t.Errorf("the store was asked %d times, want once", got)
	}
	reserve(t, g, attempt("192.0.2.2", "zoe"))
	if err := last.Success(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.turn(fullFor)
	reserve(t, g, attempt("192.0.2.1", "zoe")) // the place that was given back
}
