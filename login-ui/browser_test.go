package loginui

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/chromedp/cdproto/emulation"
	pages "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/text/language"
)

// inspect lists what is wrong with the page as it is laid out: content wider than the window, or
// outside of it (WCAG 2.2 1.4.10), text with too little contrast (1.4.3), targets that are too small
// (2.5.8; ours are 44 px), and inputs whose text makes iOS zoom.
const inspect = `(() => {
  const wrong = [];
  for (const d of document.querySelectorAll("details.details")) d.open = true;
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) wrong.push("the page is " + wide + " px wide");
  const outside = (e) => {
    const box = e.getBoundingClientRect();
    if (box.left < -1 || box.right > innerWidth + 1)
      wrong.push("from " + box.left + " to " + box.right + " px: " + e.outerHTML.slice(0, 80));
  };
  for (const d of document.querySelectorAll("details.menu")) {
    d.open = true;
    outside(d.querySelector(".menu__list"));
    d.open = false;
  }
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const seen = new Map();
  const rgba = (color) => {
    if (!seen.has(color)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      seen.set(color, [...canvas.getImageData(0, 0, 1, 1).data]);
    }
    return seen.get(color);
  };
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
    return rgba("Canvas");
  };
  for (const e of document.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect();
    if (!e.checkVisibility({ visibilityProperty: true }) || box.width < 2 || e.closest(".vh, .skip")) continue;
    const style = getComputedStyle(e);
    outside(e);
    if ([...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.matches("input:not([type=checkbox])")) {
      const [a, b] = [luminance(rgba(style.color)), luminance(ground(e))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) wrong.push("contrast " + contrast.toFixed(2) + " of " + e.outerHTML.slice(0, 80));
    }
    if (e.matches("button, summary, .button, .check, .foot a, .who a, input:not([type=checkbox])") && box.height < 44)
      wrong.push("target of " + box.height + " px: " + e.outerHTML.slice(0, 80));
    if (e.matches(".who")) {
      const link = document.createRange();
      if (e.querySelector("a")) link.selectNodeContents(e.querySelector("a"));
      const bottom = Math.max(link.getBoundingClientRect().bottom, e.querySelector(".party").getBoundingClientRect().bottom);
      if (box.bottom - bottom > 16) wrong.push("empty strip of " + (box.bottom - bottom) + " px: " + e.outerHTML.slice(0, 80));
    }
    if (e.matches("input") && parseFloat(style.fontSize) < 16) wrong.push("input text of " + style.fontSize);
  }
  return wrong;
})()`

// axePath is where npm puts axe-core (conformance/package.json).
const axePath = "../conformance/node_modules/axe-core/axe.min.js"

// violations are what axe-core finds by the rules of options.
const violations = `((options) => axe.run({ resultTypes: ["violations"], ...options }).then((r) => r.violations.flatMap(
  (v) => v.nodes.map((n) => v.id + " (" + v.help + "): " + n.html.slice(0, 120) + " " + n.failureSummary))))`

// What axe-core is asked in a view: everything, or what depends on the window and its colours.
const (
	barriers = violations + `({})`
	visible  = violations + `({ runOnly: ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"] })`
)

// A view is a window that a page is looked at in, and how it is judged.
type view struct {
	width  int64
	scheme string
	judges []string // expressions that list what is wrong
}

// views are those of every language: neither the markup nor its colours depend on that.
var views = map[string][]view{
	"en": {{320, "light", []string{inspect, barriers}}, {320, "dark", []string{inspect, visible}}, {1280, "dark", []string{inspect, visible}}, {1280, "light", []string{inspect, visible}}},
	"de": {{320, "light", []string{inspect}}, {1280, "light", []string{inspect}}},
	"he": {{320, "light", []string{inspect, barriers}}, {1280, "light", []string{inspect}}},
}

// look makes the window of the tab that of v.
func (v view) look() chromedp.Tasks {
	return chromedp.Tasks{
		chromedp.EmulateViewport(v.width, 640),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: v.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}),
	}
}

// TestEveryPageIsSoundInEveryWindow opens every page in its states, in light and dark, on a narrow
// and a wide window, and in a language that is written from right to left.
func TestEveryPageIsSoundInEveryWindow(t *testing.T) {
	axe, err := os.ReadFile(axePath)
	if err != nil && os.Getenv("POSTERN_TEST_ALL") == "1" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip("axe-core: " + axePath + " is not there")
	}
	list := append(renderings(t), mirrored(t)...)
	ctx, server := browser(t), serveSamples(t, list)
	err = chromedp.Run(ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := pages.AddScriptToEvaluateOnNewDocument(string(axe)).Do(ctx)
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		judge(ctx, t, &s, server.URL+"/"+s.locale+"/"+strings.ReplaceAll(s.name, " ", "-"))
	}
}

