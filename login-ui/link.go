package loginui

import (
	"context"
	"net/http"

	"postern/idp"
)

// A linkPage is what a mailed link opens: it says what its button does. To open it changes nothing,
// since programs open the links of mails as well.
type linkPage struct {
	*frame
	Tx      string
	Path    string // that the form is sent to
	Ticket  string // its parameter ticket, "" where the path has the token
	Title   string
	Body    string
	Hint    string // "" for none
	Address string // that it is about, "" for none
	Submit  string
}

func (*linkPage) template() string { return "link.html" }

// A linkOverPage tells that a link has nothing left to do, and what does.
type linkOverPage struct {
	*frame
	Title string
	Body  string
	Again string // an address of ours, of what to do in its place
	Label string
}

func (*linkOverPage) template() string { return "link-over.html" }

// A linkKind is a kind of mailed links.
type linkKind struct {
	name    string // of its texts: link.NAME.title, body, submit, over and again
	purpose idp.Purpose
	again   string // where to go if it is over
	notice  string // what is told when it is done
	then    string // where that is told
}

// The kinds of links.
const (
	linkVerify = iota
	linkReset
	linkNotMe
	linkUndelete
	linkRevert
)

var linkKinds = [...]linkKind{
	linkVerify:   {"verify", idp.ForAddress, "/login", "address_verified", accountPath},
	linkReset:    {"reset", idp.ForReset, "/reset", "", ""},
	linkNotMe:    {"not_me", idp.ForAlarm, "/reset", "secured", "/reset"},
	linkUndelete: {"undelete", idp.ForUndelete, "/login", "account_kept", accountPath},
	linkRevert:   {"revert", idp.ForRevert, "/reset", "email_reverted", "/reset"},
}

// ShowVerifyLink asks whether to confirm an address.
func (ui *UI) ShowVerifyLink(w http.ResponseWriter, r *http.Request) {
	ui.showLink(w, r, &linkKinds[linkVerify])
}

// ShowNotMe asks whether to end a session that somebody else began.
func (ui *UI) ShowNotMe(w http.ResponseWriter, r *http.Request) {
	ui.showLink(w, r, &linkKinds[linkNotMe])
}

// ShowUndelete asks whether to keep an account that was to be deleted.
func (ui *UI) ShowUndelete(w http.ResponseWriter, r *http.Request) {
	ui.showLink(w, r, &linkKinds[linkUndelete])
}

// ShowRevert asks whether to undo the change of an address.
func (ui *UI) ShowRevert(w http.ResponseWriter, r *http.Request) {
	ui.showLink(w, r, &linkKinds[linkRevert])
}

// SubmitNotMe ends that session.
func (ui *UI) SubmitNotMe(w http.ResponseWriter, r *http.Request) {
	ui.submitLink(w, r, &linkKinds[linkNotMe], ui.provider.WasNotMe)
}

// SubmitUndelete keeps that account.
func (ui *UI) SubmitUndelete(w http.ResponseWriter, r *http.Request) {
	ui.submitLink(w, r, &linkKinds[linkUndelete], ui.provider.Undelete)
}

// SubmitRevert undoes that change.
func (ui *UI) SubmitRevert(w http.ResponseWriter, r *http.Request) {
	ui.submitLink(w, r, &linkKinds[linkRevert], ui.provider.RevertEmail)
}

// ticketOf is the token of a link's address. A missing one is as good as one that is over.
func ticketOf(r *http.Request) string {
	token := r.PathValue("token")
	if token == "" {
		token = r.URL.Query().Get("ticket")
	}
	return clip(token, maxFieldBytes)
}

// linkTurn is the turn of a link's page. It needs no interaction, since the link is all that
// somebody has; the tx of its form says that the form is ours and of this browser.
func (ui *UI) linkTurn(w http.ResponseWriter, r *http.Request) *turn {
	if !r.URL.Query().Has("tx") {
		return ui.turn(w, r, ui.provider.BeginOwn(accountPath), stepLink)
	}
	in, err := ui.opened(r)
	if idp.KindOf(err) == idp.Stale {
		// The page is shown anew: nothing of the former one is needed.
		t := ui.turn(w, r, ui.provider.BeginOwn(accountPath), stepLink)
		if t != nil {
			t.late = idp.CodeOf(err) == "interaction_expired"
		}
		return t
	}
	if err != nil {
		ui.ShowFailure(w, r, err)
		return nil
	}
	return ui.turn(w, r, in, stepLink)
}

func (ui *UI) showLink(w http.ResponseWriter, r *http.Request, kind *linkKind) {
	t := ui.linkTurn(w, r)
	if t == nil {
		return
	}
	link, err := ui.provider.OpenLink(r.Context(), kind.purpose, ticketOf(r))
	switch {
	case err != nil:
		ui.refuseLink(w, t, kind, err)
	case link.Confirmed:
		ui.show(w, r, http.StatusOK, confirmedPageOf(t.frame(), t.visit))
	default:
		ui.showLinkPage(w, t, http.StatusOK, ui.linkPage(t, kind, link))
	}
}

func (ui *UI) linkPage(t *turn, kind *linkKind, link idp.Link) *linkPage {
	p := linkPageOf(t.frame(), kind, link)
	p.Path, p.Ticket = t.r.URL.EscapedPath(), t.r.URL.Query().Get("ticket")
	return p
}

