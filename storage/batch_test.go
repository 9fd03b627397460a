package storage_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// A part is one caller's function in a batch, and how often it ran.
type part struct {
	ctx   context.Context
	do    func(ctx context.Context) error
	alone bool // do sends a single statement, and needs no transaction
	runs  int
	err   error
}

// batch runs the parts in one batch of SQLite's writer: while a transaction of ours holds it, all
// of them queue up.
func batch(t *testing.T, s *storage.Store, parts ...*part) {
	t.Helper()
	holds, release := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- s.Tx(t.Context(), func(context.Context) error {
			close(holds)
			<-release
			return nil
		})
	}()
	<-holds
	done := make(chan struct{})
	for i, p := range parts {
		go func() {
			defer func() {
				if r := recover(); r != nil {
					p.err = r.(error)
				}
				done <- struct{}{}
			}()
			ctx := p.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if p.alone {
				p.runs++
				p.err = p.do(ctx)
				return
			}
			p.err = s.Tx(ctx, func(ctx context.Context) error {
				p.runs++
				return p.do(ctx)
			})
		}()
		for s.Queued() <= i && (p.ctx == nil || p.ctx.Err() == nil) { // in this order
			runtime.Gosched()
		}
	}
	close(release)
	for range parts {
		<-done
	}
	must(t, <-held)
}

func adds(s *storage.Store, name string) *part {
	u := newUser(name)
	return &part{do: func(ctx context.Context) error { return s.AddUser(ctx, u) }}
}

func openSQLite(t *testing.T) *storage.Store {
	t.Helper()
	return storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
}

// wantParts judges how the members beside the guilty one fared: they are written, and ran once
// where the batch was kept, twice where it was undone.
func wantParts(t *testing.T, s *storage.Store, runs int, first, guilty, last *part) {
	t.Helper()
	same(t, "errors of the others", []error{first.err, last.err}, []error{nil, nil})
	same(t, "runs of the first", first.runs, runs)
	if guilty.err == nil {
		t.Error("the guilty one got no error")
	}
	wantUser(t, s, "first")
	wantUser(t, s, "last")
	wantNoUser(t, s, "guilty")
	addUser(t, s, "afterwards")
}

func TestI8_APanicUndoesItsOwnSavepointOnly(t *testing.T) {
	s := openSQLite(t)
	first, guilty, last := adds(s, "first"), adds(s, "guilty"), adds(s, "last")
	add := guilty.do
	guilty.do = func(ctx context.Context) error {
		must(t, add(ctx))
		panic(errBoom)
	}
	batch(t, s, first, guilty, last)
	same(t, "panic", guilty.err, errBoom)
	wantParts(t, s, 1, first, guilty, last)
}

func TestI8_AnErrorUndoesItsOwnSavepointOnly(t *testing.T) {
	s := openSQLite(t)
	first, guilty, last := adds(s, "first"), adds(s, "guilty"), adds(s, "last")
	add := guilty.do
	guilty.do = func(ctx context.Context) error { return errors.Join(add(ctx), errBoom) }
	batch(t, s, first, guilty, last)
	wantErr(t, guilty.err, errBoom)
	wantParts(t, s, 1, first, guilty, last)
}

func TestI8_AViolatedConstraintUndoesItsOwnSavepointOnly(t *testing.T) {
	s := openSQLite(t)
	first, guilty, last := adds(s, "first"), adds(s, "guilty"), adds(s, "last")
	add := guilty.do
	guilty.do = func(ctx context.Context) error {
		must(t, add(ctx))
		return s.AddUser(ctx, newUser("first"))
	}
	batch(t, s, first, guilty, last)
	wantErr(t, guilty.err, idp.ErrConflict)
	wantParts(t, s, 1, first, guilty, last)
}

