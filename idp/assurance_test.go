package idp_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// testACRs are the values of acr of the defaults.
var testACRs = idp.ACRs{
	{Value: idp.ACRPassword, Level: idp.OneFactor}, {Value: idp.ACRTwoFactors, Level: idp.TwoFactors},
	{Value: "phr", Level: idp.NotPhishable}, {Value: "phrh", Level: idp.HardwareBound},
}

// proofs reads methods: words NAME[@MINUTES before noon], where key is a security key that was touched,
// passkey a synced one that verified its user, hard one that cannot leave its device, lent a password
// that an operator lent; one with a * was proved in in.
func proofs(t testing.TB, in *idp.Interaction, words string) (list idp.Methods) {
	t.Helper()
	for i, word := range strings.Fields(words) {
		word, here := strings.CutSuffix(word, "*")
		name, age, _ := strings.Cut(word, "@")
		m := idp.Method{Name: name, Authenticator: idp.ID{byte(i + 1)}, At: noon}
		if age != "" {
			var minutes int
			if _, err := fmt.Sscan(age, &minutes); err != nil {
				t.Fatalf("%s: %v", word, err)
			}
			m.At = noon.Add(-time.Duration(minutes) * time.Minute)
		}
		switch name {
		case "lent":
			m.Name, m.Lent = idp.MethodPassword, true
		case "key":
			m.Name = idp.MethodPasskey
		case "passkey":
			m.Name, m.Verified = idp.MethodPasskey, true
		case "hard":
			m.Name, m.Verified, m.Hardware = idp.MethodPasskey, true, true
		}
		if here {
			m.Interaction = idp.Mark(in)
		}
		list = append(list, m)
	}
	return list
}

// requestOf is an interaction of a request that asks for acr: max_age=N, login, acr_values=A,B, essential=A,B
// or voluntary=A,B, where pwd and mfa are short.
func requestOf(t testing.TB, words string) *idp.Interaction {
	t.Helper()
	in := &idp.Interaction{Nonce: [16]byte{1}, Started: noon, Request: idp.Request{Scopes: idp.List{"openid"}}}
	for _, word := range strings.Fields(words) {
		name, list, _ := strings.Cut(word, "=")
		values := strings.Split(list, ",")
		for i, v := range values {
			values[i] = acrOf(v)
		}
		var err error
		switch name {
		case "login":
			in.Request.Prompts = idp.List{"login"}
		case "max_age":
			in.Request.MaxAge = new(int64)
			_, err = fmt.Sscan(list, in.Request.MaxAge)
		case "acr_values":
			in.Request.ACRValues = values
		default:
			in.Request.Claims, err = idp.ParseClaims(fmt.Sprintf(`{"id_token":{"acr":{"essential":%v,"values":["%s"]}}}`,
				name == "essential", strings.Join(values, `","`)))
		}
		if err != nil {
			t.Fatalf("%s: %v", word, err)
		}
	}
	return in
}

func acrOf(short string) string {
	return strings.NewReplacer("pwd", idp.ACRPassword, "mfa", idp.ACRTwoFactors).Replace(short)
}

// standing is a live session of alice that proved `words` and has factors, to which consent was given.
func standing(t testing.TB, in *idp.Interaction, words string, factors ...string) *idp.Visit {
	t.Helper()
	in.Authenticated, in.Doer = loginOfAlice, alice
	return &idp.Visit{
		User: idp.User{ID: alice, Status: idp.Active, Factors: factors, CreatedAt: noon},
		Session: idp.Session{
			ID: aliceSession, UserID: alice, Authentication: loginOfAlice, State: idp.Live, Methods: proofs(t, in, words),
		},
		Consent: allowed(1, "openid"),
	}
}

