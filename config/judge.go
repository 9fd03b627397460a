package config

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A rule judges one key, with a look at the others. A nil complaint means that it is well.
type rule struct {
	key   string
	judge func(c *Config) *complaint
}

// rules are what types, ranges and words do not say.
var rules = []rule{
	{"issuer", judgeIssuer},
	{"listen", judgeListen},
	{"tls.cert", func(c *Config) *complaint { return judgeTLSFile(c.TLS.Cert, c.TLS.Key, "tls.key") }},
	{"tls.key", func(c *Config) *complaint {
		if bad := judgeTLSFile(c.TLS.Key, c.TLS.Cert, "tls.cert"); bad != nil {
			return bad
		}
		return judgeTLSPair(c.TLS)
	}},
	{"tls.hsts.preload", judgePreload},
	{"proxy.trusted_cidrs", judgeTrustedCIDRs},
	{"proxy.client_ip_header", judgeClientIPHeader},
	{"database.url", judgeDatabase},
	{"redis.url", judgeRedis},
	{"secrets.keys", judgeSecrets},
	{"mail.transport", judgeTransport},
	{"mail.password", judgeMailPassword},
	{"mail.from", judgeFrom},
	{"login.username_field", func(c *Config) *complaint {
		return judgeField(c.Login.UsernameField, c.Login.PasswordField, "login.password_field")
	}},
	{"login.password_field", func(c *Config) *complaint { return judgeField(c.Login.PasswordField, "", "") }},
	{"signup.open_from", func(c *Config) *complaint { return judgeInstant(c.Signup.OpenFrom) }},
	{"signup.open_until", judgeOpenUntil},
	{"signup.open_hours", judgeOpenHours},
	{"signup.honeypot_field", judgeTrap},
	{"username.patterns", judgePatterns},
	{"username.reserved", judgeReserved},
	{"email.blocked_domains", func(c *Config) *complaint {
		return judgeDomains(c.Email.BlockedDomains, c.Email.AllowedDomains, "email.allowed_domains")
	}},
	{"email.allowed_domains", func(c *Config) *complaint { return judgeDomains(c.Email.AllowedDomains, nil, "") }},
	{"password.validators", judgeValidators},
	{"security.contacts", judgeContacts},
	{"security.expires", judgeSecurityExpires},
	{"security.policy", func(c *Config) *complaint { return judgeWebAddress(c.Security.Policy) }},
	{"security.languages", judgeLanguages},
	{"security.encryption", func(c *Config) *complaint { return judgeWebAddress(c.Security.Encryption, "dns", "openpgp4fpr") }},
	{"mfa.required_from", judgeRequiredFrom},
	{"mfa.totp.issuer", func(c *Config) *complaint { return judgeShownName(c.MFA.TOTP.Issuer) }},
	{"mfa.webauthn.rp_id", judgeRPID},
	{"mfa.webauthn.rp_name", func(c *Config) *complaint { return judgeShownName(c.MFA.WebAuthn.RPName) }},
	{"mfa.webauthn.related_origins", judgeRelatedOrigins},
	{"mfa.webauthn.admin_models", judgeAdminModels},
	{"password.argon2.memory_kib", judgeArgon2},
	{"password.hash_memory_mib", judgeHashMemory},
	{"sessions.idle_timeout", judgeIdleTimeout},
	{"lockout.handler", judgeHandler},
	{"lockout.redirect_url", judgeRedirectURL},
	{"lockout.cooloff_message", func(c *Config) *complaint { return judgeMessage(c.Lockout.CooloffMessage) }},
	{"lockout.permalock_message", func(c *Config) *complaint { return judgeMessage(c.Lockout.PermalockMessage) }},
	{"lockout.only_allowed", judgeOnlyAllowed},
	{"lockout.exempt_users", func(c *Config) *complaint { return judgeWords(c.Lockout.ExemptUsers) }},
	{"lockout.exempt_groups", func(c *Config) *complaint { return judgeWords(c.Lockout.ExemptGroups) }},
	{"lockout.sensitive_parameters", func(c *Config) *complaint { return judgeWords(c.Lockout.SensitiveParameters) }},
	{"honeypot.paths", judgeHoneypotPaths},
	{"tokens.refresh_cap", func(c *Config) *complaint { return judgeCap(c.Tokens.RefreshCap, c.Tokens.RefreshTTL) }},
	{"tokens.offline_cap", func(c *Config) *complaint { return judgeCap(c.Tokens.OfflineCap, c.Tokens.RefreshTTL) }},
	{"tokens.refresh_window", judgeRefreshWindow},
	{"branding.name", judgeName},
	{"branding.support", judgeSupport},
	{"branding.theme", judgeTheme},
	{"log.security.file", judgeSecurityLog},
	{"metrics.listen", judgeMetrics},
}

