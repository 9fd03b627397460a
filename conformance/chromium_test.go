package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	cdptarget "github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

const (
	chromiumPath = "/usr/bin/chromium"
	axePath      = "node_modules/axe-core/axe.min.js"
	// A page that takes longer than this is broken; two cores also run all other tests.
	pageTimeout = 60 * time.Second
)

// needs skips a test where path is missing, or fails it where nothing may be left out.
func needs(t *testing.T, what, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	if os.Getenv("POSTERN_TEST_ALL") != "" {
		t.Fatalf("%s is missing: %s", what, path)
	}
	t.Skipf("%s is missing: %s", what, path)
}

// chromium is one process for all tests; each tab has cookies of its own.
var chromium = sync.OnceValues(func() (context.Context, error) {
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromiumPath), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(filepath.Join(home, "chromium")),
		chromedp.WSURLReadTimeout(pageTimeout),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	closeChromium = func() {
		// An error means that it is gone.
		_ = chromedp.Cancel(ctx)
		stop()
		chromedp.FromContext(ctx).Allocator.Wait()
	}
	return ctx, chromedp.Run(ctx)
})

// closeChromium ends the process, where there is one.
var closeChromium = func() {}

// A tab is one window of a Chromium that has no cookies yet. Whatever the browser complains about
// fails the test in the end.
type tab struct {
	*testing.T
	ctx context.Context

	mutex      sync.Mutex
	complaints []string
}

func newTab(t *testing.T, scripts bool) *tab {
	t.Helper()
	needs(t, "Chromium", chromiumPath)
	browser, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	id, err := newWindow(browser)
	if err != nil {
		t.Fatal(err)
	}
	b := attach(t, browser, id)
	b.run(emulation.SetScriptExecutionDisabled(!scripts))
	return b
}

// attach listens to what happens in a window.
func attach(t *testing.T, browser context.Context, id cdptarget.ID) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithTargetID(id))
	t.Cleanup(cancel)
	b := &tab{T: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.listen)
	// The first actions belong to the tab's own context, which must outlive them.
	if err := chromedp.Run(ctx, log.Enable(), audits.Enable()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.judgeComplaints)
	return b
}

// popUp opens a window from a script of the page.
func (b *tab) popUp(address string) *tab {
	b.Helper()
	opened := chromedp.WaitNewTarget(b.ctx, func(i *cdptarget.Info) bool { return i.OpenerID != "" })
	gesture := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithUserGesture(true) }
	b.run(chromedp.Evaluate(fmt.Sprintf("window.open(%q, 'sign-in', 'popup'); null", address), nil, gesture))
	select {
	case id := <-opened:
		popup := attach(b.T, b.ctx, id)
		popup.settle()
		return popup
	case <-time.After(pageTimeout):
		b.Fatal("no window was opened")
		return nil
	}
}

// newWindow opens a window with cookies of its own. chromedp would open a tab, for which Chromium
// wants a window to be there.
func newWindow(browser context.Context) (cdptarget.ID, error) {
	ctx := cdp.WithExecutor(browser, chromedp.FromContext(browser).Browser)
	jar, err := cdptarget.CreateBrowserContext().WithDisposeOnDetach(true).Do(ctx)
	if err != nil {
		return "", fmt.Errorf("new window: %w", err)
	}
	id, err := cdptarget.CreateTarget("about:blank").WithBrowserContextID(jar).WithNewWindow(true).Do(ctx)
	if err != nil {
		return "", fmt.Errorf("new window: %w", err)
	}
	return id, nil
}

// listen notes errors of the console, exceptions and violations of policies. What a page answers
// with is for the test to judge, so an answer of status 400 is no complaint.
func (b *tab) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError && e.Entry.Source != log.SourceNetwork {
			complaint = e.Entry.Text
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError {
			complaint = fmt.Sprint("console: ", e.Args)
		}
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Error()
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			complaint = fmt.Sprintf("content security policy: %+v", e.Issue.Details.ContentSecurityPolicyIssueDetails)
		}
	}
	if complaint != "" {
		b.mutex.Lock()
		b.complaints = append(b.complaints, complaint)
		b.mutex.Unlock()
	}
}

func (b *tab) judgeComplaints() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, c := range b.complaints {
		b.Errorf("Chromium complains: %s", c)
	}
}

