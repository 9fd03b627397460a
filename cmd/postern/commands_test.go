package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// command runs one command on the database of url and returns what it wrote.
func command(t *testing.T, url, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), &app{in: strings.NewReader(stdin), out: &stdout, err: &stderr, environ: []string{
		"POSTERN_ISSUER=" + testIssuer, "POSTERN_PROFILE=development", "POSTERN_DATABASE__URL=" + url, "POSTERN_SECRETS__KEYS__0=" + testRoot(),
		"POSTERN_PASSWORD__ARGON2__MEMORY_KIB=64", "POSTERN_PASSWORD__ARGON2__TIME=1", "POSTERN_PASSWORD__ARGON2__PARALLELISM=1",
	}}, args)
	return code, stdout.String(), stderr.String()
}

// succeed is command, whose JSON it reads.
func succeed(t *testing.T, v any, url, stdin string, args ...string) {
	t.Helper()
	code, out, errs := command(t, url, stdin, append(args, "--json")...)
	if code != exitOK {
		t.Fatalf("%q: exit %d: %s", args, code, errs)
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("%q: %v in %s", args, err, out)
	}
}

func TestI22_CommandsChangeWhatARunningServerSees(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, nil)
		var alice userView
		succeed(t, &alice, url, testPassword+"\n", "user", "add", "--username", "alice", "--password-stdin")
		var client clientView
		succeed(t, &client, url, "", "client", "add", "--name", "Shop", "--redirect-uri", "https://rp.example.com/callback", "--scope", "openid", "--first-party")

		// The cache of clients is older than it may be, so the server asks (I-13).
		h.now = h.now.Add(10 * time.Second)
		provider, err := rp.Discover(t.Context(), h.transport(), testIssuer)
		if err != nil {
			t.Fatal(err)
		}
		provider.Now = func() time.Time { return h.now }
		party := &rp.RelyingParty{Provider: provider, ClientID: client.ID, Secret: client.Secret, RedirectURI: client.RedirectURIs[0]}
		person := rp.Person{Username: "alice", Password: testPassword}
		b := h.browser()
		signedIn, err := party.SignIn(t.Context(), b, person, party.NewRequest())
		if err != nil {
			t.Fatal(err)
		}

		var sessions []sessionView
		succeed(t, &sessions, url, "", "session", "list", "--user", "alice")
		if len(sessions) != 1 || sessions[0].UserID != alice.ID || sessions[0].Username != "alice" {
			t.Errorf("sessions: %+v", sessions)
		}
		if _, out, _ := command(t, url, "", "session", "list"); !strings.Contains(out, "  alice  ") {
			t.Errorf("the list of sessions has no name:\n%s", out)
		}
		var disabled userView
		succeed(t, &disabled, url, "", "user", "disable", "alice")
		if disabled.Status != "disabled" {
			t.Errorf("alice is %s", disabled.Status)
		}
		answer, err := party.UserInfo(t.Context(), signedIn.Tokens.AccessToken)
		if err != nil || answer.Status != 401 {
			t.Errorf("userinfo of a disabled user: %v, %v", answer, err)
		}
		succeed(t, &sessions, url, "", "session", "list")
		if len(sessions) != 0 {
			t.Errorf("sessions of a disabled user: %+v", sessions)
		}
		succeed(t, &disabled, url, "", "user", "enable", "alice")
		again, err := party.SignIn(t.Context(), b, person, party.NewRequest())
		if err != nil || again.SignIns != 1 {
			t.Errorf("after enable: signed in %d times, %v", again.SignIns, err)
		}

		var gone map[string]string
		succeed(t, &gone, url, "", "client", "delete", client.ID, "--yes")
		h.now = h.now.Add(10 * time.Second)
		if answer, err := party.Refresh(t.Context(), again.Tokens.RefreshToken, ""); err != nil || answer.Status != 401 {
			t.Errorf("refresh by a deleted client: %v, %v", answer, err)
		}
	})
}

// Where no mail is sent, nobody proves an address by a code.
func TestAnOperatorsWordLetsInWhoCannotProveTheirAddress(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, func(c *config.Config) { c.Mail = config.Mail{} })
		h.addUnverified(t, "dave")
		party := h.party(t)
		if page := h.signIn(t, h.browser(), "dave", testPassword); page.URL.Path == "/account" {
			t.Fatalf("before, dave is at %s", page.URL)
		}
		if code, out, errs := command(t, url, "", "session", "list"); code != exitOK || !strings.Contains(out, "dave  pending ") {
			t.Errorf("exit %d: a session that owes a step is listed as %s%s", code, out, errs)
		}
		var dave userView
		succeed(t, &dave, url, "", "user", "verify", "dave")
		b := h.browser()
		if page := h.signIn(t, b, "dave", testPassword); page.URL.Path != "/account" || !dave.EmailVerified {
			t.Errorf("after it, dave is at %s: %+v", page.URL, dave)
		}
		in, err := party.SignIn(t.Context(), b, rp.Person{Username: "dave", Password: testPassword}, party.NewRequest("scope", "openid email"))
		if err != nil {
			t.Fatal(err)
		}
		info, err := party.UserInfo(t.Context(), in.Tokens.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		if claims, err := info.Claims(); err != nil || claims["email_verified"] != true {
			t.Errorf("the relying party is told %s, %v", info, err)
		}
	})
}

