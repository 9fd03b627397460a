package storage

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"postern/idp"
)

const jobColumns = `id, kind, name, payload, run_at, tries, locked_until, last_error, created_at, dead_at`

// AddJob implements idp.JobStore. A job that nobody tries any more gives up its name.
func (s *Store) AddJob(ctx context.Context, j idp.Job) (bool, error) {
	n, err := s.exec(ctx, `
		INSERT INTO jobs (`+jobColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) WHERE name <> '' DO UPDATE
		SET id = excluded.id, kind = excluded.kind, payload = excluded.payload, run_at = excluded.run_at,
			tries = excluded.tries, locked_until = excluded.locked_until, last_error = excluded.last_error,
			created_at = excluded.created_at, dead_at = excluded.dead_at
		WHERE jobs.dead_at <= excluded.created_at`,
		j.ID, j.Kind, j.Name, j.Payload, j.RunAt, j.Tries, j.LockedUntil, j.LastError, j.CreatedAt, j.DeadAt)
	return n > 0, err
}

// TakeJobs implements idp.JobStore. What makes a job free is asked twice: the subquery may see one
// that another node takes at the same moment.
func (s *Store) TakeJobs(ctx context.Context, now, until time.Time, limit int) (list []idp.Job, err error) {
	each := func(rows *sql.Rows) error {
		var j idp.Job
		err := rows.Scan(&j.ID, &j.Kind, &j.Name, &j.Payload, moment{&j.RunAt}, &j.Tries,
			maybe{&j.LockedUntil}, &j.LastError, moment{&j.CreatedAt}, moment{&j.DeadAt})
		list = append(list, j)
		return err
	}
	const free = `run_at <= ? AND (locked_until IS NULL OR locked_until <= ?)`
	err = s.returning(ctx, func() { list = nil }, each, `
		UPDATE jobs
		SET tries = tries + 1, locked_until = ?
		WHERE `+free+` AND id IN (
			SELECT id FROM jobs
			WHERE `+free+` AND dead_at > ?
			ORDER BY run_at, id
			LIMIT ?)
		RETURNING `+jobColumns, until, now, now, now, now, now, limit)
	slices.SortFunc(list, func(a, b idp.Job) int {
		return cmp.Or(a.RunAt.Compare(b.RunAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return list, err
}

// PutOffJob implements idp.JobStore.
func (s *Store) PutOffJob(ctx context.Context, j idp.Job, at time.Time, reason string) error {
	_, err := s.exec(ctx, `
		UPDATE jobs
		SET run_at = ?, locked_until = NULL, last_error = ?
		WHERE id = ? AND tries = ?`, at, reason, j.ID, j.Tries)
	return err
}

// RemoveJob implements idp.JobStore.
func (s *Store) RemoveJob(ctx context.Context, id idp.ID) error {
	_, err := s.exec(ctx, `DELETE FROM jobs WHERE id = ?`, id)
	return err
}

// CountJobs implements idp.JobStore.
func (s *Store) CountJobs(ctx context.Context, now time.Time) (waiting, failing int, err error) {
	err = s.row(ctx, `
		SELECT COUNT(*), COUNT(NULLIF(last_error, ''))
		FROM jobs
		WHERE dead_at > ?`, []any{now}, &waiting, &failing)
	return waiting, failing, err
}
