package idp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/idp/guard"
)

// A LogIn is a person's attempt to sign in by password.
type LogIn struct {
	Identifier string // as typed: username or e-mail
	Password   string
	Remember   bool
}

// SignedIn is a session's new token, and the session as it now stands.
type SignedIn struct {
	Token   SessionToken
	Session Session
	User    User
}

// LogIn verifies a password through the gate and makes a session live, in place of the one that
// the visitor of ctx has: the same row where it is the same user's, else a new one and the former
// ended. in.Authenticated is set on success. All failures are the Error invalid_credentials, but
// Throttled, Unavailable, and account_disabled after the right password.
func (p *Provider) LogIn(ctx context.Context, in *Interaction, l LogIn) (SignedIn, error) {
	started := p.clock()
	key, _ := guard.Canonical(l.Identifier)
	u, password, err := p.credentials(ctx, key)
	if err != nil {
		return SignedIn{}, err
	}
	permit, err := p.guard.Reserve(ctx, guard.Request{
		Attempt: actionLogin, Failure: actionLoginFailed, Address: VisitorFrom(ctx).Address,
		Key: accountKey(u, key), Client: in.Request.ClientID,
	})
	if err != nil {
		return SignedIn{}, gated("log in", err)
	}
	right, rehashed, err := p.verifyPassword(ctx, permit, shownPassword{accountKey(u, key), l.Password, password.Secret})
	if err != nil || right {
		// Whoever the hash queue sent away, or who left, has not failed (I-15, I-16).
		p.refund(ctx, permit)
	}
	if err != nil {
		return SignedIn{}, err
	}
	if !right || u.Status != Active {
		return SignedIn{}, p.failLogIn(ctx, in, u, right, started)
	}
	signedIn, err := p.startSession(ctx, in, l, u, password)
	if err != nil {
		return SignedIn{}, stored("log in", err)
	}
	in.SignedIn(&signedIn.Session)
	p.rehash(ctx, password, rehashed)
	return signedIn, nil
}

// credentials finds a user with their password; both are zero where there is none, or none with
// that name.
func (p *Provider) credentials(ctx context.Context, key string) (User, Authenticator, error) {
	u, a, err := p.store.Credentials(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return User{}, Authenticator{}, nil
	}
	return u, a, stored("find credentials", err)
}

// accountKey is what limits by key count: the account, so that its username and its e-mail address
// share one budget, or the name as typed where it is nobody's, so that the budgets do not tell who
// exists.
func accountKey(u User, key string) string {
	if u.ID.IsZero() {
		return "name " + key
	}
	return "user " + u.ID.String()
}

// gated makes an Error of a refusal of the gate.
func gated(doing string, err error) error {
	if t, ok := errors.AsType[*guard.Throttled](err); ok {
		return &Error{Kind: Throttled, Code: "throttled", RetryAfter: t.RetryAfter, Cause: fmt.Errorf("%s: %w", doing, err)}
	}
	return stored(doing, err)
}

// refund gives back a reservation. Where that fails it stays counted as a failure: too strict, for
// the length of a window, and no reason to fail the deed.
func (p *Provider) refund(ctx context.Context, permit *guard.Permit) {
	if err := permit.Success(ctx); err != nil {
		p.log.WarnContext(ctx, "refund a reservation", "error", err)
	}
}

// failLogIn records a failure and answers it at the next multiple of answerEvery, so that small
// differences between the ways to fail do not show (I-21).
func (p *Provider) failLogIn(ctx context.Context, in *Interaction, u User, right bool, started time.Time) error {
	failure, why := &Error{Kind: Denied, Code: "invalid_credentials"}, "wrong_password"
	switch {
	case right:
		failure, why = &Error{Kind: Denied, Code: "account_disabled"}, "disabled"
	case u.ID.IsZero():
		why = "unknown_user"
	}
	if err := p.recordFailure(ctx, eventSignInFailed(u.ID, in.Request.ClientID, why)); err != nil {
		return stored("record a failed sign-in", err)
	}
	p.answerLate(ctx, started)
	return failure
}

// recordFailure records what a deed refused, in a Tx of its own, though the sender left: nobody
// hides a guess by closing the connection.
func (p *Provider) recordFailure(ctx context.Context, e Event) error {
	ctx, cancel := staying(ctx)
	defer cancel()
	return p.store.Tx(ctx, func(ctx context.Context) error { return p.record(ctx, e) })
}

const answerEvery = 100 * time.Millisecond

func (p *Provider) answerLate(ctx context.Context, started time.Time) {
	took := p.clock().Sub(started)
	if early := took.Truncate(answerEvery) - took; early < 0 {
		// Whoever closes their half of the connection can read the answer still: it is no earlier.
		p.wait(context.WithoutCancel(ctx), early+answerEvery)
	}
}

// rehash keeps a password's hash of today's parameters. It can wait until the next login where it
// fails, and it loses against a password that was changed meanwhile.
func (p *Provider) rehash(ctx context.Context, password Authenticator, rehashed string) {
	if rehashed == "" {
		return
	}
	former := password.Secret
	password.Secret = rehashed
	if err := p.store.RehashPassword(ctx, password, former); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
		p.log.WarnContext(ctx, "keep a new hash", "error", err)
	}
}

// startSession makes a session of u live, on the evidence of password. Its epoch is the one that
// was read together with the password's hash: where it rose since, the row is dead on arrival
// (I-2).
func (p *Provider) startSession(ctx context.Context, in *Interaction, l LogIn, u User, password Authenticator) (SignedIn, error) {
	present, err := p.presentSession(ctx)
	if err != nil {
		return SignedIn{}, err
	}
	s := p.newSession(ctx, u, p.remembers(l.Remember))
	s.Methods = Methods{{Name: "pwd", Authenticator: password.ID, At: s.CreatedAt.Truncate(time.Second)}}
	renews := present != nil && present.UserID == u.ID
	if renews {
		s.ID, s.CreatedAt = present.ID, present.CreatedAt
		s.Methods = present.Methods.with(s.Methods[0])
	}
	token := s.renewSecret()
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if renews {
			if err := p.store.RenewSession(ctx, s, present.Authentication); err != nil {
				return err
			}
			return p.record(ctx, eventSignedIn(s, in.Request.ClientID))
		}
		if err := p.store.AddSession(ctx, s); err != nil {
			return err
		}
		if err := p.record(ctx, eventSignedIn(s, in.Request.ClientID)); err != nil {
			return err
		}
		if present == nil {
			return nil
		}
		return p.endSession(ctx, *present, "replaced", eventSessionEnded(present.ID, present.UserID, "replaced"))
	})
	if errors.Is(err, ErrConflict) {
		// Another tab signed in, or out, at the same time: that is what the person sees anew.
		err = &Error{Kind: Stale, Code: "session_changed", Cause: err}
	}
	if err != nil {
		return SignedIn{}, err
	}
	return SignedIn{Token: token, Session: s, User: u}, nil
}

// presentSession is the visitor's session where it is alive, else nil.
func (p *Provider) presentSession(ctx context.Context) (*Session, error) {
	v, err := p.visit(ctx, VisitorFrom(ctx).Session, "")
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &v.Session, nil
}

// remembers tells whether a session outlives its browser, as the settings have it and the person
// wished.
func (p *Provider) remembers(wished bool) bool {
	switch p.cfg.Sessions.Remember {
	case "always":
		return true
	case "never":
		return false
	}
	return wished
}
