package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const minute = time.Minute

func TestS4_01_LockoutThatIsOffLocksNobody(t *testing.T) {
	l := defaultLocks(t)
	l.Enabled = false
	r := newRig(t, nil, l)
	r.fail(100, attempt("192.0.2.1", "alice"))
	r.succeed(attempt("192.0.2.1", "alice"))
	if r.store.calls != 0 {
		t.Errorf("the store was asked %d times, want never", r.store.calls)
	}
}

func TestS4_02_TheFailureAtTheLimitLocksAndTheRightPasswordIsRefused(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:3/15m"))
	for range 2 {
		if l := r.reserve(attempt("192.0.2.1", "alice")).Locks(); l != nil {
			t.Fatalf("before the limit: got %v", l)
		}
	}
	third := r.reserve(attempt("192.0.2.1", "alice")).Locks()
	want := &LockedOut{Parameters: []Parameter{Username}, Limit: 3, Cooloff: 15 * minute, Until: noon.Add(15 * minute), RetryAfter: 15 * minute}
	if len(third) != 1 || !reflect.DeepEqual(third[0], want) {
		t.Fatalf("the third failure: got %+v, want %+v", third, want)
	}
	r.clock.turn(time.Minute)
	want.RetryAfter = 14 * minute
	for range 2 { // of the store, and as it is remembered
		if got := r.locked(attempt("192.0.2.1", "alice"), "username"); !reflect.DeepEqual(got, want) {
			t.Errorf("the fourth: got %+v, want %+v", got, want)
		}
	}
	r.clock.turn(14 * minute)
	r.reserve(attempt("192.0.2.1", "alice"))
}

func TestS4_02_PoliciesHaveLimitsOfTheirOwn(t *testing.T) {
	l := locks(t, "username:10/15m")
	for _, text := range []string{
		"role=admin => username:5/1h", "group=contractors client=shop => username:4/15m", "client=bank => username:3/15m",
		"path=/oauth2/ => username:2/15m", "cidr=203.0.113.0/24 => username:1/15m, ip_address:9/1h",
	} {
		p, err := ParsePolicy(text, Rule{})
		if err != nil {
			t.Fatal(err)
		}
		l.Policies = append(l.Policies, p)
	}
	for name, tc := range map[string]struct {
		edit func(*Request)
		want int
	}{
		"others":                           {func(*Request) {}, 10},
		"an administrator":                 {func(q *Request) { q.Admin = true }, 5},
		"the first that matches":           {func(q *Request) { q.Admin = true; q.Client = "bank" }, 5},
		"a group at a client":              {func(q *Request) { q.Groups = []string{"staff", "contractors"} }, 4},
		"a group elsewhere":                {func(q *Request) { q.Groups = []string{"contractors"}; q.Client = "blog" }, 10},
		"a client":                         {func(q *Request) { q.Client = "bank" }, 3},
		"below a path":                     {func(q *Request) { q.Path = "/oauth2/token" }, 2},
		"beside a path":                    {func(q *Request) { q.Path = "/oauth2" }, 10},
		"a network":                        {func(q *Request) { q.Address = netip.MustParseAddr("::ffff:203.0.113.9") }, 1},
		"an address that nobody can place": {func(q *Request) { q.Address = netip.Addr{} }, 10},
	} {
		t.Run(name, func(t *testing.T) {
			got := newRig(t, nil, l).onset(func(int) Request {
				q := attempt("192.0.2.1", "alice")
				tc.edit(&q)
				return q
			})
			if got != tc.want {
				t.Errorf("locked after %d failures, want %d", got, tc.want)
			}
		})
	}
}

func TestS4_03_ADryRunRecordsAndNeverBlocks(t *testing.T) {
	l := locks(t, "username:3/15m", "ip_address:4/15m")
	for i := range l.Groups {
		l.Groups[i].Rule.Monitor = true
	}
	r := newRig(t, nil, l)
	var told []string
	for n := range 10 {
		p := r.reserve(attempt("192.0.2.1", "alice"))
		if p.Locks() != nil {
			t.Errorf("failure %d: got %v, want no lock", n+1, p.Locks())
		}
		for _, w := range p.WouldLock() {
			told = append(told, fmt.Sprint(n+1, " ", joined(w.Parameters)))
		}
	}
	r.succeed(attempt("192.0.2.1", "alice"))
	if want := []string{"3 username", "4 ip_address"}; !reflect.DeepEqual(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	if got := r.seen[Observation{loginFailed, WouldBlock}]; got != 8+7 {
		t.Errorf("observed %d that would be blocked, want 15", got)
	}
	if list := r.counters(); len(list) != 2 || !list[0].Count.Locked.After(noon) {
		t.Errorf("got %+v, want two counters that are locked", list)
	}
}

func TestS4_04_CooloffsAreReadInThreeWays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"15m": 15 * minute, "1h30m": 90 * minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "1.5h": 90 * minute,
		"PT15M": 15 * minute, "P1D": 24 * time.Hour, "PT1H30M": 90 * minute, "P1DT12H": 36 * time.Hour, "P2W": 14 * 24 * time.Hour, "PT0.5H": 30 * minute,
		"1": time.Hour, "0.5": 30 * minute, "24": 24 * time.Hour,
		"none": 0, " 15m ": 15 * minute, "1.5s": 2 * time.Second, "3650d": 3650 * 24 * time.Hour,
	} {
		if got, err := ParseCooloff(text); err != nil || got != want {
			t.Errorf("%q: got %s and %v, want %s", text, got, err, want)
		}
	}
	teaches := "has the cool-off %q, which is no cool-off: write a duration such as 15m, 1d or PT15M, a number of hours such as 0.5, or none"
	bounds := "has the cool-off %q: it must be from 1s to 3650d, or none"
	for text, want := range map[string]string{
		"": teaches, "soon": teaches, "15": "", "15 m": teaches, "-15m": teaches, "15m1h": teaches, "1h1h": teaches, "m": teaches, "1e3": teaches,
		"P": teaches, "PT": teaches, "P1Y": teaches, "P1M": teaches, "P15m": teaches, "PT1D": teaches, "PT15": teaches, "P1DT": teaches, "pt15m": teaches,
		"Inf": teaches, "0x1": teaches, "1..5": teaches, "15ms": teaches, "None": teaches,
		"0": bounds, "0s": bounds, "3651d": bounds, "99999999999999999999d": bounds, "PT0S": bounds,
	} {
		_, err := ParseCooloff(text)
		if want == "" {
			if err != nil {
				t.Errorf("%q: got %v", text, err)
			}
			continue
		}
		if err == nil || err.Error() != fmt.Sprintf(want, text) {
			t.Errorf("%q: got %v, want %s", text, err, fmt.Sprintf(want, text))
		}
	}
}

