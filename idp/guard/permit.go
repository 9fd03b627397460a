package guard

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Permit is the right to check one secret, for one goroutine. The zero Permit permits nothing.
type Permit struct {
	guard     *Guard
	request   Request
	at        time.Time // when places were taken
	taken     []Counter // given back on success
	locks     []*LockedOut
	wouldLock []*LockedOut
	known     bool
	failures  []place // of Check: taken on failure
}

// Must panics where p was not made by a guard: a check of a secret around the gate is a mistake in
// the program.
func (p *Permit) Must() {
	if p == nil || p.guard == nil {
		panic("guard: a secret is checked without a permit")
	}
}

// Known tells whether p is that of a known device whose bucket is not empty (I-16).
func (p *Permit) Known() bool {
	p.Must()
	return p.known
}

// Network is where the request of p comes from, as the queue of hashes is fair by (I-16): /24 or /64.
// It is the zero Prefix where that is unknown.
func (p *Permit) Network() netip.Prefix {
	p.Must()
	return network(p.request.Address, 24, subscriber)
}

// Locks is what a failure of p locks, nil for nothing: the places that it took were the last.
// Several are in the order of the settings; the first answers.
func (p *Permit) Locks() []*LockedOut {
	p.Must()
	return p.locks
}

// WouldLock is what a failure of p would lock were it not for the dry run, nil for nothing. It
// changes no answer.
func (p *Permit) WouldLock() []*LockedOut {
	p.Must()
	return p.wouldLock
}

// Success gives back what was reserved for failures. It ignores that ctx is cancelled, so that
// nobody who closes the connection is counted as one who failed.
func (p *Permit) Success(ctx context.Context) error {
	p.Must()
	return p.release(ctx, nil)
}

// Cleared is Success after a login that owes no step: it also forgets the failures of this account
// at this address, where the settings say so, and those of the known device (I-15). What is counted
// of the address over all accounts, or of the account over all addresses, is never forgotten.
func (p *Permit) Cleared(ctx context.Context) error {
	p.Must()
	return p.release(ctx, p.guard.clearedBy(&p.request))
}

// refundWithin bounds the refund of a caller who left.
const refundWithin = 5 * time.Second

// release gives back what was taken and forgets cleared, in one call of the store.
func (p *Permit) release(ctx context.Context, cleared []Counter) error {
	list := slices.Clone(cleared)
	for _, c := range p.taken {
		if !slices.ContainsFunc(cleared, func(other Counter) bool { return other.Key == c.Key }) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refundWithin)
	defer cancel()
	if err := p.guard.store.ReleaseCounters(ctx, list, p.at); err != nil {
		return fmt.Errorf("give back reserved places: %w", err)
	}
	for i := range list {
		p.guard.full.remove(list[i].Key)
	}
	if len(p.taken) > 0 {
		p.guard.observe(p.request.metric(), Refunded)
	}
	p.taken = nil
	return nil
}

// Failure counts that the secret was wrong. Its error is *Throttled where the window was full
// already: from then on this process refuses the address, or the address at that client, until the
// window ends. It ignores that ctx is cancelled.
func (p *Permit) Failure(ctx context.Context) error {
	p.Must()
	if len(p.failures) == 0 {
		return nil
	}
	g, now := p.guard, p.guard.now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refundWithin)
	defer cancel()
	outcomes, err := g.take(ctx, p.failures, now)
	if err != nil {
		g.observe(p.request.Failure, Unserved)
		return fmt.Errorf("count a failure of %s: %w", p.request.Failure, err)
	}
	for i, o := range outcomes {
		if o.Refused {
			g.blocked.add(p.failures[i].counter.Key, o, o.Until, now)
		}
	}
	if t := throttled(p.failures, outcomes, now); t != nil {
		g.observe(t.Action, Limited)
		return t
	}
	g.observe(p.request.Failure, Reserved)
	return nil
}
