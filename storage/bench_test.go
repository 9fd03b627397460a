package storage_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/idp"
	"postern/idp/guard/guardtest"
	"postern/storage"
	"postern/storage/storagetest"
)

func benchEach(b *testing.B, bench func(b *testing.B, s *storage.Store)) {
	b.Run("SQLite", func(b *testing.B) { bench(b, storagetest.Open(b, storagetest.SQLite(b), storage.Options{})) })
	b.Run("PostgreSQL", func(b *testing.B) { bench(b, storagetest.Open(b, storagetest.Postgres(b), storage.Options{})) })
}

// BenchmarkGroupCommit has writers that each add grants, synchronous=FULL: with one COMMIT for all
// who wait, and with one for each.
func BenchmarkGroupCommit(b *testing.B) {
	for _, most := range []int{64, 1} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("batch=%d/writers=%d", most, writers), func(b *testing.B) {
				s := storagetest.Open(b, storagetest.SQLite(b), storage.Options{})
				s.LimitBatches(most)
				g := addGrant(b, s, idp.RandomID(), idp.ID{})
				parallel(b, writers, func(int) error {
					next := g
					next.ID = idp.NewID(time.Now())
					return s.AddGrant(b.Context(), next)
				})
			})
		}
	}
}

// parallel runs do b.N times from so many goroutines.
func parallel(b *testing.B, writers int, do func(i int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	done := make(chan error, writers)
	for range writers {
		go func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					done <- nil
					return
				}
				if err := do(i); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range writers {
		must(b, <-done)
	}
}

// benchGrant is what a usual authorization makes.
func benchGrant(userID, sessionID idp.ID) idp.Grant {
	return idp.Grant{ID: idp.NewID(time.Now()), ClientID: "rp", UserID: userID, SessionID: sessionID, SessionBound: true,
		Scopes: idp.List{"openid", "profile", "email"}, Epoch: 3, ConsentVersion: 1,
		Facts: idp.Facts{RedirectURI: "https://rp.example/callback", RedirectSent: true, Challenge: strings.Repeat("c", 43),
			Nonce: strings.Repeat("n", 22), AuthTime: 1767316000, ACR: idp.ACRPassword, AMR: []string{"pwd"}},
		CodeHash: make([]byte, 32), CodeExpiresAt: at(time.Minute), CreatedAt: at(0), DeadAt: at(time.Hour)}
}

func BenchmarkGrant(b *testing.B) {
	benchEach(b, func(b *testing.B, s *storage.Store) {
		addClient(b, s, "rp")
		u := addUser(b, s, "ada")
		session := addSession(b, s, u.ID)
		g := redeemed(benchGrant(u.ID, session.ID), 1)
		must(b, s.AddGrant(b.Context(), g))
		keys := [][]byte{make([]byte, 16), make([]byte, 16)}
		b.Run("code", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := s.Grant(b.Context(), g.ID, false)
				must(b, err)
			}
		})
		for _, withUser := range []bool{false, true} {
			b.Run(fmt.Sprintf("access/user=%t", withUser), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, err := s.AccessGrant(b.Context(), g.ID, keys, withUser)
					must(b, err)
				}
			})
		}
	})
}

func BenchmarkVisit(b *testing.B) {
	benchEach(b, func(b *testing.B, s *storage.Store) {
		addClient(b, s, "rp")
		u := addUser(b, s, "ada")
		session := addSession(b, s, u.ID)
		_, err := s.PutConsent(b.Context(), idp.Consent{UserID: u.ID, ClientID: "rp", Scopes: idp.List{"openid"}, UpdatedAt: at(0)})
		must(b, err)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			_, err := s.Visit(b.Context(), session.ID, "rp")
			must(b, err)
		}
	})
}

func BenchmarkAddGrant(b *testing.B) {
	benchEach(b, func(b *testing.B, s *storage.Store) {
		g := benchGrant(idp.RandomID(), idp.NewID(now))
		parallel(b, 16, func(int) error {
			next := g
			next.ID = idp.NewID(time.Now())
			return s.AddGrant(b.Context(), next)
		})
	})
}

func BenchmarkRedeemCode(b *testing.B) {
	benchEach(b, func(b *testing.B, s *storage.Store) {
		grants := make([]idp.Grant, 1024)
		for i := range grants {
			grants[i] = benchGrant(idp.RandomID(), idp.NewID(now))
			must(b, s.AddGrant(b.Context(), grants[i]))
		}
		parallel(b, 16, func(i int) error {
			_, err := s.RedeemCode(b.Context(), redeemed(grants[i%len(grants)], 1))
			return err
		})
	})
}

func BenchmarkRotateRefresh(b *testing.B) {
	benchEach(b, func(b *testing.B, s *storage.Store) {
		grants := make([]idp.Grant, 1024)
		for i := range grants {
			grants[i] = redeemed(benchGrant(idp.RandomID(), idp.NewID(now)), 1)
			must(b, s.AddGrant(b.Context(), grants[i]))
		}
		parallel(b, 16, func(i int) error {
			_, err := s.RotateRefresh(b.Context(), rotated(grants[i%len(grants)], 2), 1)
			return err
		})
	})
}

// BenchmarkGate is the gate alone, without a hash.
func BenchmarkGate(b *testing.B) {
	benchEach(b, func(b *testing.B, s *storage.Store) { guardtest.Benchmark(b, s) })
}

func BenchmarkAddAttempt(b *testing.B) {
	benchEach(b, func(b *testing.B, s *storage.Store) {
		parallel(b, 16, func(i int) error {
			return s.AddAttempt(b.Context(), newAttempt("unknown", time.Duration(i)*time.Millisecond), 1000)
		})
	})
}

// BenchmarkSignIn is the Tx of a complete sign-in, with the index by which people find their own
// events and without it, among the events of many.
func BenchmarkSignIn(b *testing.B) {
	for _, indexed := range []bool{true, false} {
		b.Run(fmt.Sprintf("indexed=%t", indexed), func(b *testing.B) {
			benchEach(b, func(b *testing.B, s *storage.Store) {
				const people = 1000
				var users [people]idp.ID
				for i := range users {
					users[i] = addUser(b, s, fmt.Sprint(i)).ID
				}
				if !indexed {
					must(b, s.Exec(b.Context(), `DROP INDEX events_user`))
				}
				parallel(b, 16, func(i int) error {
					session := newSession(users[i%people])
					session.ID = idp.NewID(time.Now())
					return s.Tx(b.Context(), func(ctx context.Context) error {
						if err := s.AddSession(ctx, session); err != nil {
							return err
						}
						return s.AddEvent(ctx, idp.Event{
							ID: idp.NewID(time.Now()), At: time.Now(), Kind: "user.signed_in", Actor: session.UserID.String(),
							UserID: session.UserID, SessionID: session.ID, Address: session.Address,
						})
					})
				})
			})
		})
	}
}
