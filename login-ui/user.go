package loginui

import (
	"net/http"
	"time"

	"postern/idp"
)

// accountPath is where a person is at home.
const accountPath = "/account"

// An accountPage is the overview of somebody's account.
type accountPage struct {
	*frame
	Person        *person
	Username      string
	EmailVerified bool
	SignedInAt    time.Time
	EndsAt        time.Time
	Remembered    bool
}

func (*accountPage) template() string { return "account.html" }

// ShowAccount shows who is signed in.
func (ui *UI) ShowAccount(w http.ResponseWriter, r *http.Request) {
	visit := ui.signedIn(w, r)
	if visit == nil {
		return
	}
	p := &accountPage{
		frame: ui.frame(r), Person: personOf(&visit.User), Username: visit.User.Username,
		EmailVerified: visit.User.EmailVerified, SignedInAt: visit.Session.AuthTime(),
		EndsAt: visit.Session.EndsAt, Remembered: visit.Session.Remembered,
	}
	p.isolated, p.Wide = true, true
	if code := ui.cookies.takeNotice(w, r); code != "" && ui.texts.has("notice."+code) {
		p.Notice = &message{Code: code, Text: p.T("notice." + code)}
	}
	ui.show(w, r, http.StatusOK, p)
}

// signedIn is the session of the browser. Where nobody is signed in it has sent the browser through
// a sign-in that leads back, and returns nil.
func (ui *UI) signedIn(w http.ResponseWriter, r *http.Request) *idp.Visit {
	visit, err := ui.visit(r, "")
	if err != nil {
		ui.ShowFailure(w, r, err)
		return nil
	}
	if visit == nil {
		ui.begin(w, r, r.URL.Path)
	}
	return visit
}
