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

// A stop answers every accepted call, and accepts no new calls.
func testDrain(t *testing.T, f *fixture) {
	f.start(t)
	const calls = 10
	responses := make(chan error, calls)
	for range calls {
		go func() {
			echo, err := client.Invoke[Echo](bounded(t), f.client, "Wait", &Nothing{})
			if err == nil && echo.Word != "released" {
				err = fmt.Errorf("answered %+v", echo)
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
		t.Errorf("stopped with calls in flight: %v", err)
	default:
	}
	f.service.release()
	for range calls {
		if err := receive(t, responses, "a response"); err != nil {
			t.Errorf("a call in flight: %v", err)
		}
	}
	if err := receive(t, stopped, "the stop"); err != nil {
		t.Error(err)
	}
}

// A stop without enough time names the calls that it abandons, and cancels them.
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
		t.Errorf("%v, want the call counted", err)
	}
	_ = receive(t, f.service.ended, "the end of the call's context")
	if err := receive(t, answered, "the response"); err == nil {
		t.Error("a call that was given up was answered with success")
	}
}
