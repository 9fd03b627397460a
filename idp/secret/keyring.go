package secret

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// MaxRootKeys is how many root keys a keyring holds: rotation needs two, and what lies sealed
// with a dozen others was forgotten.
const MaxRootKeys = 16

// A RootKey is 256 random bits with the number by which what it made is recognised.
type RootKey struct {
	Number uint16 // 1 to 65535
	Bytes  [32]byte
}

// NewRootKey makes a root key of random bytes.
func NewRootKey(number uint16) RootKey {
	k := RootKey{Number: number}
	rand.Read(k.Bytes[:])
	return k
}

// ParseRootKey reads what String writes. Its errors never quote the key.
func ParseRootKey(s string) (RootKey, error) {
	number, text, found := strings.Cut(strings.TrimSpace(s), ":")
	if !found {
		return RootKey{}, errors.New("a root key is NUMBER:BASE64URL")
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return RootKey{}, errors.New("a root key's number is 1 to 65535")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(b) != 32 {
		return RootKey{}, fmt.Errorf("root key %d is not 32 bytes of base64url", n)
	}
	return RootKey{Number: uint16(n), Bytes: [32]byte(b)}, nil
}

// String is NUMBER:BASE64URL, as the setting secrets.keys takes it: the secret itself.
func (k RootKey) String() string {
	return strconv.Itoa(int(k.Number)) + ":" + base64.RawURLEncoding.EncodeToString(k.Bytes[:])
}

// Format keeps the secret out of every text that fmt makes, whatever the verb. Whoever means to
// write a key calls String.
func (k RootKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "root key %d", k.Number) }

// LogValue keeps the secret out of the log.
func (k RootKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// MarshalText refuses: no document holds a root key by accident.
func (k RootKey) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("root key %d is not to be marshalled", k.Number)
}

// A Keyring derives a subkey for each purpose from each root key. The first root key seals and
// signs; the others only open and verify, so that rotation is append, roll out, promote, reseal,
// remove (I-10). It may be used by several goroutines at a time.
type Keyring struct {
	roots []root // the first seals
}

// A root is a root key with its subkeys, all derived at the start, so that nothing locks.
type root struct {
	number  uint16
	subkeys map[Purpose]*subkey
}

// A subkey is one root key's for one purpose (RFC 5869, SHA-256, the purpose as info).
type subkey struct {
	bytes []byte // 32
	aead  cipher.AEAD
	macs  sync.Pool // of *mac
}

// A mac is an HMAC whose key is set up already, with a buffer that callers' bytes are copied to:
// what is handed to an interface escapes to the heap, and a token's bytes need not.
type mac struct {
	hash   hash.Hash
	buffer [128]byte
	sum    [sha256.Size]byte
}

// NewKeyring makes a keyring. Its error says which key is wrong: there must be 1 to MaxRootKeys,
// with numbers of their own.
func NewKeyring(keys []RootKey) (*Keyring, error) {
	if len(keys) == 0 || len(keys) > MaxRootKeys {
		return nil, fmt.Errorf("%d root keys, want 1 to %d", len(keys), MaxRootKeys)
	}
	r := &Keyring{}
	for _, k := range keys {
		switch {
		case k.Number == 0:
			return nil, errors.New("a root key's number is 1 to 65535")
		case k.Bytes == [32]byte{}:
			return nil, fmt.Errorf("root key %d is all zeros", k.Number)
		case r.root(k.Number) != nil:
			return nil, fmt.Errorf("there are two root keys of the number %d", k.Number)
		}
		derived, err := newRoot(k)
		if err != nil {
			return nil, fmt.Errorf("derive from root key %d: %w", k.Number, err)
		}
		r.roots = append(r.roots, derived)
	}
	return r, nil
}

