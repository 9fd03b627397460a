package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"postern/config"
	"postern/idp"
	"postern/idp/place"
	"postern/idp/secret"
	loginui "postern/login-ui"
	"postern/storage"
)

// What a connection may take. A browser on a slow line fits; one that dribbles does not.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 15 * time.Second
	maxHeader         = 32 << 10 // bytes: a URL has 6 KiB at most (I-25), cookies and the rest the same again
)

func (a *app) serveCommand() *cobra.Command {
	var dev bool
	c := &cobra.Command{
		Use: "serve", Short: "serve until a signal ends it", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := a.settings(dev)
			if err != nil {
				return err
			}
			log := newLogger(a.err, loaded.Log, a.environ)
			slog.SetDefault(log) // for what rooms log that were given no logger
			warn(log, loaded.Config)
			l, err := net.Listen("tcp", loaded.Listen)
			if err != nil {
				return fmt.Errorf("listen on %s: %w", loaded.Listen, err)
			}
			defer l.Close()
			return serve(c.Context(), loaded.Config, l, log)
		},
	}
	c.Flags().BoolVar(&dev, "dev", false, "for a local trial: profile development, the issuer http://localhost:PORT where none is set")
	return a.withSettings(c)
}

// warn says what works but is rarely meant.
func warn(log *slog.Logger, cfg *config.Config) {
	if !cfg.Development() && cfg.TLS.Cert == "" && cfg.Proxy.TrustedHops == 0 && cfg.Proxy.ClientIPHeader == "" {
		log.Warn("no tls.cert, and no proxy is believed: behind a proxy that ends TLS, write `proxy: {trusted_hops: 1, trusted_cidrs: [NETWORK OF THE PROXY]}`, or every visitor has the proxy's address")
	}
	if cfg.RateLimits.Off && !cfg.Development() {
		log.Warn("rate_limits is false: passwords can be guessed as fast as they are hashed")
	}
	if !cfg.Lockout.Enabled && !cfg.Development() {
		log.Warn("lockout.enabled is false: nobody is locked out, however often they fail")
	}
}

// serve runs a provider on l until ctx ends.
func serve(ctx context.Context, cfg *config.Config, l net.Listener, log *slog.Logger) error {
	began := time.Now()
	tuneMemory(cfg)
	operators, err := listenForOperators(cfg.Metrics)
	if err != nil {
		return err
	}
	if operators != nil {
		defer operators.Close()
	}
	r, err := openRoom(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer r.close()
	release, err := storage.Serve(ctx, cfg.Database.URL)
	if err != nil {
		return err
	}
	defer release()
	registry := newRegistry()
	mailer, err := loginui.NewMailer(cfg, r.whereIs)
	if err != nil {
		return err
	}
	p, err := newProvider(ctx, cfg, r.store, idp.Options{
		Log: log, Gate: r.gate.Store, Mailer: mailer, Places: r.places, Metrics: registry, Security: r.security.logger(cfg.Log.Security.Level),
	})
	if err != nil {
		return err
	}
	s, err := newSite(p, cfg, log)
	if err != nil {
		return err
	}
	s.count = countRequests(registry)
	pairs := []any{"issuer", cfg.Issuer, "listen", l.Addr().String()}
	if operators != nil {
		pairs = append(pairs, "metrics", operators.Addr().String())
	}
	log.Info("ready", append(pairs, tookKey, milliseconds(time.Since(began)), "version", thisBuild().Version)...)
	g, ctx := errgroup.WithContext(ctx)
	toTheLast, stop := context.WithCancel(context.WithoutCancel(ctx)) // operators see the last requests end
	defer stop()
	g.Go(func() error {
		defer stop()
		return runServer(ctx, newServer(s, log), l, cfg.TLS, p)
	})
	g.Go(func() error {
		return runManagement(toTheLast, newServer(newManagement(ctx, p, registry), log), operators)
	})
	if r.security != nil {
		g.Go(func() error { r.security.reopenAtHangup(ctx, log); return nil })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// A room is what a server opens before there is a provider.
type room struct {
	store    *storage.Store
	gate     gate
	places   *place.Atlas
	security *securityLog // nil for none
}

func openRoom(ctx context.Context, cfg *config.Config, log *slog.Logger) (r room, err error) {
	if r.store, err = storage.Open(ctx, cfg.Database.URL, storage.Options{Migrate: true, Log: log}); err != nil {
		return r, err
	}
	if r.gate, err = openGate(ctx, cfg); err != nil {
		return r, errors.Join(err, r.store.Close())
	}
	if r.places, err = place.Open(cfg.Places.CityFile, cfg.Places.ASNFile); err != nil {
		return r, errors.Join(fmt.Errorf("places: %w", err), r.gate.close(), r.store.Close())
	}
	if r.security, err = openSecurityLog(cfg.Log.Security); err != nil {
		return r, errors.Join(err, r.places.Close(), r.gate.close(), r.store.Close())
	}
	return r, nil
}

// whereIs tells about where an address is, for mails.
func (r *room) whereIs(address, locale string) (city, country string) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "", ""
	}
	at := r.places.Of(a, locale)
	return at.City, at.Country
}

// close ends what openRoom began.
func (r *room) close() error {
	return errors.Join(r.security.close(), r.places.Close(), r.gate.close(), r.store.Close())
}

// memoryRoom is what the process may have beside the hashes of passwords before the collector
// works harder; far above what it needs.
const memoryRoom = 512 << 20 // bytes

// tuneMemory bounds what the collector lets pile up: hashes are large and short-lived. GOGC and
// GOMEMLIMIT win where they are set.
func tuneMemory(cfg *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(secret.MaxMemory(secret.Argon2(cfg.Password.Argon2), int64(cfg.Password.HashMemoryMiB)<<20) + memoryRoom)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// runServer serves and does the provider's chores until ctx ends; then it lets the requests that
// run come to their end.
func runServer(ctx context.Context, server *http.Server, l net.Listener, t config.TLS, p *idp.Provider) error {
	g, ctx := errgroup.WithContext(ctx)
	chores, stopChores := context.WithCancel(context.WithoutCancel(ctx))
	defer stopChores()
	g.Go(func() error { return p.Run(chores) })
	g.Go(func() error {
		serve := func() error { return server.Serve(l) }
		if t.Cert != "" {
			serve = func() error { return server.ServeTLS(l, t.Cert, t.Key) } // with HTTP/2
		}
		err := serve()
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	g.Go(func() error {
		<-ctx.Done()
		defer stopChores() // requests need fresh caches to the last
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(limit); err != nil {
			return errors.Join(fmt.Errorf("wait for the requests that run: %w", err), server.Close())
		}
		return nil
	})
	return g.Wait()
}

// runManagement serves the management listener until ctx ends; a nil one is none.
func runManagement(ctx context.Context, server *http.Server, l net.Listener) error {
	if l == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { server.Close() }) // nobody loses anything
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