// S0-84: a reserved name is an operator's to give; no sign-up takes it, or one that looks like it.
func TestS0_84_AReservedNameIsTheOperatorsToGive(t *testing.T) {
	url := storagetest.SQLite(t)
	h := open(t, url, inviting)
	if code, _, errs := command(t, url, testPassword+"\n", "user", "add", "--username", "support", "--password-stdin"); code != exitFailure || !strings.Contains(errs, "--allow-reserved") {
		t.Errorf("without the flag: exit %d: %s", code, errs)
	}
	var support userView
	succeed(t, &support, url, testPassword+"\n", "user", "add", "--username", "support", "--allow-reserved", "--password-stdin")
	if page := h.signIn(t, h.browser(), "support", testPassword); page.URL.Path != "/account" {
		t.Errorf("support is at %s", page.URL)
	}
	for _, name := range []string{"supp0rt", "root"} {
		page := fillIn(t, openPage(t, h.browser(), "/signup"), map[string]string{
			"username": name, "email": "eve@example.com", "password": "seven bridges of Prague",
		})
		if !slices.Contains(page.ErrorCodes(), "username_reserved") {
			t.Errorf("signing up as %s: %s %v", name, page.URL, page.ErrorCodes())
		}
	}
}

func TestI22_CommandsChangeNoSchema(t *testing.T) {
	for _, args := range [][]string{
		{"user", "list"}, {"client", "list"}, {"key", "list"}, {"session", "list"}, {"user", "add", "--username", "alice"},
	} {
		storagetest.EachURL(t, func(t *testing.T, url string) {
			code, out, errs := command(t, url, "", args...)
			if code != exitFailure || out != "" || !strings.Contains(errs, "postern migrate up") {
				t.Errorf("%q on an empty database: exit %d, %s%s", args, code, out, errs)
			}
			migrations, err := storage.Migrations(t.Context(), url)
			if err != nil && !errors.Is(err, storage.ErrSchema) {
				t.Fatal(err)
			}
			for _, m := range migrations {
				if m.AppliedAt != nil {
					t.Errorf("%q applied the migration %s", args, m.Name)
				}
			}
			if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
				if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
					t.Errorf("%q made %v", args, left)
				}
			}
		})
	}
}

func TestI22_CommandsRefuseTheFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to somebody else")
	}
	url := storagetest.SQLite(t)
	open(t, url, nil)
	path := strings.TrimPrefix(url, "sqlite:")
	if err := os.Chown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"user", "list"}, {"migrate", "up"}} {
		code, _, errs := command(t, url, "", args...)
		if code != exitFailure || !strings.Contains(errs, "belongs to the user with the number 12345") {
			t.Errorf("%q: exit %d: %s", args, code, errs)
		}
	}
}

// A deed of a command that does not come to its end lets the server's writers go on.
func TestI22_TransactionsOfCommandsAreShort(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		began := time.Now()
		err := shortStore{s}.Tx(t.Context(), func(ctx context.Context) error {
			end, ok := ctx.Deadline()
			if !ok || end.After(began.Add(maxTx+time.Second)) {
				t.Errorf("the transaction ends at %v", end)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// A TTY would be asked; a pipe must not be.
func TestCommandsNeverWaitForAPersonWhoIsNotThere(t *testing.T) {
	url := storagetest.SQLite(t)
	h := open(t, url, nil)
	h.addUser(t, "alice")
	for _, args := range [][]string{
		{"user", "delete", "alice"}, {"client", "delete", "shop"}, {"user", "set-password", "alice"},
		{"user", "add", "--username", "bob", "--password-stdin"}, {"client", "add", "--name", "x", "--secret-stdin"},
	} {
		if code, _, errs := command(t, url, "", args...); code != exitUsage {
			t.Errorf("%q: exit %d: %s", args, code, errs)
		}
	}
	if _, err := h.p.FindUser(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
}

// Without an echo to turn off, nobody would know what is waited for.
func TestASecretForStandardInputIsNotTypedAtATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no terminal to open:", err)
	}
	defer terminal.Close()
	for _, args := range [][]string{
		{"user", "add", "--username", "bob", "--password-stdin"}, {"user", "set-password", "bob", "--password-stdin"},
		{"client", "add", "--name", "x", "--redirect-uri", "https://x.example/cb", "--secret-stdin"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), &app{in: terminal, out: &stderr, err: &stderr}, args)
		if code != exitUsage || !strings.Contains(stderr.String(), "standard input is a terminal") {
			t.Errorf("%q: exit %d: %s", args, code, stderr.String())
		}
	}
}

func TestClaimsOfACommandAreThoseOfTheStandard(t *testing.T) {
	got, err := profileOf([]string{"given_name=Alice", "phone_number_verified=true", "address.country=DE", "address.locality=Berlin", "website=https://a.example?x=y"})
	if err != nil {
		t.Fatal(err)
	}
	want := idp.Profile{GivenName: "Alice", PhoneVerified: true, Website: "https://a.example?x=y", Address: &idp.Address{Country: "DE", Locality: "Berlin"}}
	if a, b := mustJSON(t, got), mustJSON(t, want); a != b {
		t.Errorf("got %s, want %s", a, b)
	}
	for _, bad := range []string{"given_name", "=x", "shoe_size=44", "address.planet=Mars", "phone_number_verified=maybe", "address=Berlin"} {
		if _, err := profileOf([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := profileOf([]string{"name=a", "name=b"}); err == nil {
		t.Error("a claim is taken twice")
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
