package guard

import (
	"reflect"
	"testing"
	"time"
)

// fuzzRules are rules of every kind, with periods of seconds.
var fuzzRules = []Rule{
	{Aging: Window, Limit: 3, Period: time.Minute},
	{Aging: Window, Limit: 0, Period: time.Minute},
	{Aging: Sliding, Limit: 1, Period: 10 * time.Second},
	{Aging: Sliding, Limit: 5, Period: 20 * time.Second},
	{Aging: Sliding, Limit: 3},
	{Aging: Inactivity, Limit: 4, Period: 15 * time.Second},
	{Aging: Inactivity, Limit: 3},
	{Aging: Sliding, Tiers: []Tier{{2, 5 * time.Second}, {4, 20 * time.Second}, {7, 60 * time.Second}}},
	{Aging: Inactivity, Tiers: []Tier{{1, 5 * time.Second}, {3, 0}}},
}

// The fuzz test plays a list of moments: each byte is how many seconds pass before the next attempt, and
// whether that is a success.
func FuzzS4_65_RulesHoldWhateverTheOrder(f *testing.F) {
	f.Add(byte(3), []byte{0, 1, 2, 3, 4, 5, 30, 131, 132, 1, 1, 1})
	f.Add(byte(7|32), []byte{1, 1, 129, 6, 6, 6, 25, 25, 200, 70})
	f.Add(byte(5|64), []byte{5, 5, 5, 5, 10, 10, 14})
	for i := range fuzzRules {
		f.Add(byte(i), []byte{1, 2, 130, 4, 5, 1, 1, 60, 1, 1, 1, 1, 1, 140})
	}
	f.Fuzz(func(t *testing.T, kind byte, moments []byte) {
		rule := fuzzRules[int(kind&31)%len(fuzzRules)]
		if rule.Aging != Window {
			rule.Prolong, rule.Monitor = kind&32 != 0, kind&64 != 0
		}
		play(t, &rule, moments[:min(len(moments), 200)])
	})
}

func play(t *testing.T, rule *Rule, moments []byte) {
	now := noon
	ends := now.Add(time.Hour)
	var c Count
	var failed []time.Time // that were let through
	for _, b := range moments {
		now = now.Add(time.Duration(b&127)*time.Second + time.Microsecond)
		if !now.Before(ends) {
			return
		}
		before := Count{c.Used, append([]time.Time(nil), c.Times...), c.Locked}
		checkDead(t, rule, c, ends, now)
		next, o := rule.Take(c, ends, now)
		if !reflect.DeepEqual(c, Count{before.Used, c.Times, before.Locked}) || !sameTimes(c.Times, before.Times) {
			t.Fatalf("Take changed what it was given: %+v to %+v", before, c)
		}
		if len(next.Times) > rule.most() {
			t.Fatalf("got %d times, want at most %d", len(next.Times), rule.most())
		}
		checkRefusal(t, rule, next, o, ends, now)
		if b >= 128 && !o.Refused {
			checkGiven(t, rule, c, next, ends, now)
			next = rule.Give(next, now)
		} else if !o.Refused {
			failed = append(failed, now)
		}
		c = next
	}
	checkAmount(t, rule, failed)
}

func sameTimes(a, b []time.Time) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

// checkDead: from Dead on a count is as none, and before it is not.
func checkDead(t *testing.T, rule *Rule, c Count, ends, now time.Time) {
	_, got := rule.Take(c, ends, now)
	_, none := rule.Take(Count{}, ends, now)
	if dead := !now.Before(rule.Dead(c, ends)); dead != (got == none) && rule.Limit+len(rule.Tiers) > 0 {
		t.Fatalf("%+v at %s: got %+v and %+v, dead %v", c, now, got, none, dead)
	}
}

// checkRefusal: what is refused is refused until Until, and no longer.
func checkRefusal(t *testing.T, rule *Rule, c Count, o Outcome, ends, now time.Time) {
	if !o.Refused && !o.Locks {
		return
	}
	if !o.Until.After(now) {
		t.Fatalf("refused at %s until %s", now, o.Until)
	}
	quiet := *rule
	quiet.Prolong = false
	if _, just := quiet.Take(c, ends, o.Until.Add(-time.Microsecond)); just.Refused == rule.Monitor {
		t.Fatalf("just before %s: got %+v", o.Until, just)
	}
	if rule.isWindow() || o.Until.Equal(Forever) {
		return
	}
	if _, then := quiet.Take(c, ends, o.Until); then.Refused {
		t.Fatalf("at %s: got %+v, want a place", o.Until, then)
	}
}

