package loginui

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern/idp"
)

// A loginPage asks for username and password.
type loginPage struct {
	*frame
	Tx                           string
	Another                      bool   // whether someone who is signed in wants to use another account
	Party                        *party // nil for a sign-in of our own
	UsernameField, PasswordField string // the names of the fields

	Username  string
	Remember  bool // what the box says
	AskAbout  bool // whether there is a box at all
	Days      int  // that a remembered session lasts
	CanSignUp bool
	CanReset  bool // whether a message can be mailed to whoever forgot their password
	ByCode    bool // whether a code to sign in with can be mailed
	CanCancel bool

	Key    *keyForm       // to sign in with a passkey, nil where that cannot be
	Signal *passkeySignal // of a passkey that nobody has
}

func (*loginPage) template() string { return "login.html" }

// ShowLogin shows the sign-in page. Without an interaction it begins one of our own.
func (ui *UI) ShowLogin(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("tx") {
		ui.begin(w, r, accountPath)
		return
	}
	t := ui.open(w, r, idp.StepLogIn)
	if t == nil {
		return
	}
	if t.next() != idp.StepLogIn && !t.another() {
		t.again(w)
		return
	}
	p := ui.loginPage(t)
	if err := ui.provider.MayShowLogIn(r.Context()); err != nil {
		ui.turnAway(w, r, p.frame, err)
		return
	}
	p.Notice = ui.noticeOf(w, r, p.frame)
	ui.showLogin(w, t, http.StatusOK, p)
}

// another tells whether someone who is signed in asked for the sign-in page all the same.
func (t *turn) another() bool { return t.visit != nil && t.r.URL.Query().Get("another") == "1" }

func (ui *UI) loginPage(t *turn) *loginPage {
	p := &loginPage{
		frame: t.frame(), Another: t.another(), Party: t.party(), CanCancel: t.canCancel(),
		UsernameField: ui.cfg.Login.UsernameField, PasswordField: ui.cfg.Login.PasswordField,
		AskAbout: ui.cfg.Sessions.Remember == "ask", Days: int(ui.cfg.Sessions.Lifetime / (24 * time.Hour)),
		CanReset: ui.mails(), ByCode: ui.cfg.Login.Code.Enabled && ui.mails(),
	}
	// Where it cannot be told there is no link, and the page of the sign-up tells why.
	state, err := ui.provider.SignUpState(t.r.Context(), "")
	p.CanSignUp = err == nil && state.Open && !state.Invited
	switch hint := t.in.Request.LoginHint; {
	case hint != "" && len(hint) <= maxFieldBytes:
		p.Username = hint
	case t.visit != nil && !p.Another:
		// Someone who is asked to prove anew who they are.
		p.Username = personOf(&t.visit.User).Login
	}
	return p
}

func (ui *UI) showLogin(w http.ResponseWriter, t *turn, status int, p *loginPage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		p.Key = ui.logInKey(t, p)
		ui.show(w, t.r, status, p)
	}
}

// SubmitLogin signs somebody in.
func (ui *UI) SubmitLogin(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, ui.cfg.Login.UsernameField, ui.cfg.Login.PasswordField, "remember", "passkeys", "cancel")
	if !ok {
		return
	}
	username, password := strings.TrimSpace(form.Get(ui.cfg.Login.UsernameField)), form.Get(ui.cfg.Login.PasswordField)
	in, err := ui.opened(r)
	if err != nil {
		ui.renewLogin(w, r, in, err, username)
		return
	}
	t := ui.turn(w, r, in, idp.StepLogIn)
	if t == nil {
		return
	}
	if !t.holds() {
		ui.refuseLogin(w, t, username)
		return
	}
	if form.Get("cancel") != "" && t.canCancel() {
		t.deny(w)
		return
	}
	p := ui.loginPage(t)
	p.Username = username
	p.Remember = form.Get("remember") == "1"
	t.passkeys = form.Get("passkeys") == "1"
	if username == "" {
		p.fail("username_missing", "username")
	}
	if password == "" {
		p.fail("password_missing", "password")
	}
	if p.Failed {
		ui.showLogin(w, t, http.StatusBadRequest, p)
		return
	}
	ui.logIn(w, t, p, password)
}

