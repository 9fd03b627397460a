package loginui

import (
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	i18ntemplate "github.com/nicksnyder/go-i18n/v2/i18n/template"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// languageCookie keeps the language that a person chose, and when: "de.1764000000".
const languageCookie = "postern_language"

// languageLife is how long the choice of a language is kept.
const languageLife = 365 * 24 * time.Hour

// A catalogue holds the texts of every language.
type catalogue struct {
	bundle  *i18n.Bundle
	tags    []language.Tag // the first is the default
	locales map[string]*locale
	matcher language.Matcher
	keys    map[string]bool // of all texts; every language has the same
}

// A locale is one language that the pages speak.
type locale struct {
	Tag       string // BCP 47
	Dir       string // ltr or rtl
	Name      string // in its own language
	localizer *i18n.Localizer
}

// rightToLeft are the scripts that are written from right to left, among those of the languages
// that one may expect here.
var rightToLeft = []string{"Arab", "Hebr", "Thaa", "Syrc", "Nkoo"}

func newCatalogue() (*catalogue, error) {
	c := &catalogue{bundle: i18n.NewBundle(language.English), locales: map[string]*locale{}, keys: map[string]bool{}}
	c.bundle.RegisterUnmarshalFunc("json", json.Unmarshal)
	names, err := fs.Glob(files, "locales/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		file, err := c.bundle.LoadMessageFileFS(files, name)
		if err != nil {
			return nil, fmt.Errorf("texts: %s: %w", name, err)
		}
		for _, m := range file.Messages {
			c.keys[m.ID] = true
		}
		c.add(language.Make(strings.TrimSuffix(path.Base(name), ".json")))
	}
	slices.SortFunc(c.tags, func(a, b language.Tag) int {
		switch language.English {
		case a:
			return -1
		case b:
			return 1
		}
		return strings.Compare(a.String(), b.String())
	})
	c.matcher = language.NewMatcher(c.tags)
	return c, nil
}

func (c *catalogue) add(tag language.Tag) {
	l := &locale{
		Tag: tag.String(), Dir: "ltr", Name: display.Self.Name(tag),
		localizer: i18n.NewLocalizer(c.bundle, tag.String()),
	}
	if script, _ := tag.Script(); slices.Contains(rightToLeft, script.String()) {
		l.Dir = "rtl"
	}
	c.tags = append(c.tags, tag)
	c.locales[l.Tag] = l
}

// maxWish is how many bytes a list of languages may have, several times what browsers send: to read
// a header full of them takes milliseconds, at no cost to whoever sends it.
const maxWish = 1 << 10

// match returns the language that fits the wishes best, in the order of preference, and whether
// any of them fits at all. Each wish may be a list as Accept-Language has it.
func (c *catalogue) match(wishes ...string) (*locale, bool) {
	var tags []language.Tag
	for _, wish := range wishes {
		if len(wish) > maxWish {
			continue
		}
		// A wish that cannot be read is none.
		list, _, _ := language.ParseAcceptLanguage(wish)
		tags = append(tags, list...)
	}
	_, i, confidence := c.matcher.Match(tags...)
	return c.locales[c.tags[i].String()], confidence > language.No
}

// named returns the language with exactly this tag, nil for none.
func (c *catalogue) named(tag string) *locale { return c.locales[tag] }

// has tells whether there is a text for key.
func (c *catalogue) has(key string) bool { return c.keys[key] }

// text is the text for key with args put in: pairs of a name and a value. The value named count
// chooses the plural form. A key without a text is a defect of ours.
func (l *locale) text(key string, args ...any) string {
	c := i18n.LocalizeConfig{MessageID: key, TemplateParser: braces{}}
	values := make(map[string]string, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		name := args[i].(string)
		values[name] = fmt.Sprint(args[i+1])
		if name == "count" {
			c.PluralCount = args[i+1]
		}
	}
	c.TemplateData = values
	text, err := l.localizer.Localize(&c)
	if err != nil {
		panic(fmt.Sprintf("loginui: text %s: %v", key, err))
	}
	return text
}

// markup is text for HTML, with each value that is put in isolated from the direction of the words
// around it (UAX #9 §6.1). A value that is HTML stays as it is.
func (l *locale) markup(key string, args ...any) template.HTML {
	escaped := slices.Clone(args)
	for i := 1; i < len(escaped); i += 2 {
		if escaped[i-1] == "count" {
			continue
		}
		value, ok := escaped[i].(template.HTML)
		if !ok {
			value = template.HTML("<bdi>" + html.EscapeString(fmt.Sprint(escaped[i])) + "</bdi>")
		}
		escaped[i] = "\x02" + value + "\x03"
	}
	// The words themselves are ours, but are escaped like any other text; the values are marked
	// until then, since they were escaped before.
	var b strings.Builder
	for rest := l.text(key, escaped...); rest != ""; {
		words, after, found := strings.Cut(rest, "\x02")
		b.WriteString(html.EscapeString(words))
		if !found {
			break
		}
		value, next, _ := strings.Cut(after, "\x03")
		b.WriteString(value)
		rest = next
	}
	return template.HTML(b.String())
}

// braces puts values in place of {name}.
type braces struct{}

// Cacheable implements template.Parser of go-i18n.
func (braces) Cacheable() bool { return false }

// Parse implements template.Parser of go-i18n.
func (braces) Parse(src, _, _ string) (i18ntemplate.ParsedTemplate, error) {
	return bracedText(src), nil
}

type bracedText string

// Execute puts in the values of data, a map of strings. A name without a value is an error.
func (t bracedText) Execute(data any) (string, error) {
	values, _ := data.(map[string]string)
	var b strings.Builder
	rest := string(t)
	for {
		words, after, found := strings.Cut(rest, "{")
		b.WriteString(words)
		if !found {
			return b.String(), nil
		}
		name, next, closed := strings.Cut(after, "}")
		value, known := values[name]
		if !closed || !known {
			return "", fmt.Errorf("no value for {%s}", name)
		}
		b.WriteString(value)
		rest = next
	}
}

// negotiate chooses the language of a request: what its address asks for, then what the person
// chose before, then what the browser prefers.
func (ui *UI) negotiate(r *http.Request) *locale {
	if l := ui.chosenNow(r); l != nil {
		return l
	}
	if l, _ := ui.chosenBefore(r); l != nil {
		return l
	}
	l, _ := ui.texts.match(r.Header.Get("Accept-Language"))
	return l
}

// negotiateFor chooses the language of a page of an interaction. ui_locales (OpenID Connect Core
// 1.0 §3.1.2.1) goes before everything but a choice that the person made since the request began.
func (ui *UI) negotiateFor(r *http.Request, wishes []string, began time.Time) *locale {
	if l := ui.chosenNow(r); l != nil {
		return l
	}
	if l, at := ui.chosenBefore(r); l != nil && !at.Before(began.Truncate(time.Second)) {
		return l
	}
	if l, fits := ui.texts.match(wishes...); fits {
		return l
	}
	return ui.negotiate(r)
}

// chosenNow is the language of the parameter lang, nil for none that we speak.
func (ui *UI) chosenNow(r *http.Request) *locale { return ui.texts.named(r.URL.Query().Get("lang")) }

// chosenBefore is the language of the cookie and when it was chosen, nil for none.
func (ui *UI) chosenBefore(r *http.Request) (*locale, time.Time) {
	cookie, err := r.Cookie(languageCookie)
	if err != nil {
		return nil, time.Time{}
	}
	tag, at, _ := strings.Cut(cookie.Value, ".")
	seconds, _ := strconv.ParseInt(at, 10, 64)
	return ui.texts.named(tag), time.Unix(seconds, 0)
}

// keepLanguage remembers the language that the person has just chosen.
func (ui *UI) keepLanguage(w http.ResponseWriter, l *locale) {
	http.SetCookie(w, &http.Cookie{
		Name: languageCookie, Value: l.Tag + "." + strconv.FormatInt(ui.now().Unix(), 10), Path: "/",
		MaxAge: int(languageLife / time.Second), HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	})
}
