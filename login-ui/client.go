package loginui

import (
	"net"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/idp"
)

// A party is a relying party as people are shown it.
type party struct {
	Name      string
	Initial   string // of the name, for the place where a logo would be
	Host      string // that the browser will be sent to
	Local     bool   // whether that is a program on this computer (RFC 8252 §7.3)
	App       bool   // whether that is an application of this device (RFC 8252 §7.1)
	PolicyURI string // https or http, "" for none
	TOSURI    string // likewise
}

// party is the relying party of the interaction, nil for a sign-in of our own.
func (t *turn) party() *party {
	if t.client == nil {
		return nil
	}
	redirect := t.in.Request.RedirectURI
	p := &party{
		Name: t.client.DisplayName(), Initial: initial(t.client.DisplayName()), Host: redirectHost(redirect),
		PolicyURI: webAddress(t.client.Metadata.PolicyURI), TOSURI: webAddress(t.client.Metadata.TOSURI),
	}
	if u, err := url.Parse(redirect); err == nil {
		p.App = u.Scheme != "https" && u.Scheme != "http"
		p.Local = !p.App && isLoopback(u.Hostname())
	}
	return p
}

// redirectHost is the host of a redirect URI with its port, or the scheme of one that belongs to
// an application.
func redirectHost(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	switch {
	case err != nil || redirectURI == "":
		return ""
	case u.Scheme == "https" || u.Scheme == "http":
		return u.Host
	}
	return u.Scheme + ":"
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// webAddress is address where a browser may be led there, else "".
func webAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return address
}

// A person is a user as they are shown to themselves.
type person struct {
	Name    string // how they are called
	Login   string // their e-mail address, or the username
	Email   string
	Initial string
}

func personOf(u *idp.User) *person {
	p := &person{Name: u.Profile.Name, Login: u.Email, Email: u.Email}
	if p.Name == "" {
		p.Name = strings.TrimSpace(u.Profile.GivenName + " " + u.Profile.FamilyName)
	}
	if p.Name == "" {
		p.Name = u.Username
	}
	if p.Login == "" {
		p.Login = u.Username
	}
	p.Initial = initial(p.Name)
	return p
}

// initial is the first letter or digit of name, in upper case.
func initial(name string) string {
	i := strings.IndexFunc(name, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
	if i < 0 {
		return "•"
	}
	r, _ := utf8.DecodeRuneInString(name[i:])
	return string(unicode.ToUpper(r))
}
