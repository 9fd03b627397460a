package loginui

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

const relayPassword = "s3cret of the relay"

// A mailServer is a real one. What it answers can be changed at any time.
type mailServer struct {
	mechanisms []string
	roots      *x509.CertPool
	address    string

	mu         sync.Mutex
	rcpt, data error // instead of yes
	mails      []received
	signedIn   []string // how clients did
	overTLS    bool     // the last of them
	withUTF8   bool
}

// A received mail is what a client handed over.
type received struct {
	from, to string
	content  []byte
}

// newMailServer starts a server, whose certificate is for that host; "" for one without TLS.
func newMailServer(t *testing.T, host string, implicit bool) *mailServer {
	t.Helper()
	s := &mailServer{mechanisms: []string{sasl.Plain}}
	server := smtp.NewServer(s)
	server.Domain, server.EnableSMTPUTF8 = "mail.example.com", true
	server.ErrorLog = quiet{}
	if host != "" {
		server.TLSConfig, s.roots = certificate(t, host)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	if implicit {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // ends with Close
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // of which the server does not know before Serve began
		<-ended
	})
	return s
}

// quiet drops what the server says about broken connections.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// certificate is one for a host, and the authority that made it.
func certificate(t *testing.T, host string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{host},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

// NewSession implements smtp.Backend.
func (s *mailServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &mailSession{server: s, conn: c}, nil
}

type mailSession struct {
	server *mailServer
	conn   *smtp.Conn
	mail   received
}

func (s *mailSession) AuthMechanisms() []string { return s.server.mechanisms }

func (s *mailSession) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "me@example.com" || password != relayPassword {
			return smtp.ErrAuthFailed
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.signedIn = append(s.server.signedIn, mechanism)
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	case "SCRAM-SHA-256":
		return &scramServer{check: check}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

func (s *mailSession) Reset()        {}
func (s *mailSession) Logout() error { return nil }

func (s *mailSession) Mail(from string, o *smtp.MailOptions) error {
	s.mail.from = from
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	_, s.server.overTLS = s.conn.TLSConnectionState()
	s.server.withUTF8 = o.UTF8
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = to
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return s.server.rcpt
}

func (s *mailSession) Data(r io.Reader) error {
	var err error
	if s.mail.content, err = io.ReadAll(r); err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.server.data != nil {
		return s.server.data
	}
	s.server.mails = append(s.server.mails, s.mail)
	return nil
}

// A loginServer is the server's side of LOGIN, which has no standard.
type loginServer struct {
	check func(user, password string) error
	user  *string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case l.user == nil:
		user := string(response)
		l.user = &user
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(*l.user, string(response))
}

// A scramServer is the server's side of SCRAM-SHA-256.
type scramServer struct {
	check         func(user, password string) error
	bare, offered string
}

func (s *scramServer) Next(response []byte) ([]byte, bool, error) {
	const iterations = 4096
	salt := []byte("salt of the user")
	if response == nil {
		return nil, false, nil
	}
	if s.offered == "" {
		s.bare = strings.TrimPrefix(string(response), "n,,")
		_, nonce, _ := strings.Cut(s.bare, ",r=")
		s.offered = fmt.Sprintf("r=%sserver,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(salt), iterations)
		return []byte(s.offered), false, nil
	}
	bare, encoded, _ := strings.Cut(string(response), ",p=")
	proof, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(proof) != sha256.Size {
		// The last message, empty, acknowledges the server's signature.
		return nil, true, s.check("me@example.com", relayPassword)
	}
	salted, err := pbkdf2.Key(sha256.New, relayPassword, salt, iterations, sha256.Size)
	if err != nil {
		return nil, false, err
	}
	signed := s.bare + "," + s.offered + "," + bare
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	signature := mac(stored[:], signed)
	for i := range proof {
		proof[i] ^= signature[i]
	}
	if !bytes.Equal(proof, client) || !strings.HasPrefix(s.bare, "n=me@example.com,") {
		return nil, true, smtp.ErrAuthFailed
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), signed))), false, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// relayTo is a mailer of a transport, which trusts the server's authority.
func relayTo(t *testing.T, s *mailServer, transport, password string) *mailer {
	t.Helper()
	cfg := mailConfig()
	cfg.Mail = config.Mail{Transport: transport, Password: password, From: "Acme <bounces@id.example.com>"}
	made, err := NewMailer(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := made.(*mailer)
	m.carrier.(*relay).roots = s.roots
	return m
}

// port is where a server listens.
func (s *mailServer) port() string {
	_, port, _ := net.SplitHostPort(s.address)
	return port
}

func TestS0_76_MailGoesByATrustedServerAlone(t *testing.T) {
	for name, c := range map[string]struct {
		host      string // of the certificate
		implicit  bool
		transport string // with PORT
		want      string // of the error; none: sent
		plain     bool
	}{
		"STARTTLS":                         {"localhost", false, "smtp://me%40example.com@localhost:PORT", "", false},
		"TLS from the first byte on":       {"localhost", true, "smtps://me%40example.com@localhost:PORT", "", false},
		"TLS to an address":                {"127.0.0.1", true, "smtps://127.0.0.1:PORT", "", false},
		"without TLS on this machine":      {"", false, "smtp://localhost:PORT", "", true},
		"STARTTLS, certificate of another": {"mail.example.net", false, "smtp://me@localhost:PORT", "certificate", false},
		"TLS, certificate of another":      {"mail.example.net", true, "smtps://localhost:PORT", "certificate", false},
		"a password, but no TLS":           {"", false, "smtp://me@localhost:PORT", "STARTTLS", false},
		"TLS where STARTTLS is spoken":     {"localhost", false, "smtps://localhost:PORT", "tls", false},
		"STARTTLS where TLS is spoken":     {"localhost", true, "smtp://me@localhost:PORT", "took too long", false},
		"wrong password, told by its code": {"localhost", false, "smtp://other@localhost:PORT", "AUTH: the mail server answered 535 5.7.8", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMailServer(t, c.host, c.implicit)
			m := relayTo(t, s, strings.Replace(c.transport, "PORT", s.port(), 1), relayPassword)
			if c.want == "took too long" {
				m.carrier.(*relay).patience = 100 * time.Millisecond
			}
			err := m.Send(t.Context(), sampleMail(t, "verify_code"))
			if c.want == "" {
				if err != nil || len(s.mails) != 1 || s.overTLS == c.plain {
					t.Fatalf("%v, %d mails, TLS: %v", err, len(s.mails), s.overTLS)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, idp.ErrMailRefused) || len(s.mails) != 0 {
				t.Errorf("%v, %d mails, want an error about %s", err, len(s.mails), c.want)
			}
			for _, private := range []string{relayPassword, "alice", "402867", "me@", "other"} {
				if err != nil && strings.Contains(err.Error(), private) {
					t.Errorf("the error has %s: %v", private, err)
				}
			}
		})
	}
}

func TestMailToAnotherMachineIsNeverSentWithoutTLS(t *testing.T) {
	s := newMailServer(t, "", false)
	// The name is another machine's; that it leads here is what an attacker might arrange.
	m := relayTo(t, s, "smtp://mail.example.com:"+s.port(), "")
	r := m.carrier.(*relay)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := r.greet(conn); err == nil || !strings.Contains(err.Error(), "offers no STARTTLS") {
		t.Errorf("%v, want that it offers no STARTTLS", err)
	}
}

func TestMailArrivesAsItWasComposed(t *testing.T) {
	s := newMailServer(t, "localhost", false)
	m := relayTo(t, s, "smtp://localhost:"+s.port(), "")
	if err := m.Send(t.Context(), sampleMail(t, "reset")); err != nil {
		t.Fatal(err)
	}
	got := s.mails[0]
	if got.from != "bounces@id.example.com" || got.to != "alice@example.com" || s.withUTF8 {
		t.Errorf("from %q to %q, SMTPUTF8: %v", got.from, got.to, s.withUTF8)
	}
	d := parseMail(t, got.content)
	if d.subject != "Reset your Acme password" || !strings.Contains(d.plain, "40286753") || !strings.Contains(d.rich, testIssuer+"/reset/link?ticket=") {
		t.Errorf("%q\n%s", d.subject, d.plain)
	}
}

func TestBestMechanismIsChosen(t *testing.T) {
	for _, c := range []struct {
		offered []string
		want    string
	}{
		{[]string{"LOGIN"}, "LOGIN"}, {[]string{"LOGIN", "PLAIN"}, "PLAIN"}, {[]string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}, "SCRAM-SHA-256"},
		{[]string{"CRAM-MD5", "XOAUTH2"}, ""},
	} {
		s := newMailServer(t, "localhost", false)
		s.mechanisms = c.offered
		err := relayTo(t, s, "smtp://me%40example.com@localhost:"+s.port(), relayPassword).Send(t.Context(), sampleMail(t, "welcome"))
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), "offers none of") {
				t.Errorf("%v: %v", c.offered, err)
			}
			continue
		}
		if err != nil || !slices.Equal(s.signedIn, []string{c.want}) || len(s.mails) != 1 {
			t.Errorf("%v: %v, by %v, %d mails", c.offered, err, s.signedIn, len(s.mails))
		}
	}
}