// linkPageOf is the page of a link in words.
func linkPageOf(f *frame, kind *linkKind, link idp.Link) *linkPage {
	p := &linkPage{
		frame: f, Address: link.Address, Title: f.T("link." + kind.name + ".title"),
		Body: f.T("link."+kind.name+".body", "instance", f.Instance), Submit: f.T("link." + kind.name + ".submit"),
	}
	p.isolated = true
	if kind == &linkKinds[linkVerify] && !link.SameBrowser {
		p.Hint = f.T("link.verify.elsewhere")
		if link.Username != "" { // it may be the account of a stranger, with this address
			p.Body = f.T("link.verify.account", "username", link.Username, "instance", f.Instance)
		}
	}
	return p
}

func (ui *UI) showLinkPage(w http.ResponseWriter, t *turn, status int, p *linkPage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// refuseLink answers a link that does not work any more.
func (ui *UI) refuseLink(w http.ResponseWriter, t *turn, kind *linkKind, err error) {
	e := errorOf(err)
	if e.Code != "link_over" {
		ui.turnAway(w, t.r, t.frame(), err)
		return
	}
	p := linkOverPageOf(t.frame(), kind)
	status := ui.explain(w, t.r, p.frame, e)
	ui.show(w, t.r, status, p)
}

// linkOverPageOf is the page of a link that is over, in words.
func linkOverPageOf(f *frame, kind *linkKind) *linkOverPage {
	f.isolated = true
	return &linkOverPage{
		frame: f, Title: f.T("link.over.title"), Body: f.T("link." + kind.name + ".over"),
		Again: kind.again, Label: f.T("link." + kind.name + ".again"),
	}
}

// confirmedPageOf is the page of a link that confirmed its address before. visit is whose browser it
// is, nil for nobody's; the link itself signs nobody in.
func confirmedPageOf(f *frame, visit *idp.Visit) *linkOverPage {
	f.isolated = true
	p := &linkOverPage{
		frame: f, Title: f.T("link.verify.confirmed.title"), Body: f.T("link.verify.confirmed"),
		Again: "/login", Label: f.T("login.submit"),
	}
	if visit != nil {
		p.Again, p.Label = accountPath, f.T("account.title")
	}
	return p
}

// submitted is what the link of a form is for. Where the form does not hold it has shown the page
// anew, and where the link is over it has told so: then ok is false.
func (ui *UI) submitted(w http.ResponseWriter, r *http.Request, kind *linkKind) (t *turn, link idp.Link, ok bool) {
	if r, _, ok = ui.readForm(w, r); !ok {
		return nil, link, false
	}
	if t = ui.linkTurn(w, r); t == nil {
		return nil, link, false
	}
	link, err := ui.provider.OpenLink(r.Context(), kind.purpose, ticketOf(r))
	switch {
	case err != nil:
		ui.refuseLink(w, t, kind, err)
		return t, link, false
	case link.Confirmed:
		ui.show(w, r, http.StatusOK, confirmedPageOf(t.frame(), t.visit))
		return t, link, false
	case !t.holds():
		p := ui.linkPage(t, kind, link)
		p.Notice = t.stale()
		ui.showLinkPage(w, t, http.StatusBadRequest, p)
		return t, link, false
	}
	return t, link, true
}

func (ui *UI) submitLink(w http.ResponseWriter, r *http.Request, kind *linkKind, deed func(context.Context, string) error) {
	t, _, ok := ui.submitted(w, r, kind)
	if !ok {
		return
	}
	if err := deed(t.r.Context(), ticketOf(t.r)); err != nil {
		ui.refuseLink(w, t, kind, err)
		return
	}
	ui.cookies.keepNotice(w, kind.notice)
	if kind.then == accountPath {
		ui.begin(w, t.r, accountPath) // by way of a sign-in
		return
	}
	seeOther(w, kind.then)
}

// SubmitVerifyLink confirms an address. The browser that asked for an account is signed in, and
// goes on to where it wanted to go; any other one is asked to sign in.
func (ui *UI) SubmitVerifyLink(w http.ResponseWriter, r *http.Request) {
	kind := &linkKinds[linkVerify]
	t, link, ok := ui.submitted(w, r, kind)
	if !ok {
		return
	}
	signedIn, err := ui.provider.VerifyLink(t.r.Context(), ticketOf(t.r))
	if err != nil {
		ui.refuseLink(w, t, kind, err)
		return
	}
	to := kind.then
	if link.SameBrowser && localPath(link.Return) != "" {
		to = link.Return
	}
	if signedIn.Session.ID.IsZero() {
		ui.cookies.keepNotice(w, kind.notice)
		ui.begin(w, t.r, accountPath)
		return
	}
	ui.cookies.keepSession(w, signedIn, ui.now())
	ui.cookies.keepDevice(w, t.r, signedIn.Device)
	seeOther(w, to)
}

// noticeOf is the notice of what was done, once; nil for none.
func (ui *UI) noticeOf(w http.ResponseWriter, r *http.Request, f *frame) *message {
	code := ui.cookies.takeNotice(w, r)
	if code == "" || !ui.texts.has("notice."+code) {
		return nil
	}
	return &message{Code: code, Text: f.T("notice." + code)}
}
