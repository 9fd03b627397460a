// Package secret makes and keeps secrets: random tokens, password hashes, values sealed at rest
// and keyed identifiers.
//
// It decides nothing: package idp says what a secret is for.
package secret

// A Purpose names what a subkey is for; each has its own by HKDF (I-10).
type Purpose string

// The purposes. A name never changes once released.
const (
	ForInteraction Purpose = "tx"
	ForClientToken Purpose = "client token"
	ForTokenMAC    Purpose = "token mac"
	ForSuccessor   Purpose = "refresh successor"
	ForSigningKey  Purpose = "signing key"
	ForCookie      Purpose = "cookie"
	ForSender      Purpose = "refresh sender"
	ForDummy       Purpose = "dummy"
	ForCode        Purpose = "code"
	ForLimit       Purpose = "rate limit"
	ForJob         Purpose = "job"
	ForTicket      Purpose = "ticket"
	ForFactor      Purpose = "factor"

	forCheck Purpose = "check"
)

// purposes are all of them: each keyring derives them at the start, and takes no other.
var purposes = []Purpose{
	ForInteraction, ForClientToken, ForTokenMAC, ForSuccessor, ForSigningKey, ForCookie, ForSender,
	ForDummy, ForCode, ForLimit, ForJob, ForTicket, ForFactor, forCheck,
}
