package idp

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"postern/idp/guard"
)

// An Email is one of a user's addresses. The primary one stands in User, too, for whoever reads
// only that.
type Email struct {
	ID         ID
	UserID     ID
	Address    string // with its domain as A-labels
	Key        string // guard.Canonical of Address
	Primary    bool
	VerifiedAt *time.Time
	CreatedAt  time.Time
}

// EmailStore keeps addresses. An address that is verified is one user's; unverified it may be
// claimed by several (S0-25).
type EmailStore interface {
	// Emails lists a user's addresses, the primary one first, then in the order of CreatedAt.
	Emails(ctx context.Context, userID ID) ([]Email, error)
	// Claims lists by whom an address is claimed, who proved it first, then in the order of CreatedAt, at
	// most two.
	Claims(ctx context.Context, key string) ([]Email, error)
	// AddEmail returns ErrConflict where the user has it, or where it is verified as another's.
	AddEmail(ctx context.Context, e Email) error
	// ChangeEmail writes Primary and VerifiedAt; ErrConflict where it is verified as another's by now,
	// or gone. A primary one takes that from the user's others. As AddEmail and RemoveEmail it writes
	// the user's Email, EmailKey and EmailVerified, too.
	ChangeEmail(ctx context.Context, e Email) error
	// RemoveEmail returns ErrNotFound where the user has no such address.
	RemoveEmail(ctx context.Context, userID, id ID) error
	// DropClaims removes the unverified claims of others to a key, primary ones too, and returns
	// their users, whose User has no address then.
	DropClaims(ctx context.Context, key string, but ID) ([]ID, error)
}

// actionManageEmail limits changes of one's addresses.
const actionManageEmail = guard.Action("manage_email")

const (
	// maxEmails is how many addresses a user may have.
	maxEmails = 10
	// revertWithin is how long a change of the primary address can be undone.
	revertWithin = 7 * 24 * time.Hour
)

// Emails lists the addresses of v's user, the primary one first.
func (p *Provider) Emails(ctx context.Context, v *Visit) ([]Email, error) {
	list, err := p.store.Emails(ctx, v.User.ID)
	return list, stored("list addresses", err)
}

// AddEmail mails a code to an address that is to be v's user's. It is theirs once VerifyOwnEmail took
// the code that in waits for: until then it is on no list, since that would tell whether it is
// another's, who gets a mail about it. Its errors are Denied with reauthenticate or mail_off,
// Throttled, Invalid, and Conflict with email_present or emails_too_many.
func (p *Provider) AddEmail(ctx context.Context, v *Visit, in *Interaction, address string) error {
	started := p.clock()
	if err := p.manageEmail(ctx, v); err != nil {
		return err
	}
	if err := p.needMail(); err != nil {
		return err
	}
	a, bad := addressOf(p.names, address)
	if bad != nil {
		return bad
	}
	own, err := p.store.Emails(ctx, v.User.ID)
	if err != nil {
		return stored("list addresses", err)
	}
	at := slices.IndexFunc(own, func(e Email) bool { return e.Key == a.Unique })
	switch {
	case at >= 0 && own[at].VerifiedAt != nil:
		return &Error{Kind: Conflict, Code: "email_present", Field: "email"}
	case at < 0 && len(own) >= maxEmails:
		return &Error{Kind: Conflict, Code: "emails_too_many", Field: "email", Args: map[string]any{"max": maxEmails}}
	}
	claims, err := p.store.Claims(ctx, a.Unique)
	if err != nil {
		return stored("find an address", err)
	}
	in.Ticket, err = p.askForAddress(ctx, v, a.Text, isProved(claims, v.User.ID))
	in.Proved = false
	p.answerAfter(ctx, started, 0)
	return err
}

// isProved tells whether an address, of which these are the claims, is verified as another's than a
// user's. A claim alone keeps nobody from proving that it is theirs.
func isProved(claims []Email, userID ID) bool {
	return slices.ContainsFunc(claims, func(e Email) bool { return e.UserID != userID && e.VerifiedAt != nil })
}

