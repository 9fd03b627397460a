package idp_test

import (
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
	"postern/storage"
	"postern/storage/storagetest"
)

// small opens a provider on SQLite, for what asks the database for little or nothing.
func small(t testing.TB, change ...func(*config.Config)) *house {
	t.Helper()
	return open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), change...)
}

// browser is the context of a request from a browser with that cookie; 0 has none.
func browser(t testing.TB, cookie byte) context.Context {
	t.Helper()
	v := &idp.Visitor{Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "Browser/1.0"}
	if cookie != 0 {
		v.Browser = [32]byte{cookie, 1, 2, 3}
	}
	return idp.WithVisitor(t.Context(), v)
}

var rpForm = url.Values{
	"client_id": {"rp"}, "redirect_uri": {"https://rp.example/cb"}, "response_type": {"code"}, "scope": {"openid email"},
	"state": {"0123456789"}, "nonce": {"n"}, "max_age": {"60"}, "claims": {`{"userinfo":{"email":null}}`},
}

func (h *house) begin(t testing.TB, form url.Values) *idp.Interaction {
	t.Helper()
	r, err := idp.ParseRequest(form)
	if err != nil {
		t.Fatal(err)
	}
	return h.Begin(form, r)
}

func (h *house) seal(t testing.TB, ctx context.Context, in *idp.Interaction) string {
	t.Helper()
	tx, err := h.Seal(ctx, in)
	if err != nil {
		t.Fatalf("seal: %v", err)
	}
	return tx
}

func (h *house) openTx(t testing.TB, ctx context.Context, tx string) *idp.Interaction {
	t.Helper()
	in, err := h.Open(ctx, tx)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return in
}

func TestI5_AnInteractionOpensAsItWasSealedAndKeepsItsTimes(t *testing.T) {
	h := small(t)
	h.clock.turn(700 * time.Millisecond)
	ctx := browser(t, 1)
	in := h.begin(t, rpForm)
	in.Request.Subject = idp.RandomID()
	if !in.Started.Equal(noon) || !in.Ends.Equal(noon.Add(h.cfg.Login.FlowTimeout)) {
		t.Errorf("started %v, ends %v, want noon and %v later", in.Started, in.Ends, h.cfg.Login.FlowTimeout)
	}
	for name, deed := range map[string]func(){
		"nothing done": func() {},
		"login shown":  func() { in.Show(idp.StepLogIn, nil, idp.Shown{}) },
		"signed in":    func() { in.SignedIn(&idp.Session{UserID: alice, Authentication: loginOfAlice}) },
		"consent shown": func() {
			in.Show(idp.StepConsent, visitOf(alice, aliceSession, loginOfAlice, 0, nil), idp.Shown{Scopes: []string{"openid"}})
		},
		"chosen":    func() { in.Chosen = aliceSession },
		"consented": func() { in.Consented = 1 << 40 },
		"denied":    func() { in.Denied = true },
	} {
		deed()
		h.clock.turn(time.Minute)
		got := h.openTx(t, ctx, h.seal(t, ctx, in))
		if !reflect.DeepEqual(got, in) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, in)
		}
		in = got
	}
}

func TestI19_ASignInOfOurOwnKeepsWhereItLeads(t *testing.T) {
	h := small(t)
	ctx := browser(t, 1)
	for to, want := range map[string]string{
		"/account": "/account", "/account/password?a=b": "/account/password?a=b",
		"https://evil.example": "/", "//evil.example": "/", `/\evil.example`: "/", "/a\nb": "/", "": "/", "account": "/",
		"/" + strings.Repeat("a", 4096): "/",
	} {
		in := h.BeginOwn(to)
		if got := h.openTx(t, ctx, h.seal(t, ctx, in)); !reflect.DeepEqual(got, in) || got.Request.Return != want {
			t.Errorf("%q: got %+v, want %+v that leads to %s", to, got, in, want)
		}
	}
	// A relying party cannot name a page of ours to end on.
	form := url.Values{"client_id": {"rp"}, "return": {"/account"}}
	if got := h.openTx(t, ctx, h.seal(t, ctx, h.begin(t, form))); got.Request.Return != "" {
		t.Errorf("a relying party's request leads to %s", got.Request.Return)
	}
}

func TestI6_AnInteractionIsBoundToItsBrowser(t *testing.T) {
	h := small(t)
	in := h.begin(t, rpForm)
	in.Show(idp.StepLogIn, nil, idp.Shown{})
	tx := h.seal(t, browser(t, 1), in)
	for name, ctx := range map[string]context.Context{"another browser": browser(t, 2), "a browser without the cookie": browser(t, 0)} {
		got, err := h.Open(ctx, tx)
		if got != nil {
			t.Errorf("%s got %+v", name, got)
		}
		wantError(t, err, idp.Stale, "interaction_foreign", "")
		h.clock.turn(time.Hour) // foreign wins over expired
		_, err = h.Open(ctx, tx)
		wantError(t, err, idp.Stale, "interaction_foreign", "")
		h.clock.turn(-time.Hour)
	}
}

