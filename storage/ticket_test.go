package storage_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// newTicket is a ticket of a user, for the zero ID one of nobody that shares its owner with no other.
func newTicket(purpose idp.Purpose, userID idp.ID) idp.Ticket {
	owner := userID
	if userID.IsZero() {
		owner = idp.RandomID()
	}
	return idp.Ticket{
		ID: idp.NewID(now), Purpose: purpose, UserID: userID, Owner: owner, Epoch: 3, Address: "ada@example.org",
		CodeHash: []byte{0, 1}, LinkHash: []byte{2, 255}, Browser: bytes.Repeat([]byte{7}, 32), MaxTries: 3,
		Payload: []byte{3, 0}, CreatedAt: at(0), ExpiresAt: at(time.Minute), DeadAt: at(time.Hour),
	}
}

func addTicket(t *testing.T, s *storage.Store, purpose idp.Purpose, userID idp.ID) idp.Ticket {
	t.Helper()
	row := newTicket(purpose, userID)
	must(t, s.AddTicket(t.Context(), row))
	return row
}

// is makes a claim of what a store returned: found, or ErrNotFound.
func is(err error) (bool, error) {
	if errors.Is(err, idp.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func TestTicketsAreKeptWhole(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		of := addTicket(t, s, idp.ForReset, addUser(t, s, "ada").ID)
		redeemed := newTicket(idp.ForSignUp, idp.ID{})
		redeemed.Tries, redeemed.RedeemedAt, redeemed.RedeemedBy = 2, ptr(at(time.Second)), []byte{9}
		must(t, s.AddTicket(ctx, redeemed))
		bare := idp.Ticket{ID: idp.NewID(now), Purpose: idp.ForLogIn, CreatedAt: at(0), ExpiresAt: at(0), DeadAt: at(0)}
		must(t, s.AddTicket(ctx, bare))
		for _, want := range []idp.Ticket{of, redeemed, bare} {
			got, err := s.Ticket(ctx, want.ID)
			must(t, err)
			same(t, string(want.Purpose), got, want)
		}
		_, err := s.Ticket(ctx, idp.NewID(now))
		wantErr(t, err, idp.ErrNotFound)
	})
}

func TestS0_43_AGuessIsCountedBeforeItIsCompared(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachOptions(t, storage.Options{OnStatement: sent.Note}, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		for _, userID := range []idp.ID{{}, addUser(t, s, "ada").ID} {
			row := addTicket(t, s, idp.ForLogIn, userID)
			sent.Take()
			for n := 1; n <= 3; n++ {
				got, err := s.TryTicket(ctx, row.ID)
				must(t, err)
				row.Tries = n
				same(t, "tried", got, row)
			}
			same(t, "statements", len(sent.Take()), 3)
			_, err := s.TryTicket(ctx, row.ID)
			wantErr(t, err, idp.ErrNotFound)
		}
	})
}

func TestS0_43_WhatTakesNoGuess(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		for what, c := range map[string]struct {
			change   func(*idp.Ticket) idp.ID
			asADecoy bool // of a reset or a code to sign in it takes guesses as a decoy would
		}{
			"another's ID": {func(row *idp.Ticket) idp.ID { return idp.NewID(now) }, false},
			"out of tries": {func(row *idp.Ticket) idp.ID { row.Tries = 3; return row.ID }, false},
			"a link alone": {func(row *idp.Ticket) idp.ID { row.MaxTries = 0; return row.ID }, false},
			"redeemed":     {func(row *idp.Ticket) idp.ID { row.RedeemedAt = ptr(at(0)); return row.ID }, true},
			"former epoch": {func(row *idp.Ticket) idp.ID { row.UserID, row.Epoch = u.ID, 2; return row.ID }, true},
			"next epoch":   {func(row *idp.Ticket) idp.ID { row.UserID, row.Epoch = u.ID, 4; return row.ID }, true},
			"user is gone": {func(row *idp.Ticket) idp.ID { row.UserID = idp.RandomID(); return row.ID }, true},
		} {
			for _, purpose := range []idp.Purpose{idp.ForSignUp, idp.ForAddress, idp.ForReset, idp.ForLogIn} {
				row := newTicket(purpose, idp.ID{})
				id := c.change(&row)
				must(t, s.AddTicket(ctx, row))
				if !c.asADecoy || purpose == idp.ForSignUp || purpose == idp.ForAddress {
					if _, err := s.TryTicket(ctx, id); !errors.Is(err, idp.ErrNotFound) {
						t.Errorf("%s, %s: got %v, want ErrNotFound", what, purpose, err)
					}
					continue
				}
				for row.Tries = 1; row.Tries <= row.MaxTries; row.Tries++ {
					got, err := s.TryTicket(ctx, id)
					must(t, err)
					same(t, what, got, row) // by which whoever compares the code knows that it is over
				}
				_, err := s.TryTicket(ctx, id)
				wantErr(t, err, idp.ErrNotFound)
			}
		}
	})
}

