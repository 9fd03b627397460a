package idp_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/idp"
)

func seconds(n int64) *int64 { return &n }

func TestARequestIsReadFromItsForm(t *testing.T) {
	form := url.Values{
		"client_id": {"rp"}, "redirect_uri": {"https://rp.example/cb"}, "scope": {"openid  profile openid"},
		"prompt": {"login consent"}, "max_age": {"60"}, "acr_values": {"a b"}, "login_hint": {"älice@example.com"},
		"ui_locales": {"de en-GB"}, "claims": {`{"userinfo":{"email":null}}`}, "state": {"s"}, "return": {"/account"},
	}
	want := idp.Request{
		ClientID: "rp", RedirectURI: "https://rp.example/cb", Scopes: idp.List{"openid", "profile"},
		Prompts: idp.List{"login", "consent"}, MaxAge: seconds(60), ACRValues: idp.List{"a", "b"},
		LoginHint: "älice@example.com", UILocales: idp.List{"de", "en-GB"},
		Claims: &idp.ClaimsRequest{UserInfo: map[string]*idp.ClaimRequest{"email": nil}},
	}
	if got, err := idp.ParseRequest(form); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// RFC 6749 §3.1.
func TestAParameterWithoutAValueIsOmitted(t *testing.T) {
	form := url.Values{"client_id": {"rp"}}
	for _, name := range []string{"scope", "prompt", "max_age", "acr_values", "login_hint", "ui_locales", "claims", "redirect_uri"} {
		form.Set(name, "")
	}
	if got, err := idp.ParseRequest(form); err != nil || !reflect.DeepEqual(got, idp.Request{ClientID: "rp"}) {
		t.Errorf("got %+v, %v, want nothing but the client", got, err)
	}
}

func TestBadParametersOfARequestAreNamed(t *testing.T) {
	many := func(n int) string {
		words := make([]string, n)
		for i := range words {
			words[i] = fmt.Sprint("s", i)
		}
		return strings.Join(words, " ")
	}
	for name, c := range map[string]struct {
		parameter, value, code string // code "" where it is taken
	}{
		"prompt=none":                       {"prompt", "none", ""},
		"prompt=none twice":                 {"prompt", "none none", ""},
		"prompt=none beside another":        {"prompt", "none login", "invalid_request"},
		"prompt=none create":                {"prompt", "none create", "invalid_request"},
		"prompt that is unknown":            {"prompt", "login sudo", "invalid_request"},
		"prompt in another case":            {"prompt", "Login", "invalid_request"},
		"max_age=0":                         {"max_age", "0", ""},
		"max_age of 68 years":               {"max_age", "2147483647", ""},
		"max_age beyond":                    {"max_age", "2147483648", "invalid_request"},
		"max_age beyond 64 bits":            {"max_age", "99999999999999999999", "invalid_request"},
		"max_age negative":                  {"max_age", "-1", "invalid_request"},
		"max_age with a sign":               {"max_age", "+1", "invalid_request"},
		"max_age with a fraction":           {"max_age", "1.5", "invalid_request"},
		"max_age in words":                  {"max_age", "soon", "invalid_request"},
		"64 scopes":                         {"scope", many(64), ""},
		"65 scopes":                         {"scope", many(65), "invalid_scope"},
		"a scope with a quote":              {"scope", `open"id`, "invalid_scope"},
		"a scope with a tab":                {"scope", "openid\tprofile", "invalid_scope"},
		"a scope beyond ASCII":              {"scope", "öpenid", "invalid_scope"},
		"a long scope":                      {"scope", strings.Repeat("s", 5000), "invalid_scope"},
		"login_hint of 256 bytes":           {"login_hint", strings.Repeat("a", 256), ""},
		"login_hint of 257 bytes":           {"login_hint", strings.Repeat("a", 257), "invalid_request"},
		"login_hint that is not UTF-8":      {"login_hint", "\xff", "invalid_request"},
		"login_hint with a line break":      {"login_hint", "a\nb", "invalid_request"},
		"16 acr_values":                     {"acr_values", many(16), ""},
		"17 acr_values":                     {"acr_values", many(17), "invalid_request"},
		"long acr_values":                   {"acr_values", strings.Repeat("a", 2000), "invalid_request"},
		"ui_locales that nobody speaks":     {"ui_locales", "tlh xx-YY", ""},
		"long ui_locales":                   {"ui_locales", strings.Repeat("a", 300), "invalid_request"},
		"claims that are no JSON":           {"claims", "{", "invalid_request"},
		"claims that are a list":            {"claims", "[]", "invalid_request"},
		"claims that are null":              {"claims", "null", "invalid_request"},
		"claims with something behind them": {"claims", "{} {}", "invalid_request"},
		"claims that ask for nothing":       {"claims", "{}", ""},
		"claims of 9 kB":                    {"claims", `{"x":"` + strings.Repeat("x", 9000) + `"}`, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := idp.ParseRequest(url.Values{"client_id": {"rp"}, c.parameter: {c.value}})
			if c.code == "" {
				if err != nil {
					t.Errorf("got %v, want it taken", err)
				}
				return
			}
			wantError(t, err, idp.Invalid, c.code, c.parameter)
			if text := err.Error(); strings.Contains(text, "sudo") || strings.Contains(text, "soon") || len(text) > 200 {
				t.Errorf("the error quotes the request: %s", text)
			}
		})
	}
}

