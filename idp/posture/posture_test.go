package posture_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/posture"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

// load reads settings as a server would, each "key=value", of an instance that has nothing to find.
func load(t testing.TB, set ...string) posture.Input {
	t.Helper()
	set = append([]string{
		"issuer=https://id.example", "proxy.trusted_hops=1", "proxy.trusted_cidrs=[\"10.0.0.0/8\"]",
		"mail.transport=smtp://mail.id.example", "mail.from=no-reply@id.example",
		"security.contacts=[\"mailto:security@id.example\"]",
	}, set...)
	loaded, err := config.Load(config.Source{Set: set})
	if err != nil {
		t.Fatalf("load %q: %v", set, err)
	}
	return posture.Input{Config: loaded.Config, Deploy: true, Set: loaded.IsSet, Memory: 8 << 30}
}

// A want is a finding without its words.
type want struct {
	id    string
	level posture.Level
	key   string
}

func (w want) String() string { return fmt.Sprintf("%s %s %s", w.id, w.level, w.key) }

func findings(t testing.TB, in posture.Input) []posture.Finding {
	t.Helper()
	list, err := posture.Check(t.Context(), in)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	for _, f := range list {
		if f.Title == "" || f.Remedy == "" || !strings.HasSuffix(f.Detail, ".") {
			t.Errorf("%s says too little: %+v", f.ID, f)
		}
	}
	return list
}

// wantFindings fails the test where in has others.
func wantFindings(t testing.TB, in posture.Input, wanted ...want) {
	t.Helper()
	got := []want{}
	for _, f := range findings(t, in) {
		got = append(got, want{f.ID, f.Level, f.Key})
	}
	for _, list := range [][]want{got, wanted} {
		slices.SortFunc(list, func(a, b want) int { return strings.Compare(a.String(), b.String()) })
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("got  %v\nwant %v", got, wanted)
	}
}

const (
	info    = posture.Info
	warning = posture.Warning
	failed  = posture.Error
)

func TestADefaultInstanceHasNothingToFind(t *testing.T) {
	wantFindings(t, load(t))
}

func TestS0_01_RateLimitsThatAreOffAreAnError(t *testing.T) {
	wantFindings(t, load(t, "rate_limits=false"), want{"W101", failed, "rate_limits"})
}

func TestAWeakLimitIsFound(t *testing.T) {
	for text, found := range map[string]bool{
		"30/m/ip":          false,
		"300/m/ip":         false, // ten times
		"301/m/ip":         true,
		"5/s/ip":           false,
		"6/s/ip":           true,
		"300/m/ip,9/h/key": false,
		"30/m/key":         true, // another scope
		"false":            true,
		"400/m/ip,30/m/ip": false, // the strictest holds
	} {
		var wanted []want
		if found {
			wanted = append(wanted, want{"W102", warning, "rate_limits.login"})
		}
		t.Run(text, func(t *testing.T) { wantFindings(t, load(t, "rate_limits.login="+text), wanted...) })
	}
}

func TestALimitThatAlwaysRefusesIsAnError(t *testing.T) {
	wantFindings(t, load(t, "rate_limits.login=0/m/ip"), want{"W121", failed, "rate_limits.login"})
	wantFindings(t, load(t, "rate_limits.login_failed=10/m/ip,5/5m/key, 0/d/key"), want{"W121", failed, "rate_limits.login_failed"})
	wantFindings(t, load(t, "rate_limits.invite=0/m/user"))
}

func TestALimitThatAStrangerUsesUpForEverybodyIsFound(t *testing.T) {
	wantFindings(t, load(t, "rate_limits.login=1/m/global"), want{"W122", warning, "rate_limits.login"})
	wantFindings(t, load(t, "rate_limits.login_failed=10/m/ip,5/5m/key,1000/m/global"), want{"W122", warning, "rate_limits.login_failed"})
	wantFindings(t, load(t, "rate_limits.login=301/m/global"),
		want{"W102", warning, "rate_limits.login"}, want{"W122", warning, "rate_limits.login"})
	wantFindings(t, load(t, "rate_limits.signup=1/m/global"))
}

