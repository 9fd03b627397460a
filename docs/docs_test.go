// Package docs_test holds the documents true to the code that they speak of.
package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository.
var root = os.DirFS("..")

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(root, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files are those whose names end so, but of what npm installed.
func files(t *testing.T, ending string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || (name != "." && strings.HasPrefix(d.Name(), "."))) {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ending) {
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// cited are places where a comment begins to name a standard.
var cited = regexp.MustCompile(`\bRFC ?[0-9]+(?:bis)?|\bdraft-[a-z]+-[a-z0-9-]+|\bOpenID Connect(?: for)? (?:[A-Z][A-Za-z-]+ )+|§`)

// A comment may go on with a further section of the standard that it named before.
var further = regexp.MustCompile(`(?:§[^ ]+,?|\band|\bor|\bto|\bof|\()$`)

func TestCommentsCiteStandardsByTheNamesOfTheList(t *testing.T) {
	var names []string
	for line := range strings.Lines(read(t, "docs/standards.txt")) {
		// Two spaces stand between a name and its title.
		name, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if name != "" && !strings.HasPrefix(name, "#") {
			names = append(names, name)
		}
	}
	used := map[string]bool{}
	for _, file := range files(t, ".go") {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.FromSlash("../"+file), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, comment := range parsed.Comments {
			for _, problem := range judgeCitations(comment, names, used) {
				t.Errorf("%s:%d: %s", file, set.Position(comment.Pos()).Line, problem)
			}
		}
	}
	for _, name := range names {
		if !used[name] {
			t.Errorf("docs/standards.txt: nothing cites %s", name)
		}
	}
}

func judgeCitations(comment *ast.CommentGroup, names []string, used map[string]bool) []string {
	text := strings.Join(strings.Fields(comment.Text()), " ")
	var problems []string
	for _, at := range cited.FindAllStringIndex(text, -1) {
		found := text[at[0]:at[1]]
		if found == "§" {
			before := strings.TrimRight(text[:at[0]], " ")
			direct := slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(before, name) })
			named := slices.ContainsFunc(names, func(name string) bool { return strings.Contains(before, name) })
			if !direct && !(named && further.MatchString(before)) {
				problems = append(problems, fmt.Sprintf("a section of what is not in docs/standards.txt: %q", tail(before)+" "+text[at[0]:]))
			}
			continue
		}
		i := slices.IndexFunc(names, func(name string) bool { return isNamed(text[at[0]:], name) })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("not in docs/standards.txt: %q", head(text[at[0]:])))
			continue
		}
		used[names[i]] = true
	}
	// Standards of other families are found by their names alone.
	for _, name := range names {
		if strings.Contains(text, name) {
			used[name] = true
		}
	}
	return problems
}

// isNamed tells whether text begins with name, and not with a longer one.
func isNamed(text, name string) bool {
	rest, ok := strings.CutPrefix(text, name)
	return ok && (rest == "" || !strings.ContainsRune("0123456789abcdefghijklmnopqrstuvwxyz", rune(rest[0])))
}

func head(s string) string { return s[:min(len(s), 60)] }
func tail(s string) string { return s[max(0, len(s)-40):] }

func TestDivergencesNameFilesThatExist(t *testing.T) {
	rows := 0
	for line := range strings.Lines(read(t, "docs/divergences.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.TrimSpace(cells[0]) == "where" {
			continue
		}
		rows++
		if len(cells) != 4 || slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "" }) {
			t.Errorf("not four filled cells: %s", line)
		}
		for name := range strings.FieldsFuncSeq(cells[0], func(r rune) bool { return strings.ContainsRune(" `,", r) }) {
			if _, err := fs.Stat(root, name); err != nil {
				t.Errorf("%s: %v", strings.TrimSpace(cells[1]), err)
			}
		}
	}
	if rows == 0 {
		t.Error("the table is empty, and a comment or two say that we differ")
	}
}

func TestREADMEBeginsWithTheTwoCommandsThatWork(t *testing.T) {
	beginning, _, _ := strings.Cut(read(t, "README.md"), "\n## ")
	var commands []string
	for line := range strings.Lines(beginning) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	want := []string{"go run ./cmd/postern demo", "make test"}
	if !slices.Equal(commands, want) {
		t.Errorf("commands: got %q, want %q", commands, want)
	}
	if !strings.Contains("\n"+read(t, "Makefile"), "\ntest:") {
		t.Error("the Makefile has no target test")
	}
	demo := read(t, "cmd/postern/demo.go")
	if !strings.Contains(demo, "package main") || !strings.Contains(demo, `Use: "demo`) {
		t.Error("cmd/postern/demo.go has no command demo")
	}
	if !strings.Contains(read(t, ".ci/run"), "make test") {
		t.Error(".ci/run does not run make test")
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	for _, file := range files(t, ".md") {
		for _, match := range link.FindAllStringSubmatch(read(t, file), -1) {
			target := path.Join(path.Dir(file), match[1])
			if _, err := fs.Stat(root, target); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
