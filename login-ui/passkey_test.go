package loginui

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

// factorForms are the forms about second factors and passkeys of a sign-in, by the path that they are
// sent to. What a browser answers for a passkey is in tests of its own.
func factorForms(t *testing.T) map[string]form {
	keyAt := func(h *house, b *tab, target string) string {
		action, _, _ := keyIn(t, b.get(target))
		return action
	}
	enrolling := func(b *tab) string {
		return b.afterwards(b.enterPassword("alice", alicesPassword, "claims", twoFactors))
	}
	return map[string]form{
		factorPath: {open: func(h *house, b *tab) string {
			h.withApp("alice", alicesPassword)
			return action(t, b.onto(factorPath, b.enterPassword("alice", alicesPassword)))
		}, secret: []string{"code"}, others: []string{"way", "trust", "passkeys", "cancel"}},
		factorPath + "/key": {open: func(h *house, b *tab) string {
			h.withKey("alice", alicesPassword)
			return keyAt(h, b, factorPath+"?tx="+b.afterwards(b.enterPassword("alice", alicesPassword)))
		}, others: []string{"trust"}},
		"/login/passkey": {open: func(h *house, b *tab) string { return keyAt(h, b, "/login?tx="+b.asked()) }, others: []string{"remember"}},
		"/login/passkey/offer": {open: func(h *house, b *tab) string {
			b.signIn("alice", alicesPassword)
			return keyAt(h, b, "/login/passkey/offer?tx="+b.asked())
		}},
		enrolPath: {open: func(h *house, b *tab) string { return b.formOf(enrolPath + "?tx=" + enrolling(b)) }, others: []string{"cancel"}},
		enrolPath + "/app": {open: func(h *house, b *tab) string {
			return b.formOf(onto(t, b.post(b.formOf(enrolPath+"?tx="+enrolling(b)), fields()), enrolPath+"/app"))
		}, secret: []string{"code"}},
		enrolPath + "/key": {open: func(h *house, b *tab) string { return keyAt(h, b, enrolPath+"/key?tx="+enrolling(b)) }},
	}
}

// twoFactors asks for a sign-in by two factors, by whatever they are.
const twoFactors = `{"id_token":{"acr":{"essential":true,"values":["` + idp.ACRTwoFactors + `"]}}}`

func TestS3_42_APasskeySignsInByItself(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	page := b.get("/login?tx=" + b.asked())
	field := named(elements(t, page.Body.String()), "passkey-button")[0]
	if attribute(field, "data-mediation") != "conditional" || attribute(field, "data-refresh") != "/login/passkey/options" {
		t.Error("passkeys are not in the list of the username's field")
	}
	for _, n := range named(elements(t, page.Body.String()), "button") {
		if attribute(n, "id") == "use-passkey" && !has(n, "hidden") {
			t.Error("the button is there where no script could use it")
		}
	}
	in := b.opened(b.prove(page, key, "remember", "1"))
	v := b.visit()
	if v == nil || v.User.Username != "alice" || in.Authenticated != v.Session.Authentication || !v.Session.Remembered {
		t.Fatalf("visit %+v, interaction %+v", v, in)
	}
	if next := idp.NextStep(in, v, h.PolicyFor(nil), h.clock).Step; next != idp.NoStep {
		t.Errorf("it owes %s", next)
	}
	if a := h.Assurance(in, v, nil); a.ACR != "phrh" || strings.Join(a.AMR, " ") != "hwk user mfa" {
		t.Errorf("got %+v", a)
	}
}

