package idp

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Step is what an End-User must do next.
type Step string

// The steps.
const (
	NoStep      Step = ""
	StepLogIn   Step = "login"
	StepSelect  Step = "select_account"
	StepConsent Step = "consent"
	StepSignUp  Step = "sign_up"
	StepVerify  Step = "verify_email"
	StepChange  Step = "change_password"
	StepFactor  Step = "second_factor"
	StepEnrol   Step = "enrol"
	StepDenied  Step = "denied" // the End-User said no: not a page, but the end
)

// A Request is an authorization request as the step table judges it, parsed from its canonical
// form: every parameter once, validated, the redirect URI exact.
type Request struct {
	ClientID    string
	RedirectURI string // validated; "" for a sign-in of our own
	Scopes      List
	Claims      *ClaimsRequest // nil where there is no claims parameter
	Prompts     List           // of prompt (OpenID Connect Core 1.0 §3.1.2.1)
	MaxAge      *int64         // seconds; nil where neither request nor client has one
	ACRValues   List
	LoginHint   string
	Subject     ID // of a valid id_token_hint, zero for none
	UILocales   List
	Return      string // our own page to go back to: a sign-in without a relying party (I-19)
}

// An Interaction is an authorization request that waits for its End-User. It is sealed into the
// tx parameter of our own pages and bound to one browser; nothing is stored until a grant exists.
type Interaction struct {
	Nonce   [16]byte
	Form    url.Values // the canonical request
	Request Request    // parsed from Form
	Pushed  ID         // the row that Form came from, zero for none
	Started time.Time  // sealed once, as is Ends (I-5)
	Ends    time.Time

	// The deeds of this interaction, each by its identity (I-5).
	Authenticated ID    // the session's authentication that the End-User proved in it
	Chosen        ID    // the session that the End-User chose to go on with
	Consented     int64 // the version of the consent that was given
	Denied        bool  // the End-User refused or cancelled
	// Doer is the user who signed in or consented in it: versions of consents and sessions are
	// numbered by user, so a deed counts for nobody else.
	Doer ID

	// Ticket is the mailed secret that in waits for, zero for none. Proved says that its code was
	// shown, by this browser.
	Ticket ID
	Proved bool
	// Mailed is the address or name, as typed, that Ticket was asked for: pages show it. It is kept
	// with a Ticket alone.
	Mailed string

	// What was shown, to whom (I-6).
	Step    Step
	User    ID
	Session ID
	Shown   [16]byte // digest of what the page showed

	internal bool // Pushed is a row of ours, made because of the form's length (I-25)
}

// SignedIn notes that the End-User proved in in what made s live or renewed it. Deeds of another
// user count no more.
func (in *Interaction) SignedIn(s *Session) {
	if in.Doer != s.UserID {
		in.Chosen, in.Consented = ID{}, 0
	}
	in.Authenticated, in.Doer = s.Authentication, s.UserID
}

// carriesDeed tells whether somebody did something in in.
func (in *Interaction) carriesDeed() bool {
	return in.Authenticated != ID{} || in.Chosen != ID{} || in.Consented != 0 || in.Denied || in.Doer != ID{} ||
		in.Ticket != ID{}
}

// promptMet tells whether in carries a deed that its request demanded: then it completes once
// (I-18), since going back to its address must not meet a prompt again.
func (in *Interaction) promptMet() bool {
	switch {
	case in.Consented != 0 && in.prompts("consent"):
		return true
	case in.Chosen != ID{} && in.prompts("select_account"):
		return true
	case in.Authenticated != ID{}:
		return in.prompts("login") || in.prompts("select_account") || in.prompts("create") || in.Request.MaxAge != nil
	}
	return false
}

// A Need is one reason for a step. Error is the answer where prompt=none forbids to show it
// (OpenID Connect Core 1.0 §3.1.2.6).
type Need struct {
	Step  Step
	Why   string
	Error string
}

