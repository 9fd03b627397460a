package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"postern/config"
)

func show(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// pair writes a certificate and its key as PEM.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// Each case is one thing that is wrong. The whole problem is compared: code, key, place, value,
// reason and remedy.
func TestO6EveryProblemHasPlaceValueReasonRemedyAndCode(t *testing.T) {
	cert, key := pair(t)
	_, otherKey := pair(t)
	files := map[string]string{"cert.pem": cert, "key.pem": key, "other.pem": otherKey, "broken.pem": "no PEM", "open.key": "1:a"}
	const good = "issuer: https://id.example.com\n"
	type expect struct{ code, key, place, value, reason, remedy string }
	// Those that a file as a whole has, and those that other packages judge by.
	seen := map[string]bool{"CFG-005": true, "CFG-042": true, "CFG-043": true, "CFG-070": true}
	for name, c := range map[string]struct {
		file    string
		environ string
		set     string
		dev     bool
		want    expect
	}{
		"unknown key": {file: good + "lisen: 1\n", want: expect{"CFG-001", "lisen", "f.yaml:2:1", "", "unknown key", "Did you mean listen?"}},
		"unknown key like nothing": {file: good + "zebra: 1\n", want: expect{"CFG-001", "zebra", "f.yaml:2:1", "", "unknown key",
			"`postern config show` lists every key."}},
		"unknown key in a section": {file: good + "log:\n  lvl: 1\n", want: expect{"CFG-001", "log.lvl", "f.yaml:3:3", "", "unknown key", "Did you mean log.level?"}},
		"unknown flag":             {file: good, set: "lisen=1", want: expect{"CFG-001", "lisen", "flag --set lisen", "", "unknown key", "Did you mean listen?"}},
		"unknown variable":         {file: good, environ: "POSTERN_LISEN=:1", want: expect{"CFG-002", "", "environment POSTERN_LISEN", "", "is no setting", "Did you mean POSTERN_LISTEN?"}},
		"variable in small letters": {file: good, environ: "POSTERN_listen=:1", want: expect{"CFG-002", "", "environment POSTERN_listen", "", "is no setting",
			"`postern config show` lists every key with its variable."}},
		"key twice":                        {file: good + "listen: \":1\"\nlisten: \":2\"\n", want: expect{"CFG-003", "listen", "f.yaml:3:9", "", "is set twice; first at f.yaml:2:9", "Remove one of the two."}},
		"section twice":                    {file: good + "log: {level: info}\nlog: {format: json}\n", want: expect{"CFG-003", "log", "f.yaml:3:1", "", "is set twice; first at f.yaml:2:1", "Remove one of the two."}},
		"section twice, once switched off": {file: good + "rate_limits: false\nrate_limits: {login: 1/m/ip}\n", want: expect{"CFG-003", "rate_limits", "f.yaml:3:1", "", "is set twice; first at f.yaml:2:1", "Remove one of the two."}},
		"flag twice":                       {file: good, set: "listen=:1\x00listen=:2", want: expect{"CFG-003", "listen", "flag --set listen", "", "is set twice; first at flag --set listen", "Remove one of the two."}},
		"no YAML":                          {file: good + "log:\n\tlevel: info\n", want: expect{"CFG-004", "", "f.yaml:3:1", "", "found character '\t' that cannot start any token", "Indent with spaces, and quote what has a colon or a bracket in it."}},
		"a list at first":                  {file: "- issuer\n", want: expect{"CFG-004", "", "f.yaml:1:1", "", "is not a list of settings", "Write plain `key: value` lines, in one document."}},
		"second document":                  {file: good + "---\nlisten: \":1\"\n", want: expect{"CFG-004", "", "f.yaml:3:7", "", "starts a second document", "Write plain `key: value` lines, in one document."}},
		"anchor":                           {file: good + "listen: &a \":1\"\n", want: expect{"CFG-004", "listen", "f.yaml:2:9", "", "is an anchor, an alias, a tag or a nested section", "Write plain `key: value` lines, in one document."}},
		"merge key":                        {file: good + "log: {<<: {level: info}}\n", want: expect{"CFG-004", "log", "f.yaml:2:7", "", "is a merge key", "Write plain `key: value` lines, in one document."}},
		"section as a value": {file: good + "listen: {port: 1}\n", want: expect{"CFG-006", "listen", "f.yaml:2:10", "", "a section stands where a value is expected",
			"Write listen as a text."}},
		"value as a section": {file: good + "log: info\n", want: expect{"CFG-006", "log", "f.yaml:2:6", `"info"`, "stands where a section is expected",
			"Write its keys below it: log.level and the others."}},
		"reference to no file":             {file: good + "branding: {name: \"file:none.txt\"}\n", want: expect{"CFG-007", "branding.name", "f.yaml:2:18", `"file:none.txt"`, "cannot be read: no such file or directory", "Check the path and its permissions."}},
		"reference of a secret to no file": {file: good + "secrets: {keys: [\"file:none.key\"]}\n", want: expect{"CFG-007", "secrets.keys", "f.yaml:2:18", `"file:none.key"`, "cannot be read: no such file or directory", "Check the path and its permissions."}},
		"reference to no variable":         {file: good + "branding: {name: env:NONE}\n", want: expect{"CFG-007", "branding.name", "f.yaml:2:18", `"env:NONE"`, "names a variable that is not set", "Set NONE, or write the value here."}},
		"no value":                         {file: good + "listen:\n", want: expect{"CFG-008", "listen", "f.yaml:2:9", "", "has no value", "Write a value, or remove the line for the default."}},
		"no number":                        {file: good + "proxy: {trusted_hops: one}\n", want: expect{"CFG-010", "proxy.trusted_hops", "f.yaml:2:23", `"one"`, "is not a whole number", "Write digits alone."}},
		"fraction":                         {file: good + "proxy: {trusted_hops: 1.5}\n", want: expect{"CFG-010", "proxy.trusted_hops", "f.yaml:2:23", `"1.5"`, "is not a whole number", "Write digits alone."}},
		"neither true nor false":           {file: good + "rate_limits: off\n", want: expect{"CFG-011", "rate_limits", "f.yaml:2:14", `"off"`, "is neither true nor false", "Write true or false."}},
		"no duration":                      {file: good + "login: {flow_timeout: long}\n", want: expect{"CFG-012", "login.flow_timeout", "f.yaml:2:23", `"long"`, "is not a duration", "Write a number and a unit: 336h, or 14d."}},
		"duration without unit":            {file: good + "login: {flow_timeout: 900}\n", want: expect{"CFG-012", "login.flow_timeout", "f.yaml:2:23", `"900"`, "has no unit", "Write a number and a unit: 336h, or 14d."}},
		"no network":                       {file: good + "rate_limits: {exempt_cidrs: [home]}\n", want: expect{"CFG-013", "rate_limits.exempt_cidrs", "f.yaml:2:30", `"home"`, "is not a network", "Write ADDRESS/BITS: 10.0.0.0/8, or fd00::/8."}},
		"address for a network":            {file: good + "rate_limits: {exempt_cidrs: [10.0.0.1]}\n", want: expect{"CFG-013", "rate_limits.exempt_cidrs", "f.yaml:2:30", `"10.0.0.1"`, "is an address, not a network", "Write 10.0.0.1/32 for that address alone."}},
		"network with host bits":           {file: good + "rate_limits: {exempt_cidrs: [10.0.0.1/8]}\n", want: expect{"CFG-013", "rate_limits.exempt_cidrs", "f.yaml:2:30", `"10.0.0.1/8"`, "has bits beyond its network", "Write 10.0.0.0/8."}},
		"value for a list":                 {file: good + "rate_limits: {exempt_cidrs: 10.0.0.0/8}\n", want: expect{"CFG-014", "rate_limits.exempt_cidrs", "f.yaml:2:29", `"10.0.0.0/8"`, "is not a list", `Write it in brackets: rate_limits.exempt_cidrs: ["…"].`}},
		"list for a value":                 {file: good + "listen: [\":1\"]\n", want: expect{"CFG-014", "listen", "f.yaml:2:9", "", "is a list", "Write one text without brackets."}},
		"list that is no JSON":             {file: good, environ: "POSTERN_RATE_LIMITS__EXEMPT_CIDRS=10.0.0.0/8", want: expect{"CFG-014", "rate_limits.exempt_cidrs", "environment POSTERN_RATE_LIMITS__EXEMPT_CIDRS", `"10.0.0.0/8"`, "is not a JSON list of texts", `Write ["one","two"], or one setting an item: POSTERN_RATE_LIMITS__EXEMPT_CIDRS__0.`}},
		"list with a gap":                  {file: good, environ: "POSTERN_SECRETS__KEYS__1=1:a", want: expect{"CFG-014", "secrets.keys", "environment POSTERN_SECRETS__KEYS__1", "", "is item 1 of a list that has 0 before it", "Number the items 0, 1, 2 …, or write the whole list as JSON."}},
		"too many hops":                    {file: good + "proxy: {trusted_hops: 11}\n", want: expect{"CFG-015", "proxy.trusted_hops", "f.yaml:2:23", `"11"`, "is out of range", "Write a number from 0 to 10."}},
		"short passwords":                  {file: good + "password: {min_length: 4}\n", want: expect{"CFG-015", "password.min_length", "f.yaml:2:24", `"4"`, "is out of range", "Write a number from 8 to 64."}},
		"more lanes than a byte":           {file: good + "password: {argon2: {parallelism: 256}}\n", want: expect{"CFG-015", "password.argon2.parallelism", "f.yaml:2:34", `"256"`, "is out of range", "Write a smaller number, at least 0."}},
		"long code":                        {file: good + "tokens: {code_ttl: 1h}\n", want: expect{"CFG-016", "tokens.code_ttl", "f.yaml:2:20", `"1h"`, "is out of range", "Write a duration from 10s to 10m."}},
		"unknown word":                     {file: good + "log: {level: loud}\n", want: expect{"CFG-017", "log.level", "f.yaml:2:14", `"loud"`, "is none of the words for it", "Write debug, info, warn or error."}},
		"http for a public host":           {file: "issuer: http://id.example.com\n", want: expect{"CFG-020", "issuer", "f.yaml:1:9", `"http://id.example.com"`, "uses http for a public host", "Use https, or run `postern serve --dev` for a local trial."}},
		"http for a public host, --dev": {file: "issuer: http://id.example.com\n", dev: true, want: expect{"CFG-020", "issuer", "f.yaml:1:9", `"http://id.example.com"`, "uses http for a public host",
			"Use https, or run `postern serve --dev` for a local trial."}},
		"http for an address": {file: "issuer: http://127.0.0.1:8080\n", dev: true, want: expect{"CFG-020", "issuer", "f.yaml:1:9", `"http://127.0.0.1:8080"`, "uses http for a public host",
			"Use https, or run `postern serve --dev` for a local trial."}},
		"localhost in production": {file: "issuer: http://localhost:8080\n", want: expect{"CFG-020", "issuer", "f.yaml:1:9", `"http://localhost:8080"`, "uses http", "Use https, or run `postern serve --dev` for a local trial."}},
		"http with a certificate": {file: "issuer: http://localhost:8080\ntls: {cert: cert.pem, key: key.pem}\n", dev: true, want: expect{"CFG-020", "issuer", "f.yaml:1:9", `"http://localhost:8080"`, "uses http, and tls.cert serves https",
			"Write https://localhost:8080, or remove tls.cert."}},
		"no address":                   {file: "issuer: id.example.com\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"id.example.com"`, "is not an https address", "Write it like https://id.example.com."}},
		"issuer with a slash":          {file: "issuer: https://id.example.com/\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://id.example.com/"`, "ends with a slash", "Write https://id.example.com."}},
		"issuer with a path":           {file: "issuer: https://example.com/id\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://example.com/id"`, "has a path", "Write https://example.com, and give Postern a host name of its own."}},
		"issuer with a query":          {file: "issuer: https://example.com?a=b\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://example.com?a=b"`, "has a query", "Write https://example.com."}},
		"issuer with an empty query":   {file: "issuer: https://example.com?\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://example.com?"`, "has a query", "Write https://example.com."}},
		"issuer with a fragment":       {file: "issuer: \"https://example.com#a\"\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://example.com#a"`, "has a fragment", "Write https://example.com."}},
		"issuer with a user":           {file: "issuer: https://me@example.com\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://me@example.com"`, "has a user in it", "Write https://example.com."}},
		"issuer with port 443":         {file: "issuer: https://example.com:443\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://example.com:443"`, "names the default port", "Write https://example.com."}},
		"issuer in capitals":           {file: "issuer: https://ID.example.com\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://ID.example.com"`, "has capital letters in its host", "Write https://id.example.com."}},
		"issuer beyond ASCII":          {file: "issuer: https://bücher.example\n", want: expect{"CFG-021", "issuer", "f.yaml:1:9", `"https://bücher.example"`, "has a host that is not ASCII", "Write the host's xn-- form."}},
		"no issuer":                    {file: "listen: \":1\"\n", want: expect{"CFG-022", "issuer", "default", "", "is required: the address by which relying parties and browsers know this provider", "Write `issuer: https://id.example.com` into postern.yaml, or set POSTERN_ISSUER."}},
		"a port alone":                 {file: good + "listen: 8080\n", want: expect{"CFG-030", "listen", "f.yaml:2:9", `"8080"`, "is not HOST:PORT", `Write ":8080".`}},
		"no port":                      {file: good + "listen: localhost\n", want: expect{"CFG-030", "listen", "f.yaml:2:9", `"localhost"`, "is not HOST:PORT", "Write HOST:PORT, or :PORT for every address."}},
		"a port too high":              {file: good + "listen: \":70000\"\n", want: expect{"CFG-030", "listen", "f.yaml:2:9", `":70000"`, "has no port from 0 to 65535", `Write it like ":8080".`}},
		"a URL to listen on":           {file: good + "listen: \"a b:80\"\n", want: expect{"CFG-030", "listen", "f.yaml:2:9", `"a b:80"`, "has no host name or address before the port", `Write it like "127.0.0.1:8080".`}},
		"certificate without key":      {file: good + "tls: {cert: cert.pem}\n", want: expect{"CFG-031", "tls.key", "default", "", "is missing beside tls.cert", "Set both, or remove tls.cert."}},
		"key without certificate":      {file: good + "tls: {key: key.pem}\n", want: expect{"CFG-031", "tls.cert", "default", "", "is missing beside tls.key", "Set both, or remove tls.key."}},
		"no such certificate":          {file: good + "tls: {cert: none.pem, key: key.pem}\n", want: expect{"CFG-032", "tls.cert", "f.yaml:2:13", `"none.pem"`, "cannot be read: no such file or directory", "Check the path and its permissions."}},
		"no such key":                  {file: good + "tls: {cert: cert.pem, key: none.pem}\n", want: expect{"CFG-032", "tls.key", "f.yaml:2:28", `"none.pem"`, "cannot be read: no such file or directory", "Check the path and its permissions."}},
		"another certificate's key":    {file: good + "tls: {cert: cert.pem, key: other.pem}\n", want: expect{"CFG-033", "tls.key", "f.yaml:2:28", `"other.pem"`, "does not fit tls.cert: private key does not match public key", "Give both files as PEM, the certificate first in its chain."}},
		"no PEM":                       {file: good + "tls: {cert: cert.pem, key: broken.pem}\n", want: expect{"CFG-033", "tls.key", "f.yaml:2:28", `"broken.pem"`, "does not fit tls.cert: failed to find any PEM data in key input", "Give both files as PEM, the certificate first in its chain."}},
		"preload without subdomains":   {file: good + "tls: {hsts: {include_subdomains: false}}\n", want: expect{"CFG-035", "tls.hsts.preload", "default", `"true"`, "is on without tls.hsts.include_subdomains", "Set tls.hsts.preload: false, or include the subdomains."}},
		"preload for less than a year": {file: good + "tls: {hsts: {max_age: 30d, preload: true}}\n", want: expect{"CFG-035", "tls.hsts.preload", "f.yaml:2:37", `"true"`, "is on with a tls.hsts.max_age of less than 365d", "Set tls.hsts.preload: false, or a longer time."}},
		"neither with nor without":     {file: good + "tls: {hsts: {preload: maybe}}\n", want: expect{"CFG-011", "tls.hsts.preload", "f.yaml:2:23", `"maybe"`, "is neither true nor false", "Write true or false."}},
		"database password as a key": {file: good + "database: {password: hunter2}\n", want: expect{"CFG-001", "database.password", "f.yaml:2:12", "", "unknown key",
			"The password belongs into database.url, which may be file:PATH; or set PGPASSWORD."}},
		"database password as a variable": {file: good, environ: "POSTERN_DATABASE__PASSWORD=hunter2", want: expect{"CFG-002", "", "environment POSTERN_DATABASE__PASSWORD", "", "is no setting",
			"The password belongs into database.url, which may be file:PATH; or set PGPASSWORD."}},
		"networks without hops":     {file: good + "proxy: {trusted_cidrs: [10.0.0.0/8]}\n", want: expect{"CFG-034", "proxy.trusted_cidrs", "f.yaml:2:24", "", "says whom to believe, but proxy.trusted_hops believes nobody", "Set proxy.trusted_hops to the number of proxies in front, or remove this."}},
		"unknown database":          {file: good + "database: {url: \"mysql://u:p@h/d\"}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"mysql://u:****@h/d"`, "is no database that Postern knows", "Write sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE."}},
		"SQLite without file":       {file: good + "database: {url: \"sqlite:\"}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"sqlite:"`, "names no file", "Write sqlite:PATH: sqlite:/var/lib/postern/postern.db."}},
		"SQLite in memory":          {file: good + "database: {url: \"sqlite::memory:\"}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"sqlite::memory:"`, "names no file", "Write sqlite:PATH: sqlite:/var/lib/postern/postern.db."}},
		"PostgreSQL with one slash": {file: good + "database: {url: \"postgres:/u:p@h/d\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (17 characters)`, "is not a URL", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password."}},
		"password with a slash":     {file: good + "database: {url: \"postgres://u:p@ss/w@h/db\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (24 characters)`, "has an @ behind its host", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password: %40 for @, %2F for /."}},
		"password with a hash":      {file: good + "database: {url: \"postgres://u:12#3@h/db\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (22 characters)`, "has an @ behind its host", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password: %40 for @, %2F for /."}},
		"PostgreSQL without URL":    {file: good + "database: {url: \"postgres:db\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (11 characters)`, "is not a URL", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password."}},
		"PostgreSQL without keys": {file: good + "database: {url: \"postgres://h/d\"}\n", want: expect{"CFG-041", "secrets.keys", "default", "", "is required with PostgreSQL, whose nodes must agree on the keys",
			"Run `(umask 077; postern key generate > root.key)` once, and set secrets.keys: [\"file:root.key\"] on every node."}},
		"root key that others can read": {file: good + "secrets: {keys: [\"file:open.key\"]}\n", want: expect{"CFG-044", "secrets.keys", "f.yaml:2:18", `"file:open.key"`, "can be read by other users (mode 644)", "Run: chmod 600 open.key"}},
		"memory below the lanes":        {file: good + "password: {argon2: {memory_kib: 8, parallelism: 2}}\n", dev: true, want: expect{"CFG-050", "password.argon2.memory_kib", "f.yaml:2:33", `"8"`, "is less than 8 KiB a lane", "Write at least 16."}},
		"cheap hashes":                  {file: good + "password: {argon2: {memory_kib: 64, time: 1}}\n", want: expect{"CFG-050", "password.argon2.memory_kib", "f.yaml:2:33", `"64"`, "with time 1 is too cheap for production", "Write memory_kib: 19456 with time: 2, or more."}},
		"no memory for a hash":          {file: good + "password: {hash_memory_mib: 16}\n", want: expect{"CFG-051", "password.hash_memory_mib", "f.yaml:2:29", `"16"`, "is less than one hash needs", "Write at least 64."}},
		"idle beyond the session":       {file: good + "sessions: {idle_timeout: 2d}\n", want: expect{"CFG-052", "sessions.idle_timeout", "f.yaml:2:26", `"2d"`, "is longer than sessions.browser_lifetime, which is 1d", "Write at most that, or raise sessions.browser_lifetime."}},
		"cap below the refresh":         {file: good + "tokens: {refresh_cap: 1h}\n", want: expect{"CFG-053", "tokens.refresh_cap", "f.yaml:2:23", `"1h"`, "is shorter than tokens.refresh_ttl, which is 1d", "Write at least that, or lower tokens.refresh_ttl."}},
		"offline cap below":             {file: good + "tokens: {offline_cap: 1h}\n", want: expect{"CFG-053", "tokens.offline_cap", "f.yaml:2:23", `"1h"`, "is shorter than tokens.refresh_ttl, which is 1d", "Write at least that, or lower tokens.refresh_ttl."}},
		"window beyond the refresh":     {file: good + "tokens: {refresh_ttl: 1m, refresh_window: 1m}\n", want: expect{"CFG-053", "tokens.refresh_window", "f.yaml:2:43", `"1m"`, "is not shorter than tokens.refresh_ttl, which is 1m", "Write less, such as 10s."}},
		"nameless instance":             {file: good + "branding: {name: \" \"}\n", want: expect{"CFG-060", "branding.name", "f.yaml:2:18", `" "`, "is no name for people", "Write 1 to 64 printable characters."}},
		"script for help":               {file: good + "branding: {support: \"javascript:alert(1)\"}\n", want: expect{"CFG-061", "branding.support", "f.yaml:2:21", `"javascript:alert(1)"`, "is neither a mail address nor a web address", "Write mailto:help@example.com or https://example.com/help."}},
		"mail to nobody":                {file: good + "branding: {support: \"mailto:\"}\n", want: expect{"CFG-061", "branding.support", "f.yaml:2:21", `"mailto:"`, "is neither a mail address nor a web address", "Write mailto:help@example.com or https://example.com/help."}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, files)
			if err := os.WriteFile("f.yaml", []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod("open.key", 0o644); err != nil {
				t.Fatal(err)
			}
			s := config.Source{Files: []string{"f.yaml"}, Dev: c.dev}
			if c.environ != "" {
				s.Environ = []string{c.environ}
			}
			if c.set != "" {
				s.Set = strings.Split(c.set, "\x00")
			}
			_, err := config.Load(s)
			var problems config.Problems
			if !errors.As(err, &problems) || len(problems) != 1 {
				t.Fatalf("got %v, want one problem", err)
			}
			p := problems[0]
			seen[p.Code] = true
			if got := (expect{p.Code, p.Key, p.Place.String(), p.Value, p.Reason, p.Remedy}); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if _, ok := config.Explain(p.Code); !ok {
				t.Errorf("postern help %s knows nothing", p.Code)
			}
		})
	}
	for _, c := range config.Codes {
		if !seen[c.ID] {
			t.Errorf("no case has the code %s", c.ID)
		}
	}
}

