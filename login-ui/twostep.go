package loginui

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern/idp"
)

// The pages about what somebody signs in with beside the password.
const (
	twoStepPath = "/account/two-step"
	removePath  = "/account/two-step/remove"
	appPath     = "/account/two-step/app"
)

// The steps of their forms.
const (
	stepTwoStep idp.Step = "two_step"
	stepRemove  idp.Step = "remove_factor"
	stepApp     idp.Step = "app"
)

// everyBrowser is what the button says that ends the trust in all browsers.
const everyBrowser = "all"

// fewCodes are as many recovery codes as one should not be content with.
const fewCodes = 3

// A twoStepPage tells what somebody signs in with beside the password.
type twoStepPage struct {
	*frame
	Tx       string
	On       bool
	CanAdd   bool // whether there may be more
	CanKey   bool // whether passkeys among them
	Unproved bool // whether the address must be proved first
	Grace    time.Time
	App      *ownFactor
	Passkeys []ownFactor
	Recovery *idp.RecoverySet
	Few      bool // whether few of its codes are left
	Trusted  []trustedBrowser
}

func (*twoStepPage) template() string { return "two-step.html" }

// An ownFactor is a passkey, security key or authenticator app as its user sees it.
type ownFactor struct {
	ID       string
	Name     string
	Model    string // "" where it is not known, or is the name
	Passkey  bool
	Synced   bool
	Disabled bool // since it was found to be copied
	Added    time.Time
	UsedAt   time.Time // zero for never
	Used     string    // how long ago, in words
}

func (ui *UI) ownFactor(f *frame, x *idp.Factor) ownFactor {
	o := ownFactor{
		ID: x.ID.String(), Name: x.Name, Passkey: x.Kind == idp.PasskeyKind, Synced: x.Synced, Disabled: x.DisabledAt != nil, Added: x.CreatedAt,
	}
	switch {
	case !o.Passkey:
		o.Name = f.T("twostep.app")
	case o.Name == "" && o.Synced:
		o.Name = f.T("passkeys.passkey")
	case o.Name == "":
		o.Name = f.T("passkeys.key")
	}
	if x.Model != o.Name {
		o.Model = x.Model
	}
	if x.LastUsedAt != nil {
		o.UsedAt, o.Used = *x.LastUsedAt, f.ago(ui.now().Sub(*x.LastUsedAt))
	}
	return o
}

// With is f around one factor, for the part that tells of it.
func (f *frame) With(o ownFactor) any {
	return struct {
		*frame
		Factor ownFactor
	}{f, o}
}

// ago puts into words that something was a time d ago, in its greatest unit.
func (f *frame) ago(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return f.T("twostep.ago.now")
	case d < time.Hour:
		return f.T("twostep.ago.minutes", "count", int(d/time.Minute))
	case d < day:
		return f.T("twostep.ago.hours", "count", int(d/time.Hour))
	case d < 60*day:
		return f.T("twostep.ago.days", "count", int(d/day))
	}
	return f.T("twostep.ago.months", "count", int(d/(30*day)))
}

// A trustedBrowser is one in which the second step is not asked for.
type trustedBrowser struct {
	Hash    string
	Device  string
	Place   string // "" where nobody knows
	Until   time.Time
	Current bool
}

// ShowTwoStep shows what somebody signs in with beside the password.
func (ui *UI) ShowTwoStep(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepTwoStep); t != nil {
		ui.showTwoStep(w, t, http.StatusOK, ui.accountFrame(w, r))
	}
}

