package clock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/clock"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a machine, a source, and the time that really passes.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	start   time.Time
	passed  time.Duration
	machine time.Duration // how far its clock is ahead
	source  time.Duration // the same of the source's
	away    error
	highest time.Time
	kept    int
	log     bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, start: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (w *world) clock() *clock.Clock {
	return clock.New(clock.Options{
		Name: "database", Logger: slog.New(slog.NewTextHandler(w, nil)),
		Machine: func() (time.Time, time.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.start.Add(w.passed + w.machine), w.passed
		},
		Read: func(context.Context) (time.Time, time.Time, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.start.Add(w.passed + w.source), w.highest, w.away
		},
		Keep: func(_ context.Context, replaced, highest time.Time) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.kept++
			if replaced.Equal(w.highest) {
				w.highest = highest
			}
			return nil
		},
	})
}

func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

// logged counts lines.
func (w *world) logged(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.log.String(), text)
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed += d
}

func (w *world) measure(c *clock.Clock) {
	w.t.Helper()
	if err := c.Measure(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// is compares a time with the one that really is, plus ahead.
func (w *world) is(what string, got time.Time, ahead time.Duration) {
	w.t.Helper()
	if want := w.start.Add(w.passed + ahead); got.Sub(want).Abs() > time.Microsecond {
		w.t.Errorf("%s is %v, want %v (off by %v)", what, got, want, got.Sub(want))
	}
}

var steps = []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour}

// The machine's clock has no say: neither where it stands nor when it is set.
func TestTheMachinesClockDoesNotDecide(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.machine = step
			c := w.clock()
			w.measure(c)
			w.is("now", c.Now(), 0)
			w.pass(10 * time.Minute) // without a response
			w.is("now", c.Now(), 0)
			w.machine = 0
			w.is("now, with the clock set right", c.Now(), 0)
			w.machine = -2 * step
			w.is("now, with the clock set wrong", c.Now(), 0)
			w.is("the source's time", c.Source(), 0)
			w.away = errors.New("away")
			if err := c.Measure(t.Context()); !errors.Is(err, w.away) {
				t.Errorf("%v, want %v", err, w.away)
			}
			w.is("now, without the source", c.Now(), 0)
		})
	}
}

// A source whose clock is set forward is followed. When it is set back the time goes on at
// four fifths of its speed until it has caught up.
func TestTimeDoesNotRunBack(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.clock()
			w.measure(c)
			w.source = step
			w.pass(5 * time.Second)
			w.measure(c)
			w.is("the source's time", c.Source(), step)
			if step > 0 {
				w.is("now", c.Now(), step)
				return
			}
			w.is("now", c.Now(), 0)
			last, began := c.Now(), w.passed
			for range 200 { // ends by then
				w.pass(-step / 20)
				w.measure(c)
				if now := c.Now(); now.Sub(last) < -step/20/5*4 {
					t.Fatalf("now went on by %v in %v", now.Sub(last), -step/20)
				}
				last = c.Now()
				w.is("the source's time", c.Source(), step)
				if c.Ahead() == 0 {
					break
				}
			}
			w.is("now, in the end", c.Now(), step)
			if took := w.passed - began; took < -5*step || took > -5*step-step/10 {
				t.Errorf("caught up after %v", took)
			}
			if w.logged("has ended stays ended") != 1 || w.logged("level=INFO") != 1 || w.logged("of the database was set") != 1 {
				t.Errorf("logged:\n%s", w.log.String())
			}
		})
	}
}

// A process that starts later, or again, knows the time that was reached; to a minute, as
// long as the source's clock is right.
func TestTimeDoesNotRunBackWithARestart(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{-time.Hour, -24 * time.Hour} {
		w := newWorld(t)
		first := w.clock()
		for range 12 * 10 {
			w.measure(first)
			w.pass(5 * time.Second)
		}
		if w.kept > 12 {
			t.Errorf("kept %d times in 10 minutes", w.kept)
		}
		w.source = step
		second := w.clock()
		w.measure(second)
		if behind := first.Now().Sub(second.Now()); behind < 0 || behind > time.Minute+5*time.Second {
			t.Errorf("%v: the second process is behind by %v", step, behind)
		}
		w.measure(first)
		w.measure(second)
		if off := first.Now().Sub(second.Now()); off.Abs() > time.Microsecond {
			t.Errorf("%v: the processes differ by %v", step, off)
		}
	}
}

// A clock that was far ahead is followed back at once, by all processes.
func TestAClockThatWasFarAheadIsSetRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.source = 365 * 24 * time.Hour
	c := w.clock()
	w.measure(c)
	w.source = 0
	w.pass(5 * time.Second)
	w.measure(c)
	w.is("now", c.Now(), 0)
	if w.highest.After(c.Now()) {
		t.Errorf("%v is still kept as the highest time", w.highest)
	}
	other := w.clock()
	w.measure(other)
	w.is("now in another process", other.Now(), 0)
}

