package loginui

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
)

// staticPath is where the static files are; the content's hash follows, then the name.
const staticPath = "/static/"

// assets are the static files, each under an address that names its content.
type assets struct{ byAddress, byName map[string]*asset }

type asset struct {
	address     string
	contentType string
	etag        string
	content     []byte
}

func newAssets() (*assets, error) {
	style, err := files.ReadFile("static/style.css")
	if err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	icon, err := files.ReadFile("static/icon.svg")
	if err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	elements, err := joinElements()
	if err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	a := &assets{map[string]*asset{}, map[string]*asset{}}
	a.add("style.css", "text/css; charset=utf-8", lean(style))
	a.add("icon.svg", "image/svg+xml", icon)
	a.add("elements.js", "text/javascript; charset=utf-8", lean(elements))
	return a, nil
}

// joinElements makes one module of all, so that a page costs one request for its behaviour. The
// modules import nothing; each stands in a block of its own.
func joinElements() ([]byte, error) {
	names, err := fs.Glob(files, "static/elements/*.js")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, name := range names {
		content, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "{\n%s}\n", content)
	}
	return b.Bytes(), nil
}

// lean leaves out what is for us alone: indentation, comments that have lines of their own, and ends of
// lines after what cannot end there. No text of ours goes over several lines, so that none of it means
// anything to a browser.
func lean(content []byte) []byte {
	var b bytes.Buffer
	comment := false
	for line := range bytes.Lines(content) {
		line = bytes.TrimLeft(line, " \t")
		comment = comment || bytes.HasPrefix(line, []byte("/*"))
		if !comment && len(bytes.TrimSpace(line)) > 0 && !bytes.HasPrefix(line, []byte("//")) {
			if end := bytes.TrimRight(line, "\n"); bytes.ContainsAny(end[len(end)-1:], "{,;") && !bytes.Contains(end, []byte("//")) {
				line = end
			}
			b.Write(line)
		}
		comment = comment && !bytes.HasSuffix(bytes.TrimSpace(line), []byte("*/"))
	}
	return b.Bytes()
}

func (a *assets) add(name, contentType string, content []byte) {
	sum := sha256.Sum256(content)
	hash := base64.RawURLEncoding.EncodeToString(sum[:12])
	f := &asset{staticPath + hash + "/" + name, contentType, `"` + hash + `"`, content}
	a.byAddress[f.address], a.byName[name] = f, f
}

// address of a file; a name that is none is a defect of ours.
func (a *assets) address(name string) string {
	f, ok := a.byName[name]
	if !ok {
		panic("loginui: no static file " + name)
	}
	return f.address
}

// Static serves the static files. Those whose address names another content than we have, from a
// page of another release, are served as they are now, but not kept.
func (ui *UI) Static(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	caching := "public, max-age=31536000, immutable"
	f, ok := ui.assets.byAddress[r.URL.Path]
	if !ok {
		f, ok = ui.assets.byName[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
		caching = "no-cache"
	}
	if !ok {
		ui.NotFound(w, r)
		return
	}
	h.Del("Set-Cookie") // a shared cache would hand one browser's cookie to the next
	h.Set("Cache-Control", caching)
	h.Set("ETag", f.etag)
	h.Set("Content-Type", f.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", fmt.Sprint(len(f.content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(f.content) // the browser left
	}
}
