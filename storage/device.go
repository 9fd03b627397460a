package storage

import (
	"context"
	"time"

	"postern/idp"
)

// devicesAtMost bounds a list: more than are kept of a user.
const devicesAtMost = 100

const deviceColumns = `d.user_id, d.hash, d.epoch, d.created_at, d.seen_at, d.dead_at, d.address, d.user_agent,
	d.trusted_until, d.offered_at`

// Device implements idp.DeviceStore.
func (s *Store) Device(ctx context.Context, userID idp.ID, hash []byte, now time.Time) (d idp.Device, err error) {
	err = s.get(ctx, &d, `
		SELECT `+deviceColumns+`
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
			INSERT INTO devices (user_id, hash, epoch, created_at, seen_at, dead_at, address, user_agent,
				trusted_until, offered_at)
			VALUES (:user_id, :hash, :epoch, :created_at, :seen_at, :dead_at, :address, :user_agent,
				:trusted_until, :offered_at)
			ON CONFLICT (user_id, hash) DO UPDATE
			SET epoch = excluded.epoch, seen_at = excluded.seen_at, dead_at = excluded.dead_at,
				address = excluded.address, user_agent = excluded.user_agent,
				trusted_until = CASE
					WHEN excluded.trusted_until IS NULL AND devices.epoch = excluded.epoch THEN devices.trusted_until
					ELSE excluded.trusted_until END,
				offered_at = COALESCE(excluded.offered_at, devices.offered_at)
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

// Devices implements idp.DeviceStore.
func (s *Store) Devices(ctx context.Context, userID idp.ID, now time.Time) (list []idp.Device, err error) {
	err = s.all(ctx, &list, `
		SELECT `+deviceColumns+`
		FROM devices d
		JOIN users u ON u.id = d.user_id AND u.epoch = d.epoch
		WHERE d.user_id = ? AND d.dead_at > ?
		ORDER BY d.seen_at DESC, d.hash
		LIMIT ?`, userID, now, devicesAtMost)
	return list, err
}

// MarkDevice implements idp.DeviceStore. What was read before the epoch rose is marked no more.
func (s *Store) MarkDevice(ctx context.Context, d idp.Device) error {
	return found(s.exec(ctx, `
		UPDATE devices
		SET trusted_until = ?, offered_at = ?
		WHERE user_id = ? AND hash = ? AND epoch = ?`, d.TrustedUntil, d.OfferedAt, d.UserID, d.Hash, d.Epoch))
}
