package passkey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Assert begins a sign-in: the options for navigator.credentials.get, as JSON
// (PublicKeyCredentialRequestOptionsJSON), and what Asserted needs. Without allowed the browser offers
// what it can find. Where verify is false a touch is enough, though the user is verified where their
// key can do it.
func (rp *RelyingParty) Assert(allowed []Known, verify bool, now time.Time) (options json.RawMessage, state []byte, err error) {
	chosen := []webauthn.LoginOption{webauthn.WithUserVerification(protocol.VerificationPreferred)}
	if verify {
		chosen[0] = webauthn.WithUserVerification(protocol.VerificationRequired)
	}
	if len(allowed) > 0 {
		chosen = append(chosen, webauthn.WithAllowedCredentials(descriptors(allowed)))
	}
	if len(allowed) > 0 && !slices.ContainsFunc(allowed, func(k Known) bool { return k.Record.Attachment != string(protocol.CrossPlatform) }) {
		chosen = append(chosen, webauthn.WithAssertionPublicKeyCredentialHints([]protocol.PublicKeyCredentialHints{
			protocol.PublicKeyCredentialHintSecurityKey, protocol.PublicKeyCredentialHintHybrid,
		}))
	}
	assertion, session, err := rp.lib.BeginDiscoverableLogin(chosen...)
	if err != nil {
		return nil, nil, fmt.Errorf("begin an assertion: %w", err)
	}
	if state, err = rp.keep(session, now); err != nil {
		return nil, nil, err
	}
	options, err = json.Marshal(assertion.Response)
	return options, state, err
}

// Credential is the ID of the credential that an answer to Assert names, before anything of it is
// verified. It is an error of *Refused.
func (rp *RelyingParty) Credential(response []byte) ([]byte, error) {
	answer, err := readAssertion(response)
	if err != nil {
		return nil, err
	}
	return answer.RawID, nil
}

func readAssertion(response []byte) (*protocol.ParsedCredentialAssertionData, error) {
	if err := fits(response); err != nil {
		return nil, err
	}
	answer, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, refused(err)
	}
	if len(answer.RawID) > maxCredentialID {
		return nil, &Refused{Why: "the credential's ID is too long"}
	}
	return answer, nil
}

// An Asserted is a credential that proved itself. Its Counter and Flags are those of now.
type Asserted struct {
	Known
	UserVerified bool
}

// Asserted judges the browser's answer (AuthenticationResponseJSON) to Assert, of the credential k. It is
// an error of *Refused where it does not hold: for an unknown challenge, a foreign origin or RP ID, a
// user who was not verified where that was asked for, another user handle, a flag BE that changed, or
// a counter that went back.
func (rp *RelyingParty) Asserted(state, response []byte, k Known, now time.Time) (Asserted, error) {
	session, err := restore(state, now)
	if err != nil {
		return Asserted{}, err
	}
	answer, err := readAssertion(response)
	if err != nil {
		return Asserted{}, err
	}
	if err := rp.here(&answer.Response.CollectedClientData); err != nil {
		return Asserted{}, err
	}
	c, err := rp.validate(session, answer, &k)
	if err != nil {
		return Asserted{}, err
	}
	if c.Authenticator.CloneWarning {
		return Asserted{}, &Refused{
			Why:    fmt.Sprintf("the signature counter is %d after %d", answer.Response.AuthenticatorData.Counter, k.Counter),
			Cloned: true,
		}
	}
	flags := byte(answer.Response.AuthenticatorData.Flags)
	k.Counter = c.Authenticator.SignCount
	k.Record.Flags = k.Record.Flags&^flagBackedUp | flags&flagBackedUp
	return Asserted{Known: k, UserVerified: flags&flagVerified != 0}, nil
}

// validate is the library's judgement. Where keys were named it must be one of them; where none was,
// the answer has to name the user, whom nobody named before.
func (rp *RelyingParty) validate(session webauthn.SessionData, answer *protocol.ParsedCredentialAssertionData, k *Known) (*webauthn.Credential, error) {
	owner := &person{Person: Person{Handle: k.Record.Handle}, credentials: []webauthn.Credential{k.credential()}}
	if len(session.AllowedCredentialIDs) == 0 {
		_, c, err := rp.lib.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return owner, nil }, session, answer)
		if err != nil {
			return nil, refused(err)
		}
		return c, nil
	}
	if !slices.ContainsFunc(session.AllowedCredentialIDs, func(id []byte) bool { return bytes.Equal(id, k.ID) }) {
		return nil, &Refused{Why: "the credential is none of those that were asked for"}
	}
	// The library wants to know all of them, of which this is the one that counts.
	session.UserID, session.AllowedCredentialIDs = k.Record.Handle, [][]byte{k.ID}
	c, err := rp.lib.ValidateLogin(owner, session, answer)
	if err != nil {
		return nil, refused(err)
	}
	return c, nil
}
