package idp

import (
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/language"

	"postern/idp/guard"
)

// What names may look like. A username has no @, so that it is never taken for an e-mail address.
const (
	minUsername = 3
	maxUsername = 64
	maxGroups   = 100 // names, which go into every ID token that asks for them
)

var (
	usernamePattern = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	groupPattern    = regexp.MustCompile(`^[a-zA-Z0-9_.:/-]{1,64}$`)
)

// user checks n and makes a user of it.
func (n NewUser) user(now time.Time) (User, error) {
	u := User{
		ID: RandomID(), Username: n.Username, Email: n.Email, EmailVerified: n.EmailVerified,
		Profile: n.Profile, Groups: n.Groups, Admin: n.Admin,
		Status: Active, Epoch: 1, CreatedAt: now, UpdatedAt: now,
	}
	if err := checkUsername(n.Username); err != nil {
		return User{}, err
	}
	u.UsernameKey, _ = guard.Canonical(n.Username)
	if n.Email != "" {
		if !plausibleEmail(n.Email) {
			return User{}, invalid("email_invalid", "email", nil)
		}
		u.EmailKey, _ = guard.Canonical(n.Email)
	} else if n.EmailVerified {
		return User{}, invalid("email_missing", "email", nil)
	}
	if len(n.Groups) > maxGroups {
		return User{}, invalid("groups_too_many", "groups", map[string]any{"max": maxGroups})
	}
	for _, g := range n.Groups {
		if !groupPattern.MatchString(g) {
			return User{}, invalid("group_invalid", "groups", map[string]any{"group": g})
		}
	}
	return u, u.Profile.check()
}

func invalid(code, field string, args map[string]any) *Error {
	return &Error{Kind: Invalid, Code: code, Field: field, Args: args}
}

func checkUsername(name string) error {
	_, notID := ParseID(name)
	switch {
	case !usernamePattern.MatchString(name),
		notID == nil: // whoever names a user by ID must not meet another one
		return invalid("username_invalid", "username", nil)
	case len(name) < minUsername:
		return invalid("username_too_short", "username", map[string]any{"min": minUsername})
	case len(name) > maxUsername:
		return invalid("username_too_long", "username", map[string]any{"max": maxUsername})
	}
	return nil
}

// plausibleEmail tells whether mail can be sent to address: a bare addr-spec (RFC 5322 §3.4.1,
// RFC 6531 §3.3 for those beyond ASCII) without quotes, of bearable length (RFC 5321 §4.5.3.1).
func plausibleEmail(address string) bool {
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || parsed.Name != "" {
		return false
	}
	at := strings.LastIndexByte(address, '@')
	local, domain := address[:at], address[at+1:]
	if len(local) > 64 || len(address) > 254 || strings.ContainsAny(address, "\"\\()<>[]:;, \t\r\n") {
		return false
	}
	for _, r := range local {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || ascii == "" || len(ascii) > 253 {
		return false
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}

// maxClaim is how many bytes one claim may have, so that an ID token stays short.
const maxClaim = 512

var (
	birthdatePattern = regexp.MustCompile(`^[0-9]{4}(-[0-9]{2}-[0-9]{2})?$`)
	zoneinfoPattern  = regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$`)
	phonePattern     = regexp.MustCompile(`^\+[0-9][0-9 ().-]{2,30}(;ext=[0-9]{1,10})?$`)
)

// check judges the values of the claims (OpenID Connect Core 1.0 §5.1).
func (p *Profile) check() error {
	judged := []struct {
		claim, value string
		good         func(string) bool
	}{
		{"name", p.Name, plainText},
		{"given_name", p.GivenName, plainText},
		{"family_name", p.FamilyName, plainText},
		{"middle_name", p.MiddleName, plainText},
		{"nickname", p.Nickname, plainText},
		{"preferred_username", p.PreferredUsername, plainText},
		{"profile", p.Profile, webAddress},
		{"picture", p.Picture, webAddress},
		{"website", p.Website, webAddress},
		{"gender", p.Gender, plainText},
		{"birthdate", p.Birthdate, goodBirthdate},
		{"zoneinfo", p.Zoneinfo, zoneinfoPattern.MatchString},
		{"locale", p.Locale, goodLocale},
		{"phone_number", p.PhoneNumber, phonePattern.MatchString},
	}
	for _, j := range judged {
		if j.value != "" && (len(j.value) > maxClaim || !j.good(j.value)) {
			return invalid("claim_invalid", j.claim, map[string]any{"claim": j.claim})
		}
	}
	if p.PhoneVerified && p.PhoneNumber == "" {
		return invalid("claim_invalid", "phone_number_verified", map[string]any{"claim": "phone_number_verified"})
	}
	if p.Address != nil && !p.Address.good() {
		return invalid("claim_invalid", "address", map[string]any{"claim": "address"})
	}
	return nil
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
