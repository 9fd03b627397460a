package storage

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"postern/idp"
)

const consentColumns = `user_id, client_id, scopes, claims, version, floor, created_at, updated_at`

// Consent implements idp.ConsentStore.
func (s *Store) Consent(ctx context.Context, userID idp.ID, clientID string) (c idp.Consent, err error) {
	err = s.get(ctx, &c, `
		SELECT `+consentColumns+`
		FROM consents
		WHERE user_id = ? AND client_id = ?`, userID, clientID)
	return c, err
}

// PutConsent implements idp.ConsentStore.
func (s *Store) PutConsent(ctx context.Context, c idp.Consent) (put idp.Consent, err error) {
	err = s.Tx(ctx, func(ctx context.Context) error {
		// Another node may decide at the same time; whoever is second reads again.
		for range maxAttempts {
			before, err := s.Consent(ctx, c.UserID, c.ClientID)
			if err != nil && !errors.Is(err, idp.ErrNotFound) {
				return err
			}
			put, err = s.mergeConsent(ctx, before, c)
			if !errors.Is(err, idp.ErrNotFound) {
				return err
			}
		}
		return idp.ErrConflict
	})
	return put, err
}

// mergeConsent adds c to what was allowed before. It returns ErrNotFound where `before` is no more
// what stands, and the zero consent stands for none.
func (s *Store) mergeConsent(ctx context.Context, before, c idp.Consent) (put idp.Consent, err error) {
	n := 0
	each := func(rows *sql.Rows) error {
		n++
		return rows.Scan(&put.UserID, &put.ClientID, &put.Scopes, &put.Claims, &put.Version, &put.Floor,
			moment{&put.CreatedAt}, moment{&put.UpdatedAt})
	}
	err = s.returning(ctx, func() { n, put = 0, idp.Consent{} }, each, `
		INSERT INTO consents (user_id, client_id, scopes, claims, version, floor, created_at, updated_at)
		VALUES (?, ?, ?, ?, 1, 0, ?, ?)
		ON CONFLICT (user_id, client_id) DO UPDATE
		SET scopes = excluded.scopes, claims = excluded.claims, version = consents.version + 1,
			updated_at = excluded.updated_at
		WHERE consents.version = ?
		RETURNING `+consentColumns,
		c.UserID, c.ClientID, union(before.Scopes, c.Scopes), union(before.Claims, c.Claims),
		c.UpdatedAt, c.UpdatedAt, before.Version)
	if err == nil && n == 0 {
		return put, idp.ErrNotFound
	}
	return put, err
}

func union(a, b idp.List) idp.List {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// WithdrawConsent implements idp.ConsentStore. It returns ErrNotFound where nothing was decided.
func (s *Store) WithdrawConsent(ctx context.Context, userID idp.ID, clientID string, now time.Time) error {
	return found(s.exec(ctx, `
		UPDATE consents
		SET scopes = '[]', claims = '[]', version = version + 1, floor = version + 1, updated_at = ?
		WHERE user_id = ? AND client_id = ?`, now, userID, clientID))
}

// Consents implements idp.ConsentStore.
func (s *Store) Consents(ctx context.Context, userID idp.ID, limit int) (cs []idp.Consent, err error) {
	err = s.all(ctx, &cs, `
		SELECT `+consentColumns+`
		FROM consents
		WHERE user_id = ?
		ORDER BY client_id
		LIMIT ?`, userID, limit)
	return cs, err
}
