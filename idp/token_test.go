package idp

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/idp/secret"
)

func testRing(t testing.TB, numbers ...uint16) *secret.Keyring {
	t.Helper()
	keys := make([]secret.RootKey, len(numbers))
	for i, n := range numbers {
		keys[i] = secret.RootKey{Number: n, Bytes: [32]byte(bytes.Repeat([]byte{byte(n)}, 32))}
	}
	ring, err := secret.NewKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func testTokens(t testing.TB, numbers ...uint16) *Tokens {
	t.Helper()
	return newTokens(testRing(t, numbers...))
}

var tokenTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func tokenSamples() map[string]Token {
	grant := NewID(tokenTime)
	return map[string]Token{
		"code":               {Kind: CodeToken, Key: 1, Grant: grant, Expiry: tokenTime},
		"refresh token":      {Kind: RefreshToken, Key: 1, Grant: grant, Expiry: tokenTime, Generation: math.MaxUint32},
		"access token":       {Kind: AccessToken, Key: 1, Grant: grant, Expiry: tokenTime, Generation: 3, Scopes: 1<<63 | 1, Audience: 1 << 31},
		"bound access token": {Kind: AccessToken, Key: 1, Grant: grant, Expiry: tokenTime, Scopes: 7, Confirmation: []byte("0123456789abcdef")},
		"in the year 2200":   {Kind: AccessToken, Key: 1, Grant: grant, Expiry: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func TestI1_ATokenSaysWhatItWasMintedWith(t *testing.T) {
	ts := testTokens(t, 1)
	for name, want := range tokenSamples() {
		t.Run(name, func(t *testing.T) {
			minted := want
			minted.Key = 0 // the current one
			minted.Expiry = want.Expiry.Add(999 * time.Millisecond)
			text := ts.Mint(minted)
			got, genuine := ts.Parse(want.Kind, text)
			if !genuine || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, genuine, want)
			}
			if again := ts.Mint(minted); again == text {
				t.Error("two tokens are the same")
			}
		})
	}
}

func TestI1_TheLayoutIsFixed(t *testing.T) {
	ts := testTokens(t, 258)
	grant := ID{0: 0xaa, 15: 0xbb}
	text := ts.Mint(Token{
		Kind: AccessToken, Grant: grant, Expiry: time.Unix(0x0102030405, 0), Generation: 0x0a0b0c0d,
		Scopes: 0x1112131415161718, Audience: 0x21222324, Confirmation: []byte("0123456789abcdef"),
	})
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, "at_"))
	if err != nil {
		t.Fatal(err)
	}
	want := "\x02\x01\x02" + string(grant[:]) + "\x01\x02\x03\x04\x05" + "\x0a\x0b\x0c\x0d" +
		"\x11\x12\x13\x14\x15\x16\x17\x18" + "\x21\x22\x23\x24" + "0123456789abcdef"
	if got := string(raw[:len(want)]); got != want {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if len(raw) != len(want)+16+16 {
		t.Errorf("%d bytes, want random and MAC of 16 bytes each behind %d", len(raw), len(want))
	}
	mac, _ := testRing(t, 258).MAC(secret.ForTokenMAC, 258, append([]byte("at_"), raw[:len(raw)-16]...))
	if got := raw[len(raw)-16:]; !bytes.Equal(got, mac[:16]) {
		t.Errorf("MAC %x, want %x", got, mac[:16])
	}
}

func TestI1_ATokenOfOneKindIsGarbageAsAnother(t *testing.T) {
	ts := testTokens(t, 1)
	for name, token := range tokenSamples() {
		text := ts.Mint(token)
		for _, kind := range []TokenKind{CodeToken, AccessToken, RefreshToken} {
			_, genuine := ts.Parse(kind, string(kind)+text[prefixSize:])
			if want := kind == token.Kind; genuine != want {
				t.Errorf("%s as %s: genuine %v, want %v", name, kind, genuine, want)
			}
			if _, genuine := ts.Parse(kind, text); genuine != (kind == token.Kind) {
				t.Errorf("%s read as %s", name, kind)
			}
		}
		if _, genuine := ts.ParseClient(text); genuine {
			t.Errorf("%s is a client's", name)
		}
	}
}

func TestI1_EveryChangedCharacterMakesGarbage(t *testing.T) {
	ts := testTokens(t, 1, 2)
	for name, token := range tokenSamples() {
		text := ts.Mint(token)
		for i := range text {
			for _, c := range []byte("A_9-\n") {
				if text[i] == c {
					continue
				}
				changed := text[:i] + string(c) + text[i+1:]
				if _, genuine := ts.Parse(token.Kind, changed); genuine {
					t.Errorf("%s: %q instead of %q at %d is genuine", name, c, text[i], i)
				}
			}
		}
		for _, changed := range []string{"", text[:len(text)-1], text + "A", text + "=", text + "\n", "\n" + text, text[:40] + "\r\n" + text[40:], strings.ToUpper(text), strings.Repeat(text, 100)} {
			if _, genuine := ts.Parse(token.Kind, changed); genuine {
				t.Errorf("%s: %q is genuine", name, changed)
			}
		}
	}
}

func TestI1_TheMACKeyCanChange(t *testing.T) {
	before, appended, promoted, removed := testTokens(t, 1), testTokens(t, 1, 2), testTokens(t, 2, 1), testTokens(t, 2)
	grant := NewID(tokenTime)
	mint := func(ts *Tokens) string {
		return ts.Mint(Token{Kind: RefreshToken, Grant: grant, Expiry: tokenTime, Generation: 1})
	}
	old, fresh := mint(before), mint(promoted)
	for name, c := range map[string]struct {
		ts         *Tokens
		old, fresh bool
	}{
		"before": {before, true, false}, "appended": {appended, true, true},
		"promoted": {promoted, true, true}, "removed": {removed, false, true},
	} {
		_, oldGenuine := c.ts.Parse(RefreshToken, old)
		_, freshGenuine := c.ts.Parse(RefreshToken, fresh)
		if oldGenuine != c.old || freshGenuine != c.fresh {
			t.Errorf("%s: old %v, fresh %v, want %v, %v", name, oldGenuine, freshGenuine, c.old, c.fresh)
		}
	}
}

func TestI3_TheSameBytesComeAgainFromTheSameRow(t *testing.T) {
	expires := tokenTime.Add(time.Hour)
	g := Grant{ID: NewID(tokenTime), RefreshGen: 5, RefreshKey: 1, RefreshExpiresAt: &expires}
	text := testTokens(t, 1).MintSuccessor(g.Head())
	if again := testTokens(t, 2, 1).MintSuccessor(g.Head()); again != text {
		t.Errorf("after a promotion of another key %s, want %s", again, text)
	}
	want := Token{Kind: RefreshToken, Key: 1, Grant: g.ID, Expiry: expires, Generation: 5}
	if got, genuine := testTokens(t, 1).Parse(RefreshToken, text); !genuine || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, genuine, want)
	}
	next, other := g, g
	next.RefreshGen, other.ID = 6, NewID(tokenTime)
	random := func(g Grant) string { return testTokens(t, 1).MintSuccessor(g.Head())[prefixSize+38:][:21] }
	if random(next) == random(g) || random(other) == random(g) {
		t.Error("the random part does not follow from grant and generation")
	}
}

