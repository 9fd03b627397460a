package loginui

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/html"

	"postern/config"
	"postern/idp"
)

// mailedByLink has addresses confirmed by links.
func mailedByLink(cfg *config.Config) { cfg.Email.VerificationByCode = false }

// A mailedLink is a link as it is mailed, of a kind.
type mailedLink struct {
	name, target string
	purpose      idp.Purpose
}

// mailedLinks are a link of each purpose, each of a user of its own where that matters.
func (h *house) mailedLinks() []mailedLink {
	h.t.Helper()
	var list []mailedLink
	add := func(name string, purpose idp.Purpose, address string) {
		list = append(list, mailedLink{name, pathOf(h.t, address), purpose})
	}
	b := h.browser()
	onto(h.t, b.post(b.formOf("/signup"), filled()), "/verify")
	add("confirms a sign-up", idp.ForSignUp, h.mail("verify_link", "zoe@example.net").Args["link"])

	b = h.browser()
	b.afterwards(b.post(b.formOf("/login?tx="+b.asked()), fields("username", "dave", "password", davesPassword)))
	add("confirms an address", idp.ForAddress, h.mail("verify_link", "dave@example.com").Args["link"])

	b = h.browser()
	b.post(b.formOf("/reset"), fields("username", "bob"))
	add("resets a password", idp.ForReset, h.mail("reset", "bob@example.com").Args["link"])

	h.add("erin")
	h.browser().signIn("erin", newPassword)
	h.mails()
	h.browser().signIn("erin", newPassword)
	add("is an alarm", idp.ForAlarm, h.mail("new_sign_in", "erin@example.com").Args["not_me"])

	h.add("frank")
	b = h.browser()
	b.signIn("frank", newPassword)
	if _, err := h.DeleteOwn(b.context(), b.visit()); err != nil {
		h.t.Fatal(err)
	}
	add("keeps an account", idp.ForUndelete, h.mail("account_deletion", "frank@example.com").Args["link"])

	_, revert := h.moved()
	add("reverts an address", idp.ForRevert, revert)
	return list
}

// add adds a user whose address is confirmed.
func (h *house) add(name string) {
	h.t.Helper()
	if _, err := h.AddUser(h.t.Context(), idp.NewUser{Username: name, Email: name + "@example.com", EmailVerified: true, Password: newPassword}); err != nil {
		h.t.Fatal(err)
	}
}

