package main

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/config"
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
	Sudo    bool // whether its deed asks for a fresh proof of who is signed in
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
	takesCode         taken = "code"   // of a few digits, which was mailed
	takesFactor       taken = "factor" // a code of an app, or a recovery code
	takesKey          taken = "key"    // the signature of a passkey: nobody guesses it
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
	securityTextPath   = "/.well-known/security.txt"
)

// Whether a route is for whoever proved a moment ago who they are.
const (
	sudo   = true
	noSudo = false
)

// routes is the one table of addresses. began is when the server started.
func routes(ui *loginui.UI, as *oauth.Server, docs *discovery.Documents, cfg *config.Config, began time.Time) []route {
	table := slices.Concat(protocolRoutes(as, docs), signInRoutes(ui), mailedRoutes(ui), accountRoutes(ui), []route{
		{http.MethodGet, changePasswordPath, forAnyone, noSudo, takesNothing, unlimited, noStore, csrfSafe, redirect("/account/password")},
		{http.MethodGet, "/.well-known/webauthn", forAnyone, noSudo, takesNothing, unlimited, handlerCache, csrfSafe, ui.ShowRelatedOrigins},
		{http.MethodGet, staticPath + "{path...}", forAnyone, noSudo, takesNothing, unlimited, handlerCache, csrfSafe, ui.Static},
		{http.MethodGet, healthPath, forAnyone, noSudo, takesNothing, unlimited, noStore, csrfSafe, showHealth},
		{http.MethodGet, "/{$}", forAnyone, noSudo, takesNothing, unlimited, noStore, csrfSafe, redirect("/account")},
	})
	if len(cfg.Security.Contacts) > 0 {
		show := showSecurityText(cfg, began)
		table = append(table, route{http.MethodGet, securityTextPath, forAnyone, noSudo, takesNothing, unlimited, handlerCache, csrfSafe, show})
	}
	for _, path := range cfg.Honeypot.Paths {
		table = append(table, trap(ui, path)...)
	}
	return table
}

// protocolRoutes are for relying parties, and for browsers that come from them.
func protocolRoutes(as *oauth.Server, docs *discovery.Documents) []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/.well-known/openid-configuration", forAnyone, noSudo, takesNothing, unlimited, handlerCache, csrfSafe, docs.OpenIDConfiguration},
		{get, "/.well-known/oauth-authorization-server", forAnyone, noSudo, takesNothing, unlimited, handlerCache, csrfSafe, docs.AuthorizationServer},
		{get, oauth.KeysPath, forAnyone, noSudo, takesNothing, unlimited, handlerCache, csrfSafe, docs.JWKS},

		{get, oauth.AuthorizePath, forBrowser, noSudo, takesNothing, limitLongRequest, noStore, csrfSafe, as.Authorize},
		{post, oauth.AuthorizePath, forBrowser, noSudo, takesNothing, limitLongRequest, noStore, csrfSealing, as.Authorize},
		{post, oauth.TokenPath, forClient, noSudo, takesClientSecret, limitClientFailed, noStore, csrfNone, as.Token},
		{post, oauth.IntrospectPath, forClient, noSudo, takesClientSecret, limitClientFailed, noStore, csrfNone, as.Introspect},
		{post, oauth.RevokePath, forClient, noSudo, takesClientSecret, limitClientFailed, noStore, csrfNone, as.Revoke},
		{get, oauth.UserInfoPath, forToken, noSudo, takesToken, unlimited, noStore, csrfNone, as.UserInfo},
		{post, oauth.UserInfoPath, forToken, noSudo, takesToken, unlimited, noStore, csrfNone, as.UserInfo},
	}
}

