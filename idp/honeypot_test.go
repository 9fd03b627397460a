package idp_test

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/guard"
	"postern/storage"
	"postern/storage/storagetest"
)

func (h *house) caught(t testing.TB, address, username string) error {
	t.Helper()
	return h.Spring(from(t, address, idp.SessionToken{}), idp.Catch{Username: username, Path: "/admin/login", Parameters: "username=********************"})
}

func TestS2_05_TheHoneypotIsAlwaysWrongAndIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addOther(t, idp.NewUser{Username: "ruth", Admin: true})
		r := h.measured(t)
		for _, name := range []string{"ruth", "zoe", "", strings.Repeat("a", 1<<20)} {
			h.clock.turn(time.Second)
			wantError(t, h.caught(t, "203.0.113.1", name), idp.Denied, "invalid_credentials", "")
		}
		if got := hashes(t, r); got != 4 {
			t.Errorf("%d hashes for 4 attempts: it costs what a wrong password does", got)
		}
		list, err := h.Attempts(t.Context(), idp.AttemptFilter{Kind: "honeypot"}, idp.ID{}, 10)
		if err != nil || len(list) != 4 {
			t.Fatalf("recorded %+v and %v, want 4 attempts", list, err)
		}
		got := list[3]
		got.ID = idp.ID{}
		want := idp.Attempt{
			At: h.Now().Add(-3 * time.Second), Bucket: "honeypot", Kind: "honeypot", Name: "********************", Address: "203.0.113.1", UserAgent: "Browser/1.0",
			Path: "/admin/login", Parameters: "username=********************", RequestID: "req-1", Why: "honeypot",
		}
		got.Bucket = want.Bucket // which lists may leave out
		if !reflect.DeepEqual(got, want) {
			t.Errorf("recorded %+v\nwant     %+v", got, want)
		}
		if n := h.count(t, "honeypot.sprung"); n != 4 {
			t.Errorf("%d events honeypot.sprung, want 4", n)
		}
	}, func(c *config.Config) { c.Honeypot.BlockAfter = 0 })
}

func TestS2_05_TheHoneypotIsLimitedByAddressAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		for i := range 10 {
			wantError(t, h.caught(t, "203.0.113.1", "alice"), idp.Denied, "invalid_credentials", "")
			wantError(t, h.caught(t, fmt.Sprintf("203.0.113.%d", i+2), "alice"), idp.Denied, "invalid_credentials", "")
		}
		wantError(t, h.caught(t, "203.0.113.1", "alice"), idp.Throttled, "throttled", "")
		if n := h.count(t, "honeypot.sprung"); n != 20 {
			t.Errorf("%d events, want 20: what was refused leaves nothing", n)
		}
		h.wantRight(t, "192.0.2.1", "alice", "") // nobody is locked out by it
	}, func(c *config.Config) { c.Honeypot.BlockAfter = 0 })
}

func TestS2_05_TheHoneypotAnswersWhenAWrongPasswordDoes(t *testing.T) {
	s := &waiting{Store: storagetest.Open(t, storagetest.SQLite(t), storage.Options{})}
	h := open(t, s, func(c *config.Config) { c.Honeypot.BlockAfter = 0 })
	s.turn = func() { h.clock.turn(130 * time.Millisecond) }
	h.caught(t, "203.0.113.1", "ruth")
	h.codes(t, 1, "203.0.113.1", "ruth", "wrong password")
	if want := []time.Duration{70 * time.Millisecond, 70 * time.Millisecond}; !reflect.DeepEqual(h.waits.list, want) {
		t.Errorf("waited %v, want %v", h.waits.list, want)
	}
}

