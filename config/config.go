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
	Redis      Redis      `yaml:"redis"`
	Secrets    Secrets    `yaml:"secrets"`
	Mail       Mail       `yaml:"mail"`
	Login      Login      `yaml:"login"`
	Signup     Signup     `yaml:"signup"`
	Username   Username   `yaml:"username"`
	Email      Email      `yaml:"email"`
	Password   Password   `yaml:"password"`
	Sessions   Sessions   `yaml:"sessions"`
	Sudo       Sudo       `yaml:"sudo"`
	MFA        MFA        `yaml:"mfa"`
	Account    Account    `yaml:"account"`
	Security   Security   `yaml:"security"`
	RateLimits RateLimits `yaml:"rate_limits"`
	Lockout    Lockout    `yaml:"lockout"`
	Honeypot   Honeypot   `yaml:"honeypot"`
	Audit      Audit      `yaml:"audit"`
	Tokens     Tokens     `yaml:"tokens"`
	OAuth      OAuth      `yaml:"oauth"`
	Places     Places     `yaml:"places"`
	Branding   Branding   `yaml:"branding"`
	Log        Log        `yaml:"log"`
	Metrics    Metrics    `yaml:"metrics"`
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
	// ClientIPHeader names the header that has the client's address alone, or several in the order
	// of their preference, joined with commas. It is believed from trusted_cidrs alone, which must
	// be set, and it wins over X-Forwarded-For.
	ClientIPHeader string `yaml:"client_ip_header" example:"CF-Connecting-IP"`
	// Order is from which end X-Forwarded-For is read. right-most counts trusted_hops from the
	// right. left-most takes the first entry, which everybody can forge where the outermost proxy
	// does not replace the header.
	Order string `yaml:"order" oneof:"right-most,left-most" example:"right-most"`
	// IKnowEdgeOverwrites says that the outermost proxy replaces X-Forwarded-For, as
	// `order: left-most` needs.
	IKnowEdgeOverwrites bool `yaml:"i_know_edge_overwrites" example:"false"`
}

// Database says where everything is kept.
type Database struct {
	// URL is sqlite:PATH for an embedded database in one file, or postgres://… for a server that
	// any number of nodes share.
	URL string `yaml:"url" secret:"password" example:"sqlite:/var/lib/postern/postern.db"`
}

// Redis is where the gate counts, where lockout.handler is redis.
type Redis struct {
	// URL is redis://[USER:PASSWORD@]HOST:PORT[/DB], or rediss:// for TLS.
	URL string `yaml:"url" secret:"password" example:"redis://127.0.0.1:6379/0"`
}

// Mail is about what is sent by mail.
type Mail struct {
	// Transport is how mail is sent. smtp://[USER@]HOST[:PORT] is a mail server, by port 587 if none
	// is written, with STARTTLS; only without USER, and to localhost or a loopback address, mails go
	// without TLS. smtps:// is TLS from the first byte on, by port 465. dir:PATH is a folder that
	// takes one .eml file a mail. Where it is empty nothing is sent. With it, mail.from is required.
	Transport string `yaml:"transport" secret:"password" example:"smtp://mail.example.com:587"`
	// Password is that of the USER of mail.transport.
	Password string `yaml:"password" secret:"whole" example:"file:/etc/postern/mail.password"`
	// From is the sender of every mail. Mail servers send back to its address what they cannot
	// deliver.
	From string `yaml:"from" example:"Example <no-reply@id.example.com>"`
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
	// PreventEnumeration is true to answer alike whether an account exists or not; strict lets
	// several people claim an address until one of them proves that it is theirs, and gives a new
	// account none before (with email.verification none it is as true); false says plainly that there
	// is no such account.
	PreventEnumeration string `yaml:"prevent_enumeration" oneof:"true,strict,false" example:"true"`
	// UnknownAccountMail tells an address that has no account when somebody asked for a reset in its
	// name.
	UnknownAccountMail bool `yaml:"unknown_account_mail" example:"false"`

	Code LoginCode `yaml:"code"`

	// UsernameField is the name of the field for the username in the sign-in form.
	UsernameField string `yaml:"username_field" example:"username"`
	// PasswordField is the name of the field for the password in the sign-in form.
	PasswordField string `yaml:"password_field" example:"password"`
}

