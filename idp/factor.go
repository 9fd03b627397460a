package idp

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/config"
	"postern/idp/guard"
)

// What User.Factors names.
const (
	factorTOTP     = "totp"
	factorPasskey  = "webauthn"
	factorHardware = "hardware" // a passkey whose key cannot leave its device
	factorCopied   = "copied"   // a passkey that was copied, where the user has nothing better
)

// FactorStore keeps the authenticators that are no passwords.
type FactorStore interface {
	// Factors lists a user's authenticators but the password, oldest first, disabled ones and those that
	// are set up too.
	Factors(ctx context.Context, userID ID) ([]Authenticator, error)
	// AddFactor adds a row. It returns ErrConflict where the credential is known already, be it as
	// another's, or where the user has an app (whose Setup is zero) or a set of recovery codes; of apps
	// that are set up the newest of a session replaces the former.
	AddFactor(ctx context.Context, a Authenticator) error
	// ConfirmFactor lets an app count that was set up in a.Setup: it writes Counter and LastUsedAt, and
	// clears Setup. It removes the user's other app, and returns ErrConflict where it is set up no more.
	ConfirmFactor(ctx context.Context, a Authenticator) error
	// FactorByCredential finds a passkey by its ID with its user, in one statement, or returns
	// ErrNotFound.
	FactorByCredential(ctx context.Context, credential []byte) (User, Authenticator, error)
	// UseFactor writes Counter, LastUsedAt, Passkey and DisabledAt of a, where the row is its user's,
	// was not disabled and has the Counter `from` still. Otherwise it returns ErrConflict: a code or an
	// assertion counts once.
	UseFactor(ctx context.Context, a Authenticator, from int64) error
	// RenameFactor writes the Name of a user's own, or returns ErrNotFound.
	RenameFactor(ctx context.Context, userID, id ID, name string) error
	// RemoveFactors removes a user's own, all but the password where no IDs are given, and tells how
	// many there were.
	RemoveFactors(ctx context.Context, userID ID, ids ...ID) (int, error)
	// SpendChallenge notes that the challenge of a ceremony was used, until dead: false where it was
	// before.
	SpendChallenge(ctx context.Context, hash []byte, dead time.Time) (bool, error)
	// SealedFactors lists everybody's that have something sealed, in the order of their IDs, those after
	// the ID `after`, at most limit.
	SealedFactors(ctx context.Context, after ID, limit int) ([]Authenticator, error)
	// ResealFactor writes Sealed of a, or returns ErrConflict where it is not `former` any more.
	ResealFactor(ctx context.Context, a Authenticator, former []byte) error
}

// A FactorPolicy is what is asked of a user.
type FactorPolicy string

// The policies, from the least strict (mfa.policy).
const (
	FactorsOff      FactorPolicy = "off"
	FactorsOptional FactorPolicy = "optional"
	FactorsRequired FactorPolicy = "required"
)

// FactorRules are mfa.policy and mfa.policies. nil leaves it to everybody.
type FactorRules struct {
	everybody FactorPolicy
	admins    FactorPolicy
	groups    map[string]FactorPolicy
	grace     time.Duration
	from      time.Time // no grace begins earlier
}

// strictness orders the policies.
var strictness = map[FactorPolicy]int{FactorsOff: 1, FactorsOptional: 2, FactorsRequired: 3}

func readFactorRules(m *config.MFA) (*FactorRules, error) {
	r := &FactorRules{everybody: FactorPolicy(m.Policy), groups: map[string]FactorPolicy{}, grace: m.EnrolGrace}
	for _, line := range m.Policies {
		match, word, ok := strings.Cut(line, "=>")
		kind, name, named := strings.Cut(strings.TrimSpace(match), "=")
		policy := FactorPolicy(strings.TrimSpace(word))
		switch {
		case !ok || !named || name == "" || strictness[policy] == 0:
			return nil, fmt.Errorf("mfa.policies: %q is not MATCH => off, optional or required", line)
		case kind == "role" && name == "admin":
			r.admins = policy
		case kind == "group":
			r.groups[name] = policy
		default:
			return nil, fmt.Errorf("mfa.policies: %q matches nobody: it is role=admin or group=NAME", line)
		}
	}
	if m.RequiredFrom != "" {
		var err error
		if r.from, err = time.Parse(time.RFC3339, m.RequiredFrom); err != nil {
			return nil, fmt.Errorf("mfa.required_from: %w", err)
		}
	}
	return r, nil
}

