package idp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/idp/guard"
	"postern/idp/passkey"
	"postern/idp/secret"
)

const (
	// ceremonyLife is how long a browser has to answer: people look for their keys, too.
	ceremonyLife = 5 * time.Minute
	// handleSize is that of user handles, in bytes (Web Authentication Level 3 §14.6.1).
	handleSize = 64
	// maxPasskeys is how many somebody may have: each is named in the options of the others.
	maxPasskeys = 50
)

// actionKeyOptions limits ceremonies that are begun.
const actionKeyOptions = guard.Action("webauthn_options")

// relyingPartyOf is what the settings say of passkeys, nil where the issuer is an address, at which
// browsers know none. Nothing of it comes from a request.
func relyingPartyOf(cfg *config.Config) (*passkey.RelyingParty, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	w := &cfg.MFA.WebAuthn
	s := passkey.Settings{
		ID: w.RPID, Name: w.RPName, Origins: []string{originOf(issuer)}, Life: ceremonyLife,
		VerificationRequired: w.UserVerification == "required",
	}
	if s.ID == "" {
		s.ID = strings.ToLower(issuer.Hostname())
		if _, err := netip.ParseAddr(s.ID); err == nil || s.ID == "" {
			return nil, nil
		}
	}
	if s.Name == "" {
		s.Name = cfg.Branding.Name
	}
	s.Origins = append(s.Origins, w.RelatedOrigins...)
	for _, model := range w.AdminModels {
		if err := passkey.JudgeModel(model); err != nil {
			return nil, fmt.Errorf("mfa.webauthn.admin_models: %q is no AAGUID: %w", model, err)
		}
	}
	rp, err := passkey.New(s)
	if err != nil {
		return nil, fmt.Errorf("mfa.webauthn: %w", err)
	}
	return rp, nil
}

// originOf is the origin of u as browsers write it.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch {
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

// PasskeyRPID is the relying party ID, which browsers' lists of passkeys go by; "" where there are no
// passkeys, since the issuer is an address.
func (p *Provider) PasskeyRPID() string {
	if p.passkeys == nil {
		return ""
	}
	return p.passkeys.ID()
}

// RelatedOrigins are for /.well-known/webauthn (Web Authentication Level 3 §5.11), the issuer's first;
// nil for none beside it.
func (p *Provider) RelatedOrigins() []string {
	if p.passkeys == nil {
		return nil
	}
	if origins := p.passkeys.Origins(); len(origins) > 1 {
		return origins
	}
	return nil
}

// A Ceremony is a registration or an assertion that waits for the browser's answer (Web Authentication
// Level 3 §7).
type Ceremony struct {
	// Options are for navigator.credentials.create or get, as JSON.
	Options json.RawMessage
	// State is sealed, for one browser, session and purpose, and five minutes: it comes back with the
	// answer. base64url.
	State string
}

// What a ceremony is for.
const (
	ceremonyLogIn    = "log_in"
	ceremonyProve    = "prove"
	ceremonyRegister = "register"
)

// A ceremony is what State seals.
type ceremony struct {
	Purpose string          `json:"purpose"`
	State   json.RawMessage `json:"state"` // of package passkey, with its challenge
	Browser []byte          `json:"browser"`
	Session ID              `json:"session,omitzero"`
	User    ID              `json:"user,omitzero"`
	Ends    time.Time       `json:"ends"`
}

// placeOfCeremony keeps what else is sealed with the purpose from being taken for a ceremony.
var placeOfCeremony = secret.Place("ceremonies", "state", nil, nil)

func ceremonyOver(cause error) *Error {
	return &Error{Kind: Stale, Code: "ceremony_over", Cause: cause}
}

func keyRefused(cause error) *Error {
	return &Error{Kind: Denied, Code: "passkey_refused", Cause: cause}
}

// mayBegin spends the limit of ceremonies that are begun.
func (p *Provider) mayBegin(ctx context.Context) error {
	if p.passkeys == nil {
		return &Error{Kind: Missing, Code: "passkeys_off"}
	}
	r := guard.Request{Attempt: actionKeyOptions, Address: VisitorFrom(ctx).Address}
	return p.refused(ctx, "begin a ceremony", p.guard.SpendHere(r))
}

