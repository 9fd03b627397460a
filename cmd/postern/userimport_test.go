package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// An endless reader begins with a header and repeats a line.
type endless struct{ header, line string }

func (e *endless) Read(b []byte) (int, error) {
	if e.header != "" {
		n := copy(b, e.header)
		e.header = e.header[n:]
		return n, nil
	}
	n := copy(b, e.line)
	e.line = e.line[n:] + e.line[:n]
	return n, nil
}

func TestAFileOfUsersIsReadAsItComes(t *testing.T) {
	for format, in := range map[string]*endless{
		"csv":   {"username,email\n", "alice,alice@example.com\n"},
		"jsonl": {"", `{"username":"alice","email":"alice@example.com"}` + "\n"},
	} {
		r, err := newImportReader(in, format, "-")
		if err != nil {
			t.Fatal(err)
		}
		for n := range 10_000 {
			u, err := r.read()
			if err != nil || u.Username != "alice" || u.Email != "alice@example.com" || u.Line < n+1 {
				t.Fatalf("%s, record %d: got %+v and %v", format, n, u, err)
			}
		}
	}
}

// A quote or a line without end takes no more memory than a user may need.
func TestALineOfUsersHasAnEnd(t *testing.T) {
	for format, in := range map[string]*endless{
		"csv":   {"username,email\nalice,\"", "x\n"},
		"jsonl": {"", "x"},
	} {
		r, err := newImportReader(in, format, "-")
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.read()
		if _, bad := errors.AsType[*badLine](err); err == nil || bad || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "longer than 65536 bytes") {
			t.Errorf("%s: got %v, want the end of the import", format, err)
		}
	}
}