// lineRules judge every line of a list, since who wrote one of them wrongly wrote the next so, too.
var lineRules = []struct {
	key   string
	judge func(c *Config) []complaint
}{
	{"mfa.policies", judgeFactorPolicies},
	{"mfa.acr", judgeACR},
}

func (l *loader) judge(s *Loaded) {
	for _, k := range allKeys() {
		if l.broken[k.Path] {
			continue
		}
		if c := k.judgeRange(s.Config, reflect.ValueOf(s.Config).Elem().FieldByIndex(k.index)); c != nil {
			l.find(s.problem(k.Path, *c))
		}
	}
	for _, r := range rules {
		if l.broken[r.key] || l.unread && r.key == "issuer" && s.Issuer == "" || l.databaseAlone && forServers(r.key) {
			continue
		}
		if c := r.judge(s.Config); c != nil {
			l.find(s.problem(r.key, *c))
		}
	}
	for _, r := range lineRules {
		if l.broken[r.key] {
			continue
		}
		for _, c := range r.judge(s.Config) {
			l.find(s.problem(r.key, c))
		}
	}
}

// forServers tells whether only what listens has a use for key.
func forServers(key string) bool {
	section, _, _ := strings.Cut(key, ".")
	return slices.Contains([]string{"issuer", "listen", "tls", "proxy", "honeypot", "metrics"}, section) ||
		slices.Contains([]string{"lockout.redirect_url", "branding.theme", "log.security.file"}, key)
}

// judgeRange judges the tags oneof, min and max.
func (k Key) judgeRange(c *Config, v reflect.Value) *complaint {
	if len(k.OneOf) > 0 && !slices.Contains(k.OneOf, v.String()) {
		return k.complainOfWord(c, v.String())
	}
	if k.Min == "" {
		return nil
	}
	if k.Type == "duration" {
		least, _ := ParseDuration(k.Min)
		most, _ := ParseDuration(k.Max)
		if d := time.Duration(v.Int()); d < least || d > most {
			return &complaint{"CFG-016", "is out of range", fmt.Sprintf("Write a duration from %s to %s.", k.Min, k.Max)}
		}
		return nil
	}
	var n int64
	if v.CanInt() {
		n = v.Int()
	} else {
		n = int64(v.Uint())
	}
	least, _ := strconv.ParseInt(k.Min, 10, 64)
	most, _ := strconv.ParseInt(k.Max, 10, 64)
	if n < least || n > most {
		return &complaint{"CFG-015", "is out of range", fmt.Sprintf("Write a number from %s to %s.", k.Min, k.Max)}
	}
	return nil
}

// complainOfWord is about a text that is none of the words of k.
func (k Key) complainOfWord(c *Config, text string) *complaint {
	words := slices.DeleteFunc(slices.Clone(k.OneOf), func(word string) bool {
		return k.Path == "lockout.handler" && word == "dummy" && !c.Development() // see judgeHandler
	})
	remedy := "Write " + enumerate(words) + "."
	if nearest := suggestWord(text, words); nearest != "" {
		remedy = "Did you mean " + nearest + "? " + remedy
	}
	return &complaint{"CFG-017", "is none of the words for it", remedy}
}

