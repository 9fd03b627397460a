package idp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A User is an End-User: someone who signs in.
type User struct {
	ID            ID // the subject of every token (OpenID Connect Core 1.0 §8, public); a UUIDv4
	Username      string
	UsernameKey   string // guard.Canonical of Username; unique
	Email         string // "" for none
	EmailKey      string // guard.Canonical of Email
	EmailVerified bool
	Profile       Profile
	Groups        List
	Admin         bool
	Status        UserStatus
	// MustChangePassword is set where the password is not the user's own any more (StepChangePassword).
	MustChangePassword bool
	// Factors are what the user has beside the password, each once: factorTOTP, factorPasskey,
	// factorHardware and factorCopied. Recovery codes are none. As a column a JSON array of strings.
	Factors  List
	Locale   string     // BCP 47, of pages and mails; "" for what their browser asks for
	DeleteAt *time.Time // when the user is deleted who asked for it, and is disabled until then
	// Epoch rises with every password change, reset, disable, role or factor change (I-2).
	Epoch     int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A UserStatus says whether a user may sign in.
type UserStatus string

const (
	// Active users may sign in.
	Active UserStatus = "active"
	// Disabled users have no session and no live grant.
	Disabled UserStatus = "disabled"
)

// A Profile holds the claims of OpenID Connect Core 1.0 §5.1 that have no column of their own.
// Empty fields are not claimed. As a column it is a JSON object.
type Profile struct {
	Name              string   `json:"name,omitempty"`
	GivenName         string   `json:"given_name,omitempty"`
	FamilyName        string   `json:"family_name,omitempty"`
	MiddleName        string   `json:"middle_name,omitempty"`
	Nickname          string   `json:"nickname,omitempty"`
	PreferredUsername string   `json:"preferred_username,omitempty"` // Username where empty
	Profile           string   `json:"profile,omitempty"`            // URL
	Picture           string   `json:"picture,omitempty"`            // URL
	Website           string   `json:"website,omitempty"`            // URL
	Gender            string   `json:"gender,omitempty"`
	Birthdate         string   `json:"birthdate,omitempty"` // YYYY-MM-DD, 0000-MM-DD or YYYY
	Zoneinfo          string   `json:"zoneinfo,omitempty"`  // tz database name
	Locale            string   `json:"locale,omitempty"`    // BCP 47
	PhoneNumber       string   `json:"phone_number,omitempty"`
	PhoneVerified     bool     `json:"phone_number_verified,omitempty"`
	Address           *Address `json:"address,omitempty"`
}

// Column implements Column.
func (p Profile) Column() (string, error) { return columnOf(p) }

// Scan reads a column.
func (p *Profile) Scan(src any) error { return scanColumn(p, src) }

// An Address is the address claim (OpenID Connect Core 1.0 §5.1.1).
type Address struct {
	Formatted     string `json:"formatted,omitempty"`
	StreetAddress string `json:"street_address,omitempty"`
	Locality      string `json:"locality,omitempty"`
	Region        string `json:"region,omitempty"`
	PostalCode    string `json:"postal_code,omitempty"`
	Country       string `json:"country,omitempty"`
}

// UserStore keeps users.
type UserStore interface {
	// AddUser adds a user with their address, which is the primary one of Emails. It returns
	// ErrConflict where the username is taken, or where the address is another's primary one or
	// verified as another's. A second claim of an address is made by AddUser of a user
	// without one and AddEmail.
	AddUser(ctx context.Context, u User) error
	// User returns ErrNotFound where there is none.
	User(ctx context.Context, id ID) (User, error)
	// UserByKey finds a user by UsernameKey, or by any of their addresses where key has an @: the one
	// whose it is verified as, else the only one who claims it, else nobody.
	UserByKey(ctx context.Context, key string) (User, error)
	// Users lists users in the order of their usernames' keys, those after the key `after`, at
	// most limit.
	Users(ctx context.Context, after string, limit int) ([]User, error)
	// ChangeUser writes every field of u but ID and CreatedAt, where the stored epoch is `epoch`.
	// It returns ErrConflict where it is another by now, or where a name is taken. Its address is the
	// primary one of Emails then; the former one stays among them, but goes where there is none.
	ChangeUser(ctx context.Context, u User, epoch int64) error
	// Admins lists the active users who are administrators, at most a hundred.
	Admins(ctx context.Context) ([]User, error)
	// UsersToDelete lists the users whose DeleteAt has come, at most limit.
	UsersToDelete(ctx context.Context, now time.Time, limit int) ([]User, error)
	// DeleteUser removes the user with everything that is theirs.
	DeleteUser(ctx context.Context, id ID) error
}

// A NewUser is what AddUser needs. An empty Password makes a user without one.
type NewUser struct {
	Username      string
	AllowReserved bool // an operator's word that this one may have a reserved username
	Email         string
	EmailVerified bool
	Password      string
	Admin         bool
	Profile       Profile
	Groups        List
}

// AddUser checks and adds a user. Its errors are Invalid or Conflict with the Field.
func (p *Provider) AddUser(ctx context.Context, n NewUser) (User, error) {
	u, err := n.user(p.names, p.Now())
	if err != nil {
		return User{}, err
	}
	var password Authenticator
	if n.Password != "" {
		if password, err = p.newPassword(ctx, u, "password", n.Password); err != nil {
			return User{}, err
		}
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.AddUser(ctx, u); err != nil {
			return err
		}
		if n.Password != "" {
			if err := p.store.PutPassword(ctx, password); err != nil {
				return err
			}
		}
		return p.record(ctx, eventUserAdded(u))
	})
	if errors.Is(err, ErrConflict) {
		err = p.nameTaken(ctx, u)
	}
	if err != nil {
		return User{}, stored("add user", err)
	}
	return u, nil
}

