package storage_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"postern/idp"
	"postern/idp/passkey"
	"postern/storage"
	"postern/storage/storagetest"
)

func newApp(userID idp.ID) idp.Authenticator {
	return idp.Authenticator{
		ID: idp.NewID(now), UserID: userID, Kind: idp.TOTPKind, CreatedAt: at(0), Name: "Téléphone",
		Sealed: []byte{0, 255, 1}, Counter: 58_000_000,
	}
}

func inSetup(a idp.Authenticator, session idp.ID) idp.Authenticator {
	a.Setup = session
	return a
}

func newPasskey(userID idp.ID, credential string) idp.Authenticator {
	return idp.Authenticator{
		ID: idp.NewID(now), UserID: userID, Kind: idp.PasskeyKind, CreatedAt: at(time.Minute), LastUsedAt: ptr(at(time.Hour)),
		Name: `"Key" <1>`, Counter: 1<<32 - 1, Credential: []byte(credential),
		Passkey: &passkey.Record{
			PublicKey: []byte{1, 0, 2}, AAGUID: make([]byte, 16), Transports: []string{"usb", "nfc"}, Attestation: "none",
			Handle: []byte("handle"), Flags: 0x1d, Discoverable: true, Attachment: "platform",
		},
	}
}

func addFactor(t *testing.T, s *storage.Store, a idp.Authenticator) idp.Authenticator {
	t.Helper()
	must(t, s.AddFactor(t.Context(), a))
	return a
}

func wantFactors(t *testing.T, s *storage.Store, userID idp.ID, want ...idp.Authenticator) {
	t.Helper()
	got, err := s.Factors(t.Context(), userID)
	must(t, err)
	same(t, "factors", got, want)
}

func TestFactorsAreKeptWhole(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		wantFactors(t, s, ada.ID)
		must(t, s.PutPassword(ctx, newPassword(ada.ID)))
		key, app, disabled := newPasskey(ada.ID, "\x00\xff"), newApp(ada.ID), newPasskey(ada.ID, "d")
		disabled.DisabledAt, disabled.CreatedAt = ptr(at(time.Hour)), at(time.Hour)
		for _, a := range []idp.Authenticator{disabled, key, app} {
			addFactor(t, s, a)
		}
		addFactor(t, s, newApp(bob.ID))
		wantFactors(t, s, ada.ID, app, key, disabled) // the oldest first, no password
		_, err := s.Password(ctx, ada.ID)
		must(t, err)
	})
}

func TestS3_16_ACredentialIsOneUsers(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		key := addFactor(t, s, newPasskey(ada.ID, "c"))
		for _, id := range []idp.ID{ada.ID, bob.ID} {
			wantErr(t, s.AddFactor(t.Context(), newPasskey(id, "c")), idp.ErrConflict)
		}
		wantFactors(t, s, ada.ID, key)
		wantFactors(t, s, bob.ID)
		wantErr(t, s.AddFactor(t.Context(), newPasskey(idp.RandomID(), "nobody's")), idp.ErrNotFound)
	})
}

func TestAPasskeyIsFoundByItsIDWithItsUserInOneStatement(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ada := addUser(t, s, "ada")
		key := addFactor(t, s, newPasskey(ada.ID, "c"))
		sent.Take()
		u, a, err := s.FactorByCredential(t.Context(), []byte("c"))
		must(t, err)
		same(t, "user", u, ada)
		same(t, "passkey", a, key)
		same(t, "statements", len(sent.Take()), 1)
		for _, id := range [][]byte{[]byte("d"), {}, nil} {
			_, _, err = s.FactorByCredential(t.Context(), id)
			wantErr(t, err, idp.ErrNotFound)
		}
	})
}

