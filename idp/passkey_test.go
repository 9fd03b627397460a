package idp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"postern/config"
	"postern/idp"
)

// A device is an authenticator with one key, which verifies its user.
type device struct {
	virtualwebauthn.Authenticator
	site virtualwebauthn.RelyingParty // where it is used
	key  virtualwebauthn.Credential
}

func newDevice() *device {
	d := &device{
		Authenticator: virtualwebauthn.NewAuthenticator(),
		site:          virtualwebauthn.RelyingParty{ID: "id.example", Origin: "https://id.example"},
	}
	// It writes a coordinate that begins with a zero a byte too short, which authenticators do not.
	const coseKey = 77 // bytes (RFC 9053 §7.1.1)
	for d.key.Key == nil || len(d.key.Key.AttestationData()) != coseKey {
		d.key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return d
}

// create answers the options of a registration.
func (d *device) create(t testing.TB, options []byte) string {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	d.Options.UserHandle = []byte(parsed.UserID)
	return virtualwebauthn.CreateAttestationResponse(d.site, d.Authenticator, d.key, *parsed)
}

// get answers the options of an assertion.
func (d *device) get(t testing.TB, options []byte) string {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return virtualwebauthn.CreateAssertionResponse(d.site, d.Authenticator, d.key, *parsed)
}

// addKey registers d's key in the session s of a browser.
func (h *house) addKey(t testing.TB, browser byte, s idp.SignedIn, d *device) idp.SignedIn {
	t.Helper()
	ctx, v := by(t, browser, s.Token), h.visitOf(t, s)
	c, err := h.BeginPasskey(ctx, v)
	if err != nil {
		t.Fatalf("begin a registration: %v", err)
	}
	enrolled, err := h.AddPasskey(ctx, &idp.Interaction{}, v, c.State, d.create(t, c.Options), "")
	if err != nil {
		t.Fatalf("add a passkey: %v", err)
	}
	return enrolled.SignedIn
}

// withKey adds a user with a passkey, who is signed in in browser 1.
func (h *house) withKey(t testing.TB, name string) (*device, idp.SignedIn) {
	t.Helper()
	h.addUser(t, name)
	d := newDevice()
	return d, h.addKey(t, 1, h.enter(t, 1, name, alicePassword), d)
}

// enterByKey signs in by d alone.
func (h *house) enterByKey(t testing.TB, ctx context.Context, d *device) (idp.SignedIn, error) {
	t.Helper()
	c, err := h.BeginPasskeyLogIn(ctx)
	if err != nil {
		t.Fatalf("begin a sign-in: %v", err)
	}
	return h.LogInByPasskey(ctx, &idp.Interaction{}, c.State, d.get(t, c.Options), false)
}

// halfIn signs in by password in a browser where a second factor is owed.
func (h *house) halfIn(t testing.TB, browser byte, name string) (context.Context, *idp.Visit) {
	t.Helper()
	s := h.enter(t, browser, name, alicePassword)
	if s.Session.State != idp.Pending {
		t.Fatalf("the session of %s is %s, want it pending", name, s.Session.State)
	}
	visitor := *idp.VisitorFrom(by(t, browser, idp.SessionToken{}))
	visitor.Pending = s.Token
	ctx := idp.WithVisitor(t.Context(), &visitor)
	v, err := h.PendingVisit(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	return ctx, v
}

// inDocument decodes a JSON document and follows names into it.
func inDocument(t testing.TB, document []byte, path ...string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		v, _ = v.(map[string]any)[name]
	}
	return v
}

func TestS3_15_S3_26_ARegistrationIsForItsUserAndTellsNothingOfThem(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		begin := func(s idp.SignedIn) []byte {
			c, err := h.BeginPasskey(by(t, 1, s.Token), h.visitOf(t, s))
			if err != nil {
				t.Fatal(err)
			}
			return c.Options
		}
		one, two := begin(s), begin(s)
		handle := inDocument(t, one, "user", "id").(string)
		raw, err := base64.RawURLEncoding.DecodeString(handle)
		if err != nil || len(raw) != 64 || handle == inDocument(t, two, "user", "id") || strings.Contains(string(raw), string(u.ID[:])) {
			t.Errorf("got the user handle %s, want 64 random bytes", handle)
		}
		if got := inDocument(t, one, "rp"); !reflect.DeepEqual(got, map[string]any{"id": "id.example", "name": "Kiosk"}) {
			t.Errorf("got rp %v", got)
		}
		if inDocument(t, one, "user", "name") != "alice" || inDocument(t, one, "attestation") != "none" || inDocument(t, one, "excludeCredentials") != nil {
			t.Errorf("got %s", one)
		}
		d := newDevice()
		s = h.addKey(t, 1, s, d)
		again := begin(s)
		if inDocument(t, again, "user", "id") != base64.RawURLEncoding.EncodeToString(d.Options.UserHandle) {
			t.Error("the second key has another user handle: one device would keep two of an account")
		}
		want := []any{map[string]any{"type": "public-key", "id": base64.RawURLEncoding.EncodeToString(d.key.ID)}}
		if got := inDocument(t, again, "excludeCredentials"); !reflect.DeepEqual(got, want) {
			t.Errorf("excluded: got %v, want %v", got, want)
		}
	}, func(cfg *config.Config) { cfg.MFA.WebAuthn.RPName = "Kiosk" })
}

func TestS3_16_ARegistrationIsForOneSessionOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		alice, elsewhere, bob := h.enter(t, 1, "alice", alicePassword), h.enter(t, 2, "alice", alicePassword), h.enter(t, 1, "bob", alicePassword)
		d := newDevice()
		begin := func() (string, string) {
			c, err := h.BeginPasskey(by(t, 1, alice.Token), h.visitOf(t, alice))
			if err != nil {
				t.Fatal(err)
			}
			return c.State, d.create(t, c.Options)
		}
		state, answer := begin()
		add := func(browser byte, s idp.SignedIn, state, answer string) error {
			_, err := h.AddPasskey(by(t, browser, s.Token), &idp.Interaction{}, h.visitOf(t, s), state, answer, "")
			return err
		}
		for name, err := range map[string]error{
			"another session of hers": add(2, elsewhere, state, answer),
			"her session elsewhere":   add(2, alice, state, answer),
			"no browser at all":       add(0, alice, state, answer),
			"another user":            add(1, bob, state, answer),
			"what is no state":        add(1, alice, "x", answer),
			"a state that was cut":    add(1, alice, state[:len(state)-2], answer),
		} {
			if idp.KindOf(err) != idp.Stale || idp.CodeOf(err) != "ceremony_over" {
				t.Errorf("%s: got %v, want ceremony_over", name, err)
			}
		}
		ofLogIn, err := h.BeginPasskeyLogIn(by(t, 1, alice.Token))
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, add(1, alice, ofLogIn.State, answer), idp.Stale, "ceremony_over", "")
		other, _ := begin()
		wantError(t, add(1, alice, other, answer), idp.Denied, "passkey_refused", "")
		wantError(t, add(1, alice, state, "{}"), idp.Denied, "passkey_refused", "")
		d.site.Origin = "https://evil.example"
		foreign, forged := begin()
		d.site.Origin = "https://id.example"
		wantError(t, add(1, alice, foreign, forged), idp.Denied, "passkey_refused", "")

		v := h.visitOf(t, alice)
		enrolled, err := h.AddPasskey(by(t, 1, alice.Token), &idp.Interaction{}, v, state, answer, " Blue key ")
		if err != nil {
			t.Fatal(err)
		}
		alice = enrolled.SignedIn
		if h.alive(t, elsewhere.Token) || len(enrolled.RecoveryCodes) != 10 {
			t.Error("it changed nothing else")
		}
		wantError(t, add(1, alice, state, answer), idp.Stale, "ceremony_over", "") // again
		late, answer := begin()
		h.clock.turn(5 * time.Minute)
		wantError(t, add(1, alice, late, answer), idp.Stale, "ceremony_over", "")
		own, err := h.OwnFactors(t.Context(), h.visitOf(t, alice))
		if err != nil || len(own.Passkeys) != 1 || own.Passkeys[0].Name != "Blue key" || !reflect.DeepEqual(own.Accepted, [][]byte{d.key.ID}) {
			t.Errorf("got %+v, %v", own, err)
		}
	})
}

