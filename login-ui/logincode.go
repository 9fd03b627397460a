package loginui

import (
	"net/http"
	"time"

	"postern/idp"
)

// An enterCodePage asks for a code to sign in with.
type enterCodePage struct {
	codePage
	Remember, AskAbout bool
	Days               int
	CanCancel          bool
}

func (*enterCodePage) template() string { return "login-code.html" }

// ShowLogInCode asks who wants a code to sign in with.
func (ui *UI) ShowLogInCode(w http.ResponseWriter, r *http.Request) {
	t := ui.logInCodeTurn(w, r, stepLogInCode)
	if t == nil {
		return
	}
	p := ui.resetPage(t)
	if t.late {
		p.Notice = t.stale()
	}
	ui.showReset(w, t, http.StatusOK, p)
}

// logInCodeTurn is the turn of a page for codes to sign in with. Where there are none, or nobody has to
// sign in, it has answered and returns nil.
func (ui *UI) logInCodeTurn(w http.ResponseWriter, r *http.Request, step idp.Step) *turn {
	if !ui.cfg.Login.Code.Enabled {
		ui.NotFound(w, r)
		return nil
	}
	t := ui.enter(w, r, step)
	switch {
	case t == nil:
		return nil
	case !t.mayLogIn():
		t.done(w)
		return nil
	case !ui.mails():
		t.unmailed(w)
		return nil
	}
	return t
}

// mayLogIn tells whether somebody may sign in, in t.
func (t *turn) mayLogIn() bool {
	return t.visit == nil || t.next() == idp.StepLogIn || t.visit.Session.State == idp.Pending
}

// SubmitLogInCode mails a code. Whoever has no account gets the same answer.
func (ui *UI) SubmitLogInCode(w http.ResponseWriter, r *http.Request) {
	if !ui.cfg.Login.Code.Enabled {
		ui.NotFound(w, r)
		return
	}
	if t, p := ui.readReset(w, r, stepLogInCode); p != nil {
		if !t.mayLogIn() {
			t.done(w)
			return
		}
		ui.request(w, t, p, "/login/code/enter", ui.provider.RequestLogInCode(t.r.Context(), t.in, p.Username))
	}
}

// ShowEnterLogInCode asks for the code.
func (ui *UI) ShowEnterLogInCode(w http.ResponseWriter, r *http.Request) {
	if t := ui.entering(w, r); t != nil {
		ui.showEnterCode(w, t, http.StatusOK, codePageOf(t), false)
	}
}

// entering is the turn of somebody who waits for a code, nil where nobody does: then it has answered.
func (ui *UI) entering(w http.ResponseWriter, r *http.Request) *turn {
	t := ui.logInCodeTurn(w, r, stepEnterCode)
	if t != nil && t.in.Ticket.IsZero() {
		t.on(w, "/login/code")
		return nil
	}
	return t
}

func (ui *UI) showEnterCode(w http.ResponseWriter, t *turn, status int, code *codePage, remember bool) {
	p := &enterCodePage{
		codePage: *code, Remember: remember, AskAbout: ui.cfg.Sessions.Remember == "ask",
		Days: int(ui.cfg.Sessions.Lifetime / (24 * time.Hour)), CanCancel: t.canCancel(),
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitEnterLogInCode signs somebody in with a code.
func (ui *UI) SubmitEnterLogInCode(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "code", "remember", "cancel")
	if !ok {
		return
	}
	t := ui.entering(w, r)
	if t == nil {
		return
	}
	p := codePageOf(t)
	code, remember := typedCode(form.Get("code")), form.Get("remember") == "1"
	show := func(w http.ResponseWriter, t *turn, status int, p *codePage) {
		ui.showEnterCode(w, t, status, p, remember)
	}
	switch {
	case !t.holds():
		p.Notice = t.stale()
		show(w, t, http.StatusBadRequest, p)
	case form.Get("cancel") != "" && t.canCancel():
		t.deny(w)
	case code == "":
		p.fail("code_missing", "code")
		show(w, t, http.StatusBadRequest, p)
	default:
		signedIn, err := ui.provider.LogInByCode(r.Context(), t.in, code, remember)
		if err != nil {
			ui.refuseCode(w, t, p, err, show)
			return
		}
		t.forget()
		ui.welcome(w, t, signedIn)
	}
}
