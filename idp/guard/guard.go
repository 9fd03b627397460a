// Package guard is the one gate before every secret: canonical identifiers, client addresses,
// rate limits. No password, code or client secret is checked without a permit of its making.
//
// It keeps nothing that nodes share: those counters are its Store's.
package guard

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// A Slot is one place in one counter of one window.
type Slot struct {
	Key   []byte    // 16 bytes: hash of action, dimension, value and window
	Limit int       // how many the window has
	Ends  time.Time // when the window ends
}

// Store keeps the counters that every node shares.
type Store interface {
	// ReserveSlots takes a place in every one of slots, or in none of them and returns the index
	// of the first that is full; -1 means that all were taken.
	ReserveSlots(ctx context.Context, slots []Slot) (full int, err error)
	// ReleaseSlots gives the places back. It ignores slots that are gone.
	ReleaseSlots(ctx context.Context, slots []Slot) error
}

// An Action is something that has limits of its own, named as in the settings: "login_failed".
type Action string

// Settings are what a Guard follows. Nil Limits limit nothing.
type Settings struct {
	Limits map[Action][]Limit
	Exempt []netip.Prefix   // networks that no limit holds for
	Key    []byte           // keys the hashes of identifiers and addresses in counters
	Now    func() time.Time // required
}

// A Guard gives permits. Its methods may be called at the same time.
type Guard struct {
	store   Store
	set     Settings
	blocked blockList // by Failure, to the ends of windows
	full    blockList // by Reserve, for a moment
}

// New returns a guard that counts in store.
func New(store Store, s Settings) *Guard {
	return &Guard{
		store: store, set: s,
		blocked: blockList{until: make(map[[16]byte]time.Time)}, full: blockList{until: make(map[[16]byte]time.Time)},
	}
}

// A Request is one attempt to show a secret.
type Request struct {
	// Attempt is the action of which every attempt counts, "" for none.
	Attempt Action
	// Failure is the action of which only failures count, "" for none.
	Failure Action

	Address netip.Addr // the client's; the zero Addr is a network of its own
	Key     string     // the account, or the canonical identifier where that is nobody's
	User    string     // the user who is signed in, "" for none
	Client  string     // the client's ID, "" for none
}

// Throttled is the error of a request that a limit refuses.
type Throttled struct {
	Action     Action
	RetryAfter time.Duration // at least a second
}

func (t *Throttled) Error() string {
	return fmt.Sprintf("the limit of %s is reached, retry after %s", t.Action, t.RetryAfter)
}

// A Permit is the right to check one secret. The zero Permit permits nothing.
type Permit struct {
	guard    *Guard
	reserved []Slot   // given back on success
	failures []window // counted on failure
}

// Must panics where p was not made by a guard: a check of a secret around the gate is a mistake in
// the program.
func (p *Permit) Must() {
	if p == nil || p.guard == nil {
		panic("guard: a secret is checked without a permit")
	}
}

// fullFor is how long Reserve remembers that a window is full. A place that is given back is found
// no later than whoever was refused may come back.
const fullFor = time.Second

// Reserve takes a place for r in every window that it falls into, before anything is verified. Its
// error is *Throttled where one of them is full, and the store's otherwise. What was reserved for
// r.Failure stays counted unless Success gives it back; so a crash counts as a failure.
func (g *Guard) Reserve(ctx context.Context, r Request) (*Permit, error) {
	attempt, failure := g.windows(r.Attempt, r), g.windows(r.Failure, r)
	all := append(attempt, failure...)
	if len(all) == 0 {
		return &Permit{guard: g}, nil
	}
	now := g.set.Now()
	for _, w := range all {
		// Whoever goes on all the same, with other names, must not make the store write each time.
		if g.full.has(w.key, now) {
			return nil, g.throttled(w)
		}
	}
	full, err := g.reserve(ctx, all)
	if err != nil {
		return nil, err
	}
	if full >= 0 {
		g.full.add(all[full].key, now.Add(fullFor), now)
		return nil, g.throttled(all[full])
	}
	return &Permit{guard: g, reserved: slotsOf(failure)}, nil
}

