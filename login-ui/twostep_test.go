package loginui

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"postern/config"
	"postern/idp"
)

// routeTwoStep routes the pages about second factors of an account.
func (h *house) routeTwoStep() {
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /account/two-step": h.ui.ShowTwoStep, "POST /account/two-step": h.ui.SubmitTwoStep, "GET /account/two-step/remove": h.ui.ShowRemove,
		"GET /account/two-step/app": h.ui.ShowApp, "POST /account/two-step/app": h.ui.StartApp, "POST /account/two-step/app/code": h.ui.SubmitApp,
		"GET /account/passkeys": h.ui.ShowPasskeys, "POST /account/passkeys": h.ui.SubmitPasskeys,
		"GET /account/passkeys/add": h.ui.ShowAddPasskey, "POST /account/passkeys/add": h.ui.SubmitAddPasskey,
		"GET /account/recovery-codes": h.ui.ShowRecoveryCodes, "POST /account/recovery-codes": h.ui.SubmitRecoveryCodes,
	} {
		h.mux.HandleFunc(pattern, handler)
	}
}

// twoStepForms are the forms of those pages.
func twoStepForms(t *testing.T) map[string]form {
	return map[string]form{
		twoStepPath: {open: of(twoStepPath), others: []string{"remove", "trust"}},
		appPath + "/code": {open: func(h *house, b *tab) string {
			b.signIn("alice", alicesPassword)
			return action(t, h.settingUp(b))
		}, secret: []string{"code"}},
		passkeysPath: {open: func(h *house, b *tab) string {
			b.signIn("alice", alicesPassword)
			b.make(b.get(addPasskeyPath), newVirtualKey())
			id := attribute(rows(t, b.get(passkeysPath), "data-passkey")[0], "data-passkey")
			return b.formOf(passkeysPath + "?rename=" + id)
		}, kept: []string{"name"}, others: []string{"rename"}},
		addPasskeyPath: {open: of(addPasskeyPath), kept: []string{"name"}},
		codesPath: {open: func(h *house, b *tab) string {
			b.signIn("alice", alicesPassword)
			h.turnOn(b)
			return b.formOf(codesPath)
		}, others: []string{"set", "confirm"}},
	}
}

// modules are the dark modules of the QR code of a page, with the width of the whole.
func modules(t *testing.T, markup string) (map[[2]int]bool, int) {
	t.Helper()
	var svg struct {
		Role    string `xml:"role,attr"`
		Label   string `xml:"aria-label,attr"`
		ViewBox string `xml:"viewBox,attr"`
		Paths   []struct {
			Fill string `xml:"fill,attr"`
			D    string `xml:"d,attr"`
		} `xml:"path"`
	}
	from := strings.Index(markup, `<svg role="img"`)
	if from < 0 {
		t.Fatalf("no QR code in %s", markup)
	}
	to := from + strings.Index(markup[from:], "</svg>") + len("</svg>")
	if err := xml.Unmarshal([]byte(markup[from:to]), &svg); err != nil {
		t.Fatal(err)
	}
	whole, err := strconv.Atoi(svg.ViewBox[strings.LastIndexByte(svg.ViewBox, ' ')+1:])
	if err != nil || len(svg.Paths) != 2 || svg.Label == "" || svg.Paths[0].Fill != "#fff" || svg.Paths[1].Fill != "#000" {
		t.Fatalf("%v, label %q, %d paths", err, svg.Label, len(svg.Paths))
	}
	dark := map[[2]int]bool{}
	for run := range strings.SplitSeq(strings.TrimSuffix(svg.Paths[1].D, "z"), "z") {
		numbers := strings.FieldsFunc(run, func(c rune) bool { return c < '0' || c > '9' })
		var n [5]int
		for i := range n {
			if n[i], err = strconv.Atoi(numbers[i]); err != nil {
				t.Fatalf("%q: %v", run, err)
			}
		}
		if n[2] != n[4] || n[3] != 1 {
			t.Errorf("a run %q is no rectangle of one row", run)
		}
		for x := range n[2] {
			dark[[2]int{n[0] + x, n[1]}] = true
		}
	}
	return dark, whole
}

func TestS2_13_PageHasTheQRCodeAndItsKeyAndAsksNobodyElse(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	w := h.settingUp(b)
	var uri string
	for _, n := range named(elements(t, w.Body.String()), "a") {
		if attribute(n, "id") == "open-app" {
			uri = attribute(n, "href")
		}
	}
	want, err := qr.Encode(uri, qr.M, qr.Auto)
	if err != nil || !strings.HasPrefix(uri, "otpauth://totp/") {
		t.Fatal(uri, err)
	}
	dark, whole := modules(t, w.Body.String())
	size := want.Bounds().Dx()
	if whole != size+8 {
		t.Errorf("%d modules with the quiet zone, want %d", whole, size+8)
	}
	for y := range whole {
		for x := range whole {
			inside := x >= 4 && y >= 4 && x < size+4 && y < size+4
			is := false
			if inside {
				red, _, _, _ := want.At(x-4, y-4).RGBA()
				is = red == 0
			}
			if dark[[2]int{x, y}] != is {
				t.Fatalf("module %d, %d: dark is %v, want %v", x, y, dark[[2]int{x, y}], is)
			}
		}
	}
	if n := len(w.Body.String()); n > 30<<10 {
		t.Errorf("%d bytes", n)
	}
	for _, n := range elements(t, w.Body.String()) {
		for _, name := range []string{"src", "srcset", "data", "xlink:href"} {
			if a := attribute(n, name); a != "" && !strings.HasPrefix(a, staticPath) {
				t.Errorf("<%s %s=%q>", n.Data, name, a)
			}
		}
	}
}

