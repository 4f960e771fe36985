package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// The minimum progress of the transfer of a file: the client must send or accept minProgress bytes
// in each period of progressTime for which the transfer waits for the client.
const (
	progressTime = 10 * time.Second
	minProgress  = 10 << 10
)

// progress limits the time for which the transfer of a file waits for the client.
type progress struct {
	setDeadline func(time.Time) error
	period      time.Duration
	ends        time.Time     // end of the call
	left        time.Duration // remaining time to wait, until moved reaches minProgress
	moved       int           // bytes since left was set to period
}

// wait calls move, which reads or writes, with a deadline after the remaining time to wait for the
// client, and returns the results of move. Unless move fails, wait then sets the deadline to the
// end of the call, because until the next call of wait the transfer waits for the service, and not
// for the client. If the deadline passed in that time, net/http would cancel the context of the
// call (read deadline) or reset the HTTP/2 stream (write deadline).
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

// finish sets the deadline for sending the bytes that are still buffered.
func (p *progress) finish() { p.within(time.Now(), p.period) }

// within sets the deadline to d after now, or to the end of the call if that is earlier.
func (p *progress) within(now time.Time, d time.Duration) {
	deadline := now.Add(d)
	if deadline.After(p.ends) {
		deadline = p.ends
	}
	_ = p.setDeadline(deadline) // not supported by the writers of tests
}

// newProgress returns the progress of one direction of the exchange, reading or writing. Set sets
// the deadline of that direction.
func (x *exchange) newProgress(set func(*http.ResponseController, time.Time) error) progress {
	control, period := http.NewResponseController(x.w), x.server.progressTime
	return progress{setDeadline: func(t time.Time) error { return set(control, t) }, period: period, left: period, ends: x.transfer.ends}
}

// transfer is the state of an exchange with a file.
type transfer struct {
	ends   time.Time // end of the call
	failed error     // error of reading the file of the request
}
