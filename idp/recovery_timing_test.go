//go:build unix

package idp_test

import (
	"testing"
	"time"

	"postern/config"
	"postern/conformance/timetest"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// unseen is a difference that answers at multiples of 100 ms hide, but that no hash, no mail and no
// further statement fits into.
const unseen = 250 * time.Microsecond

func TestS0_23_S1_16_AResetCostsTheSameForEverybody(t *testing.T) {
	timetest.Alone(t)
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		h := open(t, s, func(cfg *config.Config) { cfg.RateLimits.Off = true })
		h.withPostman(t)
		var deeds []timetest.Deed
		for _, name := range castOfResets(t, h) {
			deeds = append(deeds, timetest.Deed{Name: name, Ready: func(int) func() {
				return func() {
					if err := h.RequestReset(by(t, 2, idp.SessionToken{}), &idp.Interaction{}, name); err != nil {
						t.Fatal(err)
					}
				}
			}})
		}
		timetest.Compare(t, cpu(t, timetest.ApartBy(unseen)), deeds...)
	})
}
