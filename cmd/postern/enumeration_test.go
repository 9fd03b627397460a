package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/idp"
	"postern/storage/storagetest"
)

// The accounts that nobody must be able to tell apart, and zelda, who has none. Their names are of one
// length, so that what is sealed about them may be compared by its length.
var castOfStates = []string{"alice", "zelda", "erika", "david", "paula", "lucas"}

// addCast adds a verified user, a disabled one, one who did not prove their address, one without a
// password, and one who is locked out at the address of their own.
func (h *house) addCast(t *testing.T) {
	t.Helper()
	h.addUser(t, "alice")
	if err := h.p.DisableUser(t.Context(), h.addUser(t, "erika").ID); err != nil {
		t.Fatal(err)
	}
	h.addUnverified(t, "david")
	if _, err := h.p.AddUser(t.Context(), idp.NewUser{Username: "paula", Email: "paula@example.com", EmailVerified: true}); err != nil {
		t.Fatal(err)
	}
	h.addUser(t, "lucas")
	for range 5 {
		h.try(t, addressOf("lucas"), "lucas", "not the password")
	}
}

// addressOf is where somebody of the cast is.
func addressOf(name string) string {
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + slices.Index(castOfStates, name))}).String()
}

// A transcript keeps all that a browser is answered, but for what may differ: nonces, what was typed, and
// the bytes of cookies.
type transcript struct {
	rp.InProcess
	typed  []string
	accept string // in place of the browser's own, "" for that
	mute   bool   // keeps nothing
	text   strings.Builder
	seals  []int // lengths, in the order in which they came
}

var sealed = regexp.MustCompile(`((?:\?|&|&amp;)tx=|name="tx" value="|name="state" value="|challenge&#34;:&#34;)([A-Za-z0-9_-]+)`)

// rowID is what an address or a session of somebody's own is called in their pages.
var rowID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// RoundTrip implements http.RoundTripper.
func (s *transcript) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.accept != "" {
		r.Header.Set("Accept", s.accept)
	}
	answer, err := s.InProcess.RoundTrip(r)
	if err != nil || s.mute {
		return answer, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n%s\n", r.Method, r.URL.Path, answer.Status)
	header := answer.Header.Clone()
	for _, name := range []string{"Date", "X-Request-Id", "Content-Length", "Set-Cookie"} {
		if header.Get(name) != "" {
			header.Set(name, "blank")
		}
	}
	if err := header.Write(&b); err != nil { // sorted
		return nil, err
	}
	for _, c := range answer.Cookies() {
		fmt.Fprintf(&b, "cookie %s of %d bytes%s\n", c.Name, len(c.Value), strings.TrimPrefix(c.Raw, c.Name+"="+c.Value))
	}
	fmt.Fprintf(&b, "%s\n\n", body)
	s.text.WriteString(s.blank(b.String(), answer.Header.Get("X-Request-Id")))
	return answer, nil
}

// blank takes what may differ out of a text.
func (s *transcript) blank(text, requestID string) string {
	text = sealed.ReplaceAllStringFunc(text, func(found string) string {
		part := sealed.FindStringSubmatch(found)
		s.seals = append(s.seals, len(part[2]))
		return part[1] + "blank"
	})
	text = rowID.ReplaceAllString(strings.ReplaceAll(text, requestID, "blank"), "blank")
	typed := slices.Clone(s.typed)
	slices.SortFunc(typed, func(a, b string) int { return len(b) - len(a) }) // an address has a name in it
	for _, what := range typed {
		text = strings.ReplaceAll(strings.ReplaceAll(text, url.QueryEscape(what), "typed"), what, "typed")
	}
	return text
}

// visitor is a browser of somebody of the cast, whose answers are kept.
func (h *house) visitor(name string, typed ...string) (*rp.Browser, *transcript) {
	b := h.from(addressOf(name))
	s := &transcript{InProcess: b.Transport.(rp.InProcess), typed: typed}
	b.Transport = s
	return b, s
}

// sealSlack is by how much two seals of as much may differ: their random bytes are compressed.
const sealSlack = 12

