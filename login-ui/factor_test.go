package loginui

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"

	"postern/config"
	"postern/idp"
)

// routeFactors routes the pages about second factors and passkeys of a sign-in.
func (h *house) routeFactors() {
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /login/factor": h.ui.ShowFactor, "POST /login/factor": h.ui.SubmitFactor, "POST /login/factor/key": h.ui.SubmitFactorKey,
		"GET /login/passkey/options": h.ui.ShowPasskeyOptions, "POST /login/passkey": h.ui.SubmitPasskeyLogin,
		"GET /login/passkey/offer": h.ui.ShowOffer, "POST /login/passkey/offer": h.ui.SubmitOffer,
		"GET /login/enrol": h.ui.ShowEnrol, "POST /login/enrol": h.ui.SubmitEnrol,
		"GET /login/enrol/app": h.ui.ShowEnrolApp, "POST /login/enrol/app": h.ui.SubmitEnrolApp,
		"GET /login/enrol/key": h.ui.ShowEnrolKey, "POST /login/enrol/key": h.ui.SubmitEnrolKey,
		"GET /.well-known/webauthn": h.ui.ShowRelatedOrigins,
	} {
		h.mux.HandleFunc(pattern, handler)
	}
}

// An appOf is somebody's authenticator app, with their recovery codes.
type appOf struct {
	h      *house
	secret string
	codes  []string
}

// code is the app's next code: the clock is turned to a time step that was not used yet.
func (a *appOf) code() string {
	a.h.t.Helper()
	a.h.later(30 * time.Second)
	code, err := totp.GenerateCode(a.secret, a.h.clock)
	if err != nil {
		a.h.t.Fatal(err)
	}
	return code
}

// withApp gives somebody an authenticator app, in a browser of its own.
func (h *house) withApp(username, password string) *appOf {
	h.t.Helper()
	b := h.browser()
	b.signIn(username, password)
	ctx, v := b.context(), b.visit()
	if err := h.BeginTOTP(ctx, v); err != nil {
		h.t.Fatal(err)
	}
	setup, err := h.TOTPSetup(ctx, v)
	if err != nil {
		h.t.Fatal(err)
	}
	app := &appOf{h: h, secret: strings.ReplaceAll(setup.Secret, " ", "")}
	enrolled, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, app.code())
	if err != nil {
		h.t.Fatal(err)
	}
	app.codes = enrolled.RecoveryCodes
	return app
}

// A virtualKey is an authenticator with one key, which verifies its user.
type virtualKey struct {
	virtualwebauthn.Authenticator
	key virtualwebauthn.Credential
}

var virtualSite = virtualwebauthn.RelyingParty{ID: "id.example.com", Origin: "https://id.example.com"}

