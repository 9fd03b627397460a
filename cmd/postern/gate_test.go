package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/idp"
	"postern/storage/storagetest"
)

// limited turns the limits on, with their defaults.
func limited(c *config.Config) { c.RateLimits.Off = false }

// from is the browser of somebody at an address.
func (h *house) from(address string) *rp.Browser {
	b := h.browser()
	b.Transport = rp.InProcess{Handler: h, Address: net.JoinHostPort(address, "4321")}
	return b
}

// A sender adds headers to what a browser sends.
type sender struct {
	rp.InProcess
	header func() http.Header
}

// RoundTrip implements http.RoundTripper.
func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	for name, values := range s.header() {
		r.Header[name] = values
	}
	return s.InProcess.RoundTrip(r)
}

// signIn opens the sign-in page and sends it, and returns the page after it.
func (h *house) signIn(t testing.TB, b *rp.Browser, username, password string) *rp.Page {
	t.Helper()
	page, err := signInAt(t.Context(), b, testIssuer, username, password)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func signInAt(ctx context.Context, b *rp.Browser, issuer, username, password string) (*rp.Page, error) {
	page, err := b.Open(ctx, issuer+"/login")
	if err != nil {
		return nil, err
	}
	form := page.Form()
	if form == nil {
		return page, nil // refused already
	}
	for name, value := range map[string]string{"username": username, "password": password} {
		if err := form.Fill(name, value); err != nil {
			return nil, err
		}
	}
	return form.Press(ctx, "sign-in")
}

// try is signIn with a fresh browser at an address.
func (h *house) try(t testing.TB, address, username, password string) *rp.Page {
	t.Helper()
	return h.signIn(t, h.from(address), username, password)
}

func signedIn(p *rp.Page) bool { return p.Status == http.StatusOK && p.URL.Path == "/account" }

// refusedAt is the number of the first attempt that is answered 429, 0 for none.
func refusedAt(attempts int, attempt func(n int) *rp.Page) int {
	for n := 1; n <= attempts; n++ {
		if attempt(n).Status == http.StatusTooManyRequests {
			return n
		}
	}
	return 0
}

func TestS0_01_AFreshServerLimitsSignInsAndRateLimitsFalseDoesNot(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, limited)
		h.addUser(t, "alice")
		attempt := func(int) *rp.Page { return h.try(t, "198.51.100.7", "alice", testPassword) }
		if got := refusedAt(40, attempt); got != 31 {
			t.Errorf("the first 429 is attempt %d, want 31", got)
		}
		off := open(t, storagetest.SQLite(t), nil)
		off.addUser(t, "alice")
		if got := refusedAt(40, func(int) *rp.Page { return off.try(t, "198.51.100.7", "alice", testPassword) }); got != 0 {
			t.Errorf("without limits attempt %d is answered 429", got)
		}
		code, out, errs := command(t, url, "", "check", "--deploy", "--fail-level", "error", "--set", "rate_limits=false")
		if code != exitFailure || !strings.Contains(out, "ERROR") || !strings.Contains(out, "W101") || !strings.Contains(out, "rate_limits") {
			t.Errorf("check: exit %d\n%s%s", code, out, errs)
		}
	})
}

func TestS0_03_ThirtySignInsAMinuteOfAnAddress(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, limited)
		h.addUser(t, "alice")
		const here, elsewhere = "198.51.100.7", "198.51.100.8"
		for n := range 30 {
			password := testPassword
			if n%10 == 0 {
				password = "wrong"
			}
			if page := h.try(t, here, "alice", password); page.Status == http.StatusTooManyRequests {
				t.Fatalf("attempt %d is answered 429", n+1)
			}
		}
		if page := h.try(t, here, "alice", testPassword); page.Status != http.StatusTooManyRequests {
			t.Errorf("the 31st attempt is answered %d", page.Status)
		}
		if page := h.try(t, elsewhere, "alice", testPassword); !signedIn(page) {
			t.Errorf("another address is answered %d", page.Status)
		}
		h.now = h.now.Add(time.Minute)
		if page := h.try(t, here, "alice", testPassword); !signedIn(page) {
			t.Errorf("a minute later: %d", page.Status)
		}
	})
}

// S0-10: answers to a request for consent are limited by user, refusals with them.
func TestS0_10_ThirtyConsentsAMinuteOfAUser(t *testing.T) {
	h := open(t, storagetest.SQLite(t), limited)
	h.addUser(t, "alice")
	h.addUser(t, "bob")
	party := h.party(t)
	answer := func(b *rp.Browser, button string) *rp.Page {
		t.Helper()
		page, err := b.Open(t.Context(), party.AuthorizationEndpoint+"?"+party.NewRequest("prompt", "consent").Params.Encode())
		if err != nil {
			t.Fatal(err)
		}
		form := page.Form()
		if form == nil {
			t.Fatalf("no form at %s: %s", page.URL, page.Text())
		}
		if page, err = form.Press(t.Context(), button); err != nil {
			t.Fatal(err)
		}
		return page
	}
	alice, bob := h.from("198.51.100.7"), h.from("198.51.100.7")
	h.signIn(t, alice, "alice", testPassword)
	h.signIn(t, bob, "bob", testPassword)
	for n := range 30 {
		if page := answer(alice, []string{"allow", "deny"}[n%2]); !page.Stopped {
			t.Fatalf("answer %d leads to %s: %d", n+1, page.URL, page.Status)
		}
	}
	for _, button := range []string{"allow", "deny"} {
		if page := answer(alice, button); page.Status != http.StatusTooManyRequests || page.Header.Get("Retry-After") == "" {
			t.Errorf("%s after 30 answers: %d at %s", button, page.Status, page.URL)
		}
	}
	if page := answer(bob, "allow"); !page.Stopped {
		t.Errorf("another user: %d", page.Status)
	}
}

