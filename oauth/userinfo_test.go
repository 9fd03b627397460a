package oauth

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/idp"
)

func TestUserInfoHasTheClaimsOfTheScopesWithTheirTypes(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		profile := map[string]any{
			"name": "Name of alice", "given_name": "alice", "family_name": "Liddell", "middle_name": "P.", "nickname": "al",
			"preferred_username": "alice", "profile": "https://people.example/alice", "picture": "https://people.example/p.png",
			"website": "https://people.example", "gender": "female", "birthdate": "1852-05-04", "zoneinfo": "Europe/London",
			"locale": "en-GB", "updated_at": float64(h.alice.UpdatedAt.Unix()),
		}
		email := map[string]any{"email": "alice@example.org", "email_verified": true}
		phone := map[string]any{"phone_number": "+44 1 234", "phone_number_verified": true}
		address := map[string]any{"address": map[string]any{"locality": "Oxford", "country": "UK"}}
		for scope, parts := range map[string][]map[string]any{
			"openid":                             nil,
			"openid profile":                     {profile},
			"openid email":                       {email},
			"openid phone":                       {phone},
			"openid address":                     {address},
			"openid profile email phone address": {profile, email, phone, address},
		} {
			want := map[string]any{"sub": h.alice.ID.String()}
			for _, part := range parts {
				for name, value := range part {
					want[name] = value
				}
			}
			got := h.userInfoWith(h.tokensFor("first", scope).text("access_token"))
			h.want(got, http.StatusOK, "")
			if !reflect.DeepEqual(got.body, want) {
				t.Errorf("%s: got %v, want %v", scope, got.body, want)
			}
			if got.Header().Get("Content-Type") != "application/json" || got.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("got %v", got.Header())
			}
		}
	})
}

func TestUserInfoLeavesOutWhatIsEmpty(t *testing.T) {
	h := oneHouse(t)
	if _, err := h.p.AddUser(t.Context(), idp.NewUser{Username: "carol", Password: testPassword}); err != nil {
		t.Fatal(err)
	}
	form := h.request("first")
	form.Set("scope", "openid profile email phone address")
	got := h.call(h.Token, "first", redeem("first", h.code(h.signedIn("carol"), form)))
	info := h.userInfoWith(got.text("access_token"))
	if len(info.body) != 3 || info.text("preferred_username") != "carol" || info.body["updated_at"] == nil {
		t.Errorf("got %s, want sub, preferred_username and updated_at alone", info.Body)
	}
}

func TestUserInfoHasWhatTheClaimsParameterAsksFor(t *testing.T) {
	h := oneHouse(t)
	form := h.request("web") // who is asked to consent to it
	form.Set("scope", "openid")
	form.Set("claims", `{"userinfo":{"name":{"essential":true},"phone_number":null,"no_such_claim":null},"id_token":{"email":null}}`)
	got := h.call(h.Token, "web", redeem("web", h.code(h.signedIn("alice"), form)))
	h.want(got, http.StatusOK, "")
	want := map[string]any{"sub": h.alice.ID.String(), "name": "Name of alice", "phone_number": "+44 1 234"}
	if info := h.userInfoWith(got.text("access_token")); !reflect.DeepEqual(info.body, want) {
		t.Errorf("got %v, want %v", info.body, want)
	}
}