// isTaken is isProved for a sign-up, to which a claim without proof is as good where an address is
// on a list before it is proved.
func (p *Provider) isTaken(claims []Email, userID ID) bool {
	return isProved(claims, userID) ||
		!p.strict() && slices.ContainsFunc(claims, func(e Email) bool { return e.UserID != userID })
}

// manageEmail tells whether v's user may change their addresses now.
func (p *Provider) manageEmail(ctx context.Context, v *Visit) error {
	if err := p.sudo(v); err != nil {
		return err
	}
	_, err := p.guard.Spend(ctx, guard.Request{
		Attempt: actionManageEmail, Address: VisitorFrom(ctx).Address, Account: v.User.ID.String(), User: v.User.ID.String(),
	})
	return p.refused(ctx, "change an address", err)
}

// askForAddress mails a code to an address, and keeps its ticket. One that is taken is told so, and
// nobody is told its ticket's code.
func (p *Provider) askForAddress(ctx context.Context, v *Visit, address string, taken bool) (ID, error) {
	t, code, _ := p.newTicket(ctx, mailing{
		purpose: ForAddress, user: v.User, address: address, life: p.cfg.Email.Timeout, tries: p.cfg.Email.MaxAttempts,
	})
	kind, args := "verify_code", map[string]string{"code": code, "expires": t.ExpiresAt.Format(time.RFC3339)}
	if taken {
		kind, args = p.accountExists(existsForAddress)
	}
	err := p.changeOwn(ctx, "ask for an address", v, func(ctx context.Context, u User) error {
		if err := p.store.AddTicket(ctx, t); err != nil {
			return err
		}
		mail := Mail{Kind: kind, To: address, Locale: localeOf(u), Args: args}
		if err := p.enqueueMail(ctx, mail, p.oneOf(mail), p.Now()); err != nil {
			return err
		}
		return p.record(ctx, eventEmail("user.email_asked", v, address))
	})
	return t.ID, err
}

// VerifyOwnEmail takes the code that was mailed for in to an address, which is v's user's from then
// on; it and the others that they proved are told. Its errors are those of VerifyCode, and Conflict
// with email_taken where it is another's.
func (p *Provider) VerifyOwnEmail(ctx context.Context, v *Visit, in *Interaction, code string) error {
	t, err := p.checkCode(ctx, in.Ticket, code, ForAddress)
	if err != nil {
		return err
	}
	if t.UserID != v.User.ID {
		return codeOver()
	}
	err = p.changeOwn(ctx, "verify an address", v, func(ctx context.Context, u User) error {
		if _, err := p.redeem(ctx, t); err != nil {
			return err
		}
		if err := p.tellAdded(ctx, u, &v.Session, t.Address); err != nil {
			return err
		}
		if err := p.ownAddress(ctx, u, t.Address); err != nil {
			return err
		}
		if err := p.tellTo(ctx, u, t.Address, "email_verified", map[string]string{"email": t.Address}); err != nil {
			return err
		}
		return p.record(ctx, eventEmail("user.email_verified", v, t.Address))
	})
	if err == nil {
		in.Ticket, in.Proved = ID{}, false
	}
	return err
}

