package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/idp/guard"
)

// A Mail is what is to be sent: a kind, of which the mailer knows the words, and what they put in.
type Mail struct {
	Kind   string            `json:"kind"` // one that the mailer knows: "lockout"
	To     string            `json:"to"`
	Locale string            `json:"locale,omitempty"` // BCP 47, the instance's where it is empty
	Args   map[string]string `json:"args,omitempty"`
	At     time.Time         `json:"at"` // of what it tells
}

// A Mailer renders mails and sends them.
type Mailer interface {
	// Send returns ErrMailRefused where it is of no use to try again, and another error where it
	// is. No error names the recipient.
	Send(ctx context.Context, m Mail) error
}

// ErrMailRefused says that nobody will ever take a mail: there is no such recipient, or it is no
// mail.
var ErrMailRefused = errors.New("the mail was refused for good")

// CanMail tells whether mails are sent at all (mail.transport). Deeds that somebody can finish only
// with a mail are Denied with mail_off where they are not, whoever is named.
func (p *Provider) CanMail() bool { return p.mailer != nil }

func mailOff() *Error { return &Error{Kind: Denied, Code: "mail_off"} }

// needMail is Denied with mail_off where nothing sends mails.
func (p *Provider) needMail() error {
	if !p.CanMail() {
		return mailOff()
	}
	return nil
}

// What the mail account_exists tells of an address that was used, as its Arg "for".
const (
	existsForSignUp  = "sign_up" // to make an account, which was not made
	existsForAddress = "address" // of another account, whose it is not
)

// kindAccountExists is a kind of which whoever knows an address can cause any number.
const kindAccountExists = "account_exists"

// accountExists are the kind and Args of a mail to whose address somebody used who cannot be told that
// it is theirs.
func (p *Provider) accountExists(what string) (kind string, args map[string]string) {
	return kindAccountExists, map[string]string{"link": p.cfg.Issuer + "/login", "for": what}
}

// actionMail is limited by recipient.
const actionMail = guard.Action("mail")

// jobMail is the kind of jobs whose payload is a Mail.
const jobMail = "mail"

// enqueueMail sends m from `at` on, if the Tx of ctx is committed. It does nothing where nothing
// sends mails. Of a name there is one mail at a time that waits; "" names none.
func (p *Provider) enqueueMail(ctx context.Context, m Mail, name string, at time.Time) error {
	if p.mailer == nil || m.To == "" {
		return nil
	}
	if m.At.IsZero() {
		m.At = p.Now()
	}
	_, err := p.enqueue(ctx, jobMail, name, at, m)
	return err
}

// mailAdmins sends m to every active administrator who has a verified address, if the Tx of ctx is
// committed.
func (p *Provider) mailAdmins(ctx context.Context, m Mail) error {
	if p.mailer == nil {
		return nil
	}
	admins, err := p.store.Admins(ctx)
	if err != nil {
		return fmt.Errorf("list administrators: %w", err)
	}
	for _, u := range admins {
		if u.Status != Active || !u.EmailVerified {
			continue
		}
		m.To, m.Locale = u.Email, u.Profile.Locale
		if err := p.enqueueMail(ctx, m, "", p.Now()); err != nil {
			return err
		}
	}
	return nil
}

// over tells whether what m carries works no more at now: waiting for a mail server took too long.
func (m *Mail) over(now time.Time) bool {
	expires, err := time.Parse(time.RFC3339, m.Args["expires"])
	return err == nil && !now.Before(expires)
}

// sendMail is the handler of jobs of the kind mail. Whoever was sent too many is sent this one
// later.
func (p *Provider) sendMail(ctx context.Context, payload []byte) error {
	var m Mail
	if err := json.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("read a mail: %w", err)
	}
	if m.To == "" {
		return nil // a decoy: whoever asked for it did as much as for somebody
	}
	if m.over(p.Now()) {
		p.metrics.sentMail(m.Kind, "expired")
		return nil
	}
	if p.mailer == nil {
		return fmt.Errorf("send a mail: mail.transport is not set")
	}
	if _, err := p.guard.Spend(ctx, guard.Request{Attempt: actionMail, Name: m.recipient()}); err != nil {
		p.metrics.sentMail(m.Kind, "put_off")
		return gated("limit mails", err)
	}
	if err := p.mailer.Send(ctx, m); err != nil {
		result := "failed"
		if errors.Is(err, ErrMailRefused) {
			result = "refused"
		}
		p.metrics.sentMail(m.Kind, result)
		return fmt.Errorf("send a mail of the kind %s: %w", m.Kind, err)
	}
	p.metrics.sentMail(m.Kind, "sent")
	return nil
}

// strangers are the kinds of which whoever knows an address can cause any number.
var strangers = []string{kindAccountExists, "reset", "reset_unknown", "login_code", "verify_code", "verify_link"}

// recipient is by what the mails to m's recipient are limited. Those that strangers can cause have a
// limit of their own, so that they delay no mail about the account.
func (m *Mail) recipient() string {
	key, _ := guard.Canonical(m.To)
	if slices.Contains(strangers, m.Kind) {
		return m.Kind + " " + key
	}
	return key
}

// oneOf is the name for enqueueMail by which one mail of kindAccountExists waits for a recipient; ""
// for other kinds.
func (p *Provider) oneOf(m Mail) string {
	if m.Kind != kindAccountExists {
		return ""
	}
	return m.Kind + " " + p.ownerOf(m.To).String()
}
