package passkey_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"postern/idp/passkey"
)

// noon is long ago: the library must not ask a clock of its own.
var noon = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

var home = virtualwebauthn.RelyingParty{ID: "example.com", Name: "Example", Origin: "https://id.example.com"}

func settings() passkey.Settings {
	return passkey.Settings{
		ID: home.ID, Name: home.Name, Life: 5 * time.Minute,
		Origins: []string{home.Origin, "https://example.org:8443"},
	}
}

func relyingParty(t testing.TB, change ...func(*passkey.Settings)) *passkey.RelyingParty {
	t.Helper()
	s := settings()
	for _, f := range change {
		f(&s)
	}
	rp, err := passkey.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return rp
}

func required(s *passkey.Settings) { s.VerificationRequired = true }

// A device is an authenticator with one key.
type device struct {
	virtualwebauthn.Authenticator
	key virtualwebauthn.Credential
}

func newDevice(kind virtualwebauthn.KeyType) *device {
	d := &device{Authenticator: virtualwebauthn.NewAuthenticator(), key: virtualwebauthn.NewCredential(kind)}
	// It writes a coordinate that begins with a zero a byte too short, which authenticators do not.
	const coseKey = 77 // bytes (RFC 9053 §7.1.1)
	for kind == virtualwebauthn.KeyTypeEC2 && len(d.key.Key.AttestationData()) != coseKey {
		d.key = virtualwebauthn.NewCredential(kind)
	}
	d.Options.UserHandle = make([]byte, 64)
	rand.Read(d.Options.UserHandle)
	return d
}

func (d *device) person() passkey.Person {
	return passkey.Person{Handle: d.Options.UserHandle, Name: "alice", DisplayName: "Alice Example"}
}

// create answers options of a registration at a site.
func (d *device) create(t testing.TB, at virtualwebauthn.RelyingParty, options []byte) []byte {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAttestationResponse(at, d.Authenticator, d.key, *parsed))
}

// get answers options of an assertion at a site.
func (d *device) get(t testing.TB, at virtualwebauthn.RelyingParty, options []byte) []byte {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAssertionResponse(at, d.Authenticator, d.key, *parsed))
}

func begin(t testing.TB, rp *passkey.RelyingParty, d *device) (options, state []byte) {
	t.Helper()
	options, state, err := rp.Register(d.person(), nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	return options, state
}

// register gives rp the key of d.
func register(t testing.TB, rp *passkey.RelyingParty, d *device) passkey.Made {
	t.Helper()
	options, state := begin(t, rp, d)
	made, err := rp.Registered(state, d.create(t, home, options), noon)
	if err != nil {
		t.Fatalf("register: %v", err)
	}
	return made
}

// assert begins an assertion, of one of `allowed` where there are any.
func assert(t testing.TB, rp *passkey.RelyingParty, verify bool, allowed ...passkey.Known) (options, state []byte) {
	t.Helper()
	options, state, err := rp.Assert(allowed, verify, noon)
	if err != nil {
		t.Fatal(err)
	}
	return options, state
}

// wantRefused wants a *passkey.Refused whose words have `why`.
func wantRefused(t testing.TB, err error, why string) *passkey.Refused {
	t.Helper()
	r, ok := errors.AsType[*passkey.Refused](err)
	if !ok || !strings.Contains(strings.ToLower(r.Why), why) {
		t.Errorf("got %v, want it refused for %q", err, why)
	}
	return r
}

// in decodes a JSON document and follows names into it.
func in(t testing.TB, document []byte, path ...string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		v, _ = v.(map[string]any)[name]
	}
	return v
}

