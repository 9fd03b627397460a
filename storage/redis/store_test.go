package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"postern/idp/guard"
)

// noon is when the tests begin, whatever the clock of the server says.
var noon = time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)

// server is the URL of the tests' Redis.
func server(t testing.TB) string {
	t.Helper()
	url := os.Getenv("TEST_REDIS")
	if url == "" {
		if os.Getenv("POSTERN_TEST_ALL") == "1" {
			t.Fatal("Redis: TEST_REDIS is not set")
		}
		t.Skip("Redis: TEST_REDIS is not set")
	}
	return url
}

// prefixOf is a test's own, so that tests do not see each other's counters.
func prefixOf(t testing.TB) string {
	t.Helper()
	return "postern-test-" + rand.Text() + ":{gate}:"
}

// openAt opens a store that is closed in the end, its counters forgotten.
func openAt(t testing.TB, url, prefix string) *Store {
	t.Helper()
	s, err := open(t.Context(), url, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		err := s.each(ctx, func(keys []string) error { return s.client.Del(ctx, keys...).Err() })
		if err := errors.Join(err, s.Close()); err != nil && !errors.Is(err, goredis.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func newStore(t testing.TB) *Store {
	t.Helper()
	return openAt(t, server(t), prefixOf(t))
}

func key(n byte) [16]byte { return [16]byte{0: n, 15: 1} }

// five is a counter of each kind, with five places.
func five(n byte, aging guard.Aging) guard.Counter {
	c := guard.Counter{
		Key:  key(n),
		Rule: guard.Rule{Aging: aging, Limit: 5, Period: time.Minute},
		Tag:  guard.Tag{Kind: "username", Lock: true, Account: "user 1", Network: "192.0.2.1/32"},
	}
	if aging == guard.Window {
		c.Ends = noon.Add(time.Minute)
	}
	return c
}

func reserved(t testing.TB, s *Store, now time.Time, counters ...guard.Counter) []guard.Outcome {
	t.Helper()
	outcomes, err := s.ReserveCounters(t.Context(), counters, now)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// calls counts the round trips of a client.
type calls struct{ n int }

func (c *calls) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (c *calls) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		c.n++
		return next(ctx, cmd)
	}
}

func (c *calls) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		c.n++
		return next(ctx, cmds)
	}
}

func TestAReservationIsOneRoundTrip(t *testing.T) {
	s := newStore(t)
	c := &calls{}
	s.client.AddHook(c)
	counters := []guard.Counter{five(1, guard.Window), five(2, guard.Sliding), five(3, guard.Inactivity)}
	for name, call := range map[string]func() error{
		"reserve": func() error { _, err := s.ReserveCounters(t.Context(), counters, noon); return err },
		"look":    func() error { _, err := s.LookAtCounters(t.Context(), counters, noon); return err },
		"release": func() error { return s.ReleaseCounters(t.Context(), counters, noon) },
	} {
		c.n = 0
		if err := call(); err != nil || c.n != 1 {
			t.Errorf("%s: %d round trips and %v, want 1", name, c.n, err)
		}
	}
}

func TestNothingIsAskedAboutNothing(t *testing.T) {
	s := newStore(t)
	c := &calls{}
	s.client.AddHook(c)
	outcomes, err := s.ReserveCounters(t.Context(), nil, noon)
	looked, lookErr := s.LookAtCounters(t.Context(), nil, noon)
	releaseErr := s.ReleaseCounters(t.Context(), nil, noon)
	if err := errors.Join(err, lookErr, releaseErr); err != nil || len(outcomes)+len(looked) != 0 || c.n != 0 {
		t.Errorf("got %v, %v, %v and %d round trips, want none", outcomes, looked, err, c.n)
	}
}

func TestS0_02_TwoClientsShareExactlySoManyPlaces(t *testing.T) {
	for name, aging := range map[string]guard.Aging{"window": guard.Window, "sliding": guard.Sliding, "inactivity": guard.Inactivity} {
		t.Run(name, func(t *testing.T) {
			prefix := prefixOf(t)
			stores := []*Store{openAt(t, server(t), prefix), openAt(t, server(t), prefix)}
			if got := passed(t, stores, 40, five(1, aging)); got != 5 {
				t.Errorf("got %d of 40 through, want 5", got)
			}
		})
	}
}

