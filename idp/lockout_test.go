package idp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/guard"
	"postern/storage"
	"postern/storage/storagetest"
)

// lockoutAlone switches the limits off, and sets what is counted.
func lockoutAlone(parameters ...string) func(*config.Config) {
	return func(c *config.Config) {
		c.RateLimits.Off = true
		if len(parameters) > 0 {
			c.Lockout.Parameters = parameters
		}
		c.Lockout.Policies = nil
		c.Lockout.Response = "page" // so that a lock is told from a wrong password
	}
}

// addOther adds a user whom change changes before.
func (h *house) addOther(t testing.TB, n idp.NewUser) idp.User {
	t.Helper()
	n.Email, n.EmailVerified, n.Password = n.Username+"@example.com", true, alicePassword
	u, err := h.AddUser(t.Context(), n)
	if err != nil {
		t.Fatalf("add %s: %v", n.Username, err)
	}
	return u
}

// wantCodes fails the test where n wrong passwords are not answered so.
func (h *house) wantCodes(t testing.TB, address, identifier string, want ...string) {
	t.Helper()
	if got := h.codes(t, len(want), address, identifier, "wrong password"); !reflect.DeepEqual(got, want) {
		t.Errorf("%s from %s: got %q, want %q", identifier, address, got, want)
	}
}

// wantRight fails the test where the right password is not answered with code, "" for success.
func (h *house) wantRight(t testing.TB, address, identifier, want string) {
	t.Helper()
	if _, err := h.tryLogIn(t, address, identifier, alicePassword); idp.CodeOf(err) != want || err == nil != (want == "") {
		t.Errorf("%s from %s: got %v, want %q", identifier, address, err, want)
	}
}

const (
	wrong  = "invalid_credentials"
	locked = "locked_out"
)

func repeat(code string, n int) []string { return strings.Fields(strings.Repeat(code+" ", n)) }

func (h *house) count(t testing.TB, kind string) int {
	t.Helper()
	list, err := h.Events(t.Context(), idp.ID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func TestS4_01_WithoutLockoutAHundredFailuresLockNobody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.wantCodes(t, "192.0.2.1", "alice", repeat(wrong, 100)...)
		h.wantRight(t, "192.0.2.1", "alice", "")
	}, lockoutAlone(), func(c *config.Config) { c.Lockout.Enabled = false })
}

func TestS4_02_S4_52_TheFailureAtTheLimitIsAnsweredAsLockedUntilTheCoolOffIsOver(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.wantCodes(t, "192.0.2.1", "alice", wrong, wrong, locked)
		_, err := h.tryLogIn(t, "192.0.2.1", " Alice", alicePassword)
		wantError(t, err, idp.Locked, locked, "")
		e, _ := errors.AsType[*idp.Error](err)
		want := idp.LockedOut{Username: " Alice", FailureLimit: 3, Cooloff: 15 * time.Minute, Until: h.Now().Add(15 * time.Minute)}
		if *e.Lock != want || e.RetryAfter != 15*time.Minute {
			t.Errorf("got %+v and %s, want %+v", *e.Lock, e.RetryAfter, want)
		}
		h.clock.turn(15*time.Minute - time.Microsecond)
		h.wantRight(t, "192.0.2.1", "alice", locked)
		h.clock.turn(time.Second) // by which nodes forget what they refused
		h.wantRight(t, "192.0.2.1", "alice", "")
	}, lockoutAlone("username+ip_address:3/15m"))
}

func TestS4_02_PoliciesHoldForThoseWhomTheyMatch(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addOther(t, idp.NewUser{Username: "ruth", Admin: true})
		h.addOther(t, idp.NewUser{Username: "olga", Groups: idp.List{"oncall"}})
		h.addUser(t, "alice")
		h.wantCodes(t, "192.0.2.1", "ruth", wrong, locked)
		h.wantCodes(t, "192.0.2.2", "olga", wrong, wrong, locked)
		h.wantCodes(t, "198.51.100.1", "alice", locked)
		h.wantCodes(t, "192.0.2.3", "alice", wrong, wrong, wrong, locked)
		in := &idp.Interaction{Request: idp.Request{ClientID: "kiosk"}}
		for i, want := range repeat(wrong, 4) {
			_, err := h.LogIn(from(t, "192.0.2.4", idp.SessionToken{}), in, idp.LogIn{Identifier: "zoe", Password: "wrong"})
			if idp.CodeOf(err) != want {
				t.Errorf("failure %d at the client: got %v", i+1, err)
			}
		}
		_, err := h.LogIn(from(t, "192.0.2.4", idp.SessionToken{}), in, idp.LogIn{Identifier: "zoe", Password: "wrong"})
		wantError(t, err, idp.Locked, locked, "")
	}, lockoutAlone("username+ip_address:4/15m"), func(c *config.Config) {
		c.Lockout.Policies = []string{
			"role=admin => username+ip_address:2/15m", "group=oncall => username+ip_address:3/15m",
			"cidr=198.51.100.0/24 => username+ip_address:1/15m", "client=kiosk => username+ip_address:5/15m",
		}
	})
}

