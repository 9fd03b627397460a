package idp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
)

// A logBook is what a logger wrote, one JSON object a line.
type logBook struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

type logLine struct {
	Level string         `json:"level"`
	Msg   string         `json:"msg"`
	Event map[string]any `json:"event"`

	Code    string `json:"code"`
	Why     string `json:"why"`
	Counter string `json:"counter"`
	User    string `json:"user"`
	Path    string `json:"path"`
	Address string `json:"address"`
}

// take returns the lines since the last call. Every line must be a JSON object by itself.
func (b *logBook) take(t testing.TB) []logLine {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []logLine
	for line := range strings.Lines(b.bytes.String()) {
		var l logLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("the line %q: %v", line, err)
		}
		lines = append(lines, l)
	}
	b.bytes.Reset()
	return lines
}

// withSecurityLog makes h tell its events to the book that it returns.
func (h *house) withSecurityLog(t testing.TB) *logBook {
	t.Helper()
	b := &logBook{}
	h.reopenWith(t, func(o *idp.Options) { o.Security = slog.New(slog.NewJSONHandler(b, nil)) })
	b.take(t)
	return b
}

func messages(lines []logLine) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Level+" "+l.Msg)
	}
	return strings.Join(all, ", ")
}

func TestS0_95_TheSecurityLogHasALineForEachEvent(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		book := h.withSecurityLog(t)
		u := h.addUser(t, "alice")
		h.failLogIn(t, "alice", "not her password")
		token := h.logIn(t, "alice", idp.SessionToken{}).Token
		v, err := h.Visit(t.Context(), token, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.SignOut(from(t, "192.0.2.1", token), v); err != nil {
			t.Fatal(err)
		}
		lines := book.take(t)
		const want = "INFO user.added, WARN user.sign_in_failed, INFO user.signed_in, INFO user.signed_out"
		if got := messages(lines); got != want {
			t.Fatalf("logged %s, want %s", got, want)
		}
		e := lines[1].Event
		if e["kind"] != "user.sign_in_failed" || e["user"] != u.ID.String() || e["address"] != "192.0.2.1" || e["request_id"] != "req-1" {
			t.Errorf("the event of the line is %v", e)
		}
	})
}

func TestS0_95_ARefusalIsAWarningOfTheSecurityLogAndNoEvent(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		book := h.withSecurityLog(t)
		h.failLogIn(t, "zoe", "not her password")
		book.take(t)
		before := h.kinds(t)
		_, err := h.LogIn(from(t, "192.0.2.1", idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: "zoe", Password: "hunter2"})
		wantError(t, err, idp.Throttled, "throttled", "")
		lines := book.take(t)
		if len(lines) != 1 || lines[0].Level != "WARN" || lines[0].Msg != "request.refused" || lines[0].Code != "throttled" || lines[0].Address != "192.0.2.1" {
			t.Errorf("logged %+v, want one warning", lines)
		}
		if got := h.kinds(t); got != before {
			t.Errorf("the events are %q, want %q still", got, before)
		}
	}, func(cfg *config.Config) { cfg.RateLimits.Login = "1/m/ip" })
}

// refusals are the lines request.refused: why, counter and user.
func refusals(lines []logLine) (list []string) {
	for _, l := range lines {
		if l.Msg == "request.refused" {
			list = append(list, strings.Join([]string{l.Code, l.Why, l.Counter, l.User}, ", "))
		}
	}
	return list
}

func TestS0_95_TheSecurityLogSaysWhyAndWhoWasRefused(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		book := h.withSecurityLog(t)
		for _, name := range []string{"alice", "zoe"} {
			h.codes(t, 3, "192.0.2.1", name, "hunter2")
		}
		h.codes(t, 2, "192.0.2.2", "alice", "hunter2") // a refusal counts by the name as well
		for range 4 {
			h.caught(t, "203.0.113.1", "alice")
		}
		_ = h.Blocked(from(t, "203.0.113.1", idp.SessionToken{}))
		_ = h.Blocked(from(t, "198.51.100.1", idp.SessionToken{}))
		got := strings.Join(refusals(book.take(t)), "\n")
		want := strings.Join([]string{
			wrong + ", lock, username+ip_address, " + u.ID.String(),
			wrong + ", lock, username+ip_address, ",
			"throttled, limit, login_failed 4/m/key, " + u.ID.String(),
			"blocked, block, , ",
			"blocked, block, , ",
		}, "\n")
		if got != want {
			t.Errorf("logged\n%s\nwant\n%s", got, want)
		}
	}, func(c *config.Config) {
		c.RateLimits.Login, c.RateLimits.LoginFailed = "false", "4/m/key"
		c.Lockout.Parameters, c.Lockout.Policies = []string{"username+ip_address:2/15m"}, nil
		c.Lockout.DenyCIDRs = networksOf("198.51.100.0/24")
	})
}

