package loginui

import (
	"bytes"
	"errors"
	"html"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
)

const testIssuer = "https://id.example.com"

// mails has a mail of every kind, and of every way to word it, and some with what strangers wrote.
func mails() map[string]idp.Mail {
	list := map[string]idp.Mail{}
	for _, m := range MailSamples(testIssuer) {
		list[m.Kind] = m
		kind := kindOfMail(m.Kind)
		// The least that it needs.
		bare := m
		bare.Args = map[string]string{}
		for _, name := range kind.needs {
			bare.Args[name] = m.Args[name]
		}
		list[m.Kind+" bare"] = bare
		// And all that others may have a hand in.
		hostile := m
		hostile.Args = maps.Clone(m.Args)
		hostile.Args["name"] = stranger
		for _, f := range kind.facts {
			if f.arg != "" {
				hostile.Args[f.arg] = stranger
			}
		}
		list[m.Kind+" hostile"] = hostile
	}
	open := list["honeypot"]
	open.Args = maps.Clone(open.Args)
	delete(open.Args, "blocked")
	list["honeypot without a block"] = open
	once := list["honeypot_digest"]
	once.Args = maps.Clone(once.Args)
	once.Args["count"] = "1"
	list["honeypot_digest of one"] = once
	list["lockout for good"] = idp.Mail{Kind: "lockout", To: "alice@example.com", At: sampleTime, Args: map[string]string{
		"username": "alice", "address": "203.0.113.9", "failures": "1", "until": ""}}
	for name, args := range map[string]map[string]string{
		"factor_added": {"factor": "app"}, "factor_removed": {"factor": "passkey", "called": "My phone"}, "recovery_code_used": {"left": "9"},
	} {
		another := list[name]
		another.Args = maps.Clone(another.Args)
		delete(another.Args, "called")
		maps.Copy(another.Args, args)
		list[name+" in other words"] = another
	}
	none := list["secured"]
	none.Args = maps.Clone(none.Args)
	delete(none.Args, "password")
	none.Args["removed"] = "app,of a later version"
	list["secured without a password"] = none
	other := list["account_exists"]
	other.Args = maps.Clone(other.Args)
	other.Args["for"] = "address"
	list["account_exists for an account"] = other
	all := list["admin_changed"]
	all.Args = maps.Clone(all.Args)
	all.Args["changes"] = strings.Join(append(slices.Clone(mailChanges), "of a later version"), ",")
	list["admin_changed in everything"] = all
	return list
}

// stranger is what somebody wrote who wishes others ill.
const stranger = "root\u202e\x00<script>alert(1)</script>\r\nBcc: evil@example.com\n\nhttps://evil.example/x <b>"

// A delivery is a mail as it was read back from its file.
type delivery struct {
	header      mail.Header
	subject     string
	plain, rich string
	raw         string
	file        os.FileInfo
}

