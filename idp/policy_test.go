package idp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// codesOf are the codes of an error that is Invalid, in their order, after their fields.
func codesOf(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*idp.Error](err)
	if !ok || e.Kind != idp.Invalid {
		t.Fatalf("got %v, want an Invalid", err)
	}
	codes := []string{e.Field + " " + e.Code}
	for _, more := range e.More {
		if more.Kind != idp.Invalid || len(more.More) > 0 {
			t.Errorf("got %+v among the others", more)
		}
		codes = append(codes, more.Field+" "+more.Code)
	}
	return codes
}

func sqlite(t testing.TB, change ...func(*config.Config)) *house {
	t.Helper()
	return open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), change...)
}

// A weak password is refused on every path that sets one, with all that is wrong with it.
func TestS0_35_S0_36_EveryPathRefusesAWeakPasswordWithAllThatIsWrong(t *testing.T) {
	const weak = "12345678"
	h := sqlite(t)
	alice := h.addUser(t, "alice")
	in := h.logIn(t, "alice", idp.SessionToken{})
	ctx := from(t, "192.0.2.1", in.Token)
	v, err := h.Visit(ctx, in.Token, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]struct {
		field string
		set   func() error
	}{
		"an operator adds a user": {"password", func() error {
			_, err := h.AddUser(ctx, idp.NewUser{Username: "bob", Password: weak})
			return err
		}},
		"an operator sets a password":   {"password", func() error { return h.SetPassword(ctx, alice.ID, weak) }},
		"an operator lends a password":  {"password", func() error { return h.LendPassword(ctx, alice.ID, weak) }},
		"a user changes their password": {"new_password", func() error { _, err := h.ChangePassword(ctx, v, alicePassword, weak); return err }},
		"a user is imported": {"password", func() error {
			told, err := h.ImportUser(ctx, idp.ImportedUser{Username: "carol", Password: weak}, false)
			if err != nil || told.Status != idp.ImportRefused {
				return fmt.Errorf("got %+v and %w", told, err)
			}
			first := *told.Wrong[0]
			first.More = told.Wrong[1:]
			return &first
		}},
	} {
		want := []string{
			path.field + " password_too_short", path.field + " password_too_common",
			path.field + " password_entirely_numeric", path.field + " password_too_weak",
		}
		if got := codesOf(t, path.set()); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if users, err := h.Users(ctx, "", 10); err != nil || len(users) != 1 {
		t.Errorf("got %+v and %v, want alice alone", users, err)
	}
	h.logIn(t, "alice", idp.SessionToken{}) // with the password that she has still
}

func TestS0_30_S1_14_APasswordIsUnlikeItsUserAndTheSite(t *testing.T) {
	h := sqlite(t, func(c *config.Config) { c.Branding.Name, c.Issuer = "Wonderland", "https://rabbithole.example" })
	for _, password := range []string{"alice.liddell1", "lliddecila", "liddell@looking-glass", "wonderland42", "rabbithole.example"} {
		_, err := h.AddUser(t.Context(), idp.NewUser{
			Username: "alice_liddell", Email: "alice.liddell@looking-glass.example", Password: password,
			Profile: idp.Profile{Name: "Alice Pleasance Liddell", FamilyName: "Liddell"},
		})
		if !slices.Contains(codesOf(t, err), "password password_too_similar") {
			t.Errorf("%s: got %v", password, err)
		}
	}
	long := strings.Repeat("a", 1<<20)
	start := time.Now()
	_, err := h.AddUser(t.Context(), idp.NewUser{Username: "alice", Profile: idp.Profile{Name: long}, Password: long})
	if took := time.Since(start); took > time.Second || err == nil {
		t.Errorf("a long name and a long password took %s: %v", took, err)
	}
}

func TestS0_31_S1_14_APasswordHas12To256CodePointsAndIsNeverCut(t *testing.T) {
	h := sqlite(t, func(c *config.Config) { c.Password.Validators = []string{"length"} })
	u := h.addUser(t, "alice")
	for password, code := range map[string]string{
		strings.Repeat("ä", 11):  "password_too_short",
		strings.Repeat("ä", 12):  "",
		strings.Repeat("语", 64):  "",
		strings.Repeat("ä", 256): "",
		strings.Repeat("a", 257): "password_too_long",
	} {
		if err := h.SetPassword(t.Context(), u.ID, password); idp.CodeOf(err) != code {
			t.Errorf("%d characters: got %v, want %q", len([]rune(password)), err, code)
		}
	}
	hundred := strings.Repeat("x", 99)
	if err := h.SetPassword(t.Context(), u.ID, hundred+"y"); err != nil {
		t.Fatal(err)
	}
	_, err := h.tryLogIn(t, "192.0.2.1", "alice", hundred+"z")
	wantError(t, err, idp.Denied, "invalid_credentials", "")
	if _, err := h.tryLogIn(t, "192.0.2.1", "alice", hundred+"y"); err != nil {
		t.Error(err)
	}
}

func TestS0_32_S0_33_S1_14_CommonAndNumericPasswordsAreRefused(t *testing.T) {
	h := sqlite(t)
	for password, code := range map[string]string{
		"passwordpassword": "password_too_common",
		"Qwertyuiop123":    "password_too_common",
		"839201847362":     "password_entirely_numeric",
		"٨٣٩٢٠١٨٤٧٣٦٢":     "password_entirely_numeric",
	} {
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "alice", Password: password})
		if !slices.Contains(codesOf(t, err), "password "+code) {
			t.Errorf("%s: got %v, want %s", password, err, code)
		}
	}
}

func TestS0_34_ComplexityIsOffByDefaultAndHasACodeForEachKind(t *testing.T) {
	if err := sqlite(t).choose(t, "quiet otters juggle marmalade"); err != nil {
		t.Errorf("off: got %v for a passphrase of small letters", err)
	}
	h := sqlite(t, func(c *config.Config) { c.Password.Validators = []string{"complexity"} })
	for password, code := range map[string]string{
		"lowercase1!": "password_no_upper", "UPPERCASE1!": "password_no_lower", "Letters!!!": "password_no_digit", "Letters111": "password_no_special",
	} {
		if got := codesOf(t, h.choose(t, password)); !slices.Equal(got, []string{"password " + code}) {
			t.Errorf("%s: got %q, want %s", password, got, code)
		}
	}
}

// choose tries a password on a user of their own.
func (h *house) choose(t testing.TB, password string) error {
	t.Helper()
	_, err := h.AddUser(t.Context(), idp.NewUser{Username: "u" + strings.ReplaceAll(idp.RandomID().String()[:13], "-", ""), Password: password})
	return err
}

func TestS0_35_TheHelpIsThatOfTheActiveValidators(t *testing.T) {
	for want, validators := range map[string][]string{
		"length map[min:12] similarity map[] common map[] numeric map[] zxcvbn map[min_score:3]": config.Default().Password.Validators,
		"numeric map[] length map[min:12]": {"numeric", "length"},
	} {
		h := sqlite(t, func(c *config.Config) { c.Password.Validators = validators })
		var got []string
		for _, rule := range h.PasswordHelp(false) {
			got = append(got, fmt.Sprint(rule.Name, " ", rule.Args))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", validators, got, want)
		}
	}
}

func TestS0_37_AStrongPassphraseIsTakenAndAWeakOneIsNot(t *testing.T) {
	h := sqlite(t)
	if s := h.Strength("correcthorsebatterystaple", idp.User{}); s.Score < 3 || len(s.Feedback) > 0 {
		t.Errorf("got %+v, want a good score without feedback", s)
	}
	if s := h.Strength("aliceliddell77", idp.User{Username: "alice", Profile: idp.Profile{FamilyName: "Liddell"}}); s.Score > 1 || len(s.Feedback) == 0 {
		t.Errorf("got %+v, want a poor score with feedback", s)
	}
	if err := h.choose(t, "correcthorsebatterystaple"); err != nil {
		t.Error(err)
	}
	if got := codesOf(t, h.choose(t, "another password")); !slices.Equal(got, []string{"password password_too_weak"}) {
		t.Errorf("got %q", got)
	}
}

func TestS2_10_AnAdministratorNeedsABetterPassword(t *testing.T) {
	h := sqlite(t)
	const good, weak, short = "another horse battery", "password password_too_weak", "password password_too_short"
	for _, tc := range []struct {
		password string
		admin    bool
		want     []string
	}{
		{good, false, nil},
		{good, true, []string{weak}},
		{"wGx8#tUq2!mZ", false, nil},
		{"wGx8#tUq2!mZ", true, []string{short}},
		{alicePassword, true, nil},
	} {
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "u" + idp.RandomID().String()[:8], Password: tc.password, Admin: tc.admin})
		if got := codesOf(t, err); !slices.Equal(got, tc.want) {
			t.Errorf("%s, administrator %t: got %q, want %q", tc.password, tc.admin, got, tc.want)
		}
	}
	if rules := h.PasswordHelp(true); fmt.Sprint(rules[0].Args) != "map[min:15]" {
		t.Errorf("the help for administrators is %v", rules)
	}
}

func TestALentPasswordHasToBeChanged(t *testing.T) {
	h := sqlite(t)
	u := h.addUser(t, "alice")
	s := h.logIn(t, "alice", idp.SessionToken{})
	m := h.withPostman(t)
	if err := h.LendPassword(t.Context(), u.ID, "another horse battery"); err != nil {
		t.Fatal(err)
	}
	if mail := h.only(t, m, "admin_changed"); mail.To != "alice@example.com" || mail.Args["changes"] != "password" {
		t.Errorf("sent %+v", mail)
	}
	if h.alive(t, s.Token) {
		t.Error("the session is alive")
	}
	if got, err := h.FindUser(t.Context(), "alice"); err != nil || !got.MustChangePassword {
		t.Errorf("got %+v and %v, want somebody who must change their password", got, err)
	}
}

func TestS0_75_NoUsernameIsAnothersAddress(t *testing.T) {
	h := sqlite(t, func(c *config.Config) { c.Username.Patterns = []string{".*"} })
	if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "bob", Email: "bob@example.com"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bob@example.com", "ＢＯＢ＠example.com", "bob@EXAMPLE.com"} {
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: name})
		wantError(t, err, idp.Invalid, "username_characters", "username")
	}
}

func TestS0_81_DisposableAddressesAreRefused(t *testing.T) {
	h := sqlite(t, func(c *config.Config) {
		c.Email.BlockedDomains, c.Email.AllowedDomains = []string{"*.mailinator.example", "bad.example"}, []string{"guerrillamail.com"}
	})
	for address, refused := range map[string]bool{
		"x@TempMail.com": true, "x@sub.tempmail.com": true, "x@tempmail.com.": true, `"a@b"@tempmail.com`: true, "x@10minutemail.com": true,
		"x@a.mailinator.example": true, "x@mailinator.example": false, "x@bad.example": true, "x@a.bad.example": true,
		"x@guerrillamail.com": false, "x@example.com": false,
	} {
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "u" + idp.RandomID().String()[:8], Email: address})
		if refused {
			wantError(t, err, idp.Invalid, "email_disposable", "email")
		} else if err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestS0_82_PlusAddressingIsAllowedDeniedOrCollapsed(t *testing.T) {
	type answer struct{ first, second, found string }
	for mode, want := range map[string]answer{
		"allow":    {"", "", "alice+news@example.com"},
		"deny":     {"email_plus", "", ""},
		"collapse": {"", "email_taken", "alice+news@example.com"},
	} {
		h := sqlite(t, func(c *config.Config) { c.Email.PlusAddressing = mode })
		_, first := h.AddUser(t.Context(), idp.NewUser{Username: "alice", Email: "alice+news@example.com"})
		_, second := h.AddUser(t.Context(), idp.NewUser{Username: "carol", Email: "alice@example.com"})
		u, _ := h.FindUser(t.Context(), "ALICE+news@example.com")
		if got := (answer{idp.CodeOf(first), idp.CodeOf(second), u.Email}); got != want {
			t.Errorf("%s: got %+v, want %+v", mode, got, want)
		}
	}
}

