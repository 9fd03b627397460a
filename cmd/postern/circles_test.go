package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/conformance/rp"
	"postern/storage/storagetest"
)

// browsersOf are browsers in whatever state a sign-in can be in.
func (h *house) browsersOf(t *testing.T) map[string]*rp.Browser {
	t.Helper()
	h.addUnverified(t, "unproved")
	for _, name := range []string{"plain", "app", "both"} {
		h.addUser(t, name)
	}
	app, both := h.giveApp(t, "app"), h.giveApp(t, "both")
	h.giveKey(t, "both", both.Enrolled)
	browsers := map[string]*rp.Browser{"nobody": h.browser()}
	enter := func(name string) (b *rp.Browser, page *rp.Page) {
		b = h.browser()
		return b, h.signIn(t, b, name, testPassword)
	}
	for _, name := range []string{"plain", "unproved", "app", "both"} {
		browsers[name+" by a password"], _ = enter(name)
	}
	for name, a := range map[string]*authenticatorApp{"app": app, "both": both} {
		b, page := enter(name)
		fillIn(t, openPage(t, b, page.URL.RequestURI()+"&way=app"), map[string]string{"code": a.code(t)})
		browsers[name+" by two factors"] = b
	}
	return browsers
}

// requestsToWalk are authorization requests by what they ask of a sign-in.
func requestsToWalk() [][]string {
	var list [][]string
	for i, asked := range [][]string{
		nil, {"acr_values", "phrh phr"}, {"claims", `{"id_token":{"acr":{"essential":true,"value":"urn:postern:acr:mfa"}}}`},
		{"claims", `{"id_token":{"acr":{"essential":true,"value":"phr"}}}`}, {"acr_values", "urn:postern:acr:mfa"},
		{"claims", `{"id_token":{"acr":{"essential":true,"value":"gold"}}}`}, {"max_age", "0"}, {"max_age", "60"},
	} {
		prompts := []string{"none", ""}
		if i < 3 { // what else is asked for makes no difference to them
			prompts = append(prompts, "login", "consent", "select_account")
		}
		for _, prompt := range prompts {
			list = append(list, append([]string{"prompt", prompt}, asked...))
		}
	}
	return list
}

// pagesOfSignIns can be opened with the interaction of any other page.
var pagesOfSignIns = []string{
	"/login", "/login?another=1", "/login/continue", "/login/factor", "/login/factor?way=recovery", "/login/enrol", "/login/enrol/app",
	"/login/enrol/key", "/login/passkey/offer", "/login/password", "/login/code", "/login/code/enter", "/verify", "/consent", "/signup",
	"/account/reauthenticate", "/oauth2/authorize",
}

// Whatever is asked for, and whoever is there, the browser comes to a page or goes back to the relying
// party, and with prompt=none it goes back at once.
func TestNoSignInRunsInCircles(t *testing.T) {
	first := open(t, storagetest.SQLite(t), nil)
	browsers := first.browsersOf(t)
	party := first.party(t)
	for policy, change := range map[string]func(*config.Config){
		"optional": nil,
		"required": func(cfg *config.Config) { cfg.MFA.Policy = "required" },
		"grace":    func(cfg *config.Config) { cfg.MFA.Policy, cfg.MFA.EnrolGrace = "required", 24*time.Hour },
		"off":      func(cfg *config.Config) { cfg.MFA.Policy = "off" },
		"without sudo": func(cfg *config.Config) {
			cfg.MFA.Policy, cfg.Email.Verification, cfg.Sudo.Required = "required", "optional", false
		},
	} {
		for age, later := range map[string]time.Duration{"now": 0, "later": first.cfg.Sudo.Timeout + time.Minute} {
			pages := age == "now" || policy == "required" // old proofs make no other difference to pages
			if !pages && (policy == "off" || policy == "grace") {
				continue
			}
			t.Run(policy+", "+age, func(t *testing.T) {
				h := open(t, first.url, change)
				h.now = first.now.Add(later)
				for _, name := range slices.Sorted(maps.Keys(browsers)) {
					b := *browsers[name]
					b.Transport, b.Now = h.transport(), func() time.Time { return h.now }
					for _, request := range requestsToWalk() {
						walk(t, &b, party, fmt.Sprintf("%s, %q", name, request), request, pages)
					}
				}
			})
		}
	}
}

// walk sends a request, and, where pages says so, opens every page with the interaction that it leads to.
func walk(t *testing.T, b *rp.Browser, party *rp.RelyingParty, name string, request []string, pages bool) {
	t.Helper()
	page, err := b.OpenFrom(t.Context(), party.RedirectURI, party.NewRequest(request...).URL())
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if page.Stopped {
		return
	}
	if page.Status >= 500 || request[1] == "none" {
		t.Errorf("%s: it shows %s with %d", name, page.URL.Path, page.Status)
	}
	tx := page.URL.Query().Get("tx")
	if tx == "" || !pages || request[1] != "" && request[1] != "login" {
		return
	}
	for _, path := range pagesOfSignIns {
		to := path + "?tx="
		if strings.Contains(path, "?") {
			to = path + "&tx="
		}
		got, err := b.Open(t.Context(), testIssuer+to+url.QueryEscape(tx))
		if err != nil {
			t.Errorf("%s, at %s: %v", name, path, err)
		} else if got.Status >= 500 {
			t.Errorf("%s, at %s: %s shows %d", name, path, got.URL.Path, got.Status)
		}
	}
}