// settingUp is the page on which somebody sets an authenticator app up.
func (h *house) settingUp(b *tab) *httptest.ResponseRecorder {
	h.t.Helper()
	form := strings.Replace(b.formOf(twoStepPath), twoStepPath, appPath, 1)
	onto(h.t, b.post(form, nil), appPath)
	return b.get(appPath)
}

// textOf is what the element with an ID says.
func textOf(t *testing.T, w *httptest.ResponseRecorder, id string) string {
	t.Helper()
	for _, n := range elements(t, w.Body.String()) {
		if attribute(n, "id") == id {
			return words(n)
		}
	}
	t.Fatalf("no #%s in %d: %s", id, w.Code, read(t, w))
	return ""
}

// setupOf is what a page tells an authenticator app.
func setupOf(t *testing.T, w *httptest.ResponseRecorder) *otp.Key {
	t.Helper()
	for _, n := range named(elements(t, w.Body.String()), "a") {
		if attribute(n, "id") == "open-app" {
			key, err := otp.NewKeyFromURL(attribute(n, "href"))
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
	}
	t.Fatalf("no link to the app: %d to %q", w.Code, w.Header().Get("Location"))
	return nil
}

// nowOf is the code that an app shows now.
func (h *house) nowOf(secret string) string {
	h.t.Helper()
	code, err := totp.GenerateCode(secret, h.clock)
	if err != nil {
		h.t.Fatal(err)
	}
	return code
}

func TestS3_08_AppIsToldIssuerAndAccountWhateverTheyAre(t *testing.T) {
	for _, c := range []struct{ issuer, account, wantIssuer, wantAccount string }{
		{"Acme", "alice@example.com", "Acme", "alice@example.com"},
		{"Café: Küche/Bar & Söhne", "o'neill+news@example.com", "Café: Küche/Bar & Söhne", "o'neill+news@example.com"},
	} {
		h := newHouse(t, func(cfg *config.Config) { cfg.MFA.TOTP.Issuer = c.issuer })
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "carol", Email: c.account, EmailVerified: true, Password: "velvet comet ladder 41"}); err != nil && idp.CodeOf(err) != "email_taken" {
			t.Fatal(err)
		}
		b := h.at(c.account, map[bool]string{true: alicesPassword, false: "velvet comet ladder 41"}[c.account == "alice@example.com"])
		w := h.settingUp(b)
		key := setupOf(t, w)
		u, err := url.Parse(key.URL())
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if q.Get("issuer") != c.wantIssuer || !strings.HasSuffix(u.Path, ":"+c.wantAccount) || strings.Count(u.Path, ":") != 1 || strings.Count(u.EscapedPath(), "/") != 1 {
			t.Errorf("issuer %q, path %q", q.Get("issuer"), u.Path)
		}
		if q.Get("digits") != "6" || q.Get("period") != "30" || q.Get("algorithm") != "SHA1" || q.Get("secret") != strings.ReplaceAll(textOf(t, w, "app-key"), " ", "") {
			t.Errorf("%v, while the page says %q", q, textOf(t, w, "app-key"))
		}
		if text := read(t, w); !strings.Contains(text, c.wantIssuer) || !strings.Contains(text, c.wantAccount) {
			t.Errorf("the page does not name them: %s", text)
		}
	}
}

func TestS3_33_IssuerIsOfTheSettingsAndNotOfTheRequest(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.Branding.Name = "Acme" })
	b := h.at("alice", alicesPassword)
	b.header.Set("X-Forwarded-Host", "evil.example")
	if key := setupOf(t, h.settingUp(b)); key.Issuer() != "Acme" || strings.Contains(key.URL(), "evil") {
		t.Errorf("%s", key.URL())
	}
}

func TestS3_12_LookingAtThePageTurnsNothingOn(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	onto(t, b.get(appPath), twoStepPath)
	expect(t, b.get(twoStepPath), http.StatusOK, "app_setup_over")
	first := setupOf(t, h.settingUp(b))
	if again := setupOf(t, b.get(appPath)); again.Secret() != first.Secret() {
		t.Error("a reload made another secret")
	}
	if again := setupOf(t, h.settingUp(b)); again.Secret() != first.Secret() {
		t.Error("a second start made another secret")
	}
	elsewhere := h.at("alice", alicesPassword)
	onto(t, elsewhere.get(appPath), twoStepPath)
	if v := b.visit(); v.User.HasFactor() {
		t.Error("it is on without a code")
	}
	h.later(16 * time.Minute)
	b.signIn("alice", alicesPassword)
	onto(t, b.get(appPath), twoStepPath)
}

