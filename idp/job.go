package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"postern/idp/secret"
)

// A Job is something to do later, and again where it failed: it is enqueued in the Tx of what it
// follows from, and done by one of the nodes.
type Job struct {
	ID      ID
	Kind    string // "mail"
	Name    string // of which there is one at a time, "" for any number
	Payload []byte // sealed (I-10); what kinds need is JSON within
	RunAt   time.Time
	// Tries is how often it was begun. A node that takes it has it until LockedUntil.
	Tries       int
	LockedUntil *time.Time
	LastError   string
	CreatedAt   time.Time
	DeadAt      time.Time // when nobody tries any more
}

// JobStore keeps jobs.
type JobStore interface {
	// AddJob adds a job, unless there is one of its Name, and tells whether it did.
	AddJob(ctx context.Context, j Job) (bool, error)
	// TakeJobs takes jobs that are due at now, at most limit, until `until`, and returns them with
	// their new Tries. No job is taken by two.
	TakeJobs(ctx context.Context, now, until time.Time, limit int) ([]Job, error)
	// PutOffJob gives a job back, to be tried again at `at`, with what went wrong. It does nothing
	// where the job was taken anew since (Tries).
	PutOffJob(ctx context.Context, j Job, at time.Time, reason string) error
	// RemoveJob removes a job that is done.
	RemoveJob(ctx context.Context, id ID) error
	// CountJobs counts the jobs that wait, and those that failed at least once.
	CountJobs(ctx context.Context, now time.Time) (waiting, failing int, err error)
}

// jobHoneypotDigest is the kind of the job that tells of what the honeypot caught meanwhile.
const jobHoneypotDigest = "honeypot_digest"

const (
	// jobsEvery is how often a node looks for jobs.
	jobsEvery = 2 * time.Second
	// jobWithin bounds one job. A node has it for longer, so that no second one begins it while the
	// first is at it; where the first died, another one begins then.
	jobWithin = 30 * time.Second
	jobLease  = 2 * jobWithin
	// jobsAtOnce bounds a round, so that a long queue delays no shutdown.
	jobsAtOnce = 50
	// jobLife is how long a job is tried after the time that it was meant for.
	jobLife = 3 * 24 * time.Hour
	// maxJobReason bounds what is kept of an error, in bytes.
	maxJobReason = 500
)

// enqueue adds a job in the Tx of ctx, to be done from runAt on. payload is written as JSON and
// sealed. Where there is a job of that name already it adds none, and tells so; "" names none.
func (p *Provider) enqueue(ctx context.Context, kind, name string, runAt time.Time, payload any) (added bool, err error) {
	plain, err := json.Marshal(payload)
	if err != nil {
		return false, fmt.Errorf("write a job: %w", err)
	}
	now := p.Now()
	j := Job{ID: NewID(now), Kind: kind, Name: name, RunAt: runAt, CreatedAt: now, DeadAt: runAt.Add(jobLife)}
	j.Payload = p.ring.Seal(secret.ForJob, plain, placeOfJob(j))
	return p.store.AddJob(ctx, j)
}

func placeOfJob(j Job) []byte { return secret.Place("jobs", "payload", j.ID[:], []byte(j.Kind)) }

// jobHandler is what does jobs of a kind, nil for a kind of a later version. It is given the JSON
// that was enqueued, and may take jobWithin. It may be begun twice, where a node died meanwhile.
func (p *Provider) jobHandler(kind string) func(ctx context.Context, payload []byte) error {
	switch kind {
	case jobMail:
		return p.sendMail
	case jobHoneypotDigest:
		return p.digestHoneypot
	}
	return nil
}

// doJobs does the jobs that are due, one after the other.
func (p *Provider) doJobs(ctx context.Context) error {
	for range jobsAtOnce {
		now := p.Now()
		taken, err := p.store.TakeJobs(ctx, now, now.Add(jobLease), 1)
		if err != nil {
			return fmt.Errorf("take a job: %w", err)
		}
		if len(taken) == 0 || ctx.Err() != nil {
			break
		}
		if err := p.doJob(ctx, taken[0]); err != nil {
			return err
		}
	}
	waiting, failing, err := p.store.CountJobs(ctx, p.Now())
	if err != nil {
		return fmt.Errorf("count jobs: %w", err)
	}
	p.metrics.countJobs(waiting, failing)
	return nil
}

// doJob does a job outside any Tx, and removes it or puts it off. Whom a shutdown interrupts leaves
// it taken: another node begins it once the lease is over.
func (p *Provider) doJob(ctx context.Context, j Job) error {
	failed := p.tryJob(ctx, j)
	if failed != nil && ctx.Err() != nil {
		return nil
	}
	ctx, cancel := staying(ctx)
	defer cancel()
	if failed == nil {
		return stored("remove a job that is done", p.store.RemoveJob(ctx, j.ID))
	}
	at := p.Now().Add(backOff(j.Tries, rand.Float64()))
	if e, ok := errors.AsType[*Error](failed); ok && e.RetryAfter > 0 {
		at = p.Now().Add(e.RetryAfter)
	}
	last := !at.Add(maxBackOff).Before(j.DeadAt) // the row dies silently: the last try is before
	if last || errors.Is(failed, ErrMailRefused) {
		p.log.ErrorContext(ctx, "give up a job", "kind", j.Kind, "job", j.ID, "tries", j.Tries, "error", failed)
		return stored("remove a job that nobody tries any more", p.store.RemoveJob(ctx, j.ID))
	}
	p.log.WarnContext(ctx, "put off a job", "kind", j.Kind, "job", j.ID, "tries", j.Tries, "until", at, "error", failed)
	reason := failed.Error()
	return stored("put off a job", p.store.PutOffJob(ctx, j, at, reason[:min(len(reason), maxJobReason)]))
}

// tryJob does j. One that panics has failed: else it would end each process that takes it.
func (p *Provider) tryJob(ctx context.Context, j Job) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			p.log.ErrorContext(ctx, "job panicked", "kind", j.Kind, "job", j.ID, "panic", fmt.Sprint(broken), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", broken)
		}
	}()
	do := p.jobHandler(j.Kind)
	if do == nil {
		return fmt.Errorf("no handler of jobs of the kind %q", j.Kind)
	}
	plain, err := p.ring.Open(secret.ForJob, j.Payload, placeOfJob(j))
	if err != nil {
		return fmt.Errorf("open a job: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, jobWithin)
	defer cancel()
	return do(ctx, plain)
}

// The first and the longest wait before a job is tried again.
const (
	minBackOff = time.Minute
	maxBackOff = time.Hour
)

// backOff is how long to wait after so many tries: twice as long each time, and up to a quarter
// more by chance (jitter, 0 to 1), so that what failed together does not come back together.
func backOff(tries int, jitter float64) time.Duration {
	const longest = maxBackOff / 5 * 4
	d := minBackOff
	for i := 1; i < tries && d < longest; i++ {
		d *= 2
	}
	d = min(d, longest)
	return d + time.Duration(jitter*float64(d/4))
}
