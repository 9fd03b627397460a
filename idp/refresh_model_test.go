package idp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The model test of I-3 walks every interleaving of a small world up to a depth: one row with
// atomic conditional UPDATEs, two nodes whose clocks differ, requests that read, judge and write
// in steps of their own, answers that get lost, nodes that crash between any two steps. What it
// judges and writes with is JudgeRefresh, rotated and skipped themselves.
//
// Time passes only while no request is under way. What this leaves out is known: of two parallel
// requests with the same token, one judged just inside the window and one just after it, the
// second skips what the first was given; and an abandoned request that a node finishes after its
// client came back from another address skips the newer answer. Both end in a login.

const (
	modelWindow   = 10    // seconds
	modelRecovery = 86400 // seconds
	modelTTL      = 7200  // seconds, of a refresh token
	modelGens     = 24    // more than any walk reaches
)

// A modelRow is a grant's refresh fields as a comparable value.
type modelRow struct {
	gen, parent int64
	recent      [MaxRecent]Redemption
	redeemed    int
	refreshedAt int64 // seconds, -1 for never
	expires     int64
	revoked     bool
}

func (r modelRow) grant() Grant {
	g := Grant{RefreshGen: r.gen, RefreshParent: r.parent, RefreshRecent: append(Redeemed(nil), r.recent[:r.redeemed]...)}
	if r.parent > 0 {
		at := time.Unix(r.refreshedAt, 0)
		g.RefreshedAt = &at
	}
	expires := time.Unix(r.expires, 0)
	g.RefreshExpiresAt = &expires
	return g
}

func rowOf(g Grant) modelRow {
	r := modelRow{gen: g.RefreshGen, parent: g.RefreshParent, redeemed: len(g.RefreshRecent), expires: g.RefreshExpiresAt.Unix()}
	if copy(r.recent[:], g.RefreshRecent) < len(g.RefreshRecent) {
		panic("the model's row is too small")
	}
	if g.RefreshedAt != nil {
		r.refreshedAt = g.RefreshedAt.Unix()
	}
	return r
}

// A modelRequest is one request at one node.
type modelRequest struct {
	state  modelState
	party  int // whose: 0 is the client, 1 the thief
	node   int
	shown  int64
	sender uint64
	seen   modelRow // what its SELECT found
	got    int64    // the generation of the answer, 0 for invalid_grant
}

type modelState int

const (
	idle     modelState = iota
	read                // the row was read, nothing is written
	reread              // a race was lost and the row read again
	answered            // written; the answer is on its way
)

// A modelWorld is a whole state: comparable, so that each is visited once. Its clock stands at 0
// and what is written moves into the past, so that two worlds that differ in age alone are one.
type modelWorld struct {
	row      modelRow
	denied   uint32 // generations with a deny row
	issued   int64  // the expiry that the head was issued with
	requests [2]modelRequest
	held     [2]int64  // the newest token that each party got
	own      [2]uint32 // generations that a party got by itself after the theft
	used     [2]bool   // whether the party then redeemed one of those
	sender   uint64    // the client's own; the thief's is thiefSender
	stolen   bool
}

const thiefSender = 99

// A scenario says what may happen.
type scenario struct {
	window     int64
	skew       int64 // how far node 1's clock is before node 0's, in seconds
	slots      int   // requests at a time; with a thief one for each party
	thief      bool
	roams      bool    // the client's address may change
	waits      []int64 // how far the clock may jump while no request is under way
	depth      int
	withinRule bool // the client comes back within the recovery time of an answer that was lost
}

func (s scenario) rules() RefreshRules {
	return RefreshRules{Window: time.Duration(s.window) * time.Second, Recovery: modelRecovery * time.Second}
}

func firstWorld() modelWorld {
	w := modelWorld{row: modelRow{gen: 1, expires: modelTTL}, issued: modelTTL, sender: 1}
	w.held[0] = 1
	return w
}

// later is w after d seconds. What is older than any rule asks for is as old as that.
func (w modelWorld) later(d int64) modelWorld {
	w.row.expires, w.issued = max(w.row.expires-d, -1), max(w.issued-d, -1)
	if w.row.parent > 0 {
		w.row.refreshedAt = max(w.row.refreshedAt-d, -2*modelRecovery)
	}
	for i := range w.row.redeemed {
		w.row.recent[i].At = max(w.row.recent[i].At-d*1000, -10*modelWindow*1000)
	}
	return w
}

// A move leads to another world, or breaks a property.
type move struct {
	name string
	next modelWorld
	err  string
}

