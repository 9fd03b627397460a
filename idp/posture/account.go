package posture

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/idp"
)

func judgeProfile(in *Input) []hit {
	return found(in.Config.Development(), "profile", "profile is development.")
}

func judgeLimitsOff(in *Input) []hit {
	return found(in.Config.RateLimits.Off, "rate_limits", "rate_limits is false.")
}

// weaker is how many times a default a limit may allow.
const weaker = 10

func judgeWeakLimits(in *Input) []hit {
	if in.Config.RateLimits.Off {
		return nil
	}
	var hits []hit
	set, usual := reflect.ValueOf(in.Config.RateLimits), reflect.ValueOf(config.Default().RateLimits)
	for i, field := range reflect.VisibleFields(set.Type()) {
		if field.Type.Kind() != reflect.String {
			continue
		}
		text, than := set.Field(i).String(), usual.Field(i).String()
		scope, weak := idp.WeakerLimit(ofEach(text), than, weaker)
		if !weak || refusesAlways(text) {
			continue
		}
		key := "rate_limits." + field.Tag.Get("yaml")
		detail := fmt.Sprintf("%s is %q, which allows each %s more than %d times what %q does.", key, text, scope, weaker, than)
		if text == "" || text == "false" {
			detail = fmt.Sprintf("%s limits nothing; its default is %q.", key, than)
		}
		hits = append(hits, hit{key: key, detail: detail})
	}
	return hits
}

// ofEach is text with what its limits of everybody together are to each one of a scope, too.
func ofEach(text string) string {
	limits := []string{text}
	for part := range strings.SplitSeq(text, ",") {
		if limit, ok := strings.CutSuffix(strings.TrimSpace(part), "/global"); ok {
			limits = append(limits, limit+"/ip", limit+"/key", limit+"/user", limit+"/ip+client")
		}
	}
	return strings.Join(limits, ",")
}

// refusesAlways tells whether one of the limits of text has the amount 0.
func refusesAlways(text string) bool {
	for part := range strings.SplitSeq(text, ",") {
		amount, _, limit := strings.Cut(strings.TrimSpace(part), "/")
		if n, err := strconv.Atoi(amount); limit && err == nil && n == 0 {
			return true
		}
	}
	return false
}

// signIns calls judge with each limit without which nobody signs in.
func signIns(in *Input, judge func(key, text string) []hit) (hits []hit) {
	l := in.Config.RateLimits
	if l.Off {
		return nil
	}
	hits = append(hits, judge("rate_limits.login", l.Login)...)
	return append(hits, judge("rate_limits.login_failed", l.LoginFailed)...)
}

func judgeRefusingLimits(in *Input) []hit {
	return signIns(in, func(key, text string) []hit {
		return found(refusesAlways(text), key, fmt.Sprintf("%s is %q, which always refuses: nobody can sign in.", key, text))
	})
}

func judgeSharedLimits(in *Input) []hit {
	return signIns(in, func(key, text string) []hit {
		shared := slices.ContainsFunc(strings.Split(text, ","), func(part string) bool { return strings.HasSuffix(strings.TrimSpace(part), "/global") })
		return found(shared, key, fmt.Sprintf("%s is %q: one stranger uses it up for everybody.", key, text))
	})
}

func judgeFailOpen(in *Input) []hit {
	return found(in.Config.RateLimits.ClientAuthFailOpen, "rate_limits.client_auth_fail_open", "rate_limits.client_auth_fail_open is true.")
}

func judgePasswordLength(in *Input) []hit {
	n := in.Config.Password.MinLength
	return found(n < 12, "password.min_length", fmt.Sprintf("password.min_length is %d.", n))
}

// The floor of argon2id (RFC 9106 §4; what is common ground of today's advice): memory × time and
// memory, in KiB.
const (
	floorProduct = 35840
	floorMemory  = 7168
)

func judgeArgon2(in *Input) []hit {
	a := in.Config.Password.Argon2
	below := uint64(a.MemoryKiB)*uint64(a.Time) < floorProduct || a.MemoryKiB < floorMemory
	return found(below, "password.argon2.memory_kib", fmt.Sprintf("One hash takes %d KiB, %d times.", a.MemoryKiB, a.Time))
}

