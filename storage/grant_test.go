package storage_test

import (
	"context"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// newGrant has a value in every field.
func newGrant(userID, sessionID idp.ID) idp.Grant {
	return idp.Grant{
		ID: idp.NewID(now), ClientID: "rp", UserID: userID, SessionID: sessionID, SessionBound: true,
		Scopes: idp.List{"openid", "email"}, Audience: idp.List{"https://api.example"},
		Facts:        idp.Facts{RedirectURI: "https://rp.example/cb", RedirectSent: true, Nonce: "n\"\u2028", AuthTime: 1, AMR: []string{"pwd"}},
		Confirmation: "thumbprint", Epoch: 3, ConsentVersion: 2,
		CodeHash: []byte{1}, CodeExpiresAt: at(time.Minute), CodeUsedAt: ptr(at(time.Second)), CodeUsedBy: []byte{2},
		RefreshGen: 4, RefreshParent: 3, RefreshRecent: idp.Redeemed{{Gen: 3, At: 1767316000123, Sender: 1<<64 - 1}},
		RefreshKey: 5, RefreshExpiresAt: ptr(at(time.Hour)), RefreshedAt: ptr(at(2 * time.Second)), RefreshedBy: []byte{3},
		DeedNonce: []byte("nonce" + userID.String()), CreatedAt: at(0), RevokedAt: ptr(at(3 * time.Second)), RevokedWhy: "reuse", DeadAt: at(2 * time.Hour),
	}
}

// addGrant adds one whose code is fresh.
func addGrant(t testing.TB, s *storage.Store, userID, sessionID idp.ID) idp.Grant {
	t.Helper()
	g := idp.Grant{ID: idp.NewID(now), ClientID: "rp", UserID: userID, SessionID: sessionID, Epoch: 3,
		CodeHash: []byte{1}, CodeExpiresAt: at(time.Minute), CreatedAt: at(0), DeadAt: at(time.Minute)}
	must(t, s.AddGrant(t.Context(), g))
	return g
}

// redeemed is g after the redemption by a request.
func redeemed(g idp.Grant, by byte) idp.Grant {
	g.CodeUsedAt, g.CodeUsedBy = ptr(at(time.Second)), []byte{by}
	g.RefreshGen, g.RefreshKey, g.RefreshExpiresAt = 1, 9, ptr(at(time.Hour))
	g.RefreshedAt, g.RefreshedBy, g.DeadAt = ptr(at(time.Second)), []byte{by}, at(time.Hour)
	return g
}

// rotated is g after the redemption of its head by a request.
func rotated(g idp.Grant, by byte) idp.Grant {
	g.RefreshRecent = append(idp.Redeemed{}, idp.Redemption{Gen: g.RefreshGen, At: 1, Sender: uint64(by)})
	g.RefreshParent, g.RefreshGen = g.RefreshGen, g.RefreshGen+1
	g.RefreshedAt, g.RefreshedBy, g.DeadAt = ptr(at(time.Minute)), []byte{by}, at(2*time.Hour)
	return g
}

func TestI2_GrantComesWithEverythingThatItRestsOnInOneStatement(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		addClient(t, s, "rp")
		u := addUser(t, s, "ada")
		session := newSession(u.ID)
		must(t, s.AddSession(ctx, session))
		_, err := s.PutConsent(ctx, idp.Consent{UserID: u.ID, ClientID: "rp", UpdatedAt: at(0)})
		must(t, err)
		must(t, s.WithdrawConsent(ctx, u.ID, "rp", now))
		g := newGrant(u.ID, session.ID)
		must(t, s.AddGrant(ctx, g))
		sent.Take()

		want := idp.GrantVisit{Grant: g, UserStatus: idp.Active, UserEpoch: 3, ConsentFloor: 2, SessionEpoch: 3,
			SessionIdleAt: &session.IdleAt, SessionEndsAt: &session.EndsAt, SessionEndedAt: session.EndedAt}
		got, err := s.Grant(ctx, g.ID, false)
		must(t, err)
		same(t, "grant", got, want)
		want.User = &u
		got, err = s.Grant(ctx, g.ID, true)
		must(t, err)
		same(t, "grant with user", got, want)

		want.Grant = idp.Grant{ID: g.ID, ClientID: g.ClientID, UserID: g.UserID, SessionBound: true, Scopes: g.Scopes,
			Audience: g.Audience, Facts: g.Facts, Epoch: g.Epoch, ConsentVersion: g.ConsentVersion, RevokedAt: g.RevokedAt}
		want.User = &idp.User{ID: u.ID, Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified, Profile: u.Profile,
			Status: u.Status, Epoch: u.Epoch, UpdatedAt: u.UpdatedAt}
		got, err = s.AccessGrant(ctx, g.ID, [][]byte{{1}, {2}}, true)
		must(t, err)
		same(t, "an access token's grant with user", got, want)
		want.User = nil
		got, err = s.AccessGrant(ctx, g.ID, nil, false)
		must(t, err)
		same(t, "an access token's grant", got, want)
		same(t, "statements", len(sent.Take()), 4)
		for _, withUser := range []bool{false, true} {
			_, err = s.Grant(ctx, idp.NewID(now), withUser)
			wantErr(t, err, idp.ErrNotFound)
			_, err = s.AccessGrant(ctx, idp.NewID(now), nil, withUser)
			wantErr(t, err, idp.ErrNotFound)
		}
	})
}

