package oauth

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/idp"
)

// A journal is what was logged, by default from INFO on.
type journal struct{ bytes.Buffer }

// journalOf collects what rooms log that were given no logger.
func journalOf(t *testing.T, level slog.Level) *journal {
	t.Helper()
	j, former := &journal{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(j, &slog.HandlerOptions{Level: level})))
	t.Cleanup(func() { slog.SetDefault(former) })
	return j
}

// take returns the lines without their times, and forgets them.
func (j *journal) take(t *testing.T) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(j.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, "time")
		lines = append(lines, m)
	}
	j.Reset()
	return lines
}

func (j *journal) want(t *testing.T, want map[string]any) {
	t.Helper()
	if got := j.take(t); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestTheReferenceOfAProblemPageLeadsToALineInTheLog(t *testing.T) {
	h := oneHouse(t)
	j := journalOf(t, slog.LevelInfo)
	line := func(code string, pairs ...string) map[string]any {
		m := map[string]any{"level": "INFO", "msg": "problem page", "request_id": "r-1", "address": "192.0.2.1", "status": float64(400), "code": code}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	request := func(change func(url.Values)) url.Values {
		form := h.request("web")
		change(form)
		return form
	}
	for name, c := range map[string]struct {
		form url.Values
		want map[string]any
	}{
		"no parameters":  {url.Values{}, line("client_missing")},
		"unknown client": {request(func(f url.Values) { f.Set("client_id", "no\nbody") }), line("client_unknown", "client_id", "no\nbody", "redirect_uri", "https://rp.example/cb")},
		"wrong redirect URI": {request(func(f url.Values) { f.Set("redirect_uri", "https://evil.example/cb?token=s3cret#s3cret") }),
			line("redirect_uri_unregistered", "client_id", "web", "redirect_uri", "https://evil.example/cb")},
		"redirect URI with a password": {request(func(f url.Values) { f.Set("redirect_uri", "https://me:s3cret@evil.example/a@b") }),
			line("redirect_uri_unregistered", "client_id", "web", "redirect_uri", "https://evil.example/a@b")},
		"redirect URI encoded twice": {request(func(f url.Values) { f.Set("redirect_uri", "https%3A%2F%2Frp.example%2Fcb%3Ftoken%3Ds3cret") }),
			line("redirect_uri_unregistered", "client_id", "web", "redirect_uri", "https%3A%2F%2Frp.example%2Fcb")},
		"client_id without end": {request(func(f url.Values) { f.Set("client_id", strings.Repeat("a", 4000)) }),
			line("request_malformed", "client_id", strings.Repeat("a", 128), "redirect_uri", "https://rp.example/cb")},
		"tx that is none": {url.Values{"tx": {"s3cret"}}, line("interaction_unreadable")},
	} {
		t.Run(name, func(t *testing.T) {
			h.authorize(newBrowser("x"), c.form)
			j.want(t, c.want)
		})
	}
}

func TestWhatAClientIsToldOfItsRequestIsLogged(t *testing.T) {
	h := oneHouse(t)
	j := journalOf(t, slog.LevelInfo)
	form := h.request("web")
	form.Del("code_challenge")
	form.Del("code_challenge_method")
	h.authorize(newBrowser("x"), form)
	j.want(t, map[string]any{
		"level": "INFO", "msg": "authorization declined", "request_id": "r-1", "address": "192.0.2.1", "client_id": "web",
		"error": "invalid_request", "description": "PKCE is required: the parameter code_challenge is missing.",
	})
	form = h.request("web")
	form.Set("prompt", "none")
	h.authorize(newBrowser("x"), form)
	if got := j.take(t); len(got) != 1 || got[0]["error"] != "login_required" {
		t.Errorf("got %v, want one line with login_required", got)
	}
}

func TestRefusalsOfTheTokenEndpointSayWhyInTheLog(t *testing.T) {
	h := oneHouse(t)
	if err := h.disable("lax"); err != nil {
		t.Fatal(err)
	}
	j := journalOf(t, slog.LevelInfo)
	for name, c := range map[string]struct {
		id, secret string // of the header
		form       url.Values
		endpoint   http.HandlerFunc
		want       map[string]any
	}{
		"wrong secret":   {"web", "s3cret", nil, h.Token, map[string]any{"client_id": "web", "cause": "the secret is wrong"}},
		"unknown client": {"nobody", "s3cret", nil, h.Token, map[string]any{"client_id": "nobody", "cause": "the client is unknown"}},
		"wrong method":   {"post", h.secrets["post"], nil, h.Token, map[string]any{"client_id": "post", "cause": "the client is registered for client_secret_post and used client_secret_basic"}},
		"disabled":       {"lax", h.secrets["lax"], nil, h.Token, map[string]any{"client_id": "lax", "cause": "the client is disabled"}},
		"no client":      {"", "", nil, h.Token, map[string]any{"cause": "the request names no client"}},
		"an assertion": {"", "", url.Values{"client_id": {"web"}, "client_assertion": {"s3cret"}}, h.Token,
			map[string]any{"client_id": "web", "cause": "no client is registered for a client_assertion"}},
		"a public one that introspects": {"", "", url.Values{"client_id": {"native"}, "token": {"s3cret"}}, h.Introspect,
			map[string]any{"client_id": "native", "cause": "a public client may not introspect"}},
		"a long ID":    {strings.Repeat("a", 4000), "s3cret", nil, h.Revoke, map[string]any{"client_id": strings.Repeat("a", 128), "cause": "the client is unknown"}},
		"a dead token": {"web", h.secrets["web"], url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"s3cret"}}, h.Token, map[string]any{"client_id": "web", "status": float64(400), "error": "invalid_grant"}},
	} {
		t.Run(name, func(t *testing.T) {
			form := url.Values{"grant_type": {"client_credentials"}}
			maps.Copy(form, c.form)
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode())).WithContext(newBrowser("x").context())
			r.Header.Set("Content-Type", formType)
			if c.id != "" {
				r.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret))
			}
			h.serve(c.endpoint, r)
			want := map[string]any{
				"level": "INFO", "msg": "request refused", "request_id": "r-1", "address": "192.0.2.1",
				"status": float64(401), "error": "invalid_client", "description": "Client authentication failed.",
			}
			maps.Copy(want, c.want)
			got := j.take(t)
			if len(got) != 1 {
				t.Fatalf("got %v, want one line", got)
			}
			if want["error"] == "invalid_grant" {
				want["description"], want["cause"] = got[0]["description"], got[0]["cause"] // fosite's words
				if want["cause"] == nil {
					delete(want, "cause")
				}
			}
			if !reflect.DeepEqual(got[0], want) {
				t.Errorf("got  %v\nwant %v", got[0], want)
			}
		})
	}
}