func TestAWeakLockoutIsFound(t *testing.T) {
	for name, tc := range map[string]struct {
		set []string
		key string // of the finding, "" for none
	}{
		"ten times the failures":                {[]string{"lockout.failure_limit=50"}, ""},
		"more than that":                        {[]string{"lockout.failure_limit=51"}, "lockout.failure_limit"},
		"a tenth of the time":                   {[]string{"lockout.cooloff_time=90s"}, ""},
		"less than that":                        {[]string{"lockout.cooloff_time=89s"}, "lockout.cooloff_time"},
		"less than that, in hours":              {[]string{"lockout.cooloff_time=0.02"}, "lockout.cooloff_time"},
		"less than that, as ISO 8601 writes it": {[]string{"lockout.cooloff_time=PT1M29S"}, "lockout.cooloff_time"},
		"hours":                                 {[]string{"lockout.cooloff_time=2"}, ""},
		"a day, as ISO 8601 writes it":          {[]string{"lockout.cooloff_time=P1DT1H"}, ""},
		"an address that may fail 300 times":    {[]string{"lockout.parameters=[\"username+ip_address\", \"ip_address:300/15m\"]"}, ""},
		"one that may fail more often":          {[]string{"lockout.parameters=[\"username+ip_address\", \"ip_address:301/15m\"]"}, "lockout.parameters"},
		"one that waits for a minute":           {[]string{"lockout.parameters=[\"username+ip_address\", \"ip_address:30/1m\"]"}, "lockout.parameters"},
		"one that waits for good":               {[]string{"lockout.policies=[\"client=x => username+ip_address:5/1h\"]"}, ""},
		"administrators who may fail 51 times":  {[]string{"lockout.policies=[\"role=admin => username+ip_address:51/1h\"]"}, "lockout.policies"},
		"a limit beside tiers":                  {[]string{"lockout.tiers=[\"3:1m\", \"6:10m\"]"}, ""},
		"tiers that begin late":                 {[]string{"lockout.tiers=[\"51:15m\"]"}, "lockout.tiers"},
		"tiers that end early":                  {[]string{"lockout.tiers=[\"5:1m\"]"}, "lockout.tiers"},
	} {
		t.Run(name, func(t *testing.T) {
			var wanted []want
			if tc.key != "" {
				wanted = append(wanted, want{"W222", warning, tc.key})
			}
			wantFindings(t, load(t, tc.set...), wanted...)
		})
	}
}

func TestTheRemedyOfALockWithoutEndFitsWhatIsCounted(t *testing.T) {
	for group, flag := range map[string]string{
		"username+ip_address:5/none": "--user NAME", "ip_address:30/none": "--ip ADDRESS", "client_id+device_cookie:5/none": "--all",
	} {
		for _, f := range findings(t, load(t, "lockout.parameters=[\""+group+"\"]")) {
			if f.ID == "W207" && !strings.Contains(f.Remedy, "`postern lockout reset "+flag+"`") {
				t.Errorf("%s: the remedy is %s, want %s", group, f.Remedy, flag)
			}
		}
	}
}

func TestTheWeightierConsequenceOfAnUnknownProxyComesFirst(t *testing.T) {
	in := load(t)
	in.Config.Proxy = config.Proxy{Order: "right-most"}
	for _, f := range findings(t, in) {
		shared, idle := strings.Index(f.Detail, "share one budget"), strings.Index(f.Detail, "honeypot.block_after has no effect")
		if f.ID == "W219" && (shared < 0 || idle < shared) {
			t.Errorf("it says %s", f.Detail)
		}
	}
}

func TestS0_02_CountersInTheMemoryOfAProcessAreFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.handler=memory"),
		want{"W103", warning, "lockout.handler"}, want{"W204", warning, "lockout.handler"})
	in := load(t, "lockout.handler=memory")
	in.Config.Database.URL = "postgres://db/postern"
	wantFindings(t, in, want{"W103", failed, "lockout.handler"}, want{"W204", failed, "lockout.handler"})
}

func TestS4_17_AStoreThatCommandsDoNotReachIsFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.handler=memory"),
		want{"W103", warning, "lockout.handler"}, want{"W204", warning, "lockout.handler"})
}

