package storage

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var embedded embed.FS

// versionTable is where goose notes which migrations were applied.
const versionTable = "migrations"

// ErrSchema says that the database's schema is not the one that this program knows: missing, older
// or newer. The error's text tells which, and which command mends it.
var ErrSchema = errors.New("the database's schema does not fit this program")

// A Migration is one step of the schema.
type Migration struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // nil where it is still to come
}

var errNoFile = fmt.Errorf("%w: there is no file", ErrSchema)

// Migrations lists every migration that this program knows, oldest first, and when each was
// applied. It changes nothing and makes no file: where one is missing all are to come.
func Migrations(ctx context.Context, url string) ([]Migration, error) {
	s, err := schemaOf(url, refuseMissing)
	if errors.Is(err, errNoFile) {
		return toCome()
	}
	if err != nil {
		return nil, err
	}
	defer s.db.Close()
	return s.migrations(ctx)
}

// toCome lists every migration as one that is still to come. It connects to nothing.
func toCome() ([]Migration, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return sqliteSchema(db, "").known()
}

// Up brings the schema up to date, making an SQLite file that is missing, and returns the
// migrations that it applied. Of several processes one works and the others wait for it. It returns
// ErrServed where something is to be applied while a server runs.
func Up(ctx context.Context, url string) ([]Migration, error) {
	s, err := schemaOf(url, makeFile)
	if err != nil {
		return nil, err
	}
	defer s.db.Close()
	if s.dialect == goose.DialectSQLite3 {
		if err := turnOnWAL(ctx, s.db); err != nil {
			return nil, err
		}
	}
	return s.up(ctx)
}

// A schema is a database as its migrations see it.
type schema struct {
	db      *sql.DB
	dialect goose.Dialect
	exists  string                                                 // counts the tables that are named versionTable
	lock    func(context.Context) (unlock func() error, err error) // waits for others that migrate
	hold    func(context.Context, hold) (release func() error, err error)
}

// schemaOf returns a schema whose db the caller closes. It does what `missing` says where an
// SQLite file is missing.
func schemaOf(url string, missing func(path string) error) (*schema, error) {
	file, isSQLite := strings.CutPrefix(url, sqlitePrefix)
	if !isSQLite {
		connector, err := pq.NewConnector(url)
		if err != nil {
			return nil, err
		}
		return postgresSchema(sql.OpenDB(connector)), nil
	}
	file, err := prepareFile(file, missing)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(file))
	if err != nil {
		return nil, err
	}
	return sqliteSchema(db, file), nil
}

// sqliteSchema locks a file beside the database: SQLite's own locks are given up between two
// migrations.
func sqliteSchema(db *sql.DB, file string) *schema {
	const exists = `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '` + versionTable + `'`
	return &schema{db, goose.DialectSQLite3, exists, func(ctx context.Context) (func() error, error) {
		return lockFile(ctx, file+".lock")
	}, holdFile(file)}
}

// advisoryLock is the first number of our advisory locks ("pstn"); the second is the schema's.
const advisoryLock = 0x7073746e

func postgresSchema(db *sql.DB) *schema {
	const exists = `SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '` + versionTable + `'`
	return &schema{db, goose.DialectPostgres, exists, func(ctx context.Context) (func() error, error) {
		c, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		_, err = c.ExecContext(ctx, `SELECT pg_advisory_lock($1, hashtext(current_schema()))`, advisoryLock)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return func() error {
			_, err := c.ExecContext(context.Background(), `SELECT pg_advisory_unlock($1, hashtext(current_schema()))`, advisoryLock)
			return errors.Join(err, c.Close())
		}, nil
	}, holdSchema(db)}
}

// prepareSchema migrates s where o asks for it, or only checks it, and closes its db.
func prepareSchema(ctx context.Context, s *schema, o Options) error {
	defer s.db.Close()
	err := s.check(ctx)
	if !o.Migrate || !errors.Is(err, errOlder) {
		return err
	}
	done, err := s.up(ctx)
	for _, m := range done {
		o.Log.Info("the schema was migrated", "version", m.Version, "name", m.Name)
	}
	return err
}

var errOlder = fmt.Errorf("%w: it is older", ErrSchema)

// check compares the schema's version with the one that this program knows.
func (s *schema) check(ctx context.Context) error {
	known, err := s.known()
	if err != nil {
		return err
	}
	applied, err := s.applied(ctx)
	if err != nil {
		return err
	}
	want := known[len(known)-1].Version
	switch {
	case applied < want:
		return fmt.Errorf("%w: it has version %d and this program needs %d; `postern migrate up` mends it", errOlder, applied, want)
	case applied > want:
		return fmt.Errorf("%w: it has version %d and this program knows %d; run the newer program that made it, or restore a backup", ErrSchema, applied, want)
	}
	return nil
}

