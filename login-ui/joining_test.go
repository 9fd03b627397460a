package loginui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
)

func (h *house) routeJoining() {
	for path, handlers := range map[string][2]http.HandlerFunc{
		"/signup":           {h.ui.ShowSignUp, h.ui.SubmitSignUp},
		"/verify":           {h.ui.ShowVerify, h.ui.SubmitVerify},
		"/verify/link":      {h.ui.ShowVerifyLink, h.ui.SubmitVerifyLink},
		"/reset":            {h.ui.ShowReset, h.ui.SubmitReset},
		"/reset/code":       {h.ui.ShowResetCode, h.ui.SubmitResetCode},
		"/reset/new":        {h.ui.ShowResetNew, h.ui.SubmitResetNew},
		"/reset/link":       {h.ui.ShowResetLink, h.ui.SubmitResetLink},
		"/reset/done":       {h.ui.ShowResetDone, h.ui.NotFound},
		"/login/code":       {h.ui.ShowLogInCode, h.ui.SubmitLogInCode},
		"/login/code/enter": {h.ui.ShowEnterLogInCode, h.ui.SubmitEnterLogInCode},
		"/login/password":   {h.ui.ShowChooseNew, h.ui.SubmitChooseNew},
		"/secure/{token}":   {h.ui.ShowNotMe, h.ui.SubmitNotMe},
		"/account/undelete": {h.ui.ShowUndelete, h.ui.SubmitUndelete},
		"/account/revert":   {h.ui.ShowRevert, h.ui.SubmitRevert},
	} {
		h.mux.HandleFunc("GET "+path, handlers[0])
		h.mux.HandleFunc("POST "+path, handlers[1])
	}
}

// silent takes every mail: tests read what waits to be sent.
type silent struct{}

func (silent) Send(context.Context, idp.Mail) error { return nil }

// newOpenHouse is a house in which anybody may sign up.
func newOpenHouse(t *testing.T, change ...func(*config.Config)) *house {
	t.Helper()
	return newHouse(t, append([]func(*config.Config){func(cfg *config.Config) { cfg.Signup.Mode = "open" }}, change...)...)
}

// mails takes the mails that wait to be sent.
func (h *house) mails() []idp.Mail {
	h.t.Helper()
	jobs, err := h.store.TakeJobs(h.t.Context(), h.clock.Add(time.Second), h.clock.Add(24*time.Hour), 100)
	if err != nil {
		h.t.Fatal(err)
	}
	var list []idp.Mail
	for _, j := range jobs {
		plain, err := h.ring.Open(secret.ForJob, j.Payload, secret.Place("jobs", "payload", j.ID[:], []byte(j.Kind)))
		if err != nil {
			h.t.Fatal(err)
		}
		var m idp.Mail
		if err := json.Unmarshal(plain, &m); err != nil {
			h.t.Fatal(err)
		}
		if m.To != "" {
			list = append(list, m)
		}
	}
	return list
}

// mail takes the one mail that waits, of a kind to an address.
func (h *house) mail(kind, to string) idp.Mail {
	h.t.Helper()
	list := h.mails()
	for _, m := range list {
		if m.Kind == kind && m.To == to {
			return m
		}
	}
	h.t.Fatalf("no mail %s to %s, but %+v", kind, to, list)
	return idp.Mail{}
}

// pathOf is the path of an address of ours.
func pathOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Host != "id.example.com" {
		t.Fatalf("%q is no address of ours", address)
	}
	return u.RequestURI()
}

// onto is where an answer leads, whose path it checks.
func onto(t *testing.T, w *httptest.ResponseRecorder, want string) string {
	t.Helper()
	to := w.Header().Get("Location")
	if path, _, _ := strings.Cut(to, "?"); w.Code != http.StatusSeeOther || path != want {
		t.Fatalf("%d to %q, want 303 to %s\n%s", w.Code, to, want, w.Body)
	}
	return to
}

const newPassword = "violet lantern anchor 58"

