package loginui

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// elements lists the elements of a page in their order.
func elements(t *testing.T, body string) []*html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var list []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			list = append(list, n)
		}
	}
	return list
}

func named(list []*html.Node, name string) []*html.Node {
	return slices.DeleteFunc(slices.Clone(list), func(n *html.Node) bool { return n.Data != name })
}

// attribute is "" where there is none.
func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func words(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestEveryPageIsSoundInEveryLanguage(t *testing.T) {
	for _, s := range renderings(t) {
		t.Run(s.locale+" "+s.name, func(t *testing.T) {
			list := elements(t, s.body)
			checkFrame(t, s, list)
			checkForms(t, s, list)
			checkScripts(t, list)
			if strings.Contains(s.body, "ZgotmplZ") {
				t.Error("html/template refused a value")
			}
			if n := len(s.body); n > 30<<10 {
				t.Errorf("%d bytes, want at most 30 KiB", n)
			}
		})
	}
}

func checkFrame(t *testing.T, s rendering, list []*html.Node) {
	t.Helper()
	root := named(list, "html")[0]
	if attribute(root, "lang") != s.locale || attribute(root, "dir") != "ltr" {
		t.Errorf("lang %q, dir %q", attribute(root, "lang"), attribute(root, "dir"))
	}
	if n := len(named(list, "h1")); n != 1 {
		t.Errorf("%d h1, want 1", n)
	}
	if n := len(named(list, "main")); n != 1 {
		t.Errorf("%d main, want 1", n)
	}
	title := words(named(list, "title")[0])
	prefix := map[string]string{"en": "Error: ", "de": "Fehler: "}[s.locale]
	failed := slices.ContainsFunc(list, func(n *html.Node) bool { return attribute(n, "role") == "alert" })
	if strings.HasPrefix(title, prefix) != failed {
		t.Errorf("title %q, and an alert is there: %v", title, failed)
	}
	if secret := strings.HasPrefix(s.name, "honeypot"); strings.HasSuffix(title, " – Acme") == secret || secret && strings.Contains(s.body, "Acme") {
		t.Errorf("title %q; a page says whose it is, unless it is the honeypot's", title)
	}
	exits := 0
	for _, n := range list {
		role := attribute(n, "role")
		if (role == "alert" || role == "status" || attribute(n, "class") == "error") && attribute(n, "data-error-code") == "" {
			t.Errorf("<%s class=%q> has no data-error-code", n.Data, attribute(n, "class"))
		}
		if n.Data == "a" && strings.Contains(attribute(n, "class"), "button") || n.Data == "button" && attribute(n, "type") == "submit" {
			exits++
		}
	}
	if exits == 0 && s.name != "account" && s.name != "account without e-mail" {
		t.Error("a dead end")
	}
}

func checkForms(t *testing.T, s rendering, list []*html.Node) {
	t.Helper()
	labels, ids := map[string]bool{}, map[string]bool{}
	for _, n := range list {
		if n.Data == "label" {
			labels[attribute(n, "for")] = true
		}
		if id := attribute(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %s", id)
			}
			ids[id] = true
		}
	}
	posts := 0
	for _, n := range list {
		switch {
		case n.Data == "form" && attribute(n, "method") == "post":
			posts++
			if !strings.Contains(attribute(n, "action"), "?tx=TX") && !strings.HasPrefix(s.name, "honeypot") {
				t.Errorf("the form's action %q has no tx", attribute(n, "action"))
			}
		case n.Data == "input" && attribute(n, "type") != "hidden":
			if !labels[attribute(n, "id")] && n.Parent.Data != "label" {
				t.Errorf("no label for %s", attribute(n, "name"))
			}
			if attribute(n, "type") != "checkbox" && attribute(n, "autocomplete") == "" {
				t.Errorf("no autocomplete for %s", attribute(n, "name"))
			}
			if attribute(n, "type") == "password" && has(n, "value") {
				t.Error("a password in the page")
			}
		}
		for _, name := range []string{"aria-describedby", "aria-labelledby", "aria-controls"} {
			for id := range strings.FieldsSeq(attribute(n, name)) {
				if !ids[id] {
					t.Errorf("%s names %q, which is not there", name, id)
				}
			}
		}
		if href := attribute(n, "href"); n.Data == "a" && strings.HasPrefix(href, "#") && !ids[href[1:]] {
			t.Errorf("a link to %s, which is not there", href)
		}
	}
	if posts > 1 {
		t.Errorf("%d forms that post, want one at most", posts)
	}
}

func checkScripts(t *testing.T, list []*html.Node) {
	t.Helper()
	for _, n := range list {
		if n.Data == "style" || n.Data == "script" && (attribute(n, "src") == "" || n.FirstChild != nil) {
			t.Errorf("an inline <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s %s>", n.Data, a.Key)
			}
		}
		for _, name := range []string{"src", "href"} {
			if a := attribute(n, name); n.Data != "a" && a != "" && !strings.HasPrefix(a, staticPath) {
				t.Errorf("<%s> loads %s", n.Data, a)
			}
		}
	}
}

