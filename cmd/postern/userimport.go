package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/idp"
)

// An importLine is one user of a file. Its members are the columns of CSV as well, where groups are
// joined with semicolons and a member of address is a column of its own, address.country.
type importLine struct {
	Username      string   `json:"username"`
	Email         string   `json:"email"`
	EmailVerified bool     `json:"email_verified"`
	PasswordHash  string   `json:"password_hash"`
	Password      string   `json:"password"`
	Admin         bool     `json:"admin"`
	Disabled      bool     `json:"disabled"`
	Groups        []string `json:"groups"`
	CreatedAt     string   `json:"created_at"`
	idp.Profile
}

// importedView is what became of a line, as --json shows it.
type importedView struct {
	Line     int              `json:"line"`
	Username string           `json:"username,omitempty"`
	Status   idp.ImportStatus `json:"status"`
	Scheme   string           `json:"scheme,omitempty"`
	Reasons  []string         `json:"reasons,omitempty"`
	ID       idp.ID           `json:"id,omitzero"`
}

// An importReader reads one user after the other, until io.EOF. A badLine is the error of a line alone.
type importReader interface {
	read() (idp.ImportedUser, error)
}

// An allowing reader says of each user whether their name may be a reserved word.
type allowing struct {
	importReader
	reserved bool
}

func (a allowing) read() (idp.ImportedUser, error) {
	u, err := a.importReader.read()
	u.AllowReserved = a.reserved
	return u, err
}

// A badLine is a line that is no user. Its reason quotes nothing of it: it may hold a password.
type badLine struct {
	line   int
	reason string
}

func (b *badLine) Error() string { return fmt.Sprintf("line %d: %s", b.line, b.reason) }

func (a *app) userImportCommand() *cobra.Command {
	var format string
	var dry, allowReserved bool
	c := &cobra.Command{
		Use: "import FILE", Short: "add users of another system, with their password hashes", Args: exactly("FILE"),
		Long: "Add the users of a file, or of standard input for -: CSV with a header line, or a JSON object a line.\n" +
			"The columns, or members, are username, email, email_verified, password_hash, password, admin, disabled,\n" +
			"groups, created_at, and claims by their names (given_name, locale, address.country). Only username is required.\n" +
			"Lines that cannot be added are told and left out; the exit code is 1 then.",
		Example: "  postern user import users.csv --dry-run",
		RunE: func(c *cobra.Command, args []string) error {
			in, err := a.opened(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			r, err := newImportReader(in, format, args[0])
			if err != nil {
				return err
			}
			return a.do(c.Context(), func(ctx context.Context, o *office) error {
				return a.importUsers(ctx, o, allowing{r, allowReserved}, dry)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "", "`FORMAT`: csv or jsonl (default by the name of FILE)")
	c.Flags().BoolVar(&allowReserved, "allow-reserved", false, "usernames may be reserved words, such as support")
	c.Flags().BoolVar(&dry, "dry-run", false, "add nobody; tell what would become of each line beside the users that there are now")
	return a.withJSON(c)
}

// opened is a file, or standard input for -.
func (a *app) opened(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(a.in), nil
	}
	return os.Open(name)
}

func newImportReader(in io.Reader, format, name string) (importReader, error) {
	if format == "" {
		format = strings.TrimPrefix(filepath.Ext(name), ".")
	}
	buffered := bufio.NewReader(in)
	if mark, _ := buffered.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		buffered.Discard(len(byteOrderMark))
	}
	switch format {
	case "csv":
		return newImportTable(buffered)
	case "jsonl":
		lines := bufio.NewScanner(buffered)
		lines.Buffer(nil, maxImportLine)
		return &importLines{lines: lines}, nil
	}
	return nil, misuse("--format %q is neither csv nor jsonl", format)
}

const (
	byteOrderMark = "\ufeff" // that spreadsheets begin a file with
	maxImportLine = 64 << 10 // bytes of a user
)

func (a *app) importUsers(ctx context.Context, o *office, r importReader, dry bool) error {
	counts := map[idp.ImportStatus]int{}
	for {
		u, err := r.read()
		if errors.Is(err, io.EOF) {
			break
		}
		told := idp.Imported{Status: idp.ImportRefused}
		bad, isBad := errors.AsType[*badLine](err)
		if err != nil && !isBad {
			return a.importBroke(err, counts)
		}
		if !isBad {
			if told, err = o.ImportUser(ctx, u, dry); err != nil {
				return a.importBroke(fmt.Errorf("line %d: %s", u.Line, words(err)), counts)
			}
		}
		counts[told.Status]++
		if err := a.tellImported(told, bad); err != nil {
			return err
		}
	}
	if !a.json {
		fmt.Fprintln(a.out, summary(counts, dry))
	}
	if counts[idp.ImportExists]+counts[idp.ImportRefused] > 0 {
		return errSaid
	}
	return nil
}

// importBroke says how far an import came that cannot go on.
func (a *app) importBroke(err error, counts map[idp.ImportStatus]int) error {
	return fmt.Errorf("%w. Before that: %s", err, summary(counts, false))
}

func summary(counts map[idp.ImportStatus]int, dry bool) string {
	added := "Added"
	if dry {
		added = "Would add"
	}
	return fmt.Sprintf("%s %d, refused %d, left out %d that exist already.", added, counts[idp.ImportAdded], counts[idp.ImportRefused], counts[idp.ImportExists])
}

// tellImported tells what became of a line: in words only where it was not added.
func (a *app) tellImported(told idp.Imported, bad *badLine) error {
	v := importedView{Line: told.Line, Username: told.User, Status: told.Status, Scheme: told.Scheme, ID: told.ID}
	if bad != nil {
		v.Line, v.Reasons = bad.line, []string{bad.reason}
	}
	for _, wrong := range told.Wrong {
		v.Reasons = append(v.Reasons, words(wrong))
	}
	if a.json {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = a.out.Write(harmless(append(line, '\n')))
		return err
	}
	if v.Status == idp.ImportAdded {
		return nil
	}
	who := fmt.Sprintf("line %d", v.Line)
	if v.Username != "" {
		who += " (" + v.Username + ")"
	}
	_, err := a.err.Write(harmless([]byte(fmt.Sprintf("postern: %s: %s\n", who, strings.Join(v.Reasons, "; ")))))
	return err
}

// importLines reads a JSON object a line.
type importLines struct {
	lines *bufio.Scanner
	line  int
}

func (l *importLines) read() (idp.ImportedUser, error) {
	for l.lines.Scan() {
		l.line++
		if text := bytes.TrimSpace(l.lines.Bytes()); len(text) > 0 {
			return readImportLine(l.line, text)
		}
	}
	if errors.Is(l.lines.Err(), bufio.ErrTooLong) {
		return idp.ImportedUser{}, fmt.Errorf("line %d is longer than %d bytes", l.line+1, maxImportLine)
	}
	if err := l.lines.Err(); err != nil {
		return idp.ImportedUser{}, err
	}
	return idp.ImportedUser{}, io.EOF
}

func readImportLine(line int, text []byte) (idp.ImportedUser, error) {
	var r importLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	if err != nil {
		return idp.ImportedUser{}, &badLine{line, importWords(err)}
	}
	u := idp.ImportedUser{
		Line: line, Username: r.Username, Email: r.Email, EmailVerified: r.EmailVerified, PasswordHash: r.PasswordHash,
		Password: r.Password, Admin: r.Admin, Disabled: r.Disabled, Groups: r.Groups, Profile: r.Profile,
	}
	if r.CreatedAt != "" {
		if u.CreatedAt, err = time.Parse(time.RFC3339, r.CreatedAt); err != nil {
			return idp.ImportedUser{}, &badLine{line, "created_at is no time such as 2026-01-31T09:00:00Z"}
		}
	}
	return u, nil
}

// importWords says what is wrong with a line without a value of it.
func importWords(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return wrong.Field + " is no " + kindWord(wrong.Type)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return "there is no member " + name
	}
	return "it is no JSON object on one line"
}

func kindWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list of texts"
	}
	return "object"
}

