package idp

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// alarmLife is how long "this wasn't me" works.
const alarmLife = 7 * 24 * time.Hour

// tellAlarmed is tell with the link of those who did not do it; s is the session in which it was done,
// nil for none.
//
// Everybody whose address is u's gets one, also a thief who added theirs, so that not every link may
// take factors off: the thief's would strip the owner of the passkey with which they secure themselves.
// An address is taken for the owner's where it is the oldest one, or was there for longer than the
// oldest one may undo that it was added. The link of any other ends sessions and the password alone.
func (p *Provider) tellAlarmed(ctx context.Context, u User, s *Session, kind string, args map[string]string) error {
	if p.mailer == nil {
		return nil
	}
	own, err := p.store.Emails(ctx, u.ID)
	if err != nil {
		return err
	}
	own = slices.DeleteFunc(own, func(e Email) bool { return e.VerifiedAt == nil })
	slices.SortStableFunc(own, func(a, b Email) int { return a.CreatedAt.Compare(b.CreatedAt) })
	began, err := p.suspectSince(ctx, u, s)
	if err != nil {
		return err
	}
	links := map[bool]string{}
	for i, e := range own {
		owners := i == 0 || !e.VerifiedAt.After(p.Now().Add(-revertWithin))
		if links[owners] == "" {
			since := began
			if !owners {
				since = time.Time{}
			}
			if links[owners], err = p.alarmLink(ctx, u, s, since); err != nil {
				return err
			}
		}
		alarmed := map[string]string{"not_me": links[owners]}
		maps.Copy(alarmed, args)
		if err := p.tellTo(ctx, u, e.Address, kind, alarmed); err != nil {
			return err
		}
	}
	return nil
}

// suspectSince is from when on whoever had the session s of u may have made factors: since it began,
// where there is none since now. A passkey by which it was proved, and that is younger than an alarm
// lives, was as likely made by a thief, in a session before: nobody signs in by somebody else's. Older
// ones had an alarm of their own, and codes of an app can be wheedled out of whose it is.
func (p *Provider) suspectSince(ctx context.Context, u User, s *Session) (time.Time, error) {
	if s == nil {
		return p.Now(), nil
	}
	since := s.CreatedAt
	if !slices.ContainsFunc(s.Methods, func(m Method) bool { return m.Name == MethodPasskey }) {
		return since, nil
	}
	list, err := p.store.Factors(ctx, u.ID)
	if err != nil {
		return time.Time{}, err
	}
	for i := range list {
		a := &list[i]
		proved := slices.ContainsFunc(s.Methods, func(m Method) bool { return m.Name == MethodPasskey && m.Authenticator == a.ID })
		if proved && a.CreatedAt.Before(since) && a.CreatedAt.After(s.CreatedAt.Add(-alarmLife)) {
			since = a.CreatedAt
		}
	}
	return since, nil
}

// alarmLink makes a ticket for "this wasn't me" in the Tx of ctx and returns its address. It is about
// the session s, nil for all of them, and takes off the factors that were made from since on, none
// where that is zero.
func (p *Provider) alarmLink(ctx context.Context, u User, s *Session, since time.Time) (string, error) {
	var session ID
	if s != nil {
		session = s.ID
	}
	t, _, link := p.newTicket(ctx, mailing{
		purpose: ForAlarm, user: u, address: u.Email, life: alarmLife, payload: sinceThen(since, session[:]),
	})
	if err := p.store.AddTicket(ctx, t); err != nil {
		return "", err
	}
	return p.cfg.Issuer + "/secure/" + link, nil
}

// sinceThen is a payload that begins with a moment: its millisecond, which is not after it, in 8 bytes.
func sinceThen(since time.Time, rest []byte) []byte {
	var ms uint64
	if !since.IsZero() {
		ms = uint64(since.UnixMilli())
	}
	return append(binary.BigEndian.AppendUint64(nil, ms), rest...)
}

// readSince reads what sinceThen made.
func readSince(payload []byte) (since time.Time, rest []byte, err error) {
	if len(payload) < 8+1 {
		return time.Time{}, nil, errors.New("a ticket without its moment")
	}
	if ms := binary.BigEndian.Uint64(payload); ms != 0 {
		since = time.UnixMilli(int64(ms)).UTC()
	}
	return since, payload[8:], nil
}