// tellAdded tells the addresses that u proved of another one, added in the session s, before it is theirs. The oldest, which
// no thief brought, gets a link that undoes it with all that was done since: to end the sessions
// would leave a thief an address that resets are mailed to.
func (p *Provider) tellAdded(ctx context.Context, u User, s *Session, address string) error {
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil || p.mailer == nil {
		return err
	}
	own = slices.DeleteFunc(own, func(e Email) bool { return e.VerifiedAt == nil })
	slices.SortStableFunc(own, func(a, b Email) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for i, e := range own {
		args := map[string]string{"email": address}
		if i == 0 {
			if args["not_me"], _, err = p.revertLink(ctx, u, s, undoing{e, address}); err != nil {
				return err
			}
		}
		if err := p.tellTo(ctx, u, e.Address, "email_added", args); err != nil {
			return err
		}
	}
	return nil
}

// An undoing makes one address the primary one again and removes another.
type undoing struct {
	to      Email
	another string
}

// revertLink makes a ticket in the Tx of ctx by which an address of u is the primary one again, and
// returns its address and when it ends. What goes with it is removed: another address, all that were
// added since, and the factors that were made since the session s began, in which it was done.
func (p *Provider) revertLink(ctx context.Context, u User, s *Session, what undoing) (link string, ends time.Time, err error) {
	since, err := p.suspectSince(ctx, u, s)
	if err != nil {
		return "", time.Time{}, err
	}
	key, _ := p.keyOf(what.another)
	t, _, token := p.newTicket(ctx, mailing{
		purpose: ForRevert, user: u, address: what.to.Address, life: revertWithin, payload: sinceThen(since, []byte(key)),
	})
	return p.cfg.Issuer + "/account/revert?ticket=" + token, t.ExpiresAt, p.store.AddTicket(ctx, t)
}

// ownAddress makes an address u's that they proved, in the Tx of ctx: others lose their claims to
// it. It is a Conflict with email_taken where another proved it before.
func (p *Provider) ownAddress(ctx context.Context, u User, address string) error {
	key, ok := p.keyOf(address)
	if !ok {
		return ErrNotFound
	}
	if err := p.dropClaims(ctx, key, u.ID); err != nil {
		return err
	}
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return err
	}
	now := p.Now()
	at := slices.IndexFunc(own, func(e Email) bool { return e.Key == key })
	if at < 0 {
		primary := !slices.ContainsFunc(own, func(e Email) bool { return e.Primary })
		err = p.store.AddEmail(ctx, Email{
			ID: NewID(now), UserID: u.ID, Address: address, Key: key, Primary: primary, VerifiedAt: &now, CreatedAt: now,
		})
	} else if own[at].VerifiedAt == nil {
		own[at].VerifiedAt = &now
		err = p.store.ChangeEmail(ctx, own[at])
	}
	if errors.Is(err, ErrConflict) {
		return &Error{Kind: Conflict, Code: "email_taken", Field: "email", Cause: err}
	}
	return err
}

// ownEmail finds an address of u in the Tx of ctx, with all of them.
func (p *Provider) ownEmail(ctx context.Context, u User, id ID) (e Email, all []Email, err error) {
	all, err = p.store.Emails(ctx, u.ID)
	if err != nil {
		return Email{}, nil, err
	}
	at := slices.IndexFunc(all, func(e Email) bool { return e.ID == id })
	if at < 0 {
		return Email{}, nil, ErrNotFound
	}
	return all[at], all, nil
}

// MakePrimary makes a verified address the primary one. The others are told, and the former one, if it is
// the older, can undo it for 7 days. Its errors are Denied with reauthenticate, Throttled, ErrNotFound, and Conflict
// with email_unverified.
func (p *Provider) MakePrimary(ctx context.Context, v *Visit, id ID) error {
	if err := p.manageEmail(ctx, v); err != nil {
		return err
	}
	return p.changeOwn(ctx, "change the primary address", v, func(ctx context.Context, u User) error {
		e, all, err := p.ownEmail(ctx, u, id)
		switch {
		case err != nil:
			return err
		case e.VerifiedAt == nil:
			return &Error{Kind: Conflict, Code: "email_unverified", Field: "email"}
		case e.Primary:
			return nil
		}
		e.Primary = true
		if err := p.store.ChangeEmail(ctx, e); err != nil {
			return err
		}
		if err := p.store.EndTickets(ctx, u.ID, p.Now(), ForReset, ForLogIn); err != nil {
			return err
		}
		for _, other := range all {
			if err := p.tellPrimary(ctx, u, &v.Session, other, e); err != nil {
				return err
			}
		}
		return p.record(ctx, eventEmail("user.email_primary_changed", v, e.Address))
	})
}

// tellPrimary tells an address of u that another one, or itself, is the primary one now, by what was
// done in the session s. to is as it was before: the one that was the primary one gets the link by which
// that is undone, unless it came later than the present one. Else who takes a thief's address off again
// would mail the thief a way back.
func (p *Provider) tellPrimary(ctx context.Context, u User, s *Session, to, primary Email) error {
	if to.VerifiedAt == nil {
		return nil
	}
	if !to.Primary || to.CreatedAt.After(primary.CreatedAt) {
		return p.tellTo(ctx, u, to.Address, "email_primary_changed", map[string]string{"email": primary.Address})
	}
	link, ends, err := p.revertLink(ctx, u, s, undoing{to, primary.Address})
	if err != nil {
		return err
	}
	return p.tellTo(ctx, u, to.Address, "email_revert", map[string]string{
		"email": primary.Address, "expires": ends.Format(time.RFC3339), "link": link,
	})
}

