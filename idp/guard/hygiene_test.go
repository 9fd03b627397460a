package guard

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestS4_64_RecordsHaveNothingThatSteersTerminals(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		"Mozilla/5.0":            "Mozilla/5.0",
		"a\x00b":                 "a\ufffdb",
		"a\r\nb\tc\x1b[31m":      "a\ufffd\ufffdb\ufffdc\ufffd[31m",
		"caf\xe9 \xff":           "caf\ufffd \ufffd",
		"\u202egnp.exe":          "\ufffdgnp.exe",
		"\u0085\u2028\u2029":     "\ufffd\ufffd\ufffd",
		"Zoë 👩‍🚀 愛":              "Zoë 👩‍🚀 愛",
		strings.Repeat("x", 400): strings.Repeat("x", 255),
		strings.Repeat("愛", 100): strings.Repeat("愛", 85),
	} {
		if got := Clean(text, 255); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := Clean("愛愛", 4); got != "愛" {
		t.Errorf("got %q, want no half of a character", got)
	}
}

func TestS4_27_RecordsMaskWhatIsSecretOrSensitive(t *testing.T) {
	for name, tc := range map[string]struct {
		values    map[string][]string
		sensitive []string
		most      int
		want      string
	}{
		"nothing": {nil, nil, 1024, ""},
		"secrets, whatever the settings say": {
			map[string][]string{"password": {"hunter2"}, "new_password": {"x"}, "code": {"123456"}, "otp": {"1"}, "token": {"t"}, "secret": {"s"},
				"client_secret": {"c"}, "assertion": {"a"}, "tx": {"t"}, "csrf": {"c"}, "PassWord2": {"p"}}, nil, 1024,
			"PassWord2=" + masked + "&assertion=" + masked + "&client_secret=" + masked + "&code=" + masked + "&csrf=" + masked +
				"&new_password=" + masked + "&otp=" + masked + "&password=" + masked + "&secret=" + masked + "&token=" + masked + "&tx=" + masked,
		},
		"secrets of other programs' forms": {
			map[string][]string{"pwd": {"hunter2"}, "user_pass": {"x"}, "passphrase": {"x"}, "PIN": {"1234"}}, nil, 1024,
			"PIN=" + masked + "&passphrase=" + masked + "&pwd=" + masked + "&user_pass=" + masked,
		},
		"a name that is no name":    {map[string][]string{`{"password":"hunter2"}`: {""}, "hunter2 ": {"x"}, strings.Repeat("n", 65): {"x"}}, nil, 1024, masked + "=" + masked + "&" + masked + "=" + masked + "&" + masked + "=" + masked},
		"what is not sensitive":     {map[string][]string{"username": {"alice"}, "remember": {"1"}}, nil, 1024, "remember=1&username=alice"},
		"what the settings name":    {map[string][]string{"username": {"alice"}, "remember": {"1"}}, []string{"username", "ip_address"}, 1024, "remember=1&username=" + masked},
		"a password field renamed":  {map[string][]string{"pin": {"1234"}}, []string{"PIN"}, 1024, "pin=" + masked},
		"several values":            {map[string][]string{"a": {"1", "2"}}, nil, 1024, "a=1&a=2"},
		"a value that forges names": {map[string][]string{"a": {"1&password=x"}}, nil, 1024, "a=1%26password%3Dx"},
		"NUL and invalid UTF-8":     {map[string][]string{"a": {"\x00\xff"}}, nil, 1024, "a=%EF%BF%BD%EF%BF%BD"},
		"an empty secret":           {map[string][]string{"password": {""}}, nil, 1024, "password=" + masked},
		"too much":                  {map[string][]string{"a": {strings.Repeat("x", 10_000)}, "b": {"2"}}, nil, 100, "a=" + strings.Repeat("x", 98)},
		"a long value":              {map[string][]string{"a": {strings.Repeat("x", 10_000)}, "b": {"2"}}, nil, 1024, "a=" + strings.Repeat("x", 255) + "&b=2"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := MaskParameters(tc.values, tc.sensitive, tc.most); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func FuzzS4_64_RecordsAreBoundedAndValid(f *testing.F) {
	f.Add("a\x00b\xff", 7)
	f.Add("👩‍🚀\u202e", 3)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = most & 0xfff
		got := Clean(text, most)
		if len(got) > most || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\r\n\x1b") {
			t.Errorf("%q: got %q", text, got)
		}
		if again := Clean(got, most); again != got {
			t.Errorf("%q is cleaned to %q and %q", text, got, again)
		}
		form, _ := url.ParseQuery(text)
		if got := MaskParameters(form, nil, most); len(got) > most || !utf8.ValidString(got) {
			t.Errorf("%q: got %q", text, got)
		}
	})
}

func FuzzS4_27_NoSecretIsInARecord(f *testing.F) {
	f.Add("hunter2", "code")
	f.Fuzz(func(t *testing.T, secret, name string) {
		if len(secret) < 4 || strings.Contains(name, secret) || strings.Trim(secret, "*=&%+") == "" {
			return
		}
		form := map[string][]string{name + "_secret": {secret}, "password": {secret, secret}, "TX": {secret}}
		got := MaskParameters(form, nil, 1024)
		rest := strings.NewReplacer(url.QueryEscape(name), "", "_secret", "", "password", "", "TX", "").Replace(got)
		if strings.Contains(rest, secret) {
			t.Errorf("the secret %q is in %q", secret, got)
		}
	})
}