// LoginCode is about signing in with a code that is mailed.
type LoginCode struct {
	// Enabled offers it.
	Enabled bool `yaml:"enabled" example:"true"`
	// MaxAttempts is how often somebody may mistype a code.
	MaxAttempts int `yaml:"max_attempts" min:"1" max:"10" example:"3"`
	// Timeout is how long a code works.
	Timeout time.Duration `yaml:"timeout" min:"30s" max:"1h" example:"3m"`
}

// Signup is about new accounts.
type Signup struct {
	// Mode is closed, open to everybody, or invite for those who have an invitation.
	Mode string `yaml:"mode" oneof:"closed,open,invite" example:"open"`
	// OpenFrom is when sign-up opens, as 2026-01-31T09:00:00Z.
	OpenFrom string `yaml:"open_from" example:"2026-01-31T09:00:00Z"`
	// OpenUntil is when it closes.
	OpenUntil string `yaml:"open_until" example:"2026-02-28T18:00:00Z"`
	// OpenHours are the hours of the day in which it is open, HH:MM-HH:MM and a time zone.
	OpenHours string `yaml:"open_hours" example:"09:00-17:00 Europe/Berlin"`
	// HoneypotField is the name of a field of the form that people do not see: whoever fills it in is
	// a program, and gets no account. Where it is empty there is none.
	HoneypotField string `yaml:"honeypot_field" example:"phone_number"`
	// InviteTTL is how long an invitation works.
	InviteTTL time.Duration `yaml:"invite_ttl" min:"1h" max:"90d" example:"7d"`
}

// Username is about what usernames may be.
type Username struct {
	// MinLength is how long a username must be.
	MinLength int `yaml:"min_length" min:"1" max:"64" example:"3"`
	// Patterns are regular expressions, all of which a username must match as a whole.
	Patterns []string `yaml:"patterns" example:"[\"^[a-z0-9]+$\"]"`
	// Charset is ascii, or unicode for letters of one script.
	Charset string `yaml:"charset" oneof:"ascii,unicode" example:"ascii"`
	// PreserveCasing keeps capital letters as typed. Two names that differ in them alone are one all
	// the same.
	PreserveCasing bool `yaml:"preserve_casing" example:"false"`
	// Reserved are names that nobody may choose, beside those that are built in.
	Reserved []string `yaml:"reserved" example:"[ceo]"`
}

// Email is about people's addresses.
type Email struct {
	// Verification is mandatory to let nobody in before they proved their address, optional, or none.
	Verification string `yaml:"verification" oneof:"mandatory,optional,none" example:"mandatory"`
	// VerificationByCode mails a code to type where it was asked for; with false it is a link.
	VerificationByCode bool `yaml:"verification_by_code" example:"true"`
	// MaxAttempts is how often somebody may mistype that code.
	MaxAttempts int `yaml:"max_attempts" min:"1" max:"10" example:"3"`
	// Timeout is how long that code works.
	Timeout time.Duration `yaml:"timeout" min:"1m" max:"1d" example:"15m"`
	// LinkTTL is how long that link works.
	LinkTTL time.Duration `yaml:"link_ttl" min:"10m" max:"30d" example:"3d"`
	// PlusAddressing is allow, deny, or collapse to count alice+x@ as alice@.
	PlusAddressing string `yaml:"plus_addressing" oneof:"allow,deny,collapse" example:"allow"`
	// AllowDisposable takes addresses of domains that are known to be disposable.
	AllowDisposable bool `yaml:"allow_disposable" example:"false"`
	// BlockedDomains are refused beside those, *.example.com for the subdomains alone.
	BlockedDomains []string `yaml:"blocked_domains" example:"[example.net]"`
	// AllowedDomains are taken although they are on the list of disposable ones.
	AllowedDomains []string `yaml:"allowed_domains" example:"[relay.example.org]"`
}

// Password is about passwords and their hashes.
type Password struct {
	// MinLength is how long a password must be, in code points.
	MinLength int `yaml:"min_length" min:"8" max:"64" example:"12"`
	// Validators are what a password is judged by, in this order: length, similarity, common, numeric,
	// complexity and zxcvbn.
	Validators []string `yaml:"validators" example:"[length, similarity, common, numeric, zxcvbn]"`
	// MinScore is the least score of zxcvbn, from 1 to 4. Administrators need 4.
	MinScore int `yaml:"min_score" min:"1" max:"4" example:"3"`
	// AdminMinLength is how long an administrator's password must be.
	AdminMinLength int `yaml:"admin_min_length" min:"8" max:"64" example:"15"`
	// ResetTTL is how long the mail of a reset works.
	ResetTTL time.Duration `yaml:"reset_ttl" min:"5m" max:"1d" example:"30m"`
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
	// EndOnPasswordChange ends every other session, and all refresh tokens, when a password changes.
	EndOnPasswordChange bool `yaml:"end_on_password_change" example:"true"`
	// TrackActivity keeps when and from where a session was used last. With false only the sign-in is
	// kept, and no session ends for want of use: each lasts for its lifetime.
	TrackActivity bool `yaml:"track_activity" example:"true"`
}

