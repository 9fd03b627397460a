package idp

import (
	"context"
	"errors"
	"time"
)

// An ImportedUser is one record of a file of users.
type ImportedUser struct {
	Line          int
	Username      string
	AllowReserved bool // as of a NewUser
	Email         string
	EmailVerified bool
	PasswordHash  string // of any scheme that package secret recognizes; "" for none
	Password      string // in the clear, "" for none: judged and hashed as any
	Admin         bool
	Disabled      bool
	Groups        List
	Profile       Profile
	CreatedAt     time.Time // zero for now
}

// An ImportStatus is what became of a record.
type ImportStatus string

const (
	// ImportAdded: the user was added, or would be.
	ImportAdded ImportStatus = "added"
	// ImportExists: another user has the username or the address; Wrong says which.
	ImportExists ImportStatus = "exists"
	// ImportRefused: Wrong says why.
	ImportRefused ImportStatus = "refused"
)

// An Imported is what became of a record. Nothing of it tells a password or a hash.
type Imported struct {
	Line   int
	User   string // the username as it is stored; "" where it can be none, as it may be anything then
	Status ImportStatus
	Scheme string   // of an imported hash, "" for none
	Wrong  []*Error // all that is wrong with the record
	ID     ID       // of who was added, zero in a dry run
}

// ImportUser adds one record, or with dry tells only what would become of it. A record that cannot be
// added is no error: the Imported says why.
func (p *Provider) ImportUser(ctx context.Context, r ImportedUser, dry bool) (Imported, error) {
	told := Imported{Line: r.Line, Status: ImportRefused}
	u, wrong := p.importedUser(r)
	told.User = u.Username
	var err error
	if r.PasswordHash != "" {
		if told.Scheme, err = p.hasher.Recognize(r.PasswordHash); err != nil {
			wrong = append(wrong, invalid("hash_unfit", "password_hash", map[string]any{"why": err.Error()}))
		}
	}
	if r.Password != "" {
		wrong = append(wrong, all(p.judgePassword("password", r.Password, u))...)
	}
	if len(wrong) > 0 {
		told.Wrong = wrong
		return told, nil
	}
	if dry {
		err = p.lookForNames(ctx, u)
	} else {
		err = p.addImported(ctx, u, r, told.Scheme)
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == Conflict {
		told.Status, told.Wrong = ImportExists, []*Error{e}
		return told, nil
	}
	if err != nil {
		return told, stored("import a user", err)
	}
	told.Status = ImportAdded
	if !dry {
		told.ID = u.ID
	}
	return told, nil
}

// importedUser makes a user of r and checks all but the password.
func (p *Provider) importedUser(r ImportedUser) (User, []*Error) {
	now := p.Now()
	u, err := NewUser{
		Username: r.Username, AllowReserved: r.AllowReserved, Email: r.Email, EmailVerified: r.EmailVerified, Admin: r.Admin, Profile: r.Profile, Groups: r.Groups,
	}.user(p.names, now)
	wrong := all(err)
	if r.PasswordHash != "" && r.Password != "" {
		wrong = append(wrong, invalid("password_twice", "password", nil))
	}
	switch {
	case r.CreatedAt.After(now):
		wrong = append(wrong, invalid("created_in_future", "created_at", nil))
	case !r.CreatedAt.IsZero():
		u.CreatedAt = r.CreatedAt.UTC().Truncate(time.Microsecond)
	}
	if r.Disabled {
		u.Status = Disabled
	}
	return u, wrong
}

// lookForNames is a Conflict where another user has one of u's names.
func (p *Provider) lookForNames(ctx context.Context, u User) error {
	for _, name := range []struct{ key, code, field string }{
		{u.UsernameKey, "username_taken", "username"},
		{u.EmailKey, "email_taken", "email"},
	} {
		if name.key == "" {
			continue
		}
		_, err := p.store.UserByKey(ctx, name.key)
		if err == nil {
			return &Error{Kind: Conflict, Code: name.code, Field: name.field}
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// addImported adds u with the password of r, if it has one. Its error is a Conflict where another
// user has one of u's names.
func (p *Provider) addImported(ctx context.Context, u User, r ImportedUser, scheme string) error {
	var a Authenticator
	var err error
	switch {
	case r.PasswordHash != "":
		a = p.passwordOf(u, r.PasswordHash)
	case r.Password != "":
		if a, err = p.newPassword(ctx, u, "password", r.Password); err != nil {
			return err
		}
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.AddUser(ctx, u); err != nil {
			return err
		}
		if a.Secret != "" {
			if err := p.store.PutPassword(ctx, a); err != nil {
				return err
			}
		}
		return p.record(ctx, eventUserImported(u, scheme))
	})
	if errors.Is(err, ErrConflict) {
		return p.nameTaken(ctx, u)
	}
	return err
}
