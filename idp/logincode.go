package idp

import (
	"context"
	"errors"
	"time"

	"postern/idp/guard"
)

// actionRequestLogInCode is limited by address and by name.
const actionRequestLogInCode = guard.Action("request_login_code")

// RequestLogInCode mails a code to sign in with (login.code) to the verified address of whoever has
// the identifier. in.Ticket names a ticket whoever that is, a decoy for nobody, and takes as long
// (S0-23). The newest code replaces the older. Its errors are Throttled, Missing where the settings
// offer no codes, and Denied with mail_off, or with unknown_account where they tell who has an account.
func (p *Provider) RequestLogInCode(ctx context.Context, in *Interaction, identifier string) error {
	started := p.clock()
	if !p.cfg.Login.Code.Enabled {
		return &Error{Kind: Missing, Code: "login_code_off"}
	}
	if err := p.Blocked(ctx); err != nil {
		return err
	}
	if err := p.needMail(); err != nil {
		return err
	}
	name, _ := p.keyOf(identifier)
	u, err := p.store.UserByKey(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return stored("find a user", err)
	}
	known := err == nil
	r := guard.Request{Attempt: actionRequestLogInCode, Address: VisitorFrom(ctx).Address, Name: name}
	if _, err := p.guard.Spend(ctx, r); err != nil {
		return p.refused(ctx, "mail a code", err)
	}
	if !known && p.cfg.Login.PreventEnumeration == "false" {
		p.answerAfter(ctx, started, 0)
		return unknownAccount()
	}
	m := mailing{purpose: ForLogIn, scope: name, user: u, address: u.Email, life: p.cfg.Login.Code.Timeout, tries: p.cfg.Login.Code.MaxAttempts}
	if !known || u.Status != Active || !u.EmailVerified {
		m.user, m.address, m.decoy = User{}, name, true
	}
	if err := p.mailLogInCode(ctx, in, m); err != nil {
		return err
	}
	p.answerAfter(ctx, started, 0)
	return nil
}

func (p *Provider) mailLogInCode(ctx context.Context, in *Interaction, m mailing) error {
	t, code, _ := p.newTicket(ctx, m)
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.AddTicket(ctx, t); err != nil {
			return err
		}
		args := map[string]string{"code": code, "expires": t.ExpiresAt.UTC().Format(time.RFC3339)}
		if !m.decoy {
			return p.tellTo(ctx, m.user, m.address, "login_code", args)
		}
		return p.mailNobody(ctx, Mail{Kind: "login_code", Args: args})
	})
	if err != nil {
		return stored("mail a code", err)
	}
	in.Ticket, in.Proved = t.ID, false
	return nil
}

// LogInByCode signs somebody in with the code of in.Ticket, as LogIn does. Its errors are those of
// VerifyCode.
func (p *Provider) LogInByCode(ctx context.Context, in *Interaction, code string, remember bool) (SignedIn, error) {
	if !p.cfg.Login.Code.Enabled {
		return SignedIn{}, &Error{Kind: Missing, Code: "login_code_off"}
	}
	t, err := p.checkCode(ctx, in.Ticket, code, ForLogIn)
	if err != nil {
		return SignedIn{}, err
	}
	u, err := p.store.User(ctx, t.UserID)
	if errors.Is(err, ErrNotFound) || err == nil && (u.Epoch != t.Epoch || u.Status != Active) {
		return SignedIn{}, codeOver()
	}
	if err != nil {
		return SignedIn{}, stored("sign in by a code", err)
	}
	signedIn, err := p.startSession(ctx, in, newLogin{
		user: u, proof: Method{Name: MethodMail}, remember: remember,
		deed: func(ctx context.Context) error {
			_, err := p.redeem(ctx, t)
			return err
		},
	})
	if err != nil {
		return SignedIn{}, stored("sign in by a code", err)
	}
	in.SignedIn(&signedIn.Session)
	in.Ticket, in.Proved, in.Mailed = ID{}, false, ""
	return signedIn, nil
}
