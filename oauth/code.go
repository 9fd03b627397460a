package oauth

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern/idp"
)

// issueCode makes the grant of a request that needs nothing more from its End-User, and its code,
// and writes both by one INSERT.
func (s *Server) issueCode(ctx context.Context, a *authorization, in *idp.Interaction, visit *idp.Visit) (string, error) {
	w := &work{client: a.client, now: s.p.Now()}
	w.visit.Grant = s.newGrant(a, in, visit, w.now)
	w.session.subject = visit.User.ID.String()
	w.session.claims.Subject = w.session.subject
	ctx = withWork(ctx, w)

	request, err := s.codes.NewAuthorizeRequest(ctx, &http.Request{Method: http.MethodGet, Form: a.fositeForm()})
	if err != nil {
		return "", fmt.Errorf("parse a canonical request: %w", err)
	}
	request.SetID(w.grant().ID.String())
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	response, err := s.codes.NewAuthorizeResponse(ctx, request, &w.session)
	if err != nil {
		return "", fmt.Errorf("issue a code: %w", err)
	}
	if err := s.p.AddGrant(ctx, *w.grant(), in); err != nil {
		return "", err
	}
	return response.GetCode(), nil
}

// fositeForm is what fosite needs to see. Prompts, ages and hints are the step table's to judge,
// and fosite, which goes by another clock, would judge them again. It insists on a state.
func (a *authorization) fositeForm() url.Values {
	form := url.Values{
		"client_id":     {a.client.ID},
		"redirect_uri":  {a.redirectURI},
		"response_type": {"code"},
		"scope":         a.form["scope"],
		"state":         {"unused"},
	}
	if challenge, ok := a.form["code_challenge"]; ok {
		form["code_challenge"] = challenge
		form["code_challenge_method"] = a.form["code_challenge_method"]
	}
	return form
}

// newGrant is what the End-User of visit gives the client. With offline_access it outlives the
// session: consent was given in this interaction or before, or the client is of the house, which
// are our "other conditions" of OpenID Connect Core 1.0 §11 beside prompt=consent.
func (s *Server) newGrant(a *authorization, in *idp.Interaction, visit *idp.Visit, now time.Time) idp.Grant {
	scopes, sure := a.request.Scopes, s.p.Assurance(in, visit, a.client)
	g := idp.Grant{
		ID: idp.NewID(now), ClientID: a.client.ID, UserID: visit.User.ID,
		SessionID: visit.Session.ID, SessionBound: !slices.Contains(scopes, scopeOffline),
		Scopes: scopes, Epoch: visit.Session.Epoch,
		CodeExpiresAt: now.Add(s.cfg.Tokens.CodeTTL).Truncate(time.Second),
		CreatedAt:     now,
		Facts: idp.Facts{
			RedirectURI: a.redirectURI, RedirectSent: !a.form.Has(impliedRedirect),
			Challenge: a.form.Get("code_challenge"), Nonce: a.form.Get("nonce"), Claims: a.form.Get("claims"),
			AuthTime: sure.AuthTime.Unix(), ACR: sure.ACR, AMR: sure.AMR,
			AuthTimeAsked: asksForAuthTime(a), RequestedAt: now.Unix(),
		},
	}
	if visit.Consent != nil {
		g.ConsentVersion = visit.Consent.Version
	}
	g.DeadAt = visit.Session.EndsAt // its sign-out must reach the client (I-11)
	return g
}

// asksForAuthTime tells whether auth_time must be in the ID token (OpenID Connect Core 1.0 §2).
func asksForAuthTime(a *authorization) bool {
	if a.request.MaxAge != nil || a.client.Metadata.RequireAuthTime {
		return true
	}
	if a.request.Claims == nil {
		return false
	}
	_, asked := a.request.Claims.IDToken["auth_time"]
	return asked
}
