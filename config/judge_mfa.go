package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// assignment takes MATCH => WORD apart.
func assignment(line string) (match, word string, ok bool) {
	match, word, ok = strings.Cut(line, "=>")
	return strings.TrimSpace(match), strings.TrimSpace(word), ok
}

// factorPolicies are the words of mfa.policy.
var factorPolicies = []string{"off", "optional", "required"}

func judgeFactorPolicies(c *Config) (all []complaint) {
	for _, line := range c.MFA.Policies {
		match, word, ok := assignment(line)
		group, isGroup := strings.CutPrefix(match, "group=")
		switch {
		case !ok:
			all = append(all, complaint{"CFG-085", fmt.Sprintf("has %s, which assigns nothing", quoted(line)), "Write MATCH => POLICY: role=admin => required."})
		case match != "role=admin" && (!isGroup || group == ""):
			all = append(all, complaint{"CFG-085", fmt.Sprintf("has %s, which is for nobody", quoted(line)), "Write role=admin or group=NAME before the arrow."})
		case !slices.Contains(factorPolicies, word):
			all = append(all, complaint{"CFG-085", fmt.Sprintf("has %s, whose policy is none", quoted(line)), "Write " + enumerate(factorPolicies) + " behind the arrow."})
		}
	}
	return all
}

func judgeRequiredFrom(c *Config) *complaint {
	if bad := judgeInstant(c.MFA.RequiredFrom); bad != nil {
		return &complaint{"CFG-085", bad.reason, bad.remedy}
	}
	return nil
}

// acrLevels are what a value of acr can stand for.
var acrLevels = []string{"pwd", "mfa", "phr", "phrh"}

func judgeACR(c *Config) (all []complaint) {
	var values []string
	for _, line := range c.MFA.ACR {
		value, level, ok := assignment(line)
		switch {
		case !ok:
			all = append(all, complaint{"CFG-086", fmt.Sprintf("has %s, which assigns nothing", quoted(line)), "Write VALUE => LEVEL: urn:postern:acr:mfa => mfa."})
		case value == "" || strings.ContainsAny(value, " \t\r\n\""):
			all = append(all, complaint{"CFG-086", fmt.Sprintf("has %s, whose value is none", quoted(line)), "Write a URI or a word without spaces before the arrow."})
		case !slices.Contains(acrLevels, level):
			all = append(all, complaint{"CFG-086", fmt.Sprintf("has %s, whose level is none", quoted(line)), "Write " + enumerate(acrLevels) + " behind the arrow."})
		case slices.Contains(values, value):
			all = append(all, complaint{"CFG-086", fmt.Sprintf("has %s twice", quoted(value)), "Remove one of the two."})
		}
		values = append(values, value)
	}
	return all
}

// judgeShownName is about a name that apps and browsers show; by default it is branding.name.
func judgeShownName(name string) *complaint {
	if name == "" {
		return nil
	}
	return judgeName(&Config{Branding: Branding{Name: name}})
}

// judgeRPID holds the relying party ID to what browsers do (Web Authentication Level 3 §5.1.3): they refuse
// every other, and nobody could register or sign in.
func judgeRPID(c *Config) *complaint {
	id := c.MFA.WebAuthn.RPID
	issuer, err := url.Parse(c.Issuer)
	if id == "" || err != nil || issuer.Hostname() == "" {
		return nil // or the issuer has this problem
	}
	host := issuer.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return &complaint{"CFG-087", "is for an issuer whose host is an address, where browsers know no passkeys", "Remove it, or give the issuer a name."}
	}
	if id == host || strings.Contains(id, ".") && strings.HasSuffix(host, "."+id) {
		return nil
	}
	return &complaint{"CFG-087", fmt.Sprintf("is neither the issuer's host, which is %s, nor a domain that it is in", host),
		"Write " + host + ", a domain that it ends with, or nothing."}
}

func judgeRelatedOrigins(c *Config) *complaint {
	for _, origin := range c.MFA.WebAuthn.RelatedOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || origin != "https://"+u.Host || origin != strings.ToLower(origin) {
			return &complaint{"CFG-087", fmt.Sprintf("has %s, which is no https origin", quoted(origin)), "Write scheme and host alone, in small letters: https://example.org."}
		}
	}
	return nil
}

var aaguid = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

func judgeAdminModels(c *Config) *complaint {
	for _, model := range c.MFA.WebAuthn.AdminModels {
		if !aaguid.MatchString(model) {
			return &complaint{"CFG-087", fmt.Sprintf("has %s, which is no AAGUID", quoted(model)),
				"Write it as its maker does: ee882879-721c-4913-9775-3dfcce97072a."}
		}
	}
	return nil
}
