package loginui

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// lockedFor is the error of somebody who is locked out for d more, zero for good.
func lockedFor(d time.Duration, username string) *idp.Error {
	e := &idp.Error{Kind: idp.Locked, Code: "locked_out", RetryAfter: d, Lock: &idp.LockedOut{Username: username, FailureLimit: 5}}
	if d > 0 {
		e.Lock.Cooloff = 15 * time.Minute
	}
	return e
}

// answerLocked is what somebody who is locked out is answered; headers come in pairs.
func answerLocked(ui *UI, e *idp.Error, headers ...string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/login?tx=TX", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	ui.turnAway(w, r, ui.frame(r), e)
	return w
}

func themeOf(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestS4_18_LockoutPageOfAThemeGetsTheValuesOfAxes(t *testing.T) {
	dir := themeOf(t, "lockout.html", `{{define "main"}}<h1>{{.FailureLimit}}|{{.Username}}|{{.CooloffTime}}|{{.CooloffTimedelta}}|{{.RetryAfter}}</h1>{{end}}`)
	ui := sampleUI(t, func(cfg *config.Config) { cfg.Branding.Theme = dir })
	for _, c := range []struct {
		name string
		err  *idp.Error
		want string
	}{
		{"for a while", lockedFor(899500*time.Millisecond, "alice"), "5|alice|PT15M|15 minutes|900"},
		{"for good", lockedFor(0, "alice"), "5|alice|||0"},
		{"nobody typed a name", lockedFor(time.Minute, ""), "5||PT15M|15 minutes|60"},
	} {
		w := answerLocked(ui, c.err)
		if got := words(named(elements(t, w.Body.String()), "h1")[0]); got != c.want || w.Code != http.StatusTooManyRequests {
			t.Errorf("%s: %d %q, want 429 %q", c.name, w.Code, got, c.want)
		}
	}
	var fields []string
	for f := range reflect.TypeFor[lockout]().Fields() {
		if f.IsExported() {
			fields = append(fields, f.Name)
		}
	}
	if got := strings.Join(fields, " "); got != "FailureLimit Username CooloffTime CooloffTimedelta RetryAfter" {
		t.Errorf("the page gets %s", got)
	}
}

func TestS4_18_LockoutPageShowsTheTimeAndEscapesTheName(t *testing.T) {
	ui := sampleUI(t)
	w := answerLocked(ui, lockedFor(200*time.Second, "<script>alert(1)</script>"))
	expect(t, w, http.StatusTooManyRequests, "locked_out")
	text := read(t, w)
	for _, part := range []string{"paused for 15 minutes after 5 failed tries", "You entered <script>alert(1)</script>.", "(in 3 min 20 s)."} {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not say %q: %s", part, text)
		}
	}
	if n := len(named(elements(t, w.Body.String()), "script")); n != 1 {
		t.Errorf("%d scripts, want ours", n)
	}
	if text := read(t, answerLocked(ui, lockedFor(time.Minute, ""))); strings.Contains(text, "You entered") {
		t.Errorf("nobody entered a name: %s", text)
	}
}

func TestS4_19_LockoutRedirectsWhereNoPageOfAThemeIs(t *testing.T) {
	redirect := func(cfg *config.Config) { cfg.Lockout.Response, cfg.Lockout.RedirectURL = "redirect", "/help" }
	dir := themeOf(t, "lockout.html", `{{define "main"}}<h1>Ours</h1>{{end}}`)
	other := themeOf(t, "signed-out.html", `{{define "main"}}<h1>Bye</h1>{{end}}`)
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		want   int
		to     string
	}{
		{"the address alone", redirect, http.StatusSeeOther, "/help"},
		{"both", func(cfg *config.Config) { redirect(cfg); cfg.Branding.Theme = dir }, http.StatusTooManyRequests, ""},
		{"a theme without the page", func(cfg *config.Config) { redirect(cfg); cfg.Branding.Theme = other }, http.StatusSeeOther, "/help"},
		{"the page that is locked", func(cfg *config.Config) {
			redirect(cfg)
			cfg.Lockout.RedirectURL = "https://id.example.com/login?help=1"
		}, http.StatusTooManyRequests, ""},
		{"a page", func(cfg *config.Config) { redirect(cfg); cfg.Lockout.Response = "page" }, http.StatusTooManyRequests, ""},
	} {
		w := answerLocked(sampleUI(t, c.change), lockedFor(time.Minute, "alice"))
		if to := w.Header().Get("Location"); w.Code != c.want || to != c.to {
			t.Errorf("%s: %d to %q, want %d to %q", c.name, w.Code, to, c.want, c.to)
		}
	}
}

