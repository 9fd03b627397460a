package loginui

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"

	"postern/idp"
)

// stepOffer is the step of the page that offers a passkey.
const stepOffer idp.Step = "offer_passkey"

// A keyForm is what the custom element needs that makes or uses a passkey, within a form of its page.
type keyForm struct {
	Kind      keyKind
	Options   string // JSON
	State     string // sealed
	Action    string // that the answer is sent to
	Label     string // of the button
	Refresh   string // where there are new options, "" for nowhere
	Mediation string // conditional where passkeys are in the list of the username's field, too
	Secondary bool   // whether the page has a button that is more likely
}

// A keyKind is what a passkey is for.
type keyKind string

// What the element does.
const (
	keyMake keyKind = "create"
	keyUse  keyKind = "get"
)

// keyForm makes one of c, whose button says the text of label.
func (ui *UI) keyForm(f *frame, c idp.Ceremony, kind keyKind, action, label string) *keyForm {
	return &keyForm{Kind: kind, Options: string(c.Options), State: c.State, Action: action, Label: f.T(label)}
}

// A passkeySignal tells the browser which passkeys there are (Web Authentication Level 3 §5.1.10).
type passkeySignal struct {
	Method  string // of PublicKeyCredential
	Options string // JSON
}

// signalUnknown says that nobody has the passkey of this ID, base64url.
func signalUnknown(rpID, credential string) *passkeySignal {
	return signal("signalUnknownCredential", map[string]any{"rpId": rpID, "credentialId": credential})
}

// signalAccepted says which passkeys the user of handle has, nil where they never had any.
func signalAccepted(rpID string, handle []byte, accepted [][]byte) *passkeySignal {
	if handle == nil {
		return nil
	}
	ids := make([]string, 0, len(accepted))
	for _, id := range accepted {
		ids = append(ids, base64.RawURLEncoding.EncodeToString(id))
	}
	return signal("signalAllAcceptedCredentials", map[string]any{
		"rpId": rpID, "userId": base64.RawURLEncoding.EncodeToString(handle), "allAcceptedCredentialIds": ids,
	})
}

// signalDetails says what the user of handle is called, nil where they never had a passkey.
func signalDetails(rpID string, handle []byte, name, displayName string) *passkeySignal {
	if handle == nil {
		return nil
	}
	return signal("signalCurrentUserDetails", map[string]any{
		"rpId": rpID, "userId": base64.RawURLEncoding.EncodeToString(handle), "name": name, "displayName": displayName,
	})
}

func signal(method string, options map[string]any) *passkeySignal {
	text, err := json.Marshal(options)
	if err != nil {
		panic("loginui: signal: " + err.Error()) // it is texts alone
	}
	return &passkeySignal{method, string(text)}
}

// logInKey is the passkey's part of the sign-in page, nil where there is none just now: whoever knows
// a password signs in all the same.
func (ui *UI) logInKey(t *turn, p *loginPage) *keyForm {
	c, err := ui.provider.BeginPasskeyLogIn(t.r.Context())
	if err != nil {
		ui.logFailure(t.r, statusOf(errorOf(err)), err)
		return nil
	}
	key := ui.keyForm(p.frame, c, keyUse, "/login/passkey?tx="+url.QueryEscape(p.Tx), "login.passkey")
	if p.Another {
		key.Action += "&another=1"
	}
	key.Refresh, key.Mediation, key.Secondary = "/login/passkey/options", "conditional", true
	return key
}

// ShowPasskeyOptions tells a page that is open for long the options of a new ceremony, as JSON.
func (ui *UI) ShowPasskeyOptions(w http.ResponseWriter, r *http.Request) {
	c, err := ui.provider.BeginPasskeyLogIn(r.Context())
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	ui.showJSON(w, r, "no-store", struct {
		Options json.RawMessage `json:"options"`
		State   string          `json:"state"`
	}{c.Options, c.State})
}

func (ui *UI) showJSON(w http.ResponseWriter, r *http.Request, caching string, document any) {
	text, err := json.Marshal(document)
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", caching)
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text) // the browser left
}

// SubmitPasskeyLogin signs in by a passkey alone.
func (ui *UI) SubmitPasskeyLogin(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, onPage(r, "/login"), "state", "credential", "remember")
	if !ok {
		return
	}
	in, err := ui.opened(r)
	if err != nil {
		ui.renewLogin(w, r, in, err, "")
		return
	}
	t := ui.turn(w, r, in, idp.StepLogIn)
	if t == nil {
		return
	}
	if !t.holds() {
		ui.refuseLogin(w, t, "")
		return
	}
	p := ui.loginPage(t)
	p.Remember = form.Get("remember") == "1"
	t.forget() // a ticket that was asked for before
	signedIn, err := ui.provider.LogInByPasskey(r.Context(), t.in, form.Get("state"), form.Get("credential"), p.Remember)
	if err != nil {
		ui.refusePasskey(w, t, p, errorOf(err))
		return
	}
	ui.welcome(w, t, signedIn)
}

