package discovery

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"postern/oauth"
)

func BenchmarkDiscovery(b *testing.B) {
	keys := make([]byte, 1200)
	d, err := New(oauth.Capabilities{Issuer: "https://id.example"}, func() bool { return false }, func() ([]byte, error) { return keys, nil })
	if err != nil {
		b.Fatal(err)
	}
	for name, handler := range map[string]http.HandlerFunc{"metadata": d.OpenIDConfiguration, "keys": d.JWKS} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			b.ReportAllocs()
			for b.Loop() {
				handler(httptest.NewRecorder(), r)
			}
		})
	}
}