func TestI13_AClientTokenSaysWhatItWasMintedWith(t *testing.T) {
	ts := testTokens(t, 1)
	for name, want := range map[string]ClientToken{
		"small": {ClientID: "c", Expiry: tokenTime, IssuedAt: tokenTime},
		"large": {
			ClientID: strings.Repeat("c", 128), Scopes: []string{"a", "", "read write"}, Audience: []string{"https://api.example"},
			Expiry: tokenTime.Add(time.Hour), IssuedAt: tokenTime, SecurityVersion: math.MaxInt64, Confirmation: []byte("0123456789abcdef"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := ts.MintClient(want)
			got, genuine := ts.ParseClient(text)
			if !genuine || got.ID == [16]byte{} {
				t.Fatalf("ParseClient = %+v, %v", got, genuine)
			}
			want.ID = got.ID
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if other, _ := ts.ParseClient(ts.MintClient(ClientToken{ClientID: "c"})); other.ID == got.ID {
				t.Error("two tokens have the same deny key")
			}
			if _, genuine := testTokens(t, 2).ParseClient(text); genuine {
				t.Error("opened without its key")
			}
			for _, changed := range []string{"", "ct_", text[:len(text)-1], text + "A", text[:20] + "\n" + text[20:], "at_" + text[3:], text[:30] + "AAAA" + text[34:]} {
				if _, genuine := ts.ParseClient(changed); genuine {
					t.Errorf("%q is genuine", changed)
				}
			}
		})
	}
	if size := len(ts.MintClient(ClientToken{ClientID: "0123456789abcdef", Scopes: []string{"read"}, Expiry: tokenTime})); size > 160 {
		t.Errorf("a small token has %d characters, want at most 160", size)
	}
}

