package idp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// A family is a grant of alice's to the client rp, in her session.
type family struct {
	*house
	grant   idp.Grant
	session idp.SignedIn
}

// newFamily signs alice in and gives rp a grant whose code was redeemed: its head is generation 1.
func newFamily(t testing.TB, h *house) *family {
	t.Helper()
	f := &family{house: h}
	h.addUser(t, "alice")
	h.addClientNamed(t, "rp")
	f.session = h.logIn(t, "alice", idp.SessionToken{})
	f.grant = f.addGrant(t, &idp.Interaction{})
	v := f.visit(t)
	h.StartRefresh(v)
	done, err := h.RedeemCode(t.Context(), v.Grant)
	if err != nil || !done {
		t.Fatalf("redeem the code: %v, %v", done, err)
	}
	f.grant = f.visit(t).Grant
	return f
}

// addGrant adds a grant of the family's user, client and session as the completion of in.
func (f *family) addGrant(t testing.TB, in *idp.Interaction) idp.Grant {
	t.Helper()
	g := f.newGrant()
	if err := f.AddGrant(t.Context(), g, in); err != nil {
		t.Fatalf("add a grant: %v", err)
	}
	return g
}

func (f *family) newGrant() idp.Grant {
	now := f.Now()
	code := sha256.Sum256([]byte("code"))
	return idp.Grant{
		ID: idp.NewID(now), ClientID: "rp", UserID: f.session.User.ID, SessionID: f.session.Session.ID, SessionBound: true,
		Scopes: idp.List{"openid", "email"}, Epoch: f.session.User.Epoch, CodeHash: code[:],
		CodeExpiresAt: now.Add(f.cfg.Tokens.CodeTTL), CreatedAt: now,
	}
}

func (f *family) visit(t testing.TB) *idp.GrantVisit {
	t.Helper()
	v, err := f.Grant(t.Context(), idp.Token{Kind: idp.RefreshToken, Grant: f.grant.ID}, "", false)
	if err != nil {
		t.Fatalf("find the grant: %v", err)
	}
	return v
}

// show redeems a generation and returns what became of it.
func (f *family) show(t testing.TB, shown int64, sender uint64) (idp.Verdict, int64, error) {
	t.Helper()
	g, verdict, err := f.Refresh(t.Context(), f.visit(t), shown, sender)
	return verdict, g.RefreshGen, err
}

// want shows a generation and expects the verdict and the new head.
func (f *family) want(t testing.TB, shown int64, sender uint64, verdict idp.Verdict, head int64) {
	t.Helper()
	got, gen, err := f.show(t, shown, sender)
	if err != nil || got != verdict || gen != head {
		t.Fatalf("%d by %d: got verdict %d, head %d, %v, want %d, %d", shown, sender, got, gen, err, verdict, head)
	}
}

// wantRefused shows a generation and expects invalid_grant, and the family revoked or not.
func (f *family) wantRefused(t testing.TB, shown int64, sender uint64, revoked bool) {
	t.Helper()
	_, _, err := f.show(t, shown, sender)
	wantError(t, err, idp.Denied, "invalid_grant", "")
	if got := f.visit(t).Grant.RevokedAt != nil; got != revoked {
		t.Fatalf("revoked: got %v, want %v", got, revoked)
	}
}

