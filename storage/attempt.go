package storage

import (
	"bytes"
	"context"
	"strings"
	"time"

	"postern/idp"
)

// AddAttempt implements idp.AttemptStore.
func (s *Store) AddAttempt(ctx context.Context, a idp.Attempt, keep int) error {
	return s.Tx(ctx, func(ctx context.Context) error {
		_, err := s.insert(ctx, `
			INSERT INTO attempts (id, at, bucket, kind, user_id, name, address, user_agent, path,
				parameters, client_id, request_id, why)
			VALUES (:id, :at, :bucket, :kind, :user_id, :name, :address, :user_agent, :path,
				:parameters, :client_id, :request_id, :why)`, a)
		if err != nil || keep == 0 {
			return err
		}
		_, err = s.exec(ctx, `
			DELETE FROM attempts
			WHERE bucket = ? AND id <= (
				SELECT id FROM attempts
				WHERE bucket = ?
				ORDER BY id DESC
				LIMIT 1 OFFSET ?)`, a.Bucket, a.Bucket, keep)
		return err
	})
}

// Attempts implements idp.AttemptStore.
func (s *Store) Attempts(ctx context.Context, f idp.AttemptFilter, before idp.ID, limit int) (list []idp.Attempt, err error) {
	condition, args := attemptCondition(f)
	args = append(append(args, edge(before)), limit)
	err = s.all(ctx, &list, `
		SELECT id, at, bucket, kind, user_id, name, address, user_agent, path, parameters, client_id,
			request_id, why
		FROM attempts
		WHERE `+condition+` AND id < ?
		ORDER BY id DESC
		LIMIT ?`, args...)
	return list, err
}

// CountAttempts implements idp.AttemptStore.
func (s *Store) CountAttempts(ctx context.Context, f idp.AttemptFilter) (n int, err error) {
	condition, args := attemptCondition(f)
	err = s.row(ctx, `SELECT COUNT(*) FROM attempts WHERE `+condition, args, &n)
	return n, err
}

func attemptCondition(f idp.AttemptFilter) (string, []any) {
	conditions, args := []string{`id >= ?`}, []any{[]byte{}}
	add := func(holds bool, condition string, arg any) {
		if holds {
			conditions, args = append(conditions, condition), append(args, arg)
		}
	}
	if !f.Since.IsZero() {
		args[0] = firstID(f.Since)
	}
	add(f.Kind != "", `kind = ?`, f.Kind)
	add(!f.UserID.IsZero(), `user_id = ?`, f.UserID)
	add(f.Address != "", `address = ?`, f.Address)
	return strings.Join(conditions, ` AND `), args
}

// PruneAttempts implements idp.AttemptStore.
func (s *Store) PruneAttempts(ctx context.Context, t time.Time) (int, error) {
	return s.pruneBefore(ctx, "attempts", t)
}

// pruneBefore deletes the next batch of rows that were made before t. Their ids are in the order of
// their times.
func (s *Store) pruneBefore(ctx context.Context, table string, t time.Time) (int, error) {
	n, err := s.exec(ctx, `
		DELETE FROM `+table+`
		WHERE id IN (SELECT id FROM `+table+` WHERE id < ? ORDER BY id LIMIT ?)`, firstID(t), sweepBatch)
	return int(n), err
}

// edge is what ids before `before` are less than: beyond every id for the zero one.
func edge(before idp.ID) []byte {
	if before.IsZero() {
		return bytes.Repeat([]byte{0xff}, len(before))
	}
	return before[:]
}
