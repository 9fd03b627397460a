package loginui

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/gorilla/securecookie"

	"postern/idp"
)

// The prefix __Host- makes a browser refuse a cookie that another host or path has set (RFC 6265bis
// §4.1.3.2).
const (
	sessionCookie = "__Host-postern_session"
	pendingCookie = "__Host-postern_login"
	browserCookie = "__Host-postern_browser"
	noticeCookie  = "__Host-postern_notice"
	deviceCookie  = "__Host-postern_device"
)

// noticeLife is how long the notice of what was done waits for the page that shows it.
const noticeLife = time.Minute

// deviceLife is how long a browser stays known without a sign-in: no browser keeps a cookie for
// longer (RFC 6265bis §5.5).
const deviceLife = 400 * 24 * time.Hour

// sessionTokenSize is the length of a session's cookie before it is signed: id ‖ secret.
const sessionTokenSize = len(idp.ID{}) + 32

// A jar signs cookies and reads back those that are genuine. It asks no database, so that a forged
// cookie costs no query.
type jar struct{ codecs []securecookie.Codec }

// newJar returns a jar that signs with the first key and verifies with all of them.
func newJar(keys [][]byte) *jar {
	j := &jar{}
	for _, key := range keys {
		// What a cookie names knows its own end, so the signature has none.
		j.codecs = append(j.codecs, securecookie.New(key, nil).MaxAge(0).SetSerializer(securecookie.NopEncoder{}))
	}
	return j
}

// read returns what the cookie holds, nil where there is none or where it is not genuine.
func (j *jar) read(r *http.Request, name string) []byte {
	cookie, err := r.Cookie(name)
	if err != nil {
		return nil
	}
	var value []byte
	if err := securecookie.DecodeMulti(name, cookie.Value, &value, j.codecs...); err != nil {
		return nil
	}
	return value
}

// write sets a signed cookie. life is how long it lasts, zero for as long as the browser is open.
func (j *jar) write(w http.ResponseWriter, name string, value []byte, life time.Duration) {
	signed, err := securecookie.EncodeMulti(name, value, j.codecs...)
	if err != nil {
		panic("loginui: sign cookie: " + err.Error()) // values have a fixed, small size
	}
	cookie := hostCookie(name, signed)
	cookie.MaxAge = int(life / time.Second)
	http.SetCookie(w, cookie)
}

// clear makes the browser forget a cookie.
func (j *jar) clear(w http.ResponseWriter, name string) {
	cookie := hostCookie(name, "")
	cookie.MaxAge = -1
	http.SetCookie(w, cookie)
}

func hostCookie(name, value string) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	}
}

// session is the token of the session's cookie, zero for none.
func (j *jar) session(r *http.Request) idp.SessionToken { return j.token(r, sessionCookie) }

// pending is the token of a session that owes a step, zero for none. A cookie is signed with its
// name, so that neither passes for the other.
func (j *jar) pending(r *http.Request) idp.SessionToken { return j.token(r, pendingCookie) }

func (j *jar) token(r *http.Request, name string) idp.SessionToken {
	value := j.read(r, name)
	if len(value) != sessionTokenSize {
		return idp.SessionToken{}
	}
	var t idp.SessionToken
	copy(t.ID[:], value)
	copy(t.Secret[:], value[len(t.ID):])
	return t
}

// keepSession sets the session's cookie, which outlives the browser where the session is
// remembered. One that owes a step has a cookie of its own until it is live.
func (j *jar) keepSession(w http.ResponseWriter, in idp.SignedIn, now time.Time) {
	value := append(in.Token.ID[:], in.Token.Secret[:]...)
	if in.Session.State == idp.Pending {
		j.write(w, pendingCookie, value, 0)
		return
	}
	j.clear(w, pendingCookie)
	var life time.Duration
	if in.Session.Remembered {
		life = max(in.Session.EndsAt.Sub(now), time.Second)
	}
	j.write(w, sessionCookie, value, life)
}

// browser is SHA-256 of the cookie that binds interactions to this browser, zero for none.
func (j *jar) browser(r *http.Request) [32]byte {
	value := j.read(r, browserCookie)
	if len(value) != 32 {
		return [32]byte{}
	}
	return sha256.Sum256(value)
}

// renewBrowser gives the browser a new binding and returns its SHA-256.
func (j *jar) renewBrowser(w http.ResponseWriter) [32]byte {
	value := make([]byte, 32)
	rand.Read(value)
	j.write(w, browserCookie, value, 0)
	return sha256.Sum256(value)
}

// device is SHA-256 of the cookie by which this browser is known (I-20), zero for none.
func (j *jar) device(r *http.Request) [32]byte {
	value := j.read(r, deviceCookie)
	if len(value) != 32 {
		return [32]byte{}
	}
	return sha256.Sum256(value)
}

// keepDevice sets the cookie by which the browser is known from now on. Where there is no new one
// it prolongs the one that came.
func (j *jar) keepDevice(w http.ResponseWriter, r *http.Request, secret *[32]byte) {
	value := j.read(r, deviceCookie)
	if secret != nil {
		value = secret[:]
	}
	if len(value) == 32 {
		j.write(w, deviceCookie, value, deviceLife)
	}
}

// keepNotice remembers the code of what was done until the next page shows it.
func (j *jar) keepNotice(w http.ResponseWriter, code string) {
	j.write(w, noticeCookie, []byte(code), noticeLife)
}

// takeNotice returns the code that keepNotice remembered, once; "" for none.
func (j *jar) takeNotice(w http.ResponseWriter, r *http.Request) string {
	code := j.read(r, noticeCookie)
	if code != nil {
		j.clear(w, noticeCookie)
	}
	return string(code)
}
