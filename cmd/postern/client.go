package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/config"
	"postern/idp"
)

// clientView is a client as --json shows it, under RFC 7591's names where it has them.
type clientView struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret,omitempty"` // once, when it was made
	idp.Metadata
	Secrets   []secretView `json:"secrets"`
	Disabled  bool         `json:"disabled"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

type secretView struct {
	ID        idp.ID     `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func viewClient(c idp.Client, secret string) clientView {
	v := clientView{
		ID: c.ID, Secret: secret, Metadata: c.Metadata, Secrets: []secretView{},
		Disabled: !c.Live(), CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
	for _, s := range c.Secrets {
		v.Secrets = append(v.Secrets, secretView{s.ID, s.CreatedAt, s.ExpiresAt})
	}
	return v
}

func (a *app) clientCommand() *cobra.Command {
	return a.withSettings(group("client", "add, list and change clients, the relying parties",
		a.clientAddCommand(), a.clientListCommand(), a.clientShowCommand(), a.clientDeleteCommand(),
		a.clientUpdateCommand(), a.clientRotateSecretCommand(), a.clientRevokeSecretsCommand()))
}

// clientFlags are what `client add` reads.
type clientFlags struct {
	idp.Client
	public, secretStdin bool
	scopes              []string
	pkce                string
}

func (a *app) clientAddCommand() *cobra.Command {
	var f clientFlags
	c := &cobra.Command{
		Use: "add --name NAME --redirect-uri URI", Short: "add a client", Args: exactly(),
		Example: "  postern client add --name Grafana --redirect-uri https://grafana.example.com/login/generic_oauth",
		RunE: func(c *cobra.Command, _ []string) error {
			if f.Metadata.Name == "" {
				return misuse("--name is missing")
			}
			if err := f.finish(); err != nil {
				return err
			}
			chosen := ""
			if f.secretStdin {
				if a.terminal() != nil {
					return misuse("--secret-stdin reads a file or a pipe, and standard input is a terminal")
				}
				line, err := a.readLine()
				if err != nil {
					return err
				}
				if line == "" {
					return misuse("standard input has no secret in its first line")
				}
				chosen = line
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				client, secret, err := o.AddClient(ctx, f.Client, chosen)
				if err != nil {
					return err
				}
				return a.showAdded(client, secret, o.issuer)
			})
		},
	}
	f.declare(c)
	return a.withJSON(c)
}

func (f *clientFlags) declare(c *cobra.Command) {
	flags, m := c.Flags(), &f.Metadata
	lists := func(p *idp.List, name, usage string) { flags.StringArrayVar((*[]string)(p), name, nil, usage) }
	flags.StringVar(&m.Name, "name", "", "the `NAME` that people are shown")
	flags.StringVar(&f.ID, "client-id", "", "choose the `ID`; a generated one otherwise")
	flags.BoolVar(&f.public, "public", false, "it cannot keep a secret: a browser or a native application")
	flags.BoolVar(&f.secretStdin, "secret-stdin", false, "read a chosen secret from the first line of standard input")
	lists(&m.RedirectURIs, "redirect-uri", "where authorization answers may go, exactly this `URI`; several")
	lists(&m.GrantTypes, "grant-type", "a grant `TYPE` it may use; several (default authorization_code and refresh_token)")
	lists(&m.ResponseTypes, "response-type", "a response `TYPE` it may use; several (default code)")
	flags.StringArrayVar(&f.scopes, "scope", nil, "`SCOPES` it may ask for, joined with spaces; several")
	lists(&m.Audience, "audience", "a resource `URI` whose tokens it may introspect; several")
	flags.StringVar(&m.TokenEndpointAuthMethod, "token-endpoint-auth-method", "", "`METHOD`: client_secret_basic, client_secret_post or none")
	flags.StringVar(&f.pkce, "pkce", "required", "`WHEN`: required, or optional for a confidential client that cannot")
	flags.StringVar(&m.IDTokenAlg, "id-token-alg", "", "sign its ID tokens with `ALG`: RS256, ES256 or EdDSA")
	flags.StringVar(&m.ApplicationType, "application-type", "", "`TYPE`: web or native, which may use any loopback port")
	flags.BoolVar(&m.FirstParty, "first-party", false, "it is yours: people are not asked for consent")
	flags.Func("default-max-age", "sign people in anew after this `TIME`: 30m, 12h, 1d", f.setMaxAge)
	declareACRs(flags, m)
	flags.BoolVar(&m.RequireAuthTime, "require-auth-time", false, "its ID tokens always have auth_time")
	flags.StringVar(&m.URI, "uri", "", "its home page, a `URL`")
	flags.StringVar(&m.LogoURI, "logo-uri", "", "its logo, a `URL`")
	flags.StringVar(&m.PolicyURI, "policy-uri", "", "its privacy policy, a `URL`")
	flags.StringVar(&m.TOSURI, "tos-uri", "", "its terms, a `URL`")
}

