package main

import (
	"net/http"
	"strings"

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
	Takes   taken
	Limiter limiter
	Caching caching
	CSRF    csrf
	Handler http.HandlerFunc
}

// forProgram tells whether no person sees the answer, which the handler writes in JSON.
func (rt *route) forProgram() bool { return rt.Auth == forClient || rt.Auth == forToken }

// document tells whether the answer is the same for everybody: what is published, and files.
func (rt *route) document() bool { return rt.Caching == handlerCache || rt.Path == healthPath }

// form tells whether a form of ours is sent to rt.
func (rt *route) form() bool { return rt.Method == http.MethodPost && rt.CSRF == csrfOrigin }

// An auth says who may come, and how they show who they are. The handler holds them to it.
type auth string

const (
	forAnyone  auth = "anyone"
	forBrowser auth = "browser" // a person, by cookies: the visitor of the request has them
	forClient  auth = "client"  // a relying party, by client authentication (RFC 6749 §2.3)
	forToken   auth = "token"   // whoever has an access token (RFC 6750)
)

// A taken is what a route reads that opens something to whoever guesses it. Whatever somebody could
// guess has a limiter.
type taken string

const (
	takesNothing      taken = "nothing"
	takesPassword     taken = "password"
	takesClientSecret taken = "client secret"
	takesToken        taken = "token" // of 256 bits, which verifies itself: nobody guesses it
)

// A limiter is the action of rate_limits that bounds a route's guesses. The deed that a route leads
// to spends it, before it checks anything.
type limiter string

