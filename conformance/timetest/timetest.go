//go:build unix

// Package timetest judges whether deeds take as long as each other. What is done, and which clock
// reads it, it leaves to its callers.
package timetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	samples   = 60                    // of each deed in a run
	warmUps   = 3                     // before them, which prepare statements and fill caches
	runs      = 3                     // in a row in which a pair must differ to fail
	sameTime  = 15 * time.Millisecond // by which medians may differ
	leastRank = 0.01                  // the p that a Mann-Whitney test must exceed
)

// Alone skips a test of time unless POSTERN_TEST_TIMING is set, by which make test runs those with Cost
// in their names, when nothing else takes the processors.
func Alone(t testing.TB) {
	t.Helper()
	if !strings.Contains(t.Name(), "Cost") {
		t.Fatal("make test finds a test of time by the word Cost in its name")
	}
	if os.Getenv("POSTERN_TEST_TIMING") == "" {
		t.Skip("timing: POSTERN_TEST_TIMING is not set; make test runs it alone, when nothing else takes the processors")
	}
}

// CPU is what this process has used. Unlike the clock on the wall it does not count what other
// processes take, and the rounding of answers (I-21) does not hide a difference from it.
func CPU(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// A Measure reads a clock, and tells why two samples by it do not come from one distribution, "" where
// they may.
type Measure struct {
	Name  string
	Read  func() time.Duration
	Apart func(a, b []time.Duration) string
}

// A Deed is what is timed. Ready prepares its nth time, untimed, and returns it.
type Deed struct {
	Name  string
	Ready func(n int) func()
}

// Compare fails the test where a deed is apart from the first one by a measure in three runs in a row.
// The deeds of a run take turns in an order of chance.
func Compare(t testing.TB, measures []Measure, deeds ...Deed) {
	t.Helper()
	Alone(t)
	var apart []string
	n := 0
	for range runs { // what other processes do evens out, a difference stays
		taken := run(measures, deeds, &n)
		apart = nil
		left := deeds[:1:1]
		for i := 1; i < len(deeds); i++ {
			if why := judge(measures, deeds, taken, i); why != "" {
				apart, left = append(apart, why), append(left, deeds[i])
			}
		}
		if apart == nil {
			return
		}
		t.Log("once more:\n" + strings.Join(apart, "\n"))
		deeds = left
	}
	t.Error(strings.Join(apart, "\n"))
}

// run times every deed and returns the samples, by measure and deed. n counts the rounds of all runs.
func run(measures []Measure, deeds []Deed, n *int) [][][]time.Duration {
	taken := make([][][]time.Duration, len(measures))
	for m := range measures {
		taken[m] = make([][]time.Duration, len(deeds))
	}
	for round := range warmUps + samples {
		for _, d := range rand.Perm(len(deeds)) {
			do := deeds[d].Ready(*n)
			before := make([]time.Duration, len(measures))
			for m := range measures {
				before[m] = measures[m].Read()
			}
			do()
			for m := range measures {
				if took := measures[m].Read() - before[m]; round >= warmUps {
					taken[m][d] = append(taken[m][d], took)
				}
			}
		}
		*n++
	}
	return taken
}

func judge(measures []Measure, deeds []Deed, taken [][][]time.Duration, i int) string {
	var why []string
	for m := range measures {
		if apart := measures[m].Apart(taken[m][0], taken[m][i]); apart != "" {
			why = append(why, fmt.Sprintf("%s and %s, %s: %s (medians %s and %s)", deeds[0].Name, deeds[i].Name,
				measures[m].Name, apart, Median(taken[m][0]), Median(taken[m][i])))
		}
	}
	return strings.Join(why, "\n")
}

// Apart is the rule for what somebody could see: the medians differ by less than 15 ms and a
// Mann-Whitney test gives p > 0.01.
func Apart(a, b []time.Duration) string {
	if why := ApartBy(sameTime)(a, b); why != "" {
		return why
	}
	if p := mannWhitney(a, b); p <= leastRank {
		return fmt.Sprintf("p = %.4f", p)
	}
	return ""
}

// ApartBy is the rule for what nobody sees: the medians differ by less than limit.
func ApartBy(limit time.Duration) func(a, b []time.Duration) string {
	return func(a, b []time.Duration) string {
		if d := (Median(a) - Median(b)).Abs(); d >= limit {
			return fmt.Sprintf("the medians differ by %s", d)
		}
		return ""
	}
}

// Median is the middle of a list that is not empty.
func Median(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// mannWhitney is the two-sided p of the U test, by the normal approximation, which twenty
// samples each suffice for.
func mannWhitney(a, b []time.Duration) float64 {
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	z := (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return math.Erfc(math.Abs(z) / math.Sqrt2)
}