// Sudo is about proving anew who one is, before something sensitive.
type Sudo struct {
	// Required asks for it.
	Required bool `yaml:"required" example:"true"`
	// Timeout is how long a proof is fresh.
	Timeout time.Duration `yaml:"timeout" min:"30s" max:"1d" example:"5m"`
}

// MFA is about second factors, passkeys, and what the acr of a sign-in says.
type MFA struct {
	// Policy is off, so that nobody can set up a second factor, optional, or required of everybody. Who
	// has one is asked for it in any case.
	Policy string `yaml:"policy" oneof:"off,optional,required" example:"optional"`
	// Policies are other policies for some: MATCH => POLICY, where MATCH is role=admin or group=NAME.
	// Of several that match the strictest holds.
	Policies []string `yaml:"policies" example:"[\"role=admin => required\", \"group=staff => required\"]"`
	// EnrolGrace is how long somebody of whom a second factor is required may go on without one, since
	// their account was made, or since required_from. Administrators have no such time.
	EnrolGrace time.Duration `yaml:"enrol_grace" min:"0s" max:"365d" example:"7d"`
	// RequiredFrom is when the policy began, as 2026-01-31T09:00:00Z: nobody's time of enrol_grace
	// begins earlier.
	RequiredFrom string `yaml:"required_from" example:"2026-01-31T09:00:00Z"`
	// ACR says which values of acr (OpenID Connect Core 1.0 §2) stand for what: VALUE => LEVEL, where
	// LEVEL is pwd for one factor, mfa for two, phr for one that cannot be phished, or phrh where its
	// key cannot leave the device. Of a level's values the first one is told unless another is asked for.
	ACR []string `yaml:"acr" example:"[\"urn:postern:acr:pwd => pwd\", \"urn:postern:acr:mfa => mfa\", \"phr => phr\", \"phrh => phrh\", \"https://refeds.org/profile/mfa => mfa\"]"`

	TOTP           TOTP           `yaml:"totp"`
	WebAuthn       WebAuthn       `yaml:"webauthn"`
	Recovery       Recovery       `yaml:"recovery"`
	TrustedBrowser TrustedBrowser `yaml:"trusted_browser"`
}

// TOTP is about authenticator apps (RFC 6238).
type TOTP struct {
	// Issuer is the name that apps show; by default branding.name.
	Issuer string `yaml:"issuer" example:"Example"`
	// Digits of a code. Some apps know only 6.
	Digits int `yaml:"digits" min:"6" max:"8" example:"6"`
	// Algorithm of new secrets. Some apps know only SHA1.
	Algorithm string `yaml:"algorithm" oneof:"SHA1,SHA256" example:"SHA1"`
	// SkewPast is how many time steps, of 30 s, a code may be late.
	SkewPast int `yaml:"skew_past" min:"0" max:"2" example:"1"`
	// SkewFuture is how many it may be early, for clocks that are fast.
	SkewFuture int `yaml:"skew_future" min:"0" max:"1" example:"0"`
}

// WebAuthn is about passkeys and security keys.
type WebAuthn struct {
	// RPID is the relying party ID (Web Authentication Level 3 §4): the issuer's host by default, or a
	// domain that it is in. Whoever changes it voids every passkey.
	RPID string `yaml:"rp_id" example:"example.com"`
	// RPName is the name that browsers show; by default branding.name.
	RPName string `yaml:"rp_name" example:"Example"`
	// RelatedOrigins are origins beside the issuer's at which its passkeys may be used, which
	// /.well-known/webauthn tells browsers (Web Authentication Level 3 §5.11).
	RelatedOrigins []string `yaml:"related_origins" example:"[\"https://example.org\"]"`
	// UserVerification is preferred, or required of every new passkey and security key. A passkey that
	// is the whole sign-in needs it in any case.
	UserVerification string `yaml:"user_verification" oneof:"preferred,required" example:"preferred"`
	// ClonedKey is what happens to a key whose counter shows that it was copied: disable, or refuse
	// the one attempt.
	ClonedKey string `yaml:"cloned_key" oneof:"disable,refuse" example:"disable"`
	// AdminModels are the AAGUIDs of the models that administrators may register, any where it is
	// empty.
	AdminModels []string `yaml:"admin_models" example:"[\"ee882879-721c-4913-9775-3dfcce97072a\"]"`
	// Offer offers a passkey, once in a browser, to who signed in by password.
	Offer bool `yaml:"offer" example:"true"`
}