func TestS0_17_LimitsBeginAtTheSameAttemptForNamesThatAreNobodys(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, limited)
		h.addUser(t, "alice")
		statuses := func(name, network string) (all string) {
			for n := range 12 {
				page := h.try(t, fmt.Sprintf(network, n/3), name, "wrong") // three from each address
				all += fmt.Sprint(page.Status, page.ErrorCodes())
			}
			return all
		}
		known, unknown := statuses("alice", "198.51.100.%d"), statuses("zoe", "203.0.113.%d")
		if known != unknown || strings.Count(known, "429") != 7 {
			t.Errorf("alice is answered\n%s, zoe\n%s", known, unknown)
		}
	})
}

func TestS0_14_PagesHaveACoarseBudgetOfTheirOwn(t *testing.T) {
	h := open(t, storagetest.SQLite(t), limited)
	h.addUser(t, "alice")
	send := func(method, address, path string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, testIssuer+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := rp.InProcess{Handler: h, Address: address + ":1"}.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	b := h.from("198.51.100.7")
	for n := range 200 {
		page, err := b.Open(t.Context(), testIssuer+"/login")
		if err != nil || page.Status != http.StatusOK {
			t.Fatalf("GET %d of the sign-in page: %v, %v", n+1, page, err)
		}
	}
	if page := h.signIn(t, b, "alice", testPassword); !signedIn(page) {
		t.Errorf("after 200 pages a sign-in is answered %d", page.Status)
	}
	for n := 1; ; n++ {
		answer := send(http.MethodGet, "198.51.100.9", "/login")
		if answer.StatusCode == http.StatusTooManyRequests {
			if n != 601 || answer.Header.Get("Retry-After") == "" || !strings.Contains(text(t, answer), "data-error-code") {
				t.Errorf("page %d is answered 429, %v", n, answer.Header)
			}
			break
		}
		if n > 700 {
			t.Fatal("700 pages are shown")
		}
	}
	if status := send(http.MethodGet, "198.51.100.9", "/.well-known/openid-configuration").StatusCode; status != http.StatusOK {
		t.Errorf("a document is answered %d", status)
	}
	if status := send(http.MethodGet, "198.51.100.10", "/login").StatusCode; status == http.StatusTooManyRequests {
		t.Error("another address is refused")
	}
	if status := send(http.MethodGet, "198.51.100.9", "/nowhere").StatusCode; status != http.StatusTooManyRequests {
		t.Errorf("a page that is not there is answered %d", status)
	}
	if status := send(http.MethodPost, "198.51.100.9", "/nowhere").StatusCode; status != http.StatusTooManyRequests {
		t.Errorf("it is answered %d to another method", status)
	}
}

func TestS0_15_TooManyRequestsSaysWhenToComeBack(t *testing.T) {
	h := open(t, storagetest.SQLite(t), limited)
	for n := range 30 {
		h.try(t, "198.51.100.7", fmt.Sprint("nobody", n), "wrong")
	}
	b := h.from("198.51.100.7")
	page := h.signIn(t, b, "alice", testPassword)
	seconds, err := strconv.Atoi(page.Header.Get("Retry-After"))
	if page.Status != http.StatusTooManyRequests || err != nil || seconds < 1 || seconds > 60 {
		t.Errorf("got %d, Retry-After %q", page.Status, page.Header.Get("Retry-After"))
	}
	if got := page.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	if b.Cookie(testIssuer, "__Host-postern_session") != "" {
		t.Error("there is a session")
	}
	b = h.from("198.51.100.7")
	b.Transport = sender{rp.InProcess{Handler: h, Address: "198.51.100.7:1"}, func() http.Header { return http.Header{"Accept": {"application/json"}} }}
	b.Transport = htmlUntilPosted{b.Transport}
	page = h.signIn(t, b, "alice", testPassword)
	var document struct {
		Status int    `json:"status"`
		Code   string `json:"code"`
	}
	if err := json.Unmarshal(page.Body, &document); err != nil || page.Status != http.StatusTooManyRequests || document.Status != page.Status || document.Code == "" {
		t.Errorf("JSON: %d %s, %v", page.Status, page.Body, err)
	}
	// S4-37: no other site reads it.
	if got := page.Header.Values("Access-Control-Allow-Origin"); len(got) > 0 {
		t.Errorf("other origins may read it: %q", got)
	}
}

// htmlUntilPosted asks for JSON with POSTs alone, as the script of a page does.
type htmlUntilPosted struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (u htmlUntilPosted) RoundTrip(r *http.Request) (*http.Response, error) {
	if s, ok := u.RoundTripper.(sender); ok && r.Method == http.MethodGet {
		return s.InProcess.RoundTrip(r)
	}
	return u.RoundTripper.RoundTrip(r)
}

// addressesOf logs the requests of a house and returns the address that each came from.
func addressesOf(h *house) (next func(t *testing.T) string) {
	var logged bytes.Buffer
	h.log = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return func(t *testing.T) string {
		t.Helper()
		lines := bufio.NewScanner(&logged)
		address := ""
		for lines.Scan() {
			var line struct{ Msg, Address string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			if line.Msg == "request" {
				address = line.Address
			}
		}
		logged.Reset()
		return address
	}
}

// forwarding are headers by which proxies tell of a client.
var forwarding = []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip"}

func TestS0_18_HeadersOfAStrangerChangeNoAddress(t *testing.T) {
	onset := func(header func() http.Header) int {
		h := open(t, storagetest.SQLite(t), limited)
		return refusedAt(50, func(n int) *rp.Page {
			b := h.browser()
			b.Transport = sender{rp.InProcess{Handler: h, Address: "198.51.100.7:1"}, header}
			return h.signIn(t, b, fmt.Sprint("nobody", n), "wrong")
		})
	}
	random := func() http.Header {
		h := http.Header{}
		for _, name := range forwarding {
			h.Set(name, netip.AddrFrom4([4]byte{byte(1 + rand.IntN(200)), byte(rand.IntN(256)), byte(rand.IntN(256)), 1}).String())
		}
		return h
	}
	without, with := onset(func() http.Header { return nil }), onset(random)
	if without != 11 || with != without {
		t.Errorf("429 begins at attempt %d without headers and %d with random ones, want 11", without, with)
	}
}

// S0-19 to S0-21, S4-25, S4-47 to S4-50: whom the settings believe, through the whole server.
func TestS4_25_ClientAddressesAreAsTheProxiesSay(t *testing.T) {
	own := netip.MustParsePrefix("10.0.0.0/8")
	hops := func(n int) config.Proxy {
		return config.Proxy{TrustedHops: n, TrustedCIDRs: []netip.Prefix{own}, Order: "right-most"}
	}
	single := config.Proxy{TrustedCIDRs: []netip.Prefix{own}, ClientIPHeader: "CF-Connecting-IP, X-Real-IP", Order: "right-most"}
	left := hops(1)
	left.Order, left.IKnowEdgeOverwrites = "left-most", true
	for name, c := range map[string]struct {
		proxy  config.Proxy
		peer   string
		header http.Header
		want   string
	}{
		"S0-19: one hop takes the last":                  {hops(1), "10.0.0.1", xff("203.0.113.9, 192.0.2.7"), "192.0.2.7"},
		"S0-19: two hops, one entry":                     {hops(2), "10.0.0.1", xff("192.0.2.7"), "10.0.0.1"},
		"S0-19: two hops, two lines":                     {hops(2), "10.0.0.1", xff("192.0.2.7", "10.0.0.2"), "192.0.2.7"},
		"S0-19: a peer that is no proxy":                 {hops(1), "198.51.100.7", xff("192.0.2.7"), "198.51.100.7"},
		"S0-20: the single header":                       {single, "10.0.0.1", http.Header{"Cf-Connecting-Ip": {"192.0.2.7"}}, "192.0.2.7"},
		"S0-20: a port":                                  {single, "10.0.0.1", http.Header{"Cf-Connecting-Ip": {"192.0.2.7:443"}}, "192.0.2.7"},
		"S0-20: a zone":                                  {single, "10.0.0.1", http.Header{"Cf-Connecting-Ip": {"2001:db8::7%eth0"}}, "2001:db8::7"},
		"S0-20: IPv4 within IPv6":                        {single, "10.0.0.1", http.Header{"Cf-Connecting-Ip": {"::ffff:192.0.2.7"}}, "192.0.2.7"},
		"S0-20: a list":                                  {single, "10.0.0.1", http.Header{"Cf-Connecting-Ip": {"192.0.2.7, 192.0.2.8"}}, "10.0.0.1"},
		"S0-20: doubled":                                 {single, "10.0.0.1", http.Header{"Cf-Connecting-Ip": {"192.0.2.7", "192.0.2.8"}}, "10.0.0.1"},
		"S0-20: from an untrusted peer":                  {single, "198.51.100.7", http.Header{"Cf-Connecting-Ip": {"192.0.2.7"}}, "198.51.100.7"},
		"S4-48: the second header where the first lacks": {single, "10.0.0.1", http.Header{"X-Real-Ip": {"192.0.2.7"}}, "192.0.2.7"},
		"S4-49: left-most, for those who ask for it":     {left, "10.0.0.1", xff("192.0.2.7, 192.0.2.8"), "192.0.2.7"},
		"S4-50: left-most from an untrusted peer":        {left, "198.51.100.7", xff("192.0.2.7, 192.0.2.8"), "198.51.100.7"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, storagetest.SQLite(t), func(cfg *config.Config) { cfg.Proxy = c.proxy })
			address := addressesOf(h)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, testIssuer+"/account", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = c.header
			if _, err := (rp.InProcess{Handler: h, Address: c.peer + ":1"}).RoundTrip(r); err != nil {
				t.Fatal(err)
			}
			if got := address(t); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func xff(lines ...string) http.Header { return http.Header{"X-Forwarded-For": lines} }

// S0-20: a header that is not believed is told once an hour.
func TestS0_20_AHeaderThatIsNotBelievedIsAnEventOnceAnHour(t *testing.T) {
	h := open(t, storagetest.SQLite(t), func(c *config.Config) {
		c.Proxy = config.Proxy{TrustedCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ClientIPHeader: "CF-Connecting-IP", Order: "right-most"}
	})
	ignored := func() (n int) {
		t.Helper()
		events, err := h.p.Events(t.Context(), idp.ID{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == "proxy.header_ignored" {
				n++
			}
		}
		return n
	}
	for range 20 {
		h.send(t, http.MethodGet, "/account", http.Header{"Cf-Connecting-Ip": {"192.0.2.7"}}, nil)
	}
	if got := ignored(); got != 1 {
		t.Errorf("%d events, want 1", got)
	}
	h.now = h.now.Add(time.Hour + time.Second)
	h.send(t, http.MethodGet, "/account", http.Header{"Cf-Connecting-Ip": {"192.0.2.7"}}, nil)
	if got := ignored(); got != 2 {
		t.Errorf("an hour later: %d events, want 2", got)
	}
}

func TestATrustedProxyThatSaysNothingIsAnEvent(t *testing.T) {
	h := open(t, storagetest.SQLite(t), func(c *config.Config) {
		c.Proxy = config.Proxy{TrustedCIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, TrustedHops: 1, Order: "right-most"}
	})
	noted := func() (whys []any) {
		t.Helper()
		events, err := h.p.Events(t.Context(), idp.ID{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == "proxy.header_ignored" {
				whys = append(whys, e.Details["why"])
			}
		}
		return whys
	}
	visit := func(path string) {
		t.Helper()
		if _, err := h.from("192.0.2.9").Open(t.Context(), testIssuer+path); err != nil {
			t.Fatal(err)
		}
	}
	visit("/healthz")
	if got := noted(); len(got) != 0 {
		t.Errorf("a check of health is recorded: %v", got)
	}
	visit("/login")
	if got := noted(); len(got) != 1 || got[0] != "missing" {
		t.Errorf("recorded %v, want missing", got)
	}
}

// S4-51: the settings of the source's example are a finding.
func TestS0_21_TheLeftMostEntryIsAFinding(t *testing.T) {
	code, out, errs := command(t, storagetest.SQLite(t), "", "check", "--deploy", "--fail-level", "error",
		"--set", "proxy.trusted_hops=1", "--set", "proxy.order=left-most")
	if code == exitOK || !strings.Contains(out, "W213") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

func TestS0_22_ANetworkOfIPv6IsOneAddress(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, limited)
		h.addUser(t, "alice")
		onset := refusedAt(30, func(n int) *rp.Page {
			return h.try(t, fmt.Sprintf("2001:db8:1:2::%x", n), fmt.Sprint("nobody", n), "wrong")
		})
		if onset != 11 {
			t.Errorf("429 begins at attempt %d of a /64, want 11", onset)
		}
		if page := h.try(t, "2001:db8:1:3::1", "alice", testPassword); !signedIn(page) {
			t.Errorf("another /64 is answered %d", page.Status)
		}
	})
}

// S4-64: what a stranger sends never makes a 500 and never changes the address.
func TestS4_64_GarbageNeverMakesAnError(t *testing.T) {
	hundred := strings.Repeat("192.0.2.1, ", 99) + "192.0.2.2"
	garbage := []string{
		"", ",", ", ,", "\x00", "a\x00b", "\xff\xfe", "192.0.2.1:99999", "[2001:db8::1]:443", "[::1", "2001:db8::1%\x00", "unknown", "for=192.0.2.1",
		"127.0.0.1", "-1", "1e9", strings.Repeat("9", 20_000), hundred, "192.0.2.1\r\nX: y", "\u202e192.0.2.1", "%31%39", "0x7f.1", "192.0.2.01", "::ffff:192.0.2.1",
	}
	h := open(t, storagetest.SQLite(t), func(c *config.Config) {
		c.Proxy = config.Proxy{TrustedHops: 2, TrustedCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ClientIPHeader: "CF-Connecting-IP", Order: "right-most"}
	})
	address := addressesOf(h)
	for _, text := range garbage {
		header := http.Header{"User-Agent": {text}, "Accept": {text}, "Accept-Language": {text}, "Cookie": {text}}
		for _, name := range forwarding {
			header[name] = []string{text, text}
		}
		for _, rt := range tableOf(h) {
			path := strings.NewReplacer("{path...}", "style.css", "{$}", "").Replace(rt.Path)
			form := url.Values{"username": {text}, "password": {text}, "tx": {text}, "client_id": {text}}.Encode()
			header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
			header["Sec-Fetch-Site"] = []string{"same-origin"}
			answer := h.send(t, rt.Method, path, header, strings.NewReader(form))
			if answer.StatusCode >= http.StatusInternalServerError {
				t.Errorf("%.40q: %s %s is answered %d", text, rt.Method, path, answer.StatusCode)
			}
			if got := address(t); got != "192.0.2.1" {
				t.Errorf("%.40q: the address is %q", text, got)
			}
		}
	}
}

// S4-64: user agents of a megabyte are refused by the server, shorter ones are cut.
func TestS4_64_LongHeadersAreRefusedAndShorterOnesCut(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	h.addUser(t, "alice")
	l := listen(t)
	server := newServer(h, h.log)
	go server.Serve(l)
	defer server.Close()
	ask := func(agent string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "id.example.com"
		r.Header.Set("User-Agent", agent)
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return http.StatusRequestHeaderFieldsTooLarge // the connection was closed while we wrote
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	if got := ask(strings.Repeat("x", 1<<20)); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a megabyte is answered %d", got)
	}
	if got := ask(strings.Repeat("x", 16<<10)); got >= http.StatusBadRequest {
		t.Errorf("16 KiB are answered %d", got)
	}
	b := h.from("198.51.100.7")
	b.UserAgent = strings.Repeat("é", 8<<10)
	if page := h.signIn(t, b, "alice", testPassword); !signedIn(page) {
		t.Fatalf("signing in with a long user agent: %d", page.Status)
	}
	var sessions []sessionView
	succeed(t, &sessions, h.url, "", "session", "list")
	if len(sessions) != 1 || sessions[0].UserAgent != strings.Repeat("é", maxUserAgent/2) {
		t.Errorf("kept %d bytes", len(sessions[0].UserAgent))
	}
}

func TestS1_13_FormsThatAskForJSONHaveABudgetOfTheirOwn(t *testing.T) {
	h := open(t, storagetest.SQLite(t), func(c *config.Config) {
		limited(c)
		c.RateLimits.Login, c.RateLimits.LoginFailed, c.Lockout.Enabled = "", "", false
	})
	post := func(accept, path string) *http.Response {
		return h.send(t, http.MethodPost, path, http.Header{
			"Accept": {accept}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/x-www-form-urlencoded"},
		}, strings.NewReader("username=alice&password=wrong"))
	}
	for n := 1; n <= 100; n++ {
		answer := post("application/json", "/login")
		want := []string{"100", strconv.Itoa(100 - n)}
		got := []string{answer.Header.Get("RateLimit-Limit"), answer.Header.Get("RateLimit-Remaining")}
		reset, err := strconv.Atoi(answer.Header.Get("RateLimit-Reset"))
		if answer.StatusCode == http.StatusTooManyRequests || got[0] != want[0] || got[1] != want[1] || err != nil || reset < 1 || reset > 3600 {
			t.Fatalf("answer %d: %d %v, reset in %d s, want %v", n, answer.StatusCode, got, reset, want)
		}
	}
	answer := post("application/json", "/consent")
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("RateLimit-Remaining") != "0" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("the 101st is answered %d, %v", answer.StatusCode, answer.Header)
	}
	if answer := post("text/html", "/login"); answer.StatusCode == http.StatusTooManyRequests || answer.Header.Get("RateLimit-Limit") != "" {
		t.Errorf("a page is answered %d, %v", answer.StatusCode, answer.Header)
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/oauth2/userinfo"} {
		if answer := post("application/json", path); answer.StatusCode == http.StatusTooManyRequests || answer.Header.Get("RateLimit-Limit") != "" {
			t.Errorf("%s is answered %d, %v", path, answer.StatusCode, answer.Header)
		}
	}
}

func TestS2_05_TheHoneypotNeverLetsAnybodyIn(t *testing.T) {
	h := open(t, storagetest.SQLite(t), func(c *config.Config) { c.Honeypot.BlockAfter = 0 })
	if _, err := h.p.AddUser(t.Context(), idp.NewUser{Username: "ruth", Password: testPassword, Admin: true}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/admin", "/admin/", "/admin/users/1/change", "/wp-login.php"} {
		b := h.from("198.51.100.7")
		page, err := b.Open(t.Context(), testIssuer+path)
		if err != nil {
			t.Fatal(err)
		}
		form := page.Form()
		if page.Status != http.StatusOK || form == nil || path == "/admin" && page.URL.Path != "/admin/" {
			t.Fatalf("%s: %d at %s", path, page.Status, page.URL)
		}
		for name, value := range map[string]string{"username": "root", "password": testPassword} {
			if err := form.Fill(name, value); err != nil {
				t.Fatal(err)
			}
		}
		if page, err = form.Submit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if page.Status >= http.StatusInternalServerError || page.Form() == nil || signedIn(page) {
			t.Errorf("%s with the right password: %d at %s", path, page.Status, page.URL)
		}
		if b.Cookie(testIssuer, "__Host-postern_session") != "" {
			t.Errorf("%s gives a session", path)
		}
	}
	if answer := h.send(t, http.MethodGet, "/wp-login.phpx", nil, nil); answer.StatusCode != http.StatusNotFound {
		t.Errorf("beside an exact path: %d", answer.StatusCode)
	}
}

func TestS2_08_WhoComesToTheHoneypotTooOftenIsBlockedUntilSomebodyClearsIt(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, func(c *config.Config) { c.TLS.Cert = "cert.pem" }) // no proxy speaks https for it
		h.addUser(t, "alice")
		const bad, good = "2001:db8:6:6::66", "198.51.100.7"
		for range 3 {
			spring(t, h, bad)
		}
		h.poll(t)
		for _, address := range []string{bad, "2001:db8:6:6::77"} {
			page, err := h.from(address).Open(t.Context(), testIssuer+"/login")
			if err != nil || page.Status != http.StatusTooManyRequests && page.Status != http.StatusForbidden || len(page.ErrorCodes()) == 0 {
				t.Errorf("%s sees the sign-in page: %v, %v", address, page, err)
			}
		}
		if page := h.try(t, good, "alice", testPassword); !signedIn(page) {
			t.Errorf("another address: %d", page.Status)
		}
		for path, blocked := range map[string]bool{healthPath: false, "/oauth2/jwks": false, "/nowhere": true, "/account": true, "/admin/": true, "/oauth2/authorize": true} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, testIssuer+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := rp.InProcess{Handler: h, Address: "[" + bad + "]:1"}.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusForbidden; got != blocked {
				t.Errorf("%s is answered %d", path, answer.StatusCode)
			}
		}
		var listed countersView
		succeed(t, &listed, url, "", "lockout", "list", "--ip", bad)
		if len(listed.Blocks) != 1 || listed.Blocks[0].Network.String() != "2001:db8:6:6::/64" || listed.Blocks[0].Why != "honeypot" {
			t.Errorf("blocks: %+v", listed.Blocks)
		}
		var cleared map[string]int
		succeed(t, &cleared, url, "", "lockout", "reset", "--ip", bad)
		if cleared["blocks"] != 1 {
			t.Errorf("cleared %v", cleared)
		}
		h.poll(t)
		if page := h.try(t, bad, "alice", testPassword); !signedIn(page) {
			t.Errorf("after the reset: %d", page.Status)
		}
	})
}

