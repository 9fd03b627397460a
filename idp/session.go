package idp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"time"
)

// A SessionToken is what a session's cookie carries: the row's ID, by which it is found, and 256
// random bits, of which the store keeps the SHA-256.
type SessionToken struct {
	ID     ID
	Secret [32]byte
}

// IsZero tells whether there is no token.
func (t SessionToken) IsZero() bool { return t == SessionToken{} }

// A SessionState says what a session is good for.
type SessionState string

const (
	// Live sessions sign their user in.
	Live SessionState = "live"
	// Pending sessions owe a step and are good for nothing but that step (I-19).
	Pending SessionState = "pending"
)

// A Session is an SSO session: one browser in which one user is signed in.
type Session struct {
	ID         ID // a UUIDv7; the sid of tokens
	SecretHash []byte
	UserID     ID
	Epoch      int64 // the user's, as read together with the evidence (I-2)
	State      SessionState
	// Authentication is renewed at every authentication; interactions name it (I-5).
	Authentication ID
	Methods        Methods
	// Trusted says that the browser is trusted, so that the second factor was not asked for
	// (mfa.trusted_browser). It is no method, and counts for nothing that asks for one.
	Trusted    bool
	Address    string
	UserAgent  string
	Remembered bool   // whether the cookie outlives the browser
	ClientID   string // the relying party that somebody signed in for, "" for none
	CreatedAt  time.Time
	LastSeenAt time.Time // at most a minute behind
	IdleAt     time.Time // when it ends for want of use
	EndsAt     time.Time // when it ends in any case
	EndedAt    *time.Time
	EndedWhy   string // sign_out, password_change, disabled, replaced, admin …
	DeadAt     time.Time
}

// Alive tells whether s can be used at now by a user whose epoch and status are as u says.
func (s *Session) Alive(u *User, now time.Time) bool {
	return s.EndedAt == nil && now.Before(s.IdleAt) && now.Before(s.EndsAt) &&
		u.Status == Active && s.Epoch == u.Epoch
}

// A Method is one proof that a session rests on (I-7).
type Method struct {
	Name          string    `json:"m"` // MethodPassword …
	Authenticator ID        `json:"a"`
	At            time.Time `json:"t"` // cut to the second
	// Interaction tells in which interaction it was proved (Interaction.mark), "" for none: what
	// prompt=login and max_age count, whatever the clocks say.
	Interaction string `json:"i,omitempty"`
	Verified    bool   `json:"v,omitempty"` // of a passkey: the authenticator verified its user
	Lent        bool   `json:"l,omitempty"` // of a password: an operator lent it, or others may know it
	Hardware    bool   `json:"h,omitempty"` // of a passkey: its key cannot leave the device
}

// The names of methods. What tokens say of them is amr (RFC 8176 §2).
const (
	MethodPassword = "pwd"
	MethodMail     = "mail" // a code to sign in with, or the proof of an address
	MethodTOTP     = "totp"
	MethodPasskey  = "webauthn"
	MethodRecovery = "recovery"
)

// Methods are a session's proofs in the order of their times; as a column a JSON array.
type Methods []Method

// Column implements Column.
func (m Methods) Column() (string, error) {
	if len(m) == 0 {
		return "[]", nil
	}
	return columnOf([]Method(m))
}

// Scan reads a column.
func (m *Methods) Scan(src any) error { return scanColumn((*[]Method)(m), src) }

// A Visit is what one SELECT finds for a session's cookie: the session, its user, and what the
// user allowed the client that asks, nil where nothing or where no client was named.
type Visit struct {
	Session Session
	User    User
	Consent *Consent
}

