package loginui

import (
	"net/http"
	"net/url"
	"strings"

	"postern/idp"
)

// A resetPage asks whose password is to be reset, or who wants a code to sign in with.
type resetPage struct {
	*frame
	Tx       string
	Party    *party
	Username string
	LogIn    bool // whether it is a code to sign in with
}

func (*resetPage) template() string { return "reset.html" }

// A resetCodePage asks for the code of a reset.
type resetCodePage struct{ codePage }

func (*resetCodePage) template() string { return "reset-code.html" }

// A newPasswordPage asks for a new password, which nothing but a proof goes before.
type newPasswordPage struct {
	*frame
	Tx     string
	Path   string  // that the form is sent to
	Ticket string  // the token of a reset's link, "" for none
	Login  string  // whose password it is, as password managers keep it; "" where nobody may know
	Person *person // who is signing in, nil for a reset
	Policy []string
}

func (*newPasswordPage) template() string { return "reset-new.html" }

// A resetDonePage tells that the password is changed.
type resetDonePage struct {
	*frame
	Tx    string
	Party *party
}

func (*resetDonePage) template() string { return "reset-done.html" }

// ShowReset asks for the username or address of whoever forgot their password.
func (ui *UI) ShowReset(w http.ResponseWriter, r *http.Request) {
	t := ui.enter(w, r, stepReset)
	switch {
	case t == nil:
	case !ui.mails():
		t.unmailed(w)
	default:
		p := ui.resetPage(t)
		p.Notice = ui.noticeOf(w, r, p.frame)
		ui.showReset(w, t, http.StatusOK, p)
	}
}

// unmailed tells whoever needs a mail that none can be sent, and leads back to the sign-in.
func (t *turn) unmailed(w http.ResponseWriter) {
	tx, err := t.ui.provider.Seal(t.r.Context(), t.in)
	if err != nil {
		t.ui.ShowFailure(w, t.r, err)
		return
	}
	back := "/login?another=1&tx=" + url.QueryEscape(tx)
	t.ui.refuse(w, t.r, idp.Problem{Status: http.StatusServiceUnavailable, Code: "mail_off", Back: back})
}

func (ui *UI) resetPage(t *turn) *resetPage {
	p := &resetPage{frame: t.frame(), Party: t.party(), LogIn: t.step == stepLogInCode}
	if hint := t.in.Request.LoginHint; len(hint) <= maxMailed {
		p.Username = hint
	}
	return p
}

func (ui *UI) showReset(w http.ResponseWriter, t *turn, status int, p *resetPage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitReset mails a code and a link. Whoever has no account gets the same answer.
func (ui *UI) SubmitReset(w http.ResponseWriter, r *http.Request) {
	if t, p := ui.readReset(w, r, stepReset); p != nil {
		ui.request(w, t, p, "/reset/code", ui.provider.RequestReset(t.r.Context(), t.in, p.Username))
	}
}

// readReset reads the form of a resetPage. Where it does not go on it has answered, and the page is
// nil.
func (ui *UI) readReset(w http.ResponseWriter, r *http.Request, step idp.Step) (*turn, *resetPage) {
	r, form, ok := ui.readForm(w, r, "username")
	if !ok {
		return nil, nil
	}
	t := ui.enter(w, r, step)
	if t == nil {
		return nil, nil
	}
	if !ui.mails() {
		t.unmailed(w)
		return t, nil
	}
	p := ui.resetPage(t)
	p.Username = strings.TrimSpace(form.Get("username"))
	switch {
	case !t.holds():
		p.Notice = t.stale()
	case p.Username == "":
		p.fail("username_missing", "username")
	default:
		t.forget()
		return t, p
	}
	ui.showReset(w, t, http.StatusBadRequest, p)
	return t, nil
}

// request goes on from a resetPage to the page that asks for the code. err is what became of the
// request.
func (ui *UI) request(w http.ResponseWriter, t *turn, p *resetPage, path string, err error) {
	switch e := errorOf(err); {
	case err == nil:
		t.in.Mailed = clip(p.Username, maxMailed)
		t.on(w, path)
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
	default:
		ui.showReset(w, t, ui.explain(w, t.r, p.frame, e), p)
	}
}

// ShowResetCode asks for the code of a reset.
func (ui *UI) ShowResetCode(w http.ResponseWriter, r *http.Request) {
	if t := ui.waiting(w, r, stepResetCode, "/reset"); t != nil {
		p := codePageOf(t)
		if t.late {
			p.Notice = t.stale()
		}
		ui.showResetCode(w, t, http.StatusOK, p)
	}
}

// waiting is the turn of a page that asks for a code. Where none was asked for it has sent the
// browser to the page that does so, and returns nil.
func (ui *UI) waiting(w http.ResponseWriter, r *http.Request, step idp.Step, start string) *turn {
	t := ui.enter(w, r, step)
	if t != nil && t.in.Ticket.IsZero() {
		t.on(w, start)
		return nil
	}
	return t
}

func codePageOf(t *turn) *codePage {
	return &codePage{frame: t.frame(), Party: t.party(), Mailed: t.in.Mailed, Sent: true}
}

func (ui *UI) showResetCode(w http.ResponseWriter, t *turn, status int, p *codePage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, &resetCodePage{*p})
	}
}

