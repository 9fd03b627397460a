package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const maxFile = 1 << 20 // bytes; more is no configuration

var errTooLong = errors.New("it has more than a mebibyte")

// readFile reads one layer from a YAML file. It walks the nodes itself: what is decoded into a
// struct has lost its place.
func (l *loader) readFile(name string) {
	text, err := readLimited(name)
	if err != nil {
		l.unread = true
		l.find(Problem{Code: "CFG-005", Place: Place{File: name, order: l.order}, Reason: "cannot be read: " + cause(err),
			Remedy: "Check the path and its permissions."})
		return
	}
	l.file, l.lines = name, strings.Split(string(text), "\n")
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.syntax(err)
		return
	}
	seen := map[string]value{}
	for i, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			l.plainYAML("", doc.Body, "starts a second document")
			continue
		}
		l.readNode("", doc.Body, seen)
	}
	l.overlay(seen)
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errTooLong
	}
	return text, err
}

// cause is err without the operation and the path, which the place tells.
func cause(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	return err.Error()
}

func (l *loader) syntax(err error) {
	l.unread = true
	p := Problem{Code: "CFG-004", Place: Place{File: l.file, order: l.order}, Reason: "is not YAML: " + err.Error(),
		Remedy: "Indent with spaces, and quote what has a colon or a bracket in it."}
	if se, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		p.Reason = se.Message
		p.Place = l.place(se.Token)
		p.Place.source = keyPart(p.Place.source) // a value on a broken line may be a secret
	}
	l.find(p)
}

func (l *loader) place(t *token.Token) Place {
	at := Place{File: l.file, Line: t.Position.Line, Column: t.Position.Column, order: l.order}
	if at.Line >= 1 && at.Line <= len(l.lines) {
		at.source = strings.TrimRight(l.lines[at.Line-1], "\r ")
	}
	return at
}

// keyPart is a line up to its first colon or dash, with the indentation.
func keyPart(line string) string {
	if i := strings.IndexAny(line, ":-"); i >= 0 {
		return line[:i+1] + mark(line[i+1:])
	}
	return mark(line)
}

func mark(rest string) string {
	if strings.TrimSpace(rest) == "" {
		return ""
	}
	return " …"
}

// readNode reads what stands at path: a section's keys, a list or a scalar.
func (l *loader) readNode(path string, node ast.Node, seen map[string]value) {
	switch n := node.(type) {
	case *ast.MappingNode:
		if path != "" && !sections()[path] {
			l.find(Problem{Code: "CFG-006", Key: path, Place: l.misplaced(path, firstToken(n), n), Reason: "a section stands where a value is expected",
				Remedy: fmt.Sprintf("Write %s as %s%s.", path, typeOf(path), exampleOf(path))})
			return
		}
		for _, entry := range n.Values {
			l.readEntry(path, entry, seen)
		}
	case *ast.MappingValueNode:
		l.readEntry(path, n, seen)
	default:
		if path == "" {
			l.plainYAML("", node, "is not a list of settings")
			return
		}
		if _, known := FindKey(path); !known {
			v, shown := l.readValue(path, node), quoted
			if holdsSecret(path) { // `database: postgres://…` has a password in it
				shown = masked
			}
			l.find(Problem{Code: "CFG-006", Key: path, Place: l.misplaced(path, node.GetToken(), node), Value: shown(v.text), Reason: "stands where a section is expected",
				Remedy: fmt.Sprintf("Write its keys below it: %s and the others.", Under(path)[0].Path)})
			return
		}
		l.keep(path, l.readValue(path, node), seen)
	}
}

// plainName is what a key could be that somebody mistyped.
var plainName = regexp.MustCompile(`^[A-Za-z_.-]{1,40}$`)

func firstToken(n *ast.MappingNode) *token.Token {
	if len(n.Values) > 0 {
		return n.Values[0].Key.GetToken()
	}
	return n.GetToken()
}

func typeOf(path string) string {
	k, _ := FindKey(path)
	return "a " + k.Type
}

// exampleOf is how a list is written, which is easily taken for a section.
func exampleOf(path string) string {
	k, _ := FindKey(path)
	if !strings.HasPrefix(k.Type, "list") || k.Secret != "" {
		return ""
	}
	return ": " + path + ": " + k.Example
}

