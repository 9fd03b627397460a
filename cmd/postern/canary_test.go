package main

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/idp"
	loginui "postern/login-ui"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// A tee is a mailer that sends, and keeps what it was given.
type tee struct {
	idp.Mailer
	box postbox
}

// Send implements idp.Mailer.
func (m tee) Send(ctx context.Context, letter idp.Mail) error {
	if err := m.Mailer.Send(ctx, letter); err != nil {
		return err
	}
	return m.box.Send(ctx, letter)
}

// A canary is a secret that passed through the server, by a name for the report.
type canary struct {
	name   string
	secret []byte
	mailed bool // it is what a mail was sent for
}

// forms are the ways in which the secret could be written down.
func (c *canary) forms() map[string][]byte {
	forms := map[string][]byte{
		"as it is": c.secret, "hex": []byte(hex.EncodeToString(c.secret)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(c.secret))),
	}
	// A text within another begins at any of three places of its base64. What hangs together with its
	// neighbours is left out.
	for shift := range 3 {
		padded := append(make([]byte, shift), c.secret...)
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(padded)
			forms[fmt.Sprint(name, " ", shift)] = []byte(text[(shift*8+5)/6 : len(text)-1])
		}
	}
	b32 := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(c.secret)
	forms["base32"], forms["base32, small"] = []byte(b32[:len(b32)-1]), []byte(strings.ToLower(b32[:len(b32)-1]))
	return forms
}

// in tells in which form text has the secret, "" for none. What is short must stand alone: six digits
// are in every long enough row of hexadecimal ones.
func (c *canary) in(text []byte) string {
	for name, form := range c.forms() {
		for at := 0; ; {
			i := bytes.Index(text[at:], form)
			if i < 0 {
				break
			}
			at += i
			if len(form) > 10 || !wordAt(text, at-1) && !wordAt(text, at+len(form)) {
				return name
			}
			at++
		}
	}
	return ""
}

