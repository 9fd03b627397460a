package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
	"postern/idp/guard"
)

func (a *app) lockoutCommand() *cobra.Command {
	return a.withSettings(group("lockout", "list and clear what the gate counts, and its blocks",
		a.lockoutListCommand(), a.lockoutResetCommand()))
}

// whom are the flags that say whose counters a command is about.
type whom struct{ user, ip string }

func (w *whom) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.user, "user", "", "only what is counted of this `USER`: a name, an e-mail address or an ID")
	c.Flags().StringVar(&w.ip, "ip", "", "only what is counted of this `ADDRESS`, or of its network as lists show it")
}

// address is the one of c's flag, invalid where there is none. A flag that is there and empty, by an
// empty variable of a script, would say less than somebody meant.
func (w *whom) address(c *cobra.Command) (netip.Addr, error) {
	for name, value := range map[string]string{"user": w.user, "ip": w.ip} {
		if value == "" && c.Flags().Changed(name) {
			return netip.Addr{}, misuse("--%s is empty", name)
		}
	}
	if w.ip == "" {
		return netip.Addr{}, nil
	}
	if network, err := netip.ParsePrefix(w.ip); err == nil {
		a := network.Addr()
		if one := guard.Network(a); network.Bits() < one.Bits() {
			return a, misuse("--ip %s is wider than what is counted together: name an address in it, or %s", w.ip, one)
		}
		return a, nil
	}
	a, err := netip.ParseAddr(w.ip)
	if err != nil {
		return a, misuse("--ip %q is no address", w.ip)
	}
	return a.Unmap().WithZone(""), nil
}

// withCounters is do for a command about counters, which must be where a command reaches them.
func (a *app) withCounters(ctx context.Context, deed func(ctx context.Context, o *office) error) error {
	return a.do(ctx, func(ctx context.Context, o *office) error {
		switch o.handler {
		case "memory":
			return fmt.Errorf("lockout.handler is memory: the counters are within the server, where no command reaches them. They end with it, or use `lockout.handler: database`")
		case "dummy":
			return fmt.Errorf("lockout.handler is dummy: nothing is counted, and nobody is locked out")
		}
		return deed(ctx, o)
	})
}

// countersView is what --json shows of a list.
type countersView struct {
	Counters []idp.Lock  `json:"counters"`
	Blocks   []blockView `json:"blocks"`
}

// blockView is a block as --json shows it.
type blockView struct {
	Network   netip.Prefix `json:"network"`
	Why       string       `json:"why"`
	Until     time.Time    `json:"until"`
	CreatedAt time.Time    `json:"created_at"`
}

func (a *app) lockoutListCommand() *cobra.Command {
	var w whom
	var locked bool
	c := &cobra.Command{
		Use: "list", Short: "list counters that hold something, and blocks", Args: exactly(),
		Long: "List blocks, then counters that hold something: those that refuse first, then by how near they are.",
		RunE: func(c *cobra.Command, _ []string) error {
			address, err := w.address(c)
			if err != nil {
				return err
			}
			return a.withCounters(c.Context(), func(ctx context.Context, o *office) error {
				locks, err := o.Locks(ctx, w.user, address)
				if err != nil {
					return err
				}
				if locked {
					locks = slices.DeleteFunc(locks, func(l idp.Lock) bool { return !l.Locked })
				}
				slices.SortStableFunc(locks, nearest)
				view := countersView{append([]idp.Lock{}, locks...), []blockView{}}
				if w.user == "" {
					if view.Blocks, err = blocksOf(ctx, o, address); err != nil {
						return err
					}
				}
				nothing := "Nothing is counted, and nobody is blocked."
				if locked {
					nothing = "Nobody is locked out or blocked."
				}
				return a.listCounters(view, nothing)
			})
		},
	}
	w.flags(c)
	c.Flags().BoolVar(&locked, "locked", false, "only what refuses now")
	return a.withJSON(c)
}

// nearest is the order of those that refuse, then of the share of their limit that is used.
func nearest(a, b idp.Lock) int {
	share := func(l idp.Lock) float64 {
		if l.Locked {
			return math.Inf(1)
		}
		return float64(l.Failures) / float64(l.Limit)
	}
	return cmp.Compare(share(b), share(a))
}

// blocksOf are the blocks of an address, or all.
func blocksOf(ctx context.Context, o *office, address netip.Addr) ([]blockView, error) {
	blocks, err := o.Blocks(ctx)
	if err != nil {
		return nil, err
	}
	views := []blockView{}
	for _, b := range blocks {
		if !address.IsValid() || b.Network.Contains(address) {
			views = append(views, blockView{b.Network, b.Why, b.Until, b.CreatedAt})
		}
	}
	return views, nil
}

