package loginui

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"postern/config"
)

// relayWithin bounds all that is said to a mail server about one mail. It is less than what a job
// may take.
const relayWithin = 25 * time.Second

// A relay hands mails to a mail server (RFC 5321, RFC 6409).
type relay struct {
	host, port string
	domain     string // that it says hello as
	implicit   bool   // TLS from the first byte on (RFC 8314 §3), in place of STARTTLS
	user       string // "" for a server that asks for nobody
	password   string
	roots      *x509.CertPool // nil for the system's
	patience   time.Duration
}

// newRelay reads smtp://[USER@]HOST[:PORT] and smtps://…; its errors quote nothing of it.
func newRelay(cfg config.Mail, domain string) (*relay, error) {
	u, err := url.Parse(cfg.Transport)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" {
		return nil, errors.New("is neither dir:PATH nor smtp://[USER@]HOST:PORT nor smtps://[USER@]HOST:PORT")
	}
	r := &relay{
		host: u.Hostname(), port: u.Port(), domain: domain, implicit: u.Scheme == "smtps",
		user: u.User.Username(), password: cfg.Password, patience: relayWithin,
	}
	switch {
	case r.port != "":
	case r.implicit:
		r.port = "465"
	default:
		r.port = "587"
	}
	return r, nil
}

func (r *relay) carry(ctx context.Context, _ string, m *gomail.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	conn, err := r.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to the mail server: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // nothing waits longer
	defer stop()
	c, err := r.greet(conn)
	if err == nil {
		err = r.hand(c, m)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("the mail server took too long: %w", ctx.Err())
	}
	return err
}

func (r *relay) dial(ctx context.Context) (net.Conn, error) {
	address := net.JoinHostPort(r.host, r.port)
	if r.implicit {
		return (&tls.Dialer{Config: r.tlsConfig()}).DialContext(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func (r *relay) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: r.host, RootCAs: r.roots, MinVersion: tls.VersionTLS12}
}

// greet makes a connection one that mails may go over: under TLS, and signed in where there is a
// user. Without TLS nothing leaves the machine.
func (r *relay) greet(conn net.Conn) (*smtp.Client, error) {
	c, err := smtp.NewClient(conn, r.host)
	if err != nil {
		return nil, answered("greeting", err)
	}
	if err := c.Hello(r.domain); err != nil {
		return nil, answered("EHLO", err)
	}
	if !r.implicit && !r.stays(conn) {
		if offered, _ := c.Extension("STARTTLS"); !offered {
			return nil, errors.New("the mail server offers no STARTTLS")
		}
		if err := c.StartTLS(r.tlsConfig()); err != nil {
			return nil, answered("STARTTLS", err)
		}
	}
	if r.user == "" {
		return c, nil
	}
	auth, err := r.auth(c)
	if err != nil {
		return nil, err
	}
	if err := c.Auth(auth); err != nil {
		return nil, answered("AUTH", err)
	}
	return c, nil
}

// stays tells whether a connection needs no TLS: it has no password to keep, and both its ends are
// on this machine.
func (r *relay) stays(conn net.Conn) bool {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && a.Addr().Unmap().IsLoopback() && r.user == "" && loopback(r.host)
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// auth is the best mechanism that the server offers, under TLS alone.
func (r *relay) auth(c *smtp.Client) (smtp.Auth, error) {
	if _, err := c.GetTLSConnectionState(); err != nil {
		return nil, fmt.Errorf("AUTH: %w", err)
	}
	_, offered := c.Extension("AUTH")
	switch has := func(name string) bool {
		return slices.Contains(strings.Fields(strings.ToUpper(offered)), name)
	}; {
	case has("SCRAM-SHA-256"):
		return smtp.ScramSHA256Auth(r.user, r.password), nil
	case has("SCRAM-SHA-1"):
		return smtp.ScramSHA1Auth(r.user, r.password), nil
	case has("PLAIN"):
		return smtp.PlainAuth("", r.user, r.password, r.host, false), nil
	case has("LOGIN"):
		return smtp.LoginAuth(r.user, r.password, r.host, false), nil
	}
	return nil, errors.New("the mail server offers none of SCRAM-SHA-256, SCRAM-SHA-1, PLAIN and LOGIN")
}

// hand gives a mail to the server. Once that has taken it, nothing is an error any more.
func (r *relay) hand(c *smtp.Client, m *gomail.Msg) error {
	from, err := m.GetSender(false)
	if err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	to, err := m.GetRecipients()
	if err != nil {
		return fmt.Errorf("recipient: %w", err)
	}
	c.SkipSMTPUTF8(isASCII(from + to[0])) // so that servers on the way need not know it
	if err := c.Mail(from); err != nil {
		return answered("MAIL", err)
	}
	if err := c.Rcpt(to[0]); err != nil {
		return final("RCPT", err)
	}
	w, err := c.Data()
	if err != nil {
		return final("DATA", err)
	}
	if _, err := m.WriteTo(w); err != nil {
		return answered("content", err)
	}
	if err := w.Close(); err != nil {
		return final("content", err)
	}
	_ = c.Quit()
	return nil
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
}

// enhancedCode is RFC 3463 §2.
var enhancedCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// answered is an error of a step, without the words of the server, which may quote an address.
func answered(step string, err error) error {
	if e, ok := errors.AsType[*textproto.Error](err); ok {
		text := fmt.Sprintf("%s: the mail server answered %d", step, e.Code)
		if code := enhancedCode.FindString(e.Msg); code != "" {
			text += " " + code
		}
		return errors.New(text)
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return fmt.Errorf("%s: the mail server does not speak SMTP", step)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// final is answered, and ErrMailRefused where the server will never take this mail for this
// recipient: a permanent answer (RFC 5321 §4.2.1) that is not about who sends.
func final(step string, err error) error {
	told := answered(step, err)
	e, ok := errors.AsType[*textproto.Error](err)
	if !ok || e.Code < 500 {
		return told
	}
	switch e.Code {
	case 530, 534, 535, 538: // RFC 4954 §6, RFC 3207 §4
		return told
	}
	return unsendable(told.Error())
}
