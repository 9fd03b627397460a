package loginui

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/idp"
	"postern/idp/password"
)

// retryAfter is when to come back where an answer says that we cannot serve but not for how long.
const retryAfter = 5 * time.Second

// A problemPage tells what went wrong, and what to do next.
type problemPage struct {
	*frame
	Code      string
	Title     string
	Body      string
	Hint      string // what differs, for developers; "" for nothing
	Facts     []idp.Fact
	Details   bool // whether it is a developer who can mend it
	At        time.Time
	Back      string // an address of ours that leads on, "" for none
	BackLabel string
}

func (*problemPage) template() string { return "problem.html" }

// ShowProblem answers a request that cannot be answered otherwise: with a page, or with a problem
// document (RFC 9457) where the client prefers JSON.
func (ui *UI) ShowProblem(w http.ResponseWriter, r *http.Request, p idp.Problem) {
	f := ui.frame(r)
	if p.Reference == "" {
		p.Reference = f.Reference
	}
	if p.Status == 0 {
		p.Status = http.StatusInternalServerError
	}
	title, body := f.problemTexts(p)
	if PrefersJSON(r) {
		writeProblem(w, r, p, title, body, nil)
		return
	}
	f.Failed = true
	f.Reference = p.Reference
	page := &problemPage{frame: f, Code: p.Code, Title: title, Body: body, Facts: p.Facts, At: ui.now()}
	page.Details = len(p.Facts) > 0 || problemKinds[p.Code] == "client"
	page.Back, page.BackLabel = f.wayOn(p)
	if key := "hint." + p.Hint; p.Hint != "" && ui.texts.has(key) {
		page.Hint = f.T(key)
	}
	if seconds, err := strconv.Atoi(w.Header().Get("Retry-After")); err == nil && p.Status == http.StatusTooManyRequests {
		f.Wait = ui.waitOf(time.Duration(seconds) * time.Second)
		if kindOfProblem(p) == "throttled" {
			f.Wait.others = othersThan(p.Scope)
		}
	}
	ui.show(w, r, p.Status, page)
}

// problemTexts are the title and the body for a problem: its own, or those of its kind.
func (f *frame) problemTexts(p idp.Problem) (title, body string) {
	kind := kindOfProblem(p)
	if kind == "client" && p.Client == "" {
		kind = "stranger"
	}
	if kind == "throttled" {
		return f.T("rate.title"), f.throttled(p.Scope)
	}
	args := []any{"app", p.Client, "instance", f.Instance, "host", f.host, "reference", p.Reference}
	return f.T("problem."+kind+".title", args...), f.T("problem."+kind+".body", args...)
}

// problemKinds are the codes whose words differ from those of their status.
var problemKinds = map[string]string{
	"cookies_blocked":        "cookies",
	"interaction_unreadable": "link",
	"interaction_foreign":    "browser",
	"interaction_completed":  "completed",
	"interaction_expired":    "expired",
	"client_missing":         "client",
	"client_unknown":         "client",
	"client_disabled":        "client",
	"redirect_uri_missing":   "client",
	"request_malformed":      "client",
	"wrong_host":             "host",
	"blocked":                "blocked",
	"unavailable":            "unreachable",
	"mail_off":               "mail",

	"redirect_uri_unregistered": "client",
}

func kindOfProblem(p idp.Problem) string {
	if kind, ok := problemKinds[p.Code]; ok {
		return kind
	}
	switch {
	case p.Status == http.StatusTooManyRequests:
		return "throttled"
	case p.Status == http.StatusServiceUnavailable:
		return "busy"
	case p.Status == http.StatusNotFound:
		return "missing"
	case p.Status == http.StatusForbidden:
		return "forbidden"
	case p.Client != "":
		return "client"
	case p.Status < http.StatusInternalServerError:
		return "form"
	}
	return "generic"
}

