package idp

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Limits of an authorization request's parameters, in bytes and entries. No standard names them;
// each is several times what relying parties send.
const (
	maxForm      = 64 << 10 // the whole canonical form, encoded
	maxScopeSize = 4 << 10
	maxACRValues = 16
	maxACRSize   = 1 << 10
	maxLoginHint = 256 // an e-mail address has 254 at most (RFC 5321 §4.5.3.1.3)
	maxUILocales = 16
	maxUISize    = 256
	maxMaxAge    = 1<<31 - 1 // seconds: 68 years
)

// ParseRequest reads a canonical authorization request. Its errors are Invalid, with the name of
// the parameter in Field, the code of RFC 6749 §4.1.2.1 in Code, and as Cause what is wrong, in
// words that quote nothing and may be sent to the client. A parameter without a value counts as
// omitted (RFC 6749 §3.1).
func ParseRequest(form url.Values) (Request, error) {
	r := Request{ClientID: form.Get("client_id"), RedirectURI: form.Get("redirect_uri")}
	for name, values := range form {
		if len(values) > 1 {
			return Request{}, invalidParameter(name, "it is there more than once")
		}
	}
	for _, parse := range []func(*Request, url.Values) error{
		parseScope, parsePrompt, parseMaxAge, parseACRValues, parseLoginHint, parseUILocales, parseClaimsParameter,
	} {
		if err := parse(&r, form); err != nil {
			return Request{}, err
		}
	}
	return r, nil
}

func invalidParameter(name, why string) *Error {
	return &Error{Kind: Invalid, Code: "invalid_request", Field: name, Cause: errors.New(name + ": " + why)}
}

func parseScope(r *Request, form url.Values) error {
	invalid := func(why string) error {
		return &Error{Kind: Invalid, Code: "invalid_scope", Field: "scope", Cause: errors.New("scope: " + why)}
	}
	text := form.Get("scope")
	if len(text) > maxScopeSize {
		return invalid(fmt.Sprintf("it has more than %d bytes", maxScopeSize))
	}
	r.Scopes = words(text)
	if len(r.Scopes) > MaxScopes {
		return invalid(fmt.Sprintf("there are more than %d", MaxScopes))
	}
	for _, scope := range r.Scopes {
		if !scopeToken(scope) {
			return invalid("a character is not allowed (RFC 6749 §3.3)")
		}
	}
	return nil
}

// scopeToken is RFC 6749 §3.3: %x21 / %x23-5B / %x5D-7E.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func parsePrompt(r *Request, form url.Values) error {
	r.Prompts = words(form.Get("prompt"))
	for _, p := range r.Prompts {
		switch p {
		case "none", "login", "consent", "select_account":
		case "create": // Initiating User Registration via OpenID Connect 1.0 §4
		default:
			return invalidParameter("prompt", "a value is unknown")
		}
	}
	if len(r.Prompts) > 1 && slices.Contains(r.Prompts, "none") {
		return invalidParameter("prompt", "none stands beside another value") // OpenID Connect Core 1.0 §3.1.2.1
	}
	return nil
}

func parseMaxAge(r *Request, form url.Values) error {
	text := form.Get("max_age")
	if text == "" {
		return nil
	}
	age, err := strconv.ParseUint(text, 10, 63)
	if err != nil || age > maxMaxAge {
		return invalidParameter("max_age", fmt.Sprintf("it is not a number of seconds from 0 to %d", maxMaxAge))
	}
	seconds := int64(age)
	r.MaxAge = &seconds
	return nil
}

func parseACRValues(r *Request, form url.Values) error {
	text := form.Get("acr_values")
	if len(text) > maxACRSize || !plainText(text) {
		return invalidParameter("acr_values", fmt.Sprintf("it is not plain text of at most %d bytes", maxACRSize))
	}
	if r.ACRValues = words(text); len(r.ACRValues) > maxACRValues {
		return invalidParameter("acr_values", fmt.Sprintf("there are more than %d", maxACRValues))
	}
	return nil
}

func parseLoginHint(r *Request, form url.Values) error {
	if r.LoginHint = form.Get("login_hint"); len(r.LoginHint) > maxLoginHint || !plainText(r.LoginHint) {
		return invalidParameter("login_hint", fmt.Sprintf("it is not plain text of at most %d bytes", maxLoginHint))
	}
	return nil
}

func parseUILocales(r *Request, form url.Values) error {
	text := form.Get("ui_locales")
	if len(text) > maxUISize || !plainText(text) {
		return invalidParameter("ui_locales", fmt.Sprintf("it is not plain text of at most %d bytes", maxUISize))
	}
	// They are in the order of preference, and it is no error if none is spoken here (OpenID
	// Connect Core 1.0 §3.1.2.1).
	r.UILocales = words(text)
	r.UILocales = r.UILocales[:min(len(r.UILocales), maxUILocales)]
	return nil
}

func parseClaimsParameter(r *Request, form url.Values) error {
	text := form.Get("claims")
	if text == "" {
		return nil
	}
	claims, err := ParseClaims(text)
	if err != nil {
		return &Error{Kind: Invalid, Code: "invalid_request", Field: "claims", Cause: err}
	}
	r.Claims = claims
	return nil
}

// words are the values of a space-delimited parameter in their order, each once; nil for none.
func words(text string) List {
	var list List
	for word := range strings.SplitSeq(text, " ") {
		if word != "" && !slices.Contains(list, word) {
			list = append(list, word)
		}
	}
	return list
}
