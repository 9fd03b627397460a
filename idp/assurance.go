package idp

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Level is how sure a sign-in is that it was its user. Each contains the former.
type Level int

// The levels, as mfa.acr names them.
const (
	NoLevel       Level = iota
	OneFactor           // pwd: a password, or a mailed code
	TwoFactors          // mfa: two of them, or a passkey that verified its user
	NotPhishable        // phr: a passkey or security key (OpenID Connect EAP ACR Values 1.0 §2)
	HardwareBound       // phrh: one whose key cannot leave its device
)

// The values of acr that the settings have by default, of ours.
const (
	ACRPassword   = "urn:postern:acr:pwd"
	ACRTwoFactors = "urn:postern:acr:mfa"
)

// levels are the words for levels in mfa.acr.
var levels = map[string]Level{"pwd": OneFactor, "mfa": TwoFactors, "phr": NotPhishable, "phrh": HardwareBound}

// An ACR is a value of acr with what it stands for.
type ACR struct {
	Value string
	Level Level
}

// ACRs are the values of acr that mean something, in the order of the settings.
type ACRs []ACR

// readACRs reads mfa.acr: VALUE => LEVEL.
func readACRs(lines []string) (ACRs, error) {
	list := make(ACRs, 0, len(lines))
	for _, line := range lines {
		value, word, ok := strings.Cut(line, "=>")
		value = strings.TrimSpace(value)
		level := levels[strings.TrimSpace(word)]
		if !ok || level == NoLevel || value == "" || strings.ContainsAny(value, " \t") {
			return nil, fmt.Errorf("mfa.acr: %q is not VALUE => LEVEL, with one of the levels pwd, mfa, phr and phrh", line)
		}
		if list.level(value) != NoLevel {
			return nil, fmt.Errorf("mfa.acr: %q stands twice", value)
		}
		list = append(list, ACR{value, level})
	}
	return list, nil
}

// level is what a value stands for, NoLevel for nothing.
func (list ACRs) level(value string) Level {
	for _, a := range list {
		if a.Value == value {
			return a.Level
		}
	}
	return NoLevel
}

// beyondReach is a level that no session has.
const beyondReach = HardwareBound + 1

// minimum is the level that a client demands by value, NoLevel for "". What the settings know no more
// is demanded all the same.
func (list ACRs) minimum(value string) Level {
	if level := list.level(value); value == "" || level != NoLevel {
		return level
	}
	return beyondReach
}

// value is what is told of a level: the first value of it, or of the next lower level that has one.
func (list ACRs) value(level Level) string {
	for ; level > NoLevel; level-- {
		for _, a := range list {
			if a.Level == level {
				return a.Value
			}
		}
	}
	return ""
}

// first is whether a session can rest on m alone, as its first factor.
func (m *Method) first() bool {
	return m.Name == MethodPassword || m.Name == MethodMail || m.Name == MethodPasskey && m.Verified
}

// level is what a session amounts to by the first factor and m as its second one.
func (m *Method) level() Level {
	switch {
	case m.Name == MethodPasskey && m.Hardware:
		return HardwareBound
	case m.Name == MethodPasskey:
		return NotPhishable
	case m.Name == MethodTOTP, m.Name == MethodRecovery:
		return TwoFactors
	}
	return OneFactor
}

// An Assurance is what methods amount to (I-7).
type Assurance struct {
	Level    Level
	ACR      string    // the value that is told, "" where none stands for Level
	AMR      []string  // RFC 8176 §2
	AuthTime time.Time // of the oldest method that Level rests on
}

// reach is the highest level that list reaches, which is at most `most`, and the newest time such that
// the methods from then on reach it.
func (list Methods) reach(most Level) (Level, time.Time) {
	var best Level
	var since time.Time
	try := func(level Level, at time.Time) {
		level = min(level, most)
		if level > best || level == best && at.After(since) {
			best, since = level, at
		}
	}
	for i := range list {
		first := &list[i]
		if !first.first() {
			continue
		}
		if first.Name == MethodPasskey {
			try(first.level(), first.At) // of itself it is two factors
		} else {
			try(OneFactor, first.At)
		}
		for j := range list {
			if second := &list[j]; i != j && second.level() > OneFactor {
				try(second.level(), older(first.At, second.At))
			}
		}
	}
	return best, since
}

