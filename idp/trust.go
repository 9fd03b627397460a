package idp

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

// A TrustedBrowser is a browser in which the second factor of its user is not asked for.
type TrustedBrowser struct {
	Hash      string // of its cookie, hex: names it
	UserAgent string
	Address   string
	SeenAt    time.Time
	Until     time.Time
	Current   bool // whether it is the visitor's
}

// MayTrust tells whether u's browser can be trusted: the settings allow it, and u is no administrator.
func (p *Provider) MayTrust(u *User) bool { return p.cfg.MFA.TrustedBrowser.Enabled && !u.Admin }

// trusts tells whether the visitor's browser is trusted by u.
func (p *Provider) trusts(ctx context.Context, u *User) (bool, error) {
	v := VisitorFrom(ctx)
	if !p.MayTrust(u) || v.Device == [32]byte{} {
		return false, nil
	}
	d, err := p.store.Device(ctx, u.ID, v.Device[:], p.Now())
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && d.trusted(p.Now()), stored("find a trusted browser", err)
}

// trusted tells whether d is trusted at now.
func (d *Device) trusted(now time.Time) bool {
	return d.TrustedUntil != nil && now.Before(*d.TrustedUntil)
}

// EndTrust ends the trust of v's user in one browser, or in all of them where hash is empty. It is
// ErrNotFound for what is not theirs. What rested on it owes the second factor at the next sign-in to
// an app: so does, since no session knows its browser, what rests on the trust in another.
func (p *Provider) EndTrust(ctx context.Context, v *Visit, hash string) error {
	return p.changeOwn(ctx, "end the trust in a browser", v, func(ctx context.Context, u User) error {
		devices, err := p.store.Devices(ctx, u.ID, p.Now())
		if err != nil {
			return err
		}
		ended := 0
		for _, d := range devices {
			if !d.trusted(p.Now()) || hash != "" && hex.EncodeToString(d.Hash) != hash {
				continue
			}
			d.TrustedUntil = nil
			if err := p.store.MarkDevice(ctx, d); err != nil {
				return err
			}
			ended++
		}
		if ended == 0 && hash != "" {
			return ErrNotFound
		}
		// Also where the time of all browsers is over: sessions are longer than that.
		if err := p.store.LiftSessions(ctx, u.ID, u.Epoch, u.Epoch); err != nil || ended == 0 {
			return err
		}
		return p.record(ctx, eventTrustEnded(v.Session, ended))
	})
}

// OfferPasskey tells whether a passkey is to be offered to the one who has just signed in in v's
// session by password: none was in this browser, they have none, and they may have one. It notes that
// it was.
func (p *Provider) OfferPasskey(ctx context.Context, v *Visit) (bool, error) {
	hash, u := VisitorFrom(ctx).Device, &v.User
	policy, _ := p.factorRules.of(u)
	byPassword := slices.ContainsFunc(v.Session.Methods, func(m Method) bool { return m.Name == MethodPassword })
	if !p.cfg.MFA.WebAuthn.Offer || policy == FactorsOff || !byPassword || hash == [32]byte{} || v.Session.State != Live ||
		slices.Contains(u.Factors, factorPasskey) || u.owesVerification(true) || p.PasskeyRPID() == "" {
		return false, nil
	}
	now := p.Now()
	d, err := p.store.Device(ctx, u.ID, hash[:], now)
	if errors.Is(err, ErrNotFound) || err == nil && d.OfferedAt != nil {
		return false, nil
	}
	if err != nil {
		return false, stored("find a browser", err)
	}
	// Its trust, which may end at this moment, is left as it is.
	d.OfferedAt, d.TrustedUntil = &now, nil
	return true, stored("note an offer", p.store.PutDevice(ctx, d, maxDevices))
}

func eventBrowserTrusted(s Session, until time.Time) Event {
	return Event{
		Kind: "user.browser_trusted", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID, ClientID: s.ClientID,
		Details: Details{"until": until.UTC().Format(time.RFC3339)},
	}
}

func eventTrustEnded(s Session, browsers int) Event {
	return Event{
		Kind: "user.trust_ended", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID, Details: Details{"browsers": browsers},
	}
}
