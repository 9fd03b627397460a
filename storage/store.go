// Package storage keeps everything that the provider remembers, in SQLite or in PostgreSQL.
//
// It is the only package that speaks SQL: one set of statements and of migrations serves both
// databases. What a row means, and when it may change, is for package idp.
package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"postern/idp"
	"postern/idp/passkey"
)

var _ idp.Store = (*Store)(nil)

func init() { sqlx.BindDriver("sqlite", sqlx.QUESTION) }

// Options are what Open needs beside the address. The zero Options are good for a command.
type Options struct {
	// OnStatement is called once for each statement that is sent, but for BEGIN, COMMIT, ROLLBACK
	// and savepoints. It may be called from several goroutines at a time.
	OnStatement func(sql string)
	// Migrate brings the schema up to date, and makes an SQLite file that is missing. Without it
	// Open returns ErrSchema where the schema is not the one that this program knows.
	Migrate bool
	// Log is told what a caller cannot be; slog.Default where it is nil.
	Log *slog.Logger
}

// A Store is the only door to the database. Its methods may be called at the same time, and each
// takes part in the transaction that its context carries.
type Store struct {
	readers *pool
	writes  engine
	names   *sqlx.DB // its mapper and placeholders; it sends no statement itself
	// sweepWindow is the constant, but in tests.
	sweepWindow int
	close       func() error
}

// An engine is how one kind of database writes.
type engine interface {
	// tx runs fn in a transaction of its own. fn may run more than once.
	tx(ctx context.Context, fn func(*tx) error) error
	// once runs fn, which sends a single statement, so that nobody sees its outcome before it is
	// durable.
	once(ctx context.Context, fn func(*tx) error) error
	// repeatable is once for a statement that does no harm when it runs twice: where its outcome
	// is uncertain it is sent again.
	repeatable(ctx context.Context, fn func(*tx) error) error
}

const sqlitePrefix = "sqlite:"

// Open connects to the database that url names: sqlite:PATH, or postgres://… as lib/pq reads it.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	var s *Store
	var err error
	switch scheme, _, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		s, err = openSQLite(ctx, strings.TrimPrefix(url, sqlitePrefix), o)
	case "postgres", "postgresql":
		s, err = openPostgres(ctx, url, o)
	default:
		err = errors.New("the address begins with neither sqlite: nor postgres://")
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.sweepWindow = sweepWindow
	return s, nil
}

// Close waits for the statements that are under way and closes every connection.
func (s *Store) Close() error { return s.close() }

// Ping tells whether the database can serve.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.row(ctx, `SELECT 1`, nil, &one)
}

// snake turns a field's name into its column's: CreatedAt into created_at, IDTokenAlg into
// id_token_alg, RedirectURIs into redirect_uris.
func snake(name string) string {
	upper := func(i int) bool { return name[i] >= 'A' && name[i] <= 'Z' }
	var b strings.Builder
	for i := range len(name) {
		if i > 0 && upper(i) {
			startsWord := i+1 < len(name) && !upper(i+1) && name[i+1:] != "s"
			if !upper(i-1) || startsWord {
				b.WriteByte('_')
			}
		}
		b.WriteString(strings.ToLower(name[i : i+1]))
	}
	return b.String()
}

// timeLayout is how times are written: UTC, cut to the microsecond and of one length, so that the
// order of their texts is their order. PostgreSQL reads it, too.
const timeLayout = "2006-01-02 15:04:05.000000"

// bind makes values fit for both databases. It changes args in place.
func bind(args []any) ([]any, error) {
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			args[i] = text(v)
		case time.Time:
			args[i] = v.UTC().Format(timeLayout)
		case *time.Time:
			args[i] = nil
			if v != nil {
				args[i] = v.UTC().Format(timeLayout)
			}
		case idp.ID:
			args[i] = nil
			if !v.IsZero() {
				args[i] = v[:]
			}
		case *passkey.Record:
			args[i] = nil
			if v != nil {
				column, err := json.Marshal(v)
				if err != nil {
					return nil, fmt.Errorf("encode passkey: %w", err)
				}
				args[i] = string(column)
			}
		case idp.Column:
			column, err := v.Column()
			if err != nil {
				return nil, fmt.Errorf("encode column: %w", err)
			}
			args[i] = column
		}
	}
	return args, nil
}

// text makes s fit for PostgreSQL, which takes neither NUL nor invalid UTF-8, and does the same
// for SQLite, so that both find what they stored.
func text(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}