// poll lets a house learn what others changed, as a server does each second.
func (h *house) poll(t *testing.T) {
	t.Helper()
	h.now = h.now.Add(6 * time.Second)
	if err := h.p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// spring sends something to the honeypot.
func spring(t *testing.T, h *house, address string) *rp.Page {
	t.Helper()
	page, err := h.from(address).Open(t.Context(), testIssuer+"/admin/")
	if err != nil {
		t.Fatal(err)
	}
	form := page.Form()
	if form == nil {
		t.Fatalf("the honeypot has no form: %d", page.Status)
	}
	for name, value := range map[string]string{"username": "root", "password": "hunter2hunter2"} {
		if err := form.Fill(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if page, err = form.Submit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return page
}

func TestS2_09_RecordsOfTheHoneypotAreExportedAndCannotBeDeletedByHTTP(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	spring(t, h, "198.51.100.66")
	code, out, errs := command(t, h.url, "", "audit", "export", "--kind", "attempts")
	if code != exitOK {
		t.Fatal(errs)
	}
	var record attemptView
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if record.Kind != "honeypot" || record.Address != "198.51.100.66" || record.Path != "/admin/" || strings.Contains(out, "hunter2") {
		t.Errorf("the record is %s", out)
	}
	for _, method := range []string{http.MethodDelete, http.MethodPut, http.MethodPatch} {
		answer := h.send(t, method, "/admin/", http.Header{"Sec-Fetch-Site": {"same-origin"}}, nil)
		if answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s is answered %d", method, answer.StatusCode)
		}
	}
}

func TestS4_30_TheDenyListComesBeforeTheAllowList(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	for _, strict := range []bool{false, true} {
		h := open(t, storagetest.SQLite(t), func(c *config.Config) {
			c.Lockout.DenyCIDRs, c.Lockout.AllowCIDRs, c.Lockout.NeverLockAllowed, c.Lockout.DenyTokenEndpoint = list, list, true, strict
		})
		h.addUser(t, "alice")
		ask := func(address, method, path string) *http.Response {
			r, err := http.NewRequestWithContext(t.Context(), method, testIssuer+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := rp.InProcess{Handler: h, Address: address + ":1"}.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		if answer := ask("203.0.113.5", http.MethodGet, "/login"); answer.StatusCode != http.StatusForbidden {
			t.Errorf("a denied address is answered %d", answer.StatusCode)
		}
		if page := h.try(t, "198.51.100.7", "alice", testPassword); !signedIn(page) {
			t.Errorf("another address is answered %d", page.Status)
		}
		for _, path := range []string{"/oauth2/token", "/oauth2/userinfo"} {
			answer := ask("203.0.113.5", http.MethodPost, path)
			var failure struct {
				Error string `json:"error"`
			}
			if err := json.Unmarshal([]byte(text(t, answer)), &failure); err != nil && path == "/oauth2/token" {
				t.Errorf("%s: %v", path, err)
			}
			if denied := answer.StatusCode == http.StatusForbidden && failure.Error == "access_denied"; denied != strict {
				t.Errorf("strict %t: %s is answered %d %q", strict, path, answer.StatusCode, failure.Error)
			}
		}
	}
}

// No variant of a name, and no address that is the same person's, is a fresh start.
func TestS4_23_LockoutCannotBeEvaded(t *testing.T) {
	variants := []string{"ALICE", "alice ", " Alice", "ａｌｉｃｅ", "a\u200blice", "al\u00adice", "alice@example.com", "ALICE@EXAMPLE.COM", "\u2066alice\u2069", "alice\x00"}
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, limited)
		h.addUser(t, "alice")
		for n := range 5 {
			// Every failure comes by another name, another header and another address of the /64.
			b := h.browser()
			b.Transport = sender{
				rp.InProcess{Handler: h, Address: fmt.Sprintf("[2001:db8:1:2::%x]:1", n+1)},
				func() http.Header { return xff(fmt.Sprintf("203.0.113.%d", n)) },
			}
			if page := h.signIn(t, b, variants[n], "wrong"); page.Status != http.StatusBadRequest && page.Status != http.StatusTooManyRequests {
				t.Errorf("%q: %d", variants[n], page.Status)
			}
		}
		h.now = h.now.Add(6 * time.Minute) // the limits of S0-04 are over, the lock is not
		for n, name := range append(variants, "alice") {
			page := h.try(t, fmt.Sprintf("2001:db8:1:2::ff%x", n), name, testPassword)
			if signedIn(page) {
				t.Errorf("%q signs in while alice is locked", name)
			}
			h.now = h.now.Add(10 * time.Second)
		}
		h.now = h.now.Add(15 * time.Minute)
		if page := h.try(t, "2001:db8:1:2::1", "alice", testPassword); !signedIn(page) {
			t.Errorf("after the cool-off: %d %v", page.Status, page.ErrorCodes())
		}
	})
}

// S4-36: successes in between reset no count of the address.
func TestS4_36_SuccessInBetweenResetsNoCountOfTheAddress(t *testing.T) {
	h := open(t, storagetest.SQLite(t), limited)
	h.addUser(t, "mallory")
	onset := refusedAt(30, func(n int) *rp.Page {
		if n%2 == 0 {
			return h.try(t, "198.51.100.7", "mallory", testPassword)
		}
		return h.try(t, "198.51.100.7", fmt.Sprint("nobody", n), "wrong")
	})
	if onset == 0 || onset > 21 {
		t.Errorf("429 begins at attempt %d, want after ten failures", onset)
	}
}

// S4-66: strangers cannot lock the owner's browser out.
func TestS4_66_StrangersCannotLockAKnownBrowserOut(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, limited)
		h.addUser(t, "alice")
		owner := h.from("198.51.100.7")
		if page := h.signIn(t, owner, "alice", testPassword); !signedIn(page) {
			t.Fatalf("alice signs in: %d", page.Status)
		}
		if _, out, _ := command(t, url, "", "session", "end", "--user", "alice"); !strings.Contains(out, "Ended 1 session") {
			t.Fatal(out)
		}
		for n := range 60 {
			h.try(t, fmt.Sprintf("203.0.113.%d", n+1), "alice", "wrong")
		}
		if page := h.try(t, "192.0.2.200", "alice", testPassword); signedIn(page) {
			t.Error("a stranger's browser signs in while the name is locked")
		}
		if page := h.signIn(t, owner, "alice", testPassword); !signedIn(page) {
			t.Errorf("the owner's browser is answered %d %v", page.Status, page.ErrorCodes())
		}
	})
}