func TestS3_16_ACredentialIsOneUsersOnly(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		h.addUser(t, "bob")
		bob := h.enter(t, 2, "bob", alicePassword)
		c, err := h.BeginPasskey(by(t, 2, bob.Token), h.visitOf(t, bob))
		if err != nil {
			t.Fatal(err)
		}
		other := newDevice()
		other.key.ID = d.key.ID
		_, err = h.AddPasskey(by(t, 2, bob.Token), &idp.Interaction{}, h.visitOf(t, bob), c.State, other.create(t, c.Options), "")
		wantError(t, err, idp.Denied, "passkey_known", "")
		if u, err := h.store.User(t.Context(), bob.User.ID); err != nil || len(u.Factors) != 0 || u.Epoch != bob.User.Epoch {
			t.Errorf("bob changed: %+v, %v", u, err)
		}
	})
}

func TestS3_26_WhoMayNotAddAFactorAddsNoPasskey(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		c, err := h.BeginPasskey(ctx, v)
		if err != nil {
			t.Fatal(err)
		}
		answer := newDevice().create(t, c.Options)
		h.clock.turn(h.cfg.Sudo.Timeout + time.Second)
		_, err = h.BeginPasskey(ctx, v)
		wantError(t, err, idp.Denied, "reauthenticate", "")
		_, err = h.AddPasskey(ctx, &idp.Interaction{}, v, c.State, answer, "")
		wantError(t, err, idp.Denied, "reauthenticate", "")
		v.User.EmailVerified = false
		_, err = h.BeginPasskey(ctx, v)
		wantError(t, err, idp.Denied, "email_unverified", "")
	})
}

func TestS3_19_ANameIsShortAndByDefaultTheModels(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		d := newDevice()
		d.Aaguid = [16]byte{0xd5, 0x48, 0x82, 0x6e, 0x79, 0xb4, 0xdb, 0x40, 0xa3, 0xd8, 0x11, 0x11, 0x6f, 0x7e, 0x83, 0x49}
		d.Options.BackupEligible = true
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		c, err := h.BeginPasskey(ctx, v)
		if err != nil {
			t.Fatal(err)
		}
		answer := d.create(t, c.Options)
		_, err = h.AddPasskey(ctx, &idp.Interaction{}, v, c.State, answer, strings.Repeat("ä", 101))
		wantError(t, err, idp.Invalid, "factor_name_too_long", "name")
		s2, err := h.AddPasskey(ctx, &idp.Interaction{}, v, c.State, answer, "")
		if err != nil {
			t.Fatal(err)
		}
		own, err := h.OwnFactors(ctx, h.visitOf(t, s2.SignedIn))
		if err != nil || len(own.Passkeys) != 1 {
			t.Fatalf("got %+v, %v", own, err)
		}
		if f := own.Passkeys[0]; f.Name != "Bitwarden" || f.Model != "Bitwarden" || !f.Synced || f.CreatedAt != h.Now() {
			t.Errorf("got %+v", f)
		}
	})
}

func TestS2_14_AdministratorsMayBeHeldToModels(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ruth, err := h.AddUser(t.Context(), idp.NewUser{Username: "ruth", Email: "ruth@example.com", EmailVerified: true, Password: alicePassword, Admin: true})
		if err != nil {
			t.Fatal(err)
		}
		s := h.liveSession(t, ruth)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		try := func(d *device) error {
			c, err := h.BeginPasskey(ctx, v)
			if err != nil {
				t.Fatal(err)
			}
			if got := inDocument(t, c.Options, "attestation"); got != "direct" {
				t.Errorf("attestation: got %v, want it asked for", got)
			}
			_, err = h.AddPasskey(ctx, &idp.Interaction{}, v, c.State, d.create(t, c.Options), "")
			return err
		}
		d := newDevice()
		wantError(t, try(d), idp.Denied, "passkey_model", "")
		d.Aaguid = [16]byte{}
		wantError(t, try(d), idp.Denied, "passkey_model", "")
		copy(d.Aaguid[:], []byte{0xee, 0x88, 0x28, 0x79, 0x72, 0x1c, 0x49, 0x13, 0x97, 0x75, 0x3d, 0xfc, 0xce, 0x97, 0x07, 0x2a})
		if err := try(d); err != nil {
			t.Errorf("one of the list: %v", err)
		}
		h.withKey(t, "alice") // anybody else may have any
	}, func(cfg *config.Config) {
		cfg.MFA.WebAuthn.AdminModels = []string{"EE882879-721c-4913-9775-3dfcce97072a"}
	})
}

