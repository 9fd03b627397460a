package idp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strconv"
	"strings"
	"time"
)

// A Grant is the life of one authorization in one row: its code, its refresh tokens' generation,
// and what its access tokens rest on. It is what revokes them.
type Grant struct {
	ID             ID // a UUIDv7; the family of all its tokens
	ClientID       string
	UserID         ID
	SessionID      ID   // the session that it was given in
	SessionBound   bool // whether it dies with that session: no offline_access
	Scopes         List // granted, in the order that narrowing counts in (I-1); never changes
	Audience       List // likewise
	Facts          Facts
	Confirmation   string // thumbprint that the code and a public client's refresh token are bound to, "" for none
	Epoch          int64  // the user's, as read together with the session (I-2)
	ConsentVersion int64  // of the consent that the session was read with, 0 where there was none, needed or not

	CodeHash      []byte // SHA-256 of the code
	CodeExpiresAt time.Time
	CodeUsedAt    *time.Time
	CodeUsedBy    []byte // random, of the request that redeemed it (I-9)

	// The refresh machine (I-3). A zero RefreshGen means that no refresh token was ever issued.
	RefreshGen       int64      // the head
	RefreshParent    int64      // the generation whose redemption made the head, 0 for none
	RefreshRecent    Redeemed   // those redeemed within the window, at most 8
	RefreshKey       int64      // number of the key that the head was made with
	RefreshExpiresAt *time.Time // of the head
	RefreshedAt      *time.Time // when the parent was first redeemed: a skip leaves it
	RefreshedBy      []byte     // random, of the request that made the head (I-9)

	// DeedNonce is the hash of the nonce of an interaction that carried a deed for a prompt; it is
	// unique, so that such an interaction completes once (I-18). Nil for others.
	DeedNonce  []byte
	CreatedAt  time.Time
	RevokedAt  *time.Time
	RevokedWhy string
	DeadAt     time.Time
}

// Facts are what the authorization fixed and no statement asks for. As a column they are a JSON
// array of strings in this order, to which a new one is appended: every request with a token reads
// it, and an object would take ten times as long.
type Facts struct {
	RedirectURI string
	// RedirectSent tells whether the request named it, so that the code's redemption must too.
	RedirectSent bool
	Challenge    string // PKCE, S256
	Nonce        string
	AuthTime     int64 // seconds since 1970
	ACR          string
	AMR          []string // RFC 8176: none has a space
	Claims       string   // the claims parameter of the canonical form, JSON
	// AuthTimeAsked tells whether the ID token must have auth_time.
	AuthTimeAsked bool
	RequestedAt   int64 // seconds since 1970
}

const factCount = 10

// Column implements Column.
func (f Facts) Column() (string, error) {
	return List{
		f.RedirectURI, strconv.FormatBool(f.RedirectSent), f.Challenge, f.Nonce, strconv.FormatInt(f.AuthTime, 10),
		f.ACR, strings.Join(f.AMR, " "), f.Claims, strconv.FormatBool(f.AuthTimeAsked), strconv.FormatInt(f.RequestedAt, 10),
	}.Column()
}

// Scan reads a column.
func (f *Facts) Scan(src any) error {
	var facts List
	if err := facts.Scan(src); err != nil {
		return err
	}
	// A row of an older program has fewer, one of a newer program more.
	facts = append(facts, make(List, max(0, factCount-len(facts)))...)
	authTime, err1 := parseSeconds(facts[4])
	requestedAt, err2 := parseSeconds(facts[9])
	*f = Facts{
		RedirectURI: facts[0], RedirectSent: facts[1] == "true", Challenge: facts[2], Nonce: facts[3], AuthTime: authTime,
		ACR: facts[5], Claims: facts[7], AuthTimeAsked: facts[8] == "true", RequestedAt: requestedAt,
	}
	if facts[6] != "" {
		f.AMR = strings.Split(facts[6], " ")
	}
	return errors.Join(err1, err2)
}

// parseSeconds reads seconds since 1970, "" for none.
func parseSeconds(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return strconv.ParseInt(s, 10, 64)
}

// A Redemption of a refresh token, as rt_recent remembers it.
type Redemption struct {
	Gen    int64  `json:"g"`
	At     int64  `json:"t"` // milliseconds since 1970
	Sender uint64 `json:"s"` // 64 bits of a MAC over who sent it (I-4)
}