// wantEvents compares the kinds of all events of grants, sorted: two of one millisecond have no
// order.
func (f *family) wantEvents(t testing.TB, want ...string) {
	t.Helper()
	list, err := f.Events(t.Context(), idp.ID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		if strings.HasPrefix(e.Kind, "grant.") {
			got = append(got, e.Kind)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

const (
	honest = 1
	other  = 2
)

func TestI3_JudgeRefresh(t *testing.T) {
	at := func(d time.Duration) int64 { return noon.Add(-d).UnixMilli() }
	g := &idp.Grant{RefreshGen: 9, RefreshParent: 7, RefreshRecent: idp.Redeemed{
		{Gen: 5, At: at(11 * time.Second), Sender: honest}, {Gen: 6, At: at(9 * time.Second), Sender: honest}, {Gen: 7, At: at(time.Second), Sender: honest},
	}}
	rotated := noon.Add(-time.Hour)
	g.RefreshedAt = &rotated
	for name, c := range map[string]struct {
		shown   int64
		sender  uint64
		window  time.Duration
		later   time.Duration
		verdict idp.Verdict
	}{
		"the head":                                     {9, honest, 10 * time.Second, 0, idp.Rotate},
		"the head, by anybody":                         {9, other, 10 * time.Second, 0, idp.Rotate},
		"the parent in the window":                     {7, honest, 10 * time.Second, 0, idp.Repeat},
		"the parent at the window's end":               {7, honest, 10 * time.Second, 9 * time.Second, idp.Repeat},
		"the parent after the window":                  {7, honest, 10 * time.Second, 9*time.Second + time.Millisecond, idp.Skip},
		"the parent by a clock that is behind":         {7, honest, 10 * time.Second, -time.Minute, idp.Repeat},
		"the parent by another sender, at once":        {7, other, 10 * time.Second, 0, idp.Skip},
		"the parent without a window":                  {7, honest, 0, 0, idp.Skip},
		"the parent at the end of recovery":            {7, honest, 10 * time.Second, 23 * time.Hour, idp.Skip},
		"the parent after recovery":                    {7, honest, 10 * time.Second, 23*time.Hour + time.Nanosecond, idp.Reuse},
		"the parent after recovery, by another":        {7, other, 10 * time.Second, 23*time.Hour + time.Nanosecond, idp.Reuse},
		"the grandparent in its window":                {6, honest, 10 * time.Second, 0, idp.Repeat},
		"the grandparent by another sender":            {6, other, 10 * time.Second, 0, idp.Reuse},
		"one whose window is over":                     {5, honest, 10 * time.Second, 0, idp.Reuse},
		"one that was skipped":                         {8, honest, 10 * time.Second, 0, idp.Reuse},
		"an old one":                                   {1, honest, 10 * time.Second, 0, idp.Reuse},
		"none":                                         {0, honest, 10 * time.Second, 0, idp.Reuse},
		"a negative one":                               {-1, honest, 10 * time.Second, 0, idp.Reuse},
		"one that is newer than the head":              {10, honest, 10 * time.Second, 0, idp.Unknown},
		"one that is newer than the head, by somebody": {1 << 31, other, 0, 0, idp.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			rules := idp.RefreshRules{Window: c.window, Recovery: 24 * time.Hour}
			if got := idp.JudgeRefresh(g, c.shown, c.sender, rules, noon.Add(c.later)); got != c.verdict {
				t.Errorf("got %d, want %d", got, c.verdict)
			}
		})
	}
	if got := idp.JudgeRefresh(&idp.Grant{}, 0, honest, idp.RefreshRules{Recovery: time.Hour}, noon); got != idp.Reuse {
		t.Errorf("a grant that never had a refresh token: got %d, want Reuse", got)
	}
}

func TestI3_ARotationIsRepeatedForItsSenderWithTheSameBytes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		h.clock.turn(time.Hour)
		g, verdict, err := h.Refresh(t.Context(), f.visit(t), 1, honest)
		if err != nil || verdict != idp.Rotate {
			t.Fatalf("rotate: %d, %v", verdict, err)
		}
		first := h.Tokens().MintSuccessor(g.Head())
		h.clock.turn(9 * time.Second)
		node := h.another(t) // nothing is in memory
		again, verdict, err := node.Refresh(t.Context(), f.visit(t), 1, honest)
		if err != nil || verdict != idp.Repeat {
			t.Fatalf("repeat: %d, %v", verdict, err)
		}
		if second := node.Tokens().MintSuccessor(again.Head()); second != first {
			t.Errorf("got %s, want the same bytes as %s", second, first)
		}
		if !reflect.DeepEqual(again.Head(), g.Head()) {
			t.Errorf("got %+v, want %+v", again.Head(), g.Head())
		}
	})
}

