package idp

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/idp/guard"
	"postern/idp/secret"
)

// The actions of today's deeds. The settings have limits of more.
const (
	actionLogin          = guard.Action("login")
	actionLoginFailed    = guard.Action("login_failed")
	actionChangePassword = guard.Action("change_password")
	actionClientAuth     = guard.Action("token_endpoint_auth_failed")
	actionLongRequest    = guard.Action("long_request")
	actionConsent        = guard.Action("consent")
	actionAuthAPI        = guard.Action("auth_api")
	actionPages          = guard.Action("pages")
)

// actionCrossSite is what other sites' pages send to the honeypot. Its limits are those of
// actionLoginFailed, counted for themselves, so that nobody who looks at such a page has those spent
// that they and their neighbours sign in with.
const actionCrossSite = guard.Action("honeypot_cross_site")

// A SettingProblem is a setting of the gate that cannot be read.
type SettingProblem struct {
	Key    string // "rate_limits.login", "lockout.parameters"
	Reason string // a predicate, which says the text that it is about
	Remedy string // a sentence
}

// JudgeGate tells which settings of the gate cannot be read. New refuses them, too.
func JudgeGate(cfg *config.Config) []SettingProblem {
	_, problems := readGate(cfg)
	return problems
}

// A gateSettings is what the settings say of the gate.
type gateSettings struct {
	guard  guard.Settings
	alarm  *alarm
	exempt exemption
}

func readGate(cfg *config.Config) (gateSettings, []SettingProblem) {
	var r gateReader
	s := gateSettings{guard: guard.Settings{
		Exempt:     cfg.RateLimits.ExemptCIDRs,
		IPv6Prefix: cfg.RateLimits.IPv6Prefix,
		Escalation: cfg.RateLimits.IPv6Escalation,
	}}
	if !cfg.RateLimits.Off {
		s.guard.Limits = r.limits(&cfg.RateLimits)
		s.guard.Limits[actionCrossSite] = s.guard.Limits[actionLoginFailed]
		s.guard.Limits[actionAppFailed] = s.guard.Limits[actionFactorFailed]
	}
	s.guard.Lockout = r.lockout(&cfg.Lockout)
	r.systems(&s.guard.Lockout, cfg.Places.ASNFile)
	s.alarm = r.alarm(cfg.Lockout.Alarm)
	s.exempt = r.exempt(&cfg.Lockout)
	return s, r.problems
}

// A gateReader reads the settings of the gate and goes on after a problem.
type gateReader struct {
	problems []SettingProblem
}

// find notes that the text of a key cannot be read. Errors of guard are a predicate, which may quote
// the text, and after the last colon what to write.
func (r *gateReader) find(key, prefix string, err error) {
	reason, remedy := err.Error(), "Run `postern config explain "+key+"`."
	if i := strings.LastIndex(reason, ": "); i > 0 && i+2 < len(reason) {
		remedy = strings.ToUpper(reason[i+2:i+3]) + reason[i+3:] + "."
		reason = reason[:i]
	}
	r.problems = append(r.problems, SettingProblem{Key: key, Reason: prefix + reason, Remedy: remedy})
}

// item begins the reason of an item of a list.
func item(text string) string { return "has " + strconv.Quote(text) + ", which " }

