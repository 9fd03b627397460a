package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A value is what one layer says of a key, with its place.
type value struct {
	place Place
	text  string
	list  []value
	kind  valueKind
}

type valueKind int

const (
	scalar valueKind = iota
	list
	absent // null: the key is there and nothing stands behind it
)

// A complaint is why a value cannot be, before it has a place.
type complaint struct{ code, reason, remedy string }

// decode writes text into the field v, which is no list.
func decode(v reflect.Value, text string) *complaint {
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
		return nil
	case time.Duration:
		return decodeDuration(v, text)
	case netip.Prefix:
		return decodeNetwork(v, text)
	case bool:
		on, err := strconv.ParseBool(text)
		if err != nil {
			return &complaint{"CFG-011", "is neither true nor false", "Write true or false."}
		}
		v.SetBool(on)
		return nil
	}
	return decodeNumber(v, text)
}

func decodeNumber(v reflect.Value, text string) *complaint {
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	switch {
	case err != nil:
		return &complaint{"CFG-010", "is not a whole number", "Write digits alone."}
	case v.CanInt():
		v.SetInt(n)
	case n < 0 || v.OverflowUint(uint64(n)):
		return &complaint{"CFG-015", "is out of range", "Write a smaller number, at least 0."}
	default:
		v.SetUint(uint64(n))
	}
	return nil
}

func decodeDuration(v reflect.Value, text string) *complaint {
	d, ok := ParseDuration(text)
	if !ok {
		reason := "is not a duration"
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			reason = "has no unit"
		}
		return &complaint{"CFG-012", reason, "Write a number and a unit: 336h, or 14d."}
	}
	v.SetInt(int64(d))
	return nil
}

func decodeNetwork(v reflect.Value, text string) *complaint {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if address, err := netip.ParseAddr(text); err == nil {
			return &complaint{"CFG-013", "is an address, not a network",
				fmt.Sprintf("Write %s/%d for that address alone.", address, address.BitLen())}
		}
		return &complaint{"CFG-013", "is not a network", "Write ADDRESS/BITS: 10.0.0.0/8, or fd00::/8."}
	}
	if prefix.Addr().Is4In6() { // who comes so is taken for what they are: an address of IPv4
		remedy := "Write a network of IPv4, such as 10.0.0.0/8."
		if bits := prefix.Bits() - (128 - 32); bits >= 0 {
			remedy = "Write " + netip.PrefixFrom(prefix.Addr().Unmap(), bits).Masked().String() + "."
		}
		return &complaint{"CFG-013", "is a network of IPv4 written as IPv6, in which no address is", remedy}
	}
	if prefix != prefix.Masked() {
		return &complaint{"CFG-013", "has bits beyond its network", "Write " + prefix.Masked().String() + "."}
	}
	v.Set(reflect.ValueOf(prefix))
	return nil
}

var (
	durationForm = regexp.MustCompile(`^([0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d))+$`)
	durationPart = regexp.MustCompile(`([0-9.]+)(ms|s|m|h|d)`)
)

// ParseDuration reads a number and a unit, or several: 15m, 336h, 14d, 1h30m. A day has 24 hours.
func ParseDuration(text string) (time.Duration, bool) {
	if !durationForm.MatchString(text) {
		return 0, false
	}
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	var sum float64
	for _, part := range durationPart.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(part[1], 64)
		if err != nil {
			return 0, false
		}
		sum += n * float64(units[part[2]])
	}
	if sum > float64(1<<62) {
		return 0, false
	}
	return time.Duration(sum), true
}

// FormatDuration writes d as ParseDuration reads it, in its largest whole unit.
func FormatDuration(d time.Duration) string {
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d%u.size == 0 && (d != 0 || u.name == "s") {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// format writes a field's value as a file would have it.
func format(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(x)
	case []string:
		return formatList(x)
	case []netip.Prefix:
		texts := make([]string, len(x))
		for i, p := range x {
			texts[i] = p.String()
		}
		return formatList(texts)
	}
	return fmt.Sprint(v.Interface())
}

func formatList(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// shown is text as a message may show it: quoted, and masked where the key is secret.
func (k Key) shown(text string) string {
	reference := strings.HasPrefix(text, "file:") || strings.HasPrefix(text, "env:")
	switch {
	case strings.Contains(text, "\n"):
		return masked(text) // what a file holds in place of its path: a private key, perhaps
	case reference || k.Secret == "": // where a secret is, is none
		return quoted(text)
	case k.Secret == "whole":
		return masked(text)
	}
	if text, ok := withoutPassword(text); ok {
		return quoted(text)
	}
	return masked(text)
}

const maxShown = 80 // characters of a value in a message

func quoted(text string) string {
	if r := []rune(text); len(r) > maxShown {
		text = string(r[:maxShown]) + "…"
	}
	return strconv.Quote(text)
}

func masked(text string) string {
	return fmt.Sprintf(`"****" (%d characters)`, utf8.RuneCountInString(text))
}

// withoutPassword is a URL without what lets a reader connect. It is not ok for what is no URL with
// a host, or has an @ behind it: nobody knows where in that the password is.
func withoutPassword(text string) (shown string, ok bool) {
	if strings.HasPrefix(text, "sqlite:") || strings.HasPrefix(text, "dir:") {
		return text, true
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || atBehindHost(text) {
		return "", false
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "****")
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(name, "pass") {
			query.Set(name, "****")
		}
	}
	u.RawQuery = query.Encode()
	return strings.ReplaceAll(u.String(), "%2A", "*"), true
}

// atBehindHost tells whether a URL has an @ behind its authority, which ends at the first / ? or #
// (RFC 3986 §3.2): a password with one of these was not escaped, and the rest of it became the host.
func atBehindHost(text string) bool {
	_, rest, _ := strings.Cut(text, "//")
	end := strings.IndexAny(rest, "/?#")
	return end >= 0 && strings.Contains(rest[end:], "@")
}