func TestS0_19_S4_51_HopsWithoutNetworksAreFound(t *testing.T) {
	in := load(t)
	in.Config.Proxy.TrustedCIDRs = nil
	wantFindings(t, in, want{"W214", warning, "proxy.trusted_cidrs"})
	in.Config.Listen = "127.0.0.1:8080"
	wantFindings(t, in, want{"W214", info, "proxy.trusted_cidrs"})
	in = load(t)
	in.Config.Proxy.TrustedCIDRs = append(in.Config.Proxy.TrustedCIDRs, netip.MustParsePrefix("0.0.0.0/0"))
	wantFindings(t, in, want{"W214", warning, "proxy.trusted_cidrs"})
	in.Config.Proxy = config.Proxy{ClientIPHeader: "X-Real-IP", TrustedCIDRs: []netip.Prefix{netip.MustParsePrefix("::/0")}, Order: "right-most"}
	wantFindings(t, in, want{"W214", warning, "proxy.trusted_cidrs"})
}

func TestS0_21_S4_49_TheLeftEndOfTheHeaderIsAnError(t *testing.T) {
	wantFindings(t, load(t, "proxy.order=left-most"), want{"W213", failed, "proxy.order"})
	wantFindings(t, load(t, "proxy.order=left-most", "proxy.i_know_edge_overwrites=true"), want{"W213", warning, "proxy.order"})
}

func TestS4_01_LockoutThatIsOffIsAnError(t *testing.T) {
	wantFindings(t, load(t, "lockout.enabled=false"), want{"W201", failed, "lockout.enabled"})
	wantFindings(t, load(t, "lockout.parameters=[]"), want{"W201", failed, "lockout.parameters"})
}

func TestS4_03_ADryRunIsFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.dry_run=true"), want{"W202", warning, "lockout.dry_run"})
}

func TestS4_04_S4_45_ALockWithoutEndIsFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.preset=hard"), want{"W207", warning, "lockout.parameters"})
	wantFindings(t, load(t, "lockout.cooloff_time=none"), want{"W207", warning, "lockout.parameters"})
	wantFindings(t, load(t, "lockout.policies=[\"role=admin => username+ip_address:5/none\"]"), want{"W207", warning, "lockout.policies"})
}

func TestS4_06_ALockThatAttemptsProlongIsFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.reset_cooloff_on_failure=true"), want{"W208", info, "lockout.reset_cooloff_on_failure"})
}

func TestS4_11_TheUserAgentIsFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.parameters=[\"ip_address+user_agent\"]"), want{"W206", warning, "lockout.parameters"})
}

func TestS4_13_ParametersWithoutTheAddressAreFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.parameters=[\"username\"]"), want{"W205", warning, "lockout.parameters"})
	wantFindings(t, load(t, "lockout.parameters=[\"username:49/1h\"]"), want{"W205", warning, "lockout.parameters"})
	wantFindings(t, load(t, "lockout.parameters=[\"username:50/1h\"]"))
	wantFindings(t, load(t, "lockout.parameters=[\"username+device_cookie\"]"))
}

func TestS4_15_S4_55_TheHandlerThatCountsNothingIsAnError(t *testing.T) {
	in := load(t)
	in.Config.Lockout.Handler = "dummy"
	wantFindings(t, in, want{"W203", failed, "lockout.handler"})
}

func TestS4_33_LoginsThatNobodyRecordsAreFound(t *testing.T) {
	wantFindings(t, load(t, "audit.logins=false"), want{"W216", warning, "audit.logins"})
}

func TestS4_54_LocksInRedisAreFound(t *testing.T) {
	wantFindings(t, load(t, "lockout.handler=redis", "redis.url=redis://127.0.0.1:6379/0"), want{"W217", info, "lockout.handler"})
}