func judgeHashMemory(in *Input) []hit {
	have := in.Memory
	if have == 0 {
		have = memoryOfMachine()
	}
	mib := have >> 20
	return found(have > 0 && int64(in.Config.Password.HashMemoryMiB) > mib/2, "password.hash_memory_mib",
		fmt.Sprintf("Hashes may take %d MiB, and there are %d MiB.", in.Config.Password.HashMemoryMiB, mib))
}

// memoryOfMachine is what the system gives this process, in bytes: the machine's memory, or what
// its control group may use; 0 where neither can be read.
func memoryOfMachine() int64 {
	var all int64
	info, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(info)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			all = kib << 10
		}
	}
	group, _ := os.ReadFile("/sys/fs/cgroup/memory.max")
	if n, err := strconv.ParseInt(strings.TrimSpace(string(group)), 10, 64); err == nil && (all == 0 || n < all) {
		return n
	}
	return all
}

func judgeRemember(in *Input) []hit {
	return found(in.Config.Sessions.Remember == "always", "sessions.remember", "sessions.remember is always.")
}

func judgeMail(in *Input) []hit {
	c := in.Config
	switch {
	case c.Mail.Transport != "":
		return mailStays(c)
	case c.Signup.Mode != "closed" && (c.Email.Verification == "mandatory" || c.Email.Verification == "optional" && c.Login.PreventEnumeration == "strict"):
		return []hit{hit{key: "mail.transport", detail: "mail.transport is empty, and who signs up must prove their address by mail: nobody can."}.at(Error)}
	case c.Login.Code.Enabled:
		return []hit{hit{key: "mail.transport", detail: "mail.transport is empty, and login.code.enabled offers to mail a code."}.at(Error)}
	case in.Provider != nil:
		return nil // askMail tells whom it concerns
	}
	return noMail(in)
}

// noMail is what an empty mail.transport means where it stops nobody that we know of.
// mailStays is about mails that are files of this machine, where real people wait for them.
func mailStays(c *config.Config) []hit {
	if !strings.HasPrefix(c.Mail.Transport, "dir:") || c.Development() || !strings.HasPrefix(c.Issuer, "https:") {
		return nil
	}
	return []hit{hit{
		key: "mail.transport", detail: "mail.transport is " + c.Mail.Transport + ": mails are files in that folder, and do not leave the house.",
		remedy: "Set mail.transport to smtps://USER@HOST; where another program sends what lies in the folder: --silence W116.",
	}.at(Warning)}
}

func noMail(in *Input) []hit {
	if in.Config.Email.Verification == "mandatory" {
		return []hit{{key: "mail.transport", detail: "mail.transport is empty, and email.verification is mandatory: a user whose address is not verified cannot get in."}}
	}
	return found(in.Deploy, "mail.transport", "mail.transport is empty.")
}

func askMail(ctx context.Context, p *idp.Provider, in *Input) ([]hit, error) {
	c := in.Config
	if c.Mail.Transport != "" {
		return nil, nil
	}
	if c.Email.Verification == "mandatory" {
		waiting, atLeast, err := countUsers(ctx, p, waitsForMail)
		if err != nil {
			return nil, err
		}
		if waiting > 0 {
			who := "1 user"
			if waiting > 1 {
				who = fmt.Sprintf("%d users", waiting)
			}
			if atLeast {
				who = "at least " + who
			}
			return []hit{hit{
				key:    "mail.transport",
				detail: "mail.transport is empty, email.verification is mandatory, and " + who + " whose address is not verified cannot get in.",
				remedy: "Set mail.transport and mail.from; or say of each whose address you know `postern user verify NAME`; or set email.verification to optional.",
			}.at(Error)}, nil
		}
	}
	if len(judgeMail(in)) > 0 {
		return nil, nil // which said more
	}
	return noMail(in), nil
}

// waitsForMail tells whether u has to prove an address before they get in.
func waitsForMail(u idp.User) bool {
	return u.Status == idp.Active && u.Email != "" && !u.EmailVerified
}

// countUsers counts those who are so among the first maxAsked; atLeast tells that there are more.
func countUsers(ctx context.Context, p *idp.Provider, are func(idp.User) bool) (n int, atLeast bool, err error) {
	after := ""
	for range maxAsked / page {
		users, err := p.Users(ctx, after, page)
		if err != nil {
			return 0, false, err
		}
		for i := range users {
			if are(users[i]) {
				n++
			}
		}
		if len(users) < page {
			return n, false, nil
		}
		after = users[len(users)-1].UsernameKey
	}
	return n, true, nil
}

