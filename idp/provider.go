package idp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/config"
	"postern/idp/guard"
	"postern/idp/names"
	"postern/idp/passkey"
	"postern/idp/password"
	"postern/idp/place"
	"postern/idp/secret"
)

// Options are what New needs beside the settings. Nil fields have defaults.
type Options struct {
	Now func() time.Time // time.Now
	Log *slog.Logger     // slog.Default
	// Wait lets d pass, or less where ctx ends: a timer. Tests that turn the clock replace it.
	Wait func(ctx context.Context, d time.Duration)
	// Gate counts in place of the database (lockout.handler): nil for the database.
	Gate guard.Store
	// Security is told each event once it is committed, and each refusal of the gate; nil for Log.
	Security *slog.Logger
	// Mailer sends mails; nil for none, and then none is enqueued.
	Mailer Mailer
	// Places tells where addresses are; nil for nobody.
	Places *place.Atlas
	// Metrics takes the provider's metrics; nil for none.
	Metrics prometheus.Registerer
}

// A Provider is the identity provider: every deed is one of its methods. Its methods may be
// called at the same time.
type Provider struct {
	store       Store
	cfg         *config.Config
	ring        *secret.Keyring
	tokens      *Tokens
	places      *place.Atlas
	guard       *guard.Guard
	hasher      *secret.Hasher
	names       *names.Rules
	keys        *names.Rules // by which what is typed is looked up
	policy      *password.Policy
	acrs        ACRs
	factorRules *FactorRules
	passkeys    *passkey.RelyingParty // nil where there can be none
	signUps     signUpWindow
	cache       cache
	dummy       dummies
	log         *slog.Logger
	clock       func() time.Time
	wait        func(context.Context, time.Duration)

	gate     guard.Store // what guard counts in, for counters of p's own
	exempt   exemption
	alarm    *alarm
	discreet bool      // whether no lock may be told, where the settings leave that open
	failures durations // how long it took to answer wrong passwords
	metrics  *metrics
	mailer   Mailer

	security    *slog.Logger
	headerNoted atomic.Int64 // when an ignored header was recorded last, in seconds
}

// New returns a provider over store. It checks that ring fits the database (I-10), makes signing
// keys where there are none, and loads the caches.
func New(ctx context.Context, store Store, cfg *config.Config, ring *secret.Keyring, o Options) (*Provider, error) {
	p := &Provider{
		store: store, cfg: cfg, ring: ring, tokens: newTokens(ring),
		hasher: secret.NewHasher(secret.Argon2(cfg.Password.Argon2), int64(cfg.Password.HashMemoryMiB)<<20),
		cache:  cache{polling: make(chan struct{}, 1)},
		log:    o.Log, clock: o.Now, wait: o.Wait,
	}
	if p.clock == nil {
		p.clock = time.Now
	}
	if p.log == nil {
		p.log = slog.Default()
	}
	if p.wait == nil {
		p.wait = waitFor
	}
	if p.security = o.Security; p.security == nil {
		p.security = p.log
	}
	p.store, p.mailer, p.places = watched(store, p.security), o.Mailer, o.Places
	var err error
	if p.names, err = rulesOf(cfg); err != nil {
		return nil, err
	}
	if p.keys, err = keysOf(cfg); err != nil {
		return nil, err
	}
	if p.policy, err = policyOf(cfg); err != nil {
		return nil, err
	}
	if p.acrs, err = readACRs(cfg.MFA.ACR); err != nil {
		return nil, err
	}
	if p.factorRules, err = readFactorRules(&cfg.MFA); err != nil {
		return nil, err
	}
	if p.passkeys, err = relyingPartyOf(cfg); err != nil {
		return nil, err
	}
	if p.signUps, err = readSignUpWindow(&cfg.Signup); err != nil {
		return nil, err
	}
	if p.metrics, err = newMetrics(p.hasher, o.Metrics); err != nil {
		return nil, err
	}
	if err := p.furnishGate(o.Gate); err != nil {
		return nil, err
	}
	if err := p.furnish(ctx); err != nil {
		return nil, err
	}
	if err := p.refresh(ctx); err != nil {
		return nil, fmt.Errorf("load clients and signing keys: %w", err)
	}
	return p, nil
}

// Now is the provider's clock: UTC, cut to the microsecond as the store keeps it.
func (p *Provider) Now() time.Time { return p.clock().UTC().Truncate(time.Microsecond) }

// Tokens mints and reads the provider's tokens.
func (p *Provider) Tokens() *Tokens { return p.tokens }

