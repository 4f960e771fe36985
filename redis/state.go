package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
)

// State is what is known of the server.
type State struct {
	Known     bool      // whether it has answered, or failed to
	Connected bool      // whether it answered last
	Since     time.Time // since when that is so
	Error     string    // why it did not answer last, without secrets
}

// String describes the state in a few words: "connected since 2026-01-02T15:04:05Z",
// "unavailable since 2026-01-02T15:04:05Z: connection refused", "no answer yet".
func (s State) String() string {
	switch since := s.Since.UTC().Format(time.RFC3339); {
	case !s.Known:
		return "no answer yet"
	case s.Connected:
		return "connected since " + since
	default:
		return "unavailable since " + since + ": " + s.Error
	}
}

// State returns what the last command, or the last ping of Start, has shown. It does
// not block.
func (db *DB) State() State {
	if s := db.watcher.state.Load(); s != nil {
		return *s
	}
	return State{}
}

// pingPause is the time between two pings.
const pingPause = 5 * time.Second

// Start pings the server every five seconds until Close, so that State knows of a server
// that nothing is asked of. It does not wait for the first answer.
func (db *DB) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	db.watcher.cancel = cancel
	db.watcher.running.Go(func() {
		ticker := time.NewTicker(pingPause)
		defer ticker.Stop()
		for {
			_ = db.Ping(ctx) // State tells
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return nil
}

// Ping asks the server for an answer. Its error is as that of Run.
func (db *DB) Ping(ctx context.Context) error {
	_, err := do(ctx, db, func(ctx context.Context) (string, error) {
		return db.client.Do(ctx, db.client.B().Ping().Build()).ToString()
	})
	return err
}

// watcher keeps the state, and the goroutine that looks after it.
type watcher struct {
	state   atomic.Pointer[State]
	outage  *outage.Log        // of the breakers
	cancel  context.CancelFunc // nil before Start
	running sync.WaitGroup
}

// maxError bounds the text of an error, in bytes.
const maxError = 256

// saw takes note of the outcome of a command. While nothing changes it only reads.
func (w *watcher) saw(err error) {
	old := w.state.Load()
	same := old != nil && old.Connected == (err == nil)
	if same && err == nil {
		return
	}
	s := &State{Known: true, Connected: err == nil, Since: time.Now()}
	if same {
		s.Since = old.Since
	}
	if err != nil {
		s.Error = redact.Text(err.Error(), maxError)
	}
	w.state.Store(s)
}

func (w *watcher) stop() {
	if w.cancel != nil {
		w.cancel()
	}
	w.running.Wait()
}
