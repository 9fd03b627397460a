package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"postern/config"
	"postern/idp"
	"postern/storage/storagetest"
)

func TestO1DemoChecksItself(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &errs}
		code := run(t.Context(), a, []string{"demo", "--check", "--database", url, "--dir", t.TempDir()})
		if code != exitOK || strings.Contains(out.String(), "FAIL") || !strings.HasSuffix(out.String(), "The main job is done.\n") {
			t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
		}
		if errs.Len() > 0 {
			t.Errorf("the demo complains: %s", errs.String())
		}
	})
}

func TestDemoCheckFailsWhereThePasswordIsAnother(t *testing.T) {
	d := &demo{log: slog.New(slog.DiscardHandler)}
	t.Cleanup(d.close)
	if err := d.prepare(t.Context(), demoFlags{listen: "127.0.0.1:0", rpListen: "127.0.0.1:0", seed: "1"}); err != nil {
		t.Fatal(err)
	}
	alice, err := d.idp.FindUser(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.idp.SetPassword(t.Context(), alice.ID, "another horse battery"); err != nil {
		t.Fatal(err)
	}
	go d.serve(t.Context())
	var out bytes.Buffer
	if err := d.check(t.Context(), (&app{out: &out}).tellStep); err == nil || !strings.Contains(out.String(), "FAIL  the right one leads to consent") {
		t.Errorf("got %v: %s", err, out.String())
	}
}

func TestDemoBeginsWithAnEmptyInbox(t *testing.T) {
	d := &demo{log: slog.New(slog.DiscardHandler)}
	t.Cleanup(d.close)
	if err := d.prepare(t.Context(), demoFlags{listen: "127.0.0.1:0", rpListen: "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	if waiting, _, err := d.store.CountJobs(t.Context(), d.idp.Now()); err != nil || waiting > 0 {
		t.Errorf("%d mails wait to be sent, %v", waiting, err)
	}
	for _, u := range d.users {
		found, err := d.idp.FindUser(t.Context(), u.Username)
		if err != nil || (found.Status == idp.Disabled) != (u.Note == noteDisabled) || found.EmailVerified == (u.Note == noteUnverified) {
			t.Errorf("%s: %+v, %v", u.Username, found, err)
		}
	}
}

func TestDemoUsersHaveEveryProfileClaim(t *testing.T) {
	d := &demo{seed: "1", log: slog.New(slog.DiscardHandler)}
	for _, u := range d.people() {
		want := []string{
			"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website",
			"gender", "birthdate", "zoneinfo", "locale", "phone_number", "phone_number_verified",
			"formatted", "street_address", "locality", "region", "postal_code", "country",
		}
		text := mustJSON(t, u.new.Profile)
		for _, claim := range want {
			if !strings.Contains(text, `"`+claim+`":`) {
				t.Errorf("%s has no %s", u.Username, claim)
			}
		}
		if u.new.EmailVerified == (u.Note == noteUnverified) || len(u.Password) != 14 {
			t.Errorf("%+v", u)
		}
	}
}

func TestDemoClientFollowsThePortOfItsRelyingParty(t *testing.T) {
	dir := t.TempDir()
	var former string
	for range 2 {
		d := &demo{log: slog.New(slog.DiscardHandler)}
		if err := d.prepare(t.Context(), demoFlags{listen: "127.0.0.1:0", rpListen: "127.0.0.1:0", dir: dir}); err != nil {
			t.Fatal(err)
		}
		c, err := d.idp.Client(t.Context(), demoClient)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Metadata.RedirectURIs[0]; got != d.party.address+callbackPath || got == former {
			t.Errorf("the redirect URI is %s", got)
		}
		former = c.Metadata.RedirectURIs[0]
		d.close()
	}
}

// party returns a relying party whose provider does not answer.
func newTestParty(t *testing.T, issuer string) (*relyingParty, *httptest.Server, *http.Client) {
	t.Helper()
	party, err := newRelyingParty(issuer, strings.TrimPrefix(issuer, "http://"), "http://127.0.0.1:1", []byte("secret"), filepath.Join(t.TempDir(), "mail"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(party.handler())
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return party, server, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	answer, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func TestInboxShowsMailOfItsFolder(t *testing.T) {
	party, server, c := newTestParty(t, "http://127.0.0.1:1")
	if _, body := get(t, c, server.URL+inboxPath); !strings.Contains(body, "There is no mail yet") {
		t.Errorf("an empty inbox shows %s", body)
	}
	if err := os.MkdirAll(party.mail, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, mail := range map[string]string{
		"1.eml": "From: id@example.com\r\nTo: alice@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nYour code is 123456 <b>.\r\n",
		"2.eml": "From: id@example.com\r\nTo: bob@example.com\r\nSubject: Later\r\nDate: Mon, 23 Nov 2026 11:00:00 +0000\r\n\r\nHello.\r\n",
		"3.eml": "half a ma",
	} {
		if err := os.WriteFile(filepath.Join(party.mail, name), []byte(mail), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, body := get(t, c, server.URL+inboxPath)
	for _, want := range []string{"Grüße", "123456 &lt;b&gt;", "alice@example.com", "Later"} {
		if !strings.Contains(body, want) {
			t.Errorf("the inbox lacks %q: %s", want, body)
		}
	}
	if strings.Index(body, "Later") > strings.Index(body, "Grüße") {
		t.Error("the newest mail is not the first")
	}
}

// fakeIssuer answers discovery alone.
func fakeIssuer(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"issuer":"`+server.URL+`","authorization_endpoint":"`+server.URL+`/authorize","token_endpoint":"`+server.URL+`/token","jwks_uri":"`+server.URL+`/jwks"}`)
	})
	return server.URL
}

func TestRelyingPartyRefusesAnswersThatItDidNotAskFor(t *testing.T) {
	issuer := fakeIssuer(t)
	for name, c := range map[string]struct{ answer, want string }{
		"another state":  {"state=x&iss=ISSUER&code=c", "state is not the one"},
		"no state":       {"iss=ISSUER&code=c", "state is not the one"},
		"another issuer": {"state=STATE&iss=https://evil.example&code=c", "another issuer"},
		"no issuer":      {"state=STATE&code=c", "another issuer"},
		"an error":       {"state=STATE&iss=ISSUER&error=access_denied", "access_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			_, server, client := newTestParty(t, issuer)
			answer, err := client.Get(server.URL + "/login")
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			location, err := answer.Location()
			if err != nil {
				t.Fatal(err)
			}
			asked := location.Query()
			if asked.Get("code_challenge_method") != "S256" || asked.Get("nonce") == "" || asked.Get("state") == "" {
				t.Errorf("the request is %s", location)
			}
			query := strings.NewReplacer("STATE", asked.Get("state"), "ISSUER", url.QueryEscape(issuer)).Replace(c.answer)
			get(t, client, server.URL+callbackPath+"?"+query)
			if _, body := get(t, client, server.URL+"/"); !strings.Contains(body, c.want) {
				t.Errorf("the page lacks %q: %s", c.want, body)
			}
		})
	}
	t.Run("a browser that did not start", func(t *testing.T) {
		_, server, client := newTestParty(t, issuer)
		if status, _ := get(t, client, server.URL+callbackPath+"?code=c&state=s"); status != http.StatusBadRequest {
			t.Errorf("got %d", status)
		}
	})
	t.Run("a provider that is away", func(t *testing.T) {
		_, server, client := newTestParty(t, "http://127.0.0.1:1")
		if status, _ := get(t, client, server.URL+"/login"); status != http.StatusBadGateway {
			t.Errorf("got %d", status)
		}
	})
}

func TestWordsForPeopleKnowEveryCodeThatACommandMeets(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	h.addUser(t, "alice")
	ctx := t.Context()
	long := strings.Repeat("x", 5000)
	add := func(n idp.NewUser) error { _, err := h.p.AddUser(ctx, n); return err }
	client := func(c idp.Client, secret string) error { _, _, err := h.p.AddClient(ctx, c, secret); return err }
	alice, err := h.p.FindUser(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"taken name":        add(idp.NewUser{Username: "ALICE"}),
		"taken address":     add(idp.NewUser{Username: "bob", Email: "alice@example.com"}),
		"short name":        add(idp.NewUser{Username: "a"}),
		"long name":         add(idp.NewUser{Username: long}),
		"strange name":      add(idp.NewUser{Username: "a b"}),
		"no address":        add(idp.NewUser{Username: "bob", Email: "bob"}),
		"verified nothing":  add(idp.NewUser{Username: "bob", EmailVerified: true}),
		"strange claim":     add(idp.NewUser{Username: "bob", Profile: idp.Profile{Website: "no"}}),
		"empty group":       add(idp.NewUser{Username: "bob", Groups: idp.List{""}}),
		"many groups":       add(idp.NewUser{Username: "bob", Groups: strings.Split(strings.Repeat("a ", 5000), " ")}),
		"short password":    h.p.SetPassword(ctx, alice.ID, "short"),
		"long password":     h.p.SetPassword(ctx, alice.ID, long),
		"no text":           h.p.SetPassword(ctx, alice.ID, "\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe"),
		"strange client ID": client(idp.Client{ID: "a b"}, ""),
		"no redirect URI":   client(idp.Client{Metadata: idp.Metadata{GrantTypes: idp.List{"authorization_code"}}}, ""),
		"bad redirect URI":  client(idp.Client{Metadata: idp.Metadata{RedirectURIs: idp.List{"http://x.example#y"}}}, ""),
		"unknown method":    client(idp.Client{Metadata: idp.Metadata{RedirectURIs: idp.List{"https://x.example"}, TokenEndpointAuthMethod: "magic"}}, ""),
		"short secret":      client(idp.Client{Metadata: idp.Metadata{RedirectURIs: idp.List{"https://x.example"}}}, "short"),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		code := idp.CodeOf(err)
		if _, known := said[code]; !known {
			t.Errorf("%s: there are no words for %q", name, code)
		}
		if text := words(err); strings.ContainsAny(text, "{}") || strings.Contains(text, "_too_") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestLogOnATerminalIsReadableAndHarmless(t *testing.T) {
	var b bytes.Buffer
	l := slog.New(&coloured{level: slog.LevelInfo, w: &b, mu: &sync.Mutex{}}).With("a", 1).WithGroup("g")
	l.Debug("not shown")
	l.Info("shown", "path", "/x\x1b[2Jy", "group", slog.GroupValue(slog.Int("n", 2)))
	got := b.String()
	for _, want := range []string{"INFO", "shown", "a=", `"/x\x1b[2Jy"`, "g.group.n="} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "\x1b[2J") || strings.Contains(got, "not shown") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
	var out bytes.Buffer
	newLogger(&out, config.Log{Level: "info", Format: "auto"}, nil).Info("x")
	if !strings.HasPrefix(out.String(), "{") {
		t.Errorf("a pipe gets %q, want JSON", out.String())
	}
}

func TestDemoShowsWhatBobsPhoneShows(t *testing.T) {
	dir := t.TempDir()
	var former phone
	for n := range 2 {
		d := &demo{log: slog.New(slog.DiscardHandler)}
		if err := d.prepare(t.Context(), demoFlags{listen: "127.0.0.1:0", rpListen: "127.0.0.1:0", dir: dir}); err != nil {
			t.Fatal(err)
		}
		his := d.users[bob].App
		if his == nil || len(his.Secret) != 32 || len(his.RecoveryCodes) != 10 || n > 0 && his.Secret != former.Secret {
			t.Errorf("start %d: got %+v after %+v", n, his, former)
		}
		former = *his
		var out bytes.Buffer
		if err := d.announce(&app{out: &out}); err != nil || !strings.Contains(out.String(), his.Secret) || !strings.Contains(out.String(), his.RecoveryCodes[9]) {
			t.Errorf("%v: %s", err, out.String())
		}
		for _, c := range []struct {
			name, from, host string
			want             int
		}{
			{"this machine", "127.0.0.1:4711", "127.0.0.1:8081", http.StatusOK},
			{"this machine, by name", "[::1]:4711", "localhost:8081", http.StatusOK},
			{"this machine, by IPv6", "[::1]:4711", "[::1]:8081", http.StatusOK},
			{"another machine", "192.0.2.7:4711", "127.0.0.1:8081", http.StatusNotFound},
			{"a site whose name leads here", "127.0.0.1:4711", "attacker.example:8081", http.StatusNotFound},
			{"a name like ours", "127.0.0.1:4711", "localhost.attacker.example", http.StatusNotFound},
		} {
			r := httptest.NewRequest(http.MethodGet, phonePath, nil)
			r.RemoteAddr, r.Host = c.from, c.host
			w := httptest.NewRecorder()
			d.party.handler().ServeHTTP(w, r)
			if told := strings.Contains(w.Body.String(), his.Secret); w.Code != c.want || told != (c.want == http.StatusOK) {
				t.Errorf("%s: got %d: %s", c.name, w.Code, w.Body)
			}
		}
		d.close()
	}
}

// Whoever asks for more than an account can reach sees no page of the provider, so the relying party says
// what came of it.
func TestRelyingPartySaysWhatBecameOfAStepUp(t *testing.T) {
	party, server, _ := newTestParty(t, "http://127.0.0.1:1")
	for _, c := range []struct{ asked, acr, want string }{
		{"", "urn:postern:acr:pwd", ""},
		{"phr urn:postern:acr:mfa", "urn:postern:acr:pwd", "the provider went on with less."},
		{"phr urn:postern:acr:mfa", "urn:postern:acr:mfa", "That is one of them"},
		{"phr urn:postern:acr:mfa", "phr", "what the request would like best."},
	} {
		s := &signIn{asked: c.asked, token: &oauth2.Token{}, claims: map[string]any{"acr": c.acr, "sub": "x"}, userinfo: map[string]any{}}
		party.signIns["b"] = s
		r := httptest.NewRequest(http.MethodGet, server.URL+"/", nil)
		r.AddCookie(&http.Cookie{Name: partyCookie, Value: "b"})
		w := httptest.NewRecorder()
		party.handler().ServeHTTP(w, r)
		page := w.Body.String()
		if told := strings.Contains(page, `id="asked"`); told != (c.want != "") || !strings.Contains(page, c.want) {
			t.Errorf("asked for %q, got %q: %s", c.asked, c.acr, page)
		}
	}
}
