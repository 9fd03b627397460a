//go:build unix

package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/conformance/timetest"
	"postern/idp"
	loginui "postern/login-ui"
	"postern/storage"
	"postern/storage/storagetest"
)

// A stopwatch is the wire of a browser. It runs while a request is under way, and knows the rest of
// what the person would have waited: a wait is counted and not waited.
type stopwatch struct {
	rp.InProcess
	t      testing.TB
	began  time.Time    // of the request under way, and the clock of the server stands at epoch then
	epoch  time.Time    // so that what is kept for seconds alone is fresh for all of the test
	waited atomic.Int64 // of the request under way, in nanoseconds

	wall, cpu time.Duration // of all requests
}

// RoundTrip implements http.RoundTripper.
func (s *stopwatch) RoundTrip(r *http.Request) (*http.Response, error) {
	s.waited.Store(0)
	cpu := timetest.CPU(s.t)
	s.began = time.Now()
	answer, err := s.InProcess.RoundTrip(r)
	s.wall += time.Since(s.began) + time.Duration(s.waited.Load())
	s.cpu += timetest.CPU(s.t) - cpu
	return answer, err
}

func (s *stopwatch) now() time.Time { return s.epoch.Add(time.Since(s.began)) }

func (s *stopwatch) wait(_ context.Context, d time.Duration) { s.waited.Add(int64(d)) }

// browser is one whose requests are timed.
func (s *stopwatch) browser() *rp.Browser {
	return &rp.Browser{Transport: s, Now: func() time.Time { return s.epoch }}
}

// measures are what somebody sees, and beside it the processors, which no rounding of answers hides.
func (s *stopwatch) measures(unseen func(a, b []time.Duration) string) []timetest.Measure {
	return []timetest.Measure{
		{Name: "time", Read: func() time.Duration { return s.wall }, Apart: timetest.Apart},
		{Name: "CPU", Read: func() time.Duration { return s.cpu }, Apart: unseen},
	}
}

// unhashed is more than any two answers without a hash differ by, and less than the least of hashes.
const unhashed = time.Millisecond

// A counted store tells when the schemes of its passwords were counted.
type countedStore struct {
	*storage.Store
	once    sync.Once
	counted chan struct{}
}

// PasswordSchemes implements idp.Store.
func (s *countedStore) PasswordSchemes(ctx context.Context) (map[string]int, error) {
	defer s.once.Do(func() { close(s.counted) })
	return s.Store.PasswordSchemes(ctx)
}

// timed makes h a server with the hashes of production and the clock of a stopwatch, which counts waits
// and passes over them. The server knows what passwords are in store.
func (h *house) timed(t *testing.T) *stopwatch {
	t.Helper()
	s := &stopwatch{t: t, epoch: h.now, began: time.Now()}
	h.timedBy(t, s, s.wait)
	return s
}

