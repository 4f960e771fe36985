package natsapi

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ackWait is the time after which the server redelivers a message, possibly to another
	// instance, unless it receives an acknowledgment or a progress message within this time.
	ackWait = 10 * time.Second
	// progressInterval is the interval of progress messages.
	progressInterval = ackWait / 4
	progressTimeout  = time.Second            // maximum time until the server confirms a progress message
	progressPause    = 500 * time.Millisecond // delay after a progress message that was not confirmed
)

// errTakenOver is the error of an attempt that was canceled because its message may have been
// redelivered to another instance.
var errTakenOver = errors.New("the server has not confirmed the progress of the work in time; another instance may have the message")

// inProgress is the body of a progress message of JetStream.
var inProgress = []byte("+WPI")

// hold prevents the redelivery of m until ctx is done: it periodically sends progress messages and
// waits for their confirmations. If the server has not confirmed a progress message for so long
// that m may soon be redelivered, hold calls lost and returns.
func (w *worker) hold(ctx context.Context, m jetstream.Msg, lost func()) {
	pause, confirmed := progressInterval, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		sent := time.Now()
		asking, done := context.WithTimeout(ctx, progressTimeout)
		_, err := w.js().Conn().RequestWithContext(asking, m.Reply(), inProgress)
		done()
		switch {
		case err == nil:
			pause, confirmed = progressInterval, sent
		case ctx.Err() == nil && time.Since(confirmed) > ackWait-progressInterval:
			lost()
			return
		default:
			pause = progressPause
		}
	}
}
