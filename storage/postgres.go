package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postern/idp"
)

// maxPostgres bounds a node's connections. More would only wait for the server's processors.
const maxPostgres = 16

// checkAfter is how long a connection may be idle before it is asked whether it still lives. It
// keeps a restarted server from making writes uncertain whose connection was lost long before.
const checkAfter = time.Second

// answerWithin bounds how long a statement's answer takes on the wire, the server's own limits
// being shorter. A connection without an answer by then is given up.
const answerWithin = 15 * time.Second

// settings are sent on each new connection: what was measured or promised rests on them. Every
// statement finds its rows by a key, so that one plan serves all values. Its joins walk indexes
// while the tables are small, too: to hash one for a single row costs more, and far more where the
// plan outlives the smallness. To compile a plan takes a thousand times as long as it runs. Without
// bitmaps a statement that changes several rows locks them in the order of an index, as every other
// one does: two such wait for each other in turn, not in a circle.
const settings = `SET default_transaction_isolation = 'read committed';
	SET statement_timeout = '10s';
	SET lock_timeout = '5s';
	SET idle_in_transaction_session_timeout = '10s';
	SET plan_cache_mode = 'force_generic_plan';
	SET enable_seqscan = off;
	SET enable_bitmapscan = off;
	SET enable_hashjoin = off;
	SET enable_mergejoin = off;
	SET jit = off`

// A postgres connector opens connections whose answers are bounded and whose settings are set.
type postgresConnector struct{ *pq.Connector }

// Connect implements driver.Connector.
func (p postgresConnector) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.(driver.ExecerContext).ExecContext(ctx, settings, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// A dialer makes connections that give up where an answer takes too long.
type dialer struct{ net.Dialer }

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &bounded{c}, nil
}

// A bounded connection bounds the time from a question to its answer.
type bounded struct{ net.Conn }

func (b *bounded) Write(p []byte) (int, error) {
	if err := b.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return 0, err
	}
	return b.Conn.Write(p)
}

func openPostgres(ctx context.Context, url string, o Options) (*Store, error) {
	connector, err := pq.NewConnector(url)
	if err != nil {
		return nil, err
	}
	if err := prepareSchema(ctx, postgresSchema(sql.OpenDB(connector)), o); err != nil {
		return nil, err
	}
	serving, err := pq.NewConnector(url)
	if err != nil {
		return nil, err
	}
	serving.Dialer(&dialer{})
	db := sql.OpenDB(postgresConnector{serving})
	db.SetMaxIdleConns(0) // the pool keeps those that live
	conns := newPool(maxPostgres, checkAfter, opener(db, "postgres", o), o.Log)
	return &Store{
		readers: conns,
		writes:  &postgres{conns},
		names:   named(db, "postgres"),
		close: func() error {
			conns.stop()
			return db.Close()
		},
	}, nil
}

func opener(db *sql.DB, driver string, o Options) func(context.Context) (*conn, error) {
	return func(ctx context.Context) (*conn, error) {
		c, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, driver: driver, stmts: map[string]*sql.Stmt{}, note: o.OnStatement}, nil
	}
}

func named(db *sql.DB, driver string) *sqlx.DB {
	x := sqlx.NewDb(db, driver)
	x.MapperFunc(snake)
	return x
}

// postgres writes on any of its connections.
type postgres struct{ conns *pool }

// tx retries what definitely had no effect: a serialization failure, a deadlock, and a connection
// that was lost before COMMIT was sent (I-9).
func (p *postgres) tx(ctx context.Context, fn func(*tx) error) error {
	for attempt := 1; ; attempt++ {
		again, err := p.attempt(ctx, fn)
		if !again || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
	}
}

func (p *postgres) attempt(ctx context.Context, fn func(*tx) error) (again bool, err error) {
	c, err := p.conns.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer p.conns.release(c)
	if err := c.control(`BEGIN`); err != nil {
		return c.lost, err
	}
	t := &tx{conn: c, limit: time.Now().Add(txLimit)}
	committed := false
	defer func() { // after a panic, too
		if !committed && !c.lost {
			c.control(`ROLLBACK`)
		}
	}()
	if err := fn(t); err != nil {
		return c.lost || transient(t.failed), err
	}
	err = c.control(`COMMIT`)
	committed = err == nil
	if err != nil && c.lost {
		return false, fmt.Errorf("%w: %w", idp.ErrUncertain, err)
	}
	return transient(err), storeError(err)
}

// once sends a statement that is its own transaction.
func (p *postgres) once(ctx context.Context, fn func(*tx) error) error {
	for attempt := 1; ; attempt++ {
		var lost, sent, again bool
		err := p.conns.lend(ctx, func(c *conn) error {
			t := &tx{conn: c}
			err := fn(t)
			lost, sent, again = c.lost, c.sent, transient(t.failed)
			return err
		})
		if lost && sent && !again {
			return fmt.Errorf("%w: %w", idp.ErrUncertain, err)
		}
		if err == nil || !lost && !again || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
	}
}

func (p *postgres) repeatable(ctx context.Context, fn func(*tx) error) error {
	for attempt := 1; ; attempt++ {
		err := p.once(ctx, fn)
		if !errors.Is(err, idp.ErrUncertain) || attempt == maxAttempts {
			return err
		}
	}
}

// transient tells whether err says that the same may succeed when it is done again:
// serialization_failure and deadlock_detected (PostgreSQL, appendix A), or a plan that is outdated.
func transient(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && (e.Code == "40001" || e.Code == "40P01" || outdated(e))
}

// outdated tells whether a statement was refused because what its connection had prepared serves
// no more: feature_not_supported ("cached plan must not change result type") after a column
// changed, invalid_sql_statement_name after somebody dropped it.
func outdated(e *pq.Error) bool { return e.Code == "0A000" || e.Code == "26000" }
