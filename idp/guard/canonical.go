package guard

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxIdentifier is the longest identifier in bytes: an e-mail address has 254 octets at most
// (RFC 5321 §4.5.3.1.3), which grow when a domain is written in Unicode.
const maxIdentifier = 1024

// Canonical is the form under which an identifier is stored, found and counted, so that nobody has
// two accounts, or two budgets of attempts, by writing one name in two ways: no surrounding space,
// no invisible characters, compatibility forms and case folded (Unicode Standard Annex #15 and
// §5.18 of the core specification), and the domain of an e-mail address as its A-labels
// (RFC 5890 §2.3.2.1). A key with an @ is that of an e-mail address.
//
// ok is false where nothing can have that name: it is empty, too long or no UTF-8.
func Canonical(identifier string) (key string, ok bool) {
	if len(identifier) > maxIdentifier || !utf8.ValidString(identifier) {
		return "", false
	}
	// One rule may bring forth what another one changes, so that they are applied until nothing
	// changes: the form of a form is itself.
	key = identifier
	for range maxPasses {
		former := key
		key = canonicalOnce(former)
		if key == former {
			return key, key != ""
		}
	}
	return "", false
}

// maxPasses is more than anything needs that somebody could be called.
const maxPasses = 6

func canonicalOnce(s string) string {
	s = visible(norm.NFKC.String(s))
	domain := ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		// Before the case is folded, which would make a domain with ß or ς another one.
		s, domain = s[:at+1], canonicalDomain(strings.TrimSpace(s[at+1:]))
	}
	return strings.TrimSpace(folded(s) + domain)
}

func folded(s string) string { return norm.NFKC.String(cases.Fold().String(s)) }

// canonicalDomain folds what is no domain like anything else: nobody has that address, but its
// attempts are counted all the same.
func canonicalDomain(domain string) string {
	domain = strings.TrimSuffix(domain, ".")
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return folded(domain)
	}
	return strings.TrimSuffix(ascii, ".")
}

// visible removes control characters and those that Unicode ignores by default in display.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, s)
}
