package idp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"postern/idp/guard"
	"postern/idp/secret"
)

// The actions of resets.
const (
	actionReset     = guard.Action("reset_password")
	actionResetDone = guard.Action("reset_password_from_key")
)

// resetTries is how often somebody may mistype the code of a reset.
const resetTries = 3

// RequestReset mails a code and a link for a new password to whoever has the identifier: to that
// address, or to their primary one. in.Ticket names a ticket whoever that is, a decoy for nobody,
// and takes as long (S0-23). Its errors are Throttled, and Denied with mail_off, or with
// unknown_account where the settings tell (login.prevent_enumeration).
func (p *Provider) RequestReset(ctx context.Context, in *Interaction, identifier string) error {
	started := p.clock()
	if err := p.Blocked(ctx); err != nil {
		return err
	}
	if err := p.needMail(); err != nil {
		return err
	}
	name, _ := p.keyOf(identifier)
	u, address, err := p.resetAddress(ctx, name)
	if err != nil {
		return err
	}
	r := guard.Request{Attempt: actionReset, Address: VisitorFrom(ctx).Address, Name: name}
	if _, err := p.guard.Spend(ctx, r); err != nil {
		return p.refused(ctx, "ask for a reset", err)
	}
	if u.ID.IsZero() && p.cfg.Login.PreventEnumeration == "false" {
		return &Error{Kind: Denied, Code: "unknown_account", Field: "username"}
	}
	in.Ticket, in.Proved = ID{}, false
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		var err error
		if u.Status == Active && address != "" {
			in.Ticket, err = p.mailReset(ctx, u, address, name)
		} else {
			in.Ticket, err = p.mailNoReset(ctx, name, u.ID.IsZero())
		}
		if err != nil {
			return err
		}
		return p.record(ctx, Event{Kind: "user.reset_asked", UserID: u.ID})
	})
	p.answerAfter(ctx, started, 0)
	return stored("ask for a reset", err)
}

// resetAddress finds the user of a key and where their mail goes: the address that the key is, or
// their primary one; "" where that has no reset. It reads as much for nobody.
func (p *Provider) resetAddress(ctx context.Context, key string) (User, string, error) {
	u, err := p.store.UserByKey(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return User{}, "", stored("find who asks for a reset", err)
	}
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return User{}, "", stored("find who asks for a reset", err)
	}
	address := u.Email
	if at := slices.IndexFunc(own, func(e Email) bool { return e.Key == key }); at >= 0 {
		address = own[at].Address
	}
	if !mayProve(own, address) {
		address = ""
	}
	return u, address, nil
}

// mayProve tells whether a reset may go to one of a user's addresses: a verified one, or one of a user
// who never verified any. Else whoever made an account in the name of another's address would keep,
// by an address of their own, a way into what that other takes for theirs.
func mayProve(own []Email, address string) bool {
	proved := func(e Email) bool { return e.VerifiedAt != nil }
	return !slices.ContainsFunc(own, proved) ||
		slices.ContainsFunc(own, func(e Email) bool { return e.Address == address && proved(e) })
}

// mailReset keeps a ticket for a reset in the Tx of ctx and mails it to an address of u. name is the
// key by which somebody asked, "" for nobody.
func (p *Provider) mailReset(ctx context.Context, u User, address, name string) (ID, error) {
	return p.keepReset(ctx, mailing{user: u, address: address, scope: name, tries: resetTries}, p.newMailTo(ctx, u, address, "reset"))
}

// mailNoReset does as much as mailReset for a key whose user may have no reset: the ticket is a decoy,
// and the mail one to nobody. An address that is unknown may be told so (login.unknown_account_mail).
func (p *Provider) mailNoReset(ctx context.Context, key string, unknown bool) (ID, error) {
	m := p.newMailTo(ctx, User{Username: key}, "", "reset")
	if unknown && p.cfg.Login.UnknownAccountMail && strings.Contains(key, "@") {
		if a, bad := addressOf(p.names, key); bad == nil {
			m.Kind, m.To, m.Locale = "reset_unknown", a.Text, VisitorFrom(ctx).Locale
			delete(m.Args, "name")
		}
	}
	return p.keepReset(ctx, mailing{address: key, scope: key, tries: resetTries}, m)
}

// keepReset keeps the ticket of a mailing and enqueues its mail, to nobody too, in the Tx of ctx.
func (p *Provider) keepReset(ctx context.Context, of mailing, m Mail) (ID, error) {
	of.purpose, of.life = ForReset, p.cfg.Password.ResetTTL
	t, code, link := p.newTicket(ctx, of)
	if err := p.store.AddTicket(ctx, t); err != nil || p.mailer == nil {
		return t.ID, err
	}
	if m.Kind != "reset_unknown" {
		m.Args["link"], m.Args["expires"] = p.cfg.Issuer+"/reset/link?ticket="+link, t.ExpiresAt.Format(time.RFC3339)
	}
	if code != "" && m.Kind != "reset_unknown" {
		m.Args["code"] = code
	}
	_, err := p.enqueue(ctx, jobMail, "", p.Now(), m)
	return t.ID, err
}

// ProveReset takes the code of in.Ticket and notes in in that it was right, so that a new password
// may follow. Its errors are those of VerifyCode.
func (p *Provider) ProveReset(ctx context.Context, in *Interaction, code string) error {
	in.Proved = false
	if _, err := p.checkCode(ctx, in.Ticket, code, ForReset); err != nil {
		return err
	}
	in.Proved = true
	return nil
}

