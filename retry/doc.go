// Package retry retries failed calls of a function after a delay, within a budget and never past
// the deadline of the context. [Hedge] makes further attempts concurrently if the first one takes
// long.
//
//	var budget = retry.NewBudget(0.1, 10)
//	receipt, err := retry.Do(ctx, retry.Policy{Budget: budget}, func(ctx context.Context) (*Receipt, error) {
//		return gateway.Charge(ctx, key, amount)
//	})
//
// Only idempotent operations may be retried.
package retry