// A difference is logged once when it begins and once when it ends.
func TestADifferenceIsLoggedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.clock()
	if c.String() != "not measured yet" || c.Differs() {
		t.Errorf("%q, %t before the first response", c, c.Differs())
	}
	for _, step := range []struct {
		ahead time.Duration
		text  string
	}{{time.Second, "1s ahead of the database"}, {time.Hour, "1h0m0s ahead of"}, {-time.Hour, "1h0m0s behind the database"}, {0, "0s ahead of"}} {
		w.machine = step.ahead
		for range 3 {
			w.measure(c)
			w.pass(5 * time.Second)
		}
		if got := c.Differences()["database"]; got != step.ahead.Seconds() {
			t.Errorf("the difference is %v, want %v", got, step.ahead)
		}
		if !strings.Contains(c.String(), step.text) || c.Differs() != (step.ahead.Abs() > 2*time.Second) {
			t.Errorf("%q, %t", c, c.Differs())
		}
	}
	if w.logged("level=WARN") != 1 || w.logged("that of the database differ") != 1 || w.logged("agree again") != 1 {
		t.Errorf("logged:\n%s", w.log.String())
	}
}

// A slow response is no difference.
func TestASlowResponseIsNoDifference(t *testing.T) {
	t.Parallel()
	for _, when := range []time.Duration{0, 5 * time.Second, 10 * time.Second} { // the source looks at its clock
		w := newWorld(t)
		c := clock.New(clock.Options{
			Name: "database", Logger: slog.New(slog.NewTextHandler(w, nil)),
			Machine: func() (time.Time, time.Duration) { return w.start.Add(w.passed), w.passed },
			Read: func(context.Context) (now, highest time.Time, err error) {
				w.passed += when
				now = w.start.Add(w.passed)
				w.passed += 10*time.Second - when
				return now, highest, nil
			},
		})
		for range 3 {
			w.measure(c)
			if now, is := c.Now(), w.start.Add(w.passed); now.After(is) || now.Before(is.Add(-10*time.Second)) {
				t.Errorf("now is %v, want at most 10 s before %v", now, is)
			}
		}
		if w.log.Len() != 0 {
			t.Errorf("logged:\n%s", w.log.String())
		}
	}
}

// One slow response among fast ones does not look as if the source's clock had been set back.
func TestOneSlowResponseIsNoStepBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var before, after time.Duration // the source looks at its clock
	c := clock.New(clock.Options{
		Name: "database", Logger: slog.New(slog.NewTextHandler(w, nil)),
		Machine: func() (time.Time, time.Duration) { return w.start.Add(w.passed), w.passed },
		Read: func(context.Context) (now, highest time.Time, err error) {
			w.passed += before
			now = w.start.Add(w.passed + w.source)
			w.passed += after
			return now, highest, nil
		},
	})
	w.measure(c)
	for _, trip := range [][2]time.Duration{{0, 5 * time.Second}, {2 * time.Second, 3 * time.Second}, {0, 0}} {
		w.pass(5 * time.Second)
		before, after = trip[0], trip[1]
		w.measure(c)
		w.is("now", c.Now(), 0)
		w.is("the source's time", c.Source(), 0)
		if c.Differs() || w.log.Len() != 0 {
			t.Errorf("%v: %s; logged:\n%s", trip, c, w.log.String())
		}
	}
	w.source, after = -time.Minute, 5*time.Second // that it was set back shows all the same
	w.measure(c)
	w.is("now, set back", c.Now(), 0)
	if !c.Differs() || w.logged("of the database was set") != 1 {
		t.Errorf("%s; logged:\n%s", c, w.log.String())
	}
}

// A step of the machine's clock is noticed by itself, and the source is asked at once.
func TestAStepOfTheMachineIsNoticed(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var set time.Duration
			asked := 0
			w := newWorld(t)
			start := time.Now()
			c := clock.New(clock.Options{
				Name: "database", Logger: slog.New(slog.NewTextHandler(w, nil)),
				Machine: func() (time.Time, time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					return time.Now().Add(set), time.Since(start)
				},
				Read: func(context.Context) (now, highest time.Time, err error) { asked++; return time.Now(), highest, nil },
			})
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(11500 * time.Millisecond)
			if synctest.Wait(); asked != 3 || w.log.Len() != 0 {
				t.Errorf("asked %d times in 11.5 s, want 3; logged %s", asked, w.log.String())
			}
			mu.Lock()
			set = step
			mu.Unlock()
			time.Sleep(time.Second)
			if synctest.Wait(); asked != 4 {
				t.Errorf("asked %d times a second after the step, want 4", asked)
			}
			want := fmt.Sprintf("the clock of this machine was set, or the machine was suspended\" by_seconds=%v", step.Seconds())
			if w.logged(want) != 1 || w.logged("that of the database differ") != 1 {
				t.Errorf("logged:\n%s", w.log.String())
			}
			if off := time.Until(c.Now()).Abs(); off > time.Millisecond {
				t.Errorf("now is off by %v", off)
			}
			if err := c.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Now never decreases during concurrent measurements.
func TestNowIsMonotonicForConcurrentReaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.clock()
	w.measure(c)
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		all.Go(func() {
			for last := c.Now(); ; {
				now := c.Now()
				if now.Before(last) {
					t.Errorf("%v after %v", now, last)
				}
				last = now
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 2000 {
		w.mu.Lock()
		w.source = time.Duration(i%7-3) * time.Minute
		w.mu.Unlock()
		w.pass(time.Millisecond)
		w.measure(c)
	}
	close(done)
	all.Wait()
}
