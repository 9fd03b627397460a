package names

import (
	_ "embed"
	"fmt"
	"strings"
)

// listedDomains is the embedded list: lines of comment, then domains, sorted by their bytes.
//
//go:embed disposable.txt
var listedDomains string

// alsoListed are domains that the embedded list lacks.
var alsoListed = []string{"tempmail.com"}

// domains answers which domains are disposable. The embedded list is searched where it lies, in the
// program's file: it takes no memory of its own.
type domains struct {
	list string // one a line, "" for none
	// entries are those of the settings and alsoListed: a domain, or a domain with "*." before it,
	// and whether it is disposable.
	entries map[string]bool
}

func newDomains(s Settings) (domains, error) {
	d := domains{entries: map[string]bool{}}
	if !s.AllowDisposable {
		d.list = listedDomains
		for strings.HasPrefix(d.list, "#") {
			_, d.list, _ = strings.Cut(d.list, "\n")
		}
		for _, domain := range alsoListed {
			d.entries[domain] = true
		}
	}
	added := map[string]bool{}
	for _, typed := range s.DisposableDomains {
		entry, err := domainEntry(typed)
		if err != nil {
			return domains{}, err
		}
		d.entries[entry], added[entry] = true, true
	}
	for _, typed := range s.LastingDomains {
		entry, err := domainEntry(typed)
		if err != nil {
			return domains{}, err
		}
		if added[entry] {
			return domains{}, fmt.Errorf("the domain %q is both added to the disposable ones and taken from them", typed)
		}
		d.entries[entry] = false
	}
	return d, nil
}

// domainEntry is a domain of the settings as it is looked up.
func domainEntry(typed string) (string, error) {
	rest, wildcard := strings.CutPrefix(strings.TrimSpace(typed), "*.")
	domain, ok := asciiDomain(rest)
	if !ok && wildcard && isLabel(strings.ToLower(rest)) {
		domain, ok = strings.ToLower(rest), true // *.xyz: all of a top-level domain
	}
	if !ok {
		return "", fmt.Errorf("%q is no domain: write example.com or *.example.com", typed)
	}
	if wildcard {
		return "*." + domain, nil
	}
	return domain, nil
}

// disposable tells whether a domain or one above it is disposable, and the entry that says so. The
// longest decides, at one length the settings before the list.
func (d *domains) disposable(domain string) (entry string, is bool) {
	for at := domain; at != ""; _, at, _ = strings.Cut(at, ".") {
		if at != domain {
			if is, set := d.entries["*."+at]; set {
				return "*." + at, is
			}
		}
		if is, set := d.entries[at]; set {
			return at, is
		}
		if hasLine(d.list, at) {
			return at, true
		}
	}
	return "", false
}

// hasLine searches a list of sorted lines.
func hasLine(list, wanted string) bool {
	lo, hi := 0, len(list)
	for lo < hi {
		// A line begins at lo, and at hi or list ends there.
		begin := lo + strings.LastIndexByte(list[lo:lo+(hi-lo)/2], '\n') + 1
		line, _, _ := strings.Cut(list[begin:hi], "\n")
		switch {
		case line == wanted:
			return true
		case line < wanted:
			lo = min(begin+len(line)+1, hi)
		default:
			hi = begin
		}
	}
	return false
}
