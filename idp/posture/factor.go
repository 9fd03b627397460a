package posture

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/idp"
)

// named are usernames for a finding, of which it has some.
func named(names []string) string {
	slices.Sort(names)
	if len(names) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return strings.Join(names, ", ")
}

func askAdminsWithoutFactor(ctx context.Context, p *idp.Provider, _ *Input) ([]hit, error) {
	without, _, err := p.AdminFactors(ctx)
	return found(len(without) > 0, "", "Administrators: "+named(without)+"."), err
}

func askAdminsWithoutCodes(ctx context.Context, p *idp.Provider, _ *Input) ([]hit, error) {
	_, without, err := p.AdminFactors(ctx)
	return found(len(without) > 0, "", "Administrators: "+named(without)+"."), err
}

func judgeAdminPolicy(in *Input) []hit {
	return found(!idp.AdminsRequired(in.Config), "mfa.policies", "No second factor is required of administrators.")
}

// maxGrace is how long people may go on without a second factor that is required.
const maxGrace = 7 * 24 * time.Hour

func judgeGrace(in *Input) []hit {
	grace := in.Config.MFA.EnrolGrace
	return found(grace > maxGrace, "mfa.enrol_grace", fmt.Sprintf("mfa.enrol_grace is %s.", config.FormatDuration(grace)))
}

func judgeTrustedBrowsers(in *Input) []hit {
	return found(in.Config.MFA.TrustedBrowser.Enabled, "mfa.trusted_browser.enabled", "mfa.trusted_browser.enabled is true.")
}

func askFormerKey(ctx context.Context, p *idp.Provider, _ *Input) ([]hit, error) {
	n, err := p.FormerKeys(ctx)
	return found(n > 0, "secrets.keys", fmt.Sprintf("Secrets that a former root key seals: %d.", n)), err
}

func askForeignPasskeys(ctx context.Context, p *idp.Provider, _ *Input) ([]hit, error) {
	n, err := p.ForeignPasskeys(ctx)
	return found(n > 0, "mfa.webauthn.rp_id", fmt.Sprintf("Passkeys of another RP ID than %q: %d.", p.PasskeyRPID(), n)), err
}