func TestS3_12_AnAppIsSetUpOnceASession(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada := addUser(t, s, "ada")
		one, two := idp.NewID(now), idp.NewID(now)
		former := addFactor(t, s, newApp(ada.ID))
		wantErr(t, s.AddFactor(ctx, newApp(ada.ID)), idp.ErrConflict)
		left := inSetup(newApp(ada.ID), idp.NewID(now))
		left.CreatedAt = at(-25 * time.Hour)
		addFactor(t, s, left)
		addFactor(t, s, inSetup(newApp(ada.ID), one))
		again := inSetup(newApp(ada.ID), one)
		again.CreatedAt = at(time.Minute)
		addFactor(t, s, again)
		other := inSetup(newApp(ada.ID), two)
		other.CreatedAt = at(2 * time.Minute)
		addFactor(t, s, other)
		wantFactors(t, s, ada.ID, former, again, other) // what nobody finished a day ago is gone

		foreign := again
		foreign.Setup = two
		wantErr(t, s.ConfirmFactor(ctx, foreign), idp.ErrConflict)
		carol, session := addUser(t, s, "carol"), idp.NewID(now)
		foreign = addFactor(t, s, inSetup(newApp(carol.ID), session))
		foreign.UserID = addUser(t, s, "bob").ID
		wantErr(t, s.ConfirmFactor(ctx, foreign), idp.ErrConflict)
		wantFactors(t, s, ada.ID, former, again, other) // a conflict undoes the whole of it

		again.Counter, again.LastUsedAt = 58_000_007, ptr(at(time.Hour))
		must(t, s.ConfirmFactor(ctx, again))
		wantErr(t, s.ConfirmFactor(ctx, again), idp.ErrConflict)
		wantErr(t, s.ConfirmFactor(ctx, other), idp.ErrConflict)
		again.Setup = idp.ID{}
		wantFactors(t, s, ada.ID, again)
	})
}

func TestOfTwoAppsThatAreConfirmedAtOnceOneCounts(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ada := addUser(t, s, "ada")
		apps := make([]idp.Authenticator, 8)
		for i := range apps {
			apps[i] = addFactor(t, s, inSetup(newApp(ada.ID), idp.NewID(now)))
		}
		race(t, len(apps), func(i int) (bool, error) {
			err := s.ConfirmFactor(t.Context(), apps[i])
			return err == nil, ignore(err, idp.ErrConflict)
		})
		list, err := s.Factors(t.Context(), ada.ID)
		must(t, err)
		confirmed := 0
		for _, a := range list {
			if a.Setup.IsZero() {
				confirmed++
			}
		}
		same(t, "confirmed", confirmed, 1)
	})
}

func TestS3_10_AFactorIsUsedOnceFromWhereItStood(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		must(t, s.PutPassword(ctx, newPassword(ada.ID)))
		app := addFactor(t, s, newApp(ada.ID))
		key := addFactor(t, s, newPasskey(ada.ID, "c"))
		won := race(t, 20, func(i int) (bool, error) {
			used := app
			used.Counter, used.LastUsedAt = app.Counter+1, ptr(at(time.Minute))
			err := s.UseFactor(ctx, used, app.Counter)
			return err == nil, ignore(err, idp.ErrConflict)
		})
		same(t, "uses of one code", won, 1)
		app.Counter, app.LastUsedAt = app.Counter+1, ptr(at(time.Minute))

		used := key
		used.Counter, used.LastUsedAt, used.DisabledAt = 7, ptr(at(2*time.Hour)), ptr(at(2*time.Hour))
		record := *key.Passkey
		record.Flags = 0x0d
		used.Passkey = &record
		for _, wrong := range []idp.ID{bob.ID, idp.RandomID()} { // another's never is one's own
			foreign := used
			foreign.UserID = wrong
			wantErr(t, s.UseFactor(ctx, foreign, key.Counter), idp.ErrConflict)
		}
		must(t, s.UseFactor(ctx, used, key.Counter))
		wantErr(t, s.UseFactor(ctx, used, used.Counter), idp.ErrConflict) // it was disabled
		wantFactors(t, s, ada.ID, app, used)

		setup := addFactor(t, s, inSetup(newApp(ada.ID), idp.NewID(now)))
		wantErr(t, s.UseFactor(ctx, setup, setup.Counter), idp.ErrConflict)
		password, err := s.Password(ctx, ada.ID)
		must(t, err)
		wantErr(t, s.UseFactor(ctx, password, 0), idp.ErrConflict)
	})
}

