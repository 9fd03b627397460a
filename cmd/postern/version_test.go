package main

import (
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// S1-20: a program says by itself what updates it may expect, and asks nobody for it.
func TestS1_20_VersionTellsWhetherUpdatesComeForIt(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		version, date string
		want          support
	}{
		"a release of today":             {"v1.4.0", "2026-11-23T09:00:00Z", supported},
		"a release of half a year ago":   {"v1.4.0", "2026-05-27T12:00:00Z", supported},
		"an older one":                   {"v1.4.0", "2026-05-27T11:59:59Z", aged},
		"a release without a date":       {"v1.4.0", "", undated},
		"a candidate":                    {"v1.4.0-rc.1", "2026-11-23T09:00:00Z", none},
		"a build between two releases":   {"v1.4.1-0.20261120080000-0123456789ab", "2026-11-20T08:00:00Z", none},
		"a release with changed sources": {"v1.4.0+dirty", "2026-11-20T08:00:00Z", none},
		"a build by hand":                {"(devel)", "", none},
	} {
		t.Run(name, func(t *testing.T) {
			info := &debug.BuildInfo{Main: debug.Module{Version: tc.version}}
			if tc.date != "" {
				info.Settings = append(info.Settings, debug.BuildSetting{Key: "vcs.time", Value: tc.date})
			}
			var b build
			b.read(info)
			if got := b.supportAt(now); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}

	code, out, errs := command(t, "", "", "version")
	if code != exitOK || errs != "" || !strings.Contains(out, thisBuild().Support.words()) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	var b build
	succeed(t, &b, "", "", "version")
	if b.Support != thisBuild().Support || b.Support == "" {
		t.Errorf("JSON has %q", b.Support)
	}
}
