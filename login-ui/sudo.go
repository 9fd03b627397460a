package loginui

import (
	"net/http"
	"net/url"
	"slices"

	"postern/idp"
)

// stepSudo is the step of proving anew who one is, with a form that waits for it.
const stepSudo idp.Step = "reauthenticate"

// A sudoPage asks who is signed in to prove it, by one proof after another until they will do.
type sudoPage struct {
	*frame
	Tx          string
	Person      *person
	Purpose     string // what it is for, in words
	HasPassword bool   // whether the password is next
	Way         factorWay
	Others      []factorWay // that would do as well
	Digits      int         // of an app's code
	Key         *keyForm
	Back        string // the page that the form came from
}

func (*sudoPage) template() string { return "reauthenticate.html" }

// resumed are the forms that go on by themselves after the proof. Others are destructive, or lists
// that may have changed: their page is shown again.
var resumed = map[string]func(*UI, http.ResponseWriter, *turn, url.Values){
	profilePath:  (*UI).changeProfile,
	addEmailPath: (*UI).addEmail,
	appPath:      (*UI).startApp,
	passkeysPath: (*UI).renamePasskey,
	removePath:   (*UI).askRemove,
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

// suspendTurn asks who is here to prove it, and then goes on with the interaction of t.
func (t *turn) suspendTurn(w http.ResponseWriter) {
	t.in.Show(stepSudo, t.visit, idp.Shown{})
	t.on(w, sudoPath)
}

// ShowReauthenticate shows the form that proves who is here.
func (ui *UI) ShowReauthenticate(w http.ResponseWriter, r *http.Request) {
	t := ui.sudoTurn(w, r)
	if t == nil {
		return
	}
	p := ui.sudoPage(t)
	p.Way = factorWay(r.URL.Query().Get("way"))
	proofs, err := ui.provider.ProofsFor(t.r.Context(), t.visit)
	switch {
	case err != nil:
		ui.ShowFailure(w, t.r, err)
	case proofs.Enough && t.ofAccount():
		ui.notify(w, "sudo_confirmed", p.Back) // in another tab, or before this page was gone back to
	case proofs.Enough:
		seeOther(w, p.Back)
	default:
		ui.showSudo(w, t, http.StatusOK, p, proofs)
	}
}

// sudoTurn is the turn of somebody of whom an interaction of their own waits for a proof. Anybody else
// goes where something can be done: then it has answered, and returns nil. Who has to get a second
// factor proves here that they may.
func (ui *UI) sudoTurn(w http.ResponseWriter, r *http.Request) *turn {
	visit, err := ui.visit(r, "")
	if err != nil {
		ui.ShowFailure(w, r, err)
		return nil
	}
	own := ui.provider.BeginOwn(r.URL.Path)
	if visit == nil {
		ui.dispatch(w, r, own)
		return nil
	}
	in, err := ui.opened(r)
	if err != nil || !in.Holds(stepSudo, visit, idp.Shown{}) {
		ui.notify(w, "page_outdated", accountPath)
		return nil
	}
	step := idp.NextStep(own, visit, ui.provider.PolicyFor(nil), ui.now()).Step
	if step != idp.NoStep && step != idp.StepEnrol {
		ui.dispatch(w, r, own)
		return nil
	}
	return &turn{ui: ui, r: r, in: in, visit: visit, step: stepSudo}
}

// ofAccount tells whether it is a form of the account that waits in t, not a sign-in.
func (t *turn) ofAccount() bool {
	to, err := url.Parse(t.in.Request.Return)
	return err == nil && t.in.Request.ClientID == "" && to.Path != accountPath
}

func (ui *UI) sudoPage(t *turn) *sudoPage {
	tx := t.r.URL.Query().Get("tx")
	p := &sudoPage{
		frame: t.frame(), Tx: tx, Person: personOf(&t.visit.User), Digits: ui.cfg.MFA.TOTP.Digits,
		Back: dispatcher + "?tx=" + url.QueryEscape(tx),
	}
	key := "sudo.for." + enrolPath
	if t.ofAccount() {
		p.isolated = true
		key = "sudo.for.other"
		if to, err := url.Parse(t.in.Request.Return); err == nil {
			p.Back = to.Path
			if own := "sudo.for." + to.Path; ui.texts.has(own) {
				key = own
			}
		}
	}
	p.Purpose = p.T(key)
	return p
}

// showSudo shows p with the proofs that lead on: the password first, then what is as strong as the
// second factors that there are.
func (ui *UI) showSudo(w http.ResponseWriter, t *turn, status int, p *sudoPage, proofs idp.Proofs) {
	p.offer(proofs)
	if proofs.Key && (p.HasPassword || p.Way == byKey) {
		c, err := ui.provider.BeginKeyProof(t.r.Context(), t.visit, proofs.Alone)
		if err != nil {
			ui.ShowFailure(w, t.r, err)
			return
		}
		p.Key = ui.keyForm(p.frame, c, keyUse, sudoPath+"?tx="+url.QueryEscape(p.Tx), "factor.key.use")
		p.Key.Secondary = p.HasPassword
	}
	ui.show(w, t.r, status, p)
}

// offer settles on what p asks for of proofs.
func (p *sudoPage) offer(proofs idp.Proofs) {
	p.HasPassword, p.Others = proofs.Password, nil
	if p.HasPassword {
		p.Way = ""
		return
	}
	for _, o := range []struct {
		way factorWay
		may bool
	}{{byKey, proofs.Key}, {byApp, proofs.App}, {byRecovery, proofs.Recovery}} {
		if o.may {
			p.Others = append(p.Others, o.way)
		}
	}
	if !slices.Contains(p.Others, p.Way) {
		p.Way = ""
		if len(p.Others) > 0 {
			p.Way = p.Others[0]
		}
	}
	p.Others = slices.DeleteFunc(p.Others, func(way factorWay) bool { return way == p.Way })
}

// SubmitReauthenticate verifies a proof, asks for the next one where that is not enough, and goes on
// with what waits for it.
func (ui *UI) SubmitReauthenticate(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "password", "code", "way", "state", "credential")
	if !ok {
		return
	}
	t := ui.sudoTurn(w, r)
	if t == nil {
		return
	}
	p := ui.sudoPage(t)
	p.Way = factorWay(form.Get("way"))
	if missing := p.missing(form); missing {
		ui.refuseSudo(w, t, http.StatusBadRequest, p)
		return
	}
	signedIn, err := ui.proveAnew(t, form)
	switch e := errorOf(err); {
	case err == nil:
		ui.cookies.keepSession(w, signedIn, ui.now())
		ui.resume(w, t, signedIn)
	case e.Kind == idp.Stale && e.Code != "ceremony_over":
		ui.notify(w, "page_outdated", sudoPath)
	case e.Kind == idp.Internal, e.Kind == idp.Locked, e.Kind == idp.Blocked:
		ui.turnAway(w, t.r, p.frame, err)
	default:
		if e.Code != "invalid_credentials" {
			e = besideCode(e)
		}
		ui.refuseSudo(w, t, ui.explain(w, t.r, p.frame, e), p)
	}
}

