package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxBatch bounds how many callers share a COMMIT, and so how long the first of them waits.
const maxBatch = 64

// maxQueue bounds how many callers wait for the writer.
const maxQueue = 1024

// A writer is SQLite's only writing connection. It commits in groups: what several callers want
// written while the disk is busy with the COMMIT before is one transaction, with a savepoint for
// each function of theirs, and one COMMIT (I-8).
type writer struct {
	open  func(context.Context) (*conn, error)
	log   *slog.Logger
	conn  *conn // nil until it is needed, and after it was lost
	most  int   // members of a batch
	queue chan *member

	stopOnce sync.Once
	quit     chan struct{} // closed by stop
	ended    chan struct{} // closed when the goroutine has ended
}

// A member is one caller's part of a batch.
type member struct {
	ctx context.Context
	fn  func(*tx) error
	// own says that fn is the store's own single statement, which the writer's goroutine runs. Any
	// other fn runs in its caller's goroutine when its turn comes, so that a panic or the end of
	// that goroutine is the caller's alone.
	own   bool
	state atomic.Int32 // waiting, taken or left
	turn  chan *tx
	ran   chan struct{}
	done  chan struct{}

	err      error
	panicked any  // what fn panicked with
	gone     bool // fn ended its goroutine
}

const (
	waiting int32 = iota
	taken         // by the writer: the caller stays until the end
	left          // by the caller: the writer passes over it
)

func newWriter(open func(context.Context) (*conn, error), log *slog.Logger) *writer {
	w := &writer{
		open: open, log: log, most: maxBatch, queue: make(chan *member, maxQueue),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go w.run()
	return w
}

// stop lets the batch that is under way end and refuses every other.
func (w *writer) stop() {
	w.stopOnce.Do(func() { close(w.quit) })
	<-w.ended
}

func (w *writer) tx(ctx context.Context, fn func(*tx) error) error {
	return w.submit(&member{ctx: ctx, fn: fn, turn: make(chan *tx, 1), ran: make(chan struct{}, 1)})
}

func (w *writer) once(ctx context.Context, fn func(*tx) error) error {
	return w.submit(&member{ctx: ctx, fn: fn, own: true})
}

// repeatable is once: SQLite knows whether its COMMIT took effect.
func (w *writer) repeatable(ctx context.Context, fn func(*tx) error) error { return w.once(ctx, fn) }

// submit queues m and waits for its outcome. The caller may leave, or is sent away, until its turn
// comes.
func (w *writer) submit(m *member) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	m.done = make(chan struct{})
	patience := time.NewTimer(acquireWait)
	defer patience.Stop()
	select {
	case w.queue <- m:
	case <-m.ctx.Done():
		return m.ctx.Err()
	case <-patience.C:
		return errBusy
	case <-w.quit:
		return errClosed
	}
	canceled, ended := m.ctx.Done(), w.ended
	for {
		select {
		case t := <-m.turn:
			m.take(t)
		case <-m.done:
			return m.outcome()
		case <-canceled:
			if m.state.CompareAndSwap(waiting, left) {
				return m.ctx.Err()
			}
			canceled = nil
		case <-patience.C:
			if m.state.CompareAndSwap(waiting, left) {
				return errBusy
			}
		case <-ended:
			if m.state.CompareAndSwap(waiting, left) {
				return errClosed
			}
			ended = nil
		}
	}
}

// take runs m in its caller's goroutine.
func (m *member) take(t *tx) {
	defer func() { m.ran <- struct{}{} }()
	m.run(t)
}

// run runs fn and keeps what became of it: an error, a panic, or runtime.Goexit.
func (m *member) run(t *tx) {
	m.err, m.panicked, m.gone = nil, nil, true
	defer func() {
		if p := recover(); p != nil {
			m.panicked, m.gone = p, false
		}
	}()
	m.err = m.fn(t)
	m.gone = false
}

func (m *member) failed() bool { return m.err != nil || m.panicked != nil || m.gone }

func (m *member) outcome() error {
	if m.panicked != nil {
		panic(m.panicked)
	}
	return m.err
}

