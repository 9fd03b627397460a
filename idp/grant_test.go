package idp_test

import (
	"fmt"
	"sync"
	"testing"

	"postern/idp"
)

func TestI9_SixteenRedemptionsOfOneCodeMakeOneTokenAndEndTheFamily(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		f.grant = f.addGrant(t, &idp.Interaction{})
		var racers sync.WaitGroup
		done := make([]bool, 16)
		for i := range done {
			racers.Go(func() {
				v := f.visit(t)
				h.StartRefresh(v)
				var err error
				if done[i], err = h.RedeemCode(t.Context(), v.Grant); err != nil {
					t.Error(err)
				}
			})
		}
		racers.Wait()
		won := 0
		for _, d := range done {
			if d {
				won++
			}
		}
		v := f.visit(t)
		if won != 1 || v.Grant.RevokedAt == nil || v.Grant.RevokedWhy != idp.WhyCodeReplay || v.Alive(h.Now()) {
			t.Errorf("%d won, and the grant is %+v, want one, and it revoked", won, v.Grant)
		}
		f.wantEvents(t, "grant.revoked")
	})
}

func TestARedeemedCodeKeepsItsRowUntilItsTokensEnd(t *testing.T) {
	h := small(t)
	f := newFamily(t, h)
	if g, want := f.visit(t).Grant, noon.Add(h.cfg.Tokens.RefreshTTL); !g.DeadAt.Equal(want) || g.RefreshGen != 1 || g.CodeUsedAt == nil {
		t.Errorf("got %+v, want it dead at %v, generation 1 and the code used", g, want)
	}
	g := f.addGrant(t, &idp.Interaction{}) // without a refresh token
	if done, err := h.RedeemCode(t.Context(), g); err != nil || !done {
		t.Fatal(done, err)
	}
	f.grant = g
	if got, want := f.visit(t).Grant.DeadAt, noon.Add(h.cfg.Tokens.AccessTTL); !got.Equal(want) {
		t.Errorf("dead at %v, want %v, when its access token ends", got, want)
	}
}

func TestI18_AnInteractionThatMetAPromptCompletesOnce(t *testing.T) {
	login := func(in *idp.Interaction) {
		in.SignedIn(&idp.Session{UserID: alice, Authentication: loginOfAlice})
	}
	for name, c := range map[string]struct {
		request idp.Request
		deed    func(*idp.Interaction)
		once    bool
	}{
		"no prompt, signed in here":            {idp.Request{}, login, false},
		"no prompt, nothing done":              {idp.Request{}, func(*idp.Interaction) {}, false},
		"prompt=login, signed in here":         {idp.Request{Prompts: idp.List{"login"}}, login, true},
		"max_age, signed in here":              {idp.Request{MaxAge: seconds(60)}, login, true},
		"max_age, still young":                 {idp.Request{MaxAge: seconds(60)}, func(*idp.Interaction) {}, false},
		"prompt=select_account, chosen":        {idp.Request{Prompts: idp.List{"select_account"}}, func(in *idp.Interaction) { in.Chosen = aliceSession }, true},
		"prompt=select_account, signed in":     {idp.Request{Prompts: idp.List{"select_account"}}, login, true},
		"prompt=consent, allowed":              {idp.Request{Prompts: idp.List{"consent"}}, func(in *idp.Interaction) { in.Consented = 1 }, true},
		"allowed because it was not covered":   {idp.Request{}, func(in *idp.Interaction) { in.Consented = 1 }, false},
		"prompt=consent, signed in, allowed":   {idp.Request{Prompts: idp.List{"consent"}}, func(in *idp.Interaction) { login(in); in.Consented = 1 }, true},
		"prompt=none with a session from else": {idp.Request{Prompts: idp.List{"none"}}, func(*idp.Interaction) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := small(t)
			f := newFamily(t, h)
			in := h.Begin(nil, c.request)
			c.deed(in)
			f.addGrant(t, in)
			err := h.AddGrant(t.Context(), f.newGrant(), in)
			if !c.once {
				if err != nil {
					t.Errorf("got %v, want it completed again, as its address may be", err)
				}
				return
			}
			wantError(t, err, idp.Stale, "interaction_completed", "")
			other := h.Begin(nil, c.request)
			c.deed(other)
			f.addGrant(t, other) // another tab's
		})
	}
}

