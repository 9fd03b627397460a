package idp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode"

	"postern/idp/guard"
	"postern/idp/secret"
)

// A Purpose says what a ticket is for. A ticket of one purpose opens nothing of another.
type Purpose string

// The purposes.
const (
	ForSignUp   Purpose = "sign_up"  // what was filled in is in the payload; there is no user yet
	ForAddress  Purpose = "address"  // proves that the address is the user's
	ForReset    Purpose = "reset"    // a new password
	ForLogIn    Purpose = "log_in"   // a session
	ForRevert   Purpose = "revert"   // undoes a change of the primary address
	ForAlarm    Purpose = "alarm"    // "this wasn't me" of a new sign-in
	ForUndelete Purpose = "undelete" // keeps an account that was to be deleted
)

// A Ticket is a mailed secret that works once: a code, which is typed where it was asked for and has
// few tries, or a link, or both. One without a user is a decoy, that takes guesses like any other.
type Ticket struct {
	ID       ID
	Purpose  Purpose
	UserID   ID     // zero for a decoy, and for ForSignUp
	Owner    ID     // UserID, or what stands for it: of a name or an address always the same
	Epoch    int64  // the user's, as read together with what the ticket rests on (I-2)
	Scope    string // of ForReset and ForLogIn, "" for none: see AddTicket, which alone reads it
	Address  string // that it was mailed to, and that it proves
	CodeHash []byte // keyed hash of ID and code; nil for none
	LinkHash []byte // SHA-256 of the link's 256 bits; nil for none
	Browser  []byte // 32 bytes: the browser that asked, where the code is typed (S0-42); nil for none
	Tries    int    // guesses that were made at the code
	MaxTries int
	Payload  []byte // sealed (I-10)
	// CreatedAt, ExpiresAt: it works before the latter.
	CreatedAt  time.Time
	ExpiresAt  time.Time
	RedeemedAt *time.Time
	RedeemedBy []byte // random id of the request, for an uncertain COMMIT (I-9)
	DeadAt     time.Time
}

// TicketStore keeps tickets.
type TicketStore interface {
	// AddTicket adds a row and removes the owner's others of that purpose and scope (for ForAddress of
	// that address): the newest replaces the older, a decoy as any other. One that undoes what a thief
	// may have done (ForRevert, ForAlarm, ForUndelete) replaces nothing, so that a thief who does more
	// voids none.
	AddTicket(ctx context.Context, t Ticket) error
	// Ticket returns a ticket by its ID, whatever its state, or ErrNotFound.
	Ticket(ctx context.Context, id ID) (Ticket, error)
	// TryTicket counts a guess before it is compared and returns the ticket as it is then, in one
	// statement, also where it expired. It returns ErrNotFound where no try is left, and where it was
	// redeemed or its user's epoch is another. Of ForReset and ForLogIn it returns those too, as it does
	// decoys, which nobody ever redeems: else whoever asked for them would learn what their owner did.
	TryTicket(ctx context.Context, id ID) (Ticket, error)
	// RedeemTicket marks it, once: false where somebody was first, it expired or was ended, but true
	// where `by` was the first. It asks nothing of the user's epoch.
	RedeemTicket(ctx context.Context, id ID, by []byte, now time.Time) (bool, error)
	// EndTickets ends a user's open tickets of the purposes, all of them where there are none: they have
	// expired, and no try left but of ForReset and ForLogIn, which take guesses as decoys do.
	EndTickets(ctx context.Context, userID ID, now time.Time, purposes ...Purpose) error
	// EndLaterTickets ends the open tickets ForRevert and ForAlarm of t's owner that are younger than t.
	EndLaterTickets(ctx context.Context, t Ticket, now time.Time) error
}

// The actions of codes.
const (
	actionVerifyCode   = guard.Action("verify_code")
	actionFactorFailed = guard.Action("mfa_failed")
)

// The codes that are mailed are of digits, which every keyboard has.
const (
	codeDigits  = 6
	resetDigits = 8 // as much as a password is worth
)