// S4-59, S4-17: a reset takes effect while a server runs.
// S4-59: a limit that is full opens by itself.
func TestS4_59_TheListTellsLimitsFromLocks(t *testing.T) {
	url := storagetest.SQLite(t)
	h := open(t, url, limited)
	h.addUser(t, "alice")
	for range 5 {
		h.try(t, "198.51.100.7", "alice", "wrong")
	}
	_, out, errs := command(t, url, "", "lockout", "list", "--user", "alice")
	for _, want := range []string{`login_failed 5/5m/key +alice +- +5 of 5 +within 5m`, `username\+ip_address +alice +198\.51\.100\.7/32 +5 of 5 +20`} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(out) {
			t.Errorf("the list lacks %s\n%s%s", want, out, errs)
		}
	}
}

func TestS4_59_WhatRefusesNowIsListedFirst(t *testing.T) {
	url := storagetest.SQLite(t)
	h := open(t, url, limited)
	h.addUser(t, "alice")
	h.addUser(t, "bob")
	for range 5 {
		h.try(t, "198.51.100.7", "alice", "wrong")
	}
	for range 4 {
		h.try(t, "198.51.100.8", "bob", "wrong")
	}
	var all, locked countersView
	succeed(t, &all, url, "", "lockout", "list")
	share := 2.0
	for _, l := range all.Counters {
		now := float64(l.Failures) / float64(l.Limit)
		if l.Locked {
			now = 2
		}
		if now > share {
			t.Errorf("%s, %d of %d, comes behind a share of %g", l.Kind, l.Failures, l.Limit, share)
		}
		share = now
	}
	succeed(t, &locked, url, "", "lockout", "list", "--locked")
	for _, l := range locked.Counters {
		if !l.Locked {
			t.Errorf("--locked lists %+v", l)
		}
	}
	if n := len(locked.Counters); n == 0 || n >= len(all.Counters) {
		t.Errorf("--locked lists %d of %d", n, len(all.Counters))
	}
}