func (r *gateReader) limits(l *config.RateLimits) map[guard.Action][]guard.Limit {
	limits := make(map[guard.Action][]guard.Limit)
	for _, one := range []struct {
		action guard.Action
		text   string
	}{
		{actionLogin, l.Login},
		{actionLoginFailed, l.LoginFailed},
		{"signup", l.Signup},
		{"reset_password", l.ResetPassword},
		{"reset_password_from_key", l.ResetPasswordFromKey},
		{"confirm_email", l.ConfirmEmail},
		{actionChangePassword, l.ChangePassword},
		{"manage_email", l.ManageEmail},
		{"reauthenticate", l.Reauthenticate},
		{"request_login_code", l.RequestLoginCode},
		{"mfa_failed", l.MFAFailed},
		{"recovery_code", l.RecoveryCode},
		{"verify_code", l.VerifyCode},
		{"webauthn_options", l.WebAuthnOptions},
		{"invite", l.Invite},
		{actionClientAuth, l.TokenEndpointAuthFailed},
		{"admin_api_failed", l.AdminAPIFailed},
		{"device_user_code", l.DeviceUserCode},
		{actionConsent, l.Consent},
		{actionAuthAPI, l.AuthAPI},
		{actionLongRequest, l.LongRequest},
		{actionPages, l.Pages},
		{actionMail, l.Mail},
	} {
		parsed, err := guard.ParseLimits(one.text)
		if err == nil && (one.action == actionClientAuth || one.action == "admin_api_failed") {
			err = byAddress(parsed)
		}
		if err != nil {
			r.find("rate_limits."+string(one.action), "", err)
			continue
		}
		limits[one.action] = parsed
	}
	return limits
}

// byAddress refuses limits that count strangers together with those whom they would turn off (I-14).
func byAddress(limits []guard.Limit) error {
	for _, l := range limits {
		if l.Scope != guard.ByAddress && l.Scope != guard.ByAddressAndClient {
			return fmt.Errorf("has the scope %q, by which a stranger could turn a client off: write ip or ip+client", l.Scope)
		}
	}
	return nil
}

func (r *gateReader) lockout(l *config.Lockout) guard.Lockout {
	rule := r.rule(l)
	o := guard.Lockout{
		Enabled: l.Enabled, AdminOnly: l.Scope == "admin",
		// As strict as the account's, and empty until a complete login (I-20).
		KnownDevice:    guard.Rule{Aging: guard.Inactivity, Limit: l.FailureLimit},
		ResetOnSuccess: l.ResetOnSuccess, NeverLockGet: l.NeverLockGet,
		NeverAllowed: l.NeverLockAllowed, OnlyAllowed: l.OnlyAllowed,
		Allow: l.AllowCIDRs, Deny: l.DenyCIDRs,
	}
	for _, text := range l.Parameters {
		g, err := guard.ParseGroup(text, rule)
		if err != nil {
			r.find("lockout.parameters", item(text), err)
			continue
		}
		o.Groups = append(o.Groups, g)
	}
	for _, text := range l.Policies {
		policy, err := guard.ParsePolicy(text, rule)
		if err != nil {
			r.find("lockout.policies", item(text), err)
			continue
		}
		o.Policies = append(o.Policies, policy)
	}
	return o
}

// systems wants the file that asn is looked up in: without it everybody would be counted together.
func (r *gateReader) systems(o *guard.Lockout, file string) {
	byASN := func(g guard.Group) bool { return slices.Contains(g.Parameters, guard.ASN) }
	const reason, remedy = "count by asn, which nobody knows without places.asn_file", "Set places.asn_file to a file in the MaxMind DB format."
	if file != "" {
		return
	}
	if slices.ContainsFunc(o.Groups, byASN) {
		r.problems = append(r.problems, SettingProblem{Key: "lockout.parameters", Reason: reason, Remedy: remedy})
	}
	if slices.ContainsFunc(o.Policies, func(p guard.Policy) bool { return slices.ContainsFunc(p.Groups, byASN) }) {
		r.problems = append(r.problems, SettingProblem{Key: "lockout.policies", Reason: reason, Remedy: remedy})
	}
}

// rule is that of parameters without a limit of their own.
func (r *gateReader) rule(l *config.Lockout) guard.Rule {
	rule := guard.Rule{Aging: guard.Inactivity, Limit: l.FailureLimit, Prolong: l.ResetCooloffOnFailure, Monitor: l.DryRun}
	if l.Sliding {
		rule.Aging = guard.Sliding
	}
	var err error
	if rule.Period, err = guard.ParseCooloff(l.CooloffTime); err != nil {
		r.find("lockout.cooloff_time", "", err)
	}
	if rule.Tiers, err = guard.ParseTiers(l.Tiers); err != nil {
		r.find("lockout.tiers", "", err)
	}
	return rule
}

