package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"postern/idp/guard"
)

// A SignUp is what somebody fills in who wants an account.
type SignUp struct {
	Username string
	Email    string
	Password string
	Name     string // display name, "" for none
	Invite   string // the token of the invite's link, "" for none
	Trap     string // the field that people do not see: filled in by programs alone
	Remember bool
}

// A SignUpState says whether somebody may sign up now.
type SignUpState struct {
	Open      bool
	Invited   bool      // only by invite
	OpensAt   time.Time // zero where nobody knows
	EmailOf   string    // the address that the invite is for, "" for any
	InviteBad bool      // an invite was shown that is not open
}

// actionSignUp is limited by address.
const actionSignUp = guard.Action("signup")

// SignUpOpen tells whether anybody may sign up now, without an invite.
func (p *Provider) SignUpOpen() bool {
	return p.cfg.Signup.Mode == "open" && p.canSignUp() && p.signUps.open(p.Now())
}

// canSignUp tells whether a sign-up leads anywhere: where only a mail can prove its address, that
// must be sent.
func (p *Provider) canSignUp() bool { return p.CanMail() || !p.mustVerify() && !p.strict() }

// strict tells whether an address is on nobody's list and names nobody before it is proved, so that
// several may claim it and none of them learns whose it is (login.prevent_enumeration). That needs the
// mail that proves it: without verification, strict is as true.
func (p *Provider) strict() bool {
	return p.cfg.Login.PreventEnumeration == "strict" && p.cfg.Email.Verification != "none"
}

// SignUpState tells whether somebody may sign up now, with the token of an invite or without one. Its
// error is Throttled for whoever tries tokens.
func (p *Provider) SignUpState(ctx context.Context, invite string) (SignUpState, error) {
	now := p.Now()
	s := SignUpState{Invited: p.cfg.Signup.Mode == "invite"}
	if p.cfg.Signup.Mode == "closed" {
		return s, nil
	}
	if s.Open = p.signUps.open(now); !s.Open {
		s.OpensAt = p.signUps.next(now)
		return s, nil
	}
	if s.Open = p.canSignUp(); !s.Open {
		return s, nil
	}
	if invite == "" {
		s.Open = !s.Invited
		return s, nil
	}
	i, err := p.openInvite(ctx, invite)
	switch {
	case CodeOf(err) == "invite_over":
		s.InviteBad, s.Open = true, !s.Invited
		return s, nil
	case err != nil:
		return SignUpState{}, err
	}
	s.EmailOf = i.Email
	return s, nil
}

// A filledIn is a sign-up that may become an account: what is sealed in its ticket.
type filledIn struct {
	User     User          `json:"user"`
	Password Authenticator `json:"password"`
	Invite   ID            `json:"invite,omitzero"`
	Remember bool          `json:"remember,omitempty"`
	ClientID string        `json:"client,omitempty"`
	// Authentication is what the session will have that the link makes, for Return to name it (I-5).
	Authentication ID `json:"authentication,omitzero"`
	// Mark is that of the interaction, in which the sign-up is a proof (I-7).
	Mark   string `json:"mark,omitempty"`
	Return string `json:"return,omitempty"`
	// Taken says that somebody has the address, and Trapped that a program filled the form in: no code
	// is right.
	Taken   bool `json:"taken,omitempty"`
	Trapped bool `json:"trapped,omitempty"`
}

// SignUp makes an account, or prepares one: where the address must be verified first
// (email.verification: mandatory) nothing but a ticket is kept, in.Ticket names it, the mail has a
// code or a link, and the answer is the same for an address that somebody has already, who gets a
// mail about it (S0-24). Then SignedIn is zero. Its errors are Invalid with all that is wrong
// (More), Conflict for a username that is taken, Denied with the code signup_closed, invite_over or
// mail_off, and Throttled. An address that is taken is a Conflict only where no mail keeps the secret
// (email.verification is not mandatory, nor is it optional and login.prevent_enumeration strict) or the
// settings tell it (login.prevent_enumeration).
func (p *Provider) SignUp(ctx context.Context, in *Interaction, s SignUp) (SignedIn, error) {
	started := p.clock()
	if err := p.Blocked(ctx); err != nil {
		return SignedIn{}, err
	}
	if _, err := p.guard.Spend(ctx, guard.Request{Attempt: actionSignUp, Address: VisitorFrom(ctx).Address}); err != nil {
		return SignedIn{}, p.refused(ctx, "sign up", err)
	}
	f, err := p.fillIn(ctx, s)
	if err != nil {
		return SignedIn{}, err
	}
	f.ClientID = in.Request.ClientID
	var made SignedIn
	if p.mustVerify() {
		err = p.prepare(ctx, in, f)
	} else {
		made, err = p.signUpAtOnce(ctx, in, f)
	}
	if err != nil {
		return SignedIn{}, err
	}
	p.answerAfter(ctx, started, 0)
	return made, nil
}

