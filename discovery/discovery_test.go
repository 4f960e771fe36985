package discovery_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/disctest"
)

// step is what a scripted source does in one call of Next.
type step struct {
	wait  time.Duration
	addrs []string
	err   error
}

// script is a source that waits for the end once its steps are over.
type script struct {
	steps  []step
	asked  []time.Time
	closed bool
}

func (s *script) Next(ctx context.Context) ([]string, error) {
	s.asked = append(s.asked, time.Now())
	if len(s.asked) > len(s.steps) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	next := s.steps[len(s.asked)-1]
	<-time.After(next.wait)
	return next.addrs, next.err
}

func (s *script) Close() error {
	s.closed = true
	return nil
}

// follow runs a script to its end in a synctest bubble, and returns the updates.
func follow(t *testing.T, s *script, o discovery.Options) (updates [][]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			discovery.Follow(ctx, s, o, func(addrs []string) { updates = append(updates, addrs) })
		}()
		time.Sleep(24 * time.Hour)
		cancel()
		<-done
	})
	if !s.closed {
		t.Error("the source has not been closed")
	}
	return updates
}

func TestFollowReportsChanges(t *testing.T) {
	t.Parallel()
	s := &script{steps: []step{
		{addrs: []string{"b:1", "a:1", "b:1"}},
		{wait: time.Second, addrs: []string{"a:1", "b:1"}},
		{wait: time.Second, addrs: []string{"a:1"}},
	}}
	var l disctest.Log
	updates := follow(t, s, discovery.Options{Name: "auth", Logger: l.Logger()})
	want := [][]string{{"a:1", "b:1"}, {"a:1"}}
	if !slices.EqualFunc(updates, want, slices.Equal) {
		t.Errorf("updates are %q, want %q: sorted, each once, and only changes", updates, want)
	}
	if n := l.Count("level=WARN"); n != 0 {
		t.Errorf("%d warnings without a failure", n)
	}
}

// Fault 42: the registry does not respond, or has lost its data.
func TestFollowKeepsLastAddresses(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	for name, lost := range map[string]step{"error": {err: down}, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &script{steps: []step{{addrs: []string{"a:1"}}, lost, lost, lost, {addrs: []string{"a:1"}}, lost, {addrs: []string{"b:1"}}}}
			var l disctest.Log
			updates := follow(t, s, discovery.Options{Name: "auth", Logger: l.Logger()})
			if want := [][]string{{"a:1"}, {"b:1"}}; !slices.EqualFunc(updates, want, slices.Equal) {
				t.Errorf("updates are %q, want %q", updates, want)
			}
			if lost, back := l.Count("discovery fails"), l.Count("discovery works again"); lost != 2 || back != 2 {
				t.Errorf("two failures are logged %d times, their ends %d times", lost, back)
			}
			if l.Count("addrs=[a:1]") == 0 || l.Count("failures=3") != 1 {
				t.Errorf("the log does not say what stays in use, or how often it failed:\n%s", l.String())
			}
		})
	}
}

func TestFollowBacksOff(t *testing.T) {
	t.Parallel()
	down := step{err: errors.New("down")}
	s := &script{steps: []step{down, down, down, down, down, down, down, {addrs: []string{"a:1"}}, down, {addrs: []string{"a:1"}}}}
	follow(t, s, discovery.Options{Logger: slog.New(slog.DiscardHandler), RetryDelay: time.Second, MaxRetryDelay: 10 * time.Second})
	for i, seconds := range []int{1, 2, 4, 8, 10, 10, 10, 0, 1} {
		ceiling := time.Duration(seconds) * time.Second
		if pause := s.asked[i+1].Sub(s.asked[i]); pause < ceiling/2 || pause > ceiling {
			t.Errorf("pause %d is %v, want %v to %v", i+1, pause, ceiling/2, ceiling)
		}
	}
}

// A source that knows no instance waits for the first one by itself: backing off
// would only be late. One that does not wait is still not asked in a hurry.
func TestFollowAsksAnEmptySourceSteadily(t *testing.T) {
	t.Parallel()
	s := &script{steps: slices.Repeat([]step{{addrs: []string{}}}, 20)}
	updates := follow(t, s, discovery.Options{Logger: slog.New(slog.DiscardHandler), RetryDelay: time.Second, MaxRetryDelay: time.Minute})
	for i := range 20 {
		if pause := s.asked[i+1].Sub(s.asked[i]); pause < time.Second/2 || pause > time.Second {
			t.Errorf("pause %d is %v, want 0.5 s to 1 s", i+1, pause)
		}
	}
	if len(updates) != 0 {
		t.Errorf("an empty list made the updates %q", updates)
	}
}

func TestFollowWithExtremePauses(t *testing.T) {
	t.Parallel()
	down := step{err: errors.New("down")}
	s := &script{steps: slices.Repeat([]step{down}, 80)}
	follow(t, s, discovery.Options{Logger: slog.New(slog.DiscardHandler), RetryDelay: 3 * time.Hour, MaxRetryDelay: time.Minute})
	if len(s.asked) != 81 {
		t.Errorf("asked %d times in a day, want all 81", len(s.asked))
	}
}

func TestFollowEndsWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		began := time.Now()
		s := &script{steps: slices.Repeat([]step{{err: errors.New("down")}}, 1000)}
		discovery.Follow(ctx, s, discovery.Options{Logger: slog.New(slog.DiscardHandler), MaxRetryDelay: time.Hour}, func([]string) {})
		if took := time.Since(began); took != 100*time.Second {
			t.Errorf("Follow ended after %v, want 100 s", took)
		}
	})
}

// What the follower does with its list is its own affair.
func TestFollowDeliversCopies(t *testing.T) {
	t.Parallel()
	s := &script{steps: []step{{addrs: []string{"a:1", "b:1"}}, {wait: time.Second, addrs: []string{"a:1", "b:1"}}}}
	updates := 0
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		discovery.Follow(ctx, s, discovery.Options{Logger: slog.New(slog.DiscardHandler)}, func(addrs []string) {
			updates++
			addrs[0] = "x:1"
		})
	})
	if updates != 1 {
		t.Errorf("%d updates, want 1: the follower has changed the list it is compared with", updates)
	}
}
