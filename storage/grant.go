package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/idp"
)

const grantColumns = `g.id, g.client_id, g.user_id, g.session_id, g.session_bound, g.scopes, g.audience,
	g.facts, g.confirmation, g.epoch, g.consent_version, g.code_hash, g.code_expires_at,
	g.code_used_at, g.code_used_by, g.rt_gen, g.rt_parent, g.rt_recent, g.rt_key, g.rt_expires_at,
	g.rt_rotated_at, g.rt_rotated_by, g.deed_nonce, g.created_at, g.revoked_at, g.revoked_why, g.dead_at`

// grantDests are the fields of grantColumns.
func grantDests(g *idp.Grant) []any {
	return []any{&g.ID, &g.ClientID, &g.UserID, &g.SessionID, &g.SessionBound, &g.Scopes, &g.Audience,
		&g.Facts, &g.Confirmation, &g.Epoch, &g.ConsentVersion, &g.CodeHash, moment{&g.CodeExpiresAt},
		maybe{&g.CodeUsedAt}, &g.CodeUsedBy, &g.RefreshGen, &g.RefreshParent, &g.RefreshRecent,
		&g.RefreshKey, maybe{&g.RefreshExpiresAt}, maybe{&g.RefreshedAt}, &g.RefreshedBy,
		&g.DeedNonce, moment{&g.CreatedAt}, maybe{&g.RevokedAt}, &g.RevokedWhy, moment{&g.DeadAt}}
}