func TestS3_13_SecretNeverComesFromTheForm(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	w := h.settingUp(b)
	if form := controls(elements(t, w.Body.String())); strings.Count(form, "input#") != 1 || !strings.HasSuffix(form, " · input#code[code] text one-time-code required · button#turn-on[]") {
		t.Errorf("the form has more than the code: %s", form)
	}
	evil := "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	w = b.post(action(t, w), fields("code", h.nowOf(evil), "secret", evil))
	expect(t, w, http.StatusBadRequest, "code_wrong")
	key := setupOf(t, w)
	if key.Secret() == evil {
		t.Error("the form's secret was taken")
	}
	for _, c := range []struct{ code, want string }{{"", "code_missing"}, {"12345678901234567", "code_malformed"}, {"١٢٣٤٥٦", "code_malformed"}} {
		expect(t, b.post(action(t, b.get(appPath)), fields("code", c.code)), http.StatusBadRequest, c.want)
	}
	w = b.post(action(t, b.get(appPath)), fields("code", h.nowOf(key.Secret()), "secret", evil))
	if w.Code != http.StatusOK || len(codesOn(t, w)) != 10 {
		t.Fatalf("%d: %s", w.Code, read(t, w))
	}
}

// codesOn are the recovery codes of a page.
func codesOn(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	var codes []string
	for _, n := range elements(t, w.Body.String()) {
		if attribute(n, "id") != "recovery-codes" {
			continue
		}
		for c := range n.Descendants() {
			if c.Data == "li" {
				codes = append(codes, words(c))
			}
		}
	}
	return codes
}

// turnOn sets an authenticator app up and returns its secret with the page of the recovery codes.
func (h *house) turnOn(b *tab) (secret string, w *httptest.ResponseRecorder) {
	h.t.Helper()
	w = h.settingUp(b)
	secret = setupOf(h.t, w).Secret()
	return secret, b.post(action(h.t, w), fields("code", h.nowOf(secret)))
}

func TestS3_09_KeyIsShownWhileItIsSetUpAndNeverAgain(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	w := h.settingUp(b)
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Error("the page may be kept")
	}
	shown := textOf(t, w, "app-key")
	if groups := strings.Fields(shown); len(groups) != 8 || slices.ContainsFunc(groups, func(g string) bool { return len(g) != 4 }) {
		t.Errorf("%q is not in groups of four", shown)
	}
	secret := strings.ReplaceAll(shown, " ", "")
	done := b.post(action(t, w), fields("code", h.nowOf(secret)))
	onto(t, b.get(appPath), twoStepPath)
	for _, w := range []*httptest.ResponseRecorder{done, b.get(twoStepPath), b.get(codesPath), b.get(accountPath), b.get(activityPath)} {
		if strings.Contains(w.Body.String(), shown) || strings.Contains(w.Body.String(), secret) {
			t.Errorf("a later page has it:\n%s", read(t, w))
		}
	}
}

func TestS3_32_PageTellsWhatIsOnAndOffersTheRest(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	w := b.get(twoStepPath)
	text := read(t, w)
	for _, want := range []string{"Two-step verification is off.", "Add a passkey or security key", "Set up an authenticator app"} {
		if !strings.Contains(text, want) {
			t.Errorf("off lacks %q: %s", want, text)
		}
	}
	if strings.Contains(text, "Added") || strings.Contains(text, "ecovery codes") {
		t.Errorf("off tells of what is not there: %s", text)
	}
	h.turnOn(b)
	h.later(150 * time.Minute)
	text = read(t, b.get(twoStepPath))
	for _, want := range []string{
		"Two-step verification is on.", "Authenticator app Added 2026-11-22 14:00 UTC · Last used 2 hours ago", "Remove", "10 of 10 left", "View recovery codes",
		"Add a passkey or security key", "Move the authenticator app to another phone",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("on lacks %q: %s", want, text)
		}
	}
}

func TestS3_03_UseIsToldAsPeopleSayIt(t *testing.T) {
	texts, err := newCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d      time.Duration
		en, de string
	}{
		{-time.Second, "just now", "gerade eben"}, {59 * time.Second, "just now", "gerade eben"}, {time.Minute, "1 minute ago", "vor 1 Minute"},
		{119 * time.Minute, "1 hour ago", "vor 1 Stunde"}, {23 * time.Hour, "23 hours ago", "vor 23 Stunden"}, {25 * time.Hour, "1 day ago", "vor 1 Tag"},
		{3 * 24 * time.Hour, "3 days ago", "vor 3 Tagen"}, {61 * 24 * time.Hour, "2 months ago", "vor 2 Monaten"},
	} {
		for tag, want := range map[string]string{"en": c.en, "de": c.de} {
			if got := (&frame{locale: texts.named(tag)}).ago(c.d); got != want {
				t.Errorf("%v: %q, want %q", c.d, got, want)
			}
		}
	}
}

