package idp_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/idp"
	"postern/idp/secret"
)

// A postman notes the mails that it is given, and fails where it is told to.
type postman struct {
	mu    sync.Mutex
	mails []idp.Mail
	fails error
	asked int
}

func (m *postman) Send(ctx context.Context, mail idp.Mail) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if m.fails != nil {
		return m.fails
	}
	m.mails = append(m.mails, mail)
	return nil
}

// kinds are those of the mails that were sent, sorted.
func (m *postman) kinds() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var kinds []string
	for _, mail := range m.mails {
		kinds = append(kinds, mail.Kind)
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

// reopenWith makes a new provider on the same database, its options changed.
func (h *house) reopenWith(t testing.TB, change func(*idp.Options)) {
	t.Helper()
	o := h.options()
	change(&o)
	p, err := idp.New(t.Context(), h.store, h.cfg, h.ring, o)
	if err != nil {
		t.Fatalf("open the provider: %v", err)
	}
	h.Provider = p
}

// withPostman makes h send mails to the one that it returns.
func (h *house) withPostman(t testing.TB) *postman {
	t.Helper()
	m := &postman{}
	h.reopenWith(t, func(o *idp.Options) { o.Mailer = m })
	return m
}

// enqueue enqueues a mail in a Tx.
func (h *house) enqueue(t testing.TB, m idp.Mail, name string, at time.Time) {
	t.Helper()
	err := h.store.Tx(t.Context(), func(ctx context.Context) error { return idp.EnqueueMail(h.Provider, ctx, m, name, at) })
	if err != nil {
		t.Fatalf("enqueue a mail: %v", err)
	}
}

func (h *house) doJobs(t testing.TB) {
	t.Helper()
	if err := idp.DoJobs(h.Provider, t.Context()); err != nil {
		t.Fatalf("do jobs: %v", err)
	}
}

func (h *house) jobs(t testing.TB) (waiting, failing int) {
	t.Helper()
	waiting, failing, err := h.store.CountJobs(t.Context(), h.Now())
	if err != nil {
		t.Fatalf("count jobs: %v", err)
	}
	return waiting, failing
}

func TestAJobIsDoneOnceItIsDue(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		h.enqueue(t, idp.Mail{Kind: "later", To: "alice@example.com"}, "", h.Now().Add(time.Hour))
		h.doJobs(t)
		if got := m.kinds(); got != "lockout" {
			t.Errorf("sent %q, want what is due", got)
		}
		h.doJobs(t)
		h.clock.turn(time.Hour)
		h.doJobs(t)
		if got := m.kinds(); got != "later lockout" {
			t.Errorf("sent %q, want each once", got)
		}
		if waiting, failing := h.jobs(t); waiting != 0 || failing != 0 {
			t.Errorf("%d jobs wait and %d fail, want none", waiting, failing)
		}
	})
}

func TestOfANamedJobThereIsOneAtATime(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		for range 3 {
			h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "lockout alice", h.Now())
		}
		h.doJobs(t)
		if got := m.kinds(); got != "lockout" {
			t.Errorf("sent %q, want one", got)
		}
	})
}

func TestAJobOfATxThatFailsIsNotThere(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		wrong := errors.New("wrong")
		err := h.store.Tx(t.Context(), func(ctx context.Context) error {
			if err := idp.EnqueueMail(h.Provider, ctx, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now()); err != nil {
				return err
			}
			return wrong
		})
		if !errors.Is(err, wrong) {
			t.Fatal(err)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "" {
			t.Errorf("sent %q, want none", got)
		}
	})
}

func TestAJobThatFailsComesBackLaterAndLater(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		m.fails = errors.New("451 try again later")
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		h.doJobs(t)
		if waiting, failing := h.jobs(t); waiting != 1 || failing != 1 {
			t.Errorf("%d jobs wait and %d fail, want one of each", waiting, failing)
		}
		h.clock.turn(59 * time.Second)
		h.doJobs(t)
		if m.asked != 1 {
			t.Errorf("tried %d times within a minute, want once", m.asked)
		}
		h.clock.turn(16 * time.Second)
		h.doJobs(t)
		if m.asked != 2 {
			t.Errorf("tried %d times after 75 seconds, want twice", m.asked)
		}
		m.fails = nil
		h.clock.turn(time.Hour)
		h.doJobs(t)
		if got := m.kinds(); got != "lockout" {
			t.Errorf("sent %q, want it once", got)
		}
	})
}

func TestAJobThatPanicsIsOneThatFails(t *testing.T) {
	h := small(t)
	h.reopenWith(t, func(o *idp.Options) { o.Mailer = panicking{} })
	h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
	h.doJobs(t)
	if waiting, failing := h.jobs(t); waiting != 1 || failing != 1 {
		t.Errorf("%d jobs wait and %d fail, want the one that panicked", waiting, failing)
	}
}

type panicking struct{}

func (panicking) Send(context.Context, idp.Mail) error { panic("index out of range") }

func TestAJobIsGivenUpAfterThreeDays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		var log bytes.Buffer
		m := &postman{fails: errors.New("550 no such user")}
		h.reopenWith(t, func(o *idp.Options) {
			o.Mailer, o.Log = m, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		})
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		for range 75 { // hours
			h.doJobs(t)
			h.clock.turn(time.Hour)
		}
		if waiting, _ := h.jobs(t); waiting != 0 {
			t.Errorf("%d jobs wait after three days, want none", waiting)
		}
		if got := log.String(); !strings.Contains(got, "give up a job") || strings.Contains(got, "alice") {
			t.Errorf("logged %q, want that it was given up, without its recipient", got)
		}
		if m.asked < 70 || m.asked > 75 {
			t.Errorf("tried %d times, want about once an hour", m.asked)
		}
	})
}

