package secret

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A hall is a queue with those who came to it, each until it is told to leave. It lives in the
// bubble of one test, so that an order of arrival is what the test says.
type hall struct {
	t      *testing.T
	queue  *queue
	begun  []string // in order
	failed map[string]error
	jobs   map[string]*job
	cancel map[string]context.CancelFunc
}

const allMemory = 1000

func newHall(t *testing.T, places int) *hall {
	return &hall{
		t: t, queue: newQueue(places, allMemory),
		failed: make(map[string]error), jobs: make(map[string]*job), cancel: make(map[string]context.CancelFunc),
	}
}

// come lets one come whose name begins with "known" for a known device, and ends with its network.
func (h *hall) come(weight int64, names ...string) {
	h.t.Helper()
	for _, name := range names {
		ctx, cancel := context.WithCancel(h.t.Context())
		h.cancel[name] = cancel
		go func() {
			j, err := h.queue.enter(ctx, senderNamed(name), weight)
			h.queue.mu.Lock()
			defer h.queue.mu.Unlock()
			if err != nil {
				h.failed[name] = err
				return
			}
			h.jobs[name] = j
			h.begun = append(h.begun, name)
		}()
		synctest.Wait()
	}
}

func senderNamed(name string) sender {
	s := sender{known: strings.HasPrefix(name, "known")}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		n, _ := strconv.Atoi(name[i+1:])
		s.network = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)
	}
	return s
}

// end lets those leave who run, and waits for who begins then.
func (h *hall) end(names ...string) {
	h.t.Helper()
	for _, name := range names {
		j := h.jobs[name]
		if j == nil {
			h.t.Fatalf("%s does not run; begun are %v", name, h.begun)
		}
		delete(h.jobs, name)
		h.queue.leave(j)
		synctest.Wait()
	}
}

// endAll lets each one leave in the order in which they begin.
func (h *hall) endAll() {
	h.t.Helper()
	for len(h.jobs) > 0 {
		for _, name := range h.begun {
			if h.jobs[name] != nil {
				h.end(name)
				break
			}
		}
	}
}

func (h *hall) want(names ...string) {
	h.t.Helper()
	if !reflect.DeepEqual(h.begun, names) {
		h.t.Errorf("got the order %v, want %v", h.begun, names)
	}
}

// empty fails unless everybody left and everything is free again.
func (h *hall) empty(places int) {
	h.t.Helper()
	h.endAll()
	q := h.queue
	lines := len(q.known.lines) + len(q.others.lines) + q.known.turns.Len() + q.others.turns.Len()
	running := q.running + q.known.running + q.others.running
	if q.waiting() != 0 || lines != 0 || running != 0 || q.memory != allMemory || q.places != places {
		h.t.Errorf("left over: %d wait, %d lines, %d run, %d of %d bytes free", q.waiting(), lines, running, q.memory, allMemory)
	}
}

func many(name string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i) + strings.Replace(name, "#", strconv.Itoa(i), 1)
	}
	return names
}

func TestI16_AFloodOfOneNetworkDelaysAKnownDeviceByOneHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 1)
		h.come(1, many("flood@1", 60)...)
		h.come(1, "known@2")
		h.want("0flood@1")
		h.end("0flood@1")
		h.want("0flood@1", "known@2")
		h.end("known@2")
		h.want("0flood@1", "known@2", "1flood@1")
		h.empty(1)
	})
}

func TestI16_AFloodOfManyNetworksDelaysAKnownDeviceByOneHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 4)
		h.come(1, many("flood@#", 200)...)
		h.come(1, "known@1")
		h.end("2flood@2")
		h.want("0flood@0", "1flood@1", "2flood@2", "3flood@3", "known@1")
		h.empty(4)
	})
}

func TestI16_EachLaneHasHalfOfThePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 4)
		h.come(1, "a", "b", "c", "d")
		h.come(1, "known 1", "known 2", "known 3", "known 4", "e", "f")
		h.end("a", "b", "c", "d")
		h.want("a", "b", "c", "d", "known 1", "known 2", "e", "f")
		h.empty(4)
	})
}

func TestI16_ALaneHasEveryPlaceWhileTheOtherIsEmpty(t *testing.T) {
	for name, names := range map[string][]string{
		"known devices": {"known 1", "known 2", "known 3", "known 4"},
		"others":        {"a", "b", "c", "d"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t, 4)
				h.come(1, names...)
				h.want(names...)
				h.empty(4)
			})
		})
	}
}

func TestI16_TheOddPlaceGoesToTheLanesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 1)
		h.come(1, "known 1", "known 2", "known 3", "a", "b")
		h.endAll()
		h.want("known 1", "a", "known 2", "b", "known 3")
		h.empty(1)
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 3)
		h.come(1, "a", "b", "c", "known 1", "known 2", "known 3", "d", "e")
		h.end("a", "b", "c", "known 1")
		h.want("a", "b", "c", "known 1", "d", "known 2", "e")
		h.empty(3)
	})
}

func TestI16_NetworksAreServedInTurnAndEachInItsOrder(t *testing.T) {
	for _, lane := range []string{"", "known "} {
		t.Run("lane "+lane, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t, 1)
				h.come(1, lane+"a@1", lane+"b@1", lane+"c@1", lane+"d@1", lane+"x@2", lane+"y@2", lane+"z@3")
				h.endAll()
				h.want(lane+"a@1", lane+"b@1", lane+"x@2", lane+"z@3", lane+"c@1", lane+"y@2", lane+"d@1")
				h.empty(1)
			})
		})
	}
}