func (r *gateReader) alarm(text string) *alarm {
	a := &alarm{}
	var err error
	if a.amount, a.period, err = guard.ParseAlarm(text); err != nil {
		r.find("lockout.alarm", "", err)
	}
	return a
}

// An exemption says who cannot be locked out by their name.
type exemption struct {
	users  map[string]bool // canonical
	groups []string
}

func (r *gateReader) exempt(l *config.Lockout) exemption {
	e := exemption{users: make(map[string]bool), groups: l.ExemptGroups}
	for _, name := range l.ExemptUsers {
		key, ok := guard.Canonical(name)
		if !ok {
			r.find("lockout.exempt_users", item(name), errors.New("can be nobody's username: write usernames"))
			continue
		}
		e.users[key] = true
	}
	return e
}

func (e *exemption) has(u *User) bool {
	return !u.ID.IsZero() && (e.users[u.UsernameKey] ||
		slices.ContainsFunc(u.Groups, func(group string) bool { return slices.Contains(e.groups, group) }))
}

// furnishGate makes the guard of p, which counts in gate or, where that is nil, in the database.
func (p *Provider) furnishGate(gate guard.Store) error {
	s, problems := readGate(p.cfg)
	if len(problems) > 0 {
		return fmt.Errorf("%s %s", problems[0].Key, problems[0].Reason)
	}
	p.gate = gate
	if gate == nil {
		p.gate = p.store
	}
	// The oldest root key, so that all nodes count alike while another one is promoted.
	s.guard.Key, s.guard.Now, s.guard.Observe = p.ring.Oldest(secret.ForLimit), p.clock, p.metrics.observe
	p.guard = guard.New(p.gate, s.guard)
	p.exempt, p.alarm, p.discreet = s.exempt, s.alarm, tellsWhoIsNamed(&s.guard.Lockout)
	return nil
}

// tellsWhoIsNamed tells whether what is counted without the username depends on who is named all the
// same, by their groups or their role: then a lock of the address would tell who is in them.
func tellsWhoIsNamed(l *guard.Lockout) bool {
	byName := func(p guard.Policy) bool { return p.Admin || p.Group != "" }
	differs := func(p guard.Policy) bool {
		return !reflect.DeepEqual(withoutUsername(p.Groups), withoutUsername(l.Groups))
	}
	return l.AdminOnly || slices.ContainsFunc(l.Policies, byName) && slices.ContainsFunc(l.Policies, differs)
}

func withoutUsername(groups []guard.Group) []guard.Group {
	return slices.DeleteFunc(slices.Clone(groups), func(g guard.Group) bool { return slices.Contains(g.Parameters, guard.Username) })
}

// SpendPage counts a page that is shown, in this process alone. Its error is Throttled.
func (p *Provider) SpendPage(ctx context.Context) error {
	err := p.guard.SpendHere(guard.Request{Attempt: actionPages, Address: VisitorFrom(ctx).Address})
	return p.refused(ctx, "show a page", err)
}

// SpendAuthAPI counts a form that a program sends, and tells what is left. Its error is Throttled,
// or Unavailable.
func (p *Provider) SpendAuthAPI(ctx context.Context) (guard.Budget, error) {
	left, err := p.guard.Spend(ctx, guard.Request{Attempt: actionAuthAPI, Address: VisitorFrom(ctx).Address})
	return left, p.refused(ctx, "take a form", err)
}

// SpendConsent counts an answer to a request for consent, which GiveConsent does by itself. Its error is Throttled, or Unavailable.
func (p *Provider) SpendConsent(ctx context.Context, u User) error {
	_, err := p.guard.Spend(ctx, guard.Request{
		Attempt: actionConsent, Address: VisitorFrom(ctx).Address, Account: u.ID.String(), User: u.ID.String(),
	})
	return p.refusedTo(ctx, u.ID, "answer a request for consent", err)
}

