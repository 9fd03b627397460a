package loginui

import (
	"net/http"
	"strings"
	"testing"

	"postern/config"
	"postern/idp"
)

func TestS0_47_LinkOfANewSignInEndsItByPOSTAlone(t *testing.T) {
	h := newOpenHouse(t)
	known, thief := h.browser(), h.browser()
	known.signIn("alice", alicesPassword)
	h.mails()
	thief.signIn("alice", alicesPassword)
	target := pathOf(t, h.mail("new_sign_in", "alice@example.com").Args["not_me"])
	if !strings.HasPrefix(target, "/secure/") {
		t.Fatalf("link %q", target)
	}
	h.harmless(target)
	if thief.visit() == nil {
		t.Fatal("opening the link ended the session")
	}
	b := h.browser()
	page := b.get(target)
	w := b.post(action(t, page), fields())
	page = b.get(onto(t, w, "/reset"))
	expect(t, page, http.StatusOK, "secured")
	if thief.visit() != nil {
		t.Error("the session goes on")
	}
	h.mail("secured", "alice@example.com")
	over := b.get(target)
	expect(t, over, http.StatusGone, "link_over")
	if !strings.Contains(over.Body.String(), `href="/reset"`) {
		t.Error("a dead end")
	}
}

func TestS0_47_LinkThatKeepsAnAccountWorksByPOSTAlone(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	if _, err := h.DeleteOwn(b.context(), b.visit()); err != nil {
		t.Fatal(err)
	}
	target := pathOf(t, h.mail("account_deletion", "alice@example.com").Args["link"])
	h.harmless(target)
	b = h.browser()
	page := b.get(target)
	if status := h.status("alice"); status != idp.Disabled {
		t.Fatalf("opening the link made her %s", status)
	}
	login := b.get("/login?tx=" + b.afterwards(b.post(action(t, page), fields())))
	expect(t, login, http.StatusOK, "account_kept")
	if status := h.status("alice"); status != idp.Active {
		t.Errorf("she is %s", status)
	}
	expect(t, b.get(target), http.StatusGone, "link_over")
}

func (h *house) status(name string) idp.UserStatus {
	h.t.Helper()
	u, err := h.FindUser(h.t.Context(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	return u.Status
}

func TestS0_47_LinkThatRevertsAnAddressWorksByPOSTAlone(t *testing.T) {
	h := newOpenHouse(t)
	b, link := h.moved()
	target := pathOf(t, link)
	h.harmless(target)
	other := h.browser()
	page := other.get(target)
	if u, _ := h.FindUser(t.Context(), "alice"); u.Email != "new@example.net" {
		t.Fatalf("opening the link made it %s", u.Email)
	}
	page = other.get(onto(t, other.post(action(t, page), fields()), "/reset"))
	expect(t, page, http.StatusOK, "email_reverted")
	if u, _ := h.FindUser(t.Context(), "alice"); u.Email != "alice@example.com" {
		t.Errorf("the address is %s", u.Email)
	}
	if b.visit() != nil {
		t.Error("the session goes on")
	}
}

func TestFormOfALinkNeedsItsSealOfThisBrowser(t *testing.T) {
	h := newOpenHouse(t)
	known, thief := h.browser(), h.browser()
	known.signIn("alice", alicesPassword)
	h.mails()
	thief.signIn("alice", alicesPassword)
	target := pathOf(t, h.mail("new_sign_in", "alice@example.com").Args["not_me"])
	a, b := h.browser(), h.browser()
	form := action(t, a.get(target))
	b.get(target)
	expect(t, b.post(form, fields()), http.StatusBadRequest, "page_outdated")
	page := b.post(target, fields())
	expect(t, page, http.StatusBadRequest, "page_outdated")
	if thief.visit() == nil {
		t.Fatal("the session ended")
	}
	onto(t, b.post(action(t, page), fields()), "/reset")
}

func TestS0_91_InviteIsForOneAddressAndOneAccount(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Signup.Mode = "invite" })
	_, token, err := h.AddInvite(t.Context(), idp.NewInvite{Email: "zoe@example.net"})
	if err != nil {
		t.Fatal(err)
	}
	h.mails()
	b := h.browser()
	target := "/signup?invite=" + token
	page := b.get(target)
	expect(t, page, http.StatusOK, "")
	if value(t, page, "email") != "zoe@example.net" || page.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%q, %q", value(t, page, "email"), page.Header().Get("Referrer-Policy"))
	}
	// What is typed in place of its address does not count.
	to := onto(t, b.post(action(t, page), filled("email", "mallory@example.net")), "/verify")
	code := h.mail("verify_code", "zoe@example.net").Args["code"]
	b.afterwards(b.post(b.formOf(to), fields("code", code)))
	if v := b.visit(); v == nil || v.User.Email != "zoe@example.net" {
		t.Errorf("visit %+v", v)
	}
	other := h.browser()
	expect(t, other.get(target), http.StatusGone, "invite_over")

	_, late, err := h.AddInvite(t.Context(), idp.NewInvite{})
	if err != nil {
		t.Fatal(err)
	}
	page = other.get("/signup?invite=" + late)
	h.clock = h.clock.Add(h.cfg.Signup.InviteTTL)
	expect(t, other.get("/signup?invite="+late), http.StatusGone, "invite_over")
	expect(t, other.post(action(t, page), filled("username", "yan", "email", "yan@example.net")), http.StatusGone, "invite_over")
}

