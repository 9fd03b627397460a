package storage

import (
	"context"
	"time"

	"postern/idp"
)

// AddEvent implements idp.EventStore. The row has neither sequence nor hash yet (I-17).
func (s *Store) AddEvent(ctx context.Context, e idp.Event) error {
	_, err := s.insert(ctx, `
		INSERT INTO events (id, at, kind, actor, user_id, client_id, session_id, address, request_id, details)
		VALUES (:id, :at, :kind, :actor, :user_id, :client_id, :session_id, :address, :request_id, :details)`, e)
	return err
}

// Events implements idp.EventStore.
func (s *Store) Events(ctx context.Context, after idp.ID, limit int) (es []idp.Event, err error) {
	err = s.all(ctx, &es, `
		SELECT id, at, kind, actor, user_id, client_id, session_id, address, request_id, details
		FROM events
		WHERE id > ?
		ORDER BY id
		LIMIT ?`, after[:], limit)
	return es, err
}

// EventsOf implements idp.EventStore.
func (s *Store) EventsOf(ctx context.Context, userID, before idp.ID, limit int) (es []idp.Event, err error) {
	err = s.all(ctx, &es, `
		SELECT id, at, kind, actor, user_id, client_id, session_id, address, request_id, details
		FROM events
		WHERE user_id = ? AND id < ?
		ORDER BY id DESC
		LIMIT ?`, userID, edge(before), limit)
	return es, err
}

// PruneEvents implements idp.EventStore.
func (s *Store) PruneEvents(ctx context.Context, t time.Time) (int, error) {
	return s.pruneBefore(ctx, "events", t)
}