func TestS2_08_TheNetworkIsBlockedFromEverythingAfterThreeAttempts(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		other := h.another(t)
		for i := range 3 {
			if err := h.Blocked(from(t, "203.0.113.1", idp.SessionToken{})); err != nil {
				t.Fatalf("after %d attempts: %v", i, err)
			}
			wantError(t, h.caught(t, "203.0.113.1", "ruth"), idp.Denied, "invalid_credentials", "")
		}
		for _, node := range []*house{h, other} {
			if err := idp.Poll(node.Provider, t.Context()); err != nil {
				t.Fatal(err)
			}
			err := node.Blocked(from(t, "203.0.113.1", idp.SessionToken{}))
			wantError(t, err, idp.Blocked, "blocked", "")
			if e, _ := err.(*idp.Error); e == nil || e.RetryAfter != 24*time.Hour {
				t.Errorf("got %+v, want RetryAfter a day", e)
			}
			node.wantRight(t, "203.0.113.1", "alice", "blocked")
			node.wantRight(t, "203.0.113.2", "alice", "")
		}
		list, err := h.Blocks(t.Context())
		want := []idp.Block{{Network: netip.MustParsePrefix("203.0.113.1/32"), Why: "honeypot", Until: h.Now().Add(24 * time.Hour), CreatedAt: h.Now()}}
		if err != nil || !reflect.DeepEqual(list, want) {
			t.Errorf("got %+v and %v, want %+v", list, err, want)
		}
		if n := h.count(t, "block.added"); n != 1 {
			t.Errorf("%d events block.added, want 1", n)
		}
		_, blocks, err := h.ClearLocks(t.Context(), "", netip.MustParseAddr("203.0.113.1"))
		if err != nil || blocks != 1 {
			t.Errorf("cleared %d blocks and %v, want 1", blocks, err)
		}
		h.wantRight(t, "203.0.113.1", "alice", "")
		if err := h.caught(t, "203.0.113.1", "ruth"); idp.CodeOf(err) != wrong || h.Blocked(from(t, "203.0.113.1", idp.SessionToken{})) != nil {
			t.Errorf("after the reset the count begins anew: %v", err)
		}
	})
}

func TestS2_08_ABlockHoldsForTheNetworkAndEndsByItself(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for i := range 3 {
			h.caught(t, fmt.Sprintf("2001:db8:1:2::%d", i+1), "ruth")
		}
		wantError(t, h.Blocked(from(t, "2001:db8:1:2:ffff::", idp.SessionToken{})), idp.Blocked, "blocked", "")
		if err := h.Blocked(from(t, "2001:db8:1:3::1", idp.SessionToken{})); err != nil {
			t.Errorf("another network: %v", err)
		}
		h.clock.turn(24 * time.Hour) // no poll, no sweep
		if err := h.Blocked(from(t, "2001:db8:1:2::1", idp.SessionToken{})); err != nil {
			t.Errorf("after a day: %v", err)
		}
	})
}

func TestS2_08_WhatMayBeAProxyOrIsAllowedIsNeverBlocked(t *testing.T) {
	for name, tc := range map[string]struct {
		address string
		change  func(*config.Config)
		blocked bool
	}{
		"loopback":                {"127.0.0.1", nil, false},
		"IPv6 loopback":           {"::1", nil, false},
		"a private address":       {"10.0.0.1", nil, false},
		"a unique local address":  {"fd00::1", nil, false},
		"an address of the link":  {"169.254.1.1", nil, false},
		"private within IPv6":     {"::ffff:10.0.0.1", nil, false},
		"a public address":        {"203.0.113.1", nil, true},
		"loopback in development": {"127.0.0.1", inDevelopment, true},
		"private in development":  {"10.0.0.1", inDevelopment, true},
		"of our proxy in development": {"10.0.0.1", func(c *config.Config) {
			inDevelopment(c)
			c.Proxy.TrustedCIDRs = networksOf("10.0.0.0/24")
		}, false},
		"a proxy that speaks https, of which nobody told us": {"203.0.113.1", func(c *config.Config) { c.TLS.Cert = "" }, false},
		"behind one of which we know":                        {"203.0.113.1", func(c *config.Config) { c.TLS.Cert, c.Proxy.TrustedHops = "", 1 }, true},
		"private behind a known proxy":                       {"10.0.0.1", func(c *config.Config) { c.Proxy.TrustedHops = 1 }, true},
		"private behind a named header":                      {"10.0.0.1", func(c *config.Config) { c.Proxy.ClientIPHeader = "X-Real-IP" }, true},
		"the proxy itself":                                   {"10.0.0.1", func(c *config.Config) { c.Proxy.TrustedHops, c.Proxy.TrustedCIDRs = 1, networksOf("10.0.0.0/24") }, false},
		"allowed":                                            {"203.0.113.1", func(c *config.Config) { c.Lockout.AllowCIDRs = networksOf("203.0.113.0/24") }, false},
		"where nobody is ever blocked":                       {"203.0.113.1", func(c *config.Config) { c.Honeypot.BlockAfter = 0 }, false},
		"without limits, a public one":                       {"203.0.113.1", func(c *config.Config) { c.RateLimits.Off = true }, true},
		"without a log of failed logins":                     {"203.0.113.1", func(c *config.Config) { c.Lockout.FailureLog = false }, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := small(t, func(c *config.Config) {
				if tc.change != nil {
					tc.change(c)
				}
			})
			for range 5 {
				if err := h.caught(t, tc.address, "ruth"); idp.CodeOf(err) != wrong {
					t.Fatal(err)
				}
			}
			if err := h.Blocked(from(t, tc.address, idp.SessionToken{})); (err != nil) != tc.blocked {
				t.Errorf("got %v, want blocked %v", err, tc.blocked)
			}
		})
	}
}

