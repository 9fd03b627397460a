package idp

import (
	"context"
	"errors"
	"time"
)

// A Consent is what a user allowed a client, and when.
type Consent struct {
	UserID   ID
	ClientID string
	Scopes   List
	Claims   List // names asked for by the claims parameter, beyond those of the scopes
	// Version rises with every decision; an interaction names the one that it made (I-5).
	Version int64
	// Floor is the oldest version whose grants live: withdrawing raises it above Version's old
	// value, giving more does not (I-2).
	Floor     int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Covers tells whether c allows every one of scopes and claims. A nil consent covers nothing, nor
// does one that was withdrawn, not even a request for no scope.
func (c *Consent) Covers(scopes, claims []string) bool {
	if c == nil || c.withdrawn() {
		return false
	}
	return containsAll(c.Scopes, scopes) && containsAll(c.Claims, claims)
}

// withdrawn tells whether nothing was allowed since it was withdrawn last.
func (c *Consent) withdrawn() bool { return c.Floor > 0 && c.Version <= c.Floor }

// ConsentStore keeps consents.
type ConsentStore interface {
	// Consent returns ErrNotFound where the user never decided.
	Consent(ctx context.Context, userID ID, clientID string) (Consent, error)
	// PutConsent adds the scopes and claims of c to what was allowed before, raises the version,
	// and returns the row as it now stands.
	PutConsent(ctx context.Context, c Consent) (Consent, error)
	// WithdrawConsent empties scopes and claims, raises Version and sets Floor to it.
	WithdrawConsent(ctx context.Context, userID ID, clientID string, now time.Time) error
	// Consents lists a user's, at most limit.
	Consents(ctx context.Context, userID ID, limit int) ([]Consent, error)
}

// GiveConsent records that the user of v allows what in asks for, and sets in.Consented. Whether
// in still holds what was shown is for the caller to ask (I-6). It is Throttled where the user
// answers too often.
func (p *Provider) GiveConsent(ctx context.Context, in *Interaction, v *Visit) error {
	if err := p.SpendConsent(ctx, v.User); err != nil {
		return err
	}
	now := p.Now()
	asked := Consent{
		UserID: v.User.ID, ClientID: in.Request.ClientID,
		Scopes: in.Request.Scopes, Claims: in.Request.Claims.Names(),
		CreatedAt: now, UpdatedAt: now,
	}
	var given Consent
	app := p.appName(ctx, asked.ClientID)
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		var err error
		if given, err = p.store.PutConsent(ctx, asked); err != nil {
			return err
		}
		if v.Consent == nil { // an app that is new to them
			err := p.tellAlarmed(ctx, v.User, &v.Session, "consent_given", map[string]string{"app": app, "link": p.cfg.Issuer + "/account/apps"})
			if err != nil {
				return err
			}
		}
		return p.record(ctx, eventConsentGiven(v, asked, given.Version))
	})
	if err != nil {
		return stored("give consent", err)
	}
	in.Consented, in.Doer = given.Version, v.User.ID
	v.Consent = &given
	return nil
}

// WithdrawConsent takes back what a user allowed a client, and revokes its grants. Grants that are
// on their way rest on an older version than the consent's floor, and are dead (I-2).
func (p *Provider) WithdrawConsent(ctx context.Context, userID ID, clientID string) error {
	return p.withdrawConsent(ctx, userID, clientID, "")
}

// withdrawConsent does so; actor is that of the event.
func (p *Provider) withdrawConsent(ctx context.Context, userID ID, clientID, actor string) error {
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		now := p.Now()
		err := p.store.WithdrawConsent(ctx, userID, clientID, now)
		if err != nil && !errors.Is(err, ErrNotFound) { // a first-party client has grants without one
			return err
		}
		grants, err := p.store.RevokeGrants(ctx, GrantFilter{UserID: userID, ClientID: clientID}, WhyWithdrawn, now)
		if err != nil {
			return err
		}
		e := eventConsentWithdrawn(userID, clientID, grants)
		e.Actor = actor
		return p.record(ctx, e)
	})
	return stored("withdraw consent", err)
}

// Consents lists what a user allowed.
func (p *Provider) Consents(ctx context.Context, userID ID, limit int) ([]Consent, error) {
	list, err := p.store.Consents(ctx, userID, bounded(limit))
	return list, stored("list consents", err)
}

func eventConsentGiven(v *Visit, c Consent, version int64) Event {
	return Event{
		Kind: "consent.given", Actor: c.UserID.String(), UserID: c.UserID, ClientID: c.ClientID, SessionID: v.Session.ID,
		Details: Details{"scopes": c.Scopes, "claims": c.Claims, "version": version},
	}
}

func eventConsentWithdrawn(userID ID, clientID string, grants int) Event {
	return Event{Kind: "consent.withdrawn", UserID: userID, ClientID: clientID, Details: Details{"grants_revoked": grants}}
}
