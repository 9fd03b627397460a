package guard

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// maxMemory bounds the counters of a memory store: a million are some 300 MiB.
const maxMemory = 1_000_000

// maxLooked is how many counters a new one looks at for room.
const maxLooked = 1000

// A memory is a Store of one process.
type memory struct {
	max int
	mu  sync.Mutex
	all pool[kept]
}

// kept is a counter as it is kept.
type kept struct {
	tag   Tag
	limit int
	count Count
	dead  time.Time // Rule.Dead
}

// NewMemory returns a store of a single process, which forgets everything when that ends. It keeps a
// million counters; beyond, new ones take the place of others that lock nobody.
func NewMemory() Store { return newMemory(maxMemory) }

func newMemory(most int) *memory { return &memory{max: most} }

var errFull = errors.New("the memory is full of locks: there is no room for another counter")

// ReserveCounters implements Store.
func (m *memory) ReserveCounters(ctx context.Context, counters []Counter, now time.Time) ([]Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.makeRoom(counters, now); err != nil {
		return nil, err
	}
	counts, outcomes, refused := m.judge(counters, now)
	for i := range counters {
		c := &counters[i]
		if !refused || outcomes[i].Refused && c.Rule.Prolong {
			m.all.put(c.Key, kept{tag: c.Tag, limit: c.Rule.Limit, count: counts[i], dead: c.Rule.Dead(counts[i], c.Ends)})
		}
	}
	return outcomes, nil
}

// makeRoom sweeps a few counters for each new one, so that the dead become fewer and nobody waits
// for all of them. Where there is no room all the same, some go that lock nobody. Its caller holds
// the lock, as those of the methods below.
func (m *memory) makeRoom(counters []Counter, now time.Time) error {
	missing := 0
	for i := range counters {
		if m.all.find(counters[i].Key) == nil {
			missing++
		}
	}
	m.all.sweep(sweptEach*missing, func(k *kept) bool { return !now.Before(k.dead) })
	full := func() bool { return len(m.all.list)+missing > m.max }
	for looked := 0; full() && looked < maxLooked; looked++ {
		m.all.sweep(1, func(k *kept) bool { return !now.Before(k.count.Locked) })
	}
	if full() {
		return errFull
	}
	return nil
}

// judge takes places without keeping them.
func (m *memory) judge(counters []Counter, now time.Time) (counts []Count, outcomes []Outcome, refused bool) {
	counts, outcomes = make([]Count, len(counters)), make([]Outcome, len(counters))
	for i := range counters {
		c := &counters[i]
		var count Count
		if k := m.all.find(c.Key); k != nil {
			count = k.count
		}
		counts[i], outcomes[i] = c.Rule.Take(count, c.Ends, now)
		refused = refused || outcomes[i].Refused
	}
	return counts, outcomes, refused
}

// ReleaseCounters implements Store.
func (m *memory) ReleaseCounters(ctx context.Context, counters []Counter, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range counters {
		c := &counters[i]
		k := m.all.find(c.Key)
		if k == nil {
			continue
		}
		k.count = c.Rule.Give(k.count, at)
		k.dead = c.Rule.Dead(k.count, c.Ends)
		if c.Clear || k.dead.IsZero() {
			m.all.remove(c.Key)
		}
	}
	return nil
}

// LookAtCounters implements Store.
func (m *memory) LookAtCounters(ctx context.Context, counters []Counter, now time.Time) ([]Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, outcomes, _ := m.judge(counters, now)
	return outcomes, nil
}

// CounterRecords implements Store.
func (m *memory) CounterRecords(ctx context.Context, f Filter, now time.Time, after [16]byte, limit int) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Record
	for i := range m.all.list {
		key, k := m.all.list[i].key, &m.all.list[i].value
		if bytes.Compare(key[:], after[:]) > 0 && f.Matches(k.tag) && now.Before(k.dead) {
			list = append(list, Record{Key: key, Tag: k.tag, Limit: k.limit, Count: k.count})
		}
	}
	slices.SortFunc(list, func(a, b Record) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return list[:min(limit, len(list))], nil
}

// ForgetCounters implements Store.
func (m *memory) ForgetCounters(ctx context.Context, f Filter, now time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	held := 0
	for i := len(m.all.list) - 1; i >= 0; i-- { // remove puts the last one here
		k := &m.all.list[i].value
		if !f.Matches(k.tag) {
			continue
		}
		if now.Before(k.dead) {
			held++
		}
		m.all.remove(m.all.list[i].key)
	}
	return held, nil
}
