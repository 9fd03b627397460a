package idp_test

import (
	"strings"
	"testing"
	"time"

	"postern/idp"
)

// activityOf are the kinds of a user's activity, newest first, read in pages of limit.
func (h *house) activityOf(t testing.TB, v *idp.Visit, limit int) string {
	t.Helper()
	var kinds []string
	var before idp.ID
	for range 100 {
		list, err := h.Activity(t.Context(), v, before, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			kinds = append(kinds, strings.TrimPrefix(e.Kind, "user."))
		}
		if len(list) < limit {
			return strings.Join(kinds, " ")
		}
		before = list[len(list)-1].ID
	}
	t.Fatal("the activity has no end")
	return ""
}

func TestASignInThatWasFinishedIsNotToldAsBegun(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		a, made := h.addApp(t, 1, s)
		v := h.visitOf(t, made.SignedIn)
		finish := func(browser byte) {
			t.Helper()
			ctx, in, pending := h.enterPending(t, browser, "alice")
			if _, err := h.ProveByCode(ctx, in, pending, a.code(t, 0), false); err != nil {
				t.Fatal(err)
			}
			h.clock.turn(time.Minute)
		}
		const setUp = "recovery_codes_made factor_added signed_in added"
		const finished = "factor_proved signed_in "
		for _, c := range []struct {
			name string
			do   func()
			want string
		}{
			{"finished at once", func() { finish(2) }, finished + setUp},
			{"given up", func() { h.enterPending(t, 3, "alice"); h.clock.turn(time.Minute) }, "sign_in_pending " + finished + setUp},
			{"two at a time, of which one is finished", func() { h.enterPending(t, 4, "alice"); finish(5) },
				finished + "sign_in_pending sign_in_pending " + finished + setUp},
		} {
			c.do()
			for _, limit := range []int{1, 2, 3, 100} {
				if got := h.activityOf(t, v, limit); got != c.want {
					t.Errorf("%s, %d a page:\ngot  %s\nwant %s", c.name, limit, got, c.want)
				}
			}
		}
		all, err := h.Personal(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		pending := 0
		for _, e := range all["activity"].([]idp.Event) {
			if e.Kind == "user.sign_in_pending" {
				pending++
			}
		}
		if pending != 4 {
			t.Errorf("the download has %d sign-ins that were begun, want all 4", pending)
		}
	})
}
