package storage

import (
	"context"
	"time"

	"postern/idp"
)

// Device implements idp.DeviceStore.
func (s *Store) Device(ctx context.Context, userID idp.ID, hash []byte, now time.Time) (d idp.Device, err error) {
	err = s.get(ctx, &d, `
		SELECT d.user_id, d.hash, d.epoch, d.created_at, d.seen_at, d.dead_at
		FROM devices d
		JOIN users u ON u.id = d.user_id AND u.epoch = d.epoch
		WHERE d.user_id = ? AND d.hash = ? AND d.dead_at > ?`, userID[:], hash, now)
	return d, err
}

// PutDevice implements idp.DeviceStore. Two sign-ins of a user at the same moment may leave one too
// many, until the next.
func (s *Store) PutDevice(ctx context.Context, d idp.Device, keep int) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		_, err := s.insert(ctx, `
			INSERT INTO devices (user_id, hash, epoch, created_at, seen_at, dead_at)
			VALUES (:user_id, :hash, :epoch, :created_at, :seen_at, :dead_at)
			ON CONFLICT (user_id, hash) DO UPDATE
			SET epoch = excluded.epoch, seen_at = excluded.seen_at, dead_at = excluded.dead_at
			WHERE devices.epoch <= excluded.epoch`, d)
		if err != nil {
			return err
		}
		_, err = s.exec(ctx, `
			DELETE FROM devices
			WHERE user_id = ? AND hash NOT IN (
				SELECT hash FROM devices
				WHERE user_id = ?
				ORDER BY seen_at DESC, hash
				LIMIT ?)`, d.UserID, d.UserID, keep)
		return err
	})
}