func enumerate(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// judgeIssuer holds the issuer to OpenID Connect Discovery 1.0 §3 and, since every address of ours
// is made from it, to an origin: no path, query or fragment.
func judgeIssuer(c *Config) *complaint {
	if c.Issuer == "" {
		return &complaint{"CFG-022", "is required: the address by which relying parties and browsers know this provider",
			"Write `issuer: https://id.example.com` into " + DefaultFile + ", or set POSTERN_ISSUER."}
	}
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return &complaint{"CFG-021", "is not an https address", "Write it like https://id.example.com."}
	}
	origin := u.Scheme + "://" + strings.ToLower(u.Host)
	port := u.Port()
	switch {
	case u.User != nil:
		return &complaint{"CFG-021", "has a user in it", "Write " + origin + "."}
	case u.Path == "/":
		return &complaint{"CFG-021", "ends with a slash", "Write " + origin + "."}
	case u.Path != "":
		return &complaint{"CFG-021", "has a path", "Write " + origin + ", and give Postern a host name of its own."}
	case u.RawQuery != "" || u.ForceQuery:
		return &complaint{"CFG-021", "has a query", "Write " + origin + "."}
	case u.Fragment != "" || strings.HasSuffix(c.Issuer, "#"):
		return &complaint{"CFG-021", "has a fragment", "Write " + origin + "."}
	case strings.HasSuffix(u.Host, ":"), u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
		return &complaint{"CFG-021", "names the default port", "Write " + strings.TrimSuffix(origin, ":"+port) + "."}
	case u.Host != strings.ToLower(u.Host):
		return &complaint{"CFG-021", "has capital letters in its host", "Write " + origin + "."}
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' }):
		return &complaint{"CFG-021", "has a host that is not ASCII", "Write the host's xn-- form."}
	}
	return judgeScheme(c, u)
}

func judgeScheme(c *Config, u *url.URL) *complaint {
	if u.Scheme == "https" {
		return nil
	}
	if u.Hostname() != "localhost" {
		return &complaint{"CFG-020", "uses http for a public host", "Use https, or run `postern serve --dev` for a local trial."}
	}
	if !c.Development() {
		return &complaint{"CFG-020", "uses http", "Use https, or run `postern serve --dev` for a local trial."}
	}
	if c.TLS.Cert != "" {
		return &complaint{"CFG-020", "uses http, and tls.cert serves https", "Write https://" + u.Host + ", or remove tls.cert."}
	}
	return nil
}

func judgeListen(c *Config) *complaint { return judgeAddress(c.Listen) }

// judgeAddress holds what to listen on to HOST:PORT.
func judgeAddress(address string) *complaint {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		remedy := "Write HOST:PORT, or :PORT for every address."
		if _, err := strconv.ParseUint(address, 10, 16); err == nil {
			remedy = `Write ":` + address + `".`
		}
		return &complaint{"CFG-030", "is not HOST:PORT", remedy}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return &complaint{"CFG-030", "has no port from 0 to 65535", `Write it like ":8080".`}
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, " /:@") {
		return &complaint{"CFG-030", "has no host name or address before the port", `Write it like "127.0.0.1:8080".`}
	}
	return nil
}

func judgeTLSFile(path, other, otherKey string) *complaint {
	if path == "" && other != "" {
		return &complaint{"CFG-031", "is missing beside " + otherKey, "Set both, or remove " + otherKey + "."}
	}
	if path == "" {
		return nil
	}
	if _, err := readLimited(path); err != nil {
		return &complaint{"CFG-032", "cannot be read: " + cause(err), "Check the path and its permissions."}
	}
	return nil
}

func judgeTLSPair(t TLS) *complaint {
	if t.Cert == "" || t.Key == "" {
		return nil
	}
	cert, err := os.ReadFile(t.Cert)
	if err != nil {
		return nil // tls.cert has this problem
	}
	key, err := os.ReadFile(t.Key)
	if err != nil {
		return nil
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return &complaint{"CFG-033", "does not fit tls.cert: " + strings.TrimPrefix(err.Error(), "tls: "),
			"Give both files as PEM, the certificate first in its chain."}
	}
	return nil
}

// leastPreload is what the browsers' preload list asks for.
const leastPreload = 365 * 24 * time.Hour

