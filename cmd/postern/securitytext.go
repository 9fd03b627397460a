package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"postern/config"
)

// securityTextLife is how long security.txt is true where security.expires says nothing (RFC 9116
// §2.5.5 recommends less than a year).
const securityTextLife = 364 * 24 * time.Hour

// showSecurityText answers with security.txt (RFC 9116), which says where to report a hole.
func showSecurityText(cfg *config.Config, began time.Time) http.HandlerFunc {
	text := securityText(cfg, began)
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "public, max-age=3600")
		fmt.Fprint(w, text)
	}
}

func securityText(cfg *config.Config, began time.Time) string {
	s := &cfg.Security
	expires := s.Expires
	if expires == "" {
		expires = began.Add(securityTextLife).UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	for _, contact := range s.Contacts {
		field("Contact", contact)
	}
	field("Expires", expires)
	field("Encryption", s.Encryption)
	field("Preferred-Languages", strings.Join(s.Languages, ", "))
	field("Canonical", cfg.Issuer+securityTextPath)
	field("Policy", s.Policy)
	return b.String()
}
