package guard

// NewBoundedMemory is NewMemory with room for fewer.
func NewBoundedMemory(most int) Store { return newMemory(most) }

// Kept is how many counters are in a memory, those that are over as well.
func Kept(s Store) int { return len(s.(*memory).all.list) }
