package storage_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func TestManyProcessesMigrateAtOnce(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		won := race(t, 8, func(i int) (bool, error) {
			if i%2 == 0 {
				s, err := storage.Open(t.Context(), url, storage.Options{Migrate: true})
				if err != nil {
					return false, err
				}
				return true, errors.Join(s.RaiseVersion(t.Context(), "n"), s.Close())
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"="+url, "STORAGE_TEST_ONCE=1")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Logf("%s", out)
			}
			return true, err
		})
		same(t, "opened", won, 8)
		s := storagetest.Open(t, url, storage.Options{})
		got, err := s.Versions(t.Context())
		must(t, err)
		same(t, "versions", got, map[string]int64{"n": 4})
		n, err := s.Int(t.Context(), `SELECT COUNT(*) FROM migrations WHERE version_id = 1`)
		must(t, err)
		same(t, "applied", n, 1)
	})
}

func TestI22_ACommandChecksTheSchemaWithoutMigrating(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		refused := func(o storage.Options, words ...string) {
			t.Helper()
			s, err := storage.Open(t.Context(), url, o)
			if err == nil {
				s.Close()
				t.Error("it was opened")
				return
			}
			wantErr(t, err, storage.ErrSchema)
			for _, word := range words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		}
		refused(storage.Options{}, "`postern migrate up`")
		if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
			if _, err := os.Stat(path); err == nil {
				t.Error("a file was made")
			}
		}
		s := storagetest.Open(t, url, storage.Options{})
		checked, err := storage.Open(t.Context(), url, storage.Options{})
		must(t, err)
		must(t, checked.Close())

		must(t, s.Exec(t.Context(), `DELETE FROM migrations WHERE version_id = 8`))
		refused(storage.Options{}, "version 7", "needs 8", "`postern migrate up`")
		must(t, s.Exec(t.Context(), `INSERT INTO migrations (version_id, is_applied) VALUES (99, ?)`, true))
		refused(storage.Options{}, "version 99", "knows 8")
		refused(storage.Options{Migrate: true}, "version 99", "knows 8")
	})
}

func TestMigrationsAreListedAndApplied(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		names := func(list []storage.Migration) (names []string, applied int) {
			for _, m := range list {
				names = append(names, m.Name)
				if m.AppliedAt != nil {
					applied++
				}
			}
			return names, applied
		}
		want := []string{"initial", "tune", "gate", "tune_gate", "accounts", "tune_accounts", "factors", "tune_factors"}
		list, err := storage.Migrations(t.Context(), url)
		must(t, err)
		got, applied := names(list)
		same(t, "before", got, want)
		same(t, "applied before", applied, 0)
		if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("listing left a file behind: %v", err)
			}
		}
		for _, want := range [][]string{want, nil} {
			done, err := storage.Up(t.Context(), url)
			must(t, err)
			got, _ := names(done)
			same(t, "up", got, want)
		}
		list, err = storage.Migrations(t.Context(), url)
		must(t, err)
		got, applied = names(list)
		same(t, "after", got, want)
		same(t, "applied after", applied, 8)
	})
}

func TestADatabaseOfTheFormerVersionIsMigratedWithItsRows(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		s := storagetest.Open(t, url, storage.Options{})
		u := addUser(t, s, "ada")
		row := addSession(t, s, u.ID)
		storage.MigrateTo(t, url, 2)
		if _, err := storage.Open(t.Context(), url, storage.Options{}); !errors.Is(err, storage.ErrSchema) {
			t.Errorf("a server on the former schema: got %v, want ErrSchema", err)
		}
		must(t, s.Exec(t.Context(), `INSERT INTO counters (key, used, dead_at) VALUES (?, 1, ?)`, []byte("c"), at(0)))

		migrated := storagetest.Open(t, url, storage.Options{})
		list, err := migrated.Sessions(t.Context(), u.ID, idp.ID{}, now, 10)
		must(t, err)
		row.ClientID, row.Trusted = "", false
		same(t, "sessions", list, []idp.Session{row})
		same(t, "counters", count(t, migrated, "counters"), 0)
		same(t, "users", count(t, migrated, "users"), 1)
	})
}

func TestASessionByAMailedCodeOfTheFormerVersionIsOneStill(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		s := storagetest.Open(t, url, storage.Options{})
		row := newSession(addUser(t, s, "ada").ID)
		row.EndedAt, row.EndedWhy = nil, ""
		row.Methods = append(row.Methods, idp.Method{Name: idp.MethodMail, At: at(0)})
		must(t, s.AddSession(t.Context(), row))
		storage.MigrateTo(t, url, 6)
		n, err := s.Int(t.Context(), `SELECT COUNT(*) FROM sessions WHERE methods LIKE '%{"m":"otp",%'`)
		must(t, err)
		same(t, "sessions by what the former version calls otp", n, 1)

		migrated := storagetest.Open(t, url, storage.Options{})
		v, err := migrated.Visit(t.Context(), row.ID, "")
		must(t, err)
		same(t, "methods", v.Session.Methods, row.Methods)
	})
}

