package secret

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func ringOf(t testing.TB, keys ...RootKey) *Keyring {
	t.Helper()
	r, err := NewKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fixedKey(number uint16, fill byte) RootKey {
	return RootKey{Number: number, Bytes: [32]byte(bytes.Repeat([]byte{fill}, 32))}
}

func TestRootKeyIsReadAsItIsWritten(t *testing.T) {
	k := NewRootKey(7)
	got, err := ParseRootKey(k.String())
	if err != nil || got != k {
		t.Fatalf("ParseRootKey(k.String()) = %v, %v, want the same key", got, err)
	}
	if other := NewRootKey(7); other.Bytes == k.Bytes {
		t.Fatal("two new root keys have the same bytes")
	}
}

func TestBadRootKeysAreRefusedWithoutQuotingThem(t *testing.T) {
	secret := strings.Repeat("Q", 42)
	for name, text := range map[string]string{
		"empty":               "",
		"no number":           secret + "Q",
		"number 0":            "0:" + secret + "Q",
		"number too large":    "65536:" + secret + "Q",
		"number not a number": "x:" + secret + "Q",
		"too short":           "1:" + secret,
		"too long":            "1:" + secret + "QQ",
		"no base64url":        "1:" + secret + "+",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRootKey(text)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "QQ") {
				t.Errorf("the error quotes the key: %v", err)
			}
		})
	}
}

func TestRootKeyShowsItselfInNoLogAndNoDocument(t *testing.T) {
	k := NewRootKey(3)
	secret := strings.TrimPrefix(k.String(), "3:")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", k, "list", []RootKey{k})
	document, err := json.Marshal(k)
	if err == nil {
		t.Errorf("json.Marshal made %s", document)
	}
	shown := log.String() + fmt.Sprintf("%v %+v %#v %s %q %x %d", k, k, k, k, k, k, []RootKey{k})
	if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", k.Bytes)) || strings.Contains(shown, fmt.Sprint(k.Bytes)) {
		t.Errorf("the secret is in %s", shown)
	}
}

func TestI10_EachPurposeOfEachRootKeyHasASubkeyOfItsOwn(t *testing.T) {
	r := ringOf(t, fixedKey(1, 1), fixedKey(2, 2))
	seen := make(map[string]string)
	for _, p := range purposes {
		for i, key := range r.Subkeys(p) {
			name := fmt.Sprintf("%s of %d", p, i)
			if other, taken := seen[string(key)]; taken {
				t.Errorf("%s and %s have the same subkey", name, other)
			}
			seen[string(key)] = name
		}
	}
	root := fixedKey(1, 1)
	want, err := hkdf.Key(sha256.New, root.Bytes[:], nil, "postern token mac", 32)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Subkeys(ForTokenMAC)[0]; !bytes.Equal(got, want) {
		t.Errorf("Subkeys(ForTokenMAC)[0] = %x, want HKDF's %x", got, want)
	}
}

