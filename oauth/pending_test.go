package oauth

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"postern/idp"
)

// addDave adds a user who proved no address.
func (h *house) addDave() idp.User {
	h.t.Helper()
	u, err := h.p.AddUser(context.Background(), idp.NewUser{Username: "dave", Email: "dave@example.org", Password: testPassword})
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

// pending is a browser in which dave signed in, who owes a step.
func (h *house) pending(in *idp.Interaction) *browser {
	h.t.Helper()
	b := newBrowser("dave")
	h.logIn(b, in, "dave")
	return b
}

func TestS0_39_NobodyUnverifiedGetsACode(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		dave := h.addDave()
		b := h.pending(h.p.BeginOwn("/"))
		for _, client := range []string{"web", "first"} {
			if at, query := outcome(h, h.authorize(b, h.request(client))); at != "/verify" || query.Has("code") {
				t.Errorf("%s: got %s with %v, want the page to verify on", client, at, query)
			}
		}
		form := h.request("first")
		form.Set("prompt", "none")
		if _, query := outcome(h, h.authorize(b, form)); query.Get("error") != "interaction_required" {
			t.Errorf("prompt=none: got %v", query)
		}
		// As a live session its token is nobody's.
		thief := newBrowser("dave")
		thief.visitor.Session = b.visitor.Pending
		if at, _ := outcome(h, h.authorize(thief, h.request("first"))); at != "/login" {
			t.Errorf("as a live session: got %s", at)
		}
		// Verified meanwhile, it is no session all the same.
		dave.EmailVerified = true
		if err := h.store.ChangeUser(context.Background(), dave, dave.Epoch); err != nil {
			t.Fatal(err)
		}
		if at, query := outcome(h, h.authorize(b, h.request("first"))); at != "/login" || query.Has("code") {
			t.Errorf("verified elsewhere: got %s with %v, want the sign-in page", at, query)
		}
	})
}

func TestS0_73_APendingSignInOfARelyingPartyStartsAgainWithItsRequest(t *testing.T) {
	h := oneHouse(t)
	h.addDave()
	_, query := outcome(h, h.authorize(newBrowser("dave"), h.request("first")))
	in, err := h.p.Open(newBrowser("dave").context(), query.Get("tx"))
	if err != nil {
		t.Fatal(err)
	}
	b := h.pending(in)
	tx, err := h.p.Seal(b.context(), in)
	if err != nil {
		t.Fatal(err)
	}
	h.now.turn(15 * time.Minute)
	at, query := outcome(h, h.get(b, AuthorizePath+"?tx="+tx))
	if at != "/login" {
		t.Fatalf("got %s, want the sign-in page", at)
	}
	if again, err := h.p.Open(b.context(), query.Get("tx")); err != nil || again.Request.ClientID != "first" || again.Form.Get("state") != "a state-._~" {
		t.Errorf("got %+v and %v, want the request's", again, err)
	}
}

func TestALiveSessionWinsOverAPendingOne(t *testing.T) {
	h := oneHouse(t)
	h.addDave()
	b := h.signedIn("alice")
	b.visitor.Pending = h.pending(h.p.BeginOwn("/")).visitor.Pending
	if at, query := outcome(h, h.authorize(b, h.request("first"))); at != "https://rp.example/cb" || !query.Has("code") {
		t.Errorf("got %s with %v, want alice's code", at, query)
	}
}

func TestWhoeverWasLentAPasswordChangesItFirst(t *testing.T) {
	h := oneHouse(t)
	if err := h.p.LendPassword(context.Background(), h.addUser("dave").ID, testPassword); err != nil {
		t.Fatal(err)
	}
	b := h.pending(h.p.BeginOwn("/"))
	if at, _ := outcome(h, h.authorize(b, h.request("first"))); at != "/login/password" {
		t.Errorf("got %s", at)
	}
}

func TestS0_90_PromptCreateLeadsToTheSignUpWhileItIsOpen(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		create := h.request("first")
		create.Set("prompt", "create")
		if _, query := outcome(h, h.authorize(newBrowser("nobody"), create)); query.Get("error") != "invalid_request" {
			t.Errorf("closed: got %v", query)
		}
		cfg := testConfig()
		cfg.Signup.Mode, cfg.Email.Verification = "open", "none"
		h.open(h.store.Store, cfg)
		for name, b := range map[string]*browser{"nobody": newBrowser("nobody"), "alice": h.signedIn("alice")} {
			if at, _ := outcome(h, h.authorize(b, create)); at != "/signup" {
				t.Errorf("%s: got %s", name, at)
			}
		}
		b := newBrowser("zoe")
		_, query := outcome(h, h.authorize(b, create))
		in, err := h.p.Open(b.context(), query.Get("tx"))
		if err != nil {
			t.Fatal(err)
		}
		made, err := h.p.SignUp(b.context(), in, idp.SignUp{Username: "zoe", Email: "zoe@example.org", Password: testPassword})
		if err != nil {
			t.Fatal(err)
		}
		b.visitor.Session = made.Token
		tx, err := h.p.Seal(b.context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if at, answer := outcome(h, h.get(b, AuthorizePath+"?tx="+tx)); at != "https://rp.example/cb" || !answer.Has("code") {
			t.Errorf("signed up: got %s with %v, want a code", at, answer)
		}
		if w := h.get(b, AuthorizePath+"?tx="+url.QueryEscape(tx)); w.Header().Get("Location") != "" && w.Code == http.StatusSeeOther {
			if _, answer := outcome(h, w); answer.Has("code") {
				t.Error("the deed for prompt=create completed twice")
			}
		}
	})
}
