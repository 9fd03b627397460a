package idp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/idp/secret"
)

// A KeyState is where a signing key is in its life: announced → active → retired → gone. A gone
// key has no row.
type KeyState string

const (
	// KeyAnnounced keys are published and sign nothing yet.
	KeyAnnounced KeyState = "announced"
	// KeyActive keys sign: one for each algorithm.
	KeyActive KeyState = "active"
	// KeyRetired keys are still published, and sign nothing more.
	KeyRetired KeyState = "retired"
)

// A Key signs tokens. Its ID is the RFC 7638 thumbprint of its public part.
type Key struct {
	ID        string // kid
	Alg       string // RS256, ES256 or EdDSA (RFC 7518 §3.1, RFC 8037 §3.1)
	State     KeyState
	Public    string // the public JWK, JSON
	Private   []byte // PKCS #8, sealed with the row's identity as additional data (I-10)
	CreatedAt time.Time
	ActiveAt  *time.Time
	RetiredAt *time.Time
}

// KeyStore keeps signing keys. Whoever changes one raises the version Keys in the same Tx.
type KeyStore interface {
	// AddKey returns ErrConflict where the kid is taken.
	AddKey(ctx context.Context, k Key) error
	// Keys lists every key, oldest first.
	Keys(ctx context.Context) ([]Key, error)
	// ChangeKey writes the state and times of k, where its state is still `from`; otherwise it
	// returns ErrConflict.
	ChangeKey(ctx context.Context, k Key, from KeyState) error
	// DeleteKey removes a retired key; ErrNotFound where there is none.
	DeleteKey(ctx context.Context, id string) error
	// ResealKey replaces a key's sealed private part, where it is still `old`.
	ResealKey(ctx context.Context, id string, old, sealed []byte) error
}

// SigningAlgs are the algorithms that every provider has a key for (RFC 7518 §3.1, RFC 8037 §3.1).
var SigningAlgs = []string{"RS256", "ES256", "EdDSA"}

// A SigningKey signs for one algorithm.
type SigningKey struct {
	ID     string // kid
	Alg    string
	Signer crypto.Signer
}

// A keySet is what the cache holds of the signing keys. It never changes.
type keySet struct {
	active    map[string]*SigningKey // by algorithm
	published map[string]publicKey   // by kid
	jwks      []byte
}

type publicKey struct {
	alg string
	key crypto.PublicKey
}

// SigningKey returns the active key for alg. It is Unavailable where the cache is not fresh.
func (p *Provider) SigningKey(alg string) (*SigningKey, error) {
	s, err := p.fresh(context.Background())
	if err != nil {
		return nil, err
	}
	k, ok := s.keys.active[alg]
	if !ok {
		return nil, &Error{Kind: Unavailable, Code: "unavailable", RetryAfter: retryStore,
			Cause: fmt.Errorf("no active signing key for %q", alg)}
	}
	return k, nil
}

// PublicKeys returns the JWKS document's bytes (RFC 7517 §5) of all announced, active and retired
// keys. The slice is shared and changes identity only when the keys change.
func (p *Provider) PublicKeys() ([]byte, error) {
	s, err := p.fresh(context.Background())
	if err != nil {
		return nil, err
	}
	return s.keys.jwks, nil
}

// PublicKey finds a published key by its kid, to verify what we signed.
func (p *Provider) PublicKey(kid string) (alg string, key crypto.PublicKey, ok bool) {
	s, err := p.fresh(context.Background())
	if err != nil {
		return "", nil, false
	}
	k, ok := s.keys.published[kid]
	return k.alg, k.key, ok
}

// Keys lists every signing key.
func (p *Provider) Keys(ctx context.Context) ([]Key, error) {
	list, err := p.store.Keys(ctx)
	return list, stored("list signing keys", err)
}

// RotateKey announces a new key for alg and returns it; it is Conflict where one is announced
// already. Where `now` asks for it the announced key signs at once instead, or a new one where
// none is announced, and the former retires.
func (p *Provider) RotateKey(ctx context.Context, alg string, now bool) (Key, error) {
	if !slices.Contains(SigningAlgs, alg) {
		return Key{}, &Error{Kind: Invalid, Code: "key_alg_unknown", Field: "alg", Args: map[string]any{"Alg": alg}}
	}
	// Made even where it may not be needed: RSA takes too long for a Tx that others wait for.
	made, err := p.newKey(alg)
	if err != nil {
		return Key{}, fmt.Errorf("make a key for %s: %w", alg, err)
	}
	var k Key
	err = p.changed(ctx, VersionKeys, func(ctx context.Context) error {
		list, err := p.store.Keys(ctx)
		if err != nil {
			return err
		}
		if now {
			k, err = p.replaceActive(ctx, list, made)
			return err
		}
		if i := indexKey(list, alg, KeyAnnounced); i >= 0 {
			return &Error{Kind: Conflict, Code: "key_announced", Field: "alg", Args: map[string]any{"Key": list[i].ID}}
		}
		k = made
		k.State, k.ActiveAt = KeyAnnounced, nil
		return p.addKeys(ctx, []Key{k})
	})
	if err != nil {
		return Key{}, stored("rotate the key for "+alg, err)
	}
	return k, nil
}