func inDevelopment(c *config.Config) { c.Profile = "development" }

func TestS2_08_NoOtherSiteHasItsVisitorsBlocked(t *testing.T) {
	h := small(t)
	ctx := from(t, "203.0.113.1", idp.SessionToken{})
	for range 5 {
		wantError(t, h.Spring(ctx, idp.Catch{Username: "ruth", Path: "/admin/", CrossSite: true}), idp.Denied, "invalid_credentials", "")
	}
	if err := h.Blocked(ctx); err != nil {
		t.Errorf("got %v, want no block", err)
	}
	if n := h.count(t, "honeypot.sprung"); n != 5 {
		t.Errorf("%d events, want 5", n)
	}
}

func TestS2_05_NoOtherSiteSpendsWhatItsVisitorsSignInWith(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		sent := func() error {
			return h.Spring(from(t, "192.0.2.1", idp.SessionToken{}), idp.Catch{Username: "ruth", Path: "/admin/", CrossSite: true})
		}
		for range 10 {
			wantError(t, sent(), idp.Denied, "invalid_credentials", "")
		}
		for range 30 {
			wantError(t, sent(), idp.Throttled, "throttled", "")
		}
		if n := h.count(t, "honeypot.sprung"); n != 10 {
			t.Errorf("%d events, want 10", n)
		}
		h.wantCodes(t, "192.0.2.1", "zoe", wrong) // an office behind one address signs in as before
		h.wantRight(t, "192.0.2.1", "alice", "")
		wantError(t, h.caught(t, "192.0.2.1", "ruth"), idp.Denied, "invalid_credentials", "")
	})
}

func TestAnAllowedAddressPassesABlockOfItsNetwork(t *testing.T) {
	h := small(t, func(c *config.Config) { c.Lockout.AllowCIDRs = networksOf("203.0.113.7/32") })
	b := idp.Block{Network: netip.MustParsePrefix("203.0.113.0/24"), Why: "honeypot", Until: h.Now().Add(time.Hour), CreatedAt: h.Now()}
	if err := h.store.Tx(t.Context(), func(ctx context.Context) error { return idp.BlockNetwork(h.Provider, ctx, b) }); err != nil {
		t.Fatal(err)
	}
	if err := idp.Poll(h.Provider, t.Context()); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{"203.0.113.7": false, "203.0.113.8": true, "::ffff:203.0.113.8": true, "203.0.114.1": false} {
		if err := h.Blocked(from(t, address, idp.SessionToken{})); (err != nil) != want {
			t.Errorf("%s: got %v, want blocked %v", address, err, want)
		}
	}
	if err := h.Blocked(t.Context()); err != nil {
		t.Errorf("a command: %v", err)
	}
}

