// Package retry makes another attempt where one has failed: after a pause, within a
// budget, never past the deadline; and a second one beside the first where that takes
// long ([Hedge]). Both are functions around any other function.
//
//	var budget = retry.NewBudget(0.1, 10)
//	receipt, err := retry.Do(ctx, retry.Policy{Budget: budget}, func(ctx context.Context) (*Receipt, error) {
//		return gateway.Charge(ctx, key, amount)
//	})
//
// Only what may be done twice may be retried.
package retry