func TestS3_15_TheOptionsOfARegistration(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	former := register(t, rp, newDevice(virtualwebauthn.KeyTypeEC2))
	options, _, err := rp.Register(d.person(), []passkey.Known{former.Known}, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path []string
		want any
	}{
		{[]string{"rp"}, map[string]any{"id": "example.com", "name": "Example"}},
		{[]string{"user"}, map[string]any{
			"id": base64.RawURLEncoding.EncodeToString(d.Options.UserHandle), "name": "alice", "displayName": "Alice Example",
		}},
		{[]string{"pubKeyCredParams"}, []any{
			map[string]any{"type": "public-key", "alg": -7.0},
			map[string]any{"type": "public-key", "alg": -8.0},
			map[string]any{"type": "public-key", "alg": -257.0},
		}},
		{[]string{"excludeCredentials"}, []any{
			map[string]any{"type": "public-key", "id": base64.RawURLEncoding.EncodeToString(former.ID)},
		}},
		{[]string{"authenticatorSelection"}, map[string]any{
			"residentKey": "preferred", "requireResidentKey": false, "userVerification": "preferred",
		}},
		{[]string{"attestation"}, "none"},
		{[]string{"extensions"}, map[string]any{"credProps": true}},
		{[]string{"timeout"}, 300_000.0},
	} {
		if got := in(t, options, c.path...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", strings.Join(c.path, "."), got, c.want)
		}
	}
	strict, err := relyingPartyOptions(t, d.person(), required)
	if err != nil || in(t, strict, "authenticatorSelection", "userVerification") != "required" {
		t.Errorf("with user verification required: got %s, %v", strict, err)
	}
	person := d.person()
	person.ModelMatters = true
	if told, err := relyingPartyOptions(t, person); err != nil || in(t, told, "attestation") != "direct" {
		t.Errorf("where the model matters: got %s, %v", told, err)
	}
	person.Handle = []byte("alice")
	if _, err := relyingPartyOptions(t, person); err == nil {
		t.Error("a short handle was taken, which could be a name")
	}
}

func relyingPartyOptions(t *testing.T, p passkey.Person, change ...func(*passkey.Settings)) ([]byte, error) {
	t.Helper()
	options, _, err := relyingParty(t, change...).Register(p, nil, noon)
	return options, err
}

func TestS3_15_TwoChallengesDiffer(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	one, _ := begin(t, rp, d)
	two, _ := begin(t, rp, d)
	first, second := in(t, one, "challenge").(string), in(t, two, "challenge").(string)
	if first == second || len(first) < 43 {
		t.Errorf("got the challenges %s and %s, want two of 32 bytes", first, second)
	}
}

func TestAKeyIsRegisteredAndAsserts(t *testing.T) {
	for name, kind := range map[string]virtualwebauthn.KeyType{"ES256": virtualwebauthn.KeyTypeEC2, "RS256": virtualwebauthn.KeyTypeRSA} {
		t.Run(name, func(t *testing.T) {
			rp, d := relyingParty(t), newDevice(kind)
			d.Options.BackupEligible = true
			made := register(t, rp, d)
			r := made.Record
			if !made.UserVerified || !r.Synced() || r.Attestation != "packed" || r.RP != "example.com" || !bytes.Equal(r.Handle, d.Options.UserHandle) ||
				!bytes.Equal(r.AAGUID, d.Aaguid[:]) || !bytes.Equal(made.ID, d.key.ID) || made.Counter != 0 {
				t.Errorf("got %+v", made)
			}
			for name, allowed := range map[string][]passkey.Known{"whoever it is": nil, "one of two": {made.Known, register(t, rp, newDevice(kind)).Known}} {
				d.key.Counter, d.Options.BackupState = 7, true
				options, state := assert(t, rp, true, allowed...)
				answer := d.get(t, home, options)
				if id, err := rp.Credential(answer); err != nil || !bytes.Equal(id, made.ID) {
					t.Errorf("%s: got the credential %x, %v", name, id, err)
				}
				got, err := rp.Asserted(state, answer, made.Known, noon)
				want := passkey.Asserted{Known: made.Known, UserVerified: true}
				want.Counter, want.Record.Flags = 7, want.Record.Flags|0x10
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
				}
				d.Options.BackupState = false
			}
		})
	}
}

