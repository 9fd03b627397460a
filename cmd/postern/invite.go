package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
)

// inviteView is an invite as --json shows it.
type inviteView struct {
	ID        idp.ID    `json:"id"`
	Email     string    `json:"email,omitempty"`
	Groups    []string  `json:"groups"`
	Admin     bool      `json:"admin"`
	State     string    `json:"state"` // open, used, revoked or expired
	UserID    idp.ID    `json:"user_id,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Link      string    `json:"link,omitempty"` // of one that was just made
}

func viewInvite(i idp.Invite, now time.Time) inviteView {
	v := inviteView{
		ID: i.ID, Email: i.Email, Groups: append([]string{}, i.Groups...), Admin: i.Admin, State: "expired",
		UserID: i.UserID, CreatedAt: i.CreatedAt, ExpiresAt: i.ExpiresAt,
	}
	switch {
	case i.RedeemedAt != nil:
		v.State = "used"
	case i.RevokedAt != nil:
		v.State = "revoked"
	case now.Before(i.ExpiresAt):
		v.State = "open"
	}
	return v
}

func (a *app) inviteCommand() *cobra.Command {
	return a.withSettings(group("invite", "let people sign up who have a link",
		a.inviteCreateCommand(), a.inviteListCommand(), a.inviteRevokeCommand()))
}

func (a *app) inviteCreateCommand() *cobra.Command {
	var n idp.NewInvite
	c := &cobra.Command{
		Use: "create", Short: "make a link with which one person can sign up", Args: exactly(),
		Example: "  postern invite create --email alice@example.com --group staff",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				if o.issuer == "" {
					return errors.New("issuer is not set, with which the link begins: set POSTERN_ISSUER")
				}
				i, token, err := o.AddInvite(ctx, n)
				if err != nil {
					return err
				}
				a.warnOfInvite(o)
				v := viewInvite(i, o.Now())
				v.Link = o.issuer + "/signup?invite=" + token
				if a.json {
					return a.writeJSON(v)
				}
				fmt.Fprintf(a.out, "%s\nIt works once, until %s. It is not shown again.\n", v.Link, i.ExpiresAt.Format(time.RFC3339))
				if i.Email != "" && o.mails {
					fmt.Fprintf(a.out, "It is mailed to %s.\n", i.Email)
				}
				return nil
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&n.Email, "email", "", "it is for this `ADDRESS` alone, and mailed to it where mail.transport is set")
	flags.StringArrayVar((*[]string)(&n.Groups), "group", nil, "whoever uses it is in a `GROUP`; several")
	flags.BoolVar(&n.Admin, "admin", false, "whoever uses it is an administrator")
	return a.withJSON(c)
}

// warnOfInvite tells what keeps the link from working. The server may have other settings by now, or
// get them later, so that it is no error.
func (a *app) warnOfInvite(o *office) {
	if o.signup == "closed" {
		fmt.Fprintln(a.err, "postern: the link does not work yet, since sign-up is closed: set signup.mode to invite where the server reads its settings, and start it anew.")
	}
	if !o.mails && o.proof == "mandatory" {
		fmt.Fprintln(a.err, "postern: whoever opens the link has to prove their address by mail, and mail.transport is empty: set it, or set email.verification to optional.")
	}
}

func (a *app) inviteListCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "list", Short: "list invites, newest first", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				views, before := []inviteView{}, idp.ID{}
				for {
					invites, err := o.Invites(ctx, before, page)
					if err != nil {
						return err
					}
					for _, i := range invites {
						views = append(views, viewInvite(i, o.Now()))
						before = i.ID
					}
					if len(invites) < page {
						return a.listInvites(views)
					}
				}
			})
		},
	})
}

func (a *app) listInvites(invites []inviteView) error {
	if a.json {
		return a.writeJSON(invites)
	}
	if len(invites) == 0 {
		fmt.Fprintln(a.out, "There are no invites. Make one: postern invite create")
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tFOR\tSTATE\tADMIN\tGROUPS\tEXPIRES")
	for _, i := range invites {
		who := i.Email
		if who == "" {
			who = "anybody"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%t\t%s\t%s\n", i.ID, who, i.State, i.Admin, strings.Join(i.Groups, ", "), i.ExpiresAt.Format(time.RFC3339))
	}
	return w.Flush()
}

func (a *app) inviteRevokeCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "revoke INVITE", Short: "end an invite that nobody used yet, by its ID", Args: exactly("INVITE"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := idp.ParseID(args[0])
			if err != nil {
				return misuse("%q is no ID of an invite; `postern invite list` shows them", args[0])
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				err := o.RevokeInvite(ctx, id)
				if idp.KindOf(err) == idp.Missing {
					return fmt.Errorf("there is no open invite %s", id)
				}
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(map[string]any{"revoked": id})
				}
				fmt.Fprintf(a.out, "Revoked the invite %s.\n", id)
				return nil
			})
		},
	})
}
