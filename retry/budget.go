package retry

import "sync/atomic"

// Budget limits the retries of many calls together. Each retry consumes a token, and each success
// adds a fraction of a token. If no call succeeds, retries therefore end after the first few. A
// budget in every process of a chain of services keeps their retries from multiplying the load of a
// failing service. The algorithm resembles gRPC's retry throttling (proposal A6), in which
// failures rather than retries consume tokens. A Budget is safe for concurrent use. A nil Budget
// has no limit.
type Budget struct {
	limit, earns int64 // in millionths of a token
	tokens       atomic.Int64
}

const token = 1_000_000

// NewBudget returns a full budget that allows ratio retries per success, such as 0.1, in the long
// run, and burst retries at once.
func NewBudget(ratio float64, burst int) *Budget {
	b := &Budget{limit: int64(burst) * token, earns: int64(ratio * token)}
	b.tokens.Store(b.limit)
	return b
}

// Withdraw takes a token for a retry, and reports whether there was one.
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

// Succeeded adds the fraction of a token that a success earns, unless the budget is full.
func (b *Budget) Succeeded() {
	if b == nil {
		return
	}
	for {
		have := b.tokens.Load()
		next := min(have+b.earns, b.limit)
		if next == have || b.tokens.CompareAndSwap(have, next) {
			return
		}
	}
}
