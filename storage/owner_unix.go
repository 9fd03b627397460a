//go:build unix

package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// checkOwner refuses a database of another operating system's user: whoever writes as root leaves
// log files behind that the server cannot open any more (I-22).
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	owner := strconv.Itoa(int(stat.Uid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	return fmt.Errorf("%s belongs to the user %s: run this as that user (sudo -u %s …)", path, owner, owner)
}

// lockFile takes an exclusive lock on a file beside the database and returns how to give it up.
// The file stays.
func lockFile(ctx context.Context, path string) (unlock func() error, err error) {
	const pause = 10 * time.Millisecond
	for {
		unlock, locked, err := tryLockFile(path, alone)
		if err != nil || locked {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// tryLockFile takes a lock on a file beside the database and tells whether nobody was in the way.
func tryLockFile(path string, h hold) (unlock func() error, locked bool, err error) {
	kind := syscall.LOCK_SH
	if h == alone {
		kind = syscall.LOCK_EX
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = syscall.Flock(int(f.Fd()), kind|syscall.LOCK_NB)
	for err == syscall.EINTR {
		err = syscall.Flock(int(f.Fd()), kind|syscall.LOCK_NB)
	}
	if err == syscall.EWOULDBLOCK {
		return nil, false, f.Close()
	}
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f.Close, true, nil
}
