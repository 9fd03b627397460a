package loginui

import (
	"net/http"
	"net/url"

	"postern/idp"
)

// stepSudo is the step of proving anew who one is, with a form that waits for it.
const stepSudo idp.Step = "reauthenticate"

// A sudoPage asks who is signed in to prove it.
type sudoPage struct {
	*frame
	Tx          string
	Person      *person
	Purpose     string // what it is for, in words
	HasPassword bool
	Back        string // the page that the form came from
}

func (*sudoPage) template() string { return "reauthenticate.html" }

// resumed are the forms that go on by themselves after the proof. Others are destructive, or lists
// that may have changed: their page is shown again.
var resumed = map[string]func(*UI, http.ResponseWriter, *turn, url.Values){
	profilePath:  (*UI).changeProfile,
	addEmailPath: (*UI).addEmail,
}

// suspend asks who is here to prove it, and then goes on with the form of t. The form waits in the
// address of our own page: sealed, for this browser, this session and this one path (I-6). It has
// no password.
func (t *turn) suspend(w http.ResponseWriter, form url.Values) {
	path := t.r.URL.Path
	to := path
	if len(form) > 0 {
		to += "?" + form.Encode()
	}
	in := t.ui.provider.BeginOwn(to)
	if in.Request.Return != to {
		in = t.ui.provider.BeginOwn(path) // too long to wait there, so it is filled in again
	}
	in.Show(stepSudo, t.visit, idp.Shown{})
	tx, err := t.ui.provider.Seal(t.r.Context(), in)
	if err != nil {
		t.ui.ShowFailure(w, t.r, err)
		return
	}
	seeOther(w, sudoPath+"?tx="+url.QueryEscape(tx))
}

// ShowReauthenticate shows the form that proves who is here.
func (ui *UI) ShowReauthenticate(w http.ResponseWriter, r *http.Request) {
	t := ui.own(w, r, stepSudo)
	if t == nil {
		return
	}
	if t.suspended() == nil {
		ui.notify(w, "page_outdated", accountPath)
		return
	}
	ui.showSudo(w, t, http.StatusOK, ui.sudoPage(t))
}

// suspended is the interaction that waits for a proof of the one who is here, nil for none.
func (t *turn) suspended() *idp.Interaction {
	in, err := t.ui.opened(t.r)
	if err != nil || !in.Holds(stepSudo, t.visit, idp.Shown{}) {
		return nil
	}
	return in
}

func (ui *UI) sudoPage(t *turn) *sudoPage {
	p := &sudoPage{frame: ui.frame(t.r), Tx: t.r.URL.Query().Get("tx"), Person: personOf(&t.visit.User), Back: accountPath}
	p.isolated = true
	p.Purpose = p.T("sudo.for.other")
	if to, err := url.Parse(t.suspended().Request.Return); err == nil {
		p.Back = to.Path
		if key := "sudo.for." + to.Path; ui.texts.has(key) {
			p.Purpose = p.T(key)
		}
	}
	return p
}

func (ui *UI) showSudo(w http.ResponseWriter, t *turn, status int, p *sudoPage) {
	list, err := ui.provider.Checklist(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	p.HasPassword = list.HasPassword
	ui.show(w, t.r, status, p)
}

// SubmitReauthenticate verifies the password and goes on with what waits for it.
func (ui *UI) SubmitReauthenticate(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readOwn(w, r, stepSudo, "password")
	if t == nil {
		return
	}
	in := t.suspended()
	if in == nil {
		ui.notify(w, "page_outdated", accountPath)
		return
	}
	p := ui.sudoPage(t)
	if form.Get("password") == "" {
		p.fail("password_missing", "password")
		ui.showSudo(w, t, http.StatusBadRequest, p)
		return
	}
	signedIn, err := ui.provider.Reauthenticate(t.r.Context(), t.visit, form.Get("password"))
	t.settle(w, p.frame, err, nil, func() {
		ui.cookies.keepSession(w, signedIn, ui.now())
		ui.resume(w, t, signedIn, in.Request.Return)
	}, func(status int) { ui.showSudo(w, t, status, p) })
}

// resume goes on with the form that waited, `to`, in the session that was renewed.
func (ui *UI) resume(w http.ResponseWriter, t *turn, signedIn idp.SignedIn, to string) {
	u, err := url.Parse(to)
	if err != nil {
		seeOther(w, accountPath)
		return
	}
	form := u.Query()
	deed := resumed[u.Path]
	if deed == nil || len(form) == 0 {
		ui.notify(w, "sudo_confirmed", u.Path)
		return
	}
	v := *idp.VisitorFrom(t.r.Context())
	v.Session, v.Path = signedIn.Token, u.Path
	r := t.r.WithContext(idp.WithVisitor(t.r.Context(), &v))
	deed(ui, w, t.moved(r, &idp.Visit{Session: signedIn.Session, User: signedIn.User}, u.Path), form)
}

// moved is a turn of another page of the account, of the browser that sent r.
func (t *turn) moved(r *http.Request, visit *idp.Visit, path string) *turn {
	there := r.WithContext(r.Context())
	there.URL = &url.URL{Path: path}
	return t.ui.ownTurn(there, visit, idp.NoStep)
}
