package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
)

func (a *app) auditCommand() *cobra.Command {
	return a.withSettings(group("audit", "read and prune what is kept of who did what",
		a.auditTailCommand(), a.auditExportCommand(), a.auditPruneCommand()))
}

// How `audit tail -f` looks for what is new: IDs are made before the COMMIT, so one may appear later
// than its successors.
const (
	followEvery  = time.Second
	followBehind = 10 * time.Second
	maxTail      = 100_000 // events that `audit tail` holds in memory
)

func (a *app) auditTailCommand() *cobra.Command {
	var follow bool
	var last int
	c := &cobra.Command{
		Use: "tail", Short: "show the latest events, oldest first", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if last < 0 || last > maxTail {
				return misuse("-n %d is not between 0 and %d", last, maxTail)
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				events, err := latest(ctx, o, last)
				if err != nil {
					return err
				}
				names := usernames{}
				for _, e := range events {
					if err := a.showEvent(ctx, o, e, names); err != nil {
						return err
					}
				}
				if !follow {
					return nil
				}
				return a.follow(ctx, o, events, names)
			})
		},
	}
	c.Flags().IntVarP(&last, "lines", "n", 10, "begin with the last `N`")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	return a.withJSON(c)
}

// idAt is below every ID that was made at t or later, and above those before.
func idAt(t time.Time) (id idp.ID) {
	ms := uint64(max(t.UnixMilli(), 0))
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	return id
}

