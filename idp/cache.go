package idp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// How old a cache may grow. It is polled every second; one that was not confirmed for staleAfter
// issues nothing (I-13).
const (
	staleAfter = 5 * time.Second
	// pollWithin bounds one poll, so that a database that hangs holds no request for longer.
	pollWithin = 2 * time.Second
)

// A cache is what every node keeps in memory: all clients, all signing keys and all blocks, as of a
// version.
type cache struct {
	now atomic.Pointer[snapshot]
	// polling serialises polls, so that an older one never replaces what a newer one read. It is a
	// channel of one place, since a request must be able to give up waiting.
	polling  chan struct{}
	failures failures
	// blocks are judged as they were read last, however long ago: they ask no database.
	blocks atomic.Pointer[blocks]
}

// A snapshot never changes.
type snapshot struct {
	versions  map[string]int64
	confirmed time.Time // when the poll began that found versions unchanged
	clients   map[string]*Client
	keys      *keySet
}

// failures remembers the last poll that failed, so that while the database is away one request a
// second waits for it, not each.
type failures struct {
	mu   sync.Mutex
	at   time.Time
	last error
}

func (f *failures) note(at time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.last = at, err
}

func (f *failures) recent(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && now.Sub(f.at) < pollEvery {
		return f.last
	}
	return nil
}

// fresh returns the snapshot where it was confirmed within staleAfter. Otherwise it polls at once;
// where that fails it is Unavailable (I-13). Where Run is not running, as in a command, this alone
// keeps the cache fresh.
func (p *Provider) fresh(ctx context.Context) (*snapshot, error) {
	now := p.clock()
	if s := p.cache.now.Load(); s != nil && now.Sub(s.confirmed) < staleAfter {
		return s, nil
	}
	if err := p.cache.failures.recent(now); err != nil {
		return nil, stored("confirm the caches", err)
	}
	s, err := p.refreshUnless(ctx, func(s *snapshot) bool { return now.Sub(s.confirmed) < staleAfter })
	return s, stored("confirm the caches", err)
}

// refresh polls the versions and reads again what changed.
func (p *Provider) refresh(ctx context.Context) error {
	_, err := p.refreshUnless(ctx, func(*snapshot) bool { return false })
	return err
}

// refreshUnless polls but where another poll made the snapshot good enough while this one waited.
func (p *Provider) refreshUnless(ctx context.Context, enough func(*snapshot) bool) (*snapshot, error) {
	// The caller's cancellation must not end a poll that others wait for.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pollWithin)
	defer cancel()
	select {
	case p.cache.polling <- struct{}{}:
		defer func() { <-p.cache.polling }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a poll: %w", ctx.Err())
	}
	former := p.cache.now.Load()
	if former != nil && enough(former) {
		return former, nil
	}
	at := p.clock()
	next, err := p.poll(ctx, former, at)
	p.cache.failures.note(at, err)
	if err != nil {
		return nil, err
	}
	p.cache.now.Store(next)
	return next, nil
}

// poll reads the versions first and what they speak of afterwards, so that a change in between is
// read twice rather than missed.
func (p *Provider) poll(ctx context.Context, former *snapshot, at time.Time) (*snapshot, error) {
	versions, err := p.store.Versions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read versions: %w", err)
	}
	next := &snapshot{versions: versions, confirmed: at}
	if former != nil && former.versions[VersionClients] == versions[VersionClients] {
		next.clients = former.clients
	} else if next.clients, err = p.loadClients(ctx); err != nil {
		return nil, err
	}
	if former != nil && former.versions[VersionKeys] == versions[VersionKeys] {
		next.keys = former.keys
	} else if next.keys, err = p.loadKeys(ctx); err != nil {
		return nil, err
	}
	if former == nil || former.versions[VersionGate] != versions[VersionGate] {
		if err := p.loadBlocks(ctx); err != nil {
			return nil, err
		}
		p.guard.ForgetHere()
	}
	return next, nil
}

func (p *Provider) loadClients(ctx context.Context) (map[string]*Client, error) {
	list, err := p.store.Clients(ctx)
	if err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	clients := make(map[string]*Client, len(list))
	for i := range list {
		clients[list[i].ID] = &list[i]
	}
	return clients, nil
}

// changed runs fn in a Tx that raises the version of what it changes first, and drops what this
// node remembers of it at once. The raised row also makes changes wait for each other, so that fn
// may read, decide and write. An outcome that is unknown drops the cache, too (I-9).
func (p *Provider) changed(ctx context.Context, version string, fn func(context.Context) error) error {
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.RaiseVersion(ctx, version); err != nil {
			return err
		}
		return fn(ctx)
	})
	if err != nil && !errors.Is(err, ErrUncertain) {
		return err
	}
	if failed := p.refresh(ctx); failed != nil {
		p.cache.now.Store(nil)
		p.log.WarnContext(ctx, "reload the caches after a change", "error", failed)
	}
	return err
}