// fillIn judges a sign-up and hashes its password, also where nothing will come of it, so that all
// take as long.
func (p *Provider) fillIn(ctx context.Context, s SignUp) (f filledIn, err error) {
	invite, err := p.admit(ctx, s.Invite)
	if err != nil {
		return f, err
	}
	u, err := NewUser{
		Username: s.Username, Email: s.Email, Profile: Profile{Name: s.Name}, Groups: invite.Groups, Admin: invite.Admin,
	}.user(p.names, p.Now())
	wrong := all(err)
	if s.Email == "" {
		wrong = append(wrong, invalid("email_missing", "email", nil))
	} else if invite.EmailKey != "" && u.EmailKey != "" && u.EmailKey != invite.EmailKey {
		wrong = append(wrong, invalid("invite_email", "email", nil))
	}
	u.Locale = VisitorFrom(ctx).Locale
	wrong = append(wrong, all(p.judgePassword("password", s.Password, u))...)
	if u.UsernameKey != "" {
		_, err := p.store.UserByKey(ctx, u.UsernameKey)
		if err == nil {
			wrong = append(wrong, &Error{Kind: Conflict, Code: "username_taken", Field: "username"})
		} else if !errors.Is(err, ErrNotFound) {
			return f, stored("find a username", err)
		}
	}
	if err := together(wrong); err != nil {
		return f, err
	}
	f = filledIn{User: u, Invite: invite.ID, Remember: s.Remember, Trapped: s.Trap != ""}
	claims, err := p.store.Claims(ctx, u.EmailKey)
	if err != nil {
		return f, stored("find an address", err)
	}
	f.Taken = p.isTaken(claims, u.ID)
	if f.Taken && p.cfg.Login.PreventEnumeration == "false" {
		return f, &Error{Kind: Conflict, Code: "email_taken", Field: "email"}
	}
	f.Password, err = p.newPassword(ctx, u, "password", s.Password)
	return f, err
}

// admit finds the invite that was shown, the zero one for none. Its errors are Denied with
// signup_closed, mail_off or invite_over, and Throttled.
func (p *Provider) admit(ctx context.Context, token string) (Invite, error) {
	mode := p.cfg.Signup.Mode
	if mode == "closed" || !p.signUps.open(p.Now()) || mode == "invite" && token == "" {
		return Invite{}, &Error{Kind: Denied, Code: "signup_closed"}
	}
	if !p.canSignUp() {
		return Invite{}, mailOff()
	}
	if token == "" {
		return Invite{}, nil
	}
	return p.openInvite(ctx, token)
}

// prepare keeps a sign-up until its address is proved.
func (p *Provider) prepare(ctx context.Context, in *Interaction, f filledIn) error {
	if !p.cfg.Email.VerificationByCode {
		f.Authentication, f.Mark = NewID(p.Now()), in.mark()
		later := *in
		later.Authenticated, later.Doer, later.Ticket = f.Authentication, f.User.ID, ID{}
		if tx, err := p.Seal(ctx, &later); err == nil { // else the link leads to the account
			f.Return = "/oauth2/authorize?tx=" + tx
		}
	}
	return p.mailSignUp(ctx, in, f)
}

// mailSignUp keeps f in a ticket, in place of the former one of its address, and mails its code or link. Whoever has
// the address already is told so instead.
func (p *Provider) mailSignUp(ctx context.Context, in *Interaction, f filledIn) error {
	payload, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write a sign-up: %w", err)
	}
	t, code, link := p.newTicket(ctx, p.verification(mailing{
		purpose: ForSignUp, address: f.User.Email, payload: payload, decoy: f.Taken || f.Trapped,
	}))
	m := p.verificationMail(&t, code, link)
	m.Locale = f.User.Locale
	if f.Taken {
		m.Kind, m.Args = p.accountExists(existsForSignUp)
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if f.Trapped {
			if err := p.record(ctx, eventSignUpTrapped(f.User)); err != nil {
				return err
			}
		}
		if err := p.store.AddTicket(ctx, t); err != nil {
			return err
		}
		if f.Trapped {
			return p.mailNobody(ctx, m)
		}
		return p.enqueueMail(ctx, m, p.oneOf(m), p.Now())
	})
	if err != nil {
		return stored("prepare a sign-up", err)
	}
	in.Ticket, in.Proved = t.ID, false
	return nil
}

// verification fills in how long a proof of an address waits, and for how many guesses.
func (p *Provider) verification(m mailing) mailing {
	m.life = p.cfg.Email.LinkTTL
	if p.cfg.Email.VerificationByCode {
		m.life, m.tries = p.cfg.Email.Timeout, p.cfg.Email.MaxAttempts
	}
	return m
}

// verificationMail is the mail of a ticket that proves an address: with its code, or else its link.
func (p *Provider) verificationMail(t *Ticket, code, link string) Mail {
	m := Mail{Kind: "verify_code", To: t.Address, At: p.Now(), Args: map[string]string{
		"code": code, "expires": t.ExpiresAt.UTC().Format(time.RFC3339),
	}}
	if code == "" {
		m.Kind = "verify_link"
		delete(m.Args, "code")
		m.Args["link"] = p.cfg.Issuer + "/verify/link?ticket=" + link
	}
	return m
}