func TestS0_93_AdministratorsAreLockedForAnHourBesideOthers(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addOther(t, idp.NewUser{Username: "ruth", Admin: true})
		h.addUser(t, "alice")
		h.wantCodes(t, "192.0.2.1", "ruth", wrong, wrong, wrong, wrong, locked)
		h.wantRight(t, "192.0.2.1", "alice", "")
		h.wantRight(t, "192.0.2.2", "ruth", "") // the pair is locked, not the account
		h.clock.turn(59 * time.Minute)
		h.wantRight(t, "192.0.2.1", "ruth", locked)
		h.clock.turn(time.Minute + time.Second)
		h.wantRight(t, "192.0.2.1", "ruth", "")
	}, func(c *config.Config) { // the defaults, but told
		c.RateLimits.Off, c.Lockout.Response = true, "page"
	})
}

func TestS4_03_ADryRunTellsAndLocksNobody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		m := h.withPostman(t)
		r := h.measured(t)
		h.wantCodes(t, "192.0.2.1", "alice", repeat(wrong, 10)...)
		h.wantRight(t, "192.0.2.1", "alice", "")
		if got := h.count(t, "lockout.triggered"); got != 1 {
			t.Errorf("%d events lockout.triggered, want 1", got)
		}
		if got := sum(t, r, "postern_gate_reservations_total", "result=would_block"); got != 8 { // 7 failures and the success
			t.Errorf("would_block is %v, want 8", got)
		}
		if got := sum(t, r, "postern_lockouts_total"); got != 0 {
			t.Errorf("%v lockouts are counted, want none", got)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "" {
			t.Errorf("sent %s, want nothing", got)
		}
	}, lockoutAlone("username:3/15m"), func(c *config.Config) { c.Lockout.DryRun = true })
}

func TestS4_07_TheScopeAdminLocksAdministratorsAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addOther(t, idp.NewUser{Username: "ruth", Admin: true})
		h.addUser(t, "alice")
		h.wantCodes(t, "192.0.2.1", "alice", repeat(wrong, 10)...)
		h.wantCodes(t, "192.0.2.1", "ruth", wrong, wrong, locked)
		h.wantRight(t, "192.0.2.1", "alice", "")
	}, lockoutAlone("username+ip_address:3/15m"), func(c *config.Config) { c.Lockout.Scope = "admin" })
}

func TestS4_09_TheCombinationOfUserAndAddressLocksNeitherAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		h.wantCodes(t, "192.0.2.1", "alice", wrong, wrong, wrong, wrong, locked)
		h.wantRight(t, "192.0.2.2", "alice", "")
		h.wantRight(t, "192.0.2.1", "bob", "")
		h.wantRight(t, "192.0.2.1", "alice", locked)
	}, lockoutAlone("username+ip_address"))
}

func TestS4_10_UserOrAddressLocksByEither(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		h.wantCodes(t, "192.0.2.1", "alice", wrong, wrong, locked)
		h.wantRight(t, "192.0.2.2", "alice", locked)
		h.wantRight(t, "192.0.2.1", "bob", locked)
		h.wantRight(t, "192.0.2.2", "bob", "")
	}, lockoutAlone("username:3/15m", "ip_address:3/15m"))
}

func TestS4_11_AnotherBrowserIsCountedAnewWhereTheUserAgentIsCounted(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		try := func(browser, password string) string {
			ctx := idp.WithVisitor(t.Context(), &idp.Visitor{Address: netip.MustParseAddr("192.0.2.1"), UserAgent: browser})
			_, err := h.LogIn(ctx, &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: password})
			return idp.CodeOf(err)
		}
		got := []string{try("one", "w"), try("one", "w"), try("one", alicePassword), try("two", "w"), try("two", alicePassword)}
		if want := []string{wrong, locked, locked, wrong, ""}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}, lockoutAlone("ip_address+user_agent:2/15m"))
}

func TestS4_12_LockoutParametersLockWhereAnyGroupIsFull(t *testing.T) {
	// Two failures fill a group. Each case is what a further, right attempt shares with them.
	for name, tc := range map[string]struct {
		parameters             []string
		address, user, browser string
		want                   string
	}{
		"the same address, another user": {[]string{"ip_address:2/15m", "username+user_agent:2/15m"}, "192.0.2.1", "bob", "one", locked},
		"the same user and browser":      {[]string{"ip_address:2/15m", "username+user_agent:2/15m"}, "192.0.2.2", "alice", "one", locked},
		"the same user alone":            {[]string{"ip_address:2/15m", "username+user_agent:2/15m"}, "192.0.2.2", "alice", "two", ""},
		"the same browser alone":         {[]string{"ip_address:2/15m", "username+user_agent:2/15m"}, "192.0.2.2", "bob", "one", ""},
		"own limits: not yet":            {[]string{"ip_address:3/15m", "username:4/1h"}, "192.0.2.1", "alice", "one", ""},
		"own limits: one of them":        {[]string{"ip_address:3/15m", "username:2/1h"}, "192.0.2.2", "alice", "one", locked},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				h.addUser(t, "alice")
				h.addUser(t, "bob")
				try := func(address, user, browser, password string) error {
					ctx := idp.WithVisitor(t.Context(), &idp.Visitor{Address: netip.MustParseAddr(address), UserAgent: browser})
					_, err := h.LogIn(ctx, &idp.Interaction{}, idp.LogIn{Identifier: user, Password: password})
					return err
				}
				for range 2 {
					try("192.0.2.1", "alice", "one", "wrong password")
				}
				if err := try(tc.address, tc.user, tc.browser, alicePassword); idp.CodeOf(err) != tc.want {
					t.Errorf("got %v, want %q", err, tc.want)
				}
			}, lockoutAlone(tc.parameters...))
		})
	}
}