func TestAccessTokenIsDeniedByEitherOfItsKeys(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		g := addGrant(t, s, addUser(t, s, "ada").ID, idp.ID{})
		must(t, s.Deny(ctx, []byte{2}, at(time.Hour)))
		denied := func(withUser bool, keys ...[]byte) bool {
			v, err := s.AccessGrant(ctx, g.ID, keys, withUser)
			must(t, err)
			return v.Denied
		}
		for _, withUser := range []bool{false, true} {
			same(t, "by the only key", denied(withUser, []byte{2}), true)
			same(t, "by the first", denied(withUser, []byte{2}, []byte{1}), true)
			same(t, "by the second", denied(withUser, []byte{1}, []byte{2}), true)
			same(t, "by another", denied(withUser, []byte{1}, []byte{3}), false)
			same(t, "by none", denied(withUser), false)
		}
	})
}

func TestI2_GrantOfNobodyRestsOnNothing(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		g := addGrant(t, s, idp.RandomID(), idp.NewID(now))
		got, err := s.Grant(ctx, g.ID, false)
		must(t, err)
		same(t, "grant", got, idp.GrantVisit{Grant: g})
		_, err = s.Grant(ctx, g.ID, true)
		wantErr(t, err, idp.ErrNotFound)
	})
}

func TestI18_DeedNonceIsTakenOnce(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		g := newGrant(idp.RandomID(), idp.ID{})
		must(t, s.AddGrant(t.Context(), g))
		g.ID = idp.NewID(now)
		wantErr(t, s.AddGrant(t.Context(), g), idp.ErrConflict)
	})
}

func TestCodeIsRedeemedOnce(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		g := addGrant(t, s, idp.RandomID(), idp.ID{})
		sent.Take()
		won := race(t, 16, func(i int) (bool, error) { return s.RedeemCode(ctx, redeemed(g, byte(i+1))) })
		same(t, "winners", won, 1)
		same(t, "statements", len(sent.Take()), 16)
		got, err := s.Grant(ctx, g.ID, false)
		must(t, err)
		same(t, "grant", got.Grant, redeemed(g, got.Grant.CodeUsedBy[0]))
	})
}

func TestI3_HeadIsRotatedOnce(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		g := addGrant(t, s, idp.RandomID(), idp.ID{})
		g = redeemed(g, 1)
		_, err := s.RedeemCode(ctx, g)
		must(t, err)
		sent.Take()
		won := race(t, 16, func(i int) (bool, error) { return s.RotateRefresh(ctx, rotated(g, byte(i+2)), 1) })
		same(t, "winners", won, 1)
		same(t, "statements", len(sent.Take()), 16)
		got, err := s.Grant(ctx, g.ID, false)
		must(t, err)
		same(t, "grant", got.Grant, rotated(g, got.Grant.RefreshedBy[0]))
	})
}

