//go:build !unix

package storage

import (
	"context"
	"io/fs"
	"os"
)

// checkOwner knows no owners here.
func checkOwner(string, fs.FileInfo) error { return nil }

// lockFile only marks the file: without advisory locks one process at a time may migrate.
func lockFile(_ context.Context, path string) (unlock func() error, err error) {
	unlock, _, err = tryLockFile(path, alone)
	return unlock, err
}

// tryLockFile only marks the file, and is never in anybody's way.
func tryLockFile(path string, _ hold) (unlock func() error, locked bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	return f.Close, true, nil
}