func TestS4_38_StatusOfLockoutIsASetting(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests, http.StatusLocked} {
		ui := sampleUI(t, func(cfg *config.Config) { cfg.Lockout.Status = status })
		for _, accept := range []string{"text/html", "application/json"} {
			if w := answerLocked(ui, lockedFor(time.Minute, "alice"), "Accept", accept); w.Code != status {
				t.Errorf("%s: %d, want %d", accept, w.Code, status)
			}
		}
	}
}

func TestS4_39_RetryAfterOfLockoutIsASetting(t *testing.T) {
	for _, c := range []struct {
		send bool
		left time.Duration
		want string
	}{
		{true, 899100 * time.Millisecond, "900"}, {true, 0, ""}, {false, time.Minute, ""},
	} {
		ui := sampleUI(t, func(cfg *config.Config) { cfg.Lockout.RetryAfter = c.send })
		if got := answerLocked(ui, lockedFor(c.left, "alice")).Header().Get("Retry-After"); got != c.want {
			t.Errorf("%v, %v left: %q, want %q", c.send, c.left, got, c.want)
		}
	}
}

func TestS4_40_ScriptsAreToldOfLockoutInJSON(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*config.Config)
		headers []string
	}{
		{"Accept", func(*config.Config) {}, []string{"Accept", "application/json"}},
		{"X-Requested-With", func(*config.Config) {}, []string{"X-Requested-With", "XMLHttpRequest", "Accept", "*/*"}},
		{"lockout.response", func(cfg *config.Config) { cfg.Lockout.Response = "json" }, []string{"Accept", "text/html"}},
		{"instead of a redirect", func(cfg *config.Config) { cfg.Lockout.Response, cfg.Lockout.RedirectURL = "redirect", "/help" }, []string{"Accept", "application/json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := answerLocked(sampleUI(t, c.change), lockedFor(90*time.Second, `<alice>`), append(c.headers, "Origin", "https://evil.example")...)
			want := map[string]any{
				"status": 429.0, "code": "locked_out", "title": "Signing in is paused",
				"detail":        "Signing in is paused for 15\u00a0minutes after 5 failed tries. This keeps others from guessing passwords. Nothing was changed.",
				"failure_limit": 5.0, "username": "<alice>", "cooloff_time": "PT15M", "cooloff_timedelta": "15\u00a0minutes", "retry_after": 90.0,
			}
			if got := document(t, w); !reflect.DeepEqual(got, want) {
				t.Errorf("\n got %v\nwant %v", got, want)
			}
			if got := w.Header().Get("Retry-After"); got != "90" {
				t.Errorf("Retry-After %q", got)
			}
		})
	}
	got := document(t, answerLocked(sampleUI(t), lockedFor(0, ""), "Accept", "application/json"))
	for _, name := range []string{"cooloff_time", "cooloff_timedelta", "retry_after"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s of a lock without an end", name)
		}
	}
}

// document is the problem document of an answer.
func document(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("%d %s: %s", w.Code, got, w.Body)
	}
	var d map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestS4_37_LockoutIsNoBusinessOfOtherOrigins(t *testing.T) {
	for _, accept := range []string{"text/html", "application/json"} {
		w := answerLocked(sampleUI(t), lockedFor(time.Minute, "alice"), "Accept", accept, "Origin", "https://evil.example")
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", accept, name)
			}
		}
	}
}

