package password

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is compared with a password is cut before it is looked at (CVE-2021-45115): the work is
// bounded by these, whatever a name has for a length.
const (
	maxTraitBytes = 256 // of what somebody typed
	maxTrait      = 128 // code points, once it is folded
	minTrait      = 3   // code points: shorter ones are in every other password by chance
	maxParts      = 8   // of one text
	maxNames      = 8
	maxWords      = 32
)

// A trait is something that is known of a person or the site, or a part of it.
type trait struct {
	field string // "username", "email", "name" or "site"
	text  string // folded
}

// traits returns text and the words of it.
func traits(field, text string) []trait {
	if len(text) > maxTraitBytes {
		text = text[:maxTraitBytes]
	}
	text = cut(fold(strings.ToValidUTF8(text, "")), maxTrait)
	parts := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	parts = parts[:min(len(parts), maxParts)]
	var found []trait
	add := func(s string) {
		t := trait{field, s}
		if utf8.RuneCountInString(s) >= minTrait && !slices.Contains(found, t) {
			found = append(found, t)
		}
	}
	add(text)
	add(strings.Join(parts, ""))
	for _, part := range parts {
		add(part)
	}
	return found
}

// cut returns the first n code points of s.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func (who *Person) traits() []trait {
	found := traits("username", who.Username)
	// The domain of an address is after the last @, at most 255 octets, and stands at its end.
	email := who.Email
	if at := strings.LastIndexByte(email, '@'); at >= 0 {
		domain := email[at+1:]
		found = append(found, traits("email", email[:at])...)
		for _, label := range strings.SplitN(domain[:min(len(domain), maxTraitBytes)], ".", maxParts) {
			found = append(found, traits("email", label)...)
		}
	} else {
		found = append(found, traits("email", email)...)
	}
	names := who.Names[:min(len(who.Names), maxNames)]
	for i, name := range names {
		found = append(found, traits("name", name)...)
		if i > 0 {
			// Given and family name one after the other, in either order.
			former := names[i-1]
			found = append(found, traits("name", start(former)+start(name))...)
			found = append(found, traits("name", start(name)+start(former))...)
		}
	}
	return found
}

// start is the part of a name that is worth joining with another.
func start(name string) string { return name[:min(len(name), maxTraitBytes/2)] }

// checkSimilarity compares a password with all traits, as it is and with letters in the place of
// digits and signs, forwards and backwards.
func (p *Policy) checkSimilarity(c *candidate) []Failure {
	if len(c.traits) == 0 {
		return nil
	}
	readings := append([]string{c.folded}, unsubstituted(c.folded)...)
	for _, reading := range readings {
		if field := similar(reading, c.traits, p.settings.MaxSimilarity); field != "" {
			return []Failure{{TooSimilar, map[string]any{"field": field}}}
		}
	}
	return nil
}

// similar returns the field of what text is too similar to, "" for none.
func similar(text string, traits []trait, most float64) string {
	runes := []rune(text)
	covered := make([]bool, len(runes))
	longest := trait{}
	for _, t := range traits {
		value := []rune(t.text)
		if len(runes) >= minTrait && strings.Contains(t.text, text) || alike(runes, value, most) {
			return t.field
		}
		found := cover(runes, value, covered)
		slices.Reverse(value)
		if alike(runes, value, most) {
			return t.field
		}
		found = cover(runes, value, covered) || found
		if found && len(t.text) > len(longest.text) {
			longest = t
		}
	}
	// A password that is made of several traits is like none of them alone.
	count := 0
	for _, is := range covered {
		if is {
			count++
		}
	}
	if count > 0 && float64(count) >= most*float64(len(runes)) {
		return longest.field
	}
	return ""
}

// cover marks where value stands in text, and tells whether it does.
func cover(text, value []rune, covered []bool) bool {
	found := false
	for i := 0; i+len(value) <= len(text); i++ {
		if slices.Equal(text[i:i+len(value)], value) {
			found = true
			for j := range value {
				covered[i+j] = true
			}
		}
	}
	return found
}

// alike tells whether the normalised edit ratio of a and b is at least most: twice their longest
// common subsequence by the sum of their lengths, 1 for the same and 0 for nothing in common.
func alike(a, b []rune, most float64) bool {
	needed := most * float64(len(a)+len(b)) / 2
	// No subsequence is longer than the shorter one.
	if float64(min(len(a), len(b))) < needed {
		return false
	}
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			above := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return float64(row[len(b)]) >= needed
}