// TestS4_62 has the findings of django-axes' checks, W001 to W008, by what they are called here. Its
// W002, a middleware that is missing, cannot be: there is no other way to a secret.
func TestS4_62_EachCheckOfDjangoAxesIsTriggered(t *testing.T) {
	for name, tc := range map[string]struct {
		set   []string
		spoil func(c *config.Config)
		want  []want
	}{
		"W001: a store that is not shared": {set: []string{"lockout.handler=memory"},
			want: []want{{"W103", warning, "lockout.handler"}, {"W204", warning, "lockout.handler"}}},
		"W003: the handler": {spoil: func(c *config.Config) { c.Lockout.Handler = "dummy" }, want: []want{{"W203", failed, "lockout.handler"}}},
		"W004: deprecated keys": {set: []string{
			"lockout.only_user_failures=true", "lockout.lock_out_by_combination_user_and_ip=true", "lockout.lock_out_by_user_or_ip=true", "lockout.use_user_agent=true",
		}, want: []want{
			{"W210", warning, "lockout.only_user_failures"}, {"W210", warning, "lockout.lock_out_by_combination_user_and_ip"},
			{"W210", warning, "lockout.lock_out_by_user_or_ip"}, {"W210", warning, "lockout.use_user_agent"}, {"W205", warning, "lockout.parameters"},
		}},
		"W005: an override that cannot be resolved": {spoil: func(c *config.Config) { c.Lockout.Policies = []string{"planet=mars => username"} },
			want: []want{{"W221", failed, "lockout.policies"}}},
		"W006: parameters without the address": {set: []string{"lockout.parameters=[\"username\"]"}, want: []want{{"W205", warning, "lockout.parameters"}}},
		"W007: tiers and a limit": {set: []string{"lockout.tiers=[\"3:1m\", \"6:10m\"]", "lockout.failure_limit=5"},
			want: []want{{"W209", failed, "lockout.failure_limit"}}},
		"W007: tiers and a cool-off time": {set: []string{"lockout.tiers=[\"3:1m\", \"6:10m\"]", "lockout.cooloff_time=1h"},
			want: []want{{"W209", failed, "lockout.cooloff_time"}}},
		"W008: tiers that are not sorted": {spoil: func(c *config.Config) { c.Lockout.Tiers = []string{"6:10m", "3:1m"} },
			want: []want{{"W221", failed, "lockout.tiers"}}},
		"tiers alone": {set: []string{"lockout.tiers=[\"3:1m\", \"6:10m\"]"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := load(t, tc.set...)
			if tc.spoil != nil {
				tc.spoil(in.Config)
			}
			wantFindings(t, in, tc.want...)
		})
	}
}