func TestPasskeyThatSignsNobodyInIsExplained(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	page := b.get("/login?tx=" + b.asked())
	form, options, state := keyIn(t, page)

	stranger := newVirtualKey()
	stranger.Options.UserHandle = []byte("somebody of a former database, who is nobody here any more ......")[:64]
	w := b.post(form, fields("state", state, "credential", stranger.get(t, options)))
	expect(t, w, http.StatusBadRequest, "passkey_unknown")
	signals := named(elements(t, w.Body.String()), "passkey-signal")
	if len(signals) != 1 || attribute(signals[0], "data-call") != "signalUnknownCredential" || !strings.Contains(attribute(signals[0], "data-options"), `"rpId":"id.example.com"`) {
		t.Errorf("the browser is not told: %v", signals)
	}

	answer := key.get(t, options)
	for name, c := range map[string]struct{ state, credential, want string }{
		"a broken answer":        {state, "{", "passkey_refused"},
		"no answer":              {state, "", "passkey_refused"},
		"an answer of 30 KiB":    {state, strings.Repeat("x", 30<<10), "passkey_refused"},
		"no state":               {"", answer, "ceremony_over"},
		"a forged state":         {"AAAA", answer, "ceremony_over"},
		"an answer of 33 KiB":    {state, strings.Repeat("x", 33<<10), "field_too_long"},
		"a state that is markup": {"<script>", answer, "ceremony_over"},
	} {
		w := b.post(form, fields("state", c.state, "credential", c.credential))
		if got := codes(t, w); w.Code != http.StatusBadRequest || got != c.want {
			t.Errorf("%s: %d %q, want 400 %q", name, w.Code, got, c.want)
		}
	}
	b.opened(b.post(form, fields("state", state, "credential", answer)))
	delete(b.cookies, sessionCookie)
	form, _, _ = keyIn(t, b.get("/login?tx="+b.asked()))
	w = b.post(form, fields("state", state, "credential", answer))
	expect(t, w, http.StatusBadRequest, "ceremony_over")

	// The page is as good as new: the request of the relying party is kept.
	if in := b.opened(b.prove(w, key)); in.Request.ClientID != "rp" || b.visit() == nil {
		t.Errorf("got %+v", in.Request)
	}
}

func TestPageThatWasOpenForLongTakesAPasskeyStill(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	form, options, state := keyIn(t, b.get("/login?tx="+b.asked()))
	h.later(6 * time.Minute)
	w := b.post(form, fields("state", state, "credential", key.get(t, options)))
	expect(t, w, http.StatusBadRequest, "ceremony_over")

	fresh := b.get("/login/passkey/options")
	var answer struct {
		Options json.RawMessage
		State   string
	}
	if err := json.Unmarshal(fresh.Body.Bytes(), &answer); err != nil || fresh.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%v, %v: %s", err, fresh.Header(), fresh.Body)
	}
	b.opened(b.post(form, fields("state", answer.State, "credential", key.get(t, string(answer.Options)))))
	if b.visit() == nil {
		t.Error("nobody is signed in")
	}

	late := h.browser()
	form, options, state = keyIn(t, late.get("/login?tx="+late.asked()))
	h.later(h.cfg.Login.FlowTimeout + time.Second)
	w = late.post(form, fields("state", state, "credential", key.get(t, options)))
	expect(t, w, http.StatusBadRequest, "interaction_expired")
	if in := late.opened(late.prove(w, key)); in.Request.ClientID != "rp" {
		t.Errorf("got %+v", in.Request)
	}
}

func TestS4_26_WhatAPasskeyAnsweredIsInNoRecord(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.Lockout.SensitiveParameters = nil })
	b := h.browser()
	page := b.get("/login?tx=" + b.asked())
	form, options, state := keyIn(t, page)
	stranger := newVirtualKey()
	stranger.Options.UserHandle = []byte("somebody of a former database, who is nobody here any more ......")[:64]
	expect(t, b.post(form, fields("state", state, "credential", stranger.get(t, options), "remember", "1")), http.StatusBadRequest, "passkey_unknown")
	// The form of the password has the same fields.
	expect(t, b.post(action(t, page), fields("username", "alice", "password", "wrong", "state", state, "credential", "")), http.StatusBadRequest, "invalid_credentials")
	list, err := h.Attempts(t.Context(), idp.AttemptFilter{}, idp.ID{}, 10)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	for i, want := range []string{
		"credential=" + hidden + "&password=" + hidden + "&state=" + hidden + "&username=alice",
		"credential=" + hidden + "&remember=1&state=" + hidden,
	} {
		if list[i].Parameters != want {
			t.Errorf("got %s, want %s", list[i].Parameters, want)
		}
	}
}