// The limiters, with their defaults behind them. Those without a route wait for theirs.
const (
	unlimited limiter = "none" // nothing can be guessed

	limitLogin                limiter = "login"                      // 30/m/ip
	limitLoginFailed          limiter = "login_failed"               // 10/m/ip,5/5m/key
	limitSignup               limiter = "signup"                     // 20/m/ip
	limitResetPassword        limiter = "reset_password"             // 20/m/ip,5/m/key
	limitResetPasswordFromKey limiter = "reset_password_from_key"    // 20/m/ip
	limitConfirmEmail         limiter = "confirm_email"              // 1/10s/key
	limitChangePassword       limiter = "change_password"            // 5/m/user
	limitManageEmail          limiter = "manage_email"               // 10/m/user
	limitReauthenticate       limiter = "reauthenticate"             // 10/m/user
	limitRequestLoginCode     limiter = "request_login_code"         // 20/m/ip,3/m/key
	limitMFAFailed            limiter = "mfa_failed"                 // 5/5m/user,30/m/ip
	limitRecoveryCode         limiter = "recovery_code"              // 5/15m/user
	limitVerifyCode           limiter = "verify_code"                // 20/m/ip
	limitWebAuthnOptions      limiter = "webauthn_options"           // 60/m/ip
	limitInvite               limiter = "invite"                     // 20/m/ip
	limitClientFailed         limiter = "token_endpoint_auth_failed" // 20/m/ip,20/m/ip+client
	limitAdminAPIFailed       limiter = "admin_api_failed"           // 20/m/ip
	limitDeviceUserCode       limiter = "device_user_code"           // 10/m/ip
	limitConsent              limiter = "consent"                    // 30/m/user
	limitAuthAPI              limiter = "auth_api"                   // 100/h/ip
	limitLongRequest          limiter = "long_request"               // 20/m/ip
	limitPages                limiter = "pages"                      // 600/m/ip
	limitMail                 limiter = "mail"                       // 10/10m/key
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

// routes is the one table of addresses. traps are the paths of the honeypot.
func routes(ui *loginui.UI, as *oauth.Server, docs *discovery.Documents, traps []string) []route {
	const get, post = http.MethodGet, http.MethodPost
	table := []route{
		{get, "/.well-known/openid-configuration", forAnyone, takesNothing, unlimited, handlerCache, csrfSafe, docs.OpenIDConfiguration},
		{get, "/.well-known/oauth-authorization-server", forAnyone, takesNothing, unlimited, handlerCache, csrfSafe, docs.AuthorizationServer},
		{get, oauth.KeysPath, forAnyone, takesNothing, unlimited, handlerCache, csrfSafe, docs.JWKS},

		{get, oauth.AuthorizePath, forBrowser, takesNothing, limitLongRequest, noStore, csrfSafe, as.Authorize},
		{post, oauth.AuthorizePath, forBrowser, takesNothing, limitLongRequest, noStore, csrfSealing, as.Authorize},
		{post, oauth.TokenPath, forClient, takesClientSecret, limitClientFailed, noStore, csrfNone, as.Token},
		{post, oauth.IntrospectPath, forClient, takesClientSecret, limitClientFailed, noStore, csrfNone, as.Introspect},
		{post, oauth.RevokePath, forClient, takesClientSecret, limitClientFailed, noStore, csrfNone, as.Revoke},
		{get, oauth.UserInfoPath, forToken, takesToken, unlimited, noStore, csrfNone, as.UserInfo},
		{post, oauth.UserInfoPath, forToken, takesToken, unlimited, noStore, csrfNone, as.UserInfo},

		{get, "/login", forBrowser, takesNothing, limitPages, noStore, csrfSafe, ui.ShowLogin},
		{post, "/login", forBrowser, takesPassword, limitLogin, noStore, csrfOrigin, ui.SubmitLogin},
		{get, "/login/continue", forBrowser, takesNothing, limitPages, noStore, csrfSafe, ui.ShowContinue},
		{post, "/login/continue", forBrowser, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitContinue},
		{get, "/consent", forBrowser, takesNothing, limitPages, noStore, csrfSafe, ui.ShowConsent},
		{post, "/consent", forBrowser, takesNothing, limitConsent, noStore, csrfOrigin, ui.SubmitConsent},
		{get, "/logout", forBrowser, takesNothing, limitPages, noStore, csrfSafe, ui.ShowLogOut},
		{post, "/logout", forBrowser, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitLogOut},
		{get, "/account", forBrowser, takesNothing, limitPages, noStore, csrfSafe, ui.ShowAccount},
		{get, "/account/password", forBrowser, takesNothing, limitPages, noStore, csrfSafe, ui.ShowPassword},
		{post, "/account/password", forBrowser, takesPassword, limitChangePassword, noStore, csrfOrigin, ui.SubmitPassword},
		{get, changePasswordPath, forAnyone, takesNothing, unlimited, noStore, csrfSafe, redirect("/account/password")},

		{get, staticPath + "{path...}", forAnyone, takesNothing, unlimited, handlerCache, csrfSafe, ui.Static},
		{get, healthPath, forAnyone, takesNothing, unlimited, noStore, csrfSafe, showHealth},
		{get, "/{$}", forAnyone, takesNothing, unlimited, noStore, csrfSafe, redirect("/account")},
	}
	for _, path := range traps {
		table = append(table, trap(ui, path)...)
	}
	return table
}

// trap are the routes of one path of the honeypot: with a slash at its end, everything below it, and
// the path without the slash leads there. Nothing is done there with anybody's leave, so that no
// other site could use a browser's cookies.
func trap(ui *loginui.UI, path string) []route {
	const get, post = http.MethodGet, http.MethodPost
	table := []route{
		{get, path, forAnyone, takesNothing, limitPages, noStore, csrfSafe, ui.ShowHoneypot},
		{post, path, forAnyone, takesPassword, limitLogin, noStore, csrfNone, ui.SubmitHoneypot},
	}
	if bare := strings.TrimSuffix(path, "/"); bare != path {
		table = append(table, route{get, bare, forAnyone, takesNothing, unlimited, noStore, csrfSafe, redirect(path)})
	}
	return table
}

// redirect leads to another address of ours.
func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// showHealth says that the process serves, and nothing of how it is: the address is public.
func showHealth(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