// nameTaken says which of u's names another user has.
func (p *Provider) nameTaken(ctx context.Context, u User) error {
	_, err := p.store.UserByKey(ctx, u.UsernameKey)
	switch {
	case err == nil:
		return &Error{Kind: Conflict, Code: "username_taken", Field: "username"}
	case errors.Is(err, ErrNotFound):
		return &Error{Kind: Conflict, Code: "email_taken", Field: "email"}
	}
	return err
}

// FindUser finds a user by ID, username or e-mail; it returns ErrNotFound where there is none.
func (p *Provider) FindUser(ctx context.Context, ref string) (User, error) {
	if id, err := ParseID(ref); err == nil {
		u, err := p.store.User(ctx, id)
		if !errors.Is(err, ErrNotFound) {
			return u, stored("find user", err)
		}
	}
	key, ok := p.keyOf(ref)
	if !ok {
		return User{}, fmt.Errorf("find user: %w", ErrNotFound)
	}
	u, err := p.store.UserByKey(ctx, key)
	return u, stored("find user", err)
}

// Users lists users in the order of their names' keys, after the key `after`.
func (p *Provider) Users(ctx context.Context, after string, limit int) ([]User, error) {
	list, err := p.store.Users(ctx, after, bounded(limit))
	return list, stored("list users", err)
}

// DisableUser turns a user off: sessions ended, grants revoked, epoch raised, in one Tx.
func (p *Provider) DisableUser(ctx context.Context, id ID) error {
	return p.changeUser(ctx, "disable user", id, func(ctx context.Context, u User) error {
		if u.Status == Disabled {
			return p.keepDisabled(ctx, u)
		}
		u.Status = Disabled
		sessions, grants, err := p.raiseEpoch(ctx, &u, "disabled")
		if err != nil {
			return err
		}
		if err := p.tellByOperator(ctx, u, "account_disabled", nil); err != nil {
			return err
		}
		return p.record(ctx, eventUserDisabled(u, sessions, grants))
	})
}

// keepDisabled takes from a user who asked to be deleted the links by which they would be active again.
func (p *Provider) keepDisabled(ctx context.Context, u User) error {
	if u.DeleteAt == nil {
		return nil
	}
	if err := p.store.EndTickets(ctx, u.ID, p.Now(), ForUndelete, ForRevert); err != nil {
		return err
	}
	return p.record(ctx, eventUserDisabled(u, 0, 0))
}

// EnableUser turns a user on again, also one who asked to be deleted. What was ended stays ended.
func (p *Provider) EnableUser(ctx context.Context, id ID) error {
	return p.changeUser(ctx, "enable user", id, func(ctx context.Context, u User) error {
		if u.Status == Active {
			return nil
		}
		u.Status, u.DeleteAt, u.UpdatedAt = Active, nil, p.Now()
		if err := p.store.ChangeUser(ctx, u, u.Epoch); err != nil {
			return err
		}
		if err := p.tellAdminChange(ctx, u, "status"); err != nil {
			return err
		}
		return p.record(ctx, eventUserEnabled(u))
	})
}

// DeleteUser removes a user with everything that is theirs.
func (p *Provider) DeleteUser(ctx context.Context, id ID) error {
	return p.changeUser(ctx, "delete user", id, p.deleteUser)
}

// deleteUser removes u in the Tx of ctx, and tells them.
func (p *Provider) deleteUser(ctx context.Context, u User) error {
	if err := p.tellByOperator(ctx, u, "account_deleted", nil); err != nil {
		return err
	}
	if err := p.store.DeleteUser(ctx, u.ID); err != nil {
		return err
	}
	return p.record(ctx, eventUserDeleted(u))
}

// maxConflicts bounds how often a change of a user is tried that others change at the same time.
const maxConflicts = 5

// changeUser reads a user and does fn with it, in one Tx, anew where the user changed meanwhile.
func (p *Provider) changeUser(ctx context.Context, doing string, id ID, fn func(context.Context, User) error) error {
	var err error
	for range maxConflicts {
		err = p.store.Tx(ctx, func(ctx context.Context) error {
			u, err := p.store.User(ctx, id)
			if err != nil {
				return err
			}
			return fn(ctx, u)
		})
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return stored(doing, err)
}

// raiseEpoch writes u with the next epoch, by which every session and grant that rests on the
// former one is dead (I-2). It ends and revokes them too, for whoever lists them, and says how
// many. It returns ErrConflict where the user changed since u was read.
func (p *Provider) raiseEpoch(ctx context.Context, u *User, why string) (sessions, grants int, err error) {
	return p.raiseEpochBut(ctx, u, why, ID{})
}

// raiseEpochBut leaves one session for its caller to lift to the new epoch.
func (p *Provider) raiseEpochBut(ctx context.Context, u *User, why string, session ID) (sessions, grants int, err error) {
	former := u.Epoch
	u.Epoch, u.UpdatedAt = former+1, p.Now()
	if err := p.store.ChangeUser(ctx, *u, former); err != nil {
		return 0, 0, err
	}
	ended, err := p.store.EndSessions(ctx, u.ID, session, why, u.UpdatedAt)
	if err != nil {
		return 0, 0, err
	}
	grants, err = p.store.RevokeGrants(ctx, GrantFilter{UserID: u.ID}, why, u.UpdatedAt)
	return len(ended), grants, err
}
