package storage

import (
	"context"
	"database/sql"
	"time"

	"postern/idp"
)

const sessionColumns = `s.id, s.secret_hash, s.user_id, s.epoch, s.state, s.authentication, s.methods,
	s.address, s.user_agent, s.remembered, s.created_at, s.last_seen_at, s.idle_at, s.ends_at,
	s.ended_at, s.ended_why, s.client_id, s.trusted, s.dead_at`

// sessionDests are the fields of sessionColumns.
func sessionDests(s *idp.Session) []any {
	return []any{&s.ID, &s.SecretHash, &s.UserID, &s.Epoch, &s.State, &s.Authentication, &s.Methods,
		&s.Address, &s.UserAgent, &s.Remembered, moment{&s.CreatedAt}, moment{&s.LastSeenAt},
		moment{&s.IdleAt}, moment{&s.EndsAt}, maybe{&s.EndedAt}, &s.EndedWhy, &s.ClientID,
		&s.Trusted, moment{&s.DeadAt}}
}

// AddSession implements idp.SessionStore.
func (s *Store) AddSession(ctx context.Context, row idp.Session) error {
	_, err := s.insert(ctx, `
		INSERT INTO sessions (id, secret_hash, user_id, epoch, state, authentication, methods,
			address, user_agent, remembered, created_at, last_seen_at, idle_at, ends_at,
			ended_at, ended_why, client_id, trusted, dead_at)
		VALUES (:id, :secret_hash, :user_id, :epoch, :state, :authentication, :methods,
			:address, :user_agent, :remembered, :created_at, :last_seen_at, :idle_at, :ends_at,
			:ended_at, :ended_why, :client_id, :trusted, :dead_at)`, row)
	return err
}

// The version tells whether a consent was joined: a row's is at least 1.
var visitQuery = `
	SELECT ` + bare(sessionColumns+", "+userColumns) + `,
		COALESCE(c.version, 0), COALESCE(c.floor, 0), COALESCE(c.scopes, '[]'), COALESCE(c.claims, '[]'),
		c.created_at, c.updated_at
	FROM sessions s
	JOIN users u ON u.id = s.user_id
	LEFT JOIN consents c ON c.user_id = s.user_id AND c.client_id = ?
	WHERE s.id = ?`

// Visit implements idp.SessionStore.
func (s *Store) Visit(ctx context.Context, id idp.ID, clientID string) (v idp.Visit, err error) {
	c := idp.Consent{ClientID: clientID}
	dests := append(sessionDests(&v.Session), userDests(&v.User)...)
	dests = append(dests, &c.Version, &c.Floor, &c.Scopes, &c.Claims, orZero{&c.CreatedAt}, orZero{&c.UpdatedAt})
	if err := s.row(ctx, visitQuery, []any{clientID, id}, dests...); err != nil {
		return idp.Visit{}, err
	}
	if c.Version > 0 {
		c.UserID = v.User.ID
		v.Consent = &c
	}
	return v, nil
}

// RenewSession implements idp.SessionStore.
func (s *Store) RenewSession(ctx context.Context, row idp.Session, from idp.ID) error {
	n, err := s.exec(ctx, `
		UPDATE sessions
		SET secret_hash = ?, authentication = ?, methods = ?, trusted = ?, epoch = ?, state = ?, address = ?,
			user_agent = ?, remembered = ?, last_seen_at = ?, idle_at = ?, ends_at = ?, dead_at = ?
		WHERE id = ? AND authentication = ? AND ended_at IS NULL`,
		row.SecretHash, row.Authentication, row.Methods, row.Trusted, row.Epoch, row.State, row.Address,
		row.UserAgent, row.Remembered, row.LastSeenAt, row.IdleAt, row.EndsAt, row.DeadAt,
		row.ID, from)
	return changed(n, err, idp.ErrConflict)
}

