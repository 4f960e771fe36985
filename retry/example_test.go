package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/retry"
)

// A service that restarts refuses two calls, and then responds.
func ExampleDo() {
	attempts := 0
	read := func(context.Context) (string, error) {
		if attempts++; attempts < 3 {
			return "", errors.New("connection refused")
		}
		return "1250 cents", nil
	}
	policy := retry.Policy{
		Config: retry.Config{Attempts: 5, Backoff: time.Millisecond},
		Budget: retry.NewBudget(0.1, 10), // shared by all calls of a client
	}
	price, err := retry.Do(context.Background(), policy, read)
	fmt.Println(price, err, attempts)
	// Output: 1250 cents <nil> 3
}

// The first call does not respond, so a second one is made beside it.
func ExampleHedge() {
	calls := make(chan int, 2)
	calls <- 1
	calls <- 2
	read := func(ctx context.Context) (string, error) {
		call := <-calls
		if call == 1 {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return fmt.Sprintf("response of call %d", call), nil
	}
	response, err := retry.Hedge(context.Background(), 10*time.Millisecond, 2, nil, read)
	fmt.Println(response, err)
	// Output: response of call 2 <nil>
}
