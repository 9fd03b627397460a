package storage

import (
	"context"
	"time"

	"postern/idp"
)

// AddPushed implements idp.PushedStore.
func (s *Store) AddPushed(ctx context.Context, p idp.Pushed) error {
	_, err := s.insert(ctx, `
		INSERT INTO pushed (id, client_id, request, internal, created_at, expires_at, used_at, used_by)
		VALUES (:id, :client_id, :request, :internal, :created_at, :expires_at, :used_at, :used_by)`, p)
	return err
}

// Pushed implements idp.PushedStore.
func (s *Store) Pushed(ctx context.Context, id idp.ID) (p idp.Pushed, err error) {
	err = s.get(ctx, &p, `
		SELECT id, client_id, request, internal, created_at, expires_at, used_at, used_by
		FROM pushed
		WHERE id = ?`, id)
	return p, err
}

// UsePushed implements idp.PushedStore.
func (s *Store) UsePushed(ctx context.Context, id idp.ID, by []byte, now time.Time) (bool, error) {
	n, err := s.repeat(ctx, `
		UPDATE pushed
		SET used_at = ?, used_by = ?
		WHERE id = ? AND (used_at IS NULL OR used_by = ?)`, now, by, id, by)
	return n > 0, err
}
