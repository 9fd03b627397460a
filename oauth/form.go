package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Limits of what a client may send, in bytes. The longest honest parameter is an id_token_hint of
// some 2 KiB; the whole of an authorization request must fit into a URL or a row (I-25).
const (
	maxBody      = 64 << 10
	maxParameter = 16 << 10
	maxNamed     = 64 // of a name in an error, which a header may repeat
)

const formType = "application/x-www-form-urlencoded"

// readForm reads the parameters of a POST from its body alone: what the address carries beside
// them does not count, as secrets must not be sent there (RFC 6749 §2.3.1).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *failure) {
	if !isForm(r.Header.Get("Content-Type")) {
		return nil, refuse("invalid_request", "The body must be "+formType+".")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		f := refuse("invalid_request", "The body is longer than 64 KiB.")
		f.status = http.StatusRequestEntityTooLarge
		return nil, f
	}
	if err != nil {
		return nil, refuse("invalid_request", "The body could not be read.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return form, refuse("invalid_request", "The body is not properly form-encoded.")
	}
	return form, nil
}

func isForm(contentType string) bool {
	if contentType == formType {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && strings.EqualFold(kind, formType)
}

// checkForm refuses what no parameter of any of our endpoints may be: sent more than once
// (RFC 6749 §3.2; `resource` is the exception of RFC 8707 §2), too long or not UTF-8.
func checkForm(form url.Values) *failure {
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return refuse("invalid_request", "The parameter "+cutName(name)+" was sent more than once.")
		}
		for _, value := range values {
			if len(value) > maxParameter {
				return refuse("invalid_request", "The parameter "+cutName(name)+" is too long.")
			}
			if !isText(value) {
				return refuse("invalid_request", "The parameter "+cutName(name)+" is not valid UTF-8 text.")
			}
		}
	}
	return nil
}

// cutName is as much of a name that somebody sent as an error repeats.
func cutName(name string) string { return name[:min(len(name), maxNamed)] }

// isText tells whether s is UTF-8 without NUL, which PostgreSQL cannot keep.
func isText(s string) bool {
	return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// readTokenForm reads and checks a request to the token, introspection or revocation endpoint.
func readTokenForm(w http.ResponseWriter, r *http.Request) (url.Values, *failure) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		f := refuse("invalid_request", "The method must be POST.")
		f.status = http.StatusMethodNotAllowed
		return nil, f
	}
	form, f := readForm(w, r)
	if f != nil {
		return nil, f
	}
	return form, checkForm(form)
}
