package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"postern/idp/guard"
)

// What the tests of this folder see of the inside.

// Exec sends any statement on the path of writes.
func (s *Store) Exec(ctx context.Context, query string, args ...any) error {
	_, err := s.exec(ctx, query, args...)
	return err
}

// Int reads one number.
func (s *Store) Int(ctx context.Context, query string, args ...any) (n int, err error) {
	err = s.row(ctx, query, args, &n)
	return n, err
}

// Interrupt runs a statement that would never end on the connection of ctx's transaction, and
// interrupts it: what an operator's kill or a shutdown does.
func (s *Store) Interrupt(ctx context.Context) error {
	t := s.joined(ctx)
	brief, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := t.ExecContext(brief, `
		INSERT INTO versions (name, version)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
		SELECT 'n' || (i % 100000), i FROM n WHERE true
		ON CONFLICT (name) DO UPDATE SET version = excluded.version`)
	return t.fail(err)
}

// Queued is how many callers wait for SQLite's writer.
func (s *Store) Queued() int { return len(s.writes.(*writer).queue) }

// LimitBatches bounds how many callers share a COMMIT.
func (s *Store) LimitBatches(most int) { s.writes.(*writer).most = most }

// IsSQLite tells which database s is.
func (s *Store) IsSQLite() bool {
	_, ok := s.writes.(*writer)
	return ok
}

var Snake = snake

const SweepBatch = sweepBatch

// Row reads one row of any statement.
func (s *Store) Row(ctx context.Context, query string, dests ...any) error {
	return s.row(ctx, query, nil, dests...)
}

// LimitWindow bounds how many rows a statement of Sweep looks at.
func (s *Store) LimitWindow(rows int) { s.sweepWindow = rows }

// Expire makes the transaction that ctx carries one that takes too long.
func (s *Store) Expire(ctx context.Context) { s.joined(ctx).limit = time.Now().Add(-1) }

// ForgetMigration makes the last migration one that is still to come. It can be applied twice.
func ForgetMigration(t *testing.T, url string) {
	t.Helper()
	s, err := schemaOf(url, refuseMissing)
	if err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	if _, err := s.db.ExecContext(t.Context(), `DELETE FROM migrations WHERE version_id = 8`); err != nil {
		t.Fatal(err)
	}
}

// MigrateTo migrates an empty database up to a version, or one of a later version down to it.
func MigrateTo(t *testing.T, url string, version int64) {
	t.Helper()
	s, err := schemaOf(url, makeFile)
	if err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	p, err := s.provider()
	if err != nil {
		t.Fatal(err)
	}
	applied, err := s.applied(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if applied > version {
		_, err = p.DownTo(t.Context(), version)
	} else {
		_, err = p.UpTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ReserveBetween is ReserveCounters that runs `between` after it read, before it writes.
func (s *Store) ReserveBetween(ctx context.Context, counters []guard.Counter, now time.Time, between func()) ([]guard.Outcome, error) {
	outcomes := make([]guard.Outcome, len(counters))
	cs, err := s.cells(ctx, counters)
	if err != nil {
		return nil, err
	}
	cs.take(outcomes, micro(now))
	between()
	err = s.change(ctx, cs, func(cs cells) { cs.take(outcomes, micro(now)) })
	return outcomes, err
}

// FillDisk lets SQLite's file grow to some pages, on every connection that writes.
func (s *Store) FillDisk(ctx context.Context, pages int) error {
	w := s.writes.(*writer)
	open := w.open
	limit := fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)
	w.open = func(ctx context.Context) (*conn, error) {
		c, err := open(ctx)
		if err != nil {
			return nil, err
		}
		_, err = c.ExecContext(ctx, limit)
		return c, err
	}
	return s.Exec(ctx, limit) // on the one that is open
}

// WaitForAConnection asks a pool of one for a connection to a host that never answers.
func WaitForAConnection(ctx context.Context) error {
	p := newPool(1, 0, func(ctx context.Context) (*conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, slog.Default())
	_, err := p.acquire(ctx)
	if len(p.slots) != 0 {
		return errors.New("the place in the pool is lost")
	}
	return err
}
