package idp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"postern/idp/guard"
	"postern/idp/secret"
)

// A Verdict says what a shown refresh token is worth (I-3, I-4).
type Verdict int

const (
	// Reuse of a dead generation: the family dies.
	Reuse Verdict = iota
	// Rotate: the head was shown.
	Rotate
	// Repeat: a recent generation by its own sender, so the head again.
	Repeat
	// Skip: the head is skipped, and denied, for the branch of the one that asks.
	Skip
	// Unknown: newer than the head, as a restored database would see it; no revocation.
	Unknown
)

// MaxRecent is how many redemptions rt_recent remembers.
const MaxRecent = 8

// RefreshRules are the settings that JudgeRefresh needs.
type RefreshRules struct {
	Window   time.Duration // in which a redemption may be repeated by its sender; 0 for never
	Recovery time.Duration // after the rotation, in which the parent may still be skipped from
}

// JudgeRefresh says what generation `shown` of g is worth when sender shows it at now. It is pure.
//
// One branch lives: whoever is given a skip makes the head of the other holder void, who trips
// Reuse with it. Time runs by the row, so a clock that is behind the one that wrote it counts as
// inside the window.
func JudgeRefresh(g *Grant, shown int64, sender uint64, r RefreshRules, now time.Time) Verdict {
	switch {
	case shown > g.RefreshGen:
		return Unknown
	case shown == g.RefreshGen && shown > 0:
		return Rotate
	}
	for _, redeemed := range g.RefreshRecent {
		if redeemed.Gen == shown && redeemed.Sender == sender && r.inWindow(redeemed, now) {
			return Repeat
		}
	}
	if shown == g.RefreshParent && shown > 0 && g.RefreshedAt != nil && now.Sub(*g.RefreshedAt) <= r.Recovery {
		return Skip
	}
	return Reuse
}

func (r RefreshRules) inWindow(redeemed Redemption, now time.Time) bool {
	return r.Window > 0 && now.UnixMilli()-redeemed.At <= r.Window.Milliseconds()
}

// A redeeming is a redemption that is about to be written.
type redeeming struct {
	shown   int64
	sender  uint64
	rules   RefreshRules
	by      []byte // random, of the request (I-9)
	now     time.Time
	key     uint16    // number of the key that the new head is made with
	expires time.Time // of the new head
	dead    time.Time // end of whatever is issued now (I-11)
}

// rotated is g after its head was redeemed. g stays as it is.
func (g Grant) rotated(r redeeming) Grant {
	g.RefreshParent = g.RefreshGen
	g.RefreshedAt = &r.now
	return g.succeeded(r)
}

// skipped is g after its parent was redeemed anew, so that the head is void. The time of the
// rotation stays, since skipping ends at a time after it that nobody can put off.
func (g Grant) skipped(r redeeming) Grant { return g.succeeded(r) }

func (g Grant) succeeded(r redeeming) Grant {
	g.RefreshGen++
	g.RefreshRecent = g.RefreshRecent.with(Redemption{Gen: g.RefreshParent, At: r.now.UnixMilli(), Sender: r.sender}, r.rules)
	g.RefreshKey = int64(r.key)
	g.RefreshExpiresAt = &r.expires
	g.RefreshedBy = r.by
	g.DeadAt = latest(g.DeadAt, r.dead)
	return g
}

// with is the list with one more redemption, in place of an older one of the same generation,
// without those whose window is over.
func (l Redeemed) with(n Redemption, r RefreshRules) Redeemed {
	if r.Window <= 0 {
		return nil
	}
	list := make(Redeemed, 0, len(l)+1)
	for _, redeemed := range l {
		if redeemed.Gen != n.Gen && n.At-redeemed.At <= r.Window.Milliseconds() {
			list = append(list, redeemed)
		}
	}
	list = append(list, n)
	return list[max(0, len(list)-MaxRecent):]
}

// Head is the refresh token of g's head, for MintSuccessor: the same bytes from the same row.
func (g *Grant) Head() Token {
	t := Token{Kind: RefreshToken, Key: uint16(g.RefreshKey), Grant: g.ID, Generation: g.RefreshGen}
	if g.RefreshExpiresAt != nil {
		t.Expiry = *g.RefreshExpiresAt
	}
	return t
}

// StartRefresh gives v's grant, whose code is about to be redeemed, its first refresh token:
// generation 1, which v.Grant.Head tells. RedeemCode writes it.
func (p *Provider) StartRefresh(v *GrantVisit) {
	expires := p.refreshExpiry(v, p.Now())
	g := &v.Grant
	g.RefreshGen, g.RefreshParent, g.RefreshRecent, g.RefreshedAt = 1, 0, nil, nil
	g.RefreshKey = int64(p.ring.Current())
	g.RefreshExpiresAt = &expires
	g.RefreshedBy = nil
}

// refreshExpiry is when a refresh token that is made now ends, cut to the second as its bytes are.
// No token outlives the family's cap, nor that of a bound grant its session.
func (p *Provider) refreshExpiry(v *GrantVisit, now time.Time) time.Time {
	t := &p.cfg.Tokens
	limit := v.Grant.CreatedAt.Add(t.OfflineCap)
	if v.Grant.SessionBound {
		limit = v.Grant.CreatedAt.Add(t.RefreshCap)
		if v.SessionEndsAt != nil {
			limit = earliest(limit, *v.SessionEndsAt)
		}
	}
	return cutSeconds(earliest(now.Add(t.RefreshTTL), limit))
}