func TestS4_04_WithoutACooloffSomebodyHasToClearTheLock(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:2/none"))
	r.fail(2, attempt("192.0.2.1", "alice"))
	r.clock.turn(10 * 365 * 24 * time.Hour)
	got := r.locked(attempt("192.0.2.1", "alice"), "username")
	if want := (&LockedOut{Parameters: []Parameter{Username}, Limit: 2, Until: Forever}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if want := "locked out by username after 2 failures, until somebody clears it"; got.Error() != want {
		t.Errorf("got %q, want %q", got.Error(), want)
	}
	if n, err := r.store.ForgetCounters(t.Context(), Filter{Account: AccountTag("alice")}, r.clock.now); n != 1 || err != nil {
		t.Fatalf("cleared %d and %v, want 1", n, err)
	}
	r.ForgetHere()
	r.reserve(attempt("192.0.2.1", "alice"))
}

func TestS4_05_SlidingForgetsEachFailureByItself(t *testing.T) {
	for aging, want := range map[Aging]bool{Sliding: false, Inactivity: true} {
		r := newRig(t, nil, Lockout{Enabled: true, Groups: []Group{{[]Parameter{Username}, Rule{Aging: aging, Limit: 3, Period: 15 * time.Second}}}})
		r.fail(1, attempt("192.0.2.1", "alice"))
		r.clock.turn(10 * time.Second)
		r.fail(1, attempt("192.0.2.1", "alice"))
		r.clock.turn(6 * time.Second)
		if got := r.reserve(attempt("192.0.2.1", "alice")).Locks() != nil; got != want {
			t.Errorf("aging %d: locked %v, want %v", aging, got, want)
		}
	}
}

func TestS4_06_AnAttemptDuringTheLockProlongsItWhereItShall(t *testing.T) {
	for prolongs, want := range map[bool]time.Duration{true: 15 * minute, false: 10 * minute} {
		l := locks(t, "username:1/10m")
		l.Groups[0].Rule.Prolong = prolongs
		r := newRig(t, nil, l)
		r.fail(1, attempt("192.0.2.1", "alice"))
		r.clock.turn(5 * minute)
		if got := r.locked(attempt("192.0.2.1", "alice"), "username"); !got.Until.Equal(noon.Add(want)) {
			t.Errorf("got until %s, want %s", got.Until, noon.Add(want))
		}
		r.clock.now = noon.Add(want - time.Second)
		err := r.Look(t.Context(), attempt("192.0.2.1", "alice"))
		if got, ok := errors.AsType[*LockedOut](err); !ok || got.RetryAfter != time.Second {
			t.Errorf("looking a moment before the end: got %v, want LockedOut for a second", err)
		}
		r.clock.turn(time.Second)
		r.reserve(attempt("192.0.2.1", "alice"))
	}
}

func TestS4_07_ForAdministratorsAlone(t *testing.T) {
	l := locks(t, "username:2/15m")
	l.AdminOnly = true
	r := newRig(t, nil, l)
	r.fail(20, attempt("192.0.2.1", "alice"))
	admin := attempt("192.0.2.1", "root")
	admin.Admin = true
	r.fail(2, admin)
	r.locked(admin, "username")
}

// refuses tells what becomes of an attempt after five failures of alice at an address, in a browser.
func refuses(t *testing.T, lockout Lockout, q Request) string {
	t.Helper()
	r := newRig(t, nil, lockout)
	alice := attempt("192.0.2.1", "alice")
	alice.Browser = "curl"
	r.fail(5, alice)
	_, err := r.Reserve(t.Context(), q)
	if l, ok := errors.AsType[*LockedOut](err); ok {
		return joined(l.Parameters)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ""
}

func TestS4_08_S4_09_S4_10_S4_11_S4_12_S4_46_WhatIsCountedTogetherIsLocked(t *testing.T) {
	for name, tc := range map[string]struct {
		groups []string
		// of five failures of alice at an address: who is refused then
		same, aliceElsewhere, bobThere, bobElsewhere, otherBrowser string
	}{
		"the address, as axes by default":           {[]string{"ip_address"}, "ip_address", "", "ip_address", "", "ip_address"},
		"S4-08: only user failures":                 {[]string{"username"}, "username", "username", "", "", "username"},
		"S4-09: the combination":                    {[]string{"username+ip_address"}, "username+ip_address", "", "", "", "username+ip_address"},
		"S4-10: user or address":                    {[]string{"username", "ip_address"}, "username", "username", "ip_address", "", "username"},
		"the first in the order of the settings":    {[]string{"ip_address", "username"}, "ip_address", "username", "ip_address", "", "ip_address"},
		"S4-11: the user agent":                     {[]string{"ip_address+user_agent"}, "ip_address+user_agent", "", "ip_address+user_agent", "", ""},
		"S4-12: an address, or a name in a browser": {[]string{"ip_address:9/1h", "username+user_agent"}, "username+user_agent", "username+user_agent", "", "", ""},
		"the client":                                {[]string{"username+client_id"}, "username+client_id", "username+client_id", "", "", "username+client_id"},
		"unknown devices":                           {[]string{"username+device_cookie"}, "username+device_cookie", "username+device_cookie", "", "", "username+device_cookie"},
		"nobody reached a limit":                    {[]string{"username:6/1h", "ip_address:9/1h"}, "", "", "", "", ""},
		"nothing is counted":                        {nil, "", "", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := locks(t, tc.groups...)
			for who, want := range map[*Request]string{
				{Account: "alice", Address: netip.MustParseAddr("192.0.2.1"), Browser: "curl"}:    tc.same,
				{Account: "alice", Address: netip.MustParseAddr("198.51.100.7"), Browser: "curl"}: tc.aliceElsewhere,
				{Account: "bob", Address: netip.MustParseAddr("192.0.2.1"), Browser: "curl"}:      tc.bobThere,
				{Account: "bob", Address: netip.MustParseAddr("198.51.100.7"), Browser: "curl"}:   tc.bobElsewhere,
				{Account: "alice", Address: netip.MustParseAddr("192.0.2.1"), Browser: "wget"}:    tc.otherBrowser,
			} {
				who.Failure, who.Lockout, who.Client = loginFailed, true, "shop"
				if got := refuses(t, l, *who); got != want {
					t.Errorf("%s at %s in %s: got %q, want %q", who.Account, who.Address, who.Browser, got, want)
				}
			}
		})
	}
}

func TestS4_12_TheDefaultGroupsEachHaveTheirLimit(t *testing.T) {
	for want, request := range map[int]func(n int) Request{
		5:  func(int) Request { return attempt("192.0.2.1", "alice") },
		30: func(n int) Request { return attempt("192.0.2.1", fmt.Sprint(n)) },
		50: func(n int) Request { return attempt(address(n), "alice") },
	} {
		if got := newRig(t, nil, defaultLocks(t)).onset(request); got != want {
			t.Errorf("locked after %d failures, want %d", got, want)
		}
	}
}

func TestS4_12_WhatAnAttemptLacksIsCountedAsOne(t *testing.T) {
	for _, group := range []string{"user_agent", "client_id", "device_cookie", "ip_address"} {
		r := newRig(t, nil, locks(t, group+":2/15m"))
		q := Request{Failure: loginFailed, Lockout: true, Name: "zoe"}
		r.fail(2, q)
		q.Name = "yves"
		r.locked(q, group)
		q.Address, q.Browser, q.Client = netip.MustParseAddr("192.0.2.1"), "curl", "shop"
		if _, err := r.Reserve(t.Context(), q); (err != nil) != (group == "device_cookie") {
			t.Errorf("%s: one that has it got %v", group, err)
		}
	}
	r := newRig(t, nil, locks(t, "username:1/15m"))
	r.fail(9, Request{Failure: loginFailed, Lockout: true}) // nobody's name at all locks nobody
}

func TestS4_12_AnAutonomousSystemIsCountedAsOne(t *testing.T) {
	r := newRig(t, nil, locks(t, "asn:2/15m"))
	from := func(address string, system uint32) Request {
		q := attempt(address, address)
		q.System = system
		return q
	}
	r.fail(1, from("192.0.2.1", 64500))
	r.fail(1, from("203.0.113.66", 64500))
	r.locked(from("198.51.100.1", 64500), "asn")
	r.succeed(from("198.51.100.1", 64501))
}

func TestS4_12_GroupsOfTheSameParametersAreCountedByTheirOwnRule(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:3/1m", "username:5/1h", "username:5/1h"))
	r.fail(3, attempt("192.0.2.1", "alice"))
	r.clock.turn(time.Minute)
	r.fail(1, attempt("192.0.2.1", "alice"))
	if got := r.reserve(attempt("192.0.2.1", "alice")).Locks(); len(got) != 1 || got[0].Limit != 5 {
		t.Errorf("the fifth failure: got %v, want the second group's lock", got)
	}
	if got := r.locked(attempt("192.0.2.1", "alice"), "username"); got.RetryAfter != time.Hour {
		t.Errorf("got %+v, want an hour", got)
	}
}

func TestS4_13_WithoutTheAddressAnybodyLocksAnybody(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:3/15m"))
	r.fail(3, attempt("203.0.113.66", "alice")) // a stranger
	r.locked(attempt("192.0.2.1", "alice"), "username")
}

func TestS4_24_ExemptAccountsCannotBeLockedByTheirName(t *testing.T) {
	r := newRig(t, map[Action]string{loginFailed: "40/m/ip,5/5m/key"}, locks(t, "username+ip_address:5/15m", "username:6/1h", "ip_address:30/15m"))
	exempt := func(address string) Request {
		q := attempt(address, "breakglass")
		q.Exempt = true
		return q
	}
	r.fail(5, exempt("203.0.113.66"))
	r.throttled(exempt("203.0.113.66"), loginFailed, 5*time.Minute) // as any other name, but there alone
	r.succeed(exempt("192.0.2.1"))
	for n := range 25 {
		r.fail(1, attempt("203.0.113.66", fmt.Sprint(n)))
	}
	r.clock.turn(5 * time.Minute)
	r.locked(exempt("203.0.113.66"), "ip_address")
	r.succeed(exempt("192.0.2.1"))
}

func TestS4_28_WhetherTheFormIsShownToThoseWhoAreLockedOut(t *testing.T) {
	for _, never := range []bool{true, false} {
		l := defaultLocks(t)
		l.NeverLockGet = never
		r := newRig(t, nil, l)
		form := Request{Address: netip.MustParseAddr("192.0.2.1"), Path: "/login"}
		for n := range 30 {
			if err := r.Look(t.Context(), form); err != nil {
				t.Fatalf("before any lock: %v", err)
			}
			r.fail(1, attempt("192.0.2.1", fmt.Sprint(n)))
		}
		for range 2 {
			err := r.Look(t.Context(), form)
			if got, ok := errors.AsType[*LockedOut](err); ok == never || ok && (joined(got.Parameters) != "ip_address" || got.ByUsername() || got.RetryAfter != 15*minute) {
				t.Errorf("never %v: got %v", never, err)
			}
		}
		form.Address = netip.MustParseAddr("192.0.2.2")
		if err := r.Look(t.Context(), form); err != nil {
			t.Errorf("another address: got %v", err)
		}
	}
}

func TestS4_28_AKnownDeviceSeesTheForm(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:3/15m"))
	r.fail(3, attempt("203.0.113.66", "alice"))
	q := Request{Address: netip.MustParseAddr("192.0.2.1"), Account: "alice"}
	if err := r.Look(t.Context(), q); err == nil {
		t.Error("a strange device: got none, want LockedOut")
	}
	q.Device = "device"
	if err := r.Look(t.Context(), q); err != nil {
		t.Errorf("a known device: got %v", err)
	}
	r.fail(5, device("192.0.2.1", "alice", "device"))
	if err := r.Look(t.Context(), q); err == nil {
		t.Error("a known device that failed too often: got none, want LockedOut")
	}
	r.store.err = errors.New("disk on fire")
	r.ForgetHere()
	if err := r.Look(t.Context(), q); !errors.Is(err, r.store.err) {
		t.Errorf("got %v, want the store's error", err)
	}
}

func TestS4_29_AllowedNetworksAreNeverLockedOut(t *testing.T) {
	l := locks(t, "username:3/15m", "ip_address:3/15m")
	l.NeverAllowed, l.Allow = true, prefixes("192.0.2.0/24")
	r := newRig(t, map[Action]string{loginFailed: "9/m/ip"}, l)
	r.fail(3, attempt("203.0.113.66", "alice"))
	r.fail(9, attempt("192.0.2.1", "alice"))
	if err := r.Look(t.Context(), attempt("192.0.2.1", "alice")); err != nil {
		t.Errorf("look: got %v", err)
	}
	r.throttled(attempt("192.0.2.1", "alice"), loginFailed, minute) // limits stay
}

func TestS4_30_S4_31_TheDenyListWinsOverTheAllowList(t *testing.T) {
	l := defaultLocks(t)
	l.Allow, l.Deny, l.NeverAllowed = prefixes("203.0.113.0/24"), prefixes("203.0.113.64/26", "2001:db8::/32"), true
	r := newRig(t, defaultLimits(), l)
	for _, text := range []string{"203.0.113.66", "::ffff:203.0.113.66", "2001:db8::1"} {
		q := attempt(text, "alice")
		_, reserved := r.Reserve(t.Context(), q)
		for doing, err := range map[string]error{"admit": r.Admit(q.Address), "look": r.Look(t.Context(), q), "reserve": reserved} {
			if _, ok := errors.AsType[*Denied](err); !ok {
				t.Errorf("%s %s: got %v, want Denied", doing, text, err)
			}
		}
	}
	if err := r.Admit(netip.MustParseAddr("203.0.113.66")); err.Error() != "the network 203.0.113.64/26 is denied" {
		t.Errorf("got %q", err)
	}
	if err := r.Admit(netip.MustParseAddr("203.0.113.1")); err != nil || r.store.calls != 0 {
		t.Errorf("got %v and %d calls, want none", err, r.store.calls)
	}
	client := clientRequest("203.0.113.66", "shop") // the deny list holds for clients where the program asks for it
	if _, err := r.Check(client); err != nil {
		t.Errorf("check: got %v", err)
	}
}

func TestS4_32_OnlyAllowedNetworksMayComeWhereItIsAskedFor(t *testing.T) {
	l := defaultLocks(t)
	l.OnlyAllowed, l.Allow = true, prefixes("192.0.2.0/24")
	r := newRig(t, nil, l)
	if err := r.Admit(netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Errorf("got %v", err)
	}
	for _, a := range []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1"), {}} {
		err := r.Admit(a)
		if got, ok := errors.AsType[*Denied](err); !ok || got.Network.IsValid() || got.Error() != "the address is in no network that is allowed" {
			t.Errorf("%s: got %v, want Denied", a, err)
		}
	}
}

