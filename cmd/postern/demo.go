package main

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"postern/config"
	"postern/idp"
	"postern/idp/secret"
	loginui "postern/login-ui"
	"postern/storage"
)

// demoFlags are what `postern demo` reads.
type demoFlags struct {
	listen, rpListen, dir, database, seed string
	check                                 bool
}

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use: "demo", Short: "run everything at once, to throw away: provider, relying party, mail inbox, users", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.check { // beside a demo that runs already
				for name, p := range map[string]*string{"listen": &f.listen, "rp-listen": &f.rpListen} {
					if !c.Flags().Changed(name) {
						*p = "127.0.0.1:0"
					}
				}
			}
			return a.runDemo(c.Context(), f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "serve the provider on `HOST:PORT`")
	flags.StringVar(&f.rpListen, "rp-listen", "127.0.0.1:8081", "serve the relying party on `HOST:PORT`")
	flags.StringVar(&f.dir, "dir", "", "keep everything in `DIR` instead of throwing it away")
	flags.StringVar(&f.database, "database", "", "use this `URL` instead of an SQLite file: postgres://…")
	flags.StringVar(&f.seed, "seed", "", "make the same passwords, client secret and root key every time, from any `TEXT`")
	flags.BoolVar(&f.check, "check", false, "run the main job once, tell each step and exit")
	return a.withJSON(c)
}

// A demo is a provider and a relying party with their users, in one process.
type demo struct {
	seed   string
	dir    string
	kept   bool // the folder outlives the demo
	cfg    *config.Config
	op, rp net.Listener
	users  []demoUser
	party  *relyingParty
	store  *storage.Store
	idp    *idp.Provider
	log    *slog.Logger
}

func (a *app) runDemo(ctx context.Context, f demoFlags) error {
	d := &demo{log: newLogger(a.err, config.Log{Level: "warn", Format: "auto"}, a.environ)}
	slog.SetDefault(d.log)
	defer d.close()
	if err := d.prepare(ctx, f); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.serve(ctx) })
	g.Go(func() error {
		if f.check {
			defer stop()
			if err := d.check(ctx, a.tellStep); err != nil || a.json {
				return err
			}
			_, err := fmt.Fprintln(a.out, "The main job is done.")
			return err
		}
		return d.announce(a)
	})
	return g.Wait()
}

// otherPorts names both flags: where one port is taken, by another demo perhaps, the other often is.
const otherPorts = "%w. Choose other ports: --listen 127.0.0.1:0 --rp-listen 127.0.0.1:0"