// Redeemed is a list of redemptions, oldest first; as a column a JSON array.
type Redeemed []Redemption

// Column implements Column.
func (r Redeemed) Column() (string, error) {
	if len(r) == 0 {
		return "[]", nil
	}
	return columnOf([]Redemption(r))
}

// Scan reads a column.
func (r *Redeemed) Scan(src any) error { return scanColumn((*[]Redemption)(r), src) }

// A GrantVisit is what one SELECT finds for a token: the grant, and whether everything that it
// rests on still stands. Epoch, status and floor are those of the joined rows.
type GrantVisit struct {
	Grant        Grant
	UserStatus   UserStatus // "" where the user is gone
	UserEpoch    int64
	ConsentFloor int64 // 0 where there is no consent
	Denied       bool  // whether one of the asked deny keys has a row
	// The session of a bound grant, as joined: zero times where it is gone.
	SessionEpoch   int64
	SessionIdleAt  *time.Time
	SessionEndsAt  *time.Time
	SessionEndedAt *time.Time
	User           *User // only where it was asked for
}

// Alive tells whether the grant can be used at now (I-2).
func (v *GrantVisit) Alive(now time.Time) bool {
	g := &v.Grant
	if g.RevokedAt != nil || v.UserStatus != Active || g.Epoch != v.UserEpoch || g.ConsentVersion < v.ConsentFloor {
		return false
	}
	if !g.SessionBound {
		return true
	}
	return v.SessionEndedAt == nil && v.SessionEpoch == v.UserEpoch &&
		v.SessionIdleAt != nil && now.Before(*v.SessionIdleAt) &&
		v.SessionEndsAt != nil && now.Before(*v.SessionEndsAt)
}

// GrantStore keeps grants. A changed row is told by a count: false means that the condition did
// not hold, so that somebody was first.
type GrantStore interface {
	// AddGrant returns ErrConflict where DeedNonce is taken.
	AddGrant(ctx context.Context, g Grant) error
	// Grant finds a grant by its ID, in one statement with all that it rests on; withUser adds the
	// whole user. It returns ErrNotFound where there is no row, or no user where one is asked for.
	Grant(ctx context.Context, id ID, withUser bool) (GrantVisit, error)
	// AccessGrant is Grant for an access token, and tells whether one of denyKeys, at most two, has
	// a row. It fills only what access tokens need: of the grant ID, ClientID, UserID,
	// SessionBound, Scopes, Audience, Facts, Epoch, ConsentVersion and RevokedAt; of the user ID,
	// Status, Epoch and what claims tell: Username, Email, EmailVerified, Profile, UpdatedAt.
	AccessGrant(ctx context.Context, id ID, denyKeys [][]byte, withUser bool) (GrantVisit, error)
	// RedeemCode writes CodeUsedAt, CodeUsedBy, the refresh fields and DeadAt of g, where the code
	// is unused and the grant not revoked. Zero rows with our own CodeUsedBy count as done (I-9).
	RedeemCode(ctx context.Context, g Grant) (bool, error)
	// RotateRefresh writes the refresh fields and DeadAt of g, where rt_gen is still `shown` and
	// the grant not revoked. Zero rows with our own RefreshedBy count as done (I-9).
	RotateRefresh(ctx context.Context, g Grant, shown int64) (bool, error)
	// SkipRefresh writes the refresh fields and DeadAt of g, where rt_gen is still `head`,
	// rt_parent is `shown` and the grant not revoked, and adds the deny row d, in one Tx.
	SkipRefresh(ctx context.Context, g Grant, head, shown int64, d Denial) (bool, error)
	// RevokeGrant revokes one grant and tells whether it was not revoked before.
	RevokeGrant(ctx context.Context, id ID, why string, now time.Time) (bool, error)
	// RevokeGrants revokes the grants of a user that match f and returns how many.
	RevokeGrants(ctx context.Context, f GrantFilter, why string, now time.Time) (int, error)
	// Grants lists a user's live grants, newest first, at most limit: those that are neither revoked
	// nor dead, and rest on the user's present epoch.
	Grants(ctx context.Context, userID ID, now time.Time, limit int) ([]Grant, error)
	// LiftGrants lets the user's grants that rest on the epoch `from`, and are not revoked, rest on
	// `to`.
	LiftGrants(ctx context.Context, userID ID, from, to int64) error
	// Deny makes a deny row for one token, which lives until dead.
	Deny(ctx context.Context, key []byte, dead time.Time) error
	// DeniedToken tells whether key has a deny row.
	DeniedToken(ctx context.Context, key []byte) (bool, error)
}