func judgePreload(c *Config) *complaint {
	switch h := c.TLS.HSTS; {
	case h.Preload && !h.IncludeSubdomains:
		return &complaint{"CFG-035", "is on without tls.hsts.include_subdomains", "Set tls.hsts.preload: false, or include the subdomains."}
	case h.Preload && h.MaxAge < leastPreload:
		return &complaint{"CFG-035", "is on with a tls.hsts.max_age of less than " + FormatDuration(leastPreload),
			"Set tls.hsts.preload: false, or a longer time."}
	}
	return nil
}

func judgeTrustedCIDRs(c *Config) *complaint {
	if len(c.Proxy.TrustedCIDRs) > 0 && c.Proxy.TrustedHops == 0 && c.Proxy.ClientIPHeader == "" {
		return &complaint{"CFG-034", "says whom to believe, but proxy.trusted_hops believes nobody",
			"Set proxy.trusted_hops to the number of proxies in front, or proxy.client_ip_header, or remove this."}
	}
	return nil
}

// SQLitePath is the path of an SQLite database, "" where the database is another.
func (d Database) SQLitePath() string {
	path, ok := strings.CutPrefix(d.URL, "sqlite:")
	if !ok {
		return ""
	}
	return path
}

func judgeDatabase(c *Config) *complaint {
	scheme, rest, _ := strings.Cut(c.Database.URL, ":")
	switch scheme {
	case "sqlite":
		if rest == "" || strings.HasPrefix(rest, "//") || strings.Contains(rest, ":memory:") || strings.Contains(rest, "?") {
			return &complaint{"CFG-040", "names no file", "Write sqlite:PATH: sqlite:/var/lib/postern/postern.db."}
		}
		return nil
	case "postgres", "postgresql":
		if _, err := url.Parse(c.Database.URL); err != nil || !strings.HasPrefix(rest, "//") {
			return &complaint{"CFG-040", "is not a URL", "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password."}
		}
		if atBehindHost(c.Database.URL) {
			return &complaint{"CFG-040", "has an @ behind its host",
				"Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes in the password: %40 for @, %2F for /."}
		}
		return nil
	}
	return &complaint{"CFG-040", "is no database that Postern knows", "Write sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE."}
}

func judgeSecrets(c *Config) *complaint {
	if len(c.Secrets.Keys) == 0 && strings.HasPrefix(c.Database.URL, "postgres") {
		return &complaint{"CFG-041", "is required with PostgreSQL, whose nodes must agree on the keys",
			"Run `(umask 077; postern key generate > root.key)` once, and set secrets.keys: [\"file:root.key\"] on every node."}
	}
	return nil
}

// judgeArgon2 holds production to the least that OWASP's Password Storage Cheat Sheet names: its
// five pairs of memory and passes have a product of 35840 KiB or more. RFC 9106 §3.1 asks for 8 KiB
// a lane.
func judgeArgon2(c *Config) *complaint {
	a := c.Password.Argon2
	if a.MemoryKiB < 8*uint32(a.Parallelism) {
		return &complaint{"CFG-050", "is less than 8 KiB a lane", fmt.Sprintf("Write at least %d.", 8*uint32(a.Parallelism))}
	}
	if c.Development() {
		return nil
	}
	if a.MemoryKiB < 7168 || uint64(a.MemoryKiB)*uint64(a.Time) < 35840 {
		return &complaint{"CFG-050", fmt.Sprintf("with time %d is too cheap for production", a.Time),
			"Write memory_kib: 19456 with time: 2, or more."}
	}
	return nil
}

func judgeHashMemory(c *Config) *complaint {
	if uint64(c.Password.HashMemoryMiB)<<10 < uint64(c.Password.Argon2.MemoryKiB) {
		return &complaint{"CFG-051", "is less than one hash needs",
			fmt.Sprintf("Write at least %d.", (c.Password.Argon2.MemoryKiB+1023)/1024)}
	}
	return nil
}

func judgeIdleTimeout(c *Config) *complaint {
	if c.Sessions.IdleTimeout > c.Sessions.BrowserLifetime {
		return &complaint{"CFG-052", "is longer than sessions.browser_lifetime, which is " + FormatDuration(c.Sessions.BrowserLifetime),
			"Write at most that, or raise sessions.browser_lifetime."}
	}
	return nil
}

