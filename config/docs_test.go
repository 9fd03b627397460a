package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/config"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func TestO7DocumentOfTheConfigurationIsFresh(t *testing.T) {
	const path = "../docs/configuration.md"
	want := document()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run go test ./config -update", path)
	}
}

const introduction = `# Configuration

Made from config/config.go; ` + "`go test ./config -update`" + ` writes it anew.

Postern needs one setting, ` + "`issuer`" + `; all others have defaults that are good for production. Settings
come from, the later ones winning:

1. YAML files: those named with ` + "`--config FILE`" + `, in their order, or postern.yaml in the working directory;
2. the environment: ` + "`POSTERN_SECTION__KEY`" + `, two underscores for each dot;
3. flags: ` + "`--set section.key=value`" + `. Secrets do not belong there, since others can read a command line.

Any value may be ` + "`file:PATH`" + `, which stands for the content of a file, or ` + "`env:NAME`" + `, which stands for an
environment variable; the newline at the end goes. Durations have a unit: 90s, 15m, 14d, 1h30m. In the
environment and in flags a list is JSON, or one variable an item: ` + "`POSTERN_SECRETS__KEYS__0`" + `.

Unknown keys, unknown POSTERN_ variables and a key that is set twice in one layer are errors.
` + "`postern config check`" + ` tells all problems at once, ` + "`postern config show`" + ` what holds and where it comes from,
` + "`postern config explain KEY`" + ` what a key is for, ` + "`postern config schema`" + ` prints a JSON Schema for editors, and
` + "`postern help CFG-012`" + ` explains a code. No command shows a secret.
`

func document() string {
	var b strings.Builder
	b.WriteString(introduction)
	section := ""
	for _, k := range config.Keys() {
		top, _, _ := strings.Cut(k.Path, ".")
		if top == k.Path && k.SectionDoc() == "" {
			top = "General"
		}
		if top != section {
			section = top
			fmt.Fprintf(&b, "\n## %s\n", section)
			if doc := k.SectionDoc(); doc != "" {
				fmt.Fprintf(&b, "\n%s\n", doc)
			}
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n", k.Path, k.Doc())
		fmt.Fprintf(&b, "- takes: %s\n", k.Allowed())
		if k.Default != "" {
			fmt.Fprintf(&b, "- default: `%s`\n", k.Default)
		}
		for _, o := range k.Otherwise() {
			fmt.Fprintf(&b, "- default with `%s`: `%s`\n", o.When, o.Default)
		}
		fmt.Fprintf(&b, "- example: `%s: %s`\n- variable: `%s`\n", k.Path, k.Example, k.Env())
	}
	b.WriteString("\n## Codes\n")
	for _, c := range config.Codes {
		fmt.Fprintf(&b, "\n### %s: %s\n\n%s\n", c.ID, c.Title, c.Text)
	}
	return b.String()
}

func TestO7EveryKeyIsDocumented(t *testing.T) {
	for _, k := range config.Keys() {
		doc := k.Doc()
		if !strings.HasPrefix(strings.TrimPrefix(doc, "`"), k.Path) || !strings.HasSuffix(doc, ".") {
			t.Errorf("%s: the doc comment is %q, want sentences that begin with the key", k.Path, doc)
		}
		if text := k.Text(); !strings.Contains(text, k.Path) || !strings.Contains(text, k.Env()) || !strings.Contains(text, k.Example) {
			t.Errorf("%s: explained as %s", k.Path, text)
		}
	}
}

func TestO7SchemaHasEveryKeyAndNoOther(t *testing.T) {
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	var got []string
	collect("", root, &got)
	var want []string
	for _, k := range config.Keys() {
		if k.Type != "false" {
			want = append(want, k.Path)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	limits := root["properties"].(map[string]any)["rate_limits"].(map[string]any)
	if fmt.Sprint(limits["type"]) != "[object boolean]" {
		t.Errorf("rate_limits is of the type %v, want object or boolean", limits["type"])
	}
}

// collect lists the paths of all properties without properties, and fails where others are allowed.
func collect(path string, node map[string]any, paths *[]string) {
	properties, isSection := node["properties"].(map[string]any)
	if !isSection {
		*paths = append(*paths, path)
		return
	}
	if node["additionalProperties"] != false {
		*paths = append(*paths, path+" allows others")
	}
	for name, below := range properties {
		collect(strings.TrimPrefix(path+"."+name, "."), below.(map[string]any), paths)
	}
}

func TestO20EveryCodeIsExplainedAndUsed(t *testing.T) {
	used := map[string]bool{}
	for _, pattern := range []string{"*.go", "../cmd/postern/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") || name == "codes.go" {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, code := range regexp.MustCompile(`"(CFG-[0-9]{3})"`).FindAllStringSubmatch(string(text), -1) {
				used[code[1]] = true
			}
		}
	}
	for _, c := range config.Codes {
		if !used[c.ID] {
			t.Errorf("%s is explained, but nothing uses it", c.ID)
		}
		if c.Title == "" || c.Text == "" {
			t.Errorf("%s has no text", c.ID)
		}
		delete(used, c.ID)
	}
	for code := range used {
		t.Errorf("%s is used, but not explained", code)
	}
	if _, ok := config.Explain("cfg-001"); !ok {
		t.Error("a code in small letters is not found")
	}
	if _, ok := config.Explain("CFG-999"); ok {
		t.Error("CFG-999 is explained")
	}
}

// A bare error would reach people without place and remedy.
func TestO6NoErrorOfThePackageIsBare(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "fmt.Errorf(") {
			t.Errorf("%s makes a bare error", name)
		}
	}
}
