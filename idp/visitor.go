package idp

import (
	"context"
	"net/netip"
)

// A Visitor is who sends a request, as far as its wire tells. The middleware of the HTTP server
// makes it once a request; the zero Visitor is a command or a job.
type Visitor struct {
	Address   netip.Addr // the client's, after trusted proxies; invalid for a command
	UserAgent string     // cut to 512 bytes, valid UTF-8
	RequestID string     // joins page, log and event
	Locale    string     // BCP 47, one of those that login-ui speaks

	// Browser is SHA-256 of the cookie __Host-postern_browser, which binds interactions (I-6).
	// It is zero where the browser sent none.
	Browser [32]byte
	Session SessionToken // of __Host-postern_session, zero for none
	Pending SessionToken // of __Host-postern_login, zero for none
}

type visitorKey struct{}

// WithVisitor returns a context that carries v.
func WithVisitor(ctx context.Context, v *Visitor) context.Context {
	return context.WithValue(ctx, visitorKey{}, v)
}

var nobody = &Visitor{}

// VisitorFrom returns the visitor of ctx, or the zero Visitor; never nil.
func VisitorFrom(ctx context.Context) *Visitor {
	if v, ok := ctx.Value(visitorKey{}).(*Visitor); ok {
		return v
	}
	return nobody
}
