package idp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

const importedPassword = "correct horse"

// importedHashes are of importedPassword, by other programs.
var importedHashes = map[string]struct{ hash, scheme string }{
	"django":   {"pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=", "$pbkdf2-sha256$i=1000,l=32"},
	"bcrypt":   {"$2b$05$op8.L5nVczyr6Nf.iww2zeINzpoW9catNVQgsSH6nmZ70xTkkdsIy", "$2b$05"},
	"phpass":   {"$P$5OBRkm8t0URI.k9.qMYOm3nqCKkYkV/", "$P$5"},
	"ssha":     {"{SSHA}6C9IevML71nTzQ8ykPJY2TQJKJK89z4n", "{SSHA}"},
	"firebase": {"$firebase-scrypt$ss=Bw,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA,r=8,m=10$42xEC-ixf3L2lw$tm34_go-iWJJV9JUbbiyfO9fF6yfO_o71kdU4jZ3MrwhpmgzJLmIsaDwiiHV97yTIXx3nUrVen71smZcm35BrQ", "$firebase-scrypt$r=8,m=10"},
}

func TestS0_27_ImportedUsersSignInAndAreHashedAnew(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for name, i := range importedHashes {
			told, err := h.ImportUser(t.Context(), idp.ImportedUser{Line: 2, Username: name, PasswordHash: i.hash}, false)
			if err != nil || told.Status != idp.ImportAdded || told.Scheme != i.scheme || told.User != name || told.ID.IsZero() {
				t.Fatalf("%s: got %+v and %v", name, told, err)
			}
			before, err := h.store.Password(t.Context(), told.ID)
			if err != nil || before.Secret != i.hash || before.Scheme != i.scheme {
				t.Fatalf("%s: stored %+v and %v", name, before, err)
			}
			_, err = h.tryLogIn(t, "192.0.2.1", name, "wrong horse")
			wantError(t, err, idp.Denied, "invalid_credentials", "")
			if after, _ := h.store.Password(t.Context(), told.ID); after.Secret != i.hash {
				t.Errorf("%s: a wrong password replaced the hash", name)
			}
			for range 2 {
				if _, err := h.tryLogIn(t, "192.0.2.1", name, importedPassword); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				after, err := h.store.Password(t.Context(), told.ID)
				if err != nil || !strings.HasPrefix(after.Secret, after.Scheme+"$") || !strings.HasPrefix(after.Scheme, "$argon2id$") {
					t.Errorf("%s: stored %q of %q and %v", name, after.Secret, after.Scheme, err)
				}
			}
		}
		if counts, err := h.store.PasswordSchemes(t.Context()); err != nil || len(counts) != 1 {
			t.Errorf("got %v and %v, want one scheme", counts, err)
		}
	}, func(c *config.Config) { c.RateLimits.Off, c.Lockout.Enabled = true, false })
}

func TestARecordIsImportedAsItStands(t *testing.T) {
	h := sqlite(t)
	created := time.Date(2019, 5, 4, 3, 2, 1, 0, time.FixedZone("", 3600))
	told, err := h.ImportUser(t.Context(), idp.ImportedUser{
		Username: "Alice", Email: "Alice@BÜCHER.example", EmailVerified: true, Admin: true, Disabled: true, Groups: idp.List{"staff"},
		Profile: idp.Profile{GivenName: "Alice"}, CreatedAt: created, Password: alicePassword,
	}, false)
	if err != nil || told.Status != idp.ImportAdded {
		t.Fatalf("got %+v and %v", told, err)
	}
	u, err := h.FindUser(t.Context(), "alice@bücher.example")
	if err != nil || u.ID != told.ID || u.Username != "alice" || u.Email != "Alice@xn--bcher-kva.example" || !u.EmailVerified || !u.Admin ||
		u.Status != idp.Disabled || !slices.Equal(u.Groups, idp.List{"staff"}) || u.Profile.GivenName != "Alice" || !u.CreatedAt.Equal(created) {
		t.Errorf("got %+v and %v", u, err)
	}
	if got := h.kinds(t); !strings.Contains(got, "user.imported") {
		t.Errorf("the events are %s", got)
	}
}

