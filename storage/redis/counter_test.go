package redis

import (
	"testing"
	"time"

	"postern/idp/guard"
	"postern/idp/guard/guardtest"
)

func TestS4_15_RedisKeepsTheContractOfCounters(t *testing.T) {
	guardtest.TestStore(t, func(t *testing.T) guard.Store { return newStore(t) })
}

func TestAWindowIsEmptyWhenItIsOver(t *testing.T) {
	s := newStore(t)
	c := five(1, guard.Window)
	for range 5 {
		reserved(t, s, noon, c)
	}
	if got := reserved(t, s, c.Ends.Add(-time.Microsecond), c); !got[0].Refused {
		t.Errorf("just before its end: got %+v, want no place", got[0])
	}
	if got := reserved(t, s, c.Ends, c); got[0] != (guard.Outcome{Used: 1}) {
		t.Errorf("at its end: got %+v, want the first place", got[0])
	}
}

func TestWhatIsDeadIsForgottenButNotTold(t *testing.T) {
	s := newStore(t)
	c := five(1, guard.Window)
	reserved(t, s, noon, c)
	if n, err := s.ForgetCounters(t.Context(), guard.Filter{}, c.Ends); n != 0 || err != nil {
		t.Errorf("at its end: forgot %d and %v, want 0", n, err)
	}
	if n := s.client.Exists(t.Context(), s.key(c.Key)).Val(); n != 0 {
		t.Error("it is still there")
	}
	reserved(t, s, noon, c)
	if n, err := s.ForgetCounters(t.Context(), guard.Filter{}, c.Ends.Add(-time.Microsecond)); n != 1 || err != nil {
		t.Errorf("just before its end: forgot %d and %v, want 1", n, err)
	}
}

func TestCountersAreListedAPageAtATimeHoweverManyThereAre(t *testing.T) {
	s := newStore(t)
	const all = 800 // more than a batch
	for from := 0; from < all; from += 100 {
		counters := make([]guard.Counter, 100)
		for i := range counters {
			counters[i] = five(0, guard.Sliding)
			counters[i].Key = [16]byte{byte((from + i) >> 8), byte(from + i), 15: 1}
		}
		reserved(t, s, noon, counters...)
	}
	var after [16]byte
	seen := 0
	for {
		records, err := s.CounterRecords(t.Context(), guard.Filter{}, noon, after, 200)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if want := [16]byte{byte(seen >> 8), byte(seen), 15: 1}; r.Key != want {
				t.Fatalf("record %d: got the key %x, want %x", seen, r.Key, want)
			}
			seen++
		}
		after = records[len(records)-1].Key
	}
	if seen != all {
		t.Errorf("got %d counters, want %d", seen, all)
	}
	if n, err := s.ForgetCounters(t.Context(), guard.Filter{}, noon); n != all || err != nil {
		t.Errorf("forgot %d and %v, want %d", n, err, all)
	}
}

func Benchmark(b *testing.B) { guardtest.Benchmark(b, newStore(b)) }
