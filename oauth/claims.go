package oauth

import (
	"slices"

	"postern/idp"
)

// userClaims read the claims about an End-User. What is empty is not claimed (OpenID Connect Core
// 1.0 §5.3.2).
var userClaims = map[string]func(*idp.User) any{
	"name":                  func(u *idp.User) any { return u.Profile.Name },
	"family_name":           func(u *idp.User) any { return u.Profile.FamilyName },
	"given_name":            func(u *idp.User) any { return u.Profile.GivenName },
	"middle_name":           func(u *idp.User) any { return u.Profile.MiddleName },
	"nickname":              func(u *idp.User) any { return u.Profile.Nickname },
	"preferred_username":    preferredUsername,
	"profile":               func(u *idp.User) any { return u.Profile.Profile },
	"picture":               func(u *idp.User) any { return u.Profile.Picture },
	"website":               func(u *idp.User) any { return u.Profile.Website },
	"gender":                func(u *idp.User) any { return u.Profile.Gender },
	"birthdate":             func(u *idp.User) any { return u.Profile.Birthdate },
	"zoneinfo":              func(u *idp.User) any { return u.Profile.Zoneinfo },
	"locale":                func(u *idp.User) any { return u.Profile.Locale },
	"updated_at":            func(u *idp.User) any { return u.UpdatedAt.Unix() },
	"email":                 func(u *idp.User) any { return u.Email },
	"email_verified":        func(u *idp.User) any { return verified(u.Email, u.EmailVerified) },
	"phone_number":          func(u *idp.User) any { return u.Profile.PhoneNumber },
	"phone_number_verified": func(u *idp.User) any { return verified(u.Profile.PhoneNumber, u.Profile.PhoneVerified) },
	"address":               address,
}

func preferredUsername(u *idp.User) any {
	if u.Profile.PreferredUsername != "" {
		return u.Profile.PreferredUsername
	}
	return u.Username
}

// verified speaks only of what is there.
func verified(value string, yes bool) any {
	if value == "" {
		return nil
	}
	return yes
}

func address(u *idp.User) any {
	if u.Profile.Address == nil || *u.Profile.Address == (idp.Address{}) {
		return nil
	}
	return u.Profile.Address
}

// mayLearn tells whether c may ask for a claim about an End-User: one that belongs to a scope that
// c is registered for. The claims parameter is no way around that.
func mayLearn(c *idp.Client, name string) bool {
	return slices.ContainsFunc(c.Metadata.Scopes, func(scope string) bool { return slices.Contains(idp.ScopeClaims(scope), name) })
}

// isJudged tells whether a claim of the authentication, asked for in the ID token, changes what is
// done (OpenID Connect Core 1.0 §5.5.1).
func isJudged(name string) bool { return name == "acr" || name == "auth_time" || name == "sub" }

// putClaim adds a claim about u to claims, where there is something to claim.
func putClaim(claims map[string]any, u *idp.User, name string) {
	read := userClaims[name]
	if read == nil {
		return
	}
	if value := read(u); value != nil && value != "" {
		claims[name] = value
	}
}
