package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/config"
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
	SignsAt   *time.Time `json:"signs_at,omitempty"` // when an announced key will sign
	GoneAt    *time.Time `json:"gone_at,omitempty"`  // when a retired key will be published no more
}

func (o *office) viewKey(k idp.Key) keyView {
	v := keyView{ID: k.ID, Alg: k.Alg, State: string(k.State), CreatedAt: k.CreatedAt, ActiveAt: k.ActiveAt, RetiredAt: k.RetiredAt}
	switch at := o.MovesOn(k); k.State {
	case idp.KeyAnnounced:
		v.SignsAt = &at
	case idp.KeyRetired:
		v.GoneAt = &at
	}
	return v
}

func (a *app) keyCommand() *cobra.Command {
	return a.withSettings(group("key", "list, rotate and withdraw signing keys, make root keys and seal with them",
		a.keyListCommand(), a.keyRotateCommand(), a.keyWithdrawCommand(), a.keyGenerateCommand(), a.keyResealCommand()))
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
					views = append(views, o.viewKey(k))
				}
				if a.json {
					return a.writeJSON(views)
				}
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "KEY\tALGORITHM\tSTATE\tMADE\tSIGNS FROM\tGONE AT")
				for _, k := range views {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Alg, k.State, k.CreatedAt.Format(time.RFC3339), moment(k.SignsAt), moment(k.GoneAt))
				}
				return w.Flush()
			})
		},
	})
}

// moment is a time of a table, "-" for none.
func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func (a *app) keyRotateCommand() *cobra.Command {
	var now bool
	var alg string
	c := &cobra.Command{
		Use: "rotate", Short: "announce a new signing key, which signs once everybody can know it", Args: exactly(),
		Long: "Announce a new signing key. It is published at once and signs after 24 hours, when every relying party\n" +
			"has seen it; the former one then retires, and stays published while what it signed may be shown.\n\n" +
			"With --now the announced key of the algorithm signs at once, or a new one where none is announced. The former\n" +
			"one is still published: after a key became known, take it out with 'postern key withdraw KID', too.",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				k, err := o.RotateKey(ctx, alg, now)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(o.viewKey(k))
				}
				if now {
					return a.tellReplaced(ctx, o, k)
				}
				fmt.Fprintf(a.out, "Announced the %s key %s. It signs from %s; what the former one signed stays valid.\n",
					k.Alg, k.ID, o.MovesOn(k).Format(time.RFC3339))
				return nil
			})
		},
	}
	c.Flags().BoolVar(&now, "now", false, "let the announced key sign at once, or a new one where none is announced")
	c.Flags().StringVar(&alg, "alg", "RS256", "the `ALGORITHM`: RS256, ES256 or EdDSA")
	return a.withJSON(c)
}

// tellReplaced says that k signs, and what to do about the key before it.
func (a *app) tellReplaced(ctx context.Context, o *office, k idp.Key) error {
	fmt.Fprintf(a.out, "The %s key %s signs from now on. Relying parties that kept the old key set fetch it anew.\n", k.Alg, k.ID)
	keys, err := o.Keys(ctx)
	if err != nil {
		return err
	}
	var former *idp.Key
	for i, other := range keys {
		retired := other.Alg == k.Alg && other.State == idp.KeyRetired && other.RetiredAt != nil
		if retired && (former == nil || other.RetiredAt.After(*former.RetiredAt)) {
			former = &keys[i]
		}
	}
	if former == nil {
		return nil
	}
	kid := former.ID
	if strings.HasPrefix(kid, "-") {
		kid = "-- " + kid // or it would be read as a flag
	}
	fmt.Fprintf(a.out, "The former one is published until %s, so that what it signed stays valid. If it became known, end that now:\n"+
		"  postern key withdraw %s\n", o.MovesOn(*former).Format(time.RFC3339), kid)
	return nil
}