// prepare makes everything that the demo serves.
func (d *demo) prepare(ctx context.Context, f demoFlags) (err error) {
	if err := d.makeDir(f); err != nil {
		return err
	}
	if d.op, err = net.Listen("tcp", f.listen); err != nil {
		return fmt.Errorf(otherPorts, err)
	}
	if d.rp, err = net.Listen("tcp", f.rpListen); err != nil {
		return fmt.Errorf(otherPorts, err)
	}
	d.configure(f)
	if d.store, err = storage.Open(ctx, d.cfg.Database.URL, storage.Options{Migrate: true, Log: d.log}); err != nil {
		return err
	}
	mailer, err := loginui.NewMailer(d.cfg, nil)
	if err != nil {
		return err
	}
	if d.idp, err = newProvider(ctx, d.cfg, d.store, idp.Options{Log: d.log, Mailer: mailer, Security: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	d.party, err = newRelyingParty(d.cfg.Issuer, d.op.Addr().String(), "http://"+d.rp.Addr().String(), d.derive("client secret", 32), filepath.Join(d.dir, "mail"))
	if err != nil {
		return err
	}
	g, adding := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU()) // hashes that wait for a core are given up
	g.Go(func() error { return d.addClient(adding) })
	d.users = d.people()
	for _, u := range d.users {
		g.Go(func() error { return d.addUser(adding, u) }) // hashes run beside each other
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return d.giveApp(ctx)
}

// makeDir makes the folder, and finds the seed: the one that was given, that of the folder, or a
// fresh one. Everything secret in a demo follows from it.
func (d *demo) makeDir(f demoFlags) (err error) {
	d.dir, d.kept = f.dir, f.dir != ""
	if d.kept {
		err = os.MkdirAll(d.dir, 0o700)
	} else {
		d.dir, err = os.MkdirTemp("", "postern-demo-")
	}
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, "demo.seed")
	former, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.seed = f.seed
	if d.seed == "" {
		d.seed = strings.TrimSpace(string(former))
	}
	if d.seed == "" {
		d.seed = rand.Text()
	}
	if len(former) > 0 && strings.TrimSpace(string(former)) != d.seed {
		return fmt.Errorf("%s was made from another seed. Leave --seed out, or choose another folder", d.dir)
	}
	return os.WriteFile(path, []byte(d.seed+"\n"), 0o600)
}

// configure writes the settings of a demo: all defaults, but for the cheapest hash that production
// would allow, so that the demo is ready within a second.
func (d *demo) configure(f demoFlags) {
	cfg := config.Default()
	cfg.Profile = "development"
	cfg.Issuer = fmt.Sprintf("http://localhost:%d", d.op.Addr().(*net.TCPAddr).Port)
	cfg.Listen = f.listen
	cfg.Database.URL = "sqlite:" + filepath.Join(d.dir, "postern.db")
	if f.database != "" {
		cfg.Database.URL = f.database
	}
	root := secret.RootKey{Number: 1, Bytes: [32]byte(d.derive("root key", 32))}
	cfg.Secrets.Keys = []string{root.String()}
	cfg.Password.Argon2 = config.Argon2{MemoryKiB: 19 << 10, Time: 2, Parallelism: 1}
	cfg.Branding.Name = "Postern demo"
	cfg.Signup.Mode, cfg.Login.Code.Enabled = "open", true
	cfg.Mail = config.Mail{Transport: "dir:" + filepath.Join(d.dir, "mail"), From: "Postern demo <no-reply@localhost>"}
	cfg.Metrics.Listen = noListener
	d.cfg = cfg
}

// derive makes n secret bytes from the seed.
func (d *demo) derive(what string, n int) []byte {
	b, err := hkdf.Key(sha256.New, []byte(d.seed), nil, "postern demo "+what, n)
	if err != nil {
		panic(err) // n is small
	}
	return b
}

// close ends what prepare began, and throws the folder away.
func (d *demo) close() {
	if d.store != nil {
		d.store.Close()
	}
	for _, l := range []net.Listener{d.op, d.rp} {
		if l != nil {
			l.Close()
		}
	}
	if !d.kept && d.dir != "" {
		os.RemoveAll(d.dir)
	}
}

// A demoUser is somebody to sign in as.
type demoUser struct {
	Username string `json:"username"`
	Email    string `json:"email"`
	Password string `json:"password"`
	Note     string `json:"note,omitempty"` // why signing in ends elsewhere than with the others
	App      *phone `json:"app,omitempty"`  // of who has an authenticator app
	new      idp.ImportedUser
}

// The notes of users who are not like the others.
const (
	noteUnverified = "did not confirm the address yet"
	noteDisabled   = "is disabled"
	noteApp        = "has an authenticator app"
	noteKey        = "makes a passkey at /account/passkeys, if you like"
)

// bob is where people has him.
const bob = 1

// people are alice, bob and carol, with every claim that a relying party can ask for, dave, whose
// address is not confirmed, and erin, whose account is disabled.
func (d *demo) people() []demoUser {
	var all []demoUser
	for _, p := range []struct{ given, family, gender, birthdate, zone, locale, city, country, phone, note string }{
		{"Alice", "Archer", "female", "1990-04-01", "Europe/Berlin", "en-GB", "Berlin", "Germany", "+4930901820", ""},
		{"Bob", "Baker", "male", "1985-11-23", "America/New_York", "en-US", "Albany", "USA", "+15185550137", noteApp},
		{"Carol", "Carter", "female", "0000-06-15", "Europe/London", "en-GB", "London", "United Kingdom", "+442079460142", noteKey},
		{"Dave", "Dyer", "male", "1978-02-03", "Europe/Vienna", "de-AT", "Wien", "Österreich", "+4315550142", noteUnverified},
		{"Erin", "Eaton", "female", "1999-09-30", "Europe/Dublin", "en-IE", "Dublin", "Ireland", "+35315550142", noteDisabled},
	} {
		name := strings.ToLower(p.given)
		text := strings.ToLower(references.EncodeToString(d.derive("password of "+name, 8)))
		u := demoUser{Username: name, Email: name + "@example.com", Password: text[0:4] + "-" + text[4:8] + "-" + text[8:12], Note: p.note}
		page := "https://example.com/" + name
		u.new = idp.ImportedUser{
			Username: u.Username, Email: u.Email, EmailVerified: p.note != noteUnverified, Password: u.Password, Disabled: p.note == noteDisabled, Groups: idp.List{"demo"},
			Profile: idp.Profile{
				Name: p.given + " " + p.family, GivenName: p.given, FamilyName: p.family, MiddleName: "D.", Nickname: p.given,
				PreferredUsername: name, Profile: page, Picture: page + "/picture.png", Website: page, Gender: p.gender,
				Birthdate: p.birthdate, Zoneinfo: p.zone, Locale: p.locale, PhoneNumber: p.phone, PhoneVerified: true,
				Address: &idp.Address{
					Formatted: "1 Main Street\n" + p.city + "\n" + p.country, StreetAddress: "1 Main Street",
					Locality: p.city, Region: p.city, PostalCode: "12345", Country: p.country,
				},
			},
		}
		all = append(all, u)
	}
	return all
}

// addUser imports u, since an import tells nobody by mail: the inbox begins empty.
func (d *demo) addUser(ctx context.Context, u demoUser) error {
	added, err := d.idp.ImportUser(ctx, u.new, false)
	if err != nil || added.Status != idp.ImportRefused {
		return err // who exists is of a folder that was kept; the seed gave the same password
	}
	return fmt.Errorf("add the user %s: %s", u.Username, words(added.Wrong[0]))
}

// demoClient is the client ID of the demo's relying party.
const demoClient = "demo"

func (d *demo) addClient(ctx context.Context) error {
	redirectURI := d.party.address + callbackPath
	former, err := d.idp.Client(ctx, demoClient)
	if err == nil {
		if len(former.Metadata.RedirectURIs) == 1 && former.Metadata.RedirectURIs[0] == redirectURI {
			return nil
		}
		// A folder that was kept, and another port.
		if err := d.idp.DeleteClient(ctx, demoClient); err != nil {
			return err
		}
	}
	_, _, err = d.idp.AddClient(ctx, idp.Client{
		ID: demoClient,
		Metadata: idp.Metadata{
			Name: "Demo relying party", URI: d.party.address, RedirectURIs: idp.List{redirectURI},
			GrantTypes: idp.List{"authorization_code", "refresh_token"}, ResponseTypes: idp.List{"code"},
			Scopes: append(idp.List{"offline_access"}, demoScopes...), TokenEndpointAuthMethod: idp.AuthBasic,
		},
	}, d.party.secret)
	return err
}

// serve runs both servers until ctx ends.
func (d *demo) serve(ctx context.Context) error {
	s, err := newSite(d.idp, d.cfg, d.log)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return runServer(ctx, newServer(s, d.log), d.op, config.TLS{}, d.idp) })
	party := newServer(d.party.handler(), d.log)
	g.Go(func() error {
		if err := party.Serve(d.rp); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return party.Close() // nobody loses anything
	})
	return g.Wait()
}

