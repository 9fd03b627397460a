package idp

import "postern/idp/guard"

// GuardOf is the gate of p.
func GuardOf(p *Provider) *guard.Guard { return p.guard }

// SettingsOfGate are what New gives the gate.
func SettingsOfGate(p *Provider) guard.Settings {
	s, _ := readGate(p.cfg)
	return s.guard
}

// TimeHash is the chore of Run.
var TimeHash = (*Provider).timeHash

// BlockNetwork blocks as the honeypot does, in the Tx of ctx.
var BlockNetwork = (*Provider).block