// SessionStore keeps sessions.
type SessionStore interface {
	// AddSession adds a row.
	AddSession(ctx context.Context, s Session) error
	// Visit finds a session by its ID, with its user and the user's consent for clientID ("" for
	// none). It judges nothing; it returns ErrNotFound where there is no row.
	Visit(ctx context.Context, id ID, clientID string) (Visit, error)
	// RenewSession writes the secret, authentication, methods, trust, epoch, state, address, user agent,
	// whether it is remembered, and the times of s but CreatedAt, where the row is not ended and
	// its authentication is still `from`. Otherwise it returns ErrConflict.
	RenewSession(ctx context.Context, s Session, from ID) error
	// TouchSession writes LastSeenAt, IdleAt and DeadAt of s, where its authentication is still the
	// same and nobody saw it later.
	TouchSession(ctx context.Context, s Session) error
	// Sessions lists the sessions that have not ended by now, newest first, at most limit: those
	// of a user, or everybody's where userID is zero. Those after the ID `before` are older than
	// it; zero starts at the newest.
	Sessions(ctx context.Context, userID, before ID, now time.Time, limit int) ([]Session, error)
	// EndSession ends one session, unless it ended or ran out before, and tells whether it did.
	EndSession(ctx context.Context, id ID, why string, now time.Time) (bool, error)
	// LiftSessions lets the user's sessions that rest on the epoch `from`, and have not ended, rest
	// on `to`. They are Trusted no more.
	LiftSessions(ctx context.Context, userID ID, from, to int64) error
	// PruneSessions deletes sessions that ended or died before t, at most a batch, and tells how many.
	PruneSessions(ctx context.Context, t time.Time) (int, error)
	// Accesses lists sessions, ended and dead ones too, newest first, those before the ID `before`.
	Accesses(ctx context.Context, f AccessFilter, before ID, limit int) ([]Session, error)
	// EndSessions ends a user's sessions but `except` (zero for none) and those that ended or ran
	// out before, and returns their IDs.
	EndSessions(ctx context.Context, userID, except ID, why string, now time.Time) ([]ID, error)
}

// newSession is a live session of u with the visitor of ctx, without methods and secret.
func (p *Provider) newSession(ctx context.Context, u User, remembered bool) Session {
	now, v := p.Now(), VisitorFrom(ctx)
	s := Session{
		ID: NewID(now), UserID: u.ID, Epoch: u.Epoch, State: Live, Authentication: NewID(now),
		UserAgent: v.UserAgent, Remembered: remembered, CreatedAt: now,
	}
	if v.Address.IsValid() {
		s.Address = v.Address.String()
	}
	s.EndsAt = now.Add(p.cfg.Sessions.BrowserLifetime)
	if remembered {
		s.EndsAt = now.Add(p.cfg.Sessions.Lifetime)
	}
	p.touched(&s, now)
	return s
}

// touched notes that s was used at now. A remembered session does not end for want of use, and none
// does where nobody notes its use (sessions.track_activity).
func (p *Provider) touched(s *Session, now time.Time) {
	s.LastSeenAt, s.IdleAt = now, s.EndsAt
	if idle := now.Add(p.cfg.Sessions.IdleTimeout); p.cfg.Sessions.TrackActivity && !s.Remembered && idle.Before(s.EndsAt) {
		s.IdleAt = idle
	}
	s.DeadAt = s.IdleAt
	if p.cfg.Audit.Logins {
		s.DeadAt = s.IdleAt.Add(p.cfg.Audit.Retention) // the access log
	}
}

// leaveTrack lets s, which renews `former`, tell as much of when and from where it was used as the
// settings allow: nothing after its sign-in without sessions.track_activity.
func (p *Provider) leaveTrack(s, former *Session) {
	if !p.cfg.Sessions.TrackActivity {
		s.LastSeenAt, s.Address, s.UserAgent = former.LastSeenAt, former.Address, former.UserAgent
	}
}

// renewSecret gives s a new secret and returns the token that carries it.
func (s *Session) renewSecret() SessionToken {
	t := SessionToken{ID: s.ID}
	rand.Read(t.Secret[:])
	sum := sha256.Sum256(t.Secret[:])
	s.SecretHash = sum[:]
	return t
}

// with replaces the method of m's name, or adds it, in the order of times; the others keep theirs. Each
// passkey is a method of its own, and one that verified its user is not replaced by a mere touch.
func (list Methods) with(m Method) Methods {
	rest := slices.DeleteFunc(slices.Clone(list), func(o Method) bool {
		return o.Name == m.Name &&
			(m.Name != MethodPasskey || o.Authenticator == m.Authenticator && (m.Verified || !o.Verified))
	})
	return append(rest, m)
}

// Visit finds the session of token with its user, and the user's consent for clientID where that
// is not empty. It returns ErrNotFound where there is none alive, and touches it at most once a
// minute. It is one SELECT.
func (p *Provider) Visit(ctx context.Context, token SessionToken, clientID string) (*Visit, error) {
	v, err := p.visit(ctx, token, clientID)
	if err != nil {
		return nil, err
	}
	if now := p.Now(); p.cfg.Sessions.TrackActivity && now.Sub(v.Session.LastSeenAt) >= touchEvery {
		p.touched(&v.Session, now)
		if err := p.store.TouchSession(ctx, v.Session); err != nil {
			p.log.WarnContext(ctx, "touch a session", "error", err) // the next request will
		}
	}
	return v, nil
}

