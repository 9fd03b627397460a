package oauth

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"postern/idp"
)

// TestStatementsARequestMaySend holds the costs that are promised: BEGIN and COMMIT, the session's
// touch and the cache's polls are not counted, so the clock stands still here.
func TestStatementsARequestMaySend(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		b := h.signedIn("alice")
		request := h.request("web")
		request.Set("scope", "openid email offline_access")
		h.code(b, request) // consent is on record now
		count := func(name string, want []string, do func()) {
			t.Helper()
			h.sent.take()
			do()
			if got := h.sent.take(); !slices.Equal(got, want) {
				t.Errorf("%s: sent %v, want %v", name, got, want)
			}
		}
		var code string
		var tokens, again answer
		count("authorize", []string{"SELECT", "INSERT"}, func() {
			_, query := outcome(h, h.authorize(b, request))
			code = query.Get("code")
		})
		count("authorize without a session", nil, func() { h.authorize(newBrowser("nobody"), request) })
		count("a wrong secret", nil, func() {
			h.callAs("web", "wrong", h.Token, redeem("web", code))
		})
		count("code shown by another client", []string{"SELECT"}, func() { h.call(h.Token, "other", redeem("web", code)) })
		count("code exchange", []string{"SELECT", "UPDATE"}, func() { tokens = h.call(h.Token, "web", redeem("web", code)) })
		h.want(tokens, http.StatusOK, "")
		count("refresh", []string{"SELECT", "UPDATE"}, func() { again = h.call(h.Token, "web", refresh(tokens.text("refresh_token"))) })
		h.want(again, http.StatusOK, "")
		count("refresh repeated in the window", []string{"SELECT"}, func() {
			h.want(h.call(h.Token, "web", refresh(tokens.text("refresh_token"))), http.StatusOK, "")
		})
		count("userinfo", []string{"SELECT"}, func() { h.userInfoWith(again.text("access_token")) })
		count("introspection of an access token", []string{"SELECT"}, func() { h.introspectAs("web", again.text("access_token")) })
		count("introspection of a refresh token", []string{"SELECT"}, func() { h.introspectAs("web", again.text("refresh_token")) })
		var machine string
		count("client credentials", nil, func() {
			machine = h.call(h.Token, "machine", url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		})
		count("introspection of a client token", []string{"SELECT"}, func() { h.introspectAs("machine", machine) })
		for _, garbage := range h.garbage(again) {
			count("garbage at userinfo", nil, func() { h.userInfoWith(garbage) })
			count("garbage at introspection", nil, func() { h.introspectAs("web", garbage) })
			count("garbage at revocation", nil, func() { h.revokeAs("web", garbage) })
			count("garbage as a code", nil, func() { h.call(h.Token, "web", redeem("web", garbage)) })
			count("garbage as a refresh token", nil, func() { h.call(h.Token, "web", refresh(garbage)) })
		}
		h.now.turn(11 * time.Second)
		h.introspectAs("machine", "x") // the cache polls
		count("skip", []string{"SELECT", "UPDATE", "INSERT", "INSERT"}, func() {
			h.want(h.call(h.Token, "web", refresh(tokens.text("refresh_token"))), http.StatusOK, "")
		})
	})
}

// garbage are tokens that no server of these keys made.
func (h *house) garbage(real answer) []string {
	access, refresh := real.text("access_token"), real.text("refresh_token")
	forged := func(token string) string { return token[:len(token)-4] + "AAAA" }
	return []string{
		"x", "at_", "rt_", "ac_", "ct_", forged(access), forged(refresh), "ac_" + access[3:], "ct_" + access[3:],
		access + "A", access[:40], refresh + "\n",
	}
}

func TestLostRefreshRaceCostsOneMoreSelect(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		first := h.tokensFor("web", "openid offline_access").text("refresh_token")
		parsed, _ := h.tokens.Parse(idp.RefreshToken, first)
		visit, err := h.p.Grant(t.Context(), parsed, first, false)
		if err != nil {
			t.Fatal(err)
		}
		winner := h.call(h.Token, "web", refresh(first))
		h.want(winner, http.StatusOK, "")
		h.sent.take()
		// The loser's SELECT was before the winner's UPDATE.
		client, err := h.p.Client(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		grant, verdict, err := h.p.Refresh(t.Context(), visit, 1, h.p.Sender(t.Context(), client, ""))
		if err != nil || verdict != idp.Repeat || h.tokens.MintSuccessor(grant.Head()) != winner.text("refresh_token") {
			t.Errorf("got verdict %d (%v), want the winner's successor", verdict, err)
		}
		if sent := h.sent.take(); !slices.Equal(sent, []string{"UPDATE", "SELECT"}) {
			t.Errorf("sent %v, want UPDATE and SELECT", sent)
		}
	})
}

// callAs posts a form with another secret than the client's.
func (h *house) callAs(client, secret string, endpoint http.HandlerFunc, form url.Values) answer {
	h.t.Helper()
	right := h.secrets[client]
	h.secrets[client] = secret
	defer func() { h.secrets[client] = right }()
	return h.call(endpoint, client, form)
}