func TestS4_59_BlocksAreListedBeforeCounters(t *testing.T) {
	var out bytes.Buffer
	v := countersView{
		Counters: []idp.Lock{{Kind: "login 30/m/ip", Network: "198.51.100.7/32", Failures: 30, Limit: 30, Locked: true}},
		Blocks:   []blockView{{Network: netip.MustParsePrefix("203.0.113.7/32"), Why: "honeypot"}},
	}
	if err := (&app{out: &out}).listCounters(v, ""); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "block: honeypot") || !strings.HasSuffix(lines[2], "within 1m") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestS4_59_AResetOfAUserPointsToTheAddressThatRefuses(t *testing.T) {
	url := storagetest.SQLite(t)
	h := open(t, url, func(c *config.Config) { c.Lockout.Parameters = []string{"username+ip_address", "ip_address:6/15m"} })
	h.addUser(t, "alice")
	const hint = "If they still cannot sign in, look at: postern lockout list --ip 198.51.100.7\n"
	for _, name := range []string{"alice", "alice", "bob", "carol", "dave"} {
		h.try(t, "198.51.100.7", name, "wrong")
	}
	if _, out, errs := command(t, url, "", "lockout", "reset", "--user", "alice"); strings.Contains(out, "still") || !strings.Contains(out, "Running servers take note within a few seconds.") {
		t.Errorf("before the address is locked: %s%s", out, errs)
	}
	h.poll(t)
	h.try(t, "198.51.100.7", "erin", "wrong")
	if _, out, errs := command(t, url, "", "user", "unlock", "alice"); !strings.HasSuffix(out, hint) {
		t.Errorf("got %s%s, want the address", out, errs)
	}
	if _, out, errs := command(t, url, "", "lockout", "reset", "--user", "alice", "--ip", "198.51.100.7/32"); strings.Contains(out, "still") {
		t.Errorf("after a reset there: %s%s", out, errs)
	}
}

