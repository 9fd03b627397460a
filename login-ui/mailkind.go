package loginui

import "slices"

// A mailKind is what a kind of mails puts in beside its texts, which are mail.KIND.subject, what,
// more, code, action, you, not_you, undo, undo_action, reason and preheader, as far as it has them.
//
// All mails take the Args name (how to greet), zone (of times, as the tz database names it), and
// what facts shows; beside browser also system, which it runs on. A place that is missing is found
// by the address, and a browser by user_agent, the User-Agent. Times are RFC 3339; a link is a whole
// URL of the issuer.
type mailKind struct {
	name  string
	needs []string // the Args that must be there
	may   []string // those that can be, beside facts
	facts []fact
	// unknown recipients may not have asked for it, and whoever did chose the name: no greeting by it.
	// Of any other, name is given where the address is verified.
	unknown bool
	// subjectCode begins the subject, and the mail ends with what browsers fill a form with.
	subjectCode bool
	// notice tells what was done with an account: it is well, or it is not the person's doing.
	notice bool
	// admin recipients run the instance.
	admin bool
	// sample are the Args of a sample. A link begins with the path.
	sample map[string]string
}

// A fact is a line of what happened.
type fact struct {
	label string // mail.fact.LABEL
	arg   string // "" for the time
}

var (
	factTime    = fact{"time", ""}
	factPlace   = fact{"place", "place"}
	factAddress = fact{"address", "address"}
	factBrowser = fact{"browser", "browser"}
	factApp     = fact{"app", "app"}
	factAccount = fact{"account", "username"}
	factEmail   = fact{"email", "email"}
	factChanges = fact{"changes", "changes"}
	factCalled  = fact{"called", "called"} // of a passkey
)

// doing is who did something, as far as one can tell.
var doing = []fact{factTime, factPlace, factAddress, factBrowser}

func facts(first ...fact) []fact { return append(first, doing...) }

// sampleDoing are the Args of doing, and more of the sample.
func sampleDoing(pairs ...string) map[string]string {
	args := map[string]string{"name": "Alice", "zone": "Europe/Berlin", "place": "Berlin, Germany", "address": "203.0.113.7", "browser": "Chrome", "system": "Windows"}
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	return args
}

const (
	sampleNotMe = "/secure/7Q2MK4TD9XPA"
	sampleUntil = "2026-11-29T14:05:09Z"
	sampleSoon  = "2026-11-22T14:20:09Z"
)

// ofPasskey is the Arg factor of a mail about a passkey or security key, whose texts of the kind end with
// it where they differ; else it is about an authenticator app.
const ofPasskey = "passkey"

