package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "postern/"

// mayImport is the table of rooms in ARCHITECTURE.md: a package imports at most the packages of
// ours on its line.
var mayImport = map[string][]string{
	"config":               {},
	"idp/secret":           {"idp/guard"},
	"idp/guard":            {},
	"idp/guard/guardtest":  {"idp/guard"},
	"idp/posture":          {"config", "idp"},
	"idp/names":            {"idp/guard"},
	"idp/password":         {},
	"idp/place":            {},
	"idp/passkey":          {},
	"idp":                  {"config", "idp/guard", "idp/names", "idp/passkey", "idp/password", "idp/place", "idp/secret"},
	"storage":              {"idp", "idp/guard", "idp/passkey"},
	"storage/storagetest":  {"storage", "idp"},
	"storage/redis":        {"idp/guard"},
	"oauth":                {"config", "idp"},
	"discovery":            {"config", "oauth"},
	"login-ui":             {"config", "idp", "idp/password"},
	"conformance/rp":       {},
	"conformance/timetest": {},
	"conformance":          {"conformance/rp"},
	"cmd/postern": {
		"config", "idp", "idp/guard", "idp/place", "idp/posture", "idp/secret", "storage", "storage/redis", "oauth", "discovery", "login-ui", "conformance/rp",
	},
	"docs": {}, // tests alone
}

// onlyIn names the packages that may import each of these, which have one owner.
var onlyIn = map[string][]string{
	"github.com/ory/fosite":           {"oauth"},
	"github.com/jmoiron/sqlx":         {"storage"},
	"database/sql":                    {"storage", "storage/storagetest"},
	"modernc.org/sqlite":              {"storage"},
	"github.com/lib/pq":               {"storage", "storage/storagetest"},
	"github.com/pressly/goose/v3":     {"storage"},
	"html/template":                   {"login-ui", "cmd/postern"},
	"github.com/gorilla/securecookie": {"login-ui"},
	"github.com/nicksnyder/go-i18n":   {"login-ui"},
	"golang.org/x/crypto/argon2":      {"idp/secret"},
	"github.com/goccy/go-yaml":        {"config"},
	"github.com/spf13/cobra":          {"cmd/postern"},
	"github.com/coreos/go-oidc/v3":    {"cmd/postern"},
	"golang.org/x/oauth2":             {"cmd/postern"},
	"github.com/redis/go-redis/v9":    {"storage/redis"},
	"github.com/wneessen/go-mail":     {"login-ui"},
	"github.com/prometheus":           {"idp", "cmd/postern"},
	"github.com/oschwald":             {"idp/place"},
	"github.com/go-crypt/crypt":       {"idp/secret"},
	"github.com/go-webauthn/webauthn": {"idp/passkey"},
	"github.com/pquerna/otp":          {"idp", "cmd/postern"}, // and the demo's phone
	"github.com/boombuler/barcode":    {"login-ui"},
}

// noTest is what only tests may import.
var noTest = []string{"testing", "net/http/httptest", "github.com/rogpeppe/go-internal", "github.com/chromedp/chromedp", "pgregory.net/rapid"}

// goFiles are the names of all files of the module, by package folder.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == "tmpdeps"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".go"):
			found[path.Dir(name)] = append(found[path.Dir(name)], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func parse(t *testing.T, name string, mode parser.Mode) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../"+name, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPackagesImportWhatTheTableOfRoomsAllows(t *testing.T) {
	for pkg, names := range goFiles(t) {
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("%s is not in the table of rooms", pkg)
			continue
		}
		for _, name := range names {
			isTest := strings.HasSuffix(name, "_test.go")
			for _, spec := range parse(t, name, parser.ImportsOnly).Imports {
				imported := strings.Trim(spec.Path.Value, `"`)
				if ours, ok := strings.CutPrefix(imported, module); ok && !isTest && !slices.Contains(allowed, ours) {
					t.Errorf("%s: %s must not import %s", name, pkg, ours)
				}
				if why := strange(pkg, imported, isTest); why != "" {
					t.Errorf("%s: %s", name, why)
				}
			}
		}
	}
}

// strange says why pkg may not import a package of others, "" where it may.
func strange(pkg, imported string, isTest bool) string {
	within := func(prefix string) bool { return imported == prefix || strings.HasPrefix(imported, prefix+"/") }
	for prefix, owners := range onlyIn {
		if within(prefix) && !slices.Contains(owners, pkg) && !isTest {
			return "only " + strings.Join(owners, " and ") + " may import " + imported
		}
	}
	if strings.HasSuffix(pkg, "test") || isTest {
		return ""
	}
	for _, prefix := range noTest {
		if within(prefix) {
			return "only tests import " + imported
		}
	}
	return ""
}

func TestImportRulesRefuse(t *testing.T) {
	for pkg, imported := range map[string]string{
		"idp": "github.com/ory/fosite/handler/oauth2", "oauth": "database/sql", "login-ui": "github.com/jmoiron/sqlx", "storage": "testing",
	} {
		if strange(pkg, imported, false) == "" {
			t.Errorf("%s may import %s", pkg, imported)
		}
	}
	if why := strange("oauth", "github.com/ory/fosite", false); why != "" {
		t.Error(why)
	}
}

// STYLE: one sentence on what a package owns, one on what it leaves to others.
func TestPackagesSayWhatTheyOwnAndWhatTheyLeave(t *testing.T) {
	files := goFiles(t)
	for _, pkg := range slices.Sorted(maps.Keys(files)) {
		if pkg == "docs" {
			continue
		}
		var docs []string
		name := ""
		for _, file := range files[pkg] {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed := parse(t, file, parser.PackageClauseOnly|parser.ParseComments)
			name = parsed.Name.Name
			if parsed.Doc != nil {
				docs = append(docs, parsed.Doc.Text())
			}
		}
		if name == "" {
			continue // tests alone
		}
		if len(docs) != 1 {
			t.Errorf("%s has %d package comments, want one", pkg, len(docs))
			continue
		}
		if !strings.HasPrefix(docs[0], "Package "+name+" ") || strings.Count(docs[0], ".\n")+strings.Count(docs[0], ". ") < 2 {
			t.Errorf("%s: want two sentences from `Package %s`, got %q", pkg, name, docs[0])
		}
	}
}
