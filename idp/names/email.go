package names

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"postern/idp/guard"
)

// The limits of an address, in octets (RFC 5321 §4.5.3.1): 256 for a path less its brackets, 64 for
// a local part, and 255 for a domain less what its wire format adds.
const (
	maxEmail  = 254
	maxLocal  = 64
	maxDomain = 253
	maxLabel  = 63
	// maxTyped is beyond what any domain needs that shrinks when it is written as A-labels.
	maxTyped = 1024
)

// An Address is an e-mail address that somebody may have.
type Address struct {
	// Text is the address as it is written to and shown: the local part as it was typed, without
	// quotes that it does not need, and the domain as Domain.
	Text string
	// Key is guard.Canonical of Text: under which the address is stored and found.
	Key string
	// Unique is what no two users may have in common and what limits count by: the key without its
	// tag where plus addressing collapses, and the key otherwise.
	Unique string
	// Domain is in lower case, as A-labels (RFC 5890 §2.3.2.1), with no dot at its end.
	Domain string
}

// Email reads one address (RFC 5321 §4.1.2, RFC 5322 §3.4.1), or returns the first problem that it
// has. Nothing may stand around it: no space, no name, no comment. Addresses at an IP address and at
// a domain of one label are refused, since no mail reaches them through the public network.
func (r *Rules) Email(text string) (Address, *Problem) {
	if len(text) > maxTyped {
		return Address{}, &Problem{EmailTooLong, map[string]any{"max": maxEmail}}
	}
	invalid := &Problem{Code: EmailInvalid}
	local, typed, ok := splitEmail(text)
	if !ok || !r.allowed(local) {
		return Address{}, invalid
	}
	domain, ok := asciiDomain(typed)
	if !ok {
		return Address{}, invalid
	}
	spelled := spellLocal(local)
	switch {
	case len(spelled) > maxLocal:
		return Address{}, &Problem{EmailTooLong, map[string]any{"max": maxLocal}}
	case len(domain) > maxDomain || len(spelled)+1+len(domain) > maxEmail:
		return Address{}, &Problem{EmailTooLong, map[string]any{"max": maxEmail}}
	}
	name, _, tagged := strings.Cut(local, "+")
	if tagged && r.settings.PlusAddressing == Deny {
		return Address{}, &Problem{Code: EmailPlus}
	}
	if entry, ok := r.domains.disposable(domain); ok {
		return Address{}, &Problem{EmailDisposable, map[string]any{"domain": entry}}
	}
	a := Address{Text: spelled + "@" + domain, Domain: domain}
	if a.Key, ok = guard.Canonical(a.Text); !ok {
		return Address{}, invalid
	}
	a.Unique = a.Key
	// Of +tag@ nothing would be left.
	if name != "" && r.settings.PlusAddressing == Collapse {
		if a.Unique, ok = guard.Canonical(spellLocal(name) + "@" + domain); !ok {
			return Address{}, invalid
		}
	}
	return a, nil
}

// splitEmail returns the local part of an address, without quotes, and its domain: what is after
// the last @, the only one that is not in quotes.
func splitEmail(text string) (local, domain string, ok bool) {
	if !utf8.ValidString(text) {
		return "", "", false
	}
	quoted, isQuoted := strings.CutPrefix(text, `"`)
	if !isQuoted {
		local, domain, ok = strings.Cut(text, "@")
		return local, domain, ok && isDotString(local) && !strings.Contains(domain, "@")
	}
	var b strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; c {
		case '"':
			domain, ok = strings.CutPrefix(quoted[i+1:], "@")
			return b.String(), domain, ok && b.Len() > 0 && !strings.Contains(domain, "@")
		case '\\':
			// A quoted pair is of printable ASCII.
			i++
			if i == len(quoted) || quoted[i] < ' ' || quoted[i] > '~' {
				return "", "", false
			}
			b.WriteByte(quoted[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// isDotString tells whether a local part needs no quotes: atoms with a single dot between them.
func isDotString(local string) bool {
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(c rune) bool { return !isAtomText(c) }) {
			return false
		}
	}
	return true
}

// isAtomText is of RFC 5322 §3.2.3, and RFC 6531 §3.3 beyond ASCII.
func isAtomText(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", c) || c > unicode.MaxASCII
}

// spellLocal writes a local part with quotes only where it needs them: alice and "alice" are one
// mailbox (RFC 5321 §4.1.2).
func spellLocal(local string) string {
	if isDotString(local) {
		return local
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(local) + `"`
}

// allowed tells whether a local part has no character that is dangerous or invisible. Beyond ASCII
// it has letters, marks and digits alone, in a form that the key leaves as it is, but for case.
func (r *Rules) allowed(local string) bool {
	for _, c := range local {
		switch {
		case c < ' ' || c == 0x7f:
			return false
		case c <= unicode.MaxASCII:
		case !r.settings.UTF8Local || !unicode.In(c, unicode.L, unicode.M, unicode.Nd) ||
			unicode.In(c, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return false
		}
	}
	return norm.NFKC.IsNormalString(local)
}

// asciiDomain writes a domain as A-labels in lower case, without a dot at its end, and tells whether
// it is a fully qualified name of hosts (RFC 5321 §2.3.5), by the rules that guard.Canonical has.
func asciiDomain(typed string) (domain string, ok bool) {
	domain, err := idna.Lookup.ToASCII(typed)
	if err != nil {
		return "", false
	}
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	// Some letters are mapped to such as the rules forbid: U+2135 to a Hebrew one beside Latin ones.
	if again, err := idna.Lookup.ToASCII(domain); err != nil || again != domain {
		return "", false
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", false
	}
	for _, label := range labels {
		if !isLabel(label) {
			return "", false
		}
	}
	return domain, true
}

// isLabel tells whether a label has letters, digits and, but at its ends, hyphens.
func isLabel(label string) bool {
	return label != "" && len(label) <= maxLabel && label[0] != '-' && label[len(label)-1] != '-' &&
		!strings.ContainsFunc(label, func(c rune) bool { return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') })
}
