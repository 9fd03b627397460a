package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"

	"postern/idp"
)

// tokenAnswer is the answer of the token endpoint (RFC 6749 §5.1, OpenID Connect Core 1.0
// §3.1.3.3).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token,omitempty"`
}

// Token is the token endpoint (RFC 6749 §3.2).
func (s *Server) Token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	form, f := readTokenForm(w, r)
	if f != nil {
		writeFailure(w, r, form, f)
		return
	}
	answer, err := s.issueTokens(ctx, r, form)
	if err != nil {
		writeFailure(w, r, form, failureOf(err))
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) issueTokens(ctx context.Context, r *http.Request, form url.Values) (*tokenAnswer, error) {
	grantType := form.Get("grant_type")
	if grantType == "" {
		return nil, refuse("invalid_request", "The parameter grant_type is missing.")
	}
	provider, ok := s.grants[grantType]
	if !ok {
		return nil, refuse("unsupported_grant_type", "The grant type is not supported.")
	}
	c, f := s.authenticate(ctx, r, form)
	if f != nil {
		return nil, f
	}
	if !may(c, grantType) || c.Public() && grantType == "client_credentials" {
		return nil, refuse("unauthorized_client", "The client is not registered for this grant type.")
	}
	if required := required[grantType]; required != "" && form.Get(required) == "" {
		return nil, refuse("invalid_request", "The parameter "+required+" is missing.")
	}
	for _, scope := range splitScope(form.Get("scope")) {
		if !isScope(scope) {
			return nil, refuse("invalid_scope", "The parameter scope has a character that no scope may have.")
		}
	}
	return s.exchange(ctx, provider, &work{client: c, form: form, now: s.p.Now()})
}

// required are the parameters without which a grant type's request is not one.
var required = map[string]string{"authorization_code": "code", "refresh_token": "refresh_token"}

// exchange lets fosite judge the request and then writes what it decided. fosite gets a request
// that has nothing but the checked form.
func (s *Server) exchange(ctx context.Context, provider *fosite.Fosite, w *work) (*tokenAnswer, error) {
	ctx = withWork(ctx, w)
	bare := &http.Request{Method: http.MethodPost, Form: w.form, PostForm: w.form}
	request, err := provider.NewAccessRequest(ctx, bare, &w.session)
	if err != nil {
		return nil, err
	}
	response, err := provider.NewAccessResponse(ctx, request)
	if err != nil {
		return nil, err
	}
	if w.redeemed {
		if err := s.redeem(ctx, w); err != nil {
			return nil, err
		}
	}
	answer := &tokenAnswer{
		AccessToken: w.access, TokenType: "Bearer",
		ExpiresIn: int64(w.expires.Sub(w.now) / time.Second),
		Scope:     strings.Join(request.GetGrantedScopes(), " "),
	}
	answer.RefreshToken, _ = response.GetExtra("refresh_token").(string)
	answer.IDToken, _ = response.GetExtra("id_token").(string)
	return answer, nil
}

var errLostRace = refuse("invalid_grant", "The authorization code was used before.")

// redeem marks the code as used by the one conditional UPDATE. Whoever comes second finds the
// family revoked (RFC 6749 §4.1.2).
func (s *Server) redeem(ctx context.Context, w *work) error {
	first, err := s.p.RedeemCode(ctx, *w.grant())
	if err != nil {
		return err
	}
	if !first {
		return errLostRace
	}
	return nil
}

// reused answers a code that was used before. It revokes the family only for the code's owner:
// anybody else who read the code somewhere can do nothing with it (I-12).
func (s *Server) reused(ctx context.Context, w *work) error {
	if w.ownsCode() && w.grant().RevokedAt == nil {
		if err := s.p.RevokeGrant(ctx, w.grant(), idp.WhyCodeReplay); err != nil {
			return failureOf(err)
		}
	}
	return errLostRace
}

// rotate redeems the refresh token. What it is worth, and what becomes of the row, is judged by
// the refresh machine (I-3).
func (s *Server) rotate(ctx context.Context, w *work, r fosite.Requester) error {
	if r.GetGrantedScopes().Has(scopeOpenID) {
		// Nothing is written for an answer that could not be signed.
		if _, err := s.p.SigningKey(s.idTokenAlg(w.client)); err != nil {
			return err
		}
	}
	sender := s.p.Sender(ctx, w.client, w.grant().Confirmation)
	grant, verdict, err := s.p.Refresh(ctx, &w.visit, w.token.Generation, sender)
	if err != nil {
		return err
	}
	if verdict != idp.Rotate && verdict != idp.Repeat && verdict != idp.Skip {
		return errors.New("rotate: a verdict that issues nothing came without an error")
	}
	if verdict == idp.Skip {
		slog.InfoContext(ctx, "refresh token recovered", "grant", grant.ID, "client", w.client.ID)
	}
	w.visit.Grant, w.generation = grant, grant.RefreshGen
	return nil
}