func TestS0_29_TheOptionsOfASignInNameNobody(t *testing.T) {
	rp := relyingParty(t)
	options, _ := assert(t, rp, true)
	got := in(t, options).(map[string]any)
	delete(got, "challenge")
	want := map[string]any{"rpId": "example.com", "userVerification": "required", "timeout": 300_000.0}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAMereTouchWillDoAsASecondFactor(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	made := register(t, rp, d)
	made.Record.Attachment = "cross-platform"
	options, state := assert(t, rp, false, made.Known)
	if in(t, options, "userVerification") != "preferred" || !reflect.DeepEqual(in(t, options, "hints"), []any{"security-key", "hybrid"}) {
		t.Errorf("got %s", options)
	}
	d.Options.UserNotVerified, d.Options.UserHandle = true, nil // as of a U2F key
	if got, err := rp.Asserted(state, d.get(t, home, options), made.Known, noon); err != nil || got.UserVerified {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestS3_16_ForgedRegistrationsAreRefused(t *testing.T) {
	rp := relyingParty(t)
	for _, c := range []struct {
		name, why string
		rp        *passkey.RelyingParty
		change    func(d *device, at *virtualwebauthn.RelyingParty)
		late      time.Duration
	}{
		{name: "of another origin", why: "another origin", change: func(_ *device, at *virtualwebauthn.RelyingParty) { at.Origin = "https://evil.example" }},
		{name: "of an origin that looks like it", why: "another origin", change: func(_ *device, at *virtualwebauthn.RelyingParty) { at.Origin = "https://x@id.example.com/" }},
		{name: "of the origin without TLS", why: "another origin", change: func(_ *device, at *virtualwebauthn.RelyingParty) { at.Origin = "http://id.example.com" }},
		{name: "for another RP ID", why: "", change: func(_ *device, at *virtualwebauthn.RelyingParty) { at.ID = "id.example.com" }},
		{name: "without anybody present", why: "", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.UserNotPresent = true }},
		{name: "not verified", why: "", rp: relyingParty(t, required), change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.UserNotVerified = true }},
		{name: "backed up though it cannot be", why: "backup", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.BackupState = true }},
		{name: "after five minutes", why: "over", late: 5 * time.Minute},
		{name: "with an ID of 1024 bytes", why: "", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.key.ID = make([]byte, 1024) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			with := rp
			if c.rp != nil {
				with = c.rp
			}
			d, at := newDevice(virtualwebauthn.KeyTypeEC2), home
			options, state := begin(t, with, d)
			if c.change != nil {
				c.change(d, &at)
			}
			_, err := with.Registered(state, d.create(t, at, options), noon.Add(c.late))
			wantRefused(t, err, c.why)
		})
	}
	d := newDevice(virtualwebauthn.KeyTypeEC2)
	options, state := begin(t, rp, d)
	answer := d.create(t, home, options)
	if _, err := rp.Registered(state, answer, noon.Add(5*time.Minute-time.Second)); err != nil {
		t.Errorf("just in time: %v", err)
	}
	_, other := begin(t, rp, d)
	_, err := rp.Registered(other, answer, noon)
	wantRefused(t, err, "challenge")
	_, ofAssertion := assert(t, rp, true)
	_, err = rp.Registered(ofAssertion, answer, noon)
	wantRefused(t, err, "")
}

// without makes an answer one without attestation, as browsers do, after a change to its parts.
func without(t *testing.T, answer []byte, change func(object map[string]any, data map[string]any)) []byte {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal(answer, &document); err != nil {
		t.Fatal(err)
	}
	response := document["response"].(map[string]any)
	object, data := map[string]any{}, map[string]any{}
	if err := webauthncbor.Unmarshal(unbase(t, response["attestationObject"]), &object); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(unbase(t, response["clientDataJSON"]), &data); err != nil {
		t.Fatal(err)
	}
	object["fmt"], object["attStmt"] = "none", map[string]any{}
	change(object, data)
	made, err := webauthncbor.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if more, ok := object["after"].([]byte); ok {
		delete(object, "after")
		made, _ = webauthncbor.Marshal(object)
		made = append(made, more...)
	}
	text, _ := json.Marshal(data)
	response["attestationObject"] = base64.RawURLEncoding.EncodeToString(made)
	response["clientDataJSON"] = base64.RawURLEncoding.EncodeToString(text)
	answer, _ = json.Marshal(document)
	return answer
}

