package idp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/idp"
)

func TestS0_78_AnAddressIsAddedByItsCodeAndOldAndNewAreTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		in, ctx := &idp.Interaction{}, by(t, 1, s.Token)
		if err := h.AddEmail(ctx, h.visitOf(t, s), in, "alice@work.example"); err != nil {
			t.Fatal(err)
		}
		code := h.only(t, m, "verify_code")
		if code.To != "alice@work.example" || len(code.Args["code"]) != 6 || code.Args["name"] != "" {
			t.Errorf("sent %+v", code)
		}
		if told := h.only(t, m, "email_added"); told.To != "alice@example.com" || told.Args["email"] != "alice@work.example" {
			t.Errorf("told %+v", told)
		}
		wantError(t, h.VerifyOwnEmail(by(t, 9, s.Token), h.visitOf(t, s), in, code.Args["code"]), idp.Denied, "code_wrong", "code")
		if list, err := h.Emails(ctx, h.visitOf(t, s)); err != nil || len(list) != 1 {
			t.Errorf("the addresses are %+v, %v, want the first alone", list, err)
		}
		if err := h.VerifyOwnEmail(ctx, h.visitOf(t, s), in, code.Args["code"]); err != nil {
			t.Fatal(err)
		}
		list, err := h.Emails(ctx, h.visitOf(t, s))
		if err != nil || len(list) != 2 || list[1].Address != "alice@work.example" || list[1].VerifiedAt == nil || list[1].Primary {
			t.Errorf("the addresses are %+v, %v", list, err)
		}
		if got := recipients(h.sent(t, m, "email_verified")); got != "alice@example.com alice@work.example" {
			t.Errorf("told %s, want old and new", got)
		}
		wantError(t, h.VerifyOwnEmail(ctx, h.visitOf(t, s), in, code.Args["code"]), idp.Denied, "code_over", "code")
		wantError(t, h.AddEmail(ctx, h.visitOf(t, s), in, "ALICE@work.example"), idp.Conflict, "email_present", "email")
		wantError(t, h.AddEmail(ctx, h.visitOf(t, s), in, "no address"), idp.Invalid, "email_invalid", "email")
	})
}

func TestAnAddressOfAnothersIsAnsweredLikeAnyOther(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		s := h.enter(t, 1, "alice", alicePassword)
		ctx := by(t, 1, s.Token)
		for _, address := range []string{"bob@example.com", "nobody@example.com"} {
			in := &idp.Interaction{}
			h.clock.turn(5 * time.Minute) // a user's wrong codes are limited
			var err error
			if s, err = h.Reauthenticate(ctx, h.visitOf(t, s), alicePassword); err != nil {
				t.Fatal(err)
			}
			if err := h.AddEmail(ctx, h.visitOf(t, s), in, address); err != nil || in.Ticket.IsZero() {
				t.Errorf("%s: %v, and the ticket %v", address, err, in.Ticket)
			}
			for _, want := range []string{"code_wrong", "code_wrong", "code_over", "code_over"} {
				wantError(t, h.VerifyOwnEmail(ctx, h.visitOf(t, s), in, "000"), idp.Denied, want, "code")
			}
			if list, err := h.Emails(ctx, h.visitOf(t, s)); err != nil || len(list) != 1 {
				t.Errorf("%s: the addresses are %+v, %v", address, list, err)
			}
		}
		if mail := h.only(t, m, "account_exists"); mail.To != "bob@example.com" {
			t.Errorf("sent %+v, want it to bob", mail)
		}
		h.only(t, m, "verify_code")
	})
}

func TestAnotherUsersCodeAddsNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		alice, bob := h.enter(t, 1, "alice", alicePassword), h.enter(t, 1, "bob", alicePassword)
		in := &idp.Interaction{}
		if err := h.AddEmail(by(t, 1, alice.Token), h.visitOf(t, alice), in, "alice@work.example"); err != nil {
			t.Fatal(err)
		}
		code := h.only(t, m, "verify_code").Args["code"]
		wantError(t, h.VerifyOwnEmail(by(t, 1, bob.Token), h.visitOf(t, bob), in, code), idp.Denied, "code_over", "code")
	})
}

func TestChangesOfAddressesAreLimited(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		for i := range 11 {
			err := h.RemoveEmail(by(t, byte(i), s.Token), h.visitOf(t, s), idp.ID{1})
			if want := map[bool]idp.Kind{true: idp.Missing, false: idp.Throttled}[i < 10]; idp.KindOf(err) != want {
				t.Errorf("change %d: got %v", i+1, err)
			}
		}
	})
}

