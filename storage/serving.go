package storage

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// ErrServed says that a server runs on the database, which must not be changed under it.
var ErrServed = errors.New("a server runs on this database: stop it first")

// Serve tells others, for as long as a server runs, that it does: until release is called nobody
// changes the schema (I-22). It waits for who changes it now, and returns ErrSchema where that does
// not fit this program any more. Any number of servers may hold a database.
func Serve(ctx context.Context, url string) (release func() error, err error) {
	s, err := schemaOf(url, refuseMissing)
	if err != nil {
		return nil, err
	}
	unhold, err := s.holdShared(ctx)
	if err == nil {
		if err = s.check(ctx); err != nil {
			err = errors.Join(err, unhold())
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return func() error { return errors.Join(unhold(), s.db.Close()) }, nil
}

// holdShared waits for who is alone with the database, but not longer than a migration that
// somebody would watch.
func (s *schema) holdShared(ctx context.Context) (func() error, error) {
	const pause, longest = 20 * time.Millisecond, time.Minute
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for {
		release, err := s.hold(ctx, shared)
		if !errors.Is(err, ErrServed) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// A hold is how a process holds a database: servers share it, who changes its schema is alone.
type hold int

const (
	shared hold = iota
	alone
)

// holdFile holds an SQLite database by a lock on a file beside it.
func holdFile(path string) func(context.Context, hold) (func() error, error) {
	return func(_ context.Context, h hold) (func() error, error) {
		release, held, err := tryLockFile(path+".serving", h)
		if err == nil && !held {
			err = ErrServed
		}
		return release, err
	}
}

// servingLock is the first number of the advisory lock of servers ("psrv"); the second is the
// schema's.
const servingLock = 0x70737276

// holdSchema holds a PostgreSQL schema by an advisory lock, which ends with its connection at the
// latest.
func holdSchema(db *sql.DB) func(context.Context, hold) (func() error, error) {
	return func(ctx context.Context, h hold) (func() error, error) {
		try, end := `SELECT pg_try_advisory_lock_shared($1, hashtext(current_schema()))`, `SELECT pg_advisory_unlock_shared($1, hashtext(current_schema()))`
		if h == alone {
			try, end = `SELECT pg_try_advisory_lock($1, hashtext(current_schema()))`, `SELECT pg_advisory_unlock($1, hashtext(current_schema()))`
		}
		c, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		var held bool
		err = c.QueryRowContext(ctx, try, servingLock).Scan(&held)
		if err == nil && !held {
			err = ErrServed
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return func() error {
			_, err := c.ExecContext(context.Background(), end, servingLock)
			return errors.Join(err, c.Close())
		}, nil
	}
}
