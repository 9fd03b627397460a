package guardtest

import (
	"testing"
	"time"

	"postern/idp/guard"
)

// A step of a timeline is a failure that is tried at a time, or a success that gives its place back.
type step struct {
	at      time.Duration
	success bool // gives the place back at once
	want    guard.Outcome
	until   time.Duration // of want, from the start; forever for Forever
}

const forever time.Duration = -1

func passed(at time.Duration, used int) step { return step{at: at, want: guard.Outcome{Used: used}} }

func locks(at time.Duration, used int, until time.Duration) step {
	return step{at: at, want: guard.Outcome{Locks: true, Used: used}, until: until}
}

func refused(at time.Duration, used int, until time.Duration) step {
	return step{at: at, want: guard.Outcome{Refused: true, Used: used}, until: until}
}

func succeeded(s step) step {
	s.success = true
	return s
}

const s, m, h, d = time.Second, time.Minute, time.Hour, 24 * time.Hour

var tiers = []guard.Tier{{Limit: 3, Period: m}, {Limit: 6, Period: 10 * m}, {Limit: 10, Period: h}, {Limit: 20, Period: d}}

var timelines = []struct {
	name  string
	rule  guard.Rule
	steps []step
}{
	{"S4-02: the failure at the limit locks, and the right password after it is refused",
		guard.Rule{Aging: guard.Sliding, Limit: 3, Period: 15 * m},
		[]step{passed(0, 1), passed(s, 2), locks(2*s, 3, 15*m+2*s), refused(3*s, 3, 15*m+2*s), refused(15*m+2*s-time.Microsecond, 3, 15*m+2*s), passed(15*m+2*s, 1)}},
	{"S4-05: sliding, each failure expires by itself",
		guard.Rule{Aging: guard.Sliding, Limit: 3, Period: 15 * s},
		[]step{passed(0, 1), passed(10*s, 2), passed(16*s, 2), locks(17*s, 3, 32*s)}},
	{"S4-05: sliding, at the very end of its time a failure counts no more",
		guard.Rule{Aging: guard.Sliding, Limit: 2, Period: 15 * s},
		[]step{passed(0, 1), passed(15*s, 1), locks(30*s-time.Microsecond, 2, 45*s-time.Microsecond)}},
	{"S4-05: by inactivity, failures expire together",
		guard.Rule{Aging: guard.Inactivity, Limit: 3, Period: 15 * s},
		[]step{passed(0, 1), passed(10*s, 2), locks(16*s, 3, 31*s), refused(30*s, 3, 31*s), passed(31*s, 1)}},
	{"S4-05: by inactivity, a pause forgets everything",
		guard.Rule{Aging: guard.Inactivity, Limit: 3, Period: 15 * s},
		[]step{passed(0, 1), passed(14*s, 2), passed(29*s, 1), passed(30*s, 2), locks(44*s, 3, 59*s)}},
	{"S4-44: rolling, at most five in any fifteen minutes",
		guard.Rule{Aging: guard.Sliding, Limit: 5, Period: 15 * m},
		[]step{passed(0, 1), passed(4*m, 2), passed(8*m, 3), passed(12*m, 4), passed(15*m, 4), passed(19*m, 4), locks(20*m, 5, 35*m), refused(34*m, 5, 35*m), passed(35*m, 1)}},
	{"S4-43: classic, the third failure locks for half an hour",
		guard.Rule{Aging: guard.Inactivity, Limit: 3, Period: 30 * m},
		[]step{passed(0, 1), passed(29*m, 2), locks(58*m, 3, 88*m), refused(87*m, 3, 88*m), passed(88*m, 1)}},
	{"S4-45, S4-04: hard, the fifth locks until somebody clears it",
		guard.Rule{Aging: guard.Inactivity, Limit: 5},
		[]step{passed(0, 1), passed(365*d, 2), passed(2*365*d, 3), passed(3*365*d, 4), locks(4*365*d, 5, forever), refused(50*365*d, 5, forever)}},
	{"S4-04: without a cool-off a sliding failure never expires",
		guard.Rule{Aging: guard.Sliding, Limit: 2},
		[]step{passed(0, 1), locks(1000*d, 2, forever), refused(5000*d, 2, forever)}},
	{"S4-06: an attempt during the lock begins it anew where it shall",
		guard.Rule{Aging: guard.Sliding, Limit: 1, Period: 10 * m, Prolong: true},
		[]step{locks(0, 1, 10*m), refused(5*m, 1, 15*m), refused(14*m, 1, 24*m), locks(24*m, 1, 34*m)}},
	{"S4-06: an attempt during the lock does not prolong it by default",
		guard.Rule{Aging: guard.Sliding, Limit: 1, Period: 10 * m},
		[]step{locks(0, 1, 10*m), refused(5*m, 1, 10*m), locks(10*m, 1, 20*m)}},
	{"S4-41: tiers lock for longer and longer",
		guard.Rule{Tiers: tiers, Limit: 3, Period: m},
		[]step{
			passed(0, 1), passed(s, 2), locks(2*s, 3, m+2*s), refused(m, 3, m+2*s),
			locks(m+2*s, 4, 2*m+2*s), locks(2*m+2*s, 5, 3*m+2*s), locks(3*m+2*s, 6, 13*m+2*s), refused(13*m, 6, 13*m+2*s),
			locks(14*m, 7, 24*m), locks(24*m, 8, 34*m), locks(34*m, 9, 44*m), locks(44*m, 10, 104*m), refused(103*m, 10, 104*m),
		}},
	{"S4-41: tiers are forgotten after the longest of them",
		guard.Rule{Tiers: []guard.Tier{{Limit: 2, Period: m}, {Limit: 3, Period: h}}, Limit: 2, Period: m},
		[]step{passed(0, 1), locks(59*m, 2, 60*m), locks(118*m, 3, 178*m), passed(178*m, 1), passed(238*m, 1), locks(239*m, 2, 240*m)}},
	{"S4-41: the highest tier goes on",
		guard.Rule{Tiers: []guard.Tier{{Limit: 1, Period: m}, {Limit: 2, Period: h}}, Limit: 1, Period: m},
		[]step{locks(0, 1, m), locks(m, 2, 61*m), passedAfterAll(61 * m)}},
	{"S4-41, S4-06: an attempt prolongs by the tier that it is in",
		guard.Rule{Tiers: []guard.Tier{{Limit: 1, Period: m}, {Limit: 2, Period: h}}, Limit: 1, Period: m, Prolong: true},
		[]step{locks(0, 1, m), refused(30*s, 1, 90*s), locks(90*s, 2, 90*s+h), refused(30*m, 2, 90*m)}},
	{"S4-41: a tier without an end stays",
		guard.Rule{Tiers: []guard.Tier{{Limit: 1, Period: m}, {Limit: 2}}, Limit: 1, Period: m},
		[]step{locks(0, 1, m), locks(365*d, 2, forever), refused(3650*d, 2, forever)}},
	{"S4-03: a dry run refuses nobody and tells of a lock once",
		guard.Rule{Aging: guard.Sliding, Limit: 2, Period: 10 * m, Monitor: true},
		[]step{passed(0, 1), locks(m, 2, 11*m), {at: 2 * m, want: guard.Outcome{Used: 2}, until: 11 * m}, {at: 10 * m, want: guard.Outcome{Used: 2}, until: 11 * m}, passed(11*m, 1), locks(12*m, 2, 22*m)}},
	{"I-16: successes leave no trace",
		guard.Rule{Aging: guard.Sliding, Limit: 2, Period: 10 * m},
		[]step{succeeded(passed(0, 1)), passed(s, 1), succeeded(locks(2*s, 2, 10*m+2*s)), succeeded(locks(3*s, 2, 10*m+3*s)), locks(4*s, 2, 10*m+4*s), refused(5*s, 2, 10*m+4*s)}},
	{"I-16: a success during a dry run leaves no trace",
		guard.Rule{Aging: guard.Inactivity, Limit: 1, Period: 10 * m, Monitor: true},
		[]step{succeeded(locks(0, 1, 10*m)), locks(s, 1, 10*m+s), succeeded(step{at: 2 * s, want: guard.Outcome{Used: 1}, until: 10*m + s}), {at: 3 * s, want: guard.Outcome{Used: 1}, until: 10*m + s}}},
}

// passedAfterAll is the failure at the end of the longest lock: everything before it is forgotten,
// and it locks for the lowest tier.
func passedAfterAll(at time.Duration) step { return locks(at, 1, at+m) }

func testTimelines(b *bench) {
	for i, line := range timelines {
		b.Run(line.name, func(t *testing.T) {
			part := &bench{T: t, store: b.store}
			c := part.counter(byte(i+1), line.rule)
			for _, step := range line.steps {
				part.now = b.now.Add(step.at)
				want := step.want
				switch step.until {
				case 0:
				case forever:
					want.Until = guard.Forever
				default:
					want.Until = b.now.Add(step.until)
				}
				if got := part.reserve(c)[0]; !same(got, want) {
					t.Fatalf("after %s: got %+v, want %+v", step.at, got, want)
				}
				if step.success {
					part.release(part.now, c)
				}
			}
		})
	}
}