func TestI3_AfterTheWindowTheHeadIsSkippedAndItsAccessTokensAreDenied(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		f.want(t, 1, honest, idp.Rotate, 2)
		access := idp.Token{Kind: idp.AccessToken, Grant: f.grant.ID, Expiry: h.Now().Add(time.Hour), Generation: 2}
		text := h.Tokens().Mint(access)
		h.clock.turn(11 * time.Second)
		f.want(t, 1, honest, idp.Skip, 3)
		f.want(t, 1, honest, idp.Repeat, 3) // the same answer got lost again
		denied := func(generation int64) bool {
			access.Generation = generation
			v, err := h.Grant(t.Context(), access, text, false)
			if err != nil {
				t.Fatal(err)
			}
			return v.Denied
		}
		if !denied(2) || denied(3) || denied(1) {
			t.Errorf("denied: %v, %v, %v, want generation 2 alone", denied(1), denied(2), denied(3))
		}
		f.want(t, 3, honest, idp.Rotate, 4)
		f.wantEvents(t, "grant.refresh_skipped")
		f.wantRefused(t, 2, honest, true)
	})
}

func TestI3_SkippingEndsADayAfterTheRotationHoweverOften(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), longRefresh)
	f := newFamily(t, h)
	f.want(t, 1, honest, idp.Rotate, 2)
	for i := range int64(4) {
		h.clock.turn(6 * time.Hour)
		f.want(t, 1, honest, idp.Skip, 3+i)
	}
	h.clock.turn(11 * time.Second)
	f.wantRefused(t, 1, honest, true)
}

// longRefresh lets tokens live longer than recovery, and the session longer than both.
func longRefresh(cfg *config.Config) {
	cfg.Tokens.RefreshTTL = 10 * 24 * time.Hour
	cfg.Sessions.Lifetime, cfg.Sessions.BrowserLifetime, cfg.Sessions.IdleTimeout = 30*24*time.Hour, 30*24*time.Hour, 30*24*time.Hour
}

func TestI4_AnotherSenderIsSkippedToAtOnceAndTheOtherHolderTripsReuse(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		f.want(t, 1, honest, idp.Rotate, 2)
		f.want(t, 1, other, idp.Skip, 3) // a thief, inside the window
		f.wantRefused(t, 2, honest, true)
		f.wantRefused(t, 3, other, true)
		f.wantEvents(t, "grant.refresh_reused", "grant.refresh_skipped")
		if got := f.visit(t).Grant.RevokedWhy; got != idp.WhyRefreshReuse {
			t.Errorf("revoked because of %q, want %q", got, idp.WhyRefreshReuse)
		}
	})
}

func TestI3_ReuseEndsTheFamilyThoughItsSenderLeft(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		f.want(t, 1, honest, idp.Rotate, 2)
		f.want(t, 2, honest, idp.Rotate, 3)
		h.clock.turn(11 * time.Second)
		v := f.visit(t)
		gone, leave := context.WithCancel(t.Context())
		leave()
		_, _, err := f.Refresh(gone, v, 1, other)
		wantError(t, err, idp.Denied, "invalid_grant", "")
		if f.visit(t).Grant.RevokedAt == nil {
			t.Error("the family lives: closing the connection hid the reuse")
		}
		f.wantEvents(t, "grant.refresh_reused")
	})
}

func TestI3_ADenyRowLivesAsLongAsTheTokensOfItsGeneration(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		f.want(t, 1, honest, idp.Rotate, 2)
		f.want(t, 1, other, idp.Skip, 3)
		denied := func() bool {
			t.Helper()
			if _, err := h.store.Sweep(t.Context(), h.Now()); err != nil {
				t.Fatal(err)
			}
			yes, err := h.DeniedToken(t.Context(), idp.GenerationKey(f.grant.ID, 2))
			if err != nil {
				t.Fatal(err)
			}
			return yes
		}
		h.clock.turn(h.cfg.Tokens.AccessTTL - time.Second)
		if !denied() {
			t.Error("an access token of the skipped generation lives again")
		}
		h.clock.turn(2 * time.Hour)
		if denied() {
			t.Error("the row is still there when no token of its generation is")
		}
	})
}