func (a *app) keyWithdrawCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "withdraw KID", Short: "take an announced or retired signing key out of the key set at once", Args: exactly("KID"),
		Long: "Take an announced or retired signing key out of the key set at once, as after it became known. What it signed\n" +
			"is no longer valid for whoever fetches the key set anew; a relying party that keeps a copy trusts the key for as long\n" +
			"as it does. The key that signs is refused: replace it first with 'postern key rotate --now'.\n\n" +
			"Give a KID that begins with a hyphen behind two: postern key withdraw -- KID",
		RunE: func(c *cobra.Command, args []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				k, err := o.WithdrawKey(ctx, args[0])
				if errors.Is(err, idp.ErrNotFound) {
					return fmt.Errorf("there is no key %q", args[0])
				}
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(map[string]any{"withdrawn": k.ID, "alg": k.Alg})
				}
				fmt.Fprintf(a.out, "Withdrew the %s key %s. Servers publish it no more within seconds; relying parties that kept a copy\n"+
					"of the key set trust it until they fetch it anew: restart those that matter.\n", k.Alg, k.ID)
				return nil
			})
		},
	})
}

func (a *app) keyResealCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "reseal", Short: "seal signing keys and the secrets of apps with the first root key of secrets.keys", Args: exactly(),
		Long: "Seal the signing keys and the secrets of authenticator apps with the first root key of secrets.keys, so that the\n" +
			"former ones open none of them any more.\n\n" +
			"The order of a rotation: make a root key with 'postern key generate --number N', append it to secrets.keys of every\n" +
			"node and restart them, put it first on every node and restart them, and reseal. Former root keys stay in\n" +
			"secrets.keys, behind the first: recovery codes, tokens and cookies are MACs that were made under them, nobody can\n" +
			"make them anew, and they would die with their key. No node starts without a key that the database knows.",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				resealed, err := o.ResealKeys(ctx)
				if err != nil {
					return err
				}
				apps, failure := o.ResealFactors(ctx) // those that open are sealed in any case
				if a.json {
					err = a.writeJSON(map[string]int{"resealed": resealed, "apps": apps})
				} else {
					_, err = fmt.Fprintf(a.out, "Sealed %s and the secrets of %s anew.\n",
						count(resealed, "signing key", "signing keys"), count(apps, "authenticator app", "authenticator apps"))
				}
				return errors.Join(failure, err)
			})
		},
	})
}

func (a *app) keyGenerateCommand() *cobra.Command {
	var number uint16
	c := &cobra.Command{
		Use: "generate", Short: "print a fresh root key for secrets.keys", Args: exactly(),
		Long: "Print a fresh root key for secrets.keys. Its number is one more than the highest of the root keys that there are,\n" +
			"in secrets.keys or in postern.keys beside the SQLite file; it is 1 where there are none, and where they cannot be\n" +
			"read, which is told on standard error.",
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case !c.Flags().Changed("number"):
				highest, err := a.highestRootKey()
				if err != nil {
					fmt.Fprintf(a.err, "postern: the root keys that there are cannot be read, so this one has the number 1; where one has that, choose with --number: %s\n", err)
				}
				if highest == math.MaxUint16 {
					return fmt.Errorf("a root key has the number %d, the highest: choose one with --number", highest)
				}
				number = highest + 1
			case number == 0:
				return misuse("--number is from 1 to 65535")
			}
			// The key alone, so that `> root.key` makes a file for file:root.key.
			fmt.Fprintln(a.out, secret.NewRootKey(number).String())
			return nil
		},
	}
	c.Flags().Uint16Var(&number, "number", 0, "its `NUMBER`, by which what it seals is recognised (default one more than the highest)")
	return c
}

// highestRootKey is the highest number of the root keys that there are, 0 for none. Settings with
// problems will do, such as those of PostgreSQL that lack a root key still, while their keys are readable.
func (a *app) highestRootKey() (highest uint16, err error) {
	loaded, err := a.databaseSettings()
	if loaded == nil {
		return 0, err
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			if p.Key == "" || p.Key == "secrets.keys" && p.Code != "CFG-041" || p.Key == "database.url" {
				return 0, fmt.Errorf("%s %s", cmp.Or(p.Key, p.Place.String()), p.Reason)
			}
		}
	}
	lines := loaded.Secrets.Keys
	if path := loaded.Database.SQLitePath(); len(lines) == 0 && path != "" {
		lines, err = readKeys(filepath.Join(filepath.Dir(path), keysFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	for _, line := range lines {
		k, err := parseRootKey(line)
		if err != nil {
			return 0, err
		}
		highest = max(highest, k.Number)
	}
	return highest, nil
}
