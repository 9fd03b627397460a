package storage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newAttempt(bucket string, after time.Duration) idp.Attempt {
	return idp.Attempt{
		ID: idp.NewID(now.Add(after)), At: at(after), Bucket: bucket, Kind: "sign_in", Name: "n\x00ame",
		Address: "192.0.2.1", UserAgent: "Mozilla/5.0", Path: "/login", Parameters: "password=***",
		ClientID: "rp", RequestID: "r", Why: "wrong_password",
	}
}

// addAttempts adds n attempts of a bucket, a second apart.
func addAttempts(t *testing.T, s *storage.Store, n, keep int, bucket string) {
	t.Helper()
	const chunk = 50 // a transaction takes no longer than two seconds
	for from := 0; from < n; from += chunk {
		must(t, s.Tx(t.Context(), func(ctx context.Context) error {
			for i := from; i < min(n, from+chunk); i++ {
				if err := s.AddAttempt(ctx, newAttempt(bucket, time.Duration(i)*time.Second), keep); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func TestS4_35_TheOldestAttemptsOfABucketAreRemoved(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		addAttempts(t, s, 1, 1000, "honeypot")
		addAttempts(t, s, 1005, 1000, "ada")
		addAttempts(t, s, 400, 50, "unknown") // whatever names they typed
		addAttempts(t, s, 60, 0, "unbounded")
		left := map[string]int{}
		for _, bucket := range []string{"honeypot", "ada", "unknown", "unbounded"} {
			n, err := s.Int(t.Context(), `SELECT COUNT(*) FROM attempts WHERE bucket = ?`, bucket)
			must(t, err)
			left[bucket] = n
		}
		same(t, "attempts", left, map[string]int{"honeypot": 1, "ada": 1000, "unknown": 50, "unbounded": 60})
		list, err := s.Attempts(t.Context(), idp.AttemptFilter{Since: at(0)}, idp.NewID(now.Add(6*time.Second)), 1000)
		must(t, err)
		oldest := map[string]time.Time{}
		for _, a := range list {
			oldest[a.Bucket] = a.At
		}
		same(t, "oldest", oldest, map[string]time.Time{"honeypot": at(0), "ada": at(5 * time.Second), "unbounded": at(0)})
	})
}

func TestS4_35_AFullBucketMakesNobodyWaitInACircle(t *testing.T) {
	var sent storagetest.Counter
	storagetest.EachURL(t, func(t *testing.T, url string) {
		o := storage.Options{OnStatement: sent.Note}
		stores := []*storage.Store{storagetest.Open(t, url, o), storagetest.Open(t, url, o)}
		const keep, racers, each = 20, 24, 10
		addAttempts(t, stores[0], 2*keep, 0, "unknown")
		sent.Take()
		race(t, racers, func(i int) (bool, error) {
			for n := range each {
				a := newAttempt("unknown", time.Duration(100+i*each+n)*time.Second)
				if err := stores[i%2].AddAttempt(t.Context(), a, keep); err != nil {
					return false, err
				}
			}
			return true, nil
		})
		// Whoever was undone in a deadlock would have sent both again.
		same(t, "statements", len(sent.Take()), 2*racers*each)
		addAttempts(t, stores[0], 1, keep, "unknown")
		n, err := stores[0].CountAttempts(t.Context(), idp.AttemptFilter{})
		must(t, err)
		same(t, "left", n, keep)
	})
}

func TestAttemptsAreListedAndPruned(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		var all []idp.Attempt
		for i := range 5 {
			a := newAttempt(fmt.Sprint(i), time.Duration(i)*time.Minute)
			if i%2 == 0 {
				a.UserID, a.Kind = idp.RandomID(), "honeypot"
			}
			must(t, s.AddAttempt(ctx, a, 10))
			a.Name = "n\uFFFDame"
			all = append(all, a)
		}
		all[3].Address = "2001:db8::1"
		must(t, s.Exec(ctx, `UPDATE attempts SET address = ? WHERE id = ?`, all[3].Address, all[3].ID))
		for _, c := range []struct {
			what   string
			f      idp.AttemptFilter
			before idp.ID
			limit  int
			want   []int
		}{
			{"all", idp.AttemptFilter{}, idp.ID{}, 10, []int{4, 3, 2, 1, 0}},
			{"two", idp.AttemptFilter{}, idp.ID{}, 2, []int{4, 3}},
			{"older", idp.AttemptFilter{}, all[3].ID, 10, []int{2, 1, 0}},
			{"a kind", idp.AttemptFilter{Kind: "sign_in"}, idp.ID{}, 10, []int{3, 1}},
			{"a user's", idp.AttemptFilter{UserID: all[2].UserID}, idp.ID{}, 10, []int{2}},
			{"from an address", idp.AttemptFilter{Address: "2001:db8::1"}, idp.ID{}, 10, []int{3}},
			{"a kind since", idp.AttemptFilter{Kind: "honeypot", Since: at(2 * time.Minute)}, idp.ID{}, 10, []int{4, 2}},
		} {
			got, err := s.Attempts(ctx, c.f, c.before, c.limit)
			must(t, err)
			var want []idp.Attempt
			for _, i := range c.want {
				want = append(want, all[i])
			}
			same(t, c.what, got, want)
			if c.before.IsZero() && c.limit == 10 {
				n, err := s.CountAttempts(ctx, c.f)
				must(t, err)
				same(t, c.what+", counted", n, len(want))
			}
		}
		n, err := s.PruneAttempts(ctx, at(2*time.Minute))
		must(t, err)
		same(t, "pruned", n, 2)
		n, err = s.CountAttempts(ctx, idp.AttemptFilter{})
		must(t, err)
		same(t, "left", n, 3)
	})
}
