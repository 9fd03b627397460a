package loginui

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"postern/config"
	"postern/idp"
)

// accountSamples are the pages of an account, each in its states.
func accountSamples() []sample {
	own := func(make func(*frame) page) func(*frame) page {
		return func(f *frame) page {
			f.isolated, f.Wide = true, true
			return make(f)
		}
	}
	policy := []string{"At least 12 characters. A few uncommon words make a good password.", "None that many people use.", "Hard to guess."}
	visit := &idp.Visit{User: idp.User{Email: "alice@example.com"}}
	profile := idp.Profile{Name: "Alice Liddell", Birthdate: "1852-05-04", Website: "https://alice.example.com", Address: &idp.Address{StreetAddress: "Christ Church\nSt Aldate's", Locality: "Oxford"}}
	texts, err := newCatalogue()
	if err != nil {
		panic(err)
	}
	return []sample{
		{"account", 200, own(func(f *frame) page {
			f.Notice = &message{Code: "password_changed", Text: f.T("notice.password_changed")}
			return &accountPage{frame: f, Person: alice, Username: "alice", SignedInAt: sampleTime, EndsAt: sampleTime.AddDate(0, 0, 14), Remembered: true,
				Checks: f.checks(visit, idp.Checklist{EmailVerified: true, HasPassword: true, HasFactor: true, HasPasskey: true, RecoveryLeft: 2}), Places: f.places()}
		})},
		{"account without e-mail", 200, own(func(f *frame) page {
			return &accountPage{frame: f, Person: &person{Name: "bob", Login: "bob", Initial: "B"}, Username: "bob", SignedInAt: sampleTime, EndsAt: sampleTime.AddDate(0, 0, 1),
				Checks: f.checks(&idp.Visit{}, idp.Checklist{OtherSessions: 3, UnknownDevices: 1}), Places: f.places()}
		})},
		{"password", 200, func(f *frame) page {
			f.isolated = true
			return &passwordPage{frame: f, Tx: "TX", Person: alice, Policy: policy, EndsOthers: true}
		}},
		{"password first", 200, func(f *frame) page {
			f.isolated = true
			return &passwordPage{frame: f, Tx: "TX", Person: alice, Policy: policy, First: true}
		}},
		{"password short", 400, func(f *frame) page {
			f.isolated = true
			f.fail("wrong_password", "password")
			f.fail("password_too_short", "new_password", "min", 12, "count", 7)
			f.fail("password_too_common", "new_password")
			return &passwordPage{frame: f, Tx: "TX", Person: longName, Policy: policy, EndsOthers: true}
		}},
		{"password throttled for seconds", 429, func(f *frame) page {
			throttle(f, "user", 20*time.Second)
			f.isolated = true
			return &passwordPage{frame: f, Tx: "TX", Person: alice, Policy: policy}
		}},
		{"profile", 200, own(func(f *frame) page {
			return &profilePage{frame: f, Tx: "TX", Groups: f.fields(profile, texts.has)}
		})},
		{"profile wrong", 400, own(func(f *frame) page {
			f.fail("date_invalid", "birthdate")
			f.fail("url_invalid", "website")
			f.fail("claim_too_long", "street_address")
			return &profilePage{frame: f, Tx: "TX", Groups: f.fields(idp.Profile{Birthdate: "yesterday", Website: `"><script>alert(1)</script>`}, texts.has)}
		})},
		{"emails", 200, own(func(f *frame) page {
			return &emailsPage{frame: f, Tx: "TX", Emails: []ownEmail{
				{"e1", "alice@example.com", true, true}, {"e2", longName.Email, false, true}, {"e3", "liddell@example.net", false, false},
			}}
		})},
		{"emails none", 200, own(func(f *frame) page { return &emailsPage{frame: f, Tx: "TX"} })},
		{"email add", 200, own(func(f *frame) page { return &addEmailPage{frame: f, Tx: "TX"} })},
		{"email add empty", 400, own(func(f *frame) page {
			f.fail("email_missing", "email")
			return &addEmailPage{frame: f, Tx: "TX"}
		})},
		{"email code", 200, own(func(f *frame) page { return &emailCodePage{frame: f, Tx: "TX", Email: longName.Email} })},
		{"email code wrong", 400, own(func(f *frame) page {
			f.fail("code_wrong", "code")
			return &emailCodePage{frame: f, Tx: "TX", Email: "liddell@example.net"}
		})},
		{"sessions", 200, own(func(f *frame) page {
			return &sessionsPage{frame: f, Tx: "TX", Others: true, Sessions: []ownSession{
				{ID: "s1", Device: f.device("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), Place: "Cologne, Germany", Address: "203.0.113.7",
					Current: true, Active: true, SignedInAt: sampleTime, SeenAt: sampleTime, Methods: []string{f.method("pwd")}, Apps: []string{"Grafana", "<Notes>"}},
				{ID: "s2", Device: f.device("<script>alert(1)</script>"), Address: "2001:db8:1234:5678:9abc:def0:1234:5678", New: true, SignedInAt: sampleTime, SeenAt: sampleTime, Methods: []string{f.method("otp")}},
			}}
		})},
		{"sessions alone", 200, own(func(f *frame) page {
			return &sessionsPage{frame: f, Tx: "TX", Sessions: []ownSession{{ID: "s1", Device: f.device(""), Current: true, Active: true, SignedInAt: sampleTime, SeenAt: sampleTime, Methods: []string{f.method("pwd")}}}}
		})},
		{"apps", 200, own(func(f *frame) page {
			return &appsPage{frame: f, Tx: "TX", Apps: []connectedApp{
				f.app(&idp.App{Client: idp.Client{ID: "rp", Metadata: idp.Metadata{Name: "Grafana"}}, Tokens: 2,
					Consent: idp.Consent{Scopes: idp.List{"openid", "profile", "offline_access"}, CreatedAt: sampleTime}}),
				f.app(&idp.App{Client: idp.Client{ID: "<b>", Metadata: idp.Metadata{Name: "Notes <& co>"}}}),
			}}
		})},
		{"apps none", 200, own(func(f *frame) page { return &appsPage{frame: f, Tx: "TX"} })},
		{"activity", 200, own(func(f *frame) page {
			return &activityPage{frame: f, Before: "e9", Events: []happening{
				{"user.signed_in", sampleTime, f.T("activity.event.user.signed_in.app", "app", "Grafana"), "Cologne, Germany", "203.0.113.7"},
				{"user.password_changed", sampleTime, f.T("activity.event.user.password_changed"), "", ""},
			}}
		})},
		{"activity none", 200, own(func(f *frame) page { return &activityPage{frame: f, Newest: true} })},
		{"appearance", 200, own(func(f *frame) page { return &appearancePage{frame: f, Tx: "TX"} })},
		{"appearance dark", 200, own(func(f *frame) page {
			f.Theme = "dark"
			return &appearancePage{frame: f, Tx: "TX"}
		})},
		{"data", 200, own(func(f *frame) page {
			f.Notice = &message{Code: "sudo_confirmed", Text: f.T("notice.sudo_confirmed")}
			return &dataPage{frame: f, Tx: "TX"}
		})},
		{"delete", 200, own(func(f *frame) page {
			return &deletePage{frame: f, Tx: "TX", Person: alice, Username: "alice", Days: 30, Mailed: true}
		})},
		{"delete without mail", 200, own(func(f *frame) page {
			return &deletePage{frame: f, Tx: "TX", Person: alice, Username: "alice", Days: 1}
		})},
		{"delete unconfirmed", 400, own(func(f *frame) page {
			f.fail("delete_unconfirmed", "confirm", "username", "alice")
			return &deletePage{frame: f, Tx: "TX", Person: alice, Username: "alice"}
		})},
		{"deleted", 200, func(f *frame) page {
			f.isolated = true
			f.Notice = &message{Code: "deletion_mailed", Text: f.T("notice.deletion_mailed")}
			return &deletedPage{f, 30}
		}},
		{"deleted without mail", 200, func(f *frame) page { f.isolated = true; return &deletedPage{f, 1} }},
		{"deleted now", 200, func(f *frame) page { f.isolated = true; return &deletedPage{f, 0} }},
		{"reauthenticate", 200, func(f *frame) page {
			f.isolated = true
			return &sudoPage{frame: f, Tx: "TX", Person: alice, HasPassword: true, Purpose: f.T("sudo.for./account/emails/add"), Back: emailsPath}
		}},
		{"reauthenticate wrong", 400, func(f *frame) page {
			f.isolated = true
			f.fail("wrong_password", "password")
			return &sudoPage{frame: f, Tx: "TX", Person: longName, HasPassword: true, Purpose: f.T("sudo.for.other"), Back: accountPath}
		}},
		{"reauthenticate without password", 200, func(f *frame) page {
			f.isolated = true
			return &sudoPage{frame: f, Tx: "TX", Person: alice, Purpose: f.T("sudo.for./account/delete"), Back: deletePath}
		}},
	}
}

// known lets people in whose address is not confirmed.
func known(cfg *config.Config) { cfg.Email.Verification = "optional" }

// at is a browser in which somebody is signed in.
func (h *house) at(username, password string) *tab {
	h.t.Helper()
	b := h.browser()
	b.signIn(username, password)
	return b
}

// later turns the clock.
func (h *house) later(d time.Duration) { h.clock = h.clock.Add(d) }

// rows are the elements of a page that have an attribute.
func rows(t *testing.T, w *httptest.ResponseRecorder, name string) []*html.Node {
	t.Helper()
	return slices.DeleteFunc(elements(t, w.Body.String()), func(n *html.Node) bool { return !has(n, name) })
}

func TestEveryAccountPageWantsSomebodySignedIn(t *testing.T) {
	h := newHouse(t, known)
	alice, nobody := h.at("alice", alicesPassword), h.browser()
	for _, path := range []string{
		accountPath, profilePath, emailsPath, addEmailPath, passwordPath, sessionsPath, appsPath, activityPath, appearancePath, dataPath, deletePath,
		twoStepPath, passkeysPath, addPasskeyPath, codesPath,
	} {
		w := alice.get(path)
		if w.Code != http.StatusOK || w.Header().Get("Cross-Origin-Opener-Policy") != "same-origin" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if in := nobody.opened(nobody.get(path)); in.Request.Return != path {
			t.Errorf("%s: leads back to %s", path, in.Request.Return)
		}
		if path == accountPath || path == activityPath {
			continue
		}
		for _, query := range []string{"", "?tx=abc", "?tx=" + alice.asked()} {
			w := alice.post(path+query, fields("session", everyOther, "confirm", "alice", "remove", "x"))
			if w.Code != http.StatusBadRequest && w.Header().Get("Location") != path {
				t.Errorf("%s with %q: %d to %q", path, query, w.Code, w.Header().Get("Location"))
			}
		}
	}
}

func TestOverviewTellsWhatToLookAfter(t *testing.T) {
	h := newHouse(t, known)
	b := h.at("dave", davesPassword)
	h.at("dave", davesPassword)
	got := map[string]bool{}
	page := b.get(accountPath)
	for _, n := range rows(t, page, "data-check") {
		got[attribute(n, "data-check")] = has(n, "data-fine")
	}
	want := map[string]bool{"email": false, "passkey": false, "twostep": false, "password": true, "sessions": false, "devices": false}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v\n%s", got, want, read(t, page))
	}
}