func deliver(t *testing.T, m idp.Mail, change ...func(*config.Config)) delivery {
	t.Helper()
	cfg := mailConfig()
	cfg.Mail = config.Mail{Transport: "dir:" + filepath.Join(t.TempDir(), "out"), From: "Acme <no-reply@id.example.com>"}
	for _, c := range change {
		c(cfg)
	}
	mailer, err := NewMailer(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a job may be done twice
		if err := mailer.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	dir := strings.TrimPrefix(cfg.Mail.Transport, "dir:")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || filepath.Ext(entries[0].Name()) != ".eml" {
		t.Fatalf("%v %v, want one .eml", entries, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, entries[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	info, err := entries[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	d := parseMail(t, content)
	d.file, d.raw = info, string(content)
	return d
}

func parseMail(t *testing.T, content []byte) delivery {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	d := delivery{header: m.Header}
	if d.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, body := range []*string{&d.plain, &d.rich} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		*body = string(text)
	}
	return d
}

func TestS0_80_EveryMailIsSoundInEveryLanguage(t *testing.T) {
	for name, m := range mails() {
		for _, locale := range []string{"en", "de", ""} {
			t.Run(name+" "+locale, func(t *testing.T) {
				m.Locale = locale
				d := deliver(t, m)
				keepMail(t, "mail "+name+"."+locale, d)
				checkHeader(t, m, d)
				checkBodies(t, m, d)
			})
		}
	}
}

// keepMail writes a mail into the folder that SCREENSHOTS names, for people to look at.
func keepMail(t *testing.T, name string, d delivery) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	name = filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
	for ending, content := range map[string]string{".txt": d.subject + "\n\n" + d.plain, ".html": d.rich} {
		if err := os.WriteFile(name+ending, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func checkHeader(t *testing.T, m idp.Mail, d delivery) {
	t.Helper()
	language := "en"
	if m.Locale == "de" {
		language = "de"
	}
	want := map[string]string{
		"From": `"Acme" <no-reply@id.example.com>`, "To": "<" + m.To + ">", "Date": "Sun, 22 Nov 2026 14:05:09 +0000",
		"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "OOF, AutoReply", "Content-Language": language, "Bcc": "", "Mime-Version": "1.0",
	}
	for name, value := range want {
		if got := d.header.Get(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	if id := d.header.Get("Message-Id"); !strings.HasPrefix(id, "<") || !strings.HasSuffix(id, "@id.example.com>") {
		t.Errorf("Message-ID %q", id)
	}
	if !strings.Contains(d.subject, "Acme") || strings.Contains(d.subject, "root") || strings.Contains(d.subject, "Grafana") {
		t.Errorf("subject %q", d.subject)
	}
	for line := range strings.SplitSeq(d.raw, "\n") {
		if len(line) > 998 { // RFC 5322 §2.1.1
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if mode := d.file.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %v", mode)
	}
}

func checkBodies(t *testing.T, m idp.Mail, d delivery) {
	t.Helper()
	both := d.plain + d.rich
	for _, n := range elements(t, d.rich) {
		href := attribute(n, "href")
		ours := href == "" || href == "mailto:help@example.com" || href == m.Args["link"] || href == m.Args["not_me"]
		if slices.Contains([]string{"script", "img", "b", "link", "style", "iframe", "form", "object"}, n.Data) || !ours {
			t.Errorf("<%s href=%q>", n.Data, href)
		}
		if style := attribute(n, "style"); strings.Contains(style, "url(") || strings.Contains(style, "ZgotmplZ") {
			t.Errorf("style %q", style)
		}
	}
	rest := strings.ReplaceAll(both, testIssuer+"/", "")
	for _, bad := range []string{"://", "\u202e", "\x00", "\nBcc:", "<no value>", "%!", "ZgotmplZ", "{"} {
		if strings.Contains(rest, bad) {
			t.Errorf("%q is in it:\n%s", bad, d.plain)
		}
	}
	if key := regexp.MustCompile(`\bmail\.[a-z]`).FindString(both); key != "" {
		t.Errorf("a key is in it:\n%s", d.plain)
	}
	for _, name := range []string{"code", "link", "not_me"} {
		if value := m.Args[name]; value != "" && (!strings.Contains(d.plain, value) || !strings.Contains(d.rich, value)) {
			t.Errorf("%s is not in both texts:\n%s", name, d.plain)
		}
	}
	for _, empty := range []string{"\n\n\n", ": \n", "<p style=\"margin:0 0 16px\"></p>"} {
		if strings.Contains(strings.ReplaceAll(both, "\r\n", "\n"), empty) {
			t.Errorf("something is empty:\n%s", d.plain)
		}
	}
}

func TestS0_80_EveryMailTakesTheArgsThatItsTableNames(t *testing.T) {
	for _, k := range mailKinds {
		known := slices.Concat([]string{"name", "zone", "system"}, k.needs, k.may)
		for _, f := range k.facts {
			known = append(known, f.arg)
		}
		for name := range k.sample {
			if !slices.Contains(known, name) {
				t.Errorf("%s has a sample of %s, which its line does not name", k.name, name)
			}
		}
		for _, name := range slices.Concat(k.needs, k.may) {
			if k.sample[name] == "" {
				t.Errorf("%s has no sample of %s", k.name, name)
			}
		}
	}
}

func TestEveryTextOfMailsIsInOne(t *testing.T) {
	var all strings.Builder
	for _, m := range mails() {
		m.Locale = "en"
		l := render(t, m)
		all.WriteString(l.Subject + "\n" + l.Text + "\n" + html.UnescapeString(l.HTML) + "\n")
	}
	for key, text := range texts(t, "en") {
		if !strings.HasPrefix(key, "mail.") || key == "mail.months" {
			continue
		}
		longest := ""
		for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '{' || r == '\n' }) {
			if _, after, ok := strings.Cut(part, "}"); ok {
				part = after
			}
			if len(part) > len(longest) {
				longest = part
			}
		}
		if !strings.Contains(all.String(), longest) {
			t.Errorf("nobody says %s: %q", key, longest)
		}
	}
}

func TestS0_23_NobodyIsGreetedByANameThatAStrangerChose(t *testing.T) {
	for _, c := range []struct{ kind, name, want string }{
		{"password_changed", "Alice", "Hello Alice,"},
		{"password_changed", "Dr. María José O’Neill-Łuk", "Hello Dr. María José O’Neill-Łuk,"},
		{"password_changed", "", "Hello,"},
		{"password_changed", "www.evil.example", "Hello,"},
		{"password_changed", "Win 1000 € now", "Hello,"},
		{"password_changed", "a@b", "Hello,"},
		{"password_changed", "Alice\r\nBcc: eve", "Hello,"},
		{"password_changed", "\u202eecilA", "Hello,"},
		{"password_changed", strings.Repeat("a", 65), "Hello,"},
		{"verify_code", "You won the lottery", "Hello,"},
		{"invite", "Alice", "Hello,"},
	} {
		m := sampleMail(t, c.kind)
		m.Args["name"] = c.name
		if got, _, _ := strings.Cut(render(t, m).Text, "\n"); got != c.want {
			t.Errorf("%s to %q: %q, want %q", c.kind, c.name, got, c.want)
		}
	}
}

func TestS0_70_CodeBeginsTheSubjectAndEndsTheMail(t *testing.T) {
	for _, kind := range []string{"verify_code", "login_code"} {
		for _, locale := range []string{"en", "de"} {
			m := sampleMail(t, kind)
			m.Locale = locale
			l := render(t, m)
			if !strings.HasPrefix(l.Subject, "402867 ") || !strings.HasSuffix(l.Text, "\n\n@id.example.com #402867\n") {
				t.Errorf("%s in %s: %q\n%s", kind, locale, l.Subject, l.Text)
			}
		}
	}
}

func TestSamplesHaveCodesAsTheyAreSent(t *testing.T) {
	h := newOpenHouse(t, func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
	b := h.browser()
	b.post(b.formOf("/reset"), fields("username", "alice"))
	b.post(b.formOf("/login/code?tx="+b.asked()), fields("username", "alice"))
	b.post(b.formOf("/signup"), filled())
	form := func(code string) string { return regexp.MustCompile("[0-9]").ReplaceAllString(code, "9") }
	for _, m := range h.mails() {
		if got, want := form(sampleMail(t, m.Kind).Args["code"]), form(m.Args["code"]); got != want || want == "" {
			t.Errorf("%s: the sample's code is like %q, one that is sent like %q", m.Kind, got, want)
		}
	}
}

func TestS0_45_MailSaysUntilWhenItsLinkIsGood(t *testing.T) {
	m := sampleMail(t, "verify_link")
	for zone, want := range map[string]string{
		"": "It works once, until 25 November 2026, 14:05 (UTC).", "Europe/Berlin": "It works once, until 25 November 2026, 15:05 (Europe/Berlin).",
		"No/Where": "until 25 November 2026, 14:05 (UTC).", "Local": "until 25 November 2026, 14:05 (UTC).", "../../etc/passwd": "14:05 (UTC)",
	} {
		m.Args["zone"] = zone
		if got := render(t, m).Text; !strings.Contains(got, want) {
			t.Errorf("zone %q: it does not say %q:\n%s", zone, want, got)
		}
	}
	m.Locale, m.Args["zone"] = "de-AT", "Europe/Vienna"
	if got := render(t, m).Text; !strings.Contains(got, "25. November 2026, 15:05 Uhr (Europe/Vienna)") {
		t.Errorf("%s", got)
	}
}

func TestS0_24_WhoeverHasAnAccountIsToldThatSomebodyWantsAnother(t *testing.T) {
	wantMail(t, "account_exists", "You already have an account at Acme",
		"Somebody tried to create an account at Acme with this e-mail address.", "stays yours alone", "Sign in:\n"+testIssuer+"/login\n", "nobody got into your account")
}

func TestS0_24_WhoeverHasAnAddressIsToldWhatSomebodyWantedItFor(t *testing.T) {
	for name, want := range map[string]string{
		"account_exists": "create an account", "account_exists bare": "create an account", "account_exists for an account": "to add this e-mail address to another account",
	} {
		if got := render(t, mails()[name]).Text; !strings.Contains(got, want) {
			t.Errorf("%s does not say %q:\n%s", name, want, got)
		}
	}
}

func TestS0_61_MailOfANewSignInSaysWhoAndHasOneWayOut(t *testing.T) {
	l := wantMail(t, "new_sign_in", "New sign-in to your Acme account",
		"Hello Alice,", "When: 22 November 2026, 15:05 (Europe/Berlin)", "Where: near Berlin, Germany", "Network address: 203.0.113.7", "With: Chrome on Windows", "App: Grafana",
		"If this was you, there is nothing to do.", "It wasn't me:\n"+testIssuer+sampleNotMe+"\n", "We never ask for your password by e-mail.")
	if n := strings.Count(l.Text, "://"); n != 1 {
		t.Errorf("%d links, want one:\n%s", n, l.Text)
	}
}

func TestS0_76_MailsAboutSafetySayWhenFromWhereAndWithWhat(t *testing.T) {
	for _, k := range mailKinds {
		if !k.notice {
			continue
		}
		wantMail(t, k.name, "", "When: 22 November 2026, 15:05 (Europe/Berlin)", "Where: near Berlin, Germany", "Network address: 203.0.113.7", "With: Chrome on Windows")
		m := sampleMail(t, k.name)
		for _, name := range []string{"link", "not_me"} {
			if !slices.Contains(k.needs, name) {
				delete(m.Args, name)
			}
		}
		if l := render(t, m); !strings.Contains(l.Text, "it wasn't you") {
			t.Errorf("%s leaves alone who did not do it:\n%s", k.name, l.Text)
		}
	}
}

func TestS0_77_EveryChangeOfThePasswordHasItsMail(t *testing.T) {
	wantMail(t, "password_changed", "Your Acme password was changed", "It wasn't me:")
	wantMail(t, "password_reset", "Your Acme password was reset", "by means of a message that we sent to you", "It wasn't me:")
	wantMail(t, "password_set", "Your Acme account has a password now", "which had none before", "It wasn't me:")
}

func TestS0_78_EveryChangeOfAnAddressHasItsMail(t *testing.T) {
	wantMail(t, "email_added", "An e-mail address was added to your Acme account", "E-mail address: alice@work.example", "It wasn't me:")
	wantMail(t, "email_removed", "An e-mail address was removed from your Acme account", "E-mail address: alice@work.example", "It wasn't me:")
	wantMail(t, "email_primary_changed", "Your Acme account has a new main e-mail address", "E-mail address: alice@work.example", "It wasn't me:")
	wantMail(t, "email_verified", "An e-mail address of your Acme account was confirmed", "E-mail address: alice@work.example", "It wasn't me:")
	wantMail(t, "email_revert", "The e-mail address of your Acme account was changed", "E-mail address: alice@work.example",
		"It works once, until 29 November 2026, 15:05 (Europe/Berlin).", "Undo the change:\n"+testIssuer+"/account/revert?")
}

func TestS0_61_WhoSaidThatItWasNotThemIsToldWhatIsGoneAndWhatToDo(t *testing.T) {
	wantMail(t, "secured", "Choose a new password for your Acme account", "Your old password works no more.",
		"since they may not be yours: passkeys or security keys, recovery codes.", "Choose a new password:\n"+testIssuer+"/reset/link?ticket=")
	for name, m := range map[string]idp.Mail{"with a password": sampleMail(t, "secured"), "without one": mails()["secured without a password"]} {
		for _, locale := range []string{"en", "de"} {
			m.Locale = locale
			l := render(t, m)
			for _, untrue := range []string{"ignore this message", "ignorieren", "stays as it is", "bleibt, wie es ist", "enter this code", "geben Sie diesen Code"} {
				if strings.Contains(l.Text, untrue) || strings.Contains(l.HTML, untrue) {
					t.Errorf("%s, %s: it says %q:\n%s", name, locale, untrue, l.Text)
				}
			}
		}
	}
	without := mails()["secured without a password"]
	if l := render(t, without); strings.Contains(l.Text, "old password") || !strings.Contains(l.Text, "yours: an authenticator app.") {
		t.Errorf("without a password:\n%s", l.Text)
	}
	nothing := sampleMail(t, "secured")
	nothing.Args["removed"] = ""
	if l := render(t, nothing); strings.Contains(l.Text, "may not be yours") {
		t.Errorf("nothing was removed:\n%s", l.Text)
	}
}

func TestS0_80_EveryChangeOfASecondFactorHasItsMail(t *testing.T) {
	wantMail(t, "factor_added", "A passkey was added to your Acme account", "It can be used to sign in.", "Name: YubiKey 5", "It wasn't me:\n"+testIssuer+sampleNotMe+"\n")
	wantMail(t, "factor_removed", "An authenticator app was removed from your Acme account", "Its codes work no more.", "It wasn't me:")
	wantMail(t, "recovery_codes_made", "New recovery codes for your Acme account", "The former ones work no more.", "It wasn't me:")
	wantMail(t, "factors_reset", "Two-step verification of your Acme account was turned off", "An administrator turned off", "set up two-step verification again", "ask whoever runs Acme")
	wantMail(t, "passkey_copied", "A passkey of your Acme account may have been copied", "We refused it.", "Name: YubiKey 5", "Remove it in your account and add another one.", "It wasn't me:")
	for name, want := range map[string][2]string{
		"factor_added in other words":   {"An authenticator app was added to your Acme account", "From now on we ask for its code"},
		"factor_removed in other words": {"A passkey was removed from your Acme account", "Name: My phone"},
	} {
		if l := render(t, mails()[name]); l.Subject != want[0] || !strings.Contains(l.Text, want[1]) {
			t.Errorf("%s: %q\n%s", name, l.Subject, l.Text)
		}
	}
}

func TestS0_80_MailOfAUsedRecoveryCodeSaysHowManyAreLeft(t *testing.T) {
	for left, few := range map[string]bool{"9": false, "4": false, "3": true, "1": true, "0": true} {
		m := sampleMail(t, "recovery_code_used")
		m.Args["left"] = left
		l := render(t, m)
		if !strings.Contains(l.Text, "You have "+left+" left.") || strings.Contains(l.Text, "make new ones, under Recovery codes") != few {
			t.Errorf("%s left:\n%s", left, l.Text)
		}
	}
}

func TestS0_79_FirstSignInIsAWelcome(t *testing.T) {
	wantMail(t, "welcome", "Welcome to Acme", "Your Acme account is ready.", "Account: alice", "Open my account:\n"+testIssuer+"/account\n")
}

func TestS0_80_EveryOtherEventHasItsMail(t *testing.T) {
	wantMail(t, "admin_changed", "An administrator changed your Acme account", "Changed: password, e-mail address\n")
	wantMail(t, "consent_given", "A new app can use your Acme account", "App: Grafana", "See connected apps:\n"+testIssuer+"/account/apps\n")
	wantMail(t, "refresh_reuse", "An app's access to your Acme account was ended", "was used twice", "App: Grafana")
	wantMail(t, "account_disabled", "Your Acme account was turned off", "An administrator turned off")
	wantMail(t, "account_deletion", "Your Acme account will be deleted", "will be deleted on 29 November 2026, 15:05 (Europe/Berlin).", "Keep my account:\n"+testIssuer+"/account/undelete?")
	wantMail(t, "account_deleted", "Your Acme account was deleted", "It cannot be brought back")
}

func TestS4_60_MailOfALockoutSaysWhatHappenedAndWhatToDo(t *testing.T) {
	m := sampleMail(t, "lockout")
	m.Args["user_agent"] = "curl/8"
	l := render(t, m)
	for _, body := range []string{l.Text, l.HTML} {
		for _, part := range []string{"alice", "22 November 2026, 14:05 (UTC)", "203.0.113.9", "22 November 2026, 14:20 (UTC)", "failed 5 times", "If that was not you"} {
			if !strings.Contains(body, part) {
				t.Errorf("it does not say %q:\n%s", part, body)
			}
		}
		if strings.Contains(body, "curl") {
			t.Error("a stranger put words into it")
		}
	}
}

func TestS2_06_DigestOfTheHoneypotCounts(t *testing.T) {
	wantMail(t, "honeypot_block", "Acme: a network is blocked since it came to the honeypot", "until 23 November 2026, 14:05 (UTC)",
		"Network: 2001:db8:1:2::/64", "“postern lockout reset --ip 2001:db8:1:2::9” ends the block at once.")
	wantMail(t, "honeypot_digest", "Acme: further attempts in the honeypot", "99 further attempts", "since 22 November 2026, 13:05 (UTC)")
}

func TestS2_07_MailOfTheHoneypotSaysWhoAndEscapes(t *testing.T) {
	d := deliver(t, mails()["honeypot hostile"])
	for _, part := range []string{"Path: root  <script>alert(1)</script>  Bcc: evil@example.com  https[:]//evil.example/x <b>", "22 November 2026, 14:05 (UTC)", "is blocked now"} {
		if !strings.Contains(d.plain, part) {
			t.Errorf("it does not say %q:\n%s", part, d.plain)
		}
	}
	if !strings.Contains(d.rich, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Errorf("not escaped:\n%s", d.rich)
	}
	wantMail(t, "honeypot", "Acme: somebody was caught in the honeypot", "203.0.113.9", "/wp-login.php", "Username that was entered: root", "Browser: curl/8.5.0")
}

// sampleMail is the sample of a kind.
func sampleMail(t *testing.T, kind string) idp.Mail {
	t.Helper()
	for _, m := range MailSamples(testIssuer) {
		if m.Kind == kind {
			return m
		}
	}
	t.Fatalf("no sample of %s", kind)
	return idp.Mail{}
}

func mailConfig() *config.Config {
	cfg := config.Default()
	cfg.Issuer, cfg.Branding.Name, cfg.Branding.Support = testIssuer, "Acme", "mailto:help@example.com"
	return cfg
}

func render(t *testing.T, m idp.Mail) *Letter {
	t.Helper()
	l, err := RenderMail(mailConfig(), m)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantMail holds the sample of a kind to a subject, "" for any, and to what its text says.
func wantMail(t *testing.T, kind, subject string, says ...string) *Letter {
	t.Helper()
	l := render(t, sampleMail(t, kind))
	if subject != "" && l.Subject != subject {
		t.Errorf("%s: subject %q, want %q", kind, l.Subject, subject)
	}
	for _, part := range says {
		if !strings.Contains(l.Text, part) {
			t.Errorf("%s does not say %q:\n%s", kind, part, l.Text)
		}
	}
	return l
}

func TestMailWithWhatMustNotBeInItIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ kind, arg, value string }{
		"no code":                     {"verify_code", "code", ""},
		"a code that ends the line":   {"verify_code", "code", "402867\r\nBcc: eve@example.com"},
		"a code that is a text":       {"verify_code", "code", "402867 is wrong, use 111111"},
		"no link":                     {"reset", "link", ""},
		"a link to elsewhere":         {"reset", "link", "https://evil.example/reset"},
		"a link to a namesake":        {"reset", "link", testIssuer + ".evil.example/reset"},
		"a link with a user":          {"reset", "link", "https://id.example.com@evil.example/"},
		"a link without https":        {"reset", "link", "http://id.example.com/reset"},
		"a link that is script":       {"reset", "link", "javascript:alert(1)"},
		"a link that ends the line":   {"reset", "link", testIssuer + "/reset\r\nevil"},
		"a link with markup":          {"reset", "link", testIssuer + "/\"><b>"},
		"a way out that leads astray": {"new_sign_in", "not_me", "https://evil.example/"},
		"an end that is no time":      {"invite", "expires", "tomorrow"},
	} {
		m := sampleMail(t, c.kind)
		m.Args[c.arg] = c.value
		if l, err := RenderMail(mailConfig(), m); !errors.Is(err, idp.ErrMailRefused) {
			t.Errorf("%s: %v %v", name, l, err)
		} else if c.value != "" && strings.Contains(err.Error(), c.value) {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

func TestMessageIDDoesNotTellTheCode(t *testing.T) {
	m := sampleMail(t, "verify_code")
	first := deliver(t, m).header.Get("Message-Id")
	m.Args["code"] = "111111"
	if other := deliver(t, m).header.Get("Message-Id"); other != first {
		t.Errorf("%s with one code, %s with another", first, other)
	}
	m.To = "bob@example.com"
	if other := deliver(t, m).header.Get("Message-Id"); other == first {
		t.Errorf("two mails are %s", first)
	}
}

func TestDomainOfAnIssuerWithoutNameIsALiteral(t *testing.T) {
	for issuer, want := range map[string]string{
		"http://127.0.0.1:8080": "[127.0.0.1]", "http://[::1]:8080": "[IPv6:::1]", "http://localhost:8080": "localhost",
	} {
		cfg := config.Default()
		cfg.Issuer = issuer
		l, err := newLetters(cfg)
		if err != nil || l.domain != want {
			t.Errorf("%s: %q %v, want %q", issuer, l.domain, err, want)
		}
	}
}

func TestMailerSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ transport, from, want string }{
		{"imap://u:hunter2@mail", "a@example.com", "mail.transport"}, {"smtp://", "a@example.com", "mail.transport"}, {"dir:", "a@example.com", "mail.transport"},
		{"dir:" + file, "a@example.com", "mail.transport"}, {"dir:" + t.TempDir(), "nobody", "mail.from"},
	} {
		cfg := config.Default()
		cfg.Issuer, cfg.Mail = "https://id.example.com", config.Mail{Transport: c.transport, From: c.from}
		if m, err := NewMailer(cfg, nil); err == nil || m != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v %v", c.transport, m, err)
		}
	}
	if m, err := NewMailer(config.Default(), nil); m != nil || err != nil {
		t.Errorf("no transport: %v %v", m, err)
	}
}

func TestMailThatCannotBeMadeLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Issuer, cfg.Mail = "https://id.example.com", config.Mail{Transport: "dir:" + dir, From: "a@example.com"}
	mailer, err := NewMailer(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m     idp.Mail
		final bool
	}{
		{idp.Mail{Kind: "of tomorrow", To: "a@example.com"}, false}, {idp.Mail{Kind: "letter", To: "a@example.com"}, false},
		{idp.Mail{Kind: "welcome", To: "secret@example.com, b@example.com"}, true}, {idp.Mail{Kind: "welcome", To: "secret@example.com\r\nBcc: b@example.com"}, true},
		{idp.Mail{Kind: "welcome", To: "secret"}, true}, {idp.Mail{Kind: "verify_code", To: "secret@example.com"}, true},
	} {
		c.m.At = time.Unix(0, 0)
		if err := mailer.Send(t.Context(), c.m); err == nil || errors.Is(err, idp.ErrMailRefused) != c.final || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s to %q: %v", c.m.Kind, c.m.To, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("%v", entries)
	}
}

// S0-61: a mail tells where and with what something was done, as far as address and User-Agent say.
func TestS0_61_MailsTellWhereAndWithWhat(t *testing.T) {
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	where := func(address, locale string) (city, country string) {
		if address != "203.0.113.7" {
			return "", ""
		}
		return "Cologne", map[string]string{"en": "Germany", "de": "Deutschland"}[locale]
	}
	for _, c := range []struct {
		name, locale   string
		address, agent string
		want           []string
		never          string
	}{
		{"all is known", "en", "203.0.113.7", firefox, []string{"near Cologne, Germany", "Firefox on Linux", "203.0.113.7"}, "Mozilla"},
		{"in their language", "de", "203.0.113.7", firefox, []string{"Cologne, Deutschland"}, "Germany"},
		{"a place that nobody knows", "en", "198.51.100.1", firefox, []string{"198.51.100.1", "Firefox on Linux"}, "near"},
		{"a system alone", "en", "203.0.113.7", "Mozilla/5.0 (X11; Linux x86_64) Unheard/1", []string{"Linux"}, "Unheard"},
		{"a program that lies", "en", "203.0.113.7", "https://evil.example <b>", []string{"near Cologne"}, "evil"},
		{"nothing", "en", "", "", []string{"just used to sign in"}, "near"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := newLetters(mailConfig())
			if err != nil {
				t.Fatal(err)
			}
			l.where = where
			m := idp.Mail{Kind: "new_sign_in", Locale: c.locale, Args: map[string]string{"address": c.address, "user_agent": c.agent}}
			letter, err := l.write(m)
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{letter.Text, letter.HTML} {
				for _, word := range c.want {
					if !strings.Contains(strings.ToLower(body), strings.ToLower(word)) {
						t.Errorf("it lacks %q:\n%s", word, body)
					}
				}
				if strings.Contains(body, c.never) {
					t.Errorf("it has %q:\n%s", c.never, body)
				}
			}
		})
	}
}
