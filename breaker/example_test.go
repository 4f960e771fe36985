package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/retry"
	"github.com/chassi-go/chassi/timeout"
)

// gateway is the SDK of a payment gateway, which fails at times.
type gateway struct{ calls int }

func (g *gateway) charge(_ context.Context, key string, cents int) (string, error) {
	if g.calls++; g.calls < 3 {
		return "", errors.New("502 Bad Gateway")
	}
	return fmt.Sprintf("%s: %d cents, at call %d", key, cents, g.calls), nil
}

// A payment gateway's SDK, with a deadline for the whole, retries under a budget, and a
// breaker around each attempt. The gateway is given a key, so that an attempt may be
// repeated.
func ExampleDo() {
	payments := &gateway{}
	circuit := breaker.New(breaker.Options{Name: "payments"})
	policy := retry.Policy{Config: retry.Config{Backoff: time.Millisecond}, Budget: retry.NewBudget(0.1, 10)}

	ctx := timeout.With(context.Background(), 5*time.Second)
	defer ctx.End()
	receipt, err := retry.Do(ctx, policy, func(ctx context.Context) (string, error) {
		return breaker.Do(circuit, func() (string, error) { return payments.charge(ctx, "order-7", 1250) })
	})
	fmt.Println(receipt, err)
	// Output: order-7: 1250 cents, at call 3 <nil>
}
