package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lib/pq"

	"postern/idp"
)

// A conn is one connection with the statements that were prepared on it. One goroutine uses it at
// a time. Statements run without a caller's cancellation: what was sent is waited for, and who
// waits for a connection may leave. The connection itself bounds how long an answer takes.
type conn struct {
	*sql.Conn
	driver string
	stmts  map[string]*sql.Stmt
	note   func(sql string) // Options.OnStatement, or nil
	used   time.Time        // when it was last put back
	lost   bool             // it serves no more
	sent   bool             // whether a statement was sent since it was lent
}

// maxPrepared bounds the statements that a connection keeps prepared; the store has fewer.
const maxPrepared = 512

func (c *conn) prepared(query string) (*sql.Stmt, error) {
	if stmt, ok := c.stmts[query]; ok {
		return stmt, nil
	}
	if len(c.stmts) >= maxPrepared {
		return nil, fmt.Errorf("more than %d statements on one connection", maxPrepared)
	}
	stmt, err := c.PrepareContext(context.Background(), rebind(c.driver, query))
	if err == nil {
		c.stmts[query] = stmt
	}
	return stmt, err
}

// control sends one of BEGIN, COMMIT, ROLLBACK and the savepoints' statements.
func (c *conn) control(query string) error {
	if c.driver == "postgres" { // one round trip, while preparing would be another that can fail
		_, err := c.ExecContext(context.Background(), query)
		return c.judge(err)
	}
	stmt, err := c.prepared(query)
	if err == nil {
		_, err = stmt.Exec()
	}
	return c.judge(err)
}

func (c *conn) exec(query string, args []any) (int64, error) {
	stmt, err := c.prepared(query)
	if err != nil {
		return 0, c.judge(err)
	}
	c.sent = true
	c.tell(query)
	result, err := stmt.Exec(args...)
	if err != nil {
		return 0, c.judge(err)
	}
	return result.RowsAffected()
}

func (c *conn) query(query string, args []any, each func(*sql.Rows) error) error {
	stmt, err := c.prepared(query)
	if err != nil {
		return c.judge(err)
	}
	c.sent = true
	c.tell(query)
	rows, err := stmt.Query(args...)
	if err != nil {
		return c.judge(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return c.judge(errors.Join(rows.Err(), rows.Close()))
}

func (c *conn) tell(query string) {
	if c.note != nil {
		c.note(query)
	}
}

// judge notes whether the connection survived err.
func (c *conn) judge(err error) error {
	if err == nil {
		return nil
	}
	if c.driver == "postgres" {
		e, ok := errors.AsType[*pq.Error](err)
		c.lost = c.lost || !ok || e.Fatal() || outdated(e)
	} else {
		c.lost = c.lost || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
	}
	return err
}

var (
	errBusy   = errors.New("every connection is in use")
	errClosed = errors.New("the store is closed")
)

// acquireWait is how long a request waits for a connection before it is told that the database
// cannot serve: no operation stalls under overload.
const acquireWait = 2 * time.Second

// A pool lends connections, the one that was used last first.
type pool struct {
	open  func(context.Context) (*conn, error)
	log   *slog.Logger
	check time.Duration // an older idle connection is asked whether it lives; zero for never

	slots  chan struct{}
	quit   chan struct{} // closed by stop
	mu     sync.Mutex    // guards idle and closed
	idle   []*conn
	closed bool
}

func newPool(size int, check time.Duration, open func(context.Context) (*conn, error), log *slog.Logger) *pool {
	return &pool{open: open, log: log, check: check, slots: make(chan struct{}, size), quit: make(chan struct{})}
}

// acquire lends a connection until release. It returns ctx's error where that ends first.
func (p *pool) acquire(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case p.slots <- struct{}{}:
	default:
		timer := time.NewTimer(acquireWait)
		defer timer.Stop()
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, errBusy
		case <-p.quit:
			return nil, errClosed
		}
	}
	c, err := p.pick(ctx)
	if err != nil {
		<-p.slots
	}
	return c, err
}

func (p *pool) pick(ctx context.Context) (*conn, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errClosed
		}
		var c *conn
		if n := len(p.idle); n > 0 {
			c, p.idle = p.idle[n-1], p.idle[:n-1]
		}
		p.mu.Unlock()
		if c == nil {
			return p.connect(ctx)
		}
		if p.check == 0 || time.Since(c.used) < p.check || c.PingContext(context.Background()) == nil {
			c.sent = false
			return c, nil
		}
		c.Close()
	}
}

// connect opens a connection. A host that does not answer is given up as soon as a pool without a free
// connection would be, not when the operating system gives up.
func (p *pool) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, acquireWait)
	defer cancel()
	return p.open(ctx)
}

// release takes a connection back. Where it was lost those that idle are given up, too: what cut
// one, such as the server's restart, cut them all.
func (p *pool) release(c *conn) {
	var gone []*conn
	lost := c.lost // once it idles, c is somebody else's
	p.mu.Lock()
	switch {
	case lost:
		gone = append(p.idle, c)
		p.idle = nil
	case p.closed:
		gone = []*conn{c}
	default:
		c.used = time.Now()
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if lost {
		p.log.Warn("a connection to the database was lost", "given_up", len(gone))
	}
	for _, c := range gone {
		c.Close()
	}
	<-p.slots
}

// lend lends a connection to fn. One whose fn panicked serves no more: nobody knows after what.
func (p *pool) lend(ctx context.Context, fn func(*conn) error) error {
	c, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		c.lost = c.lost || !returned
		p.release(c)
	}()
	err = fn(c)
	returned = true
	return err
}

// maxAttempts bounds how often something is tried that definitely had no effect.
const maxAttempts = 5

// read runs fn, which only reads, and again where the connection was lost.
func (p *pool) read(ctx context.Context, fn func(*tx) error) error {
	for attempt := 1; ; attempt++ {
		lost := false
		err := p.lend(ctx, func(c *conn) error {
			err := fn(&tx{conn: c})
			lost = c.lost
			return err
		})
		if err == nil || !lost || attempt == maxAttempts || errors.Is(err, idp.ErrNotFound) {
			return err
		}
	}
}

// stop closes the idle connections now and the others when they are released, for which it waits.
func (p *pool) stop() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	close(p.quit)
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
}