// wordAt tells whether a letter or a digit is there.
func wordAt(text []byte, at int) bool {
	if at < 0 || at >= len(text) {
		return false
	}
	b := text[at]
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// An aviary is a server whose log and mails are kept, with the secrets that passed through it.
type aviary struct {
	*house
	t        *testing.T
	dir      string
	log      *lockedBuffer
	box      postbox
	canaries []canary
}

func openAviary(t *testing.T) *aviary {
	t.Helper()
	a := &aviary{t: t, dir: t.TempDir(), log: &lockedBuffer{}, box: make(postbox, 200)}
	a.house = open(t, "sqlite:"+filepath.Join(a.dir, "canary.db"), func(c *config.Config) {
		inviting(c)
		c.Mail = config.Mail{Transport: "dir:" + filepath.Join(a.dir, "mail"), From: "no-reply@id.example.com"}
	})
	log := slog.New(slog.NewJSONHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	former := slog.Default()
	slog.SetDefault(log)
	t.Cleanup(func() { slog.SetDefault(former) })
	mailer, err := loginui.NewMailer(a.cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.p, err = newProvider(t.Context(), a.cfg, a.store, idp.Options{
		Now: func() time.Time { return a.now }, Log: log, Security: log, Wait: func(context.Context, time.Duration) {}, Mailer: tee{mailer, a.box},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.site, err = newSite(a.p, a.cfg, log); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *aviary) keep(name string, secrets ...string) {
	a.t.Helper()
	for _, s := range secrets {
		if len(s) < 6 {
			a.t.Fatalf("%s: %q is no secret", name, s)
		}
		a.canaries = append(a.canaries, canary{name: name, secret: []byte(s)})
	}
}

// linked finds what a link carries.
var linked = regexp.MustCompile(`[A-Za-z0-9_-]{32,}`)

// keepMail keeps the code and the links of a mail, and returns the code.
func (a *aviary) keepMail(kind, to string) string {
	a.t.Helper()
	m := a.mailed(a.t, a.box, kind, to)
	kept := 0
	for name, value := range m.Args {
		found := linked.FindAllString(value, -1)
		if name == "code" {
			found = []string{value}
		}
		for _, secret := range found {
			a.canaries = append(a.canaries, canary{"the " + name + " of the mail " + kind, []byte(secret), true})
			kept++
		}
	}
	if kept == 0 {
		a.t.Fatalf("the mail %s has no secret: %v", kind, m.Args)
	}
	return m.Args["code"]
}

// keepCookies keeps what the server set: whole, and the secret half of a session's.
func (a *aviary) keepCookies(w *wiretap) {
	a.t.Helper()
	sessions := 0
	for _, c := range w.cookies {
		if !strings.HasPrefix(c.Name, "__Host-postern_") || len(c.Value) < 32 || c.Name == "__Host-postern_notice" {
			continue
		}
		a.keep("the cookie "+c.Name, c.Value)
		signed, err := base64.URLEncoding.DecodeString(c.Value)
		if err != nil {
			a.t.Fatal(err)
		}
		parts := bytes.Split(signed, []byte("|"))
		value, err := base64.URLEncoding.DecodeString(string(parts[1]))
		if err != nil {
			a.t.Fatal(err)
		}
		if strings.HasSuffix(c.Name, "_session") || strings.HasSuffix(c.Name, "_login") {
			sessions++
			value = value[len(idp.ID{}):] // the row's ID is no secret
		}
		if !strings.HasSuffix(c.Name, "_browser") { // whose hash is kept by nobody
			a.keep("what is in the cookie "+c.Name, string(value))
		}
	}
	if sessions == 0 {
		a.t.Error("no cookie of a session was seen")
	}
}

// keepCeremony keeps what a ceremony must not leave behind.
func (a *aviary) keepCeremony(options []byte, state string) {
	a.t.Helper()
	var o struct {
		Challenge string `json:"challenge"`
	}
	if err := json.Unmarshal(options, &o); err != nil {
		a.t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(o.Challenge)
	if err != nil {
		a.t.Fatal(err)
	}
	a.keep("a challenge", string(raw))
	a.keep("the state of a ceremony", state)
}

// left is everything that the server left: files of the database, the log, and mails as people read
// them.
func (a *aviary) left() map[string][]byte {
	a.t.Helper()
	left := map[string][]byte{}
	a.log.mu.Lock()
	left["the log"] = bytes.Clone(a.log.b.Bytes())
	a.log.mu.Unlock()
	err := filepath.WalkDir(a.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.HasSuffix(path, ".eml") {
			text = append(text, decoded(a.t, text)...)
		}
		left[strings.TrimPrefix(path, a.dir+"/")] = text
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return left
}

// decoded are the parts of a mail.
func decoded(t *testing.T, text []byte) []byte {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body := io.Reader(part)
		switch part.Header.Get("Content-Transfer-Encoding") {
		case "quoted-printable":
			body = quotedprintable.NewReader(part)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, part)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
}

// judge looks for every canary in all that is left.
func (a *aviary) judge() {
	a.t.Helper()
	left := a.left()
	for _, c := range a.canaries {
		mails := 0
		for name, text := range left {
			form := c.in(text)
			if form != "" && c.mailed && strings.HasSuffix(name, ".eml") {
				mails++
				continue
			}
			if form != "" {
				a.t.Errorf("%s is in %s, %s", c.name, name, form)
			}
		}
		if c.mailed && mails != 1 {
			a.t.Errorf("%s is in %d mails, want the one that was sent for it", c.name, mails)
		}
	}
	if len(left) < 5 || !bytes.Contains(left["canary.db"], []byte("walter@example.com")) && !bytes.Contains(left["canary.db-wal"], []byte("walter@example.com")) ||
		!bytes.Contains(left["the log"], []byte("user.signed_in")) {
		a.t.Errorf("there is too little to look at: %d places", len(left))
	}
}

// Whatever passes through the server that opens something, nobody finds it in what the server leaves:
// the database with its journal, the log of a server that tells everything, and mails.
func TestS3_01_I10_NoSecretIsLeftInDatabaseLogOrMail(t *testing.T) {
	a := openAviary(t)
	const walterPassword = "seven bridges of Prague"
	a.keep("a password", walterPassword, testPassword)

	// Signing up, with a code by mail, and a way back by link and code.
	b, wire := a.tapped()
	page := fillIn(t, openPage(t, b, "/signup"), map[string]string{"username": "walter", "email": "walter@example.com", "password": walterPassword})
	a.keep("a sealed request", page.URL.Query()["tx"]...)
	page = fillIn(t, page, map[string]string{"code": a.keepMail("verify_code", "walter@example.com")})
	if page.URL.Path != "/account" && page.URL.Path != "/login/passkey/offer" {
		t.Fatalf("walter is at %s %v", page.URL, page.ErrorCodes())
	}
	a.addUser(t, "alice")
	stranger, tapped := a.tapped()
	page = fillIn(t, openPage(t, stranger, "/reset"), map[string]string{"username": "alice"})
	code := a.keepMail("reset", "alice@example.com")
	a.keep("a code that was guessed", "918273")
	page = fillIn(t, page, map[string]string{"code": "918273"})
	page = fillIn(t, page, map[string]string{"code": code})
	a.keep("a new password", "quite another one")
	fillIn(t, page, map[string]string{"new_password": "quite another one", "password": "quite another one"})
	page = fillIn(t, openPage(t, stranger, "/login/code"), map[string]string{"username": "walter"})
	fillIn(t, page, map[string]string{"code": a.keepMail("login_code", "walter@example.com")})

	// An authenticator app with recovery codes, a key, and sign-ins by each, and wrong ones.
	a.addUser(t, "bob")
	app := a.giveApp(t, "bob")
	key, err := base32.StdEncoding.DecodeString(app.Secret)
	if err != nil {
		t.Fatal(err)
	}
	a.keep("the secret of an app", app.Secret, string(key))
	a.keep("a recovery code", app.Recovery...)
	for _, c := range app.Recovery {
		a.keep("a recovery code without its hyphen", strings.ReplaceAll(c, "-", ""))
	}
	a.keep("the token of a session", string(app.Enrolled.Token.Secret[:]))
	ceremony := a.giveKey(t, "bob", app.Enrolled)
	a.keepCeremony(ceremony.Options, ceremony.State)
	party := a.party(t)
	a.keep("a client secret", party.Secret)
	a.keep("a wrong password", "a wrong password of bob")
	a.signIn(t, stranger, "bob", "a wrong password of bob")
	for i, shown := range []string{app.code(t), app.Recovery[0]} {
		bobs, wire := a.tapped()
		request := party.NewRequest("scope", "openid email")
		page, err := bobs.OpenFrom(t.Context(), party.RedirectURI, request.URL())
		if err != nil {
			t.Fatal(err)
		}
		a.keep("a sealed request", page.URL.Query()["tx"]...)
		page = fillIn(t, page, map[string]string{"username": "bob", "password": testPassword})
		page = openPage(t, bobs, page.URL.RequestURI()+"&way="+[]string{"app", "recovery"}[i])
		a.keep("a code of an app", "56473829")
		page = fillIn(t, page, map[string]string{"code": "56473829"})
		if i == 0 {
			shown = app.code(t)
			a.keep("a code of an app", shown)
		}
		page = fillIn(t, page, map[string]string{"code": shown})
		signedIn := rp.SignedIn{}
		if signedIn.Journey, err = (rp.Person{Username: "bob", Password: testPassword}).Answer(t.Context(), page); err != nil {
			t.Fatal(err)
		}
		if err := party.Finish(t.Context(), &signedIn, request); err != nil {
			t.Fatal(err)
		}
		a.keep("a code of the authorization endpoint", signedIn.Response.Code)
		a.keep("a token", signedIn.Tokens.AccessToken, signedIn.Tokens.RefreshToken, signedIn.Tokens.IDToken)
		a.keep("a verifier", request.Verifier)
		answer, err := party.Refresh(t.Context(), signedIn.Tokens.RefreshToken, "")
		if err != nil {
			t.Fatal(err)
		}
		next, err := answer.Tokens()
		if err != nil {
			t.Fatal(err)
		}
		a.keep("a refreshed token", next.AccessToken, next.RefreshToken)
		a.keepCookies(wire)
	}
	// A ceremony that anybody begins, with an answer that does not hold.
	var options struct {
		Options json.RawMessage `json:"options"`
		State   string          `json:"state"`
	}
	if err := json.Unmarshal(openPage(t, stranger, "/login/passkey/options").Body, &options); err != nil {
		t.Fatal(err)
	}
	a.keepCeremony(options.Options, options.State)
	if _, err := stranger.PostFrom(t.Context(), testIssuer+"/login", testIssuer+"/login/passkey", url.Values{"state": {options.State}, "credential": {"{}"}}); err != nil {
		t.Fatal(err)
	}
	a.keepCookies(wire)
	a.keepCookies(tapped)
	a.canaries = slices.CompactFunc(a.canaries, func(x, y canary) bool { return bytes.Equal(x.secret, y.secret) })
	a.judge()
}

func TestACanaryIsFoundInWhateverFormItIs(t *testing.T) {
	long, short := canary{secret: []byte("A secret of 32 bytes, or somewhat")}, canary{secret: []byte("918273")}
	encoded := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		canary canary
		text   string
		found  bool
	}{
		"as it is":            {long, "x" + string(long.secret) + "y", true},
		"hex":                 {long, hex.EncodeToString([]byte("id " + string(long.secret) + " x")), true},
		"base64, first place": {long, encoded([]byte(string(long.secret) + " x")), true},
		"base64, second":      {long, encoded([]byte("." + string(long.secret) + " x")), true},
		"base64, third":       {long, encoded([]byte(".." + string(long.secret) + " x")), true},
		"base32":              {long, base32.StdEncoding.EncodeToString(long.secret), true},
		"another":             {long, "A secret of 31 bytes, or somewhat", false},
		"a code":              {short, "code=918273 for you", true},
		"a code in a row":     {short, "ab918273cd", false},
	} {
		if got := c.canary.in([]byte(c.text)); (got != "") != c.found {
			t.Errorf("%s: found as %q", name, got)
		}
	}
}
