package idp_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/config"
	"postern/conformance/timetest"
	"postern/idp"
	"postern/idp/guard"
	"postern/storage"
	"postern/storage/storagetest"
)

// measured makes h a new provider with metrics, and returns where they are.
func (h *house) measured(t testing.TB) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewRegistry()
	h.reopenWith(t, func(o *idp.Options) { o.Metrics = r })
	return r
}

// sum adds the values of a metric whose labels have all of want, NAME=VALUE each.
func sum(t testing.TB, r *prometheus.Registry, name string, want ...string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetName()+"="+l.GetValue())
			}
			if !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(has, w) }) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}

// hashes is how many passwords were hashed.
func hashes(t testing.TB, r *prometheus.Registry) int {
	t.Helper()
	return int(sum(t, r, "postern_password_hashes_total"))
}

// codes tries to sign in n times and returns what came of it.
func (h *house) codes(t testing.TB, n int, address, identifier, password string) []string {
	t.Helper()
	var codes []string
	for range n {
		_, err := h.tryLogIn(t, address, identifier, password)
		codes = append(codes, idp.CodeOf(err))
	}
	return codes
}

// The limits that hold with an empty configuration, by the least amount of each.
var defaultAmounts = map[guard.Action]struct {
	amount int
	period time.Duration
}{
	"login": {30, time.Minute}, "login_failed": {5, 5 * time.Minute}, "signup": {20, time.Minute},
	"reset_password": {5, time.Minute}, "reset_password_from_key": {20, time.Minute}, "confirm_email": {1, 10 * time.Second},
	"change_password": {5, time.Minute}, "manage_email": {10, time.Minute}, "reauthenticate": {10, time.Minute},
	"request_login_code": {3, time.Minute}, "mfa_failed": {5, 5 * time.Minute}, "recovery_code": {5, 15 * time.Minute},
	"verify_code": {20, time.Minute}, "webauthn_options": {60, time.Minute}, "invite": {20, time.Minute},
	"token_endpoint_auth_failed": {20, time.Minute}, "admin_api_failed": {20, time.Minute}, "device_user_code": {10, time.Minute},
	"consent": {30, time.Minute}, "auth_api": {100, time.Hour}, "long_request": {20, time.Minute}, "pages": {600, time.Minute},
	"mail": {10, 10 * time.Minute},
}

func TestS0_01_EveryLimitHoldsWithAnEmptyConfiguration(t *testing.T) {
	h := small(t)
	set := idp.SettingsOfGate(h.Provider)
	for i := range reflect.TypeFor[config.RateLimits]().NumField() {
		field := reflect.TypeFor[config.RateLimits]().Field(i)
		if field.Type.Kind() != reflect.String {
			continue
		}
		action := guard.Action(field.Tag.Get("yaml"))
		if len(set.Limits[action]) == 0 {
			t.Errorf("%s is not limited", action)
		}
		if _, ok := defaultAmounts[action]; !ok {
			t.Errorf("%s has no test of its default", action)
		}
	}
	if !set.Lockout.Enabled || len(set.Lockout.Groups) == 0 {
		t.Errorf("lockout is off: %+v", set.Lockout)
	}
}

func TestS0_10_EachActionIsRefusedOnceItsDefaultIsSpent(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		g := idp.GuardOf(h.Provider)
		for action, want := range defaultAmounts {
			r := guard.Request{
				Attempt: action, Address: netip.MustParseAddr("192.0.2.1"), Account: "account of " + string(action),
				User: "user of " + string(action), Client: "client",
			}
			for i := range want.amount {
				if _, err := g.Spend(t.Context(), r); err != nil {
					t.Fatalf("%s: attempt %d of %d: %v", action, i+1, want.amount, err)
				}
			}
			_, err := g.Spend(t.Context(), r)
			throttled, ok := errors.AsType[*guard.Throttled](err)
			if !ok || throttled.RetryAfter < time.Second || throttled.RetryAfter > want.period {
				t.Errorf("%s: attempt %d: got %v, want Throttled for at most %s", action, want.amount+1, err, want.period)
			}
		}
		h.clock.turn(time.Hour)
		for action := range defaultAmounts {
			r := guard.Request{Attempt: action, Address: netip.MustParseAddr("192.0.2.1"), Account: "account of " + string(action)}
			if _, err := g.Spend(t.Context(), r); err != nil {
				t.Errorf("%s in the next window: %v", action, err)
			}
		}
	})
}