func TestServersAnswerTellsWhetherToTryAgain(t *testing.T) {
	answer := func(code int, words string, enhanced ...int) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode(append(enhanced, 0, 0, 0)[:3]), Message: words + " alice@example.com"}
	}
	for name, c := range map[string]struct {
		rcpt, data error
		final      bool
		want       string
	}{
		"no such mailbox":       {answer(550, "no", 5, 1, 1), nil, true, "RCPT: the mail server answered 550 5.1.1"},
		"greylisted":            {answer(451, "later", 4, 7, 1), nil, false, "RCPT: the mail server answered 451 4.7.1"},
		"full disk":             {nil, answer(452, "later", 4, 3, 1), false, "content: the mail server answered 452 4.3.1"},
		"content is refused":    {nil, answer(554, "no", 5, 7, 1), true, "content: the mail server answered 554 5.7.1"},
		"it asks for a sign-in": {answer(530, "sign in", 5, 7, 0), nil, false, "RCPT: the mail server answered 530 5.7.0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMailServer(t, "localhost", false)
			s.rcpt, s.data = c.rcpt, c.data
			err := relayTo(t, s, "smtp://localhost:"+s.port(), "").Send(t.Context(), sampleMail(t, "welcome"))
			if err == nil || errors.Is(err, idp.ErrMailRefused) != c.final || !strings.HasSuffix(err.Error(), c.want) || strings.Contains(err.Error(), "alice") {
				t.Errorf("%v, want …%s, for good: %v", err, c.want, c.final)
			}
		})
	}
}