// wantAlike fails the test where what the first of the names is answered is not what the others are.
func wantAlike(t *testing.T, names []string, of map[string]*transcript) {
	t.Helper()
	first := of[names[0]]
	if first.text.Len() == 0 {
		t.Fatal("nothing was answered")
	}
	for _, name := range names[1:] {
		s := of[name]
		if got, want := s.text.String(), first.text.String(); got != want {
			t.Errorf("%s is told from %s: %s", name, names[0], firstDifference(want, got))
			continue
		}
		for i, size := range s.seals {
			if d := size - first.seals[i]; d > sealSlack || d < -sealSlack {
				t.Errorf("%s is told from %s by the length of seal %d: %d, not %d", name, names[0], i, size, first.seals[i])
				break
			}
		}
	}
}

// firstDifference is the first line in which two texts differ, with the request that it belongs to.
func firstDifference(a, b string) string {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	request := ""
	for i := range max(len(left), len(right)) {
		if i == len(left) || i == len(right) {
			return fmt.Sprintf("after %s: %d lines, not %d", request, len(right), len(left))
		}
		if strings.HasPrefix(left[i], "GET /") || strings.HasPrefix(left[i], "POST /") {
			request = left[i]
		}
		if left[i] != right[i] {
			return fmt.Sprintf("%s, line %d\n%s\n%s", request, i, left[i], right[i])
		}
	}
	return ""
}

