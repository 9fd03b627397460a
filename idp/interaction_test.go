package idp_test

import (
	"reflect"
	"testing"
	"time"

	"postern/idp"
)

var (
	alice, bob   = idp.RandomID(), idp.RandomID()
	loginOfAlice = idp.RandomID()
	loginOfBob   = idp.RandomID()
	aliceSession = idp.RandomID()
	bobSession   = idp.RandomID()
)

// visitOf is a session whose password was proved so long before noon, with the consent's version.
func visitOf(user, session, login idp.ID, age time.Duration, consent *idp.Consent) *idp.Visit {
	return &idp.Visit{
		User: idp.User{ID: user},
		Session: idp.Session{
			ID: session, UserID: user, Authentication: login, State: idp.Live,
			Methods: idp.Methods{{Name: "pwd", At: noon.Add(-age)}},
		},
		Consent: consent,
	}
}

func allowed(version int64, scopes ...string) *idp.Consent {
	return &idp.Consent{Scopes: scopes, Version: version}
}

// provedIn is v with all its methods proved in in, which knows of it.
func provedIn(in *idp.Interaction, v *idp.Visit) *idp.Visit {
	proved := *v
	proved.Session.Methods = nil
	for _, m := range v.Session.Methods {
		m.Interaction = idp.Mark(in)
		proved.Session.Methods = append(proved.Session.Methods, m)
	}
	return &proved
}