// signInRoutes lead into an account: signing in and up, consent, and out again.
func signInRoutes(ui *loginui.UI) []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/login", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowLogin},
		{post, "/login", forBrowser, noSudo, takesPassword, limitLogin, noStore, csrfOrigin, ui.SubmitLogin},
		{get, "/login/continue", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowContinue},
		{post, "/login/continue", forBrowser, noSudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitContinue},
		{get, "/login/code", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowLogInCode},
		{post, "/login/code", forBrowser, noSudo, takesNothing, limitRequestLoginCode, noStore, csrfOrigin, ui.SubmitLogInCode},
		{get, "/login/code/enter", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowEnterLogInCode},
		{post, "/login/code/enter", forBrowser, noSudo, takesCode, limitVerifyCode, noStore, csrfOrigin, ui.SubmitEnterLogInCode},
		{get, "/login/password", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowChooseNew},
		{post, "/login/password", forBrowser, noSudo, takesNothing, limitChangePassword, noStore, csrfOrigin, ui.SubmitChooseNew},
		{get, "/login/factor", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowFactor},
		{post, "/login/factor", forBrowser, noSudo, takesFactor, limitMFAFailed, noStore, csrfOrigin, ui.SubmitFactor},
		{post, "/login/factor/key", forBrowser, noSudo, takesKey, limitLogin, noStore, csrfOrigin, ui.SubmitFactorKey},
		{get, "/login/passkey/options", forBrowser, noSudo, takesNothing, limitWebAuthnOptions, noStore, csrfSafe, ui.ShowPasskeyOptions},
		{post, "/login/passkey", forBrowser, noSudo, takesKey, limitLogin, noStore, csrfOrigin, ui.SubmitPasskeyLogin},
		{get, "/login/passkey/offer", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowOffer},
		{post, "/login/passkey/offer", forBrowser, sudo, takesKey, limitLogin, noStore, csrfOrigin, ui.SubmitOffer},
		{get, "/login/enrol", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowEnrol},
		{post, "/login/enrol", forBrowser, noSudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitEnrol},
		{get, "/login/enrol/app", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowEnrolApp},
		{post, "/login/enrol/app", forBrowser, noSudo, takesFactor, limitMFAFailed, noStore, csrfOrigin, ui.SubmitEnrolApp},
		{get, "/login/enrol/key", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowEnrolKey},
		{post, "/login/enrol/key", forBrowser, noSudo, takesKey, limitLogin, noStore, csrfOrigin, ui.SubmitEnrolKey},
		{get, "/signup", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowSignUp},
		{post, "/signup", forBrowser, noSudo, takesPassword, limitSignup, noStore, csrfOrigin, ui.SubmitSignUp},
		{get, "/verify", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowVerify},
		{post, "/verify", forBrowser, noSudo, takesCode, limitVerifyCode, noStore, csrfOrigin, ui.SubmitVerify},
		{get, "/consent", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowConsent},
		{post, "/consent", forBrowser, noSudo, takesNothing, limitConsent, noStore, csrfOrigin, ui.SubmitConsent},
		{get, "/logout", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowLogOut},
		{post, "/logout", forBrowser, noSudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitLogOut},
	}
}

// mailedRoutes are for whoever forgot their password, and for the links of mails: to open one
// changes nothing.
func mailedRoutes(ui *loginui.UI) []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/reset", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowReset},
		{post, "/reset", forBrowser, noSudo, takesNothing, limitResetPassword, noStore, csrfOrigin, ui.SubmitReset},
		{get, "/reset/code", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowResetCode},
		{post, "/reset/code", forBrowser, noSudo, takesCode, limitVerifyCode, noStore, csrfOrigin, ui.SubmitResetCode},
		{get, "/reset/new", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowResetNew},
		{post, "/reset/new", forBrowser, noSudo, takesNothing, limitResetPasswordFromKey, noStore, csrfOrigin, ui.SubmitResetNew},
		{get, "/reset/link", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowResetLink},
		{post, "/reset/link", forBrowser, noSudo, takesToken, limitResetPasswordFromKey, noStore, csrfOrigin, ui.SubmitResetLink},
		{get, "/reset/done", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowResetDone},

		{get, "/verify/link", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowVerifyLink},
		{post, "/verify/link", forBrowser, noSudo, takesToken, unlimited, noStore, csrfOrigin, ui.SubmitVerifyLink},
		{get, "/secure/{token}", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowNotMe},
		{post, "/secure/{token}", forBrowser, noSudo, takesToken, unlimited, noStore, csrfOrigin, ui.SubmitNotMe},
		{get, "/account/undelete", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowUndelete},
		{post, "/account/undelete", forBrowser, noSudo, takesToken, unlimited, noStore, csrfOrigin, ui.SubmitUndelete},
		{get, "/account/revert", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowRevert},
		{post, "/account/revert", forBrowser, noSudo, takesToken, unlimited, noStore, csrfOrigin, ui.SubmitRevert},
	}
}

