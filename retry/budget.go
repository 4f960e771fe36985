package retry

import "sync/atomic"

// Budget bounds the retries of many calls together. Each retry takes a token out of
// it, each success puts a part of one in: while nothing succeeds, retries end after the
// first few, on every node by itself, so that a chain of services does not multiply the
// load of one that is down. (The idea is gRPC's retry throttling, proposal A6.) It
// is safe for concurrent use. A nil Budget has no bound.
type Budget struct {
	most, earns int64 // in millionths of a token
	tokens      atomic.Int64
}

const token = 1_000_000

// NewBudget returns a full budget that allows so many retries per success in the long
// run, such as 0.1, and burst retries at once.
func NewBudget(ratio float64, burst int) *Budget {
	b := &Budget{most: int64(burst) * token, earns: int64(ratio * token)}
	b.tokens.Store(b.most)
	return b
}

// Withdraw takes a token for a retry, or tells that there is none.
func (b *Budget) Withdraw() bool {
	if b == nil {
		return true
	}
	for {
		have := b.tokens.Load()
		if have < token {
			return false
		}
		if b.tokens.CompareAndSwap(have, have-token) {
			return true
		}
	}
}

// Succeeded puts in what a success earns.
func (b *Budget) Succeeded() {
	if b == nil {
		return
	}
	for {
		have := b.tokens.Load()
		next := min(have+b.earns, b.most)
		if next == have || b.tokens.CompareAndSwap(have, next) {
			return
		}
	}
}
