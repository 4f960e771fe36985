// Package idempotency stores the outcomes of calls by a key that the client chooses, so that a
// repeated call is not carried out again. Its stores are sqlstore and redisstore;
// middleware.Idempotency applies one to endpoints.
package idempotency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// MaxOutcome is the maximum length of an outcome in bytes.
const MaxOutcome = 64 << 10

// Errors of a [Store], besides those of its database.
var (
	// ErrLost means that the lease of an attempt has ended, and that the attempt has since been
	// deleted or replaced by another one.
	ErrLost = errors.New("idempotency: the lease of the attempt has ended")
	// ErrTooLarge means that an outcome is longer than [MaxOutcome].
	ErrTooLarge = fmt.Errorf("idempotency: the outcome is longer than %d bytes", MaxOutcome)
)

// Attempt is one attempt to carry out the call with a key.
type Attempt struct {
	Key         string // as stored; preferably a digest, which reveals nothing
	Fingerprint []byte // of the request, at most 64 bytes; another fingerprint means another request
	Token       string // unique to this attempt
}

// NewAttempt returns an attempt with a token of 130 random bits.
func NewAttempt(key string, fingerprint []byte) Attempt {
	return Attempt{Key: key, Fingerprint: fingerprint, Token: rand.Text()}
}

// State is the state of a key when an attempt begins.
type State uint8

// The states. The zero State is invalid.
const (
	Begun    State = 1 + iota // the attempt is to be carried out, and ended by Finish or Abandon
	Running                   // an earlier attempt is being carried out
	Finished                  // an earlier attempt has an outcome
	Reused                    // the key belongs to another request
)

// Store stores keys for all nodes that share it. It is safe for concurrent use. Leases and
// outcomes expire by the clock of the store, not that of a node.
//
// At most one attempt per key runs at a time, as long as each ends within its lease. No attempt
// begins after one has finished, until its outcome expires. If a process dies during an attempt,
// its lease ends and another attempt may begin, although the first may have had an effect.
type Store interface {
	// Begin starts an attempt with the given lease if no other one is running or finished. With
	// [Finished] it returns the outcome of the earlier attempt. Beginning the same attempt
	// again, because the response was lost, returns [Begun] again.
	Begin(ctx context.Context, a Attempt, lease time.Duration) (state State, outcome []byte, err error)

	// Finish stores the outcome of an attempt for the duration keep. If it returns [ErrTooLarge] or
	// [ErrLost], it has stored nothing.
	Finish(ctx context.Context, a Attempt, outcome []byte, keep time.Duration) error

	// Abandon deletes an attempt that had no effect, so that another one may begin at once. It
	// does not delete other attempts or one with an outcome.
	Abandon(ctx context.Context, a Attempt) error
}
