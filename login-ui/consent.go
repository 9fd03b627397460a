package loginui

import (
	"net/http"
	"slices"

	"postern/idp"
)

// A consentPage asks whether a relying party may do what it asks for.
type consentPage struct {
	*frame
	Tx      string
	Party   *party
	Person  *person
	New     []permissions // what was not allowed before
	Old     []permissions // what was, and is asked for again
	Nothing bool          // whether the party learns nothing but that there is an account
}

func (*consentPage) template() string { return "consent.html" }

// Permissions are what belongs together of what is asked for, each in plain words.
type permissions struct {
	Group string // identity, access or offline: its icon
	Title string
	Items []string
}

// ShowConsent shows what a relying party asks for.
func (ui *UI) ShowConsent(w http.ResponseWriter, r *http.Request) {
	t := ui.open(w, r, idp.StepConsent)
	if t == nil {
		return
	}
	if t.next() != idp.StepConsent {
		t.again(w)
		return
	}
	ui.showConsent(w, t, http.StatusOK, nil)
}

func (ui *UI) showConsent(w http.ResponseWriter, t *turn, status int, notice *message) {
	p := &consentPage{frame: t.frame(), Party: t.party(), Person: personOf(&t.visit.User)}
	p.Notice = notice
	q := &t.in.Request
	var before idp.Consent
	if t.visit.Consent != nil {
		before = *t.visit.Consent
	}
	newScopes, oldScopes := split(q.Scopes, before.Scopes)
	newClaims, oldClaims := split(q.Claims.Names(), before.Claims)
	p.New = p.permissions(newScopes, newClaims, q.Scopes)
	p.Old = p.permissions(oldScopes, oldClaims, q.Scopes)
	p.Nothing = len(p.New) == 0 && len(p.Old) == 0
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitConsent records what the End-User decided.
func (ui *UI) SubmitConsent(w http.ResponseWriter, r *http.Request) {
	r, form, ok := ui.readForm(w, r, "decision")
	if !ok {
		return
	}
	t := ui.open(w, r, idp.StepConsent)
	if t == nil {
		return
	}
	decision := form.Get("decision")
	switch {
	case t.next() != idp.StepConsent:
		t.again(w)
	case !t.holds():
		ui.showConsent(w, t, http.StatusBadRequest, t.outdated())
	case decision == "deny":
		if err := ui.provider.SpendConsent(r.Context(), t.visit.User); err != nil {
			ui.ShowFailure(w, r, err)
			return
		}
		t.deny(w)
	case decision != "allow":
		ui.showConsent(w, t, http.StatusBadRequest, &message{Code: "decision_missing", Text: t.frame().T("notice.decision_missing")})
	default:
		if err := ui.provider.GiveConsent(r.Context(), t.in, t.visit); err != nil {
			ui.ShowFailure(w, r, err)
			return
		}
		t.done(w)
	}
}

// split parts the asked into those that are not among the known and those that are.
func split(asked, known []string) (fresh, old []string) {
	for _, s := range asked {
		if slices.Contains(known, s) {
			old = append(old, s)
		} else {
			fresh = append(fresh, s)
		}
	}
	return fresh, old
}

// permissions puts scopes and claims into words, grouped by what they are about. openid says no
// more than that there is an account, and a claim that comes with a scope of the request is not
// named twice.
func (f *frame) permissions(scopes, claims, request []string) []permissions {
	var identity, access, offline []string
	for _, scope := range scopes {
		switch {
		case scope == "openid":
		case scope == "offline_access":
			offline = append(offline, f.T("consent.offline"))
		case idp.ScopeClaims(scope) != nil || scope == "groups":
			identity = append(identity, f.T("scope."+scope))
		default:
			access = append(access, f.T("scope.other", "scope", scope))
		}
	}
	for _, claim := range claims {
		if !impliedBy(request, claim) {
			identity = append(identity, f.claim(claim))
		}
	}
	var list []permissions
	add := func(group string, items []string) {
		if len(items) > 0 {
			list = append(list, permissions{group, f.T("consent.group." + group), items})
		}
	}
	add("identity", identity)
	add("access", access)
	add("offline", offline)
	return list
}

// claim puts one claim into words.
func (f *frame) claim(name string) string {
	if impliedBy([]string{"profile", "email", "address", "phone"}, name) {
		return f.T("claim." + name)
	}
	return f.T("claim.other", "claim", name)
}

func impliedBy(scopes []string, claim string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(idp.ScopeClaims(s), claim) })
}
