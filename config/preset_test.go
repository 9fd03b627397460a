package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/config"
)

const issuer = "issuer: https://id.example.com\n"

// from are the values of keys and where they come from.
func from(loaded *config.Loaded) map[string]string {
	all := map[string]string{}
	for _, s := range loaded.Settings() {
		all[s.Key] = s.Value + " from " + s.From
	}
	return all
}

// compare holds settings to what is wanted of them.
func compare(t *testing.T, loaded *config.Loaded, want map[string]string) {
	t.Helper()
	got := from(loaded)
	for key, text := range want {
		if got[key] != text {
			t.Errorf("%s: got %s, want %s", key, got[key], text)
		}
	}
}

func TestLockoutWithoutPresetHasItsOwnDefaults(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer})
	compare(t, load(t, config.Source{}), map[string]string{
		"lockout.preset":        "none from default",
		"lockout.parameters":    "[username+ip_address, ip_address:30/15m, username:50/1h] from default",
		"lockout.failure_limit": "5 from default",
		"lockout.cooloff_time":  "15m from default",
		"lockout.sliding":       "true from default",
		"metrics.listen":        "127.0.0.1:9090 from default",
	})
}

func TestS4_43_PresetClassicLocksFor30MinutesAtTheThirdFailure(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer + "lockout: {preset: classic}\n"})
	const by = " from default with lockout.preset: classic"
	compare(t, load(t, config.Source{}), map[string]string{
		"lockout.failure_limit": "3" + by,
		"lockout.cooloff_time":  "30m" + by,
		"lockout.sliding":       "false" + by,
		"lockout.policies":      "[role=admin => username+ip_address:3/1h, ip_address:30/15m, username:50/1h]" + by,
		"lockout.parameters":    "[username+ip_address, ip_address:30/15m, username:50/1h] from default",
	})
}

func TestS4_44_PresetRollingAllowsFiveInAny15Minutes(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer + "lockout: {preset: rolling}\n"})
	const by = " from default with lockout.preset: rolling"
	compare(t, load(t, config.Source{}), map[string]string{
		"lockout.failure_limit": "5" + by,
		"lockout.cooloff_time":  "15m" + by,
		"lockout.sliding":       "true" + by,
	})
}

func TestS4_45_PresetHardLocksAtTheFifthFailureWithoutEnd(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer + "lockout: {preset: hard}\n"})
	const by = " from default with lockout.preset: hard"
	loaded := load(t, config.Source{})
	compare(t, loaded, map[string]string{
		"lockout.failure_limit": "5" + by,
		"lockout.cooloff_time":  "none" + by,
		"lockout.policies":      by, // an administrator would be locked for an hour only
	})
	if loaded.Lockout.Policies != nil {
		t.Errorf("got the policies %q, want none", loaded.Lockout.Policies)
	}
}

func TestPresetAxesCompatHasTheDefaultsOfDjangoAxes(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer + "lockout: {preset: axes-compat}\n"})
	const by = " from default with lockout.preset: axes-compat"
	compare(t, load(t, config.Source{}), map[string]string{
		"lockout.enabled":                  "true from default",
		"lockout.parameters":               "[ip_address]" + by,
		"lockout.policies":                 by,
		"lockout.failure_limit":            "3" + by,
		"lockout.cooloff_time":             "none" + by,
		"lockout.sliding":                  "false" + by,
		"lockout.reset_cooloff_on_failure": "true" + by,
		"lockout.reset_on_success":         "false" + by,
		"lockout.response":                 "page" + by,
		"lockout.status":                   "429" + by,
		"lockout.never_lock_get":           "false" + by,
		"lockout.sensitive_parameters":     "[username, ip_address]" + by,
		"lockout.failure_log":              "false" + by,
		"lockout.failure_log_per_user":     "1000 from default",
		"lockout.handler":                  "database from default",
	})
}

func TestLayersWinOverPresets(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer + "lockout:\n  preset: env:PRESET\n  failure_limit: 7\n"})
	compare(t, load(t, config.Source{Environ: []string{"PRESET=hard", `POSTERN_LOCKOUT__POLICIES=["cidr=10.0.0.0/8 => ip_address:9/1m"]`}}), map[string]string{
		"lockout.preset":        "hard from postern.yaml:3:11",
		"lockout.failure_limit": "7 from postern.yaml:4:18",
		"lockout.cooloff_time":  "none from default with lockout.preset: hard",
		"lockout.policies":      "[cidr=10.0.0.0/8 => ip_address:9/1m] from environment POSTERN_LOCKOUT__POLICIES",
	})
}

func TestDefaultsOfPresetsAreNotSet(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer + "lockout: {preset: classic, tiers: [\"3:1m\"], only_user_failures: true}\n"})
	loaded := load(t, config.Source{})
	for key, want := range map[string]bool{
		"lockout.preset": true, "lockout.tiers": true, "lockout.failure_limit": false, "lockout.parameters": false, "lockout.sliding": false, "issuer": true,
	} {
		if got := loaded.IsSet(key); got != want {
			t.Errorf("%s: got %t, want %t", key, got, want)
		}
	}
}

