package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"postern/idp/guard"
)

// actionConfirmEmail is limited by address: what was sent a moment ago is not sent again.
const actionConfirmEmail = guard.Action("confirm_email")

// SendCode mails a new code, or link, for what in waits for: the sign-up or the address of whoever
// owes StepVerify. v is their pending or live session, nil for a sign-up. The former code is over.
// Its errors are Throttled with the code sent_recently, Denied with code_over where in waits for
// nothing, or with mail_off, and Conflict with email_verified where nothing is left to prove.
func (p *Provider) SendCode(ctx context.Context, in *Interaction, v *Visit) error {
	if err := p.Blocked(ctx); err != nil {
		return err
	}
	if err := p.needMail(); err != nil {
		return err
	}
	if v != nil {
		return p.sendToUser(ctx, in, v)
	}
	t, err := p.ticketToTry(ctx, in.Ticket, ForSignUp)
	if err != nil {
		return err
	}
	f, err := p.filledInOf(&t)
	if err != nil {
		return err
	}
	// One that is over may be renewed within the interaction, but not once it made an account.
	if t.RedeemedAt != nil {
		return codeOver()
	}
	if err := p.spendSending(ctx, f.User.EmailKey); err != nil {
		return err
	}
	return p.mailSignUp(ctx, in, f)
}

func (p *Provider) spendSending(ctx context.Context, key string) error {
	_, err := p.guard.Spend(ctx, guard.Request{Attempt: actionConfirmEmail, Address: VisitorFrom(ctx).Address, Name: key})
	err = p.refused(ctx, "send a code", err)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == Throttled {
		e.Code = "sent_recently"
	}
	return err
}

// sendToUser mails a proof of the primary address of v's user.
func (p *Provider) sendToUser(ctx context.Context, in *Interaction, v *Visit) error {
	u := v.User
	if u.Email == "" || u.EmailVerified {
		return &Error{Kind: Conflict, Code: "email_verified"}
	}
	if err := p.spendSending(ctx, u.EmailKey); err != nil {
		return err
	}
	m := mailing{purpose: ForAddress, user: u, address: u.Email}
	if !p.cfg.Email.VerificationByCode {
		if tx, err := p.Seal(ctx, in); err == nil { // else the link leads to the account
			m.payload = proving{Return: "/oauth2/authorize?tx=" + tx}.bytes()
		}
	}
	t, code, link := p.newTicket(ctx, p.verification(m))
	mail := p.verificationMail(&t, code, link)
	mail.Locale = u.Locale
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.AddTicket(ctx, t); err != nil {
			return err
		}
		return p.enqueueMail(ctx, mail, "", p.Now())
	})
	if err != nil {
		return stored("send a code", err)
	}
	in.Ticket, in.Proved = t.ID, false
	return nil
}

// filledInOf is the sign-up that waits in t.
func (p *Provider) filledInOf(t *Ticket) (f filledIn, err error) {
	plain, err := p.payload(t)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(plain, &f); err != nil {
		return f, fmt.Errorf("read a sign-up: %w", err)
	}
	return f, nil
}

// VerifyCode takes the code that was mailed for in. It makes the account of a sign-up where v is
// nil, or verifies the address of v's user, and makes the session live where nothing else is owed.
// Its errors are Denied with the code code_wrong, which is what a code past its time is, or
// code_over where the ticket takes no more guesses: it was used, replaced, or had its last guess;
// Conflict for a username that was taken meanwhile; and Throttled.
func (p *Provider) VerifyCode(ctx context.Context, in *Interaction, v *Visit, code string) (SignedIn, error) {
	var made SignedIn
	if v == nil {
		t, err := p.checkCode(ctx, in.Ticket, code, ForSignUp)
		if err != nil {
			return SignedIn{}, err
		}
		if made, err = p.completeSignUp(ctx, in, t); err != nil {
			return SignedIn{}, err
		}
	} else {
		t, err := p.checkCode(ctx, in.Ticket, code, ForAddress)
		if err == nil && t.UserID != v.User.ID {
			err = codeOver()
		}
		if err != nil {
			return SignedIn{}, err
		}
		if made, err = p.verifyVisitor(ctx, in, v, t); err != nil {
			return SignedIn{}, err
		}
	}
	in.Ticket, in.Proved, in.Mailed = ID{}, false, ""
	return made, nil
}

// completeSignUp makes the account of t, whose address is proved, and signs it in.
func (p *Provider) completeSignUp(ctx context.Context, in *Interaction, t Ticket) (SignedIn, error) {
	f, err := p.filledInOf(&t)
	if err != nil {
		return SignedIn{}, err
	}
	f.User.EmailVerified = true
	made, err := p.startSession(ctx, in, newLogin{
		user: f.User, proof: Method{Name: MethodPassword, Authenticator: f.Password.ID}, remember: f.Remember, authentication: f.Authentication,
		mark: f.Mark,
		deed: func(ctx context.Context) error { return p.redeemSignUp(ctx, t, f) },
	})
	if err != nil {
		return SignedIn{}, p.verifyFailed(ctx, f, err)
	}
	in.SignedIn(&made.Session)
	return made, nil
}