func TestI3_SkipDeniesTheSkippedGenerationInItsTx(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		g := redeemed(addGrant(t, s, idp.RandomID(), idp.ID{}), 1)
		_, err := s.RedeemCode(ctx, g)
		must(t, err)
		g = rotated(g, 2)
		_, err = s.RotateRefresh(ctx, g, 1)
		must(t, err)
		skip := func(by byte, gen int64) idp.Grant {
			next := g
			next.RefreshGen, next.RefreshedBy, next.DeadAt = gen, []byte{by}, at(5*time.Hour)
			return next
		}
		for _, c := range []struct {
			what        string
			next        idp.Grant
			head, shown int64
			done        bool
		}{
			{"another head", skip(3, 9), 3, 1, false},
			{"another parent", skip(3, 9), 2, 2, false},
			{"as it stands", skip(3, 3), 2, 1, true},
			{"sent again", skip(3, 3), 2, 1, true},
			{"repeated by the same parent", skip(4, 4), 3, 1, true},
		} {
			done, err := s.SkipRefresh(ctx, c.next, c.head, c.shown, idp.Denial{Key: []byte(c.what), DeadAt: c.next.DeadAt})
			must(t, err)
			same(t, c.what, done, c.done)
			denied, err := s.DeniedToken(ctx, []byte(c.what))
			must(t, err)
			same(t, c.what+": denied", denied, c.done)
		}
		got, err := s.Grant(ctx, g.ID, false)
		must(t, err)
		same(t, "grant", got.Grant, skip(4, 4))
	})
}

func TestI9_TheConditionalUpdatesKnowTheirOwnDoingAgain(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		g := redeemed(addGrant(t, s, idp.RandomID(), idp.ID{}), 1)
		next := rotated(g, 2)
		p := newPushed()
		must(t, s.AddPushed(ctx, p))
		for _, c := range []struct {
			what string
			do   func() (bool, error)
			want bool
		}{
			{"redeem", func() (bool, error) { return s.RedeemCode(ctx, g) }, true},
			{"redeem, again", func() (bool, error) { return s.RedeemCode(ctx, g) }, true},
			{"redeem, another", func() (bool, error) { return s.RedeemCode(ctx, redeemed(g, 8)) }, false},
			{"rotate", func() (bool, error) { return s.RotateRefresh(ctx, next, 1) }, true},
			{"rotate, again", func() (bool, error) { return s.RotateRefresh(ctx, next, 1) }, true},
			{"rotate, another", func() (bool, error) { return s.RotateRefresh(ctx, rotated(g, 8), 1) }, false},
			{"use", func() (bool, error) { return s.UsePushed(ctx, p.ID, []byte{1}, now) }, true},
			{"use, again", func() (bool, error) { return s.UsePushed(ctx, p.ID, []byte{1}, now) }, true},
			{"use, another", func() (bool, error) { return s.UsePushed(ctx, p.ID, []byte{2}, now) }, false},
			{"revoke", func() (bool, error) { return s.RevokeGrant(ctx, g.ID, "admin", now) }, true},
			{"revoke, again", func() (bool, error) { return s.RevokeGrant(ctx, g.ID, "reuse", now) }, false},
			{"redeem what is revoked", func() (bool, error) { return s.RedeemCode(ctx, g) }, false},
			{"rotate what is revoked", func() (bool, error) { return s.RotateRefresh(ctx, next, 1) }, false},
		} {
			got, err := c.do()
			must(t, err)
			same(t, c.what, got, c.want)
		}
	})
}

