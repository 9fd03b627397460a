package posture

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/idp"
)

func judgeLockoutOff(in *Input) []hit {
	l := in.Config.Lockout
	if !l.Enabled || len(l.Parameters) > 0 {
		return found(!l.Enabled, "lockout.enabled", "lockout.enabled is false.")
	}
	return []hit{{key: "lockout.parameters", detail: "lockout.parameters is empty: nobody is locked out but by lockout.policies.", remedy: "Remove lockout.parameters, or name some."}}
}

func judgeDryRun(in *Input) []hit {
	return found(in.Config.Lockout.Enabled && in.Config.Lockout.DryRun, "lockout.dry_run", "lockout.dry_run is true.")
}

func judgeDummy(in *Input) []hit {
	return found(in.Config.Lockout.Handler == "dummy", "lockout.handler", "lockout.handler is dummy.")
}

func judgeMemoryLimits(in *Input) []hit {
	return memory(in, "rate_limits are counted in the memory of each process.")
}

func judgeMemoryLockout(in *Input) []hit {
	return memory(in, "lockout is counted in the memory of each process.")
}

// memory is worse with PostgreSQL, which is there for several processes.
func memory(in *Input, detail string) []hit {
	if in.Config.Lockout.Handler != "memory" {
		return nil
	}
	h := hit{key: "lockout.handler", detail: "lockout.handler is memory: " + detail}
	if strings.HasPrefix(in.Config.Database.URL, "postgres") {
		return []hit{h.at(Error)}
	}
	return []hit{h}
}

func judgeRedis(in *Input) []hit {
	return found(in.Config.Lockout.Handler == "redis", "lockout.handler", "lockout.handler is redis.")
}

// groups are those that lockout counts by. Where they cannot be read W221 says so.
func groups(in *Input) []idp.LockoutGroup {
	if !in.Config.Lockout.Enabled {
		return nil
	}
	return idp.LockoutGroups(in.Config)
}

// groupsWhere is a hit for each group of which is() is true.
func groupsWhere(in *Input, is func(g *idp.LockoutGroup) bool, detail string) []hit {
	var hits []hit
	for _, g := range groups(in) {
		if h := (hit{key: g.Key, detail: fmt.Sprintf(detail, g.Text)}); is(&g) && !slices.Contains(hits, h) {
			hits = append(hits, h)
		}
	}
	return hits
}

// loud is the number of failures that a stranger needs, and that others notice.
const loud = 50

func judgeWithoutAddress(in *Input) []hit {
	return groupsWhere(in, func(g *idp.LockoutGroup) bool {
		return !g.Has("ip_address") && !g.Has("device_cookie") && g.Limit < loud
	}, "Failures are counted by %s, whatever address they come from.")
}

func judgeUserAgent(in *Input) []hit {
	return groupsWhere(in, func(g *idp.LockoutGroup) bool { return g.Has("user_agent") }, "Failures are counted by %s.")
}

func judgePermanent(in *Input) []hit {
	var hits []hit
	for _, g := range groups(in) {
		flag := "--all"
		switch {
		case g.Has("username"):
			flag = "--user NAME"
		case g.Has("ip_address"):
			flag = "--ip ADDRESS"
		}
		h := hit{
			key: g.Key, detail: fmt.Sprintf("What is counted by %s is locked until somebody clears it.", g.Text),
			remedy: fmt.Sprintf("Set a cool-off time, or have somebody at hand for `postern lockout reset %s`.", flag),
		}
		if g.Permanent && !slices.Contains(hits, h) {
			hits = append(hits, h)
		}
	}
	return hits
}

// A lockoutRule is when and for how long something locks, as it is written.
type lockoutRule struct {
	group                string // "username+ip_address", "" for those without a rule of their own
	limitKey, cooloffKey string
	limit                int
	cooloff              string
}

// lockoutRules are those of l.
func lockoutRules(l *config.Lockout) []lockoutRule {
	rules := []lockoutRule{{"", "lockout.failure_limit", "lockout.cooloff_time", l.FailureLimit, l.CooloffTime}}
	if n := len(l.Tiers); n > 0 {
		first, _, _ := strings.Cut(l.Tiers[0], ":")
		_, longest, _ := strings.Cut(l.Tiers[n-1], ":")
		rules[0] = lockoutRule{"", "lockout.tiers", "lockout.tiers", number(first), longest}
	}
	for _, text := range l.Parameters {
		rules = append(rules, ownRule("lockout.parameters", text)...)
	}
	for _, text := range l.Policies {
		_, list, _ := strings.Cut(text, "=>")
		for group := range strings.SplitSeq(list, ",") {
			rules = append(rules, ownRule("lockout.policies", group)...)
		}
	}
	return rules
}

// ownRule is the one behind the colon of a group, if it has one.
func ownRule(key, text string) []lockoutRule {
	group, own, has := strings.Cut(strings.TrimSpace(text), ":")
	if !has {
		return nil
	}
	limit, cooloff, _ := strings.Cut(own, "/")
	return []lockoutRule{{group, key, key, number(limit), cooloff}}
}

