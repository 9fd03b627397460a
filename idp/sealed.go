package idp

import (
	"encoding/binary"
	"errors"
	"time"
)

var errCutShort = errors.New("the sealed text is cut short or of another version")

// A reader takes a sealed text apart. After its first failure it returns zeros, and end tells.
type reader struct {
	rest   []byte
	failed bool
}

// bytes are the next n, which belong to the text; nil where there are fewer.
func (r *reader) bytes(n int) []byte {
	if r.failed || n < 0 || n > len(r.rest) {
		r.failed = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.bytes(n)
	return v
}

func (r *reader) seconds() time.Time {
	if b := r.bytes(secondsSize); b != nil {
		return seconds(b)
	}
	return time.Time{}
}

func (r *reader) id() (id ID) {
	copy(id[:], r.bytes(len(id)))
	return id
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.failed = true
		return ""
	}
	return string(r.bytes(int(n)))
}

// texts are nil where the list is empty.
func (r *reader) texts() []string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) { // each takes a byte at least
		r.failed = true
		return nil
	}
	if n == 0 {
		return nil
	}
	texts := make([]string, 0, n)
	for range n {
		texts = append(texts, r.text())
	}
	return texts
}

// end tells whether all was read and nothing is left.
func (r *reader) end() error {
	if r.failed || len(r.rest) > 0 {
		return errCutShort
	}
	return nil
}