func TestS0_78_AnotherPrimaryAddressCanBeUndoneByTheFormerOneWhateverTheThiefDid(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		s := h.enter(t, 66, "alice", alicePassword)
		evil := h.addAddress(t, m, 66, s, "evil@example.net")
		if err := h.MakePrimary(by(t, 66, s.Token), h.visitOf(t, s), evil.ID); err != nil {
			t.Fatal(err)
		}
		if told := h.only(t, m, "email_primary_changed"); told.To != "evil@example.net" {
			t.Errorf("told %+v, want the new one", told)
		}
		undo := h.only(t, m, "email_revert")
		if undo.To != "alice@example.com" || undo.Args["email"] != "evil@example.net" ||
			undo.Args["expires"] != noon.Add(7*24*time.Hour).Format(time.RFC3339) || !strings.HasPrefix(undo.Args["link"], "https://id.example/account/revert?ticket=") {
			t.Errorf("told %+v", undo)
		}
		h.clock.turn(time.Minute)
		worse := h.addAddress(t, m, 66, s, "worse@example.net")
		if err := h.MakePrimary(by(t, 66, s.Token), h.visitOf(t, s), worse.ID); err != nil {
			t.Fatal(err)
		}
		s, err := h.ChangePassword(by(t, 66, s.Token), h.visitOf(t, s), alicePassword, newPassword)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.DeleteOwn(by(t, 66, s.Token), h.visitOf(t, s)); err != nil {
			t.Fatal(err)
		}

		h.clock.turn(7*24*time.Hour - 2*time.Minute)
		if err := h.RevertEmail(by(t, 1, idp.SessionToken{}), tokenOf(undo.Args["link"])); err != nil {
			t.Fatal(err)
		}
		u, err := h.FindUser(t.Context(), "alice")
		if err != nil || u.Email != "alice@example.com" || !u.EmailVerified || u.Status != idp.Active || u.DeleteAt != nil {
			t.Errorf("alice is %+v, %v", u, err)
		}
		if list, err := h.store.Emails(t.Context(), u.ID); err != nil || len(list) != 1 {
			t.Errorf("the addresses are %+v, %v, want the former one alone", list, err)
		}
		if _, err := h.tryLogIn(t, "198.51.100.1", "alice", newPassword); idp.CodeOf(err) != "invalid_credentials" {
			t.Errorf("the thief's password: got %v", err)
		}
		reset := h.only(t, m, "reset")
		if reset.To != "alice@example.com" {
			t.Errorf("the reset goes to %s", reset.To)
		}
		if err := h.ResetPassword(by(t, 1, idp.SessionToken{}), &idp.Interaction{}, tokenOf(reset.Args["link"]), "a better one than before"); err != nil {
			t.Fatal(err)
		}
		h.enter(t, 1, "alice", "a better one than before")
		wantError(t, h.RevertEmail(by(t, 1, idp.SessionToken{}), tokenOf(undo.Args["link"])), idp.Denied, "link_over", "")
	})
}

func TestS0_78_AfterSevenDaysAChangeOfThePrimaryAddressStays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		work := h.addAddress(t, m, 1, s, "alice@work.example")
		if err := h.MakePrimary(by(t, 1, s.Token), h.visitOf(t, s), work.ID); err != nil {
			t.Fatal(err)
		}
		link := tokenOf(h.only(t, m, "email_revert").Args["link"])
		h.clock.turn(7 * 24 * time.Hour)
		wantError(t, h.RevertEmail(by(t, 1, idp.SessionToken{}), link), idp.Denied, "link_over", "")
	})
}

func TestS0_78_AnAddressThatIsRemovedIsToldAndThePrimaryOneStays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		s, bob := h.enter(t, 1, "alice", alicePassword), h.enter(t, 2, "bob", alicePassword)
		work := h.addAddress(t, m, 1, s, "alice@work.example")
		if err := h.RemoveEmail(by(t, 2, bob.Token), h.visitOf(t, bob), work.ID); idp.KindOf(err) != idp.Missing {
			t.Errorf("bob removes alice's: got %v, want ErrNotFound", err)
		}
		if err := h.MakePrimary(by(t, 2, bob.Token), h.visitOf(t, bob), work.ID); idp.KindOf(err) != idp.Missing {
			t.Errorf("bob takes alice's: got %v, want ErrNotFound", err)
		}
		list, err := h.Emails(t.Context(), h.visitOf(t, s))
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, h.RemoveEmail(by(t, 1, s.Token), h.visitOf(t, s), list[0].ID), idp.Conflict, "email_primary", "email")
		if err := h.RemoveEmail(by(t, 1, s.Token), h.visitOf(t, s), work.ID); err != nil {
			t.Fatal(err)
		}
		if got := recipients(h.sent(t, m, "email_removed")); got != "alice@example.com alice@work.example" {
			t.Errorf("told %s, want both", got)
		}
		if list, err := h.Emails(t.Context(), h.visitOf(t, s)); err != nil || len(list) != 1 || !list[0].Primary {
			t.Errorf("the addresses are %+v, %v", list, err)
		}
	})
}

func TestAThiefsAddressIsMailedNoWayBack(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Second)
		evil := h.addAddress(t, m, 1, s, "evil@example.com")
		change := func(id idp.ID) {
			t.Helper()
			if err := h.MakePrimary(by(t, 1, s.Token), h.visitOf(t, s), id); err != nil {
				t.Fatal(err)
			}
		}
		change(evil.ID)
		list, err := h.Emails(t.Context(), h.visitOf(t, s))
		if err != nil || len(list) != 2 {
			t.Fatalf("got %+v and %v", list, err)
		}
		change(list[1].ID) // alice makes her own address the primary one again
		if mail := h.only(t, m, "email_revert"); mail.To != "alice@example.com" {
			t.Errorf("a way back was sent to %s", mail.To)
		}
		var told []string
		for _, mail := range h.sent(t, m, "email_primary_changed") {
			told = append(told, mail.To+" "+mail.Args["email"])
		}
		slices.Sort(told)
		if got, want := strings.Join(told, ", "), "alice@example.com alice@example.com, evil@example.com alice@example.com, evil@example.com evil@example.com"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	})
}
