package loginui

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern/idp"
)

// A signUpPage asks for what an account needs.
type signUpPage struct {
	*frame
	Tx     string
	Party  *party
	Invite string // the token of the invite's link, "" for none
	Bound  bool   // whether the invite is for one address
	Trap   string // the name of the field that people do not see, "" for none
	Policy []string

	Username, Email string
	Called          string // the name to be shown; Name is that of the language
	Remember        bool
	AskAbout        bool
	Days            int
	CanCancel       bool
}

func (*signUpPage) template() string { return "signup.html" }

// A signUpClosedPage tells that nobody can sign up now, or not without an invitation.
type signUpClosedPage struct {
	*frame
	Tx      string
	Party   *party
	Invited bool // whether an invitation is all that is missing
	Opens   time.Time
}

func (*signUpClosedPage) template() string { return "signup-closed.html" }

// ShowSignUp shows the form for a new account, or why there is none.
func (ui *UI) ShowSignUp(w http.ResponseWriter, r *http.Request) {
	t := ui.enter(w, r, idp.StepSignUp)
	if t == nil {
		return
	}
	if !t.mayJoin() {
		t.done(w)
		return
	}
	state, err := ui.provider.SignUpState(r.Context(), inviteOf(r))
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	if !state.Open {
		ui.showSignUpClosed(w, t, http.StatusOK, state)
		return
	}
	p := ui.signUpPage(t, state)
	if t.late {
		p.Notice = t.stale()
	}
	ui.showSignUp(w, t, http.StatusOK, p)
}

// inviteOf is the token of the invite whose link led here, "" for none. It stays in the address, so
// that a page which is shown anew has it still.
func inviteOf(r *http.Request) string { return clip(r.URL.Query().Get("invite"), maxFieldBytes) }

// mayJoin tells whether somebody may ask for an account in t: who is not signed in, or is asked to.
func (t *turn) mayJoin() bool {
	next := t.next()
	return next == idp.StepSignUp || next == idp.StepLogIn || t.visit != nil && t.visit.Session.State == idp.Pending
}

func (ui *UI) signUpPage(t *turn, state idp.SignUpState) *signUpPage {
	p := &signUpPage{
		frame: t.frame(), Party: t.party(), Invite: inviteOf(t.r), Trap: ui.cfg.Signup.HoneypotField,
		AskAbout: ui.cfg.Sessions.Remember == "ask", Days: int(ui.cfg.Sessions.Lifetime / (24 * time.Hour)),
		CanCancel: t.canCancel(),
	}
	p.Policy = ui.policy(p.frame, false)
	if state.InviteBad {
		// Whoever may sign up without one does so.
		p.Invite, p.Notice = "", &message{Code: "invite_over", Text: p.T("error.invite_over")}
	}
	if p.Email, p.Bound = state.EmailOf, state.EmailOf != ""; p.Email == "" && strings.Contains(t.in.Request.LoginHint, "@") {
		p.Email = clip(t.in.Request.LoginHint, maxMailed)
	}
	return p
}

func (ui *UI) showSignUp(w http.ResponseWriter, t *turn, status int, p *signUpPage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

func (ui *UI) showSignUpClosed(w http.ResponseWriter, t *turn, status int, state idp.SignUpState) {
	p := &signUpClosedPage{frame: t.frame(), Party: t.party(), Invited: state.Invited, Opens: state.OpensAt}
	switch {
	case state.InviteBad:
		p.fail("invite_over", "")
		status = http.StatusGone
	case status >= http.StatusBadRequest:
		p.fail("signup_closed", "")
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitSignUp makes an account, or prepares one until its address is proved.
func (ui *UI) SubmitSignUp(w http.ResponseWriter, r *http.Request) {
	trap := ui.cfg.Signup.HoneypotField
	r, form, ok := ui.readForm(w, r, "username", "email", "password", "name", "remember", "cancel", trap)
	if !ok {
		return
	}
	t := ui.enter(w, r, idp.StepSignUp)
	if t == nil {
		return
	}
	if !t.mayJoin() {
		t.done(w)
		return
	}
	if form.Get("cancel") != "" && t.canCancel() && t.holds() {
		t.deny(w)
		return
	}
	state, err := ui.provider.SignUpState(r.Context(), inviteOf(r))
	switch {
	case err != nil:
		ui.ShowFailure(w, r, err)
		return
	case !state.Open:
		ui.showSignUpClosed(w, t, http.StatusForbidden, state)
		return
	}
	p := ui.signUpPage(t, state)
	p.Username, p.Called = strings.TrimSpace(form.Get("username")), strings.TrimSpace(form.Get("name"))
	if !p.Bound {
		p.Email = strings.TrimSpace(form.Get("email"))
	}
	p.Remember = form.Get("remember") == "1"
	if !t.holds() {
		p.Notice = t.stale()
		ui.showSignUp(w, t, http.StatusBadRequest, p)
		return
	}
	ui.signUp(w, t, p, form)
}

func (ui *UI) signUp(w http.ResponseWriter, t *turn, p *signUpPage, form url.Values) {
	new := idp.SignUp{
		Username: p.Username, Email: p.Email, Password: form.Get("password"), Name: p.Called,
		Invite: p.Invite, Remember: p.Remember,
	}
	if p.Trap != "" {
		new.Trap = form.Get(p.Trap)
	}
	t.forget()
	signedIn, err := ui.provider.SignUp(t.r.Context(), t.in, new)
	switch e := errorOf(err); {
	case err == nil && !signedIn.Session.ID.IsZero():
		ui.welcome(w, t, signedIn)
	case err == nil:
		t.in.Mailed = clip(p.Email, maxMailed)
		t.on(w, "/verify")
	case e.Kind == idp.Stale:
		seeOther(w, "/signup?tx="+url.QueryEscape(t.r.URL.Query().Get("tx")))
	case e.Code == "signup_closed":
		ui.showSignUpClosed(w, t, http.StatusForbidden, idp.SignUpState{})
	case e.Code == "invite_over":
		ui.showSignUpClosed(w, t, http.StatusGone, idp.SignUpState{Invited: true, InviteBad: true})
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
	default:
		ui.showSignUp(w, t, ui.explain(w, t.r, p.frame, e), p)
	}
}
