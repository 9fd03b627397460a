package loginui

import (
	"errors"
	"net/http"
	"net/url"

	"postern/idp"
)

// dispatcher is the one address that knows what comes next in an interaction.
const dispatcher = "/oauth2/authorize"

// The steps of forms outside an authorization request, which carry the same seal (I-6).
const (
	stepLogOut    idp.Step = "log_out"
	stepPassword  idp.Step = "password"
	stepReset     idp.Step = "reset"
	stepResetCode idp.Step = "reset_code"
	stepResetNew  idp.Step = "reset_new"
	stepLogInCode idp.Step = "log_in_code"
	stepEnterCode idp.Step = "enter_code"
	stepLink      idp.Step = "link"
)

// A turn is one request of an End-User within an interaction: what was asked for, who is here, and
// the step that the page at hand is for.
type turn struct {
	ui     *UI
	r      *http.Request
	in     *idp.Interaction
	client *idp.Client // nil for a sign-in of our own
	visit  *idp.Visit  // nil where nobody is signed in
	step   idp.Step
	late   bool // whether the interaction of r had expired, and in is a new one in its place
	// passkeys says that the browser could make a passkey, as its form told.
	passkeys bool
}

// open reads the interaction of r. Where that does not work it has answered, and returns nil.
func (ui *UI) open(w http.ResponseWriter, r *http.Request, step idp.Step) *turn {
	in, err := ui.opened(r)
	if err != nil {
		ui.showStale(w, r, in, err)
		return nil
	}
	return ui.turn(w, r, in, step)
}

// enter reads the interaction of r for a page that can begin at any time: without one it begins one
// of our own, and in place of one that only expired a new one with the same request, which has the
// ticket still that the former waited for. Where it does not work it has answered, and returns nil.
func (ui *UI) enter(w http.ResponseWriter, r *http.Request, step idp.Step) *turn {
	if !r.URL.Query().Has("tx") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return ui.turn(w, r, ui.provider.BeginOwn(accountPath), step)
	}
	in, err := ui.opened(r)
	if err == nil {
		return ui.turn(w, r, in, step)
	}
	fresh := ui.renewed(in, err)
	if fresh == nil {
		ui.showStale(w, r, in, err)
		return nil
	}
	if step != stepEnterCode { // of which the whole sign-in has an end
		fresh.Ticket, fresh.Proved, fresh.Mailed = in.Ticket, in.Proved, in.Mailed
	}
	t := ui.turn(w, r, fresh, step)
	if t != nil {
		t.late = true
	}
	return t
}

// renewed begins an interaction anew that only expired, with the same request; nil where that cannot
// be.
func (ui *UI) renewed(in *idp.Interaction, err error) *idp.Interaction {
	switch {
	// What was pushed once is only in the store, and the dispatcher knows how to find it.
	case in == nil || idp.CodeOf(err) != "interaction_expired" || !in.Pushed.IsZero():
		return nil
	case in.Request.Return != "":
		return ui.provider.BeginOwn(in.Request.Return)
	}
	return ui.provider.Begin(in.Form, in.Request)
}

// turn finds who is here and which client asks. Where that does not work it has answered, and
// returns nil.
func (ui *UI) turn(w http.ResponseWriter, r *http.Request, in *idp.Interaction, step idp.Step) *turn {
	t := &turn{ui: ui, r: r, in: in, step: step}
	if id := in.Request.ClientID; id != "" {
		client, err := ui.provider.Client(r.Context(), id)
		if errors.Is(err, idp.ErrNotFound) {
			// The dispatcher judges the client anew, and tells what became of it.
			seeOther(w, dispatcher+"?tx="+url.QueryEscape(r.URL.Query().Get("tx")))
			return nil
		}
		if err != nil {
			ui.ShowFailure(w, r, err)
			return nil
		}
		t.client = client
	}
	visit, err := ui.provider.VisitOf(r.Context(), in)
	if err != nil {
		ui.ShowFailure(w, r, err)
		return nil
	}
	t.visit = visit
	return t
}

// opened opens the one parameter tx. A missing or doubled one is as unreadable as a broken one.
func (ui *UI) opened(r *http.Request) (*idp.Interaction, error) {
	tx := r.URL.Query()["tx"]
	if len(tx) != 1 {
		return nil, &idp.Error{Kind: idp.Stale, Code: "interaction_unreadable"}
	}
	return ui.provider.Open(r.Context(), tx[0])
}

// visit is the session of the browser, nil where nobody is signed in.
func (ui *UI) visit(r *http.Request, clientID string) (*idp.Visit, error) {
	token := idp.VisitorFrom(r.Context()).Session
	if token.IsZero() {
		return nil, nil
	}
	visit, err := ui.provider.Visit(r.Context(), token, clientID)
	if errors.Is(err, idp.ErrNotFound) {
		return nil, nil
	}
	return visit, err
}

