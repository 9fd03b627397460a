package storage

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"postern/idp"
)

const (
	// sweepBatch bounds how many rows of a table one Sweep deletes, and so how long it writes.
	sweepBatch = 500
	// sweepWindow bounds how many rows a statement looks at.
	sweepWindow = 20_000
	// sweepTime bounds how long one Sweep looks for dead rows of a table.
	sweepTime = time.Second
	// sweepRest is how long a table is left alone after a walk began.
	sweepRest = time.Hour
	// pushedKeep is how long a pushed request is kept, all of which are dead long before: a day is
	// far beyond the expiry of any and the time that an interaction may take (I-18).
	pushedKeep = 24 * time.Hour
)

// A sweptTable is one whose rows know by dead_at when they are dead, and are found along the
// primary key, or the first column of it, without an index of its own (I-11).
type sweptTable struct{ name, key string }

var sweptTables = []sweptTable{
	{"grants", "id"},
	{"sessions", "id"},
	{"denied", "key"},
	{"counters", "key"},
	{"devices", "user_id"}, // of whom each has few
	{"jobs", "id"},
	{"tickets", "id"},
	{"invites", "id"},
}

// Sweep implements idp.Store.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	total, err := s.sweepPushed(ctx, now)
	if err != nil {
		return total, err
	}
	n, err := s.sweepBlocks(ctx, now)
	total += n
	if err != nil {
		return total, err
	}
	for _, t := range sweptTables {
		n, err := s.sweepTable(ctx, t, now)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// sweepPushed goes by range: ids are in the order of their times, and all live equally long.
func (s *Store) sweepPushed(ctx context.Context, now time.Time) (int, error) {
	n, err := s.exec(ctx, `
		DELETE FROM pushed
		WHERE id IN (SELECT id FROM pushed WHERE id < ? ORDER BY id LIMIT ?)`,
		firstID(now.Add(-pushedKeep)), sweepBatch)
	return int(n), err
}

// sweepBlocks goes over all: every node has them in its memory, so they are few.
func (s *Store) sweepBlocks(ctx context.Context, now time.Time) (int, error) {
	n, err := s.exec(ctx, `DELETE FROM blocks WHERE until < ?`, now)
	return int(n), err
}

// firstID is the least UUIDv7 of the millisecond of t.
func firstID(t time.Time) []byte {
	id := idp.NewID(t)
	clear(id[6:])
	return id[:]
}

// sweepTable deletes the next batch of dead rows of t. They are looked for by a reader, a window
// at a time, so that no statement takes long however many rows live; the writer is only held for
// their deletion.
func (s *Store) sweepTable(ctx context.Context, t sweptTable, now time.Time) (int, error) {
	reached, started, err := s.sweep(ctx, t, now)
	if err != nil || started.IsZero() {
		return 0, err
	}
	var edge, last []byte
	n := 0
	for until := time.Now().Add(sweepTime); ; reached = edge {
		if edge, err = s.windowEdge(ctx, t, reached); err != nil {
			return 0, err
		}
		if last, n, err = s.deadRows(ctx, t, reached, edge, now); err != nil {
			return 0, err
		}
		if n > 0 || edge == nil || time.Now().After(until) {
			break
		}
	}
	if n == sweepBatch {
		edge = last
	}
	deleted := int64(0)
	err = s.Tx(ctx, func(ctx context.Context) error {
		if n > 0 {
			// The condition is repeated: a row may have been raised meanwhile.
			deleted, err = s.exec(ctx, `
				DELETE FROM `+t.name+`
				WHERE `+t.key+` > ? AND `+t.key+` <= ? AND dead_at < ?`, reached, last, now)
			if err != nil {
				return err
			}
		}
		_, err := s.exec(ctx, `
			INSERT INTO sweeps (name, reached, started_at) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET reached = excluded.reached, started_at = excluded.started_at`,
			t.name, edge, started)
		return err
	})
	return int(deleted), err
}

// sweep tells where the walk over t goes on and when it began; the zero time says that it rests.
func (s *Store) sweep(ctx context.Context, t sweptTable, now time.Time) (reached []byte, started time.Time, err error) {
	err = s.row(ctx, `SELECT reached, started_at FROM sweeps WHERE name = ?`, []any{t.name}, &reached, moment{&started})
	switch {
	case errors.Is(err, idp.ErrNotFound):
		return []byte{}, now, nil
	case err != nil:
		return nil, time.Time{}, err
	case reached != nil:
		return reached, started, nil
	case now.Before(started.Add(sweepRest)):
		return nil, time.Time{}, nil
	}
	return []byte{}, now, nil
}

// windowEdge is the last key of the next window, nil where the table ends before.
func (s *Store) windowEdge(ctx context.Context, t sweptTable, reached []byte) (edge []byte, err error) {
	err = s.row(ctx, `
		SELECT `+t.key+`
		FROM `+t.name+`
		WHERE `+t.key+` > ?
		ORDER BY `+t.key+`
		LIMIT 1 OFFSET ?`, []any{reached, s.sweepWindow - 1}, &edge)
	if errors.Is(err, idp.ErrNotFound) {
		return nil, nil
	}
	return edge, err
}

// lastKey is beyond every key.
var lastKey = bytes.Repeat([]byte{0xff}, 64)

// deadRows finds the next batch of dead rows of a window: how many, and the key of the last.
func (s *Store) deadRows(ctx context.Context, t sweptTable, reached, edge []byte, now time.Time) (last []byte, n int, err error) {
	if edge == nil {
		edge = lastKey
	}
	args, err := bind([]any{reached, edge, now, sweepBatch})
	if err != nil {
		return nil, 0, err
	}
	err = s.read(ctx, func(x *tx) error {
		n = 0
		return x.query(`
			SELECT `+t.key+`
			FROM `+t.name+`
			WHERE `+t.key+` > ? AND `+t.key+` <= ? AND dead_at < ?
			ORDER BY `+t.key+`
			LIMIT ?`, args, func(rows *sql.Rows) error {
			n++
			return rows.Scan(&last)
		})
	})
	return last, n, err
}