// declareACRs declares what client add and client update have in common.
func declareACRs(flags *pflag.FlagSet, m *idp.Metadata) {
	flags.StringVar(&m.MinimumACR, "minimum-acr", "", "every sign-in for it, and its tokens at userinfo, reach this `ACR` of mfa.acr at least")
	flags.StringArrayVar((*[]string)(&m.DefaultACRValues), "default-acr-value", nil, "an `ACR` that it asks for where a request asks for none; several, the best first")
}

// setMaxAge reads a duration as settings have them.
func (f *clientFlags) setMaxAge(text string) error {
	d, ok := config.ParseDuration(text)
	if !ok {
		return errors.New("write a number and a unit: 336h, or 14d")
	}
	seconds := int64(d / time.Second)
	f.Metadata.DefaultMaxAge = &seconds
	return nil
}

// finish makes the client of the flags.
func (f *clientFlags) finish() error {
	m := &f.Metadata
	for _, s := range f.scopes {
		m.Scopes = append(m.Scopes, strings.Fields(s)...)
	}
	switch f.pkce {
	case "required":
	case "optional":
		m.PKCEOptional = true
	default:
		return misuse("--pkce %q is neither required nor optional", f.pkce)
	}
	if f.public {
		if m.TokenEndpointAuthMethod != "" && m.TokenEndpointAuthMethod != idp.AuthNone {
			return misuse("--public contradicts --token-endpoint-auth-method %s", m.TokenEndpointAuthMethod)
		}
		m.TokenEndpointAuthMethod = idp.AuthNone
	}
	if f.secretStdin && m.TokenEndpointAuthMethod == idp.AuthNone {
		return misuse("a public client has no secret")
	}
	return nil
}

func (a *app) showAdded(c idp.Client, secret, issuer string) error {
	if a.json {
		return a.writeJSON(viewClient(c, secret))
	}
	fmt.Fprintf(a.out, "Added the client %s.\n\n  client_id      %s\n", c.DisplayName(), c.ID)
	if secret != "" {
		fmt.Fprintf(a.out, "  client_secret  %s\n\nThe secret is not shown again. ", secret)
	} else {
		fmt.Fprintln(a.out)
	}
	fmt.Fprintf(a.out, "Everything else the relying party finds at %s/.well-known/openid-configuration\n", cmp.Or(issuer, "ISSUER"))
	return nil
}

func (a *app) clientListCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "list", Short: "list clients by ID", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				clients, err := o.Clients(ctx)
				if err != nil {
					return err
				}
				views := []clientView{}
				for _, c := range clients {
					views = append(views, viewClient(c, ""))
				}
				return a.listClients(views)
			})
		},
	})
}

func (a *app) listClients(clients []clientView) error {
	if a.json {
		return a.writeJSON(clients)
	}
	if len(clients) == 0 {
		fmt.Fprintln(a.out, "There are no clients yet. Add one: postern client add --name NAME --redirect-uri URI")
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT ID\tNAME\tAUTHENTICATION\tREDIRECT URIS")
	for _, c := range clients {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.ID, c.Name, c.TokenEndpointAuthMethod, strings.Join(c.RedirectURIs, " "))
	}
	return w.Flush()
}

func (a *app) clientShowCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "show CLIENT-ID", Short: "show a client", Args: exactly("CLIENT-ID"),
		RunE: a.withClient(func(_ context.Context, _ *office, c idp.Client) error {
			if a.json {
				return a.writeJSON(viewClient(c, ""))
			}
			m := c.Metadata
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "client_id\t%s\nname\t%s\nredirect URIs\t%s\ngrant types\t%s\nresponse types\t%s\nscopes\t%s\nauthentication\t%s\nsecrets\t%d\nfirst party\t%t\nminimum acr\t%s\ndefault acr values\t%s\nadded\t%s\n",
				c.ID, m.Name, strings.Join(m.RedirectURIs, " "), strings.Join(m.GrantTypes, " "), strings.Join(m.ResponseTypes, ", "),
				strings.Join(m.Scopes, " "), m.TokenEndpointAuthMethod, len(c.Secrets), m.FirstParty,
				cmp.Or(m.MinimumACR, "none"), cmp.Or(strings.Join(m.DefaultACRValues, " "), "none"), c.CreatedAt.Format(time.RFC3339))
			return w.Flush()
		}),
	})
}

// withClient finds the client that the first argument names.
func (a *app) withClient(deed func(ctx context.Context, o *office, c idp.Client) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		return a.do(c.Context(), func(ctx context.Context, o *office) error {
			client, err := o.Client(ctx, args[0])
			if idp.KindOf(err) == idp.Missing && err != nil {
				return fmt.Errorf("there is no client with the ID %q; see `postern client list`", args[0])
			}
			if err != nil {
				return err
			}
			return deed(ctx, o, *client)
		})
	}
}