// RemoveEmail removes an address, but not the primary one (Conflict with email_primary). All verified
// addresses are told, that one too.
func (p *Provider) RemoveEmail(ctx context.Context, v *Visit, id ID) error {
	if err := p.manageEmail(ctx, v); err != nil {
		return err
	}
	return p.changeOwn(ctx, "remove an address", v, func(ctx context.Context, u User) error {
		e, _, err := p.ownEmail(ctx, u, id)
		if err != nil {
			return err
		}
		if e.Primary {
			return &Error{Kind: Conflict, Code: "email_primary", Field: "email"}
		}
		if err := p.tellAlarmed(ctx, u, &v.Session, "email_removed", map[string]string{"email": e.Address}); err != nil {
			return err
		}
		if err := p.store.RemoveEmail(ctx, u.ID, id); err != nil {
			return err
		}
		if err := p.store.EndTickets(ctx, u.ID, p.Now(), ForReset, ForLogIn, ForAddress); err != nil {
			return err
		}
		return p.record(ctx, eventEmail("user.email_removed", v, e.Address))
	})
}

// RevertEmail redeems the link that a former primary address was sent: it is the primary one again.
// What took its place and whatever was added since is removed, factors too, every session ends, the
// password is void, and the address is mailed a link for a new one. A deletion that was asked for is off. Its
// error is Denied with link_over, and Conflict where the address is another's by now.
func (p *Provider) RevertEmail(ctx context.Context, token string) error {
	t, err := p.openLink(ctx, ForRevert, token)
	if err != nil {
		return err
	}
	payload, err := p.payload(&t)
	if err != nil {
		return err
	}
	since, usurper, err := readSince(payload)
	if err != nil {
		return err
	}
	void, err := p.voidPassword(ctx, t.UserID)
	if err != nil {
		return err
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		u, err := p.redeem(ctx, t)
		if err != nil {
			return ofLink(err)
		}
		if err := p.restoreAddress(ctx, u, &t, string(usurper)); err != nil {
			return err
		}
		// A thief whose address was the oldest one for a while has such links, too: the first of all wins.
		if err := p.store.EndLaterTickets(ctx, t, p.Now()); err != nil {
			return err
		}
		if u, err = p.store.User(ctx, u.ID); err != nil { // as the addresses left it
			return err
		}
		if u.DeleteAt != nil {
			u.Status, u.DeleteAt = Active, nil
		}
		removed, err := p.secure(ctx, u, rescue{why: "email_reverted", since: since, void: void, address: t.Address})
		if err != nil {
			return err
		}
		e := Event{Kind: "user.email_reverted", Actor: u.ID.String(), UserID: u.ID, Details: Details{"email": t.Address}}
		if len(removed) > 0 {
			e.Details["removed"] = removed
		}
		return p.record(ctx, e)
	})
	return stored("undo a change of the primary address", err)
}

// restoreAddress makes t's address the primary one of u again, in the Tx of ctx.
func (p *Provider) restoreAddress(ctx context.Context, u User, t *Ticket, usurper string) error {
	if err := p.store.ChangeUser(ctx, u, u.Epoch); err != nil { // locks it
		return err
	}
	key, _ := p.keyOf(t.Address)
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return err
	}
	now := p.Now()
	former := Email{ID: NewID(now), UserID: u.ID, Address: t.Address, Key: key, Primary: true, VerifiedAt: &now, CreatedAt: now}
	keep := p.store.AddEmail
	for _, e := range own {
		switch {
		case e.Key == key:
			former.ID, former.CreatedAt, keep = e.ID, e.CreatedAt, p.store.ChangeEmail
		case e.Key == usurper, e.CreatedAt.After(t.CreatedAt):
			if err := p.store.RemoveEmail(ctx, u.ID, e.ID); err != nil {
				return err
			}
		}
	}
	if err := keep(ctx, former); errors.Is(err, ErrConflict) {
		return &Error{Kind: Conflict, Code: "email_taken", Cause: err}
	} else if err != nil {
		return err
	}
	return nil
}

