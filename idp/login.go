package idp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"postern/idp/guard"
	"postern/idp/secret"
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
	// Device is what the browser must keep in its cookie to be known from now on (I-20), nil where
	// it has such a cookie already, which stays.
	Device *[32]byte
}

// unknownAccount is for settings that tell who has an account.
func unknownAccount() *Error { return &Error{Kind: Denied, Code: "unknown_account"} }

// LogIn verifies a password through the gate and makes a session live, or pending where a step is
// owed (I-19), in place of the one that the visitor of ctx has: the same row where it is the same user's, else a new one and the former
// ended. in.Authenticated is set on success. All failures are the Error invalid_credentials, but
// Throttled, Locked, Blocked, Unavailable, and account_disabled after the right password.
func (p *Provider) LogIn(ctx context.Context, in *Interaction, l LogIn) (SignedIn, error) {
	f := failure{
		kind: attemptSignIn, started: p.clock(), typed: l.Identifier, clientID: in.Request.ClientID,
		answer: &Error{Kind: Denied, Code: "invalid_credentials"},
	}
	if err := p.Blocked(ctx); err != nil {
		return SignedIn{}, err
	}
	name, _ := p.keyOf(l.Identifier)
	u, password, err := p.credentials(ctx, name)
	if err != nil {
		return SignedIn{}, err
	}
	f.user = u
	if u.ID.IsZero() && p.cfg.Login.PreventEnumeration == "false" {
		f.answer = unknownAccount()
	}
	permit, err := p.reserve(ctx, &f, guard.Request{Attempt: actionLogin, Failure: actionLoginFailed, Name: name})
	if err != nil {
		return SignedIn{}, err
	}
	right, rehashed, err := p.verifyPassword(ctx, permit, shownPassword{accountKey(u, name), l.Password, password.Secret})
	if err != nil || right && u.Status != Active {
		// Whoever the hash queue sent away, or who left, has not failed (I-15, I-16), and who knew the
		// password did not guess.
		p.refund(ctx, permit)
	}
	switch {
	case err != nil:
		p.noteBusy(ctx, u.ID, "check a password", err)
		return SignedIn{}, err
	case !right:
		f.permit = permit
		return SignedIn{}, p.failLogIn(ctx, f)
	case u.Status != Active:
		f.answer = &Error{Kind: Denied, Code: "account_disabled"}
		return SignedIn{}, p.failLogIn(ctx, f)
	}
	proof := Method{Name: MethodPassword, Authenticator: password.ID, Lent: u.MustChangePassword}
	signedIn, err := p.startSession(ctx, in, newLogin{user: u, proof: proof, remember: l.Remember})
	if err != nil {
		p.refund(ctx, permit)
		return SignedIn{}, stored("log in", err)
	}
	p.settle(ctx, permit, &signedIn.Session)
	in.SignedIn(&signedIn.Session)
	p.rehash(ctx, password, rehashed)
	return signedIn, nil
}

// The kinds of attempts at a password.
const (
	attemptSignIn  = "sign_in"
	attemptConfirm = "confirm"
)

// reserve takes a place for an attempt at a password of f.user, whose request is what r says and what
// the visitor of ctx tells. What it answers is ready for the person: where lockout refuses and is
// to be silent, that is f.answer, in its time.
func (p *Provider) reserve(ctx context.Context, f *failure, r guard.Request) (*guard.Permit, error) {
	v := VisitorFrom(ctx)
	r.Lockout, r.Address, r.Browser, r.Path, r.Client = true, v.Address, v.UserAgent, v.Path, f.clientID
	r.System = p.places.System(v.Address)
	r.Groups, r.Admin, r.Exempt = f.user.Groups, f.user.Admin, p.exempt.has(&f.user)
	if !f.user.ID.IsZero() {
		r.Account = f.user.ID.String()
	}
	var err error
	if r.Device, err = p.knownDevice(ctx, f.user.ID); err != nil {
		return nil, err
	}
	permit, err := p.guard.Reserve(ctx, r)
	if err == nil {
		return permit, nil
	}
	lock, ok := errors.AsType[*guard.LockedOut](err)
	if !ok {
		return nil, p.refusedTo(ctx, f.user.ID, "check a password", err)
	}
	answer := p.lockError(lock, f)
	p.noteRefusal(ctx, f.user.ID, "check a password", answer)
	if answer.Kind != Locked {
		p.answerAfter(ctx, f.started, p.failures.any())
	}
	return nil, answer
}

