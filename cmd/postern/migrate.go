package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/storage"
)

func (a *app) migrateCommand() *cobra.Command {
	return a.withSettings(group("migrate", "show and change the schema of the database",
		a.migrateStatusCommand(), a.migrateUpCommand()))
}

func (a *app) migrateStatusCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "status", Short: "show which migrations the database has", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := a.databaseSettings()
			if err != nil {
				return err
			}
			all, err := storage.Migrations(c.Context(), loaded.Database.URL)
			if err != nil {
				return err
			}
			if a.json {
				return a.writeJSON(all)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "VERSION\tNAME\tAPPLIED")
			pending := 0
			for _, m := range all {
				applied := "pending"
				if m.AppliedAt != nil {
					applied = m.AppliedAt.Format(time.RFC3339)
				} else {
					pending++
				}
				fmt.Fprintf(w, "%d\t%s\t%s\n", m.Version, m.Name, applied)
			}
			w.Flush()
			if pending > 0 {
				fmt.Fprintf(a.out, "\n%s pending. `postern migrate up` applies them, and so does the next `postern serve`.\n", count(pending, "migration is", "migrations are"))
			}
			return nil
		},
	})
}

func (a *app) migrateUpCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "up", Short: "bring the schema up to date", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := a.databaseSettings()
			if err != nil {
				return err
			}
			if path := loaded.Database.SQLitePath(); fileExists(path) {
				if err := ownedByUs(path); err != nil {
					return err
				}
			}
			applied, err := storage.Up(c.Context(), loaded.Database.URL)
			if err != nil {
				return err
			}
			// A fresh database gets its keys now, so that commands can work before a server does.
			if err := a.do(c.Context(), func(context.Context, *office) error { return nil }); err != nil {
				return err
			}
			if a.json {
				return a.writeJSON(append([]storage.Migration{}, applied...))
			}
			if len(applied) == 0 {
				fmt.Fprintln(a.out, "The schema is up to date. Nothing was changed.")
				return nil
			}
			for _, m := range applied {
				fmt.Fprintf(a.out, "Applied %d %s.\n", m.Version, m.Name)
			}
			return nil
		},
	})
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return path != "" && err == nil
}