// moved is a browser in which alice changed her primary address, and the link that reverts it.
func (h *house) moved() (*tab, string) {
	h.t.Helper()
	b := h.browser()
	b.signIn("alice", alicesPassword)
	h.mails()
	in := h.BeginOwn(accountPath)
	if err := h.AddEmail(b.context(), b.visit(), in, "new@example.net"); err != nil {
		h.t.Fatal(err)
	}
	for _, m := range h.mails() {
		if code := m.Args["code"]; code != "" {
			if err := h.VerifyOwnEmail(b.context(), b.visit(), in, code); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	list, err := h.Emails(b.context(), b.visit())
	if err != nil || len(list) != 2 {
		h.t.Fatalf("%v, %v", list, err)
	}
	if err := h.MakePrimary(b.context(), b.visit(), list[1].ID); err != nil {
		h.t.Fatal(err)
	}
	return b, h.mail("email_revert", "alice@example.com").Args["link"]
}

// kept is what the files of the database hold. Who only reads changes none of them.
func (h *house) kept() []byte {
	h.t.Helper()
	var all []byte
	for _, ending := range []string{"", "-wal"} {
		content, err := os.ReadFile(h.file + ending)
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, content...)
	}
	return all
}

func TestS0_47_OpeningAMailedLinkChangesNothingThatIsKept(t *testing.T) {
	h := newOpenHouse(t, mailedByLink)
	_, invite, err := h.AddInvite(t.Context(), idp.NewInvite{Email: "yan@example.net"})
	if err != nil {
		t.Fatal(err)
	}
	list := append(h.mailedLinks(), mailedLink{"invites", "/signup?invite=" + invite, ""})
	opened := map[idp.Purpose]bool{}
	for _, link := range list {
		opened[link.purpose] = true
		before := h.kept()
		h.harmless(link.target)
		if !bytes.Equal(before, h.kept()) {
			t.Errorf("the link that %s: opening it changed what is kept", link.name)
		}
	}
	for _, kind := range linkKinds {
		if !opened[kind.purpose] {
			t.Errorf("nothing opened a link for %s", kind.purpose)
		}
	}
}

// crowd is how many do something at once.
const crowd = 20

// atOnce does something twenty times at the same moment, and returns what came of each.
func atOnce(do func(i int) *httptest.ResponseRecorder) []*httptest.ResponseRecorder {
	answers := make([]*httptest.ResponseRecorder, crowd)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range answers {
		wg.Go(func() {
			<-start
			answers[i] = do(i)
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// far is a browser at another address, so that no limit counts it with others.
func (h *house) far(i int) *tab {
	b := h.browser()
	b.address = fmt.Sprintf("198.51.100.%d", i+1)
	return b
}

// twin is the same browser, for requests at the same time.
func (b *tab) twin(i int) *tab {
	c := b.h.far(i)
	c.cookies = maps.Clone(b.cookies)
	return c
}

// recorded counts the events of a kind.
func (h *house) recorded(kind string) int {
	h.t.Helper()
	list, err := h.Events(h.t.Context(), idp.ID{}, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(slices.DeleteFunc(list, func(e idp.Event) bool { return e.Kind != kind }))
}

func TestS0_47_OfTwentyWhoUseOneLinkAtOnceOneDoes(t *testing.T) {
	h := newOpenHouse(t, mailedByLink)
	// What is recorded of each, once, and where the one who was first is sent.
	done := map[idp.Purpose][2]string{
		idp.ForSignUp: {"user.signed_up", dispatcher}, idp.ForAddress: {"user.email_verified", dispatcher},
		idp.ForReset: {"user.password_reset", "/reset/done"}, idp.ForAlarm: {"user.alarmed", "/reset"},
		idp.ForUndelete: {"user.deletion_undone", dispatcher}, idp.ForRevert: {"user.email_reverted", "/reset"},
	}
	for _, link := range h.mailedLinks() {
		tabs, forms := make([]*tab, crowd), make([]string, crowd)
		for i := range tabs {
			tabs[i] = h.far(i)
			forms[i] = tabs[i].formOf(link.target)
		}
		kind, to := done[link.purpose][0], done[link.purpose][1]
		before, first := h.recorded(kind), 0
		for _, w := range atOnce(func(i int) *httptest.ResponseRecorder {
			return tabs[i].post(forms[i], fields("new_password", newPassword))
		}) {
			path, _, _ := strings.Cut(w.Header().Get("Location"), "?")
			switch {
			case w.Code == http.StatusSeeOther && path == to:
				first++
			case w.Code == http.StatusOK && codes(t, w) == "" && strings.Contains(read(t, w), "Your address is confirmed"):
			case w.Code != http.StatusGone || codes(t, w) != "link_over" || !strings.Contains(w.Body.String(), `class="button`):
				t.Errorf("the link that %s: %d to %q, %q\n%s", link.name, w.Code, path, codes(t, w), read(t, w))
			}
		}
		if n := h.recorded(kind) - before; n != 1 {
			t.Errorf("the link that %s: it was done %d times", link.name, n)
		}
		// A double press of a link that confirms is no mistake: the address is confirmed.
		if confirms := link.purpose == idp.ForSignUp || link.purpose == idp.ForAddress; first != 1 && !confirms || first == 0 {
			t.Errorf("the link that %s: %d were first", link.name, first)
		}
	}
}

func TestS0_71_OfTwentyWhoEnterOneCodeAtOnceOneDoes(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	for name, c := range map[string]struct {
		page func(b *tab) (form, code string)
		kind string // of the event that is recorded once
	}{
		"of a sign-up": {func(b *tab) (string, string) {
			form := b.formOf(onto(t, b.post(b.formOf("/signup"), filled()), "/verify"))
			return form, h.mail("verify_code", "zoe@example.net").Args["code"]
		}, "user.signed_up"},
		"of somebody who signs in": {func(b *tab) (string, string) {
			tx := b.afterwards(b.post(b.formOf("/login?tx="+b.asked()), fields("username", "dave", "password", davesPassword)))
			return b.formOf("/verify?tx=" + tx), h.mail("verify_code", "dave@example.com").Args["code"]
		}, "user.email_verified"},
		"to sign in with": {func(b *tab) (string, string) {
			form := b.formOf(onto(t, b.post(b.formOf("/login/code"), fields("username", "bob")), "/login/code/enter"))
			return form, h.mail("login_code", "bob@example.com").Args["code"]
		}, "user.signed_in"},
		"of an address that is added": {func(b *tab) (string, string) {
			b.signIn("alice", alicesPassword)
			h.mails()
			form := b.formOf(onto(t, b.post(b.formOf(addEmailPath), fields("email", "new@example.net")), emailCodePath))
			return form, h.mail("verify_code", "new@example.net").Args["code"]
		}, "user.email_verified"},
	} {
		t.Run(name, func(t *testing.T) {
			b := h.browser()
			form, code := c.page(b)
			before := h.recorded(c.kind)
			for _, w := range atOnce(func(i int) *httptest.ResponseRecorder { return b.twin(i).post(form, fields("code", code)) }) {
				wantCalm(t, name, w)
			}
			if n := h.recorded(c.kind) - before; n != 1 {
				t.Errorf("%s was recorded %d times", c.kind, n)
			}
		})
	}
}

func TestS0_71_OfTwentyNewPasswordsOfOneResetOneCounts(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	page := b.formOf(onto(t, b.post(b.formOf("/reset"), fields("username", "alice")), "/reset/code"))
	form := b.formOf(onto(t, b.post(page, fields("code", h.mail("reset", "alice@example.com").Args["code"])), "/reset/new"))
	password := func(i int) string { return fmt.Sprintf("%s %d", newPassword, i) }
	answers := atOnce(func(i int) *httptest.ResponseRecorder {
		return b.twin(i).post(form, fields("new_password", password(i)))
	})
	first := 0
	for i, w := range answers {
		wantCalm(t, password(i), w)
		if w.Code == http.StatusSeeOther && strings.HasPrefix(w.Header().Get("Location"), "/reset/done") {
			first++
			h.browser().signIn("alice", password(i))
		}
	}
	if first != 1 || h.recorded("user.password_reset") != 1 {
		t.Errorf("%d passwords were kept, %d times", first, h.recorded("user.password_reset"))
	}
}

func TestS0_91_OfTwentyWhoUseOneInviteAtOnceOneGetsAnAccount(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Signup.Mode = "invite" })
	_, token, err := h.AddInvite(t.Context(), idp.NewInvite{})
	if err != nil {
		t.Fatal(err)
	}
	tabs, forms, codes := make([]*tab, crowd), make([]string, crowd), make([]string, crowd)
	for i := range tabs {
		tabs[i] = h.far(i)
		name := fmt.Sprintf("guest%d", i)
		to := onto(t, tabs[i].post(tabs[i].formOf("/signup?invite="+token), filled("username", name, "email", name+"@example.net")), "/verify")
		forms[i], codes[i] = tabs[i].formOf(to), h.mail("verify_code", name+"@example.net").Args["code"]
	}
	for _, w := range atOnce(func(i int) *httptest.ResponseRecorder { return tabs[i].post(forms[i], fields("code", codes[i])) }) {
		wantCalm(t, "an invite", w)
	}
	if n := h.recorded("user.signed_up"); n != 1 {
		t.Errorf("%d accounts of one invite", n)
	}
}

// wantCalm holds that an answer leads on, or is a page that does, and shows none of the secrets that
// were typed.
func wantCalm(t *testing.T, what string, w *httptest.ResponseRecorder, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(w.Body.String(), secret) || strings.Contains(w.Header().Get("Location"), secret) {
			t.Errorf("%s: %q is in the answer", what, secret)
		}
	}
	if to := w.Header().Get("Location"); w.Code == http.StatusSeeOther && localPath(to) != "" {
		return
	}
	list := elements(t, w.Body.String())
	leads := slices.ContainsFunc(list, func(n *html.Node) bool {
		return n.Data == "a" && strings.Contains(attribute(n, "class"), "button") || n.Data == "button" && attribute(n, "type") == "submit"
	})
	if w.Code >= http.StatusInternalServerError || len(named(list, "h1")) != 1 || !leads {
		t.Errorf("%s: %d\n%s", what, w.Code, read(t, w))
	}
}
