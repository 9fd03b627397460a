package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newSet(userID idp.ID) idp.Authenticator {
	return idp.Authenticator{ID: idp.NewID(now), UserID: userID, Kind: idp.RecoveryKind, CreatedAt: at(2 * time.Minute)}
}

func newCodes(n byte) []idp.RecoveryCode {
	list := make([]idp.RecoveryCode, n)
	for i := range list {
		list[i] = idp.RecoveryCode{ID: idp.NewID(now), Hash: []byte{0, 255, byte(i)}}
	}
	return list
}

// addCodes adds a set and returns it with its codes as they are kept.
func addCodes(t *testing.T, s *storage.Store, userID idp.ID) (idp.Authenticator, []idp.RecoveryCode) {
	t.Helper()
	set, list := newSet(userID), newCodes(3)
	must(t, s.PutRecoveryCodes(t.Context(), set, list))
	for i := range list {
		list[i].AuthenticatorID, list[i].UserID = set.ID, userID
	}
	return set, list
}

func wantCodes(t *testing.T, s *storage.Store, userID idp.ID, want []idp.RecoveryCode) {
	t.Helper()
	got, err := s.RecoveryCodes(t.Context(), userID)
	must(t, err)
	same(t, "codes", got, want)
}

func TestS3_23_NewRecoveryCodesReplaceTheFormerOnes(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		_, former := addCodes(t, s, ada.ID)
		_, others := addCodes(t, s, bob.ID)
		set, list := addCodes(t, s, ada.ID)
		wantCodes(t, s, ada.ID, list)
		wantCodes(t, s, bob.ID, others)
		wantFactors(t, s, ada.ID, set)
		used, err := s.UseRecoveryCode(ctx, ada.ID, former[0].ID, []byte("request"), now)
		must(t, err)
		same(t, "a former one is used", used, false)
		wantErr(t, s.AddFactor(ctx, newSet(ada.ID)), idp.ErrConflict)
		wantErr(t, s.PutRecoveryCodes(ctx, newSet(idp.RandomID()), newCodes(3)), idp.ErrNotFound)
	})
}

func TestS3_04_ARecoveryCodeIsUsedOnce(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		set, list := addCodes(t, s, ada.ID)
		use := func(userID, id idp.ID, by string) bool {
			t.Helper()
			used, err := s.UseRecoveryCode(ctx, userID, id, []byte(by), at(time.Hour))
			must(t, err)
			return used
		}
		same(t, "by another user", use(bob.ID, list[0].ID, "bob's"), false)
		wantFactors(t, s, ada.ID, set)
		won := race(t, 20, func(i int) (bool, error) {
			return s.UseRecoveryCode(ctx, ada.ID, list[0].ID, []byte{byte(i)}, at(time.Hour))
		})
		same(t, "uses", won, 1)
		same(t, "of another", use(ada.ID, list[1].ID, "request"), true)
		same(t, "by the same request, which was not told", use(ada.ID, list[1].ID, "request"), true)
		same(t, "by another request", use(ada.ID, list[1].ID, "later"), false)
		got, err := s.RecoveryCodes(ctx, ada.ID)
		must(t, err)
		list[0].UsedAt, list[0].UsedBy = ptr(at(time.Hour)), got[0].UsedBy
		list[1].UsedAt, list[1].UsedBy = ptr(at(time.Hour)), []byte("request")
		same(t, "codes", got, list)
		set.LastUsedAt = ptr(at(time.Hour))
		wantFactors(t, s, ada.ID, set)
	})
}
