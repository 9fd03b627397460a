package password

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"
	"github.com/ccojocar/zxcvbn-go/scoring"
	"golang.org/x/text/unicode/norm"
)

// maxScored is how many code points are measured: the work grows with the square of them, and what
// is worth its score has it by then.
const maxScored = 72

// maxInputs is how many traits are given to the estimator.
const maxInputs = 64

const maxScore = 4

// The codes of feedback, in the order in which they are given.
const (
	AddWords      = "add_words"     // one or two more, of the uncommon kind
	Personal      = "personal"      // it has a name, an address or the site in it
	CommonWord    = "common_word"   // it has a common password in it
	CommonName    = "common_name"   // it has a first or family name in it
	Keyboard      = "keyboard"      // a row or a pattern of keys
	Repeat        = "repeat"        // aaa, abcabc
	Sequence      = "sequence"      // abc, 4321
	Year          = "year"          // of this or the last century
	Date          = "date"          // 1.4.1999
	Reversed      = "reversed"      // a word backwards
	Substitution  = "substitution"  // @ for a
	Capital       = "capital"       // a capital at the start
	AllCapitals   = "all_capitals"  // nothing but capitals
	TrailingSigns = "trailing_sign" // digits or signs put at the end of a word
)

// A Strength is how hard a password is to guess, from 0 (a handful of guesses) to 4 (10^12 and
// more), and what would make it harder: codes, none where the score is 3 or better.
type Strength struct {
	Score    int
	Feedback []string
}

func (p *Policy) checkStrength(c *candidate) []Failure {
	least := p.minScore(c.who.Admin)
	strength := c.measure()
	if strength.Score >= least {
		return nil
	}
	feedback := strength.Feedback
	if len(feedback) == 0 {
		feedback = []string{AddWords}
	}
	return []Failure{{TooWeak, map[string]any{"score": strength.Score, "min_score": least, "feedback": feedback}}}
}

// A reading is one way to come to a password: as it stands, or from a simpler one.
type reading struct {
	text string
	bits float64 // that the way adds
	code string  // of its feedback, "" for none
}

// measure scores a password by its weakest reading.
func (c *candidate) measure() Strength {
	text := plain(cut(c.text, maxScored))
	if text == "" {
		return Strength{0, []string{AddWords}}
	}
	inputs := c.inputs()
	weakest, best := reading{}, scoring.MinEntropyMatch{}
	filters := []func(match.Matcher) bool{matching.FilterL33tMatcher}
	for i, r := range readings(text) {
		m, ok := guarded(func() scoring.MinEntropyMatch { return zxcvbn.PasswordStrength(r.text, inputs, filters...) })
		if !ok {
			// What nobody can measure is not taken for strong.
			return Strength{0, []string{AddWords}}
		}
		m.Entropy += r.bits
		if i == 0 || m.Entropy < best.Entropy {
			weakest, best = r, m
		}
		if i == 0 {
			// The estimator reads its map of the keyboard anew for each pattern of keys, and patterns
			// are the same backwards.
			filters = append(filters, matching.FilterSpatialMatcher)
		}
	}
	s := Strength{Score: scoreOf(best.Entropy)}
	if s.Score < 3 {
		s.Feedback = feedback(text, weakest, best.MatchSequence)
	}
	return s
}

// readings are the ways to come to text. The estimator would try every combination of letters for
// digits and signs, which takes seconds where there are many; the two that matter are tried here.
func readings(text string) []reading {
	found := []reading{{text: text}}
	if once := unit(text); once != text {
		found = append(found, reading{once, math.Log2(float64(len(text)) / float64(len(once))), Repeat})
	}
	// What stands after the last letter is seldom meant as one.
	word := strings.TrimRightFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	for i, word := range unsubstituted(word) {
		word += text[len(word):]
		if i == 0 || i == 3 {
			found = append(found, reading{word, float64(differences(text, word)), Substitution})
		}
	}
	return append(found, reading{reversed(text), 1, Reversed})
}