func TestS0_12_JudgeGateNamesEveryBadSpec(t *testing.T) {
	cfg := testConfig()
	limits := reflect.ValueOf(&cfg.RateLimits).Elem()
	want := []string{
		"lockout.alarm", "lockout.cooloff_time", "lockout.exempt_users", "lockout.parameters", "lockout.parameters", "lockout.policies", "lockout.tiers",
	}
	for i := range limits.NumField() {
		if limits.Field(i).Kind() == reflect.String {
			limits.Field(i).SetString("30/x/ip")
			want = append(want, "rate_limits."+limits.Type().Field(i).Tag.Get("yaml"))
		}
	}
	cfg.Lockout.Parameters = []string{"username", "planet", "ip_address:5"}
	cfg.Lockout.Policies = []string{"role=admin: no, => username"}
	cfg.Lockout.CooloffTime, cfg.Lockout.Tiers, cfg.Lockout.Alarm = "soon", []string{"6:1m", "3:10m"}, "many"
	cfg.Lockout.ExemptUsers = []string{"breakglass", ""}
	var got []string
	for _, p := range idp.JudgeGate(cfg) {
		got = append(got, p.Key)
		if !strings.HasPrefix(p.Reason, "has ") || !strings.HasSuffix(p.Remedy, ".") {
			t.Errorf("%s: got the reason %q and the remedy %q, want a predicate and a sentence", p.Key, p.Reason, p.Remedy)
		}
		if p.Key == "lockout.policies" && !strings.HasPrefix(p.Remedy, "There is") && !strings.HasPrefix(p.Remedy, "Write") {
			t.Errorf("got %+v", p)
		}
		if p.Key == "rate_limits.login" && (p.Reason != `has the period "x", which is no period` || !strings.HasPrefix(p.Remedy, "Write a unit")) {
			t.Errorf("got %+v", p)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	s := storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
	if _, err := idp.New(t.Context(), s, cfg, ringOf(t, 1), idp.Options{}); err == nil || !strings.HasPrefix(err.Error(), "rate_limits.login has the period") {
		t.Errorf("New: got %v, want the first problem", err)
	}
	if list := idp.JudgeGate(testConfig()); len(list) != 0 {
		t.Errorf("the defaults have problems: %+v", list)
	}
}

func TestI14_NoSettingLetsAStrangerTurnAClientOff(t *testing.T) {
	for _, text := range []string{"20/m/global", "20/m/key", "20/m/ip,5/m/user"} {
		cfg := testConfig()
		cfg.RateLimits.TokenEndpointAuthFailed = text
		if list := idp.JudgeGate(cfg); len(list) != 1 || list[0].Key != "rate_limits.token_endpoint_auth_failed" {
			t.Errorf("%s: got %+v, want a problem", text, list)
		}
	}
}

func TestS0_14_PagesAreLimitedInMemoryAlone(t *testing.T) {
	counter := &storagetest.Counter{}
	storagetest.EachOptions(t, storage.Options{OnStatement: counter.Note}, func(t *testing.T, s *storage.Store) {
		h := open(t, s)
		counter.Take()
		ctx := from(t, "192.0.2.1", idp.SessionToken{})
		for i := range 600 {
			if err := h.SpendPage(ctx); err != nil {
				t.Fatalf("page %d: %v", i+1, err)
			}
		}
		wantError(t, h.SpendPage(ctx), idp.Throttled, "throttled", "")
		if err := h.SpendPage(from(t, "192.0.2.2", idp.SessionToken{})); err != nil {
			t.Errorf("another address: %v", err)
		}
		if sent := counter.Take(); len(sent) != 0 {
			t.Errorf("got %q, want no statement", sent)
		}
	})
}

func TestS1_13_FormsOfProgramsHaveABudgetThatIsTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := from(t, "192.0.2.1", idp.SessionToken{})
		for i := range 100 {
			left, err := h.SpendAuthAPI(ctx)
			if want := (guard.Budget{Limit: 100, Remaining: 99 - i, Reset: time.Hour}); err != nil || left != want {
				t.Fatalf("form %d: got %+v and %v, want %+v", i+1, left, err, want)
			}
		}
		left, err := h.SpendAuthAPI(ctx)
		wantError(t, err, idp.Throttled, "throttled", "")
		if want := (guard.Budget{Limit: 100, Reset: time.Hour}); left != want {
			t.Errorf("form 101: got %+v, want %+v", left, want)
		}
	})
}

