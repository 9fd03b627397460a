package storage_test

import (
	"sync"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func newJob(name string) idp.Job {
	return idp.Job{ID: idp.NewID(now), Kind: "mail", Name: name, Payload: []byte{0, 1, 255}, RunAt: at(0), CreatedAt: at(0), DeadAt: at(time.Hour)}
}

func addJob(t *testing.T, s *storage.Store, j idp.Job, want bool) idp.Job {
	t.Helper()
	added, err := s.AddJob(t.Context(), j)
	must(t, err)
	same(t, "added", added, want)
	return j
}

func takeJobs(t *testing.T, s *storage.Store, when time.Time, limit int) []idp.Job {
	t.Helper()
	list, err := s.TakeJobs(t.Context(), when, when.Add(time.Minute), limit)
	must(t, err)
	return list
}

func TestAJobIsTakenPutOffAndDone(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		later := newJob("")
		later.RunAt = at(30 * time.Second)
		addJob(t, s, later, true)
		j := addJob(t, s, newJob(""), true)
		counts := func(what string, when time.Time, waiting, failing int) {
			t.Helper()
			w, f, err := s.CountJobs(ctx, when)
			must(t, err)
			same(t, what, []int{w, f}, []int{waiting, failing})
		}
		j.Tries, j.LockedUntil = 1, ptr(at(time.Minute))
		same(t, "due", takeJobs(t, s, at(0), 10), []idp.Job{j})
		same(t, "taken already", len(takeJobs(t, s, at(0), 10)), 0)
		counts("new", at(0), 2, 0)

		must(t, s.PutOffJob(ctx, j, at(10*time.Second), "no route to host"))
		counts("put off", at(0), 2, 1)
		same(t, "before its time", len(takeJobs(t, s, at(9*time.Second), 10)), 0)
		j.RunAt, j.Tries, j.LockedUntil, j.LastError = at(10*time.Second), 2, ptr(at(70*time.Second)), "no route to host"
		same(t, "again", takeJobs(t, s, at(10*time.Second), 10), []idp.Job{j})

		// Its node died: at the end of the lock another one takes it, whatever the former says then.
		former := j
		later.Tries, later.LockedUntil = 1, ptr(at(2*time.Minute))
		j.Tries, j.LockedUntil = 3, ptr(at(130*time.Second))
		same(t, "of a dead node", takeJobs(t, s, at(70*time.Second), 1), []idp.Job{j})
		must(t, s.PutOffJob(ctx, former, at(0), "late"))
		later.LockedUntil = ptr(at(130 * time.Second))
		same(t, "the rest", takeJobs(t, s, at(70*time.Second), 10), []idp.Job{later})
		must(t, s.RemoveJob(ctx, j.ID))
		must(t, s.RemoveJob(ctx, j.ID))
		counts("one left", at(0), 1, 0)
		same(t, "dead", len(takeJobs(t, s, at(time.Hour), 10)), 0)
		counts("dead", at(time.Hour), 0, 0)
	})
}

func TestThereIsOneJobOfAName(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) {
		first := addJob(t, s, newJob("digest"), true)
		addJob(t, s, newJob("digest"), false)
		addJob(t, s, newJob("other"), true)
		addJob(t, s, newJob(""), true)
		addJob(t, s, newJob(""), true)
		next := newJob("digest")
		next.CreatedAt, next.RunAt, next.DeadAt = at(time.Hour), at(time.Hour), at(2*time.Hour)
		addJob(t, s, next, true) // nobody tries the first one any more
		must(t, s.RemoveJob(t.Context(), first.ID))
		next.Tries, next.LockedUntil = 1, ptr(at(61*time.Minute))
		same(t, "alive", takeJobs(t, s, at(time.Hour), 10), []idp.Job{next})
		won := race(t, 16, func(i int) (bool, error) { return s.AddJob(t.Context(), newJob("raced")) })
		same(t, "added by racers", won, 1)
	})
}

func TestNoJobIsTakenByTwoNodes(t *testing.T) {
	twoStores(t, func(t *testing.T, a, b *storage.Store) {
		const jobs = 40
		for range jobs {
			addJob(t, a, newJob(""), true)
		}
		var mu sync.Mutex
		taken := map[idp.ID]int{}
		race(t, 16, func(i int) (bool, error) {
			s := a
			if i%2 == 0 {
				s = b
			}
			for range 6 {
				list, err := s.TakeJobs(t.Context(), at(0), at(time.Minute), 3)
				if err != nil {
					return false, err
				}
				mu.Lock()
				for _, j := range list {
					taken[j.ID]++
				}
				mu.Unlock()
			}
			return true, nil
		})
		for id, n := range taken {
			if n != 1 {
				t.Errorf("%s was taken %d times", id, n)
			}
		}
		left := takeJobs(t, a, at(0), jobs)
		same(t, "taken and left", len(taken)+len(left), jobs)
	})
}