// of is the policy for u: the strictest that matches. Where it requires a factor, grace is until when u may go on without
// one; administrators may not (I-19).
func (r *FactorRules) of(u *User) (policy FactorPolicy, grace time.Time) {
	if r == nil {
		return FactorsOptional, time.Time{}
	}
	policy = r.everybody
	stricter := func(other FactorPolicy) {
		if strictness[other] > strictness[policy] {
			policy = other
		}
	}
	if u.Admin {
		stricter(r.admins)
	}
	for _, g := range u.Groups {
		stricter(r.groups[g])
	}
	if policy != FactorsRequired || u.Admin || r.grace <= 0 {
		return policy, time.Time{}
	}
	began := u.CreatedAt
	if began.Before(r.from) {
		began = r.from
	}
	return policy, began.Add(r.grace)
}

// requires tells whether u may not go on without a second factor.
func (r *FactorRules) requires(u *User, now time.Time) bool {
	policy, grace := r.of(u)
	return policy == FactorsRequired && !now.Before(grace)
}

// FactorPolicyOf is the policy for u, and until when u may go on without a second factor where one is
// required, zero for not at all.
func (p *Provider) FactorPolicyOf(u *User) (policy FactorPolicy, grace time.Time) {
	return p.factorRules.of(u)
}

// owesFactor tells whether u, who proved what list has, owes a second factor, or has to get one. Trust
// in a browser spares nobody who administers.
func (u *User) owesFactor(list Methods, trusted bool, r *FactorRules, now time.Time) bool {
	if list.level() >= TwoFactors {
		return false
	}
	return u.HasFactor() && (!trusted || u.Admin) || !u.HasFactor() && r.requires(u, now)
}

// HasFactor tells whether u has a second factor. Recovery codes alone are none.
func (u *User) HasFactor() bool { return len(u.Factors) > 0 }

// A Factor is an authenticator as its user sees it, without anything secret.
type Factor struct {
	ID         ID
	Kind       AuthenticatorKind
	Name       string
	Model      string // of a passkey, "" where it is not known
	Synced     bool   // of a passkey
	CreatedAt  time.Time
	LastUsedAt *time.Time
	DisabledAt *time.Time // where it was found to be copied
}

// OwnFactors are what the pages about second factors tell.
type OwnFactors struct {
	App      *Factor // nil for none
	Passkeys []Factor
	Recovery *RecoverySet // nil for none
	Trusted  []TrustedBrowser
	Policy   FactorPolicy
	Grace    time.Time // until when it may be missing, zero where it may not or need not
	// Accepted are the IDs of all live passkeys with their user handle, for the browser's own list
	// (signalAllAcceptedCredentials); Handle is nil for none.
	Handle   []byte
	Accepted [][]byte
}

// A RecoverySet is what is told of a user's recovery codes.
type RecoverySet struct {
	ID        ID
	CreatedAt time.Time
	Left      int
	Of        int
}

// OwnFactors lists what v's user has.
func (p *Provider) OwnFactors(ctx context.Context, v *Visit) (OwnFactors, error) {
	return p.factorsFor(ctx, &v.User)
}

// UserFactors lists a user's for an operator, ErrNotFound where there is no such user.
func (p *Provider) UserFactors(ctx context.Context, id ID) (OwnFactors, error) {
	u, err := p.store.User(ctx, id)
	if err != nil {
		return OwnFactors{}, stored("list factors", err)
	}
	return p.factorsFor(ctx, &u)
}