func TestI3_ATokenNewerThanTheRowIsRefusedAndRevokesNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) { // the database was restored
		f := newFamily(t, h)
		f.wantRefused(t, 5, honest, false)
		f.wantEvents(t, "grant.refresh_unknown")
		f.want(t, 1, honest, idp.Rotate, 2)
	})
}

func TestI3_SixteenAtATimeGetOneFamilyAndOneSuccessor(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, storagetest.Open(t, url, storage.Options{}))
		f := newFamily(t, h)
		second := *h
		second.store = storagetest.Open(t, url, storage.Options{})
		nodes := []*house{h, second.another(t)}
		var racers sync.WaitGroup
		tokens := make([]string, 16)
		verdicts := make([]idp.Verdict, 16)
		for i := range tokens {
			node := nodes[i%2]
			racers.Go(func() {
				v, err := node.Grant(t.Context(), idp.Token{Kind: idp.RefreshToken, Grant: f.grant.ID}, "", false)
				if err != nil {
					t.Error(err)
					return
				}
				g, verdict, err := node.Refresh(t.Context(), v, 1, honest)
				if err != nil {
					t.Error(err)
					return
				}
				tokens[i], verdicts[i] = node.Tokens().MintSuccessor(g.Head()), verdict
			})
		}
		racers.Wait()
		rotated := 0
		for i, token := range tokens {
			if token != tokens[0] {
				t.Errorf("racer %d got another successor", i)
			}
			if verdicts[i] == idp.Rotate {
				rotated++
			}
		}
		// A loser's verdict is that of its second look.
		if rotated != 1 {
			t.Errorf("%d rotated, want one", rotated)
		}
		v := f.visit(t)
		if v.Grant.RefreshGen != 2 || v.Grant.RevokedAt != nil || len(v.Grant.RefreshRecent) != 1 {
			t.Errorf("got %+v, want generation 2, alive, one redemption", v.Grant)
		}
	})
}

func TestI4_SixteenSendersAtATimeLeaveOneBranch(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		var racers sync.WaitGroup
		gens := make([]int64, 16)
		for i := range gens {
			racers.Go(func() {
				g, _, err := h.Refresh(t.Context(), f.visit(t), 1, uint64(i+1))
				if err != nil && idp.KindOf(err) != idp.Unavailable {
					t.Error(err)
				}
				gens[i] = g.RefreshGen
			})
		}
		racers.Wait()
		seen := make(map[int64]bool)
		for i, gen := range gens {
			if gen != 0 && seen[gen] {
				t.Errorf("racer %d got generation %d as another sender did", i, gen)
			}
			seen[gen] = true
		}
		if v := f.visit(t); v.Grant.RevokedAt != nil || v.Grant.RefreshParent != 1 {
			t.Errorf("got %+v, want it alive with the parent 1", v.Grant)
		}
	})
}

// A racing store lets another request be first, once, between a look at the row and its UPDATE.
type racing struct {
	idp.Store
	first func()
}

func (r *racing) RotateRefresh(ctx context.Context, g idp.Grant, shown int64) (bool, error) {
	if first := r.first; first != nil {
		r.first = nil
		first()
	}
	return r.Store.RotateRefresh(ctx, g, shown)
}

func TestI3_ALostRaceIsJudgedOnceMore(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		loser := *h
		store := &racing{Store: h.store}
		loser.store = store
		loser.reopen(t)
		store.first = func() { f.want(t, 1, honest, idp.Rotate, 2) }
		g, verdict, err := loser.Refresh(t.Context(), f.visit(t), 1, honest)
		if err != nil || verdict != idp.Repeat || g.RefreshGen != 2 {
			t.Errorf("the same sender: got %d, %d, %v, want the winner's answer again", verdict, g.RefreshGen, err)
		}
		store.first = func() { f.want(t, 2, honest, idp.Rotate, 3) }
		g, verdict, err = loser.Refresh(t.Context(), f.visit(t), 2, other)
		if err != nil || verdict != idp.Skip || g.RefreshGen != 4 {
			t.Errorf("another sender: got %d, %d, %v, want a skip to 4", verdict, g.RefreshGen, err)
		}
		store.first = func() {
			if err := h.RevokeGrant(t.Context(), &f.grant, "test"); err != nil {
				t.Error(err)
			}
		}
		_, _, err = loser.Refresh(t.Context(), f.visit(t), 4, honest)
		wantError(t, err, idp.Denied, "invalid_grant", "")
	})
}

