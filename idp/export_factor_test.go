package idp

import (
	"github.com/pquerna/otp"
)

// TOTPCode is the code of a time step.
func TOTPCode(key []byte, algorithm otp.Algorithm, digits int, step int64) (string, error) {
	s := totpSecret{key: key, algorithm: algorithm, digits: digits}
	return s.code(step)
}

// NewTOTPKey is that of an app that is set up.
func NewTOTPKey(p *Provider) []byte {
	s := p.newTOTPSecret()
	return s.key
}

// TOTPURI is what an app reads.
func TOTPURI(key []byte, issuer, account string) string {
	s := totpSecret{key: key, digits: 6}
	return s.uri(issuer, account)
}

// NewRecoveryCode makes one.
var NewRecoveryCode = newRecoveryCode

// OpenFactor opens what is sealed in a.
func OpenFactor(p *Provider, a Authenticator) error {
	_, err := p.openTOTP(&a)
	return err
}