func TestS2_14_PasskeysComeFirstAndAreRecommended(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	body := b.get(twoStepPath).Body.String()
	key, app, tip := strings.Index(body, `id="add-key"`), strings.Index(body, `id="add-app"`), strings.Index(body, "We recommend a passkey or security key")
	if tip < 0 || tip > key || key > app {
		t.Errorf("the passkey is at %d, the advice at %d, the app at %d", key, tip, app)
	}
}

func TestS2_12_NothingIsOfferedByTextMessage(t *testing.T) {
	for _, s := range renderings(t) {
		for _, word := range []string{"SMS", "text message", "phone call", "Anruf"} {
			if strings.Contains(s.body, word) {
				t.Errorf("%s says %q", s.name, word)
			}
		}
	}
}

func TestS3_22_CodesAreShownOnceToKeep(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.Branding.Name = "Acme" })
	b := h.at("alice", alicesPassword)
	_, w := h.turnOn(b)
	codes := codesOn(t, w)
	if w.Code != http.StatusOK || len(codes) != 10 || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", w.Code, codes)
	}
	var kept, file, copied string
	ticks := 0
	for _, n := range elements(t, w.Body.String()) {
		switch {
		case attribute(n, "id") == "download-codes":
			kept, file = attribute(n, "href"), attribute(n, "download")
		case attribute(n, "id") == "copy-codes":
			copied = attribute(n, "data-copy")
		case n.Data == "input" && attribute(n, "type") == "checkbox" && has(n, "required"):
			ticks++
		}
	}
	text, err := url.PathUnescape(strings.TrimPrefix(kept, "data:text/plain;charset=utf-8,"))
	if err != nil || file != "postern-recovery-codes-2026-11-22.txt" || strings.ReplaceAll(text, "\r\n", "\n") != copied || ticks != 1 {
		t.Errorf("%v, file %q of %q, copied %q, %d boxes to tick", err, file, kept, copied, ticks)
	}
	for _, want := range append([]string{"Acme", "alice@example.com", "2026-11-22"}, codes...) {
		if !strings.Contains(text, want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
	for _, path := range []string{codesPath, twoStepPath, appPath, accountPath} {
		if again := b.get(path).Body.String(); strings.Contains(again, codes[0]) {
			t.Errorf("%s shows a code again", path)
		}
	}
	if text := read(t, b.get(codesPath)); !strings.Contains(text, "10 of 10 left") {
		t.Errorf("%s", text)
	}
}

func TestS3_27_PageTellsHowManyCodesAreLeftAndSinceWhen(t *testing.T) {
	h := newHouse(t)
	app := h.withApp("bob", bobsPassword)
	for i, want := range []struct {
		left string
		few  bool
	}{{"9 of 10 left", false}, {"8 of 10 left", false}, {"7 of 10 left", false}, {"6 of 10 left", false}, {"5 of 10 left", false}, {"4 of 10 left", false}, {"3 of 10 left", true}} {
		h.later(20 * time.Minute)
		b := h.browser()
		onto(t, b.enterPassword("bob", bobsPassword), dispatcher)
		ctx := b.context()
		v, err := h.PendingVisit(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		signedIn, err := h.ProveByCode(ctx, h.BeginOwn(accountPath), v, app.codes[i], false)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ui.cookies.keepSession(w, signedIn, h.clock)
		for _, c := range w.Result().Cookies() {
			b.cookies[c.Name] = c.Value
		}
		text := read(t, b.get(codesPath))
		if !strings.Contains(text, want.left) || !strings.Contains(text, "Made 2026-11-22 14:00 UTC") || strings.Contains(text, "running out") != want.few {
			t.Errorf("after %d: %s", i+1, text)
		}
		if checks := read(t, b.get(accountPath)); strings.Contains(checks, "recovery codes left") != want.few {
			t.Errorf("after %d the overview says: %s", i+1, checks)
		}
	}
}

func TestS3_28_NewCodesWantAFactorAndAYes(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	page := b.get(codesPath)
	if len(named(elements(t, page.Body.String()), "form")) > 1 || !strings.Contains(read(t, page), "You get recovery codes when you set up two-step verification.") {
		t.Errorf("%s", read(t, page))
	}
	tx := strings.TrimPrefix(b.formOf(twoStepPath), twoStepPath)
	onto(t, b.post(codesPath+tx, nil), codesPath) // the form of another page
	_, w := h.turnOn(b)
	former := codesOn(t, w)
	form := b.formOf(codesPath)
	page = b.get(codesPath)
	if text := read(t, page); !strings.Contains(text, "all codes that you have stop working") {
		t.Errorf("nothing says what becomes of the former ones: %s", text)
	}
	var set string
	for _, n := range named(elements(t, page.Body.String()), "input") {
		if attribute(n, "name") == "set" {
			set = attribute(n, "value")
		}
	}
	expect(t, b.post(form, fields("set", set)), http.StatusBadRequest, "recovery_unconfirmed")
	w = b.post(form, fields("set", set, "confirm", "1"))
	codes := codesOn(t, w)
	if w.Code != http.StatusOK || len(codes) != 10 || slices.Contains(codes, former[0]) {
		t.Fatalf("%d %v", w.Code, codes)
	}
	// The same form again, as after a reload, makes none.
	onto(t, b.post(form, fields("set", set, "confirm", "1")), codesPath)
	expect(t, b.get(codesPath), http.StatusOK, "page_outdated")
}

func TestS3_28_NobodyWithoutAFactorHasCodes(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	ctx, v := b.context(), b.visit()
	tx := func() string {
		own := h.ui.ownTurn(httptest.NewRequest("GET", codesPath, nil).WithContext(ctx), v, stepCodes)
		return own.seal(httptest.NewRecorder())
	}()
	w := b.post(codesPath+"?tx="+url.QueryEscape(tx), nil)
	expect(t, w, http.StatusBadRequest, "no_factor")
	if codesOn(t, w) != nil {
		t.Error("there are codes")
	}
}

func TestS3_25_RemovalIsAskedForAndOfOnesOwn(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.at("alice", alicesPassword), h.at("bob", bobsPassword)
	h.turnOn(alice)
	h.turnOn(bob)
	which := func(b *tab) string {
		own, err := h.OwnFactors(t.Context(), b.visit())
		if err != nil || own.App == nil {
			t.Fatal(err)
		}
		return own.App.ID.String()
	}
	alices, bobs := which(alice), which(bob)
	for _, id := range []string{alices, "x", idp.NewID(h.clock).String()} {
		expect(t, bob.get(removePath+"?factor="+id), http.StatusNotFound, "not_found")
		expect(t, bob.post(bob.formOf(removePath+"?factor="+bobs), fields("remove", id)), http.StatusNotFound, "not_found")
	}
	onto(t, bob.get(removePath), twoStepPath)
	// The list is no page that asks for it.
	onto(t, bob.post(bob.formOf(twoStepPath), fields("remove", bobs)), twoStepPath)
	if !bob.visit().User.HasFactor() || !alice.visit().User.HasFactor() {
		t.Fatal("something was removed")
	}
	page := bob.get(removePath + "?factor=" + bobs)
	if text := read(t, page); !strings.Contains(text, "two-step verification turns off, and your recovery codes stop working") {
		t.Errorf("%s", text)
	}
	before := bob.cookies[sessionCookie]
	onto(t, bob.post(action(t, page), fields("remove", bobs)), twoStepPath)
	expect(t, bob.get(twoStepPath), http.StatusOK, "two_step_off")
	if bob.visit() == nil || bob.visit().User.HasFactor() || bob.cookies[sessionCookie] == before {
		t.Error("it is there still, or the session is the same")
	}
	own, err := h.OwnFactors(t.Context(), bob.visit())
	if err != nil || own.Recovery != nil {
		t.Errorf("the recovery codes stay: %v %v", own.Recovery, err)
	}
}

func TestS3_25_LastFactorStaysWhereThePolicyWantsOne(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	h.cfg.MFA.Policy, h.cfg.MFA.EnrolGrace = "required", 90*24*time.Hour
	h.open(nil)
	if text := read(t, b.get(twoStepPath)); !strings.Contains(text, "Set it up by 2027-02-20") {
		t.Errorf("the deadline is not there: %s", text)
	}
	h.turnOn(b)
	own, err := h.OwnFactors(t.Context(), b.visit())
	if err != nil {
		t.Fatal(err)
	}
	id := own.App.ID.String()
	w := b.post(b.formOf(removePath+"?factor="+id), fields("remove", id))
	expect(t, w, http.StatusForbidden, "factor_required")
	links := ""
	for _, n := range named(elements(t, w.Body.String()), "a") {
		links += attribute(n, "href") + " "
	}
	if !strings.Contains(links, addPasskeyPath) || !b.visit().User.HasFactor() {
		t.Errorf("no way out, or it is gone: %s", links)
	}
	if strings.Contains(w.Body.String(), "remove-factor") || strings.Contains(read(t, w), "turns off") {
		t.Errorf("what was refused is offered still: %s", read(t, w))
	}
}

func TestS3_19_PasskeysHaveNamesThatTheirUserChooses(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	key := newVirtualKey()
	add := func(name string) *httptest.ResponseRecorder {
		t.Helper()
		address, options, state := keyIn(t, b.get(addPasskeyPath))
		return b.post(address, fields("state", state, "credential", key.create(t, options), "name", name))
	}
	w := add(strings.Repeat("ä", 101))
	expect(t, w, http.StatusBadRequest, "factor_name_too_long")
	if value(t, w, "name") != strings.Repeat("ä", 101) {
		t.Error("the name must be typed again")
	}
	w = add("<b>My</b> phone")
	if w.Code != http.StatusOK || len(codesOn(t, w)) != 10 {
		t.Fatalf("%d: %s", w.Code, read(t, w))
	}
	h.later(time.Minute)
	page := b.get(passkeysPath)
	if text := read(t, page); !strings.Contains(text, "<b>My</b> phone") || !strings.Contains(text, "Added 2026-11-22 14:00 UTC · Last used 1 minute ago") || !strings.Contains(text, "on one device only") {
		t.Errorf("%s", text)
	}
	if strings.Contains(page.Body.String(), "<b>") {
		t.Error("a name is markup")
	}
	id := attribute(rows(t, page, "data-passkey")[0], "data-passkey")
	expect(t, b.get(passkeysPath+"?rename=x"), http.StatusNotFound, "not_found")
	form := b.formOf(passkeysPath + "?rename=" + id)
	w = b.post(form, fields("rename", id, "name", strings.Repeat("x", 101)))
	expect(t, w, http.StatusBadRequest, "factor_name_too_long")
	onto(t, b.post(form, fields("rename", id, "name", strings.Repeat("ü", 100))), passkeysPath)
	page = b.get(passkeysPath)
	expect(t, page, http.StatusOK, "passkey_renamed")
	if !strings.Contains(page.Body.String(), strings.Repeat("ü", 100)) {
		t.Error("it has the former name")
	}
	bob := h.at("bob", bobsPassword)
	expect(t, bob.get(passkeysPath+"?rename="+id), http.StatusNotFound, "not_found")
}

func TestS3_19_AChangeOfAPasskeyWantsAFreshProof(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	b.opened(b.prove(b.get("/login?tx="+b.asked()), key))
	page := b.get(passkeysPath)
	id := attribute(rows(t, page, "data-passkey")[0], "data-passkey")
	rename, remove := b.formOf(passkeysPath+"?rename="+id), b.formOf(removePath+"?factor="+id)
	h.later(h.cfg.Sudo.Timeout + time.Minute)
	for _, w := range []*httptest.ResponseRecorder{
		b.post(rename, fields("rename", id, "name", "stolen")), b.post(remove, fields("remove", id)), b.get(addPasskeyPath),
	} {
		if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(to, sudoPath) {
			t.Errorf("%d to %q", w.Code, to)
		}
	}
	text := read(t, b.get(passkeysPath))
	if strings.Contains(text, "stolen") || !b.visit().User.HasFactor() {
		t.Errorf("something changed: %s", text)
	}
	// The new name goes on by itself; the removal is asked for once more.
	to := b.post(rename, fields("rename", id, "name", "My key")).Header().Get("Location")
	onto(t, b.prove(b.get(to), key), passkeysPath)
	if text := read(t, b.get(passkeysPath)); !strings.Contains(text, "My key") {
		t.Errorf("%s", text)
	}
	h.later(h.cfg.Sudo.Timeout + time.Minute)
	to = b.post(b.formOf(removePath+"?factor="+id), fields("remove", id)).Header().Get("Location")
	w := b.prove(b.get(to), key)
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != removePath+"?factor="+id || !b.visit().User.HasFactor() {
		t.Errorf("%d to %q", w.Code, to)
	}
	w = b.post(b.formOf(removePath+"?factor="+id), fields("remove", id))
	onto(t, w, passkeysPath)
	page = b.get(passkeysPath)
	if signals := rows(t, page, "data-call"); len(signals) != 1 || attribute(signals[0], "data-call") != "signalAllAcceptedCredentials" || !strings.Contains(attribute(signals[0], "data-options"), `"allAcceptedCredentialIds":[]`) {
		t.Errorf("the browser is not told: %s", page.Body)
	}
	if len(rows(t, b.get(passkeysPath), "data-call")) != 0 {
		t.Error("the browser is told once more")
	}
}

func TestS3_19_BrowserIsToldOfItsOwnUsersPasskeysAlone(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	b.opened(b.prove(b.get("/login?tx="+b.asked()), key))
	id := attribute(rows(t, b.get(passkeysPath), "data-passkey")[0], "data-passkey")
	onto(t, b.post(b.formOf(removePath+"?factor="+id), fields("remove", id)), passkeysPath)
	// She leaves, and somebody else comes to the page that would have told it.
	b.signIn("bob", bobsPassword)
	if signals := rows(t, b.get(passkeysPath), "data-call"); len(signals) != 0 {
		t.Errorf("with bob the browser is told %s of alice's passkeys", attribute(signals[0], "data-options"))
	}
}

func TestS3_19_BrowserIsToldWhatItsUserIsCalled(t *testing.T) {
	h := newHouse(t)
	key := h.withKey("alice", alicesPassword)
	b := h.browser()
	b.opened(b.prove(b.get("/login?tx="+b.asked()), key))
	details := func(path string) string {
		t.Helper()
		for _, n := range rows(t, b.get(path), "data-call") {
			if attribute(n, "data-call") == "signalCurrentUserDetails" {
				return attribute(n, "data-options")
			}
		}
		return ""
	}
	if got := details(profilePath); got != "" {
		t.Errorf("told without a change: %s", got)
	}
	onto(t, b.post(b.formOf(profilePath), fields("name", "Alice Pleasance")), profilePath)
	for _, got := range []string{details(profilePath), details(passkeysPath)} {
		if !strings.Contains(got, `"displayName":"Alice Pleasance","name":"alice","rpId":"id.example.com","userId":`) {
			t.Errorf("got %q", got)
		}
	}
	bob := h.at("bob", bobsPassword)
	onto(t, bob.post(bob.formOf(profilePath), fields("name", "Bob")), profilePath)
	if n := len(rows(t, bob.get(profilePath), "data-call")); n != 0 {
		t.Error("told without a passkey")
	}
}

func TestS3_35_OptionsNameTheRelyingPartyOfTheSettings(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.MFA.WebAuthn.RPName = "Acme <sign-in>" })
	_, options, _ := keyIn(t, h.at("alice", alicesPassword).get(addPasskeyPath))
	var got struct {
		RP struct{ ID, Name string }
	}
	if err := json.Unmarshal([]byte(options), &got); err != nil || got.RP.ID != "id.example.com" || got.RP.Name != "Acme <sign-in>" {
		t.Errorf("%v %+v", err, got)
	}
}