// A failing store does not know whether its COMMIT took effect.
type failing struct{ idp.Store }

func (f *failing) RotateRefresh(ctx context.Context, g idp.Grant, shown int64) (bool, error) {
	if _, err := f.Store.RotateRefresh(ctx, g, shown); err != nil {
		return false, err
	}
	return false, idp.ErrUncertain
}

func (f *failing) RedeemCode(ctx context.Context, g idp.Grant) (bool, error) {
	return false, idp.ErrUncertain
}

func TestI9_AnUncertainCommitIsNoRevocation(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		broken := *h
		broken.store = &failing{h.store}
		broken.reopen(t)
		_, _, err := broken.Refresh(t.Context(), f.visit(t), 1, honest)
		wantError(t, err, idp.Unavailable, "unavailable", "")
		if !errors.Is(err, idp.ErrUncertain) {
			t.Errorf("got %v, want ErrUncertain as the cause", err)
		}
		f.want(t, 1, honest, idp.Repeat, 2) // it did take effect
		g := f.addGrant(t, &idp.Interaction{})
		if _, err = broken.RedeemCode(t.Context(), g); !errors.Is(err, idp.ErrUncertain) {
			t.Errorf("got %v, want ErrUncertain as the cause", err)
		}
		if done, err := h.RedeemCode(t.Context(), g); err != nil || !done {
			t.Errorf("after an uncertain redemption: %v, %v, want the code good", done, err)
		}
	})
}

func TestI9_ARequestKnowsItsOwnRedemptionAgain(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		g := f.addGrant(t, &idp.Interaction{})
		now := h.Now()
		g.CodeUsedAt, g.CodeUsedBy = &now, []byte("request one")
		for range 2 { // the second after an uncertain COMMIT
			if done, err := h.store.RedeemCode(t.Context(), g); err != nil || !done {
				t.Fatalf("got %v, %v, want it done", done, err)
			}
		}
		g.CodeUsedBy = []byte("request two")
		if done, err := h.store.RedeemCode(t.Context(), g); err != nil || done {
			t.Errorf("another request: %v, %v, want it too late", done, err)
		}
	})
}

// What a request read of the row must not make it the winner.
func TestI9_AReplayThatReadTheRedeemedRowIsAReplay(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		v := f.visit(t)
		if v.Grant.CodeUsedBy == nil {
			t.Fatal("the row does not tell who redeemed it")
		}
		if done, err := h.RedeemCode(t.Context(), v.Grant); err != nil || done {
			t.Errorf("got %v, %v, want it refused", done, err)
		}
		f.wantEvents(t, "grant.revoked")
	})
}

func TestI3_AStoreThatRunsEverythingTwiceChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.store = storagetest.Twice(h.store)
		h.reopen(t)
		f := newFamily(t, h)
		f.want(t, 1, honest, idp.Rotate, 2)
		f.want(t, 1, other, idp.Skip, 3)
		f.want(t, 3, other, idp.Rotate, 4)
		f.wantRefused(t, 2, honest, true)
		f.wantEvents(t, "grant.refresh_reused", "grant.refresh_skipped")
	})
}

func TestI11_ARefreshRaisesWhenTheRowIsDead(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		h.clock.turn(3 * time.Hour)
		f.want(t, 1, honest, idp.Rotate, 2)
		g := f.visit(t).Grant
		want := noon.Add(3 * time.Hour).Add(h.cfg.Tokens.RefreshTTL)
		if !g.RefreshExpiresAt.Equal(want) || !g.DeadAt.Equal(want) {
			t.Errorf("expires %v, dead %v, want both %v", g.RefreshExpiresAt, g.DeadAt, want)
		}
	}, longRefresh)
}