// A Denial is a deny row: one token, or all of one generation, is worth nothing any more.
type Denial struct {
	Key    []byte // 16 bytes
	DeadAt time.Time
}

// A GrantFilter chooses grants. Empty fields choose all; UserID or ClientID must be set.
type GrantFilter struct {
	UserID    ID
	ClientID  string
	SessionID ID
	// Bound leaves out those with offline_access.
	Bound bool
	// ExceptSession leaves out the grants of this session; zero for none.
	ExceptSession ID
}

// AddGrant writes g as the completion of in: one INSERT, and with a pushed request its mark as
// used in the same Tx (I-18). It is Stale with the code interaction_completed where in carries a
// deed for a prompt and was completed before, Stale with invalid_request_uri where the pushed
// request was used, and Invalid where a list is longer than tokens can narrow.
func (p *Provider) AddGrant(ctx context.Context, g Grant, in *Interaction) error {
	if len(g.Scopes) > MaxScopes {
		return &Error{Kind: Invalid, Code: "invalid_scope", Field: "scope"}
	}
	if len(g.Audience) > MaxAudience {
		return &Error{Kind: Invalid, Code: "invalid_target", Field: "resource"}
	}
	if in.promptMet() {
		sum := sha256.Sum256(in.Nonce[:])
		g.DeedNonce = sum[:]
	}
	g.DeadAt = latest(g.DeadAt, g.CodeExpiresAt)
	err := p.addGrant(ctx, g, in)
	if errors.Is(err, ErrConflict) {
		return &Error{Kind: Stale, Code: "interaction_completed", Cause: err}
	}
	return stored("add a grant", err)
}

func (p *Provider) addGrant(ctx context.Context, g Grant, in *Interaction) error {
	// An internal row stands for a long URL, which may be opened again (I-18).
	if in.Pushed.IsZero() || in.internal {
		return p.store.AddGrant(ctx, g)
	}
	now, by := p.Now(), make([]byte, 16)
	rand.Read(by)
	return p.store.Tx(ctx, func(ctx context.Context) error {
		unused, err := p.store.UsePushed(ctx, in.Pushed, by, now)
		if err != nil {
			return err
		}
		if !unused {
			return &Error{Kind: Stale, Code: "invalid_request_uri"}
		}
		return p.store.AddGrant(ctx, g)
	})
}

// Grant finds the grant of a token, with the user where it is asked for: one SELECT. shown is the
// token's text. It judges nothing; ErrNotFound where there is none. For an access token it fills
// only what GrantStore.AccessGrant says.
func (p *Provider) Grant(ctx context.Context, t Token, shown string, withUser bool) (*GrantVisit, error) {
	var v GrantVisit
	var err error
	if t.Kind == AccessToken {
		v, err = p.store.AccessGrant(ctx, t.Grant, t.DenyKeys(shown), withUser)
	} else { // codes and refresh tokens die with their grant
		v, err = p.store.Grant(ctx, t.Grant, withUser)
	}
	if err != nil {
		return nil, stored("find a grant", err)
	}
	return &v, nil
}

// RedeemCode writes g, whose code was judged good and shown by its owner (I-12): one UPDATE. It
// fills in when and by whom, and how long the row is of use. False means that another request was
// first; the family is revoked then.
func (p *Provider) RedeemCode(ctx context.Context, g Grant) (bool, error) {
	now := p.Now()
	g.CodeUsedAt = &now
	g.CodeUsedBy = make([]byte, 16) // never what the row said: that is another request's (I-9)
	rand.Read(g.CodeUsedBy)
	g.DeadAt = latest(g.DeadAt, now.Add(p.cfg.Tokens.AccessTTL))
	if g.RefreshExpiresAt != nil {
		g.DeadAt = latest(g.DeadAt, *g.RefreshExpiresAt)
	}
	done, err := p.store.RedeemCode(ctx, g)
	if err != nil {
		return false, stored("redeem a code", err)
	}
	if !done {
		return false, p.RevokeGrant(ctx, &g, WhyCodeReplay)
	}
	return true, nil
}