func (p *Provider) factorsFor(ctx context.Context, u *User) (OwnFactors, error) {
	list, err := p.store.Factors(ctx, u.ID)
	if err != nil {
		return OwnFactors{}, stored("list factors", err)
	}
	var own OwnFactors
	for i := range list {
		own.add(&list[i])
	}
	if own.Recovery != nil {
		codes, err := p.store.RecoveryCodes(ctx, u.ID)
		if err != nil {
			return OwnFactors{}, stored("list recovery codes", err)
		}
		own.Recovery.Left, own.Recovery.Of = unused(codes), len(codes)
	}
	if own.Trusted, err = p.trustedBrowsers(ctx, u); err != nil {
		return OwnFactors{}, err
	}
	own.Policy, own.Grace = p.factorRules.of(u)
	if u.HasFactor() {
		own.Grace = time.Time{}
	}
	return own, nil
}

// add tells of a; nothing of an app that is set up.
func (own *OwnFactors) add(a *Authenticator) {
	f := Factor{
		ID: a.ID, Kind: a.Kind, Name: a.Name, CreatedAt: a.CreatedAt, LastUsedAt: a.LastUsedAt, DisabledAt: a.DisabledAt,
	}
	switch a.Kind {
	case TOTPKind:
		if a.Setup.IsZero() {
			own.App = &f
		}
	case PasskeyKind:
		if a.Passkey != nil {
			f.Model, f.Synced = a.Passkey.Model(), a.Passkey.Synced()
			own.Handle = a.Passkey.Handle
		}
		own.Passkeys = append(own.Passkeys, f)
		if a.DisabledAt == nil {
			own.Accepted = append(own.Accepted, a.Credential)
		}
	case RecoveryKind:
		own.Recovery = &RecoverySet{ID: a.ID, CreatedAt: a.CreatedAt}
	}
}

// trustedBrowsers are those of u that are trusted now; none where nobody's may be.
func (p *Provider) trustedBrowsers(ctx context.Context, u *User) ([]TrustedBrowser, error) {
	if !p.MayTrust(u) {
		return nil, nil
	}
	now, hash := p.Now(), VisitorFrom(ctx).Device
	devices, err := p.store.Devices(ctx, u.ID, now)
	if err != nil {
		return nil, stored("list trusted browsers", err)
	}
	var list []TrustedBrowser
	for i := range devices {
		d := &devices[i]
		if d.TrustedUntil == nil || !now.Before(*d.TrustedUntil) {
			continue
		}
		list = append(list, TrustedBrowser{
			Hash: hex.EncodeToString(d.Hash), UserAgent: d.UserAgent, Address: d.Address, SeenAt: d.SeenAt,
			Until: *d.TrustedUntil, Current: bytes.Equal(d.Hash, hash[:]),
		})
	}
	return list, nil
}

// counts tells whether a is a second factor: not an app that is set up, a key that was copied, or a set
// of recovery codes.
func (a *Authenticator) counts() bool {
	return a.Kind == TOTPKind && a.Setup.IsZero() || a.Kind == PasskeyKind && a.DisabledAt == nil
}

// factorsOf is what User.Factors says of a user's rows. Who had but a key that was copied still owes a
// second factor, a recovery code: whoever copies a key must not open an account with it.
func factorsOf(list []Authenticator) List {
	var has List
	copied := false
	note := func(name string) {
		if !slices.Contains(has, name) {
			has = append(has, name)
		}
	}
	for i := range list {
		a := &list[i]
		switch {
		case !a.counts():
			copied = copied || a.DisabledAt != nil
		case a.Kind == TOTPKind:
			note(factorTOTP)
		default:
			note(factorPasskey)
			if a.Passkey != nil && !a.Passkey.Synced() {
				note(factorHardware)
			}
		}
	}
	if len(has) == 0 && copied {
		note(factorCopied)
	}
	slices.Sort(has)
	return has
}

