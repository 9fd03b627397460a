package conformance

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// mailTimeout is how long a mail may take; the outbox is emptied within a second or two.
const mailTimeout = 30 * time.Second

// A letter is a mail as the inbox of the demo shows it.
type letter struct {
	Subject string   `json:"subject"`
	To      string   `json:"to"`
	Text    string   `json:"text"`
	Links   []string `json:"links"`
}

// mails are the mails to an address, the newest first, whose subject has a word.
func (b *tab) mails(d demo, to, word string) []letter {
	b.Helper()
	b.open(d.RelyingParty + "/inbox")
	all := evaluate[[]letter](b, `[...document.querySelectorAll("article.mail")].map(m => ({
		subject: m.querySelector("h2").innerText, to: m.querySelector("p").innerText, text: m.querySelector("pre").textContent,
		links: [...m.querySelectorAll("a.mail-link")].map(a => a.href)}))`)
	var found []letter
	for _, m := range all {
		if strings.Contains(m.To, "<"+to+">") && strings.Contains(m.Subject, word) {
			found = append(found, m)
		}
	}
	return found
}

// mail waits for the nth mail to an address whose subject has a word. It reads it in a window of its
// own, as somebody would who keeps the page that waits for the code.
func (b *tab) mail(d demo, to, word string, nth int) letter {
	b.Helper()
	inbox := newTab(b.T, true)
	for deadline := time.Now().Add(mailTimeout); time.Now().Before(deadline); time.Sleep(10 * pollInterval) {
		if found := inbox.mails(d, to, word); len(found) >= nth {
			return found[0]
		}
	}
	b.Fatalf("no mail %d to %s about %q: %s", nth, to, word, inbox.text("body"))
	return letter{}
}

// mailedCode is a code as it stands on a line of its own.
var mailedCode = regexp.MustCompile(`(?m)^\s+([0-9]{6}|[0-9]{4}[- ]?[0-9]{4}|[0-9A-Z]{4}-[0-9A-Z]{4})\s*$`)

func (b *tab) codeOf(m letter) string {
	b.Helper()
	found := mailedCode.FindStringSubmatch(m.Text)
	if found == nil {
		b.Fatalf("no code in %q: %s", m.Subject, m.Text)
	}
	return found[1]
}

// linkOf is the first link of a mail to a path.
func (b *tab) linkOf(m letter, path string) string {
	b.Helper()
	for _, link := range m.Links {
		if u, err := url.Parse(link); err == nil && strings.HasPrefix(u.Path, path) {
			return link
		}
	}
	b.Fatalf("no link to %s in %q: %s", path, m.Subject, m.Text)
	return ""
}

// follow presses a link of the page by its address.
func (b *tab) follow(path string) {
	b.Helper()
	b.press(fmt.Sprintf(`main a[href^=%q]`, path))
}

// logIn signs somebody in at the provider itself.
func (b *tab) logIn(d demo, username, password string) {
	b.Helper()
	b.open(d.Issuer + "/login")
	b.signIn(username, password)
	b.at(d.Issuer + "/account")
}

// visitParty signs somebody in at the relying party, who allows it.
func (b *tab) visitParty(d demo, username, password string) {
	b.Helper()
	b.open(d.RelyingParty + "/login")
	b.at(d.Issuer + "/login")
	b.signIn(username, password)
	if strings.HasPrefix(b.address(), d.Issuer+"/consent") {
		b.press("#allow")
	}
	b.at(d.RelyingParty + "/")
}

// refreshes tells whether the refresh token of the relying party still works.
func (b *tab) refreshes(d demo) bool {
	b.Helper()
	b.open(d.RelyingParty)
	b.press("#refresh")
	return !b.has("#failure")
}

// prove types the password on the page that asks for it, where it is shown.
func (b *tab) prove(d demo, password string) {
	b.Helper()
	if strings.HasPrefix(b.address(), d.Issuer+"/account/reauthenticate") {
		b.fill("#password", password)
		b.press("#confirm-me")
	}
}

