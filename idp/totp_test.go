package idp_test

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func TestS3_07_CodesAreThoseOfRFC6238(t *testing.T) {
	// RFC 6238 Appendix B. Its keys are longer than ours for SHA-256.
	sha1, sha256 := []byte("12345678901234567890"), []byte("12345678901234567890123456789012")
	for _, tc := range []struct {
		unix         int64
		sha1, sha256 string
	}{
		{59, "94287082", "46119246"},
		{1111111109, "07081804", "68084774"},
		{1111111111, "14050471", "67062674"},
		{1234567890, "89005924", "91819424"},
		{2000000000, "69279037", "90698825"},
		{20000000000, "65353130", "77737706"},
	} {
		for algorithm, want := range map[otp.Algorithm]string{otp.AlgorithmSHA1: tc.sha1, otp.AlgorithmSHA256: tc.sha256} {
			key := sha1
			if algorithm == otp.AlgorithmSHA256 {
				key = sha256
			}
			for _, digits := range []int{6, 8} {
				got, err := idp.TOTPCode(key, algorithm, digits, tc.unix/30)
				if err != nil || got != want[8-digits:] {
					t.Errorf("at %d by %s: got %s and %v, want %s", tc.unix, algorithm, got, err, want[8-digits:])
				}
			}
		}
	}
}

func TestS3_07_CodesOfOtherTimeStepsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		h.clock.turn(5 * time.Minute)
		for _, tc := range []struct {
			past, future int
			taken        []int64
		}{
			{0, 0, []int64{0}},
			{1, 0, []int64{-1, 0}},
			{2, 1, []int64{-2, -1, 0, 1}},
		} {
			h.cfg.MFA.TOTP.SkewPast, h.cfg.MFA.TOTP.SkewFuture = tc.past, tc.future
			h.reopen(t)
			taken := 0
			for step := int64(-3); step <= 3; step++ {
				h.clock.turn(10 * time.Minute) // to limits that count nothing, and a step that was not taken
				ctx, in, v := h.enterPending(t, 2, "bob")
				_, err := h.ProveByCode(ctx, in, v, a.code(t, step), false)
				if err == nil {
					taken++
					if taken > len(tc.taken) || tc.taken[taken-1] != step {
						t.Errorf("%d past and %d future: the step %d is taken", tc.past, tc.future, step)
					}
					continue
				}
				wantError(t, err, idp.Denied, "code_wrong", "code")
			}
			if taken != len(tc.taken) {
				t.Errorf("%d past and %d future: %d steps are taken, want %v", tc.past, tc.future, taken, tc.taken)
			}
		}
	})
}

func TestS3_07_EightDigitsAndSHA256StayWhenTheSettingsChange(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		a := h.setUpApp(t, ctx, v)
		code := func() string {
			code, err := idp.TOTPCode(a.key, otp.AlgorithmSHA256, 8, h.Now().Unix()/30)
			if err != nil {
				t.Fatal(err)
			}
			return code
		}
		if _, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, code()); err != nil {
			t.Fatal(err)
		}
		h.cfg.MFA.TOTP.Digits, h.cfg.MFA.TOTP.Algorithm = 6, "SHA1"
		h.reopen(t)
		h.clock.turn(time.Minute)
		ctx, in, v := h.enterPending(t, 1, "bob")
		if _, err := h.ProveByCode(ctx, in, v, code(), false); err != nil {
			t.Errorf("after the change: %v", err)
		}
	}, func(cfg *config.Config) { cfg.MFA.TOTP.Digits, cfg.MFA.TOTP.Algorithm = 8, "SHA256" })
}

func TestS3_08_S3_33_TheURIOfAnAppIsReadAsItWasMeant(t *testing.T) {
	key := []byte("12345678901234567890")
	for _, tc := range []struct{ issuer, account string }{
		{"Example", "alice@example.com"},
		{"Ex: ample / Söhne & Co? #1 + 100%", "al:ice/b ob@exämple.com"},
	} {
		uri := idp.TOTPURI(key, tc.issuer, tc.account)
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		label := strings.ReplaceAll(tc.issuer, ":", " ") + ":" + strings.ReplaceAll(tc.account, ":", " ")
		q := u.Query()
		if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/"+label || q.Get("issuer") != tc.issuer ||
			q.Get("secret") != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" || q.Get("algorithm") != "SHA1" || q.Get("digits") != "6" || q.Get("period") != "30" {
			t.Errorf("%s is read as %s %v", uri, u.Path, q)
		}
		if strings.Contains(uri, "+") {
			t.Errorf("%s has a +, which apps show as it is", uri)
		}
	}
}

