package storage

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"postern/idp/guard"
)

// ReserveCounters implements guard.Store. A refusal costs a SELECT and leaves nothing; a
// reservation costs one more statement, where nobody else counts there at the same time.
func (s *Store) ReserveCounters(ctx context.Context, counters []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	outcomes := make([]guard.Outcome, len(counters))
	take := func(cs cells) (all bool) { return cs.take(outcomes, micro(now)) }
	cs, err := s.cells(ctx, counters)
	switch {
	case err != nil:
	case take(cs):
		err = s.change(ctx, cs, func(cs cells) { take(cs) })
	default: // a lock that changed since is prolonged by whoever changed it, or over
		_, err = s.put(ctx, cs.changed(), asRead)
	}
	if err != nil {
		return nil, fmt.Errorf("reserve counters: %w", err)
	}
	return outcomes, nil
}

// ReleaseCounters implements guard.Store.
func (s *Store) ReleaseCounters(ctx context.Context, counters []guard.Counter, at time.Time) error {
	give := func(cs cells) { cs.give(micro(at)) }
	cs, err := s.cells(ctx, counters)
	if err == nil {
		give(cs)
		err = s.change(ctx, cs.changed(), give)
	}
	if err != nil {
		return fmt.Errorf("release counters: %w", err)
	}
	return nil
}

// LookAtCounters implements guard.Store.
func (s *Store) LookAtCounters(ctx context.Context, counters []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	cs, err := s.cells(ctx, counters)
	if err != nil {
		return nil, fmt.Errorf("look at counters: %w", err)
	}
	outcomes := make([]guard.Outcome, len(counters))
	cs.take(outcomes, micro(now))
	return outcomes, nil
}