// replaceActive retires the active key of made's algorithm. In its place comes the announced one,
// which relying parties may know already, or made where none is announced.
func (p *Provider) replaceActive(ctx context.Context, list []Key, made Key) (Key, error) {
	if i := indexKey(list, made.Alg, KeyAnnounced); i >= 0 {
		return p.promoteKey(ctx, list, list[i], "")
	}
	if i := indexKey(list, made.Alg, KeyActive); i >= 0 {
		if err := p.retireKey(ctx, list[i], ""); err != nil {
			return Key{}, err
		}
	}
	return made, p.addKeys(ctx, []Key{made})
}

// promoteKey lets an announced key sign in place of the active one of its algorithm, which retires.
func (p *Provider) promoteKey(ctx context.Context, list []Key, k Key, actor string) (Key, error) {
	if i := indexKey(list, k.Alg, KeyActive); i >= 0 {
		if err := p.retireKey(ctx, list[i], actor); err != nil {
			return Key{}, err
		}
	}
	now := p.Now()
	k.State, k.ActiveAt = KeyActive, &now
	if err := p.store.ChangeKey(ctx, k, KeyAnnounced); err != nil {
		return Key{}, err
	}
	return k, p.record(ctx, eventKeyChanged(k, actor))
}

func (p *Provider) retireKey(ctx context.Context, k Key, actor string) error {
	now := p.Now()
	k.State, k.RetiredAt = KeyRetired, &now
	if err := p.store.ChangeKey(ctx, k, KeyActive); err != nil {
		return err
	}
	return p.record(ctx, eventKeyChanged(k, actor))
}

func (p *Provider) addKeys(ctx context.Context, list []Key) error {
	for _, k := range list {
		if err := p.store.AddKey(ctx, k); err != nil {
			return err
		}
		if err := p.record(ctx, eventKeyAdded(k)); err != nil {
			return err
		}
	}
	return nil
}

// WithdrawKey takes an announced or retired key out of the key set at once, as after it became
// known, and returns it as it was. It is Conflict for an active key, whose algorithm would be
// without one, and ErrNotFound where there is no such key.
func (p *Provider) WithdrawKey(ctx context.Context, kid string) (Key, error) {
	var k Key
	err := p.changed(ctx, VersionKeys, func(ctx context.Context) error {
		list, err := p.store.Keys(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(k Key) bool { return k.ID == kid })
		if i < 0 {
			return ErrNotFound
		}
		k = list[i]
		switch k.State {
		case KeyActive:
			return &Error{Kind: Conflict, Code: "key_active", Args: map[string]any{"Alg": k.Alg}}
		case KeyAnnounced:
			// Only a retired key can be deleted, so that none is lost that another node promotes.
			retired, now := k, p.Now()
			retired.State, retired.RetiredAt = KeyRetired, &now
			if err := p.store.ChangeKey(ctx, retired, KeyAnnounced); err != nil {
				return err
			}
		}
		if err := p.store.DeleteKey(ctx, k.ID); err != nil {
			return err
		}
		return p.record(ctx, eventKeyWithdrawn(k))
	})
	return k, stored("withdraw a signing key", err)
}

// ResealKeys seals every signing key with the current root key and returns how many it was not
// sealed with. Nodes that do not hold that root key yet can open none of them afterwards.
func (p *Provider) ResealKeys(ctx context.Context) (int, error) {
	resealed := 0
	err := p.changed(ctx, VersionKeys, func(ctx context.Context) error {
		resealed = 0
		list, err := p.store.Keys(ctx)
		if err != nil {
			return err
		}
		for _, k := range list {
			if secret.SealedBy(k.Private) == p.ring.Current() {
				continue
			}
			der, err := p.ring.Open(secret.ForSigningKey, k.Private, keyPlace(k.ID))
			if err != nil {
				return fmt.Errorf("open the signing key %s: %w", k.ID, err)
			}
			if err := p.store.ResealKey(ctx, k.ID, k.Private, p.ring.Seal(secret.ForSigningKey, der, keyPlace(k.ID))); err != nil {
				return err
			}
			resealed++
		}
		if resealed == 0 {
			return nil
		}
		return p.record(ctx, eventKeysResealed(resealed, p.ring.Current()))
	})
	return resealed, stored("reseal the signing keys", err)
}

func indexKey(list []Key, alg string, state KeyState) int {
	return slices.IndexFunc(list, func(k Key) bool { return k.Alg == alg && k.State == state })
}

// announceFor is how long a key is published before it signs, so that every relying party has
// fetched it by then (OpenID Connect Core 1.0 §10.1.1).
const announceFor = 24 * time.Hour

