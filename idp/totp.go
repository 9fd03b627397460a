package idp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"postern/idp/guard"
	"postern/idp/secret"
)

// actionAppFailed counts wrong codes of an app. Its limits are those of actionFactorFailed, counted for
// themselves: else whoever asks for a mailed code in somebody's name, and fails with it, keeps them from
// their app (I-15).
const actionAppFailed = guard.Action("app_failed")

const (
	// timeStep is X of RFC 6238 §4, in seconds; apps know no other.
	timeStep = 30
	// totpSecretSize is what RFC 4226 §4 recommends, in bytes: 160 bits.
	totpSecretSize = 20
	// setupLife is how long an app may be set up.
	setupLife = 15 * time.Minute
	// maxDrift is how many time steps the clock of an app may be off for its user to be told by how much.
	maxDrift = 10
	// minDigits and maxDigits are those of a code.
	minDigits, maxDigits = 6, 8
)

// A totpSecret is what an app shares with us. It stays as it was when the settings change.
type totpSecret struct {
	digits    int
	algorithm otp.Algorithm
	key       []byte
}

var unpadded = base32.StdEncoding.WithPadding(base32.NoPadding)

func (p *Provider) newTOTPSecret() totpSecret {
	s := totpSecret{digits: p.cfg.MFA.TOTP.Digits, algorithm: otp.AlgorithmSHA1, key: make([]byte, totpSecretSize)}
	if p.cfg.MFA.TOTP.Algorithm == "SHA256" {
		s.algorithm = otp.AlgorithmSHA256
	}
	rand.Read(s.key)
	return s
}

// bytes are the number of the algorithm, the digits and the key.
func (s *totpSecret) bytes() []byte {
	return append([]byte{byte(s.algorithm), byte(s.digits)}, s.key...)
}

func readTOTPSecret(b []byte) (totpSecret, error) {
	if len(b) != 2+totpSecretSize || b[0] > byte(otp.AlgorithmSHA256) || b[1] < minDigits || b[1] > maxDigits {
		return totpSecret{}, errCutShort
	}
	return totpSecret{algorithm: otp.Algorithm(b[0]), digits: int(b[1]), key: b[2:]}, nil
}

// code is that of a time step.
func (s *totpSecret) code(step int64) (string, error) {
	opts := hotp.ValidateOpts{Digits: otp.Digits(s.digits), Algorithm: s.algorithm}
	return hotp.GenerateCodeCustom(unpadded.EncodeToString(s.key), uint64(step), opts)
}

