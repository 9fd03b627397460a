// Package place tells where an address is, about, and which network it belongs to, from files in
// the MaxMind DB format that an operator supplies. It asks nobody else.
package place

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// An Atlas has what the files say. A nil Atlas knows nothing. Its methods may be called at the same
// time.
type Atlas struct {
	cities  *maxminddb.Reader
	systems *maxminddb.Reader
}

// Open reads a file with cities (or countries alone) and one with autonomous systems; either name
// may be empty.
func Open(cities, systems string) (*Atlas, error) {
	a := &Atlas{}
	for _, file := range []struct {
		name string
		into **maxminddb.Reader
	}{{cities, &a.cities}, {systems, &a.systems}} {
		if file.name == "" {
			continue
		}
		r, err := maxminddb.Open(file.name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", file.name, err), a.Close())
		}
		*file.into = r
	}
	return a, nil
}

// Close gives the files back.
func (a *Atlas) Close() error {
	var errs []error
	for _, r := range []*maxminddb.Reader{a.cities, a.systems} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

// A Place is about where an address is, in the words of a language. Either field may be empty.
type Place struct {
	City    string
	Country string
}

// Of tells where an address is, in the language of a BCP 47 tag where the file has it, and in
// English otherwise. It is the zero Place where nobody knows.
func (a *Atlas) Of(address netip.Addr, locale string) Place {
	if a == nil || a.cities == nil {
		return Place{}
	}
	type named struct {
		Names map[string]string `maxminddb:"names"`
	}
	var found struct {
		City    named `maxminddb:"city"`
		Country named `maxminddb:"country"`
	}
	if err := a.cities.Lookup(address.Unmap().WithZone("")).Decode(&found); err != nil {
		return Place{}
	}
	return Place{City: inLanguage(found.City.Names, locale), Country: inLanguage(found.Country.Names, locale)}
}

func inLanguage(names map[string]string, locale string) string {
	if name := names[locale]; name != "" {
		return name
	}
	return names["en"]
}

// System is the number of the autonomous system that announces an address (RFC 6793 §3), 0 where
// nobody knows.
func (a *Atlas) System(address netip.Addr) uint32 {
	if a == nil || a.systems == nil {
		return 0
	}
	var number uint32
	if err := a.systems.Lookup(address.Unmap().WithZone("")).DecodePath(&number, "autonomous_system_number"); err != nil {
		return 0
	}
	return number
}