func TestS4_36_ASuccessClearsTheUserAtTheAddressAndNothingElse(t *testing.T) {
	for _, resets := range []bool{true, false} {
		l := locks(t, "username+ip_address:5/15m", "ip_address:30/15m", "username:50/1h", "username+ip_address+client_id:9/1h")
		l.ResetOnSuccess = resets
		r := newRig(t, nil, l)
		r.fail(4, attempt("192.0.2.1", "alice"))
		r.fail(2, attempt("198.51.100.7", "alice"))
		r.succeed(attempt("192.0.2.1", "alice"))
		got := map[string]int{}
		for _, c := range r.counters() {
			got[c.Tag.Kind+" "+c.Tag.Account+" "+c.Tag.Network] = len(c.Count.Times)
		}
		want := map[string]int{
			"username+ip_address user alice 198.51.100.7/32": 2, "username+ip_address+client_id user alice 198.51.100.7/32": 2,
			"ip_address  192.0.2.1/32": 4, "ip_address  198.51.100.7/32": 2, "username user alice ": 6,
		}
		if !resets {
			want["username+ip_address user alice 192.0.2.1/32"] = 4
			want["username+ip_address+client_id user alice 192.0.2.1/32"] = 4
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("resets %v: got %v, want %v", resets, got, want)
		}
	}
}

