package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"postern/config"
	"postern/idp"
)

// noListener is the value of metrics.listen that means none.
const noListener = "off"

// listenForOperators opens the management listener, nil where there is none.
func listenForOperators(cfg config.Metrics) (net.Listener, error) {
	if cfg.Listen == "" || cfg.Listen == noListener {
		return nil, nil
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen: %w. Choose another address, or `off` for no metrics", err)
	}
	return l, nil
}

// newRegistry returns a registry that has what is known of the process itself.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	b := thisBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postern_build_info", Help: "What this binary was made of; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go": b.Go},
	})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// A counting notes that a request was answered: the pattern of its route, its method and the status.
type counting func(pattern, method string, status int)

// countRequests registers a counter of answered requests. Its labels are bounded: what a stranger
// chooses is in none of them.
func countRequests(r prometheus.Registerer) counting {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_http_requests_total", Help: "Requests that were answered, by route, method and status.",
	}, []string{"route", "method", "status"})
	r.MustRegister(total)
	return func(pattern, method string, status int) {
		if pattern == "" {
			pattern = "none" // it strayed, or has no path, and no route was asked
		}
		if method != http.MethodGet && method != http.MethodPost && method != http.MethodHead {
			method = "other"
		}
		total.WithLabelValues(pattern, method, strconv.Itoa(status)).Inc()
	}
}

// readyWithin bounds the question whether the database can serve.
const readyWithin = 2 * time.Second

// newManagement answers those who operate this provider: metrics, whether the process lives, and
// whether it can serve. It is not ready any more once serving has ended.
func newManagement(serving context.Context, p *idp.Provider, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		err := p.Ready(ctx)
		if serving.Err() != nil {
			err = errors.New("the server is shutting down")
		}
		showReadiness(w, r, err)
	})
	return withoutStore(mux)
}

// A readiness is the answer of /readyz?verbose.
type readiness struct {
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

func showReadiness(w http.ResponseWriter, r *http.Request, err error) {
	status, view := http.StatusOK, readiness{Ready: err == nil}
	if err != nil {
		status, view.Error = http.StatusServiceUnavailable, err.Error()
	}
	if r.URL.Query().Has("verbose") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(view); err != nil {
			slog.DebugContext(r.Context(), "write readiness", "error", err)
		}
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, strings.TrimSpace(http.StatusText(status))+"\n")
}
