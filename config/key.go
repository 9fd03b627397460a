package config

import (
	_ "embed"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"
)

// A Key is one setting: a field of Config with its tags.
type Key struct {
	Path    string // "sessions.idle_timeout"
	Type    string // text, number, duration, true or false, list of texts, list of networks
	Default string // as it would be written, "" for none
	Example string
	Min     string
	Max     string
	OneOf   []string
	Secret  string // "whole", "password", or "" for what may be shown

	index   []int  // of the field, for reflection
	field   string // Go's name for it: "Sessions.IdleTimeout"
	section string // of the sections above it, joined with dots
}

// Env is the environment variable that sets k.
func (k Key) Env() string { return envName(k.Path) }

func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

var allKeys = sync.OnceValue(func() []Key {
	return keysOf(reflect.ValueOf(Default()).Elem(), nil, "", "Config")
})

// FindKey finds a setting by its path.
func FindKey(path string) (Key, bool) {
	for _, k := range allKeys() {
		if k.Path == path {
			return k, true
		}
	}
	return Key{}, false
}

func keysOf(v reflect.Value, index []int, section, structName string) []Key {
	var keys []Key
	for i := range v.NumField() {
		field := v.Type().Field(i)
		at := append(append([]int(nil), index...), i)
		path := join(section, field.Tag.Get("yaml"))
		if field.Type.Kind() == reflect.Struct {
			keys = append(keys, keysOf(v.Field(i), at, path, field.Type.Name())...)
			continue
		}
		k := Key{
			Path: path, Type: typeName(field.Type), Default: format(v.Field(i)),
			Example: field.Tag.Get("example"), Min: field.Tag.Get("min"), Max: field.Tag.Get("max"),
			Secret: field.Tag.Get("secret"), index: at, field: structName + "." + field.Name, section: section,
		}
		if words := field.Tag.Get("oneof"); words != "" {
			k.OneOf = strings.Split(words, ",")
		}
		if field.Tag.Get("section") == "false" { // false in place of the whole section
			k.Path, k.Type, k.Default, k.Example = section, "false", "", "false"
		}
		keys = append(keys, k)
	}
	return keys
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[[]string]():
		return "list of texts"
	case reflect.TypeFor[[]netip.Prefix]():
		return "list of networks"
	case reflect.TypeFor[string]():
		return "text"
	case reflect.TypeFor[bool]():
		return "true or false"
	}
	return "number"
}

// sections are the paths that have keys below them.
var sections = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for _, k := range allKeys() {
		for s := k.section; s != ""; s, _ = parent(s) {
			all[s] = true
		}
	}
	return all
})

func parent(path string) (section, name string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

//go:embed config.go
var source string

// docs are the doc comments of config.go by the names of Go: "Sessions.IdleTimeout", "Sessions".
// They are read from the source, so that what people are shown is what stands beside the field.
var docs = sync.OnceValue(func() map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		panic(err) // it was compiled
	}
	all := map[string]string{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			typ, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			all[typ.Name.Name] = plain(gen.Doc.Text())
			for _, field := range typ.Type.(*ast.StructType).Fields.List {
				all[typ.Name.Name+"."+field.Names[0].Name] = plain(field.Doc.Text())
			}
		}
	}
	return all
})

// plain joins the lines of a comment.
func plain(text string) string {
	var p comment.Parser
	pr := comment.Printer{TextWidth: -1}
	return strings.TrimSpace(string(pr.Text(p.Parse(text))))
}

// Doc is what k is for: the doc comment of its field, which begins with the key in place of Go's
// name.
func (k Key) Doc() string {
	name := k.Path
	if k.Type == "false" {
		name = "`" + name + ": false`"
	}
	_, field := parent(k.field)
	return name + strings.TrimPrefix(docs()[k.field], field)
}

// SectionDoc is what a section is for: the doc comment of its struct, "" for the top.
func (k Key) SectionDoc() string {
	name, _, _ := strings.Cut(k.field, ".")
	if name == "Config" {
		return ""
	}
	return k.section + strings.TrimPrefix(docs()[name], name)
}
