package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"postern/idp"
)

// txLimit is how long a transaction may take before its next statement is refused, since others
// wait for its locks (I-22).
const txLimit = 2 * time.Second

var (
	errDoomed  = errors.New("a part of the transaction failed")
	errOver    = errors.New("the transaction is over")
	errTooLong = fmt.Errorf("the transaction took longer than %s", txLimit)
)

// A tx is a transaction under way, or the one statement that stands for itself.
type tx struct {
	*conn
	store  *Store // whose Tx it is; nil for a statement that stands for itself
	limit  time.Time
	failed error // the first error of a statement: nothing of the transaction will stay
	broken bool  // that error was none that only a constraint's violation is
	doomed bool  // a Tx inside of it failed
	over   bool
}

type txKey struct{}

// joined returns the transaction of this store that ctx carries, nil for none.
func (s *Store) joined(ctx context.Context) *tx {
	if t, ok := ctx.Value(txKey{}).(*tx); ok && t.store == s {
		return t
	}
	return nil
}

// Tx runs fn in a transaction, which fn's context carries. A Tx inside a Tx joins it, and an inner
// failure dooms the outer one, as does a statement that fails, be it for a taken name. The caller
// may leave until the transaction begins; from then on it is carried through.
//
// fn may run more than once, and may be run by another goroutine's turn: it has no effect outside
// the store. ErrUncertain says that nobody knows whether the COMMIT took effect (I-9).
func (s *Store) Tx(ctx context.Context, fn func(context.Context) error) error {
	if t := s.joined(ctx); t != nil {
		return t.join(ctx, fn)
	}
	return s.writes.tx(ctx, func(t *tx) error {
		t.store = s
		defer func() { t.over = true }()
		if err := fn(context.WithValue(ctx, txKey{}, t)); err != nil {
			return err
		}
		switch {
		case t.failed != nil:
			return fmt.Errorf("%w: %w", errDoomed, storeError(t.failed))
		case t.doomed:
			return errDoomed
		}
		return nil
	})
}

func (t *tx) join(ctx context.Context, fn func(context.Context) error) error {
	panicked := true
	defer func() { t.doomed = t.doomed || panicked }()
	err := fn(ctx)
	panicked = false
	t.doomed = t.doomed || err != nil
	return err
}

// refuses tells why t takes no further statement, nil where it does. PostgreSQL takes none after
// one failed; neither does SQLite through us, so that both behave alike and nothing runs on a
// transaction that SQLite may have undone (I-8).
func (t *tx) refuses() error {
	switch {
	case t.over:
		return errOver
	case t.failed != nil:
		return fmt.Errorf("%w: %w", errDoomed, storeError(t.failed))
	case t.store != nil && time.Now().After(t.limit):
		t.failed, t.broken = errTooLong, true
		return errTooLong
	}
	return nil
}

// fail notes the error of a statement, and tells the caller what it means.
func (t *tx) fail(err error) error {
	if err == nil {
		return nil
	}
	if t.failed == nil {
		t.failed = err
	}
	t.broken = t.broken || constraintOf(err) == noConstraint
	return storeError(err)
}

func (t *tx) exec(query string, args []any) (int64, error) {
	if err := t.refuses(); err != nil {
		return 0, err
	}
	n, err := t.conn.exec(query, args)
	return n, t.fail(err)
}

func (t *tx) query(query string, args []any, each func(*sql.Rows) error) error {
	if err := t.refuses(); err != nil {
		return err
	}
	return t.fail(t.conn.query(query, args, each))
}

// row reads one row, or returns ErrNotFound, which fails nothing.
func (t *tx) row(query string, args, dests []any) error {
	found := false
	err := t.query(query, args, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(dests...)
	})
	if err == nil && !found {
		return idp.ErrNotFound
	}
	return err
}
