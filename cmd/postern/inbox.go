package main

import (
	"cmp"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What the inbox reads at most.
const (
	maxMails = 50      // newest first
	maxMail  = 1 << 20 // bytes of one
)

// A mailView is one mail on the inbox page.
type mailView struct {
	From, To, Subject, Text string
	Links                   []string // of the text, to open
	Date                    time.Time
}

// mailLink is an address as a mail's text has it.
var mailLink = regexp.MustCompile(`https?://[^\s<>"]+`)

// showInbox lists the mails of a folder, one .eml file a mail.
func (rp *relyingParty) showInbox(w http.ResponseWriter, _ *http.Request) {
	names, err := filepath.Glob(filepath.Join(rp.mail, "*.eml"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var mails []mailView
	for _, name := range names {
		if m, err := readMail(name); err == nil { // one that is just being written comes next time
			mails = append(mails, m)
		}
	}
	slices.SortStableFunc(mails, func(a, b mailView) int { return cmp.Or(b.Date.Compare(a.Date), cmp.Compare(b.Subject, a.Subject)) })
	rp.show(w, "inbox.html", map[string]any{"Mails": mails[:min(len(mails), maxMails)], "More": len(mails) > maxMails})
}

func readMail(name string) (m mailView, err error) {
	f, err := os.Open(name)
	if err != nil {
		return m, err
	}
	defer f.Close()
	message, err := mail.ReadMessage(io.LimitReader(f, maxMail))
	if err != nil {
		return m, err
	}
	text, err := plainText(message)
	if err != nil {
		return m, err
	}
	if m.Date, err = message.Header.Date(); err != nil {
		return m, err
	}
	read := func(name string) string {
		value := message.Header.Get(name)
		if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
			return decoded
		}
		return value
	}
	m.From, m.To, m.Subject, m.Text = read("From"), read("To"), read("Subject"), string(text)
	m.Links = mailLink.FindAllString(m.Text, -1)
	return m, nil
}

// plainText is the text of a mail, or of its first part where it has several.
func plainText(m *mail.Message) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return io.ReadAll(m.Body)
	}
	part, err := multipart.NewReader(m.Body, params["boundary"]).NextPart() // which decodes quoted-printable
	if err != nil {
		return nil, err
	}
	return io.ReadAll(part)
}
