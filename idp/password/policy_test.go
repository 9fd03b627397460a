package password

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccojocar/zxcvbn-go/frequency"
	"github.com/ccojocar/zxcvbn-go/scoring"

	"postern/idp/secret"
)

func policy(t testing.TB, s Settings) *Policy {
	t.Helper()
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func codes(failures []Failure) []string {
	var all []string
	for _, f := range failures {
		all = append(all, f.Code)
	}
	return all
}

func alice() Person {
	return Person{Username: "alice", Email: "alice@wonderland.example", Names: []string{"Alice", "Liddell", "Alice Liddell"}}
}

func TestS0_30_PasswordsLikeThePersonOrTheSiteAreTooSimilar(t *testing.T) {
	p := policy(t, Settings{Validators: []string{Similarity}, Words: []string{"https://login.postern.example", "Postern Demo"}})
	for typed, field := range map[string]string{
		"alice.liddell1":        "name",
		"lliddecila":            "name",
		"Al1ce L1dd3ll":         "name",
		"LIDDELL, ALICE!!":      "name",
		"lleddil.ecila":         "name",
		"alice":                 "username",
		"AliceAliceAlice!":      "username",
		"wonderland2024":        "email",
		"Wond3rland#1":          "email",
		"alice@wonderland":      "email",
		"Postern":               "site",
		"postern12345":          "site",
		"nretsop-nretsop":       "site",
		"posternalice17":        "site",
		"ａｌｉｃｅ·liddell":         "name",
		"álïcè.lïddéll":         "name",
		"correct-horse-battery": "",
		"mallory.crookshank":    "",
		"":                      "",
		"x":                     "",
	} {
		var want []Failure
		if field != "" {
			want = []Failure{{TooSimilar, map[string]any{"field": field}}}
		}
		if got := p.Check(typed, alice()); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, want %v", typed, got, want)
		}
	}
	if got := p.Check("alice.liddell1", Person{Username: "alice.liddell"}); len(got) != 1 {
		t.Errorf("a username alone: got %v", got)
	}
	if got := p.Check("lliddecila", Person{Names: []string{"Alice", "Liddell"}}); len(got) != 1 {
		t.Errorf("two names: got %v", got)
	}
	if got := p.Check("anything-goes", Person{}); got != nil {
		t.Errorf("nothing to compare: got %v", got)
	}
}

