// Package names knows what a username and an e-mail address may be, how each is written, and under
// which key it is one and the same.
//
// It leaves to its callers whether a name is taken, and to package guard the form of the keys.
package names

import (
	"fmt"
	"regexp"
)

// The codes of problems, with their arguments.
const (
	UsernameTooShort    = "username_too_short"    // min, count: code points
	UsernameTooLong     = "username_too_long"     // max: code points
	UsernameCharacters  = "username_characters"   // none
	UsernameReserved    = "username_reserved"     // none
	UsernameMixedScript = "username_mixed_script" // none
	EmailInvalid        = "email_invalid"         // none
	EmailTooLong        = "email_too_long"        // max: octets of the address or its local part
	EmailDisposable     = "email_disposable"      // domain: what the list has
	EmailPlus           = "email_plus"            // none
)

// The values of Settings.Charset.
const (
	ASCII   = "ascii"
	Unicode = "unicode"
)

// The values of Settings.PlusAddressing.
const (
	Allow    = "allow"    // alice+news@ is another address than alice@
	Deny     = "deny"     // alice+news@ is refused
	Collapse = "collapse" // alice+news@ is written so, and counts as alice@
)

// Settings say what the rules are. The zero value of each field is its default.
type Settings struct {
	// MinUsername and MaxUsername are in code points, 3 and 64 by default.
	MinUsername int
	MaxUsername int
	// Patterns are regular expressions (RE2), each of which must match the whole username; nil for
	// DefaultPattern where the charset is ASCII, and for UnicodePattern where it is not.
	Patterns []string
	// Charset is ASCII (default) or Unicode: then usernames are in normalisation form KC, of the
	// profile UsernameCaseMapped, or UsernameCasePreserved with PreserveCasing (RFC 8265 §3), and
	// of a single script.
	Charset string
	// PreserveCasing keeps capitals as they were typed; usernames are lower-case otherwise. Their
	// keys are alike either way.
	PreserveCasing bool
	// Reserved are words that are no usernames, however they are disguised; nil for
	// DefaultReserved.
	Reserved []string

	// UTF8Local allows letters beyond ASCII in the local part of an address (RFC 6531 §3.3).
	UTF8Local bool
	// PlusAddressing is Allow (default), Deny or Collapse.
	PlusAddressing string
	// AllowDisposable switches off the embedded list of disposable addresses. DisposableDomains is
	// looked at all the same.
	AllowDisposable bool
	// DisposableDomains and LastingDomains add to the embedded list and take from it. A domain
	// stands for itself and its sub-domains, *.example.com for the sub-domains alone. The longest
	// that matches an address decides.
	DisposableDomains []string
	LastingDomains    []string
}

// DefaultPattern and UnicodePattern are what usernames consist of where no pattern is set.
const (
	DefaultPattern = `^[a-zA-Z0-9_-]+$`
	UnicodePattern = `^[\p{L}\p{M}\p{Nd}_-]+$`
)

// A Problem says why a name is refused: a stable code, and what its text puts in. It holds nothing
// that somebody typed but a domain of the list.
type Problem struct {
	Code string
	Args map[string]any // nil for none
}

// Rules judge names. They do not change, and may be used by many at a time.
type Rules struct {
	settings Settings
	patterns []*regexp.Regexp
	reserved map[string]bool // by skeleton
	domains  domains
}

// New makes rules, or says which setting makes none.
func New(s Settings) (*Rules, error) {
	if s.MinUsername == 0 {
		s.MinUsername = 3
	}
	if s.MaxUsername == 0 {
		s.MaxUsername = 64
	}
	if s.MinUsername < 1 || s.MaxUsername < s.MinUsername || s.MaxUsername > maxUsername {
		return nil, fmt.Errorf("a username's length is from 1 to %d code points, not from %d to %d", maxUsername, s.MinUsername, s.MaxUsername)
	}
	switch s.Charset {
	case "":
		s.Charset = ASCII
	case ASCII, Unicode:
	default:
		return nil, fmt.Errorf("the charset of usernames is %s or %s, not %q", ASCII, Unicode, s.Charset)
	}
	switch s.PlusAddressing {
	case "":
		s.PlusAddressing = Allow
	case Allow, Deny, Collapse:
	default:
		return nil, fmt.Errorf("plus addressing is %s, %s or %s, not %q", Allow, Deny, Collapse, s.PlusAddressing)
	}
	if s.Patterns == nil {
		s.Patterns = []string{DefaultPattern}
		if s.Charset == Unicode {
			s.Patterns = []string{UnicodePattern}
		}
	}
	if s.Reserved == nil {
		s.Reserved = DefaultReserved()
	}
	r := &Rules{settings: s}
	for _, pattern := range s.Patterns {
		// A pattern that closes a group which it did not open would escape from the anchors.
		if _, err := regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("pattern of usernames: %w", err)
		}
		whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("pattern of usernames %q: %w", pattern, err)
		}
		r.patterns = append(r.patterns, whole)
	}
	var err error
	if r.reserved, err = reserve(s.Reserved); err != nil {
		return nil, err
	}
	r.domains, err = newDomains(s)
	return r, err
}
