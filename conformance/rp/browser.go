package rp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

const (
	maxHops      = 20      // requests for one navigation, as browsers have it
	maxPageBytes = 4 << 20 // of a page's body
)

// ErrFormAction is returned where a page's Content-Security-Policy forbids the address that its
// form leads to, by itself or by a redirect. A person would see nothing happen at all.
var ErrFormAction = errors.New("refused by the page's form-action")

// A Browser goes from page to page as a person's browser does: it keeps cookies and follows
// redirects itself, and takes http on the loopback interface for a secure context. It runs no
// script. The zero value is ready; it is for one goroutine.
type Browser struct {
	Transport http.RoundTripper // http.DefaultTransport
	Now       func() time.Time  // time.Now; for the lifetime of cookies
	UserAgent string            // one that says rp
	Language  string            // Accept-Language; none where it is empty

	// StopAt tells the addresses that the browser is sent to but does not ask for, such as a
	// redirect URI where nobody listens. Nil means none.
	StopAt func(*url.URL) bool

	// Hops are all requests so far, oldest first.
	Hops []Hop

	cookies cookies
}

// A Hop is one request of a browser and what came of it.
type Hop struct {
	Method string
	URL    string
	Sent   http.Header // with the cookies
	Status int         // 0 where the browser was told to stop
	Header http.Header // of the answer
}

// A navigation is what leads to one page.
type navigation struct {
	method    string
	target    *url.URL
	form      string   // the body of a POST, form-encoded
	initiator *url.URL // nil where a person typed the address
	referrer  string   // the initiator's Referrer-Policy
	actions   []string // its form-action; nil where it has none or no form is sent
	passed    []*url.URL
}

// Open goes to an address that the person typed.
func (b *Browser) Open(ctx context.Context, address string) (*Page, error) {
	return b.start(ctx, "GET", "", address, nil)
}

// OpenFrom follows a link on a page at the address from, which may be another site's.
func (b *Browser) OpenFrom(ctx context.Context, from, address string) (*Page, error) {
	return b.start(ctx, "GET", from, address, nil)
}

// PostFrom sends a form that stands on a page at the address from.
func (b *Browser) PostFrom(ctx context.Context, from, address string, form url.Values) (*Page, error) {
	return b.start(ctx, "POST", from, address, form)
}

func (b *Browser) start(ctx context.Context, method, from, address string, form url.Values) (*Page, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	n := navigation{method: method, target: target, form: form.Encode()}
	if from != "" {
		if n.initiator, err = url.Parse(from); err != nil {
			return nil, fmt.Errorf("open: %w", err)
		}
	}
	return b.navigate(ctx, n)
}

// Restart closes the browser and opens it again: cookies without a lifetime are gone.
func (b *Browser) Restart() { b.cookies.dropSession() }

// Cookie is the value of the cookie that would be sent to address by the site itself; empty where
// there is none.
func (b *Browser) Cookie(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	for _, c := range b.cookies.sentTo(u, "GET", true, b.now()) {
		if c.name == name {
			return c.value
		}
	}
	return ""
}

// Plant stores a cookie as if address had set it. It returns an error where a browser refuses it.
func (b *Browser) Plant(address string, c *http.Cookie) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("plant a cookie: %w", err)
	}
	return b.cookies.store(u, c, b.now())
}

func (b *Browser) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

