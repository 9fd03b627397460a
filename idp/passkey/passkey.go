// Package passkey runs the ceremonies of Web Authentication, and is the only use of go-webauthn. It
// keeps nothing and knows no users: package idp decides who may register and who signs in.
package passkey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

const (
	// maxAnswer bounds what a browser answers, in bytes: attestations of TPMs with their certificates
	// are the longest, of some 10 KiB.
	maxAnswer = 64 << 10
	// maxCredentialID is Web Authentication Level 3 §7.1, step 25.
	maxCredentialID = 1023
	// maxPublicKey bounds a COSE key, in bytes: an RSA key of 8192 bits, which no authenticator has. One that
	// fills an answer takes seconds to verify with.
	maxPublicKey = 1100
	// handleSize is what Web Authentication Level 3 §14.6.1 recommends.
	handleSize = 64
)

// The flags of authenticator data (Web Authentication Level 3 §6.1).
const (
	flagVerified = 0x04
	flagSynced   = 0x08 // backup eligibility
	flagBackedUp = 0x10 // backup state
)

// A Record is what is kept of a credential beside its ID and its counter. None of it is secret.
type Record struct {
	PublicKey   []byte   `json:"public_key"` // COSE key
	AAGUID      []byte   `json:"aaguid"`     // of the authenticator's model, 16 bytes
	Transports  []string `json:"transports,omitempty"`
	Attestation string   `json:"attestation"` // format of the attestation statement
	// Handle is the user handle that it was made with, 64 random bytes: nothing of the user.
	Handle []byte `json:"handle"`
	// Flags are those of the authenticator data (Web Authentication Level 3 §6.1) at registration, with
	// the backup state of the last use.
	Flags byte `json:"flags"`
	// RP is the RP ID that it was registered with, and is of no use with another.
	RP string `json:"rp,omitempty"`
	// Discoverable says whether the key can be found without the user being named, as far as the browser told.
	Discoverable bool `json:"discoverable,omitempty"`
	// Attachment is platform or cross-platform, "" where the browser did not tell.
	Attachment string `json:"attachment,omitempty"`
}

// Synced tells whether the key can leave its device (the flag BE).
func (r *Record) Synced() bool { return r.Flags&flagSynced != 0 }

// Verified tells whether the key verified its user when it was registered: one that cannot is no way to
// sign in by itself.
func (r *Record) Verified() bool { return r.Flags&flagVerified != 0 }

// Settings are what a RelyingParty needs.
type Settings struct {
	ID      string   // RP ID
	Name    string   // that browsers show
	Origins []string // at which its keys may be used, the issuer's first, as browsers write them
	// VerificationRequired says that every registration verifies its user, where it is only preferred
	// otherwise.
	VerificationRequired bool
	Life                 time.Duration // of a ceremony
}

// A RelyingParty runs ceremonies (Web Authentication Level 3 §7). Its methods may be called at the same
// time.
type RelyingParty struct {
	lib          *webauthn.WebAuthn
	origins      []string
	life         time.Duration
	verification protocol.UserVerificationRequirement
}

// New checks the settings.
func New(s Settings) (*RelyingParty, error) {
	if err := protocol.ValidateRPID(s.ID); err != nil {
		return nil, fmt.Errorf("the RP ID %q is no domain: %w", s.ID, err)
	}
	if s.Name == "" || s.Life <= 0 {
		return nil, errors.New("a relying party needs a name, and its ceremonies a life")
	}
	for i, origin := range s.Origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || origin != strings.ToLower(u.Scheme+"://"+u.Host) {
			return nil, fmt.Errorf("%q is no origin: write SCHEME://HOST, with a port where it is not the scheme's own", origin)
		}
		// Others are related origins, which need no suffix in common (Web Authentication Level 3 §5.11).
		if host := u.Hostname(); i == 0 && host != s.ID && !strings.HasSuffix(host, "."+s.ID) {
			return nil, fmt.Errorf("the RP ID %q is not the host of %s, nor a domain that it is in", s.ID, origin)
		}
	}
	timeout := webauthn.TimeoutConfig{Enforce: true, Timeout: s.Life, TimeoutUVD: s.Life}
	rp := &RelyingParty{origins: slices.Clone(s.Origins), life: s.Life, verification: protocol.VerificationPreferred}
	if s.VerificationRequired {
		rp.verification = protocol.VerificationRequired
	}
	var err error
	rp.lib, err = webauthn.New(&webauthn.Config{
		RPID: s.ID, RPDisplayName: s.Name, RPOrigins: rp.origins,
		// No site frames us, so that no origin may be on top of ours.
		RPTopOriginVerificationMode: protocol.TopOriginExplicitVerificationMode,
		AttestationPreference:       protocol.PreferNoAttestation,
		Timeouts:                    webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
		// Managers of passwords tell of extensions that nobody asked for, and nothing is made of them
		// (Web Authentication Level 3 §7.1, step 20).
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("set Web Authentication up: %w", err)
	}
	return rp, nil
}