// accountRoutes are the pages on which people look after their own account.
func accountRoutes(ui *loginui.UI) []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/account", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowAccount},
		{get, "/account/profile", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowProfile},
		{post, "/account/profile", forBrowser, sudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitProfile},
		{get, "/account/emails", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowEmails},
		{post, "/account/emails", forBrowser, sudo, takesNothing, limitManageEmail, noStore, csrfOrigin, ui.SubmitEmails},
		{get, "/account/emails/add", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowAddEmail},
		{post, "/account/emails/add", forBrowser, sudo, takesNothing, limitManageEmail, noStore, csrfOrigin, ui.SubmitAddEmail},
		{get, "/account/emails/code", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowEmailCode},
		{post, "/account/emails/code", forBrowser, noSudo, takesCode, limitVerifyCode, noStore, csrfOrigin, ui.SubmitEmailCode},
		{get, "/account/password", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowPassword},
		{post, "/account/password", forBrowser, noSudo, takesPassword, limitChangePassword, noStore, csrfOrigin, ui.SubmitPassword},
		{get, "/account/two-step", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowTwoStep},
		{post, "/account/two-step", forBrowser, sudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitTwoStep},
		{get, "/account/two-step/remove", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowRemove},
		{post, "/account/two-step/app", forBrowser, sudo, takesNothing, unlimited, noStore, csrfOrigin, ui.StartApp},
		{get, "/account/two-step/app", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowApp},
		{post, "/account/two-step/app/code", forBrowser, sudo, takesFactor, limitMFAFailed, noStore, csrfOrigin, ui.SubmitApp},
		{get, "/account/passkeys", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowPasskeys},
		{post, "/account/passkeys", forBrowser, sudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitPasskeys},
		{get, "/account/passkeys/add", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowAddPasskey},
		{post, "/account/passkeys/add", forBrowser, sudo, takesKey, limitLogin, noStore, csrfOrigin, ui.SubmitAddPasskey},
		{get, "/account/recovery-codes", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowRecoveryCodes},
		{post, "/account/recovery-codes", forBrowser, sudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitRecoveryCodes},
		{get, "/account/sessions", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowSessions},
		{post, "/account/sessions", forBrowser, noSudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitSessions},
		{get, "/account/apps", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowApps},
		{post, "/account/apps", forBrowser, noSudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitApps},
		{get, "/account/activity", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowActivity},
		{get, "/account/appearance", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowAppearance},
		{post, "/account/appearance", forBrowser, noSudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitAppearance},
		{get, "/account/data", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowData},
		{post, "/account/data", forBrowser, sudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitData},
		{get, "/account/delete", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowDelete},
		{post, "/account/delete", forBrowser, sudo, takesNothing, unlimited, noStore, csrfOrigin, ui.SubmitDelete},
		{get, "/account/deleted", forAnyone, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowDeleted},
		{get, "/account/reauthenticate", forBrowser, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowReauthenticate},
		{post, "/account/reauthenticate", forBrowser, noSudo, takesPassword, limitReauthenticate, noStore, csrfOrigin, ui.SubmitReauthenticate},
	}
}

// trap are the routes of one path of the honeypot: with a slash at its end, everything below it, and
// the path without the slash leads there. Nothing is done there with anybody's leave, so that no
// other site could use a browser's cookies.
func trap(ui *loginui.UI, path string) []route {
	const get, post = http.MethodGet, http.MethodPost
	table := []route{
		{get, path, forAnyone, noSudo, takesNothing, limitPages, noStore, csrfSafe, ui.ShowHoneypot},
		{post, path, forAnyone, noSudo, takesPassword, limitLogin, noStore, csrfNone, ui.SubmitHoneypot},
	}
	if bare := strings.TrimSuffix(path, "/"); bare != path {
		table = append(table, route{get, bare, forAnyone, noSudo, takesNothing, unlimited, noStore, csrfSafe, redirect(path)})
	}
	return table
}

// redirect leads to another address of ours.
func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// showHealth says that the process serves, and nothing of how it is: the address is public.
func showHealth(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