func filled(pairs ...string) url.Values {
	form := fields("username", "zoe", "email", "zoe@example.net", "password", newPassword, "name", "Zoe")
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

func TestS0_39_SignUpLeadsToTheRelyingPartyOnceTheAddressIsProved(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	login := b.get("/login?tx=" + b.asked())
	if !strings.Contains(login.Body.String(), `href="/signup?tx=`) || !strings.Contains(login.Body.String(), `href="/reset?tx=`) {
		t.Fatal("the sign-in page does not lead to sign-up and reset")
	}
	page := b.get("/signup?tx=" + b.asked())
	expect(t, page, http.StatusOK, "")
	to := onto(t, b.post(action(t, page), filled()), "/verify")
	if _, err := h.FindUser(t.Context(), "zoe"); err == nil {
		t.Error("there is a user before the address is proved")
	}
	page = b.get(to)
	if text := read(t, page); !strings.Contains(text, "zoe@example.net") || !strings.Contains(text, "Grafana") {
		t.Errorf("the page does not say where the code went: %s", text)
	}
	if b.visit() != nil {
		t.Error("somebody is signed in")
	}
	code := h.mail("verify_code", "zoe@example.net").Args["code"]
	page = b.post(action(t, page), fields("code", " "))
	expect(t, page, http.StatusBadRequest, "code_missing")
	w := b.post(action(t, page), fields("code", " "+code[:3]+" "+code[3:]))
	in, v := b.opened(w), b.visit()
	if v == nil || v.User.Username != "zoe" || !v.User.EmailVerified || in.Authenticated != v.Session.Authentication || in.Request.ClientID != "rp" {
		t.Errorf("visit %+v, interaction %+v", v, in)
	}
}

func TestS0_39_WrongCodesEndAndAnotherIsMailed(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	to := onto(t, b.post(b.formOf("/signup"), filled()), "/verify")
	h.mails()
	page := b.get(to)
	for i, want := range []string{"code_wrong", "code_wrong", "code_over"} {
		page = b.post(action(t, page), fields("code", "00000"+string(rune('0'+i))))
		expect(t, page, http.StatusBadRequest, want)
	}
	if strings.Contains(page.Body.String(), `id="code"`) || !strings.Contains(page.Body.String(), `name="resend"`) {
		t.Error("the page does not offer another code")
	}
	h.clock = h.clock.Add(11 * time.Second)
	to = onto(t, b.post(action(t, page), fields("resend", "1")), "/verify")
	page = b.get(to)
	expect(t, page, http.StatusOK, "code_sent")
	page = b.post(action(t, page), fields("resend", "1"))
	expect(t, page, http.StatusTooManyRequests, "sent_recently")
	if page.Header().Get("Retry-After") == "" || !strings.Contains(read(t, page), "a moment ago") {
		t.Errorf("Retry-After %q: %s", page.Header().Get("Retry-After"), read(t, page))
	}
	b.afterwards(b.post(action(t, page), fields("code", h.mail("verify_code", "zoe@example.net").Args["code"])))
	if v := b.visit(); v == nil || v.User.Username != "zoe" {
		t.Errorf("visit %+v", v)
	}
}

func TestS0_39_WrongAddressStartsOver(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	page := b.get(onto(t, b.post(b.formOf("/signup"), filled()), "/verify"))
	again := b.get(onto(t, b.post(action(t, page), fields("restart", "1")), "/signup"))
	onto(t, b.post(action(t, again), filled("email", "zoe@example.org")), "/verify")
	h.mail("verify_code", "zoe@example.org")
}

func TestS0_39_SignInOfAnUnprovedAddressOwesItsProof(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	w := b.post(b.formOf("/login?tx="+b.asked()), fields("username", "dave", "password", davesPassword))
	tx := b.afterwards(w)
	if got := cookieOf(t, w, pendingCookie); got.MaxAge != 0 || !got.HttpOnly || !got.Secure || got.Path != "/" {
		t.Errorf("cookie %v", got)
	}
	if b.cookies[sessionCookie] != "" || b.visit() != nil {
		t.Error("bob is signed in")
	}
	page := b.get("/verify?tx=" + tx)
	expect(t, page, http.StatusOK, "")
	if text := read(t, page); !strings.Contains(text, "dave@example.com") || !strings.Contains(text, "isn't confirmed yet, and Postern asks for that first") {
		t.Errorf("it does not say who is here, and why: %s", text)
	}
	for _, target := range []string{"/account", "/account/password"} {
		if w := b.get(target); w.Code != http.StatusSeeOther {
			t.Errorf("%s: %d to whoever owes a step", target, w.Code)
		}
	}
	// The cookie of a pending session is no session's.
	thief := h.browser()
	thief.cookies[sessionCookie] = b.cookies[pendingCookie]
	if thief.visit() != nil {
		t.Error("the pending session passes for a live one")
	}
	w = b.post(action(t, page), fields("code", h.mail("verify_code", "dave@example.com").Args["code"]))
	in := b.opened(w)
	if v := b.visit(); v == nil || !v.User.EmailVerified || in.Authenticated != v.Session.Authentication {
		t.Errorf("visit %+v, interaction %+v", v, in)
	}
	if b.cookies[pendingCookie] != "" {
		t.Error("the cookie of the pending session stays")
	}
}

func TestI19_SignInThatOwesAStepGoesBeforeTheOneThatLives(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	tx := b.afterwards(b.post(b.formOf("/login?another=1&tx="+b.asked()), fields("username", "dave", "password", davesPassword)))
	page := b.get("/verify?tx=" + tx)
	expect(t, page, http.StatusOK, "")
	in := b.opened(b.post(action(t, page), fields("code", h.mail("verify_code", "dave@example.com").Args["code"])))
	if v := b.visit(); v == nil || v.User.Username != "dave" || in.Authenticated != v.Session.Authentication {
		t.Errorf("visit %+v, interaction %+v", v, in)
	}
}

func TestS0_42_CodeOfAnotherBrowserIsAWrongOne(t *testing.T) {
	h := newOpenHouse(t)
	a, b := h.browser(), h.browser()
	first := a.get(onto(t, a.post(a.formOf("/signup"), filled()), "/verify"))
	code := h.mail("verify_code", "zoe@example.net").Args["code"]
	second := b.get(onto(t, b.post(b.formOf("/signup"), filled("username", "yan", "email", "yan@example.net")), "/verify"))
	expect(t, b.post(action(t, second), fields("code", code)), http.StatusBadRequest, "code_wrong")
	w := b.post(action(t, first), fields("code", code))
	expect(t, w, http.StatusBadRequest, "interaction_foreign")
	b.h.mails()
	a.afterwards(a.post(action(t, first), fields("code", code)))
}

// bare takes what may differ out of an answer: what was typed, seals, and the bytes of cookies.
func bare(t *testing.T, w *httptest.ResponseRecorder, typed ...string) string {
	t.Helper()
	text := http.StatusText(w.Code) + "\n"
	header := w.Header().Clone()
	for _, c := range w.Result().Cookies() {
		text += c.Name + " " + c.String()[strings.Index(c.String(), ";"):] + "\n"
	}
	header.Del("Set-Cookie")
	header.Del("Content-Length")
	var b strings.Builder
	_ = header.WriteSubset(&b, nil)
	text += b.String() + w.Body.String()
	text = regexp.MustCompile(`(tx=|name="tx" value=")[A-Za-z0-9_-]+`).ReplaceAllString(text, "tx=")
	slices.SortFunc(typed, func(a, b string) int { return len(b) - len(a) }) // an address has a name in it
	for _, s := range typed {
		text = strings.ReplaceAll(text, s, "")
	}
	return text
}

// difference is the first line in which two answers differ.
func difference(a, b string) string {
	other := strings.Split(b, "\n")
	for i, line := range strings.Split(a, "\n") {
		if i >= len(other) || line != other[i] {
			return fmt.Sprintf("line %d\n%s\n%s", i, line, strings.Join(other[min(i, len(other)):min(i+1, len(other))], ""))
		}
	}
	return fmt.Sprintf("%d lines are missing", len(other)-strings.Count(a, "\n")-1)
}

func TestS0_24_SignUpWithAnAddressThatSomebodyHasLooksLikeAnyOther(t *testing.T) {
	for _, byCode := range []bool{true, false} {
		h := newOpenHouse(t, func(cfg *config.Config) { cfg.Email.VerificationByCode = byCode })
		walk := func(username, email, trap string) string {
			b := h.browser()
			h.clock = h.clock.Add(time.Hour)
			w := b.post(b.formOf("/signup?tx="+b.asked()), filled("username", username, "email", email, h.cfg.Signup.HoneypotField, trap))
			to := onto(t, w, "/verify")
			text := bare(t, w, username, email)
			page := b.get(to)
			text += bare(t, page, username, email)
			for range 4 {
				if page = b.post(action(t, page), fields("code", "000000")); page.Code != http.StatusBadRequest {
					break
				}
				text += bare(t, page, username, email)
			}
			w = b.post(action(t, page), fields("resend", "1"))
			return text + bare(t, w, username, email)
		}
		fresh := walk("zoe", "zoe@example.net", "")
		if taken := walk("yan", "alice@example.com", ""); taken != fresh {
			t.Errorf("by code %v: it can be told who has an account: %s", byCode, difference(fresh, taken))
		}
		if trapped := walk("xia", "xia@example.net", "555"); trapped != fresh {
			t.Errorf("by code %v: a program is told: %s", byCode, difference(fresh, trapped))
		}
		got := map[string]bool{}
		for _, m := range h.mails() {
			got[m.Kind+" "+m.To] = true
		}
		if !got["account_exists alice@example.com"] || got["verify_code xia@example.net"] || got["verify_link xia@example.net"] {
			t.Errorf("mails: %v", got)
		}
	}
}

func TestS0_89_FilledTrapMakesNoAccount(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Signup.HoneypotField, cfg.Email.Verification = "fax", "optional" })
	b := h.browser()
	page := b.get("/signup")
	if !strings.Contains(page.Body.String(), `name="fax" type="text" autocomplete="off" tabindex="-1"`) || !strings.Contains(page.Body.String(), `aria-hidden="true"`) {
		t.Error("the page has no trap")
	}
	caught := bare(t, b.post(action(t, page), filled("fax", "1")), "zoe")
	if _, err := h.FindUser(t.Context(), "zoe"); err == nil {
		t.Error("a program has an account")
	}
	if b.visit() != nil {
		t.Error("a program is signed in")
	}
	other := h.browser()
	if got := bare(t, other.post(other.formOf("/signup"), filled()), "zoe"); got != caught {
		t.Errorf("a program is told: %s", difference(got, caught))
	}
	if v := other.visit(); v == nil || v.User.Username != "zoe" {
		t.Errorf("visit %+v", v)
	}
}