// find is the time step, of those from `from` to `to`, whose code is shown; 0 for none. It compares with
// all of them.
func (s *totpSecret) find(code string, from, to int64) (int64, error) {
	var found int64
	for step := from; step <= to; step++ {
		want, err := s.code(step)
		if err != nil {
			return 0, fmt.Errorf("make a code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(code), []byte(want)) == 1 {
			found = step
		}
	}
	return found, nil
}

// placeOfFactor binds what is sealed to a row, its user and its kind, so that it opens as nothing else.
func placeOfFactor(a *Authenticator) []byte {
	return secret.Place("authenticators", "sealed", a.ID[:], append(a.UserID[:], a.Kind...))
}

func (p *Provider) openTOTP(a *Authenticator) (totpSecret, error) {
	plain, err := p.ring.Open(secret.ForFactor, a.Sealed, placeOfFactor(a))
	if err != nil {
		return totpSecret{}, fmt.Errorf("open the secret of an app: %w", err)
	}
	return readTOTPSecret(plain)
}

// ResealFactors seals the secrets of apps with the current root key, and returns how many it was not sealed with.
// Its error names those that do not open; the others are sealed all the same. Recovery codes
// are hashed, so that those of a former key need it for as long as they are good.
func (p *Provider) ResealFactors(ctx context.Context) (resealed int, err error) {
	var after ID
	var broken []error
	for {
		list, err := p.store.SealedFactors(ctx, after, maxList)
		if err != nil {
			return resealed, stored("list apps", err)
		}
		for i := range list {
			switch changed, err := p.resealFactor(ctx, &list[i]); {
			case errors.Is(err, secret.ErrUnopened), errors.Is(err, secret.ErrUnknownKey):
				broken = append(broken, fmt.Errorf("app %s: %w", list[i].ID, err))
			case err != nil:
				return resealed, stored("reseal an app", err)
			case changed:
				resealed++
			}
		}
		if len(list) < maxList {
			break
		}
		after = list[len(list)-1].ID
	}
	if resealed > 0 {
		err = p.store.Tx(ctx, func(ctx context.Context) error {
			return p.record(ctx, Event{Kind: "key.factors_resealed", Details: Details{"count": resealed, "root_key": p.ring.Current()}})
		})
	}
	return resealed, errors.Join(stored("record what was resealed", err), errors.Join(broken...))
}

func (p *Provider) resealFactor(ctx context.Context, a *Authenticator) (bool, error) {
	former := a.Sealed
	if secret.SealedBy(former) == p.ring.Current() {
		return false, nil
	}
	plain, err := p.ring.Open(secret.ForFactor, former, placeOfFactor(a))
	if err != nil {
		return false, err
	}
	a.Sealed = p.ring.Seal(secret.ForFactor, plain, placeOfFactor(a))
	err = p.store.ResealFactor(ctx, *a, former)
	if errors.Is(err, ErrConflict) {
		return false, nil // it is gone, or somebody else did
	}
	return err == nil, err
}

// step is the time step of now (RFC 6238 §4.2).
func (p *Provider) step() int64 { return p.Now().Unix() / timeStep }

// accepted are the first and the last time step whose codes are taken now.
func (p *Provider) accepted() (from, to int64) {
	now, t := p.step(), p.cfg.MFA.TOTP
	return now - int64(t.SkewPast), now + int64(t.SkewFuture)
}

// A TOTPSetup is what an authenticator app must be told.
type TOTPSetup struct {
	URI     string // otpauth://totp/ISSUER:ACCOUNT?…, for the QR code
	Secret  string // base32, in groups of four
	Issuer  string
	Account string
	Digits  int
}

// BeginTOTP makes a secret for an app and keeps it for v's session until its first code is shown. It is
// no factor yet. One that is set up there already stays. Its errors are Denied with reauthenticate, with
// factors_off where the policy allows none, and with email_unverified where the user has not proved
// their address; and Stale with session_changed.
func (p *Provider) BeginTOTP(ctx context.Context, v *Visit) error {
	if err := p.mayRegister(v); err != nil {
		return err
	}
	a := Authenticator{
		ID: NewID(p.Now()), UserID: v.User.ID, Kind: TOTPKind, CreatedAt: p.Now(), Setup: v.Session.ID,
	}
	s := p.newTOTPSecret()
	a.Sealed = p.ring.Seal(secret.ForFactor, s.bytes(), placeOfFactor(&a))
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		if _, err := p.setUp(ctx, v); !errors.Is(err, ErrNotFound) {
			return err
		}
		return p.store.AddFactor(ctx, a)
	})
	if errors.Is(err, ErrConflict) {
		err = sessionChanged(err)
	}
	return stored("set up an app", err)
}

// setUp is the app that is set up in v's session, ErrNotFound where there is none or it took too long.
func (p *Provider) setUp(ctx context.Context, v *Visit) (Authenticator, error) {
	list, err := p.store.Factors(ctx, v.User.ID)
	if err != nil {
		return Authenticator{}, err
	}
	for i := range list {
		a := &list[i]
		if a.Kind == TOTPKind && !a.Setup.IsZero() && a.Setup == v.Session.ID && p.Now().Before(a.CreatedAt.Add(setupLife)) {
			return *a, nil
		}
	}
	return Authenticator{}, ErrNotFound
}

// TOTPSetup is what BeginTOTP made in v's session, or ErrNotFound where there is none of the last
// quarter of an hour.
func (p *Provider) TOTPSetup(ctx context.Context, v *Visit) (TOTPSetup, error) {
	if err := p.mayRegister(v); err != nil {
		return TOTPSetup{}, err
	}
	a, err := p.setUp(ctx, v)
	if err != nil {
		return TOTPSetup{}, stored("find an app that is set up", err)
	}
	s, err := p.openTOTP(&a)
	if err != nil {
		return TOTPSetup{}, err
	}
	issuer := p.cfg.MFA.TOTP.Issuer
	if issuer == "" {
		issuer = p.cfg.Branding.Name
	}
	account := v.User.Username
	if v.User.Email != "" {
		account = v.User.Email
	}
	key := unpadded.EncodeToString(s.key)
	return TOTPSetup{
		URI: s.uri(issuer, account), Secret: inFours(key), Issuer: issuer, Account: account, Digits: s.digits,
	}, nil
}

// uri is the key URI format that apps read. A colon divides the label, so that neither part has one of
// its own there.
func (s *totpSecret) uri(issuer, account string) string {
	escape := func(text string) string {
		return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") // they do not take + for a space
	}
	label := func(text string) string { return escape(strings.ReplaceAll(text, ":", " ")) }
	return "otpauth://totp/" + label(issuer) + ":" + label(account) +
		"?secret=" + unpadded.EncodeToString(s.key) + "&issuer=" + escape(issuer) + "&algorithm=" + s.algorithm.String() +
		"&digits=" + strconv.Itoa(s.digits) + "&period=" + strconv.Itoa(timeStep)
}