// sealCeremony binds a ceremony to the browser of the visitor of ctx, and to v where that is not nil.
func (p *Provider) sealCeremony(ctx context.Context, purpose string, v *Visit, options json.RawMessage, state []byte) (Ceremony, error) {
	browser := VisitorFrom(ctx).Browser
	c := ceremony{Purpose: purpose, State: state, Browser: browser[:], Ends: p.Now().Add(ceremonyLife)}
	if v != nil {
		c.Session, c.User = v.Session.ID, v.User.ID
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return Ceremony{}, fmt.Errorf("seal a ceremony: %w", err)
	}
	box := p.ring.Seal(secret.ForFactor, plain, placeOfCeremony)
	return Ceremony{Options: options, State: strict64.EncodeToString(box)}, nil
}

// openCeremony reads what sealCeremony made. It is Stale with ceremony_over where that was for
// something else, another browser or another session, or is over.
func (p *Provider) openCeremony(ctx context.Context, purpose string, v *Visit, sealed string) (*ceremony, error) {
	if p.passkeys == nil {
		return nil, &Error{Kind: Missing, Code: "passkeys_off"}
	}
	box, err := strict64.DecodeString(sealed)
	if err != nil {
		return nil, ceremonyOver(err)
	}
	plain, err := p.ring.Open(secret.ForFactor, box, placeOfCeremony)
	if err != nil {
		return nil, ceremonyOver(err)
	}
	c := &ceremony{}
	if err := json.Unmarshal(plain, c); err != nil {
		return nil, ceremonyOver(err)
	}
	browser := VisitorFrom(ctx).Browser
	switch {
	case c.Purpose != purpose:
		return nil, ceremonyOver(fmt.Errorf("it is to %s", c.Purpose))
	case browser == [32]byte{} || subtle.ConstantTimeCompare(browser[:], c.Browser) != 1:
		return nil, ceremonyOver(errors.New("it is of another browser"))
	case v != nil && (c.Session != v.Session.ID || c.User != v.User.ID):
		return nil, ceremonyOver(errors.New("it is of another session"))
	case !p.Now().Before(c.Ends):
		return nil, ceremonyOver(errors.New("it is too late"))
	}
	return c, nil
}

// spend uses c up, in the Tx of ctx: its challenge counts once, whatever is done with it.
func (p *Provider) spend(ctx context.Context, c *ceremony) error {
	sum := sha256.Sum256(c.State)
	first, err := p.store.SpendChallenge(ctx, sum[:], c.Ends)
	if err == nil && !first {
		err = ceremonyOver(errors.New("it was used before"))
	}
	return err
}

// BeginPasskeyLogIn begins a sign-in by passkey alone, whoever it will be. The options are the same for
// everybody but for the challenge. Its errors are Throttled, and Missing with passkeys_off.
func (p *Provider) BeginPasskeyLogIn(ctx context.Context) (Ceremony, error) {
	if err := p.mayBegin(ctx); err != nil {
		return Ceremony{}, err
	}
	options, state, err := p.passkeys.Assert(nil, true, p.Now())
	if err != nil {
		return Ceremony{}, err
	}
	return p.sealCeremony(ctx, ceremonyLogIn, nil, options, state)
}

// A shownKey is the answer of a browser to an assertion, which was verified.
type shownKey struct {
	ceremony *ceremony
	user     User
	former   Authenticator
	asserted passkey.Asserted
}

// method is what k proves.
func (k *shownKey) method() Method {
	return Method{
		Name: MethodPasskey, Authenticator: k.former.ID, Verified: k.asserted.UserVerified, Hardware: !k.asserted.Record.Synced(),
	}
}

// use consumes the ceremony and writes what the key told, in the Tx of ctx.
func (p *Provider) use(ctx context.Context, k *shownKey) error {
	if err := p.spend(ctx, k.ceremony); err != nil {
		return err
	}
	now := p.Now()
	a := k.former
	a.Counter, a.Passkey, a.LastUsedAt = int64(k.asserted.Counter), &k.asserted.Record, &now
	err := p.store.UseFactor(ctx, a, k.former.Counter)
	if errors.Is(err, ErrConflict) {
		return ceremonyOver(err) // it was used, disabled or removed meanwhile
	}
	return err
}

