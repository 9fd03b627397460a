package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/conformance/rp"
)

const (
	defaultRedirectURI = "https://rp.example.test/callback"

	startTimeout = 60 * time.Second // two cores also run all other tests
	stopTimeout  = 20 * time.Second
	pollInterval = 20 * time.Millisecond
)

// A target is the provider under judgement, with what is registered there.
type target struct {
	provider            *rp.Provider
	basic, second, post rp.RelyingParty
	person              rp.Person
}

// home holds the binary and everything that it writes.
var home string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	home, err = os.MkdirTemp("", "postern-conformance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(home)
	code := m.Run()
	closeChromium()
	if err := running.stopAll(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// theTarget is the same for all tests.
func theTarget(t *testing.T) target {
	t.Helper()
	found, err := findTarget()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var findTarget = sync.OnceValues(func() (target, error) {
	lookup := os.Getenv
	if os.Getenv("ISSUER") == "" {
		made, err := startPostern()
		if err != nil {
			return target{}, err
		}
		lookup = func(name string) string { return made[name] }
	}
	var found target
	var err error
	found.provider, err = rp.Discover(context.Background(), nil, lookup("ISSUER"))
	if err != nil {
		return target{}, err
	}
	party := func(name, method string) rp.RelyingParty {
		return rp.RelyingParty{
			Provider: found.provider, AuthMethod: method,
			ClientID: lookup(name + "_ID"), Secret: lookup(name + "_SECRET"),
			RedirectURI: cmp.Or(lookup("REDIRECT_URI"), defaultRedirectURI),
		}
	}
	found.basic = party("CLIENT", rp.SecretBasic)
	found.second = party("CLIENT2", rp.SecretBasic)
	found.post = party("CLIENT_POST", rp.SecretPost)
	found.person = rp.Person{Username: lookup("LOGIN_USERNAME"), Password: lookup("LOGIN_PASSWORD")}
	return found, nil
})

// claimsOnRecord are those of the user whom the modules about scopes ask for. preferred_username
// and updated_at come by themselves.
var claimsOnRecord = []string{
	"name=Alice Beatrix Example", "given_name=Alice", "family_name=Example", "middle_name=Beatrix",
	"nickname=Al", "preferred_username=alice", "profile=https://example.com/alice",
	"picture=https://example.com/alice.png", "website=https://alice.example.com", "gender=female",
	"birthdate=1990-02-28", "zoneinfo=Europe/Berlin", "locale=de-DE",
	"phone_number=+49 30 901820", "phone_number_verified=true",
	"address.street_address=1 Road", "address.postal_code=10115", "address.locality=Berlin", "address.country=DE",
}

// startPostern starts the binary on a new SQLite file and returns what the environment would say
// of another provider.
func startPostern() (map[string]string, error) {
	folder, issuer, environment, err := newInstance()
	if err != nil {
		return nil, err
	}
	made := map[string]string{
		"ISSUER": issuer, "LOGIN_USERNAME": "alice", "LOGIN_PASSWORD": "seven bridges of Koenigsberg",
	}
	if err := register(made, folder, environment); err != nil {
		return nil, err
	}
	_, err = running.start(folder, environment, nil, issuer+"/healthz", "serve")
	return made, err
}

// newInstance makes a new SQLite file with its schema, and the environment of a server on it.
func newInstance() (folder, issuer string, environment []string, err error) {
	if folder, err = os.MkdirTemp(home, "serve-"); err != nil {
		return "", "", nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return "", "", nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	issuer = "http://localhost:" + port
	environment = append(os.Environ(),
		"POSTERN_ISSUER="+issuer, "POSTERN_LISTEN="+address, "POSTERN_PROFILE=development",
		"POSTERN_DATABASE__URL=sqlite:"+filepath.Join(folder, "postern.db"),
		"POSTERN_MAIL__TRANSPORT=dir:"+filepath.Join(folder, "mail"), "POSTERN_MAIL__FROM=postern@example.com",
		// Sixty sign-ins from one address are what an attack looks like, and their hashes would
		// be all that this machine does.
		"POSTERN_RATE_LIMITS=false", "POSTERN_PASSWORD__ARGON2__MEMORY_KIB=64",
		"POSTERN_PASSWORD__ARGON2__TIME=1", "POSTERN_PASSWORD__ARGON2__PARALLELISM=1",
	)
	_, err = command(folder, environment, "", "migrate", "up")
	return folder, issuer, environment, err
}

// register makes the user and the clients by the command line.
func register(made map[string]string, folder string, environment []string) error {
	user := []string{
		"user", "add", "--username", made["LOGIN_USERNAME"], "--email", "alice@example.com",
		"--email-verified", "--password-stdin", "--json",
	}
	for _, claim := range claimsOnRecord {
		user = append(user, "--claim", claim)
	}
	if _, err := command(folder, environment, made["LOGIN_PASSWORD"]+"\n", user...); err != nil {
		return err
	}
	for name, method := range map[string]string{
		"CLIENT": rp.SecretBasic, "CLIENT2": rp.SecretBasic, "CLIENT_POST": rp.SecretPost,
	} {
		out, err := command(folder, environment, "",
			"client", "add", "--name", "Conformance "+name, "--redirect-uri", defaultRedirectURI,
			"--grant-type", "authorization_code", "--grant-type", "refresh_token",
			"--scope", "openid profile email address phone offline_access",
			"--token-endpoint-auth-method", method, "--pkce", "optional", "--json")
		if err != nil {
			return err
		}
		var client struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
		if err := json.Unmarshal(out, &client); err != nil {
			return fmt.Errorf("client add --json: %w: %s", err, out)
		}
		if client.ID == "" || client.Secret == "" {
			return fmt.Errorf("client add --json has no client_id and client_secret: %s", out)
		}
		made[name+"_ID"], made[name+"_SECRET"] = client.ID, client.Secret
	}
	return nil
}

// binary builds Postern once: with the race detector where the tests have it, so that what was
// compiled for them is of use.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(home, "postern")
	args := []string{"build", "-o", path}
	if raceDetector {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "postern/cmd/postern")...)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build postern: %w\n%s", err, out)
	}
	return path, nil
})

