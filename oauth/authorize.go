package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"postern/idp"
)

// stepPaths are the pages of the steps.
var stepPaths = map[idp.Step]string{
	idp.StepLogIn:   "/login",
	idp.StepSelect:  "/login/continue",
	idp.StepConsent: "/consent",
	idp.StepSignUp:  "/signup",
	idp.StepVerify:  "/verify",
	idp.StepChange:  "/login/password",
	idp.StepFactor:  "/login/factor",
	idp.StepEnrol:   "/login/enrol",
}

// Authorize is the authorization endpoint (RFC 6749 §3.1, OpenID Connect Core 1.0 §3.1.2.1) and
// the only dispatcher: each visit judges the whole request anew and names the next step, and every
// step returns here.
func (s *Server) Authorize(w http.ResponseWriter, r *http.Request) {
	noStore(w.Header())
	w.Header().Set("Referrer-Policy", "no-referrer")
	switch r.Method {
	case http.MethodGet:
		sent, err := url.ParseQuery(r.URL.RawQuery)
		if sent.Has("tx") {
			s.resume(w, r, sent["tx"])
			return
		}
		s.arrive(w, r, sent, err != nil)
	case http.MethodPost:
		s.receive(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		s.show(w, r, &problem{idp.Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed"}})
	}
}

// arrive answers a request in the address.
func (s *Server) arrive(w http.ResponseWriter, r *http.Request, sent url.Values, malformed bool) {
	a, err := s.resolve(r.Context(), sent, malformed)
	if err != nil {
		s.decline(w, r, a, err)
		return
	}
	if f := s.checkCreate(a); f != nil {
		s.decline(w, r, a, f)
		return
	}
	s.dispatch(w, r, a, s.p.Begin(a.form, a.request))
}

// receive seals a request in a body at once and goes on by GET, so that a cross-site POST, which
// comes without our cookies, finds the session that the browser has (I-25).
func (s *Server) receive(w http.ResponseWriter, r *http.Request) {
	sent, f := readForm(w, r)
	if f != nil && sent == nil {
		p := idp.Problem{Status: f.status, Code: "request_malformed"}
		if f.status == http.StatusRequestEntityTooLarge {
			p.Code = "request_too_large"
		}
		s.show(w, r, &problem{p})
		return
	}
	a, err := s.resolve(r.Context(), sent, f != nil)
	if err != nil {
		s.decline(w, r, a, err)
		return
	}
	if f := s.checkCreate(a); f != nil {
		s.decline(w, r, a, f)
		return
	}
	s.goOn(w, r, a, AuthorizePath, s.p.Begin(a.form, a.request))
}

// checkCreate refuses prompt=create while it is not advertised (Initiating User Registration via
// OpenID Connect 1.0 §4.1). Whoever had begun before goes on by signing in.
func (s *Server) checkCreate(a *authorization) *failure {
	if slices.Contains(a.request.Prompts, "create") && !s.p.SignUpOpen() {
		return refuse("invalid_request", "The prompt create is not supported: nobody may sign up now.")
	}
	return nil
}

// resume goes on with a sealed request, whose form is judged anew. One whose time is over starts
// again without its deeds, so that the relying party's request is not lost.
func (s *Server) resume(w http.ResponseWriter, r *http.Request, tx []string) {
	ctx := r.Context()
	if len(tx) != 1 {
		s.show(w, r, &problem{idp.Problem{Status: http.StatusBadRequest, Code: "interaction_unreadable"}})
		return
	}
	in, err := s.p.Open(ctx, tx[0])
	expired := in != nil && idp.CodeOf(err) == "interaction_expired"
	if err != nil && !expired {
		s.show(w, r, err)
		return
	}
	if in.Request.Return != "" {
		if expired {
			in = s.p.BeginOwn(in.Request.Return)
		}
		s.dispatch(w, r, nil, in)
		return
	}
	a, err := s.resolve(ctx, in.Form, false)
	if err != nil {
		s.decline(w, r, a, err)
		return
	}
	a.request.Subject = in.Request.Subject // of the hint that the form has lost
	if in.Form.Has(impliedRedirect) {
		a.form.Set(impliedRedirect, "true")
	}
	if expired {
		in = s.p.Begin(a.form, a.request)
	}
	in.Form, in.Request = a.form, a.request
	s.dispatch(w, r, a, in)
}

// dispatch names the next step of in, or ends it. a is nil for a sign-in of our own.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, a *authorization, in *idp.Interaction) {
	ctx := r.Context()
	var c *idp.Client
	if a != nil {
		c = a.client
	}
	visit, err := s.p.VisitOf(ctx, in)
	if err != nil {
		s.show(w, r, err)
		return
	}
	need := idp.NextStep(in, visit, s.p.PolicyFor(c), s.p.Now())
	switch {
	case a == nil && (need.Step == idp.NoStep || need.Step == idp.StepDenied):
		http.Redirect(w, r, in.Request.Return, http.StatusSeeOther)
	case need.Step == idp.NoStep:
		s.complete(w, r, a, in, visit)
	case need.Step == idp.StepDenied || asksForNoPage(in):
		s.decline(w, r, a, refuse(need.Error, "No code was issued: "+need.Why+"."))
	default:
		s.goOn(w, r, a, stepPaths[need.Step], in)
	}
}

// asksForNoPage tells whether the client forbids every page (OpenID Connect Core 1.0 §3.1.2.1).
func asksForNoPage(in *idp.Interaction) bool {
	return len(in.Request.Prompts) == 1 && in.Request.Prompts[0] == "none"
}

// goOn seals in and sends the browser to the page of a step, or back to ourselves.
func (s *Server) goOn(w http.ResponseWriter, r *http.Request, a *authorization, path string, in *idp.Interaction) {
	tx, err := s.p.Seal(r.Context(), in)
	if err != nil {
		if idp.KindOf(err) == idp.Invalid && a != nil {
			s.decline(w, r, a, refuse("invalid_request", "The request is too long."))
			return
		}
		s.show(w, r, err)
		return
	}
	http.Redirect(w, r, path+"?tx="+tx, http.StatusSeeOther)
}

// complete issues the code and takes it to the client (RFC 6749 §4.1.2, RFC 9207 §2).
func (s *Server) complete(w http.ResponseWriter, r *http.Request, a *authorization, in *idp.Interaction, visit *idp.Visit) {
	code, err := s.issueCode(r.Context(), a, in, visit)
	if err != nil {
		s.show(w, r, err)
		return
	}
	s.answer(w, r, a, url.Values{"code": {code}})
}

// answer takes parameters to the client's redirect URI. 303 makes it a GET in any case
// (RFC 9700 §4.12).
func (s *Server) answer(w http.ResponseWriter, r *http.Request, a *authorization, parameters url.Values) {
	if a.state != "" {
		parameters.Set("state", a.state)
	}
	parameters.Set("iss", s.cfg.Issuer)
	w.Header().Set("Location", withParameters(a.redirectURI, parameters))
	w.WriteHeader(http.StatusSeeOther)
}

// decline tells the client of a failure (RFC 6749 §4.1.2.1), or the person where the client is
// not known to be the one that asked, or where the fault is ours and trying again helps.
func (s *Server) decline(w http.ResponseWriter, r *http.Request, a *authorization, err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok || a == nil || f.status != http.StatusBadRequest {
		s.show(w, r, err)
		return
	}
	logDecline(r.Context(), a.client, f)
	parameters := url.Values{"error": {f.code}}
	if f.description != "" {
		parameters.Set("error_description", printable(f.description))
	}
	s.answer(w, r, a, parameters)
}

// show shows the page for what cannot be told to a client.
func (s *Server) show(w http.ResponseWriter, r *http.Request, err error) {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		p = problemOf(w, r, err)
	}
	p.Reference = idp.VisitorFrom(r.Context()).RequestID
	logProblem(r.Context(), p)
	s.pages.ShowProblem(w, r, p.Problem)
}

// problemOf is the page for an error that speaks of us, not of the client.
func problemOf(w http.ResponseWriter, r *http.Request, err error) *problem {
	e, ok := errors.AsType[*idp.Error](err)
	switch {
	case ok && e.Kind == idp.Stale:
		return &problem{idp.Problem{Status: http.StatusBadRequest, Code: e.Code}}
	case ok && e.Kind == idp.Throttled:
		w.Header().Set("Retry-After", strconv.FormatInt(int64(max(e.RetryAfter, time.Second)/time.Second), 10))
		scope, _ := e.Args["scope"].(string)
		return &problem{idp.Problem{Status: http.StatusTooManyRequests, Code: e.Code, Scope: scope}}
	}
	f := failureOf(err)
	if f.status < http.StatusInternalServerError {
		f = unavailable(err)
	}
	writeRetry(r.Context(), w, f)
	return &problem{idp.Problem{Status: f.status, Code: "unavailable"}}
}