func TestS0_44_AGuessAtATicketThatExpiredIsCounted(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		row := newTicket(idp.ForReset, idp.ID{})
		row.ExpiresAt = row.CreatedAt
		must(t, s.AddTicket(t.Context(), row))
		for row.Tries = 1; row.Tries <= row.MaxTries; row.Tries++ {
			got, err := s.TryTicket(t.Context(), row.ID)
			must(t, err)
			same(t, "tried", got, row)
		}
		_, err := s.TryTicket(t.Context(), row.ID)
		wantErr(t, err, idp.ErrNotFound)
	})
}

func TestI2_ARaisedEpochEndsACodeThatIsUnderWay(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		u := addUser(t, s, "ada")
		rows := map[idp.Purpose]idp.Ticket{}
		for _, purpose := range []idp.Purpose{idp.ForAddress, idp.ForReset, idp.ForLogIn} {
			rows[purpose] = addTicket(t, s, purpose, u.ID)
			_, err := s.TryTicket(ctx, rows[purpose].ID)
			must(t, err)
		}
		u.Epoch++
		must(t, s.ChangeUser(ctx, u, u.Epoch-1))
		_, err := s.TryTicket(ctx, rows[idp.ForAddress].ID)
		wantErr(t, err, idp.ErrNotFound)
		// The others take guesses as decoys do, and say that they are of another epoch than their user.
		for _, purpose := range []idp.Purpose{idp.ForReset, idp.ForLogIn} {
			got, err := s.TryTicket(ctx, rows[purpose].ID)
			must(t, err)
			same(t, string(purpose)+" tries", got.Tries, 2)
			same(t, string(purpose)+" epoch", got.Epoch, u.Epoch-1)
		}
	})
}

func TestS0_43_FiftyGuessesAtOnceAreThree(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		stores := [2]*storage.Store{a, b}
		for _, userID := range []idp.ID{{}, addUser(t, stores[0], "ada").ID} {
			row := addTicket(t, stores[0], idp.ForReset, userID)
			const racers = 50
			evaluated := race(t, racers, func(i int) (bool, error) {
				got, err := stores[i%2].TryTicket(t.Context(), row.ID)
				if err == nil && (got.Tries < 1 || got.Tries > row.MaxTries) {
					t.Errorf("guess number %d", got.Tries)
				}
				return is(err)
			})
			same(t, "evaluated", evaluated, row.MaxTries)
			left, err := stores[1].Ticket(t.Context(), row.ID)
			must(t, err)
			same(t, "tries", left.Tries, row.MaxTries)
		}
	})
}

func TestS0_72_OfTwentyWhoRedeemATicketOneWins(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		stores := [2]*storage.Store{a, b}
		for _, userID := range []idp.ID{{}, addUser(t, stores[0], "ada").ID} {
			row := addTicket(t, stores[0], idp.ForLogIn, userID)
			const racers = 20
			won := race(t, racers, func(i int) (bool, error) {
				return stores[i%2].RedeemTicket(t.Context(), row.ID, []byte{byte(i)}, at(0))
			})
			same(t, "won", won, 1)
			left, err := stores[1].Ticket(t.Context(), row.ID)
			must(t, err)
			for i := range racers { // the same request again (I-9), and nobody else
				again, err := stores[0].RedeemTicket(t.Context(), row.ID, []byte{byte(i)}, at(time.Hour))
				must(t, err)
				same(t, "again", again, bytes.Equal(left.RedeemedBy, []byte{byte(i)}))
			}
			tried, err := stores[0].TryTicket(t.Context(), row.ID) // a guess as at a decoy
			must(t, err)
			same(t, "redeemed by", tried.RedeemedBy, left.RedeemedBy)
			same(t, "is redeemed", tried.RedeemedAt != nil, true)
		}
	})
}