func TestSomebodyHasFiftyPasskeysAtMost(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, s := h.withKey(t, "alice")
		list, err := h.store.Factors(t.Context(), s.User.ID)
		if err != nil {
			t.Fatal(err)
		}
		var key idp.Authenticator
		for _, a := range list {
			if a.Kind == idp.PasskeyKind {
				key = a
			}
		}
		for i := range 48 {
			key.ID, key.Credential = idp.NewID(h.Now()), fmt.Appendf(nil, "key %d", i)
			if err := h.store.AddFactor(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		s = h.addKey(t, 1, s, newDevice())
		_, err = h.BeginPasskey(by(t, 1, s.Token), h.visitOf(t, s))
		wantError(t, err, idp.Denied, "passkeys_full", "")
		if _, err := h.enterByKey(t, by(t, 2, idp.SessionToken{}), d); err != nil {
			t.Errorf("to sign in: %v", err)
		}
	})
}

func TestS3_42_APasskeyAloneIsTwoFactors(t *testing.T) {
	for name, c := range map[string]struct {
		synced bool
		amr    []string
		level  idp.Level
	}{
		"synced":       {true, []string{"swk", "user", "mfa"}, idp.NotPhishable},
		"device-bound": {false, []string{"hwk", "user", "mfa"}, idp.HardwareBound},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				h.addUser(t, "alice")
				d := newDevice()
				d.Options.BackupEligible = c.synced
				h.addKey(t, 1, h.enter(t, 1, "alice", alicePassword), d)
				h.clock.turn(time.Hour)
				in := &idp.Interaction{Request: idp.Request{ClientID: "shop"}}
				ctx := by(t, 2, idp.SessionToken{})
				ceremony, err := h.BeginPasskeyLogIn(ctx)
				if err != nil {
					t.Fatal(err)
				}
				d.key.Counter = 1
				s, err := h.LogInByPasskey(ctx, in, ceremony.State, d.get(t, ceremony.Options), true)
				if err != nil {
					t.Fatal(err)
				}
				if s.Session.State != idp.Live || s.Device == nil || in.Authenticated != s.Session.Authentication ||
					!s.Session.Remembered || s.Session.ClientID != "shop" {
					t.Errorf("got %+v", s)
				}
				a := h.Assurance(in, h.visitOf(t, s), nil)
				if a.Level != c.level || !slices.Equal(a.AMR, c.amr) || !a.AuthTime.Equal(h.Now().Truncate(time.Second)) {
					t.Errorf("got %+v, want %v and %v now", a, c.level, c.amr)
				}
				own, err := h.OwnFactors(t.Context(), h.visitOf(t, s))
				if err != nil || own.Passkeys[0].LastUsedAt == nil || !own.Passkeys[0].LastUsedAt.Equal(h.Now()) {
					t.Errorf("last used: got %+v, %v", own.Passkeys, err)
				}
			})
		})
	}
}

func TestS3_17_ForgedSignInsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		bobs, _ := h.withKey(t, "bob")
		for _, c := range []struct {
			name   string
			kind   idp.Kind
			code   string
			change func(d *device)
		}{
			{"not verified", idp.Denied, "passkey_refused", func(d *device) { d.Options.UserNotVerified = true }},
			{"not present", idp.Denied, "passkey_refused", func(d *device) { d.Options.UserNotPresent = true }},
			{"of another origin", idp.Denied, "passkey_refused", func(d *device) { d.site.Origin = "https://evil.example" }},
			{"for another RP ID", idp.Denied, "passkey_refused", func(d *device) { d.site.ID = "evil.example" }},
			{"synced all at once", idp.Denied, "passkey_refused", func(d *device) { d.Options.BackupEligible = true }},
			{"with bob's user handle", idp.Denied, "passkey_refused", func(d *device) { d.Options.UserHandle = bobs.Options.UserHandle }},
			{"with bob's credential", idp.Denied, "passkey_refused", func(d *device) { d.key.ID = bobs.key.ID }},
			{"of a credential that nobody has", idp.Denied, "passkey_unknown", func(d *device) { d.key.ID = []byte("nobody's") }},
		} {
			forged := *d
			c.change(&forged)
			s, err := h.enterByKey(t, by(t, 2, idp.SessionToken{}), &forged)
			if idp.KindOf(err) != c.kind || idp.CodeOf(err) != c.code || !s.Token.IsZero() {
				t.Errorf("%s: got %v, want %s", c.name, err, c.code)
			}
		}
		ctx := by(t, 2, idp.SessionToken{})
		c, err := h.BeginPasskeyLogIn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		answer := d.get(t, c.Options)
		try := func(ctx context.Context) error {
			_, err := h.LogInByPasskey(ctx, &idp.Interaction{}, c.State, answer, false)
			return err
		}
		wantError(t, try(by(t, 3, idp.SessionToken{})), idp.Stale, "ceremony_over", "") // which a thief began, or saw
		if err := try(ctx); err != nil {
			t.Fatal(err)
		}
		wantError(t, try(ctx), idp.Stale, "ceremony_over", "")
		for _, e := range h.eventsOf(t, "user.sign_in_failed") {
			if strings.Contains(fmt.Sprint(e.Details), answer) || strings.Contains(fmt.Sprint(e.Details), c.State) {
				t.Errorf("an event has what was sent: %v", e)
			}
		}
	})
}