// touchEvery is how seldom a session's use is written down.
const touchEvery = time.Minute

func (p *Provider) visit(ctx context.Context, token SessionToken, clientID string) (*Visit, error) {
	return p.visitAs(ctx, token, clientID, Live)
}

func (p *Provider) visitAs(ctx context.Context, token SessionToken, clientID string, state SessionState) (*Visit, error) {
	if token.IsZero() {
		return nil, ErrNotFound
	}
	v, err := p.store.Visit(ctx, token.ID, clientID)
	if err != nil {
		return nil, stored("find session", err)
	}
	sum := sha256.Sum256(token.Secret[:])
	if subtle.ConstantTimeCompare(sum[:], v.Session.SecretHash) != 1 ||
		v.Session.State != state || !v.Session.Alive(&v.User, p.Now()) {
		return nil, ErrNotFound
	}
	v.Session.Trusted = v.Session.Trusted && p.MayTrust(&v.User) // as the settings are by now
	return &v, nil
}

// PendingVisit finds the pending session of the visitor of ctx with its user, and the user's consent
// for clientID where that is not empty. It returns ErrNotFound where there is none alive. It is good
// for the step that it owes and nothing else (I-19).
func (p *Provider) PendingVisit(ctx context.Context, clientID string) (*Visit, error) {
	return p.visitAs(ctx, VisitorFrom(ctx).Pending, clientID, Pending)
}

// A promotion is what a deed makes of a session that owed a step.
type promotion struct {
	SignedIn
	device Device
	alarms bool // whether the user is told of it
}

// promote is what becomes of the session of v once its user is u: live where u owes nothing more
// (I-19), with a new secret and a new authentication. What was live stays so. keepPromoted writes it.
// It is Stale where the session is over.
func (p *Provider) promote(ctx context.Context, v *Visit, u User) (promotion, error) {
	if !p.Now().Before(v.Session.EndsAt) {
		return promotion{}, &Error{Kind: Stale, Code: "session_changed"}
	}
	s := p.newSession(ctx, u, v.Session.Remembered)
	s.ID, s.CreatedAt, s.Methods, s.ClientID = v.Session.ID, v.Session.CreatedAt, v.Session.Methods, v.Session.ClientID
	s.Trusted = v.Session.Trusted
	if v.Session.State == Live {
		s.EndsAt = v.Session.EndsAt
		p.touched(&s, s.LastSeenAt)
		p.leaveTrack(&s, &v.Session)
	} else if p.owes(&u, &s) {
		p.pend(&s)
		s.EndsAt = v.Session.EndsAt // a step does not prolong the sign-in
		s.IdleAt, s.DeadAt = s.EndsAt, s.EndsAt
	}
	made := promotion{SignedIn: SignedIn{Token: s.renewSecret(), Session: s, User: u}}
	made.device = p.presentDevice(ctx, &made.SignedIn)
	if !s.complete() || v.Session.State == Live {
		made.Device = nil
		return made, nil
	}
	var err error
	made.alarms, err = p.isNews(ctx, s)
	return made, err
}

// keepPromoted writes m over the session of v in the Tx of ctx. It is ErrConflict where that changed
// since v was read.
func (p *Provider) keepPromoted(ctx context.Context, v *Visit, m *promotion) error {
	if err := p.store.RenewSession(ctx, m.Session, v.Session.Authentication); err != nil {
		return err
	}
	if !m.Session.complete() || v.Session.State == Live {
		return nil
	}
	if present, err := p.presentSession(ctx); err != nil {
		return err
	} else if present != nil && present.ID != m.Session.ID {
		if err := p.endSession(ctx, *present, "replaced", eventSessionEnded(present.ID, present.UserID, "replaced")); err != nil {
			return err
		}
	}
	return p.completed(ctx, m.SignedIn, m.device, m.alarms)
}

// promoted notes in in the authentication of s where what it renews was in's own.
func (in *Interaction) promoted(v *Visit, s *Session) {
	if in.Authenticated == v.Session.Authentication {
		in.SignedIn(s)
	}
}

// pend makes s good for the steps that its user owes, and for no longer than a sign-in may take.
func (p *Provider) pend(s *Session) {
	s.State, s.EndsAt = Pending, s.LastSeenAt.Add(p.cfg.Login.FlowTimeout)
	s.IdleAt, s.DeadAt = s.EndsAt, s.EndsAt
}

