package guard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Scope says whose attempts a limit counts together.
type Scope string

// The scopes. There is none that counts by client alone: with it anybody could turn a client off
// (I-14).
const (
	ByAddress          Scope = "ip"   // the network of the address
	ByKey              Scope = "key"  // the account, or the name where that is nobody's
	ByUser             Scope = "user" // the user who is signed in
	ByAddressAndClient Scope = "ip+client"
	Global             Scope = "global" // everybody together
)

// byAddress tells whether s counts each network for itself.
func (s Scope) byAddress() bool { return s == ByAddress || s == ByAddressAndClient }

// A Limit allows an amount of something in a period, to each one of a scope. An Amount of 0
// refuses always.
type Limit struct {
	Amount int
	Period time.Duration
	Scope  Scope
}

// String writes l in the grammar of ParseLimits, its period in the largest unit that it is whole in.
func (l Limit) String() string {
	period := strconv.FormatInt(int64(l.Period/time.Second), 10) + "s"
	for _, unit := range "mhd" {
		if size := units[byte(unit)]; l.Period >= size && l.Period%size == 0 {
			period = strconv.FormatInt(int64(l.Period/size), 10) + string(unit)
		}
	}
	if strings.HasPrefix(period, "1") && len(period) == len("1s") { // as the settings have it
		period = period[1:]
	}
	return fmt.Sprintf("%d/%s/%s", l.Amount, period, l.Scope)
}

const (
	maxAmount = 1_000_000_000
	maxPeriod = 366 * 24 * time.Hour
)

// ParseLimits reads AMOUNT/PERIOD/SCOPE[,…]. The amount is a whole number; the period is a unit
// (s, m, h or d) with a number before it, or without for 1; the scope is ip, key, user,
// ip+client or global, ip where it is missing. All limits hold at the same time. The empty text and "false"
// limit nothing. Its errors are predicates about the text.
func ParseLimits(text string) ([]Limit, error) {
	if t := strings.TrimSpace(text); t == "" || t == "false" {
		return nil, nil
	}
	var limits []Limit
	for part := range strings.SplitSeq(text, ",") {
		l, err := parseLimit(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		limits = append(limits, l)
	}
	return limits, nil
}

func parseLimit(text string) (l Limit, err error) {
	if text == "" {
		return l, fmt.Errorf("has an empty limit: write AMOUNT/PERIOD/SCOPE between two commas")
	}
	fields := strings.Split(text, "/")
	switch {
	case len(fields) == 1:
		return l, fmt.Errorf("has no period in %q: write AMOUNT/PERIOD/SCOPE, such as 10/m/ip", text)
	case len(fields) > 3:
		return l, fmt.Errorf("has too many slashes in %q: write AMOUNT/PERIOD/SCOPE, such as 10/m/ip", text)
	case len(fields) == 2:
		fields = append(fields, string(ByAddress))
	}
	if l.Amount, err = parseAmount(fields[0]); err != nil {
		return l, err
	}
	if l.Period, err = parsePeriod(fields[1]); err != nil {
		return l, err
	}
	l.Scope, err = parseScope(fields[2])
	return l, err
}

func parseAmount(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n > maxAmount {
		return 0, fmt.Errorf("has the amount %q: write a whole number from 0 to %d", text, maxAmount)
	}
	return int(n), nil
}

var units = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}

func parsePeriod(text string) (time.Duration, error) {
	teach := fmt.Errorf("has the period %q, which is no period: write a unit, s, m, h or d, with a number before it where it is not 1, such as 5m", text)
	if text == "" {
		return 0, teach
	}
	unit, ok := units[text[len(text)-1]]
	if !ok {
		return 0, teach
	}
	number := 1.0
	if digits := text[:len(text)-1]; digits != "" {
		if strings.Trim(digits, "0123456789.") != "" { // ParseFloat also takes 1e9, Inf and 0x1p3
			return 0, teach
		}
		var err error
		if number, err = strconv.ParseFloat(digits, 64); err != nil {
			return 0, teach
		}
	}
	seconds := math.Round(number * unit.Seconds())
	if seconds < 1 || seconds > maxPeriod.Seconds() {
		return 0, fmt.Errorf("has the period %q: it must be from 1s to 366d", text)
	}
	return time.Duration(seconds) * time.Second, nil
}

func parseScope(text string) (Scope, error) {
	switch s := Scope(text); s {
	case ByAddress, ByKey, ByUser, ByAddressAndClient, Global:
		return s, nil
	case "client":
		return "", fmt.Errorf(`has the scope "client": with it a stranger could turn a client off, write ip+client`)
	}
	return "", fmt.Errorf("has the scope %q, which is no scope: write ip, key, user, ip+client or global", text)
}