func TestWhatOnlySettingsTell(t *testing.T) {
	for name, tc := range map[string]struct {
		set   []string
		spoil func(in *posture.Input)
		want  []want
	}{
		"an issuer with http": {spoil: func(in *posture.Input) { in.Config.Issuer = "http://localhost:8080" }, want: []want{{"W032", failed, "issuer"}}},
		"public metrics":      {set: []string{"metrics.listen=0.0.0.0:9090"}, want: []want{{"W040", warning, "metrics.listen"}}},
		"metrics everywhere":  {set: []string{"metrics.listen=:9090"}, want: []want{{"W040", warning, "metrics.listen"}}},
		"no metrics":          {set: []string{"metrics.listen=off"}},
		"short passwords":     {set: []string{"password.min_length=11"}, want: []want{{"W106", warning, "password.min_length"}}},
		"cheap hashes": {spoil: func(in *posture.Input) { in.Config.Password.Argon2.MemoryKiB = 7168 },
			want: []want{{"W109", failed, "password.argon2.memory_kib"}}},
		"hashes at the floor": {set: []string{"password.argon2.memory_kib=7168", "password.argon2.time=5"}},
		"more memory than there is": {spoil: func(in *posture.Input) { in.Memory = 1023 << 20 },
			want: []want{{"W110", warning, "password.hash_memory_mib"}}},
		"twice the memory":          {spoil: func(in *posture.Input) { in.Memory = 1024 << 20 }},
		"nobody to report holes to": {spoil: func(in *posture.Input) { in.Config.Security.Contacts = nil }, want: []want{{"W037", info, "security.contacts"}}},
		"a security.txt that is over": {set: []string{"security.expires=2026-01-31T00:00:00Z"}, spoil: at("2026-01-31T00:00:00Z"),
			want: []want{{"W037", warning, "security.expires"}}},
		"a security.txt of today":        {set: []string{"security.expires=2026-01-31T00:00:00Z"}, spoil: at("2026-01-30T23:59:59Z")},
		"accounts that can be asked for": {set: []string{"login.prevent_enumeration=false"}, want: []want{{"W104", warning, "login.prevent_enumeration"}}},
		"claims that several may have":   {set: []string{"login.prevent_enumeration=strict"}},
		"addresses of anybody":           {set: []string{"email.verification=none"}, want: []want{{"W105", warning, "email.verification"}}},
		"common passwords":               {set: []string{"password.validators=[\"length\"]"}, want: []want{{"W107", warning, "password.validators"}}},
		"characters of several kinds":    {set: []string{"password.validators=[\"common\", \"complexity\"]"}, want: []want{{"W108", info, "password.validators"}}},
		"sessions that outlive a change": {set: []string{"sessions.end_on_password_change=false"}, want: []want{{"W111", warning, "sessions.end_on_password_change"}}},
		"no proof anew":                  {set: []string{"sudo.required=false"}, want: []want{{"W113", warning, "sudo.required"}}},
		"a proof that is old":            {set: []string{"sudo.timeout=61m"}, want: []want{{"W113", warning, "sudo.timeout"}}},
		"a proof of an hour":             {set: []string{"sudo.timeout=1h"}},
		"codes by mail":                  {set: []string{"login.code.enabled=true"}, want: []want{{"W117", warning, "login.code.enabled"}}},
		"codes by no mail": {set: []string{"login.code.enabled=true"}, spoil: func(in *posture.Input) { in.Config.Mail.Transport = "" },
			want: []want{{"W116", failed, "mail.transport"}, {"W117", warning, "login.code.enabled"}}},
		"sign-up": {set: []string{"signup.mode=open"}},
		"sign-up as anybody": {set: []string{"signup.mode=open", "email.verification=optional"},
			want: []want{{"W118", warning, "signup.mode"}}},
		"sign-up by invitation without proof": {set: []string{"signup.mode=invite", "email.verification=optional"}},
		"sign-up that waits for no mail": {set: []string{"signup.mode=open"}, spoil: func(in *posture.Input) { in.Config.Mail.Transport = "" },
			want: []want{{"W116", failed, "mail.transport"}}},
		"sign-up by claims that nobody can prove": {set: []string{"signup.mode=invite", "email.verification=optional", "login.prevent_enumeration=strict"},
			spoil: func(in *posture.Input) { in.Config.Mail.Transport = "" }, want: []want{{"W116", failed, "mail.transport"}}},
		"disposable addresses":    {set: []string{"email.allow_disposable=true"}, want: []want{{"W119", info, "email.allow_disposable"}}},
		"sign-up without a trap":  {set: []string{"signup.mode=open", "signup.honeypot_field="}, want: []want{{"W120", warning, "signup.honeypot_field"}}},
		"no sign-up and no trap":  {set: []string{"signup.honeypot_field="}},
		"browsers are remembered": {set: []string{"sessions.remember=always"}, want: []want{{"W112", info, "sessions.remember"}}},
		"no mail":                 {spoil: func(in *posture.Input) { in.Config.Mail.Transport = "" }, want: []want{{"W116", info, "mail.transport"}}},
		"mail that stays in a folder": {spoil: func(in *posture.Input) { in.Config.Mail.Transport = "dir:mails" },
			want: []want{{"W116", warning, "mail.transport"}}},
		"mail that stays in a folder of a trial": {spoil: func(in *posture.Input) { in.Config.Mail.Transport, in.Config.Profile = "dir:mails", "development" },
			want: []want{{"W018", failed, "profile"}}},
		"an allow list of everybody": {set: []string{"lockout.allow_cidrs=[\"0.0.0.0/0\"]", "lockout.never_lock_allowed=true"},
			want: []want{{"W211", failed, "lockout.allow_cidrs"}}},
		"an allow list of everybody, whom the honeypot blocks no more": {set: []string{"lockout.allow_cidrs=[\"0.0.0.0/0\"]"},
			want: []want{{"W211", failed, "lockout.allow_cidrs"}}},
		"an allow list of everybody that nothing uses":        {set: []string{"lockout.allow_cidrs=[\"0.0.0.0/0\"]", "honeypot.block_after=0"}},
		"an allow list of an office, whom no honeypot blocks": {set: []string{"lockout.allow_cidrs=[\"10.1.0.0/16\"]"}},
		"an allow list with a proxy": {set: []string{"lockout.allow_cidrs=[\"192.0.2.0/24\", \"10.1.0.0/16\"]", "lockout.only_allowed=true"},
			want: []want{{"W211", warning, "lockout.allow_cidrs"}}},
		"an allow list of public addresses": {set: []string{"lockout.allow_cidrs=[\"192.0.2.0/24\"]", "lockout.only_allowed=true"}},
		"an allow list of private addresses and no proxy": {set: []string{"lockout.allow_cidrs=[\"10.0.0.0/8\"]", "lockout.only_allowed=true"},
			spoil: func(in *posture.Input) { in.Config.Proxy = config.Proxy{}; in.Config.TLS.Cert = "cert.pem" }},
		"exempt networks": {set: []string{"rate_limits.exempt_cidrs=[\"192.0.2.0/24\"]"}, want: []want{{"W215", warning, "rate_limits.exempt_cidrs"}}},
		"client authentication goes on": {set: []string{"rate_limits.client_auth_fail_open=true"},
			want: []want{{"W218", warning, "rate_limits.client_auth_fail_open"}}},
		"a proxy that nobody told of": {spoil: func(in *posture.Input) { in.Config.Proxy = config.Proxy{Order: "right-most"} },
			want: []want{{"W219", warning, "proxy.trusted_hops"}}},
		"https of our own": {spoil: func(in *posture.Input) {
			in.Config.Proxy, in.Config.TLS.Cert = config.Proxy{Order: "right-most"}, "cert.pem"
		}},
		"a redirect that nothing leads to": {set: []string{"lockout.redirect_url=/help"}, want: []want{{"W223", info, "lockout.redirect_url"}}},
		"a redirect":                       {set: []string{"lockout.redirect_url=/help", "lockout.response=redirect"}},
		"minutes that are hours":           {set: []string{"lockout.cooloff_time=15"}, want: []want{{"W224", info, "lockout.cooloff_time"}}},
		"hours":                            {set: []string{"lockout.cooloff_time=4"}},
		"half hours":                       {set: []string{"lockout.cooloff_time=12.5"}},
		"no honeypot":                      {set: []string{"honeypot.paths=[]"}, want: []want{{"W403", info, "honeypot.paths"}}},
		"administrators without":           {set: []string{"mfa.policies=[]"}, want: []want{{"W302", warning, "mfa.policies"}}},
		"administrators as they like":      {set: []string{`mfa.policies=["role=admin => optional"]`}, want: []want{{"W302", warning, "mfa.policies"}}},
		"everybody":                        {set: []string{"mfa.policies=[]", "mfa.policy=required"}},
		"a week":                           {set: []string{"mfa.enrol_grace=7d"}},
		"more than a week":                 {set: []string{"mfa.enrol_grace=169h"}, want: []want{{"W304", warning, "mfa.enrol_grace"}}},
		"trusted browsers":                 {set: []string{"mfa.trusted_browser.enabled=true"}, want: []want{{"W306", info, "mfa.trusted_browser.enabled"}}},
		"a limit of no amount":             {spoil: func(in *posture.Input) { in.Config.RateLimits.Invite = "x/m/ip" }, want: []want{{"W221", failed, "rate_limits.invite"}}},
	} {
		t.Run(name, func(t *testing.T) {
			in := load(t, tc.set...)
			if tc.spoil != nil {
				tc.spoil(&in)
			}
			wantFindings(t, in, tc.want...)
		})
	}
}