func TestS0_90_ClosedSignUpHasNoForm(t *testing.T) {
	for _, mode := range []string{"closed", "invite"} {
		h := newHouse(t, func(cfg *config.Config) { cfg.Signup.Mode = mode })
		b := h.browser()
		page := b.get("/signup?tx=" + b.asked())
		expect(t, page, http.StatusOK, "")
		if strings.Contains(page.Body.String(), `method="post"`) || !strings.Contains(page.Body.String(), `href="/login?tx=`) {
			t.Error("the page has a form, or leads nowhere")
		}
		expect(t, b.post("/signup?tx="+b.asked(), filled()), http.StatusForbidden, "signup_closed")
		if login := b.get("/login?tx=" + b.asked()); strings.Contains(login.Body.String(), "/signup") {
			t.Error("the sign-in page leads to sign-up")
		}
	}
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Signup.OpenFrom = "2026-11-23T08:00:00Z" })
	page := h.browser().get("/signup")
	if text := read(t, page); !strings.Contains(text, "2026-11-23 08:00 UTC") {
		t.Errorf("the page does not say when: %s", text)
	}
}

func TestS0_91_UnknownInviteIsOver(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.Signup.Mode = "invite" })
	b := h.browser()
	w := b.get("/signup?invite=x")
	expect(t, w, http.StatusGone, "invite_over")
	if got := w.Header().Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy %q", got)
	}
	expect(t, b.post("/signup?invite=x&tx="+b.asked(), filled()), http.StatusGone, "invite_over")
}

