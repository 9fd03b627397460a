package idp

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"postern/idp/names"
)

const maxGroups = 100 // names, which go into every ID token that asks for them

var groupPattern = regexp.MustCompile(`^[a-zA-Z0-9_.:/-]{1,64}$`)

// user checks n and makes a user of it. All that is wrong is in the one error and its More.
func (n NewUser) user(rules *names.Rules, now time.Time) (User, error) {
	u := User{
		ID: RandomID(), EmailVerified: n.EmailVerified, Profile: n.Profile, Groups: n.Groups, Admin: n.Admin,
		Status: Active, Epoch: 1, CreatedAt: now, UpdatedAt: now,
	}
	var wrong []*Error
	note := func(err *Error) {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	var bad *Error
	usernames := rules
	if n.AllowReserved {
		usernames = rules.WithoutReserved()
	}
	u.Username, u.UsernameKey, bad = usernameOf(usernames, n.Username)
	note(bad)
	if n.Email != "" {
		var address names.Address
		address, bad = addressOf(rules, n.Email)
		u.Email, u.EmailKey = address.Text, address.Unique
		note(bad)
	} else if n.EmailVerified {
		note(invalid("email_missing", "email", nil))
	}
	note(checkGroups(n.Groups))
	return u, together(append(wrong, all(u.Profile.check())...))
}

// together makes one error of several, nil of none.
func together(wrong []*Error) error {
	if len(wrong) == 0 {
		return nil
	}
	first := *wrong[0]
	first.More = append(first.More[:len(first.More):len(first.More)], wrong[1:]...)
	return &first
}

// all is the reverse of together: err, which is nil or an *Error, and its More, each by itself.
func all(err error) []*Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return nil
	}
	first := *e
	first.More = nil
	return append([]*Error{&first}, e.More...)
}

// usernameOf returns how a username is written, and its key. It has no @, so that it is nobody's
// e-mail address, and does not read as an ID, by which commands name a user.
func usernameOf(rules *names.Rules, typed string) (name, key string, bad *Error) {
	name, key, problem := rules.Username(typed)
	if problem != nil {
		return "", "", invalid(problem.Code, "username", problem.Args)
	}
	if _, err := ParseID(name); err == nil {
		return "", "", invalid(names.UsernameCharacters, "username", nil)
	}
	return name, key, nil
}

// addressOf reads an e-mail address by the rules.
func addressOf(rules *names.Rules, typed string) (names.Address, *Error) {
	address, problem := rules.Email(typed)
	if problem != nil {
		return names.Address{}, invalid(problem.Code, "email", problem.Args)
	}
	return address, nil
}

func checkGroups(groups []string) *Error {
	if len(groups) > maxGroups {
		return invalid("groups_too_many", "groups", map[string]any{"max": maxGroups})
	}
	for _, g := range groups {
		if !groupPattern.MatchString(g) {
			return invalid("group_invalid", "groups", map[string]any{"group": g})
		}
	}
	return nil
}

func invalid(code, field string, args map[string]any) *Error {
	return &Error{Kind: Invalid, Code: code, Field: field, Args: args}
}

// maxClaim is how many bytes one claim may have, so that an ID token stays short.
const maxClaim = 512

var (
	birthdatePattern = regexp.MustCompile(`^[0-9]{4}(-[0-9]{2}-[0-9]{2})?$`)
	zoneinfoPattern  = regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$`)
	phonePattern     = regexp.MustCompile(`^\+[0-9][0-9 ().-]{2,30}(;ext=[0-9]{1,10})?$`)
)

// check judges the values of the claims (OpenID Connect Core 1.0 §5.1). Its error is Invalid, with all
// that is wrong in More; each Field is the claim's name.
func (p *Profile) check() error {
	judged := []struct {
		claim, value, code string
		good               func(string) bool
	}{
		{"name", p.Name, "claim_invalid", plainText},
		{"given_name", p.GivenName, "claim_invalid", plainText},
		{"family_name", p.FamilyName, "claim_invalid", plainText},
		{"middle_name", p.MiddleName, "claim_invalid", plainText},
		{"nickname", p.Nickname, "claim_invalid", plainText},
		{"preferred_username", p.PreferredUsername, "claim_invalid", plainText},
		{"profile", p.Profile, "url_invalid", webAddress},
		{"picture", p.Picture, "url_invalid", webAddress},
		{"website", p.Website, "url_invalid", webAddress},
		{"gender", p.Gender, "claim_invalid", plainText},
		{"birthdate", p.Birthdate, "date_invalid", goodBirthdate},
		{"zoneinfo", p.Zoneinfo, "zone_invalid", zoneinfoPattern.MatchString},
		{"locale", p.Locale, "locale_invalid", goodLocale},
		{"phone_number", p.PhoneNumber, "phone_invalid", phonePattern.MatchString},
	}
	var wrong []*Error
	for _, j := range judged {
		switch {
		case len(j.value) > maxClaim:
			wrong = append(wrong, invalid("claim_too_long", j.claim, map[string]any{"claim": j.claim, "max": maxClaim}))
		case j.value != "" && !j.good(j.value):
			wrong = append(wrong, invalid(j.code, j.claim, map[string]any{"claim": j.claim}))
		}
	}
	if p.PhoneVerified && p.PhoneNumber == "" {
		wrong = append(wrong, invalid("claim_invalid", "phone_number_verified", map[string]any{"claim": "phone_number_verified"}))
	}
	if p.Address != nil && !p.Address.good() {
		wrong = append(wrong, invalid("claim_invalid", "address", map[string]any{"claim": "address"}))
	}
	return together(wrong)
}

func (a *Address) good() bool {
	for _, line := range []string{a.Locality, a.Region, a.PostalCode, a.Country} {
		if len(line) > maxClaim || !plainText(line) {
			return false
		}
	}
	// These two may have several lines (OpenID Connect Core 1.0 §5.1.1).
	lines := strings.NewReplacer("\r\n", "", "\n", "")
	for _, text := range []string{a.Formatted, a.StreetAddress} {
		if len(text) > maxClaim || !plainText(lines.Replace(text)) {
			return false
		}
	}
	return true
}

// plainText is one line of UTF-8.
func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && plainText(s) && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

func goodBirthdate(s string) bool {
	if !birthdatePattern.MatchString(s) {
		return false
	}
	if len(s) == len("2006") {
		return s != "0000"
	}
	if year, day, _ := strings.Cut(s, "-"); year == "0000" {
		s = "2000-" + day // a leap year: the year is left out, so that 29 February can be somebody's
	}
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

func goodLocale(s string) bool {
	// Some write en_US (OpenID Connect Core 1.0 §5.1), which Parse takes, too.
	_, err := language.Parse(s)
	return err == nil
}
