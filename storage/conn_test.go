package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/storage"
	"postern/storage/storagetest"
)

// A pool of connections is far smaller than this.
const moreThanAPool = 40

func TestAPanicGivesItsConnectionBack(t *testing.T) {
	var armed atomic.Bool
	note := func(string) {
		if armed.Load() {
			panic(errBoom)
		}
	}
	storagetest.EachOptions(t, storage.Options{OnStatement: note}, func(t *testing.T, s *storage.Store) {
		panics := func(do func() error) {
			t.Helper()
			defer func() { same(t, "recovered", recover(), any(errBoom)) }()
			do()
		}
		armed.Store(true)
		defer armed.Store(false)
		for range moreThanAPool {
			panics(func() error { return s.Ping(t.Context()) })
			panics(func() error { return s.AddUser(t.Context(), newUser("ada")) })
		}
		armed.Store(false)
		must(t, s.Ping(t.Context()))
		addUser(t, s, "ada")
	})
}

func TestI8_AConnectionThatIsGivenUpIsClosed(t *testing.T) {
	s := openSQLite(t)
	ctx := t.Context()
	must(t, s.Exec(ctx, `CREATE TEMP TABLE mark (here INTEGER)`)) // lives as long as its connection
	err := s.Tx(ctx, func(ctx context.Context) error { return s.Interrupt(ctx) })
	if err == nil {
		t.Fatal("nothing was interrupted")
	}
	must(t, s.Exec(ctx, `CREATE TEMP TABLE mark (here INTEGER)`))
}

func TestAStatementThatTheServerForgotIsPreparedAgain(t *testing.T) {
	for name, forget := range map[string]string{
		"a column has another type": `ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(512)`,
		"statements were dropped":   `DEALLOCATE ALL`,
	} {
		t.Run(name, func(t *testing.T) {
			s := storagetest.Open(t, storagetest.Postgres(t), storage.Options{})
			ctx := t.Context()
			u := addUser(t, s, "ada")
			wantUser(t, s, "ada")
			must(t, s.RaiseVersion(ctx, "clients"))
			must(t, s.Exec(ctx, forget))
			wantUser(t, s, "ada")
			must(t, s.RaiseVersion(ctx, "clients"))
			must(t, s.Exec(ctx, strings.Replace(forget, "512", "513", 1)))
			must(t, s.Tx(ctx, func(ctx context.Context) error {
				_, err := s.User(ctx, u.ID)
				return errors.Join(err, s.RaiseVersion(ctx, "clients"))
			}))
		})
	}
}

func TestPlansAreNotCompiled(t *testing.T) {
	s := storagetest.Open(t, storagetest.Postgres(t), storage.Options{})
	var jit string
	must(t, s.Row(t.Context(), `SELECT current_setting('jit')`, &jit))
	same(t, "jit", jit, "off")
}

func TestI22_ADatabaseIsHeldUnderEachOfItsNames(t *testing.T) {
	url := storagetest.SQLite(t)
	storagetest.Open(t, url, storage.Options{})
	storage.ForgetMigration(t, url)
	file := strings.TrimPrefix(url, "sqlite:")
	other := filepath.Join(t.TempDir(), "other.db")
	must(t, os.Symlink(file, other))
	_, err := storage.Up(t.Context(), "sqlite:"+other)
	must(t, err)
	release, err := storage.Serve(t.Context(), url)
	must(t, err)
	storage.ForgetMigration(t, url)
	_, err = storage.Up(t.Context(), "sqlite:"+other)
	wantErr(t, err, storage.ErrServed)
	must(t, release())
	_, err = storage.Up(t.Context(), "sqlite:"+other)
	must(t, err)
}

func TestAHostThatDoesNotAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock does not wait
		began := time.Now()
		err := storage.WaitForAConnection(t.Context())
		if took := time.Since(began); took != 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %s: %v, want the deadline after 2s", took, err)
		}
	})
}
