package storage

import (
	"bytes"
	"context"
	"slices"

	"postern/idp/guard"
)

// ReserveSlots implements guard.Store. A single slot is a single statement.
func (s *Store) ReserveSlots(ctx context.Context, slots []guard.Slot) (full int, err error) {
	switch len(slots) {
	case 0:
		return -1, nil
	case 1:
		ok, err := s.reserve(ctx, slots[0])
		if ok {
			return -1, err
		}
		return 0, err
	}
	err = s.Tx(ctx, func(ctx context.Context) error {
		full = -1
		var had []guard.Slot
		for _, i := range lockOrder(slots) {
			ok, err := s.reserve(ctx, slots[i])
			if err != nil {
				return err
			}
			if ok {
				had = append(had, slots[i])
			} else if full < 0 || i < full {
				full = i
			}
		}
		if full < 0 {
			return nil
		}
		return s.release(ctx, had)
	})
	return full, err
}

// reserve takes a place where there is one. Both databases judge the condition on the row as it is
// then, whoever else counts at the same time.
func (s *Store) reserve(ctx context.Context, slot guard.Slot) (bool, error) {
	if slot.Limit < 1 {
		return false, nil
	}
	n, err := s.exec(ctx, `
		INSERT INTO counters (key, used, dead_at) VALUES (?, 1, ?)
		ON CONFLICT (key) DO UPDATE SET used = counters.used + 1
		WHERE counters.used < ?`, slot.Key, slot.Ends, slot.Limit)
	return n > 0, err
}

func (s *Store) release(ctx context.Context, slots []guard.Slot) error {
	for _, slot := range slots {
		if _, err := s.exec(ctx, `UPDATE counters SET used = used - 1 WHERE key = ? AND used > 0`, slot.Key); err != nil {
			return err
		}
	}
	return nil
}

// ReleaseSlots implements guard.Store.
func (s *Store) ReleaseSlots(ctx context.Context, slots []guard.Slot) error {
	if len(slots) < 2 {
		return s.release(ctx, slots)
	}
	return s.Tx(ctx, func(ctx context.Context) error {
		sorted := make([]guard.Slot, 0, len(slots))
		for _, i := range lockOrder(slots) {
			sorted = append(sorted, slots[i])
		}
		return s.release(ctx, sorted)
	})
}

// lockOrder is the order of the keys, in which everybody takes the rows' locks: two that took them
// in different orders would wait for each other.
func lockOrder(slots []guard.Slot) []int {
	order := make([]int, len(slots))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(slots[a].Key, slots[b].Key) })
	return order
}
