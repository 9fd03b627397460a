package loginui

import (
	"net/http"
	"slices"
	"time"

	"postern/idp"
)

// activityLength is how many events a page has.
const activityLength = 25

// An activityPage tells what happened in somebody's account, newest first.
type activityPage struct {
	*frame
	Events []happening
	Before string // where the older ones begin, "" for none
	Newest bool
}

func (*activityPage) template() string { return "activity.html" }

// A happening is an event in words.
type happening struct {
	Kind    string
	At      time.Time
	Text    string
	Place   string // "" where nobody knows
	Address string
}

// ShowActivity lists the events of whoever is signed in.
func (ui *UI) ShowActivity(w http.ResponseWriter, r *http.Request) {
	visit := ui.signedIn(w, r)
	if visit == nil {
		return
	}
	var before idp.ID
	if text := r.URL.Query().Get("before"); text != "" {
		var err error
		if before, err = idp.ParseID(text); err != nil {
			ui.NotFound(w, r)
			return
		}
	}
	// One more than is shown tells whether there are older ones.
	events, err := ui.provider.Activity(r.Context(), visit, before, activityLength+1)
	if err != nil {
		ui.ShowFailure(w, r, err)
		return
	}
	p := &activityPage{frame: ui.accountFrame(w, r), Newest: before.IsZero()}
	if len(events) > activityLength {
		events = events[:activityLength]
		p.Before = events[activityLength-1].ID.String()
	}
	for i := range events {
		p.Events = append(p.Events, ui.happening(r, p.frame, &events[i]))
	}
	ui.show(w, r, http.StatusOK, p)
}

func (ui *UI) happening(r *http.Request, f *frame, e *idp.Event) happening {
	h := happening{Kind: e.Kind, At: e.At, Address: e.Address}
	app := e.ClientID
	if app != "" {
		if client, err := ui.provider.Client(r.Context(), app); err == nil {
			app = client.DisplayName()
		}
	}
	h.Text = ui.eventText(f, e, app)
	if e.Address != "" {
		h.Place = ui.placeOf(e.Address, f.locale)
	}
	return h
}

// eventText puts an event into words: those of its kind with its app, or those of its kind alone. A
// sign-in by a browser that was not known has words of its own; so have what became of a passkey, and a
// sign-in that was given up after the password.
func (ui *UI) eventText(f *frame, e *idp.Event, app string) string {
	key := "activity.event." + e.Kind
	switch {
	case e.Details["new_device"] == true && ui.texts.has(key+".new"):
		return f.T(key + ".new")
	case e.Details["factor"] == ofPasskey && ui.texts.has(key+"."+ofPasskey):
		return f.T(key + "." + ofPasskey)
	case ui.texts.has(key+".password") && beganByPassword(e):
		return f.T(key + ".password")
	case app != "" && ui.texts.has(key+".app"):
		return f.T(key+".app", "app", app)
	case ui.texts.has(key):
		return f.T(key, "app", app)
	}
	return f.T("activity.event.other", "kind", e.Kind)
}

// beganByPassword tells whether the sign-in of e had a password. Its methods are those that a column kept.
func beganByPassword(e *idp.Event) bool {
	methods, _ := e.Details["methods"].([]any)
	return slices.Contains(methods, any("pwd"))
}
