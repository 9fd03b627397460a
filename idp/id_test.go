package idp_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"postern/config"
	"postern/idp"
)

func TestIDsOfOneMillisecondAreInTheOrderInWhichTheyWereMade(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 123e6, time.UTC)
	var former idp.ID
	for i := range 100_000 {
		id := idp.NewID(now)
		if bytes.Compare(former[:], id[:]) >= 0 {
			t.Fatalf("the %d. ID is %s, after %s", i, id, former)
		}
		if idp.NewID(now.Add(-time.Hour)).Time() != now.Add(-time.Hour) { // one of another time between them
			t.Fatal("an ID of an hour ago is of another time")
		}
		former = id
	}
	if u := uuid.UUID(former); u.Version() != 7 || u.Variant() != uuid.RFC4122 || !former.Time().Equal(now) {
		t.Errorf("%s has the version %d, the variant %s and the time %s", former, u.Version(), u.Variant(), former.Time())
	}
}

func TestEventsOfADeedAreListedCauseFirst(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		for range 9 { // at one time
			h.failLogIn(t, "alice", "not her password")
			if _, _, err := h.ClearLocks(t.Context(), "alice", netip.Addr{}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			h.caught(t, "203.0.113.1", "root")
		}
		var kinds []string
		list, err := h.Events(t.Context(), idp.ID{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Kind != "user.added" && e.Kind != "key.added" {
				kinds = append(kinds, e.Kind)
			}
		}
		want := slices.Repeat([]string{"user.sign_in_failed", "lockout.triggered", "lockout.cleared"}, 9)
		want = append(want, "honeypot.sprung", "honeypot.sprung", "honeypot.sprung", "block.added")
		if !slices.Equal(kinds, want) {
			t.Errorf("listed %s\nwant   %s", strings.Join(kinds, " "), strings.Join(want, " "))
		}
	}, func(c *config.Config) {
		c.Lockout.Parameters, c.Lockout.Policies = []string{"username+ip_address:1/15m"}, nil
	})
}