// answerOf is everything that a person could tell one answer from another by.
func answerOf(t *testing.T, h *house, address, name, password string) string {
	t.Helper()
	h.waits.list = nil
	s, err := h.tryLogIn(t, address, name, password)
	e, ok := errors.AsType[*idp.Error](err)
	if !ok {
		t.Fatalf("got %+v and %v", s, err)
	}
	seen := *e
	seen.Cause = nil // of the log
	return fmt.Sprintf("%+v %+v %v", s, seen, h.waits.list)
}

func TestS4_04_S4_05_S4_06_S4_41_CoolOffSlidingProlongingAndTiersAreAsTheSettingsSay(t *testing.T) {
	type step struct {
		after time.Duration
		want  string // of a wrong password
	}
	for name, tc := range map[string]struct {
		change func(*config.Lockout)
		steps  []step
		last   step // of the right one
	}{
		"half an hour": {
			func(l *config.Lockout) { l.FailureLimit, l.CooloffTime = 2, "0.5" },
			[]step{{0, wrong}, {0, locked}, {30*time.Minute - 2*time.Second, locked}}, step{2 * time.Second, ""},
		},
		"until somebody clears it": {
			func(l *config.Lockout) { l.FailureLimit, l.CooloffTime = 2, "none" },
			[]step{{0, wrong}, {0, locked}}, step{1000 * 24 * time.Hour, locked},
		},
		"sliding": {
			func(l *config.Lockout) { l.FailureLimit, l.CooloffTime = 3, "15s" },
			[]step{{0, wrong}, {10 * time.Second, wrong}, {6 * time.Second, wrong}}, step{0, ""},
		},
		"together": {
			func(l *config.Lockout) { l.FailureLimit, l.CooloffTime, l.Sliding = 3, "15s", false },
			[]step{{0, wrong}, {10 * time.Second, wrong}, {6 * time.Second, locked}}, step{0, locked},
		},
		"prolonged": {
			func(l *config.Lockout) { l.FailureLimit, l.ResetCooloffOnFailure = 1, true },
			[]step{{0, locked}, {10 * time.Minute, locked}}, step{10 * time.Minute, locked},
		},
		"not prolonged": {
			func(l *config.Lockout) { l.FailureLimit = 1 },
			[]step{{0, locked}, {10 * time.Minute, locked}}, step{10 * time.Minute, ""},
		},
		"tiers": {
			func(l *config.Lockout) { l.Tiers = []string{"2:1m", "4:10m"} },
			[]step{{0, wrong}, {0, locked}, {time.Minute + time.Second, locked}, {time.Minute + time.Second, locked}, {2 * time.Minute, locked}},
			step{10 * time.Minute, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				h.addUser(t, "alice")
				for i, s := range tc.steps {
					h.clock.turn(s.after)
					if _, err := h.tryLogIn(t, "192.0.2.1", "alice", "wrong password"); idp.CodeOf(err) != s.want {
						t.Errorf("attempt %d: got %v, want %s", i+1, err, s.want)
					}
				}
				h.clock.turn(tc.last.after)
				h.wantRight(t, "192.0.2.1", "alice", tc.last.want)
			}, lockoutAlone("username"), func(c *config.Config) { tc.change(&c.Lockout) })
		})
	}
}

func TestS4_20_ASilentLockIsAnsweredAsAWrongPasswordIsInItsTime(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		for response, silent := range map[string]bool{"silent": true, "auto": true, "page": false, "redirect": false, "json": false} {
			t.Run(response, func(t *testing.T) {
				slow := &during{Store: s}
				h := open(t, slow, lockoutAlone("username+ip_address:3/15m", "ip_address:30/15m"), func(c *config.Config) { c.Lockout.Response = response })
				name := "user-" + response
				h.addUser(t, name)
				var answers []string
				for range 3 {
					slow.then = func() { h.clock.turn(130 * time.Millisecond) } // the hash
					answers = append(answers, answerOf(t, h, "192.0.2.1", name, "wrong password"))
				}
				if !strings.Contains(answers[0], "invalid_credentials") || !strings.Contains(answers[0], "70ms") {
					t.Fatalf("a wrong password: got %s", answers[0])
				}
				if got := answers[2] == answers[0]; got != silent {
					t.Errorf("the failure that locks: got  %s\nwrong password: %s", answers[2], answers[0])
				}
				for _, password := range []string{"wrong password", alicePassword} {
					refused := answerOf(t, h, "192.0.2.1", name, password)
					// Nothing is hashed, so that the whole time is waited for.
					if want := strings.Replace(answers[0], "70ms", "200ms", 1); (refused == want) != silent {
						t.Errorf("locked: got  %s\nwant %s", refused, want)
					}
				}
			})
		}
	})
}

