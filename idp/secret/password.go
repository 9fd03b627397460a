package secret

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxPassword is how many code points a password may have. It bounds what is hashed, and is never
// cut.
const MaxPassword = 256

// What Prepare refuses.
var (
	ErrPasswordTooLong = errors.New("the password is too long")
	ErrPasswordText    = errors.New("the password is no text: invalid UTF-8 or NUL")
)

// Prepare returns the password as it is hashed and its length in code points, so that it is the
// same from every keyboard: by the mapping rules of the OpaqueString profile (RFC 8265 §4.2.2),
// spaces of every kind become U+0020 and the text is in normalisation form C. The characters that
// the profile forbids stay allowed, since emoji are made of some of them.
func Prepare(password string) (prepared string, length int, err error) {
	if !utf8.ValidString(password) || strings.ContainsRune(password, 0) {
		return "", 0, ErrPasswordText
	}
	// Normalisation can only shrink the count from here on by so much; what is far too long is not
	// even normalised.
	if len(password) > 4*4*MaxPassword {
		return "", 0, ErrPasswordTooLong
	}
	password = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, password)
	password = norm.NFC.String(password)
	length = utf8.RuneCountInString(password)
	if length > MaxPassword {
		return "", 0, ErrPasswordTooLong
	}
	return password, length, nil
}
