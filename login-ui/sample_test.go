package loginui

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// A sample is a page in one of its states.
type sample struct {
	name   string
	status int
	page   func(*frame) page
}

var (
	grafana = &party{Name: "Grafana", Initial: "G", Host: "grafana.example.com",
		PolicyURI: "https://grafana.example.com/privacy", TOSURI: "https://grafana.example.com/terms"}
	program  = &party{Name: "photo-cli", Initial: "P", Host: "127.0.0.1:39231", Local: true}
	app      = &party{Name: "Notes <& co>", Initial: "N", Host: "com.example.notes:", App: true}
	alice    = &person{Name: "Alice Liddell", Login: "alice@example.com", Email: "alice@example.com", Initial: "A"}
	longName = &person{
		Name:  "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh",
		Login: "hubert.wolfeschlegelsteinhausenbergerdorff@a-very-long-department.example.com", Initial: "W",
		Email: "hubert.wolfeschlegelsteinhausenbergerdorff@a-very-long-department.example.com",
	}
	sampleTime = time.Date(2026, 11, 22, 14, 5, 9, 0, time.UTC)
)

// samples has every page at least once, in each of its states.
func samples() []sample {
	list := []sample{
		{"login", 200, func(f *frame) page {
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, AskAbout: true, Days: 14, CanReset: true, CanCancel: true}
		}},
		{"login own", 200, func(f *frame) page {
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", AskAbout: true, Days: 1}
		}},
		{"login again", 200, func(f *frame) page {
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: app, Username: "alice@example.com", CanCancel: true, Another: true}
		}},
		{"login wrong", 400, func(f *frame) page {
			f.fail("invalid_credentials", "password")
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, Username: `"><script>alert(1)</script>`, AskAbout: true, Remember: true, Days: 14, CanCancel: true}
		}},
		{"login empty", 400, func(f *frame) page {
			f.fail("username_missing", "username")
			f.fail("password_missing", "password")
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, AskAbout: true, Days: 14, CanCancel: true}
		}},
		{"login disabled", 403, func(f *frame) page {
			f.fail("account_disabled", "", "instance", f.Instance)
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, Username: "bob", AskAbout: true, Days: 14, CanCancel: true}
		}},
		{"login throttled", 429, func(f *frame) page {
			throttle(f, "key", 200*time.Second)
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, Username: "bob", AskAbout: true, Days: 14, CanCancel: true}
		}},
		{"login throttled for hours", 429, func(f *frame) page {
			throttle(f, "ip", 26*time.Hour)
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Username: "bob"}
		}},
		{"lockout", 429, func(f *frame) page {
			f.Failed, f.Wait = true, &wait{sampleTime, 895 * time.Second, othersThan("key")}
			return lockedPage(f, &idp.LockedOut{Username: `<b>"alice"</b>`, FailureLimit: 5, Cooloff: 15 * time.Minute}, 895*time.Second)
		}},
		{"lockout nobody typed", 403, func(f *frame) page {
			f.Failed, f.Wait = true, &wait{sampleTime, 24 * time.Hour, othersThan("")}
			return lockedPage(f, &idp.LockedOut{FailureLimit: 1, Cooloff: 36*time.Hour + 5*time.Minute}, 24*time.Hour)
		}},
		{"lockout of minutes", 429, func(f *frame) page {
			f.Failed, f.Wait = true, &wait{sampleTime, 200 * time.Second, othersThan("ip")}
			return lockedPage(f, &idp.LockedOut{FailureLimit: 5, Cooloff: 5 * time.Minute}, 200*time.Second)
		}},
		{"lockout for good", 429, func(f *frame) page {
			f.Failed = true
			return lockedPage(f, &idp.LockedOut{Username: longName.Email, FailureLimit: 5}, 0)
		}},
		{"honeypot", 200, func(f *frame) page { return &honeypotPage{frame: f, Path: "/admin/", Next: "/admin/users/"} }},
		{"honeypot wrong", 400, func(f *frame) page {
			f.Failed = true
			f.Errors = []message{{"invalid_credentials", "password", f.T("honeypot.wrong")}}
			return &honeypotPage{frame: f, Path: "/wp-login.php", Next: "/wp-login.php", Username: `"><script>alert(1)</script>`}
		}},
		{"honeypot throttled", 429, func(f *frame) page {
			throttle(f, "global", 20*time.Second)
			return &honeypotPage{frame: f, Path: "/admin/", Next: "/admin/"}
		}},
		{"login busy", 503, func(f *frame) page {
			f.fail("busy", "")
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: program, Username: "bob", AskAbout: true, Days: 14, CanCancel: true}
		}},
		{"login expired", 400, func(f *frame) page {
			f.Notice = &message{Code: "interaction_expired", Text: f.T("login.expired")}
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, Username: "bob", AskAbout: true, Days: 14, CanCancel: true}
		}},
		{"continue", 200, func(f *frame) page {
			return &continuePage{frame: f, Tx: "TX", Party: grafana, Person: alice, CanCancel: true}
		}},
		{"continue outdated", 400, func(f *frame) page {
			f.Notice = &message{Code: "page_outdated", Text: f.T("notice.page_outdated")}
			return &continuePage{frame: f, Tx: "TX", Party: app, Person: longName, CanCancel: true}
		}},
		{"consent", 200, func(f *frame) page {
			scopes := []string{"openid", "profile", "email", "invoices:read", "offline_access"}
			return &consentPage{frame: f, Tx: "TX", Party: grafana, Person: alice, New: f.permissions(scopes, []string{"zoneinfo", "email"}, scopes)}
		}},
		{"consent openid alone", 200, func(f *frame) page {
			return &consentPage{frame: f, Tx: "TX", Party: app, Person: alice, Nothing: true}
		}},
		{"consent more", 200, func(f *frame) page {
			scopes := []string{"openid", "phone", "address", "groups"}
			return &consentPage{frame: f, Tx: "TX", Party: program, Person: longName,
				New: f.permissions(scopes, []string{"birthdate", "urn:example:level"}, scopes), Old: f.permissions([]string{"profile"}, nil, nil)}
		}},
		{"consent undecided", 400, func(f *frame) page {
			f.Notice = &message{Code: "decision_missing", Text: f.T("notice.decision_missing")}
			return &consentPage{frame: f, Tx: "TX", Party: grafana, Person: alice, Old: f.permissions([]string{"profile"}, nil, nil)}
		}},
		{"logout", 200, func(f *frame) page {
			f.isolated = true
			return &logoutPage{frame: f, Tx: "TX", Person: alice}
		}},
		{"logout outdated", 400, func(f *frame) page {
			f.isolated = true
			f.Notice = &message{Code: "page_outdated", Text: f.T("notice.page_outdated")}
			return &logoutPage{frame: f, Tx: "TX", Person: longName}
		}},
		{"signed out", 200, func(f *frame) page { f.isolated = true; return &signedOutPage{f} }},
	}
	return slices.Concat(list, joiningSamples(), factorSamples(), accountSamples(), twoStepSamples())
}