func TestS3_33_TheIssuerIsThatOfTheSettings(t *testing.T) {
	for _, tc := range []struct{ issuer, brand, want string }{{"Accounts", "Brand", "Accounts"}, {"", "Brand", "Brand"}} {
		t.Run(tc.want, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				h.addUser(t, "bob")
				s := h.enter(t, 1, "bob", alicePassword)
				ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
				h.setUpApp(t, ctx, v)
				if setup, err := h.TOTPSetup(ctx, v); err != nil || setup.Issuer != tc.want || setup.Account != "bob@example.com" || setup.Digits != 6 {
					t.Errorf("got %s for %s and %v", setup.Issuer, setup.Account, err)
				}
			}, func(cfg *config.Config) { cfg.MFA.TOTP.Issuer, cfg.Branding.Name = tc.issuer, tc.brand })
		})
	}
}

func TestS3_09_S3_12_ASecretIsShownWhileItIsSetUpAndNeverAgain(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s, other := h.enter(t, 1, "bob", alicePassword), h.enter(t, 2, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		if _, err := h.TOTPSetup(ctx, v); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("before it begins: %v", err)
		}
		a := h.setUpApp(t, ctx, v)
		if again := h.setUpApp(t, ctx, v); string(again.key) != string(a.key) {
			t.Error("beginning again shows another secret")
		}
		if _, err := h.TOTPSetup(by(t, 2, other.Token), h.visitOf(t, other)); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("in another session: %v", err)
		}
		_, err := h.ConfirmTOTP(by(t, 2, other.Token), &idp.Interaction{}, h.visitOf(t, other), a.code(t, 0))
		if !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("confirmed in another session: %v", err)
		}
		if own := h.ownFactors(t, s); own.App != nil || h.visitOf(t, s).User.HasFactor() {
			t.Error("it counts before its first code")
		}
		if s := h.enter(t, 3, "bob", alicePassword); s.Session.State != idp.Live {
			t.Error("it is asked for before its first code")
		}
		made, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.TOTPSetup(by(t, 1, made.Token), h.visitOf(t, made.SignedIn)); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestS3_12_WhoTakesTooLongBeginsAnew(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		a := h.setUpApp(t, ctx, v)
		h.clock.turn(15 * time.Minute)
		if _, err := h.TOTPSetup(ctx, v); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("after a quarter of an hour: %v", err)
		}
		_, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, 0))
		if !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("confirmed after a quarter of an hour: %v", err)
		}
		if again := h.setUpApp(t, ctx, v); string(again.key) == string(a.key) {
			t.Error("beginning anew shows the same secret")
		}
	}, func(cfg *config.Config) { cfg.Sudo.Required = false })
}

