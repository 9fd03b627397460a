package loginui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestLanguageIsNegotiated(t *testing.T) {
	ui := sampleUI(t)
	began := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	before, after := "de.1795356000", "de.1795356001" // 2026-11-22 14:00:00 and a second later
	if got := time.Unix(1795356000, 0).UTC(); !got.Equal(began) {
		t.Fatalf("the cookie says %v", got)
	}
	for _, c := range []struct {
		name                   string
		lang, cookie, accept   string
		wishes                 []string
		want, wantInteraction  string
		interactionBeganBefore bool
	}{
		{name: "nothing is wished", want: "en", wantInteraction: "en"},
		{name: "the browser's", accept: "fr;q=0.9, de-AT;q=0.8", want: "de", wantInteraction: "de"},
		{name: "the cookie before the browser's", cookie: "de.1", accept: "en", want: "de", wantInteraction: "de"},
		{name: "a cookie of a language that we do not speak", cookie: "fr.1", accept: "de", want: "de", wantInteraction: "de"},
		{name: "a cookie that somebody else wrote", cookie: "de", accept: "en", want: "de", wantInteraction: "de"},
		{name: "more languages than a browser has", accept: strings.Repeat("de,", 400), want: "en", wantInteraction: "en"},
		{name: "ui_locales before a cookie from before", cookie: "en.1", wishes: []string{"fr", "de-CH"}, want: "en", wantInteraction: "de"},
		{name: "ui_locales that we do not speak", cookie: "de.1", wishes: []string{"fr"}, want: "de", wantInteraction: "de"},
		{name: "ui_locales that cannot be read", accept: "de", wishes: []string{"???", ""}, want: "de", wantInteraction: "de"},
		{name: "a choice made since the request began", cookie: after, wishes: []string{"en"}, want: "de", wantInteraction: "de"},
		{name: "a choice made in the same second", cookie: before, wishes: []string{"en"}, want: "de", wantInteraction: "de"},
		{name: "the address before everything", lang: "de", cookie: "en.1", accept: "en", wishes: []string{"en"}, want: "de", wantInteraction: "de"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/login?lang="+c.lang, nil)
			r.Header.Set("Accept-Language", c.accept)
			if c.cookie != "" {
				r.AddCookie(&http.Cookie{Name: languageCookie, Value: c.cookie})
			}
			if got := ui.negotiate(r).Tag; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if got := ui.negotiateFor(r, c.wishes, began.Add(300*time.Millisecond)).Tag; got != c.wantInteraction {
				t.Errorf("in an interaction: got %s, want %s", got, c.wantInteraction)
			}
		})
	}
}

func TestValuesInTextsAreEscapedAndIsolated(t *testing.T) {
	l := sampleUI(t).texts.named("en")
	got := string(l.markup("consent.title", "app", `<b>"A" & {instance}</b>`, "instance", "Acme"))
	want := "Allow <bdi>&lt;b&gt;&#34;A&#34; &amp; {instance}&lt;/b&gt;</bdi> to use your <bdi>Acme</bdi> account?"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestPluralFollowsTheCount(t *testing.T) {
	texts := sampleUI(t).texts
	for _, c := range []struct {
		locale string
		days   int
		want   string
	}{
		{"en", 1, "Keep me signed in on this device (1\u00a0day)"},
		{"en", 14, "Keep me signed in on this device (14\u00a0days)"},
		{"de", 1, "Auf diesem Gerät angemeldet bleiben (1\u00a0Tag)"},
		{"de", 0, "Auf diesem Gerät angemeldet bleiben (0\u00a0Tage)"},
	} {
		if got := texts.named(c.locale).text("login.remember", "count", c.days); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestTextThatIsMissingIsADefect(t *testing.T) {
	for name, call := range map[string]func(*locale){
		"a key":   func(l *locale) { l.text("no.such.key") },
		"a value": func(l *locale) { l.text("consent.title", "app", "x") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is missing, and nobody minds", name)
				}
			}()
			call(sampleUI(t).texts.named("de"))
		}()
	}
}
