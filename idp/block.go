package idp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Block refuses a network everything, until it ends.
type Block struct {
	Network   netip.Prefix `json:"network"`
	Why       string       `json:"why"` // honeypot
	Until     time.Time    `json:"until"`
	CreatedAt time.Time    `json:"created_at"`
}

// BlockStore keeps blocks. All that are alive are in the memory of every node (I-13).
type BlockStore interface {
	// Blocks lists those alive at now, in the order of their networks.
	Blocks(ctx context.Context, now time.Time) ([]Block, error)
	// PutBlock adds a block, or prolongs the one of the same network.
	PutBlock(ctx context.Context, b Block) error
	// RemoveBlocks removes those that contain or are contained in a network (the invalid one: all),
	// and tells how many were alive at now.
	RemoveBlocks(ctx context.Context, network netip.Prefix, now time.Time) (int, error)
}

// blocks are the ends of those that were alive when they were read. They never change.
type blocks struct {
	until map[netip.Prefix]time.Time
	bits  []bitLength // of the networks
}

// A bitLength is that of networks of one family, so that finding the one that contains an address
// takes a look at the map for each.
type bitLength struct {
	six  bool
	bits int
}

func newBlocks(list []Block) *blocks {
	b := &blocks{until: make(map[netip.Prefix]time.Time, len(list))}
	for _, one := range list {
		network := one.Network.Masked()
		b.until[network] = one.Until
		length := bitLength{network.Addr().Is6(), network.Bits()}
		if !slices.Contains(b.bits, length) {
			b.bits = append(b.bits, length)
		}
	}
	return b
}

// find is until when an address is blocked at now, zero where it is not.
func (b *blocks) find(a netip.Addr, now time.Time) (until time.Time) {
	a = a.Unmap().WithZone("")
	for _, length := range b.bits {
		if length.six != a.Is6() {
			continue
		}
		network, err := a.Prefix(length.bits)
		if err != nil {
			continue
		}
		if end := b.until[network]; now.Before(end) && end.After(until) {
			until = end
		}
	}
	return until
}

func (p *Provider) loadBlocks(ctx context.Context) error {
	list, err := p.store.Blocks(ctx, p.Now())
	if err != nil {
		return fmt.Errorf("list blocks: %w", err)
	}
	p.cache.blocks.Store(newBlocks(list))
	return nil
}

// Blocked returns the block or the deny list that a visitor's address is refused by: an Error of
// the Kind Blocked, whose RetryAfter is 0 where it has no end; nil for nobody. It asks no database.
func (p *Provider) Blocked(ctx context.Context) error {
	a := VisitorFrom(ctx).Address
	if err := p.guard.Admit(a); err != nil {
		return p.refused(ctx, "admit an address", err)
	}
	b := p.cache.blocks.Load()
	if b == nil || len(b.until) == 0 || !a.IsValid() {
		return nil
	}
	now := p.clock()
	until := b.find(a, now)
	if until.IsZero() || contains(p.cfg.Lockout.AllowCIDRs, a) {
		return nil
	}
	e := &Error{Kind: Blocked, Code: "blocked", RetryAfter: max(until.Sub(now), time.Second)}
	p.noteRefusal(ctx, ID{}, "admit an address", e)
	return e
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Blocks lists blocks.
func (p *Provider) Blocks(ctx context.Context) ([]Block, error) {
	list, err := p.store.Blocks(ctx, p.Now())
	return list, stored("list blocks", err)
}

// blockable tells whether an address may be blocked: not one that the settings call good, nor one
// that may be that of a proxy of ours, behind which everybody comes. In development there is none.
func (p *Provider) blockable(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid(), contains(p.cfg.Lockout.AllowCIDRs, a), contains(p.cfg.Proxy.TrustedCIDRs, a):
		return false
	case p.cfg.Proxy.TrustedHops > 0, p.cfg.Proxy.ClientIPHeader != "", p.cfg.Development():
		return true
	case strings.HasPrefix(p.cfg.Issuer, "https:") && p.cfg.TLS.Cert == "":
		return false // somebody else speaks https for us, and every address is theirs
	}
	return !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast() && !a.IsUnspecified()
}

// block adds a block in the Tx of ctx. Once that is committed p.refresh makes it hold here at once,
// and within a second on the other nodes.
func (p *Provider) block(ctx context.Context, b Block) error {
	if err := p.store.RaiseVersion(ctx, VersionGate); err != nil {
		return err
	}
	if err := p.store.PutBlock(ctx, b); err != nil {
		return err
	}
	return p.record(ctx, eventBlockAdded(b))
}

func eventBlockAdded(b Block) Event {
	return Event{Kind: "block.added", Actor: actorSystem, Details: Details{
		"network": b.Network.String(), "why": b.Why, "until": b.Until.UTC().Format(time.RFC3339),
	}}
}
