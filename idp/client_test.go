package idp_test

import (
	"context"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// addClient adds a client with a redirect URI, and returns it with its secret.
func (h *house) addClient(t testing.TB, c idp.Client) (idp.Client, string) {
	t.Helper()
	if c.Metadata.RedirectURIs == nil {
		c.Metadata.RedirectURIs = idp.List{"https://shop.example/cb"}
	}
	added, secret, err := h.AddClient(t.Context(), c, "")
	if err != nil {
		t.Fatalf("add client: %v", err)
	}
	return added, secret
}

func TestANewClientGetsAnIDASecretAndTheDefaults(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		got, secret := h.addClient(t, idp.Client{Metadata: idp.Metadata{Name: "Shop"}})
		if !regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`).MatchString(got.ID) || !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(secret) {
			t.Errorf("got the ID %q and the secret %q", got.ID, secret)
		}
		want := idp.Metadata{
			Name: "Shop", RedirectURIs: idp.List{"https://shop.example/cb"}, TokenEndpointAuthMethod: "client_secret_basic", ApplicationType: "web",
			GrantTypes: idp.List{"authorization_code", "refresh_token"}, ResponseTypes: idp.List{"code"},
			Scopes: idp.List{"openid", "profile", "email", "address", "phone", "offline_access"},
		}
		if !reflect.DeepEqual(got.Metadata, want) {
			t.Errorf("got  %+v\nwant %+v", got.Metadata, want)
		}
		if len(got.Secrets) != 1 || !strings.HasPrefix(got.Secrets[0].Hash, "sha256$") || strings.Contains(got.Secrets[0].Hash, secret) {
			t.Errorf("got the secrets %+v, want one as SHA-256", got.Secrets)
		}
		cached, err := h.Client(t.Context(), got.ID)
		if err != nil || !reflect.DeepEqual(*cached, got) {
			t.Errorf("got  %+v and %v\nwant %+v", cached, err, got)
		}
		_, _, err = h.AddClient(t.Context(), idp.Client{ID: got.ID, Metadata: got.Metadata}, "")
		wantError(t, err, idp.Conflict, "client_id_taken", "client_id")
		public, secret := h.addClient(t, idp.Client{Metadata: idp.Metadata{TokenEndpointAuthMethod: "none"}})
		if secret != "" || len(public.Secrets) != 0 {
			t.Errorf("a public client got a secret")
		}
	})
}

func TestANewClientIsChecked(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	minus := int64(-1)
	for name, tc := range map[string]struct {
		client      idp.Client
		secret      string
		code, field string
	}{
		"an ID with a space":             {idp.Client{ID: "my shop"}, "", "invalid_client_metadata", "client_id"},
		"an ID without end":              {idp.Client{ID: strings.Repeat("a", 129)}, "", "invalid_client_metadata", "client_id"},
		"a short secret":                 {idp.Client{}, "hunter2", "invalid_client_metadata", "client_secret"},
		"a secret beyond ASCII":          {idp.Client{}, "hünter2hünter2", "invalid_client_metadata", "client_secret"},
		"a secret of a public client":    {idp.Client{Metadata: idp.Metadata{TokenEndpointAuthMethod: "none"}}, strings.Repeat("a", 43), "invalid_client_metadata", "client_secret"},
		"a name with a line feed":        {idp.Client{Metadata: idp.Metadata{Name: "a\nb"}}, "", "invalid_client_metadata", "client_name"},
		"an unknown method":              {idp.Client{Metadata: idp.Metadata{TokenEndpointAuthMethod: "client_secret_jwt"}}, "", "invalid_client_metadata", "token_endpoint_auth_method"},
		"an unknown application type":    {idp.Client{Metadata: idp.Metadata{ApplicationType: "phone"}}, "", "invalid_client_metadata", "application_type"},
		"an unknown algorithm":           {idp.Client{Metadata: idp.Metadata{IDTokenAlg: "none"}}, "", "invalid_client_metadata", "id_token_signed_response_alg"},
		"an unknown grant type":          {idp.Client{Metadata: idp.Metadata{GrantTypes: idp.List{"password"}}}, "", "invalid_client_metadata", "grant_types"},
		"an unknown response type":       {idp.Client{Metadata: idp.Metadata{ResponseTypes: idp.List{"code", "none"}}}, "", "invalid_client_metadata", "response_types"},
		"code without its grant type":    {idp.Client{Metadata: idp.Metadata{GrantTypes: idp.List{"client_credentials"}, ResponseTypes: idp.List{"code"}}}, "", "invalid_client_metadata", "response_types"},
		"refresh without anything":       {idp.Client{Metadata: idp.Metadata{GrantTypes: idp.List{"refresh_token"}}}, "", "invalid_client_metadata", "grant_types"},
		"client credentials of a public": {idp.Client{Metadata: idp.Metadata{GrantTypes: idp.List{"client_credentials"}, TokenEndpointAuthMethod: "none"}}, "", "invalid_client_metadata", "grant_types"},
		"a scope with a space":           {idp.Client{Metadata: idp.Metadata{Scopes: idp.List{"a b"}}}, "", "invalid_client_metadata", "scope"},
		"a negative default_max_age":     {idp.Client{Metadata: idp.Metadata{DefaultMaxAge: &minus}}, "", "invalid_client_metadata", "default_max_age"},
		"a default acr twice":            {idp.Client{Metadata: idp.Metadata{DefaultACRValues: idp.List{"phr", "phr"}}}, "", "invalid_client_metadata", "default_acr_values"},
		"a default acr of nobody":        {idp.Client{Metadata: idp.Metadata{DefaultACRValues: idp.List{"gold"}}}, "", "invalid_client_metadata", "default_acr_values"},
		"a least acr of nobody":          {idp.Client{Metadata: idp.Metadata{MinimumACR: "gold"}}, "", "invalid_client_metadata", "minimum_acr"},
		"a logo of script":               {idp.Client{Metadata: idp.Metadata{LogoURI: "javascript:alert(1)"}}, "", "invalid_client_metadata", "logo_uri"},
		"a public one without PKCE":      {idp.Client{Metadata: idp.Metadata{TokenEndpointAuthMethod: "none", PKCEOptional: true}}, "", "invalid_client_metadata", "pkce_optional"},
		"no redirect URI":                {idp.Client{Metadata: idp.Metadata{RedirectURIs: idp.List{}}}, "", "invalid_redirect_uri", "redirect_uris"},
		"one redirect URI twice":         {idp.Client{Metadata: idp.Metadata{RedirectURIs: idp.List{"https://a.example/", "https://a.example/"}}}, "", "invalid_redirect_uri", "redirect_uris"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.client.Metadata.RedirectURIs == nil {
				tc.client.Metadata.RedirectURIs = idp.List{"https://shop.example/cb"}
			}
			_, _, err := h.AddClient(t.Context(), tc.client, tc.secret)
			wantError(t, err, idp.Invalid, tc.code, tc.field)
		})
	}
}

func TestRedirectURIsAreExactSafeURLs(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	for uri, good := range map[string][2]bool{ // for web, for native
		"https://shop.example/cb":              {true, true},
		"https://shop.example/cb?tenant=1":     {true, true},
		"https://shop.example:8443/":           {true, true},
		"http://localhost:3000/cb":             {true, true},
		"http://127.0.0.1/cb":                  {true, true},
		"http://[::1]:8080/cb":                 {true, true},
		"com.example.app:/signed-in":           {false, true},
		"http://shop.example/cb":               {false, false},
		"http://localhost.evil.example/":       {false, false},
		"https://shop.example/cb#top":          {false, false},
		"https://shop.example/cb#":             {false, false},
		"https://user:pass@shop.example/":      {false, false},
		"https://*.shop.example/":              {false, false},
		"https:///cb":                          {false, false},
		"https://shop.example/a b":             {false, false},
		"https://shop.example/\n":              {false, false},
		"https://shop.example\\@evil.example":  {false, false},
		"https://shоp.example/cb":              {false, false}, // о is Cyrillic
		"https://xn--shp-1ed.example/cb":       {true, true},
		"https://shop.example/zurück":          {false, false},
		"/cb":                                  {false, false},
		"shop.example/cb":                      {false, false},
		"HTTPS://shop.example/cb":              {false, false},
		"javascript:alert(1)":                  {false, false},
		"data:text/html,x":                     {false, false},
		"myapp:/cb":                            {false, false},
		"https://" + strings.Repeat("a", 2048): {false, false},
		"":                                     {false, false},
	} {
		for i, kind := range []string{"web", "native"} {
			_, _, err := h.AddClient(t.Context(), idp.Client{Metadata: idp.Metadata{ApplicationType: kind, RedirectURIs: idp.List{uri}}}, "")
			if (err == nil) != good[i] {
				t.Errorf("%.60q for %s: got %v, want allowed %v", uri, kind, err, good[i])
			}
			if err != nil {
				wantError(t, err, idp.Invalid, "invalid_redirect_uri", "redirect_uris")
			}
		}
	}
}

func TestSecretsAreRotatedSideBySideOrAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		c, first := h.addClient(t, idp.Client{})
		right := func(secret string) bool {
			t.Helper()
			cached, err := h.Client(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			err = h.AuthenticateClient(from(t, "192.0.2.1", idp.SessionToken{}), cached, secret)
			if err != nil && idp.KindOf(err) != idp.Denied {
				t.Fatal(err)
			}
			return err == nil
		}
		second, err := h.RotateSecret(t.Context(), c.ID, false)
		if err != nil || !right(first) || !right(second) {
			t.Errorf("side by side: %v", err)
		}
		if _, err := h.RotateSecret(t.Context(), c.ID, false); err != nil {
			t.Fatal(err)
		}
		_, err = h.RotateSecret(t.Context(), c.ID, false)
		wantError(t, err, idp.Conflict, "client_secrets_too_many", "")
		last, err := h.RotateSecret(t.Context(), c.ID, true)
		if err != nil || right(first) || right(second) || !right(last) {
			t.Errorf("at once: %v", err)
		}
		if after, _ := h.Client(t.Context(), c.ID); after.SecurityVersion != c.SecurityVersion+1 || len(after.Secrets) != 1 {
			t.Errorf("got security version %d with %d secrets, want %d with 1", after.SecurityVersion, len(after.Secrets), c.SecurityVersion+1)
		}
		if _, err := h.RotateSecret(t.Context(), "nobody", true); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("of no client: got %v, want ErrNotFound", err)
		}
		public, _ := h.addClient(t, idp.Client{Metadata: idp.Metadata{TokenEndpointAuthMethod: "none"}})
		_, err = h.RotateSecret(t.Context(), public.ID, true)
		wantError(t, err, idp.Invalid, "client_public", "client_id")
	})
}

func TestFormerSecretsEndAndTheNewestStays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		c, first := h.addClient(t, idp.Client{})
		right := func(secret string) bool {
			t.Helper()
			cached, err := h.Client(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			return h.AuthenticateClient(from(t, "192.0.2.1", idp.SessionToken{}), cached, secret) == nil
		}
		_, err := h.RevokeSecrets(t.Context(), c.ID)
		wantError(t, err, idp.Conflict, "client_secrets_single", "")
		second, _ := h.RotateSecret(t.Context(), c.ID, false)
		third, err := h.RotateSecret(t.Context(), c.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		n, err := h.RevokeSecrets(t.Context(), c.ID)
		if err != nil || n != 2 || right(first) || right(second) || !right(third) {
			t.Errorf("ended %d and %v, want the two former ones", n, err)
		}
		if after, _ := h.Client(t.Context(), c.ID); after.SecurityVersion != c.SecurityVersion+1 || len(after.Secrets) != 1 {
			t.Errorf("got security version %d with %d secrets, want %d with 1", after.SecurityVersion, len(after.Secrets), c.SecurityVersion+1)
		}
		told := h.eventsOf(t, "client.secrets_revoked")
		if want := (idp.Details{"revoked": float64(2)}); len(told) != 1 || told[0].ClientID != c.ID || !reflect.DeepEqual(told[0].Details, want) {
			t.Errorf("got %+v, want one of %s with %v", told, c.ID, want)
		}
		if _, err := h.RevokeSecrets(t.Context(), "nobody"); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("of no client: got %v, want ErrNotFound", err)
		}
		public, _ := h.addClient(t, idp.Client{Metadata: idp.Metadata{TokenEndpointAuthMethod: "none"}})
		_, err = h.RevokeSecrets(t.Context(), public.ID)
		wantError(t, err, idp.Invalid, "client_public", "client_id")
	})
}

func (h *house) eventsOf(t *testing.T, kind string) (told []idp.Event) {
	t.Helper()
	list, err := h.Events(t.Context(), idp.ID{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Kind == kind {
			told = append(told, e)
		}
	}
	return told
}

func TestRotationsAtATimeAllHappen(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		c, _ := h.addClient(t, idp.Client{})
		other := h.another(t)
		var racers sync.WaitGroup
		for _, p := range []*house{h, other} {
			racers.Go(func() {
				if _, err := p.RotateSecret(t.Context(), c.ID, false); err != nil {
					t.Errorf("rotate: %v", err)
				}
			})
		}
		racers.Wait()
		if list, err := h.Clients(t.Context()); err != nil || len(list[0].Secrets) != 3 {
			t.Errorf("got %d secrets and %v, want 3", len(list[0].Secrets), err)
		}
	})
}

func TestI14_AChosenSecretIsStretchedUnlessItIsLongEnough(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for chosen, stretched := range map[string]bool{
			"correct horse battery": true, strings.Repeat("0123456789abcdef", 4): false,
		} {
			c, shown, err := h.AddClient(t.Context(), idp.Client{Metadata: idp.Metadata{RedirectURIs: idp.List{"https://shop.example/cb"}}}, chosen)
			if err != nil || shown != chosen || c.Secrets.Stretched() != stretched {
				t.Fatalf("%s: got %q, %+v and %v", chosen, shown, c.Secrets, err)
			}
			ctx := from(t, "192.0.2.1", idp.SessionToken{})
			if err := h.AuthenticateClient(ctx, &c, chosen); err != nil {
				t.Errorf("%s: %v", chosen, err)
			}
			wantError(t, h.AuthenticateClient(ctx, &c, chosen+"x"), idp.Denied, "invalid_client", "")
		}
	})
}

func TestI16_WhoLeavesAfterTheFirstOfTwoStretchedSecretsHasFailed(t *testing.T) {
	s := storagetest.Open(t, storagetest.SQLite(t), storage.Options{})
	h := open(t, s, func(c *config.Config) { c.RateLimits.TokenEndpointAuthFailed = "2/m/ip" })
	c, _, err := h.AddClient(t.Context(), idp.Client{Metadata: idp.Metadata{RedirectURIs: idp.List{"https://shop.example/cb"}}}, "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	c.Secrets = append(c.Secrets, c.Secrets[0])
	for range 2 {
		ctx, leave := context.WithCancel(from(t, "192.0.2.1", idp.SessionToken{}))
		visitor := &hurried{Context: ctx, leave: leave}
		visitor.waits.Store(-1000)
		h.store = &arming{s, visitor, h.clock}
		h.reopen(t)
		if err := h.AuthenticateClient(visitor, &c, "a wrong guess"); err == nil || ctx.Err() == nil {
			t.Fatalf("got %v, and the visitor left: %v", err, ctx.Err())
		}
	}
	wantError(t, h.AuthenticateClient(from(t, "192.0.2.1", idp.SessionToken{}), &c, "a wrong guess"), idp.Throttled, "throttled", "")
}

func TestI14_ClientAuthenticationCannotBeTurnedOffByAStranger(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		c, secret := h.addClient(t, idp.Client{})
		chosen, _, err := h.AddClient(t.Context(), idp.Client{Metadata: c.Metadata}, "correct horse battery")
		if err != nil {
			t.Fatal(err)
		}
		stranger, owner := from(t, "203.0.113.66", idp.SessionToken{}), from(t, "192.0.2.1", idp.SessionToken{})
		for i := range 25 {
			err := h.AuthenticateClient(stranger, &c, "wrong")
			if want := map[bool]idp.Kind{true: idp.Denied, false: idp.Throttled}[i < 20]; idp.KindOf(err) != want {
				t.Fatalf("failure %d: got %v, want kind %d", i+1, err, want)
			}
		}
		h.clock.turn(time.Minute)
		for i := range 25 {
			err := h.AuthenticateClient(stranger, &chosen, "wrong password")
			if want := map[bool]idp.Kind{true: idp.Denied, false: idp.Throttled}[i < 20]; idp.KindOf(err) != want {
				t.Fatalf("failure %d of the chosen secret: got %v, want kind %d", i+1, err, want)
			}
		}
		if err := h.AuthenticateClient(owner, &c, secret); err != nil {
			t.Errorf("the owner of the generated secret: %v", err)
		}
		if err := h.AuthenticateClient(owner, &chosen, "correct horse battery"); err != nil {
			t.Errorf("the owner of the chosen secret: %v", err)
		}
	})
}

func TestARightGeneratedSecretSendsNoStatement(t *testing.T) {
	counter := &storagetest.Counter{}
	storagetest.EachOptions(t, storage.Options{OnStatement: counter.Note}, func(t *testing.T, s *storage.Store) {
		h := open(t, s)
		c, secret := h.addClient(t, idp.Client{})
		counter.Take()
		for range 50 {
			cached, err := h.Client(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.AuthenticateClient(from(t, "192.0.2.1", idp.SessionToken{}), cached, secret); err != nil {
				t.Fatal(err)
			}
		}
		if sent := counter.Take(); len(sent) != 0 {
			t.Errorf("got %q, want none", sent)
		}
	})
}

func TestNobodyAuthenticatesAsAClientThatCannot(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), func(c *config.Config) { c.RateLimits.Off = true })
	good, secret := h.addClient(t, idp.Client{})
	disabled, expired, public, empty := good, good, good, good
	disabled.DisabledAt = &noon
	expired.Secrets = idp.Secrets{{Hash: good.Secrets[0].Hash, ExpiresAt: &noon}}
	public.Metadata.TokenEndpointAuthMethod = "none"
	empty.Secrets = idp.Secrets{{}}
	for name, c := range map[string]*idp.Client{"unknown": nil, "disabled": &disabled, "expired": &expired, "public": &public} {
		if err := h.AuthenticateClient(t.Context(), c, secret); idp.CodeOf(err) != "invalid_client" {
			t.Errorf("%s: got %v, want invalid_client", name, err)
		}
	}
	for name, shown := range map[string]string{"nothing": "", "the hash": good.Secrets[0].Hash, "another": secret + "x"} {
		if err := h.AuthenticateClient(t.Context(), &good, shown); idp.CodeOf(err) != "invalid_client" {
			t.Errorf("%s shown: got %v, want invalid_client", name, err)
		}
	}
	if err := h.AuthenticateClient(t.Context(), &empty, ""); err == nil {
		t.Error("an empty hash takes an empty secret")
	}
	if err := h.AuthenticateClient(t.Context(), &good, secret); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

func TestADeletedClientIsGoneAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		c, _ := h.addClient(t, idp.Client{})
		if err := h.DeleteClient(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Client(t.Context(), c.ID); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if err := h.DeleteClient(t.Context(), c.ID); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("again: got %v, want ErrNotFound", err)
		}
	})
}

// away is a store whose versions cannot be read while it is set.
type away struct {
	idp.Store
	gone  atomic.Bool
	polls atomic.Int64
}

var errAway = errors.New("the database is away")

func (a *away) Versions(ctx context.Context) (map[string]int64, error) {
	a.polls.Add(1)
	if a.gone.Load() {
		return nil, errAway
	}
	return a.Store.Versions(ctx)
}

func TestI13_AClientDoesNotInheritTheTokensOfAnEarlierOneOfItsID(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		versions := map[int64]bool{}
		for range 3 {
			h.addClientNamed(t, "rp")
			c, err := h.Client(t.Context(), "rp")
			if err != nil {
				t.Fatal(err)
			}
			versions[c.SecurityVersion] = true
			if err := h.DeleteClient(t.Context(), "rp"); err != nil {
				t.Fatal(err)
			}
			h.clock.turn(time.Second)
		}
		if len(versions) != 3 {
			t.Errorf("three clients had the security versions %v", versions)
		}
	})
}

func TestI13_NoNodeIssuesBlind(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		store := &away{Store: s}
		h := open(t, store)
		c, _ := h.addClient(t, idp.Client{})
		store.gone.Store(true)
		h.clock.turn(5*time.Second - 1)
		if _, err := h.Client(t.Context(), c.ID); err != nil {
			t.Errorf("confirmed less than 5 s ago: %v", err)
		}
		h.clock.turn(1)
		polls := store.polls.Load()
		for range 10 {
			_, err := h.Client(t.Context(), c.ID)
			wantError(t, err, idp.Unavailable, "unavailable", "")
		}
		if n := store.polls.Load() - polls; n != 1 {
			t.Errorf("ten requests polled %d times within a second, want once", n)
		}
		_, err := h.SigningKey("ES256")
		wantError(t, err, idp.Unavailable, "unavailable", "")
		_, err = h.PublicKeys()
		wantError(t, err, idp.Unavailable, "unavailable", "")
		wantError(t, h.Ready(t.Context()), idp.Unavailable, "unavailable", "")
		store.gone.Store(false)
		h.clock.turn(time.Second)
		if _, err := h.Client(t.Context(), c.ID); err != nil {
			t.Errorf("when the database is back: %v", err)
		}
		if err := h.Ready(t.Context()); err != nil {
			t.Errorf("ready: %v", err)
		}
	})
}

func TestI13_AnotherNodeLearnsOfAChangeWithItsNextPoll(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		other := h.another(t)
		c, _ := h.addClient(t, idp.Client{})
		if _, err := other.Client(t.Context(), c.ID); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("before the poll: got %v, want ErrNotFound", err)
		}
		if err := idp.Poll(other.Provider, t.Context()); err != nil {
			t.Fatal(err)
		}
		before, err := other.Client(t.Context(), c.ID)
		if err != nil {
			t.Fatalf("after the poll: %v", err)
		}
		if err := idp.Poll(other.Provider, t.Context()); err != nil {
			t.Fatal(err)
		}
		if again, _ := other.Client(t.Context(), c.ID); again != before {
			t.Error("a poll without a change read everything again")
		}
	})
}