// settle gives back the reservation of a login that succeeded. One that owes no step also clears
// what was counted of the account there, as the settings have it (I-15).
func (p *Provider) settle(ctx context.Context, permit *guard.Permit, s *Session) {
	if !s.complete() {
		p.refund(ctx, permit)
		return
	}
	if err := permit.Cleared(ctx); err != nil {
		p.log.WarnContext(ctx, "clear the failures of an account", "error", err)
	}
}

// complete tells whether the login that made s owes no step.
func (s *Session) complete() bool { return s.State == Live }

// credentials finds a user with their password; both are zero where there is none, or none with
// that name.
func (p *Provider) credentials(ctx context.Context, key string) (User, Authenticator, error) {
	u, a, err := p.store.Credentials(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return User{}, Authenticator{}, nil
	}
	return u, a, stored("find credentials", err)
}

// accountKey is by what the dummy of a name without a password is chosen: the account, so that its
// username and its e-mail address have one, or the name where it is nobody's.
func accountKey(u User, name string) string {
	if u.ID.IsZero() {
		return "name " + name
	}
	return "user " + u.ID.String()
}

// A failure is an attempt at a password that failed, or would, with what is recorded and answered.
type failure struct {
	kind     string // of the Attempt
	started  time.Time
	user     User   // zero where the name is nobody's
	typed    string // the name
	clientID string
	permit   *guard.Permit // nil where the reservation was given back
	answer   *Error
}

// failLogIn records a failure to sign in and answers it.
func (p *Provider) failLogIn(ctx context.Context, f failure) error {
	why := "wrong_password"
	switch {
	case f.permit == nil:
		why = "disabled"
	case f.user.ID.IsZero():
		why = "unknown_user"
	}
	a := p.attempt(ctx, f.kind, f.user, f.typed, f.clientID, why)
	return p.fail(ctx, f, a, eventSignInFailed(a))
}

// fail records a failure with all that follows from it in one Tx, and answers it at the next
// multiple of answerEvery, so that small differences between the ways to fail do not show (I-21).
func (p *Provider) fail(ctx context.Context, f failure, a Attempt, e Event) error {
	l := p.locksOf(ctx, &f)
	alarmed := f.permit != nil && p.alarm.rings(p.clock())
	err := p.recordFailure(ctx, e, a, func(ctx context.Context) error {
		if alarmed {
			if err := p.record(ctx, p.alarm.event()); err != nil {
				return err
			}
		}
		return p.recordLocks(ctx, &f, l)
	})
	if err != nil {
		p.giveBack(ctx, l.mail)
		return stored("record a failure", err)
	}
	p.tellLocks(ctx, &f, l)
	if f.permit != nil {
		p.failures.note(p.clock().Sub(f.started))
	}
	if len(l.locks) > 0 {
		if answer := p.lockError(l.locks[0], &f); answer.Kind == Locked {
			return answer
		}
	}
	p.answerAfter(ctx, f.started, 0)
	return f.answer
}

const answerEvery = 100 * time.Millisecond

// answerAfter waits until the next multiple of answerEvery since started, of those that are at least
// `least` later.
func (p *Provider) answerAfter(ctx context.Context, started time.Time, least time.Duration) {
	took := p.clock().Sub(started)
	late := max(took, least)
	if rest := late % answerEvery; rest > 0 {
		late += answerEvery - rest
	}
	if late > took {
		// Whoever closes their half of the connection can read the answer still: it is no earlier.
		p.wait(context.WithoutCancel(ctx), late-took)
	}
}

// durations remembers how long something took the last times.
type durations struct {
	mu   sync.Mutex
	list [64]time.Duration
	n    int // that were noted
}

func (d *durations) note(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list[d.n%len(d.list)] = took
	d.n++
}

// any is one of them, by chance, so that whatever takes as long has their distribution, too; 0
// where there is none.
func (d *durations) any() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n == 0 {
		return 0
	}
	return d.list[rand.IntN(min(d.n, len(d.list)))]
}