func TestS4_42_TextsOfLockoutCanBeReplaced(t *testing.T) {
	own := sampleUI(t, func(cfg *config.Config) {
		cfg.Lockout.CooloffMessage, cfg.Lockout.PermalockMessage = "Wait <a bit>.", "Call 555."
	})
	for _, c := range []struct {
		name, language string
		ui             *UI
		left           time.Duration
		want           string
	}{
		{"own, for a while", "en", own, time.Minute, "Wait <a bit>."},
		{"own, for good", "de", own, 0, "Call 555."},
		{"ours, for a while", "en", sampleUI(t), time.Minute, "after 5 failed tries"},
		{"ours, for good", "en", sampleUI(t), 0, "until whoever runs Acme"},
		{"German, for a while", "de", sampleUI(t), time.Minute, "Nach 5 Fehlversuchen"},
		{"German, for good", "de", sampleUI(t), 0, "bis der Betreiber von Acme"},
	} {
		if text := read(t, answerLocked(c.ui, lockedFor(c.left, ""), "Accept-Language", c.language)); !strings.Contains(text, c.want) {
			t.Errorf("%s: the page does not say %q: %s", c.name, c.want, text)
		}
	}
}

func TestBlockedIsAShortPageThatNamesNoList(t *testing.T) {
	for _, c := range []struct {
		name       string
		retryAfter time.Duration
		status     int
		header     string
	}{
		{"for good", 0, http.StatusForbidden, ""},
		{"for a while", 23*time.Hour + 500*time.Millisecond, http.StatusTooManyRequests, "82801"},
	} {
		err := &idp.Error{Kind: idp.Blocked, Code: "blocked", RetryAfter: c.retryAfter, Cause: errors.New("honeypot 192.0.2.0/24")}
		for _, accept := range []string{"text/html", "application/json"} {
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/oauth2/authorize?client_id=rp", nil)
			r.Header.Set("Accept", accept)
			sampleUI(t).ShowBlocked(w, r, err)
			if w.Code != c.status || w.Header().Get("Retry-After") != c.header || strings.Contains(w.Body.String(), "honeypot") || !strings.Contains(w.Body.String(), `blocked"`) {
				t.Errorf("%s, %s: %d, Retry-After %q: %s", c.name, accept, w.Code, w.Header().Get("Retry-After"), w.Body)
			}
		}
	}
}

func TestSpansAreInWordsAndInISO8601(t *testing.T) {
	texts := sampleUI(t).texts
	for _, c := range []struct {
		d                time.Duration
		iso, english, de string
	}{
		{0, "PT1S", "1 second", "1 Sekunde"},
		{1500 * time.Millisecond, "PT2S", "2 seconds", "2 Sekunden"},
		{15 * time.Minute, "PT15M", "15 minutes", "15 Minuten"},
		{90 * time.Minute, "PT1H30M", "1 hour 30 minutes", "1 Stunde 30 Minuten"},
		{time.Hour + 5*time.Second, "PT1H5S", "1 hour", "1 Stunde"},
		{24 * time.Hour, "P1D", "1 day", "1 Tag"},
		{50*time.Hour + 3*time.Minute + 4*time.Second, "P2DT2H3M4S", "2 days 2 hours", "2 Tage 2 Stunden"},
		{20 * time.Hour, "PT20H", "20 hours", "20 Stunden"},
	} {
		if got := iso8601(c.d); got != c.iso {
			t.Errorf("%v: got %s, want %s", c.d, got, c.iso)
		}
		for tag, want := range map[string]string{"en": c.english, "de": c.de} {
			if got := strings.ReplaceAll(texts.named(tag).span(c.d), "\u00a0", " "); got != want {
				t.Errorf("%v: got %q, want %q", c.d, got, want)
			}
		}
	}
}