func TestARefreshTokenEndsWithTheCapOfItsFamily(t *testing.T) {
	short := func(cfg *config.Config) {
		longRefresh(cfg)
		cfg.Tokens.RefreshTTL, cfg.Tokens.RefreshCap, cfg.Tokens.OfflineCap = 3*time.Hour, 7*time.Hour, 9*time.Hour
	}
	for name, c := range map[string]struct {
		bound bool
		ends  time.Duration
	}{"bound to its session": {true, 7 * time.Hour}, "offline": {false, 9 * time.Hour}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}), short)
			f := newFamily(t, h)
			g := f.newGrant()
			g.SessionBound = c.bound
			if err := h.AddGrant(t.Context(), g, &idp.Interaction{}); err != nil {
				t.Fatal(err)
			}
			f.grant = g
			v := f.visit(t)
			h.StartRefresh(v)
			if done, err := h.RedeemCode(t.Context(), v.Grant); err != nil || !done {
				t.Fatal(done, err)
			}
			gen := int64(1)
			for at := 2 * time.Hour; at < c.ends; at += 2 * time.Hour {
				h.clock.turn(2 * time.Hour)
				f.want(t, gen, honest, idp.Rotate, gen+1)
				gen++
				want := noon.Add(min(at+3*time.Hour, c.ends))
				if got := f.visit(t).Grant.RefreshExpiresAt; !got.Equal(want) {
					t.Errorf("after %v the token ends at %v, want %v", at, got, want)
				}
			}
			h.clock.turn(2 * time.Hour)
			f.wantRefused(t, gen, honest, false)
		})
	}
}

func TestI2_ARefreshTokenDiesWithWhatItRestsOn(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *family) error{
		"the user is disabled": func(t *testing.T, f *family) error { return f.DisableUser(t.Context(), f.session.User.ID) },
		"the password is set": func(t *testing.T, f *family) error {
			return f.SetPassword(t.Context(), f.session.User.ID, "another horse battery")
		},
		"the session is ended":     func(t *testing.T, f *family) error { return f.EndSession(t.Context(), f.session.Session.ID) },
		"the consent is withdrawn": func(t *testing.T, f *family) error { return f.WithdrawConsent(t.Context(), f.session.User.ID, "rp") },
		"the grant is revoked":     func(t *testing.T, f *family) error { return f.RevokeGrant(t.Context(), &f.grant, idp.WhyRevoked) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFamily(t, small(t))
			inFlight := f.visit(t)
			if err := end(t, f); err != nil {
				t.Fatal(err)
			}
			_, _, err := f.Refresh(t.Context(), inFlight, 1, honest)
			wantError(t, err, idp.Denied, "invalid_grant", "")
			_, _, err = f.show(t, 1, honest)
			wantError(t, err, idp.Denied, "invalid_grant", "")
		})
	}
}

