package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// busyTimeout is how long SQLite waits for another process that writes; a command gives up its
// transaction after txLimit, so that a server beside it is always served.
const busyTimeout = 5 * time.Second

func openSQLite(ctx context.Context, path string, o Options) (*Store, error) {
	missing := refuseMissing
	if o.Migrate {
		missing = makeFile
	}
	path, err := prepareFile(path, missing)
	if err != nil {
		return nil, err
	}
	if err := prepareSQLite(ctx, path, o); err != nil {
		return nil, err
	}
	writing, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, err
	}
	reading, err := sql.Open("sqlite", dsn(path)+"&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	// A connection that is given up is closed, and with it undone what was under way.
	writing.SetMaxIdleConns(0)
	reading.SetMaxIdleConns(0)
	readers := newPool(max(2, min(8, 2*runtime.GOMAXPROCS(0))), 0, opener(reading, "sqlite", o), o.Log)
	w := newWriter(opener(writing, "sqlite", o), o.Log)
	return &Store{
		readers: readers,
		writes:  w,
		names:   named(reading, "sqlite"),
		close: func() error {
			readers.stop()
			w.stop()
			return errors.Join(reading.Close(), writing.Close())
		},
	}, nil
}

func prepareSQLite(ctx context.Context, path string, o Options) error {
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return err
	}
	if err := turnOnWAL(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	return prepareSchema(ctx, sqliteSchema(db, path), o)
}

// dsn names the file with the settings that each connection needs. The file must exist.
func dsn(path string) string {
	escaped := (&url.URL{Path: path}).EscapedPath()
	return fmt.Sprintf("file:%s?mode=rw&_txlock=immediate&_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)",
		escaped, busyTimeout.Milliseconds())
}

// turnOnWAL makes the file one with a write-ahead log, which it stays. While another process does
// the same this one is told "locked" at once, whatever busy_timeout says.
func turnOnWAL(ctx context.Context, db *sql.DB) error {
	const tries, pause = 250, 20 * time.Millisecond
	var err error
	for range tries {
		if _, err = db.ExecContext(ctx, `PRAGMA journal_mode = WAL`); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return fmt.Errorf("turn on the write-ahead log: %w", err)
}

// prepareFile checks that path is ours, and does what `missing` says where there is no file. It
// returns the file's own name, beside which the locks lie: every symbolic link to it must meet
// the same ones.
func prepareFile(path string, missing func(path string) error) (real string, err error) {
	if path == "" || path == ":memory:" {
		return "", errors.New("sqlite: needs the path of a file")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = missing(path)
	case err == nil && info.IsDir():
		err = fmt.Errorf("%s is a folder", path)
	case err == nil:
		err = checkOwner(path, info)
	}
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

func refuseMissing(path string) error {
	return fmt.Errorf("%w %s; `postern serve` and `postern migrate up` make it", errNoFile, path)
}

// makeFile makes an empty file with mode 0600; SQLite gives its log the same. The file appears
// under its name when nobody has it open any more, since closing any descriptor of a file drops
// the locks that SQLite holds on it in this process.
func makeFile(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make %s: the directory %s does not exist", path, filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