// inFours is text in groups of four, as people copy it.
func inFours(text string) string {
	var b strings.Builder
	for i, c := range text {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// ConfirmTOTP turns the app on that was set up in v's session, whose code it shows, in place of the
// former one. That code counts as a proof and works no more. Its errors are those of BeginTOTP, code_wrong,
// clock_off with Args seconds where the code is of another time, Invalid with code_malformed, ErrNotFound,
// Throttled and Stale.
func (p *Provider) ConfirmTOTP(ctx context.Context, in *Interaction, v *Visit, code string) (Enrolled, error) {
	started := p.clock()
	if err := p.Blocked(ctx); err != nil {
		return Enrolled{}, err
	}
	if err := p.mayRegister(v); err != nil {
		return Enrolled{}, err
	}
	code, kind := typedFactor(code)
	if kind != TOTPKind {
		return Enrolled{}, invalid("code_malformed", "code", nil)
	}
	a, err := p.setUp(ctx, v)
	if err != nil {
		return Enrolled{}, stored("find an app that is set up", err)
	}
	permit, err := p.reserveFactor(ctx, v, actionAppFailed)
	if err != nil {
		return Enrolled{}, err
	}
	enrolled, err := p.confirmTOTP(ctx, in, v, a, code)
	if err != nil {
		if CodeOf(err) == "code_wrong" {
			return Enrolled{}, p.failFactor(ctx, v, permit, started, MethodTOTP, err)
		}
		p.refund(ctx, permit)
		return Enrolled{}, err
	}
	p.finish(ctx, permit, v, &enrolled.Session)
	return enrolled, nil
}

func (p *Provider) confirmTOTP(ctx context.Context, in *Interaction, v *Visit, a Authenticator, code string) (Enrolled, error) {
	s, err := p.openTOTP(&a)
	if err != nil {
		return Enrolled{}, err
	}
	from, to := p.accepted()
	if a.Counter, err = s.find(code, from, to); err != nil {
		return Enrolled{}, err
	}
	if a.Counter == 0 {
		return Enrolled{}, p.clockOff(&s, code)
	}
	now := p.Now()
	a.LastUsedAt = &now
	return p.enrol(ctx, in, v, registration{
		method: Method{Name: MethodTOTP, Authenticator: a.ID}, factor: a.Kind.word(),
		add: func(ctx context.Context) error { return p.store.ConfirmFactor(ctx, a) },
	})
}

// clockOff tells whoever sets an app up how far its clock is off, where that is why its code is not
// taken. They have seen the secret, so that it tells them nothing.
func (p *Provider) clockOff(s *totpSecret, code string) error {
	now := p.step()
	step, err := s.find(code, now-maxDrift, now+maxDrift)
	if err != nil {
		return err
	}
	if step == 0 {
		return codeWrong()
	}
	off := (step - now) * timeStep
	return &Error{Kind: Denied, Code: "clock_off", Field: "code", Args: map[string]any{"seconds": max(off, -off)}}
}

// judgeApp finds the time step that code is of, in the app of v's user.
func (p *Provider) judgeApp(ctx context.Context, v *Visit, code string) (ID, func(context.Context) error, error) {
	list, err := p.store.Factors(ctx, v.User.ID)
	if err != nil {
		return ID{}, nil, stored("find an app", err)
	}
	for i := range list {
		if a := list[i]; a.Kind == TOTPKind && a.counts() {
			return p.judgeCode(a, code)
		}
	}
	return ID{}, nil, codeWrong()
}

func (p *Provider) judgeCode(a Authenticator, code string) (ID, func(context.Context) error, error) {
	s, err := p.openTOTP(&a)
	if err != nil {
		return ID{}, nil, err
	}
	from, to := p.accepted()
	step, err := s.find(code, from, to)
	switch {
	case err != nil:
		return ID{}, nil, err
	case step == 0:
		return ID{}, nil, codeWrong()
	case step <= a.Counter:
		return ID{}, nil, codeUsed()
	}
	former, now := a.Counter, p.Now()
	a.Counter, a.LastUsedAt = step, &now
	return a.ID, func(ctx context.Context) error {
		err := p.store.UseFactor(ctx, a, former)
		if errors.Is(err, ErrConflict) {
			return codeUsed() // by another request at the same time
		}
		return err
	}, nil
}

func codeUsed() *Error { return &Error{Kind: Denied, Code: "code_used", Field: "code"} }
