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
	"maps"
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
	const (
		good      = "issuer: https://id.example.com\n"
		redisForm = "Write redis://[USER:PASSWORD@]HOST:PORT[/DB], or rediss:// for TLS, with % escapes in the password."
		pathForm  = "Write it like /wp-login.php, or /admin/ for everything below as well: letters, digits and . _ ~ - between slashes."
	)
	type expect struct{ code, key, place, value, reason, remedy string }
	// Those that a file as a whole has, and those that other packages judge by.
	seen := map[string]bool{"CFG-005": true, "CFG-042": true, "CFG-043": true, "CFG-070": true, "CFG-071": true}
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
		"half of a key":            {file: good + "lockout: {failures: 3}\n", want: expect{"CFG-001", "lockout.failures", "f.yaml:2:11", "", "unknown key", "Did you mean lockout.failure_limit?"}},
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
		"policies as a section": {file: good + "lockout:\n  policies:\n    role=admin: username\n", want: expect{"CFG-006", "lockout.policies", "f.yaml:4:5", "", "a section stands where a value is expected",
			`Write lockout.policies as a list of texts: lockout.policies: ["role=admin => username+ip_address:5/1h"].`}},
		"policies as sections": {file: good + "lockout:\n  policies:\n    - role: admin\n      limit: 5\n", want: expect{"CFG-014", "lockout.policies", "f.yaml:4:11", "", "has a section in its list",
			`Write each item as a text: lockout.policies: ["role=admin => username+ip_address:5/1h"].`}},
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
		"IPv4 network within IPv6":         {file: good + "lockout: {deny_cidrs: [\"::ffff:10.0.0.0/104\"]}\n", want: expect{"CFG-013", "lockout.deny_cidrs", "f.yaml:2:24", `"::ffff:10.0.0.0/104"`, "is a network of IPv4 written as IPv6, in which no address is", "Write 10.0.0.0/8."}},
		"network with host bits":           {file: good + "rate_limits: {exempt_cidrs: [10.0.0.1/8]}\n", want: expect{"CFG-013", "rate_limits.exempt_cidrs", "f.yaml:2:30", `"10.0.0.1/8"`, "has bits beyond its network", "Write 10.0.0.0/8."}},
		"value for a list":                 {file: good + "rate_limits: {exempt_cidrs: 10.0.0.0/8}\n", want: expect{"CFG-014", "rate_limits.exempt_cidrs", "f.yaml:2:29", `"10.0.0.0/8"`, "is not a list", `Write it in brackets: rate_limits.exempt_cidrs: ["…"].`}},
		"list for a value":                 {file: good + "listen: [\":1\"]\n", want: expect{"CFG-014", "listen", "f.yaml:2:9", "", "is a list", "Write one text without brackets."}},
		"list that is no JSON":             {file: good, environ: "POSTERN_RATE_LIMITS__EXEMPT_CIDRS=10.0.0.0/8", want: expect{"CFG-014", "rate_limits.exempt_cidrs", "environment POSTERN_RATE_LIMITS__EXEMPT_CIDRS", `"10.0.0.0/8"`, "is not a JSON list of texts", `Write ["one","two"], or one setting an item: POSTERN_RATE_LIMITS__EXEMPT_CIDRS__0.`}},
		"list with a gap":                  {file: good, environ: "POSTERN_SECRETS__KEYS__1=1:a", want: expect{"CFG-014", "secrets.keys", "environment POSTERN_SECRETS__KEYS__1", "", "is item 1 of a list that has 0 before it", "Number the items 0, 1, 2 …, or write the whole list as JSON."}},
		"too many hops":                    {file: good + "proxy: {trusted_hops: 11}\n", want: expect{"CFG-015", "proxy.trusted_hops", "f.yaml:2:23", `"11"`, "is out of range", "Write a number from 0 to 10."}},
		"short passwords":                  {file: good + "password: {min_length: 4}\n", want: expect{"CFG-015", "password.min_length", "f.yaml:2:24", `"4"`, "is out of range", "Write a number from 8 to 64."}},
		"more lanes than a byte":           {file: good + "password: {argon2: {parallelism: 256}}\n", want: expect{"CFG-015", "password.argon2.parallelism", "f.yaml:2:34", `"256"`, "is out of range", "Write a smaller number, at least 0."}},
		"long code":                        {file: good + "tokens: {code_ttl: 1h}\n", want: expect{"CFG-016", "tokens.code_ttl", "f.yaml:2:20", `"1h"`, "is out of range", "Write a duration from 10s to 10m."}},
		"nearly a word":                    {file: good + "lockout: {handler: Rediss}\n", want: expect{"CFG-017", "lockout.handler", "f.yaml:2:20", `"Rediss"`, "is none of the words for it", "Did you mean redis? Write database, redis or memory."}},
		"half of a word":                   {file: good + "log: {level: warning}\n", want: expect{"CFG-017", "log.level", "f.yaml:2:14", `"warning"`, "is none of the words for it", "Did you mean warn? Write debug, info, warn or error."}},
		"a handler in development":         {file: good + "lockout: {handler: cache}\n", dev: true, want: expect{"CFG-017", "lockout.handler", "f.yaml:2:20", `"cache"`, "is none of the words for it", "Write database, redis, memory or dummy."}},
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
		"header without networks":            {file: good + "proxy: {client_ip_header: X-Real-IP}\n", want: expect{"CFG-036", "proxy.client_ip_header", "f.yaml:2:27", `"X-Real-IP"`, "would be believed from everybody", "Set proxy.trusted_cidrs to the networks that your proxies are in."}},
		"header of Django":                   {file: good + "proxy: {client_ip_header: HTTP_X_REAL_IP}\n", want: expect{"CFG-036", "proxy.client_ip_header", "f.yaml:2:27", `"HTTP_X_REAL_IP"`, "is written as Django has it", "Write the header's own name: X-REAL-IP."}},
		"header with a list of addresses":    {file: good + "proxy: {client_ip_header: \"X-Real-IP, X-Forwarded-For\"}\n", want: expect{"CFG-036", "proxy.client_ip_header", "f.yaml:2:27", `"X-Real-IP, X-Forwarded-For"`, "names a header with a list of addresses", "Set proxy.trusted_hops for X-Forwarded-For, and name here a header with the client's address alone."}},
		"header that is the connection":      {file: good + "proxy: {client_ip_header: REMOTE_ADDR}\n", want: expect{"CFG-036", "proxy.client_ip_header", "f.yaml:2:27", `"REMOTE_ADDR"`, "names what Postern takes anyway", "Remove REMOTE_ADDR: without a header that is believed, the address is that of the connection."}},
		"header with a space":                {file: good + "proxy: {client_ip_header: X Real IP}\n", want: expect{"CFG-036", "proxy.client_ip_header", "f.yaml:2:27", `"X Real IP"`, "is not the name of a header", "Write it like CF-Connecting-IP, several joined with commas."}},
		"header without a name":              {file: good + "proxy: {client_ip_header: \"X-Real-IP,\"}\n", want: expect{"CFG-036", "proxy.client_ip_header", "f.yaml:2:27", `"X-Real-IP,"`, "is not the name of a header", "Write it like CF-Connecting-IP, several joined with commas."}},
		"nine headers":                       {file: good + "proxy: {client_ip_header: \"A,B,C,D,E,F,G,H,I\"}\n", want: expect{"CFG-036", "proxy.client_ip_header", "f.yaml:2:27", `"A,B,C,D,E,F,G,H,I"`, "names too many headers", "Write at most 8."}},
		"metrics for everybody to see":       {file: good + "metrics: {listen: \"127.0.0.1:8080\"}\n", want: expect{"CFG-037", "metrics.listen", "f.yaml:2:19", `"127.0.0.1:8080"`, "is where listen is", "Write another port, such as 127.0.0.1:9090, or off."}},
		"metrics nowhere":                    {file: good + "metrics: {listen: none}\n", want: expect{"CFG-030", "metrics.listen", "f.yaml:2:19", `"none"`, "is not HOST:PORT", "Write HOST:PORT, or :PORT for every address. Write off for none."}},
		"Redis without URL":                  {file: good + "lockout: {handler: redis}\n", want: expect{"CFG-045", "redis.url", "default", "", "is required with lockout.handler redis", redisForm}},
		"dummy in production":                {file: good + "lockout: {handler: dummy}\n", want: expect{"CFG-046", "lockout.handler", "f.yaml:2:20", `"dummy"`, "counts nothing, which is for development", "Write database or redis."}},
		"Redis by http":                      {file: good + "redis: {url: \"http://u:p@h:6379\"}\n", want: expect{"CFG-045", "redis.url", "f.yaml:2:14", `"http://u:****@h:6379"`, "is not the URL of a Redis server", redisForm}},
		"Redis password with a slash":        {file: good + "redis: {url: \"redis://u:p/w@h:6379\"}\n", want: expect{"CFG-045", "redis.url", "f.yaml:2:14", `"****" (20 characters)`, "is not the URL of a Redis server", redisForm}},
		"Redis database with a name":         {file: good + "redis: {url: \"redis://h:6379/counters\"}\n", want: expect{"CFG-045", "redis.url", "f.yaml:2:14", `"redis://h:6379/counters"`, "has something other than the number of a database behind its host", redisForm}},
		"field with a bracket":               {file: good + "login: {username_field: \"user[name]\"}\n", want: expect{"CFG-054", "login.username_field", "f.yaml:2:25", `"user[name]"`, "is no name of a field", "Write a letter, and up to 63 letters, digits, - and _."}},
		"field of the form":                  {file: good + "login: {password_field: tx}\n", want: expect{"CFG-054", "login.password_field", "f.yaml:2:25", `"tx"`, "is the name of another field of the form", "Write another one than another, cancel, remember or tx."}},
		"one field for both":                 {file: good + "login: {username_field: password}\n", want: expect{"CFG-054", "login.username_field", "f.yaml:2:25", `"password"`, "is the name of login.password_field as well", "Give the two fields different names."}},
		"mail server without host":           {file: good + "mail: {transport: \"smtp://:587\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"smtp://:587"`, "names no host", "Write it like smtp://postern@mail.example.com, with % escapes in the user."}},
		"mail server without slashes":        {file: good + "mail: {transport: \"smtp:mail.example.com\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"****" (21 characters)`, "is not a URL", "Write it like smtp://postern@mail.example.com, with % escapes in the user."}},
		"mail server by port 0":              {file: good + "mail: {transport: \"smtp://mail.example.com:0\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"smtp://mail.example.com:0"`, "has no port from 1 to 65535", "Write it like smtp://postern@mail.example.com, with % escapes in the user."}},
		"mail server with a path":            {file: good + "mail: {transport: \"smtp://mail.example.com/in\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"smtp://mail.example.com/in"`, "has something behind its host and port", "Write it like smtp://postern@mail.example.com, with % escapes in the user."}},
		"mail server with a password":        {file: good + "mail: {transport: \"smtp://u:hunter2@mail.example.com\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"smtp://u:****@mail.example.com"`, "has a password", "Write it into mail.password, best as file:PATH or env:NAME."}},
		"mail server with a broken password": {file: good + "mail: {transport: \"smtp://u:hun/ter2@mail.example.com\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"****" (34 characters)`, "is not a URL", "Write it like smtp://postern@mail.example.com, with % escapes in the user."}},
		"mail server with nobody":            {file: good + "mail: {transport: \"smtp://@mail.example.com\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"smtp://@mail.example.com"`, "has no user before its @", "Write it like smtp://postern@mail.example.com, with % escapes in the user."}},
		"mail server, user without password": {file: good + "mail: {transport: \"smtp://u@mail.example.com\", from: a@example.com}\n", want: expect{"CFG-066", "mail.password", "default", "", "is required with a user in mail.transport", "Set it, best as file:PATH or env:NAME."}},
		"mail server, password of nobody":    {file: good + "mail: {transport: \"smtps://mail.example.com\", from: a@example.com, password: hunter2}\n", want: expect{"CFG-066", "mail.password", "f.yaml:2:78", `"****" (7 characters)`, "is set, but mail.transport has no user", "Write smtp://USER@HOST:PORT into mail.transport, or remove mail.password."}},
		"mail server, password of two lines": {file: good + "mail: {transport: \"smtps://u@mail.example.com\", from: a@example.com, password: \"a\\u0001b\"}\n", want: expect{"CFG-066", "mail.password", "f.yaml:2:80", `"****" (3 characters)`, "has a control character", "Write the password alone, on one line."}},
		"mail by pigeon":                     {file: good + "mail: {transport: pigeon, from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"****" (6 characters)`, "is no transport that Postern knows", "Write smtp://[USER@]HOST:PORT, smtps://[USER@]HOST:PORT, or dir:PATH, a folder that takes one .eml file a mail."}},
		"mail into no folder":                {file: good + "mail: {transport: \"dir:\", from: a@example.com}\n", want: expect{"CFG-062", "mail.transport", "f.yaml:2:19", `"dir:"`, "names no folder", "Write dir:PATH: dir:/var/spool/postern."}},
		"mail from nobody":                   {file: good + "mail: {transport: \"dir:mail\"}\n", want: expect{"CFG-063", "mail.from", "default", "", "is required with mail.transport", "Write it like Example <no-reply@id.example.com>."}},
		"mail from a name":                   {file: good + "mail: {from: Example}\n", want: expect{"CFG-063", "mail.from", "f.yaml:2:14", `"Example"`, "is not a mail address", "Write it like Example <no-reply@id.example.com>."}},
		"theme that is not there":            {file: good + "branding: {theme: none}\n", want: expect{"CFG-064", "branding.theme", "f.yaml:2:19", `"none"`, "cannot be read: no such file or directory", "Check the path and its permissions."}},
		"theme that is a file":               {file: good + "branding: {theme: cert.pem}\n", want: expect{"CFG-064", "branding.theme", "f.yaml:2:19", `"cert.pem"`, "is a file", "Write the path of the folder that the templates are in."}},
		"security log in the database":       {file: good + "log: {security: {file: ./postern.db}}\n", want: expect{"CFG-065", "log.security.file", "f.yaml:2:24", `"./postern.db"`, "is the file of database.url", "Write another path: /var/log/postern/security.log."}},
		"security log in a folder":           {file: good + "log: {security: {file: .}}\n", want: expect{"CFG-065", "log.security.file", "f.yaml:2:24", `"."`, "is a folder", "Write the path of a file: security.log."}},
		"redirect to nowhere":                {file: good + "lockout: {response: redirect}\n", want: expect{"CFG-072", "lockout.redirect_url", "default", "", "is required with lockout.response redirect", "Write a path of ours, such as /help."}},
		"redirect to the form":               {file: good + "lockout: {redirect_url: \"/login?x=1\"}\n", want: expect{"CFG-072", "lockout.redirect_url", "f.yaml:2:25", `"/login?x=1"`, "leads back to the sign-in form", "Write another path, such as /help."}},
		"honeypot where we are":              {file: good + "honeypot: {paths: [/admin/, /login/admin]}\n", want: expect{"CFG-073", "honeypot.paths", "f.yaml:2:19", "", `has "/login/admin", where Postern has pages of its own`, "Remove it."}},
		"honeypot with a wildcard":           {file: good + "honeypot: {paths: [\"/{path...}\"]}\n", want: expect{"CFG-073", "honeypot.paths", "f.yaml:2:19", "", `has "/{path...}", which is no plain path`, pathForm}},
		"honeypot twice":                     {file: good + "honeypot: {paths: [/admin, /admin/]}\n", want: expect{"CFG-073", "honeypot.paths", "f.yaml:2:19", "", `has "/admin" twice, with or without a slash at the end`, "Remove one of the two."}},
		"only those of an empty list":        {file: good + "lockout: {only_allowed: true}\n", want: expect{"CFG-074", "lockout.only_allowed", "f.yaml:2:25", `"true"`, "is on, and lockout.allow_cidrs is empty: nobody could sign in", "Set lockout.allow_cidrs to the networks that may, or remove this."}},
		"nobody is exempt":                   {file: good + "lockout: {exempt_users: [a, \" \"]}\n", want: expect{"CFG-075", "lockout.exempt_users", "f.yaml:2:25", "", "has an item that names nothing: the 2nd", "Write names of 1 to 255 bytes, or remove it."}},
		"exempt twice":                       {file: good + "lockout: {exempt_groups: [a, b, a]}\n", want: expect{"CFG-075", "lockout.exempt_groups", "f.yaml:2:26", "", `has "a" twice`, "Remove one of the two."}},
		"parameter without a name":           {file: good + "lockout: {sensitive_parameters: [\"\"]}\n", want: expect{"CFG-075", "lockout.sensitive_parameters", "f.yaml:2:33", "", "has an item that names nothing: the 1st", "Write names of 1 to 255 bytes, or remove it."}},
		"message of two lines":               {file: good + "lockout: {cooloff_message: \"a\\nb\"}\n", want: expect{"CFG-076", "lockout.cooloff_message", "f.yaml:2:28", `"****" (3 characters)`, "is no text for people", "Write at most 500 printable characters, on one line."}},
		"blank message":                      {file: good + "lockout: {permalock_message: \" \"}\n", want: expect{"CFG-076", "lockout.permalock_message", "f.yaml:2:30", `" "`, "is no text for people", "Write at most 500 printable characters, on one line."}},
		"cool-off of nothing":                {file: good + "lockout: {cooloff_time: null}\n", want: expect{"CFG-008", "lockout.cooloff_time", "f.yaml:2:25", "", "has no value", "Write none for a lock until somebody clears it, or remove the line for the default."}},
		"failure log of nothing":             {file: good + "lockout: {failure_log_per_user: ~}\n", want: expect{"CFG-008", "lockout.failure_log_per_user", "f.yaml:2:33", "", "has no value", "Write 0 for no bound, or remove the line for the default."}},
		"parameters of django-axes":          {file: good + "lockout: {parameters: [[username, ip_address]]}\n", want: expect{"CFG-014", "lockout.parameters", "f.yaml:2:24", "", "has a list in its list", "Join what is counted together with +: lockout.parameters: [username+ip_address]."}},
		"the same in the environment":        {file: good, environ: `POSTERN_LOCKOUT__PARAMETERS=["ip_address",["username","user_agent"]]`, want: expect{"CFG-014", "lockout.parameters", "environment POSTERN_LOCKOUT__PARAMETERS", `"[\"ip_address\",[\"username\",\"user_agent\"]]"`, "has a list in its list", "Join what is counted together with +: lockout.parameters: [username+user_agent]."}},
		"tiers of django-axes":               {file: good + "lockout: {tiers: [[3, 1m]]}\n", want: expect{"CFG-014", "lockout.tiers", "f.yaml:2:19", "", "has a list in its list", "Write FAILURES:COOLOFF: lockout.tiers: [3:1m]."}},
		"list in another list":               {file: good + "lockout: {exempt_users: [[a]]}\n", want: expect{"CFG-014", "lockout.exempt_users", "f.yaml:2:26", "", "has a list in its list", "Write each item as a text: lockout.exempt_users: [breakglass]."}},
		"networks without hops":              {file: good + "proxy: {trusted_cidrs: [10.0.0.0/8]}\n", want: expect{"CFG-034", "proxy.trusted_cidrs", "f.yaml:2:24", "", "says whom to believe, but proxy.trusted_hops believes nobody", "Set proxy.trusted_hops to the number of proxies in front, or proxy.client_ip_header, or remove this."}},
		"unknown database":                   {file: good + "database: {url: \"mysql://u:p@h/d\"}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"mysql://u:****@h/d"`, "is no database that Postern knows", "Write sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE."}},
		"SQLite without file":                {file: good + "database: {url: \"sqlite:\"}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"sqlite:"`, "names no file", "Write sqlite:PATH: sqlite:/var/lib/postern/postern.db."}},
		"SQLite in memory":                   {file: good + "database: {url: \"sqlite::memory:\"}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"sqlite::memory:"`, "names no file", "Write sqlite:PATH: sqlite:/var/lib/postern/postern.db."}},
		"PostgreSQL with one slash":          {file: good + "database: {url: \"postgres:/u:p@h/d\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (17 characters)`, "is not a URL", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password."}},
		"password with a slash":              {file: good + "database: {url: \"postgres://u:p@ss/w@h/db\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (24 characters)`, "has an @ behind its host", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password: %40 for @, %2F for /."}},
		"password with a hash":               {file: good + "database: {url: \"postgres://u:12#3@h/db\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (22 characters)`, "has an @ behind its host", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password: %40 for @, %2F for /."}},
		"PostgreSQL without URL":             {file: good + "database: {url: \"postgres:db\"}\nsecrets: {keys: [\"1:a\"]}\n", want: expect{"CFG-040", "database.url", "f.yaml:2:17", `"****" (11 characters)`, "is not a URL", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password."}},
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
		"pattern that is none":          {file: good + "username: {patterns: [\"[a-z\"]}\n", want: expect{"CFG-080", "username.patterns", "f.yaml:2:22", "", "has \"[a-z\", which is no regular expression", "Write it in the syntax of RE2: \"^[a-z0-9]+$\", in quotes."}},
		"domain that is none":           {file: good + "email: {blocked_domains: [com]}\n", want: expect{"CFG-081", "email.blocked_domains", "f.yaml:2:26", "", "has \"com\", which is no domain", "Write it like example.com, or *.example.com for the subdomains alone, in small letters and with xn-- for others than those of ASCII."}},
		"sign-up at no time":            {file: good + "signup: {open_from: tomorrow}\n", want: expect{"CFG-082", "signup.open_from", "f.yaml:2:21", `"tomorrow"`, "is no time", "Write date, time and zone (RFC 3339): 2026-01-31T09:00:00Z, or …+01:00."}},
		"validator that is none":        {file: good + "password: {validators: [lenght]}\n", want: expect{"CFG-083", "password.validators", "f.yaml:2:24", "", "has \"lenght\", which is no validator", "Write length, similarity, common, numeric, complexity or zxcvbn."}},
		"contact that is none":          {file: good + "security: {contacts: [security@example.com]}\n", want: expect{"CFG-084", "security.contacts", "f.yaml:2:22", "", "has \"security@example.com\", which is no address to report to", "Write mailto:security@example.com, https://example.com/report or tel:+1-201-555-0123."}},
		"policy for nobody":             {file: good + "mfa: {policies: [\"role=owner => required\"]}\n", want: expect{"CFG-085", "mfa.policies", "f.yaml:2:17", "", "has \"role=owner => required\", which is for nobody", "Write role=admin or group=NAME before the arrow."}},
		"policy that is none":           {file: good + "mfa: {policies: [\"group=staff => must\"]}\n", want: expect{"CFG-085", "mfa.policies", "f.yaml:2:17", "", "has \"group=staff => must\", whose policy is none", "Write off, optional or required behind the arrow."}},
		"policy without an arrow":       {file: good + "mfa: {policies: [\"role=admin: off\"]}\n", want: expect{"CFG-085", "mfa.policies", "f.yaml:2:17", "", "has \"role=admin: off\", which assigns nothing", "Write MATCH => POLICY: role=admin => required."}},
		"factors from no time on":       {file: good + "mfa: {required_from: 2026-01-31}\n", want: expect{"CFG-085", "mfa.required_from", "f.yaml:2:22", `"2026-01-31"`, "is no time", "Write date, time and zone (RFC 3339): 2026-01-31T09:00:00Z, or …+01:00."}},
		"level that is none":            {file: good + "mfa: {acr: [\"gold => high\"]}\n", want: expect{"CFG-086", "mfa.acr", "f.yaml:2:12", "", "has \"gold => high\", whose level is none", "Write pwd, mfa, phr or phrh behind the arrow."}},
		"acr twice":                     {file: good + "mfa: {acr: [\"gold => mfa\", \"gold => phr\"]}\n", want: expect{"CFG-086", "mfa.acr", "f.yaml:2:12", "", "has \"gold\" twice", "Remove one of the two."}},
		"passkeys of elsewhere":         {file: good + "mfa: {webauthn: {rp_id: example.org}}\n", want: expect{"CFG-087", "mfa.webauthn.rp_id", "f.yaml:2:25", `"example.org"`, "is neither the issuer's host, which is id.example.com, nor a domain that it is in", "Write id.example.com, a domain that it ends with, or nothing."}},
		"related page":                  {file: good + "mfa: {webauthn: {related_origins: [\"https://example.org/\"]}}\n", want: expect{"CFG-087", "mfa.webauthn.related_origins", "f.yaml:2:35", "", "has \"https://example.org/\", which is no https origin", "Write scheme and host alone, in small letters: https://example.org."}},
		"model by its name":             {file: good + "mfa: {webauthn: {admin_models: [YubiKey]}}\n", want: expect{"CFG-087", "mfa.webauthn.admin_models", "f.yaml:2:32", "", "has \"YubiKey\", which is no AAGUID", "Write it as its maker does: ee882879-721c-4913-9775-3dfcce97072a."}},
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
	in(t, map[string]string{"f.yaml": "listen: nowhere\ntls: {cert: none.pem, hsts: {max_age: 1d}}\nproxy: {trusted_cidrs: [10.0.0.0/8]}\nmetrics: {listen: x}\nbranding: {theme: none}\nhoneypot: {paths: [x]}\nlockout: {redirect_url: \"https://id.example.com/help\"}\n"})
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

// complaints are the codes and keys of what is wrong with a section.
func complaints(t *testing.T, s config.Source, file string) string {
	t.Helper()
	in(t, map[string]string{"postern.yaml": "issuer: https://id.example.com\n" + file + "\n"})
	_, err := config.Load(s)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var all []string
	for _, p := range problems {
		all = append(all, p.Code+" "+p.Key)
	}
	return strings.Join(all, ", ")
}

func TestS0_12_UnknownActionsFindTheNearestOne(t *testing.T) {
	for unknown, want := range map[string]string{
		"logins": "rate_limits.login", "reset_pasword": "rate_limits.reset_password", "mfa_fail": "rate_limits.mfa_failed",
		"web_authn_options": "rate_limits.webauthn_options", "device_usercode": "rate_limits.device_user_code", "authapi": "rate_limits.auth_api",
		"token_endpoint_auth_fail": "rate_limits.token_endpoint_auth_failed", "confirm_mail": "rate_limits.confirm_email", "exempt_cidr": "rate_limits.exempt_cidrs",
	} {
		in(t, map[string]string{"postern.yaml": "issuer: https://id.example.com\nrate_limits: {" + unknown + ": 5/m/ip}\n"})
		_, err := config.Load(config.Source{})
		var problems config.Problems
		if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Code != "CFG-001" || problems[0].Remedy != "Did you mean "+want+"?" {
			t.Errorf("%s: got %v, want %s", unknown, err, want)
		}
	}
}

func TestS0_20_ClientAddressHeadersAreBelievedFromNetworksAlone(t *testing.T) {
	for file, want := range map[string]string{
		"proxy: {client_ip_header: CF-Connecting-IP}":                                             "CFG-036 proxy.client_ip_header",
		"proxy: {client_ip_header: CF-Connecting-IP, trusted_hops: 1}":                            "CFG-036 proxy.client_ip_header",
		"proxy: {client_ip_header: CF-Connecting-IP, trusted_cidrs: [10.0.0.0/8]}":                "",
		"proxy: {client_ip_header: \"CF-Connecting-IP, X-Real-IP\", trusted_cidrs: [10.0.0.0/8]}": "",
		"proxy: {client_ip_header: x-forwarded-for, trusted_cidrs: [10.0.0.0/8]}":                 "CFG-036 proxy.client_ip_header",
		"proxy: {client_ip_header: Forwarded, trusted_cidrs: [10.0.0.0/8]}":                       "CFG-036 proxy.client_ip_header",
		"proxy: {client_ip_header: HTTP_X_FORWARDED_FOR, trusted_cidrs: [10.0.0.0/8]}":            "CFG-036 proxy.client_ip_header",
		"proxy: {client_ip_header: \"X-Real-IP: 1\", trusted_cidrs: [10.0.0.0/8]}":                "CFG-036 proxy.client_ip_header",
		"proxy: {order: left-most, trusted_hops: 1}":                                              "",
		"proxy: {order: leftmost}": "CFG-017 proxy.order",
		"proxy: {client_ip_header: X-Real-IP, trusted_cidrs: [10.0.0.1/8]}":                                "CFG-013 proxy.trusted_cidrs",
		"proxy: {client_ip_header: X-Real-IP, trusted_hops: 2, trusted_cidrs: [10.0.0.0/8, \"fd00::/8\"]}": "",
	} {
		if got := complaints(t, config.Source{}, file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func TestS4_04_CooloffTimeIsReadAsItIsWritten(t *testing.T) {
	for text, want := range map[string]string{"0.5": "0.5", "1": "1", "none": "none", "15m": "15m", "PT15M": "PT15M", `"2"`: "2"} {
		in(t, map[string]string{"postern.yaml": "issuer: https://id.example.com\nlockout: {cooloff_time: " + text + ", failure_limit: 4}\n"})
		got := load(t, config.Source{}).Lockout
		if got.CooloffTime != want || got.FailureLimit != 4 {
			t.Errorf("%s: got %q and the limit %d, want %q and 4", text, got.CooloffTime, got.FailureLimit, want)
		}
	}
	for file, want := range map[string]string{
		"lockout: {cooloff_time: [15m]}":      "CFG-014 lockout.cooloff_time",
		"lockout: {cooloff_time: null}":       "CFG-008 lockout.cooloff_time",
		"lockout: {cooloff_time: {hours: 1}}": "CFG-006 lockout.cooloff_time",
		"lockout: {failure_limit: 0}":         "CFG-015 lockout.failure_limit",
		"lockout: {failure_limit: 5.0}":       "CFG-010 lockout.failure_limit",
		"lockout: {sliding: maybe}":           "CFG-011 lockout.sliding",
		"lockout: {parameters: ip_address}":   "CFG-014 lockout.parameters",
	} {
		if got := complaints(t, config.Source{}, file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func TestS4_15_HandlersAreThoseOfTheList(t *testing.T) {
	for file, want := range map[string]string{
		"lockout: {handler: database}":                                     "",
		"lockout: {handler: memory}":                                       "",
		"lockout: {handler: redis}\nredis: {url: \"redis://:p@h:6379/2\"}": "",
		"lockout: {handler: redis}\nredis: {url: \"rediss://h\"}":          "",
		"lockout: {handler: redis}":                                        "CFG-045 redis.url",
		"lockout: {handler: redis}\nredis: {url: \"redis://h:6379?db=1\"}": "CFG-045 redis.url",
		"lockout: {handler: redis}\nredis: {url: \"unix:///run/redis\"}":   "CFG-045 redis.url",
		"lockout: {handler: cache}":                                        "CFG-017 lockout.handler",
		"lockout: {handler: axes.handlers.database.AxesDatabaseHandler}":   "CFG-017 lockout.handler",
	} {
		if got := complaints(t, config.Source{}, file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func TestS4_19_LockoutRedirectsToOurselvesAlone(t *testing.T) {
	const evil = "CFG-072 lockout.redirect_url"
	for target, want := range map[string]string{
		"/help": "", "/help?topic=lockout#top": "", "https://id.example.com/help": "", "/": "",
		"https://evil.example":                     evil,
		"https://id.example.com.evil.example/help": evil,
		"https://id.example.com@evil.example/help": evil,
		"https://id.example.com":                   evil,
		"https://id.example.com//evil.example":     evil,
		"http://id.example.com/help":               evil,
		"//evil.example":                           evil,
		`/\evil.example`:                           evil,
		"/ /evil.example":                          evil,
		"help":                                     evil,
		"javascript:alert(1)":                      evil,
		"https://id.example.com/login":             evil,
		"/login":                                   evil,
		"":                                         evil,
	} {
		if got := complaints(t, config.Source{}, "lockout: {response: redirect, redirect_url: '"+target+"'}"); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
	// The page wins where both are there, so that its address may stay.
	if got := complaints(t, config.Source{}, "lockout: {response: page, redirect_url: /help}"); got != "" {
		t.Errorf("page beside an address: got %q", got)
	}
}

func TestS4_38_LockoutStatusIsAClientError(t *testing.T) {
	for status, want := range map[string]string{
		"403": "", "429": "", "400": "", "499": "",
		"200": "CFG-015 lockout.status", "302": "CFG-015 lockout.status", "399": "CFG-015 lockout.status", "500": "CFG-015 lockout.status",
	} {
		if got := complaints(t, config.Source{}, "lockout: {status: "+status+"}"); got != want {
			t.Errorf("%s: got %q, want %q", status, got, want)
		}
	}
}

func TestS4_55_DummyHandlerIsForDevelopment(t *testing.T) {
	if got := complaints(t, config.Source{}, "lockout: {handler: dummy}"); got != "CFG-046 lockout.handler" {
		t.Errorf("in production: got %q", got)
	}
	if got := complaints(t, config.Source{Dev: true}, "lockout: {handler: dummy}"); got != "" {
		t.Errorf("in development: got %q", got)
	}
}

func TestS4_32_AllowListAloneNeedsEntries(t *testing.T) {
	if got := complaints(t, config.Source{}, "lockout: {only_allowed: true}"); got != "CFG-074 lockout.only_allowed" {
		t.Errorf("without entries: got %q", got)
	}
	if got := complaints(t, config.Source{}, "lockout: {only_allowed: true, allow_cidrs: [10.0.0.0/8], deny_cidrs: [10.0.0.0/8]}"); got != "" {
		t.Errorf("with one that is denied as well: got %q", got)
	}
}

func TestS2_05_HoneypotStaysOutOfOurPaths(t *testing.T) {
	const bad = "CFG-073 honeypot.paths"
	for paths, want := range map[string]string{
		"[]": "", "[/admin/, /wp-login.php, /.env, /phpmyadmin/index.php, /loginx]": "",
		"[/]": bad, "[admin]": bad, "[//admin]": bad, "[/a//b]": bad, "[/a/../login]": bad, "[/./login]": bad, "['/{x}']": bad, "['/a b']": bad, "['/a%2f']": bad, "['/a?b']": bad,
		"[/login]": bad, "[/login/]": bad, "[/oauth2/token]": bad, "[/oauth2/]": bad, "[/.well-known/x]": bad, "[/account]": bad, "[/static/x.css]": bad,
		"[/consent]": bad, "[/logout]": bad, "[/healthz]": bad, "[/admin, /admin/]": bad, "[/admin/, /admin/]": bad, "[/" + strings.Repeat("a", 255) + "]": bad,
	} {
		if got := complaints(t, config.Source{}, "honeypot: {paths: "+paths+"}"); got != want {
			t.Errorf("%s: got %q, want %q", paths, got, want)
		}
	}
}

func TestS4_22_FieldsOfTheFormHaveGoodNames(t *testing.T) {
	for file, want := range map[string]string{
		"login: {username_field: email}":                                 "",
		"login: {username_field: password, password_field: secret_word}": "",
		"login: {username_field: remember}":                              "CFG-054 login.username_field",
		"login: {username_field: cancel}":                                "CFG-054 login.username_field",
		"login: {username_field: \"a b\"}":                               "CFG-054 login.username_field",
		"login: {username_field: \"\"}":                                  "CFG-054 login.username_field",
		"login: {username_field: 1st}":                                   "CFG-054 login.username_field",
		"login: {password_field: '\"><script>'}":                         "CFG-054 login.password_field",
	} {
		if got := complaints(t, config.Source{}, file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func TestMetricsListenElsewhereThanThePublic(t *testing.T) {
	for file, want := range map[string]string{
		"metrics: {listen: off}":                                        "",
		"metrics: {listen: \":9090\"}":                                  "",
		"listen: \"127.0.0.1:80\"\nmetrics: {listen: \"[::1]:80\"}":     "",
		"listen: \":0\"\nmetrics: {listen: \":0\"}":                     "",
		"listen: \"127.0.0.1:80\"\nmetrics: {listen: \":80\"}":          "CFG-037 metrics.listen",
		"listen: \"127.0.0.1:80\"\nmetrics: {listen: \"0.0.0.0:80\"}":   "CFG-037 metrics.listen",
		"listen: \"127.0.0.1:80\"\nmetrics: {listen: \"127.0.0.1:80\"}": "CFG-037 metrics.listen",
		"metrics: {listen: \"127.0.0.1:99999\"}":                        "CFG-030 metrics.listen",
		"metrics: {listen: \"\"}":                                       "CFG-030 metrics.listen",
	} {
		if got := complaints(t, config.Source{}, file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func TestS0_76_MailServersAreHeldToWhatTheySay(t *testing.T) {
	const good, user = "smtp://mail.example.com", "smtp://me@example.com@mail.example.com:587"
	for transport, want := range map[string]string{
		good: "", good + "/": "", good + ":587": "", "smtps://mail.example.com:465": "", "smtp://localhost:25": "", "smtp://[::1]:25": "", "dir:mail": "",
		user: "", "smtps://me%40example.com@mail.example.com": "",
		"smtp://": "CFG-062 mail.transport", "smtp://ho st": "CFG-062 mail.transport", good + ":70000": "CFG-062 mail.transport", good + ":smtp": "CFG-062 mail.transport",
		good + "?tls=no": "CFG-062 mail.transport", good + "#x": "CFG-062 mail.transport", "smtp://me:pw@mail.example.com": "CFG-062 mail.transport",
	} {
		password := ""
		if strings.Contains(transport, "@") && want == "" {
			password = ", password: pw"
		}
		if got := complaints(t, config.Source{}, "mail: {from: a@example.com, transport: \""+transport+"\""+password+"}"); got != want {
			t.Errorf("%s: got %q, want %q", transport, got, want)
		}
	}
}

func TestPasswordForTheMailServerIsReadFromItsFileAndShownToNobody(t *testing.T) {
	in(t, map[string]string{
		"postern.yaml": "issuer: https://id.example.com\nmail: {from: a@example.com, transport: \"smtp://me@mail.example.com\", password: \"file:mail.password\"}\n", "mail.password": "hunter2\n"})
	loaded := load(t, config.Source{})
	if got := loaded.Config.Mail.Password; got != "hunter2" {
		t.Errorf("got %q", got)
	}
	shown := fmt.Sprint(loaded.Settings())
	if strings.Contains(shown, "hunter2") || !strings.Contains(shown, "smtp://me@mail.example.com") {
		t.Errorf("shown: %s", shown)
	}
}

func TestWhatAccountsNeedIsJudged(t *testing.T) {
	for key, values := range map[string]map[string]bool{
		"username.patterns":     {`["^[a-z]+$"]`: true, `["a)|(b"]`: false, `[""]`: false, `["(?=a)"]`: false},
		"username.reserved":     {`["ceo"]`: true, `["--"]`: false},
		"email.blocked_domains": {`["example.net","*.example.org","*.xyz","xn--bcher-kva.example"]`: true, `["Example.net"]`: false, `["*"]`: false, `["a.*.com"]`: false, `["192.0.2.7"]`: false, `["-a.example"]`: false, `["example.net."]`: false},
		"email.allowed_domains": {`["relay.example.org"]`: true, `["x@example.org"]`: false},
		"signup.open_from":      {"2026-01-31T09:00:00Z": true, "2026-01-31T09:00:00+01:00": true, "2026-01-31": false, "2026-02-30T09:00:00Z": false},
		"signup.open_hours":     {"09:00-17:00 Europe/Berlin": true, "22:00-06:00 UTC": true, "09:00-17:00": false, "9:00-17:00 UTC": false, "09:00-25:00 UTC": false, "09:00-09:00 UTC": false, "09:00-17:00 Local": false, "09:00-17:00 Mars/Olympus": false},
		"signup.honeypot_field": {"website2": true, "": true, "email": false, "cancel": false, "a b": false},
		"password.validators":   {`["length"]`: true, `["zxcvbn","complexity"]`: true, `[]`: false, `["length","length"]`: false},
		"password.min_score":    {"1": true, "4": true, "0": false, "5": false},
		"security.contacts":     {`["mailto:a@example.com","https://example.com/r","tel:+1-201-555-0123"]`: true, `["mailto:"]`: false, `["http://example.com/"]`: false, `["https://example.com/\r\nPolicy: x"]`: false},
		"security.expires":      {"2027-01-31T00:00:00Z": true, "soon": false},
		"security.policy":       {"https://example.com/p": true, "http://example.com/p": false, "/p": false},
		"security.encryption":   {"https://example.com/k": true, "openpgp4fpr:5f2de5521c63a801ab59ccb603d49de44b29100f": true, "dns:k._openpgpkey.example.com?type=OPENPGPKEY": true, "x": false},
		"security.languages":    {`["en","pt-BR"]`: true, `["english please"]`: false},
	} {
		for value, good := range values {
			_, err := config.Load(config.Source{Set: []string{"issuer=https://id.example.com", key + "=" + value}})
			problems, _ := err.(config.Problems)
			if good != (err == nil) || !good && (len(problems) != 1 || problems[0].Key != key) {
				t.Errorf("%s=%s: got %v, want it to be good: %t", key, value, err, good)
			}
		}
	}
}

func TestSignUpClosesAfterItOpens(t *testing.T) {
	for until, good := range map[string]bool{"2026-01-31T09:00:00Z": false, "2026-01-31T09:00:01Z": true, "2026-01-31T09:30:00+01:00": false} {
		_, err := config.Load(config.Source{Set: []string{
			"issuer=https://id.example.com", "signup.open_from=2026-01-31T09:00:00Z", "signup.open_until=" + until,
		}})
		if good != (err == nil) {
			t.Errorf("until %s: got %v, want it to be good: %t", until, err, good)
		}
	}
}

func TestADomainIsInOneListAlone(t *testing.T) {
	_, err := config.Load(config.Source{Set: []string{
		"issuer=https://id.example.com", `email.blocked_domains=["a.example"]`, `email.allowed_domains=["a.example"]`,
	}})
	if problems, _ := err.(config.Problems); len(problems) != 1 || problems[0].Key != "email.blocked_domains" {
		t.Errorf("got %v, want a problem of email.blocked_domains", err)
	}
}

func TestWhatSecondFactorsNeedIsJudged(t *testing.T) {
	for key, values := range map[string]map[string]bool{
		"mfa.policies": {
			`["role=admin => required"]`: true, `["group=staff=>optional","role=admin => off"]`: true, `[]`: true,
			`["role=admin"]`: false, `["=> off"]`: false, `["group= => off"]`: false, `["role=admin => "]`: false, `["user=bob => off"]`: false,
		},
		"mfa.required_from": {"2026-01-31T09:00:00Z": true, "": true, "soon": false},
		"mfa.acr": {
			`["https://refeds.org/profile/mfa => mfa","mfa => mfa"]`: true, `[]`: true,
			`["mfa"]`: false, `[" => mfa"]`: false, `["two words => mfa"]`: false, `["x => MFA"]`: false,
		},
		"mfa.totp.issuer":      {"Example: Accounts": true, "": true, "a\tb": false},
		"mfa.webauthn.rp_name": {"Söhne & Co": true, " ": false},
		"mfa.webauthn.rp_id": {
			"id.example.com": true, "example.com": true, "": true,
			"com": false, "other.example.com": false, "ample.com": false, "https://example.com": false, "ID.example.com": false, ".example.com": false,
		},
		"mfa.webauthn.related_origins": {
			`["https://example.org","https://example.net:8443"]`: true, `["http://example.org"]`: false, `["example.org"]`: false,
			`["https://example.org?"]`: false, `["https://u@example.org"]`: false, `["https://Example.org"]`: false, `["https://"]`: false,
		},
		"mfa.webauthn.admin_models": {`["ee882879-721c-4913-9775-3dfcce97072a"]`: true, `["ee882879"]`: false, `["*"]`: false},
	} {
		for value, good := range values {
			_, err := config.Load(config.Source{Set: []string{"issuer=https://id.example.com", key + "=" + value}})
			problems, _ := err.(config.Problems)
			if good != (err == nil) || !good && (len(problems) != 1 || problems[0].Key != key) {
				t.Errorf("%s=%s: got %v, want it to be good: %t", key, value, err, good)
			}
		}
	}
}

func TestEveryBadLineOfPoliciesAndOfACRIsTold(t *testing.T) {
	_, err := config.Load(config.Source{Set: []string{
		"issuer=https://id.example.com", `mfa.policies=["role=owner => off","role=admin => required","group=staff => must","staff"]`,
		`mfa.acr=["gold => high","mfa => mfa","mfa => phr","silver"]`,
	}})
	problems, _ := err.(config.Problems)
	told := map[string]bool{}
	for _, p := range problems {
		told[p.Key+" "+p.Reason] = true
	}
	want := map[string]bool{
		`mfa.policies has "role=owner => off", which is for nobody`: true, `mfa.policies has "group=staff => must", whose policy is none`: true,
		`mfa.policies has "staff", which assigns nothing`: true, `mfa.acr has "gold => high", whose level is none`: true,
		`mfa.acr has "mfa" twice`: true, `mfa.acr has "silver", which assigns nothing`: true,
	}
	if !maps.Equal(told, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestWherePasskeysCannotBeThereIsNoRelyingPartyID(t *testing.T) {
	for id, good := range map[string]bool{"": true, "192.0.2.7": false, "2.7": false} {
		_, err := config.Load(config.Source{Set: []string{"issuer=https://192.0.2.7", "mfa.webauthn.rp_id=" + id}})
		if problems, _ := err.(config.Problems); good != (err == nil) || !good && problems[0].Key != "mfa.webauthn.rp_id" {
			t.Errorf("%q: got %v, want it to be good: %t", id, err, good)
		}
	}
}