func TestServerThatIsGoneOrStrangeIsToTryAgain(t *testing.T) {
	s := newMailServer(t, "localhost", false)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	gone.Close()
	for name, address := range map[string]string{
		"nobody listens": address, "says nothing": speaker(t, ""), "hangs up": speaker(t, "220 hello\r\n!"), "another protocol": speaker(t, "SSH-2.0-OpenSSH_9.6\r\n"),
		"says no": speaker(t, "554 go away alice@example.com\r\n"), "never ends its line": speaker(t, strings.Repeat("2", 1<<16)),
	} {
		m := relayTo(t, s, "smtp://"+address, "")
		m.carrier.(*relay).patience = 200 * time.Millisecond
		began := time.Now()
		err := m.Send(t.Context(), sampleMail(t, "welcome"))
		if err == nil || errors.Is(err, idp.ErrMailRefused) || strings.Contains(err.Error(), "alice") {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	if r, err := newRelay(config.Mail{Transport: "smtp://mail.example.com"}, ""); err != nil || r.patience != relayWithin || r.port != "587" {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := newRelay(config.Mail{Transport: "smtps://mail.example.com"}, ""); err != nil || r.port != "465" {
		t.Errorf("%+v %v", r, err)
	}
}

// speaker is the address of what says something to everybody, and no more: then it is silent, or
// hangs up after "!".
func speaker(t *testing.T, says string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			words, bye := strings.CutSuffix(says, "!")
			_, _ = conn.Write([]byte(words))
			if bye {
				conn.Close()
				continue
			}
			open = append(open, conn)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
		for _, conn := range open {
			conn.Close()
		}
	})
	return listener.Addr().String()
}

func TestShutdownDoesNotWaitForAMailServer(t *testing.T) {
	s := newMailServer(t, "localhost", false)
	m := relayTo(t, s, "smtp://"+speaker(t, ""), "")
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan error)
	go func() { sent <- m.Send(ctx, sampleMail(t, "welcome")) }()
	stop()
	if err := <-sent; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was interrupted", err)
	}
}

