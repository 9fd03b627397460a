package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/config"
	"postern/idp"
	loginui "postern/login-ui"
)

func (a *app) mailCommand() *cobra.Command {
	return a.withSettings(group("mail", "look at the mails that people get", a.mailPreviewCommand()))
}

// sampleIssuer is whose links a preview has where no issuer is set.
const sampleIssuer = "https://id.example.com"

func (a *app) mailPreviewCommand() *cobra.Command {
	var locale string
	var html bool
	c := &cobra.Command{
		Use: "preview KIND", Short: "print a mail of a kind as it would be sent, with made-up facts", Args: exactly("KIND"),
		Example: "  postern mail preview reset --locale de --html > reset.html",
		RunE: func(_ *cobra.Command, args []string) error {
			loaded, err := a.load(config.Source{DatabaseAlone: true})
			if err != nil {
				return err
			}
			cfg := *loaded.Config
			cfg.Issuer = cmp.Or(cfg.Issuer, sampleIssuer)
			samples := loginui.MailSamples(cfg.Issuer)
			i := slices.IndexFunc(samples, func(m idp.Mail) bool { return m.Kind == args[0] })
			if i < 0 {
				var kinds []string
				for _, m := range samples {
					kinds = append(kinds, m.Kind)
				}
				return misuse("there is no kind of mail %q, only %s", args[0], strings.Join(kinds, ", "))
			}
			m := samples[i]
			m.Locale = locale
			letter, err := loginui.RenderMail(&cfg, m)
			if err != nil {
				return err
			}
			switch {
			case a.json:
				return a.writeJSON(map[string]string{"kind": m.Kind, "subject": letter.Subject, "text": letter.Text, "html": letter.HTML})
			case html:
				fmt.Fprint(a.out, letter.HTML)
			default:
				fmt.Fprintf(a.out, "Subject: %s\n\n%s", letter.Subject, letter.Text)
			}
			return nil
		},
	}
	c.Flags().StringVar(&locale, "locale", "", "the `LANGUAGE`, such as de (default English)")
	c.Flags().BoolVar(&html, "html", false, "print the HTML")
	return a.withJSON(c)
}
