package idp

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/idp/guard"
)

// actionReauthenticate limits proofs of who is signed in already.
const actionReauthenticate = guard.Action("reauthenticate")

// Fresh tells whether v's user proved who they are within sudo.timeout, as strongly as they can: whoever
// has a second factor by two. What they do meanwhile does not count, and a trusted browser neither.
func (p *Provider) Fresh(v *Visit) bool {
	return !p.cfg.Sudo.Required || p.young(v).level() >= v.User.owed()
}

// young are the methods of v's session that were proved within sudo.timeout, by what is the user's own.
func (p *Provider) young(v *Visit) Methods {
	since := p.Now().Add(-p.cfg.Sudo.Timeout).Truncate(time.Second)
	return slices.DeleteFunc(slices.Clone(v.Session.Methods), func(m Method) bool { return m.Lent || m.At.Before(since) })
}

// owed is the level that u proves before something sensitive.
func (u *User) owed() Level {
	if u.HasFactor() {
		return TwoFactors
	}
	return OneFactor
}

// Proofs are the ways to prove anew who one is that lead on from where a session stands.
type Proofs struct {
	Enough   bool // nothing is missing
	Password bool // it is the next, or one of the next
	Key      bool // a passkey or security key
	Alone    bool // the key must verify its user, since nothing else was proved
	App      bool
	Recovery bool
}

// ProofsFor are the ways for v's user to become as Fresh as a change of factors wants it: Enough where
// they are, none where they have nothing but an address, to which a code is mailed. The first factor
// comes before the second.
func (p *Provider) ProofsFor(ctx context.Context, v *Visit) (Proofs, error) {
	level := overFactors(p.young(v), &v.User).level()
	if level >= v.User.owed() {
		return Proofs{Enough: true}, nil
	}
	var ways Proofs
	_, err := p.store.Password(ctx, v.User.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Proofs{}, stored("find a password", err)
	}
	ways.Password = level == NoLevel && err == nil
	list, err := p.store.Factors(ctx, v.User.ID)
	if err != nil {
		return Proofs{}, stored("list factors", err)
	}
	recovers := false
	for i := range list {
		switch a := &list[i]; {
		case a.Kind == PasskeyKind && a.DisabledAt == nil:
			ways.Key, ways.Alone = true, level == NoLevel
		case a.Kind == TOTPKind && a.Setup.IsZero():
			ways.App = level != NoLevel
		case a.Kind == RecoveryKind:
			recovers = level != NoLevel
		}
	}
	if recovers && v.User.HasFactor() {
		codes, err := p.store.RecoveryCodes(ctx, v.User.ID)
		if err != nil {
			return Proofs{}, stored("list recovery codes", err)
		}
		ways.Recovery = slices.ContainsFunc(codes, func(c RecoveryCode) bool { return c.UsedAt == nil })
	}
	return ways, nil
}

// overFactors are those of list that count for who changes how they sign in: what was mailed counts only
// beside a second factor, since whoever reads somebody's mail must not give themselves one.
func overFactors(list Methods, u *User) Methods {
	if u.HasFactor() {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(m Method) bool { return m.Name == MethodMail })
}

// sudoOverFactors is sudo for whatever changes how somebody signs in: a mailed code alone is no proof for
// it, and where sudo.required is off the session must rest on another at least.
func (p *Provider) sudoOverFactors(v *Visit) error {
	proofs := slices.DeleteFunc(slices.Clone(v.Session.Methods), func(m Method) bool { return m.Lent })
	if p.cfg.Sudo.Required {
		proofs = p.young(v)
	}
	if overFactors(proofs, &v.User).level() < v.User.owed() {
		return &Error{Kind: Denied, Code: "reauthenticate"}
	}
	return nil
}

// sudo is Denied with the code reauthenticate where v's proof is too old for something sensitive.
func (p *Provider) sudo(v *Visit) error {
	if !p.Fresh(v) {
		return &Error{Kind: Denied, Code: "reauthenticate"}
	}
	return nil
}

// needLive is Stale where v's session owes a step: it is good for that alone (I-19).
func needLive(v *Visit) error {
	if v.Session.State != Live {
		return sessionChanged(nil)
	}
	return nil
}

// Reauthenticate verifies the password of v's user through the gate and renews the session with it:
// the same row with another secret, since it may do more from now on. Its errors are those of LogIn,
// and Stale where the session ended meanwhile.
func (p *Provider) Reauthenticate(ctx context.Context, v *Visit, password string) (SignedIn, error) {
	if err := needLive(v); err != nil {
		return SignedIn{}, err
	}
	proved, err := p.confirmPassword(ctx, v, actionReauthenticate, password)
	if err != nil {
		return SignedIn{}, err
	}
	s := p.renewed(ctx, v, proved)
	signedIn := SignedIn{Token: s.renewSecret(), User: v.User}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		present, err := p.store.Visit(ctx, s.ID, "")
		if err != nil {
			return err
		}
		s.Trusted = v.Session.Trusted && present.Session.Trusted // it may have ended during the hash
		signedIn.Session = s
		if err := p.store.RenewSession(ctx, s, v.Session.Authentication); err != nil {
			return err
		}
		return p.record(ctx, Event{Kind: "user.reauthenticated", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID})
	})
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		err = sessionChanged(err)
	}
	if err != nil {
		return SignedIn{}, stored("prove anew who is signed in", err)
	}
	return signedIn, nil
}

// renewed is v's session with the visitor of ctx, proved anew by a password now, without trust in its
// browser. Its epoch is v's, which is older than the password that was read: where that changed meanwhile the row is dead (I-2).
func (p *Provider) renewed(ctx context.Context, v *Visit, password Authenticator) Session {
	s := p.carriedOn(ctx, v)
	s.Epoch = v.Session.Epoch
	s.Methods = v.Session.Methods.with(Method{Name: MethodPassword, Authenticator: password.ID, At: p.Now().Truncate(time.Second)})
	return s
}

// sessionChanged is what somebody is told whose session or account changed since their page was made.
func sessionChanged(cause error) *Error {
	return &Error{Kind: Stale, Code: "session_changed", Cause: cause}
}

// orSessionChanged is err, and sessionChanged where a Tx ended in a bare ErrConflict: somebody else
// was first. A conflict that has a code is an answer of its own.
func orSessionChanged(err error) error {
	if errors.Is(err, ErrConflict) && KindOf(err) == Conflict && CodeOf(err) == "" {
		return sessionChanged(err)
	}
	return err
}

// changeOwn does fn with v's user, in one Tx, where v's session is alive still; else it is Stale. It
// does it anew where the user changed meanwhile. The row of the user is locked before fn reads what
// belongs to it.
func (p *Provider) changeOwn(ctx context.Context, doing string, v *Visit, fn func(context.Context, User) error) error {
	var err error
	for range maxConflicts {
		err = p.store.Tx(ctx, func(ctx context.Context) error {
			present, err := p.store.Visit(ctx, v.Session.ID, "")
			if errors.Is(err, ErrNotFound) {
				return sessionChanged(err)
			}
			if err != nil {
				return err
			}
			now := p.Now()
			if present.Session.State != Live || !present.Session.Alive(&present.User, now) {
				return sessionChanged(nil)
			}
			u := present.User
			u.UpdatedAt = now
			if err := p.store.ChangeUser(ctx, u, u.Epoch); err != nil {
				return err
			}
			return fn(ctx, u)
		})
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	err = orSessionChanged(err)
	return stored(doing, err)
}