func (p *Provider) refreshRules() RefreshRules {
	return RefreshRules{Window: p.cfg.Tokens.RefreshWindow, Recovery: p.cfg.Tokens.RefreshRecovery}
}

// Refresh redeems generation `shown` of v's grant for sender, as JudgeRefresh says: one UPDATE, or
// none for Repeat. Where the row moved meanwhile it is read and judged once more. It returns the
// grant as it now stands; Denied with the code invalid_grant where nothing may be issued.
//
// The caller has judged the shown token itself: genuine, not expired, of this client and key.
func (p *Provider) Refresh(ctx context.Context, v *GrantVisit, shown int64, sender uint64) (Grant, Verdict, error) {
	r := redeeming{shown: shown, sender: sender, rules: p.refreshRules(), by: make([]byte, 16)}
	rand.Read(r.by)
	o, err := p.refreshOnce(ctx, v, r)
	if err != nil || !o.moved {
		return o.grant, o.verdict, err
	}
	again, err := p.store.Grant(ctx, v.Grant.ID, false)
	if errors.Is(err, ErrNotFound) {
		return Grant{}, o.verdict, errInvalidGrant
	}
	if err != nil {
		return Grant{}, o.verdict, stored("read a grant again", err)
	}
	if o, err = p.refreshOnce(ctx, &again, r); o.moved {
		// Only a stream of skips from the same parent gets here, twice in a row.
		return Grant{}, o.verdict, &Error{Kind: Unavailable, Code: "unavailable", RetryAfter: time.Second}
	}
	return o.grant, o.verdict, err
}

// An outcome is what became of one look at a row. moved tells that another request was first.
type outcome struct {
	grant   Grant
	verdict Verdict
	moved   bool
}

// refreshOnce judges v and does what follows.
func (p *Provider) refreshOnce(ctx context.Context, v *GrantVisit, r redeeming) (outcome, error) {
	r.now = p.Now()
	if !v.Alive(r.now) {
		return outcome{}, errInvalidGrant
	}
	r.key, r.expires = p.ring.Current(), p.refreshExpiry(v, r.now)
	r.dead = latest(r.expires, r.now.Add(p.cfg.Tokens.AccessTTL))
	g := &v.Grant
	verdict := JudgeRefresh(g, r.shown, r.sender, r.rules, r.now)
	refused := outcome{verdict: verdict}
	switch {
	case verdict == Reuse:
		return refused, cmp.Or(p.revokeReused(ctx, g, r.shown), error(errInvalidGrant))
	case verdict == Unknown:
		return refused, cmp.Or(p.noteUnknown(ctx, g, r.shown), error(errInvalidGrant))
	case verdict != Skip && !p.headGood(g, r.now), verdict != Repeat && !r.now.Before(r.expires):
		return refused, errInvalidGrant
	case verdict == Repeat:
		return outcome{*g, verdict, false}, nil
	case verdict == Rotate:
		next := g.rotated(r)
		done, err := p.store.RotateRefresh(ctx, next, r.shown)
		if err != nil {
			return refused, stored("rotate a refresh token", err)
		}
		return outcome{next, verdict, !done}, nil
	}
	next := g.skipped(r)
	done, err := p.skip(ctx, g, next)
	if err != nil {
		return refused, stored("skip a refresh token", err)
	}
	return outcome{next, verdict, !done}, nil
}

// headGood tells whether g's head may be handed out or redeemed: not expired, and of a key that
// is still held.
func (p *Provider) headGood(g *Grant, now time.Time) bool {
	return g.RefreshExpiresAt != nil && now.Before(*g.RefreshExpiresAt) && p.ring.Holds(uint16(g.RefreshKey))
}

// skip writes a skip and its event in one Tx.
func (p *Provider) skip(ctx context.Context, g *Grant, next Grant) (done bool, err error) {
	err = p.store.Tx(ctx, func(ctx context.Context) error {
		var err error
		done, err = p.store.SkipRefresh(ctx, next, g.RefreshGen, g.RefreshParent, Denial{
			Key: GenerationKey(g.ID, g.RefreshGen), DeadAt: p.Now().Add(p.cfg.Tokens.AccessTTL + clockSkew),
		})
		if err != nil || !done {
			return err
		}
		return p.record(ctx, eventRefreshSkipped(g, g.RefreshParent))
	})
	return done, err
}

// noteUnknown records a token that is newer than its row.
func (p *Provider) noteUnknown(ctx context.Context, g *Grant, shown int64) error {
	p.log.WarnContext(ctx, "a refresh token is newer than its grant: was the database restored?",
		"grant", g.ID, "shown", shown, "head", g.RefreshGen)
	return stored("record an unknown refresh token", p.recordFailure(ctx, eventRefreshUnknown(g, shown), Attempt{}, nil))
}

// Sender is 64 bits of a MAC over who shows a refresh token (I-4): the confidential client, the
// key's thumbprint, or else the visitor's network and user agent.
func (p *Provider) Sender(ctx context.Context, c *Client, confirmation string) uint64 {
	var b []byte
	switch {
	case !c.Public():
		b = append(appendText(b, "client"), c.ID...)
	case confirmation != "":
		b = append(appendText(b, "key"), confirmation...)
	default:
		v := VisitorFrom(ctx)
		b = appendText(appendText(b, "network"), guard.Network(v.Address).String())
		b = append(b, v.UserAgent...)
	}
	// A rotation of the root key makes everybody another sender, which costs a skip at most.
	sum, _ := p.ring.MAC(secret.ForSender, p.ring.Current(), b)
	return binary.BigEndian.Uint64(sum[:])
}

func cutSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }
