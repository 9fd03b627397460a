package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/idp"
	"postern/storage/storagetest"
)

// A postbox is a mailer that keeps what it is given.
type postbox chan idp.Mail

// Send implements idp.Mailer.
func (p postbox) Send(_ context.Context, m idp.Mail) error {
	p <- m
	return nil
}

// openPosted is open with a postbox for the mails.
func openPosted(t *testing.T, database string, change func(*config.Config)) (*house, postbox) {
	t.Helper()
	h := open(t, database, change)
	box := make(postbox, 100)
	log := slog.New(slog.DiscardHandler)
	var err error
	h.p, err = newProvider(t.Context(), h.cfg, h.store, idp.Options{
		Now: func() time.Time { return h.now }, Log: log, Wait: func(context.Context, time.Duration) {}, Mailer: box,
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.site, err = newSite(h.p, h.cfg, log); err != nil {
		t.Fatal(err)
	}
	return h, box
}

// mailed runs the server's chores until a mail of a kind came for an address, and drops those before it.
func (h *house) mailed(t *testing.T, box postbox, kind, to string) idp.Mail {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- h.p.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for {
		select {
		case m := <-box:
			if m.Kind == kind && m.To == to {
				return m
			}
		case <-ctx.Done():
			t.Fatalf("no mail %s came for %s", kind, to)
		}
	}
}

// A crowd is the wire of a browser which sends its next form many times at once.
type crowd struct {
	rp.InProcess
	vary    func(i int, form url.Values) // makes the ith form another one, nil for forms of one kind
	armed   bool
	answers []*http.Response
}

// parallel is how often a crowd sends a form.
const parallel = 20

// RoundTrip implements http.RoundTripper.
func (c *crowd) RoundTrip(r *http.Request) (*http.Response, error) {
	if !c.armed || r.Method != http.MethodPost {
		return c.InProcess.RoundTrip(r)
	}
	c.armed, c.answers = false, make([]*http.Response, parallel)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	errs := make([]error, parallel)
	var group sync.WaitGroup
	for i := range parallel {
		group.Go(func() {
			form, err := url.ParseQuery(string(body))
			if err != nil {
				errs[i] = err
				return
			}
			if c.vary != nil {
				c.vary(i, form)
			}
			one := r.Clone(r.Context())
			one.Body = io.NopCloser(strings.NewReader(form.Encode()))
			c.answers[i], errs[i] = c.InProcess.RoundTrip(one)
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	// What the browser goes on with is a page that leads nowhere.
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(nil)), Request: r,
	}, nil
}

// crowded is a browser with a crowd on its wire.
func (h *house) crowded() (*rp.Browser, *crowd) {
	b := h.browser()
	c := &crowd{InProcess: h.transport()}
	b.Transport = c
	return b, c
}

// atOnce fills in the form of a page, sends it many times at once and returns which of the answers
// lead to a path. Each other one is refused with one of the codes.
func (c *crowd) atOnce(t *testing.T, page *rp.Page, fields map[string]string, path string, codes ...string) (won []int) {
	t.Helper()
	c.armed = true
	fillIn(t, page, fields)
	for i, answer := range c.answers {
		body := text(t, answer)
		to, err := answer.Location()
		switch {
		case err == nil && to.Path == path:
			won = append(won, i)
		case answer.StatusCode < 400 || answer.StatusCode >= 500 || !slices.ContainsFunc(codes, func(code string) bool {
			return strings.Contains(body, fmt.Sprintf("data-error-code=%q", code))
		}):
			t.Errorf("answer %d: %s to %v, want %s or one of %q\n%s", i, answer.Status, to, path, codes, body)
		}
	}
	if len(won) != 1 {
		t.Errorf("%d of %d won, want one", len(won), parallel)
	}
	return won
}

// numbered makes the passwords of a crowd's forms different ones.
func numbered(i int, form url.Values) { form.Set("new_password", numberedPassword(i)) }

func numberedPassword(i int) string { return fmt.Sprintf("seven bridges of Prague %d", i) }

// wantPassword fails the test unless the password of one of a crowd, and no other, is alice's.
func (h *house) wantPassword(t *testing.T, won []int) {
	t.Helper()
	for i := range parallel {
		page := h.try(t, fmt.Sprintf("192.0.2.%d", 100+i), "alice", numberedPassword(i))
		if signedIn(page) != slices.Contains(won, i) {
			t.Errorf("password %d, of the winners %v: at %s %v", i, won, page.URL.Path, page.ErrorCodes())
		}
	}
}

func TestS0_23_OfManyResetsAtOnceByACodeOrALinkOneWins(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, database string) {
		h, box := openPosted(t, database, inviting)
		h.addUser(t, "alice")
		for _, way := range []string{"code", "link"} {
			t.Run(way, func(t *testing.T) {
				b, c := h.crowded()
				c.vary = numbered
				page := fillIn(t, openPage(t, b, "/reset"), map[string]string{"username": "alice"})
				m := h.mailed(t, box, "reset", "alice@example.com")
				if way == "code" {
					page = fillIn(t, page, map[string]string{"code": m.Args["code"]})
				} else {
					page = openPage(t, b, strings.TrimPrefix(m.Args["link"], testIssuer))
				}
				h.wantPassword(t, c.atOnce(t, page, map[string]string{"new_password": "x"}, "/reset/done", "code_over", "link_over"))
			})
		}
	})
}

func TestS0_24_OfManyProofsOfOneSignUpAtOnceOneMakesTheAccount(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, database string) {
		h, box := openPosted(t, database, inviting)
		b, c := h.crowded()
		page := fillIn(t, openPage(t, b, "/signup"), map[string]string{
			"username": "walter", "email": "walter@example.com", "password": "seven bridges of Prague",
		})
		m := h.mailed(t, box, "verify_code", "walter@example.com")
		c.atOnce(t, page, map[string]string{"code": m.Args["code"]}, "/oauth2/authorize", "code_over")
		if page := h.try(t, "192.0.2.1", "walter", "seven bridges of Prague"); !signedIn(page) {
			t.Errorf("walter is at %s %v", page.URL, page.ErrorCodes())
		}
		if users, err := h.p.Users(t.Context(), "", 10); err != nil || len(users) != 1 {
			t.Errorf("got %+v and %v, want walter alone", users, err)
		}
	})
}