func TestS0_95_TheSecurityLogSaysWhomTheHashQueueSentAway(t *testing.T) {
	h := small(t)
	book := h.withSecurityLog(t)
	ctx, id := from(t, "192.0.2.1", idp.SessionToken{}), idp.NewID(h.Now())
	idp.NoteBusy(h.Provider, ctx, id, "check a password", nil)
	idp.NoteBusy(h.Provider, ctx, id, "check a password", errAgain)
	idp.NoteBusy(h.Provider, ctx, id, "check a password", idp.Hashing("verify a password", &secret.Busy{RetryAfter: time.Second}))
	if got, want := strings.Join(refusals(book.take(t)), "\n"), "busy, busy, , "+id.String(); got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}

func TestWhatFailedOrWasRefusedIsAWarning(t *testing.T) {
	for kind, want := range map[string]slog.Level{
		"user.signed_in": slog.LevelInfo, "user.signed_out": slog.LevelInfo, "user.password_changed": slog.LevelInfo,
		"user.sign_in_failed": slog.LevelWarn, "user.password_change_failed": slog.LevelWarn,
		"lockout.triggered": slog.LevelWarn, "lockout.alarm": slog.LevelWarn, "lockout.exempt_used": slog.LevelWarn, "lockout.cleared": slog.LevelInfo,
		"block.added": slog.LevelWarn, "honeypot.sprung": slog.LevelWarn, "proxy.header_ignored": slog.LevelWarn,
		"grant.refresh_reused": slog.LevelWarn, "grant.refresh_skipped": slog.LevelInfo, "key.added": slog.LevelInfo, "session.ended": slog.LevelInfo,
	} {
		if got := idp.LevelOf(&idp.Event{Kind: kind}); got != want {
			t.Errorf("%s: got %v, want %v", kind, got, want)
		}
	}
}

// A restless store runs what is in a Tx twice, as after a serialization failure, and lets the Tx
// fail where it is told to.
type restless struct {
	idp.Store
	fails error
}

var errAgain = errors.New("again")

func (r *restless) Tx(ctx context.Context, fn func(context.Context) error) error {
	err := r.Store.Tx(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return err
	}
	return r.Store.Tx(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return r.fails
	})
}

func TestS0_95_TheSecurityLogTellsOnceAndOnlyWhatWasCommitted(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		store := &restless{Store: h.store}
		h.store = store
		book := h.withSecurityLog(t)
		h.addUser(t, "alice")
		if got := messages(book.take(t)); got != "INFO user.added" {
			t.Errorf("a Tx that ran twice logged %q, want one line", got)
		}
		store.fails = errors.New("the disk is full")
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "bob"}); err == nil {
			t.Error("the user was added")
		}
		if got := messages(book.take(t)); got != "" {
			t.Errorf("a Tx that failed logged %q", got)
		}
	})
}

func TestS0_96_AFailedSignInSaysWhoAndWhyInOneLineAndNoSecret(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		book := h.withSecurityLog(t)
		ctx := idp.WithVisitor(t.Context(), &idp.Visitor{
			Address: netip.MustParseAddr("192.0.2.1"), UserAgent: strings.Repeat("Browser/", 64), RequestID: "req-9",
		})
		in := &idp.Interaction{Request: idp.Request{ClientID: "shop"}}
		_, err := h.LogIn(ctx, in, idp.LogIn{Identifier: "zoe\r\n{\"level\":\"INFO\"}", Password: "hunter2 hunter2"})
		wantError(t, err, idp.Denied, "invalid_credentials", "")
		lines := book.take(t)
		if got := messages(lines); got != "WARN user.sign_in_failed" {
			t.Fatalf("logged %q", got)
		}
		e := lines[0].Event
		details, _ := e["details"].(map[string]any)
		agent, _ := details["user_agent"].(string)
		name, _ := details["username"].(string)
		if e["client"] != "shop" || e["request_id"] != "req-9" || e["address"] != "192.0.2.1" || details["why"] != "unknown_user" ||
			len(agent) < 200 || len(agent) > 256 || !strings.HasPrefix(name, "zoe") || strings.ContainsAny(name, "\r\n") {
			t.Errorf("the event is %v", e)
		}
		text, err := json.Marshal([]any{e, h.attempts(t, idp.AttemptFilter{})})
		if err != nil || bytes.Contains(text, []byte("hunter2")) {
			t.Errorf("the password is in %s (%v)", text, err)
		}
	}, func(cfg *config.Config) { cfg.Lockout.SensitiveParameters = nil })
}

