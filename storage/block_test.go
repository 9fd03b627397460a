package storage_test

import (
	"net/netip"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newBlock(network string, d time.Duration) idp.Block {
	return idp.Block{Network: netip.MustParsePrefix(network), Why: "honeypot", Until: at(d), CreatedAt: at(0)}
}

func TestBlocksArePutProlongedAndRemoved(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		listed := func(what string, when time.Time, want ...idp.Block) {
			t.Helper()
			got, err := s.Blocks(ctx, when)
			must(t, err)
			same(t, what, got, want)
		}
		long, short := newBlock("10.0.0.0/8", 2*time.Hour), newBlock("9.0.0.0/8", time.Hour)
		six := newBlock("2001:db8::/64", 2*time.Hour)
		for _, b := range []idp.Block{six, long, short} {
			must(t, s.PutBlock(ctx, b))
		}
		listed("all", at(0), short, long, six)
		listed("at the end of one", at(time.Hour), long, six) // no sweep needed

		longer := newBlock("10.0.0.0/8", 3*time.Hour)
		longer.Why, longer.CreatedAt = "admin", at(time.Hour)
		must(t, s.PutBlock(ctx, longer))
		must(t, s.PutBlock(ctx, long)) // never shortened
		longer.CreatedAt = at(0)
		anew := newBlock("9.0.0.0/8", 3*time.Hour)
		anew.CreatedAt = at(time.Hour)
		must(t, s.PutBlock(ctx, anew))
		listed("prolonged", at(time.Hour), anew, longer, six)

		removed := func(network string, want int) {
			t.Helper()
			var p netip.Prefix
			if network != "" {
				p = netip.MustParsePrefix(network)
			}
			n, err := s.RemoveBlocks(ctx, p, at(time.Hour))
			must(t, err)
			same(t, "removed "+network, n, want)
		}
		removed("10.1.2.3/32", 1)
		removed("10.1.2.3/32", 0)
		removed("2001:db8::/32", 1)
		removed("", 1)
		listed("none", at(0))
	})
}

func TestS4_59_AllBlocksAreRemovedAtOnceHoweverManyThereAre(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		must(t, s.PutBlock(ctx, newBlock("9.0.0.0/8", time.Minute)))
		for _, network := range []string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8::/64"} {
			must(t, s.PutBlock(ctx, newBlock(network, time.Hour)))
		}
		sent.Take()
		n, err := s.RemoveBlocks(ctx, netip.Prefix{}, at(time.Minute))
		must(t, err)
		same(t, "removed of those alive", n, 3)
		same(t, "statements", len(sent.Take()), 1) // a Tx is too short for one each
	})
}