func TestGrantsAreRevokedByFilter(t *testing.T) {
	ada, bob, phone, laptop := idp.RandomID(), idp.RandomID(), idp.NewID(now), idp.NewID(now)
	add := func(t *testing.T, s *storage.Store, user, session idp.ID, client string, bound bool) {
		g := idp.Grant{ID: idp.NewID(now), ClientID: client, UserID: user, SessionID: session, SessionBound: bound,
			CodeExpiresAt: at(0), CreatedAt: at(0), DeadAt: at(0)}
		must(t, s.AddGrant(t.Context(), g))
	}
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		for _, c := range []struct {
			what string
			f    idp.GrantFilter
			want int
		}{
			{"a user's", idp.GrantFilter{UserID: ada}, 4},
			{"a client's", idp.GrantFilter{ClientID: "one"}, 4},
			{"a user's with a client", idp.GrantFilter{UserID: ada, ClientID: "one"}, 3},
			{"a session's", idp.GrantFilter{UserID: ada, SessionID: phone}, 2},
			{"a session's bound ones", idp.GrantFilter{UserID: ada, SessionID: phone, Bound: true}, 1},
			{"all but a session's", idp.GrantFilter{UserID: ada, ExceptSession: phone}, 2},
		} {
			must(t, s.Exec(ctx, `DELETE FROM grants`))
			add(t, s, ada, phone, "one", true)
			add(t, s, ada, phone, "two", false)
			add(t, s, ada, laptop, "one", true)
			add(t, s, ada, idp.ID{}, "one", false)
			add(t, s, bob, idp.NewID(now), "one", true)
			n, err := s.RevokeGrants(ctx, c.f, "admin", now)
			must(t, err)
			same(t, c.what, n, c.want)
			n, err = s.RevokeGrants(ctx, c.f, "admin", now)
			must(t, err)
			same(t, c.what+", again", n, 0)
		}
		if _, err := s.RevokeGrants(ctx, idp.GrantFilter{Bound: true}, "admin", now); err == nil {
			t.Error("a filter without user and client revoked something")
		}
	})
}

func TestTokenTrafficTouchesNoSecondaryIndexOfPostgreSQL(t *testing.T) {
	s := storagetest.Open(t, storagetest.Postgres(t), storage.Options{})
	g := redeemed(addGrant(t, s, idp.RandomID(), idp.ID{}), 1)
	must(t, s.Tx(t.Context(), func(ctx context.Context) error {
		if _, err := s.RedeemCode(ctx, g); err != nil {
			return err
		}
		if _, err := s.RotateRefresh(ctx, rotated(g, 2), 1); err != nil {
			return err
		}
		hot, err := s.Int(ctx, `SELECT pg_stat_get_xact_tuples_hot_updated('grants'::regclass)`)
		same(t, "heap-only updates", hot, 2)
		return err
	}))
}

func TestLiveGrantsOfAUserAreListed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		add := func(after time.Duration, change func(*idp.Grant)) idp.Grant {
			t.Helper()
			g := newGrant(ada.ID, idp.NewID(now))
			g.ID, g.DeedNonce, g.RevokedAt, g.RevokedWhy = idp.NewID(now.Add(after)), nil, nil, ""
			change(&g)
			must(t, s.AddGrant(ctx, g))
			return g
		}
		older := add(0, func(*idp.Grant) {})
		newer := add(time.Second, func(*idp.Grant) {})
		add(0, func(g *idp.Grant) { g.RevokedAt = ptr(at(0)) })
		add(0, func(g *idp.Grant) { g.DeadAt = at(time.Minute) })
		former := add(time.Minute, func(g *idp.Grant) { g.Epoch = 2 })
		revoked := add(0, func(g *idp.Grant) { g.Epoch, g.RevokedAt = 2, ptr(at(0)) })
		others := add(0, func(g *idp.Grant) { g.UserID, g.Epoch = bob.ID, 2 })
		for limit, want := range map[int][]idp.Grant{10: {newer, older}, 1: {newer}} {
			got, err := s.Grants(ctx, ada.ID, at(time.Minute), limit)
			must(t, err)
			same(t, "live", got, want)
		}

		must(t, s.LiftGrants(ctx, ada.ID, 2, 3))
		former.Epoch = 3
		got, err := s.Grants(ctx, ada.ID, at(time.Minute), 10)
		must(t, err)
		same(t, "lifted", got, []idp.Grant{former, newer, older})
		for _, g := range []idp.Grant{revoked, others} {
			v, err := s.Grant(ctx, g.ID, false)
			must(t, err)
			same(t, "not lifted", v.Grant.Epoch, int64(2))
		}
	})
}
