package password

import (
	"strings"
	"unicode"
)

// specials are the characters that count as such for the validator of complexity.
const specials = `!@#$%^&*(),.?":{}|<>`

func (p *Policy) checkLength(c *candidate) []Failure {
	least := p.minLength(c.who.Admin)
	if c.length >= least {
		return nil
	}
	return []Failure{{TooShort, map[string]any{"min": least, "count": c.length}}}
}

// checkNumeric takes the digits of every script, fractions and numerals for numbers.
func (p *Policy) checkNumeric(c *candidate) []Failure {
	if c.text == "" || strings.ContainsFunc(c.text, func(r rune) bool { return !unicode.IsNumber(r) }) {
		return nil
	}
	return []Failure{{Code: EntirelyNumeric}}
}

func (p *Policy) checkComplexity(c *candidate) []Failure {
	var failures []Failure
	if !strings.ContainsFunc(c.text, unicode.IsUpper) {
		failures = append(failures, Failure{Code: NoUpper})
	}
	if !strings.ContainsFunc(c.text, unicode.IsLower) {
		failures = append(failures, Failure{Code: NoLower})
	}
	if !strings.ContainsFunc(c.text, unicode.IsDigit) {
		failures = append(failures, Failure{Code: NoDigit})
	}
	if !strings.ContainsAny(c.text, specials) {
		failures = append(failures, Failure{NoSpecial, map[string]any{"specials": specials}})
	}
	return failures
}
