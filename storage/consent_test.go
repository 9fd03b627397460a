package storage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func TestI2_ConsentGrowsAndWithdrawingRaisesItsFloor(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		addClient(t, s, "rp")
		u := addUser(t, s, "ada")
		_, err := s.Consent(ctx, u.ID, "rp")
		wantErr(t, err, idp.ErrNotFound)
		wantErr(t, s.WithdrawConsent(ctx, u.ID, "rp", now), idp.ErrNotFound)

		put := func(want idp.Consent, scopes, claims idp.List, when time.Time) {
			t.Helper()
			got, err := s.PutConsent(ctx, idp.Consent{UserID: u.ID, ClientID: "rp", Scopes: scopes, Claims: claims, UpdatedAt: when})
			must(t, err)
			same(t, "put", got, want)
			got, err = s.Consent(ctx, u.ID, "rp")
			must(t, err)
			same(t, "kept", got, want)
		}
		c := idp.Consent{UserID: u.ID, ClientID: "rp", Scopes: idp.List{"openid"}, Version: 1, CreatedAt: at(0), UpdatedAt: at(0)}
		put(c, idp.List{"openid"}, nil, at(0))
		c.Scopes, c.Claims, c.Version, c.UpdatedAt = idp.List{"openid", "email"}, idp.List{"name"}, 2, at(time.Hour)
		put(c, idp.List{"email", "openid"}, idp.List{"name"}, at(time.Hour))

		must(t, s.WithdrawConsent(ctx, u.ID, "rp", at(2*time.Hour)))
		c.Scopes, c.Claims, c.Version, c.Floor, c.UpdatedAt = nil, nil, 3, 3, at(2*time.Hour)
		list, err := s.Consents(ctx, u.ID, 10)
		must(t, err)
		same(t, "withdrawn", list, []idp.Consent{c})
		c.Scopes, c.Version, c.UpdatedAt = idp.List{"email"}, 4, at(3*time.Hour)
		put(c, idp.List{"email"}, nil, at(3*time.Hour))
	})
}

func TestConsentsGivenAtOnceAllCount(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		addClient(t, s, "rp")
		u := addUser(t, s, "ada")
		const racers = 4
		race(t, racers, func(i int) (bool, error) {
			_, err := s.PutConsent(ctx, idp.Consent{UserID: u.ID, ClientID: "rp", Scopes: idp.List{fmt.Sprint(i)}, UpdatedAt: at(0)})
			return true, err
		})
		got, err := s.Consent(ctx, u.ID, "rp")
		must(t, err)
		slices.Sort(got.Scopes)
		same(t, "scopes", got.Scopes, idp.List{"0", "1", "2", "3"})
		same(t, "version", got.Version, int64(racers))
	})
}