// eachWay runs a flow with JavaScript and without.
func eachWay(t *testing.T, flow func(t *testing.T, b *tab, d demo, suffix string)) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	d := startDemo(t, "")
	for name, scripts := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		suffix := "js"
		if !scripts {
			suffix = "plain"
		}
		t.Run(name, func(t *testing.T) { flow(t, newTab(t, scripts), d, suffix) })
	}
}

const (
	firstPassword  = "seven bridges of Prague"
	secondPassword = "eleven ferries to Oslo"
)

// join signs somebody up and leaves them at the page that the sign-up leads to.
func (b *tab) join(d demo, username string) {
	b.Helper()
	email := username + "@example.net"
	b.fill("#name", "Walter Winter")
	b.fill("#email", email)
	b.fill("#username", username)
	b.fill("#password", firstPassword)
	b.press("#sign-up")
	b.at(d.Issuer + "/verify")
	b.fill("#code", b.codeOf(b.mail(d, email, "code", 1)))
	b.press("#verify")
}

func TestAPersonSignsUpAndGoesBackToTheRelyingParty(t *testing.T) {
	eachWay(t, func(t *testing.T, b *tab, d demo, suffix string) {
		b.open(d.RelyingParty)
		b.press("#sign-in")
		b.follow("/signup")
		b.at(d.Issuer + "/signup")
		b.fill("#password", "short")
		b.press("#sign-up")
		b.wantError("password_too_short")
		b.join(d, "walter"+suffix)
		b.at(d.Issuer + "/consent")
		b.press("#allow")
		b.at(d.RelyingParty + "/")
		if got := shown(b, "#userinfo")["email"]; got != "walter"+suffix+"@example.net" {
			t.Errorf("userinfo: email is %v", got)
		}
	})
}

func TestAPersonWhoForgotThePasswordSetsANewOne(t *testing.T) {
	eachWay(t, func(t *testing.T, b *tab, d demo, suffix string) {
		who := d.Users[map[string]int{"js": 0, "plain": 2}[suffix]]
		email := who.Username + "@example.com"
		b.open(d.RelyingParty)
		b.press("#sign-in")
		b.follow("/reset")
		b.fill("#username", email)
		b.press("#send")
		b.at(d.Issuer + "/reset/code")
		letter := b.mail(d, email, "password", 1)
		b.fill("#code", b.codeOf(letter))
		b.press("#prove")
		b.at(d.Issuer + "/reset/new")
		if suffix == "js" {
			b.inspect("reset-new")
		}
		b.fill("#new_password", "short")
		b.press("#set-password")
		b.wantError("password_too_short")
		b.fill("#new_password", secondPassword)
		b.press("#set-password")
		b.at(d.Issuer + "/reset/done")
		b.follow("/oauth2/authorize")
		b.at(d.Issuer + "/login") // nobody is signed in by it
		b.signIn(who.Username, who.Password)
		b.wantError("invalid_credentials")
		b.signIn(who.Username, secondPassword)
		b.at(d.Issuer + "/consent")
		b.open(b.linkOf(letter, "/reset/link"))
		b.wantError("link_over")
	})
}

func TestAPersonSignsInWithAMailedCode(t *testing.T) {
	eachWay(t, func(t *testing.T, b *tab, d demo, suffix string) {
		who := d.Users[map[string]int{"js": 0, "plain": 2}[suffix]]
		b.open(d.RelyingParty)
		b.press("#sign-in")
		b.follow("/login/code")
		b.fill("#username", who.Username)
		b.press("#send")
		b.at(d.Issuer + "/login/code/enter")
		b.fill("#code", "x")
		b.press("#sign-in")
		b.wantError("code_wrong")
		b.fill("#code", b.codeOf(b.mail(d, who.Username+"@example.com", "code", 1)))
		b.press("#sign-in")
		b.at(d.Issuer + "/consent")
		b.press("#allow")
		b.at(d.RelyingParty + "/")
	})
}

