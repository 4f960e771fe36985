// Package idempotency stores the outcomes of calls by a key that the client chooses, so that a
// repeated call is not carried out again. Packages sqlstore and redisstore implement [Store];
// middleware.Idempotency applies a Store to endpoints.
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
	// ErrLost means that an attempt was deleted or replaced by another one, usually after its lease
	// had ended.
	ErrLost = errors.New("idempotency: the attempt was deleted or replaced, probably after its lease had ended")
	// ErrTooLarge means that an outcome is longer than [MaxOutcome].
	ErrTooLarge = fmt.Errorf("idempotency: the outcome has more than %d bytes", MaxOutcome)
)

// Attempt is one attempt to carry out the call with a key.
type Attempt struct {
	Key         string // the key as stored; preferably a digest, which reveals nothing
	Fingerprint []byte // identifies the request; at most 64 bytes
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
	Begun    State = 1 + iota // the caller must carry out the call and then call Finish or Abandon
	Running                   // an earlier attempt has not ended
	Finished                  // an earlier attempt has an outcome
	Reused                    // the key belongs to a request with another fingerprint
)

// Store stores keys and outcomes for all nodes that share it. It is safe for concurrent use. Leases
// and outcomes expire by the clock of the store, not that of a node.
//
// At most one attempt per key runs at a time, as long as each attempt ends within its lease. After
// an attempt has finished, no other attempt with its key begins until the outcome expires. If a
// process dies during an attempt, another attempt may begin after the lease has ended, although the
// first may have had an effect.
type Store interface {
	// Begin starts an attempt with the given lease, unless another attempt with the same key is
	// running or has finished. It returns the state of the key and, with [Finished], the outcome of
	// the earlier attempt. If the caller begins an attempt again because the response was lost,
	// Begin returns [Begun] again.
	Begin(ctx context.Context, a Attempt, lease time.Duration) (state State, outcome []byte, err error)

	// Finish stores the outcome of an attempt for the duration keep. It stores nothing and returns
	// [ErrTooLarge] if the outcome is too long, or [ErrLost] if the attempt was deleted or
	// replaced.
	Finish(ctx context.Context, a Attempt, outcome []byte, keep time.Duration) error

	// Abandon deletes an attempt that had no effect, so that another attempt may begin at once. It
	// deletes neither other attempts nor an attempt with an outcome.
	Abandon(ctx context.Context, a Attempt) error
}
