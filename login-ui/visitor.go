package loginui

import (
	"net/http"

	"postern/idp"
)

// Visitor reads the browser's cookies into the visitor of the request, chooses the language, and
// gives a browser that has no binding one. That happens on GET only: a POST from another site
// comes without Lax cookies, and a new binding would cut off what is under way.
func (ui *UI) Visitor(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := *idp.VisitorFrom(r.Context())
		v.Session = ui.cookies.session(r)
		v.Pending = ui.cookies.pending(r)
		v.Browser = ui.cookies.browser(r)
		v.Device = ui.cookies.device(r)
		if v.Browser == [32]byte{} && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			v.Browser = ui.cookies.renewBrowser(w)
		}
		l := ui.negotiate(r)
		if r.Method == http.MethodGet && ui.chosenNow(r) != nil {
			ui.keepLanguage(w, l)
		}
		v.Locale = l.Tag
		next.ServeHTTP(w, r.WithContext(idp.WithVisitor(r.Context(), &v)))
	})
}
