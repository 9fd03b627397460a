package idp

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// An App is a relying party that a user allowed something.
type App struct {
	Client  Client
	Consent Consent // zero for one that needs none
	Tokens  int     // live grants
}

// Apps lists the relying parties that v's user allowed something or that have live tokens, by name.
func (p *Provider) Apps(ctx context.Context, v *Visit) ([]App, error) {
	consents, err := p.store.Consents(ctx, v.User.ID, maxList)
	if err != nil {
		return nil, stored("list consents", err)
	}
	grants, err := p.liveGrants(ctx, v.User)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*App)
	app := func(id string) *App {
		if found[id] == nil {
			found[id] = &App{}
		}
		return found[id]
	}
	for _, c := range consents {
		if !c.withdrawn() {
			app(c.ClientID).Consent = c
		}
	}
	for i := range grants {
		app(grants[i].ClientID).Tokens++
	}
	apps := make([]App, 0, len(found))
	for id, a := range found {
		c, err := p.Client(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue // it was deleted, and its tokens are dead with it
		}
		if err != nil {
			return nil, err
		}
		a.Client = *c
		apps = append(apps, *a)
	}
	slices.SortFunc(apps, func(a, b App) int {
		return cmp.Or(cmp.Compare(a.Client.Metadata.Name, b.Client.Metadata.Name), cmp.Compare(a.Client.ID, b.Client.ID))
	})
	return apps, nil
}

// liveGrants are the grants of u that can be used still: those whose consent was not withdrawn since,
// and of the bound ones those whose session is alive.
func (p *Provider) liveGrants(ctx context.Context, u User) ([]Grant, error) {
	now := p.Now()
	list, err := p.store.Grants(ctx, u.ID, now, maxList)
	if err != nil {
		return nil, stored("list grants", err)
	}
	sessions, err := p.store.Sessions(ctx, u.ID, ID{}, now, maxList)
	if err != nil {
		return nil, stored("list sessions", err)
	}
	consents, err := p.store.Consents(ctx, u.ID, maxList)
	if err != nil {
		return nil, stored("list consents", err)
	}
	alive := make(map[ID]bool)
	for i := range sessions {
		alive[sessions[i].ID] = sessions[i].Alive(&u, now)
	}
	floors := make(map[string]int64)
	for _, c := range consents {
		floors[c.ClientID] = c.Floor
	}
	return slices.DeleteFunc(list, func(g Grant) bool {
		return g.Epoch != u.Epoch || g.ConsentVersion < floors[g.ClientID] || g.SessionBound && !alive[g.SessionID] ||
			g.CodeUsedAt == nil
	}), nil
}

// RevokeApp takes back consent and tokens of a client. It is ErrNotFound where there is no client of
// that name.
func (p *Provider) RevokeApp(ctx context.Context, v *Visit, clientID string) error {
	if _, err := p.Client(ctx, clientID); err != nil {
		return err
	}
	return p.withdrawConsent(ctx, v.User.ID, clientID, v.User.ID.String())
}

// appName is what people know a client by, and its ID where it is gone.
func (p *Provider) appName(ctx context.Context, clientID string) string {
	c, err := p.Client(ctx, clientID)
	if err != nil {
		return clientID
	}
	return c.DisplayName()
}
