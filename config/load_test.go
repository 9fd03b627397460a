package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// in makes an empty working directory with files of these names and texts.
func in(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func load(t *testing.T, s config.Source) *config.Loaded {
	t.Helper()
	loaded, err := config.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestLaterLayersWin(t *testing.T) {
	in(t, map[string]string{
		"one.yaml": "issuer: https://one.example.com\nlisten: \":1\"\nlog: {level: warn, format: json}\nlogin:\n  flow_timeout: 20m\n",
		"two.yaml": "issuer: https://two.example.com\nlisten: \":2\"\nlog:\n  level: error\n",
	})
	loaded := load(t, config.Source{
		Files:   []string{"one.yaml", "two.yaml"},
		Environ: []string{"POSTERN_LISTEN=:3", "POSTERN_ISSUER=https://three.example.com", "HOME=/root", "POSTERN_TEST_ALL=1"},
		Set:     []string{"issuer=https://four.example.com"},
	})
	got := map[string]string{}
	for _, s := range loaded.Settings() {
		got[s.Key] = s.Value + " from " + s.From
	}
	for key, want := range map[string]string{
		"issuer":             "https://four.example.com from flag --set issuer",
		"listen":             ":3 from environment POSTERN_LISTEN",
		"log.level":          "error from two.yaml:4:10",
		"log.format":         "json from one.yaml:3:28",
		"login.flow_timeout": "20m from one.yaml:5:17",
		"sessions.lifetime":  "14d from default",
	} {
		if got[key] != want {
			t.Errorf("%s: got %s, want %s", key, got[key], want)
		}
	}
}

func TestEveryKindOfValueIsReadFromEveryLayer(t *testing.T) {
	const file = `issuer: https://id.example.com
proxy: {trusted_hops: 2, trusted_cidrs: [10.0.0.0/8, "fd00::/8"]}
secrets:
  keys:
    - 1:one
    - file:second.key
sessions: {lifetime: 336h, idle_timeout: 1h30m}
password: {argon2: {parallelism: 4}}
rate_limits: false
branding:
  name: |-
    Literal
`
	in(t, map[string]string{"postern.yaml": file, "second.key": "2:two\n"})
	fromFile := load(t, config.Source{})
	os.Remove("postern.yaml")
	fromEnviron := load(t, config.Source{Environ: []string{
		"POSTERN_ISSUER=env:MY_ISSUER", "MY_ISSUER=https://id.example.com\n",
		"POSTERN_PROXY__TRUSTED_HOPS=2", `POSTERN_PROXY__TRUSTED_CIDRS=["10.0.0.0/8","fd00::/8"]`,
		"POSTERN_SECRETS__KEYS__0=1:one", "POSTERN_SECRETS__KEYS__1=file:second.key",
		"POSTERN_SESSIONS__LIFETIME=14d", "POSTERN_SESSIONS__IDLE_TIMEOUT=90m",
		"POSTERN_PASSWORD__ARGON2__PARALLELISM=4", "POSTERN_RATE_LIMITS=false", "POSTERN_BRANDING__NAME=env:NAME", "NAME=Literal\n",
	}})
	fromFlags := load(t, config.Source{Set: []string{
		"issuer=https://id.example.com", "proxy.trusted_hops=2", "proxy.trusted_cidrs.0=10.0.0.0/8", "proxy.trusted_cidrs.1=fd00::/8",
		`secrets.keys=["1:one","2:two"]`, "sessions.lifetime=14d", "sessions.idle_timeout=5400s",
		"password.argon2.parallelism=4", "rate_limits=false", "branding.name=Literal",
	}})
	want := config.Default()
	want.Issuer = "https://id.example.com"
	want.Proxy.TrustedHops = 2
	want.Secrets.Keys = []string{"1:one", "2:two"}
	want.Sessions.IdleTimeout = 90 * time.Minute
	want.Password.Argon2.Parallelism = 4
	want.RateLimits.Off = true
	want.Branding.Name = "Literal"
	for name, got := range map[string]*config.Loaded{"file": fromFile, "environment": fromEnviron, "flags": fromFlags} {
		if hops := got.Proxy.TrustedCIDRs; len(hops) != 2 || hops[0].String() != "10.0.0.0/8" || hops[1].String() != "fd00::/8" {
			t.Errorf("%s: trusted networks %v", name, hops)
		}
		got.Proxy.TrustedCIDRs = nil
		if a, b := show(got.Config), show(want); a != b {
			t.Errorf("%s: got %s, want %s", name, a, b)
		}
	}
}

func TestDevGivesAnIssuerOnLocalhost(t *testing.T) {
	in(t, nil)
	loaded := load(t, config.Source{Dev: true, Environ: []string{"POSTERN_LISTEN=127.0.0.1:9999"}})
	if loaded.Issuer != "http://localhost:9999" || loaded.Profile != "development" {
		t.Errorf("got issuer %q, profile %q", loaded.Issuer, loaded.Profile)
	}
	if chosen := load(t, config.Source{Dev: true, Environ: []string{"POSTERN_ISSUER=https://id.example.com"}}); chosen.Issuer != "https://id.example.com" {
		t.Errorf("a chosen issuer became %q", chosen.Issuer)
	}
}

func TestO3OneKeyIsEnoughForProduction(t *testing.T) {
	in(t, nil)
	load(t, config.Source{Environ: []string{"POSTERN_ISSUER=https://id.example.com"}})
}

func TestEmptyFilesAndSectionsChangeNothing(t *testing.T) {
	in(t, map[string]string{"a.yaml": "", "b.yaml": "# nothing\n", "c.yaml": "---\nlogin:\n  # flow_timeout: 1m\nissuer: https://id.example.com\n"})
	got := load(t, config.Source{Files: []string{"a.yaml", "b.yaml", "c.yaml"}})
	want := config.Default()
	want.Issuer = "https://id.example.com"
	if show(got.Config) != show(want) {
		t.Errorf("got %s", show(got.Config))
	}
}

func TestReportOfProblemsAsTheDocumentsShowIt(t *testing.T) {
	in(t, map[string]string{"postern.yaml": "# Postern\nlog:\n  level: info\n\nsessions:\n  remember: ask\n  idle_timeout: 2 weeks\n\n\n\nlisen: \":8080\"\n"})
	_, err := config.Load(config.Source{Environ: []string{"POSTERN_ISSUER=http://id.example.com"}})
	const want = `postern.yaml has 3 problems.

1  postern.yaml:7:17   sessions.idle_timeout
     7 |   idle_timeout: 2 weeks
       |                 ^ "2 weeks" is not a duration
   Write a number and a unit: 336h, or 14d.                     CFG-012

2  postern.yaml:11:1   lisen
    11 | lisen: ":8080"
       | ^ unknown key
   Did you mean listen?                                         CFG-001

3  environment   POSTERN_ISSUER
   "http://id.example.com" uses http for a public host.
   Use https, or run ` + "`postern serve --dev`" + ` for a local trial.   CFG-020

Docs: ` + "`postern help CFG-012`"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	const key, password = "1:c2VjcmV0c2VjcmV0c2VjcmV0", "hunter2hunter2"
	for name, file := range map[string]string{
		"wrong neighbour on the line":   "secrets: {keys: [\"" + key + "\"], other: 1}\n",
		"misspelled key":                "secrets:\n  kyes: [\"" + key + "\"]\n",
		"misspelled section":            "secret:\n  keys: [\"" + key + "\"]\n",
		"secret of no section":          "client_secret: " + key + "\n",
		"set twice":                     "secrets:\n  keys: [\"" + key + "\"]\n  keys: [\"" + key + "\"]\n",
		"a mapping in the list":         "secrets:\n  keys: [\"" + key + "\", {a: 1}]\n",
		"no list":                       "secrets:\n  keys: " + key + "\n",
		"no list, escaped":              "secrets:\n  keys: \"\\x31" + key[1:] + "\"\n",
		"unclosed quote":                "secrets:\n  keys: [\"" + key + "\n",
		"unclosed quote in a block":     "secrets:\n  keys:\n    - \"" + key + "\n",
		"tab before a secret":           "secrets:\n\tkeys: [" + key + "]\n",
		"database with a bad port":      "database: {url: \"postgres://u:" + password + "@h:port/d\"}\n",
		"database of another kind":      "database:\n  url: mysql://u:" + password + "@h/d\n",
		"database password as a word":   "database:\n  url: \"host=h password=" + password + "\"\n",
		"database password in a query":  "database:\n  url: mysql://h/d?password=" + password + "\n",
		"all on one line":               "{secrets: {keys: [\"" + key + "\"]}, database: {url: \"postgres://u:" + password + "@h/d\"}, log: {level: loud}}\n",
		"misspelled url beside another": "database:\n  uri: postgres://u:" + password + "@h/d\n",
		"url in place of the section":   "database: postgres://u:" + password + "@h/d\n",
		"url in a list":                 "database: [\"postgres://u:" + password + "@h/d\"]\n",
		"url below itself":              "database:\n  url:\n    value: postgres://u:" + password + "@h/d\n",
		"url as a key":                  "database: {\"postgres://u:" + password + "@h/d\"}\n",
		"key in place of the section":   "secrets: " + key + "\n",
		"key below the section":         "secrets:\n  " + key + "\n",
		"key with a name":               "secrets:\n  keys:\n    first: " + key + "\n",
		"key as a key":                  "secrets: {\"" + key + "\": 1}\n",
		"misspelled beside a problem":   "{secrts: {keys: [\"" + key + "\"]}, databse: {url: \"postgres://u:" + password + "@h/d\"}, log: {level: loud}}\n",
		"section beside a problem":      "{log: {level: loud}, database: \"postgres://u:" + password + "@h/d\"}\n",
		"a tag beside a problem":        "{log: {level: loud}, secrets: {keys: !!str \"" + key + "\"}}\n",
		"content in place of a path":    "tls:\n  cert: cert.pem\n  key: |\n    first line\n    " + key + "\n",
		"database with one slash":       "database:\n  url: postgres:/u:" + password + "@db/x\n",
		"database without a host":       "database:\n  url: postgres:///u:" + password + "@db/x\n",
		"database password with an @":   "database:\n  url: postgres://u:p@" + password + "/w@db/x\n",
		"password parameter of others":  "database: {url: \"mysql://h/d?passwd=" + password + "\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			in(t, map[string]string{"postern.yaml": file})
			loaded, err := config.Load(config.Source{Environ: []string{
				`POSTERN_SECRETS__KYES=["` + key + `"]`, "POSTERN_ISSUER=https://id.example.com",
			}})
			var problems config.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, want problems", err)
			}
			asJSON, err := problems.JSON()
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{problems.Error(), string(asJSON), loaded.Problem("secrets.keys", "CFG-042", "is broken", "").Value, show(loaded.Settings())} {
				for _, secret := range []string{key, key[2:], password} {
					if strings.Contains(text, secret) {
						t.Errorf("%q is shown in\n%s", secret, text)
					}
				}
			}
		})
	}
}

