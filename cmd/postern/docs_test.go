package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestDocumentOfTheCommandsHasEveryCommand(t *testing.T) {
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	each((&app{}).root(), func(c *cobra.Command) {
		if c.HasSubCommands() || c.Name() == "help" {
			return
		}
		path := c.CommandPath()
		if !strings.Contains(string(text), "`"+path+"`") && !strings.Contains(string(text), "`"+path+" ") {
			t.Errorf("docs/commands.md lacks `%s`", path)
		}
	})
}

func TestEveryCommandExplainsItselfAndItsFlags(t *testing.T) {
	each((&app{}).root(), func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no words", c.CommandPath())
		}
		if !c.HasSubCommands() && c.Args == nil && c.Name() != "help" && c.CommandPath() != "postern session end" {
			t.Errorf("%s takes any arguments", c.CommandPath())
		}
		for _, secret := range []string{"password", "secret", "token"} {
			if c.Flags().Lookup(secret) != nil {
				t.Errorf("%s has a flag for a secret", c.CommandPath())
			}
		}
	})
}

// Whatever lists or tells a result can tell it to a program.
func TestListingsAndResultsHaveJSON(t *testing.T) {
	for _, path := range []string{
		"demo", "config check", "config show", "user add", "user list", "user show", "user set-password", "user unlock", "user disable", "user enable", "user delete",
		"client add", "client list", "client show", "client delete", "client rotate-secret", "client revoke-secrets", "session list", "session end",
		"lockout list", "lockout reset", "audit tail", "audit prune", "check",
		"key list", "key rotate", "key withdraw", "key reseal", "migrate status", "migrate up", "version",
	} {
		c, _, err := (&app{}).root().Find(strings.Fields(path))
		if err != nil || c.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json: %v", path, err)
		}
	}
}

func each(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, below := range c.Commands() {
		each(below, do)
	}
}
