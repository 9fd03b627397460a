package loginui

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/config"
	"postern/idp"
)

const encoded = "application/x-www-form-urlencoded"

// A form is one that a browser can send: how it comes to it, and what it asks for.
type form struct {
	open   func(h *house, b *tab) string // the action of the form, as a page has it
	kept   []string                      // the fields that are shown again as they were typed
	secret []string                      // those that never are
	others []string
	mailed bool // whether a link that is mailed leads to it
}

func (f *form) fields() []string { return slices.Concat(f.kept, f.secret, f.others) }

// at is the form of a page that needs nobody.
func at(path string) func(*house, *tab) string {
	return func(_ *house, b *tab) string { return b.formOf(path + "?tx=" + b.asked()) }
}

// of is the form of a page of the account of alice.
func of(path string) func(*house, *tab) string {
	return func(_ *house, b *tab) string {
		b.signIn("alice", alicesPassword)
		return b.formOf(path)
	}
}

// forms are all forms, by the path that they are sent to.
func forms(t *testing.T) map[string]form {
	mailed := func(of idp.Purpose) func(*house, *tab) string {
		return func(h *house, b *tab) string {
			for _, link := range h.mailedLinks() {
				if link.purpose == of {
					return b.formOf(link.target)
				}
			}
			t.Fatalf("no link for %s", of)
			return ""
		}
	}
	asked := func(path, then, username string) func(*house, *tab) string {
		return func(_ *house, b *tab) string {
			return b.formOf(onto(t, b.post(b.formOf(path+"?tx="+b.asked()), fields("username", username)), then))
		}
	}
	return map[string]form{
		"/login": {open: at("/login"), kept: []string{"username"}, secret: []string{"password"}, others: []string{"remember", "cancel"}},
		"/login/continue": {open: func(_ *house, b *tab) string {
			b.signIn("alice", alicesPassword)
			return b.formOf("/login/continue?tx=" + b.asked("prompt", "select_account"))
		}, others: []string{"cancel"}},
		"/login/code":       {open: at("/login/code"), kept: []string{"username"}},
		"/login/code/enter": {open: asked("/login/code", "/login/code/enter", "alice"), others: []string{"code", "remember", "cancel"}},
		"/login/password": {open: func(h *house, b *tab) string {
			alice, err := h.FindUser(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			if err := h.LendPassword(t.Context(), alice.ID, newPassword); err != nil {
				t.Fatal(err)
			}
			return b.formOf("/login/password?tx=" + b.afterwards(b.post(b.formOf("/login?tx="+b.asked()), fields("username", "alice", "password", newPassword))))
		}, secret: []string{"new_password"}},
		"/signup": {open: at("/signup"), kept: []string{"username", "email", "name"}, secret: []string{"password"}, others: []string{"remember", "cancel"}},
		"/verify": {open: func(_ *house, b *tab) string {
			return b.formOf(onto(t, b.post(b.formOf("/signup?tx="+b.asked()), filled()), "/verify"))
		}, others: []string{"code", "resend", "restart"}},
		"/consent": {open: func(_ *house, b *tab) string {
			return b.formOf("/consent?tx=" + b.afterwards(b.post(b.formOf("/login?tx="+b.asked()), fields("username", "alice", "password", alicesPassword))))
		}, others: []string{"decision"}},
		"/logout":     {open: of("/logout")},
		"/reset":      {open: at("/reset"), kept: []string{"username"}},
		"/reset/code": {open: asked("/reset", "/reset/code", "alice"), others: []string{"code"}},
		"/reset/new": {open: func(h *house, b *tab) string {
			page := b.formOf(onto(t, b.post(b.formOf("/reset?tx="+b.asked()), fields("username", "alice")), "/reset/code"))
			return b.formOf(onto(t, b.post(page, fields("code", h.mail("reset", "alice@example.com").Args["code"])), "/reset/new"))
		}, secret: []string{"new_password"}},
		"/reset/link":       {mailed: true, open: mailed(idp.ForReset), secret: []string{"new_password"}},
		"/verify/link":      {mailed: true, open: mailed(idp.ForAddress)},
		"/secure/{token}":   {mailed: true, open: mailed(idp.ForAlarm)},
		"/account/undelete": {mailed: true, open: mailed(idp.ForUndelete)},
		"/account/revert":   {mailed: true, open: mailed(idp.ForRevert)},

		profilePath:  {open: of(profilePath), kept: []string{"name", "nickname", "website", "birthdate", "street_address", "zoneinfo", "locale", "phone_number"}},
		emailsPath:   {open: of(emailsPath), others: []string{"confirm", "primary", "remove"}},
		addEmailPath: {open: of(addEmailPath), kept: []string{"email"}},
		emailCodePath: {open: func(_ *house, b *tab) string {
			b.signIn("alice", alicesPassword)
			return b.formOf(onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.net")), emailCodePath))
		}, others: []string{"code", "resend"}},
		passwordPath: {open: of(passwordPath), secret: []string{"password", "new_password"}},
		sessionsPath: {open: of(sessionsPath), others: []string{"session"}},
		appsPath: {open: func(h *house, b *tab) string {
			b.signIn("alice", alicesPassword)
			in := h.Begin(fields("client_id", "rp"), idp.Request{ClientID: "rp", Scopes: idp.List{"openid"}})
			if err := h.GiveConsent(b.context(), in, b.visit()); err != nil {
				t.Fatal(err)
			}
			return b.formOf(appsPath)
		}, others: []string{"app"}},
		appearancePath: {open: of(appearancePath), others: []string{"language", "theme"}},
		dataPath:       {open: of(dataPath)},
		deletePath:     {open: of(deletePath), others: []string{"confirm"}},
		sudoPath: {open: func(h *house, b *tab) string {
			data := of(dataPath)(h, b)
			h.later(2 * h.cfg.Sudo.Timeout)
			return b.formOf(onto(t, b.post(data, fields()), sudoPath))
		}, secret: []string{"password"}},
	}
}

// TestNoFormIsADeadEnd sends every form of the table of routes with all that can be wrong with it.
func TestNoFormIsADeadEnd(t *testing.T) {
	table, err := os.ReadFile("../cmd/postern/routes.go")
	if err != nil {
		t.Fatal(err)
	}
	all := forms(t)
	maps.Copy(all, factorForms(t))
	maps.Copy(all, twoStepForms(t))
	for _, route := range regexp.MustCompile(`\{post, ("[^"]+"), .*csrfOrigin, ui\.Submit`).FindAllStringSubmatch(string(table), -1) {
		if _, known := all[strings.Trim(route[1], `"`)]; !known {
			t.Errorf("nobody sends the form of %s", route[1])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		t.Run(path, func(t *testing.T) {
			f := all[path]
			h := newOpenHouse(t, func(cfg *config.Config) {
				cfg.Login.Code.Enabled, cfg.Email.VerificationByCode = true, !f.mailed
			})
			b := h.browser()
			target := f.open(h, b)
			f.sendBroken(t, b, target)
			f.sendElsewhere(t, h, b, target)
			f.sendWrong(t, b, target)
			f.sendLate(t, h, b, target)
		})
	}
}

const typedSecret = "what nobody may read 4711"

// typed fills every field, with something that is no use to anybody.
func (f *form) typed() url.Values {
	values := url.Values{}
	for _, name := range f.kept {
		values.Set(name, "typed "+name)
	}
	for _, name := range f.secret {
		values.Set(name, typedSecret)
	}
	return values
}

// wantKept holds that a page which shows the form again has what was typed.
func (f *form) wantKept(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	wantCalm(t, what, w, typedSecret)
	list := elements(t, w.Body.String())
	for _, n := range list {
		name := attribute(n, "name")
		if n.Data == "input" && slices.Contains(f.kept, name) && attribute(n, "value") != "typed "+name {
			t.Errorf("%s: %s is %q", what, name, attribute(n, "value"))
		}
	}
}

// sendBroken sends what is no form of ours: it changes nothing, and its page says so.
func (f *form) sendBroken(t *testing.T, b *tab, target string) {
	t.Helper()
	send := func(what, contentType, body, code string, status int) {
		t.Helper()
		w := b.send("POST", target, strings.NewReader(body), contentType)
		if got := codes(t, w); w.Code != status || got != code {
			t.Errorf("%s: %d %q, want %d %q", what, w.Code, got, status, code)
		}
		wantCalm(t, what, w, typedSecret)
	}
	for _, name := range f.fields() {
		send(name+" doubled", encoded, name+"="+url.QueryEscape(typedSecret)+"&"+name+"=b", "field_doubled", 400)
		send(name+" not UTF-8", encoded, name+"=%ff"+url.QueryEscape(typedSecret), "field_unreadable", 400)
		send(name+" with NUL", encoded, name+"=a%00"+url.QueryEscape(typedSecret), "field_unreadable", 400)
		send(name+" oversized", encoded, name+"="+strings.Repeat("a", maxFieldBytes+1), "field_too_long", 400)
	}
	send("not encoded", encoded, "a=%zz", "form_unreadable", 400)
	send("an oversized body", encoded, strings.Repeat("a", maxFormBytes+1), "body_too_large", 413)
	for _, kind := range []string{"", "application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=\""} {
		send("as "+kind, kind, f.typed().Encode(), "form_unreadable", 400)
	}
}

// sendElsewhere sends the form with another seal than its own: none, a broken one, that of another
// page, and from another browser.
func (f *form) sendElsewhere(t *testing.T, h *house, b *tab, target string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	with := func(tx ...string) string {
		query := u.Query()
		query["tx"] = tx
		return u.Path + "?" + query.Encode()
	}
	other := h.browser()
	other.get("/login")
	before := h.recorded("user.password_reset") + h.recorded("user.deletion_asked") + h.recorded("user.password_changed")
	for what, w := range map[string]*httptest.ResponseRecorder{
		"without tx": b.post(with(), f.typed()), "an empty tx": b.post(with(""), f.typed()), "a broken tx": b.post(with("x"), f.typed()),
		"two tx": b.post(with(u.Query().Get("tx"), "x"), f.typed()), "the tx of another page": b.post(with(b.asked()), f.typed()),
		"from another browser": other.post(target, f.typed()), "the tx of another browser": b.post(with(other.asked()), f.typed()),
	} {
		f.wantKept(t, what, w)
	}
	if after := h.recorded("user.password_reset") + h.recorded("user.deletion_asked") + h.recorded("user.password_changed"); after != before {
		t.Error("something was done")
	}
}

// sendWrong sends the form with nothing in it, and with more than each field takes.
func (f *form) sendWrong(t *testing.T, b *tab, target string) {
	t.Helper()
	if len(f.fields()) == 0 {
		return // it asks for nothing that could be wrong
	}
	for _, name := range slices.Concat(f.kept, f.secret, f.others) {
		if slices.Contains([]string{"cancel", "resend", "restart", "remember", "theme", "language"}, name) {
			continue // what they hold counts for nothing, but that they are there
		}
		values := f.typed()
		values.Set(name, strings.Repeat("x", maxFieldBytes))
		wantCalm(t, name+" of the utmost size", b.post(target, values), typedSecret)
		values.Set(name, "\u202e<script>alert(1)</script>'\"\r\n%s{{.}}")
		w := b.post(target, values)
		wantCalm(t, name+" strange", w, typedSecret)
		if strings.Contains(w.Body.String(), "<script>alert") {
			t.Errorf("%s is markup", name)
		}
	}
	wantCalm(t, "empty", b.post(target, url.Values{}))
}

// sendLate sends the form when its seal has expired: nothing is done, and what was typed is kept.
func (f *form) sendLate(t *testing.T, h *house, b *tab, target string) {
	t.Helper()
	h.later(h.cfg.Login.FlowTimeout + 1)
	w := b.post(target, f.typed())
	f.wantKept(t, "late", w)
	if w.Code != http.StatusBadRequest && w.Code != http.StatusSeeOther && w.Code != http.StatusGone {
		t.Errorf("late: %d", w.Code)
	}
}