func (p *Provider) redeemSignUp(ctx context.Context, t Ticket, f filledIn) error {
	if _, err := p.redeem(ctx, t); err != nil {
		return err
	}
	return p.addVerified(ctx, f)
}

// verifyFailed is signUpFailed for whoever proved the address: somebody else proved it first.
func (p *Provider) verifyFailed(ctx context.Context, f filledIn, err error) error {
	err = p.signUpFailed(ctx, f, err)
	if CodeOf(err) == "email_taken" {
		return codeOver()
	}
	return err
}

// verifyVisitor verifies the address of t for v's user, and makes their session live where nothing
// else is owed. A live one stays as it is.
func (p *Provider) verifyVisitor(ctx context.Context, in *Interaction, v *Visit, t Ticket) (SignedIn, error) {
	u := v.User
	if t.Address == u.Email {
		u.EmailVerified = true
	}
	m, err := p.promote(ctx, v, u)
	if err != nil {
		return SignedIn{}, err
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.redeemAddress(ctx, t); err != nil {
			return err
		}
		return p.keepPromoted(ctx, v, &m)
	})
	if CodeOf(err) == "" && (errors.Is(err, ErrConflict)) {
		err = &Error{Kind: Stale, Code: "session_changed", Cause: err}
	}
	if err != nil {
		return SignedIn{}, stored("verify an address", err)
	}
	in.promoted(v, &m.Session)
	return m.SignedIn, nil
}

// redeemAddress redeems t and verifies its address for its user, in the Tx of ctx. Its errors are
// those of redeem, also where the address is the user's no more, or another's.
func (p *Provider) redeemAddress(ctx context.Context, t Ticket) error {
	u, err := p.redeem(ctx, t)
	if err != nil {
		return err
	}
	err = p.verifyAddress(ctx, u, &t)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
		return codeOver()
	}
	return err
}

// verifyAddress makes the address of t u's, in the Tx of ctx: others who claimed it without proof lose
// it. It is ErrNotFound where u has it no more, or has another one in the place of that of their
// sign-up, which may have been mistyped; and Conflict where it is verified as another's.
func (p *Provider) verifyAddress(ctx context.Context, u User, t *Ticket) error {
	of, err := p.provingOf(t)
	if err != nil {
		return err
	}
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(own, func(e Email) bool { return e.Address == t.Address })
	if at < 0 && (!of.Adds || len(own) > 0) {
		return ErrNotFound
	}
	if at >= 0 && own[at].VerifiedAt != nil {
		return nil
	}
	if err := p.ownAddress(ctx, u, t.Address); err != nil {
		return err
	}
	return p.record(ctx, eventEmailVerified(u, t.Address))
}

// A proving is what is sealed in a ticket that proves an address of a user.
type proving struct {
	Return string `json:"return,omitempty"` // the path that its link leads to, "" for none
	// Adds says that the address is on no list of theirs until it is proved.
	Adds bool `json:"adds,omitempty"`
}

func (of proving) bytes() []byte {
	b, err := json.Marshal(of)
	if err != nil {
		panic(err) // a text and a flag
	}
	return b
}

func (p *Provider) provingOf(t *Ticket) (of proving, err error) {
	if t.Payload == nil {
		return of, nil
	}
	plain, err := p.payload(t)
	if err != nil {
		return of, err
	}
	if err := json.Unmarshal(plain, &of); err != nil {
		return of, fmt.Errorf("read a ticket: %w", err)
	}
	return of, nil
}

// dropClaims takes an address that `but` proved from all others who claimed it, in the Tx of ctx.
func (p *Provider) dropClaims(ctx context.Context, key string, but ID) error {
	losers, err := p.store.DropClaims(ctx, key, but)
	if err != nil {
		return err
	}
	for _, id := range losers {
		if err := p.store.EndTickets(ctx, id, p.Now(), ForAddress, ForReset, ForLogIn); err != nil {
			return err
		}
		if err := p.record(ctx, Event{Kind: "user.email_claim_lost", Actor: actorSystem, UserID: id}); err != nil {
			return err
		}
	}
	return nil
}

func eventEmailVerified(u User, address string) Event {
	return Event{Kind: "user.email_verified", Actor: u.ID.String(), UserID: u.ID, Details: Details{"email": address}}
}

// A Link is what a mailed link is for, as its page may tell before anybody pressed its button.
type Link struct {
	Purpose     Purpose
	Address     string // that it proves, or concerns
	Username    string // whose address it makes it, where it proves one: a stranger may have asked for it
	SameBrowser bool   // whether this browser asked for it
	Return      string // the path that leads on, "" for none
	// Confirmed says that there is nothing left to do: it was used, and its address is verified still.
	Confirmed bool
}

