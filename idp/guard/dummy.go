package guard

import (
	"context"
	"time"
)

// Dummy is a Store that counts nothing and refuses nobody, for development.
type Dummy struct{}

// ReserveCounters implements Store.
func (Dummy) ReserveCounters(ctx context.Context, counters []Counter, _ time.Time) ([]Outcome, error) {
	return make([]Outcome, len(counters)), ctx.Err()
}

// ReleaseCounters implements Store.
func (Dummy) ReleaseCounters(ctx context.Context, _ []Counter, _ time.Time) error { return ctx.Err() }

// LookAtCounters implements Store.
func (Dummy) LookAtCounters(ctx context.Context, counters []Counter, _ time.Time) ([]Outcome, error) {
	return make([]Outcome, len(counters)), ctx.Err()
}

// CounterRecords implements Store.
func (Dummy) CounterRecords(ctx context.Context, _ Filter, _ time.Time, _ [16]byte, _ int) ([]Record, error) {
	return nil, ctx.Err()
}

// ForgetCounters implements Store.
func (Dummy) ForgetCounters(ctx context.Context, _ Filter, _ time.Time) (int, error) {
	return 0, ctx.Err()
}
