package loginui

import (
	"net/http"
	"net/url"
	"time"

	"postern/idp"
)

const enrolPath = "/login/enrol"

// The steps of the pages that follow the choice.
const (
	stepEnrolApp idp.Step = "enrol_app"
	stepEnrolKey idp.Step = "enrol_key"
)

// An enrolPage asks for the second factor that somebody must have.
type enrolPage struct {
	*frame
	Tx     string
	Party  *party
	Person *person
	Why    string
	Grace  time.Time // until when it may be missing, zero where it may not
	KeyOne bool      // whether nothing but a key will do

	Setup appSetup // of the page that sets an app up
	Key   *keyForm // of the page that asks for a key

	CanCancel bool
	file      string
}

func (p *enrolPage) template() string { return p.file }

// Off tells whether nothing can be set up after all.
func (p *enrolPage) Off() bool {
	said := p.first()
	return said != nil && said.Code == "factors_off"
}

// An enrolledPage shows the recovery codes, once.
type enrolledPage struct {
	*frame
	codesShown
	Tx string
}

func (*enrolledPage) template() string { return "enrolled.html" }

// enrolBy is until when whoever signed in in t may go on without the second factor that they must
// have, zero where they need none or may not.
func (t *turn) enrolBy() time.Time {
	u := &t.visit.User
	if u.HasFactor() || t.visit.Session.State != idp.Live {
		return time.Time{}
	}
	policy, grace := t.ui.provider.FactorPolicyOf(u)
	if policy != idp.FactorsRequired || !t.ui.now().Before(grace) {
		return time.Time{}
	}
	return grace
}

// enrolTurn is the turn of somebody who must get a second factor, now or by a day to come. Anybody
// else goes on: then it has answered, and returns nil.
func (ui *UI) enrolTurn(w http.ResponseWriter, r *http.Request, step idp.Step) *turn {
	t := ui.enter(w, r, step)
	if t != nil && (t.visit == nil || t.next() != idp.StepEnrol && t.enrolBy().IsZero()) {
		t.done(w)
		return nil
	}
	return t
}

func (ui *UI) enrolPage(t *turn, file string) *enrolPage {
	p := &enrolPage{
		frame: t.frame(), Party: t.party(), Person: personOf(&t.visit.User), CanCancel: t.canCancel(), file: file,
	}
	if t.late {
		p.Notice = t.stale()
	}
	asked, must := t.asked()
	p.KeyOne = asked >= idp.NotPhishable && must
	switch {
	case t.next() != idp.StepEnrol:
		p.Grace = t.enrolBy()
		p.Why = p.T("enrol.why.soon", "instance", p.Instance)
	case p.Party != nil && p.KeyOne:
		p.Why = p.T("stepup.key", "app", p.Party.Name)
	case p.Party != nil && asked != idp.NoLevel:
		p.Why = p.T("stepup.stronger", "app", p.Party.Name)
	default:
		p.Why = p.T("enrol.why", "instance", p.Instance)
	}
	return p
}

func (ui *UI) showEnrol(w http.ResponseWriter, t *turn, status int, p *enrolPage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// ShowEnrol lets people choose the second factor that they must have.
func (ui *UI) ShowEnrol(w http.ResponseWriter, r *http.Request) {
	if t := ui.enrolTurn(w, r, idp.StepEnrol); t != nil {
		p := ui.enrolPage(t, "enrol.html")
		if notice := ui.noticeOf(w, r, p.frame); notice != nil {
			p.Notice = notice
		}
		ui.showEnrol(w, t, http.StatusOK, p)
	}
}

// SubmitEnrol begins with an authenticator app.
func (ui *UI) SubmitEnrol(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "cancel")
	if !ok {
		return
	}
	t := ui.enrolTurn(w, r, idp.StepEnrol)
	if t == nil {
		return
	}
	p := ui.enrolPage(t, "enrol.html")
	switch {
	case !t.holds():
		p.Notice = t.stale()
		ui.showEnrol(w, t, http.StatusBadRequest, p)
	case form.Get("cancel") != "" && t.canCancel():
		t.deny(w)
	default:
		ui.settleEnrol(w, t, p.frame, ui.provider.BeginTOTP(r.Context(), t.visit),
			func() { t.on(w, enrolPath+"/app") }, func(status int) { ui.showEnrol(w, t, status, p) })
	}
}

// settleEnrol goes on by done where a deed of the enrolment was done, through a proof of who is here
// where it wants a fresh one, and with show where something is wrong that the person can mend.
func (ui *UI) settleEnrol(w http.ResponseWriter, t *turn, f *frame, err error, done func(), show func(status int)) {
	switch e := errorOf(err); {
	case err == nil:
		done()
	case e.Code == "reauthenticate":
		t.suspendTurn(w)
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, f, err)
	case e.Kind == idp.Stale && e.Code != "ceremony_over":
		t.done(w) // another tab did something: the dispatcher knows what is left
	default:
		show(ui.explain(w, t.r, f, besideCode(e)))
	}
}

