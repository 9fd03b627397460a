package idp

import (
	"context"
	"errors"
	"net/netip"

	"postern/idp/guard"
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
	// Device is SHA-256 of the cookie __Host-postern_device, by which a browser is known in which
	// somebody signed in before (I-20); zero for none.
	Device [32]byte
	Path   string // of the request
	// Parameters are those that were sent, with everything sensitive masked, at most 1024 bytes:
	// name=value&… for the record of a failed attempt. "" where no form was read.
	Parameters string
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

// VisitOf finds the session of the visitor of ctx that counts in in, with its user and the user's
// consent for in's client; nil for none. It is the live one, else the pending one. But where in names
// the pending one, in is about whoever owes its step, whoever signed in elsewhere in the meantime: the
// deed that meets the last step ends the live one (I-5, I-19).
func (p *Provider) VisitOf(ctx context.Context, in *Interaction) (*Visit, error) {
	pending, err := orNone(p.PendingVisit(ctx, in.Request.ClientID))
	if err != nil || pending != nil && pending.Session.Authentication == in.Authenticated {
		return pending, err
	}
	live, err := orNone(p.Visit(ctx, VisitorFrom(ctx).Session, in.Request.ClientID))
	if err != nil || live != nil {
		return live, err
	}
	return pending, nil
}

// orNone is nil where a visit was not found.
func orNone(v *Visit, err error) (*Visit, error) {
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// MaskParameters is the text of a form for Visitor.Parameters: name=value&…, at most 1024 bytes.
// Passwords, codes and tokens are masked, and so are those that sensitive names
// (lockout.sensitive_parameters).
func MaskParameters(form map[string][]string, sensitive []string) string {
	return guard.MaskParameters(form, sensitive, maxAttemptParameters)
}