func TestS0_58_TwoSignInsAreTwoLinesOneOfWhichIsThisDevice(t *testing.T) {
	h := newHouse(t)
	h.at("alice", alicesPassword)
	h.later(10 * time.Minute)
	b := h.browser()
	b.agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	b.signIn("alice", alicesPassword)
	w := b.get(sessionsPath)
	list := rows(t, w, "data-session")
	if len(list) != 2 {
		t.Fatalf("%d lines, want 2", len(list))
	}
	for i, want := range [][]string{
		{"Firefox on Linux", "this device", "Active now", "2026-11-22 14:10 UTC", "password", "192.0.2.7"},
		{"An unknown browser", "Last active 2026-11-22 14:00 UTC", "password"},
	} {
		for _, word := range want {
			if !strings.Contains(words(list[i]), word) {
				t.Errorf("line %d lacks %q: %s", i, word, words(list[i]))
			}
		}
		if current := has(list[i], "data-current"); current != (i == 0) {
			t.Errorf("line %d is this device: %v", i, current)
		}
	}
}

func TestS0_59_BrowserAndSystemAreTheirFamiliesAlone(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36":                         "Chrome Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0":               "Edge Windows",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36":                         "Chrome Android",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15":                   "Safari macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1": "Safari iOS",
		"<script>alert(1)</script>":                       " ",
		"Mozilla/5.0 (X11; Linux x86_64) <b>Chrome</b>/1": " Linux",
		"": " ",
	} {
		if browser, system := browserOf(agent); browser+" "+system != want {
			t.Errorf("%q: %q, want %q", agent, browser+" "+system, want)
		}
	}
}

