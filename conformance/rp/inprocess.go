package rp

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// InProcess is a transport that hands requests to a handler instead of the network. It may be
// used by several goroutines, as the handler may.
type InProcess struct {
	Handler http.Handler
	// Address is the sender's, HOST:PORT; 192.0.2.1:1234 where it is empty.
	Address string
	// Hosts tells which hosts the handler stands for, HOST:PORT as in the URL; nil means all.
	Hosts []string
}

// RoundTrip serves r as a server would that got it over the network.
func (t InProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.stands(r.URL); err != nil {
		return nil, err
	}
	got := r.Clone(r.Context())
	if got.Body == nil {
		got.Body = http.NoBody
	} else {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		got.Body, got.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	got.Host = r.URL.Host
	if r.Host != "" {
		got.Host = r.Host
	}
	got.RequestURI = r.URL.RequestURI()
	got.RemoteAddr = "192.0.2.1:1234"
	if t.Address != "" {
		got.RemoteAddr = t.Address
	}
	if r.URL.Scheme == "https" {
		got.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.URL.Hostname()}
	}
	// A server sees path and query alone.
	seen := *r.URL
	seen.Scheme, seen.Host, seen.User, seen.Fragment = "", "", nil, ""
	got.URL = &seen

	answer := &answer{header: http.Header{}}
	t.Handler.ServeHTTP(answer, got)
	return answer.response(r), nil
}

// An answer is what a handler writes. The package is part of programs, too, which net/http/httptest
// is not made for.
type answer struct {
	header  http.Header
	sent    http.Header // header when the status was written; nil before
	status  int
	written bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.sent == nil && status >= 200 {
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.sent.Get("Content-Type") == "" {
		a.sent.Set("Content-Type", http.DetectContentType(b))
	}
	return a.written.Write(b)
}

func (a *answer) response(r *http.Request) *http.Response {
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: fmt.Sprint(a.status, " ", http.StatusText(a.status)), StatusCode: a.status, Header: a.sent, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(&a.written), ContentLength: int64(a.written.Len()),
	}
}

func (t InProcess) stands(u *url.URL) error {
	for _, host := range t.Hosts {
		if u.Host == host {
			return nil
		}
	}
	if t.Hosts == nil {
		return nil
	}
	return fmt.Errorf("%s is not served here", u.Host)
}
