package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

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
