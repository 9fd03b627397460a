package idp_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// at is a context of a visitor whose browser has a device cookie of that hash.
func at(t testing.TB, address string, device [32]byte, token idp.SessionToken) context.Context {
	t.Helper()
	return idp.WithVisitor(t.Context(), &idp.Visitor{Address: netip.MustParseAddr(address), UserAgent: "Browser/1.0", Device: device, Session: token})
}

// know signs a user in, in a browser of its own, and returns the hash of its device cookie.
func (h *house) know(t testing.TB, address, name string) [32]byte {
	t.Helper()
	s, err := h.tryLogIn(t, address, name, alicePassword)
	if err != nil || s.Device == nil {
		t.Fatalf("log in as %s: got %+v and %v, want a device", name, s.Device, err)
	}
	return sha256.Sum256(s.Device[:])
}

func (h *house) tryAt(t testing.TB, address string, device [32]byte, name, password string) error {
	t.Helper()
	_, err := h.LogIn(at(t, address, device, idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: name, Password: password})
	return err
}

func TestS4_66_AStrangerLocksNoOwnerOutOfABrowserThatSheSignedInWith(t *testing.T) {
	each(t, func(t *testing.T, h *house) { // with every limit and lock of the defaults
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		laptop := h.know(t, "192.0.2.1", "alice")
		for i := range 60 { // every group by name, and the limit by key
			h.codes(t, 1, fmt.Sprintf("203.0.113.%d", i), "alice", "wrong password")
			h.clock.turn(30 * time.Second)
		}
		h.codes(t, 6, "192.0.2.1", "alice", "wrong password") // and from her own address
		h.wantRight(t, "192.0.2.9", "alice", "throttled")
		if err := h.tryAt(t, "192.0.2.1", laptop, "alice", alicePassword); err != nil {
			t.Errorf("in her own browser: %v", err)
		}
		if err := h.tryAt(t, "198.51.100.7", laptop, "alice", alicePassword); err != nil {
			t.Errorf("in her own browser elsewhere: %v", err)
		}
		h.wantRight(t, "192.0.2.9", "alice", "throttled") // which opened it for nobody else
		if err := h.tryAt(t, "192.0.2.1", [32]byte{1}, "alice", alicePassword); err == nil {
			t.Error("a cookie of nobody's passes")
		}
		if err := h.tryAt(t, "192.0.2.1", h.know(t, "198.51.100.8", "bob"), "alice", alicePassword); err == nil {
			t.Error("bob's cookie passes for alice")
		}
	})
}

func TestI20_AKnownDeviceIsAsStrictAsTheAccountAndForgottenOnceItsBucketIsEmpty(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		laptop := h.know(t, "192.0.2.1", "alice")
		h.wantCodes(t, "203.0.113.66", "alice", wrong, wrong, wrong, wrong, locked)
		for range 5 {
			if err := h.tryAt(t, "192.0.2.1", laptop, "alice", "wrong password"); idp.CodeOf(err) != wrong {
				t.Fatalf("its own failures: %v", err)
			}
		}
		h.clock.turn(10 * time.Minute)
		if err := h.tryAt(t, "192.0.2.1", laptop, "alice", alicePassword); idp.CodeOf(err) != locked {
			t.Errorf("after as many failures as the account has: got %v, want %s", err, locked)
		}
		if got := h.count(t, "lockout.triggered"); got != 1 {
			t.Errorf("%d events lockout.triggered, want that of the account", got)
		}
		h.clock.turn(time.Hour) // the account's lock is over, the device's bucket stays empty
		h.wantCodes(t, "203.0.113.66", "alice", wrong, wrong, wrong, wrong, locked)
		if err := h.tryAt(t, "192.0.2.1", laptop, "alice", alicePassword); idp.CodeOf(err) != locked {
			t.Errorf("an hour later: got %v, want %s", err, locked)
		}
		h.clock.turn(time.Hour)
		if err := h.tryAt(t, "192.0.2.1", laptop, "alice", alicePassword); err != nil {
			t.Fatalf("as a stranger once the lock is over: %v", err)
		}
		h.wantCodes(t, "203.0.113.66", "alice", wrong, wrong, wrong, wrong, locked)
		if err := h.tryAt(t, "192.0.2.1", laptop, "alice", alicePassword); err != nil {
			t.Errorf("after a complete login it is known again: %v", err)
		}
	}, lockoutAlone("username:5/1h"))
}

func TestI20_ASignInThatASecondFactorCompletesFillsTheBucketOfItsDevice(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		s, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		if err != nil || s.Device == nil {
			t.Fatalf("got %+v and %v, want a device", s.Device, err)
		}
		laptop := sha256.Sum256(s.Device[:])
		for range 3 { // fewer mistakes at a time than the bucket has
			for range 3 {
				if err := h.tryAt(t, "192.0.2.1", laptop, "bob", "wrong password"); idp.CodeOf(err) != wrong {
					t.Fatalf("its own failures: %v", err)
				}
			}
			h.clock.turn(2 * time.Hour)
			h.completeAt(t, laptop, a)
		}
		h.wantCodes(t, "203.0.113.66", "bob", wrong, wrong, wrong, wrong, locked)
		if err := h.tryAt(t, "192.0.2.1", laptop, "bob", alicePassword); err != nil {
			t.Errorf("while strangers have locked the account: %v", err)
		}
	}, lockoutAlone("username:5/1h"))
}

