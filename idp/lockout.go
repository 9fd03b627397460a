package idp

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/idp/guard"
)

// A Lock is a counter of the gate that holds something, as operators see it.
type Lock struct {
	Kind     string    `json:"kind"` // "username+ip_address", or "login_failed 5/5m/key"
	User     *ID       `json:"user,omitempty"`
	Username string    `json:"username,omitempty"` // of User
	Name     string    `json:"name,omitempty"`     // keyed hash of a name that is nobody's
	Network  string    `json:"network,omitempty"`
	Failures int       `json:"failures"`
	Limit    int       `json:"limit"`
	Locked   bool      `json:"locked"`
	Until    time.Time `json:"until,omitzero"` // of a lockout; guard.Forever where somebody must clear it
}

// maxRecords bounds how many counters one listing reads.
const maxRecords = 10_000

// Locks lists what the gate counts, those that are locked first, then those with the most failures,
// a thousand at most. user (a username, an e-mail address or an ID) and address narrow it down where
// they are not empty.
func (p *Provider) Locks(ctx context.Context, user string, address netip.Addr) ([]Lock, error) {
	account, _, err := p.accountTag(ctx, user)
	if err != nil {
		return nil, err
	}
	var records []guard.Record
	for _, f := range p.filters(account, address) {
		found, err := p.counterRecords(ctx, f)
		if err != nil {
			return nil, stored("list counters", err)
		}
		records = append(records, found...)
	}
	locks := make([]Lock, 0, len(records))
	for i := range records {
		locks = append(locks, p.lockOf(&records[i]))
	}
	slices.SortStableFunc(locks, func(a, b Lock) int {
		if a.Locked != b.Locked {
			return map[bool]int{true: -1, false: 1}[a.Locked]
		}
		return cmp.Compare(b.Failures, a.Failures)
	})
	locks = locks[:min(len(locks), maxList)]
	return locks, p.nameLocks(ctx, locks)
}

// accountTag is how counters name a user: an account, or a name that is nobody's. u is zero there.
func (p *Provider) accountTag(ctx context.Context, user string) (tag string, u User, err error) {
	if user == "" {
		return "", User{}, nil
	}
	u, err = p.FindUser(ctx, user)
	switch {
	case err == nil:
		return guard.AccountTag(u.ID.String()), u, nil
	case !errors.Is(err, ErrNotFound):
		return "", User{}, err
	}
	if id, err := ParseID(user); err == nil { // of one who was deleted
		return guard.AccountTag(id.String()), User{}, nil
	}
	name, ok := p.keyOf(user)
	if !ok {
		return "", User{}, invalid("username_invalid", "user", nil)
	}
	return p.guard.NameTag(name), User{}, nil
}

// filters find the counters of an account and of the networks that an address is counted in, each
// empty for all.
func (p *Provider) filters(account string, address netip.Addr) []guard.Filter {
	if !address.IsValid() {
		return []guard.Filter{{Account: account}}
	}
	var list []guard.Filter
	for _, network := range p.guard.Networks(address) {
		list = append(list, guard.Filter{Account: account, Network: network.String()})
	}
	return list
}

func (p *Provider) counterRecords(ctx context.Context, f guard.Filter) ([]guard.Record, error) {
	var all []guard.Record
	var after [16]byte
	for len(all) < maxRecords {
		page, err := p.gate.CounterRecords(ctx, f, p.Now(), after, maxList)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			if r.Tag.Kind != kindLockoutMail && r.Tag.Kind != kindBlockMail { // which hold no failures
				all = append(all, r)
			}
		}
		if len(page) < maxList {
			break
		}
		after = page[len(page)-1].Key
	}
	return all, nil
}

func (p *Provider) lockOf(r *guard.Record) Lock {
	l := Lock{
		Kind: r.Tag.Kind, Network: r.Tag.Network, Limit: r.Limit,
		Failures: max(r.Count.Used, len(r.Count.Times)),
		Locked:   p.Now().Before(r.Count.Locked) && !p.cfg.Lockout.DryRun,
	}
	if l.Locked {
		l.Until = r.Count.Locked
	}
	if !r.Tag.Lock {
		l.Locked = l.Failures >= l.Limit
	}
	if id, ok := strings.CutPrefix(r.Tag.Account, "user "); ok {
		if user, err := ParseID(id); err == nil {
			l.User = &user
		}
	} else {
		l.Name = strings.TrimPrefix(r.Tag.Account, "name ")
	}
	return l
}

