package secret

import (
	"container/list"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Bounds of the queue, for each place: what would wait behind so many is not served within maxQueue
// anyway, and each one that waits holds the memory of its request.
const (
	maxWaitingOfNetwork = 64
	maxWaitingOfLane    = 256
)

// A sender is whose hash it is, by which the queue is fair (I-16). The zero sender is the program
// itself.
type sender struct {
	known   bool         // a known device
	network netip.Prefix // the zero Prefix is a network of its own
}

// A job is a hash that waits or runs.
type job struct {
	sender
	weight int64         // bytes
	begins chan struct{} // closed when it has its place, or has to leave without one
	begun  bool
	at     *list.Element // in its line, nil where it does not wait there
}

// A queue gives hashes their places: as many as there are, and as memory allows. It has two lanes,
// each of which may have half of the places, and all that the other one leaves (I-16).
type queue struct {
	mu      sync.Mutex
	limit   time.Duration // of waiting
	places  int
	memory  int64 // bytes that are free
	running int
	known   lane
	others  lane
	// lastKnown is the lane that the last place was given to: where their number is odd, the odd
	// one goes to the lanes in turn.
	lastKnown bool
	// next has its turn and waits for memory only. Nobody overtakes it, so that a large hash comes
	// to its place among small ones.
	next *job
}

func newQueue(places int, memory int64) *queue {
	return &queue{limit: maxQueue, places: places, memory: memory, known: newLane(), others: newLane()}
}

// enter waits for a place. Its error is *Busy or that of ctx; without one the caller must leave.
func (q *queue) enter(ctx context.Context, s sender, weight int64) (*job, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait to hash: %w", err)
	}
	j := &job{sender: s, weight: weight, begins: make(chan struct{})}
	begun, err := q.join(j)
	if begun || err != nil {
		return j, err
	}
	timer := time.NewTimer(q.limit)
	defer timer.Stop()
	select {
	case <-j.begins:
		if !j.begun {
			return nil, &Busy{RetryAfter: q.limit}
		}
		return j, nil
	case <-ctx.Done():
		if !q.withdraw(j) {
			q.leave(j)
		}
		return nil, fmt.Errorf("wait to hash: %w", ctx.Err())
	case <-timer.C:
		if !q.withdraw(j) {
			return j, nil // its place came at the last moment
		}
		return nil, &Busy{RetryAfter: q.limit}
	}
}

// join puts j at the end of its line and tells whether it got a place at once.
func (q *queue) join(j *job) (begun bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.laneOf(j).push(j, q.places) {
		return false, &Busy{RetryAfter: q.limit}
	}
	q.serve()
	return j.begun, nil
}

// withdraw takes j out of the queue. It tells false where j has its place already.
func (q *queue) withdraw(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case j.begun:
		return false
	case q.next == j:
		q.next = nil
	case j.at != nil:
		q.laneOf(j).remove(j)
	}
	q.serve()
	return true
}

// leave gives the place of j to those who wait.
func (q *queue) leave(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.laneOf(j).running--
	q.memory += j.weight
	q.serve()
}

// waiting is how many have no place yet.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.known.waiting + q.others.waiting
	if q.next != nil {
		n++
	}
	return n
}

func (q *queue) laneOf(j *job) *lane {
	if j.known {
		return &q.known
	}
	return &q.others
}

// serve gives away the places that are free. The caller holds mu, here and below.
func (q *queue) serve() {
	for q.running < q.places {
		if q.next == nil {
			q.next = q.choose()
		}
		j := q.next
		if j == nil || j.weight > q.memory {
			return
		}
		q.next = nil
		q.running++
		q.laneOf(j).running++
		q.memory -= j.weight
		q.lastKnown = j.known
		j.begun = true
		close(j.begins)
	}
}

// choose takes out of the lanes whose turn it is, nil where nobody waits.
func (q *queue) choose() *job {
	if q.known.waiting > 0 && (q.others.waiting == 0 || q.turnOfKnown()) {
		return q.known.pop()
	}
	return q.others.pop()
}

func (q *queue) turnOfKnown() bool {
	half := q.places / 2
	return q.known.running < half || q.known.running == half && q.places%2 == 1 && !q.lastKnown
}

// A lane is a line for each network, which are served in turn.
type lane struct {
	running int
	waiting int
	lines   map[netip.Prefix]*line
	turns   *list.List // of *line, none of them empty
}

// A line is who waits of one network, in the order of arrival.
type line struct {
	network netip.Prefix
	jobs    *list.List // of *job
	turn    *list.Element
}

func newLane() lane { return lane{lines: make(map[netip.Prefix]*line), turns: list.New()} }

// push tells false where the line is too long, or the lane is. A network that nobody waits of yet
// comes into a full lane nevertheless: a few networks would keep out all the others, else.
func (l *lane) push(j *job, places int) bool {
	n := l.lines[j.network]
	switch {
	case n != nil && n.jobs.Len() >= places*maxWaitingOfNetwork:
		return false
	case l.waiting < places*maxWaitingOfLane:
	case n != nil || !l.shorten():
		return false
	}
	if n == nil {
		n = &line{network: j.network, jobs: list.New()}
		n.turn = l.turns.PushBack(n)
		l.lines[j.network] = n
	}
	j.at = n.jobs.PushBack(j)
	l.waiting++
	return true
}

// shorten sends the last one of the longest line away, who would be served last. It tells false
// where nobody waits behind another of the same network.
func (l *lane) shorten() bool {
	longest := l.turns.Front().Value.(*line)
	for turn := l.turns.Front(); turn != nil; turn = turn.Next() {
		if n := turn.Value.(*line); n.jobs.Len() > longest.jobs.Len() {
			longest = n
		}
	}
	if longest.jobs.Len() == 1 {
		return false
	}
	j := longest.jobs.Back().Value.(*job)
	l.remove(j)
	close(j.begins)
	return true
}

// pop takes the first of the line whose turn it is, and puts that line behind the others. It is nil
// where nobody waits.
func (l *lane) pop() *job {
	first := l.turns.Front()
	if first == nil {
		return nil
	}
	n := first.Value.(*line)
	j := n.jobs.Front().Value.(*job)
	l.turns.MoveToBack(first)
	l.remove(j)
	return j
}

func (l *lane) remove(j *job) {
	n := l.lines[j.network]
	n.jobs.Remove(j.at)
	j.at = nil
	l.waiting--
	if n.jobs.Len() == 0 {
		l.turns.Remove(n.turn)
		delete(l.lines, n.network)
	}
}
