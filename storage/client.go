package storage

import (
	"context"
	"errors"

	"postern/idp"
)

// AddClient implements idp.ClientStore.
func (s *Store) AddClient(ctx context.Context, c idp.Client) error {
	_, err := s.insert(ctx, `
		INSERT INTO clients (id, metadata, secrets, security_version, disabled_at, created_at, updated_at)
		VALUES (:id, :metadata, :secrets, :security_version, :disabled_at, :created_at, :updated_at)`, c)
	return err
}

// Clients implements idp.ClientStore.
func (s *Store) Clients(ctx context.Context) (cs []idp.Client, err error) {
	err = s.all(ctx, &cs, `
		SELECT id, metadata, secrets, security_version, disabled_at, created_at, updated_at
		FROM clients
		ORDER BY id`)
	return cs, err
}

// ChangeClient implements idp.ClientStore.
func (s *Store) ChangeClient(ctx context.Context, c idp.Client) error {
	return found(s.exec(ctx, `
		UPDATE clients
		SET metadata = ?, secrets = ?, security_version = ?, disabled_at = ?, updated_at = ?
		WHERE id = ?`, c.Metadata, c.Secrets, c.SecurityVersion, c.DisabledAt, c.UpdatedAt, c.ID))
}

// DeleteClient implements idp.ClientStore.
func (s *Store) DeleteClient(ctx context.Context, id string) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		if err := found(s.exec(ctx, `DELETE FROM clients WHERE id = ?`, id)); err != nil {
			return err
		}
		_, err := s.exec(ctx, `DELETE FROM grants WHERE client_id = ?`, id)
		return err
	})
}

// Versions implements idp.VersionStore.
func (s *Store) Versions(ctx context.Context) (map[string]int64, error) {
	var rows []struct {
		Name    string
		Version int64
	}
	err := s.all(ctx, &rows, `SELECT name, version FROM versions`)
	versions := make(map[string]int64, len(rows))
	for _, r := range rows {
		versions[r.Name] = r.Version
	}
	return versions, err
}

// RaiseVersion implements idp.VersionStore.
func (s *Store) RaiseVersion(ctx context.Context, name string) error {
	_, err := s.exec(ctx, `
		INSERT INTO versions (name, version) VALUES (?, 1)
		ON CONFLICT (name) DO UPDATE SET version = versions.version + 1`, name)
	return err
}

// KeyCheck implements idp.VersionStore.
func (s *Store) KeyCheck(ctx context.Context) (check []byte, err error) {
	err = s.row(ctx, `SELECT value FROM key_checks WHERE name = 'keyring'`, nil, &check)
	if errors.Is(err, idp.ErrNotFound) {
		return nil, nil
	}
	return check, err
}

// PutKeyCheck implements idp.VersionStore.
func (s *Store) PutKeyCheck(ctx context.Context, check []byte) error {
	_, err := s.exec(ctx, `
		INSERT INTO key_checks (name, value) VALUES ('keyring', ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, check)
	return err
}
