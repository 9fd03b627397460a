package idp

import (
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// An ID names a row: a UUID, kept as its 16 bytes. The zero ID names nothing and is stored as NULL.
type ID [16]byte

// idCounter begins by chance, so that those of two processes differ, in the lower half of its 26 bits.
var idCounter = func() *atomic.Uint32 {
	c := &atomic.Uint32{}
	c.Store(rand.Uint32N(1 << 25))
	return c
}()

// NewID returns a UUIDv7 of now (RFC 9562 §5.7), so that rows of one time lie beside each other. Those
// that a process makes for one millisecond are in the order in which it made them: 26 bits after the
// time count (RFC 9562 §6.2, method 1), on from one millisecond to the next, and begin anew after 67
// million; 48 bits are random.
func NewID(now time.Time) ID {
	var id ID
	crand.Read(id[10:])
	n := idCounter.Add(1)
	binary.BigEndian.PutUint16(id[6:], uint16(n>>14))
	binary.BigEndian.PutUint16(id[8:], uint16(n))
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// RandomID returns a UUIDv4, for what must not tell when it was made, such as a subject.
func RandomID() ID { return ID(uuid.New()) }

// ParseID reads the 36 characters of a UUID; anything else is an error.
func ParseID(s string) (ID, error) {
	if len(s) != 36 {
		return ID{}, fmt.Errorf("parse id: %d characters, want 36", len(s))
	}
	u, err := uuid.Parse(s)
	return ID(u), err
}

// String is the UUID's 36 characters, lower case.
func (id ID) String() string { return uuid.UUID(id).String() }

// IsZero tells whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Time is the millisecond that a UUIDv7 carries.
func (id ID) Time() time.Time {
	ms := int64(binary.BigEndian.Uint16(id[0:]))<<32 | int64(binary.BigEndian.Uint32(id[2:]))
	return time.UnixMilli(ms).UTC()
}

// MarshalText writes the UUID.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// Scan reads the 16 bytes that a database returns; NULL is the zero ID.
func (id *ID) Scan(src any) error {
	switch b := src.(type) {
	case nil:
		*id = ID{}
		return nil
	case []byte:
		if len(b) == len(id) {
			copy(id[:], b)
			return nil
		}
	}
	return fmt.Errorf("scan id: %T is not 16 bytes", src)
}