func judgeEnumeration(in *Input) []hit {
	return found(in.Config.Login.PreventEnumeration == "false", "login.prevent_enumeration", "login.prevent_enumeration is false.")
}

func judgeVerification(in *Input) []hit {
	return found(in.Config.Email.Verification == "none", "email.verification", "email.verification is none.")
}

func judgeCommon(in *Input) []hit {
	return found(!slices.Contains(in.Config.Password.Validators, "common"), "password.validators", "password.validators lacks common.")
}

func judgeComplexity(in *Input) []hit {
	return found(slices.Contains(in.Config.Password.Validators, "complexity"), "password.validators", "password.validators has complexity.")
}

func judgeEndOnChange(in *Input) []hit {
	return found(!in.Config.Sessions.EndOnPasswordChange, "sessions.end_on_password_change", "sessions.end_on_password_change is false.")
}

// maxSudo is how long a proof of who somebody is may be good for sensitive deeds.
const maxSudo = time.Hour

func judgeSudo(in *Input) []hit {
	s := in.Config.Sudo
	if !s.Required {
		return []hit{{key: "sudo.required", detail: "sudo.required is false."}}
	}
	return found(s.Timeout > maxSudo, "sudo.timeout", fmt.Sprintf("sudo.timeout is %s.", config.FormatDuration(s.Timeout)))
}

func judgeLoginCode(in *Input) []hit {
	return found(in.Config.Login.Code.Enabled, "login.code.enabled", "login.code.enabled is true.")
}

func judgeOpenSignUp(in *Input) []hit {
	c := in.Config
	return found(c.Signup.Mode == "open" && c.Email.Verification != "mandatory", "signup.mode",
		fmt.Sprintf("signup.mode is open, and email.verification is %s.", c.Email.Verification))
}

func judgeDisposable(in *Input) []hit {
	return found(in.Config.Email.AllowDisposable, "email.allow_disposable", "email.allow_disposable is true.")
}

func judgeTrap(in *Input) []hit {
	s := in.Config.Signup
	return found(s.Mode != "closed" && s.HoneypotField == "", "signup.honeypot_field", "signup.honeypot_field is empty.")
}

func judgeContacts(in *Input) []hit {
	s := in.Config.Security
	if len(s.Contacts) == 0 {
		return []hit{{key: "security.contacts", detail: "security.contacts is empty."}}
	}
	expires, err := time.Parse(time.RFC3339, s.Expires)
	if s.Expires == "" || err != nil || expires.After(in.Now) {
		return nil
	}
	return []hit{hit{key: "security.expires", detail: "security.expires is over: " + s.Expires + "."}.at(Warning)}
}

// maxAsked bounds how many users are looked through.
const maxAsked = 100_000

func askAdmins(ctx context.Context, p *idp.Provider, in *Input) ([]hit, error) {
	c := in.Config
	if c.Mail.Transport == "" || !c.Honeypot.Mail || len(c.Honeypot.Paths) == 0 {
		return nil, nil
	}
	after := ""
	for range maxAsked / page {
		users, err := p.Users(ctx, after, page)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(users, isTold) {
			return nil, nil
		}
		if len(users) < page {
			return found(true, "honeypot.mail", "No active administrator has a verified e-mail address."), nil
		}
		after = users[len(users)-1].UsernameKey
	}
	return nil, nil // too many to say
}

// isTold tells whether u gets the mails for administrators.
func isTold(u idp.User) bool {
	return u.Admin && u.Status == idp.Active && u.Email != "" && u.EmailVerified
}

func judgeLogins(in *Input) []hit {
	return found(!in.Config.Audit.Logins, "audit.logins", "audit.logins is false.")
}

// maxNamed bounds how many clients one finding names.
const maxNamed = 20

func askStretchedSecrets(ctx context.Context, p *idp.Provider, _ *Input) ([]hit, error) {
	clients, err := p.Clients(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for i := range clients {
		if stretched(&clients[i]) {
			ids = append(ids, clients[i].ID)
		}
	}
	if len(ids) > maxNamed {
		ids = append(ids[:maxNamed], fmt.Sprintf("and %d more", len(ids)-maxNamed))
	}
	return found(len(ids) > 0, "", "Clients: "+strings.Join(ids, ", ")+"."), nil
}

func stretched(c *idp.Client) bool {
	for i := range c.Secrets {
		if c.Secrets[i].Stretched() {
			return true
		}
	}
	return false
}
