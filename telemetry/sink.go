package telemetry

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sinkBytes = 4 << 20   // of lines that wait to be written
	sinkBatch = 256 << 10 // are written without waiting longer
	sinkKeep  = 1 << 20   // a larger buffer is given back once it is written
	sinkPause = 50 * time.Millisecond
	lateWait  = 100 * time.Millisecond // for the first line after the end that does not go through
)

// sink writes log lines behind the back of those who log. Lines wait in memory
// for at most sinkPause, or until somebody is in a hurry. When the writer is so
// slow that sinkBytes are full, new lines are dropped and counted, and the log
// says so once it goes on.
type sink struct {
	out      io.Writer
	announce func(lost uint64) []byte // one line
	dropped  atomic.Uint64
	failing  atomic.Bool // whether the last write failed or lines are being dropped

	mu      sync.Mutex
	pending []byte
	spare   []byte
	flushed []chan struct{} // closed when what is pending now is written
	ended   bool            // lines are written by those who log
	stuck   bool            // at the end the writer did not take the last lines

	wake, full chan struct{} // have room for one
	quit, done chan struct{}
	closing    sync.Once

	told uint64 // of the goroutine
	torn bool   // likewise: a line was written in part
}

func newSink(out io.Writer, announce func(lost uint64) []byte) *sink {
	s := &sink{
		out: out, announce: announce, wake: make(chan struct{}, 1), full: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go s.run()
	return s
}

// Write takes one whole line. It does not block and never fails.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stuck, len(s.pending)+len(line) > sinkBytes:
		s.dropped.Add(1)
		s.failing.Store(true)
		return len(line), nil
	case s.ended:
		s.writeLate(line)
		return len(line), nil
	}
	if len(s.pending) == 0 {
		signal(s.wake)
	}
	s.pending = append(s.pending, line...)
	if len(s.pending) > sinkBatch {
		signal(s.full)
	}
	return len(line), nil
}

// writeLate is for the lines after the end, "stopped" among them: they go
// straight through, unless the writer hangs.
func (s *sink) writeLate(line []byte) {
	line = bytes.Clone(line) // may be needed after we gave up
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.out.Write(line) // there is nowhere to tell it
	}()
	select {
	case <-done:
	case <-time.After(lateWait):
		s.stuck = true
		s.dropped.Add(1)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hurry has what waits written now.
func (s *sink) hurry() { signal(s.full) }

func (s *sink) run() {
	defer close(s.done)
	timer := time.NewTimer(sinkPause)
	defer timer.Stop()
	for s.wait(timer) {
		s.writePending()
	}
	for s.writePending() { // lines come in while others are written
	}
}

// wait returns when lines are due, false at the end.
func (s *sink) wait(timer *time.Timer) bool {
	select {
	case <-s.wake:
	case <-s.quit:
		return false
	}
	timer.Reset(sinkPause)
	select {
	case <-timer.C:
	case <-s.full:
	case <-s.quit:
	}
	return true
}

// writePending reports whether there was a line. If there was none at the end, it
// is the end.
func (s *sink) writePending() bool {
	s.mu.Lock()
	batch, flushed := s.pending, s.flushed
	s.pending, s.flushed, s.spare = s.spare[:0], nil, nil
	found := len(batch) > 0
	s.ended = !found && s.isClosing()
	s.mu.Unlock()

	s.write(batch)
	for _, f := range flushed {
		close(f)
	}
	if cap(batch) <= sinkKeep {
		s.mu.Lock()
		s.spare = batch[:0]
		s.mu.Unlock()
	}
	return found
}

func (s *sink) isClosing() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// write counts the lines that the writer refused, and tells of lost ones behind
// the lines that came before them.
func (s *sink) write(batch []byte) {
	lost := s.dropped.Load()
	if lost > s.told {
		batch = append(batch, s.announce(lost-s.told)...)
		s.told = lost
	}
	if len(batch) == 0 {
		return
	}
	if s.torn {
		batch = append([]byte{'\n'}, batch...)
	}
	n, err := s.out.Write(batch)
	if n > 0 {
		s.torn = batch[n-1] != '\n'
	}
	if s.failing.Store(err != nil); err != nil {
		s.dropped.Add(uint64(bytes.Count(batch[n:], []byte{'\n'})))
	}
}

// flush has everything that was logged before written, unless ctx ends first.
func (s *sink) flush(ctx context.Context) {
	written := make(chan struct{})
	s.mu.Lock()
	if s.ended || s.stuck {
		s.mu.Unlock()
		return
	}
	s.flushed = append(s.flushed, written)
	s.mu.Unlock()
	signal(s.wake)
	signal(s.full)
	select {
	case <-written:
	case <-s.done:
	case <-ctx.Done():
	}
}

// close writes what waits and ends the goroutine, unless the writer hangs past
// ctx: then it is left behind, and so are the lines.
func (s *sink) close(ctx context.Context) {
	s.closing.Do(func() { close(s.quit) })
	select {
	case <-s.done:
	case <-ctx.Done():
		s.mu.Lock()
		s.stuck = true
		s.mu.Unlock()
	}
}
