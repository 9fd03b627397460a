package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/conformance/rp"
	"postern/storage/storagetest"
)

// A process is `postern serve`, as itself.
type process struct {
	cmd     *exec.Cmd
	listen  string // host and port of the public listener
	metrics string // of the management listener, "" for none
	log     *bytes.Buffer
	done    chan struct{} // closed when all of its log was read
}

// nodeIssuer is the issuer of all nodes: where none of them listens.
const nodeIssuer = "http://localhost:7"

// start runs a server on the database of url, on free ports.
func start(t *testing.T, url string, environ ...string) *process {
	t.Helper()
	cmd := exec.Command("postern", "serve")
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(os.Environ(), nodeEnviron(url)...), environ...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, log: &bytes.Buffer{}, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for p.listen == "" && lines.Scan() {
		var line struct{ Msg, Listen, Metrics string }
		fmt.Fprintln(p.log, lines.Text())
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			p.listen, p.metrics = line.Listen, line.Metrics
		}
	}
	go func() {
		defer close(p.done)
		for lines.Scan() {
			fmt.Fprintln(p.log, lines.Text())
		}
	}()
	t.Cleanup(func() { p.stop(t) })
	if p.listen == "" {
		t.Fatalf("the server is not ready:\n%s", p.log)
	}
	return p
}

// stop ends the server and returns its log.
func (p *process) stop(t *testing.T) string {
	t.Helper()
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Signal(os.Interrupt)
		<-p.done
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("the server ends with %v:\n%s", err, p.log)
		}
	}
	return p.log.String()
}

func nodeEnviron(url string) []string {
	return []string{
		"POSTERN_ISSUER=" + nodeIssuer, "POSTERN_PROFILE=development", "POSTERN_LISTEN=127.0.0.1:0", "POSTERN_METRICS__LISTEN=127.0.0.1:0",
		"POSTERN_DATABASE__URL=" + url, "POSTERN_SECRETS__KEYS__0=" + testRoot(), "POSTERN_LOG__FORMAT=json",
		"POSTERN_PASSWORD__ARGON2__MEMORY_KIB=64", "POSTERN_PASSWORD__ARGON2__TIME=1", "POSTERN_PASSWORD__ARGON2__PARALLELISM=1",
	}
}

// browser is one that comes to this node.
func (p *process) browser(t *testing.T) *rp.Browser {
	transport := dialling(strings.TrimPrefix(nodeIssuer, "http://"), p.listen)
	transport.DisableKeepAlives = true
	t.Cleanup(transport.CloseIdleConnections)
	return &rp.Browser{Transport: transport}
}

// sum adds up a metric over its labels that contain what is wanted.
func (p *process) sum(t *testing.T, name, labels string) (total float64) {
	t.Helper()
	for line := range strings.Lines(p.ask(t, "/metrics")) {
		if (strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ")) && strings.Contains(line, labels) {
			fields := strings.Fields(line)
			n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
	}
	return total
}

// ask reads from the management listener.
func (p *process) ask(t *testing.T, path string) string {
	t.Helper()
	answer, err := http.Get("http://" + p.metrics + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, answer.Status, err)
	}
	return string(b)
}

// addNodeUser adds alice to a database that servers run on.
func addNodeUser(t *testing.T, url string) {
	t.Helper()
	var alice userView
	succeed(t, &alice, url, testPassword+"\n", "user", "add", "--username", "alice", "--password-stdin")
}

// atOnce sends sign-ins, one for each password and spread over the nodes, all at the same time.
func atOnce(t *testing.T, nodes []*process, passwords []string) []*rp.Page {
	t.Helper()
	type sender struct {
		b    *rp.Browser
		form *rp.Form
	}
	senders := make([]sender, len(passwords))
	for i, password := range passwords {
		b := nodes[i%len(nodes)].browser(t)
		page, err := b.Open(t.Context(), nodeIssuer+"/login")
		if err != nil {
			t.Fatal(err)
		}
		form := page.Form()
		if form == nil {
			t.Fatalf("there is no form: %d %s", page.Status, page.Text())
		}
		for name, value := range map[string]string{"username": "alice", "password": password} {
			if err := form.Fill(name, value); err != nil {
				t.Fatal(err)
			}
		}
		senders[i] = sender{b, form}
	}
	pages := make([]*rp.Page, len(passwords))
	var group sync.WaitGroup
	for i, s := range senders {
		group.Go(func() {
			page, err := s.form.Press(t.Context(), "sign-in")
			if err != nil {
				t.Error(err)
				return
			}
			pages[i] = page
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return pages
}

func TestS0_02_TwoProcessesLetExactlyTheAmountPass(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		// A day, so that no window ends meanwhile.
		// Failures are not limited: those places are taken while a password is being checked, too.
		environ := []string{"POSTERN_RATE_LIMITS__LOGIN=15/d/ip", "POSTERN_RATE_LIMITS__LOGIN_FAILED=", "POSTERN_LOCKOUT__ENABLED=false"}
		nodes := []*process{start(t, url, environ...), start(t, url, environ...)}
		addNodeUser(t, url)
		passwords := make([]string, 40)
		for i := range passwords {
			passwords[i] = testPassword
		}
		passed := 0
		for _, page := range atOnce(t, nodes, passwords) {
			switch {
			case signedIn(page):
				passed++
			case page.Status != http.StatusTooManyRequests:
				t.Errorf("answered %d %v", page.Status, page.ErrorCodes())
			}
		}
		if passed != 15 {
			t.Errorf("%d of 40 pass, want 15", passed)
		}
	})
}

// S4-65, S0-16: parallel guesses cannot exceed the limit, on whichever node, and what is refused
// costs no hash.
func TestS4_65_ParallelGuessesOverTwoProcessesVerifyAtMostTheLimit(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		nodes := []*process{start(t, url), start(t, url)}
		addNodeUser(t, url)
		hashes := func() (n float64) {
			for _, node := range nodes {
				n += node.sum(t, "postern_password_hashes_total", "")
			}
			return n
		}
		before := hashes() // each node made a dummy
		passwords := make([]string, 100)
		for i := range passwords {
			passwords[i] = fmt.Sprint("wrong ", i)
		}
		passwords[rand.IntN(len(passwords))] = testPassword
		right := 0
		for _, page := range atOnce(t, nodes, passwords) {
			if signedIn(page) {
				right++
			} else if page.Status != http.StatusBadRequest && page.Status != http.StatusTooManyRequests {
				t.Errorf("answered %d %v", page.Status, page.ErrorCodes())
			}
		}
		verified := hashes() - before
		// A right password gives its place back, so where it was in time there is one more.
		if verified < 1 || verified > float64(5+right) {
			t.Errorf("%v passwords were verified, %d of them right, against a limit of 5", verified, right)
		}
		atOnce(t, nodes, slices.Repeat([]string{"wrong again"}, 60))
		if all := hashes() - before; all > float64(5+right) {
			t.Errorf("a flood of refused attempts verified %v more", all-verified)
		}
	})
}