func (a *app) listCounters(v countersView, nothing string) error {
	if a.json {
		return a.writeJSON(v)
	}
	if len(v.Counters)+len(v.Blocks) == 0 {
		fmt.Fprintln(a.out, nothing)
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tOF\tNETWORK\tFAILURES\tLOCKED UNTIL")
	for _, b := range v.Blocks {
		fmt.Fprintf(w, "block: %s\t-\t%s\t-\t%s\n", b.Why, b.Network, lockEnd(b.Until))
	}
	for _, l := range v.Counters {
		name := l.Username
		switch {
		case name == "" && l.User != nil:
			name = l.User.String()
		case name == "" && l.Name != "":
			name = "(nobody) " + l.Name
		}
		until := "-"
		switch {
		case l.Locked && l.Until.IsZero(): // a rate limit
			until = "within " + period(l.Kind)
		case l.Locked:
			until = lockEnd(l.Until)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d of %d\t%s\n", l.Kind, shown(cmp.Or(name, "-")), cmp.Or(l.Network, "-"), l.Failures, l.Limit, until)
	}
	return w.Flush()
}

// period is that of a rate limit's kind, "login_failed 5/5m/key".
func period(kind string) string {
	_, rest, _ := strings.Cut(kind, "/")
	text, _, _ := strings.Cut(rest, "/")
	if len(text) == 1 {
		return "1" + text
	}
	return text
}

// lockEnd is a time for the eyes, which may be never.
func lockEnd(t time.Time) string {
	if !t.Before(guard.Forever) {
		return "somebody clears it"
	}
	return t.Format(time.RFC3339)
}

// shown is text that cannot steer a terminal or break a table.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

func (a *app) lockoutResetCommand() *cobra.Command {
	var w whom
	var all bool
	c := &cobra.Command{
		Use: "reset --user USER | --ip ADDRESS | --all", Short: "clear counters and blocks, on every node within a few seconds", Args: exactly(),
		Long: "Clear what is counted of a user, of an address with its blocks, or with both flags of that user\n" +
			"at that address. Who was locked out can sign in within a few seconds, when every running server has taken note.",
		RunE: func(c *cobra.Command, _ []string) error {
			address, err := w.address(c)
			if err != nil {
				return err
			}
			if all == (w.user != "" || address.IsValid()) {
				return misuse("name a --user, an --ip, or both; or --all")
			}
			return a.withCounters(c.Context(), func(ctx context.Context, o *office) error {
				return a.clearLocks(ctx, o, w.user, address)
			})
		},
	}
	w.flags(c)
	c.Flags().BoolVar(&all, "all", false, "clear everything that is counted, and every block")
	return a.withJSON(c)
}

func (a *app) clearLocks(ctx context.Context, o *office, user string, address netip.Addr) error {
	counters, blocks, err := o.ClearLocks(ctx, user, address)
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(map[string]int{"counters": counters, "blocks": blocks})
	}
	fmt.Fprintf(a.out, "Cleared %s and %s.\n", count(counters, "counter", "counters"), count(blocks, "block", "blocks"))
	if counters+blocks > 0 {
		fmt.Fprintln(a.out, "Running servers take note within a few seconds.")
	}
	if user == "" || address.IsValid() {
		return nil
	}
	u, err := o.FindUser(ctx, user)
	switch {
	case err == nil:
		return a.hintAtAddress(ctx, o, u)
	case idp.KindOf(err) != idp.Missing:
		return err
	case counters == 0: // else a name that is nobody's had some
		fmt.Fprintf(a.out, "There is no user of that name: %s\n", shown(user))
	}
	return nil
}

// lastFailures is how many failures of a user are looked through for their addresses.
const lastFailures = 20

// hintAtAddress names the last address that u failed from where that refuses, whoever comes.
func (a *app) hintAtAddress(ctx context.Context, o *office, u idp.User) error {
	attempts, err := o.Attempts(ctx, idp.AttemptFilter{UserID: u.ID}, idp.ID{}, lastFailures)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, attempt := range attempts {
		address, err := netip.ParseAddr(attempt.Address) // which may be masked
		if err != nil || seen[attempt.Address] {
			continue
		}
		seen[attempt.Address] = true
		locks, err := o.Locks(ctx, "", address)
		if err != nil {
			return err
		}
		blocks, err := blocksOf(ctx, o, address)
		if err != nil {
			return err
		}
		refuses := func(l idp.Lock) bool { return l.Locked && l.User == nil && l.Name == "" }
		if len(blocks) > 0 || slices.ContainsFunc(locks, refuses) {
			fmt.Fprintf(a.out, "If they still cannot sign in, look at: postern lockout list --ip %s\n", address)
			return nil
		}
	}
	return nil
}

func (a *app) userUnlockCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "unlock USER", Short: "clear what the gate counts of a user: lockout reset --user", Args: exactly("USER"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withCounters(c.Context(), func(ctx context.Context, o *office) error {
				u, err := o.FindUser(ctx, args[0])
				if err != nil && idp.KindOf(err) == idp.Missing {
					return fmt.Errorf("there is no user %q", args[0])
				}
				if err != nil {
					return err
				}
				return a.clearLocks(ctx, o, u.ID.String(), netip.Addr{})
			})
		},
	})
}
