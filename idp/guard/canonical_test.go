package guard

import (
	"strings"
	"testing"
)

func TestS0_13_CanonicalIdentifiersAreOneHoweverTheyAreWritten(t *testing.T) {
	for typed, want := range map[string]string{
		"alice":                       "alice",
		"Alice":                       "alice",
		" alice ":                     "alice",
		"alice\n":                     "alice",
		"ａlice":                       "alice",
		"a\u200blice":                 "alice",
		"a\u00adl\u2060i\ufe0fce":     "alice",
		"\u200b alice \u200b":         "alice",
		"a\x00lice":                   "alice",
		"STRASSE":                     "strasse",
		"Straße":                      "strasse",
		"ALICE@Example.COM":           "alice@example.com",
		"alice＠example.com":           "alice@example.com",
		"alice@example.com.":          "alice@example.com",
		"alice@BÜCHER.example":        "alice@xn--bcher-kva.example",
		"alice@xn--bcher-kva.example": "alice@xn--bcher-kva.example",
		"Straße@STRASSE.example":      "strasse@strasse.example",
		"alice@straße.example":        "alice@xn--strae-oqa.example", // not strasse.example, which is another domain
		"alice@Straße.Example":        "alice@xn--strae-oqa.example",
		"alice@xn--strae-oqa.example": "alice@xn--strae-oqa.example",
		"alice@example。com":           "alice@example.com",
		"a@b@example.com":             "a@b@example.com",
		"alice@exa mple":              "alice@exa mple",
		"\u212a":                      "k", // KELVIN SIGN
		strings.Repeat("a", 1024):     strings.Repeat("a", 1024),
		"\u0345\u03b1":                "\u03b9\u03b1",
		"e\u0301":                     "\u00e9",
		"user-name_1":                 "user-name_1",
		"\u00a0\u3000alice\u2003":     "alice",
		"\u202ealice\u2069":           "alice",      // turned around
		"\ufb01nn":                    "finn",       // LATIN SMALL LIGATURE FI
		"\U0001d4d0lice":              "alice",      // MATHEMATICAL BOLD SCRIPT CAPITAL A
		"\U000e0041alice\U000e007f":   "alice",      // TAG characters
		"a\u034flice\u115f\u3164":     "alice",      // COMBINING GRAPHEME JOINER, HANGUL FILLER
		"\u0430lice":                  "\u0430lice", // CYRILLIC SMALL LETTER A is another letter
		"I\u0307":                     "i\u0307",
		"alice@xn--BCHER-kva.EXAMPLE": "alice@xn--bcher-kva.example",
		"@":                           "@",
	} {
		if got, ok := Canonical(typed); got != want || !ok {
			t.Errorf("%q: got %q and %v, want %q", typed, got, ok, want)
		}
	}
	for _, typed := range []string{"", "   ", "\u200b", "\xff", "alice\xff", strings.Repeat("a", 1025)} {
		if got, ok := Canonical(typed); got != "" || ok {
			t.Errorf("%q: got %q and %v, want none", typed, got, ok)
		}
	}
}

func FuzzCanonicalOfACanonicalIdentifierIsItself(f *testing.F) {
	for _, s := range []string{"Alice", "alice@BÜCHER.example", "\u0345\u03b1", "a@b@c", "ǰ\u0323", "@。"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, ok := Canonical(s)
		if !ok {
			return
		}
		if again, ok := Canonical(key); again != key || !ok && len(key) <= maxIdentifier {
			t.Errorf("%q is %q, which is %q", s, key, again)
		}
	})
}