// micro cuts t as bind does, so that a place is found by the time when it was taken.
func micro(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// A cell is a counter as its row was read, and as it shall become.
type cell struct {
	*guard.Counter
	index   int // of the counter in the call
	found   bool
	stamp   int64 // of the row; random for a new one, so that it is not taken for one swept before
	was, is guard.Count
}

// cells are in the order of their keys, in which everybody locks the rows: two who locked them in
// different orders would wait for each other.
type cells []cell

// cells reads counters, locking nothing.
func (s *Store) cells(ctx context.Context, counters []guard.Counter) (cells, error) {
	cs := make(cells, len(counters))
	for i := range counters {
		cs[i] = cell{Counter: &counters[i], index: i, stamp: rand.Int64N(1 << 62)}
	}
	slices.SortFunc(cs, func(a, b cell) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return cs, s.load(ctx, cs, nil)
}

// take takes a place of each, or of none where one refuses, and tells which. What a refusal makes
// of a counter, which is to prolong its lock, stays.
func (cs cells) take(outcomes []guard.Outcome, now time.Time) (all bool) {
	all = true
	for i := range cs {
		c := &cs[i]
		c.is, outcomes[c.index] = c.Rule.Take(c.was, c.Ends, now)
		all = all && !outcomes[c.index].Refused
	}
	if all {
		return true
	}
	for i := range cs {
		if c := &cs[i]; !outcomes[c.index].Refused {
			c.is = c.was
		}
	}
	return false
}

// give gives the places back that were taken at `at`.
func (cs cells) give(at time.Time) {
	for i := range cs {
		switch c := &cs[i]; {
		case !c.found:
		case c.Clear:
			c.is = guard.Count{}
		default:
			c.is = c.Rule.Give(c.was, at)
		}
	}
}

func (c *cell) changed() bool {
	return c.is.Used != c.was.Used || !c.is.Locked.Equal(c.was.Locked) || !slices.EqualFunc(c.is.Times, c.was.Times, time.Time.Equal)
}

func (cs cells) changed() cells {
	return slices.DeleteFunc(slices.Clone(cs), func(c cell) bool { return !c.changed() })
}

// change writes what `decide` made of cs. Each row is written if it still is as it was read; the
// statement locks the others, too. Where there are such, all are judged anew as they are now, when
// nobody else can change them. So nobody tries more than twice.
func (s *Store) change(ctx context.Context, cs cells, decide func(cells)) error {
	switch {
	case len(cs) == 0:
		return nil
	case len(cs) == 1:
		written, err := s.put(ctx, cs, asRead)
		if err != nil || len(written) == 1 {
			return err
		}
	}
	return s.Tx(ctx, func(ctx context.Context) error {
		cs := slices.Clone(cs)
		decide(cs) // again: this may be the second run
		written, err := s.put(ctx, cs, asRead)
		if err != nil || len(written) == len(cs) {
			return err
		}
		if err := s.load(ctx, cs, written); err != nil {
			return err
		}
		decide(cs)
		_, err = s.put(ctx, slices.DeleteFunc(cs, func(c cell) bool { return !written[c.Key] && !c.changed() }), "")
		return err
	})
}

// asRead is the condition on which put writes a row that is there.
const asRead = ` WHERE counters.stamp = excluded.stamp - 1`

// cellsAtOnce bounds how many rows a statement reads or writes. Each number of rows is a statement
// that connections keep prepared.
const cellsAtOnce = 16

// put writes cells and tells whose rows were written: all that are new, and of the others those that
// condition holds for. On PostgreSQL it locks the others nevertheless.
func (s *Store) put(ctx context.Context, cs cells, condition string) (written map[[16]byte]bool, err error) {
	written = make(map[[16]byte]bool, len(cs))
	for some := range slices.Chunk(cs, cellsAtOnce) {
		var args []any
		for i := range some {
			if args, err = some[i].row(args); err != nil {
				return nil, err
			}
		}
		var keys [][]byte
		each := func(rows *sql.Rows) error {
			keys = append(keys, nil)
			return rows.Scan(&keys[len(keys)-1])
		}
		err = s.returning(ctx, func() { keys = nil }, each, `
			INSERT INTO counters (key, stamp, used, times, locked, capacity, kind, lock, account, network, dead_at)
			VALUES `+list(len(some), `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)+`
			ON CONFLICT (key) DO UPDATE
			SET stamp = excluded.stamp, used = excluded.used, times = excluded.times, locked = excluded.locked,
				capacity = excluded.capacity, kind = excluded.kind, dead_at = excluded.dead_at`+
			condition+`
			RETURNING key`, args...)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			written[[16]byte(key)] = true
		}
	}
	return written, nil
}

// list is n times what, with commas.
func list(n int, what string) string { return what + strings.Repeat(`, `+what, n-1) }

// row appends the values of c's row.
func (c *cell) row(args []any) ([]any, error) {
	times, err := timesColumn(c.is.Times)
	if err != nil {
		return nil, err
	}
	var locked *time.Time
	if !c.is.Locked.IsZero() {
		locked = &c.is.Locked
	}
	return append(args, c.Key[:], c.stamp+1, c.is.Used, times, locked, c.Rule.Limit, c.Tag.Kind, c.Tag.Lock,
		c.Tag.Account, c.Tag.Network, c.Rule.Dead(c.is, c.Ends)), nil
}

// load reads the rows of cs. Of those that this transaction wrote it takes the stamp alone: what was
// read before is what they were.
func (s *Store) load(ctx context.Context, cs cells, written map[[16]byte]bool) error {
	for some := range slices.Chunk(cs, cellsAtOnce) {
		args := make([]any, len(some))
		for i := range some {
			args[i] = some[i].Key[:]
		}
		err := s.read(ctx, func(t *tx) error {
			return t.query(`
				SELECT key, stamp, used, times, locked
				FROM counters
				WHERE key IN (`+list(len(some), `?`)+`)`, args, func(rows *sql.Rows) error { return some.scan(rows, written) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (cs cells) scan(rows *sql.Rows, written map[[16]byte]bool) error {
	var key, times []byte
	var stamp int64
	var count guard.Count
	err := rows.Scan(&key, &stamp, &count.Used, &times, orZero{&count.Locked})
	if err != nil {
		return err
	}
	if count.Times, err = parseTimes(times); err != nil {
		return err
	}
	i := slices.IndexFunc(cs, func(c cell) bool { return string(c.Key[:]) == string(key) })
	cs[i].stamp = stamp
	if !written[cs[i].Key] {
		cs[i].found, cs[i].was = true, count
	}
	return nil
}

// timesColumn writes times as a JSON array of microseconds since 1970.
func timesColumn(times []time.Time) (string, error) {
	if len(times) == 0 {
		return "[]", nil
	}
	micros := make([]int64, len(times))
	for i, t := range times {
		micros[i] = t.UnixMicro()
	}
	b, err := json.Marshal(micros)
	return string(b), err
}

func parseTimes(column []byte) ([]time.Time, error) {
	if string(column) == "[]" {
		return nil, nil
	}
	var micros []int64
	if err := json.Unmarshal(column, &micros); err != nil {
		return nil, fmt.Errorf("scan the times of a counter: %w", err)
	}
	times := make([]time.Time, len(micros))
	for i, m := range micros {
		times[i] = time.UnixMicro(m).UTC()
	}
	return times, nil
}

// CounterRecords implements guard.Store. It walks the primary key: an index by account or network
// would cost every login what only operators use.
func (s *Store) CounterRecords(ctx context.Context, f guard.Filter, now time.Time, after [16]byte, limit int) (records []guard.Record, err error) {
	condition, args := counterCondition(f)
	args, err = bind(append(append([]any{after[:], now}, args...), limit))
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(t *tx) error {
		records = nil
		return t.query(`
			SELECT key, kind, lock, account, network, capacity, used, times, locked
			FROM counters
			WHERE key > ? AND dead_at > ?`+condition+`
			ORDER BY key
			LIMIT ?`, args, func(rows *sql.Rows) error {
			var r guard.Record
			var key, times []byte
			err := rows.Scan(&key, &r.Tag.Kind, &r.Tag.Lock, &r.Tag.Account, &r.Tag.Network, &r.Limit,
				&r.Count.Used, &times, orZero{&r.Count.Locked})
			if err != nil {
				return err
			}
			copy(r.Key[:], key)
			r.Count.Times, err = parseTimes(times)
			records = append(records, r)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list counters: %w", err)
	}
	return records, nil
}

// ForgetCounters implements guard.Store. It goes on by windows, so that, unless a Tx holds all of
// them, those who sign in wait for one window at most, and not at all for one without such counters.
func (s *Store) ForgetCounters(ctx context.Context, f guard.Filter, now time.Time) (n int, err error) {
	for reached := []byte{}; reached != nil; {
		edge, err := s.windowEdge(ctx, sweptTable{"counters", "key"}, reached)
		if err == nil {
			var held int
			held, err = s.forgetBetween(ctx, f, reached, edge, now)
			n += held
		}
		if err != nil {
			return n, fmt.Errorf("forget counters: %w", err)
		}
		reached = edge
	}
	return n, nil
}

// forgetBetween forgets the counters of a window, whose edge is nil for the last one. It leaves rows
// without content to Sweep: whoever read one before, and would write it again with one place more,
// finds that it changed. What is over at now goes too, since another node's clock may be a little
// behind. The rows are locked in the order of their keys.
func (s *Store) forgetBetween(ctx context.Context, f guard.Filter, reached, edge []byte, now time.Time) (held int, err error) {
	if edge == nil {
		edge = lastKey
	}
	condition, args := counterCondition(f)
	args = append([]any{reached, edge, time.Time{}}, args...)
	all := 0
	err = s.row(ctx, `
		SELECT COUNT(*), COUNT(CASE WHEN dead_at > ? THEN 1 END)
		FROM counters
		WHERE key > ? AND key <= ? AND dead_at > ?`+condition, append([]any{now}, args...), &all, &held)
	if err != nil || all == 0 {
		return 0, err
	}
	_, err = s.exec(ctx, `
		UPDATE counters
		SET stamp = stamp + 1, used = 0, times = '[]', locked = NULL, dead_at = ?
		WHERE key > ? AND key <= ? AND dead_at > ?`+condition, append([]any{time.Time{}}, args...)...)
	if err != nil {
		return 0, err
	}
	return held, nil
}

// counterCondition goes on with a condition for the counters that f means.
func counterCondition(f guard.Filter) (condition string, args []any) {
	if f.Account != "" {
		condition, args = condition+` AND account = ?`, append(args, f.Account)
	}
	if f.Network != "" {
		condition, args = condition+` AND network = ?`, append(args, f.Network)
	}
	if f.Locks {
		condition += ` AND lock`
	}
	return condition, args
}
