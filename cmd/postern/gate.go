package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/guard"
	"postern/storage/redis"
)

// A gate is where the provider counts. A nil store is the database.
type gate struct {
	guard.Store
	close func() error
}

// An unreachableGate answers everything with an error: a command that needs no counter goes on
// without them.
type unreachableGate struct{ err error }

// ReserveCounters implements guard.Store.
func (g unreachableGate) ReserveCounters(context.Context, []guard.Counter, time.Time) ([]guard.Outcome, error) {
	return nil, g.err
}

// ReleaseCounters implements guard.Store.
func (g unreachableGate) ReleaseCounters(context.Context, []guard.Counter, time.Time) error {
	return g.err
}

// LookAtCounters implements guard.Store.
func (g unreachableGate) LookAtCounters(context.Context, []guard.Counter, time.Time) ([]guard.Outcome, error) {
	return nil, g.err
}

// CounterRecords implements guard.Store.
func (g unreachableGate) CounterRecords(context.Context, guard.Filter, time.Time, [16]byte, int) ([]guard.Record, error) {
	return nil, g.err
}

// ForgetCounters implements guard.Store.
func (g unreachableGate) ForgetCounters(context.Context, guard.Filter, time.Time) (int, error) {
	return 0, g.err
}

// nothingToClose closes a gate that needs no closing.
func nothingToClose() error { return nil }

// openGate opens what lockout.handler names.
func openGate(ctx context.Context, cfg *config.Config) (gate, error) {
	switch cfg.Lockout.Handler {
	case "redis":
		s, err := redis.Open(ctx, cfg.Redis.URL)
		if err != nil {
			return gate{}, fmt.Errorf("redis.url: %w", err)
		}
		return gate{s, s.Close}, nil
	case "memory":
		return gate{guard.NewMemory(), nothingToClose}, nil
	case "dummy":
		return gate{guard.Dummy{}, nothingToClose}, nil
	}
	return gate{nil, nothingToClose}, nil
}

// judgeGate asks the gate whether it can read its settings.
func judgeGate(loaded *config.Loaded) (problems config.Problems) {
	for _, p := range idp.JudgeGate(loaded.Config) {
		code := "CFG-071"
		if strings.HasPrefix(p.Key, "rate_limits.") {
			code = "CFG-070"
		}
		problem := loaded.Problem(p.Key, code, p.Reason, p.Remedy)
		offending := problem.Value // which stands before the reason already, as in a list its item does
		if offending == "" {
			offending, _, _ = strings.Cut(strings.TrimPrefix(p.Reason, "has "), ", which ")
		}
		problem.Reason = strings.TrimSuffix(p.Reason, " in "+offending)
		problems = append(problems, problem)
	}
	return problems
}