func newRoot(k RootKey) (root, error) {
	r := root{number: k.Number, subkeys: make(map[Purpose]*subkey, len(purposes))}
	for _, p := range purposes {
		derived, err := hkdf.Key(sha256.New, k.Bytes[:], nil, "postern "+string(p), 32)
		if err != nil {
			return root{}, err
		}
		aead, err := chacha20poly1305.NewX(derived)
		if err != nil {
			return root{}, err
		}
		s := &subkey{bytes: derived, aead: aead}
		s.macs.New = func() any {
			m := &mac{hash: hmac.New(sha256.New, s.bytes)}
			m.hash.Reset() // after the first Reset it starts from a kept state: two blocks less
			return m
		}
		r.subkeys[p] = s
	}
	return r, nil
}

// Current is the number of the key that seals and signs.
func (r *Keyring) Current() uint16 { return r.roots[0].number }

// Numbers are those of all keys, the sealing one first.
func (r *Keyring) Numbers() []uint16 {
	numbers := make([]uint16, len(r.roots))
	for i := range r.roots {
		numbers[i] = r.roots[i].number
	}
	return numbers
}

// Holds tells whether the keyring has a key of that number.
func (r *Keyring) Holds(number uint16) bool { return r.root(number) != nil }

func (r *Keyring) root(number uint16) *root {
	for i := range r.roots {
		if r.roots[i].number == number {
			return &r.roots[i]
		}
	}
	return nil
}

func (k *root) subkey(p Purpose) *subkey {
	s, ok := k.subkeys[p]
	if !ok {
		panic(fmt.Sprintf("secret: %q is no purpose", p))
	}
	return s
}

// Subkeys are the 32-byte keys for a purpose, the current one first, for libraries that want the
// bytes.
func (r *Keyring) Subkeys(p Purpose) [][]byte {
	keys := make([][]byte, len(r.roots))
	for i := range r.roots {
		keys[i] = append([]byte(nil), r.roots[i].subkey(p).bytes...)
	}
	return keys
}

// Oldest is the 32-byte key for a purpose of the root key with the lowest number, for what nodes
// must agree on while a rotation rolls out: appending and promoting a key leave it as it is. It
// changes when the oldest key is removed, so that it keeps nothing that lasts.
func (r *Keyring) Oldest(p Purpose) []byte {
	oldest := &r.roots[0]
	for i := range r.roots {
		if r.roots[i].number < oldest.number {
			oldest = &r.roots[i]
		}
	}
	return append([]byte(nil), oldest.subkey(p).bytes...)
}