// at lets a check run at a time of RFC 3339.
func at(text string) func(in *posture.Input) {
	return func(in *posture.Input) {
		var err error
		if in.Now, err = time.Parse(time.RFC3339, text); err != nil {
			panic(err)
		}
	}
}

func TestATrialIsNotJudgedAsADeployment(t *testing.T) {
	loaded, err := config.Load(config.Source{Dev: true, Set: []string{"lockout.handler=dummy"}})
	if err != nil {
		t.Fatal(err)
	}
	wantFindings(t, posture.Input{Config: loaded.Config}, want{"W203", failed, "lockout.handler"}, want{"W116", info, "mail.transport"})
	wantFindings(t, posture.Input{Config: loaded.Config, Deploy: true, Memory: 8 << 30},
		want{"W203", failed, "lockout.handler"}, want{"W018", failed, "profile"}, want{"W032", failed, "issuer"}, want{"W037", info, "security.contacts"}, want{"W116", info, "mail.transport"})
}

func TestFindingsAreTheWorstFirst(t *testing.T) {
	in := load(t, "sessions.remember=always", "lockout.dry_run=true", "rate_limits=false")
	var ids []string
	for _, f := range findings(t, in) {
		ids = append(ids, f.ID)
	}
	if want := []string{"W101", "W202", "W112"}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
	b, err := json.Marshal(findings(t, in)[0])
	if err != nil || !bytes.Contains(b, []byte(`"id":"W101","level":"error"`)) || !bytes.Contains(b, []byte(`"key":"rate_limits"`)) {
		t.Errorf("got %s and %v, want the ID, the level's word and the key", b, err)
	}
}

