package loginui

import (
	"net/http"
	"net/url"
	"time"

	"postern/config"
	"postern/idp"
)

// A lockoutPage tells somebody that they are locked out.
type lockoutPage struct {
	*frame
	lockout
	Title   string
	Message string
	Back    string // an address of ours where they may try again
}

// A lockout is what somebody who is locked out may know: the values that django-axes gives its
// template.
type lockout struct {
	FailureLimit     int
	Username         string        // as typed, "" where nothing was
	CooloffTime      string        // in ISO 8601, "" where somebody must clear the lock
	CooloffTimedelta string        // the same in words
	RetryAfter       int           // in seconds, 0 for no end
	cooloff          time.Duration // 0 for none
}

func (*lockoutPage) template() string { return "lockout.html" }

// Permanent tells whether the lock has no end.
func (l lockout) Permanent() bool { return l.cooloff == 0 }

func (f *frame) lockout(e *idp.Error) lockout {
	var l lockout
	if e.Lock != nil {
		l = lockout{FailureLimit: e.Lock.FailureLimit, Username: e.Lock.Username, cooloff: e.Lock.Cooloff}
	}
	if e.RetryAfter > 0 {
		l.RetryAfter = int(wholeSeconds(e.RetryAfter) / time.Second)
	}
	if l.cooloff > 0 {
		l.CooloffTime, l.CooloffTimedelta = iso8601(l.cooloff), f.span(l.cooloff)
	}
	return l
}

// showLockout answers somebody who is locked out, as lockout.response says. A page of the theme goes
// before the redirect.
func (ui *UI) showLockout(w http.ResponseWriter, r *http.Request, f *frame, e *idp.Error) {
	set := &ui.cfg.Lockout
	setRetryAfter(w, e)
	if !set.RetryAfter {
		w.Header().Del("Retry-After")
	}
	l := f.lockout(e)
	title, message := f.lockoutTexts(l, *set)
	if set.Response == "json" || PrefersJSON(r) {
		ui.writeLockout(w, r, l, title, message)
		return
	}
	if set.Response == "redirect" && !ui.pages.themes("lockout.html") && !leadsTo(set.RedirectURL, r) {
		seeOther(w, set.RedirectURL)
		return
	}
	f.Failed = true
	if e.RetryAfter > 0 {
		f.Wait = ui.waitOf(e.RetryAfter)
		f.Wait.others = othersThan(scopeOf(e))
	}
	ui.show(w, r, set.Status, &lockoutPage{
		frame: f, lockout: l, Title: title, Message: message, Back: r.URL.RequestURI(),
	})
}

// leadsTo tells whether a redirect to address would lead to r again, and so for ever.
func leadsTo(address string, r *http.Request) bool {
	u, err := url.Parse(address)
	return err != nil || u.Path == r.URL.Path
}

func (f *frame) lockoutTexts(l lockout, set config.Lockout) (title, message string) {
	kind, own := "lockout.wait", set.CooloffMessage
	if l.Permanent() {
		kind, own = "lockout.stay", set.PermalockMessage
	}
	title = f.T(kind + ".title")
	if own != "" {
		return title, own
	}
	return title, f.T(kind+".body", "count", l.FailureLimit, "span", l.CooloffTimedelta, "instance", f.Instance)
}

func (ui *UI) writeLockout(w http.ResponseWriter, r *http.Request, l lockout, title, message string) {
	members := map[string]any{"failure_limit": l.FailureLimit, "username": l.Username}
	if !l.Permanent() {
		members["cooloff_time"], members["cooloff_timedelta"] = l.CooloffTime, l.CooloffTimedelta
	}
	if l.RetryAfter > 0 {
		members["retry_after"] = l.RetryAfter
	}
	p := idp.Problem{Status: ui.cfg.Lockout.Status, Code: "locked_out", Reference: idp.VisitorFrom(r.Context()).RequestID}
	writeProblem(w, r, p, title, message, members)
}

// ShowBlocked answers somebody from whose address nothing may be done here: err is an idp.Error of
// the Kind Blocked. It says nothing of which list that is on.
func (ui *UI) ShowBlocked(w http.ResponseWriter, r *http.Request, err error) {
	e := errorOf(err)
	setRetryAfter(w, e)
	ui.ShowProblem(w, r, idp.Problem{
		Status: statusOf(e), Code: e.Code, Reference: idp.VisitorFrom(r.Context()).RequestID, Back: r.URL.Path,
	})
}

// turnAway answers with a page of its own for what no form can mend. f is the frame of the page that
// the person would have seen.
func (ui *UI) turnAway(w http.ResponseWriter, r *http.Request, f *frame, err error) {
	switch e := errorOf(err); e.Kind {
	case idp.Locked:
		ui.showLockout(w, r, f, e)
	case idp.Blocked:
		ui.ShowBlocked(w, r, err)
	default:
		ui.ShowFailure(w, r, err)
	}
}
