package main

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/config"
	"postern/discovery"
	"postern/idp"
	"postern/idp/guard"
	loginui "postern/login-ui"
	"postern/oauth"
)

const (
	maxBody      = 64 << 10 // bytes of a request; the largest is an authorization request by POST
	maxUserAgent = 512      // bytes that a visitor's user agent is cut to
	maxPath      = 255      // bytes that a visitor's path is cut to
	maxMethod    = 16       // bytes that a method is cut to in the log
)

// A site answers every request of the public listener.
type site struct {
	cfg     *config.Config
	issuer  *url.URL
	p       *idp.Provider
	ui      *loginui.UI
	log     *slog.Logger
	mux     *http.ServeMux
	origin  *http.CrossOriginProtection
	proxies guard.Proxies
	hsts    []string // the value of Strict-Transport-Security, nil for none
	count   counting // of requests, nil for nobody who asks

	programs  map[string]bool // paths whose answers no person sees
	secrets   []string        // what paths begin with that end in a token
	otherHost sync.Once       // logs the first request for another host
}

// newSite wires pages, protocol and documents to their addresses.
func newSite(p *idp.Provider, cfg *config.Config, log *slog.Logger) (*site, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	ui, err := loginui.New(p, cfg)
	if err != nil {
		return nil, err
	}
	as, err := oauth.New(p, cfg, ui)
	if err != nil {
		return nil, err
	}
	docs, err := discovery.New(as.Capabilities(), p.SignUpOpen, as.PublicKeys)
	if err != nil {
		return nil, err
	}
	s := &site{
		cfg: cfg, issuer: issuer, p: p, ui: ui, log: log, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
		proxies: proxies(cfg.Proxy), programs: map[string]bool{},
	}
	if err := s.origin.AddTrustedOrigin(cfg.Issuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if issuer.Scheme == "https" && !cfg.Development() {
		s.hsts = []string{strictTransport(cfg.TLS.HSTS)}
	}
	s.handle(routes(ui, as, docs, cfg, p.Now()))
	return s, nil
}

// strictTransport is the value of Strict-Transport-Security (RFC 6797 §6.1).
func strictTransport(h config.HSTS) string {
	value := fmt.Sprintf("max-age=%d", int64(h.MaxAge/time.Second))
	if h.IncludeSubdomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return value
}

// handle fills the mux: one entry a path, which knows its methods.
func (s *site) handle(table []route) {
	paths := map[string]methods{}
	for _, rt := range table {
		if paths[rt.Path] == nil {
			paths[rt.Path] = methods{}
			if before, ok := strings.CutSuffix(rt.Path, tokenInPath); ok {
				s.secrets = append(s.secrets, before)
			}
		}
		if rt.forProgram() || rt.document() {
			s.programs[rt.Path] = true
		}
		paths[rt.Path][rt.Method] = s.wrap(rt)
		// RFC 9110 §9.1 wants HEAD wherever GET is. It is there for documents and files; elsewhere a
		// GET does something, and a HEAD of the authorization endpoint would issue a code that nobody
		// receives.
		if rt.Method == http.MethodGet && rt.Auth != forToken && (rt.Caching == handlerCache || rt.Path == healthPath) {
			paths[rt.Path][http.MethodHead] = s.wrap(rt)
		}
		if rt.forProgram() {
			paths[rt.Path][anyOther] = s.wrap(rt) // it refuses in the words of its protocol
		}
	}
	for path, m := range paths {
		s.mux.Handle(path, m)
	}
	s.mux.Handle("/", s.wrap(route{
		Method: http.MethodGet, Path: "/", Auth: forBrowser, Limiter: limitPages, Caching: noStore, CSRF: csrfSafe, Handler: s.ui.NotFound,
	}))
}

// tokenInPath ends the pattern of a path that carries a token.
const tokenInPath = "{token}"

// told is a path as logs and records may have it: without a token that opens something.
func (s *site) told(path string) string {
	for _, before := range s.secrets {
		if _, token, ok := strings.Cut(path, before); ok && token != "" {
			path = before + tokenInPath // with whatever slash there was too many
		}
	}
	return printable(path, maxPath)
}

// methods are the handlers of one path by their methods.
type methods map[string]http.Handler

// anyOther is the method of the handler that answers those without one.
const anyOther = ""

// ServeHTTP answers 405 with Allow where the path has no such method (RFC 9110 §15.5.6).
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{r.Method, anyOther} {
		if h := m[method]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
	}
	allowed := make([]string, 0, len(m))
	for method := range m {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
}

// wrap puts what rt declares around its handler.
func (s *site) wrap(rt route) http.Handler {
	h := http.Handler(rt.Handler)
	switch {
	case rt.Limiter == limitPages:
		h = s.spendsPage(h)
	case rt.form():
		h = s.spendsAuthAPI(h)
	}
	if rt.Auth == forBrowser {
		h = s.ui.Visitor(h)
	}
	if !rt.forProgram() {
		h = s.bounded(h)
	}
	if rt.CSRF == csrfOrigin {
		h = s.sameOrigin(h)
	}
	if rt.Caching == noStore {
		h = withoutStore(h)
	}
	switch {
	case rt.forProgram() && s.cfg.Lockout.DenyTokenEndpoint:
		h = s.unblocked(h, s.refuseProgram)
	case !rt.forProgram() && !rt.document():
		h = s.unblocked(h, s.ui.ShowBlocked)
	}
	return h
}

// unblocked refuses visitors whose network is blocked or on the deny list, before anything else. What
// is the same for everybody stays: relying parties need it.
func (s *site) unblocked(next http.Handler, refuse func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.p.Blocked(r.Context()); err != nil {
			w.Header()["Cache-Control"] = notStored
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseProgram tells a relying party in the JSON of RFC 6749 §5.2 that its network is blocked. That
// section has no code for it, so those of §4.1.2.1 are used.
func (s *site) refuseProgram(w http.ResponseWriter, _ *http.Request, err error) {
	status, code := http.StatusForbidden, "access_denied"
	if e, ok := errors.AsType[*idp.Error](err); ok && e.RetryAfter > 0 {
		status, code = http.StatusTooManyRequests, "temporarily_unavailable"
		w.Header().Set("Retry-After", strconv.FormatInt(wholeSeconds(e.RetryAfter), 10))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q,"error_description":"This network is blocked."}`+"\n", code)
}

// wholeSeconds is d for a header, rounded up.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// spendsPage counts a page that is shown, in this process alone.
func (s *site) spendsPage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.p.SpendPage(r.Context()); err != nil {
			s.ui.ShowFailure(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// spendsAuthAPI counts a form that a program sends, and tells it what is left.
func (s *site) spendsAuthAPI(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loginui.PrefersJSON(r) {
			next.ServeHTTP(w, r)
			return
		}
		left, err := s.p.SpendAuthAPI(r.Context())
		if left.Limit > 0 {
			h := w.Header()
			h.Set("RateLimit-Limit", strconv.Itoa(left.Limit))
			h.Set("RateLimit-Remaining", strconv.Itoa(left.Remaining))
			h.Set("RateLimit-Reset", strconv.FormatInt(wholeSeconds(left.Reset), 10))
		}
		if err != nil {
			s.ui.ShowFailure(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bounded shows a page to whom sends more than any form holds. Programs are told by the handler.
func (s *site) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			// The rest of the body is not read: the connection ends with the answer.
			w.Header().Set("Connection", "close")
			s.showProblem(w, r, http.StatusRequestEntityTooLarge, "request_too_large")
			return
		}
		next.ServeHTTP(w, r)
	})
}

var notStored = []string{"no-store"}

func withoutStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = notStored
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what another site's page made a browser send. Where no header speaks it is
// refused too (I-24): every browser that Postern serves sends one with a POST.
func (s *site) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
		silent := origin == "null" && site != "same-origin"
		if site == "" {
			// An old browser. CrossOriginProtection would take our host by plain http for us, too.
			silent = origin != s.cfg.Issuer
		}
		if silent || s.origin.Check(r) != nil {
			s.showProblem(w, r, http.StatusForbidden, "cross_site_request")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// showProblem shows a page in the visitor's language.
func (s *site) showProblem(w http.ResponseWriter, r *http.Request, status int, code string) {
	s.showPage(w, r, idp.Problem{Status: status, Code: code})
}

func (s *site) showPage(w http.ResponseWriter, r *http.Request, p idp.Problem) {
	p.Reference = idp.VisitorFrom(r.Context()).RequestID
	s.ui.Visitor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.ui.ShowProblem(w, r, p) })).ServeHTTP(w, r)
}

// Header values that every answer has. They are shared: a handler that sets another replaces them.
var (
	noSniff        = []string{"nosniff"}
	sameOriginOnly = []string{"same-origin"}
	nothingLoads   = []string{"default-src 'none'; frame-ancestors 'none'"}
)

// ServeHTTP gives a request its ID, its visitor and its bounds, and survives its handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w, began: time.Now()}
	address, ignored := s.address(r)
	a.visitor = idp.Visitor{RequestID: newRequestID(), UserAgent: printable(r.UserAgent(), maxUserAgent), Address: address, Path: s.told(r.URL.Path)}
	r = r.WithContext(idp.WithVisitor(r.Context(), &a.visitor))
	if ignored != "" {
		s.p.NoteIgnoredHeader(r.Context(), string(ignored))
	}
	h := w.Header()
	h["X-Request-Id"] = []string{a.visitor.RequestID}
	h["X-Content-Type-Options"] = noSniff
	h["Referrer-Policy"] = sameOriginOnly
	h["Content-Security-Policy"] = nothingLoads
	if s.hsts != nil {
		h["Strict-Transport-Security"] = s.hsts
	}
	defer s.finish(a, r)
	if s.strayed(a, r) {
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(a, r.Body, maxBody)
	}
	s.mux.ServeHTTP(a, r)
}

// finish logs a request that failed, and answers one whose handler panicked.
func (s *site) finish(a *answer, r *http.Request) {
	if broken := recover(); broken != nil {
		if broken == http.ErrAbortHandler {
			panic(broken)
		}
		s.log.ErrorContext(r.Context(), "handler panicked", "panic", fmt.Sprint(broken), "stack", string(debug.Stack()),
			"method", printable(r.Method, maxMethod), "path", a.visitor.Path, "request_id", a.visitor.RequestID)
		if a.status == 0 {
			s.showProblem(a, r, http.StatusInternalServerError, "internal_error")
		}
	}
	if s.count != nil {
		s.count(r.Pattern, r.Method, a.status)
	}
	level := slog.LevelDebug
	if a.status >= 500 {
		level = slog.LevelWarn
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	// The path alone: a query string has codes, tokens and sealed requests in it.
	s.log.LogAttrs(context.WithoutCancel(r.Context()), level, "request",
		slog.String("method", printable(r.Method, maxMethod)), slog.String("path", a.visitor.Path), slog.Int("status", a.status),
		slog.Float64(tookKey, milliseconds(time.Since(a.began))), slog.String("address", a.visitor.Address.String()), slog.String("request_id", a.visitor.RequestID))
}

// An answer is what is kept of a request until it is answered, in one piece of memory.
type answer struct {
	http.ResponseWriter
	status  int // 0 before there is one
	began   time.Time
	visitor idp.Visitor
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// strayed answers a request for another host than the issuer's before anything else reads it: what
// is issued there relying parties would refuse, and whoever chooses a host must not choose an address
// that a page shows. In development, where somebody typed 127.0.0.1 for localhost, the page has its
// looks; in production the first such request is logged with what differs. Headers by which a proxy
// tells of another host are not read.
func (s *site) strayed(w http.ResponseWriter, r *http.Request) bool {
	if strings.EqualFold(s.withoutPort(r.Host), s.issuer.Host) || r.URL.Path == healthPath {
		return false
	}
	if s.cfg.Development() && strings.HasPrefix(r.URL.Path, staticPath) {
		return false
	}
	if !s.cfg.Development() {
		s.otherHost.Do(func() {
			s.log.WarnContext(r.Context(), "a request came for another host than the issuer's: set issuer to the address that browsers use, or let the proxy pass the Host header on",
				"host", printable(r.Host, maxPath), "issuer", s.cfg.Issuer)
		})
	}
	w.Header()["Cache-Control"] = notStored
	if s.programs[r.URL.Path] {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusMisdirectedRequest)
		fmt.Fprintf(w, `{"error":"invalid_request","error_description":"This host is not that of the issuer, %s."}`+"\n", s.cfg.Issuer)
		return true
	}
	// Without the query: a code or a sealed request does not belong into a link.
	problem := idp.Problem{Status: http.StatusMisdirectedRequest, Code: "wrong_host", Back: s.cfg.Issuer + r.URL.EscapedPath()}
	s.ui.Visitor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Del("Set-Cookie") // this host is to keep nothing
		s.ui.ShowProblem(w, r, problem)
	})).ServeHTTP(w, r)
	return true
}

// withoutPort is a Host header without the port that the issuer's scheme implies.
func (s *site) withoutPort(host string) string {
	if s.issuer.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// proxies are those that the settings believe.
func proxies(cfg config.Proxy) guard.Proxies {
	var headers []string
	for name := range strings.SplitSeq(cfg.ClientIPHeader, ",") {
		if name = strings.TrimSpace(name); name != "" {
			headers = append(headers, name)
		}
	}
	return guard.Proxies{Hops: cfg.TrustedHops, Trusted: cfg.TrustedCIDRs, Headers: headers, LeftMost: cfg.Order == "left-most"}
}

// address is the client's, after the proxies that are believed, and why a header about it was not
// believed that was meant to be.
func (s *site) address(r *http.Request) (client netip.Addr, ignored guard.Ignored) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, ""
	}
	client, ignored = s.proxies.ClientAddress(peer.Addr(), r.Header.Values)
	if ignored == guard.Missing && r.URL.Path == healthPath { // the proxy asks for itself
		ignored = ""
	}
	return client, ignored
}

// printable is what a client sent as valid UTF-8 of at most so many bytes. Control characters, which
// steer the terminal of whoever lists sessions, are left out: headers may have those of Unicode.
func printable(text string, bytes int) string {
	if len(text) > bytes {
		text = text[:bytes]
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "")
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}

// references are without the letters that are taken for others (Crockford's alphabet).
var references = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// newRequestID returns 60 random bits as people read them out: 7Q2M-K4TD-0B9X. It names a request
// and opens nothing, so it is not from crypto/rand, which costs a system call.
func newRequestID() string {
	var random [8]byte
	binary.LittleEndian.PutUint64(random[:], rand.Uint64())
	var text [13]byte
	references.Encode(text[:], random[:])
	var id [14]byte
	copy(id[0:], text[0:4])
	copy(id[5:], text[4:8])
	copy(id[10:], text[8:12])
	id[4], id[9] = '-', '-'
	return string(id[:])
}