func TestS3_41_TrustedBrowsersAreListedAndTrustEnds(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.MFA.TrustedBrowser.Enabled = true })
	bob := h.withApp("bob", bobsPassword)
	trusting := func() *tab {
		b := h.browser()
		page := b.onto(factorPath, b.enterPassword("bob", bobsPassword))
		b.opened(b.post(action(t, page), fields("code", bob.code(), "trust", "1")))
		return b
	}
	one := trusting()
	trusting()
	list := rows(t, one.get(twoStepPath), "data-trusted")
	if len(list) != 2 {
		t.Fatalf("%d browsers", len(list))
	}
	hash := ""
	for _, n := range list {
		if strings.Contains(words(n), "this browser") {
			hash = attribute(n, "data-trusted")
		}
	}
	alice := h.at("alice", alicesPassword)
	for _, which := range []string{hash, "x", ""} {
		expect(t, alice.post(alice.formOf(twoStepPath), fields("trust", which)), http.StatusNotFound, "not_found")
	}
	onto(t, one.post(one.formOf(twoStepPath), fields("trust", hash)), twoStepPath)
	page := one.get(twoStepPath)
	expect(t, page, http.StatusOK, "trust_ended")
	if list := rows(t, page, "data-trusted"); len(list) != 1 || attribute(list[0], "data-trusted") == hash {
		t.Errorf("%d browsers, or the wrong one", len(list))
	}
	trusting()
	onto(t, one.post(one.formOf(twoStepPath), fields("trust", everyBrowser)), twoStepPath)
	if n := len(rows(t, one.get(twoStepPath), "data-trusted")); n != 0 {
		t.Errorf("%d browsers are trusted still", n)
	}
}

