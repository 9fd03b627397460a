package storage

import (
	"context"
	"database/sql"
	"time"

	"postern/idp"
)

// An address stands in two tables: each method writes users before emails, so that no two of them
// wait for each other.

// takenElsewhere holds where the key is verified as another user's: it takes the key and the user.
const takenElsewhere = `EXISTS (
	SELECT 1 FROM emails t
	WHERE t.key = ? AND t.user_id <> ? AND t.verified_at IS NOT NULL)`

// Emails implements idp.EmailStore.
func (s *Store) Emails(ctx context.Context, userID idp.ID) (list []idp.Email, err error) {
	err = s.all(ctx, &list, `
		SELECT id, user_id, address, key, is_primary AS "primary", verified_at, created_at
		FROM emails
		WHERE user_id = ?
		ORDER BY is_primary DESC, created_at, id`, userID)
	return list, err
}

// claimsAtMost bounds how many claims to an address are read.
const claimsAtMost = 2

// Claims implements idp.EmailStore.
func (s *Store) Claims(ctx context.Context, key string) (list []idp.Email, err error) {
	err = s.all(ctx, &list, `
		SELECT id, user_id, address, key, is_primary AS "primary", verified_at, created_at
		FROM emails
		WHERE key = ?
		ORDER BY CASE WHEN verified_at IS NULL THEN 1 ELSE 0 END, created_at, id
		LIMIT ?`, key, claimsAtMost)
	return list, err
}

// AddEmail implements idp.EmailStore.
func (s *Store) AddEmail(ctx context.Context, e idp.Email) error {
	if !e.Primary {
		return s.insertEmail(ctx, e)
	}
	return s.Tx(ctx, func(ctx context.Context) error {
		if err := s.makePrimary(ctx, e); err != nil {
			return err
		}
		return s.insertEmail(ctx, e)
	})
}

func (s *Store) insertEmail(ctx context.Context, e idp.Email) error {
	n, err := s.exec(ctx, `
		INSERT INTO emails (id, user_id, address, key, is_primary, verified_at, created_at)
		SELECT ?, ?, ?, ?, ?, ?, ?
		WHERE NOT `+takenElsewhere+`
		ON CONFLICT (user_id, key) DO NOTHING`,
		e.ID, e.UserID, e.Address, e.Key, e.Primary, e.VerifiedAt, e.CreatedAt, e.Key, e.UserID)
	return changed(n, err, idp.ErrConflict)
}

// ChangeEmail implements idp.EmailStore. An address that is gone was lost to whom it is verified as.
func (s *Store) ChangeEmail(ctx context.Context, e idp.Email) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		step := s.makeSecondary
		if e.Primary {
			step = s.makePrimary
		}
		if err := step(ctx, e); err != nil {
			return err
		}
		n, err := s.exec(ctx, `
			UPDATE emails
			SET is_primary = ?, verified_at = ?
			WHERE id = ? AND user_id = ?`, e.Primary, e.VerifiedAt, e.ID, e.UserID)
		return changed(n, err, idp.ErrConflict)
	})
}

// makePrimary makes e the address of its user, and the user's other addresses none.
func (s *Store) makePrimary(ctx context.Context, e idp.Email) error {
	err := found(s.exec(ctx, `
		UPDATE users
		SET email = ?, email_key = ?, email_verified = ?
		WHERE id = ?`, e.Address, e.Key, e.VerifiedAt != nil, e.UserID))
	if err != nil {
		return err
	}
	return s.demote(ctx, e.UserID, e.Key)
}

// makeSecondary leaves the user of e without an address where it was this one.
func (s *Store) makeSecondary(ctx context.Context, e idp.Email) error {
	_, err := s.exec(ctx, `
		UPDATE users
		SET email = '', email_key = '', email_verified = ?
		WHERE id = ? AND email_key = ?`, false, e.UserID, e.Key)
	return err
}

// demote makes the addresses of a user but one none that is primary.
func (s *Store) demote(ctx context.Context, userID idp.ID, but string) error {
	_, err := s.exec(ctx, `
		UPDATE emails
		SET is_primary = ?
		WHERE user_id = ? AND is_primary AND key <> ?`, false, userID, but)
	return err
}

// RemoveEmail implements idp.EmailStore.
func (s *Store) RemoveEmail(ctx context.Context, userID, id idp.ID) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		_, err := s.exec(ctx, `
			UPDATE users
			SET email = '', email_key = '', email_verified = ?
			WHERE id = ? AND email_key = (
				SELECT key FROM emails
				WHERE id = ? AND user_id = ? AND is_primary)`, false, userID, id, userID)
		if err != nil {
			return err
		}
		return found(s.exec(ctx, `DELETE FROM emails WHERE id = ? AND user_id = ?`, id, userID))
	})
}

// DropClaims implements idp.EmailStore.
func (s *Store) DropClaims(ctx context.Context, key string, but idp.ID) (losers []idp.ID, err error) {
	err = s.Tx(ctx, func(ctx context.Context) error {
		_, err := s.exec(ctx, `
			UPDATE users
			SET email = '', email_key = ''
			WHERE email_key = ? AND email_key <> '' AND id <> ? AND NOT email_verified`, key, but[:])
		if err != nil {
			return err
		}
		each := func(rows *sql.Rows) error {
			var id idp.ID
			err := rows.Scan(&id)
			losers = append(losers, id)
			return err
		}
		return s.returning(ctx, func() { losers = nil }, each, `
			DELETE FROM emails
			WHERE key = ? AND user_id <> ? AND verified_at IS NULL
			RETURNING user_id`, key, but[:])
	})
	return losers, err
}

// putPrimary makes the address of u the primary one of emails, in the Tx of ctx that wrote u at
// `now`. One that u had before stays, as another of theirs.
func (s *Store) putPrimary(ctx context.Context, u idp.User, now time.Time) error {
	if u.EmailKey == "" {
		_, err := s.exec(ctx, `DELETE FROM emails WHERE user_id = ? AND is_primary`, u.ID)
		return err
	}
	if err := s.demote(ctx, u.ID, u.EmailKey); err != nil {
		return err
	}
	var verifiedAt *time.Time
	if u.EmailVerified {
		verifiedAt = &now
	}
	_, err := s.exec(ctx, `
		INSERT INTO emails (id, user_id, address, key, is_primary, verified_at, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (user_id, key) DO UPDATE
		SET address = excluded.address, is_primary = excluded.is_primary,
			verified_at = CASE
				WHEN excluded.verified_at IS NULL THEN NULL
				ELSE COALESCE(emails.verified_at, excluded.verified_at)
			END`,
		idp.NewID(now), u.ID, u.Email, u.EmailKey, true, verifiedAt, now)
	return err
}