// refactor writes what u has by the rows of now and the next epoch, in the Tx of ctx, and ends what
// rests on the former one but the session keep, zero for none.
func (p *Provider) refactor(ctx context.Context, u *User, why string, keep ID) (sessions, grants int, err error) {
	list, err := p.store.Factors(ctx, u.ID)
	if err != nil {
		return 0, 0, err
	}
	u.Factors = factorsOf(list)
	return p.raiseEpochBut(ctx, u, why, keep)
}

// An Enrolled is what the registration of a factor gives: the session that goes on, and the recovery
// codes, which nobody can see again; nil where the user had some.
type Enrolled struct {
	SignedIn
	RecoveryCodes []string
}

// mayRegister judges whether v's user may add a factor now. A session that owes a step may where that is
// the step; which it is enrol asks.
func (p *Provider) mayRegister(v *Visit) error {
	u := &v.User
	if policy, _ := p.factorRules.of(u); policy == FactorsOff {
		return &Error{Kind: Denied, Code: "factors_off"}
	}
	// Else whoever mistyped their address, or claims another's, would bind a factor to it (S3-38).
	if u.Email != "" && !u.EmailVerified {
		return &Error{Kind: Denied, Code: "email_unverified"}
	}
	if v.Session.State == Live {
		return p.sudoOverFactors(v)
	}
	if u.HasFactor() {
		return sessionChanged(nil)
	}
	return nil
}

// A registration is a factor that is added.
type registration struct {
	// method is what it proves by being registered, without time and interaction.
	method Method
	factor string // app or passkey, in mails and events
	name   string // what its user calls it, "" for none
	// add writes the row in the Tx, before all else.
	add func(ctx context.Context) error
}

// enrol adds a factor of v's user, with all that follows from it, in one Tx: what rests on less ends or
// is lifted, the present session goes on with the proof that the factor is, and the user is told. The
// first one comes with recovery codes. Its errors are those of mayRegister and of r.add.
func (p *Provider) enrol(ctx context.Context, in *Interaction, v *Visit, r registration) (Enrolled, error) {
	if err := p.mayEnrolNow(ctx, in, v); err != nil {
		return Enrolled{}, err
	}
	r.method.At, r.method.Interaction = p.Now().Truncate(time.Second), in.mark()
	// What the session becomes is known before the Tx: it holds only for the epoch that v saw.
	u := v.User
	u.Epoch++
	u.Factors = append(slices.Clone(u.Factors), r.names()...)
	proved := *v
	proved.Session.Methods, proved.Session.Trusted = v.Session.Methods.with(r.method), false
	made, err := p.promote(ctx, &proved, u)
	if err != nil {
		return Enrolled{}, stored("add a factor", err)
	}
	set, codes, rows := p.newRecoveryCodes(&u)
	var enrolled Enrolled
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		enrolled.RecoveryCodes = nil
		missing, err := p.addFactor(ctx, v, &made.User, &r)
		if err != nil {
			return err
		}
		if missing {
			enrolled.RecoveryCodes = codes
			if err := p.store.PutRecoveryCodes(ctx, set, rows); err != nil {
				return err
			}
			if err := p.record(ctx, eventRecoveryCodesMade(v, len(rows))); err != nil {
				return err
			}
		}
		return p.keepPromoted(ctx, v, &made)
	})
	err = orSessionChanged(err)
	if err != nil {
		return Enrolled{}, stored("add a factor", err)
	}
	in.SignedIn(&made.Session)
	enrolled.SignedIn = made.SignedIn
	return enrolled, nil
}

// mayEnrolNow is mayRegister, and for a session that owes a step whether this is it (I-19).
func (p *Provider) mayEnrolNow(ctx context.Context, in *Interaction, v *Visit) error {
	if err := p.mayRegister(v); err != nil || v.Session.State == Live {
		return err
	}
	var client *Client
	if id := in.Request.ClientID; id != "" {
		var err error
		if client, err = p.Client(ctx, id); err != nil {
			return err
		}
	}
	if NextStep(in, v, p.PolicyFor(client), p.Now()).Step != StepEnrol {
		return sessionChanged(nil)
	}
	return nil
}

