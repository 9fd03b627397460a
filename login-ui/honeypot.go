package loginui

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern/idp"
)

// A honeypotPage looks like the sign-in of an old administration. It leads nowhere.
type honeypotPage struct {
	*frame
	Path     string // that was asked for, which the form is sent to
	Next     string // where somebody would land after signing in
	Username string
}

func (*honeypotPage) template() string { return "honeypot.html" }

// ShowHoneypot shows the form of the honeypot, at its paths and below. It sets no cookies.
func (ui *UI) ShowHoneypot(w http.ResponseWriter, r *http.Request) {
	w.Header().Del("Set-Cookie")
	if path := r.URL.Path + "/"; slices.Contains(ui.cfg.Honeypot.Paths, path) && !slices.Contains(ui.cfg.Honeypot.Paths, r.URL.Path) {
		seeOther(w, path)
		return
	}
	ui.show(w, r, http.StatusOK, ui.honeypotPage(r))
}

func (ui *UI) honeypotPage(r *http.Request) *honeypotPage {
	p := &honeypotPage{frame: ui.frame(r), Path: r.URL.EscapedPath(), Next: r.URL.Path}
	if localPath(p.Path) == "" {
		p.Path, p.Next = "/", "/"
	}
	p.isolated = true
	return p
}

// SubmitHoneypot takes what somebody typed into the honeypot, and tells them that it was wrong.
// Whatever cannot be read is an attempt as well.
func (ui *UI) SubmitHoneypot(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	_ = formDefect(r, nil) // parses
	c := idp.Catch{
		Username: strings.ReplaceAll(clip(r.PostForm.Get("username"), maxFieldBytes), "\x00", ""),
		Path:     r.URL.Path, Parameters: ui.masked(trapFields(r.PostForm)), CrossSite: ui.crossSite(r),
	}
	p := ui.honeypotPage(r)
	p.Username = c.Username
	if next := localPath(r.PostForm.Get("next")); next != "" {
		p.Next = clip(next, maxFieldBytes)
	}
	err := ui.provider.Spring(r.Context(), c)
	if err == nil {
		err = &idp.Error{Kind: idp.Denied, Code: "invalid_credentials"}
	}
	e := errorOf(err)
	if e.Kind == idp.Internal || e.Kind == idp.Blocked {
		ui.turnAway(w, r, p.frame, err)
		return
	}
	status := ui.explain(w, r, p.frame, e)
	if e.Code == "invalid_credentials" {
		p.Errors[0].Text = p.T("honeypot.wrong")
	}
	ui.show(w, r, status, p)
}

// trapFields are the fields of a form that the honeypot's own has. What others are called a stranger
// chose, so that nothing tells which of them is a password.
func trapFields(form url.Values) url.Values {
	own := url.Values{}
	for _, name := range []string{"username", "password", "next"} {
		if values := form[name]; len(values) > 0 {
			own[name] = values
		}
	}
	return own
}

// crossSite tells whether another site's page sent a form: by the Sec-Fetch-Site header, which
// browsers send (Fetch Metadata Request Headers §2.2), or else by Origin. Scripts send neither.
func (ui *UI) crossSite(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	origin := r.Header.Get("Origin")
	return origin != "" && origin != ui.cfg.Issuer
}