func TestS0_30_SimilarityOfMegabytesTakesNoTime(t *testing.T) {
	p := policy(t, Settings{Words: slices.Repeat([]string{strings.Repeat("brand ", 200_000)}, 100)})
	long := strings.Repeat("aé.", 350_000)
	who := Person{Username: long, Email: long + "@" + long, Names: slices.Repeat([]string{long}, 1000)}
	began := time.Now()
	p.Check(long, who)
	p.Check(strings.Repeat("aé.x", MaxLength/4), who)
	p.Check(strings.Repeat("\u0344", MaxLength/2), who)
	p.Check(strings.Repeat("\ufdfa", MaxLength), who)
	// The race detector makes it some ten times slower; BenchmarkCheck says what it takes.
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestS0_31_LengthCountsCodePointsAndCutsNothing(t *testing.T) {
	p := policy(t, Settings{Validators: []string{Length}})
	short := func(n int) []Failure { return []Failure{{TooShort, map[string]any{"min": 12, "count": n}}} }
	long := []Failure{{TooLong, map[string]any{"max": 256}}}
	for name, c := range map[string]struct {
		password string
		want     []Failure
	}{
		"none":                            {"", short(0)},
		"11":                              {"abcdefghijk", short(11)},
		"12":                              {"abcdefghijkl", nil},
		"64":                              {strings.Repeat("x", 64), nil},
		"256":                             {strings.Repeat("x", 256), nil},
		"257":                             {strings.Repeat("x", 257), long},
		"a megabyte":                      {strings.Repeat("x", 1<<20), long},
		"12 of four bytes":                {strings.Repeat("🦉", 12), nil},
		"11 of four bytes":                {strings.Repeat("🦉", 11), short(11)},
		"256 of four bytes":               {strings.Repeat("🦉", 256), nil},
		"decomposed accents count as one": {strings.Repeat("e\u0301", 11), short(11)},
		"no UTF-8":                        {"abcdefghijkl\xff", []Failure{{Code: Invalid}}},
		"NUL":                             {"abcdefghijkl\x00", []Failure{{Code: Invalid}}},
	} {
		if got := p.Check(c.password, Person{}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// What one of them refuses, the other must not take: a password would be chosen and never hashed.
func TestS0_31_PolicyAndHashingAgreeOnWhatIsTooLong(t *testing.T) {
	if MaxLength != secret.MaxPassword {
		t.Errorf("%d is not %d", MaxLength, secret.MaxPassword)
	}
	p := policy(t, Settings{Validators: []string{Length}, MinLength: 1})
	for _, s := range []string{
		"\x00", "\xff", "x", strings.Repeat("x", 257), strings.Repeat("\u0344", 128), strings.Repeat("\u0344", 129),
		strings.Repeat("\u0958", 200), strings.Repeat("e\u0301", 256), strings.Repeat("e\u0301", 257),
		strings.Repeat("\U0001F300", 1024), strings.Repeat("\U0001F300", 1025),
	} {
		_, _, err := secret.Prepare(s)
		if got := p.Check(s, Person{}); (err != nil) != (got != nil) {
			t.Errorf("%.20q: %v, but hashing says %v", s, got, err)
		}
	}
}

func TestS0_32_CommonPasswordsAreRefusedHoweverTheyAreDressed(t *testing.T) {
	p := policy(t, Settings{Validators: []string{Common}})
	for _, s := range []string{
		"password", "PASSWORD", "passwordpassword", "PasswordPassword!", "passwordpasswordpass", "Qwertyuiop123",
		"p@ssw0rd", "P@$$w0rd123!", "Passw0rd!2024", "1passwordpassword1", "drowssapdrowssap", "pass-word-word"[:9],
		"iloveyou1234", "l3tm31n!l3tm31n!", "aaaaaaaaaaaa", "ab12ab12ab12", "pässword2024", "ｐａｓｓｗｏｒｄ", "unforgettable",
		"Schwarzenegger", "7r0ubl3maker7r0ubl3maker"[:12],
	} {
		if got := codes(p.Check(s, Person{})); !slices.Equal(got, []string{TooCommon}) {
			t.Errorf("%q: got %v", s, got)
		}
	}
	for _, s := range []string{
		"", "correcthorsebatterystaple", "kitchen-window-9", "vK3#pq9!LmZx", "kitty29384756107", "ладья-туман-мост", "purple tractor lagoon",
	} {
		if got := p.Check(s, Person{}); got != nil {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestS0_32_TheListHasTwentyThousandEntries(t *testing.T) {
	if n := len(listed()); n < 20_000 {
		t.Errorf("%d entries", n)
	}
	for _, name := range []string{"Passwords", "English", "Surname", "MaleNames", "FemaleNames"} {
		list := frequency.Lists[name].List
		if len(list) == 0 {
			t.Errorf("no list %s", name)
		}
		for _, word := range list {
			if _, ok := listed()[strings.ToLower(word)]; !ok {
				t.Errorf("%q is not on the list", word)
			}
		}
	}
}

func TestS0_33_PasswordsOfDigitsAloneAreRefused(t *testing.T) {
	p := policy(t, Settings{Validators: []string{Numeric}})
	for s, want := range map[string][]string{
		"839201847362":  {EntirelyNumeric},
		"٨٣٩٢٠١٨٤٧٣٦٢":  {EntirelyNumeric},
		"８３９２０１８４７３６２":  {EntirelyNumeric},
		"83920१८४७३६२":  {EntirelyNumeric},
		"½⅓①②③④⑤⑥⑦⑧":    {EntirelyNumeric},
		"":              nil,
		"83920184736x":  nil,
		"8392 01847362": nil,
	} {
		if got := codes(p.Check(s, Person{})); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func TestS0_34_ComplexityIsOffByDefaultAndHasFourCodes(t *testing.T) {
	if slices.Contains(DefaultValidators(), Complexity) {
		t.Error("complexity is on by default")
	}
	lower := "plumbus tartan oval quince"
	if got := policy(t, Settings{}).Check(lower, alice()); got != nil {
		t.Errorf("off: got %v", got)
	}
	p := policy(t, Settings{Validators: []string{Complexity}})
	for s, want := range map[string][]Failure{
		"aB3$":  nil,
		"ab3$":  {{Code: NoUpper}},
		"AB3$":  {{Code: NoLower}},
		"aBc$":  {{Code: NoDigit}},
		"aB3-":  {{NoSpecial, map[string]any{"specials": `!@#$%^&*(),.?":{}|<>`}}},
		"aB3 ":  {{NoSpecial, map[string]any{"specials": specials}}},
		"Éß٣\"": nil,
	} {
		if got := p.Check(s, Person{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
	for _, special := range specials {
		if got := p.Check("aB3"+string(special), Person{}); got != nil {
			t.Errorf("%q is no special: %v", special, got)
		}
	}
}

func TestS0_35_AllFailuresAreReportedAtOnceInTheOrderOfTheList(t *testing.T) {
	p := policy(t, Settings{Validators: []string{Numeric, Zxcvbn, Length}})
	if got, want := codes(p.Check("12345678", Person{})), []string{EntirelyNumeric, TooWeak, TooShort}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	p = policy(t, Settings{Validators: []string{Length, Similarity, Common, Numeric, Complexity, Zxcvbn}})
	want := []string{TooShort, TooSimilar, TooCommon, NoUpper, NoDigit, NoSpecial, TooWeak}
	if got := codes(p.Check("alice", alice())); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestS0_35_HelpFollowsTheValidators(t *testing.T) {
	p := policy(t, Settings{AdminMinLength: 15, AdminMinScore: 4})
	want := []Rule{{Length, map[string]any{"min": 12}}, {Similarity, nil}, {Common, nil}, {Numeric, nil}, {Zxcvbn, map[string]any{"min_score": 3}}}
	if got := p.Help(false); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	want[0].Args, want[4].Args = map[string]any{"min": 15}, map[string]any{"min_score": 4}
	if got := p.Help(true); !reflect.DeepEqual(got, want) {
		t.Errorf("administrators: got %v, want %v", got, want)
	}
	p = policy(t, Settings{Validators: []string{Complexity, Numeric}})
	want = []Rule{{Complexity, map[string]any{"specials": specials}}, {Numeric, nil}}
	if got := p.Help(false); !reflect.DeepEqual(got, want) {
		t.Errorf("two: got %v, want %v", got, want)
	}
	if got := policy(t, Settings{Validators: []string{}}).Help(false); got != nil {
		t.Errorf("none: got %v", got)
	}
}

func TestS0_35_SettingsThatMakeNoPolicyAreRefused(t *testing.T) {
	for want, s := range map[string]Settings{
		`there is no password validator "lenght", only length, similarity, common, numeric, complexity, zxcvbn`: {Validators: []string{Length, "lenght"}},
		`the password validator "length" is named twice`:                                                        {Validators: []string{Length, Length}},
		"a password's minimum length is from 1 to 256, not 257":                                                 {MinLength: 257},
		"a password's minimum length is from 1 to 256, not -1":                                                  {MinLength: -1},
		"an administrator's minimum length is from 0 to 256, not 300":                                           {AdminMinLength: 300},
		"a password's similarity is above 0 and at most 1, not 1.5":                                             {MaxSimilarity: 1.5},
		"a password's similarity is above 0 and at most 1, not -0.1":                                            {MaxSimilarity: -0.1},
		"a password's minimum score is from 1 to 4, not 5":                                                      {MinScore: 5},
		"an administrator's minimum score is from 0 to 4, not 5":                                                {AdminMinScore: 5},
	} {
		if _, err := New(s); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestS0_37_PasswordsThatAreGuessedSoonAreTooWeak(t *testing.T) {
	p := policy(t, Settings{Validators: []string{Zxcvbn}})
	for s, want := range map[string]int{
		"":                          0,
		"password":                  0,
		"passwordpassword":          0,
		"p@ssw0rdp@ssw0rd":          0,
		"qwertyuiop[]":              0,
		"abcdefghijkl":              0,
		"aaaaaaaaaaaaaaaaaaaaaaaa":  0,
		"aB3$aB3$aB3$aB3$aB3$aB3$":  1,
		"correcthorsebatterystaple": 4,
		"plumbus tartan oval":       4,
		"vK3#pq9!LmZx":              4,
		"雨降って地固まる山川海空":              4,
		"🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉": 0,
	} {
		got := p.Strength(s, Person{})
		if got.Score != want {
			t.Errorf("%q: got %v, want %d", s, got, want)
		}
		if weak := got.Score < 3; weak != (p.Check(s, Person{}) != nil) || weak != (len(got.Feedback) > 0) {
			t.Errorf("%q: strength and check differ: %v", s, got)
		}
	}
}

func TestS0_37_StrengthKnowsThePersonAndTheFirst72CodePoints(t *testing.T) {
	p := policy(t, Settings{Words: []string{"Zygomorphia"}})
	who := Person{Names: []string{"Thessalonika", "Quuxington"}}
	for _, s := range []string{"thessalonika7quuxington", "Zygomorphia-19"} {
		if without, with := policy(t, Settings{}).Strength(s, Person{}), p.Strength(s, who); with.Score >= without.Score {
			t.Errorf("%q: got %v with traits, %v without", s, with, without)
		}
	}
	// What is beyond adds nothing.
	if got := p.Strength(strings.Repeat("a", 72)+"vK3#pq9!LmZx", Person{}); got.Score != 0 {
		t.Errorf("got %v", got)
	}
	if got := p.Strength(strings.Repeat("x", 257), Person{}); !reflect.DeepEqual(got, Strength{}) {
		t.Errorf("too long: got %v", got)
	}
}

func TestS0_37_FeedbackNamesWhatIsWeak(t *testing.T) {
	p := policy(t, Settings{})
	for s, want := range map[string][]string{
		"alice.liddell1": {AddWords, Personal},
		"Password1":      {AddWords, CommonWord, Capital, TrailingSigns},
		"P@ssw0rd":       {AddWords, CommonWord, Substitution, Capital},
		"MICHELLE":       {AddWords, CommonName, AllCapitals},
		"zxcvbnm,./":     {AddWords, Keyboard},
		"aaaaaaaaa":      {AddWords, Repeat},
		"drowssap":       {AddWords, CommonWord, Reversed},
		"13.08.1961":     {AddWords, Year, Date},
	} {
		got := p.Strength(s, alice()).Feedback
		for _, code := range want {
			if !slices.Contains(got, code) {
				t.Errorf("%q: got %v, want %s", s, got, code)
			}
		}
	}
}

func TestS0_37_TheEstimatorMayPanic(t *testing.T) {
	if m, ok := guarded(func() scoring.MinEntropyMatch { panic("index out of range") }); ok || !reflect.DeepEqual(m, scoring.MinEntropyMatch{}) {
		t.Errorf("got %v and %v", m, ok)
	}
}

func TestS1_14_TheFourValidatorsAreOnByDefault(t *testing.T) {
	if got, want := DefaultValidators(), []string{Length, Similarity, Common, Numeric, Zxcvbn}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	p := policy(t, Settings{})
	for s, want := range map[string]string{
		"vK3#pq9!LmZ": TooShort, "alice.liddell1": TooSimilar, "Qwertyuiop123": TooCommon, "839201847362": EntirelyNumeric,
	} {
		if got := codes(p.Check(s, alice())); !slices.Contains(got, want) {
			t.Errorf("%q: got %v, want %s", s, got, want)
		}
	}
}

func TestS2_10_AdministratorsNeedMore(t *testing.T) {
	admin := Person{Admin: true}
	p := policy(t, Settings{AdminMinLength: 15, AdminMinScore: 4})
	for s, want := range map[string][]string{
		"vK3#pq9!LmZx":          {TooShort},
		"banana-tuesday-9":      {TooWeak},
		"correct-horse-battery": nil,
	} {
		if got := p.Check(s, Person{}); got != nil {
			t.Errorf("%q for users: got %v", s, got)
		}
		if got := codes(p.Check(s, admin)); !slices.Equal(got, want) {
			t.Errorf("%q for administrators: got %v, want %v", s, got, want)
		}
	}
	// They hold where the validators are not in the list, and never ask for less.
	p = policy(t, Settings{Validators: []string{}, AdminMinLength: 15, AdminMinScore: 4})
	if got := p.Check("alice", Person{}); got != nil {
		t.Errorf("users: got %v", got)
	}
	if got, want := codes(p.Check("alice", admin)), []string{TooShort, TooWeak}; !slices.Equal(got, want) {
		t.Errorf("administrators: got %v, want %v", got, want)
	}
	p = policy(t, Settings{MinLength: 20, AdminMinLength: 15})
	if got := p.Help(true)[0].Args["min"]; got != 20 {
		t.Errorf("got %v", got)
	}
}

// hostile are the slowest passwords that are known: every sign of the estimator's table of letters,
// many words, many repeats.
func hostile() map[string]string {
	return map[string]string{
		"letters replaced": "4@8({[<3691!|017$5+7%2" + strings.Repeat("4@8({[<3691!|017$5+7%2", 11)[:MaxLength-22],
		"words":            strings.Repeat("thewordsthat", 22)[:MaxLength],
		"repeats":          strings.Repeat("aB3$", MaxLength/4),
		"rows of keys":     "qwe asd zxc rty fgh vbn uio jkl wer sdf xcv tyu ghj bnm ert dfg cvb yui hjk iop",
		"dates":            strings.Repeat("1.1.19", 43)[:MaxLength],
		"other scripts":    strings.Repeat("雨降って地", MaxLength/5),
		"ligatures":        strings.Repeat("\ufdfa", MaxLength),
	}
}

func TestS0_37_HostilePasswordsAreMeasuredInTime(t *testing.T) {
	p := policy(t, Settings{})
	for name, s := range hostile() {
		began := time.Now()
		p.Check(s, alice())
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func FuzzCheckTakesWhatever(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, "alice", "alice@example.com", "Alice Liddell")
	}
	f.Add("İıſK\u0345", "\xff", "@", "\u0344")
	p := policy(f, Settings{Validators: []string{Length, Similarity, Common, Numeric, Complexity, Zxcvbn}})
	f.Fuzz(func(t *testing.T, s, username, email, name string) {
		who := Person{Username: username, Email: email, Names: []string{name, username}}
		failures := p.Check(s, who)
		if again := p.Check(s, who); !reflect.DeepEqual(again, failures) {
			t.Errorf("got %v, then %v", failures, again)
		}
		if score := p.Strength(s, who).Score; score < 0 || score > maxScore {
			t.Errorf("score %d", score)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	p := policy(b, Settings{Words: []string{"https://login.postern.example", "Postern"}})
	long := strings.Repeat("abcdefghij klmnopqrst ", 50_000)
	cases := map[string]struct {
		password string
		who      Person
	}{
		"usual":               {"correct-horse-battery", alice()},
		"a megabyte":          {strings.Repeat("x", 1<<20), Person{long, long, slices.Repeat([]string{long}, 8), false}},
		"200 and long traits": {strings.Repeat("jihg", 50), Person{long, long, slices.Repeat([]string{long}, 8), false}},
	}
	for name, s := range hostile() {
		cases[name] = struct {
			password string
			who      Person
		}{s, alice()}
	}
	p.Check("the list is made", Person{})
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p.Check(cases[name].password, cases[name].who)
			}
		})
	}
}