func TestS4_36_S0_04_OnesOwnSuccessesNeverResetTheCountOfTheAddress(t *testing.T) {
	r := newRig(t, nil, defaultLocks(t))
	for n := range 30 {
		r.fail(1, attempt("192.0.2.1", fmt.Sprint(n)))
		if n < 29 {
			r.succeed(attempt("192.0.2.1", "mallory"))
		}
	}
	r.locked(attempt("192.0.2.1", "victim"), "ip_address")
}

func TestS4_41_TiersLockForLongerAndLonger(t *testing.T) {
	tiers, err := ParseTiers([]string{"3:1m", "6:10m", "10:1h", "20:1d"})
	if err != nil {
		t.Fatal(err)
	}
	g, err := ParseGroup("username", Rule{Aging: Sliding, Tiers: tiers})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil, Lockout{Enabled: true, Groups: []Group{g}})
	want := map[int]*LockedOut{}
	for failure := 1; failure <= 21; failure++ {
		p := r.reserve(attempt("192.0.2.1", "alice"))
		if failure < 3 {
			if p.Locks() != nil {
				t.Fatalf("failure %d: got %v, want no lock", failure, p.Locks())
			}
			continue
		}
		tier := Tier{}
		for _, one := range tiers {
			if failure >= one.Limit {
				tier = one
			}
		}
		want[failure] = &LockedOut{Parameters: []Parameter{Username}, Limit: tier.Limit, Cooloff: tier.Period, Until: r.now().Add(tier.Period), RetryAfter: tier.Period}
		if len(p.Locks()) != 1 || !reflect.DeepEqual(p.Locks()[0], want[failure]) {
			t.Fatalf("failure %d: got %+v, want %+v", failure, p.Locks(), want[failure])
		}
		if got := r.locked(attempt("192.0.2.1", "alice"), "username"); !reflect.DeepEqual(got, want[failure]) {
			t.Fatalf("after failure %d: got %+v, want %+v", failure, got, want[failure])
		}
		if failure == 20 {
			break
		}
		r.clock.turn(tier.Period)
	}
	r.clock.turn(24 * time.Hour)
	r.fail(2, attempt("192.0.2.1", "alice")) // everything is forgotten
}