// LogInByPasskey signs in whoever the passkey is of, who must be verified by it. It is one factor and
// another, so it owes no second one. Its errors are Denied with passkey_unknown, Args credential
// (base64url, for signalUnknownCredential), where nobody has it; Denied with passkey_refused; and
// account_disabled, Throttled, Blocked, and Stale with ceremony_over where it is too late or was used.
//
// Nobody can guess a signature: what locks passwords does not count here, and counts nothing.
func (p *Provider) LogInByPasskey(ctx context.Context, in *Interaction, state, response string, remember bool) (SignedIn, error) {
	if err := p.mayShowKey(ctx, in.Request.ClientID); err != nil {
		return SignedIn{}, err
	}
	c, err := p.openCeremony(ctx, ceremonyLogIn, nil, state)
	if err != nil {
		return SignedIn{}, err
	}
	k, err := p.judgeKey(ctx, c, response, func(user User, err error, why string) error {
		return p.failKeyLogIn(ctx, in, user, err, why)
	})
	if err != nil {
		return SignedIn{}, err
	}
	if k.user.Status != Active {
		err := &Error{Kind: Denied, Code: "account_disabled"}
		return SignedIn{}, p.failKeyLogIn(ctx, in, k.user, err, "disabled")
	}
	signedIn, err := p.startSession(ctx, in, newLogin{
		user: k.user, proof: k.method(), remember: remember,
		deed: func(ctx context.Context) error { return p.use(ctx, k) },
	})
	if err != nil {
		return SignedIn{}, stored("sign in by a passkey", err)
	}
	in.SignedIn(&signedIn.Session)
	return signedIn, nil
}

// mayShowKey spends the limit of sign-ins, of the visitor's address alone: each answer is a signature to
// verify.
func (p *Provider) mayShowKey(ctx context.Context, clientID string) error {
	if err := p.Blocked(ctx); err != nil {
		return err
	}
	_, err := p.guard.Spend(ctx, guard.Request{Attempt: actionLogin, Address: VisitorFrom(ctx).Address, Client: clientID})
	return p.refused(ctx, "check a passkey", err)
}

// judgeKey verifies the answer to c. What does not hold goes to fail, with the user where somebody has
// the key and c is theirs or anybody's, and returns what that answers.
func (p *Provider) judgeKey(ctx context.Context, c *ceremony, response string, fail func(user User, err error, why string) error) (*shownKey, error) {
	id, err := p.passkeys.Credential([]byte(response))
	if err != nil {
		return nil, fail(User{}, keyRefused(err), "passkey_malformed")
	}
	u, a, err := p.store.FactorByCredential(ctx, id)
	if errors.Is(err, ErrNotFound) {
		unknown := &Error{Kind: Denied, Code: "passkey_unknown", Args: map[string]any{"credential": strict64.EncodeToString(id)}}
		return nil, fail(User{}, unknown, "passkey_unknown")
	}
	if err != nil {
		return nil, stored("find a passkey", err)
	}
	switch {
	case !c.User.IsZero() && c.User != u.ID:
		return nil, fail(User{}, keyRefused(errors.New("it is somebody else's")), "passkey_foreign")
	case a.DisabledAt != nil || a.Passkey == nil:
		return nil, fail(u, keyRefused(errors.New("it is disabled")), "passkey_disabled")
	}
	asserted, err := p.passkeys.Asserted(c.State, []byte(response), known(&a), p.Now())
	if r, ok := errors.AsType[*passkey.Refused](err); ok {
		why := "passkey_refused"
		if r.Cloned {
			why = "passkey_copied"
			if err := p.noteCopy(ctx, c, &a); err != nil {
				return nil, err
			}
		}
		return nil, fail(u, keyRefused(err), why)
	}
	if err != nil {
		return nil, err
	}
	return &shownKey{ceremony: c, user: u, former: a, asserted: asserted}, nil
}

// known is a passkey's row as package passkey has it.
func known(a *Authenticator) passkey.Known {
	return passkey.Known{ID: a.Credential, Record: *a.Passkey, Counter: uint32(a.Counter)}
}

// failKeyLogIn records that nobody was signed in by a passkey, and returns answer.
func (p *Provider) failKeyLogIn(ctx context.Context, in *Interaction, u User, answer error, why string) error {
	p.log.InfoContext(ctx, "a passkey was refused", "why", why, "error", answer)
	a := p.attempt(ctx, attemptSignIn, u, "", in.Request.ClientID, why)
	if err := p.recordFailure(ctx, eventSignInFailed(a), a, nil); err != nil {
		return stored("record a failure", err)
	}
	return answer
}

