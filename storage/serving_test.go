package storage_test

import (
	"errors"
	"sync"
	"testing"

	"postern/storage"
	"postern/storage/storagetest"
)

func TestI22_TheSchemaDoesNotChangeUnderAServer(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		ctx := t.Context()
		if _, err := storage.Serve(ctx, url); err == nil {
			t.Fatal("a server holds a database without a schema")
		}
		if applied, err := storage.Up(ctx, url); err != nil || len(applied) == 0 {
			t.Fatalf("a fresh database: applied %v, error %v", applied, err)
		}
		first := serve(t, url)
		second := serve(t, url)
		if applied, err := storage.Up(ctx, url); err != nil || len(applied) != 0 {
			t.Errorf("nothing to apply: applied %v, error %v", applied, err)
		}
		storage.ForgetMigration(t, url)
		if _, err := storage.Up(ctx, url); !errors.Is(err, storage.ErrServed) {
			t.Errorf("two servers run: got %v, want ErrServed", err)
		}
		release(t, first)
		if _, err := storage.Up(ctx, url); !errors.Is(err, storage.ErrServed) {
			t.Errorf("one server runs: got %v, want ErrServed", err)
		}
		release(t, second)
		if applied, err := storage.Up(ctx, url); err != nil || len(applied) != 1 {
			t.Errorf("no server runs: applied %v, error %v, want one migration", applied, err)
		}
	})
}

func serve(t *testing.T, url string) (release func() error) {
	t.Helper()
	release, err := storage.Serve(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func release(t *testing.T, held func() error) {
	t.Helper()
	if err := held(); err != nil {
		t.Fatal(err)
	}
}

func TestI22_AServerWaitsForWhoChangesTheSchema(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		for range 4 { // nodes that start at once on an empty database
			wg.Go(func() {
				s, err := storage.Open(t.Context(), url, storage.Options{Migrate: true})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				held, err := storage.Serve(t.Context(), url)
				if err != nil {
					t.Error(err)
					return
				}
				if err := held(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}
