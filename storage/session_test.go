package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newSession(userID idp.ID) idp.Session {
	return idp.Session{
		ID: idp.NewID(now), SecretHash: []byte{0, 1, 2, 255}, UserID: userID, Epoch: 3, State: idp.Live,
		Authentication: idp.RandomID(),
		Methods:        idp.Methods{{Name: "pwd", Authenticator: idp.RandomID(), At: at(0).Truncate(time.Second)}},
		Address:        "2001:db8::1", UserAgent: "Mozilla/5.0 (naïve)", Remembered: true, Trusted: true, ClientID: "rp",
		CreatedAt: at(0), LastSeenAt: at(time.Minute), IdleAt: at(time.Hour), EndsAt: at(24 * time.Hour),
		EndedAt: ptr(at(2 * time.Hour)), EndedWhy: "sign_out", DeadAt: at(25 * time.Hour),
	}
}

func addSession(t testing.TB, s *storage.Store, userID idp.ID) idp.Session {
	t.Helper()
	row := newSession(userID)
	row.EndedAt, row.EndedWhy = nil, ""
	must(t, s.AddSession(t.Context(), row))
	return row
}

func TestVisitFindsSessionUserAndConsentInOneStatement(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		addClient(t, s, "rp")
		u := addUser(t, s, "ada")
		row := newSession(u.ID)
		must(t, s.AddSession(ctx, row))
		consent, err := s.PutConsent(ctx, idp.Consent{UserID: u.ID, ClientID: "rp", Scopes: idp.List{"openid"}, Claims: idp.List{"email"}, UpdatedAt: at(0)})
		must(t, err)
		sent.Take()
		v, err := s.Visit(ctx, row.ID, "rp")
		must(t, err)
		same(t, "visit", v, idp.Visit{Session: row, User: u, Consent: &consent})
		v, err = s.Visit(ctx, row.ID, "")
		must(t, err)
		same(t, "visit without client", v, idp.Visit{Session: row, User: u})
		_, err = s.Visit(ctx, idp.NewID(now), "rp")
		wantErr(t, err, idp.ErrNotFound)
		same(t, "statements", len(sent.Take()), 3)
	})
}

func TestI5_SessionIsRenewedOnlyFromTheAuthenticationThatWasRead(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		old := addSession(t, s, u.ID)
		renewed := old
		renewed.SecretHash, renewed.Authentication, renewed.Methods = []byte("new"), idp.RandomID(), nil
		renewed.Epoch, renewed.State, renewed.Address, renewed.UserAgent = 4, idp.Pending, "192.0.2.1", "other"
		renewed.Remembered, renewed.Trusted, renewed.LastSeenAt, renewed.IdleAt = false, false, at(2*time.Minute), at(3*time.Hour)
		renewed.EndsAt, renewed.DeadAt = at(48*time.Hour), at(49*time.Hour)
		must(t, s.RenewSession(ctx, renewed, old.Authentication))
		v, err := s.Visit(ctx, old.ID, "")
		must(t, err)
		same(t, "renewed", v.Session, renewed)
		wantErr(t, s.RenewSession(ctx, renewed, old.Authentication), idp.ErrConflict)
		_, err = s.EndSession(ctx, old.ID, "sign_out", now)
		must(t, err)
		wantErr(t, s.RenewSession(ctx, renewed, renewed.Authentication), idp.ErrConflict)
	})
}

func TestTouchOnlyRaisesASession(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		want := addSession(t, s, addUser(t, s, "ada").ID)
		want.LastSeenAt, want.IdleAt, want.DeadAt = at(5*time.Minute), at(2*time.Hour), at(30*time.Hour)
		must(t, s.TouchSession(ctx, want))
		slower := want
		slower.LastSeenAt, slower.IdleAt, slower.DeadAt = at(0), at(0), at(0)
		must(t, s.TouchSession(ctx, slower))
		former := want // as it was read before its user signed in anew
		former.Authentication = idp.RandomID()
		former.LastSeenAt, former.IdleAt, former.DeadAt = at(6*time.Minute), at(time.Hour), at(time.Hour)
		must(t, s.TouchSession(ctx, former))
		v, err := s.Visit(ctx, want.ID, "")
		must(t, err)
		same(t, "touched", v.Session, want)
	})
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		a1, b1 := addSession(t, s, ada.ID), addSession(t, s, bob.ID)
		a2 := newSession(ada.ID)
		a2.ID, a2.EndedAt, a2.EndedWhy = idp.NewID(now.Add(time.Second)), nil, ""
		must(t, s.AddSession(ctx, a2))
		list := func(what string, userID, before idp.ID, want ...idp.ID) {
			t.Helper()
			rows, err := s.Sessions(ctx, userID, before, now, 10)
			must(t, err)
			ids := map[idp.ID]bool{}
			for _, r := range rows {
				ids[r.ID] = true
			}
			wanted := map[idp.ID]bool{}
			for _, id := range want {
				wanted[id] = true
			}
			same(t, what, ids, wanted)
		}
		list("everybody's", idp.ID{}, idp.ID{}, a1.ID, a2.ID, b1.ID)
		list("ada's", ada.ID, idp.ID{}, a1.ID, a2.ID)
		list("ada's older", ada.ID, a2.ID, a1.ID)
		ended, err := s.EndSessions(ctx, ada.ID, a2.ID, "password_change", now)
		must(t, err)
		same(t, "ended", ended, []idp.ID{a1.ID})
		v, err := s.Visit(ctx, a1.ID, "")
		must(t, err)
		a1.EndedAt, a1.EndedWhy = ptr(at(0)), "password_change"
		same(t, "ended row", v.Session, a1)
		for _, want := range []bool{true, false} {
			got, err := s.EndSession(ctx, a2.ID, "admin", now)
			must(t, err)
			same(t, "was not ended before", got, want)
		}
		list("what is left", idp.ID{}, idp.ID{}, b1.ID)
		ended, err = s.EndSessions(ctx, ada.ID, idp.ID{}, "admin", now)
		must(t, err)
		same(t, "nothing left", len(ended), 0)
	})
}