// WasNotMe redeems the link of a mail about a sign-in or a change: whoever has a session knows the
// password, so that all sessions end with what hangs on them, the password is void, factors that were
// made since that session began are removed, and the primary address is mailed a reset (S0-61). The
// link by itself lets nobody in. Its error is Denied with link_over.
func (p *Provider) WasNotMe(ctx context.Context, token string) error {
	t, err := p.openLink(ctx, ForAlarm, token)
	if err != nil {
		return err
	}
	payload, err := p.payload(&t)
	if err != nil {
		return err
	}
	since, about, err := readSince(payload)
	if err != nil {
		return err
	}
	var session ID
	copy(session[:], about)
	void, err := p.voidPassword(ctx, t.UserID)
	if err != nil {
		return err
	}
	return p.changeUser(ctx, "secure an account", t.UserID, func(ctx context.Context, _ User) error {
		u, err := p.redeem(ctx, t)
		if err != nil {
			return ofLink(err)
		}
		removed, err := p.secure(ctx, u, rescue{why: "not_me", since: since, void: void, address: u.Email})
		if err != nil {
			return err
		}
		e := Event{Kind: "user.alarmed", Actor: u.ID.String(), UserID: u.ID, SessionID: session}
		if len(removed) > 0 {
			e.Details = Details{"removed": removed}
		}
		return p.record(ctx, e)
	})
}

// voidPassword is a password of a user that nobody knows, zero for a user who has none.
func (p *Provider) voidPassword(ctx context.Context, userID ID) (Authenticator, error) {
	if _, err := p.store.Password(ctx, userID); errors.Is(err, ErrNotFound) {
		return Authenticator{}, nil
	} else if err != nil {
		return Authenticator{}, stored("find a password", err)
	}
	var unknown [32]byte
	rand.Read(unknown[:])
	hash, err := p.hasher.Hash(ctx, base64.RawURLEncoding.EncodeToString(unknown[:]))
	if err != nil {
		return Authenticator{}, hashing("hash a password that nobody knows", err)
	}
	return p.passwordOf(User{ID: userID}, hash), nil
}

// A rescue is what is taken from a thief.
type rescue struct {
	why     string
	since   time.Time     // factors made from then on are removed; zero for none
	void    Authenticator // takes the place of the password; zero where there is none
	address string        // that a reset is mailed to
}

// secure ends all that a thief may have of u, in the Tx of ctx: sessions, grants, open tickets, the
// password and factors, and mails a reset, which tells it. It returns words for what was removed.
//
// Who has a voided password owes no StepChange, as who has a lent one: nobody knows it, so that whoever
// gets so far came by something else, and would choose the password of the account by that. A reset is
// the one way to another. A passkey from before is the owner's and signs in all the same.
func (p *Provider) secure(ctx context.Context, u User, r rescue) (removed []string, err error) {
	if err := p.store.ChangeUser(ctx, u, u.Epoch); err != nil { // locks it: no recovery codes are made meanwhile
		return nil, err
	}
	if removed, err = p.dropFactors(ctx, &u, r); err != nil {
		return nil, err
	}
	if r.void.Secret != "" {
		u.MustChangePassword = false
	}
	if _, _, err := p.raiseEpoch(ctx, &u, r.why); err != nil {
		return nil, err
	}
	if r.void.Secret != "" {
		if err := p.store.PutPassword(ctx, r.void); err != nil {
			return nil, err
		}
	}
	if err := p.store.EndTickets(ctx, u.ID, p.Now(), ForReset, ForLogIn, ForAddress); err != nil {
		return nil, err
	}
	if u.Status != Active || r.address == "" {
		return removed, nil
	}
	m := p.newMailTo(ctx, u, r.address, "secured")
	m.Args["removed"] = strings.Join(removed, ",")
	if r.void.Secret != "" {
		m.Args["password"] = "void"
	}
	// Its ticket replaces none that a stranger asked for, who would see it.
	_, err = p.keepReset(ctx, mailing{user: u, address: r.address}, m)
	return removed, err
}

// dropFactors removes the factors and recovery codes of u that were made from r.since on, in the Tx of
// ctx, and writes them into u, which its caller stores. Recovery codes without a factor go too.
func (p *Provider) dropFactors(ctx context.Context, u *User, r rescue) (removed []string, err error) {
	if r.since.IsZero() {
		return nil, nil
	}
	list, err := p.store.Factors(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	var gone, left []Authenticator
	for _, a := range list {
		if a.CreatedAt.Before(r.since) {
			left = append(left, a)
		} else {
			gone = append(gone, a)
		}
	}
	u.Factors = factorsOf(left)
	if !u.HasFactor() {
		gone = list
	}
	if len(gone) == 0 {
		return nil, nil
	}
	var ids []ID
	for i := range gone {
		a := &gone[i]
		ids = append(ids, a.ID)
		word := a.Kind.word()
		if a.Setup.IsZero() && !slices.Contains(removed, word) {
			removed = append(removed, word)
		}
		if a.Kind == RecoveryKind || !a.Setup.IsZero() {
			continue
		}
		err := p.record(ctx, Event{
			Kind: "user.factor_removed", Actor: u.ID.String(), UserID: u.ID,
			Details: Details{"authenticator": a.ID, "factor": word, "why": r.why},
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(removed)
	_, err = p.store.RemoveFactors(ctx, u.ID, ids...)
	return removed, err
}
