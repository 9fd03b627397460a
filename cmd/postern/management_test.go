package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/config"
	"postern/storage/storagetest"
)

// manage asks the management listener of a house.
func manage(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestManagementListenerTellsMetricsAndReadiness(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	registry := newRegistry()
	h.count = countRequests(registry)
	serving, stop := context.WithCancel(t.Context())
	m := newManagement(serving, h.p, registry)

	h.send(t, http.MethodGet, "/login", nil, nil)
	h.send(t, "BREW", "/nowhere/at/all", nil, nil)
	noRoute := httptest.NewRequest("BREW", "*", nil)
	noRoute.Host = "id.example.com"
	h.ServeHTTP(httptest.NewRecorder(), noRoute)
	metrics := manage(t, m, "/metrics").Body.String()
	for _, want := range []string{
		`postern_http_requests_total{method="GET",route="/login",status="303"} 1`,
		`postern_http_requests_total{method="other",route="/",status="404"} 1`,
		`postern_http_requests_total{method="other",route="none",status="400"} 1`,
		"postern_build_info{", "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if strings.Contains(metrics, "nowhere") || strings.Contains(metrics, "BREW") {
		t.Error("/metrics has what a stranger chose")
	}
	if got := manage(t, m, "/livez"); got.Code != http.StatusOK {
		t.Errorf("/livez: %d", got.Code)
	}
	if got := manage(t, m, "/readyz?verbose"); got.Code != http.StatusOK || got.Body.String() != "{\"ready\":true}\n" {
		t.Errorf("/readyz: %d %s", got.Code, got.Body)
	}
	if got := manage(t, m, "/login"); got.Code != http.StatusNotFound {
		t.Errorf("a page is shown: %d", got.Code)
	}

	stop()
	var view readiness
	got := manage(t, m, "/readyz?verbose")
	if err := json.Unmarshal(got.Body.Bytes(), &view); err != nil || got.Code != http.StatusServiceUnavailable || view.Ready || view.Error == "" {
		t.Errorf("while it shuts down: %d %s", got.Code, got.Body)
	}
	if got := manage(t, m, "/livez"); got.Code != http.StatusOK {
		t.Errorf("/livez while it shuts down: %d", got.Code)
	}
	m = newManagement(t.Context(), h.p, registry)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	if got := manage(t, m, "/readyz"); got.Code != http.StatusServiceUnavailable {
		t.Errorf("without a database: %d", got.Code)
	}
}

// Who balances loads sees that a server is not ready any more while its last requests run.
func TestManagementAnswersUntilTheLastRequestIsAnswered(t *testing.T) {
	cfg := config.Default()
	cfg.Issuer, cfg.Database.URL, cfg.Metrics.Listen = testIssuer, storagetest.SQLite(t), "127.0.0.1:0"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	logged, log := io.Pipe()
	l, done := listen(t), make(chan error, 1)
	go func() { done <- serve(ctx, cfg, l, slog.New(slog.NewJSONHandler(log, nil))) }()
	var ready struct {
		Metrics string `json:"metrics"`
	}
	lines := json.NewDecoder(logged)
	for ready.Metrics == "" {
		if err := lines.Decode(&ready); err != nil {
			t.Fatal(err)
		}
	}
	go io.Copy(io.Discard, io.MultiReader(lines.Buffered(), logged))

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /admin/ HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", strings.TrimPrefix(testIssuer, "https://"))
	answers := bufio.NewReader(c)
	if line, err := answers.ReadString('\n'); !strings.Contains(line, "100 Continue") {
		t.Fatalf("got %q, %v: nobody reads the form", line, err)
	}
	stop()
	for serving := true; serving; { // until it has noticed
		answer, err := http.Get("http://" + ready.Metrics + "/readyz")
		if err != nil {
			t.Fatalf("while a request runs: %v", err)
		}
		answer.Body.Close()
		serving = answer.StatusCode == http.StatusOK
	}
	io.WriteString(c, "username=")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ready.Metrics); err == nil {
		t.Error("operators are answered after the end")
	}
}

func TestTheManagementListenerHasItsOwnAddressOrNone(t *testing.T) {
	taken := listen(t).Addr().String()
	if _, err := listenForOperators(config.Metrics{Listen: taken}); err == nil || !strings.Contains(err.Error(), "metrics.listen") || !strings.Contains(err.Error(), taken) {
		t.Errorf("a port that is taken: %v", err)
	}
	for _, none := range []string{"", noListener} {
		if l, err := listenForOperators(config.Metrics{Listen: none}); l != nil || err != nil {
			t.Errorf("%q: %v, %v", none, l, err)
		}
	}
	if got := config.Default().Metrics.Listen; !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("by default it listens on %s", got)
	}
}

// Nobody outside sees metrics: the public listener has no such address.
func TestMetricsAreNotPublic(t *testing.T) {
	h := open(t, storagetest.SQLite(t), nil)
	for _, path := range []string{"/metrics", "/livez", "/readyz", "/debug/pprof/"} {
		if answer := h.send(t, http.MethodGet, path, nil, nil); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered %d", path, answer.StatusCode)
		}
	}
}
