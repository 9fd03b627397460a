package guard

import (
	"net/netip"
	"strings"
	"testing"
)

func TestS0_19_ClientAddressIsReadFromTheRight(t *testing.T) {
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	hundred := strings.TrimSuffix(strings.Repeat("203.0.113.66, ", 99)+"198.51.100.7", ", ")
	for name, tc := range map[string]struct {
		peer      string
		forwarded []string
		hops      int
		trusted   []netip.Prefix
		want      string
	}{
		"no hops, so the header is not read":       {"192.0.2.1", []string{"203.0.113.66"}, 0, nil, "192.0.2.1"},
		"no hops, networks alone do not suffice":   {"10.0.0.1", []string{"203.0.113.66"}, 0, ten, "10.0.0.1"},
		"one hop, a spoofed entry before it":       {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, 1, nil, "198.51.100.7"},
		"two hops":                                 {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7, 10.0.0.2"}, 2, nil, "198.51.100.7"},
		"fewer entries than hops":                  {"10.0.0.1", []string{"198.51.100.7"}, 2, nil, "10.0.0.1"},
		"no header":                                {"10.0.0.1", nil, 1, nil, "10.0.0.1"},
		"an empty header":                          {"10.0.0.1", []string{""}, 1, nil, "10.0.0.1"},
		"doubled headers are joined in order":      {"10.0.0.1", []string{"203.0.113.66", "198.51.100.7, 10.0.0.2"}, 2, nil, "198.51.100.7"},
		"an entry of the first of two headers":     {"10.0.0.1", []string{"198.51.100.7", "10.0.0.2"}, 2, nil, "198.51.100.7"},
		"a hundred entries":                        {"10.0.0.1", []string{hundred}, 1, nil, "198.51.100.7"},
		"a peer that is not trusted":               {"192.0.2.1", []string{"203.0.113.66"}, 1, ten, "192.0.2.1"},
		"a peer that is trusted":                   {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, 1, ten, "198.51.100.7"},
		"past the outer proxy, spoofing":           {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, 2, ten, "198.51.100.7"},
		"through both proxies":                     {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7, 10.0.0.2"}, 2, ten, "198.51.100.7"},
		"garbage":                                  {"10.0.0.1", []string{"unknown"}, 1, nil, "10.0.0.1"},
		"garbage on the way":                       {"10.0.0.1", []string{"198.51.100.7, _hidden"}, 2, nil, "10.0.0.1"},
		"a port":                                   {"10.0.0.1", []string{"198.51.100.7:4711"}, 1, nil, "198.51.100.7"},
		"IPv6 in brackets with a port":             {"10.0.0.1", []string{"[2001:db8::7]:4711"}, 1, nil, "2001:db8::7"},
		"IPv6 in brackets":                         {"10.0.0.1", []string{"[2001:db8::7]"}, 1, nil, "2001:db8::7"},
		"a zone":                                   {"10.0.0.1", []string{"fe80::1%eth0"}, 1, nil, "fe80::1"},
		"IPv4 within IPv6":                         {"::ffff:10.0.0.1", []string{"::ffff:198.51.100.7"}, 1, ten, "198.51.100.7"},
		"a peer with a zone and no header":         {"fe80::1%eth0", nil, 1, nil, "fe80::1"},
		"spaces and empty entries":                 {"10.0.0.1", []string{" 203.0.113.66 ,,  198.51.100.7\t"}, 1, nil, "198.51.100.7"},
		"an empty entry where the address must be": {"10.0.0.1", []string{"198.51.100.7,"}, 1, nil, "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			lines := append([]string(nil), tc.forwarded...)
			got := ClientAddress(netip.MustParseAddr(tc.peer), tc.forwarded, tc.hops, tc.trusted)
			if got.String() != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			for i := range lines {
				if tc.forwarded[i] != lines[i] {
					t.Errorf("the header was changed to %q", tc.forwarded)
				}
			}
		})
	}
}

func FuzzClientAddressOfAnUntrustedPeerIsItsOwn(f *testing.F) {
	f.Add("203.0.113.66, 198.51.100.7", "10.0.0.1")
	f.Add("[::1]:80,,%", "fe80::1%eth0")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, one, two string) {
		peer := netip.MustParseAddr("192.0.2.1")
		if got := ClientAddress(peer, []string{one, two}, 3, trusted); got != peer {
			t.Errorf("got %s, want the peer", got)
		}
		ClientAddress(netip.MustParseAddr("10.0.0.1"), []string{one, two}, 3, trusted) // must not panic
	})
}

func TestS0_22_NetworkIsTheSubscribers(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":              "192.0.2.1/32",
		"::ffff:192.0.2.1":       "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64",
		"2001:db8:1:2::%eth0":    "2001:db8:1:2::/64",
		"fe80::aaaa:bbbb:cccc:1": "fe80::/64",
	} {
		if got := Network(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: got %s, want none", got)
	}
}
