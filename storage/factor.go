package storage

import (
	"context"
	"strings"
	"time"

	"postern/idp"
)

// setupKeep is how long an app that nobody finished to set up is kept at least: far longer than
// anybody can finish it.
const setupKeep = 24 * time.Hour

const factorColumns = `a.id, a.user_id, a.kind, a.secret, a.scheme, a.created_at, a.last_used_at, a.name, a.sealed,
	a.counter, a.credential, a.passkey, a.setup, a.disabled_at`

// factorDests are the fields of factorColumns.
func factorDests(a *idp.Authenticator) []any {
	return []any{&a.ID, &a.UserID, &a.Kind, &a.Secret, &a.Scheme, moment{&a.CreatedAt}, maybe{&a.LastUsedAt}, &a.Name, &a.Sealed,
		&a.Counter, &a.Credential, record{&a.Passkey}, &a.Setup, maybe{&a.DisabledAt}}
}

// Factors implements idp.FactorStore.
func (s *Store) Factors(ctx context.Context, userID idp.ID) (list []idp.Authenticator, err error) {
	err = s.all(ctx, &list, `
		SELECT `+factorColumns+`
		FROM authenticators a
		WHERE a.user_id = ? AND a.kind <> 'password'
		ORDER BY a.created_at, a.id`, userID)
	return list, err
}

// AddFactor implements idp.FactorStore.
func (s *Store) AddFactor(ctx context.Context, a idp.Authenticator) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		if !a.Setup.IsZero() {
			_, err := s.exec(ctx, `
				DELETE FROM authenticators
				WHERE user_id = ? AND setup IS NOT NULL AND (setup = ? OR created_at < ?)`,
				a.UserID, a.Setup, a.CreatedAt.Add(-setupKeep))
			if err != nil {
				return err
			}
		}
		n, err := s.insert(ctx, `
			INSERT INTO authenticators (id, user_id, kind, secret, scheme, created_at, last_used_at, name, sealed,
				counter, credential, passkey, setup, disabled_at)
			VALUES (:id, :user_id, :kind, :secret, :scheme, :created_at, :last_used_at, :name, :sealed,
				:counter, :credential, :passkey, :setup, :disabled_at)
			ON CONFLICT DO NOTHING`, a)
		return changed(n, err, idp.ErrConflict)
	})
}

// ConfirmFactor implements idp.FactorStore.
func (s *Store) ConfirmFactor(ctx context.Context, a idp.Authenticator) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		_, err := s.exec(ctx, `
			DELETE FROM authenticators
			WHERE user_id = ? AND kind = ? AND id <> ?`, a.UserID, string(idp.TOTPKind), a.ID)
		if err != nil {
			return err
		}
		n, err := s.exec(ctx, `
			UPDATE authenticators
			SET counter = ?, last_used_at = ?, setup = NULL
			WHERE id = ? AND user_id = ? AND setup = ?`,
			a.Counter, a.LastUsedAt, a.ID, a.UserID, a.Setup)
		return changed(n, err, idp.ErrConflict)
	})
}

// FactorByCredential implements idp.FactorStore.
func (s *Store) FactorByCredential(ctx context.Context, credential []byte) (u idp.User, a idp.Authenticator, err error) {
	err = s.row(ctx, `
		SELECT `+userColumns+`, `+factorColumns+`
		FROM authenticators a
		JOIN users u ON u.id = a.user_id
		WHERE a.credential = ?`, []any{credential}, append(userDests(&u), factorDests(&a)...)...)
	return u, a, err
}

// UseFactor implements idp.FactorStore.
func (s *Store) UseFactor(ctx context.Context, a idp.Authenticator, from int64) error {
	n, err := s.exec(ctx, `
		UPDATE authenticators
		SET counter = ?, last_used_at = ?, passkey = ?, disabled_at = ?
		WHERE id = ? AND user_id = ? AND counter = ? AND kind <> 'password' AND setup IS NULL AND disabled_at IS NULL`,
		a.Counter, a.LastUsedAt, a.Passkey, a.DisabledAt, a.ID, a.UserID, from)
	return changed(n, err, idp.ErrConflict)
}

// RenameFactor implements idp.FactorStore.
func (s *Store) RenameFactor(ctx context.Context, userID, id idp.ID, name string) error {
	return found(s.exec(ctx, `
		UPDATE authenticators
		SET name = ?
		WHERE id = ? AND user_id = ? AND kind <> 'password'`, name, id, userID))
}

// RemoveFactors implements idp.FactorStore.
func (s *Store) RemoveFactors(ctx context.Context, userID idp.ID, ids ...idp.ID) (int, error) {
	condition, args := ``, []any{userID}
	if len(ids) > 0 {
		condition = ` AND id IN (?` + strings.Repeat(`, ?`, len(ids)-1) + `)`
	}
	for _, id := range ids {
		args = append(args, id)
	}
	n, err := s.exec(ctx, `
		DELETE FROM authenticators
		WHERE user_id = ? AND kind <> 'password'`+condition, args...)
	return int(n), err
}

// SpendChallenge implements idp.FactorStore. A challenge that was used is denied, as a token is; the
// prefix tells its key from theirs.
func (s *Store) SpendChallenge(ctx context.Context, hash []byte, dead time.Time) (bool, error) {
	n, err := s.exec(ctx, `
		INSERT INTO denied (key, dead_at) VALUES (?, ?)
		ON CONFLICT DO NOTHING`, append([]byte("challenge "), hash...), dead)
	return n > 0, err
}

// SealedFactors implements idp.FactorStore.
func (s *Store) SealedFactors(ctx context.Context, after idp.ID, limit int) (list []idp.Authenticator, err error) {
	err = s.all(ctx, &list, `
		SELECT `+factorColumns+`
		FROM authenticators a
		WHERE a.sealed IS NOT NULL AND a.id > ?
		ORDER BY a.id
		LIMIT ?`, after[:], limit)
	return list, err
}

// ResealFactor implements idp.FactorStore.
func (s *Store) ResealFactor(ctx context.Context, a idp.Authenticator, former []byte) error {
	n, err := s.exec(ctx, `
		UPDATE authenticators
		SET sealed = ?
		WHERE id = ? AND user_id = ? AND sealed = ?`, a.Sealed, a.ID, a.UserID, former)
	return changed(n, err, idp.ErrConflict)
}