func TestAPersonChangesTheAddressAndUndoesIt(t *testing.T) {
	eachWay(t, func(t *testing.T, b *tab, d demo, suffix string) {
		who := d.Users[map[string]int{"js": 0, "plain": 2}[suffix]]
		was, is := who.Username+"@example.com", who.Username+"@example.net"
		b.logIn(d, who.Username, who.Password)
		b.open(d.Issuer + "/account/emails/add")
		b.fill("#email", is)
		b.press("#add-email")
		b.prove(d, who.Password)
		b.at(d.Issuer + "/account/emails/code")
		b.fill("#code", b.codeOf(b.mail(d, is, "code", 1)))
		b.press("#verify-email")
		b.at(d.Issuer + "/account/emails")
		b.press("button[name=primary]")
		b.at(d.Issuer + "/account/emails")
		first := func() string {
			return b.text(`[data-email]:has(.tag + .tag) bdi`)
		}
		if got := first(); got != is {
			t.Errorf("the primary address is %q, want %s", got, is)
		}
		b.mail(d, is, "main e-mail", 1)
		revert := b.linkOf(b.mail(d, was, "was changed", 1), "/account/revert")
		thief := b
		owner := newTab(t, suffix == "js")
		owner.open(revert)
		owner.at(d.Issuer + "/account/revert")
		owner.press("#confirm")
		owner.at(d.Issuer + "/reset")
		thief.open(d.Issuer + "/account")
		thief.at(d.Issuer + "/login")
	})
}

// S0-38: a change of the password ends whatever else somebody is signed in to.
func TestS0_38_APasswordChangeEndsEveryOtherBrowserAndToken(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	d := startDemo(t, "")
	alice := d.Users[0]
	here, there, elsewhere := newTab(t, true), newTab(t, false), newTab(t, true)
	here.logIn(d, alice.Username, alice.Password)
	there.visitParty(d, alice.Username, alice.Password)
	elsewhere.visitParty(d, alice.Username, alice.Password)
	if !there.refreshes(d) || !elsewhere.refreshes(d) {
		t.Fatal("a refresh token does not work to begin with")
	}
	before := here.cookie(d.Issuer, "postern_session")
	here.open(d.Issuer + "/account/password")
	here.fill("#password", alice.Password)
	here.fill("#new_password", secondPassword)
	here.press("#change-password")
	here.open(d.Issuer + "/account")
	here.at(d.Issuer + "/account")
	if after := here.cookie(d.Issuer, "postern_session"); after == before || after == "" {
		t.Errorf("the cookie of the browser that changed it was %.12q and is %.12q", before, after)
	}
	for _, b := range []*tab{there, elsewhere} {
		if b.refreshes(d) {
			t.Error("a refresh token works on")
		}
		b.open(d.Issuer + "/account")
		b.at(d.Issuer + "/login")
	}
	here.mail(d, "alice@example.com", "password", 1)
}

func TestAPersonEndsASessionAndTakesAnAppBack(t *testing.T) {
	eachWay(t, func(t *testing.T, b *tab, d demo, suffix string) {
		who := d.Users[map[string]int{"js": 0, "plain": 2}[suffix]]
		other := newTab(t, suffix == "js")
		other.visitParty(d, who.Username, who.Password)
		b.visitParty(d, who.Username, who.Password)
		b.open(d.Issuer + "/account/sessions")
		b.press("li:not([data-current]) button[name=session]")
		b.at(d.Issuer + "/account/sessions")
		if b.has("li[data-session]:not([data-current])") {
			t.Error("the session is there still")
		}
		other.open(d.Issuer + "/account")
		other.at(d.Issuer + "/login")

		if !b.refreshes(d) {
			t.Error("the refresh token of the present session does not work")
		}
		b.open(d.Issuer + "/account/apps")
		b.press("li[data-app=demo] button[name=app]")
		b.at(d.Issuer + "/account/apps")
		if b.has("li[data-app]") {
			t.Error("the app is there still")
		}
		if b.refreshes(d) {
			t.Error("its refresh token works on")
		}
	})
}

