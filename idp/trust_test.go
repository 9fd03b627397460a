package idp_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

func trustOn(cfg *config.Config) { cfg.MFA.TrustedBrowser.Enabled = true }

// in is a context of a visitor in browser n, which has that device cookie and session.
func in(t testing.TB, n byte, device [32]byte, s idp.SessionToken) context.Context {
	t.Helper()
	return idp.WithVisitor(t.Context(), &idp.Visitor{
		Address: netip.AddrFrom4([4]byte{192, 0, 2, n}), UserAgent: "Browser/1.0", Browser: [32]byte{n}, Device: device, Session: s,
	})
}

// trust signs a user in who has app, in a browser that they trust from then on, and returns the hash of
// its cookie.
func (h *house) trust(t testing.TB, browser byte, name string, a app) ([32]byte, idp.SignedIn) {
	t.Helper()
	ctx, in, v := h.enterPending(t, browser, name)
	s, err := h.ProveByCode(ctx, in, v, a.code(t, 0), true)
	h.clock.turn(30 * time.Second)
	if err != nil || s.Session.State != idp.Live || s.Device == nil {
		t.Fatalf("prove by a code: got %+v and %v", s, err)
	}
	return sha256.Sum256(s.Device[:]), s
}

// state is that of a session of who signs in by password in a browser with that cookie.
func (h *house) state(t testing.TB, device [32]byte, name string) (idp.SessionState, idp.SignedIn) {
	t.Helper()
	s, err := h.LogIn(in(t, 9, device, idp.SessionToken{}), h.BeginOwn("/"), idp.LogIn{Identifier: name, Password: alicePassword})
	if err != nil {
		t.Fatalf("log in as %s: %v", name, err)
	}
	return s.Session.State, s
}

func (h *house) wantState(t testing.TB, what string, device [32]byte, name string, want idp.SessionState) {
	t.Helper()
	if got, s := h.state(t, device, name); got != want || s.Session.Trusted != (want == idp.Live) {
		t.Errorf("%s: the session is %s (trusted %v), want it %s", what, got, s.Session.Trusted, want)
	}
}

func TestS3_41_ATrustedBrowserIsSparedTheSecondFactorAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		laptop, first := h.trust(t, 2, "bob", a)
		if first.Session.Trusted {
			t.Error("the session rests on trust though the factor was proved")
		}
		h.wantState(t, "in that browser", laptop, "bob", idp.Live)
		h.wantState(t, "in another", [32]byte{7}, "bob", idp.Pending)
		h.wantState(t, "without a cookie", [32]byte{}, "bob", idp.Pending)
		h.addUser(t, "alice")
		h.addApp(t, 3, h.enter(t, 3, "alice", alicePassword))
		h.wantState(t, "another user there", laptop, "alice", idp.Pending)
		if err := h.tryAt(t, "192.0.2.9", laptop, "bob", "wrong password"); idp.CodeOf(err) != "invalid_credentials" {
			t.Errorf("without the password: got %v", err)
		}

		_, s := h.state(t, laptop, "bob")
		v := h.visitOf(t, s)
		if got := assuranceOf(h.Assurance(&idp.Interaction{}, v, nil)); got[:4] != "pwd " || got[len(got)-4:] != " pwd" {
			t.Errorf("told is %q, want a password alone", got)
		}
		for asked, want := range map[string]idp.Step{"": idp.NoStep, "essential=mfa": idp.StepFactor, "acr_values=mfa": idp.StepFactor, "acr_values=pwd": idp.NoStep} {
			in := requestOf(t, asked)
			in.Request.Return = "/"
			if got := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); got.Step != want {
				t.Errorf("asked %q: got %+v, want %q", asked, got, want)
			}
		}
		if h.Fresh(v) || idp.SudoOver(h.Provider, v) == nil {
			t.Error("it is a proof for something sensitive")
		}
		again, err := h.Reauthenticate(in(t, 9, laptop, s.Token), v, alicePassword)
		if err != nil || !again.Session.Trusted || h.Fresh(h.visitOf(t, again)) {
			t.Errorf("after the password: %v, trusted %v", err, again.Session.Trusted)
		}
		h.clock.turn(h.cfg.MFA.TrustedBrowser.Lifetime)
		h.wantState(t, "after its time", laptop, "bob", idp.Pending)
		if got := h.count(t, "user.browser_trusted"); got != 1 {
			t.Errorf("%d events, want 1", got)
		}
	}, trustOn)
}

func TestS3_41_ByDefaultNoBrowserIsTrusted(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, made := h.bob(t)
		laptop, _ := h.trust(t, 2, "bob", a)
		h.wantState(t, "in that browser", laptop, "bob", idp.Pending)
		if h.MayTrust(&made.User) || h.count(t, "user.browser_trusted") != 0 {
			t.Errorf("it may be trusted: %s", h.kinds(t))
		}
	})
}