func TestS4_20_WhereThoseNamedChooseTheLimitOfTheAddressNoAnswerTellsWhoTheyAre(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*config.Lockout)
		told   bool
	}{
		"by the scope":   {func(l *config.Lockout) { l.Scope = "admin" }, false},
		"by their role":  {func(l *config.Lockout) { l.Policies = []string{"role=admin => ip_address:3/1h"} }, false},
		"by their group": {func(l *config.Lockout) { l.Policies = []string{"group=oncall => ip_address:3/1h"} }, false},
		"beside another network": {func(l *config.Lockout) {
			l.Policies = []string{"role=admin => ip_address:4/1h", "cidr=192.0.2.0/24 => ip_address:3/1h"}
		}, false},
		"not by a limit like all": {func(l *config.Lockout) { l.Policies = []string{"role=admin => username:9/1h, ip_address:4/1h"} }, true},
		"not by their network":    {func(l *config.Lockout) { l.Policies = []string{"cidr=192.0.2.0/24 => ip_address:3/1h"} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := small(t, lockoutAlone("ip_address:4/1h"), func(c *config.Config) {
				c.Lockout.Response = "auto"
				tc.change(&c.Lockout)
			})
			h.addOther(t, idp.NewUser{Username: "ruth", Admin: true, Groups: idp.List{"oncall"}})
			for identifier, address := range map[string]string{"ruth": "192.0.2.1", "zoe": "192.0.2.2"} {
				codes := strings.Join(h.codes(t, 5, address, identifier, "wrong password"), " ")
				if told := strings.Contains(codes, locked); told != tc.told {
					t.Errorf("%s: got %s, want a lock that is told: %v", identifier, codes, tc.told)
				}
			}
		})
	}
}

func TestS4_20_ALockOfTheAddressIsTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		for i := range 2 {
			h.wantCodes(t, "192.0.2.1", fmt.Sprint("zoe", i), wrong)
		}
		h.wantCodes(t, "192.0.2.1", "zoe2", locked)
		h.wantRight(t, "192.0.2.1", "alice", locked)
	}, lockoutAlone("username+ip_address:5/15m", "ip_address:3/15m"), func(c *config.Config) { c.Lockout.Response = "auto" })
}

func TestS4_20_TheFirstSilentAnswerAfterTheStartTakesAsLongAsAHash(t *testing.T) {
	h := small(t, lockoutAlone("username:1/15m"), func(c *config.Config) {
		c.Lockout.Response = "silent"
		c.Password.Argon2 = config.Argon2{MemoryKiB: 8 << 10, Time: 1, Parallelism: 1}
	})
	h.wantCodes(t, "192.0.2.1", "zoe", wrong)
	h.reopenWith(t, func(o *idp.Options) {
		o.Now = func() time.Time { h.clock.turn(time.Millisecond); return h.clock.now() }
	})
	if err := idp.TimeHash(h.Provider, t.Context()); err != nil {
		t.Fatal(err)
	}
	h.waits.list = nil
	h.wantCodes(t, "192.0.2.1", "zoe", wrong)
	if len(h.waits.list) != 1 || h.waits.list[0] < 50*time.Millisecond {
		t.Errorf("waited %v, want until the first 100 ms", h.waits.list)
	}
}

func TestS4_23_EveryNameOfAnAccountCountsForIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		names := []string{"alice", "ALICE", "alice@example.com", "ａlice", " alice\u200b", "Alice@EXAMPLE.com."}
		for i, name := range names {
			want := wrong
			if i == len(names)-1 {
				want = locked
			}
			h.wantCodes(t, fmt.Sprint("192.0.2.", i), name, want)
		}
		for _, name := range names {
			h.wantRight(t, "192.0.2.9", name, locked)
		}
	}, lockoutAlone("username:6/15m"))
}

func TestLockoutCannotBeEvaded(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		h := open(t, s, lockoutAlone("username+ip_address:5/15m"))
		h.addUser(t, "alice")
		h.addUser(t, "mallory")
		attempts := []struct{ address, name string }{
			{"2001:db8:1:2::1", "alice"},
			{"2001:db8:1:2:aaaa::1", "ALICE"},
			{"2001:db8:1:2:bbbb:cccc::", "alice@example.com"},
			{"2001:db8:1:2::ffff", "al\u00adice"},
			{"2001:db8:1:2:1:2:3:4", "𝐚lice"},
		}
		for i, a := range attempts {
			want := wrong
			if i == len(attempts)-1 {
				want = locked
			}
			h.wantCodes(t, a.address, a.name, want)
			h.wantRight(t, a.address, "mallory", "") // a success in between
		}
		for _, a := range attempts {
			h.wantRight(t, a.address, a.name, locked)
		}
		h.wantRight(t, "2001:db8:1:3::1", "alice", "")
	})
}

