package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"postern/storage/storagetest"
)

// A blank answer takes what is written and keeps nothing.
type blank struct{ header http.Header }

func (b *blank) Header() http.Header         { return b.header }
func (b *blank) Write(p []byte) (int, error) { return len(p), nil }
func (b *blank) WriteHeader(int)             {}

func BenchmarkPublicDocuments(b *testing.B) {
	h := open(b, storagetest.SQLite(b), nil)
	for _, path := range []string{"/.well-known/openid-configuration", "/oauth2/jwks", healthPath} {
		b.Run(path, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, testIssuer+path, nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(&blank{header: http.Header{}}, r)
			}
		})
	}
}
