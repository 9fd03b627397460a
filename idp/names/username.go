package names

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"postern/idp/guard"
)

// maxUsername is how many code points any setting may allow. What has more bytes than they can have
// is not even looked at.
const (
	maxUsername      = 128
	maxUsernameBytes = 4 * maxUsername
)

// maxPasses is more than any name needs until its rules change it no more (RFC 8264 §7).
const maxPasses = 6

// Username returns how a username is written and its key, or the first problem that it has. The key
// is guard.Canonical of the name; two users whose keys are the same have one name. Nothing is cut
// or dropped from what was typed, no space either.
func (r *Rules) Username(text string) (name, key string, problem *Problem) {
	if len(text) > maxUsernameBytes {
		return "", "", &Problem{UsernameTooLong, map[string]any{"max": r.settings.MaxUsername}}
	}
	if !utf8.ValidString(text) {
		return "", "", &Problem{Code: UsernameCharacters}
	}
	name, spelled := r.spell(text)
	if length := utf8.RuneCountInString(name); length < r.settings.MinUsername {
		return "", "", &Problem{UsernameTooShort, map[string]any{"min": r.settings.MinUsername, "count": length}}
	} else if length > r.settings.MaxUsername {
		return "", "", &Problem{UsernameTooLong, map[string]any{"max": r.settings.MaxUsername}}
	}
	// Before the characters: of who calls himself `admin.`, the word is what we mind.
	if r.isReserved(text) || r.isReserved(name) {
		return "", "", &Problem{Code: UsernameReserved}
	}
	if !spelled || !r.matches(name) {
		return "", "", &Problem{Code: UsernameCharacters}
	}
	if !singleScript(name) {
		return "", "", &Problem{Code: UsernameMixedScript}
	}
	key, ok := guard.Canonical(name)
	if !ok {
		return "", "", &Problem{Code: UsernameCharacters}
	}
	return name, key, nil
}

// spell returns how the name is written; ok is false where its characters are not allowed, and name
// is the text as it was.
func (r *Rules) spell(text string) (name string, ok bool) {
	if r.settings.Charset == ASCII {
		if strings.ContainsFunc(text, func(c rune) bool { return c > unicode.MaxASCII }) {
			return text, false
		}
		if r.settings.PreserveCasing {
			return text, true
		}
		return strings.ToLower(text), true
	}
	profile := precis.UsernameCaseMapped
	if r.settings.PreserveCasing {
		profile = precis.UsernameCasePreserved
	}
	name = text
	for range maxPasses {
		next, err := profile.String(norm.NFKC.String(name))
		if err != nil {
			return text, false
		}
		if next == name {
			return name, true
		}
		name = next
	}
	return text, false
}

// matches tells whether a username has allowed characters only. A key with an @ is that of an e-mail
// address, so that no pattern can allow it.
func (r *Rules) matches(name string) bool {
	if strings.Contains(name, "@") || strings.ContainsFunc(name, unicode.IsControl) {
		return false
	}
	for _, pattern := range r.patterns {
		if !pattern.MatchString(name) {
			return false
		}
	}
	return true
}

// writingSystems are those that use several scripts together (UTS #39 §5.1).
var writingSystems = map[string][]string{
	"Han":      {"Han", "Japanese", "Korean", "Han with Bopomofo"},
	"Hiragana": {"Hiragana", "Japanese"},
	"Katakana": {"Katakana", "Japanese"},
	"Hangul":   {"Hangul", "Korean"},
	"Bopomofo": {"Bopomofo", "Han with Bopomofo"},
}

// singleScript tells whether a text is of one script (UTS #39 §5.1) and has digits of one kind (§5.3).
func singleScript(text string) bool {
	var systems []string // nil for any
	zero := rune(-1)
	for _, c := range text {
		if of := systemsOf(c); of != nil {
			if systems == nil {
				systems = slices.Clone(of)
			}
			systems = slices.DeleteFunc(systems, func(s string) bool { return !slices.Contains(of, s) })
			if len(systems) == 0 {
				return false
			}
		}
		if z, ok := zeroOf(c); ok {
			if zero >= 0 && z != zero {
				return false
			}
			zero = z
		}
	}
	return true
}

// systemsOf is nil for characters of every script, such as digits and hyphens.
func systemsOf(c rune) []string {
	if c <= unicode.MaxASCII {
		if unicode.IsLetter(c) {
			return []string{"Latin"}
		}
		return nil
	}
	for script, table := range unicode.Scripts {
		if !unicode.Is(table, c) {
			continue
		}
		if script == "Common" || script == "Inherited" {
			return nil
		}
		if systems := writingSystems[script]; systems != nil {
			return systems
		}
		return []string{script}
	}
	return []string{"Unknown"}
}

// zeroOf is the zero of the ten digits of which c is one. They stand one after the other.
func zeroOf(c rune) (zero rune, ok bool) {
	for _, r := range unicode.Nd.R16 {
		if lo, hi := rune(r.Lo), rune(r.Hi); lo <= c && c <= hi {
			return c - (c-lo)%10, true
		}
	}
	for _, r := range unicode.Nd.R32 {
		if lo, hi := rune(r.Lo), rune(r.Hi); lo <= c && c <= hi {
			return c - (c-lo)%10, true
		}
	}
	return 0, false
}
