package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"postern/idp/secret"
)

// A TokenKind says what a token is for; its value is the token's prefix.
type TokenKind string

const (
	// CodeToken is an authorization code (RFC 6749 §1.3.1).
	CodeToken TokenKind = "ac_"
	// AccessToken is an opaque access token of a grant (RFC 6749 §1.4).
	AccessToken TokenKind = "at_"
	// RefreshToken is a refresh token (RFC 6749 §1.5).
	RefreshToken TokenKind = "rt_"
	// ClientAccessToken is an access token of client_credentials: it has no grant, and its sealed
	// payload says everything (DESIGN: what a request may cost).
	ClientAccessToken TokenKind = "ct_"
)

// Limits of what a grant holds: an access token has one bit for each entry (I-1).
const (
	MaxScopes   = 64
	MaxAudience = 32
)

// A Token is what the bytes of a code, an access token or a refresh token say (I-1):
//
//	prefix ‖ base64url(version ‖ key number ‖ grant ‖ expiry ‖ generation ‖ narrowing ‖ random ‖ MAC)
//
// An unknown version or key number is garbage. The kind and the version fix the layout, all
// numbers are big endian:
//
//	offset  size
//	     0     1  version: 1, or 2 for a bound access token
//	     1     2  key number
//	     3    16  grant
//	    19     5  expiry, seconds since 1970
//	    24     4  generation
//	    28   0|12|28  narrowing: nothing | scopes 8, audience 4 | the same, confirmation 16
//	     …    16  random; of a refresh token a MAC over grant and generation
//	     …    16  MAC over the prefix and all before
type Token struct {
	Kind       TokenKind
	Key        uint16 // number of the root key; zero mints with the current one
	Grant      ID
	Expiry     time.Time // cut to the second
	Generation int64     // of the refresh token that it was issued with; 0 for a code
	// Narrowing, of access tokens only: bit i stands for entry i of the grant's list.
	Scopes       uint64
	Audience     uint32
	Confirmation []byte // 16 bytes of the token's own confirmation thumbprint, nil where unbound
}

// A ClientToken is what a client_credentials token says.
type ClientToken struct {
	ID              [16]byte // its deny key; zero mints with a random one
	ClientID        string
	Scopes          []string
	Audience        []string
	Expiry          time.Time // cut to the second, as is IssuedAt
	IssuedAt        time.Time
	SecurityVersion int64  // the client's (I-13)
	Confirmation    []byte // 16 bytes, nil where unbound
}

// Tokens mints and reads tokens. It asks no database.
type Tokens struct{ ring *secret.Keyring }

func newTokens(ring *secret.Keyring) *Tokens { return &Tokens{ring} }

const (
	versionUnbound = 1
	versionBound   = 2

	tokenHead        = 28
	narrowingUnbound = 12
	confirmationSize = 16
	narrowingBound   = narrowingUnbound + confirmationSize
	randomSize       = 16
	macSize          = 16
	maxTokenSize     = tokenHead + narrowingBound + randomSize + macSize
	prefixSize       = 3
)

// strict64 knows one text for each token: no padding, and no stray bits in the last character.
var strict64 = base64.RawURLEncoding.Strict()

// Mint writes t with fresh random bytes.
func (ts *Tokens) Mint(t Token) string {
	var random [randomSize]byte
	rand.Read(random[:])
	return ts.mint(t, random)
}

// MintSuccessor writes the refresh token t whose random part follows from its grant and
// generation, so that the same bytes come again (I-3). t.Key must be the number that the row
// names, and its key must be held.
func (ts *Tokens) MintSuccessor(t Token) string {
	if t.Key == 0 {
		t.Key = ts.ring.Current()
	}
	var seed [24]byte
	copy(seed[:16], t.Grant[:])
	binary.BigEndian.PutUint64(seed[16:], uint64(t.Generation))
	sum, _ := ts.ring.MAC(secret.ForSuccessor, t.Key, seed[:])
	return ts.mint(t, [randomSize]byte(sum[:randomSize]))
}

// mint panics where a field does not fit the layout: whoever fills a Token judged its values.
func (ts *Tokens) mint(t Token, random [randomSize]byte) string {
	if t.Key == 0 {
		t.Key = ts.ring.Current()
	}
	if t.Generation < 0 || t.Generation > math.MaxUint32 {
		panic("idp: a token's generation is beyond 32 bits")
	}
	var b [prefixSize + maxTokenSize]byte
	copy(b[:], t.Kind)
	body := b[prefixSize:]
	body[0] = versionUnbound
	binary.BigEndian.PutUint16(body[1:], t.Key)
	copy(body[3:], t.Grant[:])
	putSeconds(body[19:], t.Expiry)
	binary.BigEndian.PutUint32(body[24:], uint32(t.Generation))
	n := tokenHead
	if t.Kind == AccessToken {
		binary.BigEndian.PutUint64(body[n:], t.Scopes)
		binary.BigEndian.PutUint32(body[n+8:], t.Audience)
		n += narrowingUnbound
		if t.Confirmation != nil {
			if len(t.Confirmation) != confirmationSize {
				panic("idp: a token's confirmation has not 16 bytes")
			}
			body[0] = versionBound
			n += copy(body[n:], t.Confirmation)
		}
	}
	n += copy(body[n:], random[:])
	sum, known := ts.ring.MAC(macPurpose(t.Kind), t.Key, b[:prefixSize+n])
	if !known {
		panic("idp: a token of a key that the keyring lacks")
	}
	n += copy(body[n:], sum[:macSize])
	var text [prefixSize + (maxTokenSize*4+2)/3]byte
	copy(text[:], t.Kind)
	strict64.Encode(text[prefixSize:], body[:n])
	return string(text[:prefixSize+strict64.EncodedLen(n)])
}

