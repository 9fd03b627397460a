package idp_test

import (
	"reflect"
	"slices"
	"testing"

	"postern/idp"
)

// at is what the browser of the family finds at the authorization endpoint.
func (f *family) at(t testing.TB) *idp.Visit {
	t.Helper()
	v, err := f.Visit(t.Context(), f.session.Token, "rp")
	if err != nil {
		t.Fatalf("visit: %v", err)
	}
	return v
}

func (f *family) next(t testing.TB, in *idp.Interaction) idp.Step {
	t.Helper()
	return idp.NextStep(in, f.at(t), idp.Policy{}, f.Now()).Step
}

func (f *family) allow(t testing.TB, in *idp.Interaction) {
	t.Helper()
	if err := f.GiveConsent(t.Context(), in, f.at(t)); err != nil {
		t.Fatalf("give consent: %v", err)
	}
}

func asking(scopes idp.List, prompts ...string) *idp.Interaction {
	return &idp.Interaction{Started: noon, Request: idp.Request{ClientID: "rp", Scopes: scopes, Prompts: prompts}}
}

func TestI5_ConsentIsAskedOnceForWhatItCovers(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		claims, err := idp.ParseClaims(`{"userinfo":{"phone_number":null,"sub":null}}`)
		if err != nil {
			t.Fatal(err)
		}
		in := asking(idp.List{"openid", "email"})
		in.Request.Claims = claims
		if got := f.next(t, in); got != idp.StepConsent {
			t.Fatalf("got %q, want consent", got)
		}
		f.allow(t, in)
		if in.Consented != 1 || in.Doer != f.session.User.ID {
			t.Errorf("the deed is %d by %v, want 1 by alice", in.Consented, in.Doer)
		}
		for name, c := range map[string]struct {
			scopes idp.List
			want   idp.Step
		}{
			"the same": {idp.List{"openid", "email"}, idp.NoStep}, "less": {idp.List{"openid"}, idp.NoStep},
			"one more": {idp.List{"openid", "email", "offline_access"}, idp.StepConsent},
		} {
			if got := f.next(t, asking(c.scopes)); got != c.want {
				t.Errorf("%s: got %q, want %q", name, got, c.want)
			}
		}
		f.allow(t, asking(idp.List{"offline_access"}))
		c := f.at(t).Consent
		slices.Sort(c.Scopes)
		if want := (idp.List{"email", "offline_access", "openid"}); !reflect.DeepEqual(c.Scopes, want) || c.Version != 2 || c.Floor != 0 || !reflect.DeepEqual(c.Claims, idp.List{"phone_number"}) {
			t.Errorf("got %+v, want %v and phone_number at version 2", c, want)
		}
	})
}

func TestI5_ConsentInOneTabDoesNotSatisfyThePromptOfAnother(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		one, two := asking(idp.List{"openid"}, "consent"), asking(idp.List{"openid"}, "consent")
		f.allow(t, two)
		if got := f.next(t, two); got != idp.NoStep {
			t.Errorf("tab 2: got %q, want nothing left to do", got)
		}
		if got := f.next(t, one); got != idp.StepConsent {
			t.Errorf("tab 1: got %q, want consent", got)
		}
		f.allow(t, one)
		if got := f.next(t, one); got != idp.NoStep {
			t.Errorf("tab 1: got %q, want nothing left to do", got)
		}
		if got := f.next(t, two); got != idp.StepConsent {
			t.Errorf("tab 2, after tab 1 decided anew: got %q, want consent", got)
		}
	})
}