func TestS0_10_AnswersToAConsentPageAreLimitedByUser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		c, _ := h.addClient(t, idp.Client{})
		for i, name := range []string{"alice", "bob"} {
			h.addUser(t, name)
			v, err := h.Visit(t.Context(), h.logIn(t, name, idp.SessionToken{}).Token, c.ID)
			if err != nil {
				t.Fatal(err)
			}
			give := func() error {
				in := &idp.Interaction{Request: idp.Request{ClientID: c.ID, Scopes: idp.List{"openid"}}}
				return h.GiveConsent(from(t, fmt.Sprint("192.0.2.", i), idp.SessionToken{}), in, v)
			}
			for i := range 30 {
				if err := give(); err != nil {
					t.Fatalf("answer %d of %s: %v", i+1, name, err)
				}
			}
			wantError(t, give(), idp.Throttled, "throttled", "")
		}
	})
}

func TestS0_22_AddressesOfOneNetworkShareABudget(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for i := range 10 {
			_, err := h.tryLogIn(t, fmt.Sprintf("2001:db8:1:2::%x", i+1), fmt.Sprint("name", i), "wrong password")
			wantError(t, err, idp.Denied, "invalid_credentials", "")
		}
		_, err := h.tryLogIn(t, "2001:db8:1:2:ffff::1", "name", "wrong password")
		wantError(t, err, idp.Throttled, "throttled", "")
		_, err = h.tryLogIn(t, "2001:db8:1:3::1", "name", "wrong password")
		wantError(t, err, idp.Denied, "invalid_credentials", "")
		for i := range 2 * 16 * 10 { // a /48 has sixteen times the amount, whatever the /64
			address := fmt.Sprintf("2001:db8:2:%x::1", i*256)
			_, err := h.tryLogIn(t, address, fmt.Sprint("other", i), "wrong password")
			if want := map[bool]string{true: "invalid_credentials", false: "throttled"}[i < 160]; idp.CodeOf(err) != want {
				t.Fatalf("attempt %d from %s: got %v, want %s", i+1, address, err, want)
			}
			if i == 165 {
				break
			}
		}
	})
}

func TestS0_16_RefusedAttemptsHashNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		r := h.measured(t)
		h.codes(t, 30, "192.0.2.1", "alice", alicePassword)
		before := hashes(t, r)
		if before != 30 {
			t.Fatalf("got %d hashes for 30 logins", before)
		}
		for i := range 200 {
			_, err := h.tryLogIn(t, "192.0.2.1", "alice", alicePassword)
			if idp.KindOf(err) != idp.Throttled {
				t.Fatalf("attempt %d: %v", i+1, err)
			}
		}
		if got := hashes(t, r); got != before {
			t.Errorf("200 refused attempts made %d hashes", got-before)
		}
		if got := sum(t, r, "postern_rate_limited_total", "action=login"); got != 200 {
			t.Errorf("counted %v refusals, want 200", got)
		}
		if got := sum(t, r, "postern_gate_reservations_total", "action=login_failed", "result=reserved"); got != 30 {
			t.Errorf("counted %v reservations, want 30", got)
		}
	})
}

func TestS0_16_I21_ARefusedAttemptCostsLessThanAMillisecond(t *testing.T) {
	timetest.Alone(t)
	for name, address := range map[string]string{"one address": "192.0.2.1", "many": "192.0.%d.1"} {
		t.Run(name, func(t *testing.T) {
			h := small(t)
			h.addUser(t, "alice")
			h.codes(t, 6, "192.0.2.1", "alice", "wrong password")
			const attempts = 200
			best := time.Duration(math.MaxInt64)
			for range 3 { // what other processes do to the caches is not ours
				start := timetest.CPU(t)
				for i := range attempts {
					from := address
					if strings.Contains(address, "%") {
						from = fmt.Sprintf(address, i)
					}
					if _, err := h.tryLogIn(t, from, "alice", alicePassword); idp.KindOf(err) != idp.Throttled {
						t.Fatal(err)
					}
				}
				best = min(best, (timetest.CPU(t)-start)/attempts)
			}
			if best > time.Millisecond {
				t.Errorf("a refused attempt took %s of CPU", best)
			}
		})
	}
}

func BenchmarkRefusedLogIn(b *testing.B) {
	h := small(b)
	h.addUser(b, "alice")
	for range 6 {
		h.tryLogIn(b, "192.0.2.1", "alice", "wrong password")
	}
	ctx := from(b, "192.0.2.1", idp.SessionToken{})
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		if _, err := h.LogIn(ctx, &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: alicePassword}); idp.KindOf(err) != idp.Throttled {
			b.Fatal(err)
		}
	}
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}

