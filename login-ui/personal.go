package loginui

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/idp"
)

// The steps of the forms that hand out what is kept of somebody, and delete it.
const (
	stepData   idp.Step = "data"
	stepDelete idp.Step = "delete"
)

// A dataPage offers what is kept of somebody.
type dataPage struct {
	*frame
	Tx string
}

func (*dataPage) template() string { return "data.html" }

// ShowData shows the form that downloads what is kept of whoever is signed in.
func (ui *UI) ShowData(w http.ResponseWriter, r *http.Request) {
	t := ui.own(w, r, stepData)
	if t == nil {
		return
	}
	p := &dataPage{frame: ui.accountFrame(w, r)}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, r, http.StatusOK, p)
	}
}

// SubmitData answers with all that is kept, as a file.
func (ui *UI) SubmitData(w http.ResponseWriter, r *http.Request) {
	t, _ := ui.readList(w, r, stepData)
	if t == nil {
		return
	}
	f := ui.accountFrame(w, t.r)
	data, err := ui.provider.Personal(t.r.Context(), t.visit)
	t.settle(w, f, err, nil, func() { ui.sendData(w, t, data) },
		func(int) { ui.ShowFailure(w, t.r, err) })
}

func (ui *UI) sendData(w http.ResponseWriter, t *turn, data map[string]any) {
	content, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	ui.secure(w.Header(), &frame{isolated: true})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", `attachment; filename="account-`+ui.now().Format("2006-01-02")+`.json"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) // the browser left
}

// A deletePage asks somebody whether to delete their account.
type deletePage struct {
	*frame
	Tx       string
	Person   *person
	Username string
	Days     int  // for which it can be brought back
	Mailed   bool // whether a link that does so can be mailed
}

func (*deletePage) template() string { return "delete.html" }

// ShowDelete tells what deleting an account means, and asks for it.
func (ui *UI) ShowDelete(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepDelete); t != nil {
		ui.showDelete(w, t, http.StatusOK, ui.deletePage(w, t))
	}
}

func (ui *UI) deletePage(w http.ResponseWriter, t *turn) *deletePage {
	return &deletePage{
		frame: ui.accountFrame(w, t.r), Person: personOf(&t.visit.User), Username: t.visit.User.Username, Days: ui.graceDays(),
		Mailed: ui.mails() && t.visit.User.EmailVerified,
	}
}

// graceDays are the whole days of account.delete_grace.
func (ui *UI) graceDays() int { return int(ui.cfg.Account.DeleteGrace / (24 * time.Hour)) }

func (ui *UI) showDelete(w http.ResponseWriter, t *turn, status int, p *deletePage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitDelete deletes the account of who typed its username.
func (ui *UI) SubmitDelete(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepDelete, "confirm")
	if t == nil {
		return
	}
	p := ui.deletePage(w, t)
	if !strings.EqualFold(strings.TrimSpace(form.Get("confirm")), p.Username) {
		p.fail("delete_unconfirmed", "confirm", "username", p.Username)
		ui.showDelete(w, t, http.StatusBadRequest, p)
		return
	}
	_, err := ui.provider.DeleteOwn(t.r.Context(), t.visit)
	// What was typed does not wait: the page asks again.
	t.settle(w, p.frame, err, nil, func() {
		ui.cookies.clear(w, sessionCookie)
		ui.cookies.clear(w, deviceCookie)
		ui.cookies.renewBrowser(w)
		if p.Mailed && p.Days > 0 {
			ui.cookies.keepNotice(w, "deletion_mailed")
		}
		seeOther(w, deletedPath)
	}, func(status int) { ui.showDelete(w, t, status, p) })
}

// A deletedPage says that an account was deleted.
type deletedPage struct {
	*frame
	Days int
}

func (*deletedPage) template() string { return "deleted.html" }

// ShowDeleted says what becomes of an account that was deleted.
func (ui *UI) ShowDeleted(w http.ResponseWriter, r *http.Request) {
	p := &deletedPage{ui.frame(r), ui.graceDays()}
	p.isolated = true
	if p.Days > 0 {
		p.Notice = ui.noticeOf(w, r, p.frame)
	}
	ui.show(w, r, http.StatusOK, p)
}