func TestAppIsSetUpAfterAFreshProofByItself(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	form := strings.Replace(b.formOf(twoStepPath), twoStepPath, appPath, 1)
	h.later(h.cfg.Sudo.Timeout + time.Minute)
	to := onto(t, b.post(form, nil), sudoPath)
	if text := read(t, b.get(to)); !strings.Contains(text, "You're about to set up an authenticator app.") {
		t.Errorf("%s", text)
	}
	onto(t, b.post(to, fields("password", alicesPassword)), appPath)
	page := b.get(appPath)
	secret := setupOf(t, page).Secret()
	// A page that was left open asks anew, and goes on where it was.
	h.later(h.cfg.Sudo.Timeout + time.Minute)
	to = onto(t, b.post(action(t, page), fields("code", h.nowOf(secret))), sudoPath)
	onto(t, b.post(to, fields("password", alicesPassword)), appPath)
	page = b.get(appPath)
	if again := setupOf(t, page).Secret(); again != secret {
		t.Error("it is another secret")
	}
	if w := b.post(action(t, page), fields("code", h.nowOf(secret))); len(codesOn(t, w)) != 10 {
		t.Errorf("%d: %s", w.Code, read(t, w))
	}
}

func TestNewAppReplacesTheFormerOne(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	former, _ := h.turnOn(b)
	h.later(time.Minute)
	secret, w := h.turnOn(b)
	onto(t, w, twoStepPath)
	expect(t, b.get(twoStepPath), http.StatusOK, "app_on")
	if secret == former || len(rows(t, b.get(twoStepPath), "data-factor")) != 1 {
		t.Error("there are two, or it is the same")
	}
}

