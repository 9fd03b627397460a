package names

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/idp/guard"
)

func rules(t testing.TB, s Settings) *Rules {
	t.Helper()
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func code(p *Problem) string {
	if p == nil {
		return ""
	}
	return p.Code
}

func TestS0_84_ReservedWordsAreRefusedHoweverTheyAreDisguised(t *testing.T) {
	for name, r := range map[string]*Rules{
		"ascii": rules(t, Settings{}), "unicode": rules(t, Settings{Charset: Unicode}),
		"ascii, casing preserved": rules(t, Settings{PreserveCasing: true}), "unicode, casing preserved": rules(t, Settings{Charset: Unicode, PreserveCasing: true}),
	} {
		for _, typed := range []string{
			"admin", "Admin", "ADMIN", "аdmin", "АDМІN", "αdmin", "admin.", ".admin", "a.d.m.i.n", "ad-min", "_admin_", "adm1n",
			"4dm1n", "@dmin", "adm!n", "adrnin", "ａｄｍｉｎ", "𝐚𝐝𝐦𝐢𝐧", "ádmïn", "admın", "ad\u00admin", "ad\u200bmin", "admin\n",
			"administrator", "AdmInistrator", "root", "r00t", "RO0T", "rооt", "system", "5y5tem", "support", "suρρort", "help", "he1p",
			"heIp", "postmaster", "hostmaster", "vvebmaster", "abuse", "security", "noreply", "no-reply", "no_reply", "api", "www",
			"vvww", "account", "login", "l0gin", "Iogin", "1ogin", "oauth", "oauth2", "0auth2", ".well-known", "wellknown", "nu11", "null", "NULL",
			"undefined", "postern", "p0stern", "pop3", "POP3", "mailer-daemon", "ʀooт",
		} {
			if _, _, p := r.Username(typed); code(p) != UsernameReserved {
				t.Errorf("%s: %q: got %v", name, typed, p)
			}
		}
		for _, typed := range []string{"alice", "badmin", "administer", "bob", "rooted", "pope", "lima", "mia", "admin-of-nothing", "user1234"} {
			if got, _, p := r.Username(typed); p != nil || got != typed {
				t.Errorf("%s: %q: got %q and %v", name, typed, got, p)
			}
		}
	}
	r := rules(t, Settings{Reserved: []string{"Ärger"}})
	if _, _, p := r.Username("arg3r"); code(p) != UsernameReserved {
		t.Errorf("set: got %v", p)
	}
	if _, _, p := r.Username("admin"); p != nil {
		t.Errorf("not set: got %v", p)
	}
	if _, _, p := rules(t, Settings{Reserved: []string{}}).Username("admin"); p != nil {
		t.Errorf("none: got %v", p)
	}
}

func TestS0_84_TheDefaultWordsAreSortedAndOnce(t *testing.T) {
	key := func(word string) string { return strings.Trim(word, ".") }
	words := DefaultReserved()
	for i := 1; i < len(words); i++ {
		if key(words[i-1]) >= key(words[i]) {
			t.Errorf("%s, %s", words[i-1], words[i])
		}
	}
}

func TestS0_85_UsernamesHaveThreeToSixtyFourCharacters(t *testing.T) {
	short := func(n int) *Problem { return &Problem{UsernameTooShort, map[string]any{"min": 3, "count": n}} }
	long := &Problem{UsernameTooLong, map[string]any{"max": 64}}
	for typed, want := range map[string]*Problem{
		"": short(0), "b": short(1), "bo": short(2), "bob": nil,
		strings.Repeat("x", 64): nil, strings.Repeat("x", 65): long, strings.Repeat("x", 1<<20): long,
	} {
		if _, _, got := rules(t, Settings{}).Username(typed); !reflect.DeepEqual(got, want) {
			t.Errorf("%.70q: got %v, want %v", typed, got, want)
		}
	}
	r := rules(t, Settings{Charset: Unicode})
	for typed, want := range map[string]*Problem{
		"жу": short(2), "жук": nil, strings.Repeat("ж", 64): nil, strings.Repeat("ж", 65): long, strings.Repeat("𐐨", 64): nil,
	} {
		if _, _, got := r.Username(typed); !reflect.DeepEqual(got, want) {
			t.Errorf("%.70q: got %v, want %v", typed, got, want)
		}
	}
}

func TestS0_86_UsernamesMatchThePatternFromEndToEnd(t *testing.T) {
	r := rules(t, Settings{})
	for _, typed := range []string{
		"bob\n", "bob smith", "böb", " bob", "bob ", "bob\r", "bob\x00", "bob\t", "\nbob", "bob\nbob", "bob@example.com", "b.ob", "bob'", "<bob>",
		"bob\xff", "bob\u200b", "bob\u202e", "bоb", "../bob", "bob/..", "bob%00",
	} {
		if name, key, p := r.Username(typed); name != "" || key != "" || code(p) != UsernameCharacters {
			t.Errorf("%q: got %q, %q and %v", typed, name, key, p)
		}
	}
	for _, typed := range []string{"bob", "bob_smith", "bob-smith", "b0b", "---", "123"} {
		if name, key, p := r.Username(typed); name != typed || key != typed || p != nil {
			t.Errorf("%q: got %q, %q and %v", typed, name, key, p)
		}
	}
	r = rules(t, Settings{Patterns: []string{"[a-z]+|x@?.", "(?m)^b.*$"}})
	for typed, want := range map[string]string{
		"bob": "", "b0b": UsernameCharacters, "bob\nbob": UsernameCharacters, "bob1": UsernameCharacters, "anna": UsernameCharacters, "x@b": UsernameCharacters,
	} {
		if _, _, p := r.Username(typed); code(p) != want {
			t.Errorf("%q: got %v, want %s", typed, p, want)
		}
	}
	// No pattern can make a username look like an address.
	if _, _, p := rules(t, Settings{Patterns: []string{".*"}}).Username("bob@example.com"); code(p) != UsernameCharacters {
		t.Errorf("got %v", p)
	}
}

func TestS0_87_UnicodeUsernamesAreMappedAndOfOneScript(t *testing.T) {
	r := rules(t, Settings{Charset: Unicode})
	for typed, want := range map[string][3]string{
		"ｂｏｂ":            {"bob", "bob"},
		"Böb":            {"böb", "böb"},
		"bo\u0308b":      {"böb", "böb"},
		"Straße":         {"straße", "strasse"},
		"ЖУК":            {"жук", "жук"},
		"ﬁona":           {"fiona", "fiona"},
		"山田たろう":          {"山田たろう", "山田たろう"},
		"김철수金":           {"김철수金", "김철수金"},
		"李小龍-1":          {"李小龍-1", "李小龍-1"},
		"مريم":           {"مريم", "مريم"},
		"bоb":            {2: UsernameMixedScript}, // Cyrillic о
		"bobж":           {2: UsernameMixedScript},
		"bob山":           {2: UsernameMixedScript},
		"たろう김":           {2: UsernameMixedScript},
		"жук1٢":          {2: UsernameCharacters}, // the Bidi rule
		"कमल१2":          {2: UsernameMixedScript},
		"कमल१२":          {"कमल१२", "कमल१२"},
		"bob smith":      {2: UsernameCharacters},
		"bob\n":          {2: UsernameCharacters},
		"bob\u200d":      {2: UsernameCharacters},
		"bob\u202e":      {2: UsernameCharacters},
		"bob\u3164":      {2: UsernameCharacters},
		"bob🦉":           {2: UsernameCharacters},
		"bob@x":          {2: UsernameCharacters},
		"bob＠x":          {2: UsernameCharacters},
		"bob\U0010ffff":  {2: UsernameCharacters},
		"مريمbob":        {2: UsernameCharacters},
		"ΑΛΕΞΑΝΔΡΟΣ":     {"αλεξανδροσ", "αλεξανδροσ"},
		"İstanbul":       {"i̇stanbul", "i̇stanbul"},
		"user_name-1":    {"user_name-1", "user_name-1"},
		"\u0345\u03b1αα": {2: UsernameCharacters},
	} {
		name, key, p := r.Username(typed)
		got := [3]string{name, key, code(p)}
		if got != want {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
		if p == nil {
			if canonical, ok := guard.Canonical(typed); !ok || canonical != key {
				t.Errorf("%q: the key is %q, canonical %q", typed, key, canonical)
			}
		}
	}
}

func TestS0_88_CasingIsPreservedOrNotAndTheKeyIsOne(t *testing.T) {
	for name, c := range map[string]struct {
		settings Settings
		typed    string
		want     string
	}{
		"lower":              {Settings{}, "bOB", "bob"},
		"preserved":          {Settings{PreserveCasing: true}, "bOB", "bOB"},
		"unicode, lower":     {Settings{Charset: Unicode}, "bÖB", "böb"},
		"unicode, preserved": {Settings{Charset: Unicode, PreserveCasing: true}, "bÖB", "bÖB"},
	} {
		got, key, p := rules(t, c.settings).Username(c.typed)
		wantKey, _ := guard.Canonical(c.typed)
		if got != c.want || key != wantKey || p != nil {
			t.Errorf("%s: got %q, %q and %v", name, got, key, p)
		}
	}
}

func TestS0_83_AddressesAreReadStrictly(t *testing.T) {
	ok := func(text, key, domain string) Address { return Address{text, key, key, domain} }
	for typed, want := range map[string]Address{
		"alice@example.com":                    ok("alice@example.com", "alice@example.com", "example.com"),
		"Alice@Example.COM":                    ok("Alice@example.com", "alice@example.com", "example.com"),
		"alice@example.com.":                   ok("alice@example.com", "alice@example.com", "example.com"),
		"alice@BÜCHER.example":                 ok("alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", "xn--bcher-kva.example"),
		"alice@xn--bcher-kva.example":          ok("alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", "xn--bcher-kva.example"),
		"alice@straße.example":                 ok("alice@xn--strae-oqa.example", "alice@xn--strae-oqa.example", "xn--strae-oqa.example"),
		"alice@example。com":                    ok("alice@example.com", "alice@example.com", "example.com"),
		"alice@ｅｘａｍｐｌｅ.com":                    ok("alice@example.com", "alice@example.com", "example.com"),
		"a.b-c_d+e@mail.example.com":           ok("a.b-c_d+e@mail.example.com", "a.b-c_d+e@mail.example.com", "mail.example.com"),
		"!#$%&'*+-/=?^_`{|}~@example.com":      ok("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com", "example.com"),
		`"alice"@example.com`:                  ok("alice@example.com", "alice@example.com", "example.com"),
		`"al\ice"@example.com`:                 ok("alice@example.com", "alice@example.com", "example.com"),
		`"a b"@example.com`:                    ok(`"a b"@example.com`, `"a b"@example.com`, "example.com"),
		`"a@b"@example.com`:                    ok(`"a@b"@example.com`, `"a@b"@example.com`, "example.com"),
		`"a\"b\\"@example.com`:                 ok(`"a\"b\\"@example.com`, `"a\"b\\"@example.com`, "example.com"),
		`"..A"@example.com`:                    ok(`"..A"@example.com`, `"..a"@example.com`, "example.com"),
		"1@1.example":                          ok("1@1.example", "1@1.example", "1.example"),
		strings.Repeat("x", 64) + "@x.example": ok(strings.Repeat("x", 64)+"@x.example", strings.Repeat("x", 64)+"@x.example", "x.example"),
	} {
		got, p := rules(t, Settings{}).Email(typed)
		if got != want || p != nil {
			t.Errorf("%q: got %+v and %v", typed, got, p)
		}
		if key, _ := guard.Canonical(got.Text); key != got.Key {
			t.Errorf("%q: the key is %q, canonical %q", typed, got.Key, key)
		}
	}
}

func TestS0_83_HostileAddressesAreRefused(t *testing.T) {
	label := strings.Repeat("d", 63)
	tooLong := func(n int) *Problem { return &Problem{EmailTooLong, map[string]any{"max": n}} }
	for typed, want := range map[string]*Problem{
		strings.Repeat("x", 65) + "@x.example":                                              tooLong(64),
		`"` + strings.Repeat(" ", 63) + `"@x.example`:                                       tooLong(64),
		"x@" + label + "." + label + "." + label + "." + strings.Repeat("e", 61):            tooLong(254),
		strings.Repeat("x", 64) + "@" + label + "." + label + "." + strings.Repeat("e", 62): tooLong(254),
		"x@" + strings.Repeat("a.", 100_000) + "example":                                    tooLong(254),
		strings.Repeat("x", 64) + "@" + label + "." + label + "." + strings.Repeat("e", 61): nil,
		"x@" + label + "." + label + "." + label + "." + strings.Repeat("e", 59):            nil,
	} {
		if _, got := rules(t, Settings{}).Email(typed); !reflect.DeepEqual(got, want) {
			t.Errorf("%.80q: got %v, want %v", typed, got, want)
		}
	}
	for name, utf8Local := range map[string]bool{"ASCII": false, "UTF-8": true} {
		r := rules(t, Settings{UTF8Local: utf8Local})
		for _, typed := range []string{
			"", "@", "alice", "alice@", "@example.com", "alice@example", "alice@localhost", "a@b@example.com", "alice@@example.com",
			"alice@example.com@evil.example", `alice@"example.com"`, `"alice@example.com`, `"alice"example.com`, `""@example.com`,
			`al"ice@example.com`, `"al"ice@example.com`, `"al"ice"@example.com`, `"alice\"@example.com`, `"alice"@b@example.com`, `"alice\`,
			"alice@example.com\r\nBcc: victim@example.com", "alice\r\n@example.com", "alice@example.com\n", "alice@example.com\r", "alice\x00@example.com",
			"alice@example.com\x00", "\"a\r\nb\"@example.com", "\"a\x00b\"@example.com", "\"a\\\nb\"@example.com", "alice\t@example.com", "alice\x7f@example.com",
			" alice@example.com", "alice@example.com ", "alice @example.com", "alice@ example.com", "alice@exam ple.com",
			".alice@example.com", "alice.@example.com", "al..ice@example.com", "alice@.example.com", "alice@example..com", "alice@example.com..", "alice@.",
			"alice@-example.com", "alice@example-.com", "alice@exam_ple.com", "alice@" + strings.Repeat("d", 64) + ".com",
			"alice@[127.0.0.1]", "alice@[IPv6:::1]", "alice@127.0.0.1", "alice@1.2", "alice@example.123",
			"Alice <alice@example.com>", "<alice@example.com>", "alice(comment)@example.com", "alice@(comment)example.com", "alice@example.com(comment)",
			"alice@example.com,bob@example.com", "alice@example.com, bob@example.com", "alice@example.com;bob@example.com", "a,b@example.com",
			"mailto:alice@example.com", "alice:x@example.com", "alice@example.com:25", "alice@example.com/x", "alice%40example.com",
			"alice\u202e@example.com", "ali\u202ace@example.com", "alice@exam\u202eple.com", "ali\u2066ce@example.com", "ali\u200bce@example.com",
			"alice\ufeff@example.com", "alice@example.com\u2028", "alice＠example.com", "alice@example.com＠evil.example", "alice\xff@example.com",
			"alice@xn--.com", "alice@xn--a.com", "alice@\u00ad.com", "alice@y\u2135.example", "alice@exam\u2024ple＠x.com",
			"ａlice@example.com", "al\u0131\u0307\u3164ce@example.com", "🦉@example.com", "ali\u034fce@example.com", "\u115falice@example.com",
		} {
			if got, p := r.Email(typed); got != (Address{}) || code(p) != EmailInvalid {
				t.Errorf("%s: %q: got %+v and %v", name, typed, got, p)
			}
		}
	}
}

func TestS0_83_LocalPartsAreASCIIUnlessAllowed(t *testing.T) {
	for _, typed := range []string{"jürgen@example.com", "用户@example.com", "\"jür gen\"@example.com"} {
		if _, p := rules(t, Settings{}).Email(typed); code(p) != EmailInvalid {
			t.Errorf("%q: got %v", typed, p)
		}
		got, p := rules(t, Settings{UTF8Local: true}).Email(typed)
		if p != nil || got.Text != typed {
			t.Errorf("%q: got %v and %v", typed, got, p)
		}
	}
}

func TestS0_82_PlusAddressingHasThreeModes(t *testing.T) {
	for typed, want := range map[string]struct{ key, collapsed string }{
		"Alice+News@example.com":    {"alice+news@example.com", "alice@example.com"},
		"alice+a+b@example.com":     {"alice+a+b@example.com", "alice@example.com"},
		"alice+@example.com":        {"alice+@example.com", "alice@example.com"},
		"+news@example.com":         {"+news@example.com", "+news@example.com"},
		`"alice+news"@example.com`:  {"alice+news@example.com", "alice@example.com"},
		`"alice+ne ws"@example.com`: {`"alice+ne ws"@example.com`, "alice@example.com"},
		`"al ice+news"@example.com`: {`"al ice+news"@example.com`, `"al ice"@example.com`},
		`"alice.+x"@example.com`:    {`alice.+x@example.com`, `"alice."@example.com`},
	} {
		got, p := rules(t, Settings{}).Email(typed)
		if p != nil || got.Key != want.key || got.Unique != want.key {
			t.Errorf("allow: %q: got %+v and %v", typed, got, p)
		}
		if _, p := rules(t, Settings{PlusAddressing: Deny}).Email(typed); !reflect.DeepEqual(p, &Problem{Code: EmailPlus}) {
			t.Errorf("deny: %q: got %v", typed, p)
		}
		got, p = rules(t, Settings{PlusAddressing: Collapse}).Email(typed)
		if p != nil || got.Key != want.key || got.Unique != want.collapsed {
			t.Errorf("collapse: %q: got %+v and %v", typed, got, p)
		}
	}
	for _, mode := range []string{Allow, Deny, Collapse} {
		got, p := rules(t, Settings{PlusAddressing: mode}).Email("alice@example.com")
		if p != nil || got.Unique != "alice@example.com" || got.Key != got.Unique {
			t.Errorf("%s: got %+v and %v", mode, got, p)
		}
	}
}

func TestS0_81_DisposableAddressesAreRefused(t *testing.T) {
	r := rules(t, Settings{})
	for typed, domain := range map[string]string{
		"x@TempMail.com": "tempmail.com", "x@sub.tempmail.com": "tempmail.com", "x@tempmail.com.": "tempmail.com", `"a@b"@tempmail.com`: "tempmail.com",
		"x@guerrillamail.com": "guerrillamail.com", "x@10minutemail.com": "10minutemail.com", "x@mailinator.com": "mailinator.com",
		"x@a.b.c.mailinator.com": "mailinator.com", "x@ＭＡＩＬＩＮＡＴＯＲ。com": "mailinator.com", "x+y@yopmail.com": "yopmail.com",
	} {
		got, p := r.Email(typed)
		if want := (&Problem{EmailDisposable, map[string]any{"domain": domain}}); got != (Address{}) || !reflect.DeepEqual(p, want) {
			t.Errorf("%q: got %v and %v", typed, got, p)
		}
	}
	for _, typed := range []string{
		"x@example.com", "x@gmail.com", "x@nottempmail.com", "x@tempmail.com.example", "tempmail.com@example.com", "x@com.example", "x@icloud.com", "x@proton.me",
	} {
		if _, p := r.Email(typed); p != nil {
			t.Errorf("%q: got %v", typed, p)
		}
	}
}

func TestS0_81_SettingsAddAndRemoveDomains(t *testing.T) {
	r := rules(t, Settings{
		DisposableDomains: []string{"Throw.example", "*.free.example", "bücher.example", "mailinator.com", "*.xyz", "deep.good.example"},
		LastingDomains:    []string{"tempmail.com", "*.yopmail.com", "kept.throw.example", "good.example"},
	})
	for domain, want := range map[string]string{
		"throw.example": "throw.example", "a.throw.example": "throw.example", "kept.throw.example": "", "a.kept.throw.example": "",
		"free.example": "", "a.free.example": "*.free.example", "b.a.free.example": "*.free.example",
		"BÜCHER.example": "xn--bcher-kva.example", "mailinator.com": "mailinator.com", "any.xyz": "*.xyz",
		"tempmail.com": "", "a.tempmail.com": "", "yopmail.com": "yopmail.com", "a.yopmail.com": "",
		"good.example": "", "deep.good.example": "deep.good.example", "guerrillamail.com": "guerrillamail.com",
	} {
		_, p := r.Email("x@" + domain)
		got := ""
		if p != nil {
			got, _ = p.Args["domain"].(string)
		}
		if got != want {
			t.Errorf("%s: got %v, want %q", domain, p, want)
		}
	}
	r = rules(t, Settings{AllowDisposable: true, DisposableDomains: []string{"throw.example"}})
	for domain, want := range map[string]string{"tempmail.com": "", "mailinator.com": "", "throw.example": EmailDisposable} {
		if _, p := r.Email("x@" + domain); code(p) != want {
			t.Errorf("%s: got %v, want %q", domain, p, want)
		}
	}
}

func TestS0_81_TheEmbeddedListIsSortedAndFoundWhole(t *testing.T) {
	d, err := newDomains(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(d.list, "\n"), "\n")
	if len(lines) < 5000 || !slices.IsSorted(lines) || !strings.HasSuffix(d.list, "\n") {
		t.Errorf("%d lines, sorted: %v", len(lines), slices.IsSorted(lines))
	}
	for _, line := range lines {
		if domain, ok := asciiDomain(line); domain != line || !ok {
			t.Errorf("%q is no domain", line)
		}
		if !hasLine(d.list, line) {
			t.Errorf("%s is not found", line)
		}
		if hasLine(d.list, line+"x") && !slices.Contains(lines, line+"x") || hasLine(d.list, line[1:]) != slices.Contains(lines, line[1:]) && len(line) < 8 {
			t.Errorf("near %s", line)
		}
	}
	for _, line := range []string{"", "a", "zzzzzzzzzz", "#", "\n"} {
		if hasLine(d.list, line) || hasLine("", line) {
			t.Errorf("%q is found", line)
		}
	}
}

func TestSettingsThatMakeNoRulesAreRefused(t *testing.T) {
	for want, s := range map[string]Settings{
		"a username's length is from 1 to 128 code points, not from -1 to 64":             {MinUsername: -1},
		"a username's length is from 1 to 128 code points, not from 65 to 64":             {MinUsername: 65},
		"a username's length is from 1 to 128 code points, not from 3 to 129":             {MaxUsername: 129},
		`the charset of usernames is ascii or unicode, not "utf-8"`:                       {Charset: "utf-8"},
		`plus addressing is allow, deny or collapse, not "no"`:                            {PlusAddressing: "no"},
		"pattern of usernames: error parsing regexp: unexpected ): `a)|(b`":               {Patterns: []string{"a)|(b"}},
		`the reserved username "--" has neither letters nor digits`:                       {Reserved: []string{"--"}},
		"10001 usernames are reserved, the most is 10000":                                 {Reserved: make([]string, 10_001)},
		`"com" is no domain: write example.com or *.example.com`:                          {DisposableDomains: []string{"com"}},
		`"*" is no domain: write example.com or *.example.com`:                            {DisposableDomains: []string{"*"}},
		`"a.*.com" is no domain: write example.com or *.example.com`:                      {LastingDomains: []string{"a.*.com"}},
		`the domain "X.example" is both added to the disposable ones and taken from them`: {DisposableDomains: []string{"x.example"}, LastingDomains: []string{"X.example"}},
	} {
		if _, err := New(s); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func all(t testing.TB) []*Rules {
	return []*Rules{
		rules(t, Settings{}), rules(t, Settings{PreserveCasing: true, PlusAddressing: Collapse}), rules(t, Settings{Charset: Unicode, UTF8Local: true}),
		rules(t, Settings{Charset: Unicode, UTF8Local: true, PreserveCasing: true, Patterns: []string{".*"}, PlusAddressing: Collapse, Reserved: []string{}}),
	}
}

func FuzzUsernameOfAUsernameIsItself(f *testing.F) {
	for _, s := range []string{"Bob", "ｂｏｂ", "Straße", "\u0345\u03b1αα", "İstanbul", "bob\n", "ᾳᾳᾳ", "ΑΣΣ", "ǰ\u0323x", "김철수"} {
		f.Add(s)
	}
	every := all(f)
	f.Fuzz(func(t *testing.T, typed string) {
		for i, r := range every {
			name, key, p := r.Username(typed)
			if p != nil {
				if name != "" || key != "" {
					t.Errorf("%d: %q: got %q and %q with %v", i, typed, name, key, p)
				}
				continue
			}
			if again, same, p := r.Username(name); again != name || same != key || p != nil {
				t.Errorf("%d: %q is %q, which is %q, %q and %v", i, typed, name, again, same, p)
			}
			if canonical, ok := guard.Canonical(name); !ok || canonical != key || strings.Contains(key, "@") {
				t.Errorf("%d: %q: the key is %q, canonical %q", i, typed, key, canonical)
			}
			// Who types what he typed before is found.
			if canonical, _ := guard.Canonical(typed); canonical != key {
				t.Errorf("%d: %q is found as %q, stored as %q", i, typed, canonical, key)
			}
		}
	})
}

func FuzzEmailOfAnEmailIsItself(f *testing.F) {
	for _, s := range []string{
		"alice@example.com", `"a@b"@Tempmail.com.`, "alice+x@BÜCHER.example", "jürgen@example.com", `"\"\\ +"@x.example`, "Straße@x.example", "a@b。c.", "ſ@x.example", "x@y\u2135.example",
	} {
		f.Add(s)
	}
	every := all(f)
	f.Fuzz(func(t *testing.T, typed string) {
		for i, r := range every {
			a, p := r.Email(typed)
			if p != nil {
				if a != (Address{}) {
					t.Errorf("%d: %q: got %+v with %v", i, typed, a, p)
				}
				continue
			}
			if again, p := r.Email(a.Text); again != a || p != nil {
				t.Errorf("%d: %q is %+v, which is %+v and %v", i, typed, a, again, p)
			}
			if again, p := r.Email(a.Key); p == nil && (again.Key != a.Key || again.Unique != a.Unique || again.Domain != a.Domain) {
				t.Errorf("%d: %q is %+v, its key %+v", i, typed, a, again)
			}
			if again, p := r.Email(a.Unique); p == nil && again.Unique != a.Unique {
				t.Errorf("%d: %q is %+v, its unique form %+v", i, typed, a, again)
			}
			if key, ok := guard.Canonical(a.Text); !ok || key != a.Key || !strings.HasSuffix(key, "@"+a.Domain) {
				t.Errorf("%d: %q: the key is %q, canonical %q", i, typed, a.Key, key)
			}
			if strings.ContainsAny(a.Text, "\r\n\x00") || !utf8.ValidString(a.Text) || len(a.Text) > maxEmail {
				t.Errorf("%d: %q is %q", i, typed, a.Text)
			}
		}
	})
}

func BenchmarkUsername(b *testing.B) {
	r := rules(b, Settings{})
	for b.Loop() {
		r.Username("alice.liddell")
	}
}

func BenchmarkUnicodeUsername(b *testing.B) {
	r := rules(b, Settings{Charset: Unicode})
	for b.Loop() {
		r.Username("жужелица")
	}
}

func BenchmarkEmail(b *testing.B) {
	r := rules(b, Settings{})
	for b.Loop() {
		r.Email("alice@mail.wonderland.example")
	}
}
