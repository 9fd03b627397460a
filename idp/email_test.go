package idp_test

import (
	"errors"
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
		if m.kinds() != "verify_code" {
			t.Errorf("told %s before the address was proved", m.kinds())
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
		if told := h.only(t, m, "email_added"); told.To != "alice@example.com" || told.Args["email"] != "alice@work.example" || told.Args["not_me"] == "" {
			t.Errorf("the old one was told %+v", told)
		}
		if told := h.only(t, m, "email_verified"); told.To != "alice@work.example" || told.Args["email"] != "alice@work.example" || told.Args["not_me"] != "" {
			t.Errorf("the new one was told %+v", told)
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
		if mail := h.only(t, m, "account_exists"); mail.To != "bob@example.com" || mail.Args["for"] != "address" {
			t.Errorf("sent %+v, want it to bob", mail)
		}
		h.only(t, m, "verify_code")
	})
}

func TestS0_78_WhoDidNotAddAnAddressTakesItOffByTheMailToTheOldestOne(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		alice := h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.clock.turn(time.Minute)
		h.addAddress(t, m, 1, s, "thief@example.net")
		link := h.only(t, m, "email_added").Args["not_me"]
		if !strings.HasPrefix(link, "https://id.example/account/revert?ticket=") {
			t.Fatalf("got the link %q", link)
		}
		// The next one is told to both, and only who had the account before gets a link.
		h.clock.turn(time.Minute)
		h.addAddress(t, m, 1, s, "another@example.net")
		for _, mail := range h.sent(t, m, "email_added")[1:] {
			if (mail.Args["not_me"] != "") != (mail.To == "alice@example.com") {
				t.Errorf("told %+v", mail)
			}
		}
		if err := h.RevertEmail(by(t, 9, idp.SessionToken{}), tokenOf(link)); err != nil {
			t.Fatal(err)
		}
		list, err := h.store.Emails(t.Context(), alice.ID)
		if err != nil || len(list) != 1 || list[0].Address != "alice@example.com" || h.alive(t, s.Token) {
			t.Errorf("left are %+v, %v, and the session lives: %v", list, err, h.alive(t, s.Token))
		}
	})
}

func TestS0_25_AnAddressThatAnotherOnlyClaimsIsWhoseProofComesFirst(t *testing.T) {
	for _, kind := range []string{"true", "strict"} {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				m := h.withPostman(t)
				alice := h.addUser(t, "alice")
				dave := h.addUnverified(t)
				s := h.enter(t, 1, "alice", alicePassword)
				in, ctx := &idp.Interaction{}, by(t, 1, s.Token)
				if err := h.AddEmail(ctx, h.visitOf(t, s), in, "dave@example.com"); err != nil {
					t.Fatal(err)
				}
				mail := h.only(t, m, "verify_code")
				if mail.To != "dave@example.com" {
					t.Errorf("sent %+v", mail)
				}
				// The claim stands until somebody proves more.
				if u, err := h.FindUser(t.Context(), "dave@example.com"); err != nil || u.ID != dave.ID {
					t.Errorf("the address finds %+v and %v, want dave still", u, err)
				}
				if err := h.VerifyOwnEmail(ctx, h.visitOf(t, s), in, mail.Args["code"]); err != nil {
					t.Fatal(err)
				}
				if u, err := h.FindUser(t.Context(), "dave@example.com"); err != nil || u.ID != alice.ID {
					t.Errorf("the address finds %+v and %v, want who proved it", u, err)
				}
			}, enumeration(kind))
		})
	}
}

func TestAnOperatorConfirmsAnAddress(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		dave := h.addUnverified(t)
		bob := h.addUser(t, "bob")
		now := h.Now()
		claim := idp.Email{ID: idp.NewID(now), UserID: bob.ID, Address: "dave@example.com", Key: "dave@example.com", CreatedAt: now}
		if err := h.store.AddEmail(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"other@example.com", "bob@example.com", "nothing"} {
			if _, err := h.ConfirmEmail(t.Context(), dave.ID, address); !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("%s: got %v, want ErrNotFound", address, err)
			}
		}
		for _, address := range []string{"", "DAVE@example.com"} { // the second time there is nothing to do
			if u, err := h.ConfirmEmail(t.Context(), dave.ID, address); err != nil || !u.EmailVerified {
				t.Fatalf("got %+v and %v", u, err)
			}
		}
		if s, err := h.LogIn(atBrowser(t, 1), h.BeginOwn("/"), idp.LogIn{Identifier: "dave@example.com", Password: alicePassword}); err != nil || s.Session.State != idp.Live {
			t.Errorf("got %+v and %v, want dave signed in", s, err)
		}
		if e := h.event(t, "user.email_verified"); e.Actor != "cli" || e.UserID != dave.ID || e.Details["email"] != "dave@example.com" {
			t.Errorf("recorded %+v", e)
		}
		if told := h.only(t, m, "admin_changed"); told.To != "dave@example.com" || told.Args["changes"] != "email" {
			t.Errorf("told %+v", told)
		}
		if _, err := h.ConfirmEmail(t.Context(), bob.ID, "dave@example.com"); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("bob's claim: got %v, want it lost", err)
		}
		if _, err := h.ConfirmEmail(t.Context(), idp.RandomID(), ""); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("nobody: got %v", err)
		}
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
		reset := h.only(t, m, "secured")
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

