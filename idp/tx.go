package idp

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"

	"postern/idp/guard"
	"postern/idp/secret"
)

const (
	// maxAddress is what every browser, proxy and web server takes as a URL, in bytes (I-25).
	maxAddress = 6 << 10
	// addressRoom is kept free beside issuer and tx: the longest of our paths, "?tx=", and what a
	// page adds to it.
	addressRoom = 128
	// maxReturn bounds the path that a sign-in of our own leads to, in bytes.
	maxReturn = 4 << 10
	// maxMailed bounds what is sealed of an address or a name, in bytes.
	maxMailed = 254
)

// A tx is base64url of a box of package secret, whose plaintext is this. Fields after the flags
// are there only where their flag is set, in this order; numbers are big endian, a text is its
// length as a uvarint and its bytes:
//
//	version (1) ‖ flags (2) ‖ nonce (16) ‖ started (5, seconds) ‖ ends (5, seconds) ‖
//	browser (16) ‖ pushed (16) ‖ authenticated (16) ‖ chosen (16) ‖ doer (16) ‖ consented (uvarint) ‖
//	step (text) ‖ user (16) ‖ session (16) ‖ shown (16) ‖ subject (16) ‖
//	ticket (16), mailed (text) ‖ body (the rest)
//
// The body is the deflated canonical form; with txOwn it is the path to return to, with txPushed
// nothing. What we add stands beside the compressed part and not in it, so that the length of a tx
// tells nothing about it to whoever chose the form (I-25). The browser is half the SHA-256 of its
// cookie: it is inside rather than additional data so that another browser's tx is told from a
// damaged one.
const txVersion = 2

const (
	txBrowser = 1 << iota
	txPushed
	txAuthenticated
	txChosen
	txDoer
	txConsented
	txStep
	txUser
	txSession
	txShown
	txSubject
	txInternal
	txDenied
	txOwn
	txTicket
	txProved
)

// Begin starts an interaction for a canonical request.
func (p *Provider) Begin(form url.Values, r Request) *Interaction {
	in := p.begin()
	in.Form, in.Request = form, r
	return in
}

// BeginOwn starts an interaction without a relying party, that leads to the path `to` of ours, or
// to the start page where that is no path of ours.
func (p *Provider) BeginOwn(to string) *Interaction {
	if !ownPath(to) {
		to = "/"
	}
	in := p.begin()
	in.Form, in.Request = url.Values{}, Request{Return: to}
	return in
}

func (p *Provider) begin() *Interaction {
	in := &Interaction{Started: cutSeconds(p.Now())}
	in.Ends = cutSeconds(in.Started.Add(p.cfg.Login.FlowTimeout))
	rand.Read(in.Nonce[:])
	return in
}

