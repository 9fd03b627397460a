package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
)

// factorsView is a user with what they sign in with beside a password, as --json shows them. None of it
// is secret.
type factorsView struct {
	userView
	Factors         []factorView  `json:"factors"`
	RecoveryCodes   *recoveryView `json:"recovery_codes,omitempty"`
	TrustedBrowsers int           `json:"trusted_browsers"`
	Policy          string        `json:"factor_policy"`
	EnrolBy         *time.Time    `json:"enrol_by,omitempty"` // until when they may go on without a factor
}

type factorView struct {
	ID         idp.ID     `json:"id"`
	Kind       string     `json:"kind"` // totp or webauthn
	Name       string     `json:"name,omitempty"`
	Model      string     `json:"model,omitempty"`
	Synced     bool       `json:"synced,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
	DisabledAt *time.Time `json:"disabled_at,omitempty"` // where it was found to be copied
}

type recoveryView struct {
	Left      int       `json:"left"`
	Of        int       `json:"of"`
	CreatedAt time.Time `json:"created_at"`
}

func viewFactors(u idp.User, own *idp.OwnFactors) factorsView {
	v := factorsView{userView: viewUser(u), Factors: []factorView{}, TrustedBrowsers: len(own.Trusted), Policy: string(own.Policy)}
	for _, f := range listed(own) {
		v.Factors = append(v.Factors, factorView{
			f.ID, string(f.Kind), f.Name, f.Model, f.Synced, f.CreatedAt, f.LastUsedAt, f.DisabledAt,
		})
	}
	if r := own.Recovery; r != nil {
		v.RecoveryCodes = &recoveryView{r.Left, r.Of, r.CreatedAt}
	}
	if !own.Grace.IsZero() {
		v.EnrolBy = &own.Grace
	}
	return v
}

// listed are the app and the keys.
func listed(own *idp.OwnFactors) []idp.Factor {
	if own.App == nil {
		return own.Passkeys
	}
	return append([]idp.Factor{*own.App}, own.Passkeys...)
}

// tellFactors writes rows of a table.
func tellFactors(w io.Writer, own *idp.OwnFactors) {
	policy := string(own.Policy)
	if !own.Grace.IsZero() {
		policy += ", from " + own.Grace.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "factor policy\t%s\n", policy)
	if len(listed(own)) == 0 {
		fmt.Fprintln(w, "second factors\tnone")
	}
	for _, f := range listed(own) {
		told := []string{"added " + f.CreatedAt.Format(time.RFC3339)}
		if f.LastUsedAt != nil {
			told = append(told, "last used "+f.LastUsedAt.Format(time.RFC3339))
		}
		if f.Model != "" {
			told = append(told, f.Model)
		}
		if f.Synced {
			told = append(told, "synced")
		}
		if f.DisabledAt != nil {
			told = append(told, "disabled "+f.DisabledAt.Format(time.RFC3339)+": it was copied")
		}
		kind := "passkey"
		if f.Kind == idp.TOTPKind {
			kind = "authenticator app"
		}
		if f.Name != "" {
			told = append([]string{f.Name}, told...)
		}
		fmt.Fprintf(w, "%s\t%s\n", kind, strings.Join(told, ", "))
	}
	if r := own.Recovery; r != nil {
		fmt.Fprintf(w, "recovery codes\t%d of %d left, made %s\n", r.Left, r.Of, r.CreatedAt.Format(time.RFC3339))
	}
	if len(own.Trusted) > 0 {
		fmt.Fprintf(w, "trusted browsers\t%d\n", len(own.Trusted))
	}
}

func (a *app) userResetFactorsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "reset-mfa USER", Short: "remove a user's second factors and recovery codes, for whoever lost all of them", Args: exactly("USER"),
		Long: "Remove a user's authenticator app, passkeys and recovery codes, for whoever lost all of them. Their sessions end,\n" +
			"their grants are revoked, and they are told by mail. Their password stays: with it alone they sign in next, and\n" +
			"where a second factor is required they set up another one then.\n\n" +
			"Make sure first that it is they who ask: it is the way by which an account is taken over.",
		RunE: a.withUser(func(ctx context.Context, o *office, u idp.User) error {
			own, err := o.UserFactors(ctx, u.ID)
			if err != nil {
				return err
			}
			if own.App == nil && len(own.Passkeys) == 0 && own.Recovery == nil {
				return fmt.Errorf("%s has no second factor", u.Username)
			}
			question := fmt.Sprintf("Remove every second factor of %s (%s), and their recovery codes?", u.Username, u.ID)
			if err := a.confirm(question); err != nil {
				return err
			}
			if err := o.ResetFactors(ctx, u.ID); err != nil {
				return err
			}
			return a.changed(ctx, o, u.ID, "Removed every second factor of %s with the recovery codes, ended their sessions and revoked their grants.", u.Username)
		}),
	}
	c.Flags().BoolVar(&a.yes, "yes", false, "do not ask")
	return a.withJSON(c)
}
