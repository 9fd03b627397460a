package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/discovery"
	"postern/idp"
	loginui "postern/login-ui"
	"postern/oauth"
	"postern/storage/storagetest"
)

// tableOf is the table of routes of h, or of a server whose routes are all there; its handlers are
// those of no provider.
func tableOf(h *house) []route {
	cfg := config.Default()
	cfg.Security.Contacts = []string{"mailto:security@example.com"}
	if h != nil {
		cfg = h.cfg
	}
	return routes(&loginui.UI{}, &oauth.Server{}, &discovery.Documents{}, cfg, time.Time{})
}

func TestEveryRouteDeclaresEverything(t *testing.T) {
	for _, rt := range tableOf(nil) {
		v := reflect.ValueOf(rt)
		for i := range v.NumField() {
			if v.Field(i).Kind() != reflect.Bool && v.Field(i).IsZero() { // false is an answer, too
				t.Errorf("%s %s leaves out %s", rt.Method, rt.Path, v.Type().Field(i).Name)
			}
		}
		for _, declared := range []struct{ name, value, known string }{
			{"Auth", string(rt.Auth), "anyone browser client token"},
			{"Takes", strings.ReplaceAll(string(rt.Takes), " ", "_"), "nothing password code factor key client_secret token"},
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
		// Only a deed of somebody who is signed in can want a fresh proof of who that is.
		if rt.Sudo && (!rt.form() || rt.Auth != forBrowser || !strings.HasPrefix(rt.Path, "/account/") && rt.Path != "/login/passkey/offer") {
			t.Errorf("%s asks for a fresh proof", name)
		}
		// Only what everybody sees may be kept by anybody.
		if rt.Caching == handlerCache && rt.Method != http.MethodGet {
			t.Errorf("%s may be cached", name)
		}
		// CrossOriginProtection is for every route but those of the protocol, and the honeypot, which
		// does nothing by anybody's leave.
		if rt.Auth != forAnyone && strings.HasPrefix(rt.Path, "/oauth2/") == (rt.CSRF == csrfOrigin) && rt.Method == http.MethodPost {
			t.Errorf("%s: %s", name, rt.CSRF)
		}
	}
}

// limiters is the vocabulary of the table, with the defaults that the requirements name.
var limiters = map[limiter]string{
	limitLogin: "30/m/ip", limitLoginFailed: "10/m/ip,5/5m/key", limitSignup: "20/m/ip", limitResetPassword: "20/m/ip,5/m/key",
	limitResetPasswordFromKey: "20/m/ip", limitConfirmEmail: "1/10s/key", limitChangePassword: "5/m/user", limitManageEmail: "10/m/user",
	limitReauthenticate: "10/m/user", limitRequestLoginCode: "20/m/ip,3/m/key", limitMFAFailed: "5/5m/user,30/m/ip", limitRecoveryCode: "5/15m/user",
	limitVerifyCode: "20/m/ip", limitWebAuthnOptions: "60/m/ip", limitInvite: "20/m/ip", limitClientFailed: "20/m/ip,20/m/ip+client",
	limitAdminAPIFailed: "20/m/ip", limitDeviceUserCode: "10/m/ip", limitConsent: "30/m/user", limitAuthAPI: "100/h/ip",
	limitLongRequest: "20/m/ip", limitPages: "600/m/ip", limitMail: "10/10m/key",
}

// S0-10: every action of rate_limits is in the vocabulary of the table, with its default.
func TestS0_10_LimitersAreTheActionsOfTheSettings(t *testing.T) {
	url := storagetest.SQLite(t)
	code, out, errs := command(t, url, "", "config", "show", "--json")
	if code != exitOK {
		t.Fatal(errs)
	}
	var settings []config.Setting
	if err := json.Unmarshal([]byte(out), &settings); err != nil {
		t.Fatal(err)
	}
	actions := map[limiter]string{}
	for _, s := range settings {
		name, ok := strings.CutPrefix(s.Key, "rate_limits.")
		if ok && strings.Contains(s.Value, "/") && !strings.HasSuffix(name, "cidrs") {
			actions[limiter(name)] = s.Value
		}
	}
	if !maps.Equal(actions, limiters) {
		t.Errorf("the settings have\n%v, the table\n%v", actions, limiters)
	}
	for _, rt := range tableOf(nil) {
		if _, known := limiters[rt.Limiter]; !known && rt.Limiter != unlimited {
			t.Errorf("%s %s: there is no rate_limits.%s", rt.Method, rt.Path, rt.Limiter)
		}
	}
}

// S4-57: whatever somebody could guess has a limiter.
func TestS4_57_EveryRouteThatTakesASecretHasALimiter(t *testing.T) {
	for _, rt := range tableOf(nil) {
		if rt.guessable() && (rt.Limiter == unlimited || rt.Limiter == limitPages) {
			t.Errorf("%s %s takes a %s and has no limiter", rt.Method, rt.Path, rt.Takes)
		}
		// Client authentication is a secret whatever the route declares.
		if rt.Auth == forClient && rt.Takes != takesClientSecret {
			t.Errorf("%s %s authenticates clients and declares %s", rt.Method, rt.Path, rt.Takes)
		}
	}
}

// S4-57: what a page asks for is what its form's route declares.
func TestS4_57_FormsThatAskForAPasswordDeclareIt(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	h.addUser(t, "alice")
	b := h.browser()
	if page := h.signIn(t, b, "alice", testPassword); page.URL.Path != "/account" {
		t.Fatalf("alice is at %s", page.URL)
	}
	stranger := h.browser()
	takes := map[string]taken{}
	for _, rt := range tableOf(h) {
		if rt.Method == http.MethodPost {
			takes[rt.Path] = rt.Takes
		}
	}
	asked := 0
	for _, rt := range tableOf(h) {
		if rt.Limiter != limitPages {
			continue
		}
		for _, who := range []*rp.Browser{b, stranger} {
			page, err := who.Open(t.Context(), testIssuer+rt.Path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(page.Body), `type="password"`) {
				continue
			}
			asked++
			if got := takes[page.URL.Path]; got != takesPassword {
				t.Errorf("%s asks for a password, and its POST declares %q", page.URL.Path, got)
			}
		}
	}
	if asked < 3 {
		t.Errorf("%d pages ask for a password", asked)
	}
}

// firstRefused is the guess at every route that is answered 429 first, by the defaults of
// login_failed, change_password, reauthenticate, signup and token_endpoint_auth_failed.
var firstRefused = map[string]int{
	"/login": 11, "/account/password": 6, "/account/reauthenticate": 11, "/signup": 21,
	// Codes: of mfa_failed, 5/5m/user, since verify_code is by network and wider.
	"/verify": 6, "/reset/code": 6, "/login/code/enter": 6, "/account/emails/code": 6,
	// Second factors count among them.
	"/login/factor": 6, "/login/enrol/app": 6, "/account/two-step/app/code": 6,
	"/oauth2/token": 21, "/oauth2/introspect": 21, "/oauth2/revoke": 21, "/admin/": 11, "/wp-login.php": 11,
}

// S4-57, S0-10: driving a route with wrong secrets ends in 429.
func TestS4_57_WrongSecretsEndIn429AtEveryRoute(t *testing.T) {
	for _, rt := range tableOf(nil) {
		if !rt.guessable() {
			continue
		}
		t.Run(rt.Method+" "+rt.Path, func(t *testing.T) {
			h := open(t, storagetest.SQLite(t), func(c *config.Config) {
				limited(c)
				inviting(c)
				c.Lockout.Enabled, c.Honeypot.BlockAfter = false, 0
				if rt.Path == "/login/enrol/app" {
					c.MFA.Policy = "required"
				}
			})
			h.addUser(t, "alice")
			guess := guesser(t, h, rt)
			for n := 1; n <= 100; n++ {
				switch status, retry := guess(n); {
				case status == http.StatusTooManyRequests && retry != "":
					if n != firstRefused[rt.Path] {
						t.Errorf("guess %d is the first to be refused, want %d", n, firstRefused[rt.Path])
					}
					return
				case status >= http.StatusInternalServerError || status == http.StatusTooManyRequests:
					t.Fatalf("guess %d is answered %d, Retry-After %q", n, status, retry)
				}
			}
			t.Error("100 wrong secrets are let through")
		})
	}
}

// inviting are settings by which everybody may sign up, and sign in by a code.
func inviting(c *config.Config) { c.Signup.Mode, c.Login.Code.Enabled = "open", true }

// asksForCode is the page whose form asks for the code that a route takes, by its path: the page that
// mails one, and what is filled in there.
var asksForCode = map[string]struct {
	path string
	form map[string]string
}{
	"/verify":              {"/signup", map[string]string{"username": "walter", "email": "walter@example.com", "password": "seven bridges of Prague"}},
	"/reset/code":          {"/reset", map[string]string{"username": "alice"}},
	"/login/code/enter":    {"/login/code", map[string]string{"username": "alice"}},
	"/account/emails/code": {"/account/emails/add", map[string]string{"email": "alice@example.org"}},
}

// guesser sends the nth wrong secret to a route, and tells the status and Retry-After.
func guesser(t *testing.T, h *house, rt route) func(n int) (int, string) {
	t.Helper()
	if rt.Takes == takesClientSecret {
		party := h.party(t)
		return func(n int) (int, string) {
			basic := base64.StdEncoding.EncodeToString([]byte(party.ClientID + ":wrong" + strconv.Itoa(n)))
			answer := h.send(t, rt.Method, rt.Path, http.Header{
				"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic " + basic},
			}, strings.NewReader("grant_type=client_credentials&token=x"))
			return answer.StatusCode, answer.Header.Get("Retry-After")
		}
	}
	b := h.browser()
	if strings.HasPrefix(rt.Path, "/account/") {
		h.signIn(t, b, "alice", testPassword)
	}
	field := "password"
	var page *rp.Page
	switch {
	case rt.Takes == takesFactor:
		field = "code"
		page = asksForFactor(t, h, b, rt.Path)
	case rt.Takes == takesCode:
		field = "code"
		page = fillIn(t, openPage(t, b, asksForCode[rt.Path].path), asksForCode[rt.Path].form)
	case rt.Path == "/account/reauthenticate":
		h.now = h.now.Add(h.cfg.Sudo.Timeout + time.Minute)
		page = fillIn(t, openPage(t, b, "/account/data"), nil)
	default:
		page = openPage(t, b, rt.Path)
	}
	return func(n int) (int, string) {
		next := fillIn(t, page, map[string]string{
			"username": "alice" + strconv.Itoa(n), "email": "alice" + strconv.Itoa(n) + "@example.com", "code": fmt.Sprintf("%06d", n),
			"password": "a wrong one, number " + strconv.Itoa(n), "new_password": "quite another one",
		})
		if form := next.Form(); form != nil && form.Has(field) {
			page = next
		}
		return next.Status, next.Header.Get("Retry-After")
	}
}

