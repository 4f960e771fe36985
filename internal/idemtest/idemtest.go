// Package idemtest provides a test suite for implementations of [idempotency.Store].
package idemtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/idempotency"
)

const (
	patience = 20 * time.Second
	long     = time.Hour
	short    = 100 * time.Millisecond
)

// Run runs the test suite on the stores that open returns. Each call of open must return a store
// with its own connections, and all these stores must share the same keys.
func Run(t *testing.T, open func(t *testing.T) idempotency.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, opener){
		"ParallelBegins":  parallelBegins,
		"Restart":         restart,
		"Reused":          reused,
		"BeginAgain":      beginAgain,
		"Abandon":         abandon,
		"LeaseEnds":       leaseEnds,
		"LateFinish":      lateFinish,
		"OutcomeExpires":  outcomeExpires,
		"OutcomeIsBinary": outcomes,
		"TooLarge":        tooLarge,
		"EndOfContext":    endOfContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

type opener = func(t *testing.T) idempotency.Store

// Attempt returns an attempt with a random key and a constant fingerprint.
func Attempt() idempotency.Attempt { return idempotency.NewAttempt(rand.Text(), []byte{0, 0xff, 1}) }

// again returns another attempt with the key and the fingerprint of a.
func again(a idempotency.Attempt) idempotency.Attempt {
	return idempotency.NewAttempt(a.Key, a.Fingerprint)
}

// wantBegin calls s.Begin, and stops the test unless Begin returns state, outcome and no error.
func wantBegin(t *testing.T, s idempotency.Store, a idempotency.Attempt, lease time.Duration, state idempotency.State, outcome string) {
	t.Helper()
	got, kept, err := s.Begin(t.Context(), a, lease)
	if err != nil || got != state || string(kept) != outcome {
		t.Fatalf("Begin: got state %d, outcome %.100q and error %v, want state %d, outcome %.100q and no error", got, kept, err, state, outcome)
	}
}

// await begins new attempts with the key and the fingerprint of a until Begin returns state, and
// returns the last attempt. It stops the test if Begin fails, or after 20 s.
func await(t *testing.T, s idempotency.Store, a idempotency.Attempt, state idempotency.State) idempotency.Attempt {
	t.Helper()
	tick, limit := time.NewTicker(5*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		next := again(a)
		got, _, err := s.Begin(t.Context(), next, long)
		if err != nil {
			t.Fatal(err)
		}
		if got == state {
			return next
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("Begin: got state %d for %v, want %d", got, patience, state)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// parallelBegins tests that exactly one of a hundred concurrent attempts on two nodes begins, and
// that no attempt begins after that attempt has finished.
func parallelBegins(t *testing.T, open opener) {
	nodes := [2]idempotency.Store{open(t), open(t)}
	first := Attempt()
	for range 3 {
		var begun atomic.Int64
		var winner atomic.Pointer[idempotency.Attempt]
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				a := again(first)
				switch state, _, err := nodes[i%2].Begin(t.Context(), a, long); {
				case err != nil:
					t.Error(err)
				case state == idempotency.Begun:
					begun.Add(1)
					winner.Store(&a)
				case state != idempotency.Running:
					t.Errorf("Begin: got state %d, want Begun (%d) or Running (%d)", state, idempotency.Begun, idempotency.Running)
				}
			})
		}
		all.Wait()
		if begun.Load() != 1 {
			t.Fatalf("got %d attempts begun, want 1", begun.Load())
		}
		must(t, nodes[0].Finish(t.Context(), *winner.Load(), []byte("done"), long))
		wantBegin(t, nodes[1], again(first), long, idempotency.Finished, "done")
		first = Attempt()
	}
}

// restart tests that a store that is opened later reports running attempts as running and returns
// the outcomes of finished attempts.
func restart(t *testing.T, open opener) {
	running, finished := Attempt(), Attempt()
	store := open(t)
	wantBegin(t, store, running, long, idempotency.Begun, "")
	wantBegin(t, store, finished, long, idempotency.Begun, "")
	must(t, store.Finish(t.Context(), finished, []byte("done"), long))
	store = open(t)
	wantBegin(t, store, again(running), long, idempotency.Running, "")
	wantBegin(t, store, again(finished), long, idempotency.Finished, "done")
	must(t, store.Finish(t.Context(), running, []byte("done at last"), long))
	wantBegin(t, store, again(running), long, idempotency.Finished, "done at last")
}

func reused(t *testing.T, open opener) {
	store, a := open(t), Attempt()
	other := idempotency.NewAttempt(a.Key, []byte{0, 0xff, 2})
	wantBegin(t, store, a, long, idempotency.Begun, "")
	wantBegin(t, store, other, long, idempotency.Reused, "")
	must(t, store.Finish(t.Context(), a, []byte("done"), long))
	wantBegin(t, store, other, long, idempotency.Reused, "")
	wantBegin(t, store, again(a), long, idempotency.Finished, "done")
}

// beginAgain tests that an attempt may begin and finish twice, because a caller that receives no
// response may retry.
func beginAgain(t *testing.T, open opener) {
	store, a := open(t), Attempt()
	wantBegin(t, store, a, long, idempotency.Begun, "")
	wantBegin(t, store, a, long, idempotency.Begun, "")
	wantBegin(t, store, again(a), long, idempotency.Running, "")
	must(t, store.Finish(t.Context(), a, []byte("done"), long))
	must(t, store.Finish(t.Context(), a, []byte("done"), long))
	wantBegin(t, store, a, long, idempotency.Finished, "done")
}

func abandon(t *testing.T, open opener) {
	store, first := open(t), Attempt()
	must(t, store.Abandon(t.Context(), first)) // of which nothing is known
	wantBegin(t, store, first, long, idempotency.Begun, "")
	must(t, store.Abandon(t.Context(), again(first)))
	wantBegin(t, store, again(first), long, idempotency.Running, "")
	must(t, store.Abandon(t.Context(), first))
	// The next may even be another request.
	second := idempotency.NewAttempt(first.Key, []byte("other"))
	wantBegin(t, store, second, long, idempotency.Begun, "")
	must(t, store.Abandon(t.Context(), first))
	must(t, store.Finish(t.Context(), second, []byte("done"), long))
	must(t, store.Abandon(t.Context(), second))
	wantBegin(t, store, again(second), long, idempotency.Finished, "done")
}

func leaseEnds(t *testing.T, open opener) {
	store, first := open(t), Attempt()
	began := time.Now()
	wantBegin(t, store, first, short, idempotency.Begun, "")
	second := await(t, store, first, idempotency.Begun)
	if took := time.Since(began); took < short-10*time.Millisecond {
		t.Errorf("got the second attempt begun after %v, want at least %v, about the lease of the first", took, short-10*time.Millisecond)
	}
	must(t, store.Finish(t.Context(), second, []byte("second"), long))
	wantBegin(t, store, again(first), long, idempotency.Finished, "second")
}

// lateFinish tests that an attempt whose lease has ended cannot change the attempt that replaced
// it.
func lateFinish(t *testing.T, open opener) {
	store, first := open(t), Attempt()
	wantBegin(t, store, first, short, idempotency.Begun, "")
	second := await(t, store, first, idempotency.Begun)
	for range 2 {
		if err := store.Finish(t.Context(), first, []byte("first"), long); !errors.Is(err, idempotency.ErrLost) {
			t.Errorf("Finish after the lease: got %v, want ErrLost", err)
		}
		must(t, store.Abandon(t.Context(), first))
		must(t, store.Finish(t.Context(), second, []byte("second"), long))
		wantBegin(t, store, again(first), long, idempotency.Finished, "second")
	}
}

func outcomeExpires(t *testing.T, open opener) {
	store, first := open(t), Attempt()
	wantBegin(t, store, first, long, idempotency.Begun, "")
	must(t, store.Finish(t.Context(), first, []byte("done"), short))
	next := await(t, store, first, idempotency.Begun)
	must(t, store.Finish(t.Context(), next, []byte("done anew"), long))
	wantBegin(t, store, again(first), long, idempotency.Finished, "done anew")
}

func outcomes(t *testing.T, open opener) {
	store := open(t)
	for _, outcome := range []string{"", "\x00\xff\r\n", string(bytes.Repeat([]byte{0xfe}, idempotency.MaxOutcome))} {
		a := Attempt()
		wantBegin(t, store, a, long, idempotency.Begun, "")
		must(t, store.Finish(t.Context(), a, []byte(outcome), long))
		wantBegin(t, store, again(a), long, idempotency.Finished, outcome)
	}
}

func tooLarge(t *testing.T, open opener) {
	store, a := open(t), Attempt()
	wantBegin(t, store, a, long, idempotency.Begun, "")
	if err := store.Finish(t.Context(), a, make([]byte, idempotency.MaxOutcome+1), long); !errors.Is(err, idempotency.ErrTooLarge) {
		t.Errorf("Finish: got %v, want ErrTooLarge", err)
	}
	wantBegin(t, store, again(a), long, idempotency.Running, "")
	must(t, store.Finish(t.Context(), a, []byte("small"), long))
}

func endOfContext(t *testing.T, open opener) {
	store, a := open(t), Attempt()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if state, _, err := store.Begin(ctx, a, long); !errors.Is(err, context.Canceled) || state != 0 {
		t.Errorf("Begin: got state %d and error %v, want state 0 and context.Canceled", state, err)
	}
	wantBegin(t, store, a, long, idempotency.Begun, "")
	if err := store.Finish(ctx, a, []byte("done"), long); !errors.Is(err, context.Canceled) {
		t.Errorf("Finish: got %v, want context.Canceled", err)
	}
}