func TestS0_59_WhatABrowserSaysOfItselfIsNeverMarkup(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.agent = `<script>alert(1)</script> "><img src=x> Firefox/1`
	b.signIn("alice", alicesPassword)
	for _, path := range []string{sessionsPath, activityPath} {
		w := b.get(path)
		if strings.Contains(w.Body.String(), "alert(1)") || strings.Contains(w.Body.String(), "<img") {
			t.Errorf("%s:\n%s", path, w.Body)
		}
		if text := read(t, w); !strings.Contains(text, "192.0.2.7") || strings.Contains(text, "near") {
			t.Errorf("%s: without a file of places there is the address alone: %s", path, text)
		}
	}
}

func TestS0_60_ASessionEndsForItsUserAlone(t *testing.T) {
	h := newHouse(t, known)
	alice, other, bob := h.at("alice", alicesPassword), h.at("alice", alicesPassword), h.at("bob", bobsPassword)
	id := other.visit().Session.ID.String()
	for name, which := range map[string]string{
		"another's": id, "nobody's": idp.NewID(h.clock).String(), "no id": "x", "the zero id": idp.ID{}.String(), "nothing": "",
	} {
		if w := bob.post(bob.formOf(sessionsPath), fields("session", which)); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", name, w.Code)
		}
	}
	if other.visit() == nil || alice.visit() == nil || bob.visit() == nil {
		t.Fatal("somebody was signed out")
	}
	if strings.Contains(other.cookies[sessionCookie], id) {
		t.Error("the id is in the cookie as the page has it")
	}
	onto(t, alice.post(alice.formOf(sessionsPath), fields("session", id)), sessionsPath)
	expect(t, alice.get(sessionsPath), http.StatusOK, "session_ended")
	if other.visit() != nil || alice.visit() == nil {
		t.Error("the other session lives, or this one does not")
	}
	onto(t, other.get(sessionsPath), dispatcher)
}