func TestAnUnknownPasskeyIsNamedForTheBrowser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d := newDevice()
		d.Options.UserHandle = make([]byte, 64)
		_, err := h.enterByKey(t, by(t, 1, idp.SessionToken{}), d)
		wantError(t, err, idp.Denied, "passkey_unknown", "")
		if e := err.(*idp.Error); e.Args["credential"] != base64.RawURLEncoding.EncodeToString(d.key.ID) {
			t.Errorf("got %v", e.Args)
		}
	})
}

func TestADisabledUserIsToldSoByTheirOwnPasskeyOnly(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, s := h.withKey(t, "erin")
		if err := h.DisableUser(t.Context(), s.User.ID); err != nil {
			t.Fatal(err)
		}
		forged := *d
		forged.key.Key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2).Key
		_, err := h.enterByKey(t, by(t, 2, idp.SessionToken{}), &forged)
		wantError(t, err, idp.Denied, "passkey_refused", "")
		_, err = h.enterByKey(t, by(t, 2, idp.SessionToken{}), d)
		wantError(t, err, idp.Denied, "account_disabled", "")
	})
}

func TestS0_29_TheOptionsOfASignInAreTheSameForEverybody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, s := h.withKey(t, "alice")
		var seen []any
		for _, token := range []idp.SessionToken{{}, {}, s.Token} {
			c, err := h.BeginPasskeyLogIn(by(t, 1, token))
			if err != nil {
				t.Fatal(err)
			}
			options := inDocument(t, c.Options).(map[string]any)
			delete(options, "challenge")
			seen = append(seen, options)
		}
		want := map[string]any{"rpId": "id.example", "userVerification": "required", "timeout": 300_000.0}
		for _, got := range seen {
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	})
}

func TestS4_67_S0_94_ALockOfThePasswordLeavesPasskeysAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		for i := range 60 {
			h.codes(t, 1, fmt.Sprintf("203.0.113.%d", i), "alice", "wrong password")
		}
		if _, err := h.tryLogIn(t, "192.0.2.7", "alice", alicePassword); err == nil {
			t.Fatal("the password is not locked")
		}
		s, err := h.enterByKey(t, by(t, 7, idp.SessionToken{}), d)
		if err != nil || s.Session.State != idp.Live {
			t.Errorf("got %+v, %v", s.Session, err)
		}
		forged := *d
		forged.key.Key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2).Key
		for range 25 { // and by a passkey nobody locks anything
			h.enterByKey(t, by(t, 8, idp.SessionToken{}), &forged)
		}
		if _, err := h.enterByKey(t, by(t, 8, idp.SessionToken{}), d); err != nil {
			t.Errorf("after 25 forged ones: %v", err)
		}
		if _, err := h.enterByKey(t, by(t, 9, idp.SessionToken{}), d); err != nil {
			t.Errorf("elsewhere: %v", err)
		}
	})
}

func TestPasskeysAreLimitedByAddress(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		ctx := by(t, 2, idp.SessionToken{})
		var err error
		for range 31 {
			_, err = h.enterByKey(t, ctx, d)
		}
		if idp.KindOf(err) != idp.Throttled {
			t.Errorf("the 31st sign-in of a minute: got %v", err)
		}
		for range 60 {
			_, err = h.BeginPasskeyLogIn(ctx)
		}
		if idp.KindOf(err) != idp.Throttled {
			t.Errorf("the 91st ceremony of a minute: got %v", err)
		}
		if _, err := h.enterByKey(t, by(t, 3, idp.SessionToken{}), d); err != nil {
			t.Errorf("elsewhere: %v", err)
		}
	})
}

