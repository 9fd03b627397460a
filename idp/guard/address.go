package guard

import (
	"net/netip"
	"strings"
)

// Proxies says which proxies in front are believed about a client's address. The zero Proxies
// believe none.
type Proxies struct {
	// Hops is how many proxies append to X-Forwarded-For; with 0 it is not read.
	Hops int
	// Trusted are the networks of those proxies. Where it is not empty, the peer must be in one of
	// them, and so must every proxy on the way.
	Trusted []netip.Prefix
	// Headers are names of headers with one address alone, in the order of their preference, before
	// X-Forwarded-For. They are believed from Trusted alone.
	Headers []string
	// LeftMost takes the first entry of X-Forwarded-For, which is true only where the outermost
	// proxy replaces the header.
	LeftMost bool
}

// Ignored is why a header was not believed, "" where it was, or where there is none and nobody said
// that there would be.
type Ignored string

// The reasons.
const (
	UntrustedPeer Ignored = "untrusted_peer"  // who connected is not in Trusted
	NotOneAddress Ignored = "not_one_address" // a list, or no address, where there must be one
	TooFewEntries Ignored = "too_few_entries" // fewer than Hops
	Missing       Ignored = "missing"         // who connected is in Trusted and sent none
)

// ClientAddress is the address of who sent a request: the peer of the connection, or what the
// proxies in front say of it. header returns the values of a header, one a line, in their order.
//
// X-Forwarded-For is read from the right, since only what our own proxies appended is known to be
// true. Whatever is missing or unreadable leaves the peer's address; no header is an error.
func (p *Proxies) ClientAddress(peer netip.Addr, header func(name string) []string) (netip.Addr, Ignored) {
	peer = plain(peer)
	for _, name := range p.Headers {
		if values := header(name); len(values) > 0 {
			return p.single(peer, values)
		}
	}
	if p.Hops <= 0 {
		return peer, p.without(peer)
	}
	lines := header("X-Forwarded-For")
	if len(lines) == 0 {
		return peer, p.without(peer)
	}
	if !p.trusts(peer) {
		return peer, UntrustedPeer
	}
	if !p.enough(lines) {
		return peer, TooFewEntries
	}
	if p.LeftMost {
		return p.first(peer, lines)
	}
	return p.nearest(peer, lines)
}

// without is why a request without any header has the peer's address.
func (p *Proxies) without(peer netip.Addr) Ignored {
	if _, in := within(p.Trusted, peer); in && (p.Hops > 0 || len(p.Headers) > 0) {
		return Missing
	}
	return ""
}

// enough tells whether there are as many entries as proxies append.
func (p *Proxies) enough(lines []string) bool {
	entries := fromTheRight{lines: lines}
	for range p.Hops {
		if _, ok := entries.next(); !ok {
			return false
		}
	}
	return true
}

// trusts tells whether a may be a proxy of ours.
func (p *Proxies) trusts(a netip.Addr) bool {
	_, in := within(p.Trusted, a)
	return in || len(p.Trusted) == 0
}

// within finds the first of networks that a is in. a is plain.
func within(networks []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	for _, n := range networks {
		if n.Contains(a) {
			return n, true
		}
	}
	return netip.Prefix{}, false
}

// single is the address of a header that has one alone.
func (p *Proxies) single(peer netip.Addr, values []string) (netip.Addr, Ignored) {
	if _, in := within(p.Trusted, peer); !in {
		return peer, UntrustedPeer
	}
	if a, ok := parseAddress(values[0]); ok && len(values) == 1 {
		return a, ""
	}
	return peer, NotOneAddress
}

// first is the left-most entry.
func (p *Proxies) first(peer netip.Addr, lines []string) (netip.Addr, Ignored) {
	text, _, _ := strings.Cut(lines[0], ",")
	if a, ok := parseAddress(text); ok {
		return a, ""
	}
	return peer, NotOneAddress
}

// nearest is the entry that is as many from the right as there are proxies. One before it that is no
// proxy of ours is who came to us, past the outer ones: what stands left of it is theirs.
func (p *Proxies) nearest(peer netip.Addr, lines []string) (netip.Addr, Ignored) {
	entries := fromTheRight{lines: lines}
	for hop := 1; ; hop++ {
		text, _ := entries.next()
		a, ok := parseAddress(text)
		if !ok {
			return peer, NotOneAddress
		}
		if hop == p.Hops || !p.trusts(a) {
			return a, ""
		}
	}
}

// fromTheRight walks the entries of header lines from the last to the first.
type fromTheRight struct {
	lines []string
}

func (f *fromTheRight) next() (string, bool) {
	if len(f.lines) == 0 {
		return "", false
	}
	last := len(f.lines) - 1
	line := f.lines[last]
	i := strings.LastIndexByte(line, ',')
	if i < 0 {
		f.lines = f.lines[:last]
		return line, true
	}
	f.lines = append(f.lines[:last:last], line[:i])
	return line[i+1:], true
}

// maxAddress is more than the text of any address is long, with brackets, zone and port.
const maxAddress = 128

// parseAddress reads one entry: an address, perhaps in brackets, with a port or a zone.
func parseAddress(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if len(text) > maxAddress {
		return netip.Addr{}, false
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return plain(ap.Addr()), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(text)
	return plain(a), err == nil
}

// plain removes what does not tell where an address is: an IPv4 address within IPv6, a zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// subscriber is how many bits of an IPv6 address one subscriber has to itself, at least.
const subscriber = 64

// Network is the network of an address as people see it: the /64 of an IPv6 address, since one
// subscriber has all of it, and an IPv4 address itself.
func Network(a netip.Addr) netip.Prefix { return NetworkOf(a, subscriber) }

// NetworkOf is what is counted as one with an address: so many bits of an IPv6 address, and an IPv4
// address itself. It is the zero Prefix for the zero Addr.
func NetworkOf(a netip.Addr, bits6 int) netip.Prefix { return network(a, 32, bits6) }

func network(a netip.Addr, bits4, bits6 int) netip.Prefix {
	a = plain(a)
	bits := bits4
	if a.Is6() {
		bits = bits6
	}
	p, _ := a.Prefix(bits) // fails for the zero Addr alone, whose Prefix is the zero one
	return p
}