// announce says where everything is. Both listeners take connections already.
func (d *demo) announce(a *app) error {
	if a.json {
		return a.writeJSON(map[string]any{
			"issuer": d.cfg.Issuer, "relying_party": d.party.address, "inbox": d.party.address + inboxPath, "mail_dir": d.party.mail,
			"client_id": demoClient, "client_secret": d.party.secret, "users": d.users, "dir": d.dir, "seed": d.seed,
		})
	}
	end := "everything is thrown away then"
	if d.kept {
		end = "everything stays in " + d.dir
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "The demo is ready. Start here: %s\n\n", d.party.address)
	fmt.Fprintf(w, "  relying party\t%s\n  provider\t%s\n  mail inbox\t%s\n\n", d.party.address, d.cfg.Issuer, d.party.address+inboxPath)
	writeUsers(w, d.users)
	if app := d.users[bob].App; app != nil {
		fmt.Fprintf(w, "\n  bob's app\tsecret %s\n  its code now\t%s, and later at %s\n  bob's recovery codes\t%s\n",
			app.Secret, app.code(d.idp.Now()), d.party.address+phonePath, strings.Join(app.RecoveryCodes, " "))
	}
	fmt.Fprintf(w, "\nCtrl-C ends it; %s.\n", end)
	return w.Flush()
}

func writeUsers(w io.Writer, users []demoUser) {
	fmt.Fprintf(w, "  username\tpassword\te-mail\n")
	for _, u := range users {
		note := u.Note
		if note != "" {
			note = "\t" + note
		}
		fmt.Fprintf(w, "  %s\t%s\t%s%s\n", u.Username, u.Password, u.Email, note)
	}
}

// clientSecret writes secret bytes as a client shows them.
func clientSecret(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