func newVirtualKey() *virtualKey {
	k := &virtualKey{Authenticator: virtualwebauthn.NewAuthenticator()}
	// It writes a coordinate that begins with a zero a byte too short, which authenticators do not.
	const coseKey = 77 // bytes (RFC 9053 §7.1.1)
	for k.key.Key == nil || len(k.key.Key.AttestationData()) != coseKey {
		k.key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return k
}

// create answers the options of a registration.
func (k *virtualKey) create(t testing.TB, options string) string {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAttestationOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	k.Options.UserHandle = []byte(parsed.UserID)
	return virtualwebauthn.CreateAttestationResponse(virtualSite, k.Authenticator, k.key, *parsed)
}

// get answers the options of an assertion.
func (k *virtualKey) get(t testing.TB, options string) string {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAssertionOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	k.key.Counter++
	return virtualwebauthn.CreateAssertionResponse(virtualSite, k.Authenticator, k.key, *parsed)
}

// withKey gives somebody a passkey, in a browser of its own.
func (h *house) withKey(username, password string) *virtualKey {
	h.t.Helper()
	b := h.browser()
	b.signIn(username, password)
	c, err := h.BeginPasskey(b.context(), b.visit())
	if err != nil {
		h.t.Fatal(err)
	}
	key := newVirtualKey()
	if _, err := h.AddPasskey(b.context(), &idp.Interaction{}, b.visit(), c.State, key.create(h.t, string(c.Options)), ""); err != nil {
		h.t.Fatal(err)
	}
	return key
}

// keyIn is what the passkey's element of a page says.
func keyIn(t *testing.T, w *httptest.ResponseRecorder) (action, options, state string) {
	t.Helper()
	list := elements(t, w.Body.String())
	found := named(list, "passkey-button")
	if len(found) != 1 {
		t.Fatalf("%d passkey-button, want 1, in %d to %q: %s", len(found), w.Code, w.Header().Get("Location"), read(t, w))
	}
	for _, n := range named(list, "input") {
		if attribute(n, "name") == "state" {
			state = attribute(n, "value")
		}
	}
	return attribute(found[0], "data-action"), attribute(found[0], "data-options"), state
}

// prove answers the passkey's element of a page by key.
func (b *tab) prove(w *httptest.ResponseRecorder, key *virtualKey, pairs ...string) *httptest.ResponseRecorder {
	b.h.t.Helper()
	action, options, state := keyIn(b.h.t, w)
	form := fields(pairs...)
	form.Set("state", state)
	form.Set("credential", key.get(b.h.t, options))
	return b.post(action, form)
}

// make registers key by the passkey's element of a page.
func (b *tab) make(w *httptest.ResponseRecorder, key *virtualKey) *httptest.ResponseRecorder {
	b.h.t.Helper()
	action, options, state := keyIn(b.h.t, w)
	return b.post(action, fields("state", state, "credential", key.create(b.h.t, options)))
}

// enterPassword signs in by password for the relying party, whose request has pairs.
func (b *tab) enterPassword(username, password string, pairs ...string) *httptest.ResponseRecorder {
	b.h.t.Helper()
	return b.post(b.formOf("/login?another=1&tx="+b.asked(pairs...)), fields("username", username, "password", password))
}

// onto is the page at path with the tx of an answer.
func (b *tab) onto(path string, w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	b.h.t.Helper()
	page := b.get(path + "?tx=" + b.afterwards(w))
	if page.Code != http.StatusOK {
		b.h.t.Fatalf("GET %s: %d to %q\n%s", path, page.Code, page.Header().Get("Location"), read(b.h.t, page))
	}
	return page
}

// methods are the names of the methods of the browser's session, "" where nobody is signed in.
func (b *tab) methods() string {
	b.h.t.Helper()
	v := b.visit()
	if v == nil {
		return ""
	}
	var names []string
	for _, m := range v.Session.Methods {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestS3_24_OneFieldTakesACodeOfTheAppOrARecoveryCode(t *testing.T) {
	h := newHouse(t)
	bob := h.withApp("bob", bobsPassword)
	for name, code := range map[string]func() string{
		"of the app":      bob.code,
		"with spaces":     func() string { c := bob.code(); return " " + c[:3] + " " + c[3:] + " " },
		"a recovery code": func() string { return strings.ToUpper(bob.codes[3]) },
	} {
		t.Run(name, func(t *testing.T) {
			b := h.browser()
			page := b.onto(factorPath, b.enterPassword("bob", bobsPassword))
			if b.visit() != nil {
				t.Error("signed in by a password alone")
			}
			if text := read(t, page); !strings.Contains(text, "6-digit code") || !strings.Contains(text, "bob@example.com") || !strings.Contains(text, "Grafana") {
				t.Errorf("got %s", text)
			}
			field := page.Body.String()
			if strings.Contains(field, "maxlength") || !strings.Contains(field, `autocomplete="one-time-code"`) {
				t.Error("the field takes no code that was pasted, or none of a manager")
			}
			in := b.opened(b.post(action(t, page), fields("code", code())))
			v := b.visit()
			if v == nil || in.Authenticated != v.Session.Authentication || in.Request.ClientID != "rp" {
				t.Errorf("visit %v, interaction %+v", v, in)
			}
			if b.cookies[pendingCookie] != "" {
				t.Error("the cookie of the pending session stayed")
			}
		})
	}
}

func TestS3_24_NoCodeBreaksThePage(t *testing.T) {
	h := newHouse(t)
	bob := h.withApp("bob", bobsPassword)
	other := h.withApp("alice", alicesPassword)
	b := h.browser()
	page := b.onto(factorPath, b.enterPassword("bob", bobsPassword))
	used := bob.code()
	first := h.browser()
	first.opened(first.post(action(t, first.onto(factorPath, first.enterPassword("bob", bobsPassword))), fields("code", used)))
	for _, c := range []struct{ name, code, want string }{
		{"nothing", "", "code_missing"},
		{"wrong", "000000", "code_wrong"},
		{"used before", used, "code_used"},
		{"17 characters", strings.Repeat("1", 17), "code_malformed"},
		{"4000 characters", strings.Repeat("9", 4000), "code_malformed"},
		{"Arabic digits", "١٢٣٤٥٦", "code_malformed"},
	} {
		w := b.post(action(t, page), fields("code", c.code, "way", "app"))
		expect(t, w, http.StatusBadRequest, c.want)
		if got := w.Body.String(); c.code != "" && strings.Contains(got, c.code) {
			t.Errorf("%s: the code came back", c.name)
		}
	}
	// What is a recovery code of somebody else has a limit of its own.
	expect(t, b.post(action(t, page), fields("code", other.codes[0])), http.StatusBadRequest, "code_wrong")
	for name, form := range map[string]url.Values{
		"field_doubled": {"code": {"1", "2"}}, "field_too_long": {"code": {strings.Repeat("1", 5000)}}, "field_unreadable": {"code": {"\xff"}},
	} {
		expect(t, b.post(action(t, page), form), http.StatusBadRequest, name)
	}
	if b.visit() != nil {
		t.Error("signed in")
	}
	h.later(5 * time.Minute)
	if in := b.opened(b.post(action(t, page), fields("code", bob.code()))); in.Request.ClientID != "rp" || b.visit() == nil {
		t.Error("the request of the relying party is lost")
	}
}

func TestS3_24_TooManyCodesAreAPageThatTellsWhen(t *testing.T) {
	h := newHouse(t)
	bob := h.withApp("bob", bobsPassword)
	b := h.browser()
	form := action(t, b.onto(factorPath, b.enterPassword("bob", bobsPassword)))
	for range 5 {
		expect(t, b.post(form, fields("code", "000000")), http.StatusBadRequest, "code_wrong")
	}
	w := b.post(form, fields("code", bob.code()))
	expect(t, w, http.StatusTooManyRequests, "throttled")
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// Recovery codes are counted apart.
	b.opened(b.post(form, fields("code", bob.codes[0], "way", "recovery")))
	if b.visit() == nil {
		t.Error("a recovery code is kept out by wrong codes of the app")
	}
}

func TestSecondFactorOffersWhatThereIs(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	page := b.onto(factorPath, b.enterPassword("alice", alicesPassword))
	if _, options, _ := keyIn(t, page); !strings.Contains(options, "allowCredentials") {
		t.Errorf("got %s", options)
	}
	if strings.Contains(page.Body.String(), "way=app") || !strings.Contains(page.Body.String(), "way=recovery") {
		t.Error("other ways than she has, or not those")
	}
	tx := b.afterwards(b.enterPassword("alice", alicesPassword))
	if page := b.get(factorPath + "?way=app&tx=" + tx); len(named(elements(t, page.Body.String()), "passkey-button")) != 1 {
		t.Error("a way that she does not have")
	}
	if page := b.get(factorPath + "?way=recovery&tx=" + tx); !strings.Contains(page.Body.String(), `inputmode="text"`) {
		t.Errorf("got %s", read(t, page))
	}
	in := b.opened(b.prove(b.get(factorPath+"?tx="+tx), key))
	if got := b.methods(); got != "pwd webauthn" || in.Request.ClientID != "rp" {
		t.Errorf("got %s", got)
	}
}

func TestSecondFactorComesBackToTheWayThatWasTakenLast(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	b.opened(b.prove(b.onto(factorPath, b.enterPassword("alice", alicesPassword)), key))
	ctx, v := b.context(), b.visit()
	if err := h.BeginTOTP(ctx, v); err != nil {
		t.Fatal(err)
	}
	setup, err := h.TOTPSetup(ctx, v)
	if err != nil {
		t.Fatal(err)
	}
	app := &appOf{h: h, secret: strings.ReplaceAll(setup.Secret, " ", "")}
	if _, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, app.code()); err != nil {
		t.Fatal(err)
	}
	usual := func() string {
		b := h.browser()
		page := b.onto(factorPath, b.enterPassword("alice", alicesPassword))
		if len(named(elements(t, page.Body.String()), "passkey-button")) == 1 {
			h.later(time.Minute)
			b.opened(b.prove(page, key))
			return "key"
		}
		return "app"
	}
	if got := usual(); got != "app" {
		t.Errorf("after the app: %s", got)
	}
	other := h.browser()
	h.later(time.Minute)
	tx := other.afterwards(other.enterPassword("alice", alicesPassword))
	other.opened(other.prove(other.get(factorPath+"?way=key&tx="+tx), key))
	if got := usual(); got != "key" {
		t.Errorf("after the key: %s", got)
	}
}

func TestSecondFactorOfAnEndedOrForeignPageChangesNothing(t *testing.T) {
	h := newHouse(t)
	bob := h.withApp("bob", bobsPassword)
	form := func(b *tab) string {
		return action(t, b.onto(factorPath, b.enterPassword("bob", bobsPassword)))
	}
	t.Run("the pending session ended", func(t *testing.T) {
		b := h.browser()
		to := form(b)
		delete(b.cookies, pendingCookie)
		if in := b.opened(b.post(to, fields("code", bob.code()))); in.Request.ClientID != "rp" || b.visit() != nil {
			t.Errorf("got %+v", in.Request)
		}
	})
	t.Run("of another browser", func(t *testing.T) {
		to, b := form(h.browser()), h.browser()
		form(b)
		expect(t, b.post(to, fields("code", bob.code())), http.StatusBadRequest, "interaction_foreign")
	})
	t.Run("of a former sign-in", func(t *testing.T) {
		b := h.browser()
		to := form(b)
		form(b)
		w := b.post(to, fields("code", bob.code()))
		expect(t, w, http.StatusBadRequest, "page_outdated")
		b.opened(b.post(action(t, w), fields("code", bob.code())))
	})
	t.Run("after it was open for too long", func(t *testing.T) {
		b := h.browser()
		to := form(b)
		h.later(h.cfg.Login.FlowTimeout + time.Second)
		if in := b.opened(b.post(to, fields("code", bob.code()))); in.Request.ClientID != "rp" {
			t.Errorf("got %+v", in.Request)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		b := h.browser()
		if in := b.opened(b.post(form(b), fields("cancel", "cancel"))); !in.Denied || b.visit() != nil {
			t.Errorf("got %+v", in)
		}
	})
	t.Run("nothing is owed", func(t *testing.T) {
		b := h.browser()
		if in := b.opened(b.get(factorPath + "?tx=" + b.asked())); in.Request.ClientID != "rp" {
			t.Errorf("got %+v", in.Request)
		}
		expect(t, b.get(factorPath+"?tx=garbage"), http.StatusBadRequest, "interaction_unreadable")
	})
	t.Run("the factor was removed in another tab", func(t *testing.T) {
		b := h.browser()
		to := form(b)
		u, err := h.FindUser(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.ResetFactors(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		if in := b.opened(b.post(to, fields("code", bob.code()))); in.Request.ClientID != "rp" || b.visit() != nil {
			t.Errorf("got %+v", in.Request)
		}
	})
}

func TestS3_06_NoTokenOfASessionIsInAnAddress(t *testing.T) {
	h := newHouse(t)
	bob := h.withApp("bob", bobsPassword)
	b := h.browser()
	w := b.enterPassword("bob", bobsPassword)
	pending := b.cookies[pendingCookie]
	page := b.onto(factorPath, w)
	done := b.post(action(t, page), fields("code", bob.code()))
	for _, text := range []string{w.Header().Get("Location"), page.Body.String(), done.Header().Get("Location")} {
		if pending == "" || strings.Contains(text, pending) || strings.Contains(text, b.cookies[sessionCookie]) {
			t.Errorf("a token is in %s", text)
		}
	}
	for _, c := range w.Result().Cookies() {
		if c.Name == pendingCookie && !(c.HttpOnly && c.Secure && c.MaxAge == 0) {
			t.Errorf("got %v", c)
		}
	}
}

func TestS3_05_APendingSignInLastsAsLongAsAnySignIn(t *testing.T) {
	h := newHouse(t)
	bob := h.withApp("bob", bobsPassword)
	b := h.browser()
	tx := b.afterwards(b.enterPassword("bob", bobsPassword))
	to := action(t, b.get(factorPath+"?tx="+tx))
	h.later(h.cfg.Login.FlowTimeout + time.Second)
	in := b.opened(b.post(to, fields("code", bob.code())))
	if v, err := h.PendingVisit(b.context(), ""); err == nil || b.visit() != nil {
		t.Errorf("the sign-in goes on: %v", v)
	}
	// The request of the relying party is kept, and begins anew.
	if in.Request.ClientID != "rp" || in.Request.RedirectURI != redirectURI {
		t.Errorf("got %+v", in.Request)
	}
}

func TestS3_41_ABrowserIsTrustedWhereItsUserSaysSo(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.MFA.TrustedBrowser.Enabled = true })
	bob := h.withApp("bob", bobsPassword)
	b := h.browser()
	page := b.onto(factorPath, b.enterPassword("bob", bobsPassword))
	if text := read(t, page); !strings.Contains(text, "Trust this browser") {
		t.Errorf("got %s", text)
	}
	b.opened(b.post(action(t, page), fields("code", bob.code(), "trust", "1")))
	delete(b.cookies, sessionCookie)
	b.opened(b.enterPassword("bob", bobsPassword))
	if got := b.methods(); got != "pwd" {
		t.Errorf("got %s, want a session that rests on the password alone", got)
	}
	// What asks for more gets more, and offers no trust.
	page = b.get(factorPath + "?tx=" + b.asked("claims", `{"id_token":{"acr":{"essential":true,"values":["`+idp.ACRTwoFactors+`"]}}}`))
	if text := read(t, page); strings.Contains(text, "Trust this browser") || !strings.Contains(text, "Grafana asks you to confirm it's you") {
		t.Errorf("got %s", text)
	}
	b.opened(b.post(action(t, page), fields("code", bob.code())))
	if got := b.methods(); got != "pwd totp" {
		t.Errorf("got %s", got)
	}

	fresh := h.browser()
	if text := read(t, fresh.onto(factorPath, fresh.enterPassword("bob", bobsPassword, "claims", twoFactors))); strings.Contains(text, "Trust this browser") {
		t.Error("trust is offered in place of what was asked for")
	}

	off := newHouse(t)
	off.withApp("bob", bobsPassword)
	other := off.browser()
	if text := read(t, other.onto(factorPath, other.enterPassword("bob", bobsPassword))); strings.Contains(text, "Trust this browser") {
		t.Error("the box is there where the settings do not allow it")
	}
}

// phr asks for a sign-in that nobody can fish for.
const phr = `{"id_token":{"acr":{"essential":true,"values":["phr"]}}}`

func TestStepUpListsOnlyWhatWillDo(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	page := b.onto(factorPath, b.enterPassword("alice", alicesPassword, "claims", phr))
	text := read(t, page)
	if strings.Contains(page.Body.String(), "way=recovery") || !strings.Contains(text, "Grafana needs a passkey or security key") {
		t.Errorf("got %s", text)
	}
	if page := b.get("/login/factor?way=recovery&" + strings.SplitN(action(t, page), "?", 2)[1]); strings.Contains(page.Body.String(), `id="code"`) {
		t.Error("a code can be typed all the same")
	}
	in := b.opened(b.prove(page, key))
	if a := h.Assurance(in, b.visit(), nil); a.ACR != "phr" {
		t.Errorf("got %+v", a)
	}
}

// languageForm is where the form of a page leads that chooses a language.
func languageForm(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	for _, form := range named(elements(t, w.Body.String()), "form") {
		if attribute(form, "class") != "menu__list" {
			continue
		}
		query := url.Values{"lang": {"de"}}
		for n := range form.Descendants() {
			if n.Data == "input" {
				query.Add(attribute(n, "name"), attribute(n, "value"))
			}
		}
		return attribute(form, "action") + "?" + query.Encode()
	}
	t.Fatalf("no language can be chosen:\n%s", w.Body)
	return ""
}

func TestAnswerOfAKeyLeadsToAPageThatThereIs(t *testing.T) {
	h := newHouse(t)
	h.withKey("alice", alicesPassword)
	for page, open := range map[string]func(b *tab) *httptest.ResponseRecorder{
		"/login?": func(b *tab) *httptest.ResponseRecorder { return b.get("/login?tx=" + b.asked()) },
		factorPath + "?": func(b *tab) *httptest.ResponseRecorder {
			return b.onto(factorPath, b.enterPassword("alice", alicesPassword))
		},
	} {
		b := h.browser()
		target, _, _ := keyIn(t, open(b))
		for what, form := range map[string]url.Values{
			"refused": fields("state", "AAAA", "credential", "{}"), "broken": {"state": {"a", "b"}},
		} {
			w := b.post(target, form)
			to := languageForm(t, w)
			if got := b.get(to); !strings.HasPrefix(to, page) || got.Code != http.StatusOK {
				t.Errorf("%s of %s: the language form leads to %s: %d", what, target, to, got.Code)
			}
			for _, n := range named(elements(t, w.Body.String()), "a") {
				if to := attribute(n, "href"); strings.HasPrefix(to, "/login/factor/key") || strings.HasPrefix(to, "/login/passkey") {
					t.Errorf("%s of %s: a link leads to %s", what, target, to)
				}
			}
		}
	}
}