// ResetPassword sets the password of the user of in.Ticket, which ProveReset proved, or of a link's
// ticket where token is not empty. It ends every session and refresh token, removes no factor, signs
// nobody in, and tells all verified addresses, of which the one that was mailed to is one from then
// on. Its errors are those of the password policy, Throttled, and Denied with link_over or code_over.
func (p *Provider) ResetPassword(ctx context.Context, in *Interaction, token, password string) error {
	if _, err := p.guard.Spend(ctx, guard.Request{Attempt: actionResetDone, Address: VisitorFrom(ctx).Address}); err != nil {
		return p.refused(ctx, "reset a password", err)
	}
	t, err := p.resetTicket(ctx, in, token)
	if err != nil {
		return err
	}
	u, err := p.store.User(ctx, t.UserID)
	if err != nil {
		return stored("reset a password", err)
	}
	a, err := p.newPassword(ctx, u, "password", password)
	if err != nil {
		return err
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		u, err := p.redeem(ctx, t)
		if err != nil {
			return err
		}
		return p.reset(ctx, u, t.Address, a)
	})
	if errors.Is(err, ErrConflict) && CodeOf(err) == "" {
		err = codeOver() // somebody else raised the epoch meanwhile
	}
	if token != "" {
		err = ofLink(err)
	}
	if err != nil {
		return stored("reset a password", err)
	}
	in.Ticket, in.Proved = ID{}, false
	return nil
}

func (p *Provider) resetTicket(ctx context.Context, in *Interaction, token string) (Ticket, error) {
	if token != "" {
		return p.openLink(ctx, ForReset, token)
	}
	t, err := p.provedTicket(ctx, in, ForReset)
	if err == nil && t.UserID.IsZero() {
		err = codeOver()
	}
	return t, err
}

// reset makes a the password of u, who proved that an address is theirs, in the Tx of ctx.
func (p *Provider) reset(ctx context.Context, u User, address string, a Authenticator) error {
	if u.Status != Active {
		return codeOver()
	}
	u.MustChangePassword = false
	sessions, grants, err := p.raiseEpoch(ctx, &u, "password_reset")
	if err != nil {
		return err
	}
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(own, func(e Email) bool { return e.Address == address }) || !mayProve(own, address) {
		return codeOver() // it was removed since, or another one was verified
	}
	if err := p.ownAddress(ctx, u, address); err != nil {
		return err
	}
	if err := p.replacePassword(ctx, u, a); err != nil {
		return err
	}
	if err := p.tellAlarmed(ctx, u, nil, "password_reset", nil); err != nil {
		return err
	}
	return p.record(ctx, Event{
		Kind: "user.password_reset", Actor: u.ID.String(), UserID: u.ID,
		Details: Details{"sessions_ended": sessions, "grants_revoked": grants},
	})
}

// ChooseNewPassword sets the password of whoever owes StepChange, in their pending or live session v,
// and makes it live where nothing else is owed. All other sessions end, and every grant. Its errors
// are those of the password policy, Invalid with password_unchanged, Denied with reauthenticate in a
// live session whose proof is old, and Stale where nothing is owed any more.
func (p *Provider) ChooseNewPassword(ctx context.Context, in *Interaction, v *Visit, password string) (SignedIn, error) {
	if !v.User.MustChangePassword {
		return SignedIn{}, sessionChanged(nil)
	}
	if v.Session.State == Live {
		if err := p.sudo(v); err != nil {
			return SignedIn{}, err
		}
	}
	if same, err := p.unchanged(ctx, v.User, password); err != nil {
		return SignedIn{}, err
	} else if same {
		return SignedIn{}, invalid("password_unchanged", "new_password", nil)
	}
	a, err := p.newPassword(ctx, v.User, "new_password", password)
	if err != nil {
		return SignedIn{}, err
	}
	u := v.User
	u.MustChangePassword, u.Epoch = false, u.Epoch+1
	m, err := p.promote(ctx, v, u)
	if err != nil {
		return SignedIn{}, err
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error { return p.chooseNewPassword(ctx, v, &m, a) })
	if errors.Is(err, ErrConflict) {
		err = sessionChanged(err)
	}
	if err != nil {
		return SignedIn{}, stored("choose a new password", err)
	}
	in.promoted(v, &m.Session)
	return m.SignedIn, nil
}

func (p *Provider) chooseNewPassword(ctx context.Context, v *Visit, m *promotion, a Authenticator) error {
	u, err := p.store.User(ctx, v.User.ID)
	if err != nil {
		return err
	}
	if u.Epoch != v.User.Epoch || !u.MustChangePassword {
		return ErrConflict
	}
	u.MustChangePassword = false
	sessions, grants, err := p.raiseEpochBut(ctx, &u, "password_change", v.Session.ID)
	if err != nil {
		return err
	}
	m.User = u
	if err := p.replacePassword(ctx, u, a); err != nil {
		return err
	}
	if err := p.keepPromoted(ctx, v, m); err != nil {
		return err
	}
	return p.tellPasswordChange(ctx, u, m.Session, false, sessions, grants)
}

// unchanged tells whether a password is the one that u has.
func (p *Provider) unchanged(ctx context.Context, u User, password string) (bool, error) {
	prepared, _, err := secret.Prepare(password)
	if err != nil {
		return false, nil
	}
	present, err := p.store.Password(ctx, u.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, stored("find a password", err)
	}
	permit, err := p.guard.Reserve(ctx, guard.Request{
		Attempt: actionChangePassword, Address: VisitorFrom(ctx).Address, Account: u.ID.String(), User: u.ID.String(),
	})
	if err != nil {
		return false, p.refused(ctx, "choose a password", err)
	}
	defer p.refund(ctx, permit)
	same, err := p.hasher.Verify(ctx, permit, prepared, present.Secret)
	if err != nil {
		return false, hashing("compare a password", err)
	}
	return same, nil
}
