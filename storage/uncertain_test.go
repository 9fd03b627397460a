package storage_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// A wire stands between a store and PostgreSQL, and can be cut where it hurts.
type wire struct {
	server string
	// swallow cuts the connection when the server has answered the next question: what was asked
	// for is done, and nobody is told.
	swallow atomic.Bool
	mu      sync.Mutex // guards conns
	conns   []net.Conn
}

// openWired opens a store over a wire to a schema of its own.
func openWired(t *testing.T, o storage.Options) (*storage.Store, *wire) {
	t.Helper()
	address, err := url.Parse(storagetest.Postgres(t))
	must(t, err)
	w := &wire{server: address.Host}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() {
		l.Close()
		w.cut()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	address.Host = l.Addr().String()
	return storagetest.Open(t, address.String(), o), w
}

func (w *wire) serve(client net.Conn) {
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		client.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, client, server)
	w.mu.Unlock()
	go func() {
		defer server.Close()
		io.Copy(server, client)
	}()
	defer client.Close()
	answer := make([]byte, 1<<16)
	for {
		n, err := server.Read(answer)
		if err != nil || w.swallow.CompareAndSwap(true, false) {
			return
		}
		if _, err := client.Write(answer[:n]); err != nil {
			return
		}
	}
}

// cut cuts every connection.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func TestI9_AnUncertainCommitIsToldAndNothingIsRetried(t *testing.T) {
	s, w := openWired(t, storage.Options{})
	runs := 0
	err := s.Tx(t.Context(), func(ctx context.Context) error {
		runs++
		must(t, s.AddUser(ctx, newUser("ada")))
		w.swallow.Store(true) // the answer to COMMIT
		return nil
	})
	wantErr(t, err, idp.ErrUncertain)
	same(t, "runs", runs, 1)
	wantUser(t, s, "ada") // it was committed, as it happens
}

func TestI9_AConnectionThatIsLostBeforeCommitIsRetried(t *testing.T) {
	s, w := openWired(t, storage.Options{})
	runs := 0
	u := newUser("ada")
	must(t, s.Tx(t.Context(), func(ctx context.Context) error {
		if runs++; runs == 1 {
			must(t, s.AddUser(ctx, u))
			w.cut()
		}
		return s.AddUser(ctx, u)
	}))
	same(t, "runs", runs, 2)
	wantUser(t, s, "ada")
}

func TestI9_AReadWhoseConnectionIsLostIsRetried(t *testing.T) {
	s, w := openWired(t, storage.Options{})
	addUser(t, s, "ada")
	w.cut()
	wantUser(t, s, "ada")
	w.swallow.Store(true)
	wantUser(t, s, "ada")
}

func TestI9_AWriteWhoseAnswerIsLostIsUncertain(t *testing.T) {
	s, w := openWired(t, storage.Options{})
	u := addUser(t, s, "ada")
	addSession(t, s, u.ID) // so that the statement is prepared
	row := newSession(u.ID)
	w.swallow.Store(true)
	wantErr(t, s.AddSession(t.Context(), row), idp.ErrUncertain)
	v, err := s.Visit(t.Context(), row.ID, "")
	must(t, err)
	same(t, "session", v.Session, row)
}

func TestI9_AOnceOnlyUpdateWhoseAnswerIsLostIsDone(t *testing.T) {
	var arm atomic.Bool
	var w *wire
	s, opened := openWired(t, storage.Options{OnStatement: func(sql string) {
		if strings.Contains(sql, "UPDATE") && arm.CompareAndSwap(true, false) {
			w.swallow.Store(true)
		}
	}})
	w = opened
	ctx := t.Context()
	g := redeemed(addGrant(t, s, idp.RandomID(), idp.ID{}), 1)
	p := newPushed()
	must(t, s.AddPushed(ctx, p))
	ticket, invite := addTicket(t, s, idp.ForLogIn, idp.ID{}), addInvite(t, s, 0)
	for what, do := range map[string]func() (bool, error){
		"code":   func() (bool, error) { return s.RedeemCode(ctx, g) },
		"pushed": func() (bool, error) { return s.UsePushed(ctx, p.ID, []byte{1}, now) },
		"ticket": func() (bool, error) { return s.RedeemTicket(ctx, ticket.ID, []byte{1}, now) },
		"invite": func() (bool, error) { return s.RedeemInvite(ctx, invite.ID, idp.RandomID(), []byte{1}, now) },
	} {
		arm.Store(true)
		done, err := do()
		must(t, err)
		same(t, what, done, true)
		same(t, what+": was cut", arm.Load(), false)
	}
	arm.Store(true)
	done, err := s.RotateRefresh(ctx, rotated(g, 2), 1)
	must(t, err)
	same(t, "rotate", done, true)
	got, err := s.Grant(ctx, g.ID, false)
	must(t, err)
	same(t, "grant", got.Grant, rotated(g, 2))
}

func TestI9_ASerializationFailureIsRetried(t *testing.T) {
	for _, code := range []string{"40001", "40P01"} {
		s := storagetest.Open(t, storagetest.Postgres(t), storage.Options{})
		raise := `DO $$ BEGIN RAISE EXCEPTION 'as injected' USING ERRCODE = '` + code + `'; END $$`
		runs := 0
		must(t, s.Tx(t.Context(), func(ctx context.Context) error {
			if runs++; runs < 3 {
				return s.Exec(ctx, raise)
			}
			return s.AddUser(ctx, newUser("ada"))
		}))
		same(t, code+": runs", runs, 3)
		wantUser(t, s, "ada")
		if err := s.Exec(t.Context(), raise); err == nil {
			t.Error("it is retried for ever, or taken for a success")
		}
	}
}

func TestI9_TransactionsAreReadCommitted(t *testing.T) {
	s := storagetest.Open(t, storagetest.Postgres(t), storage.Options{})
	must(t, s.Tx(t.Context(), func(ctx context.Context) error {
		var level string
		err := s.Row(ctx, `SELECT current_setting('transaction_isolation')`, &level)
		same(t, "isolation", level, "read committed")
		return err
	}))
}

func TestANodeOutlivesItsServersRestart(t *testing.T) {
	s, w := openWired(t, storage.Options{})
	race(t, 8, func(i int) (bool, error) { return true, s.Ping(t.Context()) })
	w.cut() // every connection of the pool
	must(t, s.Ping(t.Context()))
	addUser(t, s, "ada")
	w.cut()
	must(t, s.Tx(t.Context(), func(ctx context.Context) error { return s.AddUser(ctx, newUser("bob")) }))
}
