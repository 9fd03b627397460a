package idp

import (
	"errors"
	"fmt"
	"time"
)

// What a Store answers. Callers test with errors.Is; everything else that a store returns means
// that it could not do its work, and is answered 503.
var (
	// ErrNotFound says that there is no such row, or none in the state that was asked for.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that a unique value is taken, or that a row changed since it was read.
	ErrConflict = errors.New("conflict")
	// ErrUncertain says that nobody knows whether a COMMIT took effect (I-9). Nothing is retried.
	ErrUncertain = errors.New("the outcome of the commit is unknown")
)

// A Kind tells the program what became of a deed.
type Kind int

const (
	// Internal is the zero Kind: logged whole, shown as nothing.
	Internal Kind = iota
	// Invalid input, which the person can mend.
	Invalid
	// Denied: the credentials or the right are missing.
	Denied
	// Throttled by the gate; RetryAfter says for how long.
	Throttled
	// Missing: there is no such thing.
	Missing
	// Conflict with what stands, such as a username that is taken.
	Conflict
	// Unavailable: the store or the hash queue cannot serve now; nothing was changed.
	Unavailable
	// Stale: what the page showed holds no more, so it is shown anew (I-6).
	Stale
	// Locked out after too many failures; Error.Lock says by what.
	Locked
	// Blocked: the address may do nothing here.
	Blocked
)

// An Error is what a deed answers a person with: a Kind for the program, a stable Code for tools
// and the person's language (data-error-code), and a cause for the operator.
type Error struct {
	Kind       Kind
	Code       string         // stable, snake case: "invalid_credentials"
	Field      string         // the form field that it belongs to, "" for none
	Args       map[string]any // what the text of Code puts in
	RetryAfter time.Duration  // of Throttled, Unavailable, Locked and Blocked; 0 for no end
	Lock       *LockedOut     // of Locked
	More       []*Error       // of Invalid: whatever else is wrong, each with its Field
	Cause      error          // for the log only
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v", e.Code, e.Cause)
	}
	return e.Code
}

func (e *Error) Unwrap() error { return e.Cause }

// KindOf is the Kind of the first *Error in err's chain, Missing for ErrNotFound, Conflict for
// ErrConflict, and Internal for anything else.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return Missing
	case errors.Is(err, ErrConflict):
		return Conflict
	}
	return Internal
}

// CodeOf is the Code of the first *Error in err's chain, "" for none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// stored tells what became of `doing` where the store answered err: what a Store promises to
// answer stays as it is, an Error too, and everything else means that it cannot serve now.
func stored(doing string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", doing, err)
	if _, ok := errors.AsType[*Error](err); ok || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
		return err
	}
	return &Error{Kind: Unavailable, Code: "unavailable", RetryAfter: retryStore, Cause: err}
}

// retryStore is what a client is told to wait while the database cannot serve.
const retryStore = 5 * time.Second