// latest are the last n events, oldest first. It looks further and further back, so that a long log
// is not read whole.
func latest(ctx context.Context, o *office, n int) ([]idp.Event, error) {
	if n == 0 {
		return nil, nil
	}
	for back := time.Minute; ; back *= 8 {
		start, whole := o.Now().Add(-back), back > 50*365*24*time.Hour
		if whole {
			start = time.Time{}
		}
		var found []idp.Event
		err := eachEvent(ctx, o, idAt(start), func(e idp.Event) error {
			found = append(found, e)
			if len(found) >= 2*n {
				found = append(found[:0], found[len(found)-n:]...)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(found) >= n || whole {
			return found[max(len(found)-n, 0):], nil
		}
	}
}

// eachEvent calls do with every event after an ID, in their order.
func eachEvent(ctx context.Context, o *office, after idp.ID, do func(idp.Event) error) error {
	for {
		events, err := o.Events(ctx, after, page)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := do(e); err != nil {
				return err
			}
			after = e.ID
		}
		if len(events) < page {
			return nil
		}
	}
}

// follow shows what comes after the events that were shown, until ctx ends.
func (a *app) follow(ctx context.Context, o *office, already []idp.Event, names usernames) error {
	var last idp.ID // of those; what is found first and lies before it is old
	if len(already) > 0 {
		last = already[len(already)-1].ID
	}
	seen := map[idp.ID]bool{}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		start := o.Now().Add(-followBehind)
		err := eachEvent(ctx, o, idAt(start), func(e idp.Event) error {
			old := first && (last.IsZero() || bytes.Compare(e.ID[:], last[:]) <= 0)
			if old || seen[e.ID] {
				seen[e.ID] = true
				return nil
			}
			seen[e.ID] = true
			return a.showEvent(ctx, o, e, names)
		})
		if ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		}
		if err != nil {
			return err
		}
		for id := range seen {
			if id.Time().Before(start) {
				delete(seen, id)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// showEvent writes an event in one line.
func (a *app) showEvent(ctx context.Context, o *office, e idp.Event, names usernames) error {
	if a.json {
		return writeLine(a.out, e)
	}
	details, err := e.Details.Column()
	if err != nil {
		return err
	}
	username, err := names.of(ctx, o, e.UserID)
	if err != nil {
		return err
	}
	line := e.At.UTC().Format(time.RFC3339) + "  " + e.Kind
	for _, f := range []struct{ name, value string }{
		{"actor", e.Actor}, {"user", idText(e.UserID)}, {"username", username}, {"client", e.ClientID}, {"address", e.Address}, {"request_id", e.RequestID},
		{"details", strings.TrimSuffix(details, "{}")},
	} {
		if f.value != "" {
			line += " " + f.name + "=" + f.value
		}
	}
	_, err = fmt.Fprintln(a.out, shown(line))
	return err
}

func idText(id idp.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// writeLine writes v as one line of JSON.
func writeLine(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(harmless(b.Bytes()))
	return err
}

// harmless is JSON whose strings cannot steer a terminal: encoding/json leaves U+0080 to U+009F, and
// what reorders a line, as they are.
func harmless(text []byte) []byte {
	strange := func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }
	if !bytes.ContainsFunc(text, strange) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !strange(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// An exporter writes records of one kind.
type exporter struct {
	columns []string
	each    func(ctx context.Context, o *office, since, until time.Time, do func(record any, cells []string) error) error
}

// exporters are by the word of --kind.
var exporters = map[string]exporter{
	"events": {
		[]string{"at", "kind", "actor", "user", "client", "session", "address", "request_id", "details", "id"}, exportEvents,
	},
	"attempts": {
		[]string{"at", "kind", "why", "user", "name", "address", "user_agent", "path", "parameters", "client", "request_id", "id"}, exportAttempts,
	},
	"logins": {
		[]string{"at", "user", "address", "user_agent", "methods", "client", "session", "ended_at", "ended_why"}, exportLogins,
	},
}

func (a *app) auditExportCommand() *cobra.Command {
	var since, until, format, kind string
	c := &cobra.Command{
		Use: "export", Short: "write events, failed attempts or sign-ins as JSON lines or CSV", Args: exactly(),
		Long: "Write what is kept to standard output: events from the oldest on, failed attempts and sign-ins from\n" +
			"the newest on. Cells of CSV that a spreadsheet would take for a formula begin with an apostrophe.",
		Example: "  postern audit export --kind attempts --since 7d --format csv > attempts.csv",
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := timeFlag("--since", since, time.Time{})
			if err != nil {
				return err
			}
			to, err := timeFlag("--until", until, time.Now().Add(time.Hour)) // clocks of nodes differ
			if err != nil {
				return err
			}
			x, ok := exporters[kind]
			if !ok {
				return misuse("--kind %q is none of events, attempts and logins", kind)
			}
			if format != "jsonl" && format != "csv" {
				return misuse("--format %q is neither jsonl nor csv", format)
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				if format == "jsonl" {
					return x.each(ctx, o, from, to, func(record any, _ []string) error { return writeLine(a.out, record) })
				}
				return a.exportCSV(ctx, o, x, from, to)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&since, "since", "", "from this `TIME` on: 2026-01-31, 2026-01-31T12:00:00Z, or 7d for a week ago")
	flags.StringVar(&until, "until", "", "before this `TIME`")
	flags.StringVar(&format, "format", "jsonl", "`FORMAT`: jsonl or csv")
	flags.StringVar(&kind, "kind", "events", "`KIND`: events, attempts or logins")
	return c
}

func (a *app) exportCSV(ctx context.Context, o *office, x exporter, since, until time.Time) error {
	w := csv.NewWriter(a.out)
	if err := w.Write(x.columns); err != nil {
		return err
	}
	err := x.each(ctx, o, since, until, func(_ any, cells []string) error {
		for i := range cells {
			cells[i] = cell(cells[i])
		}
		return w.Write(cells)
	})
	w.Flush()
	return errors.Join(err, w.Error())
}

// cell is text that no spreadsheet takes for a formula, without what steers a terminal. Where people
// write a decimal comma, spreadsheets begin a new cell at each semicolon.
func cell(text string) string {
	parts := strings.Split(shown(text), ";")
	for i, part := range parts {
		if first := strings.TrimLeft(part, " '\"\u00a0\u3000\uFFFD"); first != "" && strings.ContainsRune("=+-@|%＝＋－＠", []rune(first)[0]) {
			parts[i] = "'" + part
		}
	}
	return strings.Join(parts, ";")
}

// timeFlag reads a date, a time or how long ago; or where it is empty.
func timeFlag(name, text string, or time.Time) (time.Time, error) {
	if text == "" {
		return or, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	if d, err := span(text); err == nil {
		return time.Now().UTC().Add(-d), nil
	}
	return or, misuse("%s %q is no time: write 2026-01-31, 2026-01-31T12:00:00Z, or 7d for a week ago", name, text)
}

var errSpan = errors.New("no span of time")

// span reads a duration in the words of Go, or whole days: 30d. It is more than nothing.
func span(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, errSpan
	}
	return d, nil
}

func exportEvents(ctx context.Context, o *office, since, until time.Time, do func(any, []string) error) error {
	return eachEvent(ctx, o, idAt(since), func(e idp.Event) error {
		if !e.At.Before(until) {
			return nil
		}
		details, err := e.Details.Column()
		if err != nil {
			return err
		}
		return do(e, []string{
			stamp(e.At), e.Kind, e.Actor, idText(e.UserID), e.ClientID, idText(e.SessionID), e.Address, e.RequestID, details, e.ID.String(),
		})
	})
}

// attemptView is a failed attempt as an export shows it.
type attemptView struct {
	ID         idp.ID    `json:"id"`
	At         time.Time `json:"at"`
	Kind       string    `json:"kind"`
	Why        string    `json:"why"`
	UserID     *idp.ID   `json:"user,omitempty"`
	Name       string    `json:"name,omitempty"`
	Address    string    `json:"address,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
	Path       string    `json:"path,omitempty"`
	Parameters string    `json:"parameters,omitempty"`
	ClientID   string    `json:"client,omitempty"`
	RequestID  string    `json:"request_id,omitempty"`
}

func viewAttempt(t idp.Attempt) attemptView {
	v := attemptView{
		ID: t.ID, At: t.At, Kind: t.Kind, Why: t.Why, Name: t.Name, Address: t.Address, UserAgent: t.UserAgent,
		Path: t.Path, Parameters: t.Parameters, ClientID: t.ClientID, RequestID: t.RequestID,
	}
	if !t.UserID.IsZero() {
		v.UserID = &t.UserID
	}
	return v
}

func exportAttempts(ctx context.Context, o *office, since, until time.Time, do func(any, []string) error) error {
	for before := idAt(until); ; {
		attempts, err := o.Attempts(ctx, idp.AttemptFilter{Since: since}, before, page)
		if err != nil {
			return err
		}
		for _, t := range attempts {
			before = t.ID
			cells := []string{
				stamp(t.At), t.Kind, t.Why, idText(t.UserID), t.Name, t.Address, t.UserAgent, t.Path, t.Parameters, t.ClientID, t.RequestID, t.ID.String(),
			}
			if err := do(viewAttempt(t), cells); err != nil {
				return err
			}
		}
		if len(attempts) < page {
			return nil
		}
	}
}

func exportLogins(ctx context.Context, o *office, since, until time.Time, do func(any, []string) error) error {
	for before := idAt(until); ; {
		logins, err := o.Accesses(ctx, idp.AccessFilter{Since: since}, before, page)
		if err != nil {
			return err
		}
		for _, l := range logins {
			before = l.ID
			ended := ""
			if l.EndedAt != nil {
				ended = stamp(*l.EndedAt)
			}
			cells := []string{stamp(l.At), idText(l.UserID), l.Address, l.UserAgent, strings.Join(l.Methods, " "), l.ClientID, l.SessionHash, ended, l.EndedWhy}
			if err := do(l, cells); err != nil {
				return err
			}
		}
		if len(logins) < page {
			return nil
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// leastAge is what `audit prune` leaves at least, as audit.retention does: 6m are six minutes, and
// whoever writes it means months.
const leastAge = 24 * time.Hour

func (a *app) auditPruneCommand() *cobra.Command {
	var older string
	c := &cobra.Command{
		Use: "prune --older-than AGE", Short: "delete old events, failed attempts and ended sign-ins", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if older == "" {
				return misuse("--older-than is missing: 30d, or 720h")
			}
			age, err := span(older)
			if err != nil {
				return misuse("--older-than %q is no span of time: write 30d, or 720h", older)
			}
			if age < leastAge {
				return misuse("--older-than %s is less than a day: write 30d, or 720h", older)
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				n, err := o.PruneRecords(ctx, o.Now().Add(-age))
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(n)
				}
				fmt.Fprintf(a.out, "Deleted %s, %s and %s.\n", count(n.Events, "event", "events"),
					count(n.Attempts, "failed attempt", "failed attempts"), count(n.Logins, "sign-in", "sign-ins"))
				return nil
			})
		},
	}
	c.Flags().StringVar(&older, "older-than", "", "delete what is older than this `AGE`: 30d, or 720h")
	return a.withJSON(c)
}