// problems has a problem of every kind.
var problems = []idp.Problem{
	{Status: 400, Code: "redirect_uri_unregistered", Client: "Grafana", Reference: "7Q2M-K4TD", Hint: "redirect_uri_scheme",
		Facts: []idp.Fact{{Name: "client_id", Value: "grafana"}, {Name: "redirect_uri", Value: "http://grafana.example.com/login/generic_oauth?a-long=one&that=must-wrap-somewhere-since-it-is-long"}}},
	{Status: 400, Code: "client_unknown", Reference: "7Q2M-K4TD", Facts: []idp.Fact{{Name: "client_id", Value: "<script>"}}},
	{Status: 400, Code: "interaction_unreadable", Reference: "7Q2M-K4TD"},
	{Status: 400, Code: "interaction_foreign", Reference: "7Q2M-K4TD"},
	{Status: 400, Code: "interaction_completed", Reference: "7Q2M-K4TD"},
	{Status: 400, Code: "interaction_expired", Client: "Grafana", Back: "/oauth2/authorize?tx=TX", Reference: "7Q2M-K4TD"},
	{Status: 400, Code: "cookies_blocked", Back: "/login?tx=TX"},
	{Status: 400, Code: "field_doubled", Back: "/login?tx=TX"},
	{Status: 403, Code: "cross_site_request", Back: "/login"},
	{Status: 403, Code: "blocked", Reference: "7Q2M-K4TD", Back: "/login"},
	{Status: 429, Code: "blocked", Reference: "7Q2M-K4TD", Back: "/login"},
	{Status: 404, Code: "not_found"},
	{Status: 405, Code: "method_not_allowed"},
	{Status: 413, Code: "body_too_large"},
	{Status: 421, Code: "wrong_host", Back: "https://id.example.com"},
	{Status: 429, Code: "throttled", Scope: "ip"},
	{Status: 500, Code: "internal_error", Reference: "7Q2M-K4TD"},
	{Status: 503, Code: "mail_off", Back: "/login?tx=TX", Reference: "7Q2M-K4TD"},
	{Status: 503, Code: "busy", Back: "/account"},
	{Status: 503, Code: "unavailable", Back: "/account", Reference: "7Q2M-K4TD"},
}