// wayOn is the address that leads on from a problem and what its link says. No page is a dead end.
func (f *frame) wayOn(p idp.Problem) (address, label string) {
	switch back := localPath(p.Back); {
	case p.Code == "wrong_host" && webAddress(p.Back) != "":
		return p.Back, f.host
	case p.Code == "mail_off":
		return back, f.T("reset.back")
	case back == "" || back == accountPath:
		return accountPath, f.T("account.title")
	case p.Code == "interaction_expired" && p.Client != "":
		return back, f.T("problem.onto", "app", p.Client)
	case p.Code == "interaction_expired":
		return back, f.T("problem.again")
	default:
		return back, f.T("problem.back")
	}
}

// localPath is address where it is a path of ours, else "".
func localPath(address string) string {
	if !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") || strings.HasPrefix(address, "/\\") {
		return ""
	}
	return address
}

// writeProblem answers with a problem document (RFC 9457), which has further members as well.
func writeProblem(w http.ResponseWriter, r *http.Request, p idp.Problem, title, body string, members map[string]any) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	document := map[string]any{}
	maps.Copy(document, members)
	maps.Copy(document, map[string]any{"status": p.Status, "code": p.Code, "title": title, "detail": body})
	if p.Reference != "" {
		document["reference"] = p.Reference
	}
	if err := json.NewEncoder(w).Encode(document); err != nil {
		slog.DebugContext(r.Context(), "write problem", "error", err)
	}
}

// PrefersJSON tells whether a problem is answered with JSON: to whom asks for it, and to whom says
// that they are a script.
func PrefersJSON(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest") || prefersJSON(r.Header.Values("Accept"))
}

// prefersJSON tells whether Accept (RFC 9110 §12.5.1) names JSON, and no less than HTML.
func prefersJSON(accept []string) bool {
	var ofJSON, ofHTML float64
	for _, entry := range strings.Split(strings.Join(accept, ","), ",") {
		kind, parameters, _ := strings.Cut(entry, ";")
		weight := 1.0
		for _, parameter := range strings.Split(parameters, ";") {
			if q, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
				weight, _ = strconv.ParseFloat(q, 64)
			}
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "application/json", "application/problem+json":
			ofJSON = max(ofJSON, weight)
		case "text/html", "application/xhtml+xml":
			ofHTML = max(ofHTML, weight)
		}
	}
	return ofJSON > ofHTML
}

// NotFound answers requests for what is not here.
func (ui *UI) NotFound(w http.ResponseWriter, r *http.Request) {
	ui.ShowProblem(w, r, idp.Problem{Status: http.StatusNotFound, Code: "not_found"})
}

// ShowFailure answers with a page for what a deed could not do. What is no idp.Error is logged
// whole and shown as nothing.
func (ui *UI) ShowFailure(w http.ResponseWriter, r *http.Request, err error) {
	e := errorOf(err)
	p := idp.Problem{Status: statusOf(e), Code: e.Code, Scope: scopeOf(e), Back: r.URL.RequestURI()}
	setRetryAfter(w, e)
	switch {
	case noted(e):
		ui.ShowProblem(w, r, p)
		return
	case p.Status < http.StatusInternalServerError:
		ui.refuse(w, r, p)
		return
	}
	ui.logFailure(r, p.Status, err)
	if p.Status == http.StatusInternalServerError {
		p.Code = "internal_error"
	}
	ui.ShowProblem(w, r, p)
}

// explain puts the error of a deed into the page, with whatever else was wrong, each beside the field
// that it belongs to, and returns the status to answer with.
func (ui *UI) explain(w http.ResponseWriter, r *http.Request, f *frame, e *idp.Error) int {
	status := statusOf(e)
	ui.logFailure(r, status, e)
	setRetryAfter(w, e)
	if e.Kind == idp.Throttled {
		f.Wait = ui.waitOf(e.RetryAfter)
		f.Wait.others = othersThan(scopeOf(e))
	}
	field := e.Field
	if e.Code == "invalid_credentials" {
		field = "password" // it is empty now
	}
	f.Failed = true
	f.Errors = append(f.Errors, message{e.Code, field, ui.errorText(f, e, status)})
	for _, more := range e.More {
		f.Errors = append(f.Errors, message{more.Code, more.Field, ui.errorText(f, more, status)})
	}
	return status
}

