package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
)

// userView is a user as --json shows them.
type userView struct {
	ID            idp.ID      `json:"id"`
	Username      string      `json:"username"`
	Email         string      `json:"email,omitempty"`
	EmailVerified bool        `json:"email_verified"`
	Status        string      `json:"status"`
	Admin         bool        `json:"admin"`
	MustChange    bool        `json:"must_change_password"`
	Groups        []string    `json:"groups"`
	Claims        idp.Profile `json:"claims"`
	CreatedAt     time.Time   `json:"created_at"`
	UpdatedAt     time.Time   `json:"updated_at"`
}

func viewUser(u idp.User) userView {
	return userView{
		ID: u.ID, Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified, Status: string(u.Status),
		Admin: u.Admin, MustChange: u.MustChangePassword, Groups: append([]string{}, u.Groups...), Claims: u.Profile, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
}

func (a *app) userCommand() *cobra.Command {
	return a.withSettings(group("user", "add, list and change users",
		a.userAddCommand(), a.userImportCommand(), a.userListCommand(), a.userShowCommand(), a.userSetPasswordCommand(), a.userVerifyCommand(),
		a.userUnlockCommand(), a.userResetFactorsCommand(), a.userDisableCommand(), a.userEnableCommand(), a.userDeleteCommand()))
}

func (a *app) userAddCommand() *cobra.Command {
	var n idp.NewUser
	var stdin bool
	var claims []string
	c := &cobra.Command{
		Use: "add --username NAME", Short: "add a user", Args: exactly(),
		Example: "  postern user add --username alice --email alice@example.com --claim given_name=Alice",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if n.Username == "" {
				return misuse("--username is missing")
			}
			if n.Profile, err = profileOf(claims); err != nil {
				return err
			}
			if n.Password, err = a.password(stdin); err != nil {
				return err
			}
			if stdin && n.Password == "" {
				return misuse("standard input has no password in its first line")
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				u, err := o.AddUser(ctx, n)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(viewUser(u))
				}
				fmt.Fprintf(a.out, "Added the user %s (%s).\n", u.Username, u.ID)
				if n.Password == "" {
					fmt.Fprintf(a.out, "They have no password yet: postern user set-password %s\n", u.Username)
				}
				if u.Email != "" && !u.EmailVerified && o.proof == "mandatory" && !o.mails {
					fmt.Fprintf(a.out, "They cannot get in before %s is verified, and no mail is sent: postern user verify %s\n", u.Email, u.Username)
				}
				return nil
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&n.Username, "username", "", "the `NAME` to sign in with")
	flags.StringVar(&n.Email, "email", "", "the e-mail `ADDRESS`, which signs in as well")
	flags.BoolVar(&n.EmailVerified, "email-verified", false, "the address is known to be theirs")
	flags.BoolVar(&n.AllowReserved, "allow-reserved", false, "the username may be a reserved word, such as support")
	flags.BoolVar(&stdin, "password-stdin", false, "read the password from the first line of standard input")
	flags.BoolVar(&n.Admin, "admin", false, "they are an administrator: policies of lockout know them, and mails about the honeypot go to them")
	flags.StringArrayVar((*[]string)(&n.Groups), "group", nil, "they are in a `GROUP`, by which policies of lockout know them; several")
	flags.StringArrayVar(&claims, "claim", nil, "set a profile claim, `NAME=VALUE`; several: given_name=Alice, address.country=DE")
	return a.withJSON(c)
}

// profileOf reads claims, NAME=VALUE, by their names in OpenID Connect Core 1.0 §5.1.
func profileOf(claims []string) (p idp.Profile, err error) {
	members := map[string]any{}
	for _, claim := range claims {
		name, text, ok := strings.Cut(claim, "=")
		if !ok || name == "" {
			return p, misuse("--claim %q is not NAME=VALUE", claim)
		}
		in := members
		if section, member, nested := strings.Cut(name, "."); nested {
			below, _ := members[section].(map[string]any)
			if below == nil {
				below = map[string]any{}
				members[section] = below
			}
			in, name = below, member
		}
		if _, twice := in[name]; twice {
			return p, misuse("--claim %s is given twice", name)
		}
		in[name] = text
		if truth, err := strconv.ParseBool(text); err == nil && strings.HasSuffix(name, "_verified") {
			in[name] = truth
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return p, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, misuse("--claim: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return p, nil
}

const page = 500 // rows that a listing reads at a time

func (a *app) userListCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "list", Short: "list users by name", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				views, after := []userView{}, ""
				for {
					users, err := o.Users(ctx, after, page)
					if err != nil {
						return err
					}
					for _, u := range users {
						views = append(views, viewUser(u))
						after = u.UsernameKey
					}
					if len(users) < page {
						return a.listUsers(views)
					}
				}
			})
		},
	})
}

func (a *app) listUsers(users []userView) error {
	if a.json {
		return a.writeJSON(users)
	}
	if len(users) == 0 {
		fmt.Fprintln(a.out, "There are no users yet. Add one: postern user add --username NAME")
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USERNAME\tE-MAIL\tSTATUS\tADMIN\tID")
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\t%t\t%s\n", u.Username, u.Email, u.Status, u.Admin, u.ID)
	}
	return w.Flush()
}