func TestS4_24_NobodyLocksOutAnExemptAccountAndItsUseIsTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addOther(t, idp.NewUser{Username: "breakglass"})
		h.addOther(t, idp.NewUser{Username: "olga", Groups: idp.List{"staff", "oncall"}})
		h.addUser(t, "alice")
		for _, name := range []string{"breakglass", "olga"} {
			for i := range 7 {
				h.wantCodes(t, fmt.Sprint("192.0.2.", i), name, wrong)
			}
			h.wantRight(t, "192.0.2.100", name, "")
		}
		if got := h.count(t, "lockout.exempt_used"); got != 2 {
			t.Errorf("%d events lockout.exempt_used, want 2", got)
		}
		h.wantRight(t, "192.0.2.100", "alice", "")
		if got := h.count(t, "lockout.exempt_used"); got != 2 {
			t.Errorf("%d events lockout.exempt_used after alice, want 2", got)
		}
		h.wantCodes(t, "203.0.113.1", "breakglass", append(repeat(wrong, 9), locked)...) // the address is locked still
		h.wantRight(t, "203.0.113.1", "breakglass", locked)
	}, lockoutAlone("username:3/15m", "username+ip_address:3/15m", "ip_address:10/15m"), func(c *config.Config) {
		c.Lockout.ExemptUsers, c.Lockout.ExemptGroups = []string{"BreakGlass"}, []string{"oncall"}
	})
}

func networksOf(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestS4_29_AnAllowedAddressIsNeverLockedOut(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.wantCodes(t, "192.0.2.1", "alice", repeat(wrong, 10)...)
		h.wantRight(t, "192.0.2.1", "alice", "")
		h.wantCodes(t, "198.51.100.1", "alice", wrong, wrong, locked)
	}, lockoutAlone("username+ip_address:3/15m", "ip_address:5/15m"), func(c *config.Config) {
		c.Lockout.NeverLockAllowed, c.Lockout.AllowCIDRs = true, networksOf("192.0.2.0/24")
	})
}

func TestS4_30_S4_31_S4_63_TheDenyListIsBeforeTheAllowList(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		denied, allowed := from(t, "192.0.2.66", idp.SessionToken{}), from(t, "192.0.2.1", idp.SessionToken{})
		wantError(t, h.Blocked(denied), idp.Blocked, "blocked", "")
		wantError(t, h.MayShowLogIn(denied), idp.Blocked, "blocked", "")
		_, err := h.LogIn(denied, &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: alicePassword})
		wantError(t, err, idp.Blocked, "blocked", "")
		if err := h.Blocked(allowed); err != nil {
			t.Errorf("an allowed address: %v", err)
		}
		h.wantRight(t, "192.0.2.1", "alice", "")
	}, func(c *config.Config) {
		c.Lockout.AllowCIDRs, c.Lockout.DenyCIDRs = networksOf("192.0.2.0/24"), networksOf("192.0.2.66/32")
		c.Lockout.NeverLockAllowed = true
	})
}

func TestS4_32_WhereOnlyAllowedAddressesMayComeOthersAreDenied(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.wantRight(t, "198.51.100.1", "alice", "blocked")
		h.wantRight(t, "192.0.2.1", "alice", "")
	}, func(c *config.Config) { c.Lockout.OnlyAllowed, c.Lockout.AllowCIDRs = true, networksOf("192.0.2.0/24") })
}

func TestS4_28_TheFormIsLockedWhereTheSettingsSaySo(t *testing.T) {
	for never, want := range map[bool]string{true: "", false: locked} {
		for response, told := range map[string]bool{"auto": true, "page": true, "silent": false} {
			h := small(t, lockoutAlone("ip_address:2/15m"), func(c *config.Config) {
				c.Lockout.NeverLockGet, c.Lockout.Response = never, response
			})
			h.codes(t, 2, "192.0.2.1", "zoe", "wrong")
			err := h.MayShowLogIn(from(t, "192.0.2.1", idp.SessionToken{}))
			if got := idp.CodeOf(err); told && got != want || !told && err != nil {
				t.Errorf("never_lock_get %v, %s: got %v, want %q", never, response, err, want)
			}
			if err := h.MayShowLogIn(from(t, "192.0.2.2", idp.SessionToken{})); err != nil {
				t.Errorf("another address: %v", err)
			}
		}
	}
}

func TestS4_36_I15_OwnSuccessesNeverClearWhatAnAddressFailedInOtherNames(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "mallory")
		h.addUser(t, "alice")
		for i := range 6 { // of ten, and each success clears the own pair alone
			h.wantCodes(t, "192.0.2.1", fmt.Sprint("victim", i), wrong)
			h.wantRight(t, "192.0.2.1", "mallory", "")
		}
		for range 3 { // the own failures are forgotten by a success at the address, for the pair
			h.wantCodes(t, "192.0.2.1", "mallory", wrong)
			h.wantRight(t, "192.0.2.1", "mallory", "")
		}
		h.wantCodes(t, "192.0.2.1", "victim", locked) // the tenth failure of the address
		h.wantRight(t, "192.0.2.1", "mallory", locked)
	}, lockoutAlone("username+ip_address:2/15m", "ip_address:10/15m"))
}

func TestS4_36_ResetOnSuccessCanBeTurnedOff(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.wantCodes(t, "192.0.2.1", "alice", wrong, wrong)
		h.wantRight(t, "192.0.2.1", "alice", "")
		h.wantCodes(t, "192.0.2.1", "alice", locked)
	}, lockoutAlone("username+ip_address:3/15m"), func(c *config.Config) { c.Lockout.ResetOnSuccess = false })
}

