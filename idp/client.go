package idp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/idp/guard"
	"postern/idp/secret"
)

// A Client is a relying party (RFC 6749 §2). Its values are shared by every request that reads
// them from the cache: nobody changes one in place.
type Client struct {
	ID       string // 1 to 128 characters of RFC 3986's unreserved set
	Metadata Metadata
	Secrets  Secrets
	// SecurityVersion rises when the client is disabled or a secret is revoked (I-13).
	SecurityVersion int64
	DisabledAt      *time.Time
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// Metadata are a client's properties under their RFC 7591 names; as a column a JSON object.
type Metadata struct {
	Name                    string `json:"client_name,omitempty"`
	URI                     string `json:"client_uri,omitempty"`
	LogoURI                 string `json:"logo_uri,omitempty"`
	PolicyURI               string `json:"policy_uri,omitempty"`
	TOSURI                  string `json:"tos_uri,omitempty"`
	RedirectURIs            List   `json:"redirect_uris,omitempty"`
	GrantTypes              List   `json:"grant_types,omitempty"`
	ResponseTypes           List   `json:"response_types,omitempty"`
	Scopes                  List   `json:"scopes,omitempty"`   // those that it may ask for
	Audience                List   `json:"audience,omitempty"` // resources whose tokens it may introspect
	TokenEndpointAuthMethod string `json:"token_endpoint_auth_method"`
	ApplicationType         string `json:"application_type"` // web or native
	IDTokenAlg              string `json:"id_token_signed_response_alg,omitempty"`
	DefaultMaxAge           *int64 `json:"default_max_age,omitempty"` // seconds
	RequireAuthTime         bool   `json:"require_auth_time,omitempty"`
	DefaultACRValues        List   `json:"default_acr_values,omitempty"` // of a request that asks for none
	// Of ours: PKCE is required of every client, a public one included, unless PKCEOptional
	// exempts a confidential one; users of FirstParty clients are asked for consent only where
	// the request says prompt=consent.
	PKCEOptional bool `json:"pkce_optional,omitempty"`
	FirstParty   bool `json:"first_party,omitempty"`
	// MinimumACR is the value of acr (mfa.acr) that every sign-in for the client reaches at least, and
	// its tokens at userinfo (RFC 9470); "" for any.
	MinimumACR string `json:"minimum_acr,omitempty"`
}

// Column implements Column.
func (m Metadata) Column() (string, error) { return columnOf(m) }

// Scan reads a column.
func (m *Metadata) Scan(src any) error { return scanColumn(m, src) }

// Token endpoint authentication methods (OpenID Connect Core 1.0 §9).
const (
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
	AuthNone  = "none"
)

// Public tells whether c cannot keep a secret (RFC 6749 §2.1).
func (c *Client) Public() bool { return c.Metadata.TokenEndpointAuthMethod == AuthNone }

// Native tells whether the loopback port rule of RFC 8252 §7.3 holds for c.
func (c *Client) Native() bool { return c.Metadata.ApplicationType == "native" }

// Live tells whether c may be used.
func (c *Client) Live() bool { return c.DisabledAt == nil }

// DisplayName is the name that people are shown: the client's, or its ID.
func (c *Client) DisplayName() string {
	if c.Metadata.Name != "" {
		return c.Metadata.Name
	}
	return c.ID
}

// A ClientSecret is one of a client's live secrets. What we generated has 256 random bits and is
// kept as SHA-256; what somebody else made is stretched unless it is as long (I-14).
type ClientSecret struct {
	ID        ID         `json:"id"`
	Hash      string     `json:"hash"` // "sha256$" and base64url, or a PHC string
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// Secrets are a client's; as a column a JSON array.
type Secrets []ClientSecret

// Column implements Column.
func (s Secrets) Column() (string, error) {
	if len(s) == 0 {
		return "[]", nil
	}
	return columnOf([]ClientSecret(s))
}

// Scan reads a column.
func (s *Secrets) Scan(src any) error { return scanColumn((*[]ClientSecret)(s), src) }

// ClientStore keeps clients. Whoever changes one raises the version Clients in the same Tx.
type ClientStore interface {
	// AddClient returns ErrConflict where the ID is taken.
	AddClient(ctx context.Context, c Client) error
	// Clients lists every client in the order of their IDs.
	Clients(ctx context.Context) ([]Client, error)
	// ChangeClient writes every field but ID and CreatedAt; ErrNotFound where there is none.
	ChangeClient(ctx context.Context, c Client) error
	// DeleteClient removes the client with its consents and grants; ErrNotFound where there is none.
	DeleteClient(ctx context.Context, id string) error
}

// The things that every node keeps in memory, each with a version that a change raises (I-13).
const (
	VersionClients = "clients"
	VersionKeys    = "keys"
	VersionGate    = "gate" // blocks, and counters that somebody cleared
)

// VersionStore keeps the numbers that tell caches to reload.
type VersionStore interface {
	// Versions returns every version by its name, in one statement.
	Versions(ctx context.Context) (map[string]int64, error)
	// RaiseVersion adds one, in the Tx of the change.
	RaiseVersion(ctx context.Context, name string) error
	// KeyCheck returns what PutKeyCheck kept, nil for an empty database (I-10).
	KeyCheck(ctx context.Context) ([]byte, error)
	// PutKeyCheck keeps the check value of the keyring.
	PutKeyCheck(ctx context.Context, check []byte) error
}

// Client finds a live or disabled client in the cache; ErrNotFound where there is none. It is
// Unavailable where the cache is not fresh (I-13).
func (p *Provider) Client(ctx context.Context, id string) (*Client, error) {
	s, err := p.fresh(ctx)
	if err != nil {
		return nil, err
	}
	c, ok := s.clients[id]
	if !ok {
		return nil, ErrNotFound
	}
	return c, nil
}

// Clients lists every client.
func (p *Provider) Clients(ctx context.Context) ([]Client, error) {
	list, err := p.store.Clients(ctx)
	return list, stored("list clients", err)
}

// AddClient checks c and adds it, with an ID where it has none and a generated secret where it is
// confidential, which is returned once. A chosen secret is taken where it is long enough (I-14).
func (p *Provider) AddClient(ctx context.Context, c Client, chosenSecret string) (Client, string, error) {
	if c.ID == "" {
		c.ID = RandomID().String()
	}
	c.Metadata.complete()
	if err := c.check(chosenSecret); err != nil {
		return Client{}, "", err
	}
	if err := p.checkACRs(&c.Metadata); err != nil {
		return Client{}, "", err
	}
	now := p.Now()
	// It begins with the time, so that no token of an earlier client of the same ID fits (I-13).
	c.Secrets, c.SecurityVersion, c.DisabledAt = nil, now.Unix(), nil
	c.CreatedAt, c.UpdatedAt = now, now
	shown := chosenSecret
	if !c.Public() {
		if shown == "" {
			shown = secret.New()
		}
		s, err := p.newClientSecret(ctx, shown)
		if err != nil {
			return Client{}, "", err
		}
		c.Secrets = Secrets{s}
	}
	err := p.changed(ctx, VersionClients, func(ctx context.Context) error {
		if err := p.store.AddClient(ctx, c); err != nil {
			return err
		}
		return p.record(ctx, eventClientAdded(c))
	})
	if errors.Is(err, ErrConflict) {
		err = &Error{Kind: Conflict, Code: "client_id_taken", Field: "client_id"}
	}
	if err != nil {
		return Client{}, "", stored("add client", err)
	}
	return c, shown, nil
}

// newClientSecret hashes a secret once where it is as long as one of ours, and stretches it
// otherwise (I-14).
func (p *Provider) newClientSecret(ctx context.Context, text string) (ClientSecret, error) {
	now := p.Now()
	s := ClientSecret{ID: NewID(now), CreatedAt: now}
	if secret.LooksGenerated(text) {
		s.Hash = secret.HashGenerated(text)
		return s, nil
	}
	hash, err := p.hasher.Hash(ctx, text)
	if err != nil {
		return s, hashing("hash a client secret", err)
	}
	s.Hash = hash
	return s, nil
}

// maxSecrets is how many live secrets a client may have: the present one, the next, and one that
// somebody forgot.
const maxSecrets = 3

// RotateSecret adds a secret and returns it; the old ones die where `revoke` asks for it. Without
// that it is Conflict where the client has several already.
func (p *Provider) RotateSecret(ctx context.Context, id string, revoke bool) (string, error) {
	shown := secret.New()
	fresh, err := p.newClientSecret(ctx, shown)
	if err != nil {
		return "", err
	}
	err = p.changeClient(ctx, id, func(c *Client) (Event, error) {
		if c.Public() {
			return Event{}, invalid("client_public", "client_id", nil)
		}
		revoked := 0
		if revoke {
			revoked = len(c.Secrets)
			c.Secrets = nil
			c.SecurityVersion++ // what was issued for them dies, too (I-13)
		}
		c.Secrets = append(c.Secrets.live(p.Now()), fresh)
		if len(c.Secrets) > maxSecrets {
			return Event{}, &Error{Kind: Conflict, Code: "client_secrets_too_many", Args: map[string]any{"max": maxSecrets}}
		}
		return eventClientSecretRotated(*c, revoked), nil
	})
	if err != nil {
		return "", stored("rotate a client secret", err)
	}
	return shown, nil
}

// RevokeSecrets ends every secret of a client but the newest, which its relying party has by then,
// and tells how many those were. It is Conflict where the client has no other.
func (p *Provider) RevokeSecrets(ctx context.Context, id string) (revoked int, err error) {
	err = p.changeClient(ctx, id, func(c *Client) (Event, error) {
		if c.Public() {
			return Event{}, invalid("client_public", "client_id", nil)
		}
		live := c.Secrets.live(p.Now())
		if len(live) < 2 {
			return Event{}, &Error{Kind: Conflict, Code: "client_secrets_single"}
		}
		revoked = len(live) - 1
		c.Secrets = live[revoked:] // RotateSecret appends
		c.SecurityVersion++        // what was issued for the others dies, too (I-13)
		return eventClientSecretsRevoked(*c, revoked), nil
	})
	if err != nil {
		return 0, stored("revoke client secrets", err)
	}
	return revoked, nil
}

// live are the secrets that have not expired, in a list of its own.
func (s Secrets) live(now time.Time) Secrets {
	return slices.DeleteFunc(slices.Clone(s), func(one ClientSecret) bool {
		return one.ExpiresAt != nil && !now.Before(*one.ExpiresAt)
	})
}

// changeClient reads a client, changes it and records what fn tells, in one Tx.
func (p *Provider) changeClient(ctx context.Context, id string, fn func(*Client) (Event, error)) error {
	return p.changed(ctx, VersionClients, func(ctx context.Context) error {
		list, err := p.store.Clients(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(c Client) bool { return c.ID == id })
		if i < 0 {
			return ErrNotFound
		}
		e, err := fn(&list[i])
		if err != nil {
			return err
		}
		list[i].UpdatedAt = p.Now()
		if err := p.store.ChangeClient(ctx, list[i]); err != nil {
			return err
		}
		return p.record(ctx, e)
	})
}

// UpdateClient lets change have a client's metadata, checks what became of them, and writes them. What
// was issued stays as it is. It is Invalid as AddClient is.
func (p *Provider) UpdateClient(ctx context.Context, id string, change func(*Metadata)) (Client, error) {
	var updated Client
	err := p.changeClient(ctx, id, func(c *Client) (Event, error) {
		change(&c.Metadata)
		if err := c.check(""); err != nil {
			return Event{}, err
		}
		if err := p.checkACRs(&c.Metadata); err != nil {
			return Event{}, err
		}
		updated = *c
		return eventClientUpdated(*c), nil
	})
	if err != nil {
		return Client{}, stored("update a client", err)
	}
	return updated, nil
}

// checkACRs refuses values of acr that the settings do not know: nobody could ever sign in for a client
// that demands one.
func (p *Provider) checkACRs(m *Metadata) error {
	known := p.ACRValues()
	if m.MinimumACR != "" && !slices.Contains(known, m.MinimumACR) {
		return flaw("minimum_acr", "must be one of mfa.acr: "+strings.Join(known, ", "))
	}
	switch list := slices.Sorted(slices.Values(m.DefaultACRValues)); {
	case !containsAll(known, list):
		return flaw("default_acr_values", "must be among mfa.acr: "+strings.Join(known, ", "))
	case len(slices.Compact(list)) < len(m.DefaultACRValues), len(list) > maxACRValues:
		return flaw("default_acr_values", fmt.Sprintf("must be at most %d values, each once", maxACRValues))
	}
	return nil
}

// DeleteClient removes a client with its consents and grants.
func (p *Provider) DeleteClient(ctx context.Context, id string) error {
	err := p.changed(ctx, VersionClients, func(ctx context.Context) error {
		if err := p.store.DeleteClient(ctx, id); err != nil {
			return err
		}
		return p.record(ctx, eventClientDeleted(id))
	})
	return stored("delete client", err)
}

// AuthenticateClient checks a client's secret through the gate (I-14). Its error is Denied,
// Throttled or Unavailable. A nil c stands for an ID that no client has: it fails as a wrong
// secret does, and is counted.
//
// Lockout has no part in it. It would count by who is named, and with that any stranger could turn a
// client off, for all of its users; the limits count by address, and by address and client. What a
// stranger can do at those is to fill them for the network that they share with the client.
func (p *Provider) AuthenticateClient(ctx context.Context, c *Client, shown string) error {
	if c == nil {
		c = &Client{}
	}
	r := guard.Request{Failure: actionClientAuth, Address: VisitorFrom(ctx).Address, Client: c.ID}
	permit, err := p.guard.Check(r)
	if err != nil {
		return p.refused(ctx, "authenticate a client", err)
	}
	var stretched Secrets
	right := false
	for _, s := range c.Secrets.live(p.Now()) {
		if secret.Generated(s.Hash) {
			right = secret.VerifyGenerated(permit, shown, s.Hash) || right
		} else {
			stretched = append(stretched, s)
		}
	}
	switch {
	case !c.Live() || c.Public():
		right = false
	case !right && len(stretched) > 0:
		return p.verifyStretched(ctx, r, permit, shown, stretched)
	}
	if right {
		return nil
	}
	if err := permit.Failure(ctx); err != nil && !p.goesOnUncounted(ctx, err) {
		return p.refused(ctx, "count a failed client authentication", err)
	}
	return &Error{Kind: Denied, Code: "invalid_client"}
}

// goesOnUncounted tells whether client authentication goes on although the counters answered err:
// where they could not be reached, and the settings choose that over an outage.
func (p *Provider) goesOnUncounted(ctx context.Context, err error) bool {
	if !p.cfg.RateLimits.ClientAuthFailOpen || KindOf(gated("", err)) != Unavailable {
		return false
	}
	p.log.WarnContext(ctx, "client authentication goes on uncounted", "error", err)
	return true
}

// verifyStretched checks a secret that was not long enough to be hashed once, as a password is:
// with a reservation, since it can be guessed. unreserved is the permit that has to do where the
// counters cannot be reached and the settings let it go on.
func (p *Provider) verifyStretched(ctx context.Context, r guard.Request, unreserved *guard.Permit, shown string, stretched Secrets) error {
	permit, err := p.guard.Reserve(ctx, r)
	reserved := err == nil
	if !reserved {
		if !p.goesOnUncounted(ctx, err) {
			return p.refused(ctx, "authenticate a client", err)
		}
		permit = unreserved
	}
	for i, s := range stretched {
		right, err := p.hasher.Verify(ctx, permit, shown, s.Hash)
		if reserved && (right || err != nil && i == 0) { // the first one tells something of a guess
			p.refund(ctx, permit)
		}
		if err != nil {
			return hashing("verify a client secret", err)
		}
		if right {
			return nil
		}
	}
	return &Error{Kind: Denied, Code: "invalid_client"}
}
