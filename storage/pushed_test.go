package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newPushed() idp.Pushed {
	return idp.Pushed{ID: idp.NewID(now), ClientID: "rp", Request: "scope=openid&state=%00", Internal: true,
		CreatedAt: at(0), ExpiresAt: at(time.Minute)}
}

func TestI18_PushedRequestIsKeptWholeAndUsedOnce(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		p := newPushed()
		must(t, s.AddPushed(ctx, p))
		got, err := s.Pushed(ctx, p.ID)
		must(t, err)
		same(t, "pushed", got, p)
		won := race(t, 16, func(i int) (bool, error) { return s.UsePushed(ctx, p.ID, []byte{byte(i)}, now) })
		same(t, "users", won, 1)
		got, err = s.Pushed(ctx, p.ID)
		must(t, err)
		p.UsedAt, p.UsedBy = ptr(at(0)), got.UsedBy
		same(t, "used", got, p)
		_, err = s.Pushed(ctx, idp.NewID(now))
		wantErr(t, err, idp.ErrNotFound)
	})
}