// nameLocks fills in the usernames of those users who are still there.
func (p *Provider) nameLocks(ctx context.Context, locks []Lock) error {
	names := make(map[ID]string)
	for i := range locks {
		id := locks[i].User
		if id == nil {
			continue
		}
		name, known := names[*id]
		if !known {
			u, err := p.store.User(ctx, *id)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return stored("find a locked user", err)
			}
			name = u.Username
			names[*id] = name
		}
		locks[i].Username = name
	}
	return nil
}

// ClearLocks forgets what the gate counts of a user, of an address, or of both together, and blocks
// of the address, on every node at once; with neither it forgets everything. It tells how many
// counters and blocks there were.
func (p *Provider) ClearLocks(ctx context.Context, user string, address netip.Addr) (counters, blocks int, err error) {
	account, u, err := p.accountTag(ctx, user)
	if err != nil {
		return 0, 0, err
	}
	// First, since afterwards the nodes forget what they remember beside it; and in no Tx, since there
	// may be many.
	if counters, err = p.forget(ctx, p.filters(account, address)); err != nil {
		return 0, 0, stored("forget counters", err)
	}
	err = p.changed(ctx, VersionGate, func(ctx context.Context) error {
		var network netip.Prefix // all
		if address.IsValid() {
			network = p.guard.Network(address)
		}
		if user == "" || address.IsValid() {
			if blocks, err = p.store.RemoveBlocks(ctx, network, p.Now()); err != nil {
				return err
			}
		}
		return p.record(ctx, eventLockoutCleared(u.ID, address, counters, blocks))
	})
	return counters, blocks, stored("clear locks", err)
}

