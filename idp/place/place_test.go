package place

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// write makes a file in which one network has a record.
func write(t *testing.T, kind, network string, record mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, prefix, err := net.ParseCIDR(network)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Insert(prefix, record); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), kind+".mmdb")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	return name
}

func names(english, german string) mmdbtype.Map {
	m := mmdbtype.Map{"en": mmdbtype.String(english)}
	if german != "" {
		m["de"] = mmdbtype.String(german)
	}
	return mmdbtype.Map{"names": m}
}

func TestS0_59_AddressesHavePlacesOnlyWhereAFileSaysSo(t *testing.T) {
	cities := write(t, "Test-City", "203.0.113.0/24", mmdbtype.Map{"city": names("Cologne", "Köln"), "country": names("Germany", "")})
	a, err := Open(cities, "")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, tc := range []struct {
		address, locale string
		want            Place
	}{
		{"203.0.113.7", "de", Place{"Köln", "Germany"}},
		{"203.0.113.7", "fr", Place{"Cologne", "Germany"}},
		{"::ffff:203.0.113.7", "en", Place{"Cologne", "Germany"}},
		{"192.0.2.1", "en", Place{}},
		{"2001:db8::1", "en", Place{}},
	} {
		if got := a.Of(netip.MustParseAddr(tc.address), tc.locale); got != tc.want {
			t.Errorf("%s in %s: got %+v, want %+v", tc.address, tc.locale, got, tc.want)
		}
	}
	var none *Atlas
	if got := none.Of(netip.MustParseAddr("203.0.113.7"), "en"); got != (Place{}) {
		t.Errorf("without a file: got %+v", got)
	}
	if got := a.Of(netip.Addr{}, "en"); got != (Place{}) {
		t.Errorf("no address: got %+v", got)
	}
}

func TestS4_12_AddressesBelongToAutonomousSystems(t *testing.T) {
	a, err := Open("", write(t, "Test-ASN", "2001:db8::/32", mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for address, want := range map[string]uint32{"2001:db8::7": 64500, "2001:db9::7": 0, "192.0.2.1": 0} {
		if got := a.System(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %d, want %d", address, got, want)
		}
	}
}

func TestAFileThatIsNoneIsNamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.mmdb")
	if err := os.WriteFile(name, []byte("no such thing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name, ""); err == nil {
		t.Error("got no error")
	}
}