// signUpAtOnce makes an account whose address nobody proved.
func (p *Provider) signUpAtOnce(ctx context.Context, in *Interaction, f filledIn) (SignedIn, error) {
	if f.Taken && !p.strict() {
		return SignedIn{}, &Error{Kind: Conflict, Code: "email_taken", Field: "email"}
	}
	if f.Trapped {
		return p.feignSignUp(ctx, in, f)
	}
	u := p.signedUp(f)
	made, err := p.startSession(ctx, in, newLogin{
		user: u, proof: Method{Name: MethodPassword, Authenticator: f.Password.ID}, remember: f.Remember,
		deed: func(ctx context.Context) error { return p.addSignedUp(ctx, f, u) },
	})
	if err != nil {
		return SignedIn{}, p.signUpFailed(ctx, f, err)
	}
	in.SignedIn(&made.Session)
	return made, nil
}

// feignSignUp answers a program as it would be answered, and makes nothing.
func (p *Provider) feignSignUp(ctx context.Context, in *Interaction, f filledIn) (SignedIn, error) {
	err := p.store.Tx(ctx, func(ctx context.Context) error { return p.record(ctx, eventSignUpTrapped(f.User)) })
	if err != nil {
		return SignedIn{}, stored("record a program's sign-up", err)
	}
	s := p.newSession(ctx, f.User, p.remembers(f.Remember))
	feigned := SignedIn{Token: s.renewSecret(), Session: s, User: p.signedUp(f)}
	p.presentDevice(ctx, &feigned)
	in.SignedIn(&s)
	return feigned, nil
}

// signedUp is the user of a sign-up whose address nobody proved. Where several may claim it they have
// none: it would tell whoever finds it missing, or misses it later, that it is another's.
func (p *Provider) signedUp(f filledIn) User {
	u := f.User
	if p.strict() {
		u.Email, u.EmailKey = "", ""
	}
	return u
}

// addSignedUp adds u, who is signedUp, in the Tx of ctx, and mails what proves their address, or to
// whose it is that somebody used it.
func (p *Provider) addSignedUp(ctx context.Context, f filledIn, u User) error {
	if err := p.addAccount(ctx, f, u); err != nil {
		return err
	}
	if p.cfg.Email.Verification == "none" {
		return nil
	}
	// A link, which works wherever the mail is read: there is no page that waits for a code.
	t, _, link := p.newTicket(ctx, mailing{
		purpose: ForAddress, user: u, address: f.User.Email, life: p.cfg.Email.LinkTTL,
		payload: proving{Adds: u.Email == ""}.bytes(),
	})
	if err := p.store.AddTicket(ctx, t); err != nil {
		return err
	}
	m := p.verificationMail(&t, "", link)
	m.Locale = u.Locale
	if f.Taken {
		m.Kind, m.Args = p.accountExists(existsForAddress)
	}
	return p.enqueueMail(ctx, m, p.oneOf(m), p.Now())
}

// addVerified adds the user of a sign-up whose address is proved, in the Tx of ctx. Others who
// claimed it without proof lose it.
func (p *Provider) addVerified(ctx context.Context, f filledIn) error {
	u := f.User
	u.EmailVerified = true
	if err := p.dropClaims(ctx, u.EmailKey, u.ID); err != nil {
		return err
	}
	if err := p.addAccount(ctx, f, u); err != nil {
		return err
	}
	return p.tell(ctx, u, "welcome", map[string]string{"username": u.Username, "link": p.cfg.Issuer + "/account"})
}

// addAccount adds u with the password and the invite of f, in the Tx of ctx.
func (p *Provider) addAccount(ctx context.Context, f filledIn, u User) error {
	if err := p.store.AddUser(ctx, u); err != nil {
		return taken(err)
	}
	if err := p.store.PutPassword(ctx, f.Password); err != nil {
		return err
	}
	if !f.Invite.IsZero() {
		first, err := p.store.RedeemInvite(ctx, f.Invite, u.ID, f.Password.ID[:], p.Now())
		if err != nil {
			return err
		}
		if !first {
			return inviteOver()
		}
	}
	return p.record(ctx, eventSignedUp(u, f.Invite))
}

// errTaken says that a name was free when the form was judged, and is another's by now.
var errTaken = errors.New("a name was taken meanwhile")

func taken(err error) error {
	if errors.Is(err, ErrConflict) {
		return errTaken
	}
	return err
}

// signUpFailed says which name was taken where err is errTaken.
func (p *Provider) signUpFailed(ctx context.Context, f filledIn, err error) error {
	if errors.Is(err, errTaken) {
		err = p.nameTaken(ctx, f.User)
	}
	return stored("sign up", err)
}

func eventSignedUp(u User, invite ID) Event {
	e := Event{Kind: "user.signed_up", Actor: u.ID.String(), UserID: u.ID, Details: Details{"username": u.Username, "admin": u.Admin}}
	if !invite.IsZero() {
		e.Details["invite"] = invite.String()
	}
	return e
}

// eventSignUpTrapped tells of a program that filled in the field that nobody sees.
func eventSignUpTrapped(u User) Event {
	return Event{Kind: "signup.honeypot", Details: Details{"username": u.Username}}
}
