package main

import (
	"os"
	"path/filepath"
	"regexp"
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

// shownCommand is a command line in a document.
var shownCommand = regexp.MustCompile("(?m)`(postern [^`]+)`|^ *(?:\\$ )?(postern .*)$")

// What a document shows can be typed: the command is there, with its flags.
func TestDocumentsShowCommandsThatAreThere(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, file := range append(files, "../../README.md", "../../SECURITY.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range shownCommand.FindAllStringSubmatch(string(text), -1) {
			line := strings.Join(strings.Fields(match[1]+match[2]), " ")
			if strings.Contains(line, "…") || len(strings.Fields(line)) < 2 {
				continue
			}
			shown++
			judgeShown(t, filepath.Base(file), line)
		}
	}
	if shown < 80 {
		t.Errorf("only %d command lines were found", shown)
	}
}

func judgeShown(t *testing.T, file, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " > ")
	words := strings.Fields(line)[1:]
	if words[0] == "help" {
		return // cobra adds it when it runs
	}
	c, rest, err := (&app{}).root().Find(words)
	if err != nil || (c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-")) || !c.HasParent() && !strings.HasPrefix(words[0], "-") {
		t.Errorf("%s: there is no command `postern %s`", file, strings.Join(words, " "))
		return
	}
	for _, word := range words {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		long := strings.HasPrefix(word, "--") && c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil
		short := strings.HasPrefix(word, "-") && len(word) == 2 && c.Flags().ShorthandLookup(name) == nil
		if (long || short) && name != "help" && name != "version" {
			t.Errorf("%s: `%s` has no flag %s", file, line, word)
		}
	}
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
		"demo", "config check", "config show", "user add", "user list", "user show", "user set-password", "user verify", "user unlock", "user reset-mfa", "user disable", "user enable", "user delete",
		"client add", "client list", "client show", "client update", "client delete", "client rotate-secret", "client revoke-secrets", "session list", "session end",
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
