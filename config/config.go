// Package config is Postern's settings: one documented struct, read from files, environment and
// flags, with errors that teach.
//
// It judges settings alone; what they mean is for the packages that read them.
package config

import (
	"net/netip"
	"time"
)

// Config is every setting. The yaml tag is the key; nested keys are joined with dots. The doc
// comment is what `postern config explain`, the JSON Schema and docs/configuration.md show. The
// other tags are the rest of a key's documentation: example is a value to copy, min and max bound
// numbers and durations, oneof lists the words that are allowed, and secret says what is masked:
// the whole value, or the password of a URL.
type Config struct {
	// Issuer is the address by which relying parties and browsers know this provider: a URL
	// without path, query or fragment, https but for development. Required.
	Issuer string `yaml:"issuer" example:"https://id.example.com"`
	// Profile is production, or development, which allows http://localhost and cheap password
	// hashes, and tells a browser that comes by another address where to go.
	Profile string `yaml:"profile" oneof:"production,development" example:"production"`
	// Listen is the address to serve on, HOST:PORT. Without HOST it is every address of the machine.
	Listen string `yaml:"listen" example:"127.0.0.1:8080"`

	TLS        TLS        `yaml:"tls"`
	Proxy      Proxy      `yaml:"proxy"`
	Database   Database   `yaml:"database"`
	Secrets    Secrets    `yaml:"secrets"`
	Login      Login      `yaml:"login"`
	Password   Password   `yaml:"password"`
	Sessions   Sessions   `yaml:"sessions"`
	RateLimits RateLimits `yaml:"rate_limits"`
	Tokens     Tokens     `yaml:"tokens"`
	OAuth      OAuth      `yaml:"oauth"`
	Branding   Branding   `yaml:"branding"`
	Log        Log        `yaml:"log"`
}

// TLS serves https without a proxy, where cert and key are set, and says what browsers keep about
// https.
type TLS struct {
	// Cert is the path of a PEM file with the certificate and its chain.
	Cert string `yaml:"cert" example:"/etc/postern/cert.pem"`
	// Key is the path of a PEM file with the certificate's private key.
	Key string `yaml:"key" example:"/etc/postern/key.pem"`

	HSTS HSTS `yaml:"hsts"`
}

// HSTS is the header Strict-Transport-Security, by which browsers keep to https (RFC 6797).
type HSTS struct {
	// MaxAge is how long browsers keep to https (Strict-Transport-Security); with 0s they forget it.
	// The header is sent with an https issuer and the profile production.
	MaxAge time.Duration `yaml:"max_age" min:"0s" max:"730d" example:"365d"`
	// IncludeSubdomains holds for the subdomains of the issuer's host, too: all of them speak https.
	IncludeSubdomains bool `yaml:"include_subdomains" example:"true"`
	// Preload allows browsers to have the host on a list of their own, which it leaves after months
	// only. It needs the subdomains, and a year.
	Preload bool `yaml:"preload" example:"false"`
}

// Proxy says which proxies in front are believed.
type Proxy struct {
	// TrustedHops is how many proxies append to X-Forwarded-For; 0 believes no header.
	TrustedHops int `yaml:"trusted_hops" min:"0" max:"10" example:"1"`
	// TrustedCIDRs are the networks that those proxies are in. The header is believed from them
	// alone; where the list is empty, from whoever connects.
	TrustedCIDRs []netip.Prefix `yaml:"trusted_cidrs" example:"[10.0.0.0/8]"`
}

// Database says where everything is kept.
type Database struct {
	// URL is sqlite:PATH for an embedded database in one file, or postgres://… for a server that
	// any number of nodes share.
	URL string `yaml:"url" secret:"password" example:"sqlite:/var/lib/postern/postern.db"`
}

// Secrets are the keys that seal and sign what is kept.
type Secrets struct {
	// Keys are root keys, each NUMBER:BASE64URL of 32 bytes, as `postern key generate` prints
	// them. The first one seals; the others only open. Where there are none, they are read from
	// postern.keys beside the SQLite file, which is made for an empty database. PostgreSQL needs
	// them, since its nodes must agree.
	Keys []string `yaml:"keys" secret:"whole" example:"[\"file:/etc/postern/root.key\"]"`
}

// Login is about signing in.
type Login struct {
	// FlowTimeout is how long an interaction may take, from the request to its end.
	FlowTimeout time.Duration `yaml:"flow_timeout" min:"1m" max:"2h" example:"15m"`
}

// Password is about passwords and their hashes.
type Password struct {
	// MinLength is how long a password must be, in code points.
	MinLength int `yaml:"min_length" min:"8" max:"64" example:"12"`
	// Argon2 stretches passwords. What is stored with other parameters is hashed anew when its
	// user signs in.
	Argon2 Argon2 `yaml:"argon2"`
	// HashMemoryMiB bounds the memory of all hashes that run at a time. Who waits longer than two
	// seconds for it is asked to come back.
	HashMemoryMiB int `yaml:"hash_memory_mib" min:"1" max:"65536" example:"512"`
}

// Argon2 are the parameters of argon2id (RFC 9106 §3.1).
type Argon2 struct {
	// MemoryKiB is the memory of one hash. In production memory × time is at least 35840, and the
	// memory 7168.
	MemoryKiB uint32 `yaml:"memory_kib" min:"8" max:"4194304" example:"65536"`
	// Time is the number of passes over the memory.
	Time uint32 `yaml:"time" min:"1" max:"100" example:"3"`
	// Parallelism is how many lanes the memory has.
	Parallelism uint8 `yaml:"parallelism" min:"1" max:"64" example:"2"`
}

