package guard

import "time"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is turned by hand.
type clock struct{ now time.Time }

func (c *clock) turn(d time.Duration) { c.now = c.now.Add(d) }
