package storage

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// ErrServed says that a server runs on the database, which must not be changed under it.
var ErrServed = errors.New("a server runs on this database: stop it first")

// Serve tells others, for as long as a server runs, that it does: until release is called nobody
// changes the schema (I-22). It returns ErrSchema where that happened a moment ago, and ErrServed
// where it happens now. Any number of servers may hold a database.
func Serve(ctx context.Context, url string) (release func() error, err error) {
	s, err := schemaOf(url, refuseMissing)
	if err != nil {
		return nil, err
	}
	unhold, err := s.hold(ctx, shared)
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

// holdSchema holds a PostgreSQL schema by an advisory lock, which ends when db is closed.
func holdSchema(db *sql.DB) func(context.Context, hold) (func() error, error) {
	return func(ctx context.Context, h hold) (func() error, error) {
		try := `SELECT pg_try_advisory_lock_shared($1, hashtext(current_schema()))`
		if h == alone {
			try = strings.Replace(try, "_shared", "", 1)
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
		return c.Close, nil
	}
}
