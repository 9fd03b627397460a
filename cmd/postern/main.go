// Package main is the command postern: it wires the rooms together, serves, and administers from
// the command line, beside a server or without one.
//
// It holds no rules: a command reads its input, calls a deed of idp.Provider and says what it did.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	_ "time/tzdata" // mails tell times in a person's zone, also where the system has no zones

	"github.com/spf13/cobra"

	"postern/config"
	"postern/idp"
	"postern/idp/posture"
)

// Exit codes, as docs/commands.md lists them.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitSettings = 78 // EX_CONFIG of sysexits.h
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}, os.Args[1:])
	os.Exit(code)
}

// An app is what a command works with. Tests make their own.
type app struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ []string

	files []string // of the flag --config
	set   []string // of the flag --set
	json  bool     // of the flag --json
	yes   bool     // of the flag --yes
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, a *app, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		problems.Write(a.err, consequence(cmd))
		return exitSettings
	}
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(a.err, "postern: %s\nSee `%s --help`.\n", usage, cmd.CommandPath())
		return exitUsage
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintf(a.err, "postern: %s\n", words(err))
	}
	return exitFailure
}

// consequence says what cmd left undone when the settings are no good.
func consequence(cmd *cobra.Command) string {
	switch {
	case cmd.Name() == "serve":
		return "Nothing was started."
	case cmd.HasParent() && cmd.Parent().Name() == "config":
		return "" // it did what it was asked for
	}
	return "Nothing was done."
}

// errSaid is an error that was told already.
var errSaid = errors.New("said")

// A usageError is a command line that cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func (a *app) root() *cobra.Command {
	root := group("postern", "an OpenID Connect provider")
	root.Long = "Postern is an OpenID Connect provider in one binary.\n\n" +
		"Try it: postern demo\nRun it: POSTERN_ISSUER=https://id.example.com postern serve"
	root.Version = thisBuild().Version
	root.SetVersionTemplate(thisBuild().String() + "\n")
	root.SilenceUsage, root.SilenceErrors = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse("%s", flagWords(err)) })
	root.SetHelpCommand(a.helpCommand())
	root.AddCommand(
		a.demoCommand(), a.serveCommand(), a.configCommand(), a.userCommand(), a.inviteCommand(), a.clientCommand(),
		a.sessionCommand(), a.lockoutCommand(), a.auditCommand(), a.mailCommand(), a.checkCommand(), a.keyCommand(), a.migrateCommand(), a.versionCommand(),
	)
	return root
}

// flagWords is what is wrong with a flag, without the names of Go's functions.
func flagWords(err error) string {
	number, ok := errors.AsType[*strconv.NumError](err)
	if !ok {
		return err.Error()
	}
	remedy := "write a number"
	if number.Func == "ParseUint" { // `key generate` alone has such a flag
		remedy = "write a number from 1 to 65535"
	}
	text, _, _ := strings.Cut(err.Error(), ": strconv.")
	return text + ": " + remedy
}

// group is a command that has others below it and does nothing itself.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		if nearest := c.SuggestionsFor(args[0]); len(nearest) > 0 {
			return misuse("there is no command %q. Did you mean `%s %s`?", args[0], c.CommandPath(), nearest[0])
		}
		return misuse("there is no command %q", args[0])
	}
	c.AddCommand(below...)
	return c
}

// exactly says what arguments a command takes.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return misuse("%s is missing", names[len(args)])
		case len(args) > len(names):
			return misuse("%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// withSettings gives c and what is below it the flags that say where settings are.
func (a *app) withSettings(c *cobra.Command) *cobra.Command {
	flags := c.PersistentFlags()
	flags.StringArrayVar(&a.files, "config", nil, "read settings from `FILE`; several, the later ones win (default postern.yaml, if it is there)")
	flags.StringArrayVar(&a.set, "set", nil, "set one `KEY=VALUE` above files and environment; no secrets here")
	return c
}

func (a *app) withJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.json, "json", false, "write JSON")
	return c
}

func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND | CODE]", Short: "explain a command, or a code such as CFG-012 or W219",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				if code, ok := config.Explain(args[0]); ok {
					fmt.Fprintf(a.out, "%s: %s\n\n%s\n", code.ID, code.Title, code.Text)
					return nil
				}
				if _, ok := posture.Explain(strings.ToUpper(args[0])); ok {
					return a.explainCheck(strings.ToUpper(args[0]))
				}
				if strings.HasPrefix(strings.ToUpper(args[0]), "CFG-") {
					return misuse("there is no code %s; codes go from %s to %s", args[0], config.Codes[0].ID, config.Codes[len(config.Codes)-1].ID)
				}
			}
			target, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return misuse("there is no command or code %q", strings.Join(args, " "))
			}
			return target.Help()
		},
	}
}

// words is an error for the person at the terminal.
func words(err error) string {
	e, ok := errors.AsType[*idp.Error](err)
	if !ok {
		return err.Error()
	}
	text := e.Code
	if said, ok := said[e.Code]; ok {
		text = filled(strings.ReplaceAll(said, "{field}", flagOf(e.Field)), e.Args)
	} else if e.Field != "" {
		text = e.Field + ": " + e.Code
	}
	if e.Kind == idp.Internal || e.Kind == idp.Unavailable {
		if e.Cause != nil {
			text += ": " + e.Cause.Error()
		}
	}
	for _, more := range e.More {
		text += "; " + words(more)
	}
	return text
}

// flagOf is the flag of `client add` for a property of RFC 7591 §2.
func flagOf(field string) string {
	switch field {
	case "redirect_uris", "grant_types", "response_types", "default_acr_values":
		field = strings.TrimSuffix(field, "s")
	case "client_name", "client_uri":
		field = strings.TrimPrefix(field, "client_")
	case "client_secret":
		field = "secret_stdin"
	case "id_token_signed_response_alg":
		field = "id_token_alg"
	case "pkce_optional":
		field = "pkce"
	}
	return "--" + strings.ReplaceAll(field, "_", "-")
}

// filled puts arguments in the place of their names in braces.
func filled(text string, args map[string]any) string {
	for name, value := range args {
		text = strings.ReplaceAll(text, "{"+name+"}", fmt.Sprint(value))
	}
	return text
}