func TestS4_59_ResetsTellWhatTheyClearedAndTakeEffectAtOnce(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, func(c *config.Config) { c.Lockout.Response = "page" })
		alice := h.addUser(t, "alice")
		const here = "198.51.100.7"
		lock := func() {
			t.Helper()
			for range 5 {
				h.try(t, here, "alice", "wrong")
			}
			if page := h.try(t, here, "alice", testPassword); page.Status != http.StatusTooManyRequests {
				t.Fatalf("after five failures: %d", page.Status)
			}
		}
		for _, args := range [][]string{
			{"lockout", "reset", "--user", "alice"}, {"lockout", "reset", "--user", "alice@example.com", "--ip", here},
			{"lockout", "reset", "--ip", here}, {"lockout", "reset", "--all"}, {"user", "unlock", alice.ID.String()},
		} {
			lock()
			var listed countersView
			succeed(t, &listed, url, "", "lockout", "list", "--user", "alice")
			locked := 0
			for _, l := range listed.Counters {
				if l.Locked && l.Username == "alice" {
					locked++
				}
			}
			if locked != 1 {
				t.Errorf("listed %+v", listed.Counters)
			}
			var cleared map[string]int
			succeed(t, &cleared, url, "", args...)
			if cleared["counters"] < 1 {
				t.Errorf("%q cleared %v", args, cleared)
			}
			h.poll(t)
			if page := h.try(t, here, "alice", testPassword); !signedIn(page) {
				t.Errorf("after %q: %d %v", args, page.Status, page.ErrorCodes())
			}
		}
	})
}

