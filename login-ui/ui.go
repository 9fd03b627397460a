package loginui

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"postern/config"
	"postern/idp"
)

// UI answers people with pages. Its methods are handlers and may be called at the same time.
type UI struct {
	provider *idp.Provider
	cfg      *config.Config
	issuer   *url.URL
	pages    *renderer
	texts    *catalogue
	assets   *assets
	cookies  *jar
}

// New returns the pages of p. Its errors are defects of what is embedded, or an issuer that is no
// URL.
func New(p *idp.Provider, cfg *config.Config) (*UI, error) {
	ui, err := newUI(cfg)
	if err != nil {
		return nil, err
	}
	ui.provider = p
	ui.cookies = newJar(p.CookieKeys())
	return ui, nil
}

// newUI returns pages that can be rendered but have no provider to ask.
func newUI(cfg *config.Config) (*UI, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("login-ui: issuer: %w", err)
	}
	texts, err := newCatalogue()
	if err != nil {
		return nil, fmt.Errorf("login-ui: %w", err)
	}
	pages, err := newRenderer(cfg.Branding.Theme)
	if err != nil {
		return nil, fmt.Errorf("login-ui: %w", err)
	}
	assets, err := newAssets()
	if err != nil {
		return nil, fmt.Errorf("login-ui: %w", err)
	}
	return &UI{cfg: cfg, issuer: issuer, pages: pages, texts: texts, assets: assets}, nil
}

// now is the provider's clock; pages that are rendered without a provider take the machine's.
func (ui *UI) now() time.Time {
	if ui.provider == nil {
		return time.Now().UTC()
	}
	return ui.provider.Now()
}

// mails tells whether a mail can be sent at all.
func (ui *UI) mails() bool { return ui.provider.CanMail() }

// seeOther sends the browser to an address of ours by GET (RFC 9110 §15.4.4).
func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