// checkGiven: a place that is given back was never taken.
func checkGiven(t *testing.T, rule *Rule, before, taken Count, ends, now time.Time) {
	switch {
	case len(before.Times) == rule.most() && len(rule.Tiers) > 0:
		return // of the highest tier no more is counted
	case rule.Monitor && now.Before(before.Locked):
		return // nothing was taken, but the lock may be prolonged
	}
	given := rule.Give(taken, now)
	for _, later := range []time.Duration{0, time.Second, 10 * time.Second} {
		_, got := rule.Take(given, ends, now.Add(later))
		if _, want := rule.Take(before, ends, now.Add(later)); got != want {
			t.Fatalf("given back, %s later: got %+v, want %+v", later, got, want)
		}
	}
}

// checkAmount: of a sliding rule, no period has more failures than the limit.
func checkAmount(t *testing.T, rule *Rule, failed []time.Time) {
	if rule.Aging != Sliding || len(rule.Tiers) > 0 || rule.Monitor {
		return
	}
	for i := rule.Limit; i < len(failed); i++ {
		if rule.Period == 0 || failed[i].Sub(failed[i-rule.Limit]) < rule.Period {
			t.Fatalf("more than %d failures in %s: %v", rule.Limit, rule.Period, failed)
		}
	}
}

func TestS4_05_TheBoundaryOfThreeInFifteenSeconds(t *testing.T) {
	for aging, locked := range map[Aging]bool{Sliding: false, Inactivity: true} {
		rule := Rule{Aging: aging, Limit: 3, Period: 15 * time.Second}
		var c Count
		var o Outcome
		for _, second := range []time.Duration{0, 10, 16} {
			c, o = rule.Take(c, time.Time{}, noon.Add(second*time.Second))
		}
		if o.Locks != locked {
			t.Errorf("aging %d: got %+v, want locked %v", aging, o, locked)
		}
	}
}

func TestI16_TheLockOfAnotherPlaceStaysWhenOneIsGivenBack(t *testing.T) {
	rule := Rule{Aging: Sliding, Limit: 3, Period: time.Minute}
	moments := []time.Time{noon, noon.Add(2 * time.Second), noon.Add(time.Second)} // by clocks that differ
	var c Count
	for _, at := range moments {
		c, _ = rule.Take(c, time.Time{}, at)
	}
	if got := rule.Give(c, moments[1]); got.Locked.IsZero() || len(got.Times) != 2 {
		t.Errorf("the second: got %+v, want the lock and two times", got)
	}
	if got := rule.Give(c, moments[2]); !got.Locked.IsZero() || len(got.Times) != 2 {
		t.Errorf("the third, which locked: got %+v, want no lock and two times", got)
	}
	if got := rule.Give(c, noon.Add(time.Hour)); !reflect.DeepEqual(got, c) {
		t.Errorf("none of them: got %+v, want %+v", got, c)
	}
}

func TestS4_41_NoMoreIsKeptThanTheHighestTierCounts(t *testing.T) {
	rule := Rule{Tiers: []Tier{{Limit: 2, Period: time.Hour}}}
	c, _ := rule.Take(Count{}, time.Time{}, noon.Add(5*time.Millisecond))
	c, _ = rule.Take(c, time.Time{}, noon.Add(2*time.Millisecond)) // by another clock, and so its lock ends earlier
	c, o := rule.Take(c, time.Time{}, noon.Add(time.Hour+3*time.Millisecond))
	if len(c.Times) != 2 || o.Used != 2 || !o.Locks {
		t.Errorf("got %+v and %+v, want the last two", c, o)
	}
}

func TestAWindowIsNewAtItsEnd(t *testing.T) {
	rule := Rule{Aging: Window, Limit: 1, Period: time.Minute}
	for at, want := range map[time.Duration]Outcome{
		time.Minute - time.Microsecond: {Refused: true, Used: 1, Until: noon.Add(time.Minute)},
		time.Minute:                    {Used: 1},
	} {
		if _, got := rule.Take(Count{Used: 1}, noon.Add(time.Minute), noon.Add(at)); got != want {
			t.Errorf("after %s: got %+v, want %+v", at, got, want)
		}
	}
}

func TestNothingIsGivenBackToAnEmptyWindow(t *testing.T) {
	rule := Rule{Aging: Window, Limit: 1}
	if got := rule.Give(Count{}, noon); !reflect.DeepEqual(got, Count{}) {
		t.Errorf("got %+v, want nothing", got)
	}
}