func TestI5_EachNeedIsMetByADeedOfThisInteraction(t *testing.T) {
	old := visitOf(alice, aliceSession, loginOfAlice, 10*time.Minute, allowed(4, "openid", "email"))
	bobs := visitOf(bob, bobSession, loginOfBob, 0, allowed(4, "openid", "email"))
	withdrawn := *old
	withdrawn.Consent = &idp.Consent{Version: 5, Floor: 5}
	never := *old
	never.Consent = nil
	ask := func(prompts ...string) idp.Request {
		return idp.Request{ClientID: "rp", Scopes: idp.List{"openid"}, Prompts: prompts}
	}
	aged := func(age int64) idp.Request {
		r := ask()
		r.MaxAge = seconds(age)
		return r
	}
	claims := func(text string) idp.Request {
		r := ask()
		var err error
		if r.Claims, err = idp.ParseClaims(text); err != nil {
			t.Fatal(err)
		}
		return r
	}
	hinted := ask()
	hinted.Subject = bob
	firstParty := idp.Policy{NoConsent: true}
	public := idp.Policy{Public: true}
	at := func(uri string, prompts ...string) idp.Request {
		r := ask(prompts...)
		r.RedirectURI = uri
		return r
	}
	type in = idp.Interaction
	for name, c := range map[string]struct {
		in     idp.Interaction
		visit  *idp.Visit
		policy idp.Policy
		step   idp.Step
		code   string
	}{
		"signed in, consent given before":        {in{Request: ask()}, old, idp.Policy{}, idp.NoStep, ""},
		"nobody signed in":                       {in{Request: ask()}, nil, idp.Policy{}, idp.StepLogIn, "login_required"},
		"refused":                                {in{Request: ask(), Denied: true}, old, idp.Policy{}, idp.StepDenied, "access_denied"},
		"refused before anybody signed in":       {in{Request: ask(), Denied: true}, nil, idp.Policy{}, idp.StepDenied, "access_denied"},
		"never consented":                        {in{Request: ask()}, &never, idp.Policy{}, idp.StepConsent, "consent_required"},
		"consent withdrawn":                      {in{Request: ask()}, &withdrawn, idp.Policy{}, idp.StepConsent, "consent_required"},
		"withdrawn, and no scope asked for":      {in{Request: idp.Request{ClientID: "rp"}}, &withdrawn, idp.Policy{}, idp.StepConsent, "consent_required"},
		"a claim beyond the consent":             {in{Request: claims(`{"userinfo":{"phone_number":null}}`)}, old, idp.Policy{}, idp.StepConsent, "consent_required"},
		"claims of the protocol alone":           {in{Request: claims(`{"id_token":{"acr":null,"auth_time":null}}`)}, old, idp.Policy{}, idp.NoStep, ""},
		"a first-party client without consent":   {in{Request: ask()}, &never, firstParty, idp.NoStep, ""},
		"our own page, signed in":                {in{Request: idp.Request{Return: "/account"}}, &never, firstParty, idp.NoStep, ""},
		"our own page, not signed in":            {in{Request: idp.Request{Return: "/account"}}, nil, firstParty, idp.StepLogIn, "login_required"},
		"prompt=login, logged in before":         {in{Request: ask("login")}, old, idp.Policy{}, idp.StepLogIn, "login_required"},
		"prompt=login, logged in here":           {in{Request: ask("login"), Authenticated: loginOfAlice, Doer: alice}, old, idp.Policy{}, idp.NoStep, ""},
		"prompt=login, alice here, bob after":    {in{Request: ask("login"), Authenticated: loginOfAlice, Doer: alice}, bobs, idp.Policy{}, idp.StepLogIn, "login_required"},
		"no prompt, alice here, bob after":       {in{Request: ask(), Authenticated: loginOfAlice, Doer: alice}, bobs, idp.Policy{}, idp.StepSelect, "account_selection_required"},
		"the same, and bob chose to go on":       {in{Request: ask(), Authenticated: loginOfAlice, Doer: alice, Chosen: bobSession}, bobs, idp.Policy{}, idp.NoStep, ""},
		"no prompt, alice in both tabs":          {in{Request: ask(), Authenticated: loginOfBob, Doer: alice}, old, idp.Policy{}, idp.NoStep, ""},
		"max_age not reached":                    {in{Request: aged(600)}, old, idp.Policy{}, idp.NoStep, ""},
		"max_age passed by a second":             {in{Request: aged(599)}, old, idp.Policy{}, idp.StepLogIn, "login_required"},
		"max_age passed, logged in here":         {in{Request: aged(599), Authenticated: loginOfAlice, Doer: alice}, old, idp.Policy{}, idp.NoStep, ""},
		"max_age passed, somebody else here":     {in{Request: aged(599), Authenticated: loginOfBob, Doer: bob}, old, idp.Policy{}, idp.StepLogIn, "login_required"},
		"max_age=0, logged in this second":       {in{Request: aged(0)}, bobs, idp.Policy{}, idp.StepLogIn, "login_required"},
		"max_age=0, logged in here":              {in{Request: aged(0), Authenticated: loginOfBob, Doer: bob}, bobs, idp.Policy{}, idp.NoStep, ""},
		"id_token_hint names another":            {in{Request: hinted}, old, idp.Policy{}, idp.StepLogIn, "login_required"},
		"id_token_hint names this one":           {in{Request: hinted}, bobs, idp.Policy{}, idp.NoStep, ""},
		"sub asked for by another's value":       {in{Request: claims(`{"id_token":{"sub":{"value":"` + bob.String() + `"}}}`)}, old, idp.Policy{}, idp.StepLogIn, "login_required"},
		"sub asked for by nobody's value":        {in{Request: claims(`{"id_token":{"sub":{"value":7}}}`)}, old, idp.Policy{}, idp.StepLogIn, "login_required"},
		"sub asked for by one of two values":     {in{Request: claims(`{"id_token":{"sub":{"values":["x","` + alice.String() + `"]}}}`)}, old, idp.Policy{}, idp.NoStep, ""},
		"an essential acr that is reached":       {in{Request: claims(`{"id_token":{"acr":{"essential":true,"values":["x","` + idp.ACRPassword + `"]}}}`)}, old, idp.Policy{}, idp.NoStep, ""},
		"an essential acr beyond reach":          {in{Request: claims(`{"id_token":{"acr":{"essential":true,"value":"x"}}}`)}, nil, idp.Policy{}, idp.StepDenied, "unmet_authentication_requirements"},
		"a voluntary acr beyond reach":           {in{Request: claims(`{"id_token":{"acr":{"value":"x"}}}`)}, old, idp.Policy{}, idp.NoStep, ""},
		"prompt=select_account":                  {in{Request: ask("select_account")}, old, idp.Policy{}, idp.StepSelect, "account_selection_required"},
		"prompt=select_account, chosen":          {in{Request: ask("select_account"), Chosen: aliceSession}, old, idp.Policy{}, idp.NoStep, ""},
		"prompt=select_account, other chosen":    {in{Request: ask("select_account"), Chosen: bobSession}, old, idp.Policy{}, idp.StepSelect, "account_selection_required"},
		"prompt=select_account, logged in here":  {in{Request: ask("select_account"), Authenticated: loginOfAlice, Doer: alice}, old, idp.Policy{}, idp.NoStep, ""},
		"prompt=consent, allowed before":         {in{Request: ask("consent")}, old, idp.Policy{}, idp.StepConsent, "consent_required"},
		"prompt=consent, allowed here":           {in{Request: ask("consent"), Consented: 4, Doer: alice}, old, idp.Policy{}, idp.NoStep, ""},
		"prompt=consent, tab 2 allowed after":    {in{Request: ask("consent"), Consented: 3, Doer: alice}, old, idp.Policy{}, idp.StepConsent, "consent_required"},
		"prompt=consent, alice's version is 4":   {in{Request: ask("consent"), Consented: 4, Doer: alice, Chosen: bobSession}, bobs, idp.Policy{}, idp.StepConsent, "consent_required"},
		"prompt=consent of a first-party client": {in{Request: ask("consent")}, &never, firstParty, idp.StepConsent, "consent_required"},
		"the same, allowed here":                 {in{Request: ask("consent"), Consented: 4, Doer: alice}, old, firstParty, idp.NoStep, ""},
		"public on loopback, allowed before":     {in{Request: at("http://127.0.0.1:4/")}, old, public, idp.StepConsent, "consent_required"},
		"public on loopback, prompt=none":        {in{Request: at("http://[::1]:4/", "none")}, old, public, idp.StepConsent, "consent_required"},
		"public on loopback, allowed here":       {in{Request: at("http://127.0.0.1:4/"), Consented: 4, Doer: alice}, old, public, idp.NoStep, ""},
		"public, a scheme of its own":            {in{Request: at("com.example.app:/cb")}, old, public, idp.StepConsent, "consent_required"},
		"public on https, allowed before":        {in{Request: at("https://rp.example/cb")}, old, public, idp.NoStep, ""},
		"with a secret, on loopback":             {in{Request: at("http://127.0.0.1:4/")}, old, idp.Policy{}, idp.NoStep, ""},
		"public on loopback, of the house":       {in{Request: at("http://127.0.0.1:4/")}, old, idp.Policy{Public: true, NoConsent: true}, idp.NoStep, ""},
		"prompt=login consent, both to do":       {in{Request: ask("login", "consent")}, old, idp.Policy{}, idp.StepLogIn, "login_required"},
		"prompt=login consent, one to do":        {in{Request: ask("login", "consent"), Authenticated: loginOfAlice, Doer: alice}, old, idp.Policy{}, idp.StepConsent, "consent_required"},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.Started, c.in.Nonce, c.policy.ACRs = noon, [16]byte{1}, testACRs
			if c.visit != nil && c.visit.Session.Authentication == c.in.Authenticated {
				c.visit = provedIn(&c.in, c.visit)
			}
			got := idp.NextStep(&c.in, c.visit, c.policy, noon)
			if got.Step != c.step || got.Error != c.code {
				t.Errorf("got %q, %q (%s), want %q, %q", got.Step, got.Error, got.Why, c.step, c.code)
			}
		})
	}
}

