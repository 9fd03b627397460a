//go:build !race

package idp

import "testing"

// Under the race detector pools lose what they hold on purpose, and everything allocates.

func TestTokensAreMintedAndReadWithoutGarbage(t *testing.T) {
	ts := testTokens(t, 1)
	access := Token{Kind: AccessToken, Grant: NewID(tokenTime), Expiry: tokenTime, Scopes: 7}
	text := ts.Mint(access)
	// One more than none and one: the garbage collector may empty the pool of MACs.
	if n := testing.AllocsPerRun(1000, func() { ts.Mint(access) }); n >= 2 {
		t.Errorf("Mint makes %v allocations, want the string alone", n)
	}
	if n := testing.AllocsPerRun(1000, func() { ts.Parse(AccessToken, text) }); n >= 1 {
		t.Errorf("Parse makes %v allocations, want none", n)
	}
}
