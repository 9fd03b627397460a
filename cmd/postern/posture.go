package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/config"
	"postern/idp/posture"
)

// checkFlags are what `postern check` reads.
type checkFlags struct {
	deploy           bool
	explain, failing string
	silenced         []string
}

func (a *app) checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use: "check", Short: "judge how safely this instance is set up", Args: exactly(),
		Long: "Judge the settings, and what the database tells of them where there is one already. It changes nothing.\n" +
			"The exit code is 1 where there are findings of --fail-level or worse.",
		RunE: func(c *cobra.Command, _ []string) error {
			var least posture.Level
			if err := least.UnmarshalText([]byte(f.failing)); err != nil {
				return misuse("--fail-level %s", err)
			}
			for i, id := range f.silenced {
				f.silenced[i] = strings.ToUpper(id)
				if _, ok := posture.Explain(f.silenced[i]); !ok {
					fmt.Fprintf(a.err, "postern: --silence: there is no check %q\n", id)
				}
			}
			if f.explain != "" {
				return a.explainCheck(strings.ToUpper(f.explain))
			}
			return a.check(c.Context(), f, least)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&f.deploy, "deploy", false, "judge as well what matters only where real people sign in")
	flags.StringVar(&f.explain, "explain", "", "say what the check `ID` is about, and check nothing")
	flags.StringArrayVar(&f.silenced, "silence", nil, "leave out the findings of the check `ID`; several")
	flags.StringVar(&f.failing, "fail-level", posture.Warning.String(), "the `LEVEL` from which findings fail: info, warning or error")
	return a.withSettings(a.withJSON(c))
}

func (a *app) explainCheck(id string) error {
	c, ok := posture.Explain(id)
	if !ok {
		return misuse("--explain: there is no check %q", id)
	}
	if a.json {
		return a.writeJSON(c)
	}
	_, err := fmt.Fprintf(a.out, "%s (%s): %s\n\n%s\n\n%s\n", c.ID, c.Level, c.Title, c.Explain, c.Remedy)
	return err
}

func (a *app) check(ctx context.Context, f checkFlags, least posture.Level) error {
	loaded, err := a.settings(false)
	if err != nil {
		return err
	}
	in := posture.Input{Config: loaded.Config, Deploy: f.deploy, Set: loaded.IsSet}
	findings, unmade, err := a.judge(ctx, loaded, in)
	findings = slices.DeleteFunc(findings, func(found posture.Finding) bool { return slices.Contains(f.silenced, found.ID) })
	if len(findings) > 0 || err == nil || a.json { // else nobody knows that there are none
		if failure := a.showFindings(findings); failure != nil {
			return failure
		}
	}
	if err != nil {
		return err
	}
	if unmade {
		fmt.Fprintln(a.err, "postern: there is no database yet: the settings alone were judged")
	}
	if slices.ContainsFunc(findings, func(found posture.Finding) bool { return found.Level >= least }) {
		return errSaid
	}
	return nil
}

// judge judges in with the database, or without where it is unmade: there is none yet. Where the
// database cannot be asked it returns what the settings alone tell, with the error. It is an error as
// well that the counters are out of reach: no server would start.
func (a *app) judge(ctx context.Context, loaded *config.Loaded, in posture.Input) (findings []posture.Finding, unmade bool, err error) {
	if path := loaded.Database.SQLitePath(); path != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			findings, err = posture.Check(ctx, in)
			return findings, true, err
		}
	}
	o, failure := a.openWith(ctx, loaded)
	if failure == nil {
		defer o.close()
		in.Provider = o.Provider
		if away, ok := o.gate.Store.(unreachableGate); ok {
			failure = away.err
		}
	}
	findings, err = posture.Check(ctx, in)
	return findings, false, errors.Join(err, failure)
}

func (a *app) showFindings(findings []posture.Finding) error {
	if a.json {
		return a.writeJSON(append([]posture.Finding{}, findings...))
	}
	if len(findings) == 0 {
		fmt.Fprintln(a.out, "There are no findings.")
		return nil
	}
	for _, f := range findings {
		key := ""
		if f.Key != "" {
			key = " (" + f.Key + ")"
		}
		fmt.Fprintf(a.out, "%-8s %s  %s%s\n%15s%s\n%15s%s\n", strings.ToUpper(f.Level.String()), f.ID, f.Title, key, "", shown(f.Detail), "", f.Remedy)
	}
	fmt.Fprintf(a.out, "\n%s. More about one: postern check --explain %s\n", count(len(findings), "finding", "findings"), findings[0].ID)
	return nil
}
