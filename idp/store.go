package idp

import (
	"context"
	"time"

	"postern/idp/guard"
)

// A Store is everything the provider remembers. Each noun's file declares its part. It is the one
// interface with a single implementation: the contract between the rules and the database.
//
// Every method takes part in the transaction that its context carries. Errors other than
// ErrNotFound, ErrConflict and ErrUncertain mean that the database could not serve.
type Store interface {
	UserStore
	AuthenticatorStore
	FactorStore
	RecoveryCodeStore
	SessionStore
	ClientStore
	VersionStore
	ConsentStore
	GrantStore
	PushedStore
	KeyStore
	EventStore
	DeviceStore
	AttemptStore
	BlockStore
	JobStore
	TicketStore
	EmailStore
	InviteStore
	guard.Store

	// Tx runs fn in a transaction, which fn's context carries. A Tx inside a Tx joins it, and an
	// inner failure dooms the outer one, as does a statement that fails, be it for a name that is
	// taken; a condition that did not hold (ErrConflict of ChangeUser, false of RedeemCode) does
	// not. fn may run more than once, so it has no effect outside the store and does nothing slow:
	// no hash, no fetch, no mail. It is undone where it takes longer than 2 s (I-22).
	Tx(ctx context.Context, fn func(context.Context) error) error

	// Sweep deletes rows that are dead at now, at most a batch from each table, and returns how
	// many. It walks primary keys with a cursor of its own (I-11).
	Sweep(ctx context.Context, now time.Time) (int, error)

	// Ping tells whether the database can serve.
	Ping(ctx context.Context) error
}