// differences counts the characters in which two texts of one length differ.
func differences(a, b string) int {
	count := 0
	for i := range len(a) {
		if a[i] != b[i] {
			count++
		}
	}
	return count
}

// guarded runs the estimator, whose indices have been out of range before, and tells whether it
// came to its end.
func guarded(estimate func() scoring.MinEntropyMatch) (m scoring.MinEntropyMatch, ok bool) {
	defer func() {
		if recover() != nil {
			m, ok = scoring.MinEntropyMatch{}, false
		}
	}()
	return estimate(), true
}

// scoreOf is the estimator's own scale: the seconds that 100 attackers need who make 100 guesses a
// second each, on average half of all.
func scoreOf(entropy float64) int {
	seconds := 0.5 * math.Exp2(entropy) * 1e-4
	for score, limit := range []float64{1e2, 1e4, 1e6, 1e8} {
		if seconds < limit {
			return score
		}
	}
	return maxScore
}

// inputs are the traits in the estimator's characters.
func (c *candidate) inputs() []string {
	inputs := []string{}
	for _, t := range c.traits {
		if input := plain(cut(t.text, maxScored)); len(inputs) < maxInputs && !slices.Contains(inputs, input) {
			inputs = append(inputs, input)
		}
	}
	return inputs
}

// plain writes a text in as many characters of ASCII as it has code points, since the estimator
// mixes up bytes and code points otherwise: accented letters without their accents, and a control
// character, always the same, for a letter of another script.
func plain(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r > 0x7f {
			if base := norm.NFKD.PropertiesString(string(r)).Decomposition(); len(base) > 0 {
				r = []rune(string(base))[0]
			}
		}
		if r > 0x7f {
			r = 1 + r%31
		}
		b.WriteRune(r)
	}
	return b.String()
}

var (
	yearPattern = regexp.MustCompile(`(?:^|[^0-9])(?:19|20)[0-9]{2}(?:[^0-9]|$)`)
	datePattern = regexp.MustCompile(`[0-9]{1,4}[-/._ ][0-9]{1,2}[-/._ ][0-9]{1,4}|[0-3][0-9][01][0-9](?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]`)
	tailPattern = regexp.MustCompile(`^[A-Za-z]+[^A-Za-z]{1,4}$`)
)

// feedback says what makes text as weak as its weakest reading.
func feedback(text string, r reading, matches []match.Match) []string {
	says := map[string]bool{
		AddWords:      true,
		Year:          yearPattern.MatchString(text),
		Date:          datePattern.MatchString(text),
		TrailingSigns: tailPattern.MatchString(text),
		r.code:        true,
	}
	for _, m := range matches {
		switch m.Pattern {
		case "dictionary":
			says[ofDictionary(m.DictionaryName)] = true
		case "spatial":
			says[Keyboard] = true
		case "repeat":
			says[Repeat] = true
		case "sequence":
			says[Sequence] = true
		}
	}
	letters := lettersOf(text)
	switch {
	case letters != "" && letters == strings.ToUpper(letters):
		says[AllCapitals] = true
	case letters != "" && letters[1:] == strings.ToLower(letters[1:]) && letters[:1] != strings.ToLower(letters[:1]):
		says[Capital] = true
	}
	var codes []string
	for _, code := range []string{
		AddWords, Personal, CommonWord, CommonName, Keyboard, Repeat, Sequence, Year, Date, Reversed, Substitution,
		Capital, AllCapitals, TrailingSigns,
	} {
		if says[code] {
			codes = append(codes, code)
		}
	}
	return codes
}

func ofDictionary(name string) string {
	switch name {
	case "user_inputs":
		return Personal
	case "Passwords":
		return CommonWord
	case "Surname", "MaleNames", "FemaleNames":
		return CommonName
	}
	return AddWords
}
