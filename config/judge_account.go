package config

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

func judgePatterns(c *Config) *complaint {
	for _, pattern := range c.Username.Patterns {
		if _, err := regexp.Compile(pattern); err != nil || pattern == "" {
			return &complaint{"CFG-080", fmt.Sprintf("has %s, which is no regular expression", quoted(pattern)),
				"Write it in the syntax of RE2: \"^[a-z0-9]+$\", in quotes."}
		}
	}
	return nil
}

// maxReserved leaves room for the names that are built in.
const maxReserved = 9000

func judgeReserved(c *Config) *complaint {
	if len(c.Username.Reserved) > maxReserved {
		return &complaint{"CFG-080", "has too many names", fmt.Sprintf("Write at most %d, or a pattern in username.patterns.", maxReserved)}
	}
	for _, name := range c.Username.Reserved {
		if !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			return &complaint{"CFG-080", fmt.Sprintf("has %s, which has neither letters nor digits", quoted(name)), "Remove it."}
		}
	}
	return nil
}

// domainName is a name of hosts, or *.NAME for what is below it.
var domainName = regexp.MustCompile(`^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

const maxDomain = 253 // bytes, as package names has it

// judgeDomains judges a list of domains, of which none may be in the other list.
func judgeDomains(domains, other []string, otherKey string) *complaint {
	for _, domain := range domains {
		name, wildcard := strings.CutPrefix(domain, "*.")
		top := name[strings.LastIndexByte(name, '.')+1:]
		switch {
		case !domainName.MatchString(domain), len(name) > maxDomain, !wildcard && !strings.Contains(name, "."), strings.Trim(top, "0123456789") == "":
			return &complaint{"CFG-081", fmt.Sprintf("has %s, which is no domain", quoted(domain)),
				"Write it like example.com, or *.example.com for the subdomains alone, in small letters and with xn-- for others than those of ASCII."}
		case slices.Contains(other, domain):
			return &complaint{"CFG-081", fmt.Sprintf("has %s, which is in %s as well", quoted(domain), otherKey), "Remove one of the two."}
		}
	}
	return nil
}

func judgeInstant(text string) *complaint {
	if text == "" {
		return nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return &complaint{"CFG-082", "is no time", "Write date, time and zone (RFC 3339): 2026-01-31T09:00:00Z, or …+01:00."}
	}
	return nil
}

func judgeOpenUntil(c *Config) *complaint {
	if bad := judgeInstant(c.Signup.OpenUntil); bad != nil || c.Signup.OpenUntil == "" || c.Signup.OpenFrom == "" {
		return bad
	}
	from, err := time.Parse(time.RFC3339, c.Signup.OpenFrom)
	if err != nil {
		return nil // signup.open_from has this problem
	}
	if until, _ := time.Parse(time.RFC3339, c.Signup.OpenUntil); !until.After(from) {
		return &complaint{"CFG-082", "is not after signup.open_from", "Write a later time, or remove signup.open_from."}
	}
	return nil
}

func judgeOpenHours(c *Config) *complaint {
	if c.Signup.OpenHours == "" {
		return nil
	}
	hours, zone, _ := strings.Cut(c.Signup.OpenHours, " ")
	from, until, ok := strings.Cut(hours, "-")
	_, badFrom := time.Parse("15:04", from)
	_, badUntil := time.Parse("15:04", until)
	switch _, err := time.LoadLocation(zone); {
	case !ok || badFrom != nil || badUntil != nil || len(from) != len("09:00") || len(until) != len("17:00"):
		return &complaint{"CFG-082", "are no hours", "Write HH:MM-HH:MM and a time zone: 09:00-17:00 Europe/Berlin."}
	case zone == "" || zone == "Local" || err != nil:
		return &complaint{"CFG-082", "have no time zone that is known", "Write one of the tz database behind the hours, such as Europe/Berlin or UTC."}
	case from == until:
		return &complaint{"CFG-082", "are none: they begin when they end", "Write other hours, or remove this."}
	}
	return nil
}

// signUpFields have a meaning of their own in the form.
var signUpFields = []string{"cancel", "email", "invite", "name", "new_password", "password", "remember", "tx", "username"}

func judgeTrap(c *Config) *complaint {
	switch name := c.Signup.HoneypotField; {
	case name == "":
		return nil
	case !fieldName.MatchString(name):
		return &complaint{"CFG-054", "is no name of a field", "Write a letter, and up to 63 letters, digits, - and _."}
	case slices.Contains(signUpFields, name):
		return &complaint{"CFG-054", "is the name of another field of the form", "Write another one than " + enumerate(signUpFields) + "."}
	}
	return nil
}

// validators are those of package password, in the order of their names' list in the documents.
var validators = []string{"length", "similarity", "common", "numeric", "complexity", "zxcvbn"}

func judgeValidators(c *Config) *complaint {
	if len(c.Password.Validators) == 0 {
		return &complaint{"CFG-083", "is empty: everything would be a password", "Write some of " + strings.Join(validators, ", ") + "."}
	}
	for i, name := range c.Password.Validators {
		switch {
		case !slices.Contains(validators, name):
			return &complaint{"CFG-083", fmt.Sprintf("has %s, which is no validator", quoted(name)), "Write " + enumerate(validators) + "."}
		case slices.Contains(c.Password.Validators[:i], name):
			return &complaint{"CFG-083", fmt.Sprintf("has %s twice", quoted(name)), "Remove one of the two."}
		}
	}
	return nil
}

func judgeContacts(c *Config) *complaint {
	for _, contact := range c.Security.Contacts {
		u, err := url.Parse(contact)
		good := err == nil && !strings.ContainsFunc(contact, unicode.IsSpace)
		if good {
			switch u.Scheme {
			case "mailto":
				_, err := mail.ParseAddress(u.Opaque)
				good = err == nil
			case "https":
				good = u.Host != ""
			case "tel":
				good = u.Opaque != ""
			default:
				good = false
			}
		}
		if !good {
			return &complaint{"CFG-084", fmt.Sprintf("has %s, which is no address to report to", quoted(contact)),
				"Write mailto:security@example.com, https://example.com/report or tel:+1-201-555-0123."}
		}
	}
	return nil
}

func judgeSecurityExpires(c *Config) *complaint {
	if bad := judgeInstant(c.Security.Expires); bad != nil {
		return &complaint{"CFG-084", bad.reason, bad.remedy}
	}
	return nil
}

// judgeWebAddress holds what security.txt points to to https (RFC 9116 §2.5).
func judgeWebAddress(text string, schemes ...string) *complaint {
	u, err := url.Parse(text)
	good := text == "" || err == nil && (u.Scheme == "https" && u.Host != "" || slices.Contains(schemes, u.Scheme) && u.Opaque != "")
	if good && !strings.ContainsFunc(text, unicode.IsSpace) {
		return nil
	}
	return &complaint{"CFG-084", "is not an https address", "Write it like https://example.com/security."}
}

// languageTag is roughly the form of BCP 47.
var languageTag = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

func judgeLanguages(c *Config) *complaint {
	for _, tag := range c.Security.Languages {
		if !languageTag.MatchString(tag) {
			return &complaint{"CFG-084", fmt.Sprintf("has %s, which is no language", quoted(tag)), "Write tags such as en or pt-BR."}
		}
	}
	return nil
}
