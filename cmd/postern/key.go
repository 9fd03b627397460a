package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
	"postern/idp/secret"
)

// keyView is a signing key as --json shows it.
type keyView struct {
	ID        string     `json:"kid"`
	Alg       string     `json:"alg"`
	State     string     `json:"state"`
	CreatedAt time.Time  `json:"created_at"`
	ActiveAt  *time.Time `json:"active_at,omitempty"`
	RetiredAt *time.Time `json:"retired_at,omitempty"`
}

func viewKey(k idp.Key) keyView {
	return keyView{k.ID, k.Alg, string(k.State), k.CreatedAt, k.ActiveAt, k.RetiredAt}
}

func (a *app) keyCommand() *cobra.Command {
	return a.withSettings(group("key", "list and rotate signing keys, make root keys",
		a.keyListCommand(), a.keyRotateCommand(), a.keyGenerateCommand()))
}

func (a *app) keyListCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "list", Short: "list signing keys, oldest first", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				keys, err := o.Keys(ctx)
				if err != nil {
					return err
				}
				views := []keyView{}
				for _, k := range keys {
					views = append(views, viewKey(k))
				}
				if a.json {
					return a.writeJSON(views)
				}
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "KEY\tALGORITHM\tSTATE\tMADE")
				for _, k := range views {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.Alg, k.State, k.CreatedAt.Format(time.RFC3339))
				}
				return w.Flush()
			})
		},
	})
}

func (a *app) keyRotateCommand() *cobra.Command {
	var now bool
	var alg string
	c := &cobra.Command{
		Use: "rotate", Short: "announce a new signing key, which signs once everybody can know it", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				k, err := o.RotateKey(ctx, alg, now)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(viewKey(k))
				}
				if now {
					fmt.Fprintf(a.out, "The %s key %s signs from now on. Relying parties that kept the old key set fetch it anew.\n", k.Alg, k.ID)
				} else {
					fmt.Fprintf(a.out, "Announced the %s key %s. It takes over by itself; what the former one signed stays valid.\n", k.Alg, k.ID)
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&now, "now", false, "let it sign at once, as after a key became known")
	c.Flags().StringVar(&alg, "alg", "RS256", "the `ALGORITHM`: RS256, ES256 or EdDSA")
	return a.withJSON(c)
}

func (a *app) keyGenerateCommand() *cobra.Command {
	var number uint16
	c := &cobra.Command{
		Use: "generate", Short: "print a fresh root key for secrets.keys", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			if number == 0 {
				return misuse("--number is from 1 to 65535")
			}
			// The key alone, so that `> root.key` makes a file for file:root.key.
			fmt.Fprintln(a.out, secret.NewRootKey(number).String())
			return nil
		},
	}
	c.Flags().Uint16Var(&number, "number", 1, "its `NUMBER`, by which what it seals is recognised")
	return c
}
