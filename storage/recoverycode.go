package storage

import (
	"context"
	"strings"
	"time"

	"postern/idp"
)

// PutRecoveryCodes implements idp.RecoveryCodeStore. Whoever the list says, its codes are of the set.
func (s *Store) PutRecoveryCodes(ctx context.Context, set idp.Authenticator, list []idp.RecoveryCode) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		_, err := s.exec(ctx, `
			DELETE FROM authenticators
			WHERE user_id = ? AND kind = ?`, set.UserID, string(idp.RecoveryKind))
		if err != nil {
			return err
		}
		set.Kind = idp.RecoveryKind
		if err := s.AddFactor(ctx, set); err != nil || len(list) == 0 {
			return err
		}
		args := make([]any, 0, 6*len(list))
		for _, c := range list {
			args = append(args, c.ID, set.ID, set.UserID, c.Hash, c.UsedAt, c.UsedBy)
		}
		_, err = s.exec(ctx, `
			INSERT INTO recovery_codes (id, authenticator_id, user_id, hash, used_at, used_by)
			VALUES (?, ?, ?, ?, ?, ?)`+strings.Repeat(`, (?, ?, ?, ?, ?, ?)`, len(list)-1), args...)
		return err
	})
}

// RecoveryCodes implements idp.RecoveryCodeStore.
func (s *Store) RecoveryCodes(ctx context.Context, userID idp.ID) (list []idp.RecoveryCode, err error) {
	err = s.all(ctx, &list, `
		SELECT id, authenticator_id, user_id, hash, used_at, used_by
		FROM recovery_codes
		WHERE user_id = ?
		ORDER BY id`, userID)
	return list, err
}

// UseRecoveryCode implements idp.RecoveryCodeStore.
func (s *Store) UseRecoveryCode(ctx context.Context, userID, id idp.ID, by []byte, now time.Time) (bool, error) {
	used := false
	err := s.Tx(ctx, func(ctx context.Context) error {
		n, err := s.exec(ctx, `
			UPDATE recovery_codes
			SET used_at = ?, used_by = ?
			WHERE id = ? AND user_id = ? AND (used_at IS NULL OR used_by = ?)`, now, by, id, userID, by)
		if used = n > 0; err != nil || !used {
			return err
		}
		_, err = s.exec(ctx, `
			UPDATE authenticators
			SET last_used_at = ?
			WHERE user_id = ? AND kind = ?`, now, userID, string(idp.RecoveryKind))
		return err
	})
	return used && err == nil, err
}