// TouchSession implements idp.SessionStore.
func (s *Store) TouchSession(ctx context.Context, seen idp.Session) error {
	_, err := s.exec(ctx, `
		UPDATE sessions
		SET last_seen_at = ?, idle_at = ?, dead_at = ?
		WHERE id = ? AND authentication = ? AND ended_at IS NULL AND last_seen_at < ?`,
		seen.LastSeenAt, seen.IdleAt, seen.DeadAt, seen.ID, seen.Authentication, seen.LastSeenAt)
	return err
}

// Sessions implements idp.SessionStore.
func (s *Store) Sessions(ctx context.Context, userID, before idp.ID, now time.Time, limit int) (list []idp.Session, err error) {
	const alive = `s.id < ? AND s.ended_at IS NULL AND s.idle_at > ? AND s.ends_at > ?`
	if userID.IsZero() {
		err = s.all(ctx, &list, `
			SELECT `+sessionColumns+`
			FROM sessions s
			WHERE `+alive+`
			ORDER BY s.id DESC
			LIMIT ?`, edge(before), now, now, limit)
		return list, err
	}
	err = s.all(ctx, &list, `
		SELECT `+sessionColumns+`
		FROM sessions s
		WHERE s.user_id = ? AND `+alive+`
		ORDER BY s.id DESC
		LIMIT ?`, userID, edge(before), now, now, limit)
	return list, err
}

// Accesses implements idp.SessionStore.
func (s *Store) Accesses(ctx context.Context, f idp.AccessFilter, before idp.ID, limit int) (list []idp.Session, err error) {
	condition, args := `s.id < ?`, []any{edge(before)}
	if !f.UserID.IsZero() {
		condition, args = condition+` AND s.user_id = ?`, append(args, f.UserID)
	}
	if f.Address != "" {
		condition, args = condition+` AND s.address = ?`, append(args, f.Address)
	}
	if !f.Since.IsZero() {
		condition, args = condition+` AND s.id >= ?`, append(args, firstID(f.Since))
	}
	err = s.all(ctx, &list, `
		SELECT `+sessionColumns+`
		FROM sessions s
		WHERE `+condition+`
		ORDER BY s.id DESC
		LIMIT ?`, append(args, limit)...)
	return list, err
}

// PruneSessions implements idp.SessionStore. What ended before t was made before t: the walk along
// the primary key stops there.
func (s *Store) PruneSessions(ctx context.Context, t time.Time) (int, error) {
	n, err := s.exec(ctx, `
		DELETE FROM sessions
		WHERE id IN (
			SELECT id FROM sessions
			WHERE id < ? AND (ended_at < ? OR idle_at < ? OR ends_at < ?)
			ORDER BY id
			LIMIT ?)`, firstID(t), t, t, t, sweepBatch)
	return int(n), err
}

// LiftSessions implements idp.SessionStore.
func (s *Store) LiftSessions(ctx context.Context, userID idp.ID, from, to int64) error {
	_, err := s.exec(ctx, `
		UPDATE sessions
		SET epoch = ?, trusted = FALSE
		WHERE user_id = ? AND epoch = ? AND ended_at IS NULL`, to, userID, from)
	return err
}

// EndSession implements idp.SessionStore.
func (s *Store) EndSession(ctx context.Context, id idp.ID, why string, now time.Time) (bool, error) {
	n, err := s.exec(ctx, `
		UPDATE sessions
		SET ended_at = ?, ended_why = ?
		WHERE id = ? AND ended_at IS NULL AND idle_at > ? AND ends_at > ?`, now, why, id, now, now)
	return n > 0, err
}

// EndSessions implements idp.SessionStore.
func (s *Store) EndSessions(ctx context.Context, userID, except idp.ID, why string, now time.Time) (ended []idp.ID, err error) {
	each := func(rows *sql.Rows) error {
		var id idp.ID
		err := rows.Scan(&id)
		ended = append(ended, id)
		return err
	}
	err = s.returning(ctx, func() { ended = nil }, each, `
		UPDATE sessions
		SET ended_at = ?, ended_why = ?
		WHERE user_id = ? AND id <> ? AND ended_at IS NULL AND idle_at > ? AND ends_at > ?
		RETURNING id`, now, why, userID, except[:], now, now)
	return ended, err
}
