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

func TestFactsComeBackAsTheyWerePutIn(t *testing.T) {
	for _, facts := range []Facts{
		{},
		{RedirectURI: "https://rp.example/cb?a=b&c=\"d\"", RedirectSent: true, Challenge: "c", Nonce: "n\\\u2028\",\"", AuthTime: 1767316000,
			ACR: "urn:postern:acr:pwd", AMR: []string{"pwd", "otp"}, Claims: `{"userinfo":{"email":null}}`, AuthTimeAsked: true, RequestedAt: 1767316001},
	} {
		text, err := facts.Column()
		if err != nil {
			t.Fatal(err)
		}
		for _, src := range []any{text, []byte(text)} {
			got := Facts{Nonce: "what was there before"}
			if err := got.Scan(src); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if !reflect.DeepEqual(got, facts) {
				t.Errorf("%s: got %+v, want %+v", text, got, facts)
			}
		}
	}
	for text, want := range map[string]Facts{
		`[]`:                     {},
		`["https://rp/","true"]`: {RedirectURI: "https://rp/", RedirectSent: true},
		`["","false","","n","0","","","","false","7","of a newer program"]`: {Nonce: "n", RequestedAt: 7},
	} {
		var got Facts
		if err := got.Scan(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{`["","true","","","x","","","","true","0"]`, `{"u":"https://rp.example/cb"}`} {
		if err := new(Facts).Scan(text); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