func TestS3_25_OnlyOnesOwnFactorsAreRenamedAndRemoved(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		must(t, s.PutPassword(ctx, newPassword(ada.ID)))
		password, err := s.Password(ctx, ada.ID)
		must(t, err)
		app, key := addFactor(t, s, newApp(ada.ID)), addFactor(t, s, newPasskey(ada.ID, "c"))
		wantErr(t, s.RenameFactor(ctx, bob.ID, key.ID, "Mine"), idp.ErrNotFound)
		wantErr(t, s.RenameFactor(ctx, ada.ID, password.ID, "Mine"), idp.ErrNotFound)
		must(t, s.RenameFactor(ctx, ada.ID, key.ID, "Mine"))
		key.Name = "Mine"
		wantFactors(t, s, ada.ID, app, key)

		removed := func(want int, userID idp.ID, ids ...idp.ID) {
			t.Helper()
			n, err := s.RemoveFactors(ctx, userID, ids...)
			must(t, err)
			same(t, "removed", n, want)
		}
		removed(0, bob.ID, app.ID, key.ID)
		removed(0, bob.ID)
		removed(0, ada.ID, password.ID)
		removed(1, ada.ID, key.ID, idp.RandomID())
		wantFactors(t, s, ada.ID, app)
		must(t, s.PutRecoveryCodes(ctx, newSet(ada.ID), newCodes(10)))
		removed(2, ada.ID)
		same(t, "recovery codes", count(t, s, "recovery_codes"), 0)
		_, err = s.Password(ctx, ada.ID)
		must(t, err)
	})
}

func TestAChallengeIsSpentOnce(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		won := race(t, 20, func(i int) (bool, error) { return s.SpendChallenge(ctx, []byte("challenge"), at(5*time.Minute)) })
		same(t, "uses", won, 1)
		spent, err := s.SpendChallenge(ctx, []byte("other"), at(5*time.Minute))
		must(t, err)
		same(t, "another", spent, true)
		err = s.Tx(ctx, func(ctx context.Context) error {
			_, err := s.SpendChallenge(ctx, []byte("undone"), at(5*time.Minute))
			return errors.Join(err, errors.New("undone"))
		})
		if err == nil {
			t.Error("the deed was done")
		}
		spent, err = s.SpendChallenge(ctx, []byte("undone"), at(5*time.Minute))
		must(t, err)
		same(t, "after a deed that was undone", spent, true)
		denied, err := s.DeniedToken(ctx, []byte("challenge"))
		must(t, err)
		same(t, "a token of that key is denied", denied, false)
		same(t, "swept", sweep(t, s, at(time.Hour)), 3)
	})
}

func TestADatabaseLosesItsFactorsOnTheWayBackToTheFormerVersion(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		s := storagetest.Open(t, url, storage.Options{})
		ada := addUser(t, s, "ada")
		must(t, s.PutPassword(t.Context(), newPassword(ada.ID)))
		addFactor(t, s, newApp(ada.ID))
		addFactor(t, s, newPasskey(ada.ID, "c"))
		must(t, s.PutRecoveryCodes(t.Context(), newSet(ada.ID), newCodes(10)))
		device := newDevice(ada.ID, 1)
		must(t, s.PutDevice(t.Context(), device, 20))
		storage.MigrateTo(t, url, 6)
		n, err := s.Int(t.Context(), `SELECT COUNT(*) FROM authenticators`)
		must(t, err)
		same(t, "authenticators", n, 1)

		migrated := storagetest.Open(t, url, storage.Options{})
		ada.Factors = nil
		got, err := migrated.User(t.Context(), ada.ID)
		must(t, err)
		same(t, "user", got, ada)
		wantFactors(t, migrated, ada.ID)
		device.Address, device.UserAgent, device.TrustedUntil, device.OfferedAt = "", "", nil, nil
		known, err := migrated.Device(t.Context(), ada.ID, device.Hash, now)
		must(t, err)
		same(t, "device", known, device)
	})
}

func TestI10_WhatIsSealedIsListedAndSealedAnewFromWhatWasRead(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		var apps []idp.Authenticator
		for _, name := range []string{"ada", "bob", "carol"} {
			u := addUser(t, s, name)
			addFactor(t, s, newPasskey(u.ID, name))
			apps = append(apps, addFactor(t, s, newApp(u.ID)))
		}
		slices.SortFunc(apps, func(a, b idp.Authenticator) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		first, err := s.SealedFactors(ctx, idp.ID{}, 2)
		must(t, err)
		same(t, "the first", first, apps[:2])
		rest, err := s.SealedFactors(ctx, apps[1].ID, 2)
		must(t, err)
		same(t, "the rest", rest, apps[2:])

		anew := apps[0]
		anew.Sealed = []byte("anew")
		wantErr(t, s.ResealFactor(ctx, anew, []byte("another")), idp.ErrConflict)
		must(t, s.ResealFactor(ctx, anew, apps[0].Sealed))
		wantErr(t, s.ResealFactor(ctx, anew, apps[0].Sealed), idp.ErrConflict)
		first, err = s.SealedFactors(ctx, idp.ID{}, 1)
		must(t, err)
		same(t, "sealed anew", first, []idp.Authenticator{anew})
	})
}