// Recovery is about recovery codes.
type Recovery struct {
	// Count is how many there are.
	Count int `yaml:"count" min:"4" max:"20" example:"10"`
}

// TrustedBrowser is about browsers in which people are not asked for their second factor.
type TrustedBrowser struct {
	// Enabled lets people trust a browser. It never holds for administrators, for something sensitive,
	// or where a relying party asks for two factors.
	Enabled bool `yaml:"enabled" example:"false"`
	// Lifetime is how long a browser is trusted.
	Lifetime time.Duration `yaml:"lifetime" min:"1h" max:"90d" example:"14d"`
}

// Account is about the pages on which people look after their own account.
type Account struct {
	// DeleteGrace is how long an account can be brought back that its user deleted.
	DeleteGrace time.Duration `yaml:"delete_grace" min:"0s" max:"365d" example:"30d"`
}

// Security is what /.well-known/security.txt says (RFC 9116).
type Security struct {
	// Contacts are where to report a hole: mailto:, https: or tel: addresses. Without one there is no
	// security.txt.
	Contacts []string `yaml:"contacts" example:"[\"mailto:security@example.com\"]"`
	// Expires is when the file is out of date, as 2027-01-31T00:00:00Z; by default 364 days after the
	// start of the server.
	Expires string `yaml:"expires" example:"2027-01-31T00:00:00Z"`
	// Policy is the address of the policy for those who report.
	Policy string `yaml:"policy" example:"https://example.com/security"`
	// Languages are those that reports may be in.
	Languages []string `yaml:"languages" example:"[en, de]"`
	// Encryption is the address of a key for reports.
	Encryption string `yaml:"encryption" example:"https://example.com/pgp.asc"`
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
	// Signup limits new accounts.
	Signup string `yaml:"signup" example:"20/m/ip"`
	// ResetPassword limits requests for a password reset.
	ResetPassword string `yaml:"reset_password" example:"20/m/ip,5/m/key"`
	// ResetPasswordFromKey limits attempts to redeem a password reset.
	ResetPasswordFromKey string `yaml:"reset_password_from_key" example:"20/m/ip"`
	// ConfirmEmail limits mails that verify an address.
	ConfirmEmail string `yaml:"confirm_email" example:"1/10s/key"`
	// ChangePassword limits changes of a password, and attempts at one.
	ChangePassword string `yaml:"change_password" example:"5/m/user"`
	// ManageEmail limits changes of one's addresses.
	ManageEmail string `yaml:"manage_email" example:"10/m/user"`
	// Reauthenticate limits proofs of who is signed in already.
	Reauthenticate string `yaml:"reauthenticate" example:"10/m/user"`
	// RequestLoginCode limits requests for a code to sign in with.
	RequestLoginCode string `yaml:"request_login_code" example:"20/m/ip,3/m/key"`
	// MFAFailed limits second factors that were wrong.
	MFAFailed string `yaml:"mfa_failed" example:"5/5m/user,30/m/ip"`
	// RecoveryCode limits attempts with a recovery code.
	RecoveryCode string `yaml:"recovery_code" example:"5/15m/user"`
	// VerifyCode limits attempts with a mailed code.
	VerifyCode string `yaml:"verify_code" example:"20/m/ip"`
	// WebAuthnOptions limits ceremonies of passkeys that are begun.
	WebAuthnOptions string `yaml:"webauthn_options" example:"60/m/ip"`
	// Invite limits attempts to redeem an invitation.
	Invite string `yaml:"invite" example:"20/m/ip"`
	// TokenEndpointAuthFailed limits failed authentications of clients.
	TokenEndpointAuthFailed string `yaml:"token_endpoint_auth_failed" example:"20/m/ip,20/m/ip+client"`
	// AdminAPIFailed limits failed authentications at the management API.
	AdminAPIFailed string `yaml:"admin_api_failed" example:"20/m/ip"`
	// DeviceUserCode limits attempts with the code of a device.
	DeviceUserCode string `yaml:"device_user_code" example:"10/m/ip"`
	// Consent limits answers to a request for consent.
	Consent string `yaml:"consent" example:"30/m/user"`
	// AuthAPI limits sign-in forms that are sent by a program, which asks for JSON.
	AuthAPI string `yaml:"auth_api" example:"100/h/ip"`
	// LongRequest limits authorization requests that are too long for an address and are kept for a while.
	LongRequest string `yaml:"long_request" example:"20/m/ip"`
	// Pages limits pages that are shown; it is counted by each process for itself.
	Pages string `yaml:"pages" example:"600/m/ip"`
	// Mail limits mails to one recipient.
	Mail string `yaml:"mail" example:"10/10m/key"`
	// ExemptCIDRs are networks that no limit holds for.
	ExemptCIDRs []netip.Prefix `yaml:"exempt_cidrs" example:"[127.0.0.0/8, \"::1/128\"]"`
	// IPv6Prefix is how many bits of an IPv6 address are counted as one: a subscriber has a /64 at
	// least.
	IPv6Prefix int `yaml:"ipv6_prefix" min:"32" max:"64" example:"64"`
	// IPv6Escalation counts the /56 of an IPv6 address as well, with four times the amount, and its
	// /48 with sixteen times.
	IPv6Escalation bool `yaml:"ipv6_escalation" example:"true"`
	// ClientAuthFailOpen lets client authentication go on uncounted while the counters cannot be
	// reached. Signing in never goes on then.
	ClientAuthFailOpen bool `yaml:"client_auth_fail_open" example:"false"`
}