func TestS0_94_S4_57_WhoIsLockedOutCanShowTheirPasswordNowhere(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		in := h.logIn(t, "alice", idp.SessionToken{})
		v, err := h.Visit(t.Context(), in.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		change := func(current string) error {
			_, err := h.ChangePassword(from(t, "192.0.2.1", in.Token), v, current, "another horse battery")
			return err
		}
		h.wantCodes(t, "192.0.2.7", "alice", wrong)
		wantError(t, change("wrong password"), idp.Denied, wrong, "password")
		wantError(t, change("wrong password"), idp.Locked, locked, "") // one count, wherever it is shown
		wantError(t, change(alicePassword), idp.Locked, locked, "")
		h.wantRight(t, "192.0.2.8", "alice", locked)
		if !h.alive(t, in.Token) {
			t.Error("the lock ended the session")
		}
	}, lockoutAlone("username:3/15m"))
}

func TestS0_94_ASilentLockOfAPasswordChangeIsAWrongPassword(t *testing.T) {
	h := small(t, lockoutAlone("username:1/15m"), func(c *config.Config) { c.Lockout.Response = "auto" })
	h.addUser(t, "alice")
	in := h.logIn(t, "alice", idp.SessionToken{})
	v, err := h.Visit(t.Context(), in.Token, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := h.ChangePassword(from(t, "192.0.2.1", in.Token), v, "wrong password", "another horse battery")
		wantError(t, err, idp.Denied, wrong, "password")
	}
	_, err = h.ChangePassword(from(t, "192.0.2.1", in.Token), v, alicePassword, "another horse battery")
	wantError(t, err, idp.Denied, wrong, "password")
}

func TestS4_67_ALockStopsWhatPeopleChooseAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "carol")
		h.wantCodes(t, "192.0.2.1", "carol", wrong, wrong, locked)
		// What a passkey's sign-in asks: it cannot be guessed, so that lockout has no say in it.
		r := guard.Request{Attempt: "login", Address: netip.MustParseAddr("192.0.2.1"), Account: u.ID.String()}
		if _, err := idp.GuardOf(h.Provider).Reserve(t.Context(), r); err != nil {
			t.Errorf("a passkey: %v", err)
		}
		r.Lockout = true
		if _, err := idp.GuardOf(h.Provider).Reserve(t.Context(), r); err == nil {
			t.Error("a password: got a permit")
		}
	}, lockoutAlone("username:3/15m"))
}

func TestS4_60_ALockIsToldOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		m := h.withPostman(t)
		var tries sync.WaitGroup
		for range 20 {
			tries.Go(func() { h.codes(t, 1, "192.0.2.1", "alice", "wrong password") })
		}
		tries.Wait()
		h.codes(t, 5, "192.0.2.1", "alice", "wrong password")
		if got := h.count(t, "lockout.triggered"); got != 1 {
			t.Errorf("%d events lockout.triggered, want 1", got)
		}
		if got := h.count(t, "user.sign_in_failed"); got != 3 {
			t.Errorf("%d events of failures, want 3: what was refused is none", got)
		}
		h.doJobs(t)
		if len(m.mails) != 1 {
			t.Fatalf("sent %+v, want one mail", m.mails)
		}
		want := idp.Mail{Kind: "lockout", To: "alice@example.com", At: h.Now(), Args: map[string]string{
			"username": "alice", "address": "192.0.2.1", "user_agent": "Browser/1.0", "failures": "3",
			"until": h.Now().Add(time.Hour).Format(time.RFC3339),
		}}
		if !reflect.DeepEqual(m.mails[0], want) {
			t.Errorf("sent %+v\nwant %+v", m.mails[0], want)
		}
	}, lockoutAlone("username+ip_address:3/1h"))
}

func TestS4_60_ALockIsMailedOnceADayAndCountedEachTime(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		m := h.withPostman(t)
		for range 24 {
			h.codes(t, 3, "192.0.2.1", "alice", "wrong password")
			h.clock.turn(time.Hour + time.Second)
			h.doJobs(t)
		}
		if got := h.count(t, "lockout.triggered"); got != 24 {
			t.Errorf("%d events lockout.triggered, want 24", got)
		}
		if got := m.kinds(); got != "lockout" {
			t.Errorf("sent %q in a day, want one mail", got)
		}
		h.codes(t, 3, "192.0.2.1", "alice", "wrong password")
		h.doJobs(t)
		if got := m.kinds(); got != "lockout lockout" {
			t.Errorf("sent %q, want another mail the next day", got)
		}
	}, lockoutAlone("username+ip_address:3/1h"))
}