// ID is the RP ID.
func (rp *RelyingParty) ID() string { return rp.lib.Config.RPID }

// Origins are those at which its keys may be used.
func (rp *RelyingParty) Origins() []string { return slices.Clone(rp.origins) }

// A Known is a credential that its user has.
type Known struct {
	ID      []byte
	Record  Record
	Counter uint32
}

// credential is k as go-webauthn has it.
func (k *Known) credential() webauthn.Credential {
	c := webauthn.Credential{
		ID: k.ID, PublicKey: k.Record.PublicKey, AttestationFormat: k.Record.Attestation,
		Flags:         webauthn.NewCredentialFlags(protocol.AuthenticatorFlags(k.Record.Flags)),
		Authenticator: webauthn.Authenticator{AAGUID: k.Record.AAGUID, SignCount: k.Counter},
	}
	for _, transport := range k.Record.Transports {
		c.Transport = append(c.Transport, protocol.AuthenticatorTransport(transport))
	}
	return c
}

func descriptors(list []Known) []protocol.CredentialDescriptor {
	described := make([]protocol.CredentialDescriptor, 0, len(list))
	for i := range list {
		c := list[i].credential()
		described = append(described, c.Descriptor())
	}
	return described
}

// A person is a user as go-webauthn asks for one.
type person struct {
	Person
	credentials []webauthn.Credential
}

func (p *person) WebAuthnID() []byte                         { return p.Handle }
func (p *person) WebAuthnName() string                       { return p.Name }
func (p *person) WebAuthnDisplayName() string                { return p.DisplayName }
func (p *person) WebAuthnCredentials() []webauthn.Credential { return p.credentials }

// keep is the state of a ceremony: the library's, whole, but that its end is by the clock of now.
func (rp *RelyingParty) keep(session *webauthn.SessionData, now time.Time) ([]byte, error) {
	session.Expires = now.Add(rp.life)
	state, err := json.Marshal(session)
	if err != nil {
		return nil, fmt.Errorf("write the state of a ceremony: %w", err)
	}
	return state, nil
}

// restore is the inverse of keep; a ceremony that is over is refused.
func restore(state []byte, now time.Time) (webauthn.SessionData, error) {
	var session webauthn.SessionData
	if err := json.Unmarshal(state, &session); err != nil {
		return session, fmt.Errorf("read the state of a ceremony: %w", err)
	}
	if session.Expires.IsZero() || !now.Before(session.Expires) {
		return session, &Refused{Why: "the ceremony is over"}
	}
	session.Expires = time.Time{} // the library would ask a clock of its own
	return session, nil
}

// here tells whether data is of one of our own pages. The library compares schemes and hosts; this is
// what browsers write, as it is.
func (rp *RelyingParty) here(data *protocol.CollectedClientData) error {
	if !slices.Contains(rp.origins, data.Origin) {
		return &Refused{Why: "the answer is of another origin"}
	}
	return nil
}

// A Refused says why an answer does not hold, for the operator.
type Refused struct {
	Why string
	// Cloned says that the signature holds, but the counter went back (Web Authentication Level 3
	// §6.1.1).
	Cloned bool
	Cause  error
}

func (r *Refused) Error() string { return r.Why }

// Unwrap returns the cause.
func (r *Refused) Unwrap() error { return r.Cause }

// refused is what the library found. Its words are of the ceremony, and of nobody's secrets.
func refused(err error) error {
	why := "the answer does not hold"
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Details != "" {
		why = strings.ToLower(e.Details[:1]) + e.Details[1:]
	}
	return &Refused{Why: why, Cause: err}
}

// fits refuses what is too long to be read.
func fits(response []byte) error {
	if len(response) > maxAnswer {
		return &Refused{Why: "the answer is too long"}
	}
	// The library reads the first of two members of a name or the second, as encoding/json has it:
	// which one does not matter, since only what is signed counts.
	if !bytes.HasPrefix(bytes.TrimLeft(response, " \t\r\n"), []byte("{")) {
		return &Refused{Why: "the answer is no JSON object"}
	}
	return nil
}
