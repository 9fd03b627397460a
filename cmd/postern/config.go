package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/config"
)

func (a *app) configCommand() *cobra.Command {
	return a.withSettings(group("config", "check, show and explain settings",
		a.configCheckCommand(), a.configShowCommand(), a.configExplainCommand(), a.configSchemaCommand()))
}

func (a *app) configCheckCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "check", Short: "tell everything that is wrong with the settings", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := a.settings(false)
			if a.json {
				problems, _ := errors.AsType[config.Problems](err)
				text, failure := problems.JSON()
				if failure != nil {
					return failure
				}
				fmt.Fprintln(a.out, string(text))
			}
			if err != nil {
				return err
			}
			if !a.json {
				fmt.Fprintf(a.out, "The configuration is good%s. Issuer: %s\n", from(loaded.Files), loaded.Issuer)
			}
			return nil
		},
	})
}

func from(files []string) string {
	if len(files) == 0 {
		return ""
	}
	return " (" + strings.Join(files, ", ") + ")"
}

func (a *app) configShowCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "show", Short: "show every key, its value and where that comes from", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			// Settings with problems are shown too: where they come from is half of the answer.
			loaded, err := a.settings(false)
			if loaded == nil {
				return err
			}
			if a.json {
				if failure := a.writeJSON(loaded.Settings()); failure != nil {
					return failure
				}
				return err
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			for _, s := range loaded.Settings() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, s.Value, s.From)
			}
			w.Flush()
			return err
		},
	})
}

func (a *app) configExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain KEY", Short: "explain one key, or the keys of a section", Args: exactly("KEY"),
		RunE: func(_ *cobra.Command, args []string) error {
			keys := config.Under(args[0])
			if len(keys) == 0 {
				return misuse("there is no key %q%s", args[0], didYouMean(config.Suggest(args[0])))
			}
			for i, k := range keys {
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				fmt.Fprint(a.out, k.Text())
			}
			return nil
		},
	}
}

func didYouMean(nearest string) string {
	if nearest == "" {
		return ""
	}
	return ". Did you mean " + nearest + "?"
}

func (a *app) configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "print the JSON Schema of a configuration file", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, string(schema))
			return nil
		},
	}
}

// writeJSON writes v for tools.
func (a *app) writeJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := a.out.Write(harmless(b.Bytes()))
	return err
}