func (ui *UI) showTwoStep(w http.ResponseWriter, t *turn, status int, f *frame) {
	own, err := ui.provider.OwnFactors(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	u := &t.visit.User
	p := &twoStepPage{frame: f, On: u.HasFactor(), Grace: own.Grace, Recovery: own.Recovery}
	p.Unproved = u.Email != "" && !u.EmailVerified
	p.CanAdd = own.Policy != idp.FactorsOff && !p.Unproved
	p.CanKey = p.CanAdd && ui.provider.PasskeyRPID() != ""
	p.Few = own.Recovery != nil && own.Recovery.Left <= fewCodes
	if own.App != nil {
		app := ui.ownFactor(f, own.App)
		p.App = &app
	}
	for i := range own.Passkeys {
		p.Passkeys = append(p.Passkeys, ui.ownFactor(f, &own.Passkeys[i]))
	}
	for i := range own.Trusted {
		b := &own.Trusted[i]
		p.Trusted = append(p.Trusted, trustedBrowser{b.Hash, f.device(b.UserAgent), ui.placeOf(b.Address, f.locale), b.Until, b.Current})
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitTwoStep removes a factor, whose page asked for it, or ends the trust in a browser.
func (ui *UI) SubmitTwoStep(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readOwn(w, r, stepTwoStep, "remove", "trust")
	if t == nil {
		return
	}
	if form.Has("remove") {
		t.step = stepRemove
	}
	if !t.sealHolds() {
		ui.notify(w, "page_outdated", twoStepPath)
		return
	}
	if form.Has("remove") {
		ui.removeFactor(w, t, form.Get("remove"))
		return
	}
	which := form.Get("trust")
	if which == "" {
		ui.NotFound(w, r)
		return
	}
	if which == everyBrowser {
		which = ""
	}
	f := ui.accountFrame(w, t.r)
	err := ui.provider.EndTrust(t.r.Context(), t.visit, which)
	t.settle(w, f, err, nil, func() { ui.notify(w, "trust_ended", twoStepPath) },
		func(status int) { ui.showTwoStep(w, t, status, f) })
}

// A removePage asks whether a factor is to be removed, and tells what comes of it.
type removePage struct {
	*frame
	Tx     string
	Factor ownFactor
	Last   bool // whether two-step verification ends with it
	Back   string
	Ways   []place // to what lets it be removed, none where nothing is in its way
}

func (*removePage) template() string { return "two-step-remove.html" }

// ShowRemove asks whether a factor is to be removed.
func (ui *UI) ShowRemove(w http.ResponseWriter, r *http.Request) {
	which := r.URL.Query().Get("factor")
	if which == "" {
		seeOther(w, twoStepPath)
		return
	}
	if t := ui.own(w, r, stepRemove); t != nil {
		if p, _ := ui.removePage(w, t, which); p != nil {
			ui.showRemove(w, t, http.StatusOK, p)
		}
	}
}

// askRemove shows that page after a proof of who is here.
func (ui *UI) askRemove(w http.ResponseWriter, _ *turn, form url.Values) {
	ui.notify(w, "sudo_confirmed", removePath+"?"+form.Encode())
}

// removePage is that of one of the user's own, with the others. It is nil where it has answered.
func (ui *UI) removePage(w http.ResponseWriter, t *turn, which string) (*removePage, *idp.OwnFactors) {
	own, err := ui.provider.OwnFactors(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return nil, nil
	}
	list := own.Passkeys
	if own.App != nil {
		list = append(slices.Clone(list), *own.App)
	}
	p := &removePage{frame: ui.accountFrame(w, t.r), Last: true, Back: twoStepPath}
	for i := range list {
		switch x := &list[i]; {
		case x.ID.String() == which:
			p.Factor = ui.ownFactor(p.frame, x)
		case x.DisabledAt == nil:
			p.Last = false
		}
	}
	if p.Factor.ID == "" {
		ui.NotFound(w, t.r)
		return nil, nil
	}
	p.Last = p.Last && !p.Factor.Disabled
	if p.Factor.Passkey {
		p.Back = passkeysPath
	}
	return p, &own
}

func (ui *UI) showRemove(w http.ResponseWriter, t *turn, status int, p *removePage) {
	t.step = stepRemove
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

func (ui *UI) removeFactor(w http.ResponseWriter, t *turn, which string) {
	p, own := ui.removePage(w, t, which)
	if p == nil {
		return
	}
	id, err := idp.ParseID(which)
	if err != nil {
		ui.NotFound(w, t.r)
		return
	}
	left, err := ui.provider.RemoveFactor(t.r.Context(), t.visit, id)
	t = t.moved(t.r, t.visit, removePath)
	t.settle(w, p.frame, err, url.Values{"factor": {which}}, func() {
		ui.cookies.keepSession(w, left, ui.now())
		notice := "factor_removed"
		if p.Last {
			notice = "two_step_off"
		}
		if p.Factor.Passkey {
			ui.cookies.keepHandle(w, t.visit.User.ID, own.Handle)
		}
		ui.notify(w, notice, p.Back)
	}, func(status int) {
		switch p.first().Code {
		case "factor_required":
			p.Ways = p.ways(addPasskeyPath, "passkeys.add", twoStepPath, "twostep.other")
		case "last_way_in":
			p.Ways = p.ways(passwordPath, "password.title.first", addPasskeyPath, "twostep.remove.first")
		}
		ui.showRemove(w, t, status, p)
	})
}

// ways are pairs of a page and the text that leads there.
func (f *frame) ways(pairs ...string) []place {
	var list []place
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, place{Path: pairs[i], Title: f.T(pairs[i+1])})
	}
	return list
}

// An appPage sets an authenticator app up.
type appPage struct {
	*frame
	Tx    string
	Setup appSetup
}

func (*appPage) template() string { return "two-step-app.html" }

// StartApp begins to set an authenticator app up.
func (ui *UI) StartApp(w http.ResponseWriter, r *http.Request) {
	t, _ := ui.readOwn(w, r, stepTwoStep)
	switch {
	case t == nil:
	case !t.sealHolds():
		ui.notify(w, "page_outdated", twoStepPath)
	default:
		ui.startApp(w, t, nil)
	}
}

// startApp goes on by itself after a proof of who is here.
func (ui *UI) startApp(w http.ResponseWriter, t *turn, _ url.Values) {
	f := ui.accountFrame(w, t.r)
	err := ui.provider.BeginTOTP(t.r.Context(), t.visit)
	t.settle(w, f, err, url.Values{"begin": {"1"}}, func() { seeOther(w, appPath) }, func(status int) {
		t.step = stepTwoStep
		ui.showTwoStep(w, t, status, f.answered())
	})
}

// answered is f for the answer to a form that has no page at its address, or shows what no other answer
// has: choosing a language would ask for the address.
func (f *frame) answered() *frame {
	f.Languages = nil
	return f
}

// ShowApp shows what the app must be told.
func (ui *UI) ShowApp(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepApp); t != nil {
		ui.showApp(w, t, http.StatusOK, nil)
	}
}

// showApp shows that with what is wrong in f, nil for nothing.
func (ui *UI) showApp(w http.ResponseWriter, t *turn, status int, f *frame) {
	setup, err := ui.provider.TOTPSetup(t.r.Context(), t.visit)
	if idp.KindOf(err) == idp.Missing {
		notice := ui.cookies.takeNotice(w, t.r)
		if notice == "" {
			notice = "app_setup_over"
		}
		ui.notify(w, notice, twoStepPath)
		return
	}
	if f == nil {
		f = ui.accountFrame(w, t.r)
	}
	show := func(status int) { ui.showTwoStep(w, t, status, f.answered()) }
	t.settle(w, f, err, nil, func() {
		p := &appPage{frame: f}
		if p.Setup, err = f.appSetup(setup); err != nil {
			ui.ShowFailure(w, t.r, err)
			return
		}
		t.step = stepApp
		if p.Tx = t.seal(w); p.Tx != "" {
			ui.show(w, t.r, status, p)
		}
	}, show)
}

// SubmitApp verifies the app's first code.
func (ui *UI) SubmitApp(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readOwn(w, onPage(r, appPath), stepApp, "code")
	if t == nil {
		return
	}
	if !t.sealHolds() {
		ui.notify(w, "page_outdated", appPath)
		return
	}
	f := ui.accountFrame(w, t.r).answered()
	if form.Get("code") == "" {
		f.fail("code_missing", "code")
		ui.showApp(w, t, http.StatusBadRequest, f)
		return
	}
	first := !t.visit.User.HasFactor()
	enrolled, err := ui.provider.ConfirmTOTP(t.r.Context(), t.in, t.visit, form.Get("code"))
	if idp.KindOf(err) == idp.Missing {
		ui.showApp(w, t, http.StatusBadRequest, f) // which tells that it took too long
		return
	}
	if err != nil {
		err = besideCode(errorOf(err))
	}
	t.settle(w, f, err, nil, func() { ui.added(w, t, enrolled, first, "app_on", twoStepPath) },
		func(status int) { ui.showApp(w, t, status, f) })
}

// added keeps the session that a new factor was added in, and shows the recovery codes that came with it,
// or goes to a page that says so.
func (ui *UI) added(w http.ResponseWriter, t *turn, in idp.Enrolled, first bool, notice, to string) {
	ui.cookies.keepSession(w, in.SignedIn, ui.now())
	ui.cookies.keepDevice(w, t.r, in.Device)
	if in.RecoveryCodes == nil {
		ui.notify(w, notice, to)
		return
	}
	ui.showCodes(w, t, &in.User, in.RecoveryCodes, first, to)
}