func TestS0_71_OfManySignInsAtOnceByOneCodeOneWins(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, database string) {
		h, box := openPosted(t, database, inviting)
		h.addUser(t, "alice")
		b, c := h.crowded()
		page := fillIn(t, openPage(t, b, "/login/code"), map[string]string{"username": "alice"})
		m := h.mailed(t, box, "login_code", "alice@example.com")
		c.atOnce(t, page, map[string]string{"code": m.Args["code"]}, "/oauth2/authorize", "code_over")
		sessions := 0
		for _, answer := range c.answers {
			for _, cookie := range answer.Cookies() {
				if cookie.Name == "__Host-postern_session" && cookie.Value != "" {
					sessions++
				}
			}
		}
		if sessions != 1 {
			t.Errorf("%d cookies of sessions were set, want one", sessions)
		}
	})
}

func TestS0_91_OfManySignUpsAtOnceByOneInviteOneWins(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, database string) {
		h, _ := openPosted(t, database, func(c *config.Config) { c.Signup.Mode, c.Email.Verification = "invite", "none" })
		_, invite, err := h.p.AddInvite(t.Context(), idp.NewInvite{})
		if err != nil {
			t.Fatal(err)
		}
		b, c := h.crowded()
		c.vary = func(i int, form url.Values) {
			form.Set("username", fmt.Sprintf("walter%d", i))
			form.Set("email", fmt.Sprintf("walter%d@example.com", i))
		}
		page := openPage(t, b, "/signup?invite="+invite)
		won := c.atOnce(t, page, map[string]string{"username": "walter", "email": "walter@example.com", "password": "seven bridges of Prague"}, "/oauth2/authorize", "invite_over")
		users, err := h.p.Users(t.Context(), "", 50)
		if err != nil || len(users) != 1 || len(won) == 1 && users[0].Username != fmt.Sprintf("walter%d", won[0]) {
			t.Errorf("got %+v and %v, want one user, of the winners %v", users, err, won)
		}
	})
}

// S0-38: a change of the password is told by mail to whoever has the account, whether what others
// have of it ends or stays; while a mailed code to sign in with does not survive it.
func TestS0_38_APasswordChangeIsMailedWhereOtherBrowsersStay(t *testing.T) {
	for _, ends := range []bool{true, false} {
		t.Run(fmt.Sprintf("ends %t", ends), func(t *testing.T) {
			h, box := openPosted(t, storagetest.SQLite(t), func(c *config.Config) {
				inviting(c)
				c.Sessions.EndOnPasswordChange = ends
			})
			h.addUser(t, "alice")
			here, there, waiting := h.browser(), h.browser(), h.browser()
			h.signIn(t, here, "alice", testPassword)
			h.signIn(t, there, "alice", testPassword)
			asks := fillIn(t, openPage(t, waiting, "/login/code"), map[string]string{"username": "alice"})
			code := h.mailed(t, box, "login_code", "alice@example.com").Args["code"]
			fillIn(t, openPage(t, here, "/account/password"), map[string]string{"password": testPassword, "new_password": "eleven ferries to Oslo"})
			if m := h.mailed(t, box, "password_changed", "alice@example.com"); !strings.HasPrefix(m.Args["not_me"], testIssuer+"/secure/") {
				t.Errorf("the mail has %v, want a way to undo it", m.Args)
			}
			if page := openPage(t, there, "/account"); (page.URL.Path == "/login") != ends {
				t.Errorf("there alice is at %s", page.URL)
			}
			// It is as wrong as any code of nobody: whoever asked for it learns nothing of the change.
			if page := fillIn(t, asks, map[string]string{"code": code}); !slices.Contains(page.ErrorCodes(), "code_wrong") {
				t.Errorf("the code from before leads to %s %v", page.URL, page.ErrorCodes())
			}
			if page := openPage(t, waiting, "/account"); page.URL.Path != "/login" {
				t.Errorf("by the code from before somebody is at %s", page.URL)
			}
		})
	}
}
