package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/idp"
	"postern/storage/storagetest"
)

func TestCellsAreNoFormulas(t *testing.T) {
	for text, want := range map[string]string{
		"alice": "alice", "": "", "2026-01-31": "2026-01-31", "a=b": "a=b",
		"=1+1": "'=1+1", "+49": "'+49", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", " =x": "' =x", "\t=x": "'\uFFFD=x", "\r\n=x": "'\uFFFD\uFFFD=x",
		"; =1+1;": ";' =1+1;", ";=a;;@b": ";'=a;;'@b", "a; b": "a; b", // where a semicolon separates cells
		"＝x": "'＝x", "a\nb": "a\uFFFDb", "\"=x": "'\"=x", "'=x": "''=x",
	} {
		if got := cell(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestJSONCarriesNothingThatSteersATerminal(t *testing.T) {
	text := "a\u009b31m\u202eb\U000e0001c\x1bd\té\n"
	var b strings.Builder
	if err := writeLine(&b, text); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Count(got, "\n") != 1 || shown(strings.TrimSuffix(got, "\n")) != strings.TrimSuffix(got, "\n") {
		t.Errorf("got %q", got)
	}
	var back string
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back != text {
		t.Errorf("it is read as %q, %v", back, err)
	}
}

func TestSpansAreMoreThanNothing(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "1h30m": 90 * time.Minute, "0d": 0, "-1h": 0, "d": 0, "1.5d": 0, "": 0, "99999999d": 0} {
		if got, err := span(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// S4-59: what is pruned is counted, and what is younger stays.
func TestS4_59_PruneDeletesWhatIsOlder(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, nil)
		h.now = time.Now().UTC().Add(-40 * 24 * time.Hour)
		h.addUser(t, "alice")
		h.try(t, "198.51.100.7", "alice", "wrong")
		h.now = time.Now().UTC()
		h.try(t, "198.51.100.7", "alice", "wrong")
		h.try(t, "198.51.100.7", "alice", testPassword)
		var pruned idp.Pruned
		succeed(t, &pruned, url, "", "audit", "prune", "--older-than", "30d")
		if pruned.Attempts != 1 || pruned.Events < 2 || pruned.Logins != 0 {
			t.Errorf("pruned %+v", pruned)
		}
		for kind, want := range map[string]int{"attempts": 1, "logins": 1} {
			_, out, errs := command(t, url, "", "audit", "export", "--kind", kind)
			if got := strings.Count(out, "\n"); got != want {
				t.Errorf("%d %s are left, want %d: %s", got, kind, want, errs)
			}
		}
	})
}

func TestExportsAreJSONLinesOrCSVOfATime(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		h := open(t, url, nil)
		h.addUser(t, "alice")
		b := h.from("198.51.100.7")
		b.UserAgent = "=cmd|' /C calc'!A0"
		h.signIn(t, b, "alice", "wrong")
		h.signIn(t, b, "alice", testPassword)
		for kind, columns := range map[string]int{"events": 10, "attempts": 12, "logins": 9} {
			_, out, errs := command(t, url, "", "audit", "export", "--kind", kind, "--format", "csv")
			rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			if err != nil || len(rows) < 2 || len(rows[0]) != columns || rows[0][0] != "at" {
				t.Fatalf("%s: %v, %v %s", kind, rows, err, errs)
			}
			for _, row := range rows[1:] {
				for _, text := range row {
					if strings.HasPrefix(text, "=") {
						t.Errorf("%s has the formula %s", kind, text)
					}
				}
			}
			_, out, _ = command(t, url, "", "audit", "export", "--kind", kind)
			lines := 0
			for line := range strings.Lines(out) {
				var record map[string]any
				if err := json.Unmarshal([]byte(line), &record); err != nil || record["at"] == nil {
					t.Errorf("%s: %v in %s", kind, err, line)
				}
				lines++
			}
			if lines != len(rows)-1 {
				t.Errorf("%s: %d lines and %d rows", kind, lines, len(rows)-1)
			}
			for _, empty := range [][]string{{"--until", "2001-01-01"}, {"--since", time.Now().Add(24 * time.Hour).Format(time.RFC3339)}} {
				code, out, errs := command(t, url, "", append([]string{"audit", "export", "--kind", kind}, empty...)...)
				if code != exitOK || out != "" {
					t.Errorf("%s %q: exit %d %s%s", kind, empty, code, out, errs)
				}
			}
		}
	})
}

func TestTailShowsTheLastEventsAndWhatComes(t *testing.T) {
	url := storagetest.SQLite(t)
	h := open(t, url, nil)
	for n := range 25 {
		h.now = h.now.Add(time.Millisecond)
		h.addUser(t, fmt.Sprint("person", n))
	}
	_, out, errs := command(t, url, "", "audit", "tail", "-n", "3")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "user.added") || !strings.Contains(lines[2], `"username":"person24"`) {
		t.Errorf("the last three:\n%s%s", out, errs)
	}
	_, out, _ = command(t, url, "", "audit", "tail", "--json")
	if got := strings.Count(out, "\n"); got != 10 {
		t.Errorf("%d lines by default", got)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var followed watched
	followed.until = func(text string) {
		if strings.Contains(text, "latecomer") {
			stop()
		}
	}
	done := make(chan int)
	go func() {
		done <- run(ctx, &app{in: strings.NewReader(""), out: &followed, err: &followed, environ: []string{
			"POSTERN_DATABASE__URL=" + url, "POSTERN_SECRETS__KEYS__0=" + testRoot(), "POSTERN_PROFILE=development",
		}}, []string{"audit", "tail", "-f", "-n", "0"})
	}()
	for n := 0; ctx.Err() == nil; n++ { // it may not follow yet
		h.now = time.Now().UTC()
		h.addUser(t, fmt.Sprint("latecomer", n))
	}
	if code := <-done; code != exitOK {
		t.Errorf("exit %d: %s", code, followed.text.String())
	}
	if strings.Contains(followed.text.String(), "user24") {
		t.Errorf("-n 0 shows what was before:\n%s", followed.text.String())
	}
}

// A watched writer calls until with all that was written, each time.
type watched struct {
	text  strings.Builder
	until func(string)
}

// Write implements io.Writer.
func (w *watched) Write(b []byte) (int, error) {
	w.text.Write(b)
	w.until(w.text.String())
	return len(b), nil
}
