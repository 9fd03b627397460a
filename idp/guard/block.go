package guard

import (
	"sync"
	"time"
)

const (
	// maxBlocked bounds the memory of a flood from many addresses: 100,000 entries are some 20 MiB.
	maxBlocked = 100_000
	// sweptEach is how many old entries each new one looks at. It is more than one, so that the dead
	// become fewer, and few, so that nobody waits for a long list.
	sweptEach = 4
)

// A blockList remembers which counters refuse, each until its end.
type blockList struct {
	mu     sync.Mutex
	blocks pool[block]
}

// A block is the outcome of a counter that refused, and how long it is remembered.
type block struct {
	outcome Outcome
	until   time.Time
}

// has is the outcome of a counter that is known to refuse at now, the zero Outcome of others.
func (b *blockList) has(key [16]byte, now time.Time) Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found := b.blocks.find(key); found != nil && now.Before(found.until) {
		return found.outcome
	}
	return Outcome{}
}

func (b *blockList) add(key [16]byte, o Outcome, until, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks.sweep(sweptEach, func(old *block) bool { return !now.Before(old.until) })
	if b.blocks.find(key) == nil && len(b.blocks.list) >= maxBlocked {
		// Full of live blocks. The store still refuses; only the memory of this one is missing.
		return
	}
	b.blocks.put(key, block{outcome: o, until: until})
}

func (b *blockList) remove(key [16]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks.remove(key)
}

func (b *blockList) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks = pool[block]{}
}