func TestNobodyWhoPassesCostsAnAllocation(t *testing.T) {
	h := small(t, func(c *config.Config) { c.Lockout.DenyCIDRs = networksOf("198.51.100.0/24") })
	for i := range 3 {
		h.caught(t, "203.0.113.1", "ruth")
		h.caught(t, fmt.Sprint("2001:db8::", i), "ruth")
	}
	ctx := from(t, "192.0.2.1", idp.SessionToken{})
	if n := testing.AllocsPerRun(100, func() { h.Blocked(ctx) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestS2_06_TheFirstAttemptIsMailedAtOnceAndTheOthersTogether(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addOther(t, idp.NewUser{Username: "ruth", Admin: true})
		h.addUser(t, "alice")
		m := h.withPostman(t)
		for i := range 100 {
			if err := h.caught(t, fmt.Sprintf("203.0.113.%d", i), "<b>admin</b>"); idp.CodeOf(err) != wrong {
				t.Fatal(err)
			}
		}
		h.doJobs(t)
		want := idp.Mail{Kind: "honeypot", To: "ruth@example.com", At: h.Now(), Args: map[string]string{
			"username": "<b>admin</b>", "address": "203.0.113.0", "user_agent": "Browser/1.0", "path": "/admin/login",
		}}
		if len(m.mails) != 1 || !reflect.DeepEqual(m.mails[0], want) {
			t.Fatalf("sent %+v\nwant %+v", m.mails, want)
		}
		began := h.Now()
		h.clock.turn(time.Hour)
		h.doJobs(t)
		h.doJobs(t)
		want = idp.Mail{Kind: "honeypot_digest", To: "ruth@example.com", At: h.Now(), Args: map[string]string{
			"count": "99", "since": began.Format(time.RFC3339),
		}}
		if len(m.mails) != 2 || !reflect.DeepEqual(m.mails[1], want) {
			t.Fatalf("sent %+v\nwant one more, %+v", m.mails, want)
		}
		h.caught(t, "203.0.113.201", "admin")
		h.clock.turn(time.Hour)
		h.doJobs(t)
		h.doJobs(t)
		if got := m.kinds(); got != "honeypot honeypot honeypot_digest" {
			t.Errorf("sent %s; one attempt alone needs no digest", got)
		}
	})
}

func TestS2_06_ADigestCountsAllButTheFirstHoweverLongItTookToWriteThemDown(t *testing.T) {
	s := &slow{Store: storagetest.Open(t, storagetest.SQLite(t), storage.Options{})}
	h := open(t, s)
	s.turn = func() { h.clock.turn(5 * time.Millisecond) }
	h.addOther(t, idp.NewUser{Username: "ruth", Admin: true})
	m := h.withPostman(t)
	h.caught(t, "203.0.113.1", "admin")
	h.caught(t, "203.0.113.2", "admin")
	h.clock.turn(time.Hour)
	h.doJobs(t)
	h.doJobs(t)
	if got := m.kinds(); got != "honeypot honeypot_digest" {
		t.Errorf("sent %s, want the digest of the second one, too", got)
	}
}

// slow is a store that takes a while to keep an attempt.
type slow struct {
	idp.Store
	turn func()
}

func (s *slow) AddAttempt(ctx context.Context, a idp.Attempt, keep int) error {
	s.turn()
	return s.Store.AddAttempt(ctx, a, keep)
}

func TestS2_06_ABlockIsMailedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addOther(t, idp.NewUser{Username: "chief", Admin: true})
		m := h.withPostman(t)
		for range 3 {
			h.caught(t, "203.0.113.1", "admin")
		}
		h.doJobs(t)
		want := idp.Mail{Kind: "honeypot_block", To: "chief@example.com", At: h.Now(), Args: map[string]string{
			"username": "admin", "address": "203.0.113.1", "network": "203.0.113.1/32", "user_agent": "Browser/1.0", "path": "/admin/login",
			"until": h.Now().Add(24 * time.Hour).Format(time.RFC3339),
		}}
		if len(m.mails) != 2 || m.mails[0].Kind != "honeypot" || !reflect.DeepEqual(m.mails[1], want) {
			t.Fatalf("sent %+v\nwant one of the kind honeypot and %+v", m.mails, want)
		}
		if locks, err := h.Locks(t.Context(), "", netip.Addr{}); err != nil || strings.Contains(fmt.Sprint(locks), "block_mail") {
			t.Errorf("a mail is listed as a lock: %+v %v", locks, err)
		}
		if _, _, err := h.ClearLocks(t.Context(), "", netip.MustParseAddr("203.0.113.1")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			h.caught(t, "203.0.113.1", "admin") // on the same day
			h.caught(t, "203.0.113.2", "admin")
		}
		h.doJobs(t)
		if got := m.kinds(); got != "honeypot honeypot_block honeypot_block" || m.mails[2].Args["network"] != "203.0.113.2/32" {
			t.Errorf("sent %s, want one of each network", got)
		}
	})
}