// SubmitResetCode takes the code of a reset.
func (ui *UI) SubmitResetCode(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "code")
	if !ok {
		return
	}
	t := ui.waiting(w, r, stepResetCode, "/reset")
	if t == nil {
		return
	}
	p := codePageOf(t)
	code := typedCode(form.Get("code"))
	switch {
	case !t.holds():
		p.Notice = t.stale()
		ui.showResetCode(w, t, http.StatusBadRequest, p)
	case code == "":
		p.fail("code_missing", "code")
		ui.showResetCode(w, t, http.StatusBadRequest, p)
	default:
		if err := ui.provider.ProveReset(r.Context(), t.in, code); err != nil {
			ui.refuseCode(w, t, p, err, ui.showResetCode)
			return
		}
		t.on(w, "/reset/new")
	}
}

// ShowResetNew asks for the new password, once the code was right.
func (ui *UI) ShowResetNew(w http.ResponseWriter, r *http.Request) {
	if t := ui.proved(w, r); t != nil {
		ui.showNewPassword(w, t, http.StatusOK, ui.newPasswordPage(t, "/reset/new"))
	}
}

// proved is the turn of a reset whose code was right, nil where it was not: then it has answered.
func (ui *UI) proved(w http.ResponseWriter, r *http.Request) *turn {
	t := ui.waiting(w, r, stepResetNew, "/reset")
	if t != nil && !t.in.Proved {
		t.on(w, "/reset/code")
		return nil
	}
	return t
}

func (ui *UI) newPasswordPage(t *turn, path string) *newPasswordPage {
	p := &newPasswordPage{frame: t.frame(), Path: path, Login: t.in.Mailed}
	admin := false
	if t.step == idp.StepChange {
		p.Person, admin = personOf(&t.visit.User), t.visit.User.Admin
		p.Login = p.Person.Login
	}
	p.Policy = ui.policy(p.frame, admin)
	return p
}

func (ui *UI) showNewPassword(w http.ResponseWriter, t *turn, status int, p *newPasswordPage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitResetNew sets the new password.
func (ui *UI) SubmitResetNew(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "new_password")
	if !ok {
		return
	}
	if t := ui.proved(w, r); t != nil {
		ui.reset(w, t, ui.newPasswordPage(t, "/reset/new"), form)
	}
}

// ShowResetLink asks for the new password of whoever has the link. To open it changes nothing.
func (ui *UI) ShowResetLink(w http.ResponseWriter, r *http.Request) {
	if t, p := ui.resetLink(w, r); p != nil {
		ui.showNewPassword(w, t, http.StatusOK, p)
	}
}

