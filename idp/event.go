package idp

import (
	"context"
	"encoding/json"
	"time"
)

// An Event is one line of the audit log, named subject.verb. It is inserted in the Tx of what it
// tells; one job gives committed events their sequence and hash later (I-17).
type Event struct {
	ID        ID // a UUIDv7
	At        time.Time
	Kind      string // "user.signed_in"
	Actor     string // who did it: a user's ID, "cli", "system", "" for nobody known
	UserID    ID     // whom it concerns, zero for nobody
	ClientID  string
	SessionID ID
	Address   string
	RequestID string
	Details   Details
}

// Details are what else an event tells, never a secret; as a column a JSON object.
type Details map[string]any

// Column implements Column.
func (d Details) Column() (string, error) {
	if len(d) == 0 {
		return "{}", nil
	}
	return columnOf(map[string]any(d))
}

// Scan reads a column.
func (d *Details) Scan(src any) error { return scanColumn((*map[string]any)(d), src) }

// MarshalJSON writes the event as `postern audit` and the log show it.
func (e Event) MarshalJSON() ([]byte, error) {
	line := map[string]any{"id": e.ID, "at": e.At.UTC().Format(time.RFC3339Nano), "kind": e.Kind}
	put := func(name, value string) {
		if value != "" {
			line[name] = value
		}
	}
	put("actor", e.Actor)
	put("client", e.ClientID)
	put("address", e.Address)
	put("request_id", e.RequestID)
	if !e.UserID.IsZero() {
		line["user"] = e.UserID
	}
	if !e.SessionID.IsZero() {
		line["session"] = e.SessionID
	}
	if len(e.Details) > 0 {
		line["details"] = e.Details
	}
	return json.Marshal(line)
}

// EventStore keeps events.
type EventStore interface {
	// AddEvent adds a row.
	AddEvent(ctx context.Context, e Event) error
	// Events lists events in the order of their IDs, those after the ID `after`, at most limit.
	Events(ctx context.Context, after ID, limit int) ([]Event, error)
	// EventsOf lists a user's events, newest first, those before the ID `before` (zero starts at the
	// newest), at most limit.
	EventsOf(ctx context.Context, userID, before ID, limit int) ([]Event, error)
	// PruneEvents deletes events before t, at most a batch, and tells how many.
	PruneEvents(ctx context.Context, t time.Time) (int, error)
}

// Events lists events after an ID.
func (p *Provider) Events(ctx context.Context, after ID, limit int) ([]Event, error) {
	list, err := p.store.Events(ctx, after, bounded(limit))
	return list, stored("list events", err)
}

// maxList bounds every list that a deed returns.
const maxList = 1000

func bounded(limit int) int {
	if limit <= 0 || limit > maxList {
		return maxList
	}
	return limit
}

// record adds e in the Tx of ctx. It fills in its ID, its time, and what the visitor of ctx
// tells; an Actor that e leaves open is the command line where nobody visits. It adds nothing of
// logins where the settings keep none (audit.logins).
func (p *Provider) record(ctx context.Context, e Event) error {
	if !p.cfg.Audit.Logins && (e.Kind == kindSignedIn || e.Kind == kindSignedOut) {
		return nil
	}
	e.At = p.Now()
	e.ID = NewID(e.At)
	v := VisitorFrom(ctx)
	if v.Address.IsValid() {
		e.Address = v.Address.String()
	}
	e.RequestID = v.RequestID
	if e.Actor == "" && v == nobody {
		e.Actor = actorCommand
	}
	return p.store.AddEvent(ctx, e)
}

// noteEvery is how seldom a process records that it ignores a header.
const noteEvery = time.Hour

// NoteIgnoredHeader records that a proxy's header was not believed, and why: an event and a warning
// once an hour, since whoever connects can send it with every request.
func (p *Provider) NoteIgnoredHeader(ctx context.Context, why string) {
	now, last := p.clock().Unix(), p.headerNoted.Load()
	if last != 0 && now-last < int64(noteEvery/time.Second) || !p.headerNoted.CompareAndSwap(last, now) {
		return
	}
	p.log.WarnContext(ctx, "a proxy's header was ignored", "why", why, "address", VisitorFrom(ctx).Address)
	if err := p.recordFailure(ctx, eventIgnoredHeader(why), Attempt{}, nil); err != nil {
		p.log.WarnContext(ctx, "record an ignored header", "error", err)
	}
}

// The kinds of events that others than their constructors ask for.
const (
	kindSignedIn      = "user.signed_in"
	kindSignedOut     = "user.signed_out"
	kindIgnoredHeader = "proxy.header_ignored"
)

// Actors that are no users.
const (
	actorCommand = "cli"
	actorSystem  = "system"
)

// The events, one constructor each. Those of interactions, consents and grants are in their
// nouns' files.

func eventUserAdded(u User) Event {
	return Event{Kind: "user.added", UserID: u.ID, Details: Details{"username": u.Username, "admin": u.Admin}}
}

// eventUserImported tells of a user who came from a file, and the scheme of their hash, "" for none.
func eventUserImported(u User, scheme string) Event {
	details := Details{"username": u.Username, "admin": u.Admin}
	if scheme != "" {
		details["scheme"] = scheme
	}
	return Event{Kind: "user.imported", UserID: u.ID, Details: details}
}

