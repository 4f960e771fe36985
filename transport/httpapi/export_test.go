package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"time"

	"github.com/chassi-go/chassi"
)

// ProblemOf is for tests that send payloads of their own.
var ProblemOf = problemOf

// ReadStream reads the messages of a stream as a client does. It returns the number of items, and
// whether the stream was complete.
func ReadStream(e *chassi.Endpoint, events bool, data []byte, limit int) (items int, complete bool) {
	call := &chassi.Call{Binding: &chassi.Binding{Endpoint: e}, Stream: chassi.NewStreamState()}
	call.Stream.Deliver = func(context.Context, any) bool { items++; return true }
	r := &streamReader{events: events, lines: bufio.NewReader(bytes.NewReader(data)), max: limit, call: call, patience: time.Hour, silence: time.NewTimer(time.Hour)}
	defer r.silence.Stop()
	for {
		if more, err := r.next(context.Background()); err != nil || !more {
			return items, err == nil
		}
	}
}