const addGrantQuery = `
	INSERT INTO grants (id, client_id, user_id, session_id, session_bound, scopes, audience,
		facts, confirmation, epoch, consent_version, code_hash, code_expires_at,
		code_used_at, code_used_by, rt_gen, rt_parent, rt_recent, rt_key, rt_expires_at,
		rt_rotated_at, rt_rotated_by, deed_nonce, created_at, revoked_at, revoked_why, dead_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// AddGrant implements idp.GrantStore.
func (s *Store) AddGrant(ctx context.Context, g idp.Grant) error {
	_, err := s.exec(ctx, addGrantQuery, g.ID, g.ClientID, g.UserID, g.SessionID, g.SessionBound,
		g.Scopes, g.Audience, g.Facts, g.Confirmation, g.Epoch, g.ConsentVersion, g.CodeHash,
		g.CodeExpiresAt, g.CodeUsedAt, g.CodeUsedBy, g.RefreshGen, g.RefreshParent, g.RefreshRecent,
		g.RefreshKey, g.RefreshExpiresAt, g.RefreshedAt, g.RefreshedBy, g.DeedNonce, g.CreatedAt,
		g.RevokedAt, g.RevokedWhy, g.DeadAt)
	return err
}

// What a grant rests on is joined, so that nothing of it can be in flight when it ends (I-2).
var (
	standingColumns = `COALESCE(u.status, '') AS c, COALESCE(u.epoch, 0) AS c, COALESCE(c.floor, 0) AS c,
		COALESCE(s.epoch, 0) AS c, ` + bare(`s.idle_at, s.ends_at, s.ended_at`)
	standingJoins = `
		LEFT JOIN consents c ON c.user_id = g.user_id AND c.client_id = g.client_id
		LEFT JOIN sessions s ON s.id = g.session_id AND g.session_bound`
)

// standingDests adds the fields of standingColumns to dests.
func standingDests(dests []any, v *idp.GrantVisit) []any {
	return append(dests, &v.UserStatus, &v.UserEpoch, &v.ConsentFloor, &v.SessionEpoch,
		maybe{&v.SessionIdleAt}, maybe{&v.SessionEndsAt}, maybe{&v.SessionEndedAt})
}

var (
	grantQuery = `
		SELECT ` + bare(grantColumns) + `, ` + standingColumns + `
		FROM grants g
		LEFT JOIN users u ON u.id = g.user_id` + standingJoins + `
		WHERE g.id = ?`
	grantWithUserQuery = `
		SELECT ` + bare(grantColumns+", "+userColumns) + `, ` + standingColumns + `
		FROM grants g
		JOIN users u ON u.id = g.user_id` + standingJoins + `
		WHERE g.id = ?`
)

// Grant implements idp.GrantStore.
func (s *Store) Grant(ctx context.Context, id idp.ID, withUser bool) (v idp.GrantVisit, err error) {
	query := grantQuery
	dests := grantDests(&v.Grant)
	if withUser {
		v.User = new(idp.User)
		query = grantWithUserQuery
		dests = append(dests, userDests(v.User)...)
	}
	dests = standingDests(dests, &v)
	if err := s.row(ctx, query, []any{id}, dests...); err != nil {
		return idp.GrantVisit{}, err
	}
	return v, nil
}

// An access token needs a third of the columns, each of which costs at every request of an API.
// The deny rows are joined, since SQLite makes a table in memory for an IN, each time.
var (
	accessColumns = bare(`g.client_id, g.user_id, g.session_bound, g.scopes, g.audience, g.facts, g.epoch,
		g.consent_version, g.revoked_at`) + `, ` + standingColumns + `,
		own.key IS NOT NULL OR issue.key IS NOT NULL AS c`
	accessJoins = standingJoins + `
		LEFT JOIN denied own ON own.key = ?
		LEFT JOIN denied issue ON issue.key = ?
		WHERE g.id = ?`
	accessQuery = `
		SELECT ` + accessColumns + `
		FROM grants g
		LEFT JOIN users u ON u.id = g.user_id` + accessJoins
	accessWithUserQuery = `
		SELECT ` + accessColumns + `, ` + bare(`u.username, u.email, u.email_verified, u.profile, u.updated_at`) + `
		FROM grants g
		JOIN users u ON u.id = g.user_id` + accessJoins
)

const (
	maxDenyKeys      = 2  // of a token: its own and that of its generation
	maxAccessColumns = 22 // of accessWithUserQuery
)

// AccessGrant implements idp.GrantStore.
func (s *Store) AccessGrant(ctx context.Context, id idp.ID, denyKeys [][]byte, withUser bool) (v idp.GrantVisit, err error) {
	if len(denyKeys) > maxDenyKeys {
		return v, fmt.Errorf("%d deny keys, at most %d", len(denyKeys), maxDenyKeys)
	}
	var deny [maxDenyKeys][]byte
	copy(deny[:], denyKeys)
	query := accessQuery
	g := &v.Grant
	g.ID = id
	dests := make([]any, 0, maxAccessColumns)
	dests = append(dests, &g.ClientID, &g.UserID, &g.SessionBound, &g.Scopes, &g.Audience, &g.Facts, &g.Epoch,
		&g.ConsentVersion, maybe{&g.RevokedAt})
	dests = append(standingDests(dests, &v), &v.Denied)
	if withUser {
		u := new(idp.User)
		v.User = u
		query = accessWithUserQuery
		dests = append(dests, &u.Username, &u.Email, &u.EmailVerified, &u.Profile, moment{&u.UpdatedAt})
	}
	if err := s.row(ctx, query, []any{deny[0], deny[1], id}, dests...); err != nil {
		return idp.GrantVisit{}, err
	}
	if u := v.User; u != nil {
		u.ID, u.Status, u.Epoch = g.UserID, v.UserStatus, v.UserEpoch
	}
	return v, nil
}

// The three conditional UPDATEs know the row that they changed themselves by the random id that
// they wrote, so that they may be sent again (I-9).
const (
	refreshAssignments = `rt_gen = ?, rt_parent = ?, rt_recent = ?, rt_key = ?, rt_expires_at = ?,
		rt_rotated_at = ?, rt_rotated_by = ?, dead_at = ?`
	redeemQuery = `
		UPDATE grants
		SET code_used_at = ?, code_used_by = ?, ` + refreshAssignments + `
		WHERE id = ? AND revoked_at IS NULL AND (code_used_at IS NULL OR code_used_by = ?)`
	rotateQuery = `
		UPDATE grants
		SET ` + refreshAssignments + `
		WHERE id = ? AND revoked_at IS NULL AND (rt_gen = ? OR rt_rotated_by = ?)`
	skipQuery = `
		UPDATE grants
		SET ` + refreshAssignments + `
		WHERE id = ? AND revoked_at IS NULL AND (rt_gen = ? AND rt_parent = ? OR rt_rotated_by = ?)`
)

// RedeemCode implements idp.GrantStore.
func (s *Store) RedeemCode(ctx context.Context, g idp.Grant) (bool, error) {
	n, err := s.repeat(ctx, redeemQuery, g.CodeUsedAt, g.CodeUsedBy,
		g.RefreshGen, g.RefreshParent, g.RefreshRecent, g.RefreshKey, g.RefreshExpiresAt,
		g.RefreshedAt, g.RefreshedBy, g.DeadAt, g.ID, g.CodeUsedBy)
	return n > 0, err
}

// RotateRefresh implements idp.GrantStore.
func (s *Store) RotateRefresh(ctx context.Context, g idp.Grant, shown int64) (bool, error) {
	n, err := s.repeat(ctx, rotateQuery,
		g.RefreshGen, g.RefreshParent, g.RefreshRecent, g.RefreshKey, g.RefreshExpiresAt,
		g.RefreshedAt, g.RefreshedBy, g.DeadAt, g.ID, shown, g.RefreshedBy)
	return n > 0, err
}

// SkipRefresh implements idp.GrantStore.
func (s *Store) SkipRefresh(ctx context.Context, g idp.Grant, head, shown int64, d idp.Denial) (done bool, err error) {
	err = s.Tx(ctx, func(ctx context.Context) error {
		n, err := s.repeat(ctx, skipQuery,
			g.RefreshGen, g.RefreshParent, g.RefreshRecent, g.RefreshKey, g.RefreshExpiresAt,
			g.RefreshedAt, g.RefreshedBy, g.DeadAt, g.ID, head, shown, g.RefreshedBy)
		if done = n > 0; err != nil || !done {
			return err
		}
		return s.Deny(ctx, d.Key, d.DeadAt)
	})
	return done && err == nil, err
}

// RevokeGrant implements idp.GrantStore.
func (s *Store) RevokeGrant(ctx context.Context, id idp.ID, why string, now time.Time) (bool, error) {
	n, err := s.exec(ctx, `
		UPDATE grants
		SET revoked_at = ?, revoked_why = ?
		WHERE id = ? AND revoked_at IS NULL`, now, why, id)
	return n > 0, err
}

// RevokeGrants implements idp.GrantStore.
func (s *Store) RevokeGrants(ctx context.Context, f idp.GrantFilter, why string, now time.Time) (int, error) {
	if f.UserID.IsZero() && f.ClientID == "" {
		return 0, errors.New("revoke grants: the filter names neither user nor client")
	}
	where := []string{"revoked_at IS NULL"}
	args := []any{now, why}
	and := func(condition string, args2 ...any) {
		where = append(where, condition)
		args = append(args, args2...)
	}
	if !f.UserID.IsZero() {
		and("user_id = ?", f.UserID)
	}
	if f.ClientID != "" {
		and("client_id = ?", f.ClientID)
	}
	if !f.SessionID.IsZero() {
		and("session_id = ?", f.SessionID)
	}
	if f.Bound {
		and("session_bound")
	}
	if !f.ExceptSession.IsZero() {
		and("(session_id IS NULL OR session_id <> ?)", f.ExceptSession)
	}
	n, err := s.exec(ctx, `
		UPDATE grants
		SET revoked_at = ?, revoked_why = ?
		WHERE `+strings.Join(where, " AND "), args...)
	return int(n), err
}

// Grants implements idp.GrantStore.
func (s *Store) Grants(ctx context.Context, userID idp.ID, now time.Time, limit int) (list []idp.Grant, err error) {
	args, err := bind([]any{userID, now, limit})
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(t *tx) error {
		list = nil
		return t.query(`
			SELECT `+grantColumns+`
			FROM grants g
			JOIN users u ON u.id = g.user_id AND u.epoch = g.epoch
			WHERE g.user_id = ? AND g.revoked_at IS NULL AND g.dead_at > ?
			ORDER BY g.id DESC
			LIMIT ?`, args, func(rows *sql.Rows) error {
			var g idp.Grant
			err := rows.Scan(grantDests(&g)...)
			list = append(list, g)
			return err
		})
	})
	return list, err
}

// LiftGrants implements idp.GrantStore.
func (s *Store) LiftGrants(ctx context.Context, userID idp.ID, from, to int64) error {
	_, err := s.exec(ctx, `
		UPDATE grants
		SET epoch = ?
		WHERE user_id = ? AND epoch = ? AND revoked_at IS NULL`, to, userID, from)
	return err
}

// Deny implements idp.GrantStore.
func (s *Store) Deny(ctx context.Context, key []byte, dead time.Time) error {
	_, err := s.exec(ctx, `
		INSERT INTO denied (key, dead_at) VALUES (?, ?)
		ON CONFLICT (key) DO UPDATE SET dead_at = excluded.dead_at
		WHERE denied.dead_at < excluded.dead_at`, key, dead)
	return err
}

// DeniedToken implements idp.GrantStore.
func (s *Store) DeniedToken(ctx context.Context, key []byte) (denied bool, err error) {
	err = s.row(ctx, `SELECT EXISTS (SELECT 1 FROM denied WHERE key = ?)`, []any{key}, &denied)
	return denied, err
}
