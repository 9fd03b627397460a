package loginui

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"

	"postern/config"
	"postern/idp"
)

// A Letter is a mail as a person reads it: a subject, and the same text twice.
type Letter struct {
	Locale  string // BCP 47
	Subject string
	Text    string
	HTML    string
}

// RenderMail writes m as the provider of cfg would, whether or not that sends mails.
func RenderMail(cfg *config.Config, m idp.Mail) (*Letter, error) {
	l, err := newLetters(cfg)
	if err != nil {
		return nil, err
	}
	return l.write(m)
}

// MailSamples are a mail of each kind, as the provider at issuer would send it.
func MailSamples(issuer string) []idp.Mail {
	var list []idp.Mail
	for _, k := range mailKinds {
		m := idp.Mail{Kind: k.name, To: "alice@example.com", At: time.Date(2026, 11, 22, 14, 5, 9, 0, time.UTC), Args: map[string]string{}}
		for name, value := range k.sample {
			if name == "link" || name == "not_me" {
				value = issuer + value
			}
			m.Args[name] = value
		}
		list = append(list, m)
	}
	return list
}

// letters writes the words of mails.
type letters struct {
	cfg    *config.Config
	domain string // of the issuer, as RFC 5321 §4.1.3 writes it
	where  Whereabouts
	texts  *catalogue
	plain  *template.Template
	rich   *htmltemplate.Template
}

func newLetters(cfg *config.Config) (*letters, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	l := &letters{cfg: cfg, domain: issuer.Hostname()}
	if a, err := netip.ParseAddr(l.domain); err == nil {
		l.domain = "[" + l.domain + "]"
		if a.Is6() {
			l.domain = "[IPv6:" + a.String() + "]"
		}
	}
	if l.texts, err = newCatalogue(); err != nil {
		return nil, err
	}
	if l.plain, err = template.ParseFS(files, "templates/mail/letter.txt"); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if l.rich, err = htmltemplate.ParseFS(files, "templates/mail/letter.html"); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	return l, nil
}

// write renders a mail. Its error is ErrMailRefused, but for a kind that a later version may know.
func (w *letters) write(m idp.Mail) (*Letter, error) {
	kind := kindOfMail(m.Kind)
	if kind == nil {
		return nil, fmt.Errorf("there is no mail %q", m.Kind)
	}
	if err := w.check(kind, m.Args); err != nil {
		return nil, err
	}
	locale, _ := w.texts.match(m.Locale)
	l := &letter{locale: locale, mailKind: kind, texts: w.texts, args: w.found(m.Args, locale), zone: zoneOf(m.Args["zone"])}
	l.Instance, l.Support, l.at = w.cfg.Branding.Name, w.cfg.Branding.Support, l.moment(m.At)
	l.values = []any{"instance", l.Instance, "time", l.at, "until", l.time("until")}
	if kind.subjectCode {
		l.Autofill = "@" + w.domain + " #" + m.Args["code"]
	}
	var plain, rich bytes.Buffer
	if err := w.plain.Execute(&plain, l); err != nil {
		return nil, err
	}
	if err := w.rich.Execute(&rich, l); err != nil {
		return nil, err
	}
	return &Letter{Locale: l.Tag, Subject: l.Subject().Text, Text: plain.String(), HTML: rich.String()}, nil
}

// found are the Args with the place of their address and the browser of their User-Agent, where they
// lack those.
func (w *letters) found(args map[string]string, l *locale) map[string]string {
	all := map[string]string{}
	maps.Copy(all, args)
	if all["place"] == "" {
		all["place"] = w.where.of(all["address"], l)
	}
	if all["browser"] == "" && all["user_agent"] != "" {
		browser, system := browserOf(all["user_agent"])
		if browser == "" {
			browser, system = system, ""
		}
		all["browser"], all["system"] = browser, system
	}
	return all
}

// codeForm is what codes look like. They stand in subjects.
var codeForm = regexp.MustCompile(`^[0-9A-Za-z-]{4,32}$`)

// check holds what we put in ourselves to what it must be: all is there, and no link leads elsewhere.
func (w *letters) check(kind *mailKind, args map[string]string) error {
	for _, name := range kind.needs {
		if args[name] == "" {
			return unsendable("a mail " + kind.name + " needs " + name)
		}
	}
	if code := args["code"]; code != "" && !codeForm.MatchString(code) {
		return unsendable("its code is none")
	}
	for _, name := range []string{"link", "not_me"} {
		if link := args[name]; link != "" && !w.ours(link) {
			return unsendable("its " + name + " is no address of the issuer")
		}
	}
	for _, name := range []string{"expires", "until", "since"} {
		if _, err := time.Parse(time.RFC3339, args[name]); args[name] != "" && err != nil {
			return unsendable("its " + name + " is no time")
		}
	}
	return nil
}

