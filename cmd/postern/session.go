package main

import (
	"cmp"
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
)

// sessionView is a session as --json shows it.
type sessionView struct {
	ID         idp.ID    `json:"id"`
	UserID     idp.ID    `json:"user_id"`
	Username   string    `json:"username,omitempty"` // unless the user was deleted meanwhile
	State      string    `json:"state"`
	Methods    []string  `json:"amr"`
	AuthTime   time.Time `json:"auth_time"`
	Address    string    `json:"address,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
	Remembered bool      `json:"remembered"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	EndsAt     time.Time `json:"ends_at"`
}

func viewSession(s idp.Session, username string) sessionView {
	return sessionView{
		ID: s.ID, UserID: s.UserID, Username: username, State: string(s.State), Methods: s.AMR(), AuthTime: s.AuthTime(), Address: s.Address,
		UserAgent: s.UserAgent, Remembered: s.Remembered, CreatedAt: s.CreatedAt, LastSeenAt: s.LastSeenAt, EndsAt: s.EndsAt,
	}
}

func (a *app) sessionCommand() *cobra.Command {
	return a.withSettings(group("session", "list and end sessions", a.sessionListCommand(), a.sessionEndCommand()))
}

// userID is the ID of a user that a flag names, zero where it names none.
func userID(ctx context.Context, o *office, ref string) (idp.ID, error) {
	if ref == "" {
		return idp.ID{}, nil
	}
	u, err := o.FindUser(ctx, ref)
	if err != nil && idp.KindOf(err) == idp.Missing {
		return idp.ID{}, fmt.Errorf("there is no user %q", ref)
	}
	return u.ID, err
}

func (a *app) sessionListCommand() *cobra.Command {
	var user string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "list sessions that have not ended, newest first", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 {
				return misuse("--limit %d is less than 1", limit)
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				id, err := userID(ctx, o, user)
				if err != nil {
					return err
				}
				views, before, names := []sessionView{}, idp.ID{}, usernames{}
				for len(views) < limit {
					sessions, err := o.Sessions(ctx, id, before, min(page, limit-len(views)))
					if err != nil {
						return err
					}
					for _, s := range sessions {
						name, err := names.of(ctx, o, s.UserID)
						if err != nil {
							return err
						}
						views = append(views, viewSession(s, name))
						before = s.ID
					}
					if len(sessions) == 0 {
						break
					}
				}
				return a.listSessions(views)
			})
		},
	}
	c.Flags().StringVar(&user, "user", "", "only those of this `USER`")
	c.Flags().IntVar(&limit, "limit", 100, "at most `N`")
	return a.withJSON(c)
}

// usernames are those that were looked up already.
type usernames map[idp.ID]string

const maxUsernames = 1000 // that are remembered

// of is a user's name, "" where the user is gone.
func (n usernames) of(ctx context.Context, o *office, id idp.ID) (string, error) {
	if name, ok := n[id]; ok {
		return name, nil
	}
	u, err := o.FindUser(ctx, id.String())
	if err != nil && idp.KindOf(err) != idp.Missing {
		return "", err
	}
	if len(n) >= maxUsernames {
		clear(n)
	}
	n[id] = u.Username
	return u.Username, nil
}

func (a *app) listSessions(sessions []sessionView) error {
	if a.json {
		return a.writeJSON(sessions)
	}
	if len(sessions) == 0 {
		fmt.Fprintln(a.out, "Nobody is signed in.")
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tUSER\tSTATE\tADDRESS\tSIGNED IN\tLAST SEEN")
	for _, s := range sessions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, cmp.Or(s.Username, s.UserID.String()), s.State, s.Address, s.AuthTime.Format(time.RFC3339), s.LastSeenAt.Format(time.RFC3339))
	}
	return w.Flush()
}

func (a *app) sessionEndCommand() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use: "end SESSION | end --user USER", Short: "end one session, or all of a user",
		RunE: func(c *cobra.Command, args []string) error {
			if (user == "") == (len(args) == 0) || len(args) > 1 {
				return misuse("name one session, or --user")
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				n, err := endSessions(ctx, o, user, args)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(map[string]int{"ended": n})
				}
				fmt.Fprintf(a.out, "Ended %s.\n", count(n, "session", "sessions"))
				return nil
			})
		},
	}
	c.Flags().StringVar(&user, "user", "", "end every session of this `USER`")
	return a.withJSON(c)
}

func endSessions(ctx context.Context, o *office, user string, args []string) (int, error) {
	if user != "" {
		id, err := userID(ctx, o, user)
		if err != nil {
			return 0, err
		}
		return o.EndSessions(ctx, id)
	}
	id, err := idp.ParseID(args[0])
	if err != nil {
		return 0, misuse("%q is no session: `postern session list` shows them", args[0])
	}
	err = o.EndSession(ctx, id)
	if err != nil && idp.KindOf(err) == idp.Missing {
		return 0, fmt.Errorf("there is no session %s that has not ended", id)
	}
	return 1, err
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
