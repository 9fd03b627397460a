package redis

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"postern/idp/guard"
)

// script is Rule.Take, Rule.Give and Rule.Dead for Redis, so that a reservation is one round trip
// and nothing happens in between.
var (
	//go:embed counter.lua
	scriptText string
	script     = goredis.NewScript(scriptText)
)

// A deed is what the script is to do.
type deed string

const (
	reserve deed = "reserve"
	release deed = "release"
	look    deed = "look"
	forget  deed = "forget"
)

// batch is how many keys one call scans, reads or forgets.
const batch = 500

// ReserveCounters implements guard.Store.
func (s *Store) ReserveCounters(ctx context.Context, counters []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	outcomes, err := s.judge(ctx, reserve, counters, now)
	if err != nil {
		return nil, fmt.Errorf("reserve counters: %w", err)
	}
	return outcomes, nil
}

// ReleaseCounters implements guard.Store.
func (s *Store) ReleaseCounters(ctx context.Context, counters []guard.Counter, at time.Time) error {
	if len(counters) == 0 {
		return nil
	}
	if err := s.run(ctx, release, counters, at).Err(); err != nil {
		return fmt.Errorf("release counters: %w", err)
	}
	return nil
}

// LookAtCounters implements guard.Store.
func (s *Store) LookAtCounters(ctx context.Context, counters []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	outcomes, err := s.judge(ctx, look, counters, now)
	if err != nil {
		return nil, fmt.Errorf("look at counters: %w", err)
	}
	return outcomes, nil
}

func (s *Store) judge(ctx context.Context, d deed, counters []guard.Counter, now time.Time) ([]guard.Outcome, error) {
	if len(counters) == 0 {
		return nil, nil
	}
	const width = 4 // refused, locks, used, until
	numbers, err := s.run(ctx, d, counters, now).Int64Slice()
	if err != nil {
		return nil, err
	}
	if len(numbers) != width*len(counters) {
		return nil, fmt.Errorf("the script answered %d numbers for %d counters", len(numbers), len(counters))
	}
	outcomes := make([]guard.Outcome, len(counters))
	for i := range outcomes {
		n := numbers[width*i:]
		outcomes[i] = guard.Outcome{Refused: n[0] == 1, Locks: n[1] == 1, Used: int(n[2]), Until: moment(n[3])}
	}
	return outcomes, nil
}

func (s *Store) run(ctx context.Context, d deed, counters []guard.Counter, now time.Time) *goredis.Cmd {
	keys := make([]string, len(counters))
	args := make([]any, 0, 2+12*len(counters))
	args = append(args, string(d), now.UnixMicro())
	for i := range counters {
		c := &counters[i]
		keys[i] = s.key(c.Key)
		args = append(args, int(c.Rule.Aging), c.Rule.Limit, c.Rule.Period.Microseconds(), tiers(c.Rule.Tiers),
			c.Rule.Prolong, c.Rule.Monitor, microseconds(c.Ends), c.Clear,
			c.Tag.Kind, c.Tag.Lock, c.Tag.Account, c.Tag.Network)
	}
	ctx, cancel := context.WithTimeout(ctx, allTimeout)
	defer cancel()
	return script.Run(ctx, s.client, keys, args...)
}

func (s *Store) key(key [16]byte) string { return s.prefix + hex.EncodeToString(key[:]) }

// tiers are LIMIT:PERIOD each, the period in microseconds, with a comma between them.
func tiers(tiers []guard.Tier) string {
	if len(tiers) == 0 {
		return ""
	}
	var b strings.Builder
	for i, t := range tiers {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%d", t.Limit, t.Period.Microseconds())
	}
	return b.String()
}

// forever stands for guard.Forever, whose microseconds are more than a number of Lua counts
// exactly.
const forever = -1

// microseconds is 0 for the zero time.
func microseconds(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case !t.Before(guard.Forever):
		return forever
	}
	return t.UnixMicro()
}

func moment(microseconds int64) time.Time {
	switch microseconds {
	case 0:
		return time.Time{}
	case forever:
		return guard.Forever
	}
	return time.UnixMicro(microseconds).UTC()
}