// macPurpose keeps codes, which browsers carry, under a key of their own (I-10).
func macPurpose(kind TokenKind) secret.Purpose {
	if kind == CodeToken {
		return secret.ForCode
	}
	return secret.ForTokenMAC
}

// Parse reads a token of the kind, and tells whether it is genuine. Expiry is not judged.
func (ts *Tokens) Parse(kind TokenKind, s string) (Token, bool) {
	var b [prefixSize + maxTokenSize]byte
	size, ok := readToken(&b, kind, s)
	if !ok {
		return Token{}, false
	}
	body := b[prefixSize:]
	t := Token{Kind: kind, Key: binary.BigEndian.Uint16(body[1:])}
	signed := prefixSize + size - macSize
	sum, known := ts.ring.MAC(macPurpose(kind), t.Key, b[:signed])
	if !known || subtle.ConstantTimeCompare(sum[:macSize], b[signed:signed+macSize]) != 1 {
		return Token{}, false
	}
	copy(t.Grant[:], body[3:])
	t.Expiry = seconds(body[19:])
	t.Generation = int64(binary.BigEndian.Uint32(body[24:]))
	if kind == AccessToken {
		t.Scopes = binary.BigEndian.Uint64(body[tokenHead:])
		t.Audience = binary.BigEndian.Uint32(body[tokenHead+8:])
		if body[0] == versionBound {
			t.Confirmation = slices.Clone(body[tokenHead+narrowingUnbound:][:confirmationSize])
		}
	}
	return t, true
}

// readToken decodes s behind its prefix and returns the size of the body, where s has the shape
// of a token of the kind.
func readToken(b *[prefixSize + maxTokenSize]byte, kind TokenKind, s string) (int, bool) {
	// Longer is garbage, and so is anything with line breaks, which the decoder skips: then it
	// writes fewer bytes than the length promises.
	if len(s) > prefixSize+strict64.EncodedLen(maxTokenSize) || !strings.HasPrefix(s, string(kind)) {
		return 0, false
	}
	var text [prefixSize + (maxTokenSize*4+2)/3]byte
	n := copy(text[:], s)
	copy(b[:], kind)
	size, err := strict64.Decode(b[prefixSize:], text[prefixSize:n])
	if err != nil || strict64.EncodedLen(size) != n-prefixSize || size == 0 {
		return 0, false
	}
	return size, size == layoutSize(kind, b[prefixSize])
}

// layoutSize is the size of a token's bytes, -1 for an unknown version.
func layoutSize(kind TokenKind, version byte) int {
	switch {
	case kind == AccessToken && version == versionBound:
		return maxTokenSize
	case kind == AccessToken && version == versionUnbound:
		return tokenHead + narrowingUnbound + randomSize + macSize
	case version == versionUnbound:
		return tokenHead + randomSize + macSize
	}
	return -1
}

// A time in a token or a sealed text is 5 bytes: seconds since 1970.
const secondsSize = 5

func putSeconds(b []byte, t time.Time) {
	s := uint64(max(t.Unix(), 0))
	b[0] = byte(s >> 32)
	binary.BigEndian.PutUint32(b[1:], uint32(s))
}

func appendSeconds(b []byte, t time.Time) []byte {
	var s [secondsSize]byte
	putSeconds(s[:], t)
	return append(b, s[:]...)
}

func seconds(b []byte) time.Time {
	s := int64(b[0])<<32 | int64(binary.BigEndian.Uint32(b[1:]))
	return time.Unix(s, 0).UTC()
}

// denyKeySize is 128 bits: deny rows are few, and nobody gains by making two tokens collide.
const denyKeySize = 16

// DenyKeys are the keys under which a deny row of this access token, whose text is s, can lie: its
// own and that of its generation.
func (t Token) DenyKeys(s string) [][]byte {
	keys := make([]byte, 0, 2*denyKeySize)
	own := sha256.Sum256([]byte(s))
	keys = append(keys, own[:denyKeySize]...)
	keys = appendGenerationKey(keys, t.Grant, t.Generation)
	return [][]byte{keys[:denyKeySize:denyKeySize], keys[denyKeySize:]}
}

// GenerationKey is the deny key of all tokens that were issued with one generation of a grant.
func GenerationKey(grant ID, generation int64) []byte {
	return appendGenerationKey(make([]byte, 0, denyKeySize), grant, generation)
}

// No token's text begins so, hence no token's own key is one of these.
const generationLabel = "generation "

func appendGenerationKey(keys []byte, grant ID, generation int64) []byte {
	var b [len(generationLabel) + len(grant) + 8]byte
	copy(b[:], generationLabel)
	copy(b[len(generationLabel):], grant[:])
	binary.BigEndian.PutUint64(b[len(generationLabel)+len(grant):], uint64(generation))
	sum := sha256.Sum256(b[:])
	return append(keys, sum[:denyKeySize]...)
}

// Narrow is the narrowing that stands for some of the entries of a grant's list (I-1); false
// where one is not in the list. Repeated entries count once.
func (l List) Narrow(some []string) (bits uint64, ok bool) {
	for _, s := range some {
		i := slices.Index(l, s)
		if i < 0 || i >= MaxScopes {
			return 0, false
		}
		bits |= 1 << i
	}
	return bits, true
}

// Narrowed are the entries that a narrowing stands for, in the list's order. It is the list
// itself where that is all of them: nobody changes it in place.
func (l List) Narrowed(bits uint64) List {
	if all := uint64(1)<<len(l) - 1; bits&all == all {
		return l
	}
	some := make(List, 0, len(l))
	for i, s := range l {
		if bits&(1<<i) != 0 {
			some = append(some, s)
		}
	}
	return some
}