func (l *loader) readEntry(section string, entry *ast.MappingValueNode, seen map[string]value) {
	t := entry.Key.GetToken()
	if _, merge := entry.Key.(*ast.MergeKeyNode); merge {
		l.plainYAML(section, entry.Key, "is a merge key")
		return
	}
	path := join(section, t.Value)
	if _, known := FindKey(path); !known && !sections()[path] {
		if maySecret(path, Suggest(path)) {
			l.conceal(entry.Value)
		}
		if holdsSecret(section) && section != "" && !plainName.MatchString(t.Value) {
			path = join(section, "…") // the secret stands where its key belongs
		}
		l.unknownKey(path, l.place(t))
		return
	}
	if sections()[path] {
		if first, twice := l.sections[path]; twice {
			l.twice(path, l.place(t), first)
			return
		}
		l.sections[path] = l.place(t)
		if _, empty := entry.Value.(*ast.NullNode); empty {
			return // a section whose keys are all commented out
		}
	}
	l.readNode(path, entry.Value, seen)
}

func (l *loader) readValue(path string, node ast.Node) value {
	v := value{place: l.place(node.GetToken())}
	switch n := node.(type) {
	case *ast.SequenceNode:
		v.kind = list
		for _, item := range n.Values {
			v.list = append(v.list, l.readValue(path, item))
		}
	case *ast.NullNode:
		v.kind = absent
	case *ast.LiteralNode:
		v.text = n.Value.Value
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		l.plainYAML(path, node, "is an anchor, an alias, a tag or a nested section")
	case *ast.MappingNode, *ast.MappingValueNode:
		l.nested(path, node)
	case ast.ScalarNode:
		// Whatever YAML makes of it, a scalar counts by its text, as in the environment.
		v.text = node.GetToken().Value
	default:
		l.plainYAML(path, node, "is no plain value")
	}
	if k, ok := FindKey(path); ok && k.Secret != "" {
		l.hide(&v, k)
	}
	return v
}

// hide notes a secret, so that no line that a message shows has it.
func (l *loader) hide(v *value, k Key) {
	switch {
	case v.kind != scalar || v.text == "":
	case !strings.Contains(v.place.source, v.text): // escaped, or on several lines
		v.place.source = keyPart(v.place.source)
	default:
		shown, ok := withoutPassword(v.text)
		if k.Secret == "whole" || !ok {
			shown = strings.Repeat("*", utf8.RuneCountInString(v.text)) // the caret keeps its column
		}
		l.hidden[v.text] = shown
	}
}

// misplaced is the place of what stands at path and cannot be read as a value, without its text
// where a secret belongs there.
func (l *loader) misplaced(path string, t *token.Token, node ast.Node) Place {
	at := l.place(t)
	if holdsSecret(path) {
		l.conceal(node)
		at.source = keyPart(at.source)
	}
	return at
}

// holdsSecret tells whether the key of that path is secret, or one below it.
func holdsSecret(path string) bool {
	return slices.ContainsFunc(Under(path), func(k Key) bool { return k.Secret != "" })
}

// conceal notes every text below node as a secret, for other messages that show its line.
func (l *loader) conceal(node ast.Node) {
	ast.Walk(concealer{l.hidden}, node)
}

type concealer struct{ hidden hidden }

// Visit implements ast.Visitor.
func (c concealer) Visit(node ast.Node) ast.Visitor {
	if _, scalar := node.(ast.ScalarNode); scalar {
		if text := node.GetToken().Value; text != "" {
			c.hidden[text] = strings.Repeat("*", utf8.RuneCountInString(text))
		}
	}
	return c
}

// nested is about a section where a text belongs: an item of a list, as other programs have them.
func (l *loader) nested(path string, node ast.Node) {
	example := exampleOf(path)
	if example == "" {
		l.plainYAML(path, node, "is an anchor, an alias, a tag or a nested section")
		return
	}
	l.find(Problem{Code: "CFG-014", Key: path, Place: l.place(node.GetToken()), Reason: "has a section in its list",
		Remedy: "Write each item as a text" + example + "."})
}

func (l *loader) plainYAML(path string, node ast.Node, reason string) {
	if path == "" || holdsSecret(path) {
		l.conceal(node)
	}
	at := l.place(node.GetToken())
	at.source = keyPart(at.source)
	l.unread = l.unread || path == ""
	l.find(Problem{Code: "CFG-004", Key: path, Place: at, Reason: reason,
		Remedy: "Write plain `key: value` lines, in one document."})
}
