package idp

import (
	"context"
	"time"
)

// Personal is everything that is kept of v's user, ready for encoding/json, without secrets. Lists
// have the newest thousand. Its error is Denied with reauthenticate.
func (p *Provider) Personal(ctx context.Context, v *Visit) (map[string]any, error) {
	if err := p.sudo(v); err != nil {
		return nil, err
	}
	u := v.User
	all := map[string]any{"account": map[string]any{
		"id": u.ID, "username": u.Username, "email": u.Email, "email_verified": u.EmailVerified, "locale": u.Locale,
		"groups": u.Groups, "administrator": u.Admin, "status": u.Status, "created_at": u.CreatedAt, "updated_at": u.UpdatedAt,
	}, "profile": u.Profile}
	for _, part := range []struct {
		name string
		read func(context.Context, *Visit) (any, error)
	}{
		{"emails", p.personalEmails},
		{"second_factors", p.personalFactors},
		{"sessions", p.personalSessions},
		{"apps", p.personalApps},
		{"activity", p.personalActivity},
		{"failed_attempts", p.personalAttempts},
	} {
		var err error
		if all[part.name], err = part.read(ctx, v); err != nil {
			return nil, err
		}
	}
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		return p.record(ctx, Event{Kind: "user.data_exported", Actor: u.ID.String(), UserID: u.ID, SessionID: v.Session.ID})
	})
	return all, stored("record an export", err)
}

func (p *Provider) personalEmails(ctx context.Context, v *Visit) (any, error) {
	list, err := p.Emails(ctx, v)
	told := make([]map[string]any, 0, len(list))
	for _, e := range list {
		told = append(told, map[string]any{
			"address": e.Address, "primary": e.Primary, "verified_at": e.VerifiedAt, "created_at": e.CreatedAt,
		})
	}
	return told, err
}

// personalFactors are what the user signs in with beside the password, and where that is not asked for.
func (p *Provider) personalFactors(ctx context.Context, v *Visit) (any, error) {
	own, err := p.OwnFactors(ctx, v)
	if err != nil {
		return nil, err
	}
	factors := make([]map[string]any, 0, len(own.Passkeys)+1)
	if own.App != nil {
		factors = append(factors, personalFactor(own.App))
	}
	for i := range own.Passkeys {
		factors = append(factors, personalFactor(&own.Passkeys[i]))
	}
	told := map[string]any{"factors": factors}
	if r := own.Recovery; r != nil {
		told["recovery_codes"] = map[string]any{"created_at": r.CreatedAt, "left": r.Left, "of": r.Of}
	}
	browsers := make([]map[string]any, 0, len(own.Trusted))
	for _, b := range own.Trusted {
		browsers = append(browsers, map[string]any{
			"user_agent": b.UserAgent, "address": b.Address, "seen_at": b.SeenAt, "until": b.Until,
		})
	}
	told["trusted_browsers"] = browsers
	return told, nil
}

func personalFactor(f *Factor) map[string]any {
	return map[string]any{
		"kind": f.Kind, "name": f.Name, "model": f.Model, "synced": f.Synced,
		"created_at": f.CreatedAt, "last_used_at": f.LastUsedAt, "disabled_at": f.DisabledAt,
	}
}

// personalSessions are the sessions that are kept, with those that ended.
func (p *Provider) personalSessions(ctx context.Context, v *Visit) (any, error) {
	list, err := p.store.Accesses(ctx, AccessFilter{UserID: v.User.ID}, ID{}, maxList)
	told := make([]Access, 0, len(list))
	for i := range list {
		told = append(told, list[i].access(p.Now()))
	}
	return told, stored("list sessions", err)
}

func (p *Provider) personalApps(ctx context.Context, v *Visit) (any, error) {
	list, err := p.Apps(ctx, v)
	told := make([]map[string]any, 0, len(list))
	for i := range list {
		a := &list[i]
		one := map[string]any{"client": a.Client.ID, "name": a.Client.Metadata.Name, "tokens": a.Tokens}
		if a.Consent.Version > 0 {
			one["scopes"], one["claims"] = a.Consent.Scopes, a.Consent.Claims
			one["since"] = a.Consent.CreatedAt.Format(time.RFC3339)
		}
		told = append(told, one)
	}
	return told, err
}

func (p *Provider) personalActivity(ctx context.Context, v *Visit) (any, error) {
	list, err := p.store.EventsOf(ctx, v.User.ID, ID{}, maxList)
	return list, stored("list an account's events", err)
}

func (p *Provider) personalAttempts(ctx context.Context, v *Visit) (any, error) {
	return p.Attempts(ctx, AttemptFilter{UserID: v.User.ID}, ID{}, maxList)
}
