package config

// Keys lists every setting in the order of the struct.
func Keys() []Key { return allKeys() }

// DeprecatedParameters are what the deprecated settings of lockout stand for.
func DeprecatedParameters(l Lockout) (parameters []string, by string) { return deprecatedParameters(l) }