// asked opens a path of ours within the request of a relying party, or without one where it is nil.
func (h *house) asked(t *testing.T, b *rp.Browser, party *rp.RelyingParty, path string) *rp.Page {
	t.Helper()
	if party == nil {
		return openPage(t, b, path)
	}
	page, err := b.OpenFrom(t.Context(), party.RedirectURI, party.NewRequest("scope", "openid").URL())
	if err != nil {
		t.Fatal(err)
	}
	if path != page.URL.Path {
		page, err = b.OpenFrom(t.Context(), page.URL.String(), testIssuer+path+"?tx="+url.QueryEscape(page.URL.Query().Get("tx")))
	}
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// press sends the form of a page by one of its buttons.
func press(t *testing.T, page *rp.Page, id string) *rp.Page {
	t.Helper()
	form := page.Form()
	if form == nil {
		t.Fatalf("%s has no form:\n%s", page.URL, page.Text())
	}
	next, err := form.Press(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// guess sends wrong codes for as long as a page asks for one, and once more what it asked for first.
func guess(t *testing.T, page *rp.Page, code string) *rp.Page {
	t.Helper()
	asks := page
	for range 5 {
		if form := page.Form(); form != nil && form.Has("code") {
			page = fillIn(t, page, map[string]string{"code": code})
		}
	}
	fillIn(t, asks, map[string]string{"code": code})
	return page
}

// eachParty runs a test within the request of a relying party and without one.
func (h *house) eachParty(t *testing.T, test func(t *testing.T, party *rp.RelyingParty)) {
	t.Run("for a relying party", func(t *testing.T) { test(t, h.party(t)) })
	t.Run("by themselves", func(t *testing.T) { test(t, nil) })
}

func TestS0_23_S1_16_S0_71_WhoeverAsksForAResetIsAnsweredTheSameToTheLastGuess(t *testing.T) {
	h := open(t, storagetest.SQLite(t), inviting)
	h.addCast(t)
	for kind, suffix := range map[string]string{"username": "", "address": "@example.com"} {
		t.Run(kind, func(t *testing.T) {
			h.eachParty(t, func(t *testing.T, party *rp.RelyingParty) {
				told := map[string]*transcript{}
				for _, name := range castOfStates {
					b, s := h.visitor(name, name+suffix)
					told[name] = s
					page := fillIn(t, h.asked(t, b, party, "/reset"), map[string]string{"username": name + suffix})
					if page.URL.Path != "/reset/code" {
						t.Fatalf("%s is at %s", name, page.URL)
					}
					page = guess(t, page, "00000000")
					if !slices.Contains(page.ErrorCodes(), "code_over") {
						t.Errorf("%s: after the last guess: %v", name, page.ErrorCodes())
					}
					openPage(t, b, "/reset/new?tx="+page.URL.Query().Get("tx"))
					s.accept = "application/json"
					guessOnce(t, b, page.URL, "00000000")
				}
				wantAlike(t, castOfStates, told)
			})
		})
	}
}

// guessOnce posts a code by itself, without a page that asks for one.
func guessOnce(t *testing.T, b *rp.Browser, at *url.URL, code string) {
	t.Helper()
	if _, err := b.PostFrom(t.Context(), at.String(), at.String(), url.Values{"code": {code}, "tx": {at.Query().Get("tx")}}); err != nil {
		t.Fatal(err)
	}
}

func TestS0_23_S0_71_WhoeverAsksForACodeToSignInIsAnsweredTheSameToTheLastGuess(t *testing.T) {
	h := open(t, storagetest.SQLite(t), inviting)
	h.addCast(t)
	for kind, suffix := range map[string]string{"username": "", "address": "@example.com"} {
		t.Run(kind, func(t *testing.T) {
			h.eachParty(t, func(t *testing.T, party *rp.RelyingParty) {
				told := map[string]*transcript{}
				for _, name := range castOfStates {
					b, s := h.visitor(name, name+suffix)
					told[name] = s
					page := fillIn(t, h.asked(t, b, party, "/login/code"), map[string]string{"username": name + suffix})
					if page.URL.Path != "/login/code/enter" {
						t.Fatalf("%s is at %s", name, page.URL)
					}
					if page = guess(t, page, "000000"); !slices.Contains(page.ErrorCodes(), "code_over") {
						t.Errorf("%s: after the last guess: %v", name, page.ErrorCodes())
					}
					s.accept = "application/json"
					guessOnce(t, b, page.URL, "000000")
				}
				wantAlike(t, castOfStates, told)
			})
		})
	}
}

// S0-24: an address that somebody has signs up as a free one does, to the last guess and over each mail.
func TestS0_24_WhoeverSignsUpIsAnsweredTheSameToTheLastGuess(t *testing.T) {
	for _, byCode := range []bool{true, false} {
		t.Run("by code "+strconv.FormatBool(byCode), func(t *testing.T) {
			h := open(t, storagetest.SQLite(t), func(c *config.Config) {
				inviting(c)
				c.Email.VerificationByCode = byCode
			})
			h.addCast(t)
			h.eachParty(t, func(t *testing.T, party *rp.RelyingParty) {
				told := map[string]*transcript{}
				for i, name := range castOfStates {
					username, address := "fresh"+strconv.Itoa(i), name+"@example.com"
					b, s := h.visitor(name, username, address)
					told[name] = s
					form := map[string]string{"username": username, "email": address, "password": "seven bridges of Prague"}
					page := fillIn(t, h.asked(t, b, party, "/signup"), form)
					if page.URL.Path != "/verify" {
						t.Fatalf("%s is at %s: %v", address, page.URL, page.ErrorCodes())
					}
					if byCode {
						page = guess(t, page, "000000")
					}
					page = press(t, page, "resend")
					if byCode {
						page = guess(t, page, "000000")
					}
					page = press(t, page, "restart")
					fillIn(t, page, form)
					// A form with mistakes tells of them alone.
					s.accept = "application/json"
					fillIn(t, page, map[string]string{"username": "x", "email": address, "password": "short"})
				}
				wantAlike(t, castOfStates, told)
			})
		})
	}
}

// S0-24: with the limits on, who asks for another mail at once is told to wait, whoever has the address.
func TestS0_24_AnotherMailIsRefusedAlikeWhoeverHasTheAddress(t *testing.T) {
	h := open(t, storagetest.SQLite(t), func(c *config.Config) {
		inviting(c)
		limited(c)
	})
	h.addCast(t)
	at := h.now
	told := map[string]*transcript{}
	for i, name := range castOfStates {
		h.now = at
		username, address := "fresh"+strconv.Itoa(i), name+"@example.com"
		b, s := h.visitor(name, username, address)
		told[name] = s
		page := fillIn(t, openPage(t, b, "/signup"), map[string]string{"username": username, "email": address, "password": "seven bridges of Prague"})
		page = press(t, page, "resend")
		if page = press(t, page, "resend"); page.Status != http.StatusTooManyRequests {
			t.Fatalf("%s: a mail at once: %d %v", address, page.Status, page.ErrorCodes())
		}
		h.now = at.Add(time.Minute)
		guess(t, press(t, page, "resend"), "000000")
		// One more than anybody has guesses, across all tickets.
		fillIn(t, openPage(t, b, "/reset"), map[string]string{"username": address})
		for range 6 {
			page = fillIn(t, openPage(t, b, "/reset"), map[string]string{"username": address})
		}
		if page.Status != http.StatusTooManyRequests {
			t.Errorf("%s: the seventh reset: %d %v", address, page.Status, page.ErrorCodes())
		}
	}
	wantAlike(t, castOfStates, told)
}

// S0-26: a wrong password is answered the same in every state of an account, before it is locked and
// after, as a page and in JSON.
func TestS0_26_AWrongPasswordIsAnsweredTheSameInEveryState(t *testing.T) {
	for kind, suffix := range map[string]string{"username": "", "address": "@example.com"} {
		t.Run(kind, func(t *testing.T) {
			h := open(t, storagetest.SQLite(t), inviting)
			h.addCast(t)
			h.eachParty(t, func(t *testing.T, party *rp.RelyingParty) {
				told := map[string]*transcript{}
				for _, name := range castOfStates {
					b, s := h.visitor(name, name+suffix)
					told[name] = s
					page := h.asked(t, b, party, "/login")
					for range 7 {
						page = fillIn(t, page, map[string]string{"username": name + suffix, "password": "not the password"})
						if page.Status != http.StatusBadRequest || !slices.Equal(slices.Compact(page.ErrorCodes()), []string{"invalid_credentials"}) {
							t.Fatalf("%s: %d %v", name, page.Status, page.ErrorCodes())
						}
					}
					s.accept = "application/json"
					fillIn(t, page, map[string]string{"username": name + suffix, "password": "not the password"})
				}
				wantAlike(t, castOfStates, told)
			})
		})
	}
}

// S0-26: each state differs in a single attempt from a house where nothing was tried before, so that
// the first answer to lucas, who is locked, is the first one of all others.
func TestS0_26_WhoIsLockedIsAnsweredAsAnyoneElseAtOnce(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	h.addCast(t)
	if page := h.try(t, addressOf("lucas"), "lucas", testPassword); signedIn(page) {
		t.Fatal("lucas is not locked out")
	}
	told := map[string]*transcript{}
	for _, name := range castOfStates {
		b, s := h.visitor(name, name)
		told[name] = s
		fillIn(t, openPage(t, b, "/login"), map[string]string{"username": name, "password": "not the password"})
	}
	// His password is right, and is no more than a wrong one.
	b, right := h.visitor("lucas", "lucas")
	told["lucas, right"] = right
	fillIn(t, openPage(t, b, "/login"), map[string]string{"username": "lucas", "password": testPassword})
	wantAlike(t, append(slices.Clone(castOfStates), "lucas, right"), told)
}

// S0-23: who is signed in adds an address that somebody has as one that nobody has, to the last guess.
func TestS0_23_AnAddressIsAddedAlikeWhoeverHasIt(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	h.addCast(t)
	told := map[string]*transcript{}
	for i, name := range castOfStates {
		own, address := "bobby"+strconv.Itoa(i), name+"@example.com"
		h.addUser(t, own)
		b, s := h.visitor(name, address, own, addressOf(name))
		told[name] = s
		s.mute = true
		h.signIn(t, b, own, testPassword)
		s.mute = false
		page := fillIn(t, openPage(t, b, "/account/emails/add"), map[string]string{"email": address})
		if page.URL.Path != "/account/emails/code" {
			t.Fatalf("%s: at %s", address, page.URL)
		}
		again := page
		guess(t, page, "000000")
		page = press(t, again, "resend")
		guess(t, page, "000000")
		openPage(t, b, "/account/emails")
		openPage(t, b, "/account/activity")
		openPage(t, b, "/account")
	}
	wantAlike(t, castOfStates, told)
}
