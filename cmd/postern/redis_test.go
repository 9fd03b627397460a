package main

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp/guard"
	"postern/storage/redis"
	"postern/storage/storagetest"
)

// redisURL is the address of a Redis database for these tests, whose counters are cleared.
func redisURL(t *testing.T) string {
	t.Helper()
	server := os.Getenv("TEST_REDIS")
	if server == "" {
		const missing = "Redis: TEST_REDIS is not set"
		if os.Getenv("POSTERN_TEST_ALL") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	address, err := url.Parse(server)
	if err != nil {
		t.Fatalf("TEST_REDIS: %v", err)
	}
	address.Path = "/11" // no other package's
	s, err := redis.Open(t.Context(), address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ForgetCounters(t.Context(), guard.Filter{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return address.String()
}

func TestS4_15_S4_16_S4_17_NodesAndCommandsShareRedis(t *testing.T) {
	inRedis := []string{"POSTERN_LOCKOUT__HANDLER=redis", "POSTERN_REDIS__URL=" + redisURL(t), "POSTERN_LOCKOUT__RESPONSE=page"}
	url := storagetest.SQLite(t)
	nodes := []*process{start(t, url, inRedis...), start(t, url, inRedis...)}
	addNodeUser(t, url)
	for n := range 5 {
		if _, err := signInAt(t.Context(), nodes[n%2].browser(t), nodeIssuer, "alice", "wrong"); err != nil {
			t.Fatal(err)
		}
	}
	for i, node := range nodes {
		if page, err := signInAt(t.Context(), node.browser(t), nodeIssuer, "alice", testPassword); err != nil || page.Status != http.StatusTooManyRequests {
			t.Fatalf("node %d: %v, %v", i, page, err)
		}
	}
	with := []string{"--set", "lockout.handler=redis", "--set", "redis.url=" + strings.TrimPrefix(inRedis[1], "POSTERN_REDIS__URL=")}
	var listed countersView
	succeed(t, &listed, url, "", append([]string{"lockout", "list", "--user", "alice"}, with...)...)
	if len(listed.Counters) == 0 {
		t.Error("nothing is listed")
	}
	var cleared map[string]int
	succeed(t, &cleared, url, "", append([]string{"lockout", "reset", "--user", "alice"}, with...)...)
	if cleared["counters"] < 1 {
		t.Errorf("cleared %v", cleared)
	}
	for i, node := range nodes {
		waitToSignIn(t, i, node)
	}
	redisURL(t) // leaves nothing behind
}

func TestCommandsThatNeedNoCounterDoWithoutRedis(t *testing.T) {
	url := storagetest.SQLite(t)
	open(t, url, nil).addUser(t, "alice")
	gone := []string{"--set", "lockout.handler=redis", "--set", "redis.url=redis://:hunter2@127.0.0.1:1/0"}
	if code, out, errs := command(t, url, "", append([]string{"user", "list"}, gone...)...); code != exitOK || !strings.Contains(out, "alice") {
		t.Errorf("user list: exit %d %s", code, errs)
	}
	code, _, errs := command(t, url, "", append([]string{"lockout", "reset", "--all"}, gone...)...)
	if code != exitFailure || !strings.Contains(errs, "redis.url") || strings.Contains(errs, "hunter2") || strings.Contains(errs, "database") {
		t.Errorf("lockout reset: exit %d %s", code, errs)
	}
	if code, out, errs := command(t, url, "", append([]string{"check"}, gone...)...); code != exitFailure || !strings.Contains(out, "W217") || !strings.Contains(errs, "redis.url") || strings.Contains(errs, "hunter2") {
		t.Errorf("check: exit %d %s%s", code, out, errs)
	}
	if code, _, errs := command(t, url, "", append([]string{"serve", "--set", "listen=127.0.0.1:0", "--set", "metrics.listen=off"}, gone...)...); code != exitFailure || !strings.Contains(errs, "redis.url") || strings.Contains(errs, "hunter2") {
		t.Errorf("serve: exit %d %s", code, errs)
	}
}

// A relay passes connections on until it is cut.
type relay struct {
	listener net.Listener
	to       string
	mu       sync.Mutex // holds open
	open     []net.Conn
}

func newRelay(t *testing.T, to string) *relay {
	r := &relay{listener: listen(t), to: to}
	go func() {
		for {
			c, err := r.listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, c, far)
			r.mu.Unlock()
			go io.Copy(far, c)
			go io.Copy(c, far)
		}
	}()
	return r
}

func (r *relay) cut() {
	r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		c.Close()
	}
}

// I-15: while Redis is away nobody signs in, and client authentication does as the settings say.
func TestI15_WhileRedisIsAwaySigningInIsUnavailable(t *testing.T) {
	address, err := url.Parse(redisURL(t))
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(t, address.Host)
	address.Host = r.listener.Addr().String()
	gate, err := redis.Open(t.Context(), address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	h := openCounting(t, storagetest.SQLite(t), gate, func(c *config.Config) { limited(c); c.Lockout.Handler = "redis" })
	h.addUser(t, "alice")
	if page := h.try(t, "198.51.100.7", "alice", testPassword); !signedIn(page) {
		t.Fatalf("with Redis: %d", page.Status)
	}
	r.cut()
	page := h.try(t, "198.51.100.7", "alice", testPassword)
	if page.Status != http.StatusServiceUnavailable || page.Header.Get("Retry-After") == "" {
		t.Errorf("without Redis: %d", page.Status)
	}
	redisURL(t)
}
