// Package password knows what a password must be: an ordered list of validators, what each asks for
// and what is wrong with a password, all at once and the same wherever one is chosen.
//
// It leaves the words to the pages and the hashing to package secret; it asks no network.
package password

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxLength is how many code points a password may have; package secret hashes no more.
const MaxLength = 256

// maxBytes is what no text of MaxLength code points has: four bytes each, and normalisation form C
// may shrink what was sent by four again. Longer ones are not even normalised.
const maxBytes = 4 * 4 * MaxLength

// The validators by the names that settings use.
const (
	Length     = "length"     // as many code points as Settings.MinLength
	Similarity = "similarity" // unlike what is known of the person and the site
	Common     = "common"     // on no list of passwords, words and names
	Numeric    = "numeric"    // not of digits alone
	Complexity = "complexity" // an upper, a lower, a digit, a special; off by default
	Zxcvbn     = "zxcvbn"     // as hard to guess as Settings.MinScore
)

// The codes of failures, with their arguments.
const (
	Invalid         = "password_invalid"          // no UTF-8, or a NUL
	TooLong         = "password_too_long"         // max
	TooShort        = "password_too_short"        // min, count
	TooSimilar      = "password_too_similar"      // field: "username", "email", "name" or "site"
	TooCommon       = "password_too_common"       // none
	EntirelyNumeric = "password_entirely_numeric" // none
	NoUpper         = "password_no_upper"         // none
	NoLower         = "password_no_lower"         // none
	NoDigit         = "password_no_digit"         // none
	NoSpecial       = "password_no_special"       // specials: the characters of which it needs one
	TooWeak         = "password_too_weak"         // score, min_score, feedback ([]string)
)

// Settings are the options of a policy. The zero value of each field is its default.
type Settings struct {
	// Validators are the names of those that judge, in the order of their failures and help; nil
	// for DefaultValidators.
	Validators []string
	// MinLength is in code points, 12 by default.
	MinLength int
	// MaxSimilarity is from which ratio on a password is too similar, above 0 and at most 1; 0.7 by
	// default.
	MaxSimilarity float64
	// MinScore is the least score, from 1 to 4; 3 by default.
	MinScore int
	// AdminMinLength and AdminMinScore are asked of administrators where they are more than the
	// above, also where the validator is not in the list. 0 asks nothing more.
	AdminMinLength int
	AdminMinScore  int
	// Words are of the site: its issuer and its brand. The first 32 count.
	Words []string
}

// DefaultValidators are those of a policy that names none.
func DefaultValidators() []string {
	return []string{Length, Similarity, Common, Numeric, Zxcvbn}
}

// A Person is whose password it is to be. Every field may be empty, and as long as it likes: what
// is compared is bounded here.
type Person struct {
	Username string
	Email    string
	Names    []string // given, family and display name, and the like; the first 8 count
	Admin    bool     // asks for more, by AdminMinLength and AdminMinScore
}

// A Failure says what is wrong: a stable code, and what its text puts in.
type Failure struct {
	Code string
	Args map[string]any // nil for none
}

// A Rule is what a validator asks for, told before a password is chosen: the validator's name, and
// what its text puts in: min (length), specials (complexity), min_score (zxcvbn).
type Rule struct {
	Name string
	Args map[string]any // nil for none
}

// A Policy judges passwords. It does not change, and may be used by many at a time.
type Policy struct {
	settings Settings
	users    []validator
	admins   []validator
	words    []trait
}

// A validator has at most one rule; help is nil for none.
type validator struct {
	name  string
	check func(p *Policy, c *candidate) []Failure
	help  func(p *Policy, admin bool) map[string]any
}

// validators returns all that there are.
func validators() []validator {
	nothing := func(*Policy, bool) map[string]any { return nil }
	return []validator{
		{Length, (*Policy).checkLength, func(p *Policy, admin bool) map[string]any {
			return map[string]any{"min": p.minLength(admin)}
		}},
		{Similarity, (*Policy).checkSimilarity, nothing},
		{Common, (*Policy).checkCommon, nothing},
		{Numeric, (*Policy).checkNumeric, nothing},
		{Complexity, (*Policy).checkComplexity, func(*Policy, bool) map[string]any {
			return map[string]any{"specials": specials}
		}},
		{Zxcvbn, (*Policy).checkStrength, func(p *Policy, admin bool) map[string]any {
			return map[string]any{"min_score": p.minScore(admin)}
		}},
	}
}