func TestS0_60_AllOtherSessionsEndAtOnce(t *testing.T) {
	h := newHouse(t, known)
	alice, one, two, bob := h.at("alice", alicesPassword), h.at("alice", alicesPassword), h.at("alice", alicesPassword), h.at("bob", bobsPassword)
	onto(t, alice.post(alice.formOf(sessionsPath), fields("session", everyOther)), sessionsPath)
	if one.visit() != nil || two.visit() != nil || alice.visit() == nil || bob.visit() == nil {
		t.Error("the wrong sessions ended")
	}
	w := alice.get(sessionsPath)
	if n := len(rows(t, w, "data-session")); n != 1 || strings.Contains(w.Body.String(), `value="others"`) {
		t.Errorf("%d sessions, or a button for what is not there", n)
	}
	onto(t, alice.post(alice.formOf(sessionsPath), fields("session", alice.visit().Session.ID.String())), "/logout")
	if alice.visit() != nil {
		t.Error("this session lives")
	}
}

func TestS0_61_ASignInOnANewDeviceIsFlagged(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	h.later(time.Minute)
	h.at("alice", alicesPassword)
	var news []bool
	for _, n := range rows(t, b.get(sessionsPath), "data-session") {
		news = append(news, has(n, "data-new"))
	}
	if !slices.Equal(news, []bool{true, false}) {
		t.Errorf("new devices, newest first: %v", news)
	}
	if text := read(t, b.get(activityPath)); strings.Count(text, "Sign-in on a new device.") != 1 {
		t.Errorf("the activity does not tell: %s", text)
	}
}

func TestS0_63_EverythingSensitiveAsksAnewWhoIsHere(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	list, err := h.Emails(t.Context(), b.visit())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	for _, c := range []struct {
		name, path string
		form       url.Values
		after      string // where the proof leads
	}{
		{"add an address", addEmailPath, fields("email", "new@example.com"), emailCodePath},
		{"remove an address", emailsPath, fields("remove", list[0].ID.String()), emailsPath},
		{"another main address", emailsPath, fields("primary", list[0].ID.String()), emailsPath},
		{"another phone number", profilePath, fields("phone_number", "+49221123456"), profilePath},
		{"download", dataPath, fields(), dataPath},
		{"delete", deletePath, fields("confirm", "alice"), deletePath},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.later(6 * time.Minute)
			before := b.visit().User
			to := onto(t, b.post(b.formOf(c.path), c.form), sudoPath)
			if after := b.visit(); after == nil || !reflect.DeepEqual(after.User, before) {
				t.Fatalf("something was changed before the proof: %+v", after)
			}
			expect(t, b.post(to, fields("password", "wrong horse")), http.StatusBadRequest, "invalid_credentials")
			was := b.cookies[sessionCookie]
			onto(t, b.post(b.formOf(to), fields("password", alicesPassword)), c.after)
			if b.cookies[sessionCookie] == was {
				t.Error("the cookie was not renewed")
			}
			if b.visit() == nil || !h.Fresh(b.visit()) {
				t.Error("the proof is not fresh")
			}
		})
	}
	if phone := b.visit().User.Profile.PhoneNumber; phone != "+49221123456" {
		t.Errorf("phone number %q: the form did not go on", phone)
	}
}