func TestS0_72_ATicketThatExpiredIsNotRedeemed(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		row := addTicket(t, s, idp.ForLogIn, idp.ID{})
		for _, c := range []struct {
			now  time.Time
			want bool
		}{{at(time.Minute), false}, {at(time.Minute - time.Microsecond), true}} {
			got, err := s.RedeemTicket(t.Context(), row.ID, []byte{1}, c.now)
			must(t, err)
			same(t, c.now.String(), got, c.want)
		}
	})
}

func TestS0_72_TheNewestTicketReplacesTheOlder(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		stands := func(what string, row idp.Ticket, want bool) {
			t.Helper()
			_, err := s.TryTicket(ctx, row.ID)
			got, err := is(err)
			must(t, err)
			same(t, what, got, want)
		}
		for purpose, replaced := range map[idp.Purpose]bool{
			idp.ForReset: true, idp.ForLogIn: true, idp.ForRevert: false, idp.ForAlarm: false, idp.ForUndelete: false,
		} {
			others, older, newer := addTicket(t, s, purpose, bob.ID), addTicket(t, s, purpose, ada.ID), addTicket(t, s, purpose, ada.ID)
			stands("another user's "+string(purpose), others, true)
			stands("older "+string(purpose), older, !replaced)
			stands("newer "+string(purpose), newer, true)
		}
		for _, purpose := range []idp.Purpose{idp.ForReset, idp.ForLogIn} { // of each name the newest
			of := func(name string) idp.Ticket {
				row := newTicket(purpose, bob.ID)
				row.Scope = name
				must(t, s.AddTicket(ctx, row))
				return row
			}
			byName, byAddress := of("bob"), of("bob@example.org")
			stands(string(purpose)+" of a name", byName, true)
			stands("of the address", byAddress, true)
			again := of("bob")
			stands("replaced "+string(purpose)+" of the name", byName, false)
			stands("the newest of the name", again, true)
			stands("of the address, still", byAddress, true)
		}
		one, other := newTicket(idp.ForAddress, ada.ID), newTicket(idp.ForAddress, ada.ID)
		other.Address = "other@example.org"
		must(t, s.AddTicket(ctx, one))
		must(t, s.AddTicket(ctx, other))
		stands("of an address", one, true)
		stands("of the other address", other, true)
		again := newTicket(idp.ForAddress, ada.ID)
		must(t, s.AddTicket(ctx, again))
		stands("replaced", one, false)
		stands("the newest of the address", again, true)
		stands("of the other address, still", other, true)
		for _, purpose := range []idp.Purpose{idp.ForSignUp, idp.ForReset} {
			one, other := addTicket(t, s, purpose, idp.ID{}), addTicket(t, s, purpose, idp.ID{})
			stands("nobody's "+string(purpose), one, true)
			stands("of another nobody", other, true)
			again := newTicket(purpose, idp.ID{})
			again.Owner = one.Owner
			must(t, s.AddTicket(ctx, again))
			stands("nobody's replaced "+string(purpose), one, false)
			stands("nobody's newest", again, true)
			stands("of another nobody, still", other, true)
		}
	})
}

func TestS0_72_OfTicketsThatAreAddedAtOnceOneIsLeft(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		stores := [2]*storage.Store{a, b}
		u := addUser(t, stores[0], "ada")
		const racers = 20
		race(t, racers, func(i int) (bool, error) {
			return true, stores[i%2].AddTicket(t.Context(), newTicket(idp.ForReset, u.ID))
		})
		same(t, "tickets", count(t, stores[0], "tickets"), 1)
	})
}

