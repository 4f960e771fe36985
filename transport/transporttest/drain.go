package transporttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/client"
)

// testDrain verifies that a stopping server completes all accepted calls, and accepts no new calls.
func testDrain(t *testing.T, f *fixture) {
	f.start(t)
	const calls = 10
	responses := make(chan error, calls)
	for range calls {
		go func() {
			echo, err := client.Invoke[Echo](bounded(t), f.client, "Wait", &Nothing{})
			if err == nil && echo.Word != "released" {
				err = fmt.Errorf("got the response %+v, want the word \"released\"", echo)
			}
			responses <- err
		}()
	}
	for range calls {
		receive(t, f.service.entered, "a call")
	}
	if d, ok := f.Server.(interface{ Drain() }); ok {
		d.Drain()
	}
	stopped := make(chan error, 1)
	f.stopped = true
	go func() { stopped <- f.Server.Stop(bounded(t)) }()
	for { // until the stop has begun
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := client.Invoke[Echo](ctx, f.client, "Echo", full())
		cancel()
		if err != nil {
			break
		}
	}
	select {
	case err := <-stopped:
		t.Errorf("Stop returned the error %v while calls were in flight, want it to wait for these calls", err)
	default:
	}
	f.service.release()
	for range calls {
		if err := receive(t, responses, "a response"); err != nil {
			t.Errorf("call in flight during the stop: %v, want a response without an error", err)
		}
	}
	if err := receive(t, stopped, "the stop"); err != nil {
		t.Errorf("Stop returned the error %v, want none", err)
	}
}

// testDrainGivesUp verifies that a server whose time to stop is too short cancels the calls in
// flight, and returns an error with their number.
func testDrainGivesUp(t *testing.T, f *fixture) {
	if f.start(t); f.Send == nil {
		return // a call in process ends with its caller
	}
	answered := make(chan error, 1)
	go func() {
		_, err := client.Invoke[Echo](bounded(t), f.client, "Wait", &Nothing{})
		answered <- err
	}()
	receive(t, f.service.entered, "the call")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	f.stopped = true
	if err := f.Server.Stop(ctx); err == nil || !strings.Contains(err.Error(), "(1)") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop returned %v, want context.DeadlineExceeded with the number of calls in flight, (1)", err)
	}
	_ = receive(t, f.service.ended, "the end of the call's context")
	if err := receive(t, answered, "the response"); err == nil {
		t.Error("call in flight after Stop gave up: got success, want an error")
	}
}