// importTable reads CSV with a header.
type importTable struct {
	rows    *csv.Reader
	span    *importSpan
	columns []string
}

// importColumns are the names that a header may have.
func importColumns() []string {
	var columns []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[importLine]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
		case name == "address":
			for _, below := range reflect.VisibleFields(reflect.TypeFor[idp.Address]()) {
				member, _, _ := strings.Cut(below.Tag.Get("json"), ",")
				columns = append(columns, name+"."+member)
			}
		default:
			columns = append(columns, name)
		}
	}
	return columns
}

// An importSpan reads so much and no more, so that a quote that nothing closes does not take the memory.
type importSpan struct {
	in   io.Reader
	left int // bytes
}

// Read implements io.Reader.
func (s *importSpan) Read(b []byte) (int, error) {
	if s.left <= 0 {
		return 0, fmt.Errorf("it is longer than %d bytes", maxImportLine)
	}
	n, err := s.in.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

func newImportTable(in io.Reader) (*importTable, error) {
	t := &importTable{span: &importSpan{in, maxImportLine}}
	t.rows = csv.NewReader(t.span)
	t.rows.ReuseRecord = true
	header, err := t.rows.Read()
	if err != nil {
		return nil, fmt.Errorf("the header line: %w", err)
	}
	known := importColumns()
	for _, name := range header {
		name = strings.TrimSpace(name)
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("the header names %q, which is none of the columns: %s", name, strings.Join(known, ", "))
		case slices.Contains(t.columns, name):
			return nil, fmt.Errorf("the header names %q twice", name)
		}
		t.columns = append(t.columns, name)
	}
	if !slices.Contains(t.columns, "username") {
		return nil, errors.New("the header lacks the column username")
	}
	return t, nil
}

func (t *importTable) read() (idp.ImportedUser, error) {
	t.span.left = maxImportLine
	row, err := t.rows.Read()
	if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
		if errors.Is(err, csv.ErrFieldCount) {
			return idp.ImportedUser{}, &badLine{wrong.Line, fmt.Sprintf("it has %d fields, and the header %d", len(row), len(t.columns))}
		}
		return idp.ImportedUser{}, fmt.Errorf("line %d is no CSV: %w", wrong.Line, wrong.Err)
	}
	if err != nil {
		return idp.ImportedUser{}, err
	}
	line, _ := t.rows.FieldPos(0)
	members, wrong := t.members(row)
	if wrong != "" {
		return idp.ImportedUser{}, &badLine{line, wrong}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return idp.ImportedUser{}, err
	}
	return readImportLine(line, text)
}

// members makes of a row what JSON Lines has. wrong says why it cannot.
func (t *importTable) members(row []string) (members map[string]any, wrong string) {
	members = map[string]any{}
	for i, text := range row {
		name := t.columns[i]
		section, member, nested := strings.Cut(name, ".")
		switch {
		case text == "":
		case name == "groups":
			members[name] = strings.Split(text, ";")
		case slices.Contains([]string{"email_verified", "admin", "disabled", "phone_number_verified"}, name):
			truth, err := strconv.ParseBool(strings.ToLower(text))
			if err != nil {
				return nil, name + " is neither true nor false"
			}
			members[name] = truth
		case nested:
			below, _ := members[section].(map[string]any)
			if below == nil {
				below = map[string]any{}
				members[section] = below
			}
			below[member] = text
		default:
			members[name] = text
		}
	}
	return members, ""
}
