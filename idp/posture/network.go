package posture

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/idp"
)

func judgeIssuer(in *Input) []hit {
	return found(strings.HasPrefix(in.Config.Issuer, "http:"), "issuer", in.Config.Issuer+" is not encrypted.")
}

func judgeMetrics(in *Input) []hit {
	listen := in.Config.Metrics.Listen
	return found(listen != "" && listen != "off" && !loopback(listen), "metrics.listen", listen+" is not an address of this machine alone.")
}

// loopback tells whether only this machine reaches HOST:PORT.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func judgeOrder(in *Input) []hit {
	if in.Config.Proxy.Order != "left-most" {
		return nil
	}
	h := hit{key: "proxy.order", detail: "The first entry of X-Forwarded-For is believed."}
	if in.Config.Proxy.IKnowEdgeOverwrites {
		h.detail = "The first entry of X-Forwarded-For is believed, and proxy.i_know_edge_overwrites says that the outermost proxy replaces the header."
		return []hit{h.at(Warning)}
	}
	return []hit{h}
}

func judgeHops(in *Input) []hit {
	proxy := in.Config.Proxy
	because := fmt.Sprintf("proxy.trusted_hops is %d", proxy.TrustedHops)
	if i := slices.IndexFunc(proxy.TrustedCIDRs, everybody); i >= 0 {
		because = "proxy.trusted_cidrs has " + proxy.TrustedCIDRs[i].String()
	} else if proxy.TrustedHops == 0 || len(proxy.TrustedCIDRs) > 0 {
		return nil
	}
	h := hit{key: "proxy.trusted_cidrs", detail: fmt.Sprintf("%s listens for everybody, and %s.", in.Config.Listen, because)}
	if loopback(in.Config.Listen) {
		h.detail = fmt.Sprintf("%s listens for this machine alone: every program on it can write the header.", in.Config.Listen)
		return []hit{h.at(Info)}
	}
	return []hit{h}
}

// behindUnknownProxy tells whether somebody else speaks https for us, and is not believed.
func behindUnknownProxy(c *config.Config) bool {
	return strings.HasPrefix(c.Issuer, "https:") && c.TLS.Cert == "" && !believesProxy(c)
}

func believesProxy(c *config.Config) bool {
	return c.Proxy.TrustedHops > 0 || c.Proxy.ClientIPHeader != "" || c.Proxy.Order == "left-most"
}

func judgeUnknownProxy(in *Input) []hit {
	detail := "proxy.trusted_hops is 0: everybody has the proxy's address, so that all people share one budget of each limit"
	if h := in.Config.Honeypot; len(h.Paths) > 0 && h.BlockAfter > 0 {
		detail += ", and honeypot.block_after has no effect"
	}
	detail += "."
	return found(behindUnknownProxy(in.Config), "proxy.trusted_hops", detail)
}

func judgeExempt(in *Input) []hit {
	list := in.Config.RateLimits.ExemptCIDRs
	return found(len(list) > 0, "rate_limits.exempt_cidrs", "No limit holds for "+join(list)+".")
}

func join(list []netip.Prefix) string {
	var texts []string
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ", ")
}

// private are the networks of which an address says nothing about who it is.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// everybody tells whether p holds half of all addresses, or all.
func everybody(p netip.Prefix) bool { return p.Bits() <= 1 }

func judgeAllowed(in *Input) []hit {
	c := in.Config
	spared := c.Lockout.NeverLockAllowed || c.Lockout.OnlyAllowed
	unblocked := len(c.Honeypot.Paths) > 0 && c.Honeypot.BlockAfter > 0
	var hits []hit
	for _, p := range c.Lockout.AllowCIDRs {
		switch {
		case everybody(p) && (spared || unblocked):
			hits = append(hits, hit{key: "lockout.allow_cidrs", detail: p.String() + " is everybody."}.at(Error))
		case !spared: // the rest is about who comes in
		case behindUnknownProxy(c) && slices.ContainsFunc(private, p.Overlaps):
			hits = append(hits, hit{key: "lockout.allow_cidrs", detail: p.String() + " has the address of a proxy that is not believed, which everybody seems to come from."})
		case believesProxy(c) && slices.ContainsFunc(private, p.Overlaps):
			hits = append(hits, hit{key: "lockout.allow_cidrs", detail: p.String() + " has private addresses: that of a proxy is one, which everybody seems to come from whose header is missing."})
		}
	}
	return hits
}

// recently is how far back the database is asked for what happened.
const recently = 7 * 24 * time.Hour

// An ignored is what was recorded of headers of proxies that were not believed.
type ignored struct {
	times        int
	why, address string // of the last
}

// String is a sentence.
func (i ignored) String() string {
	times := fmt.Sprintf("%d times", i.times)
	if i.times == 1 {
		times = "once"
	}
	return fmt.Sprintf("This was recorded %s in the last seven days, where at most once an hour is; the last time from %s (%s).", times, i.address, i.why)
}

// maxEvents bounds how many events are looked through.
const maxEvents = 100_000

// ignoredHeaders collects what was recorded for some reasons, the oldest first.
func ignoredHeaders(ctx context.Context, p *idp.Provider, reasons ...string) (i ignored, err error) {
	after := idp.NewID(p.Now().Add(-recently))
	clear(after[6:]) // the first of its millisecond
	for range maxEvents / page {
		events, err := p.Events(ctx, after, page)
		if err != nil {
			return i, err
		}
		for _, e := range events {
			after = e.ID
			why, _ := e.Details["why"].(string)
			if e.Kind == "proxy.header_ignored" && slices.Contains(reasons, why) {
				i = ignored{i.times + 1, why, e.Address}
			}
		}
		if len(events) < page {
			break
		}
	}
	return i, nil
}

func askIgnoredHeaders(ctx context.Context, p *idp.Provider, in *Input) ([]hit, error) {
	stranger, err := ignoredHeaders(ctx, p, "untrusted_peer")
	if err != nil {
		return nil, err
	}
	proxy, err := ignoredHeaders(ctx, p, "not_one_address", "too_few_entries")
	if err != nil {
		return nil, err
	}
	var hits []hit
	if stranger.times > 0 { // which anybody can bring about
		hits = append(hits, hit{key: "proxy.trusted_cidrs", detail: stranger.String()}.at(Info))
	}
	if proxy.times > 0 {
		h := hit{key: "proxy.trusted_hops", detail: proxy.String(),
			remedy: "Set proxy.trusted_hops to the number of proxies that append to X-Forwarded-For, and proxy.client_ip_header to a header with one address alone."}
		if len(in.Config.Proxy.TrustedCIDRs) == 0 { // everybody is believed to be a proxy
			h = h.at(Info)
		}
		hits = append(hits, h)
	}
	return hits, nil
}

func askMissingHeaders(ctx context.Context, p *idp.Provider, _ *Input) ([]hit, error) {
	i, err := ignoredHeaders(ctx, p, "missing")
	return found(i.times > 0, "proxy.trusted_cidrs", i.String()), err
}
