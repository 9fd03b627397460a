package loginui

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/idp"
)

// maxFormBytes bounds a form's body: a few fields of text.
const maxFormBytes = 64 << 10

// maxFieldBytes bounds one field: a password of 256 code points, with room to tell its owner that
// it is too long.
const maxFieldBytes = 4 << 10

// maxKeyBytes bounds what a browser answers for a passkey, and the sealed ceremony that it answers: an
// attestation has a chain of certificates.
const maxKeyBytes = 32 << 10

// mostBytes bounds the field called name.
func mostBytes(name string) int {
	if name == "credential" || name == "state" {
		return maxKeyBytes
	}
	return maxFieldBytes
}

// readForm reads the fields of a form, and returns r with a visitor who sent them. Where the form
// cannot be read, or comes without the cookie that every page of ours gave its browser, it has
// answered with a page and returns false.
func (ui *UI) readForm(w http.ResponseWriter, r *http.Request, fields ...string) (*http.Request, url.Values, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	code := formDefect(r, fields)
	if code == "" && idp.VisitorFrom(r.Context()).Browser == [32]byte{} {
		code = "cookies_blocked"
	}
	if code == "" {
		v := *idp.VisitorFrom(r.Context())
		v.Parameters = ui.masked(r.PostForm)
		return r.WithContext(idp.WithVisitor(r.Context(), &v)), r.PostForm, true
	}
	status := http.StatusBadRequest
	if code == "body_too_large" {
		status = http.StatusRequestEntityTooLarge
	}
	ui.refuse(w, r, idp.Problem{
		Status: status, Code: code, Reference: idp.VisitorFrom(r.Context()).RequestID, Back: r.URL.RequestURI(),
	})
	return r, nil, false
}

// onPage is r as if it had come to the path of a page: whatever leads back from the answer to a form whose
// own path has no page leads there.
func onPage(r *http.Request, path string) *http.Request {
	page := *r.URL
	page.Path, page.RawPath = path, ""
	r = r.WithContext(r.Context())
	r.URL = &page
	return r
}

// formDefect is the code of what is wrong with the form of r as such, "" for nothing.
func formDefect(r *http.Request, fields []string) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "form_unreadable"
	}
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return "body_too_large"
		}
		return "form_unreadable"
	}
	for _, name := range fields {
		values := r.PostForm[name]
		switch {
		case len(values) > 1:
			return "field_doubled"
		case len(values) == 0:
			continue
		case !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0):
			return "field_unreadable"
		case len(values[0]) > mostBytes(name):
			return "field_too_long"
		}
	}
	return ""
}

// masked is the form for the record of a failed attempt. What the settings call the fields of the
// sign-in form is as sensitive as what they are, and what a passkey answered is as a password.
func (ui *UI) masked(form url.Values) string {
	sensitive := append(slices.Clone(ui.cfg.Lockout.SensitiveParameters), ui.cfg.Login.PasswordField, "credential", "state")
	if slices.Contains(sensitive, "username") {
		sensitive = append(sensitive, ui.cfg.Login.UsernameField)
	}
	return idp.MaskParameters(form, sensitive)
}

// clip cuts text to at most size bytes of valid UTF-8.
func clip(text string, size int) string {
	if len(text) > size {
		text = text[:size]
	}
	return strings.ToValidUTF8(text, "")
}