func TestI5_TheTimeThatAPersonTakesDoesNotCountAsAge(t *testing.T) {
	in := idp.Interaction{Started: noon, Request: idp.Request{MaxAge: seconds(600), Scopes: idp.List{"openid"}}}
	v := visitOf(alice, aliceSession, loginOfAlice, 10*time.Minute, allowed(1, "openid"))
	if got := idp.NextStep(&in, v, idp.Policy{}, noon.Add(14*time.Minute)); got != (idp.Need{}) {
		t.Errorf("got %+v, want nothing left to do", got)
	}
}

func TestI5_ADeedOfAnotherUserVoidsThoseBefore(t *testing.T) {
	in := idp.Interaction{Consented: 4, Chosen: aliceSession, Authenticated: loginOfAlice, Doer: alice}
	in.SignedIn(&idp.Session{UserID: alice, Authentication: loginOfBob})
	if want := (idp.Interaction{Consented: 4, Chosen: aliceSession, Authenticated: loginOfBob, Doer: alice}); !reflect.DeepEqual(in, want) {
		t.Errorf("the same user: got %+v, want %+v", in, want)
	}
	in.SignedIn(&idp.Session{UserID: bob, Authentication: loginOfBob})
	if want := (idp.Interaction{Authenticated: loginOfBob, Doer: bob}); !reflect.DeepEqual(in, want) {
		t.Errorf("another user: got %+v, want %+v", in, want)
	}
}

