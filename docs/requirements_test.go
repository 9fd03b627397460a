package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// carried are the numbers at the beginning of a test's name: TestI3_I4_…, TestS0_27_I21_…
var carried = regexp.MustCompile(`^(?:S[0-9]_[0-9]+|I[0-9]+|FS[0-9]+|F[A-J])(?:_|$)`)

func TestRequirementsNameTheNumbersThatTestsCarry(t *testing.T) {
	proved := map[string]bool{}
	for _, file := range files(t, "_test.go") {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash("../"+file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range parsed.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Recv == nil {
				for _, number := range numbersOf(f.Name.Name) {
					proved[number] = true
				}
			}
		}
	}
	listed := map[string]bool{}
	for line := range strings.Lines(read(t, "docs/requirements.md")) {
		number, sentence, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if ok && strings.HasPrefix(line, "| ") && number != "number" {
			listed[number] = true
			if len(sentence) < 20 {
				t.Errorf("%s has no sentence", number)
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(proved)); !slices.Equal(got, want) {
		t.Errorf("docs/requirements.md lists\n%q, and tests carry\n%q", got, want)
	}
}

// numbersOf reads the numbers that a test's name begins with, as the page writes them.
func numbersOf(name string) []string {
	rest, ok := strings.CutPrefix(name, "Test")
	if !ok {
		return nil
	}
	var numbers []string
	for {
		number := carried.FindString(rest)
		if number == "" {
			return numbers
		}
		rest = rest[len(number):]
		numbers = append(numbers, strings.ReplaceAll(strings.TrimSuffix(number, "_"), "_", "-"))
	}
}
