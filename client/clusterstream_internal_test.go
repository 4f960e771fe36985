package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
)

// A stream without items that ends without an error after the timeout is a success.
func TestStreamEndsAtTimeoutOfOpening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		call := &chassi.Call{Stream: chassi.NewStreamState()}
		err := untilOpen(t.Context(), call, time.Second, func(ctx context.Context, _ *chassi.Call) error {
			<-ctx.Done()
			return nil
		})
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
	})
}
