package discovery

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"postern/oauth"
)

// How long others may keep a document without asking again, in seconds. A key is announced for
// longer than that before it signs.
const (
	metadataAge = "public, max-age=3600"
	keysAge     = "public, max-age=900"
)

// Documents are the published documents. Its handlers may be called at the same time.
type Documents struct {
	metadata *document
	// creating is metadata while people may sign up, as creates tells.
	creating *document
	creates  func() bool
	keys     func() ([]byte, error)
	latest   atomic.Pointer[document] // of the keys
}

// A document is one answer, made once. The values of its header fields are shared by all requests,
// which nobody changes in place.
type document struct {
	body    []byte
	tag     string // ETag
	etag    []string
	caching []string
	length  []string
}

var typeJSON = []string{"application/json"}

// New returns the documents for c. creates tells whether people may sign up now, which is told as
// prompt=create (Initiating User Registration via OpenID Connect 1.0 §4.1). keys returns the JWKS
// document, the same slice as long as it does not change.
func New(c oauth.Capabilities, creates func() bool, keys func() ([]byte, error)) (*Documents, error) {
	d := &Documents{creates: creates, keys: keys}
	for _, one := range []struct {
		to      **document
		prompts []string
	}{{&d.metadata, c.Prompts}, {&d.creating, append(slices.Clone(c.Prompts), "create")}} {
		c.Prompts = one.prompts
		body, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode the provider metadata: %w", err)
		}
		*one.to = newDocument(body, metadataAge)
	}
	return d, nil
}

func newDocument(body []byte, caching string) *document {
	hash := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(hash[:16]) + `"`
	return &document{
		body: body, tag: tag, etag: []string{tag}, caching: []string{caching}, length: []string{strconv.Itoa(len(body))},
	}
}

// OpenIDConfiguration serves /.well-known/openid-configuration (OpenID Connect Discovery 1.0 §4).
func (d *Documents) OpenIDConfiguration(w http.ResponseWriter, r *http.Request) {
	d.describe(w, r)
}

// AuthorizationServer serves /.well-known/oauth-authorization-server (RFC 8414 §3). It has the
// same members: those of OpenID Connect are registered for it, too (RFC 8414 §7.1.2).
func (d *Documents) AuthorizationServer(w http.ResponseWriter, r *http.Request) {
	d.describe(w, r)
}

func (d *Documents) describe(w http.ResponseWriter, r *http.Request) {
	if d.creates() {
		d.creating.serve(w, r)
		return
	}
	d.metadata.serve(w, r)
}

// JWKS serves the public keys (RFC 7517 §5).
func (d *Documents) JWKS(w http.ResponseWriter, r *http.Request) {
	body, err := d.keys()
	if err != nil {
		// Nobody may keep old keys because of us, nor take an empty set for the truth.
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "The keys cannot be told now.", http.StatusServiceUnavailable)
		return
	}
	known := d.latest.Load()
	if known == nil || !isSame(known.body, body) {
		known = newDocument(body, keysAge)
		d.latest.Store(known)
	}
	known.serve(w, r)
}

// isSame tells whether two slices are one: the keys' changes identity with its content.
func isSame(a, b []byte) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}

func (d *document) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	h["Etag"] = d.etag
	h["Cache-Control"] = d.caching
	if d.isKnown(r.Header["If-None-Match"]) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = typeJSON
	h["Content-Length"] = d.length
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		w.Write(d.body)
	}
}

// isKnown tells whether the client has this very document (RFC 9110 §13.1.2).
func (d *document) isKnown(headers []string) bool {
	for _, header := range headers {
		for tag := range strings.SplitSeq(header, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == d.tag || tag == "*" {
				return true
			}
		}
	}
	return false
}
