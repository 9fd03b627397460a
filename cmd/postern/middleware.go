package main

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
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
)

// A site answers every request of the public listener.
type site struct {
	cfg    *config.Config
	issuer *url.URL
	ui     *loginui.UI
	log    *slog.Logger
	mux    *http.ServeMux
	origin *http.CrossOriginProtection
	hsts   []string // the value of Strict-Transport-Security, nil for none

	otherHost sync.Once // logs the first request for another host
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
	docs, err := discovery.New(as.Capabilities(), as.PublicKeys)
	if err != nil {
		return nil, err
	}
	s := &site{cfg: cfg, issuer: issuer, ui: ui, log: log, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection()}
	if err := s.origin.AddTrustedOrigin(cfg.Issuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if issuer.Scheme == "https" && !cfg.Development() {
		s.hsts = []string{strictTransport(cfg.TLS.HSTS)}
	}
	s.handle(routes(ui, as, docs))
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
	s.mux.Handle("/", s.ui.Visitor(http.HandlerFunc(s.ui.NotFound)))
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
	return h
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
	a.visitor = idp.Visitor{RequestID: newRequestID(), UserAgent: userAgent(r), Address: s.address(r)}
	r = r.WithContext(idp.WithVisitor(r.Context(), &a.visitor))
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
			"method", r.Method, "path", r.URL.Path, "request_id", a.visitor.RequestID)
		if a.status == 0 {
			s.showProblem(a, r, http.StatusInternalServerError, "internal_error")
		}
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
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", a.status),
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

// strayed answers a request for another host than the issuer's. In development, where somebody
// typed 127.0.0.1 for localhost, a page has the right address; in production the first such
// request is logged with what differs, since relying parties would refuse what is issued there.
func (s *site) strayed(w http.ResponseWriter, r *http.Request) bool {
	// The page about it has the looks of the others.
	if strings.EqualFold(s.withoutPort(r.Host), s.issuer.Host) || r.URL.Path == healthPath || strings.HasPrefix(r.URL.Path, staticPath) {
		return false
	}
	if !s.cfg.Development() {
		s.otherHost.Do(func() {
			s.log.WarnContext(r.Context(), "a request came for another host than the issuer's: set issuer to the address that browsers use, or let the proxy pass the Host header on",
				"host", r.Host, "issuer", s.cfg.Issuer)
		})
		return false
	}
	// Without the query: a code or a sealed request does not belong into a link.
	s.showPage(w, r, idp.Problem{Status: http.StatusMisdirectedRequest, Code: "wrong_host", Back: s.cfg.Issuer + r.URL.EscapedPath()})
	return true
}

// withoutPort is a Host header without the port that the issuer's scheme implies.
func (s *site) withoutPort(host string) string {
	if s.issuer.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// address is the client's, after the proxies that are believed.
func (s *site) address(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return guard.ClientAddress(peer.Addr(), r.Header.Values("X-Forwarded-For"), s.cfg.Proxy.TrustedHops, s.cfg.Proxy.TrustedCIDRs)
}

// userAgent is what the client calls itself, as valid UTF-8 of bounded length. Control characters,
// which steer the terminal of whoever lists sessions, are left out: headers may have those of
// Unicode.
func userAgent(r *http.Request) string {
	text := r.UserAgent()
	if len(text) > maxUserAgent {
		text = text[:maxUserAgent]
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