// A mailing is what a ticket is made of.
type mailing struct {
	purpose Purpose
	user    User   // zero for a decoy, and for ForSignUp
	address string // that the secret goes to, or would
	life    time.Duration
	tries   int // guesses at the code; 0 for a ticket with a link alone
	payload []byte
	scope   string // as of a Ticket: the key of the name that was typed, so that two names of a user are as two of nobody
	decoy   bool   // no code is right; so is whatever has no user but a sign-up
}

// newTicket makes a ticket of the visitor's browser, with its code, "" for none, and the token of its
// link. It keeps nothing: its caller does, by AddTicket, and mails what it has use for.
func (p *Provider) newTicket(ctx context.Context, m mailing) (t Ticket, code, link string) {
	now := p.Now()
	t = Ticket{
		ID: NewID(now), Purpose: m.purpose, UserID: m.user.ID, Epoch: m.user.Epoch, Scope: m.scope, Address: m.address,
		MaxTries: m.tries, CreatedAt: now, ExpiresAt: now.Add(m.life), DeadAt: now.Add(m.life),
	}
	if m.tries > 0 && m.life < p.cfg.Login.FlowTimeout {
		t.DeadAt = now.Add(p.cfg.Login.FlowTimeout) // as long as somebody may show its code
	}
	if t.Owner = t.UserID; t.Owner.IsZero() {
		t.Owner = p.ownerOf(t.Address)
	}
	if browser := VisitorFrom(ctx).Browser; browser != [32]byte{} {
		t.Browser = browser[:]
	}
	if m.payload != nil {
		t.Payload = p.ring.Seal(secret.ForTicket, m.payload, placeOfTicket(&t))
	}
	if m.tries > 0 {
		if code = newCode(m.purpose); m.decoy || m.user.ID.IsZero() && m.purpose != ForSignUp {
			code = rand.Text()
		}
		t.CodeHash = p.hashCode(p.ring.Current(), t.ID, code)
	}
	var key [32]byte
	rand.Read(key[:])
	hash := sha256.Sum256(key[:])
	t.LinkHash = hash[:]
	return t, code, strict64.EncodeToString(append(t.ID[:], key[:]...))
}

func placeOfTicket(t *Ticket) []byte {
	return secret.Place("tickets", "payload", t.ID[:], []byte(t.Purpose))
}

// payload opens what was sealed in t.
func (p *Provider) payload(t *Ticket) ([]byte, error) {
	plain, err := p.ring.Open(secret.ForTicket, t.Payload, placeOfTicket(t))
	if err != nil {
		return nil, fmt.Errorf("open a ticket: %w", err)
	}
	return plain, nil
}

func newCode(purpose Purpose) string {
	digits, below := codeDigits, int64(1_000_000)
	if purpose == ForReset {
		digits, below = resetDigits, 100_000_000
	}
	n, err := rand.Int(rand.Reader, big.NewInt(below))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return fmt.Sprintf("%0*d", digits, n)
}

// hashCode is the number of a root key and a MAC by it: whoever reads the database cannot try all
// codes.
func (p *Provider) hashCode(root uint16, id ID, code string) []byte {
	sum, known := p.ring.MAC(secret.ForTicket, root, append(id[:], code...))
	if !known {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, root), sum[:]...)
}

// typedCode is a code as it was mailed: people copy spaces and hyphens along.
func typedCode(typed string) string {
	const longest = 64
	return strings.Map(func(c rune) rune {
		if c == '-' || unicode.IsSpace(c) {
			return -1
		}
		return c
	}, typed[:min(len(typed), longest)])
}

// The errors of codes and links.
func codeWrong() *Error { return &Error{Kind: Denied, Code: "code_wrong", Field: "code"} }
func codeOver() *Error  { return &Error{Kind: Denied, Code: "code_over", Field: "code"} }
func linkOver() *Error  { return &Error{Kind: Denied, Code: "link_over"} }

