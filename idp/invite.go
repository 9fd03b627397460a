package idp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"postern/idp/guard"
)

// An Invite lets somebody sign up who has its link, once.
type Invite struct {
	ID         ID
	Hash       []byte // SHA-256 of the link's 256 bits
	Email      string // whom it is for, "" for anybody
	EmailKey   string
	Groups     List // of the user to be
	Admin      bool
	By         string // who invites: a user's ID, "cli"
	CreatedAt  time.Time
	ExpiresAt  time.Time
	RevokedAt  *time.Time
	RedeemedAt *time.Time
	RedeemedBy []byte // random id of the request (I-9)
	UserID     ID     // who came of it, zero while nobody did
	DeadAt     time.Time
}

// InviteStore keeps invites.
type InviteStore interface {
	AddInvite(ctx context.Context, i Invite) error
	// InviteByHash returns ErrNotFound where there is none that is open at now.
	InviteByHash(ctx context.Context, hash []byte, now time.Time) (Invite, error)
	// RedeemInvite marks it for a user, once: false where somebody was first, it was revoked or it
	// expired, but true where `by` was the first.
	RedeemInvite(ctx context.Context, id, userID ID, by []byte, now time.Time) (bool, error)
	// RevokeInvite returns ErrNotFound where there is none that is open.
	RevokeInvite(ctx context.Context, id ID, now time.Time) error
	// Invites lists invites, newest first, those before the ID `before`.
	Invites(ctx context.Context, before ID, limit int) ([]Invite, error)
}

// actionInvite is limited by address: those who show what is no invite.
const actionInvite = guard.Action("invite")

// A NewInvite is what AddInvite needs.
type NewInvite struct {
	Email  string // whom it is for, who is sent it; "" for anybody
	Groups List
	Admin  bool
	By     string // the ID of the user who invites, "" for the command line
}

// AddInvite makes an invite and returns the token of its link, which is not kept. Its errors are
// Invalid with the Field.
func (p *Provider) AddInvite(ctx context.Context, n NewInvite) (i Invite, token string, err error) {
	now := p.Now()
	i = Invite{
		ID: NewID(now), Groups: n.Groups, Admin: n.Admin, By: n.By,
		CreatedAt: now, ExpiresAt: now.Add(p.cfg.Signup.InviteTTL),
	}
	if i.By == "" {
		i.By = actorCommand
	}
	i.DeadAt = i.ExpiresAt.Add(p.cfg.Audit.Retention)
	var wrong []*Error
	if n.Email != "" {
		address, bad := addressOf(p.names, n.Email)
		if i.Email, i.EmailKey = address.Text, address.Unique; bad != nil {
			wrong = append(wrong, bad)
		}
	}
	if bad := checkGroups(n.Groups); bad != nil {
		wrong = append(wrong, bad)
	}
	if err := together(wrong); err != nil {
		return Invite{}, "", err
	}
	var key [32]byte
	rand.Read(key[:])
	hash := sha256.Sum256(key[:])
	i.Hash, token = hash[:], strict64.EncodeToString(key[:])
	m := Mail{Kind: "invite", To: i.Email, Args: map[string]string{
		"link": p.cfg.Issuer + "/signup?invite=" + token, "expires": i.ExpiresAt.UTC().Format(time.RFC3339),
	}}
	if id, err := ParseID(i.By); err == nil {
		inviter, err := p.store.User(ctx, id)
		if err != nil {
			return Invite{}, "", stored("find who invites", err)
		}
		m.Locale, m.Args["inviter"] = inviter.Locale, inviter.Username
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.AddInvite(ctx, i); err != nil {
			return err
		}
		if err := p.enqueueMail(ctx, m, "", now); err != nil {
			return err
		}
		return p.record(ctx, eventInvite("invite.added", i))
	})
	if err != nil {
		return Invite{}, "", stored("add an invite", err)
	}
	return i, token, nil
}

// Invites lists invites, newest first, those before the ID `before`.
func (p *Provider) Invites(ctx context.Context, before ID, limit int) ([]Invite, error) {
	list, err := p.store.Invites(ctx, before, bounded(limit))
	return list, stored("list invites", err)
}

// RevokeInvite ends an invite; ErrNotFound where there is none that is open.
func (p *Provider) RevokeInvite(ctx context.Context, id ID) error {
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.RevokeInvite(ctx, id, p.Now()); err != nil {
			return err
		}
		return p.record(ctx, eventInvite("invite.revoked", Invite{ID: id}))
	})
	return stored("revoke an invite", err)
}

func inviteOver() *Error { return &Error{Kind: Denied, Code: "invite_over"} }

// openInvite finds the open invite of a token. Its error is Denied with invite_over, or Throttled for
// whoever shows too many that are none.
func (p *Provider) openInvite(ctx context.Context, token string) (Invite, error) {
	key, err := strict64.DecodeString(token[:min(len(token), linkTokenSize)])
	if err == nil && len(key) == sha256.Size {
		hash := sha256.Sum256(key)
		i, err := p.store.InviteByHash(ctx, hash[:], p.Now())
		if !errors.Is(err, ErrNotFound) {
			return i, stored("find an invite", err)
		}
	}
	if _, err := p.guard.Spend(ctx, guard.Request{Attempt: actionInvite, Address: VisitorFrom(ctx).Address}); err != nil {
		return Invite{}, p.refused(ctx, "find an invite", err)
	}
	return Invite{}, inviteOver()
}

func eventInvite(kind string, i Invite) Event {
	e := Event{Kind: kind, Details: Details{"invite": i.ID.String()}}
	if _, err := ParseID(i.By); err == nil {
		e.Actor = i.By
	}
	return e
}
