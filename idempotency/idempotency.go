// Package idempotency remembers what became of calls that their callers named by a key,
// so that a call which is sent again is not carried out again. Its stores are sqlstore
// and redisstore; middleware.Idempotency puts one around endpoints.
package idempotency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// MaxOutcome is how long an outcome may be, in bytes.
const MaxOutcome = 64 << 10

// What a [Store] answers besides what is wrong with itself.
var (
	// ErrLost says that an attempt is no longer the one that counts: its lease has ended,
	// and since then it was forgotten or another one began.
	ErrLost = errors.New("idempotency: the lease of the attempt has ended")
	// ErrTooLarge says that an outcome is longer than [MaxOutcome].
	ErrTooLarge = fmt.Errorf("idempotency: the outcome is longer than %d bytes", MaxOutcome)
)

// Attempt is one try at what a key names.
type Attempt struct {
	Key         string // as stored: best a digest, which tells nothing
	Fingerprint []byte // of the request, at most 64 bytes: what differs is another request
	Token       string // of this attempt alone
}

// NewAttempt makes an attempt with a token of 130 random bits.
func NewAttempt(key string, fingerprint []byte) Attempt {
	return Attempt{Key: key, Fingerprint: fingerprint, Token: rand.Text()}
}

// State is what a [Store] knows of a key when an attempt asks to begin.
type State uint8

// The four states. The zero State is none of them.
const (
	Begun    State = 1 + iota // the attempt is to be carried out, and ended by Finish or Abandon
	Running                   // an earlier attempt is being carried out
	Finished                  // an earlier attempt has an outcome
	Reused                    // the key belongs to another request
)

// Store keeps keys for all nodes that share it. It is safe for concurrent use. Its own
// clock, not that of a node, says when a lease or an outcome ends.
//
// At most one attempt of a key runs at a time, for as long as each ends within its lease;
// and none begins after one has finished, until that is forgotten. When a process dies in
// the middle its attempt's lease ends, and another attempt may begin, though the first
// may have had its effect.
type Store interface {
	// Begin asks for leave to carry out a, for as long as lease. With [Finished] it returns the
	// outcome of the earlier attempt. To begin the same attempt again, because no
	// answer came, is [Begun] again.
	Begin(ctx context.Context, a Attempt, lease time.Duration) (state State, outcome []byte, err error)

	// Finish keeps the outcome of an attempt for as long as keep. It returns [ErrTooLarge],
	// and changes nothing; or [ErrLost].
	Finish(ctx context.Context, a Attempt, outcome []byte, keep time.Duration) error

	// Abandon forgets an attempt that had no effect, so that another one may begin at once.
	// It leaves alone what has an outcome, and other attempts.
	Abandon(ctx context.Context, a Attempt) error
}