func TestS0_35_SignUpTellsTheRulesAndAllThatIsWrong(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	page := b.get("/signup")
	help := read(t, page)
	if !strings.Contains(help, "12") {
		t.Errorf("no help: %s", help)
	}
	page = b.post(action(t, page), fields("username", "al", "email", "nobody", "password", "1234567", "name", "Al", "remember", "1"))
	got := codes(t, page)
	if page.Code != http.StatusBadRequest {
		t.Errorf("status %d", page.Code)
	}
	for _, want := range []string{"username_too_short", "email_invalid", "password_too_short", "password_entirely_numeric"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %s", got, want)
		}
	}
	if value(t, page, "username") != "al" || value(t, page, "email") != "nobody" || value(t, page, "name") != "Al" || !strings.Contains(page.Body.String(), "checked") {
		t.Error("what was typed is lost")
	}
	if strings.Contains(page.Body.String(), "1234567") {
		t.Error("the password came back")
	}
	short := newOpenHouse(t, func(cfg *config.Config) { cfg.Password.Validators = []string{"length"} })
	if now := read(t, short.browser().get("/signup")); len(now) >= len(help) {
		t.Error("the help does not follow the validators")
	}
}

func TestS0_23_ResetIsTheSameForEverybody(t *testing.T) {
	h := newOpenHouse(t)
	erin, err := h.AddUser(t.Context(), idp.NewUser{Username: "erin", Email: "erin@example.com", EmailVerified: true, Password: "quartz meadow signal"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DisableUser(t.Context(), erin.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "paul", Email: "paul@example.com", EmailVerified: true}); err != nil {
		t.Fatal(err)
	}
	walk := func(identifier string) string {
		b := h.browser()
		h.clock = h.clock.Add(time.Hour)
		w := b.post(b.formOf("/reset?tx="+b.asked()), fields("username", identifier))
		page := b.get(onto(t, w, "/reset/code"))
		text := bare(t, w, identifier) + bare(t, page, identifier)
		for range 4 {
			if strings.Contains(page.Body.String(), `method="post"`) {
				page = b.post(action(t, page), fields("code", "00000000"))
				text += bare(t, page, identifier)
			}
		}
		return text
	}
	want := walk("alice@example.com")
	for _, identifier := range []string{"alice", "zoe@example.net", "nobody", "erin@example.com", "bob@example.com", "dave@example.com", "paul@example.com", "@", strings.Repeat("x", 300)} {
		got := walk(identifier)
		if len(identifier) > maxMailed {
			got = strings.ReplaceAll(got, identifier[:maxMailed], "")
		}
		if got != want {
			t.Errorf("%q is told from alice: %s", identifier, difference(got, want))
		}
	}
}

func TestS0_23_ResetByCodeLeadsBackToTheRelyingParty(t *testing.T) {
	h := newOpenHouse(t)
	other := h.browser()
	other.signIn("alice", alicesPassword)
	b := h.browser()
	page := b.get(onto(t, b.post(b.formOf("/reset?tx="+b.asked()), fields("username", "alice@example.com")), "/reset/code"))
	code := h.mail("reset", "alice@example.com").Args["code"]
	if w := b.get("/reset/new?tx=" + strings.TrimPrefix(action(t, page), "/reset/code?tx=")); w.Code != http.StatusSeeOther {
		t.Errorf("a new password without the code: %d", w.Code)
	}
	page = b.get(onto(t, b.post(action(t, page), fields("code", code[:4]+"-"+code[4:])), "/reset/new"))
	page = b.post(action(t, page), fields("new_password", "short"))
	if got := codes(t, page); page.Code != http.StatusBadRequest || !strings.Contains(got, "password_too_short") {
		t.Errorf("%d %q", page.Code, got)
	}
	done := b.get(onto(t, b.post(action(t, page), fields("new_password", newPassword)), "/reset/done"))
	expect(t, done, http.StatusOK, "")
	if !strings.Contains(done.Body.String(), `href="/oauth2/authorize?tx=`) || b.visit() != nil || other.visit() != nil {
		t.Error("the page leads nowhere, or somebody is signed in")
	}
	again := b.post(action(t, page), fields("new_password", newPassword))
	expect(t, again, http.StatusGone, "link_over")
	b.signIn("alice", newPassword)
	if b.visit() == nil {
		t.Error("the new password does not work")
	}
}

// harmless opens a link by GET and HEAD, from anywhere, and returns the page.
func (h *house) harmless(target string) *httptest.ResponseRecorder {
	h.t.Helper()
	var page *httptest.ResponseRecorder
	for _, method := range []string{"HEAD", "GET", "HEAD", "GET"} {
		page = h.browser().send(method, target, nil, "")
		if page.Code != http.StatusOK {
			h.t.Errorf("%s: %d", method, page.Code)
		}
		if method == "HEAD" && page.Body.Len() > 0 {
			h.t.Error("HEAD has a body")
		}
		if got := page.Header().Get("Referrer-Policy"); got != "no-referrer" {
			h.t.Errorf("Referrer-Policy %q", got)
		}
	}
	return page
}

func TestS0_47_ResetLinkWorksOnceAndOnlyByPOST(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	b.post(b.formOf("/reset"), fields("username", "alice"))
	target := pathOf(t, h.mail("reset", "alice@example.com").Args["link"])
	h.harmless(target)
	a := h.browser()
	page := a.get(target)
	if w := a.post(target, fields("new_password", newPassword)); w.Code != http.StatusBadRequest {
		t.Errorf("a form without its seal: %d", w.Code)
	}
	page = a.post(action(t, page), fields("new_password", "1"))
	if !strings.Contains(codes(t, page), "password_too_short") {
		t.Errorf("%s", codes(t, page))
	}
	onto(t, a.post(action(t, page), fields("new_password", newPassword)), "/reset/done")
	for _, w := range []*httptest.ResponseRecorder{a.post(action(t, page), fields("new_password", "another violet lantern")), a.get(target), a.get("/reset/link"), a.get("/reset/link?ticket=%ff%00")} {
		expect(t, w, http.StatusGone, "link_over")
	}
	a.signIn("alice", newPassword)
}

func TestS0_47_LinkOfASignUpSignsInTheBrowserThatAsked(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Email.VerificationByCode = false })
	for _, same := range []bool{true, false} {
		name := map[bool]string{true: "zoe", false: "yan"}[same]
		b := h.browser()
		page := b.get(onto(t, b.post(b.formOf("/signup?tx="+b.asked()), filled("username", name, "email", name+"@example.net")), "/verify"))
		if strings.Contains(page.Body.String(), `id="code"`) {
			t.Error("the page asks for a code")
		}
		target := pathOf(t, h.mail("verify_link", name+"@example.net").Args["link"])
		h.harmless(target)
		if _, err := h.FindUser(t.Context(), name); err == nil {
			t.Error("opening the link made the account")
		}
		opener := b
		if !same {
			opener = h.browser()
		}
		page = opener.get(target)
		if told := strings.Contains(read(t, page), "another browser"); told == same {
			t.Errorf("same browser %v, told %v", same, told)
		}
		if named := strings.Contains(read(t, page), "the account "+name+" at"); named == same {
			t.Errorf("same browser %v, the account is named: %v", same, named)
		}
		w := opener.post(action(t, page), fields())
		onto(t, w, dispatcher)
		if v := opener.visit(); (v != nil) != same {
			t.Errorf("same browser %v: visit %+v", same, v)
		}
		if u, err := h.FindUser(t.Context(), name); err != nil || !u.EmailVerified {
			t.Errorf("%+v, %v", u, err)
		}
		if !same {
			login := opener.get("/login?tx=" + opener.afterwards(w))
			expect(t, login, http.StatusOK, "address_verified")
		}
	}
}

