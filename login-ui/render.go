package loginui

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"postern/idp"
)

//go:embed templates locales static
var files embed.FS

// A page is the data of one template. Every page embeds *frame.
type page interface {
	template() string
	around() *frame
}

// A frame is what the layout needs around any page, and what every template may ask.
type frame struct {
	*locale
	Languages []*locale // to choose from; nil where the page's address cannot be asked for again
	Here      string    // the path of the page's address, which the language form asks for again
	Query     []pair    // of that address, which the form repeats
	Instance  string
	Support   string // a mailto: or https: address, "" for none
	Reference string // the request's ID
	Wide      bool   // whether the page has more than one form's worth of content
	Theme     string // light or dark, "" for what the system says

	Failed bool      // whether the title says that something went wrong
	Errors []message // what the person can mend, each beside its field
	Notice *message  // what the person should know
	Wait   *wait     // how long the person must wait, nil where they need not

	assets      *assets
	host        string // of the issuer
	redirectURI string // validated, of the interaction that the page belongs to; "" for none
	isolated    bool   // outside the authorization flow, so that no relying party's popup is cut off
	secret      bool   // whether the page's address holds a token, which no referrer may tell
}

// A pair is a name and a value.
type pair struct{ Name, Value string }

// A message is a text in the page's language with the stable code that tools read.
type message struct{ Code, Field, Text string }

func (f *frame) around() *frame { return f }

// T is the text for key, with args put in: pairs of a name and a value.
func (f *frame) T(key string, args ...any) string { return f.text(key, args...) }

// H is T as HTML, with each value isolated in a bdi element.
func (f *frame) H(key string, args ...any) template.HTML { return f.markup(key, args...) }

// Asset is the address of a static file.
func (f *frame) Asset(name string) string { return f.assets.address(name) }

// ErrorOf is the first error of a field, nil for none.
func (f *frame) ErrorOf(field string) *message {
	for i := range f.Errors {
		if f.Errors[i].Field == field {
			return &f.Errors[i]
		}
	}
	return nil
}

// ErrorsOf are all errors of a field.
func (f *frame) ErrorsOf(field string) []message {
	return slices.DeleteFunc(slices.Clone(f.Errors), func(m message) bool { return m.Field != field })
}

// frame makes the frame of a page that answers r.
func (ui *UI) frame(r *http.Request) *frame {
	v := idp.VisitorFrom(r.Context())
	l := ui.texts.named(v.Locale)
	if l == nil {
		l = ui.negotiate(r)
	}
	f := &frame{
		locale: l, Theme: lookOf(r), Here: localPath(r.URL.EscapedPath()), Instance: ui.cfg.Branding.Name, Support: ui.cfg.Branding.Support,
		Reference: v.RequestID, assets: ui.assets, host: ui.issuer.Host, secret: ticketOf(r) != "" || inviteOf(r) != "",
	}
	if f.Query = queryOf(r); f.Query == nil {
		return f
	}
	f.Languages = ui.languages()
	return f
}

// languages are those that the pages speak, the default first.
func (ui *UI) languages() []*locale {
	list := make([]*locale, 0, len(ui.texts.tags))
	for _, tag := range ui.texts.tags {
		list = append(list, ui.texts.locales[tag.String()])
	}
	return list
}

// first is what is wrong with the page, nil for nothing.
func (f *frame) first() *message {
	if len(f.Errors) > 0 {
		return &f.Errors[0]
	}
	return f.Notice
}

// heading is the title of what is wrong with a page.
func (f *frame) heading() string {
	if f.Wait != nil {
		return f.T("rate.title")
	}
	return f.T("error.title")
}

// fail marks the page as failed, with one message for a field.
func (f *frame) fail(code, field string, args ...any) {
	f.Failed = true
	f.Errors = append(f.Errors, message{code, field, f.T("error."+code, args...)})
}

// maxQueryPairs bounds how much of an address the language form repeats.
const maxQueryPairs = 40

// queryOf lists the parameters that the language form repeats, since a GET form replaces the whole
// query. It is nil where a GET of the address would not lead to the page again.
func queryOf(r *http.Request) []pair {
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/oauth2/") {
		return nil
	}
	query := r.URL.Query()
	list := make([]pair, 0, len(query))
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			if name != "lang" {
				list = append(list, pair{name, value})
			}
		}
	}
	if len(list) > maxQueryPairs {
		return nil
	}
	return list
}

// A renderer holds the parsed templates by their file names: ours, and those that a theme changes.
type renderer struct {
	templates, themed map[string]*template.Template
	owned             []string // the theme's own, by their names below its folder
}

// newRenderer parses our templates, and those of the folder of a theme, "" for none.
func newRenderer(theme string) (*renderer, error) {
	own, err := parse(ownTemplate)
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	rd := &renderer{templates: own}
	if theme == "" {
		return rd, nil
	}
	if rd.themed, rd.owned, err = parseTheme(theme); err != nil {
		return nil, fmt.Errorf("branding.theme: %w", err)
	}
	return rd, nil
}

// A source finds the text of a template by its name below templates/, and the file that it is in.
type source func(name string) (text, file string, err error)

func ownTemplate(name string) (text, file string, err error) {
	content, err := files.ReadFile("templates/" + name)
	return string(content), name, err
}

// parse parses every page together with all parts.
func parse(from source) (map[string]*template.Template, error) {
	shared := template.New("")
	parts, err := templateNames("templates/parts/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range parts {
		if err := parseInto(shared, from, name); err != nil {
			return nil, err
		}
	}
	pages, err := templateNames("templates/*.html")
	if err != nil {
		return nil, err
	}
	templates := map[string]*template.Template{}
	for _, name := range pages {
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if err := parseInto(t, from, name); err != nil {
			return nil, err
		}
		templates[name] = t
	}
	return templates, nil
}

func parseInto(set *template.Template, from source, name string) error {
	text, file, err := from(name)
	if err != nil {
		return err
	}
	if _, err := set.New(path.Base(name)).Parse(text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// templateNames lists our templates by their names below templates/.
func templateNames(pattern string) ([]string, error) {
	names, err := fs.Glob(files, pattern)
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], "templates/")
	}
	return names, err
}

// render writes p to b. A page without its template is a defect of ours.
func (rd *renderer) render(b *bytes.Buffer, p page) error {
	t, ok := rd.templates[p.template()]
	if !ok {
		panic("loginui: no template " + p.template())
	}
	if themed, ok := rd.themed[p.template()]; ok {
		err := themed.ExecuteTemplate(b, "layout.html", p)
		if err == nil {
			return nil
		}
		// Nobody is kept out since a theme asks for what a page does not have.
		slog.Error("template of the theme", "error", err)
		b.Reset()
	}
	return t.ExecuteTemplate(b, "layout.html", p)
}

// show answers with p, or with the first thing that is wrong with it where the client prefers JSON.
// Nothing is sent before the template has run to its end.
func (ui *UI) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	if f := p.around(); status >= http.StatusBadRequest && f.first() != nil && PrefersJSON(r) {
		writeProblem(w, r, idp.Problem{Status: status, Code: f.first().Code, Reference: f.Reference}, f.heading(), f.first().Text, nil)
		return
	}
	var b bytes.Buffer
	if err := ui.pages.render(&b, p); err != nil {
		slog.ErrorContext(r.Context(), "render page", "page", p.template(), "error", err)
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	ui.secure(w.Header(), p.around())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", p.around().Tag)
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = b.WriteTo(w) // the browser left
	}
}