func (w *letters) ours(link string) bool {
	u, err := url.Parse(link)
	strange := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>"`, r) }
	return err == nil && u.User == nil && strings.HasPrefix(link, strings.TrimSuffix(w.cfg.Issuer, "/")+"/") && !strings.ContainsFunc(link, strange)
}

// zoneOf is the time zone of that name, UTC where there is none.
func zoneOf(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return time.UTC
	}
	return zone
}

// A letter is what the templates of mails are given. It has no HTML but what escapes its values.
type letter struct {
	*locale
	*mailKind
	Instance string
	Support  string // a mailto: or https: address, "" for none
	Autofill string // the last line of mails with a code, "" for none
	texts    *catalogue
	args     map[string]string
	zone     *time.Location
	at       string
	values   []any
}

// A wording is the same text twice.
type wording struct {
	Text string
	HTML htmltemplate.HTML
}

func (l *letter) say(key string, args ...any) wording {
	args = append(slices.Clone(l.values), args...)
	return wording{l.text(key, args...), l.markup(key, args...)}
}

// own are the words of the kind's own text, or of the one for all kinds; both may be missing.
func (l *letter) own(name, all string) *wording {
	key := "mail." + l.name + "." + name
	if !l.texts.has(key) {
		if key = all; key == "" {
			return nil
		}
	}
	w := l.say(key)
	return &w
}

// Subject begins with the code where browsers and people look for it.
func (l *letter) Subject() wording { return l.say(l.key("subject"), "code", l.args["code"]) }

// key is that of one of the kind's texts, or of what it says of a passkey.
func (l *letter) key(name string) string {
	key := "mail." + l.name + "." + name
	if special := key + "." + ofPasskey; l.args["factor"] == ofPasskey && l.texts.has(special) {
		return special
	}
	return key
}

// Preheader is what lists of mails show beside the subject.
func (l *letter) Preheader() *wording { return l.own("preheader", "mail.you") }

// Greeting is by name where that is one: whoever signs up can call themselves anything, and others
// should not read that in a mail of ours.
func (l *letter) Greeting() wording {
	if name := strings.TrimSpace(l.args["name"]); !l.unknown && isName(name) {
		return l.say("mail.hello.name", "name", name)
	}
	return l.say("mail.hello")
}

// isName tells whether a text looks like a person's name, and like nothing that one can click on.
func isName(text string) bool {
	const most = 64 // characters
	if text == "" || len([]rune(text)) > most {
		return false
	}
	for i, r := range text {
		switch {
		case unicode.IsLetter(r), unicode.IsMark(r), strings.ContainsRune(" -'’,", r):
		case r == '.' && (i+1 == len(text) || text[i+1] == ' '):
		default:
			return false
		}
	}
	return true
}

// What is what happened, a paragraph each.
func (l *letter) What() []wording {
	switch l.name {
	case "lockout":
		failures, _ := strconv.Atoi(l.args["failures"])
		ends := "mail.lockout.stay"
		if l.args["until"] != "" {
			ends = "mail.lockout.until"
		}
		return []wording{l.say("mail.lockout.what", "count", failures), l.say(ends)}
	case "honeypot_digest":
		count, _ := strconv.Atoi(l.args["count"])
		return []wording{l.say("mail.honeypot_digest.what", "count", count, "since", l.time("since"))}
	case "recovery_code_used":
		left, err := strconv.Atoi(l.args["left"])
		list := []wording{l.say("mail.recovery_code_used.what", "count", left)}
		if err == nil && left <= fewCodes {
			list = append(list, l.say("mail.recovery_code_used.few"))
		}
		return list
	case "secured":
		void := "mail.secured.void"
		if l.args["password"] == "" {
			void = "mail.secured.none"
		}
		list := []wording{l.say("mail.secured.what"), l.say(void)}
		if removed := l.removed(); removed != "" {
			list = append(list, l.say("mail.secured.removed", "list", removed))
		}
		return append(list, l.say("mail.secured.look"))
	}
	what := l.key("what")
	if l.name == "account_exists" && l.args["for"] == "address" {
		what = "mail.account_exists.address"
	}
	list := []wording{l.say(what)}
	if more := l.own("more", ""); more != nil {
		list = append(list, *more)
	}
	return list
}

// Code is what to enter, "" for none.
func (l *letter) Code() string { return l.args["code"] }

// OrCode comes before a code that stands for a link.
func (l *letter) OrCode() *wording { return l.own("code", "") }

// A button leads to a page of ours.
type button struct {
	Link  string
	Label wording
}

// Button is what the mail is for, nil for none.
func (l *letter) Button() *button {
	if l.args["link"] == "" || l.own("undo", "") != nil {
		return nil
	}
	return &button{l.args["link"], l.say("mail." + l.name + ".action")}
}

// Expires is until when the code and the link are good.
func (l *letter) Expires() *wording {
	if l.args["expires"] == "" {
		return nil
	}
	w := l.say("mail.expires", "time", l.time("expires"))
	return &w
}

