package guard

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean is text as a record may have it: at most so many bytes, valid UTF-8, and without what steers
// terminals or turns lines around. Each of those characters, and each byte that is no UTF-8, is
// U+FFFD.
func Clean(text string, most int) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > most {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// masked stands for a value that no record has, whatever its length.
const masked = "********************"

// secretWords make a parameter's name that of a secret wherever they are in it.
var secretWords = []string{"pass", "pwd", "pin", "secret", "token", "assertion", "csrf", "code", "otp"}

// How many bytes of one value are recorded, and how many one name has.
const (
	maxParameter     = 255
	maxParameterName = 64
)

// MaskParameters is the text of the parameters of a form, for a record: name=value&… in the order of
// the names, values cleaned and escaped as in a URL, at most so many bytes. What may be a secret is
// masked: pass, pwd, pin, code, otp, token, secret, assertion and csrf wherever in a name, tx, and the
// names in sensitive. Case does not matter. What no field is called is masked as well: the name may
// be all of a body that is no form.
func MaskParameters(values map[string][]string, sensitive []string, most int) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			if b.Len() >= most {
				return b.String()[:most]
			}
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			if fieldName(name) {
				b.WriteString(name)
			} else {
				b.WriteString(masked)
			}
			b.WriteByte('=')
			if hidden(name, sensitive) {
				b.WriteString(masked)
			} else {
				b.WriteString(url.QueryEscape(Clean(value, maxParameter)))
			}
		}
	}
	return b.String()[:min(most, b.Len())]
}

// fieldName tells whether a field of a form may be called so.
func fieldName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
	return len(name) <= maxParameterName && strings.Trim(name, letters) == ""
}

func hidden(name string, sensitive []string) bool {
	lower := strings.ToLower(name)
	return lower == "tx" || !fieldName(name) ||
		slices.ContainsFunc(sensitive, func(s string) bool { return strings.EqualFold(s, name) }) ||
		slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(lower, word) })
}
