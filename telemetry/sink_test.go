package telemetry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// metric returns the value of a counter, by name and reason.
func metric(t testing.TB, tel *Telemetry, name, reason string) int {
	t.Helper()
	families, err := tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			has := ""
			for _, l := range m.GetLabel() {
				has = l.GetValue()
			}
			if f.GetName() == name && has == reason {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	t.Fatalf("there is no metric %s with reason %q", name, reason)
	return 0
}

// writer is a sink that can be blocked and can fail.
type writer struct {
	mu     sync.Mutex
	text   bytes.Buffer
	opened chan struct{} // closed when open
	limit  int           // of bytes, then it fails
}

var errFull = errors.New("no space left")

func newWriter() *writer { return &writer{opened: make(chan struct{}), limit: 1 << 30} }

func (w *writer) Write(b []byte) (int, error) {
	<-w.opened
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(b), w.limit)
	w.text.Write(b[:n])
	w.limit -= n
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

func (w *writer) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *writer) lines() []string { return strings.Split(strings.TrimSuffix(w.String(), "\n"), "\n") }

func newTestSink(w *writer) *sink {
	return newSink(w, func(lost uint64) []byte { return fmt.Appendf(nil, "lost %d\n", lost) })
}

func TestSinkWaitsNoLongerThanItsPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		close(w.opened)
		s := newTestSink(w)
		defer s.close(t.Context())
		fmt.Fprintln(s, "a")
		synctest.Wait()
		if got := w.String(); got != "" {
			t.Errorf("written at once, want after %v: %q", sinkPause, got)
		}
		time.Sleep(sinkPause)
		synctest.Wait()
		if got := w.String(); got != "a\n" {
			t.Errorf("after the pause the writer has %q", got)
		}
		fmt.Fprintln(s, "b")
		s.flushNow()
		synctest.Wait()
		if got := w.String(); got != "a\nb\n" {
			t.Errorf("after flushNow the writer has %q", got)
		}
	})
}

func TestWarningsAreWrittenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		close(w.opened)
		tel, err := New(t.Context(), "s", "1", Config{}, w)
		if err != nil {
			t.Fatal(err)
		}
		defer tel.Stop(t.Context())
		tel.Logger.With("a", 1).WithGroup("g").Warn("soon")
		synctest.Wait()
		if got := w.String(); !strings.Contains(got, "soon") {
			t.Errorf("the warning waits; written is %q", got)
		}
	})
}

// A blocked writer does not block callers, and only whole lines are written: the first ones, then
// the number of lost lines, then the following ones.
func TestSinkDropsWholeLinesWhenBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		s := newTestSink(w)
		line := strings.Repeat("x", 1023) + "\n"
		const kept, more = sinkBytes / 1024, 100
		fmt.Fprint(s, line) // on its way into the writer
		s.flushNow()
		synctest.Wait()
		for range kept + more {
			fmt.Fprint(s, line)
		}
		if got := s.dropped.Load(); got != more {
			t.Errorf("%d lines are dropped, want %d", got, more)
		}
		close(w.opened)
		synctest.Wait()
		time.Sleep(sinkPause)
		fmt.Fprintln(s, "after")
		s.close(t.Context())
		got := w.lines()
		if len(got) != 1+kept+2 || got[1+kept] != fmt.Sprintf("lost %d", more) || got[2+kept] != "after" {
			t.Errorf("%d lines, the last ones %.30q; want %d, the count of lost ones, and what came after", len(got), got[max(0, len(got)-2):], 1+kept+2)
		}
	})
}

func TestSinkCountsFailedWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		close(w.opened)
		w.limit = 5
		s := newTestSink(w)
		fmt.Fprint(s, "one\ntwo\nthree\n") // "two" is torn
		s.flush(t.Context())
		if got := s.dropped.Load(); got != 2 {
			t.Errorf("%d lines are dropped, want 2", got)
		}
		w.mu.Lock()
		w.limit = 1 << 20
		w.mu.Unlock()
		fmt.Fprintln(s, "four")
		s.close(t.Context())
		if got, want := w.String(), "one\nt\nfour\nlost 2\n"; got != want {
			t.Errorf("the writer has %q, want %q", got, want)
		}
	})
}

func TestSinkFlushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		s := newTestSink(w)
		fmt.Fprintln(s, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		s.flush(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("flushing into a blocked writer took %v, want the second it had", took)
		}
		close(w.opened)
		fmt.Fprintln(s, "b")
		s.flush(t.Context())
		if got := w.String(); got != "a\nb\n" {
			t.Errorf("after flush the writer has %q", got)
		}
		s.close(t.Context())
		s.flush(t.Context()) // of nothing
	})
}