func TestS0_47_LinkThatConfirmedAnAddressSaysSoWhenItIsOpenedAgain(t *testing.T) {
	h := newOpenHouse(t, mailedByLink)
	links := h.mailedLinks()[:2] // those that confirm
	for _, link := range links {
		b := h.far(1)
		form := b.formOf(link.target)
		other := h.far(2)
		again := other.formOf(link.target)
		onto(t, b.post(form, fields()), dispatcher)
		for what, w := range map[string]*httptest.ResponseRecorder{
			"opened": h.far(3).get(link.target), "opened where it was pressed": b.get(link.target), "pressed twice": b.post(form, fields()), "pressed elsewhere": other.post(again, fields()),
		} {
			if text := read(t, w); w.Code != http.StatusOK || codes(t, w) != "" || !strings.Contains(text, "Your address is confirmed") {
				t.Errorf("%s, %s: %d %q\n%s", link.name, what, w.Code, codes(t, w), text)
			}
			wantCalm(t, what, w)
			if len(w.Result().Cookies()) > 0 && strings.Contains(w.Header().Get("Set-Cookie"), sessionCookie) {
				t.Errorf("%s, %s: somebody is signed in", link.name, what)
			}
		}
	}
	// Once the address is another's, or nobody's, the link is over.
	dave, err := h.FindUser(t.Context(), "dave")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteUser(t.Context(), dave.ID); err != nil {
		t.Fatal(err)
	}
	expect(t, h.browser().get(links[1].target), http.StatusGone, "link_over")
}