func unbase(t *testing.T, v any) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestS3_16_WhatBrowsersSayIsReadClosely(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	options, state := begin(t, rp, d)
	answer := d.create(t, home, options)
	if made, err := rp.Registered(state, without(t, answer, func(_, _ map[string]any) {}), noon); err != nil || made.Record.Attestation != "none" {
		t.Fatalf("without attestation: got %+v, %v", made, err)
	}
	for name, change := range map[string]func(object, data map[string]any){
		"a statement where there is none": func(object, _ map[string]any) { object["attStmt"] = map[string]any{"sig": []byte{1}} },
		"bytes after the object":          func(object, _ map[string]any) { object["after"] = []byte{0} },
		"bytes after the data":            func(object, _ map[string]any) { object["authData"] = append(object["authData"].([]byte), 0, 1, 2) },
		"data cut short":                  func(object, _ map[string]any) { object["authData"] = object["authData"].([]byte)[:40] },
		"another format":                  func(object, _ map[string]any) { object["fmt"] = "made-up" },
		"the type of an assertion":        func(_, data map[string]any) { data["type"] = "webauthn.get" },
		"in a frame of another site":      func(_, data map[string]any) { data["crossOrigin"] = true },
		"below another origin":            func(_, data map[string]any) { data["topOrigin"] = "https://evil.example" },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rp.Registered(state, without(t, answer, change), noon)
			wantRefused(t, err, "")
		})
	}
}

func TestS3_17_ForgedAssertionsAreRefused(t *testing.T) {
	rp := relyingParty(t)
	for _, c := range []struct {
		name, why string
		change    func(d *device, at *virtualwebauthn.RelyingParty)
		late      time.Duration
	}{
		{name: "of another origin", why: "another origin", change: func(_ *device, at *virtualwebauthn.RelyingParty) { at.Origin = "https://evil.example" }},
		{name: "for another RP ID", why: "", change: func(_ *device, at *virtualwebauthn.RelyingParty) { at.ID = "evil.example" }},
		{name: "without anybody present", why: "", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.UserNotPresent = true }},
		{name: "not verified", why: "", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.UserNotVerified = true }},
		{name: "synced though it could not be", why: "backup eligible", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.BackupEligible = true }},
		{name: "backed up though it cannot be", why: "backup", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.BackupState = true }},
		{name: "by the user handle of somebody else", why: "handle", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.UserHandle = make([]byte, 64) }},
		{name: "without a user handle", why: "handle", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.Options.UserHandle = nil }},
		{name: "by another key", why: "", change: func(d *device, _ *virtualwebauthn.RelyingParty) {
			id := d.key.ID
			d.key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
			d.key.ID = id
		}},
		{name: "by another credential", why: "", change: func(d *device, _ *virtualwebauthn.RelyingParty) { d.key.ID = []byte("another") }},
		{name: "after five minutes", why: "over", late: 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, at := newDevice(virtualwebauthn.KeyTypeEC2), home
			made := register(t, rp, d)
			options, state := assert(t, rp, true)
			if c.change != nil {
				c.change(d, &at)
			}
			_, err := rp.Asserted(state, d.get(t, at, options), made.Known, noon.Add(c.late))
			if r := wantRefused(t, err, c.why); r != nil && r.Cloned {
				t.Error("the key counts as copied")
			}
		})
	}
	d := newDevice(virtualwebauthn.KeyTypeEC2)
	made := register(t, rp, d)
	options, _ := assert(t, rp, true)
	_, other := assert(t, rp, true)
	_, err := rp.Asserted(other, d.get(t, home, options), made.Known, noon)
	wantRefused(t, err, "challenge")
}

func TestS3_17_OnlyAKeyThatWasAskedForCounts(t *testing.T) {
	rp, d, other := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2), newDevice(virtualwebauthn.KeyTypeEC2)
	made, wanted := register(t, rp, d), register(t, rp, other)
	options, state := assert(t, rp, false, wanted.Known)
	_, err := rp.Asserted(state, d.get(t, home, options), made.Known, noon)
	wantRefused(t, err, "none of those")
}

func TestS3_17_AnAssertionInAFrameIsRefused(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	made := register(t, rp, d)
	options, state := assert(t, rp, true)
	for name, change := range map[string]func(map[string]any){
		"in a frame of another site": func(data map[string]any) { data["crossOrigin"] = true },
		"below our own origin":       func(data map[string]any) { data["crossOrigin"], data["topOrigin"] = true, home.Origin },
		"the type of a registration": func(data map[string]any) { data["type"] = "webauthn.create" },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rp.Asserted(state, d.resigned(t, d.get(t, home, options), change), made.Known, noon)
			wantRefused(t, err, "")
		})
	}
	if _, err := rp.Asserted(state, d.resigned(t, d.get(t, home, options), func(map[string]any) {}), made.Known, noon); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// resigned is an assertion with other client data, signed anew.