// ShowEnrolApp shows what the app must be told.
func (ui *UI) ShowEnrolApp(w http.ResponseWriter, r *http.Request) {
	if t := ui.enrolTurn(w, r, stepEnrolApp); t != nil {
		ui.showEnrolApp(w, t, http.StatusOK, ui.enrolPage(t, "enrol-app.html"))
	}
}

func (ui *UI) showEnrolApp(w http.ResponseWriter, t *turn, status int, p *enrolPage) {
	setup, err := ui.provider.TOTPSetup(t.r.Context(), t.visit)
	if idp.KindOf(err) == idp.Missing {
		ui.cookies.keepNotice(w, "app_setup_over")
		t.on(w, enrolPath)
		return
	}
	ui.settleEnrol(w, t, p.frame, err, func() {
		if p.Setup, err = p.appSetup(setup); err != nil {
			ui.ShowFailure(w, t.r, err)
			return
		}
		ui.showEnrol(w, t, status, p)
	}, func(int) { t.on(w, enrolPath) })
}

// SubmitEnrolApp verifies the app's first code.
func (ui *UI) SubmitEnrolApp(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "code")
	if !ok {
		return
	}
	t := ui.enrolTurn(w, r, stepEnrolApp)
	if t == nil {
		return
	}
	p := ui.enrolPage(t, "enrol-app.html")
	switch {
	case !t.holds():
		p.Notice = t.stale()
		ui.showEnrolApp(w, t, http.StatusBadRequest, p)
	case form.Get("code") == "":
		p.fail("code_missing", "code")
		ui.showEnrolApp(w, t, http.StatusBadRequest, p)
	default:
		enrolled, err := ui.provider.ConfirmTOTP(r.Context(), t.in, t.visit, form.Get("code"))
		if idp.KindOf(err) == idp.Missing {
			ui.showEnrolApp(w, t, http.StatusBadRequest, p) // which tells that it took too long
			return
		}
		ui.settleEnrol(w, t, p.frame, err, func() { ui.enrolled(w, t, enrolled) },
			func(status int) { ui.showEnrolApp(w, t, status, p) })
	}
}

// ShowEnrolKey asks for a passkey or security key.
func (ui *UI) ShowEnrolKey(w http.ResponseWriter, r *http.Request) {
	if t := ui.enrolTurn(w, r, stepEnrolKey); t != nil {
		ui.showEnrolKey(w, t, http.StatusOK, ui.enrolPage(t, "enrol-key.html"))
	}
}

func (ui *UI) showEnrolKey(w http.ResponseWriter, t *turn, status int, p *enrolPage) {
	c, err := ui.provider.BeginPasskey(t.r.Context(), t.visit)
	ui.settleEnrol(w, t, p.frame, err, func() {
		if p.Tx = t.seal(w); p.Tx != "" {
			p.Key = ui.keyForm(p.frame, c, keyMake, enrolPath+"/key?tx="+url.QueryEscape(p.Tx), "enrol.key.make")
			ui.show(w, t.r, status, p)
		}
	}, func(status int) { ui.showEnrol(w, t, status, p) })
}

// SubmitEnrolKey registers it.
func (ui *UI) SubmitEnrolKey(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "state", "credential")
	if !ok {
		return
	}
	t := ui.enrolTurn(w, r, stepEnrolKey)
	if t == nil {
		return
	}
	p := ui.enrolPage(t, "enrol-key.html")
	if !t.holds() {
		p.Notice = t.stale()
		ui.showEnrolKey(w, t, http.StatusBadRequest, p)
		return
	}
	enrolled, err := ui.provider.AddPasskey(r.Context(), t.in, t.visit, form.Get("state"), form.Get("credential"), "")
	ui.settleEnrol(w, t, p.frame, err, func() { ui.enrolled(w, t, enrolled) },
		func(status int) { ui.showEnrolKey(w, t, status, p) })
}

// enrolled keeps the session that a new factor was added in, and goes on; first it shows the recovery
// codes where there are new ones, which nobody can see again.
func (ui *UI) enrolled(w http.ResponseWriter, t *turn, in idp.Enrolled) {
	if in.RecoveryCodes == nil {
		ui.welcome(w, t, in.SignedIn)
		return
	}
	ui.cookies.keepSession(w, in.SignedIn, ui.now())
	ui.cookies.keepDevice(w, t.r, in.Device)
	t.visit = &idp.Visit{Session: in.Session, User: in.User}
	p := &enrolledPage{frame: t.frame()}
	p.codesShown = ui.codesOf(p.frame, &in.User, in.RecoveryCodes)
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, http.StatusOK, p)
	}
}
