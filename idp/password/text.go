package password

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// fold takes from a text what makes no difference to who guesses it: case, accents and compatibility
// forms (Unicode Standard Annex #15).
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(cases.Fold().String(norm.NFKD.String(s))))
}

// substitutes are the letters for which digits and signs stand; "1" and "7" stand for two.
var substitutes = strings.NewReplacer(
	"4", "a", "@", "a", "8", "b", "(", "c", "{", "c", "[", "c", "<", "c", "3", "e", "6", "g", "9", "g",
	"0", "o", "$", "s", "5", "s", "+", "t", "%", "x", "2", "z",
)

// unsubstituted returns the words that s may be with letters in the place of digits and signs. s
// itself is not among them.
func unsubstituted(s string) []string {
	base := substitutes.Replace(s)
	var words []string
	for _, i := range []string{"i", "l"} {
		for _, t := range []string{"t", "l"} {
			word := strings.NewReplacer("1", i, "!", i, "|", i, "7", t).Replace(base)
			if word != s && !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
	}
	return words
}

func reversed(s string) string {
	runes := []rune(s)
	slices.Reverse(runes)
	return string(runes)
}

// lettersOf returns s without everything that is no letter.
func lettersOf(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, s)
}

// unit returns what s repeats: the least text of which s is two copies or more, the last of which
// may be cut short. It is s itself where nothing repeats.
func unit(s string) string {
	runes := []rune(s)
	// border[i] is the length of the longest text with which runes[:i+1] begins and ends.
	border := make([]int, len(runes))
	for i := 1; i < len(runes); i++ {
		k := border[i-1]
		for k > 0 && runes[i] != runes[k] {
			k = border[k-1]
		}
		if runes[i] == runes[k] {
			k++
		}
		border[i] = k
	}
	if len(runes) == 0 {
		return s
	}
	period := len(runes) - border[len(runes)-1]
	if period > len(runes)/2 {
		return s
	}
	return string(runes[:period])
}
