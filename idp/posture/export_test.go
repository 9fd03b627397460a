package posture

// Risks lists everything that Check looks for, in the order of the IDs.
func Risks() []Risk { return risks }
