// Package retry repeats failed calls of a function: after a delay, within a budget, never past
// the deadline. [Hedge] makes a concurrent second attempt when the first one takes long.
//
//	var budget = retry.NewBudget(0.1, 10)
//	receipt, err := retry.Do(ctx, retry.Policy{Budget: budget}, func(ctx context.Context) (*Receipt, error) {
//		return gateway.Charge(ctx, key, amount)
//	})
//
// Only idempotent operations may be retried.
package retry
