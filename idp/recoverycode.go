package idp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"time"

	"postern/idp/guard"
	"postern/idp/secret"
)

// actionRecoveryCode limits attempts with recovery codes more strictly than those with an app.
const actionRecoveryCode = guard.Action("recovery_code")

// A RecoveryCode is one code of a set, for whoever lost their second factor.
type RecoveryCode struct {
	ID              ID
	AuthenticatorID ID // the set
	UserID          ID
	Hash            []byte // keyed, with the number of the root key; 50 bits are too few for a plain hash
	UsedAt          *time.Time
	UsedBy          []byte // the request that used it (I-9)
}

// RecoveryCodeStore keeps recovery codes.
type RecoveryCodeStore interface {
	// PutRecoveryCodes replaces a user's set and its codes by set and list.
	PutRecoveryCodes(ctx context.Context, set Authenticator, list []RecoveryCode) error
	// RecoveryCodes lists the codes of a user's set, used ones too.
	RecoveryCodes(ctx context.Context, userID ID) ([]RecoveryCode, error)
	// UseRecoveryCode marks it used, once: false where it was, or is no code of userID's set, but true
	// where `by` was the first. It writes the set's LastUsedAt.
	UseRecoveryCode(ctx context.Context, userID, id ID, by []byte, now time.Time) (bool, error)
}

// crockford is Crockford's base32 in lower case: no i, l, o and u.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// recoveryCodeSize is the length of a recovery code without its hyphen: 50 bits.
const recoveryCodeSize = 10

// newRecoveryCode is one of 2^50, as it is stored; its user sees it with a hyphen.
func newRecoveryCode() string {
	var b [7]byte // 56 bits, of which ten characters are 50
	rand.Read(b[:])
	return crockford.EncodeToString(b[:])[:recoveryCodeSize]
}

// normalRecoveryCode is a code, typed without spaces and hyphens, as it was made: in either case, and with
// the letters that are taken for others. ok is false for what can be none.
func normalRecoveryCode(typed string) (code string, ok bool) {
	if len(typed) != recoveryCodeSize {
		return "", false
	}
	b := []byte(typed)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch c {
		case 'o':
			c = '0'
		case 'i', 'l':
			c = '1'
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') || c == 'u' {
			return "", false
		}
		b[i] = c
	}
	return string(b), true
}

// hashRecoveryCode is the number of a root key and a MAC by it, which all codes of a user have alike;
// nil where the ring lacks the key.
func (p *Provider) hashRecoveryCode(root uint16, userID ID, code string) []byte {
	message := slices.Concat([]byte("recovery code "), userID[:], []byte(code))
	sum, known := p.ring.MAC(secret.ForFactor, root, message)
	if !known {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, root), sum[:]...)
}

// newRecoveryCodes makes a set for u, with what they are told and what is kept. It writes nothing.
func (p *Provider) newRecoveryCodes(u *User) (set Authenticator, told []string, rows []RecoveryCode) {
	now := p.Now()
	set = Authenticator{ID: NewID(now), UserID: u.ID, Kind: RecoveryKind, CreatedAt: now}
	for range p.cfg.MFA.Recovery.Count {
		code := newRecoveryCode()
		told = append(told, code[:recoveryCodeSize/2]+"-"+code[recoveryCodeSize/2:])
		rows = append(rows, RecoveryCode{
			ID: NewID(now), AuthenticatorID: set.ID, UserID: u.ID,
			Hash: p.hashRecoveryCode(p.ring.Current(), u.ID, code),
		})
	}
	return set, told, rows
}

// NewRecoveryCodes replaces the recovery codes of v's user, of whom set was shown, zero for none. They are told once.
// Its errors are Denied with reauthenticate, Invalid with no_factor where there is nothing to recover,
// and Stale with page_outdated where the set is another by now.
func (p *Provider) NewRecoveryCodes(ctx context.Context, v *Visit, set ID) ([]string, error) {
	if err := p.sudoOverFactors(v); err != nil {
		return nil, err
	}
	made, told, rows := p.newRecoveryCodes(&v.User)
	err := p.changeOwn(ctx, "make recovery codes", v, func(ctx context.Context, u User) error {
		list, err := p.store.Factors(ctx, u.ID)
		if err != nil {
			return err
		}
		if len(factorsOf(list)) == 0 {
			return invalid("no_factor", "", nil)
		}
		var present ID
		for i := range list {
			if list[i].Kind == RecoveryKind {
				present = list[i].ID
			}
		}
		if present != set {
			return &Error{Kind: Stale, Code: "page_outdated"}
		}
		if err := p.store.PutRecoveryCodes(ctx, made, rows); err != nil {
			return err
		}
		if err := p.tellAlarmed(ctx, u, &v.Session, "recovery_codes_made", nil); err != nil {
			return err
		}
		return p.record(ctx, eventRecoveryCodesMade(v, len(rows)))
	})
	if err != nil {
		return nil, err
	}
	return told, nil
}

func eventRecoveryCodesMade(v *Visit, count int) Event {
	return Event{
		Kind: "user.recovery_codes_made", Actor: v.User.ID.String(), UserID: v.User.ID, SessionID: v.Session.ID,
		Details: Details{"count": count},
	}
}

// unused are how many of a set can be used.
func unused(list []RecoveryCode) int {
	n := 0
	for i := range list {
		if list[i].UsedAt == nil {
			n++
		}
	}
	return n
}

// judgeRecoveryCode finds the code among those of v's user, and of nobody else. It compares with all of
// them, used ones too.
func (p *Provider) judgeRecoveryCode(ctx context.Context, v *Visit, code string) (ID, func(context.Context) error, error) {
	list, err := p.store.RecoveryCodes(ctx, v.User.ID)
	if err != nil {
		return ID{}, nil, stored("find recovery codes", err)
	}
	found := -1
	for i := range list {
		c := &list[i]
		if len(c.Hash) < 2 {
			continue
		}
		shown := p.hashRecoveryCode(binary.BigEndian.Uint16(c.Hash), c.UserID, code)
		if subtle.ConstantTimeCompare(shown, c.Hash) == 1 && c.UsedAt == nil {
			found = i
		}
	}
	if found < 0 || !v.User.HasFactor() { // recovery codes alone are no second factor
		return ID{}, nil, codeWrong()
	}
	shown, by := list[found], newRequestID()
	return shown.AuthenticatorID, func(ctx context.Context) error { return p.useRecoveryCode(ctx, v, shown.ID, by) }, nil
}

// useRecoveryCode consumes a code in the Tx of ctx, and tells its user how many are left.
func (p *Provider) useRecoveryCode(ctx context.Context, v *Visit, id ID, by []byte) error {
	first, err := p.store.UseRecoveryCode(ctx, v.User.ID, id, by, p.Now())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if !first {
		return codeWrong()
	}
	list, err := p.store.RecoveryCodes(ctx, v.User.ID)
	if err != nil {
		return err
	}
	left := unused(list)
	if err := p.tellAlarmed(ctx, v.User, &v.Session, "recovery_code_used", map[string]string{"left": strconv.Itoa(left)}); err != nil {
		return err
	}
	return p.record(ctx, Event{
		Kind: "user.recovery_code_used", Actor: v.User.ID.String(), UserID: v.User.ID, SessionID: v.Session.ID,
		Details: Details{"left": left},
	})
}
