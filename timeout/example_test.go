package timeout_test

import (
	"context"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/timeout"
)

func ExampleWith() {
	ctx := timeout.With(context.Background(), time.Millisecond)
	defer ctx.End()
	<-ctx.Done() // the timer starts here
	fmt.Println(ctx.Err())
	// Output: context deadline exceeded
}
