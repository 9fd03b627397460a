package main

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/config"
	"postern/discovery"
	loginui "postern/login-ui"
	"postern/oauth"
	"postern/storage/storagetest"
)

// tableOf is the table of routes; its handlers are those of no provider.
func tableOf(*house) []route {
	return routes(&loginui.UI{}, &oauth.Server{}, &discovery.Documents{})
}

func TestEveryRouteDeclaresEverything(t *testing.T) {
	for _, rt := range tableOf(nil) {
		v := reflect.ValueOf(rt)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s %s leaves out %s", rt.Method, rt.Path, v.Type().Field(i).Name)
			}
		}
		for _, declared := range []struct{ name, value, known string }{
			{"Auth", string(rt.Auth), "anyone browser client token"},
			{"Caching", string(rt.Caching), "no-store handler"},
			{"CSRF", string(rt.CSRF), "safe origin none sealing"},
		} {
			if !slices.Contains(strings.Fields(declared.known), declared.value) {
				t.Errorf("%s %s: %s is %q", rt.Method, rt.Path, declared.name, declared.value)
			}
		}
	}
}

func TestRoutesDeclareWhatIsSafe(t *testing.T) {
	seen := map[string]bool{}
	for _, rt := range tableOf(nil) {
		name := rt.Method + " " + rt.Path
		if seen[name] {
			t.Errorf("%s is declared twice", name)
		}
		seen[name] = true
		if rt.Method == http.MethodPost && rt.CSRF == csrfSafe {
			t.Errorf("%s: a POST is not safe", name)
		}
		// Where cookies count, another site must not use them.
		if rt.Method == http.MethodPost && rt.Auth == forBrowser && rt.CSRF == csrfNone {
			t.Errorf("%s: a browser's POST without protection", name)
		}
		// Only what everybody sees may be kept by anybody.
		if rt.Caching == handlerCache && rt.Method != http.MethodGet {
			t.Errorf("%s may be cached", name)
		}
		// CrossOriginProtection is for every route but those of the protocol.
		if strings.HasPrefix(rt.Path, "/oauth2/") == (rt.CSRF == csrfOrigin) && rt.Method == http.MethodPost {
			t.Errorf("%s: %s", name, rt.CSRF)
		}
	}
}

func TestLimitersAreSettings(t *testing.T) {
	for _, rt := range tableOf(nil) {
		if rt.Limiter == unlimited {
			continue
		}
		if _, ok := config.FindKey("rate_limits." + string(rt.Limiter)); !ok {
			t.Errorf("%s %s: there is no rate_limits.%s", rt.Method, rt.Path, rt.Limiter)
		}
	}
}

func TestOtherMethodsAreRefusedWithAllow(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	allowed := map[string][]string{}
	for _, rt := range tableOf(h) {
		path := strings.NewReplacer("{path...}", "style.css", "{$}", "").Replace(rt.Path)
		allowed[path] = append(allowed[path], rt.Method)
		if rt.Method == http.MethodGet && (rt.Caching == handlerCache || path == healthPath) {
			allowed[path] = append(allowed[path], http.MethodHead)
		}
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"}
	for path, want := range allowed {
		slices.Sort(want)
		for _, method := range methods {
			answer := h.send(t, method, path, http.Header{"Sec-Fetch-Site": {"same-origin"}}, nil)
			if slices.Contains(want, method) {
				if answer.StatusCode == http.StatusMethodNotAllowed {
					t.Errorf("%s %s is refused", method, path)
				}
				continue
			}
			if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != strings.Join(want, ", ") {
				t.Errorf("%s %s: got %d, Allow %q, want 405 and %q", method, path, answer.StatusCode, answer.Header.Get("Allow"), want)
			}
		}
	}
}

func TestProgramsAreToldOfTheWrongMethodInJSON(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	for _, rt := range tableOf(h) {
		if rt.forProgram() {
			wantWordsFor(t, rt, h.send(t, http.MethodPut, rt.Path, http.Header{}, nil))
		}
	}
}

func TestUnknownPathsAreAPage(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	for _, path := range []string{"/nowhere", "/login/", "/oauth2", "/oauth2/authorize/x", "/static/none.css", "//login", "/login/../x"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			answer := h.send(t, method, path, http.Header{"Sec-Fetch-Site": {"same-origin"}}, nil)
			if status := answer.StatusCode; status != http.StatusNotFound && status != http.StatusMovedPermanently && status != http.StatusTemporaryRedirect && status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: got %d", method, path, status)
			}
		}
	}
}

func TestCachingIsAsDeclared(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	for _, rt := range tableOf(h) {
		path := strings.NewReplacer("{path...}", "style.css", "{$}", "").Replace(rt.Path)
		answer := h.send(t, rt.Method, path, http.Header{"Sec-Fetch-Site": {"same-origin"}}, nil)
		got := answer.Header.Get("Cache-Control")
		if (got == "no-store") != (rt.Caching == noStore) || got == "" {
			t.Errorf("%s %s: Cache-Control %q, declared %s", rt.Method, path, got, rt.Caching)
		}
		// A cache between would give one browser's cookie to all.
		if rt.Caching == handlerCache && len(answer.Cookies()) > 0 {
			t.Errorf("%s %s may be kept by anybody and sets %v", rt.Method, path, answer.Cookies())
		}
	}
}
