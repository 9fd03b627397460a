package config

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Place is where a setting comes from. The zero Place means that it was not set, as does one with
// With alone.
type Place struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`   // from 1; 0 where the file is meant as a whole
	Column int    `json:"column,omitempty"` // from 1, in characters
	Env    string `json:"env,omitempty"`    // the variable's name
	Flag   string `json:"flag,omitempty"`   // "--set issuer"
	With   string `json:"with,omitempty"`   // "lockout.preset: classic", of a default that follows from another key

	source string // the line, without what must not be shown
	order  int    // of the layer
}

// String is file:line:column, the variable, the flag, "default with …", or "default".
func (p Place) String() string {
	switch {
	case p.File != "" && p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	case p.File != "":
		return p.File
	case p.Env != "":
		return "environment " + p.Env
	case p.Flag != "":
		return "flag " + p.Flag
	case p.With != "":
		return "default with " + p.With
	}
	return "default"
}

// A Problem is one thing that is wrong with the settings: where, what, why, and how to mend it.
type Problem struct {
	Code   string `json:"code"`          // stable, "CFG-012"; Explain says more
	Key    string `json:"key,omitempty"` // "sessions.idle_timeout"
	Place  Place  `json:"place"`
	Value  string `json:"value,omitempty"` // quoted, masked where the key is secret
	Reason string `json:"reason"`          // goes on from Value: `is not a duration`
	Remedy string `json:"remedy"`          // a sentence, or several
}

// Problems are everything that is wrong, in the order of their places.
type Problems []Problem

// Error is the whole report, as `postern config check` prints it.
func (ps Problems) Error() string {
	var b strings.Builder
	ps.Write(&b, "")
	return strings.TrimSuffix(b.String(), "\n")
}

// Write writes the report: each problem with its place, and a caret where there is a line.
// Consequence is a sentence on what did not happen therefore, "" for none.
func (ps Problems) Write(w io.Writer, consequence string) {
	count := "1 problem"
	verb := "has"
	if len(ps) != 1 {
		count = fmt.Sprintf("%d problems", len(ps))
	}
	subject := ps.file()
	if subject == "" {
		subject = "The configuration"
	}
	fmt.Fprintln(w, strings.TrimSpace(fmt.Sprintf("%s %s %s. %s", subject, verb, count, consequence)))
	for i, p := range ps {
		fmt.Fprintln(w)
		p.write(w, i+1)
	}
	fmt.Fprintf(w, "\nDocs: `postern help %s`\n", ps[0].Code)
}

// file is the one file that all problems with a file are in, "" where there are more or none.
func (ps Problems) file() string {
	name := ""
	for _, p := range ps {
		if p.Place.File != "" && name != "" && p.Place.File != name {
			return ""
		}
		name = max(name, p.Place.File)
	}
	return name
}

func (p Problem) write(w io.Writer, number int) {
	place, name := p.Place.String(), p.Key
	switch {
	case p.Place.Env != "":
		place, name = "environment", p.Place.Env
	case p.Place.Flag != "":
		place, name = "flag", p.Place.Flag
	case p.Place == Place{}:
		place = "not set"
	}
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%d  %s   %s", number, place, name), " "))
	said := strings.TrimSpace(p.Value + " " + p.Reason)
	if p.Place.Line > 0 {
		margin := fmt.Sprintf("%6d", p.Place.Line)
		fmt.Fprintf(w, "%s | %s\n", margin, p.Place.source)
		fmt.Fprintf(w, "       | %s^ %s\n", indent(p.Place), said)
	} else {
		fmt.Fprintf(w, "   %s.\n", said)
	}
	const width = 68 // the code stands right of the remedy
	if len(p.Remedy) > width-4 {
		fmt.Fprintf(w, "   %s\n   %*s\n", p.Remedy, width, p.Code)
		return
	}
	fmt.Fprintf(w, "   %-*s %s\n", width-len(p.Code)-1, p.Remedy, p.Code)
}

// indent is what stands before the caret. Tabs stay tabs, so that the caret meets its column.
func indent(p Place) string {
	before := []rune(p.source)
	before = before[:min(len(before), p.Column-1)]
	for i, r := range before {
		if r != '\t' {
			before[i] = ' '
		}
	}
	return string(before) + strings.Repeat(" ", max(0, p.Column-1-len(before)))
}

// Sort puts the problems in the order of their layers and lines; what was not set comes last.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Place.order != b.Place.order {
			return cmpOrder(a.Place.order) - cmpOrder(b.Place.order)
		}
		if a.Place.Line != b.Place.Line {
			return a.Place.Line - b.Place.Line
		}
		return a.Place.Column - b.Place.Column
	})
}

func cmpOrder(order int) int {
	if order == 0 {
		return 1 << 20
	}
	return order
}

// JSON writes the problems for tools.
func (ps Problems) JSON() ([]byte, error) {
	return json.MarshalIndent(map[string]any{"problems": ps}, "", "  ")
}
