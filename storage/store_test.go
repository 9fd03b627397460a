package storage_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"sync"
	"testing"
	"time"

	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

// childVariable makes the test's binary another process that writes, instead of running tests.
const childVariable = "STORAGE_TEST_CHILD"

func TestMain(m *testing.M) {
	if url := os.Getenv(childVariable); url != "" {
		os.Exit(child(url))
	}
	os.Exit(m.Run())
}

// now has more than microseconds and another zone, as the wall clock may.
var now = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 2*3600))

// at is d after now, as every database returns it.
func at(d time.Duration) time.Time { return now.UTC().Truncate(time.Microsecond).Add(d) }

func ptr[T any](v T) *T { return &v }

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got the error %v, want %v", err, want)
	}
}

// race runs n racers at once and counts those that return true.
func race(t *testing.T, n int, racer func(i int) (bool, error)) (won int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			ok, err := racer(i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if ok {
				won++
			}
		})
	}
	close(start)
	wg.Wait()
	return won
}

func TestPing(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, s *storage.Store) { must(t, s.Ping(t.Context())) })
}

func TestColumnsAreTheSnakeCaseOfFields(t *testing.T) {
	for in, want := range map[string]string{
		"ID": "id", "CreatedAt": "created_at", "RedirectURIs": "redirect_uris", "ClientID": "client_id",
		"IDTokenAlg": "id_token_alg", "UsernameKey": "username_key", "At": "at",
	} {
		if got := storage.Snake(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestAStoreThatIsClosedServesNobody(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		s, err := storage.Open(t.Context(), url, storage.Options{Migrate: true})
		must(t, err)
		must(t, s.Close())
		if s.Ping(t.Context()) == nil || s.AddUser(t.Context(), newUser("ada")) == nil {
			t.Error("it serves")
		}
	})
}

func TestAddressesThatAreNone(t *testing.T) {
	for _, url := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:" + t.TempDir(), "/a/path"} {
		if s, err := storage.Open(t.Context(), url, storage.Options{Migrate: true}); err == nil {
			s.Close()
			t.Errorf("%q was opened", url)
		}
	}
}

// child adds users until it is killed, and prints the id of each that was committed.
func child(url string) int {
	s, err := storage.Open(testContext, url, storage.Options{Migrate: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for os.Getenv("STORAGE_TEST_ONCE") == "" {
				u := newUser(idp.RandomID().String())
				if err := s.AddUser(testContext, u); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println(u.ID)
			}
		})
	}
	wg.Wait()
	return 0
}

func TestKillingTheProcessLosesNothingThatWasCommitted(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+url)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var told []idp.ID
		for lines := bufio.NewScanner(out); lines.Scan(); {
			id, err := idp.ParseID(lines.Text())
			if err != nil {
				continue // cut by the kill
			}
			if told = append(told, id); len(told) == 100 {
				must(t, cmd.Process.Kill())
			}
		}
		cmd.Wait()
		s := storagetest.Open(t, url, storage.Options{})
		for _, id := range told {
			if _, err := s.User(t.Context(), id); err != nil {
				t.Fatalf("user %s: %v", id, err)
			}
		}
		if len(told) < 100 {
			t.Errorf("the child told of %d users only", len(told))
		}
		if s.IsSQLite() {
			var verdict string
			must(t, s.Row(t.Context(), `PRAGMA integrity_check`, &verdict))
			same(t, "integrity", verdict, "ok")
		}
		must(t, s.AddUser(t.Context(), newUser("after")))
	})
}