func throttle(f *frame, scope string, left time.Duration) {
	f.Failed, f.Wait = true, &wait{sampleTime, left, othersThan(scope)}
	f.Errors = []message{{"throttled", "", f.throttled(scope)}}
}

func lockedPage(f *frame, lock *idp.LockedOut, left time.Duration) page {
	l := f.lockout(&idp.Error{Kind: idp.Locked, Lock: lock, RetryAfter: left})
	title, message := f.lockoutTexts(l, config.Lockout{})
	return &lockoutPage{frame: f, lockout: l, Title: title, Message: message, Back: "/login?tx=TX"}
}

func sampleUI(t testing.TB, change ...func(*config.Config)) *UI {
	t.Helper()
	cfg := config.Default()
	cfg.Issuer = "https://id.example.com"
	cfg.Branding.Name = "Acme"
	cfg.Branding.Support = "mailto:help@example.com"
	for _, c := range change {
		c(cfg)
	}
	ui, err := newUI(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ui
}

// A rendering is a sample in one language.
type rendering struct {
	name, locale string
	status       int
	header       http.Header
	body         string
}

// renderings renders every sample and every problem in every language.
func renderings(t *testing.T) []rendering {
	t.Helper()
	return renderingsOf(t, sampleUI(t))
}

func renderingsOf(t *testing.T, ui *UI) []rendering {
	t.Helper()
	var list []rendering
	add := func(name, locale string, status int, w *httptest.ResponseRecorder) {
		if w.Code != status {
			t.Errorf("%s in %s: status %d, want %d", name, locale, w.Code, status)
		}
		list = append(list, rendering{name, locale, w.Code, w.Header(), w.Body.String()})
	}
	for _, tag := range ui.texts.tags {
		request := func() *http.Request {
			r := httptest.NewRequest("GET", "/login?tx=TX", nil)
			return r.WithContext(idp.WithVisitor(r.Context(), &idp.Visitor{Locale: tag.String(), RequestID: "7Q2M-K4TD"}))
		}
		for _, s := range samples() {
			w, r := httptest.NewRecorder(), request()
			ui.show(w, r, s.status, s.page(ui.frame(r)))
			add(s.name, tag.String(), s.status, w)
		}
		for _, p := range problems {
			w := httptest.NewRecorder()
			if p.Status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "95")
			}
			ui.ShowProblem(w, request(), p)
			add("problem "+p.Code+map[bool]string{true: " for a while"}[p.Code == "blocked" && p.Status == http.StatusTooManyRequests], tag.String(), p.Status, w)
		}
	}
	return list
}