func (s scenario) moves(w modelWorld) []move {
	var list []move
	busy := false
	for i := range s.slots {
		party := 0
		if s.thief {
			party = i
		}
		if w.requests[i].state == idle {
			list = append(list, s.starts(w, i, party)...)
			continue
		}
		busy = true
		list = append(list, s.continues(w, i)...)
	}
	if s.thief && !w.stolen {
		next := w
		next.stolen, next.held[1] = true, w.held[0]
		list = append(list, move{name: fmt.Sprintf("the thief copies %d", w.held[0]), next: next})
	}
	if busy {
		return list
	}
	if s.roams {
		next := w
		next.sender = 3 - w.sender
		list = append(list, move{name: "the client's address changes", next: next})
	}
	for _, d := range s.waits {
		lost := w.held[0] != w.row.gen
		if s.withinRule && lost && d+s.skew-w.row.refreshedAt > modelRecovery {
			continue
		}
		list = append(list, move{name: fmt.Sprintf("%d s pass", d), next: w.later(d)})
	}
	return list
}

func (s scenario) starts(w modelWorld, slot, party int) []move {
	if w.held[party] == 0 {
		return nil
	}
	var list []move
	nodes := 1
	if s.skew != 0 {
		nodes = 2
	}
	for node := range nodes {
		r := modelRequest{state: read, party: party, node: node, shown: w.held[party], sender: w.sender, seen: w.row}
		if party == 1 {
			r.sender = thiefSender
		}
		next := w
		next.requests[slot] = r
		list = append(list, move{name: fmt.Sprintf("party %d shows %d to node %d", party, r.shown, node), next: next})
	}
	return list
}

func (s scenario) continues(w modelWorld, slot int) []move {
	r := w.requests[slot]
	lost := w
	lost.requests[slot] = modelRequest{}
	if r.state != answered {
		next, err := s.write(w, slot)
		return []move{
			{name: fmt.Sprintf("the request of %d is judged and written", r.shown), next: next, err: err},
			{name: fmt.Sprintf("the node of the request of %d crashes", r.shown), next: lost},
		}
	}
	arrived := lost
	if r.got > arrived.held[r.party] {
		arrived.held[r.party] = r.got
	}
	if r.got > 0 && w.stolen {
		arrived.own[r.party] |= 1 << r.got
	}
	return []move{
		{name: fmt.Sprintf("the answer %d to %d arrives", r.got, r.shown), next: arrived},
		{name: fmt.Sprintf("the answer %d to %d is lost", r.got, r.shown), next: lost},
	}
}

// write is Provider.refreshOnce with its conditional UPDATE as one atomic step.
func (s scenario) write(w modelWorld, slot int) (modelWorld, string) {
	r := &w.requests[slot]
	now := int64(r.node) * s.skew
	g := r.seen.grant()
	if r.seen.revoked {
		r.state, r.got = answered, 0
		return w, ""
	}
	verdict := JudgeRefresh(&g, r.shown, r.sender, s.rules(), time.Unix(now, 0))
	redeem := redeeming{sender: r.sender, rules: s.rules(), now: time.Unix(now, 0), expires: time.Unix(now+modelTTL, 0)}
	moved := w.row.revoked || w.row.gen != r.seen.gen
	var next Grant
	switch verdict {
	case Rotate:
		next = g.rotated(redeem)
	case Skip:
		moved = moved || w.row.parent != r.shown
		next = g.skipped(redeem)
	case Repeat: // writes nothing
		if r.seen.gen == w.row.gen && r.seen.expires != w.issued {
			return w, fmt.Sprintf("repeat of %d with the expiry %d, issued with %d: other bytes", r.seen.gen, r.seen.expires, w.issued)
		}
		return s.accepted(w, slot, r.seen.gen)
	case Reuse:
		w.row.revoked = true
		r.state, r.got = answered, 0
		return w, ""
	case Unknown:
		return w, fmt.Sprintf("%d is unknown at head %d", r.shown, r.seen.gen)
	}
	if moved {
		if r.state == reread {
			*r = modelRequest{} // 503
			return w, ""
		}
		r.state, r.seen = reread, w.row
		return w, ""
	}
	if verdict == Skip {
		w.denied |= 1 << w.row.gen
	}
	w.row = rowOf(next)
	w.issued = w.row.expires
	return s.accepted(w, slot, w.row.gen)
}

func (s scenario) accepted(w modelWorld, slot int, gen int64) (modelWorld, string) {
	r := &w.requests[slot]
	if w.own[r.party]&(1<<r.shown) != 0 {
		w.used[r.party] = true
	}
	r.state, r.got, r.seen = answered, gen, modelRow{}
	return w, ""
}

