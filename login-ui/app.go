package loginui

import (
	"net/http"
	"slices"
	"time"

	"postern/idp"
)

// stepApps is the step of the form that takes back what an app may do.
const stepApps idp.Step = "apps"

// An appsPage lists the relying parties that somebody allowed something.
type appsPage struct {
	*frame
	Tx   string
	Apps []connectedApp
}

func (*appsPage) template() string { return "apps.html" }

// A connectedApp is a relying party with what it may do, in words.
type connectedApp struct {
	ID      string
	Name    string
	Initial string
	Since   time.Time // zero where nobody was asked
	May     []string
	Tokens  int
}

// ShowApps lists the connected apps of whoever is signed in.
func (ui *UI) ShowApps(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepApps); t != nil {
		ui.showApps(w, t, http.StatusOK, ui.accountFrame(w, r))
	}
}

func (ui *UI) showApps(w http.ResponseWriter, t *turn, status int, f *frame) {
	list, err := ui.provider.Apps(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	p := &appsPage{frame: f}
	for i := range list {
		p.Apps = append(p.Apps, f.app(&list[i]))
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

func (f *frame) app(a *idp.App) connectedApp {
	name := a.Client.DisplayName()
	line := connectedApp{ID: a.Client.ID, Name: name, Initial: initial(name), Since: a.Consent.CreatedAt, Tokens: a.Tokens}
	for _, group := range f.permissions(a.Consent.Scopes, a.Consent.Claims, a.Consent.Scopes) {
		line.May = slices.Concat(line.May, group.Items)
	}
	return line
}

// SubmitApps takes back what an app was allowed, with its tokens.
func (ui *UI) SubmitApps(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepApps, "app")
	if t == nil {
		return
	}
	f := ui.accountFrame(w, t.r)
	err := ui.provider.RevokeApp(t.r.Context(), t.visit, form.Get("app"))
	t.settle(w, f, err, form, func() { ui.notify(w, "app_revoked", appsPath) },
		func(status int) { ui.showApps(w, t, status, f) })
}
