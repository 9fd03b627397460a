package idp

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A Column is a value that the store keeps as JSON in a TEXT column. What a database returns is
// read by its Scan method.
type Column interface {
	// Column returns the JSON text.
	Column() (string, error)
}

// List is an ordered list of strings; as a column a JSON array, "[]" where it is empty.
type List []string

// Column implements Column.
func (l List) Column() (string, error) {
	switch {
	case len(l) == 0:
		return "[]", nil
	case slices.ContainsFunc(l, isEscaped):
		return columnOf([]string(l))
	}
	return `["` + strings.Join(l, `","`) + `"]`, nil
}

// isEscaped tells whether JSON might write s in another way than it is.
func isEscaped(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

// Scan reads a column.
func (l *List) Scan(src any) error {
	if b, ok := src.([]byte); ok { // as PostgreSQL's driver sends text
		src = string(b)
	}
	if text, ok := src.(string); ok {
		if list, ok := plainList(text); ok {
			*l = list
			return nil
		}
	}
	return scanColumn((*[]string)(l), src)
}

// plainList reads a JSON array of strings in which nothing is escaped, as Column writes scopes:
// each token request reads some of them, and the JSON decoder takes ten times as long.
func plainList(text string) (List, bool) {
	inside, ok := strings.CutPrefix(text, `["`)
	if !ok || strings.Contains(text, `\`) {
		return nil, false
	}
	if inside, ok = strings.CutSuffix(inside, `"]`); !ok {
		return nil, false
	}
	list := strings.Split(inside, `","`)
	for _, s := range list {
		if strings.Contains(s, `"`) {
			return nil, false
		}
	}
	return list, true
}

func columnOf(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// scanColumn reads src into what dest points to. What is empty becomes the zero value, so that a
// row comes back as it was put in.
func scanColumn(dest, src any) error {
	var text []byte
	switch v := src.(type) {
	case nil:
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return fmt.Errorf("scan column: %T is not JSON", src)
	}
	switch string(text) {
	case "", "[]", "{}":
		reflect.ValueOf(dest).Elem().SetZero()
		return nil
	}
	return json.Unmarshal(text, dest)
}
