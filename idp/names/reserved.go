package names

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// DefaultReserved are the words that are no usernames where none are set: whom people take for the
// operator, mailboxes of RFC 2142 and what else a certificate authority writes to, and parts of
// addresses.
func DefaultReserved() []string {
	return []string{
		"abuse", "access", "account", "accounts", "admin", "administration", "administrator", "admins", "all",
		"anonymous", "api", "assets", "auth", "authentication", "authorize", "billing", "blog", "bot", "callback",
		"cdn", "ceo", "config", "consent", "console", "contact", "daemon", "dashboard", "default", "demo", "dev",
		"device", "dns", "docs", "domain", "everyone", "false", "favicon.ico", "feedback", "ftp", "guest", "healthz",
		"help", "helpdesk", "home", "host", "hostmaster", "hostname", "image", "images", "imap", "info", "invite",
		"is", "isatap", "issuer", "it", "jwks", "legal", "localhost", "login", "logout", "mail", "mailer-daemon",
		"mailerdaemon", "manager", "marketing", "master", "me", "metrics", "mod", "moderator", "mx", "myself", "nan",
		"news", "nil", "no-reply", "nobody", "noc", "none", "noreply", "ns", "null", "oauth", "oauth2", "official",
		"oidc", "openid", "operator", "owner", "password", "pop", "pop3", "postern", "postmaster", "privacy",
		"profile", "public", "recovery", "register", "reset", "robots.txt", "root", "sales", "saml", "scim",
		"security", "self", "server", "service", "services", "session", "settings", "setup", "signin", "signout",
		"signup", "smtp", "ssl", "ssladmin", "ssladministrator", "sslwebmaster", "sso", "staff", "static", "status",
		"sudo", "superuser", "support", "sysadmin", "system", "systems", "team", "telnet", "terms", "test", "token",
		"true", "trust", "undefined", "unknown", "usenet", "user", "userinfo", "username", "users", "uucp", "verify",
		"webadmin", "webfinger", "webmail", "webmaster", ".well-known", "wheel", "wpad", "www",
	}
}

// maxReserved is how many words may be reserved.
const maxReserved = 10_000

func reserve(words []string) (map[string]bool, error) {
	if len(words) > maxReserved {
		return nil, fmt.Errorf("%d usernames are reserved, the most is %d", len(words), maxReserved)
	}
	reserved := make(map[string]bool, len(words))
	for _, word := range words {
		// Of a word that we chose, digits are digits: pop3 is not pope.
		shape := merged(bare(alike(word)))
		if shape == "" {
			return nil, fmt.Errorf("the reserved username %q has neither letters nor digits", word)
		}
		reserved[shape] = true
	}
	return reserved, nil
}

// isReserved tells whether a name looks like a reserved word to somebody who reads it quickly, by
// the idea of UTS #39 §4: what looks alike has one skeleton.
func (r *Rules) isReserved(name string) bool {
	for _, skeleton := range skeletons(name) {
		if r.reserved[skeleton] {
			return true
		}
	}
	return false
}

// WithoutReserved are r where no word is reserved, for names that an operator chooses.
func (r *Rules) WithoutReserved() *Rules {
	free := *r
	free.reserved = nil
	return &free
}

// skeletons are the readings of a text without its case, accents, punctuation, alphabet and, in all
// but one, with letters in the place of digits. Capital I, 1 and | stand for an i and for an l.
func skeletons(text string) []string {
	var found []string
	for _, capital := range []string{"i", "l"} {
		plain := alike(strings.ReplaceAll(compatible(text), "I", capital))
		found = append(found, merged(bare(plain)))
		for _, one := range []string{"i", "l"} {
			letters := strings.NewReplacer("1", one, "0", "o", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "9", "g")
			found = append(found, merged(bare(letters.Replace(plain))))
			signs := strings.NewReplacer("!", one, "|", one, "$", "s", "@", "a", "€", "e")
			found = append(found, merged(bare(letters.Replace(signs.Replace(plain)))))
		}
	}
	return found
}

// compatible drops accents, and what fullwidth, mathematical and other forms add to a letter.
func compatible(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.In(c, unicode.Mn, unicode.Me) {
			return -1
		}
		return c
	}, norm.NFKD.String(text))
}

// alike writes a text in small Latin letters, as far as its letters look like them.
func alike(text string) string {
	text = strings.Map(func(c rune) rune {
		if latin, ok := lookAlikes[c]; ok {
			return latin
		}
		return c
	}, compatible(text))
	return cases.Fold().String(text)
}

// bare leaves letters and digits.
func bare(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return c
		}
		return -1
	}, text)
}

// merged writes as one letter what looks like one.
func merged(text string) string {
	return strings.NewReplacer("rn", "m", "vv", "w").Replace(text)
}

// lookAlikes are the letters of other alphabets, and rare Latin ones, that are read as a common
// Latin letter: the part of the table of UTS #39 §4 that keyboards and name generators offer. What
// has a compatibility form needs no line here.
var lookAlikes = pairs(
	// Cyrillic
	"АаВвЕеЗзІіӀӏЈјКкМмНнОоПпРрСсТтУуҮүХхЅѕҺһԀԁԌԍԚԛԜԝѴѵЬьГгԐԑЄєɅʌ", "aabbeeeeiilljjkkmmhhoonnppccttyyyyxxsshhddggqqwwvvbbrreeeeaa",
	// Greek
	"ΑαΒβΕεΖζΗηΙιΚκΜμΝνΟοΡρΤτΥυΧχΩωσςγϜϝϹϲϳ", "aabbeezzhniikkmunvooppttyuxxowooyffccj",
	// Armenian
	"ՕօՍսոՏցհյզԼ", "oouunsghjql",
	// Latin
	"ıɩɪɑɡɢʙʜʟɴʀʏᴀᴄᴅᴇꜰᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡᴢøØđĐłŁħĦŧŦƖƿɐəǝʋɯ", "iiiaggbhlnryacdefjkmopstuvwzooddllhhttlpaeevm",
)

// pairs makes a map of each letter to the one at its place in latin.
func pairs(lists ...string) map[rune]rune {
	table := map[rune]rune{}
	for i := 0; i+1 < len(lists); i += 2 {
		latin := []rune(lists[i+1])
		for at, c := range []rune(lists[i]) {
			table[c] = latin[at]
		}
	}
	return table
}