func (a *app) clientDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "delete CLIENT-ID", Short: "remove a client with its consents and grants", Args: exactly("CLIENT-ID"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.confirm(fmt.Sprintf("Delete the client %s for good?", args[0])); err != nil {
				return err
			}
			return a.withClient(func(ctx context.Context, o *office, client idp.Client) error {
				if err := o.DeleteClient(ctx, client.ID); err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(map[string]any{"deleted": client.ID})
				}
				fmt.Fprintf(a.out, "Deleted the client %s with its consents and grants.\n", client.ID)
				return nil
			})(c, args)
		},
	}
	c.Flags().BoolVar(&a.yes, "yes", false, "do not ask")
	return a.withJSON(c)
}

func (a *app) clientUpdateCommand() *cobra.Command {
	var wanted idp.Metadata
	c := &cobra.Command{
		Use: "update CLIENT-ID", Short: "change what a client asks of those who sign in for it", Args: exactly("CLIENT-ID"),
		Long: "Change what a client asks of those who sign in for it. CLIENT-ID stands in 'postern client list'. What is not named stays. An empty value clears:\n" +
			"--minimum-acr ''. Tokens that were issued for less are refused at userinfo from then on, with the challenge of\n" +
			"RFC 9470; at other resources whoever introspects them sees their acr.",
		Example: "  postern client update 0b0f3f0c-5a8e-4d4e-9a6b-0f7a1d2c3e4f --minimum-acr urn:postern:acr:mfa",
	}
	flags := c.Flags()
	declareACRs(flags, &wanted)
	c.RunE = a.withClient(func(ctx context.Context, o *office, client idp.Client) error {
		minimum, values := flags.Changed("minimum-acr"), flags.Changed("default-acr-value")
		if !minimum && !values {
			return misuse("nothing is to be changed: name --minimum-acr or --default-acr-value")
		}
		updated, err := o.UpdateClient(ctx, client.ID, func(m *idp.Metadata) {
			if minimum {
				m.MinimumACR = wanted.MinimumACR
			}
			if values {
				m.DefaultACRValues = slices.DeleteFunc(wanted.DefaultACRValues, func(v string) bool { return v == "" })
			}
		})
		if err != nil {
			return err
		}
		if a.json {
			return a.writeJSON(viewClient(updated, ""))
		}
		m := updated.Metadata
		fmt.Fprintf(a.out, "The client %s asks for: minimum acr %s; by default %s.\n",
			updated.ID, cmp.Or(m.MinimumACR, "none"), cmp.Or(strings.Join(m.DefaultACRValues, " "), "none"))
		return nil
	})
	return a.withJSON(c)
}

func (a *app) clientRotateSecretCommand() *cobra.Command {
	var revoke bool
	c := &cobra.Command{
		Use: "rotate-secret CLIENT-ID", Short: "give a client a new secret; the old ones live on unless they are revoked", Args: exactly("CLIENT-ID"),
		Long: "Give a client a new secret beside the former ones. When its relying party has the new one, end the former ones\n" +
			"with 'postern client revoke-secrets CLIENT-ID'.\n\n" +
			"--revoke is for a secret that became known: every former secret ends at once, also one that was just deployed,\n" +
			"and the relying party stops working until it has the new one.",
		RunE: a.withClient(func(ctx context.Context, o *office, client idp.Client) error {
			secret, err := o.RotateSecret(ctx, client.ID, revoke)
			if err != nil {
				return err
			}
			if a.json {
				return a.writeJSON(map[string]any{"client_id": client.ID, "client_secret": secret, "revoked": revoke})
			}
			fmt.Fprintf(a.out, "  client_id      %s\n  client_secret  %s\n\nThe secret is not shown again. ", client.ID, secret)
			if revoke {
				fmt.Fprintln(a.out, "The former ones are dead: the relying party stops working until it has this one.")
			} else {
				fmt.Fprintf(a.out, "The former ones live on. When the relying party has the new one, end them:\n  postern client revoke-secrets %s\n", client.ID)
			}
			return nil
		}),
	}
	c.Flags().BoolVar(&revoke, "revoke", false, "after a leak: end every former secret at once; the relying party stops working until it has the new one")
	return a.withJSON(c)
}

func (a *app) clientRevokeSecretsCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "revoke-secrets CLIENT-ID", Short: "end every secret of a client but the newest", Args: exactly("CLIENT-ID"),
		Long: "End every secret of a client but the newest, once its relying party uses that one. Access tokens that the client\n" +
			"got for itself (client_credentials) end with them; it asks for others.",
		RunE: a.withClient(func(ctx context.Context, o *office, client idp.Client) error {
			revoked, err := o.RevokeSecrets(ctx, client.ID)
			if err != nil {
				return err
			}
			if a.json {
				return a.writeJSON(map[string]any{"client_id": client.ID, "revoked": revoked})
			}
			fmt.Fprintf(a.out, "Ended the former secrets of the client %s (%d). The newest lives on.\n", client.ID, revoked)
			return nil
		}),
	})
}
