package idp

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"postern/idp/guard"
)

// A Catch is what somebody sent to the honeypot.
type Catch struct {
	Username   string // as typed
	Path       string
	Parameters string // masked
	// CrossSite says that another site's page sent the form: its visitor knows nothing of it, is not
	// blocked for it, and spends no limit of theirs.
	CrossSite bool
}

// Spring answers somebody in the honeypot: it takes as long as a wrong password does, and is always
// the Error invalid_credentials, but Throttled and Unavailable. It records the attempt, tells the
// administrators, and blocks the network that came too often. Nothing is compared with anything.
func (p *Provider) Spring(ctx context.Context, c Catch) error {
	started := p.clock()
	visitor := *VisitorFrom(ctx)
	visitor.Path, visitor.Parameters = c.Path, c.Parameters
	ctx = WithVisitor(ctx, &visitor)
	// By address alone: whoever is named here has no part in it.
	r := guard.Request{Attempt: actionLogin, Failure: actionLoginFailed, Address: visitor.Address}
	if c.CrossSite {
		r.Attempt, r.Failure = "", actionCrossSite
	}
	permit, err := p.guard.Reserve(ctx, r)
	if err != nil {
		return p.refused(ctx, "answer in the honeypot", err)
	}
	name, _ := guard.Canonical(c.Username)
	if _, _, err := p.verifyPassword(ctx, permit, shownPassword{key: accountKey(User{}, name)}); err != nil {
		p.refund(ctx, permit)
		p.noteBusy(ctx, ID{}, "answer in the honeypot", err)
		return err
	}
	if err := p.recordCatch(ctx, c); err != nil {
		return stored("record somebody in the honeypot", err)
	}
	p.answerAfter(ctx, started, 0)
	return &Error{Kind: Denied, Code: "invalid_credentials"}
}

// recordCatch records an attempt with all that follows from it in one Tx.
func (p *Provider) recordCatch(ctx context.Context, c Catch) error {
	block, err := p.blockOf(ctx, c)
	if err != nil {
		return err
	}
	mail := p.turnOfBlockMail(ctx, block)
	a := p.attempt(ctx, attemptHoneypot, User{}, c.Username, "", "honeypot")
	err = p.recordFailure(ctx, eventHoneypotSprung(a), a, func(ctx context.Context) error {
		if !p.cfg.Lockout.FailureLog { // the honeypot's own record is no part of that choice
			if err := p.store.AddAttempt(ctx, a, p.cfg.Lockout.FailureLogPerUser); err != nil {
				return err
			}
		}
		if block != nil {
			if err := p.block(ctx, *block); err != nil {
				return err
			}
		}
		return p.mailCatch(ctx, c, a.At, block, mail != nil)
	})
	if err != nil {
		p.giveBack(ctx, mail)
		return err
	}
	if block == nil {
		return nil
	}
	if err := p.refresh(ctx); err != nil {
		p.log.WarnContext(ctx, "reload the blocks", "error", err) // the next poll does
	}
	return nil
}

// blockOf counts an attempt of the visitor's network and returns the block that follows from it, nil
// for none. It counts beside the Tx, which may run more than once. A network that reached the
// number and has no block, since a Tx failed, is given it by its next attempt.
func (p *Provider) blockOf(ctx context.Context, c Catch) (*Block, error) {
	h, address := p.cfg.Honeypot, VisitorFrom(ctx).Address
	if h.BlockAfter == 0 || c.CrossSite || !p.blockable(address) {
		return nil, nil
	}
	network := p.guard.Network(address)
	now := p.Now()
	o, err := p.takeOwn(ctx, guard.Counter{
		Key:  ownCounter(attemptHoneypot, network.String()),
		Rule: guard.Rule{Aging: guard.Sliding, Limit: h.BlockAfter, Period: h.BlockFor},
		Tag:  guard.Tag{Kind: attemptHoneypot, Network: network.String()},
	}, now)
	if err != nil || !o.Locks && !o.Refused {
		return nil, err
	}
	return &Block{Network: network, Why: attemptHoneypot, Until: o.Until, CreatedAt: now}, nil
}

// digestAfter is how long after the attempt that was told at once the others are told together.
const digestAfter = time.Hour

// A digest is what jobHoneypotDigest needs.
type digest struct {
	Since time.Time `json:"since"` // of the attempt that was told
}

const (
	kindBlockMail  = "block_mail"
	blockMailEvery = 24 * time.Hour
)

// turnOfBlockMail takes the turn of the mail that tells of a block, once a day and network; nil for no
// mail.
func (p *Provider) turnOfBlockMail(ctx context.Context, b *Block) *turn {
	if b == nil || !p.cfg.Honeypot.Mail || p.mailer == nil {
		return nil
	}
	t, err := p.turnOf(ctx, kindBlockMail, b.Network.String(), blockMailEvery)
	if err != nil {
		p.log.WarnContext(ctx, "tell administrators of a block", "error", err)
	}
	return t
}

// mailCatch tells the administrators of the first attempt, in the Tx of ctx; of those in the hour
// after it they are told together. The block that follows is told at once, where tellBlock.
func (p *Provider) mailCatch(ctx context.Context, c Catch, at time.Time, block *Block, tellBlock bool) error {
	if !p.cfg.Honeypot.Mail || p.mailer == nil {
		return nil
	}
	first, err := p.enqueue(ctx, jobHoneypotDigest, jobHoneypotDigest, at.Add(digestAfter), digest{Since: at})
	if err != nil || !first && !tellBlock {
		return err
	}
	v := VisitorFrom(ctx)
	m := Mail{Kind: "honeypot", At: at, Args: map[string]string{
		"username": guard.Clean(c.Username, maxAttemptText), "path": guard.Clean(c.Path, maxAttemptText),
		"user_agent": guard.Clean(v.UserAgent, maxAttemptText),
	}}
	if v.Address.IsValid() {
		m.Args["address"] = v.Address.String()
	}
	switch {
	case tellBlock:
		m.Kind, m.Args["network"], m.Args["until"] = "honeypot_block", block.Network.String(), block.Until.UTC().Format(time.RFC3339)
	case block != nil:
		m.Args["blocked"] = "true"
	}
	return p.mailAdmins(ctx, m)
}

// digestHoneypot is the handler of jobHoneypotDigest. At most failure_log_per_user attempts are
// there to be counted.
func (p *Provider) digestHoneypot(ctx context.Context, payload []byte) error {
	var d digest
	if err := json.Unmarshal(payload, &d); err != nil {
		return fmt.Errorf("read a digest: %w", err)
	}
	all, err := p.store.CountAttempts(ctx, AttemptFilter{Kind: attemptHoneypot, Since: d.Since})
	if err != nil {
		return stored("count attempts in the honeypot", err)
	}
	if all <= 1 {
		return nil
	}
	m := Mail{Kind: "honeypot_digest", At: p.Now(), Args: map[string]string{
		"count": strconv.Itoa(all - 1), "since": d.Since.UTC().Format(time.RFC3339),
	}}
	err = p.store.Tx(ctx, func(ctx context.Context) error { return p.mailAdmins(ctx, m) })
	return stored("send a digest", err)
}

// eventHoneypotSprung tells of somebody in the honeypot, as far as the record does.
func eventHoneypotSprung(a Attempt) Event {
	details := Details{"path": a.Path}
	if a.Name != "" {
		details["username"] = a.Name
	}
	if a.UserAgent != "" {
		details["user_agent"] = a.UserAgent
	}
	return Event{Kind: "honeypot.sprung", Details: details}
}