func TestAnImportTellsAllThatIsWrongAndNothingOfThePassword(t *testing.T) {
	h := sqlite(t)
	if _, err := h.AddUser(t.Context(), idp.NewUser{Username: "alice", Email: "alice@example.com"}); err != nil {
		t.Fatal(err)
	}
	const unsalted = "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk="
	for name, tc := range map[string]struct {
		record idp.ImportedUser
		status idp.ImportStatus
		codes  []string
	}{
		"taken":               {idp.ImportedUser{Username: "ALICE"}, idp.ImportExists, []string{"username_taken"}},
		"a taken address":     {idp.ImportedUser{Username: "bob", Email: "ALICE@example.com"}, idp.ImportExists, []string{"email_taken"}},
		"no salt":             {idp.ImportedUser{Username: "bob", PasswordHash: unsalted}, idp.ImportRefused, []string{"hash_unfit"}},
		"a hash and more":     {idp.ImportedUser{Username: "b b", Email: "b", PasswordHash: unsalted, Password: "short"}, idp.ImportRefused, []string{"username_characters", "email_invalid", "password_twice", "hash_unfit", "password_too_short", "password_too_common", "password_too_weak"}},
		"tomorrow":            {idp.ImportedUser{Username: "bob", CreatedAt: noon.Add(time.Second)}, idp.ImportRefused, []string{"created_in_future"}},
		"a hash for a name":   {idp.ImportedUser{Username: unsalted}, idp.ImportRefused, []string{"username_characters"}},
		"a reserved username": {idp.ImportedUser{Username: "root"}, idp.ImportRefused, []string{"username_reserved"}},
	} {
		for _, dry := range []bool{true, false} {
			told, err := h.ImportUser(t.Context(), tc.record, dry)
			var codes []string
			for _, wrong := range told.Wrong {
				codes = append(codes, wrong.Code)
				if strings.Contains(wrong.Code+strings.Join(argsOf(wrong), " ")+told.User+told.Scheme, "2jmj7l5rSw0yVb") {
					t.Errorf("%s: %+v quotes the hash", name, told)
				}
			}
			if err != nil || told.Status != tc.status || !slices.Equal(codes, tc.codes) {
				t.Errorf("%s, dry %t: got %s %q and %v, want %s %q", name, dry, told.Status, codes, err, tc.status, tc.codes)
			}
		}
	}
	if users, err := h.Users(t.Context(), "", 10); err != nil || len(users) != 1 {
		t.Errorf("got %+v and %v, want alice alone", users, err)
	}
}

func argsOf(e *idp.Error) (texts []string) {
	for _, value := range e.Args {
		if text, ok := value.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

func TestADryRunAddsNobody(t *testing.T) {
	h := sqlite(t)
	before := h.kinds(t)
	told, err := h.ImportUser(t.Context(), idp.ImportedUser{Username: "bob", PasswordHash: importedHashes["bcrypt"].hash}, true)
	if err != nil || told.Status != idp.ImportAdded || told.Scheme != "$2b$05" || !told.ID.IsZero() {
		t.Errorf("got %+v and %v", told, err)
	}
	if users, err := h.Users(t.Context(), "", 10); err != nil || len(users) != 0 || h.kinds(t) != before {
		t.Errorf("got %+v, %v and the events %s", users, err, h.kinds(t))
	}
}

// An imported scheme is among those that names of nobody are verified with.
func TestS0_27_I21_NamesOfNobodyCostWhatImportedHashesCost(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	if _, err := h.ImportUser(t.Context(), idp.ImportedUser{Username: "bob", PasswordHash: importedHashes["django"].hash}, false); err != nil {
		t.Fatal(err)
	}
	counts, err := h.store.PasswordSchemes(t.Context())
	if err != nil || len(counts) != 1 || counts[importedHashes["django"].scheme] != 1 {
		t.Errorf("got %v and %v, want the imported scheme with its parameters", counts, err)
	}
}