func TestTicketsOfAUserAreEnded(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		purposes := []idp.Purpose{idp.ForReset, idp.ForLogIn, idp.ForRevert}
		scoped := newTicket(idp.ForReset, ada.ID)
		scoped.Scope = "ada"
		must(t, s.AddTicket(ctx, scoped))
		rows := map[idp.Purpose]idp.Ticket{}
		for _, purpose := range purposes {
			rows[purpose] = addTicket(t, s, purpose, ada.ID)
		}
		others, decoy := addTicket(t, s, idp.ForReset, bob.ID), addTicket(t, s, idp.ForReset, idp.ID{})
		used := newTicket(idp.ForAlarm, ada.ID)
		used.RedeemedAt, used.RedeemedBy = ptr(at(0)), []byte{1}
		must(t, s.AddTicket(ctx, used))
		open := func(row idp.Ticket) bool {
			got, err := s.Ticket(ctx, row.ID)
			must(t, err)
			return got.ExpiresAt.After(at(time.Second))
		}
		must(t, s.EndTickets(ctx, ada.ID, at(time.Second), idp.ForReset, idp.ForLogIn))
		for _, purpose := range purposes {
			same(t, string(purpose), open(rows[purpose]), purpose == idp.ForRevert)
		}
		must(t, s.EndTickets(ctx, ada.ID, at(time.Second)))
		must(t, s.EndTickets(ctx, idp.ID{}, at(time.Second)))
		same(t, "the third", open(rows[idp.ForRevert]), false)
		same(t, "bob's", open(others), true)
		same(t, "nobody's", open(decoy), true)
		same(t, "used", open(used), true)
		same(t, "of another scope", open(scoped), false)
		for purpose, row := range rows {
			redeemed, err := s.RedeemTicket(ctx, row.ID, []byte{1}, at(time.Second))
			must(t, err)
			same(t, "redeemed after its end", redeemed, false)
			tried, err := s.TryTicket(ctx, row.ID)
			if purpose == idp.ForRevert {
				wantErr(t, err, idp.ErrNotFound)
				continue
			}
			must(t, err) // a guess as at a decoy
			same(t, "tries", tried.Tries, 1)
			same(t, "expires", tried.ExpiresAt, at(time.Second))
		}
	})
}

func TestS0_78_LaterTicketsThatUndoSomethingAreEnded(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		ada, bob := addUser(t, s, "ada"), addUser(t, s, "bob")
		add := func(purpose idp.Purpose, userID idp.ID, created time.Time) idp.Ticket {
			row := newTicket(purpose, userID)
			row.CreatedAt = created
			must(t, s.AddTicket(ctx, row))
			return row
		}
		of := add(idp.ForRevert, ada.ID, at(2*time.Second))
		used := newTicket(idp.ForAlarm, ada.ID)
		used.CreatedAt, used.RedeemedAt, used.RedeemedBy = at(3*time.Second), ptr(at(4*time.Second)), []byte{1}
		must(t, s.AddTicket(ctx, used))
		rows := []struct {
			what string
			row  idp.Ticket
			open bool
		}{
			{"itself", of, true},
			{"an older one", add(idp.ForRevert, ada.ID, at(time.Second)), true},
			{"an older alarm", add(idp.ForAlarm, ada.ID, at(time.Second)), true},
			{"one as old", add(idp.ForRevert, ada.ID, of.CreatedAt), true},
			{"a later one", add(idp.ForRevert, ada.ID, at(2*time.Second+time.Microsecond)), false},
			{"a later alarm", add(idp.ForAlarm, ada.ID, at(3*time.Second)), false},
			{"what keeps the account", add(idp.ForUndelete, ada.ID, at(3*time.Second)), true},
			{"a later reset", add(idp.ForReset, ada.ID, at(3*time.Second)), true},
			{"another's", add(idp.ForRevert, bob.ID, at(3*time.Second)), true},
			{"one that was used", used, true},
		}
		must(t, s.EndLaterTickets(ctx, of, at(4*time.Second)))
		for _, c := range rows {
			got, err := s.Ticket(ctx, c.row.ID)
			must(t, err)
			same(t, c.what, got.ExpiresAt.After(at(4*time.Second)), c.open)
		}
	})
}
