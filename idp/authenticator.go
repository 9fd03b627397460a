package idp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"postern/idp/guard"
	"postern/idp/passkey"
	"postern/idp/secret"
)

// An AuthenticatorKind says how an authenticator proves who someone is.
type AuthenticatorKind string

// The kinds of authenticators.
const (
	PasswordKind AuthenticatorKind = "password"       // Secret is its PHC string
	TOTPKind     AuthenticatorKind = "totp"           // an authenticator app (RFC 6238)
	PasskeyKind  AuthenticatorKind = "webauthn"       // a passkey or security key (Web Authentication Level 3)
	RecoveryKind AuthenticatorKind = "recovery_codes" // a set of RecoveryCodes; no second factor by itself
)

// An Authenticator is something that a user signs in with (NIST SP 800-63B's word).
type Authenticator struct {
	ID         ID
	UserID     ID
	Kind       AuthenticatorKind
	Secret     string // a password's hash, in the form of its scheme; "" of other kinds
	Scheme     string // of a password, by secret.SchemeOf: what decoys are chosen by (I-21)
	CreatedAt  time.Time
	LastUsedAt *time.Time

	Name string // what its user calls it, at most 100 code points; "" where there is one of its kind
	// Sealed is an app's secret, bound to row, user and kind; nil of other kinds.
	Sealed []byte
	// Counter is the last time step that was taken of an app, and the signature counter of a passkey.
	Counter int64
	// Credential is a passkey's ID, which no other user's has; nil of other kinds.
	Credential []byte
	Passkey    *passkey.Record // of a passkey; as a column a JSON object
	// Setup is the session in which an app is set up whose first code was not shown yet; zero once it
	// was. Until then it is no factor.
	Setup ID
	// DisabledAt is when a passkey was found to be copied and ceased to count.
	DisabledAt *time.Time
}

// AuthenticatorStore keeps authenticators.
type AuthenticatorStore interface {
	// Credentials finds the user of a canonical identifier (as UserByKey) with their password, in
	// one statement. The authenticator is zero where the user has none.
	Credentials(ctx context.Context, key string) (User, Authenticator, error)
	// Password returns a user's password, or ErrNotFound.
	Password(ctx context.Context, userID ID) (Authenticator, error)
	// PutPassword adds a's password or replaces the one that the user has.
	PutPassword(ctx context.Context, a Authenticator) error
	// RehashPassword replaces the secret `old` of a, with its scheme, and nothing where it is another
	// by now.
	RehashPassword(ctx context.Context, a Authenticator, old string) error
	// PasswordSchemes counts the stored passwords by Scheme (I-21).
	PasswordSchemes(ctx context.Context) (map[string]int, error)
}

// SetPassword sets a user's password for an operator: it raises the epoch, ends every session and
// revokes every grant.
func (p *Provider) SetPassword(ctx context.Context, id ID, password string) error {
	return p.assignPassword(ctx, "set password", id, password, false)
}

// LendPassword is SetPassword for a password that its user has to change when they sign in next.
func (p *Provider) LendPassword(ctx context.Context, id ID, password string) error {
	return p.assignPassword(ctx, "lend a password", id, password, true)
}

func (p *Provider) assignPassword(ctx context.Context, doing string, id ID, password string, lent bool) error {
	u, err := p.store.User(ctx, id)
	if err != nil {
		return stored(doing, err)
	}
	a, err := p.newPassword(ctx, u, "password", password)
	if err != nil {
		return err
	}
	return p.changeUser(ctx, doing, id, func(ctx context.Context, u User) error {
		u.MustChangePassword = lent
		sessions, grants, err := p.raiseEpoch(ctx, &u, "password_change")
		if err != nil {
			return err
		}
		if err := p.replacePassword(ctx, u, a); err != nil {
			return err
		}
		if err := p.tellAdminChange(ctx, u, "password"); err != nil {
			return err
		}
		if lent {
			return p.record(ctx, eventPasswordLent(u, sessions, grants))
		}
		return p.record(ctx, eventPasswordSet(u, sessions, grants))
	})
}

// replacePassword keeps a in the Tx of ctx, and ends what else would let somebody in as u.
func (p *Provider) replacePassword(ctx context.Context, u User, a Authenticator) error {
	if err := p.store.PutPassword(ctx, a); err != nil {
		return err
	}
	return p.store.EndTickets(ctx, u.ID, p.Now(), ForReset, ForLogIn, ForAddress)
}

