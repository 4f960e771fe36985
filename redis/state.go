package redis

import (
	"context"
	"fmt"
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

// State returns what the last command, or the last [DB.Check], has shown. It does not
// block.
func (db *DB) State() State {
	if s := db.watcher.state.Load(); s != nil {
		return *s
	}
	return State{}
}

// Name returns "redis".
func (db *DB) Name() string { return "redis" }

// Start is a no-op: Open has already begun to connect. It completes a chassi.Server.
func (db *DB) Start(context.Context) error { return nil }

// Stop is [DB.Close].
func (db *DB) Stop(context.Context) error {
	db.Close()
	return nil
}

// checkTimeout is how long [DB.Check] waits for the answer, at least.
const checkTimeout = time.Second

// Check asks the server for an answer, and says why there is none, without secrets.
func (db *DB) Check(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, max(db.config.Timeout, checkTimeout))
	defer cancel()
	err := db.client.Do(bounded, db.client.B().Ping().Build()).Error()
	if err == nil || ctx.Err() == nil {
		db.watcher.saw(err)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", ErrUnavailable, redact.Text(err.Error(), maxError))
	}
	return nil
}

// Time returns what the server's clock shows. Its error is as that of Run.
func (db *DB) Time(ctx context.Context) (time.Time, error) {
	parts, err := do(ctx, db, "TIME", "", func(ctx context.Context) ([]int64, error) {
		return db.client.Do(ctx, db.client.B().Time().Build()).AsIntSlice()
	})
	if err != nil {
		return time.Time{}, err
	}
	if len(parts) != 2 {
		return time.Time{}, fmt.Errorf("%w: TIME answered %d numbers", ErrUnavailable, len(parts))
	}
	return time.Unix(parts[0], parts[1]*1000), nil
}

// watcher keeps the state.
type watcher struct {
	state  atomic.Pointer[State]
	outage *outage.Log // of the breakers
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
