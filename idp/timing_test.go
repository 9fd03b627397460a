//go:build unix

package idp_test

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// sameCost tells why two samples of costs do not come from one distribution, "" where they may:
// their medians differ by less than 15 ms and a Mann-Whitney test gives p > 0.01.
func sameCost(a, b []time.Duration) string {
	if d := (median(a) - median(b)).Abs(); d >= 15*time.Millisecond {
		return fmt.Sprintf("the medians differ by %s", d)
	}
	if p := mannWhitney(a, b); p <= 0.01 {
		return fmt.Sprintf("p = %.4f", p)
	}
	return ""
}

func median(list []time.Duration) time.Duration {
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

// cpu is what this process has used: unlike the clock on the wall it does not count what other
// processes take, and the rounding of answers (I-21) does not hide a difference from it.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// compareCosts fails the test where failed logins with the names differ.
func (h *house) compareCosts(t *testing.T, names ...string) {
	t.Helper()
	attempts := make([]func(n int) error, len(names))
	for i, name := range names {
		attempts[i] = func(n int) error {
			_, err := h.tryLogIn(t, "192.0.2.1", strings.ReplaceAll(name, "#", fmt.Sprint(n)), "wrong password")
			return err
		}
	}
	sameCosts(t, names, attempts)
}

// sameCosts fails the test where the costs of attempts differ by 20 samples, and still by 40 and by
// 60: what other processes do to the caches evens out, a difference stays.
func sameCosts(t *testing.T, names []string, attempts []func(n int) error) {
	t.Helper()
	if os.Getenv("POSTERN_TEST_TIMING") == "" {
		t.Skip("timing: POSTERN_TEST_TIMING is not set; make test runs it alone, when nothing else takes the processors")
	}
	var differ []string
	costs := make([][]time.Duration, len(names))
	for range 3 {
		for range 20 {
			for i, attempt := range attempts {
				start := cpu(t)
				err := attempt(len(costs[i]))
				costs[i] = append(costs[i], cpu(t)-start)
				wantError(t, err, idp.Denied, "invalid_credentials", "")
			}
		}
		differ = nil
		for i := 1; i < len(names); i++ {
			if why := sameCost(costs[0], costs[i]); why != "" {
				differ = append(differ, fmt.Sprintf("%s and %s: %s (%v and %v)", names[0], names[i], why, costs[0], costs[i]))
			}
		}
		if differ == nil {
			return
		}
	}
	t.Error(strings.Join(differ, "\n"))
}

// alike fails the test where the medians of two costs are 15 ms apart, three times in a row.
func alike(t *testing.T, one, other func(n int) error) {
	t.Helper()
	if os.Getenv("POSTERN_TEST_TIMING") == "" {
		t.Skip("timing: POSTERN_TEST_TIMING is not set; make test runs it alone, when nothing else takes the processors")
	}
	var medians [2]time.Duration
	for range 3 {
		for i, attempt := range []func(int) error{one, other} {
			var costs []time.Duration
			for n := range 20 {
				start := cpu(t)
				err := attempt(n)
				costs = append(costs, cpu(t)-start)
				wantError(t, err, idp.Denied, "invalid_credentials", "")
			}
			medians[i] = median(costs)
		}
		if (medians[0] - medians[1]).Abs() < 15*time.Millisecond {
			return
		}
	}
	t.Errorf("medians %v", medians)
}

func TestS0_27_I21_AFailedLoginCostsTheSameWhoeverIsNamed(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), func(c *config.Config) {
		c.RateLimits.Off, c.Lockout.Enabled = true, false
		c.Password = config.Default().Password // the real cost
	})
	h.addUser(t, "alice")
	erin := h.addUser(t, "erin")
	if err := h.DisableUser(t.Context(), erin.ID); err != nil {
		t.Fatal(err)
	}
	h.compareCosts(t, "alice", "zoe#", "erin")
}

func TestS2_05_I21_TheHoneypotCostsWhatAWrongPasswordDoes(t *testing.T) {
	h := small(t, func(c *config.Config) {
		c.RateLimits.Off, c.Lockout.Enabled, c.Honeypot.BlockAfter = true, false, 0
		c.Password = config.Default().Password
	})
	h.addUser(t, "ruth")
	// What the honeypot records beside is a few writes, which the answer at the next tenth of a second
	// hides. Nobody's name is at stake there, so the medians are enough.
	alike(t, func(int) error {
		_, err := h.tryLogIn(t, "192.0.2.1", "ruth", "wrong password")
		return err
	}, func(int) error { return h.caught(t, "192.0.2.1", "ruth") })
}

func TestI21_WhereAllPasswordsAreOldUnknownNamesCostWhatTheyCost(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), func(c *config.Config) {
		c.RateLimits.Off, c.Lockout.Enabled = true, false
		c.Password.Argon2 = config.Argon2{MemoryKiB: 16 << 10, Time: 4, Parallelism: 1}
	})
	h.addUser(t, "alice")
	h.cfg.Password.Argon2.Time = 1
	h.reopen(t)
	if err := idp.CountSchemes(h.Provider, t.Context()); err != nil {
		t.Fatal(err)
	}
	h.compareCosts(t, "alice", "zoe#")
}

func TestI21_DummiesAreChosenByShare(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		scheme := func(time int) string { return fmt.Sprintf("$argon2id$v=19$m=64,t=%d,p=1", time) }
		if got := idp.DummyScheme(h.Provider, "zoe"); got != scheme(1) {
			t.Errorf("in an empty store: got %s, want today's", got)
		}
		for i, n := range []int{1, 1, 1, 2} {
			h.cfg.Password.Argon2.Time = uint32(n)
			h.reopen(t)
			h.addUser(t, fmt.Sprint("user", i))
		}
		if err := idp.CountSchemes(h.Provider, t.Context()); err != nil {
			t.Fatal(err)
		}
		counts := make(map[string]int)
		for i := range 4000 {
			name := fmt.Sprint("name", i)
			got := idp.DummyScheme(h.Provider, name)
			if again := idp.DummyScheme(h.Provider, name); again != got {
				t.Fatalf("%s: got %s, then %s", name, got, again)
			}
			counts[got]++
		}
		// 3000 and 1000 are expected; 150 is more than five standard deviations.
		if a, b := counts[scheme(1)], counts[scheme(2)]; a+b != 4000 || a < 2850 || a > 3150 {
			t.Errorf("got %v, want three quarters and one", counts)
		}
	})
}