// Password managers and tests key on these: they never change without a note in CHANGELOG.md.
func TestIDsAndNamesStayAsTheyAre(t *testing.T) {
	want := map[string]string{
		"login": "form /login?tx=TX · input#[passkeys] hidden · input#username[username] text username webauthn required · input#password[password] password current-password required · " +
			"input#[remember] checkbox · button#sign-in[] · button#cancel[cancel=cancel]",
		"continue": "form /login/continue?tx=TX · button#continue[] · button#cancel[cancel=cancel]",
		"consent":  "form /consent?tx=TX · button#deny[decision=deny] · button#allow[decision=allow]",
		"logout":   "form /logout?tx=TX · button#confirm-logout[]",
		"password": "form /account/password?tx=TX · input#username[username] text username · input#password[password] password current-password required · " +
			"input#new_password[new_password] password new-password required · button#change-password[]",
		"email add":      "form /account/emails/add?tx=TX · input#email[email] email email required · button#add-email[]",
		"email code":     "form /account/emails/code?tx=TX · input#code[code] text one-time-code required · button#verify-email[] · button#resend[resend=1]",
		"sessions":       "form /account/sessions?tx=TX · button#[session=s1] · button#[session=s2] · button#end-others[session=others]",
		"appearance":     "form /account/appearance?tx=TX · button#save-appearance[]",
		"data":           "form /account/data?tx=TX · button#download[]",
		"delete":         "form /account/delete?tx=TX · input#confirm[confirm] text off required · button#delete-account[]",
		"reauthenticate": "form /account/reauthenticate?tx=TX · input#username[username] text username · input#password[password] password current-password required · button#confirm-me[]",
		"login again": "form /login?tx=TX&another=1 · input#[passkeys] hidden · input#username[username] text username webauthn required · input#password[password] password current-password required · " +
			"button#sign-in[] · button#cancel[cancel=cancel]",
		"factor app": "form /login/factor?tx=TX · input#[way] hidden · input#[passkeys] hidden · input#code[code] text one-time-code required · input#[trust] checkbox · " +
			"button#confirm[] · button#cancel[cancel=cancel]",
		"factor key":            "form /login/factor?tx=TX · input#[state] hidden · input#[credential] hidden · button#cancel[cancel=cancel]",
		"enrol":                 "form /login/enrol?tx=TX · button#enrol-app[] · button#cancel[cancel=cancel]",
		"enrol app":             "form /login/enrol/app?tx=TX · input#code[code] text one-time-code required · button#turn-on[]",
		"enrol key":             "form /login/enrol/key?tx=TX · input#[state] hidden · input#[credential] hidden",
		"offer":                 "form /login/passkey/offer?tx=TX · input#[state] hidden · input#[credential] hidden",
		"reauthenticate by app": "form /account/reauthenticate?tx=TX · input#[way] hidden · input#code[code] text one-time-code required · button#confirm[]",
		"two-step off":          "form /account/two-step?tx=TX · button#add-app[]",
		"two-step remove app":   "form /account/two-step?tx=TX · button#remove-factor[remove=f4]",
		"two-step app":          "form /account/two-step/app/code?tx=TX · input#code[code] text one-time-code required · button#turn-on[]",
		"passkeys rename":       "form /account/passkeys?tx=TX · input#[rename] hidden · input#name[name] text off · button#rename[]",
		"passkeys add":          "form /account/passkeys/add?tx=TX · input#name[name] text off · input#[state] hidden · input#[credential] hidden",
		"recovery codes":        "form /account/recovery-codes?tx=TX · input#[set] hidden · input#confirm[confirm] checkbox required · button#make-codes[]",
	}
	got := map[string]string{}
	for _, s := range renderings(t) {
		if _, ok := want[s.name]; ok && s.locale == "en" {
			got[s.name] = controls(elements(t, s.body))
		}
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s:\n got %s\nwant %s", name, got[name], want[name])
		}
	}
}