// Why a grant was revoked, as its row and the event tell.
const (
	WhyCodeReplay   = "code replay"
	WhyRefreshReuse = "refresh token reuse"
	WhyRevoked      = "revoked by the client"
	WhyWithdrawn    = "consent withdrawn"
)

// RevokeGrant revokes one grant, for a reason that the event tells. It does nothing to one that is
// revoked already.
func (p *Provider) RevokeGrant(ctx context.Context, g *Grant, why string) error {
	return p.revoke(ctx, g, why, eventGrantRevoked(g, why), nil)
}

// revokeReused revokes the family of a refresh token that was shown after its time (I-3), and tells
// its user.
func (p *Provider) revokeReused(ctx context.Context, g *Grant, shown int64) error {
	e := eventRefreshReused(g, shown)
	if p.mailer == nil {
		return p.revoke(ctx, g, WhyRefreshReuse, e, nil)
	}
	app := p.appName(ctx, g.ClientID)
	return p.revoke(ctx, g, WhyRefreshReuse, e, func(ctx context.Context) error {
		u, err := p.store.User(ctx, g.UserID)
		if errors.Is(err, ErrNotFound) {
			return nil // there is nobody to tell
		}
		if err != nil {
			return err
		}
		return p.tell(ctx, u, "refresh_reuse", map[string]string{"app": app, "link": p.cfg.Issuer + "/account/apps"})
	})
}

// revoke revokes g and records e, with what else belongs into that Tx, nil for nothing.
func (p *Provider) revoke(ctx context.Context, g *Grant, why string, e Event, also func(context.Context) error) error {
	ctx, cancel := staying(ctx)
	defer cancel()
	err := p.store.Tx(ctx, func(ctx context.Context) error {
		revoked, err := p.store.RevokeGrant(ctx, g.ID, why, p.Now())
		if err != nil || !revoked {
			return err
		}
		if also != nil {
			if err := also(ctx); err != nil {
				return err
			}
		}
		return p.record(ctx, e)
	})
	return stored("revoke a grant", err)
}

// DenyToken revokes a single access token by one of its deny keys.
func (p *Provider) DenyToken(ctx context.Context, key []byte, until time.Time) error {
	return stored("deny a token", p.store.Deny(ctx, key, until.Add(clockSkew)))
}

// clockSkew is by how much the clocks of nodes may differ: a deny row outlives its tokens by so
// much, so that a fast node does not sweep what a slow one still needs.
const clockSkew = time.Minute

// DeniedToken tells whether a client_credentials token was revoked: one SELECT.
func (p *Provider) DeniedToken(ctx context.Context, key []byte) (bool, error) {
	denied, err := p.store.DeniedToken(ctx, key)
	return denied, stored("find a denied token", err)
}

// errInvalidGrant is all that the owner of a token is told, whatever is wrong with it (RFC 6749
// §5.2).
var errInvalidGrant = &Error{Kind: Denied, Code: "invalid_grant"}

func eventGrantRevoked(g *Grant, why string) Event {
	return grantEvent("grant.revoked", g, Details{"why": why})
}

func eventRefreshReused(g *Grant, shown int64) Event {
	return grantEvent("grant.refresh_reused", g, Details{
		"why": WhyRefreshReuse, "shown": shown, "head": g.RefreshGen, "parent": g.RefreshParent,
	})
}

func eventRefreshSkipped(g *Grant, shown int64) Event {
	return grantEvent("grant.refresh_skipped", g, Details{"shown": shown, "skipped": g.RefreshGen})
}

func eventRefreshUnknown(g *Grant, shown int64) Event {
	return grantEvent("grant.refresh_unknown", g, Details{"shown": shown, "head": g.RefreshGen})
}

// grantEvent is an event whose actor is the client, as far as anybody is known.
func grantEvent(kind string, g *Grant, d Details) Event {
	d["grant"] = g.ID.String()
	return Event{Kind: kind, Actor: "client:" + g.ClientID, UserID: g.UserID, ClientID: g.ClientID, SessionID: g.SessionID, Details: d}
}
