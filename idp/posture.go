package idp

import (
	"context"
	"slices"
	"strings"

	"postern/config"
	"postern/idp/guard"
	"postern/idp/secret"
)

// What package posture asks of the gate, of clients and of second factors, without a gate of its own.

// A LockoutGroup is what lockout counts together, as the settings have it.
type LockoutGroup struct {
	Key        string // lockout.parameters or lockout.policies
	Text       string // "username+ip_address"
	Parameters []string
	Limit      int  // the lowest of several
	Permanent  bool // whether it locks until somebody clears it
}

// Has tells whether parameter is counted by g.
func (g *LockoutGroup) Has(parameter string) bool {
	return slices.Contains(g.Parameters, parameter)
}

// LockoutGroups are the groups of lockout.parameters and lockout.policies that can be read.
func LockoutGroups(cfg *config.Config) []LockoutGroup {
	settings, _ := readGate(cfg)
	var groups []LockoutGroup
	for _, g := range settings.guard.Lockout.Groups {
		groups = append(groups, lockoutGroup("lockout.parameters", g))
	}
	for _, policy := range settings.guard.Lockout.Policies {
		for _, g := range policy.Groups {
			groups = append(groups, lockoutGroup("lockout.policies", g))
		}
	}
	return groups
}

func lockoutGroup(key string, g guard.Group) LockoutGroup {
	out := LockoutGroup{Key: key, Limit: g.Rule.Limit, Permanent: g.Rule.Period == 0}
	for i, tier := range g.Rule.Tiers {
		if i == 0 {
			out.Limit, out.Permanent = tier.Limit, false
		}
		out.Permanent = out.Permanent || tier.Period == 0
	}
	for _, p := range g.Parameters {
		out.Parameters = append(out.Parameters, string(p))
	}
	out.Text = strings.Join(out.Parameters, "+")
	return out
}

// LockoutClients are the IDs of the clients that lockout.policies name.
func LockoutClients(cfg *config.Config) []string {
	settings, _ := readGate(cfg)
	var ids []string
	for _, policy := range settings.guard.Lockout.Policies {
		if policy.Client != "" {
			ids = append(ids, policy.Client)
		}
	}
	return ids
}

// WeakerLimit tells whether the limits of text allow more than `factor` times what those of `than`
// do in the same time, to any scope that `than` limits, and which. Texts that cannot be read are
// not judged.
func WeakerLimit(text, than string, factor float64) (scope string, weaker bool) {
	limits, err := guard.ParseLimits(text)
	if err != nil {
		return "", false
	}
	least, err := guard.ParseLimits(than)
	if err != nil {
		return "", false
	}
	for _, want := range least {
		if !atLeast(limits, want, factor) {
			return string(want.Scope), true
		}
	}
	return "", false
}

func atLeast(limits []guard.Limit, want guard.Limit, factor float64) bool {
	return slices.ContainsFunc(limits, func(have guard.Limit) bool {
		return have.Scope == want.Scope && rate(have) <= rate(want)*factor
	})
}

func rate(l guard.Limit) float64 { return float64(l.Amount) / l.Period.Seconds() }

// Stretched tells whether s was made by somebody else and is not as long as those that we generate
// (I-14).
func (s *ClientSecret) Stretched() bool { return !secret.Generated(s.Hash) }

// AdminsRequired tells whether the settings require a second factor of administrators, so that rules
// that cannot be read require none.
func AdminsRequired(cfg *config.Config) bool {
	rules, err := readFactorRules(&cfg.MFA)
	if err != nil {
		return false
	}
	policy, _ := rules.of(&User{Admin: true})
	return policy == FactorsRequired
}

// AdminFactors are the usernames of active administrators, of a hundred at most, who have no second
// factor, and of those who have one and no recovery code that can be used.
func (p *Provider) AdminFactors(ctx context.Context) (without, withoutCodes []string, err error) {
	admins, err := p.store.Admins(ctx)
	if err != nil {
		return nil, nil, stored("list administrators", err)
	}
	for i := range admins {
		u := &admins[i]
		if !u.HasFactor() {
			without = append(without, u.Username)
			continue
		}
		codes, err := p.store.RecoveryCodes(ctx, u.ID)
		if err != nil {
			return nil, nil, stored("list recovery codes", err)
		}
		if unused(codes) == 0 {
			withoutCodes = append(withoutCodes, u.Username)
		}
	}
	return without, withoutCodes, nil
}

// maxSampled bounds how many users are looked at whose passkeys are judged.
const maxSampled = 1000

// FormerKeys counts the secrets of apps that are not sealed with the current root key.
func (p *Provider) FormerKeys(ctx context.Context) (n int, err error) {
	var after ID
	for {
		list, err := p.store.SealedFactors(ctx, after, maxList)
		if err != nil {
			return 0, stored("list apps", err)
		}
		for i := range list {
			if secret.SealedBy(list[i].Sealed) != p.ring.Current() {
				n++
			}
		}
		if len(list) < maxList {
			return n, nil
		}
		after = list[len(list)-1].ID
	}
}

// ForeignPasskeys counts the passkeys that were registered with another RP ID than today's, among those of
// a thousand users.
func (p *Provider) ForeignPasskeys(ctx context.Context) (n int, err error) {
	after, sampled := "", 0
	for sampled < maxSampled {
		users, err := p.store.Users(ctx, after, maxList)
		if err != nil {
			return 0, stored("list users", err)
		}
		for i := range users {
			if !slices.Contains(users[i].Factors, factorPasskey) {
				continue
			}
			sampled++
			list, err := p.store.Factors(ctx, users[i].ID)
			if err != nil {
				return 0, stored("list factors", err)
			}
			n += foreign(list, p.PasskeyRPID())
		}
		if len(users) < maxList {
			break
		}
		after = users[len(users)-1].UsernameKey
	}
	return n, nil
}

// foreign counts the passkeys of another RP ID.
func foreign(list []Authenticator, id string) (n int) {
	for i := range list {
		if r := list[i].Passkey; r != nil && r.RP != "" && r.RP != id {
			n++
		}
	}
	return n
}
