package idp

// What a session's methods amount to.
var (
	Mark     = (*Interaction).mark
	With     = Methods.with
	ReadACRs = readACRs
	SudoOver = (*Provider).sudoOverFactors
)

// RulesOf are the rules by which p asks for second factors.
func RulesOf(p *Provider) *FactorRules { return p.factorRules }
