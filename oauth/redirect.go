package oauth

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern/idp"
)

// isRegistered tells whether uri is one of c's redirect URIs. They are compared as strings
// (RFC 9700 §2.1); a native client's loopback URI may have any port (RFC 8252 §7.3).
func isRegistered(c *idp.Client, uri string) bool {
	if slices.Contains(c.Metadata.RedirectURIs, uri) {
		return true
	}
	if !c.Native() {
		return false
	}
	bare, ok := withoutLoopbackPort(uri)
	if !ok {
		return false
	}
	return slices.ContainsFunc(c.Metadata.RedirectURIs, func(registered string) bool {
		other, ok := withoutLoopbackPort(registered)
		return ok && other == bare
	})
}

// withoutLoopbackPort cuts the port out of an http URI whose host is one of the two loopback
// addresses. It reads the text, not a parsed URL, so that nothing that a browser could read
// otherwise, such as user information, gets through.
func withoutLoopbackPort(uri string) (string, bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, ok := strings.CutPrefix(uri, host)
		if !ok {
			continue
		}
		if port, ok := strings.CutPrefix(rest, ":"); ok {
			end := strings.IndexFunc(port, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(port)
			}
			if number, err := strconv.ParseUint(port[:end], 10, 16); err != nil || number == 0 {
				return "", false
			}
			rest = port[end:]
		}
		if rest == "" || rest[0] == '/' || rest[0] == '?' {
			return host + rest, true
		}
	}
	return "", false
}

// nearest names the only kind of difference between uri and one of c's redirect URIs, as the key
// of a hint for developers, or "" where none is so near. It tells nothing of what is registered.
func nearest(c *idp.Client, uri string) string {
	shown, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	for _, registered := range c.Metadata.RedirectURIs {
		if known, err := url.Parse(registered); err == nil {
			if kind := difference(shown, known); kind != "" {
				return "redirect_uri_" + kind
			}
		}
	}
	return ""
}

// difference names the only part in which two URIs differ, "" where it is none or several.
func difference(a, b *url.URL) string {
	var kinds []string
	differs := func(kind string, yes bool) {
		if yes {
			kinds = append(kinds, kind)
		}
	}
	pathA, pathB := a.EscapedPath(), b.EscapedPath()
	caseOnly := pathA != pathB && strings.EqualFold(pathA, pathB)
	slashOnly := pathA != pathB && strings.TrimSuffix(pathA, "/") == strings.TrimSuffix(pathB, "/")
	differs("scheme", a.Scheme != b.Scheme)
	differs("host", !strings.EqualFold(a.Hostname(), b.Hostname()))
	differs("port", a.Port() != b.Port())
	differs("case", caseOnly || a.Host != b.Host && strings.EqualFold(a.Host, b.Host))
	differs("trailing_slash", slashOnly)
	differs("path", pathA != pathB && !caseOnly && !slashOnly)
	differs("query", a.RawQuery != b.RawQuery)
	if len(kinds) != 1 {
		return ""
	}
	return kinds[0]
}

// withParameters adds parameters to a redirect URI, whose own query stays as it is
// (RFC 6749 §3.1.2, §4.1.2).
func withParameters(redirectURI string, parameters url.Values) string {
	separator := "?"
	if strings.Contains(redirectURI, "?") {
		separator = "&"
	}
	return ascii(redirectURI) + separator + parameters.Encode()
}

// ascii percent-encodes what a header field cannot carry (RFC 3986 §2.5).
func ascii(uri string) string {
	if !strings.ContainsFunc(uri, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return uri
	}
	var b strings.Builder
	for i := range len(uri) {
		if uri[i] < utf8.RuneSelf {
			b.WriteByte(uri[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", uri[i])
		}
	}
	return b.String()
}
