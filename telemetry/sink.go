package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sinkBytes = 4 << 20   // lines that may be buffered
	lateBytes = 1 << 20   // lines up to which a record is encoded later
	sinkBatch = 256 << 10 // lines that are written without waiting longer
	sinkKeep  = 1 << 20   // a larger buffer is not used again
	sinkPause = 50 * time.Millisecond
	lateWait  = 100 * time.Millisecond // for a write after close
)

// sinkState determines what happens to a new line.
type sinkState uint8

const (
	buffering sinkState = iota // it is buffered, and written by the goroutine
	direct                     // after close: it is written at once
	dropping                   // after close, when a write hung: it is dropped
)

// sink is a writer of log lines that does not block. A goroutine encodes and writes them to out
// after at most sinkPause, or when flushNow is called. If out is so slow that sinkBytes are
// buffered, new lines are dropped and counted, and a line that says so follows once out
// accepts lines again.
type sink struct {
	out      io.Writer
	announce func(lost uint64) []byte // returns the line about lost lines
	dropped  atomic.Uint64
	failing  atomic.Bool // the last write failed, or lines are being dropped

	mu      sync.Mutex
	state   sinkState
	writing bool // the goroutine encodes or writes a batch
	pending batch
	spare   batch           // an empty batch for the next pending
	flushed []chan struct{} // closed when pending is written

	wake, now  chan struct{} // there are lines; they are to be written now
	quit, done chan struct{}
	closing    sync.Once

	// Used only by the goroutine.
	announced     uint64 // dropped lines
	partial       bool   // the last line was written in part
	encoded, line []byte // buffers
}

func newSink(out io.Writer, announce func(lost uint64) []byte) *sink {
	s := newIdleSink(out, announce)
	go s.run()
	return s
}

// newIdleSink returns a sink whose goroutine does not run yet.
func newIdleSink(out io.Writer, announce func(lost uint64) []byte) *sink {
	return &sink{
		out: out, announce: announce, wake: make(chan struct{}, 1), now: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// Write accepts one whole line. It does not block and returns no error.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == dropping, s.pending.size+len(line) > sinkBytes:
		s.dropped.Add(1)
		s.failing.Store(true)
	case s.state == direct:
		s.writeLate(line)
	default:
		s.buffer(line)
	}
	return len(line), nil
}

func (s *sink) buffer(line []byte) {
	s.pending.lines = append(s.pending.lines, line...)
	s.added(len(line))
}

// added adds size to that of the pending batch, and wakes the goroutine if necessary.
func (s *sink) added(size int) {
	if s.pending.size == 0 {
		signal(s.wake)
	}
	if s.pending.size += size; s.pending.size > sinkBatch {
		signal(s.now)
	}
}

// add accepts a record that takes about size bytes, for the goroutine to encode: encoding many
// records in a row takes less time than one in each call, and the call that logs does not wait.
// It returns false if the caller must encode the record: after close, during a write, which may
// take long, and when lateBytes are buffered, which bounds the memory of the records and
// relieves the goroutine. A string of a record may be a part of a much larger string, such as
// the body of a request, and keeps that in memory, but no longer than sinkPause and the time to
// encode a batch.
func (s *sink) add(h *jsonHandler, ids callIDs, r *slog.Record, size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != buffering || s.writing || s.pending.size+size > lateBytes {
		return false
	}
	s.pending.records = append(s.pending.records, lateRecord{h, ids, *r, len(s.pending.lines)})
	s.added(size)
	return true
}

// batch is what a sink writes at once.
type batch struct {
	lines   []byte
	records []lateRecord
	size    int // about the bytes of both
}

// lateRecord is a line that is not encoded yet.
type lateRecord struct {
	handler *jsonHandler
	ids     callIDs
	record  slog.Record
	at      int // where it belongs among the lines of the batch
}