func TestS4_62_EveryRiskHasATestThatTriggersIt(t *testing.T) {
	var source []byte
	for _, name := range []string{"posture_test.go", "factor_test.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, b...)
	}
	for _, r := range posture.Risks() {
		if !bytes.Contains(source, []byte(`{"`+r.ID+`", `)) {
			t.Errorf("no test wants %s, %s", r.ID, r.Title)
		}
	}
}

func TestEveryRiskIsExplained(t *testing.T) {
	last := ""
	for _, r := range posture.Risks() {
		if r.ID <= last || !strings.HasSuffix(r.Explain, ".") || !strings.HasSuffix(r.Remedy, ".") || r.Title == "" {
			t.Errorf("after %s: %+v", last, r)
		}
		last = r.ID
		if got, ok := posture.Explain(r.ID); !ok || got.Title != r.Title {
			t.Errorf("%s is not found by its ID", r.ID)
		}
	}
	if _, ok := posture.Explain("W999"); ok {
		t.Error("W999 is explained")
	}
}

// house is a provider on a database, beside in.
func house(t testing.TB, s *storage.Store, in posture.Input, now *time.Time) posture.Input {
	t.Helper()
	return houseWith(t, s, in, now, secret.RootKey{Number: 1, Bytes: [32]byte{1}})
}

func houseWith(t testing.TB, s *storage.Store, in posture.Input, now *time.Time, keys ...secret.RootKey) posture.Input {
	t.Helper()
	ring, err := secret.NewKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	in.Config.Password.Argon2 = config.Argon2{MemoryKiB: 64, Time: 1, Parallelism: 1}
	in.Provider, err = idp.New(t.Context(), s, in.Config, ring, idp.Options{
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return *now },
	})
	if err != nil {
		t.Fatal(err)
	}
	in.Deploy = false
	return in
}

func TestHeadersThatAreNotBelievedAreFound(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		in := house(t, s, load(t), &now)
		note := func(why, address string) {
			visitor := &idp.Visitor{Address: netip.MustParseAddr(address)}
			in.Provider.NoteIgnoredHeader(idp.WithVisitor(t.Context(), visitor), why)
			now = now.Add(time.Hour)
		}
		said := func(key string) string {
			for _, f := range findings(t, in) {
				if f.Key == key {
					return f.Detail
				}
			}
			return ""
		}
		wantFindings(t, in)
		note("untrusted_peer", "203.0.113.9")
		wantFindings(t, in, want{"W212", info, "proxy.trusted_cidrs"})
		note("untrusted_peer", "203.0.113.10")
		note("not_one_address", "10.0.0.8")
		note("too_few_entries", "10.0.0.9")
		wantFindings(t, in, want{"W212", info, "proxy.trusted_cidrs"}, want{"W212", warning, "proxy.trusted_hops"})
		for key, parts := range map[string][]string{
			"proxy.trusted_cidrs": {"203.0.113.10", "untrusted_peer", "2 times"}, "proxy.trusted_hops": {"10.0.0.9", "too_few_entries", "2 times"},
		} {
			for _, part := range parts {
				if !strings.Contains(said(key), part) {
					t.Errorf("%s: %q lacks %s", key, said(key), part)
				}
			}
		}
		now = now.Add(7*24*time.Hour + time.Second)
		wantFindings(t, in)
		note("missing", "10.0.0.9")
		wantFindings(t, in, want{"W226", warning, "proxy.trusted_cidrs"})
		if got := said("proxy.trusted_cidrs"); !strings.Contains(got, "10.0.0.9") {
			t.Errorf("it says %s", got)
		}
	})
}

func TestMailsOfTheHoneypotThatNobodyGetsAreFound(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		in := house(t, s, load(t), &now)
		in.Deploy = true
		in.Config.Password.Argon2 = config.Default().Password.Argon2
		nobody := want{"W225", warning, "honeypot.mail"}
		wantFindings(t, in, nobody)
		add := func(u idp.NewUser) idp.User {
			t.Helper()
			added, err := in.Provider.AddUser(t.Context(), u)
			if err != nil {
				t.Fatal(err)
			}
			return added
		}
		add(idp.NewUser{Username: "alice", Email: "alice@example.com", EmailVerified: true})
		add(idp.NewUser{Username: "bob", Email: "bob@example.com", Admin: true})
		factorless := want{"W301", warning, ""}
		wantFindings(t, in, nobody, factorless)
		carol := add(idp.NewUser{Username: "carol", Email: "carol@example.com", EmailVerified: true, Admin: true})
		wantFindings(t, in, factorless)
		if err := in.Provider.DisableUser(t.Context(), carol.ID); err != nil {
			t.Fatal(err)
		}
		wantFindings(t, in, nobody, factorless)
		in.Config.Honeypot.Mail = false
		wantFindings(t, in, factorless)
	})
}