func TestS2_06_ABlockByTheFirstAttemptIsOneMail(t *testing.T) {
	h := small(t, func(c *config.Config) { c.Honeypot.BlockAfter, c.Honeypot.BlockFor = 1, 2*time.Hour })
	h.addOther(t, idp.NewUser{Username: "chief", Admin: true})
	m := h.withPostman(t)
	h.caught(t, "203.0.113.1", "admin")
	h.doJobs(t)
	h.clock.turn(2 * time.Hour) // the block is over, and the digest was due
	h.doJobs(t)
	h.caught(t, "203.0.113.1", "admin")
	h.doJobs(t)
	if got := m.kinds(); got != "honeypot honeypot_block" || m.mails[1].Args["blocked"] != "true" {
		t.Errorf("sent %s, %+v; want that the second one says that it is blocked again", got, m.mails)
	}
}

func TestS2_06_ABlockThatFailedIsMailedByTheNextAttempt(t *testing.T) {
	s := &unblocking{Store: storagetest.Open(t, storagetest.SQLite(t), storage.Options{})}
	h := open(t, s, func(c *config.Config) { c.Honeypot.BlockAfter = 1 })
	h.addOther(t, idp.NewUser{Username: "chief", Admin: true})
	m := h.withPostman(t)
	s.fails = errDown
	h.caught(t, "203.0.113.1", "root")
	s.fails = nil
	h.clock.turn(time.Second)
	h.caught(t, "203.0.113.1", "root")
	h.doJobs(t)
	if got := m.kinds(); got != "honeypot_block" {
		t.Errorf("sent %q, want honeypot_block", got)
	}
}

func TestS2_06_NothingIsMailedWhereTheSettingsSaySo(t *testing.T) {
	h := small(t, func(c *config.Config) { c.Honeypot.Mail = false })
	h.addOther(t, idp.NewUser{Username: "ruth", Admin: true})
	m := h.withPostman(t)
	h.caught(t, "203.0.113.1", "admin")
	h.doJobs(t)
	if waiting, _ := h.jobs(t); waiting != 0 || m.kinds() != "" {
		t.Errorf("%d jobs wait and %s was sent, want nothing", waiting, m.kinds())
	}
}

func TestABlockWhoseTxFailedIsMadeByTheNextAttempt(t *testing.T) {
	s := &unblocking{Store: storagetest.Open(t, storagetest.SQLite(t), storage.Options{})}
	h := open(t, s)
	for range 2 {
		h.caught(t, "203.0.113.1", "ruth")
	}
	s.fails = errDown
	if err := h.caught(t, "203.0.113.1", "ruth"); idp.KindOf(err) != idp.Unavailable {
		t.Fatalf("got %v, want Unavailable", err)
	}
	s.fails = nil
	h.caught(t, "203.0.113.1", "ruth")
	wantError(t, h.Blocked(from(t, "203.0.113.1", idp.SessionToken{})), idp.Blocked, "blocked", "")
}

// unblocking is a store that adds no block while it fails.
type unblocking struct {
	idp.Store
	fails error
}

func (f *unblocking) PutBlock(ctx context.Context, b idp.Block) error {
	if f.fails != nil {
		return f.fails
	}
	return f.Store.PutBlock(ctx, b)
}

// waiting is a store whose counters take a while, as a hash does.
type waiting struct {
	idp.Store
	turn func()
}

func (w *waiting) ReserveCounters(ctx context.Context, c []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	w.turn()
	return w.Store.ReserveCounters(ctx, c, now)
}