func TestI18_TwoCompletionsOfOnePromptAtATimeMakeOneGrant(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		in := h.Begin(nil, idp.Request{Prompts: idp.List{"login"}})
		in.SignedIn(&f.session.Session)
		var racers sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			racers.Go(func() { errs[i] = h.AddGrant(t.Context(), f.newGrant(), in) })
		}
		racers.Wait()
		added := 0
		for _, err := range errs {
			if err == nil {
				added++
			} else if idp.CodeOf(err) != "interaction_completed" {
				t.Errorf("got %v, want interaction_completed", err)
			}
		}
		if added != 1 {
			t.Errorf("%d grants, want one", added)
		}
	})
}

func TestI18_APushedRequestCompletesOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		ctx := browser(t, 1)
		row := idp.Pushed{
			ID: idp.NewID(h.Now()), ClientID: "rp", Request: rpForm.Encode(), CreatedAt: h.Now(), ExpiresAt: h.Now().Add(h.cfg.Login.FlowTimeout),
		}
		if err := h.store.AddPushed(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		in := h.begin(t, rpForm)
		in.Pushed = row.ID
		in = h.openTx(t, ctx, h.seal(t, ctx, in))
		f.addGrant(t, in)
		g := f.newGrant()
		wantError(t, h.AddGrant(t.Context(), g, in), idp.Stale, "invalid_request_uri", "")
		f.grant = g
		if _, err := h.Grant(t.Context(), idp.Token{Kind: idp.CodeToken, Grant: g.ID}, "", false); idp.KindOf(err) != idp.Missing {
			t.Errorf("the second grant: got %v, want none", err)
		}
	})
}

func TestI18_AnInternalRowStandsForAnAddressAndCompletesAgain(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		ctx := browser(t, 1)
		form := map[string][]string{"client_id": {"rp"}, "scope": {"openid"}, "state": {noise(8000)}}
		tx := h.seal(t, ctx, h.begin(t, form))
		for range 2 {
			f.addGrant(t, h.openTx(t, ctx, tx))
		}
	})
}

func TestI1_AGrantHoldsNoMoreThanItsTokensCanNarrow(t *testing.T) {
	h := small(t)
	f := newFamily(t, h)
	list := func(n int) (l idp.List) {
		for i := range n {
			l = append(l, fmt.Sprint("s", i))
		}
		return l
	}
	full := f.newGrant()
	full.Scopes, full.Audience = list(idp.MaxScopes), list(idp.MaxAudience)
	if err := h.AddGrant(t.Context(), full, &idp.Interaction{}); err != nil {
		t.Errorf("64 scopes and 32 resources: %v", err)
	}
	scopes, audience := f.newGrant(), f.newGrant()
	scopes.Scopes, audience.Audience = list(idp.MaxScopes+1), list(idp.MaxAudience+1)
	wantError(t, h.AddGrant(t.Context(), scopes, &idp.Interaction{}), idp.Invalid, "invalid_scope", "scope")
	wantError(t, h.AddGrant(t.Context(), audience, &idp.Interaction{}), idp.Invalid, "invalid_target", "resource")
}

func TestASingleTokenIsDenied(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		access := idp.Token{Kind: idp.AccessToken, Grant: f.grant.ID, Expiry: h.Now().Add(h.cfg.Tokens.AccessTTL), Generation: 1}
		one, two := h.Tokens().Mint(access), h.Tokens().Mint(access)
		if err := h.DenyToken(t.Context(), access.DenyKeys(one)[0], access.Expiry); err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]bool{one: true, two: false} {
			v, err := h.Grant(t.Context(), access, text, false)
			if err != nil || v.Denied != want {
				t.Errorf("got %v, %v, want %v", v.Denied, err, want)
			}
		}
		client := [16]byte{1, 2, 3}
		for _, want := range []bool{false, true} {
			if denied, err := h.DeniedToken(t.Context(), client[:]); err != nil || denied != want {
				t.Errorf("a client's token: got %v, %v, want %v", denied, err, want)
			}
			if err := h.DenyToken(t.Context(), client[:], access.Expiry); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRevokingTwiceIsOneEvent(t *testing.T) {
	h := small(t)
	f := newFamily(t, h)
	for range 2 {
		if err := h.RevokeGrant(t.Context(), &f.grant, idp.WhyRevoked); err != nil {
			t.Fatal(err)
		}
	}
	f.wantEvents(t, "grant.revoked")
	if got := f.visit(t).Grant.RevokedWhy; got != idp.WhyRevoked {
		t.Errorf("revoked because of %q, want %q", got, idp.WhyRevoked)
	}
}

func TestAGrantThatIsNotThereIsMissing(t *testing.T) {
	h := small(t)
	_, err := h.Grant(t.Context(), idp.Token{Kind: idp.AccessToken, Grant: idp.NewID(noon)}, "at_x", true)
	if idp.KindOf(err) != idp.Missing {
		t.Errorf("got %v, want Missing", err)
	}
}
