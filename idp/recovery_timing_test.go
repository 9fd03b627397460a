//go:build unix

package idp_test

import (
	"os"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// unseen is a difference that answers at multiples of 100 ms hide, but that no hash, no mail and no
// further statement fits into.
const unseen = 250 * time.Microsecond

func TestS0_23_S1_16_AResetCostsTheSameForEverybody(t *testing.T) {
	if os.Getenv("POSTERN_TEST_TIMING") == "" {
		t.Skip("timing: POSTERN_TEST_TIMING is not set; make test runs it alone, when nothing else takes the processors")
	}
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		h := open(t, s, func(cfg *config.Config) { cfg.RateLimits.Off = true })
		h.withPostman(t)
		names := castOfResets(t, h)
		var why string
		for range 3 { // what other processes do evens out, a difference stays
			costs := make([][]time.Duration, len(names))
			for n := range 65 {
				for i, name := range names {
					start := cpu(t)
					err := h.RequestReset(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, name)
					if took := cpu(t) - start; n >= 5 { // the first ones prepare statements
						costs[i] = append(costs[i], took)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			why = ""
			for i := 1; i < len(names) && why == ""; i++ {
				if a, b := median(costs[0]), median(costs[i]); (a - b).Abs() > unseen {
					why = names[0] + " and " + names[i] + " cost " + a.String() + " and " + b.String()
				}
			}
			if why == "" {
				return
			}
		}
		t.Error(why)
	})
}
