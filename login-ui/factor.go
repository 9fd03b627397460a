package loginui

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern/idp"
)

const factorPath = "/login/factor"

// A factorWay is one way to prove a second time who one is, as the address of the page names it.
type factorWay string

// The ways, the safest first.
const (
	byKey      factorWay = "key"
	byApp      factorWay = "app"
	byRecovery factorWay = "recovery"
)

// WayText is what a link to another way says.
func (f *frame) WayText(way factorWay) string {
	switch way {
	case byKey:
		return f.T("factor.way.key")
	case byApp:
		return f.T("factor.way.app")
	}
	return f.T("factor.way.recovery")
}

// A factorPage asks for a second factor.
type factorPage struct {
	*frame
	Tx     string
	Party  *party
	Person *person
	Why    string      // what the relying party asks for, "" where a sign-in needs it anyway
	Way    factorWay   // "" where there is none
	Others []factorWay // that would do as well
	Digits int         // of an app's code
	Key    *keyForm

	MayTrust, Trust bool
	TrustDays       int
	CanCancel       bool
}

func (*factorPage) template() string { return "factor.html" }

// ShowFactor shows the form for a second factor.
func (ui *UI) ShowFactor(w http.ResponseWriter, r *http.Request) {
	t := ui.factorTurn(w, r)
	if t == nil {
		return
	}
	p := &factorPage{frame: t.frame(), Way: factorWay(r.URL.Query().Get("way"))}
	if t.late {
		p.Notice = t.stale()
	}
	ui.showFactor(w, t, http.StatusOK, p)
}

// factorTurn is the turn of somebody who owes a second factor, nil where nobody does: then it has
// answered.
func (ui *UI) factorTurn(w http.ResponseWriter, r *http.Request) *turn {
	t := ui.enter(w, r, idp.StepFactor)
	if t != nil && (t.visit == nil || t.next() != idp.StepFactor) {
		t.done(w)
		return nil
	}
	return t
}

// showFactor shows p as the way that it has, or the one that fits best where that is none.
func (ui *UI) showFactor(w http.ResponseWriter, t *turn, status int, p *factorPage) {
	own, err := ui.provider.OwnFactors(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	asked, must := t.asked()
	liked := usual(&own)
	if asked >= idp.NotPhishable {
		liked = byKey
	}
	p.choose(ways(&own, asked >= idp.NotPhishable && must), liked)
	p.Party, p.Person, p.CanCancel = t.party(), personOf(&t.visit.User), t.canCancel()
	p.Why = p.whyFactor(t, asked, must)
	p.Digits = ui.cfg.MFA.TOTP.Digits
	p.MayTrust = ui.provider.MayTrust(&t.visit.User) && asked == idp.NoLevel && t.visit.Session.State == idp.Pending
	p.TrustDays = int(ui.cfg.MFA.TrustedBrowser.Lifetime / (24 * time.Hour))
	if p.Tx = t.seal(w); p.Tx == "" {
		return
	}
	if p.Way == byKey {
		c, err := ui.provider.BeginKeyProof(t.r.Context(), t.visit, false)
		if err != nil {
			ui.ShowFailure(w, t.r, err)
			return
		}
		p.Key = ui.keyForm(p.frame, c, keyUse, factorPath+"/key?tx="+url.QueryEscape(p.Tx), "factor.key.use")
	}
	ui.show(w, t.r, status, p)
}

// asked is the level that the request and the client ask of who is here beyond what counts already,
// and whether less will not do.
func (t *turn) asked() (level idp.Level, must bool) {
	p := t.ui.provider
	return p.Asked(t.in, t.visit, t.client), p.Insists(t.in, t.visit, t.client)
}

// ways are those that lead on for whoever has own, the safest first. Codes do not where the sign-in
// must be one that nobody can fish for.
func ways(own *idp.OwnFactors, safest bool) []factorWay {
	var list []factorWay
	if slices.ContainsFunc(own.Passkeys, func(f idp.Factor) bool { return f.DisabledAt == nil }) {
		list = append(list, byKey)
	}
	if safest {
		return list
	}
	if own.App != nil {
		list = append(list, byApp)
	}
	if own.Recovery != nil && own.Recovery.Left > 0 {
		list = append(list, byRecovery)
	}
	return list
}

// usual is the way that whoever has own went last: the app, or else a key.
func usual(own *idp.OwnFactors) factorWay {
	if own.App == nil || own.App.LastUsedAt == nil {
		return byKey
	}
	for i := range own.Passkeys {
		if k := &own.Passkeys[i]; k.CreatedAt.After(*own.App.LastUsedAt) || k.LastUsedAt != nil && k.LastUsedAt.After(*own.App.LastUsedAt) {
			return byKey
		}
	}
	return byApp
}

// choose settles on one of the ways: the one that p has, or the usual one, or the first.
func (p *factorPage) choose(list []factorWay, usual factorWay) {
	switch {
	case slices.Contains(list, p.Way):
	case slices.Contains(list, usual):
		p.Way = usual
	case len(list) > 0:
		p.Way = list[0]
	default:
		p.Way = ""
	}
	p.Others = slices.DeleteFunc(list, func(way factorWay) bool { return way == p.Way })
}

// whyFactor tells why the page is there, where it is the relying party that asks for it.
func (p *factorPage) whyFactor(t *turn, asked idp.Level, must bool) string {
	switch {
	case p.Party == nil || asked == idp.NoLevel:
		return ""
	case asked >= idp.NotPhishable && must:
		return p.T("stepup.key", "app", p.Party.Name)
	case t.visit.Session.State == idp.Live:
		return p.T("stepup.app", "app", p.Party.Name)
	}
	return p.T("stepup.stronger", "app", p.Party.Name)
}

// SubmitFactor verifies a code of an app, or a recovery code.
func (ui *UI) SubmitFactor(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "code", "way", "trust", "passkeys", "cancel")
	if !ok {
		return
	}
	t, p := ui.readFactor(w, r, form)
	if t == nil {
		return
	}
	if form.Get("code") == "" {
		p.fail("code_missing", "code")
		ui.showFactor(w, t, http.StatusBadRequest, p)
		return
	}
	signedIn, err := ui.provider.ProveByCode(r.Context(), t.in, t.visit, form.Get("code"), p.Trust)
	ui.settleFactor(w, t, p, signedIn, err)
}

