package loginui

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxTemplateBytes bounds one template of a theme.
const maxTemplateBytes = 256 << 10

// parseTheme parses the pages that the folder of a theme changes: those that it has, and all where
// it has a part. It returns the names of the theme's own, too. Its errors name the file and the line.
func parseTheme(dir string) (templates map[string]*template.Template, own []string, err error) {
	if own, err = themeFiles(dir); err != nil {
		return nil, nil, err
	}
	templates, err = parse(func(name string) (text, file string, err error) {
		if !slices.Contains(own, name) {
			return ownTemplate(name)
		}
		file = filepath.Join(dir, name)
		text, err = readTemplate(file)
		return text, file, err
	})
	if err != nil {
		return nil, nil, err
	}
	parts := slices.ContainsFunc(own, func(name string) bool { return strings.Contains(name, "/") })
	for name, t := range templates {
		if !parts && !slices.Contains(own, name) {
			delete(templates, name)
			continue
		}
		// What html/template cannot escape shows at the first execution alone; that there is nothing
		// to show does not matter here.
		if e, ok := errors.AsType[*template.Error](t.ExecuteTemplate(io.Discard, "layout.html", nil)); ok {
			return nil, nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), e)
		}
	}
	return templates, own, nil
}

// themeFiles lists the templates of a theme by their names, each of which one of ours has.
func themeFiles(dir string) ([]string, error) {
	pages, err := templateNames("templates/*.html")
	if err != nil {
		return nil, err
	}
	parts, err := templateNames("templates/parts/*.html")
	if err != nil {
		return nil, err
	}
	known := append(pages, parts...)
	var own []string
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && file != dir:
			return fs.SkipDir // of version control, and of Kubernetes
		case entry.IsDir() || filepath.Ext(file) != ".html":
			return nil
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); !slices.Contains(known, name) {
			return fmt.Errorf("%s: there is no template %s; there are %s", file, name, strings.Join(known, ", "))
		}
		own = append(own, name)
		return nil
	})
	return own, err
}

func readTemplate(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxTemplateBytes+1))
	if err == nil && len(content) > maxTemplateBytes {
		err = fmt.Errorf("%s: more than %d KiB", file, maxTemplateBytes>>10)
	}
	return string(content), err
}

// themes tells whether the theme has a page of its own of this name.
func (rd *renderer) themes(name string) bool {
	return slices.Contains(rd.owned, name)
}