// completed makes what a login that owes nothing leaves in the Tx of ctx: the browser is known, and
// the user is told where it was not.
func (p *Provider) completed(ctx context.Context, s SignedIn, device Device, alarms bool) error {
	if err := p.store.PutDevice(ctx, device, maxDevices); err != nil {
		return err
	}
	if alarms {
		if err := p.tellOfSignIn(ctx, s); err != nil {
			return err
		}
	}
	e := eventSignedIn(s.Session, s.Session.ClientID)
	if alarms {
		e.Details["new_device"] = true
	}
	return p.record(ctx, e)
}

// isNews tells whether the user of s never signed in by this browser, but did by another.
func (p *Provider) isNews(ctx context.Context, s Session) (bool, error) {
	known, err := p.knownDevice(ctx, s.UserID)
	if err != nil || known != "" {
		return false, err
	}
	list, err := p.store.Accesses(ctx, AccessFilter{UserID: s.UserID}, ID{}, 2)
	if err != nil {
		return false, stored("find former sign-ins", err)
	}
	return slices.ContainsFunc(list, func(former Session) bool { return former.ID != s.ID && former.State == Live }), nil
}

// tellOfSignIn mails a user that a browser signed in that was not known, with a link to say that it
// was somebody else.
func (p *Provider) tellOfSignIn(ctx context.Context, s SignedIn) error {
	if p.mailer == nil || !s.User.EmailVerified {
		return nil
	}
	args := map[string]string{}
	if s.Session.ClientID != "" {
		if c, err := p.Client(ctx, s.Session.ClientID); err == nil {
			args["app"] = c.DisplayName()
		}
	}
	return p.tellAlarmed(ctx, s.User, &s.Session, "new_sign_in", args)
}

// prove adds m, of which use is the deed that consumes it, to the session of v, and makes that live
// where it was pending and owes nothing more (I-6). trust lets the browser be trusted from then on,
// where it may be and the sign-in is completed by m.
func (p *Provider) prove(ctx context.Context, in *Interaction, v *Visit, m Method, trust bool, use func(context.Context) error) (SignedIn, error) {
	m.At, m.Interaction = p.Now().Truncate(time.Second), in.mark()
	proved := *v
	proved.Session.Methods = v.Session.Methods.with(m)
	made, err := p.promote(ctx, &proved, v.User)
	if err != nil {
		return SignedIn{}, stored("add a proof to a session", err)
	}
	trust = trust && p.MayTrust(&v.User) && v.Session.State == Pending && made.Session.complete() &&
		made.Session.Methods.level() >= TwoFactors
	if trust {
		until := made.device.SeenAt.Add(p.cfg.MFA.TrustedBrowser.Lifetime)
		made.device.TrustedUntil = &until
	}
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		if err := use(ctx); err != nil {
			return err
		}
		if err := p.keepPromoted(ctx, v, &made); err != nil {
			return err
		}
		if trust {
			if err := p.record(ctx, eventBrowserTrusted(made.Session, *made.device.TrustedUntil)); err != nil {
				return err
			}
		}
		return p.record(ctx, eventProved(made.Session, m))
	})
	err = orSessionChanged(err)
	if err != nil {
		return SignedIn{}, stored("add a proof to a session", err)
	}
	in.SignedIn(&made.Session)
	return made.SignedIn, nil
}

func eventProved(s Session, m Method) Event {
	return Event{
		Kind: "user.factor_proved", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID, ClientID: s.ClientID,
		Details: Details{"method": m.Name, "authenticator": m.Authenticator},
	}
}

// SignOut ends the session of v with the grants that are bound to it.
func (p *Provider) SignOut(ctx context.Context, v *Visit) error {
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		return p.endSession(ctx, v.Session, "sign_out", eventSignedOut(v.Session))
	})
	return stored("sign out", err)
}

// endSession ends s in the Tx of ctx, with the grants that are bound to it, and records e. It does
// nothing where s was ended before.
func (p *Provider) endSession(ctx context.Context, s Session, why string, e Event) error {
	now := p.Now()
	ended, err := p.store.EndSession(ctx, s.ID, why, now)
	if err != nil || !ended {
		return err
	}
	f := GrantFilter{UserID: s.UserID, SessionID: s.ID, Bound: true}
	if _, err := p.store.RevokeGrants(ctx, f, why, now); err != nil {
		return err
	}
	return p.record(ctx, e)
}

