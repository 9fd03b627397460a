// Package posture judges how an instance is set up: its settings, and what its database tells of
// them. Every finding has an id, its risk and its remedy.
//
// It changes nothing, and leaves showing the findings, and what follows from them, to its callers.
package posture

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/config"
	"postern/idp"
)

// A Level says how bad a finding is. Levels are in the order of their values.
type Level int

// The levels.
const (
	Info Level = iota
	Warning
	Error
)

var levels = []string{"info", "warning", "error"}

// String is the word for l: "warning".
func (l Level) String() string { return levels[l] }

// MarshalText writes the word for l.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Level) UnmarshalText(b []byte) error {
	i := slices.Index(levels, string(b))
	if i < 0 {
		return fmt.Errorf("%q is none of info, warning and error", b)
	}
	*l = Level(i)
	return nil
}

// A Finding is something that is not as it should be.
type Finding struct {
	ID     string `json:"id"` // "W101"
	Level  Level  `json:"level"`
	Title  string `json:"title"`
	Key    string `json:"key,omitempty"` // the setting that it is about
	Detail string `json:"detail"`        // what was found, in a sentence
	Remedy string `json:"remedy"`
}

// Input is what is judged.
type Input struct {
	Config *config.Config
	// Provider is asked for what only the database knows; nil judges the settings alone.
	Provider *idp.Provider
	// Deploy judges as well what matters only where real people sign in.
	Deploy bool
	// Set tells whether somebody set a key, in place of its default; nil for none.
	Set func(key string) bool
	// Memory is how much memory this machine has, in bytes; 0 for what the system says.
	Memory int64
	// Now is the time; zero for that of this machine.
	Now time.Time
}

// A Risk is what Check looks for, as `postern check --explain` shows it.
type Risk struct {
	ID      string `json:"id"`
	Level   Level  `json:"level"` // of most of its findings
	Title   string `json:"title"`
	Explain string `json:"explain"` // what the risk is
	Remedy  string `json:"remedy"`
	Deploy  bool   `json:"deploy"` // whether it is looked for only with Input.Deploy

	judge func(in *Input) []hit
	ask   func(ctx context.Context, p *idp.Provider, in *Input) ([]hit, error) // of the database
}

// A hit is a risk that was found: the rest of the Finding is the risk's own but where the hit says.
type hit struct {
	key, detail string
	level       *Level
	remedy      string
}

// at is h with a level of its own.
func (h hit) at(l Level) hit {
	h.level = &l
	return h
}

// page is how much of a list is read at a time.
const page = 1000

// Check judges in. Findings are the worst first, then in the order of their IDs. Where the database
// cannot be asked it returns those that need none, with the error.
func Check(ctx context.Context, in Input) ([]Finding, error) {
	if in.Set == nil {
		in.Set = func(string) bool { return false }
	}
	if in.Now.IsZero() {
		in.Now = time.Now()
	}
	findings := []Finding{}
	var failed error
	for i := range risks {
		r := &risks[i]
		if r.Deploy && !in.Deploy {
			continue
		}
		if r.judge != nil {
			findings = append(findings, r.findings(r.judge(&in))...)
		}
		if r.ask == nil || in.Provider == nil || failed != nil {
			continue
		}
		hits, err := r.ask(ctx, in.Provider, &in)
		if err != nil {
			failed = fmt.Errorf("judge %s: %w", r.ID, err)
		}
		findings = append(findings, r.findings(hits)...)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return int(b.Level) - int(a.Level) })
	return findings, failed
}

func (r *Risk) findings(hits []hit) []Finding {
	var all []Finding
	for _, h := range hits {
		f := Finding{ID: r.ID, Level: r.Level, Title: r.Title, Key: h.key, Detail: h.detail, Remedy: r.Remedy}
		if h.level != nil {
			f.Level = *h.level
		}
		if h.remedy != "" {
			f.Remedy = h.remedy
		}
		all = append(all, f)
	}
	return all
}

// Explain finds a risk by its ID.
func Explain(id string) (Risk, bool) {
	i := slices.IndexFunc(risks, func(r Risk) bool { return r.ID == id })
	if i < 0 {
		return Risk{}, false
	}
	return risks[i], true
}

// found is one hit where there is something to tell.
func found(is bool, key, detail string) []hit {
	if !is {
		return nil
	}
	return []hit{{key: key, detail: detail}}
}
