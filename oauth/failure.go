package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ory/fosite"

	"postern/idp"
)

// A failure is an error that a client is told: the code and the description of RFC 6749 §5.2, or
// of RFC 6750 §3.1 at a resource of ours.
type failure struct {
	status      int
	code        string
	description string
	retryAfter  time.Duration // zero for never
	cause       error         // for the log only
	stepUp      *StepUp       // what a stronger token must show, nil for nothing
}

func (f *failure) Error() string {
	if f.cause != nil {
		return f.code + ": " + f.cause.Error()
	}
	return f.code + ": " + f.description
}

func (f *failure) Unwrap() error { return f.cause }

// refuse is a failure with the status 400.
func refuse(code, description string) *failure {
	return &failure{status: http.StatusBadRequest, code: code, description: description}
}

// unavailable is a failure of ours that may pass. RFC 6749 §5.2 has no code for it at the token
// endpoint, so the one of §4.1.2.1 is used everywhere.
func unavailable(cause error) *failure {
	return &failure{
		status: http.StatusServiceUnavailable, code: "temporarily_unavailable",
		description: "The server cannot answer now. Try again later.",
		retryAfter:  time.Second, cause: cause,
	}
}

// invalidClient is the one answer to whoever cannot prove to be a client; why is for the log.
func invalidClient(why string) *failure {
	return &failure{
		status: http.StatusUnauthorized, code: "invalid_client", description: "Client authentication failed.",
		cause: errors.New(why),
	}
}

// failureOf makes a failure of any error. What neither idp nor fosite has a name for comes from
// the store and is a 503.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*idp.Error](err); ok {
		return failureOfDeed(e)
	}
	if e, ok := errors.AsType[*fosite.RFC6749Error](err); ok {
		return failureOfGrant(e)
	}
	return unavailable(err)
}

func failureOfDeed(e *idp.Error) *failure {
	switch e.Kind {
	case idp.Throttled:
		// RFC 6585 §4.
		return &failure{
			status: http.StatusTooManyRequests, code: "temporarily_unavailable",
			description: "Too many failed attempts. Try again later.",
			retryAfter:  max(e.RetryAfter, time.Second), cause: e,
		}
	case idp.Denied:
		if e.Code == "invalid_grant" {
			return &failure{
				status: http.StatusBadRequest, code: "invalid_grant",
				description: "The grant is not valid, was used before or was revoked.", cause: e,
			}
		}
		return invalidClient(e.Error())
	case idp.Invalid:
		f := refuse(e.Code, "The parameter "+e.Field+" is not valid.")
		if e.Cause != nil {
			f.description = e.Cause.Error() // a request's parser words it for the client
		}
		return f
	}
	f := unavailable(e)
	f.retryAfter = max(e.RetryAfter, f.retryAfter)
	return f
}

// failureOfGrant tells the client what fosite found, but neither its debug text nor its status:
// the statuses are those of RFC 6749 §5.2.
func failureOfGrant(e *fosite.RFC6749Error) *failure {
	if e.CodeField >= http.StatusInternalServerError {
		return unavailable(e)
	}
	description := e.HintField
	if description == "" {
		description = e.DescriptionField
	}
	f := refuse(e.ErrorField, description)
	f.cause = e
	return f
}

// writeFailure answers a request to the token, introspection or revocation endpoint with the JSON
// object of RFC 6749 §5.2. form is nil where it could not be read.
func writeFailure(w http.ResponseWriter, r *http.Request, form url.Values, f *failure) {
	h := w.Header()
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="postern"`) // RFC 6749 §5.2, RFC 9110 §15.5.2
	}
	if f.status < http.StatusInternalServerError {
		logRefusal(r.Context(), shownID(r, form), f)
	}
	writeRetry(r.Context(), w, f)
	writeError(w, f)
}

func writeError(w http.ResponseWriter, f *failure) {
	writeJSON(w, f.status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{f.code, printable(f.description)})
}

// writeRetry sets Retry-After, and logs what is ours to mend.
func writeRetry(ctx context.Context, w http.ResponseWriter, f *failure) {
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((f.retryAfter+time.Second-1)/time.Second), 10))
	}
	if f.status < http.StatusInternalServerError {
		return
	}
	slog.ErrorContext(ctx, "request not served", "request_id", idp.VisitorFrom(ctx).RequestID, "status", f.status, "error", f.Error())
}

// writeJSON writes v, which is never stored by anybody on the way (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("write json: " + err.Error()) // v is a type of ours without anything that can fail
	}
	h := w.Header()
	noStore(h)
	h["Content-Type"] = typeJSON
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// Header values that all answers share: a handler that sets another replaces them.
var (
	typeJSON  = []string{"application/json"}
	notStored = []string{"no-store"}
	notCached = []string{"no-cache"}
)

func noStore(h http.Header) {
	h["Cache-Control"] = notStored
	h["Pragma"] = notCached
}

// printable replaces what error_description must not have: it is %x20-21 / %x23-5B / %x5D-7E
// (RFC 6749 §5.2).
func printable(s string) string {
	for i := range len(s) {
		if !describable(s[i]) {
			return replaceUnprintable(s)
		}
	}
	return s
}

func describable(b byte) bool { return b >= 0x20 && b <= 0x7e && b != '"' && b != '\\' }

func replaceUnprintable(s string) string {
	clean := make([]byte, 0, len(s))
	for _, r := range s {
		switch {
		case r == '"':
			clean = append(clean, '\'')
		case r < 0x80 && describable(byte(r)):
			clean = append(clean, byte(r))
		default:
			clean = append(clean, '?')
		}
	}
	return string(clean)
}
