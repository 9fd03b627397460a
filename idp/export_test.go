package idp

// What tests of package idp_test turn by hand, which Run does otherwise.
var (
	Poll         = (*Provider).refresh
	MoveKeys     = (*Provider).moveKeys
	CountSchemes = (*Provider).countSchemes
)

var (
	DummyScheme = (*Provider).dummyScheme
	Hashing     = hashing
)