func TestI15_WhereTheCountersAreOutOfReachNothingIsChecked(t *testing.T) {
	for _, open := range []bool{false, true} {
		h := openCounting(t, storagetest.SQLite(t), unreachableGate{errors.New("the counters are out of reach")}, func(c *config.Config) {
			limited(c)
			c.RateLimits.ClientAuthFailOpen = open
		})
		h.addUser(t, "alice")
		page := h.try(t, "198.51.100.7", "alice", testPassword)
		if page.Status != http.StatusServiceUnavailable || page.Header.Get("Retry-After") == "" {
			t.Errorf("signing in is answered %d", page.Status)
		}
		party := h.party(t)
		for secret, want := range map[string]int{party.Secret: http.StatusBadRequest, "wrong": map[bool]int{false: 503, true: 401}[open]} {
			answer := h.send(t, http.MethodPost, "/oauth2/token", http.Header{
				"Content-Type":  {"application/x-www-form-urlencoded"},
				"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(party.ClientID+":"+secret))},
			}, strings.NewReader("grant_type=authorization_code&code=x&redirect_uri=https://rp.example.com/callback"))
			if answer.StatusCode != want {
				t.Errorf("open %t: client authentication is answered %d, want %d: %s", open, answer.StatusCode, want, text(t, answer))
			}
		}
	}
}