// refusePasskey answers a passkey that signed nobody in, on the sign-in page.
func (ui *UI) refusePasskey(w http.ResponseWriter, t *turn, p *loginPage, e *idp.Error) {
	switch {
	case e.Kind == idp.Stale && e.Code != "ceremony_over":
		seeOther(w, "/login?tx="+url.QueryEscape(t.r.URL.Query().Get("tx")))
		return
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, e)
		return
	}
	if id, _ := e.Args["credential"].(string); e.Code == "passkey_unknown" && id != "" {
		p.Signal = signalUnknown(ui.provider.PasskeyRPID(), id)
	}
	ui.showLogin(w, t, ui.explain(w, t.r, p.frame, beside(e, "")), p)
}

// An offerPage offers a passkey to whoever signed in by password.
type offerPage struct {
	*frame
	Tx     string
	Person *person
	Key    *keyForm
}

func (*offerPage) template() string { return "passkey-offer.html" }

// offersPasskey tells whether a passkey is to be offered before t goes on. device is the secret of a
// browser that is known from now on, nil where it was before. What cannot be told keeps nobody from
// their app.
func (t *turn) offersPasskey(device *[32]byte) bool {
	if !t.passkeys || t.visit.Session.State != idp.Live || t.next() == idp.StepDenied {
		return false
	}
	ctx := t.r.Context()
	if device != nil {
		v := *idp.VisitorFrom(ctx)
		v.Device = sha256.Sum256(device[:])
		ctx = idp.WithVisitor(ctx, &v)
	}
	offers, err := t.ui.provider.OfferPasskey(ctx, t.visit)
	if err != nil {
		t.ui.logFailure(t.r, statusOf(errorOf(err)), err)
	}
	return offers && err == nil
}

// ShowOffer offers a passkey to who has just signed in by password.
func (ui *UI) ShowOffer(w http.ResponseWriter, r *http.Request) {
	if t := ui.offering(w, r); t != nil {
		ui.showOffer(w, t, http.StatusOK, &offerPage{frame: t.frame()})
	}
}

// offering is the turn of somebody who is offered a passkey. Who is not signed in goes on.
func (ui *UI) offering(w http.ResponseWriter, r *http.Request) *turn {
	t := ui.enter(w, r, stepOffer)
	if t != nil && (t.visit == nil || t.visit.Session.State != idp.Live) {
		t.done(w)
		return nil
	}
	return t
}

func (ui *UI) showOffer(w http.ResponseWriter, t *turn, status int, p *offerPage) {
	c, err := ui.provider.BeginPasskey(t.r.Context(), t.visit)
	if err != nil {
		t.done(w) // an offer is no duty
		return
	}
	p.Person = personOf(&t.visit.User)
	if p.Tx = t.seal(w); p.Tx != "" {
		p.Key = ui.keyForm(p.frame, c, keyMake, "/login/passkey/offer?tx="+url.QueryEscape(p.Tx), "offer.make")
		ui.show(w, t.r, status, p)
	}
}

// SubmitOffer registers it.
func (ui *UI) SubmitOffer(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "state", "credential")
	if !ok {
		return
	}
	t := ui.offering(w, r)
	if t == nil {
		return
	}
	p := &offerPage{frame: t.frame()}
	if !t.holds() {
		p.Notice = t.stale()
		ui.showOffer(w, t, http.StatusBadRequest, p)
		return
	}
	enrolled, err := ui.provider.AddPasskey(r.Context(), t.in, t.visit, form.Get("state"), form.Get("credential"), "")
	switch e := errorOf(err); {
	case err == nil:
		ui.enrolled(w, t, enrolled)
	case e.Code == "reauthenticate":
		t.suspendTurn(w)
	case e.Kind == idp.Stale && e.Code != "ceremony_over":
		t.done(w)
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, r, p.frame, err)
	default:
		ui.showOffer(w, t, ui.explain(w, r, p.frame, beside(e, "")), p)
	}
}

// relatedOriginsCaching lets browsers and proxies keep what the settings say for an hour.
const relatedOriginsCaching = "public, max-age=3600"

// ShowRelatedOrigins tells browsers at which origins our passkeys may be used (Web Authentication Level 3
// §5.11).
func (ui *UI) ShowRelatedOrigins(w http.ResponseWriter, r *http.Request) {
	origins := ui.provider.RelatedOrigins()
	if origins == nil {
		origins = []string{ui.issuer.Scheme + "://" + ui.issuer.Host} // it changes nothing, and is true
	}
	w.Header().Del("Set-Cookie") // a shared cache would hand one browser's cookie to the next
	ui.showJSON(w, r, relatedOriginsCaching, map[string][]string{"origins": origins})
}