func TestAJobWhoseNodeDiedIsTakenByAnother(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		taken, err := h.store.TakeJobs(t.Context(), h.Now(), h.Now().Add(time.Minute), 10)
		if err != nil || len(taken) != 1 {
			t.Fatalf("took %d jobs and %v, want one", len(taken), err)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "" {
			t.Errorf("sent %q while another node has the job", got)
		}
		h.clock.turn(time.Minute)
		h.doJobs(t)
		if got := m.kinds(); got != "lockout" {
			t.Errorf("sent %q, want it once", got)
		}
	})
}

func TestTwoNodesDoEachJobOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.cfg.RateLimits.Mail = ""
		m := h.withPostman(t)
		other := *h
		other.reopenWith(t, func(o *idp.Options) { o.Mailer = m })
		const jobs = 20
		for range jobs {
			h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		}
		var nodes sync.WaitGroup
		for _, node := range []*house{h, &other} {
			nodes.Go(func() { node.doJobs(t) })
		}
		nodes.Wait()
		if len(m.mails) != jobs {
			t.Errorf("sent %d mails, want %d", len(m.mails), jobs)
		}
	})
}

func TestI10_AJobsPayloadIsSealedToItsRow(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com", Args: map[string]string{"username": "alice"}}, "", h.Now())
		taken, err := h.store.TakeJobs(t.Context(), h.Now(), h.Now().Add(time.Minute), 1)
		if err != nil || len(taken) != 1 {
			t.Fatalf("took %d jobs and %v, want one", len(taken), err)
		}
		j := taken[0]
		if bytes.Contains(j.Payload, []byte("alice")) {
			t.Errorf("the payload shows whom it is for: %q", j.Payload)
		}
		other := idp.NewID(noon)
		if _, err := h.ring.Open(secret.ForJob, j.Payload, secret.Place("jobs", "payload", other[:], []byte(j.Kind))); err == nil {
			t.Error("the payload opens in another row")
		}
		if _, err := h.ring.Open(secret.ForJob, j.Payload, secret.Place("jobs", "payload", j.ID[:], []byte(j.Kind))); err != nil {
			t.Errorf("the payload does not open in its own row: %v", err)
		}
	})
}

func TestAJobOfAnUnknownKindWaitsForAVersionThatKnowsIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		err := h.store.Tx(t.Context(), func(ctx context.Context) error {
			_, err := idp.Enqueue(h.Provider, ctx, "of tomorrow", "", h.Now(), nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		h.doJobs(t)
		if waiting, failing := h.jobs(t); waiting != 1 || failing != 1 {
			t.Errorf("%d jobs wait and %d fail, want one of each", waiting, failing)
		}
	})
}

func TestTheWaitBeforeAnotherTryDoublesUpToAnHour(t *testing.T) {
	for _, tc := range []struct {
		tries       int
		least, most time.Duration
	}{
		{1, time.Minute, 75 * time.Second},
		{2, 2 * time.Minute, 150 * time.Second},
		{3, 4 * time.Minute, 5 * time.Minute},
		{6, 32 * time.Minute, 40 * time.Minute},
		{7, 48 * time.Minute, time.Hour},
		{1_000_000, 48 * time.Minute, time.Hour},
	} {
		if got := idp.BackOff(tc.tries, 0); got != tc.least {
			t.Errorf("after %d tries: got %v at least, want %v", tc.tries, got, tc.least)
		}
		if got := idp.BackOff(tc.tries, 1); got != tc.most {
			t.Errorf("after %d tries: got %v at most, want %v", tc.tries, got, tc.most)
		}
	}
}

// A bell is a mailer that tells of each mail by a channel.
type bell chan idp.Mail

func (b bell) Send(_ context.Context, m idp.Mail) error {
	b <- m
	return nil
}

func TestRunDoesJobs(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		rings := make(bell, 1)
		h.reopenWith(t, func(o *idp.Options) { o.Mailer = rings })
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Run(ctx) }()
		if m := <-rings; m.To != "alice@example.com" {
			t.Errorf("sent %+v", m)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestMetricsTellOfJobsAndMails(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m, registry := &postman{}, prometheus.NewRegistry()
		h.reopenWith(t, func(o *idp.Options) { o.Mailer, o.Metrics = m, registry })
		h.enqueue(t, idp.Mail{Kind: "lockout", To: "alice@example.com"}, "", h.Now())
		h.doJobs(t)
		m.fails = errors.New("451 try again later")
		h.enqueue(t, idp.Mail{Kind: "honeypot", To: "root@example.com"}, "", h.Now())
		h.enqueue(t, idp.Mail{Kind: "honeypot_digest", To: "root@example.com"}, "", h.Now().Add(time.Hour))
		h.doJobs(t)
		for name, want := range map[string]float64{
			"postern_jobs_waiting": 2, "postern_jobs_failing": 1,
			"postern_mail_sent_total lockout sent": 1, "postern_mail_sent_total honeypot failed": 1,
		} {
			if got := measure(t, registry, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// measure is a metric by its name and the values of its labels.
func measure(t testing.TB, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			full := family.GetName()
			for _, label := range m.GetLabel() {
				full += " " + label.GetValue()
			}
			if full == name {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