// applied is the version of the last migration that was applied, 0 for none.
func (s *schema) applied(ctx context.Context) (int64, error) {
	var exists int
	if err := s.db.QueryRowContext(ctx, s.exists).Scan(&exists); err != nil || exists == 0 {
		return 0, err
	}
	store, err := s.goose()
	if err != nil {
		return 0, err
	}
	version, err := store.GetLatestVersion(ctx, s.db)
	if errors.Is(err, database.ErrVersionNotFound) {
		return 0, nil
	}
	return version, err
}

func (s *schema) goose() (database.Store, error) {
	return database.NewStore(database.Dialect(s.dialect), versionTable)
}

// known lists the migrations of this program, oldest first.
func (s *schema) known() ([]Migration, error) {
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	var list []Migration
	for _, source := range p.ListSources() {
		list = append(list, Migration{Version: source.Version, Name: nameOf(source)})
	}
	return list, nil
}

func (s *schema) migrations(ctx context.Context) ([]Migration, error) {
	list, err := s.known()
	if err != nil {
		return nil, err
	}
	applied, err := s.applied(ctx)
	if err != nil || applied == 0 {
		return list, err
	}
	store, err := s.goose()
	if err != nil {
		return nil, err
	}
	for i, m := range list {
		result, err := store.GetMigration(ctx, s.db, m.Version)
		if errors.Is(err, database.ErrVersionNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		at := result.Timestamp.UTC()
		list[i].AppliedAt = &at
	}
	return list, nil
}

func (s *schema) up(ctx context.Context) (done []Migration, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock the schema: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.check(ctx); !errors.Is(err, errOlder) {
		return nil, err // another process was first
	}
	release, err := s.hold(ctx, alone)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	for _, r := range results {
		at := time.Now().UTC()
		done = append(done, Migration{Version: r.Source.Version, Name: nameOf(r.Source), AppliedAt: &at})
	}
	return done, nil
}

func (s *schema) provider() (*goose.Provider, error) {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(s.dialect, s.db, files,
		goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(
			goose.NewGoMigration(2, &goose.GoFunc{RunTx: s.postgresOnly(tune)}, nil),
			goose.NewGoMigration(4, &goose.GoFunc{RunTx: s.postgresOnly(tuneGate)}, nil),
			goose.NewGoMigration(6, &goose.GoFunc{RunTx: s.postgresOnly(tuneAccounts)}, nil),
			goose.NewGoMigration(8, &goose.GoFunc{RunTx: s.postgresOnly(tuneFactors)}, nil),
		))
}

// goNames are the names of the migrations that are written in Go.
var goNames = map[int64]string{2: "tune", 4: "tune_gate", 6: "tune_accounts", 8: "tune_factors"}

func nameOf(s *goose.Source) string {
	if name, ok := goNames[s.Version]; ok {
		return name
	}
	_, name, _ := strings.Cut(strings.TrimSuffix(path.Base(s.Path), ".sql"), "_")
	return name
}

// postgresOnly is a migration that sends statements to PostgreSQL, and does nothing to SQLite.
// PostgreSQL leaves room in the pages of rows that change often, so that a change touches no index
// (HOT), and orders names by their bytes, as SQLite does.
func (s *schema) postgresOnly(statements []string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		if s.dialect != goose.DialectPostgres {
			return nil
		}
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	}
}

var tune = []string{
	`ALTER TABLE grants SET (fillfactor = 80)`,
	`ALTER TABLE sessions SET (fillfactor = 80)`,
	`ALTER TABLE counters SET (fillfactor = 80)`,
	`ALTER TABLE users ALTER COLUMN username_key TYPE TEXT COLLATE "C", ALTER COLUMN email_key TYPE TEXT COLLATE "C"`,
	`ALTER TABLE consents ALTER COLUMN client_id TYPE TEXT COLLATE "C"`,
	`ALTER TABLE clients ALTER COLUMN id TYPE TEXT COLLATE "C"`,
	`ALTER TABLE keys ALTER COLUMN id TYPE TEXT COLLATE "C"`,
}

var tuneGate = []string{
	`ALTER TABLE counters SET (fillfactor = 80)`,
	`ALTER TABLE devices SET (fillfactor = 80)`,
}

var tuneAccounts = []string{
	`ALTER TABLE tickets SET (fillfactor = 80)`,
	`ALTER TABLE emails ALTER COLUMN key TYPE TEXT COLLATE "C"`,
	`ALTER TABLE tickets ALTER COLUMN scope TYPE TEXT COLLATE "C"`,
}

var tuneFactors = []string{
	`ALTER TABLE authenticators SET (fillfactor = 80)`,
}