// settle waits for the first page of a window that somebody else opened.
func (b *tab) settle() {
	b.Helper()
	for deadline := time.Now().Add(pageTimeout); time.Now().Before(deadline); time.Sleep(pollInterval) {
		// The page may be replaced while it is asked, which is an error and asked again.
		var there bool
		err := b.try(chromedp.Evaluate("location.href !== 'about:blank' && document.readyState === 'complete'", &there))
		if err == nil && there {
			return
		}
	}
	b.Fatalf("%s does not load", b.address())
}

func (b *tab) run(actions ...chromedp.Action) {
	b.Helper()
	if err := b.try(actions...); err != nil {
		b.Fatalf("at %s: %v", b.address(), err)
	}
}

func (b *tab) try(actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeout(b.ctx, pageTimeout)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

// load does what leads to another page and waits for it.
func (b *tab) load(action chromedp.Action) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, pageTimeout)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, action); err != nil {
		b.Fatalf("from %s: %v", b.address(), err)
	}
}

func (b *tab) open(address string) {
	b.Helper()
	b.load(chromedp.Navigate(address))
}

// press clicks what leads to another page.
func (b *tab) press(selector string) {
	b.Helper()
	if !b.has(selector) {
		b.Fatalf("%s has no %s: %s", b.address(), selector, b.text("body"))
	}
	b.load(chromedp.Click(selector, chromedp.ByQuery))
}

func (b *tab) fill(selector, value string) {
	b.Helper()
	if !b.has(selector) {
		b.Fatalf("%s has no %s: %s", b.address(), selector, b.text("body"))
	}
	// What stood there is selected, so that the keys replace it.
	evaluate[any](b, fmt.Sprintf("document.querySelector(%q).select()", selector))
	b.run(chromedp.SendKeys(selector, value, chromedp.ByQuery))
}

// evaluate runs an expression of ours in the page, whether the page may run scripts or not.
func evaluate[T any](b *tab, expression string) T {
	b.Helper()
	var value T
	await := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	if err := b.try(chromedp.Evaluate(expression, &value, await)); err != nil {
		b.Fatalf("evaluate %.80s: %v", expression, err)
	}
	return value
}

func (b *tab) address() string {
	var address string
	if err := b.try(chromedp.Location(&address)); err != nil {
		return err.Error()
	}
	return address
}

func (b *tab) has(selector string) bool {
	b.Helper()
	return evaluate[bool](b, fmt.Sprintf("document.querySelector(%q) !== null", selector))
}

func (b *tab) text(selector string) string {
	b.Helper()
	text := evaluate[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
	return strings.Join(strings.Fields(text), " ")
}

// errorCodes are the page's, in their order.
func (b *tab) errorCodes() []string {
	b.Helper()
	return evaluate[[]string](b, "[...document.querySelectorAll('[data-error-code]')].map(e => e.dataset.errorCode)")
}

// inspect judges the page that is open by axe-core, in light and dark, on a narrow and a wide
// screen, and leaves pictures of it in screenshots/.
func (b *tab) inspect(name string) {
	b.Helper()
	b.loadAxe()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 1280} {
			b.run(
				emulation.SetDeviceMetricsOverride(width, 800, 1, width < 600),
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
			)
			view := fmt.Sprintf("%s-%s-%d", name, scheme, width)
			for _, violation := range evaluate[[]string](b, violations) {
				b.Errorf("%s: %s", view, violation)
			}
			if got := evaluate[int64](b, "document.documentElement.scrollWidth"); got > width {
				b.Errorf("%s: it is %d px wide", view, got)
			}
			b.picture(view)
		}
	}
	b.run(emulation.ClearDeviceMetricsOverride())
}

// violations are what axe-core finds, once the change of colours has come to its end.
const violations = `Promise.all(document.getAnimations().map(a => a.finished))
	.then(() => axe.run())
	.then(r => r.violations.flatMap(
		v => v.nodes.map(n => v.id + " (" + v.help + "): " + n.html + " " + n.failureSummary)))`

// loadAxe gives axe-core to the page. It comes from outside, so that the page's policy needs no
// exception.
func (b *tab) loadAxe() {
	b.Helper()
	needs(b.T, "axe-core", axePath)
	source, err := os.ReadFile(axePath)
	if err != nil {
		b.Fatal(err)
	}
	evaluate[any](b, string(source)+";null")
}

func (b *tab) picture(name string) {
	b.Helper()
	var png []byte
	b.run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).Do(ctx)
		return err
	}))
	if err := os.MkdirAll("screenshots", 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("screenshots", name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}
