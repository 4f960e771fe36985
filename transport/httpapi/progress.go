package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Progress of the transfer of a file: minProgress bytes within each progressTime that the
// transfer waits for the client.
const (
	progressTime = 10 * time.Second
	minProgress  = 10 << 10
)

// progress bounds the time for which the transfer of a file waits for the client.
type progress struct {
	setDeadline func(time.Time) error
	period      time.Duration
	ends        time.Time     // of the call
	left        time.Duration // to wait, until minProgress bytes have been moved
	moved       int
}

// wait calls move, which reads or writes, with the deadline of the transfer. Until the next call
// the transfer waits for the service: net/http would end the context of the call if the deadline
// for reading passed then, and the stream of HTTP/2 if that for writing did.
func (p *progress) wait(move func() (int, error)) (int, error) {
	began := time.Now()
	p.within(began, p.left)
	n, err := move()
	p.left -= time.Since(began)
	if p.moved += n; p.moved >= minProgress {
		p.left, p.moved = p.period, 0
	}
	if err == nil || errors.Is(err, io.EOF) {
		_ = p.setDeadline(p.ends)
	}
	return n, err
}

// finish sets the deadline for what is in buffers.
func (p *progress) finish() { p.within(time.Now(), p.period) }

// within sets the deadline of the client, at most the end of the call.
func (p *progress) within(now time.Time, d time.Duration) {
	deadline := now.Add(d)
	if deadline.After(p.ends) {
		deadline = p.ends
	}
	_ = p.setDeadline(deadline) // not supported by the writers of tests
}

// newProgress returns the progress of one direction of the exchange.
func (x *exchange) newProgress(set func(*http.ResponseController, time.Time) error) progress {
	control, period := http.NewResponseController(x.w), x.server.progressTime
	return progress{setDeadline: func(t time.Time) error { return set(control, t) }, period: period, left: period, ends: x.transfer.ends}
}

// transfer is the state of an exchange with a file.
type transfer struct {
	ends   time.Time // of the call
	failed error     // of reading the file of the request
}