func TestAParameterTwiceIsRefused(t *testing.T) {
	for _, name := range []string{"client_id", "prompt", "state", "anything"} {
		_, err := idp.ParseRequest(url.Values{name: {"a", "a"}})
		wantError(t, err, idp.Invalid, "invalid_request", name)
	}
}

func TestClaimsAreRead(t *testing.T) {
	text := `{"userinfo":{"given_name":{"essential":true},"nickname":null,"family_name#de":{"unknown":1}},
		"id_token":{"auth_time":{"essential":true},"acr":{"values":["a","b"]},"sub":{"value":"248289761001"}},"other":[1]}`
	want := &idp.ClaimsRequest{
		UserInfo: map[string]*idp.ClaimRequest{"given_name": {Essential: true}, "nickname": nil, "family_name#de": {}},
		IDToken: map[string]*idp.ClaimRequest{
			"auth_time": {Essential: true}, "acr": {Values: []any{"a", "b"}}, "sub": {Value: "248289761001"},
		},
	}
	got, err := idp.ParseClaims(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	if names, want := got.Names(), []string{"family_name#de", "given_name", "nickname"}; !reflect.DeepEqual(names, want) {
		t.Errorf("names %v, want %v", names, want)
	}
	if names := (*idp.ClaimsRequest)(nil).Names(); names != nil {
		t.Errorf("no claims parameter asks for %v", names)
	}
}

func TestAClaimInBothPlacesIsNamedOnce(t *testing.T) {
	c, err := idp.ParseClaims(`{"userinfo":{"email":null},"id_token":{"email":null,"name":null}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Names(), []string{"email", "name"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestClaimsOfAWrongShapeAreRefused(t *testing.T) {
	many := make(map[string]bool)
	for i := range 65 {
		many[fmt.Sprintf(`"c%d":null`, i)] = true
	}
	for name, text := range map[string]string{
		"a string":                  `"claims"`,
		"userinfo is a list":        `{"userinfo":["email"]}`,
		"id_token is null":          `{"id_token":null}`,
		"a claim is true":           `{"userinfo":{"email":true}}`,
		"a claim is a list":         `{"userinfo":{"email":[]}}`,
		"a claim without a name":    `{"userinfo":{"":null}}`,
		"a claim with a long name":  `{"userinfo":{"` + strings.Repeat("n", 129) + `":null}}`,
		"essential is a string":     `{"userinfo":{"email":{"essential":"true"}}}`,
		"essential is null":         `{"userinfo":{"email":{"essential":null}}}`,
		"values is a string":        `{"id_token":{"acr":{"values":"a"}}}`,
		"values is null":            `{"id_token":{"acr":{"values":null}}}`,
		"65 values":                 `{"id_token":{"acr":{"values":[` + strings.Repeat("1,", 64) + `1]}}}`,
		"65 claims":                 `{"userinfo":{` + strings.Join(slices.Collect(maps.Keys(many)), ",") + `}}`,
		"brackets without an end":   strings.Repeat(`{"userinfo":`, 600),
		"a hundred nested brackets": `{"userinfo":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := idp.ParseClaims(text); err == nil {
				t.Errorf("got %+v, want an error", got)
			}
		})
	}
}

func TestErrorsOfTheClaimsParameterQuoteNothing(t *testing.T) {
	for _, text := range []string{
		`{"id_token":{"sub":{"value":1e99999}}}`, `{"id_token":{"acr":{"values":[1e99999]}}}`, `{"id_token":{"acr":{"value":{"a":1e99999}}}}`,
	} {
		if _, err := idp.ParseClaims(text); err == nil || strings.Contains(err.Error(), "99999") {
			t.Errorf("%s: got %v, want an error that quotes nothing", text, err)
		}
	}
}

// TestClaimsAreWrittenAsTheyAreRead holds that nothing of meaning is lost: an empty list of values
// allows none, while no list allows all.
func TestClaimsAreWrittenAsTheyAreRead(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"id_token":{"acr":{"essential":true,"values":[]},"sub":{"value":false}}}`,
		`{"userinfo":{"email":null,"name":{"essential":true}}}`, `{"id_token":{"acr":{"values":["a",1,null]}}}`,
	} {
		c, err := idp.ParseClaims(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(c); err != nil || string(got) != text {
			t.Errorf("got %s, %v, want %s", got, err, text)
		}
	}
}

func FuzzRequestsAreReadWithoutPanic(f *testing.F) {
	f.Add("client_id=rp&scope=openid&prompt=none&max_age=0&claims=%7B%22id_token%22%3A%7B%22acr%22%3A%7B%22values%22%3A%5B1%5D%7D%7D%7D")
	f.Fuzz(func(t *testing.T, text string) {
		form, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		if r, err := idp.ParseRequest(form); err == nil {
			r.Claims.Names()
			idp.NextStep(&idp.Interaction{Request: r}, &idp.Visit{}, idp.Policy{}, noon)
		} else if idp.KindOf(err) != idp.Invalid || idp.CodeOf(err) == "" {
			t.Errorf("got %v, want an Invalid error with a code", err)
		}
	})
}
