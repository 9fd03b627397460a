package idp

import "context"

// Activity lists the events of v's user, newest first, those before the ID `before`.
func (p *Provider) Activity(ctx context.Context, v *Visit, before ID, limit int) ([]Event, error) {
	list, err := p.store.EventsOf(ctx, v.User.ID, before, bounded(limit))
	return list, stored("list an account's events", err)
}
