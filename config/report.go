package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// A Setting is a key with the value that holds, for `postern config show`.
type Setting struct {
	Key   string `json:"key"`
	Env   string `json:"env"`
	Value string `json:"value"` // masked where it is secret
	From  string `json:"from"`
}

// Settings lists every key with its value and where that comes from.
func (s *Loaded) Settings() []Setting {
	var all []Setting
	for _, k := range allKeys() {
		all = append(all, Setting{k.Path, k.Env(), s.valueOf(k), s.Place(k.Path).String()})
	}
	return all
}

func (s *Loaded) valueOf(k Key) string {
	field := reflect.ValueOf(s.Config).Elem().FieldByIndex(k.index)
	if k.Type == "false" {
		if field.Bool() {
			return "false"
		}
		return ""
	}
	text := format(field)
	switch {
	case text == "":
		return ""
	case k.Secret == "whole", strings.Contains(text, "\n"): // see Key.shown
		return "****"
	case k.Secret == "password":
		if shown, ok := withoutPassword(text); ok {
			return shown
		}
		return "****"
	}
	return text
}

// Schema is the JSON Schema (2020-12) of a configuration file, for editors.
func Schema() ([]byte, error) {
	root := object("Postern's configuration")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	for _, k := range allKeys() {
		if k.Type == "false" {
			section := descend(root, k.section)
			section["type"] = []string{"object", "boolean"}
			section["description"] = k.SectionDoc()
			continue
		}
		section := root
		if k.section != "" {
			section = descend(root, k.section)
			if section["description"] == nil {
				section["description"] = k.SectionDoc()
			}
		}
		_, name := parent(k.Path)
		section["properties"].(map[string]any)[name] = k.schema()
	}
	return json.MarshalIndent(root, "", "  ")
}

func object(description string) map[string]any {
	o := map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{}}
	if description != "" {
		o["description"] = description
	}
	return o
}

func descend(node map[string]any, path string) map[string]any {
	for name := range strings.SplitSeq(path, ".") {
		properties := node["properties"].(map[string]any)
		if properties[name] == nil {
			properties[name] = object("")
		}
		node = properties[name].(map[string]any)
	}
	return node
}

// schema is one key's. Any value may also be a reference.
func (k Key) schema() map[string]any {
	const reference = "^(file|env):"
	s := map[string]any{"description": k.Doc()}
	if k.Default != "" {
		s["default"] = k.Default
	}
	switch {
	case k.Type == "number":
		s["anyOf"] = []any{
			map[string]any{"type": "integer", "minimum": json.Number(k.Min), "maximum": json.Number(k.Max)},
			map[string]any{"type": "string", "pattern": reference},
		}
	case k.Type == "true or false":
		s["anyOf"] = []any{
			map[string]any{"type": "boolean"},
			map[string]any{"type": "string", "pattern": reference},
		}
	case k.Type == "duration":
		s["type"], s["pattern"] = "string", durationForm.String()+"|"+reference
	case strings.HasPrefix(k.Type, "list"):
		s["type"], s["items"] = "array", map[string]any{"type": "string"}
	case len(k.OneOf) > 0:
		s["anyOf"] = []any{
			map[string]any{"enum": k.OneOf},
			map[string]any{"type": "string", "pattern": reference},
		}
	default:
		s["type"] = "string"
	}
	return s
}

// Allowed says in words what k takes: its type, range or words.
func (k Key) Allowed() string {
	switch {
	case len(k.OneOf) > 0:
		return enumerate(k.OneOf)
	case k.Min != "":
		return k.Type + " from " + k.Min + " to " + k.Max
	case k.Type == "false":
		return "false, in place of the section"
	}
	return k.Type
}

// Text is k for `postern config explain`.
func (k Key) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", k.Path)
	for line := range strings.SplitSeq(wrap(k.Doc(), 76), "\n") {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	put := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", name, text)
		}
	}
	put("takes", k.Allowed())
	put("default", k.Default)
	for _, o := range k.Otherwise() {
		put("", o.Default+" with "+o.When)
	}
	put("example", k.Example)
	put("variable", k.Env())
	return b.String()
}

// wrap breaks text into lines of at most width characters, between words.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// Under lists the key of that path, or the keys of the section of that path.
func Under(path string) []Key {
	var under []Key
	for _, k := range allKeys() {
		if k.Path == path || strings.HasPrefix(k.Path, path+".") {
			under = append(under, k)
		}
	}
	return under
}