func TestI6_WhatWasShownHoldsForThatPersonAndPageAlone(t *testing.T) {
	visit := visitOf(alice, aliceSession, loginOfAlice, 0, nil)
	client := func(name string) *idp.Client {
		return &idp.Client{ID: "rp", Metadata: idp.Metadata{Name: name}}
	}
	shown := idp.Shown{Scopes: []string{"openid", "email"}, Claims: []string{"phone_number"}, RedirectHost: "rp.example", Client: client("RP")}
	var in idp.Interaction
	in.Show(idp.StepConsent, visit, shown)
	change := func(f func(*idp.Shown)) idp.Shown {
		other := shown
		f(&other)
		return other
	}
	for name, c := range map[string]struct {
		step  idp.Step
		visit *idp.Visit
		shown idp.Shown
		want  bool
	}{
		"the same":                 {idp.StepConsent, visit, shown, true},
		"a copy of the client":     {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Client = client("RP") }), true},
		"another step":             {idp.StepSelect, visit, shown, false},
		"bob's session by now":     {idp.StepConsent, visitOf(bob, bobSession, loginOfBob, 0, nil), shown, false},
		"another session of alice": {idp.StepConsent, visitOf(alice, bobSession, loginOfAlice, 0, nil), shown, false},
		"nobody signed in":         {idp.StepConsent, nil, shown, false},
		"one scope more":           {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Scopes = append(s.Scopes[:2:2], "phone") }), false},
		"a scope that is a claim":  {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Scopes, s.Claims = []string{"openid"}, []string{"email", "phone_number"} }), false},
		"scopes glued together":    {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Scopes = []string{"openidemail"} }), false},
		"no claim":                 {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Claims = nil }), false},
		"another host":             {idp.StepConsent, visit, change(func(s *idp.Shown) { s.RedirectHost = "evil.example" }), false},
		"the client's new name":    {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Client = client("Bank") }), false},
		"another client":           {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Client = &idp.Client{ID: "rp2", Metadata: s.Client.Metadata} }), false},
		"no client":                {idp.StepConsent, visit, change(func(s *idp.Shown) { s.Client = nil }), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := in.Holds(c.step, c.visit, c.shown); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if in.Show(idp.StepLogIn, nil, idp.Shown{}); in.User != (idp.ID{}) || in.Session != (idp.ID{}) || !in.Holds(idp.StepLogIn, nil, idp.Shown{}) {
		t.Error("a page that is shown to nobody does not hold for nobody")
	}
}