func TestS0_78_AThiefsWayBackDiesWithTheOwnersRecovery(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		alice := h.addUser(t, "alice")
		s := h.enter(t, 66, "alice", alicePassword)
		h.clock.turn(time.Minute)
		evil := h.addAddress(t, m, 66, s, "evil@example.net")
		owners := h.only(t, m, "email_added").Args["not_me"]
		h.clock.turn(time.Second)
		if err := h.MakePrimary(by(t, 66, s.Token), h.visitOf(t, s), evil.ID); err != nil {
			t.Fatal(err)
		}
		list, err := h.Emails(t.Context(), h.visitOf(t, s))
		if err != nil || len(list) != 2 || list[1].Address != "alice@example.com" {
			t.Fatalf("got %+v and %v", list, err)
		}
		if err := h.RemoveEmail(by(t, 66, s.Token), h.visitOf(t, s), list[1].ID); err != nil {
			t.Fatal(err)
		}
		// The thief's address is the oldest one by now, and is told of the next.
		h.clock.turn(time.Second)
		h.addAddress(t, m, 66, s, "evil2@example.net")
		thiefs := h.latest(t, m, "email_added", "evil@example.net", "not_me")
		if thiefs == "" {
			t.Fatalf("sent %s", m.kinds())
		}
		alarm := h.latest(t, m, "email_removed", "evil@example.net", "not_me")

		h.clock.turn(time.Hour)
		if err := h.RevertEmail(by(t, 1, idp.SessionToken{}), tokenOf(owners)); err != nil {
			t.Fatal(err)
		}
		wantError(t, h.RevertEmail(by(t, 66, idp.SessionToken{}), tokenOf(thiefs)), idp.Denied, "link_over", "")
		wantError(t, h.WasNotMe(by(t, 66, idp.SessionToken{}), tokenOf(alarm)), idp.Denied, "link_over", "")
		if list, err := h.store.Emails(t.Context(), alice.ID); err != nil || len(list) != 1 || list[0].Address != "alice@example.com" {
			t.Errorf("the addresses are %+v, %v, want alice's alone", list, err)
		}
		if to := recipients(h.sent(t, m, "secured")); to != "alice@example.com" {
			t.Errorf("resets went to %s", to)
		}
	})
}

func TestS0_78_TheOwnersWayBackOutlivesTheThiefs(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		alice := h.addUser(t, "alice")
		s := h.enter(t, 66, "alice", alicePassword)
		h.clock.turn(time.Minute)
		evil := h.addAddress(t, m, 66, s, "evil@example.net")
		owners := h.only(t, m, "email_added").Args["not_me"]
		h.clock.turn(time.Second)
		if err := h.MakePrimary(by(t, 66, s.Token), h.visitOf(t, s), evil.ID); err != nil {
			t.Fatal(err)
		}
		list, err := h.Emails(t.Context(), h.visitOf(t, s))
		if err != nil || len(list) != 2 {
			t.Fatalf("got %+v and %v", list, err)
		}
		if err := h.RemoveEmail(by(t, 66, s.Token), h.visitOf(t, s), list[1].ID); err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Second)
		h.addAddress(t, m, 66, s, "evil2@example.net")
		thiefs := h.latest(t, m, "email_added", "evil@example.net", "not_me")
		if err := h.RevertEmail(by(t, 66, idp.SessionToken{}), tokenOf(thiefs)); err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Hour)
		if err := h.RevertEmail(by(t, 1, idp.SessionToken{}), tokenOf(owners)); err != nil {
			t.Fatal(err)
		}
		if list, err := h.store.Emails(t.Context(), alice.ID); err != nil || len(list) != 1 || list[0].Address != "alice@example.com" {
			t.Errorf("the addresses are %+v, %v, want alice's alone", list, err)
		}
	})
}

func TestS0_78_AWayBackEnablesNobodyWhomAnOperatorDisabled(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		alice := h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		h.addAddress(t, m, 1, s, "alice@work.example")
		link := h.only(t, m, "email_added").Args["not_me"]
		if _, err := h.DeleteOwn(by(t, 1, s.Token), h.visitOf(t, s)); err != nil {
			t.Fatal(err)
		}
		if err := h.DisableUser(t.Context(), alice.ID); err != nil {
			t.Fatal(err)
		}
		wantError(t, h.RevertEmail(by(t, 1, idp.SessionToken{}), tokenOf(link)), idp.Denied, "link_over", "")
		if u, err := h.FindUser(t.Context(), "alice"); err != nil || u.Status != idp.Disabled {
			t.Errorf("got %+v and %v, want her disabled", u, err)
		}
	})
}