func TestS0_66_WhatWaitsForAProofCannotBeSwapped(t *testing.T) {
	h := newHouse(t, known)
	b, other := h.at("alice", alicesPassword), h.at("alice", alicesPassword)
	h.later(6 * time.Minute)
	to := onto(t, b.post(b.formOf(profilePath), fields("phone_number", "+49221123456", "nickname", "Al")), sudoPath)
	if text := read(t, b.get(to)); !strings.Contains(text, "change your profile") {
		t.Errorf("the page does not tell what it is for: %s", text)
	}
	// What an address or another form adds does not count.
	swapped := b.post(to+"&phone_number=%2B4911&path=/account/delete", fields("password", alicesPassword, "phone_number", "+4911"))
	onto(t, swapped, profilePath)
	if p := b.visit().User.Profile; p.PhoneNumber != "+49221123456" || p.Nickname != "Al" || p.Name != "Alice Liddell" {
		t.Errorf("%+v", p)
	}
	// It is good for nobody else, not even in the same browser.
	onto(t, other.post(to, fields("password", alicesPassword)), accountPath)
	b.signIn("bob", bobsPassword)
	onto(t, b.post(to, fields("password", bobsPassword)), accountPath)
	if p := b.visit().User.Profile; p.PhoneNumber != "" {
		t.Errorf("bob has %q", p.PhoneNumber)
	}
}

func TestS0_66_ASealOfAnotherPageIsNoProofThatWaitsAndNoneOfThoseOpensAnotherForm(t *testing.T) {
	h := newHouse(t, known)
	b, stolen := h.at("alice", alicesPassword), h.browser()
	b.get(accountPath) // which takes the notice
	h.later(6 * time.Minute)
	waits := onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.com")), sudoPath)
	_, tx, _ := strings.Cut(waits, "?")
	// What waits for a proof is the seal of no other form.
	for _, c := range []struct {
		path string
		form url.Values
	}{
		{profilePath, fields("nickname", "Al")}, {emailsPath, fields("remove", idp.NewID(h.clock).String())}, {addEmailPath, fields("email", "evil@example.com")},
		{passwordPath, fields("password", alicesPassword, "new_password", newPassword)}, {deletePath, fields("confirm", "alice")}, {dataPath, fields()},
		{sessionsPath, fields("session", everyOther)}, {"/logout", fields()},
	} {
		w := b.post(c.path+"?"+tx, c.form)
		if code := w.Header().Get("Location"); w.Code != http.StatusBadRequest && code != c.path {
			t.Errorf("%s: %d to %q", c.path, w.Code, code)
		}
	}
	// The seal of another form waits for no proof.
	for _, path := range []string{profilePath, addEmailPath, deletePath, passwordPath, "/logout"} {
		_, tx, _ := strings.Cut(b.formOf(path), "?")
		onto(t, b.post(sudoPath+"?"+tx, fields("password", alicesPassword)), accountPath)
	}
	// Nor is one good in another browser that has the session's cookie.
	stolen.cookies[sessionCookie] = b.cookies[sessionCookie]
	stolen.get(deletedPath)
	onto(t, stolen.post(waits, fields("password", alicesPassword)), accountPath)
	if b.visit() == nil || h.Fresh(b.visit()) {
		t.Fatal("something of that was a proof")
	}
	if u := b.visit().User; u.Profile.Nickname != "" || u.Status != idp.Active {
		t.Errorf("%+v", u)
	}
	onto(t, b.post(waits, fields("password", alicesPassword)), emailCodePath)
}

func TestS0_66_AddressesStayUntilTheirButtonIsPressedAgain(t *testing.T) {
	h := newOpenHouse(t)
	b := h.at("alice", alicesPassword)
	to := onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.com")), emailCodePath)
	onto(t, b.post(to, fields("code", h.mail("verify_code", "new@example.com").Args["code"])), emailsPath)
	for _, button := range []string{"primary", "remove"} {
		h.later(6 * time.Minute)
		which := attribute(rows(t, b.get(emailsPath), "data-email")[1], "data-email")
		to := onto(t, b.post(b.formOf(emailsPath), fields(button, which)), sudoPath)
		onto(t, b.post(to, fields("password", alicesPassword)), emailsPath)
		expect(t, b.get(emailsPath), http.StatusOK, "sudo_confirmed")
		if list := rows(t, b.get(emailsPath), "data-email"); len(list) != 2 || b.visit().User.Email != "alice@example.com" {
			t.Errorf("%s: it was done at once", button)
		}
	}
}