// names are what the factor adds to User.Factors.
func (r *registration) names() List {
	switch {
	case r.method.Name == MethodTOTP:
		return List{factorTOTP}
	case r.method.Hardware:
		return List{factorPasskey, factorHardware}
	}
	return List{factorPasskey}
}

// addFactor writes the row of r and what follows from it for the user of v, who becomes u, in the Tx of
// ctx. It tells whether they have no recovery codes.
func (p *Provider) addFactor(ctx context.Context, v *Visit, u *User, r *registration) (missing bool, err error) {
	former, err := p.store.Factors(ctx, v.User.ID)
	if err != nil {
		return false, err
	}
	if err := r.add(ctx); err != nil {
		return false, err
	}
	if *u, err = p.store.User(ctx, v.User.ID); err != nil {
		return false, err
	}
	if u.Epoch != v.User.Epoch {
		return false, ErrConflict // v's session is dead
	}
	if err := p.liftDevice(ctx, *u); err != nil {
		return false, err
	}
	list, err := p.store.Factors(ctx, u.ID)
	if err != nil {
		return false, err
	}
	u.Factors = factorsOf(list)
	sessions, grants, err := p.raiseEpochFor(ctx, u, former, list, v.Session.ID)
	if err != nil {
		return false, err
	}
	if err := p.tellAlarmed(ctx, *u, &v.Session, "factor_added", map[string]string{"factor": r.factor, "called": r.name}); err != nil {
		return false, err
	}
	e := eventFactor("user.factor_added", v, r.method.Authenticator, r.factor)
	e.Details["sessions_ended"], e.Details["grants_revoked"] = sessions, grants
	missing = !slices.ContainsFunc(list, func(a Authenticator) bool { return a.Kind == RecoveryKind })
	return missing, p.record(ctx, e)
}

// raiseEpochFor raises the epoch of u, whose rows were former and are list: the first factor ends what
// rests on less, and so does one that replaces another; a further one lifts it.
func (p *Provider) raiseEpochFor(ctx context.Context, u *User, former, list []Authenticator, session ID) (sessions, grants int, err error) {
	further := slices.ContainsFunc(former, func(a Authenticator) bool { return a.counts() })
	for i := range former {
		kept := slices.ContainsFunc(list, func(a Authenticator) bool { return a.ID == former[i].ID })
		further = further && (kept || !former[i].counts())
	}
	if !further {
		return p.raiseEpochBut(ctx, u, "factor_added", session)
	}
	return 0, 0, p.liftEpoch(ctx, u)
}

func eventFactor(kind string, v *Visit, id ID, factor string) Event {
	return Event{
		Kind: kind, Actor: v.User.ID.String(), UserID: v.User.ID, SessionID: v.Session.ID,
		Details: Details{"authenticator": id, "factor": factor},
	}
}

// word is what mails and events call a kind of factor.
func (k AuthenticatorKind) word() string {
	switch k {
	case TOTPKind:
		return "app"
	case RecoveryKind:
		return "recovery_codes"
	}
	return "passkey"
}

// maxFactorName is how long what a user calls a factor may be, in code points.
const maxFactorName = 100

// factorName is what a user calls a factor. Its error is Invalid with factor_name_too_long.
func factorName(typed string) (string, error) {
	name := strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(typed, "")))
	if utf8.RuneCountInString(name) > maxFactorName {
		return "", invalid("factor_name_too_long", "name", map[string]any{"max": maxFactorName})
	}
	return name, nil
}