func (a *app) userShowCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "show USER", Short: "show a user, by name, e-mail or ID", Args: exactly("USER"),
		RunE: a.withUser(func(ctx context.Context, o *office, u idp.User) error {
			factors, err := o.UserFactors(ctx, u.ID)
			if err != nil {
				return err
			}
			if a.json {
				return a.writeJSON(viewFactors(u, &factors))
			}
			claims, err := json.Marshal(u.Profile)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "id\t%s\nusername\t%s\ne-mail\t%s\nverified\t%t\nstatus\t%s\nadmin\t%t\ngroups\t%s\nclaims\t%s\nadded\t%s\n",
				u.ID, u.Username, u.Email, u.EmailVerified, u.Status, u.Admin, strings.Join(u.Groups, ", "), claims, u.CreatedAt.Format(time.RFC3339))
			tellFactors(w, &factors)
			return w.Flush()
		}),
	})
}

// withUser finds the user that the first argument names.
func (a *app) withUser(deed func(ctx context.Context, o *office, u idp.User) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		return a.do(c.Context(), func(ctx context.Context, o *office) error {
			u, err := o.FindUser(ctx, args[0])
			if idp.KindOf(err) == idp.Missing {
				return fmt.Errorf("there is no user %q", args[0])
			}
			if err != nil {
				return err
			}
			return deed(ctx, o, u)
		})
	}
}

// changed shows what became of a user.
func (a *app) changed(ctx context.Context, o *office, id idp.ID, format string, args ...any) error {
	if !a.json {
		fmt.Fprintf(a.out, format+"\n", args...)
		return nil
	}
	u, err := o.FindUser(ctx, id.String())
	if err != nil {
		return err
	}
	return a.writeJSON(viewUser(u))
}

func (a *app) userSetPasswordCommand() *cobra.Command {
	var stdin, lent bool
	c := &cobra.Command{
		Use: "set-password USER", Short: "set a user's password, and end what rests on the old one", Args: exactly("USER"),
		RunE: func(c *cobra.Command, args []string) error {
			password, err := a.password(stdin)
			if err != nil {
				return err
			}
			if password == "" {
				return misuse("there is no password: give it with --password-stdin")
			}
			return a.withUser(func(ctx context.Context, o *office, u idp.User) error {
				set := o.SetPassword
				if lent {
					set = o.LendPassword
				}
				if err := set(ctx, u.ID, password); err != nil {
					return err
				}
				return a.changed(ctx, o, u.ID, "Set the password of %s, ended their sessions and revoked their grants.", u.Username)
			})(c, args)
		},
	}
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from the first line of standard input")
	c.Flags().BoolVar(&lent, "must-change", false, "they have to choose another one when they sign in next")
	return a.withJSON(c)
}

func (a *app) userVerifyCommand() *cobra.Command {
	var address string
	c := &cobra.Command{
		Use: "verify USER", Short: "say that a user's e-mail address is known to be theirs, without a mail to prove it", Args: exactly("USER"),
		Long: "Say that a user's e-mail address is known to be theirs, without a mail to prove it. USER is a username or an ID:\n" +
			"an address that nobody proved may be claimed by somebody whose it is not.",
		Example: "  postern user verify alice\n  postern user verify alice --email alice@work.example",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withUser(func(ctx context.Context, o *office, u idp.User) error {
				if strings.Contains(args[0], "@") {
					return fmt.Errorf("%s finds %s (%s), whose it need not be: give the username or the ID", args[0], u.Username, u.ID)
				}
				if address == "" && u.Email == "" {
					return fmt.Errorf("%s has no e-mail address, and nothing to prove", u.Username)
				}
				verified, err := o.ConfirmEmail(ctx, u.ID, address)
				if idp.KindOf(err) == idp.Missing {
					return fmt.Errorf("%s is no address of %s; the primary one is %s", address, u.Username, cmp.Or(u.Email, "none"))
				}
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(viewUser(verified))
				}
				_, err = fmt.Fprintf(a.out, "%s is known to be an address of %s.\n", cmp.Or(address, u.Email), u.Username)
				return err
			})(c, args)
		},
	}
	c.Flags().StringVar(&address, "email", "", "the `ADDRESS`, one of theirs (default the primary one)")
	return a.withJSON(c)
}

func (a *app) userDisableCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "disable USER", Short: "turn a user off, at once and everywhere", Args: exactly("USER"),
		RunE: a.withUser(func(ctx context.Context, o *office, u idp.User) error {
			if err := o.DisableUser(ctx, u.ID); err != nil {
				return err
			}
			return a.changed(ctx, o, u.ID, "Disabled %s, ended their sessions and revoked their grants.\nTurn them on again: postern user enable %s", u.Username, u.Username)
		}),
	})
}

func (a *app) userEnableCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "enable USER", Short: "turn a user on again", Args: exactly("USER"),
		RunE: a.withUser(func(ctx context.Context, o *office, u idp.User) error {
			if err := o.EnableUser(ctx, u.ID); err != nil {
				return err
			}
			return a.changed(ctx, o, u.ID, "Enabled %s. They can sign in; what was ended stays ended.", u.Username)
		}),
	})
}

func (a *app) userDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "delete USER", Short: "remove a user with everything that is theirs", Args: exactly("USER"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.confirm(fmt.Sprintf("Delete %s for good?", args[0])); err != nil {
				return err
			}
			return a.withUser(func(ctx context.Context, o *office, u idp.User) error {
				if err := o.DeleteUser(ctx, u.ID); err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(map[string]any{"deleted": u.ID})
				}
				fmt.Fprintf(a.out, "Deleted %s (%s) with everything that was theirs.\n", u.Username, u.ID)
				return nil
			})(c, args)
		},
	}
	c.Flags().BoolVar(&a.yes, "yes", false, "do not ask")
	return a.withJSON(c)
}