func TestS0_94_ABlockedAddressGetsInByNoPasskey(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		ctx := by(t, 2, idp.SessionToken{})
		c, err := h.BeginPasskeyLogIn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.LogInByPasskey(ctx, &idp.Interaction{}, c.State, d.get(t, c.Options), false)
		if idp.KindOf(err) != idp.Blocked {
			t.Errorf("got %v, want Blocked", err)
		}
	}, func(cfg *config.Config) { cfg.Lockout.DenyCIDRs = networksOf("192.0.2.2/32") })
}

func TestS3_17_ACopiedKeyIsRefusedAndDisabled(t *testing.T) {
	for name, disables := range map[string]bool{"disable": true, "refuse": false} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				post := h.withPostman(t)
				d, s := h.withKey(t, "alice")
				d.key.Counter = 5
				if _, err := h.enterByKey(t, by(t, 2, idp.SessionToken{}), d); err != nil {
					t.Fatal(err)
				}
				d.key.Counter = 0
				ctx := by(t, 3, idp.SessionToken{})
				c, err := h.BeginPasskeyLogIn(ctx)
				if err != nil {
					t.Fatal(err)
				}
				answer := d.get(t, c.Options)
				_, err = h.LogInByPasskey(ctx, &idp.Interaction{}, c.State, answer, false)
				wantError(t, err, idp.Denied, "passkey_refused", "")
				if _, err := h.LogInByPasskey(ctx, &idp.Interaction{}, c.State, answer, false); err == nil {
					t.Error("it was taken the second time")
				}
				e := h.event(t, "user.passkey_copied")
				if e.UserID != s.User.ID || e.Details["disabled"] != disables {
					t.Errorf("got %+v", e)
				}
				if mails := h.sent(t, post, "passkey_copied"); len(mails) != 1 || mails[0].To != "alice@example.com" || mails[0].Args["called"] != "" {
					t.Errorf("got the mails %+v, want one to alice", mails)
				}
				u, err := h.store.User(t.Context(), s.User.ID)
				want := idp.List{"hardware", "webauthn"}
				if disables {
					want = idp.List{"copied"} // she owes a recovery code: her password alone is not enough
				}
				if err != nil || !slices.Equal(u.Factors, want) || h.alive(t, s.Token) == disables {
					t.Errorf("got %v, want %v, her session alive: %t, %v", u.Factors, want, h.alive(t, s.Token), err)
				}
				d.key.Counter = 6
				_, err = h.enterByKey(t, by(t, 4, idp.SessionToken{}), d)
				if disables {
					wantError(t, err, idp.Denied, "passkey_refused", "")
				} else if err != nil {
					t.Errorf("her own key: %v", err)
				}
				own, err := h.UserFactors(t.Context(), s.User.ID)
				if err != nil || (own.Passkeys[0].DisabledAt != nil) != disables || (len(own.Accepted) == 0) != disables {
					t.Errorf("got %+v, %v", own, err)
				}
			}, func(cfg *config.Config) { cfg.MFA.WebAuthn.ClonedKey = name })
		})
	}
}