// checkCode counts a guess at the code of a ticket and tells whether it is right, which one that is
// past its time never is. The ticket it returns is for redeem. It answers at the next multiple of
// answerEvery, right or wrong, and alike for decoys. Its errors are Denied with code_wrong or
// code_over, and Throttled.
func (p *Provider) checkCode(ctx context.Context, id ID, code string, purpose Purpose) (Ticket, error) {
	started := p.clock()
	if err := p.Blocked(ctx); err != nil {
		return Ticket{}, err
	}
	t, err := p.ticketToTry(ctx, id, purpose)
	if err != nil {
		p.answerAfter(ctx, started, 0)
		return Ticket{}, err
	}
	permits, err := p.reserveCode(ctx, &t)
	if err != nil {
		return Ticket{}, err
	}
	t, err = p.store.TryTicket(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		err = codeOver()
	case err != nil:
		err = stored("count a guess", err)
	case !p.isCode(ctx, &t, typedCode(code)):
		if err = codeWrong(); t.Tries >= t.MaxTries {
			err = codeOver()
		}
	default:
		t.RedeemedBy = newRequestID()
		err = p.mustStand(ctx, &t)
	}
	if err == nil || KindOf(err) != Denied {
		for _, permit := range permits {
			p.refund(ctx, permit)
		}
	}
	p.answerAfter(ctx, started, 0)
	return t, err
}

// newRequestID is by what a redemption knows its own after an uncertain COMMIT (I-9).
func newRequestID() []byte {
	id := RandomID()
	return id[:]
}

func (p *Provider) ticketToTry(ctx context.Context, id ID, purpose Purpose) (Ticket, error) {
	if id.IsZero() {
		return Ticket{}, codeOver()
	}
	t, err := p.store.Ticket(ctx, id)
	if errors.Is(err, ErrNotFound) || err == nil && t.Purpose != purpose {
		return Ticket{}, codeOver()
	}
	return t, stored("find a ticket", err)
}

// isCode tells whether the visitor of ctx asked for the code of t and shows it in time. The code of a
// decoy was never told.
func (p *Provider) isCode(ctx context.Context, t *Ticket, code string) bool {
	inTime := p.Now().Before(t.ExpiresAt)
	if len(t.CodeHash) < 2 {
		return false
	}
	shown := p.hashCode(binary.BigEndian.Uint16(t.CodeHash), t.ID, code)
	right := subtle.ConstantTimeCompare(shown, t.CodeHash)
	return isBrowserOf(ctx, t) && inTime && right == 1
}

// isBrowserOf tells whether the visitor of ctx is the browser that asked for t.
func isBrowserOf(ctx context.Context, t *Ticket) bool {
	browser := VisitorFrom(ctx).Browser
	return subtle.ConstantTimeCompare(browser[:], t.Browser) == 1
}

// reserveCode takes the places of a guess at t: those of the network, and those of wrong factors of
// the owner, across all their tickets (I-15). The owner of a decoy has places, too.
func (p *Provider) reserveCode(ctx context.Context, t *Ticket) ([]*guard.Permit, error) {
	r := guard.Request{Failure: actionVerifyCode, Address: VisitorFrom(ctx).Address}
	r.Account = t.Owner.String()
	permit, err := p.guard.Reserve(ctx, r)
	if err != nil {
		return nil, p.refused(ctx, "check a code", err)
	}
	r.Failure, r.User = actionFactorFailed, r.Account
	factor, err := p.guard.Reserve(ctx, r)
	if err != nil {
		p.refund(ctx, permit)
		return nil, p.refused(ctx, "check a code", err)
	}
	return []*guard.Permit{permit, factor}, nil
}

// ownerOf is the owner of a decoy or a sign-up: a user who does not exist, the same one for an address
// or a name, whatever the number of tickets.
func (p *Provider) ownerOf(name string) ID {
	key, _ := p.keyOf(name)
	sum, _ := p.ring.MAC(secret.ForDummy, p.ring.Current(), []byte("owner "+key))
	return ID(sum[:16])
}