func TestUsersWhoWaitForAMailThatNobodySendsAreCounted(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		in := load(t)
		in.Config.Mail = config.Mail{}
		in = house(t, s, in, &now)
		in.Config.Password.Argon2 = config.Default().Password.Argon2
		said := func() posture.Finding {
			t.Helper()
			list := findings(t, in)
			if len(list) != 1 || list[0].ID != "W116" {
				t.Fatalf("got %+v, want W116 alone", list)
			}
			return list[0]
		}
		wantFindings(t, in, want{"W116", info, "mail.transport"})
		users := map[string]idp.User{}
		for _, u := range []idp.NewUser{
			{Username: "alice", Email: "alice@example.com", EmailVerified: true}, {Username: "bob"},
			{Username: "dave", Email: "dave@example.com"}, {Username: "erin", Email: "erin@example.com"},
		} {
			var err error
			if users[u.Username], err = in.Provider.AddUser(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		wantFindings(t, in, want{"W116", failed, "mail.transport"})
		if f := said(); !strings.Contains(f.Detail, "2 users whose address is not verified cannot get in") || !strings.Contains(f.Remedy, "`postern user verify NAME`") {
			t.Errorf("it says %s %s", f.Detail, f.Remedy)
		}
		if err := in.Provider.DisableUser(t.Context(), users["erin"].ID); err != nil {
			t.Fatal(err)
		}
		if f := said(); !strings.Contains(f.Detail, "1 user whose address") {
			t.Errorf("without erin it says %s", f.Detail)
		}
		in.Config.Email.Verification = "optional"
		wantFindings(t, in)
		in.Config.Email.Verification = "mandatory"
		in.Config.Signup.Mode = "open"
		wantFindings(t, in, want{"W116", failed, "mail.transport"}, want{"W116", failed, "mail.transport"})
		if err := in.Provider.DisableUser(t.Context(), users["dave"].ID); err != nil {
			t.Fatal(err)
		}
		wantFindings(t, in, want{"W116", failed, "mail.transport"})
		in.Config.Mail.Transport = "smtp://mail.example.com"
		wantFindings(t, in)
	})
}

func TestI14_SecretsOfSomebodyElsesMakingAreFound(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		in := house(t, s, load(t, "lockout.policies=[\"client=shop => username+ip_address:9/1h\", \"client=gone => username+ip_address:9/1h\"]"), &now)
		for id, text := range map[string]string{"shop": "", "weak": "a secret of twenty characters"} {
			addClient(t, in.Provider, id, text)
		}
		wantFindings(t, in, want{"W512", warning, ""}, want{"W220", warning, "lockout.policies"})
		for _, f := range findings(t, in) {
			switch {
			case f.ID == "W512" && f.Detail != "Clients: weak.":
				t.Errorf("W512 says %q, want weak alone", f.Detail)
			case f.ID == "W220" && !strings.Contains(f.Detail, "gone"):
				t.Errorf("W220 says %q, want the client that there is not", f.Detail)
			}
		}
	})
}

func TestADatabaseThatCannotBeAskedIsTold(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
	in := house(t, s, load(t, "lockout.dry_run=true"), &now)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	list, err := posture.Check(ctx, in)
	if err == nil || len(list) != 1 || list[0].ID != "W202" {
		t.Errorf("got %+v and %v, want what the settings tell, and an error", list, err)
	}
}

// addClient adds a client with that secret, or with a generated one where it is empty.
func addClient(t testing.TB, p *idp.Provider, id, text string) {
	t.Helper()
	c := idp.Client{ID: id, Metadata: idp.Metadata{
		RedirectURIs: idp.List{"https://rp.example/callback"}, TokenEndpointAuthMethod: idp.AuthBasic, ApplicationType: "web",
	}}
	if _, _, err := p.AddClient(t.Context(), c, text); err != nil {
		t.Fatalf("add %s: %v", id, err)
	}
}