func TestS0_94_WhoIsDeniedAsksNoDatabase(t *testing.T) {
	counter := &storagetest.Counter{}
	storagetest.EachOptions(t, storage.Options{OnStatement: counter.Note}, func(t *testing.T, s *storage.Store) {
		h := open(t, s, func(c *config.Config) { c.Lockout.DenyCIDRs = networksOf("192.0.2.66/32") })
		h.addUser(t, "alice")
		in := h.logIn(t, "alice", idp.SessionToken{})
		v, err := h.Visit(t.Context(), in.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		counter.Take()
		h.wantRight(t, "192.0.2.66", "alice", "blocked")
		_, err = h.ChangePassword(from(t, "192.0.2.66", in.Token), v, alicePassword, "another horse battery")
		wantError(t, err, idp.Blocked, "blocked", "")
		if sent := counter.Take(); len(sent) != 0 {
			t.Errorf("got %q, want no statement", sent)
		}
	})
}

func TestTheMetricsHaveWordsForLabelsAndNothingThatVisitorsChoose(t *testing.T) {
	h := small(t, lockoutAlone("username:2/15m"), func(c *config.Config) { c.RateLimits.Off = false })
	h.addUser(t, "alice")
	r := h.measured(t)
	laptop := h.know(t, "192.0.2.1", "alice")
	if err := h.tryAt(t, "192.0.2.1", laptop, "alice", alicePassword); err != nil {
		t.Fatal(err)
	}
	h.codes(t, 3, "192.0.2.1", "zoe", "wrong password")
	for name, want := range map[string]float64{
		"postern_password_hashes_total lane=known_device":                        1,
		"postern_password_hashes_total lane=other":                               3,
		"postern_password_hash_queue":                                            0,
		"postern_gate_reservations_total action=login_failed result=reserved":    4,
		"postern_gate_reservations_total action=login_failed result=refunded":    2,
		"postern_gate_reservations_total action=login_failed result=locked":      1,
		"postern_lockouts_total parameters=username":                             1,
		"postern_rate_limited_total":                                             0,
		"postern_gate_reservations_total action=token_endpoint_auth_failed":      0,
		"postern_gate_reservations_total action=login_failed result=unavailable": 0,
		"postern_gate_reservations_total action=login_failed result=would_block": 0,
		"postern_jobs_waiting":                                                   0,
		"postern_jobs_failing":                                                   0,
		"postern_gate_reservations_total":                                        7,
	} {
		fields := strings.Fields(name)
		if got := sum(t, r, fields[0], fields[1:]...); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// down is a store whose counters cannot be reached while it is off.
type down struct {
	idp.Store
	off bool
}

var errDown = errors.New("the counters are away")

func (d *down) ReserveCounters(ctx context.Context, c []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	if d.off {
		return nil, errDown
	}
	return d.Store.ReserveCounters(ctx, c, now)
}

func TestWhereTheCountersAreAwayNobodySignsInAndClientsGoOnAsConfigured(t *testing.T) {
	for open_, want := range map[bool]string{false: "unavailable", true: "invalid_client"} {
		s := &down{Store: storagetest.Open(t, storagetest.SQLite(t), storage.Options{})}
		h := open(t, s, func(c *config.Config) { c.RateLimits.ClientAuthFailOpen = open_ })
		h.addUser(t, "alice")
		c, secret := h.addClient(t, idp.Client{})
		chosen, _, err := h.AddClient(t.Context(), idp.Client{Metadata: c.Metadata}, "correct horse battery")
		if err != nil {
			t.Fatal(err)
		}
		s.off = true
		_, err = h.tryLogIn(t, "192.0.2.1", "alice", alicePassword)
		wantError(t, err, idp.Unavailable, "unavailable", "")
		ctx := from(t, "192.0.2.1", idp.SessionToken{})
		if err := h.AuthenticateClient(ctx, &c, secret); err != nil {
			t.Errorf("the right secret: %v", err)
		}
		for name, err := range map[string]error{
			"a generated secret": h.AuthenticateClient(ctx, &c, "wrong"),
			"a chosen secret":    h.AuthenticateClient(ctx, &chosen, "wrong"),
			"no such client":     h.AuthenticateClient(ctx, nil, "wrong"),
		} {
			if got := idp.CodeOf(err); got != want {
				t.Errorf("fail open %v, %s: got %s, want %s", open_, name, got, want)
			}
		}
		if err := h.AuthenticateClient(ctx, &chosen, "correct horse battery"); (err == nil) != open_ {
			t.Errorf("fail open %v, the right chosen secret: got %v", open_, err)
		}
	}
}

// inParallel has two nodes on one database try to sign in as alice 100 times at once, with
// passwords that passwordOf chooses, and returns how many passwords were hashed.
func inParallel(t *testing.T, url string, passwordOf func(i int) string, change ...func(*config.Config)) (*house, int) {
	t.Helper()
	var nodes [2]*house
	var registries [2]*prometheus.Registry
	for i := range nodes {
		nodes[i] = open(t, storagetest.Open(t, url, storage.Options{}), change...)
		if i == 0 {
			nodes[i].addUser(t, "alice")
		}
		registries[i] = nodes[i].measured(t)
	}
	var guesses sync.WaitGroup
	for i := range 100 {
		guesses.Go(func() {
			_, err := nodes[i%2].tryLogIn(t, fmt.Sprint("192.0.2.", i%4), "alice", passwordOf(i))
			if kind := idp.KindOf(err); err != nil && kind != idp.Denied && kind != idp.Throttled {
				t.Errorf("guess %d: %v", i, err)
			}
		})
	}
	guesses.Wait()
	return nodes[0], hashes(t, registries[0]) + hashes(t, registries[1])
}

func TestS0_02_S4_65_ParallelGuessesOverTwoNodesVerifyNoMoreThanTheLimit(t *testing.T) {
	wrong := func(int) string { return "wrong password" }
	t.Run("the limits", func(t *testing.T) {
		storagetest.EachURL(t, func(t *testing.T, url string) {
			_, n := inParallel(t, url, wrong, func(c *config.Config) { c.Lockout.Enabled = false })
			if n != 5 {
				t.Errorf("%d passwords were verified, want 5", n)
			}
		})
	})
	t.Run("lockout", func(t *testing.T) {
		storagetest.EachURL(t, func(t *testing.T, url string) {
			_, n := inParallel(t, url, wrong, func(c *config.Config) {
				c.RateLimits.Off, c.Lockout.Parameters = true, []string{"username:5/15m"}
			})
			if n != 5 {
				t.Errorf("%d passwords were verified, want 5", n)
			}
		})
	})
	t.Run("one of them right", func(t *testing.T) {
		storagetest.EachURL(t, func(t *testing.T, url string) {
			h, n := inParallel(t, url, func(i int) string {
				if i == 50 {
					return alicePassword
				}
				return "wrong password"
			})
			if failed := strings.Count(h.kinds(t), "user.sign_in_failed"); failed > 5 || n > failed+1 {
				t.Errorf("%d guesses failed and %d passwords were verified, want 5 and the right one at most", failed, n)
			}
		})
	})
}

func TestS0_15_ARefusalSaysWhomWasCountedAndNothingOfTheAccount(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*config.Config)
		kind   idp.Kind
		scope  string
	}{
		"a limit by address":            {func(c *config.Config) { c.RateLimits.LoginFailed = "1/m/ip" }, idp.Throttled, "ip"},
		"a limit by account":            {func(c *config.Config) { c.RateLimits.LoginFailed = "1/m/key" }, idp.Throttled, "key"},
		"a limit of everybody":          {func(c *config.Config) { c.RateLimits.LoginFailed = "1/m/global" }, idp.Throttled, "global"},
		"a lock by address":             {lockoutAlone("ip_address:1/15m"), idp.Locked, "ip"},
		"a lock by account and address": {lockoutAlone("username+ip_address:1/15m"), idp.Locked, "key"},
		"a lock by browser":             {lockoutAlone("user_agent:1/15m"), idp.Locked, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, who := range []string{"alice", "zoe"} {
				h := small(t, tc.change, func(c *config.Config) { c.Lockout.Response = "page" })
				h.addUser(t, "alice")
				h.codes(t, 1, "192.0.2.1", who, "wrong password")
				_, err := h.tryLogIn(t, "192.0.2.1", who, "wrong password")
				if e, ok := errors.AsType[*idp.Error](err); !ok || e.Kind != tc.kind || len(e.Args) != 1 || e.Args["scope"] != tc.scope {
					t.Errorf("%s: got %+v, want the kind %d and the scope %q", who, err, tc.kind, tc.scope)
				}
			}
		})
	}
}
