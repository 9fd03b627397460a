package rp

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func browserOf(mux *http.ServeMux) *Browser {
	return &Browser{Transport: InProcess{Handler: mux}}
}

func open(t *testing.T, b *Browser, from, address string) *Page {
	t.Helper()
	page, err := b.OpenFrom(t.Context(), from, address)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestBrowserFollowsRedirectsAndKeepsWhatASeeOtherDrops(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /seen", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/kept", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("POST /kept", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/end?a="+r.FormValue("a"), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /end", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "a is ", r.FormValue("a")) })
	b := browserOf(mux)
	page, err := b.PostFrom(t.Context(), "https://op.example/", "https://op.example/seen", url.Values{"a": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(page.Body), "a is 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var hops []string
	for _, h := range b.Hops {
		hops = append(hops, fmt.Sprint(h.Method, " ", h.URL, " ", h.Status))
	}
	want := []string{
		"POST https://op.example/seen 307", "POST https://op.example/kept 303", "GET https://op.example/end?a=1 200",
	}
	if !reflect.DeepEqual(hops, want) {
		t.Errorf("got %q, want %q", hops, want)
	}
}

func TestBrowserGivesUpOnARedirectLoop(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	if _, err := browserOf(mux).Open(t.Context(), "https://op.example/"); err == nil {
		t.Error("got no error")
	}
}

func TestBrowserSaysWhereARequestComesFrom(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<form method="post" action="`+r.URL.Query().Get("to")+`"><button id="go">Go</button></form>`)
	})
	tests := []struct{ name, from, to, site, origin string }{
		{"the same origin", "https://op.example/away?to=/", "", "same-origin", "https://op.example"},
		{"another port is the same site", "https://op.example/away?to=https://op.example:8443/", "", "same-site", "null"},
		{"another site", "https://op.example/away?to=https://rp.example/", "", "cross-site", "null"},
		{"localhost is not 127.0.0.1", "http://localhost:1/away?to=http://127.0.0.1:1/", "", "cross-site", "null"},
		{"no header where there is no secure context", "http://op.example/away?to=/", "", "", "http://op.example"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := browserOf(mux)
			page := open(t, b, "", test.from)
			if _, err := page.Click(t.Context(), "go"); err != nil {
				t.Fatal(err)
			}
			sent := b.Hops[len(b.Hops)-1].Sent
			got := []string{sent.Get("Sec-Fetch-Site"), sent.Get("Origin")}
			if want := []string{test.site, test.origin}; !reflect.DeepEqual(got, want) {
				t.Errorf("Sec-Fetch-Site and Origin: got %q, want %q", got, want)
			}
		})
	}
}

func TestBrowserSendsCookiesAsSameSiteSays(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/set", func(w http.ResponseWriter, r *http.Request) {
		for name, mode := range map[string]http.SameSite{
			"__Host-lax": http.SameSiteLaxMode, "__Host-strict": http.SameSiteStrictMode, "__Host-none": http.SameSiteNoneMode,
		} {
			http.SetCookie(w, &http.Cookie{Name: name, Value: "1", Path: "/", Secure: true, HttpOnly: true, SameSite: mode})
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {})
	const op, rp = "http://localhost:8080", "https://rp.example/"
	tests := []struct {
		name, method, from string
		want               []string
	}{
		{"a link from the same site", "GET", op, []string{"__Host-lax", "__Host-none", "__Host-strict"}},
		{"an address that was typed", "GET", "", []string{"__Host-lax", "__Host-none", "__Host-strict"}},
		{"a link from another site", "GET", rp, []string{"__Host-lax", "__Host-none"}},
		{"a form from another site", "POST", rp, []string{"__Host-none"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := browserOf(mux)
			open(t, b, "", op+"/set")
			if _, err := b.start(t.Context(), test.method, test.from, op+"/", nil); err != nil {
				t.Fatal(err)
			}
			sent := http.Request{Header: b.Hops[1].Sent}
			var got []string
			for _, name := range []string{"__Host-lax", "__Host-none", "__Host-strict"} {
				if _, err := sent.Cookie(name); err == nil {
					got = append(got, name)
				}
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestBrowserRefusesCookiesThatBreakTheirPrefix(t *testing.T) {
	tests := map[string]struct {
		address string
		cookie  http.Cookie
	}{
		"__Host- without Secure":   {"https://op.example/", http.Cookie{Name: "__Host-a", Path: "/"}},
		"__Host- with a domain":    {"https://op.example/", http.Cookie{Name: "__Host-a", Path: "/", Secure: true, Domain: "op.example"}},
		"__Host- below a path":     {"https://op.example/", http.Cookie{Name: "__Host-a", Path: "/a", Secure: true}},
		"Secure over http":         {"http://op.example/", http.Cookie{Name: "a", Secure: true}},
		"another host's domain":    {"https://op.example/", http.Cookie{Name: "a", Domain: "rp.example"}},
		"SameSite=None in the raw": {"https://op.example/", http.Cookie{Name: "a", SameSite: http.SameSiteNoneMode}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var b Browser
			if err := b.Plant(test.address, &test.cookie); err == nil {
				t.Error("it was kept")
			}
		})
	}
}

func TestCookiesEnd(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := Browser{Now: func() time.Time { return now }}
	const address = "https://op.example/"
	for _, c := range []http.Cookie{{Name: "lasting", Value: "1", MaxAge: 60}, {Name: "session", Value: "1"}} {
		if err := b.Plant(address, &c); err != nil {
			t.Fatal(err)
		}
	}
	b.Restart()
	if got := b.Cookie(address, "lasting") + b.Cookie(address, "session"); got != "1" {
		t.Errorf("after a restart: got %q, want only the lasting one", got)
	}
	now = now.Add(time.Minute)
	if got := b.Cookie(address, "lasting"); got != "" {
		t.Errorf("after its time: got %q, want none", got)
	}
}

func TestBrowserHoldsFormAction(t *testing.T) {
	tests := []struct {
		policy  string
		allowed bool
	}{
		{"", true},
		{"form-action 'self'", false},
		{"default-src 'none'; form-action 'self' https://rp.example", true},
		{"form-action 'self' https://rp.example:8443", false},
		{"form-action 'self' http://rp.example", false},
		{"form-action https:, form-action 'none'", false},
	}
	for _, test := range tests {
		t.Run(test.policy, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /form", func(w http.ResponseWriter, r *http.Request) {
				if test.policy != "" {
					w.Header().Set("Content-Security-Policy", test.policy)
				}
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprint(w, `<form method="post"><button id="go">Go</button></form>`)
			})
			mux.HandleFunc("POST /form", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://rp.example/callback", http.StatusSeeOther)
			})
			b := browserOf(mux)
			b.StopAt = func(u *url.URL) bool { return u.Host == "rp.example" }
			_, err := open(t, b, "", "https://op.example/form").Click(t.Context(), "go")
			if got := !errors.Is(err, ErrFormAction); got != test.allowed {
				t.Errorf("allowed: got %v, want %v (%v)", got, test.allowed, err)
			}
		})
	}
}

func TestFormSendsWhatAPersonLeftInIt(t *testing.T) {
	const page = `<form method="get" action="/language"><select name="l"><option>en</select></form>
<main><form method="post" action="/sent?tx=1" id="f">
<input name="hidden" type="hidden" value="h"><input name="username" value="old"><input name="off" disabled value="x">
<input type="checkbox" name="remember" value="1"><input type="checkbox" name="kept" checked>
<select name="zone"><option value="a">A<option value="b" selected>B</select><textarea name="note">n</textarea>
<button id="allow" name="decision" value="allow">Allow</button><button id="deny" name="decision" value="deny">Deny</button>
</form><button id="outside" form="f" name="decision" value="outside">Outside</button></main>`
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<!DOCTYPE html>"+page) })
	mux.HandleFunc("POST /sent", func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		fmt.Fprint(w, r.PostForm.Encode())
	})
	press := func(id string) string {
		form := open(t, browserOf(mux), "", "https://op.example/").Form()
		if err := errors.Join(form.Fill("username", "alice"), form.Fill("remember", "1")); err != nil {
			t.Fatal(err)
		}
		var sent *Page
		var err error
		if id == "" {
			sent, err = form.Submit(t.Context())
		} else {
			sent, err = form.page.Click(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(sent.Body)
	}
	const filled = "decision=allow&hidden=h&kept=on&note=n&remember=1&username=alice&zone=b"
	if got := press(""); got != filled {
		t.Errorf("Enter: got %q, want %q", got, filled)
	}
	// Click starts with the page as it came, so nothing is filled in.
	const bare = "decision=outside&hidden=h&kept=on&note=n&username=old&zone=b"
	if got := press("outside"); got != bare {
		t.Errorf("a button outside: got %q, want %q", got, bare)
	}
	if err := open(t, browserOf(mux), "", "https://op.example/").Form().Fill("password", "x"); err == nil {
		t.Error("a field that is not there was filled in")
	}
}

func TestPageShowsItsWordsAndErrorCodes(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `<title>Error: Sign in</title><h1>Sign <b>in</b></h1><div data-error-code="a"><p data-error-code="b" id="p">No.</p></div><script>x</script>`)
	})
	page := open(t, browserOf(mux), "", "https://op.example/")
	got := []string{page.Title(), page.Heading(), page.Text(), strings.Join(page.ErrorCodes(), ","), page.TextOf("p")}
	if want := []string{"Error: Sign in", "Sign in", "Sign in No.", "a,b", "No."}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
