package loginui

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"postern/idp"
)

// A wait is how long somebody must wait, and until when.
type wait struct {
	Until  time.Time
	left   time.Duration // in whole seconds
	others string        // the key of what else one can do, "" for nothing
}

func (ui *UI) waitOf(d time.Duration) *wait {
	d = wholeSeconds(d)
	return &wait{Until: ui.now().Add(d), left: d}
}

// wholeSeconds is d rounded up to seconds, one at least.
func wholeSeconds(d time.Duration) time.Duration {
	return max(d+time.Second-1, time.Second).Truncate(time.Second)
}

// scopeOf is whom the limit or the lock behind e counts, "" where nobody knows: the Scope of
// idp.Problem.
func scopeOf(e *idp.Error) string {
	scope, _ := e.Args["scope"].(string)
	return scope
}

// throttled says whose tries were too many, as far as a scope tells.
func (f *frame) throttled(scope string) string {
	switch scope {
	case "ip", "ip+client":
		return f.T("rate.network")
	case "key", "user":
		return f.T("rate.account")
	}
	return f.T("rate.many")
}

// othersThan is the key of what else one can do than wait. No more than may be: a lock that nobody is
// told of may hold beside. A browser that is known has its own count in place of the account's (I-20),
// but not of a user's who is signed in already, nor of a network's.
func othersThan(scope string) string {
	switch scope {
	case "ip", "ip+client":
		return "rate.other.network"
	case "key":
		return "rate.other.browser"
	}
	return "rate.other"
}

// Others is the key of what else one can do, "" for nothing.
func (w *wait) Others() string { return w.others }

// Rest is how long the wait is.
func (w *wait) Rest() time.Duration { return w.left }

// Left is the whole wait in seconds.
func (w *wait) Left() int { return int(w.left / time.Second) }

// Minutes are the whole minutes of the wait.
func (w *wait) Minutes() int { return int(w.left / time.Minute) }

// Seconds are those beyond the minutes.
func (w *wait) Seconds() int { return int(w.left % time.Minute / time.Second) }

// Long tells whether nobody would count the seconds.
func (w *wait) Long() bool { return w.left >= time.Hour }

// Clock is the end as the element time, with its day where it may be another one.
func (w *wait) Clock() template.HTML {
	layout := "15:04:05 MST"
	if w.left >= 12*time.Hour {
		layout = "2006-01-02 15:04 MST"
	}
	return template.HTML(`<time datetime="` + w.Until.Format(time.RFC3339) + `">` + w.Until.Format(layout) + `</time>`)
}

// span puts the two greatest units of d into words: "1 hour 30 minutes".
func (l *locale) span(d time.Duration) string {
	d = wholeSeconds(d)
	var words []string
	for _, unit := range []struct {
		key    string
		length time.Duration
	}{{"unit.days", 24 * time.Hour}, {"unit.hours", time.Hour}, {"unit.minutes", time.Minute}, {"unit.seconds", time.Second}} {
		n := int(d / unit.length)
		d %= unit.length
		if n > 0 {
			words = append(words, l.text(unit.key, "count", n))
		} else if len(words) > 0 {
			break
		}
		if len(words) == 2 {
			break
		}
	}
	return strings.Join(words, " ")
}

// Span is span for templates.
func (f *frame) Span(d time.Duration) string { return f.span(d) }

// iso8601 writes d as ISO 8601 has durations: PT15M, P1DT2H.
func iso8601(d time.Duration) string {
	d = wholeSeconds(d)
	text := "P"
	if days := d / (24 * time.Hour); days > 0 {
		text += fmt.Sprintf("%dD", days)
	}
	rest := strings.ToUpper((d % (24 * time.Hour)).String()) // 2H0M5S
	if rest == "0S" {
		return text
	}
	text += "T"
	for _, unit := range "HMS" {
		amount, after, found := strings.Cut(rest, string(unit))
		if !found {
			continue
		}
		if amount != "0" {
			text += amount + string(unit)
		}
		rest = after
	}
	return text
}