// errorText is the text of an error's code, or of its status where the code has none.
func (ui *UI) errorText(f *frame, e *idp.Error, status int) string {
	args := []any{"instance", f.Instance}
	for name, value := range e.Args {
		args = append(args, name, value)
	}
	switch {
	case e.Kind == idp.Throttled:
		return f.throttled(scopeOf(e))
	case e.Code == "invalid_credentials" && e.Field != "":
		// Of someone who is signed in, who can only have mistyped the password.
		return f.T("error.wrong_password")
	case e.Code == password.TooWeak:
		return f.weakness(e)
	case ui.texts.has("error." + e.Code):
		return f.T("error."+e.Code, args...)
	case status == http.StatusServiceUnavailable:
		return f.T("error.unavailable")
	}
	return f.T("error.other")
}

// errorOf is the idp.Error in err's chain, or one that says only that something went wrong.
func errorOf(err error) *idp.Error {
	if e, ok := errors.AsType[*idp.Error](err); ok {
		return e
	}
	return &idp.Error{Kind: idp.KindOf(err), Code: "internal_error", Cause: err}
}

// statusOf is the HTTP status of a deed's answer. Wrong credentials are a form to fill in again.
func statusOf(e *idp.Error) int {
	switch e.Kind {
	case idp.Invalid, idp.Conflict, idp.Stale:
		return http.StatusBadRequest
	case idp.Denied:
		switch e.Code {
		case "invalid_credentials", "code_wrong", "code_over", "code_used", "clock_off",
			"passkey_unknown", "passkey_refused", "passkey_known", "passkey_model":
			return http.StatusBadRequest
		case "link_over":
			return http.StatusGone
		}
		return http.StatusForbidden
	case idp.Blocked:
		if e.RetryAfter > 0 {
			return http.StatusTooManyRequests
		}
		return http.StatusForbidden
	case idp.Throttled, idp.Locked:
		return http.StatusTooManyRequests
	case idp.Missing:
		return http.StatusNotFound
	case idp.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// setRetryAfter says when to come back (RFC 9110 §10.2.3), where there is a time.
func setRetryAfter(w http.ResponseWriter, e *idp.Error) {
	d := e.RetryAfter
	switch e.Kind {
	case idp.Throttled, idp.Unavailable:
		if d <= 0 {
			d = retryAfter
		}
	case idp.Locked, idp.Blocked:
		if d <= 0 {
			return
		}
	default:
		return
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
}

// noted tells whether the security log has a line of e already, with more than we know.
func noted(e *idp.Error) bool {
	return e.Kind == idp.Denied || e.Kind == idp.Throttled || e.Kind == idp.Locked || e.Kind == idp.Blocked
}

// logFailure notes a failure of ours whole.
func (ui *UI) logFailure(r *http.Request, status int, err error) {
	if v := idp.VisitorFrom(r.Context()); status >= http.StatusInternalServerError {
		slog.ErrorContext(r.Context(), "page", "path", v.Path, "status", status, "request_id", v.RequestID, "error", err)
	}
}

// refuse answers with a page for what is wrong with a request, and notes it under the reference
// that the page shows.
func (ui *UI) refuse(w http.ResponseWriter, r *http.Request, p idp.Problem) {
	v := idp.VisitorFrom(r.Context())
	var address string
	if v.Address.IsValid() {
		address = v.Address.String()
	}
	slog.InfoContext(r.Context(), "problem page", "request_id", v.RequestID, "address", address,
		"path", v.Path, "status", p.Status, "code", p.Code)
	ui.ShowProblem(w, r, p)
}