func (ui *UI) logIn(w http.ResponseWriter, t *turn, p *loginPage, password string) {
	t.forget() // a ticket that was asked for before
	signedIn, err := ui.provider.LogIn(t.r.Context(), t.in, idp.LogIn{
		Identifier: p.Username, Password: password, Remember: p.Remember,
	})
	switch e := errorOf(err); {
	case err == nil:
		ui.welcome(w, t, signedIn)
	case e.Kind == idp.Stale:
		// Somebody signed in or out at the same moment, in another tab: the page tells who.
		seeOther(w, "/login?tx="+url.QueryEscape(t.r.URL.Query().Get("tx")))
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
	default:
		ui.showLogin(w, t, ui.explain(w, t.r, p.frame, e), p)
	}
}

// welcome keeps a session that was made in t, and sends the browser on. Whoever must prove their
// address first is mailed a code at once; where that fails the page offers another.
func (ui *UI) welcome(w http.ResponseWriter, t *turn, in idp.SignedIn) {
	ui.cookies.keepSession(w, in, ui.now())
	ui.cookies.keepDevice(w, t.r, in.Device)
	t.visit = &idp.Visit{Session: in.Session, User: in.User}
	if t.in.Ticket.IsZero() && t.next() == idp.StepVerify {
		if err := ui.provider.SendCode(t.r.Context(), t.in, t.visit); err != nil {
			ui.logFailure(t.r, statusOf(errorOf(err)), err)
		}
	}
	switch {
	case !t.enrolBy().IsZero():
		t.on(w, enrolPath)
	case t.offersPasskey(in.Device):
		t.on(w, "/login/passkey/offer")
	default:
		t.done(w)
	}
}

// refuseLogin answers a form that was not shown to the one who is here: somebody signed in
// meanwhile, or out. Nothing is recorded, and nobody lands in an account that they did not mean.
func (ui *UI) refuseLogin(w http.ResponseWriter, t *turn, username string) {
	if t.visit == nil || t.next() == idp.StepLogIn || t.another() {
		p := ui.loginPage(t)
		p.Username = username
		p.Notice = &message{Code: "page_outdated", Text: p.T("notice.page_outdated")}
		ui.showLogin(w, t, http.StatusBadRequest, p)
		return
	}
	tx := url.QueryEscape(t.r.URL.Query().Get("tx"))
	if strings.EqualFold(username, t.visit.User.Username) || strings.EqualFold(username, t.visit.User.Email) {
		seeOther(w, dispatcher+"?tx="+tx)
		return
	}
	seeOther(w, "/login/continue?tx="+tx)
}

// renewLogin answers a form whose interaction cannot go on. One that only expired begins anew with
// the same request, and what was typed is kept but for the password.
func (ui *UI) renewLogin(w http.ResponseWriter, r *http.Request, in *idp.Interaction, err error, username string) {
	fresh := ui.renewed(in, err)
	if fresh == nil {
		ui.showStale(w, r, in, err)
		return
	}
	t := ui.turn(w, r, fresh, idp.StepLogIn)
	if t == nil {
		return
	}
	if t.next() != idp.StepLogIn {
		t.done(w)
		return
	}
	p := ui.loginPage(t)
	p.Username = username
	p.Notice = &message{Code: "interaction_expired", Text: p.T("login.expired")}
	ui.showLogin(w, t, http.StatusBadRequest, p)
}

// A continuePage asks someone who is signed in whether to go on as who they are.
type continuePage struct {
	*frame
	Tx        string
	Party     *party
	Person    *person
	CanCancel bool
}

func (*continuePage) template() string { return "continue.html" }