// judge looks at a page in every view of its language.
func judge(ctx context.Context, t *testing.T, s *rendering, address string) {
	t.Helper()
	all := views[s.locale]
	found := make([][][]string, len(all))
	actions := append(all[0].look(), chromedp.Navigate(address))
	for i, v := range all {
		found[i] = make([][]string, len(v.judges))
		actions = append(actions, v.look())
		for n, expression := range v.judges {
			actions = append(actions, chromedp.Evaluate(expression, &found[i][n], awaited))
		}
	}
	if err := chromedp.Run(ctx, actions); err != nil {
		t.Fatalf("%s in %s: %v", s.name, s.locale, err)
	}
	for i, v := range all {
		for _, wrong := range slices.Concat(found[i]...) {
			t.Errorf("%s in %s, %s at %d px: %s", s.name, s.locale, v.scheme, v.width, wrong)
		}
	}
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// mirrored renders every page in a language that is English in Hebrew letters, a third longer.
func mirrored(t *testing.T) []rendering {
	t.Helper()
	content, err := files.ReadFile("locales/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var english map[string]any
	if err := json.Unmarshal(content, &english); err != nil {
		t.Fatal(err)
	}
	for key, text := range english {
		if plural, ok := text.(map[string]any); ok {
			other := mirror(plural["other"].(string))
			english[key] = map[string]any{"one": other, "two": other, "many": other, "other": other}
			continue
		}
		english[key] = mirror(text.(string))
	}
	if content, err = json.Marshal(english); err != nil {
		t.Fatal(err)
	}
	ui := sampleUI(t)
	if _, err := ui.texts.bundle.ParseMessageFileBytes(content, "he.json"); err != nil {
		t.Fatal(err)
	}
	ui.texts.add(language.Hebrew)
	return slices.DeleteFunc(renderingsOf(t, ui), func(s rendering) bool { return s.locale != "he" })
}

// mirror writes a text in Hebrew letters, but for the names in braces, and makes it longer.
func mirror(text string) string {
	var b strings.Builder
	name, letters := false, 0
	for _, c := range text {
		switch {
		case c == '{', c == '}':
			name = c == '{'
		case !name && unicode.IsLetter(c):
			c = 'א' + c%27
			if letters++; letters%3 == 0 {
				b.WriteRune('ו')
			}
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Chromium applies form-action to every redirect that follows a form, and says nothing when it
// blocks one.
func TestFormReachesTheRelyingPartyUnderItsContentPolicy(t *testing.T) {
	ctx := browser(t)
	party := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<title>arrived</title>"))
	}))
	t.Cleanup(party.Close)
	loopback6 := serveIPv6(t)
	ui := sampleUI(t)
	var redirectURI string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, "/oauth2/authorize", http.StatusSeeOther)
			return
		}
		if r.URL.Path == "/oauth2/authorize" {
			http.Redirect(w, r, r.URL.Query().Get("to")+redirectURI, http.StatusSeeOther)
			return
		}
		f := ui.frame(r)
		if !r.URL.Query().Has("unwidened") {
			f.redirectURI = redirectURI
		}
		ui.show(w, r, http.StatusOK, &consentPage{frame: f, Tx: "TX", Party: grafana, Person: alice, Nothing: true})
	}))
	t.Cleanup(server.Close)
	for _, c := range []struct {
		name, redirectURI, query string
		arrives                  bool
	}{
		{"a web application", party.URL + "/cb", "", true},
		{"a program on this computer", loopback6, "", true},
		{"a policy that was not widened", party.URL + "/cb", "?unwidened", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.redirectURI == "" {
				t.Skip("this machine has no [::1]")
			}
			redirectURI = c.redirectURI
			var title string
			err := chromedp.Run(ctx, chromedp.Navigate(server.URL+"/consent"+c.query), chromedp.Click("#allow", chromedp.ByID),
				chromedp.ActionFunc(func(ctx context.Context) error {
					for range 40 {
						if err := chromedp.Evaluate("document.title", &title).Do(ctx); err == nil && title == "arrived" {
							return nil
						}
						if _, _, err := runtime.Evaluate("new Promise(r => setTimeout(r, 25))").WithAwaitPromise(true).Do(ctx); err != nil {
							continue // the page is being replaced
						}
					}
					return nil
				}))
			if err != nil {
				t.Fatal(err)
			}
			if arrived := title == "arrived"; arrived != c.arrives {
				t.Errorf("arrived: %v, want %v", arrived, c.arrives)
			}
		})
	}
}

// serveIPv6 is the address of a relying party at [::1], "" where the machine has none.
func serveIPv6(t *testing.T) string {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return ""
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<title>arrived</title>"))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return (&url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/cb"}).String()
}