func (m *member) finish(err error) {
	if err != nil {
		m.err, m.panicked = err, nil
	}
	close(m.done)
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		select {
		case <-w.quit:
			if w.conn != nil {
				w.conn.Close()
			}
			return
		case m := <-w.queue:
			batch := w.gather(m)
			for _, m := range w.commit(batch) {
				w.commit([]*member{m})
			}
		}
	}
}

// gather takes what else waits. Nobody is waited for: a batch grows while the one before commits.
func (w *writer) gather(first *member) []*member {
	if len(w.queue) == 0 {
		// Whoever was just answered may be about to ask again: let them run first.
		runtime.Gosched()
	}
	batch := []*member{first}
	for len(batch) < w.most {
		select {
		case m := <-w.queue:
			batch = append(batch, m)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction. It returns the members that must be run again, each
// alone, because the transaction was undone through no fault of theirs.
func (w *writer) commit(batch []*member) (again []*member) {
	batch = present(batch)
	if len(batch) == 0 {
		return nil
	}
	if err := w.begin(); err != nil {
		finish(batch, err)
		return nil
	}
	err := w.transact(batch)
	if err == nil {
		finish(batch, nil)
		return nil
	}
	if len(batch) > 1 {
		w.log.Warn("a batch of writes was undone; each is done again alone", "writes", len(batch), "error", err)
		return batch
	}
	m := batch[0]
	if m.failed() {
		err = nil // what fn made of it
	}
	m.finish(storeError(err))
	return nil
}

// transact runs the members of a batch and ends the transaction. An error says that nothing of it
// stayed.
func (w *writer) transact(batch []*member) error {
	err := w.members(batch)
	if err == nil {
		if len(batch) == 1 && batch[0].failed() {
			w.rollback()
			return nil
		}
		if err = w.conn.control(`COMMIT`); err == nil {
			return nil
		}
	}
	w.rollback()
	return err
}

// present are the members whose callers have not left yet.
func present(batch []*member) []*member {
	here := batch[:0:0]
	for _, m := range batch {
		switch {
		case m.state.Load() == left:
		case m.gone:
			close(m.done)
		default:
			here = append(here, m)
		}
	}
	return here
}

// stays tells whether m's caller is still there, who then stays until the end.
func (m *member) stays() bool {
	if m.state.CompareAndSwap(waiting, taken) || m.state.Load() == taken {
		m.err, m.panicked = m.ctx.Err(), nil
		return m.err == nil
	}
	return false
}

func finish(batch []*member, err error) {
	for _, m := range batch {
		m.finish(err)
	}
}

func (w *writer) begin() error {
	if w.conn != nil && w.conn.lost {
		w.conn.Close()
		w.conn = nil
	}
	if w.conn == nil {
		c, err := w.open(context.Background())
		if err != nil {
			return err
		}
		w.conn = c
	}
	err := w.conn.control(`BEGIN IMMEDIATE`)
	w.conn.lost = err != nil
	return err
}

// rollback undoes the transaction. SQLite may have undone it already, and says so by an error; a
// connection that is closed undoes it in any case.
func (w *writer) rollback() {
	if err := w.conn.control(`ROLLBACK`); err != nil {
		w.conn.lost = true
	}
}

var errUndone = errors.New("the transaction was undone")

// members runs each member so that it can be undone alone. A single one needs nothing for that,
// nor does a single statement: one that violates a constraint undoes itself. Any other has a
// savepoint. An error means that the transaction is not to be used any more.
func (w *writer) members(batch []*member) error {
	for _, m := range batch {
		if !m.stays() {
			continue
		}
		saved := len(batch) > 1 && !m.own
		if saved {
			if err := w.conn.control(`SAVEPOINT member`); err != nil {
				return err
			}
		}
		t := &tx{conn: w.conn, limit: time.Now().Add(txLimit)}
		if m.own {
			m.run(t)
		} else {
			m.turn <- t
			<-m.ran
		}
		if t.broken {
			return fmt.Errorf("%w: %w", errUndone, t.failed)
		}
		if m.own && m.panicked != nil {
			return errUndone // nobody knows after what
		}
		if saved {
			if err := w.leave(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave closes m's savepoint, and undoes it where m failed.
func (w *writer) leave(m *member) error {
	if m.failed() {
		if err := w.conn.control(`ROLLBACK TO member`); err != nil {
			return err
		}
	}
	return w.conn.control(`RELEASE member`)
}
