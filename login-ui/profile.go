package loginui

import (
	"net/http"
	"net/url"
	"strings"

	"postern/idp"
)

// stepProfile is the step of the form that changes a profile.
const stepProfile idp.Step = "profile"

// A profilePage changes what relying parties learn of somebody.
type profilePage struct {
	*frame
	Tx     string
	Groups []profileGroup
	Signal *passkeySignal // of another name
}

func (*profilePage) template() string { return "profile.html" }

// A profileGroup is what belongs together of a profile.
type profileGroup struct {
	Title  string
	Fields []profileField
}

// A profileField is one claim of OpenID Connect Core 1.0 §5.1, or one part of an address (§5.1.1).
type profileField struct {
	Name         string // of the claim, and of the form's field
	Label        string
	Hint         string // "" for none
	Value        string
	Type         string
	Autocomplete string
	Lines        bool // whether it has more than one line
}

// claimFields are the claims that people may edit, in groups. preferred_username is none of them:
// relying parties take it for who somebody is.
var claimFields = []struct {
	group  string
	fields []profileField
}{
	{"name", []profileField{
		{Name: "name", Type: "text", Autocomplete: "name"},
		{Name: "given_name", Type: "text", Autocomplete: "given-name"},
		{Name: "middle_name", Type: "text", Autocomplete: "additional-name"},
		{Name: "family_name", Type: "text", Autocomplete: "family-name"},
		{Name: "nickname", Type: "text", Autocomplete: "nickname"},
	}},
	{"about", []profileField{
		{Name: "birthdate", Type: "text", Autocomplete: "bday"},
		{Name: "gender", Type: "text", Autocomplete: "sex"},
		{Name: "picture", Type: "url", Autocomplete: "photo"},
		{Name: "website", Type: "url", Autocomplete: "url"},
		{Name: "profile", Type: "url", Autocomplete: "off"},
	}},
	{"contact", []profileField{
		{Name: "phone_number", Type: "tel", Autocomplete: "tel"},
		{Name: "street_address", Autocomplete: "street-address", Lines: true},
		{Name: "postal_code", Type: "text", Autocomplete: "postal-code"},
		{Name: "locality", Type: "text", Autocomplete: "address-level2"},
		{Name: "region", Type: "text", Autocomplete: "address-level1"},
		{Name: "country", Type: "text", Autocomplete: "country-name"},
	}},
	{"region", []profileField{
		{Name: "locale", Type: "text", Autocomplete: "language"},
		{Name: "zoneinfo", Type: "text", Autocomplete: "off"},
	}},
}

// claimValues are where the fields are in a profile.
func claimValues(p *idp.Profile, a *idp.Address) map[string]*string {
	return map[string]*string{
		"name": &p.Name, "given_name": &p.GivenName, "middle_name": &p.MiddleName, "family_name": &p.FamilyName,
		"nickname": &p.Nickname, "birthdate": &p.Birthdate, "gender": &p.Gender, "picture": &p.Picture,
		"website": &p.Website, "profile": &p.Profile, "phone_number": &p.PhoneNumber, "locale": &p.Locale,
		"zoneinfo": &p.Zoneinfo, "street_address": &a.StreetAddress, "postal_code": &a.PostalCode,
		"locality": &a.Locality, "region": &a.Region, "country": &a.Country,
	}
}

// claimNames are the names of all fields.
func claimNames() []string {
	var names []string
	for _, group := range claimFields {
		for _, field := range group.fields {
			names = append(names, field.Name)
		}
	}
	return names
}

// fields puts a profile into the groups of the form.
func (f *frame) fields(p idp.Profile, hints func(key string) bool) []profileGroup {
	var address idp.Address
	if p.Address != nil {
		address = *p.Address
	}
	values := claimValues(&p, &address)
	var groups []profileGroup
	for _, group := range claimFields {
		g := profileGroup{Title: f.T("profile.group." + group.group)}
		for _, field := range group.fields {
			field.Label, field.Value = f.T("profile.field."+field.Name), *values[field.Name]
			if key := "profile.hint." + field.Name; hints(key) {
				field.Hint = f.T(key)
			}
			g.Fields = append(g.Fields, field)
		}
		groups = append(groups, g)
	}
	return groups
}

// profileOf is `before` with what the form has; a field that the form lacks stays as it was. A
// written form of the address that was kept with its parts goes when one of them changes.
func profileOf(before idp.Profile, form url.Values) idp.Profile {
	p, address := before, idp.Address{}
	if before.Address != nil {
		address = *before.Address
	}
	was := address
	for name, value := range claimValues(&p, &address) {
		if form.Has(name) {
			*value = strings.TrimSpace(strings.ReplaceAll(form.Get(name), "\r\n", "\n"))
		}
	}
	if address != was {
		address.Formatted = ""
	}
	p.Address = &address
	if address == (idp.Address{}) {
		p.Address = nil
	}
	if p.PhoneNumber != before.PhoneNumber {
		p.PhoneVerified = false
	}
	return p
}

// ShowProfile shows the profile of whoever is signed in.
func (ui *UI) ShowProfile(w http.ResponseWriter, r *http.Request) {
	t := ui.own(w, r, stepProfile)
	if t == nil {
		return
	}
	p := &profilePage{frame: ui.accountFrame(w, r)}
	if p.Notice != nil && p.Notice.Code == "profile_kept" {
		own, err := ui.provider.OwnFactors(r.Context(), t.visit)
		if err != nil {
			ui.ShowFailure(w, r, err)
			return
		}
		p.Signal = detailsOf(ui.provider.PasskeyRPID(), own.Handle, &t.visit.User)
	}
	ui.showProfile(w, t, http.StatusOK, p, t.visit.User.Profile)
}

func (ui *UI) showProfile(w http.ResponseWriter, t *turn, status int, p *profilePage, profile idp.Profile) {
	p.Groups = p.fields(profile, ui.texts.has)
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

// SubmitProfile changes the profile of whoever is signed in.
func (ui *UI) SubmitProfile(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readOwn(w, r, stepProfile, claimNames()...)
	if t == nil {
		return
	}
	if !t.sealHolds() {
		p := &profilePage{frame: ui.accountFrame(w, t.r)}
		p.Notice = t.outdated()
		ui.showProfile(w, t, http.StatusBadRequest, p, profileOf(t.visit.User.Profile, form))
		return
	}
	ui.changeProfile(w, t, form)
}

func (ui *UI) changeProfile(w http.ResponseWriter, t *turn, form url.Values) {
	t.step = stepProfile
	profile := profileOf(t.visit.User.Profile, form)
	p := &profilePage{frame: ui.accountFrame(w, t.r)}
	err := ui.provider.ChangeProfile(t.r.Context(), t.visit, profile)
	t.settle(w, p.frame, err, changedClaims(t.visit.User.Profile, form), func() { ui.notify(w, "profile_kept", profilePath) },
		func(status int) { ui.showProfile(w, t, status, p, profile) })
}

// changedClaims are the fields of the form that differ from a profile: what must wait for a proof
// of who is here fits into an address then.
func changedClaims(before idp.Profile, form url.Values) url.Values {
	var address idp.Address
	if before.Address != nil {
		address = *before.Address
	}
	values, changed := claimValues(&before, &address), url.Values{}
	for _, name := range claimNames() {
		if form.Has(name) && form.Get(name) != *values[name] {
			changed.Set(name, form.Get(name))
		}
	}
	return changed
}
