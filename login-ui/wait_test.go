package loginui

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/idp"
)

func TestS0_15_WhoeverMustWaitIsToldWhatWasCountedAndWhatHelps(t *testing.T) {
	const network, browser, help = "Another network may work", "A browser in which you signed in before may work", "Ask for help"
	for scope, want := range map[string]struct{ why, other string }{
		"ip":        {"Too many tries from your network.", network},
		"ip+client": {"Too many tries from your network.", network},
		"key":       {"Too many tries for this account.", browser},
		"user":      {"Too many tries for this account.", help},
		"global":    {"There were too many tries.", help},
		"":          {"There were too many tries.", help},
	} {
		ui := sampleUI(t)
		e := &idp.Error{Kind: idp.Throttled, Code: "throttled", RetryAfter: 95e9, Args: map[string]any{"scope": scope}}
		request := func(accept string) *http.Request {
			r := httptest.NewRequest("GET", "/login?tx=TX", nil)
			r.Header.Set("Accept", accept)
			return r.WithContext(idp.WithVisitor(r.Context(), &idp.Visitor{RequestID: "7Q2M-K4TD"}))
		}
		form := func(r *http.Request) *httptest.ResponseRecorder {
			w, f := httptest.NewRecorder(), ui.frame(r)
			ui.show(w, r, ui.explain(w, r, f, e), &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password"})
			return w
		}
		page := func(r *http.Request) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			ui.ShowFailure(w, r, e)
			return w
		}
		for name, answer := range map[string]func(*http.Request) *httptest.ResponseRecorder{"form": form, "page": page} {
			text := read(t, answer(request("text/html")))
			for _, part := range []string{"Too many tries", want.why, "Try again at", "(in 1 min 35 s).", want.other, "Reference 7Q2M-K4TD"} {
				if !strings.Contains(text, part) {
					t.Errorf("%q, the %s does not say %q: %s", scope, name, part, text)
				}
			}
			if strings.Contains(text, "locked") {
				t.Errorf("%q, the %s speaks of locks: %s", scope, name, text)
			}
			if d := document(t, answer(request("application/json"))); d["detail"] != want.why || d["reference"] != "7Q2M-K4TD" {
				t.Errorf("%q, the %s: %v, want %q", scope, name, d, want.why)
			}
		}
	}
}

func TestS0_15_ALockoutPageNamesWhatMayHelp(t *testing.T) {
	for scope, want := range map[string]string{"ip": "Another network may work", "key": "A browser in which", "": "Ask for help"} {
		ui := sampleUI(t)
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/login?tx=TX", nil)
		ui.turnAway(w, r, ui.frame(r), &idp.Error{
			Kind: idp.Locked, Code: "locked_out", RetryAfter: 95e9, Args: map[string]any{"scope": scope},
			Lock: &idp.LockedOut{FailureLimit: 5, Cooloff: 15 * 60e9},
		})
		if text := read(t, w); !strings.Contains(text, want) {
			t.Errorf("%q: the page does not say %q: %s", scope, want, text)
		}
	}
}

func TestWhatCannotBeReachedIsNotCalledBusy(t *testing.T) {
	for code, want := range map[string]string{"unavailable": "cannot be reached right now", "busy": "Too much is going on here"} {
		ui := sampleUI(t)
		e := &idp.Error{Kind: idp.Unavailable, Code: code, RetryAfter: 5e9}
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/login?tx=TX", nil)
		ui.ShowFailure(w, r, e)
		expect(t, w, http.StatusServiceUnavailable, code)
		f := ui.frame(r)
		form := httptest.NewRecorder()
		ui.show(form, r, ui.explain(form, r, f, e), &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password"})
		for _, text := range []string{read(t, w), read(t, form)} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the page does not say %q: %s", code, want, text)
			}
		}
	}
}

func TestPathIsLoggedAndKeptNoLongerThanItWasCut(t *testing.T) {
	var log bytes.Buffer
	former := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(former) })
	ui := newHouse(t).ui
	r := httptest.NewRequest("GET", "/"+strings.Repeat("a", 30_000), nil)
	r = r.WithContext(idp.WithVisitor(r.Context(), &idp.Visitor{Path: "/aaa…"}))
	ui.Visitor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := idp.VisitorFrom(r.Context()).Path; got != "/aaa…" {
			t.Errorf("the visitor's path has %d bytes", len(got))
		}
		ui.ShowFailure(w, r, &idp.Error{Kind: idp.Invalid, Code: "field_doubled"})
		ui.ShowFailure(w, r, &idp.Error{Kind: idp.Unavailable, Code: "unavailable"})
	})).ServeHTTP(httptest.NewRecorder(), r)
	if log.Len() > 1000 || strings.Count(log.String(), "path=/aaa…") != 2 {
		t.Errorf("%d bytes: %.1000s", log.Len(), &log)
	}
}
