package loginui

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern/idp"
)

// The pages of an account.
const (
	accountPath    = "/account"
	profilePath    = "/account/profile"
	emailsPath     = "/account/emails"
	addEmailPath   = "/account/emails/add"
	emailCodePath  = "/account/emails/code"
	passwordPath   = "/account/password"
	sessionsPath   = "/account/sessions"
	appsPath       = "/account/apps"
	activityPath   = "/account/activity"
	appearancePath = "/account/appearance"
	dataPath       = "/account/data"
	deletePath     = "/account/delete"
	deletedPath    = "/account/deleted"
	sudoPath       = "/account/reauthenticate"
)

// An accountPage is the overview of somebody's account.
type accountPage struct {
	*frame
	Person     *person
	Username   string
	SignedInAt time.Time
	EndsAt     time.Time
	Remembered bool
	Checks     []check
	Places     []place
}

func (*accountPage) template() string { return "account.html" }

// A check is a line of the security checklist.
type check struct {
	Code  string // in data-check
	Fine  bool
	Text  string
	Where string // the page that mends it
	Link  string // its words
}

// A place is a page of the account, as the overview names it.
type place struct{ Path, Title, About string }

// ShowAccount shows who is signed in, what they should look after, and where.
func (ui *UI) ShowAccount(w http.ResponseWriter, r *http.Request) {
	visit := ui.signedIn(w, r)
	if visit == nil {
		return
	}
	list, err := ui.provider.Checklist(r.Context(), visit)
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	f := ui.accountFrame(w, r)
	policy, _ := ui.provider.FactorPolicyOf(&visit.User)
	checks := slices.DeleteFunc(f.checks(visit, list), func(c check) bool {
		// What nobody can mend is no advice.
		off := policy == idp.FactorsOff
		return !c.Fine && (c.Code == "twostep" && off || c.Code == "passkey" && (off || ui.provider.PasskeyRPID() == ""))
	})
	ui.show(w, r, http.StatusOK, &accountPage{
		frame: f, Person: personOf(&visit.User), Username: visit.User.Username,
		SignedInAt: visit.Session.AuthTime(), EndsAt: visit.Session.EndsAt, Remembered: visit.Session.Remembered,
		Checks: checks, Places: f.places(),
	})
}

// checks puts the checklist into words.
func (f *frame) checks(v *idp.Visit, list idp.Checklist) []check {
	line := func(code string, fine bool, where string, args ...any) check {
		key := "account.check." + code
		if !fine {
			key += ".bad"
		}
		return check{code, fine, f.T(key, args...), where, f.T("account.check." + code + ".link")}
	}
	email := line("email", list.EmailVerified, emailsPath)
	if v.User.Email == "" {
		email.Text = f.T("account.check.email.none")
	}
	lines := []check{email, line("passkey", list.HasPasskey, addPasskeyPath), line("twostep", list.HasFactor, twoStepPath)}
	if list.HasFactor {
		lines = append(lines, line("recovery", list.RecoveryLeft > fewCodes, codesPath, "count", list.RecoveryLeft))
	}
	if list.HasPassword || !list.HasPasskey {
		lines = append(lines, line("password", list.HasPassword, passwordPath))
	}
	return append(lines,
		line("sessions", list.OtherSessions == 0, sessionsPath, "count", list.OtherSessions),
		line("devices", list.UnknownDevices == 0, activityPath, "count", list.UnknownDevices),
	)
}

// places lists the pages of the account.
func (f *frame) places() []place {
	var list []place
	for _, p := range []struct{ path, key string }{
		{profilePath, "profile"}, {emailsPath, "emails"}, {passwordPath, "password"}, {passkeysPath, "passkeys"},
		{twoStepPath, "two-step"}, {codesPath, "recovery-codes"}, {sessionsPath, "sessions"},
		{appsPath, "apps"}, {activityPath, "activity"}, {appearancePath, "appearance"}, {dataPath, "data"}, {deletePath, "delete"},
	} {
		list = append(list, place{p.path, f.T("account.to." + p.key), f.T("account.to." + p.key + ".about")})
	}
	return list
}

// accountFrame is the frame of a page of the account, with the notice of what was done before.
func (ui *UI) accountFrame(w http.ResponseWriter, r *http.Request) *frame {
	f := ui.frame(r)
	f.isolated, f.Wide = true, true
	if r.Method != http.MethodGet {
		return f
	}
	f.Notice = ui.noticeOf(w, r, f)
	return f
}

// signedIn is the session of the browser. Where nobody is signed in, or where they owe a step, it has
// sent the browser through a sign-in that leads back, and returns nil.
func (ui *UI) signedIn(w http.ResponseWriter, r *http.Request) *idp.Visit {
	visit, err := ui.visit(r, "")
	if err != nil {
		ui.ShowFailure(w, r, err)
		return nil
	}
	in := ui.provider.BeginOwn(r.URL.Path)
	if visit == nil || idp.NextStep(in, visit, ui.provider.PolicyFor(nil), ui.now()).Step != idp.NoStep {
		ui.dispatch(w, r, in)
		return nil
	}
	return visit
}

// own is the turn of a page of the account of whoever is signed in, nil where it has answered.
func (ui *UI) own(w http.ResponseWriter, r *http.Request, step idp.Step) *turn {
	visit := ui.signedIn(w, r)
	if visit == nil {
		return nil
	}
	return ui.ownTurn(r, visit, step)
}

// readOwn reads a form of the account. The turn is nil where it has answered.
func (ui *UI) readOwn(w http.ResponseWriter, r *http.Request, step idp.Step, fields ...string) (*turn, url.Values) {
	r, form, ok := ui.readForm(w, r, fields...)
	if !ok {
		return nil, nil
	}
	return ui.own(w, r, step), form
}

// readList reads a form of buttons, which loses nothing where its page was outdated and is shown
// anew. The turn is nil where it has answered.
func (ui *UI) readList(w http.ResponseWriter, r *http.Request, step idp.Step, fields ...string) (*turn, url.Values) {
	t, form := ui.readOwn(w, r, step, fields...)
	if t != nil && !t.sealHolds() {
		ui.notify(w, "page_outdated", r.URL.Path)
		return nil, nil
	}
	return t, form
}

// notify sends the browser to a page of the account, which shows a notice.
func (ui *UI) notify(w http.ResponseWriter, code, to string) {
	ui.cookies.keepNotice(w, code)
	seeOther(w, to)
}

// unfielded takes the errors of f from their fields, for a page that has none.
func (f *frame) unfielded() {
	for i := range f.Errors {
		f.Errors[i].Field = ""
	}
}

// settle answers a form of the account whose deed returned err: by done where it was done, by
// asking for a proof of who is here where it wants a fresh one, which goes on with `form`, and by
// show, with what is wrong in f, where the person can mend it.
func (t *turn) settle(w http.ResponseWriter, f *frame, err error, form url.Values, done func(), show func(status int)) {
	switch e := errorOf(err); {
	case err == nil:
		done()
	case e.Code == "reauthenticate":
		t.suspend(w, form)
	case e.Kind == idp.Stale:
		// The session or the user changed at the same moment: the page tells what is left.
		t.ui.notify(w, "page_outdated", t.r.URL.Path)
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		t.ui.turnAway(w, t.r, f, err)
	case e.Kind == idp.Missing:
		t.ui.NotFound(w, t.r)
	default:
		show(t.ui.explain(w, t.r, f, e))
	}
}
