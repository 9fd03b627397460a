package loginui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/config"
	"postern/idp"
)

func throttled(ui *UI, accept string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/login?tx=TX", nil)
	r.Header.Set("Accept", accept)
	ui.ShowFailure(w, r, &idp.Error{Kind: idp.Throttled, Code: "throttled", RetryAfter: 95e9, Args: map[string]any{"scope": "ip"}})
	return w
}

func TestS0_15_ThrottledPageSaysWhenToComeBack(t *testing.T) {
	ui := sampleUI(t)
	w := throttled(ui, "text/html")
	expect(t, w, http.StatusTooManyRequests, "throttled")
	if h := w.Header(); h.Get("Retry-After") != "95" || h.Get("Cache-Control") != "no-store" || h.Get("Set-Cookie") != "" {
		t.Errorf("headers %v", h)
	}
	text := read(t, w)
	for _, part := range []string{"Too many tries", "Too many tries from your network.", "UTC (in 1 min 35 s).", "Another network may work", "Help"} {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not say %q: %s", part, text)
		}
	}
	if d := document(t, throttled(ui, "application/json")); d["code"] != "throttled" || d["status"] != 429.0 || d["detail"] != "Too many tries from your network." {
		t.Errorf("%v", d)
	}
}

func TestS0_15_ThemeChangesTheBodyNotTheStatus(t *testing.T) {
	for name, text := range map[string]string{
		"problem.html":      `{{define "main"}}<h1>Slow Down</h1>{{template "wait" .}}{{end}}`,
		"parts/layout.html": `<!doctype html><title>Theirs</title><h1>Slow Down</h1>{{block "main" .}}{{end}}`,
	} {
		ui := sampleUI(t, func(cfg *config.Config) { cfg.Branding.Theme = themeOf(t, name, text) })
		w := throttled(ui, "text/html")
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "95" || !strings.Contains(w.Body.String(), "<h1>Slow Down</h1>") {
			t.Errorf("%s: %d %v\n%s", name, w.Code, w.Header(), w.Body)
		}
		if w.Header().Get("Content-Security-Policy") == "" {
			t.Error("no policy")
		}
	}
}

func TestS0_15_ThemeThatAsksForWhatIsNotThereShowsOurPage(t *testing.T) {
	ui := sampleUI(t, func(cfg *config.Config) {
		cfg.Branding.Theme = themeOf(t, "problem.html", `{{define "main"}}<h1>{{.Nonsense}}</h1>{{end}}`)
	})
	expect(t, throttled(ui, "text/html"), http.StatusTooManyRequests, "throttled")
}

func TestS0_15_BrokenThemeStopsTheStart(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"a template that does not parse", "login.html", "{{define \"main\"}}\n{{.T \"x\"\n{{end}}", "login.html:3"},
		{"a function that is not there", "parts/layout.html", "<p>\n\n{{shout .}}", "layout.html:3"},
		{"a place that cannot be escaped", "lockout.html", "{{define \"main\"}}\n<a href=\"{{if .Username}}x{{else}}\">{{end}}{{end}}", "lockout.html"},
		{"a name that is none of ours", "lock-out.html", "", "there is no template lock-out.html"},
	} {
		dir := themeOf(t, c.file, c.text)
		cfg := config.Default()
		cfg.Issuer, cfg.Branding.Theme = "https://id.example.com", dir
		_, err := newUI(cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "branding.theme") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	cfg := config.Default()
	cfg.Issuer, cfg.Branding.Theme = "https://id.example.com", "/nowhere/at/all"
	if _, err := newUI(cfg); err == nil || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("no folder: %v", err)
	}
}

func TestThemeMayLieInAFolderThatKubernetesMakes(t *testing.T) {
	dir := themeOf(t, "..2026_11_22/problem.html", `{{define "main"}}<h1>Hidden</h1>{{end}}`)
	ui := sampleUI(t, func(cfg *config.Config) { cfg.Branding.Theme = dir })
	expect(t, throttled(ui, "text/html"), http.StatusTooManyRequests, "throttled")
}
