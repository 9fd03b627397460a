package storage_test

import (
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newDevice(userID idp.ID, n byte) idp.Device {
	hash := make([]byte, 32)
	hash[0] = n
	return idp.Device{
		UserID: userID, Hash: hash, Epoch: 3, CreatedAt: at(0), SeenAt: at(time.Duration(n) * time.Minute), DeadAt: at(24 * time.Hour),
		Address: "192.0.2.1", UserAgent: "Mozilla/5.0", TrustedUntil: ptr(at(time.Hour)), OfferedAt: ptr(at(0)),
	}
}

func TestI20_AUserHasAtMostTwentyKnownDevices(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		for n := range byte(20) {
			must(t, s.PutDevice(ctx, newDevice(ada.ID, n), 20))
		}
		must(t, s.PutDevice(ctx, newDevice(bob.ID, 0), 20))
		renewed := newDevice(ada.ID, 0)
		renewed.SeenAt, renewed.CreatedAt = at(30*time.Minute), at(30*time.Minute)
		must(t, s.PutDevice(ctx, renewed, 20))
		must(t, s.PutDevice(ctx, newDevice(ada.ID, 20), 20))
		same(t, "devices of both", count(t, s, "devices"), 21)
		known := func(what string, d idp.Device, want error) {
			t.Helper()
			got, err := s.Device(ctx, d.UserID, d.Hash, now)
			wantErr(t, err, want)
			if want == nil {
				same(t, what, got, d)
			}
		}
		renewed.CreatedAt = at(0)
		known("the one that was renewed", renewed, nil)
		known("the oldest", newDevice(ada.ID, 1), idp.ErrNotFound)
		known("the newest", newDevice(ada.ID, 20), nil)
		known("another user's", newDevice(bob.ID, 0), nil)
		known("of another user", newDevice(bob.ID, 20), idp.ErrNotFound)
		known("nobody's", newDevice(idp.ID{}, 20), idp.ErrNotFound)

		must(t, s.DeleteUser(ctx, ada.ID))
		same(t, "devices after their user", count(t, s, "devices"), 1)
		wantErr(t, s.PutDevice(ctx, newDevice(ada.ID, 1), 20), idp.ErrNotFound)
	})
}

func TestI2_ADeviceIsKnownOnlyToTheEpochThatItWasMadeIn(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		d := newDevice(u.ID, 1)
		must(t, s.PutDevice(ctx, d, 20))
		epoch := u.Epoch
		u.Epoch++
		must(t, s.ChangeUser(ctx, u, epoch))
		_, err := s.Device(ctx, u.ID, d.Hash, now)
		wantErr(t, err, idp.ErrNotFound)
		d.Epoch++
		must(t, s.PutDevice(ctx, d, 20))
		former := d // of a sign-in that was slower than the change
		former.Epoch--
		must(t, s.PutDevice(ctx, former, 20))
		got, err := s.Device(ctx, u.ID, d.Hash, now)
		must(t, err)
		same(t, "device", got, d)
	})
}

func TestS4_52_ADeviceThatIsDeadIsUnknownWithoutASweep(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		d := newDevice(addUser(t, s, "ada").ID, 1)
		must(t, s.PutDevice(t.Context(), d, 20))
		_, err := s.Device(t.Context(), d.UserID, d.Hash, d.DeadAt.Add(-time.Microsecond))
		must(t, err)
		_, err = s.Device(t.Context(), d.UserID, d.Hash, d.DeadAt)
		wantErr(t, err, idp.ErrNotFound)
	})
}

func TestS3_41_TrustInABrowserEndsWithTheEpoch(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		d := newDevice(u.ID, 1)
		d.TrustedUntil, d.OfferedAt = nil, nil
		must(t, s.PutDevice(ctx, d, 20))
		stored := func(what string, want idp.Device) {
			t.Helper()
			got, err := s.Device(ctx, u.ID, d.Hash, now)
			must(t, err)
			same(t, what, got, want)
		}
		stored("new", d)
		d.TrustedUntil, d.OfferedAt = ptr(at(time.Hour)), ptr(at(time.Minute))
		must(t, s.MarkDevice(ctx, d))
		stored("marked", d)
		again := newDevice(u.ID, 1) // what a sign-in writes that says nothing of trust
		again.TrustedUntil, again.OfferedAt, again.SeenAt, again.Address, again.UserAgent = nil, nil, at(2*time.Hour), "192.0.2.9", "other"
		must(t, s.PutDevice(ctx, again, 20))
		d.SeenAt, d.Address, d.UserAgent = again.SeenAt, again.Address, again.UserAgent
		stored("after another sign-in", d)

		epoch := u.Epoch
		u.Epoch++
		must(t, s.ChangeUser(ctx, u, epoch))
		lifted := again
		lifted.Epoch++
		must(t, s.PutDevice(ctx, lifted, 20))
		wantErr(t, s.MarkDevice(ctx, d), idp.ErrNotFound) // read before the change
		lifted.OfferedAt = d.OfferedAt
		stored("after the epoch rose", lifted)
		must(t, s.MarkDevice(ctx, lifted))
		lifted.UserID = addUser(t, s, "bob").ID
		wantErr(t, s.MarkDevice(ctx, lifted), idp.ErrNotFound)
	})
}

func TestDevicesAreListedFromTheOneThatWasSeenLast(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		former, dead := newDevice(ada.ID, 3), newDevice(ada.ID, 4)
		former.Epoch--
		dead.DeadAt = at(-time.Second)
		for _, d := range []idp.Device{newDevice(ada.ID, 1), newDevice(ada.ID, 2), former, dead, newDevice(bob.ID, 1)} {
			must(t, s.PutDevice(ctx, d, 20))
		}
		list, err := s.Devices(ctx, ada.ID, now)
		must(t, err)
		same(t, "devices", list, []idp.Device{newDevice(ada.ID, 2), newDevice(ada.ID, 1)})
	})
}
