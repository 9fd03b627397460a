package idp

import (
	"context"
	"time"
)

// A Pushed request waits in the store: one that a client pushed (RFC 9126), or one of ours that
// is too long for a URL (I-25). Its ID is a UUIDv7; what names it to the outside is sealed.
type Pushed struct {
	ID        ID
	ClientID  string
	Request   string // the canonical request, form-encoded
	Internal  bool   // ours, made because of its length
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    *time.Time
	UsedBy    []byte // random, of the request that completed it (I-9)
}

// PushedStore keeps pushed requests.
type PushedStore interface {
	// AddPushed adds a row.
	AddPushed(ctx context.Context, p Pushed) error
	// Pushed returns ErrNotFound where there is none.
	Pushed(ctx context.Context, id ID) (Pushed, error)
	// UsePushed marks it used and tells whether it was unused (I-18).
	UsePushed(ctx context.Context, id ID, by []byte, now time.Time) (bool, error)
}
