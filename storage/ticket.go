package storage

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"postern/idp"
)

const ticketColumns = `id, purpose, user_id, owner, epoch, address, code_hash, link_hash, browser, tries,
	max_tries, payload, created_at, expires_at, redeemed_at, redeemed_by, dead_at`

// AddTicket implements idp.TicketStore. An owner has one row of a purpose and scope, which the
// newest takes over, so that of two that are added at the same moment one is left.
func (s *Store) AddTicket(ctx context.Context, t idp.Ticket) error {
	var scope any = t.Scope
	switch t.Purpose {
	case idp.ForAddress:
		scope = t.Address
	case idp.ForRevert, idp.ForAlarm, idp.ForUndelete:
		scope = nil
	}
	_, err := s.exec(ctx, `
		INSERT INTO tickets (scope, `+ticketColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (owner, purpose, scope) DO UPDATE
		SET id = excluded.id, epoch = excluded.epoch, address = excluded.address,
			code_hash = excluded.code_hash, link_hash = excluded.link_hash, browser = excluded.browser,
			tries = excluded.tries, max_tries = excluded.max_tries, payload = excluded.payload,
			created_at = excluded.created_at, expires_at = excluded.expires_at,
			redeemed_at = excluded.redeemed_at, redeemed_by = excluded.redeemed_by,
			dead_at = excluded.dead_at`,
		scope, t.ID, string(t.Purpose), t.UserID, t.Owner[:], t.Epoch, t.Address, t.CodeHash, t.LinkHash, t.Browser,
		t.Tries, t.MaxTries, t.Payload, t.CreatedAt, t.ExpiresAt, t.RedeemedAt, t.RedeemedBy, t.DeadAt)
	return err
}

// Ticket implements idp.TicketStore.
func (s *Store) Ticket(ctx context.Context, id idp.ID) (t idp.Ticket, err error) {
	err = s.get(ctx, &t, `
		SELECT `+ticketColumns+`
		FROM tickets
		WHERE id = ?`, id)
	return t, err
}

// TryTicket implements idp.TicketStore.
func (s *Store) TryTicket(ctx context.Context, id idp.ID) (t idp.Ticket, err error) {
	tried := false
	each := func(rows *sql.Rows) error {
		tried = true
		return rows.Scan(&t.ID, &t.Purpose, &t.UserID, &t.Owner, &t.Epoch, &t.Address, &t.CodeHash, &t.LinkHash,
			&t.Browser, &t.Tries, &t.MaxTries, &t.Payload, moment{&t.CreatedAt}, moment{&t.ExpiresAt},
			maybe{&t.RedeemedAt}, &t.RedeemedBy, moment{&t.DeadAt})
	}
	err = s.returning(ctx, func() { tried, t = false, idp.Ticket{} }, each, `
		UPDATE tickets
		SET tries = tries + 1
		WHERE id = ? AND tries < max_tries AND (
			purpose IN (?, ?)
			OR redeemed_at IS NULL AND (user_id IS NULL OR EXISTS (
				SELECT 1 FROM users u
				WHERE u.id = tickets.user_id AND u.epoch = tickets.epoch)))
		RETURNING `+ticketColumns, id, string(idp.ForReset), string(idp.ForLogIn))
	if err == nil && !tried {
		err = idp.ErrNotFound
	}
	return t, err
}

// RedeemTicket implements idp.TicketStore.
func (s *Store) RedeemTicket(ctx context.Context, id idp.ID, by []byte, now time.Time) (bool, error) {
	n, err := s.repeat(ctx, `
		UPDATE tickets
		SET redeemed_at = ?, redeemed_by = ?
		WHERE id = ? AND (redeemed_at IS NULL AND expires_at > ? OR redeemed_by = ?)`, now, by, id, now, by)
	return n > 0, err
}

// EndTickets implements idp.TicketStore.
func (s *Store) EndTickets(ctx context.Context, userID idp.ID, now time.Time, purposes ...idp.Purpose) error {
	condition, args := ``, []any{now, string(idp.ForReset), string(idp.ForLogIn), userID, now}
	if len(purposes) > 0 {
		condition = ` AND purpose IN (?` + strings.Repeat(`, ?`, len(purposes)-1) + `)`
	}
	for _, p := range purposes {
		args = append(args, string(p))
	}
	_, err := s.exec(ctx, `
		UPDATE tickets
		SET expires_at = ?, tries = CASE WHEN purpose IN (?, ?) THEN tries ELSE max_tries END
		WHERE owner = ? AND redeemed_at IS NULL AND expires_at > ?`+condition, args...)
	return err
}

// EndLaterTickets implements idp.TicketStore.
func (s *Store) EndLaterTickets(ctx context.Context, t idp.Ticket, now time.Time) error {
	_, err := s.exec(ctx, `
		UPDATE tickets
		SET expires_at = ?, tries = max_tries
		WHERE owner = ? AND purpose IN (?, ?) AND created_at > ? AND redeemed_at IS NULL AND expires_at > ?`,
		now, t.Owner, string(idp.ForRevert), string(idp.ForAlarm), t.CreatedAt, now)
	return err
}
