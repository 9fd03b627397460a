package loginui

import (
	"net/http"
	"slices"
	"strings"
	"unicode"

	"postern/idp"
)

// A codePage asks for a code that was mailed, or for the link to be opened in place of it.
type codePage struct {
	*frame
	Tx     string
	Party  *party
	Person *person // who must prove their address, nil for a sign-up
	Mailed string  // where the mail went to, as it was typed; "" where nobody knows
	Sent   bool    // whether there is a mail to wait for
	ByLink bool    // whether it has a link and no code
	Over   bool    // whether its code takes no more guesses
	Off    bool    // whether no mail can be sent, so that only whoever runs the instance can help
}

func (*codePage) template() string { return "verify.html" }

// ShowVerify asks for the code that proves an address, of a sign-up or of whoever is signing in.
func (ui *UI) ShowVerify(w http.ResponseWriter, r *http.Request) {
	t := ui.verifyTurn(w, r)
	if t == nil {
		return
	}
	p := ui.verifyPage(t)
	p.Notice = ui.noticeOf(w, r, p.frame)
	if p.Notice == nil && t.late {
		p.Notice = t.stale()
	}
	ui.showVerify(w, t, http.StatusOK, p)
}

// verifyTurn is the turn of the page, nil where nothing waits for a code: then it has answered.
func (ui *UI) verifyTurn(w http.ResponseWriter, r *http.Request) *turn {
	t := ui.enter(w, r, idp.StepVerify)
	switch {
	case t == nil:
		return nil
	case t.verifier() != nil:
		return t
	case t.in.Ticket.IsZero() || !t.mayJoin() && !t.asksForAccount():
		t.done(w)
		return nil
	}
	return t
}

// asksForAccount tells whether the request wants a new account, whoever is signed in, and there is
// none yet.
func (t *turn) asksForAccount() bool {
	return slices.Contains(t.in.Request.Prompts, "create") && t.in.Authenticated.IsZero()
}

// verifier is who owes the proof of an address, nil for a sign-up.
func (t *turn) verifier() *idp.Visit {
	if t.visit != nil && t.next() == idp.StepVerify {
		return t.visit
	}
	return nil
}

func (ui *UI) verifyPage(t *turn) *codePage {
	p := &codePage{
		frame: t.frame(), Party: t.party(), Mailed: t.in.Mailed, Sent: !t.in.Ticket.IsZero(),
		ByLink: !ui.cfg.Email.VerificationByCode,
	}
	if v := t.verifier(); v != nil {
		p.Person, p.Mailed, p.Off = personOf(&v.User), v.User.Email, !ui.mails()
	}
	return p
}

func (ui *UI) showVerify(w http.ResponseWriter, t *turn, status int, p *codePage) {
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitVerify takes the code, mails another one, or lets a sign-up start over.
func (ui *UI) SubmitVerify(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "code", "resend", "restart")
	if !ok {
		return
	}
	t := ui.verifyTurn(w, r)
	if t == nil {
		return
	}
	p := ui.verifyPage(t)
	code := typedCode(form.Get("code"))
	switch {
	case !t.holds():
		p.Notice = t.stale()
		ui.showVerify(w, t, http.StatusBadRequest, p)
	case form.Get("restart") != "" && p.Person == nil:
		t.forget()
		t.on(w, "/signup")
	case form.Get("resend") != "":
		ui.resend(w, t, p)
	case code == "":
		p.fail("code_missing", "code")
		ui.showVerify(w, t, http.StatusBadRequest, p)
	default:
		ui.verify(w, t, p, code)
	}
}

// typedCode is a code as it was typed, without the spaces and hyphens that people put in.
func typedCode(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.Is(unicode.Pd, c) {
			return -1
		}
		return c
	}, text)
}

// resend mails another code. One that was sent a moment ago is told so: it is no failure of theirs.
func (ui *UI) resend(w http.ResponseWriter, t *turn, p *codePage) {
	err := ui.provider.SendCode(t.r.Context(), t.in, t.verifier())
	switch e := errorOf(err); {
	case err == nil:
		ui.cookies.keepNotice(w, "code_sent")
		t.on(w, "/verify")
	case e.Kind == idp.Throttled:
		ui.logFailure(t.r, statusOf(e), e)
		setRetryAfter(w, e)
		p.Notice = &message{Code: e.Code, Text: p.T("verify.recent", "span", p.span(e.RetryAfter))}
		ui.showVerify(w, t, statusOf(e), p)
	default:
		ui.refuseCode(w, t, p, err, ui.showVerify)
	}
}

func (ui *UI) verify(w http.ResponseWriter, t *turn, p *codePage, code string) {
	signedIn, err := ui.provider.VerifyCode(t.r.Context(), t.in, t.verifier(), code)
	if err != nil {
		ui.refuseCode(w, t, p, err, ui.showVerify)
		return
	}
	t.forget()
	if signedIn.Session.ID.IsZero() {
		t.done(w)
		return
	}
	ui.welcome(w, t, signedIn)
}

// refuseCode answers a code that was refused, on the page that asked for it.
func (ui *UI) refuseCode(w http.ResponseWriter, t *turn, p *codePage, err error, show func(http.ResponseWriter, *turn, int, *codePage)) {
	e := errorOf(err)
	switch {
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
		return
	case e.Kind == idp.Stale, e.Code == "email_verified":
		// Another tab did it: the dispatcher knows what is left.
		t.done(w)
		return
	case e.Code == "code_wrong":
		e = beside(e, "code")
	case e.Code == "code_over":
		e, p.Over = beside(e, ""), true // the field is gone
	}
	show(w, t, ui.explain(w, t.r, p.frame, e), p)
}

// beside is e with all that is wrong beside one field.
func beside(e *idp.Error, field string) *idp.Error {
	moved := *e
	moved.Field, moved.More = field, nil
	for _, more := range e.More {
		moved.More = append(moved.More, beside(more, field))
	}
	return &moved
}