// noteCopy tells that the counter of a went back: there are two of it, of which one may be a thief's
// (Web Authentication Level 3 §6.1.1). Unless the settings only refuse it (mfa.webauthn.cloned_key) it is
// disabled, and whoever signed in by it or by anything else has to do so again. It does so though the
// sender left.
func (p *Provider) noteCopy(ctx context.Context, c *ceremony, a *Authenticator) error {
	ctx, cancel := staying(ctx)
	defer cancel()
	return p.changeUser(ctx, "note a copied passkey", a.UserID, func(ctx context.Context, u User) error {
		if err := p.spend(ctx, c); err != nil {
			return err
		}
		list, err := p.store.Factors(ctx, u.ID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(present Authenticator) bool { return present.ID == a.ID })
		if i < 0 || list[i].DisabledAt != nil {
			return nil // another one told first
		}
		e := Event{Kind: "user.passkey_copied", UserID: u.ID, Details: Details{"authenticator": a.ID, "disabled": false}}
		if p.cfg.MFA.WebAuthn.ClonedKey == "disable" {
			now := p.Now()
			copied := list[i]
			copied.DisabledAt = &now
			if err := p.store.UseFactor(ctx, copied, copied.Counter); err != nil {
				return err
			}
			sessions, grants, err := p.refactor(ctx, &u, "passkey_copied", ID{})
			if err != nil {
				return err
			}
			e.Details["disabled"], e.Details["sessions_ended"], e.Details["grants_revoked"] = true, sessions, grants
		}
		if err := p.tellAlarmed(ctx, u, nil, "passkey_copied", map[string]string{"factor": "passkey", "called": a.Name}); err != nil {
			return err
		}
		return p.record(ctx, e)
	})
}

// BeginKeyProof begins a proof by one of the passkeys and security keys of v's user, as second factor
// or before something sensitive. verify asks that the key verifies its user, so that it is a proof by
// itself; where v's session rests on nothing else it is asked in any case. It is ErrNotFound where there
// is none, Throttled, and Missing with passkeys_off.
func (p *Provider) BeginKeyProof(ctx context.Context, v *Visit, verify bool) (Ceremony, error) {
	if err := p.mayBegin(ctx); err != nil {
		return Ceremony{}, err
	}
	keys, err := p.liveKeys(ctx, v.User.ID)
	if err != nil {
		return Ceremony{}, err
	}
	if len(keys) == 0 {
		return Ceremony{}, ErrNotFound
	}
	options, state, err := p.passkeys.Assert(knownOf(keys), verify || !v.Session.Methods.restOnAnother(), p.Now())
	if err != nil {
		return Ceremony{}, err
	}
	return p.sealCeremony(ctx, ceremonyProve, v, options, state)
}

// restOnAnother tells whether list has a first factor that is no passkey.
func (list Methods) restOnAnother() bool {
	return slices.ContainsFunc(list, func(m Method) bool { return m.Name != MethodPasskey && m.first() })
}

// liveKeys are a user's passkeys that were not disabled.
func (p *Provider) liveKeys(ctx context.Context, userID ID) ([]Authenticator, error) {
	list, err := p.store.Factors(ctx, userID)
	if err != nil {
		return nil, stored("list passkeys", err)
	}
	return slices.DeleteFunc(list, func(a Authenticator) bool { return a.Kind != PasskeyKind || !a.counts() || a.Passkey == nil }), nil
}

func knownOf(keys []Authenticator) []passkey.Known {
	list := make([]passkey.Known, 0, len(keys))
	for i := range keys {
		list = append(list, known(&keys[i]))
	}
	return list
}

// ProveByKey adds to v's session what a key proves, as ProveByCode does. Its errors are those of
// LogInByPasskey, and Stale with session_changed.
func (p *Provider) ProveByKey(ctx context.Context, in *Interaction, v *Visit, state, response string, trust bool) (SignedIn, error) {
	if err := p.mayShowKey(ctx, in.Request.ClientID); err != nil {
		return SignedIn{}, err
	}
	c, err := p.openCeremony(ctx, ceremonyProve, v, state)
	if err != nil {
		return SignedIn{}, err
	}
	k, err := p.judgeKey(ctx, c, response, func(_ User, err error, why string) error { return p.failKeyProof(ctx, v, err, why) })
	if err != nil {
		return SignedIn{}, err
	}
	return p.prove(ctx, in, v, k.method(), trust, func(ctx context.Context) error { return p.use(ctx, k) })
}

// failKeyProof records that a key proved nothing, and returns answer.
func (p *Provider) failKeyProof(ctx context.Context, v *Visit, answer error, why string) error {
	p.log.InfoContext(ctx, "a passkey was refused", "why", why, "error", answer)
	e := Event{
		Kind: "user.factor_failed", Actor: v.User.ID.String(), UserID: v.User.ID, SessionID: v.Session.ID,
		Details: Details{"method": MethodPasskey, "why": why},
	}
	if err := p.recordFailure(ctx, e, Attempt{}, nil); err != nil {
		return stored("record a failure", err)
	}
	return answer
}