func TestS3_41_NoAdministratorsBrowserIsTrusted(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "chief", Email: "chief@example.com", EmailVerified: true, Password: alicePassword, Admin: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, in, v := h.enterPending(t, 1, "chief") // of whom a factor is required
		a := h.setUpApp(t, ctx, v)
		if _, err := h.ConfirmTOTP(ctx, in, v, a.code(t, 0)); err != nil {
			t.Fatal(err)
		}
		h.clock.turn(30 * time.Second)
		laptop, s := h.trust(t, 2, "chief", a)
		h.wantState(t, "in that browser", laptop, "chief", idp.Pending)
		if h.MayTrust(&s.User) {
			t.Error("it may be trusted")
		}
	}, trustOn)
}

func TestS3_41_S0_38_TrustEndsWithEveryChangeOfPasswordAndFactors(t *testing.T) {
	for name, deed := range map[string]func(t *testing.T, h *house, ctx context.Context, v *idp.Visit) error{
		"password": func(_ *testing.T, h *house, ctx context.Context, v *idp.Visit) error {
			if _, err := h.ChangePassword(ctx, v, alicePassword, newPassword); err != nil {
				return err
			}
			return h.SetPassword(ctx, v.User.ID, alicePassword)
		},
		"password, where sessions go on": func(t *testing.T, h *house, ctx context.Context, v *idp.Visit) error {
			h.cfg.Sessions.EndOnPasswordChange = false
			h.reopen(t)
			s, err := h.ChangePassword(ctx, v, alicePassword, newPassword)
			if err != nil {
				return err
			}
			_, err = h.ChangePassword(in(t, 9, idp.VisitorFrom(ctx).Device, s.Token), h.visitOf(t, s), newPassword, alicePassword)
			return err
		},
		"a further factor": func(t *testing.T, h *house, ctx context.Context, v *idp.Visit) error {
			d := newDevice()
			c, err := h.BeginPasskey(ctx, v)
			if err != nil {
				return err
			}
			_, err = h.AddPasskey(ctx, &idp.Interaction{}, v, c.State, d.create(t, c.Options), "")
			return err
		},
		"in the list": func(t *testing.T, h *house, ctx context.Context, v *idp.Visit) error {
			hash := idp.VisitorFrom(ctx).Device
			return h.EndTrust(ctx, v, hex.EncodeToString(hash[:]))
		},
		"all in the list": func(_ *testing.T, h *house, ctx context.Context, v *idp.Visit) error { return h.EndTrust(ctx, v, "") },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				a, _ := h.bob(t)
				laptop, s := h.trust(t, 2, "bob", a)
				_, resting := h.state(t, laptop, "bob")
				if err := deed(t, h, in(t, 9, laptop, s.Token), h.visitOf(t, s)); err != nil {
					t.Fatal(err)
				}
				h.wantState(t, "afterwards", laptop, "bob", idp.Pending)
				if v, err := h.Visit(t.Context(), resting.Token, ""); err == nil && v.Session.Trusted {
					t.Error("a session rests on the trust still")
				} else if err != nil && !errors.Is(err, idp.ErrNotFound) {
					t.Fatal(err)
				}
			}, trustOn)
		})
	}
}

func TestS3_41_NoSessionIsSparedByATrustThatIsNoMore(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		laptop, s := h.trust(t, 2, "bob", a)
		_, resting := h.state(t, laptop, "bob")
		owes := func(s idp.SignedIn) bool {
			return idp.NextStep(h.BeginOwn("/"), h.visitOf(t, s), h.PolicyFor(nil), h.Now()).Step == idp.StepFactor
		}
		if owes(resting) {
			t.Fatal("a trusted browser is not spared")
		}
		stale := h.visitOf(t, resting)
		if err := h.EndTrust(in(t, 2, laptop, s.Token), h.visitOf(t, s), ""); err != nil {
			t.Fatal(err)
		}
		renewed, err := h.Reauthenticate(in(t, 9, laptop, resting.Token), stale, alicePassword)
		if err != nil || renewed.Session.Trusted || !owes(renewed) {
			t.Errorf("a password that was being checked meanwhile: trusted %v, %v", renewed.Session.Trusted, err)
		}

		laptop, s = h.trust(t, 2, "bob", a)
		_, resting = h.state(t, laptop, "bob")
		h.clock.turn(h.cfg.MFA.TrustedBrowser.Lifetime) // of the browser, not of the session
		s = h.enterWithApp(t, a)
		if err := h.EndTrust(by(t, 4, s.Token), h.visitOf(t, s), ""); err != nil {
			t.Fatal(err)
		}
		if v, err := h.store.Visit(t.Context(), resting.Session.ID, ""); err != nil || v.Session.Trusted {
			t.Errorf("all trust ended after its time: the session is trusted %v, %v", v.Session.Trusted, err)
		}

		laptop, _ = h.trust(t, 2, "bob", a)
		_, resting = h.state(t, laptop, "bob")
		h.cfg.MFA.TrustedBrowser.Enabled = false
		h.reopen(t)
		if !owes(resting) {
			t.Error("where no browser is trusted any more a session is spared")
		}
	}, trustOn)
}

