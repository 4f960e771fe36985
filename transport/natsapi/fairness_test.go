package natsapi

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// The queue serves clients in turn: one that has many requests waiting does not hold up
// another's, and runs no more than its share at once.
func TestFairQueueTakesTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var mu sync.Mutex
		running, most := 0, 0
		var order []string
		q := newFairQueue(Config{MaxConcurrent: 4, MaxQueued: 40, MaxConcurrentPerClient: 2, MaxQueuedPerClient: 20}, func(a arrival) {
			mu.Lock()
			if a.client.peerName == "nats:greedy" {
				running++
				most = max(most, running)
			}
			order = append(order, a.client.peerName)
			mu.Unlock()
			<-release
			mu.Lock()
			defer mu.Unlock()
			if a.client.peerName == "nats:greedy" {
				running--
			}
		})
		accepted := 0
		for range 100 {
			if q.submit("greedy", arrival{}) {
				accepted++
			}
		}
		if accepted != 2+20 { // half of what may run and wait
			t.Errorf("%d requests of one client were accepted, want 22", accepted)
		}
		synctest.Wait()
		for range 3 {
			if !q.submit("modest", arrival{}) {
				t.Error("a request of another client was refused")
			}
		}
		synctest.Wait()
		mu.Lock()
		if got := fmt.Sprint(order); got != "[nats:greedy nats:greedy nats:modest nats:modest]" {
			t.Errorf("run at once: %s", got)
		}
		mu.Unlock()
		close(release)
		q.close()
		if len(order) != 25 || most != 2 {
			t.Errorf("%d requests were run, want 25; %d of one client at once, want 2", len(order), most)
		}
		if q.putOff != 0 || q.total != 0 || q.ready.len() != 0 {
			t.Errorf("left: %d put off, %d in all, %d ready", q.putOff, q.total, q.ready.len())
		}
	})
}

// Requests without a client's name have no share of their own to use up.
func TestFairQueueOfUnnamedClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ran := make(chan struct{}, 10)
		q := newFairQueue(Config{MaxConcurrent: 4, MaxQueued: 4, MaxConcurrentPerClient: 1, MaxQueuedPerClient: 1}, func(arrival) { ran <- struct{}{}; <-release })
		for i := range 9 {
			if ok := q.submit("", arrival{}); ok != (i < 8) {
				t.Errorf("request %d: %t", i, ok)
			}
		}
		synctest.Wait()
		if len(ran) != 4 {
			t.Errorf("%d at once, want 4", len(ran))
		}
		close(release)
		q.close()
		if len(ran) != 8 || q.submit("", arrival{}) {
			t.Errorf("%d were run, or one was taken after the end", len(ran))
		}
	})
}

// Clients are forgotten when there are many that wait for nothing.
func TestFairQueueDropsIdleClients(t *testing.T) {
	t.Parallel()
	q := newFairQueue(Config{MaxConcurrent: 1, MaxQueued: 10, MaxConcurrentPerClient: 1, MaxQueuedPerClient: 10}, func(arrival) {})
	for i := range 3 * maxIdle {
		for !q.submit(strconv.Itoa(i), arrival{}) { // until the worker has capacity again
		}
	}
	q.close()
	if n := len(q.clients); n > maxIdle+20 {
		t.Errorf("%d clients are remembered", n)
	}
}

func TestFifo(t *testing.T) {
	t.Parallel()
	var f fifo[int]
	next, want := 0, 0
	for round := range 1000 {
		for range round % 7 {
			f.push(next)
			next++
		}
		for range round % 5 {
			if f.len() == 0 {
				break
			}
			if got := f.pop(); got != want {
				t.Fatalf("got %d, want %d", got, want)
			}
			want++
		}
	}
	for f.len() > 0 {
		if got := f.pop(); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
		want++
	}
	if want != next {
		t.Errorf("%d of %d came out", want, next)
	}
	if cap(f.items) > 4096 {
		t.Errorf("capacity %d: the space of taken items is not reused", cap(f.items))
	}
}

// What is logged of a client's text, and how often, is bounded.
func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	if text := shorten(strings.Repeat("x", 10_000)); len(text) > maxLogged+3 {
		t.Errorf("%d bytes", len(text))
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := New(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		m := meter{max: 5, maxClient: 3}
		allowed := 0
		for range 100 {
			s.drop(&nats.Msg{Subject: strings.Repeat("x", 10_000)}, "reply_refused", "one reason")
			s.drop(&nats.Msg{}, "name_refused", "another")
			if m.allow("gateway") {
				allowed++
			}
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || log.Len() > 1000 || allowed != 3 {
			t.Errorf("%d lines of %d bytes, want 2 short ones; %d allowed, want 3", lines, log.Len(), allowed)
		}
		if !m.allow("reports") || !m.allow("") || m.allow("") || m.allow("reports") {
			t.Error("not two more of others")
		}
		time.Sleep(time.Second)
		for range 5 {
			if !m.allow("") {
				t.Error("clients without a name have a limit of their own, or the limit is not reset after a second")
			}
		}
	})
}