// Lockout refuses those who fail too often. docs/lockout.md tells how it works, and what the
// settings of django-axes are called here.
type Lockout struct {
	// Enabled is false to count and lock nothing. The rate limits stay.
	Enabled bool `yaml:"enabled" example:"true"`
	// Preset changes the defaults of other keys of this section: classic locks for 30 minutes at the
	// third failure, rolling at the fifth in any 15 minutes, hard at the fifth until somebody clears
	// it, and axes-compat as django-axes does where nothing is configured.
	Preset string `yaml:"preset" oneof:"none,classic,rolling,hard,axes-compat" example:"classic"`
	// Parameters are what is counted together, and who is locked: username, ip_address, asn,
	// user_agent, client_id and device_cookie, several joined with +. Behind a colon stands LIMIT/COOLOFF where
	// they have their own in place of failure_limit and cooloff_time. Whoever reaches one of the
	// limits is locked out.
	Parameters []string `yaml:"parameters" example:"[username+ip_address, ip_address:30/15m]"`
	// Policies are other parameters for some: MATCH => PARAMETERS[, PARAMETERS…], where MATCH is
	// group=NAME, role=admin, client=ID, path=PATH or cidr=NETWORK, several joined with spaces. The
	// first that matches holds in place of lockout.parameters.
	Policies []string `yaml:"policies" example:"[\"role=admin => username+ip_address:5/1h\"]"`
	// FailureLimit is the failure at which parameters without a limit of their own are locked.
	FailureLimit int `yaml:"failure_limit" min:"1" max:"1000" example:"5"`
	// CooloffTime is how long parameters without one of their own are locked: 15m, PT15M, or none,
	// until somebody clears it. A number without a unit is hours, as in django-axes: 0.5 is half an
	// hour, and 15 is 15 hours.
	CooloffTime string `yaml:"cooloff_time" example:"15m"`
	// Sliding lets each failure expire by itself. With false they expire together, once there was
	// none for the cool-off time.
	Sliding bool `yaml:"sliding" example:"true"`
	// ResetCooloffOnFailure begins the cool-off time anew at each attempt during it. Anybody can keep
	// anybody locked out with it.
	ResetCooloffOnFailure bool `yaml:"reset_cooloff_on_failure" example:"false"`
	// ResetOnSuccess clears what is counted of a user at an address when they sign in there.
	ResetOnSuccess bool `yaml:"reset_on_success" example:"true"`
	// Tiers lock for longer and longer: FAILURES:COOLOFF each. They hold for parameters without a
	// limit of their own, in place of failure_limit and cooloff_time.
	Tiers []string `yaml:"tiers" example:"[3:1m, 6:10m, 10:1h, 20:1d]"`
	// DryRun counts and tells but locks nobody.
	DryRun bool `yaml:"dry_run" example:"false"`
	// Scope is all, or admin to lock out administrators alone.
	Scope string `yaml:"scope" oneof:"all,admin" example:"all"`
	// Handler is where the gate counts, limits and lockout alike: database, redis, memory for a
	// single process, or dummy, which counts nothing and is for development.
	Handler string `yaml:"handler" oneof:"database,redis,memory,dummy" example:"database"`
	// Response is how somebody who is locked out is answered: as somebody whose password is wrong
	// (silent), by a page, by a redirect to redirect_url, or in JSON. auto is silent where the
	// username was counted, and a page where the address was.
	Response string `yaml:"response" oneof:"auto,silent,page,redirect,json" example:"auto"`
	// Status is the status of the page and of the JSON.
	Status int `yaml:"status" min:"400" max:"499" example:"429"`
	// RedirectURL is where `response: redirect` leads, and has no effect with another: a path of this host, or an address that begins
	// with the issuer.
	RedirectURL string `yaml:"redirect_url" example:"/help"`
	// RetryAfter sends the header Retry-After where the end is known and the answer is not silent.
	RetryAfter bool `yaml:"retry_after" example:"true"`
	// CooloffMessage replaces the text for somebody who has to wait.
	CooloffMessage string `yaml:"cooloff_message" example:"Too many attempts. Please wait."`
	// PermalockMessage replaces the text for somebody who is locked out until somebody clears it.
	PermalockMessage string `yaml:"permalock_message" example:"Please call the help desk."`
	// NeverLockGet shows the sign-in form to those who are locked out, too.
	NeverLockGet bool `yaml:"never_lock_get" example:"true"`
	// NeverLockAllowed locks nobody out whose address is in allow_cidrs.
	NeverLockAllowed bool `yaml:"never_lock_allowed" example:"false"`
	// AllowCIDRs are networks that are known to be good; see never_lock_allowed and only_allowed.
	AllowCIDRs []netip.Prefix `yaml:"allow_cidrs" example:"[192.0.2.0/24]"`
	// OnlyAllowed lets nobody sign in from elsewhere than allow_cidrs.
	OnlyAllowed bool `yaml:"only_allowed" example:"false"`
	// DenyCIDRs are networks that are refused before anything else, whatever allow_cidrs says.
	DenyCIDRs []netip.Prefix `yaml:"deny_cidrs" example:"[203.0.113.0/24]"`
	// DenyTokenEndpoint holds deny_cidrs and blocks against relying parties, too.
	DenyTokenEndpoint bool `yaml:"deny_token_endpoint" example:"false"`
	// ExemptUsers are usernames that nobody can lock out by failing in their name. Their addresses
	// are limited still, and each use is an event.
	ExemptUsers []string `yaml:"exempt_users" example:"[breakglass]"`
	// ExemptGroups are groups whose members are exempt as exempt_users are.
	ExemptGroups []string `yaml:"exempt_groups" example:"[oncall]"`
	// SensitiveParameters are parameters of a failed attempt whose values are masked in the record,
	// beside passwords, codes and tokens, which always are.
	SensitiveParameters []string `yaml:"sensitive_parameters" example:"[username, ip_address]"`
	// FailureLog keeps a record of each failed attempt.
	FailureLog bool `yaml:"failure_log" example:"true"`
	// FailureLogPerUser is how many are kept of one user, and of all names together that are
	// nobody's; with 0 there is no bound but audit.retention.
	FailureLogPerUser int `yaml:"failure_log_per_user" min:"0" max:"10000" example:"1000"`
	// Alarm is how many failures in which time, AMOUNT/PERIOD, write an event and a warning. It is
	// counted by each process for itself.
	Alarm string `yaml:"alarm" example:"1000/1h"`
	// Verbose logs each failure and each lockout.
	Verbose bool `yaml:"verbose" example:"true"`

	// OnlyUserFailures is the deprecated form of `parameters: [username]`.
	OnlyUserFailures bool `yaml:"only_user_failures" example:"false"`
	// LockOutByCombinationUserAndIP is the deprecated form of `parameters: [username+ip_address]`.
	LockOutByCombinationUserAndIP bool `yaml:"lock_out_by_combination_user_and_ip" example:"false"`
	// LockOutByUserOrIP is the deprecated form of `parameters: [username, ip_address]`.
	LockOutByUserOrIP bool `yaml:"lock_out_by_user_or_ip" example:"false"`
	// UseUserAgent is the deprecated form of `parameters: [ip_address+user_agent]`.
	UseUserAgent bool `yaml:"use_user_agent" example:"false"`
}

