package idp

import (
	"reflect"
	"testing"
)

func TestListsComeBackAsTheyWerePutIn(t *testing.T) {
	for _, list := range []List{
		nil, {""}, {"openid"}, {"openid", "email"}, {"", ""}, {`a","b`}, {`"`}, {`\`}, {"a]", "[b"},
		{"\u2028", "<&>"}, {"a,b", " c "},
	} {
		text, err := list.Column()
		if err != nil {
			t.Fatal(err)
		}
		for _, src := range []any{text, []byte(text)} {
			got := List{"what was there before"}
			if err := got.Scan(src); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if !reflect.DeepEqual(got, list) {
				t.Errorf("%s: got %q, want %q", text, got, list)
			}
		}
	}
	for _, text := range []string{`["a""b"]`, `["a",]`, `["a"b"]`, `["]`, `{"a":1}`} {
		if err := new(List).Scan(text); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