func judgeCap(limit, ttl time.Duration) *complaint {
	if limit < ttl {
		return &complaint{"CFG-053", "is shorter than tokens.refresh_ttl, which is " + FormatDuration(ttl),
			"Write at least that, or lower tokens.refresh_ttl."}
	}
	return nil
}

func judgeRefreshWindow(c *Config) *complaint {
	if c.Tokens.RefreshWindow > 0 && c.Tokens.RefreshWindow >= c.Tokens.RefreshTTL {
		return &complaint{"CFG-053", "is not shorter than tokens.refresh_ttl, which is " + FormatDuration(c.Tokens.RefreshTTL),
			"Write less, such as 10s."}
	}
	return nil
}

const maxName = 64 // characters of an instance's name, so that headings stay on a line

func judgeName(c *Config) *complaint {
	name := c.Branding.Name
	if strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, unicode.IsControl) {
		return &complaint{"CFG-060", "is no name for people", fmt.Sprintf("Write 1 to %d printable characters.", maxName)}
	}
	return nil
}

func judgeSupport(c *Config) *complaint {
	if c.Branding.Support == "" {
		return nil
	}
	u, err := url.Parse(c.Branding.Support)
	bad := &complaint{"CFG-061", "is neither a mail address nor a web address", "Write mailto:help@example.com or https://example.com/help."}
	switch {
	case err != nil:
		return bad
	case u.Scheme == "mailto":
		if _, err := mail.ParseAddress(cmp.Or(u.Opaque, "?")); err != nil {
			return bad
		}
		return nil
	case u.Scheme == "https" && u.Host != "":
		return nil
	}
	return bad
}

// fieldName is what is a good name and a good id in HTML.
var fieldName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// reservedFields have a meaning of their own in the forms beside these two.
var reservedFields = []string{"another", "cancel", "remember", "tx"}

func judgeField(name, other, otherKey string) *complaint {
	switch {
	case !fieldName.MatchString(name):
		return &complaint{"CFG-054", "is no name of a field", "Write a letter, and up to 63 letters, digits, - and _."}
	case slices.Contains(reservedFields, name):
		return &complaint{"CFG-054", "is the name of another field of the form", "Write another one than " + enumerate(reservedFields) + "."}
	case name == other:
		return &complaint{"CFG-054", "is the name of " + otherKey + " as well", "Give the two fields different names."}
	}
	return nil
}

func judgeTransport(c *Config) *complaint {
	if c.Mail.Transport == "" {
		return nil
	}
	scheme, rest, _ := strings.Cut(c.Mail.Transport, ":")
	switch {
	case scheme == "smtp" || scheme == "smtps":
		return judgeRelay(c.Mail.Transport, scheme)
	case scheme != "dir":
		return &complaint{"CFG-062", "is no transport that Postern knows", "Write smtp://[USER@]HOST:PORT, smtps://[USER@]HOST:PORT, or dir:PATH, a folder that takes one .eml file a mail."}
	case strings.TrimSpace(rest) == "" || strings.ContainsRune(rest, 0):
		return &complaint{"CFG-062", "names no folder", "Write dir:PATH: dir:/var/spool/postern."}
	}
	return nil
}

// judgeRelay holds the address of a mail server to a user, a host and a port.
func judgeRelay(transport, scheme string) *complaint {
	remedy := "Write it like " + scheme + "://postern@mail.example.com, with % escapes in the user."
	u, err := url.Parse(transport)
	if err != nil || u.Opaque != "" {
		return &complaint{"CFG-062", "is not a URL", remedy}
	}
	_, password := u.User.Password()
	port, err := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16)
	switch {
	case atBehindHost(transport):
		return &complaint{"CFG-062", "has an @ behind its host", remedy}
	case password:
		return &complaint{"CFG-062", "has a password", "Write it into mail.password, best as file:PATH or env:NAME."}
	case u.Hostname() == "" || strings.ContainsAny(u.Hostname(), " _*"):
		return &complaint{"CFG-062", "names no host", remedy}
	case err != nil || port == 0:
		return &complaint{"CFG-062", "has no port from 1 to 65535", remedy}
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return &complaint{"CFG-062", "has something behind its host and port", remedy}
	case u.User != nil && (u.User.Username() == "" || strings.ContainsFunc(u.User.Username(), unicode.IsControl)):
		return &complaint{"CFG-062", "has no user before its @", remedy}
	}
	return nil
}

