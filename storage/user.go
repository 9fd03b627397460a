package storage

import (
	"context"
	"strings"
	"time"

	"postern/idp"
)

const userColumns = `u.id, u.username, u.username_key, u.email, u.email_key, u.email_verified,
	u.profile, u.groups, u.admin, u.status, u.must_change_password, u.factors, u.locale, u.delete_at, u.epoch,
	u.created_at, u.updated_at`

// userDests are the fields of userColumns.
func userDests(u *idp.User) []any {
	return []any{&u.ID, &u.Username, &u.UsernameKey, &u.Email, &u.EmailKey, &u.EmailVerified,
		&u.Profile, &u.Groups, &u.Admin, &u.Status, &u.MustChangePassword, &u.Factors, &u.Locale, maybe{&u.DeleteAt},
		&u.Epoch, moment{&u.CreatedAt}, moment{&u.UpdatedAt}}
}

// AddUser implements idp.UserStore. Two that are added at the same moment may both claim an address
// that is verified as nobody's.
func (s *Store) AddUser(ctx context.Context, u idp.User) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		n, err := s.insert(ctx, `
			INSERT INTO users (id, username, username_key, email, email_key, email_verified,
				profile, groups, admin, status, must_change_password, factors, locale, delete_at, epoch,
				created_at, updated_at)
			SELECT :id, :username, :username_key, :email, :email_key, :email_verified,
				:profile, :groups, :admin, :status, :must_change_password, :factors, :locale, :delete_at, :epoch,
				:created_at, :updated_at
			WHERE NOT EXISTS (
				SELECT 1 FROM emails t
				WHERE t.key = :email_key AND (t.is_primary OR t.verified_at IS NOT NULL))`, u)
		if err := changed(n, err, idp.ErrConflict); err != nil || u.EmailKey == "" {
			return err
		}
		return s.putPrimary(ctx, u, u.CreatedAt)
	})
}

// User implements idp.UserStore.
func (s *Store) User(ctx context.Context, id idp.ID) (u idp.User, err error) {
	err = s.get(ctx, &u, `
		SELECT `+userColumns+`
		FROM users u
		WHERE u.id = ?`, id)
	return u, err
}

// UserByKey implements idp.UserStore.
func (s *Store) UserByKey(ctx context.Context, key string) (u idp.User, err error) {
	err = s.get(ctx, &u, `
		SELECT `+userColumns+`
		FROM users u
		WHERE `+keyCondition(key), key)
	return u, err
}

// keyCondition finds a user by a canonical identifier. An address is whose it is verified as, or,
// while it is nobody's, the only one's who claims it.
func keyCondition(key string) string {
	if strings.Contains(key, "@") {
		return `u.id = (
			SELECT e.user_id FROM emails e
			WHERE e.key = ? AND (e.verified_at IS NOT NULL OR NOT EXISTS (
				SELECT 1 FROM emails o
				WHERE o.key = e.key AND o.user_id <> e.user_id)))`
	}
	return `u.username_key = ?`
}

// Users implements idp.UserStore.
func (s *Store) Users(ctx context.Context, after string, limit int) (us []idp.User, err error) {
	err = s.all(ctx, &us, `
		SELECT `+userColumns+`
		FROM users u
		WHERE u.username_key > ?
		ORDER BY u.username_key
		LIMIT ?`, after, limit)
	return us, err
}

// adminsAtMost bounds how many administrators are told of something.
const adminsAtMost = 100

// Admins implements idp.UserStore.
func (s *Store) Admins(ctx context.Context) (us []idp.User, err error) {
	err = s.all(ctx, &us, `
		SELECT `+userColumns+`
		FROM users u
		WHERE u.admin AND u.status = ?
		ORDER BY u.id
		LIMIT ?`, string(idp.Active), adminsAtMost)
	return us, err
}

// UsersToDelete implements idp.UserStore.
func (s *Store) UsersToDelete(ctx context.Context, now time.Time, limit int) (us []idp.User, err error) {
	err = s.all(ctx, &us, `
		SELECT `+userColumns+`
		FROM users u
		WHERE u.delete_at <= ?
		ORDER BY u.delete_at, u.id
		LIMIT ?`, now, limit)
	return us, err
}

// ChangeUser implements idp.UserStore. A claim that somebody has already is no reason to refuse.
func (s *Store) ChangeUser(ctx context.Context, u idp.User, epoch int64) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		n, err := s.exec(ctx, `
			UPDATE users
			SET username = ?, username_key = ?, email = ?, email_key = ?, email_verified = ?,
				profile = ?, groups = ?, admin = ?, status = ?, must_change_password = ?, factors = ?,
				locale = ?, delete_at = ?, epoch = ?, updated_at = ?
			WHERE id = ? AND epoch = ? AND (email_key = ? OR NOT `+takenElsewhere+`)`,
			u.Username, u.UsernameKey, u.Email, u.EmailKey, u.EmailVerified,
			u.Profile, u.Groups, u.Admin, u.Status, u.MustChangePassword, u.Factors, u.Locale,
			u.DeleteAt, u.Epoch, u.UpdatedAt, u.ID, epoch, u.EmailKey, u.EmailKey, u.ID)
		if err := changed(n, err, idp.ErrConflict); err != nil {
			return err
		}
		return s.putPrimary(ctx, u, u.UpdatedAt)
	})
}

// DeleteUser implements idp.UserStore.
func (s *Store) DeleteUser(ctx context.Context, id idp.ID) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		if err := found(s.exec(ctx, `DELETE FROM users WHERE id = ?`, id)); err != nil {
			return err
		}
		if _, err := s.exec(ctx, `DELETE FROM tickets WHERE owner = ?`, id); err != nil {
			return err
		}
		_, err := s.exec(ctx, `DELETE FROM grants WHERE user_id = ?`, id)
		return err
	})
}