// reserve is the store's ReserveSlots, with windows that have no place at all.
func (g *Guard) reserve(ctx context.Context, list []window) (full int, err error) {
	for i, w := range list {
		if w.limit == 0 {
			return i, nil
		}
	}
	full, err = g.store.ReserveSlots(ctx, slotsOf(list))
	if err != nil {
		return 0, fmt.Errorf("reserve places of %s: %w", list[0].action, err)
	}
	return full, nil
}

// refundWithin bounds the refund of a caller who left.
const refundWithin = 5 * time.Second

// Success gives back what was reserved for failures. It ignores that ctx is cancelled, so that
// nobody who closes the connection is counted as one who failed.
func (p *Permit) Success(ctx context.Context) error {
	p.Must()
	if len(p.reserved) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refundWithin)
	defer cancel()
	if err := p.guard.store.ReleaseSlots(ctx, p.reserved); err != nil {
		return fmt.Errorf("give back reserved places: %w", err)
	}
	p.reserved = nil
	return nil
}

// Check is the gate of secrets that we generated with 256 bits, which need no reservation: it
// reads this process's memory only, and Failure counts afterwards (I-14). Its error is *Throttled.
func (g *Guard) Check(r Request) (*Permit, error) {
	windows := g.windows(r.Failure, r)
	for _, w := range windows {
		if g.blocked.has(w.key, g.set.Now()) {
			return nil, g.throttled(w)
		}
	}
	return &Permit{guard: g, failures: windows}, nil
}

// Failure counts that the secret was wrong. Its error is *Throttled where the window was full
// already: from then on this process refuses the address, or the address at that client, until the
// window ends. It ignores that ctx is cancelled.
func (p *Permit) Failure(ctx context.Context) error {
	p.Must()
	if len(p.failures) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refundWithin)
	defer cancel()
	full, err := p.guard.reserve(ctx, p.failures)
	if err != nil || full < 0 {
		return err
	}
	w := p.failures[full]
	p.guard.blocked.add(w.key, w.ends, p.guard.set.Now())
	return p.guard.throttled(w)
}

func (g *Guard) throttled(w window) *Throttled {
	wait := w.ends.Sub(g.set.Now())
	seconds := (wait + time.Second - 1) / time.Second // up, so that nobody comes back too early
	return &Throttled{Action: w.action, RetryAfter: max(1, seconds) * time.Second}
}

// A window is one counter of one limit, in one stretch of time.
type window struct {
	action Action
	key    [16]byte
	limit  int
	ends   time.Time
}

// windows are those that r falls into as the action: a fixed window for each limit, aligned to
// the calendar so that every node sees the same.
func (g *Guard) windows(action Action, r Request) []window {
	if action == "" || g.exempt(r.Address) {
		return nil
	}
	var list []window
	now := g.set.Now()
	for _, l := range g.set.Limits[action] {
		value, counts := l.Scope.value(r)
		if !counts {
			continue
		}
		starts := now.Truncate(l.Period)
		list = append(list, window{
			action: action, limit: l.Amount, ends: starts.Add(l.Period),
			key: g.key(string(action), l.String(), value, starts),
		})
	}
	return list
}

func (g *Guard) exempt(a netip.Addr) bool {
	for _, p := range g.set.Exempt {
		if p.Contains(a.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// key hashes what a window counts, so that nobody reads identifiers or addresses in the store.
func (g *Guard) key(action, limit, value string, starts time.Time) (key [16]byte) {
	mac := hmac.New(sha256.New, g.set.Key)
	for _, part := range []string{action, limit, value} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	var start [8]byte
	binary.BigEndian.PutUint64(start[:], uint64(starts.Unix()))
	mac.Write(start[:])
	copy(key[:], mac.Sum(nil))
	return key
}

func slotsOf(list []window) []Slot {
	slots := make([]Slot, len(list))
	for i, w := range list {
		slots[i] = Slot{Key: w.key[:], Limit: w.limit, Ends: w.ends}
	}
	return slots
}