// moveKeys promotes keys that were announced for long enough and removes those that nobody needs
// any more. Each move is a compare-and-set under the raised version, so that of several nodes one
// does it.
func (p *Provider) moveKeys(ctx context.Context) error {
	list, err := p.store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("list signing keys: %w", err)
	}
	if len(p.movable(list)) == 0 {
		return nil
	}
	err = p.changed(ctx, VersionKeys, func(ctx context.Context) error {
		list, err := p.store.Keys(ctx)
		if err != nil {
			return err
		}
		for _, k := range p.movable(list) {
			if err := p.moveKey(ctx, list, k); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		return nil // another node was first
	}
	return err
}

// movable are the keys that are due for the next state of their lives.
func (p *Provider) movable(list []Key) []Key {
	now := p.Now()
	var due []Key
	for _, k := range list {
		if at := p.MovesOn(k); !at.IsZero() && !now.Before(at) {
			due = append(due, k)
		}
	}
	return due
}

// MovesOn is when a key goes on to the next state of its life by itself: when an announced one
// signs, and a retired one is gone. It is zero for an active key.
func (p *Provider) MovesOn(k Key) time.Time {
	switch {
	case k.State == KeyAnnounced:
		return k.CreatedAt.Add(announceFor)
	case k.State == KeyRetired && k.RetiredAt != nil:
		return k.RetiredAt.Add(p.publishRetired())
	}
	return time.Time{}
}

// publishRetired is how long a retired key is still published: as long as anything that it signed
// may have to be verified. An ID token comes back as id_token_hint while its session lives.
func (p *Provider) publishRetired() time.Duration {
	return max(p.cfg.Tokens.AccessTTL, p.cfg.Tokens.IDTokenTTL, p.cfg.Sessions.Lifetime, p.cfg.Sessions.BrowserLifetime)
}

func (p *Provider) moveKey(ctx context.Context, list []Key, k Key) error {
	if k.State == KeyRetired {
		if err := p.store.DeleteKey(ctx, k.ID); err != nil {
			return err
		}
		return p.record(ctx, eventKeyRemoved(k))
	}
	_, err := p.promoteKey(ctx, list, k, actorSystem)
	return err
}

// newKeySet makes an active key for every algorithm, side by side: RSA takes its time.
func (p *Provider) newKeySet() ([]Key, error) {
	list := make([]Key, len(SigningAlgs))
	failed := make(chan error, len(SigningAlgs))
	for i, alg := range SigningAlgs {
		go func() {
			var err error
			list[i], err = p.newKey(alg)
			failed <- err
		}()
	}
	var errs []error
	for range SigningAlgs {
		errs = append(errs, <-failed)
	}
	return list, errors.Join(errs...)
}

// newKey makes an active key.
func (p *Provider) newKey(alg string) (Key, error) {
	signer, err := generate(alg)
	if err != nil {
		return Key{}, err
	}
	public := jose.JSONWebKey{Key: signer.Public(), Algorithm: alg, Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	jwk, err := public.MarshalJSON()
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return Key{}, err
	}
	now := p.Now()
	return Key{
		ID: public.KeyID, Alg: alg, State: KeyActive, Public: string(jwk), CreatedAt: now, ActiveAt: &now,
		Private: p.ring.Seal(secret.ForSigningKey, der, keyPlace(public.KeyID)),
	}, nil
}

// keyPlace is where a sealed private key lies; a signing key has no owner.
func keyPlace(kid string) []byte { return secret.Place("keys", "private", []byte(kid), nil) }

// rsaBits is the size that every library takes (RFC 7518 §3.3); a larger one costs each ID token
// several times as much.
const rsaBits = 2048

func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case "RS256":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("no signing algorithm %q", alg)
}

// loadKeys reads every key for the cache and opens those that sign.
func (p *Provider) loadKeys(ctx context.Context) (*keySet, error) {
	list, err := p.store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list signing keys: %w", err)
	}
	set := &keySet{active: make(map[string]*SigningKey), published: make(map[string]publicKey, len(list))}
	published := make([]json.RawMessage, len(list))
	for i, k := range list {
		published[i] = json.RawMessage(k.Public)
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON([]byte(k.Public)); err != nil {
			return nil, fmt.Errorf("read the public key %s: %w", k.ID, err)
		}
		set.published[k.ID] = publicKey{k.Alg, jwk.Key}
		if k.State != KeyActive {
			continue
		}
		if set.active[k.Alg], err = p.openKey(k); err != nil {
			return nil, err
		}
	}
	set.jwks, err = json.Marshal(map[string]any{"keys": published})
	return set, err
}

func (p *Provider) openKey(k Key) (*SigningKey, error) {
	der, err := p.ring.Open(secret.ForSigningKey, k.Private, keyPlace(k.ID))
	if err != nil {
		return nil, fmt.Errorf("open the signing key %s: %w", k.ID, err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read the signing key %s: %w", k.ID, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read the signing key %s: %T does not sign", k.ID, private)
	}
	return &SigningKey{ID: k.ID, Alg: k.Alg, Signer: signer}, nil
}
