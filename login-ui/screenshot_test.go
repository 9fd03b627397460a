package loginui

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// chromium is where Debian puts it.
const chromium = "/usr/bin/chromium"

// browser starts Chromium for a test, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	if _, err := os.Stat(chromium); err != nil {
		if os.Getenv("POSTERN_TEST_ALL") == "1" {
			t.Fatalf("Chromium: %v", err)
		}
		t.Skip("Chromium: " + chromium + " is not there")
	}
	// Not t.TempDir: processes of Chromium that are about to end write into the folder still, and
	// what is left of it is no reason to fail.
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.UserDataDir(dir),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser
		leave()
	})
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return ctx
}

// serveSamples serves every rendering at /LOCALE/NAME, and the static files.
func serveSamples(t *testing.T, list []rendering) *httptest.Server {
	t.Helper()
	ui := sampleUI(t)
	pages := map[string]rendering{}
	for _, s := range list {
		pages["/"+s.locale+"/"+strings.ReplaceAll(s.name, " ", "-")] = s
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := pages[r.URL.Path]
		if !ok {
			ui.Static(w, r)
			return
		}
		for name, values := range s.header {
			w.Header()[name] = values
		}
		w.WriteHeader(s.status)
		_, _ = w.Write([]byte(s.body))
	}))
	t.Cleanup(server.Close)
	return server
}

// TestScreenshots writes a picture of every page into the folder that SCREENSHOTS names, for
// people to look at.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		t.Skip("SCREENSHOTS names no folder")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	list := append(renderings(t), mirrored(t)...)
	server := serveSamples(t, list)
	ctx := browser(t)
	for _, width := range []int64{320, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			for _, s := range list {
				if match := os.Getenv("SCREENSHOTS_MATCH"); !strings.Contains(s.locale+" "+s.name, match) {
					continue
				}
				var picture []byte
				media := emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}})
				err := chromedp.Run(ctx, media, chromedp.EmulateViewport(width, 800),
					chromedp.Navigate(server.URL+"/"+s.locale+"/"+strings.ReplaceAll(s.name, " ", "-")),
					chromedp.Evaluate(`document.querySelectorAll("details.details").forEach((d) => d.open = true)`, nil),
					chromedp.FullScreenshot(&picture, 100))
				if err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				name := strings.ReplaceAll(s.name, " ", "-") + "." + s.locale + "." + scheme + "." + strconv.FormatInt(width, 10) + ".png"
				if err := os.WriteFile(filepath.Join(dir, name), picture, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