// CookieKeys are the keys that sign cookies, 32 bytes each: the first signs, all verify.
func (p *Provider) CookieKeys() [][]byte { return p.ring.Subkeys(secret.ForCookie) }

// Ready returns nil where the database can serve and the caches are fresh.
func (p *Provider) Ready(ctx context.Context) error {
	if err := p.store.Ping(ctx); err != nil {
		return stored("ping the database", err)
	}
	_, err := p.fresh(ctx)
	return err
}

// How often Run does each of its chores.
const (
	pollEvery    = time.Second // I-13
	sweepEvery   = 10 * time.Second
	promoteEvery = time.Minute
	countEvery   = 10 * time.Minute
)

// Run keeps the caches fresh (I-13), sweeps dead rows, moves signing keys along their lives, does
// jobs and prunes records, until ctx ends. It returns nil then.
func (p *Provider) Run(ctx context.Context) error {
	// One goroutine a chore, so that a long sweep delays no poll.
	done := make(chan struct{})
	chores := []struct {
		every time.Duration
		name  string
		do    func(context.Context) error
	}{
		{pollEvery, "poll versions", p.refresh},
		{sweepEvery, "sweep dead rows", p.sweep},
		{promoteEvery, "move signing keys along", p.moveKeys},
		{countEvery, "count password schemes", p.countSchemes},
		{countEvery, "time a hash", p.timeHash},
		{jobsEvery, "do jobs", p.doJobs},
		{pruneEvery, "prune records", p.pruneOld},
		{deletionsEvery, "delete who asked for it", p.deleteDue},
	}
	for _, c := range chores {
		go func() {
			defer func() { done <- struct{}{} }()
			p.repeat(ctx, c.every, c.name, c.do)
		}()
	}
	for range chores {
		<-done
	}
	return nil
}

// repeat does a chore at once and then every so often, until ctx ends.
func (p *Provider) repeat(ctx context.Context, every time.Duration, name string, do func(context.Context) error) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// maxBatches bounds one sweep, so that it never holds a writer for long.
const maxBatches = 20

func (p *Provider) sweep(ctx context.Context) error {
	for range maxBatches {
		n, err := p.store.Sweep(ctx, p.Now())
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// furnish gives an empty database its check value and its signing keys, and refuses a database
// that other keys sealed (I-10). Two nodes that start at the same time end with one set: the
// version row that the Tx raises first holds the second one back until it can read the first
// one's rows.
func (p *Provider) furnish(ctx context.Context) error {
	missing, err := p.missing(ctx)
	if err != nil || !missing.check && !missing.keys {
		return err
	}
	var made []Key
	if missing.keys {
		if made, err = p.newKeySet(); err != nil {
			return fmt.Errorf("make signing keys: %w", err)
		}
	}
	return p.store.Tx(ctx, func(ctx context.Context) error {
		if err := p.store.RaiseVersion(ctx, VersionKeys); err != nil {
			return fmt.Errorf("raise the version of the keys: %w", err)
		}
		missing, err := p.missing(ctx)
		if err != nil {
			return err
		}
		if missing.check {
			if err := p.store.PutKeyCheck(ctx, missing.keep); err != nil {
				return fmt.Errorf("keep the check value of the keys: %w", err)
			}
		}
		if !missing.keys {
			return nil
		}
		return p.addKeys(ctx, made)
	})
}

// A furniture is what a database lacks before a provider can stand on it.
type furniture struct {
	check bool   // its check value, or the entry of a root key that was promoted
	keep  []byte // the check value as it should be
	keys  bool   // any signing key
}

func (p *Provider) missing(ctx context.Context) (f furniture, err error) {
	check, err := p.store.KeyCheck(ctx)
	if err != nil {
		return f, fmt.Errorf("read the check value of the keys: %w", err)
	}
	f.keep = p.ring.Check()
	if check != nil {
		if f.keep, err = p.ring.Verify(check); err != nil {
			return f, fmt.Errorf("the root keys do not fit this database: %w. Set secrets.keys to the keys that it "+
				"was made with (beside an SQLite file they are in postern.keys), or database.url to another database", err)
		}
	}
	f.check = !bytes.Equal(check, f.keep)
	keys, err := p.store.Keys(ctx)
	if err != nil {
		return f, fmt.Errorf("list signing keys: %w", err)
	}
	f.keys = len(keys) == 0
	return f, nil
}

// waitFor is the default of Options.Wait.
func waitFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// stayWithin bounds what is written although its sender left.
const stayWithin = 5 * time.Second

// staying is ctx for what must be written although its sender leaves: that a guess failed, that a
// family is revoked.
func staying(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), stayWithin)
}
