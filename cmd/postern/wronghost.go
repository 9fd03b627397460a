package main

import (
	"html/template"
	"net/http"
)

var wrongHostPage = template.Must(template.ParseFS(demoFiles, "demo/wronghost.html"))

// showWrongHost shows the address that somebody meant who came by another host, such as 127.0.0.1
// for localhost.
func showWrongHost(w http.ResponseWriter, r *http.Request, issuer string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusMisdirectedRequest)
	// Without the query: a code or a sealed request does not belong into a link.
	wrongHostPage.Execute(w, map[string]string{"Host": r.Host, "Issuer": issuer, "Path": r.URL.EscapedPath()})
}