// navigate follows redirects until there is a page, or the address where the browser stops.
func (b *Browser) navigate(ctx context.Context, n navigation) (*Page, error) {
	for range maxHops {
		if n.actions != nil && !allowedAction(n.actions, n.initiator, n.target) {
			return nil, fmt.Errorf("%s %s: %w %q", n.method, n.target.Redacted(), ErrFormAction, n.actions)
		}
		if b.StopAt != nil && b.StopAt(n.target) {
			b.Hops = append(b.Hops, Hop{Method: n.method, URL: n.target.String()})
			return &Page{URL: n.target, Stopped: true, Posted: postedForm(n), browser: b}, nil
		}
		page, err := b.request(ctx, &n)
		if err != nil {
			return nil, err
		}
		location := page.Header.Get("Location")
		if page.Status < 300 || page.Status > 399 || location == "" {
			return page, nil
		}
		if err := n.redirect(page.Status, location); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: more than %d redirects", n.target.Redacted(), maxHops)
}

func postedForm(n navigation) url.Values {
	if n.method != "POST" {
		return nil
	}
	form, err := url.ParseQuery(n.form)
	if err != nil {
		return nil
	}
	return form
}

// redirect turns n to where an answer leads, as the Fetch Standard §4.4 says.
func (n *navigation) redirect(status int, location string) error {
	target, err := n.target.Parse(location)
	if err != nil {
		return fmt.Errorf("follow a redirect: %w", err)
	}
	if target.Fragment == "" {
		target.Fragment = n.target.Fragment
	}
	if status == http.StatusSeeOther || (n.method == "POST" && (status == 301 || status == 302)) {
		n.method, n.form = "GET", ""
	}
	n.passed = append(n.passed, n.target)
	n.target = target
	return nil
}

func (b *Browser) request(ctx context.Context, n *navigation) (*Page, error) {
	address := *n.target
	address.Fragment, address.RawFragment = "", ""
	var body io.Reader
	if n.method == "POST" {
		body = strings.NewReader(n.form)
	}
	r, err := http.NewRequestWithContext(ctx, n.method, address.String(), body)
	if err != nil {
		return nil, fmt.Errorf("ask for a page: %w", err)
	}
	b.setHeaders(r, n)

	transport := b.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", n.method, address.Redacted(), err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxPageBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", address.Redacted(), err)
	}
	b.Hops = append(b.Hops, Hop{
		Method: n.method, URL: n.target.String(), Sent: r.Header,
		Status: answer.StatusCode, Header: answer.Header,
	})
	for _, c := range answer.Cookies() {
		if err := b.cookies.store(n.target, c, b.now()); err != nil {
			return nil, fmt.Errorf("%s sets a cookie that browsers refuse: %w", address.Redacted(), err)
		}
	}
	return newPage(b, n.target, answer, text)
}

// setHeaders says what a browser says of itself and of where a navigation comes from (Fetch
// Metadata Request Headers §2, Fetch Standard §3.2).
func (b *Browser) setHeaders(r *http.Request, n *navigation) {
	h := r.Header
	h.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	h.Set("User-Agent", "Mozilla/5.0 (rp)")
	if b.UserAgent != "" {
		h.Set("User-Agent", b.UserAgent)
	}
	if b.Language != "" {
		h.Set("Accept-Language", b.Language)
	}
	if trustworthy(n.target) {
		h.Set("Sec-Fetch-Site", n.fetchSite())
		h.Set("Sec-Fetch-Mode", "navigate")
		h.Set("Sec-Fetch-Dest", "document")
		h.Set("Sec-Fetch-User", "?1")
	}
	if n.method == "POST" {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Set("Origin", n.origin())
	}
	if referer := n.referer(); referer != "" {
		h.Set("Referer", referer)
	}
	sameSite := n.initiator == nil || site(n.initiator) == site(n.target)
	var pairs []string
	for _, c := range b.cookies.sentTo(n.target, n.method, sameSite, b.now()) {
		pairs = append(pairs, c.name+"="+c.value)
	}
	if len(pairs) > 0 {
		h.Set("Cookie", strings.Join(pairs, "; "))
	}
}

// fetchSite is the worst relation of the initiator to an address on the way.
func (n *navigation) fetchSite() string {
	if n.initiator == nil {
		return "none"
	}
	relation := "same-origin"
	for _, u := range append(n.passed[:len(n.passed):len(n.passed)], n.target) {
		switch {
		case site(u) != site(n.initiator):
			return "cross-site"
		case origin(u) != origin(n.initiator):
			relation = "same-site"
		}
	}
	return relation
}