func TestS0_66_DestructiveFormsAskOnceMoreAfterTheProof(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	h.later(6 * time.Minute)
	to := onto(t, b.post(b.formOf(deletePath), fields("confirm", "alice")), sudoPath)
	onto(t, b.post(to, fields("password", alicesPassword)), deletePath)
	expect(t, b.get(deletePath), http.StatusOK, "sudo_confirmed")
	if b.visit() == nil {
		t.Fatal("the account was deleted at once")
	}
	expect(t, b.post(b.formOf(deletePath), fields("confirm", "bob")), http.StatusBadRequest, "delete_unconfirmed")
	onto(t, b.post(b.formOf(deletePath), fields("confirm", " Alice ")), deletedPath)
	if b.visit() != nil || b.cookies[sessionCookie] != "" {
		t.Error("alice is signed in")
	}
	if w := b.get(deletedPath); !strings.Contains(read(t, w), "30 days") {
		t.Error(read(t, w))
	}
}

func TestDataIsAFileOfOnesOwnWithoutSecrets(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	w := b.post(b.formOf(dataPath), fields())
	if got := w.Header().Get("Content-Disposition"); w.Code != http.StatusOK || got != `attachment; filename="account-2026-11-22.json"` {
		t.Fatalf("%d %q", w.Code, got)
	}
	var data map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &data); err != nil || !strings.Contains(w.Body.String(), "alice@example.com") {
		t.Errorf("%v: %v", err, data)
	}
	for _, secret := range []string{"$argon2", b.cookies[sessionCookie], "bob@example.com"} {
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("it has %s", secret)
		}
	}
}

func TestProfileKeepsWhatWasTypedAndSaysWhatIsWrong(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	w := b.post(b.formOf(profilePath), fields("name", " Alice P. Liddell ", "birthdate", "yesterday", "website", "javascript:alert(1)", "zoneinfo", "next door"))
	expect(t, w, http.StatusBadRequest, "url_invalid date_invalid zone_invalid")
	if value(t, w, "birthdate") != "yesterday" || value(t, w, "name") != "Alice P. Liddell" {
		t.Error("what was typed is lost")
	}
	onto(t, b.post(action(t, w), fields("name", "Alice P. Liddell", "locality", "Oxford", "preferred_username", "bob", "email_verified", "true")), profilePath)
	expect(t, b.get(profilePath), http.StatusOK, "profile_kept")
	want := idp.Profile{Name: "Alice P. Liddell", Address: &idp.Address{Locality: "Oxford"}}
	if got := b.visit().User.Profile; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	outdated := b.post(profilePath+"?tx=abc", fields("nickname", "Al"))
	expect(t, outdated, http.StatusBadRequest, "page_outdated")
	if value(t, outdated, "nickname") != "Al" {
		t.Error("what was typed is lost with an old page")
	}
}

func TestAddressIsAddedByItsCode(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	expect(t, b.post(b.formOf(addEmailPath), fields("email", " ")), http.StatusBadRequest, "email_missing")
	expect(t, b.post(b.formOf(addEmailPath), fields("email", "no address")), http.StatusBadRequest, "email_invalid")
	expect(t, b.post(b.formOf(addEmailPath), fields("email", "alice@example.com")), http.StatusBadRequest, "email_present")
	to := onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.com")), emailCodePath)
	if text := read(t, b.get(to)); !strings.Contains(text, "new@example.com") {
		t.Errorf("the page does not say where: %s", text)
	}
	expect(t, b.post(to, fields("code", " - ")), http.StatusBadRequest, "code_missing")
	for range 2 {
		expect(t, b.post(to, fields("code", "nonsense")), http.StatusBadRequest, "code_wrong")
	}
	onto(t, b.post(to, fields("code", "nonsense")), emailsPath)
	expect(t, b.get(emailsPath), http.StatusOK, "email_code_over")
	if n := len(rows(t, b.get(emailsPath), "data-email")); n != 1 {
		t.Errorf("%d addresses, want 1", n)
	}
	// Nobody else can go on with it.
	onto(t, h.at("alice", alicesPassword).get(to), emailsPath)
}