// argScope is the Arg of Throttled and Locked that says whom was counted: a guard.Scope, "" for none.
const argScope = "scope"

// gated makes an Error of a refusal of the gate. Lockout's are lockError's.
func gated(doing string, err error) error {
	if t, ok := errors.AsType[*guard.Throttled](err); ok {
		return &Error{
			Kind: Throttled, Code: "throttled", Args: map[string]any{argScope: string(t.Limit.Scope)},
			RetryAfter: t.RetryAfter, Cause: fmt.Errorf("%s: %w", doing, err),
		}
	}
	if _, ok := errors.AsType[*guard.Denied](err); ok {
		return &Error{Kind: Blocked, Code: "blocked", Cause: fmt.Errorf("%s: %w", doing, err)}
	}
	return stored(doing, err)
}

// refused is refusedTo where nobody knows whose account it is about.
func (p *Provider) refused(ctx context.Context, doing string, err error) error {
	return p.refusedTo(ctx, ID{}, doing, err)
}

// refusedTo is gated, and tells the security log. It is no event: nothing is written to the database
// for what was refused. userID may be zero.
func (p *Provider) refusedTo(ctx context.Context, userID ID, doing string, err error) error {
	if err == nil {
		return nil
	}
	refusal := gated(doing, err)
	if e, ok := errors.AsType[*Error](refusal); ok && (e.Kind == Throttled || e.Kind == Blocked) {
		p.noteRefusal(ctx, userID, doing, e)
	}
	return refusal
}

// refund gives back a reservation. Where that fails it stays counted as a failure: too strict, for
// a while, and no reason to fail the deed.
func (p *Provider) refund(ctx context.Context, permit *guard.Permit) {
	if err := permit.Success(ctx); err != nil {
		p.log.WarnContext(ctx, "refund a reservation", "error", err)
	}
}

// ownCounter is the key of a counter of p's own, which no Request falls into.
func ownCounter(parts ...string) [16]byte {
	h := sha256.New()
	for _, part := range append([]string{"idp"}, parts...) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return [16]byte(h.Sum(nil)[:16])
}

// takeOwn takes a place in a counter of p's own at now, and tells what became of it.
func (p *Provider) takeOwn(ctx context.Context, c guard.Counter, now time.Time) (guard.Outcome, error) {
	outcomes, err := p.gate.ReserveCounters(ctx, []guard.Counter{c}, now)
	if err != nil {
		return guard.Outcome{}, err
	}
	return outcomes[0], nil
}

// A turn is the leave to do something that may happen once a period.
type turn struct {
	counter guard.Counter
	at      time.Time
}

// turnOf takes the turn of a counter of p's own, nil where it was taken already.
func (p *Provider) turnOf(ctx context.Context, kind, whose string, period time.Duration) (*turn, error) {
	t := &turn{at: p.Now(), counter: guard.Counter{
		Key: ownCounter(kind, whose), Rule: guard.Rule{Aging: guard.Sliding, Limit: 1, Period: period}, Tag: guard.Tag{Kind: kind},
	}}
	o, err := p.takeOwn(ctx, t.counter, t.at)
	if err != nil || o.Refused {
		return nil, err
	}
	return t, nil
}

// giveBack gives back a turn that came to nothing. Where that fails the next one has to wait.
func (p *Provider) giveBack(ctx context.Context, t *turn) {
	if t == nil {
		return
	}
	ctx, cancel := staying(ctx)
	defer cancel()
	if err := p.gate.ReleaseCounters(ctx, []guard.Counter{t.counter}, t.at); err != nil {
		p.log.WarnContext(ctx, "give back a turn", "kind", t.counter.Tag.Kind, "error", err)
	}
}