// completeAt signs bob in by password and app, in a browser with that device.
func (h *house) completeAt(t testing.TB, device [32]byte, a app) {
	t.Helper()
	visitor := idp.Visitor{Address: netip.MustParseAddr("192.0.2.1"), Browser: [32]byte{9}, Device: device}
	ctx, in := idp.WithVisitor(t.Context(), &visitor), h.BeginOwn("/")
	s, err := h.LogIn(ctx, in, idp.LogIn{Identifier: "bob", Password: alicePassword})
	if err != nil {
		t.Fatalf("by password: %v", err)
	}
	visitor.Pending = s.Token
	v, err := h.PendingVisit(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if s, err = h.ProveByCode(ctx, in, v, a.code(t, 0), false); err != nil || s.Session.State != idp.Live {
		t.Fatalf("by the app: %v", err)
	}
}

func TestI20_ABrowserIsGivenADeviceOnceAndKeepsIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addUser(t, "alice")
		h.addUser(t, "bob")
		laptop := h.know(t, "192.0.2.1", "alice")
		for _, name := range []string{"alice", "bob"} {
			s, err := h.LogIn(at(t, "192.0.2.1", laptop, idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: name, Password: alicePassword})
			if err != nil || s.Device != nil {
				t.Errorf("%s: got %v and %v, want no other device", name, s.Device, err)
			}
		}
		if other := h.know(t, "192.0.2.1", "alice"); other == laptop {
			t.Error("two browsers are one device")
		}
		s, err := h.tryLogIn(t, "192.0.2.1", "alice", "wrong password")
		if err == nil || s.Device != nil {
			t.Error("a failed login makes a device")
		}
	})
}

func TestI20_TheTwentyDevicesUsedLastAreKnown(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		var devices [][32]byte
		for i := range 22 {
			devices = append(devices, h.know(t, fmt.Sprint("192.0.2.", i), "alice"))
			h.clock.turn(time.Minute)
		}
		for i, d := range devices {
			_, err := h.store.Device(t.Context(), u.ID, d[:], h.Now())
			if known := err == nil; known != (i >= 2) || err != nil && !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("device %d: got %v", i, err)
			}
		}
		h.clock.turn(400 * 24 * time.Hour)
		if _, err := h.store.Device(t.Context(), u.ID, devices[21][:], h.Now()); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("after 400 days: got %v, want none", err)
		}
	})
}

func TestI2_APasswordChangeKeepsThePresentDeviceAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		u := h.addUser(t, "alice")
		laptop, phone := h.know(t, "192.0.2.1", "alice"), h.know(t, "192.0.2.2", "alice")
		known := func(d [32]byte) bool {
			_, err := h.store.Device(t.Context(), u.ID, d[:], h.Now())
			return err == nil
		}
		s, err := h.LogIn(at(t, "192.0.2.1", laptop, idp.SessionToken{}), &idp.Interaction{}, idp.LogIn{Identifier: "alice", Password: alicePassword})
		if err != nil {
			t.Fatal(err)
		}
		v, err := h.Visit(t.Context(), s.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		if s, err = h.ChangePassword(at(t, "192.0.2.1", laptop, s.Token), v, alicePassword, "another horse battery"); err != nil {
			t.Fatal(err)
		}
		if !known(laptop) || known(phone) {
			t.Errorf("the laptop is known %v, the phone %v; want the laptop alone", known(laptop), known(phone))
		}
		if v, err = h.Visit(t.Context(), s.Token, ""); err != nil {
			t.Fatal(err)
		}
		// A browser that is no known device becomes none by a change.
		stranger := [32]byte{7}
		if _, err := h.ChangePassword(at(t, "192.0.2.3", stranger, s.Token), v, "another horse battery", alicePassword); err != nil {
			t.Fatal(err)
		}
		if known(stranger) || known(laptop) {
			t.Errorf("the stranger's is known %v, the laptop %v; want neither", known(stranger), known(laptop))
		}
	})
}

func TestI2_ADeviceOfALoginThatWasHashingWhileThePasswordChangedIsNotKnown(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		slow := &during{Store: s}
		h := open(t, slow)
		u := h.addUser(t, "alice")
		slow.then = func() {
			if err := h.SetPassword(context.Background(), u.ID, "another horse battery"); err != nil {
				t.Error(err)
			}
		}
		device := [32]byte{1}
		if err := h.tryAt(t, "192.0.2.1", device, "alice", alicePassword); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Device(t.Context(), u.ID, device[:], h.Now()); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("got %v, want no device", err)
		}
	})
}

func TestADeviceCookieCostsAStatementWhoeverIsNamed(t *testing.T) {
	counter := &storagetest.Counter{}
	storagetest.EachOptions(t, storage.Options{OnStatement: counter.Note}, func(t *testing.T, s *storage.Store) {
		h := open(t, s, func(c *config.Config) { c.RateLimits.Login = "0/m/ip" })
		h.addUser(t, "alice")
		counter.Take()
		for _, name := range []string{"alice", "zoe"} {
			if err := h.tryAt(t, "192.0.2.1", [32]byte{1}, name, alicePassword); idp.KindOf(err) != idp.Throttled {
				t.Fatal(err)
			}
			if sent := counter.Take(); len(sent) != 2 {
				t.Errorf("%s: got %q, want two statements", name, sent)
			}
		}
	})
}
