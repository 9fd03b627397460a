package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newClient(id string) idp.Client {
	return idp.Client{
		ID: id,
		Metadata: idp.Metadata{Name: "RP", RedirectURIs: idp.List{"https://rp.example/cb?a=b&c"}, GrantTypes: idp.List{"authorization_code"},
			TokenEndpointAuthMethod: idp.AuthBasic, ApplicationType: "web", DefaultMaxAge: ptr(int64(60)), FirstParty: true},
		Secrets:         idp.Secrets{{ID: idp.RandomID(), Hash: "sha256$abc", CreatedAt: at(0), ExpiresAt: ptr(at(time.Hour))}},
		SecurityVersion: 7, DisabledAt: ptr(at(time.Minute)), CreatedAt: at(0), UpdatedAt: at(time.Second),
	}
}

func addClient(t testing.TB, s *storage.Store, id string) idp.Client {
	t.Helper()
	c := newClient(id)
	must(t, s.AddClient(t.Context(), c))
	return c
}

func TestClientIsKeptWholeAndChanged(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		b, a := addClient(t, s, "b"), addClient(t, s, "B-a")
		wantErr(t, s.AddClient(ctx, a), idp.ErrConflict)
		got, err := s.Clients(ctx)
		must(t, err)
		same(t, "clients", got, []idp.Client{a, b})
		a.Metadata, a.Secrets, a.SecurityVersion = idp.Metadata{TokenEndpointAuthMethod: idp.AuthNone, ApplicationType: "native"}, nil, 8
		a.DisabledAt, a.UpdatedAt = nil, at(time.Hour)
		must(t, s.ChangeClient(ctx, a))
		got, err = s.Clients(ctx)
		must(t, err)
		same(t, "changed", got, []idp.Client{a, b})
		wantErr(t, s.ChangeClient(ctx, newClient("none")), idp.ErrNotFound)
	})
}

func TestDeletingAClientDeletesItsConsentsAndGrants(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		addClient(t, s, "rp")
		u := addUser(t, s, "ada")
		_, err := s.PutConsent(ctx, idp.Consent{UserID: u.ID, ClientID: "rp", UpdatedAt: at(0)})
		must(t, err)
		g := newGrant(u.ID, idp.ID{})
		must(t, s.AddGrant(ctx, g))
		must(t, s.DeleteClient(ctx, "rp"))
		_, err = s.Consent(ctx, u.ID, "rp")
		wantErr(t, err, idp.ErrNotFound)
		_, err = s.Grant(ctx, g.ID, false)
		wantErr(t, err, idp.ErrNotFound)
		wantErr(t, s.DeleteClient(ctx, "rp"), idp.ErrNotFound)
	})
}

func TestI13_VersionsRiseWithTheTxOfTheirChange(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		won := race(t, 8, func(int) (bool, error) { return true, s.RaiseVersion(ctx, idp.VersionClients) })
		must(t, s.RaiseVersion(ctx, idp.VersionKeys))
		got, err := s.Versions(ctx)
		must(t, err)
		same(t, "versions", got, map[string]int64{idp.VersionClients: int64(won), idp.VersionKeys: 1})
	})
}

func TestI10_KeyCheckIsKept(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		for _, want := range [][]byte{nil, {1, 2}, {3}} {
			if want != nil {
				must(t, s.PutKeyCheck(ctx, want))
			}
			got, err := s.KeyCheck(ctx)
			must(t, err)
			same(t, "check", got, want)
		}
	})
}
