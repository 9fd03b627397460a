package config

import "strings"

// A Code is what `postern help CODE` explains.
type Code struct {
	ID    string
	Title string
	Text  string // paragraphs
}

// Explain finds a code, whatever the case of its letters.
func Explain(id string) (Code, bool) {
	for _, c := range Codes {
		if strings.EqualFold(c.ID, id) {
			return c, true
		}
	}
	return Code{}, false
}

// Codes are all codes of problems with settings. A code never changes its meaning.
var Codes = []Code{
	{"CFG-001", "unknown key", `A file or a flag sets a key that Postern does not have. A misspelled key would otherwise be
ignored, and the default would hold without anybody noticing.

See every key with ` + "`postern config show`" + `, and one of them with ` + "`postern config explain KEY`" + `.`},
	{"CFG-002", "unknown POSTERN_ variable", `Every environment variable that begins with POSTERN_ is a setting: POSTERN_SECTION__KEY, two
underscores for each dot of the key. This one is none.

Rename it, or unset it. ` + "`postern config show`" + ` lists every key.`},
	{"CFG-003", "the same key twice", `One layer (a file, the environment, the flags) sets a key twice, so that nobody knows which one
was meant. Later files win over earlier ones, the environment over files, flags over all; within
one of them each key stands once.`},
	{"CFG-004", "not plain YAML", `The file cannot be read as YAML, or it uses what Postern's files do without: anchors, aliases,
tags, merge keys, several documents.

Values with ": ", "#", "[" or "{" in them need quotes. Indentation is spaces, never tabs.`},
	{"CFG-005", "the file cannot be read", `A file named with --config does not exist, is not readable by the user that Postern runs as, or
has more than a mebibyte.`},
	{"CFG-006", "a section in place of a value, or the reverse", `Some names are sections with keys below them, others are keys with a value. This one is written
as the other kind. ` + "`postern config show`" + ` lists every key with its value.`},
	{"CFG-007", "a reference cannot be followed", `A value may be file:PATH, which stands for the file's content without the newline at its end, or
env:NAME, which stands for an environment variable. The file cannot be read, or the variable is
not set. Relative paths start in the working directory of the process.`},
	{"CFG-008", "no value", `The key is there and nothing stands behind it. Write a value, or remove the line: then the
default holds. An empty text is written "".`},
	{"CFG-010", "not a whole number", `Write digits alone, without unit. Underscores between digits are allowed.`},
	{"CFG-011", "neither true nor false", `Write true or false. Of a section, such as rate_limits, false stands for switching it off.`},
	{"CFG-012", "not a duration", `Write a number and a unit, or several: 90s, 15m, 336h, 14d, 1h30m. The units are ms, s, m, h and
d; a day has 24 hours.`},
	{"CFG-013", "not a network", `Write an address and the number of bits that count: 10.0.0.0/8, 192.0.2.7/32, fd00::/8. Bits
beyond that number are zero.`},
	{"CFG-014", "a list in place of one value, or the reverse", `In a file write a list in brackets, or an item a line, each behind a dash. In the environment
write JSON, ["one","two"], or one variable an item: POSTERN_SECRETS__KEYS__0, …__1.`},
	{"CFG-015", "a number out of range", `` + "`postern config explain KEY`" + ` shows the range.`},
	{"CFG-016", "a duration out of range", `` + "`postern config explain KEY`" + ` shows the range. A bound keeps what is issued from living longer
than anybody would expect, and pages from ending before anybody can fill them in.`},
	{"CFG-017", "not one of the words", `The key takes one of a few words, in small letters. ` + "`postern config explain KEY`" + ` lists them.`},
	{"CFG-020", "http in the issuer", `What passes between a browser and its identity provider is worth stealing, so the issuer is
https. The one exception is http://localhost with the profile development, which
` + "`postern serve --dev`" + ` sets.

Behind a proxy that ends TLS the issuer is still the https address that browsers use.`},
	{"CFG-021", "the issuer is no origin", `The issuer is scheme, host and, where it is not the default, port: https://id.example.com. It has
no path, query, fragment or slash at the end, since relying parties compare it as a text
(OpenID Connect Core 1.0 §3.1.3.7) and Postern's cookies belong to the whole host.`},
	{"CFG-022", "no issuer", `The issuer is the one key that production needs. It is the address that browsers and relying
parties use, as they see it. Once relying parties know it, it does not change.`},
	{"CFG-030", "where to listen", `Write HOST:PORT. An IPv6 address stands in brackets: "[::1]:8080". Without a host Postern listens
on every address; with port 0 the system chooses one.`},
	{"CFG-031", "half of tls", `tls.cert and tls.key belong together. Without both Postern serves http, for a proxy in front.`},
	{"CFG-032", "a TLS file cannot be read", `The file does not exist, or the user that Postern runs as may not read it.`},
	{"CFG-033", "the TLS key does not fit", `The certificate and the key are not a pair, or one of the files is not PEM. tls.cert begins with
the server's own certificate; those of its issuers follow.`},
	{"CFG-034", "networks of proxies without hops", `proxy.trusted_cidrs narrows from whom X-Forwarded-For is believed; proxy.trusted_hops says how
many of its entries are. With 0 hops, and without proxy.client_ip_header, no header is believed, so
the networks have no effect.`},
	{"CFG-035", "preload without what it asks for", `The browsers' preload list takes a host whose Strict-Transport-Security holds for a year, its
subdomains too. Set tls.hsts.preload to false where the one or the other is not wanted.`},
	{"CFG-036", "the header with the client's address", `proxy.client_ip_header names a header that a proxy sets to the client's address alone, such as
CF-Connecting-IP or X-Real-IP. Anybody can send one, so it is believed from the networks of
proxy.trusted_cidrs alone. X-Forwarded-For has a list of addresses: proxy.trusted_hops says which of
them counts.`},
	{"CFG-037", "two listeners in one place", `metrics.listen is a listener of its own, which only those who operate this provider can reach. It
needs a port that listen does not have on the same address.`},
	{"CFG-040", "the database", `database.url is sqlite:PATH, relative to the working directory or absolute, or a URL of
PostgreSQL: postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full. Characters such as
@, : and / in the password are written as % escapes.`},
	{"CFG-041", "PostgreSQL without keys", `What is sealed and signed must be readable by every node, so with PostgreSQL the root keys are
configured, and never made by a node for itself. Make one with ` + "`postern key generate`" + `, keep
it where you keep your secrets, and give it to each node as file:PATH or env:NAME.

Whoever has the key and the database can act as any user. Without the key, nothing that is sealed
can be read again: back it up apart from the database.`},
	{"CFG-042", "a root key is not readable", `A root key is NUMBER:BASE64URL: a number from 1 to 65535 by which what it sealed is recognised,
and 32 random bytes in base64url without padding. ` + "`postern key generate`" + ` prints one.`},
	{"CFG-043", "two root keys with one number", `The number tells which key sealed a value, so each key has its own. Give a new key the next
number: ` + "`postern key generate --number 2`" + `.`},
	{"CFG-044", "a root key that others can read", `Whoever has the root key and the database can act as any user, so a file with one belongs to the
user that Postern runs as, with the mode 600. Make it so with
` + "`(umask 077; postern key generate > root.key)`" + `.`},
	{"CFG-045", "Redis", `redis.url is redis://[USER:PASSWORD@]HOST:PORT[/DB], or rediss:// for TLS. Characters such as @, :
and / in the password are written as % escapes. It is required where lockout.handler is redis.`},
	{"CFG-046", "a gate that counts nothing", `With the handler dummy no limit and no lockout holds, so that anybody could guess passwords without
end. It is for the profile development. database needs nothing else, redis is faster, and memory is
for a single process.`},
	{"CFG-050", "cheap password hashes", `Whoever gets hold of the database guesses passwords as fast as the hash allows. Production asks
for at least what OWASP's Password Storage Cheat Sheet does: 19 MiB with two passes, or an
equivalent. Cheaper settings are for the profile development, and for tests.`},
	{"CFG-051", "no memory for one hash", `password.hash_memory_mib bounds the memory of all hashes that run at a time. It is at least what
one of them needs: password.argon2.memory_kib.`},
	{"CFG-052", "idle longer than the session", `A session ends at sessions.browser_lifetime in any case, so an idle time beyond that never comes.`},
	{"CFG-053", "refresh times that contradict each other", `A refresh token ends after tokens.refresh_ttl without use, its family after tokens.refresh_cap or
tokens.offline_cap in any case; the window for repeating a refresh is shorter than all of them.`},
	{"CFG-054", "the names of the form's fields", `login.username_field and login.password_field are the names of two different fields of the sign-in
form: a letter, and up to 63 letters, digits, hyphens and underscores. another, cancel, remember and
tx have a meaning there already.`},
	{"CFG-060", "the name of the instance", `The name stands in headings and titles: 1 to 64 printable characters.`},
	{"CFG-061", "the address for help", `branding.support is where people who cannot sign in find help: mailto:help@example.com, or a web
address with https.`},
	{"CFG-062", "how mail is sent", `mail.transport is smtp://[USER@]HOST:PORT, a mail server that offers STARTTLS; smtps://[USER@]HOST:PORT,
one that speaks TLS from the first byte on; or dir:PATH, a folder that takes one .eml file a mail. The
certificate of the server must be good for HOST. The password of USER is mail.password. Without USER,
mails to a server on this machine (localhost) go without TLS.`},
	{"CFG-063", "the sender of mails", `mail.from is one mail address, with a name or without: Example <no-reply@id.example.com>. It is
required where mail.transport is set.`},
	{"CFG-064", "the folder of a theme", `branding.theme is a folder with templates that are used in place of Postern's of the same name. It
exists, and the user that Postern runs as may read it.`},
	{"CFG-065", "the file of the security log", `log.security.file is a file of its own, which Postern makes with mode 0600 and appends to; - is
standard output.`},
	{"CFG-066", "the password for the mail server", `mail.password is the password of the user in mail.transport; there is both or none. Give it as
file:PATH or env:NAME.`},
	{"CFG-070", "a rate limit is not readable", `A limit is AMOUNT/PERIOD/SCOPE: 10/m/ip is ten a minute and address. The period is s, m, h or d,
with a number in front where it is not one: 5m. The scope is ip, key (the account that is asked
for), user, ip+client, or global. Several limits are joined with commas, and each of them holds.

` + "`rate_limits: false`" + ` switches all limits off, for tests and measurements.`},
	{"CFG-071", "a rule of lockout is not readable", `lockout.parameters are PARAMETER[+PARAMETER…][:LIMIT/COOLOFF]: username+ip_address:5/15m. The
parameters are username, ip_address, asn (with places.asn_file), user_agent, client_id and
device_cookie.

lockout.policies are MATCH => PARAMETERS: role=admin => username+ip_address:5/1h.
lockout.tiers are FAILURES:COOLOFF with both growing: 3:1m, 6:10m. lockout.cooloff_time is 15m,
PT15M, or none; without a unit it is hours, as in django-axes: 0.5 is half an hour. lockout.alarm is AMOUNT/PERIOD: 1000/1h.`},
	{"CFG-072", "where lockout redirects to", `lockout.redirect_url is a path of this host, such as /help, or an address that begins with the
issuer. Whoever is locked out is led nowhere else, and not back to the sign-in form.`},
	{"CFG-073", "the paths of the honeypot", `Each begins with a slash, and has letters, digits and . _ ~ - between slashes. With a slash at the end
everything below is meant as well. Where Postern has pages of its own there is no honeypot: /login,
/logout, /consent, /account, /oauth2, /.well-known, /static and /healthz.`},
	{"CFG-074", "nobody is allowed", `With lockout.only_allowed nobody signs in from elsewhere than lockout.allow_cidrs. An empty list would
shut everybody out, administrators with them.`},
	{"CFG-075", "a list of names", `Each item names something once, in 1 to 255 bytes: a username, a group, or a parameter of a request.`},
	{"CFG-076", "a text for those who are locked out", `lockout.cooloff_message and lockout.permalock_message are shown as plain text: at most 500 printable
characters, on one line.`},
	{"CFG-080", "the rules of usernames", `username.patterns are regular expressions in the syntax of RE2, each of which a username must match as
a whole: "^[a-z0-9]+$". username.reserved are names with a letter or a digit at least; who chooses
one that only looks like it is refused as well.`},
	{"CFG-081", "a list of domains", `Each item is a domain, which stands for its subdomains too, or *.example.com for the subdomains alone.
What is in email.allowed_domains is taken although a longer list refuses it, so no domain is in both
lists.`},
	{"CFG-082", "when sign-up is open", `signup.open_from and signup.open_until are times with a zone (RFC 3339): 2026-01-31T09:00:00Z, the
second after the first. signup.open_hours are hours of each day and the zone in which they are meant:
09:00-17:00 Europe/Berlin. Where they end before they begin they go past midnight.`},
	{"CFG-083", "what passwords are judged by", `password.validators is a list of length, similarity, common, numeric, complexity and zxcvbn, each once,
in the order in which people are told what is wrong.`},
	{"CFG-084", "what security.txt says", `security.contacts are mailto:, https: or tel: addresses; security.expires is a time with a zone;
security.policy and security.encryption are addresses with https; security.languages are tags such as
en or pt-BR (RFC 9116 §2.5).`},
	{"CFG-085", "who needs a second factor", `Each line of mfa.policies is MATCH => POLICY, where MATCH is role=admin or group=NAME, and POLICY is
off, optional or required. mfa.required_from is a time as in RFC 3339.`},
	{"CFG-086", "the values of acr", `Each line of mfa.acr is VALUE => LEVEL. The value is what relying parties ask for in acr_values and read
in tokens; the level is pwd, mfa, phr or phrh. A value stands once, a level may have several.`},
	{"CFG-087", "passkeys", `Browsers use passkeys only where the relying party ID is the host of the page or a domain that it is in, and
never at an address such as 192.0.2.1. Related origins are https origins, without a path. Models are named by
their AAGUID, which their makers publish.`},
}