func TestWithoutMailNothingIsOfferedThatNeedsOne(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	h.open(nil)
	b := h.browser()
	login := b.get("/login?tx=" + b.asked())
	for _, offer := range []string{`href="/reset`, `href="/login/code`, `href="/signup`} {
		if strings.Contains(login.Body.String(), offer) {
			t.Errorf("the sign-in page offers %s", offer)
		}
	}
	for _, path := range []string{"/reset", "/login/code"} {
		for _, w := range []*httptest.ResponseRecorder{b.get(path + "?tx=" + b.asked()), b.post(path+"?tx="+b.asked(), fields("username", "alice"))} {
			expect(t, w, http.StatusServiceUnavailable, "mail_off")
			if !strings.Contains(w.Body.String(), `href="/login?another=1&amp;tx=`) {
				t.Errorf("%s: the request is lost:\n%s", path, read(t, w))
			}
		}
	}
	tx := b.afterwards(b.post(action(t, login), fields("username", "dave", "password", davesPassword)))
	page := b.get("/verify?tx=" + tx)
	expect(t, page, http.StatusOK, "")
	wantCalm(t, "verify", page)
	if text := read(t, page); !strings.Contains(text, "Ask whoever runs Postern to confirm it for you") || strings.Contains(text, "We sent") || strings.Contains(text, "new code") {
		t.Errorf("%s", text)
	}
	wantCalm(t, "verify", b.post("/verify?tx="+b.txOf(page), fields("resend", "1")))
	wantCalm(t, "verify", b.post("/verify?tx="+b.txOf(page), fields("code", "123456")))
}

// txOf is the tx of the first link of a page that has one.
func (b *tab) txOf(w *httptest.ResponseRecorder) string {
	b.h.t.Helper()
	for _, n := range named(elements(b.h.t, w.Body.String()), "a") {
		if u, err := url.Parse(attribute(n, "href")); err == nil && u.Query().Get("tx") != "" {
			return u.Query().Get("tx")
		}
	}
	b.h.t.Fatal("no link with a tx")
	return ""
}

