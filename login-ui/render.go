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
	Query     []pair    // of the page's address, which the language form repeats
	Instance  string
	Support   string // a mailto: or https: address, "" for none
	Reference string // the request's ID
	Wide      bool   // whether the page has more than one form's worth of content

	Failed bool      // whether the title says that something went wrong
	Errors []message // what the person can mend, each beside its field
	Notice *message  // what the person should know
	Wait   *wait     // how long the person must wait, nil where they need not

	assets      *assets
	host        string // of the issuer
	redirectURI string // validated, of the interaction that the page belongs to; "" for none
	isolated    bool   // outside the authorization flow, so that no relying party's popup is cut off
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

// frame makes the frame of a page that answers r.
func (ui *UI) frame(r *http.Request) *frame {
	v := idp.VisitorFrom(r.Context())
	l := ui.texts.named(v.Locale)
	if l == nil {
		l = ui.negotiate(r)
	}
	f := &frame{
		locale: l, Instance: ui.cfg.Branding.Name, Support: ui.cfg.Branding.Support,
		Reference: v.RequestID, assets: ui.assets, host: ui.issuer.Host,
	}
	if f.Query = queryOf(r); f.Query == nil {
		return f
	}
	for _, tag := range ui.texts.tags {
		f.Languages = append(f.Languages, ui.texts.locales[tag.String()])
	}
	return f
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

// A renderer holds the parsed templates by their file names.
type renderer struct{ templates map[string]*template.Template }

func newRenderer() (*renderer, error) {
	rd := &renderer{map[string]*template.Template{}}
	shared, err := template.ParseFS(files, "templates/parts/*.html")
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	for _, name := range names {
		t, err := shared.Clone()
		if err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
		if _, err := t.ParseFS(files, name); err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
		rd.templates[path.Base(name)] = t
	}
	return rd, nil
}

// render writes p to b. A page without its template is a defect of ours.
func (rd *renderer) render(b *bytes.Buffer, p page) error {
	t, ok := rd.templates[p.template()]
	if !ok {
		panic("loginui: no template " + p.template())
	}
	return t.ExecuteTemplate(b, "layout.html", p)
}

// show answers with p. Nothing is sent before the template has run to its end.
func (ui *UI) show(w http.ResponseWriter, r *http.Request, status int, p page) {
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
