package idp_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postern/config"
	"postern/idp"
)

const mask = "********************"

// failLogIn fails to sign in.
func (h *house) failLogIn(t testing.TB, name, password string) {
	t.Helper()
	ctx := from(t, "192.0.2.1", idp.SessionToken{})
	_, err := h.LogIn(ctx, &idp.Interaction{Request: idp.Request{ClientID: "shop"}}, idp.LogIn{Identifier: name, Password: password})
	wantError(t, err, idp.Denied, "invalid_credentials", "")
}

func (h *house) attempts(t testing.TB, f idp.AttemptFilter) []idp.Attempt {
	t.Helper()
	list, err := h.Attempts(t.Context(), f, idp.ID{}, 1000)
	if err != nil {
		t.Fatalf("list attempts: %v", err)
	}
	return list
}

func TestS4_34_AFailedSignInLeavesARecord(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		h.failLogIn(t, "alice", "not her password")
		h.failLogIn(t, "zoe", "not her password")
		list := h.attempts(t, idp.AttemptFilter{UserID: u.ID})
		if len(list) != 1 {
			t.Fatalf("got %d attempts in alice's name, want one", len(list))
		}
		a := list[0]
		want := idp.Attempt{
			ID: a.ID, At: h.Now(), Bucket: u.ID.String(), Kind: "sign_in", UserID: u.ID, Name: mask, Address: "192.0.2.1",
			UserAgent: "Browser/1.0", ClientID: "shop", RequestID: "req-1", Why: "wrong_password",
		}
		if a != want {
			t.Errorf("got  %+v\nwant %+v", a, want)
		}
		if all := h.attempts(t, idp.AttemptFilter{}); len(all) != 2 {
			t.Errorf("got %d attempts, want both", len(all))
		}
	})
}

func TestS4_34_WithoutAFailureLogThereIsNoRecord(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.failLogIn(t, "alice", "not her password")
		if list := h.attempts(t, idp.AttemptFilter{}); len(list) != 0 {
			t.Errorf("got %+v, want none", list)
		}
		if got := h.kinds(t); !strings.Contains(got, "user.sign_in_failed") {
			t.Errorf("events %q, want the failure still", got)
		}
	}, func(cfg *config.Config) { cfg.Lockout.FailureLog = false })
}

// fail records a failure of u, or of a name that is nobody's.
func (h *house) fail(t testing.TB, ctx context.Context, kind string, u idp.User, name string) {
	t.Helper()
	a := idp.NewAttempt(h.Provider, ctx, kind, u, name, "", "wrong_password")
	if err := idp.RecordFailure(h.Provider, ctx, idp.Event{Kind: "user.sign_in_failed"}, a, nil); err != nil {
		t.Fatalf("record a failure: %v", err)
	}
}

func TestS4_35_TheRecordOfEachBucketIsBounded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u, ctx := h.addUser(t, "alice"), from(t, "192.0.2.1", idp.SessionToken{})
		for i := range 15 {
			h.clock.turn(time.Second)
			h.fail(t, ctx, "sign_in", u, "alice")
			h.fail(t, ctx, "sign_in", idp.User{}, "nobody "+string(rune('a'+i)))
			h.fail(t, ctx, "honeypot", idp.User{}, "root")
		}
		of := map[string]int{}
		for _, a := range h.attempts(t, idp.AttemptFilter{}) {
			of[a.Bucket]++
			if h.Now().Sub(a.At) >= 10*time.Second {
				t.Errorf("one of %v is kept, want the newest", a.At)
			}
		}
		for _, bucket := range []string{u.ID.String(), "unknown", "honeypot"} {
			if of[bucket] != 10 {
				t.Errorf("%d attempts in the bucket %s, want 10", of[bucket], bucket)
			}
		}
	}, func(cfg *config.Config) { cfg.Lockout.FailureLogPerUser = 10 })
}

