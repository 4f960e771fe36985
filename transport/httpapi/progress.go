package httpapi

import (
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

// wait calls move, which reads or writes, with the deadline of the transfer.
func (p *progress) wait(move func() (int, error)) (int, error) {
	began := time.Now()
	deadline := began.Add(p.left)
	if deadline.After(p.ends) {
		deadline = p.ends
	}
	_ = p.setDeadline(deadline) // not supported by the writers of tests
	n, err := move()
	p.left -= time.Since(began)
	if p.moved += n; p.moved >= minProgress {
		p.left, p.moved = p.period, 0
	}
	return n, err
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
