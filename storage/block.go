package storage

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"postern/idp"
)

// Blocks implements idp.BlockStore.
func (s *Store) Blocks(ctx context.Context, now time.Time) (list []idp.Block, err error) {
	args, err := bind([]any{now})
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(t *tx) error {
		list = nil
		return t.query(`
			SELECT network, why, until, created_at
			FROM blocks
			WHERE until > ?`, args, func(rows *sql.Rows) error {
			var b idp.Block
			var network string
			err := rows.Scan(&network, &b.Why, moment{&b.Until}, moment{&b.CreatedAt})
			if err != nil {
				return err
			}
			if b.Network, err = netip.ParsePrefix(network); err != nil {
				return fmt.Errorf("scan block: %w", err)
			}
			list = append(list, b)
			return nil
		})
	})
	slices.SortFunc(list, func(a, b idp.Block) int { return a.Network.Compare(b.Network) })
	return list, err
}

// PutBlock implements idp.BlockStore. A block that is over begins anew.
func (s *Store) PutBlock(ctx context.Context, b idp.Block) error {
	_, err := s.exec(ctx, `
		INSERT INTO blocks (network, why, until, created_at)
		VALUES (?, ?, ?, ?)
		ON CONFLICT (network) DO UPDATE
		SET why = excluded.why, until = excluded.until,
			created_at = CASE WHEN blocks.until <= excluded.created_at THEN excluded.created_at ELSE blocks.created_at END
		WHERE blocks.until < excluded.until`,
		b.Network.Masked().String(), b.Why, b.Until, b.CreatedAt)
	return err
}

// RemoveBlocks implements idp.BlockStore. Few contain a network or are contained in one; all may be
// many.
func (s *Store) RemoveBlocks(ctx context.Context, network netip.Prefix, now time.Time) (removed int, err error) {
	if !network.IsValid() {
		n, err := s.exec(ctx, `DELETE FROM blocks WHERE until > ?`, now)
		return int(n), err
	}
	err = s.Tx(ctx, func(ctx context.Context) error {
		removed = 0
		list, err := s.Blocks(ctx, now)
		if err != nil {
			return err
		}
		for _, b := range list {
			if !network.Overlaps(b.Network) {
				continue
			}
			n, err := s.exec(ctx, `DELETE FROM blocks WHERE network = ?`, b.Network.String())
			if err != nil {
				return err
			}
			removed += int(n)
		}
		return nil
	})
	return removed, err
}