func TestI25_AnArrivalWithoutACookieOpensInAnyBrowserAndIsBoundNext(t *testing.T) {
	h := small(t)
	in := h.begin(t, rpForm)
	arrival := h.seal(t, browser(t, 0), in) // of a cross-site POST
	for _, cookie := range []byte{0, 1, 2} {
		if got := h.openTx(t, browser(t, cookie), arrival); !reflect.DeepEqual(got, in) {
			t.Errorf("got %+v, want %+v", got, in)
		}
	}
	bound := h.seal(t, browser(t, 1), h.openTx(t, browser(t, 1), arrival))
	_, err := h.Open(browser(t, 2), bound)
	wantError(t, err, idp.Stale, "interaction_foreign", "")
}

func TestI6_NothingThatWasShownOrDoneIsSealedForNoBrowser(t *testing.T) {
	h := small(t)
	for name, deed := range map[string]func(*idp.Interaction){
		"shown":     func(in *idp.Interaction) { in.Show(idp.StepLogIn, nil, idp.Shown{}) },
		"signed in": func(in *idp.Interaction) { in.SignedIn(&idp.Session{UserID: alice, Authentication: loginOfAlice}) },
		"chosen":    func(in *idp.Interaction) { in.Chosen = aliceSession },
		"consented": func(in *idp.Interaction) { in.Consented = 1 },
		"denied":    func(in *idp.Interaction) { in.Denied = true },
	} {
		t.Run(name, func(t *testing.T) {
			in := h.begin(t, rpForm)
			deed(in)
			_, err := h.Seal(browser(t, 0), in)
			wantError(t, err, idp.Stale, "interaction_foreign", "")
		})
	}
}

func TestAnInteractionEndsAndSaysWhoseItWas(t *testing.T) {
	h := small(t)
	ctx := browser(t, 1)
	in := h.begin(t, rpForm)
	tx := h.seal(t, ctx, in)
	h.clock.turn(h.cfg.Login.FlowTimeout - time.Nanosecond)
	h.openTx(t, ctx, tx)
	h.clock.turn(time.Nanosecond)
	got, err := h.Open(ctx, tx)
	wantError(t, err, idp.Stale, "interaction_expired", "")
	if !reflect.DeepEqual(got, in) {
		t.Errorf("got %+v, want %+v, so that the relying party can be told", got, in)
	}
}

func TestI6_ADamagedTxIsUnreadable(t *testing.T) {
	h := small(t)
	ctx := browser(t, 1)
	tx := h.seal(t, ctx, h.begin(t, rpForm))
	raw, err := base64.RawURLEncoding.DecodeString(tx)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"empty": "", "cut short": tx[:len(tx)-1], "longer": tx + "A", "no base64url": tx[:10] + "+" + tx[11:],
		"another purpose": base64.RawURLEncoding.EncodeToString(h.ring.Seal(secret.ForClientToken, []byte{1}, nil)),
		"another version": base64.RawURLEncoding.EncodeToString(h.ring.Seal(secret.ForInteraction, []byte{2, 0, 0}, nil)),
		"huge":            strings.Repeat("A", 1<<20),
	}
	for i := range raw {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 0x10
		texts["changed at "+string(rune('0'+i))] = base64.RawURLEncoding.EncodeToString(changed)
	}
	for name, text := range texts {
		got, err := h.Open(ctx, text)
		if got != nil || idp.KindOf(err) != idp.Stale || idp.CodeOf(err) != "interaction_unreadable" {
			t.Errorf("%s: got %+v, %v, want interaction_unreadable", name, got, err)
		}
	}
}

func TestI10_AnInteractionSurvivesARotationOfTheRootKey(t *testing.T) {
	h := small(t)
	ctx := browser(t, 1)
	in := h.begin(t, rpForm)
	tx := h.seal(t, ctx, in)
	h.ring = ringOf(t, 2, 1)
	h.reopen(t)
	if got := h.openTx(t, ctx, tx); !reflect.DeepEqual(got, in) {
		t.Errorf("got %+v, want %+v", got, in)
	}
}

func TestI25_ARowThatIsGoneOrUnreachableIsNoRequest(t *testing.T) {
	h := small(t)
	ctx := browser(t, 1)
	in := h.begin(t, rpForm)
	in.Pushed = idp.NewID(noon)
	tx := h.seal(t, ctx, in)
	_, err := h.Open(ctx, tx)
	wantError(t, err, idp.Stale, "interaction_unreadable", "")
	h.store = &pushless{h.store}
	h.reopen(t)
	_, err = h.Open(ctx, tx)
	wantError(t, err, idp.Unavailable, "unavailable", "")
}

// pushless cannot serve pushed requests.
type pushless struct{ idp.Store }