func TestS4_60_TheMailOfALockWhoseTxFailedIsSentForTheNext(t *testing.T) {
	s := &forgetful{Store: storagetest.Open(t, storagetest.SQLite(t), storage.Options{})}
	h := open(t, s, lockoutAlone("username+ip_address:1/15m"))
	h.addUser(t, "alice")
	m := h.withPostman(t)
	s.fails = errDown
	if _, err := h.tryLogIn(t, "192.0.2.1", "alice", "wrong password"); idp.KindOf(err) != idp.Unavailable {
		t.Fatalf("got %v, want Unavailable", err)
	}
	s.fails = nil
	h.wantCodes(t, "192.0.2.2", "alice", locked)
	h.wantCodes(t, "192.0.2.3", "alice", locked)
	h.doJobs(t)
	if got := m.kinds(); got != "lockout" {
		t.Errorf("sent %q, want one mail", got)
	}
}

// forgetful is a store that keeps no attempt while it fails.
type forgetful struct {
	idp.Store
	fails error
}

func (f *forgetful) AddAttempt(ctx context.Context, a idp.Attempt, keep int) error {
	if f.fails != nil {
		return f.fails
	}
	return f.Store.AddAttempt(ctx, a, keep)
}

func TestALockIsMailedToNobodyWhoseNameWasNotCountedOrWhoHasNoVerifiedAddress(t *testing.T) {
	for name, parameters := range map[string]string{"alice": "ip_address:1/15m", "zoe": "username:1/15m", "dave": "username:1/15m"} {
		h := small(t, lockoutAlone(parameters))
		h.addUser(t, "alice")
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "dave", Email: "dave@example.com", Password: alicePassword}); err != nil {
			t.Fatal(err)
		}
		m := h.withPostman(t)
		h.wantCodes(t, "192.0.2.1", name, locked)
		h.doJobs(t)
		if got := m.kinds(); got != "" {
			t.Errorf("%s by %s: sent %s", name, parameters, got)
		}
	}
}

func TestAFailureTellsWhatItLocksInTheSameTx(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		h := open(t, storagetest.Twice(s), lockoutAlone("username:1/15m"))
		h.addUser(t, "alice")
		r := h.measured(t)
		h.wantCodes(t, "192.0.2.1", "alice", locked)
		if got := h.count(t, "lockout.triggered"); got != 1 {
			t.Errorf("%d events where each Tx runs twice, want 1", got)
		}
		if got := sum(t, r, "postern_lockouts_total", "parameters=username"); got != 1 {
			t.Errorf("%v lockouts are counted, want 1", got)
		}
	})
}

func TestTheAlarmRingsOnceAPeriod(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for i := range 12 {
			h.wantCodes(t, "192.0.2.1", fmt.Sprint("zoe", i), wrong)
		}
		if got := h.count(t, "lockout.alarm"); got != 1 {
			t.Errorf("%d events lockout.alarm, want 1", got)
		}
		h.clock.turn(time.Hour)
		h.wantCodes(t, "192.0.2.1", "zoe", repeat(wrong, 4)...)
		if got := h.count(t, "lockout.alarm"); got != 1 {
			t.Errorf("%d events lockout.alarm in the next hour, want 1", got)
		}
		h.wantCodes(t, "192.0.2.1", "zoe", wrong)
		if got := h.count(t, "lockout.alarm"); got != 2 {
			t.Errorf("%d events lockout.alarm after five more, want 2", got)
		}
	}, lockoutAlone("username:1000/1h"), func(c *config.Config) { c.Lockout.Alarm = "5/1h" })
}

func TestS4_21_VerboseLogsEachFailureAndEachLockout(t *testing.T) {
	for verbose, want := range map[bool]int{true: 4, false: 0} {
		h := small(t, lockoutAlone("username:3/15m"), func(c *config.Config) { c.Lockout.Verbose = verbose })
		var log bytes.Buffer
		h.reopenWith(t, func(o *idp.Options) {
			o.Log, o.Security = slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.DiscardHandler)
		})
		h.codes(t, 4, "192.0.2.1", "zoe", "wrong password")
		if got := strings.Count(log.String(), "\n"); got != want {
			t.Errorf("verbose %v: got %d lines, want %d:\n%s", verbose, got, want, &log)
		}
	}
}

func TestI16_WhoLeavesOnceThePasswordWasRightIsNotCounted(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		leaving := &leaves{Store: s}
		h := open(t, leaving, lockoutAlone("username:2/15m"))
		h.addUser(t, "alice")
		for range 5 {
			ctx, leave := context.WithCancel(from(t, "192.0.2.1", idp.SessionToken{}))
			leaving.then = leave
			if _, err := h.LogIn(ctx, &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: alicePassword}); err == nil && ctx.Err() == nil {
				t.Fatal("the visitor stayed")
			}
		}
		h.wantCodes(t, "192.0.2.1", "alice", wrong)
		h.wantRight(t, "192.0.2.1", "alice", "")
	})
}

// leaves runs then as the session is about to be written.
type leaves struct {
	idp.Store
	then func()
}

func (l *leaves) AddSession(ctx context.Context, s idp.Session) error {
	if then := l.then; then != nil {
		l.then = nil
		then()
	}
	return l.Store.AddSession(ctx, s)
}

