package loginui

import (
	"net/http"
	"strings"

	"postern/idp"
	"postern/idp/password"
)

// A passwordPage changes a password, or sets the first one.
type passwordPage struct {
	*frame
	Tx         string
	Person     *person
	First      bool     // whether there is none yet
	EndsOthers bool     // whether all other sessions end
	Policy     []string // what a password is judged by
}

func (*passwordPage) template() string { return "password.html" }

// ShowPassword shows the form that changes a password.
func (ui *UI) ShowPassword(w http.ResponseWriter, r *http.Request) {
	visit := ui.signedIn(w, r)
	if visit == nil {
		return
	}
	t := ui.ownTurn(r, visit, stepPassword)
	if p := ui.passwordPage(w, t); p != nil {
		ui.showPassword(w, t, http.StatusOK, p)
	}
}

// passwordPage is nil where it has answered.
func (ui *UI) passwordPage(w http.ResponseWriter, t *turn) *passwordPage {
	list, err := ui.provider.Checklist(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return nil
	}
	p := &passwordPage{
		frame: ui.accountFrame(w, t.r), Person: personOf(&t.visit.User), First: !list.HasPassword,
		EndsOthers: ui.cfg.Sessions.EndOnPasswordChange,
	}
	p.Wide = false
	p.Policy = ui.policy(p.frame, t.visit.User.Admin)
	return p
}

// policy puts what a password is judged by into words.
func (ui *UI) policy(f *frame, admin bool) []string {
	var lines []string
	for _, rule := range ui.provider.PasswordHelp(admin) {
		lines = append(lines, f.rule(rule))
	}
	return lines
}

func (f *frame) rule(rule password.Rule) string {
	args := []any{"instance", f.Instance}
	for name, value := range rule.Args {
		args = append(args, name, value)
	}
	return f.T("policy."+rule.Name, args...)
}

// weakness says that a password is guessed too soon, and what makes it so.
func (f *frame) weakness(e *idp.Error) string {
	lines := []string{f.T("error." + e.Code)}
	codes, _ := e.Args["feedback"].([]string)
	for _, code := range codes {
		lines = append(lines, f.T("feedback."+code))
	}
	return strings.Join(lines, " ")
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
	p := ui.passwordPage(w, t)
	if p == nil {
		return
	}
	if !t.sealHolds() {
		p.Notice = t.outdated()
		ui.showPassword(w, t, http.StatusBadRequest, p)
		return
	}
	if form.Get("password") == "" && !p.First {
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
	notice := "password_changed"
	switch {
	case p.First:
		current, notice = "", "password_set"
	case !p.EndsOthers:
		notice = "password_changed_alone"
	}
	signedIn, err := ui.provider.ChangePassword(t.r.Context(), t.visit, current, new)
	// No password waits for a proof of who is here: the form is filled in again.
	t.settle(w, p.frame, err, nil, func() {
		ui.cookies.keepSession(w, signedIn, ui.now())
		ui.notify(w, notice, accountPath)
	}, func(status int) { ui.showPassword(w, t, status, p) })
}
