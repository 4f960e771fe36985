// Package disctest provides tests of sources of addresses, and servers and helpers for them.
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

// Log collects log lines. The zero value is ready to use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds a line.
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

// Count returns the number of occurrences of the text.
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

// Expect waits for the next update and fails the test unless it equals want.
func Expect(t *testing.T, updates <-chan []string, want ...string) {
	t.Helper()
	select {
	case got := <-updates:
		if !slices.Equal(got, want) {
			t.Fatalf("update %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no update, want %q", want)
	}
}

// ExpectAtLast waits for an update that equals want and ignores other updates before it.
func ExpectAtLast(t *testing.T, updates <-chan []string, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.After(patience); !slices.Equal(got, want); {
		select {
		case got = <-updates:
		case <-deadline:
			t.Fatalf("the last update is %q, want %q", got, want)
		}
	}
}

// Eventually waits for a condition. It fails the test with the description what if the condition does
// not become true within 20 s.
func Eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.After(patience); !condition(); {
		select {
		case <-deadline:
			t.Fatalf("did not come about: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