// OpenLink tells what a link is for and changes nothing (S0-47). Its error is Denied with the code
// link_over where it is unknown, has expired, was used or is for another purpose; one that was used to
// prove an address is Confirmed while the address is verified as the same user's. A link that proves
// an address may be of a sign-up or of a user: ForAddress opens both.
func (p *Provider) OpenLink(ctx context.Context, purpose Purpose, token string) (Link, error) {
	t, err := p.openLinkFor(ctx, purpose, token)
	if purpose == ForAddress && CodeOf(err) == "link_over" {
		return p.confirmed(ctx, token)
	}
	if err != nil {
		return Link{}, err
	}
	l := Link{Purpose: t.Purpose, Address: t.Address, SameBrowser: isBrowserOf(ctx, &t)}
	switch t.Purpose {
	case ForSignUp:
		f, err := p.filledInOf(&t)
		if err != nil {
			return Link{}, err
		}
		l.Username, l.Return = f.User.Username, f.Return
	case ForAddress:
		u, err := p.store.User(ctx, t.UserID)
		if err != nil {
			return Link{}, stored("find whose address it is", err)
		}
		of, err := p.provingOf(&t)
		if err != nil {
			return Link{}, err
		}
		l.Username, l.Return = u.Username, of.Return
	}
	if !l.SameBrowser {
		l.Return = ""
	}
	return l, nil
}

func (p *Provider) openLinkFor(ctx context.Context, purpose Purpose, token string) (Ticket, error) {
	t, err := p.openLink(ctx, purpose, token)
	if purpose == ForAddress && CodeOf(err) == "link_over" {
		return p.openLink(ctx, ForSignUp, token)
	}
	return t, err
}

// confirmed is what a link is that proves an address which is verified already as its user's: it was
// used, or something else proved it and ended it. Its error is Denied with link_over.
func (p *Provider) confirmed(ctx context.Context, token string) (Link, error) {
	t, err := p.findLink(ctx, ForAddress, token)
	if CodeOf(err) == "link_over" {
		t, err = p.findLink(ctx, ForSignUp, token)
	}
	if err != nil {
		return Link{}, err
	}
	userID := t.UserID
	if t.Purpose == ForSignUp {
		f, err := p.filledInOf(&t)
		if err != nil {
			return Link{}, err
		}
		userID = f.User.ID
	}
	own, err := p.store.Emails(ctx, userID)
	if err != nil {
		return Link{}, stored("find a confirmed address", err)
	}
	if !slices.ContainsFunc(own, func(e Email) bool { return e.Address == t.Address && e.VerifiedAt != nil }) {
		return Link{}, linkOver()
	}
	return Link{Purpose: t.Purpose, Address: t.Address, SameBrowser: isBrowserOf(ctx, &t), Confirmed: true}, nil
}

// VerifyLink redeems a link that proves an address, of a sign-up or of a user. The one whose browser
// asked for it is signed in where it made their account, or where nothing else kept their sign-in
// pending; SignedIn is zero otherwise. A link that did so before does nothing, and is no error while
// the address is verified still: a button may be pressed twice. Its errors are Denied with link_over, and Conflict for a
// username that was taken meanwhile.
func (p *Provider) VerifyLink(ctx context.Context, token string) (SignedIn, error) {
	if err := p.Blocked(ctx); err != nil {
		return SignedIn{}, err
	}
	made, err := p.verifyLink(ctx, token)
	if CodeOf(err) == "link_over" {
		_, err = p.confirmed(ctx, token)
	}
	return made, err
}

func (p *Provider) verifyLink(ctx context.Context, token string) (made SignedIn, err error) {
	t, err := p.openLinkFor(ctx, ForAddress, token)
	if err != nil {
		return SignedIn{}, err
	}
	if t.Purpose == ForSignUp {
		made, err = p.verifySignUpLink(ctx, t)
	} else {
		made, err = p.verifyAddressLink(ctx, t)
	}
	if err != nil {
		return SignedIn{}, stored("redeem a link", ofLink(err))
	}
	return made, nil
}

func (p *Provider) verifySignUpLink(ctx context.Context, t Ticket) (SignedIn, error) {
	f, err := p.filledInOf(&t)
	if err != nil {
		return SignedIn{}, err
	}
	if isBrowserOf(ctx, &t) {
		return p.completeSignUp(ctx, &Interaction{Request: Request{ClientID: f.ClientID}}, t)
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error { return p.redeemSignUp(ctx, t, f) })
	if err != nil {
		return SignedIn{}, p.verifyFailed(ctx, f, err)
	}
	return SignedIn{}, nil
}

func (p *Provider) verifyAddressLink(ctx context.Context, t Ticket) (SignedIn, error) {
	v, err := p.PendingVisit(ctx, "")
	if err != nil && !errors.Is(err, ErrNotFound) {
		return SignedIn{}, err
	}
	if err == nil && v.User.ID == t.UserID && isBrowserOf(ctx, &t) {
		return p.verifyVisitor(ctx, &Interaction{}, v, t)
	}
	return SignedIn{}, p.store.Tx(ctx, func(ctx context.Context) error { return p.redeemAddress(ctx, t) })
}
