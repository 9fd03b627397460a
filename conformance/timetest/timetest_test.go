//go:build unix

package timetest

import (
	"slices"
	"testing"
	"time"
)

func TestMannWhitneyTellsDistributionsApart(t *testing.T) {
	var low, high, mixed []time.Duration
	for i := range 12 {
		low, high = append(low, time.Duration(i)), append(high, time.Duration(i+20))
		mixed = append(mixed, time.Duration(i*2%24))
	}
	if p := mannWhitney(low, high); p > 0.001 {
		t.Errorf("apart: got p = %.4f", p)
	}
	if p := mannWhitney(low, slices.Clone(low)); p < 0.9 {
		t.Errorf("the same: got p = %.4f", p)
	}
	if p := mannWhitney(low, mixed); p > 0.1 {
		t.Errorf("shifted: got p = %.4f", p)
	}
}

// A recorder is a test that notes whether it failed.
type recorder struct {
	testing.TB
	failed bool
}

func (*recorder) Helper()          {}
func (*recorder) Name() string     { return "TestCost" }
func (r *recorder) Error(_ ...any) { r.failed = true }

func TestCompareFailsWhereADeedIsApartInThreeRunsInARow(t *testing.T) {
	t.Setenv("POSTERN_TEST_TIMING", "1")
	var now time.Duration
	takes := func(d func(n int) time.Duration) func(n int) func() {
		return func(n int) func() { return func() { now += d(n) } }
	}
	jitter := func(n int) time.Duration { return time.Duration(n*7919%60) * time.Millisecond / 10 }
	clock := []Measure{{"clock", func() time.Duration { return now }, Apart}}
	for name, c := range map[string]struct {
		other func(n int) time.Duration
		fails bool
	}{
		"the same":         {jitter, false},
		"16 ms more":       {func(n int) time.Duration { return jitter(n) + 16*time.Millisecond }, true},
		"3 ms more":        {func(n int) time.Duration { return jitter(n) + 3*time.Millisecond }, true},
		"a tenth of 1 ms":  {func(n int) time.Duration { return jitter(n) + 100*time.Microsecond }, false},
		"more in two runs": {func(n int) time.Duration { return jitter(n) + time.Duration(max(0, 2*(samples+warmUps)-n))*time.Second }, false},
	} {
		r := &recorder{TB: t}
		Compare(r, clock, Deed{"one", takes(jitter)}, Deed{"other", takes(c.other)})
		if r.failed != c.fails {
			t.Errorf("%s: failed %t, want %t", name, r.failed, c.fails)
		}
	}
}
