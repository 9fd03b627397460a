package idp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// A Device is a browser in which a user signed in completely before: a stranger who fails in the
// user's name does not lock it out (I-20). The browser has 256 random bits in a cookie, the same for
// every user; the row has the hash of them.
type Device struct {
	UserID    ID
	Hash      []byte // SHA-256 of the cookie
	Epoch     int64  // the user's, as read together with the evidence (I-2)
	CreatedAt time.Time
	SeenAt    time.Time // the last complete sign-in
	DeadAt    time.Time
	Address   string // of the last complete sign-in
	UserAgent string
	// TrustedUntil is until when the user's second factor is not asked for in it, nil for never. It is
	// void once the epoch rises, also where the device stays known.
	TrustedUntil *time.Time
	// OfferedAt is when a passkey was offered in it, nil for never.
	OfferedAt *time.Time
}

// DeviceStore keeps known devices.
type DeviceStore interface {
	// Device finds a user's device by its hash where its epoch is the user's, or returns ErrNotFound.
	// For the zero userID it does the same work.
	Device(ctx context.Context, userID ID, hash []byte, now time.Time) (Device, error)
	// PutDevice adds or renews a device, and removes the user's oldest beyond `keep`. What is set of
	// TrustedUntil and OfferedAt stays where d has nil and the same epoch; with another one the trust goes.
	PutDevice(ctx context.Context, d Device, keep int) error
	// Devices lists a user's devices that are alive at now and whose epoch is the user's, the one that
	// was seen last first, at most a hundred.
	Devices(ctx context.Context, userID ID, now time.Time) ([]Device, error)
	// MarkDevice writes TrustedUntil and OfferedAt of d, or returns ErrNotFound, also where its epoch is
	// another.
	MarkDevice(ctx context.Context, d Device) error
}

const (
	// maxDevices is how many of a user's browsers are known (I-20); the one that was used least
	// recently makes room.
	maxDevices = 20
	// deviceLife is how long a browser is known since the last complete sign-in: browsers keep no
	// cookie for longer.
	deviceLife = 400 * 24 * time.Hour
)

// knownDevice names the known device of a user that the visitor of ctx comes with, "" for none. It
// does the same work for the zero userID.
func (p *Provider) knownDevice(ctx context.Context, userID ID) (string, error) {
	v := VisitorFrom(ctx)
	if v.Device == [32]byte{} {
		return "", nil
	}
	d, err := p.store.Device(ctx, userID, v.Device[:], p.Now())
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", stored("find a known device", err)
	}
	return hex.EncodeToString(d.Hash), nil
}

// presentDevice is the row that makes the browser of the visitor of ctx a known device of the user
// of s. Its epoch is the one that was read together with the evidence (I-2). A browser without a
// cookie is given one in s.
func (p *Provider) presentDevice(ctx context.Context, s *SignedIn) Device {
	hash := VisitorFrom(ctx).Device
	if hash == [32]byte{} {
		s.Device = new([32]byte)
		rand.Read(s.Device[:])
		hash = sha256.Sum256(s.Device[:])
	}
	now := p.Now()
	return Device{
		UserID: s.User.ID, Hash: hash[:], Epoch: s.User.Epoch, CreatedAt: now, SeenAt: now, DeadAt: now.Add(deviceLife),
		Address: s.Session.Address, UserAgent: s.Session.UserAgent,
	}
}

// liftDevice makes the known device that the visitor of ctx comes with one of u's next epoch, in the
// Tx of ctx that raises it, before it does. What is no known device becomes none (I-20), and what was
// trusted is so no more.
func (p *Provider) liftDevice(ctx context.Context, u User) error {
	v := VisitorFrom(ctx)
	if v.Device == [32]byte{} {
		return nil
	}
	d, err := p.store.Device(ctx, u.ID, v.Device[:], p.Now())
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d.Epoch, d.TrustedUntil = u.Epoch+1, nil
	return p.store.PutDevice(ctx, d, maxDevices)
}
