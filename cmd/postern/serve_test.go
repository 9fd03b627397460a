package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestServerSpeaksHTTP2OverTLS(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	dir := t.TempDir()
	if err := writePair(dir); err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		pair := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
		done <- runServer(ctx, newServer(h, h.log), l, pair, h.p)
	}()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String() + healthPath)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusNoContent || answer.TLS.Version < tls.VersionTLS12 {
		t.Errorf("got %s %d, TLS %x", answer.Proto, answer.StatusCode, answer.TLS.Version)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownLetsRequestsComeToTheirEnd(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	arrived, leave := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-leave
		io.WriteString(w, "to the end")
	})
	l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runServer(ctx, newServer(slow, h.log), l, config.TLS{}, h.p) }()
	body := make(chan string, 1)
	go func() {
		answer, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		body <- string(b) + errorText(err)
	}()
	<-arrived
	stop()
	close(leave)
	if got := <-body; got != "to the end" {
		t.Errorf("the request that ran got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the end: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestServerBoundsEveryConnection(t *testing.T) {
	s := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 64<<10 {
		t.Errorf("a bound is missing: %+v", s)
	}
}

func TestServeNeedsADatabaseOfItsKeys(t *testing.T) {
	url := storagetest.SQLite(t)
	open(t, url, nil)
	cfg := config.Default()
	cfg.Issuer, cfg.Database.URL, cfg.Secrets.Keys = testIssuer, url, []string{"1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}
	err := serve(t.Context(), cfg, listen(t), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("got %v, want a refusal", err)
	}
}

// I-10: keys are made only where the database is empty and is SQLite.
func TestI10_KeysAreMadeForAnEmptyDatabaseAlone(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Database.URL = "sqlite:" + filepath.Join(dir, "postern.db")
	path := filepath.Join(dir, keysFile)
	store := storagetest.Open(t, cfg.Database.URL, storage.Options{})

	// Processes that start at the same time end with one key.
	var group sync.WaitGroup
	checks := make([][]byte, 8)
	for i := range checks {
		group.Go(func() {
			ring, err := keyring(t.Context(), cfg, store)
			if err != nil {
				t.Error(err)
				return
			}
			checks[i] = ring.Subkeys("cookie")[0]
		})
	}
	group.Wait()
	for _, check := range checks[1:] {
		if string(check) != string(checks[0]) {
			t.Fatal("two processes have two keys")
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	if _, err := newProvider(t.Context(), cfg, store, idp.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring(t.Context(), cfg, store); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("keys are made for a database that has some: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a keys file was made")
	}
}