// Sessions lists sessions that are not ended, newest first: a user's, or everybody's where userID
// is zero.
func (p *Provider) Sessions(ctx context.Context, userID, before ID, limit int) ([]Session, error) {
	list, err := p.store.Sessions(ctx, userID, before, p.Now(), bounded(limit))
	return list, stored("list sessions", err)
}

// EndSession ends a session for an operator; ErrNotFound where there is none that has not ended.
func (p *Provider) EndSession(ctx context.Context, id ID) error {
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		v, err := p.store.Visit(ctx, id, "")
		if err != nil {
			return err
		}
		if v.Session.EndedAt != nil || !p.Now().Before(v.Session.end()) {
			return ErrNotFound
		}
		return p.endSession(ctx, v.Session, "admin", eventSessionEnded(id, v.User.ID, "admin"))
	})
	return stored("end session", err)
}

// EndSessions ends every session of a user for an operator and returns how many.
func (p *Provider) EndSessions(ctx context.Context, userID ID) (int, error) {
	var ended []ID
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		u, err := p.store.User(ctx, userID)
		if err != nil {
			return err
		}
		if ended, err = p.store.EndSessions(ctx, userID, ID{}, "admin", p.Now()); err != nil {
			return err
		}
		for _, id := range ended {
			f := GrantFilter{UserID: userID, SessionID: id, Bound: true}
			if _, err := p.store.RevokeGrants(ctx, f, "admin", p.Now()); err != nil {
				return err
			}
		}
		if len(ended) > 0 {
			if err := p.tellAdminChange(ctx, u, "sessions"); err != nil {
				return err
			}
		}
		return p.record(ctx, eventSessionsEnded(userID, len(ended)))
	})
	return len(ended), stored("end sessions", err)
}

// An AccessFilter says which sessions; empty fields say nothing.
type AccessFilter struct {
	UserID  ID
	Address string
	Since   time.Time
}

// An Access is one line of the access log: who signed in, from where, and how it ended. It is the
// row of a session, which is kept for audit.retention after its end.
type Access struct {
	ID          ID         `json:"-"` // the session's, by which lists go on
	At          time.Time  `json:"at"`
	UserID      ID         `json:"user"`
	Address     string     `json:"address,omitempty"`
	UserAgent   string     `json:"user_agent,omitempty"`
	Methods     []string   `json:"methods"`
	ClientID    string     `json:"client,omitempty"`
	SessionHash string     `json:"session"` // SHA-256 of the session's ID, base64url
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	EndedWhy    string     `json:"ended_why,omitempty"` // sign_out, admin, expired, password_change …
}

// Accesses lists the access log, newest first, those before the ID `before` of a session. It is
// empty where the settings keep none (audit.logins).
func (p *Provider) Accesses(ctx context.Context, f AccessFilter, before ID, limit int) ([]Access, error) {
	if !p.cfg.Audit.Logins {
		return nil, nil
	}
	list, err := p.store.Accesses(ctx, f, before, bounded(limit))
	if err != nil {
		return nil, stored("list the access log", err)
	}
	log := make([]Access, 0, len(list))
	for i := range list {
		log = append(log, list[i].access(p.Now()))
	}
	return log, nil
}

// access is the line of the access log. A session that nobody ended ends by itself.
func (s *Session) access(now time.Time) Access {
	sum := sha256.Sum256(s.ID[:])
	a := Access{
		ID: s.ID, At: s.CreatedAt, UserID: s.UserID, Address: s.Address, UserAgent: s.UserAgent, Methods: s.Methods.amr(),
		ClientID: s.ClientID, SessionHash: base64.RawURLEncoding.EncodeToString(sum[:]),
		EndedAt: s.EndedAt, EndedWhy: s.EndedWhy,
	}
	if end := s.end(); a.EndedAt == nil && !now.Before(end) {
		a.EndedAt, a.EndedWhy = &end, "expired"
	}
	return a
}

// end is when s ends by itself.
func (s *Session) end() time.Time {
	if s.EndsAt.Before(s.IdleAt) {
		return s.EndsAt
	}
	return s.IdleAt
}

// eventSignInPending tells of a sign-in that owes a step.
func eventSignInPending(s Session) Event {
	return Event{
		Kind: kindSignInPending, Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID, ClientID: s.ClientID,
		Details: Details{"methods": s.Methods.amr()},
	}
}
