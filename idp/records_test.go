package idp_test

import (
	"reflect"
	"testing"
	"time"

	"postern/idp"
)

func TestS4_14_S4_61_RecordsAreListedByFilterAndListingChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice := h.addUser(t, "alice")
		h.failLogIn(t, "alice", "not her password")
		h.clock.turn(time.Minute)
		if _, err := h.tryLogIn(t, "198.51.100.66", "zoe", "anything"); err == nil {
			t.Fatal("nobody signed in")
		}
		in := h.logIn(t, "alice", idp.SessionToken{})
		for name, tc := range map[string]struct {
			filter idp.AttemptFilter
			want   int
		}{
			"all":        {idp.AttemptFilter{}, 2},
			"by user":    {idp.AttemptFilter{UserID: alice.ID}, 1},
			"by address": {idp.AttemptFilter{Address: "198.51.100.66"}, 1},
			"by kind":    {idp.AttemptFilter{Kind: "honeypot"}, 0},
			"by time":    {idp.AttemptFilter{Since: h.Now().Add(-time.Second)}, 1},
			"by both":    {idp.AttemptFilter{UserID: alice.ID, Address: "198.51.100.66"}, 0},
		} {
			first := h.attempts(t, tc.filter)
			if again := h.attempts(t, tc.filter); len(first) != tc.want || !reflect.DeepEqual(first, again) {
				t.Errorf("%s: got %d and then %d, want %d", name, len(first), len(again), tc.want)
			}
		}
		if list := h.accesses(t, idp.AccessFilter{Address: "198.51.100.66"}); len(list) != 0 {
			t.Errorf("accesses from elsewhere: %+v", list)
		}
		if list := h.accesses(t, idp.AccessFilter{UserID: alice.ID}); len(list) != 1 || list[0].ID != in.Session.ID {
			t.Errorf("alice's accesses: %+v", list)
		}
	})
}