// RenameFactor changes what v's user calls one of theirs; a passkey without a name has its model's. Its
// errors are Denied with reauthenticate, ErrNotFound, and Invalid with factor_name_too_long.
func (p *Provider) RenameFactor(ctx context.Context, v *Visit, id ID, name string) error {
	if err := p.sudo(v); err != nil {
		return err
	}
	name, err := factorName(name)
	if err != nil {
		return err
	}
	return p.changeOwn(ctx, "rename a factor", v, func(ctx context.Context, u User) error {
		a, _, err := p.ownFactor(ctx, u.ID, id)
		if err != nil {
			return err
		}
		if name == "" && a.Passkey != nil {
			name = a.Passkey.Model()
		}
		if err := p.store.RenameFactor(ctx, u.ID, id, name); err != nil {
			return err
		}
		return p.record(ctx, eventFactor("user.factor_renamed", v, id, a.Kind.word()))
	})
}

// ownFactor finds one of a user's apps and passkeys, with all of their rows.
func (p *Provider) ownFactor(ctx context.Context, userID, id ID) (Authenticator, []Authenticator, error) {
	list, err := p.store.Factors(ctx, userID)
	if err != nil {
		return Authenticator{}, nil, err
	}
	i := slices.IndexFunc(list, func(a Authenticator) bool {
		return a.ID == id && (a.Kind == TOTPKind && a.Setup.IsZero() || a.Kind == PasskeyKind)
	})
	if i < 0 {
		return Authenticator{}, nil, ErrNotFound
	}
	return list[i], list, nil
}

// RemoveFactor removes one of v's user's, ends the other sessions, and drops what goes with it: with
// the last one the recovery codes, and all trust in browsers. Its errors are Denied with reauthenticate,
// with factor_required where the policy asks for one, and with last_way_in where nothing would be left
// to sign in with; Stale with session_changed; and ErrNotFound, also for somebody else's.
func (p *Provider) RemoveFactor(ctx context.Context, v *Visit, id ID) (SignedIn, error) {
	if err := needLive(v); err != nil {
		return SignedIn{}, err
	}
	if err := p.sudoOverFactors(v); err != nil {
		return SignedIn{}, err
	}
	s := p.carriedOn(ctx, v)
	left := SignedIn{Token: s.renewSecret()}
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		u, err := p.store.User(ctx, v.User.ID)
		if err != nil {
			return err
		}
		if u.Epoch != v.User.Epoch {
			return ErrConflict // v's session is dead
		}
		a, list, err := p.ownFactor(ctx, u.ID, id)
		if err != nil {
			return err
		}
		if err := p.mayRemove(ctx, &u, &a, list); err != nil {
			return err
		}
		if err := p.liftDevice(ctx, u); err != nil {
			return err
		}
		if err := p.removeFactor(ctx, v, &u, &a, list); err != nil {
			return err
		}
		s.Epoch = u.Epoch
		left.User, left.Session = u, s
		return p.store.RenewSession(ctx, s, v.Session.Authentication)
	})
	err = orSessionChanged(err)
	if err != nil {
		return SignedIn{}, stored("remove a factor", err)
	}
	return left, nil
}

// carriedOn is v's session with another authentication and without trust in its browser, resting on
// what it rested on.
func (p *Provider) carriedOn(ctx context.Context, v *Visit) Session {
	s := p.newSession(ctx, v.User, v.Session.Remembered)
	s.ID, s.CreatedAt, s.EndsAt, s.ClientID = v.Session.ID, v.Session.CreatedAt, v.Session.EndsAt, v.Session.ClientID
	s.Methods = v.Session.Methods
	p.touched(&s, s.LastSeenAt)
	p.leaveTrack(&s, &v.Session)
	return s
}

// others are how many of a user's factors count beside a.
func others(list []Authenticator, a *Authenticator) int {
	n := 0
	for i := range list {
		if list[i].ID != a.ID && list[i].counts() {
			n++
		}
	}
	return n
}

