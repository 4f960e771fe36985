package redis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
)

// State is the last known state of the server.
type State struct {
	Known     bool      // the login or at least one command has succeeded or failed
	Connected bool      // the last command succeeded
	Since     time.Time // start of the current state
	Error     string    // why the last command failed, without secrets; "" if it succeeded
}

// String returns a short description of the state: "connected since 2026-01-02T15:04:05Z",
// "unavailable since 2026-01-02T15:04:05Z: connection refused", or "no response yet".
func (s State) String() string {
	switch since := s.Since.UTC().Format(time.RFC3339); {
	case !s.Known:
		return "no response yet"
	case s.Connected:
		return "connected since " + since
	default:
		return "unavailable since " + since + ": " + s.Error
	}
}

// State returns the state of the server as of the login by [Open], the last script or [DB.Check]
// that was sent to the server and was not canceled by the caller, or a later failure of [DB.Time].
// It does not block.
func (db *DB) State() State {
	if s := db.watcher.state.Load(); s != nil {
		return *s
	}
	return State{}
}

// recovered closes the breaker and ends the logged outage. It does nothing while the breaker
// refuses calls.
func (db *DB) recovered() {
	if db.breaker.State() != breaker.Closed {
		if done, err := db.breaker.Allow(); err == nil {
			done(nil)
		}
	}
	if db.breaker.State() == breaker.Closed {
		db.watcher.outage.Succeeded()
	}
}

// LogsOutage reports whether an outage of the server is in progress. At most six outages in a
// minute are logged.
func (db *DB) LogsOutage() bool { return db.watcher.outage.Down() }

// Name returns "redis". It implements chassi.Component.
func (db *DB) Name() string { return "redis" }

// Start is a no-op and returns nil: Open has already started to connect. It implements
// chassi.Component.
func (db *DB) Start(context.Context) error { return nil }

// Stop closes the connections and returns nil. It implements chassi.Component.
func (db *DB) Stop(context.Context) error {
	db.Close()
	return nil
}

// checkTimeout is the minimum timeout of [DB.Check].
const checkTimeout = time.Second

// checkScript writes a key, so it needs the same permissions as other scripts.
var checkScript = NewScript("check", "redis.call('SET', KEYS[1], '1', 'PX', '1000') return {1}")

// Check runs a script that writes a key, which expires after one second. If the script fails, Check
// returns an error that wraps [ErrUnavailable] and contains no secrets. A server that responds may
// still be a replica, be out of memory, or deny the permissions.
func (db *DB) Check(ctx context.Context) error {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, max(db.config.Timeout, checkTimeout))
	defer cancel()
	err := checkScript.lua.Exec(bounded, db.client, db.prefixed([]string{"check"}), nil).Error()
	if err == nil || ctx.Err() == nil {
		db.watcher.saw(err)
	}
	switch {
	case err == nil && time.Since(began) <= db.config.Timeout: // else calls would still fail
		db.recovered()
	case err != nil && ctx.Err() == nil:
		db.watcher.outage.Failed(errors.New(db.State().Error))
	}
	if err != nil {
		return fmt.Errorf("%w: %s", ErrUnavailable, redact.Text(err.Error(), maxError))
	}
	return nil
}

// Time returns the time of the server's clock. Its errors are those of [DB.Run].
func (db *DB) Time(ctx context.Context) (time.Time, error) {
	parts, err := do(ctx, db, "TIME", "", func(ctx context.Context) ([]int64, error) {
		return db.client.Do(ctx, db.client.B().Time().Build()).AsIntSlice()
	})
	if err != nil {
		return time.Time{}, err
	}
	if len(parts) != 2 {
		return time.Time{}, fmt.Errorf("%w: TIME returned %d numbers, want 2", ErrUnavailable, len(parts))
	}
	return time.Unix(parts[0], parts[1]*1000), nil
}

// watcher records the state of the server and logs its outages.
type watcher struct {
	state  atomic.Pointer[State]
	outage *outage.Log // shared by the breakers of all DBs
}

// maxError is the maximum length of the text of an error, in bytes.
const maxError = 256

// saw records the outcome of a command. While commands succeed it only reads the state.
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