func TestS4_43_S4_44_S4_45_PresetsAreRules(t *testing.T) {
	for name, tc := range map[string]struct {
		rule   Rule
		every  time.Duration
		failed int           // until it is locked
		locked time.Duration // from then on, 0 for ever
	}{
		"classic":                {Rule{Aging: Inactivity, Limit: 3, Period: 30 * minute}, 29 * minute, 3, 30 * minute},
		"rolling":                {Rule{Aging: Sliding, Limit: 5, Period: 15 * minute}, 3 * minute, 5, 15 * minute},
		"hard":                   {Rule{Aging: Inactivity, Limit: 5}, 24 * time.Hour, 5, 0},
		"axes-compat, permanent": {Rule{Aging: Inactivity, Limit: 3}, time.Hour, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, Lockout{Enabled: true, Groups: []Group{{[]Parameter{Username, IPAddress}, tc.rule}}})
			for n := range tc.failed {
				if n > 0 {
					r.clock.turn(tc.every)
				}
				r.fail(1, attempt("192.0.2.1", "alice"))
			}
			if got := r.locked(attempt("192.0.2.1", "alice"), "username+ip_address"); got.RetryAfter != tc.locked || got.Cooloff != tc.locked {
				t.Errorf("got %+v, want %s", got, tc.locked)
			}
			r.clock.turn(max(tc.locked, time.Second))
			if _, err := r.Reserve(t.Context(), attempt("192.0.2.1", "alice")); (err == nil) != (tc.locked > 0) {
				t.Errorf("afterwards: got %v", err)
			}
		})
	}
	r := newRig(t, nil, locks(t, "username:5/15m")) // never more than five in any fifteen minutes
	for range 100 {
		r.clock.turn(4 * minute)
		r.fail(1, attempt("192.0.2.1", "alice"))
	}
}