func TestS3_42_AcrAmrAndAuthTimeAreWhatWasProved(t *testing.T) {
	h := openSQLite(t)
	for proved, want := range map[string]string{
		"pwd@9":                  "pwd 9 pwd",
		"mail@9":                 "pwd 9 otp",
		"pwd@9 mail@3":           "pwd 3 pwd otp",
		"lent@9":                 "pwd 9 pwd",
		"pwd@9 totp@2":           "mfa 9 pwd otp mfa",
		"pwd@9 recovery@2":       "mfa 9 pwd otp mfa",
		"mail@9 totp@2":          "mfa 9 otp mfa",
		"totp@9 pwd@2":           "mfa 9 otp pwd mfa",
		"pwd@60 totp@9 recovery": "mfa 60 pwd otp mfa",
		"pwd@60 totp@9 mail@3":   "mfa 9 pwd otp mfa", // of two that would do the younger
		"pwd@9 key@2":            "phr 9 pwd swk user mfa",
		"passkey@9":              "phr 9 swk user mfa",
		"hard@9":                 "phrh 9 hwk user mfa",
		"pwd@90 hard@9":          "phrh 9 pwd hwk user mfa", // the password is beside it
		"hard@90 passkey@9":      "phrh 90 hwk user swk mfa",
		"pwd@90 totp@80 key@9":   "phr 90 pwd otp swk user mfa",
		"key@9":                  "- - swk user", // somebody touched it, nobody knows who
		"totp@9":                 "- - otp",
		"totp@9 recovery@9":      "- - otp",
		"":                       "- - ",
	} {
		t.Run(proved, func(t *testing.T) {
			in := requestOf(t, "")
			a := h.Assurance(in, standing(t, in, proved), nil)
			got := assuranceOf(a)
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// assuranceOf is acr, the age of auth_time at noon in minutes, and amr; - for none.
func assuranceOf(a idp.Assurance) string {
	acr, age := "-", "-"
	if a.ACR != "" {
		acr = strings.TrimPrefix(a.ACR, "urn:postern:acr:")
	}
	if !a.AuthTime.IsZero() {
		age = fmt.Sprint(int(noon.Sub(a.AuthTime).Minutes()))
	}
	return strings.Join([]string{acr, age, strings.Join(a.AMR, " ")}, " ")
}

func openSQLite(t testing.TB, change ...func(*config.Config)) *house {
	t.Helper()
	return open(t, storeOf(t), change...)
}

func TestI7_OfTheValuesThatAreAskedForTheFirstThatHoldsIsTold(t *testing.T) {
	h := openSQLite(t)
	for name, c := range map[string]struct{ asked, proved, least, want string }{
		"none asked":                        {"", "pwd@9 totp@2", "", "mfa 9 pwd otp mfa"},
		"the lower one":                     {"acr_values=pwd", "pwd@2 totp@9", "", "pwd 2 pwd otp mfa"},
		"the higher one first":              {"acr_values=mfa,pwd", "pwd@2 totp@9", "", "mfa 9 pwd otp mfa"},
		"the lower one first":               {"acr_values=pwd,mfa", "pwd@2 totp@9", "", "pwd 2 pwd otp mfa"},
		"the first is beyond reach":         {"acr_values=phr,mfa", "pwd@2 totp@9", "", "mfa 9 pwd otp mfa"},
		"all are beyond reach":              {"acr_values=phrh,phr", "pwd@2 totp@9", "", "mfa 9 pwd otp mfa"},
		"unknown ones":                      {"acr_values=x,y", "pwd@2", "", "pwd 2 pwd"},
		"by a claim":                        {"essential=mfa", "pwd@2 hard@9", "", "mfa 9 pwd hwk user mfa"},
		"by a voluntary claim":              {"voluntary=phr acr_values=pwd", "pwd@2 hard@9", "", "phr 9 pwd hwk user mfa"},
		"an essential claim stands alone":   {"essential=mfa acr_values=pwd", "pwd@2 totp@9", "", "mfa 9 pwd otp mfa"},
		"not below what the client demands": {"acr_values=pwd", "pwd@2 totp@9", "mfa", "mfa 9 pwd otp mfa"},
		"prompt=login counts what is new":   {"login", "pwd* totp@9", "", "pwd 0 pwd"},
		"prompt=login, both anew":           {"login", "pwd* totp*", "", "mfa 0 pwd otp mfa"},
		"max_age counts what is young":      {"max_age=300", "totp@9 pwd@4", "", "pwd 4 pwd"},
		"max_age counts what is new":        {"max_age=0", "totp@9 pwd*", "", "pwd 0 pwd"},
		"max_age of both":                   {"max_age=540", "totp@9 pwd@4", "", "mfa 9 otp pwd mfa"},
	} {
		t.Run(name, func(t *testing.T) {
			in := requestOf(t, c.asked)
			client := &idp.Client{Metadata: idp.Metadata{MinimumACR: acrOf(c.least)}}
			if got := assuranceOf(h.Assurance(in, standing(t, in, c.proved), client)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestI7_OnlyMethodsOfThisInteractionOrYoungEnoughOnesCount(t *testing.T) {
	policy := idp.Policy{ACRs: testACRs}
	for name, c := range map[string]struct{ asked, proved, step string }{
		"a young password, an old app":                  {"max_age=60", "totp@10 pwd@1", "second_factor"},
		"the same, essentially of two factors":          {"max_age=60 essential=mfa", "totp@10 pwd@1", "second_factor"},
		"the app anew":                                  {"max_age=60", "pwd@1 totp*", ""},
		"an old password, the app anew":                 {"max_age=60", "pwd@10 totp*", "login"},
		"prompt=login, the password of before":          {"login", "pwd@1 totp@1", "login"},
		"prompt=login, the password here":               {"login", "totp@1 pwd*", "second_factor"},
		"prompt=login, both here":                       {"login", "pwd* totp*", ""},
		"prompt=login, the app here":                    {"login", "pwd@1 totp*", "login"},
		"prompt=login max_age, young ones do not count": {"login max_age=600", "pwd@1 totp@1", "login"},
		"max_age=0, of this second":                     {"max_age=0", "pwd@0 totp@0", "login"},
		"max_age=0, here":                               {"max_age=0", "pwd* totp*", ""},
		"no prompt":                                     {"", "pwd@1000 totp@2000", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := requestOf(t, c.asked)
			v := standing(t, in, c.proved, "totp")
			if got := idp.NextStep(in, v, policy, noon); string(got.Step) != c.step {
				t.Errorf("got %q (%s), want %q", got.Step, got.Why, c.step)
			}
		})
	}
	t.Run("in a session that was renewed elsewhere", func(t *testing.T) {
		in := requestOf(t, "login")
		v := standing(t, in, "pwd* totp*", "totp")
		in.Authenticated = loginOfBob
		if got := idp.NextStep(in, v, policy, noon); got.Step != idp.StepLogIn {
			t.Errorf("got %+v, want a sign-in", got)
		}
	})
	t.Run("in another interaction", func(t *testing.T) {
		in, other := requestOf(t, "login"), requestOf(t, "login")
		other.Nonce = [16]byte{2}
		v := standing(t, in, "pwd* totp*", "totp")
		other.Authenticated, other.Doer = loginOfAlice, alice
		if got := idp.NextStep(other, v, policy, noon); got.Step != idp.StepLogIn {
			t.Errorf("got %+v, want a sign-in", got)
		}
	})
	if mark := idp.Mark(&idp.Interaction{}); mark != "" {
		t.Errorf("what is no interaction has the mark %q", mark)
	}
}

func TestI19_ASecondFactorIsOwedWhateverTheRequestAndThePolicySay(t *testing.T) {
	required := idp.RulesOf(openSQLite(t, asRequired).Provider)
	off := idp.RulesOf(openSQLite(t, func(cfg *config.Config) { cfg.MFA.Policy = "off" }).Provider)
	for name, c := range map[string]struct {
		asked, proved string
		factors       []string
		change        func(*idp.Visit, *idp.Policy)
		step, code    string
	}{
		"a password, no factor":                 {"", "pwd", nil, nil, "", ""},
		"a password of who has an app":          {"", "pwd", []string{"totp"}, nil, "second_factor", "interaction_required"},
		"a mailed code of who has an app":       {"", "mail", []string{"totp"}, nil, "second_factor", "interaction_required"},
		"a password of who has a passkey":       {"", "pwd", []string{"webauthn"}, nil, "second_factor", "interaction_required"},
		"though the policy is off":              {"", "pwd", []string{"totp"}, rules(off), "second_factor", "interaction_required"},
		"though the client asks for less":       {"acr_values=pwd", "pwd", []string{"totp"}, nil, "second_factor", "interaction_required"},
		"though less is essential":              {"essential=pwd", "pwd", []string{"totp"}, nil, "second_factor", "interaction_required"},
		"a passkey alone":                       {"", "passkey", []string{"webauthn"}, rules(required), "", ""},
		"a passkey that was touched":            {"", "key", []string{"webauthn"}, nil, "second_factor", "interaction_required"},
		"both":                                  {"", "pwd totp", []string{"totp"}, rules(required), "", ""},
		"a recovery code":                       {"", "pwd recovery", []string{"totp"}, rules(required), "", ""},
		"required of who has none":              {"", "pwd", nil, rules(required), "enrol", "interaction_required"},
		"required of who has one":               {"", "pwd", []string{"totp"}, rules(required), "second_factor", "interaction_required"},
		"two factors in a trusted browser":      {"", "pwd", []string{"totp"}, trusted(false), "", ""},
		"an administrator's trusted browser":    {"", "pwd", []string{"totp"}, trusted(true), "second_factor", "interaction_required"},
		"trusted, and mfa is essential":         {"essential=mfa", "pwd", []string{"totp"}, trusted(false), "second_factor", "interaction_required"},
		"trusted, and mfa is wished for":        {"acr_values=mfa", "pwd", []string{"totp"}, trusted(false), "second_factor", "interaction_required"},
		"trusted, and the client wants mfa":     {"", "pwd", []string{"totp"}, all(trusted(false), least(idp.TwoFactors)), "second_factor", "interaction_required"},
		"trusted, but has no factor any more":   {"", "pwd", nil, all(trusted(false), rules(required)), "enrol", "interaction_required"},
		"before the address":                    {"", "pwd", []string{"totp"}, unproved(true), "second_factor", "interaction_required"},
		"the address before the first factor":   {"", "pwd", nil, all(rules(required), unproved(false)), "verify_email", "interaction_required"},
		"the same where it is mandatory":        {"", "pwd", nil, all(rules(required), unproved(true)), "verify_email", "interaction_required"},
		"nothing to prove, a factor to get":     {"", "pwd", nil, all(rules(required), verified), "enrol", "interaction_required"},
		"before a lent password":                {"", "lent", []string{"totp"}, lent, "second_factor", "interaction_required"},
		"a lent password after it":              {"", "lent totp", []string{"totp"}, lent, "change_password", "interaction_required"},
		"prompt=none has a name for it":         {"acr_values=mfa", "pwd", []string{"totp"}, nil, "second_factor", "interaction_required"},
		"an address before one that is asked":   {"essential=mfa", "pwd", nil, unproved(false), "verify_email", "interaction_required"},
		"pending, and nothing is owed any more": {"", "pwd", nil, func(v *idp.Visit, _ *idp.Policy) { v.Session.State = idp.Pending }, "login", "login_required"},
	} {
		t.Run(name, func(t *testing.T) {
			in := requestOf(t, c.asked)
			v, policy := standing(t, in, c.proved, c.factors...), idp.Policy{ACRs: testACRs}
			if c.change != nil {
				c.change(v, &policy)
			}
			if got := idp.NextStep(in, v, policy, noon); string(got.Step) != c.step || got.Error != c.code {
				t.Errorf("got %q, %q (%s), want %q, %q", got.Step, got.Error, got.Why, c.step, c.code)
			}
		})
	}
}

type situation = func(*idp.Visit, *idp.Policy)

func rules(r *idp.FactorRules) situation { return func(_ *idp.Visit, p *idp.Policy) { p.Factors = r } }

func least(level idp.Level) situation { return func(_ *idp.Visit, p *idp.Policy) { p.Least = level } }

func trusted(admin bool) situation {
	return func(v *idp.Visit, _ *idp.Policy) { v.Session.Trusted, v.User.Admin = true, admin }
}

func unproved(mandatory bool) situation {
	return func(v *idp.Visit, p *idp.Policy) { v.User.Email, p.Verified = "alice@example.com", mandatory }
}

func verified(v *idp.Visit, p *idp.Policy) {
	v.User.Email, v.User.EmailVerified, p.Verified = "alice@example.com", true, true
}

func lent(v *idp.Visit, _ *idp.Policy) { v.User.MustChangePassword = true }

func all(list ...situation) situation {
	return func(v *idp.Visit, p *idp.Policy) {
		for _, s := range list {
			s(v, p)
		}
	}
}

func TestAnAcrThatIsAskedForIsReachedOrRefused(t *testing.T) {
	off := idp.RulesOf(openSQLite(t, func(cfg *config.Config) { cfg.MFA.Policy = "off" }).Provider)
	const unmet = "unmet_authentication_requirements"
	for name, c := range map[string]struct {
		asked, proved string
		factors       []string
		change        situation
		step          string
		level         idp.Level
		insists       bool
	}{
		"essential, reached":                         {"essential=mfa", "pwd totp", []string{"totp"}, nil, "", 0, false},
		"essential, reached by more":                 {"essential=mfa", "hard", []string{"webauthn", "hardware"}, nil, "", 0, false},
		"essential, one of several reached":          {"essential=phrh,mfa", "pwd totp", []string{"totp"}, nil, "", 0, false},
		"essential, a key at hand":                   {"essential=phr", "pwd totp", []string{"totp", "webauthn"}, nil, "second_factor", idp.NotPhishable, true},
		"essential, no such key":                     {"essential=phr", "pwd totp", []string{"totp"}, nil, "denied", 0, false},
		"essential, a synced key for a hard one":     {"essential=phrh", "passkey", []string{"webauthn"}, nil, "denied", 0, false},
		"essential, of several the one at hand":      {"essential=phrh,phr", "pwd totp", []string{"totp", "webauthn"}, nil, "second_factor", idp.NotPhishable, true},
		"essential, no factor yet":                   {"essential=mfa", "pwd", nil, nil, "enrol", idp.TwoFactors, true},
		"essential, no factor yet for phr":           {"essential=phr", "pwd", nil, nil, "enrol", idp.NotPhishable, true},
		"essential, no factor, no passkeys here":     {"essential=phr", "pwd", nil, noPasskeys, "denied", 0, false},
		"essential, no factor, an app will do":       {"essential=mfa", "pwd", nil, noPasskeys, "enrol", 0, false},
		"essential, no factor, the policy is off":    {"essential=mfa", "pwd", nil, rules(off), "denied", 0, false},
		"essential and unknown":                      {"essential=x", "pwd", nil, nil, "denied", 0, false},
		"essential, any value":                       {"essential=pwd,x", "pwd", nil, nil, "", 0, false},
		"essential, tried with another factor":       {"essential=phr", "pwd* totp*", []string{"totp", "webauthn"}, nil, "second_factor", idp.NotPhishable, true},
		"essential, the key is too old":              {"essential=phr max_age=60", "passkey@2", []string{"webauthn"}, nil, "login", 0, true},
		"wished for, reached":                        {"acr_values=mfa", "pwd totp", []string{"totp"}, nil, "", 0, false},
		"wished for, at hand":                        {"acr_values=phr", "pwd totp", []string{"totp", "webauthn"}, nil, "second_factor", idp.NotPhishable, false},
		"wished for, at hand, another was tried":     {"acr_values=phr", "pwd totp*", []string{"totp", "webauthn"}, nil, "", 0, false},
		"wished for, not at hand":                    {"acr_values=phr", "pwd totp", []string{"totp"}, nil, "", 0, false},
		"wished for, no factor":                      {"acr_values=mfa", "pwd", nil, nil, "", 0, false},
		"wished for, the best that is at hand":       {"acr_values=phrh,phr,mfa", "pwd*", []string{"totp", "webauthn"}, nil, "second_factor", idp.NotPhishable, false},
		"wished for, a worse of them holds":          {"acr_values=phrh,phr,mfa", "pwd totp", []string{"totp", "webauthn"}, nil, "", 0, false},
		"wished for by a claim":                      {"voluntary=phr", "pwd totp", []string{"totp", "webauthn"}, nil, "second_factor", idp.NotPhishable, false},
		"wished for and unknown":                     {"acr_values=x", "pwd", nil, nil, "", 0, false},
		"the client demands it":                      {"", "pwd totp", []string{"totp", "webauthn"}, least(idp.NotPhishable), "second_factor", idp.NotPhishable, true},
		"the client demands it, no such key":         {"", "pwd totp", []string{"totp"}, least(idp.NotPhishable), "denied", 0, false},
		"the client demands it, no factor":           {"", "pwd", nil, least(idp.TwoFactors), "enrol", idp.TwoFactors, true},
		"the client demands it, no factor, off":      {"", "pwd", nil, all(rules(off), least(idp.TwoFactors)), "denied", 0, false},
		"the client demands it, the request less":    {"essential=pwd", "pwd", nil, least(idp.TwoFactors), "enrol", idp.TwoFactors, true},
		"the client demands less than the request":   {"essential=phr", "pwd totp", []string{"totp", "webauthn"}, least(idp.TwoFactors), "second_factor", idp.NotPhishable, true},
		"the client demands what nobody knows":       {"", "hard", []string{"webauthn", "hardware"}, least(idp.HardwareBound + 1), "denied", 0, false},
		"the same of who has no factor":              {"", "pwd", nil, least(idp.HardwareBound + 1), "denied", 0, false},
		"demanded, and more is wished for":           {"acr_values=phr", "pwd*", []string{"totp", "webauthn"}, least(idp.TwoFactors), "second_factor", idp.NotPhishable, false},
		"demanded, and more was wished for in vain":  {"acr_values=phr", "pwd* totp*", []string{"totp", "webauthn"}, least(idp.TwoFactors), "", 0, false},
		"a factor was removed since it was used":     {"essential=mfa", "pwd totp", nil, nil, "", 0, false},
		"a recovery code is a second factor, no key": {"essential=phr", "pwd recovery", []string{"webauthn"}, nil, "second_factor", idp.NotPhishable, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := openSQLite(t)
			in := requestOf(t, c.asked)
			v, policy := standing(t, in, c.proved, c.factors...), idp.Policy{ACRs: testACRs}
			if c.change != nil {
				c.change(v, &policy)
			}
			got := idp.NextStep(in, v, policy, noon)
			if string(got.Step) != c.step || (got.Step == idp.StepDenied) != (got.Error == unmet) {
				t.Errorf("got %q, %q (%s), want %q", got.Step, got.Error, got.Why, c.step)
			}
			if c.change == nil && c.level != 0 {
				if level, insists := h.Asked(in, v, nil), h.Insists(in, v, nil); level != c.level || insists != c.insists {
					t.Errorf("asked for %d, %v, want %d, %v", level, insists, c.level, c.insists)
				}
			}
		})
	}
}

func noPasskeys(_ *idp.Visit, p *idp.Policy) { p.NoPasskeys = true }

func TestAClientsMinimumHoldsAlsoWhereItsValueIsUnknownByNow(t *testing.T) {
	h := openSQLite(t)
	client := func(minimum string) *idp.Client {
		return &idp.Client{ID: "rp", Metadata: idp.Metadata{FirstParty: true, MinimumACR: minimum}}
	}
	in := requestOf(t, "")
	v := standing(t, in, "hard", "webauthn", "hardware")
	for minimum, want := range map[string]idp.Step{"": idp.NoStep, "phr": idp.NoStep, "urn:gone": idp.StepDenied} {
		if got := idp.NextStep(in, v, h.PolicyFor(client(minimum)), noon); got.Step != want {
			t.Errorf("minimum %q: got %+v, want %q", minimum, got, want)
		}
	}
	for _, c := range []struct {
		acr, minimum string
		want         bool
	}{
		{"phr", "phr", true}, {"phrh", "phr", true}, {idp.ACRTwoFactors, "phr", false}, {"", "phr", false}, {"", "", true},
		{"x", "", true}, {"phrh", "x", false}, {"x", "x", false},
	} {
		if got := h.ACRMeets(c.acr, c.minimum); got != c.want {
			t.Errorf("%q where %q is demanded: got %v", c.acr, c.minimum, got)
		}
	}
}

func TestACRsAreReadFromTheSettings(t *testing.T) {
	list, err := idp.ReadACRs([]string{" a => mfa", "b=>mfa", "https://refeds.org/profile/mfa =>  phr"})
	want := idp.ACRs{{Value: "a", Level: idp.TwoFactors}, {Value: "b", Level: idp.TwoFactors}, {Value: "https://refeds.org/profile/mfa", Level: idp.NotPhishable}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v and %v", list, err)
	}
	for _, line := range []string{"a", "a =>", "=> mfa", "a => none", "a b => mfa", "a => 2"} {
		if _, err := idp.ReadACRs([]string{line}); err == nil {
			t.Errorf("%q was read", line)
		}
	}
	if _, err := idp.ReadACRs([]string{"a => pwd", "a => mfa"}); err == nil {
		t.Error("one value has two levels")
	}
	h := openSQLite(t, func(cfg *config.Config) { cfg.MFA.ACR = []string{"a => mfa", "b => mfa"} })
	for proved, want := range map[string]string{"pwd": "- 0 pwd", "pwd totp": "a 0 pwd otp mfa", "hard": "a 0 hwk user mfa"} {
		in := requestOf(t, "")
		if got := assuranceOf(h.Assurance(in, standing(t, in, proved), nil)); got != want {
			t.Errorf("%s: got %q, want %q", proved, got, want)
		}
	}
	if got := h.ACRValues(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("told are %q", got)
	}
}

func TestI7_AMethodReplacesOneOfItsKind(t *testing.T) {
	key := func(id byte, verified bool, minutes int) idp.Method {
		return idp.Method{Name: idp.MethodPasskey, Authenticator: idp.ID{id}, Verified: verified, At: noon.Add(time.Duration(minutes) * time.Minute)}
	}
	pwd := func(id byte) idp.Method { return idp.Method{Name: idp.MethodPassword, Authenticator: idp.ID{id}} }
	for name, c := range map[string]struct {
		list idp.Methods
		with idp.Method
		want idp.Methods
	}{
		"a password, another since":              {idp.Methods{pwd(1)}, pwd(2), idp.Methods{pwd(2)}},
		"the other ones stay, in their order":    {idp.Methods{pwd(1), key(1, true, 0)}, pwd(1), idp.Methods{key(1, true, 0), pwd(1)}},
		"the same key":                           {idp.Methods{key(1, true, 0)}, key(1, true, 1), idp.Methods{key(1, true, 1)}},
		"another key":                            {idp.Methods{key(1, true, 0)}, key(2, true, 1), idp.Methods{key(1, true, 0), key(2, true, 1)}},
		"a touch of a key that verified":         {idp.Methods{key(1, true, 0)}, key(1, false, 1), idp.Methods{key(1, true, 0), key(1, false, 1)}},
		"another touch of it":                    {idp.Methods{key(1, true, 0), key(1, false, 1)}, key(1, false, 2), idp.Methods{key(1, true, 0), key(1, false, 2)}},
		"a key that was touched verifies by now": {idp.Methods{key(1, true, 0), key(1, false, 1)}, key(1, true, 2), idp.Methods{key(1, true, 2)}},
	} {
		if got := idp.With(c.list, c.with); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestS3_36_S3_37_OfThePoliciesThatMatchTheStrictestHoldsAndGraceIsByTheServersClock(t *testing.T) {
	day := 24 * time.Hour
	settings := func(policy string, grace time.Duration, from string, policies ...string) func(*config.Config) {
		return func(cfg *config.Config) {
			cfg.MFA.Policy, cfg.MFA.EnrolGrace, cfg.MFA.RequiredFrom, cfg.MFA.Policies = policy, grace, from, policies
		}
	}
	ada := idp.User{CreatedAt: noon.Add(-2 * day)}
	staff, root := ada, ada
	staff.Groups = idp.List{"all", "staff"}
	root.Admin = true
	for name, c := range map[string]struct {
		settings func(*config.Config)
		user     idp.User
		policy   idp.FactorPolicy
		grace    time.Duration // after noon, 0 for none
		requires bool
	}{
		"off":                                     {settings("off", 0, ""), ada, "off", 0, false},
		"optional":                                {settings("optional", 0, ""), ada, "optional", 0, false},
		"required":                                {settings("required", 0, ""), ada, "required", 0, true},
		"required of another group":               {settings("optional", 0, "", "group=staff => required"), ada, "optional", 0, false},
		"required of the group":                   {settings("off", 0, "", "group=staff => required"), staff, "required", 0, true},
		"the strictest of two groups":             {settings("off", 0, "", "group=staff => optional", "group=all=>required"), staff, "required", 0, true},
		"a group is not let off":                  {settings("required", 0, "", "group=staff => off"), staff, "required", 0, true},
		"administrators alone, somebody else":     {settings("optional", 0, "", "role=admin => required"), staff, "optional", 0, false},
		"administrators alone":                    {settings("optional", 0, "", "role=admin => required"), root, "required", 0, true},
		"grace since the account":                 {settings("required", 3*day, ""), ada, "required", day, false},
		"grace that is over":                      {settings("required", 2*day, ""), ada, "required", 0, true},
		"grace since the policy":                  {settings("required", 3*day, "2026-03-01T00:00:00Z"), ada, "required", 3*day - 12*time.Hour, false},
		"grace since a policy before the account": {settings("required", 3*day, "2020-01-01T00:00:00Z"), ada, "required", day, false},
		"no grace for administrators":             {settings("required", 30*day, ""), root, "required", 0, true},
		"no grace where nothing is required":      {settings("optional", 30*day, ""), ada, "optional", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := openSQLite(t, c.settings)
			policy, grace := h.FactorPolicyOf(&c.user)
			if policy != c.policy || c.grace != 0 && !grace.Equal(noon.Add(c.grace)) {
				t.Errorf("got %s, %v, want %s, %v", policy, grace, c.policy, noon.Add(c.grace))
			}
			for at, want := range map[time.Time]bool{noon: c.requires, noon.Add(c.grace - time.Second): c.requires && c.grace == 0} {
				if c.grace == 0 && at != noon {
					continue
				}
				in := requestOf(t, "")
				v := standing(t, in, "pwd")
				v.User.Groups, v.User.Admin, v.User.CreatedAt = c.user.Groups, c.user.Admin, c.user.CreatedAt
				if got := idp.NextStep(in, v, h.PolicyFor(nil), at); (got.Step == idp.StepEnrol) != want {
					t.Errorf("at %v: got %+v, want to enrol: %v", at, got, want)
				}
			}
			if c.grace != 0 { // and then it is over
				in := requestOf(t, "")
				v := standing(t, in, "pwd")
				v.User.Groups, v.User.CreatedAt = c.user.Groups, c.user.CreatedAt
				if got := idp.NextStep(in, v, h.PolicyFor(nil), noon.Add(c.grace)); got.Step != idp.StepEnrol {
					t.Errorf("after the deadline: got %+v", got)
				}
			}
		})
	}
	for _, bad := range []func(*config.Config){
		settings("optional", 0, "tomorrow"), settings("optional", 0, "", "group=staff"), settings("optional", 0, "", "group= => required"),
		settings("optional", 0, "", "client=rp => required"), settings("optional", 0, "", "role=user => required"), settings("optional", 0, "", "group=a => strict"),
	} {
		cfg := testConfig()
		bad(cfg)
		if _, err := idp.New(t.Context(), storeOf(t), cfg, ringOf(t, 1), idp.Options{}); err == nil || !strings.Contains(err.Error(), "mfa.") {
			t.Errorf("%v, %q: got %v", cfg.MFA.Policies, cfg.MFA.RequiredFrom, err)
		}
	}
}

// storeOf is an empty store in a file.
func storeOf(t testing.TB) idp.Store {
	t.Helper()
	return storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
}

func TestI6_AProofIsAddedToTheSessionItWasShownForAndToNoOther(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		ctx, in, mine := h.enterPending(t, 2, "bob")
		theirs, other, stranger := h.enterPending(t, 3, "bob")
		if _, err := h.ProveByCode(ctx, in, mine, a.code(t, 0), false); err != nil {
			t.Fatal(err)
		}
		v, err := h.PendingVisit(theirs, "")
		if err != nil || len(v.Session.Methods) != 1 {
			t.Errorf("the other one has %+v, %v; want it pending with its password", v, err)
		}
		h.clock.turn(30 * time.Second)
		code := a.code(t, 0)
		_, err = h.ProveByCode(ctx, in, mine, code, false) // with a page from before
		wantError(t, err, idp.Stale, "session_changed", "")
		if s, err := h.ProveByCode(theirs, other, stranger, code, false); err != nil || s.Session.ID != stranger.Session.ID {
			t.Errorf("the code that proved nothing works no more: %+v, %v", s.Session, err)
		}
	})
}

func TestS3_05_S3_31_APendingSignInEndsWithItsTimeWhateverIsShown(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a, _ := h.bob(t)
		ctx, in, v := h.enterPending(t, 2, "bob")
		h.clock.turn(h.cfg.Login.FlowTimeout)
		_, err := h.ProveByCode(ctx, in, v, a.code(t, 0), false)
		wantError(t, err, idp.Stale, "session_changed", "")
		if _, err := h.PendingVisit(ctx, ""); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("it is there still: %v", err)
		}
	})
}
