//go:build unix

package idp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/timetest"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// compareCosts fails the test where failed logins with the names differ.
func (h *house) compareCosts(t *testing.T, names ...string) {
	t.Helper()
	var deeds []timetest.Deed
	for _, name := range names {
		deeds = append(deeds, refused(t, name, func(n int) error {
			_, err := h.tryLogIn(t, "192.0.2.1", strings.ReplaceAll(name, "#", fmt.Sprint(n)), "wrong password")
			return err
		}))
	}
	timetest.Compare(t, cpu(t, timetest.Apart), deeds...)
}

// refused is a deed that is answered as a wrong password is.
func refused(t *testing.T, name string, attempt func(n int) error) timetest.Deed {
	return timetest.Deed{Name: name, Ready: func(n int) func() {
		return func() { wantError(t, attempt(n), idp.Denied, "invalid_credentials", "") }
	}}
}

// cpu measures what this process uses.
func cpu(t *testing.T, apart func(a, b []time.Duration) string) []timetest.Measure {
	return []timetest.Measure{{Name: "CPU", Read: func() time.Duration { return timetest.CPU(t) }, Apart: apart}}
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
	timetest.Compare(t, cpu(t, timetest.ApartBy(15*time.Millisecond)), refused(t, "a wrong password", func(int) error {
		_, err := h.tryLogIn(t, "192.0.2.1", "ruth", "wrong password")
		return err
	}), refused(t, "the honeypot", func(int) error { return h.caught(t, "192.0.2.1", "ruth") }))
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