func older(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// level is the highest level that list reaches.
func (list Methods) level() Level {
	level, _ := list.reach(HardwareBound)
	return level
}

// amr are the names of RFC 8176 §2 for list, in the order of its methods, each once. A synced passkey
// is a key in software.
func (list Methods) amr() []string {
	names := make([]string, 0, len(list)+2)
	add := func(more ...string) {
		for _, name := range more {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for i := range list {
		switch m := &list[i]; {
		case m.Name == MethodPassword:
			add("pwd")
		case m.Name == MethodPasskey && m.Hardware:
			add("hwk", "user")
		case m.Name == MethodPasskey:
			add("swk", "user")
		default:
			add("otp") // of an app, of a mail, of a sheet of paper: each works once
		}
	}
	if list.level() >= TwoFactors {
		add("mfa")
	}
	return names
}

// mark names in in the methods that were proved in it, "" for what is no interaction. It tells nothing
// else of in.
func (in *Interaction) mark() string {
	if in.Nonce == [len(in.Nonce)]byte{} {
		return ""
	}
	sum := sha256.Sum256(append([]byte("method "), in.Nonce[:]...))
	return strict64.EncodeToString(sum[:9])
}

// counted are the methods of s that count for in (I-7): under prompt=login those that were proved in
// it, under max_age also those that were young enough when it began (OpenID Connect Core 1.0 §3.1.2.1).
func (in *Interaction) counted(s *Session) Methods {
	most := in.Request.MaxAge
	if !in.prompts("login") && most == nil {
		return s.Methods
	}
	mark := ""
	if in.Authenticated == s.Authentication { // else in does not know of it (I-18)
		mark = in.mark()
	}
	counted := make(Methods, 0, len(s.Methods))
	for _, m := range s.Methods {
		// Started, not now: the time that the End-User takes with the pages does not count (I-5).
		young := !in.prompts("login") && *most > 0 && in.Started.Unix()-m.At.Unix() <= *most
		if mark != "" && m.Interaction == mark || young {
			counted = append(counted, m)
		}
	}
	return counted
}

// demand is what in asks of acr: one of `values`. It is essential where the request must fail
// otherwise (OpenID Connect Core 1.0 §5.5.1.1), and else as good as possible, in order of preference.
type demand struct {
	values    []string
	essential bool
}

// demands are what the request of in says of acr. What is no text is no value that anybody has.
func (in *Interaction) demands() demand {
	asked := in.Request.Claims.acr()
	d := demand{essential: asked != nil && asked.Essential && asked.allowed() != nil}
	for _, value := range asked.allowed() {
		if text, ok := value.(string); ok {
			d.values = append(d.values, text)
		}
	}
	if !d.essential {
		d.values = append(d.values, in.Request.ACRValues...)
	}
	return d
}

// least is the lowest level of d's values that `can` allows, NoLevel for none.
func (d demand) least(list ACRs, can Level) Level {
	least := NoLevel
	for _, value := range d.values {
		if level := list.level(value); level != NoLevel && level <= can && (least == NoLevel || level < least) {
			least = level
		}
	}
	return least
}

// reachable is the highest level that u can reach with what they have.
func (u *User) reachable() Level {
	switch {
	case slices.Contains(u.Factors, factorHardware):
		return HardwareBound
	case slices.Contains(u.Factors, factorPasskey):
		return NotPhishable
	case len(u.Factors) > 0:
		return TwoFactors
	}
	return OneFactor
}

// An asking is what a request and a client ask beyond what a session is.
type asking struct {
	level Level // to be reached, NoLevel where what there is will do
	must  bool  // a lower one will not do
	never bool  // it must be reached, and the End-User cannot
}

// asked is what in and the client ask of v's user.
func (p *Policy) asked(in *Interaction, v *Visit) asking {
	has := in.counted(&v.Session).level()
	can := max(v.User.reachable(), has) // by what was removed since
	d := in.demands()
	var a asking
	switch wanted := d.least(p.ACRs, can); {
	case d.essential && wanted == NoLevel:
		// What they enrol will do, or not.
		a.level, a.must = d.least(p.ACRs, HardwareBound), true
		if a.level == NoLevel {
			return asking{never: true}
		}
	case d.essential:
		a.level, a.must = wanted, true
	case wanted > has && !in.prompts("none") && !in.tried(&v.Session):
		// With prompt=none a wish fails no request (OpenID Connect Core 1.0 §5.5.1).
		a.level = d.preferred(p.ACRs, can)
	}
	if p.Least > has && p.Least >= a.level {
		a.level, a.must = p.Least, true
	}
	switch {
	case a.level <= has:
		return asking{}
	case a.must && a.level > can && (a.level > p.enrollable() || !v.User.mayEnrol(p)):
		return asking{never: true}
	}
	return a
}

// tried tells whether the End-User proved a second factor in in: what is only wished for is asked for
// once, since they may not have the other one with them.
func (in *Interaction) tried(s *Session) bool {
	mark := in.mark()
	return mark != "" && slices.ContainsFunc(s.Methods, func(m Method) bool { return m.Interaction == mark && m.level() > OneFactor })
}

// Asked is the level that in and c (nil for our own pages) ask of v's user beyond what counts already,
// NoLevel for none.
func (p *Provider) Asked(in *Interaction, v *Visit, c *Client) Level {
	policy := p.PolicyFor(c)
	return policy.asked(in, v).level
}

// Insists tells whether less than Asked will not do.
func (p *Provider) Insists(in *Interaction, v *Visit, c *Client) bool {
	policy := p.PolicyFor(c)
	return policy.asked(in, v).must
}

// mayEnrol tells whether u, who has no factor, may get one on the way (I-19).
func (u *User) mayEnrol(p *Policy) bool {
	policy, _ := p.Factors.of(u)
	return !u.HasFactor() && policy != FactorsOff
}

// enrollable is the highest level that a new factor gives.
func (p *Policy) enrollable() Level {
	if p.NoPasskeys {
		return TwoFactors
	}
	return HardwareBound
}

// preferred is the level of the first of d's values that `can` allows, NoLevel for none.
func (d demand) preferred(list ACRs, can Level) Level {
	for _, value := range d.values {
		if level := list.level(value); level != NoLevel && level <= can {
			return level
		}
	}
	return NoLevel
}

// Assurance is what tokens tell c (nil for our own pages) of the session of v that is issued to in (OpenID Connect Core 1.0 §2):
// of the values that are asked for the first that holds and is as much as c demands, else that of the
// highest level, and of the methods those that count.
func (p *Provider) Assurance(in *Interaction, v *Visit, c *Client) Assurance {
	counted := in.counted(&v.Session)
	if counted.level() == NoLevel {
		counted = v.Session.Methods
	}
	a, least := counted.assurance(p.acrs), NoLevel
	if c != nil {
		least = p.acrs.minimum(c.Metadata.MinimumACR)
	}
	for _, value := range in.demands().values {
		if level := p.acrs.level(value); level != NoLevel && least <= level && level <= a.Level {
			a.Level, a.AuthTime = counted.reach(level)
			a.ACR = value
			break
		}
	}
	return a
}

// assurance is what list amounts to, whoever asks.
func (list Methods) assurance(acrs ACRs) Assurance {
	level, since := list.reach(HardwareBound)
	return Assurance{Level: level, ACR: acrs.value(level), AMR: list.amr(), AuthTime: since}
}

// ACRValues are the values for discovery, in the order of the settings.
func (p *Provider) ACRValues() []string {
	values := make([]string, 0, len(p.acrs))
	for _, a := range p.acrs {
		values = append(values, a.Value)
	}
	return values
}

// ACRMeets tells whether a token that tells acr is as sure as a client demands at least; "" demands
// nothing (RFC 9470 §3).
func (p *Provider) ACRMeets(acr, minimum string) bool {
	return p.acrs.level(acr) >= p.acrs.minimum(minimum)
}

// AuthTime is the time of the oldest method that what s amounts to rests on, whoever asks.
func (s *Session) AuthTime() time.Time {
	_, since := s.Methods.reach(HardwareBound)
	return since
}

// AMR are the names of the session's methods (RFC 8176 §2).
func (s *Session) AMR() []string { return s.Methods.amr() }