// What a box holds before the sealed text, and after it.
const (
	numberSize = 2
	// Overhead is how much longer a box is than its plaintext.
	Overhead = numberSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// ErrUnopened says that a box is damaged, made by another key or for another place. ErrUnknownKey
// says that the keyring lacks the key of its number.
var (
	ErrUnopened   = errors.New("the box does not open")
	ErrUnknownKey = errors.New("the keyring lacks the key")
)

// Seal returns a box with plaintext in it, which opens for the same purpose and additional data
// alone:
//
//	key number (2 bytes, big endian) ‖ nonce (24, random) ‖ XChaCha20-Poly1305(plaintext) (+ 16)
func (r *Keyring) Seal(p Purpose, plaintext, additional []byte) []byte {
	k := &r.roots[0]
	box := make([]byte, numberSize+chacha20poly1305.NonceSizeX, len(plaintext)+Overhead)
	binary.BigEndian.PutUint16(box, k.number)
	nonce := box[numberSize:]
	rand.Read(nonce)
	return k.subkey(p).aead.Seal(box, nonce, plaintext, additional)
}

// Open returns what is in a box. Its error is ErrUnknownKey or ErrUnopened.
func (r *Keyring) Open(p Purpose, box, additional []byte) ([]byte, error) {
	if len(box) < Overhead {
		return nil, ErrUnopened
	}
	k := r.root(binary.BigEndian.Uint16(box))
	if k == nil {
		return nil, fmt.Errorf("%w of number %d", ErrUnknownKey, binary.BigEndian.Uint16(box))
	}
	nonce, sealed := box[numberSize:][:chacha20poly1305.NonceSizeX], box[numberSize+chacha20poly1305.NonceSizeX:]
	plain, err := k.subkey(p).aead.Open(nil, nonce, sealed, additional)
	if err != nil {
		return nil, ErrUnopened
	}
	return plain, nil
}

// SealedBy is the number of the key that a box was sealed with; 0 for what is no box.
func SealedBy(box []byte) uint16 {
	if len(box) < Overhead {
		return 0
	}
	return binary.BigEndian.Uint16(box)
}

// Place is the additional data of what is sealed in a row: table, column, the row's ID and its
// owner (I-10), so that a box moved elsewhere does not open.
func Place(table, column string, id, owner []byte) []byte {
	var b []byte
	for _, part := range [][]byte{[]byte(table), []byte(column), id, owner} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// MAC is HMAC-SHA256 of message by the subkey of the key with that number; false where the
// keyring lacks it. It allocates nothing and takes no lock that is shared by requests.
func (r *Keyring) MAC(p Purpose, number uint16, message []byte) (sum [sha256.Size]byte, known bool) {
	k := r.root(number)
	if k == nil {
		return sum, false
	}
	s := k.subkey(p)
	m := s.macs.Get().(*mac)
	m.hash.Reset()
	for len(message) > 0 {
		n := copy(m.buffer[:], message)
		m.hash.Write(m.buffer[:n])
		message = message[n:]
	}
	m.hash.Sum(m.sum[:0])
	sum = m.sum
	s.macs.Put(m)
	return sum, true
}

// A check value is a list of entries, one for each key that ever sealed something in the database:
// its number (2 bytes, big endian) and 16 bytes of a MAC by it.
const (
	checkMAC   = 16
	checkEntry = numberSize + checkMAC
)

// A MismatchError says why a keyring does not fit a database.
type MismatchError struct {
	Missing   []uint16 // numbers of keys that the database needs and the keyring lacks
	Different []uint16 // numbers under which the keyring has another key
}

func (e *MismatchError) Error() string {
	var why []string
	if len(e.Missing) > 0 {
		why = append(why, "keys that the database needs are missing: "+numbersText(e.Missing))
	}
	if len(e.Different) > 0 {
		why = append(why, "keys differ from those that the database was made with: "+numbersText(e.Different))
	}
	return strings.Join(why, "; ")
}

func numbersText(numbers []uint16) string {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			io.WriteString(&b, ", ")
		}
		io.WriteString(&b, strconv.Itoa(int(n)))
	}
	return b.String()
}

// Check is the check value for an empty database: it speaks of the current key alone, since the
// others sealed nothing there.
func (r *Keyring) Check() []byte { return r.appendCheck(nil, r.Current()) }

func (r *Keyring) appendCheck(check []byte, number uint16) []byte {
	sum, _ := r.MAC(forCheck, number, []byte("check"))
	check = binary.BigEndian.AppendUint16(check, number)
	return append(check, sum[:checkMAC]...)
}

// Verify compares the keyring with the check value of a database (I-10): every key that ever
// sealed something there must be held, and be the same. It returns the check value that is to be
// kept from now on, which differs where the current key is new. Its error is a *MismatchError
// where the keyring does not fit.
func (r *Keyring) Verify(check []byte) ([]byte, error) {
	if len(check) == 0 || len(check)%checkEntry != 0 {
		return nil, fmt.Errorf("the key check value has %d bytes", len(check))
	}
	mismatch := &MismatchError{}
	knowsCurrent := false
	for entry := check; len(entry) > 0; entry = entry[checkEntry:] {
		number := binary.BigEndian.Uint16(entry)
		sum, known := r.MAC(forCheck, number, []byte("check"))
		switch {
		case !known:
			mismatch.Missing = append(mismatch.Missing, number)
		case !hmac.Equal(sum[:checkMAC], entry[numberSize:checkEntry]):
			mismatch.Different = append(mismatch.Different, number)
		}
		knowsCurrent = knowsCurrent || number == r.Current()
	}
	if len(mismatch.Missing)+len(mismatch.Different) > 0 {
		return nil, mismatch
	}
	if knowsCurrent {
		return check, nil
	}
	return r.appendCheck(append([]byte(nil), check...), r.Current()), nil
}