// findLink finds the ticket of a link's token, which may have been used but is not past its time. Its
// error is Denied with link_over where there is none of that purpose.
func (p *Provider) findLink(ctx context.Context, purpose Purpose, token string) (Ticket, error) {
	if len(token) != linkTokenSize {
		return Ticket{}, linkOver()
	}
	b, err := strict64.DecodeString(token)
	if err != nil {
		return Ticket{}, linkOver()
	}
	t, err := p.store.Ticket(ctx, ID(b[:16]))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Ticket{}, stored("find a ticket", err)
	}
	hash := sha256.Sum256(b[16:])
	if subtle.ConstantTimeCompare(hash[:], t.LinkHash) != 1 || t.Purpose != purpose || !p.Now().Before(t.ExpiresAt) {
		return Ticket{}, linkOver()
	}
	return t, nil
}

// openLink is findLink for a ticket that can be redeemed. It changes nothing.
func (p *Provider) openLink(ctx context.Context, purpose Purpose, token string) (Ticket, error) {
	t, err := p.findLink(ctx, purpose, token)
	if err != nil {
		return Ticket{}, err
	}
	if err := p.mustStand(ctx, &t); err != nil {
		return Ticket{}, ofLink(err)
	}
	t.RedeemedBy = newRequestID()
	return t, nil
}

// mustStand is Denied with code_over where t was redeemed, or rests on another epoch of its user.
// Whoever shows its secret may know.
func (p *Provider) mustStand(ctx context.Context, t *Ticket) error {
	if t.RedeemedAt != nil {
		return codeOver()
	}
	if t.UserID.IsZero() || !t.Purpose.restsOnEpoch() {
		return nil
	}
	u, err := p.store.User(ctx, t.UserID)
	if errors.Is(err, ErrNotFound) || err == nil && u.Epoch != t.Epoch {
		return codeOver()
	}
	return stored("find a ticket", err)
}

// linkTokenSize is the length of a link's token: 48 bytes in base64url.
const linkTokenSize = 64

// redeem marks a ticket that checkCode or openLink returned, in the Tx of ctx, and returns its user,
// zero where it has none. The evidence is as old as the ticket: where the user's epoch is another
// by now it is over (I-2), but for what undoes something. Its error is Denied with code_over.
func (p *Provider) redeem(ctx context.Context, t Ticket) (User, error) {
	first, err := p.store.RedeemTicket(ctx, t.ID, t.RedeemedBy, p.Now())
	if err != nil {
		return User{}, err
	}
	if !first {
		return User{}, codeOver()
	}
	if t.UserID.IsZero() {
		return User{}, nil
	}
	u, err := p.store.User(ctx, t.UserID)
	if errors.Is(err, ErrNotFound) || err == nil && u.Epoch != t.Epoch && t.Purpose.restsOnEpoch() {
		return User{}, codeOver()
	}
	return u, err
}

// restsOnEpoch tells whether a ticket is void once its user's epoch rises. Those that undo something
// are not: a thief who changes the password must not void them.
func (p Purpose) restsOnEpoch() bool { return p != ForRevert && p != ForAlarm && p != ForUndelete }

// mailNobody does in the Tx of ctx what enqueueMail does, for whoever asked in the name of nobody:
// the mail has no recipient.
func (p *Provider) mailNobody(ctx context.Context, m Mail) error {
	if p.mailer == nil {
		return nil
	}
	m.To = ""
	_, err := p.enqueue(ctx, jobMail, "", p.Now(), m)
	return err
}

// provedTicket is the ticket of in whose code this browser showed before (ProveReset), for redeem.
// Its error is Denied with code_over.
func (p *Provider) provedTicket(ctx context.Context, in *Interaction, purpose Purpose) (Ticket, error) {
	if !in.Proved {
		return Ticket{}, codeOver()
	}
	t, err := p.ticketToTry(ctx, in.Ticket, purpose)
	if err != nil {
		return Ticket{}, err
	}
	if t.RedeemedAt != nil || !p.Now().Before(t.ExpiresAt) {
		return Ticket{}, codeOver()
	}
	t.RedeemedBy = newRequestID()
	return t, nil
}

// ofLink is redeem's error where the ticket was shown by its link.
func ofLink(err error) error {
	if CodeOf(err) == "code_over" {
		return linkOver()
	}
	return err
}