func TestAPersonDeletesTheAccountAndKeepsItAfterAll(t *testing.T) {
	eachWay(t, func(t *testing.T, b *tab, d demo, suffix string) {
		who := d.Users[map[string]int{"js": 0, "plain": 2}[suffix]]
		b.logIn(d, who.Username, who.Password)
		b.open(d.Issuer + "/account/delete")
		b.fill("#confirm", who.Username)
		b.press("#delete-account")
		b.at(d.Issuer + "/account/deleted")
		b.open(d.Issuer + "/login")
		b.signIn(who.Username, who.Password)
		b.wantError("")
		b.open(b.linkOf(b.mail(d, who.Username+"@example.com", "delet", 1), "/account/undelete"))
		b.press("#confirm")
		b.at(d.Issuer + "/login")
		b.signIn(who.Username, who.Password)
		b.at(d.Issuer + "/account")
	})
}

// TestAccountPagesAreAccessible walks over the pages of accounts and lets axe-core judge each.
func TestAccountPagesAreAccessible(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	needs(t, "axe-core", axePath)
	d := startDemo(t, "")
	alice := d.Users[0]
	b := newTab(t, true)
	b.open(d.Issuer + "/signup")
	b.inspect("signup")
	b.fill("#email", "nonsense")
	b.fill("#username", "a b")
	b.fill("#password", "short")
	b.press("#sign-up")
	b.wantError("password_too_short")
	b.inspect("signup-error")
	b.open(d.Issuer + "/signup")
	b.fill("#email", "wanda@example.net")
	b.fill("#username", "wanda")
	b.fill("#password", firstPassword)
	b.press("#sign-up")
	b.at(d.Issuer + "/verify")
	b.inspect("verify")
	b.fill("#code", "x")
	b.press("#verify")
	b.wantError("code_wrong")
	b.inspect("verify-error")

	b = newTab(t, true)
	for _, path := range []string{"/reset", "/login/code"} {
		b.open(d.Issuer + path)
		b.inspect("ask" + strings.ReplaceAll(path, "/", "-"))
		b.fill("#username", alice.Username)
		b.press("#send")
		b.inspect("enter" + strings.ReplaceAll(path, "/", "-"))
	}
	b.open(d.Issuer + "/reset/link?ticket=nonsense")
	b.wantError("link_over")
	b.inspect("link-over")
	b.open(d.Issuer + "/account/deleted")
	b.inspect("deleted")

	b.logIn(d, alice.Username, alice.Password)
	for _, path := range []string{
		"", "/profile", "/emails", "/emails/add", "/password", "/sessions", "/apps", "/activity", "/appearance", "/data", "/delete",
	} {
		b.open(d.Issuer + "/account" + path)
		b.at(d.Issuer + "/account" + path)
		b.inspect("account" + strings.ReplaceAll(path, "/", "-"))
	}
}

// cookie is a cookie of the tab, whatever stands before its name.
func (b *tab) cookie(address, name string) string {
	b.Helper()
	value := ""
	b.run(chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := network.GetCookies().WithURLs([]string{address}).Do(ctx)
		for _, c := range all {
			if strings.HasSuffix(c.Name, name) {
				value = c.Value
			}
		}
		return err
	}))
	return value
}

// startServer runs `postern serve` with further settings until the test ends, with alice, who has
// firstPassword, and what a command of postern is run by.
func startServer(t *testing.T, settings ...string) (d demo, run func(input string, args ...string)) {
	t.Helper()
	folder, issuer, environment, err := newInstance()
	if err != nil {
		t.Fatal(err)
	}
	environment = append(environment, settings...)
	run = func(input string, args ...string) {
		t.Helper()
		if _, err := command(folder, environment, input, args...); err != nil {
			t.Fatal(err)
		}
	}
	run(firstPassword+"\n", "user", "add", "--username", "alice", "--email", "alice@example.com", "--email-verified", "--password-stdin")
	process, err := running.start(folder, environment, nil, issuer+"/healthz", "serve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.stop(); err != nil {
			t.Error(err)
		}
	})
	return demo{Issuer: issuer}, run
}

// S0-63, S0-66: what is sensitive asks anew who is here, once a proof is old, and goes on with what
// was typed before.
func TestS0_63_S0_66_APersonProvesAnewWhoTheyAreAndTypesNothingTwice(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	d, _ := startServer(t, "POSTERN_SUDO__TIMEOUT=30s")
	add := func(b *tab, address string) {
		b.open(d.Issuer + "/account/emails/add")
		b.fill("#email", address)
		b.press("#add-email")
	}
	tabs := map[string]*tab{"with JavaScript": newTab(t, true), "without JavaScript": newTab(t, false)}
	for _, b := range tabs {
		b.logIn(d, "alice", firstPassword)
	}
	for name, b := range tabs {
		asked := func() bool { return strings.HasPrefix(b.address(), d.Issuer+"/account/reauthenticate?") }
		for deadline := time.Now().Add(pageTimeout); !asked() && time.Now().Before(deadline); time.Sleep(20 * pollInterval) {
			add(b, "no address")
		}
		add(b, "alice@example.net")
		b.at(d.Issuer + "/account/reauthenticate")
		if name == "with JavaScript" {
			b.inspect("reauthenticate")
		}
		b.fill("#password", secondPassword)
		b.press("#confirm-me")
		b.wantError("invalid_credentials")
		if name == "with JavaScript" {
			b.inspect("reauthenticate-error")
		}
		b.fill("#password", firstPassword)
		b.press("#confirm-me")
		b.at(d.Issuer + "/account/emails/code")
		if text := b.text("main"); !strings.Contains(text, "alice@example.net") {
			b.Errorf("%s: what was typed is lost: %s", name, text)
		}
	}
}

func TestS0_37_APersonWithALentPasswordChoosesTheirOwnBeforeTheyGoOn(t *testing.T) {
	t.Parallel()
	needs(t, "Chromium", chromiumPath)
	d, run := startServer(t)
	own := secondPassword
	for name, scripts := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			own += " anew" // another one for each
			run(firstPassword+"\n", "user", "set-password", "alice", "--password-stdin", "--must-change")
			b := newTab(t, scripts)
			b.open(d.Issuer + "/account/profile")
			b.signIn("alice", firstPassword)
			b.at(d.Issuer + "/login/password")
			if scripts {
				b.inspect("choose-password")
			}
			b.open(d.Issuer + "/account/profile")
			b.at(d.Issuer + "/login/password")
			b.fill("#new_password", "short")
			b.press("#set-password")
			b.wantError("password_too_short")
			if scripts {
				b.inspect("choose-password-error")
			}
			b.fill("#new_password", firstPassword)
			b.press("#set-password")
			b.wantError("password_unchanged")
			b.fill("#new_password", own)
			b.press("#set-password")
			b.at(d.Issuer + "/account/profile")
			b.open(d.Issuer + "/logout")
			b.press("#confirm-logout")
			b.logIn(d, "alice", own)
		})
	}
}

// S0-61: a mail about a sign-in leads to a page whose button ends it, for whoever has the mail.
func TestS0_61_APersonSaysThatASignInWasSomebodyElse(t *testing.T) {
	eachWay(t, func(t *testing.T, b *tab, d demo, suffix string) {
		who := d.Users[map[string]int{"js": 0, "plain": 2}[suffix]]
		b.logIn(d, who.Username, who.Password)
		thief, owner := newTab(t, true), newTab(t, suffix == "js")
		thief.logIn(d, who.Username, who.Password)
		letter := b.mail(d, who.Username+"@example.com", "New sign-in", 1)
		if !strings.Contains(letter.Text, "Linux") {
			t.Errorf("the mail does not tell with what: %s", letter.Text)
		}
		link := b.linkOf(letter, "/secure/")
		owner.open(link)
		if suffix == "js" {
			owner.inspect("not-me")
		}
		thief.open(d.Issuer + "/account")
		thief.at(d.Issuer + "/account") // to open it changes nothing
		owner.press("#confirm")
		owner.at(d.Issuer + "/reset")
		for _, tab := range []*tab{b, thief} {
			tab.open(d.Issuer + "/account")
			tab.at(d.Issuer + "/login")
			tab.signIn(who.Username, who.Password)
			tab.wantError("invalid_credentials") // the password is void
		}
		owner.open(link)
		owner.wantError("link_over")
	})
}
