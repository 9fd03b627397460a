package loginui

import (
	"bytes"
	"net/http/httptest"
	"testing"
)

// BenchmarkSignInPage is what a sign-in page costs beyond its statements.
func BenchmarkSignInPage(b *testing.B) {
	ui := sampleUI(b)
	r := httptest.NewRequest("GET", "/login?tx=TX", nil)
	p := samples()[0]
	b.ReportAllocs()
	for b.Loop() {
		var out bytes.Buffer
		if err := ui.pages.render(&out, p.page(ui.frame(r))); err != nil {
			b.Fatal(err)
		}
	}
}
