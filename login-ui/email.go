package loginui

import (
	"net/http"
	"net/url"
	"strings"

	"postern/idp"
)

// The steps of the forms about somebody's addresses.
const (
	stepEmails    idp.Step = "emails"
	stepAddEmail  idp.Step = "add_email"
	stepEmailCode idp.Step = "email_code"
)

// An emailsPage lists somebody's addresses.
type emailsPage struct {
	*frame
	Tx     string
	Emails []ownEmail
}

func (*emailsPage) template() string { return "emails.html" }

// An ownEmail is a line of that list.
type ownEmail struct {
	ID       string
	Address  string
	Primary  bool
	Verified bool
}

// An addEmailPage asks for an address to add.
type addEmailPage struct {
	*frame
	Tx    string
	Email string
}

func (*addEmailPage) template() string { return "email-add.html" }

// An emailCodePage asks for the code that was mailed to an address.
type emailCodePage struct {
	*frame
	Tx    string
	Email string
}

func (*emailCodePage) template() string { return "email-code.html" }

// ShowEmails lists the addresses of whoever is signed in.
func (ui *UI) ShowEmails(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepEmails); t != nil {
		ui.showEmails(w, t, http.StatusOK, ui.accountFrame(w, r))
	}
}

func (ui *UI) showEmails(w http.ResponseWriter, t *turn, status int, f *frame) {
	list, err := ui.provider.Emails(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	p := &emailsPage{frame: f}
	for i := range list {
		e := &list[i]
		p.Emails = append(p.Emails, ownEmail{e.ID.String(), e.Address, e.Primary, e.VerifiedAt != nil})
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitEmails confirms an address, makes it the primary one or removes it.
func (ui *UI) SubmitEmails(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepEmails, "confirm", "primary", "remove")
	if t == nil {
		return
	}
	deed, notice := ui.provider.MakePrimary, "email_primary"
	which := form.Get("primary")
	if form.Has("remove") {
		deed, notice, which = ui.provider.RemoveEmail, "email_removed", form.Get("remove")
	}
	if form.Has("confirm") {
		ui.addEmail(w, t, url.Values{"email": form["confirm"]})
		return
	}
	id, err := idp.ParseID(which)
	if err != nil {
		ui.NotFound(w, r)
		return
	}
	f := ui.accountFrame(w, t.r)
	err = deed(t.r.Context(), t.visit, id)
	t.settle(w, f, err, form, func() { ui.notify(w, notice, emailsPath) },
		func(status int) {
			f.unfielded()
			ui.showEmails(w, t, status, f)
		})
}

// ShowAddEmail shows the form that adds an address.
func (ui *UI) ShowAddEmail(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepAddEmail); t != nil {
		ui.showAddEmail(w, t, http.StatusOK, &addEmailPage{frame: ui.accountFrame(w, r)})
	}
}

func (ui *UI) showAddEmail(w http.ResponseWriter, t *turn, status int, p *addEmailPage) {
	t.step = stepAddEmail
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitAddEmail mails a code to an address that is to be added.
func (ui *UI) SubmitAddEmail(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readOwn(w, r, stepAddEmail, "email")
	if t == nil {
		return
	}
	p := &addEmailPage{frame: ui.accountFrame(w, t.r), Email: strings.TrimSpace(form.Get("email"))}
	switch {
	case !t.sealHolds():
		p.Notice = t.outdated()
	case p.Email == "":
		p.fail("email_missing", "email")
	default:
		ui.addEmail(w, t, form)
		return
	}
	ui.showAddEmail(w, t, http.StatusBadRequest, p)
}

// addEmail mails a code to the address of the form, and leads to where it is entered.
func (ui *UI) addEmail(w http.ResponseWriter, t *turn, form url.Values) {
	t = t.moved(t.r, t.visit, addEmailPath) // whichever button mailed
	address := strings.TrimSpace(form.Get("email"))
	p := &addEmailPage{frame: ui.accountFrame(w, t.r), Email: address}
	in := ui.provider.BeginOwn(emailCodePath + "?email=" + url.QueryEscape(address))
	err := ui.provider.AddEmail(t.r.Context(), t.visit, in, address)
	t.settle(w, p.frame, err, url.Values{"email": {address}}, func() {
		in.Show(stepEmailCode, t.visit, idp.Shown{})
		tx, err := ui.provider.Seal(t.r.Context(), in)
		if err != nil {
			ui.ShowFailure(w, t.r, err)
			return
		}
		seeOther(w, emailCodePath+"?tx="+url.QueryEscape(tx))
	}, func(status int) { ui.showAddEmail(w, t, status, p) })
}

// codeTurn is the turn of the page that takes a code, with the address that it was mailed to; nil
// where it has answered.
func (ui *UI) codeTurn(w http.ResponseWriter, r *http.Request) (*turn, string) {
	t := ui.own(w, r, stepEmailCode)
	if t == nil {
		return nil, ""
	}
	in, err := ui.opened(r)
	if err != nil || in.Ticket.IsZero() || !in.Holds(stepEmailCode, t.visit, idp.Shown{}) {
		ui.notify(w, "page_outdated", emailsPath)
		return nil, ""
	}
	t.in = in
	to, err := url.Parse(in.Request.Return)
	if err != nil {
		ui.ShowFailure(w, r, err)
		return nil, ""
	}
	return t, to.Query().Get("email")
}

// ShowEmailCode asks for the code that was mailed.
func (ui *UI) ShowEmailCode(w http.ResponseWriter, r *http.Request) {
	if t, address := ui.codeTurn(w, r); t != nil {
		ui.showEmailCode(w, t, http.StatusOK, &emailCodePage{frame: ui.accountFrame(w, r), Email: address})
	}
}

func (ui *UI) showEmailCode(w http.ResponseWriter, t *turn, status int, p *emailCodePage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitEmailCode takes the code, or mails a new one.
func (ui *UI) SubmitEmailCode(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "code", "resend")
	if !ok {
		return
	}
	t, address := ui.codeTurn(w, r)
	if t == nil {
		return
	}
	if form.Has("resend") {
		ui.addEmail(w, t, url.Values{"email": {address}})
		return
	}
	p := &emailCodePage{frame: ui.accountFrame(w, r), Email: address}
	code := typedCode(form.Get("code"))
	if code == "" {
		p.fail("code_missing", "code")
		ui.showEmailCode(w, t, http.StatusBadRequest, p)
		return
	}
	err := ui.provider.VerifyOwnEmail(r.Context(), t.visit, t.in, code)
	if idp.CodeOf(err) == "code_over" {
		ui.notify(w, "email_code_over", emailsPath)
		return
	}
	t.settle(w, p.frame, err, nil, func() { ui.notify(w, "email_verified", emailsPath) },
		func(status int) {
			if p.ErrorOf("code") == nil {
				p.unfielded()
			}
			ui.showEmailCode(w, t, status, p)
		})
}
