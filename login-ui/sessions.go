package loginui

import (
	"net/http"
	"slices"
	"time"

	"postern/idp"
)

// stepSessions is the step of the form that ends sessions.
const stepSessions idp.Step = "sessions"

// everyOther is what the button says that ends all sessions but the present one.
const everyOther = "others"

// A sessionsPage lists where somebody is signed in.
type sessionsPage struct {
	*frame
	Tx       string
	Sessions []ownSession
	Others   bool // whether there are any but the present one
}

func (*sessionsPage) template() string { return "sessions.html" }

// An ownSession is a line of that list.
type ownSession struct {
	ID         string
	Device     string
	Place      string // "" where nobody knows
	Address    string
	Current    bool
	New        bool
	SignedInAt time.Time
	SeenAt     time.Time
	Active     bool     // within the last minutes
	Methods    []string // in words
	Apps       []string
}

// activeFor is how long somebody counts as active who was seen: sessions are touched once a minute.
const activeFor = 5 * time.Minute

// ShowSessions lists the sessions of whoever is signed in.
func (ui *UI) ShowSessions(w http.ResponseWriter, r *http.Request) {
	if t := ui.own(w, r, stepSessions); t != nil {
		ui.showSessions(w, t, http.StatusOK, ui.accountFrame(w, r))
	}
}

func (ui *UI) showSessions(w http.ResponseWriter, t *turn, status int, f *frame) {
	list, err := ui.provider.OwnSessions(t.r.Context(), t.visit)
	if err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	p := &sessionsPage{frame: f}
	for i := range list {
		s := f.session(&list[i], ui.now())
		s.Place = ui.placeOf(s.Address, f.locale)
		p.Others = p.Others || !s.Current
		p.Sessions = append(p.Sessions, s)
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, t.r, status, p)
	}
}

func (f *frame) session(s *idp.OwnSession, now time.Time) ownSession {
	line := ownSession{
		ID: s.ID.String(), Device: f.device(s.UserAgent), Address: s.Address, Current: s.Current, New: s.New,
		SignedInAt: s.AuthTime(), SeenAt: s.LastSeenAt, Active: s.Current || now.Sub(s.LastSeenAt) < activeFor,
	}
	for _, m := range s.Methods {
		if text := f.method(m.Name); !slices.Contains(line.Methods, text) {
			line.Methods = append(line.Methods, text)
		}
	}
	for i := range s.Apps {
		line.Apps = append(line.Apps, s.Apps[i].DisplayName())
	}
	return line
}

// method puts the name of a method into words.
func (f *frame) method(name string) string {
	switch name {
	case idp.MethodPassword:
		return f.T("sessions.method.password")
	case idp.MethodPasskey:
		return f.T("sessions.method.key")
	case idp.MethodTOTP:
		return f.T("sessions.method.app")
	case idp.MethodRecovery:
		return f.T("sessions.method.recovery")
	}
	return f.T("sessions.method.code")
}

// SubmitSessions ends a session, or all but the present one.
func (ui *UI) SubmitSessions(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepSessions, "session")
	if t == nil {
		return
	}
	id, notice := idp.ID{}, "sessions_ended"
	if which := form.Get("session"); which != everyOther {
		var err error
		if id, err = idp.ParseID(which); err != nil || id.IsZero() {
			ui.NotFound(w, r)
			return
		}
		notice = "session_ended"
	}
	f := ui.accountFrame(w, t.r)
	_, err := ui.provider.EndOwnSession(t.r.Context(), t.visit, id)
	t.settle(w, f, err, form, func() {
		if id == t.visit.Session.ID {
			ui.cookies.clear(w, sessionCookie)
			seeOther(w, "/logout")
			return
		}
		ui.notify(w, notice, sessionsPath)
	}, func(status int) { ui.showSessions(w, t, status, f) })
}