func TestS3_42_S3_05_AKeyIsTheSecondFactorOfAPassword(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		bobs, bob := h.withKey(t, "bob")
		ctx, v := h.halfIn(t, 2, "alice")
		in := &idp.Interaction{}
		begin := func() idp.Ceremony {
			c, err := h.BeginKeyProof(ctx, v, false)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		prove := func(c idp.Ceremony, d *device) (idp.SignedIn, error) {
			return h.ProveByKey(ctx, in, v, c.State, d.get(t, c.Options), false)
		}
		c := begin()
		want := []any{map[string]any{"type": "public-key", "id": base64.RawURLEncoding.EncodeToString(d.key.ID)}}
		if got := inDocument(t, c.Options, "allowCredentials"); !reflect.DeepEqual(got, want) {
			t.Errorf("allowed: got %v, want %v", got, want)
		}
		_, err := prove(c, bobs)
		wantError(t, err, idp.Denied, "passkey_refused", "")
		unknown := newDevice()
		_, err = prove(c, unknown)
		wantError(t, err, idp.Denied, "passkey_unknown", "")
		// A ceremony of one session is of no other, and one to sign in is none of a proof.
		bobsVisit := h.visitOf(t, bob)
		_, err = h.ProveByKey(by(t, 1, bob.Token), in, bobsVisit, c.State, bobs.get(t, c.Options), false)
		wantError(t, err, idp.Stale, "ceremony_over", "")
		signIn, err := h.BeginPasskeyLogIn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = prove(signIn, d)
		wantError(t, err, idp.Stale, "ceremony_over", "")
		var why []any
		for _, e := range h.eventsOf(t, "user.factor_failed") {
			why = append(why, e.Details["why"])
		}
		if !reflect.DeepEqual(why, []any{"passkey_foreign", "passkey_unknown"}) {
			t.Errorf("the failures are recorded as %v", why)
		}
		d.Options.UserNotVerified = true // a touch is enough beside the password, and nowhere else
		_, err = h.LogInByPasskey(ctx, &idp.Interaction{}, c.State, d.get(t, c.Options), false)
		wantError(t, err, idp.Stale, "ceremony_over", "")
		s, err := prove(c, d)
		if err != nil {
			t.Fatal(err)
		}
		if s.Session.State != idp.Live || s.Session.ID != v.Session.ID || s.Token.Secret == idp.VisitorFrom(ctx).Pending.Secret ||
			in.Authenticated != s.Session.Authentication {
			t.Errorf("got %+v", s.Session)
		}
		if a := h.Assurance(in, h.visitOf(t, s), nil); a.Level != idp.HardwareBound || !slices.Equal(a.AMR, []string{"pwd", "hwk", "user", "mfa"}) {
			t.Errorf("got %+v", a)
		}
	})
}

func TestAKeyThatStandsAloneMustVerifyItsUser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		s, err := h.enterByKey(t, by(t, 2, idp.SessionToken{}), d)
		if err != nil {
			t.Fatal(err)
		}
		ctx, v := by(t, 2, s.Token), h.visitOf(t, s)
		c, err := h.BeginKeyProof(ctx, v, false)
		if err != nil {
			t.Fatal(err)
		}
		touched := *d
		touched.Options.UserNotVerified = true
		_, err = h.ProveByKey(ctx, &idp.Interaction{}, v, c.State, touched.get(t, c.Options), false)
		wantError(t, err, idp.Denied, "passkey_refused", "")
		h.clock.turn(h.cfg.Sudo.Timeout + time.Second)
		if h.Fresh(h.visitOf(t, s)) {
			t.Fatal("the proof is too old")
		}
		if c, err = h.BeginKeyProof(ctx, v, false); err != nil {
			t.Fatal(err)
		}
		s, err = h.ProveByKey(ctx, &idp.Interaction{}, v, c.State, d.get(t, c.Options), false)
		if err != nil || !h.Fresh(h.visitOf(t, s)) {
			t.Errorf("verified: got %v, or not fresh", err)
		}
	})
}

func TestWhoHasNoKeyProvesNothingByOne(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		if _, err := h.BeginKeyProof(by(t, 1, s.Token), h.visitOf(t, s), false); idp.KindOf(err) != idp.Missing {
			t.Errorf("got %v, want nothing found", err)
		}
	})
}

func TestAKeyThatWasRemovedMeanwhileProvesNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, s := h.withKey(t, "alice")
		own, err := h.OwnFactors(t.Context(), h.visitOf(t, s))
		if err != nil {
			t.Fatal(err)
		}
		ctx, v := h.halfIn(t, 2, "alice")
		c, err := h.BeginKeyProof(ctx, v, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.RemoveFactor(by(t, 1, s.Token), h.visitOf(t, s), own.Passkeys[0].ID); err != nil {
			t.Fatal(err)
		}
		_, err = h.ProveByKey(ctx, &idp.Interaction{}, v, c.State, d.get(t, c.Options), false)
		wantError(t, err, idp.Denied, "passkey_unknown", "")
	})
}

