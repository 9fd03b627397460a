package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"postern/idp"
)

// The ways in which a noun's file sends a statement. Each takes part in the transaction that ctx
// carries, and stands for itself where there is none.

// row reads one row by hand, for the statements that every request sends. It returns ErrNotFound
// where there is none.
func (s *Store) row(ctx context.Context, query string, args []any, dests ...any) error {
	args, err := bind(args)
	if err != nil {
		return err
	}
	return s.read(ctx, func(t *tx) error { return t.row(query, args, dests) })
}

// get reads one row into the struct that dest points to, or returns ErrNotFound.
func (s *Store) get(ctx context.Context, dest any, query string, args ...any) error {
	args, err := bind(args)
	if err != nil {
		return err
	}
	v := reflect.ValueOf(dest).Elem()
	return s.read(ctx, func(t *tx) error {
		found := false
		err := t.query(query, args, func(rows *sql.Rows) error {
			found = true
			return scanStruct(s.names.Mapper, rows, v)
		})
		if err == nil && !found {
			return idp.ErrNotFound
		}
		return err
	})
}

// all reads every row into the slice of structs that dest points to.
func (s *Store) all(ctx context.Context, dest any, query string, args ...any) error {
	args, err := bind(args)
	if err != nil {
		return err
	}
	list := reflect.ValueOf(dest).Elem()
	return s.read(ctx, func(t *tx) error {
		list.SetLen(0)
		return t.query(query, args, func(rows *sql.Rows) error {
			v := reflect.New(list.Type().Elem()).Elem()
			list.Set(reflect.Append(list, v))
			return scanStruct(s.names.Mapper, rows, list.Index(list.Len()-1))
		})
	})
}

// exec sends a statement that changes rows and returns how many.
func (s *Store) exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	if args, err = bind(args); err != nil {
		return 0, err
	}
	err = s.write(ctx, func(t *tx) (err error) {
		n, err = t.exec(query, args)
		return err
	})
	return n, err
}

// insert is exec with the fields of row put in for the :names of query.
func (s *Store) insert(ctx context.Context, query string, row any) (int64, error) {
	query, args, err := s.names.BindNamed(query, row)
	if err != nil {
		return 0, err
	}
	return s.exec(ctx, query, args...)
}

// returning sends a statement that changes rows and returns something of each, which each reads
// after the function begin has forgotten what an earlier attempt left.
func (s *Store) returning(ctx context.Context, begin func(), each func(*sql.Rows) error, query string, args ...any) error {
	args, err := bind(args)
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		begin()
		return t.query(query, args, each)
	})
}

// repeat is exec for a statement that may run twice, since it knows its own doing again (I-9).
func (s *Store) repeat(ctx context.Context, query string, args ...any) (n int64, err error) {
	if args, err = bind(args); err != nil {
		return 0, err
	}
	fn := func(t *tx) (err error) {
		n, err = t.exec(query, args)
		return err
	}
	if t := s.joined(ctx); t != nil {
		err = fn(t)
	} else {
		err = s.writes.repeatable(ctx, fn)
	}
	return n, err
}

func (s *Store) read(ctx context.Context, fn func(*tx) error) error {
	if t := s.joined(ctx); t != nil {
		return fn(t)
	}
	return s.readers.read(ctx, fn)
}

func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	if t := s.joined(ctx); t != nil {
		return fn(t)
	}
	return s.writes.once(ctx, fn)
}

// found is ErrNotFound where a statement changed no row.
func found(n int64, err error) error { return changed(n, err, idp.ErrNotFound) }

// changed is `none` where a statement changed no row.
func changed(n int64, err, none error) error {
	if err == nil && n == 0 {
		return none
	}
	return err
}

// storeError tells callers what a database's error means to them.
func storeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return idp.ErrNotFound
	}
	switch constraintOf(err) {
	case unique:
		return fmt.Errorf("%w: %w", idp.ErrConflict, err)
	case foreignKey: // the row that it belongs to is gone
		return fmt.Errorf("%w: %w", idp.ErrNotFound, err)
	}
	return err
}

// A constraint says which kind of constraint a statement violated.
type constraint int

const (
	noConstraint constraint = iota
	unique
	foreignKey
	otherConstraint
)

func constraintOf(err error) constraint {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		switch {
		case e.Code == "23505":
			return unique
		case e.Code == "23503":
			return foreignKey
		case e.Code.Class() == "23":
			return otherConstraint
		}
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch {
		case e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return unique
		case e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return foreignKey
		case e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT:
			return otherConstraint
		}
	}
	return noConstraint
}

// rebind writes ? as the driver wants it.
func rebind(driver, query string) string { return sqlx.Rebind(sqlx.BindType(driver), query) }
