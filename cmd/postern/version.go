package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A build says what this binary was made of.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// String is b in a line.
func (b build) String() string { return fmt.Sprintf("postern %s, %s", b.Version, b.Go) }

func thisBuild() build {
	b := build{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "version", Short: "say which version this is", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if a.json {
				return a.writeJSON(b)
			}
			_, err := fmt.Fprintln(a.out, b)
			return err
		},
	})
}
