package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// headerName is a token (RFC 9110 §5.6.2), as far as headers have it.
var headerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

const maxClientHeaders = 8 // names; each is looked up at every request

func judgeClientIPHeader(c *Config) *complaint {
	if c.Proxy.ClientIPHeader == "" {
		return nil
	}
	names := strings.Split(c.Proxy.ClientIPHeader, ",")
	if len(names) > maxClientHeaders {
		return &complaint{"CFG-036", "names too many headers", fmt.Sprintf("Write at most %d.", maxClientHeaders)}
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		after, django := strings.CutPrefix(name, "HTTP_")
		switch {
		case strings.EqualFold(name, "X-Forwarded-For"), strings.EqualFold(name, "Forwarded"), strings.EqualFold(after, "X_FORWARDED_FOR"):
			return &complaint{"CFG-036", "names a header with a list of addresses", "Set proxy.trusted_hops for X-Forwarded-For, and name here a header with the client's address alone."}
		case name == "REMOTE_ADDR":
			return &complaint{"CFG-036", "names what Postern takes anyway", "Remove REMOTE_ADDR: without a header that is believed, the address is that of the connection."}
		case django:
			return &complaint{"CFG-036", "is written as Django has it", "Write the header's own name: " + strings.ReplaceAll(after, "_", "-") + "."}
		case !headerName.MatchString(name):
			return &complaint{"CFG-036", "is not the name of a header", "Write it like CF-Connecting-IP, several joined with commas."}
		}
	}
	if len(c.Proxy.TrustedCIDRs) == 0 {
		return &complaint{"CFG-036", "would be believed from everybody", "Set proxy.trusted_cidrs to the networks that your proxies are in."}
	}
	return nil
}

// judgeRedis says nothing of what a password could be in.
func judgeRedis(c *Config) *complaint {
	const remedy = "Write redis://[USER:PASSWORD@]HOST:PORT[/DB], or rediss:// for TLS, with % escapes in the password."
	if c.Redis.URL == "" {
		if c.Lockout.Handler == "redis" {
			return &complaint{"CFG-045", "is required with lockout.handler redis", remedy}
		}
		return nil
	}
	u, err := url.Parse(c.Redis.URL)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || atBehindHost(c.Redis.URL) {
		return &complaint{"CFG-045", "is not the URL of a Redis server", remedy}
	}
	db := strings.TrimPrefix(u.Path, "/")
	if _, err := strconv.ParseUint(db, 10, 16); err != nil && db != "" || u.RawQuery != "" || u.Fragment != "" {
		return &complaint{"CFG-045", "has something other than the number of a database behind its host", remedy}
	}
	return nil
}

func judgeHandler(c *Config) *complaint {
	if c.Lockout.Handler == "dummy" && !c.Development() {
		return &complaint{"CFG-046", "counts nothing, which is for development", "Write database or redis."}
	}
	return nil
}

// judgeRedirectURL keeps people at our address: whoever is locked out is led nowhere else.
func judgeRedirectURL(c *Config) *complaint {
	target := c.Lockout.RedirectURL
	if target == "" {
		if c.Lockout.Response == "redirect" {
			return &complaint{"CFG-072", "is required with lockout.response redirect", "Write a path of ours, such as /help."}
		}
		return nil
	}
	bad := &complaint{"CFG-072", "does not lead to an address of the issuer", "Write a path, such as /help."}
	u, err := url.Parse(target)
	if err != nil || strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }) {
		return bad
	}
	path, absolute := strings.CutPrefix(target, c.Issuer)
	if !absolute || c.Issuer == "" {
		path = target
	}
	switch {
	case !strings.HasPrefix(path, "/"), strings.HasPrefix(path, "//"):
		return bad
	case u.Path == "/login":
		return &complaint{"CFG-072", "leads back to the sign-in form", "Write another path, such as /help."}
	}
	return nil
}

func judgeOnlyAllowed(c *Config) *complaint {
	if c.Lockout.OnlyAllowed && len(c.Lockout.AllowCIDRs) == 0 {
		return &complaint{"CFG-074", "is on, and lockout.allow_cidrs is empty: nobody could sign in", "Set lockout.allow_cidrs to the networks that may, or remove this."}
	}
	return nil
}

const maxWord = 255 // bytes of a username or a parameter's name

func judgeWords(words []string) *complaint {
	for i, word := range words {
		switch {
		case strings.TrimSpace(word) == "" || len(word) > maxWord || strings.ContainsFunc(word, unicode.IsControl):
			return &complaint{"CFG-075", fmt.Sprintf("has an item that names nothing: the %s", ordinal(i)), fmt.Sprintf("Write names of 1 to %d bytes, or remove it.", maxWord)}
		case slices.Contains(words[:i], word):
			return &complaint{"CFG-075", fmt.Sprintf("has %s twice", quoted(word)), "Remove one of the two."}
		}
	}
	return nil
}

// ordinal counts an index from 1: "3rd".
func ordinal(index int) string {
	n := index + 1
	if tens := n % 100; tens < 11 || tens > 13 {
		switch n % 10 {
		case 1:
			return fmt.Sprintf("%dst", n)
		case 2:
			return fmt.Sprintf("%dnd", n)
		case 3:
			return fmt.Sprintf("%drd", n)
		}
	}
	return fmt.Sprintf("%dth", n)
}

const maxMessage = 500 // characters of a text for those who are locked out

func judgeMessage(text string) *complaint {
	if utf8.RuneCountInString(text) > maxMessage || strings.ContainsFunc(text, unicode.IsControl) || text != "" && strings.TrimSpace(text) == "" {
		return &complaint{"CFG-076", "is no text for people", fmt.Sprintf("Write at most %d printable characters, on one line.", maxMessage)}
	}
	return nil
}

// reservedPaths are ours, with everything below them.
var reservedPaths = []string{"/.well-known", "/account", "/consent", "/healthz", "/login", "/logout", "/oauth2", "/reset", "/secure", "/signup", "/static", "/verify"}

var (
	honeypotPath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+/?$`)
	dotSegment   = regexp.MustCompile(`/\.\.?(/|$)`)
)

const (
	maxHoneypotPaths = 100
	maxHoneypotPath  = 255 // bytes
)

func judgeHoneypotPaths(c *Config) *complaint {
	if len(c.Honeypot.Paths) > maxHoneypotPaths {
		return &complaint{"CFG-073", "has too many paths", fmt.Sprintf("Write at most %d.", maxHoneypotPaths)}
	}
	seen := map[string]bool{}
	for _, path := range c.Honeypot.Paths {
		bare := strings.TrimSuffix(path, "/")
		switch {
		case !honeypotPath.MatchString(path), dotSegment.MatchString(path), len(path) > maxHoneypotPath:
			return &complaint{"CFG-073", fmt.Sprintf("has %s, which is no plain path", quoted(path)),
				"Write it like /wp-login.php, or /admin/ for everything below as well: letters, digits and . _ ~ - between slashes."}
		case slices.ContainsFunc(reservedPaths, func(ours string) bool { return bare == ours || strings.HasPrefix(bare, ours+"/") }):
			return &complaint{"CFG-073", fmt.Sprintf("has %s, where Postern has pages of its own", quoted(path)), "Remove it."}
		case seen[bare]:
			return &complaint{"CFG-073", fmt.Sprintf("has %s twice, with or without a slash at the end", quoted(bare)), "Remove one of the two."}
		}
		seen[bare] = true
	}
	return nil
}