// resetLink is the page of a reset's link. Where the link is over it has answered, and the page is
// nil.
func (ui *UI) resetLink(w http.ResponseWriter, r *http.Request) (*turn, *newPasswordPage) {
	t := ui.linkTurn(w, r)
	if t == nil {
		return nil, nil
	}
	token := ticketOf(r)
	link, err := ui.provider.OpenLink(r.Context(), idp.ForReset, token)
	if err != nil {
		ui.refuseLink(w, t, &linkKinds[linkReset], err)
		return t, nil
	}
	p := ui.newPasswordPage(t, "/reset/link")
	p.Ticket, p.Login, p.isolated = token, link.Address, true
	return t, p
}

// SubmitResetLink sets the new password of whoever has the link.
func (ui *UI) SubmitResetLink(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "new_password")
	if !ok {
		return
	}
	if t, p := ui.resetLink(w, r); p != nil {
		ui.reset(w, t, p, form)
	}
}

// reset sets the new password. Nobody is signed in by it.
func (ui *UI) reset(w http.ResponseWriter, t *turn, p *newPasswordPage, form url.Values) {
	if !ui.newPasswordTyped(w, t, p, form) {
		return
	}
	err := ui.provider.ResetPassword(t.r.Context(), t.in, p.Ticket, form.Get("new_password"))
	switch e := errorOf(err); {
	case err == nil:
		t.forget()
		t.on(w, "/reset/done")
	case e.Code == "link_over" || e.Code == "code_over":
		t.forget()
		ui.refuseLink(w, t, &linkKinds[linkReset], &idp.Error{Kind: idp.Denied, Code: "link_over"})
	default:
		ui.refusePassword(w, t, p, err)
	}
}

// newPasswordTyped tells whether the form holds and has a password. Otherwise it has answered.
func (ui *UI) newPasswordTyped(w http.ResponseWriter, t *turn, p *newPasswordPage, form url.Values) bool {
	switch {
	case !t.holds():
		p.Notice = t.stale()
	case form.Get("new_password") == "":
		p.fail("new_password_missing", "new_password")
	default:
		return true
	}
	ui.showNewPassword(w, t, http.StatusBadRequest, p)
	return false
}

func (ui *UI) refusePassword(w http.ResponseWriter, t *turn, p *newPasswordPage, err error) {
	e := errorOf(err)
	switch e.Kind {
	case idp.Internal, idp.Locked, idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
		return
	case idp.Invalid:
		e = beside(e, "new_password")
	}
	ui.showNewPassword(w, t, ui.explain(w, t.r, p.frame, e), p)
}

// ShowResetDone tells that the password is changed.
func (ui *UI) ShowResetDone(w http.ResponseWriter, r *http.Request) {
	t := ui.enter(w, r, stepReset)
	if t == nil {
		return
	}
	p := &resetDonePage{frame: t.frame(), Party: t.party()}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, r, http.StatusOK, p)
	}
}

// ShowChooseNew asks whoever is signing in for a password of their own.
func (ui *UI) ShowChooseNew(w http.ResponseWriter, r *http.Request) {
	if t := ui.choosing(w, r); t != nil {
		ui.showNewPassword(w, t, http.StatusOK, ui.newPasswordPage(t, "/login/password"))
	}
}

// choosing is the turn of somebody who must choose a new password, nil where nobody must: then it
// has answered.
func (ui *UI) choosing(w http.ResponseWriter, r *http.Request) *turn {
	t := ui.enter(w, r, idp.StepChange)
	if t != nil && (t.visit == nil || t.next() != idp.StepChange) {
		t.done(w)
		return nil
	}
	return t
}

// SubmitChooseNew sets that password and goes on with the sign-in.
func (ui *UI) SubmitChooseNew(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "new_password")
	if !ok {
		return
	}
	t := ui.choosing(w, r)
	if t == nil {
		return
	}
	p := ui.newPasswordPage(t, "/login/password")
	if !ui.newPasswordTyped(w, t, p, form) {
		return
	}
	signedIn, err := ui.provider.ChooseNewPassword(r.Context(), t.in, t.visit, form.Get("new_password"))
	switch {
	case err == nil:
		ui.welcome(w, t, signedIn)
	case errorOf(err).Kind == idp.Stale:
		t.done(w)
	default:
		ui.refusePassword(w, t, p, err)
	}
}