// mayRemove judges whether u can do without a, in the Tx of ctx.
func (p *Provider) mayRemove(ctx context.Context, u *User, a *Authenticator, list []Authenticator) error {
	if !a.counts() {
		return nil // it was none any more
	}
	if policy, _ := p.factorRules.of(u); policy == FactorsRequired && others(list, a) == 0 {
		return &Error{Kind: Denied, Code: "factor_required"}
	}
	if a.Kind != PasskeyKind || p.cfg.Login.Code.Enabled && u.EmailVerified {
		return nil
	}
	for i := range list {
		other := &list[i]
		if other.ID != a.ID && other.Kind == PasskeyKind && other.counts() && other.Passkey != nil && other.Passkey.Verified() {
			return nil
		}
	}
	_, err := p.store.Password(ctx, u.ID)
	if errors.Is(err, ErrNotFound) {
		return &Error{Kind: Denied, Code: "last_way_in"}
	}
	return err
}

// removeFactor removes a of u, whose rows list are, with what follows from it, in the Tx of ctx.
func (p *Provider) removeFactor(ctx context.Context, v *Visit, u *User, a *Authenticator, list []Authenticator) error {
	gone := []ID{a.ID}
	if others(list, a) == 0 {
		for i := range list {
			if list[i].Kind == RecoveryKind {
				gone = append(gone, list[i].ID)
			}
		}
	}
	if n, err := p.store.RemoveFactors(ctx, u.ID, gone...); err != nil {
		return err
	} else if n != len(gone) {
		return ErrConflict
	}
	sessions, grants, err := p.refactor(ctx, u, "factor_removed", v.Session.ID)
	if err != nil {
		return err
	}
	args := map[string]string{"factor": a.Kind.word(), "called": a.Name}
	if err := p.tellAlarmed(ctx, *u, &v.Session, "factor_removed", args); err != nil {
		return err
	}
	e := eventFactor("user.factor_removed", v, a.ID, a.Kind.word())
	e.Details["sessions_ended"], e.Details["grants_revoked"] = sessions, grants
	return p.record(ctx, e)
}

// ResetFactors removes every factor of a user for an operator, and the recovery codes: sessions and
// grants end, and the user is told by mail.
func (p *Provider) ResetFactors(ctx context.Context, id ID) error {
	return p.changeUser(ctx, "reset factors", id, func(ctx context.Context, u User) error {
		n, err := p.store.RemoveFactors(ctx, u.ID)
		if err != nil {
			return err
		}
		sessions, grants, err := p.refactor(ctx, &u, "factors_reset", ID{})
		if err != nil {
			return err
		}
		if err := p.tellByOperator(ctx, u, "factors_reset", nil); err != nil {
			return err
		}
		return p.record(ctx, Event{Kind: "user.factors_reset", UserID: u.ID, Details: Details{
			"removed": n, "sessions_ended": sessions, "grants_revoked": grants,
		}})
	})
}

// ProveByCode adds to v's session what a code proves, of the user's app or one of their recovery codes,
// and makes a pending one live that owes nothing more. trust lets the browser be trusted where the
// settings allow that. Its errors are Denied with code_wrong, whatever was wrong, code_used for a code
// of the app that was right before, Invalid with code_malformed for what can be neither, Throttled, and
// Stale with session_changed.
func (p *Provider) ProveByCode(ctx context.Context, in *Interaction, v *Visit, code string, trust bool) (SignedIn, error) {
	if err := p.Blocked(ctx); err != nil {
		return SignedIn{}, err
	}
	code, kind := typedFactor(code)
	switch kind {
	case TOTPKind:
		return p.proveByCode(ctx, in, v, guess{action: actionAppFailed, method: MethodTOTP, code: code, judge: p.judgeApp, trust: trust})
	case RecoveryKind:
		return p.proveByCode(ctx, in, v, guess{
			action: actionRecoveryCode, method: MethodRecovery, code: code, judge: p.judgeRecoveryCode, trust: trust,
		})
	}
	return SignedIn{}, invalid("code_malformed", "code", nil)
}