func TestElementsHelpWithTheSignInForm(t *testing.T) {
	list := renderings(t)
	ctx, server := browser(t), serveSamples(t, list)
	var before, shown, hidden, caps, noCaps, calm, busy string
	state := `[document.querySelector("#password").type, document.querySelector(".field__tool").textContent,
	  document.querySelector(".field__tool").getAttribute("aria-label"), document.querySelector("password-field [aria-live]").textContent].join("|")`
	key := func(capsLock string, said *string) chromedp.Action {
		return chromedp.Evaluate(`document.querySelector("#password").dispatchEvent(
		  new KeyboardEvent("keydown", { key: "a", bubbles: true, modifierCapsLock: `+capsLock+` }));
		  document.querySelector("#caps").textContent`, said)
	}
	err := chromedp.Run(ctx,
		chromedp.Navigate(server.URL+"/en/login-own"),
		chromedp.WaitVisible(".field__tool", chromedp.ByQuery),
		chromedp.Evaluate(state, &before),
		chromedp.Click(".field__tool", chromedp.ByQuery), chromedp.Evaluate(state, &shown),
		chromedp.Click(".field__tool", chromedp.ByQuery), chromedp.Evaluate(state, &hidden),
		key("true", &caps), key("false", &noCaps),
		// The answer never comes, so that the page stays.
		chromedp.Evaluate(`document.querySelector("form[method=post]").action = "javascript:void 0"; document.querySelector("#sign-in").click();`, nil),
		chromedp.Evaluate(`const b = document.querySelector("#sign-in"); b.textContent + "|" + b.getAttribute("aria-disabled")`, &busy),
		chromedp.Evaluate(`dispatchEvent(new Event("pageshow")); document.querySelector("#sign-in").textContent + "|" + document.querySelector("#sign-in").getAttribute("aria-disabled")`, &calm),
	)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{before, shown, hidden, caps, noCaps, busy, calm}
	want := []string{
		"password|Show|Show password|", "text|Hide|Hide password|Your password is visible.",
		"password|Show|Show password|Your password is hidden.", "Caps Lock is on.", "",
		"Signing in…|true", "Sign in|null",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestS0_15_CountdownSaysWhenAndHoldsTheButtonBackUntilThen(t *testing.T) {
	list := renderings(t)
	ctx, server := browser(t), serveSamples(t, list)
	turn := chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := pages.AddScriptToEvaluateOnNewDocument(
			"var seconds = 0, tick; Date.now = () => seconds * 1000; setInterval = (f) => { tick = f; };").Do(ctx)
		return err
	})
	at := func(seconds string, said *string) chromedp.Action {
		return chromedp.Evaluate(`seconds = `+seconds+`; tick(); (() => {
		  const button = document.querySelector("[data-after-wait]");
		  button.closest("form")?.addEventListener("submit", (e) => e.preventDefault());
		  const click = new MouseEvent("click", { bubbles: true, cancelable: true });
		  button.addEventListener("click", (e) => { window.held = e.defaultPrevented; e.preventDefault(); }, { once: true });
		  button.dispatchEvent(click);
		  return [document.querySelector("[role=timer]").textContent.replace("\u202f", " "), document.querySelector("[role=status]").textContent, window.held].join("|");
		})()`, said)
	}
	for _, name := range []string{"login-throttled", "lockout-of-minutes"} {
		got := make([]string, 6)
		err := chromedp.Run(ctx, turn, emulation.SetTimezoneOverride("Europe/Berlin"), chromedp.Navigate(server.URL+"/en/"+name), chromedp.WaitVisible("[role=timer]", chromedp.ByQuery),
			at("0", &got[0]), at("139.2", &got[1]), at("140", &got[2]), at("189.5", &got[3]), at("191", &got[4]), at("250", &got[5]))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"Try again at 3:05:09 PM (in 3\u00a0min 20\u00a0s).||true",
			"Try again at 3:05:09 PM (in 1\u00a0min 1\u00a0s).||true",
			"Try again at 3:05:09 PM (in 1\u00a0min 0\u00a0s).|One minute left.|true",
			"Try again at 3:05:09 PM (in 11\u00a0s).|One minute left.|true",
			"Try again at 3:05:09 PM (in 9\u00a0s).|10 seconds left.|true",
			"You can try again now.|You can try again now.|false",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, want)
		}
	}
	var held, free string
	err := chromedp.Run(ctx, chromedp.Navigate(server.URL+"/en/login-throttled"), chromedp.WaitVisible("[role=timer]", chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelector("#sign-in").getAttribute("aria-disabled") + document.querySelector("#username").value`, &held),
		chromedp.Evaluate(`document.querySelector("#username").dispatchEvent(new Event("input", { bubbles: true })); "" + document.querySelector("#sign-in").getAttribute("aria-disabled")`, &free))
	if err != nil || held != "truebob" || free != "null" {
		t.Errorf("%v: %s, and with another name %s", err, held, free)
	}
}