// Honeypot is a sign-in form that is none, where only those look who mean harm.
type Honeypot struct {
	// Paths are where it is; with a slash at the end, everything below as well. With [] there is none.
	Paths []string `yaml:"paths" example:"[/admin/, /wp-login.php]"`
	// BlockAfter is the attempt at which a network is blocked from everything; with 0 none is.
	BlockAfter int `yaml:"block_after" min:"0" max:"1000" example:"3"`
	// BlockFor is how long.
	BlockFor time.Duration `yaml:"block_for" min:"1m" max:"365d" example:"1d"`
	// Mail tells administrators by mail: of the first attempt and of each block at once, of further
	// attempts together.
	Mail bool `yaml:"mail" example:"true"`
}

// Audit is about what is kept of who did what.
type Audit struct {
	// Logins keeps who signed in, from where, and how it ended.
	Logins bool `yaml:"logins" example:"true"`
	// Retention is how long ended sessions and failed attempts are kept.
	Retention time.Duration `yaml:"retention" min:"1d" max:"3650d" example:"90d"`
}

// Metrics is about the listener for those who operate this provider.
type Metrics struct {
	// Listen is its address, HOST:PORT, with /metrics, /livez and /readyz; off for none. With the
	// profile development it is off by default.
	Listen string `yaml:"listen" example:"127.0.0.1:9090"`
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

// Places are files in the MaxMind DB format that tell where addresses are. Nothing is ever asked
// over the network.
type Places struct {
	// CityFile is a file with cities, or with countries alone.
	CityFile string `yaml:"city_file" example:"/var/lib/GeoIP/GeoLite2-City.mmdb"`
	// ASNFile is a file with autonomous systems, which the parameter asn of lockout needs.
	ASNFile string `yaml:"asn_file" example:"/var/lib/GeoIP/GeoLite2-ASN.mmdb"`
}

// Branding is what people see.
type Branding struct {
	// Name is this instance's name.
	Name string `yaml:"name" example:"Example Ltd"`
	// Support is a mailto: or https: address for people who need help.
	Support string `yaml:"support" example:"mailto:help@example.com"`
	// Theme is a folder whose templates are used in place of ours of the same name.
	Theme string `yaml:"theme" example:"/etc/postern/theme"`
}

// Log is about the log on standard error.
type Log struct {
	// Level is the least that is written.
	Level string `yaml:"level" oneof:"debug,info,warn,error" example:"info"`
	// Format is text, json, or auto: text on a terminal.
	Format string `yaml:"format" oneof:"auto,text,json" example:"json"`

	Security SecurityLog `yaml:"security"`
}

// SecurityLog is a log of its own for what concerns security: each event and each refusal, one JSON
// object a line.
type SecurityLog struct {
	// File is where it is written, with mode 0600, opened anew at SIGHUP; - for standard output,
	// and where it is empty it is part of the log.
	File string `yaml:"file" example:"/var/log/postern/security.log"`
	// Level is the least that is written.
	Level string `yaml:"level" oneof:"debug,info,warn,error" example:"info"`
}

// Default returns every setting's default. Issuer has none.
func Default() *Config {
	return &Config{
		Profile:  "production",
		Listen:   ":8080",
		TLS:      TLS{HSTS: HSTS{MaxAge: 365 * 24 * time.Hour, IncludeSubdomains: true, Preload: true}},
		Database: Database{URL: "sqlite:postern.db"},
		Proxy:    Proxy{Order: "right-most"},
		Login: Login{FlowTimeout: 15 * time.Minute, UsernameField: "username", PasswordField: "password",
			PreventEnumeration: "true", Code: LoginCode{MaxAttempts: 3, Timeout: 3 * time.Minute},
		},
		Signup:   Signup{Mode: "closed", HoneypotField: "phone_number", InviteTTL: 7 * 24 * time.Hour},
		Username: Username{MinLength: 3, Charset: "ascii"},
		Email: Email{
			Verification: "mandatory", VerificationByCode: true, MaxAttempts: 3, Timeout: 15 * time.Minute,
			LinkTTL: 72 * time.Hour, PlusAddressing: "allow",
		},
		Sudo: Sudo{Required: true, Timeout: 5 * time.Minute},
		MFA: MFA{
			Policy: "optional", Policies: []string{"role=admin => required"},
			ACR:            []string{"urn:postern:acr:pwd => pwd", "urn:postern:acr:mfa => mfa", "phr => phr", "phrh => phrh"},
			TOTP:           TOTP{Digits: 6, Algorithm: "SHA1", SkewPast: 1},
			WebAuthn:       WebAuthn{UserVerification: "preferred", ClonedKey: "disable", Offer: true},
			Recovery:       Recovery{Count: 10},
			TrustedBrowser: TrustedBrowser{Lifetime: 14 * 24 * time.Hour},
		},
		Account: Account{DeleteGrace: 30 * 24 * time.Hour},
		Password: Password{
			MinLength: 12, Validators: []string{"length", "similarity", "common", "numeric", "zxcvbn"}, MinScore: 3,
			AdminMinLength: 15, ResetTTL: 30 * time.Minute, Argon2: Argon2{MemoryKiB: 64 << 10, Time: 3, Parallelism: 2}, HashMemoryMiB: 512},
		Sessions: Sessions{Lifetime: 14 * 24 * time.Hour, BrowserLifetime: 24 * time.Hour, IdleTimeout: 8 * time.Hour, Remember: "ask", EndOnPasswordChange: true, TrackActivity: true},
		RateLimits: RateLimits{
			Login:                   "30/m/ip",
			LoginFailed:             "10/m/ip,5/5m/key",
			Signup:                  "20/m/ip",
			ResetPassword:           "20/m/ip,5/m/key",
			ResetPasswordFromKey:    "20/m/ip",
			ConfirmEmail:            "1/10s/key",
			ChangePassword:          "5/m/user",
			ManageEmail:             "10/m/user",
			Reauthenticate:          "10/m/user",
			RequestLoginCode:        "20/m/ip,3/m/key",
			MFAFailed:               "5/5m/user,30/m/ip",
			RecoveryCode:            "5/15m/user",
			VerifyCode:              "20/m/ip",
			WebAuthnOptions:         "60/m/ip",
			Invite:                  "20/m/ip",
			TokenEndpointAuthFailed: "20/m/ip,20/m/ip+client",
			AdminAPIFailed:          "20/m/ip",
			DeviceUserCode:          "10/m/ip",
			Consent:                 "30/m/user",
			AuthAPI:                 "100/h/ip",
			LongRequest:             "20/m/ip",
			Pages:                   "600/m/ip",
			Mail:                    "10/10m/key",
			IPv6Prefix:              64, IPv6Escalation: true,
		},
		Lockout: Lockout{
			Enabled:      true,
			Preset:       "none",
			Parameters:   []string{"username+ip_address", "ip_address:30/15m", "username:50/1h"},
			Policies:     []string{"role=admin => username+ip_address:5/1h, ip_address:30/15m, username:50/1h"},
			FailureLimit: 5, CooloffTime: "15m", Sliding: true, ResetOnSuccess: true,
			Scope: "all", Handler: "database", Response: "auto", Status: 429, RetryAfter: true,
			NeverLockGet: true, SensitiveParameters: []string{"username"},
			FailureLog: true, FailureLogPerUser: 1000, Alarm: "1000/1h", Verbose: true,
		},
		Honeypot: Honeypot{Paths: []string{"/admin/", "/wp-login.php"}, BlockAfter: 3, BlockFor: 24 * time.Hour, Mail: true},
		Audit:    Audit{Logins: true, Retention: 90 * 24 * time.Hour},
		Tokens: Tokens{
			CodeTTL: time.Minute, AccessTTL: 5 * time.Minute, IDTokenTTL: time.Hour,
			RefreshTTL: 24 * time.Hour, RefreshCap: 14 * 24 * time.Hour, OfflineCap: 30 * 24 * time.Hour,
			RefreshWindow: 10 * time.Second, RefreshRecovery: 24 * time.Hour,
		},
		OAuth:    OAuth{IDTokenAlg: "RS256"},
		Branding: Branding{Name: "Postern"},
		Log:      Log{Level: "info", Format: "auto", Security: SecurityLog{Level: "info"}},
		Metrics:  Metrics{Listen: "127.0.0.1:9090"},
	}
}

// Development tells whether the profile is development.
func (c *Config) Development() bool { return c.Profile == "development" }