func TestS3_17_TwentyUsesOfOneAssertionSignInOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, _ := h.withKey(t, "alice")
		other := h.another(t)
		ctx := by(t, 2, idp.SessionToken{})
		c, err := h.BeginPasskeyLogIn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		answer := d.get(t, c.Options) // of a key whose counter stays 0, as of all that are synced
		pendingCtx, v := h.halfIn(t, 3, "alice")
		proof, err := h.BeginKeyProof(pendingCtx, v, false)
		if err != nil {
			t.Fatal(err)
		}
		proofAnswer := d.get(t, proof.Options)
		for name, deed := range map[string]func(h *house) error{
			"sign in": func(h *house) error {
				_, err := h.LogInByPasskey(ctx, &idp.Interaction{}, c.State, answer, false)
				return err
			},
			"prove": func(h *house) error {
				_, err := h.ProveByKey(pendingCtx, &idp.Interaction{}, v, proof.State, proofAnswer, false)
				return err
			},
		} {
			errs := make([]error, 20)
			var racers sync.WaitGroup
			for i := range errs {
				racers.Go(func() { errs[i] = deed([]*house{h, other}[i%2]) })
			}
			racers.Wait()
			done := 0
			for _, err := range errs {
				switch {
				case err == nil:
					done++
				case idp.KindOf(err) != idp.Stale:
					t.Errorf("%s: got %v", name, err)
				}
			}
			if done != 1 {
				t.Errorf("%s: %d were taken, want one", name, done)
			}
		}
	}, func(cfg *config.Config) { cfg.RateLimits.Off = true })
}

func TestS3_18_TheRelyingPartyIsWhatTheSettingsSay(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		if got := h.PasskeyRPID(); got != "example.com" {
			t.Errorf("got the RP ID %q", got)
		}
		if got := h.RelatedOrigins(); !slices.Equal(got, []string{"https://id.example.com", "https://example.org"}) {
			t.Errorf("got the origins %v", got)
		}
		h.addUser(t, "alice")
		d := newDevice()
		d.site.ID, d.site.Origin = "example.com", "https://id.example.com"
		h.addKey(t, 1, h.enter(t, 1, "alice", alicePassword), d)
		d.site.Origin = "https://example.org"
		if _, err := h.enterByKey(t, by(t, 2, idp.SessionToken{}), d); err != nil {
			t.Errorf("at a related origin: %v", err)
		}
	}, func(cfg *config.Config) {
		cfg.Issuer = "https://ID.example.com:443/op"
		cfg.MFA.WebAuthn.RPID, cfg.MFA.WebAuthn.RelatedOrigins = "example.com", []string{"https://example.org"}
	})
}

func TestS3_18_SettingsThatDoNotFitAreRefused(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		if h.PasskeyRPID() != "id.example" || h.RelatedOrigins() != nil {
			t.Errorf("by default: got %q and %v", h.PasskeyRPID(), h.RelatedOrigins())
		}
		for key, change := range map[string]func(*config.Config){
			"mfa.webauthn":              func(cfg *config.Config) { cfg.MFA.WebAuthn.RPID = "elsewhere.example" },
			"https://example.org/x":     func(cfg *config.Config) { cfg.MFA.WebAuthn.RelatedOrigins = []string{"https://example.org/x"} },
			"mfa.webauthn.admin_models": func(cfg *config.Config) { cfg.MFA.WebAuthn.AdminModels = []string{"YubiKey"} },
		} {
			cfg := testConfig()
			change(cfg)
			if _, err := idp.New(t.Context(), h.store, cfg, h.ring, h.options()); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s: got %v", key, err)
			}
		}
	})
}

func TestAtAnAddressThereAreNoPasskeys(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		s := h.enter(t, 1, "alice", alicePassword)
		ctx, v := by(t, 1, s.Token), h.visitOf(t, s)
		if h.PasskeyRPID() != "" || h.RelatedOrigins() != nil {
			t.Error("it has a relying party")
		}
		_, err := h.BeginPasskeyLogIn(ctx)
		wantError(t, err, idp.Missing, "passkeys_off", "")
		_, err = h.BeginPasskey(ctx, v)
		wantError(t, err, idp.Missing, "passkeys_off", "")
		_, err = h.BeginKeyProof(ctx, v, true)
		wantError(t, err, idp.Missing, "passkeys_off", "")
		_, err = h.LogInByPasskey(ctx, &idp.Interaction{}, "", "", false)
		wantError(t, err, idp.Missing, "passkeys_off", "")
	}, func(cfg *config.Config) { cfg.Issuer = "http://127.0.0.1:8080" })
}
