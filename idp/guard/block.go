package guard

import (
	"sync"
	"time"
)

// maxBlocked bounds the memory of a flood from many addresses: 100,000 entries are some 10 MiB.
const maxBlocked = 100_000

// A blockList remembers which windows are full, each until its end.
type blockList struct {
	mu    sync.Mutex
	until map[[16]byte]time.Time
}

func (b *blockList) has(key [16]byte, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Before(b.until[key])
}

func (b *blockList) add(key [16]byte, until, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.until) >= maxBlocked {
		for k, end := range b.until {
			if !now.Before(end) {
				delete(b.until, k)
			}
		}
		if len(b.until) >= maxBlocked {
			// Full of live blocks. The store still refuses every further failure; only the memory
			// of this one is missing.
			return
		}
	}
	b.until[key] = until
}