// enterWithApp signs bob in by password and app.
func (h *house) enterWithApp(t testing.TB, a app) idp.SignedIn {
	t.Helper()
	ctx, in, v := h.enterPending(t, 4, "bob")
	s, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.turn(30 * time.Second)
	return s
}

func TestS3_41_TrustedBrowsersAreListedAndEndedAndNobodyElses(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		laptop, _ := h.trust(t, 2, "bob", a)
		phone, s := h.trust(t, 3, "bob", a)
		list := func() (hashes []string) {
			own, err := h.OwnFactors(in(t, 3, phone, s.Token), h.visitOf(t, s))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range own.Trusted {
				hashes = append(hashes, b.Hash)
				if b.Current != (b.Hash == hex.EncodeToString(phone[:])) || b.UserAgent == "" || b.Address == "" || !b.Until.After(h.Now()) {
					t.Errorf("listed is %+v", b)
				}
			}
			return hashes
		}
		if got := list(); len(got) != 2 || got[0] != hex.EncodeToString(phone[:]) {
			t.Fatalf("listed are %q, want the phone and the laptop", got)
		}
		h.addUser(t, "mallory")
		other := h.enter(t, 8, "mallory", alicePassword)
		for _, hash := range []string{hex.EncodeToString(laptop[:]), "nonsense"} {
			if err := h.EndTrust(in(t, 8, [32]byte{}, other.Token), h.visitOf(t, other), hash); !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("by somebody else: got %v, want ErrNotFound", err)
			}
		}
		if err := h.EndTrust(in(t, 3, phone, s.Token), h.visitOf(t, s), hex.EncodeToString(laptop[:])); err != nil {
			t.Fatal(err)
		}
		h.wantState(t, "the laptop", laptop, "bob", idp.Pending)
		h.wantState(t, "the phone", phone, "bob", idp.Live)
		if got := list(); len(got) != 1 || h.count(t, "user.trust_ended") != 1 {
			t.Errorf("listed are %q, events %s", got, h.kinds(t))
		}
	}, trustOn)
}

func TestAPasskeyIsOfferedOnceInABrowserToWhoSignedInByPassword(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		laptop := h.know(t, "192.0.2.1", "alice")
		offers := func(device [32]byte, s idp.SignedIn) bool {
			t.Helper()
			offered, err := h.OfferPasskey(in(t, 1, device, s.Token), h.visitOf(t, s))
			if err != nil {
				t.Fatal(err)
			}
			return offered
		}
		_, s := h.state(t, laptop, "alice")
		if offers([32]byte{}, s) || offers([32]byte{5}, s) {
			t.Error("offered in a browser that is not known")
		}
		if !offers(laptop, s) || offers(laptop, s) {
			t.Error("not offered once")
		}
		if _, s = h.state(t, laptop, "alice"); offers(laptop, s) {
			t.Error("offered again after another sign-in")
		}
		phone := h.know(t, "192.0.2.2", "alice")
		if !offers(phone, s) {
			t.Error("not offered in another browser")
		}
		h.addUser(t, "carol")
		key := newDevice()
		tablet := h.know(t, "192.0.2.3", "carol")
		s = h.addKey(t, 3, h.enter(t, 3, "carol", alicePassword), key)
		if offers(tablet, s) {
			t.Error("offered to who has one")
		}
	})
	for name, change := range map[string]func(*config.Config){
		"the offer is off":  func(cfg *config.Config) { cfg.MFA.WebAuthn.Offer = false },
		"the policy is off": func(cfg *config.Config) { cfg.MFA.Policy = "off" },
	} {
		t.Run(name, func(t *testing.T) {
			h := openSQLite(t, change)
			h.addUser(t, "alice")
			laptop := h.know(t, "192.0.2.1", "alice")
			_, s := h.state(t, laptop, "alice")
			if offered, err := h.OfferPasskey(in(t, 1, laptop, s.Token), h.visitOf(t, s)); offered || err != nil {
				t.Errorf("got %v and %v", offered, err)
			}
		})
	}
}

func TestAnOfferLeavesTheTrustInABrowserAsItIs(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		laptop, s := h.trust(t, 2, "bob", a)
		if offered, err := h.OfferPasskey(in(t, 2, laptop, s.Token), h.visitOf(t, s)); err != nil || !offered {
			t.Fatalf("got %v and %v", offered, err)
		}
		h.wantState(t, "afterwards", laptop, "bob", idp.Live)
	}, trustOn)
}