func TestI4_SendersAreToldApart(t *testing.T) {
	h := small(t)
	confidential := &idp.Client{ID: "rp", Metadata: idp.Metadata{TokenEndpointAuthMethod: idp.AuthBasic}}
	public := &idp.Client{ID: "app", Metadata: idp.Metadata{TokenEndpointAuthMethod: idp.AuthNone}}
	from := func(address, agent string) context.Context {
		v := &idp.Visitor{UserAgent: agent}
		if address != "" {
			v.Address = netip.MustParseAddr(address)
		}
		return idp.WithVisitor(t.Context(), v)
	}
	type who struct {
		ctx          context.Context
		client       *idp.Client
		confirmation string
	}
	sender := func(w who) uint64 { return h.Sender(w.ctx, w.client, w.confirmation) }
	for name, c := range map[string]struct {
		a, b who
		same bool
	}{
		"a confidential client from anywhere":  {who{from("192.0.2.1", "a"), confidential, ""}, who{from("2001:db8::1", "b"), confidential, ""}, true},
		"a confidential client with two keys":  {who{from("192.0.2.1", "a"), confidential, "k1"}, who{from("192.0.2.1", "a"), confidential, "k2"}, true},
		"one key from anywhere":                {who{from("192.0.2.1", "a"), public, "k1"}, who{from("192.0.2.2", "b"), public, "k1"}, true},
		"two keys":                             {who{from("192.0.2.1", "a"), public, "k1"}, who{from("192.0.2.1", "a"), public, "k2"}, false},
		"a key and none":                       {who{from("192.0.2.1", "a"), public, "k1"}, who{from("192.0.2.1", "a"), public, ""}, false},
		"one address and user agent":           {who{from("192.0.2.1", "a"), public, ""}, who{from("::ffff:192.0.2.1", "a"), public, ""}, true},
		"two addresses":                        {who{from("192.0.2.1", "a"), public, ""}, who{from("192.0.2.2", "a"), public, ""}, false},
		"two user agents":                      {who{from("192.0.2.1", "a"), public, ""}, who{from("192.0.2.1", "b"), public, ""}, false},
		"one /64":                              {who{from("2001:db8::1", "a"), public, ""}, who{from("2001:db8::ffff:2", "a"), public, ""}, true},
		"two of them":                          {who{from("2001:db8::1", "a"), public, ""}, who{from("2001:db8:0:1::1", "a"), public, ""}, false},
		"a user agent that looks like another": {who{from("192.0.2.1", "1a"), public, ""}, who{from("192.0.2.11", "a"), public, ""}, false},
		"no address is no address":             {who{from("", "a"), public, ""}, who{from("192.0.2.1", "a"), public, ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sender(c.a) == sender(c.b); got != c.same {
				t.Errorf("the same sender: got %v, want %v", got, c.same)
			}
		})
	}
}

func TestI3_ARefreshIsOneSelectAndOneUpdate(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		var sent storagetest.Counter
		h := open(t, storagetest.Open(t, url, storage.Options{OnStatement: sent.Note}))
		f := newFamily(t, h)
		for _, step := range []struct {
			name   string
			shown  int64
			sender uint64
			want   int
		}{
			{"rotate", 1, honest, 2}, {"repeat", 1, honest, 1}, {"skip", 1, other, 4}, {"reuse", 2, honest, 3}, {"after it", 3, honest, 1},
		} {
			sent.Take()
			_, _, _ = f.show(t, step.shown, step.sender)
			if got := sent.Take(); len(got) != step.want {
				t.Errorf("%s: %d statements, want %d:\n%s", step.name, len(got), step.want, strings.Join(got, "\n"))
			}
		}
		g := f.addGrant(t, &idp.Interaction{})
		if got := sent.Take(); len(got) != 1 {
			t.Errorf("a grant: %d statements, want 1:\n%s", len(got), strings.Join(got, "\n"))
		}
		if _, err := h.RedeemCode(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if got := sent.Take(); len(got) != 1 {
			t.Errorf("a code: %d statements, want 1:\n%s", len(got), strings.Join(got, "\n"))
		}
	})
}

func TestTheHeadsKeyMustBeHeld(t *testing.T) {
	h := small(t)
	f := newFamily(t, h)
	h.ring = ringOf(t, 2, 1)
	h.reopen(t)
	f.want(t, 1, honest, idp.Rotate, 2)
	g := f.visit(t).Grant
	if g.RefreshKey != 2 {
		t.Errorf("the head was made with key %d, want the current one, 2", g.RefreshKey)
	}
	if text := h.Tokens().MintSuccessor(g.Head()); !bytes.HasPrefix([]byte(text), []byte(idp.RefreshToken)) {
		t.Errorf("got %s", text)
	}
}

func TestS0_80_AReusedRefreshTokenIsToldItsUserOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		f := newFamily(t, h)
		f.want(t, 1, honest, idp.Rotate, 2)
		f.want(t, 2, honest, idp.Rotate, 3)
		h.clock.turn(11 * time.Second)
		for range 2 {
			f.wantRefused(t, 1, other, true)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "refresh_reuse" || m.mails[0].To != "alice@example.com" {
			t.Errorf("sent %q to %+v, want one mail to alice", got, m.mails)
		}
	})
}
