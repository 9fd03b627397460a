package storage

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/jmoiron/sqlx/reflectx"

	"postern/idp/passkey"
)

// A moment reads a TIMESTAMP(6) into a time, UTC. PostgreSQL's driver sends a time.Time, SQLite's
// the text that bind wrote: it parses columns that are declared TIMESTAMP, but slowly.
type moment struct{ dest *time.Time }

// Scan implements sql.Scanner.
func (m moment) Scan(src any) (err error) {
	*m.dest, err = timeOf(src)
	return err
}

// A maybe reads a TIMESTAMP(6) that can be NULL.
type maybe struct{ dest **time.Time }

// Scan implements sql.Scanner.
func (m maybe) Scan(src any) error {
	*m.dest = nil
	if src == nil {
		return nil
	}
	t, err := timeOf(src)
	*m.dest = &t
	return err
}

// An orZero reads a TIMESTAMP(6) of a row that may not have been joined: NULL is the zero time.
type orZero struct{ dest *time.Time }

// Scan implements sql.Scanner.
func (o orZero) Scan(src any) (err error) {
	*o.dest = time.Time{}
	if src != nil {
		*o.dest, err = timeOf(src)
	}
	return err
}

// A record reads a passkey's column, which can be NULL.
type record struct{ dest **passkey.Record }

// Scan implements sql.Scanner.
func (r record) Scan(src any) error {
	*r.dest = nil
	switch v := src.(type) {
	case nil:
		return nil
	case string:
		return json.Unmarshal([]byte(v), r.dest)
	case []byte: // as PostgreSQL's driver sends text
		return json.Unmarshal(v, r.dest)
	}
	return fmt.Errorf("scan passkey: %T is not JSON", src)
}

func timeOf(src any) (time.Time, error) {
	switch v := src.(type) {
	case time.Time:
		return v.UTC(), nil
	case string:
		if t, ok := parseTime(v); ok {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("scan time: %v is none", src)
}

// parseTime reads timeLayout. It is ten times as fast as time.Parse, and a grant has eight times.
func parseTime(s string) (time.Time, bool) {
	if len(s) != len(timeLayout) || s[4] != '-' || s[7] != '-' || s[10] != ' ' || s[13] != ':' || s[16] != ':' || s[19] != '.' {
		return time.Time{}, false
	}
	valid := true
	number := func(from, to int) (n int) {
		for _, c := range []byte(s[from:to]) {
			valid = valid && '0' <= c && c <= '9'
			n = n*10 + int(c-'0')
		}
		return n
	}
	t := time.Date(number(0, 4), time.Month(number(5, 7)), number(8, 10),
		number(11, 13), number(14, 16), number(17, 19), number(20, 26)*1000, time.UTC)
	return t, valid
}

// dests finds the fields of the struct v for columns, as rows.Scan wants them.
func dests(mapper *reflectx.Mapper, v reflect.Value, columns []string) ([]any, error) {
	ds := make([]any, len(columns))
	for i, path := range mapper.TraversalsByName(v.Type(), columns) {
		if len(path) == 0 {
			return nil, fmt.Errorf("%s has no field for the column %s", v.Type(), columns[i])
		}
		switch p := reflectx.FieldByIndexes(v, path).Addr().Interface().(type) {
		case *time.Time:
			ds[i] = moment{p}
		case **time.Time:
			ds[i] = maybe{p}
		case **passkey.Record:
			ds[i] = record{p}
		default:
			ds[i] = p
		}
	}
	return ds, nil
}

// scanStruct reads the present row into the struct that v is.
func scanStruct(mapper *reflectx.Mapper, rows *sql.Rows, v reflect.Value) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	ds, err := dests(mapper, v, columns)
	if err != nil {
		return err
	}
	return rows.Scan(ds...)
}

// bare makes columns expressions with a name of one letter. SQLite's driver copies name and
// declared type of each column at every query: two allocations that a column without a type and
// with the shortest name spares, half of all that a token's SELECT costs. The rows are read by
// position.
func bare(columns string) string {
	list := strings.Split(columns, ",")
	for i, column := range list {
		column = strings.TrimSpace(column)
		list[i] = "COALESCE(" + column + ", " + column + ") AS c"
	}
	return strings.Join(list, ", ")
}
