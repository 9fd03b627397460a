package loginui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/config"
	"postern/idp"
)

// trap is a house whose limits let the honeypot be asked often.
func trap(t *testing.T) *house {
	return newHouse(t, func(cfg *config.Config) { cfg.RateLimits.LoginFailed, cfg.Honeypot.BlockAfter = "1000/m/ip", 0 })
}

func TestS2_05_HoneypotShowsASignInBelowItsPaths(t *testing.T) {
	h := trap(t)
	b := h.browser()
	for path, next := range map[string]string{"/admin/": "/admin/", "/admin/auth/user/?x=1": "/admin/auth/user/", "/admin/%22%3E%3Cb%3E": `/admin/"><b>`} {
		w := b.get(path)
		list := elements(t, w.Body.String())
		if w.Code != http.StatusOK || len(named(list, "b")) != 0 {
			t.Errorf("%s: %d\n%s", path, w.Code, w.Body)
		}
		for _, n := range named(list, "input") {
			if attribute(n, "name") == "next" && attribute(n, "value") != next {
				t.Errorf("%s leads to %q, want %q", path, attribute(n, "value"), next)
			}
		}
		if text := w.Body.String(); !strings.Contains(text, `name="next"`) || !strings.Contains(text, "noindex") || strings.Contains(text, "Postern") {
			t.Errorf("%s: %s", path, text)
		}
	}
	if w := b.get("/admin"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/admin/" {
		t.Errorf("/admin: %d to %q", w.Code, w.Header().Get("Location"))
	}
	if len(b.cookies) != 0 {
		t.Errorf("cookies %v", b.cookies)
	}
}

func TestS2_05_HoneypotLetsNobodyIn(t *testing.T) {
	h := trap(t)
	b := h.browser()
	for _, c := range []struct{ name, contentType, body string }{
		{"the right password", "application/x-www-form-urlencoded", fields("username", "alice", "password", alicesPassword, "next", "/admin/x").Encode()},
		{"a wrong one", "application/x-www-form-urlencoded", fields("username", "zoe", "password", "x").Encode()},
		{"nothing", "application/x-www-form-urlencoded", ""},
		{"NUL and what is not UTF-8", "application/x-www-form-urlencoded", "username=%00%ff&password=%00"},
		{"what is not encoded", "application/x-www-form-urlencoded", "%zz&username=%zz"},
		{"JSON", "application/json", `{"username":"alice"}`},
		{"no type", "", "x"},
		{"more than a form holds", "application/x-www-form-urlencoded", "username=" + strings.Repeat("a", maxFormBytes)},
		{"an oversized field", "application/x-www-form-urlencoded", "username=" + strings.Repeat("é", maxFieldBytes)},
		{"another site to go on to", "application/x-www-form-urlencoded", fields("username", "a", "password", "b", "next", "//evil.example/").Encode()},
	} {
		w := b.send("POST", "/admin/", strings.NewReader(c.body), c.contentType)
		expect(t, w, http.StatusBadRequest, "invalid_credentials")
		if strings.Contains(w.Body.String(), alicesPassword) || strings.Contains(w.Body.String(), "evil.example") || len(b.cookies) != 0 {
			t.Errorf("%s: %v\n%s", c.name, b.cookies, w.Body)
		}
	}
	list, err := h.Attempts(t.Context(), idp.AttemptFilter{Kind: "honeypot"}, idp.ID{}, 100)
	if err != nil || len(list) != 10 {
		t.Fatalf("%d attempts, %v; want 10", len(list), err)
	}
	for _, a := range list {
		if strings.Contains(a.Parameters, "correct") || a.Path != "/admin/" {
			t.Errorf("%+v", a)
		}
	}
}

func TestS2_07_HoneypotKeepsNothingOfFieldsThatAreNotItsOwn(t *testing.T) {
	h := trap(t)
	h.cfg.Lockout.SensitiveParameters = nil
	b := h.browser()
	for _, body := range []string{
		fields("log", "alice", "pwd", alicesPassword, "username", "alice", "next", "/admin/x").Encode(),
		fields("clave", alicesPassword, "username", "alice", "next", "/admin/x").Encode(),
		fields(`{"log":"alice","pwd":"`+alicesPassword+`"}`, "", "username", "alice", "next", "/admin/x").Encode(),
	} {
		expect(t, b.send("POST", "/admin/", strings.NewReader(body), "application/x-www-form-urlencoded"), http.StatusBadRequest, "invalid_credentials")
	}
	list, err := h.Attempts(t.Context(), idp.AttemptFilter{Kind: "honeypot"}, idp.ID{}, 100)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d attempts, %v; want 3", len(list), err)
	}
	for _, a := range list {
		if a.Parameters != "next=%2Fadmin%2Fx&username=alice" {
			t.Errorf("kept %q", a.Parameters)
		}
	}
}

func TestS2_05_HoneypotIsLimited(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) { cfg.RateLimits.LoginFailed, cfg.Honeypot.BlockAfter = "3/m/ip", 0 })
	b := h.browser()
	var w *httptest.ResponseRecorder
	for range 4 {
		w = b.post("/admin/", fields("username", "root", "password", "x"))
	}
	expect(t, w, http.StatusTooManyRequests, "throttled")
	if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "Postern") {
		t.Errorf("%v\n%s", w.Header(), w.Body)
	}
}

func TestS2_05_HoneypotAnswersScriptsInJSON(t *testing.T) {
	h := trap(t)
	b := h.browser()
	b.header.Set("Accept", "application/json")
	if d := document(t, b.post("/admin/", fields("username", "alice", "password", alicesPassword))); d["code"] != "invalid_credentials" {
		t.Errorf("%v", d)
	}
}

func TestS2_08_AnotherSitesFormBlocksNobody(t *testing.T) {
	h := newHouse(t, func(cfg *config.Config) {
		cfg.RateLimits.LoginFailed, cfg.Honeypot.BlockAfter, cfg.TLS.Cert = "1000/m/ip", 1, "cert.pem"
	})
	b := h.browser()
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		b.header.Del("Sec-Fetch-Site")
		b.header.Set(header, value)
		expect(t, b.post("/admin/", fields("username", "root", "password", "x")), http.StatusBadRequest, "invalid_credentials")
		b.header.Del(header)
	}
	if list, err := h.Blocks(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("blocks %v, %v; want none", list, err)
	}
	b.post("/admin/", fields("username", "root", "password", "x"))
	if list, err := h.Blocks(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("blocks %v, %v; want one", list, err)
	}
}
