// Package disctest provides tests for implementations of discovery.Source, and servers and helpers
// for these tests.
package disctest

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
)

// patience is the maximum time that a test waits.
const patience = 20 * time.Second

// Log collects log lines. The zero value is ready to use. A Log is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends p, which is one or more lines, to the log. It implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns all lines.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Count returns the number of occurrences of text in the log.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Logger returns a logger that writes to l.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Follow follows a source until the end of the test, with short pauses after errors, and returns a
// channel that receives the updates.
func Follow(t *testing.T, source discovery.Source, l *Log) <-chan []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	updates, done := make(chan []string, 100), make(chan struct{})
	o := discovery.Options{Name: "auth", Logger: l.Logger(), RetryDelay: 20 * time.Millisecond, MaxRetryDelay: 100 * time.Millisecond}
	go func() {
		defer close(done)
		discovery.Follow(ctx, source, o, func(addrs []string) { updates <- addrs })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return updates
}

// Expect waits for the next update. It fails the test unless the update arrives within 20 s and
// equals want.
func Expect(t *testing.T, updates <-chan []string, want ...string) {
	t.Helper()
	select {
	case got := <-updates:
		if !slices.Equal(got, want) {
			t.Fatalf("got update %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("got no update within %v, want %q", patience, want)
	}
}

// ExpectAtLast waits for an update that equals want, ignoring other updates before it. It fails the
// test if no such update arrives within 20 s. It does not wait if want is empty.
func ExpectAtLast(t *testing.T, updates <-chan []string, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.After(patience); !slices.Equal(got, want); {
		select {
		case got = <-updates:
		case <-deadline:
			t.Fatalf("got %q as the last update within %v, want %q", got, patience, want)
		}
	}
}

// Eventually waits until condition returns true. If it does not do so within 20 s, Eventually fails
// the test with the description what.
func Eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.After(patience); !condition(); {
		select {
		case <-deadline:
			t.Fatalf("not true within %v: %s", patience, what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