func TestS3_11_SecretsAreRandomInEveryByte(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	seen, values := make(map[string]bool), make([]map[byte]bool, 20)
	for range 1000 {
		key := idp.NewTOTPKey(h.Provider)
		if len(key) != 20 {
			t.Fatalf("a key has %d bytes, want 20", len(key))
		}
		seen[string(key)] = true
		for i, b := range key {
			if values[i] == nil {
				values[i] = make(map[byte]bool)
			}
			values[i][b] = true
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d of 1000 differ", len(seen))
	}
	for i := range values {
		if len(values[i]) < 200 { // of 256, where 251 are to be expected
			t.Errorf("byte %d has %d values", i, len(values[i]))
		}
	}
}

func TestS3_10_ACodeIsOfDigitsAndPeopleTypeSpacesAlong(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		code := a.code(t, 0)
		arabic := strings.Map(func(c rune) rune { return c - '0' + '٠' }, code)
		for _, typed := range []string{
			"", " ", code[:5], code + "123", strings.Repeat("1", 17), strings.Repeat("1", 65), strings.Repeat("x", 1<<20), arabic,
			"0x" + code[:4], "+" + code[:5], code[:5] + "\x00", "\xff\xfe" + code[:4], "abcde-fghi", "uuuuu-uuuuu",
		} {
			_, err := h.ProveByCode(ctx, in, v, typed, false)
			if idp.KindOf(err) != idp.Invalid || idp.CodeOf(err) != "code_malformed" {
				t.Errorf("%.20q: got %v, want code_malformed", typed, err)
			}
			_, err = h.ConfirmTOTP(ctx, in, v, typed)
			if idp.KindOf(err) != idp.Stale {
				t.Errorf("%.20q: confirmed with %v", typed, err)
			}
		}
		if n := h.count(t, "user.factor_failed"); n != 0 {
			t.Errorf("%d of them are counted as guesses", n)
		}
		if _, err := h.ProveByCode(ctx, in, v, " "+code[:3]+"- "+code[3:]+"\n", false); err != nil {
			t.Errorf("with spaces and a hyphen: %v", err)
		}
	})
}

func TestS3_10_EachTimeStepIsTakenOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		code := a.code(t, 0)
		ctx, in, v := h.enterPending(t, 2, "bob")
		if _, err := h.ProveByCode(ctx, in, v, code, false); err != nil {
			t.Fatal(err)
		}
		// In another sign-in, at another surface, and at another node.
		ctx, in, v = h.enterPending(t, 3, "bob")
		_, err := h.ProveByCode(ctx, in, v, code, false)
		wantError(t, err, idp.Denied, "code_used", "code")
		_, err = h.another(t).ProveByCode(by(t, 1, made.Token), &idp.Interaction{}, h.visitOf(t, made.SignedIn), code, false)
		wantError(t, err, idp.Denied, "code_used", "code")
		// And none that is older.
		h.clock.turn(30 * time.Second)
		if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil {
			t.Fatal(err)
		}
		ctx, in, v = h.enterPending(t, 4, "bob")
		_, err = h.ProveByCode(ctx, in, v, a.code(t, -1), false)
		wantError(t, err, idp.Denied, "code_used", "code")
	})
}

func TestS3_10_OfTwentyUsesOfACodeAtATimeOneSucceeds(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		h.wantOneOf20(t, a.code(t, 0), "code_used")
	}, func(cfg *config.Config) { cfg.RateLimits.Off = true })
}

// wantOneOf20 lets bob show a code in 20 browsers at a time, on two nodes.
func (h *house) wantOneOf20(t *testing.T, code, want string) {
	t.Helper()
	nodes := []*house{h, h.another(t)}
	var wg sync.WaitGroup
	answers := make([]error, 20)
	signedIn := make([]idp.SignedIn, 20)
	for i := range answers {
		ctx, in, v := h.enterPending(t, byte(10+i), "bob")
		wg.Go(func() { signedIn[i], answers[i] = nodes[i%2].ProveByCode(ctx, in, v, code, false) })
	}
	wg.Wait()
	right := 0
	for i, err := range answers {
		switch {
		case err == nil && h.alive(t, signedIn[i].Token):
			right++
		case idp.CodeOf(err) != want:
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if right != 1 {
		t.Errorf("%d succeeded, want one", right)
	}
}

func TestS3_13_NobodyBringsASecretOfTheirOwn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		a := h.setUpApp(t, ctx, v)
		// The form has the code alone: the code of another secret is wrong.
		other := app{h, []byte("12345678901234567890")}
		_, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, other.code(t, 0))
		wantError(t, err, idp.Denied, "code_wrong", "code")
		if _, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, 0)); err != nil {
			t.Errorf("the one that was shown: %v", err)
		}
	})
}

func TestS3_14_TheFirstCodeOfAnAppIsUsedByIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		a := h.setUpApp(t, ctx, v)
		if _, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, 0)); err != nil {
			t.Fatal(err)
		}
		ctx, in, v := h.enterPending(t, 2, "bob")
		_, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		wantError(t, err, idp.Denied, "code_used", "code")
	})
}