// The App logs that it stopped after everything, this sink included, has stopped.
func TestSinkWritesLateLinesAndGivesUpOnABlockedWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		close(w.opened)
		s := newTestSink(w)
		fmt.Fprintln(s, "a")
		s.close(t.Context())
		fmt.Fprintln(s, "stopped")
		if got := w.String(); got != "a\nstopped\n" {
			t.Errorf("after the end the writer has %q", got)
		}

		w.opened = make(chan struct{})
		began := time.Now()
		for range 1000 {
			fmt.Fprintln(s, "nobody reads")
		}
		if took := time.Since(began); took != lateWait {
			t.Errorf("1000 late lines into a blocked writer took %v, want %v", took, lateWait)
		}
		close(w.opened)
	})
}

func TestSinkClosesWhileTheWriterHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		s := newTestSink(w)
		fmt.Fprintln(s, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		s.close(ctx)
		fmt.Fprintln(s, "late")
		if took := time.Since(began); took != time.Second {
			t.Errorf("closing and one late line took %v, want the second it had", took)
		}
		close(w.opened) // the goroutine that was left behind ends
	})
}

func TestSinkAcceptsConcurrentLines(t *testing.T) {
	t.Parallel()
	w := newWriter()
	close(w.opened)
	s := newTestSink(w)
	const writers, each = 8, 500
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for j := range each {
				fmt.Fprintf(s, "%d %d\n", i, j)
				if j%100 == 0 {
					s.flush(t.Context())
				}
			}
		})
	}
	all.Wait()
	s.close(t.Context())
	next := make(map[int]int)
	for _, line := range w.lines() {
		var i, j int
		if _, err := fmt.Sscanf(line, "%d %d", &i, &j); err != nil || next[i] != j {
			t.Fatalf("line %q, want line %d of that writer", line, next[i])
		}
		next[i]++
	}
	if len(next) != writers {
		t.Errorf("lines of %d writers, want %d", len(next), writers)
	}
}

// A pipe without a reader (F41).
func TestF41BlockedPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	tel, err := New(t.Context(), "s", "1", Config{}, w)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 1000)
	for i := range 3 * sinkBytes / 1000 {
		if i%1000 == 0 {
			tel.Logger.Error("urgent", "text", text)
		}
		tel.Logger.Info("line", "text", text)
	}
	if got := metric(t, tel, "log_dropped_lines_total", ""); got < sinkBytes/1000 {
		t.Errorf("log_dropped_lines_total is %d, want at least %d", got, sinkBytes/1000)
	}
	began := time.Now()
	if err := tel.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	tel.Logger.Info("stopped")
	tel.Flush(time.Second)
	if took := time.Since(began); took > stopTime+slack {
		t.Errorf("Stop and a late line took %v, want %v at most", took, stopTime)
	}
	count, reported := 0, false // reading lets the goroutine end
	go func() { <-tel.sink.done; w.Close() }()
	for lines := bufio.NewScanner(r); lines.Scan(); count++ {
		reported = reported || strings.HasPrefix(decodeLine(t, append(lines.Bytes(), '\n'))["msg"].(string), "log lines dropped")
	}
	if count == 0 || !reported {
		t.Errorf("%d lines came through, and the dropped ones were reported: %v", count, reported)
	}
}

func TestLevelChangesWhileRunning(t *testing.T) {
	t.Parallel()
	w := newWriter()
	close(w.opened)
	tel, err := New(t.Context(), "s", "1", Config{Log: LogConfig{Level: "warn"}}, w)
	if err != nil {
		t.Fatal(err)
	}
	derived := tel.Logger.With("a", 1)
	derived.Info("no")
	if err := tel.SetLevel("debug"); err != nil {
		t.Fatal(err)
	}
	derived.Debug("yes")
	if err := tel.SetLevel("loud"); err == nil || tel.Level.Level() != slog.LevelDebug {
		t.Errorf("SetLevel of an unknown one: %v, level %v", err, tel.Level)
	}
	tel.Stop(t.Context())
	if got := w.lines(); len(got) != 1 || decodeLine(t, []byte(got[0]+"\n"))["msg"] != "yes" {
		t.Errorf("the log is %q, want the one line after the change", got)
	}
}
