package idp_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
)

var recoveryCodePattern = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{5}-[0-9a-hjkmnp-tv-z]{5}$`)

func TestS3_20_S3_34_RecoveryCodesAreAsManyAsTheSettingsSayAndOf50Bits(t *testing.T) {
	for _, count := range []int{4, 10, 20} {
		t.Run("", func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				_, made := h.bob(t)
				seen := make(map[string]bool)
				for _, code := range made.RecoveryCodes {
					if !recoveryCodePattern.MatchString(code) {
						t.Errorf("one of them is %q", code)
					}
					seen[code] = true
				}
				own := h.ownFactors(t, made.SignedIn)
				if len(seen) != count || own.Recovery.Left != count || own.Recovery.Of != count || !own.Recovery.CreatedAt.Equal(made.Session.LastSeenAt) {
					t.Errorf("there are %d, told as %+v, want %d", len(seen), own.Recovery, count)
				}
			}, func(cfg *config.Config) { cfg.MFA.Recovery.Count = count })
		})
	}
	letters := make([]map[byte]bool, 10)
	for range 2000 {
		for i, c := range []byte(idp.NewRecoveryCode()) {
			if letters[i] == nil {
				letters[i] = make(map[byte]bool)
			}
			letters[i][c] = true
		}
	}
	for i := range letters {
		if len(letters[i]) != 32 {
			t.Errorf("character %d is one of %d, want 32", i, len(letters[i]))
		}
	}
}

func TestS3_21_S3_24_ARecoveryCodeIsTakenHoweverItIsTypedAndOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		_, made := h.bob(t)
		for i, typed := range []func(string) string{
			func(code string) string { return code },
			strings.ToUpper,
			func(code string) string { return " " + strings.ReplaceAll(code, "-", "") + "\n" },
			func(code string) string { return strings.Join(strings.Split(code, ""), " ") },
			strings.NewReplacer("0", "O", "1", "l").Replace,
			strings.NewReplacer("0", "o", "1", "I").Replace,
		} {
			code := typed(made.RecoveryCodes[i])
			ctx, in, v := h.enterPending(t, 2, "bob")
			s, err := h.ProveByCode(ctx, in, v, code, false)
			if err != nil || !h.alive(t, s.Token) {
				t.Fatalf("%q: %v", code, err)
			}
			ctx, in, v = h.enterPending(t, 3, "bob")
			_, err = h.ProveByCode(ctx, in, v, code, false)
			wantError(t, err, idp.Denied, "code_wrong", "code")
			h.clock.turn(time.Hour)
		}
		mails := h.sent(t, m, "recovery_code_used")
		if len(mails) != 6 {
			t.Fatalf("%d mails tell of it, want 6", len(mails))
		}
		left := make(map[string]bool)
		for _, mail := range mails {
			left[mail.Args["left"]] = mail.To == "bob@example.com" && mail.Args["not_me"] != ""
		}
		for _, want := range []string{"9", "8", "7", "6", "5", "4"} {
			if !left[want] {
				t.Errorf("no mail tells that %s are left: %v", want, left)
			}
		}
		if n := h.count(t, "user.recovery_code_used"); n != 6 {
			t.Errorf("%d events tell of it, want 6", n)
		}
		if own, err := h.UserFactors(t.Context(), made.User.ID); err != nil || own.Recovery.Left != 4 || own.Recovery.Of != 10 {
			t.Errorf("left %+v and %v", own.Recovery, err)
		}
	})
}

func TestS3_21_ACodeOfAnotherUserIsNobodys(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		_, alices := h.addApp(t, 3, h.enter(t, 3, "alice", alicePassword))
		h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		_, err := h.ProveByCode(ctx, in, v, alices.RecoveryCodes[0], false)
		wantError(t, err, idp.Denied, "code_wrong", "code")
		if own := h.ownFactors(t, alices.SignedIn); own.Recovery.Left != 10 {
			t.Errorf("alice has %d left", own.Recovery.Left)
		}
	})
}

func TestS3_04_OfTwentyUsesOfARecoveryCodeAtATimeOneSucceeds(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, made := h.bob(t)
		h.wantOneOf20(t, made.RecoveryCodes[0], "code_wrong")
		if own, err := h.UserFactors(t.Context(), made.User.ID); err != nil || own.Recovery.Left != 9 {
			t.Errorf("left %+v and %v", own.Recovery, err)
		}
	}, func(cfg *config.Config) { cfg.RateLimits.Off = true })
}

func TestS3_24_RecoveryCodesAreLimitedMoreStrictlyThanThoseOfAnApp(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		for range 5 {
			_, err := h.ProveByCode(ctx, in, v, "00000-00000", false)
			wantError(t, err, idp.Denied, "code_wrong", "code")
		}
		if _, err := h.ProveByCode(ctx, in, v, made.RecoveryCodes[0], false); idp.KindOf(err) != idp.Throttled {
			t.Errorf("the sixth: got %v, want it throttled", err)
		}
		if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil {
			t.Errorf("by the app: %v", err)
		}
		h.clock.turn(6 * time.Minute) // when the limit of an app has passed
		ctx, in, v = h.enterPending(t, 3, "bob")
		if _, err := h.ProveByCode(ctx, in, v, made.RecoveryCodes[0], false); idp.KindOf(err) != idp.Throttled {
			t.Errorf("after six minutes: got %v, want it throttled", err)
		}
		h.clock.turn(10 * time.Minute)
		ctx, in, v = h.enterPending(t, 3, "bob")
		if _, err := h.ProveByCode(ctx, in, v, made.RecoveryCodes[0], false); err != nil {
			t.Errorf("after a quarter of an hour: %v", err)
		}
	})
}

func TestS3_23_NewRecoveryCodesReplaceTheFormer(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		_, made := h.bob(t)
		ctx, v := by(t, 1, made.Token), h.visitOf(t, made.SignedIn)
		former := h.ownFactors(t, made.SignedIn).Recovery.ID
		codes, err := h.NewRecoveryCodes(ctx, v, former)
		if err != nil || len(codes) != 10 {
			t.Fatalf("got %d and %v", len(codes), err)
		}
		// Whoever sends the form twice does not void what they were shown.
		_, err = h.NewRecoveryCodes(ctx, v, former)
		wantError(t, err, idp.Stale, "page_outdated", "")
		if mail := h.only(t, m, "recovery_codes_made"); mail.To != "bob@example.com" || mail.Args["not_me"] == "" {
			t.Errorf("mailed %+v", mail)
		}
		if !h.alive(t, made.Token) {
			t.Error("the session ended")
		}
		ctx, in, v := h.enterPending(t, 2, "bob")
		_, err = h.ProveByCode(ctx, in, v, made.RecoveryCodes[0], false)
		wantError(t, err, idp.Denied, "code_wrong", "code")
		if _, err := h.ProveByCode(ctx, in, v, codes[0], false); err != nil {
			t.Errorf("a new one: %v", err)
		}
	})
}

func TestS3_28_WhoHasNoFactorGetsNoRecoveryCodes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		_, err := h.NewRecoveryCodes(by(t, 1, s.Token), h.visitOf(t, s), idp.ID{})
		wantError(t, err, idp.Invalid, "no_factor", "")
		if own := h.ownFactors(t, s); own.Recovery != nil {
			t.Errorf("there is %+v", own.Recovery)
		}
	})
}

func TestS3_22_S3_27_RecoveryCodesAreCountedAndNotShown(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, made := h.bob(t)
		list, err := h.Checklist(t.Context(), h.visitOf(t, made.SignedIn))
		if err != nil || !list.HasFactor || list.HasPasskey || list.RecoveryLeft != 10 {
			t.Errorf("got %+v and %v", list, err)
		}
		ctx, in, v := h.enterPending(t, 2, "bob")
		if _, err := h.ProveByCode(ctx, in, v, made.RecoveryCodes[3], false); err != nil {
			t.Fatal(err)
		}
		if list, err := h.Checklist(t.Context(), h.visitOf(t, made.SignedIn)); err != nil || list.RecoveryLeft != 9 {
			t.Errorf("got %+v and %v", list, err)
		}
		h.addUser(t, "alice")
		if list, err := h.Checklist(t.Context(), h.visitOf(t, h.enter(t, 3, "alice", alicePassword))); err != nil || list.HasFactor || list.RecoveryLeft != 0 {
			t.Errorf("alice: got %+v and %v", list, err)
		}
	})
}

func TestRecoveryCodesOutliveARotationOfTheRootKey(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		h.ring = ringOf(t, 2, 1)
		h.reopen(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		if _, err := h.ProveByCode(ctx, in, v, made.RecoveryCodes[0], false); err != nil {
			t.Errorf("a recovery code: %v", err)
		}
		ctx, in, v = h.enterPending(t, 3, "bob")
		if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil {
			t.Errorf("a code of the app: %v", err)
		}
	})
}

func TestI10_SecretsOfAppsAreResealedAndThoseThatDoNotOpenAreNamed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		_, alices := h.addApp(t, 3, h.enter(t, 3, "alice", alicePassword))
		a, made := h.bob(t)
		broken := h.factorsOf(t, alices.User.ID)[0]
		former := broken.Sealed
		broken.Sealed = append([]byte{0, 9}, former[2:]...)
		if err := h.store.ResealFactor(t.Context(), broken, former); err != nil {
			t.Fatal(err)
		}
		h.ring = ringOf(t, 2, 1)
		h.reopen(t)
		n, err := h.ResealFactors(t.Context())
		if n != 1 || err == nil || !strings.Contains(err.Error(), broken.ID.String()) {
			t.Errorf("resealed %d and %v, want one, and the other named", n, err)
		}
		if got := h.event(t, "key.factors_resealed").Details["count"]; got != float64(1) {
			t.Errorf("the event counts %v", got)
		}
		if got := secret.SealedBy(h.factorsOf(t, made.User.ID)[0].Sealed); got != 2 {
			t.Errorf("it is sealed by the key %d", got)
		}
		ctx, in, v := h.enterPending(t, 2, "bob")
		if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil {
			t.Errorf("a code of the app: %v", err)
		}
		if n, _ := h.ResealFactors(t.Context()); n != 0 {
			t.Errorf("again: resealed %d", n)
		}
		// Nothing is known of a secret that does not open, and no code is right.
		h.clock.turn(time.Hour)
		ctx, in, v = h.enterPending(t, 3, "alice")
		if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err == nil || idp.KindOf(err) == idp.Denied {
			t.Errorf("a code of the broken one: %v", err)
		}
	})
}