// refuseSudo shows p with what was wrong, and the proofs that lead on from where the session is now.
func (ui *UI) refuseSudo(w http.ResponseWriter, t *turn, status int, p *sudoPage) {
	proofs, err := ui.provider.ProofsFor(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	ui.showSudo(w, t, status, p, proofs)
}

// missing tells whether form has no proof, and p says so.
func (p *sudoPage) missing(form url.Values) bool {
	switch {
	case form.Get("credential") != "":
		p.Way = byKey
	case form.Has("code") && form.Get("code") == "":
		p.fail("code_missing", "code")
	case !form.Has("code") && form.Get("password") == "":
		p.fail("password_missing", "password")
	}
	return p.Failed
}

// proveAnew verifies the proof of form.
func (ui *UI) proveAnew(t *turn, form url.Values) (idp.SignedIn, error) {
	ctx, p := t.r.Context(), ui.provider
	switch {
	case form.Get("credential") != "":
		return p.ProveByKey(ctx, t.in, t.visit, form.Get("state"), form.Get("credential"), false)
	case form.Has("code"):
		return p.ProveByCode(ctx, t.in, t.visit, form.Get("code"), false)
	}
	signedIn, err := p.Reauthenticate(ctx, t.visit, form.Get("password"))
	if err == nil && t.in.Authenticated == t.visit.Session.Authentication {
		t.in.SignedIn(&signedIn.Session)
	}
	return signedIn, err
}

// resume goes on with what waited, in the session that was renewed, or asks for the next proof.
func (ui *UI) resume(w http.ResponseWriter, t *turn, signedIn idp.SignedIn) {
	visit := &idp.Visit{Session: signedIn.Session, User: signedIn.User}
	t.visit = visit
	if !ui.provider.Fresh(visit) {
		t.suspendTurn(w)
		return
	}
	if !t.ofAccount() {
		t.done(w)
		return
	}
	u, err := url.Parse(t.in.Request.Return)
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
	deed(ui, w, t.moved(r, visit, u.Path), form)
}

// moved is a turn of another page of the account, of the browser that sent r.
func (t *turn) moved(r *http.Request, visit *idp.Visit, path string) *turn {
	there := r.WithContext(r.Context())
	there.URL = &url.URL{Path: path}
	return t.ui.ownTurn(there, visit, idp.NoStep)
}