func TestS4_53_TheAccessLogHasTheSessionsThatAreOver(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		made := func(userID idp.ID, after time.Duration, change func(*idp.Session)) idp.Session {
			t.Helper()
			row := newSession(userID)
			row.ID, row.EndedAt, row.EndedWhy = idp.NewID(now.Add(after)), nil, ""
			change(&row)
			must(t, s.AddSession(ctx, row))
			return row
		}
		ended := made(ada.ID, 0, func(row *idp.Session) {})
		_, err := s.EndSession(ctx, ended.ID, "password_change", at(time.Minute))
		must(t, err)
		ended.EndedAt, ended.EndedWhy = ptr(at(time.Minute)), "password_change"
		idle := made(ada.ID, time.Second, func(row *idp.Session) { row.IdleAt = at(time.Minute) })
		over := made(ada.ID, 2*time.Second, func(row *idp.Session) { row.EndsAt = at(time.Minute) })
		live := made(ada.ID, 3*time.Second, func(row *idp.Session) { row.Address = "192.0.2.1" })
		bobs := made(bob.ID, 4*time.Second, func(row *idp.Session) {})

		list, err := s.Sessions(ctx, ada.ID, idp.ID{}, at(time.Minute), 10)
		must(t, err)
		same(t, "alive", list, []idp.Session{live})
		list, err = s.Sessions(ctx, idp.ID{}, idp.ID{}, at(time.Minute), 10)
		must(t, err)
		same(t, "everybody's alive", list, []idp.Session{bobs, live})
		list, err = s.Sessions(ctx, ada.ID, idp.ID{}, at(time.Minute-time.Microsecond), 10)
		must(t, err)
		same(t, "alive before", list, []idp.Session{live, over, idle})

		for _, c := range []struct {
			what   string
			f      idp.AccessFilter
			before idp.ID
			limit  int
			want   []idp.Session
		}{
			{"all", idp.AccessFilter{}, idp.ID{}, 10, []idp.Session{bobs, live, over, idle, ended}},
			{"ada's", idp.AccessFilter{UserID: ada.ID}, idp.ID{}, 10, []idp.Session{live, over, idle, ended}},
			{"ada's older", idp.AccessFilter{UserID: ada.ID}, over.ID, 10, []idp.Session{idle, ended}},
			{"two", idp.AccessFilter{}, idp.ID{}, 2, []idp.Session{bobs, live}},
			{"from an address", idp.AccessFilter{Address: "192.0.2.1"}, idp.ID{}, 10, []idp.Session{live}},
			{"since", idp.AccessFilter{Since: at(2 * time.Second)}, idp.ID{}, 10, []idp.Session{bobs, live, over}},
		} {
			list, err := s.Accesses(ctx, c.f, c.before, c.limit)
			must(t, err)
			same(t, c.what, list, c.want)
		}

		// What ran out is not ended by what comes later: the log would tell a wrong reason.
		off, err := s.EndSession(ctx, idle.ID, "admin", at(time.Minute))
		must(t, err)
		same(t, "ended after it ran out", off, false)
		gone, err := s.EndSessions(ctx, ada.ID, live.ID, "password_change", at(time.Minute))
		must(t, err)
		same(t, "ended after they ran out", len(gone), 0)

		n, err := s.PruneSessions(ctx, at(time.Minute))
		must(t, err)
		same(t, "pruned too early", n, 0)
		n, err = s.PruneSessions(ctx, at(2*time.Minute))
		must(t, err)
		same(t, "pruned", n, 3)
		list, err = s.Accesses(ctx, idp.AccessFilter{}, idp.ID{}, 10)
		must(t, err)
		same(t, "left", list, []idp.Session{bobs, live})
	})
}

func TestSessionsAreLiftedToAnotherEpoch(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		lifted, others, older, ended := addSession(t, s, ada.ID), addSession(t, s, bob.ID), newSession(ada.ID), newSession(ada.ID)
		older.Epoch, older.EndedAt, older.EndedWhy = 2, nil, ""
		must(t, s.AddSession(ctx, older))
		must(t, s.AddSession(ctx, ended))
		must(t, s.LiftSessions(ctx, ada.ID, 3, 4))
		for id, want := range map[idp.ID]int64{lifted.ID: 4, others.ID: 3, older.ID: 2, ended.ID: 3} {
			v, err := s.Visit(ctx, id, "")
			must(t, err)
			same(t, "epoch", v.Session.Epoch, want)
		}
	})
}
