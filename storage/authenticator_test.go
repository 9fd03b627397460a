package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

const phc = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"

func newPassword(userID idp.ID) idp.Authenticator {
	return idp.Authenticator{
		ID: idp.NewID(now), UserID: userID, Kind: idp.PasswordKind, Secret: phc, Scheme: "$argon2id$v=19$m=64,t=1,p=1",
		CreatedAt: at(0), LastUsedAt: ptr(at(time.Minute)),
	}
}

func TestPasswordIsKeptWholeAndReplaced(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		_, err := s.Password(ctx, u.ID)
		wantErr(t, err, idp.ErrNotFound)
		first, second := newPassword(u.ID), newPassword(u.ID)
		second.LastUsedAt = nil
		for _, want := range []idp.Authenticator{first, second} {
			must(t, s.PutPassword(ctx, want))
			got, err := s.Password(ctx, u.ID)
			must(t, err)
			same(t, "password", got, want)
		}
	})
}

func TestCredentialsComeInOneStatement(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		password := newPassword(ada.ID)
		must(t, s.PutPassword(ctx, password))
		sent.Take()
		for _, key := range []string{"ada", "ada@example.org"} {
			u, a, err := s.Credentials(ctx, key)
			must(t, err)
			same(t, "user", u, ada)
			same(t, "password", a, password)
		}
		u, a, err := s.Credentials(ctx, "bob")
		must(t, err)
		same(t, "user without", u, bob)
		same(t, "no password", a, idp.Authenticator{})
		_, _, err = s.Credentials(ctx, "nobody")
		wantErr(t, err, idp.ErrNotFound)
		same(t, "statements", len(sent.Take()), 4)
	})
}

func TestRehashReplacesOnlyTheSecretThatWasVerified(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		a := newPassword(u.ID)
		must(t, s.PutPassword(ctx, a))
		a.Secret, a.Scheme = "$argon2id$v=19$m=128,t=1,p=1$c2FsdA$aGFzaA", "$argon2id$v=19$m=128,t=1,p=1"
		must(t, s.RehashPassword(ctx, a, "$another"))
		got, err := s.Password(ctx, u.ID)
		must(t, err)
		same(t, "kept", got.Secret, phc)
		must(t, s.RehashPassword(ctx, a, phc))
		got, err = s.Password(ctx, u.ID)
		must(t, err)
		same(t, "replaced", got, a)
	})
}

func TestI21_SchemesAreCountedAsTheyWereGiven(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		for name, scheme := range map[string]string{"a": "$2b$12", "b": "$2b$12", "c": "$pbkdf2-sha256$i=600000,l=32"} {
			a := newPassword(addUser(t, s, name).ID)
			a.Secret, a.Scheme = "pbkdf2_sha256$600000$salt$hash", scheme
			must(t, s.PutPassword(ctx, a))
		}
		got, err := s.PasswordSchemes(ctx)
		must(t, err)
		same(t, "schemes", got, map[string]int{"$2b$12": 2, "$pbkdf2-sha256$i=600000,l=32": 1})
	})
}