// ShowContinue shows who is signed in, and offers another account.
func (ui *UI) ShowContinue(w http.ResponseWriter, r *http.Request) {
	t := ui.open(w, r, idp.StepSelect)
	if t == nil {
		return
	}
	if t.visit == nil || t.next() == idp.StepLogIn {
		t.again(w)
		return
	}
	ui.showContinue(w, t, http.StatusOK, nil)
}

func (ui *UI) showContinue(w http.ResponseWriter, t *turn, status int, notice *message) {
	p := &continuePage{frame: t.frame(), Party: t.party(), Person: personOf(&t.visit.User), CanCancel: t.canCancel()}
	p.Notice = notice
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitContinue goes on with the session that the page showed.
func (ui *UI) SubmitContinue(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "cancel")
	if !ok {
		return
	}
	t := ui.open(w, r, idp.StepSelect)
	if t == nil {
		return
	}
	switch {
	case t.visit == nil || t.next() == idp.StepLogIn:
		t.again(w)
	case !t.holds():
		ui.showContinue(w, t, http.StatusBadRequest, t.outdated())
	case form.Get("cancel") != "" && t.canCancel():
		t.deny(w)
	default:
		t.in.Chosen = t.visit.Session.ID
		t.done(w)
	}
}

// outdated is the notice of a page that is shown anew, since it was shown to somebody else or
// showed something else.
func (t *turn) outdated() *message {
	return &message{Code: "page_outdated", Text: t.frame().T("notice.page_outdated")}
}

// A logoutPage asks whether to sign out.
type logoutPage struct {
	*frame
	Tx     string
	Person *person
}

func (*logoutPage) template() string { return "logout.html" }

// A signedOutPage says that nobody is signed in.
type signedOutPage struct{ *frame }

func (*signedOutPage) template() string { return "signed-out.html" }

// ShowLogOut asks for confirmation: a GET alone signs nobody out.
func (ui *UI) ShowLogOut(w http.ResponseWriter, r *http.Request) {
	visit, err := ui.visit(r, "")
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	if visit == nil {
		p := &signedOutPage{ui.frame(r)}
		p.isolated = true
		ui.show(w, r, http.StatusOK, p)
		return
	}
	ui.showLogOut(w, ui.ownTurn(r, visit, stepLogOut), http.StatusOK, nil)
}

func (ui *UI) showLogOut(w http.ResponseWriter, t *turn, status int, notice *message) {
	p := &logoutPage{frame: ui.frame(t.r), Person: personOf(&t.visit.User)}
	p.isolated = true
	p.Notice = notice
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitLogOut signs out. The browser gets a new binding, so that nothing that was open goes on.
func (ui *UI) SubmitLogOut(w http.ResponseWriter, r *http.Request) {
	r, _, ok := ui.readForm(w, r)
	if !ok {
		return
	}
	visit, err := ui.visit(r, "")
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	if visit == nil {
		ui.cookies.clear(w, sessionCookie)
		ui.cookies.clear(w, pendingCookie)
		seeOther(w, "/logout")
		return
	}
	if t := ui.ownTurn(r, visit, stepLogOut); !t.sealHolds() {
		ui.showLogOut(w, t, http.StatusBadRequest, t.outdated())
		return
	}
	if err := ui.provider.SignOut(r.Context(), visit); err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	ui.cookies.clear(w, sessionCookie)
	ui.cookies.clear(w, pendingCookie)
	ui.cookies.renewBrowser(w)
	seeOther(w, "/logout")
}

// ownTurn is a turn of a form outside an authorization request, for the page that is shown next.
func (ui *UI) ownTurn(r *http.Request, visit *idp.Visit, step idp.Step) *turn {
	return &turn{ui: ui, r: r, in: ui.provider.BeginOwn(r.URL.Path), visit: visit, step: step}
}

// sealHolds tells whether the form's own seal is genuine, of this browser and this session.
func (t *turn) sealHolds() bool {
	in, err := t.ui.opened(t.r)
	return err == nil && in.Holds(t.step, t.visit, t.shown())
}
