package secret

import (
	"errors"
	"strings"
	"testing"
)

func TestPasswordsAreTheSameFromEveryKeyboard(t *testing.T) {
	type prepared struct {
		text   string
		length int
	}
	for typed, want := range map[string]prepared{
		"correct horse":            {"correct horse", 13},
		"correct\u00a0horse":       {"correct horse", 13},
		"correct\u3000horse":       {"correct horse", 13},
		" leading, trailing ":      {" leading, trailing ", 19},
		"cafe\u0301":               {"caf\u00e9", 4},
		"\u212b":                   {"\u00c5", 1}, // ANGSTROM SIGN
		"Ａbc":                      {"Ａbc", 3},    // RFC 8265 keeps the width
		"👨\u200d👩\u200d👧":          {"👨\u200d👩\u200d👧", 5},
		"❤\ufe0f":                  {"❤\ufe0f", 2},
		"":                         {"", 0},
		strings.Repeat("語", 256):   {strings.Repeat("語", 256), 256},
		strings.Repeat("😀", 256):   {strings.Repeat("😀", 256), 256},
		"tab\tis no space, but ok": {"tab\tis no space, but ok", 23},
	} {
		text, length, err := Prepare(typed)
		if got := (prepared{text, length}); got != want || err != nil {
			t.Errorf("%q: got %q, %d and %v, want %q, %d", typed, got.text, got.length, err, want.text, want.length)
		}
	}
}

func TestS0_31_PasswordsAreNeverCut(t *testing.T) {
	for typed, want := range map[string]error{
		strings.Repeat("a", 257):    ErrPasswordTooLong,
		strings.Repeat("語", 257):    ErrPasswordTooLong,
		strings.Repeat("a", 10<<20): ErrPasswordTooLong,
		"nul\x00":                   ErrPasswordText,
		"\xff\xfe":                  ErrPasswordText,
	} {
		if text, _, err := Prepare(typed); text != "" || !errors.Is(err, want) {
			t.Errorf("%.10q: got %.10q and %v, want %v", typed, text, err, want)
		}
	}
	one := strings.Repeat("x", 255)
	a, _, _ := Prepare(one + "1")
	b, _, _ := Prepare(one + "2")
	if a == b {
		t.Error("two long passwords are the same")
	}
}
