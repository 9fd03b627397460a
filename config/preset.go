package config

import (
	"reflect"
	"slices"
)

// A variant is other defaults: they hold where a key has a value. Layers win over them.
type variant struct {
	key, value string
	defaults   map[string]any // by path, each of its field's type
}

// variants are in the order of their keys' fields. A preset of lockout leaves administrators no
// softer rule than others have.
var variants = []variant{
	{"profile", "development", map[string]any{
		"metrics.listen": "off",
	}},
	{"lockout.preset", "classic", map[string]any{
		"lockout.policies":      []string{"role=admin => username+ip_address:3/1h, ip_address:30/15m, username:50/1h"},
		"lockout.failure_limit": 3,
		"lockout.cooloff_time":  "30m",
		"lockout.sliding":       false,
	}},
	{"lockout.preset", "rolling", map[string]any{
		"lockout.failure_limit": 5,
		"lockout.cooloff_time":  "15m",
		"lockout.sliding":       true,
	}},
	{"lockout.preset", "hard", map[string]any{
		"lockout.policies":      []string(nil),
		"lockout.failure_limit": 5,
		"lockout.cooloff_time":  "none",
	}},
	{"lockout.preset", "axes-compat", map[string]any{
		"lockout.parameters":               []string{"ip_address"},
		"lockout.policies":                 []string(nil),
		"lockout.failure_limit":            3,
		"lockout.cooloff_time":             "none",
		"lockout.sliding":                  false,
		"lockout.reset_cooloff_on_failure": true,
		"lockout.reset_on_success":         false,
		"lockout.response":                 "page",
		"lockout.status":                   429,
		"lockout.never_lock_get":           false,
		"lockout.sensitive_parameters":     []string{"username", "ip_address"},
		"lockout.failure_log":              false,
	}},
}

// An Otherwise is the default of a key where another key has a value.
type Otherwise struct {
	When    string // "lockout.preset: classic"
	Default string // as it would be written
}

// Otherwise lists the other defaults of k.
func (k Key) Otherwise() []Otherwise {
	var all []Otherwise
	for _, v := range variants {
		if value, ok := v.defaults[k.Path]; ok {
			all = append(all, Otherwise{v.when(), orBrackets(format(reflect.ValueOf(value)))})
		}
	}
	return all
}

// orBrackets writes an empty list as a file would have it.
func orBrackets(text string) string {
	if text == "" {
		return "[]"
	}
	return text
}

func (v variant) when() string { return v.key + ": " + v.value }

// decides tells whether the value of a key chooses a variant.
func decides(k Key) bool {
	return slices.ContainsFunc(variants, func(v variant) bool { return v.key == k.Path })
}

// vary writes the defaults of the variants that cfg chooses.
func (l *loader) vary(cfg *Config) {
	root := reflect.ValueOf(cfg).Elem()
	for _, v := range variants {
		if k, _ := FindKey(v.key); root.FieldByIndex(k.index).String() != v.value {
			continue
		}
		for path, value := range v.defaults {
			k, _ := FindKey(path)
			root.FieldByIndex(k.index).Set(reflect.ValueOf(value))
			l.because[path] = Place{With: v.when()}
		}
	}
}

// translate turns the deprecated settings into lockout.parameters, unless a layer says what these
// are.
func (l *loader) translate(cfg *Config) {
	const path = "lockout.parameters"
	if _, set := l.values[path]; set {
		return
	}
	if parameters, by := deprecatedParameters(cfg.Lockout); by != "" {
		cfg.Lockout.Parameters = parameters
		l.because[path] = Place{With: by + ": true"}
	}
}

// deprecatedParameters are what the deprecated settings stand for, with the key that decides; by is
// empty where none is on. The order is django-axes': the username alone, where the user agent never
// counts; either of both; both together; the address alone. The user agent joins the first.
func deprecatedParameters(l Lockout) (parameters []string, by string) {
	switch {
	case l.OnlyUserFailures:
		return []string{"username"}, "lockout.only_user_failures"
	case l.LockOutByUserOrIP:
		parameters, by = []string{"username", "ip_address"}, "lockout.lock_out_by_user_or_ip"
	case l.LockOutByCombinationUserAndIP:
		parameters, by = []string{"username+ip_address"}, "lockout.lock_out_by_combination_user_and_ip"
	case l.UseUserAgent:
		parameters, by = []string{"ip_address"}, "lockout.use_user_agent"
	default:
		return nil, ""
	}
	if l.UseUserAgent {
		parameters[0] += "+user_agent"
	}
	return parameters, by
}
