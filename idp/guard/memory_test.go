package guard_test

import (
	"encoding/binary"
	"testing"
	"time"

	"postern/idp/guard"
	"postern/idp/guard/guardtest"
)

func TestS4_15_MemoryKeepsTheContractOfStores(t *testing.T) {
	guardtest.TestStore(t, func(*testing.T) guard.Store { return guard.NewMemory() })
}

func TestS4_15_S4_55_DummyCountsNothing(t *testing.T) { guardtest.TestDummy(t, guard.Dummy{}) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func numbered(n int, rule guard.Rule) []guard.Counter {
	c := guard.Counter{Rule: rule, Ends: noon.Add(time.Minute), Tag: guard.Tag{Kind: "a"}}
	binary.BigEndian.PutUint64(c.Key[8:], uint64(n+1))
	return []guard.Counter{c}
}

func records(t *testing.T, s guard.Store, now time.Time) int {
	t.Helper()
	list, err := s.CounterRecords(t.Context(), guard.Filter{}, now, [16]byte{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAFullMemoryKeepsItsLocks(t *testing.T) {
	s := guard.NewBoundedMemory(100)
	lock := guard.Rule{Aging: guard.Inactivity, Limit: 1}
	window := guard.Rule{Aging: guard.Window, Limit: 1, Period: time.Minute}
	for n := range 60 {
		if _, err := s.ReserveCounters(t.Context(), numbered(n, lock), noon); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10_000 {
		if _, err := s.ReserveCounters(t.Context(), numbered(100+n, window), noon); err != nil {
			t.Fatal(err)
		}
	}
	if got := records(t, s, noon); got != 100 {
		t.Errorf("got %d counters, want 100", got)
	}
	for n := range 60 {
		if o, err := s.LookAtCounters(t.Context(), numbered(n, lock), noon); err != nil || !o[0].Refused {
			t.Fatalf("the lock %d: got %+v and %v", n, o, err)
		}
	}
}

func TestAMemoryFullOfLocksTakesNoMore(t *testing.T) {
	s := guard.NewBoundedMemory(5)
	lock := guard.Rule{Aging: guard.Inactivity, Limit: 1}
	for n := range 5 {
		if _, err := s.ReserveCounters(t.Context(), numbered(n, lock), noon); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ReserveCounters(t.Context(), numbered(5, lock), noon); err == nil {
		t.Error("got none, want an error")
	}
	if o, err := s.ReserveCounters(t.Context(), numbered(4, lock), noon); err != nil || !o[0].Refused {
		t.Errorf("one of them: got %+v and %v, want a refusal", o, err)
	}
}

func TestMemorySweepsWhatIsOver(t *testing.T) {
	s := guard.NewBoundedMemory(1 << 20)
	window := guard.Rule{Aging: guard.Window, Limit: 1, Period: time.Minute}
	for n := range 10_000 {
		if _, err := s.ReserveCounters(t.Context(), numbered(n, window), noon); err != nil {
			t.Fatal(err)
		}
	}
	later := noon.Add(time.Hour)
	for n := range 10_000 {
		c := numbered(20_000+n, window)
		c[0].Ends = later.Add(time.Minute)
		if _, err := s.ReserveCounters(t.Context(), c, later); err != nil {
			t.Fatal(err)
		}
	}
	if live, all := records(t, s, later), guard.Kept(s); live != 10_000 || all > 11_000 {
		t.Errorf("got %d counters in memory for %d that live", all, live)
	}
}