// A Policy is what the provider and the client ask beyond the request.
type Policy struct {
	// NoConsent clients are asked for consent only where they demand it by prompt=consent:
	// first-party ones and our own pages.
	NoConsent bool
	// Public clients have no secret, so that only their redirect URI can prove who they are.
	Public bool
	// SignUp says that anybody may make an account now.
	SignUp bool
	// Verified users alone come in.
	Verified bool
	// ACRs are the values of acr that mean something.
	ACRs ACRs
	// Least is the level that the client asks of every sign-in, NoLevel for none.
	Least Level
	// NoPasskeys says that browsers know no passkeys of ours: at an issuer that is an address.
	NoPasskeys bool
	// Factors are who must have a second factor; nil leaves it to everybody.
	Factors *FactorRules
}

// PolicyFor is the policy for a client; nil stands for our own pages.
func (p *Provider) PolicyFor(c *Client) Policy {
	policy := Policy{
		NoConsent: c == nil || c.Metadata.FirstParty, Public: c != nil && c.Public(),
		SignUp: p.SignUpOpen(), Verified: p.mustVerify(), ACRs: p.acrs, Factors: p.factorRules, NoPasskeys: p.passkeys == nil,
	}
	if c != nil {
		policy.Least = p.acrs.minimum(c.Metadata.MinimumACR)
	}
	return policy
}

type rule struct {
	Need
	holds func(in *Interaction, v *Visit, p Policy, now time.Time) bool
}

// The table is read from the top; the first need that holds decides. Each visit to the
// authorization endpoint judges all of it anew, so that no step can be skipped. Rules below
// "no session" have a visit.
var rules = []rule{
	{Need{StepDenied, "the End-User refused", "access_denied"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return in.Denied
	}},
	// What no session can reach is refused before anybody signs in for it.
	{Need{StepDenied, "an essential acr that nobody can reach", "unmet_authentication_requirements"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		d := in.demands()
		return d.essential && d.least(p.ACRs, HardwareBound) == NoLevel
	}},
	// Initiating User Registration via OpenID Connect 1.0 §4. While nobody may sign up the request is
	// one to sign in, and whoever signs in instead has no need of another account.
	{Need{StepSignUp, "prompt=create", "interaction_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		// Whoever signed up by a link did so in another tab, while this one waited.
		return p.SignUp && in.prompts("create") && in.Authenticated.IsZero() && (v == nil || in.Ticket.IsZero())
	}},
	{Need{StepLogIn, "no session", "login_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return v == nil
	}},
	{Need{StepLogIn, "prompt=login", "login_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return in.prompts("login") && in.counted(&v.Session).level() == NoLevel
	}},
	// max_age=0 is prompt=login.
	{Need{StepLogIn, "max_age", "login_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return in.Request.MaxAge != nil && in.counted(&v.Session).level() == NoLevel
	}},
	// OpenID Connect Core 1.0 §3.1.2.1 (id_token_hint) and §3.1.2.2 (sub asked for by its value).
	{Need{StepLogIn, "the request names another user", "login_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		if !in.Request.Subject.IsZero() && in.Request.Subject != v.User.ID {
			return true
		}
		wanted := in.Request.Claims.subjects()
		return wanted != nil && !slices.Contains(wanted, any(v.User.ID.String()))
	}},
	{Need{StepSelect, "prompt=select_account", "account_selection_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		// Whoever signs in within the interaction has chosen.
		return in.prompts("select_account") && in.Chosen != v.Session.ID && in.Authenticated != v.Session.Authentication
	}},
	// Alice signed in or consented here, and then bob signed in in another tab: the code must not
	// be bob's unless he says so.
	{Need{StepSelect, "somebody else signed in meanwhile", "account_selection_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return !in.Doer.IsZero() && in.Doer != v.User.ID && in.Chosen != v.Session.ID
	}},
	// A password alone earns little (I-19): whoever has a factor owes it, and whoever must have one
	// gets one, before anything else is told or done.
	{Need{StepFactor, "the user has a second factor", "interaction_required"}, func(in *Interaction, v *Visit, p Policy, now time.Time) bool {
		return v.User.HasFactor() && v.User.owesFactor(in.counted(&v.Session), v.Session.Trusted, p.Factors, now)
	}},
	// OpenID Connect Core 1.0 §5.5.1.1: an essential acr that cannot be met is a failed authentication,
	// and OpenID Connect Core Error Code unmet_authentication_requirements 1.0 names it.
	{Need{StepDenied, "an acr that the End-User cannot reach", "unmet_authentication_requirements"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return p.asked(in, v).never
	}},
	{Need{StepFactor, "a stronger sign-in is asked for", "interaction_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return p.asked(in, v).level != NoLevel && v.User.HasFactor()
	}},
	// Whoever typed a wrong address, or another's, would bind a factor to it.
	{Need{StepVerify, "an address is proved before a second factor", "interaction_required"}, func(in *Interaction, v *Visit, p Policy, now time.Time) bool {
		return v.User.owesVerification(true) && p.enrols(in, v, now)
	}},
	{Need{StepEnrol, "a second factor is required", "interaction_required"}, func(in *Interaction, v *Visit, p Policy, now time.Time) bool {
		return p.enrols(in, v, now)
	}},
	{Need{StepVerify, "verification is mandatory", "interaction_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return v.User.owesVerification(p.Verified)
	}},
	{Need{StepChange, "the password must be changed", "interaction_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return v.User.MustChangePassword
	}},
	// It owed something that it owes no more, and nobody made it live.
	{Need{StepLogIn, "a sign-in was not completed", "login_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return v.Session.State == Pending
	}},
	{Need{StepConsent, "prompt=consent", "consent_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		// Asked for, it is shown to users of first-party clients, too: OpenID Connect Core 1.0
		// §3.1.2.1.
		return in.prompts("consent") && !in.consentedBy(v)
	}},
	// RFC 8252 §8.6: any program on the End-User's device can send the request of a client without
	// a secret and listen for the answer, so that what was allowed before may not have been allowed
	// to this one. Only an https redirect URI is a proof, since it leads to its owner.
	{Need{StepConsent, "a client that cannot prove who it is", "consent_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return p.Public && !p.NoConsent && !strings.HasPrefix(in.Request.RedirectURI, "https://") && !in.consentedBy(v)
	}},
	{Need{StepConsent, "grant does not cover the request", "consent_required"}, func(in *Interaction, v *Visit, p Policy, _ time.Time) bool {
		return !p.NoConsent && !v.Consent.Covers(in.Request.Scopes, in.Request.Claims.Names())
	}},
}