// SubmitFactorKey verifies a passkey or security key.
func (ui *UI) SubmitFactorKey(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, onPage(r, factorPath), "state", "credential", "trust")
	if !ok {
		return
	}
	form.Set("way", string(byKey))
	t, p := ui.readFactor(w, r, form)
	if t == nil {
		return
	}
	signedIn, err := ui.provider.ProveByKey(r.Context(), t.in, t.visit, form.Get("state"), form.Get("credential"), p.Trust)
	ui.settleFactor(w, t, p, signedIn, err)
}

// readFactor is the turn of a form for a second factor. Where it does not go on it has answered, and
// the turn is nil.
func (ui *UI) readFactor(w http.ResponseWriter, r *http.Request, form url.Values) (*turn, *factorPage) {
	t := ui.factorTurn(w, r)
	if t == nil {
		return nil, nil
	}
	p := &factorPage{frame: t.frame(), Way: factorWay(form.Get("way")), Trust: form.Get("trust") == "1"}
	t.passkeys = form.Get("passkeys") == "1"
	switch {
	case !t.holds():
		p.Notice = t.stale()
		ui.showFactor(w, t, http.StatusBadRequest, p)
		return nil, nil
	case form.Get("cancel") != "" && t.canCancel():
		t.deny(w)
		return nil, nil
	}
	return t, p
}

// settleFactor goes on with a sign-in whose second factor was proved, or tells what was wrong.
func (ui *UI) settleFactor(w http.ResponseWriter, t *turn, p *factorPage, signedIn idp.SignedIn, err error) {
	switch e := errorOf(err); {
	case err == nil:
		ui.welcome(w, t, signedIn)
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
	case e.Kind == idp.Stale && e.Code != "ceremony_over":
		t.done(w) // another tab did something: the dispatcher knows what is left
	default:
		ui.showFactor(w, t, ui.explain(w, t.r, p.frame, besideCode(e)), p)
	}
}

// besideCode is e with what is wrong with a code beside its field, and anything else above the page.
func besideCode(e *idp.Error) *idp.Error {
	switch e.Code {
	case "code_wrong", "code_used", "code_malformed", "clock_off":
		return beside(e, "code")
	}
	return beside(e, "")
}