// origin is the Origin header of a POST: null where the referrer policy or a redirect through
// another origin hides it.
func (n *navigation) origin() string {
	if n.initiator == nil {
		return "null"
	}
	own := origin(n.initiator)
	for _, u := range n.passed {
		if origin(u) != own && origin(u) != origin(n.target) {
			return "null"
		}
	}
	crossOrigin := own != origin(n.target)
	downgrade := n.initiator.Scheme == "https" && n.target.Scheme != "https"
	switch n.referrer {
	case "no-referrer":
		return "null"
	case "same-origin":
		if crossOrigin {
			return "null"
		}
	case "origin", "origin-when-cross-origin", "unsafe-url":
	default:
		if downgrade {
			return "null"
		}
	}
	return own
}

func (n *navigation) referer() string {
	if n.initiator == nil {
		return ""
	}
	same := origin(n.initiator) == origin(n.target)
	downgrade := n.initiator.Scheme == "https" && n.target.Scheme != "https"
	switch n.referrer {
	case "no-referrer":
		return ""
	case "same-origin":
		if !same {
			return ""
		}
	case "origin", "strict-origin":
		return origin(n.initiator) + "/"
	}
	if downgrade {
		return ""
	}
	if !same {
		return origin(n.initiator) + "/"
	}
	whole := *n.initiator
	whole.Fragment, whole.User = "", nil
	return whole.String()
}

// origin is a URL's origin, serialized as in RFC 6454 §6.2.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// site is a URL's schemeful site: its scheme and its registrable domain, without the port.
func site(u *url.URL) string {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return u.Scheme + "://" + host
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		host = domain
	}
	return u.Scheme + "://" + host
}

// trustworthy tells whether browsers take an address for a secure context (Secure Contexts §3.1).
func trustworthy(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	host := u.Hostname()
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// formActions reads the form-action directive out of the policies of an answer; nil where there
// is none. More than one policy with the directive is more than we judge, so all are joined by
// the strictest that they have in common.
func formActions(h http.Header) []string {
	var common []string
	for _, line := range h.Values("Content-Security-Policy") {
		for policy := range strings.SplitSeq(line, ",") {
			for directive := range strings.SplitSeq(policy, ";") {
				words := strings.Fields(directive)
				if len(words) == 0 || !strings.EqualFold(words[0], "form-action") {
					continue
				}
				common = intersect(common, words[1:])
			}
		}
	}
	return common
}

func intersect(a, b []string) []string {
	if a == nil {
		return append([]string{}, b...)
	}
	both := []string{}
	for _, s := range a {
		for _, t := range b {
			if s == t {
				both = append(both, s)
			}
		}
	}
	return both
}

// allowedAction tells whether one of the sources matches target (Content Security Policy Level 3
// §6.7.2.8). Chromium asks this again at every redirect of a form.
func allowedAction(sources []string, self, target *url.URL) bool {
	for _, source := range sources {
		switch {
		case source == "*":
			return true
		case source == "'self'":
			if self != nil && origin(self) == origin(target) {
				return true
			}
		case strings.HasSuffix(source, ":"):
			if strings.EqualFold(source, target.Scheme+":") {
				return true
			}
		case matchesHost(source, target):
			return true
		}
	}
	return false
}

func matchesHost(source string, target *url.URL) bool {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" || u.Scheme != target.Scheme {
		return false
	}
	if u.Port() != "*" && port(u) != port(target) {
		return false
	}
	if u.Path != "" && u.Path != "/" && u.Path != target.Path {
		return false
	}
	return strings.EqualFold(u.Hostname(), target.Hostname())
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// isHTML tells whether a body is a page.
func isHTML(h http.Header, body []byte) bool {
	kind := h.Get("Content-Type")
	if kind == "" {
		kind = http.DetectContentType(body)
	}
	return strings.HasPrefix(kind, "text/html") && !bytes.Equal(body, nil)
}