func TestI10_ABoxOpensForItsPurposeAndPlaceAlone(t *testing.T) {
	one, two := fixedKey(1, 1), fixedKey(2, 2)
	r := ringOf(t, one, two)
	place := Place("keys", "private", []byte("id"), nil)
	box := r.Seal(ForSigningKey, []byte("secret"), place)
	if got, err := r.Open(ForSigningKey, box, place); err != nil || string(got) != "secret" {
		t.Fatalf("Open = %q, %v, want secret", got, err)
	}
	flip := func(i int) []byte {
		other := bytes.Clone(box)
		other[i] ^= 1
		return other
	}
	for name, c := range map[string]struct {
		ring  *Keyring
		p     Purpose
		box   []byte
		place []byte
		want  error
	}{
		"another purpose":             {r, ForInteraction, box, place, ErrUnopened},
		"another row":                 {r, ForSigningKey, box, Place("keys", "private", []byte("ie"), nil), ErrUnopened},
		"fields shifted":              {r, ForSigningKey, box, Place("keys", "privatei", []byte("d"), nil), ErrUnopened},
		"another key of that number":  {ringOf(t, fixedKey(1, 9)), ForSigningKey, box, place, ErrUnopened},
		"a ring without that number":  {ringOf(t, two), ForSigningKey, box, place, ErrUnknownKey},
		"the number of another key":   {r, ForSigningKey, append([]byte{0, 2}, box[2:]...), place, ErrUnopened},
		"nonce changed":               {r, ForSigningKey, flip(5), place, ErrUnopened},
		"text changed":                {r, ForSigningKey, flip(len(box) - 17), place, ErrUnopened},
		"tag changed":                 {r, ForSigningKey, flip(len(box) - 1), place, ErrUnopened},
		"cut short":                   {r, ForSigningKey, box[:len(box)-1], place, ErrUnopened},
		"shorter than any box can be": {r, ForSigningKey, box[:Overhead-1], place, ErrUnopened},
		"nothing":                     {r, ForSigningKey, nil, place, ErrUnopened},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := c.ring.Open(c.p, c.box, c.place); !errors.Is(err, c.want) || got != nil {
				t.Errorf("Open = %q, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestI10_RotationAppendsPromotesAndRemoves(t *testing.T) {
	one, two := NewRootKey(1), NewRootKey(2)
	before, appended := ringOf(t, one), ringOf(t, one, two)
	promoted, removed := ringOf(t, two, one), ringOf(t, two)
	old, fresh := before.Seal(ForCookie, []byte("x"), nil), promoted.Seal(ForCookie, []byte("x"), nil)
	if got := []uint16{SealedBy(old), SealedBy(appended.Seal(ForCookie, nil, nil)), SealedBy(fresh)}; !reflect.DeepEqual(got, []uint16{1, 1, 2}) {
		t.Errorf("sealed by %v, want 1, 1, 2", got)
	}
	for name, c := range map[string]struct {
		ring       *Keyring
		old, fresh bool
	}{
		"before": {before, true, false}, "appended": {appended, true, true},
		"promoted": {promoted, true, true}, "removed": {removed, false, true},
	} {
		_, oldErr := c.ring.Open(ForCookie, old, nil)
		_, freshErr := c.ring.Open(ForCookie, fresh, nil)
		if (oldErr == nil) != c.old || (freshErr == nil) != c.fresh {
			t.Errorf("%s: old %v, fresh %v, want opened: %v, %v", name, oldErr, freshErr, c.old, c.fresh)
		}
	}
}

func TestI10_NodesAgreeOnTheOldestKeyWhileARotationRollsOut(t *testing.T) {
	one, two, ten := NewRootKey(1), NewRootKey(2), NewRootKey(10)
	want := ringOf(t, one).Subkeys(ForLimit)[0]
	for name, r := range map[string]*Keyring{
		"appended": ringOf(t, one, two), "promoted": ringOf(t, two, one), "three": ringOf(t, ten, one, two),
	} {
		if got := r.Oldest(ForLimit); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want that of the first key, %x", name, got, want)
		}
	}
	if got := ringOf(t, ten, two).Oldest(ForLimit); bytes.Equal(got, want) {
		t.Error("without the first key there is still its subkey")
	}
	r := ringOf(t, one)
	clear(r.Oldest(ForLimit))
	if got := r.Oldest(ForLimit); !bytes.Equal(got, want) {
		t.Error("a caller changed the keyring's own key")
	}
}

func TestI10_ADatabaseRefusesKeysThatAreNotItsOwn(t *testing.T) {
	one, two, three := NewRootKey(1), NewRootKey(2), NewRootKey(3)
	ofOne := ringOf(t, one).Check()
	ofBoth, err := ringOf(t, two, one).Verify(ofOne)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(ofBoth, ofOne) {
		t.Fatal("a promoted key left no trace in the check value")
	}
	for name, c := range map[string]struct {
		ring  *Keyring
		check []byte
		keep  []byte
		want  *MismatchError
	}{
		"the same key":               {ringOf(t, one), ofOne, ofOne, nil},
		"one appended":               {ringOf(t, one, two), ofOne, ofOne, nil},
		"both":                       {ringOf(t, one, two), ofBoth, ofBoth, nil},
		"promoted":                   {ringOf(t, two, one), ofOne, ofBoth, nil},
		"another key":                {ringOf(t, NewRootKey(1)), ofOne, nil, &MismatchError{Different: []uint16{1}}},
		"another number":             {ringOf(t, two), ofOne, nil, &MismatchError{Missing: []uint16{1}}},
		"a node that missed the new": {ringOf(t, one), ofBoth, nil, &MismatchError{Missing: []uint16{2}}},
		"none of them":               {ringOf(t, three, NewRootKey(2)), ofBoth, nil, &MismatchError{Missing: []uint16{1}, Different: []uint16{2}}},
		"the former was removed":     {ringOf(t, two), ofBoth, nil, &MismatchError{Missing: []uint16{1}}},
	} {
		t.Run(name, func(t *testing.T) {
			keep, err := c.ring.Verify(c.check)
			if !bytes.Equal(keep, c.keep) {
				t.Errorf("keep %x, want %x", keep, c.keep)
			}
			var got *MismatchError
			errors.As(err, &got)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if _, err := ringOf(t, one).Verify([]byte("short")); err == nil {
		t.Error("a damaged check value was taken")
	}
}

func TestKeyringsThatCannotWorkAreRefused(t *testing.T) {
	many := make([]RootKey, MaxRootKeys+1)
	for i := range many {
		many[i] = NewRootKey(uint16(i + 1))
	}
	for name, keys := range map[string][]RootKey{
		"none": nil, "too many": many, "number 0": {NewRootKey(0)},
		"all zeros": {{Number: 1}}, "two of one number": {NewRootKey(1), NewRootKey(1)},
	} {
		if _, err := NewKeyring(keys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestMACIsHMACOfTheSubkeyWhoeverCallsBesides(t *testing.T) {
	r := ringOf(t, fixedKey(1, 1), fixedKey(2, 2))
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for n := range 300 {
				message := bytes.Repeat([]byte{byte(g)}, n)
				want := hmac.New(sha256.New, r.Subkeys(ForTokenMAC)[g%2])
				want.Write(message)
				got, known := r.MAC(ForTokenMAC, uint16(g%2+1), message)
				if !known || !bytes.Equal(got[:], want.Sum(nil)) {
					t.Errorf("MAC of %d bytes by %d differs from HMAC", n, g%2+1)
					return
				}
			}
		})
	}
	wait.Wait()
	if _, known := r.MAC(ForTokenMAC, 3, nil); known {
		t.Error("a MAC by a key that the ring lacks")
	}
}

func BenchmarkMAC(b *testing.B) {
	r := ringOf(b, fixedKey(1, 1))
	message := make([]byte, 60)
	b.ReportAllocs()
	for b.Loop() {
		r.MAC(ForTokenMAC, 1, message)
	}
}

func BenchmarkSeal(b *testing.B) {
	r := ringOf(b, fixedKey(1, 1))
	plain := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		r.Seal(ForClientToken, plain, nil)
	}
}

func FuzzBoxesThatNobodySealedDoNotOpen(f *testing.F) {
	r := ringOf(f, fixedKey(1, 1))
	f.Add(r.Seal(ForCookie, []byte("x"), nil))
	f.Add([]byte{0, 1})
	f.Fuzz(func(t *testing.T, box []byte) {
		if plain, err := r.Open(ForInteraction, box, nil); err == nil {
			t.Errorf("%x opened: %q", box, plain)
		}
	})
}
