package natsapi

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ackWait is the time without a progress message after which the server redelivers a
	// message to another instance.
	ackWait = 10 * time.Second
	// progressInterval is the interval of progress messages.
	progressInterval = ackWait / 4
	progressTimeout  = time.Second            // for the server to confirm a progress message
	progressPause    = 500 * time.Millisecond // after a progress message that was not confirmed
)

// errTakenOver is the cause of cancelling a call whose message may have been redelivered to
// another instance.
var errTakenOver = errors.New("the server has not confirmed the progress of the work in time; another instance may have the message")

// inProgress is the progress message of JetStream.
var inProgress = []byte("+WPI")

// hold keeps m for this instance until ctx ends: it periodically sends progress messages and
// waits for their confirmation. If the server has confirmed none for so long that m may have been
// redelivered, hold calls lost and returns.
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