// number is 0 for what is none.
func number(text string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(text))
	return n
}

// span is a cool-off time with an end.
func span(cooloff string) (time.Duration, bool) {
	cooloff = strings.TrimSpace(cooloff)
	if hours, err := strconv.ParseFloat(cooloff, 64); err == nil {
		return time.Duration(hours * float64(time.Hour)), true
	}
	if iso, ok := strings.CutPrefix(cooloff, "P"); ok {
		cooloff = strings.ToLower(strings.Replace(iso, "T", "", 1))
	}
	return config.ParseDuration(cooloff)
}

func judgeWeakLockout(in *Input) []hit {
	if !in.Config.Lockout.Enabled || len(idp.JudgeGate(in.Config)) > 0 { // W221 tells
		return nil
	}
	var hits []hit
	usual := lockoutRules(&config.Default().Lockout)
	for _, r := range lockoutRules(&in.Config.Lockout) {
		than := usual[max(0, slices.IndexFunc(usual, func(u lockoutRule) bool { return u.group == r.group }))]
		of := ""
		if r.group != "" {
			of = " of " + r.group
		}
		hits = append(hits, found(r.limit > weaker*than.limit, r.limitKey,
			fmt.Sprintf("%s%s locks at the failure %d, more than %d times the default of %d.", r.limitKey, of, r.limit, weaker, than.limit))...)
		d, ends := span(r.cooloff)
		least, _ := span(than.cooloff)
		hits = append(hits, found(ends && d*weaker < least, r.cooloffKey,
			fmt.Sprintf("%s%s locks for %s, less than a tenth of the default of %s.", r.cooloffKey, of, strings.TrimSpace(r.cooloff), than.cooloff))...)
	}
	return hits
}

// manyHours is what a cool-off time in hours is seldom more than, and one in minutes seldom less.
const manyHours = 4

func judgeHours(in *Input) []hit {
	var hits []hit
	for _, r := range lockoutRules(&in.Config.Lockout) {
		n, err := strconv.Atoi(strings.TrimSpace(r.cooloff))
		if err != nil || n <= manyHours {
			continue
		}
		hits = append(hits, hit{
			key: r.cooloffKey, detail: fmt.Sprintf("%s: %d is %d hours, as in django-axes.", r.cooloffKey, n, n),
			remedy: fmt.Sprintf("Write %dh, or %dm for minutes.", n, n),
		})
	}
	return hits
}

func judgeRedirect(in *Input) []hit {
	l := in.Config.Lockout
	return found(l.RedirectURL != "" && l.Response != "redirect", "lockout.redirect_url",
		fmt.Sprintf("lockout.redirect_url has no effect, since lockout.response is %s.", l.Response))
}

func judgeProlonged(in *Input) []hit {
	return found(in.Config.Lockout.Enabled && in.Config.Lockout.ResetCooloffOnFailure, "lockout.reset_cooloff_on_failure",
		"lockout.reset_cooloff_on_failure is true.")
}

func judgeTiers(in *Input) []hit {
	if len(in.Config.Lockout.Tiers) == 0 {
		return nil
	}
	var hits []hit
	for _, key := range []string{"lockout.failure_limit", "lockout.cooloff_time"} {
		hits = append(hits, found(in.Set(key), key, key+" is set beside lockout.tiers.")...)
	}
	return hits
}

func judgeDeprecated(in *Input) []hit {
	l := in.Config.Lockout
	var hits []hit
	for _, old := range []struct {
		set        bool
		key, today string
	}{
		{l.OnlyUserFailures, "lockout.only_user_failures", "[username]"},
		{l.LockOutByCombinationUserAndIP, "lockout.lock_out_by_combination_user_and_ip", "[username+ip_address]"},
		{l.LockOutByUserOrIP, "lockout.lock_out_by_user_or_ip", "[username, ip_address]"},
		{l.UseUserAgent, "lockout.use_user_agent", "[ip_address+user_agent]"},
	} {
		if old.set {
			hits = append(hits, hit{key: old.key, detail: old.key + " is set.", remedy: "Write `lockout.parameters: " + old.today + "` in its place."})
		}
	}
	return hits
}

func judgeGate(in *Input) []hit {
	var hits []hit
	for _, p := range idp.JudgeGate(in.Config) {
		hits = append(hits, hit{key: p.Key, detail: p.Key + " " + p.Reason + ".", remedy: p.Remedy})
	}
	return hits
}

func askPolicyClients(ctx context.Context, p *idp.Provider, in *Input) ([]hit, error) {
	named := idp.LockoutClients(in.Config)
	if len(named) == 0 {
		return nil, nil
	}
	clients, err := p.Clients(ctx)
	if err != nil {
		return nil, err
	}
	var hits []hit
	for _, id := range named {
		known := slices.ContainsFunc(clients, func(c idp.Client) bool { return c.ID == id })
		hits = append(hits, found(!known, "lockout.policies", "There is no client "+id+".")...)
	}
	return hits, nil
}

func judgeHoneypot(in *Input) []hit {
	return found(len(in.Config.Honeypot.Paths) == 0, "honeypot.paths", "honeypot.paths is empty.")
}