// asksForFactor is the page whose form asks alice for a code of an app, for the route of path.
func asksForFactor(t *testing.T, h *house, b *rp.Browser, path string) *rp.Page {
	t.Helper()
	if path == "/login/factor" {
		h.giveApp(t, "alice")
		return h.signIn(t, b, "alice", testPassword)
	}
	button, at := "enrol-app", "/login"
	if strings.HasPrefix(path, "/account/") {
		button, at = "add-app", "/account/two-step"
	} else {
		h.signIn(t, b, "alice", testPassword)
	}
	return press(t, openPage(t, b, at), button)
}

// S0-10, S3-24: recovery codes have a limit of their own, which is stricter, and which codes of the app
// do not use up.
func TestS0_10_S3_24_RecoveryCodesAreLimitedByThemselves(t *testing.T) {
	h := open(t, storagetest.SQLite(t), func(c *config.Config) { limited(c); c.Lockout.Enabled = false })
	h.addUser(t, "alice")
	app := h.giveApp(t, "alice")
	b := h.browser()
	page := h.signIn(t, b, "alice", testPassword)
	guess := func(code string) int {
		next := fillIn(t, page, map[string]string{"code": code})
		if form := next.Form(); form != nil && form.Has("code") {
			page = next
		}
		return next.Status
	}
	for n := range 5 {
		if status := guess(fmt.Sprintf("00000-0000%d", n)); status == http.StatusTooManyRequests {
			t.Fatalf("guess %d is refused", n+1)
		}
	}
	if status := guess("00000-00009"); status != http.StatusTooManyRequests {
		t.Errorf("the sixth guess: %d", status)
	}
	// The right one, too; but not the app, and it all ends after a quarter of an hour.
	if status := guess(app.Recovery[0]); status != http.StatusTooManyRequests {
		t.Errorf("a right one: %d", status)
	}
	if next := fillIn(t, page, map[string]string{"code": app.code(t)}); next.URL.Path == "/login/factor" {
		t.Errorf("a code of the app: %d %v", next.Status, next.ErrorCodes())
	}
	h.now = h.now.Add(15 * time.Minute)
	page = h.signIn(t, h.browser(), "alice", testPassword)
	if next := fillIn(t, page, map[string]string{"code": app.Recovery[0]}); next.URL.Path == "/login/factor" {
		t.Errorf("a recovery code after the limit: %d %v", next.Status, next.ErrorCodes())
	}
}