func TestS4_65_ParallelGuessesOverTwoClientsNeverExceedTheLimitOfAnyCounter(t *testing.T) {
	prefix := prefixOf(t)
	stores := []*Store{openAt(t, server(t), prefix), openAt(t, server(t), prefix)}
	wide := five(2, guard.Window)
	wide.Rule.Limit = 30
	if got := passed(t, stores, 100, five(1, guard.Sliding), wide); got != 5 {
		t.Errorf("got %d of 100 through, want 5", got)
	}
	// Those who were refused by the one took no place of the other.
	if got := reserved(t, stores[0], noon, wide); got[0].Used != 6 {
		t.Errorf("got %d places of the wide counter taken, want 6", got[0].Used)
	}
}

func passed(t *testing.T, stores []*Store, attempts int, counters ...guard.Counter) (n int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range attempts {
		all.Go(func() {
			outcomes, err := stores[i%len(stores)].ReserveCounters(t.Context(), counters, noon)
			if err != nil {
				t.Error(err)
				return
			}
			for _, o := range outcomes {
				if o.Refused {
					return
				}
			}
			mu.Lock()
			n++
			mu.Unlock()
		})
	}
	all.Wait()
	return n
}

func TestAServerThatForgotTheScriptIsToldItAgain(t *testing.T) {
	s := newStore(t)
	if err := s.client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if got := reserved(t, s, noon, five(1, guard.Sliding)); !reflect.DeepEqual(got, []guard.Outcome{{Used: 1}}) {
		t.Errorf("got %v, want one place taken", got)
	}
}

func TestACounterLeavesTheServerSoonAfterItIsDead(t *testing.T) {
	s := newStore(t)
	forever := five(4, guard.Inactivity)
	forever.Rule.Period = 0
	over := five(5, guard.Window)
	over.Ends = noon.Add(-time.Hour)
	for name, tc := range map[string]struct {
		counter  guard.Counter
		min, max time.Duration
	}{
		"window":                 {five(1, guard.Window), time.Minute, 3 * time.Minute},
		"sliding":                {five(2, guard.Sliding), time.Minute, 3 * time.Minute},
		"inactivity":             {five(3, guard.Inactivity), time.Minute, 3 * time.Minute},
		"until somebody clears":  {forever, -1, -1},
		"a window that was over": {over, time.Second, time.Minute},
	} {
		reserved(t, s, noon, tc.counter)
		if ttl := s.client.PTTL(t.Context(), s.key(tc.counter.Key)).Val(); ttl < tc.min || ttl > tc.max {
			t.Errorf("%s: lives for %s, want %s to %s", name, ttl, tc.min, tc.max)
		}
	}
	again := five(2, guard.Sliding)
	again.Rule.Period = 0 // another setting since
	reserved(t, s, noon, again)
	if ttl := s.client.PTTL(t.Context(), s.key(again.Key)).Val(); ttl != -1 {
		t.Errorf("what has no end any more lives for %s", ttl)
	}
	forever.Rule.Period = time.Minute
	reserved(t, s, noon, forever)
	if ttl := s.client.PTTL(t.Context(), s.key(forever.Key)).Val(); ttl < 0 {
		t.Errorf("without its reason it lives on: %s", ttl)
	}
}

func TestWhatIsNoCounterIsAnError(t *testing.T) {
	for name, spoil := range map[string]func(s *Store, key string) error{
		"a text":         func(s *Store, key string) error { return s.client.Set(t.Context(), key, "x", 0).Err() },
		"a list":         func(s *Store, key string) error { return s.client.RPush(t.Context(), key, "x").Err() },
		"bad count":      func(s *Store, key string) error { return s.client.HSet(t.Context(), key, "used", "x").Err() },
		"bad times":      func(s *Store, key string) error { return s.client.HSet(t.Context(), key, "times", "1,x").Err() },
		"bad lock":       func(s *Store, key string) error { return s.client.HSet(t.Context(), key, "locked", "").Err() },
		"missing times":  func(s *Store, key string) error { return s.client.HDel(t.Context(), key, "times").Err() },
		"missing locked": func(s *Store, key string) error { return s.client.HDel(t.Context(), key, "locked").Err() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			c, other := five(1, guard.Sliding), five(2, guard.Sliding)
			if !strings.HasPrefix(name, "a ") {
				reserved(t, s, noon, c)
			}
			if err := spoil(s, s.key(c.Key)); err != nil {
				t.Fatal(err)
			}
			both := []guard.Counter{other, c}
			_, reserveErr := s.ReserveCounters(t.Context(), both, noon)
			_, lookErr := s.LookAtCounters(t.Context(), both, noon)
			_, listErr := s.CounterRecords(t.Context(), guard.Filter{}, noon, [16]byte{}, 10)
			for call, err := range map[string]error{
				"reserve": reserveErr, "look": lookErr, "list": listErr, "release": s.ReleaseCounters(t.Context(), both, noon),
			} {
				if err == nil && (call != "list" || !strings.HasPrefix(name, "missing")) {
					t.Errorf("%s: got no error", call)
				}
			}
			if n := s.client.Exists(t.Context(), s.key(other.Key)).Val(); n != 0 {
				t.Error("the other counter of the call was written")
			}
		})
	}
}

