package storage_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

var errBoom = errors.New("boom")

func wantNoUser(t *testing.T, s *storage.Store, name string) {
	t.Helper()
	_, err := s.UserByKey(t.Context(), name)
	wantErr(t, err, idp.ErrNotFound)
}

func wantUser(t *testing.T, s *storage.Store, name string) {
	t.Helper()
	if _, err := s.UserByKey(t.Context(), name); err != nil {
		t.Errorf("user %s: %v", name, err)
	}
}

func TestTxSeesWhatItWroteAndOthersDoNot(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		outside := t.Context()
		must(t, s.Tx(outside, func(ctx context.Context) error {
			must(t, s.AddUser(ctx, newUser("ada")))
			if _, err := s.UserByKey(ctx, "ada"); err != nil {
				t.Errorf("inside: %v", err)
			}
			wantNoUser(t, s, "ada")
			return nil
		}))
		wantUser(t, s, "ada")
	})
}

func TestAnErrorUndoesTheTx(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		err := s.Tx(t.Context(), func(ctx context.Context) error {
			must(t, s.AddUser(ctx, newUser("ada")))
			return errBoom
		})
		wantErr(t, err, errBoom)
		wantNoUser(t, s, "ada")
	})
}

func TestATxInsideATxJoinsIt(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		inner := func(ctx context.Context) error { return s.AddUser(ctx, newUser("inner")) }
		err := s.Tx(t.Context(), func(ctx context.Context) error {
			must(t, s.Tx(ctx, inner))
			return errBoom
		})
		wantErr(t, err, errBoom)
		wantNoUser(t, s, "inner")
		must(t, s.Tx(t.Context(), func(ctx context.Context) error { return s.Tx(ctx, inner) }))
		wantUser(t, s, "inner")
	})
}

func TestAnInnerFailureDoomsTheOuterTx(t *testing.T) {
	for name, inner := range map[string]func(s *storage.Store, ctx context.Context){
		"an error": func(s *storage.Store, ctx context.Context) {
			s.Tx(ctx, func(context.Context) error { return errBoom })
		},
		"a panic": func(s *storage.Store, ctx context.Context) {
			defer func() { recover() }()
			s.Tx(ctx, func(context.Context) error { panic(errBoom) })
		},
		"a name that is taken": func(s *storage.Store, ctx context.Context) {
			s.AddUser(ctx, newUser("outer"))
		},
		"a statement that is none": func(s *storage.Store, ctx context.Context) {
			s.Exec(ctx, `SELEKT`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Each(t, func(t *testing.T, s *storage.Store) {
				err := s.Tx(t.Context(), func(ctx context.Context) error {
					must(t, s.AddUser(ctx, newUser("outer")))
					inner(s, ctx)
					return nil
				})
				if err == nil {
					t.Error("the outer transaction was committed")
				}
				wantNoUser(t, s, "outer")
			})
		})
	}
}

func TestNothingIsSentInATxInWhichAStatementFailed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		addUser(t, s, "ada")
		err := s.Tx(t.Context(), func(ctx context.Context) error {
			taken := newUser("ada")
			taken.Email, taken.EmailKey = "", ""
			wantErr(t, s.AddUser(ctx, taken), idp.ErrConflict)
			if s.AddUser(ctx, newUser("bob")) == nil {
				t.Error("a statement went through")
			}
			return nil
		})
		wantErr(t, err, idp.ErrConflict)
		wantNoUser(t, s, "bob")
	})
}

func TestAPanicUndoesTheTxAndReachesItsCaller(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		func() {
			defer func() { same(t, "recovered", recover(), any(errBoom)) }()
			s.Tx(t.Context(), func(ctx context.Context) error {
				must(t, s.AddUser(ctx, newUser("ada")))
				panic(errBoom)
			})
		}()
		wantNoUser(t, s, "ada")
		addUser(t, s, "ada")
	})
}

func TestTheEndOfTheCallersGoroutineUndoesTheTx(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Tx(context.Background(), func(ctx context.Context) error {
				if err := s.AddUser(ctx, newUser("ada")); err != nil {
					t.Error(err)
				}
				runtime.Goexit()
				return nil
			})
		}()
		<-ended
		addUser(t, s, "ada")
	})
}

func TestATxThatIsOverServesNoMore(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		var leaked context.Context
		must(t, s.Tx(t.Context(), func(ctx context.Context) error {
			leaked = ctx
			return nil
		}))
		if s.AddUser(leaked, newUser("ada")) == nil {
			t.Error("a statement went through")
		}
		wantNoUser(t, s, "ada")
	})
}

func TestACallerWhoLeftBeforeItsTxBeganIsDropped(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := s.Tx(ctx, func(context.Context) error {
			t.Error("it ran")
			return nil
		})
		wantErr(t, err, context.Canceled)
		wantErr(t, s.AddUser(ctx, newUser("ada")), context.Canceled)
		wantNoUser(t, s, "ada")
	})
}

func TestI8_ACallerWhoLeavesLaterIsCarriedThrough(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		must(t, s.Tx(ctx, func(ctx context.Context) error {
			cancel()
			return s.AddUser(ctx, newUser("ada"))
		}))
		wantUser(t, s, "ada")
	})
}

func TestTwiceRunsEveryTxTwiceAndKeepsOne(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		twice := storagetest.Twice(s)
		outer, inner := 0, 0
		u := newUser("ada")
		must(t, twice.Tx(t.Context(), func(ctx context.Context) error {
			outer++
			return twice.Tx(ctx, func(ctx context.Context) error {
				inner++
				return twice.AddUser(ctx, u)
			})
		}))
		same(t, "outer, inner", []int{outer, inner}, []int{2, 2})
		got, err := s.User(t.Context(), u.ID)
		must(t, err)
		same(t, "user", got, u)
		err = twice.Tx(t.Context(), func(context.Context) error { return errBoom })
		same(t, "error", err, errBoom)
	})
}

func TestStatementsAreCountedButNotThoseOfTheTransaction(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		sent.Take()
		must(t, s.Tx(t.Context(), func(ctx context.Context) error {
			if err := s.RaiseVersion(ctx, "a"); err != nil {
				return err
			}
			_, err := s.Versions(ctx)
			return err
		}))
		same(t, "statements", len(sent.Take()), 2)
	})
}

func TestI22_ATxThatTakesTooLongIsUndone(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		err := s.Tx(t.Context(), func(ctx context.Context) error {
			must(t, s.AddUser(ctx, newUser("ada")))
			s.Expire(ctx)
			if s.AddUser(ctx, newUser("bob")) == nil {
				t.Error("a statement went through")
			}
			return nil
		})
		if err == nil {
			t.Error("it was committed")
		}
		wantNoUser(t, s, "ada")
	})
}
