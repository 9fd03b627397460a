package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func TestKeyIsKeptWholeThroughItsLife(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		young := idp.Key{ID: "a", Alg: "ES256", State: idp.KeyActive, Public: `{"kty":"EC"}`, Private: []byte{0, 255}, CreatedAt: at(time.Hour), ActiveAt: ptr(at(0)), RetiredAt: ptr(at(1))}
		old := idp.Key{ID: "b", Alg: "RS256", State: idp.KeyAnnounced, Public: `{}`, Private: []byte{1}, CreatedAt: at(0)}
		must(t, s.AddKey(ctx, young))
		must(t, s.AddKey(ctx, old))
		wantErr(t, s.AddKey(ctx, old), idp.ErrConflict)
		keys := func(want ...idp.Key) {
			t.Helper()
			got, err := s.Keys(ctx)
			must(t, err)
			same(t, "keys", got, want)
		}
		young.RetiredAt = ptr(at(0)) // cut to the microsecond
		keys(old, young)

		wantErr(t, s.ChangeKey(ctx, old, idp.KeyRetired), idp.ErrConflict)
		old.State, old.ActiveAt, old.RetiredAt = idp.KeyRetired, ptr(at(time.Minute)), ptr(at(time.Hour))
		must(t, s.ChangeKey(ctx, old, idp.KeyAnnounced))
		must(t, s.ResealKey(ctx, "b", []byte{9}, []byte{2}))
		keys(old, young)
		must(t, s.ResealKey(ctx, "b", []byte{1}, []byte{2}))
		old.Private = []byte{2}
		keys(old, young)

		wantErr(t, s.DeleteKey(ctx, "a"), idp.ErrNotFound) // active
		must(t, s.DeleteKey(ctx, "b"))
		keys(young)
	})
}