// timedBy is timed with a wait of the caller's, nil for one that is waited.
func (h *house) timedBy(t *testing.T, s *stopwatch, wait func(context.Context, time.Duration)) {
	t.Helper()
	h.cfg.Password = config.Default().Password
	store := &countedStore{Store: h.store, counted: make(chan struct{})}
	log := slog.New(slog.DiscardHandler)
	mailer, err := loginui.NewMailer(h.cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.p, err = newProvider(t.Context(), h.cfg, store, idp.Options{Now: s.now, Wait: wait, Log: log, Mailer: mailer}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.p.Run(ctx) }()
	<-store.counted
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if h.site, err = newSite(h.p, h.cfg, log); err != nil {
		t.Fatal(err)
	}
	s.InProcess = rp.InProcess{Handler: h}
}

// unlocked are the settings by which somebody may fail as often as a comparison wants.
func unlocked(c *config.Config) {
	inviting(c)
	c.Lockout.Enabled = false
	c.Password = config.Default().Password
}

// sends is a deed: the form of a page is filled in, and sent for the time that counts. A # in what is
// typed stands for the number of the time.
func (s *stopwatch) sends(t *testing.T, name, path string, fields map[string]string) timetest.Deed {
	return timetest.Deed{Name: name, Ready: func(n int) func() {
		page := openPage(t, s.browser(), path)
		filled := map[string]string{}
		for field, value := range fields {
			filled[field] = strings.ReplaceAll(value, "#", strconv.Itoa(100+n))
		}
		return func() { fillIn(t, page, filled) }
	}}
}

// signsIn is a deed: a wrong password of a name.
func (s *stopwatch) signsIn(t *testing.T, name string) timetest.Deed {
	return s.sends(t, name, "/login", map[string]string{"username": name, "password": "not the password"})
}

func TestS0_27_I21_AWrongPasswordCostsTheSameInEveryState(t *testing.T) {
	timetest.Alone(t)
	h := open(t, storagetest.SQLite(t), unlocked)
	h.addCast(t)
	s := h.timed(t)
	var deeds []timetest.Deed
	for _, name := range []string{"alice", "zel#", "erika", "david", "paula"} {
		deeds = append(deeds, s.signsIn(t, name))
	}
	timetest.Compare(t, s.measures(timetest.Apart), deeds...)
}

// S0-26: who is locked out in silence is answered as late as somebody whose password was compared.
func TestS0_26_I21_ALockedNameCostsTheSameTime(t *testing.T) {
	timetest.Alone(t)
	h := open(t, storagetest.SQLite(t), func(c *config.Config) {
		c.Password = config.Default().Password
		c.Lockout.Parameters = []string{"username:1000/15m"}
		c.Lockout.Policies = []string{"group=fragile => username:1/15m"}
	})
	h.addUser(t, "alice")
	if _, err := h.p.AddUser(t.Context(), idp.NewUser{
		Username: "lucas", Email: "lucas@example.com", EmailVerified: true, Password: testPassword, Groups: idp.List{"fragile"},
	}); err != nil {
		t.Fatal(err)
	}
	h.try(t, "192.0.2.1", "lucas", "not the password")
	// A hash leaves little in the caches of the processor, so that the page after it is slower by a
	// quarter of a millisecond. It is not where both had waited, as both do.
	s := &stopwatch{t: t, epoch: h.now, began: time.Now()}
	h.timedBy(t, s, nil)
	if page := h.signIn(t, s.browser(), "lucas", testPassword); page.URL.Path != "/login" {
		t.Fatalf("lucas is not locked out: at %s", page.URL)
	}
	timetest.Compare(t, s.measures(func(_, _ []time.Duration) string { return "" }), s.signsIn(t, "alice"), s.signsIn(t, "lucas"))
}

// The hashes of other programs, of passwords that nobody knows.
const bcryptHash = "$2b$10$op8.L5nVczyr6Nf.iww2zeINzpoW9catNVQgsSH6nmZ70xTkkdsIy"

func djangoHash(t *testing.T) string {
	t.Helper()
	const iterations = 600_000 // of Django 4.2
	key, err := pbkdf2.Key(sha256.New, rand.Text(), []byte("seasalt"), iterations, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("pbkdf2_sha256$%d$seasalt$%s", iterations, base64.StdEncoding.EncodeToString(key))
}

func TestS0_27_I21_AnImportedHashCostsWhatNamesOfNobodyDo(t *testing.T) {
	timetest.Alone(t)
	django := djangoHash(t)
	for name, hashes := range map[string][]string{
		"bcrypt alone":            {bcryptHash},
		"bcrypt, Django and ours": {bcryptHash, django, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, storagetest.SQLite(t), unlocked)
			for i, hash := range hashes {
				owner := "user" + strconv.Itoa(i)
				if hash == "" {
					h.addUser(t, owner)
				} else if told, err := h.p.ImportUser(t.Context(), idp.ImportedUser{Username: owner, PasswordHash: hash}, false); err != nil || told.Status != idp.ImportAdded {
					t.Fatalf("%+v, %v", told, err)
				}
			}
			s := h.timed(t)
			var users []timetest.Deed
			for i := range hashes {
				users = append(users, s.signsIn(t, "user"+strconv.Itoa(i)))
			}
			each := timetest.Deed{Name: "users", Ready: func(n int) func() { return users[n%len(users)].Ready(n) }}
			timetest.Compare(t, s.measures(timetest.Apart), each, s.signsIn(t, "zel#"))
		})
	}
}

func TestS0_23_S1_16_AResetCostsTheSameInEveryState(t *testing.T) {
	timetest.Alone(t)
	h := open(t, storagetest.SQLite(t), inviting)
	h.addCast(t)
	s := h.timed(t)
	for path, pages := range map[string]string{"/reset": "/reset/code", "/login/code": "/login/code/enter"} {
		t.Run(path, func(t *testing.T) {
			var asked, guessed []timetest.Deed
			for _, name := range castOfStates {
				form := map[string]string{"username": name + "@example.com"}
				asked = append(asked, s.sends(t, name, path, form))
				guessed = append(guessed, timetest.Deed{Name: name + "'s code", Ready: func(int) func() {
					page := fillIn(t, openPage(t, s.browser(), path), form)
					if page.URL.Path != pages {
						t.Fatalf("%s is at %s", name, page.URL)
					}
					return func() { fillIn(t, page, map[string]string{"code": "00000000"}) }
				}})
			}
			timetest.Compare(t, s.measures(timetest.ApartBy(unhashed)), asked...)
			timetest.Compare(t, s.measures(timetest.ApartBy(unhashed)), guessed...)
		})
	}
}

func TestS0_24_I21_ASignUpCostsTheSameWhoeverHasTheAddress(t *testing.T) {
	timetest.Alone(t)
	h := open(t, storagetest.SQLite(t), unlocked)
	h.addCast(t)
	s := h.timed(t)
	signsUp := func(username, address string) timetest.Deed {
		return s.sends(t, address, "/signup", map[string]string{"username": username, "email": address, "password": "seven bridges of Prague"})
	}
	timetest.Compare(t, s.measures(timetest.Apart),
		signsUp("fresh#", "alice@example.com"), signsUp("other#", "zel#@example.com"), signsUp("third#", "david@example.com"))

	var guessed []timetest.Deed
	for _, name := range []string{"alice", "zelda"} {
		page := fillIn(t, openPage(t, s.browser(), "/signup"), map[string]string{
			"username": "joins" + name, "email": name + "@example.com", "password": "seven bridges of Prague",
		})
		guessed = append(guessed, timetest.Deed{Name: name + "'s code", Ready: func(int) func() {
			again := press(t, page, "resend")
			return func() { fillIn(t, again, map[string]string{"code": "000000"}) }
		}})
	}
	timetest.Compare(t, s.measures(timetest.ApartBy(unhashed)), guessed...)
}
