package idp_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

// noon is when tests begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A house is a provider under test, with the clock that the test turns.
type house struct {
	*idp.Provider
	store idp.Store
	cfg   *config.Config
	ring  *secret.Keyring
	clock *clock
	waits *waits
}

type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time       { return noon.Add(time.Duration(c.ns.Load())) }
func (c *clock) turn(d time.Duration) { c.ns.Add(int64(d)) }

// waits notes what a provider waits for, and does not wait.
type waits struct {
	mu   sync.Mutex
	list []time.Duration
}

func (w *waits) wait(ctx context.Context, d time.Duration) {
	if ctx.Err() != nil {
		return // as the timer does
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, d)
}

func ringOf(t testing.TB, numbers ...byte) *secret.Keyring {
	t.Helper()
	var keys []secret.RootKey
	for _, n := range numbers {
		keys = append(keys, secret.RootKey{Number: uint16(n), Bytes: [32]byte(bytes.Repeat([]byte{n}, 32))})
	}
	ring, err := secret.NewKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func testConfig() *config.Config {
	cfg := config.Default()
	cfg.Issuer, cfg.TLS.Cert = "https://id.example", "cert.pem"
	cfg.Password.Argon2 = config.Argon2{MemoryKiB: 64, Time: 1, Parallelism: 1}
	return cfg
}

// open opens a provider over store, its settings changed by change.
func open(t testing.TB, store idp.Store, change ...func(*config.Config)) *house {
	t.Helper()
	cfg := testConfig()
	for _, c := range change {
		c(cfg)
	}
	h := &house{store: store, cfg: cfg, ring: ringOf(t, 1), clock: &clock{}, waits: &waits{}}
	h.reopen(t)
	return h
}

// reopen makes a new provider on the same database, as another node would.
func (h *house) reopen(t testing.TB) {
	t.Helper()
	p, err := idp.New(t.Context(), h.store, h.cfg, h.ring, h.options())
	if err != nil {
		t.Fatalf("open the provider: %v", err)
	}
	h.Provider = p
}

// another is a second node: another provider with the same store and clock.
func (h *house) another(t testing.TB) *house {
	t.Helper()
	other := *h
	other.reopen(t)
	return &other
}

func (h *house) options() idp.Options {
	return idp.Options{Now: h.clock.now, Wait: h.waits.wait, Log: slog.New(slog.DiscardHandler)}
}

// each runs test with a provider on every database, beside other tests.
func each(t *testing.T, test func(t *testing.T, h *house), change ...func(*config.Config)) {
	t.Helper()
	t.Parallel()
	storagetest.Each(t, func(t *testing.T, s *storage.Store) { test(t, open(t, s, change...)) })
}

const alicePassword = "correct horse battery"

// addUser adds a user with alicePassword.
func (h *house) addUser(t testing.TB, name string) idp.User {
	t.Helper()
	u, err := h.AddUser(t.Context(), idp.NewUser{
		Username: name, Email: name + "@example.com", EmailVerified: true, Password: alicePassword,
	})
	if err != nil {
		t.Fatalf("add %s: %v", name, err)
	}
	return u
}

// from is a context of a visitor with that address and session.
func from(t testing.TB, address string, token idp.SessionToken) context.Context {
	t.Helper()
	return idp.WithVisitor(t.Context(), &idp.Visitor{
		Address: netip.MustParseAddr(address), UserAgent: "Browser/1.0", RequestID: "req-1", Session: token,
	})
}

// logIn signs a user in with alicePassword, in a browser that has token.
func (h *house) logIn(t testing.TB, name string, token idp.SessionToken) idp.SignedIn {
	t.Helper()
	s, err := h.LogIn(from(t, "192.0.2.1", token), &idp.Interaction{}, idp.LogIn{Identifier: name, Password: alicePassword})
	if err != nil {
		t.Fatalf("log in as %s: %v", name, err)
	}
	return s
}

// alive tells whether token still names a live session.
func (h *house) alive(t testing.TB, token idp.SessionToken) bool {
	t.Helper()
	_, err := h.Visit(t.Context(), token, "")
	if err != nil && !errors.Is(err, idp.ErrNotFound) {
		t.Fatalf("visit: %v", err)
	}
	return err == nil
}

// kinds are the kinds of all events but those of keys, sorted: within a millisecond, which a clock
// that stands still never leaves, events have no order.
func (h *house) kinds(t testing.TB) string {
	t.Helper()
	list, err := h.Events(t.Context(), idp.ID{}, 1000)
	if err != nil {
		t.Fatalf("list events: %v", err)
	}
	var kinds []string
	for _, e := range list {
		if !strings.HasPrefix(e.Kind, "key.") {
			kinds = append(kinds, e.Kind)
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

// wantError fails the test where err is not an idp.Error of that kind, code and field.
func wantError(t testing.TB, err error, kind idp.Kind, code, field string) {
	t.Helper()
	e, ok := errors.AsType[*idp.Error](err)
	if !ok {
		t.Fatalf("got %v, want the error %s", err, code)
	}
	if e.Kind != kind || e.Code != code || e.Field != field {
		t.Errorf("got kind %d, code %s, field %q, want %d, %s, %q (%v)", e.Kind, e.Code, e.Field, kind, code, field, err)
	}
}

func TestI10_ADatabaseRefusesOtherRootKeys(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for name, tc := range map[string]struct {
			ring *secret.Keyring
			want string // "" where the database opens
		}{
			"the same key":  {ringOf(t, 1), ""},
			"a further key": {ringOf(t, 1, 2), ""},
			"another key":   {ringOf(t, 2), "missing: 1"},
			"another of the same number": {func() *secret.Keyring {
				ring, _ := secret.NewKeyring([]secret.RootKey{{Number: 1, Bytes: [32]byte{9}}})
				return ring
			}(), "differ from those that the database was made with: 1"},
		} {
			_, err := idp.New(t.Context(), h.store, h.cfg, tc.ring, h.options())
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", name, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "secrets.keys")):
				t.Errorf("%s: got %v, want an error that names %q and secrets.keys", name, err, tc.want)
			}
		}
	})
}

func TestI10_APromotedRootKeyIsNeededFromThenOn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.ring = ringOf(t, 2, 1)
		h.reopen(t)
		if _, err := idp.New(t.Context(), h.store, h.cfg, ringOf(t, 1), h.options()); err == nil {
			t.Error("a node without the promoted key starts")
		}
		if _, err := idp.New(t.Context(), h.store, h.cfg, ringOf(t, 1, 2), h.options()); err != nil {
			t.Errorf("a node that holds both keys: %v", err)
		}
	})
}