// S4-59, S2-08, S4-17: what a command clears is cleared on nodes that run.
func TestS4_59_AResetReachesEveryNodeThatRuns(t *testing.T) {
	storagetest.EachURL(t, func(t *testing.T, url string) {
		nodes := []*process{start(t, url, "POSTERN_LOCKOUT__RESPONSE=page"), start(t, url, "POSTERN_LOCKOUT__RESPONSE=page")}
		addNodeUser(t, url)
		for n := range 5 {
			if _, err := signInAt(t.Context(), nodes[n%2].browser(t), nodeIssuer, "alice", "wrong"); err != nil {
				t.Fatal(err)
			}
		}
		for i, node := range nodes {
			if page, err := signInAt(t.Context(), node.browser(t), nodeIssuer, "alice", testPassword); err != nil || page.Status != http.StatusTooManyRequests {
				t.Fatalf("node %d: %v, %v", i, page, err)
			}
		}
		var cleared map[string]int
		succeed(t, &cleared, url, "", "lockout", "reset", "--user", "alice")
		if cleared["counters"] < 1 {
			t.Errorf("cleared %v", cleared)
		}
		for i, node := range nodes {
			waitToSignIn(t, i, node)
		}
	})
}

// waitToSignIn signs alice in at a node, which learns of a reset within a second.
func waitToSignIn(t *testing.T, i int, node *process) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // between two looks at another process
		page, err := signInAt(t.Context(), node.browser(t), nodeIssuer, "alice", testPassword)
		if err == nil && signedIn(page) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("node %d after the reset: %v, %v", i, page, err)
		}
	}
}

// S0-95: a server writes its security log, and opens it anew at SIGHUP.
func TestS0_95_AServerOpensItsSecurityLogAnewAtSIGHUP(t *testing.T) {
	url, path := storagetest.SQLite(t), t.TempDir()+"/security.log"
	node := start(t, url, "POSTERN_LOG__SECURITY__FILE="+path)
	addNodeUser(t, url)
	fail := func() {
		t.Helper()
		if page, err := signInAt(t.Context(), node.browser(t), nodeIssuer, "alice\r\nforged", "wrong-secret"); err != nil || page.Status != http.StatusBadRequest {
			t.Fatalf("%v, %v", page, err)
		}
	}
	fail()
	wantMode(t, path, 0o600)
	if got := messages(t, path); !strings.Contains(got, "user.sign_in_failed") {
		t.Errorf("the security log has %q", got)
	}
	renameFile(t, path, path+".1")
	if err := node.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // between two looks at another process
		if _, err := os.Stat(path); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the file was not opened anew")
		}
	}
	fail()
	if got := messages(t, path); !strings.Contains(got, "user.sign_in_failed") {
		t.Errorf("the new file has %q", got)
	}
	for _, name := range []string{path, path + ".1"} {
		text, err := os.ReadFile(name)
		if err != nil || bytes.Contains(text, []byte("wrong-secret")) {
			t.Errorf("%s has the password that was typed: %v", name, err)
		}
	}
	if log := node.stop(t); strings.Contains(log, "user.sign_in_failed") || strings.Contains(log, "wrong-secret") {
		t.Errorf("the log has what the security log has:\n%s", log)
	}
}

func renameFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != want {
		t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
	}
}

// messages are the messages of a log of JSON lines, with spaces between.
func messages(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		var record struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Time == "" {
			t.Fatalf("%s has the line %q: %v", path, line, err)
		}
		all = append(all, record.Msg)
	}
	return strings.Join(all, " ")
}