func TestS4_27_SensitiveParametersAreMaskedInTheRecord(t *testing.T) {
	for name, tc := range map[string]struct {
		sensitive             []string
		username, address, in string
	}{
		"the default":           {[]string{"username"}, mask, "192.0.2.1", mask},
		"both":                  {[]string{"username", "ip_address"}, mask, mask, mask},
		"the address alone":     {[]string{"ip_address"}, "Zoë", mask, "Zoë"},
		"neither":               {nil, "Zoë", "192.0.2.1", "Zoë"},
		"something else, too":   {[]string{"username", "colour"}, mask, "192.0.2.1", mask},
		"something else, alone": {[]string{"colour"}, "Zoë", "192.0.2.1", "Zoë"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				h.failLogIn(t, "Zoë", "not her password")
				list := h.attempts(t, idp.AttemptFilter{})
				if len(list) != 1 || list[0].Name != tc.username || list[0].Address != tc.address {
					t.Errorf("got %+v, want %s at %s", list, tc.username, tc.address)
				}
				if e := h.event(t, "user.sign_in_failed"); e.Details["username"] != tc.in {
					t.Errorf("the event has the username %v, want %s", e.Details["username"], tc.in)
				}
			}, func(cfg *config.Config) { cfg.Lockout.SensitiveParameters = tc.sensitive })
		})
	}
}

// event is the only event of its kind.
func (h *house) event(t testing.TB, kind string) idp.Event {
	t.Helper()
	list, err := h.Events(t.Context(), idp.ID{}, 1000)
	if err != nil {
		t.Fatalf("list events: %v", err)
	}
	var found []idp.Event
	for _, e := range list {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("got %d events %s, want one", len(found), kind)
	}
	return found[0]
}

func TestS4_64_WhatStrangersSendIsCutAndCleaned(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for i, dirt := range []string{
			"a\x00b", "\xff\xfe\xfd", strings.Repeat("ä", 1<<20), "\x00", "a\r\nb", strings.Repeat("\xf0\x9f", 4096),
		} {
			ctx := idp.WithVisitor(t.Context(), &idp.Visitor{
				Address: netip.MustParseAddr("192.0.2.1"), UserAgent: dirt, RequestID: "req-1", Path: "/login" + dirt, Parameters: "username=" + dirt,
			})
			_, err := h.LogIn(ctx, &idp.Interaction{}, idp.LogIn{Identifier: dirt, Password: dirt})
			wantError(t, err, idp.Denied, "invalid_credentials", "")
			if got := len(h.attempts(t, idp.AttemptFilter{})); got != i+1 {
				t.Fatalf("%d attempts are kept, want %d", got, i+1)
			}
		}
		for _, a := range h.attempts(t, idp.AttemptFilter{}) {
			for name, value := range map[string]string{"name": a.Name, "user agent": a.UserAgent, "path": a.Path, "parameters": a.Parameters} {
				most := 255
				if name == "parameters" {
					most = 1024
				}
				if len(value) > most || !utf8.ValidString(value) || strings.ContainsAny(value, "\x00\r\n") {
					t.Errorf("%s has %d bytes: %.40q…", name, len(value), value)
				}
			}
		}
	}, func(cfg *config.Config) {
		cfg.Lockout.SensitiveParameters, cfg.Lockout.Enabled, cfg.RateLimits.Off = nil, false, true
	})
}

func TestS4_21_FailuresAreLoggedWhereTheSettingsSaySo(t *testing.T) {
	for name, verbose := range map[string]bool{"verbose": true, "quiet": false} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				var log bytes.Buffer
				h.reopenWith(t, func(o *idp.Options) {
					o.Log, o.Security = slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.DiscardHandler)
				})
				u := h.addUser(t, "alice")
				h.failLogIn(t, "alice", "hunter2 hunter2")
				got := log.String()
				if strings.Contains(got, "an attempt failed") != verbose || strings.Contains(got, u.ID.String()) != verbose {
					t.Errorf("logged %q", got)
				}
				if strings.Contains(got, "hunter2") {
					t.Errorf("logged the password: %q", got)
				}
			}, func(cfg *config.Config) { cfg.Lockout.Verbose = verbose })
		})
	}
}

func TestAFailureIsRecordedThoughItsSenderLeft(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx, leave := context.WithCancel(from(t, "192.0.2.1", idp.SessionToken{}))
		leave()
		h.fail(t, ctx, "sign_in", idp.User{}, "zoe")
		if list := h.attempts(t, idp.AttemptFilter{}); len(list) != 1 {
			t.Errorf("got %d attempts, want one", len(list))
		}
	})
}
