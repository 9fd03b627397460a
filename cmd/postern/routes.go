package main

import (
	"net/http"

	"postern/discovery"
	loginui "postern/login-ui"
	"postern/oauth"
)

// A route is one method of one path, with everything that is decided before its handler runs. The
// mux is made from the routes, and tests read them: a route that leaves a declaration out fails.
type route struct {
	Method  string
	Path    string // a pattern of http.ServeMux, without method and host
	Auth    auth
	Limiter limiter
	Caching caching
	CSRF    csrf
	Handler http.HandlerFunc
}

// forProgram tells whether no person sees the answer, which the handler writes in JSON.
func (rt *route) forProgram() bool { return rt.Auth == forClient || rt.Auth == forToken }

// An auth says who may come, and how they show who they are. The handler holds them to it.
type auth string

const (
	forAnyone  auth = "anyone"
	forBrowser auth = "browser" // a person, by cookies: the visitor of the request has them
	forClient  auth = "client"  // a relying party, by client authentication (RFC 6749 §2.3)
	forToken   auth = "token"   // whoever has an access token (RFC 6750)
)

// A limiter is the action of rate_limits that bounds a route's guesses.
type limiter string

const (
	unlimited         limiter = "none" // nothing can be guessed
	limitLogin        limiter = "login"
	limitClientFailed limiter = "token_endpoint_auth_failed"
)

// A caching says what may be kept of an answer.
type caching string

const (
	noStore      caching = "no-store"
	handlerCache caching = "handler" // a public document or file: its handler says for how long
)

// A csrf says what keeps other sites from using a browser's cookies.
type csrf string

const (
	csrfSafe    csrf = "safe"    // the method changes nothing (RFC 9110 §9.2.1)
	csrfOrigin  csrf = "origin"  // the browser must say that the request comes from us
	csrfNone    csrf = "none"    // no cookie counts here
	csrfSealing csrf = "sealing" // a cross-site POST is sealed before any cookie counts (I-25)
)

// Paths that have no package of their own.
const (
	healthPath         = "/healthz"
	staticPath         = "/static/"
	changePasswordPath = "/.well-known/change-password"
)

// routes is the one table of addresses.
func routes(ui *loginui.UI, as *oauth.Server, docs *discovery.Documents) []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/.well-known/openid-configuration", forAnyone, unlimited, handlerCache, csrfSafe, docs.OpenIDConfiguration},
		{get, "/.well-known/oauth-authorization-server", forAnyone, unlimited, handlerCache, csrfSafe, docs.AuthorizationServer},
		{get, oauth.KeysPath, forAnyone, unlimited, handlerCache, csrfSafe, docs.JWKS},

		{get, oauth.AuthorizePath, forBrowser, unlimited, noStore, csrfSafe, as.Authorize},
		{post, oauth.AuthorizePath, forBrowser, unlimited, noStore, csrfSealing, as.Authorize},
		{post, oauth.TokenPath, forClient, limitClientFailed, noStore, csrfNone, as.Token},
		{post, oauth.IntrospectPath, forClient, limitClientFailed, noStore, csrfNone, as.Introspect},
		{post, oauth.RevokePath, forClient, limitClientFailed, noStore, csrfNone, as.Revoke},
		{get, oauth.UserInfoPath, forToken, unlimited, noStore, csrfNone, as.UserInfo},
		{post, oauth.UserInfoPath, forToken, unlimited, noStore, csrfNone, as.UserInfo},

		{get, "/login", forBrowser, unlimited, noStore, csrfSafe, ui.ShowLogin},
		{post, "/login", forBrowser, limitLogin, noStore, csrfOrigin, ui.SubmitLogin},
		{get, "/login/continue", forBrowser, unlimited, noStore, csrfSafe, ui.ShowContinue},
		{post, "/login/continue", forBrowser, unlimited, noStore, csrfOrigin, ui.SubmitContinue},
		{get, "/consent", forBrowser, unlimited, noStore, csrfSafe, ui.ShowConsent},
		{post, "/consent", forBrowser, unlimited, noStore, csrfOrigin, ui.SubmitConsent},
		{get, "/logout", forBrowser, unlimited, noStore, csrfSafe, ui.ShowLogOut},
		{post, "/logout", forBrowser, unlimited, noStore, csrfOrigin, ui.SubmitLogOut},
		{get, "/account", forBrowser, unlimited, noStore, csrfSafe, ui.ShowAccount},
		{get, "/account/password", forBrowser, unlimited, noStore, csrfSafe, ui.ShowPassword},
		{post, "/account/password", forBrowser, limitLogin, noStore, csrfOrigin, ui.SubmitPassword},
		{get, changePasswordPath, forAnyone, unlimited, noStore, csrfSafe, redirect("/account/password")},

		{get, staticPath + "{path...}", forAnyone, unlimited, handlerCache, csrfSafe, ui.Static},
		{get, healthPath, forAnyone, unlimited, noStore, csrfSafe, showHealth},
		{get, "/{$}", forAnyone, unlimited, noStore, csrfSafe, redirect("/account")},
	}
}

// redirect leads to another address of ours.
func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// showHealth says that the process serves, and nothing of how it is: the address is public.
func showHealth(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
