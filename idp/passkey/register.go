package passkey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// A Person is for whom a credential is registered.
type Person struct {
	Handle      []byte // 64 random bytes
	Name        string // the username
	DisplayName string
	// ModelMatters asks for the attestation, since browsers may hide the model without. It is no proof
	// of it: certificates are not followed to a maker's.
	ModelMatters bool
}

// parameters are the algorithms of keys: the first is the one that every authenticator has, the last
// what Windows had in TPMs.
func parameters() []protocol.CredentialParameter {
	var list []protocol.CredentialParameter
	for _, alg := range []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256} {
		list = append(list, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	return list
}

// Register begins a registration: the options for navigator.credentials.create, as JSON
// (PublicKeyCredentialCreationOptionsJSON), and what Registered needs, which its caller seals.
// excluded are those that the person has.
func (rp *RelyingParty) Register(p Person, excluded []Known, now time.Time) (options json.RawMessage, state []byte, err error) {
	if len(p.Handle) != handleSize {
		return nil, nil, fmt.Errorf("the user handle has %d bytes, not %d", len(p.Handle), handleSize)
	}
	attestation := protocol.PreferNoAttestation
	if p.ModelMatters {
		attestation = protocol.PreferDirectAttestation
	}
	creation, session, err := rp.lib.BeginRegistration(&person{Person: p},
		webauthn.WithCredentialParameters(parameters()),
		webauthn.WithConveyancePreference(attestation),
		webauthn.WithExclusions(descriptors(excluded)),
		webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementPreferred,
			RequireResidentKey: protocol.ResidentKeyNotRequired(),
			UserVerification:   rp.verification,
		}),
		webauthn.WithExtensions(webauthn.WithExtensionCredProps()),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("begin a registration: %w", err)
	}
	if state, err = rp.keep(session, now); err != nil {
		return nil, nil, err
	}
	options, err = json.Marshal(creation.Response)
	return options, state, err
}

// A Made is a credential that was registered.
type Made struct {
	Known
	UserVerified bool
}

// Registered judges the browser's answer (RegistrationResponseJSON) to Register. It is an error of
// *Refused where that does not hold.
func (rp *RelyingParty) Registered(state, response []byte, now time.Time) (Made, error) {
	session, err := restore(state, now)
	if err != nil {
		return Made{}, err
	}
	if err := fits(response); err != nil {
		return Made{}, err
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Made{}, refused(err)
	}
	if err := rp.here(&answer.Response.CollectedClientData); err != nil {
		return Made{}, err
	}
	c, err := rp.lib.CreateCredential(&person{Person: Person{Handle: session.UserID}}, session, answer)
	if err != nil {
		return Made{}, refused(err)
	}
	if len(c.PublicKey) > maxPublicKey {
		return Made{}, &Refused{Why: "the public key is too long"}
	}
	flags := byte(answer.Response.AttestationObject.AuthData.Flags)
	return Made{
		Known: Known{
			ID: bytes.Clone(c.ID), Counter: c.Authenticator.SignCount,
			Record: Record{
				PublicKey: bytes.Clone(c.PublicKey), AAGUID: bytes.Clone(c.Authenticator.AAGUID),
				Transports: transports(c.Transport), Attestation: c.AttestationFormat, Handle: session.UserID,
				RP: rp.ID(), Flags: flags, Discoverable: c.Extensions.RK != nil && *c.Extensions.RK,
				Attachment: string(c.Authenticator.Attachment),
			},
		},
		UserVerified: flags&flagVerified != 0,
	}, nil
}

// transports are those of list that are known, each once (Web Authentication Level 3 §5.8.4). Nobody
// signed them: what is unknown would only fill the store.
func transports(list []protocol.AuthenticatorTransport) []string {
	known := []protocol.AuthenticatorTransport{
		protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal,
	}
	var names []string
	for _, transport := range known {
		if slices.Contains(list, transport) {
			names = append(names, string(transport))
		}
	}
	return names
}
