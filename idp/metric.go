package idp

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/idp/guard"
	"postern/idp/secret"
)

// metrics are what the gate, the queue of hashes and the jobs tell. Their labels are words of the program's
// and of the settings, never a visitor's.
type metrics struct {
	hashes       *prometheus.CounterVec
	hashSeconds  prometheus.Histogram
	queue        prometheus.GaugeFunc
	reservations *prometheus.CounterVec
	limited      *prometheus.CounterVec
	lockouts     *prometheus.CounterVec
	mails        *prometheus.CounterVec
	waiting      prometheus.Gauge
	failing      prometheus.Gauge
}

// newMetrics makes the metrics, fed by h from now on, and registers them where r is not nil.
func newMetrics(h *secret.Hasher, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		hashes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_password_hashes_total", Help: "Passwords hashed, by the lane of the queue.",
		}, []string{"lane"}),
		hashSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_password_hash_seconds", Help: "How long a hash takes, without its waiting.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
		queue: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_password_hash_queue", Help: "Hashes that wait for their turn.",
		}, func() float64 { return float64(h.Queued()) }),
		reservations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_gate_reservations_total", Help: "What became of reservations, by action.",
		}, []string{"action", "result"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_rate_limited_total", Help: "Requests that a limit refused, by action.",
		}, []string{"action"}),
		lockouts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_lockouts_total", Help: "Lockouts, by what was counted.",
		}, []string{"parameters"}),
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_mail_sent_total", Help: "Mails by kind and by what became of them.",
		}, []string{"kind", "result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "postern_jobs_waiting", Help: "Jobs that are not done yet."}),
		failing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "postern_jobs_failing", Help: "Jobs that failed at least once."}),
	}
	h.Observe = func(lane string, took time.Duration) {
		m.hashes.WithLabelValues(lane).Inc()
		m.hashSeconds.Observe(took.Seconds())
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.hashes, m.hashSeconds, m.queue, m.reservations, m.limited, m.lockouts, m.mails, m.waiting, m.failing} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(o guard.Observation) {
	m.reservations.WithLabelValues(string(o.Action), string(o.Result)).Inc()
	if o.Result == guard.Limited {
		m.limited.WithLabelValues(string(o.Action)).Inc()
	}
}

func (m *metrics) locked(locks []*guard.LockedOut) {
	for _, l := range locks {
		m.lockouts.WithLabelValues(parametersOf(l)).Inc()
	}
}

func (m *metrics) sentMail(kind, result string) { m.mails.WithLabelValues(kind, result).Inc() }

func (m *metrics) countJobs(waiting, failing int) {
	m.waiting.Set(float64(waiting))
	m.failing.Set(float64(failing))
}

// parametersOf are the parameters of a lock as the settings write them: "username+ip_address".
func parametersOf(l *guard.LockedOut) string {
	words := make([]string, len(l.Parameters))
	for i, parameter := range l.Parameters {
		words[i] = string(parameter)
	}
	return strings.Join(words, "+")
}
