package oauth

import (
	"slices"
	"strings"
)

const (
	scopeOpenID  = "openid"         // OpenID Connect Core 1.0 §3.1.2.1
	scopeOffline = "offline_access" // OpenID Connect Core 1.0 §11
)

// ofPeople are the scopes that speak of an End-User, whom a client that acts for itself does not
// have.
var ofPeople = []string{scopeOpenID, scopeOffline, "profile", "email", "address", "phone"}

// splitScope reads a scope parameter: tokens between spaces, in their order, each once
// (RFC 6749 §3.3). It returns nil for none.
func splitScope(scope string) []string {
	if scope == "" {
		return nil
	}
	scopes := make([]string, 0, strings.Count(scope, " ")+1)
	for name := range strings.SplitSeq(scope, " ") {
		if name != "" && !slices.Contains(scopes, name) {
			scopes = append(scopes, name)
		}
	}
	return scopes
}

// isScope tells whether name is a scope-token of RFC 6749 §3.3.
func isScope(name string) bool {
	for i := range len(name) {
		if name[i] == ' ' || !describable(name[i]) {
			return false
		}
	}
	return name != ""
}

// common are those of all that are in some, in the order of all.
func common(all, some []string) []string {
	both := make([]string, 0, len(all))
	for _, name := range all {
		if slices.Contains(some, name) {
			both = append(both, name)
		}
	}
	return both
}
