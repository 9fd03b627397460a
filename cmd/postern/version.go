package main

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
)

// A build says what this binary was made of.
type build struct {
	Version string     `json:"version"`
	Commit  string     `json:"commit,omitempty"`
	Date    *time.Time `json:"date,omitempty"` // of the commit
	Go      string     `json:"go"`
	Support support    `json:"support"`
}

// String is b in a line.
func (b build) String() string { return fmt.Sprintf("postern %s, %s", b.Version, b.Go) }

// A support says what docs/versions.md promises for a build.
type support string

const (
	supported support = "release"
	aged      support = "aged"
	undated   support = "undated"
	none      support = "none"
)

// agedAfter is when a release is so old that a newer one is likely.
const agedAfter = 180 * 24 * time.Hour

// released is the version of a release; what lies between two has a longer one.
var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

// supportAt is what b may expect, as far as a program can tell that asks nobody.
func (b build) supportAt(now time.Time) support {
	switch {
	case !released.MatchString(b.Version):
		return none
	case b.Date == nil:
		return undated
	case now.Sub(*b.Date) > agedAfter:
		return aged
	}
	return supported
}

// words are s for a person.
func (s support) words() string {
	const policy = "A release gets security updates until 90 days after the next minor release"
	switch s {
	case supported:
		return policy + "."
	case aged, undated:
		return policy + ": look whether there is a newer one."
	}
	return "This is no release: security updates come as releases, and nobody promises any for this build."
}

func thisBuild() build {
	b := build{Version: "devel", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.read(info)
	}
	b.Support = b.supportAt(time.Now())
	return b
}

// read takes what the compiler wrote down.
func (b *build) read(info *debug.BuildInfo) {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			if date, err := time.Parse(time.RFC3339, s.Value); err == nil {
				b.Date = &date
			}
		}
	}
}

func (a *app) versionCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "version", Short: "say which version this is, and how long it gets security updates", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if a.json {
				return a.writeJSON(b)
			}
			of := ""
			if b.Date != nil {
				of = ", of " + b.Date.UTC().Format(time.DateOnly)
			}
			_, err := fmt.Fprintf(a.out, "%s%s\n%s\n", b, of, b.Support.words())
			return err
		},
	})
}
