//go:build !race

package secret

import "testing"

// Under the race detector pools lose what they hold on purpose, and everything allocates.

func TestMACAllocatesNothing(t *testing.T) {
	r := ringOf(t, fixedKey(1, 1))
	n := testing.AllocsPerRun(1000, func() {
		var message [60]byte
		message[0] = 1
		r.MAC(ForTokenMAC, 1, message[:])
	})
	if n >= 1 { // below one: the garbage collector may empty the pool now and then
		t.Errorf("%v allocations, want none", n)
	}
}
