package guard

import (
	"net/netip"
	"strings"
)

// ClientAddress is the address of who sent a request: the peer of the connection, or what the
// proxies in front say of it. forwarded are the values of X-Forwarded-For, one a header line, in
// their order. hops is how many proxies append to it; with 0 the header is not read. Where trusted
// is not empty, the peer must be in one of its networks, and so must every proxy on the way.
//
// The header is read from the right, since only what our own proxies appended is known to be true.
// Whatever is missing or unreadable there leaves the peer's address.
func ClientAddress(peer netip.Addr, forwarded []string, hops int, trusted []netip.Prefix) netip.Addr {
	peer = plain(peer)
	if hops <= 0 || !trusts(trusted, peer) {
		return peer
	}
	entries := fromTheRight{lines: forwarded}
	for hop := 1; ; hop++ {
		text, ok := entries.next()
		if !ok {
			return peer
		}
		a, ok := parseAddress(text)
		if !ok {
			return peer
		}
		// One that is no proxy of ours is who came to us, whatever the count says.
		if hop == hops || !trusts(trusted, a) {
			return a
		}
	}
}

func trusts(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return len(networks) == 0
}

// fromTheRight walks the entries of header lines from the last to the first.
type fromTheRight struct {
	lines []string
}

func (f *fromTheRight) next() (string, bool) {
	if len(f.lines) == 0 {
		return "", false
	}
	last := &f.lines[len(f.lines)-1]
	line := *last
	i := strings.LastIndexByte(line, ',')
	if i < 0 {
		f.lines = f.lines[:len(f.lines)-1]
		return line, true
	}
	f.lines = append(f.lines[:len(f.lines)-1:len(f.lines)-1], line[:i])
	return line[i+1:], true
}

// parseAddress reads one entry: an address, perhaps in brackets, with a port or a zone.
func parseAddress(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
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

// Network is what limits count of an address: the /64 of an IPv6 address, since one subscriber has
// all of it, and an IPv4 address itself.
func Network(a netip.Addr) netip.Prefix {
	a = plain(a)
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for the zero Addr alone, whose Prefix is the zero one
	return p
}
