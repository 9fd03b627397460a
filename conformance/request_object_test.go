package conformance

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"postern/conformance/rp"
)

// The suite leaves these modules out where the provider lists algorithms for request objects and
// "none" is not among them. The first two always run here: a provider that takes no request
// objects must say so all the same (OpenID Connect Core 1.0 §3.1.2.6).

func (m *module) unsignedRequestObject() {
	request := m.request()
	request.Params.Set("request", unsignedObject(m.T, request, m.provider.Issuer))
	m.takenOrRefused(request, "request_not_supported")
}

func (m *module) requestURIUnsigned() {
	request := m.request()
	object := unsignedObject(m.T, request, m.provider.Issuer)
	var fetched atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Store(true)
		w.Header().Set("Content-Type", "application/oauth-authz-req+jwt")
		if _, err := w.Write([]byte(object)); err != nil {
			m.Error(err)
		}
	}))
	defer server.Close()
	request.Params.Set("request_uri", server.URL+"/object.jwt")
	if !m.takenOrRefused(request, "request_uri_not_supported") && fetched.Load() {
		m.Error("what was refused was fetched before")
	}
}

// nonceInside is the nonce of the request object; a provider that reads it prefers it to the one
// outside.
const nonceInside = "inside-4v3JkqXw9Tz"

// takenOrRefused holds that a request with a request object either works, as the object says, or
// is refused with the error code that is there for it. It tells which.
func (m *module) takenOrRefused(request *rp.Request, refusal string) bool {
	m.Helper()
	page := m.visit(request.URL())
	if page.Stopped {
		response := m.errorAt(request, page)
		if !slices.Contains([]string{refusal, "invalid_request_object"}, response.Error) {
			m.Errorf("error: got %q, want %q", response.Error, refusal)
		}
		return false
	}
	journey, err := m.person.Answer(m.Context(), page)
	if err != nil {
		m.Fatal(err)
	}
	request.Params.Set("nonce", nonceInside)
	signedIn := rp.SignedIn{Journey: journey}
	if err := m.basic.Finish(m.Context(), &signedIn, request); err != nil {
		m.Fatal(err)
	}
	return true
}

// unsignedObject is a request object with alg none (OpenID Connect Core 1.0 §6.1).
func unsignedObject(t *testing.T, request *rp.Request, issuer string) string {
	t.Helper()
	claims := map[string]string{"iss": request.Params.Get("client_id"), "aud": issuer}
	for name := range request.Params {
		claims[name] = request.Params.Get(name)
	}
	claims["nonce"] = nonceInside
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "."
}

func (m *module) requestObjectWithRedirectURI() {
	if listed := m.provider.RequestObjectAlgs; listed != nil && !slices.Contains(listed, "none") {
		m.Skip("none is not among the algorithms for request objects; the suite skips this then")
	}
	request := m.request()
	request.Params.Set("request", unsignedObject(m.T, request, m.provider.Issuer))
	registered := request.Params.Get("redirect_uri")
	request.Params.Set("redirect_uri", registered+"/4XB3qVwZ")
	page := m.visit(request.URL())
	if page.Status >= 400 {
		// Who reads no request objects sees a redirect URI that is not registered.
		m.judgeErrorPage(page)
		return
	}
	journey, err := m.person.Answer(m.Context(), page)
	if err != nil {
		m.Fatal(err)
	}
	request.Params.Set("redirect_uri", registered)
	request.Params.Set("nonce", nonceInside)
	signedIn := rp.SignedIn{Journey: journey}
	if err := m.basic.Finish(m.Context(), &signedIn, request); err != nil {
		m.Fatal(err)
	}
}