// CounterRecords implements guard.Store. It reads every counter, since Redis has no order of keys.
func (s *Store) CounterRecords(ctx context.Context, f guard.Filter, now time.Time, after [16]byte, limit int) ([]guard.Record, error) {
	var records []guard.Record
	order := func(a, b guard.Record) int { return bytes.Compare(a.Key[:], b.Key[:]) }
	err := s.each(ctx, func(keys []string) error {
		found, err := s.read(ctx, keys, now)
		if err != nil {
			return err
		}
		for _, r := range found {
			if f.Matches(r.Tag) && bytes.Compare(r.Key[:], after[:]) > 0 {
				records = append(records, r)
			}
		}
		// A scan may tell a key twice.
		slices.SortFunc(records, order)
		records = slices.CompactFunc(records, func(a, b guard.Record) bool { return a.Key == b.Key })
		records = records[:min(len(records), max(limit, 0))]
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list counters: %w", err)
	}
	return records, nil
}

// ForgetCounters implements guard.Store.
func (s *Store) ForgetCounters(ctx context.Context, f guard.Filter, now time.Time) (int, error) {
	forgotten := 0
	err := s.each(ctx, func(keys []string) error {
		n, err := script.Run(ctx, s.client, keys, string(forget), now.UnixMicro(), f.Account, f.Network, f.Locks).Int()
		forgotten += n
		return err
	})
	if err != nil {
		return forgotten, fmt.Errorf("forget counters: %w", err)
	}
	return forgotten, nil
}

// each calls do with the keys of all counters, a batch at a time; a key may come twice.
func (s *Store) each(ctx context.Context, do func(keys []string) error) error {
	for cursor := uint64(0); ; {
		keys, next, err := s.client.Scan(ctx, cursor, s.prefix+"*", batch).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if err := do(keys); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}

// read returns the counters of the keys that hold something at now.
func (s *Store) read(ctx context.Context, keys []string, now time.Time) ([]guard.Record, error) {
	pipe := s.client.Pipeline()
	replies := make([]*goredis.MapStringStringCmd, len(keys))
	for i, key := range keys {
		replies[i] = pipe.HGetAll(ctx, key)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	var records []guard.Record
	for i, reply := range replies {
		fields := reply.Val()
		if len(fields) == 0 {
			continue // it expired meanwhile
		}
		r, dead, err := s.record(keys[i], fields)
		if err != nil {
			return nil, fmt.Errorf("the counter %s: %w", keys[i], err)
		}
		if now.Before(dead) {
			records = append(records, r)
		}
	}
	return records, nil
}

// record reads what the script writes: see the fields there. dead is from when on it holds nothing.
func (s *Store) record(key string, fields map[string]string) (r guard.Record, dead time.Time, err error) {
	b, err := hex.DecodeString(strings.TrimPrefix(key, s.prefix))
	if err != nil || len(b) != len(r.Key) {
		return r, dead, fmt.Errorf("its name is not %d bytes in hex", len(r.Key))
	}
	r.Key = [16]byte(b)
	r.Tag = guard.Tag{Kind: fields["kind"], Lock: fields["lock"] == "1", Account: fields["account"], Network: fields["network"]}
	if r.Limit, err = strconv.Atoi(fields["limit"]); err != nil {
		return r, dead, fmt.Errorf("read limit: %w", err)
	}
	if r.Count.Used, err = strconv.Atoi(fields["used"]); err != nil {
		return r, dead, fmt.Errorf("read used: %w", err)
	}
	if r.Count.Locked, err = momentOf(fields["locked"]); err != nil {
		return r, dead, fmt.Errorf("read locked: %w", err)
	}
	if dead, err = momentOf(fields["dead"]); err != nil {
		return r, dead, fmt.Errorf("read dead: %w", err)
	}
	for text := range strings.FieldsFuncSeq(fields["times"], func(r rune) bool { return r == ',' }) {
		at, err := momentOf(text)
		if err != nil {
			return r, dead, fmt.Errorf("read times: %w", err)
		}
		r.Count.Times = append(r.Count.Times, at)
	}
	return r, dead, nil
}

func momentOf(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return moment(n), err
}