// controls describes the form that posts.
func controls(list []*html.Node) string {
	var parts []string
	for _, form := range named(list, "form") {
		if attribute(form, "method") != "post" {
			continue
		}
		parts = append(parts, "form "+attribute(form, "action"))
		for n := range form.Descendants() {
			part := n.Data + "#" + attribute(n, "id") + "[" + attribute(n, "name") + "]"
			switch {
			case n.Type == html.ElementNode && n.Data == "input":
				part += " " + attribute(n, "type")
				if a := attribute(n, "autocomplete"); a != "" {
					part += " " + a
				}
				if has(n, "required") {
					part += " required"
				}
			case n.Type == html.ElementNode && n.Data == "button" && attribute(n, "type") == "submit":
				if value := attribute(n, "value"); value != "" {
					part = strings.TrimSuffix(part, "]") + "=" + value + "]"
				}
			default:
				continue
			}
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " · ")
}

func TestEveryTemplateHasASample(t *testing.T) {
	ui := sampleUI(t)
	seen := map[string]bool{"problem.html": len(problems) > 0}
	for _, s := range samples() {
		seen[s.page(&frame{locale: ui.texts.named("en")}).template()] = true
	}
	for name := range ui.pages.templates {
		if !seen[name] {
			t.Errorf("%s has no sample", name)
		}
	}
}

// texts reads a file of texts; a plural's forms are one text.
func texts(t *testing.T, locale string) map[string]string {
	t.Helper()
	content, err := files.ReadFile("locales/" + locale + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := json.Unmarshal(content, &raw); err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for key, value := range raw {
		switch v := value.(type) {
		case string:
			list[key] = v
		case map[string]any:
			for _, form := range slices.Sorted(maps.Keys(v)) {
				list[key] += v[form].(string) + "\n"
			}
		}
	}
	return list
}

// placeholders lists the names in braces, each once.
func placeholders(text string) []string {
	names := map[string]bool{}
	for _, part := range strings.Split(text, "{")[1:] {
		name, _, _ := strings.Cut(part, "}")
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func TestLanguagesHaveTheSameTexts(t *testing.T) {
	english, german := texts(t, "en"), texts(t, "de")
	if got, want := slices.Sorted(maps.Keys(german)), slices.Sorted(maps.Keys(english)); !slices.Equal(got, want) {
		t.Errorf("keys of de:\n%v\nof en:\n%v", got, want)
	}
	// What is the same word in both languages.
	same := []string{"sessions.apps", "sessions.details", "honeypot.title", "mail.fact.user_agent", "problem.code", "rate.in", "rate.long", "rate.seconds"}
	for key, text := range english {
		if !slices.Equal(placeholders(text), placeholders(german[key])) {
			t.Errorf("%s: %v in English, %v in German", key, placeholders(text), placeholders(german[key]))
		}
		if text == german[key] && !slices.Contains(same, key) {
			t.Errorf("%s is English in German: %q", key, text)
		}
	}
}

func TestEveryTextIsUsed(t *testing.T) {
	sources := ""
	for _, dir := range []string{".", "templates", "templates/parts", "templates/mail"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			content, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			sources += string(content)
		}
	}
	// Keys that code puts together.
	made := []string{"claim.", "scope.", "hint.", "error.", "notice.", "problem.", "consent.group.", "lockout.wait.", "lockout.stay.", "mail.", "link.",
		"account.check.", "account.to.", "profile.group.", "profile.field.", "profile.hint.", "activity.event.", "sudo.for.", "policy.", "feedback."}
	for key := range texts(t, "en") {
		if !strings.Contains(sources, `"`+key+`"`) && !slices.ContainsFunc(made, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("nobody says %s", key)
		}
	}
}

func TestPeopleReadNoJargon(t *testing.T) {
	for key, text := range texts(t, "en") {
		if strings.HasPrefix(key, "hint.") {
			continue // for developers
		}
		for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !(r >= 'a' && r <= 'z') }) {
			switch word {
			case "invalid", "illegal", "authenticate", "webauthn", "totp", "oidc", "oops", "login", "log", "client":
				t.Errorf("%s says %q: %s", key, word, text)
			}
		}
		if strings.Contains(text, "!") {
			t.Errorf("%s shouts: %s", key, text)
		}
	}
}

func TestStyleAndBehaviourStayWithinTheirBudgets(t *testing.T) {
	assets := sampleUI(t).assets
	for name, most := range map[string]int{"style.css": 10 << 10, "elements.js": 8 << 10, "icon.svg": 1 << 10} {
		if n := len(assets.byName[name].content); n > most {
			t.Errorf("%s has %d bytes, want at most %d", name, n, most)
		}
	}
	style := string(assets.byName["style.css"].content)
	for _, word := range []string{"!important", "@import", "url("} {
		if strings.Contains(style, word) {
			t.Errorf("style.css has %s", word)
		}
	}
	// What is written from right to left is the same style.
	if physical := regexp.MustCompile(`[\s;{](((margin|padding|border|inset)-)?(left|right|top|bottom)|(min-|max-)?(width|height))[a-z-]*:`).FindAllString(style, -1); physical != nil {
		t.Errorf("style.css says %q, which is not logical", physical)
	}
	entries, err := files.ReadDir("static/elements")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := files.ReadFile("static/elements/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(content), "\n"); n > 150 {
			t.Errorf("%s has %d lines, want at most 150", e.Name(), n)
		}
		if strings.Contains(string(content), "import ") || !strings.HasPrefix(string(content), "// @ts-check\n") {
			t.Errorf("%s imports something, or is not checked", e.Name())
		}
	}
}
