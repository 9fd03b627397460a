package loginui

import (
	"bytes"
	"net/http"
	"net/url"

	"postern/idp"
)

const (
	passkeysPath   = "/account/passkeys"
	addPasskeyPath = "/account/passkeys/add"
)

// The steps of the forms about passkeys.
const (
	stepPasskeys   idp.Step = "passkeys"
	stepAddPasskey idp.Step = "add_passkey"
)

// handleCookie keeps the user handle of a passkey that was removed, after the ID of its user, for the page
// that tells the browser.
const handleCookie = "__Host-postern_passkeys"

func (j *jar) keepHandle(w http.ResponseWriter, of idp.ID, handle []byte) {
	if handle != nil {
		j.write(w, handleCookie, append(of[:], handle...), noticeLife)
	}
}

// takeHandle returns what keepHandle remembered of a user, once; nil for none. What belongs to another
// one is forgotten: with the list of this one's passkeys the browser would drop all of theirs.
func (j *jar) takeHandle(w http.ResponseWriter, r *http.Request, of idp.ID) []byte {
	kept := j.read(r, handleCookie)
	if kept == nil {
		return nil
	}
	j.clear(w, handleCookie)
	handle, own := bytes.CutPrefix(kept, of[:])
	if !own {
		return nil
	}
	return handle
}

// A passkeysPage lists somebody's passkeys and security keys.
type passkeysPage struct {
	*frame
	Tx       string
	Passkeys []ownFactor
	Rename   string // the ID of the one that gets another name, "" for none
	Called   string // as it was typed, or is
	CanAdd   bool
	Signals  []*passkeySignal
}

func (*passkeysPage) template() string { return "passkeys.html" }

// ShowPasskeys lists passkeys and security keys.
func (ui *UI) ShowPasskeys(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepPasskeys); t != nil {
		p := &passkeysPage{frame: ui.accountFrame(w, r), Rename: r.URL.Query().Get("rename")}
		ui.showPasskeys(w, t, http.StatusOK, p)
	}
}

func (ui *UI) showPasskeys(w http.ResponseWriter, t *turn, status int, p *passkeysPage) {
	own, err := ui.provider.OwnFactors(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	found := p.Rename == ""
	for i := range own.Passkeys {
		o := ui.ownFactor(p.frame, &own.Passkeys[i])
		if o.ID == p.Rename {
			found = true
			if !p.Failed {
				p.Called = own.Passkeys[i].Name
			}
		}
		p.Passkeys = append(p.Passkeys, o)
	}
	if !found {
		ui.NotFound(w, t.r)
		return
	}
	u, id := &t.visit.User, ui.provider.PasskeyRPID()
	p.CanAdd = id != "" && own.Policy != idp.FactorsOff && (u.Email == "" || u.EmailVerified)
	if handle := ui.cookies.takeHandle(w, t.r, u.ID); handle != nil {
		p.Signals = append(p.Signals, signalAccepted(id, handle, own.Accepted))
	}
	p.Signals = append(p.Signals, detailsOf(id, own.Handle, u))
	t.step = stepPasskeys
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// detailsOf tells the browser what the user of handle is called now, as it was told with their passkeys;
// nil where they have none.
func detailsOf(rpID string, handle []byte, u *idp.User) *passkeySignal {
	name := u.Username
	if u.Profile.Name != "" {
		name = u.Profile.Name
	}
	return signalDetails(rpID, handle, u.Username, name)
}

// SubmitPasskeys renames one.
func (ui *UI) SubmitPasskeys(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepPasskeys, "rename", "name")
	if t != nil {
		ui.renamePasskey(w, t, url.Values{"rename": {form.Get("rename")}, "name": {form.Get("name")}})
	}
}

// renamePasskey goes on by itself after a proof of who is here.
func (ui *UI) renamePasskey(w http.ResponseWriter, t *turn, form url.Values) {
	id, err := idp.ParseID(form.Get("rename"))
	if err != nil {
		ui.NotFound(w, t.r)
		return
	}
	p := &passkeysPage{frame: ui.accountFrame(w, t.r), Rename: form.Get("rename"), Called: form.Get("name")}
	err = ui.provider.RenameFactor(t.r.Context(), t.visit, id, p.Called)
	t.settle(w, p.frame, err, form, func() { ui.notify(w, "passkey_renamed", passkeysPath) },
		func(status int) { ui.showPasskeys(w, t, status, p) })
}

// An addPasskeyPage makes a new one.
type addPasskeyPage struct {
	*frame
	Tx     string
	Called string
	Key    *keyForm // nil where there may be none
}

func (*addPasskeyPage) template() string { return "passkeys-add.html" }

// ShowAddPasskey asks for a new one.
func (ui *UI) ShowAddPasskey(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepAddPasskey); t != nil {
		ui.showAddPasskey(w, t, http.StatusOK, &addPasskeyPage{frame: ui.accountFrame(w, r)})
	}
}

// showAddPasskey begins a ceremony for p, and answers with status, or with why there can be none.
func (ui *UI) showAddPasskey(w http.ResponseWriter, t *turn, status int, p *addPasskeyPage) {
	c, err := ui.provider.BeginPasskey(t.r.Context(), t.visit)
	show := func(status int) {
		if p.Tx = t.seal(w); p.Tx == "" {
			return
		}
		if err == nil {
			p.Key = ui.keyForm(p.frame, c, keyMake, addPasskeyPath+"?tx="+url.QueryEscape(p.Tx), "passkeys.make")
		}
		ui.show(w, t.r, status, p)
	}
	t.settle(w, p.frame, err, nil, func() { show(status) }, show)
}

// SubmitAddPasskey registers it.
func (ui *UI) SubmitAddPasskey(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepAddPasskey, "state", "credential", "name")
	if t == nil {
		return
	}
	p := &addPasskeyPage{frame: ui.accountFrame(w, t.r), Called: form.Get("name")}
	first := !t.visit.User.HasFactor()
	enrolled, err := ui.provider.AddPasskey(t.r.Context(), t.in, t.visit, form.Get("state"), form.Get("credential"), p.Called)
	if e := errorOf(err); err != nil && e.Code == "ceremony_over" {
		ui.explain(w, t.r, p.frame, e)
		ui.showAddPasskey(w, t, statusOf(e), p)
		return
	}
	t.settle(w, p.frame, err, nil, func() { ui.added(w, t, enrolled, first, "passkey_added", passkeysPath) },
		func(status int) { ui.showAddPasskey(w, t, status, p) })
}
