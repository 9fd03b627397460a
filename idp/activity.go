package idp

import "context"

const kindSignInPending = "user.sign_in_pending"

// Activity lists the events of v's user, newest first, those before the ID `before`. It leaves out that
// a sign-in began where that one was finished, which has an event of its own.
func (p *Provider) Activity(ctx context.Context, v *Visit, before ID, limit int) ([]Event, error) {
	limit = bounded(limit)
	done := finished{}
	if !before.IsZero() {
		// What was begun here may have been finished among the newer ones, but no later than a sign-in may take.
		newer, err := p.store.EventsOf(ctx, v.User.ID, NewID(before.Time().Add(p.cfg.Login.FlowTimeout)), maxList)
		if err != nil {
			return nil, stored("list an account's events", err)
		}
		done.note(newer)
	}
	var told []Event
	for {
		list, err := p.store.EventsOf(ctx, v.User.ID, before, limit)
		if err != nil {
			return nil, stored("list an account's events", err)
		}
		done.note(list)
		for _, e := range list {
			if e.Kind == kindSignInPending && done[e.SessionID] {
				continue
			}
			if told = append(told, e); len(told) == limit {
				return told, nil
			}
		}
		if len(list) < limit {
			return told, nil
		}
		before = list[len(list)-1].ID
	}
}

// finished are the sessions of sign-ins that went on after they began.
type finished map[ID]bool

// note looks for them in events. The second step counts by itself, since audit.logins may keep no sign-ins.
func (f finished) note(events []Event) {
	for i := range events {
		switch e := &events[i]; e.Kind {
		case kindSignedIn, "user.factor_proved", "user.factor_added":
			f[e.SessionID] = true
		}
	}
}