// Sessions is about SSO sessions.
type Sessions struct {
	// Lifetime is how long a remembered session lasts.
	Lifetime time.Duration `yaml:"lifetime" min:"1h" max:"400d" example:"14d"`
	// BrowserLifetime is how long one lasts that is not remembered, if its browser stays open.
	BrowserLifetime time.Duration `yaml:"browser_lifetime" min:"5m" max:"30d" example:"1d"`
	// IdleTimeout ends a session that is not remembered after this time without use.
	IdleTimeout time.Duration `yaml:"idle_timeout" min:"1m" max:"30d" example:"8h"`
	// Remember is ask, which leaves it to the person, or always or never.
	Remember string `yaml:"remember" oneof:"ask,always,never" example:"ask"`
}

// RateLimits are limits by action, each AMOUNT/PERIOD/SCOPE, several joined with commas:
// 10/m/ip,5/5m/key. `rate_limits: false` switches all of them off.
type RateLimits struct {
	// Off switches all of them off. For tests and measurements.
	Off bool `yaml:"-" section:"false"`
	// Login limits attempts to sign in.
	Login string `yaml:"login" example:"30/m/ip"`
	// LoginFailed limits attempts to sign in that failed.
	LoginFailed string `yaml:"login_failed" example:"10/m/ip,5/5m/key"`
	// TokenEndpointAuthFailed limits failed authentications of clients.
	TokenEndpointAuthFailed string `yaml:"token_endpoint_auth_failed" example:"20/m/ip,20/m/ip+client"`
	// ExemptCIDRs are networks that no limit holds for.
	ExemptCIDRs []netip.Prefix `yaml:"exempt_cidrs" example:"[127.0.0.0/8, \"::1/128\"]"`
}

// Tokens is about the lifetimes of what is issued.
type Tokens struct {
	// CodeTTL is how long an authorization code can be redeemed (RFC 6749 §4.1.2).
	CodeTTL time.Duration `yaml:"code_ttl" min:"10s" max:"10m" example:"1m"`
	// AccessTTL is how long an access token lives.
	AccessTTL time.Duration `yaml:"access_ttl" min:"10s" max:"1d" example:"5m"`
	// IDTokenTTL is how long an ID token is valid.
	IDTokenTTL time.Duration `yaml:"id_token_ttl" min:"10s" max:"1d" example:"1h"`
	// RefreshTTL ends a refresh token that is not used.
	RefreshTTL time.Duration `yaml:"refresh_ttl" min:"1m" max:"365d" example:"1d"`
	// RefreshCap ends a family of refresh tokens that is bound to its session.
	RefreshCap time.Duration `yaml:"refresh_cap" min:"1m" max:"1825d" example:"14d"`
	// OfflineCap ends a family of refresh tokens with offline_access.
	OfflineCap time.Duration `yaml:"offline_cap" min:"1m" max:"1825d" example:"30d"`
	// RefreshWindow is in which a refresh may be repeated by its sender; 0s for never.
	RefreshWindow time.Duration `yaml:"refresh_window" min:"0s" max:"1m" example:"10s"`
	// RefreshRecovery is in which a client whose answer was lost can go on from the token before.
	RefreshRecovery time.Duration `yaml:"refresh_recovery" min:"0s" max:"30d" example:"1d"`
}

// OAuth is about the protocol.
type OAuth struct {
	// IDTokenAlg signs ID tokens of clients that registered no algorithm. ES256 and EdDSA cost a
	// fraction of RS256, which every client library takes.
	IDTokenAlg string `yaml:"id_token_alg" oneof:"RS256,ES256,EdDSA" example:"ES256"`
}

// Branding is what people see.
type Branding struct {
	// Name is this instance's name.
	Name string `yaml:"name" example:"Example Ltd"`
	// Support is a mailto: or https: address for people who need help.
	Support string `yaml:"support" example:"mailto:help@example.com"`
}

// Log is about the log on standard error.
type Log struct {
	// Level is the least that is written.
	Level string `yaml:"level" oneof:"debug,info,warn,error" example:"info"`
	// Format is text, json, or auto: text on a terminal.
	Format string `yaml:"format" oneof:"auto,text,json" example:"json"`
}

// Default returns every setting's default. Issuer has none.
func Default() *Config {
	return &Config{
		Profile:  "production",
		Listen:   ":8080",
		TLS:      TLS{HSTS: HSTS{MaxAge: 365 * 24 * time.Hour, IncludeSubdomains: true, Preload: true}},
		Database: Database{URL: "sqlite:postern.db"},
		Login:    Login{FlowTimeout: 15 * time.Minute},
		Password: Password{MinLength: 12, Argon2: Argon2{MemoryKiB: 64 << 10, Time: 3, Parallelism: 2}, HashMemoryMiB: 512},
		Sessions: Sessions{Lifetime: 14 * 24 * time.Hour, BrowserLifetime: 24 * time.Hour, IdleTimeout: 8 * time.Hour, Remember: "ask"},
		RateLimits: RateLimits{
			Login: "30/m/ip", LoginFailed: "10/m/ip,5/5m/key", TokenEndpointAuthFailed: "20/m/ip,20/m/ip+client",
		},
		Tokens: Tokens{
			CodeTTL: time.Minute, AccessTTL: 5 * time.Minute, IDTokenTTL: time.Hour,
			RefreshTTL: 24 * time.Hour, RefreshCap: 14 * 24 * time.Hour, OfflineCap: 30 * 24 * time.Hour,
			RefreshWindow: 10 * time.Second, RefreshRecovery: 24 * time.Hour,
		},
		OAuth:    OAuth{IDTokenAlg: "RS256"},
		Branding: Branding{Name: "Postern"},
		Log:      Log{Level: "info", Format: "auto"},
	}
}

// Development tells whether the profile is development.
func (c *Config) Development() bool { return c.Profile == "development" }