// broken tells which property does not hold in w.
func (s scenario) broken(w modelWorld) string {
	g := w.row.grant()
	heads := 0
	for gen := int64(1); gen < modelGens; gen++ {
		for _, sender := range []uint64{1, 2, thiefSender} {
			verdict := JudgeRefresh(&g, gen, sender, s.rules(), time.Unix(0, 0))
			if verdict == Rotate && sender == 1 {
				heads++
			}
			if w.denied&(1<<gen) != 0 && verdict != Reuse {
				return fmt.Sprintf("generation %d is denied, and valid", gen)
			}
		}
	}
	switch {
	case heads != 1:
		return fmt.Sprintf("%d generations rotate", heads)
	case w.own[0]&w.own[1] != 0:
		return "the client and the thief got the same token"
	case w.used[0] && w.used[1] && !w.row.revoked:
		return "both use their branch, and nobody notices"
	case !s.thief && w.row.revoked:
		return "an honest client is logged out"
	}
	return ""
}

// walk visits every world that can be reached within the depth and returns how many there are, or
// fails with the moves that lead to a broken property.
func (s scenario) walk(t *testing.T) (worlds, revoked int) {
	t.Helper()
	type from struct {
		world modelWorld
		name  string
	}
	start := firstWorld()
	came := map[modelWorld]from{start: {}}
	layer := []modelWorld{start}
	fail := func(w modelWorld, what string) {
		var story []string
		for w != start {
			story = append([]string{came[w].name}, story...)
			w = came[w].world
		}
		t.Fatalf("%s:\n%s", what, strings.Join(story, "\n"))
	}
	for range s.depth {
		var reached []modelWorld
		for _, w := range layer {
			for _, m := range s.moves(w) {
				if m.err != "" {
					fail(w, m.name+": "+m.err)
				}
				if _, seen := came[m.next]; seen {
					continue
				}
				came[m.next] = from{w, m.name}
				if broken := s.broken(m.next); broken != "" {
					fail(m.next, broken)
				}
				if m.next.row.revoked {
					revoked++
					continue // nothing comes after it
				}
				reached = append(reached, m.next)
			}
		}
		layer = reached
	}
	return len(came), revoked
}

func TestI3_NoInterleavingBreaksTheRefreshMachine(t *testing.T) {
	waits := []int64{1, modelWindow + 1, modelRecovery / 2}
	for name, s := range map[string]scenario{
		"a client that loses answers, changes address and meets two clocks": {
			window: modelWindow, skew: 2, slots: 1, roams: true, waits: waits, depth: 12, withinRule: true,
		},
		"the same without a window": {slots: 1, skew: 2, roams: true, waits: waits, depth: 12, withinRule: true},
		"parallel requests of one client": {
			window: modelWindow, slots: 2, waits: waits, depth: 12, withinRule: true,
		},
		"a thief at another address": {window: modelWindow, skew: 2, slots: 2, thief: true, waits: waits, depth: 10},
		"a thief, without a window":  {slots: 2, thief: true, waits: waits, depth: 11},
	} {
		t.Run(name, func(t *testing.T) {
			worlds, revoked := s.walk(t)
			t.Logf("%d worlds, %d of them with a revoked family", worlds, revoked)
			if s.thief && revoked == 0 {
				t.Error("no walk reached the detection of the thief: the model is too shallow")
			}
		})
	}
}

func TestI3_TheRowRemembersAtMostEightRedemptionsOfTheWindow(t *testing.T) {
	rules := RefreshRules{Window: modelWindow * time.Second}
	var l Redeemed
	for gen := range int64(12) {
		l = l.with(Redemption{Gen: gen + 1, At: gen * 1000, Sender: 1}, rules)
	}
	want := Redeemed{{5, 4000, 1}, {6, 5000, 1}, {7, 6000, 1}, {8, 7000, 1}, {9, 8000, 1}, {10, 9000, 1}, {11, 10000, 1}, {12, 11000, 1}}
	if !slices.Equal(l, want) {
		t.Errorf("got %v, want the last eight", l)
	}
	l = l.with(Redemption{Gen: 10, At: 18000, Sender: 2}, rules)
	want = Redeemed{{9, 8000, 1}, {11, 10000, 1}, {12, 11000, 1}, {10, 18000, 2}}
	if !slices.Equal(l, want) {
		t.Errorf("got %v, want those of the window, and generation 10 once", l)
	}
	if l := l.with(Redemption{Gen: 13, At: 18000}, RefreshRules{}); l != nil {
		t.Errorf("without a window the row remembers %v", l)
	}
}