// BeginPasskey begins the registration of a passkey or security key of v's user. Its errors are those of
// BeginTOTP, Throttled, Denied with passkeys_full, and Missing with passkeys_off.
func (p *Provider) BeginPasskey(ctx context.Context, v *Visit) (Ceremony, error) {
	if err := p.mayRegister(v); err != nil {
		return Ceremony{}, err
	}
	if err := p.mayBegin(ctx); err != nil {
		return Ceremony{}, err
	}
	keys, err := p.liveKeys(ctx, v.User.ID)
	if err != nil {
		return Ceremony{}, err
	}
	if len(keys) >= maxPasskeys {
		return Ceremony{}, &Error{Kind: Denied, Code: "passkeys_full", Args: map[string]any{"max": maxPasskeys}}
	}
	person := passkey.Person{
		Handle: handleOf(keys), Name: v.User.Username, DisplayName: v.User.Username,
		ModelMatters: p.modelMatters(&v.User),
	}
	if v.User.Profile.Name != "" {
		person.DisplayName = v.User.Profile.Name
	}
	options, state, err := p.passkeys.Register(person, knownOf(keys), p.Now())
	if err != nil {
		return Ceremony{}, err
	}
	return p.sealCeremony(ctx, ceremonyRegister, v, options, state)
}

// handleOf is the user handle of keys' user: the same for all of them, so that a device keeps one
// passkey of an account. It tells nothing of the user, and another one begins with none.
func handleOf(keys []Authenticator) []byte {
	if len(keys) > 0 {
		return bytes.Clone(keys[0].Passkey.Handle)
	}
	handle := make([]byte, handleSize)
	rand.Read(handle)
	return handle
}

// modelMatters tells whether u may not register every model (mfa.webauthn.admin_models).
func (p *Provider) modelMatters(u *User) bool {
	return u.Admin && len(p.cfg.MFA.WebAuthn.AdminModels) > 0
}

// AddPasskey registers it, with the name that its user gives it, or its model's where that is empty. Its
// errors are those of BeginTOTP, Denied with passkey_refused, passkey_known where somebody has it, passkey_model
// where the settings do not allow the model, passkeys_full, Invalid with factor_name_too_long, and Stale
// with ceremony_over or session_changed.
func (p *Provider) AddPasskey(ctx context.Context, in *Interaction, v *Visit, state, response, name string) (Enrolled, error) {
	if err := p.mayRegister(v); err != nil {
		return Enrolled{}, err
	}
	name, err := factorName(name)
	if err != nil {
		return Enrolled{}, err
	}
	if err := p.mayShowKey(ctx, in.Request.ClientID); err != nil {
		return Enrolled{}, err
	}
	c, err := p.openCeremony(ctx, ceremonyRegister, v, state)
	if err != nil {
		return Enrolled{}, err
	}
	made, err := p.passkeys.Registered(c.State, []byte(response), p.Now())
	if r, ok := errors.AsType[*passkey.Refused](err); ok {
		return Enrolled{}, p.failKeyProof(ctx, v, keyRefused(r), "passkey_refused")
	}
	if err != nil {
		return Enrolled{}, err
	}
	if p.modelMatters(&v.User) && !slices.ContainsFunc(p.cfg.MFA.WebAuthn.AdminModels, made.Record.Is) {
		return Enrolled{}, &Error{Kind: Denied, Code: "passkey_model", Args: map[string]any{"model": made.Record.Model()}}
	}
	if name == "" {
		name = made.Record.Model()
	}
	now := p.Now()
	a := Authenticator{
		ID: NewID(now), UserID: v.User.ID, Kind: PasskeyKind, CreatedAt: now, LastUsedAt: &now, Name: name,
		Counter: int64(made.Counter), Credential: made.ID, Passkey: &made.Record,
	}
	return p.enrol(ctx, in, v, registration{
		method: Method{Name: MethodPasskey, Authenticator: a.ID, Verified: made.UserVerified, Hardware: !made.Record.Synced()},
		factor: "passkey", name: name,
		add: func(ctx context.Context) error { return p.addPasskey(ctx, c, a) },
	})
}

// addPasskey writes a, which c is about, in the Tx of ctx.
func (p *Provider) addPasskey(ctx context.Context, c *ceremony, a Authenticator) error {
	if err := p.spend(ctx, c); err != nil {
		return err
	}
	keys, err := p.liveKeys(ctx, a.UserID)
	if err != nil {
		return err
	}
	if len(keys) >= maxPasskeys {
		return &Error{Kind: Denied, Code: "passkeys_full", Args: map[string]any{"max": maxPasskeys}}
	}
	err = p.store.AddFactor(ctx, a)
	if errors.Is(err, ErrConflict) {
		return &Error{Kind: Denied, Code: "passkey_known", Cause: err}
	}
	return err
}
