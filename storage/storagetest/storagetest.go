// Package storagetest opens stores for tests, on every database at hand.
//
// SQLite needs nothing; PostgreSQL is used where TEST_POSTGRES names a server, and demanded where
// POSTERN_TEST_ALL=1. Each store is empty and the test's own.
package storagetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/lib/pq" // the driver

	"postern/idp"
	"postern/storage"
)

// Each runs test on every database, each with an empty store.
func Each(t *testing.T, test func(t *testing.T, s *storage.Store)) {
	t.Helper()
	EachOptions(t, storage.Options{}, test)
}

// EachOptions is Each with the store's options, whose Migrate is always set.
func EachOptions(t *testing.T, o storage.Options, test func(t *testing.T, s *storage.Store)) {
	t.Helper()
	EachURL(t, func(t *testing.T, url string) { test(t, Open(t, url, o)) })
}

// EachURL runs test with the address of an empty database of every kind, for tests that open
// several stores or start processes.
func EachURL(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, Postgres(t)) })
}

// Open opens a store, migrated, and closes it when the test ends. It logs nothing unless o.Log is
// set.
func Open(t testing.TB, url string, o storage.Options) *storage.Store {
	t.Helper()
	o.Migrate = true
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if err := copyMigrated(file); err != nil {
			t.Fatalf("copy a migrated file: %v", err)
		}
	}
	s, err := storage.Open(t.Context(), url, o)
	if err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close %s: %v", url, err)
		}
	})
	return s
}

// migrated are the bytes of an empty SQLite file with every migration: applying them costs more than
// most tests do.
var migrated = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "storagetest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "postern.db")
	s, err := storage.Open(context.Background(), "sqlite:"+file, storage.Options{Migrate: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil { // what waited in the WAL is in the file then
		return nil, err
	}
	return os.ReadFile(file)
})

// copyMigrated makes file as the migrations would, unless it is there.
func copyMigrated(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	content, err := migrated()
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o600)
}

// SQLite returns the address of an SQLite file that does not exist yet.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "postern.db")
}

// Postgres returns the address of an empty schema, which is dropped when the test ends. It skips
// the test where there is no server.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES")
	if server == "" {
		const missing = "PostgreSQL: TEST_POSTGRES is not set"
		if os.Getenv("POSTERN_TEST_ALL") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	address, err := url.Parse(server)
	if err != nil {
		t.Fatalf("TEST_POSTGRES: %v", err)
	}
	db, err := sql.Open("postgres", server)
	if err != nil {
		t.Fatalf("TEST_POSTGRES: %v", err)
	}
	schema := "test_" + strings.ToLower(rand.Text())
	if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA `+schema); err != nil {
		t.Fatalf("make schema: %v", err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
			t.Errorf("drop schema: %v", err)
		}
		db.Close()
	})
	query := address.Query()
	query.Set("search_path", schema)
	if _, measured := t.(*testing.B); !measured {
		query.Set("synchronous_commit", "off") // no test pulls the server's plug
	}
	address.RawQuery = query.Encode()
	return address.String()
}

// Twice wraps s so that every Tx runs its function twice, the first time in vain: what the store
// does after a serialization failure, always. A Tx inside a Tx only joins it.
func Twice(s idp.Store) idp.Store { return twice{s} }

type twice struct{ idp.Store }

type insideKey struct{}

var errInVain = errors.New("in vain")

func (s twice) Tx(ctx context.Context, fn func(context.Context) error) error {
	if ctx.Value(insideKey{}) != nil {
		return s.Store.Tx(ctx, fn)
	}
	ctx = context.WithValue(ctx, insideKey{}, true)
	err := s.Store.Tx(ctx, func(ctx context.Context) error { return errors.Join(errInVain, fn(ctx)) })
	if !errors.Is(err, errInVain) { // fn was not run at all
		return err
	}
	return s.Store.Tx(ctx, fn)
}

// A Counter counts the statements that a store sends; its Note goes into storage.Options.
type Counter struct {
	mu   sync.Mutex
	sent []string
}

// Note counts a statement.
func (c *Counter) Note(sql string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, strings.Join(strings.Fields(sql), " "))
}

// Take returns the statements since the last Take, each on one line.
func (c *Counter) Take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}