func TestAppearanceIsCarriedByThePageItself(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	for _, c := range []struct{ theme, want, scheme string }{
		{"dark", "dark", "dark"}, {"light", "light", "light"}, {"", "", "light dark"},
	} {
		onto(t, b.post(b.formOf(appearancePath), fields("language", "de", "theme", c.theme)), appearancePath)
		w := b.get(appearancePath)
		root := named(elements(t, w.Body.String()), "html")[0]
		if attribute(root, "data-theme") != c.want || attribute(root, "lang") != "de" || !strings.Contains(w.Body.String(), `name="color-scheme" content="`+c.scheme+`"`) {
			t.Errorf("%q: %v", c.theme, root.Attr)
		}
	}
	if got := b.visit().User.Locale; got != "de" {
		t.Errorf("mails are in %q", got)
	}
	for _, form := range []url.Values{fields("language", "xx"), fields("language", "en", "theme", `"><b>`)} {
		if w := b.post(b.formOf(appearancePath), form); w.Code != http.StatusBadRequest {
			t.Errorf("%v: %d", form, w.Code)
		}
	}
	b.cookies[lookCookie] = "sepia"
	if strings.Contains(b.get(accountPath).Body.String(), "data-theme") {
		t.Error("the page takes any theme")
	}
}

func TestAppIsTakenBack(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	in := b.h.Begin(fields("client_id", "rp"), idp.Request{ClientID: "rp", Scopes: idp.List{"openid", "profile"}})
	if err := h.GiveConsent(b.context(), in, b.visit()); err != nil {
		t.Fatal(err)
	}
	if text := read(t, b.get(appsPath)); !strings.Contains(text, "Grafana") || !strings.Contains(text, "See your name") {
		t.Errorf("the list lacks the app: %s", text)
	}
	if w := b.post(b.formOf(appsPath), fields("app", "nobody's")); w.Code != http.StatusNotFound {
		t.Errorf("%d for an app that is none", w.Code)
	}
	onto(t, b.post(b.formOf(appsPath), fields("app", "rp")), appsPath)
	if w := b.get(appsPath); len(rows(t, w, "data-app")) != 0 {
		t.Errorf("the app stays: %s", read(t, w))
	}
}

func TestRefusedConsentIsToldAsNoSignInToTheApp(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	tx := b.afterwards(b.post(b.formOf("/login?tx="+b.asked()), fields("username", "alice", "password", alicesPassword)))
	if in := b.opened(b.post(b.formOf("/consent?tx="+tx), fields("decision", "deny"))); !in.Denied {
		t.Fatal("it was not refused")
	}
	if text := read(t, b.get(activityPath)); !strings.Contains(text, "You signed in, on your way to Grafana.") {
		t.Errorf("%s", text)
	}
}

func TestDeletedPageTellsOfAMailToWhomOneGoesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		who, password string
		mailer        idp.Mailer
		mailed        bool
	}{
		"a confirmed address":  {"alice", alicesPassword, silent{}, true},
		"no confirmed address": {"dave", davesPassword, silent{}, false},
		"no way to send mail":  {"alice", alicesPassword, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, known)
			h.open(c.mailer)
			b := h.at(c.who, c.password)
			h.mails()
			page := b.get(deletePath)
			if told := strings.Contains(read(t, page), "a link that we send you"); told != c.mailed {
				t.Errorf("a link is promised: %v, want %v", told, c.mailed)
			}
			done := b.get(onto(t, b.post(action(t, page), fields("confirm", c.who)), deletedPath))
			expect(t, done, http.StatusOK, map[bool]string{true: "deletion_mailed"}[c.mailed])
			if text := read(t, done); !strings.Contains(text, "whoever runs Postern can bring it back") {
				t.Errorf("a dead end: %s", text)
			}
			if list := h.mails(); len(list) > 0 != c.mailed {
				t.Errorf("mails %+v", list)
			}
			expect(t, b.get(deletedPath), http.StatusOK, "")
		})
	}
}

func TestActivityHasPages(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	for range activityLength {
		h.later(6 * time.Minute)
		to := onto(t, b.post(b.formOf(dataPath), fields()), sudoPath)
		onto(t, b.post(to, fields("password", alicesPassword)), dataPath)
	}
	total, next := 0, activityPath
	for range 3 {
		w := b.get(next)
		total += len(rows(t, w, "data-event"))
		next = ""
		for _, n := range named(elements(t, w.Body.String()), "a") {
			if attribute(n, "rel") == "next" {
				next = attribute(n, "href")
			}
		}
		if next == "" {
			break
		}
	}
	if next != "" || total != activityLength+2 {
		t.Errorf("%d events, and more at %q", total, next)
	}
	if w := b.get(activityPath + "?before=x"); w.Code != http.StatusNotFound {
		t.Errorf("%d for a page that is none", w.Code)
	}
}