func TestI10_ResealedKeysAreOpenedByThePromotedRootKeyAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		want, err := h.PublicKeys()
		if err != nil {
			t.Fatal(err)
		}
		h.ring = ringOf(t, 2, 1)
		h.reopen(t)
		for _, wanted := range []int{3, 0} { // and a second time nothing is left to do
			if n, err := h.ResealKeys(t.Context()); err != nil || n != wanted {
				t.Errorf("resealed %d, %v, want %d", n, err, wanted)
			}
		}
		list, err := h.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			if got := secret.SealedBy(k.Private); got != 2 {
				t.Errorf("%s is sealed by root key %d, want 2", k.Alg, got)
			}
		}
		h.reopen(t)
		if got, err := h.PublicKeys(); err != nil || string(got) != string(want) {
			t.Errorf("key set %s, %v, want %s", got, err, want)
		}
		if k, err := h.SigningKey("ES256"); err != nil || k.Signer == nil {
			t.Errorf("a resealed key does not sign: %v", err)
		}
		events, err := h.Events(t.Context(), idp.ID{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, e := range events {
			if e.Kind == "key.resealed" {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%d events key.resealed, want 1", told)
		}
	})
}

func TestTwoNodesThatStartOnAnEmptyDatabaseEndWithOneSetOfKeys(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		var nodes sync.WaitGroup
		houses := make([]*house, 2)
		for i := range houses {
			s := storagetest.Open(t, url, storage.Options{})
			nodes.Go(func() { houses[i] = open(t, s) })
		}
		nodes.Wait()
		var sets [2][]byte
		for i, h := range houses {
			var err error
			if sets[i], err = h.PublicKeys(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(sets[0], sets[1]) {
			t.Errorf("got two sets of keys:\n%s\n%s", sets[0], sets[1])
		}
		if list, err := houses[0].Keys(t.Context()); err != nil || len(list) != len(idp.SigningAlgs) {
			t.Errorf("got %d keys and %v, want %d", len(list), err, len(idp.SigningAlgs))
		}
	})
}

func TestABadLimitNamesItsKey(t *testing.T) {
	cfg := testConfig()
	cfg.RateLimits.LoginFailed = "10/m/ip,5/x/key"
	s := storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
	_, err := idp.New(t.Context(), s, cfg, ringOf(t, 1), idp.Options{})
	const want = `rate_limits.login_failed has the period "x"`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Run(ctx) }()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestCookieKeysAreOneForEachRootKeyTheSealingOneFirst(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	one := h.CookieKeys()
	h.ring = ringOf(t, 2, 1)
	h.reopen(t)
	two := h.CookieKeys()
	if len(one) != 1 || len(two) != 2 || len(one[0]) != 32 || !reflect.DeepEqual(one[0], two[1]) || bytes.Equal(two[0], two[1]) {
		t.Errorf("got %d and %d keys, want the first of the one as the second of the other", len(one), len(two))
	}
}
