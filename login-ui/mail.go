package loginui

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/mail"
	"os"
	"path/filepath"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"postern/config"
	"postern/idp"
)

// A mailer renders mails and hands them to a carrier.
type mailer struct {
	letters *letters
	from    *mail.Address
	carrier carrier
}

// A carrier takes mails away.
type carrier interface {
	// carry takes a mail, whose name is the same where it is tried again.
	carry(ctx context.Context, name string, m *gomail.Msg) error
}

// NewMailer returns what sends mails as mail.transport says, nil where that is empty. where finds the
// places that mails tell of. Its errors say what is wrong with the settings.
func NewMailer(cfg *config.Config, where Whereabouts) (idp.Mailer, error) {
	if cfg.Mail.Transport == "" {
		return nil, nil
	}
	m := &mailer{}
	var err error
	if m.letters, err = newLetters(cfg); err != nil {
		return nil, err
	}
	m.letters.where = where
	if m.from, err = mail.ParseAddress(cfg.Mail.From); err != nil {
		return nil, fmt.Errorf("mail.from: %q is no address: %w", cfg.Mail.From, err)
	}
	if path, ok := strings.CutPrefix(cfg.Mail.Transport, "dir:"); ok {
		m.carrier, err = newFolder(path)
	} else {
		m.carrier, err = newRelay(cfg.Mail, m.letters.domain)
	}
	if err != nil {
		return nil, fmt.Errorf("mail.transport: %w", err)
	}
	return m, nil
}

// Send implements idp.Mailer.
func (m *mailer) Send(ctx context.Context, s idp.Mail) error {
	message, id, err := m.compose(s)
	if err != nil {
		return fmt.Errorf("compose the mail: %w", err)
	}
	return m.carrier.carry(ctx, s.At.UTC().Format("20060102T150405Z")+"-"+id, message)
}

func (m *mailer) compose(s idp.Mail) (*gomail.Msg, string, error) {
	to, err := mail.ParseAddress(s.To)
	if err != nil { // which may quote it
		return nil, "", unsendable("the recipient is no address")
	}
	id, err := mailID(s)
	if err != nil {
		return nil, "", err
	}
	l, err := m.letters.write(s)
	if err != nil {
		return nil, "", err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(&mail.Address{Address: to.Address})
	msg.Subject(l.Subject)
	msg.SetMessageIDWithValue(id + "@" + m.letters.domain)
	msg.SetDateWithValue(s.At.UTC())
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5
	msg.SetGenHeader("X-Auto-Response-Suppress", "OOF, AutoReply")
	msg.SetGenHeader(gomail.HeaderContentLang, l.Locale)
	msg.SetBodyString(gomail.TypeTextPlain, l.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, l.HTML)
	return msg, id, nil
}

// mailID is the same for the same mail. It is in logs of mail servers, so that nothing that lets a
// reader act is in it, not even hashed: six digits are soon guessed.
func mailID(s idp.Mail) (string, error) {
	s.Args = maps.Clone(s.Args)
	for _, name := range []string{"code", "link", "not_me"} {
		delete(s.Args, name)
	}
	identity, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(identity)
	return base64.RawURLEncoding.EncodeToString(sum[:16]), nil
}

// unsendable is ErrMailRefused with its reason.
func unsendable(why string) error { return fmt.Errorf("%w: %s", idp.ErrMailRefused, why) }

// A folder takes one .eml file a mail. The same mail twice is one file.
type folder struct{ path string }

func newFolder(path string) (*folder, error) {
	if path == "" {
		return nil, fmt.Errorf("names no folder")
	}
	return &folder{path}, os.MkdirAll(path, 0o700)
}

func (f *folder) carry(_ context.Context, name string, m *gomail.Msg) error {
	if err := f.put(name+".eml", m); err != nil {
		return fmt.Errorf("write the mail: %w", err)
	}
	return nil
}

// put writes a file that is there whole or not at all, for its owner alone.
func (f *folder) put(name string, content io.WriterTo) error {
	file, err := os.CreateTemp(f.path, ".mail-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = content.WriteTo(file)
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(f.path, name))
	}
	if err != nil {
		_ = os.Remove(file.Name()) // what is left has no name that anybody reads
	}
	return err
}