// encode returns all lines of the batch, in their order. They are valid until the next call.
func (s *sink) encode(b *batch) []byte {
	if len(b.records) == 0 {
		return b.lines
	}
	s.encoded = s.encoded[:0]
	written := 0
	for i := range b.records {
		r := &b.records[i]
		s.encoded = append(s.encoded, b.lines[written:r.at]...)
		written = r.at
		s.line = r.handler.appendLine(s.line[:0], r.ids, &r.record)
		s.encoded = append(s.encoded, s.line...)
	}
	s.encoded = append(s.encoded, b.lines[written:]...)
	return s.encoded
}

// writeLate writes a line after close, such as the one that says that the program has
// stopped. If the write hangs, this line and all later ones are dropped.
func (s *sink) writeLate(line []byte) {
	line = bytes.Clone(line) // the write may outlast this function
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.out.Write(line) // there is no other place to report it
	}()
	select {
	case <-done:
	case <-time.After(lateWait):
		s.state = dropping
		s.dropped.Add(1)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flushNow makes the goroutine write the buffered lines without delay.
func (s *sink) flushNow() { signal(s.now) }

func (s *sink) run() {
	defer close(s.done)
	timer := time.NewTimer(sinkPause)
	defer timer.Stop()
	for s.wait(timer) {
		s.writePending()
	}
	for s.writePending() { // lines are added during a write
	}
}

// wait waits until lines are to be written. It returns false after close.
func (s *sink) wait(timer *time.Timer) bool {
	select {
	case <-s.wake:
	case <-s.quit:
		return false
	}
	timer.Reset(sinkPause)
	select {
	case <-timer.C:
	case <-s.now:
	case <-s.quit:
	}
	return true
}

// writePending writes the buffered lines, and reports whether there were any.
func (s *sink) writePending() bool {
	b, flushed := s.takePending()
	lines := s.encode(&b)
	clear(b.records) // refers to strings
	s.write(lines)
	for _, f := range flushed {
		close(f)
	}
	if cap(s.encoded) > sinkKeep {
		s.encoded = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if b.size <= sinkKeep {
		s.spare = batch{lines: b.lines[:0], records: b.records[:0]}
	}
	return b.size > 0
}

// takePending takes the buffered lines, for writing. If there are none after close, lines are
// written directly from then on.
func (s *sink) takePending() (b batch, flushed []chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, flushed = s.pending, s.flushed
	s.pending, s.flushed, s.spare = s.spare, nil, batch{}
	s.writing = true
	if b.size == 0 && s.isClosing() && s.state == buffering {
		s.state = direct
	}
	return b, flushed
}

func (s *sink) isClosing() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// write writes batch, and then the line about lost lines, if there are any. Lines that out did
// not accept count as lost.
func (s *sink) write(batch []byte) {
	if lost := s.dropped.Load(); lost > s.announced {
		batch = append(batch, s.announce(lost-s.announced)...)
		s.announced = lost
	}
	if len(batch) == 0 {
		return
	}
	if s.partial {
		batch = append([]byte{'\n'}, batch...)
	}
	n, err := s.out.Write(batch)
	if n > 0 {
		s.partial = batch[n-1] != '\n'
	}
	s.failing.Store(err != nil)
	if err != nil {
		s.dropped.Add(uint64(bytes.Count(batch[n:], []byte{'\n'})))
	}
}

// flush writes all lines that were logged before, unless ctx ends first.
func (s *sink) flush(ctx context.Context) {
	written, ok := s.awaitPending()
	if !ok {
		return
	}
	signal(s.wake)
	signal(s.now)
	select {
	case <-written:
	case <-s.done:
	case <-ctx.Done():
	}
}

// awaitPending returns a channel that is closed when the buffered lines are written. It returns
// false if lines are no longer buffered.
func (s *sink) awaitPending() (written chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != buffering {
		return nil, false
	}
	written = make(chan struct{})
	s.flushed = append(s.flushed, written)
	return written, true
}

// close writes the buffered lines and ends the goroutine. If out hangs until ctx ends, the
// goroutine is left running and the lines are lost.
func (s *sink) close(ctx context.Context) {
	s.closing.Do(func() { close(s.quit) })
	select {
	case <-s.done:
	case <-ctx.Done():
		s.mu.Lock()
		s.state = dropping
		s.mu.Unlock()
	}
}