func (d *device) resigned(t *testing.T, answer []byte, change func(map[string]any)) []byte {
	t.Helper()
	var document, data map[string]any
	if err := json.Unmarshal(answer, &document); err != nil {
		t.Fatal(err)
	}
	response := document["response"].(map[string]any)
	if err := json.Unmarshal(unbase(t, response["clientDataJSON"]), &data); err != nil {
		t.Fatal(err)
	}
	change(data)
	text, _ := json.Marshal(data)
	hash := sha256.Sum256(text)
	digest := sha256.Sum256(append(unbase(t, response["authenticatorData"]), hash[:]...))
	signature, err := d.key.Key.Sign(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	response["clientDataJSON"] = base64.RawURLEncoding.EncodeToString(text)
	response["signature"] = base64.RawURLEncoding.EncodeToString(signature)
	answer, _ = json.Marshal(document)
	return answer
}

func TestS3_17_ACounterThatGoesBackTellsOfACopy(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	made := register(t, rp, d)
	for _, c := range []struct {
		kept, now uint32
		cloned    bool
	}{
		{0, 0, false}, {0, 1, false}, {5, 6, false}, {5, 5, true}, {5, 4, true}, {5, 0, true},
	} {
		made.Counter, d.key.Counter = c.kept, c.now
		options, state := assert(t, rp, true)
		got, err := rp.Asserted(state, d.get(t, home, options), made.Known, noon)
		r, _ := errors.AsType[*passkey.Refused](err)
		if c.cloned != (r != nil && r.Cloned) || !c.cloned && (err != nil || got.Counter != c.now) {
			t.Errorf("%d after %d: got %+v, %v", c.now, c.kept, got, err)
		}
	}
	// Whoever has no signature cannot have a key declared copied.
	made.Counter, d.key.Counter = 5, 4
	options, state := assert(t, rp, true)
	d.key.Key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2).Key
	_, err := rp.Asserted(state, d.get(t, home, options), made.Known, noon)
	if r := wantRefused(t, err, ""); r != nil && r.Cloned {
		t.Error("a wrong signature counts as a copy")
	}
}

