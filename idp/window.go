package idp

import (
	"fmt"
	"strings"
	"time"

	"postern/config"
)

// A signUpWindow says when people may sign up, whom signup.mode lets.
type signUpWindow struct {
	from, until time.Time // zero for no bound
	// opens and closes are minutes of the day in zone; nil for all day. They may lie on both sides of
	// midnight.
	zone          *time.Location
	opens, closes int
}

// readSignUpWindow reads the settings. Its error names the key.
func readSignUpWindow(c *config.Signup) (w signUpWindow, err error) {
	for _, one := range []struct {
		key, text string
		at        *time.Time
	}{{"signup.open_from", c.OpenFrom, &w.from}, {"signup.open_until", c.OpenUntil, &w.until}} {
		if one.text == "" {
			continue
		}
		if *one.at, err = time.Parse(time.RFC3339, one.text); err != nil {
			return w, fmt.Errorf("%s is %q: write a time as 2026-01-31T09:00:00Z", one.key, one.text)
		}
	}
	if c.OpenHours == "" {
		return w, nil
	}
	bad := fmt.Errorf("signup.open_hours is %q: write hours and a time zone as 09:00-17:00 Europe/Berlin", c.OpenHours)
	hours, zone, _ := strings.Cut(c.OpenHours, " ")
	first, last, ok := strings.Cut(hours, "-")
	if w.zone, err = time.LoadLocation(strings.TrimSpace(zone)); err != nil || zone == "" || !ok {
		return w, bad
	}
	if w.opens, ok = minuteOf(first); !ok {
		return w, bad
	}
	if w.closes, ok = minuteOf(last); !ok || w.opens == w.closes {
		return w, bad
	}
	return w, nil
}

// minuteOf reads HH:MM.
func minuteOf(text string) (int, bool) {
	at, err := time.Parse("15:04", text)
	return at.Hour()*60 + at.Minute(), err == nil && len(text) == 5
}

// open tells whether people may sign up at now: from the first minute on, before the last.
func (w *signUpWindow) open(now time.Time) bool {
	return !now.Before(w.from) && (w.until.IsZero() || now.Before(w.until)) && w.inHours(now)
}

func (w *signUpWindow) inHours(at time.Time) bool {
	if w.zone == nil {
		return true
	}
	local := at.In(w.zone)
	minute := local.Hour()*60 + local.Minute()
	if w.opens < w.closes {
		return w.opens <= minute && minute < w.closes
	}
	return w.opens <= minute || minute < w.closes
}

// next is when people may sign up next after now, at which they may not; zero for never.
func (w *signUpWindow) next(now time.Time) time.Time {
	at := now
	if at.Before(w.from) {
		at = w.from
	}
	if !w.inHours(at) {
		local := at.In(w.zone)
		day := local.Day()
		if local.Hour()*60+local.Minute() >= w.opens {
			day++
		}
		at = time.Date(local.Year(), local.Month(), day, w.opens/60, w.opens%60, 0, 0, w.zone).UTC()
	}
	if !w.until.IsZero() && !at.Before(w.until) {
		return time.Time{}
	}
	return at
}
