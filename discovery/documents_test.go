package discovery

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"postern/oauth"
)

func newDocuments(t *testing.T, keys func() ([]byte, error)) *Documents {
	t.Helper()
	return newDocumentsWhile(t, func() bool { return false }, keys)
}

func newDocumentsWhile(t *testing.T, creates func() bool, keys func() ([]byte, error)) *Documents {
	t.Helper()
	d, err := New(oauth.Capabilities{Issuer: "https://id.example", CodeChallengeMethods: []string{"S256"}, Prompts: []string{"login"}}, creates, keys)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ask(handler http.HandlerFunc, method, known string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	if known != "" {
		r.Header.Set("If-None-Match", known)
	}
	w := httptest.NewRecorder()
	handler(w, r)
	return w
}

func TestDocumentsAreReadyBytesWithTheirTag(t *testing.T) {
	keys := []byte(`{"keys":[]}`)
	d := newDocuments(t, func() ([]byte, error) { return keys, nil })
	for name, handler := range map[string]http.HandlerFunc{
		"openid-configuration": d.OpenIDConfiguration, "oauth-authorization-server": d.AuthorizationServer, "jwks": d.JWKS,
	} {
		t.Run(name, func(t *testing.T) {
			full := ask(handler, http.MethodGet, "")
			tag := full.Header().Get("ETag")
			if full.Code != http.StatusOK || !json.Valid(full.Body.Bytes()) || tag == "" ||
				full.Header().Get("Content-Type") != "application/json" || full.Header().Get("Cache-Control") == "" {
				t.Fatalf("got %d %s with %v", full.Code, full.Body, full.Header())
			}
			head := ask(handler, http.MethodHead, "")
			if head.Code != http.StatusOK || head.Body.Len() != 0 || !reflect.DeepEqual(head.Header(), full.Header()) {
				t.Errorf("HEAD: got %d, %q and %v, want the headers of GET", head.Code, head.Body, head.Header())
			}
			for _, known := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				if w := ask(handler, http.MethodGet, known); w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag {
					t.Errorf("If-None-Match %s: got %d %q, want 304", known, w.Code, w.Body)
				}
			}
			if w := ask(handler, http.MethodGet, `"other"`); w.Code != http.StatusOK {
				t.Errorf("another tag: got %d, want 200", w.Code)
			}
			if w := ask(handler, http.MethodPost, ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("POST: got %d, want 405", w.Code)
			}
		})
	}
}

func TestKeysAreTakenAnewWhenTheyChange(t *testing.T) {
	keys := []byte(`{"keys":[1]}`)
	d := newDocuments(t, func() ([]byte, error) { return keys, nil })
	first := ask(d.JWKS, http.MethodGet, "")
	keys = []byte(`{"keys":[2]}`)
	second := ask(d.JWKS, http.MethodGet, first.Header().Get("ETag"))
	if second.Code != http.StatusOK || second.Body.String() != `{"keys":[2]}` || second.Header().Get("ETag") == first.Header().Get("ETag") {
		t.Errorf("got %d %s, want the new keys under another tag", second.Code, second.Body)
	}
}

func TestKeysThatCannotBeToldAre503(t *testing.T) {
	d := newDocuments(t, func() ([]byte, error) { return nil, errors.New("the cache is not fresh") })
	w := ask(d.JWKS, http.MethodGet, "")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d with %v, want 503", w.Code, w.Header())
	}
}

func TestBothMetadataDocumentsSayTheSame(t *testing.T) {
	d := newDocuments(t, nil)
	a, b := ask(d.OpenIDConfiguration, http.MethodGet, ""), ask(d.AuthorizationServer, http.MethodGet, "")
	if a.Body.String() != b.Body.String() {
		t.Errorf("got %s and %s", a.Body, b.Body)
	}
}

func TestS0_90_CreateIsAdvertisedWhilePeopleMaySignUpAlone(t *testing.T) {
	open := false
	d := newDocumentsWhile(t, func() bool { return open }, nil)
	for _, want := range []struct {
		open bool
		list []string
	}{{false, []string{"login"}}, {true, []string{"login", "create"}}, {false, []string{"login"}}} {
		open = want.open
		for name, handler := range map[string]http.HandlerFunc{"OpenID": d.OpenIDConfiguration, "OAuth": d.AuthorizationServer} {
			var got oauth.Capabilities
			if err := json.Unmarshal(ask(handler, http.MethodGet, "").Body.Bytes(), &got); err != nil || !reflect.DeepEqual(got.Prompts, want.list) {
				t.Errorf("%s, open %v: got %v and %v, want %v", name, want.open, got.Prompts, err, want.list)
			}
		}
	}
}
