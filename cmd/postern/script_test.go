package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"postern": main})
}

// TestTranscripts runs what stands in testdata/script: command lines with what they answer.
func TestTranscripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			// The cheapest hash there is: these tests are about words.
			e.Setenv("POSTERN_PROFILE", "development")
			e.Setenv("POSTERN_PASSWORD__ARGON2__MEMORY_KIB", "64")
			e.Setenv("POSTERN_PASSWORD__ARGON2__TIME", "1")
			e.Setenv("POSTERN_PASSWORD__ARGON2__PARALLELISM", "1")
			e.Setenv("TMPDIR", e.WorkDir)
			return writePair(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await, "mode": mode},
	})
}

// writePair writes cert.pem and key.pem, for localhost.
func writePair(dir string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	)
}

// await ADDRESS STATUS asks until a server that was started in the background answers so.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await ADDRESS STATUS")
	}
	client := &http.Client{
		Timeout:       time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // its own certificate
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		answer, err := client.Get(args[0])
		if err == nil {
			answer.Body.Close()
			if strings.HasPrefix(answer.Status, args[1]) {
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: %v, %v", args[0], answer, err)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at another process
	}
}

// mode FILE PERMISSIONS asserts a file's mode.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); (got == args[1]) == neg {
		ts.Fatalf("%s has the mode %s", args[0], got)
	}
}