// A command that opens the database alone goes without what only a server has.
func TestCommandsOnTheDatabaseNeedNoServersSettings(t *testing.T) {
	in(t, map[string]string{"f.yaml": "listen: nowhere\ntls: {cert: none.pem, hsts: {max_age: 1d}}\nproxy: {trusted_cidrs: [10.0.0.0/8]}\n"})
	if _, err := config.Load(config.Source{Files: []string{"f.yaml"}, DatabaseAlone: true}); err != nil {
		t.Error(err)
	}
	_, err := config.Load(config.Source{Files: []string{"f.yaml"}, DatabaseAlone: true, Set: []string{"database.url=mysql:", "lisen=1"}})
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 2 {
		t.Errorf("got %v, want what is wrong with the database and the unknown key", err)
	}
}

func TestGoodIssuersPass(t *testing.T) {
	for issuer, dev := range map[string]bool{
		"https://id.example.com": false, "https://id.example.com:8443": false, "https://192.0.2.7": false, "https://[2001:db8::1]:8443": false,
		"https://xn--bcher-kva.example": false, "http://localhost:8080": true, "http://localhost": true, "https://localhost": true,
	} {
		in(t, nil)
		if _, err := config.Load(config.Source{Environ: []string{"POSTERN_ISSUER=" + issuer}, Dev: dev}); err != nil {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

func TestAllProblemsComeInOneRun(t *testing.T) {
	in(t, map[string]string{"a.yaml": "listen: 1\nlog: {level: loud}\nnope: 1\n", "b.yaml": "tokens: {code_ttl: 1}\n"})
	_, err := config.Load(config.Source{
		Files: []string{"a.yaml", "b.yaml", "none.yaml"}, Environ: []string{"POSTERN_NOPE=1"}, Set: []string{"branding.name="},
	})
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Code+" "+p.Place.String())
	}
	want := "CFG-030 a.yaml:1:9, CFG-017 a.yaml:2:14, CFG-001 a.yaml:3:1, CFG-012 b.yaml:1:20, CFG-005 none.yaml, CFG-002 environment POSTERN_NOPE, CFG-060 flag --set branding.name"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}