func TestS3_38_PageSaysThatTheAddressMustBeConfirmedFirst(t *testing.T) {
	h := newHouse(t, known)
	b := h.at("dave", davesPassword)
	page := b.get(twoStepPath)
	if text := read(t, page); !strings.Contains(text, "Confirm your e-mail address first.") || strings.Contains(page.Body.String(), "add-app") {
		t.Errorf("%s", text)
	}
	form := strings.Replace(action(t, page), twoStepPath, appPath, 1)
	expect(t, b.post(form, nil), http.StatusForbidden, "email_unverified")
	expect(t, b.get(addPasskeyPath), http.StatusForbidden, "email_unverified")
	if strings.Contains(b.get(passkeysPath).Body.String(), "add-key") {
		t.Error("the list offers what is refused")
	}
}

func TestNothingIsOfferedThatThePolicyForbids(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.MFA.Policy = "off" })
	b := h.at("alice", alicesPassword)
	page := b.get(twoStepPath)
	if body := page.Body.String(); strings.Contains(body, "add-app") || strings.Contains(body, "add-key") || !strings.Contains(read(t, page), "can't be set up here") {
		t.Errorf("%s", read(t, page))
	}
	expect(t, b.post(strings.Replace(action(t, page), twoStepPath, appPath, 1), nil), http.StatusForbidden, "factors_off")
	expect(t, b.get(addPasskeyPath), http.StatusForbidden, "factors_off")
	for _, n := range rows(t, b.get(accountPath), "data-check") {
		if check := attribute(n, "data-check"); check == "passkey" || check == "twostep" {
			t.Errorf("the overview advises %s", check)
		}
	}
}