// S0-10: ceremonies of passkeys that anybody may begin are limited by address.
func TestS0_10_OptionsOfPasskeysAreLimited(t *testing.T) {
	h := open(t, storagetest.SQLite(t), limited)
	b := h.browser()
	for n := 1; n <= 61; n++ {
		page := openPage(t, b, "/login/passkey/options")
		if refused := page.Status == http.StatusTooManyRequests; refused != (n > 60) {
			t.Fatalf("ceremony %d is answered %d", n, page.Status)
		}
	}
}

func openPage(t *testing.T, b *rp.Browser, path string) *rp.Page {
	t.Helper()
	page, err := b.Open(t.Context(), testIssuer+path)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// fillIn sends the form of a page with those of its fields that are named.
func fillIn(t *testing.T, page *rp.Page, fields map[string]string) *rp.Page {
	t.Helper()
	form := page.Form()
	if form == nil {
		t.Fatalf("%s has no form:\n%s", page.URL, page.Text())
	}
	for name, value := range fields {
		if page.URL.Path == "/account/reauthenticate" && name == "username" {
			continue // which is readonly
		}
		if form.Has(name) {
			if err := form.Fill(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	next, err := form.Submit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// S0-59: what a route declares about a fresh proof is what its deed asks for.
func TestEveryRouteAsksForAFreshProofAsDeclared(t *testing.T) {
	fields := map[string]string{
		"phone_number": "+49301234567", "email": "alice@example.net", "confirm": "alice", "code": "000000",
		"password": testPassword, "new_password": "quite another one",
	}
	for _, rt := range tableOf(nil) {
		if !rt.form() || !strings.HasPrefix(rt.Path, "/account/") || rt.Takes == takesToken || rt.Path == "/account/reauthenticate" {
			continue
		}
		t.Run(rt.Path, func(t *testing.T) {
			h := open(t, storagetest.SQLite(t), nil)
			h.addUser(t, "alice")
			b := h.browser()
			if submit, ok := factorForms[rt.Path]; ok {
				if page := submit(t, h, b); page.URL.Path != "/account/reauthenticate" || !rt.Sudo {
					t.Errorf("its form leads to %s (%d), declared Sudo: %t", page.URL.Path, page.Status, rt.Sudo)
				}
				return
			}
			h.signIn(t, b, "alice", testPassword)
			h.party(t)
			page := openPage(t, b, rt.Path)
			if rt.Path == "/account/emails/code" || rt.Path == "/account/emails" {
				page = fillIn(t, openPage(t, b, "/account/emails/add"), map[string]string{"email": "alice@example.org"})
			}
			h.now = h.now.Add(h.cfg.Sudo.Timeout + time.Minute)
			switch rt.Path {
			case "/account/emails/code":
				page = fillIn(t, page, fields)
			case "/account/emails": // by a button that says which address
				page = openPage(t, b, rt.Path)
				var err error
				if page, err = b.PostFrom(t.Context(), page.URL.String(), page.Form().Action(), url.Values{"confirm": {"alice@example.org"}}); err != nil {
					t.Fatal(err)
				}
			default:
				page = fillIn(t, openPage(t, b, rt.Path), fields)
			}
			if asked := page.URL.Path == "/account/reauthenticate"; asked != rt.Sudo {
				t.Errorf("its form leads to %s (%d), declared Sudo: %t", page.URL.Path, page.Status, rt.Sudo)
			}
		})
	}
}

// factorForms send the forms about second factors when the proof of who is there is too old.
var factorForms = map[string]func(t *testing.T, h *house, b *rp.Browser) *rp.Page{
	"/account/two-step": func(t *testing.T, h *house, b *rp.Browser) *rp.Page {
		own := h.withFactors(t, b)
		page := openPage(t, b, "/account/two-step/remove?factor="+own.App.ID.String())
		h.grow(t)
		return press(t, page, "remove-factor")
	},
	"/account/two-step/app": func(t *testing.T, h *house, b *rp.Browser) *rp.Page {
		h.signIn(t, b, "alice", testPassword)
		page := openPage(t, b, "/account/two-step")
		h.grow(t)
		return press(t, page, "add-app")
	},
	"/account/two-step/app/code": func(t *testing.T, h *house, b *rp.Browser) *rp.Page {
		h.signIn(t, b, "alice", testPassword)
		page := press(t, openPage(t, b, "/account/two-step"), "add-app")
		h.grow(t)
		return fillIn(t, page, map[string]string{"code": "000000"})
	},
	"/account/passkeys": func(t *testing.T, h *house, b *rp.Browser) *rp.Page {
		own := h.withFactors(t, b)
		page := openPage(t, b, "/account/passkeys?rename="+own.Passkeys[0].ID.String())
		h.grow(t)
		return fillIn(t, page, map[string]string{"name": "Red key"})
	},
	"/account/passkeys/add": func(t *testing.T, h *house, b *rp.Browser) *rp.Page {
		h.signIn(t, b, "alice", testPassword)
		page := openPage(t, b, "/account/passkeys/add")
		h.grow(t)
		return fillIn(t, page, map[string]string{"credential": "{}"})
	},
	"/account/recovery-codes": func(t *testing.T, h *house, b *rp.Browser) *rp.Page {
		h.withFactors(t, b)
		page := openPage(t, b, "/account/recovery-codes")
		h.grow(t)
		return fillIn(t, page, map[string]string{"confirm": "1"})
	},
}

// withFactors gives alice an app and a key, and signs her in by the app.
func (h *house) withFactors(t *testing.T, b *rp.Browser) idp.OwnFactors {
	t.Helper()
	app := h.giveApp(t, "alice")
	h.giveKey(t, "alice", app.Enrolled)
	page := h.signIn(t, b, "alice", testPassword)
	page = openPage(t, b, page.URL.RequestURI()+"&way=app")
	if page = fillIn(t, page, map[string]string{"code": app.code(t)}); page.URL.Path == "/login/factor" {
		t.Fatalf("alice is at %s: %v", page.URL, page.ErrorCodes())
	}
	own, err := h.p.UserFactors(t.Context(), app.Enrolled.User.ID)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// grow lets every proof grow too old for what is sensitive.
func (h *house) grow(t *testing.T) {
	t.Helper()
	h.now = h.now.Add(h.cfg.Sudo.Timeout + time.Minute)
}

// Where Postern has pages of its own there is no honeypot.
func TestNoRouteOfOursCanBeAHoneypot(t *testing.T) {
	traps := config.Default().Honeypot.Paths
	for _, rt := range tableOf(nil) {
		if slices.Contains(traps, rt.Path) || slices.Contains(traps, rt.Path+"/") {
			continue
		}
		path := strings.NewReplacer("{path...}", "", "{$}", "", "{token}", "").Replace(rt.Path)
		for _, trap := range slices.Compact([]string{path, strings.TrimSuffix(path, "/") + "/"}) {
			code, _, errs := command(t, storagetest.SQLite(t), "", "config", "check", "--set", "honeypot.paths=[\""+trap+"\"]")
			if code != exitSettings || !strings.Contains(errs, "CFG-073") {
				t.Errorf("%s may be a honeypot: exit %d %s", trap, code, errs)
			}
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
	h := open(t, storagetest.SQLite(t), func(c *config.Config) { c.MFA.WebAuthn.RelatedOrigins = []string{"https://id.example.org"} })
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

// guessable tells whether rt takes what somebody could guess.
func (rt *route) guessable() bool {
	return rt.Takes == takesPassword || rt.Takes == takesCode || rt.Takes == takesFactor || rt.Takes == takesClientSecret
}