func TestAKeyThatIsNoCountersIsAnErrorOfTheList(t *testing.T) {
	s := newStore(t)
	reserved(t, s, noon, five(1, guard.Sliding))
	if err := s.client.Copy(t.Context(), s.key(key(1)), s.prefix+"zz", 0, false).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CounterRecords(t.Context(), guard.Filter{}, noon, [16]byte{}, 10); err == nil || !strings.Contains(err.Error(), s.prefix+"zz") {
		t.Errorf("got %v, want an error that names the key", err)
	}
}

// A wire is a TCP connection to a server that a test can cut.
type wire struct {
	net.Listener
	mu      sync.Mutex
	stalled bool
	conns   []net.Conn
}

// wireTo listens on a port of its own and hands on what comes.
func wireTo(t *testing.T, address string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				in.Close()
				return
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			running.Go(func() { w.pump(out, in) })
			running.Go(func() { w.pump(in, out) })
		}
	})
	t.Cleanup(func() {
		w.cut()
		running.Wait()
	})
	return w
}

func (w *wire) pump(to, from net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		stalled := w.stalled
		w.mu.Unlock()
		if err != nil {
			to.Close()
			return
		}
		if !stalled {
			to.Write(b[:n])
		}
	}
}

func (w *wire) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = true
}

func (w *wire) cut() {
	w.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
}

func throughWire(t *testing.T) (*Store, *wire) {
	t.Helper()
	u, err := url.Parse(server(t))
	if err != nil {
		t.Fatal(err)
	}
	prefix := prefixOf(t)
	openAt(t, server(t), prefix) // removes what the other one leaves
	w := wireTo(t, u.Host)
	u.Host = w.Addr().String()
	s, err := open(t.Context(), u.String(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	reserved(t, s, noon, five(1, guard.Sliding))
	return s, w
}

func TestAServerThatIsGoneOrSilentIsAnErrorWithinThreeSeconds(t *testing.T) {
	for name, fail := range map[string]func(w *wire){"gone": (*wire).cut, "silent": (*wire).stall} {
		t.Run(name, func(t *testing.T) {
			s, w := throughWire(t)
			fail(w)
			for _, try := range []string{"on a connection that was there", "on a new one"} {
				began := time.Now()
				if _, err := s.ReserveCounters(t.Context(), []guard.Counter{five(1, guard.Sliding)}, noon); err == nil {
					t.Errorf("%s: got no error", try)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("%s: it took %s", try, took)
				}
			}
		})
	}
}

func TestACallThatMayHaveCountedIsNotRepeated(t *testing.T) {
	s, w := throughWire(t)
	c := &calls{}
	s.client.AddHook(c)
	w.stall()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.ReserveCounters(ctx, []guard.Counter{five(1, guard.Sliding)}, noon); err == nil || c.n != 1 {
		t.Errorf("got %v after %d calls, want an error after 1", err, c.n)
	}
	if took := time.Since(began); took > callTimeout {
		t.Errorf("the caller's time was over and it took %s", took)
	}
}

func TestErrorsOfOpenDoNotQuoteThePassword(t *testing.T) {
	for name, url := range map[string]string{
		"no server":      "redis://someone:QQQQ@127.0.0.1:1/0",
		"no such scheme": "https://someone:QQQQ@127.0.0.1/0",
		"a bad port":     "redis://someone:QQ/QQ@127.0.0.1:6379/0",
		"no URL":         "redis://someone:QQQQ@%zz",
		"TLS to nobody":  "rediss://someone:QQQQ@127.0.0.1:1/0",
	} {
		s, err := Open(t.Context(), url)
		if s != nil || err == nil || strings.Contains(err.Error(), "QQ") {
			t.Errorf("%s: got %v and %v, want an error without the password", name, s, err)
		}
	}
}

func TestAServerWhoseCertificateNobodyVouchesForIsRefused(t *testing.T) {
	pki := httptest.NewTLSServer(nil)
	defer pki.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: pki.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		defer close(got)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 100)
		n, _ := c.Read(b)
		got <- string(b[:n])
	}()
	_, err = Open(t.Context(), "rediss://someone:QQQQ@"+l.Addr().String()+"/0")
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("got %v, want an error about the certificate", err)
	}
	if sent := <-got; sent != "" {
		t.Errorf("it was sent %q", sent)
	}
}
