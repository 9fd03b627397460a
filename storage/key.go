package storage

import (
	"context"

	"postern/idp"
)

// AddKey implements idp.KeyStore.
func (s *Store) AddKey(ctx context.Context, k idp.Key) error {
	_, err := s.insert(ctx, `
		INSERT INTO keys (id, alg, state, public, private, created_at, active_at, retired_at)
		VALUES (:id, :alg, :state, :public, :private, :created_at, :active_at, :retired_at)`, k)
	return err
}

// Keys implements idp.KeyStore.
func (s *Store) Keys(ctx context.Context) (ks []idp.Key, err error) {
	err = s.all(ctx, &ks, `
		SELECT id, alg, state, public, private, created_at, active_at, retired_at
		FROM keys
		ORDER BY created_at, id`)
	return ks, err
}

// ChangeKey implements idp.KeyStore.
func (s *Store) ChangeKey(ctx context.Context, k idp.Key, from idp.KeyState) error {
	n, err := s.exec(ctx, `
		UPDATE keys
		SET state = ?, active_at = ?, retired_at = ?
		WHERE id = ? AND state = ?`, k.State, k.ActiveAt, k.RetiredAt, k.ID, from)
	return changed(n, err, idp.ErrConflict)
}

// DeleteKey implements idp.KeyStore.
func (s *Store) DeleteKey(ctx context.Context, id string) error {
	return found(s.exec(ctx, `DELETE FROM keys WHERE id = ? AND state = 'retired'`, id))
}

// ResealKey implements idp.KeyStore.
func (s *Store) ResealKey(ctx context.Context, id string, old, sealed []byte) error {
	_, err := s.exec(ctx, `
		UPDATE keys
		SET private = ?
		WHERE id = ? AND private = ?`, sealed, id, old)
	return err
}