// houseWithMailer is a house that mails.
func houseWithMailer(t *testing.T, mailer idp.Mailer, log io.Writer) *house {
	t.Helper()
	h := &house{t: t, clock: time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC), cfg: mailConfig()}
	h.cfg.Password.Argon2 = config.Argon2{MemoryKiB: 64, Time: 1, Parallelism: 1}
	h.store = storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
	ring, err := secret.NewKeyring([]secret.RootKey{secret.NewRootKey(1)})
	if err != nil {
		t.Fatal(err)
	}
	h.Provider, err = idp.New(t.Context(), h.store, h.cfg, ring, idp.Options{
		Now: func() time.Time { return h.clock }, Log: slog.New(slog.NewTextHandler(log, nil)), Mailer: mailer,
		Wait: func(context.Context, time.Duration) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.ui, err = New(h.Provider, h.cfg); err != nil {
		t.Fatal(err)
	}
	h.people()
	h.route()
	return h
}

// A watchedMailer is one that tells when it is done with a mail.
type watchedMailer struct {
	idp.Mailer
	done chan error
}

func (m watchedMailer) Send(ctx context.Context, s idp.Mail) error {
	err := m.Mailer.Send(ctx, s)
	m.done <- err
	return err
}

// runUntilMailed does the house's jobs until one mail was tried, and returns what became of it.
func (h *house) runUntilMailed(m watchedMailer) error {
	h.t.Helper()
	const patience = 30 * time.Second
	ctx, stop := context.WithTimeout(h.t.Context(), patience)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	var tried error
	select {
	case tried = <-m.done:
	case <-ctx.Done():
		h.t.Fatal("no mail was tried")
	}
	for ctx.Err() == nil { // until what became of it is kept
		waiting, failing, err := h.store.CountJobs(h.t.Context(), h.clock)
		if err != nil {
			h.t.Fatal(err)
		}
		if waiting == 0 || failing == 1 {
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		h.t.Error(err)
	}
	return tried
}

func TestS0_76_WithoutMailServerSignInWorksAndTheMailComesLater(t *testing.T) {
	s := newMailServer(t, "localhost", false)
	m := watchedMailer{relayTo(t, s, "smtp://localhost:"+s.port(), ""), make(chan error, 1)}
	var log bytes.Buffer
	h := houseWithMailer(t, m, &log)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	for range 6 {
		b.post(form, fields("username", "alice", "password", "wrong"))
	}
	s.rcpt = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not now, alice@example.com"}
	if err := h.runUntilMailed(m); err == nil || errors.Is(err, idp.ErrMailRefused) {
		t.Fatalf("%v, want an error that is to try again", err)
	}
	h.browser().signIn("bob", bobsPassword)
	h.clock = h.clock.Add(2 * time.Minute)
	s.rcpt = nil
	if err := h.runUntilMailed(m); err != nil {
		t.Fatal(err)
	}
	if len(s.mails) != 1 || s.mails[0].to != "alice@example.com" {
		t.Errorf("%d mails", len(s.mails))
	}
	if !strings.Contains(log.String(), "put off a job") || strings.Contains(log.String(), "alice@") {
		t.Errorf("the log: %s", &log)
	}
	if waiting, _, err := h.store.CountJobs(t.Context(), h.clock); waiting != 0 || err != nil {
		t.Errorf("%d jobs wait, %v", waiting, err)
	}
}

func TestMailThatIsRefusedForGoodIsNotTriedAgain(t *testing.T) {
	s := newMailServer(t, "localhost", false)
	m := watchedMailer{relayTo(t, s, "smtp://localhost:"+s.port(), ""), make(chan error, 1)}
	var log bytes.Buffer
	h := houseWithMailer(t, m, &log)
	b := h.browser()
	form := b.formOf("/login?tx=" + b.asked())
	for range 6 {
		b.post(form, fields("username", "alice", "password", "wrong"))
	}
	s.rcpt = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no alice@example.com here"}
	if err := h.runUntilMailed(m); !errors.Is(err, idp.ErrMailRefused) {
		t.Fatalf("%v, want that it is refused for good", err)
	}
	if waiting, _, err := h.store.CountJobs(t.Context(), h.clock); waiting != 0 || err != nil {
		t.Errorf("%d jobs wait, %v", waiting, err)
	}
	if !strings.Contains(log.String(), "give up a job") || strings.Contains(log.String(), "alice@") {
		t.Errorf("the log: %s", &log)
	}
}
