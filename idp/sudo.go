package idp

import (
	"context"
	"errors"
	"time"

	"postern/idp/guard"
)

// actionReauthenticate limits proofs of who is signed in already.
const actionReauthenticate = guard.Action("reauthenticate")

// Fresh tells whether v's user proved who they are within sudo.timeout. What they do meanwhile does
// not count.
func (p *Provider) Fresh(v *Visit) bool {
	if !p.cfg.Sudo.Required {
		return true
	}
	var newest time.Time
	for _, m := range v.Session.Methods {
		if m.At.After(newest) {
			newest = m.At
		}
	}
	return !newest.Before(p.Now().Add(-p.cfg.Sudo.Timeout).Truncate(time.Second))
}

// sudo is Denied with the code reauthenticate where v's proof is too old for something sensitive.
func (p *Provider) sudo(v *Visit) error {
	if !p.Fresh(v) {
		return &Error{Kind: Denied, Code: "reauthenticate"}
	}
	return nil
}

// Reauthenticate verifies the password of v's user through the gate and renews the session with it:
// the same row with another secret, since it may do more from now on. Its errors are those of LogIn,
// and Stale where the session ended meanwhile.
func (p *Provider) Reauthenticate(ctx context.Context, v *Visit, password string) (SignedIn, error) {
	proved, err := p.confirmPassword(ctx, v, actionReauthenticate, password)
	if err != nil {
		return SignedIn{}, err
	}
	s := p.renewed(ctx, v, proved)
	signedIn := SignedIn{Token: s.renewSecret(), Session: s, User: v.User}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.RenewSession(ctx, s, v.Session.Authentication); err != nil {
			return err
		}
		return p.record(ctx, Event{Kind: "user.reauthenticated", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID})
	})
	if errors.Is(err, ErrConflict) {
		err = sessionChanged(err)
	}
	if err != nil {
		return SignedIn{}, stored("prove anew who is signed in", err)
	}
	return signedIn, nil
}

// renewed is v's session with the visitor of ctx, proved anew by a password now. Its epoch is v's,
// which is older than the password that was read: where that changed meanwhile the row is dead (I-2).
func (p *Provider) renewed(ctx context.Context, v *Visit, password Authenticator) Session {
	s := p.newSession(ctx, v.User, v.Session.Remembered)
	s.ID, s.CreatedAt, s.EndsAt, s.ClientID = v.Session.ID, v.Session.CreatedAt, v.Session.EndsAt, v.Session.ClientID
	s.Epoch = v.Session.Epoch
	p.touched(&s, s.LastSeenAt)
	s.Methods = v.Session.Methods.with(Method{Name: "pwd", Authenticator: password.ID, At: s.LastSeenAt.Truncate(time.Second)})
	p.leaveTrack(&s, &v.Session)
	return s
}

// sessionChanged is what somebody is told whose session or account changed since their page was made.
func sessionChanged(cause error) *Error {
	return &Error{Kind: Stale, Code: "session_changed", Cause: cause}
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
	if errors.Is(err, ErrConflict) && KindOf(err) == Conflict && CodeOf(err) == "" {
		err = sessionChanged(err)
	}
	return stored(doing, err)
}