func TestWhoseClockIsOffIsToldWhileTheySetTheirAppUp(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "bob")
		s := h.enter(t, 1, "bob", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		a := h.setUpApp(t, ctx, v)
		for steps, want := range map[int64]any{-2: int64(60), 1: int64(30), 2: int64(60), -10: int64(300), 10: int64(300), 11: nil, -11: nil} {
			_, err := h.ConfirmTOTP(ctx, &idp.Interaction{}, v, a.code(t, steps))
			if want == nil {
				wantError(t, err, idp.Denied, "code_wrong", "code")
				continue
			}
			wantError(t, err, idp.Denied, "clock_off", "code")
			e, _ := errors.AsType[*idp.Error](err)
			if e.Args["seconds"] != want {
				t.Errorf("%d steps: told %v, want %v", steps, e.Args["seconds"], want)
			}
		}
		if n := h.count(t, "user.factor_failed"); n != 2 {
			t.Errorf("%d are counted as guesses, want 2", n)
		}
		if h.visitOf(t, s).User.HasFactor() {
			t.Error("one of them turned it on")
		}
	})
}

func TestI15_WrongCodesOfAUserAreCountedAcrossSignIns(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		for i := range 5 {
			ctx, in, v := h.enterPending(t, byte(2+i), "bob")
			_, err := h.ProveByCode(ctx, in, v, "000000", false)
			wantError(t, err, idp.Denied, "code_wrong", "code")
		}
		ctx, in, v := h.enterPending(t, 9, "bob")
		_, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		if idp.KindOf(err) != idp.Throttled {
			t.Errorf("the sixth: got %v, want it throttled", err)
		}
		if n := h.count(t, "user.factor_failed"); n != 5 {
			t.Errorf("%d failures are recorded, want 5", n)
		}
		// A recovery code has limits of its own.
		if _, err := h.ProveByCode(ctx, in, v, made.RecoveryCodes[0], false); err != nil {
			t.Errorf("by a recovery code: %v", err)
		}
	})
}

func TestI15_WhoFailsWithMailedCodesInSomebodysNameKeepsNobodyFromTheirApp(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		a, _ := h.bob(t)
		for i := range 2 { // by a stranger, who knows the name alone
			in, stranger := h.BeginOwn("/"), atBrowser(t, byte(50+i))
			if err := h.RequestLogInCode(stranger, in, "bob"); err != nil {
				t.Fatal(err)
			}
			for range h.cfg.Login.Code.MaxAttempts {
				if _, err := h.LogInByCode(stranger, in, "00000x", false); idp.KindOf(err) != idp.Denied && idp.KindOf(err) != idp.Throttled {
					t.Fatalf("a wrong code: got %v", err)
				}
			}
		}
		ctx, in, v := h.enterPending(t, 2, "bob")
		if _, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil {
			t.Errorf("by the app: %v", err)
		}
	}, codesOn)
}

func TestACodeOfAFactorThatIsGoneIsForNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		if err := h.ResetFactors(t.Context(), made.User.ID); err != nil {
			t.Fatal(err)
		}
		_, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		wantError(t, err, idp.Denied, "code_wrong", "code")
		_, err = h.ProveByCode(ctx, in, v, made.RecoveryCodes[0], false)
		wantError(t, err, idp.Denied, "code_wrong", "code")
	})
}

func TestACodeIsForAPendingSessionThatIsStillThere(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		if err := h.SetPassword(t.Context(), made.User.ID, newPassword); err != nil {
			t.Fatal(err)
		}
		_, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		wantError(t, err, idp.Stale, "session_changed", "")
		if got := h.factorsOf(t, made.User.ID)[0].Counter; got == h.Now().Unix()/30 {
			t.Error("the code is used up")
		}
	})
}

func TestS3_43_NoCodeIsRightForEverybody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		for _, code := range []string{"000000", "123456", "111111", "00000000", "00000-00000", "aaaaa-aaaaa"} {
			if _, err := h.ProveByCode(ctx, in, v, code, false); idp.CodeOf(err) != "code_wrong" {
				t.Errorf("%s: got %v, want code_wrong", code, err)
			}
		}
	}, func(cfg *config.Config) { cfg.RateLimits.Off, cfg.Profile = true, "development" })
}
