package storage

import (
	"context"
	"database/sql"

	"postern/idp"
)

// Credentials implements idp.AuthenticatorStore.
func (s *Store) Credentials(ctx context.Context, key string) (u idp.User, a idp.Authenticator, err error) {
	var kind, secret, scheme sql.NullString
	dests := append(userDests(&u), &a.ID, &a.UserID, &kind, &secret, &scheme, orZero{&a.CreatedAt}, maybe{&a.LastUsedAt})
	err = s.row(ctx, `
		SELECT `+userColumns+`, a.id, a.user_id, a.kind, a.secret, a.scheme, a.created_at, a.last_used_at
		FROM users u
		LEFT JOIN authenticators a ON a.user_id = u.id AND a.kind = 'password'
		WHERE `+keyCondition(key), []any{key}, dests...)
	a.Kind, a.Secret, a.Scheme = idp.AuthenticatorKind(kind.String), secret.String, scheme.String
	return u, a, err
}

// Password implements idp.AuthenticatorStore.
func (s *Store) Password(ctx context.Context, userID idp.ID) (a idp.Authenticator, err error) {
	err = s.get(ctx, &a, `
		SELECT id, user_id, kind, secret, scheme, created_at, last_used_at
		FROM authenticators
		WHERE user_id = ? AND kind = 'password'`, userID)
	return a, err
}

// PutPassword implements idp.AuthenticatorStore.
func (s *Store) PutPassword(ctx context.Context, a idp.Authenticator) error {
	_, err := s.exec(ctx, `
		INSERT INTO authenticators (id, user_id, kind, secret, scheme, created_at, last_used_at)
		VALUES (?, ?, 'password', ?, ?, ?, ?)
		ON CONFLICT (user_id) WHERE kind = 'password' DO UPDATE
		SET id = excluded.id, secret = excluded.secret, scheme = excluded.scheme,
			created_at = excluded.created_at, last_used_at = excluded.last_used_at`,
		a.ID, a.UserID, a.Secret, a.Scheme, a.CreatedAt, a.LastUsedAt)
	return err
}

// RehashPassword implements idp.AuthenticatorStore.
func (s *Store) RehashPassword(ctx context.Context, a idp.Authenticator, old string) error {
	_, err := s.exec(ctx, `
		UPDATE authenticators
		SET secret = ?, scheme = ?
		WHERE id = ? AND secret = ?`,
		a.Secret, a.Scheme, a.ID, old)
	return err
}

// PasswordSchemes implements idp.AuthenticatorStore.
func (s *Store) PasswordSchemes(ctx context.Context) (map[string]int, error) {
	var counts []struct {
		Scheme string
		Count  int
	}
	err := s.all(ctx, &counts, `
		SELECT scheme, COUNT(*) AS count
		FROM authenticators
		WHERE kind = 'password'
		GROUP BY scheme`)
	schemes := make(map[string]int, len(counts))
	for _, c := range counts {
		schemes[c.Scheme] = c.Count
	}
	return schemes, err
}
