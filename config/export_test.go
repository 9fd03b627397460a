package config

// Keys lists every setting in the order of the struct.
func Keys() []Key { return allKeys() }