// command runs postern to its end and returns what it printed.
func command(folder string, environment []string, input string, args ...string) ([]byte, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	var out, problems bytes.Buffer
	c := exec.Command(path, args...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = folder, environment, strings.NewReader(input), &out, &problems
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("postern %s: %w\n%s%s", strings.Join(args[:2], " "), err, &out, &problems)
	}
	return out.Bytes(), nil
}

// processes are those that the tests started.
type processes struct {
	mutex sync.Mutex
	all   []*process
}

// A process is one of them; result counts once ended is closed.
type process struct {
	command *exec.Cmd
	log     string // the file with what it said on standard error
	ended   chan struct{}
	result  error
}

var running processes

// start runs postern in the background until address answers. What it prints to standard output
// goes to out, which may be nil.
func (p *processes) start(folder string, environment []string, out io.Writer, address string, args ...string) (*process, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(folder, args[0]+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := exec.Command(path, args...)
	// A data race ends the process, so that no test misses it.
	c.Dir, c.Env, c.Stdout, c.Stderr = folder, append(environment, "GORACE=halt_on_error=1"), out, log
	if err := c.Start(); err != nil {
		return nil, err
	}
	started := &process{command: c, log: log.Name(), ended: make(chan struct{})}
	go func() {
		started.result = c.Wait()
		close(started.ended)
	}()
	p.mutex.Lock()
	p.all = append(p.all, started)
	p.mutex.Unlock()
	if err := started.wait(address); err != nil {
		return nil, started.complain(err)
	}
	return started, nil
}

// wait waits until address answers.
func (p *process) wait(address string) error {
	deadline := time.After(startTimeout)
	for {
		if answers(address) {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %w", p.result)
		case <-deadline:
			return fmt.Errorf("%s does not answer", address)
		case <-time.After(pollInterval):
		}
	}
}

func answers(address string) bool {
	response, err := http.Get(address)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode < 300
}

// complain adds what the process said to an error.
func (p *process) complain(err error) error {
	said, _ := os.ReadFile(p.log)
	return fmt.Errorf("postern %s: %w\n%s", p.command.Args[1], err, said)
}

// stopAll stops what still runs.
func (p *processes) stopAll() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var problems []error
	for _, started := range p.all {
		problems = append(problems, started.stop())
	}
	return errors.Join(problems...)
}

// stop asks a process to end. It is an error where it did not end well, now or before.
func (p *process) stop() error {
	// An error means that it has ended.
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.result != nil {
			return p.complain(p.result)
		}
		return nil
	case <-time.After(stopTimeout):
		_ = p.command.Process.Kill()
		<-p.ended
		return p.complain(errors.New("it did not end when it was asked to"))
	}
}

// freeAddress is HOST:PORT on loopback where nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
