package docs_test

import (
	"strings"
	"testing"

	"postern/config"
)

// axes are the settings of django-axes, its deprecated ones with them.
var axes = strings.Fields(`
	AXES_ENABLED AXES_FAILURE_LIMIT AXES_LOCK_OUT_AT_FAILURE AXES_LOCKOUT_PARAMETERS AXES_COOLOFF_TIME
	AXES_USE_ATTEMPT_EXPIRATION AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT AXES_RESET_ON_SUCCESS AXES_LOCKOUT_TIERS
	AXES_ONLY_ADMIN_SITE AXES_ONLY_USER_FAILURES AXES_LOCK_OUT_BY_COMBINATION_USER_AND_IP AXES_LOCK_OUT_BY_USER_OR_IP
	AXES_USE_USER_AGENT AXES_LOCKOUT_TEMPLATE AXES_LOCKOUT_URL AXES_LOCKOUT_CALLABLE AXES_HTTP_RESPONSE_CODE
	AXES_COOLOFF_MESSAGE AXES_PERMALOCK_MESSAGE AXES_NEVER_LOCKOUT_GET AXES_ALLOWED_CORS_ORIGINS AXES_IP_WHITELIST
	AXES_NEVER_LOCKOUT_WHITELIST AXES_ONLY_WHITELIST AXES_IP_BLACKLIST AXES_WHITELIST_CALLABLE AXES_HANDLER AXES_CACHE
	AXES_USE_CACHE AXES_USERNAME_FORM_FIELD AXES_PASSWORD_FORM_FIELD AXES_USERNAME_CALLABLE AXES_CLIENT_STR_CALLABLE
	AXES_DISABLE_ACCESS_LOG AXES_DISABLE_SUCCESS_ACCESS_LOG AXES_ENABLE_ACCESS_FAILURE_LOG
	AXES_ACCESS_FAILURE_LOG_PER_USER_LIMIT AXES_SENSITIVE_PARAMETERS AXES_VERBOSE AXES_LOGGER AXES_ENABLE_ADMIN
	AXES_CLIENT_IP_CALLABLE AXES_IPWARE_PROXY_COUNT AXES_IPWARE_PROXY_ORDER AXES_IPWARE_PROXY_TRUSTED_IPS
	AXES_IPWARE_META_PRECEDENCE_ORDER AXES_PROXY_COUNT AXES_PROXY_ORDER AXES_PROXY_TRUSTED_IPS
	AXES_META_PRECEDENCE_ORDER IPWARE_META_PRECEDENCE_ORDER`)

// rows are the rows of a document's tables, each as its cells.
func rows(text string) [][]string {
	var all [][]string
	for line := range strings.Lines(text) {
		if inner, ok := strings.CutPrefix(strings.TrimSpace(line), "| "); ok {
			all = append(all, strings.Split(strings.TrimSuffix(inner, " |"), " | "))
		}
	}
	return all
}

func TestLockoutDocumentHasEveryKeyOfTheGate(t *testing.T) {
	text := read(t, "docs/lockout.md")
	var keys []config.Key
	for _, section := range []string{"rate_limits", "lockout", "honeypot", "audit", "proxy"} {
		keys = append(keys, config.Under(section)...)
	}
	for _, k := range keys {
		if !strings.Contains(text, "`"+k.Path+"`") && !strings.Contains(text, "`"+k.Path+": ") {
			t.Errorf("%s is not there", k.Path)
		}
	}
}

func TestLockoutDocumentHasEverySettingOfDjangoAxesOnce(t *testing.T) {
	found := map[string]int{}
	for _, row := range rows(read(t, "docs/lockout.md")) {
		name := strings.Trim(row[0], "`")
		if !strings.HasPrefix(name, "AXES_") && !strings.HasPrefix(name, "IPWARE_") {
			continue
		}
		found[name]++
		if len(row) != 5 {
			t.Errorf("%s has %d cells, want 5", name, len(row))
		}
	}
	for _, name := range axes {
		if found[name] != 1 {
			t.Errorf("%s has %d rows, want 1", name, found[name])
		}
		delete(found, name)
	}
	for name := range found {
		t.Errorf("%s is none of the list", name)
	}
}

func TestLockoutDocumentTellsTheDefaultsThatHold(t *testing.T) {
	limits := map[string]bool{}
	for _, row := range rows(read(t, "docs/lockout.md")) {
		if len(row) != 5 {
			continue
		}
		path := strings.Trim(strings.TrimSuffix(strings.TrimSuffix(row[1], ", reversed"), " *"), "`")
		path, value, _ := strings.Cut(path, ": ")
		k, known := config.FindKey(path)
		if !known || !strings.HasPrefix(row[3], "`") {
			continue
		}
		limits[path] = true
		if want := "`" + k.Default + "`"; row[3] != want && value == "" {
			t.Errorf("%s: %s, want %s", path, row[3], want)
		}
	}
	for _, k := range config.Under("rate_limits") {
		if strings.Contains(k.Default, "/") && !limits[k.Path] {
			t.Errorf("%s has no row with its default", k.Path)
		}
	}
}

func TestLockoutDocumentNamesNoKeyThatIsNotThere(t *testing.T) {
	for _, part := range strings.Split(read(t, "docs/lockout.md"), "`") {
		path, _, _ := strings.Cut(part, ":")
		section, name, dotted := strings.Cut(path, ".")
		if !dotted || strings.ContainsAny(path, " \n/") || len(config.Under(section)) == 0 || name == "" {
			continue
		}
		if _, known := config.FindKey(path); !known && path != "lockout.triggered" { // which is an event
			t.Errorf("there is no key %s", path)
		}
	}
}
