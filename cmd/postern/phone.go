package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/idp"
)

const (
	// phonePath is where the demo shows what bob's app shows.
	phonePath = "/phone"
	// phoneFile keeps bob's app in the demo's folder: the provider tells its secret once.
	phoneFile = "demo.app.json"
	// appStep is how long a code is shown (RFC 6238 §4.1).
	appStep = 30 * time.Second
)

// A phone is an authenticator app, with the recovery codes that came with it.
type phone struct {
	Secret        string   `json:"secret"` // base32
	RecoveryCodes []string `json:"recovery_codes"`
}

// code is what the app shows at a time.
func (p *phone) code(at time.Time) string {
	shown, err := totp.GenerateCode(p.Secret, at)
	if err != nil {
		return "" // the secret came from somewhere else
	}
	return shown
}

// giveApp sets up an authenticator app for bob, unless the demo's folder has one of his.
func (d *demo) giveApp(ctx context.Context) error {
	path := filepath.Join(d.dir, phoneFile)
	u, err := d.idp.FindUser(ctx, d.users[bob].Username)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if u.HasFactor() {
		if len(text) == 0 {
			return nil // of another folder, on the same database
		}
		app := &phone{}
		if err := json.Unmarshal(text, app); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		d.users[bob].App = app
		d.party.app.Store(app)
		return nil
	}
	app, err := d.setUpApp(ctx, &d.users[bob])
	if err != nil {
		return fmt.Errorf("give bob an authenticator app: %w", err)
	}
	if text, err = json.Marshal(app); err != nil {
		return err
	}
	d.users[bob].App = app
	d.party.app.Store(app)
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// setUpApp does what u would do on the pages, without mails: the inbox begins empty.
func (d *demo) setUpApp(ctx context.Context, u *demoUser) (*phone, error) {
	p, err := newProvider(ctx, d.cfg, d.store, idp.Options{Log: d.log, Security: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	who := &idp.Visitor{Address: netip.MustParseAddr("127.0.0.1"), UserAgent: "postern demo", Browser: sha256.Sum256([]byte(d.seed))}
	ctx = idp.WithVisitor(ctx, who)
	s, err := p.LogIn(ctx, p.BeginOwn("/account"), idp.LogIn{Identifier: u.Username, Password: u.Password})
	if err != nil {
		return nil, err
	}
	v, err := p.Visit(ctx, s.Token, "")
	if err != nil {
		return nil, err
	}
	if err := p.BeginTOTP(ctx, v); err != nil {
		return nil, err
	}
	setup, err := p.TOTPSetup(ctx, v)
	if err != nil {
		return nil, err
	}
	app := &phone{Secret: strings.ReplaceAll(setup.Secret, " ", "")}
	// The code before the present one, so that this one is good to sign in with.
	enrolled, err := p.ConfirmTOTP(ctx, &idp.Interaction{}, v, app.code(p.Now().Add(-appStep)))
	if err != nil {
		return nil, err
	}
	app.RecoveryCodes = enrolled.RecoveryCodes
	if v, err = p.Visit(ctx, enrolled.Token, ""); err != nil {
		return nil, err
	}
	return app, p.SignOut(ctx, v)
}

// fromHere tells whether r comes from this machine, and for an address of it: another site's name could
// be made to lead here.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	named, err := netip.ParseAddr(host)
	peer, failed := netip.ParseAddrPort(r.RemoteAddr)
	return failed == nil && peer.Addr().IsLoopback() && (host == "localhost" || err == nil && named.IsLoopback())
}

// showPhone shows what bob's app shows, for whoever has no phone at hand. It is of this machine alone,
// wherever the demo listens.
func (rp *relyingParty) showPhone(w http.ResponseWriter, r *http.Request) {
	if !fromHere(r) {
		http.NotFound(w, r)
		return
	}
	now := time.Now()
	left := appStep - now.Sub(now.Truncate(appStep))
	view := map[string]any{"Code": "", "Left": int(left / time.Second)}
	if app := rp.app.Load(); app != nil {
		view["Code"], view["Secret"], view["Recovery"] = app.code(now), app.Secret, app.RecoveryCodes
	}
	w.Header().Set("Refresh", fmt.Sprint(int(left/time.Second)+1))
	rp.show(w, "phone.html", view)
}
