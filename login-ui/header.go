package loginui

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// contentPolicy is the Content-Security-Policy of every page, up to what a form may lead to.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// secure sets the headers that keep a page to itself.
func (ui *UI) secure(h http.Header, f *frame) {
	policy := contentPolicy
	if source := formTarget(f.redirectURI); source != "" {
		policy += " " + source
	}
	h.Set("Content-Security-Policy", policy)
	// With no-referrer, Chromium sends Origin: null on our own POSTs.
	h.Set("Referrer-Policy", "same-origin")
	if f.secret {
		h.Set("Referrer-Policy", "no-referrer")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), "+
		"camera=(), microphone=(), geolocation=(), payment=(), usb=()")
	if f.isolated {
		// Not in the authorization flow: a relying party that opened us in a popup would find
		// window.opener gone.
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	} else {
		h.Del("Cross-Origin-Opener-Policy")
	}
}

// Content Security Policy Level 3 §2.3.1: what a host-source and a scheme-source may consist of.
var (
	hostSource   = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?$`)
	schemeSource = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)
)

// formTarget is the source expression that lets the redirect after a form reach the redirect URI,
// "" for none. Browsers apply form-action to the redirects that a form's answer leads to.
func formTarget(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || !schemeSource.MatchString(u.Scheme) {
		return ""
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return u.Scheme + ":"
	}
	if hostSource.MatchString(u.Host) {
		return u.Scheme + "://" + u.Host
	}
	if ip := net.ParseIP(strings.Trim(u.Hostname(), "[]")); ip != nil && ip.IsLoopback() {
		// A host-source has no form for IPv6 addresses, and RFC 8252 §7.3 wants [::1] to work.
		return u.Scheme + ":"
	}
	return ""
}