// ChangePassword changes the password of the user who is signed in by v, who shows the current
// one; whoever has none sets the first one with a fresh proof of who they are. Unless the settings
// keep them (sessions.end_on_password_change) it ends every other session and revokes every grant
// of theirs. It lifts v's session to the new epoch and returns its new token. It is Denied where
// the current password is wrong, and Stale where the session or the user changed since v was read.
func (p *Provider) ChangePassword(ctx context.Context, v *Visit, current, new string) (SignedIn, error) {
	if err := needLive(v); err != nil {
		return SignedIn{}, err
	}
	first, err := p.allowPassword(ctx, v, current)
	if err != nil {
		return SignedIn{}, err
	}
	a, err := p.newPassword(ctx, v.User, "new_password", new)
	if err != nil {
		return SignedIn{}, err
	}
	// The present session was proved anew by the current password, and by the new one from here on.
	s := p.renewed(ctx, v, a)
	changed := SignedIn{Token: s.renewSecret()}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		u, err := p.store.User(ctx, v.User.ID)
		if err != nil {
			return err
		}
		if u.Epoch != v.User.Epoch {
			return ErrConflict // v's session is dead
		}
		if err := p.liftDevice(ctx, u); err != nil {
			return err
		}
		u.MustChangePassword = false
		sessions, grants, err := p.raiseEpochOf(ctx, &u, s.ID)
		if err != nil {
			return err
		}
		s.Epoch = u.Epoch
		changed.User, changed.Session = u, s
		if err := p.replacePassword(ctx, u, a); err != nil {
			return err
		}
		if err := p.store.RenewSession(ctx, s, v.Session.Authentication); err != nil {
			return err
		}
		return p.tellPasswordChange(ctx, u, s, first, sessions, grants)
	})
	if errors.Is(err, ErrConflict) {
		err = sessionChanged(err)
	}
	if err != nil {
		return SignedIn{}, stored("change password", err)
	}
	return changed, nil
}

// allowPassword tells whether a new password would be the first one of v's user, and is Denied where
// they may not set one.
func (p *Provider) allowPassword(ctx context.Context, v *Visit, current string) (first bool, err error) {
	if current == "" {
		if err := p.Blocked(ctx); err != nil {
			return false, err
		}
		_, err := p.store.Password(ctx, v.User.ID)
		if errors.Is(err, ErrNotFound) {
			return true, p.sudo(v)
		}
		if err != nil {
			return false, stored("find a password", err)
		}
	}
	_, err = p.confirmPassword(ctx, v, actionChangePassword, current)
	return false, err
}

// raiseEpochOf raises the epoch for a password that u's session changed: the others end, or are
// lifted to it, as the settings have it.
func (p *Provider) raiseEpochOf(ctx context.Context, u *User, session ID) (sessions, grants int, err error) {
	if p.cfg.Sessions.EndOnPasswordChange {
		return p.raiseEpochBut(ctx, u, "password_change", session)
	}
	return 0, 0, p.liftEpoch(ctx, u)
}

// liftEpoch raises u's epoch in the Tx of ctx and lets what rests on the former one rest on it: only what
// is under way is dead.
func (p *Provider) liftEpoch(ctx context.Context, u *User) error {
	former := u.Epoch
	u.Epoch, u.UpdatedAt = former+1, p.Now()
	if err := p.store.ChangeUser(ctx, *u, former); err != nil {
		return err
	}
	if err := p.store.LiftSessions(ctx, u.ID, former, u.Epoch); err != nil {
		return err
	}
	return p.store.LiftGrants(ctx, u.ID, former, u.Epoch)
}

// tellPasswordChange records the change and mails it, in the Tx of ctx.
func (p *Provider) tellPasswordChange(ctx context.Context, u User, s Session, first bool, sessions, grants int) error {
	kind, e := "password_changed", eventPasswordChanged(s, sessions, grants)
	if first {
		kind, e.Details["first"] = "password_set", true
	}
	if err := p.tellAlarmed(ctx, u, &s, kind, nil); err != nil {
		return err
	}
	return p.record(ctx, e)
}

