package secret

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

func TestS4_56_NoSecretCanBeVerifiedWithoutAPermit(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	verifiers := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Verify") || f.Recv != nil && receiver(f) == "Keyring" {
				continue // the keyring's Verify compares the check value of a database, no secret of anybody's
			}
			verifiers++
			if !takesPermit(f) {
				t.Errorf("%s: %s takes no permit", e.Name(), f.Name.Name)
			}
		}
	}
	if verifiers < 2 {
		t.Errorf("found %d functions that verify: are they called otherwise by now?", verifiers)
	}
}

func receiver(f *ast.FuncDecl) string {
	if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
		return star.X.(*ast.Ident).Name
	}
	return ""
}

func takesPermit(f *ast.FuncDecl) bool {
	for _, p := range f.Type.Params.List {
		if star, ok := p.Type.(*ast.StarExpr); ok {
			if of, ok := star.X.(*ast.SelectorExpr); ok && of.Sel.Name == "Permit" {
				return true
			}
		}
	}
	return false
}