// ConfirmEmail makes an address of a user one that they proved, for an operator who knows that it is
// theirs: their primary one for "". Others who claimed it lose it, and the user, whom it returns, is
// told. Nothing is done where it is verified. It returns ErrNotFound where the user has no such
// address; its error is Conflict with email_taken where it is verified as another's.
func (p *Provider) ConfirmEmail(ctx context.Context, id ID, address string) (User, error) {
	var confirmed User
	err := p.changeUser(ctx, "confirm an address", id, func(ctx context.Context, u User) error {
		if err := p.confirmEmail(ctx, u, address); err != nil {
			return err
		}
		var err error
		confirmed, err = p.store.User(ctx, id)
		return err
	})
	return confirmed, err
}

func (p *Provider) confirmEmail(ctx context.Context, u User, address string) error {
	key := u.EmailKey
	if address != "" {
		key, _ = p.keyOf(address)
	}
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(own, func(e Email) bool { return e.Key == key })
	if at < 0 {
		return ErrNotFound
	}
	if own[at].VerifiedAt != nil {
		return nil
	}
	if err := p.ownAddress(ctx, u, own[at].Address); err != nil {
		return err
	}
	if err := p.tellAdminChange(ctx, u, "email"); err != nil {
		return err
	}
	e := eventEmailVerified(u, own[at].Address)
	e.Actor = "" // not the user
	return p.record(ctx, e)
}

// tell sends a mail of a kind to every verified address of u, if the Tx of ctx is committed: what
// was done, and as far as the visitor of ctx tells from where.
func (p *Provider) tell(ctx context.Context, u User, kind string, args map[string]string) error {
	if p.mailer == nil {
		return nil
	}
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return err
	}
	for _, e := range own {
		if e.VerifiedAt == nil {
			continue
		}
		if err := p.tellTo(ctx, u, e.Address, kind, args); err != nil {
			return err
		}
	}
	return nil
}

// tellTo is tell for one address of u.
func (p *Provider) tellTo(ctx context.Context, u User, address, kind string, args map[string]string) error {
	m := p.newMailTo(ctx, u, address, kind)
	maps.Copy(m.Args, args)
	return p.enqueueMail(ctx, m, "", p.Now())
}

// newMailTo is a mail to an address of u, with what every one of its kind says.
func (p *Provider) newMailTo(ctx context.Context, u User, address, kind string) Mail {
	m := Mail{Kind: kind, To: address, Locale: localeOf(u), Args: greeting(u), At: p.Now()}
	v := VisitorFrom(ctx)
	if v.Address.IsValid() {
		m.Args["address"] = v.Address.String()
	}
	if v.UserAgent != "" {
		m.Args["user_agent"] = guard.Clean(v.UserAgent, maxAttemptText)
	}
	return m
}

// tellByOperator is tell for what an operator did, of whom it says nothing.
func (p *Provider) tellByOperator(ctx context.Context, u User, kind string, args map[string]string) error {
	return p.tell(WithVisitor(ctx, nobody), u, kind, args)
}

// tellAdminChange tells u what an operator changed: words that the mail knows, joined with commas.
func (p *Provider) tellAdminChange(ctx context.Context, u User, changes string) error {
	return p.tellByOperator(ctx, u, "admin_changed", map[string]string{"changes": changes})
}

// greeting are the Args of every mail to u at an address that they proved.
func greeting(u User) map[string]string {
	args := map[string]string{"name": cmp.Or(u.Profile.Name, u.Profile.GivenName, u.Username)}
	if u.Profile.Zoneinfo != "" {
		args["zone"] = u.Profile.Zoneinfo
	}
	return args
}

func localeOf(u User) string { return cmp.Or(u.Locale, u.Profile.Locale) }

func eventEmail(kind string, v *Visit, address string) Event {
	return Event{
		Kind: kind, Actor: v.User.ID.String(), UserID: v.User.ID, SessionID: v.Session.ID, Details: Details{"email": address},
	}
}