func TestMaskSaysHowLongASecretIs(t *testing.T) {
	in(t, nil)
	_, err := config.Load(config.Source{Environ: []string{"POSTERN_ISSUER=https://id.example.com", "POSTERN_SECRETS__KEYS=äbcdefghi"}})
	if err == nil || !strings.Contains(err.Error(), `"****" (9 characters) is not a JSON list`) {
		t.Errorf("got %v", err)
	}
}

func TestProblemOfAnotherPackageGetsPlaceAndValue(t *testing.T) {
	in(t, map[string]string{"postern.yaml": "issuer: https://id.example.com\nrate_limits:\n  login: often\n"})
	got := load(t, config.Source{}).Problem("rate_limits.login", "CFG-070", "is no limit", "Write one.")
	if got.Place.String() != "postern.yaml:3:10" || got.Value != `"often"` || got.Code != "CFG-070" || got.Key != "rate_limits.login" {
		t.Errorf("got %+v", got)
	}
}

func TestUnknownKeysFindTheNearestOne(t *testing.T) {
	for unknown, want := range map[string]string{
		"lisen": "listen", "Issuer": "issuer", "idle_timeout": "sessions.idle_timeout", "session.lifetime": "sessions.lifetime",
		"sesions": "sessions", "tokens.acces_ttl": "tokens.access_ttl", "password.argon2.memory_kb": "password.argon2.memory_kib",
		"database.uri": "database.url", "zebra": "", "proxy.trusted_hop": "proxy.trusted_hops",
	} {
		if got := config.Suggest(unknown); got != want {
			t.Errorf("%s: got %q, want %q", unknown, got, want)
		}
	}
}

func TestDurationsHaveDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"14d": 336 * time.Hour, "336h": 336 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "0s": 0, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond,
	} {
		if got, ok := config.ParseDuration(text); !ok || got != want {
			t.Errorf("%s: got %v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "14", "2 weeks", "1w", "-1h", "d", "1h ", "1e3s", "99999999999d", "999999999d"} {
		if got, ok := config.ParseDuration(text); ok {
			t.Errorf("%q: got %v, want none", text, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 36 * time.Hour: "36h", 48 * time.Hour: "2d", 90 * time.Second: "90s", 15 * time.Minute: "15m", time.Millisecond * 1500: "1500ms"} {
		if got := config.FormatDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestDefaultsAreWithinTheirOwnBounds(t *testing.T) {
	in(t, nil)
	var set []string
	for _, k := range config.Keys() {
		if k.Default != "" && !strings.HasPrefix(k.Type, "list") {
			set = append(set, k.Path+"="+k.Default)
		}
	}
	got := load(t, config.Source{Set: append(set, "issuer=https://id.example.com")})
	want := config.Default()
	want.Issuer = "https://id.example.com"
	if show(got.Config) != show(want) {
		t.Errorf("got %s, want %s", show(got.Config), show(want))
	}
}

func TestEveryExampleIsGood(t *testing.T) {
	for _, k := range config.Keys() {
		t.Run(k.Path, func(t *testing.T) {
			if k.Example == "" {
				t.Fatal("there is no example")
			}
			in(t, nil)
			file := "issuer: https://id.example.com\n" + nested(k.Path, k.Example)
			if k.Path == "issuer" {
				file = nested(k.Path, k.Example)
			}
			if err := os.WriteFile("postern.yaml", []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load(config.Source{})
			var problems config.Problems
			if errors.As(err, &problems) {
				// The files that an example names are not here, nor the keys that belong to it.
				problems = slices.DeleteFunc(problems, func(p config.Problem) bool {
					return slices.Contains([]string{"CFG-007", "CFG-031", "CFG-032", "CFG-034", "CFG-035", "CFG-036", "CFG-063", "CFG-064"}, p.Code)
				})
				if len(problems) > 0 {
					t.Error(problems)
				}
			}
		})
	}
}

// nested writes a key as a file has it.
func nested(path, value string) string {
	names := strings.Split(path, ".")
	var b strings.Builder
	for i, name := range names {
		b.WriteString(strings.Repeat("  ", i) + name + ":")
		if i < len(names)-1 {
			b.WriteString("\n")
		}
	}
	return b.String() + " " + value + "\n"
}

func TestSourceOfAFileIsNeverReadWhole(t *testing.T) {
	in(t, map[string]string{"big.yaml": "# " + strings.Repeat("x", 1<<20)})
	_, err := config.Load(config.Source{Files: []string{"big.yaml"}, Environ: []string{"POSTERN_ISSUER=https://id.example.com"}})
	var problems config.Problems
	if !errors.As(err, &problems) || problems[0].Code != "CFG-005" {
		t.Errorf("got %v, want CFG-005", err)
	}
}

func FuzzLoadNeverPanics(f *testing.F) {
	for _, seed := range []string{
		"issuer: https://id.example.com\n", "a: [1, {b: *c}]\n? x\n: y\n", "secrets: {keys: [1:a, 2:b]}", "rate_limits: false\nrate_limits: {login: 1}",
		"login:\n\tflow_timeout: 1", "- - - x", "&a [*a]", "\"\\", "%YAML 1.2\n---\n{}", "listen: |+\n  x\n", "\xff\xfe",
	} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "f.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(config.Source{Files: []string{path}})
		var problems config.Problems
		if err == nil {
			return
		}
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("got %v, want problems", err)
		}
		for _, p := range problems {
			if p.Code == "" || p.Reason == "" || p.Remedy == "" {
				t.Errorf("%+v lacks a part", p)
			}
		}
	})
}
