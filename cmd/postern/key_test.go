package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
	"postern/storage/storagetest"
)

func TestAKeyThatBecameKnownIsReplacedAndWithdrawn(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		open(t, url, nil)
		keys := func() map[string]string {
			t.Helper()
			var list []keyView
			_, out, _ := command(t, url, "", "key", "list", "--json")
			if err := json.Unmarshal([]byte(out), &list); err != nil {
				t.Fatal(err)
			}
			states := map[string]string{}
			for _, k := range list {
				if k.Alg == "ES256" {
					states[k.ID] = k.State
				}
			}
			return states
		}
		var leaked string
		for kid := range keys() {
			leaked = kid
		}
		if code, _, errs := command(t, url, "", "key", "withdraw", "--", leaked); code != exitFailure ||
			!strings.Contains(errs, "this key signs; rotate first: postern key rotate --now --alg ES256") {
			t.Errorf("the key that signs: exit %d: %s", code, errs)
		}
		_, out, _ := command(t, url, "", "key", "rotate", "--now", "--alg", "ES256")
		hint := regexp.MustCompile(`(?m)^  postern (key withdraw .+)$`).FindStringSubmatch(out)
		if hint == nil || !strings.HasSuffix(hint[1], " "+leaked) {
			t.Fatalf("no hint how to withdraw %s: %s", leaked, out)
		}
		if code, out, errs := command(t, url, "", strings.Fields(hint[1])...); code != exitOK || !strings.HasPrefix(out, "Withdrew the ES256 key "+leaked) {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
		left := keys()
		if _, published := left[leaked]; published || len(left) != 1 {
			t.Errorf("got %v, want the new key alone", left)
		}
	})
}

// I-10: apps and recovery codes that were made under a root key are good while another is added, is put
// first and seals, and the former one cannot be taken away meanwhile.
func TestI10_SecondFactorsOutliveARootKey(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		former, next := testRoot(), secret.NewRootKey(2).String()
		with := func(keys ...string) func(*config.Config) {
			return func(c *config.Config) { c.Secrets.Keys = keys }
		}
		h := open(t, url, with(former))
		h.addUser(t, "bob")
		app := h.giveApp(t, "bob")
		used := 0
		signIn := func(name string, keys ...string) {
			t.Helper()
			now := h.now
			h = open(t, url, with(keys...))
			h.now, app.h = now, h
			for _, code := range []string{app.code(t), app.Recovery[used]} {
				page := h.signIn(t, h.browser(), "bob", testPassword)
				if page = fillIn(t, page, map[string]string{"code": code}); page.URL.Path == "/login/factor" {
					t.Errorf("%s: a code is answered %d %v", name, page.Status, page.ErrorCodes())
				}
			}
			used++
		}
		signIn("the former alone", former)
		signIn("the next behind it", former, next)
		signIn("the next first", next, former)
		if n, err := h.p.ResealFactors(t.Context()); err != nil || n != 1 {
			t.Errorf("resealed %d, %v; want the secret of the app", n, err)
		}
		if _, err := h.p.ResealKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		signIn("resealed", next, former)
		if n, err := h.p.ResealFactors(t.Context()); err != nil || n != 0 {
			t.Errorf("resealed %d again, %v", n, err)
		}
		for _, keys := range [][]string{{next}, {former}, {secret.NewRootKey(2).String(), former}} {
			cfg := *h.cfg
			cfg.Secrets.Keys = keys
			if _, err := newProvider(t.Context(), &cfg, h.store, idp.Options{}); err == nil {
				t.Errorf("a server starts with %d of the root keys, or another", len(keys))
			}
		}
	})
}
