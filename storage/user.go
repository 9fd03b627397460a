package storage

import (
	"context"
	"strings"

	"postern/idp"
)

const userColumns = `u.id, u.username, u.username_key, u.email, u.email_key, u.email_verified,
	u.profile, u.groups, u.admin, u.status, u.epoch, u.created_at, u.updated_at`

// userDests are the fields of userColumns.
func userDests(u *idp.User) []any {
	return []any{&u.ID, &u.Username, &u.UsernameKey, &u.Email, &u.EmailKey, &u.EmailVerified,
		&u.Profile, &u.Groups, &u.Admin, &u.Status, &u.Epoch, moment{&u.CreatedAt}, moment{&u.UpdatedAt}}
}

// AddUser implements idp.UserStore.
func (s *Store) AddUser(ctx context.Context, u idp.User) error {
	_, err := s.insert(ctx, `
		INSERT INTO users (id, username, username_key, email, email_key, email_verified,
			profile, groups, admin, status, epoch, created_at, updated_at)
		VALUES (:id, :username, :username_key, :email, :email_key, :email_verified,
			:profile, :groups, :admin, :status, :epoch, :created_at, :updated_at)`, u)
	return err
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

// keyCondition finds a user by a canonical identifier. The second term lets the database use the
// index, which leaves out empty addresses.
func keyCondition(key string) string {
	if strings.Contains(key, "@") {
		return `u.email_key = ? AND u.email_key <> ''`
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

// ChangeUser implements idp.UserStore.
func (s *Store) ChangeUser(ctx context.Context, u idp.User, epoch int64) error {
	n, err := s.exec(ctx, `
		UPDATE users
		SET username = ?, username_key = ?, email = ?, email_key = ?, email_verified = ?,
			profile = ?, groups = ?, admin = ?, status = ?, epoch = ?, updated_at = ?
		WHERE id = ? AND epoch = ?`,
		u.Username, u.UsernameKey, u.Email, u.EmailKey, u.EmailVerified,
		u.Profile, u.Groups, u.Admin, u.Status, u.Epoch, u.UpdatedAt, u.ID, epoch)
	return changed(n, err, idp.ErrConflict)
}

// DeleteUser implements idp.UserStore.
func (s *Store) DeleteUser(ctx context.Context, id idp.ID) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		if err := found(s.exec(ctx, `DELETE FROM users WHERE id = ?`, id)); err != nil {
			return err
		}
		_, err := s.exec(ctx, `DELETE FROM grants WHERE user_id = ?`, id)
		return err
	})
}