func TestI3_ATokenIsDeniedByItselfOrByItsGeneration(t *testing.T) {
	ts := testTokens(t, 1)
	token := Token{Kind: AccessToken, Grant: NewID(tokenTime), Expiry: tokenTime, Generation: 2}
	a, b := ts.Mint(token), ts.Mint(token)
	own := sha256.Sum256([]byte(a))
	want := [][]byte{own[:16], GenerationKey(token.Grant, 2)}
	if got := token.DenyKeys(a); !reflect.DeepEqual(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	other := token
	other.Generation = 3
	if keysA, keysB, keysC := token.DenyKeys(a), token.DenyKeys(b), other.DenyKeys(a); bytes.Equal(keysA[0], keysB[0]) ||
		!bytes.Equal(keysA[1], keysB[1]) || bytes.Equal(keysA[1], keysC[1]) {
		t.Error("want another key for another token, and the same for the same generation alone")
	}
}

func TestI1_NarrowingNamesEntriesOfTheGrantsList(t *testing.T) {
	list := List{"openid", "profile", "email", "offline_access"}
	for name, c := range map[string]struct {
		some []string
		bits uint64
		ok   bool
		back List
	}{
		"all":        {list, 15, true, list},
		"none":       {nil, 0, true, List{}},
		"some":       {[]string{"email", "openid", "email"}, 5, true, List{"openid", "email"}},
		"not listed": {[]string{"openid", "phone"}, 0, false, List{}},
	} {
		t.Run(name, func(t *testing.T) {
			bits, ok := list.Narrow(c.some)
			if back := list.Narrowed(bits); bits != c.bits || ok != c.ok || !reflect.DeepEqual(back, c.back) {
				t.Errorf("got %d, %v, %v, want %d, %v, %v", bits, ok, back, c.bits, c.ok, c.back)
			}
		})
	}
	full := make(List, MaxScopes)
	for i := range full {
		full[i] = strings.Repeat("s", i+1)
	}
	if bits, ok := full.Narrow(full); !ok || bits != math.MaxUint64 || !reflect.DeepEqual(full.Narrowed(bits), full) {
		t.Errorf("a list of %d narrows to %x, %v", MaxScopes, bits, ok)
	}
}

func FuzzI1_GarbageIsNeverGenuine(f *testing.F) {
	ts := testTokens(f, 1)
	genuine := make(map[string]bool)
	for _, token := range tokenSamples() {
		token.Grant = ID{1}
		text := ts.mint(token, [16]byte{2}) // the same in every process
		genuine[text] = true
		f.Add(text)
	}
	text := ts.MintClient(ClientToken{ClientID: "c", Scopes: []string{"s"}, Expiry: tokenTime})
	f.Add(text[:len(text)-1])
	f.Add("at_AQAB")
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []TokenKind{CodeToken, AccessToken, RefreshToken} {
			if _, ok := ts.Parse(kind, text); ok && !genuine[text] {
				t.Errorf("%q is a genuine %s", text, kind)
			}
		}
		if _, ok := ts.ParseClient(text); ok {
			t.Errorf("%q is a genuine client token", text)
		}
	})
}

// FuzzSealedTextsAreReadWithoutPanic reads what only a holder of the key could have sealed.
func FuzzSealedTextsAreReadWithoutPanic(f *testing.F) {
	f.Add([]byte{1})
	f.Add([]byte{1, 255, 255})
	f.Fuzz(func(t *testing.T, plain []byte) {
		_, _ = readClientToken(plain)
		_, _ = readTx(plain)
		_, _ = inflateForm(plain)
	})
}

func BenchmarkTokens(b *testing.B) {
	ts := testTokens(b, 1)
	access := Token{Kind: AccessToken, Grant: NewID(tokenTime), Expiry: tokenTime, Generation: 3, Scopes: 7}
	text := ts.Mint(access)
	client := ClientToken{ClientID: "0123456789abcdef", Scopes: []string{"read"}, Expiry: tokenTime, IssuedAt: tokenTime}
	clientText := ts.MintClient(client)
	for name, work := range map[string]func(){
		"Mint":        func() { ts.Mint(access) },
		"Parse":       func() { ts.Parse(AccessToken, text) },
		"Garbage":     func() { ts.Parse(AccessToken, "at_garbage") },
		"MintClient":  func() { ts.MintClient(client) },
		"ParseClient": func() { ts.ParseClient(clientText) },
		"DenyKeys":    func() { access.DenyKeys(text) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				work()
			}
		})
	}
}
