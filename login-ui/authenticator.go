package loginui

import (
	"net/http"

	"postern/idp"
)

// A passwordPage changes a password.
type passwordPage struct {
	*frame
	Tx        string
	Person    *person
	MinLength int // in code points
}

func (*passwordPage) template() string { return "password.html" }

// ShowPassword shows the form that changes a password.
func (ui *UI) ShowPassword(w http.ResponseWriter, r *http.Request) {
	visit := ui.signedIn(w, r)
	if visit == nil {
		return
	}
	t := ui.ownTurn(r, visit, stepPassword)
	ui.showPassword(w, t, http.StatusOK, ui.passwordPage(t))
}

func (ui *UI) passwordPage(t *turn) *passwordPage {
	p := &passwordPage{frame: ui.frame(t.r), Person: personOf(&t.visit.User), MinLength: ui.cfg.Password.MinLength}
	p.isolated = true
	return p
}

func (ui *UI) showPassword(w http.ResponseWriter, t *turn, status int, p *passwordPage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitPassword changes the password of the one who is signed in.
func (ui *UI) SubmitPassword(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "password", "new_password")
	if !ok {
		return
	}
	visit := ui.signedIn(w, r)
	if visit == nil {
		return
	}
	t := ui.ownTurn(r, visit, stepPassword)
	p := ui.passwordPage(t)
	if !t.sealHolds() {
		p.Notice = t.outdated()
		ui.showPassword(w, t, http.StatusBadRequest, p)
		return
	}
	if form.Get("password") == "" {
		p.fail("password_missing", "password")
	}
	if form.Get("new_password") == "" {
		p.fail("new_password_missing", "new_password")
	}
	if p.Failed {
		ui.showPassword(w, t, http.StatusBadRequest, p)
		return
	}
	ui.changePassword(w, t, p, form.Get("password"), form.Get("new_password"))
}

func (ui *UI) changePassword(w http.ResponseWriter, t *turn, p *passwordPage, current, new string) {
	signedIn, err := ui.provider.ChangePassword(t.r.Context(), t.visit, current, new)
	switch e := errorOf(err); {
	case err == nil:
		ui.cookies.keepSession(w, signedIn, ui.now())
		ui.cookies.keepNotice(w, "password_changed")
		seeOther(w, accountPath)
	case e.Kind == idp.Stale:
		// The session or the user changed at the same moment: the page tells what is left.
		seeOther(w, t.r.URL.Path)
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
	default:
		ui.showPassword(w, t, ui.explain(w, t.r, p.frame, e), p)
	}
}
