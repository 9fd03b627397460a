package idp

import (
	"context"
	"slices"
	"time"

	"postern/idp/guard"
)

// An Attempt is the record of one that failed: a sign-in, the proof of a password by who is signed
// in, or somebody caught in the honeypot. It has no secret, and what the settings call sensitive is
// masked.
type Attempt struct {
	ID ID        `json:"id"` // a UUIDv7
	At time.Time `json:"at"`
	// Bucket is whose attempts are bounded together: the user's ID, "unknown" for names that are
	// nobody's, "honeypot".
	Bucket     string `json:"-"`
	Kind       string `json:"kind"`           // sign_in, confirm, honeypot
	UserID     ID     `json:"user,omitzero"`  // zero where the name is nobody's
	Name       string `json:"name,omitempty"` // as typed, masked or cut to 255 bytes
	Address    string `json:"address,omitempty"`
	UserAgent  string `json:"user_agent,omitempty"` // at most 255 bytes
	Path       string `json:"path,omitempty"`       // at most 255 bytes
	Parameters string `json:"parameters,omitempty"` // at most 1024 bytes: name=value&…, masked
	ClientID   string `json:"client,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	Why        string `json:"why"` // wrong_password, unknown_user, disabled …
}

// An AttemptFilter says which attempts; empty fields say nothing.
type AttemptFilter struct {
	Kind    string
	UserID  ID
	Address string
	Since   time.Time
}

// AttemptStore keeps attempts.
type AttemptStore interface {
	// AddAttempt adds a row and removes the oldest of its bucket beyond `keep`, 0 for no bound.
	AddAttempt(ctx context.Context, a Attempt, keep int) error
	// Attempts lists attempts, newest first, those before the ID `before` (zero for all), at most
	// limit.
	Attempts(ctx context.Context, f AttemptFilter, before ID, limit int) ([]Attempt, error)
	// CountAttempts counts them.
	CountAttempts(ctx context.Context, f AttemptFilter) (int, error)
	// PruneAttempts deletes those before t, at most a batch, and tells how many.
	PruneAttempts(ctx context.Context, t time.Time) (int, error)
}

// Attempts lists failed attempts, newest first, those before an ID.
func (p *Provider) Attempts(ctx context.Context, f AttemptFilter, before ID, limit int) ([]Attempt, error) {
	list, err := p.store.Attempts(ctx, f, before, bounded(limit))
	return list, stored("list failed attempts", err)
}

const (
	attemptHoneypot = "honeypot" // its kind, and its bucket
	bucketUnknown   = "unknown"
)

// What is kept of a request, in bytes.
const (
	maxAttemptText       = 255
	maxAttemptParameters = 1024
)

// masked is what a record shows in place of a value.
const masked = "********************"

// attempt is the record of a failure of the visitor of ctx. name is as typed; u is zero where it is
// nobody's.
func (p *Provider) attempt(ctx context.Context, kind string, u User, name, clientID, why string) Attempt {
	v, now := VisitorFrom(ctx), p.Now()
	a := Attempt{
		ID: NewID(now), At: now, Bucket: bucketUnknown, Kind: kind, UserID: u.ID,
		Name:       p.masks("username", guard.Clean(name, maxAttemptText)),
		UserAgent:  guard.Clean(v.UserAgent, maxAttemptText),
		Path:       guard.Clean(v.Path, maxAttemptText),
		Parameters: guard.Clean(v.Parameters, maxAttemptParameters),
		ClientID:   clientID, RequestID: v.RequestID, Why: why,
	}
	switch {
	case kind == attemptHoneypot:
		a.Bucket = attemptHoneypot
	case !u.ID.IsZero():
		a.Bucket = u.ID.String()
	}
	if v.Address.IsValid() {
		a.Address = p.masks("ip_address", v.Address.String())
	}
	return a
}

// masks is value, or the mask where the settings call its parameter sensitive.
func (p *Provider) masks(parameter, value string) string {
	if value != "" && slices.Contains(p.cfg.Lockout.SensitiveParameters, parameter) {
		return masked
	}
	return value
}

// recordFailure records what a deed refused, in a Tx of its own, though the sender left: nobody
// hides a guess by closing the connection. a is the row of the failure log, where the settings have
// one; the zero Attempt is none. `also`, where it is not nil, takes part in the Tx.
func (p *Provider) recordFailure(ctx context.Context, e Event, a Attempt, also func(context.Context) error) error {
	ctx, cancel := staying(ctx)
	defer cancel()
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.record(ctx, e); err != nil {
			return err
		}
		if a.Kind != "" && p.cfg.Lockout.FailureLog {
			if err := p.store.AddAttempt(ctx, a, p.cfg.Lockout.FailureLogPerUser); err != nil {
				return err
			}
		}
		if also == nil {
			return nil
		}
		return also(ctx)
	})
	if err == nil && a.Kind != "" && p.cfg.Lockout.Verbose {
		p.log.InfoContext(ctx, "an attempt failed", "kind", a.Kind, "why", a.Why, "user", a.UserID,
			"client", a.ClientID, "address", a.Address, "request_id", a.RequestID)
	}
	return err
}