// mailKinds are all mails that there are.
var mailKinds = []mailKind{
	{name: "verify_code", needs: []string{"code"}, may: []string{"expires"}, unknown: true, subjectCode: true,
		sample: map[string]string{"code": "402867", "expires": sampleSoon}},
	{name: "verify_link", needs: []string{"link"}, may: []string{"expires"}, unknown: true,
		sample: map[string]string{"link": "/verify/link?ticket=Hq3v0bZrT2mY8sKc", "expires": "2026-11-25T14:05:09Z"}},
	{name: "login_code", needs: []string{"code"}, may: []string{"expires"}, facts: doing, subjectCode: true,
		sample: sampleDoing("code", "402867", "expires", "2026-11-22T14:08:09Z")},
	{name: "reset", needs: []string{"link", "code"}, may: []string{"expires"}, facts: doing,
		sample: sampleDoing("link", "/reset/link?ticket=Hq3v0bZrT2mY8sKc", "code", "40286753", "expires", sampleSoon)},
	// password is "void" where there was one; removed are words of mailRemoved.
	{name: "secured", needs: []string{"link"}, may: []string{"expires", "password", "removed"}, facts: doing,
		sample: sampleDoing("link", "/reset/link?ticket=Hq3v0bZrT2mY8sKc", "expires", sampleSoon, "password", "void", "removed", "passkey,recovery_codes")},
	{name: "reset_unknown", facts: doing, unknown: true,
		sample: map[string]string{"address": "203.0.113.7"}},
	// for is what somebody wanted the address for: "sign_up", or "address" to add it to an account.
	{name: "account_exists", may: []string{"link", "for"}, unknown: true,
		sample: map[string]string{"link": "/login", "for": "sign_up"}},
	{name: "welcome", may: []string{"link"}, facts: []fact{factAccount},
		sample: map[string]string{"name": "Alice", "username": "alice", "link": "/account"}},
	{name: "invite", needs: []string{"link", "expires"}, facts: []fact{{"inviter", "inviter"}}, unknown: true,
		sample: map[string]string{"link": "/signup?invite=Hq3v0bZrT2mY8sKc", "inviter": "Carol Contoso", "expires": sampleUntil}},

	{name: "password_changed", may: []string{"not_me"}, facts: doing, notice: true, sample: sampleDoing("not_me", sampleNotMe)},
	{name: "password_reset", may: []string{"not_me"}, facts: doing, notice: true, sample: sampleDoing("not_me", sampleNotMe)},
	{name: "password_set", may: []string{"not_me"}, facts: doing, notice: true, sample: sampleDoing("not_me", sampleNotMe)},

	{name: "email_added", needs: []string{"email"}, may: []string{"not_me"}, facts: facts(factEmail), notice: true,
		sample: sampleDoing("email", "alice@work.example", "not_me", sampleNotMe)},
	{name: "email_removed", needs: []string{"email"}, may: []string{"not_me"}, facts: facts(factEmail), notice: true,
		sample: sampleDoing("email", "alice@work.example", "not_me", sampleNotMe)},
	{name: "email_primary_changed", needs: []string{"email"}, may: []string{"not_me"}, facts: facts(factEmail), notice: true,
		sample: sampleDoing("email", "alice@work.example", "not_me", sampleNotMe)},
	{name: "email_verified", needs: []string{"email"}, may: []string{"not_me"}, facts: facts(factEmail), notice: true,
		sample: sampleDoing("email", "alice@work.example", "not_me", sampleNotMe)},
	{name: "email_revert", needs: []string{"email", "link", "expires"}, facts: facts(factEmail), notice: true,
		sample: sampleDoing("email", "alice@work.example", "link", "/account/revert?ticket=Hq3v0bZrT2mY8sKc", "expires", sampleUntil)},

	{name: "factor_added", needs: []string{"factor"}, may: []string{"not_me"}, facts: facts(factCalled), notice: true,
		sample: sampleDoing("factor", "passkey", "called", "YubiKey 5", "not_me", sampleNotMe)},
	{name: "factor_removed", needs: []string{"factor"}, may: []string{"not_me"}, facts: facts(factCalled), notice: true,
		sample: sampleDoing("factor", "app", "not_me", sampleNotMe)},
	{name: "recovery_code_used", needs: []string{"left"}, may: []string{"not_me"}, facts: doing, notice: true,
		sample: sampleDoing("left", "3", "not_me", sampleNotMe)},
	{name: "recovery_codes_made", may: []string{"not_me"}, facts: doing, notice: true, sample: sampleDoing("not_me", sampleNotMe)},
	{name: "passkey_copied", may: []string{"factor", "not_me"}, facts: facts(factCalled), notice: true,
		sample: sampleDoing("factor", "passkey", "called", "YubiKey 5", "not_me", sampleNotMe)},
	{name: "factors_reset", facts: []fact{factTime}, sample: map[string]string{"name": "Alice", "zone": "Europe/Berlin"}},

	{name: "new_sign_in", may: []string{"not_me"}, facts: append(slices.Clone(doing), factApp), notice: true,
		sample: sampleDoing("app", "Grafana", "not_me", sampleNotMe)},
	{name: "consent_given", needs: []string{"app"}, may: []string{"link", "not_me"}, facts: facts(factApp), notice: true,
		sample: sampleDoing("app", "Grafana", "link", "/account/apps", "not_me", sampleNotMe)},
	{name: "refresh_reuse", needs: []string{"app"}, may: []string{"link"}, facts: []fact{factApp, factTime, factAddress},
		sample: map[string]string{"name": "Alice", "zone": "Europe/Berlin", "app": "Grafana", "address": "203.0.113.7", "link": "/account"}},
	{name: "lockout", may: []string{"failures", "until"}, facts: []fact{factAccount, factTime, factAddress},
		sample: map[string]string{"username": "alice", "address": "203.0.113.9", "failures": "5", "until": sampleSoon}},

	{name: "admin_changed", facts: []fact{factChanges, factTime},
		sample: map[string]string{"name": "Alice", "zone": "Europe/Berlin", "changes": "password,email"}},
	{name: "account_disabled", facts: []fact{factTime}, sample: map[string]string{"name": "Alice", "zone": "Europe/Berlin"}},
	{name: "account_deletion", needs: []string{"until", "link"}, facts: doing, notice: true,
		sample: sampleDoing("until", sampleUntil, "link", "/account/undelete?ticket=Hq3v0bZrT2mY8sKc")},
	{name: "account_deleted", facts: []fact{factTime}, sample: map[string]string{"name": "Alice", "zone": "Europe/Berlin"}},

	{name: "honeypot", may: []string{"blocked"}, admin: true,
		facts: []fact{factTime, factAddress, {"path", "path"}, {"username", "username"}, {"user_agent", "user_agent"}},
		sample: map[string]string{
			"address": "203.0.113.9", "user_agent": "curl/8.5.0", "path": "/wp-login.php", "username": "root", "blocked": "true"}},
	{name: "honeypot_block", needs: []string{"address", "network", "until"}, admin: true,
		facts: []fact{factTime, factAddress, {"network", "network"}, {"path", "path"}, {"username", "username"}, {"user_agent", "user_agent"}},
		sample: map[string]string{
			"address": "2001:db8:1:2::9", "network": "2001:db8:1:2::/64", "user_agent": "curl/8.5.0", "path": "/wp-login.php", "username": "root",
			"until": "2026-11-23T14:05:09Z"}},
	{name: "honeypot_digest", needs: []string{"count", "since"}, admin: true,
		sample: map[string]string{"count": "99", "since": "2026-11-22T13:05:09Z"}},
}

// mailChanges are the words that the Arg changes of admin_changed joins with commas. Any other is
// told as "other".
var mailChanges = []string{"username", "email", "password", "name", "profile", "groups", "admin", "sessions", "status", "other"}

// mailRemoved are the words that the Arg removed of secured joins with commas. Any other is left out.
var mailRemoved = []string{"app", "passkey", "recovery_codes"}

// kindOfMail is the kind of that name, nil for none.
func kindOfMail(name string) *mailKind {
	i := slices.IndexFunc(mailKinds, func(k mailKind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &mailKinds[i]
}