func TestS0_45_ExpiredLinkOffersAnother(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Email.VerificationByCode = false })
	b := h.browser()
	b.post(b.formOf("/signup"), filled())
	target := pathOf(t, h.mail("verify_link", "zoe@example.net").Args["link"])
	page := b.get(target)
	h.clock = h.clock.Add(h.cfg.Email.LinkTTL)
	for _, w := range []*httptest.ResponseRecorder{b.get(target), b.post(action(t, page), fields())} {
		expect(t, w, http.StatusGone, "link_over")
		if !strings.Contains(w.Body.String(), `href="/login"`) {
			t.Error("a dead end")
		}
	}
}

func TestS0_70_CodeSignsIn(t *testing.T) {
	off := newOpenHouse(t)
	b := off.browser()
	expect(t, b.get("/login/code"), http.StatusNotFound, "not_found")
	expect(t, b.post("/login/code?tx="+b.asked(), fields("username", "alice")), http.StatusNotFound, "not_found")
	if strings.Contains(b.get("/login?tx="+b.asked()).Body.String(), "/login/code") {
		t.Error("the sign-in page offers what is off")
	}

	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	b = h.browser()
	if !strings.Contains(b.get("/login?tx="+b.asked()).Body.String(), `href="/login/code?tx=`) {
		t.Error("the sign-in page does not offer a code")
	}
	to := onto(t, b.post(b.formOf("/login/code?tx="+b.asked()), fields("username", "alice@example.com")), "/login/code/enter")
	page := b.get(to)
	w := b.post(action(t, page), fields("code", h.mail("login_code", "alice@example.com").Args["code"], "remember", "1"))
	in, v := b.opened(w), b.visit()
	if v == nil || v.User.Username != "alice" || in.Authenticated != v.Session.Authentication {
		t.Errorf("visit %+v, interaction %+v", v, in)
	}
	if got := cookieOf(t, w, sessionCookie).MaxAge; got != 14*24*3600 {
		t.Errorf("the cookie lasts %d s", got)
	}
}

func TestS0_71_CodeHasThreeTriesAndDecoysHaveThem(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	walk := func(identifier string) string {
		h.clock = h.clock.Add(time.Hour)
		b := h.browser()
		w := b.post(b.formOf("/login/code?tx="+b.asked()), fields("username", identifier))
		page := b.get(onto(t, w, "/login/code/enter"))
		text := bare(t, w, identifier) + bare(t, page, identifier)
		for _, want := range []string{"code_wrong", "code_wrong", "code_over"} {
			page = b.post(action(t, page), fields("code", "000000"))
			expect(t, page, http.StatusBadRequest, want)
			text += bare(t, page, identifier)
		}
		if !strings.Contains(page.Body.String(), `href="/login/code?tx=`) {
			t.Error("a dead end")
		}
		return text
	}
	if known, unknown := walk("alice@example.com"), walk("zoe@example.net"); known != unknown {
		t.Errorf("it can be told who has an account: %s", difference(known, unknown))
	}
}

func TestS0_54_S0_55_S0_56_RememberingIsTheSameAtSignUpAndByCode(t *testing.T) {
	for _, c := range []struct {
		remember, box string
		want          int
	}{
		{"ask", "", 0}, {"ask", "1", 14 * 24 * 3600}, {"always", "", 14 * 24 * 3600}, {"never", "1", 0},
	} {
		h := newOpenHouse(t, func(cfg *config.Config) {
			cfg.Sessions.Remember, cfg.Login.Code.Enabled = c.remember, true
		})
		b := h.browser()
		page := b.get("/signup")
		if shown := strings.Contains(page.Body.String(), `name="remember"`); shown != (c.remember == "ask") {
			t.Errorf("%s: the box is shown: %v", c.remember, shown)
		}
		page = b.get(onto(t, b.post(action(t, page), filled("remember", c.box)), "/verify"))
		w := b.post(action(t, page), fields("code", h.mail("verify_code", "zoe@example.net").Args["code"]))
		if got := cookieOf(t, w, sessionCookie).MaxAge; got != c.want {
			t.Errorf("sign-up, %s %q: %d s, want %d", c.remember, c.box, got, c.want)
		}
		b = h.browser()
		page = b.get(onto(t, b.post(b.formOf("/login/code"), fields("username", "alice")), "/login/code/enter"))
		if shown := strings.Contains(page.Body.String(), `name="remember"`); shown != (c.remember == "ask") {
			t.Errorf("%s: the box is shown: %v", c.remember, shown)
		}
		w = b.post(action(t, page), fields("code", h.mail("login_code", "alice@example.com").Args["code"], "remember", c.box))
		if got := cookieOf(t, w, sessionCookie).MaxAge; got != c.want {
			t.Errorf("code, %s %q: %d s, want %d", c.remember, c.box, got, c.want)
		}
	}
}