func TestI2_AWithdrawnConsentEndsItsGrantsAndThoseOnTheirWay(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		f := newFamily(t, h)
		f.allow(t, asking(idp.List{"openid"}))
		withConsent := func() idp.Grant {
			g := f.newGrant()
			g.ConsentVersion = f.at(t).Consent.Version
			return g
		}
		stands, onItsWay := withConsent(), withConsent()
		add := func(g idp.Grant) {
			if err := h.AddGrant(t.Context(), g, &idp.Interaction{}); err != nil {
				t.Fatal(err)
			}
		}
		add(stands)
		alive := func(g idp.Grant) bool {
			f.grant = g
			return f.visit(t).Alive(h.Now())
		}
		if !alive(stands) {
			t.Fatal("a grant is dead before anything was withdrawn")
		}
		if err := h.WithdrawConsent(t.Context(), f.session.User.ID, "rp"); err != nil {
			t.Fatal(err)
		}
		add(onItsWay) // its request read the consent before
		if alive(stands) || alive(onItsWay) {
			t.Errorf("alive: %v, %v, want neither", alive(stands), alive(onItsWay))
		}
		f.grant = onItsWay
		if f.visit(t).Grant.RevokedAt != nil {
			t.Error("the late grant was revoked by an UPDATE: this test proves nothing")
		}
		if got := f.next(t, asking(nil)); got != idp.StepConsent {
			t.Errorf("got %q, want consent anew, even for no scope", got)
		}
		f.allow(t, asking(idp.List{"openid"}))
		fresh := withConsent()
		add(fresh)
		if !alive(fresh) || alive(onItsWay) {
			t.Errorf("allowed anew: alive %v, %v, want the new grant alone", alive(fresh), alive(onItsWay))
		}
	})
}

func TestGivingMoreConsentEndsNothing(t *testing.T) {
	h := small(t)
	f := newFamily(t, h)
	f.allow(t, asking(idp.List{"openid"}))
	g := f.newGrant()
	g.ConsentVersion = f.at(t).Consent.Version
	if err := h.AddGrant(t.Context(), g, &idp.Interaction{}); err != nil {
		t.Fatal(err)
	}
	f.allow(t, asking(idp.List{"email"}))
	f.grant = g
	if !f.visit(t).Alive(h.Now()) {
		t.Error("a grant died of further consent")
	}
}

func TestConsentLeavesEvents(t *testing.T) {
	h := small(t)
	f := newFamily(t, h)
	f.allow(t, asking(idp.List{"openid"}))
	if err := h.WithdrawConsent(t.Context(), f.session.User.ID, "rp"); err != nil {
		t.Fatal(err)
	}
	list, err := h.Events(t.Context(), idp.ID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]idp.Details)
	for _, e := range list {
		if e.ClientID == "rp" && e.UserID == f.session.User.ID && (e.Kind == "consent.given" || e.Kind == "consent.withdrawn") {
			got[e.Kind] = e.Details
		}
	}
	want := map[string]idp.Details{
		"consent.given":     {"scopes": []any{"openid"}, "claims": nil, "version": 1.0},
		"consent.withdrawn": {"grants_revoked": 1.0},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestConsentsOfAUserAreListed(t *testing.T) {
	h := small(t)
	f := newFamily(t, h)
	h.addClientNamed(t, "rp2")
	for _, id := range []string{"rp", "rp2"} {
		in := asking(idp.List{"openid"})
		in.Request.ClientID = id
		f.allow(t, in)
	}
	list, err := h.Consents(t.Context(), f.session.User.ID, 10)
	if err != nil || len(list) != 2 {
		t.Errorf("got %+v, %v, want two", list, err)
	}
}

func TestS0_80_AnAppThatIsNewToSomebodyIsToldByMailOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		f := newFamily(t, h)
		f.allow(t, asking(idp.List{"openid"}))
		f.allow(t, asking(idp.List{"openid", "email"}))
		h.doJobs(t)
		if got := m.kinds(); got != "consent_given" {
			t.Fatalf("sent %q, want one mail about the app", got)
		}
		if got := m.mails[0]; got.To != "alice@example.com" || got.Args["app"] == "" || got.Args["link"] != h.cfg.Issuer+"/account/apps" {
			t.Errorf("sent %+v", got)
		}
	})
}
