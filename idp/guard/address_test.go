package guard

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// headers answers as http.Header.Values does.
func headers(list map[string][]string) func(string) []string {
	return func(name string) []string { return list[name] }
}

func forwarded(lines ...string) map[string][]string {
	return map[string][]string{"X-Forwarded-For": lines}
}

func TestS0_18_WithoutSettingsNoHeaderIsBelieved(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.1")
	for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP"} {
		got, ignored := (&Proxies{}).ClientAddress(peer, headers(map[string][]string{name: {"203.0.113.66"}}))
		if got != peer || ignored != "" {
			t.Errorf("%s: got %s and %q, want the peer", name, got, ignored)
		}
	}
}

func TestS0_19_S4_47_ClientAddressIsReadFromTheRight(t *testing.T) {
	ten := prefixes("10.0.0.0/8")
	hundred := strings.TrimSuffix(strings.Repeat("203.0.113.66, ", 99)+"198.51.100.7", ", ")
	for name, tc := range map[string]struct {
		peer      string
		forwarded []string
		hops      int
		trusted   []netip.Prefix
		want      string
		ignored   Ignored
	}{
		"no hops, so the header is not read":      {"192.0.2.1", []string{"203.0.113.66"}, 0, nil, "192.0.2.1", ""},
		"no hops, networks alone do not suffice":  {"10.0.0.1", []string{"203.0.113.66"}, 0, ten, "10.0.0.1", ""},
		"one hop, a spoofed entry before it":      {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, 1, nil, "198.51.100.7", ""},
		"two hops":                                {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7, 10.0.0.2"}, 2, nil, "198.51.100.7", ""},
		"fewer entries than hops":                 {"10.0.0.1", []string{"198.51.100.7"}, 2, nil, "10.0.0.1", TooFewEntries},
		"fewer entries than hops, past the outer": {"10.0.0.1", []string{"198.51.100.7"}, 2, ten, "10.0.0.1", TooFewEntries},
		"no header":                                {"10.0.0.1", nil, 1, nil, "10.0.0.1", ""},
		"an empty header":                          {"10.0.0.1", []string{""}, 1, nil, "10.0.0.1", NotOneAddress},
		"doubled headers are joined in order":      {"10.0.0.1", []string{"203.0.113.66", "198.51.100.7, 10.0.0.2"}, 2, nil, "198.51.100.7", ""},
		"an entry of the first of two headers":     {"10.0.0.1", []string{"198.51.100.7", "10.0.0.2"}, 2, nil, "198.51.100.7", ""},
		"a hundred entries":                        {"10.0.0.1", []string{hundred}, 1, nil, "198.51.100.7", ""},
		"a peer that is not trusted":               {"192.0.2.1", []string{"203.0.113.66"}, 1, ten, "192.0.2.1", UntrustedPeer},
		"a peer that is not trusted, no header":    {"192.0.2.1", nil, 1, ten, "192.0.2.1", ""},
		"a peer that is trusted, no header":        {"10.0.0.1", nil, 1, ten, "10.0.0.1", Missing},
		"a peer that is trusted":                   {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, 1, ten, "198.51.100.7", ""},
		"past the outer proxy, spoofing":           {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, 2, ten, "198.51.100.7", ""},
		"through both proxies":                     {"10.0.0.1", []string{"203.0.113.66, 198.51.100.7, 10.0.0.2"}, 2, ten, "198.51.100.7", ""},
		"garbage":                                  {"10.0.0.1", []string{"unknown"}, 1, nil, "10.0.0.1", NotOneAddress},
		"garbage on the way":                       {"10.0.0.1", []string{"198.51.100.7, _hidden"}, 2, nil, "10.0.0.1", NotOneAddress},
		"a megabyte":                               {"10.0.0.1", []string{strings.Repeat("1", 1<<20)}, 1, nil, "10.0.0.1", NotOneAddress},
		"a port":                                   {"10.0.0.1", []string{"198.51.100.7:4711"}, 1, nil, "198.51.100.7", ""},
		"IPv6 in brackets with a port":             {"10.0.0.1", []string{"[2001:db8::7]:4711"}, 1, nil, "2001:db8::7", ""},
		"IPv6 in brackets":                         {"10.0.0.1", []string{"[2001:db8::7]"}, 1, nil, "2001:db8::7", ""},
		"a zone":                                   {"10.0.0.1", []string{"fe80::1%eth0"}, 1, nil, "fe80::1", ""},
		"IPv4 within IPv6":                         {"::ffff:10.0.0.1", []string{"::ffff:198.51.100.7"}, 1, ten, "198.51.100.7", ""},
		"a peer with a zone and no header":         {"fe80::1%eth0", nil, 1, nil, "fe80::1", ""},
		"spaces and empty entries":                 {"10.0.0.1", []string{" 203.0.113.66 ,,  198.51.100.7\t"}, 1, nil, "198.51.100.7", ""},
		"an empty entry where the address must be": {"10.0.0.1", []string{"198.51.100.7,"}, 1, nil, "10.0.0.1", NotOneAddress},
	} {
		t.Run(name, func(t *testing.T) {
			lines := append([]string(nil), tc.forwarded...)
			p := Proxies{Hops: tc.hops, Trusted: tc.trusted}
			got, ignored := p.ClientAddress(netip.MustParseAddr(tc.peer), headers(forwarded(tc.forwarded...)))
			if got.String() != tc.want || ignored != tc.ignored {
				t.Errorf("got %s and %q, want %s and %q", got, ignored, tc.want, tc.ignored)
			}
			if !reflect.DeepEqual(lines, append([]string(nil), tc.forwarded...)) {
				t.Errorf("the header was changed to %q", tc.forwarded)
			}
		})
	}
}

func TestS0_20_S4_48_S4_50_AHeaderWithOneAddressIsBelievedFromTrustedNetworks(t *testing.T) {
	ten := prefixes("10.0.0.0/8")
	two := []string{"CF-Connecting-IP", "X-Real-IP"}
	for name, tc := range map[string]struct {
		peer    string
		headers map[string][]string
		names   []string
		trusted []netip.Prefix
		hops    int
		want    string
		ignored Ignored
	}{
		"from a trusted peer":              {"10.0.0.1", map[string][]string{"X-Real-IP": {"198.51.100.7"}}, two, ten, 0, "198.51.100.7", ""},
		"the order of preference":          {"10.0.0.1", map[string][]string{"X-Real-IP": {"198.51.100.7"}, "CF-Connecting-IP": {"198.51.100.8"}}, two, ten, 0, "198.51.100.8", ""},
		"from an untrusted peer":           {"192.0.2.1", map[string][]string{"X-Real-IP": {"198.51.100.7"}}, two, ten, 0, "192.0.2.1", UntrustedPeer},
		"without trusted networks":         {"10.0.0.1", map[string][]string{"X-Real-IP": {"198.51.100.7"}}, two, nil, 1, "10.0.0.1", UntrustedPeer},
		"a list":                           {"10.0.0.1", map[string][]string{"X-Real-IP": {"1.2.3.4, 5.6.7.8"}}, two, ten, 0, "10.0.0.1", NotOneAddress},
		"doubled":                          {"10.0.0.1", map[string][]string{"X-Real-IP": {"1.2.3.4", "1.2.3.4"}}, two, ten, 0, "10.0.0.1", NotOneAddress},
		"empty":                            {"10.0.0.1", map[string][]string{"X-Real-IP": {""}}, two, ten, 0, "10.0.0.1", NotOneAddress},
		"garbage, another would be right":  {"10.0.0.1", map[string][]string{"CF-Connecting-IP": {"x"}, "X-Real-IP": {"198.51.100.7"}}, two, ten, 0, "10.0.0.1", NotOneAddress},
		"a port, a zone, brackets":         {"10.0.0.1", map[string][]string{"X-Real-IP": {"[fe80::7%eth0]:4711"}}, two, ten, 0, "fe80::7", ""},
		"IPv4 within IPv6":                 {"10.0.0.1", map[string][]string{"X-Real-IP": {"::ffff:198.51.100.7"}}, two, ten, 0, "198.51.100.7", ""},
		"before X-Forwarded-For":           {"10.0.0.1", map[string][]string{"X-Real-IP": {"198.51.100.7"}, "X-Forwarded-For": {"198.51.100.8"}}, two, ten, 1, "198.51.100.7", ""},
		"X-Forwarded-For where it is none": {"10.0.0.1", forwarded("198.51.100.8"), two, ten, 1, "198.51.100.8", ""},
		"none at all":                      {"10.0.0.1", nil, two, ten, 0, "10.0.0.1", Missing},
		"none at all, of a stranger":       {"192.0.2.1", nil, two, ten, 0, "192.0.2.1", ""},
		"another header":                   {"10.0.0.1", map[string][]string{"True-Client-IP": {"198.51.100.7"}}, two, ten, 0, "10.0.0.1", Missing},
	} {
		t.Run(name, func(t *testing.T) {
			p := Proxies{Hops: tc.hops, Trusted: tc.trusted, Headers: tc.names}
			got, ignored := p.ClientAddress(netip.MustParseAddr(tc.peer), headers(tc.headers))
			if got.String() != tc.want || ignored != tc.ignored {
				t.Errorf("got %s and %q, want %s and %q", got, ignored, tc.want, tc.ignored)
			}
		})
	}
}

func TestS0_21_S4_49_TheLeftMostEntryIsTakenWhereItIsAskedForAlone(t *testing.T) {
	ten := prefixes("10.0.0.0/8")
	for name, tc := range map[string]struct {
		proxies Proxies
		peer    string
		lines   []string
		want    string
		ignored Ignored
	}{
		"by default the right-most": {Proxies{Hops: 1}, "10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, "198.51.100.7", ""},
		"the first of all":          {Proxies{Hops: 1, LeftMost: true}, "10.0.0.1", []string{"203.0.113.66, 198.51.100.7", "10.0.0.2"}, "203.0.113.66", ""},
		"no hops":                   {Proxies{LeftMost: true, Trusted: ten}, "10.0.0.1", []string{"203.0.113.66"}, "10.0.0.1", ""},
		"an untrusted peer":         {Proxies{Hops: 1, LeftMost: true, Trusted: ten}, "192.0.2.1", []string{"203.0.113.66"}, "192.0.2.1", UntrustedPeer},
		"fewer entries than hops":   {Proxies{Hops: 3, LeftMost: true}, "10.0.0.1", []string{"203.0.113.66, 198.51.100.7"}, "10.0.0.1", TooFewEntries},
		"garbage":                   {Proxies{Hops: 1, LeftMost: true}, "10.0.0.1", []string{"unknown, 198.51.100.7"}, "10.0.0.1", NotOneAddress},
	} {
		t.Run(name, func(t *testing.T) {
			got, ignored := tc.proxies.ClientAddress(netip.MustParseAddr(tc.peer), headers(forwarded(tc.lines...)))
			if got.String() != tc.want || ignored != tc.ignored {
				t.Errorf("got %s and %q, want %s and %q", got, ignored, tc.want, tc.ignored)
			}
		})
	}
}

func FuzzS4_50_ClientAddressOfAnUntrustedPeerIsItsOwn(f *testing.F) {
	f.Add("203.0.113.66, 198.51.100.7", "10.0.0.1", 3, false)
	f.Add("[::1]:80,,%", "fe80::1%eth0", 1, true)
	f.Fuzz(func(t *testing.T, one, two string, hops int, leftMost bool) {
		p := Proxies{Hops: hops % 20, Trusted: prefixes("10.0.0.0/8"), Headers: []string{"X-Real-IP"}, LeftMost: leftMost}
		peer := netip.MustParseAddr("192.0.2.1")
		for _, list := range []map[string][]string{forwarded(one, two), {"X-Real-IP": {one}}, {"X-Real-IP": {one, two}}} {
			if got, _ := p.ClientAddress(peer, headers(list)); got != peer {
				t.Errorf("got %s, want the peer", got)
			}
			if got, _ := p.ClientAddress(netip.MustParseAddr("10.0.0.1"), headers(list)); !got.IsValid() || got.Zone() != "" || got.Is4In6() {
				t.Errorf("got %s, want a plain address", got)
			}
		}
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
	if got := NetworkOf(netip.MustParseAddr("2001:db8:1:2ff::1"), 56).String(); got != "2001:db8:1:200::/56" {
		t.Errorf("got %s, want the /56", got)
	}
	if got := NetworkOf(netip.MustParseAddr("192.0.2.1"), 56).String(); got != "192.0.2.1/32" {
		t.Errorf("got %s, want the address itself", got)
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: got %s, want none", got)
	}
}
