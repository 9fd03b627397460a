package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"postern/config"
	"postern/idp"
	loginui "postern/login-ui"
	"postern/storage"
)

// settings reads and judges the settings of a server.
func (a *app) settings(dev bool) (*config.Loaded, error) { return a.load(config.Source{Dev: dev}) }

// databaseSettings reads and judges the settings of a command on the database.
func (a *app) databaseSettings() (*config.Loaded, error) {
	return a.load(config.Source{DatabaseAlone: true})
}

// load judges the settings with what other rooms know of their grammar.
func (a *app) load(s config.Source) (*config.Loaded, error) {
	s.Files, s.Environ, s.Set = a.files, a.environ, a.set
	loaded, err := config.Load(s)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, err
	}
	problems = append(problems, judgeGate(loaded)...)
	problems = append(problems, judgeRootKeys(loaded, unreadKeys(problems))...)
	if len(problems) > 0 {
		problems.Sort()
		return loaded, problems
	}
	return loaded, nil
}

// unreadKeys tells whether a reference among the root keys has a problem of its own: its key is
// empty then.
func unreadKeys(problems config.Problems) bool {
	return slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Key == "secrets.keys" })
}

// judgeRootKeys asks the keyring whether it can read the root keys. What it answers never quotes one.
func judgeRootKeys(loaded *config.Loaded, unread bool) (problems config.Problems) {
	numbers := map[uint16]bool{}
	for i, text := range loaded.Secrets.Keys {
		if unread && text == "" {
			continue
		}
		k, err := parseRootKey(text)
		switch {
		case err != nil:
			problems = append(problems, loaded.Problem("secrets.keys", "CFG-042", fmt.Sprintf("item %d: %s", i+1, err),
				"Paste a line of `postern key generate`."))
		case numbers[k.Number]:
			problems = append(problems, loaded.Problem("secrets.keys", "CFG-043", fmt.Sprintf("has two keys of the number %d", k.Number),
				"Make the newer one with `postern key generate --number N`."))
		}
		numbers[k.Number] = true
	}
	return problems
}

// An office is a provider on the database, for a command.
type office struct {
	*idp.Provider
	store   *storage.Store
	gate    gate
	handler string // lockout.handler
	issuer  string // "" where the settings of the command have none
	mails   bool   // whether what is to be mailed is left for a server to send
	signup  string // signup.mode
	proof   string // email.verification
}

// close ends what open began.
func (o *office) close() error { return errors.Join(o.gate.close(), o.store.Close()) }

// open opens the database for a command, beside a server or without one (I-22): the schema is
// checked, never changed.
func (a *app) open(ctx context.Context) (*office, error) {
	loaded, err := a.databaseSettings()
	if err != nil {
		return nil, err
	}
	return a.openWith(ctx, loaded)
}

// openWith is open with settings that were judged.
func (a *app) openWith(ctx context.Context, loaded *config.Loaded) (*office, error) {
	if err := ownedByUs(loaded.Database.SQLitePath()); err != nil {
		return nil, err
	}
	// Commands answer for themselves; only what went wrong underneath is logged.
	log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := storage.Open(ctx, loaded.Database.URL, storage.Options{Log: log})
	if err != nil {
		return nil, err
	}
	o := &office{
		store: store, handler: loaded.Lockout.Handler, issuer: loaded.Issuer, signup: loaded.Signup.Mode, proof: loaded.Email.Verification,
	}
	if o.gate, err = openGate(ctx, loaded.Config); err != nil {
		o.gate = gate{unreachableGate{err}, nothingToClose}
	}
	options := idp.Options{Log: log, Gate: o.gate.Store, Security: slog.New(slog.DiscardHandler)}
	if o.issuer != "" { // with which every link begins
		options.Mailer, err = loginui.NewMailer(loaded.Config, nil)
	}
	o.mails = options.Mailer != nil
	if err == nil {
		o.Provider, err = newProvider(ctx, loaded.Config, shortStore{store}, options)
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// do opens the database, runs a command's deed and closes it.
func (a *app) do(ctx context.Context, deed func(ctx context.Context, o *office) error) error {
	o, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	return deed(ctx, o)
}

func newProvider(ctx context.Context, cfg *config.Config, store idp.Store, o idp.Options) (*idp.Provider, error) {
	ring, err := keyring(ctx, cfg, store)
	if err != nil {
		return nil, err
	}
	return idp.New(ctx, store, cfg, ring, o)
}

// maxTx is how long a command holds a transaction: a server beside it waits for the writer.
const maxTx = 2 * time.Second

// A shortStore gives up transactions that last (I-22).
type shortStore struct{ idp.Store }

// Tx implements idp.Store.
func (s shortStore) Tx(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxTx)
	defer cancel()
	return s.Store.Tx(ctx, fn)
}

// ownedByUs refuses to work on an SQLite file of another user: what SQLite makes beside it would
// belong to us, and the server could not write any more (I-22).
func ownedByUs(path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database at %s yet. `postern serve` makes it, or `postern migrate up`", path)
	}
	if err != nil {
		return err
	}
	if owner, ours := owner(info); !ours {
		return fmt.Errorf("%s belongs to the user with the number %s. Run this command as that user", path, owner)
	}
	return nil
}