func TestS3_18_TheSettingsMustFit(t *testing.T) {
	for name, change := range map[string]func(*passkey.Settings){
		"an RP ID with a scheme":         func(s *passkey.Settings) { s.ID = "https://example.com" },
		"an address as RP ID":            func(s *passkey.Settings) { s.ID = "192.0.2.1" },
		"no RP ID":                       func(s *passkey.Settings) { s.ID = "" },
		"an RP ID of another domain":     func(s *passkey.Settings) { s.ID = "example.net" },
		"an RP ID that only looks alike": func(s *passkey.Settings) { s.ID = "ample.com" },
		"no name":                        func(s *passkey.Settings) { s.Name = "" },
		"no origin":                      func(s *passkey.Settings) { s.Origins = nil },
		"an origin with a path":          func(s *passkey.Settings) { s.Origins = append(s.Origins, "https://example.org/") },
		"an origin in capitals":          func(s *passkey.Settings) { s.Origins = append(s.Origins, "https://Example.org") },
		"an origin without a scheme":     func(s *passkey.Settings) { s.Origins = append(s.Origins, "example.org") },
	} {
		s := settings()
		change(&s)
		if _, err := passkey.New(s); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, s := range []passkey.Settings{
		{ID: "localhost", Name: "x", Origins: []string{"http://localhost:8080"}, Life: time.Minute},
		{ID: "id.example.com", Name: "x", Origins: []string{"https://id.example.com"}, Life: time.Minute},
	} {
		if _, err := passkey.New(s); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestARelatedOriginMayUseTheKeys(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	made := register(t, rp, d)
	options, state := assert(t, rp, true)
	at := home
	at.Origin = "https://example.org:8443"
	if _, err := rp.Asserted(state, d.get(t, at, options), made.Known, noon); err != nil {
		t.Error(err)
	}
}

func TestS3_19_ModelsHaveNames(t *testing.T) {
	for id, want := range map[string]string{
		"d548826e79b4db40a3d811116f7e8349": "Bitwarden",
		"ee882879721c491397753dfcce97072a": "YubiKey 5",
		"00000000000000000000000000000000": "",
		"ee88":                             "",
	} {
		r := passkey.Record{AAGUID: unhex(t, id)}
		if got := r.Model(); got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
}

func TestS2_14_AModelIsComparedAsAUUID(t *testing.T) {
	r := passkey.Record{AAGUID: unhex(t, "ee882879721c491397753dfcce97072a")}
	none := passkey.Record{AAGUID: make([]byte, 16)}
	if !r.Is("EE882879-721c-4913-9775-3dfcce97072a") || r.Is("fa2b99dc-9e39-4257-8f92-4a30d23c4118") || r.Is("x") ||
		none.Is("00000000-0000-0000-0000-000000000000") {
		t.Error("models are mistaken for others")
	}
}

func TestWhatIsTooLongIsNotRead(t *testing.T) {
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	options, state := begin(t, rp, d)
	answer := d.create(t, home, options)
	long := append(bytes.Clone(answer), bytes.Repeat([]byte(" "), 64<<10-len(answer))...)
	if _, err := rp.Registered(state, long, noon); err != nil {
		t.Errorf("64 KiB: %v", err)
	}
	_, err := rp.Registered(state, append(long, ' '), noon)
	wantRefused(t, err, "too long")
	_, err = rp.Credential(append(long, ' '))
	wantRefused(t, err, "too long")
	asked, _ := assert(t, rp, true)
	d.key.ID = make([]byte, 1024)
	_, err = rp.Credential(d.get(t, home, asked))
	wantRefused(t, err, "too long")
}

func TestAPublicKeyThatTakesSecondsToVerifyIsNotRegistered(t *testing.T) {
	rp := relyingParty(t)
	for size, good := range map[int]bool{256: true, 512: true, 1024: true, 2048: false, 32000: false} { // bytes of the modulus
		d := newDevice(virtualwebauthn.KeyTypeEC2)
		options, state := begin(t, rp, d)
		answer := without(t, d.create(t, home, options), func(object, _ map[string]any) {
			key, err := webauthncbor.Marshal(map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{0xff}, size), -2: []byte{1, 0, 1}})
			if err != nil {
				t.Fatal(err)
			}
			const coseKey = 77 // of the EC key that it has
			data := object["authData"].([]byte)
			object["authData"] = append(bytes.Clone(data[:len(data)-coseKey]), key...)
		})
		_, err := rp.Registered(state, answer, noon)
		switch {
		case !good:
			wantRefused(t, err, "public key is too long")
		case err != nil:
			t.Errorf("a modulus of %d bytes: %v", size, err)
		}
	}
}

// FuzzAnswers sends what is no answer, or almost one: nothing of it may panic, and nothing but what
// the key signed may hold.
func FuzzAnswers(f *testing.F) {
	rp, d := relyingParty(f), newDevice(virtualwebauthn.KeyTypeEC2)
	options, state := begin(f, rp, d)
	made := register(f, rp, d)
	asked, asserting := assert(f, rp, true)
	created, got := d.create(f, home, options), d.get(f, home, asked)
	for _, seed := range [][]byte{created, got, []byte("{}"), []byte("null"), nil, []byte(`{"id":"","type":"public-key"}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if _, err := rp.Registered(state, answer, noon); err != nil {
			wantRefused(t, err, "")
		}
		id, err := rp.Credential(answer)
		if err != nil {
			wantRefused(t, err, "")
		}
		if a, err := rp.Asserted(asserting, answer, made.Known, noon); err != nil {
			wantRefused(t, err, "")
		} else if !bytes.Equal(id, made.ID) || !a.UserVerified {
			t.Errorf("%q holds", answer)
		}
		// What is read from a state was sealed by us, and must not panic either.
		_, _ = rp.Asserted(answer, got, made.Known, noon)
		_, _ = rp.Registered(answer, created, noon)
	})
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