func TestPresetsChangeNothingThatOthersLoad(t *testing.T) {
	in(t, map[string]string{"postern.yaml": issuer})
	load(t, config.Source{Set: []string{"lockout.preset=axes-compat", "lockout.only_user_failures=true"}})
	want := config.Default()
	want.Issuer = "https://id.example.com"
	if got := load(t, config.Source{}); show(got.Config) != show(want) {
		t.Errorf("got %s", show(got.Config))
	}
}

func TestMetricsAreOffByDefaultWithTheProfileDevelopment(t *testing.T) {
	in(t, nil)
	compare(t, load(t, config.Source{Dev: true}), map[string]string{"metrics.listen": "off from default with profile: development"})
	compare(t, load(t, config.Source{Dev: true, Set: []string{"metrics.listen=127.0.0.1:0"}}), map[string]string{"metrics.listen": "127.0.0.1:0 from flag --set metrics.listen"})
}

func TestExplanationTellsTheOtherDefaults(t *testing.T) {
	for key, want := range map[string][]string{
		"lockout.failure_limit": {"default   5\n", " 3 with lockout.preset: classic\n", " 5 with lockout.preset: hard\n", " 3 with lockout.preset: axes-compat\n"},
		"lockout.policies":      {" [] with lockout.preset: hard\n"},
		"metrics.listen":        {"default   127.0.0.1:9090\n", " off with profile: development\n"},
	} {
		k, ok := config.FindKey(key)
		if !ok {
			t.Fatalf("there is no key %s", key)
		}
		for _, line := range want {
			if !strings.Contains(k.Text(), line) {
				t.Errorf("%s lacks %q:\n%s", key, line, k.Text())
			}
		}
	}
}

func TestS4_46_DeprecatedSettingsHaveTheOrderOfDjangoAxes(t *testing.T) {
	const user, either, both, agent = 1, 2, 4, 8
	pair := []string{"username+ip_address"}
	withAgent := []string{"username+ip_address+user_agent"}
	for on, want := range [16][]string{
		0:                            nil,
		user:                         {"username"},
		either:                       {"username", "ip_address"},
		both:                         pair,
		agent:                        {"ip_address+user_agent"},
		user | either:                {"username"},
		user | both:                  {"username"},
		user | agent:                 {"username"},
		either | both:                {"username", "ip_address"},
		either | agent:               {"username+user_agent", "ip_address"},
		both | agent:                 withAgent,
		user | either | both:         {"username"},
		user | either | agent:        {"username"},
		user | both | agent:          {"username"},
		either | both | agent:        {"username+user_agent", "ip_address"},
		user | either | both | agent: {"username"},
	} {
		got, by := config.DeprecatedParameters(config.Lockout{
			OnlyUserFailures: on&user != 0, LockOutByUserOrIP: on&either != 0, LockOutByCombinationUserAndIP: on&both != 0, UseUserAgent: on&agent != 0,
		})
		if !slices.Equal(got, want) || (by == "") != (want == nil) {
			t.Errorf("%04b: got %q by %q, want %q", on, got, by, want)
		}
	}
}

// deprecated loads one deprecated setting that is on.
func deprecated(t *testing.T, key, want string) {
	t.Helper()
	in(t, map[string]string{"postern.yaml": issuer + "lockout: {preset: axes-compat, " + key + ": true}\n"})
	compare(t, load(t, config.Source{}), map[string]string{
		"lockout.parameters": fmt.Sprintf("%s from default with lockout.%s: true", want, key),
		"lockout." + key:     fmt.Sprintf("true from postern.yaml:2:%d", len("lockout: {preset: axes-compat, "+key+": ")+1),
	})
	compare(t, load(t, config.Source{Set: []string{`lockout.parameters=["client_id"]`}}), map[string]string{
		"lockout.parameters": "[client_id] from flag --set lockout.parameters",
	})
}

func TestS4_08_OnlyUserFailuresCountsTheUsernameAlone(t *testing.T) {
	deprecated(t, "only_user_failures", "[username]")
}

func TestS4_09_LockOutByCombinationCountsUsernameAndAddressTogether(t *testing.T) {
	deprecated(t, "lock_out_by_combination_user_and_ip", "[username+ip_address]")
}

func TestS4_10_LockOutByUserOrIPCountsEither(t *testing.T) {
	deprecated(t, "lock_out_by_user_or_ip", "[username, ip_address]")
}

func TestS4_11_UseUserAgentCountsAddressAndUserAgentTogether(t *testing.T) {
	deprecated(t, "use_user_agent", "[ip_address+user_agent]")
}