// confirmPassword verifies the current password of the user who is signed in, as strictly as a
// login, so that whoever found an open session cannot try passwords there. It is one budget of
// failures, and one lock, wherever the password is shown.
func (p *Provider) confirmPassword(ctx context.Context, v *Visit, action guard.Action, current string) (Authenticator, error) {
	f := failure{
		kind: attemptConfirm, started: p.clock(), user: v.User, typed: v.User.Username,
		answer: &Error{Kind: Denied, Code: "invalid_credentials", Field: "password"},
	}
	if err := p.Blocked(ctx); err != nil {
		return Authenticator{}, err
	}
	password, err := p.store.Password(ctx, v.User.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Authenticator{}, stored("find a password", err)
	}
	permit, err := p.reserve(ctx, &f, guard.Request{Attempt: action, Failure: actionLoginFailed, User: v.User.ID.String()})
	if err != nil {
		return Authenticator{}, err
	}
	right, _, err := p.verifyPassword(ctx, permit, shownPassword{accountKey(v.User, ""), current, password.Secret})
	if err != nil || right {
		p.refund(ctx, permit)
		p.noteBusy(ctx, v.User.ID, "check a password", err)
		return password, err
	}
	f.permit = permit
	a := p.attempt(ctx, f.kind, f.user, f.typed, f.clientID, "wrong_password")
	return Authenticator{}, p.fail(ctx, f, a, eventPasswordNotConfirmed(v.Session))
}

// codeBusy is the Code of whom the hash queue sends away.
const codeBusy = "busy"

// hashing makes an Error of what the hasher could not do.
func hashing(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	if busy, ok := errors.AsType[*secret.Busy](err); ok {
		return &Error{Kind: Unavailable, Code: codeBusy, RetryAfter: busy.RetryAfter, Cause: err}
	}
	return err
}

// A shownPassword is a password that somebody shows, with whom they say they are.
type shownPassword struct {
	key      string // accountKey: a user's two names have one dummy
	password string
	hash     string // the PHC string of the user, "" where nobody of that name has a password
}

// verifyPassword tells whether s is right. It costs the same whoever is named: a dummy is verified
// where there is no hash, and one with other parameters than today's is followed by a hash with
// today's, which replaces it where the password was right (I-21). rehashed is "" for none.
func (p *Provider) verifyPassword(ctx context.Context, permit *guard.Permit, s shownPassword) (right bool, rehashed string, err error) {
	// What cannot be a password is as wrong as another, and takes as long.
	prepared, _, unfit := secret.Prepare(s.password)
	hash := s.hash
	if hash == "" {
		hash = p.hasher.Decoy(p.dummyScheme(s.key))
	}
	shown := secret.Shown{Prepared: prepared}
	if unfit == nil {
		shown.Raw = s.password
	}
	matches, err := p.hasher.VerifyShown(ctx, permit, shown, hash)
	if err != nil {
		return false, "", hashing("verify a password", err)
	}
	right = matches && unfit == nil && s.hash != ""
	if !p.hasher.Outdated(hash) {
		return right, "", nil
	}
	// Where this one finds no place the password was verified all the same: a right one needs no new
	// hash today, and an error would give a wrong one's reservation back, a guess that costs nothing.
	rehashed, err = p.hasher.Rehash(ctx, permit, prepared)
	if err != nil {
		p.log.WarnContext(ctx, "hash beside a password of other parameters", "error", err)
	}
	return right, rehashed, nil
}

// dummies are the schemes of the stored passwords, by which the cost of names without a password
// is chosen.
type dummies struct {
	shares atomic.Pointer[[]share]
}

// A share is how many stored passwords have a scheme.
type share struct {
	scheme string
	count  uint64
}

// countSchemes reads which schemes the stored passwords have. It looks at every password, so that
// it is for a job and not for a request.
func (p *Provider) countSchemes(ctx context.Context) error {
	counts, err := p.store.PasswordSchemes(ctx)
	if err != nil {
		return fmt.Errorf("count password schemes: %w", err)
	}
	shares := make([]share, 0, len(counts))
	for _, scheme := range slices.Sorted(maps.Keys(counts)) {
		shares = append(shares, share{scheme, uint64(counts[scheme])})
	}
	p.dummy.shares.Store(&shares)
	return nil
}

// dummyScheme is the scheme that a name without a password is verified with: always the same for a
// name while the shares stay as they are, and as frequent among all names as among the passwords
// in store, so that no name's cost tells that it is nobody's (I-21).
func (p *Provider) dummyScheme(key string) string {
	shares := p.dummy.shares.Load()
	if shares == nil {
		return p.hasher.Scheme()
	}
	var total uint64
	for _, s := range *shares {
		total += s.count
	}
	if total == 0 {
		return p.hasher.Scheme()
	}
	sum, _ := p.ring.MAC(secret.ForDummy, p.ring.Current(), []byte(key))
	at := binary.BigEndian.Uint64(sum[:]) % total
	for _, s := range *shares {
		if at < s.count {
			return s.scheme
		}
		at -= s.count
	}
	panic("the shares do not add up")
}