func TestS4_63_TheListsPrecedeEachOther(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string // lists that the address is in
		set  string // settings that are on
		get  bool
		want verdict
	}{
		"nothing":                          {"", "enabled", false, ask},
		"denied":                           {"deny", "enabled", false, refuse},
		"denied and allowed":               {"deny allow", "enabled never only", false, refuse},
		"denied, lockout is off":           {"deny", "", false, refuse},
		"denied, a form that never locks":  {"deny", "enabled get", true, refuse},
		"allowed, which means nothing":     {"allow", "enabled", false, ask},
		"allowed and never locked":         {"allow", "enabled never", false, spare},
		"not allowed":                      {"", "enabled never", false, ask},
		"only allowed may come, this may":  {"allow", "enabled only", false, ask},
		"only allowed may come, never":     {"allow", "enabled only never", false, spare},
		"only allowed may come, not this":  {"", "enabled only", false, refuse},
		"not allowed, a form":              {"", "enabled only get", true, refuse},
		"a form that never locks":          {"", "enabled get", true, spare},
		"a form that locks":                {"", "enabled", true, ask},
		"no form, forms never lock":        {"", "enabled get", false, ask},
		"lockout is off":                   {"", "", false, spare},
		"lockout is off, not allowed":      {"", "only", false, refuse},
		"allowed and a form, never locked": {"allow", "enabled never get", true, spare},
	} {
		has := func(list, word string) bool {
			for _, w := range strings.Fields(list) {
				if w == word {
					return true
				}
			}
			return false
		}
		l := Lockout{Enabled: has(tc.set, "enabled"), NeverAllowed: has(tc.set, "never"), OnlyAllowed: has(tc.set, "only"), NeverLockGet: has(tc.set, "get"),
			Allow: prefixes("198.51.100.0/24"), Deny: prefixes("203.0.113.0/24")}
		if has(tc.in, "allow") {
			l.Allow = append(l.Allow, netip.MustParsePrefix("192.0.2.0/24"))
		}
		if has(tc.in, "deny") {
			l.Deny = append(l.Deny, netip.MustParsePrefix("192.0.2.1/32"))
		}
		if got, _ := l.judge(netip.MustParseAddr("::ffff:192.0.2.1"), tc.get); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

func device(address, account, name string) Request {
	q := attempt(address, account)
	q.Device = name
	return q
}

func TestS4_66_I20_AStrangerCannotLockTheOwnersBrowserOut(t *testing.T) {
	r := newRig(t, map[Action]string{login: "300/m/ip,60/m/key", loginFailed: "100/m/ip,5/5m/key"}, defaultLocks(t))
	for n := range 60 {
		_, _ = r.Reserve(t.Context(), attempt(address(n), "alice"))
	}
	if _, err := r.Reserve(t.Context(), attempt("192.0.2.1", "alice")); err == nil {
		t.Fatal("the account is not refused to strangers")
	}
	for range 20 {
		p := r.reserve(device("192.0.2.1", "alice", "device"))
		if !p.Known() {
			t.Fatal("the owner's browser is unknown")
		}
		if err := p.Cleared(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestS4_66_I20_AStolenCookieIsGoodForAsManyGuessesAsTheAccountHas(t *testing.T) {
	r := newRig(t, map[Action]string{loginFailed: "100/m/ip,5/5m/key"}, locks(t, "username:7/1h"))
	stolen := device("192.0.2.1", "alice", "device")
	for n := range 5 {
		if p := r.reserve(stolen); !p.Known() || p.Locks() != nil {
			t.Fatalf("guess %d: known %v, locks %v", n+1, p.Known(), p.Locks())
		}
	}
	for n := range 5 { // emptied: from now on it counts as unknown
		if r.reserve(stolen).Known() {
			t.Fatalf("guess %d is of a known device", n+6)
		}
	}
	r.throttled(stolen, loginFailed, 5*minute)
	r.clock.turn(365 * 24 * time.Hour)
	if r.reserve(stolen).Known() {
		t.Error("it is known again without a full login")
	}
	if !r.reserve(device("192.0.2.1", "alice", "another")).Known() || !r.reserve(device("192.0.2.1", "bob", "device")).Known() {
		t.Error("another device, or another account, is unknown")
	}
}

func TestI20_ADeviceThatFailedTooOftenCountsAmongTheUnknown(t *testing.T) {
	r := newRig(t, nil, locks(t, "username+device_cookie:3/15m"))
	r.fail(2, attempt("203.0.113.66", "alice"))
	r.fail(6, device("192.0.2.1", "alice", "device"))
	r.locked(device("192.0.2.1", "alice", "device"), "username+device_cookie")
	r.locked(attempt("203.0.113.66", "alice"), "username+device_cookie")
}

func TestI20_AFullLoginFillsTheBucketAgain(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:50/1h"))
	q := device("192.0.2.1", "alice", "device")
	r.fail(6, q)
	if err := r.reserve(q).Success(t.Context()); err != nil { // a password alone does not
		t.Fatal(err)
	}
	p := r.reserve(q)
	if p.Known() {
		t.Fatal("known after a password alone")
	}
	if err := p.Cleared(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.fail(4, q)
	if !r.reserve(q).Known() {
		t.Error("unknown after a full login")
	}
}

func TestI20_APasskeyIsAFullLoginToo(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:50/1h"))
	q := device("192.0.2.1", "alice", "device")
	r.fail(6, q)
	passkey := q
	passkey.Failure, passkey.Lockout = "", false
	r.succeed(passkey)
	if !r.reserve(q).Known() {
		t.Error("unknown after a login by passkey")
	}
}

func TestI20_AKnownDeviceClearsTheFailuresOfItsUserAtItsAddress(t *testing.T) {
	r := newRig(t, nil, locks(t, "username+ip_address:3/15m"))
	r.fail(3, attempt("192.0.2.1", "alice"))
	r.locked(attempt("192.0.2.1", "alice"), "username+ip_address")
	r.succeed(device("192.0.2.1", "alice", "device"))
	r.reserve(attempt("192.0.2.1", "alice"))
}

func TestI20_LimitsOfTheAddressHoldForKnownDevices(t *testing.T) {
	r := newRig(t, map[Action]string{login: "3/m/ip"}, defaultLocks(t))
	for range 3 {
		r.succeed(device("192.0.2.1", "alice", "device"))
	}
	r.throttled(device("192.0.2.1", "alice", "device"), login, minute)
}

func TestI20_ADeviceProtectsWhereLockoutIsADryRunOrOff(t *testing.T) {
	for name, edit := range map[string]func(*Lockout){
		"off": func(l *Lockout) { l.Enabled = false }, "a dry run": func(l *Lockout) { l.KnownDevice.Monitor = true },
	} {
		l := locks(t)
		edit(&l)
		r := newRig(t, map[Action]string{loginFailed: "3/5m/key"}, l)
		r.fail(3, attempt("203.0.113.66", "alice"))
		r.fail(5, device("192.0.2.1", "alice", "device"))
		if _, err := r.Reserve(t.Context(), device("192.0.2.1", "alice", "device")); err == nil {
			t.Errorf("%s: the sixth guess passes", name)
		}
	}
}

func TestI20_WithoutARuleNoDeviceIsKnown(t *testing.T) {
	l := locks(t, "username:3/15m")
	l.KnownDevice = Rule{}
	r := newRig(t, nil, l)
	r.fail(3, device("192.0.2.1", "alice", "device"))
	r.locked(device("192.0.2.1", "alice", "device"), "username")
}

func TestS4_67_PasskeysAreUntouchedByTheLockOfAPassword(t *testing.T) {
	r := newRig(t, map[Action]string{login: "100/m/ip", loginFailed: "9/m/ip,5/5m/key"}, defaultLocks(t))
	for n := range 60 {
		_, _ = r.Reserve(t.Context(), attempt(address(n), "carol"))
	}
	passkey := Request{Attempt: login, Address: netip.MustParseAddr("192.0.2.1"), Account: "carol"}
	if err := r.reserve(passkey).Cleared(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestS4_12_GroupsAreReadWithAndWithoutALimit(t *testing.T) {
	or := Rule{Aging: Sliding, Limit: 5, Period: 15 * minute, Prolong: true, Tiers: []Tier{{3, minute}}}
	own := Rule{Aging: Sliding, Limit: 30, Period: time.Hour, Prolong: true}
	for text, want := range map[string]Group{
		"username":                        {[]Parameter{Username}, or},
		" username + ip_address ":         {[]Parameter{Username, IPAddress}, or},
		"ip_address:30/1h":                {[]Parameter{IPAddress}, own},
		"user_agent+client_id : 30 / 1h ": {[]Parameter{UserAgent, ClientID}, own},
		"device_cookie:30/PT1H":           {[]Parameter{DeviceCookie}, own},
		"asn:30/1h":                       {[]Parameter{ASN}, own},
	} {
		if got, err := ParseGroup(text, or); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v and %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                  `has the parameter "", which is no parameter: write username, ip_address, asn, user_agent, client_id or device_cookie, several joined with +`,
		"shoe":              `has the parameter "shoe", which is no parameter: write username, ip_address, asn, user_agent, client_id or device_cookie, several joined with +`,
		"username+":         `has the parameter "", which is no parameter: write username, ip_address, asn, user_agent, client_id or device_cookie, several joined with +`,
		"username+username": `has the parameter username twice in "username+username": write it once`,
		"username:5":        `has no cool-off in "username:5": write LIMIT/COOLOFF behind the colon, such as username:5/15m`,
		"username:0/15m":    `has the limit "0": write a whole number of failures from 1 to 1000`,
		"username:1001/15m": `has the limit "1001": write a whole number of failures from 1 to 1000`,
		"username:-5/15m":   `has the limit "-5": write a whole number of failures from 1 to 1000`,
		"username:5/soon":   `has the cool-off "soon", which is no cool-off: write a duration such as 15m, 1d or PT15M, a number of hours such as 0.5, or none`,
	} {
		if _, err := ParseGroup(text, or); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestS4_02_PoliciesAreRead(t *testing.T) {
	or := Rule{Limit: 5}
	text := "group=staff role=admin client=shop path=/login cidr=2001:db8::/32 => username+ip_address:7/1h, ip_address"
	want := Policy{
		Group: "staff", Admin: true, Client: "shop", Path: "/login", Network: netip.MustParsePrefix("2001:db8::/32"),
		Groups: []Group{{[]Parameter{Username, IPAddress}, Rule{Limit: 7, Period: time.Hour}}, {[]Parameter{IPAddress}, or}},
	}
	if got, err := ParsePolicy(text, or); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
	for text, want := range map[string]string{
		"role=admin":                           `has no => in "role=admin": write MATCH => PARAMETERS, such as role=admin => username+ip_address:5/1h`,
		" => username":                         `matches nobody in " => username": write group=NAME, role=admin, client=ID, path=PATH or cidr=NETWORK before =>`,
		"role=king => username":                `matches the role "king": there is admin alone`,
		"user=bob => username":                 `matches by "user=bob": write group=NAME, role=admin, client=ID, path=PATH or cidr=NETWORK`,
		"group= => username":                   `matches by "group=": write group=NAME, role=admin, client=ID, path=PATH or cidr=NETWORK`,
		"group=a group=b => username":          `matches by group twice in "group=a group=b => username": write it once`,
		"path=login => username":               `matches the path "login": write one that begins with a slash`,
		"cidr=192.0.2.1/24 => username":        `matches the network "192.0.2.1/24": write one such as 192.0.2.0/24 or 2001:db8::/32`,
		"cidr=::ffff:10.0.0.0/104 => username": `matches the network "::ffff:10.0.0.0/104": write one such as 192.0.2.0/24 or 2001:db8::/32`,
		"cidr=everywhere => username":          `matches the network "everywhere": write one such as 192.0.2.0/24 or 2001:db8::/32`,
		"role=admin =>":                        `has the parameter "", which is no parameter: write username, ip_address, asn, user_agent, client_id or device_cookie, several joined with +`,
		"role=admin => username, shoes:5/1h":   `has the parameter "shoes", which is no parameter: write username, ip_address, asn, user_agent, client_id or device_cookie, several joined with +`,
	} {
		if _, err := ParsePolicy(text, or); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestS4_41_TiersThatAreUnsortedOrDoubledAreErrors(t *testing.T) {
	want := []Tier{{3, minute}, {6, 10 * minute}, {10, 0}}
	if got, err := ParseTiers([]string{"3:1m", " 6:PT10M", "10:none"}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
	if got, err := ParseTiers(nil); got != nil || err != nil {
		t.Errorf("none: got %v and %v", got, err)
	}
	for want, texts := range map[string][]string{
		`has the tier "3": write FAILURES:COOLOFF, such as 3:1m`:                                                                        {"3"},
		`has the limit "x": write a whole number of failures from 1 to 1000`:                                                            {"x:1m"},
		`has the cool-off "x", which is no cool-off: write a duration such as 15m, 1d or PT15M, a number of hours such as 0.5, or none`: {"3:x"},
		`has the tier "3:10m" behind one of 6 failures: write each number once, the lowest first`:                                       {"6:1m", "3:10m"},
		`has the tier "3:10m" behind one of 3 failures: write each number once, the lowest first`:                                       {"3:1m", "3:10m"},
		`has the tier "6:1m" behind one that locks as long: write a longer cool-off for more failures`:                                  {"3:10m", "6:1m"},
		`has the tier "6:10m" behind one that locks as long: write a longer cool-off for more failures`:                                 {"3:10m", "6:10m"},
		`has the tier "6:10d" behind one that locks as long: write a longer cool-off for more failures`:                                 {"3:none", "6:10d"},
		`has the tier "6:none" behind one that locks as long: write a longer cool-off for more failures`:                                {"3:none", "6:none"},
		`has the limit "": write a whole number of failures from 1 to 1000`:                                                             {":1m"},
		`has the cool-off "", which is no cool-off: write a duration such as 15m, 1d or PT15M, a number of hours such as 0.5, or none`:  {"3:"},
	} {
		if _, err := ParseTiers(texts); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", texts, err, want)
		}
	}
}

func TestS4_12_AlarmsAreRead(t *testing.T) {
	for text, want := range map[string]struct {
		amount int
		period time.Duration
	}{"1000/1h": {1000, time.Hour}, "5/m": {5, minute}, "0/1h": {0, time.Hour}, "": {}} {
		amount, period, err := ParseAlarm(text)
		if err != nil || amount != want.amount || period != want.period {
			t.Errorf("%q: got %d, %s and %v, want %v", text, amount, period, err, want)
		}
	}
	for text, want := range map[string]string{
		"1000":    `has no period in "1000": write AMOUNT/PERIOD, such as 1000/1h`,
		"many/1h": `has the amount "many": write a whole number from 0 to 1000000000`,
		"5/soon":  `has the period "soon", which is no period: write a unit, s, m, h or d, with a number before it where it is not 1, such as 5m`,
	} {
		if _, _, err := ParseAlarm(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzS4_62_SettingsAreReadOrRefused(f *testing.F) {
	for _, text := range []string{"username:5/15m", "role=admin => ip_address", "3:1m", "PT1H30M", "1000/1h", "1.5"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if g, err := ParseGroup(text, Rule{Limit: 1}); err == nil && (len(g.Parameters) == 0 || g.Rule.Limit < 1 || g.Rule.Limit > maxFailures || g.Rule.Period < 0) {
			t.Errorf("%q: got %+v", text, g)
		}
		if d, err := ParseCooloff(text); err == nil && (d < 0 || d > maxCooloff || d%time.Second != 0) {
			t.Errorf("%q: got %s", text, d)
		}
		if p, err := ParsePolicy(text, Rule{}); err == nil && len(p.Groups) == 0 {
			t.Errorf("%q: got %+v", text, p)
		}
		if tiers, err := ParseTiers([]string{text}); err == nil && len(tiers) != 1 {
			t.Errorf("%q: got %v", text, tiers)
		}
		if _, period, err := ParseAlarm(text); err == nil && period < 0 {
			t.Errorf("%q: got %s", text, period)
		}
	})
}

func TestS0_17_ALongerLockOfSomeDoesNotTellWhoTheyAre(t *testing.T) {
	onset := func(admin bool) int {
		l := locks(t, "username+ip_address:5/15m")
		l.Policies = []Policy{{Admin: true, Groups: locks(t, "username+ip_address:5/1h").Groups}}
		r := newRig(t, map[Action]string{loginFailed: "10/m/ip,5/5m/key"}, l)
		q := attempt("192.0.2.1", "alice")
		q.Admin = admin
		r.fail(5, q)
		r.clock.turn(16 * time.Minute) // now one of the two is locked still, which nobody is told
		for n := range 100 {
			_, err := r.Reserve(t.Context(), q)
			if _, ok := errors.AsType[*Throttled](err); ok {
				return n
			}
		}
		return -1
	}
	if other, admin := onset(false), onset(true); other != 5 || admin != other {
		t.Errorf("the limit answers after %d attempts, and after %d in an administrator's name; want 5 each", other, admin)
	}
}
