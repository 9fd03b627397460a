package idp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"postern/config"
	"postern/idp/guard"
	"postern/idp/names"
	"postern/idp/password"
	"postern/idp/secret"
)

// rulesOf makes the rules of usernames and addresses that the settings name.
func rulesOf(cfg *config.Config) (*names.Rules, error) {
	rules, err := names.New(names.Settings{
		MinUsername: cfg.Username.MinLength, Patterns: cfg.Username.Patterns, Charset: cfg.Username.Charset,
		PreserveCasing: cfg.Username.PreserveCasing, Reserved: append(names.DefaultReserved(), cfg.Username.Reserved...),
		PlusAddressing: cfg.Email.PlusAddressing, AllowDisposable: cfg.Email.AllowDisposable,
		DisposableDomains: cfg.Email.BlockedDomains, LastingDomains: cfg.Email.AllowedDomains,
	})
	if err != nil {
		return nil, fmt.Errorf("read the rules of usernames and addresses: %w", err)
	}
	return rules, nil
}

// adminScore is the least score of zxcvbn for administrators, where passwords are judged by it.
const adminScore = 4

// policyOf makes the policy of passwords that the settings name.
func policyOf(cfg *config.Config) (*password.Policy, error) {
	c := cfg.Password
	s := password.Settings{
		Validators: c.Validators, MinLength: c.MinLength, MinScore: c.MinScore, AdminMinLength: c.AdminMinLength,
		Words: []string{cfg.Branding.Name},
	}
	if issuer, err := url.Parse(cfg.Issuer); err == nil && issuer.Hostname() != "" {
		s.Words = append(s.Words, issuer.Hostname())
	}
	if slices.Contains(c.Validators, password.Zxcvbn) {
		s.AdminMinScore = adminScore
	}
	policy, err := password.New(s)
	if err != nil {
		return nil, fmt.Errorf("read the policy of passwords: %w", err)
	}
	return policy, nil
}

// PasswordHelp tells what a password is judged by, in the order of the validators.
func (p *Provider) PasswordHelp(admin bool) []password.Rule { return p.policy.Help(admin) }

// Strength tells how hard a password is to guess for somebody who knows u; the zero User where
// nobody is known yet.
func (p *Provider) Strength(text string, u User) password.Strength {
	return p.policy.Strength(text, u.person())
}

// judgePassword is Invalid where a password is not one that u may have. The error is the first
// thing that is wrong, and More has the others. field is where they show.
func (p *Provider) judgePassword(field, text string, u User) error {
	failures := p.policy.Check(text, u.person())
	if len(failures) == 0 {
		return nil
	}
	wrong := invalid(failures[0].Code, field, failures[0].Args)
	for _, f := range failures[1:] {
		wrong.More = append(wrong.More, invalid(f.Code, field, f.Args))
	}
	return wrong
}

// newPassword judges a password that is to be u's and hashes it. field is where an error shows. It
// writes nothing.
func (p *Provider) newPassword(ctx context.Context, u User, field, text string) (Authenticator, error) {
	if err := p.judgePassword(field, text, u); err != nil {
		return Authenticator{}, err
	}
	prepared, _, err := secret.Prepare(text)
	switch {
	case errors.Is(err, secret.ErrPasswordTooLong):
		return Authenticator{}, invalid(password.TooLong, field, map[string]any{"max": secret.MaxPassword})
	case err != nil:
		return Authenticator{}, invalid(password.Invalid, field, nil)
	}
	hash, err := p.hasher.Hash(ctx, prepared)
	if err != nil {
		return Authenticator{}, hashing("hash a new password", err)
	}
	return p.passwordOf(u, hash), nil
}

// passwordOf is the authenticator of a hash that SchemeOf knows.
func (p *Provider) passwordOf(u User, hash string) Authenticator {
	now := p.Now()
	return Authenticator{
		ID: NewID(now), UserID: u.ID, Kind: PasswordKind, Secret: hash, Scheme: secret.SchemeOf(hash), CreatedAt: now,
	}
}

// person is what is known of u when their password is judged.
func (u User) person() password.Person {
	return password.Person{
		Username: u.Username, Email: u.Email, Admin: u.Admin,
		Names: []string{u.Profile.Name, u.Profile.GivenName, u.Profile.FamilyName, u.Profile.MiddleName, u.Profile.Nickname},
	}
}

// keysOf makes the rules by which what somebody types is looked up: those of the settings without
// what they refuse, since an account may be older than a setting.
func keysOf(cfg *config.Config) (*names.Rules, error) {
	s := names.Settings{UTF8Local: true, AllowDisposable: true}
	if cfg.Email.PlusAddressing == names.Collapse {
		s.PlusAddressing = names.Collapse
	}
	return names.New(s)
}

// keyOf is the key of a username or an e-mail address as somebody typed it, by which UserStore finds
// its user; ok is false where nobody can have it.
func (p *Provider) keyOf(identifier string) (key string, ok bool) {
	key, ok = guard.Canonical(identifier)
	if !ok || !strings.Contains(key, "@") {
		return key, ok
	}
	if address, problem := p.keys.Email(key); problem == nil {
		return address.Unique, true
	}
	return key, true
}