// ExpiresFirst tells whether what Expires is about is what the mail is for; else it undoes that.
func (l *letter) ExpiresFirst() bool { return l.Undo() == nil }

// A toldFact is a line of the list of what happened.
type toldFact struct {
	Label wording
	Value string
}

// Facts are those that are known. A time alone is none.
func (l *letter) Facts() []toldFact {
	var list []toldFact
	for _, f := range l.facts {
		if value := l.value(f); value != "" {
			list = append(list, toldFact{l.say("mail.fact." + f.label), value})
		}
	}
	return list
}

// value is what a fact says, "" where nobody knows.
func (l *letter) value(f fact) string {
	value, system := defused(l.args[f.arg]), defused(l.args["system"])
	switch {
	case f == factTime:
		return l.at
	case f == factChanges:
		return l.changes()
	case f == factPlace && value != "":
		return l.text("mail.place", "place", value)
	case f == factBrowser && value != "" && system != "":
		return l.text("mail.browser", "browser", value, "system", system)
	}
	return value
}

// changes lists what an administrator changed, each once.
func (l *letter) changes() string {
	if l.args["changes"] == "" {
		return ""
	}
	var list []string
	for word := range strings.SplitSeq(l.args["changes"], ",") {
		if !slices.Contains(mailChanges, word) {
			word = "other"
		}
		if text := l.text("mail.change." + word); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, ", ")
}

// removed lists the factors that were taken off, each kind once.
func (l *letter) removed() string {
	var list []string
	for word := range strings.SplitSeq(l.args["removed"], ",") {
		if slices.Contains(mailRemoved, word) {
			list = append(list, l.text("mail.removed."+word))
		}
	}
	return strings.Join(list, ", ")
}

// Then is what comes of it, for whoever runs the instance.
func (l *letter) Then() []wording {
	switch l.name {
	case "honeypot":
		state := "mail.honeypot.open"
		if l.args["blocked"] == "true" {
			state = "mail.honeypot.blocked"
		}
		return []wording{l.say(state), l.say("mail.honeypot.then")}
	case "honeypot_block":
		return []wording{l.say("mail.honeypot_block.then", "address", defused(l.args["address"]))}
	case "honeypot_digest":
		return []wording{l.say("mail.honeypot_digest.then")}
	}
	return nil
}

// You is for the person who did it, and NotYou for one who did not.
func (l *letter) You() *wording {
	if l.notice {
		return l.own("you", "mail.you")
	}
	return l.own("you", "")
}

// NotYou is the one safe thing to do.
func (l *letter) NotYou() *wording {
	switch {
	case l.admin, l.own("undo", "") != nil:
		return nil
	case l.args["not_me"] != "":
		return l.own("not_me", "mail.not_me")
	case l.notice:
		return l.own("not_you", "mail.not_you")
	}
	return l.own("not_you", "")
}

// Undo comes before the button that undoes it, nil for none.
func (l *letter) Undo() *wording { return l.own("undo", "") }

// UndoButton is that of Undo or NotYou, nil for none.
func (l *letter) UndoButton() *button {
	switch {
	case l.Undo() != nil:
		return &button{l.args["link"], l.say("mail." + l.name + ".undo_action")}
	case l.args["not_me"] != "":
		return &button{l.args["not_me"], l.say("mail.not_me.action")}
	}
	return nil
}

// Never says what we do not ask for.
func (l *letter) Never() *wording {
	if l.admin || l.args["code"] != "" {
		return nil
	}
	w := l.say("mail.never")
	return &w
}

// Reason is why the person gets the mail.
func (l *letter) Reason() *wording {
	if l.admin {
		return l.own("reason", "mail.reason.admin")
	}
	return l.own("reason", "mail.reason")
}

// T is the text for key.
func (l *letter) T(key string) wording { return l.say(key) }

// defused is what somebody sent, cleared of what would make it look like words of ours: controls,
// direction marks and links.
func defused(text string) string {
	const most = 255 // bytes
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, clip(text, most))
	return strings.ReplaceAll(strings.TrimSpace(text), "://", "[:]//")
}

// time is an Arg that is a time, "" for none.
func (l *letter) time(name string) string {
	at, err := time.Parse(time.RFC3339, l.args[name])
	if err != nil {
		return ""
	}
	return l.moment(at)
}

// moment is a time of the person's day, in words of the language.
func (l *letter) moment(at time.Time) string {
	at = at.In(l.zone)
	months := strings.Fields(l.text("mail.months"))
	return l.text("mail.time", "day", at.Day(), "month", months[at.Month()-1], "year", at.Year(), "clock", at.Format("15:04"), "zone", l.zone)
}

// With is a button and what stands below it.
func (l *letter) With(b *button) any {
	return struct {
		Button *button
		Copy   wording
	}{b, l.say("mail.copy")}
}