func TestS0_35_EveryFailureOfAPasswordIsShownAtOnce(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	page := b.get(passwordPath)
	if text := read(t, page); !strings.Contains(text, "At least 12 characters") || !strings.Contains(text, "Hard to guess.") {
		t.Errorf("the page lacks the help of the policy: %s", text)
	}
	w := b.post(action(t, page), fields("password", alicesPassword, "new_password", "1234567"))
	expect(t, w, http.StatusBadRequest, "password_too_short password_too_common password_entirely_numeric password_too_weak")
}

func TestS1_17_ScriptsTouchNoStorage(t *testing.T) {
	script := string(sampleUI(t).assets.byName["elements.js"].content)
	for _, word := range []string{"localStorage", "sessionStorage", "indexedDB", "document.cookie", "caches"} {
		if strings.Contains(script, word) {
			t.Errorf("a script has %s", word)
		}
	}
}

func TestS1_21_APasswordChangesForWhoKnowsTheOldOneAlone(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	for old, want := range map[string]string{"": "password_missing", "wrong horse": "invalid_credentials"} {
		w := b.post(b.formOf(passwordPath), fields("password", old, "new_password", "entirely new mustard"))
		expect(t, w, http.StatusBadRequest, want)
	}
	h.at("alice", alicesPassword)
}

func TestAddressIsOnesOwnOnceItsCodeWasTyped(t *testing.T) {
	h := newOpenHouse(t)
	b := h.at("alice", alicesPassword)
	to := onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.com")), emailCodePath)
	code := h.mail("verify_code", "new@example.com").Args["code"]
	onto(t, b.post(to, fields("code", " "+code[:3]+"-"+code[3:])), emailsPath)
	page := b.get(emailsPath)
	expect(t, page, http.StatusOK, "email_verified")
	list := rows(t, page, "data-email")
	if len(list) != 2 {
		t.Fatalf("%d addresses, want 2: %s", len(list), read(t, page))
	}
	id := attribute(list[1], "data-email")
	onto(t, b.post(b.formOf(emailsPath), fields("primary", id)), emailsPath)
	if u := b.visit().User; u.Email != "new@example.com" || !u.EmailVerified {
		t.Errorf("the main address is %s", u.Email)
	}
	expect(t, b.post(b.formOf(emailsPath), fields("remove", id)), http.StatusBadRequest, "email_primary")
	former := attribute(rows(t, b.get(emailsPath), "data-email")[1], "data-email")
	onto(t, b.post(b.formOf(emailsPath), fields("remove", former)), emailsPath)
	if n := len(rows(t, b.get(emailsPath), "data-email")); n != 1 {
		t.Errorf("%d addresses, want 1", n)
	}
}

func TestFirstPasswordIsSetWithoutAFormerOne(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	carol := idp.NewUser{Username: "carol", Email: "carol@example.com", EmailVerified: true}
	if _, err := h.AddUser(t.Context(), carol); err != nil {
		t.Fatal(err)
	}
	b := h.browser()
	b.get(accountPath)
	to := onto(t, b.post(b.formOf("/login/code?tx="+b.asked()), fields("username", carol.Email)), "/login/code/enter")
	b.post(b.formOf(to), fields("code", h.mail("login_code", carol.Email).Args["code"]))
	if b.visit() == nil {
		t.Fatal("carol is not signed in")
	}
	if page := b.get(passwordPath); strings.Contains(page.Body.String(), "current-password") {
		t.Error("the page asks for a password that there is not")
	}
	h.later(6 * time.Minute)
	page := b.get(passwordPath)
	to = onto(t, b.post(action(t, page), fields("new_password", newPassword)), sudoPath)
	if w := b.get(to); strings.Contains(w.Body.String(), "current-password") || !strings.Contains(read(t, w), "You have no password.") {
		t.Errorf("the proof: %s", read(t, w))
	}
	h.later(-6 * time.Minute)
	onto(t, b.post(b.formOf(passwordPath), fields("new_password", newPassword)), accountPath)
	expect(t, b.get(accountPath), http.StatusOK, "password_set")
	h.later(time.Minute)
	h.at("carol", newPassword)
}