func TestLocksAreListedAndClearedByUserByAddressOrBoth(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice := h.addUser(t, "alice")
		h.addUser(t, "bob")
		fill := func() {
			h.codes(t, 3, "192.0.2.1", "alice", "wrong password")
			h.codes(t, 2, "192.0.2.2", "alice", "wrong password")
			h.codes(t, 1, "2001:db8:1:2::1", "bob", "wrong password")
			h.codes(t, 1, "192.0.2.2", "zoe", "wrong password")
		}
		fill()
		list, err := h.Locks(t.Context(), "", netip.Addr{})
		if err != nil || len(list) != 4 {
			t.Fatalf("got %+v and %v, want 4 counters", list, err)
		}
		want := idp.Lock{
			Kind: "username+ip_address", User: &alice.ID, Username: "alice", Network: "192.0.2.1/32",
			Failures: 3, Limit: 3, Locked: true, Until: h.Now().Add(15 * time.Minute),
		}
		if !reflect.DeepEqual(list[0], want) {
			got, _ := json.Marshal(list[0])
			t.Errorf("got %s, want the locked one first", got)
		}
		for name, tc := range map[string]struct {
			user, address string
			want          int
		}{
			"by username": {"ALICE", "", 2}, "by e-mail": {"alice@example.com", "", 2}, "by ID": {alice.ID.String(), "", 2},
			"by a name that is nobody's": {"zoe", "", 1}, "by address": {"", "192.0.2.2", 2}, "by both": {"alice", "192.0.2.2", 1},
			"by another address of the network": {"", "2001:db8:1:2::ffff", 1}, "by what has none": {"bob", "192.0.2.1", 0}, "all": {"", "", 4},
		} {
			var address netip.Addr
			if tc.address != "" {
				address = netip.MustParseAddr(tc.address)
			}
			list, err := h.Locks(t.Context(), tc.user, address)
			if err != nil || len(list) != tc.want {
				t.Errorf("%s: listed %+v and %v, want %d", name, list, err, tc.want)
			}
			counters, blocks, err := h.ClearLocks(t.Context(), tc.user, address)
			if err != nil || counters != tc.want || blocks != 0 {
				t.Errorf("%s: cleared %d, %d and %v, want %d", name, counters, blocks, err, tc.want)
			}
			if _, _, err := h.ClearLocks(t.Context(), "", netip.Addr{}); err != nil {
				t.Fatal(err)
			}
			fill()
		}
	}, lockoutAlone("username+ip_address:3/15m"))
}

func TestS4_17_AResetHoldsOnEveryNodeAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		other := h.another(t)
		other.wantCodes(t, "192.0.2.1", "alice", wrong, wrong, locked)
		other.wantRight(t, "192.0.2.1", "alice", locked) // which it remembers for a second
		if n, _, err := h.ClearLocks(t.Context(), "alice", netip.Addr{}); err != nil || n != 1 {
			t.Fatalf("cleared %d and %v, want 1", n, err)
		}
		if err := idp.Poll(other.Provider, t.Context()); err != nil {
			t.Fatal(err)
		}
		other.wantRight(t, "192.0.2.1", "alice", "")
		if got := h.count(t, "lockout.cleared"); got != 1 {
			t.Errorf("%d events lockout.cleared, want 1", got)
		}
	}, lockoutAlone("username:3/15m"))
}

func TestAResetHoldsNoWriterWhileItForgets(t *testing.T) {
	s := &held{Store: storagetest.Open(t, storagetest.SQLite(t), storage.Options{})}
	h := open(t, s, lockoutAlone("username:1/15m"))
	h.addUser(t, "alice")
	h.wantCodes(t, "192.0.2.1", "alice", locked)
	if counters, _, err := h.ClearLocks(t.Context(), "alice", netip.Addr{}); err != nil || counters != 1 {
		t.Errorf("cleared %d and %v, want 1", counters, err)
	}
	if s.heldWhile {
		t.Error("a Tx is open while counters are forgotten, however many they are")
	}
	h.wantRight(t, "192.0.2.1", "alice", "")
}

// held is a store that notes whether counters are forgotten within a Tx.
type held struct {
	idp.Store
	open, heldWhile bool
}

func (s *held) Tx(ctx context.Context, fn func(context.Context) error) error {
	s.open = true
	defer func() { s.open = false }()
	return s.Store.Tx(ctx, fn)
}

func (s *held) ForgetCounters(ctx context.Context, f guard.Filter, now time.Time) (int, error) {
	s.heldWhile = s.heldWhile || s.open
	return s.Store.ForgetCounters(ctx, f, now)
}

func TestCountersElsewhereAreClearedToo(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		h := open(t, s, lockoutAlone("username:3/15m"))
		h.addUser(t, "alice")
		gate := guard.NewMemory()
		h.reopenWith(t, func(o *idp.Options) { o.Gate = gate })
		h.wantCodes(t, "192.0.2.1", "alice", wrong, wrong, locked)
		if list, err := s.CounterRecords(t.Context(), guard.Filter{}, h.Now(), [16]byte{}, 10); err != nil || len(list) != 0 {
			t.Errorf("the database counts %+v and %v, want nothing", list, err)
		}
		if n, _, err := h.ClearLocks(t.Context(), "alice", netip.Addr{}); err != nil || n != 1 {
			t.Errorf("cleared %d and %v, want 1", n, err)
		}
		h.wantRight(t, "192.0.2.1", "alice", "")
	})
}
