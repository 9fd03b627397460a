package posture_test

import (
	"encoding/base32"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/idp"
	"postern/idp/passkey"
	"postern/idp/posture"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

const rootPassword = "correct horse battery staple"

// addAdmin adds an administrator.
func addAdmin(t testing.TB, p *idp.Provider, name string) idp.User {
	t.Helper()
	u, err := p.AddUser(t.Context(), idp.NewUser{
		Username: name, Email: name + "@example.com", EmailVerified: true, Password: rootPassword, Admin: true,
	})
	if err != nil {
		t.Fatalf("add %s: %v", name, err)
	}
	return u
}

// addApp gives a user who must have one an authenticator app, and returns what signs in by it.
func addApp(t testing.TB, p *idp.Provider, name string) idp.Enrolled {
	t.Helper()
	visitor := idp.Visitor{Address: netip.MustParseAddr("192.0.2.1"), Browser: [32]byte{1}}
	in := p.BeginOwn("/")
	s, err := p.LogIn(idp.WithVisitor(t.Context(), &visitor), in, idp.LogIn{Identifier: name, Password: rootPassword})
	if err != nil {
		t.Fatalf("log in as %s: %v", name, err)
	}
	visitor.Pending = s.Token
	ctx := idp.WithVisitor(t.Context(), &visitor)
	v, err := p.PendingVisit(ctx, "")
	if err != nil {
		t.Fatalf("find the session of %s: %v", name, err)
	}
	if err := p.BeginTOTP(ctx, v); err != nil {
		t.Fatalf("begin with an app: %v", err)
	}
	setup, err := p.TOTPSetup(ctx, v)
	if err != nil {
		t.Fatalf("set an app up: %v", err)
	}
	key := strings.ReplaceAll(setup.Secret, " ", "")
	if _, err := base32.StdEncoding.DecodeString(key); err != nil {
		t.Fatalf("read %q: %v", setup.Secret, err)
	}
	code, err := totp.GenerateCode(key, p.Now())
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.ConfirmTOTP(ctx, in, v, code)
	if err != nil {
		t.Fatalf("confirm an app: %v", err)
	}
	return made
}

func detailOf(t testing.TB, in posture.Input, id string) string {
	t.Helper()
	for _, f := range findings(t, in) {
		if f.ID == id {
			return f.Detail
		}
	}
	return ""
}

func TestS3_36_AdministratorsWithoutASecondFactorAreNamed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		in := house(t, s, load(t), &now)
		addAdmin(t, in.Provider, "ruth")
		addAdmin(t, in.Provider, "rita")
		gone := addAdmin(t, in.Provider, "gone")
		if err := in.Provider.DisableUser(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		wantFindings(t, in, want{"W301", warning, ""})
		if got := detailOf(t, in, "W301"); got != "Administrators: rita, ruth." {
			t.Errorf("it says %q", got)
		}
		addApp(t, in.Provider, "rita")
		if got := detailOf(t, in, "W301"); got != "Administrators: ruth." {
			t.Errorf("it says %q", got)
		}
		addApp(t, in.Provider, "ruth")
		wantFindings(t, in)
	})
}

func TestAdministratorsWithoutRecoveryCodesAreNamed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		in := house(t, s, load(t), &now)
		u := addAdmin(t, in.Provider, "rita")
		addApp(t, in.Provider, "rita")
		wantFindings(t, in)
		codes, err := s.RecoveryCodes(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range codes {
			if _, err := s.UseRecoveryCode(t.Context(), u.ID, c.ID, []byte("by"), now); err != nil {
				t.Fatal(err)
			}
		}
		wantFindings(t, in, want{"W305", info, ""})
		if got := detailOf(t, in, "W305"); got != "Administrators: rita." {
			t.Errorf("it says %q", got)
		}
	})
}

func TestSecretsOfAppsThatAFormerKeySealsAreCounted(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		first, second := secret.RootKey{Number: 1, Bytes: [32]byte{1}}, secret.RootKey{Number: 2, Bytes: [32]byte{2}}
		in := houseWith(t, s, load(t), &now, first)
		addAdmin(t, in.Provider, "rita")
		addApp(t, in.Provider, "rita")
		wantFindings(t, in)
		in = houseWith(t, s, in, &now, second, first)
		wantFindings(t, in, want{"W307", info, "secrets.keys"})
		if got := detailOf(t, in, "W307"); got != "Secrets that a former root key seals: 1." {
			t.Errorf("it says %q", got)
		}
		if n, err := in.Provider.ResealFactors(t.Context()); n != 1 || err != nil {
			t.Errorf("resealed %d and %v, want one", n, err)
		}
		wantFindings(t, in)
	})
}

func TestS3_18_PasskeysOfAnotherRPIDAreCounted(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		in := house(t, s, load(t), &now)
		u, err := in.Provider.AddUser(t.Context(), idp.NewUser{Username: "carol", Password: rootPassword})
		if err != nil {
			t.Fatal(err)
		}
		for i, rp := range []string{"id.example", "old.example", ""} {
			err := s.AddFactor(t.Context(), idp.Authenticator{
				ID: idp.NewID(now), UserID: u.ID, Kind: idp.PasskeyKind, CreatedAt: now, Credential: []byte{byte(i + 1)},
				Passkey: &passkey.Record{RP: rp},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		u.Factors = idp.List{"webauthn"}
		if err := s.ChangeUser(t.Context(), u, u.Epoch); err != nil {
			t.Fatal(err)
		}
		wantFindings(t, in, want{"W303", failed, "mfa.webauthn.rp_id"})
		if got := detailOf(t, in, "W303"); got != `Passkeys of another RP ID than "id.example": 1.` {
			t.Errorf("it says %q", got)
		}
	})
}