// next is the step that the interaction needs.
func (t *turn) next() idp.Step {
	p := t.ui.provider
	return idp.NextStep(t.in, t.visit, p.PolicyFor(t.client), p.Now()).Step
}

// shown is what the page at hand tells of the request.
func (t *turn) shown() idp.Shown {
	q := &t.in.Request
	return idp.Shown{
		Scopes: q.Scopes, Claims: q.Claims.Names(),
		RedirectHost: redirectHost(q.RedirectURI), Client: t.client,
	}
}

// holds tells whether the page whose form is here was shown to the one who is here, and shows
// still what is so (I-6).
func (t *turn) holds() bool { return t.in.Holds(t.step, t.visit, t.shown()) }

// seal notes what the page shows, and to whom, and returns the parameter tx for its form. Where
// that does not work it has answered, and returns "".
func (t *turn) seal(w http.ResponseWriter) string {
	t.in.Show(t.step, t.visit, t.shown())
	tx, err := t.ui.provider.Seal(t.r.Context(), t.in)
	if err != nil {
		t.ui.ShowFailure(w, t.r, err)
		return ""
	}
	return tx
}

// again sends the browser to the dispatcher with the interaction as it came.
func (t *turn) again(w http.ResponseWriter) {
	seeOther(w, dispatcher+"?tx="+url.QueryEscape(t.r.URL.Query().Get("tx")))
}

// on sends the browser to a page of ours with the interaction as it now stands.
func (t *turn) on(w http.ResponseWriter, path string) {
	tx, err := t.ui.provider.Seal(t.r.Context(), t.in)
	if err != nil {
		t.ui.ShowFailure(w, t.r, err)
		return
	}
	seeOther(w, path+"?tx="+url.QueryEscape(tx))
}

// maxMailed bounds what is kept of where a ticket was mailed: an address has no more (RFC 5321
// §4.5.3.1.3).
const maxMailed = 254

// forget lets the interaction wait for no ticket any more.
func (t *turn) forget() { t.in.Ticket, t.in.Proved, t.in.Mailed = idp.ID{}, false, "" }

// stale is the notice of a page whose form was shown to somebody else, or too long ago.
func (t *turn) stale() *message {
	if t.late {
		return &message{Code: "interaction_expired", Text: t.frame().T("notice.interaction_expired")}
	}
	return t.outdated()
}

// done sends the browser to the dispatcher with the interaction as it now stands.
func (t *turn) done(w http.ResponseWriter) { t.ui.dispatch(w, t.r, t.in) }

// deny ends the interaction with the End-User's no.
func (t *turn) deny(w http.ResponseWriter) {
	t.in.Denied = true
	t.done(w)
}

// dispatch sends the browser to the dispatcher with in.
func (ui *UI) dispatch(w http.ResponseWriter, r *http.Request, in *idp.Interaction) {
	tx, err := ui.provider.Seal(r.Context(), in)
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	seeOther(w, dispatcher+"?tx="+url.QueryEscape(tx))
}

// begin sends a browser in which nobody is signed in through a sign-in of our own to `to`.
func (ui *UI) begin(w http.ResponseWriter, r *http.Request, to string) {
	ui.dispatch(w, r, ui.provider.BeginOwn(to))
}

// canCancel tells whether there is a relying party to go back to.
func (t *turn) canCancel() bool { return t.in.Request.RedirectURI != "" }

// frame is the frame of a page of this interaction.
func (t *turn) frame() *frame {
	f := t.ui.frame(t.r)
	f.locale = t.ui.negotiateFor(t.r, t.in.Request.UILocales, t.in.Started)
	f.redirectURI = t.in.Request.RedirectURI
	return f
}

// showStale answers a request whose interaction cannot go on. in is not nil where it expired: then
// the dispatcher starts the relying party's request anew.
func (ui *UI) showStale(w http.ResponseWriter, r *http.Request, in *idp.Interaction, err error) {
	if idp.KindOf(err) != idp.Stale {
		ui.ShowFailure(w, r, err)
		return
	}
	p := idp.Problem{Status: http.StatusBadRequest, Code: idp.CodeOf(err)}
	if in == nil {
		ui.refuse(w, r, p)
		return
	}
	p.Back = dispatcher + "?tx=" + url.QueryEscape(r.URL.Query().Get("tx"))
	if client, err := ui.provider.Client(r.Context(), in.Request.ClientID); err == nil {
		p.Client = client.DisplayName()
	}
	ui.refuse(w, r, p)
}
