package guardtest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/idp/guard"
)

// Settings are those of a typical gate in front of sign-ins: limits and lockout as they are by
// default. now is its clock.
func Settings(now func() time.Time) guard.Settings {
	limits := map[guard.Action][]guard.Limit{}
	for action, text := range map[guard.Action]string{"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key"} {
		list, err := guard.ParseLimits(text)
		if err != nil {
			panic(err)
		}
		limits[action] = list
	}
	var groups []guard.Group
	for _, text := range []string{"username+ip_address:5/15m", "ip_address:30/15m", "username:50/1h"} {
		g, err := guard.ParseGroup(text, guard.Rule{Aging: guard.Sliding})
		if err != nil {
			panic(err)
		}
		groups = append(groups, g)
	}
	return guard.Settings{
		Limits: limits, Escalation: true, Key: []byte("key"), Now: now,
		Lockout: guard.Lockout{
			Enabled: true, Groups: groups, ResetOnSuccess: true, NeverLockGet: true,
			KnownDevice: guard.Rule{Aging: guard.Inactivity, Limit: 5},
		},
	}
}

// request is the attempt number n of many people at many addresses.
func request(n int) guard.Request {
	return guard.Request{
		Attempt: "login", Failure: "login_failed", Lockout: true,
		Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
		Account: fmt.Sprintf("01980000-0000-7000-8000-%012x", n), Client: "shop", Browser: "Mozilla/5.0", Path: "/login",
	}
}

// Benchmark measures the gate alone on a store: a sign-in that fails (reserve), one that succeeds
// (reserve and give back), the same from a known device, one that is refused again and again by one
// process, and one that asks the store each time.
func Benchmark(b *testing.B, store guard.Store) {
	moment := time.Now().UTC()
	g := guard.New(store, Settings(func() time.Time { return moment }))
	reserve := func(b *testing.B, r guard.Request) *guard.Permit {
		p, err := g.Reserve(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	n := 0 // of people, who differ in all benchmarks
	b.Run("a wrong password", func(b *testing.B) {
		for b.Loop() {
			n++
			reserve(b, request(n))
		}
	})
	b.Run("the right password", func(b *testing.B) {
		for b.Loop() {
			n++
			if err := reserve(b, request(n)).Cleared(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("the right password in a known browser", func(b *testing.B) {
		for b.Loop() {
			n++
			r := request(n)
			r.Device = "device"
			if err := reserve(b, r).Cleared(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	n++
	victim := request(n)
	for range 5 {
		reserve(b, victim)
	}
	refused := func(b *testing.B) {
		_, err := g.Reserve(b.Context(), victim)
		if _, ok := errors.AsType[*guard.Throttled](err); !ok {
			b.Fatalf("got %v, want Throttled", err)
		}
	}
	b.Run("a refused attempt, remembered", func(b *testing.B) {
		for b.Loop() {
			refused(b)
		}
	})
	b.Run("a refused attempt, asking the store", func(b *testing.B) {
		for b.Loop() {
			g.ForgetHere()
			refused(b)
		}
	})
}