// timeHash is the chore that notes how long a hash takes while no wrong password has told how long
// its answer does, so that the first silent one after the start does not come too soon.
func (p *Provider) timeHash(ctx context.Context) error {
	p.failures.mu.Lock()
	known := p.failures.n > 0
	p.failures.mu.Unlock()
	if known {
		return nil
	}
	started := p.clock()
	if _, err := p.hasher.Hash(ctx, ""); err != nil {
		return fmt.Errorf("time a hash: %w", err)
	}
	p.failures.note(p.clock().Sub(started))
	return nil
}

// rehash keeps a password's hash of today's parameters. It can wait until the next login where it
// fails, and it loses against a password that was changed meanwhile.
func (p *Provider) rehash(ctx context.Context, password Authenticator, rehashed string) {
	if rehashed == "" {
		return
	}
	former := password.Secret
	password.Secret, password.Scheme = rehashed, secret.SchemeOf(rehashed)
	if err := p.store.RehashPassword(ctx, password, former); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
		p.log.WarnContext(ctx, "keep a new hash", "error", err)
	}
}

// A newLogin is what a session is made of.
type newLogin struct {
	// user's epoch is the one that was read together with the evidence: where it rose since, the
	// session is dead on arrival (I-2).
	user     User
	proof    Method // without its time and interaction
	remember bool
	// authentication is the ID that it will have, zero for a new one.
	authentication ID
	// mark is that of the interaction which it is a proof in, "" for the one at hand.
	mark string
	deed func(ctx context.Context) error // what else is done in the Tx, nil for nothing
}

// startSession makes a session, live or, where its user owes a step, pending.
func (p *Provider) startSession(ctx context.Context, in *Interaction, l newLogin) (SignedIn, error) {
	present, err := p.presentSession(ctx)
	if err != nil {
		return SignedIn{}, err
	}
	s := p.newSession(ctx, l.user, p.remembers(l.remember))
	s.ClientID = in.Request.ClientID
	if !l.authentication.IsZero() {
		s.Authentication = l.authentication
	}
	l.proof.At, l.proof.Interaction = s.CreatedAt.Truncate(time.Second), cmp.Or(l.mark, in.mark())
	s.Methods = Methods{l.proof}
	if s.Trusted, err = p.trusts(ctx, &l.user); err != nil {
		return SignedIn{}, err
	}
	if present != nil && present.UserID == l.user.ID {
		s.ID, s.CreatedAt = present.ID, present.CreatedAt
		s.Methods = present.Methods.with(l.proof)
	} else if p.owes(&l.user, &s) {
		p.pend(&s)
	}
	signedIn := SignedIn{Token: s.renewSecret(), Session: s, User: l.user}
	device := p.presentDevice(ctx, &signedIn)
	alarms := false
	if !s.complete() {
		signedIn.Device = nil
	} else if alarms, err = p.isNews(ctx, s); err != nil {
		return SignedIn{}, err
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if l.deed != nil {
			if err := l.deed(ctx); err != nil {
				return err
			}
		}
		return p.keepLogin(ctx, signedIn, present, device, alarms)
	})
	if err != nil {
		// Another tab signed in, or out, at the same time: that is what the person sees anew.
		return SignedIn{}, orSessionChanged(err)
	}
	return signedIn, nil
}

// keepLogin writes a login in the Tx of ctx. What its user owes is done before anybody is told.
func (p *Provider) keepLogin(ctx context.Context, s SignedIn, present *Session, device Device, alarms bool) error {
	if err := p.keepSession(ctx, s.Session, present); err != nil {
		return err
	}
	if p.exempt.has(&s.User) {
		if err := p.record(ctx, eventExemptUsed(s.Session)); err != nil {
			return err
		}
	}
	if !s.Session.complete() {
		return p.record(ctx, eventSignInPending(s.Session))
	}
	return p.completed(ctx, s, device, alarms)
}

// keepSession writes s in the Tx of ctx: over the present session where it is the same user's, and
// otherwise beside it, which ends.
func (p *Provider) keepSession(ctx context.Context, s Session, present *Session) error {
	if present != nil && present.ID == s.ID {
		return p.store.RenewSession(ctx, s, present.Authentication)
	}
	if err := p.store.AddSession(ctx, s); err != nil || present == nil {
		return err
	}
	return p.endSession(ctx, *present, "replaced", eventSessionEnded(present.ID, present.UserID, "replaced"))
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