func TestI8_AnInterruptUndoesTheBatchAndEachRunsAlone(t *testing.T) {
	s := openSQLite(t)
	first, guilty, last := adds(s, "first"), adds(s, "guilty"), adds(s, "last")
	add := guilty.do
	guilty.do = func(ctx context.Context) error {
		must(t, add(ctx))
		if s.Interrupt(ctx) == nil {
			t.Error("nothing was interrupted")
		}
		// SQLite undid everything: what ran now would be durable by itself.
		if s.AddUser(ctx, newUser("torn")) == nil {
			t.Error("a statement went through")
		}
		return nil
	}
	batch(t, s, first, guilty, last)
	same(t, "runs of the guilty", guilty.runs, 2)
	wantParts(t, s, 2, first, guilty, last)
	wantNoUser(t, s, "torn")
}

func TestI8_AFullDiskUndoesTheBatchAndEachRunsAlone(t *testing.T) {
	s := openSQLite(t)
	must(t, s.FillDisk(t.Context(), 120))
	first, guilty, last := adds(s, "first"), adds(s, "guilty"), adds(s, "last")
	u := newUser("guilty")
	u.Profile.Name = strings.Repeat("x", 1<<20)
	guilty.do = func(ctx context.Context) error { return s.AddUser(ctx, u) }
	batch(t, s, first, guilty, last)
	if guilty.err == nil || errors.Is(guilty.err, idp.ErrConflict) || errors.Is(guilty.err, idp.ErrNotFound) {
		t.Errorf("got %v, want that the database cannot serve", guilty.err)
	}
	wantParts(t, s, 2, first, guilty, last)
}

func TestI8_AFailingCommitUndoesTheBatchAndEachRunsAlone(t *testing.T) {
	s := openSQLite(t)
	first, guilty, last := adds(s, "first"), adds(s, "guilty"), adds(s, "last")
	add := guilty.do
	guilty.do = func(ctx context.Context) error {
		must(t, add(ctx))
		must(t, s.Exec(ctx, `PRAGMA defer_foreign_keys = ON`)) // judged by COMMIT
		return s.AddSession(ctx, newSession(idp.RandomID()))
	}
	batch(t, s, first, guilty, last)
	same(t, "runs of the last", last.runs, 2)
	wantErr(t, guilty.err, idp.ErrNotFound)
	wantParts(t, s, 2, first, guilty, last)
}

func TestI8_ACallerWhoLeftIsDroppedBeforeItsSavepointOpens(t *testing.T) {
	s := openSQLite(t)
	first, guilty, last := adds(s, "first"), adds(s, "guilty"), adds(s, "last")
	ctx, cancel := context.WithCancel(t.Context())
	guilty.ctx = ctx
	firstDo := first.do
	first.do = func(ctx context.Context) error {
		cancel() // while the batch runs
		return firstDo(ctx)
	}
	batch(t, s, first, guilty, last)
	wantErr(t, guilty.err, context.Canceled)
	same(t, "runs", guilty.runs, 0)
	wantNoUser(t, s, "guilty")
	wantUser(t, s, "first")
	wantUser(t, s, "last")
}

func TestI8_ABatchIsOneCommit(t *testing.T) {
	s := openSQLite(t)
	first, second := adds(s, "first"), adds(s, "second")
	seen := false
	add := second.do
	second.do = func(ctx context.Context) error {
		_, err := s.UserByKey(ctx, "first") // within the batch
		seen = err == nil
		wantNoUser(t, s, "first") // by a reader, before the COMMIT
		return add(ctx)
	}
	batch(t, s, first, second)
	same(t, "the second sees what the first wrote", seen, true)
	same(t, "errors", []error{first.err, second.err}, []error{nil, nil})
	wantUser(t, s, "first")
}

func TestI8_AStatementThatViolatesAConstraintUndoesItselfOnly(t *testing.T) {
	s := openSQLite(t)
	first, guilty, last := adds(s, "first"), adds(s, "first"), adds(s, "last")
	for _, p := range []*part{first, guilty, last} {
		p.alone = true
	}
	batch(t, s, first, guilty, last)
	wantErr(t, guilty.err, idp.ErrConflict)
	wantParts(t, s, 1, first, guilty, last)
}