// I-15: the same where it is the database that is away, in the middle of a sign-in.
func TestI15_WithoutADatabaseNothingIsChecked(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, limited)
		h.addUser(t, "alice")
		party := h.party(t)
		page, err := h.from("198.51.100.7").Open(t.Context(), testIssuer+"/login")
		if err != nil {
			t.Fatal(err)
		}
		form := page.Form()
		for name, value := range map[string]string{"username": "alice", "password": testPassword} {
			if err := form.Fill(name, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.store.Close(); err != nil {
			t.Fatal(err)
		}
		if page, err = form.Press(t.Context(), "sign-in"); err != nil || page.Status != http.StatusServiceUnavailable {
			t.Errorf("signing in: %v, %v", page, err)
		}
		answer := h.send(t, http.MethodPost, "/oauth2/token", http.Header{
			"Content-Type":  {"application/x-www-form-urlencoded"},
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(party.ClientID+":wrong"))},
		}, strings.NewReader("grant_type=authorization_code&code=x"))
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("client authentication is answered %d", answer.StatusCode)
		}
	})
}

// S0-12: a limit or a rule that cannot be read ends the start.
func TestS0_12_SettingsThatTheGateCannotReadEndTheStart(t *testing.T) {
	for set, want := range map[string]string{
		"rate_limits.login=30/x/ip":                       "CFG-070",
		"rate_limits.login=-1/m/ip":                       "CFG-070",
		"rate_limits.login=30/m/planet":                   "CFG-070",
		"rate_limits.consent=30":                          "CFG-070",
		"rate_limits.logn=30/m/ip":                        "Did you mean",
		"lockout.cooloff_time=soon":                       "CFG-071",
		"lockout.parameters=[\"username+shoe_size\"]":     "CFG-071",
		"lockout.tiers=[\"6:10m\",\"3:1m\"]":              "CFG-071",
		"lockout.tiers=[\"3:1m\",\"3:2m\"]":               "CFG-071",
		"lockout.policies=[\"planet=mars => username\"]":  "CFG-071",
		"lockout.alarm=often":                             "CFG-071",
		"lockout.policies=[\"role=admin, ip_address:3\"]": "CFG-071",
	} {
		code, out, errs := command(t, storagetest.SQLite(t), "", "serve", "--set", set)
		key, value, _ := strings.Cut(set, "=")
		if code != exitSettings || out != "" || !strings.Contains(errs, want) || !strings.Contains(errs, key) || !strings.Contains(errs, "Nothing was started.") {
			t.Errorf("%s: exit %d, %s", set, code, errs)
		}
		if offending := strings.Trim(value, "[]\""); want == "CFG-070" && !strings.Contains(errs, offending) {
			t.Errorf("%s: the report does not say %q:\n%s", set, offending, errs)
		}
	}
}

// S4-64: a stranger decides how often the log is written to, not how much.
func TestS4_64_ALineOfTheLogIsShort(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	var lines bytes.Buffer
	h.log = slog.New(slog.NewJSONHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.send(t, "BREW"+strings.Repeat("X", 9000), "/"+strings.Repeat("a", 9000), nil, nil)
	if got := lines.Len(); got == 0 || got > 1000 {
		t.Errorf("one request writes %d bytes", got)
	}
}

// S0-12: what is wrong is told once, with its text and its remedy.
func TestS0_12_WhatTheGateCannotReadIsSaidInPlainWords(t *testing.T) {
	for set, want := range map[string]string{
		`rate_limits.login=30/x/ip`:                   `"30/x/ip" has the period "x", which is no period.`,
		`rate_limits.login=30`:                        `"30" has no period.`,
		`lockout.parameters=["username+username"]`:    `has "username+username", which has the parameter username twice.`,
		`lockout.parameters=["ip_address:5"]`:         `has "ip_address:5", which has no cool-off.`,
		`lockout.parameters=["shoe_size"]`:            `has "shoe_size", which has the parameter "shoe_size", which is no parameter.`,
		`lockout.policies=["=> username"]`:            `has "=> username", which matches nobody.`,
		`lockout.policies=["client=a"]`:               `has "client=a", which has no =>.`,
		`lockout.policies=["role=admin => in \"x\""]`: `which has the parameter "in \"x\"", which is no parameter.`,
	} {
		_, _, errs := command(t, storagetest.SQLite(t), "", "config", "check", "--set", set)
		if !strings.Contains(errs, want+"\n") {
			t.Errorf("%s: the report lacks %s\n%s", set, want, errs)
		}
	}
}

// S0-95: the security log is the owner's alone and is opened anew.
func TestS0_95_TheSecurityLogIsOpenedAnew(t *testing.T) {
	path := t.TempDir() + "/security.log"
	s, err := openSecurityLog(config.SecurityLog{File: path, Level: "info"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	log := s.logger("warn")
	log.Info("too little")
	log.Warn("first", "name", "a\r\nb")
	renameFile(t, path, path+".1")
	log.Warn("second")
	if err := s.reopen(); err != nil {
		t.Fatal(err)
	}
	log.Warn("third")
	if got := messages(t, path+".1"); got != "first second" {
		t.Errorf("the former file has %q", got)
	}
	if got := messages(t, path); got != "third" {
		t.Errorf("the new file has %q", got)
	}
	wantMode(t, path, 0o600)
	s.path = t.TempDir() // a folder cannot be written
	if err := s.reopen(); err == nil {
		t.Error("a folder is opened")
	}
	log.Warn("fourth")
	if got := messages(t, path); got != "third fourth" {
		t.Errorf("after a failure the file has %q", got)
	}
	if _, err := openSecurityLog(config.SecurityLog{File: t.TempDir(), Level: "info"}); err == nil {
		t.Error("a folder is a log")
	}
}

var _ io.Writer = (*securityLog)(nil)
