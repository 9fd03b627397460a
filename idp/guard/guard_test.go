package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestS0_01_LimitsHoldUnlessTheyAreOff(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	for range 30 {
		if err := r.reserve(attempt("192.0.2.1", "alice")).Success(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.throttled(attempt("192.0.2.1", "alice"), login, time.Minute)
	off := newRig(t, nil, Lockout{})
	off.fail(100, attempt("192.0.2.1", "alice"))
	if off.store.calls != 0 {
		t.Errorf("without limits the store was asked %d times", off.store.calls)
	}
}

func TestS0_03_EveryAttemptCountsWhateverComesOfIt(t *testing.T) {
	r := newRig(t, map[Action]string{login: "30/m/ip"}, Lockout{})
	for n := range 30 {
		p := r.reserve(attempt("192.0.2.1", fmt.Sprint(n)))
		if n%2 == 0 {
			if err := p.Cleared(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.clock.turn(59 * time.Second)
	r.throttled(attempt("192.0.2.1", "alice"), login, time.Second)
	r.reserve(attempt("192.0.2.2", "alice"))
	r.clock.turn(time.Second)
	r.reserve(attempt("192.0.2.1", "alice"))
}

func TestAnActionThatIsBothAttemptAndFailureCountsOnceAndAlways(t *testing.T) {
	r := newRig(t, map[Action]string{login: "3/m/ip"}, Lockout{})
	q := Request{Attempt: login, Failure: login, Address: netip.MustParseAddr("192.0.2.1")}
	for range 3 {
		r.succeed(q)
	}
	r.throttled(q, login, time.Minute)
}

func TestS0_04_FailuresOfAnAccountAreLimitedFromAllAddressesTogether(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	for n := range 5 {
		r.fail(1, attempt(address(n), "alice"))
	}
	r.clock.turn(time.Second)
	r.throttled(attempt(address(9), "alice"), loginFailed, 299*time.Second)
	r.fail(1, attempt(address(9), "bob"))
	r.clock.turn(299 * time.Second)
	r.reserve(attempt(address(9), "alice"))
}

func TestS0_04_FailuresOfAnAddressAreLimitedOverAllAccounts(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	for n := range 10 {
		r.fail(1, attempt("192.0.2.1", fmt.Sprint(n)))
	}
	r.throttled(attempt("192.0.2.1", "zoe"), loginFailed, time.Minute)
	r.reserve(attempt("192.0.2.2", "zoe"))
}

func TestS0_04_OnesOwnSuccessesDoNotResetTheAddress(t *testing.T) {
	r := newRig(t, defaultLimits(), defaultLocks(t))
	for n := range 10 {
		r.fail(1, attempt("192.0.2.1", fmt.Sprint(n)))
		if n < 9 {
			r.succeed(attempt("192.0.2.1", "mallory"))
		}
	}
	r.throttled(attempt("192.0.2.1", "victim"), loginFailed, time.Minute)
}

func TestS0_04_WhereALimitAndLockoutRefuseTheLimitAnswers(t *testing.T) {
	r := newRig(t, map[Action]string{loginFailed: "3/5m/key,3/m/ip"}, locks(t, "username:3/15m"))
	r.fail(3, attempt("192.0.2.1", "alice"))
	r.throttled(attempt("192.0.2.1", "alice"), loginFailed, 5*time.Minute) // the longest of both
	r.throttled(attempt("192.0.2.1", "alice"), loginFailed, 5*time.Minute) // as it is remembered
	r.clock.turn(5 * time.Minute)
	r.locked(attempt("192.0.2.1", "alice"), "username")
}

// Each action with its default: who fills it, and what is refused then.
func TestS0_10_EachActionRefusesTheOneAfterItsLimit(t *testing.T) {
	for action, text := range map[Action]string{
		"reauthenticate":             "10/m/user",
		"reset_password_from_key":    "20/m/ip",
		"request_login_code":         "20/m/ip,3/m/key",
		"mfa_failed":                 "5/5m/user,30/m/ip",
		"recovery_code":              "5/15m/user",
		"verify_code":                "20/m/ip",
		"webauthn_options":           "60/m/ip",
		"token_endpoint_auth_failed": "20/m/ip+client",
		"device_user_code":           "10/m/ip",
		"consent":                    "30/m/user",
		"signup":                     "20/m/ip",
		"reset_password":             "20/m/ip,5/m/key",
		"confirm_email":              "1/10s/key",
		"change_password":            "5/m/user",
		"manage_email":               "10/m/user",
		"invite":                     "20/m/ip",
		"admin_api_failed":           "20/m/ip",
		"auth_api":                   "100/h/ip",
		"long_request":               "20/m/ip",
		"mail":                       "10/10m/key",
	} {
		t.Run(string(action), func(t *testing.T) {
			r := newRig(t, map[Action]string{action: text}, Lockout{})
			for _, l := range r.set.Limits[action] {
				r.fills(action, l)
			}
		})
	}
}

// fills makes as many attempts as a limit allows, which the other limits of the action do not see,
// and one more.
func (r *rig) fills(action Action, l Limit) {
	r.Helper()
	request := func(n int) Request {
		q := Request{Attempt: action, Address: netip.MustParseAddr(address(n)), Account: fmt.Sprint("a", n), User: fmt.Sprint("a", n), Client: fmt.Sprint("c", n)}
		switch l.Scope {
		case ByAddress:
			q.Address = netip.MustParseAddr("198.51.100.1")
		case ByKey:
			q.Account = "alice"
		case ByUser:
			q.User = "alice"
		case ByAddressAndClient:
			q.Address, q.Client = netip.MustParseAddr("198.51.100.1"), "shop"
		}
		return q
	}
	for n := range l.Amount {
		b, err := r.Spend(r.Context(), request(n))
		if err != nil || b.Remaining < 0 {
			r.Fatalf("%s: number %d of %s: %+v and %v", action, n+1, l, b, err)
		}
	}
	b, err := r.Spend(r.Context(), request(l.Amount))
	t, ok := errors.AsType[*Throttled](err)
	if !ok || t.Limit != l || t.RetryAfter != l.Period || b != (Budget{Limit: l.Amount, Reset: l.Period}) {
		r.Fatalf("%s: one more than %s: got %+v and %v", action, l, b, err)
	}
}

func TestS1_13_ABudgetIsThatOfTheLimitWithTheLeastLeft(t *testing.T) {
	r := newRig(t, map[Action]string{"auth_api": "3/h/ip,100/m/user,3/d/ip"}, Lockout{})
	q := Request{Attempt: "auth_api", Address: netip.MustParseAddr("192.0.2.1"), User: "alice"}
	for left := 2; left >= 0; left-- {
		if b, err := r.Spend(t.Context(), q); err != nil || b != (Budget{Limit: 3, Remaining: left, Reset: 12 * time.Hour}) {
			t.Errorf("got %+v and %v, want %d left", b, err, left)
		}
	}
	if b, err := r.Spend(t.Context(), Request{Attempt: "unlimited"}); err != nil || b != (Budget{}) {
		t.Errorf("without a limit: got %+v and %v", b, err)
	}
}

func TestS0_11_AGlobalLimitCountsEverybody(t *testing.T) {
	r := newRig(t, map[Action]string{login: "3/m/global"}, Lockout{})
	for n := range 3 {
		r.fail(1, attempt(address(n), fmt.Sprint(n)))
	}
	r.throttled(attempt("198.51.100.1", "zoe"), login, time.Minute)
}

func TestS0_11_ALimitOfZeroRefusesAlways(t *testing.T) {
	r := newRig(t, map[Action]string{login: "0/m/ip"}, Lockout{})
	r.throttled(attempt("192.0.2.1", "alice"), login, time.Minute)
	if r.store.calls != 0 {
		t.Errorf("the store was asked %d times, want never", r.store.calls)
	}
	if err := r.SpendHere(attempt("192.0.2.1", "alice")); err == nil {
		t.Error("spent here: got none, want Throttled")
	}
}

func TestS0_13_AnAccountHasOneBudgetAndIsReadableNowhere(t *testing.T) {
	r := newRig(t, map[Action]string{loginFailed: "5/5m/key"}, locks(t, "username:9/1h"))
	for _, typed := range []string{"Zoe@Example.com", "zoe@example.com ", "ｚoe@example.com", "z\u200boe@example.com", "ZOE@EXAMPLE.COM."} {
		name, _ := Canonical(typed)
		q := attempt("192.0.2.1", "")
		q.Name = name
		r.fail(1, q)
	}
	q := attempt("192.0.2.1", "")
	q.Name = "zoe@example.com"
	r.throttled(q, loginFailed, 5*time.Minute)
	for _, c := range r.counters() {
		if text := fmt.Sprintf("%+v", c); strings.Contains(text, "zoe") || strings.Contains(text, "example") {
			t.Errorf("a counter shows the name: %s", text)
		}
		if c.Tag.Account != r.NameTag("zoe@example.com") {
			t.Errorf("got the account %q, want that of the name", c.Tag.Account)
		}
	}
	if other := New(r.store, Settings{Key: []byte("another")}); other.NameTag("zoe") == r.NameTag("zoe") {
		t.Error("two keys give a name one tag")
	}
}

func TestS0_14_PagesAreCountedInThisProcessAlone(t *testing.T) {
	r := newRig(t, map[Action]string{"pages": "600/m/ip", login: "30/m/ip"}, Lockout{})
	page := Request{Attempt: "pages", Address: netip.MustParseAddr("192.0.2.1")}
	for range 600 {
		if err := r.SpendHere(page); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := errors.AsType[*Throttled](r.SpendHere(page)); !ok || got.RetryAfter != time.Minute {
		t.Errorf("got %v, want Throttled for a minute", got)
	}
	if r.store.calls != 0 {
		t.Errorf("the store was asked %d times, want never", r.store.calls)
	}
	r.fail(30, attempt("192.0.2.1", "alice"))
	r.ForgetHere()
	if err := r.SpendHere(page); err != nil {
		t.Errorf("after everything was forgotten: %v", err)
	}
}

func TestS0_16_AFullCounterMakesTheStoreWriteOnceAMoment(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	var last *Permit
	for n := range 10 {
		last = r.reserve(attempt("192.0.2.1", fmt.Sprint(n)))
	}
	before := r.store.calls
	for n := range 100 { // the names differ, the address does not
		r.throttled(attempt("192.0.2.1", fmt.Sprint(10+n)), loginFailed, time.Minute)
	}
	if got := r.store.calls - before; got != 1 {
		t.Errorf("the store was asked %d times, want once", got)
	}
	r.reserve(attempt("192.0.2.2", "zoe"))
	if err := last.Success(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.reserve(attempt("192.0.2.1", "zoe")) // the place that was given back
}

func TestS0_16_AFullCounterIsRememberedToItsEndAndNoLonger(t *testing.T) {
	r := newRig(t, map[Action]string{loginFailed: "1/m/ip"}, locks(t, "username:1/90s"))
	r.fail(1, attempt("192.0.2.1", "alice"))
	r.clock.turn(59500 * time.Millisecond)
	r.throttled(attempt("192.0.2.1", "zoe"), loginFailed, time.Second)
	r.clock.turn(500 * time.Millisecond)
	r.reserve(attempt("192.0.2.1", "zoe"))
	r.clock.turn(29700 * time.Millisecond)
	if got := r.locked(attempt("192.0.2.2", "alice"), "username"); got.RetryAfter != time.Second {
		t.Errorf("got %s, want a whole second", got.RetryAfter)
	}
	r.clock.turn(300 * time.Millisecond)
	r.reserve(attempt("192.0.2.2", "alice"))
}

func TestS0_16_APlaceGivenBackElsewhereIsFoundAMomentLater(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	other := New(r.store, r.set)
	var last *Permit
	for n := range 10 {
		p, err := other.Reserve(t.Context(), attempt("192.0.2.1", fmt.Sprint(n)))
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	r.throttled(attempt("192.0.2.1", "zoe"), loginFailed, time.Minute)
	if err := last.Success(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.throttled(attempt("192.0.2.1", "zoe"), loginFailed, time.Minute)
	r.clock.turn(fullFor)
	r.reserve(attempt("192.0.2.1", "zoe"))
}

func TestS0_17_TheOnsetIsTheSameForKnownAndUnknownNames(t *testing.T) {
	for name, lockout := range map[string]Lockout{"limits": {}, "lockout": defaultLocks(t), "by name": locks(t, "username:4/1h")} {
		limits := defaultLimits()
		if name != "limits" {
			limits = nil
		}
		onset := func(who func(*Request)) int {
			return newRig(t, limits, lockout).onset(func(int) Request {
				q := attempt("192.0.2.1", "")
				who(&q)
				return q
			})
		}
		known, unknown := onset(func(q *Request) { q.Account = "alice" }), onset(func(q *Request) { q.Name = "zoe" })
		if known != unknown || known > 5 {
			t.Errorf("%s: refused after %d failures of alice and %d of zoe", name, known, unknown)
		}
	}
}

func TestS0_22_AnIPv6NetworkIsOneAddress(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	for n := range 10 {
		r.fail(1, attempt(fmt.Sprintf("2001:db8:0:1::%x", n), fmt.Sprint(n)))
	}
	r.throttled(attempt("2001:db8:0:1:ffff::1", "zoe"), loginFailed, time.Minute)
	r.reserve(attempt("2001:db8:0:2::1", "zoe"))
}

func TestS0_22_WiderNetworksOfIPv6HaveMore(t *testing.T) {
	for name, tc := range map[string]struct {
		address   func(n int) string
		escalates bool
		prefix    int
		want      int
	}{
		"one /64":                       {func(n int) string { return fmt.Sprintf("2001:db8::%x", n) }, true, 64, 10},
		"one /56, a /64 each":           {func(n int) string { return fmt.Sprintf("2001:db8:0:%x::1", n%256) }, true, 64, 40},
		"one /48, a /56 each":           {func(n int) string { return fmt.Sprintf("2001:db8:0:%x00::1", n%256) }, true, 64, 160},
		"one /48, counted by /56":       {func(n int) string { return fmt.Sprintf("2001:db8:0:%x::1", n) }, true, 56, 10},
		"one /48, counted by /48":       {func(n int) string { return fmt.Sprintf("2001:db8:0:%x::1", n*256) }, true, 48, 10},
		"addresses of IPv4 have no net": {func(n int) string { return fmt.Sprintf("10.0.%d.%d", n/250, n%250) }, true, 64, 500},
		"without escalation":            {func(n int) string { return fmt.Sprintf("2001:db8:0:%x::1", n) }, false, 64, 500},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, map[Action]string{loginFailed: "10/m/ip"}, Lockout{}, func(s *Settings) { s.Escalation, s.IPv6Prefix = tc.escalates, tc.prefix })
			for n := range tc.want {
				r.fail(1, attempt(tc.address(n), "alice"))
			}
			if tc.want < 500 {
				r.throttled(attempt(tc.address(tc.want), "alice"), loginFailed, time.Minute)
			}
		})
	}
}

func TestS0_22_AnAddressOfIPv4IsCountedOnce(t *testing.T) {
	for text, want := range map[string]int{"192.0.2.1": 2, "::ffff:192.0.2.1": 2, "2001:db8::1": 6} {
		r := newRig(t, map[Action]string{login: "9/m/ip,9/m/ip", loginFailed: "9/m/ip+client,9/m/user"}, Lockout{}, func(s *Settings) { s.Escalation = true })
		r.fail(9, attempt(text, "alice")) // the limit that is there twice counts once
		if got := len(r.counters()); got != want {
			t.Errorf("%s: got %d counters, want %d", text, got, want)
		}
	}
}

func TestNetworksAreAllThatCountersNameAnAddressBy(t *testing.T) {
	r := newRig(t, map[Action]string{login: "10/m/ip"}, locks(t, "ip_address"), func(s *Settings) { s.Escalation = true })
	for _, text := range []string{"2001:db8:1:2::3", "::ffff:192.0.2.1"} {
		a := netip.MustParseAddr(text)
		known := map[string]bool{}
		for _, n := range r.Networks(a) {
			known[n.String()] = true
		}
		r.fail(1, attempt(text, "alice"))
		for _, c := range r.counters() {
			if !known[c.Tag.Network] {
				t.Errorf("%s: a counter is of %s, which is none of %v", text, c.Tag.Network, known)
			}
		}
		if _, err := r.store.ForgetCounters(t.Context(), Filter{}, noon); err != nil {
			t.Fatal(err)
		}
		if !known[r.Network(a).String()] {
			t.Errorf("%s is not of %s", r.Network(a), text)
		}
	}
	if list := r.Networks(netip.Addr{}); list != nil {
		t.Errorf("no address: got %v, want none", list)
	}
}

func TestI15_ASuccessClearsNothingButItsOwnReservation(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	r.fail(4, attempt("192.0.2.1", "alice"))
	for range 5 {
		if err := r.reserve(attempt("192.0.2.1", "alice")).Success(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.succeed(attempt("192.0.2.1", "alice"))
	r.fail(1, attempt("192.0.2.1", "alice"))
	r.throttled(attempt("192.0.2.1", "alice"), loginFailed, 5*time.Minute)
}

func TestI15_ASecondFactorIsCountedByUserUntilItIsRight(t *testing.T) {
	r := newRig(t, map[Action]string{loginFailed: "5/5m/key", "mfa_failed": "5/5m/user"}, defaultLocks(t))
	factor := func(n int) Request {
		return Request{Failure: "mfa_failed", Address: netip.MustParseAddr(address(n)), Account: "alice", User: "alice"}
	}
	for n := range 5 { // each in a flow of its own, after the right password
		if err := r.reserve(attempt(address(n), "alice")).Success(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.fail(1, factor(n))
	}
	if err := r.reserve(attempt(address(9), "alice")).Success(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.throttled(factor(9), "mfa_failed", 5*time.Minute)
}

func TestI16_ARefundIgnoresThatTheCallerLeft(t *testing.T) {
	r := newRig(t, defaultLimits(), defaultLocks(t))
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 9 {
		if err := r.reserve(attempt("192.0.2.1", "alice")).Success(gone); err != nil {
			t.Fatal(err)
		}
	}
	for range 9 {
		if err := r.reserve(attempt("192.0.2.1", "alice")).Cleared(gone); err != nil {
			t.Fatal(err)
		}
	}
}

func TestI16_WhoeverNeverComesBackHasFailed(t *testing.T) {
	r := newRig(t, nil, locks(t, "username:3/15m"))
	for range 3 { // the process ended each time
		r.reserve(attempt("192.0.2.1", "alice"))
	}
	r.locked(attempt("192.0.2.1", "alice"), "username")
}

func TestI16_ASecondRefundGivesNothingBack(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	p := r.reserve(attempt("192.0.2.1", "alice"))
	r.fail(3, attempt("192.0.2.1", "alice"))
	for range 5 {
		if err := p.Success(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.fail(2, attempt("192.0.2.1", "alice"))
	r.throttled(attempt("192.0.2.1", "alice"), loginFailed, 5*time.Minute)
}

func TestI16_ARefundThatTheStoreLostMayBeTriedAgain(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	p := r.reserve(attempt("192.0.2.1", "alice"))
	r.store.err = errors.New("disk on fire")
	if err := p.Success(t.Context()); !errors.Is(err, r.store.err) {
		t.Errorf("got %v, want the store's error", err)
	}
	r.store.err = nil
	if err := p.Success(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.fail(5, attempt("192.0.2.1", "alice"))
}

func TestI16_TheQueueIsFairByNetwork(t *testing.T) {
	r := newRig(t, nil, Lockout{})
	for text, want := range map[string]string{"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		p := r.reserve(attempt(text, "alice"))
		if got := p.Network().String(); got != want || p.Known() {
			t.Errorf("%s: got %s and known %v, want %s", text, got, p.Known(), want)
		}
	}
	if got := r.reserve(Request{}).Network(); got.IsValid() {
		t.Errorf("no address: got %s", got)
	}
}

func TestAGuardThatCannotCountRefuses(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	r.store.err = errors.New("disk on fire")
	if _, err := r.Reserve(t.Context(), attempt("192.0.2.1", "alice")); !errors.Is(err, r.store.err) {
		t.Errorf("reserve: got %v, want the store's error", err)
	}
	if _, err := r.Spend(t.Context(), attempt("192.0.2.1", "alice")); !errors.Is(err, r.store.err) {
		t.Errorf("spend: got %v, want the store's error", err)
	}
	p, err := r.Check(clientRequest("192.0.2.1", "shop"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Failure(t.Context()); !errors.Is(err, r.store.err) {
		t.Errorf("failure: got %v, want the store's error", err)
	}
	want := map[Observation]int{{loginFailed, Unserved}: 1, {login, Unserved}: 1, {clientAuth, Unserved}: 1}
	if !reflect.DeepEqual(r.seen, want) {
		t.Errorf("observed %v, want %v", r.seen, want)
	}
}

func TestExemptNetworksAskNoStore(t *testing.T) {
	r := newRig(t, defaultLimits(), defaultLocks(t), func(s *Settings) { s.Exempt = prefixes("192.0.2.0/24") })
	for _, text := range []string{"192.0.2.1", "::ffff:192.0.2.1"} {
		for range 50 {
			q := attempt(text, "alice")
			r.succeed(q)
			q.Device = "device"
			if !r.reserve(q).Known() {
				t.Error("the known device is unknown there")
			}
			if err := errors.Join(r.SpendHere(q), r.Look(t.Context(), q)); err != nil {
				t.Error(err)
			}
		}
	}
	if r.store.calls != 0 {
		t.Errorf("the store was asked %d times, want never", r.store.calls)
	}
}

func clientRequest(address, client string) Request {
	return Request{Failure: clientAuth, Address: netip.MustParseAddr(address), Client: client}
}

func (r *rig) failClient(q Request) error {
	r.Helper()
	p, err := r.Check(q)
	if err != nil {
		r.Fatalf("check: %v", err)
	}
	return p.Failure(r.Context())
}

func TestI14_AStrangerCannotTurnAClientOff(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	for range 4 {
		if err := r.failClient(clientRequest("203.0.113.66", "shop")); err != nil {
			t.Fatal(err)
		}
	}
	err := r.failClient(clientRequest("203.0.113.66", "shop"))
	if got, ok := errors.AsType[*Throttled](err); !ok || got.Action != clientAuth || got.RetryAfter != time.Minute {
		t.Fatalf("the fifth failure: got %v, want Throttled", err)
	}
	calls := r.store.calls
	if _, err := r.Check(clientRequest("203.0.113.66", "shop")); err == nil {
		t.Error("the stranger passes after too many failures")
	}
	for _, q := range []Request{clientRequest("192.0.2.7", "shop"), clientRequest("203.0.113.66", "blog")} {
		if _, err := r.Check(q); err != nil {
			t.Errorf("%s from %s: got %v, want a permit", q.Client, q.Address, err)
		}
	}
	if r.store.calls != calls {
		t.Errorf("checks asked the store %d times, want never", r.store.calls-calls)
	}
	r.clock.turn(time.Minute)
	if _, err := r.Check(clientRequest("203.0.113.66", "shop")); err != nil {
		t.Errorf("in the next window: got %v, want a permit", err)
	}
}

func TestI14_AnAddressThatFailsAtManyClientsIsBlockedForAll(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	for n := range 20 {
		if err := r.failClient(clientRequest("203.0.113.66", fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.failClient(clientRequest("203.0.113.66", "one more")); err == nil {
		t.Error("the 21st failure: got none, want Throttled")
	}
	if _, err := r.Check(clientRequest("203.0.113.66", "blog")); err == nil {
		t.Error("another client from that address: got a permit, want Throttled")
	}
	r.ForgetHere()
	if _, err := r.Check(clientRequest("203.0.113.66", "blog")); err != nil {
		t.Errorf("after somebody cleared it: got %v, want a permit", err)
	}
}

func TestI14_NoLimitOverAllAddressesHoldsForClients(t *testing.T) {
	r := newRig(t, map[Action]string{clientAuth: "2/m/global,2/m/key,2/m/user,9/m/ip"}, Lockout{})
	q := clientRequest("203.0.113.66", "shop")
	q.Account, q.User = "shop", "shop"
	for range 9 {
		if err := r.failClient(q); err != nil {
			t.Fatal(err)
		}
	}
	q.Address = netip.MustParseAddr("192.0.2.7")
	if err := r.failClient(q); err != nil {
		t.Errorf("from another address: got %v, want that it counts", err)
	}
}

func TestI14_ASuccessOfAClientWritesNothing(t *testing.T) {
	r := newRig(t, defaultLimits(), Lockout{})
	p, err := r.Check(clientRequest("192.0.2.7", "shop"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Success(t.Context()); err != nil || r.store.calls != 0 {
		t.Errorf("got %v and %d calls, want none", err, r.store.calls)
	}
}

func TestS4_65_AHundredGuessesAtOnceHaveNoMoreThanTheLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		limits  map[Action]string
		lockout Lockout
	}{
		"a limit": {map[Action]string{loginFailed: "5/5m/key"}, Lockout{}},
		"lockout": {nil, locks(t, "username:5/15m")},
		"both":    {defaultLimits(), defaultLocks(t)},
	} {
		t.Run(name, func(t *testing.T) {
			one := newRig(t, tc.limits, tc.lockout)
			two := New(one.store, one.set) // another process
			var verified atomic.Int32
			var locked atomic.Int32
			var guesses sync.WaitGroup
			for n := range 100 {
				guesses.Go(func() {
					g := one.Guard
					if n%2 == 1 {
						g = two
					}
					p, err := g.Reserve(t.Context(), attempt("192.0.2.1", "alice"))
					if err != nil {
						return
					}
					verified.Add(1)
					locked.Add(int32(min(1, len(p.Locks()))))
				})
			}
			guesses.Wait()
			if verified.Load() != 5 || name != "a limit" && locked.Load() != 1 {
				t.Errorf("got %d verified and %d that locked, want 5 and 1", verified.Load(), locked.Load())
			}
		})
	}
}

func TestNobodyButAGuardMakesAPermit(t *testing.T) {
	for name, p := range map[string]*Permit{"nil": nil, "zero": {}} {
		for doing, do := range map[string]func(){
			"must": p.Must, "known": func() { p.Known() }, "network": func() { p.Network() }, "locks": func() { p.Locks() },
			"success": func() { _ = p.Success(t.Context()) }, "failure": func() { _ = p.Failure(t.Context()) },
			"cleared": func() { _ = p.Cleared(t.Context()) }, "would lock": func() { p.WouldLock() },
		} {
			t.Run(name+" "+doing, func(t *testing.T) {
				defer func() {
					if recover() == nil {
						t.Error("got no panic")
					}
				}()
				do()
			})
		}
	}
}

func TestReservationsAreObserved(t *testing.T) {
	r := newRig(t, map[Action]string{login: "4/m/ip"}, locks(t, "username:2/15m"))
	r.succeed(attempt("192.0.2.1", "bob"))
	r.fail(2, attempt("192.0.2.1", "alice"))
	r.locked(attempt("192.0.2.1", "alice"), "username")
	r.fail(1, attempt("192.0.2.1", "carol"))
	r.throttled(attempt("192.0.2.1", "bob"), login, time.Minute)
	want := map[Observation]int{{loginFailed, Reserved}: 4, {loginFailed, Refunded}: 1, {loginFailed, Locked}: 1, {login, Limited}: 1}
	if !reflect.DeepEqual(r.seen, want) {
		t.Errorf("observed %v, want %v", r.seen, want)
	}
}

func TestTheBlockListForgetsWhatIsOver(t *testing.T) {
	var b blockList
	refused := Outcome{Refused: true, Until: noon.Add(time.Minute)}
	for i := range maxBlocked {
		b.add([16]byte{byte(i), byte(i >> 8), byte(i >> 16)}, refused, noon.Add(time.Minute), noon)
	}
	extra := [16]byte{15: 1}
	b.add(extra, refused, noon.Add(time.Minute), noon)
	if b.has(extra, noon).Refused || len(b.blocks.list) != maxBlocked {
		t.Errorf("a full list took another entry: %d", len(b.blocks.list))
	}
	later := noon.Add(time.Minute)
	for i := range maxBlocked { // each looks at a few of the old ones
		b.add([16]byte{byte(i), byte(i >> 8), byte(i >> 16), 15: 1}, refused, later.Add(time.Minute), later)
		if i == 0 && len(b.blocks.list) < maxBlocked-sweptEach {
			t.Errorf("one entry looked at %d others", maxBlocked-len(b.blocks.list))
		}
	}
	over := 0
	for _, old := range b.blocks.list {
		if !later.Before(old.value.until) {
			over++
		}
	}
	if !b.has([16]byte{15: 1}, later).Refused || over > maxBlocked/10 {
		t.Errorf("%d of %d entries are over", over, len(b.blocks.list))
	}
	b.clear()
	if b.has([16]byte{15: 1}, later).Refused {
		t.Error("a list that was cleared still refuses")
	}
}