// TestClaimsParameterReachesNoFurtherThanTheClientsScopes: the claims parameter must not be a way
// around the scopes that the client is registered for, nor a way to write on the consent page.
func TestClaimsParameterReachesNoFurtherThanTheClientsScopes(t *testing.T) {
	h := oneHouse(t)
	h.change("first", func(c *idp.Client) { c.Metadata.Scopes = idp.List{"openid", "email"} })
	b := h.signedIn("alice")
	form := h.request("first")
	form.Set("scope", "openid")
	form.Set("claims", `{"userinfo":{"email":null,"phone_number":{"essential":true},"address":null,"We recommend: Allow":null},
		"id_token":{"name":null,"email":{"essential":true},"acr":null,"auth_time":{"essential":true},"sub":{"value":"`+h.alice.ID.String()+`"}}}`)
	got := h.call(h.Token, "first", redeem("first", h.code(b, form)))
	h.want(got, http.StatusOK, "")
	for place, claims := range map[string]map[string]any{
		"userinfo": h.userInfoWith(got.text("access_token")).body, "ID token": h.verifyIDToken(got.text("id_token")),
	} {
		for _, name := range []string{"phone_number", "address", "name"} {
			if claims[name] != nil {
				t.Errorf("%s: got the claim %s, whose scope the client may not ask for", place, name)
			}
		}
		if claims["email"] != "alice@example.org" {
			t.Errorf("%s: got %v, want the e-mail address", place, claims)
		}
	}
	if claims := h.verifyIDToken(got.text("id_token")); claims["auth_time"] == nil {
		t.Errorf("got %v, want auth_time", claims)
	}
	h.change("first", func(c *idp.Client) { c.Metadata.FirstParty = false })
	_, query := outcome(h, h.authorize(b, form))
	in, err := h.p.Open(b.context(), query.Get("tx"))
	if err != nil {
		t.Fatal(err)
	}
	if names := in.Request.Claims.Names(); !slices.Equal(names, []string{"email"}) {
		t.Errorf("consent is asked to %q, want email alone", names)
	}
	form.Set("claims", `{"userinfo":{"phone_number":null}}`)
	if query := h.walk(b, h.authorize(b, form), "alice"); query.Get("code") == "" {
		t.Errorf("got %v, want what cannot be had to be ignored", query)
	}
}

// TestClaimsEndWithTheScopeThatTheClientLost is about what was asked for while it was allowed.
func TestClaimsEndWithTheScopeThatTheClientLost(t *testing.T) {
	h := oneHouse(t)
	form := h.request("first")
	form.Set("scope", "openid")
	form.Set("claims", `{"userinfo":{"email":null,"name":null},"id_token":{"email":null,"name":null}}`)
	first := h.call(h.Token, "first", redeem("first", h.code(h.signedIn("alice"), form)))
	h.want(first, http.StatusOK, "")
	h.change("first", func(c *idp.Client) { c.Metadata.Scopes = idp.List{"openid", "profile"} })
	second := h.call(h.Token, "first", refresh(first.text("refresh_token")))
	h.want(second, http.StatusOK, "")
	for place, claims := range map[string]map[string]any{
		"userinfo": h.userInfoWith(second.text("access_token")).body, "ID token": h.verifyIDToken(second.text("id_token")),
	} {
		if claims["email"] != nil || claims["name"] != "Name of alice" {
			t.Errorf("%s: got %v, want the name and no e-mail address", place, claims)
		}
	}
}