// New makes a policy, or says which setting makes none.
func New(s Settings) (*Policy, error) {
	if s.Validators == nil {
		s.Validators = DefaultValidators()
	}
	if s.MinLength == 0 {
		s.MinLength = 12
	}
	if s.MaxSimilarity == 0 {
		s.MaxSimilarity = 0.7
	}
	if s.MinScore == 0 {
		s.MinScore = 3
	}
	switch {
	case s.MinLength < 1 || s.MinLength > MaxLength:
		return nil, fmt.Errorf("a password's minimum length is from 1 to %d, not %d", MaxLength, s.MinLength)
	case s.AdminMinLength < 0 || s.AdminMinLength > MaxLength:
		return nil, fmt.Errorf("an administrator's minimum length is from 0 to %d, not %d", MaxLength, s.AdminMinLength)
	case !(s.MaxSimilarity > 0 && s.MaxSimilarity <= 1):
		return nil, fmt.Errorf("a password's similarity is above 0 and at most 1, not %v", s.MaxSimilarity)
	case s.MinScore < 1 || s.MinScore > maxScore:
		return nil, fmt.Errorf("a password's minimum score is from 1 to %d, not %d", maxScore, s.MinScore)
	case s.AdminMinScore < 0 || s.AdminMinScore > maxScore:
		return nil, fmt.Errorf("an administrator's minimum score is from 0 to %d, not %d", maxScore, s.AdminMinScore)
	}
	users, err := pick(s.Validators)
	if err != nil {
		return nil, err
	}
	admins := slices.Clone(s.Validators)
	if s.AdminMinLength > 0 && !slices.Contains(admins, Length) {
		admins = append(admins, Length)
	}
	if s.AdminMinScore > 0 && !slices.Contains(admins, Zxcvbn) {
		admins = append(admins, Zxcvbn)
	}
	p := &Policy{settings: s, users: users}
	if p.admins, err = pick(admins); err != nil {
		return nil, err
	}
	for _, word := range s.Words[:min(len(s.Words), maxWords)] {
		p.words = append(p.words, traits("site", word)...)
	}
	return p, nil
}

func pick(names []string) ([]validator, error) {
	all := validators()
	var picked []validator
	for i, name := range names {
		at := slices.IndexFunc(all, func(v validator) bool { return v.name == name })
		if at < 0 {
			var known []string
			for _, v := range all {
				known = append(known, v.name)
			}
			return nil, fmt.Errorf("there is no password validator %q, only %s", name, strings.Join(known, ", "))
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("the password validator %q is named twice", name)
		}
		picked = append(picked, all[at])
	}
	return picked, nil
}

func (p *Policy) of(admin bool) []validator {
	if admin {
		return p.admins
	}
	return p.users
}

func (p *Policy) minLength(admin bool) int {
	if !admin {
		return p.settings.MinLength
	}
	if !slices.Contains(p.settings.Validators, Length) {
		return p.settings.AdminMinLength
	}
	return max(p.settings.MinLength, p.settings.AdminMinLength)
}

func (p *Policy) minScore(admin bool) int {
	if !admin {
		return p.settings.MinScore
	}
	if !slices.Contains(p.settings.Validators, Zxcvbn) {
		return p.settings.AdminMinScore
	}
	return max(p.settings.MinScore, p.settings.AdminMinScore)
}

// Help returns what the active validators ask for, in their order.
func (p *Policy) Help(admin bool) []Rule {
	var rules []Rule
	for _, v := range p.of(admin) {
		rules = append(rules, Rule{v.name, v.help(p, admin)})
	}
	return rules
}

// Check returns everything that is wrong with a password for who, in the order of the validators;
// nil where nothing is. A password that is no text or too long has that one failure. It takes some
// milliseconds at most, whatever it is given.
func (p *Policy) Check(password string, who Person) []Failure {
	c, failure := p.candidate(password, who)
	if failure != nil {
		return []Failure{*failure}
	}
	var failures []Failure
	for _, v := range p.of(who.Admin) {
		failures = append(failures, v.check(p, c)...)
	}
	return failures
}

// Strength returns how hard a password is to guess, whether or not a validator asks for it. What
// Check refuses for its length or its text has score 0 and no feedback.
func (p *Policy) Strength(password string, who Person) Strength {
	c, failure := p.candidate(password, who)
	if failure != nil {
		return Strength{}
	}
	return c.measure()
}

// A candidate is a password while it is judged.
type candidate struct {
	text   string // in normalisation form C, as package secret hashes it
	length int    // in code points
	folded string // fold(text)
	who    Person
	traits []trait // of the person and the site
}

func (p *Policy) candidate(password string, who Person) (*candidate, *Failure) {
	tooLong := &Failure{TooLong, map[string]any{"max": MaxLength}}
	if len(password) > maxBytes {
		return nil, tooLong
	}
	if !utf8.ValidString(password) || strings.Contains(password, "\x00") {
		return nil, &Failure{Code: Invalid}
	}
	text := norm.NFC.String(password)
	length := utf8.RuneCountInString(text)
	if length > MaxLength {
		return nil, tooLong
	}
	return &candidate{text, length, fold(text), who, append(who.traits(), p.words...)}, nil
}