func (s *pushless) Pushed(context.Context, idp.ID) (idp.Pushed, error) {
	return idp.Pushed{}, errors.New("no connection")
}

// noise is text that deflate finds nothing in.
func noise(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[random.IntN(len(letters))]
	}
	return string(b)
}

func (h *house) addClientNamed(t testing.TB, id string) *idp.Client {
	t.Helper()
	c, _, err := h.AddClient(t.Context(), idp.Client{ID: id, Metadata: idp.Metadata{
		Name: "Relying Party", RedirectURIs: idp.List{"https://rp.example/cb"}, TokenEndpointAuthMethod: idp.AuthBasic,
		GrantTypes: idp.List{"authorization_code", "refresh_token"}, ResponseTypes: idp.List{"code"},
		Scopes: idp.List{"openid", "email", "offline_access"}, ApplicationType: "web",
	}}, "")
	if err != nil {
		t.Fatalf("add client: %v", err)
	}
	return &c
}

func TestI25_ALongRequestBecomesARowAndItsAddressStaysShort(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.addClientNamed(t, "rp")
		ctx := browser(t, 1)
		for _, size := range []int{0, 1000, 5000, 6200, 8000, 30000} {
			form := url.Values{"state": {noise(size)}}
			for name, values := range rpForm {
				if name != "state" {
					form[name] = values
				}
			}
			in := h.begin(t, form)
			tx := h.seal(t, ctx, in)
			if address := h.cfg.Issuer + "/oauth2/authorize?tx=" + tx; len(address) > 6<<10 {
				t.Errorf("a state of %d bytes makes an address of %d", size, len(address))
			}
			if asRow := !in.Pushed.IsZero(); asRow != (size > 6000) {
				t.Errorf("a state of %d bytes became a row: %v", size, asRow)
			}
			got := h.openTx(t, ctx, tx)
			if !reflect.DeepEqual(got, in) {
				t.Errorf("a state of %d bytes: got %+v, want %+v", size, got, in)
			}
			if again := h.openTx(t, ctx, h.seal(t, ctx, got)); again.Pushed != in.Pushed {
				t.Error("sealed again, it became another row")
			}
		}
	})
}

func TestI25_ALongRequestOfAnUnknownClientOrBeyondAllBoundsIsRefused(t *testing.T) {
	h := small(t)
	h.addClientNamed(t, "rp")
	_, err := h.Seal(browser(t, 1), h.begin(t, url.Values{"client_id": {"nobody"}, "state": {noise(8000)}}))
	if idp.KindOf(err) != idp.Missing {
		t.Errorf("an unknown client: got %v, want Missing", err)
	}
	for name, form := range map[string]url.Values{
		"no client":   {"state": {noise(8000)}},
		"over 64 kiB": {"client_id": {"rp"}, "state": {noise(70000)}},
		"all zeros":   {"client_id": {"rp"}, "state": {strings.Repeat("0", 70000)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Seal(browser(t, 1), h.begin(t, form))
			wantError(t, err, idp.Invalid, "request_too_large", "")
		})
	}
}

func TestI25_LongRequestsAreLimitedByAddress(t *testing.T) {
	h := small(t)
	h.addClientNamed(t, "rp")
	form := url.Values{"client_id": {"rp"}, "state": {noise(8000)}}
	for range 20 {
		h.seal(t, browser(t, 1), h.begin(t, form))
	}
	_, err := h.Seal(browser(t, 1), h.begin(t, form))
	if idp.KindOf(err) != idp.Throttled {
		t.Errorf("got %v, want Throttled", err)
	}
	h.seal(t, browser(t, 1), h.begin(t, rpForm)) // a short one needs no row
}

// I-25 keeps our values out of the compressed part: whatever they are, the length is the same.
func TestI25_TheLengthOfATxTellsNothingOfWhatWeAdd(t *testing.T) {
	h := small(t)
	lengths := make(map[int]bool)
	for _, user := range []idp.ID{{1}, {1, 1, 1, 1, 1, 1, 1, 1}, idp.RandomID(), alice, bob} {
		form := url.Values{"client_id": {"rp"}, "state": {string(user[:])}}
		in := h.begin(t, form)
		in.Form.Set("state", "fixed")
		in.Show(idp.StepConsent, visitOf(user, user, user, 0, nil), idp.Shown{})
		lengths[len(h.seal(t, browser(t, 1), in))] = true
	}
	if len(lengths) != 1 {
		t.Errorf("got the lengths %v, want one", lengths)
	}
}

func BenchmarkTx(b *testing.B) {
	h := small(b)
	ctx := browser(b, 1)
	in := h.begin(b, rpForm)
	tx := h.seal(b, ctx, in)
	b.Run("Seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.seal(b, ctx, in)
		}
	})
	b.Run("Open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.openTx(b, ctx, tx)
		}
	})
	b.ReportMetric(float64(len(tx)), "bytes")
}