// judgeMailPassword holds the password to a user who has one.
func judgeMailPassword(c *Config) *complaint {
	if judgeTransport(c) != nil {
		return nil // which tells enough
	}
	u, err := url.Parse(c.Mail.Transport)
	user := err == nil && u.User != nil && (u.Scheme == "smtp" || u.Scheme == "smtps")
	switch {
	case user && c.Mail.Password == "":
		return &complaint{"CFG-066", "is required with a user in mail.transport", "Set it, best as file:PATH or env:NAME."}
	case !user && c.Mail.Password != "":
		return &complaint{"CFG-066", "is set, but mail.transport has no user", "Write smtp://USER@HOST:PORT into mail.transport, or remove mail.password."}
	case strings.ContainsFunc(c.Mail.Password, unicode.IsControl):
		return &complaint{"CFG-066", "has a control character", "Write the password alone, on one line."}
	}
	return nil
}

// judgeFrom holds the sender to an address (RFC 5322 §3.4).
func judgeFrom(c *Config) *complaint {
	const remedy = "Write it like Example <no-reply@id.example.com>."
	if c.Mail.From == "" {
		if c.Mail.Transport != "" {
			return &complaint{"CFG-063", "is required with mail.transport", remedy}
		}
		return nil
	}
	if _, err := mail.ParseAddress(c.Mail.From); err != nil || strings.ContainsFunc(c.Mail.From, unicode.IsControl) {
		return &complaint{"CFG-063", "is not a mail address", remedy}
	}
	return nil
}

func judgeMetrics(c *Config) *complaint {
	if c.Metrics.Listen == "off" {
		return nil
	}
	if bad := judgeAddress(c.Metrics.Listen); bad != nil {
		bad.remedy += " Write off for none."
		return bad
	}
	host, port, _ := net.SplitHostPort(c.Metrics.Listen)
	publicHost, publicPort, err := net.SplitHostPort(c.Listen)
	if err == nil && port == publicPort && port != "0" && (host == publicHost || everyAddress(host) || everyAddress(publicHost)) {
		return &complaint{"CFG-037", "is where listen is", "Write another port, such as 127.0.0.1:9090, or off."}
	}
	return nil
}

// everyAddress tells whether a host to listen on is all of the machine's.
func everyAddress(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "" || err == nil && address.IsUnspecified()
}

func judgeTheme(c *Config) *complaint {
	if c.Branding.Theme == "" {
		return nil
	}
	info, err := os.Stat(c.Branding.Theme)
	if err != nil {
		return &complaint{"CFG-064", "cannot be read: " + cause(err), "Check the path and its permissions."}
	}
	if !info.IsDir() {
		return &complaint{"CFG-064", "is a file", "Write the path of the folder that the templates are in."}
	}
	return nil
}

func judgeSecurityLog(c *Config) *complaint {
	file := c.Log.Security.File
	if file == "" || file == "-" {
		return nil
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return &complaint{"CFG-065", "is a folder", "Write the path of a file: " + filepath.Join(file, "security.log") + "."}
	}
	for key, other := range map[string]string{"database.url": c.Database.SQLitePath(), "tls.cert": c.TLS.Cert, "tls.key": c.TLS.Key} {
		if other != "" && filepath.Clean(other) == filepath.Clean(file) {
			return &complaint{"CFG-065", "is the file of " + key, "Write another path: /var/log/postern/security.log."}
		}
	}
	return nil
}

// defaultIssuer gives --dev the issuer that its port has.
func (l *loader) defaultIssuer(c *Config) {
	if c.Issuer != "" || l.broken["issuer"] || l.broken["listen"] {
		return
	}
	if _, port, err := net.SplitHostPort(c.Listen); err == nil {
		c.Issuer = "http://localhost:" + port
	}
}