// ownPath tells whether a redirect to `to` stays with us: browsers read "//" and "/\" as another
// host's.
func ownPath(to string) bool {
	return len(to) <= maxReturn && strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") &&
		!strings.Contains(to, `\`) && plainText(to)
}

// Seal writes in as the tx parameter, bound to the browser of the visitor of ctx. Where the
// address would grow beyond 6 KiB the request becomes an internal pushed row first (I-25), which
// needs a known client, or it is Invalid with the code request_too_large; that many of them come
// from one address is Throttled. Without a browser in only waits: once it carries a deed or shows
// something, it is Stale with the code interaction_foreign.
func (p *Provider) Seal(ctx context.Context, in *Interaction) (string, error) {
	browser := VisitorFrom(ctx).Browser
	if browser == [32]byte{} && (in.carriesDeed() || in.Step != NoStep) {
		return "", &Error{Kind: Stale, Code: "interaction_foreign"}
	}
	tx, err := p.sealTx(in, browser)
	if err != nil {
		return "", err
	}
	if len(p.cfg.Issuer)+addressRoom+len(tx) <= maxAddress {
		return tx, nil
	}
	if err := p.pushForm(ctx, in); err != nil {
		return "", err
	}
	return p.sealTx(in, browser)
}

func (p *Provider) sealTx(in *Interaction, browser [32]byte) (string, error) {
	b, err := appendInteraction(make([]byte, 0, 512), in, browser)
	if err != nil {
		return "", err
	}
	box := p.ring.Seal(secret.ForInteraction, b, nil)
	return strict64.EncodeToString(box), nil
}

func appendInteraction(b []byte, in *Interaction, browser [32]byte) ([]byte, error) {
	flags := 0
	b = append(b, txVersion, 0, 0)
	b = append(b, in.Nonce[:]...)
	b = appendSeconds(b, in.Started)
	b = appendSeconds(b, in.Ends)
	id := func(flag int, value [16]byte) {
		if value != [16]byte{} {
			flags |= flag
			b = append(b, value[:]...)
		}
	}
	id(txBrowser, [16]byte(browser[:16]))
	id(txPushed, in.Pushed)
	id(txAuthenticated, in.Authenticated)
	id(txChosen, in.Chosen)
	id(txDoer, in.Doer)
	if in.Consented != 0 {
		flags |= txConsented
		b = binary.AppendUvarint(b, uint64(in.Consented))
	}
	if in.Step != NoStep {
		flags |= txStep
		b = appendText(b, string(in.Step))
	}
	id(txUser, in.User)
	id(txSession, in.Session)
	id(txShown, in.Shown)
	id(txSubject, in.Request.Subject)
	if id(txTicket, in.Ticket); in.Ticket != (ID{}) {
		b = appendText(b, in.Mailed[:min(len(in.Mailed), maxMailed)])
	}
	if in.Proved {
		flags |= txProved
	}
	if in.internal {
		flags |= txInternal
	}
	if in.Denied {
		flags |= txDenied
	}
	if in.Request.Return != "" {
		flags |= txOwn
		b = append(b, in.Request.Return...)
	}
	binary.BigEndian.PutUint16(b[1:], uint16(flags))
	if flags&(txOwn|txPushed) != 0 {
		return b, nil
	}
	return deflateForm(b, in.Form.Encode())
}

// pushForm keeps the form of in as a row, which in names from then on. How many come from one
// address is limited, since each is a row that a stranger makes us keep.
func (p *Provider) pushForm(ctx context.Context, in *Interaction) error {
	form := in.Form.Encode()
	if in.Request.ClientID == "" || len(form) > maxForm {
		return &Error{Kind: Invalid, Code: "request_too_large"}
	}
	if _, err := p.Client(ctx, in.Request.ClientID); err != nil {
		return err
	}
	if _, err := p.guard.Spend(ctx, guard.Request{Attempt: actionLongRequest, Address: VisitorFrom(ctx).Address}); err != nil {
		return p.refused(ctx, "keep a long request", err)
	}
	now := p.Now()
	row := Pushed{
		ID: NewID(now), ClientID: in.Request.ClientID, Request: form,
		Internal: true, CreatedAt: now, ExpiresAt: in.Ends,
	}
	if err := p.store.AddPushed(ctx, row); err != nil {
		return stored("keep a long request", err)
	}
	in.Pushed, in.internal = row.ID, true
	return nil
}

// Open reads a tx parameter. Its errors are Errors of Kind Stale: interaction_unreadable,
// interaction_foreign (another browser's) and interaction_expired; the expired one comes with the
// interaction, so that the relying party can be told.
//
// What was sealed for no browser, as the arrival of a cross-site POST is, opens in any, since it
// carries no deed; the next Seal binds it.
func (p *Provider) Open(ctx context.Context, tx string) (*Interaction, error) {
	in, err := p.openTx(ctx, tx)
	if err != nil {
		return nil, err
	}
	if !p.Now().Before(in.Ends) {
		return in, &Error{Kind: Stale, Code: "interaction_expired"}
	}
	return in, nil
}

func (p *Provider) openTx(ctx context.Context, tx string) (*Interaction, error) {
	if len(tx) > maxAddress {
		return nil, unreadable(fmt.Errorf("%d bytes", len(tx)))
	}
	box, err := strict64.DecodeString(tx)
	if err != nil {
		return nil, unreadable(err)
	}
	plain, err := p.ring.Open(secret.ForInteraction, box, nil)
	if err != nil {
		return nil, unreadable(err)
	}
	t, err := readTx(plain)
	if err != nil {
		return nil, unreadable(err)
	}
	visitor := VisitorFrom(ctx).Browser
	switch {
	case t.browser == ID{}:
		if t.in.carriesDeed() || t.in.Step != NoStep {
			return nil, unreadable(errors.New("a deed for no browser"))
		}
	case subtle.ConstantTimeCompare(t.browser[:], visitor[:16]) != 1:
		return nil, &Error{Kind: Stale, Code: "interaction_foreign"}
	}
	if t.own {
		t.in.Form, t.in.Request = url.Values{}, Request{Return: string(t.body)}
		return t.in, nil
	}
	return t.in, p.readForm(ctx, t.in, t.body)
}

func unreadable(cause error) error {
	return &Error{Kind: Stale, Code: "interaction_unreadable", Cause: cause}
}

// readForm fills in what the body or the pushed row says, and parses it anew.
func (p *Provider) readForm(ctx context.Context, in *Interaction, body []byte) error {
	var text string
	var err error
	if in.Pushed.IsZero() {
		if text, err = inflateForm(body); err != nil {
			return unreadable(err)
		}
	} else {
		row, err := p.store.Pushed(ctx, in.Pushed)
		if errors.Is(err, ErrNotFound) {
			return unreadable(err)
		}
		if err != nil {
			return stored("read a pushed request", err)
		}
		text = row.Request
	}
	if in.Form, err = url.ParseQuery(text); err != nil {
		return unreadable(err)
	}
	subject := in.Request.Subject
	if in.Request, err = ParseRequest(in.Form); err != nil {
		return unreadable(err)
	}
	in.Request.Subject = subject
	return nil
}

// An openedTx is what the plaintext of a tx says, the body not yet read.
type openedTx struct {
	in      *Interaction
	browser ID // 16 bytes, zero where it is bound to none
	own     bool
	body    []byte
}

func readTx(plain []byte) (t openedTx, err error) {
	r := reader{rest: plain}
	if r.byte() != txVersion {
		return t, errCutShort
	}
	flags := int(r.uint16())
	id := func(flag int) (id ID) {
		if flags&flag != 0 {
			id = r.id()
		}
		return id
	}
	in := &Interaction{Nonce: r.id(), Started: r.seconds(), Ends: r.seconds()}
	t.browser = id(txBrowser)
	in.Pushed, in.Authenticated, in.Chosen, in.Doer = id(txPushed), id(txAuthenticated), id(txChosen), id(txDoer)
	if flags&txConsented != 0 {
		in.Consented = int64(r.uvarint())
	}
	if flags&txStep != 0 {
		in.Step = Step(r.text())
	}
	in.User, in.Session, in.Shown = id(txUser), id(txSession), id(txShown)
	in.Request.Subject = id(txSubject)
	in.internal, in.Denied = flags&txInternal != 0, flags&txDenied != 0
	if in.Ticket = id(txTicket); flags&txTicket != 0 {
		in.Mailed = r.text()
	}
	in.Proved = flags&txProved != 0
	if r.failed {
		return openedTx{}, errCutShort
	}
	t.in, t.own, t.body = in, flags&txOwn != 0, r.rest
	return t, nil
}

// formWords is what deflate finds in a typical form without having read it. It is part of txVersion.
var formWords = []byte("&acr_values=urn%3Apostern%3Aacr%3Apwd&claims=%7B%22userinfo%22%3A%7B%22id_token%22%3A%7B%22essential%22%3Atrue%7D" +
	"&display=page&login_hint=%40example.com&max_age=&ui_locales=en+de&prompt=consent+select_account+login&response_mode=form_post" +
	"&resource=https%3A%2F%2Fwww.&response_type=code&scope=openid+profile+email+address+phone+groups+offline_access" +
	"client_id=&code_challenge=&code_challenge_method=S256&nonce=&redirect_uri=https%3A%2F%2Fhttp%3A%2F%2F127.0.0.1%3A8080localhost%3A" +
	"%2Foauth2%2Foidc%2Flogin%2Fauth%2Fcallback&response_type=code&scope=openid+profile+email&state=")

// deflaters are *flate.Writer, inflaters io.ReadCloser: both are large, and made with formWords.
var (
	deflaters = sync.Pool{New: func() any {
		w, err := flate.NewWriterDict(nil, flate.DefaultCompression, formWords)
		if err != nil {
			panic(err) // the level is wrong
		}
		return w
	}}
	inflaters = sync.Pool{New: func() any { return flate.NewReaderDict(bytes.NewReader(nil), formWords) }}
)

func deflateForm(b []byte, form string) ([]byte, error) {
	if len(form) > maxForm {
		return nil, &Error{Kind: Invalid, Code: "request_too_large"}
	}
	out := bytes.NewBuffer(b)
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(out)
	if _, err := io.WriteString(w, form); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// inflateForm reads at most maxForm bytes, whatever the compressed bytes promise.
func inflateForm(deflated []byte) (string, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(deflated), formWords); err != nil {
		return "", err
	}
	form, err := io.ReadAll(io.LimitReader(r, maxForm+1))
	if err != nil {
		return "", err
	}
	if len(form) > maxForm {
		return "", fmt.Errorf("the form has more than %d bytes", maxForm)
	}
	return string(form), nil
}

// Shown is what a consent page shows; its digest is sealed.
type Shown struct {
	Scopes       []string
	Claims       []string
	RedirectHost string
	Client       *Client // its metadata count, as they are shown
}

// digest is half of the SHA-256 of s: lists and texts with their lengths, so that nothing can be
// read as something else.
func (s Shown) digest() [16]byte {
	b := appendTexts(make([]byte, 0, 512), s.Scopes)
	b = appendTexts(b, s.Claims)
	b = appendText(b, s.RedirectHost)
	if s.Client != nil {
		b = appendText(b, s.Client.ID)
		metadata, err := json.Marshal(s.Client.Metadata)
		if err != nil {
			panic(err) // texts, numbers and lists of them
		}
		b = appendText(b, string(metadata))
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// Show notes in in what a page is about to show, and to whom; visit is nil where nobody is
// signed in.
func (in *Interaction) Show(step Step, visit *Visit, shown Shown) {
	in.Step, in.Shown = step, shown.digest()
	in.User, in.Session = ID{}, ID{}
	if visit != nil {
		in.User, in.Session = visit.User.ID, visit.Session.ID
	}
}

// Holds tells whether what a page showed, and to whom, still holds: same step, user, session and
// digest (I-6).
func (in *Interaction) Holds(step Step, visit *Visit, shown Shown) bool {
	now := *in
	now.Show(step, visit, shown)
	return in.Step == now.Step && in.User == now.User && in.Session == now.Session && in.Shown == now.Shown
}