func TestS0_25_AddressesOfTheFormerVersionAreTakenOver(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		s := storagetest.Open(t, url, storage.Options{})
		ada, bob, none := addUser(t, s, "ada"), newUser("bob"), newUser("none")
		bob.EmailVerified = false
		none.Email, none.EmailKey, none.EmailVerified = "", "", false
		must(t, s.AddUser(t.Context(), bob))
		must(t, s.AddUser(t.Context(), none))
		addClaimant(t, s, "claimant", "bob@example.org")
		addClaimant(t, s, "thief", "ada2@example.org")
		must(t, s.AddEmail(t.Context(), verified(newEmail(ada.ID, "ada2@example.org"))))
		addTicket(t, s, idp.ForReset, ada.ID)
		storage.MigrateTo(t, url, 4)
		n, err := s.Int(t.Context(), `SELECT COUNT(*) FROM users WHERE email_key = 'bob@example.org'`)
		must(t, err)
		same(t, "who has the address that two claimed", n, 1)

		migrated := storagetest.Open(t, url, storage.Options{})
		for _, u := range []idp.User{ada, none} {
			u.MustChangePassword, u.Factors, u.Locale, u.DeleteAt = false, nil, "", nil // of newer versions
			got, err := migrated.User(t.Context(), u.ID)
			must(t, err)
			same(t, "user", got, u)
		}
		list, err := migrated.Emails(t.Context(), ada.ID)
		must(t, err)
		same(t, "addresses", list, []idp.Email{{
			ID: ada.ID, UserID: ada.ID, Address: ada.Email, Key: ada.EmailKey, Primary: true, VerifiedAt: ptr(at(0)), CreatedAt: at(0),
		}})
		same(t, "of who has none", emailsOf(t, migrated, none.ID), []string(nil))
		same(t, "ada's", owner(t, migrated, ada.EmailKey), "ada")
		claimed, err := migrated.UserByKey(t.Context(), "bob@example.org")
		must(t, err)
		same(t, "unverified", claimed.EmailVerified, false)
		same(t, "of who claims", emailsOf(t, migrated, claimed.ID), []string{"bob@example.org"})
	})
}

func TestI22_AFileOfAnotherUserIsRefused(t *testing.T) {
	path := "/etc/passwd" // root's, whom others must not write as
	if os.Geteuid() == 0 {
		path = strings.TrimPrefix(storagetest.SQLite(t), "sqlite:")
		storagetest.Open(t, "sqlite:"+path, storage.Options{})
		const nobody = 65534
		must(t, os.Chown(path, nobody, nobody))
		defer os.Chown(path, 0, 0)
	}
	for _, o := range []storage.Options{{}, {Migrate: true}} {
		s, err := storage.Open(t.Context(), "sqlite:"+path, o)
		if err == nil {
			s.Close()
			t.Error("it was opened")
		} else if !strings.Contains(err.Error(), "belongs to the user") {
			t.Errorf("got %v", err)
		}
	}
}

func TestI22_NobodyElseCanReadTheFile(t *testing.T) {
	url := storagetest.SQLite(t)
	s, err := storage.Open(t.Context(), url, storage.Options{Migrate: true, Log: slog.New(slog.DiscardHandler)}) // no copy
	must(t, err)
	defer s.Close()
	addUser(t, s, "ada")
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(strings.TrimPrefix(url, "sqlite:") + suffix)
		must(t, err)
		same(t, "mode of the file"+suffix, info.Mode().Perm(), os.FileMode(0o600))
	}
}

func TestSQLiteIsDurableAndKeepsItsReferences(t *testing.T) {
	s := openSQLite(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "query_only": "1"} {
		var got string
		must(t, s.Row(t.Context(), `PRAGMA `+pragma, &got))
		same(t, pragma, got, want)
	}
}

func TestTwoProcessesWriteToOneFile(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		a, b := storagetest.Open(t, url, storage.Options{}), storagetest.Open(t, url, storage.Options{})
		race(t, 32, func(i int) (bool, error) {
			if i%2 == 0 {
				return true, a.RaiseVersion(t.Context(), "n")
			}
			return true, b.RaiseVersion(t.Context(), "n")
		})
		got, err := a.Versions(t.Context())
		must(t, err)
		same(t, "versions", got, map[string]int64{"n": 32})
	})
}