func TestI16_WhoWaitsTooLongIsToldSoAndHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 1)
		h.come(1, "a@1")
		began := time.Now()
		h.come(1, "b@1", "known@2")
		time.Sleep(maxQueue)
		synctest.Wait()
		for _, name := range []string{"b@1", "known@2"} {
			if busy, ok := errors.AsType[*Busy](h.failed[name]); !ok || busy.RetryAfter != maxQueue {
				t.Errorf("%s: got %v, want Busy", name, h.failed[name])
			}
		}
		if waited := time.Since(began); waited != maxQueue {
			t.Errorf("waited %s, want %s", waited, maxQueue)
		}
		h.come(1, "c@1")
		h.end("a@1")
		h.want("a@1", "c@1")
		h.empty(1)
	})
}

func TestI16_WhoLeavesIsTakenOutOfTheQueueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 1)
		h.come(1, "a@1", "b@1", "c@2", "known@3", "d@1")
		if got := h.queue.waiting(); got != 4 {
			t.Errorf("got %d waiting, want 4", got)
		}
		for i, name := range []string{"b@1", "c@2", "known@3"} {
			h.cancel[name]()
			synctest.Wait()
			if !errors.Is(h.failed[name], context.Canceled) {
				t.Errorf("%s: got %v, want that of the context", name, h.failed[name])
			}
			if got := h.queue.waiting(); got != 3-i {
				t.Errorf("after %s: got %d waiting, want %d", name, got, 3-i)
			}
		}
		h.cancel["a@1"]() // it runs, so nothing happens
		h.end("a@1")
		h.want("a@1", "d@1")
		h.come(1, "e@1")
		h.cancel["e@1"]()
		synctest.Wait()
		h.empty(1)
	})
}

func TestI16_WhoLeavesBeforeItComesTakesNoPlace(t *testing.T) {
	q := newQueue(1, allMemory)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.enter(ctx, sender{}, 1); !errors.Is(err, context.Canceled) || q.running != 0 {
		t.Errorf("got %v and %d running, want that of the context and none", err, q.running)
	}
}

func TestI16_TheQueueHoldsSoManyOfANetworkAndOfALane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 2)
		h.come(1, "a", "b") // they run
		h.come(1, many("flood@1", 2*maxWaitingOfNetwork)...)
		h.come(1, "late@1")
		if _, ok := errors.AsType[*Busy](h.failed["late@1"]); !ok {
			t.Errorf("one more of the network: got %v, want Busy at once", h.failed["late@1"])
		}
		h.come(1, many("crowd@#", 2*maxWaitingOfLane-2*maxWaitingOfNetwork+1)...)
		if got := h.queue.waiting(); got != 2*maxWaitingOfLane {
			t.Errorf("got %d waiting, want %d", got, 2*maxWaitingOfLane)
		}
		h.come(1, "late@2", "known@9999")
		if _, ok := errors.AsType[*Busy](h.failed["late@2"]); !ok {
			t.Errorf("one more of the lane: got %v, want Busy at once", h.failed["late@2"])
		}
		if h.failed["known@9999"] != nil {
			t.Errorf("a known device: got %v, want it to wait in its own lane", h.failed["known@9999"])
		}
		h.empty(2)
	})
}

func TestI16_AFullLaneHasRoomForANetworkThatNobodyWaitsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 1)
		h.come(1, "runs")
		for _, network := range []string{"@1", "@2", "@3", "@4"} { // a few fill the lane
			h.come(1, many("flood"+network, maxWaitingOfNetwork)...)
		}
		h.come(1, "victim@5", "late@2")
		if h.failed["victim@5"] != nil {
			t.Fatalf("got %v, want it to wait for its turn", h.failed["victim@5"])
		}
		last := strconv.Itoa(maxWaitingOfNetwork-1) + "flood@1"
		for _, name := range []string{last, "late@2"} {
			if _, ok := errors.AsType[*Busy](h.failed[name]); !ok {
				t.Errorf("%s: got %v, want Busy at once", name, h.failed[name])
			}
		}
		if got := h.queue.waiting(); got != maxWaitingOfLane {
			t.Errorf("got %d waiting, want %d", got, maxWaitingOfLane)
		}
		h.end("runs", "0flood@1", "0flood@2", "0flood@3", "0flood@4")
		h.want("runs", "0flood@1", "0flood@2", "0flood@3", "0flood@4", "victim@5")
		h.empty(1)
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 1)
		h.come(1, "runs")
		h.come(1, many("one@#", maxWaitingOfLane)...)
		h.come(1, "late@9999")
		if _, ok := errors.AsType[*Busy](h.failed["late@9999"]); !ok {
			t.Errorf("where no network has two: got %v, want Busy at once", h.failed["late@9999"])
		}
		h.empty(1)
	})
}

func TestALargeHashIsNotOvertakenAndRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 4)
		h.come(100, "a")
		h.come(allMemory, "large")
		h.come(600, "b", "known")
		h.want("a")
		h.end("a")
		h.want("a", "large")
		h.end("large", "known")
		h.want("a", "large", "known", "b")
		h.empty(4)
	})
}

func TestALargeHashThatLeavesLetsTheOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 4)
		h.come(100, "a")
		h.come(allMemory, "large")
		h.come(100, "b")
		h.cancel["large"]()
		synctest.Wait()
		h.want("a", "b")
		h.empty(4)
	})
}
