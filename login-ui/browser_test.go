package loginui

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	pages "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// inspect lists what is wrong with the page as it is laid out: content wider than the window
// (WCAG 2.2 1.4.10), text with too little contrast (1.4.3), targets that are too small (2.5.8; ours
// are 44 px), and inputs whose text makes iOS zoom.
const inspect = `(() => {
  const wrong = [];
  for (const d of document.querySelectorAll("details.details")) d.open = true;
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) wrong.push("the page is " + wide + " px wide");
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
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

func TestPagesCanBeReadAndUsedAt320Pixels(t *testing.T) {
	list := renderings(t)
	ctx, server := browser(t), serveSamples(t, list)
	colours := func(scheme string) chromedp.Action {
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		})
	}
	for _, s := range list {
		var light, dark []string
		err := chromedp.Run(ctx, chromedp.EmulateViewport(320, 640), colours("light"),
			chromedp.Navigate(server.URL+"/"+s.locale+"/"+strings.ReplaceAll(s.name, " ", "-")),
			chromedp.Evaluate(inspect, &light), colours("dark"), chromedp.Evaluate(inspect, &dark))
		if err != nil {
			t.Fatalf("%s in %s: %v", s.name, s.locale, err)
		}
		for _, wrong := range append(light, dark...) {
			t.Errorf("%s in %s: %s", s.name, s.locale, wrong)
		}
	}
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