func TestPrunedIsWhatIsOlderAndTheCommandSaysSo(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		ended := h.logIn(t, "alice", idp.SessionToken{})
		if err := h.EndSession(t.Context(), ended.Session.ID); err != nil {
			t.Fatal(err)
		}
		h.failLogIn(t, "alice", "not her password")
		h.clock.turn(10 * 24 * time.Hour)
		live := h.logIn(t, "alice", idp.SessionToken{})
		h.failLogIn(t, "alice", "not her password")
		before := h.Now().Add(-5 * 24 * time.Hour)
		pruned, err := h.PruneRecords(t.Context(), before)
		if err != nil || pruned.Events < 5 || pruned.Attempts != 1 || pruned.Logins != 1 {
			t.Errorf("pruned %+v, %v, want the old attempt, the old session and the events until then", pruned, err)
		}
		if !h.alive(t, live.Token) {
			t.Error("a live session was pruned")
		}
		if got := len(h.attempts(t, idp.AttemptFilter{})); got != 1 {
			t.Errorf("%d attempts are left, want the new one", got)
		}
		e := h.event(t, "audit.pruned")
		if e.Actor != "cli" || e.Details["before"] != before.Format(time.RFC3339) {
			t.Errorf("the event is %+v", e)
		}
		if got := h.kinds(t); got != "audit.pruned user.sign_in_failed user.signed_in" {
			t.Errorf("the events left are %q", got)
		}
	})
}

func TestRecordsAreKeptForTheirRetentionAndEventsForEver(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.logIn(t, "alice", idp.SessionToken{}) // ends by itself within a day
		h.failLogIn(t, "alice", "not her password")
		left := func() (attempts, logins int) {
			if err := idp.PruneOld(h.Provider, t.Context()); err != nil {
				t.Fatal(err)
			}
			return len(h.attempts(t, idp.AttemptFilter{})), len(h.accesses(t, idp.AccessFilter{}))
		}
		h.clock.turn(89 * 24 * time.Hour)
		if attempts, logins := left(); attempts != 1 || logins != 1 {
			t.Errorf("%d attempts and %d logins are left after 89 days, want both", attempts, logins)
		}
		h.clock.turn(2 * 24 * time.Hour)
		if attempts, logins := left(); attempts != 0 || logins != 0 {
			t.Errorf("%d attempts and %d logins are left after 91 days, want none", attempts, logins)
		}
		if got := h.kinds(t); got != "user.added user.sign_in_failed user.signed_in" {
			t.Errorf("the events left are %q, want all", got)
		}
	})
}

func TestAnIgnoredHeaderIsRecordedOnceAnHour(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		book := h.withSecurityLog(t)
		ctx := from(t, "203.0.113.9", idp.SessionToken{})
		for range 100 {
			h.NoteIgnoredHeader(ctx, "untrusted_peer")
		}
		lines := book.take(t)
		if len(lines) != 1 || lines[0].Level != "WARN" || lines[0].Event["address"] != "203.0.113.9" || lines[0].Event["kind"] != "proxy.header_ignored" {
			t.Errorf("logged %+v, want one warning", lines)
		}
		h.clock.turn(time.Hour)
		h.NoteIgnoredHeader(ctx, "untrusted_peer")
		if told := h.eventsOf(t, "proxy.header_ignored"); len(told) != 2 || told[1].Details["why"] != "untrusted_peer" {
			t.Errorf("recorded %+v, want two", told)
		}
	})
}
