package rp

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A cookie is one that a browser keeps (RFC 6265 §5.3, with the prefixes and SameSite of
// RFC 6265bis).
type cookie struct {
	name, value string
	host        string // lower case
	hostOnly    bool
	path        string
	secure      bool
	sameSite    http.SameSite
	expires     time.Time // zero where it ends with the browser
}

// cookies are a browser's, oldest first.
type cookies []cookie

func (cs *cookies) dropSession() {
	*cs = slices.DeleteFunc(*cs, func(c cookie) bool { return c.expires.IsZero() })
}

// store keeps, replaces or removes a cookie that u set. It returns an error where a browser would
// drop it in silence.
func (cs *cookies) store(u *url.URL, set *http.Cookie, now time.Time) error {
	c := cookie{
		name: set.Name, value: set.Value, host: strings.ToLower(u.Hostname()), hostOnly: true,
		path: set.Path, secure: set.Secure, sameSite: set.SameSite,
	}
	if set.Domain != "" {
		c.hostOnly = false
		domain := strings.TrimPrefix(strings.ToLower(set.Domain), ".")
		if c.host != domain && !strings.HasSuffix(c.host, "."+domain) {
			return fmt.Errorf("%s: domain %s is not the host's", c.name, set.Domain)
		}
		c.host = domain
	}
	if !strings.HasPrefix(c.path, "/") {
		c.path = defaultPath(u.Path)
	}
	if err := c.judge(u, set); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	switch {
	case set.MaxAge > 0:
		c.expires = now.Add(time.Duration(set.MaxAge) * time.Second)
	case set.MaxAge < 0:
		c.expires = time.Unix(1, 0)
	case !set.Expires.IsZero():
		c.expires = set.Expires
	}
	*cs = slices.DeleteFunc(*cs, func(old cookie) bool {
		return old.name == c.name && old.host == c.host && old.path == c.path
	})
	if c.expires.IsZero() || c.expires.After(now) {
		*cs = append(*cs, c)
	}
	return nil
}

// judge holds the rules whose breach makes browsers drop a cookie.
func (c *cookie) judge(u *url.URL, set *http.Cookie) error {
	if c.secure && !trustworthy(u) {
		return errors.New("marked Secure, but set without https")
	}
	if strings.HasPrefix(c.name, "__Secure-") && !c.secure {
		return errors.New("__Secure- without Secure")
	}
	if strings.HasPrefix(c.name, "__Host-") && (!c.secure || set.Domain != "" || set.Path != "/") {
		return errors.New("__Host- needs Secure, Path=/ and no Domain")
	}
	if c.sameSite == http.SameSiteNoneMode && !c.secure {
		return errors.New("SameSite=None without Secure")
	}
	return nil
}

// sentTo are the cookies of a top-level request for u. Those that say nothing of SameSite are
// taken for Lax.
func (cs cookies) sentTo(u *url.URL, method string, sameSite bool, now time.Time) []cookie {
	var sent []cookie
	host := strings.ToLower(u.Hostname())
	for _, c := range cs {
		belongs := c.host == host || (!c.hostOnly && strings.HasSuffix(host, "."+c.host))
		alive := c.expires.IsZero() || c.expires.After(now)
		if !belongs || !alive || !inPath(u.Path, c.path) || (c.secure && !trustworthy(u)) {
			continue
		}
		if !sameSite && c.sameSite != http.SameSiteNoneMode {
			if c.sameSite == http.SameSiteStrictMode || method != "GET" {
				continue
			}
		}
		sent = append(sent, c)
	}
	// RFC 6265 §5.4: longer paths first.
	slices.SortStableFunc(sent, func(a, b cookie) int { return len(b.path) - len(a.path) })
	return sent
}

// defaultPath is RFC 6265 §5.1.4.
func defaultPath(path string) string {
	i := strings.LastIndex(path, "/")
	if i <= 0 {
		return "/"
	}
	return path[:i]
}

func inPath(path, of string) bool {
	if path == "" {
		path = "/"
	}
	return path == of || (strings.HasPrefix(path, of) && (strings.HasSuffix(of, "/") || path[len(of)] == '/'))
}