// mustVerify tells whether nobody comes in before they proved their address.
func (p *Provider) mustVerify() bool { return p.cfg.Email.Verification == "mandatory" }

// owesVerification tells whether u must prove an address first. What is demanded is the proof of what
// an account claims: whoever has no address, since an operator gave them none, they lost it to whose
// it is, or they never proved the one that they signed up with (Provider.signedUp), claims nothing,
// neither here nor to relying parties, and no page could ask them.
func (u *User) owesVerification(mandatory bool) bool {
	return mandatory && u.Email != "" && !u.EmailVerified
}

// enrols tells whether v's user gets their first factor on the way of in, since one is required or
// asked for.
func (p *Policy) enrols(in *Interaction, v *Visit, now time.Time) bool {
	return !v.User.HasFactor() &&
		(v.User.owesFactor(in.counted(&v.Session), false, p.Factors, now) || p.asked(in, v).level != NoLevel)
}

// owes tells whether a sign-in of u, who proved what s has, owes a step.
func (p *Provider) owes(u *User, s *Session) bool {
	return u.owesFactor(s.Methods, s.Trusted, p.factorRules, p.Now()) ||
		u.MustChangePassword || u.owesVerification(p.mustVerify())
}

// NextStep says what the End-User must do next for in. v is the browser's live session, or else its
// pending one (PendingVisit), with its user and consent, nil for none. The zero Need means that nothing is left to do.
//
// now is for rules with a time of their own; the ages of proofs count from in.Started.
func NextStep(in *Interaction, v *Visit, p Policy, now time.Time) Need {
	for _, r := range rules {
		if r.holds(in, v, p, now) {
			return r.Need
		}
	}
	return Need{}
}

// consentedBy tells whether the consent of v on record was given in in, by the user of v.
func (in *Interaction) consentedBy(v *Visit) bool {
	return v.Consent != nil && in.Doer == v.User.ID && in.Consented == v.Consent.Version
}

// prompts tells whether the request has the prompt value p.
func (in *Interaction) prompts(p string) bool { return slices.Contains(in.Request.Prompts, p) }

func containsAll(list, all []string) bool {
	for _, s := range all {
		if !slices.Contains(list, s) {
			return false
		}
	}
	return true
}