func eventUserDisabled(u User, sessions, grants int) Event {
	return Event{Kind: "user.disabled", UserID: u.ID, Details: Details{"sessions_ended": sessions, "grants_revoked": grants}}
}

func eventUserEnabled(u User) Event { return Event{Kind: "user.enabled", UserID: u.ID} }

func eventUserDeleted(u User) Event {
	return Event{Kind: "user.deleted", UserID: u.ID, Details: Details{"username": u.Username}}
}

// eventPasswordSet tells of a password that an operator set.
func eventPasswordSet(u User, sessions, grants int) Event {
	return Event{Kind: "user.password_set", UserID: u.ID, Details: Details{"sessions_ended": sessions, "grants_revoked": grants}}
}

// eventPasswordLent tells of a password that an operator set, and that its user has to change.
func eventPasswordLent(u User, sessions, grants int) Event {
	e := eventPasswordSet(u, sessions, grants)
	e.Details["must_change"] = true
	return e
}

// eventPasswordChanged tells of a password that its user changed.
func eventPasswordChanged(s Session, sessions, grants int) Event {
	return Event{
		Kind: "user.password_changed", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID,
		Details: Details{"sessions_ended": sessions, "grants_revoked": grants},
	}
}

// eventPasswordNotConfirmed tells that somebody in a live session did not know its password.
func eventPasswordNotConfirmed(s Session) Event {
	return Event{
		Kind: "user.password_change_failed", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID,
		Details: Details{"why": "wrong_password"},
	}
}

func eventSignedIn(s Session, clientID string) Event {
	return Event{
		Kind: kindSignedIn, Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID, ClientID: clientID,
		Details: Details{"methods": s.Methods.amr(), "remembered": s.Remembered},
	}
}

// eventSignInFailed tells of an attempt that failed, as far as its record does.
func eventSignInFailed(a Attempt) Event {
	details := Details{"why": a.Why, "kind": a.Kind}
	if a.Name != "" {
		details["username"] = a.Name
	}
	if a.UserAgent != "" {
		details["user_agent"] = a.UserAgent
	}
	return Event{Kind: "user.sign_in_failed", UserID: a.UserID, ClientID: a.ClientID, Details: details}
}

func eventSignedOut(s Session) Event {
	return Event{Kind: kindSignedOut, Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID}
}

func eventSessionEnded(id, userID ID, why string) Event {
	return Event{Kind: "session.ended", UserID: userID, SessionID: id, Details: Details{"why": why}}
}

func eventSessionsEnded(userID ID, sessions int) Event {
	return Event{Kind: "user.sessions_ended", UserID: userID, Details: Details{"sessions_ended": sessions}}
}

func eventClientAdded(c Client) Event {
	return Event{Kind: "client.added", ClientID: c.ID, Details: Details{"name": c.Metadata.Name}}
}

func eventClientSecretRotated(c Client, revoked int) Event {
	return Event{Kind: "client.secret_rotated", ClientID: c.ID, Details: Details{"revoked": revoked}}
}

// eventClientSecretsRevoked tells that all secrets but the newest ended.
func eventClientSecretsRevoked(c Client, revoked int) Event {
	return Event{Kind: "client.secrets_revoked", ClientID: c.ID, Details: Details{"revoked": revoked}}
}

// eventClientUpdated tells what the client demands from now on of whoever signs in for it.
func eventClientUpdated(c Client) Event {
	d := Details{"minimum_acr": c.Metadata.MinimumACR, "default_acr_values": c.Metadata.DefaultACRValues}
	return Event{Kind: "client.updated", ClientID: c.ID, Details: d}
}

func eventClientDeleted(id string) Event { return Event{Kind: "client.deleted", ClientID: id} }

func eventKeyAdded(k Key) Event {
	return Event{Kind: "key.added", Details: Details{"kid": k.ID, "alg": k.Alg, "state": string(k.State)}}
}

// eventKeyChanged tells that k is now active or retired, and whether a job or somebody did it.
func eventKeyChanged(k Key, actor string) Event {
	return Event{Kind: "key." + string(k.State), Actor: actor, Details: Details{"kid": k.ID, "alg": k.Alg}}
}

func eventKeysResealed(keys int, root uint16) Event {
	return Event{Kind: "key.resealed", Details: Details{"keys": keys, "root_key": root}}
}

// eventKeyWithdrawn tells that somebody took k out of the key set before its time.
func eventKeyWithdrawn(k Key) Event {
	return Event{Kind: "key.withdrawn", Details: Details{"kid": k.ID, "alg": k.Alg, "state": string(k.State)}}
}

func eventKeyRemoved(k Key) Event {
	return Event{Kind: "key.removed", Actor: actorSystem, Details: Details{"kid": k.ID, "alg": k.Alg}}
}

func eventIgnoredHeader(why string) Event {
	return Event{Kind: kindIgnoredHeader, Actor: actorSystem, Details: Details{"why": why}}
}

func eventPruned(d Pruned, before time.Time) Event {
	return Event{Kind: "audit.pruned", Details: Details{
		"before": before.UTC().Format(time.RFC3339), "events": d.Events, "attempts": d.Attempts, "logins": d.Logins,
	}}
}