func TestUserInfoTakesTheTokenInOneOfItsTwoPlaces(t *testing.T) {
	h := oneHouse(t)
	token := h.tokensFor("first", "openid").text("access_token")
	cases := []struct {
		name, method, query, header, contentType, body string
		status                                         int
		code, challenge                                string
	}{
		{"GET, header", "GET", "", "Bearer " + token, "", "", 200, "", ""},
		{"GET, lower-case scheme", "GET", "", "bearer " + token, "", "", 200, "", ""},
		{"POST, header, no body", "POST", "", "Bearer " + token, "", "", 200, "", ""},
		{"POST, header, empty form", "POST", "", "Bearer " + token, formType, "", 200, "", ""},
		{"POST, body", "POST", "", "", formType, "access_token=" + token, 200, "", ""},
		{"GET, query", "GET", "?access_token=" + token, "", "", "", 400, "invalid_request", "invalid_request"},
		{"header and body", "POST", "", "Bearer " + token, formType, "access_token=" + token, 400, "invalid_request", "invalid_request"},
		{"header and query", "GET", "?access_token=" + token, "Bearer " + token, "", "", 400, "invalid_request", "invalid_request"},
		{"body twice", "POST", "", "", formType, "access_token=" + token + "&access_token=" + token, 400, "invalid_request", "invalid_request"},
		{"broken body", "POST", "", "", formType, "access_token=%zz", 400, "invalid_request", "invalid_request"},
		{"body that is JSON", "POST", "", "", "application/json", `{"access_token":"` + token + `"}`, 401, "", "none"},
		{"GET with a body", "GET", "", "", formType, "access_token=" + token, 401, "", "none"},
		{"no token", "GET", "", "", "", "", 401, "", "none"},
		{"an empty token", "GET", "", "Bearer ", "", "", 401, "", "none"},
		{"Basic", "GET", "", "Basic eDp5", "", "", 401, "", "none"},
		{"garbage", "GET", "", "Bearer x", "", "", 401, "invalid_token", "invalid_token"},
		{"PUT", "PUT", "", "Bearer " + token, "", "", 405, "invalid_request", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, UserInfoPath+c.query, strings.NewReader(c.body))
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			got := h.serve(h.UserInfo, r)
			h.want(got, c.status, c.code)
			challenge := got.Header().Get("WWW-Authenticate")
			switch c.challenge {
			case "":
				if challenge != "" {
					t.Errorf("got the challenge %q, want none", challenge)
				}
			case "none": // RFC 6750 §3.1: no error code
				if challenge != `Bearer realm="postern"` || got.Body.Len() != 0 {
					t.Errorf("got the challenge %q and the body %q", challenge, got.Body)
				}
			default:
				if !strings.HasPrefix(challenge, `Bearer realm="postern", error="`+c.challenge+`", error_description="`) {
					t.Errorf("got the challenge %q", challenge)
				}
			}
		})
	}
}

func TestFG_OtherTokensAreNoAccessTokens(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		got := h.tokensFor("first", "openid offline_access")
		machine := h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}})
		for name, token := range map[string]string{
			"refresh token": got.text("refresh_token"),
			"ID token":      got.text("id_token"),
			"code":          h.code(h.signedIn("alice"), h.request("first")),
			"client token":  machine.text("access_token"),
		} {
			if info := h.userInfoWith(token); info.Code != http.StatusUnauthorized || info.text("error") != "invalid_token" {
				t.Errorf("%s: got %d %s, want invalid_token", name, info.Code, info.Body)
			}
			if name == "client token" {
				continue
			}
			forged := strings.Replace(token, token[:3], "at_", 1)
			if info := h.userInfoWith(forged); info.Code != http.StatusUnauthorized {
				t.Errorf("%s under another prefix: got %d %s", name, info.Code, info.Body)
			}
		}
	})
}

func TestUserInfoRefusesWhatDoesNotLive(t *testing.T) {
	h := oneHouse(t)
	got := h.tokensFor("web", "openid offline_access")
	without := h.tokensFor("first", "api")
	h.want(h.userInfoWith(without.text("access_token")), http.StatusForbidden, "insufficient_scope")

	token := got.text("access_token")
	h.want(h.userInfoWith(token[:len(token)-2]+"AA"), http.StatusUnauthorized, "invalid_token")
	h.now.turn(5 * time.Minute)
	h.want(h.userInfoWith(token), http.StatusUnauthorized, "invalid_token")

	token = h.call(h.Token, "web", refresh(got.text("refresh_token"))).text("access_token")
	h.want(h.userInfoWith(token), http.StatusOK, "")
	if err := h.p.WithdrawConsent(t.Context(), h.alice.ID, "web"); err != nil {
		t.Fatal(err)
	}
	h.want(h.userInfoWith(token), http.StatusUnauthorized, "invalid_token")

	token = h.tokensFor("first", "openid").text("access_token")
	if err := h.disable("first"); err != nil {
		t.Fatal(err)
	}
	h.want(h.userInfoWith(token), http.StatusUnauthorized, "invalid_token")
}

func TestUserInfoIs503WhereTheStoreFails(t *testing.T) {
	h := oneHouse(t)
	token := h.tokensFor("first", "openid").text("access_token")
	h.store.fail(true, false)
	got := h.userInfoWith(token)
	h.want(got, http.StatusServiceUnavailable, "temporarily_unavailable")
	if got.Header().Get("Retry-After") == "" || got.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("got %v, want Retry-After and no challenge", got.Header())
	}
}