func TestOverviewTellsOfFactors(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	h.turnOn(b)
	got := map[string]bool{}
	for _, n := range rows(t, b.get(accountPath), "data-check") {
		got[attribute(n, "data-check")] = has(n, "data-fine")
	}
	want := map[string]bool{"email": true, "passkey": false, "twostep": true, "recovery": true, "password": true, "sessions": true, "devices": true}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestActivityTellsOfFactorsInWords(t *testing.T) {
	h := newHouse(t)
	texts := h.ui.texts.named("en")
	f := &frame{locale: texts}
	for _, kind := range []string{
		"factor_added", "factor_removed", "factor_renamed", "factor_proved", "factor_failed", "factors_reset", "recovery_codes_made", "recovery_code_used",
		"passkey_copied", "browser_trusted", "trust_ended",
	} {
		of := map[string]string{}
		for _, factor := range []string{"app", "passkey"} {
			e := &idp.Event{Kind: "user." + kind, Details: idp.Details{"factor": factor}}
			of[factor] = h.ui.eventText(f, e, "")
			if strings.Contains(of[factor], "Something in your account changed") {
				t.Errorf("%s has no words", kind)
			}
		}
		if differs := kind == "factor_added" || kind == "factor_removed"; (of["app"] != of["passkey"]) != differs {
			t.Errorf("%s: %v", kind, of)
		}
	}
	b := h.at("alice", alicesPassword)
	h.turnOn(b)
	if text := read(t, b.get(activityPath)); !strings.Contains(text, "An authenticator app was set up.") || !strings.Contains(text, "Recovery codes were made.") {
		t.Errorf("%s", text)
	}
	if text := read(t, b.get(sessionsPath)); !strings.Contains(text, "authenticator app") {
		t.Errorf("the session does not tell what it rests on: %s", text)
	}
}

func TestSignInThatWasGivenUpAfterThePasswordIsTold(t *testing.T) {
	h := newHouse(t)
	b := h.at("alice", alicesPassword)
	h.turnOn(b)
	const told = "Your password was right; a second step was asked for and not given."
	if text := read(t, b.get(activityPath)); strings.Contains(text, told) || !strings.Contains(text, "look at your passkeys and your authenticator app") {
		t.Errorf("before: %s", text)
	}
	h.browser().enterPassword("alice", alicesPassword)
	if text := read(t, b.get(activityPath)); strings.Count(text, told) != 1 {
		t.Errorf("after: %s", text)
	}
}

func TestCodesAreCopiedAndPrintedWhereScriptsRun(t *testing.T) {
	list := renderings(t)
	ctx, server := browser(t), serveSamples(t, list)
	var before, after, copied string
	state := `["#copy-codes", "#print-codes"].map((id) => document.querySelector(id).hidden + " " + document.querySelector(id).textContent).join("|")`
	err := chromedp.Run(ctx,
		chromedp.Navigate(server.URL+"/en/recovery-codes-new"),
		chromedp.WaitVisible("#copy-codes", chromedp.ByQuery),
		chromedp.Evaluate(`var said = ""; print = () => { said += "printed"; }; navigator.clipboard.writeText = async (text) => { said += text; }; `+state, &before),
		chromedp.Click("#copy-codes", chromedp.ByQuery), chromedp.Click("#print-codes", chromedp.ByQuery),
		chromedp.Evaluate(state, &after), chromedp.Evaluate("said", &copied),
	)
	if err != nil {
		t.Fatal(err)
	}
	if before != "false Copy|false Print" || after != "false Copied|false Print" || !strings.HasSuffix(copied, "\n1ghv6-dn0sr\nprinted") || !strings.Contains(copied, "alice@example.com") {
		t.Errorf("before %q, after %q, copied %q", before, after, copied)
	}
}
