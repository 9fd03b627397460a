package storage

import (
	"context"
	"time"

	"postern/idp"
)

const inviteColumns = `id, hash, email, email_key, groups, admin, made_by AS by, created_at, expires_at,
	revoked_at, redeemed_at, redeemed_by, user_id, dead_at`

const inviteOpen = `redeemed_at IS NULL AND revoked_at IS NULL AND expires_at > ?`

// AddInvite implements idp.InviteStore.
func (s *Store) AddInvite(ctx context.Context, i idp.Invite) error {
	_, err := s.insert(ctx, `
		INSERT INTO invites (id, hash, email, email_key, groups, admin, made_by, created_at, expires_at,
			revoked_at, redeemed_at, redeemed_by, user_id, dead_at)
		VALUES (:id, :hash, :email, :email_key, :groups, :admin, :by, :created_at, :expires_at,
			:revoked_at, :redeemed_at, :redeemed_by, :user_id, :dead_at)`, i)
	return err
}

// InviteByHash implements idp.InviteStore.
func (s *Store) InviteByHash(ctx context.Context, hash []byte, now time.Time) (i idp.Invite, err error) {
	err = s.get(ctx, &i, `
		SELECT `+inviteColumns+`
		FROM invites
		WHERE hash = ? AND `+inviteOpen, hash, now)
	return i, err
}

// RedeemInvite implements idp.InviteStore.
func (s *Store) RedeemInvite(ctx context.Context, id, userID idp.ID, by []byte, now time.Time) (bool, error) {
	n, err := s.repeat(ctx, `
		UPDATE invites
		SET redeemed_at = ?, redeemed_by = ?, user_id = ?
		WHERE id = ? AND (`+inviteOpen+` OR redeemed_by = ?)`, now, by, userID, id, now, by)
	return n > 0, err
}

// RevokeInvite implements idp.InviteStore.
func (s *Store) RevokeInvite(ctx context.Context, id idp.ID, now time.Time) error {
	return found(s.exec(ctx, `
		UPDATE invites
		SET revoked_at = ?
		WHERE id = ? AND `+inviteOpen, now, id, now))
}

// Invites implements idp.InviteStore.
func (s *Store) Invites(ctx context.Context, before idp.ID, limit int) (list []idp.Invite, err error) {
	err = s.all(ctx, &list, `
		SELECT `+inviteColumns+`
		FROM invites
		WHERE id < ?
		ORDER BY id DESC
		LIMIT ?`, edge(before), limit)
	return list, err
}