func TestAThrottledClientIsLogged(t *testing.T) {
	h := oneHouse(t)
	cfg := testConfig()
	cfg.RateLimits.Off = false
	cfg.RateLimits.TokenEndpointAuthFailed = "1/m/ip"
	h.open(h.store.Store, cfg)
	h.secrets["machine"] = "s3cret"
	form := url.Values{"grant_type": {"client_credentials"}}
	h.callFrom(newBrowser("x"), h.Token, "machine", form)
	j := journalOf(t, slog.LevelInfo)
	h.want(h.callFrom(newBrowser("x"), h.Token, "machine", form), http.StatusTooManyRequests, "temporarily_unavailable")
	// The gate's line, of the security log, says which limit it was; ours says which client.
	ours := slices.DeleteFunc(j.take(t), func(line map[string]any) bool { return line["msg"] != "request refused" })
	if len(ours) != 1 || ours[0]["status"] != float64(429) || ours[0]["client_id"] != "machine" || ours[0]["address"] != "192.0.2.1" {
		t.Errorf("got %v, want one line with 429", ours)
	}
}

// Whatever goes wrong in a flow, the log has nothing that opens a door, at its lowest level too.
func TestNoSecretCodeOrTokenIsLogged(t *testing.T) {
	h := oneHouse(t)
	j := journalOf(t, slog.LevelDebug)
	b := h.signedIn("alice")
	form := h.request("web")
	form.Set("scope", "openid offline_access")
	form.Set("state", "the-state-of-the-client")
	form.Set("login_hint", "typed@example.org")
	code := h.walk(b, h.authorize(b, form), "alice").Get("code")
	tokens := h.callFrom(b, h.Token, "web", redeem("web", code))
	access, refresh := tokens.text("access_token"), tokens.text("refresh_token")
	if code == "" || access == "" || refresh == "" {
		t.Fatalf("got %s", tokens.Body)
	}
	kept := []string{code, access, refresh, tokens.text("id_token"), testVerifier, testPassword, "typed@example.org", "the-state-of-the-client", "s3cret"}
	for _, secret := range h.secrets {
		if secret != "" { // native has none
			kept = append(kept, secret)
		}
	}

	in := h.p.BeginOwn("/")
	if _, err := h.p.LogIn(b.context(), in, idp.LogIn{Identifier: "typed@example.org", Password: "s3cret"}); err == nil {
		t.Error("a wrong password signs in")
	}
	bad := redeem("web", code)
	bad.Set("code_verifier", strings.Repeat("s3cret", 9))
	h.callFrom(b, h.Token, "web", bad)
	h.callFrom(b, h.Token, "other", redeem("other", code))
	h.callFrom(b, h.Token, "web", redeem("web", "s3cret"))
	h.callFrom(b, h.Token, "other", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	h.callFrom(b, h.Token, "web", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh, refresh}})
	h.callFrom(b, h.Token, "web", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh + "\x00"}})
	for _, endpoint := range []http.HandlerFunc{h.Introspect, h.Revoke} {
		h.callFrom(b, endpoint, "post", url.Values{"token": {access}, "client_secret": {h.secrets["web"]}})
		h.callFrom(b, endpoint, "web", url.Values{"token": {access}, "client_secret": {h.secrets["web"]}})
	}
	h.secrets["web"] = "s3cret"
	h.callFrom(b, h.Token, "web", redeem("web", code))
	for name, value := range map[string]string{
		"redirect_uri": webRedirect + "&code=" + code, "code_challenge": "s3cret", "id_token_hint": tokens.text("id_token") + "s3cret",
		"claims": `{"s3cret"`, "prompt": "s3cret", "max_age": "s3cret", "response_type": "s3cret", "scope": "openid unregistered\x01", "request": "s3cret",
	} {
		wrong := h.request("web")
		wrong.Set("login_hint", "typed@example.org")
		wrong.Set(name, value)
		h.authorize(b, wrong)
	}
	h.get(b, AuthorizePath+"?tx="+code)
	r := httptest.NewRequest(http.MethodGet, UserInfoPath, nil).WithContext(b.context())
	r.Header.Set("Authorization", "Bearer "+access+"s3cret")
	h.serve(h.UserInfo, r)

	logged := j.String()
	if n := len(j.take(t)); n < 15 {
		t.Errorf("got %d lines only: %s", n, logged)
	}
	for _, text := range kept {
		if strings.Contains(logged, text) {
			t.Errorf("%s is in the log: %s", text, logged)
		}
	}
}

func TestAddressesThatAreUnknownAreLoggedAsNothing(t *testing.T) {
	h := oneHouse(t)
	j := journalOf(t, slog.LevelInfo)
	b := newBrowser("x")
	b.visitor.Address = netip.Addr{}
	h.authorize(b, url.Values{})
	if got := j.take(t); len(got) != 1 || got[0]["address"] != "" {
		t.Errorf("got %v, want one line without an address", got)
	}
}