func TestS0_29_OptionsOfASignInTellNothingOfAnybody(t *testing.T) {
	h := newHouse(t)
	h.withKey("alice", alicesPassword)
	shape := func(hint string) string {
		b := h.browser()
		_, options, _ := keyIn(t, b.get("/login?tx="+b.asked("login_hint", hint)))
		var document map[string]any
		if err := json.Unmarshal([]byte(options), &document); err != nil {
			t.Fatal(err)
		}
		document["challenge"] = len(document["challenge"].(string))
		text, _ := json.Marshal(document)
		return string(text)
	}
	want := shape("alice")
	for _, name := range []string{"bob", "zoe", "alice@example.com", ""} {
		if got := shape(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

func TestSignInPageStandsWithoutPasskeys(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.RateLimits.WebAuthnOptions = "1/m/ip" })
	b := h.browser()
	b.get("/login/passkey/options")
	page := b.get("/login?tx=" + b.asked())
	expect(t, page, http.StatusOK, "")
	if len(named(elements(t, page.Body.String()), "passkey-button")) != 0 {
		t.Error("a passkey is offered that could not be used")
	}
	b.opened(b.post(action(t, page), fields("username", "alice", "password", alicesPassword)))
	if w := b.get("/login/passkey/options"); w.Code != http.StatusTooManyRequests {
		t.Errorf("got %d", w.Code)
	}
}

func TestPasskeyIsOfferedOnceInABrowserThatCouldHaveOne(t *testing.T) {
	h := newHouse(t)
	enter := func(b *tab, passkeys string) string {
		w := b.post(b.formOf("/login?another=1&tx="+b.asked()), fields("username", "alice", "password", alicesPassword, "passkeys", passkeys))
		return strings.SplitN(w.Header().Get("Location"), "?", 2)[0]
	}
	if got := enter(h.browser(), ""); got != dispatcher {
		t.Errorf("a browser without: %s", got)
	}
	b := h.browser()
	w := b.post(b.formOf("/login?another=1&tx="+b.asked()), fields("username", "alice", "password", alicesPassword, "passkeys", "1"))
	page := b.get(onto(t, w, "/login/passkey/offer"))
	expect(t, page, http.StatusOK, "")
	later := ""
	for _, n := range named(elements(t, page.Body.String()), "a") {
		if attribute(n, "id") == "not-now" {
			later = attribute(n, "href")
		}
	}
	if in, err := h.Open(b.context(), strings.TrimPrefix(later, dispatcher+"?tx=")); err != nil || in.Request.ClientID != "rp" {
		t.Errorf("%q leads to %v, %v", later, in, err)
	}
	if got := enter(b, "1"); got != dispatcher {
		t.Errorf("offered again: %s", got)
	}

	// It is no duty: whatever is wrong, the way on is there.
	form, options, state := keyIn(t, page)
	expect(t, b.post(form, fields("state", state, "credential", "{}")), http.StatusBadRequest, "passkey_refused")
	key := newVirtualKey()
	w = b.post(form, fields("state", state, "credential", key.create(t, options)))
	expect(t, w, http.StatusOK, "")
	if text := read(t, w); !strings.Contains(text, "Save your recovery codes") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %s", text)
	}
	if v := b.visit(); v == nil || !v.User.HasFactor() {
		t.Errorf("got %+v", v)
	}
	if w := b.get("/login/passkey/offer?tx=" + b.asked()); w.Code != http.StatusOK && w.Code != http.StatusSeeOther {
		t.Errorf("got %d", w.Code)
	}
	nobody := h.browser()
	nobody.opened(nobody.get("/login/passkey/offer?tx=" + nobody.asked()))
}

func TestRelatedOriginsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		want     string
	}{
		"none":          {nil, "https://id.example.com"},
		"one of theirs": {[]string{"https://example.org"}, "https://id.example.com https://example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(cfg *config.Config) { cfg.MFA.WebAuthn.RelatedOrigins = c.settings })
			w := h.browser().get("/.well-known/webauthn")
			var got map[string][]string
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got) != 1 || strings.Join(got["origins"], " ") != c.want {
				t.Errorf("%v: %s", err, w.Body)
			}
			if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != relatedOriginsCaching || len(w.Result().Cookies()) != 0 {
				t.Errorf("got %v", w.Header())
			}
		})
	}
}
