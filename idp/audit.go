package idp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"postern/idp/guard"
)

// Pruned is how many records were deleted.
type Pruned struct {
	Events   int `json:"events"`
	Attempts int `json:"attempts"`
	Logins   int `json:"logins"` // sessions that had ended
}

// PruneRecords deletes the events, the failed attempts and the ended sessions from before a time,
// and records that it did. What was deleted before an error stays deleted, and is counted.
func (p *Provider) PruneRecords(ctx context.Context, before time.Time) (Pruned, error) {
	d, err := p.pruneLogs(ctx, before)
	if err != nil {
		return d, err
	}
	if d.Events, err = inBatches(ctx, before, p.store.PruneEvents); err != nil {
		return d, stored("prune events", err)
	}
	return d, stored("record what was pruned", p.record(ctx, eventPruned(d, before)))
}

// pruneEvery is how often what is older than audit.retention is deleted.
const pruneEvery = time.Hour

// pruneOld is the chore of audit.retention. Events stay until somebody prunes them.
func (p *Provider) pruneOld(ctx context.Context) error {
	_, err := p.pruneLogs(ctx, p.Now().Add(-p.cfg.Audit.Retention))
	return err
}

func (p *Provider) pruneLogs(ctx context.Context, before time.Time) (d Pruned, err error) {
	if d.Attempts, err = inBatches(ctx, before, p.store.PruneAttempts); err != nil {
		return d, stored("prune failed attempts", err)
	}
	if d.Logins, err = inBatches(ctx, before, p.store.PruneSessions); err != nil {
		return d, stored("prune ended sessions", err)
	}
	return d, nil
}

// inBatches prunes until nothing is left, a batch at a time, so that no writer waits for long.
func inBatches(ctx context.Context, before time.Time, prune func(context.Context, time.Time) (int, error)) (int, error) {
	all := 0
	for {
		n, err := prune(ctx, before)
		all += n
		if err != nil || n == 0 {
			return all, err
		}
	}
}

// A watchedStore tells the security log of each event once its Tx committed. It hides nothing of
// the Store that it wraps.
type watchedStore struct {
	Store
	log *slog.Logger
}

// watched is s with its events told to log.
func watched(s Store, log *slog.Logger) Store { return &watchedStore{Store: s, log: log} }

// A ledger has the events that a Tx recorded.
type ledger struct{ events []Event }

type ledgerKey struct{}

// Tx implements Store. A Tx that joins another one leaves its events to that one; one that runs
// again begins anew.
func (w *watchedStore) Tx(ctx context.Context, fn func(context.Context) error) error {
	if ctx.Value(ledgerKey{}) != nil {
		return w.Store.Tx(ctx, fn)
	}
	l := &ledger{}
	err := w.Store.Tx(ctx, func(ctx context.Context) error {
		l.events = l.events[:0]
		return fn(context.WithValue(ctx, ledgerKey{}, l))
	})
	if err != nil {
		return err
	}
	for i := range l.events {
		w.tell(ctx, &l.events[i])
	}
	return nil
}

// AddEvent implements Store.
func (w *watchedStore) AddEvent(ctx context.Context, e Event) error {
	if err := w.Store.AddEvent(ctx, e); err != nil {
		return err
	}
	if l, ok := ctx.Value(ledgerKey{}).(*ledger); ok {
		l.events = append(l.events, e)
		return nil
	}
	w.tell(ctx, &e)
	return nil
}

// tell writes e as one line, with its JSON.
func (w *watchedStore) tell(ctx context.Context, e *Event) {
	level := e.level()
	if !w.log.Enabled(ctx, level) {
		return
	}
	line, err := json.Marshal(e)
	if err != nil {
		w.log.ErrorContext(ctx, "write an event", "kind", e.Kind, "error", err)
		return
	}
	w.log.LogAttrs(ctx, level, e.Kind, slog.Any("event", json.RawMessage(line)))
}

// noteRefusal tells the security log that the gate refused a deed: no event, since a refusal writes
// nothing that somebody could fill a database with.
// userID is zero where nobody is known. A silent lock has the code of what it was answered with; why
// tells it from that.
func (p *Provider) noteRefusal(ctx context.Context, userID ID, doing string, e *Error) {
	v := VisitorFrom(ctx)
	why, counter := reasonOf(e)
	attrs := []slog.Attr{
		slog.String("doing", doing), slog.String("code", e.Code), slog.String("why", why),
		slog.Any("address", v.Address), slog.String("path", v.Path), slog.String("request_id", v.RequestID),
		slog.Int("retry_after_seconds", int(e.RetryAfter.Seconds())),
	}
	if counter != "" {
		attrs = append(attrs, slog.String("counter", counter))
	}
	if !userID.IsZero() {
		attrs = append(attrs, slog.Any("user", userID))
	}
	p.security.LogAttrs(ctx, slog.LevelWarn, "request.refused", attrs...)
}

// noteBusy is noteRefusal where err says that the hash queue sent somebody away.
func (p *Provider) noteBusy(ctx context.Context, userID ID, doing string, err error) {
	if e, ok := errors.AsType[*Error](err); ok && e.Code == codeBusy {
		p.noteRefusal(ctx, userID, doing, e)
	}
}

// reasonOf is why a deed was refused, limit, lock, block or busy, and by which kind of counter, as
// Lock.Kind has it, "" for none.
func reasonOf(e *Error) (why, counter string) {
	if t, ok := errors.AsType[*guard.Throttled](e.Cause); ok {
		return "limit", string(t.Action) + " " + t.Limit.String()
	}
	if l, ok := errors.AsType[*guard.LockedOut](e.Cause); ok {
		return "lock", parametersOf(l)
	}
	if e.Kind == Blocked {
		return "block", ""
	}
	return "busy", ""
}

// level is how loud e is in the security log: whatever failed, was refused from then on or looks
// like an attack is a warning.
func (e *Event) level() slog.Level {
	subject, verb, _ := strings.Cut(e.Kind, ".")
	switch {
	case strings.HasSuffix(verb, "_failed"), verb == "refresh_reused", verb == "refresh_unknown":
		return slog.LevelWarn
	case verb == "cleared" || verb == "removed":
		return slog.LevelInfo
	case subject == "lockout" || subject == "block" || subject == "honeypot" || subject == "proxy":
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
