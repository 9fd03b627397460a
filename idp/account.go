package idp

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// What somebody who is signed in may do with their own account. Deeds that are sensitive want a
// fresh proof of who they are: their error is Denied with the code reauthenticate where it is older
// than sudo.timeout.

// Place is about where an address is, as Session.Address has it, in the words of a language (BCP 47);
// "" where nobody knows.
func (p *Provider) Place(address, locale string) (city, country string) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "", ""
	}
	place := p.places.Of(a, locale)
	return place.City, place.Country
}

// ChangeProfile writes the claims of v's user. Another telephone number is not verified, and wants a
// fresh proof. preferred_username stays as it is: relying parties take it for a name that its user
// did not choose. Its errors are Invalid with all that is wrong, and Denied with reauthenticate.
func (p *Provider) ChangeProfile(ctx context.Context, v *Visit, profile Profile) error {
	if bad := profile.check(); bad != nil {
		return bad
	}
	if profile.PhoneNumber != v.User.Profile.PhoneNumber {
		if err := p.sudo(v); err != nil {
			return err
		}
	}
	return p.changeOwn(ctx, "change a profile", v, func(ctx context.Context, u User) error {
		profile.PreferredUsername = u.Profile.PreferredUsername
		profile.PhoneVerified = u.Profile.PhoneVerified && profile.PhoneNumber == u.Profile.PhoneNumber
		changed := changedClaims(u.Profile, profile)
		if len(changed) == 0 {
			return nil
		}
		u.Profile = profile
		if err := p.store.ChangeUser(ctx, u, u.Epoch); err != nil {
			return err
		}
		return p.record(ctx, Event{
			Kind: "user.profile_changed", Actor: u.ID.String(), UserID: u.ID, SessionID: v.Session.ID,
			Details: Details{"claims": changed},
		})
	})
}