func (p *Provider) forget(ctx context.Context, filters []guard.Filter) (int, error) {
	all := 0
	for _, f := range filters {
		n, err := p.gate.ForgetCounters(ctx, f, p.Now())
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}

// A LockedOut is what a page may tell somebody who is locked out: the values that django-axes gives
// its template.
type LockedOut struct {
	Username     string // as typed
	FailureLimit int
	Cooloff      time.Duration // 0 for a lock that somebody has to clear
	Until        time.Time     // guard.Forever then
}

// MayShowLogIn tells whether a visitor may see the sign-in form: nil, or an Error of the Kind Locked
// (lockout.never_lock_get) or Blocked.
func (p *Provider) MayShowLogIn(ctx context.Context) error {
	v := VisitorFrom(ctx)
	err := p.guard.Look(ctx, guard.Request{
		Lockout: true, Address: v.Address, System: p.places.System(v.Address), Browser: v.UserAgent, Path: v.Path,
	})
	lock, ok := errors.AsType[*guard.LockedOut](err)
	if !ok {
		return p.refused(ctx, "show the sign-in form", err)
	}
	answer := p.lockError(lock, &failure{answer: &Error{Kind: Denied}})
	if answer.Kind != Locked {
		return nil // a form is no answer to anything: silence shows it
	}
	p.noteRefusal(ctx, ID{}, "show the sign-in form", answer)
	return answer
}

// lockError is what somebody is answered whom lock refuses: the answer of f, where the settings keep
// silent about it or telling would give something away, else an Error of the Kind Locked.
func (p *Provider) lockError(lock *guard.LockedOut, f *failure) *Error {
	response := p.cfg.Lockout.Response
	if response == "silent" || response == "auto" && (lock.ByUsername() || p.discreet) {
		e := *f.answer
		e.Cause = lock
		return &e
	}
	return &Error{
		Kind: Locked, Code: "locked_out", RetryAfter: lock.RetryAfter, Cause: lock, Args: map[string]any{argScope: scopeOf(lock)},
		Lock: &LockedOut{Username: f.typed, FailureLimit: lock.Limit, Cooloff: lock.Cooloff, Until: lock.Until},
	}
}

// scopeOf is whom a lock counts, in the words of limits: the account with all that is counted with
// its name, or else the network; "" for neither.
func scopeOf(lock *guard.LockedOut) string {
	switch {
	case lock.ByUsername():
		return string(guard.ByKey)
	case slices.Contains(lock.Parameters, guard.IPAddress), slices.Contains(lock.Parameters, guard.ASN):
		return string(guard.ByAddress)
	}
	return ""
}

// lockings are what a failure locks.
type lockings struct {
	locks []*guard.LockedOut
	would []*guard.LockedOut // in a dry run
	mail  *turn              // of the mail to the user, nil for none
}

const (
	kindLockoutMail  = "lockout_mail"
	lockoutMailEvery = 24 * time.Hour
)

// locksOf tells what f locks. It takes the mail's turn before the Tx, which may run more than once.
func (p *Provider) locksOf(ctx context.Context, f *failure) (l lockings) {
	if f.permit == nil {
		return l
	}
	l.locks, l.would = f.permit.Locks(), f.permit.WouldLock()
	if p.mailer == nil || !f.user.EmailVerified || !slices.ContainsFunc(l.locks, (*guard.LockedOut).ByUsername) {
		return l
	}
	var err error
	if l.mail, err = p.turnOf(ctx, kindLockoutMail, f.user.ID.String(), lockoutMailEvery); err != nil {
		p.log.WarnContext(ctx, "tell a user of a lockout", "error", err)
	}
	return l
}

// recordLocks records what f locks, in the Tx of ctx, and tells the user by mail.
func (p *Provider) recordLocks(ctx context.Context, f *failure, l lockings) error {
	for _, lock := range l.locks {
		if err := p.record(ctx, eventLockoutTriggered(f, lock)); err != nil {
			return err
		}
	}
	for _, lock := range l.would {
		e := eventLockoutTriggered(f, lock)
		e.Details["dry_run"] = true
		if err := p.record(ctx, e); err != nil {
			return err
		}
	}
	if l.mail == nil {
		return nil
	}
	return p.enqueueMail(ctx, p.mailOfLockout(ctx, f, l.locks), "", p.Now())
}

func (p *Provider) mailOfLockout(ctx context.Context, f *failure, locks []*guard.LockedOut) Mail {
	lock := locks[slices.IndexFunc(locks, (*guard.LockedOut).ByUsername)]
	v := VisitorFrom(ctx)
	m := Mail{Kind: "lockout", To: f.user.Email, Locale: f.user.Profile.Locale, At: p.Now(), Args: map[string]string{
		"username": f.user.Username, "user_agent": guard.Clean(v.UserAgent, maxAttemptText),
		"failures": strconv.Itoa(lock.Limit),
	}}
	if v.Address.IsValid() {
		m.Args["address"] = v.Address.String()
	}
	if lock.Until.Before(guard.Forever) {
		m.Args["until"] = lock.Until.UTC().Format(time.RFC3339)
	}
	return m
}

// tellLocks counts and logs what was recorded.
func (p *Provider) tellLocks(ctx context.Context, f *failure, l lockings) {
	p.metrics.locked(l.locks)
	if !p.cfg.Lockout.Verbose {
		return
	}
	for _, lock := range l.locks {
		p.log.InfoContext(ctx, "locked out", "parameters", parametersOf(lock), "user", f.user.ID, "until", lock.Until)
	}
	for _, lock := range l.would {
		p.log.InfoContext(ctx, "would be locked out", "parameters", parametersOf(lock), "user", f.user.ID)
	}
}

func eventLockoutTriggered(f *failure, lock *guard.LockedOut) Event {
	details := Details{"parameters": parametersOf(lock), "limit": lock.Limit}
	if lock.Until.Before(guard.Forever) {
		details["until"] = lock.Until.UTC().Format(time.RFC3339)
	}
	return Event{Kind: "lockout.triggered", UserID: f.user.ID, ClientID: f.clientID, Details: details}
}

func eventLockoutCleared(userID ID, address netip.Addr, counters, blocks int) Event {
	details := Details{"counters": counters, "blocks": blocks}
	if address.IsValid() {
		details["address"] = address.String()
	}
	return Event{Kind: "lockout.cleared", UserID: userID, Details: details}
}

// eventExemptUsed tells that somebody signed in whom nobody can lock out by their name.
func eventExemptUsed(s Session) Event {
	return Event{Kind: "lockout.exempt_used", Actor: s.UserID.String(), UserID: s.UserID, SessionID: s.ID, ClientID: s.ClientID}
}

// An alarm tells once a period that there were too many failures, as this process sees them.
type alarm struct {
	amount int // 0 for never
	period time.Duration

	mu    sync.Mutex
	since time.Time
	count int
}

// rings counts a failure at now and tells whether it is the one that rings.
func (a *alarm) rings(now time.Time) bool {
	if a.amount == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since.IsZero() || now.Sub(a.since) >= a.period {
		a.since, a.count = now, 0
	}
	a.count++
	return a.count == a.amount
}

func (a *alarm) event() Event {
	return Event{Kind: "lockout.alarm", Actor: actorSystem, Details: Details{"failures": a.amount, "period_seconds": int(a.period.Seconds())}}
}
