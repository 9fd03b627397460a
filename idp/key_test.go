package idp_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func (h *house) jwks(t *testing.T) jose.JSONWebKeySet {
	t.Helper()
	text, err := h.PublicKeys()
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// signs tells whether the active key for alg is the published one of its kid.
func (h *house) signs(t *testing.T, alg string) bool {
	t.Helper()
	k, err := h.SigningKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	gotAlg, public, ok := h.PublicKey(k.ID)
	if !ok || gotAlg != alg {
		t.Fatalf("the key %s for %s is not published", k.ID, alg)
	}
	message := []byte("message")
	digest := sha256.Sum256(message)
	var o crypto.SignerOpts = crypto.SHA256
	signed := digest[:]
	if alg == "EdDSA" {
		o, signed = crypto.Hash(0), message
	}
	signature, err := k.Signer.Sign(nil, signed, o)
	if err != nil {
		t.Fatal(err)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() == 2048 && rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, digest[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(public, message, signature)
	}
	return false
}

func TestAnEmptyDatabaseGetsAKeyForEachAlgorithm(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		set := h.jwks(t)
		var algs []string
		for _, k := range set.Keys {
			algs = append(algs, k.Algorithm)
			thumbprint, err := k.Thumbprint(crypto.SHA256)
			if want := base64.RawURLEncoding.EncodeToString(thumbprint); err != nil || k.KeyID != want || k.Use != "sig" || !k.IsPublic() {
				t.Errorf("%s: kid %s, use %s, public %v, want kid %s", k.Algorithm, k.KeyID, k.Use, k.IsPublic(), want)
			}
		}
		slices.Sort(algs)
		if want := []string{"ES256", "EdDSA", "RS256"}; !reflect.DeepEqual(algs, want) {
			t.Errorf("got %v, want %v", algs, want)
		}
		for _, alg := range algs {
			if !h.signs(t, alg) {
				t.Errorf("%s does not sign", alg)
			}
		}
		_, err := h.SigningKey("HS256")
		wantError(t, err, idp.Unavailable, "unavailable", "")
		before, _ := h.PublicKeys()
		h.reopen(t)
		if after, err := h.PublicKeys(); err != nil || !bytes.Equal(after, before) {
			t.Errorf("after a restart: %s and %v, want %s", after, err, before)
		}
	})
}

func TestI10_APrivateKeyOpensInItsOwnRowAlone(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		list, err := h.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(list[0].Private, []byte("PRIVATE")) || len(list[0].Private) == 0 {
			t.Error("a private key lies open")
		}
		if err := h.store.ResealKey(t.Context(), list[0].ID, list[0].Private, list[1].Private); err != nil {
			t.Fatal(err)
		}
		if _, err := idp.New(t.Context(), h.store, h.cfg, h.ring, h.options()); err == nil {
			t.Error("a private key that was copied to another row opens")
		}
	})
}

func states(list []idp.Key, alg string) (states []idp.KeyState) {
	for _, k := range list {
		if k.Alg == alg {
			states = append(states, k.State)
		}
	}
	return states
}

func (h *house) wantStates(t *testing.T, want ...idp.KeyState) {
	t.Helper()
	list, err := h.Keys(t.Context())
	if got := states(list, "ES256"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
}

func TestAKeyIsAnnouncedPromotedRetiredAndRemoved(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		old, _ := h.SigningKey("ES256")
		h.clock.turn(time.Minute)
		announced, err := h.RotateKey(t.Context(), "ES256", false)
		if err != nil {
			t.Fatal(err)
		}
		h.wantStates(t, idp.KeyActive, idp.KeyAnnounced)
		if _, _, ok := h.PublicKey(announced.ID); !ok {
			t.Error("an announced key is not published")
		}
		_, err = h.RotateKey(t.Context(), "ES256", false)
		wantError(t, err, idp.Conflict, "key_announced", "alg")

		move := func(d time.Duration) {
			t.Helper()
			h.clock.turn(d)
			if err := idp.MoveKeys(h.Provider, t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		move(24*time.Hour - 1)
		if k, _ := h.SigningKey("ES256"); k.ID != old.ID {
			t.Error("a key signs before it was announced for a day")
		}
		move(time.Microsecond)
		h.wantStates(t, idp.KeyRetired, idp.KeyActive)
		if k, _ := h.SigningKey("ES256"); k.ID != announced.ID || !h.signs(t, "ES256") {
			t.Error("the announced key does not sign")
		}
		if _, _, ok := h.PublicKey(old.ID); !ok {
			t.Error("a retired key is not published")
		}
		move(14*24*time.Hour - time.Microsecond)
		h.wantStates(t, idp.KeyRetired, idp.KeyActive)
		move(time.Microsecond)
		h.wantStates(t, idp.KeyActive)
		if _, _, ok := h.PublicKey(old.ID); ok {
			t.Error("a removed key is published")
		}
	})
}

func TestAKeyIsReplacedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.clock.turn(time.Minute)
		k, err := h.RotateKey(t.Context(), "ES256", true)
		if err != nil || k.State != idp.KeyActive {
			t.Fatalf("got %+v and %v", k, err)
		}
		h.wantStates(t, idp.KeyRetired, idp.KeyActive)
		if active, _ := h.SigningKey("ES256"); active.ID != k.ID || !h.signs(t, "ES256") {
			t.Error("the new key does not sign")
		}
		_, err = h.RotateKey(t.Context(), "HS256", true)
		wantError(t, err, idp.Invalid, "key_alg_unknown", "alg")
	})
}

func TestTheAnnouncedKeyIsPromotedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		old, _ := h.SigningKey("ES256")
		h.clock.turn(time.Minute)
		announced, err := h.RotateKey(t.Context(), "ES256", false)
		if err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Hour)
		promoted, err := h.RotateKey(t.Context(), "ES256", true)
		at := h.Now()
		announced.State, announced.ActiveAt = idp.KeyActive, &at
		if err != nil || !reflect.DeepEqual(promoted, announced) {
			t.Errorf("got  %+v and %v\nwant %+v", promoted, err, announced)
		}
		h.wantStates(t, idp.KeyRetired, idp.KeyActive)
		if active, _ := h.SigningKey("ES256"); active.ID != announced.ID || active.ID == old.ID || !h.signs(t, "ES256") {
			t.Error("the announced key does not sign")
		}
		h.clock.turn(24 * time.Hour)
		if err := idp.MoveKeys(h.Provider, t.Context()); err != nil {
			t.Fatal(err)
		}
		if active, _ := h.SigningKey("ES256"); active.ID != announced.ID {
			t.Error("a day later another key signs")
		}
	})
}

func TestI10_AWithdrawnKeyIsGoneAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		old, _ := h.SigningKey("ES256")
		_, err := h.WithdrawKey(t.Context(), old.ID)
		wantError(t, err, idp.Conflict, "key_active", "")
		h.clock.turn(time.Minute)
		active, err := h.RotateKey(t.Context(), "ES256", true)
		if err != nil {
			t.Fatal(err)
		}
		h.clock.turn(time.Minute)
		announced, err := h.RotateKey(t.Context(), "ES256", false)
		if err != nil {
			t.Fatal(err)
		}
		other := h.another(t)
		h.wantStates(t, idp.KeyRetired, idp.KeyActive, idp.KeyAnnounced)
		for _, kid := range []string{old.ID, announced.ID} {
			k, err := h.WithdrawKey(t.Context(), kid)
			if err != nil || k.ID != kid || k.Alg != "ES256" {
				t.Errorf("got %+v and %v", k, err)
			}
			if set := h.jwks(t); len(set.Key(kid)) != 0 {
				t.Errorf("%s is still published", kid)
			}
			if err := idp.Poll(other.Provider, t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, ok := other.PublicKey(kid); ok {
				t.Errorf("another node still publishes %s", kid)
			}
			if _, err := h.WithdrawKey(t.Context(), kid); !errors.Is(err, idp.ErrNotFound) {
				t.Errorf("a second time: got %v, want ErrNotFound", err)
			}
		}
		told := h.eventsOf(t, "key.withdrawn")
		slices.SortFunc(told, func(a, b idp.Event) int {
			return strings.Compare(a.Details["state"].(string), b.Details["state"].(string))
		})
		if len(told) != 2 || told[0].Actor != "cli" ||
			!reflect.DeepEqual(told[0].Details, idp.Details{"kid": announced.ID, "alg": "ES256", "state": "announced"}) ||
			!reflect.DeepEqual(told[1].Details, idp.Details{"kid": old.ID, "alg": "ES256", "state": "retired"}) {
			t.Errorf("got the events %+v", told)
		}
		h.wantStates(t, idp.KeyActive)
		if k, _ := h.SigningKey("ES256"); k.ID != active.ID || !h.signs(t, "ES256") {
			t.Error("the active key does not sign any more")
		}
	})
}

func TestAKeySaysWhenItMovesOn(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	h.clock.turn(time.Minute)
	if _, err := h.RotateKey(t.Context(), "ES256", true); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RotateKey(t.Context(), "ES256", false); err != nil {
		t.Fatal(err)
	}
	now := h.Now()
	want := map[idp.KeyState]time.Time{idp.KeyRetired: now.Add(14 * 24 * time.Hour), idp.KeyActive: {}, idp.KeyAnnounced: now.Add(24 * time.Hour)}
	list, err := h.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if got := h.MovesOn(k); !got.Equal(want[k.State]) {
			t.Errorf("the %s key: got %v, want %v", k.State, got, want[k.State])
		}
	}
}

func TestNodesThatMoveKeysAtATimeMoveThemOnce(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		one := open(t, storagetest.Open(t, url, storage.Options{}))
		two := open(t, storagetest.Open(t, url, storage.Options{}))
		two.clock = one.clock
		two.reopen(t)
		one.clock.turn(time.Minute)
		if _, err := one.RotateKey(t.Context(), "ES256", false); err != nil {
			t.Fatal(err)
		}
		one.clock.turn(24 * time.Hour)
		var nodes sync.WaitGroup
		for _, h := range []*house{one, two} {
			nodes.Go(func() {
				if err := idp.MoveKeys(h.Provider, t.Context()); err != nil {
					t.Errorf("move keys: %v", err)
				}
			})
		}
		nodes.Wait()
		one.wantStates(t, idp.KeyRetired, idp.KeyActive)
	})
}

// slowKeys notes whether the bytes of the document stay the same slice.
func TestTheDocumentOfKeysIsMadeOnceAChange(t *testing.T) {
	h := open(t, storagetest.Open(t, storagetest.SQLite(t), storage.Options{}))
	one, _ := h.PublicKeys()
	if err := idp.Poll(h.Provider, t.Context()); err != nil {
		t.Fatal(err)
	}
	two, _ := h.PublicKeys()
	if &one[0] != &two[0] {
		t.Error("a poll without a change made another document")
	}
	if _, err := h.RotateKey(t.Context(), "EdDSA", false); err != nil {
		t.Fatal(err)
	}
	three, err := h.PublicKeys()
	if err != nil || errors.Is(err, idp.ErrNotFound) || &three[0] == &one[0] {
		t.Error("a change made no other document")
	}
}
