package loginui

import (
	"net/http"

	"postern/idp"
)

const codesPath = "/account/recovery-codes"

// stepCodes is the step of the form that makes new recovery codes.
const stepCodes idp.Step = "recovery_codes"

// A codesPage tells how many recovery codes are left.
type codesPage struct {
	*frame
	Tx        string
	HasFactor bool
	Set       *idp.RecoverySet // nil for none
	ID        string           // of the set
	Few       bool
}

func (*codesPage) template() string { return "recovery-codes.html" }

// ShowRecoveryCodes tells how many recovery codes are left.
func (ui *UI) ShowRecoveryCodes(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepCodes); t != nil {
		ui.showRecoveryCodes(w, t, http.StatusOK, ui.accountFrame(w, r))
	}
}

func (ui *UI) showRecoveryCodes(w http.ResponseWriter, t *turn, status int, f *frame) {
	own, err := ui.provider.OwnFactors(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	p := &codesPage{frame: f, HasFactor: t.visit.User.HasFactor(), Set: own.Recovery}
	if own.Recovery != nil {
		p.ID, p.Few = own.Recovery.ID.String(), own.Recovery.Left <= fewCodes
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitRecoveryCodes makes new ones and shows them, once.
func (ui *UI) SubmitRecoveryCodes(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepCodes, "set", "confirm")
	if t == nil {
		return
	}
	f := ui.accountFrame(w, t.r)
	var set idp.ID
	if shown := form.Get("set"); shown != "" {
		var err error
		if set, err = idp.ParseID(shown); err != nil {
			ui.NotFound(w, r)
			return
		}
		if form.Get("confirm") == "" {
			f.fail("recovery_unconfirmed", "confirm")
			ui.showRecoveryCodes(w, t, http.StatusBadRequest, f)
			return
		}
	}
	codes, err := ui.provider.NewRecoveryCodes(t.r.Context(), t.visit, set)
	t.settle(w, f, err, nil, func() { ui.showCodes(w, t, &t.visit.User, codes, false, codesPath) },
		func(status int) { ui.showRecoveryCodes(w, t, status, f) })
}

// A newCodesPage shows recovery codes, which nobody can see again.
type newCodesPage struct {
	*frame
	codesShown
	First bool   // whether they came with the first factor
	To    string // the page to go on to
}

func (*newCodesPage) template() string { return "recovery-codes-new.html" }

func (ui *UI) showCodes(w http.ResponseWriter, t *turn, u *idp.User, codes []string, first bool, to string) {
	p := &newCodesPage{frame: ui.accountFrame(w, t.r), First: first, To: to}
	p.codesShown = ui.codesOf(p.frame, u, codes)
	ui.show(w, t.r, http.StatusOK, p)
}