func TestS0_83_HostileAddressesAreRefused(t *testing.T) {
	h := sqlite(t)
	for _, address := range []string{
		"a@b@example.com", "alice@example.com\r\nBcc: x@example.com", "alice\x00@example.com", "alice@example.com\n", "al\u202eice@example.com",
		"älice@example.com", "alice@[192.0.2.1]", "alice@localhost", " alice@example.com", "Alice <alice@example.com>", "a..b@example.com",
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("a.", 126) + "example.com", "", "@example.com", "alice@",
	} {
		if address == "" {
			continue // no address is none
		}
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: "alice", Email: address})
		if code := idp.CodeOf(err); code != "email_invalid" && code != "email_too_long" {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

func TestS0_84_ReservedNamesAreRefusedHoweverTheyAreDisguised(t *testing.T) {
	h := sqlite(t, func(c *config.Config) { c.Username.Reserved = []string{"ceo-office"} })
	for _, name := range []string{"Admin", "аdmin", "admin.", "ADMIN", "adm1n", "root", "well-known", "postmaster", "CEO_Office", "www"} {
		_, err := h.AddUser(t.Context(), idp.NewUser{Username: name})
		wantError(t, err, idp.Invalid, "username_reserved", "username")
	}
}

func TestS0_85_S0_86_UsernamesHaveTheirLengthAndCharacters(t *testing.T) {
	h := sqlite(t)
	for name, code := range map[string]string{
		"bo": "username_too_short", "bob": "", strings.Repeat("b", 64): "", strings.Repeat("b", 65): "username_too_long",
		"bob\n": "username_characters", "bob smith": "username_characters", "böb": "username_characters", "b_o-b": "",
	} {
		if _, err := h.AddUser(t.Context(), idp.NewUser{Username: name}); idp.CodeOf(err) != code {
			t.Errorf("%q: got %v, want %q", name, err, code)
		}
	}
	only := sqlite(t, func(c *config.Config) {
		c.Username.MinLength, c.Username.Patterns = 5, []string{"[a-z0-9]+", "[a-z].*"}
	})
	for name, code := range map[string]string{"abcd": "username_too_short", "abcd1": "", "1abcd": "username_characters", "abcd_": "username_characters"} {
		if _, err := only.AddUser(t.Context(), idp.NewUser{Username: name}); idp.CodeOf(err) != code {
			t.Errorf("%q with patterns: got %v, want %q", name, err, code)
		}
	}
}

func TestS0_87_UnicodeUsernamesAreFoldedAndOfOneScript(t *testing.T) {
	h := sqlite(t, func(c *config.Config) { c.Username.Charset = "unicode" })
	u, err := h.AddUser(t.Context(), idp.NewUser{Username: "ｂｏｂ"})
	if err != nil || u.Username != "bob" {
		t.Errorf("got %q and %v, want bob", u.Username, err)
	}
	_, err = h.AddUser(t.Context(), idp.NewUser{Username: "bob"})
	wantError(t, err, idp.Conflict, "username_taken", "username")
	_, err = h.AddUser(t.Context(), idp.NewUser{Username: "bоb"}) // with a Cyrillic о
	wantError(t, err, idp.Invalid, "username_mixed_script", "username")
	if _, err = h.AddUser(t.Context(), idp.NewUser{Username: "жужелица"}); err != nil {
		t.Error(err)
	}
}

func TestS0_88_NamesThatDifferInCaseAloneAreOne(t *testing.T) {
	for _, preserve := range []bool{false, true} {
		change := func(c *config.Config) { c.Username.PreserveCasing = preserve }
		t.Run(fmt.Sprintf("preserved %t", preserve), func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				names := []string{"Bob", "bOB", "BOB", "bob", "BoB", "boB", "bOb", "BOb"}
				users, failures := make([]idp.User, len(names)), make([]error, len(names))
				var wait sync.WaitGroup
				for i, name := range names {
					wait.Go(func() {
						users[i], failures[i] = h.AddUser(context.WithoutCancel(t.Context()), idp.NewUser{Username: name})
					})
				}
				wait.Wait()
				added := 0
				for i, err := range failures {
					if err != nil {
						wantError(t, err, idp.Conflict, "username_taken", "username")
						continue
					}
					added++
					want := "bob"
					if preserve {
						want = names[i]
					}
					if users[i].Username != want {
						t.Errorf("%s is stored as %s", names[i], users[i].Username)
					}
				}
				if added != 1 {
					t.Errorf("%d were added, want one", added)
				}
			}, change)
		})
	}
}

func TestAllThatIsWrongWithANewUserIsToldAtOnce(t *testing.T) {
	h := sqlite(t)
	_, err := h.AddUser(t.Context(), idp.NewUser{
		Username: "a b", Email: "nobody", Groups: idp.List{"a b"}, Profile: idp.Profile{Website: "no", Birthdate: "no"},
	})
	want := []string{"username username_characters", "email email_invalid", "groups group_invalid", "website url_invalid", "birthdate date_invalid"}
	if got := codesOf(t, err); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