// changedClaims are the names of the claims that differ.
func changedClaims(a, b Profile) List {
	var names List
	before, after := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range before.NumField() {
		if !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			name, _, _ := strings.Cut(before.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}

// maxLocale bounds the tag of a language (BCP 47 §4.4.1).
const maxLocale = 35

// ChooseLocale writes the language of v's user's pages and mails, "" for what their browser asks for.
// Its error is Invalid with locale_invalid.
func (p *Provider) ChooseLocale(ctx context.Context, v *Visit, tag string) error {
	if tag != "" && (len(tag) > maxLocale || !goodLocale(tag)) {
		return invalid("locale_invalid", "locale", nil)
	}
	return p.changeOwn(ctx, "choose a language", v, func(ctx context.Context, u User) error {
		u.Locale = tag
		return p.store.ChangeUser(ctx, u, u.Epoch)
	})
}

// An OwnSession is a session as its user sees it.
type OwnSession struct {
	Session
	Current bool
	New     bool     // signed in by a browser that was not known before
	Apps    []Client // that have a live grant of it, at most a dozen
}

// maxOwnApps is how many relying parties stand beside a session.
const maxOwnApps = 12

// OwnSessions lists the live sessions of v's user, newest first.
func (p *Provider) OwnSessions(ctx context.Context, v *Visit) ([]OwnSession, error) {
	list, err := p.store.Sessions(ctx, v.User.ID, ID{}, p.Now(), maxList)
	if err != nil {
		return nil, stored("list sessions", err)
	}
	grants, err := p.liveGrants(ctx, v.User)
	if err != nil {
		return nil, err
	}
	news, err := p.newSignIns(ctx, v.User.ID, p.Now().Add(-p.cfg.Sessions.Lifetime))
	if err != nil {
		return nil, err
	}
	var own []OwnSession
	for _, s := range list {
		if s.State != Live || !s.Alive(&v.User, p.Now()) {
			continue
		}
		o := OwnSession{Session: s, Current: s.ID == v.Session.ID, New: news[s.ID]}
		if o.Apps, err = p.appsOf(ctx, s.ID, grants); err != nil {
			return nil, err
		}
		own = append(own, o)
	}
	return own, nil
}

// appsOf are the relying parties that have a grant of a session.
func (p *Provider) appsOf(ctx context.Context, session ID, grants []Grant) ([]Client, error) {
	var apps []Client
	seen := make(map[string]bool)
	for i := range grants {
		id := grants[i].ClientID
		if grants[i].SessionID != session || seen[id] || len(apps) == maxOwnApps {
			continue
		}
		seen[id] = true
		c, err := p.Client(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		apps = append(apps, *c)
	}
	return apps, nil
}

// newSignIns are the sessions since a time that were made in a browser which was not known.
func (p *Provider) newSignIns(ctx context.Context, userID ID, since time.Time) (map[ID]bool, error) {
	news := make(map[ID]bool)
	events, err := p.store.EventsOf(ctx, userID, ID{}, maxList)
	if err != nil {
		return nil, stored("list events", err)
	}
	for i := range events {
		e := &events[i]
		if e.Kind == kindSignedIn && e.Details["new_device"] == true && !e.At.Before(since) {
			news[e.SessionID] = true
		}
	}
	return news, nil
}

// EndOwnSession ends a session of v's user with all tokens that were given in it, or all but the
// present one for the zero id. It is ErrNotFound where the session is nobody's or another's.
func (p *Provider) EndOwnSession(ctx context.Context, v *Visit, id ID) (ended int, err error) {
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		var ids []ID
		var err error
		if ids, err = p.endOwn(ctx, v, id); err != nil {
			return err
		}
		ended = len(ids)
		for _, id := range ids {
			f := GrantFilter{UserID: v.User.ID, SessionID: id}
			if _, err := p.store.RevokeGrants(ctx, f, "user", p.Now()); err != nil {
				return err
			}
			e := eventSessionEnded(id, v.User.ID, "user")
			e.Actor = v.User.ID.String()
			if err := p.record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, stored("end a session", err)
}

func (p *Provider) endOwn(ctx context.Context, v *Visit, id ID) ([]ID, error) {
	if id.IsZero() {
		return p.store.EndSessions(ctx, v.User.ID, v.Session.ID, "user", p.Now())
	}
	found, err := p.store.Visit(ctx, id, "")
	if err != nil {
		return nil, err
	}
	if found.User.ID != v.User.ID {
		return nil, ErrNotFound
	}
	done, err := p.store.EndSession(ctx, id, "user", p.Now())
	if err == nil && !done {
		err = ErrNotFound
	}
	return []ID{id}, err
}

// A Checklist is what the overview of an account advises.
type Checklist struct {
	HasPassword    bool
	EmailVerified  bool
	OtherSessions  int
	UnknownDevices int // sign-ins by browsers that were not known, in the last 30 days
	HasFactor      bool
	HasPasskey     bool
	RecoveryLeft   int // recovery codes that can be used still
}

// checkedDays is how far back the checklist looks.
const checkedDays = 30 * 24 * time.Hour

// Checklist judges the account of v's user.
func (p *Provider) Checklist(ctx context.Context, v *Visit) (Checklist, error) {
	c := Checklist{
		EmailVerified: v.User.EmailVerified, HasFactor: v.User.HasFactor(),
		HasPasskey: slices.Contains(v.User.Factors, factorPasskey),
	}
	codes, err := p.store.RecoveryCodes(ctx, v.User.ID)
	if err != nil {
		return Checklist{}, stored("list recovery codes", err)
	}
	c.RecoveryLeft = unused(codes)
	_, err = p.store.Password(ctx, v.User.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Checklist{}, stored("find a password", err)
	}
	c.HasPassword = err == nil
	list, err := p.store.Sessions(ctx, v.User.ID, ID{}, p.Now(), maxList)
	if err != nil {
		return Checklist{}, stored("list sessions", err)
	}
	for i := range list {
		if list[i].ID != v.Session.ID && list[i].State == Live && list[i].Alive(&v.User, p.Now()) {
			c.OtherSessions++
		}
	}
	news, err := p.newSignIns(ctx, v.User.ID, p.Now().Add(-checkedDays))
	c.UnknownDevices = len(news)
	return c, err
}

// DeleteOwn turns v's user off at once and deletes them after account.delete_grace, unless the link
// that is mailed undoes it. Its error is Denied with reauthenticate.
func (p *Provider) DeleteOwn(ctx context.Context, v *Visit) (at time.Time, err error) {
	if err := p.sudo(v); err != nil {
		return time.Time{}, err
	}
	err = p.changeOwn(ctx, "delete an account", v, func(ctx context.Context, u User) error {
		at = p.Now().Add(p.cfg.Account.DeleteGrace)
		if p.cfg.Account.DeleteGrace == 0 {
			return p.deleteUser(ctx, u)
		}
		u.Status, u.DeleteAt = Disabled, &at
		sessions, grants, err := p.raiseEpoch(ctx, &u, "deletion")
		if err != nil {
			return err
		}
		if err := p.store.EndTickets(ctx, u.ID, p.Now(), ForReset, ForLogIn, ForAddress); err != nil {
			return err
		}
		if err := p.tellDeletion(ctx, u); err != nil {
			return err
		}
		return p.record(ctx, Event{
			Kind: "user.deletion_asked", Actor: u.ID.String(), UserID: u.ID,
			Details: Details{"at": at.Format(time.RFC3339), "sessions_ended": sessions, "grants_revoked": grants},
		})
	})
	return at, err
}

// tellDeletion mails u until when the deletion can be undone, and how.
func (p *Provider) tellDeletion(ctx context.Context, u User) error {
	t, _, link := p.newTicket(ctx, mailing{
		purpose: ForUndelete, user: u, address: u.Email, life: p.cfg.Account.DeleteGrace,
	})
	if err := p.store.AddTicket(ctx, t); err != nil {
		return err
	}
	return p.tell(ctx, u, "account_deletion", map[string]string{
		"until": u.DeleteAt.Format(time.RFC3339), "link": p.cfg.Issuer + "/account/undelete?ticket=" + link,
	})
}

// Undelete redeems that link. What was ended stays ended. Its error is Denied with link_over, also
// where an operator turned the user off meanwhile.
func (p *Provider) Undelete(ctx context.Context, token string) error {
	t, err := p.openLink(ctx, ForUndelete, token)
	if err != nil {
		return err
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		u, err := p.redeem(ctx, t)
		if err != nil {
			return ofLink(err)
		}
		if u.DeleteAt == nil || !p.Now().Before(*u.DeleteAt) {
			return linkOver()
		}
		u.Status, u.DeleteAt, u.UpdatedAt = Active, nil, p.Now()
		if err := p.store.ChangeUser(ctx, u, u.Epoch); err != nil {
			return err
		}
		return p.record(ctx, Event{Kind: "user.deletion_undone", Actor: u.ID.String(), UserID: u.ID})
	})
	return stored("keep an account", err)
}

// deletionsEvery is how often those are deleted whose time is over.
const deletionsEvery = 10 * time.Minute

// deleteDue is the chore that deletes the users who asked for it and did not come back in time.
func (p *Provider) deleteDue(ctx context.Context) error {
	due, err := p.store.UsersToDelete(ctx, p.Now(), maxList)
	if err != nil {
		return err
	}
	for i := range due {
		err := p.changeUser(ctx, "delete who asked for it", due[i].ID, func(ctx context.Context, u User) error {
			if u.DeleteAt == nil || p.Now().Before(*u.DeleteAt) {
				return nil
			}
			return p.deleteUser(ctx, u)
		})
		if err != nil && !errors.Is(err, ErrNotFound) { // another node was first
			return err
		}
	}
	return nil
}