// typedFactor is a code without what people type along, and what it can be one of: digits are of an
// app, and what is as long as a recovery code is one. kind is "" for neither. Digits are those that
// apps show: others look like them and are not mapped, so that a code is one text.
func typedFactor(typed string) (code string, kind AuthenticatorKind) {
	const longest = 64 // bytes, with spaces and hyphens
	if len(typed) > longest {
		return "", ""
	}
	code = typedCode(typed)
	if n := len(code); n >= minDigits && n <= maxDigits && strings.Trim(code, "0123456789") == "" {
		return code, TOTPKind
	}
	if code, ok := normalRecoveryCode(code); ok {
		return code, RecoveryKind
	}
	return "", ""
}

// A guess is a code that somebody shows who is signed in, if only by half.
type guess struct {
	action guard.Action // of which failures count
	method string
	code   string
	// judge finds which authenticator the code is of, and the deed that consumes it. Its error is Denied
	// where it is of none.
	judge func(ctx context.Context, v *Visit, code string) (of ID, use func(context.Context) error, err error)
	trust bool
}

func (p *Provider) proveByCode(ctx context.Context, in *Interaction, v *Visit, g guess) (SignedIn, error) {
	started := p.clock()
	permit, err := p.reserveFactor(ctx, v, g.action)
	if err != nil {
		return SignedIn{}, err
	}
	of, use, err := g.judge(ctx, v, g.code)
	if err != nil {
		return SignedIn{}, p.failFactor(ctx, v, permit, started, g.method, err)
	}
	signedIn, err := p.prove(ctx, in, v, Method{Name: g.method, Authenticator: of}, g.trust, func(ctx context.Context) error {
		u, err := p.store.User(ctx, v.User.ID)
		if err != nil {
			return err
		}
		if u.Epoch != v.User.Epoch {
			return sessionChanged(nil) // and the factor may be gone
		}
		return use(ctx)
	})
	if err != nil {
		return SignedIn{}, p.failFactor(ctx, v, permit, started, g.method, err)
	}
	p.finish(ctx, permit, v, &signedIn.Session)
	return signedIn, nil
}

// reserveFactor takes the places of a guess at a second factor of v's user, which are counted across
// flows and sessions (I-15).
func (p *Provider) reserveFactor(ctx context.Context, v *Visit, action guard.Action) (*guard.Permit, error) {
	id, visitor := v.User.ID.String(), VisitorFrom(ctx)
	r := guard.Request{
		Failure: action, Address: visitor.Address, Account: id, User: id, Client: v.Session.ClientID,
		// What a complete login clears is named by them, too.
		System: p.places.System(visitor.Address), Browser: visitor.UserAgent, Path: visitor.Path,
		Groups: v.User.Groups, Admin: v.User.Admin,
	}
	if v.Session.State == Pending {
		var err error
		if r.Device, err = p.knownDevice(ctx, v.User.ID); err != nil { // whose bucket it fills (I-20)
			return nil, err
		}
	}
	permit, err := p.guard.Reserve(ctx, r)
	if err != nil {
		return nil, p.refusedTo(ctx, v.User.ID, "check a second factor", err)
	}
	return permit, nil
}

// finish gives back the reservation of a factor that was right. It clears more where a login is
// complete by it (I-15).
func (p *Provider) finish(ctx context.Context, permit *guard.Permit, v *Visit, s *Session) {
	if v.Session.State == Pending {
		p.settle(ctx, permit, s)
	} else {
		p.refund(ctx, permit)
	}
}

// failFactor is what becomes of a guess: one that was wrong keeps its places, is recorded, and is
// answered at the next multiple of answerEvery.
func (p *Provider) failFactor(ctx context.Context, v *Visit, permit *guard.Permit, started time.Time, method string, err error) error {
	if KindOf(err) != Denied {
		p.refund(ctx, permit)
		return err
	}
	e := Event{
		Kind: "user.factor_failed", Actor: v.User.ID.String(), UserID: v.User.ID, SessionID: v.Session.ID,
		ClientID: v.Session.ClientID, Details: Details{"method": method, "why": CodeOf(err)},
	}
	if failed := p.recordFailure(ctx, e, Attempt{}, nil); failed != nil {
		return stored("record a failure", failed)
	}
	p.answerAfter(ctx, started, 0)
	return err
}