func TestPromptCreateShowsTheFormEvenToWhoIsSignedIn(t *testing.T) {
	h := newOpenHouse(t)
	b := h.browser()
	b.signIn("alice", alicesPassword)
	if w := b.get("/signup?tx=" + b.asked()); w.Code != http.StatusSeeOther {
		t.Errorf("a form for somebody who is signed in: %d", w.Code)
	}
	page := b.get("/signup?tx=" + b.asked("prompt", "create"))
	expect(t, page, http.StatusOK, "")
	if in := b.opened(b.post(action(t, page), filled("cancel", "cancel"))); !in.Denied {
		t.Error("to cancel is not the End-User's no")
	}
	page = b.get(onto(t, b.post(action(t, page), filled()), "/verify"))
	in := b.opened(b.post(action(t, page), fields("code", h.mail("verify_code", "zoe@example.net").Args["code"])))
	if v := b.visit(); v == nil || v.User.Username != "zoe" || in.Authenticated != v.Session.Authentication {
		t.Errorf("visit %+v, interaction %+v", v, in)
	}
}

func TestWhoeverMustChangeTheirPasswordDoesSoBeforeTheyGoOn(t *testing.T) {
	h := newOpenHouse(t)
	alice, err := h.FindUser(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	const lent = "marble window teapot 41"
	if err := h.LendPassword(t.Context(), alice.ID, lent); err != nil {
		t.Fatal(err)
	}
	b := h.browser()
	tx := b.afterwards(b.post(b.formOf("/login?tx="+b.asked()), fields("username", "alice", "password", lent)))
	if b.visit() != nil || b.cookies[pendingCookie] == "" {
		t.Fatal("she is signed in with the password that was lent")
	}
	page := b.get("/login/password?tx=" + tx)
	expect(t, page, http.StatusOK, "")
	for _, other := range []string{"/verify?tx=" + tx, "/consent?tx=" + tx} {
		if w := b.get(other); w.Code != http.StatusSeeOther {
			t.Errorf("%s: %d", other, w.Code)
		}
	}
	page = b.post(action(t, page), fields("new_password", ""))
	expect(t, page, http.StatusBadRequest, "new_password_missing")
	page = b.post(action(t, page), fields("new_password", "1234567"))
	if got := codes(t, page); page.Code != http.StatusBadRequest || !strings.Contains(got, "password_too_short") || !strings.Contains(got, "password_entirely_numeric") {
		t.Errorf("%d %q", page.Code, got)
	}
	in := b.opened(b.post(action(t, page), fields("new_password", newPassword)))
	if v := b.visit(); v == nil || v.User.MustChangePassword || in.Authenticated != v.Session.Authentication || in.Request.ClientID != "rp" {
		t.Errorf("visit %+v, interaction %+v", v, in)
	}
}

func TestIDsAndNamesOfSignUpAndResetStayAsTheyAre(t *testing.T) {
	code := "input#code[code] text one-time-code required"
	want := map[string]string{
		"sign-up": "form /signup?tx=TX · input#name[name] text name · input#email[email] email email required · input#username[username] text username required · " +
			"input#extra[phone_number] text off · input#password[password] password new-password required · input#[remember] checkbox · button#sign-up[] · button#cancel[cancel=cancel]",
		"verify":              "form /verify?tx=TX · " + code + " · button#verify[] · button#resend[resend=1] · button#restart[restart=1]",
		"reset":               "form /reset?tx=TX · input#username[username] text username required · button#send[]",
		"reset code":          "form /reset/code?tx=TX · " + code + " · button#prove[]",
		"reset new":           "form /reset/new?tx=TX · input#username[username] text username · input#new_password[new_password] password new-password required · button#set-password[]",
		"log in by code":      "form /login/code?tx=TX · input#username[username] text username required · button#send[]",
		"log in by code sent": "form /login/code/enter?tx=TX · " + code + " · input#[remember] checkbox · button#sign-in[] · button#cancel[cancel=cancel]",
		"link verify":         "form /link?tx=TX&ticket=TICKET · button#confirm[]",
	}
	for _, s := range renderings(t) {
		if want[s.name] == "" || s.locale != "en" {
			continue
		}
		if got := controls(elements(t, s.body)); got != want[s.name] {
			t.Errorf("%s:\n got %s\nwant %s", s.name, got, want[s.name])
		}
		if s.name == "verify" && !strings.Contains(s.body, `inputmode="numeric"`) {
			t.Error("a code is not typed in digits")
		}
	}
}