func TestBrokenFormsOfSignUpAndResetAreAnsweredWithAPage(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	b := h.browser()
	const encoded = "application/x-www-form-urlencoded"
	for path, field := range map[string]string{
		"/signup": "email", "/verify": "code", "/verify/link": "", "/reset": "username", "/reset/code": "code", "/reset/new": "new_password",
		"/reset/link": "new_password", "/login/code": "username", "/login/code/enter": "code", "/login/password": "new_password",
		"/secure/x": "", "/account/undelete": "", "/account/revert": "",
	} {
		for _, c := range []struct {
			name, contentType, body string
			status                  int
			code                    string
			fields                  bool
		}{
			{"doubled", encoded, field + "=a&" + field + "=b", 400, "field_doubled", true},
			{"not UTF-8", encoded, field + "=%ff", 400, "field_unreadable", true},
			{"NUL", encoded, field + "=a%00", 400, "field_unreadable", true},
			{"an oversized field", encoded, field + "=" + strings.Repeat("a", maxFieldBytes+1), 400, "field_too_long", true},
			{"not encoded", encoded, "a=%zz", 400, "form_unreadable", false},
			{"an oversized body", encoded, strings.Repeat("a", maxFormBytes+1), 413, "body_too_large", false},
			{"another type", "application/json", "{}", 400, "form_unreadable", false},
		} {
			if c.fields && field == "" {
				continue
			}
			w := b.send("POST", path+"?tx="+b.asked(), strings.NewReader(c.body), c.contentType)
			if got := codes(t, w); w.Code != c.status || got != c.code {
				t.Errorf("%s %s: %d %q, want %d %q", path, c.name, w.Code, got, c.status, c.code)
			}
		}
		// Whatever lacks its seal or its fields is a page that leads on, or leads on itself.
		for _, target := range []string{path, path + "?tx=", path + "?tx=x", path + "?tx=" + b.asked(), path + "?tx=" + b.asked() + "&tx=y"} {
			for _, method := range []string{"GET", "POST"} {
				w := b.send(method, target, strings.NewReader(""), encoded)
				if w.Code != http.StatusSeeOther && !strings.Contains(w.Body.String(), "<h1>") {
					t.Errorf("%s %s: %d\n%s", method, target, w.Code, w.Body)
				}
			}
		}
		b.header.Set("Accept", "application/json")
		w := b.post(path+"?tx=x", fields(field, "1"))
		b.header.Del("Accept")
		var problem struct{ Code string }
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Code == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s as JSON: %d %q %s", path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

func TestFormThatWasOpenTooLongKeepsWhatWasTyped(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	signUp, reset := b.formOf("/signup?tx="+b.asked()), b.formOf("/reset?tx="+b.asked())
	code := b.get(onto(t, b.post(b.formOf("/reset?tx="+b.asked()), fields("username", "alice")), "/reset/code"))
	h.clock = h.clock.Add(h.cfg.Login.FlowTimeout)
	page := b.post(signUp, filled())
	expect(t, page, http.StatusBadRequest, "interaction_expired")
	if value(t, page, "email") != "zoe@example.net" {
		t.Error("the address is lost")
	}
	if got := b.ofForm(action(t, page)).Request.ClientID; got != "rp" {
		t.Errorf("the relying party's request is lost: %q", got)
	}
	onto(t, b.post(action(t, page), filled()), "/verify")
	page = b.post(reset, fields("username", "bob"))
	expect(t, page, http.StatusBadRequest, "interaction_expired")
	if value(t, page, "username") != "bob" {
		t.Error("the name is lost")
	}
	// The code of a reset outlives the sign-in that it was asked for in.
	page = b.post(action(t, code), fields("code", "1"))
	expect(t, page, http.StatusBadRequest, "interaction_expired")
	for _, m := range h.mails() {
		if m.Kind == "reset" && m.To == "alice@example.com" {
			onto(t, b.post(action(t, page), fields("code", m.Args["code"])), "/reset/new")
			return
		}
	}
	t.Error("no mail")
}

// ofForm is the interaction in the address of a form.
func (b *tab) ofForm(target string) *idp.Interaction {
	b.h.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		b.h.t.Fatal(err)
	}
	in, err := b.h.Open(b.context(), u.Query().Get("tx"))
	if err != nil {
		b.h.t.Fatal(err)
	}
	return in
}
