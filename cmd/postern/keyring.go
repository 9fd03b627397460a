package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
)

// keysFile is where root keys are that nobody configured, beside the SQLite file.
const keysFile = "postern.keys"

// keyring reads the root keys: those of the settings, or those of the keys file, which is made
// where the database is empty (I-10).
func keyring(ctx context.Context, cfg *config.Config, store idp.Store) (*secret.Keyring, error) {
	if len(cfg.Secrets.Keys) > 0 {
		return parseKeyring(cfg.Secrets.Keys)
	}
	path := filepath.Join(filepath.Dir(cfg.Database.SQLitePath()), keysFile)
	lines, err := readKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return parseKeyring(lines)
	}
	check, err := store.KeyCheck(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the key check of the database: %w", err)
	}
	if check != nil {
		return nil, fmt.Errorf("%s is missing, and the database was sealed with the keys in it. Put it back from your backup, or set secrets.keys", path)
	}
	if err := makeKeys(path); err != nil {
		return nil, err
	}
	// Another process may have made them first: what is in the file counts.
	if lines, err = readKeys(path); err != nil {
		return nil, err
	}
	return parseKeyring(lines)
}

func parseKeyring(lines []string) (*secret.Keyring, error) {
	var keys []secret.RootKey
	for _, line := range lines {
		k, err := parseRootKey(line)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return secret.NewKeyring(keys)
}

// parseRootKey reads an item of secrets.keys: a root key, alone but for lines with # for people, which
// a file may have that file: names.
func parseRootKey(text string) (secret.RootKey, error) {
	lines := keyLines(text)
	if len(lines) > 1 {
		return secret.RootKey{}, fmt.Errorf("there are %d lines beside those that begin with #, where one root key belongs", len(lines))
	}
	return secret.ParseRootKey(strings.Join(lines, ""))
}

// keyLines are the lines of text that are not empty and not for people.
func keyLines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// readKeys reads a keys file: a root key a line, the one that seals first, lines with # for people.
func readKeys(path string) ([]string, error) {
	if mode, open := config.OpenToOthers(path); open {
		return nil, fmt.Errorf("%s can be read by other users (mode %o). Run: chmod 600 %s", path, mode, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return keyLines(string(text)), nil
}

// makeKeys writes a fresh key to a file that nobody else can read, whole or not at all: of two
// processes that start at the same time one wins, and both find its key.
func makeKeys(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), keysFile+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "# Root keys of Postern. Keep a copy apart from the database: without it nothing that is sealed\n"+
		"# there can be read again, and with both anybody can act as any user.\n%s\n", secret.NewRootKey(1).String())
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}
